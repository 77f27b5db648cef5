"""The learner: find + fit, stopping, resuming to the bit, saving, predicting."""

import json
import math
import os
import signal
import threading

import numpy as np
import pytest
import torch
from conftest import paint
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F

from lessonkit.basics import progress_bar
from lessonkit.evaluate import confusion_matrix, get_preds, most_wrong
from lessonkit.images.data import ImageData
from lessonkit.nets.classifier import build_model
from lessonkit.predict import load_model
from lessonkit.train.checkpoint import read_checkpoint, write_checkpoint
from lessonkit.train.learner import Learner
from lessonkit.train.loop import CycleDone, EpochDone, TrainingError
from lessonkit.train.optim import spread_lrs
from lessonkit.train.schedule import sgdr


@pytest.fixture
def data(colours):
    return ImageData(colours, size=32, bs=8, seed=0)


def learner(data, **options):
    return Learner(data, "resnet10", **{"weights": None, **options})


def weights(learn):
    return {k: v.clone() for k, v in learn.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns_two_colours(data):
    learn = learner(data)
    history = learn.fit(sgdr(2, 2), 1e-3, progress=False)
    assert (
        learn.best.epoch["accuracy"] == 1.0
        and history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"]
    )
    assert len(history.losses) == 16 == len(history.lrs) and history.cycle_ends == [8, 16]


def test_fit_equals_find_and_fit_to_the_bit(data):
    plain, found = learner(data), learner(data)
    plain.fit(sgdr(1, 2), 1e-3, progress=False)
    found.find(n_steps=12)
    found.fit(sgdr(1, 2), 1e-3, progress=False)
    assert same(weights(plain), weights(found)) and plain.history.losses == found.history.losses


def test_the_same_seed_is_the_same_run_and_another_is_not(colours):
    def run(seed):
        learn = learner(ImageData(colours, size=32, bs=8, seed=seed), seed=seed)
        return learn.fit(sgdr(1, 1), 1e-3, progress=False).losses

    assert run(0) == run(0) != run(1)


@pytest.mark.parametrize("opt", ["adamw", "sgd"])
def test_a_resumed_run_is_the_unbroken_one_to_the_bit(data, tmp_path, opt):
    schedule, path = sgdr(2, 2), tmp_path / "run.ckpt"
    whole = learner(data, opt=opt)
    whole.fit(schedule, [1e-4, 3e-4, 1e-3], progress=False)
    broken = learner(data, opt=opt)
    for event in broken.run(schedule, [1e-4, 3e-4, 1e-3], checkpoint=path):
        if event.step == 14:  # in the last epoch of the second cycle
            break
    torch.manual_seed(99)
    later = learner(ImageData(data.report.root, size=32, bs=8), opt=opt, seed=7)
    history = later.fit(schedule, [1e-4, 3e-4, 1e-3], checkpoint=path, resume=True, progress=False)
    assert same(weights(whole), weights(later))
    assert history.losses == whole.history.losses and history.lrs == whole.history.lrs
    assert [e["valid_loss"] for e in history.epochs] == [e["valid_loss"] for e in whole.history.epochs]
    assert same(later.best.state, whole.best.state)
    again = learner(data, opt=opt)
    assert (
        again.fit(schedule, [1e-4, 3e-4, 1e-3], checkpoint=path, resume=True, progress=False).losses
        == whole.history.losses
    )


def test_growing_cycles_resume_too(data, tmp_path):
    schedule, path = sgdr(3, 1, "auto"), tmp_path / "run.ckpt"
    whole = learner(data)
    whole.fit(schedule, 1e-3, progress=False)
    broken = learner(data)
    for event in broken.run(schedule, 1e-3, checkpoint=path):
        if event.step == 10:
            break
    later = learner(data)
    later.fit(schedule, 1e-3, checkpoint=path, resume=True, progress=False)
    assert later.history.schedule == whole.history.schedule and same(weights(whole), weights(later))


def test_a_checkpoint_of_another_run_or_none_at_all_is_refused(data, tmp_path):
    path = tmp_path / "run.ckpt"
    learner(data).fit(sgdr(1, 1), 1e-3, checkpoint=path, progress=False)
    with pytest.raises(ValueError, match="give the same schedule"):
        learner(data).fit(sgdr(2, 1), 1e-3, checkpoint=path, resume=True, progress=False)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a checkpoint"):
        learner(data).fit(sgdr(1, 1), 1e-3, checkpoint=path, resume=True, progress=False)


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(lr=1e-2), r"lr \[0.001, 0.001, 0.001\] there, \[0.01, 0.01, 0.01\] here"),
        (dict(size=40), "size 32 there, 40 here"),
        (dict(seed=1), "pictures 32 [+] 8, .* there, 32 [+] 8, .* here; seed 0 there, 1 here"),
        (dict(augment="top_down"), "augment .*side_on.* there, .*top_down.* here"),
        (dict(opt="sgd"), "optimizer AdamW there, SGD here"),
        (dict(arch="resnet18"), "model resnet10 there, resnet18 here"),
        (dict(accumulate=2), "schedule .* there, .* here; accumulate 1 there, 2 here"),
    ],
    ids=str,
)
def test_resume_refuses_another_run_with_the_difference_named(colours, tmp_path, change, said):
    path = tmp_path / "run.ckpt"
    Learner(ImageData(colours, 32, bs=8, progress=False), "resnet10", weights=None).fit(
        sgdr(1, 1), 1e-3, checkpoint=path, progress=False
    )
    of_data = {k: change[k] for k in ("size", "seed", "augment") if k in change}
    other = Learner(
        ImageData(colours, **{"size": 32, "bs": 8, "progress": False} | of_data),
        change.get("arch", "resnet10"),
        weights=None,
        opt=change.get("opt", "adamw"),
    )
    before, how = weights(other), {"accumulate": change.get("accumulate", 1)}
    with pytest.raises(ValueError, match=f"of another run: {said}"):
        other.fit(sgdr(1, 1), change.get("lr", 1e-3), checkpoint=path, resume=True, progress=False, **how)
    assert same(before, weights(other)) and other.best is None and other.size == of_data.get("size", 32)


