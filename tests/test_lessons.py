"""The lessons: their shape, that each runs from a fresh kernel, their exercises, and `lessonkit lab` from a
built wheel."""

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
from exercising import again
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import NOTEBOOK, Lab, pip_install
from nbclient import NotebookClient

from lessonkit import ImageData, Learner, sgdr
from lessonkit.basics import memory_environment, write_whole
from lessonkit.cli import main
from lessonkit.lab import exercises as ex_module
from lessonkit.lab.copy import FIRST, copy_lessons, lab_command, read_lessons
from lessonkit.lab.exercises import TASKS, Exercise, exercise, progress
from lessonkit.lab.task import Again
from lessonkit.lab.tasks_01 import check_ladder, check_pick, check_picks

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "nbs" / "lessons").glob("*.ipynb"))
pytestmark = pytest.mark.usefixtures("own_folder")


# what the reader opens


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_has_its_shape(path):
    nb = nbformat.read(path, 4)
    code = [c for c in nb.cells if c.cell_type == "code"]
    asked = re.compile(r"\bex\d\b|exercise\(|progress\(\)")
    taught = [c for c in code if not asked.search(c.source) or "import" in c.source]
    words = sum(len(c.source.split()) for c in nb.cells if c.cell_type == "markdown")
    assert path.stat().st_size <= 150 * 1024 and "widgets" not in nb.metadata
    assert 20 <= len(taught) <= 30 and 25 <= words / len(code) <= 50
    assert all(len(c.source.splitlines()) <= 8 for c in code)
    assert max(len(line) for c in code for line in c.source.splitlines()) <= 104, "a window cuts it off"
    said = "\n".join(c.source for c in nb.cells)
    assert said.count("Bet(") >= 2 and "Since 2018" in said and "To take away" in said
    assert said.count("](https://arxiv.org/") >= 2 and "findings = " in said
    assert re.search(r"^SEED = 0$", said, re.M) and re.search(r"^assert ", said, re.M)
    assert 4 <= len(set(re.findall(r'exercise\("(\d\d\.\d)"', said))) <= 6


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_keeps_its_evidence_and_no_noise(path):
    outputs = [o for c in nbformat.read(path, 4).cells for o in c.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 8
    for o in outputs:
        assert o.output_type != "error" and o.get("name") != "stderr"
        text = o.get("text", "") + str(o.get("data", {}).get("text/plain", ""))
        assert not re.search(r"Warning|it/s\]|/(home|root|tmp|work|Users)/", text)
        assert not any("widget" in mime for mime in o.get("data", {}))


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_runs_from_a_fresh_kernel(path, tmp_path):
    nb = nbformat.read(path, 4)
    client = NotebookClient(
        nb, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert not any(o.get("name") == "stderr" for c in nb.cells for o in c.get("outputs", []))


def test_what_a_lesson_says_of_five_seeds_was_measured():
    kept = json.loads((ROOT / "docs" / "lessons.json").read_text())
    for path in LESSONS:
        runs = kept[path.stem]
        assert all(len(values) == 5 for values in runs["findings"].values()) and len(runs["seconds"]) == 5
        assert max(runs["seconds"]) < 180 and max(runs["longest_cell"]) < 40
        said = re.search(r'"## What five seeds.*?(?="cell_type")', path.read_text(), re.S)[0]
        ends = {f"{end:.2f}" for values in runs["findings"].values() for end in (min(values), max(values))}
        told = re.findall(r"(\d\.\d\d) to (\d\.\d\d)", said)
        other = [pair for pair in told if not set(pair) <= ends]
        assert told and not other, (path.stem, other)


# exercises


@pytest.fixture(scope="module")
def data():
    return ImageData("sample:top_down", size=64, per_class=16, bs=16, augment="none", progress=False)


@pytest.fixture(scope="module")
def learn(data):
    return Learner(data)


def test_every_exercise_is_told_in_full():
    for id, task in TASKS.items():
        assert re.fullmatch(r"0[1-7]\.[1-6]", id) and len(task.hints) >= 3
        assert task.question and task.solution and task.title
    lessons = {id[:2] for id in TASKS}
    assert {p.name[:2] for p in LESSONS} == lessons


def test_the_solutions_pass_their_own_checks(data, learn):
    space = {"data": data, "learn": learn, "Learner": Learner, "ImageData": ImageData, "sgdr": sgdr}
    ex1, ex2, ex4 = Exercise("01.1"), Exercise("01.2", data=data), Exercise("01.4", learn=learn)
    assert ex1.check(eval(ex1.task.solution)).right
    assert ex2.check(eval(ex2.task.solution, space | {"ex2": ex2})).right
    ex3, ex5 = Exercise("01.3", data=data, found=learn.find(progress=False)), Exercise("01.5")
    assert repr(ex4.given) == "Given(learn, suspects, mixed)", "no answer is shown"
    exec(ex3.task.solution, space), exec(ex5.task.solution, space)
    assert ex3.check(space["fixed"]).right and ex5.check(space["mine"]).right
    exec(ex4.task.solution, space | {"ex4": ex4})
    accuracy = {name: suspect.history.last["accuracy"] for name, suspect in ex4.given.suspects.items()}
    assert ex4.check(min(accuracy, key=accuracy.get).lower()).right
    assert not ex4.check(max(accuracy, key=accuracy.get)).right
    assert all(suspect.find(progress=False).falls for suspect in ex4.given.suspects.values())
    assert progress().kept.keys() == {"01.1", "01.2", "01.3", "01.4", "01.5"}
    shown = repr(progress())
    assert f"5 of {len(TASKS)}" in shown and "01.5" in shown and "02.1" not in shown and "Lesson 02" in shown


@settings(deadline=None, max_examples=60)
@given(st.floats() | st.integers() | st.text(max_size=5) | st.none() | st.booleans() | st.lists(st.none()))
def test_no_other_answer_counts_as_the_ladder(answer):
    right = 1e5 ** (1 / 59)
    if isinstance(answer, float) and abs(answer / right - 1) < 1e-3:
        return
    with pytest.raises(Again) as e:
        check_ladder(answer, SimpleNamespace())
    assert "1.215" not in str(e.value)


@pytest.mark.parametrize(
    "answer, word",
    [
        (1e5 ** (1 / 60), "59 gaps"),
        (1 / 59, "added"),
        (5, "decades"),
        (5 / 59, "decades"),
        (1.21, "near"),
        ("1.2155", "quotation"),
        (3, "59 times"),
    ],
)
def test_usual_mistakes_of_the_ladder_have_names(answer, word):
    said = Exercise("01.1").check(answer)
    assert (not said.right and word in said.text) or word in said.text.lower()


def test_a_pick_is_refused_where_it_breaks_and_where_nothing_happens(learn):
    found = learn.find(progress=False)
    lowest = found.lrs[found.smoothed.index(min(found.smoothed))]
    for lr, word in (
        (lowest, "near the floor"),
        (1.0, "beyond the lowest"),
        (1e-6, "hardly begun"),
        (None, "does fall"),
        (0, "above 0"),
        (-1, "above 0"),
    ):
        with pytest.raises(Again, match=word):
            check_pick("A", lr, found)
    for lr in (found.lr, found.lr / 1.5, found.suggestions["slide"], torch.tensor(found.lr)):
        assert check_pick("A", lr, found) is None
    begins = next(lr for lr, loss in zip(found.lrs, found.smoothed) if loss < 0.85 * found.smoothed[0])
    with pytest.raises(Again, match="hardly begun"):
        check_pick("A", begins, found)
    curves = {"A": found, "B": found}
    assert "no curve D" in again(check_picks, {"A": 1.0, "B": 1.0, "D": 1.0}, SimpleNamespace(curves=curves))


def test_the_repaired_sweep_is_looked_at_from_all_sides(data, learn):
    ex, new = Exercise("01.3", data=data, found=learn.find(progress=False)), Learner(data)
    assert "12 steps" in ex.check(new.find(n_steps=12, progress=False)).text
    assert "still falls" in ex.check(new.find(lr_max=1e-3, progress=False)).text
    assert ex.check(new.find(lr_max=0.1, progress=False)).right, "there its floor is reached"
    assert "begin lower" in ex.check(new.find(lr_min=1e-2, progress=False)).text
    assert "lesson's own" in ex.check(ex.given.found).text
    assert "LRFind" not in ex.check(new).text and "Learner" in ex.check(new).text
    new.fit(sgdr(4, 1), lr=3e-3, progress=False)
    assert "before" in ex.check(new.find(progress=False)).text


def test_the_twelve_updates_are_counted_and_the_pictures_too(data, learn):
    ex = Exercise("01.5")
    assert "not trained" in ex.check(Learner(data)).text
    side = Learner(ImageData("sample:side_on", size=64, per_class=16, bs=16, augment="none", progress=False))
    side.fit(sgdr(1, 3), lr=3e-3, progress=False)
    assert "18 updates" in ex.check(side).text
    side.fit(sgdr(1, 2), lr=3e-3, progress=False)
    assert "trained before" in ex.check(side).text
    slow = Learner(side.data)
    slow.fit(sgdr(1, 1), lr=1e-5, progress=False)
    assert "the goal is 0.55" in ex.check(slow).text and "small pictures" in ex.check(slow).text
    own = Learner((slow.train_dl, slow.valid_dl), n_classes=6)
    own.fit(sgdr(1, 1), lr=1e-3, progress=False)
    assert "other pictures" in ex.check(own).text
    big_data = ImageData("sample:side_on", size=128, per_class=16, bs=16, augment="none", progress=False)
    for lr, right in ((1e-3, False), (4e-3, True), (5e-2, False)):
        big = Learner(big_data)
        big.fit(sgdr(1, 2), lr=lr, progress=False)
        assert ex.check(big).right == right, "the lr decides"
    more = Learner(ImageData("sample:side_on", size=32, per_class=32, bs=32, augment="none", progress=False))
    more.fit(sgdr(1, 1), lr=1e-3, progress=False)
    assert "192 training pictures" in ex.check(more).text


def test_hints_get_more_concrete_and_what_happened_is_kept():
    ex = Exercise("01.1")
    hints = [ex.hint() for _ in range(5)]
    assert [h.text for h in hints[:3]] == list(TASKS["01.1"].hints) and hints[4] == hints[2]
    ex.check(5), ex.check(1.1), ex.solution(), ex.check()
    kept = json.loads(Path("progress.json").read_text())
    assert kept == {"01.1": {"tries": 2, "hints": 3, "solved": False, "solution": True}}
    assert Exercise("01.1").check(1e5 ** (1 / 59)).right and Exercise("01.1").check(3).right is False
    assert progress().kept["01.1"]["solved"] and "solution seen" in repr(progress())
    assert "✔" in progress()._repr_html_()


def test_damaged_or_forbidden_progress_stops_no_exercise(monkeypatch):
    Path("progress.json").write_text("{ half")
    said = Exercise("01.1").check(1e5 ** (1 / 59))
    assert said.right and "Not kept" in said.text and Path("progress.json").read_text() == "{ half"
    with pytest.raises(ValueError, match="mend or remove"):
        progress()
    Path("progress.json").unlink()

    def refuse(*args):
        raise PermissionError("read-only folder")

    monkeypatch.setattr(ex_module, "write_whole", refuse)
    assert "read-only" in Exercise("01.1").check(1e5 ** (1 / 59)).text


def test_exercises_that_cannot_be_asked(capsys):
    with pytest.raises(ValueError, match="there are 01.1"):
        exercise("1.1")
    with pytest.raises(ValueError, match="data=data"):
        exercise("01.2")
    assert exercise("01.1").id == "01.1" and "A ladder" in capsys.readouterr().out
    shown = ex_module.Note("hint", "<b>", "`a` & <i>")._repr_html_()
    assert "<code>a</code>" in shown and "<i>" not in shown and "<b>" not in shown


# lessonkit lab


def test_work_is_never_written_over(tmp_path):
    old = {"01_a.ipynb": b"1", "02_b.ipynb": b"1", "03_c.ipynb": b"1"}
    new = old | {"01_a.ipynb": b"2", "02_b.ipynb": b"2", "04_d.ipynb": b"1"}
    assert len(copy_lessons(tmp_path, lessons=old)) == 3
    (tmp_path / "01_a.ipynb").write_bytes(b"mine")
    first = copy_lessons(tmp_path, lessons=new)
    assert first[0] == "04_d.ipynb: new" and "2 lessons" in first[1]
    assert (tmp_path / "02_b.ipynb").read_bytes() == b"1"
    copy_lessons(tmp_path, update=True, lessons=new)
    beside = tmp_path / f"01_a-{version('lessonkit')}.ipynb"
    assert (tmp_path / "01_a.ipynb").read_bytes() == b"mine" and beside.read_bytes() == b"2"
    assert (tmp_path / "02_b.ipynb").read_bytes() == b"2"
    assert not copy_lessons(tmp_path, update=True, lessons=new)
    beside.write_bytes(b"mine too")
    copy_lessons(tmp_path, update=True, lessons=new | {"01_a.ipynb": b"3"})
    assert beside.read_bytes() == b"mine too"
    assert (tmp_path / f"01_a-{version('lessonkit')}-1.ipynb").read_bytes() == b"3"


@pytest.mark.parametrize("kept", [None, "{ half", "[]"])
def test_without_its_notes_everything_there_counts_as_work(tmp_path, kept):
    (tmp_path / "01_a.ipynb").write_bytes(b"whose?")
    if kept is not None:
        (tmp_path / ".lessonkit.json").write_text(kept)
    copy_lessons(tmp_path, update=True, lessons={"01_a.ipynb": b"2"})
    assert (tmp_path / "01_a.ipynb").read_bytes() == b"whose?"
    assert not copy_lessons(tmp_path / "other", lessons={}) and (tmp_path / "other").is_dir()


SLOWLY = """import sys, time
from pathlib import Path
from lessonkit.lab import copy, exercises as ex
folder, real = Path(sys.argv[1]), copy.write_whole
copy.write_whole = ex.write_whole = lambda *a, **k: (time.sleep(0.03), real(*a, **k))
(folder.parent / f"ready{time.time_ns()}").touch()
while len(list(folder.parent.glob("ready*"))) < 2:
    time.sleep(0.01)
"""


def at_once(code: str, folder: Path) -> list[str]:
    "Run the same code in two processes that begin together and write slowly; the lines that they print."
    command = [sys.executable, "-c", SLOWLY + code, str(folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) for _ in range(2)]
    said = [process.communicate(timeout=100)[0] for process in running]
    assert not any(process.returncode for process in running)
    return "".join(said).splitlines()


COPIES = """lessons = {f"0{k}_a.ipynb": b"new" for k in range(5)}
print(*copy.copy_lessons(folder, True, lessons), sep="\\n")"""


def test_two_labs_at_once_bring_each_lesson_once(tmp_path):
    folder = tmp_path / "lab" / "mine"
    folder.mkdir(parents=True)
    for k in range(3):
        (folder / f"0{k}_a.ipynb").write_bytes(b"mine")
    said = at_once(COPIES, folder)
    assert sum(": new" in line for line in said) == 5 and sum("beside your" in line for line in said) == 3
    assert len(list(folder.glob("*.ipynb"))) == 5 + 3 and not list(folder.glob(".*.part"))
    assert json.loads((folder / ".lessonkit.json").read_text()).keys() == {f"0{k}_a.ipynb" for k in range(5)}


def test_a_lesson_that_someone_else_was_quicker_to_write_stays(tmp_path, monkeypatch):
    def slow(path, content, **options):
        Path(path).write_bytes(b"quicker")
        return write_whole(path, content, **options)

    monkeypatch.setattr("lessonkit.lab.copy.write_whole", slow)
    for made_by_links in (True, False):
        folder = tmp_path / str(made_by_links)
        with pytest.raises(FileExistsError, match="01_a.ipynb"):
            copy_lessons(folder, lessons={"01_a.ipynb": b"new"})
        assert [p.name for p in folder.glob("[!.]*")] == ["01_a.ipynb"] and not list(folder.glob(".*.part"))
        assert (folder / "01_a.ipynb").read_bytes() == b"quicker"
        monkeypatch.setattr(os, "link", lambda *a: (_ for _ in ()).throw(PermissionError(1, "no links")))
    assert write_whole(tmp_path / "b", "b", new=True).read_text() == "b"


ANSWERS = """for k in range(20):
    assert "Not kept" not in ex.Exercise("01.1").check(5).text"""


def test_two_kernels_keep_all_that_was_done(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    at_once(ANSWERS, Path.cwd())
    assert progress().kept["01.1"]["tries"] == 40


def test_a_lock_that_is_never_given_back_stops_no_exercise(tmp_path, monkeypatch):
    monkeypatch.setattr("lessonkit.lab.copy.FileLock", partial(FileLock, blocking=False))
    with FileLock(tmp_path / ".lessonkit.lock"):
        said = Exercise("01.1").check(1e5 ** (1 / 59))
        assert said.right and "Not kept" in said.text and ".lessonkit.lock" in said.text
        with pytest.raises(TimeoutError, match="try again"):
            copy_lessons(tmp_path, lessons={})
    assert Exercise("01.1").check(1e5 ** (1 / 59)).text.count("Not kept") == 0


def test_lessons_stay_in_their_folder(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "mine"
    for name in ("../outside", "/tmp/outside", "a/b.ipynb", "..", ""):
        with pytest.raises(ValueError, match="no name of a file"):
            copy_lessons(folder, lessons={name: b"new"})
    assert not folder.exists() and not outside.exists()
    outside.write_bytes(b"old")
    copy_lessons(folder, lessons={"01_a.ipynb": b"old", "02_b.ipynb": b"old"})
    for name, target in {"01_a.ipynb": outside, "02_b.ipynb": tmp_path / "nowhere"}.items():
        (folder / name).unlink()
        (folder / name).symlink_to(target)
    (folder / "progress.json").symlink_to(tmp_path / "nowhere")
    os.chdir(folder)
    Exercise("01.1").check(1)
    copy_lessons(folder, update=True, lessons={"01_a.ipynb": b"new", "02_b.ipynb": b"new"})
    assert outside.read_bytes() == b"old" and {p.name for p in tmp_path.iterdir()} == {"mine", "outside"}
    assert (folder / "01_a.ipynb").read_bytes() == b"new" and not (folder / "01_a.ipynb").is_symlink()


@pytest.mark.parametrize(
    "extra, listens",
    [
        ([], ""),
        (["--port=1", "--ip=127.0.0.1"], ""),
        (["--ServerApp.ip", "localhost"], ""),
        (["--ip=::1"], ""),
        (["--ip=0.0.0.0"], "0.0.0.0"),
        (["--ip", "*", "--no-browser"], "*"),
        (["--ip="], ""),
        (["--ip=127.0.0.1", "--ServerApp.ip=lab.example"], "lab.example"),
    ],
)
def test_who_opens_the_door_is_told_of_the_token(extra, listens, capsys, monkeypatch):
    monkeypatch.setattr(os, "execve", lambda *a: None)
    main(["lab", "mine", *extra])
    said = capsys.readouterr().out
    assert ("needs the token" in said) == bool(
        listens or extra == ["--ip="]
    ) and f"--ip={listens}" in said + "--ip="
    here = "--ip=127.0.0.1" in lab_command("mine", extra)[: -len(extra) or None]
    assert here == (not any("ip" in word for word in extra))


@pytest.mark.parametrize(
    "words, folder, extra",
    [
        (["lab"], "lessonkit-lessons", []),
        (["lab", "mine", "--no-browser"], "mine", ["--no-browser"]),
        (["lab", "--port", "9000"], "lessonkit-lessons", ["--port", "9000"]),
        (["lab", "--update", "mine"], "mine", []),
        (["lab", "mine", "--update", "--no-browser"], "mine", ["--no-browser"]),
        (["lab", "mine", "--port", "9000"], "mine", ["--port", "9000"]),
    ],
)
def test_what_the_command_does_not_know_goes_to_jupyterlab(monkeypatch, words, folder, extra):
    seen = []
    monkeypatch.setattr(os, "execve", lambda path, command, env: seen.append((command, env)))
    main(words)
    command, env = seen[0]
    assert command == lab_command(folder, extra) and env["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert memory_environment().items() <= env.items() and len(memory_environment()) == 2
    assert (Path(folder) / FIRST).read_bytes() == read_lessons()[FIRST]


def test_unknown_options_of_other_commands_are_refused(capsys):
    with pytest.raises(SystemExit) as e:
        main(["check", ".", "--port", "9000"])
    assert e.value.code == 2 and "--port" in capsys.readouterr().err


@pytest.fixture(scope="module")
def wheel_folder(tmp_path_factory):
    "A folder with what a built wheel holds, and nothing of the clone."
    at = tmp_path_factory.mktemp("wheel")
    files = ("setup.py", "settings.ini", "README.md", "MANIFEST.in", "pyproject.toml")
    subprocess.run(["cp", "-r", *(ROOT / part for part in ("lessonkit", "nbs", *files)), at], check=True)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "bdist_wheel", "-d", "dist"],
        cwd=at,
        check=True,
        capture_output=True,
    )
    pip_install(next((at / "dist").glob("*.whl")), at / "site")
    return at / "site"


@pytest.fixture(scope="module")
def reader(wheel_folder, tmp_path_factory):
    """A reader's first step: `lessonkit lab mine` from the wheel, beside another project's kernel of the
    same name."""
    at = tmp_path_factory.mktemp("reader")
    code = "from lessonkit.cli import main; import lessonkit; assert 'site' in lessonkit.__file__; main()"
    other = at / "home" / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text(
        '{"argv": ["/nowhere/python"], "display_name": "python3", "language": "python"}'
    )
    lab = Lab(
        at,
        command=["-c", code, "lab", "mine"],
        env={"PYTHONPATH": str(wheel_folder), "JUPYTER_DATA_DIR": str(at / "home")},
    )
    yield lab
    lab.close()


def of_cells(nb, what: str) -> list:
    "Something of every cell `w` of an open notebook."
    return nb.page.evaluate(f"() => ({NOTEBOOK})().content.widgets.map(w => {what})")


def run_all(nb) -> None:
    "Run a lesson from top to bottom: no error, no warning, a widget in every place where one was asked for."
    kinds = of_cells(nb, "w.model.type")
    nb.command("notebook:run-all-cells")
    nb.wait_done(max(k for k, kind in enumerate(kinds) if kind == "code"), 300)
    cells = of_cells(nb, "w.model.type === 'code' ? w.model.outputs.toJSON() : []")
    outputs = [out for cell in cells for out in cell]
    assert not [out for out in outputs if out["output_type"] == "error" or out.get("name") == "stderr"]
    assert sum("application/vnd.jupyter.widget-view+json" in out.get("data", {}) for out in outputs) >= 4
    assert nb.page.get_by_text("Error displaying widget").count() == 0 and not nb.problems


def ask_server(url: str, token: str = "", **options) -> int:
    "The status of the server's answer."
    headers = {"Authorization": f"token {token}"} if token else {}
    try:
        return urllib.request.urlopen(
            urllib.request.Request(url, headers=headers, **options), timeout=20
        ).status
    except urllib.error.HTTPError as e:
        return e.code


def test_nobody_gets_in_without_the_token(reader):
    for path in ("contents", "contents/progress.json", "kernels", "terminals", "sessions"):
        assert ask_server(f"{reader.url}/api/{path}") == 403
    assert (
        ask_server(f"{reader.url}/api/contents") == 403 == ask_server(f"{reader.url}/api/contents", "wrong")
    )
    assert ask_server(f"{reader.url}/api/kernels", data=b"{}", method="POST") == 403
    assert ask_server(f"{reader.url}/api/contents", reader.token) == 200
    assert ask_server(f"{reader.url}/api/contents/{FIRST}", reader.token) == 200
    for path in ("../lab.log", "%2e%2e/lab.log", "..%2flab.log", ".lessonkit.json"):
        assert ask_server(f"{reader.url}/api/contents/{path}", reader.token) in (400, 404)
    port = int(reader.url.rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port), 5).close()
    with pytest.raises(OSError):  # a server that listens everywhere would answer here, too
        socket.create_connection(("127.0.0.2", port), 5)


@pytest.mark.browser
def test_a_readers_first_hour(reader, browser):
    "Lesson 01 from top to bottom, an exercise wrong, then right, then an update."
    assert len(reader.token) >= 40, "Jupyter's own token keeps others out"
    assert f"/lab/tree/{FIRST}?token={reader.token}" in (reader.root / "lab.log").read_text()
    nb = reader.open(browser, [], FIRST)
    run_all(nb)
    sources = of_cells(nb, "w.model.sharedModel.source")
    k = next(k for k, source in enumerate(sources) if source.startswith("ex1.check"))
    for answer, word in (("8", "Look again"), ("1e5 ** (1 / 59)", "Right")):
        source = f"({NOTEBOOK})().content.widgets[k].model.sharedModel"
        nb.page.evaluate(f"([k, s]) => {source}.setSource(s)", [k, f"ex1.check({answer})"])
        assert word in nb.value(k)
    nb.command("docmanager:save")
    nb.page.wait_for_function(f"() => !({NOTEBOOK})().context.model.dirty")
    nb.close()
    mine, newer = reader.root / "mine", read_lessons() | {FIRST: read_lessons()[FIRST] + b"\n"}
    work = (mine / FIRST).read_bytes()
    assert b"1e5 ** (1 / 59)" in work and json.loads((mine / "progress.json").read_text())["01.1"]["solved"]
    copy_lessons(mine, update=True, lessons=newer)
    assert (mine / FIRST).read_bytes() == work and len(list(mine.glob("01_*.ipynb"))) == 2


@pytest.mark.browser
@pytest.mark.parametrize("name", [p.name for p in LESSONS if p.name[:2] in ("03", "07")])
def test_a_lesson_in_a_real_browser(reader, browser, name):
    nb = reader.open(browser, [], name)
    run_all(nb)
    nb.close()


def test_the_wheel_holds_the_lessons(wheel_folder):
    names = {f"{p.stem}{end}" for p in LESSONS for end in (".ipynb", ".json")}
    assert {p.name for p in (wheel_folder / "lessonkit" / "lessons").iterdir()} == names
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())  # still tools only
