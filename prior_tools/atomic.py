"""Files appear whole or not at all."""

import errno
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

# How the temporary names are shaped. A digest of the name that the file is to have tells whose
# leftover one is.
TEMPORARY_NAMES = ".scp-*.part"


def _temporary_names(path: Path, which: str) -> str:
    # Short whatever `path` is called: a name that a folder takes may have no room for more letters.
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]
    return TEMPORARY_NAMES.replace("*", f"{digest}-{which}")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed processes, in subfolders as well.

    Only in a folder to which no other process is writing.
    """
    for path in folder.rglob(TEMPORARY_NAMES):
        with suppress(OSError):
            path.unlink()


def remove_leftovers_of(path: Path | str) -> None:
    """Remove what processes left that were killed while they wrote `path`.

    What is being written stays, and so does what is left of other files. Where the file system
    knows no locks, all stays.
    """
    path = Path(path)
    for leftover in path.parent.glob(_temporary_names(path, "*")):
        with suppress(OSError):
            if sys.platform == "win32":
                # Fails for a file that is open.
                leftover.unlink()
                continue
            with leftover.open("r+b") as file:
                _lock(file.fileno(), wait=False)
                leftover.unlink()


def _lock(handle: int, wait: bool) -> None:
    """Let others see that a file is in use until it is closed, be it by the end of this process.

    Raises OSError where the file system knows no locks, and without `wait` if others use the file.
    """
    if sys.platform != "win32":
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


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


def _create_beside(path: Path) -> tuple[Path, int]:
    """A new temporary file in the folder of `path`: its name and the open file."""
    # As readable as any other new file. The kernel takes the umask off: asking for it would mean to
    # set it, for all threads.
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.with_name(_temporary_names(path, secrets.token_hex(8)))
        handle = os.open(temporary, flags, 0o666)
        with suppress(OSError):
            _lock(handle, wait=True)
        # Before it was locked, it may have been taken for a leftover.
        if temporary.exists():
            return temporary, handle
        os.close(handle)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A temporary file in the folder of `path`, gone afterwards unless it was moved."""
    temporary, handle = _create_beside(path)
    # Keeps the lock when the file is closed, to be moved. Windows moves no file that is open.
    lock = None if sys.platform == "win32" else os.dup(handle)
    try:
        with os.fdopen(handle, "wb") as file:
            yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


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
