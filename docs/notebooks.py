"""Run notebooks of the library from a fresh kernel and keep what they show.

`python docs/notebooks.py nbs/api/5_train/00_schedule.ipynb` runs one, or as many as are named.
Of a widget only its picture and its text are kept. `nbdev-clean` does the rest.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

KEPT = ("image/png", "image/jpeg", "text/html", "text/plain")
WIDGET = "application/vnd.jupyter.widget-view+json"


def pruned(out):
    "An output without counts, and with the kept kinds of data alone; a picture needs no text."
    if "data" in out:
        if WIDGET in out.data:
            out.data.pop("text/html", None)  # the widget as a page
        out.data = {kind: out.data[kind] for kind in KEPT if kind in out.data}
        if out.output_type == "display_data" and len(out.data) > 1:
            out.data.pop("text/plain")
    if "execution_count" in out:
        out.execution_count = None
    return out


def joined(outputs: list) -> list:
    "Neighbours of one stream as one; what is left of a progress bar, an output of nothing, is left out."
    kept = []
    for out in map(pruned, outputs):
        if out.get("data") == {}:
            continue
        if kept and out.output_type == "stream" == kept[-1].output_type and out.name == kept[-1].name:
            kept[-1].text += out.text
        else:
            kept.append(out)
    return kept


def run(path: Path) -> None:
    "Run a notebook where it stands, on one thread, and write it back."
    book = nbformat.read(path, 4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(book, timeout=120, kernel_name="python3", resources=where).execute()
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.metadata, cell.outputs = None, {}, joined(cell.outputs)
    book.metadata.pop("widgets", None)
    nbformat.write(book, path)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in sys.argv[1:]:
        run(Path(name))
