"""The net that statistics are compared with: it learns moments, and its draws have them."""

from dataclasses import replace

import pytest
import torch

from demo.ablation.learned import Learned, MomentsNet, class_shares, nll
from demo.start_graph import Start
from prior_tools import PriorAccumulator, measure_grain
from prior_tools.draw import GRAIN_STRENGTH, REGION_STRENGTH

GRID, CLASSES, CHANNELS = (4, 6), 3, 2


@pytest.fixture
def data():
    """Latents whose mean and deviation are those of the class of each cell, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (256, 8 * GRID[0], 8 * GRID[1]), generator=generator)
    labels[:] = labels[:, ::8, ::8].repeat_interleave(8, 1).repeat_interleave(8, 2)
    cells = labels[:, ::8, ::8]
    mean = torch.tensor([[-2.0, 1.0], [0.0, 0.0], [2.0, -1.0]])[cells].movedim(-1, 1)
    std = torch.tensor([0.2, 1.0, 0.5])[cells].unsqueeze(1)
    noise = torch.randn(mean.shape, generator=generator)
    return mean + std * noise, labels, cells, mean, std


def fitted(latents, labels):
    torch.manual_seed(0)
    net = MomentsNet(CLASSES, CHANNELS)
    shares = class_shares(labels, GRID, CLASSES).float()
    adam = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(120):
        mean, log_std = net(shares)
        loss = nll(latents, mean, log_std.exp()).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return net.eval()


def test_shares_are_parts_of_each_cell():
    labels = torch.zeros(1, 8, 16, dtype=torch.int64)
    labels[0, :, 12:] = 1
    shares = class_shares(labels, (1, 2), 2).float()
    assert shares.flatten().tolist() == [1.0, 0.5, 0.0, 0.5]


def test_nll_is_that_of_the_normal_distribution():
    x, mean, std = torch.randn(5), torch.randn(5), torch.rand(5) + 0.1
    expected = -torch.distributions.Normal(mean, std).log_prob(x)
    torch.testing.assert_close(nll(x, mean, std), expected)


def test_the_net_learns_the_moments_of_classes_and_its_draws_have_them(data):
    latents, labels, cells, mean, std = data
    state = PriorAccumulator(CHANNELS, GRID)
    state.update(latents, cells)
    learned = Learned(fitted(latents, labels), state.finalize(), labels, CLASSES)
    # In the units of the prior, as `Learned.of` trains it, the net would need to be scaled; here
    # it was trained on plain values, which are those units where deviation is 1 and mean is 0.
    shares = class_shares(labels, GRID, CLASSES).float()
    with torch.inference_mode():
        told, log_std = learned.net(shares)
    assert (told - mean).square().mean().sqrt() < 0.3
    assert (log_std - std.log()).abs().mean() < 0.4
    of_net = learned.moments(len(labels))
    alone = learned.draw(Start("learned", deviation=0.0), len(labels), 1)
    assert torch.equal(alone, of_net[0])
    drawn = learned.draw(Start("learned", noise="white"), len(labels), 1)
    residual = (drawn - of_net[0]) / of_net[1]
    assert residual.mean().abs() < 0.05 and abs(residual.std() - 1) < 0.05


def test_its_draws_with_grain_have_a_tone_for_each_region(data):
    latents, labels, cells, _, _ = data
    state = PriorAccumulator(CHANNELS, GRID)
    state.update(latents, cells)
    prior = state.finalize()
    grain = measure_grain(latents, cells, prior)
    grain = replace(grain, regions=0.9 * torch.eye(CHANNELS).expand(CLASSES, -1, -1))
    net = MomentsNet(CLASSES, CHANNELS).eval()
    learned = Learned(net, replace(prior, grain=grain), labels, CLASSES)
    mean, std = learned.moments(len(labels))
    residual = (learned.draw(Start("learned", noise="grain"), len(labels), 1) - mean) / std
    expected = 0.81 * REGION_STRENGTH**2 + 0.19 * GRAIN_STRENGTH**2
    assert float(residual.var()) == pytest.approx(expected, rel=0.1)
