"""Runs the real comfy-cli as a user does, kept away from the user's own settings. POSIX only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from dev.server import free_port, host_environment
from dev.workspace import MODEL_FOLDERS, OTHER_FOLDERS
from prior_tools.generating.comfy_client import ComfyClient

if TYPE_CHECKING:
    from typing import Self

REAPER = Path(__file__).with_name("reaper.py")

# Of a user's ComfyUI these hold data, environments and other packs, not the program.
_NOT_COPIED = {".git", ".venv", "venv", "extra_model_paths.yaml", "models", *OTHER_FOLDERS}
# They would lead comfy-cli, ComfyUI-Manager or their pip to other folders than the given ones.
_UNWANTED = ("VIRTUAL_ENV", "CONDA_PREFIX", "COMFYUI_PATH", "COMFYUI_FOLDERS_BASE_PATH")
_UNWANTED += ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "COMFY_CACHE_DIR")


class CommandFailed(RuntimeError):
    """A command ended with another exit code than 0; the message holds what it printed."""


def copy_comfyui(comfy_dir: Path, workspace: Path) -> Path:
    """Make `workspace` a ComfyUI without models, data and packs; returns it resolved."""
    comfy_dir = Path(comfy_dir).resolve()

    def ignore(folder: str, names: list[str]) -> set[str]:
        return _NOT_COPIED & set(names) if Path(folder) == comfy_dir else set()

    shutil.copytree(comfy_dir, workspace, ignore=ignore)
    for name in MODEL_FOLDERS:
        (workspace / "models" / name).mkdir(parents=True)
    for name in OTHER_FOLDERS:
        (workspace / name).mkdir()
    return workspace.resolve()


class ComfyCli:
    """comfy-cli with a home folder of its own, as a context manager.

    home: the folder that its programs take for the user's home; made if it is missing.
    workspace: the ComfyUI that it manages (`copy_comfyui(...)`); None for commands without one.
    environment: further variables.

    Sends no telemetry, and installs no package: pip and uv look into no index. The ComfyUI that
    `launch` leaves in the background ends with the context at the latest, or when this process
    dies.
    """

    def __init__(
        self,
        home: Path,
        workspace: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.home = Path(home).resolve()
        self.workspace = workspace
        self.port = 0
        self._environment = {**_environment(self.home), **(environment or {})}
        self._group = 0
        self._reaper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self.run("tracking", "disable")
        # `launch` would pass an option on to ComfyUI that some releases do not know.
        self.run("manager", "disable")
        return self

    def __exit__(self, *_: object) -> None:
        self._kill_group()

    def run(self, *arguments: str, cwd: Path | None = None, timeout: float = 180) -> str:
        """Run `comfy ARGUMENTS` and return what it printed, errors included.

        Raises CommandFailed for an exit code other than 0. An exit code of 0 promises little:
        several commands end with it when they have failed.
        """
        process = self._start(arguments, cwd, subprocess.STDOUT)
        return self._finish(process, arguments, timeout)[0]

    def run_json(self, *arguments: str, timeout: float = 180) -> dict[str, Any]:
        """Run `comfy --json ARGUMENTS` and return the `data` of its answer."""
        arguments = ("--json", *arguments)
        printed, _ = self._finish(self._start(arguments, None, subprocess.PIPE), arguments, timeout)
        answer = json.loads(printed)
        if not answer["ok"]:
            raise CommandFailed(printed)
        return answer["data"]

    def launch(self, timeout: float = 180) -> None:
        """Start the workspace's ComfyUI in the background, on the CPU and a free local port."""
        if self._reaper is not None:
            raise RuntimeError("a server is running already")
        self.port = free_port()
        options = ["--cpu", "--listen", "127.0.0.1", "--port", str(self.port)]
        arguments = ("launch", "--background", "--", *options, "--disable-auto-launch")
        # The server stays in the group of the command that started it.
        process = self._start(arguments, None, subprocess.STDOUT, start_new_session=True)
        self._group = process.pid
        self._reaper = subprocess.Popen(
            [sys.executable, str(REAPER), str(process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._finish(process, arguments, timeout)
        except BaseException:
            self._kill_group()
            raise

    def stop(self, timeout: float = 15) -> None:
        """`comfy stop`; raises TimeoutError when something of the server goes on running."""
        self.run("stop")
        deadline = time.monotonic() + timeout
        while alive := _members(self._group):
            if time.monotonic() > deadline:
                self._kill_group()
                raise TimeoutError(f"still running after `comfy stop`: {alive}")
            time.sleep(0.05)
        if self._reaper is not None:
            # Not by closing its input: the group's number may be another's by now.
            self._reaper.kill()
            self._forget()

    def read(self, path: str) -> bytes:
        """What the launched server answers to a GET."""
        return ComfyClient(f"http://127.0.0.1:{self.port}").request(path)

    def get(self, path: str) -> Any:
        """The same, read as JSON."""
        return json.loads(self.read(path))

    def _start(
        self, arguments: tuple[str, ...], cwd: Path | None, stderr: int, **options: Any
    ) -> subprocess.Popen[str]:
        where = [f"--workspace={self.workspace}"] if self.workspace else []
        return subprocess.Popen(
            ["comfy", "--skip-prompt", *where, *arguments],
            cwd=cwd or self.home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            **options,
        )

    @staticmethod
    def _finish(
        process: subprocess.Popen[str], arguments: tuple[str, ...], timeout: float
    ) -> tuple[str, str]:
        try:
            printed, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode != 0:
            raise CommandFailed(
                f"comfy {' '.join(arguments)}: exit code {process.returncode}\n"
                f"{printed}{errors or ''}"
            )
        return printed, errors or ""

    def _kill_group(self) -> None:
        if self._reaper is not None:
            self._reaper.stdin.close()
            self._forget()

    def _forget(self) -> None:
        reaper, self._reaper = self._reaper, None
        reaper.wait()
        reaper.stdin.close()
        self._group = 0


def _environment(home: Path) -> dict[str, str]:
    environment = {
        name: value
        for name, value in host_environment().items()
        # Git's variables may point at the repository that we are started from.
        if name not in _UNWANTED and not name.startswith("GIT_")
    }
    # `launch` looks for `comfy` on the path, and `install` for git.
    programs = str(Path(sys.executable).parent)
    environment.update(
        HOME=str(home),
        PATH=os.pathsep.join([programs, environment.get("PATH", os.defpath)]),
        COMFY_NO_TELEMETRY="1",
        COMFY_NO_UPDATE_CHECK="1",
        COMFY_CLI_NO_REMOTE_REFRESH="1",
        # Nobody listens there.
        COMFY_CLOUD_BASE_URL="http://127.0.0.1:9",
        GIT_TERMINAL_PROMPT="0",
        PIP_NO_INDEX="1",
        UV_OFFLINE="1",
        # Else rich wraps lines after 80 columns, in the middle of what a test looks for.
        COLUMNS="1000",
    )
    return environment


def _members(group: int) -> list[str]:
    """The processes of a group that still run, as `pid command`."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        try:
            inside = os.getpgid(process.pid) == group
        except (ProcessLookupError, PermissionError):
            continue
        # One that has ended may wait long for a first process that collects it.
        if inside and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(f"{process.pid} {' '.join(process.info['cmdline'] or [])}")
    return found
