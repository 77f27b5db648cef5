"""Compare training at two revisions, to the bit: `python tests/golden.py [REVISION]` (default: HEAD).

Fifteen configurations run with the code of the revision and with the working tree's, on one thread each; it
says which weights, losses, lrs and generators are not the same. For changes that are meant to change nothing.
"""

import hashlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = {}


def golden(run):
    "Register a configuration: a function of a folder that returns values to be compared, by name."
    RUNS[run.__name__] = run
    return run


def digest(value) -> str:
    "Twelve digits that stand for plain values, a module's weights, or a tensor."
    if hasattr(value, "state_dict"):
        parts = [name.encode() + digest(v).encode() for name, v in sorted(value.state_dict().items())]
    elif hasattr(value, "numpy"):
        parts = [
            str(value.dtype).encode(),
            str(tuple(value.shape)).encode(),
            value.detach().cpu().contiguous().reshape(-1).numpy().tobytes(),
        ]
    else:
        parts = [repr(value).encode()]
    return hashlib.sha256(b"|".join(parts)).hexdigest()[:12]


def small(seed: int = 0, n: int = 96, shape=(3, 16, 16)):
    "A small network with batch norm, and loaders of one's own that shuffle."
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, *shape, generator=g), torch.randint(4, (n,), generator=g)
    x = x + y.float().reshape(-1, 1, 1, 1) / 2
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(8, 4),
    )
    data = TensorDataset(x, y)
    return model, DataLoader(data, 16, shuffle=True), DataLoader(data, 32)


def pictures(**options):
    from lessonkit import ImageData

    return ImageData("sample:side_on", **{"size": 32, "per_class": 8, "bs": 16, "progress": False} | options)


def half() -> dict:
    "How `lr_find` is told to compute in bfloat16: `precision`, before 0.1.0 `amp`."
    from lessonkit import lr_find

    return {"precision" if "precision" in inspect.signature(lr_find).parameters else "amp": "bf16"}


def found(result, model) -> dict:
    return {
        "weights": model,
        "losses": result.losses,
        "lrs": result.lrs,
        "suggestions": [result.suggestions, result.stopped],
    }


def trained(learn) -> dict:
    h = learn.history
    epochs = [{k: v for k, v in e.items() if k != "seconds"} for e in h.epochs]
    return {
        "weights": learn.model,
        "losses": h.losses,
        "lrs": h.lrs,
        "record": [epochs, h.cycle_ends, list(h.schedule.cycles), h.schedule.n_steps, h.stopped],
    }


@golden
def finder_sgd(folder):
    import torch
    from torch.nn import functional as F

    from lessonkit import lr_find

    model, train_dl, valid_dl = small()
    opt = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return found(lr_find(model, train_dl, F.cross_entropy, opt, n_steps=60, valid_dl=valid_dl), model)


@golden
def finder_adamw_bf16(folder):
    import torch
    from torch.nn import functional as F

    from lessonkit import lr_find

    model, train_dl, _ = small(1)
    opt = torch.optim.AdamW(
        [{"params": model[:4].parameters(), "lr": 1e-3}, {"params": model[4:].parameters(), "lr": 1e-2}]
    )
    return found(lr_find(model, train_dl, F.cross_entropy, opt, n_steps=40, **half()), model)


@golden
def finder_accumulates_dictionaries(folder):
    from torch import nn
    from torch.nn import functional as F

    from lessonkit import lr_find

    model, train_dl, _ = small(2)

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, image):
            return self.inner(image)

    named, batches = Named(), [{"image": x, "label": y} for x, y in train_dl]
    result = lr_find(named, batches, F.cross_entropy, n_steps=30, accumulate=3, mode="linear", lr_max=1.0)
    return found(result, named)


@golden
def finder_scaler(folder):
    import torch
    from torch.nn import functional as F

    from lessonkit import lr_find

    model, train_dl, _ = small(3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)  # the first tries overflow
    opt = torch.optim.SGD(model.parameters(), 0.1)
    result = lr_find(
        model, train_dl, lambda out, y: 8 * F.cross_entropy(out, y), opt, n_steps=20, scaler=scaler, **half()
    )
    return found(result, model) | {"scale": scaler.get_scale()}


@golden
def trial_frozen(folder):
    from lessonkit import Learner

    learn = Learner(pictures(augment="none"))
    return {"losses": list(learn.trial(1e-2, 12)), "weights": learn.model}


@golden
def fit_sgd_cycles(folder):
    from lessonkit import Learner, sgdr

    model, *loaders = small(4)
    learn = Learner(loaders, model, n_classes=4, opt="sgd")
    learn.fit(sgdr(3, 1), lr=0.1, progress=False)
    return trained(learn)


