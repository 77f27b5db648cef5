"""The built-in pictures: the same bits everywhere, fair classes, and sets on disk that are whole or not
there."""

import ast
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import lessonkit.samples.shapes as shapes
import lessonkit.samples.top_down as top_down
import lessonkit.samples.write as samples
from lessonkit.samples.canvas import Canvas
from lessonkit.samples.colours import colours
from lessonkit.samples.dice import Dice
from lessonkit.samples.draw import DOMAINS, contact_sheet, draw
from lessonkit.samples.shapes import box
from lessonkit.samples.side_on import FIGURES
from lessonkit.samples.site import Site
from lessonkit.samples.write import sample_data, write_samples

ALL = [(domain, label) for domain, labels in DOMAINS.items() for label in labels]


def pixels(*args, **kwargs):
    return np.asarray(draw(*args, **kwargs))


def digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()[:16]


def tree(root):
    return sorted(p.relative_to(root).as_posix() for p in Path(root).rglob("*") if p.is_file())


# ---------------------------------------------------------------------------- the same bits everywhere

# Computed once with numpy 2.4 and Pillow 13; numpy 1.26 and 2.0, Pillow 10.3 and 11.3, and numpy with its
# SIMD kernels off gave the same. A change of the drawings must raise samples._VERSION and replace these.
GOLDEN = {
    ("side_on", "balloon"): "c03e60cabe783953",
    ("side_on", "bauble"): "a47d6290398e8876",
    ("side_on", "goblet"): "4afcf28368ac4a55",
    ("side_on", "lamp"): "aeb94c70c83cbf8e",
    ("side_on", "mushroom"): "d8fb7ceaf9c3e1ec",
    ("side_on", "sailboat"): "ead0c41a292d18ba",
    ("top_down", "car_park"): "264326ce5d2fcdf3",
    ("top_down", "harbour"): "2075f2f7310655db",
    ("top_down", "junction"): "546c2bf8db931efd",
    ("top_down", "orchard"): "c8fd6e4adea8dcc2",
    ("top_down", "river"): "e3fca4a03ad01e20",
    ("top_down", "roundabout"): "e7f0e8a37c85930e",
}


def test_golden_pixels():
    assert samples._VERSION == 1
    assert {(d, k): digest(draw(d, k, 3, seed=7)) for d, k in ALL} == GOLDEN


def test_golden_pixels_at_other_sizes():
    assert digest(draw("side_on", "goblet", 0, size=64)) == "bcfaf4f2b2017661"
    assert digest(draw("top_down", "river", 10**6 + 5, seed=2**40, size=100)) == "d225899caeef2afe"


def test_the_sine_table_does_not_hang_on_last_bits():
    """Every entry is so far from a rounding tie that any math library gives the same table."""
    k = np.arange(1024)
    exact = np.sin(k * (2 * np.pi / 1024)) * 2**20
    assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-4
    assert np.array_equal(shapes._SINE * 2**20, np.rint(exact))


