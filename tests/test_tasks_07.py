"""The exercises of lesson 07: solutions pass, usual mistakes have names, odd answers get a sentence."""

import copy
from types import SimpleNamespace

import pytest
import torch
from exercising import again
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from lessonkit import ImageData, Learner, sgdr
from lessonkit.evaluate import Predictions
from lessonkit.lab.exercises import Exercise
from lessonkit.lab.tasks_07 import TASKS, check_beaten, check_doubt, check_gain, check_names, check_next

LADDER = {"a new head": 0.2, "2. head": 0.7, "5. whole network": 0.95, "112 px": 0.97, "five looks": 0.96}

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(scope="module")
def learn():
    data = ImageData("sample:side_on", size=64, per_class=16, bs=16, augment="none", progress=False)
    learn = Learner(data)
    learn.fit(sgdr(3, 1), lr=3e-3, progress=False)
    return learn


def said_by(learn, **answers) -> SimpleNamespace:
    "A learner that gives these answers."
    counted = {"history": SimpleNamespace(losses=[1.0]), "size": 64, "data": learn.data}
    stub = copy.copy(learn)
    stub.__dict__.update(counted)
    stub.get_preds = lambda: Predictions(torch.eye(6)[answers["said"]], answers["labels"])
    return stub


def test_the_solutions_pass_their_own_checks(learn):
    space = {"ladder": LADDER, "n": 240, "learn": learn, "data": learn.data, "copy": copy, "torch": torch}
    ex1, ex3 = Exercise("07.1", ladder=LADDER, n=240), Exercise("07.3", learn=learn)
    *setup, last = TASKS["07.1"].solution.splitlines()
    exec("\n".join(setup), space | {"ex1": ex1}, space)
    assert eval(last, space | {"ex1": ex1}).right
    space["pictures"] = torch.cat([xb for xb, _ in learn.data.valid_dl(mean=(0, 0, 0), std=(1, 1, 1))])
    exec(TASKS["07.2"].solution, space)
    assert Exercise("07.2", learn=learn).check(space["names"]).right
    answers = learn.get_preds()
    space["matrix"] = torch.zeros(6, 6).index_put(
        (answers.labels, answers.predicted), torch.ones(()), accumulate=True
    )
    *setup, last = TASKS["07.3"].solution.splitlines()
    exec("\n".join(setup), space)
    assert eval(last, space | {"ex3": ex3}).right
    assert Exercise("07.4").check(eval(TASKS["07.4"].solution)).right


@pytest.mark.parametrize(
    "answer, word",
    [
        (["2. head"], "1 more added"),
        (["a new head"], "started"),
        (["head"], "none of"),
        ([], "2 more"),
        (["112 px"], "112 px added +0.020, and chance explains 0.0"),
        (["2. head", "5. whole network", "five looks"], "five looks added -0.010"),
        ("2. head", "a list of names"),
        ([3], "name of a rung"),
    ],
)
def test_usual_mistakes_of_the_ladder_have_names(answer, word):
    assert word in again(check_gain, answer, SimpleNamespace(ladder=LADDER, n=240))


def test_what_is_beyond_chance_depends_on_how_many_pictures_judge():
    names = ["5. whole network", " 2. HEAD "]
    assert "+0.500" in check_gain(names, SimpleNamespace(ladder=LADDER, n=240))
    assert "1 more" in again(check_gain, names, SimpleNamespace(ladder=LADDER, n=2400))
    assert "5. whole network added +0.250" in again(check_gain, names, SimpleNamespace(ladder=LADDER, n=12))


@pytest.mark.parametrize(
    "ladder",
    [None, {}, {"a": 1, "b": 2}, {"a": 1, "b": None, "c": 2}, [1, 2, 3], {"a": 0, "b": float("nan"), "c": 1}],
)
def test_what_is_no_ladder_is_said(ladder):
    assert "run its cells" in again(check_gain, ["a"], SimpleNamespace(ladder=ladder, n=240))


