"""The widgets with no front end: what they hold, what they do to a learner, what a saved notebook gets; their
JavaScript against the Python that it mirrors."""

import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import guesses, paint
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from traitlets import TraitError

from lessonkit.evaluate import Predictions
from lessonkit.images.augment import PRESETS
from lessonkit.images.data import ImageData
from lessonkit.plot import format_lr, loss_limits, metric_limits
from lessonkit.train.history import History
from lessonkit.train.learner import Learner
from lessonkit.train.loop import TrainingError
from lessonkit.train.optim import spread_lrs
from lessonkit.train.schedule import sgdr
from lessonkit.train.suggest import LRFind
from lessonkit.widgets import (
    AugmentPreview,
    Bet,
    LayerGroups,
    LRPicker,
    Replay,
    Results,
    ScheduleExplorer,
    TrainMonitor,
)
from lessonkit.widgets.base import page_html, pages_html, read_esm, read_static
from lessonkit.widgets.replay import run_state
from lessonkit.widgets.results import _result_state

ROOT = Path(__file__).parents[1]
JS, STATIC = ROOT / "tests" / "js", ROOT / "lessonkit" / "widgets"
FILES = [
    "lr_picker.js",
    "schedule_explorer.js",
    "layer_groups.js",
    "augment_preview.js",
    "train_monitor.js",
    "replay.js",
    "results.js",
    "bet.js",
]
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="needs node")


@pytest.fixture
def learn(colours):
    return Learner(ImageData(colours, size=32, bs=8, progress=False), "resnet10", weights=None)


@pytest.fixture(scope="module")
def found() -> LRFind:
    lrs = np.logspace(-7, 1, 100)
    losses = (
        2
        - 1.2 / (1 + (3e-3 / lrs) ** 1.5)
        + 30 * np.maximum(0, lrs - 0.3)
        + np.random.default_rng(0).normal(0, 0.02, 100)
    )
    return LRFind(tuple(lrs), tuple(losses), stopped="diverged")


