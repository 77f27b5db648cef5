"""Photos that go while a network is trained on them: what was learnt is kept, and what went is named."""

import json
import re
import shutil

import pytest
import torch

from lessonkit import cli
from lessonkit.images.data import ImageData
from lessonkit.predict import load_model
from lessonkit.recipe import five_steps
from lessonkit.train.learner import Learner
from lessonkit.train.loop import TrainingError
from lessonkit.train.schedule import sgdr


def delete_one(data):
    for split in ("train", "valid"):
        (data.pictures.root / data.items(split)[0].path).unlink()


def spoil_one(data):
    for split in ("train", "valid"):
        (data.pictures.root / data.items(split)[0].path).write_bytes(b"\xff\xd8\xff no more than that")


def delete_all(data):
    shutil.rmtree(data.report.root)


@pytest.fixture
def train(colours, tmp_path, monkeypatch, capsys):
    """`lessonkit train` at 32 and 40 px; its folder comes to harm when a line is said. The exit code, and
    what is said on stderr besides the pictures that are left out."""

    def run(harm, line, *options):
        seen, image_data = [], cli.ImageData
        keep = lambda *args, **kwargs: seen.append(image_data(*args, **kwargs)) or seen[0]
        monkeypatch.setattr(cli, "ImageData", keep)
        say = lambda text: harm(seen[0]) if text.startswith(line) else None
        monkeypatch.setattr(cli, "five_steps", lambda *args, **kwargs: five_steps(*args, say=say, **kwargs))
        if line == "model:":  # after the training, before the page
            save = cli.save_model
            monkeypatch.setattr(cli, "save_model", lambda *a, **k: (save(*a, **k), harm(seen[0])))
        small = "--arch resnet10 --weights none --size 32,40 --bs 8 --head-epochs 1 --epochs 2 --cycle-len 1"
        small = [*small.split(), "--out", str(tmp_path / "run"), *options]
        code, said = cli.main(["train", str(colours), *small]), capsys.readouterr().err.splitlines()
        told = [words for words in said if re.search("any more.*(left out|names them)$", words)]
        assert len(told) <= 4  # warnings of the first ones
        return code, [words for words in said if words not in told]

    return run


@pytest.mark.parametrize("harm, line, missed", [(spoil_one, "   40 px", 2), (delete_one, "model:", 1)])
def test_a_photo_that_goes_ends_nothing(harm, line, missed, train, tmp_path):
    code, said = train(harm, line, "--cache-bytes", "0")
    page = (tmp_path / "run" / "report.html").read_text()
    assert (code, said) == (0, []) and load_model(tmp_path / "run").classes == ("blue", "red")
    lost = re.findall("<li><code>blue/[0-9]+.jpg</code>: (the file is not there|broken|not a pic)", page)
    assert len(lost) == missed and re.search(r"\d of 7 validation pictures are named right", page)
    assert f"<summary>{missed} picture{'s' * (missed > 1)} could be read at first" in page


@pytest.mark.parametrize(
    "line, cache, goes_on",
    [
        ("3. Unfreeze", ["--cache-bytes", "0"], False),
        ("   40 px", [], False),  # what is kept has 32 px
        ("model:", ["--cache-bytes", "0"], True),
        ("model:", [], True),
    ],
)
def test_a_folder_that_goes_leaves_the_best_so_far(line, cache, goes_on, train, tmp_path):
    code, said = train(delete_all, line, *cache)
    assert load_model(tmp_path / "run").size == 32 or goes_on
    ended = json.loads((tmp_path / "run" / "history.json").read_text())["ended"]
    page = (tmp_path / "run" / "report.html").read_text()
    if goes_on:
        assert (code, said, ended) == (0, [], "")
    else:
        first, go_on = said
        assert code == 1 and first == f"lessonkit: {ended}" and ended.startswith("none of 3")
        assert go_on.startswith("to go on: ") and go_on.endswith(" --resume")
        assert "The run ended early: none of 3" in page
    assert ("nothing can be said here" in page) == bool(cache)
    assert ("as training sees" in page) == (not cache)


def test_before_anything_was_learnt_there_is_nothing_to_keep(train, tmp_path):
    code, said = train(delete_all, "1. Find", "--cache-bytes", "0")
    assert code == 1 and re.match("lessonkit: none of 32 pictures can be read any more.*the sweep$", *said)
    assert not (tmp_path / "run" / "model.json").exists()


def test_fit_puts_the_last_good_weights_back(colours):
    data = ImageData(colours, size=32, bs=8, cache_bytes=0)
    learn = Learner(data, "resnet10", weights=None)
    learn.fit(sgdr(1), 1e-3, progress=False)
    good = {name: value.clone() for name, value in learn.model.state_dict().items()}
    delete_all(data)
    with pytest.warns(UserWarning) as seen, pytest.raises(TrainingError, match="last evaluation"):
        learn.fit(sgdr(1), 1e-3, progress=False)
    assert all(torch.equal(good[name], value) for name, value in learn.model.state_dict().items())
    assert len(seen) == 4 and len(data.lost) == 32 and "`lost` of the data" in str(seen[-1].message)


def test_a_batch_without_a_picture_is_left_out_and_so_is_one_for_batch_norm_alone(colours):
    data = ImageData(colours, size=16, bs=4, cache_bytes=0)
    order = [spec.index for spec in data.train_dl().next_epoch()]
    for k in (*order[0], *order[1][1:]):
        (data.pictures.root / data.items("train")[k].path).unlink()
    with pytest.warns(UserWarning):
        assert [len(yb) for _, yb in data.train_dl()] == [4] * 6
        assert sum(len(yb) for _, yb in data.valid_dl()) == 8
