"""Runs a command until it ends or whoever started us is gone, however that came about.

    python keeper.py SCRATCH COMMAND [ARGUMENT ...]

The starter holds the other end of our standard input: it closes when the starter ends, even by
SIGKILL, which clean-up code in the starter could not promise. Then the command is killed, the
folder SCRATCH removed, and last our process group killed, with all that the command has started in
it and ourselves. If we are killed before, the kernel kills the command (on Linux), and the starter
may kill the group. Our first line on standard output is the group's number, its end is ours; what
the command prints goes to standard error.
"""

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


def main() -> None:
    """Run the command of our arguments."""
    scratch, *command = sys.argv[1:]
    if os.name != "nt":
        # Not as a child of the starter's: Ray kills those when the starter ends, before they could
        # do anything.
        if os.fork():
            os._exit(0)
        os.setsid()
    print(os.getpid(), flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    # Before there is a second thread: what runs between fork and exec must not meet its locks.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=2,
        preexec_fn=_dying_with(os.getpid()) if sys.platform == "linux" else None,
    )

    def watch() -> None:
        # os.read, because a thread blocked in sys.stdin.read would spoil the interpreter's exit.
        while os.read(0, 1):
            pass
        child.kill()

    threading.Thread(target=watch, daemon=True).start()
    try:
        print(f"exit code {child.wait()}", file=sys.stderr, flush=True)
    finally:
        child.kill()
        child.wait()
        shutil.rmtree(scratch, ignore_errors=True)
        # Also after a tidy end: a child of the command may outlive it.
        if os.name != "nt":
            os.killpg(0, signal.SIGKILL)


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


if __name__ == "__main__":
    main()
