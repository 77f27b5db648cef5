"""The command line as a user meets it: the five steps on small pictures, predictions, mistakes."""

import html
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import paint
from safetensors.torch import load_file
from torchvision import models

from lessonkit.cli import _fill_in, build_parser, main
from lessonkit.images.decode import known_formats
from lessonkit.samples.write import write_samples

COMMAND = str(Path(sys.executable).with_name("lessonkit"))
FAST = ["--size", "32", "--bs", "8", "--epochs", "2", "--head-epochs", "1"]
FROM_NOTHING = ["--arch", "resnet10", "--weights", "none"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A finished run on two colours, with its folder of pictures and what it printed."
    root = tmp_path_factory.mktemp("cli")
    for k in range(20):
        paint(root / "colours" / "red <1>" / f"{k:02}.png", (150, 20, 20), k)
        paint(root / "colours" / "blue" / f"{k:02}.jpg", (20, 20, 150), 100 + k)
    (root / "colours" / "blue" / "bad.jpg").write_bytes(b"no")
    done = lessonkit("train", root / "colours", *FROM_NOTHING, *FAST, "--out", root / "run")
    assert done.returncode == 0, done.stderr
    return root / "colours", root / "run", done


def lessonkit(*args, **kwargs):
    "The installed command in a process of its own."
    return subprocess.run([COMMAND, *map(str, args)], capture_output=True, text=True, timeout=300, **kwargs)


def test_all_five_steps_are_shown_as_they_go(run):
    out = run[2].stdout
    places = [out.index(f"\n{n}. ") for n in (1, 2, 3, 4, 5)]
    assert places == sorted(places) and "bad.jpg: not a picture" in out and "Traceback" not in run[2].stderr
    assert re.fullmatch(r"accuracy [01]\.\d{4}", out.splitlines()[-1])
    assert "next to try, larger networks: --arch resnet34, then --arch resnext50_32x4d" in out


def test_what_a_run_leaves(run):
    _, folder, done = run
    assert sorted(os.listdir(folder)) == ["history.json", "model.json", "model.safetensors", "report.html"]
    info = json.loads((folder / "model.json").read_text())
    assert info["classes"] == ["blue", "red <1>"] and info["size"] == 32 and info["arch"] == "resnet10"
    assert f"{info['accuracy']:.4f}" == done.stdout.split()[-1]
    history = json.loads((folder / "history.json").read_text())
    assert [s["number"] for s in history["steps"]] == [1, 2, 3, 4, 5]
    assert history["best"]["accuracy"] == info["accuracy"]


def test_predictions_agree_with_the_accuracy_that_was_printed(run):
    from lessonkit.images.folders import check_folder

    folder, model, done = run
    items = [i for i in check_folder(folder).items if i.split == "valid"]
    answer = lessonkit("predict", model, *[i.path for i in items], "--json")
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    assert answer.returncode == 0 and [r["file"] for r in rows] == [i.path for i in items]
    right = sum(r["label"] == ("blue", "red <1>")[i.label] for r, i in zip(rows, items)) / len(items)
    assert f"{right:.4f}" == done.stdout.split()[-1]
    assert all(set(r) == {"file", "label", "confidence", "probabilities"} for r in rows)


def test_the_page_says_how_it_was_made_and_how_to_use_the_model(run):
    folder, model, _ = run
    said = [
        html.unescape(code)
        for code in re.findall("<code>(.*?)</code>", (model / "report.html").read_text(), re.S)
    ]
    made = next(shlex.split(line) for line in said if line.startswith("lessonkit train"))
    assert made == ["lessonkit", "train", str(folder), *FROM_NOTHING, *FAST, "--out", str(model)]
    use = next(shlex.split(line) for line in said if line.startswith("lessonkit predict"))
    photos = sorted((folder / "red <1>").iterdir())[:2]
    answer = lessonkit(*use[1:-1], *photos, "--json")
    python = next(line for line in said if line.startswith("from lessonkit import"))
    python = python.replace('["photo.jpg"]', repr([str(p) for p in photos]))
    done = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True)
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    assert done.stdout == "".join(f"{r['file']} {r['label']} {r['confidence']}\n" for r in rows) != "", (
        done.stderr
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a name has to be text")
def test_names_that_are_no_text_are_names_all_the_same(tmp_path, capsys):
    odd = os.fsdecode(b"gr\xfcn")
    for k in range(8):
        paint(tmp_path / "data" / odd / f"{k}.png", (20, 150, 20), k)
        paint(tmp_path / "data" / "red" / os.fsdecode(b"caf\xe9 %d.png" % k), (150, 20, 20), 50 + k)
    out = ["--out", str(tmp_path / "run"), "--cycle-len", "1"]
    assert main(["train", str(tmp_path / "data"), *FROM_NOTHING, *FAST, *out]) == 0
    assert json.loads((tmp_path / "run" / "model.json").read_text(encoding="utf-8"))["classes"] == [
        odd,
        "red",
    ]
    assert r"gr\udcfcn" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "data" / odd), "--json"]) == 0
    files = [json.loads(line)["file"] for line in capsys.readouterr().out.splitlines()]
    assert files == [str(tmp_path / "data" / odd / f"{k}.png") for k in range(8)]


