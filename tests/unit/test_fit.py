"""Laws of held-out figures: closed forms, the mode that the data is of, priors that do not fit."""

import math

import pytest
import torch

from prior_tools import PriorAccumulator, PriorError, prior_moments, soft_labels
from prior_tools.cli.score import class_rows
from prior_tools.evaluation.fit import FitSums
from prior_tools.held_out import HELD_OUT_MODES, KNOWS_NOTHING, HeldOut

GRID = (3, 4)


def scenes(count, seed, means, within=1.0):
    """Latents whose means are those of three classes at each cell [3, C, h, w], label maps."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count, *GRID), generator=generator)
    y, x = torch.arange(GRID[0])[:, None], torch.arange(GRID[1])
    mean = means[labels, :, y, x].movedim(-1, 1)
    return mean + within * torch.randn(mean.shape, generator=generator), labels


def fitted(latents, labels, seen, seen_labels):
    state = PriorAccumulator(latents.shape[1], GRID, ())
    state.update(seen, seen_labels)
    prior = state.finalize()
    sums = FitSums(prior)
    soft = [soft_labels(one, GRID) for one in labels]
    sums.update([str(i) for i in range(len(labels))], latents, labels, soft)
    return prior, sums.figures(draws=200)


def of_classes():
    return 3 * torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(5)).expand(
        3, 2, *GRID
    )


def test_figures_are_those_of_their_definitions():
    means = of_classes()
    seen, new = scenes(40, 0, means), scenes(7, 1, means)
    prior, fit = fitted(*new, *seen)
    mean = prior.spatial_mean.double().mean((1, 2), keepdim=True)
    of_all = seen[0].double().movedim(1, 0).flatten(1).std(1, correction=0)[:, None, None]
    for mode in ("spatial", "categorical", "joint", "mixture"):
        m, s = (moment.double() for moment in prior_moments(prior, new[1], mode))
        normal = torch.distributions.Normal(m, s)
        nll = float((-normal.log_prob(new[0].double()) - of_all.log()).mean())
        explained = 1 - float(
            ((new[0] - m) / of_all).square().sum() / ((new[0] - mean) / of_all).square().sum()
        )
        found = fit.held_out.modes[mode]
        assert found.nll == pytest.approx(nll, abs=1e-4)
        assert found.explained == pytest.approx(explained, abs=1e-4)
        assert found.nll_interval[0] < found.nll < found.nll_interval[1]


def test_what_differs_by_class_alone_is_best_predicted_by_class_and_pooled():
    means = of_classes()
    _, fit = fitted(*scenes(60, 1, means), *scenes(25, 0, means))
    modes = fit.held_out.modes
    assert modes["categorical"].nll < modes["joint"].nll < modes["spatial"].nll
    assert modes["pooled"].nll < modes["joint"].nll
    assert modes["pooled"].nll == pytest.approx(modes["categorical"].nll, abs=0.05)
    # Labels of whole cells have no soft edges.
    assert modes["pooled, soft edges"].nll == pytest.approx(modes["pooled"].nll, abs=1e-5)
    assert fit.fits.startswith("this prior fits these images:")


def test_classes_add_up_to_all():
    means = of_classes()
    latents, labels = scenes(9, 1, means)
    labels[0] = -1
    _, fit = fitted(latents, labels, *scenes(25, 0, means))
    assert [entry.class_id for entry in fit.classes] == [0, 1, 2, -1]
    cells = sum(entry.cells for entry in fit.classes)
    assert cells == 9 * 12 and fit.classes[-1].cells == 12
    for mode in HELD_OUT_MODES:
        total = sum(entry.nll[mode] * entry.cells for entry in fit.classes)
        assert total / cells == pytest.approx(fit.held_out.modes[mode].nll)


def test_a_class_that_fills_all_images_has_the_intervals_of_all():
    means = of_classes()
    latents, labels = scenes(9, 1, means)
    _, fit = fitted(latents, torch.ones_like(labels), *scenes(25, 0, means))
    (entry,) = fit.classes
    for mode, found in fit.held_out.modes.items():
        assert entry.nll_interval[mode] == pytest.approx(found.nll_interval)
        assert entry.explained_interval[mode] == pytest.approx(found.explained_interval)


def test_a_class_has_intervals_over_the_images_that_hold_it_where_they_are_not_few():
    means = of_classes()
    latents, labels = scenes(9, 1, means)
    labels[3:][labels[3:] == 2] = 0
    prior, fit = fitted(latents, labels, *scenes(25, 0, means))
    all_over, _, few = fit.classes
    assert (all_over.images, few.images) == (9, 3)
    for mode in HELD_OUT_MODES:
        assert few.nll_interval[mode] is few.explained_interval[mode] is None
        for interval, value in (
            (all_over.nll_interval[mode], all_over.nll[mode]),
            (all_over.explained_interval[mode], all_over.explained[mode]),
        ):
            assert interval[0] < value < interval[1]
    heading, first, *_, last = class_rows(prior, fit, "joint")
    low, high = all_over.nll_interval["joint"]
    assert heading == ["id", "name", "images", "cells", "NLL", "explained", "best"]
    assert first[4] == f"{all_over.nll['joint']:.3f} ± {(high - low) / 2:.3f}"
    assert first[6] == all_over.best and all_over.nll[first[6]] == min(all_over.nll.values())
    assert last[4] == f"{few.nll['joint']:.3f}" and last[5] == f"{few.explained['joint']:.1%}"


def test_images_of_another_kind_are_told():
    means = of_classes()
    latents, labels = scenes(10, 1, means)
    _, fit = fitted(-2 * latents, labels, *scenes(25, 0, means))
    assert fit.held_out.modes[fit.held_out.best].nll > KNOWS_NOTHING
    assert fit.fits.startswith("this prior does not fit these images")


def test_which_mode_is_best_is_only_called_clear_where_it_is():
    means = of_classes() + torch.randn(3, 2, *GRID, generator=torch.Generator().manual_seed(1))
    _, clear = fitted(*scenes(60, 1, means, 0.5), *scenes(300, 0, means, 0.5))
    assert ", clearly better than" in clear.verdict
    nothing = torch.zeros(3, 2, *GRID)
    _, fit = fitted(*scenes(8, 1, nothing), *scenes(300, 0, nothing))
    assert ", not clearly better than" in fit.verdict


def test_the_figures_of_a_normal_distribution_are_the_entropy():
    nothing = torch.zeros(3, 2, *GRID)
    _, fit = fitted(*scenes(100, 1, nothing), *scenes(1000, 0, nothing))
    assert math.isclose(KNOWS_NOTHING, 0.5 * math.log(2 * math.pi * math.e))
    for mode in HELD_OUT_MODES:
        found = fit.held_out.modes[mode]
        assert found.nll == pytest.approx(KNOWS_NOTHING, abs=0.04)
        assert found.explained == pytest.approx(0, abs=0.04)
        assert found.surprise == pytest.approx(1, abs=0.08)


def test_equal_images_do_not_make_others_infinitely_unlikely():
    latents, labels = scenes(2, 0, of_classes())
    latents[1], labels[1] = latents[0], labels[0]
    _, fit = fitted(*scenes(5, 1, of_classes()), latents, labels)
    assert all(math.isfinite(found.nll) for found in fit.held_out.modes.values())


def test_latents_of_another_grid_are_refused():
    prior, _ = fitted(*scenes(5, 1, of_classes()), *scenes(5, 0, of_classes()))
    with pytest.raises(PriorError, match=r"expected \[N, C, h, w\]"):
        FitSums(prior).update(["a"], torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4).long(), [])
    with pytest.raises(PriorError, match="no image was taken in"):
        FitSums(prior).figures()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(images=0),
        lambda data: data.pop("modes"),
        lambda data: data["modes"].pop("joint"),
        lambda data: data["modes"]["joint"].update(nll=None),
        lambda data: data["modes"]["joint"].update(nll=float("nan")),
        lambda data: data["modes"]["joint"].update(nll_interval=[1.0]),
    ],
)
def test_figures_of_a_damaged_file_are_refused(change):
    _, fit = fitted(*scenes(5, 1, of_classes()), *scenes(5, 0, of_classes()))
    data = fit.held_out.to_json()
    assert HeldOut.from_json(data) == fit.held_out
    change(data)
    with pytest.raises(ValueError):
        HeldOut.from_json(data)
