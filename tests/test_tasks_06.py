"""The exercises of lesson 06: solutions pass, usual mistakes have names, odd answers get a sentence."""

from types import SimpleNamespace

import pytest
from exercising import ODD, again
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from lessonkit import ImageData, Learner, sgdr, write_samples
from lessonkit.lab.exercises import Exercise
from lessonkit.lab.task import Again
from lessonkit.lab.tasks_06 import (
    SIZES,
    TASKS,
    check_flattened,
    check_plan,
    check_sizes,
    check_switched,
    check_tiny,
    make_networks,
    sizes_taken,
)

pytestmark = pytest.mark.usefixtures("own_folder")
TAKEN = {"A": [64], "B": [16, 64, 128], "C": [64, 128]}
ABOUT = SimpleNamespace(epoch={64: 0.6, 128: 1.7}, **make_networks(None))


def side_on(**options):
    return ImageData(
        "sample:side_on",
        **{"size": 64, "per_class": 8, "bs": 16, "augment": "none", "progress": False} | options,
    )


def trained(data, epochs=1, lr=1e-6):
    learn = Learner(data)
    learn.fit(sgdr(1, epochs), lr=lr, progress=False)
    return learn


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("tiny") / "tiny", n_train=96, n_valid=240, size=32)


# solutions


def test_the_short_solutions_pass_their_own_checks():
    assert Exercise("06.1").check(eval(TASKS["06.1"].solution)).right
    assert Exercise("06.2").check(eval(TASKS["06.2"].solution)).right
    for epoch in ({64: 0.6, 128: 1.7}, {64: 0.05, 128: 0.11}, {64: 4.0, 128: 13.0}):
        ex4, said = Exercise("06.4", epoch=epoch), []
        note = SimpleNamespace(check=lambda answer, ex=ex4, said=said: said.append(ex.check(answer)))
        exec(TASKS["06.4"].solution, {"ex4": note, "epoch": epoch})
        assert said[0].right, said[0].text


def test_the_solutions_that_train_pass_their_own_checks():
    space = {"ImageData": ImageData, "Learner": Learner, "sgdr": sgdr, "write_samples": write_samples}
    exec(TASKS["06.3"].solution, space), exec(TASKS["06.5"].solution, space)
    assert Exercise("06.3").check(space["learn3"]).right and Exercise("06.5").check(space["mine"]).right


# usual mistakes


@pytest.mark.parametrize(
    "answer, word",
    [
        (1280, "keeps every place"),
        (2560, "keeps every place"),
        (1280 * 7, "two sides"),
        (1280 * 224**2, "halved"),
        (1280 * 49 * 6, "come in"),
        (49, "How many maps"),
        (3 * 224**2, "out of it"),
        (62000, "How large"),
        ("62720", "quotation"),
    ],
)
def test_usual_mistakes_of_flattening_have_names(answer, word):
    said = again(check_flattened, answer, None)
    assert word in said and "62" not in said.replace("'62720'", "")


def test_the_networks_are_asked_and_each_wrong_size_is_told_why():
    assert {name: sorted(sizes_taken(n)) for name, n in ABOUT.networks.items()} == TAKEN
    for name in "ABC":
        for k in range(2 ** len(SIZES)):
            answer = [size for i, size in enumerate(SIZES) if k >> i & 1]
            note = Exercise("06.2").check(TAKEN | {name: answer})
            assert note.right == (answer == TAKEN[name]) and (note.right or note.text.startswith(name))
    assert Exercise("06.2").check({name: set(sizes) for name, sizes in TAKEN.items()}).right


@pytest.mark.parametrize(
    "answer, word",
    [
        ({"A": [64]}, "no answer for B, C"),
        (TAKEN | {"B": [16, 32]}, "32 px was not asked"),
        ([64], "a dictionary"),
        (TAKEN | {"A": 64}, "a list of sizes for A"),
        (TAKEN | {"A": ["64"]}, "quotation"),
    ],
)
def test_sizes_are_asked_for_in_full(answer, word):
    assert word in again(check_sizes, answer, ABOUT)


