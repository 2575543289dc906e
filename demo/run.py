"""The main job, in a real ComfyUI server, without any download beyond packages.

Generates a small street dataset, builds a prior from it, and samples one unseen label map with and
without the prior at equal seed. Writes one picture:

    label map     stock start     mean of many stock starts     stock result
    prior mean    prior start     mean of many prior starts     prior result

    python -m demo.run [--out FILE]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import load_file, save_file

from demo.panels import compose
from demo.scenes import generate_scene, write_dataset
from dev import weights
from dev.comfyui import CACHE, REPOSITORY, ensure_comfyui
from dev.graph import Graph, Node
from dev.server import ComfyServer
from dev.workspace import make_workspace

WIDTH, HEIGHT = 512, 256
SCENES = 64
UNSEEN = 20_002
SEED, STEPS, CFG, MU = 4, 20, 1.0, 0.8
STARTS = 256
# sqrt(alpha_bar) at mu*T is small, so the mean of many starts is shown with more contrast.
CONTRAST = 5.0

# Stable Diffusion's schedule of 1000 steps: betas linear in their square roots.
_ALPHA_BAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def signal_share(time_fraction: float) -> float:
    """sqrt(alpha_bar) at this fraction of training time: what is left of the data there."""
    step = time_fraction * 999
    low = int(step)
    high = min(low + 1, 999)
    logs = np.log(_ALPHA_BAR[[low, high]])
    return float(np.exp(0.5 * (logs[0] + (step - low) * (logs[1] - logs[0]))))


class Demo:
    """The graphs of the demo, on one running server."""

    def __init__(self, server: ComfyServer) -> None:
        self.server = server

    def build(self) -> None:
        """Build SCP Prior on the generated scenes, unless it was built before."""
        graph = Graph()
        vae = weights.add_model(graph, self.server.base, "eps").vae
        graph.add(
            "SCP_BuildPrior",
            vae=vae,
            images="street/images",
            labels="street/labels",
            palette="cityscapes",
            width=WIDTH,
            height=HEIGHT,
            batch_size=8,
            max_images=0,
            seed=0,
            latent_format="sd15",
            filename="demo",
            overwrite=True,
        )
        self.server.run(graph.prompt, timeout=900)

    def sample(self, label: str) -> dict[str, np.ndarray]:
        """All panels but the label map, uint8 [H, W, 3] by name."""
        graph = Graph()
        model = weights.add_model(graph, self.server.base, "eps")
        image = graph.add("LoadImage", image=label, title="Label map")
        prior = graph.add("SCP_LoadPrior", prior_name="demo.safetensors")
        draw = {"prior": prior, "label_image": image, "mode": "joint", "seed": SEED}
        drawn = graph.add("SCP_JointPriorNoise", **draw, deviation=1.0, batch_size=STARTS)
        mean = graph.add("SCP_JointPriorNoise", **draw, deviation=0.0, batch_size=1)
        empty = graph.add("EmptyLatentImage", width=WIDTH, height=HEIGHT, batch_size=STARTS)

        clip = graph.add("CLIPTextEncode", clip=model.clip, text="a street")
        applied = graph.add(
            "ControlNetApplyAdvanced",
            positive=clip,
            negative=clip,
            control_net=weights.add_controlnet(graph, self.server.base, "eps"),
            image=image,
            strength=1.0,
            start_percent=0.0,
            end_percent=1.0,
        )
        sampling = {
            "model": model.model,
            "seed": SEED,
            "steps": STEPS,
            "cfg": CFG,
            "sampler_name": "euler",
            "scheduler": "sgm_uniform",
            "positive": applied.out(0),
            "negative": applied.out(1),
        }
        starts = {
            "stock": _noised(graph, model.model, empty, 1.0),
            "prior": _noised(graph, model.model, drawn, MU),
        }
        for name, batch in starts.items():
            graph.add("SaveLatent", samples=batch, filename_prefix=f"demo/{name}")
        stock = graph.add("KSampler", **sampling, latent_image=_first(graph, empty), denoise=1.0)
        ours = graph.add(
            "SCP_PartialDenoiseKSampler", **sampling, latent_image=_first(graph, drawn), mu=MU
        )
        panels = self._decoded(
            graph,
            model.vae,
            {
                "prior mean": mean,
                "stock start": _first(graph, starts["stock"]),
                "prior start": _first(graph, starts["prior"]),
                "stock result": stock,
                "prior result": ours,
            },
        )
        return panels | self._mean_starts()

    def _mean_starts(self) -> dict[str, np.ndarray]:
        """The mean of all starts of each kind, decoded."""
        graph = Graph()
        vae = weights.add_model(graph, self.server.base, "eps").vae
        latents = {}
        for name in ("stock", "prior"):
            saved = max((self.server.base / "output" / "demo").glob(f"{name}_*.latent"))
            tensors = load_file(saved)
            tensors["latent_tensor"] = CONTRAST * tensors["latent_tensor"].mean(0, keepdim=True)
            file = f"{name}_mean.latent"
            save_file(tensors, self.server.base / "input" / file)
            latents[f"mean {name} start"] = graph.add("LoadLatent", latent=file)
        return self._decoded(graph, vae, latents)

    def _decoded(self, graph: Graph, vae: list, latents: dict[str, Node]) -> dict[str, np.ndarray]:
        """Run the graph and return the first image of each of these latents."""
        saved = {
            graph.add(
                "SaveImage",
                images=graph.add("VAEDecode", samples=samples, vae=vae),
                filename_prefix="demo/" + name.replace(" ", "_"),
            ).id: name
            for name, samples in latents.items()
        }
        images = self.server.images(self.server.run(graph.prompt, timeout=900))
        return {name: images[node_id][0] for node_id, name in saved.items()}


def _first(graph: Graph, batch: Node) -> Node:
    """The first latent of a batch."""
    return graph.add("LatentFromBatch", samples=batch, batch_index=0, length=1)


def _noised(graph: Graph, model: list, latent: Node, mu: float) -> Node:
    """What the sampler is given first, at the variance of data, so that it can be decoded."""
    sigmas = graph.add(
        "SCP_PartialDenoiseScheduler", model=model, scheduler="sgm_uniform", steps=STEPS, mu=mu
    )
    noised = graph.add(
        "AddNoise",
        model=model,
        noise=graph.add("RandomNoise", noise_seed=SEED),
        sigmas=sigmas,
        latent_image=latent,
    )
    return graph.add("LatentMultiply", samples=noised, multiplier=signal_share(mu))


def correlation(image: np.ndarray, other: np.ndarray) -> float:
    """Of two pictures' 8x8 means, where one latent cell decodes to one 8x8 block."""
    cells = [
        x[..., :3].reshape(HEIGHT // 8, 8, WIDTH // 8, 8, 3).mean((1, 3)).ravel()
        for x in (image.astype(float), other.astype(float))
    ]
    return float(np.corrcoef(*cells)[0, 1])


def main(argv: list[str] | None = None) -> None:
    """Run the demo and write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "demo_output" / "scp_diff_demo.png"
    )
    args = parser.parse_args(argv)

    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {text}", flush=True)

    base = make_workspace(CACHE / "demo", REPOSITORY)
    dataset = base / "input" / "street"
    complete = dataset / f"complete_{SCENES}_{WIDTH}x{HEIGHT}"
    if not complete.exists():
        say(f"drawing {SCENES} street scenes with label maps")
        write_dataset(dataset, SCENES, WIDTH, HEIGHT)
        complete.touch()
    unseen = generate_scene(UNSEEN, WIDTH, HEIGHT)

    say("starting ComfyUI")
    with ComfyServer(ensure_comfyui(), base) as server:
        demo = Demo(server)
        say(f"building the prior from {SCENES} images")
        demo.build()
        label = server.upload_image(unseen.label_colors, "demo_label.png")
        say(f"sampling an unseen label map, {STEPS} steps, with and without the prior")
        panels = demo.sample(label)

    mean = panels["prior mean"]
    notes = {
        name: f"correlation {correlation(panel, mean):+.2f}"
        for name, panel in panels.items()
        if name != "prior mean"
    }
    rows = [
        [
            ("label map, never seen by the prior", unseen.label_colors, ""),
            ("stock start: N(0, 1)", panels["stock start"], notes["stock start"]),
            (
                f"mean of {STARTS} such, contrast x{CONTRAST:.0f}",
                panels["mean stock start"],
                notes["mean stock start"],
            ),
            ("stock result", panels["stock result"], notes["stock result"]),
        ],
        [
            (f"prior mean, from {SCENES} images", mean, ""),
            (f"prior start at step {MU} T", panels["prior start"], notes["prior start"]),
            (
                f"mean of {STARTS} such, contrast x{CONTRAST:.0f}",
                panels["mean prior start"],
                notes["mean prior start"],
            ),
            ("prior result", panels["prior result"], notes["prior result"]),
        ],
    ]
    sheet = compose(
        rows,
        footer="The networks of this demo are untrained, so the results are no images yet: they "
        "only show that the whole graph runs. What the prior puts back into the noise is its "
        "mean: the average of many starts brings it out. Correlations are with the prior mean. "
        "Equal seeds.",
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(args.out)
    for name, text in notes.items():
        say(f"{name}: {text}")
    say(f"wrote {args.out}")


if __name__ == "__main__":
    main()
