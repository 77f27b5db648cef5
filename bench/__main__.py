"""`python -m bench [NAME ...]`: run benchmarks beside the peers, print what came out, write it as JSON."""

import argparse
import importlib
import json
import shlex
import sys
from pathlib import Path

import torch

from lessonkit.basics import keep_freed_memory

from . import common

MODULES = {
    "import": "imports",
    "loop": "loop",
    "find": "find",
    "suggest": "suggest",
    "data": "data",
    "head": "head",
    "recipe": "recipe",
    "widgets": "widgets",
    "gpu": "gpu",
}


OPTIONS = {
    "names": dict(
        nargs="*",
        metavar="NAME",
        help=f"what to measure: {' '.join(MODULES)} (default: all; gpu only where there is one)",
    ),
    "--json": dict(type=Path, metavar="FILE", help="write the results there"),
    "--photos": dict(
        type=Path,
        default=common.ROOT.parent / "shared",
        metavar="FOLDER",
        help="where data/cats_dogs, data/rsscn7 and weights/*.pth are (default: ../shared)",
    ),
    "--rounds": dict(type=int, metavar="N", help="rounds of every race (default: each benchmark's own)"),
    "--case": dict(default="", metavar="TEXT", help="only the cases with TEXT in their name"),
    "--threads": dict(type=int, metavar="N", help="threads of torch (default: each benchmark's own)"),
    "--device": dict(help="for gpu: cpu runs the same code without a GPU"),
    "--quick": dict(
        action="store_true", help="small sizes and two rounds: shows that it runs, measures nothing"
    ),
}


def build_parser() -> argparse.ArgumentParser:
    "The options, which every benchmark gets."
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    for name, how in OPTIONS.items():
        parser.add_argument(name, **how)
    return parser


def chosen(names: list[str]) -> list[str]:
    "The benchmarks to run. SystemExit for an unknown one."
    unknown = [n for n in names if n not in MODULES]
    if unknown:
        raise SystemExit(
            f"python -m bench: no benchmark {', '.join(unknown)}; there are {', '.join(MODULES)}"
        )
    return names or [n for n in MODULES if n != "gpu" or torch.cuda.is_available()]


def main(argv: list[str] | None = None) -> int:
    "Run the command; 1 where a target is missed."
    argv = sys.argv[1:] if argv is None else argv
    options = build_parser().parse_args(argv)
    keep_freed_memory()  # for the peers as well
    results = {}
    for name in chosen(options.names):
        module = importlib.import_module(f".{MODULES[name]}", __package__)
        try:
            results[name] = module.run(options)
            text = getattr(module, "table", common.table)(name, results[name])
        except common.Skip as e:
            results[name] = common.result([], {name: str(e)})
            text = common.table(name, results[name])
        print(text, flush=True)
    if options.json:
        content = {
            "machine": common.machine(),
            "command": "python -m bench " + shlex.join(argv),
            "results": results,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(
        any(r["met"] is False for found in results.values() for r in found["rows"]) and not options.quick
    )


if __name__ == "__main__":
    raise SystemExit(main())
