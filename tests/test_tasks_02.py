"""The exercises of lesson 02: their solutions pass, usual mistakes get their own words, nothing else ends in
a traceback."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessonkit import ImageData, Learner, one_cycle, sgdr, spread_lrs
from lessonkit.lab.exercises import Exercise
from lessonkit.lab.task import Again
from lessonkit.lab.tasks_02 import TASKS, check_ends, check_falls, check_run, check_updates, check_votes

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(scope="module")
def data():
    return ImageData("sample:side_on", size=48, per_class=8, bs=16, augment="none", progress=False)


def test_the_solutions_pass_their_own_checks(data):
    space = {"data": data, "Learner": Learner, "sgdr": sgdr}
    assert Exercise("02.1").check(eval(TASKS["02.1"].solution)).right
    assert Exercise("02.2").check(eval(TASKS["02.2"].solution, space)).right
    space["data"] = ImageData("sample:top_down", size=64, per_class=16, bs=16, augment="none", progress=False)
    exec(TASKS["02.3"].solution, space)
    assert Exercise("02.3", data=space["data"]).check(space["learn3"]).right
    ex4 = Exercise("02.4")
    assert ex4.check(ex4.given.falls).right and sorted(ex4.given.falls.values()) == [0, 1, 3]


@pytest.mark.parametrize(
    "answer, word",
    [
        (7, "number of epochs"),
        (105, "short one"),
        (109.375, "whole number"),
        (96, "twice as long"),
        (48, "same length"),
        (64, "last cycle"),
        (7000, "pictures"),
        (111, "Count"),
        ("112", "quotation"),
    ],
)
def test_usual_mistakes_of_counting_have_names(answer, word):
    assert word in Exercise("02.1").check(answer).text


@pytest.mark.parametrize(
    "schedule, word",
    [
        (sgdr(3, 1, 2), "these are epochs"),
        (sgdr(7, 1).with_steps(64), "7 cycles"),
        (sgdr(1, 7).with_steps(64), "1 cycle,"),
        (sgdr(3, 7 / 3).with_steps(64), "It ends at 448"),
        (sgdr(3, 1, 3).with_steps(64), "how many epochs"),
        (one_cycle(7).with_steps(64), "one_cycle"),
        (sgdr(3, 1, 2, warmup=1).with_steps(64), "warm-up"),
        (448, "a schedule"),
    ],
)
def test_a_schedule_is_told_where_it_ends(schedule, word):
    note = Exercise("02.2").check(schedule)
    assert not note.right and word in note.text


def test_the_check_of_ends_asks_the_schedule_itself():
    assert "448" in check_ends(sgdr(3, 64, 2), None), "epochs of one update are updates"


def test_the_run_is_looked_at_from_all_sides(data):
    learn = Learner(data)
    for options, word in (
        ({}, "not trained"),
        ({"schedule": sgdr(1, 2, 3)}, "in this order"),
        ({"schedule": sgdr(3, 1, 2)}, "0 snapshots"),
        ({"schedule": sgdr(3, 1, 2), "snapshots": True, "lr": 1e-7}, "lesson 1"),
    ):
        if options:
            learn.fit(**{"lr": 1e-3, "progress": False} | options)
        with pytest.raises(Again, match=word):
            check_run(learn, SimpleNamespace(data=data))


def test_each_wrong_count_of_falls_has_its_reason():
    given = SimpleNamespace(falls={"A": 0, "B": 1, "C": 3})
    for wrong, word in (
        ({"A": 1}, "gone"),
        ({"B": 2}, "B: count"),
        ({"C": 1.5}, "C: count"),
        ({"B": "1"}, "quotation"),
    ):
        with pytest.raises(Again, match=word):
            check_falls(given.falls | wrong, given)
    with pytest.raises(Again, match="A, C"):
        check_falls({"B": 1}, given)


def test_voters_are_asked_anew(data, monkeypatch):
    learn = Learner(data)
    learn.fit(sgdr(3, 1), lr=3e-3, progress=False)
    with pytest.raises(Again, match="0 snapshots"):
        check_votes(learn, None)
    learn.fit(sgdr(2, 2), lr=1e-6, snapshots=True, progress=False)
    with pytest.raises(Again, match="0.8 together"):
        check_votes(learn, None)
    monkeypatch.setattr("lessonkit.lab.tasks_02._GOAL", 0.1)
    with pytest.raises(Again, match="agree add nothing"):
        check_votes(learn, None)
    learn.fit(sgdr(61, 1), lr=1e-6, snapshots=True, progress=False)
    with pytest.raises(Again, match="183 updates"):
        check_votes(learn, None)
    other = Learner(ImageData("sample:top_down", size=48, per_class=8, bs=16, augment="none", progress=False))
    with pytest.raises(Again, match="side_on"):
        check_votes(other, None)


@settings(deadline=None, max_examples=40)
@given(
    st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.none()
    | st.booleans()
    | st.lists(st.none())
    | st.dictionaries(st.sampled_from("ABC"), st.floats() | st.none() | st.text(max_size=2))
)
def test_nothing_else_is_right_or_ends_in_a_traceback(answer):
    falls = SimpleNamespace(falls={"A": 0, "B": 1, "C": 3})
    for check in (check_updates, check_ends, check_run, check_falls, check_votes):
        if answer != 112 and answer != falls.falls:
            with pytest.raises(Again):
                check(answer, falls)


def test_the_open_one_can_be_done():
    space = {"Learner": Learner, "ImageData": ImageData, "sgdr": sgdr, "spread_lrs": spread_lrs}
    exec(TASKS["02.5"].solution, space)
    assert Exercise("02.5").check(space["mine"]).right