def test_predict_prints_a_table_and_names_what_it_cannot_use(run, capsys):
    folder, model, _ = run
    assert main(["predict", str(model), str(folder)]) == 1
    out, err = capsys.readouterr()
    assert (
        len(out.splitlines()) == 41
        and "confidence" in out.splitlines()[0]
        and "bad.jpg: not a picture" in err
    )
    assert main(["predict", str(model), str(folder / "blue" / "bad.jpg"), "--json"]) == 1
    row = json.loads(capsys.readouterr().out)
    assert "not a picture" in row["error"] and set(row) == {"file", "error"}


def test_a_run_can_be_repeated_to_the_bit(run, tmp_path):
    folder, model, done = run
    again = lessonkit("train", folder, *FROM_NOTHING, *FAST, "--out", tmp_path / "run")
    assert again.stdout.split()[-1] == done.stdout.split()[-1]
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


@pytest.fixture(params=["resnet34", "resnext50_32x4d"])
def large_run(request, tmp_path, capsys):
    "A finished run of a large network, from weights of a file: its name, its folder, and what was printed."
    torch.manual_seed(0)
    torch.save(models.get_model(request.param, weights=None).state_dict(), tmp_path / "w.pth")
    for k in range(8):
        paint(tmp_path / "p" / "red" / f"{k}.png", (150, 20, 20), k)
        paint(tmp_path / "p" / "blue" / f"{k}.png", (20, 20, 150), 50 + k)
    paths = ["--weights", str(tmp_path / "w.pth"), "--out", str(tmp_path / "run")]
    sizes = ["--size", "32,40", "--bs", "8", "--epochs", "2", "--cycle-len", "1", "--head-epochs", "1"]
    words = ["train", str(tmp_path / "p"), "--arch", request.param, *paths, *sizes]
    assert main([*words, "--similarity", "different"]) == 0
    return request.param, tmp_path / "run", capsys.readouterr().out


def test_the_large_networks_go_through_all_five_steps(large_run):
    arch, run, out = large_run
    assert "in 3 layer groups" in out and "a factor of 10 from group to group" in out and "40 px" in out
    info = json.loads((run / "model.json").read_text())
    assert info["mean"] == [0.485, 0.456, 0.406] and info["arch"] == arch
    step = json.loads((run / "history.json").read_text())["steps"]
    n_groups = [len(h["lrs"][0]) for s in step for h in s["histories"]]
    assert n_groups == [1, 3, 3]  # the head alone, then three groups
    lrs = step[4]["histories"][0]["lrs"][0]
    assert lrs[1] / lrs[0] == pytest.approx(10) and lrs[2] / lrs[1] == pytest.approx(10)


def test_find_lr_knows_the_sample(capsys):
    assert main(["find-lr", "--sample"]) == 0
    lr = float(capsys.readouterr().out.strip().splitlines()[-1].removeprefix("lr "))
    assert 5e-4 < lr < 2e-2


