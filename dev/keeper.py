"""Runs a command and kills it when whoever started us is gone, however that came about.

    python keeper.py COMMAND [ARGUMENT ...]

The starter holds the other end of our standard input: it closes when the starter ends, even by
SIGKILL. Clean-up code in the starter could not promise that.
"""

import os
import subprocess
import sys
import threading


def main() -> int:
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def watch() -> None:
        # os.read, because a thread blocked in sys.stdin.read would spoil the interpreter's exit.
        while os.read(0, 1):
            pass
        child.kill()

    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
