"""The loop against a hand-written one, its events, and the ways a run can end."""

import json
import math
import os
import signal
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lessonkit.evaluate import accuracy, evaluate
from lessonkit.train.history import History
from lessonkit.train.loop import CycleDone, StepDone, TrainingError, train_events
from lessonkit.train.optim import make_opt
from lessonkit.train.schedule import one_cycle, sgdr
from lessonkit.train.stop import OverfitWatch, StopRequest


def task(n=64, bs=16):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=g)
    y = (x.sum(1) > 0).long()
    return [(x[i : i + bs], y[i : i + bs]) for i in range(0, n, bs)]


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))


def events(model, schedule, **kw):
    opt = make_opt(model.parameters(), 0.05, "sgd")
    return train_events(model, task(), task(), opt, schedule.with_steps(4), **kw)


def test_it_computes_what_a_plain_loop_computes():
    plain, ours, schedule = net(), net(), sgdr(2, 2)
    torch.manual_seed(5)
    history = History()
    for event in events(ours, schedule):
        history.add(event)
    torch.manual_seed(5)
    opt = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01, fused=True)
    lrs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, 8)
    losses, valid = [], []
    for _ in range(4):
        plain.train()
        for xb, yb in task():
            loss = F.cross_entropy(plain(xb), yb)
            opt.zero_grad(), loss.backward(), opt.step(), lrs.step()
            losses.append(loss.item())
        plain.eval()
        with torch.no_grad():
            valid.append(torch.stack([F.cross_entropy(plain(xb), yb) for xb, yb in task()]).mean().item())
    assert history.losses == losses
    assert [e["valid_loss"] for e in history.epochs] == pytest.approx(valid, rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), ours.state_dict().values()))


def test_the_order_of_events():
    kinds = [type(e).__name__ for e in events(net(), sgdr(2, 1, 2))]
    epoch = ["StepDone"] * 4 + ["EpochDone"]
    assert kinds == [*epoch, "CycleDone", *epoch, *epoch, "CycleDone"]
    steps = [e.step for e in events(net(), sgdr(1, 2)) if isinstance(e, StepDone)]
    assert steps == list(range(1, 9))


def test_cycles_that_end_within_an_epoch_are_evaluated_where_they_end():
    seen = [(type(e).__name__, e.step) for e in events(net(), sgdr(2, 1.5)) if not isinstance(e, StepDone)]
    assert seen == [
        ("EpochDone", 4),
        ("EpochDone", 6),
        ("CycleDone", 6),
        ("EpochDone", 8),
        ("EpochDone", 12),
        ("CycleDone", 12),
    ]


def test_closing_the_stream_stops_after_the_update_in_flight():
    model = net()
    stream = events(model, sgdr(5, 1))
    for event in stream:
        if event.step == 6:
            break
    stream.close()
    before = [p.clone() for p in model.parameters()]
    assert len(list(stream)) == 0 and all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    model(torch.randn(2, 4)).sum().backward()  # it can be trained on


@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_loss_that_is_not_finite_stops_and_says_where(at):
    calls = []

    def loss_fn(logits, yb):
        calls.append(0)
        loss = F.cross_entropy(logits, yb)
        return loss * math.nan if len(calls) == at + (at > 4) * 4 else loss  # four calls are the evaluation's

    with pytest.raises(TrainingError, match=f"at step {at} with lr 0.0") as e:
        list(events(net(), sgdr(1, 2), loss_fn=loss_fn))
    assert "lower lr" in str(e.value)


def test_growing_cycles_follow_the_losses_of_the_run():
    model = net()
    history = History()
    stream = train_events(
        model,
        task(),
        [(xb, yb) for xb, yb in task()],
        make_opt(model.parameters(), 0.02),
        sgdr(3, 1, "auto").with_steps(4),
    )
    cycles = []
    for event in stream:
        history.add(event)
        if isinstance(event, CycleDone):
            cycles.append((history.last["train_loss"] > history.last["valid_loss"], event.schedule.cycles))
    length = [1, 1, 1]
    for k, (above, got) in enumerate(cycles):
        if above:
            length[k + 1 :] = [2 * length[k]] * (2 - k)
        assert got == tuple(length)
    assert any(above for above, _ in cycles), "dropout keeps the training loss above: cycles must have grown"
    assert len(history.losses) == 4 * sum(length) and history.cycle_ends == [
        4 * sum(length[: k + 1]) for k in range(3)
    ]


