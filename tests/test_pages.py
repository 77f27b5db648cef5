"""The lessons as pages: whole in themselves, readable where it is narrow or dark, with widgets that answer
and no kernel."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from lessonkit.cli import main
from lessonkit.lab import pages
from lessonkit.lab.copy import lesson_folder
from lessonkit.lab.pages import lesson_body, write_pages

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "nbs" / "lessons").glob("*.ipynb"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("site")).parent


class Links(HTMLParser):
    "What a page points to."

    def __init__(self, text: str):
        super().__init__()
        self.links, self.loaded, self.pictures = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "a":
            self.links.append(attrs.get("href", ""))
        elif tag in ("img", "script", "link", "iframe"):
            self.loaded.append(attrs.get("src") or attrs.get("href") or "")
            self.pictures += tag == "img"
            assert tag != "img" or attrs.get("alt"), "a picture says nothing to those who cannot see it"


def test_pages_are_whole_in_themselves(site):
    names = {p.name for p in site.iterdir()}
    assert names == {"index.html", *(f"{p.stem}.html" for p in LESSONS)}
    for path in site.iterdir():
        found = Links(path.read_text(encoding="utf-8"))
        assert path.stat().st_size < 1024**2 and found.pictures >= (8 if path.stem != "index" else 0)
        assert all(not src or src.startswith("data:") for src in found.loaded)
        inside = [link for link in found.links if not link.startswith(("https://", "#"))]
        assert set(inside) <= names and "index.html" in [*inside, path.name]


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_every_widget_of_a_lesson_is_kept(path):
    kinds = "|".join(pages.KINDS)
    kept = json.loads(path.with_suffix(".json").read_text())
    for cell in nbformat.read(path, 4).cells:
        shown = [
            found[1]
            for out in cell.get("outputs", [])
            if (found := re.match(rf"({kinds})\(", str(out.get("data", {}).get("text/plain", ""))))
        ]
        assert shown == [widget["kind"] for widget in kept.get(cell.id, ())], cell.source
    assert lesson_body(path).count('type="module"') == sum(map(len, kept.values())) >= 4


def test_a_lesson_without_kept_widgets_shows_their_pictures(tmp_path):
    (tmp_path / "a.ipynb").write_bytes(LESSONS[0].read_bytes())
    body = lesson_body(tmp_path / "a.ipynb")
    whole = lesson_body(LESSONS[0])
    assert "<script" not in body and body.count("data:image/png") == whole.count("data:image/png")


def test_a_plots_title_is_its_text():
    assert pages._title('ax = new_axes(title="The curve moves")') == "The curve moves"
    assert pages._title('ax.set_title("a"); title=f"After {n} steps"') == "a" and pages._title("x = 1") == ""


def test_only_reading_needs_no_jupyterlab(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or False)
    monkeypatch.setattr("os.execve", lambda *args: pytest.fail("JupyterLab was started"))
    assert main(["lab", str(tmp_path / "mine"), "--read"]) == 0
    index = (tmp_path / "mine" / "pages" / "index.html").resolve()
    assert opened == [index.as_uri()] and str(index) in capsys.readouterr().out
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["pages"]
    assert lesson_folder() == ROOT / "nbs" / "lessons"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_in_a_narrow_window_without_a_network(site, browser, scheme):
    context = browser.new_context(viewport={"width": 480, "height": 900}, color_scheme=scheme, offline=True)
    page, problems, asked = context.new_page(), [], []
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("request", lambda r: asked.append(r.url) if not r.url.startswith(("data:", "blob:")) else None)
    for path in sorted(site.iterdir()):
        page.goto(path.as_uri())
        if path.stem != "index":
            page.wait_for_function(
                "n => document.querySelectorAll('.lk').length === n",
                arg=path.read_text().count('type="module"'),
            )
        assert page.evaluate("document.documentElement.scrollWidth") <= 480
        ink, paper = page.evaluate(
            "() => ['color', 'backgroundColor'].map(k => getComputedStyle(document.body)[k])"
        )
        light = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 765 for colour in (ink, paper)]
        assert abs(light[0] - light[1]) > 0.7 and (light[1] > 0.5) == (scheme == "light")
    assert not problems and len(asked) == len(LESSONS) + 1
    context.close()


@pytest.mark.browser
def test_a_bet_and_a_picker_answer_without_a_kernel(site, browser):
    page = browser.new_page()
    page.goto((site / "01_lr_finder.html").as_uri())
    slider = page.get_by_role("slider", name="learning rate").first
    slider.wait_for()
    big = page.locator(".lk-big", has_text="lr").first
    before = big.inner_text()
    slider.focus()
    page.keyboard.press("PageDown")
    assert big.inner_text() != before
    first, second = (page.get_by_role("radiogroup", name="Which run had the middle").nth(k) for k in (0, 1))
    first.get_by_role("radio", name="B").check()
    assert (
        second.get_by_role("radio", name="B").is_checked()
        and second.get_by_role("radio", name="A").is_disabled()
    )
    page.get_by_role("link", name="2. Cycles").first.click()
    assert page.get_by_role("heading", level=1).inner_text().startswith("2. Cycles")
    page.close()