def test_only_the_promised_libraries_are_imported():
    names = set()
    for module in Path(samples.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    assert names - set(sys.stdlib_module_names) - {"lessonkit"} == {"numpy", "PIL"}


def test_a_picture_depends_on_nothing_else():
    forward = {key: digest(draw(*key, 2, size=32)) for key in ALL}
    np.random.seed(0)
    random.seed(0)
    backward = {key: digest(draw(*key, 2, size=32)) for key in reversed(ALL)}
    assert forward == backward


def test_drawing_leaves_the_global_generators_alone():
    before = np.random.get_state()[1].copy(), random.getstate()
    draw("top_down", "harbour", 1, size=32)
    assert np.array_equal(before[0], np.random.get_state()[1]) and before[1] == random.getstate()


def test_every_argument_makes_another_picture():
    base = dict(domain="side_on", label="lamp", index=4, seed=0, size=32)
    others = [{}, {"label": "goblet"}, {"index": 5}, {"seed": 1}, {"seed": 4, "index": 0}]
    others.append({"domain": "top_down", "label": "river"})
    seen = [digest(draw(**base | change)) for change in others]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("domain, label", ALL)
def test_pictures_are_rgb_of_the_asked_size_and_not_flat(domain, label):
    for size in (16, 75):
        image = draw(domain, label, np.int64(0), size=size)
        assert image.mode == "RGB" and image.size == (size, size)
        assert np.asarray(image).std() > 5


def test_a_large_picture_shows_the_same_as_a_small_one():
    """The drawing is in shares of the side: at another size it is the same picture (but for its grain)."""
    for domain, label in (("side_on", "sailboat"), ("top_down", "roundabout")):
        large = draw(domain, label, 1, size=1024).resize((64, 64), Image.Resampling.BOX)
        near = np.corrcoef(np.asarray(large).ravel(), pixels(domain, label, 1, size=64).ravel())[0, 1]
        far = np.corrcoef(np.asarray(large).ravel(), pixels(domain, label, 2, size=64).ravel())[0, 1]
        assert near > 0.95 > far


# -------------------------------------------------------------------------------------- the rasteriser


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0.05, 0.6), min_size=3, max_size=12),
    st.floats(-0.1, 1.1),
    st.floats(-0.1, 1.1),
    st.booleans(),
    st.integers(16, 40),
)
def test_coverage_is_what_pillow_sees_from_near(radii, x, y, backwards, size):
    """Oracle: Pillow fills the same polygon, 32 times as large, unsmoothed; its mean over a pixel is the
    share."""
    angle = np.arange(len(radii)) * (2 * np.pi / len(radii))
    path = np.stack([x + np.array(radii) * np.cos(angle), y + np.array(radii) * np.sin(angle)], 1)
    path = path[::-1] if backwards else path
    ours = Canvas(size, (0, 0, 0)).mask([path])
    zoom = 32
    theirs = Image.new("L", (size * zoom, size * zoom))
    ImageDraw.Draw(theirs).polygon([tuple(p) for p in (path * size * zoom - 0.5).tolist()], fill=255)
    share = np.asarray(theirs, float).reshape(size, zoom, size, zoom).mean((1, 3)) / 255
    assert np.abs(ours - share).max() < 0.3  # four scan lines a pixel: at most one of them can be in doubt
    assert np.abs(ours - share).mean() < 0.01


def test_overlapping_paths_are_one_and_paths_outside_are_nothing():
    canvas = Canvas(32, (0, 0, 0))
    a, b = box(0.1, 0.1, 0.6, 0.6), box(0.4, 0.4, 0.9, 0.9)
    both = canvas.mask([a, b[::-1]])  # also where one of them runs the other way round
    assert both.max() == 1
    assert both.sum() == pytest.approx((2 * 0.25 - 0.04) * 32 * 32, rel=0.01)
    for far in ((2, 0), (-2, 0), (0, 2), (0, -2)):
        assert canvas.mask([a + far]).sum() == 0
    assert canvas.mask([box(-5, -5, 5, 5)]).min() == 1


def test_fill_mixes_by_alpha_and_stays_in_its_clip():
    canvas = Canvas(20, (0, 0, 0))
    half = canvas.mask([box(0, 0, 0.5, 1)])
    canvas.fill(box(0, 0, 1, 1), (100, 200, 40), clip=half)
    assert np.array_equal(canvas.rgb[:, 5, 3], (100, 200, 40)) and not canvas.rgb[:, :, 10:].any()
    canvas.fill(box(0, 0, 1, 1), (0, 0, 0), alpha=0.5)
    assert np.array_equal(canvas.rgb[:, 5, 3], (50, 100, 20))


# ----------------------------------------------------------------------------- what the pictures teach


def nearest_centroid(pictures):
    """Share of right answers of a classifier that knows only the mean colour; pictures: (classes, n, size,
    size, 3)."""
    colour = pictures.mean((2, 3))
    n = colour.shape[1] // 2
    centre = colour[:, :n].mean(1)
    guess = ((colour[:, n:, None] - centre) ** 2).sum(-1).argmin(-1)
    return (guess == np.arange(len(colour))[:, None]).mean()


