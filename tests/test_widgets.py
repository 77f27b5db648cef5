"""The widgets with no front end: what they hold, what they do to a learner, what a saved notebook gets; their
JavaScript against the Python that it mirrors."""

import json
import math
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from traitlets import TraitError

from lessonkit.images.augment import PRESETS
from lessonkit.images.data import ImageData
from lessonkit.plot import _loss_limits, format_lr, metric_limits
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
    ScheduleExplorer,
    TrainMonitor,
)
from lessonkit.widgets.base import page_html, pages_html, read_esm, read_static
from lessonkit.widgets.replay import run_state

ROOT = Path(__file__).parents[1]
JS, STATIC = ROOT / "tests" / "js", ROOT / "lessonkit" / "widgets"
FILES = [
    "lr_picker.js",
    "schedule_explorer.js",
    "layer_groups.js",
    "augment_preview.js",
    "train_monitor.js",
    "replay.js",
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
    np.testing.assert_allclose(limits, [_loss_limits(c) for c in curves])
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
    assert shared.count("// LRPicker: ") == shared.count("// Replay: ") == 1 and '"lr":0.0001' in shared
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
        Bet("Which?", ["A", "B"]),
    ]


def test_each_is_also_a_picture_and_a_page(learn, found, tmp_path):
    from PIL import Image

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
    assert "division" in picker.trial["message"] and not picker.trial["running"]


def test_a_trial_ends_where_the_loss_does(learn):
    before = state_of(learn)
    losses = list(learn.trial(1e30, 10))
    assert not math.isfinite(losses[-1]) and len(losses) < 10 and same(before, state_of(learn))
    some = learn.trial(1e-3, 10)
    next(some)
    some.close()
    assert same(before, state_of(learn)) and all(p.grad is None for p in learn.model.parameters())


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
