"""Files appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def _temporary_beside(path: Path, data: bytes) -> Iterator[Path]:
    """A flushed temporary file in the folder of `path`, gone afterwards unless it was moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; a model file should be as readable as any other new one.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`, replacing it in one step; on any error an old file stays."""
    path = Path(path)
    with _temporary_beside(path, data) as temporary:
        temporary.replace(path)


def write_new_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path` only if nothing is there; raises FileExistsError otherwise.

    The check and the creation are one step, so that of two writers to one name one fails and
    neither loses its data to the other.
    """
    path = Path(path)
    with _temporary_beside(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:
            # No hard links on this file system (FAT, some network shares): create the name
            # exclusively, then replace the empty file.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            temporary.replace(path)