@pytest.mark.parametrize("domain", DOMAINS)
def test_colour_does_not_give_the_class_away(domain):
    x = np.array(
        [[pixels(domain, label, i, seed=5, size=24) for i in range(48)] for label in DOMAINS[domain]], float
    )
    assert nearest_centroid(x) < 0.28  # chance is 1/6, and 144 answers have a standard deviation of 0.031
    tinted = (
        x + 60 * np.arange(6)[:, None, None, None, None]
    )  # the measure does see a class that has its own colour
    assert nearest_centroid(tinted) > 0.5


def slopes(x):
    """Where in a grey picture (n, 64, 64) there are edges of which direction: 16 x 8 numbers that know up
    from down."""
    gy, gx = np.gradient(x, axis=(1, 2))
    strength = np.hypot(gx, gy)
    way = np.floor(np.arctan2(gy, gx) % np.pi / np.pi * 8).clip(0, 7)
    sums = [(strength * (way == k)).reshape(len(x), 16, 4, 64).sum((2, 3)) for k in range(8)]
    f = np.sqrt(np.concatenate(sums, 1))
    return f / f.sum(1, keepdims=True) * 100


@pytest.mark.parametrize("one, other", [("goblet", "lamp"), ("balloon", "bauble")])
def test_upside_down_one_is_the_other(one, other):
    """A linear classifier that tells the two apart takes flipped ones for each other, mirrored ones for
    themselves."""
    x = np.array(
        [pixels("side_on", label, i, seed=11, size=64).mean(2) for label in (one, other) for i in range(90)]
    )
    y = np.repeat([1.0, -1.0], 90)
    train = np.arange(180) % 3 != 0
    f = slopes(x)
    mean, std = f[train].mean(0), f[train].std(0) + 1e-9
    a = (f[train] - mean) / std
    w = np.linalg.solve(a.T @ a + 300 * np.eye(a.shape[1]), a.T @ y[train])

    def right(pictures):
        return (np.sign((slopes(pictures) - mean) / std @ w) == y[~train]).mean()

    assert right(x[~train]) > 0.75
    assert right(x[~train][:, :, ::-1]) > 0.75
    assert right(x[~train][:, ::-1]) < 0.25


@pytest.mark.parametrize("one, other", [("goblet", "lamp"), ("balloon", "bauble")])
def test_the_pairs_are_mirror_images_by_construction(one, other):
    for seed in range(5):
        a, b = FIGURES[one](Dice(seed)), FIGURES[other](Dice(seed))
        assert list(a) == list(b)
        for p, q in zip((p for v in a.values() for p in v), (q for v in b.values() for q in v)):
            assert np.array_equal(p * (1, -1), q)


def spread(n=80):
    """How much the rows of car parks agree on a direction (modulo a quarter turn): 0 not at all, 1 wholly."""
    agreed = []
    for i in range(n):
        gy, gx = np.gradient(pixels("top_down", "car_park", i, seed=3, size=48).mean(2))
        z = gx + 1j * gy
        total = (z**4 / (np.abs(z) ** 2 + 1e-9)).sum()
        agreed.append(total / abs(total))
    return abs(np.mean(agreed))


def test_from_above_there_is_no_direction(monkeypatch):
    assert spread() < 0.35

    class Straight(Site):
        def __init__(self, *args):
            super().__init__(*args)
            self.place = (*self.place[:3], 0.0, self.place[4])

    monkeypatch.setattr(top_down, "Site", Straight)
    assert spread() > 0.8  # the measure does see it when all stand straight


def test_places_from_above_come_turned_and_mirrored():
    canvas, dice = Canvas(16, (0, 0, 0)), [Dice(i) for i in range(200)]
    frames = [Site(canvas, d, *colours(d)) for d in dice]
    turns = np.array([f.place[3] for f in frames])
    counts = np.histogram(turns, 8, (0, 1))[0]
    assert counts.min() >= 10 and counts.max() <= 45  # 25 expected, standard deviation 4.7
    assert 70 <= sum(f.place[4] < 0 for f in frames) <= 130


