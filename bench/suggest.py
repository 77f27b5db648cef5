"""How good is the lr that a finder suggests? Ours and the peers' rules against a grid of learning rates.

Small tasks (pictures x network x optimizer x frozen or not) are trained briefly at each half decade of lr and
at the lr that each rule suggests, from three seeds. Regret: the best mean accuracy over the grid minus the
mean accuracy at the suggestions, in points. It may be negative: a suggestion can lie between two points of
the grid. A training whose loss is not finite counts as a guess; where a rule has no answer its library's
usual lr, 1e-3, is trained. The peers run through their own packages with their own defaults, on the same
networks, optimizers and batches.
"""

import argparse
import contextlib
import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from lessonkit import ImageData, build_model, layer_groups, lr_find, sgdr, unfreeze
from lessonkit.nets.bodies import DEFAULT_ARCH
from lessonkit.nets.classifier import ConcatPool, new_head
from lessonkit.nets.groups import train_mode
from lessonkit.samples.write import write_samples
from lessonkit.train.optim import make_opt
from lessonkit.train.rules import RULES

from .common import threads

SEEDS = (0, 1, 2)
GRID = tuple(float(f"{10 ** (k / 2):.3g}") for k in range(-10, 3))  # half decades, 1e-5 to 10
NO_ANSWER = 1e-3  # the usual lr of all four libraries
LIMIT = 1.0  # points of mean regret that our rule may have


@dataclass(frozen=True)
class Task:
    """What is trained: `data(photos folder)` gives Tensors, `net(data)` a module; cycles: number and epochs
    of each."""

    name: str
    data: Callable
    net: Callable
    opt: str
    cycles: tuple[int, int] = (2, 3)
    bs: int = 32


@dataclass(frozen=True)
class Tensors:
    "A data set in memory: inputs [n, ...] float32 and labels [n] int64, for training and validation."

    x: torch.Tensor
    y: torch.Tensor
    x_valid: torch.Tensor
    y_valid: torch.Tensor

    @property
    def n_classes(self) -> int:
        return int(self.y.max()) + 1


# -------------------------------------------------------------------------------------------- pictures


@cache
def digits(photos: Path) -> Tensors:
    "scikit-learn's 1,797 digits, [n, 1, 8, 8]: half to train on, half for validation."
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x = torch.tensor(found.images[order], dtype=torch.float32)[:, None] / 8 - 1
    y = torch.tensor(found.target[order])
    return Tensors(x[:900], y[:900], x[900:], y[900:])


def tensors(path, size: int) -> Tensors:
    """Every picture of a folder as it is seen without augmentation, [n, 3, size, size]; two of five for
    validation where the folder has no part for it."""
    data = ImageData(path, size=size, augment="none", valid=0.4, progress=False)
    parts = []
    for dl in (data.train_dl(), data.valid_dl()):
        xs, ys = zip(*((xb.clone(), yb.clone()) for xb, yb in dl))
        parts += [torch.cat(xs), torch.cat(ys)]
    return Tensors(*parts)


@cache
def drawn(photos: Path, domain: str = "side_on", size: int = 32) -> Tensors:
    "The built-in pictures: 960 to train on, 480 for validation."
    with tempfile.TemporaryDirectory() as folder:
        return tensors(write_samples(Path(folder) / domain, domain, n_train=960, n_valid=480, size=64), size)


@cache
def pictures(photos: Path, name: str, size: int) -> Tensors:
    "One of the folders of photos."
    return tensors(photos / "data" / name, size)


@cache
def few(photos: Path, domain: str = "side_on", size: int = 64) -> Tensors:
    "32 built-in pictures of each class to train on, 240 for validation."
    with tempfile.TemporaryDirectory() as folder:
        return tensors(write_samples(Path(folder) / domain, domain, n_train=192, n_valid=240, size=96), size)


@cache
def features(photos: Path, name: str, arch: str, size: int = 96) -> Tensors:
    """What a frozen pretrained body makes of photos (of the built-in pictures for the name of a domain),
    pooled: [n, features]."""
    data = few(photos, name) if name in ("side_on", "top_down") else pictures(photos, name, size)
    weights = "DEFAULT" if arch == DEFAULT_ARCH else photos / "weights" / f"{arch}.pth"
    body = build_model(arch, 2, weights, seed=0).body.eval()
    with torch.inference_mode():
        seen = [torch.cat([ConcatPool()(body(xb)) for xb in x.split(50)]) for x in (data.x, data.x_valid)]
    return Tensors(seen[0].clone(), data.y, seen[1].clone(), data.y_valid)


# -------------------------------------------------------------------------------------------- networks


def head(data: Tensors) -> nn.Module:
    "The head that lessonkit puts on a frozen body."
    return new_head(data.x.shape[1], data.n_classes, pool=False)


