"""Label images and prior files that do not fit, as the person at the graph is told of them."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from dev.server import ExecutionFailed, PromptRejected
from prior_tools import (
    PALETTES,
    draw_prior_sample,
    load_prior,
    measure_grain,
    resize_labels,
    save_prior,
)

pytestmark = pytest.mark.slow


def run(server, s, **changes):
    s.graph.prompt[s.latent.id]["inputs"].update(changes)
    s.graph.add("SaveLatent", samples=s.latent, filename_prefix="labels")
    return server.run(s.graph.prompt)


def test_the_node_draws_what_the_library_draws(server, street, start, latents):
    s = start(street, seed=99, batch_size=2)
    (drawn,) = latents(s.graph, s.latent)
    prior = load_prior(server.base / "models" / "scp_priors" / street.prior)
    image = np.asarray(Image.open(server.base / "input" / street.label))
    ids = torch.from_numpy(image.astype(np.int64))
    lookup = {color: i for i, color in PALETTES["cityscapes"].colors.items()}
    labels = torch.tensor([[lookup[tuple(p)] for p in row] for row in ids.tolist()])
    grid = resize_labels(labels[None], (8, 16)).repeat(2, 1, 1)
    assert torch.equal(drawn, draw_prior_sample(prior, grid, seed=99))


def test_a_label_map_in_another_palette_is_refused_with_a_fraction_and_a_guess(
    server, street, start
):
    ids = torch.arange(1, 33).view(4, 8).repeat_interleave(16, 0).repeat_interleave(16, 1)
    name = server.upload_image(PALETTES["ade20k"].paint(ids).numpy(), "ade.png")
    s = start(street)
    s.graph.prompt[s.label.id]["inputs"]["image"] = name
    says = r"the label image is in no color of palette 'cityscapes' in \d+\.\d% of its pixels"
    with pytest.raises(ExecutionFailed, match=rf"{says}.*: palette ade20k has 100%") as caught:
        run(server, s)
    assert caught.value.node_type == "SCP_JointPriorNoise"


def test_classes_that_the_prior_never_saw_are_reported(server, street, start):
    train = np.full((64, 128, 3), PALETTES["cityscapes"].colors[16], np.uint8)
    name = server.upload_image(train, "train.png")
    s = start(street)
    s.graph.prompt[s.label.id]["inputs"]["image"] = name
    run(server, s)
    assert "100.0% of the label map is of classes that the prior has never seen (train (16))" in (
        server.log_text()
    )


@pytest.mark.parametrize("size", [(135, 70), (40, 200), (256, 128)])
def test_any_size_of_label_image_gives_a_latent_of_its_size(server, street, start, latents, size):
    label = Image.open(server.base / "input" / street.label).resize(size, 0)
    name = server.upload_image(np.asarray(label), f"label_{size[0]}.png")
    s = start(street)
    s.graph.prompt[s.label.id]["inputs"]["image"] = name
    (drawn,) = latents(s.graph, s.latent)
    assert drawn.shape == (1, 4, size[1] // 8, size[0] // 8)
    assert drawn.isfinite().all()


def test_a_label_image_smaller_than_a_cell_is_refused(server, street, start):
    name = server.upload_image(np.zeros((4, 4, 3), np.uint8), "small.png")
    s = start(street)
    s.graph.prompt[s.label.id]["inputs"]["image"] = name
    with pytest.raises(ExecutionFailed, match=r"has 4x4 pixels; expected at least 8x8"):
        run(server, s)


@pytest.mark.parametrize("name", ["deviation", "mix"])
def test_numbers_that_are_none_are_refused(server, street, start, name):
    """The host's own limits let them pass."""
    with pytest.raises(ExecutionFailed, match=f"{name} is nan; expected") as caught:
        run(server, start(street), **{name: float("nan")})
    assert caught.value.node_type == "SCP_JointPriorNoise"
    assert caught.value.exception_type == "PriorError"


