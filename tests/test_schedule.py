"""Schedules against torch's own schedulers, and as properties."""

import itertools
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, OneCycleLR

from lessonkit.train.schedule import Schedule, one_cycle, sgdr, sweep


def optimizer(*lrs):
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs])


@pytest.mark.parametrize("t_0", [1, 2, 7, 50])
@pytest.mark.parametrize("t_mult", [1, 2, 3])
@pytest.mark.parametrize("eta_min", [0.0, 1e-4])
def test_sgdr_is_torchs_warm_restarts_at_every_step(t_0, t_mult, eta_min):
    schedule = sgdr(4, t_0, t_mult, lr_max=0.1, lr_min=eta_min)
    opt = optimizer(0.1)
    oracle = CosineAnnealingWarmRestarts(opt, t_0, t_mult, eta_min)
    for step in range(schedule.n_steps):
        assert schedule.at(step) == pytest.approx(opt.param_groups[0]["lr"], rel=1e-9, abs=1e-15), step
        opt.step(), oracle.step()


@pytest.mark.parametrize("n, pct_start", [(10, 0.3), (100, 0.3), (100, 0.1), (97, 0.5)])
def test_one_cycle_is_torchs(n, pct_start):
    schedule = one_cycle(1, pct_start, lr_max=0.5).with_steps(n)
    opt = optimizer(0.5)
    oracle = OneCycleLR(opt, 0.5, total_steps=n, pct_start=pct_start, cycle_momentum=False)
    peak = pct_start * n
    for step in range(n):
        if peak == int(peak):  # torch's peak may lie between two updates, ours is on one
            assert schedule.at(step) == pytest.approx(opt.param_groups[0]["lr"], rel=1e-9), step
        opt.step()
        if step < n - 1:
            oracle.step()
    assert max(schedule.lrs) == 0.5 and schedule.at(n - 1) == pytest.approx(0.5 / 25 / 1e4)


def test_the_scheduler_moves_every_group_and_keeps_the_ratios():
    opt = optimizer(1e-5, 1e-4, 1e-3)
    schedule = sgdr(2, 1, 2)
    scheduler = schedule.scheduler(opt, steps_per_epoch=8)
    bound = schedule.with_steps(8)
    for step in range(bound.n_steps):
        lrs = [g["lr"] for g in opt.param_groups]
        assert lrs == pytest.approx([base * bound.at(step) for base in (1e-5, 1e-4, 1e-3)], rel=1e-12)
        opt.step(), scheduler.step()


@pytest.mark.parametrize("stop", [1, 5, 12, 23])
def test_resuming_in_the_middle_of_a_cycle_changes_nothing(stop):
    def lrs(steps, scheduler, opt):
        seen = []
        for _ in range(steps):
            seen.append([g["lr"] for g in opt.param_groups])
            opt.step(), scheduler.step()
        return seen

    schedule = sgdr(3, 1, 2, lr_min=0.01).with_steps(6)
    opt = optimizer(0.1, 1.0)
    whole = lrs(schedule.n_steps, schedule.scheduler(opt), opt)
    opt = optimizer(0.1, 1.0)
    scheduler = schedule.scheduler(opt)
    first = lrs(stop, scheduler, opt)
    states = scheduler.state_dict(), opt.state_dict()
    later = optimizer(9.0, 9.0)
    resumed = schedule.scheduler(later)
    resumed.load_state_dict(states[0]), later.load_state_dict(states[1])
    assert first + lrs(schedule.n_steps - stop, resumed, later) == whole


def test_it_says_how_long_it_takes():
    schedule = sgdr(3, cycle_len=1, cycle_mult=2).with_steps(64)
    assert str(schedule) == "1+2+4 = 7 epochs, 448 updates"
    assert (schedule.n_epochs, schedule.n_steps, schedule.cycle_ends) == (7, 448, (64, 192, 448))
    assert [schedule.cycle_of(s) for s in (0, 63, 64, 191, 192, 447, 9999)] == [0, 0, 1, 1, 2, 2, 2]
    assert len(schedule.lrs) == 448