def linear(data: Tensors) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(data.x[0].numel(), data.n_classes))


def mlp(data: Tensors) -> nn.Module:
    n = data.x[0].numel()
    return nn.Sequential(
        nn.Flatten(), nn.Linear(n, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, data.n_classes)
    )


def conv(n_in: int, n_out: int, norm: bool, stride: int) -> list[nn.Module]:
    layers = [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=not norm)]
    return layers + [nn.BatchNorm2d(n_out)] * norm + [nn.ReLU()]


def cnn(data: Tensors, norm: bool) -> nn.Module:
    "Three convolutions (four above 8 px) and one linear layer."
    strides = (1, 2, 2) if data.x.shape[-1] <= 8 else (2, 1, 2, 2)
    widths = (data.x.shape[1], 16, 32, 32, 64)
    layers = [m for a, b, stride in zip(widths, widths[1:], strides) for m in conv(a, b, norm, stride)]
    features = nn.Sequential(*layers, nn.Flatten())
    return nn.Sequential(features, nn.Linear(features(data.x[:2]).shape[1], data.n_classes))


class Residual(nn.Module):
    "Two convolutions with batch norm beside the identity."

    def __init__(self, n: int):
        super().__init__()
        self.inside = nn.Sequential(
            *conv(n, n, True, 1), nn.Conv2d(n, n, 3, 1, 1, bias=False), nn.BatchNorm2d(n)
        )

    def forward(self, x):
        return (x + self.inside(x)).relu()


def resnet(data: Tensors) -> nn.Module:
    "Two residual blocks, pooled."
    return nn.Sequential(
        *conv(data.x.shape[1], 16, True, 1),
        Residual(16),
        *conv(16, 32, True, 2),
        Residual(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, data.n_classes),
    )


def squeezenet(data: Tensors, photos: Path) -> nn.Module:
    "A pretrained network, all of it to be trained."
    return build_model("squeezenet1_1", data.n_classes, photos / "weights" / "squeezenet1_1.pth")


def lite0(data: Tensors) -> nn.Module:
    "The default network, all of it to be trained but the batch norm of its body, as `Learner` does it."
    model = build_model(DEFAULT_ARCH, data.n_classes)
    unfreeze(layer_groups(model), norms=False)
    return model


def small_tasks() -> list[Task]:
    "On digits and drawn pictures, which need no folder."
    plain, normed = (partial(cnn, norm=norm) for norm in (False, True))
    above, frozen = (partial(drawn, domain="top_down"), partial(features, name="side_on", arch=DEFAULT_ARCH))
    return [
        Task("digits, linear", digits, linear, "sgd"),
        Task("digits, MLP", digits, mlp, "sgd"),
        Task("digits, MLP", digits, mlp, "adamw"),
        Task("digits, plain CNN", digits, plain, "sgd"),
        Task("digits, plain CNN", digits, plain, "adam"),
        Task("digits, CNN with batch norm", digits, normed, "sgd"),
        Task("digits, resnet", digits, resnet, "adamw", (1, 4)),
        Task("drawn from the side, plain CNN", drawn, plain, "adamw", (2, 4)),
        Task("drawn from the side, CNN with batch norm", drawn, normed, "adamw", (2, 4)),
        Task("drawn from above, CNN with batch norm", above, normed, "adamw", (2, 4)),
        Task("drawn from above, CNN with batch norm", above, normed, "sgd", (2, 4)),
        Task("few from the side, frozen lite0", frozen, head, "adamw", bs=16),
        Task("few from the side, whole lite0", few, lite0, "adamw", (1, 3), 16),
    ]


def tasks(photos: Path) -> list[Task]:
    "Those that can be run: without the folder of photos, the ones on digits and drawn pictures."
    return small_tasks() + (photo_tasks(photos) if (photos / "data").is_dir() else [])


def photo_tasks(photos: Path) -> list[Task]:
    "Heads on frozen pretrained bodies, a small network from nothing, and whole pretrained networks."
    frozen = [
        Task(f"{name}, frozen {arch}", partial(features, name=name, arch=arch), head, opt)
        for name, arch, opt in (
            ("cats_dogs", "mobilenet_v2", "adamw"),
            ("cats_dogs", "squeezenet1_1", "sgd"),
            ("rsscn7", "mobilenet_v2", "sgd"),
            ("rsscn7", "squeezenet1_1", "adamw"),
            ("cats_dogs", DEFAULT_ARCH, "sgd"),
            ("rsscn7", DEFAULT_ARCH, "adamw"),
        )
    ]
    land, whole = partial(pictures, name="rsscn7"), partial(squeezenet, photos=photos)
    return [
        *frozen,
        Task("rsscn7, CNN with batch norm", partial(land, size=32), partial(cnn, norm=True), "sgd", (2, 4)),
        Task("rsscn7, whole squeezenet1_1", partial(land, size=48), whole, "adamw", (1, 3)),
        Task("rsscn7, whole squeezenet1_1", partial(land, size=48), whole, "sgd", (1, 3)),
    ]


