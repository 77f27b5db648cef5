"""The exercises of lesson 03: solutions pass, usual mistakes have names, odd answers get a sentence."""

from types import SimpleNamespace

import pytest
from exercising import ODD, again
from hypothesis import given as drawn
from hypothesis import settings

from lessonkit import ImageData, Learner, sgdr, spread_lrs
from lessonkit.lab import tasks_03
from lessonkit.lab.exercises import TASKS, Exercise
from lessonkit.lab.tasks_03 import check_late, check_own, check_rescued, check_spread, check_still
from lessonkit.train.loop import TrainingError

RUNS = {
    (1, 1e-4): 0.5,
    (1, 3e-4): 0.6,
    (1, 1e-3): 0.4,
    (3, 3e-4): 0.5,
    (3, 1e-3): 0.7,
    (3, 3e-3): 0.4,
    (10, 1e-3): 0.5,
    (10, 3e-3): 0.65,
    (10, 1e-2): 0.3,
}
LATE = {1: 3e-4, 3: 1e-3 / 3, 10: 3e-4}

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(scope="module")
def data():
    return ImageData("sample:side_on", size=64, per_class=16, bs=16, augment="none", progress=False)


@pytest.fixture(scope="module")
def repair(data):
    return Exercise("03.3", data=data, learn=None)


def test_the_solutions_pass_their_own_checks(data, repair):
    space = {
        "data": data,
        "Learner": Learner,
        "sgdr": sgdr,
        "spread_lrs": spread_lrs,
        "runs": {"side on": RUNS},
    }
    ex1, ex2, ex4 = Exercise("03.1"), Exercise("03.2", data=data), Exercise("03.4", runs=RUNS)
    assert ex1.check(eval(ex1.task.solution, space)).right
    assert ex2.check(eval(ex2.task.solution, space | {"ex2": ex2})).right
    exec(repair.task.solution, space), exec(ex4.task.solution, space)
    assert repair.check(space["learn3"]).right and ex4.check(space["own"]).right
    ex5 = Exercise("03.5")
    assert ex5.check(eval(ex5.task.solution)).right
    assert "late layers had 0.003" in ex5.check([1e-3, 3e-3, 3e-3]).text  # with 0.001 it is a lottery


@pytest.mark.parametrize(
    "answer, word",
    [
        (spread_lrs(2e-3, 3, 5)[::-1], "wrong way round"),
        (spread_lrs(2e-3, 3), "factor of 3"),
        (spread_lrs(2e-3, 5, 3), "Five rates"),
        (spread_lrs(8e-5, 3, 5), "first argument"),
        (spread_lrs(2e-3, 3, 25), "from the first to"),
        ([1e-4, 1e-3, 1e-2], "0.01"),
        ([1e-5, 1e-5, 2e-3], "a fifth"),
        ([1e-4, 1e-3], "2 of them"),
        (1e-3, "list"),
        ([1e-5, "1e-4", 1e-3], "group 1"),
        ([-1, 1, 1], "below 0"),
    ],
)
def test_usual_mistakes_of_the_spread_have_names(answer, word):
    assert word in again(check_spread, answer, None)


@pytest.fixture(params=[0, 1])
def forgotten(data, monkeypatch, request):
    "A network whose first, or second, group was left frozen."
    monkeypatch.setattr(tasks_03, "shuffled", lambda groups: [request.param])
    about = SimpleNamespace(data=data)
    about.__dict__.update(tasks_03.make_forgotten(about))
    assert about.forgotten == request.param
    return about


def test_what_has_no_gradient_is_counted_in_every_group(forgotten):
    totals, still, k = [g.n_params for g in forgotten.learn.groups], forgotten.still, forgotten.forgotten
    assert still[k] == totals[k] and 0 < still[1 - k] < totals[1 - k] and still[2] == 0
    for answer in (still, tuple(map(float, still))):
        assert "was forgotten" in check_still(answer, forgotten)


def test_usual_mistakes_of_the_count_have_names(forgotten):
    totals, still, k = [g.n_params for g in forgotten.learn.groups], forgotten.still, forgotten.forgotten
    only = [n if i == k else 0 for i, n in enumerate(totals)]
    norms = [0 if i == k else n for i, n in enumerate(still)]
    for answer, word in (
        (forgotten.tensors, "tensors"),
        ([n - s for n, s in zip(totals, still)], "do have"),
        (only, "always"),
        (norms, "whole group"),
        (k, "each group"),
        ([1, 1, 1], "0, 1, 2"),
        ([0, 0], "2 of them"),
        ("a lot", "numbers of weights"),
        *([([*totals[:2], 0], "only one group")] if k else []),
    ):
        said = again(check_still, answer, forgotten)
        assert word in said or (answer == only and "keep frozen" in said)
        assert f"{still[1 - k]}" not in said.replace(",", "")


