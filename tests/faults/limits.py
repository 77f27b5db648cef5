"""Disks that are full or may not be written, too little memory, too few files, no home: what is asked for is
done without, or ends with one line that says where and what, and nothing that was there is harmed."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from .found import Found

ROOT, MB = Path(__file__).parents[2], 2**20
MORE = (
    "The disks are small ones in memory, mounted for one process and its children alone: they go with them. "
    "Where that is not permitted, the cases that need them are left out."
)


@dataclass
class Case:
    """A command of lessonkit's under a limit. name: of the limit, and what is done; says: what its last line
    of error matches, empty if it must do its work; hears: what a line of warning before it matches; env,
    soft: of its process, None taking a variable away; short: tried in the short form, too."""

    name: str
    words: list[str]
    says: str = ""
    hears: str = "$^"
    env: dict = field(default_factory=dict)
    soft: dict = field(default_factory=dict)
    short: bool = False


NET = ["--arch", "resnet10", "--weights", "none", "--size", "32", "--bs", "8"]
TRAIN = ["train", "photos", *NET, "--epochs", "1", "--cycle-len", "1", "--head-epochs", "1", "--out"]
FULL = "No space left on device: free some space there, or name another folder$"
SHUT = "Read-only file system: name a folder that can be written$"
CACHE = "decoded pictures cannot be kept in .*set LESSONKIT_CACHE to a folder that can be written$"
CHECKPOINT = "training goes on$|the run goes on without$"


def on_disks() -> list[Case]:
    "What is tried on disks that are full or read-only."
    cases, saved = [], ("the results go to .*tmp/", f"{CHECKPOINT}|full/.*: {FULL}", {"TMPDIR": "tmp"})
    for at, disk, says in (("full", "full disk", FULL), ("shut", "read-only disk", SHUT)):
        cache, said = {"LESSONKIT_CACHE": at}, f"{at}/.*: {says}"
        cases += [
            Case(f"{disk}: the cache of train", [*TRAIN, f"out-{at}"], "", CACHE, cache),
            Case(f"{disk}: train --out", [*TRAIN, f"{at}/run"], *saved if at == "full" else (said,)),
            Case(f"{disk}: find-lr --out", ["find-lr", "photos", *NET, "--out", f"{at}/lr.png"], said),
            Case(f"{disk}: lab", ["lab", f"{at}/lessons"], said, short=at == "full"),
            Case(f"{disk}: lab --read", ["lab", f"{at}/lessons", "--read"], said),
        ]
    return [
        *cases,
        Case("read-only disk: the pictures", ["train", "shut/photos", *TRAIN[2:], "out-pictures"]),
    ]


def on_processes() -> list[Case]:
    "What is tried with little of what the system gives a process."
    large, few = {resource.RLIMIT_FSIZE: 100_000}, {resource.RLIMIT_NOFILE: 40}
    home, words = {"LESSONKIT_CACHE": None, "HOME": "/proc/none", "TMPDIR": "tmp"}, [*TRAIN, "out-large"]
    larger = "File too large: files are not allowed to be so large here .ulimit -f.$"
    heard = f"{CACHE}|{CHECKPOINT}|go to .*tmp/|{larger}"
    return [
        Case("files of at most 100 kB: train", words, larger, heard, {"TMPDIR": "tmp"}, large),
        Case("a home that cannot be: train", [*TRAIN, "out-home"], "", f"[mM]atplotlib|{CACHE}", home),
        Case("at most 40 open files: train", [*TRAIN, "out-files"], soft=few),
        Case("at most 40 open files: check", ["check", "photos"], soft=few),
    ]


LIBRARY = """import json, os, resource, sys
from pathlib import Path
from lessonkit import ImageData, Learner, five_steps, load_model, sgdr, write_samples
from lessonkit.lab import copy_lessons, exercise
from lessonkit.report import write_report
from lessonkit.widgets import Replay
at, limit, lift = sys.argv[1:]
data = ImageData("photos", size=32, bs=8, cache_bytes=0, progress=False)
learn = Learner(data, "resnet10", weights=None, seed=1)
found = learn.find(progress=False)
plain = {"head_epochs": 1, "epochs": 1, "cycle_len": 1, "progress": False, "say": lambda line: None}
five = five_steps(data, "resnet10", None, **plain)
def fit(**options):
    learn.fit(sgdr(2, 1), 1e-2, checkpoint=f"{at}/run.ckpt", progress=False, **options)
