"What is read back from files: damaged ones are refused by name, and none holds anything else than before."

import json
import math
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from lessonkit import predict
from lessonkit.basics import check_number, parse_json, with_checksum, without_checksum
from lessonkit.images.cache import Pictures
from lessonkit.lab import exercises
from lessonkit.lab.copy import copy_lessons
from lessonkit.nets.weights import read_weights
from lessonkit.predict import Predictor, load_model, save_model
from lessonkit.samples.write import write_samples
from lessonkit.tensors import read_tensors, write_tensors
from lessonkit.train.checkpoint import read_checkpoint, write_checkpoint
from lessonkit.train.history import History
from lessonkit.train.schedule import Schedule, sgdr
from lessonkit.train.suggest import LRFind
from lessonkit.widgets.replay import Replay

HALF, FIFTH = [0.5] * 3, [0.2] * 3


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model", Predictor(module(), ["cat", "dog"], 16, HALF, FIFTH))


def flip(path, at: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def format_1(folder, **changes):
    "A model as it was written before there were checksums."
    folder.mkdir()
    save_file(module().state_dict(), folder / "model.safetensors")
    info = {"format": 1, "arch": None, "classes": ["cat", "dog"], "size": 16, "mean": HALF, "std": FIFTH}
    (folder / "model.json").write_text(json.dumps(info | changes))
    return folder


# ---------------------------------------------------------------------------------------- JSON and numbers


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"a":' * 10**5, "NaN", "[-Infinity]", "9" * 5000, b"\xff", ""]
)
def test_json_that_is_not_strict_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_a_number_that_no_float_holds_is_refused_in_a_short_word():
    for value in (10**400, 10**5000, "9" * 10**6):
        with pytest.raises(ValueError, match="is needed") as e:
            check_number("n", value, 0)
        assert len(str(e.value)) < 200


def test_a_checksum_is_of_the_values_and_zlibs():
    values = {"b": [1.5, None], "a": "ü"}
    text = '{"a": "\\u00fc", "b": [1.5, null]}'  # sorted, in ASCII
    assert with_checksum(values)["checksum"] == f"{zlib.crc32(text.encode()):08x}"
    assert without_checksum(with_checksum(values)) == values == without_checksum(values)
    for wrong in ({"a": "u"}, {"b": [1.5]}, {"c": 1}, {"checksum": 3}):
        with pytest.raises(ValueError, match="damaged"):
            without_checksum(with_checksum(values) | wrong)
    deep = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="damaged"):
        without_checksum({"a": deep, "checksum": "00000000"})


# ------------------------------------------------------------------------------------------- tensors


def test_no_changed_bit_of_tensors_and_words_is_read(tmp_path):
    tensors = {
        "a": torch.arange(6.0).view(2, 3),
        "b": torch.ones(2, dtype=torch.bfloat16),
        "n": torch.tensor(3),
    }
    path = tmp_path / "t.safetensors"
    write_tensors(path, tensors, "words")
    whole, read = path.read_bytes(), read_tensors(path)
    assert all(torch.equal(read[0][k], v) and read[0][k].dtype == v.dtype for k, v in tensors.items())
    for k in range(8 * len(whole)):
        flip(path, k // 8, 1 << k % 8)
        try:
            words = read_tensors(path)[1]
            assert "lessonkit" not in words  # then it is no file of ours
        except ValueError:
            pass
        path.write_bytes(whole)


def test_other_readers_of_safetensors_read_it_and_so_are_their_files(tmp_path, model):
    with safe_open(model / "model.safetensors", "pt") as f:
        assert torch.equal(f.get_tensor("3.bias"), module()[3].bias)
    assert set(read_weights(model / "model.safetensors")[0]) == set(module().state_dict())
    save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors", {"mean": "[1, 2, 3]"})
    assert read_tensors(tmp_path / "w.safetensors")[1] == {"mean": "[1, 2, 3]"}


# ------------------------------------------------------------------------------------------- models


def test_a_model_with_a_changed_bit_is_refused(model):
    path = model / "model.safetensors"
    whole = path.read_bytes()
    for at in range(8, len(whole), 7):
        flip(path, at, 64)
        with pytest.raises(ValueError, match=str(model)):
            load_model(model, module())
        path.write_bytes(whole)
    load_model(model, module())


def test_a_save_cut_short_between_its_files_leaves_no_pair_and_a_way_out(model, monkeypatch):
    def crash(path, content):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict, "write_whole", crash)
        with pytest.raises(KeyboardInterrupt):
            save_model(model, Predictor(module(), ["ant", "bee"], 16, HALF, FIFTH))
    assert json.loads((model / "model.json").read_text())["classes"] == ["cat", "dog"]
    with pytest.raises(ValueError, match="are no pair.*Remove model.json"):
        load_model(model, module())
    (model / "model.json").unlink()
    assert load_model(model, module()).classes == ("ant", "bee")


