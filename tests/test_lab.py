"""The widgets in a real JupyterLab: by mouse and by keys, while a cell runs, in the dark, after a reload, and
as pages with no kernel and no network."""

import re
import subprocess
import sys

import nbformat
import pytest
from conftest import guesses
from lab import NOTEBOOK, Lab, pip_install

pytestmark = pytest.mark.browser
OLDER = "7.2.0"  # an ipykernel that answers during a cell by itself; the installed one is newer

START = """import os
os.environ["LESSONKIT_CACHE"] = {cache!r}
import torch; torch.set_num_threads(1)
from lessonkit import ImageData, Learner, sgdr
from lessonkit.widgets import (AugmentPreview, Bet, LRPicker, LayerGroups, Replay, Results,
                               ScheduleExplorer, TrainMonitor)
data = ImageData("sample:side_on", size=32, progress=False)
learn = Learner(data, "resnet10", weights=None)"""
FOUND = """from lessonkit.train import LRFind
lrs = [10 ** (-6 + k / 12) for k in range(80)]
losses = [2 / (1 + (lr / 0.01) ** 1.2) + 40 * max(0, lr - 0.5) for lr in lrs]
found = LRFind(tuple(lrs), tuple(losses), stopped="diverged")"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser):
    "A JupyterLab with the installed ipykernel (`python3`) and an older one (`older`)."
    older = tmp_path_factory.mktemp("older")
    pip_install(f"ipykernel=={OLDER}", older)
    lab = Lab(tmp_path_factory.mktemp("lab"), {"older": older})
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return START.format(cache=str(tmp_path_factory.getbasetemp() / "labcache"))


@pytest.fixture(scope="module")
def still(lab, browser, start):
    "A notebook with a widget in each cell, one kernel for the tests that train little."
    nb = lab.open(
        browser,
        [
            start + "\n" + FOUND,
            "picker = LRPicker(found, learn, try_steps=6); picker",
            "explorer = ScheduleExplorer(learn, 3, 1, 2); explorer",
            "panel = LayerGroups(learn); panel",
            "preview = AugmentPreview(data); preview",
            "h = learn.fit(sgdr(2, 1), lr=1e-3, progress=False); replay = Replay(h, panel.names); replay",
            "bet = Bet('Is it so?', ['yes', 'no, not at all']); bet",
            "results = Results(learn); results",
            "",
        ],
        "still.ipynb",
    )
    for k in range(8):
        nb.run(k)
    yield nb
    assert not ours(nb.problems)
    nb.close()


def ours(problems: list[str]) -> list[str]:
    "The errors in which the widgets' own code, which comes as a blob, had a part."
    return [text for text in problems if "blob:" in text]


def ask(nb, expression: str, wanted=lambda text: True, k: int = 8) -> str:
    """The value of an expression in the kernel, through the last cell; asked again until it is as `wanted` (a
    text or a test), as widgets' messages and cells do not wait for each other."""
    fits = wanted if callable(wanted) else lambda text: text == wanted
    nb.page.evaluate(
        f"([k, text]) => ({NOTEBOOK})().content.widgets[k].model.sharedModel.setSource(text)",
        [k, f"print(({expression}))"],
    )
    for _ in range(20):
        text = nb.value(k)
        if fits(text):
            break
        nb.page.wait_for_timeout(100)
    assert fits(text), text
    return text


def cell(nb, k):
    return nb.page.locator(".jp-Cell").nth(k)


def until(nb, k: int, pattern: str, seconds: float = 60):
    "Wait until the text of cell `k` matches a pattern."
    nb.page.wait_for_function(
        "([k, pattern]) => new RegExp(pattern).test(document.querySelectorAll('.jp-Cell')[k]?.innerText)",
        arg=[k, pattern],
        timeout=seconds * 1000,
    )


def in_widget(nb, k: int, script: str):
    "What a script makes of the widget `e` in cell `k`."
    e = "document.querySelectorAll('.jp-Cell')[k].querySelector('.lk')"
    return nb.page.evaluate(f"k => {{ const e = {e}; return {script}; }}", k)


def press(nb, slider, *keys):
    slider.focus()
    for key in keys:
        nb.page.keyboard.press(key)


def test_scrub_by_keys_and_read_the_value(still):
    slider = cell(still, 1).get_by_role("slider", name="learning rate")
    before = float(ask(still, "picker.lr"))
    press(still, slider, "ArrowRight", "ArrowRight", "ArrowRight")
    ask(still, "picker.lr", lambda lr: float(lr) / before == pytest.approx(10 ** (3 / 24), rel=0.06))
    assert re.match(r"[\d.e-]+, loss [\d.]+", slider.get_attribute("aria-valuetext"))
    press(still, slider, "Home")
    ask(still, "picker.lr", "1e-06")
    press(still, slider, "End")
    top = float(ask(still, "picker.lr", lambda lr: float(lr) > 1))
    press(still, slider, "PageDown")
    ask(still, "picker.lr", lambda lr: float(lr) < top / 2)
    press(still, slider, "PageUp", "ArrowLeft")
    ask(still, "picker.lr", lambda lr: float(lr) == pytest.approx(top * 10 ** (-1 / 24), rel=0.06))