def test_the_switch_is_looked_at_where_the_batches_come_from():
    learn = trained(side_on())
    assert "64 px now" in again(check_switched, learn, None)
    learn.data = side_on(size=128)
    learn.fit(sgdr(1, 1), lr=1e-6, progress=False)
    assert "batches that it trains on have 64" in again(check_switched, learn, None)
    learn = trained(side_on())
    learn.resize(128)
    assert "last run was at 64" in again(check_switched, learn, None)
    learn.fit(sgdr(1, 1), lr=1e-6, progress=False)
    assert "as a new head does" in again(check_switched, learn, None)
    learn = trained(side_on(), 4, 3e-3)
    learn.resize(128)
    learn.fit(sgdr(1, 1), lr=1e-6, progress=False)
    assert "switch is made" in again(check_switched, learn, None)
    assert "not trained" in again(check_switched, Learner(side_on()), None)


@pytest.mark.parametrize(
    "plan, word",
    [
        ([(128, 12), (64, 60)], "small first"),
        ([(64, 60)], "end at 128"),
        ([(64, 66), (128, 13)], "more than"),
        ([(64, 80), (128, 5)], "at least to learn"),
        ([(64, 20), (128, 12)], "use them"),
        ([], "empty"),
        ([(96, 2), (128, 12)], "96 px was not measured"),
        ([(64, 6.5), (128, 12)], "whole epochs"),
        ([(64, 0), (128, 12)], "at least one"),
        ([64, 128], "no pair"),
        ({64: 66, 128: 12}, "list of pairs"),
        ([(64, "66"), (128, 12)], "quotation"),
        ([(64, 30), (64, 36), (128, 12)], "each once"),
    ],
)
def test_usual_mistakes_of_planning_have_names(plan, word):
    assert word in again(check_plan, plan, ABOUT)
    assert "20.4 of them" in check_plan([(64, 66), (128, 12)], ABOUT)


@pytest.mark.parametrize("epoch", [{64: 1.0}, {64: 0, 128: 1.0}, [1, 2], {64: "1", 128: 2.0}])
def test_seconds_that_are_none_are_told_so(epoch):
    again(check_plan, [(64, 66), (128, 12)], SimpleNamespace(epoch=epoch))


def test_pictures_of_32_px_are_pictures_of_32_px(tiny):
    def of(**options):
        return ImageData(tiny, **{"size": 32, "bs": 16, "augment": "none", "progress": False} | options)

    assert "files have up to 128" in again(check_tiny, Learner(side_on()), None)
    assert "not trained" in again(check_tiny, Learner(of()), None)
    assert "what did the lesson do" in again(check_tiny, trained(of()), None)
    assert "66 updates" in again(check_tiny, trained(of(), 11), None)
    assert "on the way" in again(check_tiny, trained(of(size=96)), None)


def test_other_pictures_and_loaders_of_ones_own_are_told_so():
    above = Learner(ImageData("sample:top_down", size=64, per_class=4, bs=16, progress=False))
    data = side_on()
    own = Learner((data.train_dl(), data.valid_dl()), n_classes=6)
    for check in (check_switched, check_tiny):
        assert "other pictures" in again(check, above, None) and "other pictures" in again(check, own, None)


PAIRS = st.lists(
    st.tuples(st.sampled_from([64, 128, 96, "64", None]), st.integers(-3, 9) | st.floats()), max_size=3
)
NAMED = st.dictionaries(
    st.sampled_from("ABC"), st.lists(st.sampled_from([16, 64, 128, 3, None, "64"])) | st.none()
)


@settings(deadline=None, max_examples=80)
@drawn(ODD | PAIRS | NAMED)
def test_nothing_else_is_right_or_ends_in_a_traceback(answer):
    for check in (check_flattened, check_switched, check_plan, check_tiny):
        with pytest.raises(Again):
            check(answer, ABOUT)
    try:
        check_sizes(answer, ABOUT)
    except Again:
        return
    assert {name: sorted(set(sizes)) for name, sizes in answer.items()} == TAKEN
