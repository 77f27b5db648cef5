"""`python docs/lessons.py [NAME ...]`: run lessons from a fresh kernel and keep what they show, widgets in a
JSON file beside each (see `lessonkit.pages`); with --seeds N, run each with seeds 0 to N-1 and keep its
findings in docs/lessons.json, too."""

import argparse
import base64
import io
import json
import os
import re
import statistics
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

from lessonkit.basics import memory_environment, write_whole
from lessonkit.lab.pages import WIDGET

ROOT = Path(__file__).parents[1]
LESSONS, RESULTS = ROOT / "nbs" / "lessons", ROOT / "docs" / "lessons.json"
DROPPED = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")
FINDINGS = "import json; print('findings ' + json.dumps(findings))"
MARK = """
def mark(kind, mime, shown):
    def marked(self, **kwargs):
        data, metadata = shown(self, **kwargs)
        return data | {mime: {"kind": type(self).__name__, "state": self.page_state()}}, metadata
    kind._repr_mimebundle_ = marked
from lessonkit.lab import pages
from lessonkit.widgets import base as widget
mark(widget.Widget, pages.WIDGET, widget.Widget._repr_mimebundle_)
del mark, pages, widget
"""


def chosen(names: list[str]) -> list[Path]:
    """The lessons whose file names begin with one of the names; all if there are none. SystemExit: no such
    lesson."""
    lessons = sorted(LESSONS.glob("*.ipynb"))
    found = [p for p in lessons if not names or p.name.startswith(tuple(names))]
    if not found:
        raise SystemExit(
            f"no lesson begins with {', '.join(names)}: there are {', '.join(p.name for p in lessons)}"
        )
    return found


def run(nb, seed: int | None = None) -> tuple[list[float], dict]:
    """Run the cells in a kernel of its own, in an empty folder; seconds of each code cell, and the lesson's
    `findings`."""
    nb.cells = [nbformat.v4.new_code_cell(MARK), *nb.cells, nbformat.v4.new_code_cell(FINDINGS)]
    for cell in nb.cells if seed is not None else []:
        cell.source = re.sub(r"^SEED = \d+", f"SEED = {seed}", cell.source, flags=re.M)
    seconds, began = [], []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "matplotlibrc").write_text("figure.dpi: 72\n")  # small pictures: these are only kept
        client = NotebookClient(
            nb,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            on_cell_execute=lambda **_: began.append(time.perf_counter()),
            on_cell_executed=lambda **_: seconds.append(time.perf_counter() - began[-1]),
        )
        client.execute(env=os.environ | memory_environment())  # as `lessonkit lab` starts kernels
    last, _ = nb.cells.pop(), nb.cells.pop(0)
    return seconds[1:-1], json.loads(last.outputs[-1].text.removeprefix("findings "))


def _small(png: str) -> str:
    "A PNG in as few colours as it needs: 12 for grey text, 24 for curves on white, 40 for pictures."
    out, picture = io.BytesIO(), Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    pixels = np.asarray(picture)
    colours = 12 if not np.ptp(pixels, axis=-1).any() else 24 if (pixels == 255).all(-1).mean() > 0.5 else 40
    picture = picture.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def _keep(outputs: list) -> list:
    "The outputs without the pages of widgets and progress bars, streams in one piece each."
    kept = []
    for out in outputs:
        data = out.get("data", {})
        if out.get("data") == {}:  # a bar that has ended
            continue
        if {name for name in DROPPED if data.pop(name, None)}:
            data.pop("text/html", None)
            if "image/png" not in data:  # another library's bar
                continue
        if "image/png" in data:
            data["image/png"] = _small(data["image/png"])
        if kept and out.output_type == "stream" == kept[-1].output_type and out.name == kept[-1].name:
            kept[-1].text += out.text
        else:
            kept.append(out)
    return kept


def take_widgets(nb) -> dict[str, list[dict]]:
    """Kind and state of the widgets that each cell shows, by the cell's id, out of the outputs; five digits
    are enough."""
    kept = {}
    for cell in nb.cells:
        for out in cell.get("outputs", []):
            if widget := out.get("data", {}).pop(WIDGET, None):
                short = json.loads(json.dumps(widget), parse_float=lambda text: float(f"{float(text):.5g}"))
                kept.setdefault(cell.id, []).append(short)
    return kept


def keep_outputs(nb) -> None:
    "Leave pictures and text of the outputs, and no widget state."
    nb.metadata.pop("widgets", None)
    nb.metadata.pop("language_info", None)
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _keep(cell.outputs)


def keep(nb, path: Path, seconds: list[float]) -> None:
    "Write a lesson that was run, and what its widgets show, and say how long it took."
    write_whole(path.with_suffix(".json"), take_widgets(nb))
    keep_outputs(nb)
    nbformat.write(nb, path)
    print(
        f"{path.name}: {sum(seconds):.0f} s, longest cell {max(seconds):.0f} s, "
        f"{path.stat().st_size / 1024:.0f} KB"
    )


def measure(path: Path, n: int) -> None:
    """Run a lesson with n seeds; its findings and seconds go into docs/lessons.json, the outputs of seed 0
    are kept."""
    books = [nbformat.read(path, 4) for _ in range(n)]
    runs = [run(nb, seed) for seed, nb in enumerate(books)]
    keep(books[0], path, runs[0][0])
    findings = {name: [found[name] for _, found in runs] for name in runs[0][1]}
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[path.stem] = {
        "command": f"python docs/lessons.py {path.stem[:2]} --seeds {n}",
        "seconds": [round(sum(seconds), 1) for seconds, _ in runs],
        "longest_cell": [round(max(seconds), 1) for seconds, _ in runs],
        "findings": findings,
    }
    RESULTS.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
    for name, values in findings.items():
        print(f"  {name}: median {statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})")


def main() -> None:
    parser = argparse.ArgumentParser("python docs/lessons.py", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="beginnings of file names, such as 01 (default: all)"
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="run with seeds 0 to N-1, and keep the findings, too"
    )
    options = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for path in chosen(options.names):
        if options.seeds:
            measure(path, options.seeds)
        else:
            nb = nbformat.read(path, 4)
            keep(nb, path, run(nb)[0])


if __name__ == "__main__":
    main()