def test_a_model_json_of_other_weights_is_no_pair(model, tmp_path):
    other = module()
    nn.init.zeros_(other[3].bias)
    again = save_model(tmp_path / "again", Predictor(other, ["cat", "dog"], 16, HALF, FIFTH))
    (model / "model.json").write_bytes((again / "model.json").read_bytes())
    with pytest.raises(ValueError, match="are no pair"):
        load_model(model, module())


def test_a_model_of_before_loads_but_only_as_one_of_before(model, tmp_path):
    old = format_1(tmp_path / "old")
    assert load_model(old, module()).classes == ("cat", "dog")
    (old / "model.json").write_bytes((model / "model.json").read_bytes())
    with pytest.raises(ValueError, match="not of format 1"):
        load_model(old, module())
    (old / "model.json").unlink()
    with pytest.raises(FileNotFoundError, match="model.json is needed"):
        load_model(old, module())


@pytest.mark.parametrize(
    "changes",
    [
        *({"size": size} for size in (10**9, -5, "16", None, 16.5, True)),
        *({"classes": classes} for classes in (["cat", "cat"], ["cat", 3], "cat", [], ["a", "b", "c"], [""])),
        *({"mean": mean} for mean in ([0.5], [0.5, 0.5, math.nan], [10**400] * 3, "abc", None)),
        *({"std": std} for std in ([0.2, 0.2, 0], [-0.2] * 3, [1e-300] * 3)),
        *({"arch": arch} for arch in (3, ["resnet10"], "x" * 10**6)),
        {"format": 3},
    ],
    ids=lambda changes: repr(changes)[:30],
)
def test_a_wrong_value_of_a_model_is_refused_by_name(tmp_path, changes):
    folder = format_1(tmp_path / "old", **changes)
    with pytest.raises(ValueError, match=str(folder)) as e:
        load_model(folder, module())
    assert len(str(e.value)) < 500


def test_an_unknown_network_and_a_million_classes_are_refused_before_they_are_built(tmp_path):
    tensors = {"head.linear.bias": torch.zeros(2)}
    info = {"classes": ["cat", "dog"], "size": 16, "mean": HALF, "std": FIFTH}
    for arch, classes, word in (
        ("resnet11", ["a", "b"], "did you mean"),
        ("resnet10", [*"abc"], "3 classes"),
    ):
        (folder := tmp_path / arch).mkdir()
        write_tensors(
            folder / "model.safetensors", tensors, json.dumps(info | {"arch": arch, "classes": classes})
        )
        with pytest.raises(ValueError, match=word) as e:
            load_model(folder)
        assert str(folder) in str(e.value)


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    for classes, size in ((["cat", "cat"], 16), (["cat", "dog"], 10**9)):
        with pytest.raises(ValueError, match="twice|size="):
            save_model(tmp_path / "model", Predictor(module(), classes, size, HALF, FIFTH))
    with pytest.raises(ValueError, match="JSON"):
        save_model(tmp_path / "model", Predictor(module(), ["a", "b"], 16, HALF, FIFTH), accuracy=math.nan)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_neither_saved_nor_loaded(tmp_path, value):
    net = module()
    with torch.no_grad():
        net[3].bias[1] = value
    with pytest.raises(ValueError, match="1 of the 2 weights in 3.bias"):
        save_model(tmp_path / "model", Predictor(net, ["cat", "dog"], 16, HALF, FIFTH))
    assert not (tmp_path / "model").exists()
    old = format_1(tmp_path / "old")
    save_file(net.state_dict(), old / "model.safetensors")
    with pytest.raises(ValueError, match="old.*3.bias"):
        load_model(old, module())


