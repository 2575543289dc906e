"""Large JSON files, read an entry at a time: a list of a dataset's images is some hundred MB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

# Characters that are read at once, and that a single entry may have.
_CHUNK = 2**16
_MOST_OF_AN_ENTRY = 2**27


def entries_of_lists(path: Path) -> Iterator[tuple[str, Any]]:
    """(name, entry) of each entry of the lists in a JSON object, in the file's order.

    Other values of the object are passed over. Where the whole file is a list, the name is "".
    Memory is that of the largest entry.

    Raises ValueError, which says where, if the file is no such JSON, and OSError if it cannot be
    read.
    """
    with path.open(encoding="utf-8-sig") as file:
        text = _Text(file)
        if text.next() == "[":
            yield from (("", entry) for entry in _entries(text))
        else:
            yield from _entries_of_object(text)
        if text.next():
            raise ValueError("there is more after its end")


def _entries_of_object(text: _Text) -> Iterator[tuple[str, Any]]:
    text.take("{")
    while text.next() != "}":
        name = text.value()
        if not isinstance(name, str):
            raise ValueError(f"it has {name!r:.40} in place of a name")
        text.take(":")
        if text.next() == "[":
            yield from ((name, entry) for entry in _entries(text))
        else:
            text.value()
        if text.next() != ",":
            break
        text.take(",")
    text.take("}")


def _entries(text: _Text) -> Iterator[Any]:
    text.take("[")
    if text.next() != "]":
        yield text.value()
        while text.next() == ",":
            text.take(",")
            yield text.value()
    text.take("]")


class _Text:
    """A file's text from a place on, of which only what is being looked at is held."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._held, self._at, self._passed = "", 0, 0
        self._decoder = json.JSONDecoder()

    def next(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more(_CHUNK):
                return ""

    def take(self, character: str) -> None:
        found = self.next()
        if found != character:
            raise ValueError(
                f"character {self._passed + self._at} is {found!r}, expected {character!r}"
            )
        self._at += 1

    def value(self) -> Any:
        """The value that begins here."""
        self.next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._held, self._at)
                # A number may go on.
                if end < len(self._held) or not self._more(_CHUNK):
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                place = self._passed + error.pos
                if len(self._held) - self._at > _MOST_OF_AN_ENTRY:
                    raise ValueError("an entry of it is no JSON, or too long") from error
                if not self._more(max(_CHUNK, len(self._held) - self._at)):
                    raise ValueError(f"character {place}: {error.msg.lower()}") from error
            except RecursionError as error:
                raise ValueError("it is nested too deeply") from error

    def _more(self, count: int) -> bool:
        """Read on; whether there was more."""
        read = self._file.read(count)
        self._passed += self._at
        self._held, self._at = self._held[self._at :] + read, 0
        return bool(read)
