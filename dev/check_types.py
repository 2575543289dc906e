"""`python -m dev.check_types`: mypy on `prior_tools` and `nodes`, whatever the checkout is called.

The nodes import `..prior_tools`: they are modules of a package that is the repository's root. That
folder's name need not be an identifier, and beside it may lie anything. So mypy is shown a folder
with nothing in it but a link of a known name to the root.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "scp_diff"


def main(arguments: list[str]) -> int:
    """Run mypy, with further arguments of its own, and return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / PACKAGE
        link.symlink_to(ROOT, target_is_directory=True)
        mypy = [sys.executable, "-m", "mypy", f"--config-file={ROOT / 'pyproject.toml'}"]
        mypy += [f"--cache-dir={ROOT / '.cache' / 'mypy'}"]
        for part in ("prior_tools", "nodes"):
            mypy += ["--package", f"{PACKAGE}.{part}"]
        # From the folder of the link: paths then begin with its name, in mypy's cache as well, and
        # neither an error nor the cache depends on where the folder happens to lie.
        done = subprocess.run(
            [*mypy, *arguments],
            cwd=folder,
            env={**os.environ, "MYPYPATH": folder},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    for line in done.stdout.splitlines():
        print(line.removeprefix(f"{PACKAGE}{os.sep}"))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
