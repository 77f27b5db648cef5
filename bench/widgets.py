"""From a key press to the redrawn curve in a real JupyterLab, beside ipywidgets and matplotlib; and what a
monitor costs."""

import json
import os
import shutil
import statistics
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .common import ROOT, Row, Skip, met, result

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
START = """import os, sys
sys.path.insert(0, {root!r})
import torch; torch.set_num_threads({threads})
from lessonkit.train.suggest import LRFind
from lessonkit.widgets import LRPicker, TrainMonitor
lrs = [10 ** (-7 + 8 * k / 599) for k in range(600)]
losses = [2 / (1 + (lr / 0.01) ** 1.2) + 40 * max(0, lr - 0.5) for lr in lrs]
found = LRFind(tuple(lrs), tuple(losses), stopped="diverged", n_steps=600)"""
PEER = """import matplotlib.pyplot as plt
from ipywidgets import IntSlider, interact
def draw(k=100):
    found.plot(plt.subplots(figsize=(6, 3.5))[1]).axvline(lrs[k], color="black")
    plt.show()
interact(draw, k=IntSlider(100, 0, 599));"""
BUSY = """from bench.loop import Learner, cases, sgdr
case = cases(False)[2]
learn = Learner((case.train_dl, case.valid_dl), case.seeded(), opt="sgd", device="cpu", precision="fp32")
history = learn.fit(sgdr(400), 1e-3, progress=False)"""
COST = """import json, time
from bench.loop import Learner, cases, sgdr
case, n_rounds = cases({quick})[2], {rounds}
learn = Learner((case.train_dl, case.valid_dl), case.seeded(), opt="sgd", device="cpu", precision="fp32")
monitor = TrainMonitor(learn)
display(monitor)
watched, times = learn.watchers, {{True: [], False: []}}
for k in range(-1, n_rounds):
    for with_it in ((True, False) if k % 2 else (False, True)):
        learn.watchers = watched if with_it else []
        began = time.perf_counter()
        learn.fit(sgdr(1), 1e-3, progress=False)
        if k >= 0: times[with_it].append(time.perf_counter() - began)
print(json.dumps([times[True], times[False], len(case.train_dl)]))"""

SLOW = """from bench.loop import Learner, cases, sgdr
case = cases({quick})[2]
learn = Learner((case.train_dl, case.valid_dl), case.seeded(), opt="sgd", device="cpu", precision="fp32")
monitor = TrainMonitor(learn)
monitor"""
RUN = "import time; began = time.perf_counter(); history = learn.fit(sgdr(400), 1e-3, progress=False)"
PACE = "print((time.perf_counter() - began) / len(history.losses))"

# Milliseconds from a click on Stop to the page that says so
STOPPED = """() => new Promise((done) => {
  const root = document.querySelectorAll('.jp-Cell')[1], stop = root.querySelector('button');
  const began = performance.now();
  new MutationObserver((_, me) => {
    if (!/stopped/.test(root.innerText)) return;
    me.disconnect();
    done(performance.now() - began);
  }).observe(root, { subtree: true, childList: true, characterData: true });
  stop.click();
})"""

# The time from the key to the frame after the change: of an attribute of the curve, or of the picture
CLOCK = """([cell, picture]) => { window.lkTimes = [];
  const root = document.querySelectorAll('.jp-Cell')[cell];
  let began = null;
  root.addEventListener('keydown', () => { began = performance.now(); }, true);
  const drawn = () => {
    if (began === null) return;
    const t = began;
    began = null;
    requestAnimationFrame(() => setTimeout(() => window.lkTimes.push(performance.now() - t)));
  };
  new MutationObserver(() => {
    if (!picture) return drawn();
    const img = root.querySelector('.jp-OutputArea img');
    if (!img || img === window.lkImage) return;
    window.lkImage = img;
    img.complete ? drawn() : img.addEventListener('load', drawn);
  }).observe(picture ? root : root.querySelector('svg.lk-scrub'),
    { subtree: true, childList: true, attributes: !picture });
}"""


def press(nb, slider, n: int, patience: float) -> list[float]:
    """Seconds from each of `n` key presses to the redrawn curve; those without an answer in `patience`
    seconds are left out."""
    slider.focus()
    for _ in range(n):
        done = nb.page.evaluate("window.lkTimes.length")
        nb.page.keyboard.press("ArrowRight")
        try:
            nb.page.wait_for_function(
                "n => window.lkTimes.length > n", arg=done, timeout=patience * 1000, polling=20
            )
        except Exception:  # playwright's timeout, which its own module names
            return []
    return [t / 1000 for t in nb.page.evaluate("window.lkTimes")]


def latencies(lab, browser, name: str, busy: bool, n: int, threads: int) -> list[float]:
    "Key presses on one widget in a fresh notebook, the kernel at rest or training in another cell."
    ours = name == "LRPicker"
    start = START.format(root=str(ROOT), threads=threads)
    nb = lab.open(
        browser, [start, "LRPicker(found)" if ours else PEER, BUSY], f"{name.split()[0]}{busy}.ipynb"
    )
    try:
        nb.run(0), nb.run(1)
        cell = nb.page.locator(".jp-Cell").nth(1)
        slider = (
            cell.get_by_role("slider", name="learning rate") if ours else cell.get_by_role("slider").first
        )
        nb.page.evaluate(CLOCK, [1, not ours])
        if busy:
            nb.run(2, wait=False)
            nb.page.wait_for_timeout(4000)
        return press(nb, slider, n, 3 if busy else 15)
    finally:
        nb.close()


