"""Every kind of file that may lie in a folder of pictures, and thousands that are damaged: each is opened as
it was drawn, or refused by a ValueError that names it. Never a crash, never a hang, never much memory."""

import contextlib
import io
import json
import os
import re
import socket
import stat
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from lessonkit.images.decode import known_formats
from lessonkit.images.folders import check_folder

from .found import Found

MEMORY, SECONDS = 5 * 2**29, 60  # of one file: bytes beside what Python and torch take, and until it hangs
SIDES = np.mgrid[0:1:40j, 0:1:56j]
DRAWN = np.uint8(np.round(255 * np.stack([SIDES[1], SIDES[0], 0.5 + 0.4 * np.sin(5 * SIDES[0])], -1)))
DRAWN[3:12, 4:20] = 230, 40, 40  # so that no side looks like another
GREY = np.asarray(Image.fromarray(DRAWN).convert("L"))
TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
TURNS |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}  # what a camera did to what EXIF says of it


ROOT = Path(__file__).parents[2]
MORE = (
    f"Each file is opened in a process that may take {MEMORY / 1e9:.1f} GB beside what Python and torch "
    f"take, and {SECONDS} seconds; its pixels are compared with those that were drawn."
)

TURNED, CUT = "PNG, WebP, AVIF, TIFF, turned by EXIF", "cut short or damaged, of every format"
ALPHA = "PNG, grey or RGB, with alpha", "WebP, AVIF, TIFF, with alpha"
SEVERAL = "PNG, WebP, GIF, AVIF, TIFF, several pictures: the first"
LACED, DEEP = "PNG, interlaced, or with its gamma", "TIFF, grey of 10 to 16 bits, also packed"
BMP = "BMP of 1, 8, 24 bits, from below or from the top"


class Kind(NamedTuple):
    """A kind of file. meant: the pixels that it has, or what is said of it; off: levels of 255 that it may
    be off on average."""

    group: str
    name: str
    content: bytes
    meant: np.ndarray | str
    off: float = 0


def three(grey) -> np.ndarray:
    "Values of a grey picture as those of a picture in colour."
    return np.stack([np.uint8(grey)] * 3, -1)


def saved(picture, kind: str, **options) -> bytes:
    "A picture, or the values of one, as a file of this kind."
    out = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(out, kind, **options)
    return out.getvalue()


def turned(k: int) -> Image.Image:
    "The picture as a camera stores it that says it is turned as EXIF's `k`."
    im = Image.fromarray(DRAWN)
    return im.transpose(Image.Transpose[TURNS[k]]) if k in TURNS else im


def exif(k: int) -> Image.Exif:
    "EXIF that says so."
    found = Image.Exif()
    found[0x0112] = k
    return found


def app(n: int, content: bytes) -> bytes:
    "One of a JPEG's segments."
    return bytes([0xFF, 0xE0 + n]) + struct.pack(">H", len(content) + 2) + content


