"""The ablation: what it plans, how it pairs rows with their baseline, and what it writes."""

import numpy as np
import pytest
import torch

from demo.ablation import bounds, report
from demo.ablation.measuring import Judge, Measured, Value, figures_of, measure, values
from demo.ablation.plan import FULL, JOINT, Row, baseline_of, paper, rows
from demo.ablation.sampling import sample_all, tasks
from demo.start_graph import Settings
from demo.training.setting import LEAK
from prior_tools.evaluation.frechet import frechet_distance
from prior_tools.evaluation.intervals import Interval
from prior_tools.schedule import stable_diffusion_alpha_bar

MAPS, SIDE, CLASSES = 24, 16, 19
SEEDS = (1, 2)


@pytest.fixture
def plan():
    return rows(200, 104, (1, 2, 3), Settings())


def test_the_plan_has_every_start_and_each_priors_mean_alone(plan):
    main = {row.start for row in plan if row.table == "main"}
    assert {FULL, paper("normal", 0.8)} <= main
    for prior in ("spatial", "categorical", "joint", "mixture"):
        assert {paper(prior, 0.8), paper(prior, 0.8, 0.0)} <= main
    for row in plan:
        assert row.settings.scheduler == "sgm_uniform"
        assert (row.maps, len(row.seeds)) == ((200, 3) if row.table == "main" else (104, 1))


def test_every_start_is_compared_with_the_stock_start_of_its_table_and_settings(plan):
    for row in plan:
        baseline = baseline_of(row, plan)
        assert (baseline is None) == (row.start == FULL)
        if baseline is not None:
            assert baseline.start == FULL and baseline.table == row.table
            assert (baseline.settings, baseline.model) == (row.settings, row.model)
            assert (baseline.maps, baseline.seeds) == (row.maps, row.seeds)


def test_tables_share_the_images_of_equal_rows(plan):
    """What short tables compare with is in the main one, in the same batches."""
    planned = {(task.row.key, task.seed, task.first, task.count) for task in tasks(plan)}
    assert len(planned) == len(tasks(plan))
    short = Row("mu", "", JOINT, Settings(), (1,), 104)
    for task in tasks([short]):
        assert (task.row.key, task.seed, task.first, task.count) in planned


def test_rows_that_differ_have_different_folders(plan):
    differing = {(row.start, row.settings, row.model, row.images): row.key for row in plan}
    assert len(set(differing.values())) == len(differing)