def test_a_resumed_run_remembers_that_it_began_to_overfit(data, tmp_path, monkeypatch):
    from lessonkit.train import loop

    losses = iter([1.0, 2.0, 3.0, 4.0, 5.0])
    real = loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *a, **k: (next(losses), real(*a, **k)[1]))
    path, how = tmp_path / "run", {"until_overfit": True, "patience": 2, "progress": False}
    first = learner(data)
    for event in first.run(sgdr(5, 1), 1e-3, checkpoint=path):
        if isinstance(event, CycleDone) and event.step == 2 * len(first.train_dl):
            break
    second = learner(data)
    second.fit(sgdr(5, 1), 1e-3, checkpoint=path, resume=True, **how)
    assert second.history.ended == "overfit" and len(second.history.epochs) == 3


def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    write_checkpoint(path, {"step": 1, "w": torch.ones(3)})

    def crash(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="disk is full"):
        write_checkpoint(path, {"step": 2, "w": torch.zeros(3)})
    state = read_checkpoint(path)
    assert (
        state["step"] == 1 and torch.equal(state["w"], torch.ones(3)) and os.listdir(tmp_path) == ["run.ckpt"]
    )


def test_snapshots_are_the_weights_at_the_end_of_each_cycle(data):
    learn, states = learner(data), []
    for event in learn.run(sgdr(2, 1), 1e-3):
        if isinstance(event, CycleDone):
            states.append(weights(learn))
    other = learner(data)
    other.fit(sgdr(2, 1), 1e-3, snapshots=True, progress=False)
    assert len(other.snapshots) == 2 and all(same(a, b) for a, b in zip(states, other.snapshots))