def jpegs():
    rgb, cmyk = Image.fromarray(DRAWN), Image.fromarray(DRAWN).convert("CMYK")
    whole = saved(rgb, "JPEG", quality=95)
    yield Kind("JPEG, grey", "grey", saved(GREY, "JPEG", quality=95), three(GREY), 2)
    for text in ("4:4:4", "4:2:2", "4:2:0"):
        yield Kind("JPEG, RGB", text, saved(rgb, "JPEG", quality=95, subsampling=text), DRAWN, 4)
    said = "JPEG: progressive, optimised, with restart markers, RGB inside, several in one (MPO)"
    for text in ("keep_rgb", "progressive", "optimize"):
        yield Kind(said, text, saved(rgb, "JPEG", quality=95, **{text: True}), DRAWN, 4)
    yield Kind(said, "blocks", saved(rgb, "JPEG", restart_marker_blocks=2, quality=95), DRAWN, 4)
    yield Kind("JPEG, CMYK", "cmyk", saved(cmyk, "JPEG", quality=95), DRAWN, 4)
    yield Kind(said, "mpo", saved(rgb, "MPO", quality=95), DRAWN, 4)
    for k in range(10):
        said = "turned by EXIF, all 8 ways" if 1 <= k <= 8 else "turned by EXIF in a way there is none"
        content = saved(turned(k), "JPEG", quality=95, exif=exif(k))
        yield Kind(f"JPEG, {said}", f"turn {k}", content, DRAWN, 4)
    odd = {"EXIF": app(1, b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(9)), "comment": app(14, b"\xff" * 99)}
    odd |= {"profile": app(2, b"ICC_PROFILE\0\1\1" + bytes(200)), "MPF": app(2, b"MPF\0II*\0" + b"\xff" * 40)}
    for name, segment in odd.items():
        yield Kind("JPEG, a part that is no picture damaged", name, whole[:2] + segment + whole[2:], DRAWN, 4)
    yield Kind("JPEG, more bytes after it", "more", whole + bytes(999), DRAWN, 4)
    for part in (0.3, 0.6, 0.9):
        yield Kind(CUT, f"cut {part}", whole[: int(len(whole) * part)], "broken|not a pict")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(values: np.ndarray, bits: int, colour: int, more: bytes = b"", passes=((0, 0, 1, 1),)) -> bytes:
    """A PNG file of values [h, w] or [h, w, channels], written by hand: also what PIL does not write. colour:
    PNG's number of the kind; passes: of an interlaced one, each the first row and column, and the steps."""
    h, w = values.shape[:2]
    lines = b""
    for top, left, down, right in passes:
        for row in values[top::down, left::right]:
            flat = row.reshape(-1)
            cells = (flat[:, None] >> np.arange(bits - 1, -1, -1)) & 1
            lines += b"\0" + np.packbits(cells.reshape(-1).astype(np.uint8)).tobytes()
    head = struct.pack(">IIBBBBB", w, h, bits, colour, 0, 0, len(passes) > 1)
    parts = chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


ADAM7 = (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)


def on_white(alpha: np.ndarray) -> np.ndarray:
    "The picture where it is opaque, white where it is not."
    part = alpha[..., None] / 255
    return np.round(DRAWN * part + 255 * (1 - part))


def pngs():
    wide, alpha = np.uint16(DRAWN) * 257, np.uint8(np.round(255 * SIDES[0]))
    for bits in (1, 2, 4, 8, 16):
        few = np.uint16(np.round(GREY / 255.0 * (2**bits - 1)))
        meant = three(np.round(few / (2**bits - 1) * 255))
        yield Kind("PNG, grey of 1 to 16 bits", f"grey {bits}", png(few, bits, 0), meant)
    for bits in (1, 2, 4, 8):
        table = DRAWN[::3, ::3].reshape(-1, 3)[: 2**bits]
        numbers, said = np.arange(40 * 56).reshape(40, 56) % len(table), chunk(b"PLTE", table.tobytes())
        yield Kind("PNG, palette of 1 to 8 bits", f"p {bits}", png(numbers, bits, 3, said), table[numbers])
        holes = said + chunk(b"tRNS", b"\0")
        meant = np.where(numbers[..., None] == 0, 255, table[numbers])
        yield Kind("PNG, GIF, with a transparent colour", f"pt {bits}", png(numbers, bits, 3, holes), meant)
    yield Kind("PNG, RGB of 8 and 16 bits", "rgb 8", png(DRAWN, 8, 2), DRAWN)
    yield Kind("PNG, RGB of 8 and 16 bits", "rgb 16", png(wide, 16, 2), DRAWN)
    for bits, times in ((8, 1), (16, 257)):
        rgba, la = np.dstack([DRAWN, alpha]), np.dstack([GREY, alpha])
        meant = on_white(alpha), on_white_grey(alpha)
        yield Kind(ALPHA[0], f"rgba {bits}", png(np.uint16(rgba) * times, bits, 6), meant[0], 1)
        yield Kind(ALPHA[0], f"la {bits}", png(np.uint16(la) * times, bits, 4), meant[1], 1)
    yield from odd_pngs()


def on_white_grey(alpha: np.ndarray) -> np.ndarray:
    return three(np.round(GREY * (alpha / 255) + 255 - alpha))