def test_a_mask_of_ones_own_may_be_infinite(tmp_path):
    def masked():
        net = module()
        net.register_buffer("mask", torch.tensor([0.0, -math.inf]))
        return net

    save_model(tmp_path / "model", Predictor(masked(), ["cat", "dog"], 16, HALF, FIFTH))
    assert load_model(tmp_path / "model", masked()).model.mask[1] == -math.inf


def test_an_answer_that_is_no_number_is_an_error_of_that_file(tmp_path):
    net = module()
    nn.init.constant_(net[3].weight, 3e38)
    nn.init.constant_(net[0].bias, 9.0)
    Image.new("RGB", (20, 20)).save(tmp_path / "p.png")
    (said,) = Predictor(net, ["cat", "dog"], 16, HALF, FIFTH).predict([tmp_path / "p.png"])
    assert said.label is None and said.probabilities is None and "not a number" in said.error


# -------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_with_a_changed_bit_or_no_checksum_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    write_checkpoint(path, {"w": torch.ones(4), "step": 7, "lr": math.nan})
    assert read_checkpoint(path)["step"] == 7
    flip(path, -1)
    with pytest.raises(ValueError, match="run.ckpt.*damaged.*remove it to begin anew"):
        read_checkpoint(path)
    save_file({}, path, {"lessonkit": '{"__dict__": [["step", 7]]}'})  # as it was before there were checksums
    with pytest.raises(ValueError, match="run.ckpt.*no checksum"):
        read_checkpoint(path)
    save_file({}, path)
    with pytest.raises(ValueError, match="says nothing of a run"):
        read_checkpoint(path)


# ------------------------------------------------------------------------------ histories and sweeps


def history(**changes) -> dict:
    "The plain values of a run of two epochs."
    epoch = {"step": 2, "epoch": 1.0, "train_loss": 0.5, "valid_loss": 0.6, "accuracy": 0.9, "seconds": 1.0}
    return {
        "schedule": sgdr(2, 1).with_steps(2).to_dict(),
        "size": 64,
        "losses": [1.0, 0.5, 0.4, 0.3],
        "lrs": [[0.1], [0.05], [0.1], [0.05]],
        "epochs": [epoch, epoch | {"step": 4, "epoch": 2.0}],
        "cycle_ends": [2, 4],
        "groups": ["head"],
        "ended": "done",
        "stopped": "",
    } | changes


EPOCH = history()["epochs"][0]


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": 0},
        {"schedule": {"shape": "cosine", "cycles": None}},
        {"size": -5},
        {"losses": None},
        {"losses": [1.0, "x", 1.0, 1.0]},
        {"losses": [10**400] * 4},
        {"lrs": [[0.1]] * 3},
        {"lrs": [[0.1], [], [0.1], [0.1]]},
        {"lrs": [[-1]] * 4},
        {"epochs": [EPOCH | {"step": None}]},
        {"epochs": [EPOCH, EPOCH | {"accuracy": "x"}]},
        {"epochs": [EPOCH, {k: v for k, v in EPOCH.items() if k != "accuracy"}]},
        {"epochs": [{}]},
        {"cycle_ends": [1e300]},
        {"groups": [3]},
        {"groups": ["body"], "lrs": [[0.1, 0.1]] * 4},
        {"ended": ["done"]},
        {"stopped": None},
        {"more": 1},
    ],
    ids=lambda changes: repr(changes)[:40],
)
def test_a_wrong_value_of_a_history_is_refused_by_name(tmp_path, changes):
    (path := tmp_path / "h.json").write_text(json.dumps(history()))
    assert History.load(path).to_dict() == history()
    path.write_text(json.dumps(history(**changes)))
    with pytest.raises(ValueError, match="h.json holds no history"):
        History.load(path)


