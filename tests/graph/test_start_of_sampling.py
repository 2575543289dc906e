"""The rules of the start, for every scheduler of the host and every kind of model."""

import math
from pathlib import Path

import pytest
import torch

from prior_tools.schedule import partial_schedule, stable_diffusion_noise

pytestmark = pytest.mark.slow

LOAD = """
import json, torch, comfy.sd, comfy.samplers, comfy.sample, comfy.model_sampling
import nodes
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

checkpoint, kind = args[:2]
cache = globals().setdefault("scp_models", {})
model = comfy.sd.load_checkpoint_guess_config(
    checkpoint, output_vae=False, output_clip=False)[0]
if kind == "v":
    (model,) = ModelSamplingDiscrete().patch(model, "v_prediction", False)
host = pack_module("nodes.host_sampling")
"""

KINDS = ("eps", "v", "flow")


@pytest.fixture(scope="module")
def checkpoints():
    from dev import weights

    return {kind: str(weights.tiny_checkpoint(kind)) for kind in KINDS}


@pytest.fixture(scope="module", params=KINDS)
def schedules(request, run_in_host, checkpoints):
    """Full and cut schedules for all schedulers, from the host's own model of this kind."""
    code = (
        LOAD
        + """
rows = []
sampling = model.get_model_object("model_sampling")
for scheduler in host.scheduler_names():
    for steps in (7, 20):
        full = comfy.samplers.calculate_sigmas(sampling, scheduler, steps)
        for mu in (0.0, 0.3, 0.5, 0.8, 0.95, 0.999, 1.0):
            rows.append({
                "scheduler": scheduler, "steps": steps, "mu": mu, "full": full.tolist(),
                "cut": host.scheduler_sigmas(
                    model, scheduler, steps, host.find_start(model, mu, "model")).tolist(),
                "start": float(sampling.percent_to_sigma(1 - mu)) if 0 < mu < 1 else None})
result = {"rows": rows, "schedulers": host.scheduler_names()}
"""
    )
    return run_in_host(code, checkpoints[request.param], request.param)


def test_the_host_has_its_schedulers(schedules):
    known = {"normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform", "beta"}
    assert known <= set(schedules["schedulers"])


def test_the_first_sigma_is_exactly_that_of_mu_T(schedules):
    for row in schedules["rows"]:
        if row["start"] is not None:
            assert row["cut"][0] == pytest.approx(row["start"], rel=1e-6), row["scheduler"]


def test_the_schedules_own_smaller_sigmas_follow(schedules):
    for row in schedules["rows"]:
        if row["start"] is None:
            continue
        want = partial_schedule(torch.tensor(row["full"]), row["start"])
        assert torch.equal(torch.tensor(row["cut"]), want), row["scheduler"]
        assert set(row["cut"][1:]) <= set(row["full"])
        gaps = -torch.tensor(row["cut"]).diff()
        assert (gaps > 0).all()
        if len(gaps) > 2:
            assert gaps[0] >= 0.25 * gaps[1] - 1e-6


def test_mu_1_is_the_stock_schedule_and_mu_0_none(schedules):
    for row in schedules["rows"]:
        if row["mu"] == 1:
            assert row["cut"] == row["full"]
        if row["mu"] == 0:
            assert row["cut"] == []


def test_about_mu_of_the_steps_are_run(schedules):
    """For schedulers that are even in time, as in the paper."""
    for row in schedules["rows"]:
        even = row["scheduler"] in ("simple", "sgm_uniform", "normal", "ddim_uniform")
        if even and row["mu"] in (0.5, 0.8) and row["steps"] == 20:
            assert abs(len(row["cut"]) - 1 - 20 * row["mu"]) <= 2, row["scheduler"]


