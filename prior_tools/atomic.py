"""Files appear whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# How the temporary names are shaped, for those who remove what a killed process left.
TEMPORARY_NAMES = ".scp-*.part"


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Let an OSError name `path`, the file that was asked for, and no temporary one."""
    try:
        yield
    except OSError as error:
        # Those of other files, which may be read meanwhile, keep their names.
        ours = error.filename is None or Path(error.filename).match(TEMPORARY_NAMES)
        if error.errno is None or not ours:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        # To be told from the file itself being there.
        reason = os.strerror(errno.ENOTDIR)
        raise NotADirectoryError(errno.ENOTDIR, reason, str(folder)) from error


@contextmanager
def _temporary_beside(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A temporary file in the folder of `path`, gone afterwards unless it was moved."""
    # Short whatever `path` is called: a name that a folder takes may have no room for more letters.
    temporary = path.with_name(TEMPORARY_NAMES.replace("*", secrets.token_hex(8)))
    # As readable as any other new file. The kernel takes the umask off: asking for it would mean to
    # set it, for all threads.
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)


def _flush(file: BinaryIO, sync: bool = True) -> None:
    """To the disk, and closed: a file that is open cannot be moved on Windows."""
    file.flush()
    if sync:
        os.fsync(file.fileno())
    file.close()


@contextmanager
def new_file(path: Path | str, sync: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `path` in one step at the end; on any error it is gone.

    An old file is replaced. Raises OSError with `path` as its file name.

    sync: whether it is on the disk at the end; else a loss of power within a minute may leave it
    empty, and the caller finds that out.
    """
    path = Path(path)
    _make_folder(path.parent)
    with _errors_name(path), _temporary_beside(path) as (temporary, file):
        yield file
        _flush(file, sync)
        temporary.replace(path)


def write_bytes(path: Path | str, data: bytes, sync: bool = True) -> None:
    """Write `data` to `path`, replacing it in one step; on any error an old file stays.

    Raises OSError with `path` as its file name. `sync`: see `new_file`.
    """
    with new_file(path, sync) as file:
        file.write(data)


def write_new_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path` only if nothing is there; raises FileExistsError otherwise.

    The check and the creation are one step, so that of two writers to one name one fails and
    neither loses its data to the other. Raises OSError with `path` as its file name.
    """
    path = Path(path)
    _make_folder(path.parent)
    with _errors_name(path), _temporary_beside(path) as (temporary, file):
        file.write(data)
        _flush(file)
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:
            # No hard links on this file system (FAT, some network shares): create the name
            # exclusively, then replace the empty file.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            try:
                temporary.replace(path)
            except BaseException:
                path.unlink()
                raise