def state_of(learn):
    return {k: v.clone() for k, v in learn.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# the JavaScript


@needs_node
def test_the_parts_that_draw_nothing():
    done = subprocess.run(["node", "--test", str(JS)], capture_output=True, text=True)
    assert done.returncode == 0 and re.search(r"# pass (\d+)", done.stdout)[1] != "0", done.stdout[-3000:]


def node(script: str, value):
    "What a script makes of `value`; it sees the static files as modules in `at`."
    code = (
        "const value = JSON.parse(require('fs').readFileSync(0)); (async () => {"
        f"const at = (f) => import('file://{STATIC}/' + f);"
        f"console.log(JSON.stringify(await (async () => {{ {script} }})())); }})();"
    )
    done = subprocess.run(["node", "-e", code], input=json.dumps(value), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_the_explorers_lr_is_the_schedules():
    rng, cases = np.random.default_rng(0), []
    for _ in range(60):
        args = [int(rng.integers(1, 6)), float(rng.choice([0.5, 1, 2, 3])), float(rng.choice([1, 1.5, 2, 3]))]
        warmup, per_epoch, low = (
            float(rng.choice([0, 0.1, 0.25, 0.5, 1])),
            int(rng.integers(1, 60)),
            float(rng.choice([0, 0.01])),
        )
        cases.append([*args, warmup, per_epoch, low])
    found = node(
        "const m = await at('schedule_explorer.js'); return value.map(([n, length, mult, warmup, "
        "per, low]) => {const b = m.bounds(m.cycles(n, length, mult), warmup, per);"
        "return [b, Array.from({length: b.at(-1)}, (_, k) => m.lrAt(k, b, 0.1, 0.1 * low))]; });",
        cases,
    )
    for (n, length, mult, warmup, per_epoch, low), (edges, lrs) in zip(cases, found):
        schedule = sgdr(n, length, mult, warmup=warmup, lr_max=0.1, lr_min=0.1 * low).with_steps(per_epoch)
        assert tuple(edges) == schedule.bounds
        np.testing.assert_allclose(lrs, schedule.lrs, rtol=1e-9, atol=1e-12)


@needs_node
def test_numbers_and_limits_are_pythons():
    rng = np.random.default_rng(1)
    lrs = [0.0, 1.0, 0.001, *(10 ** rng.uniform(-9, 2, 300)).tolist()]
    curves = [rng.normal(2, 0.3, 40).tolist() for _ in range(20)]
    shown, limits, spread = node(
        "const k = await at('numbers.js'), p = await at('lr_picker.js'), l = await "
        "at('layer_groups.js');return [value[0].map(k.formatLr), "
        "value[1].map(p.lossLimits), [1, 3, 10].map((f) => l.spread(0.01, 4, f))];",
        [lrs, curves],
    )
    ours = [format_lr(lr) for lr in lrs]
    assert all(
        a == b or math.isclose(float(a), float(b), rel_tol=0.02) for a, b in zip(shown, ours)
    ) and shown[:3] == ["0", "1", "0.001"]
    np.testing.assert_allclose(limits, [loss_limits(c) for c in curves])
    np.testing.assert_allclose(spread, [spread_lrs(0.01, 4, f) for f in (1, 3, 10)])


metric_values = st.lists(
    st.one_of(st.floats(0, 1), st.floats(-50, 5000), st.just(math.nan)).map(lambda v: round(v, 4)), max_size=9
)


@needs_node
def test_a_metrics_axis_is_pythons():
    rng = np.random.default_rng(0)
    spans = [(a, a + width) for a in (0, 0.5, 0.9, -3, 40) for width in (0.001, 0.05, 0.1, 0.4, 1, 60)]
    cases = [rng.uniform(low, high, rng.integers(1, 9)).tolist() for low, high in spans for _ in range(5)]
    cases += [[], [0.9825, 0.985], [0.0, 1.0], [1.0], [0.0], [math.nan], [0.5, math.nan, 0.9]]
    sent = [[None if math.isnan(v) else v for v in values] for values in cases]
    found = node("const m = await at('run.js'); return value.map((v) => m.metricLimits(v));", sent)
    np.testing.assert_allclose(found, list(map(metric_limits, cases)), atol=1e-12)


@given(metric_values)
def test_a_metrics_axis_makes_no_cliff_of_one_picture(values):
    low, high = metric_limits(values)
    known = [v for v in values if math.isfinite(v)]
    assert all(low <= v <= high for v in known)
    assert high - low >= 0.1 * max(1, *map(abs, known), 1) - 1e-9  # 1 of 400 is a fortieth of it
    if known and min(known) >= 0 and max(known) <= 1:
        assert low >= -0.06 and high <= 1.06


def test_the_axis_is_that_of_the_picture():
    epochs = [dict(step=k, train_loss=1, valid_loss=1, accuracy=v) for k, v in ((1, 0.9825), (2, 0.985))]
    history = History(sgdr(1, 2).with_steps(1), 32, [1.0, 1.0], [[1e-3]] * 2, epochs, [2])
    from matplotlib.figure import Figure

    assert history.plot(Figure().subplots(3))[1].get_ylim() == pytest.approx(metric_limits([0.9825, 0.985]))


def test_several_widgets_of_one_page_share_what_they_can(learn, found):
    history = learn.fit(sgdr(1, 1), lr=1e-3, progress=False)
    pieces = [w.piece() for w in (LRPicker(found), Replay(history), LRPicker(found, lr=1e-4))]
    places, shared = pages_html(pieces)
    assert len(places) == len(set(places)) == 3 and all(p.count("<img") == 1 for p in places)
    assert shared.count("<style>") == shared.count("</script>") == 1
    assert shared.count("function sweepPlot(") == shared.count("function player(") == 1
    assert '"lr":0.0001' in shared
    assert len(shared) < 0.75 * sum(len(page_html(*piece)) - len(piece[2]) for piece in pieces)


@pytest.mark.parametrize("name", FILES)
def test_one_module_a_widget(name, tmp_path):
    esm = read_esm(name)
    assert (
        not re.search(r"^import ", esm, re.M)
        and esm.count("export default") == 1
        and "http://www.w3.org/2000/svg" in esm
    )
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", esm)
    if shutil.which("node"):
        (tmp_path / "one.mjs").write_text(esm)
        done = subprocess.run(["node", "--check", str(tmp_path / "one.mjs")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_oxlint_has_nothing_to_say():
    oxlint = Path(sys.executable).with_name("oxlint")
    command = [oxlint, "--deny-warnings", "-c", ROOT / ".oxlintrc.json", STATIC, JS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    "path", [*STATIC.glob("*.js"), *STATIC.glob("*.css"), *JS.glob("*")], ids=lambda p: p.name
)
def test_a_line_fits_beside_another(path):
    long = [k for k, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 110]
    assert not long, f"{path.name}: lines {long} have more than 110 characters"


# what a saved notebook gets


def every_widget(learn, found):
    history = learn.fit(sgdr(1, 1), lr=1e-3, progress=False)
    return [
        LRPicker(found, learn),
        ScheduleExplorer(learn),
        LayerGroups(learn),
        AugmentPreview(learn.data),
        TrainMonitor(learn),
        Replay(history),
        Results(learn),
        Bet("Which?", ["A", "B"]),
    ]


def test_each_is_also_a_picture_and_a_page(learn, found, tmp_path):
    for widget in every_widget(learn, found):
        data, _metadata = widget._repr_mimebundle_()
        assert {"image/png", "text/html", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(
            data
        )
        (tmp_path / "a.png").write_bytes(data["image/png"])
        assert min(Image.open(tmp_path / "a.png").size) > 60
        page = data["text/html"]
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page) and page.count("</script>") == 1
        assert isinstance(widget, AugmentPreview) or len(page) <= 60_000, (type(widget).__name__, len(page))
        assert data["text/plain"].startswith(type(widget).__name__)
        json.dumps(widget.page_state())
        assert widget.save_html(tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_the_previews_page_stays_small():
    preview = AugmentPreview(ImageData("sample:top_down", size=64, augment="top_down", progress=False))
    assert len(preview.to_html()) < 100_000


def test_a_name_from_a_folder_is_no_html(colours):
    evil = colours / "<script>alert(1)<"
    (colours / "red").rename(evil)
    page = AugmentPreview(ImageData(colours, size=32, progress=False)).to_html()
    assert "<script>alert(1)" not in page.replace(
        page[page.index('<script type="module">') : page.rindex("</script>")], ""
    )
    assert page.count("</script>") == 1


# LRPicker


def test_the_choice_is_a_value(found):
    picker = LRPicker(found)
    assert picker.lr == found.lr and not picker.can_try
    picker.set_state({"lr": 0.0031})
    assert picker.lr == 0.0031 and format_lr(0.0031) in repr(picker)
    for bad in (0, -1.0, math.nan):
        with pytest.raises(TraitError):
            picker.lr = bad
    with pytest.raises(TraitError, match="lr=-1"):
        LRPicker(found, lr=-1.0)


def test_each_smoothing_has_its_rules(found):
    picker = LRPicker(found)
    assert [c["smooth"] for c in picker.curves] == sorted(
        c["smooth"] for c in picker.curves
    ) and picker.found == found
    for level, curve in enumerate(picker.curves):
        picker.set_state({"level": level})
        assert (
            picker.found.suggestions == curve["suggestions"]
            and list(picker.found.smoothed) == curve["smoothed"]
        )


def test_a_curve_without_an_answer_can_be_picked_from():
    flat = LRFind((1e-4, 1e-3, 1e-2), (2.0, 2.0, 2.0), n_steps=3)
    picker = LRPicker(flat)
    assert picker.lr == 1e-3 and picker.curves[3]["suggestions"] == {}
    picker._repr_mimebundle_()


def test_trying_changes_nothing(learn, found):
    learn.fit(sgdr(1, 1), lr=1e-3, progress=False)
    torch.manual_seed(5)
    before, rng, epoch = state_of(learn), torch.get_rng_state(), learn.train_dl.epoch
    seen = []
    picker = LRPicker(found, learn, lr=1e-3, try_steps=4)
    picker.observe(lambda change: seen.append(change["new"]), "trial")
    picker.set_state({"asked": 1})
    picker._trial.join(60)
    assert (
        same(before, state_of(learn))
        and torch.equal(rng, torch.get_rng_state())
        and learn.train_dl.epoch == epoch
    )
    runs = picker.trial["runs"]
    assert [r["lr"] for r in runs] == pytest.approx([1e-4, 1e-3, 1e-2]) and all(
        len(r["losses"]) == 4 for r in runs
    )
    assert len({r["losses"][0] for r in runs}) == 1 and len({r["losses"][-1] for r in runs}) == 3
    assert not picker.trial["running"] and len(seen) >= 4 and seen[0]["running"]


def test_what_goes_wrong_in_a_trial_is_said(learn, found):
    picker = LRPicker(found, learn, try_steps=2)
    learn.loss_fn = lambda logits, yb: 1 / 0
    picker.set_state({"asked": 1})
    picker._trial.join(60)
    assert "division" in picker.trial["message"] and not picker.trial["running"]


def test_a_trial_ends_where_the_loss_does(learn):
    before = state_of(learn)
    losses = list(learn.trial(1e30, 10))
    assert not math.isfinite(losses[-1]) and len(losses) < 10 and same(before, state_of(learn))
    some = learn.trial(1e-3, 10)
    next(some)
    some.close()
    assert same(before, state_of(learn)) and all(p.grad is None for p in learn.model.parameters())


def test_a_trial_waits_for_a_fit_and_can_be_given_up(learn, found):
    picker, states = LRPicker(found, learn, try_steps=2), []
    picker.observe(lambda change: states.append(change["new"]), "trial")
    with learn.lock:  # as a fit holds it
        picker.set_state({"asked": 1})
        while not picker.trial.get("waiting"):
            time.sleep(0.005)
        picker.set_state({"cancelled": 1})
        picker._trial.join(60)
    assert picker.trial == {
        "n_steps": 2,
        "message": "given up",
        "runs": states[-1]["runs"],
        "running": False,
    } | {"asked": 1}
    picker.set_state({"asked": 2})
    picker._trial.join(60)
    assert [len(r["losses"]) for r in picker.trial["runs"]] == [2, 2, 2] and picker.trial["asked"] == 2


def test_a_trial_that_is_given_up_leaves_no_trace(learn, found):
    before, picker = state_of(learn), LRPicker(found, learn, try_steps=1000)
    picker.set_state({"asked": 1})
    while not any(r["losses"] for r in picker.trial["runs"]):
        time.sleep(0.005)
    picker.set_state({"cancelled": 1})
    picker._trial.join(60)
    assert picker.trial["message"] == "given up" and len(picker.trial["runs"][0]["losses"]) < 1000
    assert same(before, state_of(learn))


# one lr in several widgets


def test_widgets_share_one_lr(learn, found):
    picker = LRPicker(found)
    panel = LayerGroups(learn, lr=picker, factor=10)
    explorer = ScheduleExplorer(learn, lr=panel)
    assert panel.lrs[-1] == explorer.lr_max == picker.lr == found.lr
    picker.set_state({"lr": 0.002})
    assert panel.lrs == pytest.approx([2e-5, 2e-4, 2e-3]) and explorer.schedule.lr_max == 0.002
    explorer.set_state({"lr_max": 0.005})
    assert picker.lr == panel.lr == 0.005 and panel.lrs[0] == pytest.approx(5e-5)
    for bad in ("auto", Bet("Which?", ["A", "B"])):
        with pytest.raises((TypeError, ValueError), match="lr="):
            LayerGroups(learn, lr=bad)


def test_the_explorer_stays_on_its_curve_whatever_lr_fit_was_given(learn):
    explorer, seen = ScheduleExplorer(learn, 2, 1, 1, lr_max=0.1), []
    look = lambda change: seen.append((explorer.following, explorer.run_lr, explorer.now, explorer.step))
    explorer.observe(look, "step")
    learn.fit(explorer.schedule, lr=[1e-5, 1e-4, 1e-3], progress=False)
    following, run_lr, now, step = seen[0]
    assert following and run_lr == pytest.approx(1e-3)
    assert now == pytest.approx(run_lr * explorer.schedule.factor(step - 1))
    assert explorer.lr_max == 0.1 and explorer.run_lr == 0


# what someone mistakes for something else


@pytest.mark.parametrize(
    "make, hint",
    [
        (lambda learn: LRPicker(learn), "LRPicker takes LRFind, not Learner: LRPicker(learn.find(), learn)"),
        (lambda learn: TrainMonitor(learn.data), "TrainMonitor takes Learner, not ImageData"),
        (lambda learn: LayerGroups(learn.data), "LayerGroups takes Learner, not ImageData"),
        (lambda learn: ScheduleExplorer(3), "ScheduleExplorer takes Learner, not 3"),
        (lambda learn: AugmentPreview(learn), "AugmentPreview takes ImageData, not Learner"),
        (lambda learn: Replay(learn), "Replay takes History or str or Path, not Learner"),
    ],
)
def test_the_wrong_thing_is_answered_with_the_right_line(learn, make, hint):
    with pytest.raises(TypeError, match=re.escape(hint)):
        make(learn)


# ScheduleExplorer


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 8),
    st.sampled_from([0.5, 1, 2, 5]),
    st.sampled_from([1, 1.5, 2, 3]),
    st.sampled_from([0, 0.25, 1]),
    st.floats(1e-6, 1),
    st.sampled_from([0, 0.01, 0.1]),
    st.booleans(),
)
def test_the_explorers_schedule_is_what_it_shows(n, length, mult, warmup, lr, floor, grow):
    explorer = ScheduleExplorer()
    explorer.set_state(
        dict(n_cycles=n, cycle_len=length, cycle_mult=mult, warmup=warmup, lr_max=lr, floor=floor, grow=grow)
    )
    assert explorer.schedule == sgdr(
        n, length, "auto" if grow else mult, warmup=warmup, lr_max=lr, lr_min=lr * floor
    ).with_steps(100)


def test_the_explorer_follows_its_own_schedule(learn):
    explorer = ScheduleExplorer(learn, 2, 1, 1, lr_max=1e-3)
    assert explorer.steps_per_epoch == len(learn.train_dl)
    seen = []
    explorer.observe(lambda change: seen.append((explorer.following, explorer.step, explorer.now)), "step")
    learn.fit(explorer.schedule, progress=False)
    assert seen[0] == (True, 1, pytest.approx(1e-3)) and seen[-1][:2] == (False, -1)
    seen.clear()
    learn.fit(sgdr(1, 1), lr=1e-3, progress=False)
    assert not any(following for following, *_ in seen)
    assert ScheduleExplorer(learn).seconds_per_epoch == learn.history.epochs[-1]["seconds"]
    with pytest.raises(ValueError, match="n_cycles"):
        ScheduleExplorer(learn, 0)


# LayerGroups


def test_the_panels_switches_freeze_the_layers(learn):
    panel = LayerGroups(learn, 1e-3, 10)
    assert (
        panel.lrs == pytest.approx([1e-5, 1e-4, 1e-3])
        and panel.frozen_to == 0
        and panel.norms[0] == "trained"
    )
    panel.set_state({"frozen_to": 2})
    assert [any(p.requires_grad for p in g.params) for g in learn.groups] == [
        False,
        False,
        True,
    ] and panel.norms[0] == "frozen"
    learn.unfreeze()
    panel.refresh()
    assert panel.frozen_to == 0
    panel.set_state({"lrs": [1e-6, 1e-4, 1e-3]})
    learn.fit(sgdr(1, 1), lr=panel.lrs, progress=False)
    assert learn.history.lrs[0] == pytest.approx([1e-6, 1e-4, 1e-3])


def test_the_panel_follows_a_run_and_then_rests(learn):
    panel, seen = LayerGroups(learn), []
    panel.observe(lambda change: seen.append((panel.busy, list(panel.now))), "now")
    learn.freeze_to(1)
    learn.fit(sgdr(1, 1), lr=panel.lrs, progress=False)
    assert seen[0][0] and seen[0][1] == pytest.approx([0.0, *panel.lrs[1:]]) and panel.frozen_to == 1
    assert panel.now == [] and not panel.busy


# AugmentPreview


def test_the_preview_shows_what_training_gets(colours):
    data = ImageData(colours, size=32, augment="top_down", progress=False)
    preview = AugmentPreview(data, n=4)
    assert (
        preview.preset == "top_down"
        and preview.labels == ["blue", "blue", "red", "red"]
        and preview.augment == PRESETS["top_down"]
    )
    tiles = preview.pictures("top_down", 1, 32)
    assert (
        tiles.shape == (3, 4, 32, 32, 3)
        and tiles.dtype == np.uint8
        and not np.array_equal(tiles[0], tiles[1])
    )
    np.testing.assert_array_equal(tiles, preview.pictures("top_down", 1, 32))
    plain = preview.pictures("none", 1, 32)
    assert np.array_equal(plain[0], plain[1]) and np.array_equal(plain[0], tiles[0])
    preview.set_state({"strength": 2.0, "seed": 3})  # one message, so one sheet
    assert len(preview.sheets) == 2 and preview.augment.rotate == 20 and "top_down|2|32|3" in preview.sheets
    for k in range(40):
        preview.set_state({"seed": k + 10})
    assert len(preview.sheets) <= 21 and preview.sheets["top_down|2|32|49"].startswith(
        "data:image/jpeg;base64,"
    )


# TrainMonitor and Replay


def test_a_bet_needs_answers_that_differ_and_an_outcome_among_them():
    for options in (["A"], ["A", "A"], list("ABCDEFG")):
        with pytest.raises(ValueError, match="2 to 6"):
            Bet("Which?", options)
    bet = Bet("Which?", ["A", "B"])
    with pytest.raises(TraitError, match="one of A, B"):
        bet.chosen = "C"
    with pytest.raises(ValueError, match="one of A, B"):
        bet.reveal("C")
    assert (
        bet.reveal("A", "Because.") is bet
        and (bet.outcome, bet.why) == ("A", "Because.")
        and "what happened: A" in repr(bet)
    )


def test_a_monitored_run_is_the_same_run(colours):
    runs = []
    for watched in (False, True):
        learn = Learner(ImageData(colours, size=32, bs=8, progress=False), "resnet10", weights=None)
        if watched:
            monitor, *_ = TrainMonitor(learn), LayerGroups(learn), ScheduleExplorer(learn)
        history = learn.fit(sgdr(2, 1), lr=1e-3, progress=False)
        runs.append((history.losses, state_of(learn)))
    assert runs[0][0] == runs[1][0] and same(runs[0][1], runs[1][1])
    assert (
        monitor.state == "done"
        and monitor.run["step"] == monitor.run["n_steps"] == len(runs[0][0])
        and monitor.run["left"] == 0
    )
    assert [e["accuracy"] for e in monitor.run["epochs"]] == [e["accuracy"] for e in history.epochs]


def later(f, ready):
    "Call `f` in another thread, as a kernel's listening thread does, as soon as `ready()`."

    def wait():
        while not ready():
            time.sleep(0.005)
        f()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_stop_ends_the_run_and_the_learner_stays_usable(learn):
    monitor = TrainMonitor(learn)
    later(
        lambda: monitor.set_state({"command": {"what": "stop", "id": "a"}}), lambda: monitor.run["step"] > 12
    )
    history = learn.fit(sgdr(400, 1), lr=1e-3, progress=False)
    assert 12 < len(history.losses) < 400 * len(learn.train_dl) and "interrupted" in history.stopped
    assert monitor.heard == "a" and monitor.state == "stopped" and monitor.message == history.stopped
    assert learn.best is not None and learn.restore_best()
    assert len(learn.fit(sgdr(1, 1), lr=1e-3, progress=False).epochs) == 1 and monitor.state == "done"


def test_pause_waits_until_someone_says_go(learn):
    monitor, states = TrainMonitor(learn), []
    monitor.observe(lambda change: states.append(change["new"]), "state")
    later(
        lambda: monitor.set_state({"command": {"what": "pause", "id": "a"}}), lambda: monitor.run["step"] > 3
    )
    later(
        lambda: monitor.set_state({"command": {"what": "go", "id": "b"}}), lambda: monitor.state == "paused"
    )
    history = learn.fit(sgdr(6, 1), lr=1e-3, progress=False)
    assert states == ["running", "paused", "running", "done"] and len(history.losses) == 6 * len(
        learn.train_dl
    )


def test_stop_ends_a_pause(learn):
    monitor = TrainMonitor(learn)
    later(
        lambda: monitor.set_state({"command": {"what": "pause", "id": "a"}}), lambda: monitor.run["step"] > 3
    )
    later(
        lambda: monitor.set_state({"command": {"what": "stop", "id": "b"}}), lambda: monitor.state == "paused"
    )
    history = learn.fit(sgdr(100, 1), lr=1e-3, progress=False)
    assert "interrupted" in history.stopped and monitor.state == "stopped"


def test_a_run_that_breaks_says_so(learn):
    monitor = TrainMonitor(learn)
    with pytest.raises(TrainingError):
        learn.fit(sgdr(1, 1), lr=1e30, progress=False)
    assert monitor.state == "stopped" and "loss was" in monitor.message


def test_rates_set_from_python_spread_and_those_of_one_group_stay(learn):
    panel = LayerGroups(learn, lr=1e-3, factor=3)
    panel.factor = 10
    assert panel.lrs == pytest.approx([1e-5, 1e-4, 1e-3])
    panel.lr = 5e-3
    assert panel.lrs == pytest.approx([5e-5, 5e-4, 5e-3])
    panel.set_state({"lrs": [5e-5, 2e-4, 1e-3], "lr": 1e-3})  # the page's slider of the head alone
    assert panel.lrs == [5e-5, 2e-4, 1e-3] and panel.lr == 1e-3
    panel.set_state({"lr": 2e-3, "factor": 2.0, "lrs": [5e-4, 1e-3, 2e-3]})
    assert panel.lrs == pytest.approx([5e-4, 1e-3, 2e-3])


def test_a_learner_has_one_monitor(learn):
    old, new = TrainMonitor(learn), TrainMonitor(learn)
    learn.fit(sgdr(1, 1), lr=1e-3, progress=False)
    assert learn.watchers == [new] and old.state == "idle" and new.state == "done"
    assert "Another monitor" in old.message and not new.message
    panel, explorer = LayerGroups(learn), ScheduleExplorer(learn)
    panel = LayerGroups(learn)
    assert learn.watchers == [new, explorer, panel]


def test_long_runs_travel_in_few_points():
    history = History(sgdr(4, 1, 2).with_steps(1000))
    n = history.schedule.n_steps
    history.losses = np.random.default_rng(0).normal(1, 0.1, n).tolist()
    history.lrs = [[f / 9, f / 3, f] for f in map(history.schedule.factor, range(n))]
    run = run_state(history, ["a", "b", "c"], 300)
    assert len(run["losses"]) == 300 and len(json.dumps(run)) < 40_000
    parts = np.array_split(np.array(history.losses), 300)
    np.testing.assert_allclose(run["losses"], [p.mean() for p in parts], rtol=0.02)
    assert set(history.schedule.bounds[:-1]) <= {step - 1 for step, _ in run["plan"]}
    assert all(
        run["lrs"][2][k] == pytest.approx(history.lrs[step - 1][2], rel=1e-4)
        for k, step in enumerate(run["lr_steps"])
    )
    history.losses[5] = math.nan
    assert run_state(history)["losses"][0] is None


def test_a_recorded_run_replays(learn, tmp_path):
    history = learn.fit(sgdr(2, 1), lr=1e-3, progress=False)
    replay = Replay(history.save(tmp_path / "h.json"), [g.name for g in learn.groups])
    assert replay.step == len(history.losses) and replay.run["groups"] == [g.name for g in learn.groups]
    with pytest.raises(ValueError, match="nothing to replay"):
        Replay(History())
    assert "Replay" in repr(replay) and read_static("kit.css").count("{") > 10


# Results


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    "Five classes of 12 pictures, each class of a grey of its own."
    root = tmp_path_factory.mktemp("zoo")
    for c in range(5):
        for k in range(12):
            paint(root / f"c{c}" / f"{k:02}.png", (40 * c,) * 3, 100 * c + k)
    return root


@pytest.fixture(scope="module")
def zoo_learn(zoo):
    return Learner(ImageData(zoo, size=32, valid=0.5, progress=False), "resnet10", weights=None)


@pytest.fixture
def results(zoo_learn):
    return Results(zoo_learn, guesses(zoo_learn.data))


def sheet_of(opened: dict) -> list[np.ndarray]:
    "The pictures that are cut out of a sheet."
    raw = base64.b64decode(opened["sheet"].removeprefix("data:image/webp;base64,"))
    whole, size = np.asarray(Image.open(io.BytesIO(raw))), opened["size"]
    places = [divmod(k, opened["columns"]) for k in range(len(opened["pictures"]))]
    assert whole.shape[:2] == tuple(n * (size + 2) - 2 for n in (opened["rows"], opened["columns"]))
    return [whole[r * (size + 2) :, c * (size + 2) :][:size, :size] for r, c in places]


def test_classes_are_counted_as_by_hand():
    labels, said = [0, 0, 0, 1, 1, 3], [0, 1, 0, 1, 1, 0]
    state = _result_state(Predictions(torch.eye(4)[said], torch.tensor(labels)), list("abcd"))
    assert state["table"] == [[3, 2, 3], [2, 2, 3], [0, 0, 0], [1, 0, 0]]  # pictures, right, named so
    assert state["summary"].startswith("accuracy 0.667 of 6: between 0.30 and 0.90 ")


def lists_by_hand(preds) -> dict[tuple, list[int]]:
    "Some lists of the zoo, by sorting plain numbers."
    probs, labels = preds.probs.tolist(), preds.labels.tolist()
    said = [max(range(5), key=row.__getitem__) for row in probs]
    by_loss = sorted(range(len(labels)), key=lambda k: probs[k][labels[k]])
    margin = [top - second for *_, second, top in map(sorted, probs)]
    return {
        ("most wrong",): [k for k in by_loss if said[k] != labels[k]],
        ("most unsure",): sorted(range(len(labels)), key=margin.__getitem__),
        ("class", "c2"): [k for k in by_loss if labels[k] == 2 != said[k]],
        ("cell", "c1", "c1"): [k for k in by_loss if labels[k] == said[k] == 1],
        ("cell", "c3", "c0"): [k for k in by_loss if labels[k] == 3 and said[k] == 0],
    }


def test_each_list_is_the_one_that_it_says(results):
    paths = [i.path for i in results._data.items("valid")]
    for chosen, found in lists_by_hand(results.preds).items():
        results.set_state({"chosen": list(chosen)})
        assert results.chosen == list(chosen) and results.looked == ([*found, -1])[0]
        assert results.shown == [paths[k] for k in found][:20]
        pictures, (shown,) = results.opened["pictures"], results.opened["lists"].values()
        assert [pictures[k]["at"] for k in shown] == found[:20] and list(results.opened["lists"]) == [
            "/".join(chosen)
        ]
    for i, line in enumerate(results.counts):
        for j, n in enumerate(line):
            results.chosen = ["cell", f"c{i}", f"c{j}"]
            assert [(p["is"], p["top"][0][0]) for p in results.opened["pictures"]] == [(i, j)] * n


def test_a_picture_stands_beside_its_own_name(results):
    for chosen in (["most unsure"], ["most wrong"]):
        results.chosen = chosen
        for opened in (results.opened, results.page_state()["opened"]):
            for about, tile in zip(opened["pictures"], sheet_of(opened)):
                path = results._data.report.root + "/" + about["file"]
                assert abs(np.asarray(Image.open(path)).mean() - tile.mean()) < 6
                assert Path(path).parent.name == f"c{about['is']}"
    results.set_state({"looked": results.opened["pictures"][3]["at"]})
    assert results.large["at"] == results.looked == results.opened["pictures"][3]["at"]
    before = results.large
    results.set_state({"looked": 10**6})
    assert results.large == before


def test_the_truth_is_among_the_bars(zoo_learn):
    labels = torch.tensor([i.label for i in zoo_learn.data.items("valid")])
    probs = torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.4]]).repeat(len(labels), 1)
    results = Results(zoo_learn, Predictions(probs, labels))
    assert all(p["is"] in dict(p["top"]) and p["top"][0] == [4, 0.4] for p in results.opened["pictures"])


