"""What ends the five steps early leaves what was learnt until then."""

import signal

import pytest
import torch
from conftest import paint
from torch.nn import functional as F

from lessonkit.images.data import ImageData
from lessonkit.recipe import five_steps, remove_checkpoint
from lessonkit.train.learner import Learner
from lessonkit.train.loop import TrainingError
from lessonkit.train.run import Run

SHORT = dict(
    arch="resnet10", weights=None, head_epochs=1, epochs=3, cycle_len=1, progress=False, device="cpu"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    for name, color in {"red": (150, 20, 20), "green": (20, 150, 20)}.items():
        for k in range(12):
            paint(root / name / f"{k}.png", color, k)
    return ImageData(root, size=32, bs=8, progress=False)


def fresh(data):
    "The same pictures in a new object, as in a new process."
    return ImageData(data.report.root, size=32, bs=8, progress=False)


def outcome(five):
    "Everything that a run ends with, but how long it took."
    histories = [h.to_dict() for step in five.steps for h in step.histories]
    epochs = [[{**e, "seconds": 0} for e in h.pop("epochs")] for h in histories]
    weights = [t.numpy().tobytes() for t in five.learner.model.state_dict().values()]
    found = [f.losses for step in five.steps for f in step.found]
    best = {k: v for k, v in five.best.items() if k != "seconds"}
    return five.lrs, best, epochs, histories, found, [s.text for s in five.steps], weights


def at_step(number: int, act, each=False):
    "What to say, and a loss that acts in the first update of a step, or in each."
    now = [""]

    def loss(logits, yb):
        if now[0] == f"{number}." and logits.requires_grad:
            now[0] = now[0] * each
            act()
        return F.cross_entropy(logits, yb)

    say = lambda line: now.__setitem__(0, line[:2] if line[:1].isdigit() else now[0])
    return {"say": say, "loss_fn": loss}


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


def never_from(number: int, least: int):
    "From a step on there is no memory for training on batches of `least` pictures or more."
    now = [0]

    def loss(logits, yb):
        if now[0] >= number and logits.requires_grad and len(yb) >= least:
            no_memory()
        return F.cross_entropy(logits, yb)

    say = lambda line: now.__setitem__(0, int(line[0]) if line[:1].isdigit() else now[0])
    return {"say": say, "loss_fn": loss}


@pytest.mark.parametrize("number", [3, 5])
def test_too_little_memory_for_all_layers_keeps_the_head_and_says_what_to_try(data, number):
    five = five_steps(fresh(data), **SHORT, **never_from(number, 1))
    assert "out of memory with batches of 4 pictures of 32 px: try data.bs = 2" in five.ended
    assert five.learner.validate()["accuracy"] == five.score


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_batches_are_halved_once_where_memory_is_too_little(data, number, tmp_path):
    said, pictures = [], fresh(data)
    memory = never_from(number, 5)
    say = lambda line: (said.append(line), memory["say"](line))
    five = five_steps(pictures, **SHORT, say=say, loss_fn=memory["loss_fn"], checkpoint=tmp_path / "c")
    assert "   too little memory at 32 px: batches of 4 pictures from here on, two an update" in said
    assert five.ended == "" and pictures.bs == 4 and len(five.steps) == 5
    last = five.steps[-1].histories[-1]
    assert last.schedule.steps_per_epoch == 3 and len(last.losses) == 9  # as with whole batches
    again = five_steps(fresh(data), **SHORT, checkpoint=tmp_path / "c", resume=True, say=lambda line: None)
    assert outcome(again) == outcome(five) and again.learner.data.bs == 4


def test_too_little_memory_for_a_sweep_leaves_the_learner_as_it_was(data):
    learn = Learner(data, "resnet10", weights=None, loss_fn=lambda logits, yb: no_memory())
    before = {k: v.clone() for k, v in learn.model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"try data.bs = 4. The learner is as it was before the sweep"):
        learn.find(progress=False)
    assert all(torch.equal(v, before[k]) for k, v in learn.model.state_dict().items())


class Cut(Exception):
    "A process that ends here."


@pytest.fixture(scope="module")
def whole(data):
    return outcome(five_steps(fresh(data), **SHORT, sizes=[24, 32], say=lambda line: None))


def cut_at(number: int, update: int):
    "What ends everything at a training pass of a step, counted from 1."
    passes = [0]

    def cut():
        passes[0] += 1
        if passes[0] == update:
            raise Cut

    return at_step(number, cut, each=True)


@pytest.mark.parametrize("number, update", [(1, 10), (2, 2), (3, 5), (5, 2), (5, 5)])
def test_a_run_that_is_cut_anywhere_goes_on_to_the_same_bits(
    data, whole, tmp_path, number, update, monkeypatch
):
    always = lambda run, *args, init=Run.__init__: init(run, *args[:-1], 0)
    monkeypatch.setattr(Run, "__init__", always)
    how = {**SHORT, "sizes": [24, 32], "checkpoint": tmp_path / "c"}
    with pytest.raises(Cut):
        five_steps(fresh(data), **how, **cut_at(number, update))
    torch.manual_seed(update)
    assert outcome(five_steps(fresh(data), **how, resume=True, say=lambda line: None)) == whole


def test_an_interrupted_run_has_results_and_goes_on(data, whole, tmp_path):
    how = {**SHORT, "sizes": [24, 32], "checkpoint": tmp_path / "c"}
    five = five_steps(fresh(data), **how, **at_step(5, interrupt(1)))
    assert five.ended == "interrupted" and outcome(five) != whole
    said = []
    assert outcome(five_steps(fresh(data), **how, resume=True, say=said.append)) == whole
    assert said[0] == f"going on from {tmp_path / 'c'}\n" and any(line.startswith("1. Find") for line in said)


def test_another_run_is_not_gone_on_with(data, tmp_path):
    how = {**SHORT, "checkpoint": tmp_path / "c", "say": lambda line: None}
    five_steps(fresh(data), **how, **{"loss_fn": F.cross_entropy})
    with pytest.raises(ValueError, match="holds a run that was not ended: .*--resume"):
        five_steps(fresh(data), **how)
    other = ImageData(data.report.root, size=32, bs=8, seed=1, progress=False)
    for pictures, more, said in (
        (other, {}, "pictures .* there, .* here; seed 0 there, 1 here"),
        (fresh(data), {"epochs": 7}, "schedules .* there, .* here"),
        (fresh(data), {"sizes": [24, 32]}, r"size 32 there, 24 here; sizes .* there, .* here; schedules .*"),
    ):
        with pytest.raises(ValueError, match=f"is of another run: {said}; ask for the same"):
            five_steps(pictures, **how | more, resume=True)
    (tmp_path / "c" / "steps.json").write_text('{"asked": []}')
    with pytest.raises(ValueError, match="steps.json cannot be read .*: remove"):
        five_steps(fresh(data), **how, resume=True)
    remove_checkpoint(tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_folder_that_cannot_be_written_to_ends_no_run(data, whole, tmp_path):
    (tmp_path / "file").write_text("")
    how = {**SHORT, "sizes": [24, 32], "say": lambda line: None, "checkpoint": tmp_path / "file" / "c"}
    with pytest.warns(UserWarning, match="cannot be written to .*the run goes on without"):
        assert outcome(five_steps(fresh(data), **how)) == whole
