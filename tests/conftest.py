"""What the tests share: folders of small pictures, real photos where they are at hand, two threads at
most."""

import os
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessonkit.basics import keep_freed_memory, memory_environment
from lessonkit.evaluate import Predictions

SHARED = Path(__file__).parents[2] / "shared"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


os.environ.update(memory_environment())  # of the processes that tests start
keep_freed_memory()


@pytest.fixture(autouse=True, scope="session")
def few_threads():
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    "Nothing that a test draws or fetches ends up in the user's cache."
    os.environ["LESSONKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def shared(*parts: str) -> Path:
    "A file of the shared folder beside the project; the test is skipped, saying so, where it is absent."
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs ../shared/{'/'.join(parts)}, which is not here")
    return path


def paint(path: Path, color, seed: int = 0, size: tuple[int, int] = (48, 36)) -> Path:
    "A noisy picture of about one colour, told apart easily, no two alike."
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 80, (size[1], size[0], 3))
    Image.fromarray(np.uint8(np.clip(np.array(color) + noise, 0, 255))).save(path)
    return path


def guesses(data, seed: int = 0, right: float = 0.7) -> Predictions:
    "What a network might say of the validation pictures: about `right` of them named right."
    labels = torch.tensor([i.label for i in data.items("valid")])
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(labels), len(data.classes), generator=rng)
    sure = torch.rand(len(labels), generator=rng) < right
    logits[sure, labels[sure]] += 6
    return Predictions(logits.softmax(1), labels)


@pytest.fixture
def colours(tmp_path) -> Path:
    "A folder with two classes of 20 pictures, red and blue."
    for k in range(20):
        paint(tmp_path / "colours" / "red" / f"{k:02}.png", (150, 20, 20), k)
        paint(tmp_path / "colours" / "blue" / f"{k:02}.jpg", (20, 20, 150), 100 + k)
    return tmp_path / "colours"


@pytest.fixture
def hostile(tmp_path) -> Path:
    """A folder with two classes whose names, and whose files', a page, a formula or a pipe might choke on."""
    names = ("<img src=x onerror=alert(1)>", "$\\frac{ \n<b>\u202e" + 40 * "long ")
    files = ("a'\"`${1}.png", "\u202egnp.png", "line\nbreak.png", "caf\udce9.png")
    for k, (split, name, file) in enumerate(product(("train", "valid"), names, files)):
        paint(tmp_path / "hostile" / split / name / file, (20, 20, 150), k)
    return tmp_path / "hostile"


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    "An empty current folder: exercises keep their progress in it."
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def browser():
    "Debian's chromium. In CI its absence is a failure."
    if not os.path.exists(CHROMIUM):
        if os.environ.get("CI"):
            pytest.fail("CI must run the browser tests: chromium is not installed")
        pytest.skip("needs Debian's chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield chromium
        chromium.close()
