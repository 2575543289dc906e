"""What a run is, and which of its images are there: the files by which it goes on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..atomic import write_bytes, write_new_bytes
from ..errors import PriorError, counted, listing
from ..json_values import items, parsed, table, text
from ..labels.palettes import PALETTES, Palette
from ..labels.reading import LabelRules
from .jobs import Job
from .label_maps import LabelMap
from .node_warnings import NodeWarning, WarningCounts
from .prepared_workflow import PreparedWorkflow
from .workflow_file import Prompt, title_of

RUN_NAME = "generate.json"
MANIFEST_NAME = "manifest.jsonl"
_MOST_CHANGES = 5

_ENTRY = ("file", "label_map", "k", "seed", "index_in_batch", "batch", "settings", "warnings")
_WARNING = [field.name for field in fields(NodeWarning)]


class Manifest:
    """The images that are done, a JSON line each, in the output folder.

    An image counts as done when its line and its file are there. The file comes first, so a kill
    in between costs one image, and a line that a kill cut off is dropped.

    folder: of the output.
    settings: of the run, by "title.input"; each line repeats them.
    done: names of the images.
    warnings: of these images.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Read what is there. Raises PriorError if a line is no entry."""
        self._folder, self._settings = folder, dict(settings)
        self._lock = threading.Lock()
        self._path = folder / MANIFEST_NAME
        lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
        entries = {}
        for number, line in enumerate(lines, start=1):
            if line.endswith(b"\n"):
                entry = self._entry(line, number)
                if _is_file(folder / entry["file"]):
                    entries[entry["file"]] = line
        if list(entries.values()) != lines:
            write_bytes(self._path, b"".join(entries.values()))
        self.done = set(entries)
        self.warnings = WarningCounts()
        for line in entries.values():
            self._count(parsed(line))

    def add(self, job: Job, images: Sequence[bytes], warnings: Sequence[NodeWarning]) -> int:
        """Write a job's images (files, one for each label map), then a line for each of them.

        An image that is done already is left as it is. The warnings are of all of the images.
        Returns how many were new. Threads may call it at once.
        """
        with self._lock:
            new = [
                (self._row(job, index, warnings), image)
                for index, (name, image) in enumerate(zip(job.files, images, strict=True))
                if name not in self.done
            ]
            for row, image in new:
                write_bytes(self._folder / row["file"], image)
            with self._path.open("ab") as file:
                file.write("".join(json.dumps(row) + "\n" for row, _ in new).encode())
                file.flush()
                os.fsync(file.fileno())
            for row, _ in new:
                self.done.add(row["file"])
                self._count(row)
            return len(new)

    def _count(self, row: Mapping[str, Any]) -> None:
        self.warnings.add(row["file"], (NodeWarning(**warning) for warning in row["warnings"]))

    def _row(self, job: Job, index: int, warnings: Sequence[NodeWarning]) -> dict[str, Any]:
        """What an image was made of: the one of the job's label map at `index`."""
        return {
            "file": job.files[index],
            "label_map": job.label_maps[index].name,
            "k": job.k,
            "seed": job.seed,
            "index_in_batch": index,
            "batch": len(job.label_maps),
            "settings": self._settings,
            "warnings": [asdict(warning) for warning in warnings],
        }

    def _entry(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry: dict[str, Any] = table(parsed(line), _ENTRY, "the entry")
            text(entry["file"], "file")
            for warning in items(entry["warnings"], "warnings"):
                for part in table(warning, _WARNING, "a warning").values():
                    text(part, "a warning")
            return entry
        except ValueError as error:
            raise PriorError(
                f"line {number} of {self._path} is no entry of a manifest ({error}); remove it"
            ) from error


def begin_or_go_on(folder: Path, run: dict[str, Any], files: Iterable[str]) -> str:
    """Record what the run is, or compare it with the record; returns the run's id.

    A run that ended before its first image, as by a fault of its workflow, leaves no images that
    could be of something else: then a changed one takes its place.

    Args:
        folder: of the output.
        run: all that the images depend on, see `describe_run`.
        files: names of all images to come, of which none may be there in a new run.

    Raises PriorError that says what has changed, or that the folder holds files of others.
    """
    path = folder / RUN_NAME
    if path.exists():
        try:
            recorded = parsed(path.read_bytes(), constants=True)
            changed = changes(recorded, run)
            run_id = str(recorded["id"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PriorError(f"{path} is no record of a run ({error}); remove it") from error
        if not changed:
            return run_id
        if any(folder.rglob("*.png")):
            raise PriorError(
                f"{folder} holds images of another run: {listing(changed, _MOST_CHANGES)}; "
                "choose another --out, or start the command as before to go on"
            )
        path.unlink()
    strangers = [name for name in (MANIFEST_NAME, *files) if (folder / name).exists()]
    if strangers:
        raise PriorError(
            f"{folder} holds {listing(strangers, 3)} already, but no {RUN_NAME}, so they are not "
            "of this command; choose another --out"
        )
    run_id = uuid.uuid4().hex
    write_new_bytes(path, _as_file({"id": run_id, **run, "warnings": []}))
    return run_id


def record_summary(
    folder: Path,
    warnings: WarningCounts,
    balance: Sequence[Mapping[str, Any]] | None = None,
    servers: Sequence[Mapping[str, Any]] = (),
) -> list[Mapping[str, Any]]:
    """Put what came of the run so far into its record; only while `only_one` holds the folder.

    It does not count when a run is compared with its record.

    Args:
        warnings: of the images that are there.
        balance: shares of the classes, see `balance_table`; None where they were not asked for.
        servers: that made images, see `Crew.record`.

    Returns the servers that are recorded now: also those of commands before.
    """
    path = folder / RUN_NAME
    recorded = parsed(path.read_bytes(), constants=True)
    summary = {"warnings": warnings.summary(), "balance": balance}
    before = recorded.get("servers", [])
    kinds = [*before, *(each for each in servers if each not in before)]
    if kinds:
        summary["servers"] = kinds
    if any(recorded.get(name) != found for name, found in summary.items()):
        write_bytes(path, _as_file({**recorded, **summary}))
    return kinds


def describe_run(
    workflow: PreparedWorkflow,
    label_maps: Iterable[LabelMap],
    seed: int,
    batch: int,
    rules: LabelRules | None = None,
) -> dict[str, Any]:
    """All that the images of a run depend on, as JSON data.

    seed, batch: of the command line; rules: of the label maps.
    """
    return {
        **workflow.names(),
        "seed": seed,
        "batch": batch,
        "palette": _named(rules.palette) if rules else None,
        "id map": _digest(sorted(rules.id_map.items())) if rules and rules.id_map else None,
        "workflow": workflow.blank(),
        "label maps": {label_map.name: label_map.sha256 for label_map in label_maps},
    }


def _named(palette: Palette) -> str:
    """A palette by its name, and where that does not tell by its content."""
    name = palette.name
    return name if PALETTES.get(name) == palette else f"{name} ({_digest(palette.to_json())})"


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()[:8]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two runs of `describe_run`, a text each; empty if nothing does."""
    plain = [key for key in now if key not in ("workflow", "label maps")]
    found = [f"{k} was {before[k]} and is {now[k]}" for k in plain if before[k] != now[k]]
    found += _changed_nodes(before["workflow"], now["workflow"])
    for what, names in _changed_label_maps(before["label maps"], now["label maps"]).items():
        if names:
            which = counted(len(names), "label map is", "label maps are")
            found.append(f"{which} {what} ({listing(names, 3)})")
    return found


@contextmanager
def only_one(folder: Path, command: str = "generate") -> Iterator[None]:
    """Hold the output folder while a command works in it. Raises PriorError if another does.

    Where the system or the file system knows no locks, nothing is held.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PriorError(f"another {command} is at work in {folder}") from error
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        # No file can have this name.
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def _as_file(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1) + "\n").encode()


def _changed_nodes(before: Prompt, now: Prompt) -> list[str]:
    found = []
    for node_id, node in {**before, **now}.items():
        old, new = before.get(node_id), now.get(node_id)
        name = f"node {title_of(old or node)!r}"
        if old is None or new is None:
            found.append(f"{name} is {'new' if old is None else 'gone'}")
        elif old["class_type"] != new["class_type"]:
            found.append(f"{name} was a {old['class_type']} and is a {new['class_type']}")
        else:
            a, b = old["inputs"], new["inputs"]
            found += [
                f"input {key!r} of {name} was {_shown(a, key)} and is {_shown(b, key)}"
                for key in sorted({*a, *b})
                if a.get(key) != b.get(key)
            ]
    return found


def _changed_label_maps(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, list[str]]:
    return {
        "new": sorted(now.keys() - before.keys()),
        "gone": sorted(before.keys() - now.keys()),
        "changed": sorted(k for k in before.keys() & now.keys() if before[k] != now[k]),
    }


def _shown(inputs: Mapping[str, Any], key: str) -> str:
    if key not in inputs:
        return "not there"
    text = json.dumps(inputs[key], ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."
