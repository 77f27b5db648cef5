"""From a folder of photos to an accuracy: the five steps against fastai's lr_find and fine_tune, each run
once.

The clock starts before the data set is looked at, and runs through the finder and every evaluation; imports
do not count.
"""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from lessonkit import ImageData, five_steps
from lessonkit.nets.bodies import DEFAULT_ARCH

from .common import Row, Skip, alone, merged, met, peer, photos, result
from .data import FreshCache, some_photos
from .peers import fastai_dls, fastai_learner

LEVEL, TARGET = 0.94, ">= 3"
# Its defaults, and what made it quickest and best here, by its own documentation's means: see README.md.
FASTAI = {
    "defaults": dict(bs=64, epochs=3, freeze_epochs=1, train_bn=True, channels_last=False),
    "batch norm left alone": dict(bs=32, epochs=3, freeze_epochs=2, train_bn=False, channels_last=True),
    "the same, no finder": dict(
        bs=32, epochs=3, freeze_epochs=2, train_bn=False, channels_last=True, lr=2e-3
    ),
}


def ours(folder, arch: str, weights, size: int, quick: bool) -> list[tuple[float, float]]:
    "(seconds since the start, accuracy) of every evaluation of `five_steps`."
    peer("torchvision")
    began, said = time.perf_counter(), {}
    short = dict(head_epochs=1, epochs=1, cycle_len=1) if quick else {}
    with FreshCache():
        done = five_steps(
            ImageData(folder, size=size),
            arch,
            weights,
            device="cpu",
            **short,
            say=lambda text: said.setdefault(text.strip()[:2], time.perf_counter() - began),
        )
    points = []
    for step in (s for s in done.steps if s.histories):
        seconds = said[f"{step.number}."]
        for epoch in (e for history in step.histories for e in history.epochs):
            seconds += epoch["seconds"]
            points.append((seconds, epoch["accuracy"]))
    return points


def clock(points: list[tuple[float, float]], began: float):
    "A callback of fastai's that adds (seconds since `began`, accuracy) after every epoch but the finder's."
    from fastai.vision.all import Callback

    class Clock(Callback):
        order = 60  # after the recorder, which has the metrics

        def after_epoch(self):
            if not hasattr(self, "lr_finder"):
                points.append((time.perf_counter() - began, float(self.recorder.values[-1][-1])))

    return Clock()


def fastai(
    folder,
    arch: str,
    weights,
    size: int,
    quick: bool,
    bs: int,
    epochs: int,
    freeze_epochs: int,
    train_bn: bool,
    channels_last: bool,
    lr: float | None = None,
) -> list[tuple[float, float]]:
    "The same of fastai's lr_find (its valley; not called where `lr` is given) and fine_tune."
    peer("fastai.vision.all")
    began, points = time.perf_counter(), []
    stats = {"stats": ((0.5,) * 3, (0.5,) * 3)} if weights == "DEFAULT" else {}
    dls = fastai_dls(folder, size, 8 if quick else bs, 0 if quick else 2, **stats)
    with tempfile.TemporaryDirectory() as temporary:  # its finder writes a checkpoint
        learn = fastai_learner(dls, arch, weights, train_bn=train_bn, path=temporary)
        if channels_last:
            learn.add_cb(peer("fastai.callback.channelslast").ChannelsLast())
        lr = lr or learn.lr_find(num_it=20 if quick else 100, show_plot=False).valley
        learn.add_cb(clock(points, began))
        learn.fine_tune(1 if quick else epochs, base_lr=lr, freeze_epochs=freeze_epochs)
    return points


def until(points: list[tuple[float, float]], level: float) -> float:
    "Seconds until an accuracy was reached."
    return min(seconds for seconds, accuracy in points if accuracy >= level)


def against(row: Row, mine: float, level: float) -> Row:
    "A peer's row beside the seconds that lessonkit took to the same accuracy, `level`."
    ratio, low = row.seconds / mine, level < LEVEL
    target = "" if low or "no finder" in row.name else TARGET  # it is told what the others must find
    note = row.note + (f"; {LEVEL} was not reached" if low else "")
    ratios = {"ratio": ratio, "low": ratio, "high": ratio}
    return replace(row, **ratios, reference="lessonkit", target=target, met=met(ratio, target), note=note)


def judged(case: str, runs: dict[str, list[tuple[float, float]]]) -> list[Row]:
    "Rows from the runs: a peer's time to the accuracy that it and lessonkit both reach, over ours."
    best, found = {name: max(a for _, a in points) for name, points in runs.items()}, []
    for name, points in runs.items():
        level = min(best[name], best["lessonkit"])
        note = f"to {level:.4f}; best {best[name]:.4f} after {until(points, best[name]):.0f} s"
        row = Row(case, name, "s", until(points, level), note=note)
        found.append(row if name == "lessonkit" else against(row, until(runs["lessonkit"], level), level))
    return found


def run(options) -> dict:
    "Seconds to an accuracy that both reach, on cats_dogs; two threads."
    folder, results = photos(options, "data", "cats_dogs"), []
    n_threads = options.threads or min(2, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = some_photos(folder, Path(temporary) / "photos", 20) if options.quick else folder
        for arch in ("efficientnet_lite0", "squeezenet1_1", "mobilenet_v2"):
            for size in (64,) if options.quick else (192, 128):
                case, skipped = f"{arch} {size} px", {}
                if options.case not in case:
                    continue
                weights = "DEFAULT" if arch == DEFAULT_ARCH else photos(options, "weights", f"{arch}.pth")
                about = folder, arch, weights, size, options.quick
                runs = {"lessonkit": alone(n_threads, ours, *about)}
                for name, settings in FASTAI.items():
                    try:
                        runs[f"fastai, {name}"] = alone(n_threads, fastai, *about, **settings)
                    except Skip as e:
                        skipped[f"{case}: fastai, {name}"] = str(e)
                results.append(result(judged(case, runs), skipped) | {"runs": {case: runs}})
    return merged(results) | {"runs": {k: v for r in results for k, v in r["runs"].items()}}
