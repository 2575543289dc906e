"""Runs a command until it ends or whoever started us is gone, however that came about.

    python keeper.py SCRATCH COMMAND [ARGUMENT ...]

The starter holds the other end of our standard input: it closes when the starter ends, even by
SIGKILL, which clean-up code in the starter could not promise. Then the command and all of its
process group are killed, and the folder SCRATCH is removed. If we ourselves are killed, the kernel
kills the command (on Linux).
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the command of our arguments; returns its exit code."""
    scratch, *command = sys.argv[1:]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    # Before there is a second thread: what runs between fork and exec must not meet its locks.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=os.name != "nt",
        preexec_fn=_dying_with(os.getpid()) if sys.platform == "linux" else None,
    )

    def watch() -> None:
        # os.read, because a thread blocked in sys.stdin.read would spoil the interpreter's exit.
        while os.read(0, 1):
            pass
        _kill(child)

    threading.Thread(target=watch, daemon=True).start()
    try:
        return child.wait()
    finally:
        # Also after a tidy end: a child of the command may outlive it in the group.
        _kill(child)
        child.wait()
        shutil.rmtree(scratch, ignore_errors=True)


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(1)


def _dying_with(parent: int) -> Callable[[], None]:
    """What makes a new process die with the thread that made it, this process's first."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            # The parent ended before the kernel was asked.
            os._exit(1)

    return ask


def _kill(child: "subprocess.Popen[bytes]") -> None:
    if os.name == "nt":
        child.kill()
        return
    # The group's number is that of its first process, also when that one has ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
