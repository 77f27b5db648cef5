"""A hundred steps of the learning rate finder, everything put back afterwards, against a hundred bare
steps."""

import logging
import tempfile
import warnings
from contextlib import chdir
from functools import partial

from torch import nn
from torch.nn import functional as F

from lessonkit import lr_find

from .common import compare, merged, peer, terminal, threads
from .loop import Case, bare_steps, batches, mlp, resnet18

LR_MIN, LR_MAX = 1e-7, 1e-2  # not so high that anyone stops early: all make all the steps


def bare(case: Case, n: int):
    "The steps alone, with torch's default optimizer; nothing is put back."
    model = case.seeded()
    opt = case.make_opt(model.parameters())
    return lambda: bare_steps(model, opt, case.train_dl)


def ours(case: Case, n: int, own: bool):
    "own: lessonkit's optimizer, as it comes; else the one of the bare loop."
    model = case.seeded()
    opt = None if own else case.make_opt(model.parameters())

    def go():
        found = lr_find(
            model,
            case.train_dl,
            F.cross_entropy,
            opt,
            lr_min=LR_MIN,
            lr_max=LR_MAX,
            n_steps=n,
            diverge=1e9,
            progress=True,
        )
        assert len(found.lrs) == n

    return go


def fastai(case: Case, n: int):
    peer("fastai.basics")
    import fastai.callback.progress
    import fastai.callback.schedule  # noqa: F401
    from fastai.basics import DataLoaders
    from fastai.learner import Learner

    folder = tempfile.TemporaryDirectory()  # its finder writes a checkpoint
    learn = Learner(
        DataLoaders(case.train_dl, case.valid_dl, device="cpu"),
        case.seeded(),
        nn.CrossEntropyLoss(),
        wd=0.01,
        path=folder.name,
    )

    def go():
        with folder:
            learn.lr_find(start_lr=LR_MIN, end_lr=LR_MAX, num_it=n, stop_div=False, show_plot=False)

    return go


def torch_lr_finder(case: Case, n: int):
    module = peer("torch_lr_finder")
    model = case.seeded()
    finder = module.LRFinder(
        model, case.make_opt(model.parameters(), LR_MIN), nn.CrossEntropyLoss(), device="cpu"
    )
    batches = module.TrainDataLoaderIter(case.train_dl)

    def go():
        finder.range_test(batches, end_lr=LR_MAX, num_iter=n, diverge_th=1e9)
        finder.reset()

    return go


def lightning_module(case: Case):
    "What Lightning's finder sweeps."
    module = peer("lightning").LightningModule

    class Module(module):
        def __init__(self):
            super().__init__()
            self.model, self.lr = case.seeded(), LR_MIN

        def training_step(self, batch, _):
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return case.make_opt(self.parameters(), self.lr)

    return Module()


def lightning(case: Case, n: int):
    lightning = peer("lightning")
    from lightning.pytorch.tuner import Tuner

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    made = lightning_module(case)
    sweep = dict(min_lr=LR_MIN, max_lr=LR_MAX, num_training=n, early_stop_threshold=None)

    def go():
        with tempfile.TemporaryDirectory() as folder, chdir(folder):  # its finder writes a checkpoint
            trainer = lightning.Trainer(
                max_epochs=1,
                accelerator="cpu",
                devices=1,
                logger=False,
                default_root_dir=folder,
                enable_checkpointing=False,
                enable_model_summary=False,
            )
            Tuner(trainer).lr_find(made, case.train_dl, **sweep)

    return go


def run(options) -> dict:
    "Seconds a step of a whole sweep, on one thread."
    n, results = 10 if options.quick else 100, []
    cases = [
        Case("MLP", mlp, "adamw", batches(n, 64, 64), batches(1, 64, 64)),
        Case("resnet18 64 px", resnet18, "adamw", batches(n, 8, 3, 64, 64), batches(1, 8, 3, 64, 64)),
    ]
    with threads(options.threads or 1), terminal(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in (c for c in cases if options.case in c.name):
            contestants = {
                "bare": partial(bare, case, n),
                "lessonkit": partial(ours, case, n, True),
                "lessonkit, bare's optimizer": partial(ours, case, n, False),
                "fastai": partial(fastai, case, n),
                "torch-lr-finder": partial(torch_lr_finder, case, n),
                "lightning": partial(lightning, case, n),
            }
            targets = {"lessonkit": "<= 1.03", "lessonkit, bare's optimizer": "<= 1.03"}
            rounds = options.rounds or (2 if options.quick else 25 if case.name == "MLP" else 5)
            results.append(compare(case.name, contestants, rounds, "bare", "a step", n, targets))
    return merged(results)
