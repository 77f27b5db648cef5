"""Figures say what the results say; the page is whole, safe and readable in a real browser."""

import json
import math
import os
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import paint
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from lessonkit import plot
from lessonkit.evaluate import Predictions, accuracy
from lessonkit.figures import augmented, mistakes, step_figures
from lessonkit.images.augment import PRESETS
from lessonkit.images.data import ImageData
from lessonkit.recipe import Countdown, FiveSteps, _enough_epochs, _pick, five_steps, lr_factor
from lessonkit.report import gain_in_words, guess, how_sure, stages, write_report
from lessonkit.train.history import History
from lessonkit.train.schedule import sgdr
from lessonkit.widgets import LayerGroups


@pytest.fixture(scope="module")
def five(tmp_path_factory) -> FiveSteps:
    "A run on three small classes, one with a name that is no good in HTML, files like that, and a bad one."
    root = tmp_path_factory.mktemp("report") / "pictures & <b>more</b>"
    for c, (name, color) in enumerate(
        {"red": (150, 20, 20), "<script>alert(1)</script>": (20, 150, 20), "blue": (20, 20, 150)}.items()
    ):
        for k in range(12):
            file = f'{k} "><img src=x onerror=alert(2)>.png' if name == "blue" else f"{k}.png"
            paint(root / name.replace("/", "") / file, color, 100 * c + k)
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
    page = outside_scripts(write_report(five, tmp_path / "report.html").read_text())
    column = '<th scope="col">top 2 &amp; &lt;more&gt;</th>'
    assert f"<b>{five.score:.4f}</b>" in page and page.count(column) == 3 * bool(metrics)
    assert not re.search(r"<more>|always saying|between \d", page)


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


# what each step gained, and how sure that is


def a_run(values: list[list[float]], metric="accuracy", classes=((3, 6), (5, 14))):
    "What `stages` reads of a run: the metric of each epoch of the head, and at each size; (train, valid)."
    names = [f"class {k}" for k in range(len(classes))]
    counts = {split: dict(zip(names, n)) for split, n in zip(("train", "valid"), zip(*classes))}
    metrics = {"accuracy": accuracy} if metric == "accuracy" else {}
    data = SimpleNamespace(report=SimpleNamespace(counts=counts.get))
    histories = [
        SimpleNamespace(size=32 * k, epochs=[{metric: v} for v in run]) for k, run in enumerate(values, 1)
    ]
    steps = [SimpleNamespace(number=2, histories=histories[:1])]
    steps += [SimpleNamespace(number=5, histories=histories[1:])]
    return SimpleNamespace(learner=SimpleNamespace(data=data, metrics=metrics, metric=metric), steps=steps)


def test_each_step_says_what_it_gained():
    run = a_run([[0.8, 0.9], [0.85, 0.95, 0.9], [0.95], [0.9, 0.9]])
    assert [(s.step, s.before, s.score, s.own) for s in stages(run)] == [
        (0, None, 0.7, 0.7),  # "class 1" is the most common one in training: 14 of 20
        (2, 0.7, 0.9, 0.9),
        (5, 0.9, 0.95, 0.95),
        (5, 0.95, 0.95, 0.95),
        (5, 0.95, 0.95, 0.9),
    ]
    assert [gain_in_words(s, 20) for s in stages(run)[1:]] == [
        "It gained 0.2000: 0.7000 before, 0.9000 after, 4 more of 20 pictures named right.",
        "It gained 0.0500: 0.9000 before, 0.9500 after, 1 more of 20 pictures named right.",
        "It gained nothing: 0.9500 before, 0.9500 after.",
        "It gained nothing: 0.9500 before, 0.9500 after. Its own best was 0.9000, so the weights of before "
        "were kept.",
    ]


def test_a_head_worse_than_a_guess_has_lost():
    worse = stages(a_run([[0.5], [0.6]]))
    assert [s.score for s in worse] == [0.7, 0.5, 0.6] and "lost 0.2000" in gain_in_words(worse[1])
    assert "4 fewer of 20" in gain_in_words(worse[1], 20)


