"""Folders as people have them: splits, broken files, odd modes, changes under one's feet."""

import itertools
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import paint, shared
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lessonkit.images.cache import list_cache
from lessonkit.images.data import ImageData, batch_bounds
from lessonkit.images.datasets import fetch
from lessonkit.images.decode import load_picture
from lessonkit.images.folders import DataError, check_folder, find_splits, list_pictures, take_per_class
from lessonkit.train.restore import no_trace


def problems(report):
    return {Path(f).name: reason for f, reason in report.problems}


def test_one_folder_is_split_by_the_seed_and_evenly(colours):
    report = check_folder(colours, valid=0.25)
    assert report.classes == ("blue", "red") and report.counts("valid") == {"blue": 5, "red": 5}
    assert check_folder(colours, valid=0.25).items == report.items
    assert {i.path for i in check_folder(colours, valid=0.25, seed=1).items if i.split == "valid"} != {
        i.path for i in report.items if i.split == "valid"
    }


@given(small=st.integers(1, 16), more=st.integers(0, 8), seed=st.integers(0, 2**32))
def test_few_pictures_of_each_class_are_part_of_more_and_validation_stays(drawn, small, more, seed):
    train = lambda report: {i for i in report.items if i.split == "train"}
    few, many = take_per_class(drawn, small, seed), take_per_class(drawn, small + more, seed)
    assert all(n == min(small, drawn.counts("train")[c]) for c, n in few.counts("train").items())
    assert train(few) <= train(many) <= train(drawn) and few.counts("valid") == drawn.counts("valid")
    assert list(few.items) == [i for i in drawn.items if i in set(few.items)] and few == take_per_class(
        drawn, small, seed
    )
    assert ("fewer than" in " ".join(few.warnings)) == (small > 6)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    "A report of two classes, 16 and 6 pictures to train on."
    root = tmp_path_factory.mktemp("few")
    for name, n in (("many", 20), ("some", 8)):
        for k in range(n):
            paint(root / name / f"{k}.png", (90, 20, 20), 100 * n + k)
    report = check_folder(root, valid=0.2)
    assert report.counts("train") == {"many": 16, "some": 6}
    return report


def test_image_data_takes_few_by_its_seed_and_validates_on_all(colours):
    data = ImageData(colours, size=24, per_class=3, seed=5)
    assert [len(data.items(s)) for s in ("train", "valid")] == [6, 8] and data.bs == 6
    assert data.report.counts("train") == {"blue": 3, "red": 3}
    assert sorted(yb.item() for _, ys in data.train_dl() for yb in ys) == [0, 0, 0, 1, 1, 1]
    paths = lambda seed: {
        i.path for i in ImageData(colours / ".." / "colours", size=24, per_class=3, seed=seed).items("train")
    }
    assert paths(1) != paths(2)
    for bad in (0, -1, 1.5, "few"):
        with pytest.raises(ValueError, match="per_class="):
            ImageData(colours, per_class=bad)


@pytest.mark.parametrize(
    "train, valid", [("train", "valid"), ("Train", "val"), ("training", "validation"), ("train", "test")]
)
def test_given_splits_are_kept(tmp_path, train, valid):
    for split, n in ((train, 4), (valid, 2)):
        for c in ("a", "b"):
            for k in range(n):
                paint(tmp_path / split / c / f"{k}.png", (9, 9, 9), hash((split, c, k)) % 2**32)
    report = check_folder(tmp_path)
    assert report.counts("train") == {"a": 4, "b": 4} and report.counts("valid") == {"a": 2, "b": 2}
    assert find_splits(tmp_path)[0].name == train


def test_copies_of_a_picture_stay_on_one_side(tmp_path):
    for c in ("a", "b"):
        for k in range(20):
            paint(tmp_path / c / f"{k}.png", (9, 9, 9), k % 5 + 100 * (c == "b"))
    report = check_folder(tmp_path)
    sides = [{i.digest for i in report.items if i.split == s} for s in ("train", "valid")]
    assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_leaks_and_pictures_in_two_classes_are_told(tmp_path):
    for split in ("train", "valid"):
        for c in ("a", "b"):
            for k in range(4):
                paint(
                    tmp_path / split / c / f"{k}.png",
                    (9, 9, 9),
                    10 * k + (c == "b") + 1000 * (split == "valid" and k > 1),
                )
    (
        paint(tmp_path / "train" / "a" / "same.png", (9, 9, 9), 77),
        paint(tmp_path / "train" / "b" / "same.png", (9, 9, 9), 77),
    )
    text = " ".join(check_folder(tmp_path).warnings)
    assert (
        "4 validation pictures are in the training part too" in text
        and "1 picture lies in more than one class" in text
    )


