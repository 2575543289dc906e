"""The command that trains the demo's models and writes their files."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from demo.training import companions, segmenter
from demo.training.setting import LEAK
from demo.training.sources import Camvid, Source, Streets
from demo.training.stages import AUTOENCODER, Stages
from demo.training.weights_file import write_weights
from dev.comfyui import CACHE, REPOSITORY
from prior_tools import load_prior, save_prior

WORK = CACHE / "training"
NAME = "scp_diff_demo.safetensors"
# Of the unseen label maps, for the pack's users.
SHOWN = (15, 0, 4, 12, 8, 16, 20, 22, 23, 27, 6, 29)


@dataclass(frozen=True)
class Files:
    """Where the models of a source go.

    weights: with the dataset's own ControlNet. general: with one of other data. sd: with
    Stable Diffusion's noise schedule. tuned, started: with the ControlNet trained on, see
    `Stages.tuned_control`. prior, segmenter: of the dataset.
    """

    weights: Path
    prior: Path
    segmenter: Path
    general: Path
    sd: Path
    tuned: Path
    started: Path

    @classmethod
    def of(cls, source: Source) -> Files:
        """Those of the streets are in the repository."""
        made = source.cache / "made"
        measured = [
            made / f"{source.name}_{kind}.safetensors"
            for kind in ("general", "sd", "tuned", "started")
        ]
        if isinstance(source, Streets):
            folder = REPOSITORY / "weights"
            judge = REPOSITORY / "demo" / "segmenter.pt"
            return cls(folder / "models" / NAME, folder / "priors" / NAME, judge, *measured)
        weights = made / f"{source.name}.safetensors"
        prior = made / f"{source.name}_prior.safetensors"
        return cls(weights, prior, made / "judge.pt", *measured)


def source_of(work: Path, camvid: Path | None) -> Source:
    """The generated streets, or CamVid if its folder is given."""
    return Camvid(work / "camvid", camvid) if camvid else Streets(work)


def main(argv: list[str] | None = None) -> None:
    """Train what is missing, then write weights, prior, label maps and segmentation net."""
    parser = argparse.ArgumentParser(prog="python -m demo.training", description=__doc__)
    parser.add_argument(
        "--only",
        choices=("model", "segmenter", "general", "sd", "tuned"),
        nargs="+",
        default=("model", "segmenter"),
        help="model: autoencoder, UNet and ControlNet, with their prior; segmenter; for the "
        "ablation also general: a ControlNet of other data, sd: UNet and ControlNet with "
        "Stable Diffusion's own noise schedule, and tuned: the ControlNet trained on, without and "
        "with starts from the prior (default: the first two)",
    )
    parser.add_argument("--camvid", type=Path, metavar="DIR", help="on CamVid in place of streets")
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="compute in bfloat16: faster on processors that have it, to other weights",
    )
    parser.add_argument("--work", type=Path, default=WORK, help="for data and checkpoints")
    args = parser.parse_args(argv)
    source = source_of(args.work, args.camvid)
    files = Files.of(source)
    # What is trained on a model that is there takes it as it is.
    base = files.weights if "model" not in args.only and files.weights.exists() else None
    stages = Stages(source, base=base, bfloat16=args.bfloat16)
    if "model" in args.only:
        _write(stages, stages.control, "control", files.weights)
        labels = source.dataset.labels
        prior = companions.make_prior(stages.dataset_latents, labels, source, files.weights)
        save_prior(prior, files.prior)
        if isinstance(source, Streets):
            shown = source.hints(source.unseen.labels[list(SHOWN)])
            companions.write_label_maps(shown, files.weights.parents[1] / "label_maps")
    if "segmenter" in args.only:
        segmenter.save_segmenter(stages.segmenter, files.segmenter)
        print(f"wrote {files.segmenter.name}, {files.segmenter.stat().st_size / 1e6:.1f} MB")
    if "general" in args.only:
        _write(stages, stages.general_control, "control-general", files.general)
    if "tuned" in args.only:
        _write(stages, stages.tuned_control(None), "control-tuned", files.tuned)
        started = stages.tuned_control(load_prior(files.prior))
        _write(stages, started, "control-tuned-started", files.started)
    if "sd" in args.only:
        stages = Stages(source, stable_diffusion=True, base=base, bfloat16=args.bfloat16)
        _write(stages, stages.control, "control", files.sd)


def _write(stages: Stages, control: nn.Module, name: str, path: Path) -> None:
    source, bars = stages.source, stages.alpha_bars
    images, latents = source.diverse.images[:200], stages.diverse_latents[:200]
    trained = (*AUTOENCODER, "unet" + stages.suffix, name + stages.suffix)
    notes = {
        "made_by": "python -m demo.training",
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "data": {"source": source.name, **source.described},
        "size": list(source.size),
        "schedule": f"alpha_bar_T * {source.cells} cells = {float(bars[-1]) * source.cells:.1f} "
        f"(lifted schedules: {LEAK:g})",
        "training": {part: stages.note(part) for part in trained},
    }
    colors = companions.latent_colors(latents, images)
    write_weights(path, stages.autoencoder, stages.unet, control, bars, colors, notes)
    print(f"wrote {path.name}, {path.stat().st_size / 1e6:.1f} MB")
