"""Priors of every latent format of the host, from its own VAEs to its own models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo.scenes import write_dataset
from dev.comfyui import REPOSITORY
from dev.server import host_environment
from prior_tools import load_prior
from prior_tools.latent_formats import LATENT_FORMATS

pytestmark = pytest.mark.slow

NARROW = REPOSITORY / "dev"
FAMILIES = {
    "SD15": ("sd15", 4, 8),
    "SDXL": ("sdxl", 4, 8),
    "SD3": ("sd3", 16, 8),
    "Flux": ("flux", 16, 8),
    "Flux2": ("flux2", 128, 16),
    "QwenImage": ("wan21", 16, 8),
    "Wan21": ("wan21", 16, 8),
    "Wan22": ("wan22", 48, 16),
    "HunyuanImage21": ("hunyuan_image21", 64, 32),
    "HunyuanVideo": ("hunyuan_video", 16, 8),
    "HunyuanVideo15": ("hunyuan_video15", 32, 16),
    "LTXV": ("ltxv", 128, 32),
    "ChromaRadiance": ("pixel", 3, 1),
}
# By their channels, dimensions and pixels a cell alone.
DECIDED = {"Flux2", "Wan22", "HunyuanImage21", "ChromaRadiance"}

PAIRS = """
import comfy.latent_formats, comfy.model_base, comfy.model_patcher, comfy.supported_models_base
import inspect, torch
note = pack_module("nodes.prior_note")
host = pack_module("nodes.host_models")
formats = pack_module("prior_tools.latent_formats")
PriorError = pack_module("prior_tools.errors").PriorError

class Net(torch.nn.Module):
    dtype = torch.float32
    def __init__(self, **_):
        super().__init__()

cpu = torch.device("cpu")
shapes = {n: (f.channels, f.downscale_factor) for n, f in formats.LATENT_FORMATS.items() if f}
result = {}
for name, form in inspect.getmembers(comfy.latent_formats, inspect.isclass):
    base = comfy.latent_formats.LatentFormat
    if not issubclass(form, base) or form is base:
        continue
    config = comfy.supported_models_base.BASE({})
    try:
        config.latent_format = form()
    except AttributeError:
        continue  # a base of several, without channels of its own
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(
        config, comfy.model_base.ModelType.EPS, device=cpu, unet_model=Net)
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
    said = {}
    for prior, (channels, factor) in shapes.items():
        try:
            said[prior] = note.check_note({note.KEY: {
                "latent_format": prior, "latent_channels": channels,
                "downscale_factor": factor}}, patcher)
        except PriorError:
            said[prior] = "refused"
    theirs = host.model_latents(patcher)
    result[name] = [
        formats.format_of_host_class(name),
        [theirs.channels, theirs.dimensions, theirs.downscale_factor], said]
"""


def test_of_all_pairs_of_prior_and_the_hosts_classes_only_the_right_ones_pass(run_in_host):
    known = json.loads(json.dumps(run_in_host(PAIRS)))
    assert {name for name, _, _ in FAMILIES.values()} <= {found for found, _, _ in known.values()}
    for host_class, (name, _, said) in known.items():
        passed = {prior for prior, answer in said.items() if answer is None}
        warned = {prior for prior, answer in said.items() if answer not in (None, "refused")}
        assert passed == ({name} - {"unknown"}), host_class
        # Of every class that the host has, the pack knows what it is of.
        assert not warned, host_class


def test_the_table_has_what_the_hosts_classes_say(run_in_host):
    # The host leaves their pixels per cell at 8, or counts those of a whole cascade.
    others = {"SD_X4", "SC_B", "SC_Prior"}
    for host_class, (name, (channels, dimensions, factor), _) in run_in_host(PAIRS).items():
        if name == "unknown":
            continue
        ours = LATENT_FORMATS[name]
        assert (ours.channels, ours.dimensions) == (channels, dimensions), host_class
        assert host_class in others or factor in (None, ours.downscale_factor), host_class


USED = """
import folder_paths, nodes, runpy, torch
from PIL import Image
import numpy as np
models = runpy.run_path(args[0] + "/narrow_models.py")
vaes = runpy.run_path(args[0] + "/narrow_vaes.py")
_, name, latent_format, data, decided = args
folder_paths.set_input_directory(data)