def median_row(case: str, name: str, times: list[float], target: str = "") -> Row:
    middle, late = statistics.median(times), sorted(times)[int(0.9 * len(times))]
    return Row(
        case,
        name,
        "a key press",
        middle,
        rounds=len(times),
        target=target,
        met=met(middle, target),
        note=f"nine of ten within {1000 * late:.0f} ms",
    )


NAMES = ("LRPicker", "interact + matplotlib")


def key_rows(lab, browser, options, busy: bool) -> tuple[list[Row], dict[str, str]]:
    "From a key to the curve, ours and the peer; and why the peer is skipped, where it gives no answer."
    case, n = f"key to curve, {'a cell trains' if busy else 'kernel at rest'}", 5 if options.quick else 40
    if options.case not in case:
        return [], {}
    ours, peer = (latencies(lab, browser, name, busy, n, options.threads or 1) for name in NAMES)
    row = median_row(case, NAMES[0], ours, "<= 0.02")
    if not peer:
        return [row], {f"{case}: {NAMES[1]}": "no answer within 3 s: its callback waits for the cell to end"}
    seconds, goal = statistics.median(peer), ">= 20"
    ratio = seconds / row.seconds
    ratios = dict(ratio=ratio, low=ratio, high=ratio, reference=NAMES[0], target=goal, met=met(ratio, goal))
    return [row, Row(case, NAMES[1], "a key press", seconds, rounds=len(peer), **ratios)], {}


def monitored(lab, browser, options) -> list[Row]:
    "An epoch of resnet18 at 64 px with a monitor in the page, and without."
    rounds, case = options.rounds or (1 if options.quick else 7), "monitored fit, resnet18 64 px"
    start = START.format(root=str(ROOT), threads=options.threads or 1)
    nb = lab.open(browser, [start, COST.format(quick=options.quick, rounds=rounds)], "cost.ipynb")
    try:
        nb.run(0), nb.run(1, timeout=1200)
        watched, plain, steps = json.loads(nb.text(1).strip().splitlines()[-1])
    finally:
        nb.close()
    ratios = sorted(a / b for a, b in zip(watched, plain))
    ratio, goal = statistics.median(ratios), "<= 1.03"
    kept = dict(
        ratio=ratio, low=ratios[0], high=ratios[-1], reference="no monitor", target=goal, met=met(ratio, goal)
    )
    return [
        Row(case, "no monitor", "a step", statistics.median(plain) / steps, rounds=rounds),
        Row(case, "TrainMonitor", "a step", statistics.median(watched) / steps, rounds=rounds, **kept),
    ]


def stops(lab, browser, options) -> list[Row]:
    "From a click on Stop to the page that says the run has stopped, beside the length of an update."
    rounds, case = options.rounds or (1 if options.quick else 8), "stop, resnet18 64 px"
    start = START.format(root=str(ROOT), threads=options.threads or 1)
    nb = lab.open(browser, [start, SLOW.format(quick=options.quick), RUN, PACE], "stop.ipynb")
    times, paces = [], []
    try:
        nb.run(0), nb.run(1)
        for k in range(rounds):
            nb.run(2, wait=False)
            moving = "n => /update [1-9]/.test(document.querySelectorAll('.jp-Cell')[1].innerText)"
            nb.page.wait_for_function(moving, timeout=60_000)
            nb.page.wait_for_timeout(1500 + 137 * k)  # at another place in an update
            times.append(nb.page.evaluate(STOPPED) / 1000)
            nb.wait_done(2)
            paces.append(float(nb.value(3)))
    finally:
        nb.close()
    longest, goal = max(times), f"<= {max(0.5, statistics.median(paces)):.2f}"
    note = f"the longest of {rounds}; an update takes {1000 * statistics.median(paces):.0f} ms"
    row = Row(case, "TrainMonitor", "a click", longest, rounds=rounds, note=note)
    return [replace(row, target=goal, met=met(longest, goal))]


@contextmanager
def lab_and_browser():
    "A JupyterLab in an empty folder, and a browser. Skip: one of them is not here."
    if not os.path.exists(CHROMIUM):
        raise Skip("needs Debian's chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as e:
        raise Skip(f"playwright is not installed (pip install -e '.[dev]'): {e}") from e
    sys.path.insert(0, str(ROOT / "tests"))
    from conftest import ARGS
    from lab import Lab

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        lab, browser = Lab(Path(folder)), playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        try:
            yield lab, browser
        finally:
            browser.close()
            lab.close()


def run(options) -> dict:
    """Seconds from a key press to the redrawn curve of 600 points, beside `interact`; then a monitored epoch
    against a plain one."""
    rows, skipped = [], {}
    with lab_and_browser() as (lab, browser):
        for busy in (False, True):
            more, why = key_rows(lab, browser, options, busy)
            rows, skipped = rows + more, skipped | why
        if options.case in "monitored fit":
            rows += monitored(lab, browser, options)
        if options.case in "stop":
            rows += stops(lab, browser, options)
    return result(rows, skipped)
