"""Load SCP Demo Model gives ComfyUI the very models that were trained, and they do their job."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from demo.ablation.plan import FULL, JOINT, Row
from demo.ablation.sampling import ImageSet, images_folder, made, make, workflow
from demo.run import LABEL_MAPS
from demo.scenes import CLASS_COLORS
from demo.start_graph import WEIGHTS, Settings, Start, StartGraph
from dev.comfyui import REPOSITORY
from dev.graph import Graph
from dev.server import ComfyServer
from prior_tools.generating.manifest import MANIFEST_NAME

pytestmark = pytest.mark.slow

FILE = REPOSITORY / "weights" / "models" / WEIGHTS
SEGMENTER = REPOSITORY / "demo" / "segmenter.pt"
HEADER = "scp_demo_model"
MOST_BYTES = 32e6
# Of the pixels.
FLOOR = 0.5

PARITY = """
import sys
from pathlib import Path

import comfy.model_management
import torch

sys.path.append(args[0])
from demo.training import nets
from demo.training.setting import CONTEXT, alpha_bar
from demo.training.weights_file import write_weights

torch.manual_seed(0)
unet, vae = nets.unet(), nets.autoencoder()
torch.nn.init.normal_(unet.out[-1].weight, std=0.05)
control = nets.controlnet(unet)
for name, value in control.named_parameters():
    if name.startswith(("zero_convs", "middle_block_out")):
        torch.nn.init.normal_(value, std=0.05)
vae.vae_scale.data.fill_(0.2)
for net in (unet, control, vae):
    for value in net.parameters():
        # As the file holds them.
        value.data = value.data.half().float() if value.ndim else value.data
path = Path(args[1])
write_weights(path, vae, unet, control, alpha_bar(), torch.zeros(5, 3), {})

load = pack_module("nodes.host_demo_model").load_demo_model
model, control_net, loaded_vae, positive = load(path)
comfy.model_management.load_models_gpu([model, control_net.control_model_wrapped])
sampling = model.get_model_object("model_sampling")
steps = torch.tensor([10, 800])
sigma = sampling.sigma(steps.float())
latents, hint = torch.randn(2, 4, 18, 36), torch.rand(2, 3, 144, 288)
context = positive[0][0].expand(2, -1, -1)
zeros = torch.zeros(CONTEXT).expand(2, -1, -1)
at = sigma[:, None, None, None]
noised = latents * (at**2 + 1).sqrt()


def off(given, wanted):
    return float((given - wanted).abs().max() / wanted.abs().max())


def noise(control=None):
    clean = model.model.apply_model(noised, sigma, c_crossattn=context, control=control)
    return (noised - clean) / at


found = {"alone": off(noise(), unet(latents, steps, context=zeros))}
applied = control_net.copy().set_cond_hint(hint, 1.0, (0.0, 1.0))
applied.pre_run(model.model, sampling.percent_to_sigma)
given = applied.get_control(noised, sigma, {"c_crossattn": context}, 1, {})
wanted = unet(latents, steps, context=zeros, control=control(latents, hint, steps, zeros))
found["controlled"] = off(noise(given), wanted)
encoded = loaded_vae.encode(hint.movedim(1, -1))
found["encoded"] = off(model.model.process_latent_in(encoded), nets.encode(vae, hint))
decoded = loaded_vae.decode(model.model.process_latent_out(latents)).movedim(-1, 1)
found["decoded"] = off(decoded, nets.decode(vae, latents))
found["sigmas"] = off(sampling.sigmas, ((1 - alpha_bar()) / alpha_bar()).sqrt().float())
result = found
"""


def test_the_node_loads_the_models_that_were_trained(run_in_host, tmp_path):
    found = run_in_host(PARITY, REPOSITORY, tmp_path / "random.safetensors", timeout=300)
    assert set(found) == {"alone", "controlled", "encoded", "decoded", "sigmas"}
    for name, off in found.items():
        assert off < 1e-5, name


MANAGED = """
import comfy.model_patcher as patching, torch
from pathlib import Path

class Chosen(patching.ModelPatcher):
    # The host's own takes the file's tensors as they are, and reroutes to its base on the CPU.
    def is_dynamic(self):
        return True

load = pack_module("nodes.host_demo_model").load_demo_model
before = getattr(patching, "CoreModelPatcher", None)
if before is not None:
    # As the host's main.py does where it can manage memory dynamically.
    patching.CoreModelPatcher = Chosen
try:
    model, control_net, vae, _ = load(Path(args[0]))
finally:
    if before is not None:
        patching.CoreModelPatcher = before
