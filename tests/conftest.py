"""What the tests share: folders of small pictures, real photos where they are at hand, two threads at
most."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessonkit.basics import keep_freed_memory, memory_environment

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


@pytest.fixture
def colours(tmp_path) -> Path:
    "A folder with two classes of 20 pictures, red and blue."
    for k in range(20):
        paint(tmp_path / "colours" / "red" / f"{k:02}.png", (150, 20, 20), k)
        paint(tmp_path / "colours" / "blue" / f"{k:02}.jpg", (20, 20, 150), 100 + k)
    return tmp_path / "colours"


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
