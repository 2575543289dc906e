"""ComfyUI's models, progress and messages, as this pack uses them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import comfy.model_management
import comfy.utils
from comfy_api.v0_0_2 import io
from torch import Tensor

from ..prior_tools.errors import printable
from ..prior_tools.generating.node_warnings import UI_KEY
from ..prior_tools.latent_formats import ModelLatents, VaeLatents
from ..prior_tools.vae_fingerprint import VaeFingerprint, fingerprint_weights
from ..prior_tools.vae_pictures import decode_pictures, encode_pictures, latents_of

# Raised wherever a person cancelled a prompt.
Cancelled = comfy.model_management.InterruptProcessingException

_log = logging.getLogger("scp-diff")


# Of the node that runs, as [kind, text].
_told: ContextVar[list[list[str]] | None] = ContextVar("warnings", default=None)


def keeps_warnings(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    """Let a node's `execute` show what it told by `notify`, in history and to the browser.

    A client that runs prompts over HTTP learns of it from history; in the browser
    `web/js/node_warnings.js` puts it on the node.
    """

    @functools.wraps(execute)
    def keeping(*args: Any, **kwargs: Any) -> io.NodeOutput:
        told: list[list[str]] = []
        before = _told.set(told)
        try:
            output = execute(*args, **kwargs)
        finally:
            _told.reset(before)
        shown = output.ui
        if shown is not None and not isinstance(shown, dict):
            shown = shown.as_dict()
        # Also where there is none: by it the browser learns that those of an earlier run are over.
        # And of a node that runs over a list the host joins what all show by the keys of the first.
        output.ui = {**(shown or {}), UI_KEY: told}
        return output

    return keeping


def notify(text: str, kind: str | None = None) -> None:
    """Warn in the log, and by `keeps_warnings` on the node and in history.

    text: its first words say it; the list of what is meant comes last.
    kind: what such warnings have in common, without figures; default: the text.
    """
    text, kind = printable(text), printable(kind or text)
    told = _told.get()
    if told is not None:
        told.append([kind, text])
    _log.warning("SCP-Diff: %s", text)


def progress_bar(total: int) -> Callable[[int], None]:
    """A function that shows absolute progress on the running node; it raises on cancel."""
    bar = comfy.utils.ProgressBar(total)

    def show(done: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return show


def raise_if_cancelled() -> bool:
    """Raise the host's own error if the run was cancelled; False if it was not."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    return False


def between_nodes(tensor: Tensor) -> Tensor:
    """A latent or image on the device that the host keeps such on between nodes."""
    return tensor.to(comfy.model_management.intermediate_device())


def vae_latents(vae: Any) -> VaeLatents:
    """Channels, dimensions and pixels per latent cell."""
    return latents_of(vae)


def vae_encoder(vae: Any) -> Callable[[Tensor], Tensor]:
    """Images [N, H, W, 3] in 0..1 to latents [N, C, h, w] in raw VAE units, as VAE Encode does.

    PriorError if the latents are not those of single images.
    """

    def encode(images: Tensor) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        return encode_pictures(vae, images)

    return encode


def vae_decode(vae: Any, latents: Tensor) -> Tensor:
    """Latents [N, C, h, w] in raw VAE units to images [N, H, W, 3] in 0..1."""
    return decode_pictures(vae, latents)


def vae_fingerprint(vae: Any) -> VaeFingerprint:
    """By which priors of one VAE know each other."""
    return fingerprint_weights(vae.get_sd())


def model_latents(model: Any) -> ModelLatents:
    """What the model says of its latents."""
    latent_format = model.get_model_object("latent_format")
    # Not in older hosts.
    factor = getattr(latent_format, "spacial_downscale_ratio", None)
    return ModelLatents(
        type(latent_format).__name__,
        int(latent_format.latent_channels),
        int(latent_format.latent_dimensions),
        None if factor is None else int(factor),
    )