def test_a_prior_without_grain_draws_white_noise_and_the_node_says_so(
    server, street, start, latents
):
    folder = server.base / "models" / "scp_priors"
    plain = dataclasses.replace(load_prior(folder / street.prior), grain=None)
    some, anywhere = torch.randn(9, 4, *plain.grid), torch.full((9, *plain.grid), -1)
    save_prior(plain, folder / "plain.safetensors")
    grained = dataclasses.replace(plain, grain=measure_grain(some, anywhere, plain))
    save_prior(grained, folder / "grained.safetensors")

    drawn = {}
    for name in ("plain", "grained"):
        for noise in ("grain", "white"):
            before = server.log_text().count("the prior has no grain")
            s = start(street, noise=noise, seed=8)
            (load,) = (n for n in s.graph.prompt.values() if n["class_type"] == "SCP_LoadPrior")
            load["inputs"]["prior_name"] = f"{name}.safetensors"
            (drawn[name, noise],) = latents(s.graph, s.latent)
            told = server.log_text().count("the prior has no grain") - before
            assert told == ((name, noise) == ("plain", "grain")), (name, noise)
    assert torch.equal(drawn["plain", "grain"], drawn["plain", "white"])
    assert torch.equal(drawn["grained", "white"], drawn["plain", "white"])
    assert not torch.allclose(drawn["grained", "grain"], drawn["plain", "white"], atol=0.1)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "future"])
def test_a_prior_file_that_is_none_is_refused_by_name(server, street, start, damage):
    folder = server.base / "models" / "scp_priors"
    data = (folder / street.prior).read_bytes()
    (folder / f"{damage}.safetensors").write_bytes(
        {
            "truncated": data[:-1000],
            "foreign": (8).to_bytes(8, "little") + b"{}      ",
            "future": data.replace(b'format_version\\": 1', b'format_version\\": 9'),
        }[damage]
    )
    says = {
        "truncated": r"truncated\.safetensors is not a complete safetensors file",
        "foreign": r"foreign\.safetensors is a safetensors file but not a prior",
        "future": r"future\.safetensors has format version 9.*update SCP-Diff",
    }
    s = start(street)
    prior = s.graph.add("SCP_LoadPrior", prior_name=f"{damage}.safetensors")
    with pytest.raises(ExecutionFailed, match=says[damage]):
        run(server, s, prior=prior.out())


def test_a_prior_that_is_not_there_is_told_on_the_loader(server, street, start):
    for name in ("nothing.safetensors", "../checkpoints/scp-tiny-eps.safetensors"):
        s = start(street)
        prior = s.graph.add("SCP_LoadPrior", prior_name=name)
        with pytest.raises((ExecutionFailed, PromptRejected)) as caught:
            run(server, s, prior=prior.out())
        if isinstance(caught.value, PromptRejected):
            # Newer hosts look into the list themselves, before anything runs.
            refused = caught.value.node_errors
            assert {node["class_type"] for node in refused.values()} == {"SCP_LoadPrior"}
            assert "value_not_in_list" in str(refused)
        else:
            assert caught.value.node_type == "SCP_LoadPrior"
            assert "there is no prior" in caught.value.exception_message


def test_a_replaced_prior_file_is_read_again(server, street, start, latents):
    folder = server.base / "models" / "scp_priors"
    prior = load_prior(folder / street.prior)
    save_prior(prior, folder / "replaced.safetensors")
    found = []
    for shift in (0.0, 3.0):
        shifted = dataclasses.replace(prior, joint_mean=prior.joint_mean + shift)
        save_prior(shifted, folder / "replaced.safetensors")
        s = start(street)
        loader = s.graph.add("SCP_LoadPrior", prior_name="replaced.safetensors")
        s.graph.prompt[s.latent.id]["inputs"].update(prior=loader.out(), mode="joint")
        found += latents(s.graph, s.latent)
    assert not torch.equal(*found)
