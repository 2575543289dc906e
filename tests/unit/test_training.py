"""The training loop resumes to the same weights, and the demo's schedule is what it says."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from demo.training import diffusion, loop, sources
from demo.training.command import Files
from demo.training.likeness import Critic, balance, difference, seen_difference
from demo.training.loop import Plan, train
from demo.training.segmenter import save_segmenter, segmenter
from demo.training.setting import CELLS, LEAK, alpha_bar, sigmas
from demo.training.sources import Camvid, Streets
from demo.training.stages import Stages
from demo.training.weights_file import PREFIXES
from prior_tools import get_palette
from prior_tools.schedule import stable_diffusion_alpha_bar

STEPS = 12


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1))


def plan_for(net: nn.Module, stop_at: int | None = None, steps: int = STEPS) -> Plan:
    """Learn the sum of four numbers; stopped by an error at a step, as by a kill."""
    calls = iter(range(STEPS))

    def loss(generator: torch.Generator) -> torch.Tensor:
        if stop_at is not None and next(calls) == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(16, 4, generator=generator)
        return (net(x) - x.sum(1, keepdim=True)).square().mean()

    return Plan("small", steps, 1e-2, loss, warm_up=3)


@pytest.mark.parametrize("stop_at", [1, 5, STEPS - 1])
def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, monkeypatch, stop_at):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    whole = small_net()
    train(whole, plan_for(whole), tmp_path / "whole")

    stopped = small_net()
    with pytest.raises(KeyboardInterrupt):
        train(stopped, plan_for(stopped, stop_at), tmp_path / "stopped")
    resumed = small_net()
    train(resumed, plan_for(resumed), tmp_path / "stopped")
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_finished_training_is_only_loaded(tmp_path):
    net = small_net()
    train(net, plan_for(net), tmp_path)
    again = small_net()
    train(again, plan_for(again, stop_at=0), tmp_path)
    for ours, theirs in zip(again.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad
    with safe_open(tmp_path / "small.safetensors", "pt") as file:
        assert json.loads(file.metadata()["training"])["step"] == STEPS


def test_a_checkpoint_of_another_length_is_refused(tmp_path):
    net = small_net()
    train(net, plan_for(net), tmp_path)
    other = small_net()
    with pytest.raises(SystemExit, match="12 steps, wanted are 5"):
        train(other, plan_for(other, steps=5), tmp_path)


def test_training_learns(tmp_path):
    net = small_net()
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    before = (net(x) - x.sum(1, keepdim=True)).square().mean()
    plan = Plan("long", 300, 1e-2, plan_for(net).loss, warm_up=3, decay=0.9)
    train(net, plan, tmp_path)
    assert (net(x) - x.sum(1, keepdim=True)).square().mean() < 0.05 * before


def test_the_noise_to_be_told_leads_back_to_the_latent_whatever_was_noised():
    """Half of the late ones are noised from a start that is not the latent."""
    latents = torch.randn(5, 4, 2, 3, generator=torch.Generator().manual_seed(1))
    bars, far = alpha_bar(), 10.0

    def starts(picked, _seed):
        return latents[picked] + far

    batches = diffusion._Batches(latents, bars, starts)
    moved = late = 0
    for seed in range(20):
        picked, noised, t, told = batches.draw(torch.Generator().manual_seed(seed), 2)
        kept = bars[t].float().view(-1, 1, 1, 1)
        back = (noised - (1 - kept).sqrt() * told) / kept.sqrt()
        torch.testing.assert_close(back, latents[picked], atol=1e-4, rtol=0)
        # Noise is of mean 0 and deviation 1; a start shifts it by far more here.
        shifted = told.mean((1, 2, 3)) > 1.5
        moved, late = moved + int(shifted.sum()), late + int((t > 750).sum())
        assert not shifted[t <= 750].any()
    assert 0.3 < moved / late < 0.7


def test_the_schedule_leaks_as_stable_diffusion_does_at_512_by_1024():
    bars = alpha_bar()
    assert bars[-1] * CELLS == pytest.approx(LEAK)
    assert stable_diffusion_alpha_bar()[-1] * 64 * 128 == pytest.approx(LEAK, rel=0.01)
    assert (bars.diff() < 0).all() and bars[0] < 1
    assert (sigmas(bars).diff() > 0).all()


def test_lifting_keeps_the_shape_of_the_schedule():
    """What the sampler starts from at 0.8 T has less signal than in a schedule made slower."""
    bars, usual = alpha_bar(), stable_diffusion_alpha_bar()
    lifted = (bars - bars[-1]) / (bars[0] - bars[-1])
    assert torch.allclose(lifted, (usual - usual[-1]) / (usual[0] - usual[-1]))
    assert bars[799] == pytest.approx(0.089, abs=0.001)


def test_what_is_trained_on_a_weights_file_takes_its_models_as_they_are(tmp_path):
    pytest.importorskip("einops", reason="the models are of ComfyUI's classes, which need more")
    source = Streets(tmp_path)
    weights = Files.of(source).weights
    own, sd = Stages(source, base=weights), Stages(source, stable_diffusion=True, base=weights)
    values = load_file(weights)
    for part, net in (("unet", own.unet), ("autoencoder", own.autoencoder)):
        for name, value in net.state_dict().items():
            assert torch.equal(value, values[PREFIXES[part] + name].float())
    assert torch.equal(sd.autoencoder.vae_scale, own.autoencoder.vae_scale)
    assert own.note("unet")["taken_from"] == weights.name
    assert not list(tmp_path.glob("*.safetensors"))


def test_likeness_is_nothing_for_equal_pictures_and_grows_with_blur():
    torch.manual_seed(0)
    eyes = segmenter(5).eval().requires_grad_(False)
    wanted = torch.rand(2, 3, 64, 64)
    blurred, flat = (
        nn.functional.interpolate(nn.functional.avg_pool2d(wanted, k), scale_factor=k)
        for k in (2, 16)
    )
    for loss in (difference, lambda a, b: seen_difference(eyes, a, b)):
        assert loss(wanted, wanted) == pytest.approx(0, abs=1e-6)
        assert 0 < loss(blurred, wanted) < loss(flat, wanted)


def test_painter_and_critic_each_learn_from_their_own_loss_alone():
    torch.manual_seed(0)
    critic = Critic(8)
    given = torch.rand(2, 3, 32, 32, requires_grad=True)
    critic.of_painter(given).backward()
    assert given.grad.abs().sum() > 0
    assert all(value.grad is None for value in critic.parameters())
    given.grad = None
    critic.own(given, torch.rand(2, 3, 32, 32)).backward()
    assert given.grad is None
    assert all(value.grad is not None for value in critic.parameters())


def test_a_balanced_loss_pulls_as_hard_as_the_other():
    at = torch.tensor([1.0, 2.0], requires_grad=True)
    loss, other = 3 * at.square().sum(), at.prod() / 7
    factor = balance(loss, other, at)
    ours, theirs = (torch.autograd.grad(x, at)[0].norm() for x in (loss, factor * other))
    assert ours == pytest.approx(theirs.item(), rel=1e-5)


def test_a_saved_segmentation_net_is_small_and_gives_the_same(tmp_path):
    net = segmenter(19).eval()
    path = tmp_path / "segmenter.pt"
    save_segmenter(net, path)
    images = torch.rand(2, 3, 144, 288)
    with torch.no_grad():
        assert torch.allclose(torch.jit.load(str(path))(images), net(images), atol=1e-5)
    for file in (path, Files.of(Streets(tmp_path)).segmenter):
        assert file.stat().st_size <= 4_600_000


def test_camvids_general_control_sees_drawn_streets_alone_in_camvids_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "DIVERSE", ("any", 0, 4))
    camvid = Camvid(tmp_path, tmp_path / "no CamVid here")
    drawn, ours = camvid._draw(sources.DIVERSE).labels, camvid.elsewhere.labels
    assert ours.shape == (4, 176, 240)
    assert set(np.unique(ours)) <= {*range(camvid.classes), 255}
    theirs, names = get_palette("cityscapes").names, camvid.palette.names
    alike = {"sidewalk": "pavement", "vegetation": "tree", "person": "pedestrian"}
    seen = 0
    for old in np.unique(drawn):
        name = alike.get(theirs.get(old), theirs.get(old))
        if name in names.values():
            assert {names[new] for new in np.unique(ours[drawn == old])} == {name}
            seen += 1
    assert seen >= 6
