"""The error that a person at the graph is meant to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class PriorError(ValueError):
    """Wrong input to the method: the text says what was given, what was expected, what to do.

    >>> try:
    ...     draw_prior_sample(prior, labels, mode="both")
    ... except PriorError as error:
    ...     print(error)
    mode is 'both'; expected one of joint, spatial, categorical, mixture, normal
    """

    # ComfyUI shows an error's class with its module, which in a node pack is a file path, but for
    # those of this module.
    __module__ = "builtins"

    def __str__(self) -> str:
        # Names of files and texts out of them enter messages as they are, and messages a terminal.
        return printable(super().__str__())

    def __reduce__(self) -> tuple[Callable[..., PriorError], tuple[Any, ...]]:
        # By the name of its class, an error could not come back from a process that reads.
        return _again, self.args


def _again(*args: object) -> PriorError:
    return PriorError(*args)


def printable(text: str) -> str:
    """A text from outside, made unable to move a cursor, begin a line or turn what follows."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def reason(error: Exception) -> str:
    """What an error says of itself, on one line, without the whole paths of the system's."""
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(said.split()) or type(error).__name__


def counted(number: int, one: str, many: str = "") -> str:
    """A number and what is counted, such as "1 image" and "2 images"; `many` if not by an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def listing(names: Sequence[str], most: int = 10) -> str:
    """The first `most` names, and how many more there are, for an error text."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
