"""Figures say what the results say; the page is whole, safe and readable in a real browser."""

import math
import os
import re
import time
from types import SimpleNamespace

import pytest
from conftest import paint
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from lessonkit import plot
from lessonkit.evaluate import accuracy
from lessonkit.images.augment import PRESETS
from lessonkit.images.data import ImageData
from lessonkit.recipe import Countdown, FiveSteps, _enough_epochs, _pick, five_steps, lr_factor
from lessonkit.report import augmented, write_report
from lessonkit.train.history import History
from lessonkit.train.schedule import sgdr


@pytest.fixture(scope="module")
def five(tmp_path_factory) -> FiveSteps:
    "A run on three small classes, one with a name that is no good in HTML, and two bad files."
    root = tmp_path_factory.mktemp("report") / "pictures & <b>more</b>"
    for c, (name, color) in enumerate(
        {"red": (150, 20, 20), "<script>alert(1)</script>": (20, 150, 20), "blue": (20, 20, 150)}.items()
    ):
        for k in range(12):
            paint(root / name.replace("/", "") / f"{k}.png", color, 100 * c + k)
    (root / "red" / "bad & worse.jpg").write_bytes(b"")
    return five_steps(
        ImageData(root, size=32, bs=8),
        "resnet10",
        None,
        sizes=[32, 40],
        head_epochs=1,
        epochs=2,
        cycle_len=1,
        say=lambda line: None,
        progress=False,
    )


def axes():
    return Figure().subplots()


def test_the_lr_curve_shows_every_number_and_names_every_rule():
    lrs = [10 ** (-6 + k / 10) for k in range(60)]
    found = SimpleNamespace(
        lrs=lrs,
        losses=[2.0] * 60,
        smoothed=[2 - math.sin(k / 20) for k in range(60)],
        mode="exponential",
        suggestions={"steepest": 1e-4, "valley": 3e-4, "slide": 2e-3, "minimum": 1e-3},
        valid_losses=[],
    )
    ax = plot.plot_lr_find(found, axes())
    assert ax.get_xscale() == "log" and list(ax.lines[1].get_ydata()) == found.smoothed
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels[2:] == ["steepest 1e-4", "valley 3e-4", "slide 0.002", "minimum 0.001"]
    assert [line.get_xdata()[0] for line in ax.lines[2:]] == list(found.suggestions.values())


def test_a_rule_keeps_its_color_where_others_have_no_answer_and_a_new_one_is_drawn():
    found = SimpleNamespace(
        lrs=[1e-5, 1e-3, 0.1],
        losses=[2, 1, 3],
        smoothed=[2, 1, 3],
        suggestions={"minimum": 1e-4, "mine": 1e-3},
    )
    alone = [line.get_color() for line in plot.plot_lr_find(found, axes()).lines[2:]]
    found.suggestions = {"steepest": 1e-3, "minimum": 1e-4}
    assert len(set(alone)) == 2 and alone[0] == plot.plot_lr_find(found, axes()).lines[3].get_color()


def test_the_schedule_is_drawn_as_it_runs():
    schedule = sgdr(3, 1, 2, lr_max=0.1).with_steps(10)
    ax = schedule.plot(axes())
    assert list(ax.lines[0].get_ydata()) == schedule.lrs
    assert [line.get_xdata()[0] for line in ax.lines[1:]] == [
        10,
        30,
        70,
    ] and "1+2+4 = 7 epochs" in ax.get_title()


def test_a_history_shows_losses_accuracy_and_every_groups_lr():
    epochs = [
        dict(step=s, epoch=s / 2, train_loss=1 / s, valid_loss=2 / s, accuracy=1 - 1 / s, seconds=1)
        for s in (2, 4)
    ]
    history = History(sgdr(2, 1).with_steps(2), 32, [3.0, 2.0, 1.5, 1.2], [[1e-4, 1e-3]] * 4, epochs, [2, 4])
    top, middle, bottom = history.plot(Figure().subplots(3))
    lines = {line.get_label(): list(line.get_ydata()) for line in top.lines}
    assert lines["training"] == [0.5, 0.25] and lines["validation"] == [1.0, 0.5]
    assert list(middle.lines[-1].get_ydata()) == [0.5, 0.75] and len(bottom.lines) == 4
    assert bottom.get_yscale() == "log" and "head" in [t.get_text() for t in bottom.get_legend().get_texts()]


def test_layer_lrs_and_frozen_groups():
    ax = plot.plot_layer_lrs(["a", "b", "head"], [0, 1e-4, 1e-3], [10, 20, 30], axes())
    assert [t.get_text() for t in ax.texts] == ["frozen", "1e-4", "0.001"]
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "a\n10 weights",
        "b\n20 weights",
        "head\n30 weights",
    ]


def test_the_confusion_shows_counts():
    ax = plot.plot_confusion([[3, 1], [0, 4]], ["a", "b"], axes())
    assert sorted(t.get_text() for t in ax.texts) == ["1", "3", "4"]


def test_the_recipe_says_what_it_did(five):
    assert [s.number for s in five.steps] == [1, 2, 3, 4, 5] and five.seconds > 0
    assert [h.size for s in five.steps for h in s.histories] == [32, 32, 40]
    assert five.best["accuracy"] == max(
        e["accuracy"] for s in five.steps for h in s.histories for e in h.epochs
    )
    assert five.learner.validate()["accuracy"] == pytest.approx(five.best["accuracy"])
    assert len(set(five.lrs)) == 1  # nothing pretrained: the same lr everywhere


