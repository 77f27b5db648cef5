"""Names as file systems allow them, in every command and figure: nothing of them acts on a terminal."""

import io
import json
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import guesses, paint
from matplotlib.figure import Figure

from lessonkit.basics import printable
from lessonkit.cli import main
from lessonkit.images.data import ImageData
from lessonkit.plot import plot_confusion, plot_layer_lrs, plot_pictures
from lessonkit.train.learner import Learner
from lessonkit.widgets import Results

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are tamer")
NAMES = [
    "$^$ cash $_{$",
    "\x1b[31mred\x1b[2J\r",
    "\u202egnp.exe\x07",
    os.fsdecode(b"caf\xe9 \x9b31m"),
    "line\nlessonkit: all is well",
    "-rf %s %(n)s {} {0.x}",
    "'\"`<script>alert(1)<\\script>",
    "ü" * 120 + "0123456789ab.jp",  # 255 bytes
]
UNSAFE = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xed[\xb0-\xbf]")


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    "A folder of an odd name with classes of odd names, and pictures of such names in them."
    root = tmp_path_factory.mktemp("odd") / "\x1b[7m$a$ {}".ljust(250, "x")
    for k, name in enumerate(NAMES):
        for j in range(4):
            paint(
                root / name / f"{j}{NAMES[(k + j) % 7]}.png", (30 * k, 20, 150 - 15 * k), 10 * k + j, (12, 12)
            )
    (root / NAMES[1] / "\x1b[31m\nbad.jpg").write_bytes(b"no")
    return root


def lessonkit(*args, encoding="utf-8"):
    "The command with an output of this encoding: its exit code, and what it printed, as bytes."
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, errors=e) for e in ("strict", "backslashreplace"))
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*map(os.fspath, args)])
        out.flush(), err.flush()
    return SimpleNamespace(returncode=code, stdout=out.buffer.getvalue(), stderr=err.buffer.getvalue())


@pytest.fixture(scope="module")
def run(odd, tmp_path_factory) -> Path:
    "What `lessonkit train` has made of it."
    out = tmp_path_factory.mktemp("run") / "run"
    fast = "--arch resnet10 --weights none --size 32 --bs 8 --epochs 1 --head-epochs 1 --cycle-len 1"
    done = lessonkit("train", odd, *fast.split(), "--out", out, encoding="ascii")
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert not UNSAFE.search(done.stdout + done.stderr)
    return out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_check_shows_odd_names_as_text(odd, encoding):
    done = lessonkit("check", odd, encoding=encoding)
    text = done.stdout.decode(encoding)
    assert done.returncode == 1 and not done.stderr and not UNSAFE.search(text.encode(errors="surrogatepass"))
    assert r"\x1b[31mred\x1b[2J\r" in text and r"caf\udce9" in text and r"\x1b[31m\nbad.jpg: not a" in text
    assert "\nlessonkit: all is well" not in text and "$^$ cash $_{$" in text


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_json_reads_back_to_the_same_names(odd, run, encoding):
    report = json.loads(lessonkit("check", odd, "--json", encoding=encoding).stdout)
    assert report["classes"] == sorted(NAMES) and report["root"] == str(odd)
    done = lessonkit("predict", run, odd / NAMES[3], odd / NAMES[7], "--json", encoding=encoding)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {Path(row["file"]).parent.name for row in rows} == {NAMES[3], NAMES[7]}
    assert len(rows) == 8 and all(list(row["probabilities"]) == sorted(NAMES) for row in rows)


def test_predict_shows_odd_names_as_text(odd, run):
    done = lessonkit("predict", run, odd / NAMES[1], odd / NAMES[3], encoding="latin-1")
    lines = done.stdout.decode("latin-1").splitlines()
    assert done.returncode == 1 and len(lines) == 9 and not UNSAFE.search(done.stdout + done.stderr)
    assert done.stderr.count(b"\n") == 1 and rb"\x1b[31m\nbad.jpg: not a picture" in done.stderr
    missing = lessonkit("predict", run, "\x1b[31mgone")
    assert missing.returncode == 2 and rb"\x1b[31mgone is not there" in missing.stderr


def test_the_page_has_every_name_as_text(run):
    page = (run / "report.html").read_bytes().decode()
    assert "<script>alert" not in page and "$^$ cash $_{$" in page
    assert json.loads((run / "model.json").read_text())["classes"] == sorted(NAMES)


def test_no_figure_reads_a_formula_in_a_name(odd):
    figure = Figure()
    one, two = figure.subplots(1, 2)
    ax = plot_confusion([[1] * 8] * 8, NAMES, one)
    plot_pictures([[[[0.5] * 3]]], [NAMES[0]], 1, axes=figure.subplots(1, 1, squeeze=False))
    plot_layer_lrs([NAMES[0], "head"], [1e-4, 1e-3], ax=two)
    figure.savefig(io.BytesIO())
    assert [t.get_text() for t in ax.get_xticklabels()] == list(map(printable, NAMES))
    data = ImageData(odd, size=16, progress=False, cache_bytes=0)
    Results(Learner(data, "resnet10", weights=None), guesses(data, right=0)).figure().savefig(io.BytesIO())


def test_what_is_text_stays():
    for name in ("Füchse", "日本 語", "👩\u200d🌾", "a\xa0b", "C:\\x1b"):
        assert printable(name) == name
    assert printable("\ufeff\u2028\u2066\x9b\udcff") == r"\ufeff\u2028\u2066\x9b\udcff"
