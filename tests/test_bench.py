"""The benchmarks' own logic, and that the short ones run; what they measure is no test's business."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from bench import common  # noqa: E402
from bench.__main__ import MODULES, build_parser, chosen, main  # noqa: E402


def test_contestants_take_turns_and_the_order_rotates():
    seen = []
    who = {name: (lambda name=name: lambda: seen.append(name)) for name in "abc"}
    times, skipped = common.race(who, rounds=4, warmup=1)
    rounds = [seen[i : i + 3] for i in range(0, len(seen), 3)]
    assert rounds == [[*"cab"], [*"abc"], [*"bca"], [*"cab"], [*"abc"]] and not skipped
    assert {name: len(t) for name, t in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_getting_ready_is_not_timed(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(common.time, "perf_counter", lambda: next(clock))

    def prepare():
        next(clock), next(clock)
        return lambda: next(clock)

    assert common.race({"a": prepare}, 2, 0)[0] == {"a": [2.0, 2.0]}


def test_a_contestant_that_cannot_run_is_left_out_with_its_reason():
    def absent():
        common.peer("no_such_package_at_all.part")

    times, skipped = common.race({"a": lambda: lambda: None, "b": absent}, 3)
    assert list(times) == ["a"] and len(times["a"]) == 3
    assert "no_such_package_at_all is not installed" in skipped["b"]


def test_ratios_are_taken_round_by_round():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 2, 11), rng.uniform(2, 5, 11)
    rows = common.rows("case", {"a": [*a], "b": [*b]}, "a", "a step", per=10, targets={"b": "<= 1.5"})
    low, ratio, high = np.percentile(b / a, [10, 50, 90])
    assert (rows[1].low, rows[1].ratio, rows[1].high) == pytest.approx((low, ratio, high))
    assert (
        rows[1].seconds == pytest.approx(np.median(b) / 10) and rows[1].met is False and rows[1].rounds == 11
    )
    assert rows[0].ratio == 1 and rows[0].met is None


def test_without_its_reference_a_race_has_no_ratios():
    (row,) = common.rows("case", {"a": [1.0, 3.0]}, "gone", "s", targets={"a": "<= 1"})
    assert row.seconds == 2 and row.ratio is None and row.met is None


@pytest.mark.parametrize(
    "value, target, expected",
    [
        (1.0, "<= 1.00", True),
        (1.001, "<= 1.00", False),
        (1.8, ">= 1.8", True),
        (1.7, ">= 1.8", False),
        (5, "", None),
    ],
)
def test_targets(value, target, expected):
    assert common.met(value, target) is expected


def test_a_targets_peer_is_its_best_way():
    from bench.data import with_best_targets

    times = {"lessonkit": [1.0], "p": [3.0], "p, 2 workers": [2.0]}
    found = with_best_targets(common.result(common.rows("c", times, "lessonkit", "s")), {"p": ">= 2.5"})
    assert [(r["target"], r["met"]) for r in found["rows"]] == [("", None), ("", None), (">= 2.5", False)]


def test_everyone_sees_a_terminal_and_gets_back_what_was():
    before = sys.stdout, sys.stderr
    with common.terminal():
        assert (
            sys.stdout.isatty()
            and sys.stderr.isatty()
            and os.get_terminal_size(sys.stdout.fileno()).columns == 120
        )
        print("x" * 100_000)  # someone reads it: it does not block
    assert (sys.stdout, sys.stderr) == before


def test_unknown_names_are_an_error_that_lists_the_known():
    with pytest.raises(SystemExit, match="no benchmark lop; there are import, loop"):
        chosen(["loop", "lop"])
    assert chosen(["find", "loop"]) == ["find", "loop"] and set(chosen([])) <= set(MODULES)


def test_photos_that_are_absent_are_a_reason_to_skip(tmp_path, capsys):
    path = tmp_path / "out" / "r.json"
    assert main(["data", "head", "--photos", str(tmp_path / "nowhere"), "--json", str(path)]) == 0
    results = json.loads(path.read_text())["results"]
    assert results["data"]["rows"] == [] and "data/cats_dogs" in results["data"]["skipped"]["data"]
    assert "--photos" in results["head"]["skipped"]["head"] and "skipped data" in capsys.readouterr().out


def test_the_commands_of_the_readme_are_known():
    lines = [
        line
        for line in (ROOT / "bench" / "README.md").read_text().splitlines()
        if line.startswith("python -m bench")
    ]
    assert len(lines) >= 4
    for line in lines:
        chosen(build_parser().parse_args(line.split("#")[0].split()[3:]).names)


def test_kept_results_say_what_they_were_measured_on():
    for path in (ROOT / "bench" / "results").glob("*.json"):
        kept = json.loads(path.read_text())
        assert (
            kept["machine"]["versions"]["torch"]
            and kept["command"].startswith("python -m bench")
            and kept["results"]
        )


@pytest.mark.parametrize("name", ["import", "loop", "find"])
def test_the_quick_form_runs(name, tmp_path):
    path = tmp_path / "r.json"
    case = [] if name == "import" else ["--case", "MLP"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--quick", *case, "--json", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kept = json.loads(path.read_text())
    rows = kept["results"][name]["rows"]
    assert {"lessonkit", "bare"} <= {r["name"] for r in rows} or name == "import"
    assert all(r["seconds"] > 0 for r in rows if r["name"] != "lessonkit over torch")
    assert all(set(r) == {f.name for f in common.Row.__dataclass_fields__.values()} for r in rows)
    assert (
        kept["machine"]["cores"] >= 1
        and kept["machine"]["versions"]["torch"]
        and rows[0]["case"] in done.stdout
    )
