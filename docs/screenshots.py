"""Take the pictures in docs/widgets anew: `python docs/screenshots.py` (needs Debian's chromium)."""
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from conftest import ARGS, CHROMIUM  # noqa: E402
from lab import Lab  # noqa: E402

CELLS = [f"""import sys; sys.path.insert(0, {str(ROOT)!r})
from lessonkit import ImageData, Learner, sgdr, spread_lrs
from lessonkit.widgets import AugmentPreview, LayerGroups, LRPicker, Replay, ScheduleExplorer, TrainMonitor
data = ImageData("sample:side_on", size=64, progress=False)
learn = Learner(data, "resnet10", weights=None)
found = learn.find(lr_min=1e-6, progress=False)""",
         "LRPicker(found, learn)", "ScheduleExplorer(learn, 3, 1, 2, warmup=0.5)", "LayerGroups(learn)", "AugmentPreview(data)",
         "TrainMonitor(learn)", "history = learn.fit(sgdr(2, 1, 2), lr=spread_lrs(found.lr, 3, 3), progress=False)",
         "Replay(history, [g.name for g in learn.groups], step=70)"]
NAMES = {1: "picker", 2: "explorer", 3: "panel", 4: "preview", 5: "monitor", 7: "replay"}


def main():
    from playwright.sync_api import sync_playwright
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        lab, browser = Lab(Path(folder)), playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        nb = lab.open(browser, CELLS, "widgets.ipynb")
        for k in range(len(CELLS)):
            nb.run(k, timeout=400)
        for theme in ("light", "dark"):
            nb.theme(f"JupyterLab {theme.title()}")
            for k, name in NAMES.items():
                shown = nb.page.locator(".jp-Cell").nth(k).locator(".lk")
                shown.scroll_into_view_if_needed()
                nb.page.wait_for_timeout(300)
                picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
                colours = 160 if name == "preview" else 128            # fewer, and the marks lose theirs
                picture.quantize(colours, dither=Image.Dither.NONE).save(ROOT / "docs" / "widgets" / f"{name}-{theme}.png", optimize=True)
        browser.close()
        lab.close()


if __name__ == "__main__":
    main()