def test_of_a_loss_less_is_more():
    found = stages(a_run([[0.5, 0.4, math.nan], [0.7], [0.3]], "valid_loss"))
    assert [(s.before, s.score) for s in found] == [(None, 0.4), (0.4, 0.4), (0.4, 0.3)]
    assert [gain_in_words(s) for s in found] == [
        "It came to 0.4000.",
        "It gained nothing: 0.4000 before, 0.4000 after. Its own best was 0.7000, so the weights of before "
        "were kept.",
        "It gained 0.1000: 0.4000 before, 0.3000 after.",
    ]


@given(st.lists(st.lists(st.integers(0, 400), min_size=1, max_size=5), min_size=1, max_size=4))
def test_the_gains_add_up(counts):
    found = stages(a_run([[n / 400 for n in run] for run in counts]))
    assert sum(s.gain for s in found) == pytest.approx(found[-1].score - found[0].score)
    assert (
        all(s.gain >= 0 for s in found[2:]) and found[-1].score == max(n for run in counts for n in run) / 400
    )


def test_the_guess_is_the_class_that_training_has_most_of(five):
    data = five.learner.data
    labels = [i.label for i in data.items("valid")]
    most = max(range(3), key=[i.label for i in data.items("train")].count)
    assert guess(data).score == labels.count(most) / len(labels) and data.classes[most] in guess(data).name


def test_an_accuracy_comes_with_its_uncertainty():
    "Ends as published for Wilson's interval: Newcombe, Statistics in Medicine 17 (1998), table I."
    assert how_sure(81 / 263, 263) == "on 263 pictures: between 0.26 and 0.37"
    assert how_sure(15 / 148, 148) == "on 148 pictures: between 0.06 and 0.16"
    assert how_sure(0.9625, 400) == "on 400 pictures: between 0.94 and 0.98"
    assert how_sure(1.0, 400) == "on 400 pictures: between 0.990 and 1.000"


# the page


class Page(HTMLParser):
    "The elements of a page and the text in them; what scripts say is left out."

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.said, self.inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.said.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.said).split())


def outside_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.S)


def all_wrong(learn) -> Predictions:
    "Each validation picture taken for the next class, the later ones with more certainty."
    labels, n = torch.tensor([i.label for i in learn.data.items("valid")]), len(learn.data.classes)
    sure = torch.linspace(0.6, 0.99, len(labels))[:, None]
    said = torch.nn.functional.one_hot((labels + 1) % n, n)
    return Predictions(said * sure + (1 - said) * (1 - sure) / (n - 1), labels)


@pytest.fixture(scope="module")
def path(five, tmp_path_factory):
    "The page of a network that is wrong about every picture."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(five.learner, "get_preds", lambda: all_wrong(five.learner))
        command = "lessonkit train '<i>my pictures</i>' --out run"
        return write_report(five, tmp_path_factory.mktemp("page") / "report.html", command=command)


def test_the_page_is_one_safe_file(five, path):
    page = path.read_text()
    found = Page(page)
    assert [a for tag, a in found.tags if tag == "script"] == [{"type": "module"}]
    assert all(a.get("src", "").startswith("data:image/") for tag, a in found.tags if tag == "img")
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)
    assert (
        not {"b>more", "i>my"} & {tag for tag, _ in found.tags} and "<script>alert(1)<script>" in found.text
    )
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "bad & worse.jpg : the file is empty" in found.text and "<i>my pictures</i>" in found.text
    assert os.listdir(path.parent) == ["report.html"]


