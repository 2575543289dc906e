"""The kinds of inputs, and trying them.

A kind is a module with two functions. `make(seed)` gives an input as bytes, the same in every run;
`uses(data, folder)` gives what is done with an input, one after the other, as functions that may
return or raise PriorError and nothing else. The folder is that of all inputs of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from . import (
    checkpoints,
    label_studio,
    pair_lists,
    panoptic,
    pictures,
    priors,
    published,
    records,
    texts,
    workflows,
)
from .limits import MEGABYTES, Outcome, memory_limit, outcome

KINDS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        priors,
        published,
        pictures,
        records,
        checkpoints,
        workflows,
        texts,
        pair_lists,
        panoptic,
        label_studio,
    )
}

Name = TypeVar("Name")


def tried(
    kind: str, inputs: Iterable[tuple[Name, bytes]], folder: Path
) -> Iterator[tuple[Name, Outcome]]:
    """(name, what became of it) of each (name, input); it was taken if one of its uses took it."""
    module = KINDS[kind]
    # What is made once and imported late is not to count as the first input's.
    for use in module.uses(module.make(0), folder):
        outcome(use)
    with memory_limit(MEGABYTES):
        for name, data in inputs:
            taken, offence = False, None
            for use in module.uses(data, folder):
                found = outcome(use)
                taken, offence = taken or found.taken, offence or found.offence
            yield name, Outcome(taken, offence)
