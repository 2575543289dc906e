"""The ablation: what it plans, how it pairs rows with their baseline, and what it writes."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
import torch
from PIL import Image

from demo.ablation import bounds, report
from demo.ablation.command import APART, STREETS
from demo.ablation.inside import DEPTH, astray, share_astray
from demo.ablation.measuring import Judge, Measured, Value, figures_of, measure, values
from demo.ablation.plan import FULL, GRAIN, JOINT, Row, baseline_of, choices, paper, rows
from demo.ablation.sampling import BATCH, image_sets, images_folder, workflow
from demo.ablation.subject import Subject
from demo.start_graph import Settings, Start
from demo.training.setting import LEAK
from demo.training.sources import APART as APART_SCENES
from demo.training.sources import STREETS as TRAINED
from demo.training.sources import UNSEEN, Camvid
from prior_tools import PriorAccumulator, load_prior, pooled_prior, save_prior
from prior_tools.draw import REGION_STRENGTH
from prior_tools.evaluation.frechet import frechet_distance
from prior_tools.evaluation.intervals import Interval
from prior_tools.generating.prepared_workflow import prepare_workflow
from prior_tools.schedule import stable_diffusion_alpha_bar

MAPS, SIDE, CLASSES = 24, 16, 19
PER_MAP = 2


@pytest.fixture
def plan():
    return rows(*STREETS, Settings())


def test_the_main_table_has_every_prior_and_more_images_than_the_others(plan):
    main = {row.start for row in plan if row.table == "main"}
    assert {FULL, GRAIN, paper("joint", 0.8, 0.0)} <= main
    assert {paper(prior, 0.8) for prior in ("spatial", "categorical", "joint")} <= main
    for row in plan:
        assert row.settings.scheduler == "sgm_uniform"
        own = row.table == "itself" and row.model == "own"
        sizes = {
            "itself": (100, 2 if own else 1),
            "main": (200, 2),
            "noise": (200, 2),
            "tuned": (100, 2),
            "learned": (100, 2),
        }
        assert (row.maps, row.per_map) == sizes.get(row.table, (100, 1))


def test_the_grain_that_is_judged_is_the_nodes_default(plan):
    [noise] = [row for row in plan if row.table == "noise" and row.start == Start() != JOINT][:1]
    assert noise.start == GRAIN and not noise.pooled


def test_strengths_are_chosen_among_on_label_maps_that_nothing_is_judged_on():
    chosen = choices(*APART, Settings())
    tried = [row.start.deviation * REGION_STRENGTH for row in chosen if row.start.noise == "grain"]
    assert tried[:3] == pytest.approx([1.0, 1.5, 2.0])
    # What Joint Prior Noise takes.
    assert all(row.start.deviation <= 2 for row in chosen)
    assert all(baseline_of(row, chosen) is not None for row in chosen[1:])
    ranges = [range(first, first + count) for _, first, count in (APART_SCENES, UNSEEN, TRAINED)]
    for one, other in combinations(ranges, 2):
        assert not set(one) & set(other)


def test_pooled_moments_come_from_a_prior_file_of_their_own(tmp_path):
    subject = Subject(Camvid(tmp_path, tmp_path))
    subject.files.prior.parent.mkdir(exist_ok=True)
    state = PriorAccumulator(4, (3, 4))
    state.update(torch.randn(6, 4, 3, 4), torch.randint(3, (6, 3, 4)))
    prior = state.finalize()
    save_prior(prior, subject.files.prior)
    plain, pooled = row_of(JOINT), replace(row_of(JOINT), pooled=True)
    assert plain.key != pooled.key and subject.prior_of(plain) != subject.prior_of(pooled)
    held = load_prior(subject.prior(0, pooled=True))
    torch.testing.assert_close(held.joint_std, pooled_prior(prior).joint_std)


def test_the_streets_images_are_sampled_in_three_hours(plan):
    """On two cores, at a second an image (0.6 were measured) with all between prompts."""
    made = [wanted for wanted in image_sets(plan) if wanted.row.model != "sd"]
    assert sum(wanted.maps * wanted.per_map for wanted in made) * 1.0 < 3 * 3600


def test_every_start_is_compared_with_the_stock_start_of_its_table_and_settings(plan):
    for row in plan:
        baseline = baseline_of(row, plan)
        assert (baseline is None) == (row.start == FULL)
        if baseline is not None:
            assert baseline.start == FULL and baseline.table == row.table
            assert (baseline.settings, baseline.model) == (row.settings, row.model)
            assert (baseline.maps, baseline.per_map) == (row.maps, row.per_map)


def test_equal_rows_of_several_tables_are_made_once_as_many_as_the_largest_takes(plan):
    sets = {wanted.row.key: wanted for wanted in image_sets(plan)}
    assert len(sets) == len(image_sets(plan)) < len(plan)
    for row in plan:
        wanted = sets[row.key]
        assert wanted.maps >= row.maps and wanted.per_map >= row.per_map
        # Else the last prompt of a smaller table would be of fewer label maps, and other images.
        assert row.maps == wanted.maps or row.maps % BATCH == 0


def test_one_seed_drives_draw_and_sampler_and_one_label_map_all_that_takes_it():
    """`generate` sets one node each, and finds them and the output without being told."""
    prompt = workflow(row_of(JOINT), "own.safetensors", "all.safetensors")
    found = prepare_workflow(prompt, "Label map", "Seed", None, [], {})
    filled = found.filled("label_map.png", 17)
    seed, labels = [found.seed.node_id, 0], [found.label_image.node_id, 0]
    seeds = [node["inputs"]["seed"] for node in filled.values() if "seed" in node["inputs"]]
    assert seeds == [seed, seed] and filled[seed[0]]["inputs"]["value"] == 17
    taken = [node["inputs"] for node in filled.values() if labels in node["inputs"].values()]
    assert sum("control_net" in inputs for inputs in taken) == 1
    assert sum("prior" in inputs for inputs in taken) == 1
    assert filled[labels[0]]["inputs"]["image"] == "label_map.png"


def test_weights_that_are_trained_anew_have_another_name_in_the_workflow(tmp_path):
    """So `generate` refuses to go on with images of the old ones."""
    subject = Subject(Camvid(tmp_path, tmp_path))
    names = []
    for content in (b"old", b"new", b"old"):
        subject.files.weights.parent.mkdir(exist_ok=True)
        subject.files.weights.write_bytes(content)
        names.append(subject.weights_of(row_of(FULL)))
    assert names[0] == names[2] != names[1]


def test_rows_that_differ_have_different_folders(plan):
    differing = {
        (row.start, row.settings, row.model, row.images, row.pooled): row.key for row in plan
    }
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

    judge = Judge(labels, real, features, segment, (0, 2), tmp_path, tmp_path / "seen")

    def put(row, noise):
        images_folder(row, tmp_path).mkdir(parents=True, exist_ok=True)
        for i, k in product(range(row.maps), range(row.per_map)):
            spread = np.random.default_rng([i, k]).normal(0, noise, real[i].shape)
            image = Image.fromarray((real[i] + spread).clip(0, 255).astype(np.uint8))
            image.save(images_folder(row, tmp_path) / f"{i:04d}_{k:02d}.png")

    return judge, put


def test_astray_is_what_lies_deep_in_large_regions_and_is_seen_as_another_class():
    labels = torch.zeros(1, 32, 32, dtype=torch.int64)
    labels[0, :, 20:] = 1
    labels[0, 12, 8] = 3
    seen = labels.clone()
    # Just beside an edge, on one, and in a region that is not large.
    seen[0, 0, 17:20] = seen[0, 11:14, 7:10] = 2
    seen[0, :, 28:] = 2
    assert astray(seen, labels, (0,))[0, 0] == 0
    # In the picture's corner, which is no edge.
    seen[0, :2, :3] = 2
    wrong, inside = astray(seen, labels, (0,))[0].tolist()
    assert wrong == 6
    assert inside == 32 * (20 - DEPTH) - (2 * DEPTH + 1) ** 2
    assert float(share_astray(torch.tensor([wrong, inside]))) == wrong / inside


def row_of(start):
    return Row("main", start.prior, start, Settings(), MAPS, PER_MAP)


def test_a_row_is_measured_against_its_baseline(judged):
    judge, put = judged
    good, bad = row_of(JOINT), row_of(FULL)
    put(good, 2.0)
    put(bad, 40.0)
    found = measure(judge, good, bad)
    assert found.images == MAPS * PER_MAP
    assert found.against["mIoU"].interval.low > 0
    assert found.against["FID"].interval.high < 0
    assert (
        found.figures["pixel accuracy"].value > measure(judge, bad).figures["pixel accuracy"].value
    )
    # FID is the mean of that of the first images of the label maps, and of the second.
    each = [frechet_distance(judge.real.features, seen.features) for seen in judge.see(good)]
    assert len(each) == PER_MAP
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


def test_a_row_of_fewer_label_maps_takes_the_first_images_of_the_first(judged):
    judge, put = judged
    row = row_of(JOINT)
    put(row, 10.0)
    (few,) = judge.see(replace(row, table="mu", maps=10, per_map=1))
    assert torch.equal(few.features, judge.see(row)[0].features[:10])
    assert torch.equal(few.counts, judge.see(row)[0].counts[:10])


def test_what_was_seen_is_kept_until_the_images_change(judged):
    judge, put = judged
    put(row_of(JOINT), 10.0)
    first = judge.see(row_of(JOINT))
    segmenter, extractor = judge.segmenter, judge.extractor
    judge.segmenter = judge.extractor = None
    again = judge.see(row_of(JOINT))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.features, other.features)
        assert torch.equal(one.counts, other.counts)
    judge.segmenter, judge.extractor = segmenter, extractor
    put(row_of(JOINT), 20.0)
    assert not torch.equal(first[0].features, judge.see(row_of(JOINT))[0].features)


def measured(**against):
    figures = {"FID": Value(100.0, Interval(95, 105)), "mIoU": Value(0.5, Interval(0.49, 0.51))}
    return Measured(row_of(JOINT), figures, against)


SECONDS = {row_of(JOINT).cost: 0.5}


def test_a_table_gives_every_figure_its_interval_and_number_of_images():
    text = report.table([measured()], SECONDS)
    assert "100.0 ± 5.0" in text and "0.500 ± 0.010" in text
    assert f"{MAPS} x {PER_MAP}" in text and "0.50" in text


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