@pytest.mark.parametrize(
    "metrics",
    [
        {
            "top 2 & <more>": lambda logits, yb: (
                (logits.topk(2).indices == yb[:, None]).any(1).float().mean()
            ),
            "accuracy": accuracy,
        },
        {},
    ],
)
def test_every_metric_goes_by_its_name_and_the_first_one_leads(colours, tmp_path, metrics):
    said = []
    five = five_steps(
        ImageData(colours, size=32, bs=8),
        "resnet10",
        None,
        head_epochs=1,
        epochs=1,
        cycle_len=1,
        metrics=metrics,
        say=said.append,
        progress=False,
    )
    name = next(iter(metrics), "valid_loss")
    assert (
        five.learner.metric == name
        and five.score == five.best[name]
        and f"{name} {five.score:.4f}" in str(five)
    )
    assert any(f"best {name} " in line for line in said)
    page = write_report(five, tmp_path / "report.html").read_text()
    assert f"{five.score:.4f}" in page and page.count("<th>top 2 &amp; &lt;more&gt;</th>") == 2 * bool(
        metrics
    )
    assert "<more>" not in page


@pytest.mark.parametrize(
    "lr, pretrained, expected",
    [
        (None, True, 3e-4),
        (None, False, 3e-3),
        (1e-6, True, 3e-4),
        (5e-4, True, 5e-4),
        (1e-2, True, 3e-3),
        (1e-2, False, 1e-2),
    ],
)
def test_the_lr_of_the_whole_network_is_the_curves_unless_that_cannot_be(lr, pretrained, expected):
    found = SimpleNamespace(lr=lr, suggestions={} if lr is None else {"steepest": lr})
    assert _pick(found, 3e-3, 3, pretrained)[0] == pytest.approx(expected)


@given(st.integers(1, 5000), st.integers(1, 4))
def test_few_pictures_of_a_class_make_more_epochs(n, cycle_len):
    epochs = _enough_epochs(n, cycle_len)
    assert 6 <= epochs <= 24 and _enough_epochs(n + 1, cycle_len) <= epochs
    assert epochs in (6, 24) or (abs(epochs * n - 1600) <= n * cycle_len / 2 and epochs % cycle_len == 0)


def test_a_countdown_knows_what_lies_ahead():
    countdown = Countdown({"a": 2.0, "b": 6.0})
    assert countdown.left("a") is None and countdown.text("a") == ""
    countdown.began -= 100
    assert countdown.left("b") == pytest.approx(300, abs=1) and countdown.left("b", 0.5) == pytest.approx(
        60, abs=1
    )
    assert countdown.left("b", 1.0) == 0 and countdown.text("b", 1.0) == "about 0:00 left in all"
    countdown.began = time.perf_counter() - 19.9
    assert countdown.text("b") == "about 1:00 left in all"  # 59.7 s, which is not 0:60


def test_how_long_is_left_is_said_with_each_step_and_falls(colours):
    said = []
    five_steps(
        ImageData(colours, size=32, bs=8),
        "resnet10",
        None,
        head_epochs=1,
        epochs=1,
        cycle_len=1,
        say=said.append,
        progress=False,
    )
    assert (
        len([line for line in said if re.search(r"\(about \d+:\d\d left in all\)$", line)]) == 3
    )  # steps 2, 3, 5


def test_a_size_that_the_network_does_not_take_is_refused_before_anything_is_trained(colours):
    said = []
    with pytest.raises(ValueError, match="take a size of 224"):
        five_steps(
            ImageData(colours, size=224, bs=8),
            "timm/vit_tiny_patch16_224",
            None,
            sizes=[224, 96],
            say=said.append,
        )
    assert not said


def test_the_factor_follows_the_likeness():
    assert (lr_factor("similar"), lr_factor("different"), lr_factor(5), lr_factor("7.5")) == (3, 10, 5, 7.5)
    for bad in ("alike", 0.5, 11, None, "nan"):
        with pytest.raises(ValueError, match="similarity="):
            lr_factor(bad)


def test_augmented_pictures_are_what_training_sees(colours):
    data = ImageData(colours, size=24, augment=PRESETS["side_on"])
    pictures = augmented(data, 2, 3)
    assert len(pictures) == 6 and all(
        p.shape == (24, 24, 3) and p.min() >= 0 and p.max() <= 1 for p in pictures
    )
    assert not (pictures[0] == pictures[1]).all()


def test_the_page_is_one_safe_file(five, tmp_path):
    page = write_report(five, tmp_path / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;script&gt;" in page
    assert "<b>more" not in page and "bad &amp; worse.jpg: the file is empty" in page
    assert "http://" not in page and "https://" not in page and f"{five.best['accuracy']:.2%}" in page
    assert page.count("data:image/png;base64,") >= 7
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 480, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser_with_no_network(five, browser, tmp_path, width, scheme):
    path = write_report(five, tmp_path / "report.html")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page = context.new_page()
    problems = []
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("dialog", lambda d: (problems.append("a dialog"), d.dismiss()))
    requests = []
    page.on("request", lambda r: requests.append(r.url))
    page.goto(path.as_uri())
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100 && i.alt)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert page.locator(".number").all_inner_texts() == ["1", "2", "3", "4", "5"]
    ink, paper = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    brightness = lambda c: sum(map(int, c[4:-1].split(",")))
    assert (brightness(ink) > brightness(paper)) == (scheme == "dark") and not problems
    assert all(r.startswith(("file:", "data:")) for r in requests)
    context.close()
