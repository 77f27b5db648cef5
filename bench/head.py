"""An epoch of head training on a frozen body, and which precision and memory format suit a CPU."""

import os
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from lessonkit import ImageData, Learner, sgdr
from lessonkit.device import autocast, to_device
from lessonkit.train.loop import EpochDone

from .common import Row, Skip, alone, compare, merged, met, peer, photos, result, rows, threads
from .data import BS, FreshCache, some_photos, with_best_targets
from .peers import fastai_dls, fastai_learner

ARCH, SIZE, LR = "mobilenet_v2", 128, 1e-3
TARGET, LIMIT = {"fastai": ">= 4"}, "<= 5"


def ours(folder, weights, later: int) -> list[float]:
    "Seconds of the first epoch, from the folder on with an empty cache, and of `later` more."
    seconds, began = [], time.perf_counter()
    with FreshCache():
        learn = Learner(
            ImageData(folder, size=SIZE, augment="side_on", bs=BS, progress=False),
            ARCH,
            weights=weights,
            device="cpu",
        )
        for _ in range(1 + later):
            learn.fit(sgdr(1), LR)
            seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
    return seconds


def fastai(folder, weights, later: int, workers: int) -> list[float]:
    "The same of a frozen `vision_learner`."
    peer("fastai.vision.all")  # not on the clock
    seconds, began = [], time.perf_counter()
    learn = fastai_learner(fastai_dls(folder, SIZE, BS, workers), ARCH, weights)
    for _ in range(1 + later):
        learn.fit_one_cycle(1, LR)
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return seconds


def epochs(folder, weights, n_threads: int, rounds: int, later: int) -> list[dict]:
    "First and later epochs of everyone, each time in a process of its own."
    who = {"lessonkit": (ours, {})} | {f"fastai, {w} workers": (fastai, {"workers": w}) for w in (0, 2)}
    first, others, skipped = {name: [] for name in who}, {name: [] for name in who}, {}
    for k in range(rounds):
        names = list(first)
        for name in names[k % len(names) :] + names[: k % len(names)]:
            try:
                one, *more = alone(n_threads, who[name][0], folder, weights, later, **who[name][1])
            except Skip as e:
                skipped[name] = str(e)
                del first[name], others[name]
                continue
            first[name].append(one), others[name].append(statistics.median(more))
    n = sum(1 for _ in (folder / "train").glob("*/*"))
    return [
        with_best_targets(
            result(rows(f"{ARCH} {SIZE} px, {when}", times, "lessonkit", "a picture", n), skipped), TARGET
        )
        for when, times in (("first epoch", first), ("later epochs", others))
    ]


