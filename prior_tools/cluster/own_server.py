"""A ComfyUI of our own: started on a free port of loopback, and gone when we are."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from ..errors import printable
from ..generating.comfy_client import ComfyClient, ServerGone, ServerRefused

_KEEPER = Path(__file__).with_name("keeper.py")
_LOOPBACK = "127.0.0.1"
# Below those that systems give to outgoing connections, which could take it before the server does.
_PORTS = range(20_000, 30_000)
_LOOK_EVERY = 0.2
_TAIL = 1500
# What a workflow's last prompts may still name: ComfyUI gives a result that it has cached again.
_FILES_KEPT = 1000

# Set by us for each server.
OWN_OPTIONS = (
    "--listen",
    "--port",
    "--output-directory",
    "--temp-directory",
    "--database-url",
    "--disable-auto-launch",
)


class ServerFailed(Exception):
    """The server did not start, or has ended; the text ends with the last lines of its log."""


class OwnServer:
    """One ComfyUI process; `start` before anything else.

    It has folders of its own for output, temporary files and its database, which go with it, and
    shares models, custom nodes and input with the others that run from the same folder.

    Args:
        comfyui: ComfyUI's folder, the one with main.py.
        python: that has ComfyUI's requirements; None looks for an environment in that folder, and
            takes our own else.
        arguments: more for main.py.
        threads: of the processor, for torch; images on a CPU depend on it in their last bits.
    """

    def __init__(
        self, comfyui: Path, python: str | None, arguments: Sequence[str], threads: int
    ) -> None:
        self._comfyui, self._python = comfyui, python
        self._arguments, self._threads = arguments, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._group = 0
        self._over = threading.Event()
        self._scratch = Path()
        self._log: BinaryIO | None = None

    @property
    def client(self) -> ComfyClient:
        """Of the server, which was started."""
        return self._client

    def start(self, patience: float) -> None:
        """Start the server and wait until it answers.

        Raises ServerFailed when it ends or does not answer within `patience` seconds.
        """
        main = self._comfyui / "main.py"
        if not main.is_file():
            raise ServerFailed(f"there is no ComfyUI in {self._comfyui}: main.py is missing")
        self._scratch = Path(tempfile.mkdtemp(prefix="scp-comfyui-"))
        python = self._python or _python_of(self._comfyui)
        port = _free_port()
        database = f"sqlite:///{(self._scratch / 'comfyui.db').as_posix()}"
        # In the order of OWN_OPTIONS.
        own = (_LOOPBACK, str(port), str(self._scratch / "output"), str(self._scratch), database)
        options = [word for pair in zip(OWN_OPTIONS[:5], own, strict=True) for word in pair]
        command = [sys.executable, str(_KEEPER), str(self._scratch), python, str(main)]
        command += [*self._arguments, *options, *OWN_OPTIONS[5:]]
        try:
            (self._scratch / "output").mkdir()
            log = self._scratch / "comfyui.log"
            with log.open("wb") as written:
                # Open by now: it is still read when the folder has gone with the server.
                self._log = log.open("rb")
                self._process = process = subprocess.Popen(
                    command,
                    cwd=self._comfyui,
                    env=self._environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=written,
                )
            assert process.stdout is not None, "it is a pipe"
            self._group = int(process.stdout.readline() or 0)
            if not self._group:
                raise ServerFailed(f"its keeper did not start: {self._said()}")
            threading.Thread(target=self._watch, args=(process.stdout,), daemon=True).start()
            folders = {"output": self._scratch / "output", "temp": self._scratch / "temp"}
            self._client = _TidyClient(f"http://{_LOOPBACK}:{port}", folders)
            self._await_answer(patience)
        except BaseException:
            self.stop()
            raise

    def ended(self) -> str | None:
        """What the server said last, if it has ended; None while it runs."""
        if not self._over.is_set():
            return None
        self._kill_group()
        return f"its ComfyUI ended: {self._said()}"

    def stop(self) -> None:
        """End the server and all that it started; harmless when it has ended already."""
        process = self._process
        if process is not None and process.stdin is not None:
            # The keeper sees it and kills.
            process.stdin.close()
            process.wait()
            if self._group:
                self._over.wait()
                self._kill_group()
        # Where the keeper was killed and could not.
        if self._scratch != Path():
            shutil.rmtree(self._scratch, ignore_errors=True)

    def has_input(self, name: str) -> bool:
        """Whether a file is there that LoadImage and its like can take by this name."""
        name, _, folder = name.partition(" [")
        subfolder, _, filename = name.rpartition("/")
        image = {"filename": filename, "subfolder": subfolder, "type": folder.rstrip("]")}
        try:
            self._client.view({**image, "type": image["type"] or "input"})
            return True
        except ServerRefused:
            return False

    def properties(self) -> dict[str, Any]:
        """What images may depend on: threads, versions and the device."""
        found: dict[str, Any] = {"threads": self._threads, **self._client.versions()}
        devices = self._client.system_stats().get("devices") or [{}]
        return {**found, "device": str(devices[0].get("name", "")).split(" : ")[0]}

    def _watch(self, pipe: IO[bytes]) -> None:
        """Note when the keeper has ended, whose pipe it is."""
        pipe.read()
        self._over.set()

    def _kill_group(self) -> None:
        """What a killed keeper has left behind; once, before the number is another's."""
        group, self._group = self._group, 0
        if group and os.name != "nt":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        # ComfyUI's `nodes.py` must never be hidden by a folder of ours; and what Ray set for its
        # own processes is not for this one.
        for name in ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD"):
            environment.pop(name, None)
        threads = str(self._threads)
        return environment | {
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }

    def _await_answer(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if said := self.ended():
                raise ServerFailed(said)
            with suppress(ServerGone, ServerRefused):
                # Another server of ours could have taken the port.
                if str(self._scratch) in " ".join(map(str, self._argv())):
                    return
            time.sleep(_LOOK_EVERY)
        raise ServerFailed(f"its ComfyUI did not answer within {patience:g} s: {self._said()}")

    def _argv(self) -> list[Any]:
        argv = (self._client.system_stats().get("system") or {}).get("argv")
        return argv if isinstance(argv, list) else []

    def _said(self) -> str:
        """The last lines of the log, as one."""
        if self._log is None:
            return ""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _TAIL))
        text = self._log.read().decode(errors="replace")
        return printable(" | ".join(line.strip() for line in text.splitlines() if line.strip()))


