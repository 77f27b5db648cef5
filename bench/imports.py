"""How long a first import takes, each in a fresh process."""

import os
import subprocess
import sys

import numpy as np

from .common import ROOT, Row, Skip, met, race, result, rows

MODULES = ("torch", "lessonkit", "torchvision", "torch_lr_finder", "lightning", "fastai.vision.all")
TARGET = "<= 0.1"


def importing(module: str):
    "A contestant that imports `module` in a process of its own."

    def prepare():
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

        def go():
            done = subprocess.run(
                [sys.executable, "-c", f"import {module}"], cwd=ROOT, env=env, capture_output=True, text=True
            )
            if done.returncode:
                raise Skip(f"{module}: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")

        return go

    return prepare


def run(options) -> dict:
    "Seconds from the start of the process to its end, and what lessonkit takes over torch."
    names = MODULES[:2] if options.quick else MODULES
    rounds = options.rounds or (2 if options.quick else 15)
    times, skipped = race({f"import {m}": importing(m) for m in names}, rounds)
    found = rows("fresh process", times, "import torch", "s")
    over = np.array(times["import lessonkit"]) - np.array(times["import torch"])
    low, median, high = np.percentile(over, [10, 50, 90]).tolist()
    found.append(
        Row(
            "fresh process",
            "lessonkit over torch",
            "s",
            median,
            rounds=rounds,
            target=TARGET,
            met=met(median, TARGET),
            note=f"from {low:.3f} to {high:.3f} s (10th to 90th percentile)",
        )
    )
    return result(found, skipped)
