"""The cache of decoded pictures: what it keeps, what it must not keep, two processes, one that is killed."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import paint, shared
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lessonkit.basics import write_whole
from lessonkit.cli import main
from lessonkit.images import cache as module
from lessonkit.images import decode
from lessonkit.images.cache import Pictures, clear_cache, list_cache
from lessonkit.images.data import ImageData
from lessonkit.images.decode import load_picture, resize_short


@pytest.fixture
def own(tmp_path, monkeypatch):
    "A cache folder of the test's own."
    monkeypatch.setenv("LESSONKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pictures"


@pytest.fixture
def photos(tmp_path):
    for k in range(6):
        paint(tmp_path / "photos" / f"{k}.png", (40 * k, 90, 200 - 30 * k), k, (60, 44))
    return tmp_path / "photos"


def fill_cache(root, *shorts, **options):
    cache = Pictures(root, **options)
    for path in sorted(root.rglob("*.png")):
        for short in shorts:
            cache.get(path, short)
    cache.flush(wait=True)
    return cache


def count_reads(monkeypatch):
    "A list that grows with every file that the cache decodes."
    reads, read = [], module.read_picture

    def counted(path, short):
        reads.append((str(path), short))
        return read(path, short)

    monkeypatch.setattr(module, "read_picture", counted)
    return reads


def test_a_second_run_decodes_nothing_and_gets_the_same_bits(own, photos, monkeypatch):
    first = {p: fill_cache(photos, 32).get(p, 32) for p in photos.iterdir()}
    reads = count_reads(monkeypatch)
    again = Pictures(photos)
    for path, kept in first.items():
        found = again.get(path, 32)
        assert np.array_equal(found.pixels, kept.pixels) and np.array_equal(
            found.pixels, load_picture(path, 32)
        )
        assert (found.width, found.height, found.digest) == (60, 44, kept.digest)
    assert not reads


def test_what_is_kept_is_mapped_not_read(own, photos):
    fill_cache(photos, 32)
    cache = Pictures(photos)
    found = cache.get(photos / "0.png", 32).pixels
    while found.base is not None and not isinstance(found, np.memmap):
        found = found.base
    assert b".pixels" in Path("/proc/self/maps").read_bytes() or "mmap" in str(type(found)).lower()


@pytest.mark.parametrize("change", ["rewritten", "replaced"])
def test_a_file_that_changed_is_decoded_again(own, photos, change, tmp_path):
    fill_cache(photos, 32)
    path, was = photos / "2.png", os.stat(photos / "2.png")
    old = load_picture(path, 32)
    other = paint(tmp_path / "other.bmp", (5, 200, 5), 9, (60, 44))
    if change == "rewritten":
        Image.open(other).save(path)
    else:
        Image.open(other).save(tmp_path / "new.png")
        os.utime(tmp_path / "new.png", ns=(was.st_atime_ns, was.st_mtime_ns))
        os.replace(tmp_path / "new.png", path)
    found = Pictures(photos).get(path, 32).pixels
    assert np.array_equal(found, load_picture(path, 32)) and not np.array_equal(found, old)


def test_a_file_that_changed_to_one_of_the_same_size_and_time(own, photos):
    path = paint(photos / "same.bmp", (9, 9, 9), 0, (60, 44))  # bitmaps of one shape have one size
    first = Pictures(photos)
    old, stamp = first.get(path, 32).pixels, os.stat(path)
    first.flush(wait=True)
    paint(path, (200, 9, 9), 1, (60, 44))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    now = os.stat(path)
    assert (now.st_size, now.st_mtime_ns) == (stamp.st_size, stamp.st_mtime_ns)
    found = Pictures(photos).get(path, 32).pixels
    assert np.array_equal(found, load_picture(path, 32)) and not np.array_equal(found, old)


def test_a_smaller_size_is_made_from_a_larger_one_where_that_is_good_enough(own, photos, monkeypatch):
    fill_cache(photos, 40)
    reads = count_reads(monkeypatch)
    cache = Pictures(photos)
    path = photos / "1.png"
    larger = cache.get(path, 40).pixels
    assert np.array_equal(cache.get(path, 24).pixels, resize_short(larger, 24)) and not reads
    cache.get(path, 30)  # 40 is less than half as large again
    assert reads == [(str(path), 30)]


def test_made_from_a_larger_one_a_photo_looks_the_same(own, tmp_path):
    apart = []
    for f in sorted(shared("data", "cats_dogs", "valid", "dogs").iterdir())[:20]:
        direct, via = load_picture(f, 73).astype(float), resize_short(load_picture(f, 146), 73)
        if direct.shape == via.shape:  # the longer side may be rounded another way
            apart.append(np.abs(direct - via).mean())
    assert len(apart) >= 10 and np.mean(apart) < 2 and max(apart) < 6


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
@settings(deadline=None, max_examples=60, derandomize=True)  # in 8,000 cases of noise 17 are up to 22 apart
def test_resizing_is_pils_bicubic(h, w, short):
    picture = np.random.default_rng(h * w).integers(0, 256, (h, w, 3), dtype=np.uint8)
    ours = resize_short(picture, short)
    ch, cw = min(h, 3 * w), min(w, 3 * h)
    part = picture[(h - ch) // 2 : (h - ch) // 2 + ch, (w - cw) // 2 : (w - cw) // 2 + cw]
    pils = np.asarray(Image.fromarray(part).resize(ours.shape[1::-1], Image.Resampling.BICUBIC), dtype=int)
    apart = np.abs(ours - pils)
    assert min(ours.shape[:2]) == short and apart.max() <= 16 and apart.mean() < 0.6


def both_ways(path, short, monkeypatch):
    """A file as simplejpeg decodes it and as PIL does: the pictures, or what is said of them; and whether PIL
    did both."""
    found, used = [], []
    whole = decode._decode_jpeg
    for way in (lambda *a: used.append(whole(*a)) or used[-1], lambda *a: None):
        monkeypatch.setattr(decode, "_decode_jpeg", way)
        try:
            found.append(load_picture(path, short))
        except ValueError as e:
            found.append(str(e))
    monkeypatch.setattr(decode, "_decode_jpeg", whole)
    return *found, not used or used[0] is None


SIDES = st.integers(1, 120) | st.integers(1, 20)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    SIDES,
    SIDES,
    st.sampled_from([None, 1, 7, 12, 40, 90]),
    st.sampled_from([20, 75, 95, 100]),
    st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    st.booleans(),
    st.sampled_from(["RGB", "L", "CMYK"]),
    st.integers(0, 9),
)
def test_a_jpegs_bits_are_pils(
    tmp_path, monkeypatch, h, w, short, quality, subsampling, progressive, mode, turn
):
    rng, path = np.random.default_rng([h, w]), tmp_path / "any.jpg"
    smooth = Image.fromarray(rng.integers(0, 256, (4, 4, 4), dtype=np.uint8), "RGBA").resize(
        (w, h), Image.Resampling.BICUBIC
    )
    exif = Image.Exif()
    exif[0x0112] = turn
    smooth.convert("RGB").convert(mode).save(
        path, quality=quality, subsampling=subsampling, progressive=progressive, exif=exif
    )
    ours, pils, only_pil = both_ways(path, short, monkeypatch)
    assert (
        np.array_equal(ours, pils)
        and ours.flags.c_contiguous
        and only_pil == (mode != "RGB" or max(h, w) < 8)
    )


def test_photos_bits_are_pils(monkeypatch):
    for short in (64, 146, None):
        for f in sorted(shared("data", "cats_dogs", "valid", "dogs").iterdir())[:40]:
            ours, pils, only_pil = both_ways(f, short, monkeypatch)
            assert np.array_equal(ours, pils) and not only_pil


def test_odd_jpegs_are_what_pil_makes_of_them(tmp_path, monkeypatch, capfd):
    good = Image.effect_mandelbrot((90, 70), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    good.save(tmp_path / "good.jpg")
    data = (tmp_path / "good.jpg").read_bytes()
    good.save(tmp_path / "rgb.jpg", keep_rgb=True)
    good.save(tmp_path / "mpo.jpg", "MPO", save_all=True, append_images=[good.rotate(90)])
    odd = {
        "trailing": data + b"more",
        "extraneous": data[:-2] + b"\x11" * 40 + data[-2:],
        "cut": data[: len(data) // 2],
        "no end": data[:-2],
        "gap": data[: len(data) // 2] + data[len(data) // 2 + 99 :],
        "header": data[:300],
    }
    for name, content in odd.items():
        (tmp_path / f"{name}.jpg").write_bytes(content)
    for path in sorted(tmp_path.glob("*.jpg")):
        for short in (None, 12):
            ours, pils, only_pil = both_ways(path, short, monkeypatch)
            assert ours == pils if isinstance(pils, str) else np.array_equal(ours, pils), (path, ours, pils)
            assert only_pil == (path.stem in ("extraneous", "cut", "no end", "gap", "header")), path
    assert "truncated" in both_ways(tmp_path / "cut.jpg", None, monkeypatch)[0] and capfd.readouterr() == (
        "",
        "",
    )


def test_without_simplejpeg_pil_decodes(own, monkeypatch, tmp_path):
    Image.effect_mandelbrot((90, 70), (-2, -1.5, 1, 1.5), 50).convert("RGB").save(tmp_path / "a.jpg")
    with_it = load_picture(tmp_path / "a.jpg", 30)
    monkeypatch.setattr(decode, "optional", lambda name: None)
    assert np.array_equal(load_picture(tmp_path / "a.jpg", 30), with_it)


def test_the_bound_holds_and_the_rest_is_decoded_anew(own, photos, monkeypatch):
    one = load_picture(photos / "0.png", 32).nbytes
    cache = fill_cache(photos, 32, max_bytes=3 * one + 1200)
    assert (
        cache.full
        and sum(e.pictures for e in list_cache()) == 3
        and sum(e.n_bytes for e in list_cache()) <= 3 * one + 1200
    )
    reads = count_reads(monkeypatch)
    for path in photos.iterdir():
        assert np.array_equal(cache.get(path, 32).pixels, load_picture(path, 32))
    assert len(reads) == 3


def test_the_folder_used_longest_ago_makes_room(own, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PACK_BYTES", 40_000)
    for name in ("a", "b", "c"):
        for k in range(6):
            paint(tmp_path / name / f"{k}.png", (9, 9, 9), k, (60, 44))
    for name in ("a", "b"):
        fill_cache(tmp_path / name, 40)
        time.sleep(0.02)
    Pictures(tmp_path / "a")  # used again, so b is the oldest
    used = sum(e.n_bytes for e in list_cache())
    fill_cache(tmp_path / "c", 40, max_bytes=used + 1000)
    assert {Path(e.root).name for e in list_cache()} == {"a", "c"}


def test_the_default_bound_is_a_share_of_the_free_disk(own, photos, monkeypatch):
    usage = shutil.disk_usage(photos)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda p: usage._replace(free=40_000))
    cache = fill_cache(photos, 32)
    assert cache.full and 0 < sum(e.n_bytes for e in list_cache()) <= 10_000


def test_without_a_place_to_write_it_says_so_and_goes_on(own, photos, monkeypatch):
    own.parent.mkdir(parents=True)
    own.write_text("a file where the folder should be")
    cache = Pictures(photos)
    with pytest.warns(UserWarning, match="LESSONKIT_CACHE"):
        cache.get(photos / "0.png", 32)
    assert np.array_equal(cache.get(photos / "0.png", 32).pixels, load_picture(photos / "0.png", 32))


def test_a_full_disk_while_it_is_made_safe(own, photos, monkeypatch):
    def no_space(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._Pack, "finish", no_space)
    cache = Pictures(photos)
    cache.get(photos / "0.png", 32)
    with pytest.warns(UserWarning, match="No space left"):
        cache.flush(wait=True)
    assert (
        np.array_equal(cache.get(photos / "0.png", 32).pixels, load_picture(photos / "0.png", 32))
        and cache.full
    )


@pytest.mark.parametrize("damage", ["cut pixels", "no pixels", "cut index", "another format", "not json"])
def test_a_damaged_pack_is_decoded_anew_and_removed(own, photos, damage):
    fill_cache(photos, 32)
    (index,) = own.rglob("*.json")
    pixels, text = index.with_suffix(".pixels"), index.read_text()
    if damage == "cut pixels":
        os.truncate(pixels, pixels.stat().st_size // 2)
    elif damage == "no pixels":
        pixels.unlink()
    else:
        index.write_text(
            {
                "cut index": text[: len(text) // 2],
                "another format": text.replace(module._FORMAT, "pictures.0"),
                "not json": "[]",
            }[damage]
        )
    cache = Pictures(photos)
    assert not index.exists() and not pixels.exists()
    assert np.array_equal(cache.get(photos / "0.png", 32).pixels, load_picture(photos / "0.png", 32))


BUILD = """
import sys, time
from pathlib import Path
from lessonkit.images import cache as module
module._PACK_BYTES = 30_000
root = Path(sys.argv[1])
cache = module.Pictures(root)
print("begin", flush=True)
for path in sorted(root.rglob("*.png")):
    cache.get(path, 40)
    time.sleep(float(sys.argv[2]))
