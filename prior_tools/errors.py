"""The error that a person at the graph is meant to read."""

from collections.abc import Sequence


class PriorError(ValueError):
    """Wrong input to the method: the text says what was given, what was expected, what to do.

    >>> try:
    ...     draw_prior_sample(prior, labels, mode="both")
    ... except PriorError as error:
    ...     print(error)
    mode is 'both'; expected one of joint, spatial, categorical, mixture, normal
    """


def listing(names: Sequence[str], most: int = 10) -> str:
    """The first `most` names, and how many more there are, for an error text."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