def test_scrub_by_mouse(still):
    plot = cell(still, 1).locator("svg.lk-scrub")
    values = []
    for part in (0.3, 0.6):
        plot.hover(position={"x": 4, "y": 4})  # waits until the notebook no longer scrolls
        box = plot.bounding_box()
        still.page.mouse.move(box["x"] + part * box["width"], box["y"] + 100)
        still.page.mouse.down()
        still.page.mouse.move(box["x"] + (part + 0.1) * box["width"], box["y"] + 120, steps=4)
        still.page.mouse.up()
        values.append(
            float(ask(still, "picker.lr", lambda lr: float(lr) != values[-1] if values else float(lr) < 1e-2))
        )
    assert values[1] > 20 * values[0]


def test_a_rules_button_and_the_sliders_of_the_curve(still):
    cell(still, 1).get_by_role("button", name=re.compile("valley")).click()
    ask(still, "picker.lr == picker.found.suggestions['valley']", "True")
    assert (
        cell(still, 1).get_by_role("button", name=re.compile("valley")).get_attribute("aria-pressed")
        == "true"
    )
    press(still, cell(still, 1).get_by_role("slider", name="smoothing"), "End")
    press(still, cell(still, 1).get_by_role("slider", name="cut the last"), "ArrowRight", "ArrowRight")
    ask(still, "picker.level, picker.trim", "(5, [0, 2])")


def test_try_it_shows_three_losses_and_changes_nothing(still):
    bits = "b''.join(v.numpy().tobytes() for v in learn.model.state_dict().values())"
    digest = f"__import__('hashlib').sha256({bits}).hexdigest()"
    before = ask(still, digest)
    cell(still, 1).get_by_role("button", name=re.compile("try")).click()
    until(still, 1, "(lr [0-9.e-]+: loss[^]*){3}")
    ask(
        still,
        "picker.trial['running'], [len(r['losses']) for r in picker.trial['runs']]",
        "(False, [6, 6, 6])",
    )
    ask(still, digest, before)


def test_a_trial_can_be_given_up_and_the_button_keeps_the_focus(still):
    ask(still, "setattr(picker, '_try_steps', 3000)", "None")
    button = cell(still, 1).get_by_role("button", name=re.compile("^(try lr|cancel)"))
    press(still, button, "Enter")
    until(still, 1, r"cancel \([1-9]\d* of 9000\)")
    assert in_widget(still, 1, "document.activeElement.textContent.startsWith('cancel')")
    still.page.keyboard.press("Enter")
    until(still, 1, "given up")
    assert in_widget(still, 1, "document.activeElement.textContent.startsWith('try')")
    ask(still, "setattr(picker, '_try_steps', 6), learn.lock.acquire(blocking=False)", "(None, True)")
    ask(still, "learn.lock.release()", "None")


def test_a_rule_says_what_it_looks_for_and_the_curve_where_it_breaks(still):
    rule = cell(still, 1).get_by_role("button", name=re.compile("valley"))
    rule.focus()
    assert "valley: two thirds of the way down" in cell(still, 1).inner_text()
    cell(still, 1).get_by_role("button", name=re.compile("slide")).hover()
    assert "slide: the daring one" in cell(still, 1).inner_text()
    svg = cell(still, 1).locator("svg.lk-scrub")
    assert {"too slow", "breaks"} <= set(svg.locator("text").all_text_contents())
    assert "diverged, the normal end" in cell(still, 1).inner_text()


def test_sliders_stand_in_line_and_keep_their_size(still):
    for k in (1, 2, 3):
        lefts = (
            "[...e.querySelectorAll('.lk-slider')].map(s => s.querySelector('input').getBoundingClientRect())"
        )
        boxes = in_widget(still, k, f"{lefts}.map(b => [b.left - e.getBoundingClientRect().left, b.width])")
        assert len({round(width) for _, width in boxes if width}) <= 2, (k, boxes)
        assert len({round(left) for left, _ in boxes}) <= 2, (k, boxes)
    slider = cell(still, 2).get_by_role("slider", name="learning rate")
    widths = []
    for key in ("Home", "PageUp", "End"):
        press(still, slider, key)
        widths.append(slider.bounding_box()["width"])
    assert len(set(widths)) == 1, widths