FIRST_INPUT = (
    LOAD
    + """
from safetensors.torch import save_file
_, _, out, mu_of, cases = args
channels = model.get_model_object("latent_format").latent_channels
context = 768 if kind != "flow" else 4096
cond = [[torch.zeros(1, 77, context), {"pooled_output": torch.zeros(1, 2048)}]]
seen = []
def record(apply_model, options):
    if not seen:
        seen.append((options["input"].clone(), float(options["timestep"][0])))
    return torch.zeros_like(options["input"])
model = model.clone()
model.set_model_unet_function_wrapper(record)
tensors, sigmas = {}, []
x0 = torch.randn(2, channels, 8, 16, generator=torch.Generator().manual_seed(1)) * 4
tensors["clean"] = model.model.process_latent_in(x0)
for index, (empty, mu, scheduler) in enumerate(cases):
    seen.clear()
    samples = torch.zeros_like(x0) if empty else x0.clone()
    host.sample_from(model, {"samples": samples}, cond, cond, seed=3, steps=5, cfg=1.0,
        sampler_name="euler", scheduler=scheduler, start=host.find_start(model, mu, mu_of),
        empty=empty)
    tensors[f"x{index}"] = seen[0][0]
    sigmas.append(seen[0][1])
tensors["noise"] = comfy.sample.prepare_noise(x0, 3)
save_file(tensors, out)
sampling = model.get_model_object("model_sampling")
result = {"sigmas": sigmas, "sigma_max": float(sampling.sigma_max),
    "starts": [float(sampling.percent_to_sigma(1 - mu)) for _, mu, _ in cases]}
"""
)

CASES = [
    (empty, mu, scheduler)
    for empty in (False, True)
    for mu in (0.5, 0.8, 1.0)
    for scheduler in ("sgm_uniform", "karras", "ddim_uniform")
]