def test_what_cannot_be_shown_is_refused(zoo_learn, results):
    data, preds = zoo_learn.data, results.preds
    with pytest.raises(TypeError, match=r"needs a Learner, not ImageData: Results\(learn\)"):
        Results(data)
    dl = [(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))]
    own = Learner((dl, dl), torch.nn.Linear(8, 2), n_groups=1)
    with pytest.raises(ValueError, match="loaders of your own have no picture files"):
        Results(own)
    with pytest.raises(TypeError, match=r"preds is a Tensor: give what learn.get_preds"):
        Results(zoo_learn, preds.probs)
    others = [
        Predictions(preds.probs[1:], preds.labels[1:]),
        Predictions(preds.probs.flip(0), preds.labels.flip(0)),
        Predictions(preds.probs[:, :4], preds.labels),
    ]
    for other in others:
        with pytest.raises(ValueError, match="not of the 30 validation pictures and 5 classes"):
            Results(zoo_learn, other)
    with pytest.raises(ValueError, match="not finite"):
        Results(zoo_learn, Predictions(preds.probs * math.nan, preds.labels))


def test_a_list_that_there_is_not_is_refused(zoo_learn, results):
    for bad in ([], ["worst"], ["class"], ["class", "c9"], ["cell", "c1"], ["most wrong", "c1"]):
        with pytest.raises(TraitError, match="chosen=.*it must be"):
            results.chosen = bad
    for most in (0, 1.5, 1000):
        with pytest.raises(ValueError, match="most="):
            Results(zoo_learn, results.preds, most=most)


