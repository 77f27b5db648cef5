"""`python docs/house.py`: draw the house from its imports, floor by floor, into docs/house.svg."""

import ast
import json
import re
from collections import Counter
from importlib.util import resolve_name
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parents[1]
BLUE, INK, PALE = "#0072B2", "#222222", "#E8F1F8"


def floors() -> dict[str, list[str]]:
    "The rooms of each floor, the ground first, in the order of the notebooks."
    found = {}
    for path in sorted((ROOT / "nbs" / "api").glob("*/*.ipynb")):
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        found.setdefault(path.parent.name[2:], []).append(re.match(r"#\| default_exp (\S+)", first)[1])
    return found


def imports(module: str) -> dict[str, list[str]]:
    "The modules of the house that one imports, and what from each; a wing's face counts as that wing's name."
    tree = ast.parse((ROOT / "lessonkit" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    package, found = f"lessonkit.{module}".rpartition(".")[0], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            other = resolve_name("." * node.level + (node.module or ""), package)
            names = [a.name for a in node.names]
            if other == "lessonkit":
                found |= {name: [] for name in names}
            elif other.startswith("lessonkit."):
                found.setdefault(other.removeprefix("lessonkit."), []).extend(names)
    return found


def count_arrows(house: dict[str, list[str]]) -> Counter:
    "How many imports go from a floor to another one."
    home = {room: floor for floor, rooms in house.items() for room in rooms} | {
        floor: floor for floor in house
    }
    pairs = [
        (floor, home[other]) for floor, rooms in house.items() for room in rooms for other in imports(room)
    ]
    return Counter(pair for pair in pairs if pair[0] != pair[1])


def draw(house: dict[str, list[str]]) -> Figure:
    "The house: a row for each floor, its rooms in it, and how many imports go down to which floors."
    fig = Figure((11, 0.85 * len(house) + 0.4))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 11), ylim=(-0.3, len(house) * 0.85 + 0.1)), ax.axis("off")
    arrows = count_arrows(house)
    for k, (floor, rooms) in enumerate(house.items()):
        y, names = 0.85 * k, [room.split(".")[-1] for room in rooms]
        ax.add_patch(FancyBboxPatch((0.1, y), 10.8, 0.62, boxstyle="round,pad=0.03", fc=PALE, ec="none"))
        ax.text(0.2, y + 0.42, floor, color=BLUE, weight="bold", size=11, va="center")
        ax.text(1.5, y + 0.42, " · ".join(names), color=INK, size=9, va="center")
        down = [f"{other} {n}" for other in house if (n := arrows[floor, other])]
        ax.text(
            1.5,
            y + 0.14,
            ("imports: " + ", ".join(down)) if down else "imports nothing of the house",
            color="#666666",
            size=7.5,
            va="center",
        )
    return fig


if __name__ == "__main__":
    # text stays text, and the same house is the same file
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "house"}
    draw(floors()).savefig(ROOT / "docs" / "house.svg", metadata={"Date": None})