@pytest.fixture
def judged(tmp_path):
    """A judge, and a function that puts a row's images where they would be sampled to."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, (MAPS, SIDE, SIDE)).astype(np.uint8)
    real = np.repeat(labels[..., None] * 13, 3, -1).astype(np.uint8)

    def features(images):
        return images.float().flatten(1)[:, ::48] / 255

    def segment(images):
        """Reads the class off the grey value."""
        ids = (images[..., 0] / 13).round().long().clamp(0, CLASSES - 1)
        return torch.nn.functional.one_hot(ids, CLASSES).movedim(-1, 1).float()

    judge = Judge(labels, real, features, segment, tmp_path)

    def put(row, noise):
        for task in tasks([row]):
            spread = np.random.default_rng([task.seed, task.first]).normal(0, noise, real.shape)
            some = slice(task.first, task.first + task.count)
            images = (real[some] + spread[some]).clip(0, 255).astype(np.uint8)
            task.file(tmp_path).parent.mkdir(parents=True, exist_ok=True)
            np.savez(task.file(tmp_path), images=images)

    return judge, put


def row_of(start):
    return Row("main", start.prior, start, Settings(), SEEDS, MAPS)


def test_a_row_is_measured_against_its_baseline(judged):
    judge, put = judged
    good, bad = row_of(JOINT), row_of(FULL)
    put(good, 2.0)
    put(bad, 40.0)
    found = measure(judge, good, bad)
    assert found.images == MAPS * len(SEEDS)
    assert found.against["mIoU"].interval.low > 0
    assert found.against["FID"].interval.high < 0
    assert (
        found.figures["pixel accuracy"].value > measure(judge, bad).figures["pixel accuracy"].value
    )
    # FID is the mean over seeds of each seed's own.
    each = [frechet_distance(judge.real.features, judge.see(good, seed).features) for seed in SEEDS]
    assert found.figures["FID"].value == pytest.approx(np.mean(each))


def test_a_row_against_itself_differs_by_nothing(judged):
    judge, put = judged
    put(row_of(JOINT), 10.0)
    found = measure(judge, row_of(JOINT), row_of(JOINT))
    for value in found.against.values():
        assert value.value == 0 and value.interval == Interval(0, 0)


def test_the_label_maps_own_images_are_what_others_are_measured_against(judged):
    judge, _ = judged
    figures = values(figures_of(judge.real.features, [judge.real]))
    assert figures["FID"].value == pytest.approx(0, abs=1e-6)
    assert figures["mIoU"].value == figures["pixel accuracy"].value == 1
    assert "diversity" not in figures


def test_what_was_seen_is_kept(judged):
    judge, put = judged
    put(row_of(JOINT), 10.0)
    first = judge.see(row_of(JOINT), 1)
    judge.segmenter = judge.extractor = None
    again = judge.see(row_of(JOINT), 1)
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.counts, again.counts)


def measured(**against):
    figures = {"FID": Value(100.0, Interval(95, 105)), "mIoU": Value(0.5, Interval(0.49, 0.51))}
    return Measured(row_of(JOINT), figures, against)


SECONDS = {row_of(JOINT).cost: 0.5}


def test_a_table_gives_every_figure_its_interval_and_number_of_images():
    text = report.table([measured()], SECONDS)
    assert "100.0 ± 5.0" in text and "0.500 ± 0.010" in text
    assert f"{MAPS} x 2" in text and "0.50" in text


@pytest.mark.parametrize(("low", "high", "bold"), [(-9, -1, True), (-5, 1, False), (1, 2, True)])
def test_only_clear_differences_are_bold(low, high, bold):
    text = report.table([measured(FID=Value((low + high) / 2, Interval(low, high)))], SECONDS)
    assert ("**" in text) == bold


def test_tables_replace_what_stands_between_their_marks_alone(tmp_path):
    document = tmp_path / "a.md"
    document.write_text(
        "before\n<!-- x -->\nold\n<!-- end x -->\nreading\n<!-- y -->\n<!-- end y -->"
    )
    report.fill(document, {"x": "| new \\1 |", "y": "z"})
    text = "before\n<!-- x -->\n| new \\1 |\n<!-- end x -->\nreading\n<!-- y -->\nz\n<!-- end y -->"
    assert document.read_text() == text
    with pytest.raises(KeyError, match="no marks for w"):
        report.fill(document, {"w": ""})


def test_a_missing_figure_leaves_its_cell_empty():
    one, other = {"mIoU": Value(0.5, None)}, {"FID": Value(100.0, Interval(95, 105))}
    rows = report.bounds_table({"one": one, "other": other}).splitlines()
    assert rows[0] == "| images | FID | mIoU |"
    assert rows[2:] == ["| one |  | 0.500 |", "| other | 100.0 ± 5.0 |  |"]


def test_the_leak_grows_with_cells_and_with_the_mean():
    """Of Stable Diffusion at 1024 x 512 it is what the demo's schedule was made for."""
    usual = stable_diffusion_alpha_bar()
    leak = bounds.leak(usual, 64 * 128, 0.1)
    assert leak["alpha_bar T x cells"] == pytest.approx(LEAK, rel=0.02)
    assert leak["full measure"] == pytest.approx(4 * 0.1 * LEAK, rel=0.03)
    twice = bounds.leak(usual, 64 * 128, 0.2)
    assert twice["full measure"] == pytest.approx(2 * leak["full measure"])


def test_rows_of_one_cost_differ_in_nothing_that_takes_time(plan):
    costs = {}
    for row in plan:
        drawn = row.start.prior != "normal"
        costs.setdefault(row.cost, set()).add((drawn, row.start.mu, row.settings))
    assert all(len(found) == 1 for found in costs.values())
    assert len(costs) < len({row.key for row in plan})


class Recorder:
    """Stands where a sampler would: what `sample_all` hands out is all that is looked at."""

    def __init__(self, fail_at=None):
        self.ran, self.fail_at = [], fail_at

    def run(self, task):
        if task.first == self.fail_at:
            raise RuntimeError("the server died")
        self.ran.append(task)


def test_several_samplers_run_every_task_once():
    samplers = [Recorder() for _ in range(3)]
    waiting = tasks([row_of(FULL)])
    assert set(sample_all(samplers, waiting)) == set(waiting)
    ran = [task for sampler in samplers for task in sampler.ran]
    assert len(ran) == len(waiting) and set(ran) == set(waiting)


def test_an_error_of_one_sampler_ends_all():
    waiting = tasks([Row("main", "", FULL, Settings(), (1,), 400)])
    samplers = [Recorder(fail_at=8), Recorder(fail_at=8)]
    with pytest.raises(RuntimeError, match="the server died"):
        list(sample_all(samplers, waiting))
