"""The rules of the start, for every scheduler of the host and every kind of model."""

import math

import pytest
import torch

from prior_tools.schedule import partial_schedule

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
                "cut": host.scheduler_sigmas(model, scheduler, steps, mu).tolist(),
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
_, _, out, cases = args
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
        sampler_name="euler", scheduler=scheduler, mu=mu, empty=empty)
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


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_model_is_given_first(run_in_host, checkpoints, tmp_path, kind):
    """x0 + sigma * noise from a prior, noise * sqrt(1 + sigma^2) from nothing; flow mixes."""
    from safetensors.torch import load_file

    path = tmp_path / "first.safetensors"
    said = run_in_host(FIRST_INPUT, checkpoints[kind], kind, str(path), CASES)
    tensors = load_file(path)
    noise, x0 = tensors["noise"].double(), tensors["clean"].double()
    top = said["sigma_max"]
    for index, (empty, mu, scheduler) in enumerate(CASES):
        x, sigma = tensors[f"x{index}"].double(), said["sigmas"][index]
        if mu < 1:
            assert sigma == pytest.approx(said["starts"][index], rel=1e-6)
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
    said = run_in_host(
        """
error = pack_module("prior_tools").PriorError
result = []
for module, name, more in (
    ("partial_denoise_scheduler", "PartialDenoiseScheduler", ("simple", 4)),
    ("partial_denoise_ksampler", "PartialDenoiseKSampler",
        (0, 4, 1.0, "euler", "simple", [], [], {})),
):
    try:
        getattr(pack_module(f"nodes.{module}"), name).execute(None, *more, float(args[0]))
    except error as caught:
        result.append(str(caught))
""",
        str(mu),
    )
    assert said == [f"mu is {mu}; expected a fraction of training time, 0..1"] * 2