def test_the_page_says_how_good_it_is_and_how_it_came_there(five, path):
    text, n = Page(path.read_text()).text, len(five.learner.data.items("valid"))
    assert f"{five.score:.3f} {how_sure(five.score, n)}" in text
    found = stages(five)
    assert [s.step for s in found] == [0, 2, 5, 5]
    for stage in found:
        assert stage.name in text and (stage.step < 2 or gain_in_words(stage, n)[3:] in text)
    assert text.count("it trains nothing") == 3 and f"seed {five.learner.data.seed}," in text
    for package in ("lessonkit", "torch", "torchvision", "timm", "Python"):
        assert re.search(rf"\b{package} \d+\.\d+", text)


def test_every_wrong_picture_is_shown_with_the_name_of_its_file(five, path):
    found = mistakes(five.learner.data, all_wrong(five.learner))
    page, root = Page(path.read_text()), Path(five.learner.data.report.root)
    shown = [
        attrs["alt"] for tag, attrs in page.tags if tag == "img" and "lk-still" not in attrs.get("class", "")
    ]
    assert [m.file for m in found] == [alt for alt in shown if alt] and len(found) == 6
    assert all((root / m.file).is_file() for m in found) and any("onerror" in m.file for m in found)
    assert [m.sure for m in found] == sorted((m.sure for m in found), reverse=True)
    for m in found:
        assert f"{m.truth} , taken for {m.said} ( {100 * m.sure:.0f}".replace("( ", "(") in page.text
    assert f"0 of {len(found)} validation pictures are named right" in page.text


def test_a_file_that_has_gone_leaves_its_name(five, monkeypatch, tmp_path):
    data = five.learner.data
    gone = tuple(replace(i, path=i.path + "\udce9 is gone") for i in data.report.items)
    monkeypatch.setattr(data, "report", replace(data.report, items=gone))
    monkeypatch.setattr("lessonkit.report.augmented", lambda data: [])
    monkeypatch.setattr(five.learner, "get_preds", lambda: all_wrong(five.learner))
    page = write_report(five, tmp_path / "report.html").read_bytes().decode()  # it is UTF-8
    assert page.count("the file cannot be read any more") == 6 and page.count("is gone</code>") == 6
    fewer = Predictions(all_wrong(five.learner).probs[1:], all_wrong(five.learner).labels[1:])
    assert mistakes(data, fewer) == []  # one was left out in training: which is which, nobody knows


