"""Laws of grain: what is measured is what is drawn, on any grid, and stays with its prior."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from prior_tools import (
    PRIOR_MODES,
    Grain,
    PriorAccumulator,
    PriorError,
    draw_prior_sample,
    grain_estimate,
    load_prior,
    measure_grain,
    merge_priors,
    prior_moments,
    save_prior,
)
from prior_tools.draw import GRAIN_STRENGTH, REGION_STRENGTH
from prior_tools.grain import Torus, lags_of, region_directions, shapes
from prior_tools.labels.regions import connected_regions
from prior_tools.merge import taken_on_trust

GRID = (12, 20)


def smooth(channels=4, grid=GRID, lengths=(1.0, 2.0, 3.0, 0.5), seed=0) -> Grain:
    """Fields that fade over such lengths in cells, mixed into channels."""
    mixing, correlation = (torch.zeros(shape) for shape in shapes(grid, channels))
    mixing.normal_(generator=torch.Generator().manual_seed(seed))
    mixing += 1.5 * torch.eye(*mixing.shape)
    mixing /= mixing.norm(dim=1, keepdim=True) * (1.0 if channels <= 16 else 1.2)
    down, across = lags_of(grid, channels)
    across = [*(-lag for lag in across[:0:-1]), *across]
    # Aslant, so that it matters which way is right.
    down, across = torch.tensor(down)[:, None], torch.tensor(across)
    distance = (down.square() + across.square() - 0.8 * down * across).sqrt()
    for number in range(len(correlation)):
        correlation[number] = torch.exp(-distance / lengths[number % len(lengths)])
    return Grain(grid, mixing, correlation, no_regions(channels))


def no_regions(channels=4, classes=0):
    return torch.zeros(classes, channels, region_directions(classes, channels))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def together(fields, down, across):
    """Mean products [C, C] of cells so far apart, of fields [N, C, h, w]."""
    height, width = fields.shape[2:]
    left, right = max(0, -across), width - max(0, across)
    first = fields[:, :, : height - down, left:right]
    second = fields[:, :, down:, left + across : right + across]
    return torch.einsum("nchw,ndhw->cd", first, second) / first[:, 0].numel()


def prior_of(latents, labels, ignored=(255,), **metadata):
    state = PriorAccumulator(latents.shape[1], latents.shape[2:], ignored)
    state.update(latents, labels)
    return state.finalize(**metadata)


def alone(latents):
    """What images without label maps say: their prior, and its grain."""
    labels = torch.full((len(latents), *latents.shape[2:]), -1)
    prior = prior_of(latents, labels, (), label_method=None)
    return dataclasses.replace(prior, grain=measure_grain(latents, labels, prior))


def dataset(grain, images=60, seed=0):
    """Latents that have the grain about means and deviations of their classes, and labels.

    Sky (0) above, road (1) below, an unlabelled (255) and an unknown (-1) column; in the last two
    columns all images are alike, and one cell is of a class of its own in one image.
    """
    height, width = grain.grid
    labels = torch.zeros(images, height, width, dtype=torch.int64)
    labels[:, height // 2 :] = 1
    labels[:, :, 3], labels[:, :, 4] = 255, -1
    labels[0, 0, 0] = 7
    varied = torch.tensor([0.5, 3.0])[labels.clamp(0, 1)][:, None]
    latents = grain.draw(images, grain.grid, seeded(seed)) * varied + labels.clamp(0, 1)[:, None]
    latents[..., -2:] = 2.5
    return latents, labels


PARTS = ("mixing", "correlation", "regions")
LAGS = [(0, 0), (0, 1), (1, 0), (1, 2), (2, -1), (3, 3), (0, 9), (8, 0)]


@pytest.mark.parametrize("channels", [1, 4, 18])
def test_a_known_correlation_is_measured_again(channels):
    grain = smooth(channels)
    measured = alone(dataset(grain, 120)[0].half().float()).grain
    for lag in LAGS:
        assert (measured.at(*lag) - grain.at(*lag)).abs().max() < 0.12, lag
        assert (measured.at(*lag) - grain.at(*lag)).abs().mean() < 0.04, lag


def test_what_is_as_good_as_constant_or_seen_once_is_left_out():
    """Half of the picture never changes, but for rounding: the other half decides."""
    grain = smooth()
    latents, labels = dataset(grain)
    prior = prior_of(latents, labels)
    noisy = latents.clone()
    noisy[..., -2:] += 1e-4 * torch.randn(noisy[..., -2:].shape, generator=seeded())
    # Of the one image whose class at this cell is its own, the latent tells nothing.
    noisy[0, :, 0, 0] = 1e6
    a, b = (measure_grain(z, labels, prior) for z in (latents, noisy))
    assert all(torch.equal(getattr(a, n), getattr(b, n)) for n in PARTS)


def test_one_image_or_none_has_no_grain():
    latents, labels = dataset(smooth(), 1)
    prior = prior_of(latents, labels)
    assert measure_grain(latents, labels, prior) is None
    assert measure_grain(latents[:0], labels[:0], prior) is None


@pytest.mark.parametrize("channels", [4, 18])
def test_it_is_the_same_however_many_images_are_taken_together(monkeypatch, channels):
    latents, labels = dataset(smooth(channels), 7)
    labels[1::2, 2:5, 6:9], labels[::3, 9, 1:12:2] = 1, 5
    prior = prior_of(latents, labels)
    together = measure_grain(latents, labels, prior)
    assert together.region_variances.max() > 0.1
    for images in (1, 3):
        monkeypatch.setattr(grain_estimate, "_NUMBERS", images * latents[0].numel())
        apart = measure_grain(latents, labels, prior)
        for name in PARTS:
            torch.testing.assert_close(
                getattr(apart, name), getattr(together, name), atol=1e-3, rtol=0
            )


def test_a_channel_that_never_changes_is_drawn_white():
    latents, labels = dataset(smooth())
    latents[:, 2] = 1.0
    measured = measure_grain(latents, labels, prior_of(latents, labels))
    assert measured.at(0, 0)[2].tolist() == pytest.approx([0, 0, 1, 0], abs=1e-3)
    assert measured.at(0, 1)[2].abs().max() < 1e-3


@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.integers(1, 3),
    st.sampled_from([1, 2, 4]),
    st.floats(0, 3),
    st.integers(0, 99),
)
@example((1, 4), (1, 7), 2, 4, 0.0, 2)
@example((4, 1), (7, 1), 2, 4, 1.3146149611146882, 37)
@settings(max_examples=30)
def test_in_every_cell_the_variance_is_1_and_at_every_distance_the_correlation_is_the_stored_one(
    old, new, images, channels, steepness, seed
):
    """Of whatever was measured, on any grid; exactly, by what each number of the noise adds.

    Between cells that face each other on opposite edges as well: nothing comes around.
    """
    values = torch.randn(images + 3, channels, *old, generator=seeded(seed))
    values *= torch.linspace(1, 1 + steepness, old[1])
    values += steepness * torch.randn(images + 3, 1, 1, 1, generator=seeded(seed + 1))
    labels = torch.zeros(len(values), *old, dtype=torch.int64)
    prior = prior_of(values, labels)
    grain = measure_grain(values[:images], labels[:images], prior)
    assert (grain.region_variances <= 1 + 1e-6).all()
    torus = Torus(old, new, lags_of(old, channels))
    height, width = new
    impulses = torch.eye(torus.size[0] * torus.size[1]).view(-1, *torus.size)
    y, x = (p.flatten() for p in torch.meshgrid(*map(torch.arange, new), indexing="ij"))
    # On its own grid exactly, for what is stored is what it draws. On others the interpolated
    # correlation may be one that no field has: made one that is, it moved by 0.13 in the worst of
    # 16,000 such cases, of a few noisy cells.
    nearly = 0.005 if old == new else 0.2
    last = height * width - 1
    for number, correlation in enumerate(grain.correlation):
        field = torus.filtered(impulses, torus.power(correlation).sqrt()).flatten(1)
        covariance = field.T @ field
        assert (covariance.diagonal() - 1).abs().max() < 1e-3
        one = grain.correlation[number : number + 1]
        single = Grain(old, torch.ones(1, 1), one, no_regions(1))
        for i, j in ((0, last), (width - 1, last - width + 1), (0, width - 1), (last // 2, last)):
            down, across = (float(p[j] - p[i]) for p in (y, x))
            stored = float(single.at(down * old[0] / height, across * old[1] / width))
            assert abs(float(covariance[i, j]) - stored) < nearly


def test_a_draw_has_the_correlation_of_channels_and_cells():
    grain = smooth(18, lengths=(0.5, 2.0, 1.0))
    fields = grain.draw(300, (10, 16), seeded())
    for down, across in ((0, 0), (0, 1), (1, 0), (2, -2), (0, 8)):
        lag = down * GRID[0] / 10, across * GRID[1] / 16
        assert (together(fields, down, across) - grain.at(*lag)).abs().max() < 0.06
    assert (fields.square().mean((0, 2, 3)) - 1).abs().max() < 0.05
    assert fields.mean().abs() < 0.01


@pytest.mark.parametrize("grid", [(24, 40), (24, 20), (6, 10), (9, 50)])
def test_grain_grows_with_the_image(grid):
    """Cells that are a quarter of the image apart are as alike on every grid."""
    grain = smooth(lengths=(4.0, 6.0, 5.0, 3.0))
    fields = grain.draw(200, grid, seeded())
    for down, across in ((0, grid[1] // 5), (grid[0] // 3, 0), (grid[0] // 3, -(grid[1] // 5))):
        lag = down * GRID[0] / grid[0], across * GRID[1] / grid[1]
        assert (together(fields, down, across) - grain.at(*lag)).abs().max() < 0.1


def test_opposite_edges_have_nothing_in_common():
    fields = smooth(lengths=(2.0,)).draw(300, GRID, seeded())
    for one, other in (
        (fields[..., 0], fields[..., -1]),
        (fields[:, :, 0], fields[:, :, -1]),
        (fields[:, :, 0, 0], fields[:, :, -1, -1]),
    ):
        assert (one * other).mean().abs() < 0.06


def test_what_an_image_has_as_a_whole_is_kept():
    """Bright and dark images: far cells are alike."""
    grid = (8, 8)
    latents = torch.randn(100, 1, *grid, generator=seeded())
    latents += torch.randn(100, 1, 1, 1, generator=seeded(1))
    grain = alone(latents).grain
    for lag in ((0, 1), (4, 0), (7, 7)):
        assert float(grain.at(*lag)) == pytest.approx(0.5, abs=0.12)


def streets(images=120, shared=0.4, channels=4, seed=0):
    """Latents whose cells have so much of their variance in common with those of their region.

    Sky (0) above, road (1) below, on the road three cars (5) of one cell to six in a row; of each
    region the channels go together in twos.
    """
    labels = torch.zeros(images, *GRID, dtype=torch.int64)
    labels[:, 6:] = 1
    labels[:, 8, 2:8] = labels[:, 10, 3:6] = labels[:, 11, 18] = 5
    generator = seeded(seed)
    latents = torch.randn(images, channels, *GRID, generator=generator) * (1 - shared) ** 0.5
    for image, own in zip(latents, labels, strict=True):
        numbers = connected_regions(own)
        offsets = torch.randn(-(-channels // 2), int(numbers.max()) + 1, generator=generator)
        image += shared**0.5 * offsets.repeat_interleave(2, 0)[:channels, numbers]
    scale = torch.tensor([0.5, 3.0, 1, 1, 1, 2.0])[labels][:, None]
    return latents * scale + labels[:, None], labels


@pytest.mark.parametrize("mode", ["spatial", "normal"])
def test_images_alone_have_no_regions_to_color(mode):
    """And so has a prior of label maps in which no class is known."""
    latents = smooth().draw(20, GRID, seeded())
    nowhere = torch.full((2, *GRID), -1)
    unlabelled = torch.full((20, *GRID), -1)
    labelled = prior_of(latents, unlabelled)
    labelled = dataclasses.replace(labelled, grain=measure_grain(latents, unlabelled, labelled))
    for prior in (alone(latents), labelled):
        mean, std = prior_moments(prior, nowhere, mode)
        drawn = draw_prior_sample(prior, nowhere, mode, seed=3)
        if mode == "normal":
            assert not drawn.any()
        else:
            found = ((drawn - mean) / std / GRAIN_STRENGTH).square().mean()
            assert float(found) == pytest.approx(1, abs=0.3)
    assert torch.isfinite(draw_prior_sample(labelled, nowhere, "joint")).all()


def test_rows_of_labels_on_a_device_are_on_the_cpu_also_where_there_are_no_classes():
    labels = torch.zeros(2, *GRID, dtype=torch.int64, device="meta")
    assert alone(smooth().draw(2, GRID, seeded())).rows_of(labels).device.type == "cpu"


@pytest.mark.parametrize("channels", [1, 4, 18])
def test_what_a_regions_cells_have_in_common_is_measured_and_what_it_leaves_is_not(channels):
    latents, labels = streets(channels=channels)
    grain = measure_grain(latents.half(), labels, prior_of(latents, labels))
    together = torch.block_diag(*[torch.ones(2, 2)] * -(-channels // 2))[:channels, :channels]
    for own in grain.regions @ grain.regions.mT:
        assert (own - 0.4 * together).abs().max() < 0.12
    # The regions' means would be as alike at every distance.
    for lag in ((0, 1), (1, 0), (3, 3), (0, 9)):
        assert grain.at(*lag).abs().max() < 0.08
    # With more channels than directions, what is stored of a cell is nearly it.
    nearly = 0.08 if channels <= 16 else 0.35
    assert (grain.at(0, 0) - torch.eye(channels)).abs().max() < nearly


def test_cells_of_no_class_and_of_others_change_nothing_of_what_a_regions_cells_share():
    """Where the ignored ones vary most, and a channel varies in one class alone."""
    latents, labels = streets()
    latents[:, 0][labels > 0] = 1.0
    holes = torch.rand(labels.shape, generator=seeded(1)) < 0.1
    latents.movedim(1, -1)[holes] *= 6
    labels[holes] = 255
    grain = measure_grain(latents, labels, prior_of(latents, labels))
    assert grain.region_variances[0].tolist() == pytest.approx([0.4] * 4, abs=0.12)
    assert grain.region_variances[1, 1:].tolist() == pytest.approx([0.4] * 3, abs=0.12)


def test_residuals_of_white_noise_share_nothing():
    latents, labels = streets(shared=0.0)
    grain = measure_grain(latents, labels, prior_of(latents, labels))
    assert grain.region_variances.max() < 0.05
    assert grain.at(0, 1).abs().max() < 0.05


@pytest.mark.parametrize("side", [2, 3])
def test_white_noise_stays_white_where_regions_are_small(side):
    """Of channels that go together in a cell."""
    labels = torch.randint(4, (100, 12 // side, 24 // side), generator=seeded())
    labels = labels.repeat_interleave(side, 1).repeat_interleave(side, 2)
    latents = torch.randn(100, 2, 12, 24, generator=seeded(1))
    latents[:, 1] = 0.6 * latents[:, 0] + 0.8 * latents[:, 1]
    grain = measure_grain(latents, labels, prior_of(latents, labels))
    for lag in ((0, 1), (1, 0), (1, 1), (0, 2)):
        assert grain.at(*lag).abs().max() < 0.03, lag
    wanted = torch.tensor([[1, 0.6], [0.6, 1]])
    torch.testing.assert_close(grain.at(0, 0), wanted, atol=0.03, rtol=0)


def test_a_class_of_few_images_is_as_all_others():
    """Of a class in two images as large regions of one color it would be known beyond doubt."""
    latents, labels = streets()
    latents[7, :, 8, 8:16], latents[8, :, 8, 8:16] = 5.0, -5.0
    labels[7:9, 8, 8:16] = 6
    grain = measure_grain(latents, labels, prior_of(latents, labels))
    assert grain.region_variances[3].max() < 0.7 < 0.95


@given(st.integers(0, 2**32), st.integers(1, 3), st.sampled_from([GRID, (5, 9)]))
@settings(max_examples=6)
def test_noise_for_a_label_map_has_the_variance_of_1_and_the_covariance_of_its_regions(
    seed, classes, grid
):
    """Of random factors and regions, over many draws of one label map."""
    factors = torch.randn(no_regions(4, classes).shape, generator=seeded(seed))
    factors /= 1.2 * factors.norm(dim=2, keepdim=True)
    grain = dataclasses.replace(smooth(lengths=(0.01,)), regions=factors)
    rows = torch.randint(-1, classes, (2, 3), generator=seeded(seed))
    rows = rows.repeat_interleave(-(-grid[0] // 2), 0).repeat_interleave(-(-grid[1] // 3), 1)
    rows = rows[: grid[0], : grid[1]]
    fields = grain.draw(400, grid, seeded(seed))
    offsets = seeded(seed + 1)
    drawn = torch.stack([grain.color_regions(f, rows, offsets).clone() for f in fields])
    assert (drawn.square().mean(0).mean((1, 2)) - 1).abs().max() < 0.15
    numbers = connected_regions(rows)
    for first in range(0, int(numbers.max()) + 1):
        cells = drawn[:, :, numbers == first]
        row = int(rows[numbers == first][0])
        if row < 0 or cells.shape[2] < 2:
            continue
        far = torch.einsum("nc,nd->cd", cells[..., 0], cells[..., -1]) / len(cells)
        if cells.shape[2] > 4:
            wanted = factors[row] @ factors[row].T
            assert (far - wanted).abs().max() < 0.25
        others = drawn[:, :, numbers != first]
        if others.numel():
            apart = torch.einsum("nc,nd->cd", cells[..., -1], others[..., -1]) / len(cells)
            assert apart.abs().max() < 0.25


def test_a_region_keeps_its_color_where_others_change_below_it():
    """Few or many; and where the grid grows. Another seed gives another color."""
    factors = no_regions(4, 2) + 0.5 * torch.eye(4)
    grain = dataclasses.replace(smooth(), regions=factors)
    rows = torch.zeros(12, 20, dtype=torch.int64)
    rows[6:] = 1
    larger = rows.repeat_interleave(2, 0).repeat_interleave(2, 1)

    def colors(of, seed=3):
        still = torch.zeros(4, *of.shape)
        return grain.color_regions(still, of, seeded(seed))

    for others in range(1, 11):
        changed = rows.clone()
        changed[9:, 0 : 2 * others : 2] = 0
        assert torch.equal(colors(rows)[:, :9], colors(changed)[:, :9])
    assert torch.equal(colors(rows), colors(larger)[:, ::2, ::2])
    assert not torch.equal(colors(rows), colors(rows, 4))
    assert colors(rows)[:, 0, 0].unique().numel() == 4


def test_a_label_map_of_single_cells_takes_no_more_memory_than_a_few_channels():
    class Largest(TorchDispatchMode):
        bytes = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                self.bytes = max(self.bytes, out.numel() * out.element_size())
            return out

    grain = dataclasses.replace(smooth(18), regions=no_regions(18, 3) + 0.1)
    rows = torch.randint(3, (64, 64), generator=seeded())
    field = torch.zeros(18, 64, 64)
    with Largest() as largest:
        grain.color_regions(field, rows, seeded())
    assert largest.bytes <= field.nbytes
    assert field.any()


def test_the_generator_decides_and_the_global_one_is_left_alone():
    grain, state = smooth(), torch.random.get_rng_state()
    a, b, c = (grain.draw(3, GRID, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(a, b)
    assert not torch.allclose(a, c, atol=0.1)
    assert torch.equal(grain.draw(2, GRID, seeded(1)), a[:2])
    assert (a[0] * a[1]).mean().abs() < 0.3


def test_it_takes_little_space():
    for channels, most in ((4, 8_200), (16, 33_000), (17, 300_000), (128, 300_000), (600, 300_000)):
        sizes = [torch.Size(shape).numel() for shape in shapes((128, 256), channels)]
        assert 4 * sum(sizes) <= most


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("mixing", lambda t: t.double(), "mixing of a grain is no float32 tensor"),
        ("mixing", lambda t: t[0], "mixing of a grain has shape"),
        ("mixing", lambda t: t[:, :3], r"shape \(4, 3\); expected \(4, 4\)"),
        ("mixing", lambda t: t / 0, "mixing of a grain holds NaN"),
        ("mixing", lambda t: t / 2, "a variance of 1"),
        ("correlation", lambda t: t[:, :-1], "correlation of a grain of 4 channels on 20x12 cells"),
        ("correlation", lambda t: t * torch.nan, "correlation of a grain holds NaN"),
        ("correlation", lambda t: t * 2, "holds NaN or values beyond 1"),
        ("correlation", lambda t: t / 2, "is not 1 at lag 0"),
        ("correlation", lambda t: t * torch.linspace(0, 1, t.shape[2]), "is not"),
        ("grid", lambda g: (0, 3), "grid is"),
        ("regions", lambda t: t.double(), "regions of a grain is no float32 tensor"),
        (
            "regions",
            lambda t: t[..., :3],
            r"regions .* has shape \(0, 4, 3\); expected \(0, 4, 4\)",
        ),
        ("regions", lambda t: torch.full((2, 4, 4), 0.6), "a variance above 1"),
        ("regions", lambda t: torch.full((2, 4, 4), torch.nan), "holds NaN"),
    ],
)
def test_what_is_no_grain_is_refused(name, change, says):
    grain = smooth()
    with pytest.raises(PriorError, match=says):
        dataclasses.replace(grain, **{name: change(getattr(grain, name))})


@pytest.mark.parametrize(
    ("latents", "ids", "says"),
    [
        (
            torch.zeros(2, 4, 3, 3),
            torch.zeros(2, 3, 3).long(),
            "latents are torch.float32 of shape",
        ),
        (torch.zeros(2, 4, *GRID), torch.zeros(1, *GRID).long(), "class ids have shape"),
        (torch.zeros(2, 4, *GRID), torch.zeros(2, *GRID), "integer"),
        (torch.zeros(2, 4, *GRID) / 0, torch.zeros(2, *GRID).long(), "NaN or infinity"),
    ],
)
def test_latents_and_ids_of_another_kind_are_refused(latents, ids, says):
    with pytest.raises(PriorError, match=says):
        measure_grain(latents, ids, PRIOR)


# With a prior.

LATENTS, LABELS = dataset(smooth())
WHITE = prior_of(LATENTS, LABELS)
PRIOR = dataclasses.replace(WHITE, grain=measure_grain(LATENTS, LABELS, WHITE))


def test_white_draws_are_of_the_same_numbers_as_ever():
    mean, std = prior_moments(PRIOR, LABELS[:2])
    noise = torch.empty_like(mean)
    for index in range(2):
        digest = hashlib.sha256(f"scp-diff prior draw 7 {index}".encode()).digest()
        noise[index].normal_(generator=seeded(int.from_bytes(digest[:8], "little")))
    for prior in (PRIOR, WHITE):
        assert torch.equal(
            draw_prior_sample(prior, LABELS[:2], seed=7, noise="white"), noise * std + mean
        )


@pytest.mark.parametrize("mode", PRIOR_MODES)
@pytest.mark.parametrize("fallback", ["spatial", "categorical"])
def test_a_draw_has_grain_and_its_strength_by_default(mode, fallback):
    """On a grid of its own and another one."""
    for labels in (LABELS[:40], LABELS[:40, ::2, ::2]):
        mean, std = prior_moments(PRIOR, labels, mode, fallback)
        drawn = draw_prior_sample(PRIOR, labels, mode, seed=3, fallback=fallback)
        assert torch.equal(
            drawn, draw_prior_sample(PRIOR, labels, mode, 3, fallback=fallback, noise="grain")
        )
        assert torch.isfinite(drawn).all()
        half = draw_prior_sample(PRIOR, labels, mode, seed=3, deviation=0.5, fallback=fallback)
        torch.testing.assert_close(half - mean, (drawn - mean) / 2, atol=1e-5, rtol=1e-4)
        if mode == "normal":
            assert not drawn.any()
            continue
        residual = (drawn - mean) / std.clamp(min=1e-9) * (std > 0.01)
        known = (std > 0.01).float().mean()
        rows = PRIOR.rows_of(labels)
        if mode == "spatial":
            rows = torch.full_like(rows, -1)
        shared = torch.where(rows >= 0, PRIOR.grain.region_variances.mean(1)[rows], 0)
        shared = (shared[:, None] * (std > 0.01)).mean() / known
        wanted = GRAIN_STRENGTH**2 * (1 - shared) + REGION_STRENGTH**2 * shared
        assert float(residual.square().mean() / known) == pytest.approx(float(wanted), rel=0.12)


def test_grain_has_nothing_of_white_noise_or_a_samplers_of_the_same_seed():
    flat = torch.zeros(1, 64, 64, dtype=torch.int64)
    mean, std = prior_moments(PRIOR, flat, "categorical")
    for seed in (0, 1, 42, 2**63):
        ours = (draw_prior_sample(PRIOR, flat, "categorical", seed) - mean) / std
        white = draw_prior_sample(PRIOR, flat, "categorical", seed, noise="white")
        samplers = torch.randn(ours.shape, generator=seeded(seed))
        for other in ((white - mean) / std, samplers):
            found = torch.corrcoef(torch.stack([ours.flatten(), other.flatten()]))[0, 1]
            assert abs(found) < 5 / ours.numel() ** 0.5


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 2**32))
@settings(max_examples=10)
def test_batch_index_picks_and_shares_grain_as_it_does_white_noise(indices, seed):
    labels = LABELS[:1].expand(10, -1, -1)
    full = draw_prior_sample(PRIOR, labels, seed=seed)
    picked = draw_prior_sample(PRIOR, labels[: len(indices)], seed=seed, batch_index=indices)
    assert torch.equal(picked, full[indices])


def test_a_prior_without_grain_draws_white():
    for deviation in (0.3, 1.0):
        grained, white = (
            draw_prior_sample(WHITE, LABELS[:1], seed=1, deviation=deviation, noise=noise)
            for noise in ("grain", "white")
        )
        assert torch.equal(grained, white)


def test_a_noise_of_another_name_is_refused():
    with pytest.raises(PriorError, match="noise is 'pink'; expected one of grain, white"):
        draw_prior_sample(WHITE, LABELS[:1], noise="pink")


def test_draws_from_a_file_are_those_of_what_was_measured(tmp_path):
    loaded = load_prior(save_prior(PRIOR, tmp_path / "p.safetensors"))
    ours, theirs = (draw_prior_sample(prior, LABELS[:1], seed=2) for prior in (PRIOR, loaded))
    assert torch.equal(ours, theirs)


def test_a_prior_takes_no_grain_of_another_grid_or_number_of_channels():
    for other in (smooth(3), smooth(4, (6, 10)), "grain"):
        with pytest.raises(PriorError, match="grain"):
            dataclasses.replace(WHITE, grain=other)


def with_grain(grain, seed, images):
    latents, labels = dataset(grain, images, seed)
    prior = prior_of(latents, labels)
    return dataclasses.replace(prior, grain=measure_grain(latents, labels, prior))


def test_merged_priors_have_the_mean_of_their_grains_by_images():
    """In any order, and over those that have one; regions by the images of their class."""
    a, b = with_grain(smooth(lengths=(1.0,)), 1, 10), with_grain(smooth(lengths=(4.0,)), 2, 30)
    for merged in (merge_priors([a, b]), merge_priors([b, a]), merge_priors([a, WHITE, b])):
        for lag in LAGS:
            wanted = (a.grain.at(*lag) + 3 * b.grain.at(*lag)) / 4
            assert (merged.grain.at(*lag) - wanted).abs().max() < 0.1, lag
            if lag == (0, 0):
                torch.testing.assert_close(merged.grain.at(0, 0), wanted, atol=1e-3, rtol=0)
        one, other, both = (p.grain.regions @ p.grain.regions.mT for p in (a, b, merged))
        torch.testing.assert_close(both[:2], (one + 3 * other)[:2] / 4, atol=1e-4, rtol=0)
        # The third class is in the first image of each.
        torch.testing.assert_close(both[2], (one + other)[2] / 2, atol=1e-4, rtol=0)
    assert merge_priors([WHITE, WHITE]).grain is None
    assert any("has no grain" in text for text in taken_on_trust([a, WHITE], ["a", "b"]))


def test_a_class_that_one_of_merged_priors_lacks_has_the_regions_of_the_other():
    latents, labels = streets()
    one, other = (
        (latents[:60], labels[:60].clamp(max=1)),
        (latents[60:], torch.where(labels[60:] == 5, 9, labels[60:])),
    )
    a, b = (
        dataclasses.replace(p, grain=measure_grain(*given, p))
        for given in (one, other)
        for p in [prior_of(*given)]
    )
    merged = merge_priors([a, b])
    assert merged.class_ids.tolist() == [0, 1, 9]
    torch.testing.assert_close(
        merged.grain.region_variances[2], b.grain.region_variances[2], atol=1e-4, rtol=0
    )


def test_a_class_of_a_merged_prior_without_grain_has_the_regions_of_all_classes():
    latents, labels = streets()
    both = prior_of(latents, labels)
    a = dataclasses.replace(both, grain=measure_grain(latents, labels, both))
    merged = merge_priors([a, prior_of(latents, labels + 20)]).grain.region_variances
    torch.testing.assert_close(merged[:3], a.grain.region_variances, atol=1e-4, rtol=0)
    # All of its classes are in all images.
    wanted = a.grain.region_variances.mean(0).expand(3, -1)
    torch.testing.assert_close(merged[3:], wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [4, 18])
def test_grain_merged_with_itself_stays(channels):
    prior = with_grain(smooth(channels), 0, 40)
    again = merge_priors([prior, prior, prior]).grain
    for lag in LAGS:
        torch.testing.assert_close(again.at(*lag), prior.grain.at(*lag), atol=0.02, rtol=0)
    torch.testing.assert_close(again.region_variances, prior.grain.region_variances)
