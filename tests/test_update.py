"""One update, and a stream of them: against a plain loop, with any kind of batch, with scalers that skip."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lessonkit import lr_find, sgdr
from lessonkit.basics import cache_folder
from lessonkit.device import autocast
from lessonkit.evaluate import evaluate, get_preds
from lessonkit.train.loop import train_events, trial
from lessonkit.train.update import MAX_SKIPPED, Passes, Updater, loss_with, set_lrs, updates


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def batches(n=5, bs=8):
    g = torch.Generator().manual_seed(1)
    return [(torch.randn(bs, 4, generator=g), torch.randint(3, (bs,), generator=g)) for _ in range(n)]


def same(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(p, q) for p, q in pairs)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(1e-5, 1.0), min_size=1, max_size=12),
    st.integers(1, 3),
    st.sampled_from([torch.optim.SGD, torch.optim.AdamW]),
)
def test_the_stream_is_what_a_plain_loop_does(lrs, accumulate, kind):
    ours, plain = net(), net()
    made = [kind(m.parameters()) for m in (ours, plain)]
    updater = Updater(ours, made[0], Passes(batches()), loss_with(F.cross_entropy), accumulate=accumulate)
    losses, left = [], []
    for lr in lrs:
        left = left or batches()
        now, left = left[:accumulate], left[accumulate:]  # no update mixes two passes
        made[1].param_groups[0]["lr"] = lr
        made[1].zero_grad()
        parts = []
        for xb, yb in now:
            loss = F.cross_entropy(plain(xb), yb)
            (loss / len(now)).backward()
            parts.append(loss.item())
        made[1].step()
        losses.append(sum(parts) / len(now))
    assert [loss.item() for loss in updates(updater, [[lr] for lr in lrs])] == pytest.approx(losses, rel=1e-6)
    assert same(ours, plain)


@pytest.mark.parametrize(
    "kind", [lambda x, y: {"x": x, "label": y}, lambda x, y: [x, y], lambda x, y: ({"x": x}, y)]
)
def test_any_kind_of_batch_trains_and_is_evaluated_to_the_same_bits(kind):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            return SimpleNamespace(logits=self.inner(x))

    runs = []
    for make in (lambda x, y: (x, y), kind):
        model, dl = Named(), [make(x, y) for x, y in batches()]
        opt = torch.optim.SGD(model.parameters(), 0.1)
        events = list(train_events(model, dl, dl, opt, sgdr(2, 1).with_steps(5)))
        tried = list(trial(model, dl, torch.optim.SGD(model.parameters(), 0.1), 4))
        runs.append(
            (
                model,
                [e.loss.item() for e in events if hasattr(e, "loss")],
                tried,
                evaluate(model, dl),
                get_preds(model, dl).probs.tolist(),
            )
        )
    assert same(runs[0][0], runs[1][0]) and runs[0][1:] == runs[1][1:]


class Skipping:
    "A gradient scaler that skips the first `n` steps."

    def __init__(self, n):
        self.left, self.value = n, 2.0**n

    def get_scale(self):
        return self.value

    def scale(self, loss):
        return loss

    def step(self, opt):
        if not self.left:
            opt.step()

    def update(self):
        if self.left:
            self.left, self.value = self.left - 1, self.value / 2


def test_a_skipped_update_is_tried_again_with_the_next_batch_in_training_too():
    plain, skipped, dl = net(), net(), batches()
    plain_dl = dl[2:] + dl[:2]
    schedule = sgdr(1, 1).with_steps(5)
    ends = [
        list(train_events(m, d, dl, torch.optim.SGD(m.parameters(), 0.1), schedule, scaler=scaler))
        for m, d, scaler in ((plain, plain_dl, None), (skipped, dl, Skipping(2)))
    ]
    assert [e.loss.item() for e in ends[0][:5]] == [e.loss.item() for e in ends[1][:5]]
    weights = [(p, q) for (n, p), (_, q) in zip(plain.named_parameters(), skipped.named_parameters())]
    assert all(torch.equal(p, q) for p, q in weights)


def test_a_scaler_that_skips_for_ever_ends_in_an_infinite_loss():
    model = net()
    opt, scaler = torch.optim.SGD(model.parameters(), 0.1), Skipping(900)
    before = copy.deepcopy(dict(model.named_parameters()))
    updater = Updater(model, opt, Passes(batches()), loss_with(F.cross_entropy), scaler=scaler)
    assert updater.update() == math.inf and scaler.left == 900 - MAX_SKIPPED
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_a_sweep_reads_the_same_stream():
    model, dl = net(), batches()
    opt = torch.optim.SGD(model.parameters(), 1.0)
    found = lr_find(model, dl, F.cross_entropy, opt, n_steps=20, lr_max=0.1)
    updater = Updater(model, opt, Passes(dl), loss_with(F.cross_entropy))
    assert found.losses == tuple(loss.item() for loss in updates(updater, [[lr] for lr in found.lrs]))


def test_lrs_that_are_tensors_stay_the_same_tensors():
    opt = torch.optim.AdamW(net().parameters(), lr=torch.tensor(0.1))
    kept = opt.param_groups[0]["lr"]
    set_lrs(opt, [0.5])
    assert opt.param_groups[0]["lr"] is kept and kept == 0.5


def test_what_cannot_be_trained_is_said():
    model = net().requires_grad_(False)
    opt = torch.optim.SGD(net().parameters(), 0.1)
    with pytest.raises(ValueError, match="no gradient"):
        Updater(model, opt, Passes(batches()), loss_with(F.cross_entropy)).update()
    with pytest.raises(ValueError, match="fp32, bf16, fp16"):
        autocast("cpu", "int8")
    with pytest.raises(ValueError, match="no batches"):
        next(Passes([]))


def test_one_cache_folder_that_knows_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("LESSONKIT_CACHE", "~/kept")
    assert cache_folder() == tmp_path / "kept"