def test_find_lr_prints_every_rule_and_writes_the_curve(run, tmp_path, capsys):
    words = ["find-lr", str(run[0]), *FROM_NOTHING, "--size", "32", "--bs", "8", "--unfrozen"]
    for name in ("lr.png", "lr.json"):
        assert main([*words, "--out", str(tmp_path / name)]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"lr [\d.e-]+", out.splitlines()[-1]) and "steepest" in out
    assert (tmp_path / "lr.png").read_bytes()[:4] == b"\x89PNG"
    assert "lrs" in json.loads((tmp_path / "lr.json").read_text())


def test_check_reports_and_its_exit_code_tells(run, tmp_path, capsys):
    folder = run[0]
    assert main(["check", str(folder), "--json"]) == 1  # one file cannot be used
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == 40 and report["problems"] == [
        {"file": "blue/bad.jpg", "reason": f"not a picture that can be read ({', '.join(known_formats())})"}
    ]
    clean = shutil.copytree(folder, tmp_path / "clean")
    (clean / "blue" / "bad.jpg").unlink()
    assert main(["check", str(clean)]) == 0 and "40 pictures, 2 classes" in capsys.readouterr().out
    (clean / "empty").mkdir()
    assert (
        main(["check", str(clean), "--json"]) == 2
        and "'empty'" in json.loads(capsys.readouterr().out)["errors"][0]
    )


@pytest.mark.parametrize(
    "args, word",
    [
        (["train"], "give a FOLDER"),
        (["train", "FOLDER", "--sample"], "not both"),
        (["train", "nowhere"], "is not a folder"),
        (["train", "FOLDER", "--arch", "resnet43"], "did you mean"),
        (["train", "FOLDER", "--weights", "no.pth"], "is not there"),
        (["train", "FOLDER", "--similarity", "a bit"], "similarity='a bit'"),
        (["train", "FOLDER", "--size", "4"], "size=4"),
        (["train", "FOLDER", "--epochs", "0"], "epochs=0"),
        (["train", "FOLDER", "--bs", "1"], "bs=1"),
        (["train", "FOLDER", "--out", "FILE"], "FILE"),
        (["train", "FOLDER", "--device", "cuda:7"], "cuda"),
        (["train", "FOLDER", "--size", "12,oops"], "invalid"),
        (["train", "FOLDER", "--valid", "1.5"], "valid=1.5"),
        (["predict", "FOLDER", "FOLDER"], "holds no model"),
        (["predict", "RUN", "nowhere.jpg"], "is not there"),
        (["check", "nowhere"], "is not a folder"),
        (["find-lr"], "give a FOLDER"),
        (["bogus"], "invalid choice"),
    ],
)
def test_a_mistake_is_answered_in_a_line_and_never_with_a_traceback(run, args, word, tmp_path):
    (tmp_path / "FILE").write_text("x")
    names = {"FOLDER": str(run[0]), "RUN": str(run[1]), "FILE": str(tmp_path / "FILE")}
    args = [names.get(a, a) for a in args]
    extra = ["--weights", "none"] if args[0] == "train" and "--weights" not in args else []
    arch = ["--arch", "resnet10"] if args[0] == "train" and "--arch" not in args else []
    done = lessonkit(*args, *extra, *arch, cwd=tmp_path)
    assert done.returncode == 2 and names.get(word, word) in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "model.json").exists()


def test_help_is_worth_reading():
    for args in ([], ["train"], ["predict"], ["find-lr"], ["check"]):
        text = lessonkit(*args, "--help").stdout
        assert "exit codes" in text and len(text.splitlines()) > 10
    assert lessonkit("--version").stdout.startswith("lessonkit ")


def test_ctrl_c_keeps_what_was_learnt(run, tmp_path):
    words = [
        "train",
        str(run[0]),
        *FROM_NOTHING,
        *FAST[:4],
        "--epochs",
        "500",
        "--out",
        str(tmp_path / "run"),
    ]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen([COMMAND, *words], **pipes)
    for line in process.stdout:
        if line.startswith("5. "):
            break
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err and "interrupted" in out
    assert json.loads((tmp_path / "run" / "model.json").read_text())["accuracy"] == float(out.split()[-1])