# ------------------------------------------------------------------------------------ a folder of them


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return again(tmp_path_factory.mktemp("samples") / "set")


def again(root, **changes):
    return write_samples(root, **dict(domain="top_down", n_train=60, n_valid=20, seed=3, size=32) | changes)


def test_classes_are_balanced(made):
    for split, n in (("train", 60), ("valid", 20)):
        counts = {p.name: len(list(p.iterdir())) for p in (made / split).iterdir()}
        assert sorted(counts) == sorted(DOMAINS["top_down"])
        assert sum(counts.values()) == n and max(counts.values()) - min(counts.values()) <= 1
    assert (made / "train" / "river" / "0009.png").exists()


def test_files_are_the_drawn_pictures(made):
    with Image.open(made / "train/river/0004.png") as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), pixels("top_down", "river", 4, seed=3, size=32))


def test_train_and_valid_have_no_picture_in_common(made):
    seen = [hashlib.sha256(np.asarray(Image.open(p)).tobytes()).hexdigest() for p in made.rglob("*.png")]
    assert len(seen) == 80 and len(set(seen)) == 80


def test_valid_is_the_same_for_any_train(made, tmp_path):
    other = again(tmp_path / "small", n_train=6)
    for path in (made / "valid").rglob("*.png"):
        assert (other / path.relative_to(made)).read_bytes() == path.read_bytes()


def test_nothing_is_left_beside_the_set(made):
    assert os.listdir(made.parent) == ["set"]
    assert sorted(os.listdir(made)) == ["samples.json", "train", "valid"]


def test_the_same_set_is_reused(made, monkeypatch):
    monkeypatch.setattr(samples, "draw", None)  # to draw would raise
    assert again(made) == made
    assert again(str(made)) == made
    (made / "train/river/.DS_Store").write_bytes(b"x")  # what a file manager leaves behind is no picture
    assert again(made) == made
    (made / "train/river/.DS_Store").unlink()


@pytest.mark.parametrize(
    "change",
    [{"domain": "side_on"}, {"n_train": 66}, {"n_valid": 12}, {"seed": 4}, {"size": 33}],
    ids=lambda change: next(iter(change)),
)
def test_another_set_is_refused(made, change):
    before = tree(made)
    ((name, value),) = change.items()
    with pytest.raises(FileExistsError, match=f"{name}=.*asked for: {value!r}"):
        again(made, **change)
    assert tree(made) == before


def test_another_version_is_refused(made, monkeypatch):
    monkeypatch.setattr(samples, "_VERSION", samples._VERSION + 1)
    with pytest.raises(FileExistsError, match="version=1"):
        again(made)


@pytest.mark.parametrize("holds", ["photo.jpg", "samples.json", "train/cat/1.png"])
def test_a_folder_of_something_else_is_refused_and_kept(tmp_path, holds):
    (tmp_path / "mine" / holds).parent.mkdir(parents=True)
    (tmp_path / "mine" / holds).write_text("[not ours")
    with pytest.raises(FileExistsError, match="something else"):
        again(tmp_path / "mine")
    assert tree(tmp_path) == [f"mine/{holds}"] and (tmp_path / "mine" / holds).read_text() == "[not ours"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "mine").write_text("a letter")
    with pytest.raises(FileExistsError, match="mine"):
        again(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "a letter"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(tree(again(tmp_path / "empty", n_train=6, n_valid=6))) == 13
    assert os.listdir(tmp_path) == ["empty"]


def test_a_link_to_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "disk").mkdir()
    try:
        (tmp_path / "link").symlink_to(tmp_path / "disk")
    except OSError:
        pytest.skip("no links here")
    again(tmp_path / "link", n_train=6, n_valid=6)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "samples.json").exists()


