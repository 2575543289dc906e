"""Starts a real ComfyUI server, and tells how it fares when the pack's own client asks it."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from prior_tools.generating.comfy_client import ComfyClient, ServerGone, ServerRefused

if TYPE_CHECKING:
    from typing import Self

KEEPER = Path(__file__).with_name("keeper.py")
LOG_NAME = "comfyui-server.log"
# Of servers that run: two with one base directory would write into each other's lines.
_logs: set[Path] = set()
LOG_TAIL = 4000


class ServerFailed(RuntimeError):
    """The server did not start, or it died; the message ends with the log's last lines."""


class PromptRejected(RuntimeError):
    """The server refused a prompt at validation.

    error: the server's summary {"type", "message", "details", ...}.
    node_errors: per node id {"class_type", "errors": [{"type", "message", "details", ...}], ...}.
    """

    def __init__(self, answer: dict[str, Any]) -> None:
        self.error: Any = answer.get("error", {})
        self.node_errors: dict[str, Any] = answer.get("node_errors") or {}
        super().__init__(json.dumps(answer, indent=1))


class ExecutionFailed(RuntimeError):
    """A node raised while the prompt ran."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.node_id: str = str(data.get("node_id", ""))
        self.node_type: str = str(data.get("node_type", ""))
        self.exception_type: str = str(data.get("exception_type", ""))
        self.exception_message: str = str(data.get("exception_message", "")).strip()
        self.traceback: str = "".join(data.get("traceback") or [])
        super().__init__(
            f"node {self.node_id} ({self.node_type}) raised {self.exception_type}: "
            f"{self.exception_message}\n{self.traceback}"
        )


class Interrupted(RuntimeError):
    """The prompt was interrupted in node `node_id`."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.node_id: str = str(data.get("node_id", ""))
        self.node_type: str = str(data.get("node_type", ""))
        super().__init__(f"interrupted in node {self.node_id} ({self.node_type})")