def rows_of(page: str, caption: str) -> list[list[str]]:
    "The cells of the table in the region of this name, a list a row, its head first."
    table = re.search(rf'aria-label="{caption}".*?<table.*?</table>', page, re.S)[0]
    text = lambda cell: re.sub("<.*?>", "", cell, flags=re.S).strip()
    cells = lambda row: [text(cell) for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", row, re.S)]
    return [cells(row) for row in re.findall(r"<tr.*?</tr>", table, re.S)]


def test_the_tables_count_what_was_said(five, path):
    data, page = five.learner.data, path.read_text()
    names, labels = data.classes, [i.label for i in data.items("valid")]
    head, *rows = rows_of(page, "What is taken for what")
    assert len(head) == 4 and [[int(c) for c in row[1:]] for row in rows] == [
        [labels.count(k) if j == (k + 1) % 3 else 0 for j in range(3)] for k in range(3)
    ]
    train = [i.label for i in data.items("train")]
    assert [row[1:] for row in rows_of(page, "Class by class")[1:]] == [
        [str(train.count(k)), str(labels.count(k)), "0", "0.000", "0.000"] for k in range(len(names))
    ]


def test_of_a_hundred_classes_the_worst_pairs_are_named(five, path, monkeypatch, tmp_path):
    n = 100
    data = five.learner.data
    labels = torch.arange(3 * n) % n
    said = torch.where(torch.arange(3 * n) < n, labels, (labels + 1) % n)  # two of each three are wrong
    said[labels == 7] = 9
    preds = Predictions(torch.nn.functional.one_hot(said, n).float(), labels)
    items = tuple(
        replace(data.items("train")[0], label=int(k), split=s) for k in labels for s in ("train", "valid")
    )
    report = replace(data.report, classes=tuple(f"class {k}" for k in range(n)), items=items)
    monkeypatch.setattr(data, "report", report)
    monkeypatch.setattr(five.learner, "get_preds", lambda: preds)
    page = write_report(five, tmp_path / "report.html").read_text()
    assert rows_of(page, "What is taken for what")[1] == ["class 7", "class 9", "3 of 3"]
    assert len(rows_of(page, "What is taken for what")) == 21 and 'class="matrix' not in page
    assert rows_of(page, "Class by class")[8][3:5] == ["0", "0.000"]
    assert (tmp_path / "report.html").stat().st_size <= path.stat().st_size + 100_000


def test_the_page_of_a_long_run_with_photos_stays_below_two_megabytes(five, monkeypatch, tmp_path):
    rng, data = np.random.default_rng(0), five.learner.data
    schedule = sgdr(12, 2).with_steps(300)
    lrs = [[f / 9, f / 3, f] for f in map(schedule.factor, range(schedule.n_steps))]
    epochs = [
        dict(step=300 * k, epoch=k, train_loss=1 / k, valid_loss=1.1 / k, accuracy=1 - 1 / k, seconds=9.5)
        for k in range(1, 25)
    ]
    losses = rng.uniform(0, 2, schedule.n_steps).tolist()
    long = History(schedule, 224, losses, lrs, epochs, list(schedule.cycle_ends), "done")
    steps = tuple(replace(s, histories=(long,) * len(s.histories)) for s in five.steps)
    noise = lambda *args: rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)  # no photo is as large as noise
    monkeypatch.setattr("lessonkit.figures.load_picture", noise)
    monkeypatch.setattr(data, "_size", 224)
    monkeypatch.setattr(five.learner, "get_preds", lambda: all_wrong(five.learner))
    path = write_report(replace(five, steps=steps), tmp_path / "report.html")
    assert 300_000 < path.stat().st_size <= 2_000_000


def test_a_page_leaves_no_trace(five, tmp_path):
    from ipywidgets.widgets.widget import _instances

    learn = five.learner
    panel, before = LayerGroups(learn), learn.history
    watchers, alive = list(learn.watchers), set(_instances)
    frozen, mode = (
        [g.frozen for g in learn.groups],
        {k: v.clone() for k, v in learn.model.state_dict().items()},
    )
    write_report(five, tmp_path / "report.html")
    assert learn.watchers == watchers == [panel] and learn.history is before
    assert set(_instances) == alive and [g.frozen for g in learn.groups] == frozen
    assert all(torch.equal(v, mode[k]) for k, v in learn.model.state_dict().items())
    learn.watchers.clear()


def test_a_run_that_was_interrupted_has_a_page(five, tmp_path):
    short = replace(five, steps=five.steps[:2], lrs=(), ended="interrupted")
    page = write_report(short, tmp_path / "report.html").read_text()
    assert [f.piece[1].get("lr") for f in step_figures(short)[1]] == [max(five.steps[1].histories[0].lrs)[-1]]
    assert "The run ended early: interrupted" in page and 'id="step-3"' not in page


def test_the_page_says_how_to_use_what_lies_beside_it(five, tmp_path):
    folder = tmp_path / 'a "run" of mine'
    page = write_report(five, folder / "report.html").read_text()
    assert "The network is not saved beside this page" in page and "lessonkit predict run new-photos/" in page
    five.learner.save(folder)
    text = Page(write_report(five, folder / "report.html").read_text()).text
    assert (
        f"lessonkit predict '{folder}' new-photos/" in text
        and f"load_model({json.dumps(str(folder))})" in text
    )
    assert all(name in text for name in ("model.safetensors", "model.json", "history.json"))