MODES = ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1", "F", "I", "YCbCr", "LAB"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode, tmp_path):
    grey = np.linspace(0, 1, 40 * 30).reshape(30, 40)
    if mode == "I;16":
        im = Image.fromarray((grey * 65535).astype(np.uint16))
    elif mode in ("F", "I"):
        im = Image.fromarray((grey * 65535).astype(np.float32 if mode == "F" else np.int32))
    else:
        im = Image.fromarray((grey * 255).astype(np.uint8)).convert("RGB").convert(mode)
    path = tmp_path / (
        "x.png"
        if mode in ("L", "LA", "P", "RGBA", "I;16", "1")
        else "x.jpg"
        if mode in ("CMYK", "YCbCr")
        else "x.tiff"
    )
    im.save(path)
    got = load_picture(path)
    assert got.shape == (30, 40, 3) and got.dtype == np.uint8
    if mode != "LAB":  # the same grey ramp comes back
        assert np.abs(got.mean(2) - grey * 255).mean() < {"1": 130, "P": 30}.get(mode, 4)
        assert got[:3].mean() < 40 and got[-3:].mean() > 215


def test_transparent_parts_are_white(tmp_path):
    a = np.zeros((8, 8, 4), np.uint8)
    a[:, 4:] = (200, 0, 0, 255)
    Image.fromarray(a).save(tmp_path / "x.png")
    got = load_picture(tmp_path / "x.png")
    assert (got[:, :4] == 255).all() and (got[:, 4:] == (200, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photos_are_put_upright(orientation, tmp_path):
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :30] = (255, 0, 0)
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    stored = undo[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "x.png", exif=exif)
    got = load_picture(tmp_path / "x.png")
    assert np.array_equal(got, upright)
    assert load_picture(tmp_path / "x.png", 20).shape == (20, 30, 3)


def test_reduced_decoding_is_near_the_full_one():
    files = sorted(shared("data", "cats_dogs", "valid", "cats").iterdir())[:8]
    for f in files:
        small = load_picture(f, 64)
        full = Image.fromarray(load_picture(f)).resize(small.shape[1::-1], Image.Resampling.BICUBIC)
        assert min(small.shape[:2]) == 64 and np.abs(small - np.asarray(full, dtype=float)).mean() < 4


def bomb(path, w=60_000, h=60_000):
    "A PNG of a few bytes whose header promises gigapixels."

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 10))
        + chunk(b"IEND", b"")
    )