def test_cycles_by_keys(still):
    assert "1+2+4 = 7 epochs" in cell(still, 2).inner_text()
    press(still, cell(still, 2).get_by_role("slider", name="cycles"), "ArrowLeft")
    press(still, cell(still, 2).get_by_role("slider", name="each next"), "End")
    assert "1+3 = 4 epochs" in cell(still, 2).inner_text()
    ask(still, "explorer.schedule", lambda text: text.startswith("1+3 = 4 epochs"))
    cell(still, 2).get_by_role("switch").check()
    ask(still, "explorer.schedule.grow", "True")


def test_layers_by_keys(still):
    press(still, cell(still, 3).get_by_role("slider", name="likeness"), "End")
    ask(still, "panel.lrs", lambda lrs: eval(lrs) == pytest.approx([1e-5, 1e-4, 1e-3]))
    press(still, cell(still, 3).get_by_role("slider", name="lr of conv1"), "Home")
    ask(still, "panel.lrs[0]", "1e-08")
    cell(still, 3).get_by_role("switch", name=re.compile("train layer3")).uncheck()
    ask(still, "panel.frozen_to, [p.requires_grad for p in learn.groups[1].params][0]", "(2, False)")
    cell(still, 3).get_by_role("switch", name=re.compile("train conv1")).check()
    ask(still, "panel.frozen_to, [p.requires_grad for p in learn.groups[0].params][0]", "(0, True)")


def test_augmentation_by_keys(still):
    sheet = cell(still, 4).get_by_role("img", name=re.compile("Pictures of"))
    first = sheet.get_attribute("src")
    cell(still, 4).get_by_role("radio", name="top_down").check()
    still.page.wait_for_function(
        "old => document.querySelectorAll('.jp-Cell')[4].querySelector('img.lk-sheet').src !== old", arg=first
    )
    press(still, cell(still, 4).get_by_role("slider", name="strength"), "ArrowRight")
    ask(still, "preview.preset, preview.augment.rotate", "('top_down', 12.5)")
    assert "top_down, strength 1.25" in sheet.get_attribute("alt")


def test_replay_scrubs_and_plays(still):
    slider = cell(still, 5).get_by_role("slider", name="update")
    press(still, slider, "Home")
    assert "update 0 of 60" in cell(still, 5).inner_text()
    ask(still, "replay.step", "0")
    cell(still, 5).get_by_role("button", name="play").click()
    until(still, 5, "update [1-9]")
    cell(still, 5).get_by_role("button", name="pause").click()
    ask(still, "replay.step", lambda step: 0 < int(step) <= 60)


def drag(nb, svg, start, end):
    "Drag from one place in an svg, in px, to another."
    svg.hover(position={"x": 1, "y": 1})
    box = svg.bounding_box()
    nb.page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    nb.page.mouse.down()
    nb.page.mouse.move(box["x"] + end[0], box["y"] + end[1], steps=5)
    nb.page.mouse.up()


def test_pictures_can_be_dragged(still):
    svg = cell(still, 2).locator("svg.lk-plot")
    places = svg.locator("circle.lk-grip").evaluate_all(
        "g => g.map(e => [e.cx, e.cy].map(v => v.baseVal.value))"
    )
    before = float(ask(still, "explorer.lr_max"))
    drag(still, svg, places[0], (places[0][0], places[0][1] + 80))
    ask(still, "explorer.lr_max", lambda lr: float(lr) < 0.8 * before)
    length = float(ask(still, "explorer.cycle_len"))
    places = svg.locator("circle.lk-grip").evaluate_all(
        "g => g.map(e => [e.cx, e.cy].map(v => v.baseVal.value))"
    )
    drag(still, svg, places[1], (places[1][0] + 200, places[1][1]))
    ask(still, "explorer.cycle_len", lambda new: float(new) > length)
    lrs = eval(ask(still, "panel.lrs"))
    bars = cell(still, 3).locator("svg.lk-plot")
    drag(still, bars, (200, 28), (420, 28))
    ask(still, "panel.lrs", lambda new: eval(new)[0] > lrs[0] and eval(new)[1:] == lrs[1:])
    drag(still, cell(still, 5).locator("svg.lk-plot").first, (300, 80), (100, 80))
    ask(still, "replay.step", lambda step: 0 < int(step) < 25)


def test_what_is_under_the_pointer_is_said(still):
    svg = cell(still, 5).locator("svg.lk-plot").first
    svg.hover(position={"x": 320, "y": 90})
    readout = svg.locator("text.lk-readout")
    assert re.match(r"update \d+ · loss [\d.]+ · lr [\d.e-]+", readout.text_content())
    cell(still, 1).locator("svg.lk-scrub").hover(position={"x": 320, "y": 90})
    assert readout.text_content() == ""


