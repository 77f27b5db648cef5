"""The script that compares two revisions: every configuration gives the same twice, and a change is seen."""

import golden
import pytest
import torch


@pytest.mark.parametrize("name", ["finder_scaler", "fit_frozen_features", "fit_resumed", "fit_snapshots"])
def test_a_configuration_gives_the_same_bits_twice(name, tmp_path):
    first, second = (tmp_path / "first", tmp_path / "second")
    first.mkdir(), second.mkdir()
    one, other = ({k: golden.digest(v) for k, v in golden.RUNS[name](p).items()} for p in (first, second))
    assert one == other and {"weights", "losses", "lrs"} <= set(one)


def test_one_bit_makes_another_digest():
    module = torch.nn.Linear(3, 2)
    before = golden.digest(module)
    assert golden.digest(module) == before
    with torch.no_grad():
        module.bias[0] = torch.nextafter(module.bias[0], torch.tensor(9.0))
    assert golden.digest(module) != before


def test_what_differs_is_named(capsys):
    before = {"fit": {"weights": "a", "losses": "b"}}
    assert golden.compare(before, before)
    assert not golden.compare(before, {"fit": {"weights": "a", "losses": "c"}})
    assert capsys.readouterr().out.splitlines()[1].split(maxsplit=1) == ["fit", "OTHER: losses"]
    assert not golden.compare({}, before), "a configuration that the revision does not have"