def test_an_interrupt_stops_after_the_update_and_the_learner_goes_on(data):
    learn, seen = learner(data), []
    real = learn.loss_fn

    def loss_fn(logits, yb):
        seen.append(0)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        return real(logits, yb)

    learn.loss_fn = loss_fn
    history = learn.fit(sgdr(5, 1), 1e-3, progress=False)
    assert len(history.lrs) == 3 and history.ended == "interrupted" and "after 3 updates" in history.stopped
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(learn.fit(sgdr(1, 1), 1e-3, progress=False).losses) == 4


class Watcher:
    "Notes what it is told; `breaks`: the event at which it fails."

    def __init__(self, breaks=None):
        self.breaks, self.heard, self.over = breaks, 0, False

    def event(self, event, history, stop):
        self.heard += 1
        if self.heard == self.breaks:
            raise RuntimeError("out of ink")

    def ended(self, history):
        self.over = True


class Other(Watcher):
    pass


def test_a_watcher_that_fails_is_reported_and_left_out_and_the_run_goes_on(data):
    learn, bad, good = learner(data), Watcher(breaks=2), Other()
    learn.watch(bad), learn.watch(good)
    with pytest.warns(UserWarning, match="Watcher is told no more of this run: .*out of ink"):
        history = learn.fit(sgdr(2, 1), 1e-3, progress=False)
    assert history.ended == "done" and not history.stopped and len(history.losses) == 8
    assert (bad.heard, bad.over) == (2, False) and (good.heard, good.over) == (12, True)
    assert learn.watchers == [bad, good], "it may do better in the next run"


def test_a_watcher_takes_the_place_of_its_kind(data):
    learn, first, second, other = learner(data), Watcher(), Watcher(), Other()
    for watcher in (first, other, second):
        learn.watch(watcher)
    assert learn.watchers == [other, second]


def test_a_loss_that_is_not_finite_gives_back_the_last_good_weights(data):
    learn, seen, states = learner(data), [], []

    def loss_fn(logits, yb):
        seen.append(0)
        return F.cross_entropy(logits, yb) * (
            float("nan") if len(seen) == 9 and torch.is_grad_enabled() else 1
        )

    learn.loss_fn = loss_fn
    plain = learner(data)
    for event in plain.run(sgdr(3, 1), 1e-3):
        if isinstance(event, EpochDone):
            states.append(weights(plain))
    torch.manual_seed(0)
    learn = learner(data)
    learn.loss_fn = loss_fn
    with pytest.raises(TrainingError, match=r"at step \d+ with lr .*last evaluation"):
        learn.fit(sgdr(3, 1), 1e-3, progress=False)
    assert same(weights(learn), states[0]) and learn.history.ended == "failed"
    assert "loss was nan" in learn.history.stopped
    assert all(v.isfinite().all() for v in weights(learn).values())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_says_which_batch_size_to_try(data, error):
    learn = learner(data)
    before = weights(learn)

    def loss_fn(logits, yb):
        raise error

    learn.loss_fn = loss_fn
    with pytest.raises(TrainingError, match="batches of 8 pictures of 32 px: try data.bs = 4"):
        learn.fit(sgdr(1, 1), 1e-3, progress=False)
    assert same(before, weights(learn))
    learn.loss_fn = F.cross_entropy
    data.bs = 4
    assert len(learn.fit(sgdr(1, 1), 1e-3, progress=False).losses) == 8


def test_another_error_is_not_hidden(data):
    learn = learner(data)
    learn.loss_fn = lambda logits, yb: F.cross_entropy(logits, yb[:1])
    with pytest.raises(ValueError, match="batch_size"):
        learn.fit(sgdr(1, 1), 1e-3, progress=False)


