"""An epoch of head training on a frozen body, and which precision and memory format suit a CPU."""
import os
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from lessonkit import ImageData, Learner, sgdr

from .common import compare, merged, photos, terminal, threads
from .data import BS, FreshCache, some_photos, with_best_targets
from .peers import fastai_dls, fastai_learner

ARCH, SIZE, LR = "mobilenet_v2", 128, 1e-3
TARGET = {"fastai": ">= 4"}


def ours(folder, weights, first: bool):
    "first: from the folder on, the cache empty."
    def fit():
        data = ImageData(folder, size=SIZE, augment="side_on", bs=BS, progress=False)
        learn = Learner(data, ARCH, weights=weights, device="cpu")
        learn.fit(sgdr(1), LR)
        return learn
    if first:
        def go():
            with FreshCache():
                fit()
        return go
    learn = fit()
    return lambda: learn.fit(sgdr(1), LR)


def fastai(folder, weights, first: bool, workers: int):
    def fit():
        learn = fastai_learner(fastai_dls(folder, SIZE, BS, workers), ARCH, weights)
        learn.fit_one_cycle(1, LR)
        return learn
    if first:
        return fit
    learn = fit()
    return lambda: learn.fit_one_cycle(1, LR)


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
    results = []
    with threads(options.threads or min(2, os.cpu_count() or 1)), tempfile.TemporaryDirectory() as temporary, terminal():
        if options.quick:
            folder = some_photos(folder, Path(temporary) / "photos", 20)
        n = sum(1 for _ in (folder / "train").glob("*/*"))
        for when in ("first epoch", "later epochs"):
            case = f"{ARCH} {SIZE} px, {when}"
            if options.case not in case:
                continue
            who = {"lessonkit": partial(ours, folder, weights, when == "first epoch")}
            who |= {f"fastai, {w} workers": partial(fastai, folder, weights, when == "first epoch", w) for w in (0, 2)}
            found = compare(case, who, options.rounds or (1 if options.quick else 3), "lessonkit", "a picture", n, warmup=0)
            results.append(with_best_targets(found, TARGET))
        results += formats(options)
    return merged(results)
