"""What is right and wrong, class by class, and how sure that is; several networks together, and the flatness
of where one stands: against published values, torch's own averaging and by hand."""

import copy
import math
from collections import Counter

import pytest
import torch
from conftest import shared
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from lessonkit.evaluate import (
    Predictions,
    average_preds,
    average_weights,
    confusion_matrix,
    flatness,
    get_preds,
    most_confused,
    precision_recall,
    wilson_interval,
)
from lessonkit.images.augment import Augment
from lessonkit.images.data import ImageData
from lessonkit.train.learner import Learner
from lessonkit.train.schedule import sgdr


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


@pytest.fixture
def dl():
    g = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 3, 12, 12, generator=g), torch.randint(2, (8,), generator=g)) for _ in range(3)]


def test_weights_are_averaged_as_torch_does():
    models = [small(k) for k in range(3)]
    for k, model in enumerate(models):
        model[1].num_batches_tracked += k
    theirs = AveragedModel(models[0], use_buffers=True)
    for model in models:
        theirs.update_parameters(model)
    ours = average_weights([m.state_dict() for m in models])
    expected = theirs.module.state_dict()
    floats = [name for name in ours if ours[name].is_floating_point()]
    assert floats and all(torch.allclose(ours[name], expected[name], atol=1e-6) for name in floats)
    assert ours["1.num_batches_tracked"] == 2 and ours["0.weight"].dtype == torch.float32


def test_predictions_are_averaged_picture_by_picture(dl):
    preds = [get_preds(small(k), dl) for k in range(3)]
    mean = average_preds(preds)
    for k in range(len(mean.labels)):
        assert torch.allclose(mean.probs[k], sum(a.probs[k] for a in preds) / 3)
    assert average_preds(preds[:1]).probs.equal(preds[0].probs)


def test_what_does_not_belong_together_is_refused(dl):
    preds = get_preds(small(0), dl)
    turned = Predictions(preds.probs, preds.labels.flip(0))
    for wrong in ([], [preds, turned], [preds, Predictions(preds.probs[:5], preds.labels[:5])]):
        with pytest.raises(ValueError, match="same pictures"):
            average_preds(wrong)
    for wrong in ([], [small(0).state_dict(), nn.Linear(2, 2).state_dict()]):
        with pytest.raises(ValueError, match="same model"):
            average_weights(wrong)


def test_flatness_is_the_loss_a_step_away_and_leaves_no_trace(dl):
    model = small(1)
    before, rng = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    losses = flatness(model, dl, (0, 0.5), n=2, seed=7)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())
    assert losses == flatness(model, dl, (0, 0.5), n=2, seed=7) != flatness(model, dl, (0, 0.5), n=2, seed=8)
    model.eval()
    plain = sum(F.cross_entropy(model(xb), yb).item() for xb, yb in dl) / 3
    assert losses[0] == pytest.approx(plain, rel=1e-5)
    g, total = torch.Generator().manual_seed(7), 0.0
    for k in range(4):  # the directions of radius 0 come first
        other = copy.deepcopy(model)
        for p in (other[0].weight, other[5].weight):
            step = torch.randn(p.shape, generator=g)
            for row in range(len(p)):
                step[row] *= p[row].norm() / step[row].norm()
            p.data += 0.5 * step if k >= 2 else 0
        total += sum(F.cross_entropy(other(xb), yb).item() for xb, yb in dl) / 3 if k >= 2 else 0
    assert losses[1] == pytest.approx(total / 2, rel=1e-4)


def test_flatness_does_not_depend_on_the_scale_of_a_filter(dl):
    """A ReLU network whose first layer is ten times larger and whose last is ten times smaller is the same
    function."""
    torch.manual_seed(0)
    one = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2, bias=False),
    )
    two = copy.deepcopy(one)
    two[0].weight.data *= 10
    two[4].weight.data /= 10
    assert flatness(one, dl, (0.3,)) == pytest.approx(flatness(two, dl, (0.3,)), rel=1e-4)


@pytest.mark.parametrize("options", [{"radii": (-0.1,)}, {"n": 0}, {"radii": (float("nan"),)}])
def test_steps_that_cannot_be_made(dl, options):
    model = small(0)
    before = model[0].weight.detach().clone()
    with pytest.raises(ValueError):
        flatness(model, dl, **options)
    assert torch.equal(before, model[0].weight)


def test_the_weights_come_back_after_an_error(dl):
    model = small(0)
    before = model[0].weight.detach().clone()

    def broken(logits, labels):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        flatness(model, dl, loss_fn=broken)
    assert torch.equal(before, model[0].weight)


def test_a_learner_answers_with_the_weights_of_a_snapshot(colours):
    learn = Learner(ImageData(colours, size=32, bs=8, progress=False), "resnet10", weights=None)
    learn.fit(sgdr(3, 1), lr=1e-2, snapshots=True, progress=False)
    now = learn.get_preds()
    assert torch.equal(now.probs, learn.get_preds(learn.snapshots[-1]).probs) and len(learn.snapshots) == 3
    first, mean = learn.get_preds(learn.snapshots[0]), learn.get_preds(average_weights(learn.snapshots))
    assert not torch.equal(first.probs, now.probs) and not torch.equal(mean.probs, now.probs)
    assert torch.equal(now.probs, learn.get_preds().probs)  # and its own are back
    fresh = copy.deepcopy(learn.model)
    fresh.load_state_dict(learn.snapshots[0])
    assert torch.equal(first.probs, get_preds(fresh, learn.valid_dl).probs)


