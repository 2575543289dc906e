"""Sampling in a real server, in small models of three kinds and in Stable Diffusion 1.5 in full."""

import pytest
import torch

from demo.start_graph import Settings, Start, StartGraph
from dev import weights
from dev.graph import Graph
from dev.server import ExecutionFailed, PromptRejected

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "uni_pc", "dpm_2", "ddim", "dpmpp_sde"])
@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
def test_at_mu_1_an_empty_latent_gives_the_stock_samplers_result_bit_for_bit(
    server, latents, kind, sampler
):
    graph = Graph()
    model = weights.add_model(graph, server.base, kind)
    cond = graph.add("CLIPTextEncode", clip=model.clip, text=f"{kind} {sampler}")
    empty = graph.add(
        "EmptySD3LatentImage" if kind == "flow" else "EmptyLatentImage",
        width=96,
        height=64,
        batch_size=2,
    )
    common = {
        "model": model.model,
        "seed": 11,
        "steps": 3,
        "cfg": 2.5,
        "sampler_name": sampler,
        "scheduler": "karras" if kind == "eps" else "sgm_uniform",
        "positive": cond,
        "negative": cond,
        "latent_image": empty,
    }
    stock = graph.add("KSampler", **common, denoise=1.0)
    ours = graph.add("SCP_PartialDenoiseKSampler", **common, mu=1.0)
    a, b = latents(graph, stock, ours)
    assert a.isfinite().all() and a.std() > 0
    assert torch.equal(a, b)


def test_mu_0_returns_the_latent(street, start, latents):
    s = start(street)
    drawn, same = latents(s.graph, s.latent, s.sampler(mu=0.0))
    assert torch.equal(drawn, same)


def test_the_prior_reaches_the_result_and_mu_decides_how_much(street, start, latents):
    """The tiny model follows its start, so what is near to the draw was started from it."""
    s = start(street, deviation=0.0)
    nodes = [s.sampler(mu=mu, steps=12) for mu in (0.2, 0.8)]
    drawn, near, far = latents(s.graph, s.latent, *nodes)
    distance = [(x - drawn).square().mean().sqrt() for x in (near, far)]
    assert distance[0] < 0.8 * distance[1]


def custom_sampler(s, steps=4, **schedule):
    """SamplerCustomAdvanced with our schedule, at the settings of `s.sampler()`."""
    add = s.graph.add
    inputs = {
        "model": s.model.model,
        "scheduler": "sgm_uniform",
        "steps": steps,
        "mu": 0.8,
        "latent_image": s.latent,
    }
    start = add("SCP_PartialDenoiseScheduler", **{**inputs, **schedule})
    return add(
        "SamplerCustomAdvanced",
        noise=add("RandomNoise", noise_seed=7),
        guider=add(
            "CFGGuider", model=s.model.model, positive=s.positive, negative=s.negative, cfg=4.0
        ),
        sampler=add("KSamplerSelect", sampler_name="euler"),
        sigmas=start.out(0),
        latent_image=start.out(1),
    )


def advanced_sampler(s, steps=5):
    """KSamplerAdvanced, which adds its own noise to the clean latent at its start step."""
    return s.graph.add(
        "KSamplerAdvanced",
        model=s.model.model,
        add_noise="enable",
        noise_seed=7,
        steps=steps,
        cfg=4.0,
        sampler_name="euler",
        scheduler="sgm_uniform",
        positive=s.positive,
        negative=s.negative,
        latent_image=s.latent,
        start_at_step=1,
        end_at_step=10000,
        return_with_leftover_noise="disable",
    )


@pytest.mark.parametrize("mu_of", ["stable diffusion", "model"])
@pytest.mark.parametrize("mu", [0.3, 0.8, 1.0])
def test_the_custom_sampler_with_our_schedule_gives_our_samplers_result(
    street, start, latents, mu, mu_of
):
    """At mu 1 too, where the host would give the noise of an unknown latent a larger gain."""
    s = start(street)
    both = {"mu": mu, "mu_of": mu_of}
    ours, custom = latents(s.graph, s.sampler(**both), custom_sampler(s, **both))
    assert torch.equal(ours, custom)


