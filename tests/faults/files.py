"""Damaged files: what lessonkit reads back, with bits, bytes and values changed.

A kind of file is a path, and a function that says what the file holds. A damaged file is refused by name, or
it holds the same as before; one without a checksum may hold other values, if all that is done with them
works.
"""

import json
import os
import random
import resource
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save, save_file
from torch import nn

from lessonkit.basics import write_whole
from lessonkit.images.cache import Pictures, list_cache
from lessonkit.lab import exercises
from lessonkit.lab.copy import copy_lessons
from lessonkit.nets.bodies import torchvision_net
from lessonkit.nets.classifier import build_model
from lessonkit.nets.weights import load_body
from lessonkit.predict import Predictor, load_model, save_model
from lessonkit.samples.write import write_samples
from lessonkit.tensors import read_tensors, write_tensors
from lessonkit.train.checkpoint import read_checkpoint, write_checkpoint
from lessonkit.train.history import History
from lessonkit.train.loop import train_events
from lessonkit.train.optim import make_opt
from lessonkit.train.rng import rng_state
from lessonkit.train.schedule import sgdr
from lessonkit.train.suggest import LRFind
from lessonkit.widgets.replay import history_figure, run_state

from .found import Found

TITLE = "Files that are damaged"
WORDS = (
    "Bits, bytes and values of every file that lessonkit reads back are changed: models, checkpoints, "
    "histories, the finder's results, kept pictures, what the lab keeps. A damaged file is refused by its "
    "name, or it holds the same as before (the change was in a place that means nothing, or what is damaged "
    "is made anew). Files without a checksum, of an older lessonkit or written by hand, may also hold other "
    "values, with which all must work."
)
ENDS = ("refused", "the same", "usable")
MOST_SECONDS, MOST_BYTES = 20, 1.5e9  # of one case: processor time, memory beyond what there was
DEEP = "[" * 990 + "]" * 990
RAW = {  # JSON that no Python value becomes
    "@nan": "NaN",
    "@inf": "-Infinity",
    "@huge": "1e999",
    "@digits": "9" * 400,
    "@more digits": "9" * 5000,
    "@deep": DEEP,
    "@bottomless": "[" * 1_000_000,
    "@objects": '{"a":' * 100_000,
}
# fmt: off
NASTY = [
    None, True, False, "", "x", "\0", "\ud800", "resnet10", "resnet11", [], {}, [[]], [None], {"a": 1},
    -5, -1, 0, 1, 2, 3, 0.5, -0.0, 1e-320, 1e9, 1e12, 2**63, 1e30, 1e38, 1e300, -1e300, [0] * 3, [1e308] * 3,
    ["a", "a"], ["a", "b", "c"], [0.5, 0.5], [[0.1], [0.2]], "9" * 100_000, *RAW,
]
# fmt: on


@dataclass
class Kind:
    """A kind of file. path: the file to damage; read: what it holds, as values that compare; name: what every
    refusal names; errors: what it may be; checked: whether it has a checksum; home: a folder that `read`
    changes; document, render: the values in it, and the file with other ones."""

    title: str
    path: Path
    read: Callable
    name: str
    checked: bool = True
    errors: tuple = (ValueError, FileNotFoundError)
    home: Path | None = None
    document: object = None
    render: Callable = lambda values: text_of(values).encode()


# How it is damaged