# -------------------------------------------------------------------------------------------- training


def optimizer(model: nn.Module, name: str, lr: float):
    params = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.Adam(params, lr, fused=True) if name == "adam" else make_opt(params, lr, name)


def begin(task: Task, data: Tensors, seed: int, lr: float = 1e-7):
    "Model, optimizer and batches, the same for the same seed."
    torch.manual_seed(seed)
    model = train_mode(task.net(data))
    dataset, generator = TensorDataset(data.x, data.y), torch.Generator().manual_seed(seed)
    batches = BatchSampler(RandomSampler(dataset, generator=generator), task.bs, drop_last=True)
    torch.manual_seed(seed)
    return model, optimizer(model, task.opt, lr), DataLoader(dataset, batch_size=None, sampler=batches)


def accuracy(model: nn.Module, data: Tensors) -> float:
    model.eval()
    with torch.inference_mode():
        guessed = torch.cat([model(xb).argmax(1) for xb in data.x_valid.split(250)])
    return float((guessed == data.y_valid).float().mean())


def train(task: Task, data: Tensors, lr: float, seed: int) -> float:
    "Accuracy after cosine cycles from `lr` to zero."
    model, opt, train_dl = begin(task, data, seed, lr)
    schedule = sgdr(*task.cycles)
    scheduler = schedule.scheduler(opt, len(train_dl))
    for _ in range(round(schedule.n_epochs)):
        for xb, yb in train_dl:
            loss = F.cross_entropy(model(xb), yb)
            if not torch.isfinite(loss):
                return 1 / data.n_classes
            opt.zero_grad()
            loss.backward()
            opt.step()
            scheduler.step()
    return accuracy(model, data)


# ----------------------------------------------------------------------------------------------- rules


def ask_ours(task: Task, data: Tensors, seed: int) -> dict[str, float | None]:
    "Our rules, each with an lr or None."
    model, opt, train_dl = begin(task, data, seed)
    found = lr_find(model, train_dl, F.cross_entropy, opt)
    return {f"lessonkit {rule}": found.suggestions.get(rule) for rule in RULES}


def ask_fastai(task: Task, data: Tensors, seed: int) -> dict[str, float | None]:
    from fastai.callback.schedule import minimum, slide, steep, valley
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    model, _, train_dl = begin(task, data, seed)
    rules = (valley, slide, steep, minimum)
    with tempfile.TemporaryDirectory() as folder:
        learn = Learner(
            DataLoaders(train_dl, train_dl),
            model,
            loss_func=F.cross_entropy,
            path=Path(folder),
            opt_func=lambda params, lr: OptimWrapper(opt=optimizer(model, task.opt, lr)),
        )
        with learn.no_bar():
            found = learn.lr_find(suggest_funcs=rules, show_plot=False)
    return {f"fastai {rule.__name__}": float(getattr(found, rule.__name__)) for rule in rules}


def ask_torch_lr_finder(task: Task, data: Tensors, seed: int) -> dict[str, float | None]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from torch_lr_finder import LRFinder

    model, opt, train_dl = begin(task, data, seed, lr=1e-7)  # it begins at the optimizer's lr
    finder = LRFinder(model, opt, F.cross_entropy)
    finder.range_test(train_dl)
    return {"torch-lr-finder": float(finder.plot(ax=Figure().subplots(), suggest_lr=True)[1])}


def ask_lightning(task: Task, data: Tensors, seed: int) -> dict[str, float | None]:
    import lightning
    from lightning.pytorch.tuner import Tuner

    model, _, train_dl = begin(task, data, seed)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.lr = model, NO_ANSWER

        def training_step(self, batch, _):
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return optimizer(self.model, task.opt, self.lr)

    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        found = Tuner(trainer).lr_find(Module(), train_dl)
    return {"lightning": found.suggestion()}


NAMES = {
    ask_ours: [f"lessonkit {rule}" for rule in RULES],
    ask_fastai: ["fastai valley", "fastai slide", "fastai steep", "fastai minimum"],
    ask_torch_lr_finder: ["torch-lr-finder"],
    ask_lightning: ["lightning"],
}
NEEDS = {ask_fastai: "fastai", ask_torch_lr_finder: "torch_lr_finder", ask_lightning: "lightning"}


def missing() -> dict[Callable, str]:
    "The peers that are not installed, and why they are left out."
    return {
        ask: f"{name} is not installed (pip install -e '.[bench]')"
        for ask, name in NEEDS.items()
        if importlib.util.find_spec(name) is None
    }


