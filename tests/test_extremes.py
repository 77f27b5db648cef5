"""Many classes, many files, slow disks: what is made of them stays in bounds, nothing goes one by one."""

import os
import threading
import time
from contextlib import contextmanager

import pytest
from conftest import paint
from matplotlib.figure import Figure

from lessonkit.images import cache, decode
from lessonkit.images.cache import Pictures
from lessonkit.images.data import ImageData
from lessonkit.images.folders import FolderReport, Item, check_folder, take_per_class
from lessonkit.plot import plot_confusion
from lessonkit.predict import Predictor
from lessonkit.train.learner import Learner
from lessonkit.train.schedule import sgdr
from lessonkit.widgets import Results


@pytest.fixture
def at_once(monkeypatch):
    "How many calls of a function of a module run at the same time, at most, while each takes its time."

    @contextmanager
    def watch(module, name):
        real, running, most, lock = getattr(module, name), set(), [0], threading.Lock()

        def slow(*args):
            with lock:
                running.add(threading.get_ident())
                most[0] = max(most[0], len(running))
            time.sleep(0.02)
            with lock:
                running.discard(threading.get_ident())
            return real(*args)

        with monkeypatch.context() as m:
            m.setattr(module, name, slow)
            m.setattr(os, "cpu_count", lambda: 1)
            yield most

    return watch


def test_a_slow_disk_is_asked_for_many_files_together(colours, at_once, tmp_path):
    with at_once(decode, "_read_file") as most:
        report = check_folder(colours)
    assert len(report.items) == 40 and most[0] >= 4
    files = [item.path for item in report.items] * 2  # one twice is no harm
    predictor = Predictor(lambda xb: xb.mean((2, 3)), "abc", 16, (0, 0, 0), (1, 1, 1))
    predictor.model.eval = lambda: None
    with at_once(decode, "_read_file") as most:
        said = list(predictor.predict([*files, colours / "gone.png"], bs=100))
    assert [p.file for p in said[:-1]] == files and said[-1].error and most[0] >= 4


def test_what_is_kept_is_looked_at_together(tmp_path, at_once, monkeypatch):
    monkeypatch.setenv("LESSONKIT_CACHE", str(tmp_path / "cache"))
    kept = Pictures(tmp_path)
    for k in range(300):
        kept.get(paint(tmp_path / f"{k}.png", (9, 9, 9), k, (8, 8)), 8)
    kept.flush(wait=True)
    with at_once(cache, "_identity") as most:
        real = time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: real(0.001))
        assert len(Pictures(tmp_path)._decoded) == 300
    assert most[0] == 3


class Counted(tuple):
    "Items that count how often somebody goes through all of them."

    times = 0

    def __iter__(self):
        type(self).times += 1
        return super().__iter__()


def test_many_classes_do_not_mean_many_passes():
    items = Counted(
        Item(f"{k}.png", k % 500, "train" if k % 3 else "valid", 8, 8, str(k)) for k in range(5000)
    )
    report = FolderReport("many", tuple(map(str, range(500))), items)
    Counted.times = 0
    few = take_per_class(report, 2)
    assert set(few.counts("train").values()) == {2} and Counted.times < 10


def test_a_matrix_of_many_classes_is_no_larger_than_a_screen():
    n = 300
    ax = plot_confusion([[int(i == j) for j in range(n)] for i in range(n)], [f"class {k}" for k in range(n)])
    assert max(ax.figure.get_size_inches()) < 14 and not ax.texts
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == [f"class {k}" for k in ax.get_yticks()] and 30 <= len(labels) <= 40
    ax = plot_confusion([[1] * 20] * 20, list("abcdefghijklmnopqrst"), Figure().subplots())
    assert len(ax.texts) == 400 and len(ax.get_xticklabels()) == 20


@pytest.fixture
def many(tmp_path):
    "150 classes of two tiny pictures."
    for k in range(150):
        for j in range(2):
            paint(tmp_path / "many" / f"class {k:03}" / f"{j}.png", (k, 20, 150 - k), 2 * k + j, (8, 8))
    return tmp_path / "many"


def test_more_classes_than_pictures_in_a_batch(many):
    learn = Learner(ImageData(many, size=16, bs=8, progress=False), "resnet10", weights=None)
    history = learn.fit(sgdr(1), 1e-3, progress=False)
    assert history.last["valid_loss"] > 0 and learn.get_preds().probs.shape == (150, 150)
    results = Results(learn)
    assert not results.counts and len(results.to_html()) < 300_000


def test_one_picture_of_each_class_is_too_few_and_of_some_is_said(many):
    for k in range(150):
        (many / f"class {k:03}" / "1.png").unlink()
    (why,) = check_folder(many).errors
    assert "two of each class are the least" in why
    paint(many / "class 007" / "1.png", (9, 9, 9), 999)
    report = check_folder(many)
    assert not report.errors and report.counts("valid")["class 007"] == 1
    assert any(w.startswith("no validation pictures of class 000") for w in report.warnings)
