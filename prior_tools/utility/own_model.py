"""A transformers segmentation model from a folder, to train in place of the small net."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import PriorError, listing
from ..evaluation.model_files import hash_file, short
from ..json_values import parsed

_MODEL, _PROCESSOR = "config.json", "preprocessor_config.json"
# What most image processors subtract and divide by where their file does not say.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _OfTransformers(nn.Module):
    """Images [N, 3, H, W] in 0..1 to class scores [N, K, h, w]."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.model(pixel_values=(images - self.mean) / self.std).logits
        return scores


def own_model(folder: Path) -> tuple[Callable[[int], nn.Module], str]:
    """What makes the model of a transformers folder for so many classes, and its name and digest.

    The weights are those of the folder, but for what depends on the number of classes where that
    differs: it begins anew. Images are normalized as `preprocessor_config.json` says, at the size
    of the training. No code in the folder is run, and nothing is downloaded.

    Raises PriorError if a file is missing or transformers is.
    """
    if not folder.is_dir():
        raise PriorError(f"--net {folder} is not a folder; expected what save_pretrained writes")
    weights = sorted(file.name for file in folder.glob("*.safetensors"))
    missing = [name for name in (_MODEL, _PROCESSOR) if not (folder / name).is_file()]
    missing += [] if weights else ["weights in safetensors files"]
    if missing:
        raise PriorError(
            f"--net {folder} lacks {listing(missing)}; expected what save_pretrained of a "
            "transformers segmentation model and of its image processor write"
        )
    try:
        from transformers import AutoModelForSemanticSegmentation
        from transformers.utils import logging
    except ImportError as error:
        raise PriorError(
            f"--net {folder} needs transformers, which cannot be imported ({error}); install it "
            'with pip install ".[evaluate]" in the '
            "pack's folder"
        ) from error
    mean, std = _normalization(folder / _PROCESSOR)

    def make(classes: int) -> nn.Module:
        # It would tell at every training which weights begin anew.
        told = logging.get_verbosity()
        logging.set_verbosity_error()
        try:
            model = AutoModelForSemanticSegmentation.from_pretrained(
                str(folder),
                num_labels=classes,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise PriorError(f"--net {folder} cannot be loaded: {short(error)}") from error
        finally:
            logging.set_verbosity(told)
        return _OfTransformers(model.float(), mean, std)

    hashes = [hash_file(folder / name) for name in (_MODEL, _PROCESSOR, *weights)]
    digest = hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:12]
    return make, f"{folder.resolve().name} ({digest})"


def _normalization(path: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of levels in 0..1 that a model expects."""
    try:
        settings = parsed(path.read_bytes())
        if settings.get("do_normalize") is False:
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        mean, std = settings.get("image_mean", _MEAN), settings.get("image_std", _STD)
        for values in (mean, std):
            if len(values) != 3 or not all(isinstance(v, (int, float)) for v in values):
                raise ValueError("image_mean and image_std are not three numbers each")
        if not all(value > 0 for value in std):
            raise ValueError("image_std is not above zero")
    except (ValueError, AttributeError, TypeError) as error:
        raise PriorError(
            f"{path} cannot be read ({error}); expected what transformers writes"
        ) from (error)
    return mean, std