class _TidyClient(ComfyClient):
    """Removes what was looked at long ago, since nobody else will: runs are long, disks small.

    folders: of the server, by the type that a history entry names.
    """

    def __init__(self, url: str, folders: dict[str, Path]) -> None:
        super().__init__(url)
        self._folders = folders
        self._seen: deque[Path] = deque()
        self._lock = threading.Lock()

    def view(self, image: dict[str, Any]) -> bytes:
        data = super().view(image)
        folder = self._folders.get(str(image.get("type")))
        if folder is not None:
            self._keep(folder / str(image.get("subfolder", "")) / str(image.get("filename", "")))
        return data

    def _keep(self, path: Path) -> None:
        with self._lock:
            if path in self._seen:
                self._seen.remove(path)
            self._seen.append(path)
            if len(self._seen) > _FILES_KEPT:
                with suppress(OSError):
                    self._seen.popleft().unlink()


def _python_of(comfyui: Path) -> str:
    """The interpreter of an environment inside ComfyUI's folder; without one our own."""
    inner = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    for folder in (".venv", "venv"):
        python = comfyui.joinpath(folder, *inner)
        if python.is_file():
            return str(python)
    return sys.executable


def _free_port() -> int:
    # Of the system, for servers that start together not to try the same ones.
    draw = random.SystemRandom()
    while True:
        port = draw.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((_LOOPBACK, port))
            return port
