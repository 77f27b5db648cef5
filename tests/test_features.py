"""What a frozen body makes of a picture is computed once, and nothing but the time tells."""

import pytest
import torch
from torch import nn

from lessonkit import ImageData, Learner, sgdr
from lessonkit.nets.classifier import build_model
from lessonkit.train.features import FeatureBatches


def learner(folder, reuse=True, monkeypatch=None, **options):
    data = ImageData(folder, size=32, bs=8, progress=False, **options)
    learn = Learner(
        data, build_model("resnet10", 2, None, seed=1), train_norms=False, device="cpu", precision="fp32"
    )
    learn.freeze_to(-1)
    if not reuse:
        monkeypatch.setattr(learn, "_features", {})
    learn.seen = []
    learn.model.body.register_forward_hook(
        lambda m, args, out: learn.seen.append(len(args[0])) if len(args[0]) > 1 else None
    )
    return learn


@pytest.mark.parametrize(
    "options", [{"augment": "none"}, {"augment": "side_on", "fixed": True}, {"augment": "side_on"}]
)
def test_a_fit_is_the_same_with_and_without(colours, monkeypatch, options):
    quick, plain = learner(colours, **options), learner(colours, False, monkeypatch, **options)
    for learn in (quick, plain):
        torch.manual_seed(0)  # of dropout
        learn.fit(sgdr(3, 1), 1e-3, progress=False)
    for key in ("losses", "lrs"):
        assert torch.allclose(
            torch.tensor(getattr(quick.history, key)), torch.tensor(getattr(plain.history, key)), atol=1e-5
        )
    for a, b in zip(quick.history.epochs, plain.history.epochs):
        assert a["accuracy"] == b["accuracy"] and a["valid_loss"] == pytest.approx(b["valid_loss"], abs=1e-5)
    assert all(
        torch.allclose(a, b, atol=1e-5)
        for a, b in zip(quick.model.state_dict().values(), plain.model.state_dict().values())
    )
    once = options["augment"] == "none" or "fixed" in options
    assert sum(quick.seen) == 8 + 32 * (1 if once else 3) and sum(plain.seen) == 3 * 40


def test_the_first_epoch_has_the_very_same_numbers(colours, monkeypatch):
    quick, plain = learner(colours, augment="none"), learner(colours, False, monkeypatch, augment="none")
    losses = []
    for learn in (quick, plain):
        torch.manual_seed(0)
        losses.append(learn.fit(sgdr(1, 1), 1e-2, progress=False).losses)
    assert losses[0] == losses[1]


def test_a_sweep_is_the_same_and_leaves_no_trace(colours, monkeypatch):
    quick, plain = learner(colours, augment="none"), learner(colours, False, monkeypatch, augment="none")
    before = {k: v.clone() for k, v in quick.model.state_dict().items()}
    torch.manual_seed(0)  # a sweep puts it back
    a, b = (learn.find(n_steps=30, progress=False) for learn in (quick, plain))
    assert torch.allclose(torch.tensor(a.losses), torch.tensor(b.losses), rtol=1e-3, atol=1e-4)
    assert sum(quick.seen) == 32 and sum(plain.seen) > 100
    assert (
        all(torch.equal(v, before[k]) for k, v in quick.model.state_dict().items())
        and quick.train_dl.epoch == 0
    )


def test_thawing_and_new_weights_and_sizes_are_noticed(colours):
    learn = learner(colours, augment="none")
    learn.validate(), learn.validate()
    assert sum(learn.seen) == 8
    with torch.no_grad():
        learn.model.body.layer4[0].bn2.running_mean += 1  # a buffer, as good as a weight
    learn.validate(), learn.resize(40), learn.validate(), learn.validate()
    assert sum(learn.seen) == 24
    learn.unfreeze()
    learn.validate(), learn.validate()
    assert sum(learn.seen) == 40


def test_own_loops_still_see_pictures(colours):
    learn = learner(colours, augment="none")
    learn.fit(sgdr(1, 1), 1e-2, progress=False)
    assert next(iter(learn.train_dl))[0].shape[1:] == (3, 32, 32)


def test_a_file_that_goes_bad_does_not_stop_it(colours):
    learn = learner(colours, augment="none", cache_bytes=0)
    (colours / "red" / "03.png").unlink()
    with pytest.warns(UserWarning, match="left out"):
        learn.fit(sgdr(2, 1), 1e-2, progress=False)
    assert len(learn.history.epochs) == 2


def test_a_table_that_would_be_too_large_is_not_made(colours, monkeypatch):
    monkeypatch.setattr("lessonkit.train.features.MOST_BYTES", 10)
    learn = learner(colours, augment="none")
    learn.validate(), learn.validate()
    assert sum(learn.seen) == 16


def test_loaders_and_models_of_ones_own_are_left_alone():
    x = torch.randn(32, 4)
    dl = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, (x.sum(1) > 0).long()), 8)
    learn = Learner((dl, dl), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), n_groups=2, device="cpu")
    assert learn.batches("train") is dl and learn.fit(sgdr(1, 1), 1e-2, progress=False).last["accuracy"] >= 0
    listed = [(x, (x.sum(1) > 0).long())]
    assert (
        Learner((listed, listed), nn.Linear(4, 2), n_groups=1, device="cpu")
        .find(n_steps=20, progress=False)
        .losses
    )


def test_a_frozen_body_records_nothing_and_the_rest_learns(colours):
    model = build_model("resnet10", 2, None, seed=1)
    model.body.requires_grad_(False)
    xb = torch.randn(4, 3, 32, 32)
    seen = model.features(xb)
    assert not seen.requires_grad and seen.grad_fn is None and not seen.is_inference()
    model(xb).sum().backward()
    assert model.head.linear.weight.grad.abs().sum() > 0 and all(
        p.grad is None for p in model.body.parameters()
    )
    xb.requires_grad_()
    model(xb).sum().backward()
    assert xb.grad.abs().sum() > 0  # whoever asks for the pictures' gradient gets it


def test_compiled_it_gives_the_same_losses(colours):
    data = ImageData(colours, size=32, bs=8, augment="none", progress=False)
    make = lambda compile: Learner(
        data, build_model("resnet10", 2, None, seed=1), device="cpu", compile=compile
    )
    torch.compiler.set_stance("force_eager")
    try:
        plain, compiled = make(False), make(True)
        for learn in (plain, compiled):
            torch.manual_seed(0)
            learn.fit(sgdr(1, 1), 1e-2, progress=False)
        assert isinstance(compiled.forward, torch._dynamo.OptimizedModule)
        assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
        assert compiled.history.losses == pytest.approx(plain.history.losses, rel=1e-4)
    finally:
        torch.compiler.set_stance("default")


def test_features_keep_the_precision_of_the_run(colours):
    learn = learner(colours, augment="none")
    quick = FeatureBatches(learn.valid_dl, learn.model, "cpu", "bf16")
    ((first, _),) = list(quick)
    assert torch.equal(first, next(iter(quick))[0])
