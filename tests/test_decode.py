"""Files that are no pictures, damaged ones, and pictures that are too much: each is named, none costs more
than it should."""

import io
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import paint
from PIL import Image

from lessonkit.images import decode
from lessonkit.images.cache import list_cache
from lessonkit.images.data import ImageData
from lessonkit.images.decode import known_formats, load_picture
from lessonkit.images.folders import check_folder
from lessonkit.predict import load_model
from lessonkit.train.learner import Learner
from lessonkit.train.schedule import sgdr


@pytest.fixture
def photos(tmp_path):
    for k in range(12):
        paint(tmp_path / "photos" / ("a" if k % 2 else "b") / f"{k}.png", (20 * k, 90, 200), k, (60, 44))
    return tmp_path / "photos"


def test_only_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    for name, why in {
        "pipe": "pipe or a device",
        "zero": "pipe or a device",
        "folder": "not gone into",
    }.items():
        with pytest.raises(ValueError, match=why):
            load_picture(tmp_path / f"{name}.jpg")


def test_what_is_not_gone_into_is_named(photos, tmp_path, monkeypatch):
    paint(tmp_path / "elsewhere" / "a.png", (9, 9, 9), 1)
    first = sorted(p for p in photos.iterdir() if p.is_dir())[0]
    (first / "more").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(first / "x.jpg")
    problems = dict(check_folder(photos).problems)
    assert "behind a link" in problems[f"{first.name}/more"] and "pipe" in problems[f"{first.name}/x.jpg"]
    (first / "shut").mkdir()
    real = os.scandir

    def scandir(path="."):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert f"{first.name}/shut" in dict(check_folder(photos).problems)


@pytest.mark.parametrize("kind", ["EPS", "DDS", "SPIDER", "PPM", "ICNS"])
def test_formats_that_photos_do_not_come_in_are_not_opened(kind, tmp_path, monkeypatch):
    path, own = tmp_path / "a.jpg", tmp_path / f"a.{kind}"  # PIL would take .jpg for SPIDER's from then on
    Image.new("RGB" if kind != "SPIDER" else "F", (64, 64)).save(own, kind)
    own.rename(path)
    opened = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *a, **k: opened.append(a))
    with pytest.raises(ValueError, match="not a picture that can be read .JPEG, "):
        load_picture(path)
    assert not opened


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_damaged_files_of_each_format_are_named(kind, tmp_path):
    if kind == "AVIF" and "AVIF" not in known_formats():
        pytest.skip("this PIL reads no AVIF")
    path, out, rng = tmp_path / "a", io.BytesIO(), np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(out, kind)
    whole = np.frombuffer(out.getvalue(), np.uint8)
    for k in range(150):
        data = whole.copy()
        data[rng.integers(0, len(data), 1 + k % 9)] = rng.integers(0, 256, 1 + k % 9)
        path.write_bytes(data[: len(data) if k % 3 else rng.integers(1, len(data))].tobytes())
        try:
            assert load_picture(path, 16).dtype == np.uint8
        except ValueError as e:
            assert str(e)


def test_a_file_of_gigabytes_says_first_that_it_is_a_picture(tmp_path):
    with open(tmp_path / "zeros.jpg", "wb") as f:
        f.truncate(3 * 2**30)
    with pytest.raises(ValueError, match="not a picture"):
        load_picture(tmp_path / "zeros.jpg")


LARGE = """import resource, sys
from lessonkit.images.decode import load_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
picture = load_picture(sys.argv[1], 64)
print(picture.shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"""


def test_a_picture_of_many_megapixels_takes_little_more_than_its_pixels(tmp_path):
    Image.new("RGB", (9000, 8000), (10, 200, 30)).save(tmp_path / "large.png")
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path / "large.png")], capture_output=True, text=True, check=True
    )
    shape, megabytes = done.stdout.rsplit(" ", 1)
    assert shape == "(64, 72, 3)" and int(megabytes) < 2.6 * 9000 * 8000 * 3 / 2**20
    assert load_picture(tmp_path / "large.png", 64)[30, 30].tolist() == [10, 200, 30]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("step", [-1.0, 1.0, 300.0])
