"""Weights for tests and the demo: random values in the real architectures, as files that
ComfyUI's own loader nodes load. Nothing is downloaded.

Files are made once and kept in `.cache/weights`; a damaged one is made anew. Two sizes:

sd15   Stable Diffusion 1.5 and its ControlNet in full size (2.1 and 0.7 GB).
tiny   The same families with the smallest model that ComfyUI recognises (about 0.3 GB a
       checkpoint, nearly all of it the text encoder, which has only one size). Their VAE is not
       random: its latent is the picture made 8 times smaller, see `weights_in_host.tiny_vae`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dev.comfyui import CACHE, ensure_comfyui
from dev.graph import Graph, Node
from dev.host import run_in_host
from dev.workspace import link_model

FOLDER = CACHE / "weights"
SNIPPET = Path(__file__).with_name("weights_in_host.py")
SDXL_SNIPPET = Path(__file__).with_name("sdxl_in_host.py")

Kind = Literal["sd15", "eps", "v", "flow"]

# Starting ComfyUI takes longer than drawing all of the tiny ones: they are made together.
TINY = ("tiny-eps", "tiny-flow", "tiny-controlnet", "tiny-vae-4", "tiny-vae-16")
TINY_SDXL = ("tiny-sdxl", "tiny-sdxl-controlnet")


def sd15_checkpoint() -> Path:
    """Stable Diffusion 1.5 in full (UNet, VAE, CLIP-L) for CheckpointLoaderSimple."""
    return _file("sd15")


def sd15_controlnet() -> Path:
    """The ControlNet of Stable Diffusion 1.5 in full for ControlNetLoader."""
    return _file("sd15-controlnet")


def tiny_checkpoint(kind: Literal["eps", "v", "flow"]) -> Path:
    """A small checkpoint with UNet, VAE and CLIP-L for CheckpointLoaderSimple.

    eps: a Stable Diffusion 1.5. v: the same file; the graph turns it into a v model with the node
    ModelSamplingDiscrete (sampling="v_prediction"). flow: a Stable Diffusion 3 with 16 latent
    channels. `add_model` adds the nodes for each.
    """
    return _file("tiny-flow" if kind == "flow" else "tiny-eps")


def tiny_controlnet() -> Path:
    """The ControlNet for the tiny eps and v checkpoints, for ControlNetLoader."""
    return _file("tiny-controlnet")


def tiny_sdxl_checkpoint() -> Path:
    """A small relative of SDXL with UNet, VAE and both CLIPs for CheckpointLoaderSimple."""
    return _file("tiny-sdxl")


def tiny_sdxl_controlnet() -> Path:
    """The ControlNet of the tiny SDXL, for ControlNetLoader."""
    return _file("tiny-sdxl-controlnet")


def tiny_vae(channels: Literal[4, 16] = 4) -> Path:
    """The VAE of the tiny eps and v (4) or flow (16) checkpoint alone, for VAELoader."""
    return _file(f"tiny-vae-{channels}")


@dataclass(frozen=True)
class Loaded:
    """Links to what a loader node gives."""

    model: list[Any]
    clip: list[Any]
    vae: list[Any]


def add_model(graph: Graph, base: Path, kind: Kind) -> Loaded:
    """Add the nodes that load the checkpoint of this kind, after linking its file into `base`.

    base: the server's base directory (`server.base`). CLIPTextEncode with the given `clip` makes
    the conditioning for every kind.
    """
    file = sd15_checkpoint() if kind == "sd15" else tiny_checkpoint(kind)
    loader = graph.add("CheckpointLoaderSimple", ckpt_name=link_model(base, "checkpoints", file))
    model = loader
    if kind == "v":
        model = graph.add(
            "ModelSamplingDiscrete", model=loader, sampling="v_prediction", zsnr=False
        )
    return Loaded(model.out(0), loader.out(1), loader.out(2))


def add_controlnet(graph: Graph, base: Path, kind: Literal["sd15", "eps", "v"]) -> Node:
    """Add the node that loads the ControlNet for this kind, after linking its file."""
    file = sd15_controlnet() if kind == "sd15" else tiny_controlnet()
    name = link_model(base, "controlnet", file)
    return graph.add("ControlNetLoader", control_net_name=name)


@functools.cache
def _file(name: str) -> Path:
    """The file of this name, made if it is missing or damaged; checked once a process."""
    if not _is_intact(name):
        together = next((group for group in (TINY, TINY_SDXL) if name in group), (name,))
        _make([n for n in together if not _is_intact(n)])
    return _path(name)


def _path(name: str) -> Path:
    return FOLDER / f"scp-{name}.safetensors"


def _stamp(name: str) -> Path:
    return FOLDER / f"scp-{name}.json"


def _recipe(name: str) -> str:
    # The second calls what is in the first.
    snippets = [SNIPPET, SDXL_SNIPPET] if name in TINY_SDXL else [SNIPPET]
    return hashlib.sha256(b"".join(path.read_bytes() for path in snippets)).hexdigest()


def _is_intact(name: str) -> bool:
    try:
        stamp = json.loads(_stamp(name).read_text(encoding="utf-8"))
        return (
            stamp["recipe"] == _recipe(name)
            and stamp["size"] == _path(name).stat().st_size
            and stamp["sha256"] == _sha256(_path(name))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make(names: list[str]) -> None:
    """Make these files, of one snippet, beside their place; move them there when whole."""
    print(f"Making weights, once: {', '.join(names)} ...", file=sys.stderr, flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".new-") as scratch:
        tasks = [[name, str(Path(scratch) / name)] for name in names]
        snippet = SDXL_SNIPPET if names[0] in TINY_SDXL else SNIPPET
        run_in_host(snippet, *tasks, comfy_dir=ensure_comfyui(), timeout=900)
        for name, draft in tasks:
            stamp = {
                "recipe": _recipe(name),
                "size": Path(draft).stat().st_size,
                "sha256": _sha256(Path(draft)),
            }
            # An old stamp must not vouch for the new file, should we be stopped in between.
            _stamp(name).unlink(missing_ok=True)
            Path(draft).replace(_path(name))
            draft_stamp = Path(scratch) / f"{name}.json"
            draft_stamp.write_text(json.dumps(stamp), encoding="utf-8")
            draft_stamp.replace(_stamp(name))


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        digest = hashlib.sha256()
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    # All files, ahead of need: python -m dev.weights
    for make in (sd15_checkpoint, sd15_controlnet, tiny_controlnet):
        print(make())
    for kind in ("eps", "flow"):
        print(tiny_checkpoint(kind))
