"""Sampling in a real server, in small models of three kinds and in Stable Diffusion 1.5 in full."""

import pytest
import torch

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


def custom_sampler(s, steps=4):
    """SamplerCustomAdvanced with our schedule, at the settings of `s.sampler()`."""
    add = s.graph.add
    return add(
        "SamplerCustomAdvanced",
        noise=add("RandomNoise", noise_seed=7),
        guider=add(
            "CFGGuider", model=s.model.model, positive=s.positive, negative=s.negative, cfg=4.0
        ),
        sampler=add("KSamplerSelect", sampler_name="euler"),
        sigmas=add(
            "SCP_PartialDenoiseScheduler",
            model=s.model.model,
            scheduler="sgm_uniform",
            steps=steps,
            mu=0.8,
        ),
        latent_image=s.latent,
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


def test_the_custom_sampler_with_our_schedule_gives_our_samplers_result(street, start, latents):
    s = start(street)
    ours, custom = latents(s.graph, s.sampler(), custom_sampler(s))
    assert torch.equal(ours, custom)


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
    draw = {"prior": prior, "mode": "joint", "deviation": 0.0, "seed": 1}
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


def test_a_flow_model_at_mu_1_carries_no_prior_and_says_so(server, street, start):
    """A 16-channel prior, built with the flow model's VAE, in the flow model."""
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
        deviation=1.0,
        seed=0,
        batch_size=1,
    )
    cond = graph.add("CLIPTextEncode", clip=model.clip, text="")
    for mu in (0.8, 1.0):
        graph.add(
            "SaveLatent",
            samples=graph.add(
                "SCP_PartialDenoiseKSampler",
                model=model.model,
                seed=1,
                steps=3,
                cfg=1.0,
                sampler_name="euler",
                scheduler="simple",
                positive=cond,
                negative=cond,
                latent_image=latent,
                mu=mu,
            ),
            filename_prefix="flow",
        )
    server.run(graph.prompt)
    assert server.log_text().count("nothing of the prior is left") == 1


def test_a_prior_of_another_family_is_refused_on_the_sampler(server, street, start):
    s = start(street, kind="flow", control=False)
    s.graph.add("SaveLatent", samples=s.sampler(), filename_prefix="never")
    with pytest.raises(
        ExecutionFailed, match=r"the prior has 4 latent channels and the model"
    ) as e:
        server.run(s.graph.prompt)
    assert e.value.node_type == "SCP_PartialDenoiseKSampler"


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


@pytest.mark.parametrize(
    ("node", "name", "value"),
    [
        ("sampler", "sampler_name", "ddim2"),
        ("sampler", "scheduler", "linear"),
        ("noise", "mode", "jointly"),
        ("noise", "palette", "ade"),
        ("noise", "fallback", "none"),
        ("sampler", "mu", 1.5),
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
