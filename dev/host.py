"""Runs Python inside ComfyUI's own process environment, without a server."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dev.server import host_environment

if TYPE_CHECKING:
    from typing import Self

CHILD = Path(__file__).with_name("host_child.py")


class HostFailed(RuntimeError):
    """The snippet raised or its process died; the message holds the traceback and the output."""


class Host:
    """A process in which `import comfy`, `folder_paths` and `nodes` are ComfyUI's own.

    comfy_dir: ComfyUI's folder (`dev.comfyui.ensure_comfyui()`).
    pack: the node pack's folder, imported by its path as ComfyUI does it; None for no pack.

    The process starts with the first `run` (about eight seconds) and serves all further ones, so
    what a snippet changes in ComfyUI's modules or in torch's global generator, the next one finds
    changed. As a context manager it ends with the block. Models run on the CPU.
    """

    def __init__(self, comfy_dir: Path, pack: Path | None = None) -> None:
        self.comfy_dir = Path(comfy_dir).resolve()
        self.pack = None if pack is None else Path(pack).resolve()
        self._process: subprocess.Popen[str] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, code: str | Path, *args: Any, timeout: float = 120.0) -> Any:
        """Run a snippet and return what it left in `result`, through JSON.

        code: Python source (indented as a whole or not), or the Path of a file with it. It finds
        these names defined, and must set `result`:
            args: the list of `args`;
            pack: the pack's module;
            pack_module: a function, `pack_module("prior_tools.draw")` is that module of the pack.
        args: values that JSON can hold, and paths (they arrive as text). Arrays go through files.
        timeout: seconds, the start of the process included.

        Gradients are off, as in the server. Raises HostFailed, or TimeoutError (which ends the
        process; the next `run` starts another).
        """
        folder, process = self._ensure_process()
        self._count += 1
        answer = folder / f"result-{self._count}.json"
        script = code
        if isinstance(code, str):
            script = folder / f"snippet-{self._count}.py"
            script.write_text(textwrap.dedent(code), encoding="utf-8")
        log = folder / "output.log"
        printed_before = log.stat().st_size
        task = {"script": str(Path(script).resolve()), "args": args, "answer": str(answer)}
        try:
            process.stdin.write(json.dumps(task, default=str) + "\n")
            process.stdin.flush()
        except OSError:
            pass  # It has died; the next lines say so.
        deadline = time.monotonic() + timeout
        while not answer.exists():
            if process.poll() is not None:
                printed = _text_from(log, printed_before)
                exit_code = process.returncode
                self.close()
                raise HostFailed(f"the process ended with exit code {exit_code}\n{printed}")
            if time.monotonic() > deadline:
                self.close()
                raise TimeoutError(f"the snippet did not end in {timeout:g} s")
            time.sleep(0.005)
        said = json.loads(answer.read_text(encoding="utf-8"))
        if "error" in said:
            raise HostFailed(f"{said['error']}\n{_text_from(log, printed_before)}")
        return said["result"]

    def close(self) -> None:
        """End the process; harmless when there is none."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _ensure_process(self) -> tuple[Path, subprocess.Popen[str]]:
        if self._process is None or self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="scp-host-")
            folder = Path(self._scratch.name)
            command = [sys.executable, str(CHILD), str(self.comfy_dir), str(folder / "base")]
            if self.pack is not None:
                command.append(str(self.pack))
            with (folder / "output.log").open("wb") as log:
                # The process ends by itself when its standard input closes.
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=host_environment(),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                )
        return Path(self._scratch.name), self._process


def run_in_host(
    code: str | Path,
    *args: Any,
    comfy_dir: Path,
    pack: Path | None = None,
    timeout: float = 120.0,
) -> Any:
    """Run one snippet in a process of its own: see `Host.run`."""
    with Host(comfy_dir, pack) as host:
        return host.run(code, *args, timeout=timeout)


def _text_from(log: Path, position: int) -> str:
    return log.read_bytes()[position:].decode("utf-8", errors="replace")