def check():
    here = os.getcwd()
    os.chdir(at)
    try:
        said = exercise("01.1").check(5).text
    finally:
        os.chdir(here)
    if "Not kept" in said:
        raise OSError(said[said.index("(Not kept") :])
writes = {
    "learn.fit(checkpoint=)": fit,
    "learn.save": lambda: learn.save(f"{at}/model"),
    "History.save": lambda: learn.history.save(f"{at}/history.json"),
    "LRFind.save": lambda: found.save(f"{at}/found.json"),
    "write_report": lambda: write_report(five, f"{at}/report.html"),
    "a widget's page": lambda: Replay(learn.history).save_html(f"{at}/replay.html"),
    "copy_lessons": lambda: copy_lessons(f"{at}/lessons", True, {"a.ipynb": os.urandom(99999)}),
    "an exercise's progress": check,
    "write_samples": lambda: write_samples(f"{at}/samples{os.urandom(4).hex()}", "side_on", 60, 12),
}
for name, write in writes.items():
    write()
def state():
    return {str(p): p.read_bytes() for p in Path(at).rglob("*") if p.is_file() and p.name != "filler"}
before, names = state(), set(map(str, Path(at).rglob("*")))
exec(limit)
said = {}
for name, write in writes.items():
    try:
        write()
        said[name] = "done"
    except Exception as e:
        said[name] = f"{type(e).__name__}: {e}"
    made = sorted(set(map(str, Path(at).rglob("*"))) - names - {f"{at}/filler"})
    said[name] += f" and left {made}" * bool(made)
exec(lift)
after = state()
harmed = [k for k in before if before[k] != after.get(k)]
said["what was there"] = f"harmed {harmed}" if harmed else "whole"
for name, write in writes.items():
    write()
load_model(f"{at}/model")
print(json.dumps(said))
"""
FILL = """
f = os.open(f"{at}/filler", os.O_CREAT | os.O_WRONLY)
try:
    while os.write(f, bytes(4096)):
        pass