def test_a_bet_is_kept_and_shown_beside_the_outcome(still):
    choice = cell(still, 6).get_by_role("radiogroup", name="Is it so?")
    press(still, choice.get_by_role("radio", name="yes"), "Space", "ArrowRight")
    ask(still, "bet.chosen", "no, not at all")
    assert "Your bet: no, not at all." in cell(still, 6).inner_text()
    ask(still, "bet.reveal('yes', 'So it is.').outcome", "yes")
    until(still, 6, "It is not. What happened: yes. So it is.")
    assert choice.get_by_role("radio", name="yes").is_disabled()


def status(nb, k: int) -> str:
    "What a widget announces."
    return cell(nb, k).get_by_role("status").inner_text()


def test_a_table_opens_its_pictures_by_keys(still):
    first = cell(still, 7).get_by_role("gridcell").first
    press(still, first, "End", "ArrowRight", "ArrowDown", "Home", "ArrowRight", "Enter")
    ask(still, "results.chosen", "['cell', 'bauble', 'bauble']")
    right = int(ask(still, "results.counts[1][1]"))
    until(still, 7, f"{right or 'No'} (of 40 )?pictures? of bauble (was|were) named right")
    grid = cell(still, 7).get_by_role("grid")
    assert grid.get_by_role("gridcell", selected=True).inner_text() == str(right)
    assert grid.locator("[tabindex='0']").count() == 1


PER_ROW = """[...e.querySelectorAll('.lk-thumb')]
    .filter((thumb, k, all) => thumb.offsetTop === all[0].offsetTop).length"""


def test_pictures_are_looked_at_by_keys(still):
    shown = cell(still, 7)
    press(still, shown.get_by_role("radio", name="most wrong"), "Space", "ArrowRight")
    ask(still, "results.chosen, len(results.shown)", "(['most unsure'], 20)")
    until(still, 7, "The least sure first")
    press(still, shown.locator(".lk-thumb").first, "ArrowRight", "ArrowDown", "ArrowLeft")
    label = still.page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert re.match(r"\w+, (named right|taken for) \w+ \d+%, valid/\w+/\d+\.png$", label)
    per_row = in_widget(still, 7, PER_ROW)
    picture = f"results.opened['pictures'][{per_row}]"
    ask(still, f"{picture}['at'] == results.looked == results.large['at']", "True")
    assert label.endswith(ask(still, f"{picture}['file']"))
    tile = "document.querySelector('.lk-detail .lk-tile').style.background"
    still.page.wait_for_function(f"() => {tile}.includes('data:image')")
    assert label.split(", ")[-1] in shown.locator(".lk-detail").inner_text()


def test_the_mistakes_of_a_class_are_chosen(still):
    cell(still, 7).get_by_role("combobox", name="those named wrong of one class").select_option("lamp")
    ask(still, "results.chosen", "['class', 'lamp']")
    until(still, 7, r"lamp: \d+ of 40 were found \(recall [\d.]+\); ")
    ask(still, "results.set_trait('chosen', ['most wrong']) or results.chosen", "['most wrong']")
    until(still, 7, r"\d+ of 240 were named wrong")
    assert cell(still, 7).get_by_role("radio", name="most wrong").is_checked()


