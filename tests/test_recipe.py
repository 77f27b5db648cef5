"""What ends the five steps early leaves what was learnt until then."""

import signal

import pytest
import torch
from conftest import paint
from torch.nn import functional as F

from lessonkit.images.data import ImageData
from lessonkit.recipe import five_steps
from lessonkit.train.learner import Learner
from lessonkit.train.loop import TrainingError

SHORT = dict(
    arch="resnet10", weights=None, head_epochs=1, epochs=2, cycle_len=1, progress=False, device="cpu"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    for name, color in {"red": (150, 20, 20), "green": (20, 150, 20)}.items():
        for k in range(12):
            paint(root / name / f"{k}.png", color, k)
    return ImageData(root, size=32, bs=8, progress=False)


def at_step(number: int, act):
    "A pair: what to say, and a loss that acts in the first update of a step."
    now = [""]

    def loss(logits, yb):
        if now[0] == f"{number}." and logits.requires_grad:
            now[0] = ""
            act()
        return F.cross_entropy(logits, yb)

    return {"say": lambda line: now.__setitem__(0, line[:2]), "loss_fn": loss}


def interrupt(times: int):
    return lambda: [signal.raise_signal(signal.SIGINT) for _ in range(times)]


@pytest.mark.parametrize("number, times", [(3, 1), (5, 1), (5, 2)])
def test_an_interrupt_keeps_the_head_that_was_trained(data, number, times):
    five = five_steps(data, **SHORT, **at_step(number, interrupt(times)))
    assert five.ended == "interrupted" and five.score == five.best["accuracy"] > 0
    assert [s.number for s in five.steps][:2] == [1, 2] and len(five.steps) < 5 + (times == 1)
    assert five.learner.validate()["accuracy"] == five.score and "accuracy" in str(five)
    five._repr_html_()


@pytest.mark.parametrize("number", [1, 2])
def test_an_interrupt_before_anything_was_evaluated_goes_to_the_caller(data, number):
    with pytest.raises(KeyboardInterrupt):
        five_steps(data, **SHORT, **at_step(number, interrupt(2)))


def no_memory():
    raise RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB")


@pytest.mark.parametrize("number", [3, 5])
def test_too_little_memory_for_all_layers_keeps_the_head_and_says_what_to_try(data, number):
    five = five_steps(data, **SHORT, **at_step(number, no_memory))
    assert "out of memory with batches of 8 pictures of 32 px: try data.bs = 4" in five.ended
    assert five.learner.validate()["accuracy"] == five.score


def test_too_little_memory_for_a_sweep_leaves_the_learner_as_it_was(data):
    learn = Learner(data, "resnet10", weights=None, loss_fn=lambda logits, yb: no_memory())
    before = {k: v.clone() for k, v in learn.model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"try data.bs = 4. The learner is as it was before the sweep"):
        learn.find(progress=False)
    assert all(torch.equal(v, before[k]) for k, v in learn.model.state_dict().items())
