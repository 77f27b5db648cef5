"""A run that is cut anywhere goes on as if nothing had happened, to the bit."""

import os
import shutil

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lessonkit import ImageData, Learner, sgdr
from lessonkit.train.loop import CycleDone, EpochDone, StepDone
from lessonkit.train.run import Run, checkpoints


class Noisy(Dataset):
    "Points whose noise is drawn anew each time, from torch's global generator."

    classes = ("below", "above")

    def __len__(self):
        return 20

    def __getitem__(self, k):
        x = torch.arange(4.0) * (k % 2) + torch.rand(4)
        return x, k % 2


def small_net():
    torch.manual_seed(0)
    parts = torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)
    return torch.nn.Sequential(*parts)


def on_pictures(folder, frozen=False, augment="side_on"):
    learn = Learner(ImageData(folder, 24, augment, bs=8, progress=False), "resnet10", weights=None)
    if frozen:
        learn.freeze_to(-1)
    return learn


def on_loaders(generator=None):
    torch.manual_seed(3)  # what a process begins with
    train = DataLoader(Noisy(), batch_size=4, shuffle=True, generator=generator)
    valid = [(torch.arange(4.0)[None] * torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))]
    return Learner((train, valid), small_net(), n_groups=1, seed=5)


KINDS = {
    "pictures": (on_pictures, sgdr(1, 2), {}),
    "a frozen body, each picture seen once": (lambda f: on_pictures(f, True, "none"), sgdr(1, 3), {}),
    "cycles of half an epoch, several batches an update": (on_pictures, sgdr(3, 0.5), {"accumulate": 2}),
    "cycles that grow by themselves": (on_pictures, sgdr(2, 1, "auto"), {}),
    "a loader's order from the global generator": (lambda f: on_loaders(), sgdr(1, 3), {}),
    "a loader's own generator": (
        lambda f: on_loaders(torch.Generator().manual_seed(1)), sgdr(1, 3), {"accumulate": 2},
    ),
}  # fmt: skip


def outcome(learn):
    "Everything that a run ends with."
    epochs = [{k: v for k, v in e.items() if k != "seconds"} for e in learn.history.epochs]
    states = [learn.model.state_dict(), learn.best.state]
    tensors = [[t.numpy().tobytes() for t in state.values()] for state in states]
    return epochs, learn.history.losses, learn.history.lrs, learn.history.schedule, tensors


def cut_at(learn, stop, schedule, kind=StepDone, **how):
    for event in learn.run(schedule, 0.01, **how):
        if event.step == stop and isinstance(event, kind):
            return


def all_checkpoints(learn, folder, schedule, **how):
    "A run that is killed after every event: for each the file that it left."
    kept = []
    for event in learn.run(schedule, 0.01, checkpoint=folder / "now", checkpoint_every=0, **how):
        kept.append(folder / f"{len(kept)} {type(event).__name__} {event.step}")
        shutil.copy(folder / "now", kept[-1])
    return kept


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_cut_at_any_update_goes_on_to_the_same_bits(kind, colours, tmp_path):
    make, schedule, how = KINDS[kind]
    whole, cut = make(colours), make(colours)
    whole.fit(schedule, 0.01, progress=False, **how)
    kept = all_checkpoints(cut, tmp_path, schedule, **how)
    n_updates, ends = len(whole.history.losses), [e["step"] for e in whole.history.epochs]
    assert sum("StepDone" in path.name for path in kept) == n_updates
    due = [path for path in kept if path.name.endswith(tuple(f"StepDone {end}" for end in ends))]
    assert len(due) == len(ends)
    for path in kept if kind.startswith("a loader") else [*kept[1::3], due[0], due[-1]]:
        torch.manual_seed(99)
        later = make(colours)
        history = later.fit(schedule, 0.01, resume=True, progress=False, checkpoint=path, **how)
        assert outcome(later) == outcome(whole) and history.ended == "done"


def test_a_run_that_is_stopped_leaves_what_it_did(colours, tmp_path):
    schedule, path = sgdr(1, 2), tmp_path / "run"
    whole, cut, later = (on_pictures(colours) for _ in range(3))
    whole.fit(schedule, 0.01, progress=False)
    cut_at(cut, 3, schedule, checkpoint=path)
    steps = [e.step for e in later.run(schedule, 0.01, checkpoint=path, resume=True)]
    assert steps[0] == 4 and outcome(later) == outcome(whole)


