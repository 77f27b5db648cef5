"""A step of the loop, with its progress bar, its record and its schedule, against a bare loop on the same
batches."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from lessonkit import Learner, sgdr

from .common import compare, merged, peer, terminal, threads

LR = 1e-3


class Loader:
    "The same batches in every epoch."

    def __init__(self, batches: list):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


@dataclass(frozen=True)
class Case:
    """A network and its batches; opt: of torch, with torch's own defaults but for lr, momentum and weight
    decay."""

    name: str
    model: Callable[[], nn.Module]
    opt: str
    train_dl: Loader
    valid_dl: Loader

    def make_opt(self, params, lr: float = LR) -> torch.optim.Optimizer:
        "torch's default optimizer."
        if self.opt == "sgd":
            return torch.optim.SGD(params, lr=lr, momentum=0.9, weight_decay=0.01)
        return torch.optim.AdamW(params, lr=lr, weight_decay=0.01)

    def seeded(self) -> nn.Module:
        "The network, the same each time."
        torch.manual_seed(0)
        return self.model()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


def resnet18() -> nn.Module:
    from torchvision.models import resnet18

    return resnet18(num_classes=10)


def batches(n: int, bs: int, *shape: int) -> Loader:
    "`n` batches of noise with labels."
    g = torch.Generator().manual_seed(0)
    return Loader(
        [(torch.randn(bs, *shape, generator=g), torch.randint(0, 10, (bs,), generator=g)) for _ in range(n)]
    )


def cases(quick: bool) -> list[Case]:
    "What is trained: a network so small that the loop shows, and a real one."
    small, large = (20, 2) if quick else (500, 24)
    vectors, pictures = (
        (batches(small, 64, 64), batches(1, 64, 64)),
        (batches(large, 32, 3, 64, 64), batches(1, 32, 3, 64, 64)),
    )
    return [
        Case("MLP, SGD", mlp, "sgd", *vectors),
        Case("MLP, AdamW", mlp, "adamw", *vectors),
        Case("resnet18 64 px, SGD", resnet18, "sgd", *pictures),
        Case("resnet18 64 px, AdamW", resnet18, "adamw", *pictures),
    ]


def bare_steps(model: nn.Module, opt, train_dl) -> None:
    "Every batch once, as one would write it without a library."
    model.train()
    for xb, yb in train_dl:
        loss = F.cross_entropy(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()


def bare(case: Case):
    "What one would write without a library, evaluation on one batch as for everyone."
    model = case.seeded()
    opt = case.make_opt(model.parameters())

    def go():
        bare_steps(model, opt, case.train_dl)
        model.eval()
        with torch.no_grad():
            for xb, yb in case.valid_dl:
                F.cross_entropy(model(xb), yb).item()

    return go


def ours(case: Case):
    learn = Learner(
        (case.train_dl, case.valid_dl), case.seeded(), opt=case.opt, device="cpu", precision="fp32"
    )

    return lambda: learn.fit(sgdr(1), LR)


def fastai(case: Case):
    "fastai's Learner with its recorder, its progress bar and its one-cycle schedule."
    peer("fastai.basics")
    import fastai.callback.progress
    import fastai.callback.schedule  # noqa: F401
    from fastai.basics import DataLoaders
    from fastai.learner import Learner as FastLearner
    from fastai.metrics import accuracy
    from fastai.optimizer import SGD, Adam

    opt = partial(SGD, mom=0.9) if case.opt == "sgd" else Adam
    learn = FastLearner(
        DataLoaders(case.train_dl, case.valid_dl, device="cpu"),
        case.seeded(),
        nn.CrossEntropyLoss(),
        opt_func=opt,
        lr=LR,
        wd=0.01,
        metrics=accuracy,
    )

    return lambda: learn.fit_one_cycle(1, LR)


def lightning_module(case: Case, log: bool):
    "What Lightning trains; log: the loss in the bar."
    module = peer("lightning").LightningModule

    class Module(module):
        def __init__(self):
            super().__init__()
            self.model = case.seeded()

        def training_step(self, batch, _):
            loss = F.cross_entropy(self.model(batch[0]), batch[1])
            if log:
                self.log("train_loss", loss, prog_bar=True)
            return loss

        def validation_step(self, batch, _):
            F.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            opt = case.make_opt(self.model.parameters())
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, len(case.train_dl))
            return {"optimizer": opt, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    return Module()


def lightning(case: Case, log: bool):
    "Lightning with its progress bar and a cosine schedule by step; log: the loss in the bar."
    made = lightning_module(case, log)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = peer("lightning").Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    return lambda: trainer.fit(made, case.train_dl, case.valid_dl)


def contestants(case: Case) -> dict[str, Callable]:
    "Everyone who trains the network, by name."
    return {
        "bare": partial(bare, case),
        "lessonkit": partial(ours, case),
        "fastai": partial(fastai, case),
        "lightning": partial(lightning, case, False),
        "lightning, loss logged": partial(lightning, case, True),
    }


def run(options) -> dict:
    "Seconds a step of one epoch, which everyone evaluates on one batch, on one thread."
    results = []
    with threads(options.threads or 1), terminal(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in (c for c in cases(options.quick) if options.case in c.name):
            small, n = case.name.startswith("MLP"), len(case.train_dl)
            target = {"lessonkit": "<= 1.00" if small else "<= 1.01"}
            rounds = options.rounds or (2 if options.quick else 15 if small else 9)
            results.append(compare(case.name, contestants(case), rounds, "bare", "a step", n, target))
    return merged(results)
