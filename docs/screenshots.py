"""Take the README's pictures and those in docs/widgets anew: `python docs/screenshots.py [report] [lesson]
[widgets]` (needs Debian's chromium)."""

import re
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from conftest import ARGS, CHROMIUM  # noqa: E402
from lab import NOTEBOOK, Lab  # noqa: E402

CELLS = [
    f"""import sys; sys.path.insert(0, {str(ROOT)!r})
from lessonkit import ImageData, Learner, sgdr, spread_lrs
from lessonkit.widgets import (AugmentPreview, LRPicker, LayerGroups, Replay, Results, ScheduleExplorer,
    TrainMonitor)
data = ImageData("sample:side_on", size=80, bs=16, per_class=32, progress=False)
learn = Learner(data)
found = learn.find(lr_min=1e-6, progress=False)
learn.unfreeze()""",
    "picker = LRPicker(found, learn); picker",
    "ScheduleExplorer(learn, 3, 1, 2, warmup=0.5)",
    "LayerGroups(learn)",
    "AugmentPreview(data)",
    "TrainMonitor(learn)",
    "history = learn.fit(sgdr(3, 1, 2), lr=spread_lrs(found.lr / 10, 3, 3), progress=False)",
    "Replay(history, step=60)",
    "learn.restore_best(); Results(learn)",
]
NAMES = {1: "picker", 2: "explorer", 3: "panel", 4: "preview", 5: "monitor", 7: "replay", 8: "results"}


# What the README shows of the report, in two columns: the result and the worst mistakes; the first step's
# curve, live, and what is taken for what.
COLUMNS = """main { max-width: none; padding: 1.5rem 1.6rem; columns: 2; column-gap: 2.4rem; }
section, .piece { break-inside: avoid; border: 0; padding: .4rem 0; } .gone, nav { display: none !important; }
.mistakes { grid-template-columns: repeat(3, 1fr); } #step-1 { break-before: column; }"""
ARRANGE = """() => {
    const all = (those) => [...document.querySelectorAll(those)], first = all("#step-1")[0];
    const piece = (...those) => {
        const box = Object.assign(document.createElement("div"), { className: "piece" });
        box.append(...those);
        return box;
    };
    const titled = (start) => {
        const title = all("h3").find((e) => e.textContent.startsWith(start)), text = title.nextElementSibling;
        return piece(title, text, text.nextElementSibling);
    };
    first.before(titled("Where it is most wrong"));
    first.after(titled("What is taken for what"));
    for (const e of all("section:not(#step-1)")) e.classList.add("gone");
}"""


def report(browser):
    "docs/sample-run.png: the page of `lessonkit train --sample`."
    from lessonkit.cli import main

    with tempfile.TemporaryDirectory() as folder:
        main(["train", "--sample", "--out", folder])
        page = browser.new_page(viewport={"width": 1216, "height": 900})
        page.goto((Path(folder) / "report.html").as_uri())
        page.wait_for_selector("#step-1 .lk-live")
        page.add_style_tag(content=COLUMNS)
        page.evaluate(ARRANGE)
        page.locator("main").screenshot(path=ROOT / "docs" / "sample-run.png")
    keep_small(ROOT / "docs" / "sample-run.png", 256)


def keep_small(path: Path, colours: int) -> None:
    "Save a picture with few colours: a third of the bytes. k-means keeps those that are rare, as of a mark."
    few = Image.open(path).convert("RGB").quantize(colours, kmeans=3, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def shoot(nb, look: str):
    "A picture of each widget as it is now, docs/widgets/NAME-LOOK.png."
    for k, name in NAMES.items():
        shown = nb.page.locator(".jp-Cell").nth(k).locator(".lk")
        shown.scroll_into_view_if_needed()
        nb.page.wait_for_timeout(300)
        path = ROOT / "docs" / "widgets" / f"{name}-{look}.png"
        shown.screenshot(path=path)
        photos = name in ("preview", "results")
        keep_small(path, 160 if photos else 128)  # fewer, and the marks lose theirs


def try_rates(nb):
    "Press the picker's Try, and wait for its end."
    nb.page.get_by_role("button", name=re.compile("^try")).click()
    nb.page.wait_for_function("() => document.body.innerText.match(/lr [0-9.e-]+: loss/g)?.length >= 3")
    nb.page.get_by_role("button", name=re.compile("^try")).wait_for()


def widgets(browser):
    "docs/widgets: each in a real JupyterLab, light, dark, and in a window of 480 px."
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lab = Lab(Path(folder))
        nb = lab.open(browser, CELLS, "widgets.ipynb")
        for k in range(len(CELLS)):
            nb.run(k, timeout=400)
            if k == 1:  # of a network that is not trained yet
                try_rates(nb)
        shoot(nb, "light")
        nb.theme("JupyterLab Dark")
        shoot(nb, "dark")
        nb.theme("JupyterLab Light")
        nb.page.set_viewport_size({"width": 480, "height": 1700})
        nb.command("application:toggle-left-area")
        shoot(nb, "narrow")
        lab.close()


def lesson(browser):
    "docs/lesson.png: lesson 01 at work, a bet made, the picker after its Try."
    from lessonkit.lab.copy import FIRST, copy_lessons

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lab = Lab(Path(folder))
        copy_lessons(folder)
        nb = lab.open(browser, [], FIRST, viewport={"width": 1080, "height": 1400})
        nb.command("application:toggle-left-area")
        cells = nb.page.evaluate(
            f"() => ({NOTEBOOK})().content.widgets.map(w => [w.model.type, w.model.sharedModel.source])"
        )
        k = next(k for k, (_, source) in enumerate(cells) if source.startswith("picker = "))
        for code in (i for i in range(k + 1) if cells[i][0] == "code"):
            nb.run(code)
        nb.page.get_by_role("radio", name="at the end of the steep part").check()
        try_rates(nb)
        nb.wait_idle()
        nb.page.locator(".jp-Cell").nth(k - 2).evaluate("cell => cell.scrollIntoView()")
        nb.page.wait_for_timeout(1500)
        nb.page.screenshot(path=ROOT / "docs" / "lesson.png")
        lab.close()
    keep_small(ROOT / "docs" / "lesson.png", 160)


def main(names: list[str]):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        for name in names or ["report", "lesson", "widgets"]:
            {"report": report, "lesson": lesson, "widgets": widgets}[name](browser)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