@pytest.mark.parametrize("kind", [StepDone, EpochDone, CycleDone])
@pytest.mark.parametrize("stop", [4, 8])
def test_a_run_that_is_stopped_where_a_cycle_ends(kind, stop, colours, tmp_path):
    schedule, path = sgdr(3, 1, "auto"), tmp_path / "run"
    whole, cut, later = (on_pictures(colours) for _ in range(3))
    whole.fit(schedule, 0.01, progress=False)
    cut_at(cut, stop, schedule, kind, checkpoint=path)
    assert cut.history.cycle_ends == [4, 8][: stop // 4 - (kind is StepDone)]
    events = [(type(e), e.step) for e in later.run(schedule, 0.01, checkpoint=path, resume=True)]
    assert events[0] == ((EpochDone, stop) if kind is StepDone else (StepDone, stop + 1))
    assert outcome(later) == outcome(whole) and later.history.cycle_ends == whole.history.cycle_ends


def test_a_run_that_is_stopped_at_its_last_update_is_evaluated_when_it_is_resumed(colours, tmp_path):
    whole, cut, later = (on_pictures(colours) for _ in range(3))
    whole.fit(sgdr(1), 0.01, progress=False)
    cut_at(cut, 4, sgdr(1), checkpoint=tmp_path / "run")
    assert not cut.history.epochs
    later.fit(sgdr(1), 0.01, checkpoint=tmp_path / "run", resume=True, progress=False)
    assert outcome(later) == outcome(whole) and later.history.ended == "done"


def test_checkpoints_come_within_an_epoch_too_and_two_are_kept(colours, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Run, "save", lambda run, save=Run.save: (save(run), saved.append(run.step)))
    path = tmp_path / "run"
    learn = on_pictures(colours)
    learn.fit(sgdr(1, 2), 0.01, checkpoint=path, checkpoint_every=0, progress=False)
    n = len(learn.train_dl)
    assert n > 2 and saved == [*range(1, n + 1), n, *range(n + 1, 2 * n + 1), 2 * n]
    assert checkpoints(path) == [path, tmp_path / "run.before"]
    learn.fit(sgdr(1, 2), 0.01, checkpoint=path, checkpoint_every=1000, progress=False)
    assert saved[2 * n + 2 :] == [n, 2 * n]


def test_a_damaged_checkpoint_leads_back_to_the_one_before(colours, tmp_path):
    path = tmp_path / "run"
    whole, cut, later = (on_pictures(colours) for _ in range(3))
    whole.fit(sgdr(1, 2), 0.01, progress=False)
    cut_at(cut, 6, sgdr(1, 2), checkpoint=path, checkpoint_every=0)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="going on from .*run.before"):
        later.fit(sgdr(1, 2), 0.01, checkpoint=path, resume=True, progress=False)
    assert outcome(later) == outcome(whole)
    for p in checkpoints(path):
        p.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="not a checkpoint"):
        later.fit(sgdr(1, 2), 0.01, checkpoint=path, resume=True, progress=False)


def test_a_checkpoint_that_cannot_be_written_ends_no_run(colours, tmp_path):
    learn, other = on_pictures(colours), on_pictures(colours)
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="could not be written .*training goes on"):
        history = learn.fit(sgdr(1, 1), 0.01, checkpoint=tmp_path / "file" / "run", progress=False)
    other.fit(sgdr(1, 1), 0.01, progress=False)
    assert history.ended == "done" and outcome(learn) == outcome(other)


def test_a_run_that_overfitted_is_over_when_it_is_resumed(colours, tmp_path, monkeypatch):
    from lessonkit.train import loop

    losses = iter([1.0, 2.0, 3.0])
    real = loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *a, **k: (next(losses), real(*a, **k)[1]))
    how = {"until_overfit": True, "patience": 2, "progress": False, "checkpoint": tmp_path / "run"}
    first, second = on_pictures(colours), on_pictures(colours)
    first.fit(sgdr(5, 1), 0.01, **how)
    second.fit(sgdr(5, 1), 0.01, resume=True, **how)
    assert second.history.ended == "overfit" and outcome(first) == outcome(second)
    assert len(second.history.epochs) == 3 and os.path.getsize(tmp_path / "run")
