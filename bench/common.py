"""Contestants side by side in one run, and what came out as rows."""

import datetime
import gc
import importlib
import importlib.metadata
import multiprocessing
import os
import platform
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lessonkit.basics import keep_freed_memory

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "fastai",
    "lightning",
    "torch-lr-finder",
    "scikit-learn",
)


class Skip(Exception):
    "A contestant or a benchmark cannot run here; the message says why."


def peer(name: str):
    "A peer's module by its dotted name. Skip where it is not installed."
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise Skip(f"{name.split('.')[0]} is not installed (pip install -e '.[bench]'): {e}") from e


def photos(options, *parts: str) -> Path:
    "A file or folder among the photos and weights. Skip where it is absent."
    path = Path(options.photos).joinpath(*parts)
    if not path.exists():
        raise Skip(
            f"needs {'/'.join(parts)} in {options.photos}, which is not there: give another place "
            "with --photos"
        )
    return path


@dataclass(frozen=True)
class Row:
    """What one contestant took. seconds: the median; ratio: the median of its time over the reference's,
    taken round by round, low and high the 10th and 90th percentile of these; target: such as "<= 1.01", of
    the ratio, and whether it is met (None: no target)."""

    case: str
    name: str
    unit: str
    seconds: float
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    reference: str = ""
    rounds: int = 1
    target: str = ""
    met: bool | None = None
    note: str = ""


def race(
    contestants: dict[str, Callable], rounds: int, warmup: int = 1
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Let the contestants run in turns, the order rotated in each round: (seconds of every round by name, why
    by name for those that are skipped).

    A contestant is a function without arguments that gets everything ready and returns what is timed, another
    function.
    """
    times, skipped = {name: [] for name in contestants}, {}
    for k in range(-warmup, rounds):
        names = list(times)
        first = k % len(names) if names else 0
        for name in names[first:] + names[:first]:
            try:
                seconds = timed(contestants[name]())
            except Skip as e:
                skipped[name] = str(e)
                del times[name]
                continue
            if k >= 0:
                times[name].append(seconds)
    return times, skipped


def timed(go: Callable) -> float:
    "Seconds that `go` took."
    gc.collect()
    began = time.perf_counter()
    go()
    return time.perf_counter() - began


def met(value: float, target: str) -> bool | None:
    'Whether `value` keeps to a target such as "<= 1.01" or ">= 1.8"; None for no target.'
    if not target:
        return None
    sign, limit = target.split()
    return value <= float(limit) if sign == "<=" else value >= float(limit)


def over(seconds: list[float], reference: list[float]) -> dict[str, float]:
    "The time of every round over the reference's in the same round: median, 10th and 90th percentile."
    ratios = np.array(seconds) / np.array(reference)
    low, ratio, high = np.percentile(ratios, [10, 50, 90]).tolist()
    return {"ratio": ratio, "low": low, "high": high}


def rows(
    case: str,
    times: dict[str, list[float]],
    reference: str,
    unit: str,
    per: int = 1,
    targets: dict[str, str] | None = None,
    notes: dict[str, str] | None = None,
) -> list[Row]:
    "A row for each contestant; `per`: steps or pictures in a round, by which the seconds are divided."
    result, targets, notes = [], targets or {}, notes or {}
    for name, seconds in times.items():
        median, note = float(np.median(seconds)) / per, notes.get(name, "")
        row = Row(case, name, unit, median, rounds=len(seconds), note=note)
        if reference in times:
            ratios, target = over(seconds, times[reference]), targets.get(name, "")
            ok = met(ratios["ratio"], target)
            row = replace(row, **ratios, reference=reference, target=target, met=ok)
        result.append(row)
    return result


def compare(
    case: str,
    contestants: dict[str, Callable],
    rounds: int,
    reference: str,
    unit: str,
    per: int = 1,
    targets: dict[str, str] | None = None,
    warmup: int = 1,
) -> dict:
    "Race, and the result as a benchmark returns it: rows and what was skipped."
    times, skipped = race(contestants, rounds, warmup)
    found = rows(case, times, reference, unit, per, targets)
    ratios = ", ".join(
        f"{r.name} {r.ratio:.3f}x" for r in found if r.ratio is not None and r.name != reference
    )
    print(f"{case}: {ratios}", file=sys.__stderr__, flush=True)
    return result(found, {f"{case}: {k}": v for k, v in skipped.items()})


def result(found: list[Row], skipped: dict[str, str] | None = None) -> dict:
    "What a benchmark's `run` returns."
    return {"rows": [asdict(r) for r in found], "skipped": skipped or {}}


def merged(results: list[dict]) -> dict:
    "Several results as one."
    return {
        "rows": [r for one in results for r in one["rows"]],
        "skipped": {k: v for one in results for k, v in one["skipped"].items()},
    }


@contextmanager
def terminal():
    """Standard output and error are a pseudo terminal that someone reads, so that every contestant draws its
    progress bar."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    reader = subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(ours)
    before = sys.stdout, sys.stderr
    with open(theirs, "w", encoding="utf-8", buffering=1) as screen:
        sys.stdout = sys.stderr = screen
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
    reader.wait()


@contextmanager
def threads(n: int):
    "torch computes on `n` threads."
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def alone(n_threads: int, function: Callable, *args, **kwargs):
    """What `function` returns, called in a fresh process: what one contestant does to a process is not
    another's business."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(seeded, n_threads, function, args, kwargs).result()


def seeded(n_threads: int, function: Callable, args: tuple, kwargs: dict):
    keep_freed_memory()  # as the command does, and for the peers as well
    torch.manual_seed(0)
    with threads(n_threads), terminal():
        return function(*args, **kwargs)


def machine() -> dict:
    "What the numbers depend on."
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "vector_unit": torch.backends.cpu.get_cpu_capability(),
        "ram_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.date.today().isoformat(),
    }


def _cpu() -> str:
    "The family of the processor."
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


HEAD = ("case", "who", "median", "unit", "ratio", "10%-90%", "to", "target", "met")


def _cells(r: dict) -> tuple[str, ...]:
    "What stands in a line of the table, one for each word of `HEAD`."
    ratio = spread = ""
    if r["ratio"] is not None:
        ratio = f"{r['ratio']:.3g}x" if r["ratio"] >= 10 else f"{r['ratio']:.3f}x"
        spread = f"{r['low']:.3f}-{r['high']:.3f}"
    seconds, ok = _seconds(r["seconds"]), {True: "yes", False: "NO", None: ""}[r["met"]]
    return r["case"], r["name"], seconds, r["unit"], ratio, spread, r["reference"], r["target"], ok


def table(name: str, found: dict) -> str:
    "The rows of a benchmark to read."
    lines = [HEAD, *map(_cells, found["rows"])]
    widths = [max(len(line[k]) for line in lines) for k in range(len(HEAD))]
    text = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines]
    notes = [f"  {r['case']}, {r['name']}: {r['note']}" for r in found["rows"] if r["note"]]
    skipped = [f"  skipped {k}: {v}" for k, v in found["skipped"].items()]
    return "\n".join([name, *text, *notes, *skipped, ""])


def _seconds(s: float) -> str:
    scale, unit = next((p for p in ((1, "s"), (1e-3, "ms")) if abs(s) >= p[0]), (1e-6, "us"))
    return f"{s / scale:.4g} {unit}"
