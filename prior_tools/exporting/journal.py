"""What an export is, and what of it is done: the files by which it goes on, and a reader finds out.

`export.json` is written first and says what the export is. `manifest.jsonl` has a line for each
image whose files are there; a line that a kill cut off is dropped, and its image made again, as is
one whose files are not as long as they were: they were not yet on the disk at a loss of power.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..atomic import new_file, remove_leftovers_of, write_new_bytes
from ..errors import PriorError, listing
from ..json_values import items as listed
from ..json_values import parsed, text
from .items import Item

RECORD_NAME = "export.json"
MANIFEST_NAME = "manifest.jsonl"

_HASH = re.compile("[0-9a-f]{64}")


def begin_or_go_on(folder: Path, export: Mapping[str, Any]) -> None:
    """Record what the export is, or compare it with the record.

    Raises PriorError that says what has changed, or that the folder holds files of others.
    """
    path = folder / RECORD_NAME
    if not path.exists():
        remove_leftovers_of(path)
        if there := sorted(p.name for p in folder.iterdir()):
            raise PriorError(
                f"{folder} holds {listing(there, 3)} already, but no {RECORD_NAME}, so it is not "
                "of this command; choose another --out"
            )
        write_new_bytes(path, (json.dumps(export, indent=1) + "\n").encode())
        return
    try:
        recorded = {**parsed(path.read_bytes())}
    except (ValueError, TypeError) as error:
        raise PriorError(f"{path} is no record of an export ({error}); remove it") from error
    # As JSON has it.
    now = json.loads(json.dumps(export))
    changed = [
        _change(name, recorded.get(name), now.get(name))
        for name in sorted({*recorded, *now})
        if recorded.get(name) != now.get(name)
    ]
    if changed:
        raise PriorError(
            f"{folder} holds another export: {listing(changed, 5)}; choose another --out, or start "
            "the command as before to go on"
        )


def fingerprint(items: Iterable[Item]) -> str:
    """Of the files that images are exported from: their names, sizes and times of change."""
    digest = hashlib.sha256()
    for item in items:
        for path in (item.image.image, item.image.label):
            state = path.stat()
            digest.update(f"{state.st_size} {state.st_mtime_ns} ".encode())
        digest.update(f"{item.name}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


class Journal:
    """The lines of an export.

    Attributes:
        done: names of the images whose files are there.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there; raises PriorError if a line is none."""
        self._folder, self._path = folder, folder / MANIFEST_NAME
        self.done: set[str] = set()
        wanted, found = [], 0
        for number, line in enumerate(self._raw(), 1):
            found = number
            if line.endswith(b"\n"):
                name, sizes = self._sizes(line, number)
                if name not in self.done and self._are_there(sizes):
                    self.done.add(name)
                    wanted.append(number)
        if len(wanted) != found:
            self._keep({*wanted})

    def lines(self) -> Iterator[dict[str, Any]]:
        """Each line, read when it is asked for."""
        for line in self._raw():
            yield parsed(line)

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Note images whose files are there."""
        found = list(lines)
        with self._path.open("ab") as file:
            file.write("".join(json.dumps(line) + "\n" for line in found).encode())
        self.done.update(line["image"] for line in found)

    def forget(self, names: Collection[str]) -> None:
        """Drop the lines of images that are made again."""
        if not self.done.isdisjoint(names):
            numbers = [n for n, line in enumerate(self.lines(), 1) if line["image"] not in names]
            self._keep({*numbers})
            self.done -= {*names}

    def _keep(self, numbers: Collection[int]) -> None:
        with new_file(self._path) as file:
            for number, line in enumerate(self._raw(), 1):
                if number in numbers:
                    file.write(line)

    def _raw(self) -> Iterator[bytes]:
        if self._path.exists():
            with self._path.open("rb") as file:
                yield from file

    def _are_there(self, sizes: Mapping[str, int]) -> bool:
        try:
            return all((self._folder / file).stat().st_size == n for file, n in sizes.items())
        except OSError:
            return False

    def _sizes(self, line: bytes, number: int) -> tuple[str, dict[str, int]]:
        """An image's name, and the size of each of its files."""
        try:
            entry = parsed(line)
            files, sizes = (listed(entry[name], name) for name in ("files", "bytes"))
            return text(entry["image"], "image"), dict(zip(files, sizes, strict=True))
        except (ValueError, KeyError, TypeError) as error:
            raise PriorError(
                f"line {number} of {self._path} is no line of a manifest ({error}); remove it"
            ) from error


def _change(name: str, before: object, now: object) -> str:
    if all(isinstance(value, str) and _HASH.fullmatch(value) for value in (before, now)):
        return f"{name} have changed since"
    return f"{name} was {_shown(before)} and is {_shown(now)}"


def _shown(value: object) -> str:
    told = json.dumps(value, ensure_ascii=False)
    return told if len(told) <= 60 else f"{told[:60]}..."