def test_nothing_to_validate_on_is_said(zoo):
    data = ImageData(zoo, size=32, progress=False)
    learn = Learner(data, "resnet10", weights=None)
    data.report = replace(data.report, items=tuple(data.items("train")))
    with pytest.raises(ValueError, match="nothing to validate on"):
        Results(learn)


def test_the_lists_of_a_learner_and_of_its_tta(zoo_learn):
    results = Results(zoo_learn, zoo_learn.tta(1), most=3, chosen=["most unsure"])
    assert len(results.shown) == len(results.opened["pictures"]) == 3
    ours, theirs = Results(zoo_learn).preds, zoo_learn.get_preds()
    assert torch.equal(ours.probs, theirs.probs) and not torch.equal(ours.probs, results.preds.probs)


def test_all_right_is_no_mistake(zoo_learn):
    labels = torch.tensor([i.label for i in zoo_learn.data.items("valid")])
    results = Results(zoo_learn, Predictions(torch.eye(5)[labels], labels))
    assert results.shown == [] and results.looked == -1 and results.opened["lists"] == {"most wrong": []}
    assert "accuracy 1.000 of 30: between 0.89 and 1.00" in repr(results)
    assert results.page_state()["opened"]["lists"]["most wrong"] == [] and results._repr_mimebundle_()


