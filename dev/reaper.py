"""Kills a process group when whoever started us is gone, however that came about.

    python reaper.py GROUP

For programs that put themselves into the background, where `dev/keeper.py` cannot hold them. The
starter holds the other end of our standard input, and has the group killed by closing it.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    while os.read(0, 1):
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(int(sys.argv[1]), signal.SIGKILL)


if __name__ == "__main__":
    main()
