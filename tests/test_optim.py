"""Learning rates a group, weight decay where it belongs."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lessonkit.nets.classifier import build_model
from lessonkit.nets.groups import freeze_to, layer_groups
from lessonkit.train.optim import make_opt, param_groups, spread_lrs


def test_the_shape_of_it():
    assert spread_lrs(1e-3, 3, 10) == [1e-5, 1e-4, 1e-3]


@given(st.floats(1e-8, 10), st.integers(1, 8), st.floats(1, 10))
def test_spread_lrs_ends_at_lr_and_keeps_the_factor(lr, n, factor):
    lrs = spread_lrs(lr, n, factor)
    assert len(lrs) == n and lrs[-1] == lr
    assert all(b / a == pytest.approx(factor) for a, b in itertools.pairwise(lrs))


@pytest.mark.parametrize(
    "args", [(0, 3, 3), (-1, 3, 3), (1e-3, 0, 3), (1e-3, 2.5, 3), (1e-3, 3, 0.5), ("1", 3, 3)]
)
def test_spread_lrs_refuses(args):
    with pytest.raises(ValueError, match="is needed"):
        spread_lrs(*args)


def test_every_parameter_is_in_one_group_and_norms_and_biases_do_not_decay():
    model = build_model("convnext_tiny", 3, weights=None)
    groups = layer_groups(model, 3)
    made = param_groups(model, [g.params for g in groups], [1e-5, 1e-4, 1e-3], weight_decay=0.1)
    ids = [id(p) for g in made for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters()) and len(set(ids)) == len(ids)
    plain = {id(p) for g in made if g["weight_decay"] == 0 for p in g["params"]}
    assert {id(p) for n, p in model.named_parameters() if n.endswith("bias")} <= plain
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm | nn.BatchNorm1d)]
    assert norms and {id(p) for m in norms for p in m.parameters()} <= plain
    weights = {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert not weights & plain
    assert {(*g["layer_groups"], g["lr"]) for g in made} == {(0, 1e-5), (1, 1e-4), (2, 1e-3)}
    shared = param_groups(model, [g.params for g in groups], [1e-4, 1e-4, 1e-3], weight_decay=0.1)
    assert [g["layer_groups"] for g in shared] == [[0, 1], [0, 1], [2], [2]]
    assert sorted(id(p) for g in shared for p in g["params"]) == sorted(ids)


def test_without_decay_a_layer_group_is_one_param_group():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    assert [len(g["params"]) for g in param_groups(net, [list(net.parameters())], 0.1, weight_decay=0)] == [4]


def test_frozen_parameters_are_left_out_and_all_frozen_is_an_error():
    model = build_model("resnet10", 2, weights=None)
    groups = layer_groups(model, 3)
    freeze_to(groups, -1)
    made = param_groups(model, [g.params for g in groups], 1e-3)
    assert {id(p) for g in made for p in g["params"]} == {id(p) for p in model.head.parameters()}
    for p in model.parameters():
        p.requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        param_groups(model, [g.params for g in groups], 1e-3)


def test_the_wrong_number_of_lrs_is_named():
    net = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="2 learning rates for 1 layer groups"):
        param_groups(net, [list(net.parameters())], [0.1, 0.2])


@pytest.mark.parametrize(
    "name, oracle",
    [
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01, foreach=False, fused=False)),
        (
            "sgd",
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, foreach=False, fused=False),
        ),
    ],
)
def test_the_fused_optimizers_step_as_the_plain_ones(name, oracle):
    nets = []
    for make in (lambda p: make_opt(p, 0.1, name), oracle):
        torch.manual_seed(0)
        net = nn.Linear(5, 3)
        opt = make(net.parameters())
        for k in range(5):
            loss = net(torch.full((2, 5), float(k + 1))).square().sum()
            opt.zero_grad(), loss.backward(), opt.step()
        nets.append(net.weight.detach())
    assert torch.allclose(*nets, rtol=1e-5, atol=1e-6)


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="opt='lion'"):
        make_opt(nn.Linear(2, 2).parameters(), name="lion")
