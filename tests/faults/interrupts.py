"""Ctrl-C at every line of a sweep and of a trial, and at any moment of one: is everything as it was?"""

import ast
import contextlib
import gc
import os
import pickle
import random
import signal
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lessonkit import Learner
from lessonkit.train import find, learner, loop, restore, rng, update

from .found import Found

TRACED = [module.__file__ for module in (find, learner, loop, restore, rng, update, contextlib)]


class Stage:
    "A network with batch norm and dropout, its optimizer, used before, and loaders with generators."

    def __init__(self):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
        self.opt = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        x = torch.randn(16, 6)
        data = TensorDataset(x, torch.arange(16) % 3)
        self.loaders = [
            DataLoader(data, 8, shuffle=True, generator=torch.Generator().manual_seed(k)) for k in (1, 2)
        ]
        F.cross_entropy(self.model(x), torch.arange(16) % 3).backward()
        self.opt.step()
        more = {"weights": None, "n_groups": 1, "opt": "sgd", "device": "cpu", "precision": "fp32"}
        self.learner = Learner(tuple(self.loaders), self.model, **more)

    def state(self) -> bytes:
        "All that must not change, as bytes."
        opt = self.opt.state_dict()
        momenta = [s["momentum_buffer"].numpy() for s in opt["state"].values()]
        return pickle.dumps(
            [
                [(k, v.numpy().tobytes()) for k, v in self.model.state_dict().items()],
                [(p.grad is not None and p.grad.numpy().tobytes()) for p in self.model.parameters()],
                [m.training for m in self.model.modules()],
                [m.tobytes() for m in momenta],
                repr(opt["param_groups"]),
                [dl.generator.get_state().numpy().tobytes() for dl in self.loaders],
                (random.getstate(), repr(np.random.get_state()), torch.get_rng_state().numpy().tobytes()),
                (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
                self.learner.random._state["torch"].numpy().tobytes(),
            ]
        )


def sweep(stage: Stage) -> bool:
    "A sweep; whether it says that it was interrupted."
    train_dl, valid_dl = stage.loaders
    more = {"n_steps": 12, "valid_dl": valid_dl, "lr_min": 1e-6, "lr_max": 1e-2}
    return find.lr_find(stage.model, train_dl, F.cross_entropy, stage.opt, **more).stopped == "interrupted"


def trial(stage: Stage) -> bool:
    list(loop.trial(stage.model, stage.loaders[0], stage.opt, 3))
    return False


def trial_given_up(stage: Stage) -> bool:
    with contextlib.closing(loop.trial(stage.model, stage.loaders[0], stage.opt, 9)) as losses:
        list(islice(losses, 2))
    return False


def learner_sweep(stage: Stage) -> bool:
    "A sweep of a `Learner`, which has random generators of its own."
    more = {"n_steps": 12, "lr_min": 1e-6, "lr_max": 1e-2, "progress": False}
    return stage.learner.find(**more).stopped == "interrupted"


CASES = {
    "a sweep": sweep,
    "a learner's sweep": learner_sweep,
    "a trial": trial,
    "a trial that is given up": trial_given_up,
}


def headers(file: str) -> dict[int, range]:
    "For each line at the head of a `with`, the lines of its block."
    heads = {}
    for node in ast.walk(ast.parse(Path(file).read_text())):
        if isinstance(node, ast.With):
            block = range(node.body[0].lineno, node.end_lineno + 1)
            heads |= dict.fromkeys(range(node.lineno, block.start), block)
    return heads


class Tracer:
    """Counts the lines that are come to in TRACED, and calls `act` at number `at`. Left out is the head of a
    `with` on the way out: Python shows it to a tracer there, but looks for no signal."""

    def __init__(self, at: int = -1, act=None):
        self.at, self.act, self.seen, self.last = at, act, [], {}
        self.heads = {file: headers(file) for file in TRACED}

    def __call__(self, frame, event, arg):
        return self.line if frame.f_code.co_filename in TRACED else None

    def line(self, frame, event, arg):
        if event == "line":
            file, line = frame.f_code.co_filename, frame.f_lineno
            block = self.heads[file].get(line, ())
            was = self.last.setdefault(frame, set())
            if was.isdisjoint(block):
                self.seen.append((file, line))
                if len(self.seen) - 1 == self.at:
                    self.act()
            was.add(line)
        return self.line


@contextlib.contextmanager
def traced(tracer: Tracer):
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield tracer
    finally:
        sys.settrace(before)
        tracer.last.clear()


def what_broke(run, before: bytes, stage: Stage, around) -> str:
    "Run it in the context of `around`, with an interrupt somewhere; what is wrong afterwards, if anything."
    handler, told = signal.getsignal(signal.SIGINT), False
    try:
        with around:
            told = run(stage)
    except KeyboardInterrupt:
        told = True
    gc.collect(0)
    now = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, handler)
    if now is not handler:
        return f"SIGINT is left with {now}"
    if stage.state() != before:
        return "something is not as before"
    return "" if told else "the interrupt was swallowed"


def at_lines(name: str, short: bool) -> tuple[int, list[str]]:
    "An interrupt at every line that `name` comes to, each time; short: the first time, every sixth."
    stage = Stage()
    with traced(Tracer()) as record:
        CASES[name](stage)
    numbers = range(len(record.seen))
    if short:
        numbers = list({record.seen[k]: k for k in reversed(numbers)}.values())[::6]
    broke, ctrl_c = [], lambda: signal.raise_signal(signal.SIGINT)
    for k in numbers:
        stage = Stage()
        wrong = what_broke(CASES[name], stage.state(), stage, traced(Tracer(k, ctrl_c)))
        if wrong:
            file, line = record.seen[k]
            broke.append(f"{name}, interrupted at {Path(file).name}:{line}: {wrong}")
    return len(numbers), broke


@contextlib.contextmanager
def pressed_after(seconds: float):
    "Another thread sends this process a SIGINT after so long, or waits to be told that it is too late."
    over = threading.Event()
    send = lambda: over.wait(seconds) or os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def at_moments(name: str, n: int) -> tuple[int, list[str]]:
    "An interrupt as the system sends them, at `n` moments of a run."
    run, stage, broke, hit = CASES[name], Stage(), [], 0
    began = time.perf_counter()
    run(stage)
    span, rng = 1.2 * (time.perf_counter() - began), random.Random(0)
    for _ in range(n):
        after, stage = rng.uniform(0, span), Stage()
        try:
            wrong = what_broke(run, stage.state(), stage, pressed_after(after))
        except KeyboardInterrupt:  # it came in what is around the run
            continue
        if wrong != "the interrupt was swallowed":  # it came too late
            hit += 1
            broke += [f"{name}, interrupted after {after:.4f} s: {wrong}"] * bool(wrong)
    return hit, broke


def attack(folder: Path, short: bool) -> Found:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    found = Found(
        "Ctrl-C at every line",
        "A sweep of the learning rate and a trial are interrupted at every line of theirs, and by real "
        "signals at random moments. Afterwards weights, gradients, flags, optimizer, loaders, random "
        "generators and the handler of SIGINT have to be as before, to the bit.",
        columns=["what was interrupted", "lines", "moments", "broke"],
    )
    try:
        for name in CASES:
            lines, broke = at_lines(name, short)
            moments, more = (0, []) if short else at_moments(name, 800)
            found.tried += lines + moments
            found.broke += broke + more
            found.rows.append([name, f"{lines:,}", f"{moments:,}", len(broke + more)])
    finally:
        signal.signal(signal.SIGINT, handler)
    return found