def test_until_overfit_takes_back_the_best_weights(data):
    learn = learner(data, metrics={})
    curve, state, seen = iter([0.9, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2]), {}, []

    def loss_fn(logits, yb):  # the training loss falls, validation follows a script
        if not torch.is_grad_enabled():
            return torch.tensor(state["valid"])
        seen.append(0)
        return F.cross_entropy(logits, yb) * 0 + 1 / len(seen)

    learn.loss_fn = loss_fn
    states = []

    class Follow:
        def event(self, event, history, stop):
            if isinstance(event, EpochDone):
                states.append(weights(learn))
                state["valid"] = next(curve)

        def ended(self, history):
            pass

    learn.watch(Follow())
    state["valid"] = next(curve)
    history = learn.fit(sgdr(8, 1), 1e-3, until_overfit=True, patience=2, progress=False)
    losses = [e["valid_loss"] for e in history.epochs]
    assert history.ended == "overfit" and losses == pytest.approx([0.9, 0.5, 0.6, 0.7])
    assert same(weights(learn), states[1])


def test_a_learner_leaves_the_global_generators_and_your_module_as_they_were(data):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    strides = [p.stride() for p in net.parameters()]
    torch.manual_seed(5)
    expected = torch.rand(40)
    torch.manual_seed(5)
    learn, drawn = Learner(data, net, n_groups=1), [torch.rand(1)]
    assert [p.stride() for p in net.parameters()] == strides
    for make in (
        lambda: learn.find(n_steps=4),
        lambda: list(learn.trial(1e-3, 2)),
        lambda: learner(data),
        lambda: learn.fit(sgdr(1, 1), 1e-3, progress=False),
        lambda: learn.validate(),
    ):
        make()
        drawn.append(torch.rand(1))
    for _ in learn.run(sgdr(1, 1), 1e-3):
        drawn.append(torch.rand(1))
    assert torch.cat(drawn).equal(expected[: len(drawn)]) and len(drawn) > 8


@pytest.mark.parametrize("n, accumulate, updates", [(6, 2, 3), (5, 2, 3), (5, 9, 1), (4, 1, 4)])
def test_batches_that_accumulate_are_one_large_batch(n, accumulate, updates):
    g = torch.Generator().manual_seed(n)
    x = torch.randn(4 * n, 5, generator=g)
    y = (x.sum(1) > 0).long()
    small = [(x[k : k + 4], y[k : k + 4]) for k in range(0, 4 * n, 4)]
    large = [(x[k : k + 4 * accumulate], y[k : k + 4 * accumulate]) for k in range(0, 4 * n, 4 * accumulate)]
    nets = []
    for batches, options in ((small, {"accumulate": accumulate}), (large, {})):
        torch.manual_seed(0)
        learn = Learner((batches, small), nn.Linear(5, 2), n_groups=1, opt="sgd")
        history = learn.fit(sgdr(2, 1), 0.5, progress=False, **options)
        assert len(history.losses) == 2 * updates and len(history.epochs) == 2
        nets.append((weights(learn), history.losses))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(nets[0][0].values(), nets[1][0].values()))
    assert nets[0][1] == pytest.approx(nets[1][1], abs=1e-6)
    with pytest.raises(ValueError, match="accumulate=0"):
        learn.fit(sgdr(1, 1), 0.5, accumulate=0)


def test_runs_follow_the_seed_whatever_else_draws(data):
    runs = []
    for draws in (0, 3):
        learn, losses = learner(data), []
        for event in learn.run(sgdr(2, 1), 1e-3):
            torch.rand(draws)
            losses.append(getattr(event, "loss", None))
        runs.append((weights(learn), learn.history.losses))
    assert same(runs[0][0], runs[1][0]) and runs[0][1] == runs[1][1]
    learn = learner(data, seed=None)
    torch.manual_seed(1)
    first = list(learn.trial(1e-3, 3))
    torch.manual_seed(1)
    assert first == list(learn.trial(1e-3, 3))


