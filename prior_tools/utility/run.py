"""All trainings of a comparison, one after the other, and the folder that keeps what they gave.

`run.json` says what the comparison is, before the first training; `trainings` holds a checkpoint of
the training under way, and of each that is finished its counts. Started again, finished trainings
are read, and the one under way goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ..atomic import remove_leftovers_of, write_bytes
from ..errors import PriorError, listing
from ..json_values import parsed, table, text
from ..tensor_file import read_tensors
from .judging import judge
from .sets import IndexedSet
from .training import MakeNet, Plan, train

RECORD_NAME = "run.json"
_TRAININGS = "trainings"
_COUNTS_KEY = "scp_utility_counts"
_MAX_HEADER = 10_000_000

REAL, GENERATED, BOTH = "real", "generated", "both"


@dataclass(frozen=True)
class Mixture:
    """What a net is trained on.

    Attributes:
        kind: REAL, GENERATED or BOTH.
        name: of the generated set; "" for the real images alone.
        parts: one set, or the real images and generated ones.
    """

    kind: str
    name: str
    parts: tuple[IndexedSet, ...]

    @property
    def title(self) -> str:
        """For tables and messages."""
        return {REAL: "real", GENERATED: self.name, BOTH: f"real + {self.name}"}[self.kind]

    def path(self, folder: Path, seed: int, what: str) -> Path:
        """Where the checkpoint or the counts of a training lie, whatever the set is called."""
        label = self.kind if self.kind == REAL else f"{self.kind}-{self.parts[-1].digest}"
        return folder / _TRAININGS / f"{label}-seed{seed}.{what}.safetensors"


@dataclass(frozen=True)
class Comparison:
    """Sets, and how the nets are trained and tested.

    Attributes:
        mixtures: what nets are trained on, the real images alone first.
        val: the held-out images.
        classes: ids of the classes, by their index.
        make: makes a net.
        plan: how it is trained.
        seeds: how many trainings of each mixture.
        settings: all else that the figures depend on, as texts by name.
    """

    mixtures: Sequence[Mixture]
    val: IndexedSet
    classes: tuple[int, ...]
    make: MakeNet
    plan: Plan
    seeds: int
    settings: Mapping[str, str]

    @property
    def steps(self) -> int:
        """Of all trainings."""
        return len(self.mixtures) * self.seeds * self.plan.steps

    @property
    def identity(self) -> str:
        """Digest of settings, held-out images and classes: 16 hex digits."""
        told = [sorted(self.settings.items()), self.val.digest, self.classes]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def begin_or_go_on(folder: Path, comparison: Comparison) -> None:
    """Record what the comparison is, or compare it with the record.

    More seeds, and further or fewer generated sets, may come.

    Raises PriorError that says what has changed, or that the folder holds files of others.
    """
    path = folder / RECORD_NAME
    now: dict[str, Any] = {
        "settings": dict(comparison.settings),
        "val": comparison.val.digest,
        "real": comparison.mixtures[0].parts[0].digest,
        "generated": {
            m.name: m.parts[0].digest for m in comparison.mixtures if m.kind == GENERATED
        },
    }
    if not path.exists():
        remove_leftovers_of(path)
        if there := sorted(p.name for p in folder.iterdir()):
            raise PriorError(
                f"{folder} holds {listing(there, 3)} already, but no {RECORD_NAME}, so it is not "
                "of this command; choose another --out"
            )
        write_bytes(path, _as_file(now))
        return
    before = _recorded(path)
    if changed := _changes(before, now):
        raise PriorError(
            f"{folder} holds another comparison: {'; '.join(changed)}. Give the same images and "
            "options to go on, or choose another --out"
        )
    generated = {**before["generated"], **now["generated"]}
    if generated != before["generated"]:
        write_bytes(path, _as_file({**now, "generated": generated}))


def _recorded(path: Path) -> dict[str, Any]:
    try:
        found = table(parsed(path.read_bytes()), ("settings", "val", "real", "generated"), "it")
        for name in ("settings", "generated"):
            if not isinstance(found[name], dict):
                raise ValueError(f"{name} is no table")
    except ValueError as error:
        raise PriorError(f"{path} is no record of a comparison ({error}); remove it") from error
    return found


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    ours, theirs = now["settings"], before["settings"]
    found = [
        f"{name} was {theirs.get(name)} and is {ours.get(name)}"
        for name in sorted({*ours, *theirs})
        if theirs.get(name) != ours.get(name)
    ]
    if found:
        # Another size or other classes change all sets, which then says nothing more.
        return found
    for name, what in (("real", "--real"), ("val", "--val")):
        if before[name] != now[name]:
            found.append(f"images or label maps of {what} have changed")
    for name, digest in now["generated"].items():
        if before["generated"].get(name, digest) != digest:
            found.append(f"images or label maps of --generated {name} have changed")
    return found


def run_all(
    folder: Path,
    comparison: Comparison,
    progress: Callable[[str, int], None] = lambda _title, _steps: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[list[Tensor]]:
    """The counts of each mixture and seed, int64 [N, 3, K] each; see `judge`.

    Args:
        folder: the output folder, of which `begin_or_go_on` was asked.
        progress: called with the training's title and the number of steps done of all.
        cancelled: asked after each step.

    Raises PriorError and TrainingCancelled as `train` does.
    """
    found: list[list[Tensor]] = [[] for _ in comparison.mixtures]
    done = 0
    # Seeds outside: stopped early, all mixtures have equally many.
    for seed in range(comparison.seeds):
        for counts, mixture in zip(found, comparison.mixtures, strict=True):
            title = f"{mixture.title}, seed {seed}"
            before = done

            def show(steps: int, title: str = title, before: int = before) -> None:
                progress(title, before + steps)

            counts.append(_counts(folder, comparison, mixture, seed, show, cancelled))
            done += comparison.plan.steps
            progress(title, done)
    return found


def _counts(
    folder: Path,
    comparison: Comparison,
    mixture: Mixture,
    seed: int,
    progress: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> Tensor:
    """Of one training: read where it is finished, else trained and tested."""
    kept, path = (mixture.path(folder, seed, what) for what in ("counts", "checkpoint"))
    digests = " ".join(part.digest for part in mixture.parts)
    identity = f"{comparison.identity} {digests} {mixture.kind} seed {seed}"
    classes, val, plan = len(comparison.classes), comparison.val, comparison.plan
    if kept.exists():
        counts = _read_counts(kept, identity, (len(val), 3, classes))
    else:
        net = train(
            comparison.make,
            mixture.parts,
            classes,
            plan,
            seed,
            path,
            identity,
            progress,
            cancelled,
        )
        counts = judge(net, val, classes, plan.batch, plan.device)
        header = {_COUNTS_KEY: json.dumps({"identity": identity})}
        write_bytes(kept, save({"counts": counts}, header))
    path.unlink(missing_ok=True)
    return counts


def _read_counts(path: Path, identity: str, shape: tuple[int, ...]) -> Tensor:
    try:
        written, tensors = read_tensors(path, _COUNTS_KEY, _MAX_HEADER)
        if written is None:
            raise ValueError("it is not of this command")
        header = table(parsed(written), ("identity",), "the header")
        if text(header["identity"], "identity") != identity:
            raise ValueError("it is of another training")
        counts = tensors["counts"]
        if tuple(counts.shape) != shape or counts.dtype != torch.int64:
            raise ValueError(f"its counts are {tuple(counts.shape)}, expected {shape}")
    except (ValueError, KeyError) as error:
        raise PriorError(
            f"{path} cannot be read ({error}); remove it to train this net anew"
        ) from error
    return counts


def _as_file(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1) + "\n").encode()
