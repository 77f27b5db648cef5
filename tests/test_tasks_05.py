"""The exercises of lesson 05: solutions pass, usual mistakes have names, odd answers get a sentence."""

from types import SimpleNamespace

import pytest
import torch
from exercising import ODD, again
from hypothesis import given, settings
from hypothesis import strategies as st

from lessonkit import PRESETS, Augment, ImageData, Learner, sgdr
from lessonkit.evaluate import Predictions
from lessonkit.lab.exercises import Exercise
from lessonkit.lab.tasks_05 import (
    _FITS,
    _MISFITS,
    TASKS,
    check_changed,
    check_eight,
    check_nine,
    check_presets,
    check_repaired,
    count_turned,
)

pytestmark = pytest.mark.usefixtures("own_folder")


def side_on(**options):
    return ImageData("sample:side_on", **{"size": 48, "per_class": 8, "bs": 16, "progress": False} | options)


def answers(*predicted):
    return Predictions(torch.eye(3)[list(predicted)], torch.tensor([0, 0, 1, 1, 2]))


CHANGED = SimpleNamespace(plain=answers(0, 1, 1, 2, 0), with_copies=answers(0, 0, 2, 1, 1))


def test_the_solutions_pass_their_own_checks():
    space = {"ImageData": ImageData, "Learner": Learner, "PRESETS": PRESETS, "Augment": Augment, "sgdr": sgdr}
    assert Exercise("05.1").check(eval(TASKS["05.1"].solution)).right
    assert Exercise("05.2").check(eval(TASKS["05.2"].solution, space)).right
    ex4, said = Exercise("05.4", plain=CHANGED.plain, with_copies=CHANGED.with_copies), []
    note = SimpleNamespace(check=lambda answer: said.append(ex4.check(answer)))
    exec(TASKS["05.4"].solution, {"ex4": note, "plain": CHANGED.plain, "with_copies": CHANGED.with_copies})
    assert said[0].right
    exec(TASKS["05.3"].solution, space), exec(TASKS["05.5"].solution, space)
    assert Exercise("05.3").check(space["learn3"]).right and Exercise("05.5").check(space["mine"]).right


def test_each_preset_is_right_or_told_why_not():
    right = {kind: next(iter(fits)) for kind, fits in _FITS.items()}
    for kind, fits in _FITS.items():
        for name in PRESETS:
            note = Exercise("05.1").check(right | {kind: name})
            assert note.right == (name in fits) and (fits.get(name) or _MISFITS[kind, name]) in note.text
    assert sum(len(fits) == 2 for fits in _FITS.values()) == 2, "two can be argued about"
    assert Exercise("05.1").check({kind: PRESETS[name] for kind, name in right.items()}).right
    assert "faces" in Exercise("05.1").check({**right} | {"faces": "mirror"}).text
    assert "cells" in Exercise("05.1").check({k: v for k, v in right.items() if k != "cells"}).text


@pytest.mark.parametrize(
    "augment, word",
    [
        (Augment(), "stays a 6"),
        (Augment(flip="horizontal"), "mirror"),
        (Augment(rotate=90), "up to 90"),
        (Augment(zoom=2, lighting=0.5, warp=0.3), "Zoom"),
        ("top_down", "a name"),
        (180, "of type int"),
        (PRESETS["side_on"].scaled(10), "mirror"),
    ],
)
def test_what_does_not_make_a_nine_is_told_why(augment, word):
    note = Exercise("05.2").check(augment)
    assert not note.right and word in note.text


def test_nines_are_counted_not_looked_up():
    nines, mirrored = count_turned(Augment(flip="dihedral"))
    assert 90 < nines < 160 and 430 < mirrored < 570
    nines, mirrored = count_turned(Augment(rotate=180))
    assert 80 < nines < 145 and mirrored == 0
    assert count_turned(Augment(rotate=159)) == (0, 0)
    assert "are a 9" in check_nine(PRESETS["top_down"], None)


def test_the_run_is_looked_at_from_all_sides():
    for options, word in (
        ({"augment": "top_down"}, "bauble"),
        ({"augment": "none"}, "nothing is won"),
        ({"augment": PRESETS["side_on"].scaled(4)}, "turns by up to 40"),
        ({"augment": "side_on", "fixed": True}, "fixed"),
        ({"augment": "side_on"}, "repaired"),
    ):
        learn = Learner(side_on(**options))
        assert "not trained" in again(check_repaired, learn, None)
        learn.fit(sgdr(1, 1), lr=1e-5, progress=False)
        assert word in again(check_repaired, learn, None)
    above = ImageData("sample:top_down", size=48, per_class=4, bs=16, progress=False)
    for check in (check_repaired, check_eight):
        assert "other pictures" in again(check, Learner(above), None)


def test_eight_pictures_are_eight_pictures():
    for options, word in (({"per_class": 9}, "or more"), ({"size": 96}, "96 px"), ({}, "not trained")):
        assert word in again(check_eight, Learner(side_on(**options)), None)
    learn = Learner(side_on(augment="none"))
    learn.fit(sgdr(34, 1), lr=1e-6, progress=False)
    assert "102 updates" in again(check_eight, learn, None)
    learn.fit(sgdr(1, 1), lr=1e-6, progress=False)
    assert "no copies" in again(check_eight, learn, None)
    changed = Learner(side_on(augment="side_on"))
    changed.fit(sgdr(1, 1), lr=1e-6, progress=False)
    assert "copies of each; the goal" in again(check_eight, changed, None)


@pytest.mark.parametrize(
    "answer, word",
    [
        ((1, 2), "other way"),
        ((3, 2), "difference"),
        ((2, 2), "another"),
        ((0.4, 0.2), "not parts"),
        ((5, 1), "Which answers"),
        ((1,), "1 numbers"),
        ("21", "two numbers"),
        (("2", 1), "quotation"),
        ({2, 1}, "two numbers"),
    ],
)
def test_usual_mistakes_of_counting_have_names(answer, word):
    assert word in again(check_changed, answer, CHANGED)
    assert "2 mended, 1 spoilt, and 1 went" in check_changed([2, 1], CHANGED)


@pytest.mark.parametrize(
    "plain, with_copies",
    [
        (0.7, 0.8),
        (CHANGED.plain, [CHANGED.with_copies]),
        (CHANGED.plain, Predictions(torch.eye(3), torch.arange(3))),
    ],
)
def test_what_is_handed_in_for_counting_is_looked_at(plain, with_copies):
    assert again(check_changed, (2, 1), SimpleNamespace(plain=plain, with_copies=with_copies))


PARTS = st.floats() | st.none() | st.text(max_size=2) | st.lists(st.none())
PRESET_LIKE = st.dictionaries(st.sampled_from(sorted(_FITS)), PARTS) | st.fixed_dictionaries(
    {kind: st.sampled_from(["", "mirror", None, 1]) for kind in _FITS}
)


@settings(deadline=None, max_examples=60)
@given(ODD | PRESET_LIKE)
def test_nothing_else_is_right_or_ends_in_a_traceback(answer):
    for check in (check_presets, check_nine, check_repaired, check_changed, check_eight):
        assert again(check, answer, CHANGED)


def test_loaders_of_ones_own_are_told_so():
    data = side_on()
    learn = Learner((data.train_dl(), data.valid_dl()), n_classes=6)
    for check in (check_repaired, check_eight):
        assert "other pictures" in again(check, learn, None)