def test_a_changed_digit_of_a_history_or_a_sweep_is_refused(tmp_path):
    found = LRFind([1e-3, 1e-2, 1e-1], [3.0, 2.0, 1.0])
    for thing, old, new in ((History.from_dict(history()), "0.4", "0.7"), (found, "2.0", "2.5")):
        path = thing.save(tmp_path / "kept.json")
        assert type(thing).load(path) == thing
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(ValueError, match="kept.json.*damaged"):
            type(thing).load(path)


def test_a_history_without_a_finite_number_is_shown():
    none = {"train_loss": None, "valid_loss": None, "accuracy": None, "seconds": None}
    saved = history(losses=[None] * 4, epochs=[e | none for e in history()["epochs"]])
    saved |= {"lrs": [[0.0, 0.0]] * 4, "groups": []}
    back = History.from_dict(saved)
    assert "nan" in str(back) and "<svg" in back._repr_html_() and "nan,nan" not in back._repr_html_()
    back.plot()[0].figure.canvas.draw()
    assert Replay(back).figure() and back.to_dict() == saved
    assert History.from_dict(json.loads(json.dumps(saved))).best == {}


def test_a_wild_loss_is_cut_at_the_training_loss_that_is_known():
    def plot(valid_loss):
        last = EPOCH | {"step": 4, "valid_loss": valid_loss}
        return History.from_dict(history(epochs=[EPOCH | {"train_loss": None}, last]))._repr_html_()

    assert plot(1e6).partition("<svg")[2] == plot(1.0).partition("<svg")[2]


@pytest.mark.parametrize(
    "values",
    [
        *(3, None, {"shape": ["cosine"], "cycles": [1]}, {"shape": "cosine", "cycles": 5}),
        {"shape": "cosine", "cycles": [1e300], "steps_per_epoch": 10**300},
        {"shape": "cosine", "cycles": [1.0], "grow": "yes"},
        {"shape": "cosine", "cycles": [1.0], "lr_max": 1e300},
        {"shape": "exponential", "cycles": [5.0], "lr_min": 0.0},
    ],
    ids=repr,
)
def test_values_that_make_no_schedule_are_refused(values):
    with pytest.raises(ValueError):
        Schedule.from_dict(values)


# ----------------------------------------------------------------------------- kept pictures and the rest


@pytest.mark.parametrize("part", ["*.pixels", "*.json"])
def test_a_kept_picture_that_has_changed_is_decoded_again_once(tmp_path, monkeypatch, part):
    monkeypatch.setenv("LESSONKIT_CACHE", str(tmp_path / "cache"))
    (root := tmp_path / "photos").mkdir()
    files = [root / f"{k}.png" for k in range(3)]
    for k, file in enumerate(files):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (30, 40, 3), np.uint8)).save(file)

    def seen():
        pictures = Pictures(root)
        held = [pictures.get(file, 20) for file in files]
        pictures.flush(wait=True)
        return [(p.pixels.tobytes(), p.width) for p in held]

    before = seen()
    (path,) = (tmp_path / "cache").rglob(part)
    flip(path, path.read_bytes().index(b" 40,") + 1 if part == "*.json" else 5)  # a width, or a pixel
    assert seen() == before
    monkeypatch.setattr("lessonkit.images.cache.read_picture", lambda *a: 1 / 0)
    assert seen() == before  # what was decoded again is found, not the damaged one


def test_what_lies_beside_lessons_and_samples_may_be_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(exercises, "PROGRESS", str(tmp_path / "progress.json"))
    copy_lessons(tmp_path, lessons={"a.ipynb": b"{}"})
    write_samples(tmp_path / "s", "side_on", 12, 12, size=16)
    for text in ("[" * 10**6, '{"a.ipynb": NaN}', '{"a.ipynb": [[]]}', "3"):
        for name in (".lessonkit.json", "progress.json", "s/samples.json"):
            (tmp_path / name).write_text(text)
        assert copy_lessons(tmp_path, lessons={"a.ipynb": b"{}"}) == []
        assert json.loads((tmp_path / ".lessonkit.json").read_text()) == {}
        with pytest.raises(ValueError, match="progress.json is damaged"):
            exercises.progress()
        with pytest.raises(FileExistsError, match="samples.json|another set"):
            write_samples(tmp_path / "s", "side_on", 12, 12, size=16)