@pytest.mark.parametrize("mu_of", ["stable diffusion", "model"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_model_is_given_first(run_in_host, checkpoints, tmp_path, kind, mu_of):
    """x0 + sigma * noise from a prior, noise * sqrt(1 + sigma^2) from nothing; flow mixes."""
    from safetensors.torch import load_file

    path = tmp_path / "first.safetensors"
    said = run_in_host(FIRST_INPUT, checkpoints[kind], kind, str(path), mu_of, CASES)
    tensors = load_file(path)
    noise, x0 = tensors["noise"].double(), tensors["clean"].double()
    top = said["sigma_max"]
    for index, (empty, mu, scheduler) in enumerate(CASES):
        x, sigma = tensors[f"x{index}"].double(), said["sigmas"][index]
        if mu < 1 and mu_of == "model":
            assert sigma == pytest.approx(said["starts"][index], rel=1e-6)
        elif mu < 1:
            ratio = stable_diffusion_noise(mu)
            assert sigma == pytest.approx(ratio / (1 + ratio) if kind == "flow" else ratio, 1e-6)
        elif scheduler != "ddim_uniform":
            lowered = kind != "flow" and not empty
            assert sigma == pytest.approx(top * (1 - 1e-4) if lowered else top, rel=1e-6)
        if kind == "flow":
            want = sigma * noise + (0 if empty else 1 - sigma) * x0
        elif empty:
            stock_below_top = mu == 1 and scheduler == "ddim_uniform"
            gain = sigma if stock_below_top else math.sqrt(1 + sigma**2)
            want = gain * noise
        else:
            want = x0 + sigma * noise
        case = str(CASES[index])
        torch.testing.assert_close(
            x, want, atol=2e-5, rtol=2e-5, msg=lambda m, case=case: f"{case}: {m}"
        )


def test_the_draw_is_independent_of_the_hosts_noise(run_in_host, tmp_path):
    from safetensors.torch import load_file

    path = tmp_path / "noise.safetensors"
    run_in_host(
        """
import torch, comfy.sample
from safetensors.torch import save_file
tools = pack_module("prior_tools")
state = tools.PriorAccumulator(4, (64, 64))
labels = torch.zeros(2, 64, 64, dtype=torch.int64)
state.update(torch.stack([torch.ones(4, 64, 64), -torch.ones(4, 64, 64)]), labels)
prior = state.finalize()
before = torch.random.get_rng_state()
ours = tools.draw_prior_sample(prior, labels[:1], seed=11)
assert torch.equal(before, torch.random.get_rng_state())
save_file({"ours": ours, "host": comfy.sample.prepare_noise(ours, 11)}, args[0])
result = True
""",
        str(path),
    )
    both = load_file(path)
    correlation = torch.corrcoef(torch.stack([both["ours"].flatten(), both["host"].flatten()]))
    assert abs(correlation[0, 1]) < 5 / both["ours"].numel() ** 0.5


def test_labels_go_through_the_hints_geometry(run_in_host):
    """Equal to the host's own crop and nearest-exact resize of the hint, to the pixel."""
    done = run_in_host(
        """
import torch, comfy.utils
from hypothesis import assume, given, settings, strategies as st
fit = pack_module("prior_tools").fit_labels
crop_box = pack_module("prior_tools.labels.geometry").crop_box
few, many = st.integers(1, 160), st.integers(160, 1500)
done = []

def hint_of(labels, width, height):
    # As Load Image gives it and ControlNets take it.
    hint = labels[..., None].float().movedim(-1, 1)
    try:
        return comfy.utils.common_upscale(hint, width, height, "nearest-exact", "center")[:, 0]
    except RuntimeError:
        assume(False)  # so narrow that the host's crop leaves nothing

def as_the_hint(h, w, height, width):
    labels = torch.arange(h * w).view(1, h, w)
    assert torch.equal(fit(labels, (width, height)), hint_of(labels, width, height).long())
    done.append(1)

@settings(max_examples=1000, deadline=None, database=None)
@given(*[st.integers(1, 120)] * 2, *[st.integers(120, 160)] * 2)
def cut_as_the_hint(h, w, height, width):
    # Enlarged, so that every pixel that is left shows.
    left = hint_of(torch.arange(h * w).view(1, h, w), width, height).long()
    rows, columns = left // w, left % w
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert tuple(map(int, box)) == crop_box((w, h), (width, height))
    done.append(1)

# Torch's float32 arithmetic decides between two pixels, and not alike for each other side.
as_the_hint(1, 68, 20, 47)
as_the_hint(2, 90, 41, 51)
for sides, count in ((few, 2000), (many, 20)):
    chosen = settings(max_examples=count, deadline=None, database=None)
    chosen(given(sides, sides, sides, sides)(as_the_hint))()
cut_as_the_hint()
result = len(done)
"""
    )
    assert done > 2500


def test_an_empty_latent_is_what_the_host_takes_for_one(run_in_host):
    """Also of models of picture and sound, whose latents are several in one."""
    found = run_in_host(
        """
import torch, comfy.nested_tensor
is_empty = pack_module("nodes.host_sampling").is_empty
nothing, something = torch.zeros(1, 4, 2, 8, 8), torch.zeros(1, 2, 7, 3)
something[0, 1, 2, 0] = -1e-3
nested = comfy.nested_tensor.NestedTensor
result = [
    is_empty({"samples": samples})
    for samples in (
        nothing, something, nested([nothing, torch.zeros_like(something)]),
        nested([nothing, something]), nested([something, nothing]))]
"""
    )
    assert found == [True, False, True, False, False]


@pytest.mark.parametrize("mu", [-0.1, 1.2, math.nan])
def test_a_mu_that_is_no_fraction_is_refused(run_in_host, mu):
    """The host checks what is typed, not what comes through a link, and never NaN."""
    expected = f"mu is {mu}; expected a fraction of training time, 0..1"
    assert run_in_host(REFUSED, str(mu), "model") == [expected] * 2


def test_a_mu_of_that_is_none_is_refused(run_in_host):
    expected = "mu_of is 'sdxl'; expected one of stable diffusion, model"
    assert run_in_host(REFUSED, "0.8", "sdxl") == [expected] * 2


REFUSED = """
error = pack_module("prior_tools").PriorError
result = []
for module, name, more in (
    ("partial_denoise_scheduler", "PartialDenoiseScheduler", ("simple", 4)),
    ("partial_denoise_ksampler", "PartialDenoiseKSampler",
        (0, 4, 1.0, "euler", "simple", [], [], {})),
):
    try:
        getattr(pack_module(f"nodes.{module}"), name).execute(
            None, *more, float(args[0]), args[1])
    except error as caught:
        result.append(str(caught))
"""

NARROW = Path(__file__).parents[2] / "dev" / "narrow_models.py"
FAMILIES = (
    *("SD15", "SDXL", "SD3", "Flux", "Flux2", "QwenImage", "Wan21", "Wan22", "HunyuanImage21"),
    *("HunyuanVideo", "HunyuanVideo15", "LTXV", "ChromaRadiance"),
)
MODELS = """
import runpy, torch
host = pack_module("nodes.host_sampling")
narrow = runpy.run_path(args[0])
"""


@pytest.fixture(scope="module")
def starts(run_in_host):
    """Where sampling starts in a model of each family, and how much of the latent it keeps."""
    return run_in_host(
        MODELS
        + """
result = {}
for name in narrow["MODELS"]:
    model = narrow["model_of"](name)
    for mu_of in ("stable diffusion", "model"):
        for mu in (0.05, 0.2, 0.5, 0.8, 0.95, 1.0):
            start = host.find_start(model, mu, mu_of)
            time, kept = host.own_time(model, start.sigma), host.kept_at(model, start.sigma)
            result[f"{name} {mu_of} {mu}"] = [start.sigma, time, kept, start.full]
""",
        str(NARROW),
    )


def test_every_family_has_a_narrow_model(starts):
    assert {key.split()[0] for key in starts} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_mu_of_stable_diffusion_keeps_as_much_of_the_latent_in_every_family(starts, name):
    for mu in (0.05, 0.2, 0.5, 0.8, 0.95):
        sigma, time, kept, full = starts[f"{name} stable diffusion {mu}"]
        assert kept == pytest.approx(1 / math.hypot(1, stable_diffusion_noise(mu)), rel=1e-9)
        assert 0 < time < 1 and not full
        own_sigma, own_time, own_kept, full = starts[f"{name} model {mu}"]
        assert own_time == pytest.approx(mu, rel=1e-5) and not full
        if name in ("SD15", "SDXL"):
            assert sigma == pytest.approx(own_sigma, rel=1e-6)
            assert time == pytest.approx(mu, rel=1e-5)
        elif mu == 0.8:
            assert own_kept < kept and time < mu


@pytest.mark.parametrize("name", FAMILIES)
def test_mu_1_is_the_models_sigma_max_in_both(starts, name):
    assert starts[f"{name} stable diffusion 1.0"] == starts[f"{name} model 1.0"]
    sigma, time, kept, full = starts[f"{name} model 1.0"]
    assert full and time == pytest.approx(1)
    if name in ("SD15", "SDXL"):
        assert kept == pytest.approx(1 / math.hypot(1, sigma)) == pytest.approx(0.068, abs=5e-4)
    else:
        assert sigma == pytest.approx(1) and kept == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        *(("SD3", 0.63), ("Flux", 0.62), ("QwenImage", 0.62), ("HunyuanImage21", 0.505)),
        *(("Flux2", 0.40), ("Wan21", 0.39), ("HunyuanVideo", 0.42)),
    ],
)
def test_where_mu_0_8_of_stable_diffusion_lies_in_a_flow_models_own_time(starts, name, time):
    assert starts[f"{name} stable diffusion 0.8"][1] == pytest.approx(time, abs=5e-3)


