"""An epoch of head training on a frozen body, and which precision and memory format suit a CPU."""
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from lessonkit import ImageData, Learner, sgdr

from .common import Skip, alone, compare, merged, peer, photos, result, rows, threads
from .data import BS, FreshCache, some_photos, with_best_targets
from .peers import fastai_dls, fastai_learner

ARCH, SIZE, LR = "mobilenet_v2", 128, 1e-3
TARGET = {"fastai": ">= 4"}


def ours(folder, weights, later: int) -> list[float]:
    "Seconds of the first epoch, from the folder on with an empty cache, and of `later` more."
    seconds, began = [], time.perf_counter()
    with FreshCache():
        learn = Learner(ImageData(folder, size=SIZE, augment="side_on", bs=BS, progress=False), ARCH, weights=weights, device="cpu")
        for _ in range(1 + later):
            learn.fit(sgdr(1), LR)
            seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
    return seconds


def fastai(folder, weights, later: int, workers: int) -> list[float]:
    "The same of a frozen `vision_learner`."
    peer("fastai.vision.all")                                      # not on the clock
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
        for name in names[k % len(names):] + names[:k % len(names)]:
            try:
                one, *more = alone(n_threads, who[name][0], folder, weights, later, **who[name][1])
            except Skip as e:
                skipped[name] = str(e)
                del first[name], others[name]
                continue
            first[name].append(one), others[name].append(statistics.median(more))
    n = sum(1 for _ in (folder / "train").glob("*/*"))
    return [with_best_targets(result(rows(f"{ARCH} {SIZE} px, {when}", times, "lessonkit", "a picture", n), skipped), TARGET)
            for when, times in (("first epoch", first), ("later epochs", others))]


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
            ways = {f"{dtype}{', channels_last' if layout == torch.channels_last else ''}":
                    partial(network, arch, dtype, layout, frozen, bs)
                    for dtype in ("fp32", "bf16") for layout in (torch.contiguous_format, torch.channels_last)}
            if options.case in case:
                results.append(compare(case, ways, options.rounds or (1 if options.quick else 7), "fp32", "a picture", bs))
    return results


def run(options) -> dict:
    "Seconds a training picture of an epoch with its evaluation, two threads or two workers; then the formats."
    folder, weights = photos(options, "data", "cats_dogs"), photos(options, "weights", f"{ARCH}.pth")
    n_threads, results = options.threads or min(2, os.cpu_count() or 1), []
    with threads(n_threads), tempfile.TemporaryDirectory() as temporary:
        if options.quick:
            folder = some_photos(folder, Path(temporary) / "photos", 20)
        if options.case in f"{ARCH} {SIZE} px, first epoch, later epochs":
            results += epochs(folder, weights, n_threads, options.rounds or (1 if options.quick else 3), 1 if options.quick else 2)
        results += formats(options)
    return merged(results)