def opened(browser, path, **options):
    "The page in a browser without a network, and what went wrong in it."
    context = browser.new_context(**{"viewport": {"width": 480, "height": 900}, "offline": True} | options)
    page, problems = context.new_page(), []
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("dialog", lambda d: (problems.append("a dialog"), d.dismiss()))
    local = ("file:", "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(local) else problems.append(r.url))
    page.goto(path.as_uri())
    return page, problems


def colours_of(page) -> tuple[int, int]:
    "How bright the ink and the paper are."
    found = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    return tuple(sum(map(int, re.findall(r"\d+", c)[:3])) for c in found)


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 480, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser_with_no_network(path, browser, width, scheme):
    page, problems = opened(browser, path, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.wait_for_function("document.querySelectorAll('.lk-live').length === 6")
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth >= 32)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert page.locator(".number").all_inner_texts() == ["1", "2", "3", "4", "5"]
    assert page.locator(".lk-still:visible").count() == 0
    ink, paper = colours_of(page)
    assert (ink > paper) == (scheme == "dark") and not problems
    page.context.close()


@pytest.mark.browser
def test_the_curves_scrub_by_keys(path, browser):
    page, problems = opened(browser, path)
    page.wait_for_function("document.querySelectorAll('.lk-live').length === 6")
    picture = "e => e.closest('.lk').querySelector('.lk-plot').outerHTML"
    for name in ("learning rate", "update", "lr of the head"):
        slider = page.get_by_role("slider", name=name, exact=True).first
        before, said = slider.evaluate(picture), slider.get_attribute("aria-valuetext")
        slider.focus()
        page.keyboard.press("PageDown")
        page.wait_for_function(f"([e, old]) => ({picture})(e) !== old", arg=[slider.element_handle(), before])
        assert slider.get_attribute("aria-valuetext") != said
    assert not problems
    page.context.close()


@pytest.mark.browser
def test_without_scripts_all_of_it_is_there(path, browser):
    page, problems = opened(browser, path, java_script_enabled=False, color_scheme="dark")
    stills = page.locator(".live img")
    assert (
        stills.count() == page.locator(".live img:visible").count() == 6 and page.locator(".lk").count() == 0
    )
    assert all(still.get_attribute("alt") for still in stills.all())
    assert page.locator(".hint:visible").count() == 0
    page.locator("summary").first.click()
    assert page.get_by_role("cell", name=re.compile(r"\d\.\d{4}")).first.is_visible() and not problems
    page.context.close()


@pytest.mark.browser
def test_on_paper_stand_the_stills_in_black_on_white(path, browser):
    page, problems = opened(browser, path, color_scheme="dark")
    page.wait_for_function("document.querySelectorAll('.lk-live').length === 6")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".lk-still:visible").count() == 6 and page.locator(".lk:visible").count() == 0
    assert page.locator("nav:visible, .hint:visible").count() == 0
    ink, paper = colours_of(page)
    assert paper == 765 and ink < 200
    look = "[...document.querySelectorAll('figure')].map(f => getComputedStyle(f).breakInside)"
    assert set(page.evaluate(look)) == {"avoid"} and not problems
    page.context.close()


@pytest.mark.browser
def test_a_screen_reader_is_told_what_is_what(path, browser):
    page, _ = opened(browser, path, viewport={"width": 900, "height": 900})
    page.wait_for_function("document.querySelectorAll('.lk-live').length === 6")
    assert page.get_by_role("main").count() == page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("heading", level=2).count() == 9 and page.get_by_role("navigation").count() == 1
    links = page.get_by_role("navigation").get_by_role("link")
    assert links.count() == 5
    for link in links.all():
        assert page.locator(link.get_attribute("href")).count() == 1
    matrix = page.get_by_role("region", name="What is taken for what")
    assert matrix.get_by_role("columnheader").count() == 4 and matrix.get_by_role("rowheader").count() == 3
    named = "[...document.querySelectorAll('input, button, [role=img], [role=region]')].every("
    assert page.evaluate(named + "e => e.ariaLabel || e.textContent.trim())")
    page.context.close()