def test_a_frozen_body_answers_from_its_features_with_any_head():
    photos = shared("data", "cats_dogs")
    learn = Learner(ImageData(photos, size=64, bs=32, per_class=8, augment="none", progress=False))
    learn.fit(sgdr(2, 1), lr=3e-3, snapshots=True, progress=False)
    for state in learn.snapshots:
        fresh = copy.deepcopy(learn.model)
        fresh.load_state_dict(state)
        expected = get_preds(fresh, learn.valid_dl)
        assert torch.allclose(learn.get_preds(state).probs, expected.probs, atol=2e-4)


def test_a_copy_is_the_picture_or_its_mirror_image():
    "The only change allowed is a flip: a copy is one of the two, and the mean is that of copy and picture."
    flip = Augment(flip="horizontal")
    learn = Learner(ImageData(shared("data", "cats_dogs"), size=48, bs=32, per_class=8, progress=False))
    learn.fit(sgdr(1, 2), lr=3e-3, progress=False)
    plain, stats = learn.get_preds(), (learn.model.mean, learn.model.std)
    pictures = torch.cat([xb for xb, _ in learn.valid_dl])
    changed = list(learn.data.valid_dl(*stats, augment=flip))
    copies = torch.cat([xb for xb, _ in changed])
    same, other = ((copies - seen).abs().mean((1, 2, 3)) for seen in (pictures, pictures.flip(-1)))
    assert (torch.minimum(same, other) < 0.3).all() and 150 < (other < same).sum() < 250
    copy = 2 * learn.tta(1, flip).probs - plain.probs
    assert torch.allclose(copy, get_preds(learn.model, changed).probs, atol=1e-4)
    twice = learn.tta(2, flip).probs * 3 - plain.probs - copy
    assert not torch.allclose(twice, copy, atol=1e-3), "every copy is drawn anew"
    assert torch.equal(learn.tta(2).probs, learn.tta(2, "side_on").probs)
    assert torch.equal(learn.get_preds().probs, plain.probs)


def test_copies_that_cannot_be_made(colours, dl):
    learn = Learner(
        ImageData(colours, size=32, bs=8, augment="none", progress=False), "resnet10", weights=None
    )
    for options, word in (
        ({}, "side_on"),
        ({"augment": "upside"}, "top_down"),
        ({"n": 0, "augment": "side_on"}, "n=0"),
    ):
        with pytest.raises(ValueError, match=word):
            learn.tta(**options)
    with pytest.raises(ValueError, match="loaders of your own"):
        Learner((dl, dl), small(0)).tta()


# how sure an accuracy is


@pytest.mark.parametrize(
    "right, n, low, high",
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilsons(right, n, low, high):
    "As published by Newcombe, Statistics in Medicine 17 (1998), table I, method 3."
    assert [round(end, 4) for end in wilson_interval(right, n)] == [low, high]
    assert [round(1 - end, 4) for end in wilson_interval(n - right, n)] == [high, low]


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_at_its_ends_the_count_is_1_96_standard_errors_away(case):
    right, n = case
    low, high = wilson_interval(right, n)
    assert 0 <= low <= right / n <= high <= 1 and low < high
    for end, true in ((low, right > 0), (high, right < n)):
        if true:  # else the end is that of all accuracies
            assert abs(right / n - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), rel=1e-5)


def test_the_interval_is_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for right, n, confidence in ((3, 4, 0.95), (385, 400, 0.95), (385, 400, 0.8), (0, 7, 0.99)):
        theirs = proportion.proportion_confint(right, n, 1 - confidence, "wilson")
        assert wilson_interval(right, n, confidence) == pytest.approx(theirs, abs=1e-9)


def test_a_count_that_cannot_be_has_no_interval():
    for right, n, confidence in ((5, 4, 0.95), (-1, 4, 0.95), (0, 0, 0.95), (1.5, 4, 0.95), (1, 4, 1.0)):
        with pytest.raises(ValueError, match=r"right=|n=|confidence="):
            wilson_interval(right, n, confidence)


# class by class

pairs = st.integers(2, 6).flatmap(
    lambda n: st.tuples(
        st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2), min_size=1, max_size=60)
    )
)


def matrix_of(n: int, said: list[tuple[int, int]]) -> torch.Tensor:
    "The confusion matrix of (label, answer) pairs."
    labels, answers = (torch.tensor(column) for column in zip(*said))
    return confusion_matrix(Predictions(nn.functional.one_hot(answers, n).float(), labels), n)


@given(pairs)
def test_precision_and_recall_are_those_of_counting(case):
    n, said = case
    precision, recall = (values.tolist() for values in precision_recall(matrix_of(n, said)))
    for k in range(n):
        named, are = [p for p in said if p[1] == k], [p for p in said if p[0] == k]
        for ours, group in ((precision[k], named), (recall[k], are)):
            right = [p for p in group if p[0] == p[1]]
            assert ours == pytest.approx(len(right) / len(group)) if group else math.isnan(ours)


@given(pairs)
def test_precision_and_recall_are_scikit_learns(case):
    metrics = pytest.importorskip("sklearn.metrics")
    n, said = case
    theirs = metrics.precision_recall_fscore_support(*zip(*said), labels=range(n), zero_division=math.nan)
    ours = precision_recall(matrix_of(n, said))
    for mine, other in zip(ours, theirs):
        assert mine.tolist() == pytest.approx(other.tolist(), nan_ok=True)


@given(pairs, st.integers(1, 8))
def test_the_pairs_most_confused_come_first(case, most):
    n, said = case
    wrong = Counter(p for p in said if p[0] != p[1])
    found = most_confused(matrix_of(n, said), most)
    assert [count for *_, count in found] == sorted(wrong.values(), reverse=True)[:most]
    assert all(wrong[i, j] == count for i, j, count in found) and len(set(found)) == len(found)
