"""From a folder of photos to batches that a network can learn from: read, cut to size, augmented,
normalised."""

import os
import shutil
import tempfile
from functools import partial
from itertools import product
from pathlib import Path

from lessonkit import ImageData

from .common import compare, merged, met, photos, threads
from .peers import fastai_dls, torchvision_dl

BS = 32
TARGETS = {
    "first epoch": {"torchvision": ">= 1.8", "fastai": ">= 4"},
    "later epochs": {"torchvision": ">= 12", "fastai": ">= 25"},
}
SEEN = {"first epoch": "*/*/*", "later epochs": "train/*/*"}  # the pictures that are read


def epoch(dl) -> int:
    "Go once through a loader; the number of pictures."
    return sum(len(xb) for xb, *_ in dl)


class FreshCache:
    "Makes each `ImageData` decode everything anew: a cache folder of its own, removed with it."

    def __enter__(self):
        self.before, self.folder = (
            os.environ.get("LESSONKIT_CACHE"),
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True),
        )
        os.environ["LESSONKIT_CACHE"] = self.folder.name
        return self

    def __exit__(self, *_):
        self.folder.cleanup()
        os.environ.pop("LESSONKIT_CACHE")
        if self.before is not None:
            os.environ["LESSONKIT_CACHE"] = self.before


def ours(folder, size: int, first: bool):
    "first: the check of all files and the decoding are part of it."
    make = lambda: ImageData(folder, size=size, augment="side_on", bs=BS, progress=False)
    if first:

        def go():
            with FreshCache():
                data = make()
                epoch(data.train_dl()), epoch(data.valid_dl())

        return go
    dl = make().train_dl()
    epoch(dl)
    return lambda: epoch(dl)


def torchvision(folder, size: int, first: bool, workers: int):
    if first:
        return lambda: [
            epoch(torchvision_dl(folder / split, size, BS, workers, split == "train"))
            for split in ("train", "valid")
        ]
    dl = torchvision_dl(folder / "train", size, BS, workers)
    epoch(dl)  # the workers are there, the files are read
    return lambda: epoch(dl)


def fastai(folder, size: int, first: bool, workers: int):
    if first:
        return lambda: [epoch(dl) for dl in fastai_dls(folder, size, BS, workers)]
    dl = fastai_dls(folder, size, BS, workers).train
    epoch(dl)
    return lambda: epoch(dl)


def with_best_targets(found: dict, targets: dict[str, str]) -> dict:
    "A peer's target belongs to its best way."
    for name, target in targets.items():
        mine = [r for r in found["rows"] if r["name"].startswith(name)]
        if mine and mine[0]["ratio"] is not None:
            best = min(mine, key=lambda r: r["ratio"])
            best |= {"target": target, "met": met(best["ratio"], target)}
    return found


def some_photos(folder: Path, target: Path, n: int) -> Path:
    "The first `n` photos of each class, as a folder like the whole."
    for one in sorted(p for p in folder.glob("*/*") if p.is_dir()):
        to = target / one.relative_to(folder)
        to.mkdir(parents=True)
        for file in sorted(one.iterdir())[:n]:
            shutil.copy(file, to)
    return target


def enlarged(folder: Path, target: Path) -> Path:
    "The same photos at 500 x 375 px (or upright), a common size of small photos; encoded anew as JPEG."
    from PIL import Image

    if target.exists():  # made by an earlier case
        return target
    for file in folder.rglob("*.jpg"):
        with Image.open(file) as im:
            size = (500, 375) if im.width >= im.height else (375, 500)
            to = target / file.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            im.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(to, quality=90)
    return target


def contestants(folder, size: int, first: bool) -> dict:
    "lessonkit, and each peer in the process and with two workers."
    result = {"lessonkit": partial(ours, folder, size, first)}
    for workers in (0, 2):
        how = f", {workers} workers" if workers else ""
        result[f"torchvision{how}"] = partial(torchvision, folder, size, first, workers)
        result[f"fastai{how}"] = partial(fastai, folder, size, first, workers)
    return result


def run(options) -> dict:
    """Seconds a picture, 64, 128 and 224 px, of the first epoch (from the folder on, train and valid) and of
    a later one (train); two threads or two worker processes."""
    folder, results = photos(options, "data", "cats_dogs"), []
    with threads(options.threads or min(2, os.cpu_count() or 1)), tempfile.TemporaryDirectory() as temporary:
        if options.quick:
            folder = some_photos(folder, Path(temporary) / "photos", 20)
        n = {when: len(list(folder.glob(some))) for when, some in SEEN.items()}
        cases = [(64, "")] if options.quick else [(128, ""), (128, " from 500x375"), (64, ""), (224, "")]
        for (size, large), (when, targets) in product(cases, TARGETS.items()):
            case, first = f"{size} px{large}, {when}", when == "first epoch"
            if options.case not in case:
                continue
            source = enlarged(folder, Path(temporary) / "large") if large else folder
            rounds = options.rounds or (2 if options.quick else 3 if first else 5)
            who = contestants(source, size, first)
            found = compare(case, who, rounds, "lessonkit", "a picture", n[when])
            results.append(with_best_targets(found, targets if size == 128 else {}))
    return merged(results)
