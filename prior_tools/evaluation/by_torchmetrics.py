"""FID and KID as torchmetrics computes them, from features that are there already.

torchmetrics is given a module as its network, so it never looks for weights of its own.
"""

from __future__ import annotations

import warnings
from types import ModuleType

import torch
from torch import Tensor, nn

from ..errors import PriorError

# Bińkowski et al. 2018 average over subsets of 1000 images; smaller sets are one subset.
KID_SUBSET = 1000
KID_SUBSETS = 100


class _Given(nn.Module):
    """Gives back what it gets: features in the place of images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def require_torchmetrics() -> ModuleType:
    """The module torchmetrics; PriorError with the extra to install where it is missing."""
    try:
        import torchmetrics
    except ImportError as error:
        raise PriorError(
            f"FID and KID need torchmetrics, which cannot be imported ({error}); install it with "
            "pip install torchmetrics, or all that 'evaluate' uses with pip install "
            "'scp-diff[evaluate]'"
        ) from error
    return torchmetrics


def fid_of(real: Tensor, generated: Tensor) -> float:
    """The FID of features [N, D] and [M, D] by torchmetrics, in float64.

    torchmetrics takes the eigenvalues of a D x D matrix: 20 s on two cores for 2048 features. Where
    there are fewer images than features, these are first written in a basis of the space that the
    images span, which changes no distance.
    """
    require_torchmetrics()
    from torchmetrics.image.fid import FrechetInceptionDistance

    real, generated = _in_their_span(real.double(), generated.double())
    metric = FrechetInceptionDistance(feature=_Given(real.shape[1])).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return float(metric.compute())


def kid_of(real: Tensor, generated: Tensor, seed: int = 0) -> tuple[float, float]:
    """The KID of features [N, D] and [M, D] by torchmetrics, in float64.

    The mean over 100 random subsets of min(1000, N, M) images. Where both sets are no larger than
    that, there is one subset: all images.

    Returns:
        (KID, standard error that the choice of subsets adds). The random numbers of the caller
        are left alone.
    """
    require_torchmetrics()
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(KID_SUBSET, len(real), len(generated))
    subsets = 1 if size == len(real) == len(generated) else KID_SUBSETS
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", message=".*will save all extracted features.*")
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(
            feature=_Given(real.shape[1]), subsets=subsets, subset_size=size
        )
        metric.update(real.double(), real=True)
        metric.update(generated.double(), real=False)
        mean, deviation = metric.compute()
    return float(mean), float(deviation) / subsets**0.5


def _in_their_span(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates [N, r] and [M, r], r = min(N + M, D), with the same distances and angles."""
    if len(a) + len(b) >= a.shape[1]:
        return a, b
    basis = torch.linalg.qr(torch.cat([a, b]).T)[0]
    return a @ basis, b @ basis