def test_strip_by_strip_a_picture_is_the_same(mode, step, tmp_path, monkeypatch):
    grey = np.linspace(-9 if step < 0 else 0, 200, 70 * 50).reshape(70, 50) * abs(step)
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    plain = Image.fromarray(np.uint8(np.abs(grey) % 256)).convert(mode) if mode not in deep else None
    im = plain or Image.fromarray(np.maximum(grey, 0 if mode == "I;16" else -9e9).astype(deep[mode]))
    im.save(tmp_path / "a.tiff", tiffinfo={274: 6})
    whole = {short: load_picture(tmp_path / "a.tiff", short) for short in (None, 40, 5)}
    monkeypatch.setattr(decode, "_LARGE", 100)
    monkeypatch.setattr(decode, "_STRIP", 330)
    for short in (None, 40):
        assert np.array_equal(load_picture(tmp_path / "a.tiff", short), whole[short])
    assert (
        np.abs(load_picture(tmp_path / "a.tiff", 5) - whole[5].astype(int)).max() <= 12
    )  # of blocks of 2 px


def test_who_asks_for_one_picture_is_told_which_file_it_is(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"buy milk")
    with pytest.raises(ValueError, match="^[^:]*a.jpg: not a picture that can be read"):
        load_picture(tmp_path / "a.jpg")
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    with pytest.raises(ValueError, match="loop.jpg: cannot be read: Too many levels"):
        load_picture(loop)


def test_too_little_memory_is_no_fault_of_the_file(photos, monkeypatch):
    def out_of_memory(*args):
        raise MemoryError

    data = ImageData(photos, size=32, bs=4, cache_bytes=0, progress=False)
    monkeypatch.setattr(decode, "_to_rgb", out_of_memory)
    with pytest.raises(ValueError, match="1.png: there is not enough memory to decode it"):
        load_picture(photos / "a" / "1.png")
    assert all("not enough memory" in why for _, why in check_folder(photos).problems)
    with pytest.raises(MemoryError, match="not enough memory"):  # not a batch with less in it
        next(iter(data.train_dl()))


def test_threads_share_the_room_for_pixels():
    room, inside, most = decode._Room(10), [0], [0]

    def work(n):
        with room.take(n):
            inside[0] += n
            most[0] = max(most[0], inside[0])
            time.sleep(0.002)
            inside[0] -= n

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [3, 4, 5, 6] * 10 + [10]))
        pool.submit(work, 99).result(10)
    assert 4 <= most[0] <= 99 and inside[0] == 0 and room.left == 10


@pytest.mark.parametrize(
    "white, dtype", [(1.0, np.float32), (4095, np.uint16), (1023, np.uint16), (255, np.uint16)]
)
def test_what_a_scanner_or_a_script_calls_white_is_white(white, dtype, tmp_path):
    ramp = (np.linspace(0, 1, 64 * 64).reshape(64, 64) * white).astype(dtype)
    Image.fromarray(ramp).save(tmp_path / "a.tiff")
    picture = load_picture(tmp_path / "a.tiff")
    assert picture[0, 0, 0] == 0 and picture[-1, -1, 0] == 255 and abs(int(picture[32, 0, 0]) - 128) <= 1


def test_names_that_are_no_utf8_are_kept_saved_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LESSONKIT_CACHE", str(tmp_path / "cache"))
    for name in (b"caf\xe9", b"th\xe9"):
        for k in range(6):
            folder = os.fsdecode(os.fsencode(tmp_path) + b"/ph\xf6tos/" + name)
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, os.fsdecode(b"\xff%d.png" % k))
            Image.new("RGB", (40, 40), (40 * k, 90, 10)).save(path)
            os.utime(path, (1e9, 1e9))  # a file that has just been written might change once more
    root = os.fsdecode(os.fsencode(tmp_path) + b"/ph\xf6tos")
    data = ImageData(root, size=32, bs=4, progress=False)
    data.pictures.flush(wait=True)
    assert list_cache()[0].pictures == 12
    with monkeypatch.context() as patch:
        patch.setattr("lessonkit.images.cache.read_picture", lambda *a: 1 / 0)
        again = ImageData(root, size=32, bs=4, progress=False)
    assert again.classes == data.classes == ("caf\udce9", "th\udce9")
    learn = Learner(data, "resnet10", weights=None)
    learn.fit(sgdr(1, 1), 1e-3, progress=False)
    assert load_model(learn.save(tmp_path / "run")).classes == data.classes
    data._repr_html_().encode()