def ended_at(step: str, words: list[str], how: int) -> tuple[int, str, str]:
    "A command that gets a signal when a step begins: its exit code and what it printed."
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen([COMMAND, *words], **pipes)
    for line in process.stdout:
        if line.startswith(step):
            break
    process.send_signal(how)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize(
    "step, how", [("2. ", signal.SIGTERM), ("3. ", signal.SIGINT), ("5. ", signal.SIGKILL)]
)
def test_a_run_that_was_ended_goes_on_to_the_same_bits(run, tmp_path, step, how):
    out = tmp_path / "run"
    words = ["train", str(run[0]), *FROM_NOTHING, *FAST, "--out", str(out)]
    code, _, err = ended_at(step, words, how)
    assert code == (-9 if how == signal.SIGKILL else 130) and "Traceback" not in err
    go_on = shlex.join(["lessonkit", *words, "--resume"])
    if how != signal.SIGKILL:
        assert err.splitlines()[-1] == f"to go on: {go_on}"
    refused = lessonkit(*words)
    assert refused.returncode == 2 and "holds a run that was not ended" in refused.stderr
    done = lessonkit(*shlex.split(go_on)[1:])
    assert done.returncode == 0 and f"going on from {out / 'checkpoint'}\n" in done.stdout
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (out, run[1]))
    assert ours.keys() == theirs.keys() and all(torch.equal(v, theirs[k]) for k, v in ours.items())
    assert not (out / "checkpoint").exists() and done.stdout.split()[-1] == run[2].stdout.split()[-1]


@pytest.mark.parametrize(
    "args, expected",
    [
        (["train", "FOLDER"], ("efficientnet_lite0", "DEFAULT", [128, 192], 32, None, None)),
        (["train", "--sample"], ("efficientnet_lite0", "DEFAULT", [80, 112], 16, 32, 8)),
        (
            ["train", "FOLDER", "--per-class", "4", "--size", "50", "--bs", "2"],
            ("efficientnet_lite0", "DEFAULT", [50], 2, 4, None),
        ),
    ],
)
def test_what_is_left_out_has_the_defaults_that_help_names(args, expected):
    args = build_parser().parse_args([*args, "--device", "cpu"])
    _fill_in(args)
    assert (args.arch, args.weights, args.size, args.bs, args.per_class, args.epochs) == expected
    text = " ".join(lessonkit("train", "--help").stdout.split())
    assert "128,192 on a CPU, 224 on a GPU; with --sample 80,112" in text
    assert (
        "efficientnet_lite0" in text
        and "resnet34, then resnext50_32x4d" in text
        and "with --sample 32" in text
    )


def test_few_pictures_of_a_folder(run, tmp_path, capsys):
    assert main(["train", str(run[0]), "--per-class", "4", *FAST, "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"blue +4 +4\n +red <1> +4 +4\n", out) and "a factor of 3 from group to group" in out
    assert json.loads((tmp_path / "run" / "model.json").read_text())["arch"] == "efficientnet_lite0"
    assert (
        main(["train", str(run[0]), "--per-class", "0", *FAST]) == 2
        and "per_class=0" in capsys.readouterr().err
    )


def test_the_sample_needs_no_network_and_no_options(tmp_path, monkeypatch, capsys):
    import lessonkit.images.datasets as datasets

    small = write_samples(tmp_path / "sample", "side_on", 60, 24)
    monkeypatch.setattr(datasets, "sample_data", lambda domain: small)
    monkeypatch.setattr("socket.socket.connect", lambda *a: (_ for _ in ()).throw(OSError("no network here")))
    assert (
        main(["train", "--sample", "--epochs", "2", "--head-epochs", "1", "--out", str(tmp_path / "run")])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[-1].startswith("accuracy ")
    assert Path(tmp_path / "run" / "report.html").stat().st_size > 50_000