def flipped(rng, data: bytes) -> bytes:
    at = rng.randrange(min(len(data), rng.choice([8, 2000, len(data)])))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def cut(rng, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def zeroed(rng, data: bytes) -> bytes:
    at = rng.randrange(min(len(data), rng.choice([2000, len(data)])))
    n = min(rng.choice([1, 8, 512, 4096, len(data)]), len(data) - at)
    return data[:at] + bytes(n) + data[at + n :]


def inserted(rng, data: bytes) -> bytes:
    at = rng.randrange(min(len(data), rng.choice([8, 2000, len(data)])))
    return data[:at] + rng.randbytes(rng.choice([1, 2, 8, 100])) + data[at:]


def appended(rng, data: bytes) -> bytes:
    return data + rng.choice([b"\0", b"}", b"\n{}", rng.randbytes(1000), data])


BYTES = {
    "a bit flipped": flipped,
    "cut short": cut,
    "a range zeroed": zeroed,
    "bytes put in": inserted,
    "bytes added": appended,
}


def places(value, way=()):
    "The ways to all values in a document; of a long list the first two and the last."
    yield way
    keys = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = sorted({0, 1, len(value) - 1} & set(range(len(value))))
    for key in keys:
        yield from places(value[key], (*way, key))


def altered(document, way: tuple, value):
    "A copy of the document with another value in one place; without that place for ..."
    copy = json.loads(json.dumps(document))
    if not way:
        return None if value is ... else value
    place = copy
    for key in way[:-1]:
        place = place[key]
    if value is ...:
        del place[way[-1]]
    else:
        place[way[-1]] = value
    return copy


def text_of(document) -> str:
    "JSON, with what no Python value becomes in its places."
    text = json.dumps(document)
    for mark, raw in RAW.items():
        text = text.replace(json.dumps(mark), raw)
    return text


def damages(kind: Kind, n_bytes: int, n_values: int, rng):
    "Damaged files, as pairs of what was done and the bytes: by bytes and, where it has values, by values."
    whole = kind.path.read_bytes()
    for k in range(n_bytes):
        what = list(BYTES)[k % len(BYTES)]
        yield what, BYTES[what](rng, whole)
    if kind.document is not None:
        values = [(way, value) for way in places(kind.document) for value in (..., *NASTY)]
        for way, value in rng.sample(values, min(len(values), n_values)):
            yield "a value altered", kind.render(altered(kind.document, way, value))


# What they hold


def predictions(folder: Path, photo: Path, make=None):
    "What a model says of a photo, and to how many bits."
    (said,) = load_model(folder, make and make()).predict([photo])
    if said.error and "not a number" not in said.error:
        raise AssertionError(said.error)
    return said.label, said.probabilities


def shown(history: History):
    "A history in every way in which it is shown; its values."
    repr(history), str(history), history._repr_html_()
    json.dumps(run_state(history), allow_nan=False)
    history_figure(history).canvas.draw()
    return history.to_dict()


def found_and_shown(found: LRFind):
    "A sweep in every way in which it is shown; its values."
    from matplotlib.figure import Figure

    repr(found), found._repr_html_(), found.suggestions
    figure = Figure(figsize=(4, 3))
    found.plot(figure.subplots())
    figure.canvas.draw()
    return found


def plain(tree):
    "A checkpoint's tree with bytes in place of its tensors."
    if isinstance(tree, torch.Tensor):
        return str(tree.dtype), tuple(tree.shape), tree.numpy().tobytes()
    if isinstance(tree, dict):
        return {k: plain(v) for k, v in tree.items()}
    return [plain(v) for v in tree] if isinstance(tree, list | tuple) else tree


# The kinds of files


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def a_history() -> History:
    "Of a run of two cycles, with a loss that was not finite."
    torch.manual_seed(0)
    x = torch.randn(32, 2)
    batches = [(x[k : k + 8], (x[k : k + 8, 0] > 0).long()) for k in range(0, 32, 8)]
    net, history = nn.Linear(2, 2), History(sgdr(2, 1).with_steps(4), 64, groups=["head"])
    for event in train_events(net, batches, batches, make_opt(net.parameters(), 0.1), history.schedule):
        history.add(event)
    history.settle()
    history.losses[3] = float("nan")
    history.end("done")
    return history


ABOUT = {"classes": ["cat", "dog"], "size": 32, "mean": [0.5] * 3, "std": [0.2] * 3}


def model_kinds(folder: Path, photo: Path) -> list[Kind]:
    "Models: of one's own module and its model.json, and of a network that has a name."
    own = save_model(folder / "own", Predictor(small(), **ABOUT), accuracy=0.5)
    net = build_model("resnet10", 2, weights=None, seed=0)
    named = save_model(folder / "named", Predictor(net, **ABOUT))
    tensors, words = read_tensors(own / "model.safetensors")
    info, said = json.loads(words["lessonkit"]), lambda: predictions(own, photo, small)
    return [
        Kind("model.safetensors", own / "model.safetensors", said, "own"),
        Kind(
            "model.safetensors, a named network",
            named / "model.safetensors",
            lambda: predictions(named, photo),
            "named",
        ),
        Kind("model.json", own / "model.json", said, "own", document=info),
        *loose_kinds(folder, photo, tensors, info),
    ]


def loose_kinds(folder: Path, photo: Path, tensors: dict, info: dict) -> list[Kind]:
    "Models whose values no checksum tells: under a new one, and of an older lessonkit."
    alone, old = folder / "alone" / "model.safetensors", folder / "old" / "model.json"
    write_tensors(alone, tensors, json.dumps(info))
    write_whole(old, older := info | {"format": 1})
    save_file(tensors, old.with_name("model.safetensors"))

    def sealed(values):  # with the right checksum, as another program might write it
        write_tensors(folder / "values", tensors, text_of(values))
        return (folder / "values").read_bytes()

    said = lambda path: lambda: predictions(path.parent, photo, small)
    return [
        Kind(f"{alone.name}, sealed anew", alone, said(alone), "alone", False, document=info, render=sealed),
        Kind(f"{old.name} of format 1", old, said(old), "old", False, document=older),
    ]


def run_kinds(folder: Path) -> list[Kind]:
    "A checkpoint; a history and a sweep, each with and without its checksum."
    history, net, path = a_history(), small(), folder / "run.ckpt"
    opt = make_opt(net.parameters(), 0.1)
    net(torch.ones(2, 3, 8, 8)).sum().backward(), opt.step()
    state = {"model": net.state_dict(), "opt": opt.state_dict(), "history": history.to_dict()}
    write_checkpoint(path, state | {"rng": rng_state(), "step": 8})
    tensors, words = read_tensors(path)
    seal = lambda values: save(tensors, {"lessonkit": f"{words['checksum']} {text_of(values)}"})
    lrs, waves = np.geomspace(1e-6, 1, 40), 0.01 * np.sin(np.arange(40))
    found = LRFind(lrs, 2 - np.exp(-((np.log10(lrs) + 1) ** 2)) + waves, n_steps=40)
    read = lambda: plain(read_checkpoint(path))
    return [
        Kind("checkpoint", path, read, path.name, document=json.loads(words["lessonkit"]), render=seal),
        *json_kinds("history", history.save(folder / "history.json"), lambda p: shown(History.load(p))),
        *json_kinds("finder", found.save(folder / "finder.json"), lambda p: found_and_shown(LRFind.load(p))),
    ]


def json_kinds(title: str, path: Path, read: Callable) -> list[Kind]:
    "A JSON file as it is, and one without its checksum, as an older lessonkit or a hand writes it."
    values = json.loads(path.read_text())
    older = {k: v for k, v in values.items() if k != "checksum"}
    bare = write_whole(path.with_stem(f"{title}-bare"), older)
    return [
        Kind(title, path, lambda: read(path), path.name, document=values),
        Kind(f"{title}, no checksum", bare, lambda: read(bare), bare.name, False, document=older),
    ]


def cache_kinds(folder: Path) -> list[Kind]:
    "The index and the pixels of kept pictures: a damaged one is no error, the pictures are decoded anew."
    (root := folder / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
    files = [root / f"{k}.png" for k in range(3)]
    for file, picture in zip(files, pixels):
        Image.fromarray(picture).save(file)

    def read():
        pictures = Pictures(root)
        held = [
            (p := pictures.get(f, 32)).pixels.tobytes() + repr(replace(p, pixels=None)).encode()
            for f in files
        ]
        pictures.flush(wait=True)
        list_cache()
        return held

    read()
    home = Pictures(root).folder
    (index,), (pack,) = home.glob("*.json"), home.glob("*.pixels")
    return [
        Kind("cache, index", index, read, "", errors=(), home=home, document=json.loads(index.read_text())),
        Kind("cache, pixels", pack, read, "", errors=(), home=home),
    ]


def lab_kinds(folder: Path) -> list[Kind]:
    "What is kept of a reader's work, and of the lessons that were handed over: the reader's own stay."
    first = {"tries": 3, "hints": 1, "solved": True, "solution": False}
    path = write_whole(folder / "progress.json", told := {"01.1": first, "01.2": {"tries": 1}})
    exercises.PROGRESS = str(path)
    home = folder / "lab"
    copy_lessons(home, lessons={"a.ipynb": b"{}", "b.ipynb": b"{}"})
    (home / "a.ipynb").write_bytes(b"mine")

    def lessons():
        copy_lessons(home, update=True, lessons={"a.ipynb": b"new", "b.ipynb": b"{}"})
        return (home / "a.ipynb").read_bytes(), (home / "b.ipynb").read_bytes()

    done = lambda: (repr(exercises.progress()), exercises.progress()._repr_html_())
    kept = home / ".lessonkit.json"
    given = json.loads(kept.read_text())
    return [
        Kind(path.name, path, done, path.name, False, document=told),
        Kind(kept.name, kept, lessons, "", errors=(), home=home, document=given),
    ]


def picture_kinds(folder: Path) -> list[Kind]:
    "The stamp of drawn samples, and weights of another program that say how pictures are normalised."
    root, weights = folder / "samples", folder / "weights.safetensors"
    draw = lambda: sorted(map(str, write_samples(root, "side_on", 12, 12, size=16).rglob("*")))
    draw()
    state = torchvision_net("squeezenet1_1").state_dict()
    about = {"mean": [0.5] * 3, "std": [0.2] * 3}

    def render(values):
        return save(state, {k: text_of(v) for k, v in (values if isinstance(values, dict) else {}).items()})

    weights.write_bytes(render(about))
    body = lambda: (b := load_body("squeezenet1_1", weights)).mean + b.std
    stamp = root / "samples.json"
    told = json.loads(stamp.read_text())
    return [
        Kind("samples.json", stamp, draw, "samples", errors=(FileExistsError,), document=told),
        Kind("weights from elsewhere", weights, body, weights.name, False, document=about, render=render),
    ]


# What became of it


def outcome(kind: Kind, before) -> str:
    "Refused, the same, or usable; else what is wrong."
    cpu, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = (
                "the same" if kind.read() == before else "holds something else" if kind.checked else "usable"
            )
    except kind.errors as e:
        said = "refused" if kind.name in str(e) else f"{type(e).__name__} without the name: {str(e)[:200]}"
    except Exception as e:
        said = f"{type(e).__name__}: {str(e)[:200]}"
    if time.process_time() - cpu > MOST_SECONDS:
        return f"{said}, after {time.process_time() - cpu:.0f} s"
    more = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)
    return said if more < MOST_BYTES else f"{said}, with {more / 1e9:.1f} GB more"


def attacked(kind: Kind, n_bytes: int, n_values: int, found: Found) -> None:
    "Damage a file in so many ways, and count what became of each."
    before, whole, rng = kind.read(), kind.path.read_bytes(), random.Random(kind.title)
    spare = {p: p.read_bytes() for p in kind.home.iterdir()} if kind.home else {kind.path: whole}
    counts = Counter()
    for what, content in damages(kind, n_bytes, n_values, rng):
        kind.path.write_bytes(content)
        said = "the same" if content == whole else outcome(kind, before)
        counts[what, said if said in ENDS else "broke"] += 1
        if said not in ENDS:
            found.broke.append(f"{kind.title}, {what}: {said}")
        if kind.home:
            shutil.rmtree(kind.home)
            kind.home.mkdir()
        for path, content in spare.items():
            path.write_bytes(content)
    found.tried += sum(counts.values())
    for what in sorted({what for what, _ in counts}):
        ends = [counts[what, end] for end in (*ENDS, "broke")]
        found.rows.append([kind.title, what, sum(ends), *ends])


def attack(folder: Path, short: bool) -> Found:
    "Damage every kind of file that lessonkit reads back."
    found = Found(TITLE, WORDS, columns=["file", "damage", "tried", *ENDS, "broke"])
    n = (10, 12) if short else (110, 700)
    photo = folder / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).save(photo)
    with patch.dict(os.environ, LESSONKIT_CACHE=str(folder / "cache")), patch.object(exercises, "PROGRESS"):
        kinds = model_kinds(folder, photo)
        for make in (run_kinds, cache_kinds, lab_kinds, picture_kinds):
            kinds += make(folder)
        for kind in kinds:
            attacked(kind, *n, found)
    return found