class ComfyServer:
    """A ComfyUI server on a free local port, as a context manager.

    comfy_dir: ComfyUI's folder (`dev.comfyui.ensure_comfyui()`).
    base: the base directory (`dev.workspace.make_workspace(...)`); the log is written there.
    extra_args: further command line arguments for `main.py`.
    python: the interpreter that has ComfyUI's requirements; default: the running one.
    threads: of the processor, for torch; default: all.

    All that asks the server raises ServerFailed when it has died, and else what ComfyClient does.
    """

    def __init__(
        self,
        comfy_dir: Path,
        base: Path,
        extra_args: tuple[str, ...] = (),
        python: str = sys.executable,
        threads: int | None = None,
    ) -> None:
        self.comfy_dir = Path(comfy_dir).resolve()
        self.base = Path(base).resolve()
        self.extra_args = tuple(extra_args)
        self.python = python
        self.threads = threads
        self.port = 0
        self._client: ComfyClient | None = None
        self.log = self.base / LOG_NAME
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, timeout: float = 120.0, port: int | None = None) -> None:
        """Start the server, on a free port unless one is given, and return when it answers.

        Raises ServerFailed when it dies or does not answer within `timeout` seconds.
        """
        if self._process is not None:
            raise RuntimeError("the server is running already")
        self.port = free_port() if port is None else port
        self._client = ComfyClient(self.url)
        command = [self.python, str(KEEPER), self.python, str(self.comfy_dir / "main.py")]
        command += ["--cpu", "--listen", "127.0.0.1", "--port", str(self.port)]
        command += ["--disable-auto-launch", "--base-directory", str(self.base)]
        # The database would otherwise lie beside ComfyUI's own folder.
        command += ["--database-url", f"sqlite:///{(self.base / 'user' / 'comfyui.db').as_posix()}"]
        command += self.extra_args
        environment = host_environment()
        if self.threads is not None:
            environment["OMP_NUM_THREADS"] = str(self.threads)
        names = (self.base / f"{number}-{LOG_NAME}" for number in count(2))
        self.log = self.base / LOG_NAME
        while self.log in _logs:
            self.log = next(names)
        _logs.add(self.log)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.base,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=os.name != "nt",
            )
        atexit.register(self.stop)
        try:
            self._await_answer(timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and everything it started; harmless when it has ended already."""
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is None:
            return
        _logs.discard(self.log)
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        # Also after a tidy end: a child of the server may outlive it in the group.
        _signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def object_info(self) -> dict[str, Any]:
        """All nodes the server knows, by node id."""
        with self._asking() as client:
            return client.object_info()

    def get(self, path: str) -> bytes:
        """What the server answers to a GET."""
        with self._asking() as client:
            return client.request(path)

    def queue(self, prompt: dict[str, Any]) -> str:
        """Queue an API-format prompt; returns its id. Raises PromptRejected when it is invalid."""
        try:
            with self._asking() as client:
                return client.submit(prompt, {})
        except ServerRefused as error:
            if error.status != HTTPStatus.BAD_REQUEST:
                raise
            raise PromptRejected(json.loads(error.body)) from None

    def queued(self) -> tuple[set[str], set[str]]:
        """The ids of the prompts that run, and of those that wait."""
        with self._asking() as client:
            running, waiting = client.queued()
        return set(running), set(waiting)

    def wait(self, prompt_id: str, timeout: float = 300.0) -> dict[str, Any]:
        """Wait until the prompt has run; returns its history entry.

        Raises ExecutionFailed, Interrupted, or TimeoutError (the prompt goes on running).
        """
        deadline = time.monotonic() + timeout
        pause = 0.02
        while True:
            with self._asking() as client:
                entry = client.result(prompt_id)
            if entry is not None:
                return _checked(entry)
            if time.monotonic() > deadline:
                raise TimeoutError(f"prompt {prompt_id} did not end in {timeout:g} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def run(self, prompt: dict[str, Any], timeout: float = 300.0) -> dict[str, Any]:
        """Queue a prompt and wait for it; raises what `queue` and `wait` raise.

        ComfyUI executes only nodes whose inputs changed since the last prompt.
        """
        return self.wait(self.queue(prompt), timeout)

    def cancel(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, or interrupt it if it runs."""
        with self._asking() as client:
            client.cancel([prompt_id])

    def free(self) -> None:
        """Forget cached node results and unload models, as soon as the queue is idle."""
        wanted = json.dumps({"unload_models": True, "free_memory": True}).encode()
        with self._asking() as client:
            client.request("/free", wanted, "application/json")

    def images(self, history: dict[str, Any]) -> dict[str, list[np.ndarray]]:
        """The pictures of a history entry by node id, each uint8 [H, W] or [H, W, C]."""
        found: dict[str, list[np.ndarray]] = {}
        for node_id, output in history.get("outputs", {}).items():
            for item in output.get("images", []):
                with self._asking() as client:
                    data = client.view(item)
                found.setdefault(node_id, []).append(np.asarray(Image.open(io.BytesIO(data))))
        return found

    def upload_image(self, image: Path | str | np.ndarray, name: str) -> str:
        """Put a picture into the input folder; returns the name for LoadImage.

        image: a file, sent as it is, or a uint8 array [H, W] or [H, W, C] with 3 or 4 channels,
        sent as PNG. Where another picture has the name, it gets another.
        """
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8:
                raise ValueError(f"the array is {image.dtype}, expected uint8")
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, format="PNG")
            data = buffer.getvalue()
        else:
            data = Path(image).read_bytes()
        with self._asking() as client:
            return client.upload(name, data, subfolder="")

    def log_text(self) -> str:
        """Everything the server has printed so far."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _await_answer(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                self.object_info()
            except (ServerGone, ServerRefused):
                time.sleep(0.1)
                continue
            # Somebody else's server could answer on this port; ours would have died of it.
            self._check_alive()
            return
        raise ServerFailed(f"ComfyUI did not answer within {timeout:g} s\n{self._log_tail()}")

    def _check_alive(self) -> None:
        if self._process is None:
            raise ServerFailed("the server is not running")
        code = self._process.poll()
        if code is not None:
            raise ServerFailed(f"ComfyUI ended with exit code {code}\n{self._log_tail()}")

    def _log_tail(self) -> str:
        return f"--- end of {self.log.name}:\n{self.log_text()[-LOG_TAIL:]}"

    @contextlib.contextmanager
    def _asking(self) -> Iterator[ComfyClient]:
        """The client; if the server has gone, what is said is why, with the log."""
        if self._client is None:
            raise ServerFailed("the server was not started")
        try:
            yield self._client
        except ServerGone:
            self._check_alive()
            raise


def execution_seconds(history: dict[str, Any]) -> float:
    """How long the server worked on the prompt of a history entry."""
    messages = dict(history["status"]["messages"])
    started, ended = (messages[f"execution_{x}"]["timestamp"] for x in ("start", "success"))
    return (ended - started) / 1e3


def host_environment() -> dict[str, str]:
    """The environment for a ComfyUI process: offline, unbuffered, nothing of ours on its path."""
    environment = dict(os.environ)
    # ComfyUI's `nodes.py` must never be hidden by a `nodes` folder of ours.
    environment.pop("PYTHONPATH", None)
    environment.update(PYTHONUNBUFFERED="1", HF_HUB_OFFLINE="1", DO_NOT_TRACK="1")
    return environment


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    status = entry["status"]
    messages = dict(status.get("messages", []))
    if "execution_error" in messages:
        raise ExecutionFailed(messages["execution_error"])
    if "execution_interrupted" in messages:
        raise Interrupted(messages["execution_interrupted"])
    if status.get("status_str") != "success":
        raise ExecutionFailed({"exception_message": json.dumps(status)})
    return entry


def free_port() -> int:
    """One of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        if os.name == "nt":
            # The keeper kills ComfyUI when its standard input closes.
            if process.stdin is not None:
                process.stdin.close()
        else:
            # The group's number is that of its first process, also when that one has ended.
            os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError, OSError):
        pass