def test_a_run_without_fit_finds_its_way_back_too(data):
    learn = learner(data)
    for event in learn.run(sgdr(2, 1), 1e-3):
        if isinstance(event, EpochDone):
            good = weights(learn)
            learn.loss_fn = None
            break
    assert learn.history.ended == "interrupted" and "after 4 updates" in learn.history.stopped
    learn.loss_fn = lambda logits, yb: F.cross_entropy(logits, yb) * float("inf")
    with pytest.raises(TrainingError, match="last evaluation before it"):
        list(learn.run(sgdr(1, 1), 1e-3))
    assert same(weights(learn), good) and learn.history.ended == "failed"
    learn.loss_fn = F.cross_entropy
    events = learn.run(sgdr(1, 1), 1e-3)
    assert len([e for e in events if isinstance(e, EpochDone)]) == 1 and learn.history.ended == "done"
    with pytest.raises(ValueError, match="needs an lr"):
        learn.run(sgdr(1, 1))  # at once, not at the first update


def test_closing_a_run_waits_for_what_another_thread_tries(data):
    learn, held, go, order = learner(data), threading.Event(), threading.Event(), []
    events = learn.run(sgdr(1, 1), 1e-3)
    next(events)

    def try_a_rate():
        with learn.lock:
            held.set(), go.wait(20), order.append("tried")

    threads = [
        threading.Thread(target=try_a_rate),
        threading.Thread(target=lambda: (events.close(), order.append("closed"))),
    ]
    threads[0].start(), held.wait(20), threads[1].start(), threads[1].join(0.3), go.set()
    for thread in threads:
        thread.join(20)
    assert order == ["tried", "closed"]


def test_weights_after_an_evaluation_that_is_not_finite_are_not_the_good_ones(data):
    learn, seen = learner(data), []

    def loss_fn(logits, yb):  # the second evaluation fails, and what follows
        seen.append(torch.is_grad_enabled())
        bad = seen.count(False) > 1
        return F.cross_entropy(logits, yb) * (float("nan") if bad else 1)

    learn.loss_fn, states = loss_fn, []
    with pytest.raises(TrainingError):
        for event in learn.run(sgdr(4, 1), 1e-3):
            if isinstance(event, EpochDone):
                states.append((event.valid_loss, weights(learn)))
    assert len(states) == 2 and same(weights(learn), states[0][1]) and not same(states[0][1], states[1][1])


def test_layer_groups_train_at_their_own_lrs(data):
    learn = learner(data)
    history = learn.fit(sgdr(1, 1), spread_lrs(1e-3, 3, 10), progress=False)
    assert history.lrs[0] == pytest.approx([1e-5, 1e-4, 1e-3])
    assert all(a * 10 == pytest.approx(b) and b * 10 == pytest.approx(c) for a, b, c in history.lrs)


def test_a_pretrained_body_begins_frozen_and_keeps_its_norms(data, tmp_path):
    torch.manual_seed(3)
    model = build_model("resnet10", 2, weights=None)
    torch.save(dict(model.body.state_dict()), tmp_path / "w.pth")
    learn = Learner(data, "resnet10", weights=tmp_path / "w.pth")
    assert [g.frozen for g in learn.groups] == [True, True, False]
    before = weights(learn)
    learn.fit(sgdr(1, 1), 1e-3, progress=False)
    after = weights(learn)
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("body"))
    learn.unfreeze()
    learn.fit(sgdr(1, 1), 1e-3, progress=False)
    moved = {k for k, v in weights(learn).items() if not torch.equal(v, before[k])}
    assert any(k.startswith("body") for k in moved) and not any(
        "running" in k for k in moved if k.startswith("body")
    )


def test_loaders_and_modules_of_ones_own(data):
    torch.manual_seed(0)
    x = torch.randn(48, 4)
    ds = torch.utils.data.TensorDataset(x, (x.sum(1) > 0).long())
    dl = torch.utils.data.DataLoader(ds, 8, shuffle=True)
    learn = Learner(
        (dl, dl), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), n_groups=2, opt="sgd"
    )
    found = learn.find(n_steps=30)
    history = learn.fit(sgdr(3, 1), 0.1, progress=False)
    assert history.last["accuracy"] > 0.8 and found.lrs and learn.size is None


