"""An export's files: made by several threads, written one whole file after the other."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..atomic import new_file, write_bytes
from ..datasets.label_files import label_hash
from ..errors import PriorError
from ..evaluation.model_files import hash_file
from ..evaluation.scores import Scores
from ..helper_threads import HelperThreads, InOrder
from ..labels.reading import LabelRules
from .classes import Classes
from .fitting import fitted
from .forms.form import Form
from .items import Item
from .journal import Journal
from .pictures import PictureFile, picture_file

# Images in a shard, where nobody says how many shards there are to be.
SHARD_SIZE = 1000

_WORKERS = 4
_LAST_FILE = 10.0


@dataclass(frozen=True)
class Made:
    """An image's files, not yet written.

    Attributes:
        line: of the manifest, but for "files" and "bytes".
        picture: see `PictureFile`.
        labels: path -> content of its label files.
    """

    line: dict[str, Any]
    picture: PictureFile
    labels: Mapping[str, bytes]


@dataclass(frozen=True)
class Writer:
    """How images of a dataset are written.

    Attributes:
        out: folder of the dataset.
        form: see `Form`.
        classes: see `Classes`.
        rules: how label maps are read.
        seeds: name of an image -> its seed, where it is known.
        scores: of the images; None if there are none. Images that have changed since are refused.
        marks_disagreement: whether pixels have no class where label map and model disagree.
        links: whether images are linked, not copied.
    """

    out: Path
    form: Form
    classes: Classes
    rules: LabelRules
    seeds: Mapping[str, int]
    scores: Scores | None = None
    marks_disagreement: bool = False
    links: bool = False

    def made(self, item: Item) -> Made:
        """The files of an image; raises PriorError for what cannot be used."""
        score = self.scores.of(item.name) if self.scores else None
        if score:
            self._check_unchanged(item, score.sha256, score.label_sha256)
        picture = picture_file(item.image.image, item.name, self.form.picture)
        if self.links and picture.data is not None:
            raise PriorError(
                f"--link: image {item.name} is written anew, since form {self.form.name} has "
                f"{self.form.picture or 'PNG or JPEG'} images in 8-bit RGB; leave out --link"
            )
        labels = fitted(item.image, picture.size, self.rules, *self._seen(item))
        ids = self.classes.written(labels.ids)
        values, pixels = np.unique(ids, return_counts=True)
        counts = dict(zip(values.tolist(), pixels.tolist(), strict=True))
        line = {
            "image": item.name,
            "number": item.number,
            "label_map": item.image.map,
            "mirrored": item.image.mirrored,
            "split": item.split,
            "seed": self.seeds.get(item.name),
            "miou": score.miou if score else None,
            "size": list(picture.size),
            "written_anew": picture.data is not None,
            "pixels": {str(i): n for i, n in counts.items() if i != self.classes.void},
            "void": counts.get(self.classes.void, 0),
            "disagreeing": {str(i): n for i, n in sorted(labels.disagreeing.items())},
            **self.form.told(ids, self.classes),
        }
        return Made(line, picture, self.form.labels(item, ids, self.classes))

    def write(self, item: Item) -> dict[str, Any]:
        """Write the files of an image into a tree; returns its line."""
        made = self.made(item)
        image = self.form.image(item) + made.picture.suffix
        _put(item.image.image, self.out / image, made.picture.data, self.links)
        for path, data in made.labels.items():
            write_bytes(self.out / path, data, sync=False)
        files = [image, *made.labels]
        sizes = [(self.out / file).stat().st_size for file in files]
        return {"files": files, "bytes": sizes, **made.line}

    def _seen(self, item: Item) -> tuple[Tensor | None, tuple[int, ...]]:
        """See `fitted`."""
        if self.scores is None or not self.marks_disagreement:
            return None, ()
        return self.scores.seen(item.name), self.scores.ignored_ids

    def _check_unchanged(self, item: Item, image: str, label: str) -> None:
        for path, before, now in (
            (item.image.image, image, hash_file(item.image.image)),
            (item.image.label, label, label_hash(item.image.label, self.rules)),
        ):
            if now != before:
                raise PriorError(f"{path.name} has changed since it was evaluated; evaluate anew")


def write_tree(
    writer: Writer, items: Sequence[Item], journal: Journal, progress: Callable[[int], object]
) -> None:
    """Write what the journal lacks; `progress` is told how many images are new.

    Raises PriorError for an image or label map that cannot be used; what is written stays.
    """
    left = (item for item in items if item.name not in journal.done)
    with _in_threads(writer.write, left) as lines:
        for line in lines:
            journal.add([line])
            progress(1)


def write_shards(
    writer: Writer,
    items: Sequence[Item],
    journal: Journal,
    progress: Callable[[int], object],
    most: int,
) -> None:
    """As `write_tree`, into archives of at most `most` images; one that is begun is made anew."""
    for name, shard in shards(items, most):
        if journal.done.issuperset(item.name for item in shard):
            continue
        journal.forget({item.name for item in shard})
        lines = []
        with (
            new_file(writer.out / name) as file,
            tarfile.open(fileobj=file, mode="w") as archive,
            _in_threads(writer.made, shard) as results,
        ):
            for item, made in zip(shard, results, strict=True):
                data = made.picture.data
                key = writer.form.image(item)
                line = {"key": key, **made.line}
                told = {k: line[k] for k in ("image", "label_map", "mirrored", "seed", "miou")}
                members = {
                    key + made.picture.suffix: item.image.image.read_bytes()
                    if data is None
                    else data,
                    **made.labels,
                    f"{key}.json": json.dumps(told).encode(),
                }
                for member, content in members.items():
                    _add_member(archive, member, content)
                lines.append(line)
                progress(1)
        files = {"files": [name], "bytes": [(writer.out / name).stat().st_size]}
        journal.add([{**files, **line} for line in lines])


def shards(items: Sequence[Item], most: int) -> list[tuple[str, list[Item]]]:
    """(name, images) of each archive: images of a split, mixed by a hash of their names."""
    found = []
    for split in sorted({item.split for item in items}):
        own = sorted((item for item in items if item.split == split), key=_mixed)
        number = math.ceil(len(own) / most)
        # Equally long, to one.
        bounds = [len(own) * i // number for i in range(number + 1)]
        found += [(f"{split}-{i:06d}.tar", own[bounds[i] : bounds[i + 1]]) for i in range(number)]
    return found


def _mixed(item: Item) -> str:
    return hashlib.sha256(item.name.encode(errors="surrogateescape")).hexdigest()


@contextmanager
def _in_threads(function: Callable[[Item], Any], items: Any) -> Iterator[Iterator[Any]]:
    threads = HelperThreads(_WORKERS, "scp-export")
    try:
        yield InOrder(threads, function, items, 2 * _WORKERS, lambda: None)
    finally:
        threads.end(_LAST_FILE)


def _put(source: Path, path: Path, data: bytes | None, link: bool) -> None:
    """Write `data`, or the file `source` as it is: linked, where that is asked for and can be."""
    if data is not None:
        write_bytes(path, data, sync=False)
    elif not link:
        with source.open("rb") as file, new_file(path, sync=False) as copy:
            shutil.copyfileobj(file, copy)
    elif not (path.exists() and path.samefile(source)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.link(source, path)
        except OSError:
            # On another disk, or on one without hard links.
            path.symlink_to(source.resolve())


def _add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    # Nothing of this machine: equal images make equal archives.
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))