def test_the_scheduler_passes_its_latent_on_as_it_came(street, start, latents):
    s = start(street)
    g = s.graph
    mask = g.add("SolidMask", value=0.5, width=128, height=64)
    masked = g.add("SetLatentNoiseMask", samples=s.latent, mask=mask)
    ours = s.sampler(latent_image=masked)
    drawn, sampled, custom = latents(g, s.latent, ours, custom_sampler(s, latent_image=masked))
    assert torch.equal(sampled, custom) and not torch.equal(drawn, sampled)


def test_the_scheduler_without_a_latent_gives_the_schedule_and_stops_who_asks_for_the_latent(
    server, street, start
):
    s = start(street)
    node = s.graph.add(
        "SCP_PartialDenoiseScheduler",
        model=s.model.model,
        scheduler="sgm_uniform",
        steps=4,
        mu=0.8,
    )
    noised = {"model": s.model.model, "noise": s.graph.add("RandomNoise", noise_seed=7)}
    alone = s.graph.add("AddNoise", **noised, sigmas=node.out(0), latent_image=s.latent)
    s.graph.add("SaveLatent", samples=alone, filename_prefix="alone")
    server.run(s.graph.prompt)
    s.graph.add("SaveLatent", samples=node.out(1), filename_prefix="never")
    with pytest.raises(ExecutionFailed, match="connect its input latent_image"):
        server.run(s.graph.prompt)


def test_stock_samplers_take_the_latent_as_well(street, start, latents):
    s = start(street)
    ours, stock = latents(s.graph, s.sampler(steps=5), advanced_sampler(s))
    assert stock.isfinite().all()
    # Step 1 of 5 is at t = 799, and mu 0.8 at t = 799.2.
    torch.testing.assert_close(stock, ours, atol=0.05, rtol=0.05)


def test_maps_and_batch_multiply_as_the_controlnet_tiles_its_hints(street, start, latents):
    s = start(street)
    g = s.graph
    inverted = g.add("ImageRotate", image=s.label, rotation="180 degrees")
    both = g.add("ImageBatch", image1=s.label, image2=inverted)
    prior = g.add("SCP_LoadPrior", prior_name=street.prior)
    draw = {"prior": prior, "mode": "joint", "noise": "grain", "deviation": 0.0, "seed": 1}
    batch = g.add("SCP_JointPriorNoise", **draw, label_image=both, batch_size=3)
    one = g.add("SCP_JointPriorNoise", **draw, label_image=s.label, batch_size=1)
    two = g.add("SCP_JointPriorNoise", **draw, label_image=inverted, batch_size=1)
    many, a, b = latents(g, batch, one, two)
    assert len(many) == 6
    assert torch.equal(many, torch.cat([a, b, a, b, a, b]))
    assert not torch.equal(a, b)