def node(module, called):
    return getattr(pack_module(f"nodes.{module}"), called).PREPARE_CLASS_CLONE(None)

def run(found, **inputs):
    out = found.execute(**inputs)
    warned.extend(text for _, text in (out.ui or {}).get("scp_warnings", []))
    return out.args

warned, priors = [], []
vae, model = vaes["vae_of"](name), models["model_of"](name)
cond = models["conditioning_of"](name)
for chosen, batch_size in ((latent_format, 1), ("auto" if decided else latent_format, 4)):
    (prior,) = run(
        node("build_prior", "BuildPrior"), vae=vae, images="images", labels="labels",
        palette="cityscapes", width=128, height=64, batch_size=batch_size, max_images=0, seed=0,
        latent_format=chosen, filename=f"{name}_{batch_size}", overwrite=True)
    priors.append(prior)
one, four = priors
same = all(
    torch.allclose(getattr(one, part), getattr(four, part), rtol=1e-3, atol=1e-3)
    for part in ("joint_mean", "joint_std", "spatial_mean", "spatial_std", "class_mean"))

(prior,) = run(node("load_prior", "LoadPrior"), prior_name=f"{name}_4.safetensors")
picture = Image.open(data + "/labels/scene_00000.png").convert("RGB")
label = torch.from_numpy(np.array(picture) / 255).float()[None]
shown = run(node("preview_prior", "PreviewPrior"), prior=prior, vae=vae, label_image=label)
images = [np.array(Image.open(f"{data}/images/scene_0000{i}.png")) for i in range(4)]
latents = [vae.encode(torch.from_numpy(image / 255).float()[None]) for image in images]
mean = torch.cat(latents).mean(0).reshape(prior.spatial_mean.shape)

(draw,) = run(
    node("joint_prior_noise", "JointPriorNoise"), prior=prior, label_image=label, mode="joint",
    noise="grain", deviation=1.0, seed=5, batch_size=2)
custom = "comfy_extras.nodes_custom_sampler"
sampled = []
for mu in (0.8, 1.0):
    for mu_of in ("stable diffusion", "model"):
        (ours,) = run(
            node("partial_denoise_ksampler", "PartialDenoiseKSampler"), model=model, seed=7,
            steps=3, cfg=1.0, sampler_name="euler", scheduler="simple", positive=cond,
            negative=cond, latent_image=draw, mu=mu, mu_of=mu_of)
        sigmas, passed = run(
            node("partial_denoise_scheduler", "PartialDenoiseScheduler"), model=model,
            scheduler="simple", steps=3, mu=mu, mu_of=mu_of, latent_image=draw)
        other = models["run_node"](
            custom, "SamplerCustomAdvanced",
            noise=models["run_node"](custom, "RandomNoise", noise_seed=7),
            guider=models["run_node"](
                custom, "CFGGuider", model=model, positive=cond, negative=cond, cfg=1.0),
            sampler=models["run_node"](custom, "KSamplerSelect", sampler_name="euler"),
            sigmas=sigmas, latent_image=passed)
        image = vae.decode(ours["samples"])
        sampled.append([
            bool(ours["samples"].isfinite().all()),
            bool(torch.allclose(ours["samples"], other["samples"], rtol=1e-4, atol=1e-4)),
            list(image.reshape(-1, *image.shape[-3:]).shape)])
# As it comes from the node, and from samplers that do nothing; also a latent without frames.
flat = {**draw, "samples": draw["samples"].reshape(2, *prior.spatial_mean.shape)}
decoded = []
for latent in (draw, *(
    run(
        node("partial_denoise_ksampler", "PartialDenoiseKSampler"), model=model, seed=7, steps=3,
        cfg=1.0, sampler_name="euler", scheduler="simple", positive=cond, negative=cond,
        latent_image=latent, mu=0.0)[0]
    for latent in (draw, flat)
)):
    (image,) = nodes.VAEDecode().decode(vae, latent)
    decoded.append([list(image.shape), bool(torch.equal(latent["samples"], draw["samples"]))])
