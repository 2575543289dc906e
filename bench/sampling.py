"""Sampling in a real ComfyUI server: the steps saved, and what a draw from the prior costs."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from bench.figure import Figure
from bench.options import Options
from bench.synthetic import Like, synthetic_prior
from dev import weights
from dev.comfyui import REPOSITORY, ensure_comfyui
from dev.graph import Graph, Node
from dev.server import ComfyServer, execution_seconds
from dev.workspace import make_workspace
from prior_tools import save_prior

TITLE = "sampling"
OF_STOCK, OF_STEP = 0.87, 1.0
STEPS, MU, SIDE = 20, 0.8, 64
WIDTH, HEIGHT = 1024, 512
LIKE = Like("182 classes at 1024x512", 182, (HEIGHT // 8, WIDTH // 8), 118_287)

# What differs from prompt to prompt, so that the server runs the node instead of remembering it.
_seeds = itertools.count(1)


def measure(options: Options) -> list[Figure]:
    """Times are the server's own, from a prompt's start to its end, all but one node remembered."""
    with tempfile.TemporaryDirectory(prefix="scp-bench-") as folder:
        base = make_workspace(Path(folder), REPOSITORY)
        prior = synthetic_prior(LIKE)
        save_prior(prior, base / "models" / "scp_priors" / "bench.safetensors")
        with ComfyServer(ensure_comfyui(), base) as server:
            saved = _steps_saved(server, *((1, 5) if options.quick else (3, STEPS)))
            labels = torch.randperm(32 * 64, generator=torch.Generator().manual_seed(0)) % 182
            picture = prior.metadata.palette.paint(labels.view(32, 64))
            picture = picture.repeat_interleave(16, 0).repeat_interleave(16, 1)
            label = server.upload_image(picture.numpy(), "label.png")
            return [saved, _draw(server, label, 5 if options.quick else 15)]


def _steps_saved(server: ComfyServer, rounds: int, steps: int) -> Figure:
    """The two samplers in turns."""

    def stock() -> float:
        graph, shared = _start(server, SIDE, SIDE, steps)
        return _seconds(server, graph, graph.add("KSampler", **shared, denoise=1.0))

    def partial() -> float:
        graph, shared = _start(server, SIDE, SIDE, steps)
        return _seconds(
            server, graph, graph.add("SCP_PartialDenoiseKSampler", **shared, mu=MU, mu_of="model")
        )

    _load_model(server)
    taken = _in_turns({"stock": stock, "partial": partial}, rounds)
    ratios = [p / s for p, s in zip(taken["partial"], taken["stock"], strict=True)]
    return Figure(
        f"Partial Denoise KSampler at mu {MU} against KSampler",
        statistics.median(ratios),
        "x",
        OF_STOCK,
        "at most",
        f"SD1.5 architecture, {SIDE}x{SIDE} pixels, {steps} steps, euler, sgm_uniform, no "
        f"guidance, median of {rounds} rounds in turns",
        {f"{kind}_s": round(statistics.median(times), 3) for kind, times in taken.items()},
    )


def _draw(server: ComfyServer, label: str, rounds: int) -> Figure:
    """Joint Prior Noise, its label image and prior loaded, against one step of the UNet."""

    def draw() -> float:
        graph = Graph()
        node = graph.add(
            "SCP_JointPriorNoise",
            prior=graph.add("SCP_LoadPrior", prior_name="bench.safetensors"),
            label_image=graph.add("LoadImage", image=label),
            mode="joint",
            noise="grain",
            deviation=1.0,
            seed=next(_seeds),
            batch_size=1,
        )
        return _seconds(server, graph, node)

    # The first draw loads the prior and the label image.
    draw()
    draws = _in_turns({"draw": draw}, rounds)["draw"]
    # The server has dropped the checkpoint for the draws.
    _load_model(server)
    graph, shared = _start(server, WIDTH, HEIGHT, 1)
    step = _seconds(server, graph, graph.add("KSampler", **shared, denoise=1.0))
    return Figure(
        "Joint Prior Noise against one UNet step",
        100 * statistics.median(draws) / step,
        "%",
        OF_STEP,
        "at most",
        f"{WIDTH}x{HEIGHT} pixels, 182 classes, all in the label image; median of {rounds} draws, "
        "saving the latent included, against a step of the SD1.5 architecture without guidance",
        {"draw_ms": round(1e3 * statistics.median(draws), 1), "step_s": round(step, 3)},
    )


def _load_model(server: ComfyServer) -> None:
    graph, shared = _start(server, SIDE, SIDE, 1)
    _seconds(server, graph, graph.add("KSampler", **shared, denoise=1.0))


def _start(
    server: ComfyServer, width: int, height: int, steps: int
) -> tuple[Graph, dict[str, object]]:
    """A graph up to the sampler, and the inputs that both samplers share."""
    graph = Graph()
    model = weights.add_model(graph, server.base, "sd15")
    return graph, {
        "model": model.model,
        "seed": next(_seeds),
        "steps": steps,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "sgm_uniform",
        "positive": graph.add("CLIPTextEncode", clip=model.clip, text="a street"),
        "negative": graph.add("CLIPTextEncode", clip=model.clip, text=""),
        "latent_image": graph.add("EmptyLatentImage", width=width, height=height, batch_size=1),
    }


def _in_turns(calls: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(call())
    return taken


def _seconds(server: ComfyServer, graph: Graph, node: Node) -> float:
    """How long the server worked on a prompt that ends with this node's latent."""
    graph.add("SaveLatent", samples=node, filename_prefix="bench/latent")
    return execution_seconds(server.run(graph.prompt, timeout=1800))