@pytest.mark.parametrize("classes", [None, ("a", "b", "c")])
def test_loaders_of_ones_own_and_a_network_by_name(classes):
    x = torch.randn(24, 3, 32, 32)
    ds = torch.utils.data.TensorDataset(x, torch.arange(24) % 3)
    if classes:
        ds.classes = classes
    dl = torch.utils.data.DataLoader(ds, 8)
    if classes is None:
        with pytest.raises(ValueError, match="n_classes is missing.*n_classes=..."):
            Learner((dl, dl), "resnet10", weights=None)
    else:
        with pytest.raises(ValueError, match="n_classes=5: the data has 3"):
            Learner((dl, dl), "resnet10", weights=None, n_classes=5)
    learn = Learner((dl, dl), "resnet10", weights=None, n_classes=None if classes else 3)
    assert learn.find(n_steps=10).lrs and learn.fit(sgdr(1, 1), 1e-3, progress=False).last["accuracy"] >= 0
    assert learn.model.head.linear.out_features == 3


def test_what_the_bar_says_of_the_whole_is_asked_with_the_part_done(data, monkeypatch):
    import lessonkit.train.learner as module

    said, bars = [], []
    monkeypatch.setattr(module, "progress_bar", lambda **options: bars.append(real(**options)) or bars[-1])
    real, parts = progress_bar, []

    def say(part):
        parts.append(part)
        said.append(f"{part:.0%}")
        return said[-1]

    learner(data).fit(sgdr(1, 2), 1e-3, progress=say)
    n = len(data.items("train")) // data.bs * 2
    assert parts == [(k + 1) / n for k in range(n)] and bars[0].postfix == "100%"


def test_other_losses_metrics_and_optimizers(data):
    made = []

    def opt(groups):
        made.append(torch.optim.RMSprop(groups, lr=1e-3))
        return made[-1]

    top2 = lambda logits, yb: (logits.topk(2).indices == yb[:, None]).any(1).float().mean()
    learn = learner(data, loss_fn=nn.CrossEntropyLoss(label_smoothing=0.1), metrics={"top2": top2}, opt=opt)
    history = learn.fit(sgdr(1, 1), 1e-3, progress=False)
    assert history.last["top2"] == 1.0 and "accuracy" not in history.last and made
    assert learn.metric == "top2" and learner(data, metrics={}).metric == "valid_loss"
    assert [ax.get_ylabel() for ax in history.plot(Figure().subplots(3))] == ["loss", "top2", "lr"]


def test_sizes_are_checked_before_a_weight_moves(data):
    flat = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 32 * 32, 2))
    learn = Learner(data, flat, n_groups=2)
    with pytest.raises(ValueError, match="no global pooling"):
        learn.resize(48)
    assert data.size == 32
    data.size = 48
    before = weights(learn)
    with pytest.raises(ValueError, match="no global pooling"):
        learn.fit(sgdr(1, 1), 1e-3, progress=False)
    assert same(before, weights(learn))
    learner(data).resize(64)
    assert data.size == 64


@pytest.mark.parametrize("named", [True, False])
def test_with_loaders_of_ones_own_what_is_known_is_saved(data, named, tmp_path):
    dls = data.train_dl(), data.valid_dl()
    batches = [torch.utils.data.TensorDataset(*map(torch.cat, zip(*dl))) for dl in dls]
    for dataset in batches if named else ():
        dataset.classes = ["blue", "red"]
    own = [torch.utils.data.DataLoader(dataset, 8) for dataset in batches]
    learn = Learner(own, "resnet10", weights=None, n_classes=2)
    learn.fit(sgdr(1, 1), 1e-3, progress=False)
    back, photo = load_model(learn.save(tmp_path / "run")), data.items("valid")[0].path
    assert back.classes == (("blue", "red") if named else ("0", "1")) and same(weights(back), weights(learn))
    for predict in (back.predict, learn.predict):
        with pytest.raises(ValueError, match=r"set size \(px\), mean, std and classes"):
            list(predict([photo]))
    back.size, back.mean, back.std = data.size, dls[1].mean, dls[1].std
    assert next(back.predict([photo])).confidence == pytest.approx(
        learn.get_preds().probs[0].max().item(), 1e-3
    )


