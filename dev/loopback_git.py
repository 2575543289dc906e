"""A git repository on this machine, behind a real HTTP address."""

from __future__ import annotations

import functools
import os
import subprocess
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dev.local_server import LOCAL, LocalServer

# Tracked content only matters here: speed before size, and no identity of the developer's.
_SETTINGS = {
    "core.bare": "false",
    "core.compression": "0",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "user.name": "loopback",
    "user.email": "loopback@example.invalid",
}


def clean_git_environment() -> dict[str, str]:
    """The environment without git's own variables and without anybody's settings.

    Inside a git hook, variables such as GIT_INDEX_FILE point at the repository that is being
    committed to: a command of ours would write there.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1")
    return environment


def commit_worktree(worktree: Path, bare: Path) -> Path:
    """Make `bare` a repository whose branch `main` is one commit of the working tree as it is.

    Changed and new files are in it, ignored and deleted ones are not. The working tree's own
    repository is neither read nor written: the commit is made with `bare` alone.

    Raises CalledProcessError when git does.
    """
    _git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
    here = [f"--git-dir={bare}", f"--work-tree={worktree}", *settings]
    _git(*here, "add", "--all")
    _git(*here, "commit", "--quiet", "--message=The working tree")
    # One pack, and the lists that a plain file server needs to be cloned from.
    _git(*here, "repack", "-a", "-d", "-q")
    _git(*here, "update-server-info")
    return bare


def tracked_files(bare: Path) -> list[str]:
    """The files of the branch `main`, as paths from its root."""
    names = _git(f"--git-dir={bare}", "ls-tree", "-r", "-z", "--name-only", "main")
    return [name for name in names.split("\0") if name]


class LoopbackGit(LocalServer):
    """Serves a bare repository on a free local port while the context is open."""

    def __init__(self, bare: Path) -> None:
        self.bare = Path(bare).resolve()
        handler = functools.partial(_QuietFiles, directory=str(self.bare.parent))
        super().__init__(ThreadingHTTPServer(LOCAL, handler))

    @property
    def url(self) -> str:
        """Of the repository."""
        return f"{self.address}/{self.bare.name}"

    def clone(self, target: Path) -> Path:
        """Clone it into `target` over HTTP; returns `target`."""
        # Git reads the proxy's settings too, and must not ask a proxy for our own machine.
        _git("-c", "http.proxy=", "clone", "--quiet", self.url, str(target))
        return target

    def standing_in_for(self, address: str) -> dict[str, str]:
        """Environment variables with which git fetches `address` from here."""
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{self.url}.insteadOf",
            "GIT_CONFIG_VALUE_0": address,
        }


class _QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        env=clean_git_environment(),
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=120,
    )
    return done.stdout
