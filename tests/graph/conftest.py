"""A labelled dataset and a prior of it, in the test server's folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.scenes import write_dataset
from dev import weights
from dev.graph import Graph, Node
from dev.server import ComfyServer

SIZE = (128, 64)


@dataclass(frozen=True)
class Street:
    """What the tests of the graph share.

    folder: the dataset, relative to the server's input folder.
    prior: name of its prior for the tiny eps model, as Load SCP Prior lists it.
    label: name of a label map for LoadImage, of the dataset's size.
    """

    folder: str
    prior: str
    label: str
    base: Path


@pytest.fixture(scope="session")
def street(server: ComfyServer) -> Street:
    """Twelve generated scenes, their prior built by the node, and one of their label maps."""
    folder = "street"
    write_dataset(server.base / "input" / folder, 12, *SIZE, seed=3)
    graph = Graph()
    model = weights.add_model(graph, server.base, "eps")
    add_build(graph, model.vae, folder, filename="street")
    server.run(graph.prompt)
    label = server.base / "input" / folder / "labels" / "scene_00004.png"
    name = server.upload_image(np.asarray(Image.open(label).convert("RGB")), "street_label.png")
    return Street(folder, "street.safetensors", name, server.base)


def add_build(graph: Graph, vae: object, folder: str, **changes: object) -> Node:
    """Build SCP Prior with its defaults for the generated scenes."""
    inputs = {
        "images": f"{folder}/images",
        "labels": f"{folder}/labels",
        "palette": "cityscapes",
        "width": SIZE[0],
        "height": SIZE[1],
        "batch_size": 4,
        "max_images": 0,
        "seed": 0,
        "latent_format": "sd15",
        "filename": "unnamed",
    }
    return graph.add("SCP_BuildPrior", vae=vae, **{**inputs, **changes})


@pytest.fixture(scope="session", name="add_build")
def add_build_fixture():
    """`add_build`, for tests: they cannot import from a conftest."""
    return add_build


@dataclass(frozen=True)
class Started:
    """Nodes of a graph that is ready for a sampler."""

    graph: Graph
    model: weights.Loaded
    latent: Node
    label: Node
    positive: list
    negative: list

    def sampler(self, **changes: object) -> Node:
        """Partial Denoise KSampler on the prior's latent."""
        inputs = {
            "model": self.model.model,
            "seed": 7,
            "steps": 4,
            "cfg": 4.0,
            "sampler_name": "euler",
            "scheduler": "sgm_uniform",
            "positive": self.positive,
            "negative": self.negative,
            "latent_image": self.latent,
            "mu": 0.8,
        }
        return self.graph.add("SCP_PartialDenoiseKSampler", **{**inputs, **changes})


def start(street: Street, kind: str = "eps", control: bool = True, **noise: object) -> Started:
    """The graph up to the sampler: model, ControlNet and a latent drawn from the prior."""
    graph = Graph()
    model = weights.add_model(graph, street.base, kind)
    label = graph.add("LoadImage", image=street.label)
    prior = graph.add("SCP_LoadPrior", prior_name=street.prior)
    draw = {
        "mode": "joint",
        "noise": "grain",
        "deviation": 1.0,
        "seed": 5,
        "batch_size": 1,
        **noise,
    }
    latent = graph.add("SCP_JointPriorNoise", **{"prior": prior, "label_image": label, **draw})
    positive = graph.add("CLIPTextEncode", clip=model.clip, text="a street").out()
    negative = graph.add("CLIPTextEncode", clip=model.clip, text="").out()
    if control:
        applied = graph.add(
            "ControlNetApplyAdvanced",
            positive=positive,
            negative=negative,
            control_net=weights.add_controlnet(graph, street.base, kind),
            image=label,
            strength=1.0,
            start_percent=0.0,
            end_percent=1.0,
        )
        positive, negative = applied.out(0), applied.out(1)
    return Started(graph, model, latent, label, positive, negative)


@pytest.fixture(scope="session", name="start")
def start_fixture():
    """`start`, for tests: they cannot import from a conftest."""
    return start


@pytest.fixture
def latents(server: ComfyServer, tmp_path_factory: pytest.TempPathFactory):
    """`latents(graph, node, ...)`: run it and read the latents of these nodes bit for bit."""
    import safetensors.torch

    def run(graph: Graph, *nodes: Node, timeout: float = 300):
        prefix = tmp_path_factory.mktemp("latents").name
        for index, node in enumerate(nodes):
            graph.add("SaveLatent", samples=node, filename_prefix=f"latents/{prefix}_{index}")
        server.run(graph.prompt, timeout)
        found = []
        for index in range(len(nodes)):
            (path,) = (server.base / "output" / "latents").glob(f"{prefix}_{index}_*.latent")
            found.append(safetensors.torch.load_file(path)["latent_tensor"])
        return found

    return run
