"""The exercises of lesson 04: solutions pass, usual mistakes have names, odd answers get a sentence."""

from types import SimpleNamespace

import pytest
from exercising import ODD, again
from hypothesis import given as drawn
from hypothesis import settings

from lessonkit import ImageData, Learner, sgdr, spread_lrs
from lessonkit.lab.exercises import Exercise
from lessonkit.lab.task import Again
from lessonkit.lab.tasks_04 import (
    check_few,
    check_forgot,
    check_meeting,
    check_moved,
    check_order,
    find_meeting,
)

SMALL, GOAL = {8: 0.2, 32: 0.4, 160: 0.6}, 0.95

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(scope="module")
def side():
    return ImageData("sample:side_on", size=64, per_class=16, bs=16, augment="none", progress=False)


@pytest.fixture(scope="module")
def lines():
    return SimpleNamespace(small=SMALL, goal=GOAL)


def test_where_lines_meet_is_a_range_and_the_usual_mistakes_have_names(lines):
    ex = Exercise("04.1", small=SMALL, goal=GOAL)
    space = {"ex1": ex}
    first, last = ex.task.solution.splitlines()
    exec(first, space)
    right = eval(last, space)
    low, high = find_meeting(SMALL, GOAL)
    assert ex.check(right).right and low <= right * 1.01 and right <= high * 1.01
    for answer, word in (
        (160, "measured"),
        (8, "measured"),
        (384, "linear axis"),
        (6 * right, "of each class"),
        (1e9, "last two"),
        ("2000", "quotation"),
    ):
        assert word in again(check_meeting, answer, lines), answer
    flat = SimpleNamespace(small={8: 0.3, 32: 0.3, 160: 0.2}, goal=0.9)
    assert find_meeting(flat.small, 0.9) is None and "do not rise" in again(check_meeting, 500, flat)


def test_the_order_is_looked_at_from_all_sides(side):
    ex, space = Exercise("04.2", data=side), {"data": side, "Learner": Learner, "sgdr": sgdr}
    about, new = ex.given, Learner(side)
    assert "no run" in again(check_order, new, about)
    new.fit(sgdr(1, 1), lr=3e-3, progress=False)
    assert "head alone" in again(check_order, new, about)
    exec(ex.task.solution, space)
    learn = space["learn2"]
    assert ex.check(learn).right
    learn.fit(sgdr(1, 0.5), lr=3e-3, progress=False)
    assert "rate for a head" in again(check_order, learn, about)
    hasty = Learner(side)
    hasty.unfreeze()
    hasty.fit(sgdr(1, 0.5), lr=3e-4, progress=False)
    assert "knew nothing" in again(check_order, hasty, about)
    other = Learner(ImageData("sample:top_down", size=32, per_class=4, bs=8, augment="none", progress=False))
    assert "other pictures" in again(check_order, other, about)


def test_only_one_run_forgot_to_freeze():
    data = ImageData("sample:top_down", size=64, per_class=16, bs=16, augment="none", progress=False)
    ex = Exercise("04.3", data=data)
    assert ex.check(eval(ex.task.solution, {"ex3": ex})).right
    for name, history in ex.given.histories.items():
        if name != ex.given.forgot:
            high = max(map(max, history.lrs)) > 1e-2
            assert ("ten times its rate" if high else "single epoch") in again(check_forgot, name, ex.given)
    assert "none of A, B, C, D" in again(check_forgot, "E", ex.given)


def test_what_moves_is_counted(side):
    model = Learner(side).model
    ex = Exercise("04.4", model=model)
    space = {"ex4": ex}
    exec(ex.task.solution, space)
    assert ex.check(space["moved"]).right and space["moved"] % 3 == 0
    norms = space["moved"] // 3
    for answer, word in (
        (0, "buffers"),
        (norms, "number of batch norm"),
        (2 * norms, "counts something"),
        (len(model.body.state_dict()), "all tensors"),
        (7, "torch.equal"),
    ):
        assert word in again(check_moved, answer, ex.given)
    assert "a model with a body" in again(check_moved, 3, SimpleNamespace(model=None))


def test_twenty_four_pictures_are_counted():
    ex = Exercise("04.5")
    space = {"ImageData": ImageData, "Learner": Learner, "sgdr": sgdr, "spread_lrs": spread_lrs}
    exec(ex.task.solution, space)
    assert ex.check(space["mine"]).right
    make = lambda **more: Learner(ImageData("sample:side_on", bs=8, augment="none", progress=False, **more))
    small = make(size=32, per_class=4)
    assert "not trained" in again(check_few, small, None)
    small.fit(sgdr(1, 1), lr=1e-3, progress=False)
    assert "cap" in again(check_few, small, None)
    assert "the budget is 24" in again(check_few, make(size=32, per_class=5), None)
    assert "the most" in again(check_few, make(size=160, per_class=4), None)
    assert "The deal" in again(check_few, Learner((small.train_dl, small.valid_dl), n_classes=6), None)


@settings(deadline=None, max_examples=60)
@drawn(ODD)
def test_odd_answers_get_a_sentence(answer):
    lines = SimpleNamespace(small=SMALL, goal=GOAL, histories={"A": None}, forgot="A", model=None, data=None)
    for check in (check_meeting, check_order, check_forgot, check_moved, check_few):
        try:
            said = check(answer, lines)
        except Again as e:
            said = str(e)
        assert said and isinstance(said, str)