def test_many_classes_have_ranks_and_a_small_page(tmp_path):
    for c in range(40):
        for k in range(4):
            paint(tmp_path / f"class {c:02}" / f"{k}.jpg", (3 * c, 90, 90), 10 * c + k, (80, 64))
    learn = Learner(ImageData(tmp_path, size=64, valid=0.5, progress=False), "resnet10", weights=None)
    results = Results(learn, guesses(learn.data, right=0.2))
    kinds = [chosen[0] for chosen, *_ in results.ranks]
    assert results.counts == [] and kinds == ["cell"] * 8 + ["class"] * 6
    for chosen, n, of in results.ranks:
        results.set_state({"chosen": chosen})
        wrong = n if chosen[0] == "cell" else of - n
        assert len(results.shown) == wrong and of == 2
    assert len(results.page_state()["opened"]["pictures"]) == 20 and len(results.to_html()) <= 60 * 1024


def test_a_page_of_photos_and_twelve_classes_stays_small(tmp_path):
    for c in range(12):
        for k in range(8):
            paint(tmp_path / f"c{c}" / f"{k}.png", (9 * c, 9 * k, 90), 10 * c + k, (96, 96))
    learn = Learner(ImageData(tmp_path, size=96, valid=0.5, progress=False), "resnet10", weights=None)
    results = Results(learn, guesses(learn.data, right=0.1))  # noise is the worst that a codec can get
    assert len(results.to_html()) <= 60 * 1024 and len(results.opened["sheet"]) <= 150_000
    assert len(results.opened["lists"]) == 1 and len(results.page_state()["opened"]["lists"]) > 20