def test_a_module_and_loaders_of_ones_own_are_saved(tmp_path):
    batches = [(torch.randn(4, 3), torch.tensor([0, 1, 0, 1]))] * 2
    learn = Learner((batches, batches), torch.nn.Linear(3, 2), n_groups=1)
    learn.fit(sgdr(1, 1), 1e-3, progress=False)
    assert load_model(learn.save(tmp_path), model=torch.nn.Linear(3, 2)).classes == ()


def test_save_load_and_predict_agree_with_validation(data, tmp_path):
    learn = learner(data)
    learn.fit(sgdr(1, 2), 1e-3, progress=False)
    learn.save(tmp_path / "run")
    assert sorted(os.listdir(tmp_path / "run")) == ["history.json", "model.json", "model.safetensors"]
    info = json.loads((tmp_path / "run" / "model.json").read_text())
    assert (info["arch"], info["classes"], info["size"]) == ("resnet10", ["blue", "red"], 32)
    back = load_model(tmp_path / "run")
    items = data.items("valid")
    predictions = list(back.predict([i.path for i in items], bs=3))
    answers = get_preds(learn.model, learn.valid_dl)
    assert [p.label for p in predictions] == [data.classes[k] for k in answers.predicted]
    probs = torch.tensor([list(p.probabilities.values()) for p in predictions])
    assert torch.allclose(probs, answers.probs, atol=1e-5)
    assert all(
        p.confidence == max(p.probabilities.values()) and abs(sum(p.probabilities.values()) - 1) < 1e-5
        for p in predictions
    )
    assert answers.accuracy == pytest.approx(learn.validate()["accuracy"])


def test_predicting_goes_on_past_files_that_are_no_pictures(data, tmp_path):
    (tmp_path / "x.jpg").write_text("no")
    good = paint(tmp_path / "y.png", (150, 20, 20), 5)
    learn = learner(data)
    bad, ok = learn.predict([tmp_path / "x.jpg", good])
    assert bad.label is None and "not a picture" in bad.error and ok.label in data.classes and not ok.error
    assert learn.predict([tmp_path / "x.jpg"])[0].error and learn.predict([]) == []


@pytest.mark.parametrize("case", ["nothing", "json", "weights", "other"])
def test_a_folder_that_holds_no_model_is_refused(data, tmp_path, case):
    run = learner(data).save(tmp_path / "run")
    if case == "nothing":
        run = tmp_path
    elif case == "json":
        (run / "model.json").write_text("{")
    elif case == "weights":
        (run / "model.safetensors").write_bytes(b"x" * 100)
    else:
        info = json.loads((run / "model.json").read_text())
        (run / "model.json").write_text(json.dumps(info | {"arch": "squeezenet1_1"}))
    with pytest.raises((ValueError, FileNotFoundError), match="holds no model|are no pair"):
        load_model(run)


def test_a_module_of_ones_own_is_loaded_by_passing_it(data, tmp_path):
    torch.manual_seed(0)
    make = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    learn = Learner(data, make(), n_groups=2)
    learn.save(tmp_path / "run")
    with pytest.raises(ValueError, match="pass it as model="):
        load_model(tmp_path / "run")
    back = load_model(tmp_path / "run", model=make())
    assert same(back.model.state_dict(), learn.model.state_dict())