except OSError:
    os.close(f)"""
HOWS = {
    "full disk": (
        "full",
        FILL,
        "os.remove(f'{at}/filler')",
        r"OSError: .*No space left on device: '(\S*full|progress)",
    ),
    "read-only disk": (
        "full",
        "os.system('mount -o remount,ro full')",
        "os.system('mount -o remount,rw full')",
        r"OSError: .*Read-only file system: '\S*full",
    ),
    "files of at most 40 bytes": (
        "small",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40, resource.RLIM_INFINITY))",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)",
        r"OSError: .*File too large: '(\S*small|progress)",
    ),
}

MEMORY = """import json, resource, sys, torch
from lessonkit import ImageData, Learner, sgdr
torch.set_num_threads(1)  # OpenMP ends a process in which it can't start a thread
data = ImageData("photos", size=224, bs=20, cache_bytes=0, progress=False)
learn, said = Learner(data, "resnet10", weights=None, seed=1), {}
before = {k: v.clone() for k, v in learn.model.state_dict().items()}
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + 60 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
fit = lambda: learn.fit(sgdr(1, 1), 1e-3, progress=False)
for name, do in {"learn.fit": fit, "learn.find": lambda: learn.find(progress=False)}.items():
    try:
        do()
        said[name] = "done"
    except Exception as e:
        said[name] = f"{type(e).__name__}: {e}"
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
same = all((v == before[k]).all() for k, v in learn.model.state_dict().items())
said["what was there"] = "whole" if same else "harmed: other weights"
data.bs = 10
fit()
print(json.dumps(said))
"""
ADVICE = "OutOfMemoryError: out of memory with batches of 20 pictures of 224 px: try data.bs = 10"


def start(words: list[str], folder: Path, env: dict, soft: dict) -> subprocess.CompletedProcess:
    "Run Python with these words in a folder, under soft limits."

    def limit():
        for number, value in soft.items():
            resource.setrlimit(number, (value, resource.getrlimit(number)[1]))

    env = os.environ | {"PYTHONPATH": str(ROOT), "LESSONKIT_CACHE": str(folder / "cache")} | env
    env = {name: value for name, value in env.items() if value is not None}
    command = [sys.executable, *words]
    options = {"capture_output": True, "text": True, "errors": "replace", "timeout": 300}
    return subprocess.run(command, cwd=folder, env=env, preexec_fn=limit, **options)


def try_command(case: Case, folder: Path) -> tuple[str, str]:
    "What a command said at its end, and what is wrong with that."
    here = set(folder.rglob("*.part"))
    run = "import sys; from lessonkit.cli import main; sys.exit(main())"
    done = start(["-c", run, *case.words], folder, case.env, case.soft)
    heard = done.stderr.splitlines()
    last = heard.pop() if case.says and heard else ""
    odd = [line for line in heard if not re.search(case.hears, line)]
    left = sorted(str(p) for p in {*folder.rglob("*.part")} - here)
    fine = re.match("lessonkit: .*" + case.says, last) if case.says else done.returncode == 0
    if not fine or odd or left or done.returncode not in (0, 2):
        return last, f"{case.name}: exit code {done.returncode}, left {left}, {done.stderr[-300:]!r}"
    plain = lambda line: line.removeprefix("lessonkit: ").replace(f"{folder}/", "")
    heard = [plain(line) for line in heard if "matplotlib" not in line.lower()]
    return plain(last) or "; ".join(["done", *dict.fromkeys(heard)]), ""


def try_library(name: str, code: list[str], says: str, folder: Path) -> tuple[list[list], list[str]]:
    "What the library said under a limit, a row each, and what is wrong with that."
    done = start(["-c", *code], folder, {}, {})
    if done.returncode:
        return [], [f"{name}: {done.stderr[-500:]}"]
    said = json.loads(done.stdout.splitlines()[-1])
    fine = {"what was there": "whole", "learn.fit(checkpoint=)": "done"}  # a run goes on without
    fits = lambda what, words: re.match(fine.get(what, says), words)
    rows = [[f"{name}: {what}", re.sub(r"/\S*/(?=full|small|\.)", "", words)] for what, words in said.items()]
    bad = [f"{name}: {what}: {words}" for what, words in said.items() if not fits(what, words)]
    bad += [f"{name}: {what}: {words}" for what, words in said.items() if " and left [" in words]
    return rows, bad


def make_folder(folder: Path) -> None:
    "A few pictures of two classes, and the places of the disks."
    rng = np.random.default_rng(0)
    for k in range(24):
        path = folder / "photos" / ("a", "b")[k % 2] / f"{k:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 120, (40, 48, 3), np.uint8)
        Image.fromarray(noise + np.uint8(100 * (k % 2))).save(path)
    for name in ("full", "shut", "small", "tmp", "cache"):
        (folder / name).mkdir()


def mount(folder: Path) -> None:
    "The small disks: one with room for the library's files, and one that cannot be written to."
    for name in ("full", "shut"):
        command = ["mount", "-t", "tmpfs", "-o", "size=200m", "lessonkit", str(folder / name)]
        subprocess.run(command, check=True)
    shutil.copytree(folder / "photos", folder / "shut" / "photos")
    subprocess.run(["mount", "-o", "remount,ro", str(folder / "shut")], check=True)


def fill(folder: Path) -> None:
    "Take all that is left on the disk `full`."
    exec(FILL, {"os": os, "at": folder / "full"})


def inside(folder: Path, short: bool, mounted: bool) -> dict:
    "Try everything, in a process whose mounts are its own."
    rows, broke = [], []
    if mounted:
        mount(folder)
    hows = {name: how for name, how in HOWS.items() if mounted or how[0] == "small"}
    for name, (at, limit, lift, says) in {} if short else hows.items():
        more, bad = try_library(name, [LIBRARY, at, limit, lift], says, folder)
        rows, broke = rows + more, broke + bad
    more, bad = try_library("little memory", [MEMORY], ADVICE, folder)
    rows, broke = rows + more, broke + bad
    if mounted:
        fill(folder)
    for case in (on_disks() if mounted else []) + on_processes():
        if case.short or not short:
            what, wrong = try_command(case, folder)
            rows.append([case.name, what])
            broke += [wrong] * bool(wrong)
    return {"tried": len(rows), "broke": broke, "rows": rows}


def attack(folder: Path, short: bool = False) -> Found:
    "Take away disk, memory, files and home."
    make_folder(folder)
    alone = ["unshare", "--mount"] if shutil.which("unshare") else []
    trial = [*alone, "mount", "-t", "tmpfs", "lessonkit", str(folder / "tmp")]
    mounted = bool(alone) and subprocess.run(trial, capture_output=True).returncode == 0
    code = "import json, sys; from pathlib import Path; from tests.faults.limits import inside\n"
    code += f"print(json.dumps(inside(Path(sys.argv[1]), {short}, {mounted})))"
    command = [*alone * mounted, sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found, words = json.loads(done.stdout.splitlines()[-1]), __doc__.replace("\n", " ").strip()
    return Found("Limits", f"{words} {MORE}", columns=["limit: what is done", "what it says"], **found)
