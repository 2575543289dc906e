"""Segmentation models from local files: a transformers folder, or TorchScript."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..errors import PriorError, listing
from .model_files import ModelFiles, hash_file, load_torchscript, short

# What says what a transformers folder computes.
_SETTINGS = ("config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Segmenter:
    """A model that scores classes.

    Attributes:
        scores: images uint8 [N, H, W, 3] -> float [N, K, h, w] on the CPU; h and w are the model's
            own, and cover the whole image.
        files: names and hashes.
        first_class: class id of the first score.
        names: class id -> name, where the model tells.
    """

    scores: Callable[[Tensor], Tensor]
    files: ModelFiles
    first_class: int = 0
    names: dict[int, str] = field(default_factory=dict)

    def __call__(self, images: Tensor) -> Tensor:
        """Scores of images; PriorError if the model gives no numbers [N, K, h, w]."""
        with torch.inference_mode():
            try:
                scores = self.scores(images)
            except RuntimeError as error:
                height, width = images.shape[1:3]
                raise PriorError(
                    f"the segmentation model {self.files.name} fails on images of {width}x{height} "
                    f"pixels: {short(error)}"
                ) from error
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        if not isinstance(shape, tuple) or len(shape) != 4 or shape[0] != len(images) or 0 in shape:
            raise PriorError(
                f"the segmentation model {self.files.name} gives {shape} for {len(images)} images; "
                "expected class scores [N, K, h, w]"
            )
        if bool(scores.isnan().any()):
            raise PriorError(
                f"the segmentation model {self.files.name} gives scores that are not numbers; "
                "expected class scores. Do its weights fit the device's precision?"
            )
        return scores.float().cpu()


def load_segmenter(
    path: Path, *, trust: bool, device: str = "cpu", first_class: int | None = None
) -> Segmenter:
    """The model of a transformers folder or of a TorchScript file.

    Args:
        path: a folder that `save_pretrained` wrote, model and image processor, the weights as
            safetensors; or a TorchScript file that maps float32 [N, 3, H, W] in 0..1 to class
            scores [N, K, h, w].
        trust: whether TorchScript may be used; see `load_torchscript`. A folder needs no trust:
            no code in it is run.
        first_class: class id of the first score. None asks the model: 1 where its image processor
            reduces labels, as those trained on ADE20K do, else 0.

    Raises PriorError if the model cannot be loaded from these files alone.
    """
    if path.is_dir():
        return _from_folder(path, device, first_class)
    module, files = load_torchscript(path, trust, device)

    def scores(images: Tensor) -> Tensor:
        given: Tensor = module(images.to(device).permute(0, 3, 1, 2).float() / 255)
        return given

    return Segmenter(scores, files, first_class or 0)


def _from_folder(path: Path, device: str, first_class: int | None) -> Segmenter:
    weights = sorted(file.name for file in path.glob("*.safetensors"))
    missing = [name for name in _SETTINGS if not (path / name).is_file()]
    if missing or not weights:
        missing += [] if weights else ["weights in safetensors files"]
        raise PriorError(
            f"the folder {path} lacks {listing(missing)}; expected what save_pretrained of a "
            "transformers segmentation model and of its image processor write"
        )
    try:
        from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
    except ImportError as error:
        raise PriorError(
            f"the segmentation model {path.name} needs transformers, which cannot be imported "
            f"({error}); in the pack's folder: "
            'pip install ".[evaluate]"'
        ) from error
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = AutoImageProcessor.from_pretrained(str(path), **local)
        model = AutoModelForSemanticSegmentation.from_pretrained(
            str(path), use_safetensors=True, **local
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise PriorError(
            f"the segmentation model in {path} cannot be loaded: {short(error)}"
        ) from error
    moved = [s for s in ("do_center_crop", "do_pad") if getattr(processor, s, None)]
    if moved:
        raise PriorError(
            f"the image processor in {path} has {listing(moved)} on, so scores would not lie on "
            "the pixels that they are of; switch it off in preprocessor_config.json"
        )
    # transformers 5 leaves weights in the precision of the file, earlier ones make them float32.
    model = model.float().eval().to(device)
    if first_class is None:
        first_class = int(bool(getattr(processor, "do_reduce_labels", False)))

    def scores(images: Tensor) -> Tensor:
        inputs = processor(images=list(images.cpu().numpy()), return_tensors="pt")
        logits: Tensor = model(pixel_values=inputs["pixel_values"].to(device)).logits
        return logits

    names = {int(i) + first_class: str(n) for i, n in model.config.id2label.items()}
    hashes = {name: hash_file(path / name) for name in (*_SETTINGS, *weights)}
    return Segmenter(scores, ModelFiles(path.name, hashes), first_class, names)
