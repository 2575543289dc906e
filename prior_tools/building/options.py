"""How a dataset is gone through."""

from __future__ import annotations

from dataclasses import dataclass

from ..datasets.dataset import HOW_TO_SKIP
from ..errors import PriorError
from ..labels.geometry import check_label_method
from ..whole_numbers import check_downscale_factor, whole

ON_ERROR = ("stop", "skip")


@dataclass(frozen=True)
class BuildOptions:
    """How a dataset is gone through.

    Attributes:
        downscale_factor: pixels per latent cell; h = H // factor.
        label_method: see `resize_labels`; without label maps it plays no part.
        batch_size: images that are encoded at once.
        on_error: "stop" raises at the first item that cannot be read; "skip" leaves it out.
        workers: number of threads or processes that read; 0 is one thread.
        processes: read in processes; only outside ComfyUI.
        holdout: share of the images that the moments leave out, at most 256 of them, to tell how
            well the prior predicts them: its metadata's `held_out`. 0 or more, below 1; without
            label maps, 0.
        how_to_skip: what an error at an item that cannot be read tells to do to leave it out.

    Raises PriorError for numbers out of range, and for other words.

    >>> options = BuildOptions(batch_size=1, label_method="nearest")
    >>> build_prior(dataset, encode, options).metadata.label_method
    'nearest'
    """

    downscale_factor: int = 8
    label_method: str = "majority"
    batch_size: int = 8
    on_error: str = "stop"
    workers: int = 4
    processes: bool = False
    holdout: float = 0.0
    how_to_skip: str = HOW_TO_SKIP

    def __post_init__(self) -> None:
        if self.on_error not in ON_ERROR:
            raise PriorError(
                f"on_error is {self.on_error!r}; expected one of {', '.join(ON_ERROR)}"
            )
        check_label_method(self.label_method)
        check_downscale_factor(self.downscale_factor)
        whole(self.batch_size, "batch_size", 1)
        whole(self.workers, "workers", 0)
        if not 0 <= self.holdout < 1:
            raise PriorError(f"holdout is {self.holdout}; expected a share of the images, 0..1")


DEFAULTS = BuildOptions()