result = {
    "format": prior.metadata.latent_format, "factor": prior.metadata.downscale_factor,
    "prior": list(prior.spatial_mean.shape), "same": same,
    "mean": bool(torch.allclose(mean.cpu(), prior.spatial_mean, rtol=1e-3, atol=1e-3)),
    "shown": [list(picture.shape) for picture in shown], "spread": float(shown[3].std()),
    "draw": list(draw["samples"].shape), "sampled": sampled, "decoded": decoded,
    "warned": [text for text in warned if "fit" in text]}
"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    write_dataset(root, 4, 128, 64, seed=5)
    return root


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prior_of_every_format_is_built_shown_drawn_from_and_sampled(run_in_host, scenes, name):
    latent_format, channels, factor = FAMILIES[name]
    decided = name in DECIDED
    said = run_in_host(USED, str(NARROW), name, latent_format, str(scenes), decided)
    grid = [64 // factor, 128 // factor]
    assert (said["format"], said["factor"]) == (latent_format, factor)
    assert said["prior"] == [channels, *grid]
    assert said["same"], "a batch of four is not four batches of one"
    assert said["mean"], "the mean is not that of the host's own latents"
    assert said["shown"][1:] == [[1, 64, 128, 3]] * 3 and said["spread"] > 0
    # A clip's latent has an axis of frames, without which VAE Decode does not take it.
    frames = [1] * (LATENT_FORMATS[latent_format].dimensions - 2)
    assert said["draw"] == [2, channels, *frames, *grid]
    assert said["decoded"] == [[[2, 64, 128, 3], True]] * 3
    assert said["sampled"] == [[True, True, [2, 64, 128, 3]]] * 4
    assert said["warned"] == []


def test_the_command_line_builds_with_a_vae_of_clips(run_in_host, comfy_dir, scenes, tmp_path):
    vae, out = tmp_path / "wan.safetensors", tmp_path / "p.safetensors"
    want = run_in_host(
        """
import runpy, torch, numpy as np
from PIL import Image
from safetensors.torch import save_file
vae = runpy.run_path(args[0] + "/narrow_vaes.py")["vae_of"]("Wan21")
save_file({k: v.contiguous() for k, v in vae.get_sd().items()}, args[1])
latents = [vae.encode(torch.from_numpy(np.array(Image.open(
    f"{args[2]}/images/scene_0000{i}.png")) / 255).float()[None]) for i in range(4)]
result = float(torch.cat(latents).mean()), float(torch.cat(latents)[:, 3].mean())
""",
        str(NARROW),
        str(vae),
        str(scenes),
    )
    command = [
        *(sys.executable, "-m", "prior_tools", "build", "--dataset", "pairs"),
        *("--root", str(scenes), "--palette", "cityscapes", "--size", "128x64"),
        *("--vae", str(vae), "--comfyui", str(comfy_dir), "--workers", "0", "--batch-size", "4"),
        *("--out", str(out), "--device", "cpu"),
    ]
    for chosen, says in (
        ("auto", "may be of wan21, hunyuan_video, cosmos"),
        ("flux", "the VAE has 3-dimensional latents, but --latent-format 'flux' has 2"),
    ):
        ended = _run([*command, "--latent-format", chosen])
        assert ended.returncode == 2 and says in ended.stderr
    ended = _run([*command, "--latent-format", "wan21"])
    assert ended.returncode == 0, ended.stderr
    prior = load_prior(out)
    assert prior.spatial_mean.shape == (16, 8, 16) and prior.num_images == 4
    found = float(prior.spatial_mean.mean()), float(prior.spatial_mean[3].mean())
    assert found == pytest.approx(want, abs=1e-4)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=REPOSITORY, env=host_environment(), capture_output=True, text=True, timeout=300
    )