def test_every_bad_file_is_listed_with_its_reason_and_the_rest_is_used(colours):
    good = (colours / "red" / "00.png").read_bytes(), (colours / "blue" / "00.jpg").read_bytes()
    (colours / "red" / "cut.png").write_bytes(good[0][: len(good[0]) // 2])
    (colours / "red" / "cut.jpg").write_bytes(good[1][: len(good[1]) // 2])
    (colours / "red" / "empty.jpg").write_bytes(b"")
    (colours / "red" / "text.jpg").write_text("this is not a picture")
    (colours / "red" / "header.png").write_bytes(good[0][:30])
    bomb(colours / "red" / "bomb.png")
    os.symlink(colours / "nowhere.jpg", colours / "red" / "link.jpg")
    (colours / "red" / ".DS_Store").write_bytes(b"x"), (colours / "red" / "Thumbs.db").write_bytes(b"x")
    os.symlink(colours / "red", colours / "red" / "loop")
    report = check_folder(colours)
    found = problems(report)
    names = "cut.png cut.jpg empty.jpg text.jpg header.png bomb.png link.jpg loop"
    assert set(found) == set(names.split())
    assert (
        "empty" in found["empty.jpg"]
        and "not a picture" in found["text.jpg"]
        and "too large" in found["bomb.png"]
    )
    assert "truncated" in found["cut.jpg"].lower() and len(report.items) == 40 and not report.errors
    data = ImageData(colours, size=16, bs=8)
    assert sum(len(yb) for _, yb in data.train_dl()) == 32


@pytest.mark.parametrize(
    "case, word",
    [
        ("none", "is not a folder"),
        ("empty", "has no folders"),
        ("one", "at least two classes"),
        ("nested", "did you mean"),
        ("void", "no usable training pictures of 'green'"),
        ("broken", "1 files were left out"),
        ("extra", "cannot learn what it never sees"),
        ("single", "no pictures for validation"),
        ("file", "is not a folder"),
    ],
)
def test_what_cannot_be_trained_on_is_said_before_any_weight_moves(case, word, tmp_path):
    root = tmp_path / "photos"
    if case == "file":
        root.write_text("x")
    elif case != "none":
        root.mkdir()
    if case in ("one", "void", "broken"):
        [paint(root / "red" / f"{k}.png", (99, 0, 0), k) for k in range(4)]
    if case in ("void", "broken"):
        [paint(root / "blue" / f"{k}.png", (0, 0, 99), 10 + k) for k in range(4)]
        (root / "green").mkdir()
    if case == "broken":
        (root / "green" / "x.jpg").write_bytes(b"no")
    if case == "nested":
        [paint(root / "inner" / c / f"{k}.png", (99, 0, 0), k) for c in "ab" for k in range(2)]
    if case == "extra":
        [
            paint(root / s / c / "0.png", (9, 9, 9), hash(s + c) % 999)
            for s, c in (("train", "a"), ("train", "b"), ("valid", "a"), ("valid", "c"))
        ]
    if case == "single":
        [paint(root / c / "0.png", (9, 9, 9), ord(c)) for c in "ab"]
    with pytest.raises(DataError) as e:
        ImageData(root, size=16)
    assert word in str(e.value)


def test_panoramas_and_specks_are_bounded(tmp_path):
    (
        Image.new("RGB", (4000, 2)).save(tmp_path / "wide.png"),
        Image.new("RGB", (1, 1), "red").save(tmp_path / "speck.png"),
    )
    assert load_picture(tmp_path / "wide.png", 64).shape == (64, 192, 3)
    assert (load_picture(tmp_path / "speck.png", 32) == (255, 0, 0)).all()


def test_the_size_may_change_in_the_middle(colours):
    data = ImageData(colours, size=16, bs=8)
    dl = data.train_dl()
    assert {xb.shape[-1] for xb, _ in dl} == {16}
    data.size = 40
    assert {xb.shape[-1] for xb, _ in dl} == {40}
    for bad in (0, 7, 5000, 2.5, "64", True):
        with pytest.raises(ValueError, match="size="):
            data.size = bad
    assert data.size == 40


def test_epochs_differ_and_follow_the_seed(colours):
    def epoch(data, n=1):
        dl = data.train_dl()
        return [torch.cat([xb for xb, _ in dl]) for _ in range(n)][-1]

    a, b = ImageData(colours, size=16, bs=8), ImageData(colours, size=16, bs=8)
    assert torch.equal(epoch(a), epoch(b)) and not torch.equal(epoch(a), epoch(a, 2))
    assert not torch.equal(epoch(a), epoch(ImageData(colours, size=16, bs=8, seed=3)))
    state = torch.get_rng_state()
    epoch(a)
    assert torch.equal(state, torch.get_rng_state())


def test_validation_is_in_order_and_never_random(colours):
    data = ImageData(colours, size=16, bs=3)
    dl = data.valid_dl()
    one, two = list(dl), list(dl)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(one, two)) and len(one) == len(dl) == 3
    assert torch.cat([yb for _, yb in one]).tolist() == [i.label for i in data.items("valid")]


def test_every_picture_comes_once_an_epoch_with_its_own_label(tmp_path):
    for c, base in (("dark", 20), ("light", 170)):
        for k in range(13):
            paint(tmp_path / c / f"{k}.png", (base, base, base), k + base)
    data = ImageData(tmp_path, size=16, bs=6, augment="none", valid=0.1)
    dl = data.train_dl(mean=(0, 0, 0), std=(1, 1, 1))
    means = {i.path: centre_mean(i.path) for i in data.items("train")}
    got = [(xb[k].mean().item(), yb[k].item()) for xb, yb in dl for k in range(len(yb))]
    assert len(got) == data.train_dl().n == len(means) and sorted(len(yb) for _, yb in dl) == [6, 6, 6, 6]
    assert all((m > 0.5) == bool(y) for m, y in got)


def centre_mean(path):
    return float(np.asarray(Image.open(path)).mean())


@given(st.integers(2, 500), st.integers(2, 64))
def test_batches_cover_everything_without_a_leftover_of_one(n, bs):
    bounds = batch_bounds(n, bs)
    sizes = [b - a for a, b in bounds]
    assert (
        bounds[0][0] == 0 and bounds[-1][1] == n and all(x[1] == y[0] for x, y in itertools.pairwise(bounds))
    )
    assert max(sizes) <= max(bs, 3) and min(sizes) >= 2 and max(sizes) - min(sizes) <= 1


def test_fewer_pictures_than_a_batch(tmp_path):
    for c in "ab":
        for k in range(3):
            paint(tmp_path / c / f"{k}.png", (9, 9, 9), ord(c) + 300 * k)
    data = ImageData(tmp_path, size=16, bs=64)
    assert data.bs == 4 and [len(yb) for _, yb in data.train_dl()] == [4]


def test_a_file_that_goes_bad_later_is_left_out_with_a_warning(colours):
    data = ImageData(colours, size=16, bs=8, cache_bytes=0)
    gone = data.items("train")[3].path
    os.remove(gone)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        n = sum(len(yb) for _, yb in data.train_dl())
    assert n == 31 and any(gone in str(w.message) for w in seen)


@pytest.mark.parametrize("limit", [0, 20_000, 2**31])
def test_the_kept_pictures_are_bounded_and_change_nothing(colours, limit, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSONKIT_CACHE", str(tmp_path / "bounded"))
    data = ImageData(colours, size=16, cache_bytes=limit)
    bounded = [xb.clone() for xb, _ in data.train_dl()]
    data.pictures.flush(wait=True)
    kept = list_cache()
    assert (
        sum(e.n_bytes for e in kept) <= limit
        and sum(e.pictures for e in kept) == {0: 0, 20_000: 12, 2**31: 40}[limit]
    )
    monkeypatch.setenv("LESSONKIT_CACHE", str(tmp_path / "plain"))
    assert all(torch.equal(a, b) for a, (b, _) in zip(bounded, ImageData(colours, size=16).train_dl()))


def test_the_loader_takes_part_in_an_experiment_without_a_trace(colours):
    data = ImageData(colours, size=16)
    dl, other = data.train_dl(), data.train_dl()
    with no_trace(torch.nn.Linear(1, 1), loaders=(dl,)):
        list(dl)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(dl, other))


@pytest.mark.parametrize(
    "bad",
    [
        dict(bs=1),
        dict(bs=0),
        dict(size=4),
        dict(valid=0),
        dict(valid=1.0),
        dict(seed=-1),
        dict(augment="sideways"),
    ],
)
def test_bad_options_are_named(colours, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ImageData(colours, **bad)


def test_the_report_is_plain_json_and_readable(colours):
    import json

    (colours / "red" / "bad.jpg").write_bytes(b"x")
    report = check_folder(colours)
    d = json.loads(json.dumps(report.to_dict()))
    assert (
        d["pictures"] == 40
        and d["train"] == {"blue": 16, "red": 16}
        and d["problems"][0]["file"] == "red/bad.jpg"
    )
    assert d["shorter_side"]["max"] == 36 or d["shorter_side"]["max"] == 64
    assert "left out (1):" in str(report) and "bad.jpg" in str(report)


def test_pictures_of_a_path(colours, tmp_path):
    assert len(list_pictures(colours)) == 40 and list_pictures(colours / "red" / "00.png") == [
        colours / "red" / "00.png"
    ]
    with pytest.raises(DataError, match="is not there"):
        list_pictures(tmp_path / "nothing")


def oxford(root):
    "Files as torchvision lays the Oxford-IIIT pets out."
    base = root / "oxford-iiit-pet"
    lists = {"trainval": [], "test": []}
    for b, (breed, species) in enumerate((("Abyssinian", 1), ("beagle", 2), ("Bengal", 1), ("pug", 2))):
        for k in range(4):
            name = f"{breed}_{k}"
            paint(base / "images" / f"{name}.jpg", (60 * species, 20 * b, 9), 10 * b + k)
            lists["trainval" if k < 2 else "test"].append(f"{name} {b + 1} {species} 1")
    (base / "annotations" / "trimaps").mkdir(parents=True)
    for split, lines in lists.items():
        (base / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "name, classes",
    [
        ("oxford-iiit-pet", ("cats", "dogs")),
        ("oxford-iiit-pet-breeds", ("abyssinian", "beagle", "bengal", "pug")),
    ],
)
def test_the_pets_in_their_own_layout(name, classes, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSONKIT_CACHE", str(tmp_path))
    oxford(tmp_path / "datasets")
    data = ImageData(name, size=16, bs=4)
    assert data.classes == classes and len(data.items("train")) == len(data.items("valid")) == 8
    assert ImageData(name, size=16, bs=4).report == data.report


def test_eurosat_in_its_own_layout(tmp_path):
    for c in ("Forest", "River"):
        for k in range(5):
            paint(tmp_path / "eurosat" / "2750" / c / f"{c}_{k}.jpg", (9, 99, 9), ord(c[0]) + 100 * k)
    folder = fetch("eurosat", tmp_path)
    assert check_folder(folder).counts("train") == {"Forest": 4, "River": 4}


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
    import torchvision.datasets.utils as utils

    monkeypatch.setattr(utils, "_urlretrieve", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    for name in ("eurosat", "oxford-iiit-pet"):
        with pytest.raises(ConnectionError, match="sample:side_on"):
            fetch(name, tmp_path)
    with pytest.raises(ValueError, match="no data set known"):
        fetch("imagenet", tmp_path)


@pytest.mark.parametrize("resident", [True, False])
def test_the_gpus_way_gives_the_cpus_batches(colours, resident, monkeypatch):
    "Run on the CPU: pictures that lie on the device, or are sent there batch by batch."
    from lessonkit.images.data import _OnDevice

    if not resident:
        monkeypatch.setattr(_OnDevice, "load", lambda self, short: None)
    data = ImageData(colours, size=24, bs=8, progress=False)
    for plain, other in ((data.train_dl(), data.train_dl()), (data.valid_dl(), data.valid_dl())):
        other._maker = _OnDevice(other._get, other.n, torch.device("cpu"))
        for _ in range(2):
            for (a, ya), (b, yb) in zip(plain, other):
                assert (
                    torch.equal(ya, yb)
                    and (a - b).abs().mean() < 0.03
                    and b.is_contiguous(memory_format=torch.channels_last)
                )
    data.size = 32
    assert next(iter(other))[0].shape[-1] == 32


def test_two_epochs_of_one_loader_may_run_at_once(colours):
    data = ImageData(colours, size=16, bs=8, progress=False)
    dl, one, two = data.train_dl(), data.train_dl(), data.train_dl()
    two.epoch = 1
    for (a, b), (c, _), (d, _) in zip(zip(dl, dl), one, two):
        assert torch.equal(a[0], c) and torch.equal(b[0], d)


def test_fixed_augmentation_is_drawn_once_and_the_order_is_not(colours):
    data = ImageData(colours, size=16, bs=8, fixed=True, progress=False)
    dl = data.train_dl()
    epochs = [sorted((xb[k].sum().item() for xb, _ in dl for k in range(len(xb)))) for _ in range(2)]
    assert (
        epochs[0] == epochs[1]
        and dl.fixed
        and not ImageData(colours, size=16, progress=False).train_dl().fixed
    )
    first, second = ([yb.tolist() for _, yb in dl] for _ in range(2))
    assert first != second


def test_the_size_that_is_reported_is_the_files(colours):
    assert check_folder(colours).to_dict()["shorter_side"] == {"min": 36, "median": 36, "max": 36}