def test_how_much_of_the_latent_wan_keeps_at_0_8_of_its_own_time(starts):
    assert starts["Wan21 model 0.8"][2] == pytest.approx(0.031, abs=5e-4)


def test_a_model_with_less_noise_than_stable_diffusion_starts_at_its_own_maximum(run_in_host):
    """And one with zero terminal signal to noise keeps nothing there."""
    said = run_in_host(
        MODELS
        + """
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
less = narrow["model_of"]("SD15").clone()
less.add_object_patch("model_sampling", less.get_model_object("model_sampling"))
less.object_patches["model_sampling"].set_sigmas(torch.linspace(0.03, 4.0, 1000))
(none,) = ModelSamplingDiscrete().patch(narrow["model_of"]("SD15"), "v_prediction", True)
result = []
for model, mu in ((less, 0.7), (less, 0.8), (less, 1.0), (none, 0.8), (none, 1.0)):
    start = host.find_start(model, mu, "stable diffusion")
    result.append([start.sigma, start.full, host.kept_at(model, start.sigma)])
""",
        str(NARROW),
    )
    below, beyond, top, usual, nothing = said
    assert below[0] == pytest.approx(stable_diffusion_noise(0.7)) and not below[1]
    assert beyond == top == [4.0, True, pytest.approx(1 / math.hypot(1, 4))]
    assert usual[0] == pytest.approx(stable_diffusion_noise(0.8)) and not usual[1]
    assert nothing[1] and nothing[2] < 1e-3


