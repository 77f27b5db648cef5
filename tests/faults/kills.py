"""Kill a training, the five steps and the building of a cache anywhere; go on; compare every bit."""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

from lessonkit import ImageData, Learner, five_steps, sgdr
from lessonkit.train.run import Run

from .found import Found

WORDS = """A process is killed (SIGKILL) at a file operation, at a training pass or at any moment, some runs
twice, and begun again with `resume`. It has broken if it does not come to its end, or ends with other
weights, losses or metrics than a run that nobody killed; for a cache, with other pixels. Checkpoints are
written after every update here, so that most kills hit one."""

WHERE = ("a file operation", "a training pass", "any moment")
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.truncate")


def make_pictures(folder: Path, n: int = 20) -> None:
    "Two classes of noisy colours."
    noise = np.random.default_rng(0)
    for name, color in (("red", (150, 30, 30)), ("blue", (30, 30, 150))):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            pixels = np.add(color, noise.integers(0, 80, (36, 48, 3)))
            Image.fromarray(np.uint8(pixels)).save(folder / name / f"{k}.png")


def digest(*values) -> str:
    "One word for tensors and plain values."
    found = hashlib.sha256()
    for value in values:
        found.update(
            value.numpy().tobytes() if isinstance(value, torch.Tensor) else json.dumps(value).encode()
        )
    return found.hexdigest()[:16]


def outcome(learn) -> str:
    "One word for what a run ended with."
    epochs = [{**e, "seconds": 0} for e in learn.history.epochs]
    return digest(*learn.model.state_dict().values(), learn.history.losses, epochs)


def a_fit(pictures: Path, work: Path, loss) -> str:
    learn = Learner(ImageData(pictures, 24, bs=8, progress=False), "resnet10", weights=None, loss_fn=loss)
    learn.fit(
        sgdr(2, 1, "auto"), 0.01, progress=False, checkpoint=work / "run", checkpoint_every=0, resume=True
    )
    return outcome(learn)


def the_five_steps(pictures: Path, work: Path, loss) -> str:
    always = lambda run, *args, init=Run.__init__: init(run, *args[:-1], 0)
    Run.__init__ = always  # a checkpoint after every update
    data = ImageData(pictures, 24, bs=8, progress=False)
    how = {"sizes": [24, 32], "head_epochs": 1, "epochs": 3, "cycle_len": 1, "loss_fn": loss}
    quiet = {"say": lambda line: None, "progress": False, "device": "cpu"}
    five = five_steps(data, "resnet10", None, **how, **quiet, checkpoint=work / "steps", resume=True)
    return digest(outcome(five.learner), five.lrs, [step.text for step in five.steps])


def a_cache(pictures: Path, work: Path, loss) -> str:
    data = ImageData(pictures, 24, bs=8, progress=False)
    return digest(*(x for size in (24, 32) for x in batches(data, size)))


def batches(data: ImageData, size: int) -> list:
    "All batches of a size; a training pass for each counts as one."
    data.size = size
    return [t.contiguous() for pair in (*data.train_dl(), *data.valid_dl()) for t in pair]


JOBS = {"a fit": a_fit, "the five steps": the_five_steps, "a cache": a_cache}


def die(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_file(n: int, folder: Path) -> None:
    "Be killed at the n-th operation on a file of a folder."
    left = count(n, -1)

    def hook(event: str, args) -> None:
        if event in EVENTS and str(args[0]).startswith(str(folder)) and next(left) == 0:
            die()

    sys.addaudithook(hook)


def child(job: str, folder: Path, where: str, n: int) -> None:
    "Do a job in this process, in which it is killed at some place (n < 0: nowhere), and write its outcome."
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # the default is a semaphore of the system's, which a kill would leave
    os.environ["LESSONKIT_CACHE"] = str(folder / "cache")
    passes = count(n, -1)

    def loss(logits, yb):
        if where == "a training pass" and logits.requires_grad and next(passes) == 0:
            die()
        return F.cross_entropy(logits, yb)

    if where == "a file operation" and n >= 0:
        die_at_file(n, folder)
    elif where == "any moment" and n >= 0:
        signal.signal(signal.SIGALRM, die)
        signal.setitimer(signal.ITIMER_REAL, n / 1000)
    said = JOBS[job](folder / "pictures", folder / "work", loss)
    signal.setitimer(signal.ITIMER_REAL, 0)
    (folder / "outcome").write_text(said)


def run(context, job: str, folder: Path, where: str = "", n: int = -1) -> str:
    "The outcome of a job in a process of its own; empty if it was killed."
    with suppress(FileNotFoundError):
        (folder / "outcome").unlink()
    process = context.Process(target=child, args=(job, folder, where, n))
    process.start()
    process.join(120)
    process.kill()
    if process.exitcode not in (0, -signal.SIGKILL):
        return f"exit code {process.exitcode}"
    return (folder / "outcome").read_text() if (folder / "outcome").exists() else ""


def most(job: str, where: str) -> int:
    "How far a kill may lie: file operations, training passes, milliseconds."
    longer = job == "the five steps"
    return {"a file operation": 700 if longer else 300, "a training pass": 90 if longer else 14}.get(
        where, 6000 if longer else 1500
    )


def trial(context, job: str, folder: Path, whole: str, dice: random.Random, times: int) -> tuple[int, str]:
    "How often a job was killed, at most `times`, before it came to its end; and what broke."
    folder.mkdir()
    os.symlink(folder.parent / "pictures", folder / "pictures")
    kills = 0
    for _ in range(times):
        where = dice.choice(WHERE if job != "a cache" else WHERE[::2])
        place = where, dice.randrange(most(job, where))
        said = run(context, job, folder, *place)
        kills += not said
        if said:
            break
    said = said or run(context, job, folder)
    shutil.rmtree(folder)  # some hundred MB of checkpoints each
    return kills, "" if said == whole else f"{job}, last killed at {place}: {said or 'no end'} for {whole}"


def attack(folder: Path, short: bool) -> Found:
    make_pictures(folder / "pictures")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "lessonkit", "PIL.Image", "timm"])
    found = Found("Kills", WORDS, columns=["what", "kills", "the same bits afterwards"])
    wanted = {"a fit": 3, "the five steps": 1, "a cache": 3} if short else dict(zip(JOBS, (90, 50, 60)))
    for job, kills in wanted.items():
        dice, done, good = random.Random(job), 0, 0
        first = folder / f"{job}, whole"
        first.mkdir()
        os.symlink(folder / "pictures", first / "pictures")
        whole = run(context, job, first)
        for k in count():
            killed, broke = trial(context, job, folder / f"{job} {k}", whole, dice, 1 + k % 2)
            done, good = done + killed, good + (not broke) * killed
            found.broke += [broke] if broke else []
            if done >= kills:
                break
        found.rows.append([job, done, good])
        found.tried += done
    return found
