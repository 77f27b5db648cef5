"""The house: generated code matches its notebooks, notebooks run, imports point one way and cost little."""

import ast
import json
import os
import re
import runpy
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "nbs" / "api").glob("*/*.ipynb"))
LAZY = {
    "torchvision",
    "timm",
    "huggingface_hub",
    "matplotlib",
    "ipywidgets",
    "anywidget",
    "IPython",
    "jupyterlab",
    "jinja2",
}
WINGS = ("samples", "images", "nets", "train", "widgets", "lab")


def tool(name):
    return str(Path(sys.executable).with_name(name))


def cells(notebook, kind):
    return ["".join(c["source"]) for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == kind]


def exported_to(notebook):
    return re.match(r"#\| default_exp (\S+)", cells(notebook, "code")[0])[1]


MODULES = [exported_to(n) for n in NOTEBOOKS]  # from the ground to the roof


def file_of(module):
    return ROOT / "lessonkit" / f"{module.replace('.', '/')}.py"


def test_the_modules_are_what_the_notebooks_export(tmp_path):
    for part in ("nbs", "lessonkit"):
        subprocess.run(["cp", "-r", ROOT / part, tmp_path / part], check=True)
    for name in ("settings.ini", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    files = {
        p.relative_to(tmp_path): p.read_bytes()
        for part in ("nbs", "lessonkit")
        for p in (tmp_path / part).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    for command in ("nbdev-export", "nbdev-clean"):
        done = subprocess.run([tool(command)], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    changed = [str(p) for p, content in files.items() if (tmp_path / p).read_bytes() != content]
    assert not changed, f"{changed}: run nbdev-export and nbdev-clean, then commit"


def test_no_module_is_left_without_its_notebook():
    generated = {p for p in (ROOT / "lessonkit").rglob("*.py") if p.stem not in ("__init__", "_modidx")}
    assert generated == set(map(file_of, MODULES)) and len(set(MODULES)) == len(MODULES)


@pytest.mark.parametrize("wing", sorted({n.parent for n in NOTEBOOKS}), ids=lambda folder: folder.name)
def test_the_notebooks_run(wing):
    env = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    command = [tool("nbdev-test"), str(wing), "--n-workers", "2"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=500)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "Success" in said, said[-6000:]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.stem)
def test_the_notebook_has_its_shape(notebook):
    assert notebook.stat().st_size <= 150 * 1024
    code, text = cells(notebook, "code"), cells(notebook, "markdown")
    assert code[0].startswith("#| default_exp ") and re.match(r"# \w+\n\n> \S", text[0])
    exported = [c for c in code if c.startswith("#| export")]
    assert not any("import *" in c for c in code) and exported
    assert any("assert" in c for c in code if not c.startswith("#|")), "nothing in it is shown to hold"
    outputs = [o for c in json.loads(notebook.read_text())["cells"] for o in c.get("outputs", [])]
    assert outputs and not any(o["output_type"] == "error" for o in outputs)
    kinds = {kind for o in outputs for kind in o.get("data", {})}
    assert kinds <= {"image/png", "image/jpeg", "text/html", "text/plain"}, "run it with docs/notebooks.py"


def code_lines(source):
    "The lines of a program that hold code: no docstrings, comments or blank lines."
    texts = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
            texts |= {*range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    lines = enumerate(source.splitlines(), 1)
    return {k for k, line in lines if k not in texts and line.strip() and line.strip()[0] != "#"}


def definitions(source):
    return [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.stem)
def test_the_notebook_is_a_chapter(notebook):
    "It opens with a version that runs; each export is short, of one thing, and has a thought before it."
    before, opened = "code", False
    for cell in json.loads(notebook.read_text())["cells"]:
        source = "".join(cell["source"])
        if source.startswith("#| export") and not all(
            isinstance(n, ast.Import | ast.ImportFrom) for n in ast.parse(source).body
        ):
            things = definitions(source)
            assert opened, "the simplest version that works comes first"
            assert before == "markdown", f"no thought stands before {source[10:60]}"
            assert len(things) <= 1 and (not things or len(code_lines(source)) <= 25), things[0].name
        opened |= cell["cell_type"] == "code" and not source.startswith("#|")
        before = cell["cell_type"]


def test_functions_have_at_most_25_lines():
    folders = ("lessonkit", "tests", "docs", "bench")
    for path in (p for folder in folders for p in (ROOT / folder).rglob("*.py")):
        source = path.read_text()
        lines = code_lines(source)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                n = len(lines & {*range(node.lineno, node.end_lineno + 1)})
                assert n <= 25, f"{path.name}: {node.name} has {n} lines of code"


imports = runpy.run_path(str(ROOT / "docs" / "house.py"))["imports"]


def packages_at_the_top(module):
    "The other packages that are imported with the module."
    body = ast.parse(file_of(module).read_text()).body
    names = [a.name for n in body if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in body if isinstance(n, ast.ImportFrom) and n.level == 0]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_below_it(module):
    below = MODULES[: MODULES.index(module)]
    for other, names in imports(module).items():
        rooms = [m for m in MODULES if m.split(".")[0] == other] if other in WINGS else [other]
        assert set(rooms) <= set(below), f"{module} imports {other}: look at the numbers of the notebooks"
        assert not [n for n in names if n.startswith("_")], f"private names of {other}"
    assert not packages_at_the_top(module) & LAZY or module.startswith("widgets."), (
        "import it inside the function that needs it"
    )


def test_images_and_nets_know_nothing_of_each_other():
    for one, other in (("images", "nets"), ("nets", "images")):
        rooms = [m for m in MODULES if m.startswith(f"{one}.")]
        assert rooms and not [o for m in rooms for o in imports(m) if o.split(".")[0] == other]


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_has_a_face(wing):
    face = ast.parse((ROOT / "lessonkit" / wing / "__init__.py").read_text())
    rooms = {n.module for n in face.body if isinstance(n, ast.ImportFrom) and n.level == 1}
    assert ast.get_docstring(face) and {f"{wing}.{room}" for room in rooms} <= set(MODULES)
    names = [a.name for n in face.body if isinstance(n, ast.ImportFrom) for a in n.names]
    assert sorted(ast.literal_eval(face.body[-1].value)) == sorted(names) == sorted(set(names))


def test_schedules_need_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; import importlib.util as u, types; "
        "p, q = types.ModuleType('lessonkit'), types.ModuleType('lessonkit.train'); "
        "p.__path__, q.__path__ = ['lessonkit'], ['lessonkit/train']; "
        "sys.modules |= {'lessonkit': p, 'lessonkit.train': q}; "
        "from lessonkit.train.schedule import sgdr; print(sgdr(3, 1, 2).with_steps(64))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "1+2+4 = 7 epochs, 448 updates", done.stderr


def test_importing_it_imports_nothing_heavy():
    code = f"import sys, lessonkit, lessonkit.cli; print([m for m in {sorted(LAZY)!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_public_name_of_the_package_is_there_and_documented():
    import lessonkit

    for name in lessonkit.__all__:
        assert getattr(getattr(lessonkit, name), "__doc__", None), name


def test_public_functions_and_classes_have_docstrings():
    for module in MODULES:
        for node in ast.parse(file_of(module).read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{module}.{node.name}"


@pytest.mark.parametrize("module", MODULES)
def test_lines_of_modules_are_short(module):
    text = re.sub(r"^__all__ = \[.*?\]$", "", file_of(module).read_text(), flags=re.M | re.S)  # nbdev's own
    assert not [line for line in text.splitlines() if len(line.encode()) > 110]


@pytest.mark.parametrize("command", (["check"], ["format", "--check"]), ids=" ".join)
def test_ruff_has_nothing_to_say(command):
    done = subprocess.run([tool("ruff"), *command, "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_readmes_python_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 2
    blocks[0] += 'print("accuracy", learn.validate()["accuracy"])'
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"MPLBACKEND": "agg"},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert block != blocks[0] or float(done.stdout.split("accuracy ")[-1]) > 0.84, done.stdout


def test_the_readmes_commands_are_known():
    from lessonkit.cli import build_parser

    text = (ROOT / "README.md").read_text()
    lines = [line.split("#")[0].split() for line in re.findall(r"^lessonkit .*$", text, re.M)]
    assert len(lines) >= 4
    for words in lines:
        build_parser().parse_args(words[1:])
    assert "&& pytest" in text and "&& lessonkit train --sample" in text


def test_every_file_that_the_readme_shows_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_settings_are_the_only_metadata():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini")
    assert "[project]" not in (ROOT / "pyproject.toml").read_text()
    from importlib.metadata import metadata, version

    assert version("lessonkit") == config["DEFAULT"]["version"]
    package = json.loads((ROOT / "lessonkit" / "widgets" / "labextension" / "package.json").read_text())
    assert package["version"] == config["DEFAULT"]["version"]  # JupyterLab reads it there
    assert metadata("lessonkit")["Requires-Python"] == ">=" + config["DEFAULT"]["min_python"]


def test_a_wheel_holds_the_package_and_its_data(tmp_path):
    pytest.importorskip("setuptools")
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", ROOT, source], check=True) if (
        ROOT / ".git"
    ).exists() else pytest.skip("no git checkout")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "bdist_wheel", "-d", str(tmp_path)],
        cwd=source,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    import zipfile

    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {"lessonkit/static/report.html", "lessonkit/widgets/kit.css", "lessonkit/train/find.py"} <= set(
        names
    )
    extension = {n for n in names if "share/jupyter/labextensions/lessonkit/" in n}
    assert {n.split("/lessonkit/")[1] for n in extension} == {"package.json", "static/lab.js"}
    assert not any(n.startswith(("tests/", "nbs/")) for n in names) and wheel.stat().st_size < 15 * 2**20