SAMPLED_BOTH_WAYS = """
import nodes

def both(model, cond, latent):
    settings = dict(seed=3, steps=2, cfg=2.0, sampler_name="euler", scheduler="simple")
    (stock,) = nodes.KSampler().sample(
        model, positive=cond, negative=cond, latent_image=dict(latent), **settings)
    start = host.find_start(model, 1.0, "stable diffusion")
    ours = host.sample_from(
        model, dict(latent), cond, cond, start=start, empty=host.is_empty(latent), **settings)
    # A latent of picture and sound has two parts.
    parts = [x["samples"].unbind() if x["samples"].is_nested else [x["samples"]]
        for x in (stock, ours)]
    return [
        sorted(stock) == sorted(ours),
        *(torch.equal(a, b) for a, b in zip(*parts, strict=True)),
        *(bool(a.isfinite().all() and a.std() > 0) for a in parts[0])]
"""


@pytest.mark.parametrize("name", FAMILIES)
def test_at_mu_1_every_family_samples_as_the_stock_ksampler_bit_for_bit(run_in_host, name):
    """From the host's general empty latent and from the model's own, which newer hosts tag."""
    said = run_in_host(
        MODELS
        + SAMPLED_BOTH_WAYS
        + """
model, cond = narrow["model_of"](args[1]), narrow["conditioning_of"](args[1])
size = {"width": 128, "height": 64, "batch_size": 2}
result = [
    both(model, cond, latent) for latent in (
        narrow["run_node"]("nodes", "EmptyLatentImage", **size),
        narrow["empty_of"](args[1], **size))]
""",
        str(NARROW),
        name,
    )
    assert len(said) == 2
    for holds in said:
        assert all(holds)