@pytest.mark.parametrize(
    "options, word",
    [
        (dict(precision="fp8"), "precision='fp8'"),
        (dict(precision="fp16"), "needs a GPU"),
        (dict(device="cuda"), "no GPU"),
        (dict(opt="lion"), "opt='lion'"),
    ],
)
def test_bad_options_are_named(data, options, word):
    if "cuda" in options.values() and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError) as e:
        learner(data, **options).fit(sgdr(1, 1), 1e-3, progress=False)
    assert word in str(e.value)


def test_fit_needs_an_lr_from_somewhere(data):
    with pytest.raises(ValueError, match="fit needs an lr"):
        learner(data).fit(sgdr(1, 1))
    history = learner(data).fit(sgdr(1, 1, lr_max=1e-3), progress=False)
    assert history.lrs[0] == [1e-3] * 3


def test_bf16_on_the_cpu_trains(data):
    learn = learner(data, precision="bf16")
    history = learn.fit(sgdr(1, 2), 1e-3, progress=False)
    assert history.last["accuracy"] == 1.0 and {p.dtype for p in learn.model.parameters()} == {torch.float32}


def test_the_confusion_and_the_worst_are_numpys(data):
    learn = learner(data)
    answers = get_preds(learn.model, learn.valid_dl)
    oracle = np.histogram2d(answers.labels, answers.predicted, bins=2, range=((-0.5, 1.5), (-0.5, 1.5)))[0]
    assert confusion_matrix(answers, 2).tolist() == oracle.tolist()
    losses = -np.log(answers.probs.numpy()[np.arange(len(answers.labels)), answers.labels.numpy()])
    wrong = [k for k in np.argsort(-losses) if answers.predicted[k] != answers.labels[k]]
    assert most_wrong(answers, 5) == wrong[:5]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_learns_the_same_thing(data, precision, tmp_path):
    learn = learner(data, precision=precision, device="cuda")
    learn.find(n_steps=20)
    learn.fit(sgdr(2, 2), 1e-3, progress=False, checkpoint=tmp_path / "c.ckpt")
    assert learn.best.epoch["accuracy"] == 1.0
    learn.save(tmp_path / "run")
    assert load_model(tmp_path / "run").predict([data.items("valid")[0].path])


def one_update_an_epoch() -> Learner:
    "A learner that a far too high lr breaks in an update whose own loss is still a number."
    torch.manual_seed(0)
    x = torch.randn(8, 3, 16, 16)
    dl = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, (x.mean((1, 2, 3)) > 0).long()), 8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, 2))
    return Learner((dl, dl), net, n_groups=2, opt="sgd", device="cpu")


@pytest.mark.parametrize("n_cycles", [1, 3])
def test_what_the_last_update_breaks_is_seen_by_the_evaluation(n_cycles):
    learn = one_update_an_epoch()
    before = weights(learn)
    with pytest.raises(TrainingError, match="validation loss was nan after step 1"):
        learn.fit(sgdr(n_cycles, 1), 1e30, progress=False)
    assert same(before, weights(learn)) and learn.best is None and learn.history.ended == "failed"
    assert math.isfinite(learn.fit(sgdr(1, 1), 1e-2, progress=False).last["valid_loss"])


def test_what_breaks_in_the_first_epoch_after_a_resume_gives_back_what_was_resumed(tmp_path):
    learn, again, path = one_update_an_epoch(), one_update_an_epoch(), tmp_path / "run"
    for event in learn.run(sgdr(2, 1), 1e-2, checkpoint=path):
        if isinstance(event, CycleDone):
            break
    trained = weights(learn)
    again.loss_fn = lambda logits, yb: F.cross_entropy(logits, yb) * (math.nan if logits.requires_grad else 1)
    with pytest.raises(TrainingError):
        again.fit(sgdr(2, 1), 1e-2, checkpoint=path, resume=True, progress=False)
    assert same(trained, weights(again)) and again.history.lrs and again.best is not None
