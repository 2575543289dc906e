"""What a process leaves that is killed while it writes a file."""

import os
import subprocess
import sys
from pathlib import Path

from prior_tools import atomic

# Of the module alone, without all that the package imports.
_DIES = """
import os, runpy, sys
with runpy.run_path(sys.argv[1])["new_file"](sys.argv[2]) as file:
    file.write(b"half")
    file.flush()
    os._exit(9)
"""


def killed_while_writing(path: Path) -> Path:
    """The temporary file of a process that died while it wrote `path`."""
    before = set(path.parent.iterdir()) if path.parent.is_dir() else set()
    ended = subprocess.run([sys.executable, "-c", _DIES, atomic.__file__, os.fspath(path)])
    assert ended.returncode == 9
    (left,) = set(path.parent.iterdir()) - before
    return left