def test_warm_up_is_a_straight_line_before_the_first_cycle():
    schedule = sgdr(2, 1, warmup=0.5, lr_max=0.1, lr_start=0.02).with_steps(10)
    assert schedule.lrs[:6] == pytest.approx([0.02, 0.036, 0.052, 0.068, 0.084, 0.1])
    assert schedule.cycle_ends == (15, 25) and schedule.n_epochs == 2.5
    assert schedule.lrs[5:] == sgdr(2, 1, lr_max=0.1).with_steps(10).lrs


def test_past_its_end_it_stays_down():
    schedule = sgdr(2, 3, lr_max=1.0, lr_min=0.1)
    assert schedule.at(6) == schedule.at(600) == 0.1


def test_growing_doubles_what_is_left_only_while_training_loss_is_above():
    schedule = sgdr(3, 1, "auto")
    assert schedule.next_cycle(0, 0.5, 0.6) == schedule
    grown = schedule.next_cycle(0, 0.6, 0.5)
    assert grown.cycles == (1, 2, 2)
    assert grown.next_cycle(1, 0.6, 0.5).cycles == (1, 2, 4)
    assert sgdr(3, 1).next_cycle(0, 0.6, 0.5).cycles == (1, 1, 1)


@given(
    st.floats(1e-9, 1e-3),
    st.floats(1.5, 1e6),
    st.integers(2, 300),
    st.sampled_from(["exponential", "linear"]),
)
@settings(deadline=None)
def test_a_sweep_rises_evenly_from_end_to_end(low, ratio, n, mode):
    lrs = sweep(low, low * ratio, n, mode).lrs
    assert len(lrs) == n and lrs[0] == pytest.approx(low) and lrs[-1] == pytest.approx(low * ratio)
    gaps = [b / a if mode == "exponential" else b - a for a, b in itertools.pairwise(lrs)]
    assert max(gaps) == pytest.approx(min(gaps), rel=1e-3)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 3), st.integers(1, 40), st.floats(0, 2))
@settings(deadline=None)
def test_every_schedule_stays_within_its_bounds_and_survives_json(n, length, mult, steps, warmup):
    schedule = sgdr(n, length, mult, warmup=warmup, lr_max=0.3, lr_min=0.001).with_steps(steps)
    lrs = schedule.lrs
    assert len(lrs) == schedule.n_steps and all(0 <= lr <= 0.3 for lr in lrs)
    assert list(schedule.cycle_ends) == sorted(schedule.cycle_ends)
    assert Schedule.from_dict(json.loads(json.dumps(schedule.to_dict()))) == schedule


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: sgdr(0), "n_cycles=0"),
        (lambda: sgdr(2.5), "n_cycles=2.5"),
        (lambda: sgdr(1, 0), "cycle_len=0"),
        (lambda: sgdr(1, -1), "cycle_len=-1"),
        (lambda: sgdr(1, 1, 0.5), "cycle_mult=0.5"),
        (lambda: sgdr(1, 1, "grow"), "cycle_mult='grow'"),
        (lambda: sgdr(1, math.nan), "cycle_len=nan"),
        (lambda: sgdr(1, lr_max=0.1, lr_min=0.2), "lr_min=0.2"),
        (lambda: sgdr(40, 1, 3), "cycle_mult=3"),
        (lambda: sgdr(1, warmup=-1), "warmup=-1"),
        (lambda: one_cycle(0), "epochs=0"),
        (lambda: one_cycle(1, 1.0), "pct_start=1.0"),
        (lambda: sweep(0, 1), "lr_min=0"),
        (lambda: sweep(1, 1), "lr_max=1"),
        (lambda: sweep(n_steps=1), "n_steps=1"),
        (lambda: sweep(mode="cosine"), "mode='cosine'"),
        (lambda: sgdr(1).with_steps(0), "steps_per_epoch=0"),
        (lambda: sgdr(1).at(-1), "step=-1"),
        (lambda: Schedule("sine", (1,)), "shape='sine'"),
        (lambda: Schedule("cosine", ()), "cycles=()"),
        (lambda: Schedule.from_dict({"shape": "cosine"}), "not a schedule"),
    ],
)
def test_bad_input_is_named(make, word):
    with pytest.raises(ValueError, match=".*") as e:
        make()
    assert word in str(e.value)