def ask_all(task: Task, data: Tensors, seed: int) -> dict[str, float | None]:
    "What every rule suggests; None where it has no answer or its library fails on the curve."
    answers = {}
    for ask in NAMES.keys() - missing().keys():
        answers |= dict.fromkeys(NAMES[ask])
        with contextlib.suppress(ValueError, IndexError, RuntimeError), quiet():
            answers |= ask(task, data, seed)
    return answers


@contextlib.contextmanager
def quiet():
    "Without the peers' messages."
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


# ---------------------------------------------------------------------------------------------- result


def measure(task: Task, photos: Path, seeds=SEEDS, grid=GRID) -> dict:
    """One task as a row: accuracy over the grid, and for each rule the lrs, the accuracy and the regret in
    points."""
    data = task.data(photos)
    score = cache(lambda lr, seed: train(task, data, lr, seed))
    curve = [float(np.mean([score(lr, seed) for seed in seeds])) for lr in grid]
    answers = [ask_all(task, data, seed) for seed in seeds]
    lrs = {rule: [a[rule] for a in answers] for rule in answers[0]}
    reached = {
        rule: float(np.mean([score(lr or NO_ANSWER, seed) for lr, seed in zip(found, seeds)]))
        for rule, found in lrs.items()
    }
    return {
        "task": task.name,
        "opt": task.opt,
        "best_lr": grid[int(np.argmax(curve))],
        "best": max(curve),
        "grid": dict(zip(map(str, grid), curve)),
        "lrs": lrs,
        "accuracy": reached,
        "regret": {rule: round(100 * (max(curve) - a), 2) for rule, a in reached.items()},
    }


def summary(rows: list[dict]) -> dict[str, dict]:
    """For each rule mean, median and highest regret, where that was, and how often it had no answer; the best
    rule first."""
    result = {}
    for rule in rows[0]["regret"]:
        regrets = [row["regret"][rule] for row in rows]
        worst = rows[int(np.argmax(regrets))]
        result[rule] = {
            "mean": round(float(np.mean(regrets)), 2),
            "median": round(float(np.median(regrets)), 2),
            "worst": max(regrets),
            "worst_task": f"{worst['task']}, {worst['opt']}",
            "no_answer": sum(lr is None for row in rows for lr in row["lrs"][rule]),
        }
    return dict(sorted(result.items(), key=lambda item: item[1]["mean"]))


def table(name: str, found: dict) -> str:
    "The regret of every rule in every task, and the summary."
    rules = {r["name"]: r for r in found["rows"]}
    short = [
        r.replace("lessonkit ", "").replace("fastai ", "f.").replace("torch-lr-finder", "t-lr-f")
        for r in rules
    ]
    lines = [f"{name}: regret in points{'best':>26}{'at':>8} " + "".join(f"{s:>10}" for s in short)]
    for task in found["tasks"]:
        lines.append(
            f"{task['task'] + ', ' + task['opt']:42}{100 * task['best']:7.1f}{task['best_lr']:8.2g} "
            + "".join(f"{task['regret'][rule]:10.1f}" for rule in rules)
        )
    for key in ("mean", "median", "worst", "no_answer"):
        lines.append(
            f"{key:58}" + "".join(f"{r[key]:10.{0 if key == 'no_answer' else 2}f}" for r in rules.values())
        )
    lines += [
        f"{r['name']}: {r['target']}: {'yes' if r['met'] else 'NO'}"
        for r in found["rows"]
        if r["met"] is not None
    ]
    return "\n".join([*lines, *(f"  skipped {k}: {v}" for k, v in found["skipped"].items()), ""])


def result(tasks: list[dict], judge: bool = True) -> dict:
    "A row for each rule, ours with its target; and the tasks."
    rules = summary(tasks)
    rows = [{"name": name, **stats, "target": "", "met": None} for name, stats in rules.items()]
    for row in rows:
        if judge and row["name"] == "lessonkit steepest":
            row |= {
                "target": f"mean regret at most {LIMIT:g}, and the lowest of all",
                "met": row["mean"] <= LIMIT and row["mean"] == min(r["mean"] for r in rows),
            }
    return {
        "rows": rows,
        "tasks": tasks,
        "skipped": {ask.__name__.removeprefix("ask_"): why for ask, why in missing().items()},
    }


def run(options: argparse.Namespace) -> dict:
    """Mean regret of every rule over all tasks (`options.quick`: two of them, one seed, whole decades); one
    thread."""
    folder = Path(options.photos)
    with threads(1):
        chosen = [t for t in tasks(folder) if options.case in f"{t.name}, {t.opt}"]
        return result(
            [
                measure(task, folder, *((SEEDS[:1], GRID[::2]) if options.quick else ()))
                for task in (chosen[:2] if options.quick else chosen)
            ],
            judge=not options.quick,
        )