def test_a_set_that_lost_or_gained_a_picture_is_refused(tmp_path):
    root = again(tmp_path / "set", n_train=6, n_valid=6)
    picture = root / "train/river/0000.png"
    kept = picture.read_bytes()
    picture.unlink()
    with pytest.raises(FileExistsError, match=r"1 of its 12 pictures are missing.*river/0000.png"):
        again(root, n_train=6, n_valid=6)
    picture.write_bytes(b"")
    with pytest.raises(FileExistsError, match="missing or empty"):
        again(root, n_train=6, n_valid=6)
    picture.write_bytes(kept)
    (root / "train/river/mine.jpg").write_bytes(b"x")
    with pytest.raises(FileExistsError, match=r"1 others are there.*river/mine.jpg"):
        again(root, n_train=6, n_valid=6)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full"), MemoryError])
def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch, error):
    calls, real = [], draw

    def breaks(*args):
        calls.append(args)
        if len(calls) == 8:
            raise error
        return real(*args)

    monkeypatch.setattr(samples, "draw", breaks)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        again(tmp_path / "set")
    assert len(calls) == 8 and os.listdir(tmp_path) == []


def test_the_second_to_finish_uses_the_set_of_the_first(tmp_path, monkeypatch):
    """Another run completes the set while this one draws its last picture."""
    root, real, calls = tmp_path / "set", draw, []

    def late(*args):
        calls.append(args)
        if len(calls) == 12:
            monkeypatch.setattr(samples, "draw", real)
            again(root, n_train=6, n_valid=6)
        return real(*args)

    monkeypatch.setattr(samples, "draw", late)
    assert again(root, n_train=6, n_valid=6) == root
    assert os.listdir(tmp_path) == ["set"] and len(tree(root)) == 13


def test_another_set_that_comes_first_is_not_overwritten(tmp_path, monkeypatch):
    root, real, calls = tmp_path / "set", draw, []

    def late(*args):
        calls.append(args)
        if len(calls) == 12:
            monkeypatch.setattr(samples, "draw", real)
            again(root, n_train=6, n_valid=6, seed=99)
        return real(*args)

    monkeypatch.setattr(samples, "draw", late)
    with pytest.raises(FileExistsError, match="seed=99"):
        again(root, n_train=6, n_valid=6)
    assert os.listdir(tmp_path) == ["set"] and json.loads((root / "samples.json").read_text())["seed"] == 99


def test_two_processes_at_once_make_one_whole_set(tmp_path):
    code = (
        "import sys; from lessonkit.samples import write_samples; "
        "write_samples(sys.argv[1], n_train=60, n_valid=12, size=32)"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    runs = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "set"], env=env) for _ in range(2)]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    assert os.listdir(tmp_path) == ["set"]
    assert len(tree(tmp_path / "set")) == 73
    write_samples(tmp_path / "set", n_train=60, n_valid=12, size=32)  # raises if anything is missing


# ----------------------------------------------------------------------------------------- sample_data


@pytest.fixture
def small(monkeypatch):
    """sample_data with sets of 12 pictures."""
    real = write_samples
    monkeypatch.setattr(
        samples, "write_samples", lambda root, domain, seed: real(root, domain, 6, 6, seed, 16)
    )