def odd_pngs():
    im, whole = Image.fromarray(DRAWN), png(DRAWN, 8, 2)
    hole = chunk(b"tRNS", struct.pack(">HHH", 230, 40, 40))
    seen = np.where((DRAWN == (230, 40, 40)).all(-1, keepdims=True), 255, DRAWN)
    yield Kind("PNG, GIF, with a transparent colour", "hole", png(DRAWN, 8, 2, hole), seen)
    yield Kind(LACED, "adam7", png(DRAWN, 8, 2, passes=ADAM7), DRAWN)
    yield Kind(LACED, "adam7 16", png(np.uint16(GREY) * 257, 16, 0, passes=ADAM7), three(GREY))
    many = saved(im, "PNG", save_all=True, append_images=[im.rotate(180)])
    yield Kind(SEVERAL, "apng", many, DRAWN)
    yield Kind(TURNED, "turn", saved(turned(6), "PNG", exif=exif(6)), DRAWN)
    yield Kind(LACED, "gamma", png(DRAWN, 8, 2, chunk(b"gAMA", bytes(4))), DRAWN)
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**27)))
    yield Kind("PNG, a text of 128 MB in 130 kB", "text", png(DRAWN, 8, 2, bomb), "broken|too large|text")
    at = whole.index(b"IDAT")
    flipped = whole[: at + 40] + bytes([whole[at + 40] ^ 255]) + whole[at + 41 :]
    yield Kind(CUT, "flipped", flipped, "broken|not a pict")
    for part in (0.02, 0.3, 0.9):
        yield Kind(CUT, f"cut {part}", whole[: int(len(whole) * part)], "broken|not a")
    yield Kind("PNG of no pixel", "png", png(DRAWN[:0, :0], 8, 2), "no pixels|broken|not a picture")
    yield Kind("PNG of one pixel", "png", png(DRAWN[:1, :1], 8, 2), DRAWN[:1, :1])


def gifs():
    im = Image.fromarray(DRAWN)
    few = im.quantize(200)
    yield Kind("GIF", "gif", saved(few, "GIF"), np.asarray(few.convert("RGB")))
    yield Kind("GIF", "grey", saved(GREY, "GIF"), three(GREY))
    clear = saved(few, "GIF", transparency=few.getpixel((9, 9)))
    hole = np.asarray(few)[..., None] == few.getpixel((9, 9))
    yield Kind("PNG, GIF, with a transparent colour", "hole", clear, np.where(hole, 255, few.convert("RGB")))
    yield Kind(
        SEVERAL,
        "gif",
        saved(few, "GIF", save_all=True, append_images=[im.rotate(180)]),
        np.asarray(few.convert("RGB")),
        1,
    )