@golden
def fit_adamw_growing(folder):
    from lessonkit import Learner, sgdr

    model, *loaders = small(5)
    learn = Learner(loaders, model, n_classes=4)
    learn.fit(sgdr(3, 1, 2), lr=[1e-3, 3e-3, 1e-2], progress=False)
    return trained(learn)


@golden
def fit_grows_by_itself(folder):
    from lessonkit import Learner, Schedule

    model, *loaders = small(6)
    learn = Learner(loaders, model, n_classes=4)
    learn.fit(Schedule("cosine", (1, 1, 1), grow=True), lr=1e-2, progress=False)
    return trained(learn)


@golden
def fit_bf16(folder):
    from lessonkit import Learner, sgdr

    model, *loaders = small(7)
    learn = Learner(loaders, model, n_classes=4, precision="bf16")
    learn.fit(sgdr(1, 2), lr=1e-2, progress=False)
    return trained(learn)


@golden
def fit_frozen_features(folder):
    from lessonkit import Learner, sgdr

    learn = Learner(pictures(augment="none"))
    learn.fit(sgdr(2, 1), lr=1e-2, progress=False)
    get_preds = getattr(learn, "get_preds", None) or learn.answers  # as it was called before
    return trained(learn) | {"answers": get_preds().probs}


@golden
def fit_augmented_unfrozen(folder):
    from lessonkit import Learner, sgdr, spread_lrs

    learn = Learner(pictures(augment="side_on"), train_norms=True)
    learn.unfreeze()
    learn.fit(sgdr(1, 2), lr=spread_lrs(1e-3, 3, 3), progress=False)
    return trained(learn) | {"copies": learn.tta(2).probs}


@golden
def fit_resumed(folder):
    from lessonkit import Learner, sgdr

    class Cut:
        def event(self, event, history, stop):
            if event.step == 8:
                stop.ask()

        def ended(self, history):
            pass

    for _ in range(2):
        learn = Learner(pictures(augment="side_on"))
        learn.unfreeze()
        learn.watchers += [Cut()] if not (folder / "run.ckpt").exists() else []
        learn.fit(sgdr(2, 2), lr=1e-3, checkpoint=folder / "run.ckpt", resume=True, progress=False)
    return trained(learn)


@golden
def fit_snapshots(folder):
    from lessonkit import Learner, average_weights, sgdr

    model, *loaders = small(8)
    learn = Learner(loaders, model, n_classes=4)
    learn.fit(sgdr(3, 1), lr=3e-2, snapshots=True, progress=False)
    mean = average_weights(learn.snapshots)
    return trained(learn) | {"snapshots": [[digest(v) for v in s.values()] for s in (*learn.snapshots, mean)]}


@golden
def fit_until_overfit(folder):
    from lessonkit import Learner, sgdr

    model, train_dl, _ = small(9, 32)
    learn = Learner((train_dl, small(10, 64)[1]), model, n_classes=4)
    learn.fit(sgdr(30, 1), lr=3e-2, until_overfit=True, patience=1, progress=False)
    return trained(learn) | {"best": [learn.best.score, learn.best.size]}


@golden
def recipe(folder):
    from lessonkit import five_steps

    said = []
    result = five_steps(
        pictures(augment="side_on"), sizes=[32, 48], head_epochs=2, epochs=4, say=said.append, progress=False
    )
    steps = [[s.number, s.title, s.text] for s in result.steps]
    sweeps = [[f.lrs, f.losses] for s in result.steps for f in s.found]
    return trained(result.learner) | {"steps": steps, "sweeps": sweeps, "all lrs": result.lrs}


def run_all() -> dict:
    "What every configuration gives with the lessonkit that is on the path, as digests."
    import torch

    torch.set_num_threads(1)
    results = {}
    for name, run in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            values = run(Path(folder)) | {"generator": torch.get_rng_state()}
            results[name] = {k: digest(v) for k, v in values.items()}
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results


def results_of(tree: Path) -> dict:
    "The same in a process of its own, with the code in `tree`."
    env = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    said = subprocess.run(
        [sys.executable, __file__, "--here"], env=env, cwd=tree, stdout=subprocess.PIPE, check=True
    )
    return json.loads(said.stdout)


def compare(before: dict, after: dict) -> bool:
    "Print a line a configuration; whether all are the same."
    for name, values in after.items():
        other = [k for k, v in values.items() if before.get(name, {}).get(k) != v]
        print(f"{name:34}{'same' if not other else 'OTHER: ' + ', '.join(other)}")
    return before == after


def main() -> int:
    if sys.argv[1:] == ["--here"]:
        print(json.dumps(run_all()))
        return 0
    revision = (sys.argv[1:] or ["HEAD"])[0]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", tree, revision], cwd=ROOT, check=True)
        try:
            before = results_of(tree)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    return 0 if compare(before, results_of(ROOT)) else 1


if __name__ == "__main__":
    sys.exit(main())