def one_pass(folder) -> float:
    """Seconds of one pass of the training pictures through the frozen body, the batches made before: the
    least of three."""
    learn = Learner(ImageData(folder, size=SIZE, augment="none", bs=BS, progress=False), device="cpu")
    batches, seconds = [xb.clone() for xb, _ in learn.train_dl], []
    for _ in range(3):
        began = time.perf_counter()
        with autocast("cpu", learn.train_precision):
            for xb in batches:
                learn.model.features(to_device(xb, "cpu"))
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def probe(folder) -> tuple[float, float]:
    """Accuracy of scikit-learn's logistic regression on what the frozen body makes of the pictures, and its
    standard error."""
    peer("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learn = Learner(ImageData(folder, size=SIZE, augment="none", bs=BS, progress=False), device="cpu")
    learn.model.eval()
    with torch.inference_mode():
        (x, y), (x_valid, y_valid) = (
            [torch.cat(parts).numpy() for parts in zip(*((learn.model.features(xb), yb) for xb, yb in dl))]
            for dl in (learn.train_dl, learn.valid_dl)
        )
    score = (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        .fit(x, y)
        .score(x_valid, y_valid)
    )
    return score, (score * (1 - score) / len(y_valid)) ** 0.5


def to_level(folder, level: float, augment: str) -> tuple[float | None, float]:
    """From the folder on, with an empty cache: the finder, then the head in cycles of an epoch. (Seconds
    until the accuracy is `level`, None for never; the best accuracy of six epochs.)"""
    began, reached, best = time.perf_counter(), None, 0.0
    with FreshCache():
        learn = Learner(ImageData(folder, size=SIZE, augment=augment, bs=BS, progress=False), device="cpu")
        found = learn.find(lr_min=1e-5, n_steps=60, progress=False)
        for event in learn.run(sgdr(6), found.lr):
            if isinstance(event, EpochDone):
                best = max(best, event.metrics["accuracy"])
                if reached is None and best >= level:
                    reached = time.perf_counter() - began
    return reached, best


def limit(folder, n_threads: int) -> dict:
    """The head phase from the folder to a linear probe's accuracy, less its standard error, in passes of the
    training pictures through the body."""
    case, unit = f"efficientnet_lite0 {SIZE} px, folder to linear probe", alone(n_threads, one_pass, folder)
    score, error = alone(n_threads, probe, folder)
    note = f"the probe has {score:.4f}"
    found, skipped = [Row(case, "one pass", "s", unit, 1.0, 1.0, 1.0, "one pass", note=note)], {}
    for augment in ("none", "side_on"):
        name = f"lessonkit, augment {augment}"
        seconds, best = alone(n_threads, to_level, folder, score - error, augment)
        if seconds is None:
            skipped[name] = f"best of six epochs {best:.4f}, the probe has {score:.4f}"
            continue
        ratios, note = [seconds / unit] * 3, f"to {score - error:.4f}; best of six epochs {best:.4f}"
        row = Row(case, name, "s", seconds, *ratios, "one pass", note=note)
        found.append(replace(row, target=LIMIT, met=met(row.ratio, LIMIT)))
    return result(found, skipped)


def network(arch: str, dtype: str, layout: torch.memory_format, frozen: bool, bs: int):
    "A pass over one batch of noise: forward only where frozen, else a whole step."
    from torchvision import models

    torch.manual_seed(0)
    model = models.get_model(arch).to(memory_format=layout)
    xb, yb = torch.randn(bs, 3, SIZE, SIZE).to(memory_format=layout), torch.randint(0, 1000, (bs,))
    opt = torch.optim.SGD(model.parameters(), 1e-3, fused=True)
    model.train(not frozen)

    def go():
        with torch.set_grad_enabled(not frozen):
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
                loss = F.cross_entropy(model(xb).float(), yb)
            if not frozen:
                opt.zero_grad()
                loss.backward()
                opt.step()

    return go


def formats(options) -> list[dict]:
    "fp32 and bf16, contiguous and channels_last, for inference and for training."
    results, bs = [], 2 if options.quick else BS
    for arch in ("resnet34", "mobilenet_v2"):
        for frozen, what in ((True, "frozen inference"), (False, "training step")):
            case = f"{arch} {SIZE} px, {what}"
            ways = {
                f"{dtype}{', channels_last' if layout == torch.channels_last else ''}": partial(
                    network, arch, dtype, layout, frozen, bs
                )
                for dtype in ("fp32", "bf16")
                for layout in (torch.contiguous_format, torch.channels_last)
            }
            if options.case in case:
                results.append(
                    compare(
                        case, ways, options.rounds or (1 if options.quick else 7), "fp32", "a picture", bs
                    )
                )
    return results


def run(options) -> dict:
    """Seconds a training picture of an epoch with its evaluation, two threads or two workers; then the
    formats."""
    folder, weights = photos(options, "data", "cats_dogs"), photos(options, "weights", f"{ARCH}.pth")
    n_threads, results = options.threads or min(2, os.cpu_count() or 1), []
    with threads(n_threads), tempfile.TemporaryDirectory() as temporary:
        if options.quick:
            folder = some_photos(folder, Path(temporary) / "photos", 20)
        if options.case in f"{ARCH} {SIZE} px, first epoch, later epochs":
            results += epochs(
                folder,
                weights,
                n_threads,
                options.rounds or (1 if options.quick else 3),
                1 if options.quick else 2,
            )
        if options.case in f"efficientnet_lite0 {SIZE} px, folder to linear probe":
            results.append(limit(folder, n_threads))
        results += formats(options)
    return merged(results)
