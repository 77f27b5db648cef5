"""Training on a GPU: pictures a second from a folder of JPEGs, against a bare loop that has its batches on
the device."""

import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lessonkit import ImageData, Learner, sgdr

from .common import Row, Skip, compare, merged, peer, result, terminal
from .data import some_photos
from .peers import fastai_dls

LR, TARGET = 1e-4, "<= 1.111"  # at least 0.9 of the bare loop's pictures a second


def draw_photos(folder: Path, n: int) -> Path:
    "Two classes of `n` JPEGs, 500x375, smooth like photos; a quarter as many to validate on."
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", n), ("valid", max(2, n // 4))):
        for label in ("a", "b"):
            (folder / split / label).mkdir(parents=True)
            for k in range(count):
                noise = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
                noise.resize((500, 375), Image.Resampling.BICUBIC).save(
                    folder / split / label / f"{k:05}.jpg", quality=90
                )
    return folder


class Busy:
    "How busy the GPU is, in percent, asked for ten times a second; None where nobody can say."

    def __enter__(self):
        self.seen, self.over = [], threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.over.wait(0.1):
            try:
                self.seen.append(torch.cuda.utilization())
            except (
                RuntimeError,
                ImportError,
                AttributeError,
                AssertionError,
            ):  # no driver, or no nvidia-ml-py
                return

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.percent = float(np.mean(self.seen)) if self.seen else None


def wait(device: torch.device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def bare(device, size: int, bs: int, steps: int):
    "bf16, channels_last, fused AdamW, two batches that lie on the device."
    from torchvision.models import resnet34

    model = resnet34(num_classes=2).to(device, memory_format=torch.channels_last)
    opt = torch.optim.AdamW(model.parameters(), LR, fused=True)
    made = [
        (
            torch.randn(bs, 3, size, size, device=device).contiguous(memory_format=torch.channels_last),
            torch.randint(0, 2, (bs,), device=device),
        )
        for _ in range(2)
    ]

    def go():
        model.train()
        for k in range(steps):
            xb, yb = made[k % 2]
            with torch.autocast(device.type, torch.bfloat16):
                loss = F.cross_entropy(model(xb).float(), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        wait(device)

    return go


class NoValidation:
    "One batch to evaluate, so that an epoch is an epoch of training."

    def __init__(self, dl):
        self.batches, self.mean, self.std = [next(iter(dl))], dl.mean, dl.std

    def __len__(self):
        return 1

    def __iter__(self):
        return iter(self.batches)


def ours(device, folder, size: int, bs: int):
    "An epoch from the cache, all layers trained; the epoch before it, which fills the cache, is not timed."
    data = ImageData(folder, size=size, augment="side_on", bs=bs, progress=False)
    learn = Learner(data, "resnet34", weights=None, device=device, precision="bf16")
    learn.valid_dl = NoValidation(learn.valid_dl)
    learn.fit(sgdr(1), LR)

    def go():
        learn.fit(sgdr(1), LR)
        wait(device)

    return go


def fastai(device, folder, size: int, bs: int):
    peer("fastai.vision.all")
    import fastai.callback.progress
    import fastai.callback.schedule  # noqa: F401
    from fastai.callback.fp16 import AMPMode
    from fastai.vision.all import MixedPrecision, resnet34, vision_learner

    if device.type != "cuda":
        raise Skip("fastai's mixed precision needs a GPU")
    dls = fastai_dls(folder, size, bs, 8)
    dls.device = device
    learn = vision_learner(dls, resnet34, pretrained=False, cbs=MixedPrecision(AMPMode.BF16))

    def go():
        learn.fit_one_cycle(1, LR)
        wait(device)

    return go


def load(device, go, case: str) -> Row:
    "One more epoch of ours, to see how busy the device is and what memory it takes."
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    with Busy() as busy:
        go()
    seconds = time.perf_counter() - began
    memory = (
        f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of GPU memory at most"
        if device.type == "cuda"
        else "ON A CPU: this shows that it runs, no more"
    )
    idle = "idle share unknown" if busy.percent is None else f"idle {100 - busy.percent:.0f}% of the time"
    return Row(case, "lessonkit, one epoch", "s", seconds, note=f"{memory}, {idle}")


def run(options) -> dict:
    "Seconds a picture, resnet34 at 128 and 224 px in bf16."
    device = torch.device(options.device or "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Skip("no GPU that torch can use; --device cpu runs the same code on the processor")
    n, bs, results = (16, 8, []) if options.quick else (2000, 64, [])
    with tempfile.TemporaryDirectory() as temporary, terminal():
        photos = Path(options.photos) / "data" / "cats_dogs"
        folder = Path(temporary) / "photos"
        folder = some_photos(photos, folder, n) if photos.exists() else draw_photos(folder, n)
        n = sum(1 for _ in (folder / "train").glob("*/*"))
        for size in (32,) if options.quick else (128, 224):
            where = torch.cuda.get_device_name() if device.type == "cuda" else "a CPU"
            case = f"resnet34 {size} px, bf16, on {where}"
            who = {
                "bare": partial(bare, device, size, bs, -(-n // bs)),
                "lessonkit": partial(ours, device, folder, size, bs),
                "fastai": partial(fastai, device, folder, size, bs),
            }
            rounds = options.rounds or (1 if options.quick else 5)
            results += [
                compare(case, who, rounds, "bare", "a picture", n, {"lessonkit": TARGET}),
                result([load(device, ours(device, folder, size, bs), case)]),
            ]
    return merged(results)