def webs():
    im, alpha = Image.fromarray(DRAWN), Image.fromarray(np.uint8(255 * (SIDES[0] > 0.5)))
    holes, meant = Image.merge("RGBA", (*im.split(), alpha)), on_white(np.asarray(alpha))
    moving = {"save_all": True, "append_images": [im.rotate(180)]}
    yield Kind("WebP, AVIF, lossy", "lossy", saved(im, "WEBP", quality=95), DRAWN, 6)
    yield Kind("WebP, lossless", "lossless", saved(im, "WEBP", lossless=True), DRAWN)
    yield Kind(ALPHA[1], "alpha", saved(holes, "WEBP", lossless=True), meant)
    yield Kind(TURNED, "turn", saved(turned(8), "WEBP", lossless=True, exif=exif(8)), DRAWN)
    yield Kind(SEVERAL, "webp", saved(im, "WEBP", lossless=True, **moving), DRAWN)
    if "AVIF" in known_formats():
        yield Kind("WebP, AVIF, lossy", "avif", saved(im, "AVIF", quality=95), DRAWN, 6)
        yield Kind(ALPHA[1], "alpha", saved(holes, "AVIF", quality=95), meant, 6)
        yield Kind(TURNED, "turn", saved(turned(6), "AVIF", quality=95, exif=exif(6)), DRAWN, 6)
        yield Kind(SEVERAL, "avif", saved(im, "AVIF", quality=95, **moving), DRAWN, 6)
    if "HEIF" in known_formats():
        yield Kind("HEIF (with pillow-heif)", "heif", saved(im, "HEIF", quality=95), DRAWN, 6)
    for kind in {"WEBP", "GIF", "AVIF"} & set(known_formats()):
        whole = saved(im, kind)
        yield Kind(CUT, kind, whole[: len(whole) // 2], "broken|not a pict")


def bmps():
    im = Image.fromarray(DRAWN)
    few = im.quantize(200)
    yield Kind(BMP, "24", saved(im, "BMP"), DRAWN)
    yield Kind(BMP, "8", saved(GREY, "BMP"), three(GREY))
    yield Kind(BMP, "p", saved(few, "BMP"), np.asarray(few.convert("RGB")))
    yield Kind(BMP, "1", saved(im.convert("1"), "BMP"), three(im.convert("1") * np.uint8(255)))
    whole = bytearray(saved(im, "BMP"))
    whole[22:26] = struct.pack("<i", -40)
    yield Kind(BMP, "down", bytes(whole), DRAWN[::-1])
    yield Kind(CUT, "cut", bytes(whole[:999]), "broken|not a picture")


def tiff(data: bytes, tags: dict[int, tuple], order: str = "<") -> bytes:
    """A TIFF file written by hand, for what PIL does not write. tags: number -> (type, values...), type 3 or
    4; its strips are `data`, one after the other, as tag 279 has their lengths."""
    lengths = tags.setdefault(279, (4, len(data)))[1:]
    tags[273] = (4, *(8 + sum(lengths[:k]) for k in range(len(lengths))))
    at, more, entries = 8 + len(data), b"", []
    body = at + 2 + 12 * len(tags) + 4
    for number, (kind, *values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{'HI'[kind - 3]}", *values)
        if len(packed) > 4:
            packed, more = struct.pack(f"{order}I", body + len(more)), more + packed
        entries.append(struct.pack(f"{order}HHI", number, kind, len(values)) + packed.ljust(4, b"\0"))
    head = b"II*\0" if order == "<" else b"MM\0*"
    folder = struct.pack(f"{order}H", len(tags)) + b"".join(entries) + bytes(4)
    return head + struct.pack(f"{order}I", at) + data + folder + more


def tags(bits, photometric: int, channels: int = 1, **more) -> dict[int, tuple]:
    "The tags of such a file of 56x40 px."
    own = {256: (3, 56), 257: (3, 40), 258: (3, *[bits] * channels), 259: (3, 1), 262: (3, photometric)}
    own |= {277: (3, channels), 278: (3, 40)}
    return own | {int(name[1:]): value for name, value in more.items()}


def tiffs():
    im, few = Image.fromarray(DRAWN), Image.fromarray(DRAWN).quantize(200)
    for text in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"):
        yield Kind("TIFF, RGB, 6 ways to compress", text, saved(im, "TIFF", compression=text), DRAWN)
    yield Kind(
        "TIFF, compressed as JPEG", "jpeg", saved(im, "TIFF", compression="jpeg", quality=95), DRAWN, 4
    )
    plain = {"L": (GREY, three(GREY)), "P": (few, np.asarray(few.convert("RGB")))}
    plain["1"] = im.convert("1"), three(im.convert("1") * np.uint8(255))
    for mode, (picture, meant) in plain.items():
        yield Kind("TIFF of 1 and 8 bits, grey or palette", mode, saved(picture, "TIFF"), meant)
    yield Kind("TIFF, CMYK and L*a*b*", "cmyk", saved(im.convert("CMYK"), "TIFF"), DRAWN, 2)
    alpha = np.uint8(np.round(255 * SIDES[0]))
    yield Kind(ALPHA[1], "rgba", saved(np.dstack([DRAWN, alpha]), "TIFF"), on_white(alpha), 1)
    whole = saved(im, "TIFF", compression="tiff_lzw")
    yield Kind(CUT, "cut", whole[: len(whole) // 2], "broken|not a picture")
    yield from odd_tiffs(im)
    yield from deep_tiffs()


def odd_tiffs(im: Image.Image):
    pages = saved(im, "TIFF", save_all=True, append_images=[im.rotate(180)])
    yield Kind(SEVERAL, "pages", pages, DRAWN)
    yield Kind(TURNED, "turn", saved(turned(6), "TIFF", tiffinfo={274: 6}), DRAWN)
    inverse = tiff((255 - GREY).tobytes(), tags(8, 0))
    yield Kind("TIFF, white is 0; a plane for each colour", "white is 0", inverse, three(GREY))
    planes = np.ascontiguousarray(DRAWN.transpose(2, 0, 1)).tobytes()
    yield Kind(
        "TIFF, white is 0; a plane for each colour",
        "planar",
        tiff(planes, tags(8, 2, 3, _284=(3, 2), _279=(4, *[2240] * 3))),
        DRAWN,
    )
    lab = ImageCms.profileToProfile(
        im, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    yield Kind("TIFF, CMYK and L*a*b*", "lab", saved(lab, "TIFF"), DRAWN, 3)


def deep_tiffs():
    whole = np.round(SIDES[1] * 255)
    for bits in (8, 10, 12, 14, 16):
        values = np.uint16(np.round(SIDES[1] * (2**bits - 1)))
        yield Kind(DEEP, f"{bits}", saved(values, "TIFF"), three(whole), 0.1)
    for order, said in (("<", "little"), (">", "big")):
        wide = (np.uint16(DRAWN) * 257).astype(f"{order}u2").tobytes()
        yield Kind("TIFF, RGB of 16 bits", said, tiff(wide, tags(16, 2, 3), order), DRAWN)
        grey = np.uint16(np.round(SIDES[1] * 65535)).astype(f"{order}u2").tobytes()
        yield Kind(DEEP, said, tiff(grey, tags(16, 1), order), three(whole))
    twelve = np.uint16(np.round(SIDES[1] * 4095))
    packed = np.packbits(((twelve[..., None] >> np.arange(11, -1, -1)) & 1).astype(np.uint8)).tobytes()
    yield Kind(DEEP, "packed", tiff(packed, tags(12, 1)), three(whole))
    yield from numbers(whole)


def numbers(whole: np.ndarray):
    for name, times in (("0 to 1", 1), ("0 to 255", 255), ("-3 to 5", 8)):
        low = -3 if times == 8 else 0
        floats = saved(np.float32(SIDES[1] * times + low), "TIFF")
        yield Kind("TIFF, floats: 0 to 1, 0 to 255, -3 to 5", name, floats, three(whole))
    yield Kind(
        "TIFF, whole numbers of 32 bits", "32", saved(np.int32(SIDES[1] * 65535), "TIFF"), three(whole), 1
    )
    for name, number in (("nan", np.nan), ("inf", np.inf)):
        for at in (0, 20):
            floats = np.float32(SIDES[1])
            floats[at, at] = number
            yield Kind(
                "TIFF, floats that are no numbers", f"{name} {at}", saved(floats, "TIFF"), "no numbers"
            )
    yield Kind(
        "TIFF, one value alone, below 0",
        "flat",
        saved(np.full((40, 56), -3.0, np.float32), "TIFF"),
        three(np.zeros((40, 56))),
    )


WHOLE = jpegs, pngs, gifs, webs, bmps, tiffs
NO_FILES = "no files: pipe, socket, folder, device, dead link, 3 GB of zeros"
ALIEN = {"BLP": "P", "SPIDER": "F", "MSP": "1", "XBM": "1"}  # and the mode of each
ALIEN |= dict.fromkeys(
    ("EPS", "PDF", "ICO", "DDS", "PPM", "TGA", "JPEG2000", "QOI", "ICNS", "PCX", "SGI"), "RGB"
)
OTHERS = {
    "PSD": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x28\0\0\0\x38\0\x08\0\x03" + bytes(9000),
    "FITS": b"SIMPLE  =                    T".ljust(2880) + bytes(2880),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    "text": b"buy milk",
    "HTML": b"<!doctype html><title>404</title><p>Not found.",
    "JSON": b'{"error": "quota exceeded"}',
    "zip": b"PK\3\4" + bytes(500),
    "a program": b"\x7fELF\2\1\1" + bytes(500),
    "a film": b"\0\0\0\x20ftypisom" + bytes(500),
    "zeros": bytes(4096),
    "noise": np.random.default_rng(1).integers(0, 256, 4096, np.uint8).tobytes(),
    "one byte": b"\xff",
}


def refused():
    yield Kind("an empty file", "empty", b"", "empty")
    for kind, mode in ALIEN.items():
        content = saved(Image.fromarray(DRAWN).convert(mode).resize((64, 64)), kind)
        yield Kind("pictures that no photo comes as: " + ", ".join(ALIEN), kind, content, "not a picture")
    for name, content in OTHERS.items():
        yield Kind("no pictures: " + ", ".join(OTHERS), name, content, "not a picture")
    for kind in {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"} & set(known_formats()):
        content = saved(Image.fromarray(DRAWN), kind)[:12]
        yield Kind("the first 12 bytes of each format", kind, content, "not a picture|broken")


def promise(w: int, h: int, bits: int = 8, colour: int = 2) -> bytes:
    "A PNG file whose head alone is there."
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(99)))


def zeros(w: int, h: int, bits: int, colour: int, channels: int) -> bytes:
    "A whole PNG file of zeros, which takes a thousandth of its pixels."
    pack, row = zlib.compressobj(9), bytes(1 + w * channels * bits // 8)
    lines = b"".join([pack.compress(row) for _ in range(h)]) + pack.flush()
    return promise(w, h, bits, colour)[:33] + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def promises():
    image = Image.fromarray(DRAWN)
    bmp, gif = bytearray(saved(image, "BMP")), bytearray(saved(image.quantize(9), "GIF"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    jpeg = bytearray(saved(image, "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    vast = tags(8, 2, 3) | {256: (4, 100_000), 257: (4, 100_000)}
    heads = {"PNG": promise(50_000, 50_000), "TIFF": tiff(bytes(99), vast), "BMP": bmp, "GIF": gif}
    for name, content in (heads | {"JPEG": jpeg}).items():
        said = "gigapixels promised by a file of a few kB, in 5 formats"
        yield Kind(said, name, bytes(content), "too large|not a picture")


def large(side: int):
    black, said = np.zeros((64, 64, 3)), f"{side:,} px square in a PNG of at most 500 kB"
    for name, bits, colour, channels in (("grey", 8, 0, 1), ("rgb", 8, 2, 3), ("16 bits", 16, 0, 1)):
        yield Kind(said, name, zeros(side, side, bits, colour, channels), black)
    yield Kind(f"{side:,} px square, transparent", "rgba", zeros(side, side, 8, 6, 4), black + 255)
    long = zeros(30_000, 1, 8, 2, 3)
    yield Kind("as long as a picture may be: 1 x 30,000 px", "long", long, np.zeros((64, 192, 3)))
    floats, said = np.zeros((side // 2, side), np.float32), f"{side:,} x {side // 2:,} px of floats"
    floats[0, 0] = 1
    yield Kind(said, "floats", saved(floats, "TIFF"), np.zeros((64, 128, 3)), 1)


def no_files(folder: Path):
    "What is no file, made in the folder: name, what is said of it."
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(folder)  # a socket's path has at most 107 bytes
        s.bind("socket.jpg")
        os.chdir(here)
    yield from (("pipe.jpg", "pipe or a device"), ("socket.jpg", "cannot be read: No such device"))
    links = {"nowhere": "nowhere at all", "itself": "itself.jpg", "zero": "/dev/zero", "null": "/dev/null"}
    links["folder"] = "."
    reasons = "not there", "Too many levels", "a device", "a device", "a folder"
    for (name, target), reason in zip(links.items(), reasons):
        (folder / f"{name}.jpg").symlink_to(target)
        yield f"{name}.jpg", reason
    (folder / "own.jpg").mkdir()
    yield "own.jpg", "a folder"
    with contextlib.suppress(OSError):  # not everyone may
        os.mknod(folder / "device.jpg", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        yield "device.jpg", "a device"
    yield from odd_files(folder)


def odd_files(folder: Path):
    "What is a file, but of 3 GB, or not for everyone."
    for name, start in (("vast.jpg", b""), ("tail.png", png(DRAWN, 8, 2))):
        with open(folder / name, "wb") as f:  # takes no room on the disk
            f.write(start)
            f.truncate(3 * 2**30)
        yield name, "too large" if start else "not a picture"
    (folder / "shut.jpg").write_bytes(saved(DRAWN, "JPEG"))
    (folder / "shut.jpg").chmod(0)
    if not os.access(folder / "shut.jpg", os.R_OK):  # root reads everything
        yield "shut.jpg", "Permission denied"


PROBE = """import json, os, resource, signal, sys, warnings
import numpy as np
from lessonkit.images.decode import known_formats, load_picture
jobs, memory, seconds, out = json.load(open(sys.argv[1])), *map(int, sys.argv[2:4]), sys.argv[4]
known_formats()
heard = []
warnings.showwarning = lambda *about: heard.append(about[0])
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory,) * 2)
for name, short in jobs:
    signal.alarm(seconds)
    try:
        heard.clear()
        picture = load_picture(name, short)
        said = "opened" if picture.dtype == np.uint8 and picture.shape[2:] == (3,) else str(picture.shape)
        said = f"warned {heard[0]}" if heard else said
        if out != "-":
            np.save(f"{out}/{os.path.basename(name)}.npy", picture)
    except ValueError as e:
        said = "refused " + str(e)
    except BaseException as e:
        said = "raised " + repr(e)
    print(json.dumps(said), flush=True)
"""


def probe(jobs: list[tuple[str, int | None]], folder: Path, out: str = "-") -> list[str]:
    """What becomes of each file, (path, shorter side), in processes of their own: opened, refused or raised,
    or crashed with a signal's number."""
    found, listed = [], folder / "jobs.json"
    while len(found) < len(jobs):
        listed.write_text(json.dumps(jobs[len(found) :]))
        command = [sys.executable, "-c", PROBE, str(listed), str(MEMORY), str(SECONDS), out]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found += lines
        if len(found) < len(jobs):
            found.append(f"crashed ({-done.returncode}) {done.stderr[-300:]}")
    return found


def judge(kind: Kind, said: str, path: Path, out: Path) -> tuple[str, str]:
    "What happened to a kind of file, and what is wrong with that, empty if nothing is."
    if isinstance(kind.meant, str):
        named = said.removeprefix("refused ").removeprefix(f"{path}: ")
        right = said.startswith(f"refused {path}: ") and re.search(kind.meant, named)
        return named.partition(" (")[0], "" if right else f"{kind.group}, {kind.name}: {said}"
    if said != "opened":
        return said, f"{kind.group}, {kind.name}: {said}"
    picture = np.load(out / f"{path.name}.npy").astype(float)
    if picture.shape != kind.meant.shape:
        return said, f"{kind.group}, {kind.name}: {picture.shape}, not {kind.meant.shape}"
    off = np.abs(picture - kind.meant).mean()
    return off, "" if off <= kind.off else f"{kind.group}, {kind.name}: {off:.2f} levels off"


def make_kinds(at: Path, short: bool) -> tuple[list[tuple], list[Kind]]:
    "Every kind of file, in a folder: what `probe` is to open, and the kinds."
    jobs, kinds = [], []
    for name, meant in no_files(at):
        jobs.append((str(at / name), None))
        kinds.append(Kind(NO_FILES, name, b"", meant))
    makers = *WHOLE, refused, promises, lambda: large(2_000 if short else 13_000)
    for kind in (kind for make in makers for kind in make()):
        jobs.append((str(at / f"{len(kinds)}.jpg"), 64 if "px" in kind.group else None))
        Path(jobs[-1][0]).write_bytes(kind.content)
        kinds.append(kind)
    return jobs, kinds


def try_kinds(folder: Path, short: bool) -> tuple[list[tuple], list[str]]:
    "(group, what happened) of every kind of file, and what is wrong."
    at, out = folder / "kinds" / "a", folder / "out"
    for part in (at, out, folder / "kinds" / "b"):
        part.mkdir(parents=True)
    jobs, kinds = make_kinds(at, short)
    said = probe(jobs, folder, str(out))
    ended = [judge(kind, words, Path(job[0]), out) for kind, words, job in zip(kinds, said, jobs)]
    broke = [wrong for _, wrong in ended if wrong]
    report = check_folder(folder / "kinds")
    named = {Path(item.path).name for item in report.items} | {Path(f).name for f, _ in report.problems}
    lost = {Path(path).name for path, _ in jobs} - named - {"own.jpg"}
    broke += [f"check_folder names neither as good nor as bad: {name}" for name in sorted(lost)]
    return [(kind.group, what) for kind, (what, _) in zip(kinds, ended)], broke


def damaged(rng, content: bytes, other: bytes) -> bytes:
    "A file's content, damaged in one of seven ways; other: of a file that a part may come from."
    data, way = np.frombuffer(content, np.uint8).copy(), rng.integers(7)
    a, b = sorted(rng.integers(0, len(data) + 1, 2))
    few = rng.integers(
        0, min(len(data), (64, len(data))[way % 2]), 1 + rng.integers(9)
    )  # the head, or anywhere
    if way < 2:
        data[few] = rng.integers(0, 256, len(few))
    elif way == 2:
        data[few] ^= np.uint8(1) << np.uint8(rng.integers(8))
    elif way == 3:
        data[a : a + 4] = rng.choice([0, 255, 127])
    elif way == 4:
        return content[:a]
    elif way == 5:
        return content[:a] + content[b:]
    elif way == 6:
        return content[:a] + other[a:]
    return data.tobytes()


FORMS = {b"\xff\xd8": "JPEG", b"\x89P": "PNG", b"RI": "WebP", b"GI": "GIF", b"BM": "BMP", b"\0\0": "AVIF"}
FORMS |= {b"II": "TIFF", b"MM": "TIFF"}  # by a file's first bytes


def try_damaged(folder: Path, n: int, seed: int = 0) -> tuple[list[list], list[str]]:
    "How many of `n` damaged files of each format are opened and refused, and what is wrong."
    rng, at, jobs, formats = np.random.default_rng(seed), folder / "damaged", [], []
    whole: dict[str, list[Kind]] = {}
    for kind in (kind for make in WHOLE for kind in make()):
        if not isinstance(kind.meant, str):
            whole.setdefault(kind.group, []).append(kind)
    every = [kind for kinds in whole.values() for kind in kinds]
    at.mkdir()
    for k in range(n):
        kinds = list(whole.values())[k % len(whole)]
        one, other = kinds[rng.integers(len(kinds))], every[rng.integers(len(every))]
        jobs.append((str(at / f"{k}.jpg"), (None, 16)[k % 2]))
        Path(jobs[-1][0]).write_bytes(damaged(rng, one.content, other.content))
        formats.append(FORMS[one.content[:2]])
    said = probe(jobs, folder)
    fine = [w == "opened" or w.startswith(f"refused {job[0]}: ") for w, job in zip(said, jobs)]
    broke = [f"{f}, damaged ({job[0]}): {w}" for f, w, job, ok in zip(formats, said, jobs, fine) if not ok]
    ended, rows = Counter((f, w.split()[0]) for f, w in zip(formats, said)), []
    for f, tried in sorted(Counter(formats).items()):
        what = f"{ended[f, 'opened']:,} opened, {ended[f, 'refused']:,} refused"
        rows.append([f"{f}, damaged at random", tried, what])
    return rows, broke


def in_words(ends: list) -> str:
    "What happened to the files of a group."
    off = [end for end in ends if not isinstance(end, str)]
    said = [f"refused: {end}" for end in dict.fromkeys(end for end in ends if isinstance(end, str))]
    exact = (
        "to the value" if off and max(off) < 0.005 else f"{max(off, default=0):.1f} of 255 levels off at most"
    )
    return "; ".join([f"opened, {exact}"] * bool(off) + said[:6]) + "; ..." * (len(said) > 6)


def attack(folder: Path, short: bool = False) -> Found:
    "Open every kind of file, then thousands that are damaged."
    ended, broke = try_kinds(folder, short)
    groups: dict[str, list] = {}
    for group, what in ended:
        groups.setdefault(group, []).append(what)
    rows = [[group, len(ends), in_words(ends)] for group, ends in groups.items()]
    n = 300 if short else 10_000
    more, worse = try_damaged(folder, n)
    words = __doc__.replace("\n", " ").strip() + " " + MORE
    columns = ["files", "how many", "what happens"]
    return Found("Files in a folder of pictures", words, len(ended) + n, broke + worse, columns, rows + more)
