"""What a cell shows of results: a line in a terminal, a card in a notebook, whatever is in them."""

import html
import math
import re
from html.parser import HTMLParser

import pytest
from conftest import paint
from hypothesis import given
from hypothesis import strategies as st

from lessonkit.images.data import ImageData
from lessonkit.recipe import five_steps
from lessonkit.show import card_html, line_html, shorten, table_html
from lessonkit.train.history import History
from lessonkit.train.learner import Learner
from lessonkit.train.schedule import sgdr
from lessonkit.train.suggest import LRFind


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    "One of each, after a short run of the five steps; a class has a name that is no good in HTML."
    root = tmp_path_factory.mktemp("show")
    for name, color in {"<b>red</b>": (150, 20, 20), "green": (20, 150, 20)}.items():
        for k in range(12):
            paint(root / name.replace("/", "") / f"{k}.png", color, k)
    data = ImageData(root, size=32, bs=8, progress=False)
    quiet = {"say": lambda line: None, "progress": False}
    five = five_steps(data, "resnet10", None, head_epochs=1, epochs=1, cycle_len=1, **quiet)
    learn = five.learner
    return {
        "FiveSteps": five,
        "Learner": learn,
        "Best": learn.best,
        "History": learn.history,
        "LRFind": five.steps[0].found[0],
        "ImageData": data,
    }


class Balanced(HTMLParser):
    "Whether every element is closed, and which there are."

    def __init__(self, text: str):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("img", "path", "circle", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag


KINDS = ("FiveSteps", "Learner", "Best", "History", "LRFind", "ImageData")


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_one_line_in_a_terminal_and_a_card_in_a_notebook(shown, kind):
    text, card = repr(shown[kind]), shown[kind]._repr_html_()
    assert text.startswith(f"{kind}(") and len(text) < 400 and "\n" not in text
    page = Balanced(card)
    assert not page.open and "table" in page.seen and "script" not in page.seen and "b" in page.seen
    assert len(card) < 20_000 and "nan" not in re.sub("<.*?>", "", card)


def test_what_a_folder_is_called_is_text(shown):
    card = shown["ImageData"]._repr_html_()
    assert "<b>red" not in card and html.escape("<b>red<b>") in card and "data:image/webp" in card


def test_pictures_that_are_gone_are_no_reason_to_fail(tmp_path):
    for k in range(8):
        paint(tmp_path / "in" / ("a" if k % 2 else "b") / f"{k}.png", (9, 9, 9), k)
    data = ImageData(tmp_path / "in", size=32, bs=4, cache_bytes=0, progress=False)
    (tmp_path / "in").rename(tmp_path / "away")
    assert "<table>" in data._repr_html_()


def test_a_long_run_is_cut_in_the_middle():
    history = History(sgdr(100, 1).with_steps(2), ended="done")
    for k in range(1, 101):
        found = {"train_loss": 1 / k, "valid_loss": 1.0, "accuracy": 0.5 + k / 1000}
        history.epochs.append({"step": 2 * k, "epoch": k, **found, "seconds": 1.0})
        history.losses += [1 / k] * 2
        history.lrs += [[1e-3]] * 2
    card = history._repr_html_()
    assert card.count("<tr>") == 13 and "89 more" in card and "after epoch 100" in card
    assert len(repr(history)) < 200 and "best accuracy 0.6000" in repr(history)


def test_a_history_says_that_the_loss_has_exploded(shown):
    history = History(sgdr(1, 1).with_steps(1), losses=[2.3], lrs=[[1e-4, 3.0]], ended="done")
    epoch = {"step": 1, "epoch": 1, "train_loss": 1e6, "valid_loss": 2e6, "accuracy": 0.1, "seconds": 1.0}
    history.epochs.append(epoch)
    assert history.warning == "the loss went from 2.3 to 2e+06: a learning rate of 3 is too high"
    assert history.warning in repr(history)
    history.epochs[0] |= {"train_loss": 2.0, "valid_loss": math.nan}
    assert history.warning == "" and history.best == {}
    assert shown["History"].warning == ""


def test_a_history_with_holes_is_shown_and_read_back(tmp_path):
    history = History(sgdr(1, 1).with_steps(2), losses=[1.0, math.nan], lrs=[[1.0]] * 2, ended="failed")
    epoch = {"step": 2, "epoch": 1, "train_loss": math.nan, "valid_loss": math.inf, "accuracy": 0.1}
    history.epochs.append(epoch | {"seconds": 1.0})
    again = History.load(history.save(tmp_path / "h.json"))
    assert math.isnan(again.losses[1]) and math.isnan(again.epochs[0]["valid_loss"])
    for one in (history, again, History()):
        assert "History" in one._repr_html_() and repr(one).startswith("History(")
    again.plot()


def test_a_sweep_without_an_answer_says_what_is_usual():
    flat = LRFind((1e-4, 1e-3, 1e-2), (2.0, 2.0, 2.0), n_steps=3)
    assert "No suggestion" in flat._repr_html_()
    with pytest.raises(ValueError, match="0.001 is the usual lr for a new head with AdamW, but no finding"):
        flat.suggest()


@given(st.lists(st.lists(st.floats(), min_size=1, max_size=30), min_size=1, max_size=3), st.text(max_size=20))
def test_a_line_of_any_numbers_is_a_picture(losses, label):
    page = Balanced(line_html([(range(len(ys)), ys) for ys in losses], label))
    assert not page.open and page.seen.count("path") == len(losses)


@given(st.lists(st.lists(st.text(max_size=9), min_size=2, max_size=2), max_size=40), st.integers(3, 12))
def test_a_table_has_at_most_the_rows_that_were_asked_for(rows, most):
    page = Balanced(card_html("a", "b", table_html(["x", "y"], shorten(rows, most))))
    assert page.seen.count("tr") - 1 == min(len(rows), most)


@pytest.mark.parametrize(
    "call, hint",
    [
        (lambda learn: learn.fit(3, lr=1e-3), "fit takes Schedule, not 3: sgdr(3) is a schedule"),
        (lambda learn: learn.fit(sgdr(1), lr="auto"), "lr='auto': a number is needed, or one for each"),
        (lambda learn: Learner("photos/"), "Learner takes ImageData or tuple or list, not 'photos/'"),
        (lambda learn: Learner(learn.data, "ResNet18", weights=None), "did you mean resnet18"),
    ],
)
def test_a_beginners_mistake_is_answered_in_a_sentence(shown, call, hint):
    with pytest.raises((TypeError, ValueError), match=re.escape(hint)):
        call(shown["Learner"])


def test_a_failed_download_is_one_error_with_the_way_out(shown, monkeypatch):
    import urllib.error

    import torch

    def refuse(*args, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(ConnectionError, match="weights=None") as caught:
        Learner(shown["ImageData"], "resnet18")
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