def test_at_mu_1_every_latent_format_of_the_host_samples_as_in_the_stock_ksampler(run_in_host):
    """Whole latents of pictures and clips, in a net that stands for any."""
    said = run_in_host(
        MODELS
        + SAMPLED_BOTH_WAYS
        + """
import comfy.latent_formats, comfy.model_base, comfy.model_patcher
import comfy.supported_models_base, inspect

class Net(torch.nn.Module):
    dtype = torch.float32
    def __init__(self, **_):
        super().__init__()
    def forward(self, x, t, context=None, **_):
        return (x * 0.7).sin()

cpu = torch.device("cpu")
cond = [[torch.zeros(1, 7, 8), {}]]
empty = narrow["run_node"]("nodes", "EmptyLatentImage", width=128, height=64, batch_size=2)
result = {}
for name, form in inspect.getmembers(comfy.latent_formats, inspect.isclass):
    base = comfy.latent_formats.LatentFormat
    if not issubclass(form, base) or form is base or form.latent_dimensions < 2:
        continue
    try:
        grid = (1,) * (form.latent_dimensions - 2) + (8, 16)
        form().process_out(form().process_in(torch.zeros(1, form.latent_channels, *grid)))
    except (AttributeError, RuntimeError):
        continue  # not of a grid: solids, and the base of several formats
    for kind in ("EPS", "FLOW"):
        config = comfy.supported_models_base.BASE({})
        config.latent_format = form()
        config.set_inference_dtype(torch.float32, None)
        model = comfy.model_base.BaseModel(
            config, comfy.model_base.ModelType[kind], device=cpu, unet_model=Net)
        patcher = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
        result[f"{name} {kind}"] = both(patcher, cond, empty)
""",
        str(NARROW),
    )
    named = {"SD15", "SDXL", "SD3", "Flux", "Flux2", "Wan21", "Wan22", "HunyuanImage21", "LTXV"}
    assert named | {"HunyuanVideo15", "ChromaRadiance"} <= {key.split()[0] for key in said}
    for name, holds in said.items():
        assert all(holds), name


def test_the_result_is_fitted_and_says_nothing_else(run_in_host):
    """So another sampler does not fit it once more; at mu 0 the latent comes back as it was."""
    found = run_in_host(
        MODELS
        + """
model, cond = narrow["model_of"]("HunyuanImage21"), narrow["conditioning_of"]("HunyuanImage21")
latent = {"samples": torch.zeros(1, 4, 8, 16), "downscale_ratio_spacial": 8,
    "downscale_ratio_temporal": 1, "mine": 5}
result = []
for mu in (0.0, 0.5, 1.0):
    out = host.sample_from(
        model, latent, cond, cond, seed=1, steps=2, cfg=1.0, sampler_name="euler",
        scheduler="simple", start=host.find_start(model, mu, "model"), empty=True)
    result.append(sorted(out))
""",
        str(NARROW),
    )
    untouched, *fitted = found
    assert untouched == sorted(
        ["downscale_ratio_spacial", "downscale_ratio_temporal", "mine", "samples"]
    )
    assert fitted == [["mine", "samples"]] * 2


@pytest.mark.parametrize("halved", [False, True])
def test_a_draw_is_in_the_number_format_of_the_hosts_empty_latents(run_in_host, halved):
    """Half precision where a newer host was started with --fp16-intermediates."""
    drawn, empty, both_sampled = run_in_host(
        MODELS
        + """
import nodes
from comfy.cli_args import args as options
tools = pack_module("prior_tools")
state = tools.PriorAccumulator(4, (8, 8))
state.update(torch.randn(2, 4, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64))
node = pack_module("nodes.joint_prior_noise").JointPriorNoise.PREPARE_CLASS_CLONE(None)
model, cond = narrow["model_of"]("SD15"), narrow["conditioning_of"]("SD15")
before = getattr(options, "fp16_intermediates", False)
options.fp16_intermediates = args[1]
try:
    (latent,) = node.execute(
        state.finalize(), torch.zeros(1, 64, 64, 3), "spatial", "white", 1.0, 0, 1, "grey_ids").args
    (empty,) = nodes.EmptyLatentImage().generate(64, 64)
    sampled = [
        host.sample_from(
            model, x, cond, cond, seed=1, steps=2, cfg=1.0, sampler_name="euler",
            scheduler="simple", start=host.find_start(model, 0.8, "model"),
            empty=host.is_empty(x))["samples"]
        for x in (latent, empty)]
finally:
    options.fp16_intermediates = before
result = [str(latent["samples"].dtype), str(empty["samples"].dtype),
    [str(x.dtype) for x in sampled if x.isfinite().all()]]
""",
        str(NARROW),
        halved,
    )
    assert drawn == empty
    assert both_sampled == [empty] * 2
