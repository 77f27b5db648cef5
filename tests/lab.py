"""A real JupyterLab in a real browser, for tests and benchmarks of the widgets."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat

NOTEBOOK = (
    "() => window.jupyterapp?.shell?.currentWidget"  # a page that loads, or loads again, has no app yet
)


FOLDERS = {  # where this JupyterLab keeps its own things, in its root
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_PATH": "share",
    "IPYTHONDIR": "ipython",
}


def pip_install(what, folder) -> None:
    "Put a package, or a wheel, into a folder of its own, without what it requires."
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), str(what)]
    subprocess.run(command, check=True)


def free_port() -> int:
    "A port that nobody listens to now."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def write_kernel(root: Path, name: str, folder: Path) -> None:
    "A kernel that prefers the packages in `folder`."
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name,
        "language": "python",
        "env": {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
    }
    path = root / "share" / "kernels" / name / "kernel.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec))


def install_extension(root: Path) -> None:
    "Our extension for JupyterLab, which a wheel brings and an installation for development does not."
    source = Path(__file__).parents[1] / "lessonkit" / "widgets" / "labextension"
    target = root / "share" / "labextensions" / "lessonkit"
    (target / "static").mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "package.json", target)
    shutil.copy(source / "lab.js", target / "static")


SETTINGS = {  # no news and no updates, which would ask the network; cells are there also out of sight
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}


def write_settings(root: Path) -> None:
    "Settings for tests."
    for name, text in SETTINGS.items():
        path = root / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(text)


class Lab:
    """A JupyterLab server of its own in `root`: `open` gives a page with a notebook. kernels: further kernels
    by name, each with the folder whose packages it prefers; command: what Python runs to start it, None for
    JupyterLab itself; env: for it."""

    def __init__(
        self,
        root: Path,
        kernels: dict[str, Path] | None = None,
        command: list[str] | None = None,
        env: dict | None = None,
    ):
        self.root, port = root, free_port()
        self.url, self.log = f"http://127.0.0.1:{port}", open(root / "lab.log", "w")
        for name, folder in (kernels or {}).items():
            write_kernel(root, name, folder)
        write_settings(root)
        install_extension(root)
        plain = [
            "-m",
            "jupyterlab",
            f"--ServerApp.root_dir={root}",
            "--ip=127.0.0.1",
            "--IdentityProvider.token=",
        ]
        self.server = self._start(command or plain, port, env or {})
        self._wait()
        said = re.search(r"\?token=(\w+)", (root / "lab.log").read_text())
        self.token = said[1] if command and said else ""

    def _start(self, command: list[str], port: int, env: dict) -> subprocess.Popen:
        "The server's process; what it says goes to its log."
        options = [
            "--no-browser",
            "--allow-root",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            "--LabApp.expose_app_in_browser=True",
        ]
        own = {name: str(self.root / folder) for name, folder in FOLDERS.items()}
        return subprocess.Popen(
            [sys.executable, *command, *options],
            cwd=self.root,
            env=os.environ | own | env,
            stdout=self.log,
            stderr=self.log,
        )

    def _wait(self) -> None:
        "Until it answers. RuntimeError, with the end of its log, if it does not within a minute."
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.url}/api", timeout=1)
                return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"JupyterLab did not start: {(self.root / 'lab.log').read_text()[-2000:]}")

    def close(self):
        self.server.terminate()
        self.server.wait(15)
        self.log.close()

    def open(self, browser, cells: list[str], name: str, kernel: str = "python3", **context) -> "Notebook":
        """Write a notebook of code cells, or one that is there if `cells` is empty, and open it in a page of
        its own."""
        if cells:
            nb = nbformat.v4.new_notebook(
                metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
            )
            nb.cells = [nbformat.v4.new_code_cell(c) for c in cells]
            nbformat.write(nb, self.root / name)
        page = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}} | context).new_page()
        return Notebook(page, f"{self.url}/lab/tree/{name}?reset&token={self.token}")


class Notebook:
    "A notebook in a page."

    def __init__(self, page, url: str):
        self.page, self.problems = page, []
        page.on("pageerror", lambda e: self.problems.append(f"{e}\n{e.stack}"))
        page.goto(url)
        self.wait_idle()

    def wait_idle(self, timeout: float = 90):
        "Until the kernel is there and has nothing to do."
        self.page.wait_for_function(
            f"() => ({NOTEBOOK})()?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=timeout * 1000,
        )

    def wait_done(self, k: int, timeout: float = 90):
        """Until cell `k`, which was run, has ended. A kernel that answers a widget while it works says idle
        too early."""
        prompt = f"({NOTEBOOK})().content.widgets[k].promptNode.innerText"
        self.page.wait_for_function(f"k => /[0-9]/.test({prompt})", arg=k, timeout=timeout * 1000)
        self.wait_idle(timeout)

    def run(self, k: int, wait: bool = True, timeout: float = 120):
        "Run cell `k`; `wait`: until it is done."
        page = self.page
        counted = f"({NOTEBOOK})().content.widgets[k].model.executionCount"
        count = page.evaluate(f"k => {counted}", k)
        page.evaluate(
            f"k => {{ ({NOTEBOOK})().content.activeCellIndex = k; "
            "window.jupyterapp.commands.execute('notebook:run-cell'); }",
            k,
        )
        if wait:
            # ipykernel 7.2 can leave its first request unread until another one comes
            kernel = f"({NOTEBOOK})().sessionContext.session?.kernel"
            again = f"setInterval(() => {kernel}?.requestKernelInfo(), 10000)"
            timer = page.evaluate(again)
            page.wait_for_function(
                f"([k, c]) => {counted} && {counted} !== c", arg=[k, count], timeout=timeout * 1000
            )
            page.evaluate("clearInterval", timer)
            self.wait_done(k, timeout)

    def text(self, k: int) -> str:
        "What cell `k` printed or showed as text."
        outputs = self.page.locator(".jp-Cell").nth(k).locator(".jp-OutputArea-output")
        return "\n".join(outputs.all_inner_texts())

    def value(self, k: int) -> str:
        "Run cell `k` and give its text."
        self.run(k)
        return self.text(k).strip()

    def command(self, name: str, **args):
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, args])

    def theme(self, name: str):
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)

    def close(self):
        "End the kernel, also one that works, and the page."
        self.page.evaluate(f"async () => {{ await ({NOTEBOOK})()?.sessionContext?.shutdown(); }}")
        self.page.context.close()