def test_broken_predictions_are_told_apart(learn):
    about, classes = SimpleNamespace(learn=learn), learn.data.classes
    right = [classes[k] for k in learn.get_preds().predicted.tolist()]
    assert "own mode" in check_names(right, about)
    shifted = [classes[classes.index(name) - 1] for name in right]
    assert "one place off" in again(check_names, shifted, about)
    some = [name if k % 3 else classes[0] for k, name in enumerate(shifted)]
    assert "and that is not all" in again(check_names, some, about)
    nearly = [classes[-1] if k < 20 else name for k, name in enumerate(right)]
    assert "nearly" in again(check_names, nearly, about)
    assert "All of the mistakes" in again(check_names, [classes[0]] * len(right), about)
    labels = [classes[k] for k in learn.get_preds().labels.tolist()]
    assert "the labels" in again(check_names, labels, about)
    assert "239 names" in again(check_names, right[1:], about)
    assert "'cat' is no class" in again(check_names, ["cat", *right[1:]], about)


def test_what_is_missed_is_not_what_others_are_taken_for(learn):
    labels = torch.arange(6).repeat_interleave(10)
    said = labels.clone()
    said[:4] = 1  # four of class 0 are taken for class 1
    about = SimpleNamespace(learn=said_by(learn, said=said, labels=labels))
    classes = learn.data.classes
    assert "60%" in check_next(classes[0], about)
    assert "taken for it" in again(check_next, classes[1], about)
    assert "another class" in again(check_next, classes[2], about)
    assert "none of" in again(check_next, "cat", about)
    assert "it misses 4, the other classes 0, 0, 0, 0, 0" in check_next(f" {classes[0].upper()} ", about)
    about.learn = said_by(learn, said=labels, labels=labels)
    assert "found whole" in check_next(classes[2], about)


@pytest.mark.parametrize(
    "answer, word",
    [
        (1718, "each on its own"),
        (1900, "each on its own"),
        (859, "as large as"),
        (240, "0.005"),
        ("3436", "quotation"),
    ],
)
def test_usual_mistakes_of_a_difference_have_names(answer, word):
    assert word in again(check_doubt, answer, None)


@pytest.fixture
def beaten(learn):
    "A recipe with five mistakes in sixty pictures, and the right answers."
    labels = torch.arange(6).repeat_interleave(10)
    said = labels.clone()
    said[:5] = 1
    five = SimpleNamespace(learner=said_by(learn, said=said, labels=labels))
    return SimpleNamespace(five=five, learn=learn), labels


def test_the_recipe_is_beaten_by_half_of_its_mistakes(learn, beaten):
    about, labels = beaten
    for there in (learn, about.five.learner):
        assert "before the question" in again(check_beaten, there, about)
    for wrong, right in ((2, True), (3, False), (0, True)):
        mine = labels.clone()
        mine[:wrong] = 2
        stub = said_by(learn, said=mine, labels=labels)
        if right:
            assert f"yours has {wrong} wrong" in check_beaten(stub, about)
        else:
            assert "Half of that" in again(check_beaten, stub, about)
    about.five.learner = said_by(learn, said=labels, labels=labels)
    assert "nothing to halve" in again(check_beaten, said_by(learn, said=labels, labels=labels), about)


def test_the_recipe_is_beaten_on_its_own_pictures(learn, beaten):
    about, labels = beaten
    assert "judged by 12" in again(check_beaten, said_by(learn, said=labels[:12], labels=labels[:12]), about)
    more = Learner(ImageData("sample:side_on", size=32, per_class=20, bs=16, augment="none", progress=False))
    assert "not trained" in again(check_beaten, more, about)
    more.history.losses.append(1.0)
    assert "24 pictures that the recipe had not" in again(check_beaten, more, about)
    options = {"size": 32, "per_class": 8, "bs": 16, "augment": "none", "progress": False}
    other = Learner(ImageData("sample:side_on", seed=5, **options))
    other.history.losses.append(1.0)
    assert "pictures that the recipe had not" in again(check_beaten, other, about)
    more.data = SimpleNamespace(classes=("a", "b"))
    assert "other classes" in again(check_beaten, more, about)


@settings(deadline=None, max_examples=60)
@drawn(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers() | st.none(), max_size=3)
    | st.dictionaries(st.text(max_size=2), st.floats(), max_size=3)
)
def test_odd_answers_get_a_sentence(learn, answer):
    about = SimpleNamespace(ladder=LADDER, n=240, learn=learn, five=SimpleNamespace(learner=learn))
    for check in (check_gain, check_names, check_next, check_beaten):
        assert again(check, answer, about)
    if not (isinstance(answer, int | float) and 3200 < answer < 3700):
        assert again(check_doubt, answer, about)
