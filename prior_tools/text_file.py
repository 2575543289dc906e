"""Text files that people write."""

from __future__ import annotations

from pathlib import Path

from .errors import PriorError

# MB. The largest list of classes has some thousand lines.
_MOST = 4


def read_text(path: Path, what: str, most: int = _MOST) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    what: what the file is called in errors, before its name; such as "--map". Raises PriorError if
    it is in another encoding or has more than `most` MB, OSError if it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(most * 10**6 + 1)
    if len(data) > most * 10**6:
        raise PriorError(f"{what} {path.name} has more than {most} MB; expected a short text file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PriorError(
            f"{what} {path.name} is not text in UTF-8 (byte 0x{data[error.start]:02x} in line "
            f"{line}); if an editor wrote it in another encoding, such as Latin-1, save it as UTF-8"
        ) from error


def named_file(text: str) -> Path | None:
    """The file that a text on the command line names; None where it names none."""
    path = Path(text)
    try:
        return path if path.is_file() else None
    except (OSError, ValueError):
        # Entries with a slip of the pen may be longer than any file's name.
        return None
