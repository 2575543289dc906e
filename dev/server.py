"""Starts a real ComfyUI server and drives it over its HTTP interface."""

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
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from typing import Self

KEEPER = Path(__file__).with_name("keeper.py")
LOG_NAME = "comfyui-server.log"
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

    def start(self, timeout: float = 120.0) -> None:
        """Start the server and return when it answers.

        Raises ServerFailed when it dies or does not answer within `timeout` seconds.
        """
        if self._process is not None:
            raise RuntimeError("the server is running already")
        self.port = _free_port()
        command = [self.python, str(KEEPER), self.python, str(self.comfy_dir / "main.py")]
        command += ["--cpu", "--listen", "127.0.0.1", "--port", str(self.port)]
        command += ["--disable-auto-launch", "--base-directory", str(self.base)]
        # The database would otherwise lie beside ComfyUI's own folder.
        command += ["--database-url", f"sqlite:///{(self.base / 'user' / 'comfyui.db').as_posix()}"]
        command += self.extra_args
        environment = host_environment()
        if self.threads is not None:
            environment["OMP_NUM_THREADS"] = str(self.threads)
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
        return self._get_json("/object_info", timeout=60)

    def queue(self, prompt: dict[str, Any]) -> str:
        """Queue an API-format prompt; returns its id. Raises PromptRejected when it is invalid."""
        # Without a client_id the history would lack the outputs of cached nodes.
        body = json.dumps({"prompt": prompt, "client_id": uuid.uuid4().hex}).encode()
        try:
            answer = self._open("/prompt", body, {"Content-Type": "application/json"})
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code != 400:
                raise ServerFailed(f"POST /prompt: HTTP {error.code}\n{text}") from error
            raise PromptRejected(json.loads(text)) from None
        return json.loads(answer)["prompt_id"]

    def wait(self, prompt_id: str, timeout: float = 300.0) -> dict[str, Any]:
        """Wait until the prompt has run; returns its history entry.

        Raises ExecutionFailed, Interrupted, TimeoutError (the prompt goes on running) or
        ServerFailed.
        """
        deadline = time.monotonic() + timeout
        pause = 0.02
        while True:
            entry = self._get_json(f"/history/{prompt_id}").get(prompt_id)
            # Entries without a status have not ended: later releases may list running prompts.
            if entry is not None and entry.get("status"):
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

    def interrupt(self, prompt_id: str | None = None) -> None:
        """Interrupt the running prompt, or only if it is `prompt_id`."""
        self._post_json("/interrupt", {} if prompt_id is None else {"prompt_id": prompt_id})

    def free(self) -> None:
        """Forget cached node results and unload models, as soon as the queue is idle."""
        self._post_json("/free", {"unload_models": True, "free_memory": True})

    def images(self, history: dict[str, Any]) -> dict[str, list[np.ndarray]]:
        """The pictures of a history entry by node id, each uint8 [H, W] or [H, W, C]."""
        found: dict[str, list[np.ndarray]] = {}
        for node_id, output in history.get("outputs", {}).items():
            for item in output.get("images", []):
                query = {key: item.get(key, "") for key in ("filename", "subfolder", "type")}
                data = self._open("/view?" + urllib.parse.urlencode(query))
                found.setdefault(node_id, []).append(np.asarray(Image.open(io.BytesIO(data))))
        return found

    def upload_image(self, image: Path | str | np.ndarray, name: str) -> str:
        """Put a picture into the input folder; returns the name for LoadImage.

        image: a file, sent as it is, or a uint8 array [H, W] or [H, W, C] with 3 or 4 channels,
        sent as PNG. A picture of the same name is replaced.
        """
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8:
                raise ValueError(f"the array is {image.dtype}, expected uint8")
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, format="PNG")
            data = buffer.getvalue()
        else:
            data = Path(image).read_bytes()
        body, content_type = _multipart({"overwrite": "true", "type": "input"}, name, data)
        answer = json.loads(self._open("/upload/image", body, {"Content-Type": content_type}))
        return "/".join(part for part in (answer.get("subfolder"), answer["name"]) if part)

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
            except (urllib.error.URLError, OSError):
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

    def _get_json(self, path: str, timeout: float = 30.0) -> dict[str, Any]:
        return json.loads(self._open(path, timeout=timeout))

    def _post_json(self, path: str, body: dict[str, Any]) -> None:
        self._open(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _open(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30.0,
    ) -> bytes:
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {})
        try:
            with _OPENER.open(request, timeout=timeout) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            raise
        except OSError:
            # Says why, with the log, if the server has gone.
            self._check_alive()
            raise


def execution_seconds(history: dict[str, Any]) -> float:
    """How long the server worked on the prompt of a history entry."""
    messages = dict(history["status"]["messages"])
    started, ended = (messages[f"execution_{x}"]["timestamp"] for x in ("start", "success"))
    return (ended - started) / 1e3


# A proxy from the environment must not come between us and our own machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


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


def _free_port() -> int:
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


def _multipart(fields: dict[str, str], filename: str, data: bytes) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    lines = b""
    for key, value in fields.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n'
        lines += head.encode() + value.encode() + b"\r\n"
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="image"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = lines + head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