def test_sample_data_is_kept_where_the_variable_says(small, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSONKIT_CACHE", str(tmp_path / "kept" / "here"))
    first = sample_data("top_down")
    assert first.parent == tmp_path / "kept" / "here" and len(tree(first)) == 13
    monkeypatch.setattr(samples, "draw", None)
    assert sample_data("top_down") == first
    monkeypatch.undo()


def test_sample_data_of_another_seed_or_domain_is_another_set(small, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSONKIT_CACHE", str(tmp_path))
    sets = {sample_data(), sample_data(seed=1), sample_data("top_down")}
    assert len(sets) == 3 and {p.name for p in sets} == set(os.listdir(tmp_path))


def test_sample_data_in_the_home_folder(small, tmp_path, monkeypatch):
    monkeypatch.delenv("LESSONKIT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert sample_data().parent == tmp_path / ".cache" / "lessonkit"


@pytest.mark.parametrize("blocked", ["home", ".cache", ".cache/lessonkit"])
def test_a_home_that_cannot_be_written(small, tmp_path, monkeypatch, blocked):
    """A file stands where a folder is needed: refused for every user, root too."""
    home = tmp_path / "home"
    bad = home if blocked == "home" else home / blocked
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_text("")
    monkeypatch.delenv("LESSONKIT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = sample_data()
    assert (
        root.parent.parent == tmp_path and root.parent.name.startswith("lessonkit-") and len(tree(root)) == 13
    )
    monkeypatch.setenv(
        "LESSONKIT_CACHE", str(bad / "x")
    )  # a folder that was asked for is never swapped for another
    with pytest.raises(OSError):
        sample_data()


def test_a_changed_cached_set_is_reported_not_worked_around(small, tmp_path, monkeypatch):
    monkeypatch.delenv("LESSONKIT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (sample_data() / "train/lamp/0000.png").unlink()
    with pytest.raises(FileExistsError, match="delete this one"):
        sample_data()


def test_the_default_set():
    """The numbers that sample_data's docstring gives, without drawing them."""
    files = samples._plan_files({"domain": "side_on", "n_train": 960, "n_valid": 240})
    assert sum(name.startswith("train/") for name in files) == 960 and len(files) == 1200
    assert len(set(files.values())) == 1200
    defaults = write_samples.__defaults__
    assert defaults == ("side_on", 960, 240, 0, 128)


# --------------------------------------------------------------------------------- sheet and bad input


def test_contact_sheet_is_a_row_for_each_class():
    sheet = contact_sheet("side_on", per_class=3, seed=2, size=40)
    assert sheet.size == (3 * 44 - 4, 6 * 44 - 4)
    for row, label in enumerate(DOMAINS["side_on"]):
        cell = sheet.crop((88, row * 44, 128, row * 44 + 40))
        assert np.array_equal(np.asarray(cell), pixels("side_on", label, 2, seed=2, size=40))


def test_domains_have_at_least_four_classes_and_share_none():
    assert list(DOMAINS) == ["side_on", "top_down"]
    assert all(len(set(labels)) >= 4 for labels in DOMAINS.values())
    assert not set(DOMAINS["side_on"]) & set(DOMAINS["top_down"])


@pytest.mark.parametrize(
    "change, says",
    [
        ({"domain": "inside"}, "inside.*side_on, top_down"),
        ({"label": "cat"}, "cat.*balloon, bauble, goblet, lamp"),
        ({"label": "river"}, "river.*balloon"),
        ({"index": -1}, "index=-1.*at least 0"),
        ({"index": 1.5}, "index=1.5.*whole number"),
        ({"seed": -3}, "seed=-3"),
        ({"seed": None}, "seed=None.*whole number"),
        ({"size": 15}, "size=15.*16 to 1024"),
        ({"size": 1025}, "size=1025.*16 to 1024"),
    ],
)
def test_draw_refuses(change, says):
    with pytest.raises(ValueError, match=says):
        draw(**dict(domain="side_on", label="lamp", index=0) | change)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"domain": "photos"}, "photos.*known are"),
        ({"n_train": 5}, "n_train=5.*from 6"),
        ({"n_valid": 0}, "n_valid=0.*from 6"),
        ({"n_train": 10**7}, "n_train=10000000.*to 1000000"),
        ({"n_train": "many"}, "n_train='many'"),
        ({"size": 8}, "size=8"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_write_samples_refuses_before_it_writes(tmp_path, change, says):
    with pytest.raises(ValueError, match=says):
        again(tmp_path / "new" / "set", **change)
    assert os.listdir(tmp_path) == []


def test_the_others_refuse():
    with pytest.raises(ValueError, match="known are side_on, top_down"):
        sample_data("sideways")
    with pytest.raises(ValueError, match="seed=-1"):
        sample_data(seed=-1)
    with pytest.raises(ValueError, match="per_class=0"):
        contact_sheet("side_on", per_class=0)
    with pytest.raises(ValueError, match="domain='x'"):
        contact_sheet("x")