def test_mean_losses_weigh_pictures_not_batches():
    logits, y = torch.randn(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    loss, values = evaluate(
        nn.Identity(), [(logits[:5], y[:5]), (logits[5:], y[5:])], metrics={"a": accuracy}
    )
    assert loss == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-6)
    assert values["a"] == pytest.approx((logits.argmax(1) == y).sum().item() / 7)
    with pytest.raises(ValueError, match="no batches"):
        evaluate(nn.Identity(), [])
    with pytest.raises(ValueError, match="no batches"):
        list(train_events(net(), [], task(), make_opt(net().parameters()), sgdr(1)))


def test_a_history_survives_json_and_refuses_the_rest(tmp_path):
    history = History(sgdr(1, 2).with_steps(4), 64)
    for event in events(net(), sgdr(1, 2)):
        history.add(event)
    history.save(tmp_path / "h.json")
    back = History.load(tmp_path / "h.json")
    assert back == history and str(back) == str(history) and "accuracy" in str(back)
    history.losses[0] = math.nan
    history.save(tmp_path / "h.json")
    assert json.loads((tmp_path / "h.json").read_text())["losses"][0] is None
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(ValueError, match="holds no history"):
        History.load(tmp_path / "bad.json")


def test_overfitting_is_validation_up_while_training_goes_down():
    def stops(pairs, patience):
        watch = OverfitWatch(patience)
        return next((k for k, pair in enumerate(pairs) if watch.cycle_ended(*pair)), None)

    down_up = [(1.0, 1.0), (0.8, 0.9), (0.6, 0.95), (0.5, 0.99), (0.4, 1.1)]
    assert (
        stops(down_up, 1) == 2
        and stops(down_up, 2) == 3
        and stops(down_up, 3) == 4
        and stops(down_up, 4) is None
    )
    assert stops([(1.0, 1.0), (1.1, 1.2), (1.2, 1.4)], 1) is None  # both rise: the lr, not overfitting
    assert stops([(1.0, 1.0), (0.9, 1.1), (0.8, 0.9), (0.7, 1.0)], 2) is None  # a new best in between
    assert stops([(1.0, 1.0), (0.9, 0.8), (0.8, 0.7)], 1) is None


def test_one_interrupt_asks_and_two_insist():
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    done = []

    def elsewhere():
        with StopRequest() as stop:  # no signals in another thread: it must not fail
            stop.ask()
            done.append(stop.asked)

    thread = threading.Thread(target=elsewhere)
    thread.start(), thread.join()
    assert done == [True]


@pytest.mark.parametrize(
    "schedule", [sgdr(3, 1, 2), sgdr(2, 1.5, warmup=0.5), one_cycle(3), sgdr(2, 2, lr_min=0.1)]
)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_lrs_of_the_loop_are_those_of_torchs_scheduler_to_the_bit(schedule, as_tensor):
    def make(model):
        kind = (lambda lr: torch.tensor(lr, dtype=torch.float64)) if as_tensor else float
        return torch.optim.AdamW(
            [{"params": model[k].parameters(), "lr": kind(lr)} for k, lr in ((0, 1e-3), (4, 3e-2))],
            foreach=False,
        )

    schedule, model = schedule.with_steps(4), net()
    opt = make(model)
    held = [g["lr"] for g in opt.param_groups]
    seen = [e.lrs for e in train_events(model, task(), task(), opt, schedule) if isinstance(e, StepDone)]
    other = make(net())
    scheduler, wanted = schedule.scheduler(other), []
    for _ in range(schedule.n_steps):
        wanted.append(tuple(float(g["lr"]) for g in other.param_groups))
        other.step(), scheduler.step()
    assert seen == wanted
    assert not as_tensor or all(a is g["lr"] for a, g in zip(held, opt.param_groups))


def test_what_a_killed_writer_left_is_taken_away_by_the_next(tmp_path):
    from lessonkit.basics import write_whole

    old, young, own = (tmp_path / n for n in (".a[1].json.x1.part", ".a[1].json.x2.part", ".a[1].json.mine"))
    for path in (old, young, own):
        path.write_bytes(b"x" * 100)
    os.utime(old, (0, 0)), os.utime(own, (0, 0))
    write_whole(tmp_path / "a[1].json", {"lr": 1})
    assert young.exists() and own.exists() and not old.exists()