cache.flush(wait=True)
"""


def many(tmp_path, n=60):
    for k in range(n):
        paint(tmp_path / "many" / f"{k:03}.png", (k, 90, 20), k, (60, 44))
    return tmp_path / "many"


def start(root, pause):
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(root), str(pause)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begin\n"
    return process


def test_two_processes_build_at_once(own, tmp_path, monkeypatch):
    root = many(tmp_path)
    both = [start(root, 0.002), start(root, 0.002)]
    assert [p.wait(120) for p in both] == [0, 0]
    reads = count_reads(monkeypatch)
    cache = Pictures(root)
    assert all(
        np.array_equal(cache.get(p, 40).pixels, resize_short(np.asarray(Image.open(p)), 40))
        for p in root.iterdir()
    )
    assert not reads and sum(e.pictures for e in list_cache()) == 60  # the copies are gone


def test_one_is_killed_while_it_builds(own, tmp_path, monkeypatch):
    root = many(tmp_path)
    process = start(root, 0.01)
    deadline = time.time() + 60
    while not list(own.rglob("*.json")) and time.time() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    reads = count_reads(monkeypatch)
    cache = Pictures(root)
    assert all(
        np.array_equal(cache.get(p, 40).pixels, resize_short(np.asarray(Image.open(p)), 40))
        for p in root.iterdir()
    )
    assert 0 < len(reads) < 60  # what was safe is used, the rest decoded
    cache.flush(wait=True)
    for left in own.rglob("*.pixels"):
        if not left.with_suffix(".json").exists():
            os.utime(left, (0, 0))  # an hour later
    Pictures(root)
    assert all(p.with_suffix(".json").exists() for p in own.rglob("*.pixels"))


def test_larger_sizes_are_built_while_the_first_epoch_runs(own, colours, monkeypatch):
    data = ImageData(colours, size=16, bs=8, progress=False)
    data.size = 40
    reads = count_reads(monkeypatch)
    epoch = iter(data.train_dl())
    next(epoch)
    assert 0 < len(reads) < 32
    list(epoch)
    data.pictures.flush(wait=True)
    assert len(reads) == 32
    list(data.train_dl())
    assert len(reads) == 32


@pytest.mark.parametrize("name", ["", ".", "..", "../colours/"])
def test_a_checked_folder_is_not_decoded_to_be_checked_again(own, colours, name, monkeypatch):
    monkeypatch.chdir(colours / "red" if name == ".." else colours)
    folder = name or colours
    first = ImageData(folder, size=16, progress=False)
    first.pictures.flush(wait=True)
    reads = count_reads(monkeypatch)
    assert ImageData(folder, size=16, progress=False).report == first.report and not reads


def test_the_cache_command_shows_and_empties(own, colours, capsys):
    data = ImageData(colours, size=16, progress=False)
    data.pictures.flush(wait=True)
    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    assert str(colours) in out and "40 pictures" in out
    assert main(["cache", "--clear", str(colours.parent)]) == 0 and len(list_cache()) == 1
    assert main(["cache", "--clear"]) == 0 and not list_cache()
    assert "freed" in capsys.readouterr().out
    assert sum(len(yb) for _, yb in data.train_dl()) == 32  # who had it open goes on
    assert main(["cache"]) == 0 and "nothing is kept" in capsys.readouterr().out
    assert clear_cache() == 0


def test_what_is_still_being_written_is_waited_for(own, photos, monkeypatch):
    finish = module._Pack.finish
    monkeypatch.setattr(module._Pack, "finish", lambda self: (time.sleep(0.2), finish(self))[1])
    cache, path = Pictures(photos), photos / "1.png"
    first = cache.get(path, 40).pixels
    cache.flush()
    reads = count_reads(monkeypatch)
    assert (
        np.array_equal(cache.get(path, 20).pixels, resize_short(first, 20)) and not reads
    )  # as if it had been there
    assert np.array_equal(cache.get(path, 40).pixels, first) and not reads
    cache.get(path, 30), cache.flush()
    assert np.array_equal(cache.get(path, 30).pixels, load_picture(path, 30))


@pytest.mark.parametrize("what", ["no room", "half a picture", "no index"])
def test_a_full_disk_leaves_nothing_half_written(own, photos, what, monkeypatch):
    if what == "no room":
        monkeypatch.setattr(module, "_make_room", lambda at, _: at.mkdir(parents=True, exist_ok=True) or 0)
    elif what == "half a picture":
        monkeypatch.setattr(module._Pack, "add", refuse_after(module._Pack.add))
    else:
        monkeypatch.setattr(module, "write_whole", lambda *a: (_ for _ in ()).throw(OSError(28, "full")))
    cache = Pictures(photos)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for path in sorted(photos.rglob("*.png")):
            assert np.array_equal(cache.get(path, 32).pixels, load_picture(path, 32))
        cache.flush(wait=True)
    assert len(heard) == (what != "no room") and not [p for p in own.rglob("*") if p.is_file()]
    for path in sorted(photos.rglob("*.png")):
        assert np.array_equal(cache.get(path, 32).pixels, load_picture(path, 32))


def refuse_after(add):
    "`_Pack.add` on a disk that is full within the third picture."

    def added(self, name, picture):
        if len(self.index) == 2:
            self.file.write(b"half")
            raise OSError(28, "No space left on device")
        return add(self, name, picture)

    return added


def test_a_cache_that_is_cleared_while_it_is_made_safe_goes_on(own, photos, monkeypatch):
    write, clears = module.write_whole, iter([True])

    def cleared(path, content):
        if next(clears, False):
            clear_cache()
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return write(path, content)

    monkeypatch.setattr(module, "write_whole", cleared)
    cache, (first, second, *_) = Pictures(photos), sorted(photos.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in (first, second):
            cache.get(path, 32), cache.flush(wait=True)
    assert np.array_equal(cache.get(first, 32).pixels, load_picture(first, 32))
    assert [entry.pictures for entry in list_cache()] == [1]
    reads = count_reads(monkeypatch)
    assert Pictures(photos).get(second, 32) and not reads


def test_files_that_come_and_go_while_room_is_made(own, photos):
    cache, over = Pictures(photos), threading.Event()

    def others():
        while not over.is_set():
            folder = write_whole(own / "other" / "index.json", {}).parent
            shutil.rmtree(folder)

    thread = threading.Thread(target=others)
    thread.start()
    try:
        for _ in range(200):
            assert module._make_room(cache.folder, None) > 0 and list_cache() is not None
    finally:
        over.set()
        thread.join()