def test_names_that_are_meant_to_harm_do_not(hostile, tmp_path):
    learn = Learner(ImageData(hostile, size=32, progress=False, cache_bytes=0), "resnet10", weights=None)
    results = Results(learn, guesses(learn.data, right=0.0), chosen=["most unsure"])
    json.dumps(results.get_state(), ensure_ascii=False, default=str).encode()  # as the kernel sends it
    text, page = results._repr_mimebundle_()[0]["text/plain"], results.to_html()
    assert text.count("\n") == 0 and page.count("</script>") == 1
    assert "<img src=x" not in page[: page.index("<script")]
    assert sum(p["file"].endswith(r"caf\xe9.png") for p in results.opened["pictures"]) == 2
    assert results.save_html(tmp_path / "page.html").read_bytes().decode()


def test_a_file_that_is_gone_leaves_a_grey_square(zoo, tmp_path):
    shutil.copytree(zoo, tmp_path / "copy")
    learn = Learner(
        ImageData(tmp_path / "copy", 32, valid=0.5, progress=False, cache_bytes=0), "resnet10", weights=None
    )
    results = Results(learn, guesses(learn.data))
    gone = results.shown[0]
    os.remove(gone)
    results.chosen = ["most unsure"]
    results.chosen = ["most wrong"]
    assert gone == results.shown[0] and np.ptp(sheet_of(results.opened)[0]) < 16
    assert results.large.get("at") != results.looked
