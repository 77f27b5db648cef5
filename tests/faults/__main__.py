"""Attack lessonkit and say what broke: `python -m tests.faults --all`.

Each attack is a module beside this one with `attack(folder, short) -> Found`. `--write` keeps the figures in
docs/reliability.json and draws docs/reliability.md from them.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

ATTACKS = sorted({p.stem for p in Path(__file__).parent.glob("*.py")} - {"__main__", "found"})
DOCS = Path(__file__).parents[2] / "docs"
HEAD = """# What was tried to break it

Each table is what `python -m tests.faults NAME` found on one machine (two cores, no GPU); the tests run a
short form of each. A case has broken if its error is not one that lessonkit gives on purpose, if a result
is silently wrong, or if something is lost.
"""


def attack(name: str, short: bool = False):
    "Run one attack in a folder of its own; what it found."
    with tempfile.TemporaryDirectory(prefix="lessonkit-faults-") as folder:
        return import_module(f"{__package__}.{name}").attack(Path(folder), short)


def section(name: str, found: dict) -> str:
    "The part of docs/reliability.md about one attack."
    lines = [f"## {found['title']}", "", found["words"], ""]
    if found["rows"]:
        lines += [f"| {' | '.join(map(str, row))} |" for row in (found["columns"], *found["rows"])]
        lines.insert(5, "|" + "---|" * len(found["columns"]))
        lines.append("")
    broke = f"{len(found['broke'])} broke" if found["broke"] else "none broke"
    return "\n".join([*lines, f"{found['tried']:,} cases, {broke} ({found['seconds']:.0f} s, {name})."])


def keep(name: str, found: dict) -> None:
    "Keep the figures of one attack, and draw the page anew."
    path = DOCS / "reliability.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[name] = found
    kept = {key: kept[key] for key in ATTACKS if key in kept}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    page = "\n\n".join([HEAD.rstrip(), *(section(*item) for item in kept.items())])
    (DOCS / "reliability.md").write_text(page + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ATTACKS))
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--short", action="store_true", help="the short form, as the tests run it")
    parser.add_argument("--write", action="store_true", help="keep the figures in docs/")
    args, broke = parser.parse_args(), 0
    for name in ATTACKS if args.all else args.names:
        began = time.perf_counter()
        found = asdict(attack(name, args.short)) | {"seconds": time.perf_counter() - began}
        broke += len(found["broke"])
        print(section(name, found), *(f"  {line}" for line in found["broke"]), sep="\n")
        if args.write:
            keep(name, found)
    return 1 if broke else 0


if __name__ == "__main__":
    sys.exit(main())