parts = (model, control_net.control_model_wrapped, vae.patcher)
weights = model.model.diffusion_model.state_dict()
result = {
    "known": before is not None,
    "managed": [type(part).__name__ for part in parts],
    "finite": all(bool(w.isfinite().all()) for w in weights.values()),
    "written": sum(float(w.float().abs().sum()) > 0 for w in weights.values()) / len(weights),
    "halved": all(w.dtype == torch.float16 for w in weights.values() if w.ndim > 1),
}
"""


def test_its_models_are_managed_by_the_class_that_the_host_chose_for_its_own(run_in_host):
    found = run_in_host(MANAGED, FILE)
    assert found["managed"] == ["Chosen" if found["known"] else "ModelPatcher"] * 3
    assert found["finite"] and found["written"] > 0.95
    # On a host that manages memory dynamically the weights are those of the file, not copies.
    assert found["halved"] == found["known"]


def test_the_weights_are_small_and_say_how_they_were_made():
    assert FILE.stat().st_size <= MOST_BYTES
    with safe_open(FILE, "pt") as file:
        header = json.loads(file.metadata()[HEADER])
    assert header["made_by"] == "python -m demo.training"
    for name in ("autoencoder", "unet", "control"):
        assert header["training"][name]["step"] == header["training"][name]["steps"]


@pytest.fixture(scope="module")
def streets(server: ComfyServer):
    """`streets(start)`: label maps [N, H, W, 3] and images of them, all uint8, from the server."""
    count = 8

    def sample(start: Start, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
        maps, images = [], []
        for index in range(count):
            graph = Graph()
            labels = graph.add("SCP_DemoLabelMap", index=index)
            made = StartGraph(graph, labels)
            settings = Settings(seed=seed)
            latent = made.sampled(made.drawn(start, settings), start, settings)
            image = graph.add("SaveImage", images=made.decoded(latent), filename_prefix="demo")
            label = graph.add("SaveImage", images=labels, filename_prefix="demo_label")
            found = server.images(server.run(graph.prompt))
            maps += found[label.id]
            images += found[image.id]
        return np.stack(maps)[..., :3], np.stack(images)[..., :3]

    return sample


def test_equal_seeds_give_equal_images_and_others_do_not(server, streets):
    _, once = streets(Start())
    # The host calls it an error that it does not know models of this size.
    told = server.log_text()
    assert 0 <= told.find('its error "no match" about them is expected') < told.find("no match {")
    server.free()
    _, again = streets(Start())
    assert np.array_equal(once, again)
    _, other = streets(Start(), seed=2)
    assert (once != other).any()


@pytest.mark.parametrize("start", [Start(), Start("normal", 1.0)], ids=["prior", "stock"])
def test_images_follow_their_label_maps(streets, start):
    maps, images = streets(start)
    colors = maps.reshape(len(maps), -1, 3).astype(int)
    judge = torch.jit.load(str(SEGMENTER))
    with torch.no_grad():
        scores = judge(torch.from_numpy(images).movedim(-1, 1).float() / 255)
    off = np.abs(colors[:, :, None] - CLASS_COLORS.astype(int)).sum(-1)
    assert (off.min(-1) == 0).all()
    right = scores.argmax(1).flatten(1).numpy() == off.argmin(-1)
    assert right.mean() > FLOOR


def test_generate_makes_the_images_of_the_ablations_rows_at_equal_seeds(server, tmp_path):
    maps, per_map = 2, 2
    colors = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in LABEL_MAPS[:maps]])
    seeds = []
    for start in (FULL, JOINT):
        row = Row("main", "", start, Settings(steps=2), maps, per_map)
        prompt = workflow(row, WEIGHTS, WEIGHTS)
        make(ImageSet(row, maps, per_map), prompt, colors, [server.url], tmp_path)
        first, second = (made(row, k, tmp_path) for k in range(per_map))
        assert first.shape == second.shape == colors.shape
        assert (first != second).any((1, 2, 3)).all()
        lines = (images_folder(row, tmp_path) / MANIFEST_NAME).read_text().splitlines()
        seeds.append({entry["file"]: entry["seed"] for entry in map(json.loads, lines)})
    assert seeds[0] == seeds[1] and len(seeds[0]) == maps * per_map


def test_the_label_map_is_shown_also_where_the_server_remembers_it(server):
    graph = Graph()
    labels = graph.add("SCP_DemoLabelMap", index=3)
    graph.add("PreviewImage", images=graph.add("ImageInvert", image=labels))
    first, second = (server.images(server.run(graph.prompt)) for _ in range(2))
    assert np.array_equal(first[labels.id], second[labels.id])


def test_an_index_beyond_the_label_maps_is_refused(server):
    graph = Graph()
    labels = graph.add("SCP_DemoLabelMap", index=0)
    graph.prompt[labels.id]["inputs"]["index"] = 999
    graph.add("PreviewImage", images=labels)
    with pytest.raises(Exception, match=r"bigger than max|there is no label map 999"):
        server.run(graph.prompt)


@pytest.mark.parametrize(
    ("name", "say"),
    [
        ("cut.safetensors", "damaged or not the demo's weights"),
        ("other.safetensors", "damaged or not the demo's weights"),
        ("newer.safetensors", "format version 99"),
        # Newer hosts look into the list themselves, before anything runs.
        (
            "missing.safetensors",
            r"there are no weights 'missing\.safetensors'|'missing\.safetensors' not in",
        ),
    ],
)
def test_weights_that_cannot_be_used_are_told_on_the_node(server, name, say):
    folder = server.base / "models" / "scp_demo_models"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if name.startswith("cut"):
        path.write_bytes(FILE.read_bytes()[:100_000])
    elif name.startswith("other"):
        save_file({"x": torch.zeros(1)}, path)
    elif name.startswith("newer"):
        save_file({"x": torch.zeros(1)}, path, {HEADER: json.dumps({"format_version": 99})})
    graph = Graph()
    model = graph.add("SCP_LoadDemoModel", weights=name)
    pixels = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0)
    latent = graph.add("VAEEncode", pixels=pixels, vae=model.out(2))
    graph.add("SaveLatent", samples=latent, filename_prefix="never")
    try:
        with pytest.raises(Exception, match=say):
            server.run(graph.prompt)
    finally:
        path.unlink(missing_ok=True)