def test_the_repaired_run_is_looked_at_from_all_sides(data, repair):
    new = Learner(data)
    repair.given.learn = new
    assert "of the lesson" in repair.check(new).text
    repair.given.learn = None
    assert "not trained" in repair.check(new).text and "type list" in repair.check([1]).text
    new.fit(sgdr(1, 2), lr=3e-3, progress=False)
    assert "1 of 3" in repair.check(new).text
    new.unfreeze()
    new.fit(sgdr(1, 1), lr=spread_lrs(3e-3, 3, 3)[::-1], progress=False)
    assert "first layers had 0.003" in repair.check(new).text
    rash = Learner(data)
    rash.unfreeze()
    rash.fit(sgdr(1, 1), lr=spread_lrs(1e-3, 3, 3), progress=False)
    assert "body was set free" in repair.check(rash).text
    hot = Learner(data)
    hot.fit(sgdr(1, 4), lr=3e-3, progress=False)
    hot.unfreeze()
    hot.fit(sgdr(1, 1), lr=[1e-3, 3e-3, 3e-3], progress=False)
    assert "late layers had 0.003" in repair.check(hot).text
    other = Learner(ImageData("sample:top_down", size=32, per_class=4, bs=8, augment="none", progress=False))
    other.fit(sgdr(1, 1), lr=1e-3, progress=False)
    assert "other pictures" in repair.check(other).text


@pytest.mark.parametrize(
    "answer, word",
    [
        (LATE | {3: 1e-3}, "head's rate"),
        (LATE | {10: 3e-5}, "first layers"),
        (LATE | {1: 1e-3}, "0.40"),
        (LATE | {10: 0.5}, "no run"),
        ({1: 3e-4}, "factor 3, 10"),
        (LATE | {3: "x"}, "quotation"),
        ([3e-4], "dictionary"),
    ],
)
def test_usual_mistakes_of_the_late_rate_have_names(answer, word):
    assert word in again(check_late, answer, SimpleNamespace(runs=RUNS))


def test_the_late_rate_is_read_off_the_runs_that_were_handed_in():
    assert "head's 10" in check_late(LATE | {3: 3.3e-4}, SimpleNamespace(runs=RUNS))
    tie = RUNS | {(10, 1e-3): 0.65}
    assert check_late(LATE | {10: 1e-4}, SimpleNamespace(runs=tie)) and check_late(
        LATE, SimpleNamespace(runs=tie)
    )
    for runs in (
        None,
        {},
        {"side on": RUNS},
        {(1, 2): None},
        {(1, 2, 3): 1},
        [RUNS],
        {("a", 1): 1},
        {(0, 1): 1, (2, 1): 1},
    ):
        assert "run its cells again" in again(check_late, LATE, SimpleNamespace(runs=runs))


@pytest.mark.parametrize(
    "lrs, word",
    [
        ([1e-3] * 3, "late layers"),
        ([3e-3, 3e-4, 1e-3], "cliff"),
        ([0, 0, 0], "little learnt"),
        ([1e-3, 3e-4, 5], "a rate for a head"),
        ([1e-4, 3e-4, 1e-3], "how far below"),
    ],
)
def test_a_score_below_the_goal_says_why(monkeypatch, lrs, word):
    monkeypatch.setattr(tasks_03, "_score", lambda lrs, start: 0.3)
    assert word in again(check_own, lrs, SimpleNamespace(start=None, head=0.5))


def test_a_score_that_is_high_enough_is_compared_with_one_rate_for_all(monkeypatch):
    monkeypatch.setattr(tasks_03, "_score", lambda lrs, start: 0.9 if len(set(lrs)) > 1 else 0.8)
    said = check_own([1e-3, 3e-4, 1e-3], SimpleNamespace(start=None, head=0.5))
    assert "score is 0.900" in said and "all three 0.800" in said


def test_a_loss_beyond_all_numbers_is_no_traceback(data, monkeypatch):
    def refuse(*args, **options):
        raise TrainingError("nan")

    start = Learner(data)
    monkeypatch.setattr(Learner, "fit", refuse)
    assert "beyond all numbers" in again(check_own, [1e9, 1e9, 1e9], SimpleNamespace(start=start, head=0.5))


@settings(deadline=None, max_examples=80)
@drawn(ODD)
def test_odd_answers_get_a_sentence(answer):
    still = SimpleNamespace(
        still=[5, 7, 0],
        tensors=[2, 3, 0],
        forgotten=0,
        learn=SimpleNamespace(groups=[SimpleNamespace(n_params=n) for n in (5, 9, 4)]),
    )
    for check, about in (
        (check_spread, None),
        (check_still, still),
        (check_late, SimpleNamespace(runs=RUNS)),
        (check_rescued, SimpleNamespace(learn=1.5)),
    ):
        assert again(check, answer, about)


def test_every_exercise_of_the_lesson_is_there():
    assert [id for id in TASKS if id.startswith("03.")] == [f"03.{k}" for k in range(1, 6)]