def luminance(color: str) -> float:
    r, g, b = (int(v) / 255 for v in re.findall(r"\d+", color)[:3])
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_both_themes_can_be_read(still, theme):
    still.theme(theme)
    dark = theme.endswith("Dark")
    for k in range(1, 8):
        ink, paper = in_widget(still, k, "[getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
        assert (luminance(paper) < 0.2) == dark and abs(luminance(ink) - luminance(paper)) > 0.6
    line = still.page.evaluate("() => getComputedStyle(document.querySelector('.lk path.lk-curve')).stroke")
    assert (luminance(line) > 0.5) == dark


def test_a_narrow_window(still):
    still.page.set_viewport_size({"width": 480, "height": 900})
    still.command("application:toggle-left-area")
    still.page.wait_for_function(
        "() => document.querySelectorAll('.jp-Cell')[1].querySelector('.lk').clientWidth < 460"
    )
    for k in range(1, 8):
        shown = f"document.querySelectorAll('.jp-Cell')[{k}].querySelector('.lk')"
        still.page.wait_for_function(f"() => {shown}.scrollWidth <= {shown}.clientWidth + 1")
    still.page.set_viewport_size({"width": 1280, "height": 1000})


def test_every_control_has_a_name_and_the_focus_can_be_seen(still):
    for k in range(1, 8):
        assert (
            in_widget(
                still,
                k,
                "[...e.querySelectorAll('input, button')].filter(c => "
                "!c.getAttribute('aria-label') && !c.textContent.trim() && "
                "!c.closest('label')?.textContent.trim()).length",
            )
            == 0
        )
    press(still, cell(still, 1).get_by_role("slider", name="learning rate"), "ArrowLeft")
    assert still.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"


SHARED = """picker = LRPicker(found, learn)
panel, explorer = LayerGroups(learn, lr=picker), ScheduleExplorer(learn, 3, lr=picker)
import ipywidgets
ipywidgets.VBox([picker, panel, explorer])"""
LRS = """from lessonkit.plot import format_lr
print(*map(format_lr, (picker.lr, panel.lr, panel.lrs[-1], explorer.lr_max)))"""


LRS_SAID = """([e, ...others]) => {
  const [lr, ...rest] = [e, ...others].map(e => e.getAttribute("aria-valuetext").split(",")[0]);
  return lr !== window.before && rest.every(text => text === lr) && lr;
}"""


def scrub_to_and_fro(nb, sliders):
    "Many keys in a row; the lr that all of them say afterwards, and what they say for the next second."
    sliders[0].focus()
    for key in ["ArrowRight"] * 12 + ["ArrowLeft"] * 11:
        nb.page.keyboard.press(key)
    handles = [slider.element_handle() for slider in sliders]
    nb.page.wait_for_timeout(300)
    said = nb.page.wait_for_function(LRS_SAID, arg=handles).json_value()
    later = []
    for _ in range(50):
        nb.page.wait_for_timeout(20)
        later.append(nb.page.evaluate(LRS_SAID, handles))
    return said, later


def test_one_lr_also_while_a_cell_runs(lab, browser, start):
    nb = lab.open(browser, [start + "\n" + FOUND, SHARED, "import time; time.sleep(8)", LRS], "shared.ipynb")
    try:
        nb.run(0), nb.run(1)
        lrs = cell(nb, 1).get_by_role("slider", name="learning rate")
        sliders = [lrs.first, lrs.nth(1), cell(nb, 1).get_by_role("slider", name="lr of the head")]
        for busy in (
            False,
            False,
            False,
            False,
            True,
        ):  # two lrs that chase each other do so one time in three
            if busy:
                nb.run(2, wait=False)
            said, later = scrub_to_and_fro(nb, sliders)
            assert set(later) == {said}
        nb.wait_done(2)
        nb.run(3)
        assert set(nb.text(3).split()) == {said}
    finally:
        nb.close()


def saved(lab, nb, name: str):
    "The notebook as it was saved now."
    nb.command("docmanager:save")
    nb.page.wait_for_function(f"() => !({NOTEBOOK})().context.model.dirty")
    return nbformat.read(lab.root / name, 4)


def test_what_is_saved_is_what_was_chosen_and_shows_without_its_kernel(lab, browser, start):
    cells = [start + "\n" + FOUND, "picker = LRPicker(found, learn); picker"]
    nb = lab.open(browser, cells, "chosen.ipynb")
    nb.run(0), nb.run(1)
    first = saved(lab, nb, "chosen.ipynb").cells[1].outputs[0].data
    slider = cell(nb, 1).get_by_role("slider", name="learning rate")
    press(nb, slider, "Home", "ArrowRight")
    chosen = slider.get_attribute("aria-valuetext").split(",")[0]
    nb.page.wait_for_function(
        f"png => ({NOTEBOOK})().content.widgets[1].model.outputs.get(0).data['image/png'] !== png",
        arg=first["image/png"],
    )
    assert in_widget(nb, 1, "document.activeElement.getAttribute('aria-label') === 'learning rate'")
    (last,) = saved(lab, nb, "chosen.ipynb").cells[1].outputs
    assert f'"lr":{float(chosen)}' in last.data["text/html"]
    assert f"LRPicker(lr={chosen};" in last.data["text/plain"]
    nb.close()
    shows_the_page(lab, browser, chosen)


def shows_the_page(lab, browser, chosen: str):
    "The notebook, opened again, shows its widget with what was chosen, and that scrubs."
    again = lab.open(browser, [], "chosen.ipynb")  # a kernel that knows no widget
    slider = cell(again, 1).get_by_role("slider", name="learning rate")
    slider.wait_for()
    assert slider.get_attribute("aria-valuetext").startswith(f"{chosen},")
    before = cell(again, 1).locator("output.lk-big").inner_text()
    press(again, slider, "PageUp")
    assert cell(again, 1).locator("output.lk-big").inner_text() != before
    assert "model not found" not in cell(again, 1).inner_text() and not ours(again.problems)
    again.close()


def test_a_notebook_without_any_kernel_shows_the_page(lab, browser, start):
    nb = lab.open(browser, [start + "\n" + FOUND, "LRPicker(found)"], "alone.ipynb")
    nb.run(0), nb.run(1)
    saved(lab, nb, "alone.ipynb")
    nb.close()
    page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
    refuse = lambda route: route.abort() if route.request.method == "POST" else route.continue_()
    page.route("**/api/sessions*", refuse)  # no kernel can be started
    page.goto(f"{lab.url}/lab/tree/alone.ipynb?reset")
    slider = page.get_by_role("slider", name="learning rate")
    slider.wait_for(timeout=90_000)
    for button in page.locator(".jp-Dialog button.jp-mod-accept").all():
        button.click()
    before = slider.get_attribute("aria-valuetext")
    slider.fill("3")
    assert slider.get_attribute("aria-valuetext") != before
    assert page.evaluate(f"() => !({NOTEBOOK})().sessionContext.session?.kernel")
    assert "Loading widget" not in page.locator(".jp-Notebook").inner_text()
    page.context.close()


def test_a_notebook_that_is_not_trusted_shows_the_picture(lab, browser, start):
    nb = lab.open(browser, [start + "\n" + FOUND, "LRPicker(found)"], "foreign.ipynb")
    nb.run(0), nb.run(1)
    foreign = saved(lab, nb, "foreign.ipynb")
    nb.close()
    foreign.cells[0].source += "\n# changed by someone else"
    nbformat.write(foreign, lab.root / "strange.ipynb")
    nb = lab.open(browser, [], "strange.ipynb")
    picture = cell(nb, 1).locator(".jp-OutputArea img")
    picture.wait_for()
    assert (
        picture.get_attribute("src").startswith("data:image/png") and not cell(nb, 1).locator(".lk").count()
    )
    nb.close()


BARS = """found = learn.find(lr_min=1e-4, n_steps=60)
h = learn.fit(sgdr(2, 1), lr=1e-3)"""


def test_of_progress_bars_nothing_stays(lab, browser, start):
    nb = lab.open(browser, [start, BARS, "learn.find(lr_min=10, lr_max=1e4, n_steps=40)"], "bars.ipynb")
    nb.run(0)
    nb.run(1, wait=False)
    cell(nb, 1).locator("progress").first.wait_for()
    nb.wait_done(1)
    nb.run(2)
    assert not nb.page.locator("progress").count()
    for k in (1, 2):
        for out in saved(lab, nb, "bars.ipynb").cells[k].outputs:
            text = str(out.get("data", out.get("text")))
            assert "%|" not in text and "widget-view" not in text and "<progress" not in text
    assert "epoch  train loss" in nb.text(1) and "LRFind" in nb.text(2)
    nb.close()


def test_results_show_as_cards_in_light_and_dark(lab, browser, start):
    show = [
        "data",
        "learn",
        "learn.find(lr_min=1e-6, progress=False)",
        "learn.fit(sgdr(3, 1), 1e-3, progress=False)",
    ]
    nb = lab.open(browser, [start, *show, "learn.best"], "cards.ipynb")
    for k in range(6):
        nb.run(k)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        nb.theme(theme)
        for k, name in enumerate(["ImageData", "Learner", "LRFind", "History", "Best"], 1):
            card = cell(nb, k).locator(".lk-card").first
            assert card.locator("b").first.inner_text() == name and card.locator("table").count()
            assert card.bounding_box()["height"] < 420, name
    assert not nb.problems
    nb.close()


def test_a_trial_says_when_nobody_answers(lab, browser, start):
    nb = lab.open(browser, [start + "\n" + FOUND, "picker = LRPicker(found, learn); picker"], "gone.ipynb")
    nb.run(0), nb.run(1)
    nb.page.evaluate(f"async () => {{ await ({NOTEBOOK})().sessionContext.session.kernel.restart(); }}")
    nb.wait_idle()
    cell(nb, 1).get_by_role("button", name=re.compile("^try")).click()
    until(nb, 1, "No answer: the kernel is at work, or was started anew")
    nb.close()


def test_an_idle_monitor_is_small_and_says_when_another_takes_over(lab, browser, start):
    cells = [start, "first = TrainMonitor(learn); first", "TrainMonitor(learn)"]
    nb = lab.open(browser, cells, "idle.ipynb")
    for k in range(3):
        nb.run(k)
    until(nb, 1, "Another monitor follows this learner now")
    assert cell(nb, 2).locator(".lk").bounding_box()["height"] < 110
    nb.close()


@pytest.fixture
def training(lab, browser, start):
    """Opens a notebook whose third cell trains for long, and waits until the monitor in the second one shows
    it; the notebook is closed in the end."""
    opened = []

    def open_notebook(name: str, last: str, kernel: str = "python3", before: str = ""):
        fit = "h = learn.fit(sgdr(2000, 1), lr=1e-3, progress=False)"
        cells = [start + before, "monitor = TrainMonitor(learn); monitor", fit, last]
        nb = lab.open(browser, cells, name, kernel)
        opened.append(nb)
        nb.run(0), nb.run(1)
        nb.run(2, wait=False)
        until(nb, 1, r"update \d\d")
        return nb

    yield open_notebook
    for nb in opened:
        nb.close()


def pause_and_go_on(nb):
    "Nothing moves between the two."
    button = cell(nb, 1).get_by_role("button", name="go on")
    cell(nb, 1).get_by_role("button", name="pause").click()
    button.wait_for()
    here = cell(nb, 1).locator(".lk-big").inner_text()
    nb.page.wait_for_timeout(400)
    assert cell(nb, 1).locator(".lk-big").inner_text() == here
    button.click()
    nb.page.wait_for_function(
        "old => document.querySelectorAll('.jp-Cell')[1].querySelector('.lk-big').innerText !== old", arg=here
    )


@pytest.mark.parametrize("kernel", ["python3", "older"])
def test_stop_and_pause_while_the_cell_runs(training, kernel):
    last = (
        "import ipykernel; print(ipykernel.__version__, monitor.heard != '', "
        "monitor.state, h.stopped, learn.best is not None, len(h.losses))"
    )
    nb = training(f"stop_{kernel}.ipynb", last, kernel)
    pause_and_go_on(nb)
    cell(nb, 1).get_by_role("button", name="stop").click()
    nb.wait_done(2, 30)
    assert in_widget(nb, 1, "document.activeElement.textContent") == "stop"
    said = nb.value(3)
    version, heard, state, *_ = said.split()
    assert (version == OLDER) == (kernel == "older") and (heard, state) == ("True", "stopped")
    assert "interrupted" in said and "True" in said and int(said.split()[-1]) < 20_000
    assert not ours(nb.problems)


def test_a_cell_is_opened_while_another_one_runs(training):
    nb = training("while.ipynb", "results.chosen", before="\nresults = Results(learn)\nresults")
    for name in ("lamp", "goblet"):
        cell(nb, 0).get_by_role("combobox").select_option(name)
        until(nb, 0, f"{name}: \\d+ of 40 were found", 10)
    cell(nb, 1).get_by_role("button", name="stop").click()
    nb.wait_done(2, 30)
    assert nb.value(3) == "['class', 'goblet']" and not ours(nb.problems)


def test_a_kernel_that_hears_nothing_is_interrupted(training):
    deaf = "\nimport lessonkit.widgets.monitor as m\nm.keep_comm_on_subshell = lambda widget: None"
    nb = training("deaf.ipynb", "print(h.stopped, monitor.state)", before=deaf)
    cell(nb, 1).get_by_role("button", name="stop").click()
    nb.wait_done(2, 30)
    assert re.match(r"stopped: interrupted after \d+ updates stopped", nb.value(3))


def test_a_reload_in_the_middle_of_a_run_brings_the_curves_back(lab, browser, start):
    nb = lab.open(
        browser,
        [
            start,
            "monitor = TrainMonitor(learn); monitor",
            "h = learn.fit(sgdr(6, 1), lr=1e-3, progress=False)",
        ],
        "reload.ipynb",
    )
    try:
        nb.run(0), nb.run(1)
        nb.command("docmanager:save")
        nb.run(2, wait=False)
        until(nb, 1, r"update \d")
        nb.page.reload()
        nb.wait_idle(120)
        until(nb, 1, r"update 180 of 180")
        assert cell(nb, 1).locator("path.lk-thin").first.get_attribute("d").count("L") > 20
    finally:
        nb.close()


TICKS = """() => [...document.querySelectorAll('.jp-Cell')[2].querySelectorAll('svg g:last-child line')]
    .every(e => Number(e.getAttribute('x1')) > 14 && !e.getAttribute('visibility'))"""


def test_others_follow_a_running_fit(lab, browser, start):
    nb = lab.open(
        browser,
        [
            start,
            "explorer = ScheduleExplorer(learn, 60, 1, 1); explorer",
            "panel = LayerGroups(learn); panel",
            "h = learn.fit(explorer.schedule, lr=panel.lrs, progress=False)",
        ],
        "follow.ipynb",
    )
    try:
        for k in range(3):
            nb.run(k)
        nb.run(3, wait=False)
        until(nb, 1, r"update \d+ of 1800, lr")
        nb.page.wait_for_function(TICKS)
        assert cell(nb, 2).get_by_role("switch").first.is_disabled()
        nb.page.evaluate(f"() => ({NOTEBOOK})().sessionContext.session.kernel.interrupt()")
        nb.wait_done(3, 30)
    finally:
        nb.close()


PAGES = """picker = LRPicker(found)
pages = [picker, ScheduleExplorer(learn), LayerGroups(learn), AugmentPreview(data)]
monitor = TrainMonitor(learn)
h = learn.fit(sgdr(2, 1), lr=1e-3, progress=False)
for k, widget in enumerate([*pages, monitor, Replay(h)]):
    widget.save_html(f"page{k}.html")"""


def test_pages_without_kernel_and_network(lab, browser, start):
    nb = lab.open(browser, [start + "\n" + FOUND, PAGES], "pages.ipynb")
    nb.run(0), nb.run(1)
    nb.close()
    context = browser.new_context(offline=True, viewport={"width": 480, "height": 900}, color_scheme="dark")
    for k, name in enumerate(["learning rate", "cycles", "likeness", None, None, "update"]):
        page, problems = context.new_page(), []
        page.on("pageerror", lambda e, problems=problems: problems.append(str(e)))
        page.on("console", lambda m, to=problems: to.append(m.text) if m.type == "error" else None)
        page.goto((lab.root / f"page{k}.html").as_uri())
        page.locator(".lk").wait_for()
        if name:
            slider = page.get_by_role("slider", name=name, exact=True)
            before = slider.get_attribute("aria-valuetext"), page.locator(".lk").inner_html()
            slider.focus()
            page.keyboard.press("ArrowLeft")
            page.wait_for_function("old => document.querySelector('.lk').innerHTML !== old", arg=before[1])
            assert slider.get_attribute("aria-valuetext") != before[0]
        assert not problems and page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert (
            luminance(page.evaluate("getComputedStyle(document.querySelector('.lk')).backgroundColor")) < 0.2
        )
    context.close()


def test_on_a_page_the_bet_and_its_outcome_find_each_other(browser, tmp_path):
    from lessonkit.widgets import Bet

    bet = Bet("Is it so?", ["yes", "no"])
    body = bet.to_html() + bet.reveal("no").to_html()
    (tmp_path / "page.html").write_text(
        f"<!doctype html><meta charset=utf-8><body>{body}</body>", encoding="utf-8"
    )
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.locator(".lk").nth(1).wait_for()
    assert "You made no bet. What happened: no." in page.locator(".lk").nth(1).inner_text()
    page.locator(".lk").nth(0).get_by_role("radio", name="yes").check()
    assert "Your bet: yes. It is not. What happened: no." in page.locator(".lk").nth(1).inner_text()
    page.close()


def opened_page(browser, path, **context):
    "A page with a widget, in a browser without a network, and what it complains of."
    page, problems = browser.new_context(offline=True, **context).new_page(), []
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.goto(path.as_uri())
    page.locator(".lk").wait_for()
    return page, problems


def some_results(folder, **options):
    "Results of a network that guesses."
    from lessonkit import ImageData, Learner
    from lessonkit.widgets import Results

    learn = Learner(ImageData(folder, 32, progress=False, cache_bytes=0, **options), "resnet10", weights=None)
    return Results(learn, guesses(learn.data, right=0.0))


THUMBS = "n => document.querySelectorAll('.lk-thumb').length === n"


def test_a_page_shows_the_pictures_that_it_has(browser, colours):
    results = some_results(colours, valid=0.5)
    n, held = results.counts[0][1], results.page_state()["opened"]["lists"]
    page, problems = opened_page(browser, results.save_html(colours / "page.html"))
    cells = page.get_by_role("gridcell")
    assert cells.all_inner_texts() == [str(n) for line in results.counts for n in line]
    cells.first.focus()
    for key, shown in (("Enter", 0), ("ArrowRight", 0), ("Enter", len(held["cell/blue/red"]))):
        page.keyboard.press(key)
        page.wait_for_function(THUMBS, arg=shown)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "lk-thumb" and 1 < shown <= n
    assert f"{n} of 10 pictures of blue were taken for red" in page.get_by_role("status").inner_text()
    cells.last.click()
    page.get_by_text("run the notebook").wait_for()
    assert "cell/red/red" not in held and not problems
    page.context.close()


def test_hostile_names_are_text_on_a_page(browser, hostile):
    look = {"viewport": {"width": 480, "height": 900}, "color_scheme": "dark"}
    results = some_results(hostile)
    names = [p["file"].split("/")[-1] for p in results.opened["pictures"]]
    page, problems = opened_page(browser, results.save_html(hostile / "page.html"), **look)
    page.wait_for_function(THUMBS, arg=len(names))
    labels = page.locator(".lk-thumb").evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    assert len(names) > 2 and all(label.endswith(name) for label, name in zip(labels, names))
    assert page.locator(".lk img, .lk b").count() == 0 and not problems
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


def test_a_notebook_as_html_scrubs(lab, browser, start):
    nb = lab.open(browser, [start + "\n" + FOUND, "LRPicker(found)"], "export.ipynb")
    nb.run(0), nb.run(1)
    nb.command("docmanager:save")
    nb.page.wait_for_function(f"() => !({NOTEBOOK})().context.model.dirty")
    nb.close()
    path = lab.root / "export.ipynb"
    saved = nbformat.read(path, 4)
    saved.metadata.pop("widgets", None)  # the lessons keep no widget state
    nbformat.write(saved, path)
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", str(path)], check=True, capture_output=True
    )
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(path.with_suffix(".html").as_uri(), wait_until="domcontentloaded")
    slider = page.get_by_role("slider", name="learning rate")
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") != before
    context.close()