def test_noise_mask_and_batch_index_survive_and_are_honoured(street, start, latents):
    s = start(street, batch_size=3, deviation=0.0)
    g = s.graph
    picked = g.add("LatentFromBatch", samples=s.latent, batch_index=2, length=1)
    batch, third = latents(g, s.sampler(), s.sampler(latent_image=picked))
    torch.testing.assert_close(batch[2:], third, atol=1e-3, rtol=1e-3)

    s = start(street)
    g = s.graph
    mask = g.add("SolidMask", value=0.0, width=128, height=64)
    masked = g.add("SetLatentNoiseMask", samples=s.latent, mask=mask)
    sampled = s.sampler(latent_image=masked)
    again = s.sampler(latent_image=sampled, mu=0.5)
    drawn, kept, kept_again = latents(g, s.latent, sampled, again)
    # Nothing is to be changed, so the latent stays, through a second sampler as well.
    torch.testing.assert_close(kept, drawn, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(kept_again, drawn, atol=1e-5, rtol=1e-5)


def test_the_same_seeds_give_the_same_image(server, street, start, latents):
    s = start(street)
    (first,) = latents(s.graph, s.sampler())
    server.free()
    s = start(street)
    (second,) = latents(s.graph, s.sampler())
    assert torch.equal(first, second)


def test_stable_diffusion_1_5_in_full_with_its_controlnet(server, street, start):
    """The whole graph on stock loaders, through our sampler, the custom and the stock one."""
    s = start(street, kind="sd15")
    samplers = [s.sampler(steps=2), custom_sampler(s, steps=2), advanced_sampler(s, steps=2)]
    saved = [
        s.graph.add(
            "SaveImage",
            images=s.graph.add("VAEDecode", samples=sampler, vae=s.model.vae),
            filename_prefix="sd15",
        )
        for sampler in samplers
    ]
    images = server.images(server.run(s.graph.prompt, 900))
    ours, custom, stock = (images[node.id][0] for node in saved)
    for image in (ours, custom, stock):
        assert image.shape == (64, 128, 3)
        assert image.std() > 5
    assert (ours == custom).all()
    server.free()


def test_how_much_of_a_prior_a_flow_models_start_keeps_is_said_by_both_ways(server, street):
    """A 16-channel prior, built with the flow model's VAE, in the flow model shifted as Wan is."""
    graph = Graph()
    model = weights.add_model(graph, server.base, "flow")
    prior = graph.add(
        "SCP_BuildPrior",
        vae=model.vae,
        images=f"{street.folder}/images",
        labels=f"{street.folder}/labels",
        palette="cityscapes",
        width=128,
        height=64,
        batch_size=4,
        max_images=4,
        seed=0,
        latent_format="sd3",
        filename="flow",
        overwrite=True,
    )
    label = graph.add("LoadImage", image=street.label)
    latent = graph.add(
        "SCP_JointPriorNoise",
        prior=prior,
        label_image=label,
        mode="joint",
        noise="grain",
        deviation=1.0,
        seed=0,
        batch_size=1,
    )
    shifted = graph.add("ModelSamplingSD3", model=model.model, shift=8.0)
    cond = graph.add("CLIPTextEncode", clip=model.clip, text="")
    schedule = {"model": shifted, "steps": 20, "scheduler": "simple", "latent_image": latent}
    sampler = {"seed": 1, "cfg": 1.0, "sampler_name": "euler", "positive": cond, "negative": cond}
    before = len(server.log_text())
    for mu_of, mu in (("stable diffusion", 0.8), ("model", 0.8), ("model", 1.0)):
        start = {"mu_of": mu_of, "mu": mu}
        ours = graph.add("SCP_PartialDenoiseKSampler", **schedule, **sampler, **start)
        for node in (
            ours.out(0),
            graph.add("SCP_PartialDenoiseScheduler", **schedule, **start).out(1),
        ):
            graph.add("SaveLatent", samples=node, filename_prefix="flow")
    server.run(graph.prompt)
    said = server.log_text()[before:]
    for text in (
        "starts at sigma 0.8359, mu 0.389 of the model's own time (start_percent 0.611",
        "runs 8 of 20 steps; the start keeps 19.27% of the latent",
        "runs 16 of 20 steps; the start keeps 3.12% of the latent",
        "only 3.1% of the latent is left at the start",
        "nothing of the latent is left: at mu 1 this model starts from noise alone",
    ):
        assert said.count(text) == 2, text


def test_a_model_with_less_noise_than_stable_diffusion_starts_as_at_mu_1_and_says_so(
    server, latents
):
    """As the demo's model is."""
    graph = Graph()
    labels = graph.add("SCP_DemoLabelMap", index=1)
    street = StartGraph(graph, labels)
    latent = street.drawn(Start(), Settings())
    common = {"steps": 2, "scheduler": "simple", "model": street.model, "latent_image": latent}
    sampler = {
        **{"seed": 3, "cfg": 1.0, "sampler_name": "euler"},
        **{"positive": street.positive, "negative": street.negative},
    }
    before = len(server.log_text())
    at_top, capped, below = latents(
        graph,
        *(
            graph.add("SCP_PartialDenoiseKSampler", **common, **sampler, mu=mu, mu_of=mu_of)
            for mu, mu_of in ((1.0, "model"), (0.8, "stable diffusion"), (0.8, "model"))
        ),
    )
    assert torch.equal(at_top, capped) and not torch.equal(at_top, below)
    assert server.log_text()[before:].count("sampling starts as at mu 1, since") == 1


@pytest.mark.parametrize("way", ["SCP_PartialDenoiseKSampler", "SCP_PartialDenoiseScheduler"])
def test_a_prior_of_another_family_is_refused_on_both_ways_to_sample(server, street, start, way):
    s = start(street, kind="flow", control=False)
    sampled = s.sampler() if way.endswith("KSampler") else custom_sampler(s)
    s.graph.add("SaveLatent", samples=sampled, filename_prefix="never")
    with pytest.raises(
        ExecutionFailed, match=r"the prior has 4 latent channels and the model"
    ) as e:
        server.run(s.graph.prompt)
    assert e.value.node_type == way


@pytest.mark.parametrize(
    ("latent_format", "says"),
    [("sdxl", "the prior's latent format is sdxl and the model's is sd15"), ("unknown", None)],
)
def test_another_latent_format_is_refused_and_an_unknown_one_warned_about(
    server, street, start, add_build, latent_format, says
):
    graph = Graph()
    model = weights.add_model(graph, server.base, "eps")
    add_build(
        graph,
        model.vae,
        street.folder,
        latent_format=latent_format,
        filename=latent_format,
        overwrite=True,
    )
    server.run(graph.prompt)
    s = start(street)
    prior = s.graph.add("SCP_LoadPrior", prior_name=f"{latent_format}.safetensors")
    s.graph.prompt[s.latent.id]["inputs"]["prior"] = prior.out()
    s.graph.add("SaveLatent", samples=s.sampler(steps=1), filename_prefix="other")
    if says:
        with pytest.raises(ExecutionFailed, match=says):
            server.run(s.graph.prompt)
    else:
        server.run(s.graph.prompt)
        assert "cannot tell whether the prior fits the model" in server.log_text()


def test_shared_noise_makes_equal_label_maps_equal_images_in_every_sampler(street, start, latents):
    """But for those that add noise in each step."""
    shared = start(street, batch_size=2, batch_noise="shared")
    nodes = [
        shared.latent,
        shared.sampler(),
        custom_sampler(shared),
        advanced_sampler(shared),
        shared.sampler(sampler_name="euler_ancestral"),
    ]
    *equal, ancestral = latents(shared.graph, *nodes)
    for one, other in equal:
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(*ancestral, atol=1e-2)
    separate = start(street, batch_size=2, batch_noise="separate")
    for one, other in latents(separate.graph, separate.latent, separate.sampler()):
        assert not torch.allclose(one, other, atol=1e-2)


@pytest.mark.parametrize(
    ("node", "name", "value"),
    [
        ("sampler", "sampler_name", "ddim2"),
        ("sampler", "scheduler", "linear"),
        ("noise", "mode", "jointly"),
        ("noise", "palette", "ade"),
        ("noise", "fallback", "none"),
        ("noise", "batch_noise", "same"),
        ("sampler", "mu", 1.5),
        ("sampler", "mu_of", "sdxl"),
        ("noise", "deviation", -1.0),
    ],
)
def test_values_that_the_host_does_not_check_are_refused_when_queued(
    server, street, start, node, name, value
):
    s = start(street)
    sampler = s.sampler()
    s.graph.add("SaveLatent", samples=sampler, filename_prefix="never")
    node_id = {"sampler": sampler.id, "noise": s.latent.id}[node]
    s.graph.prompt[node_id]["inputs"][name] = value
    with pytest.raises(PromptRejected) as caught:
        server.queue(s.graph.prompt)
    assert name in str(caught.value.node_errors[node_id])
