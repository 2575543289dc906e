"""Laws of the benchmark: a fair baseline, honest verdicts, a complete report. Nothing is timed."""

import json

import pytest
import torch

from bench import run
from bench.figure import Figure
from bench.one import MeasurementFailed
from bench.ours import CountingEncoder, build
from bench.published import build_as_published, classes_of, encodes_by_definition
from bench.synthetic import CITYSCAPES, coverage, synthetic_prior
from demo.scenes import write_dataset
from prior_tools import BuildOptions
from prior_tools.building.build import collect_moments
from prior_tools.datasets.layouts import find_dataset


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = write_dataset(tmp_path_factory.mktemp("scenes"), 3, 64, 64, seed=4)
    return find_dataset("pairs", root, "").with_palette("cityscapes").dataset((64, 64))


@pytest.fixture(scope="module")
def baseline(scenes):
    encode = CountingEncoder()
    prior = build_as_published(scenes, encode, classes_of(scenes), batch_size=2, workers=1)
    return encode.images, prior


def test_the_baseline_encodes_once_for_each_class_and_twice_more(scenes, baseline):
    classes = [len(set(scenes[i].labels[::8, ::8].flatten().tolist()) - {-1}) for i in range(3)]
    assert min(classes) > 1
    assert baseline[0] == encodes_by_definition(classes_of(scenes)) == sum(classes) + 2 * 3


def test_ours_encodes_once(scenes):
    encode = CountingEncoder()
    assert build(scenes, encode, batch_size=2).num_images == encode.images == 3


def test_the_baseline_is_a_real_one_its_joint_and_spatial_moments_are_ours(scenes, baseline):
    state, _ = collect_moments(
        scenes, CountingEncoder(), BuildOptions(label_method="nearest", workers=1)
    )
    ours, theirs = state.finalize(), baseline[1]
    assert ours.class_ids.tolist() == sorted(theirs.joint_mean)
    torch.testing.assert_close(theirs.spatial_mean, ours.spatial_mean)
    torch.testing.assert_close(theirs.spatial_std, ours.spatial_std, atol=1e-6, rtol=1e-5)
    for row, class_id in enumerate(ours.class_ids.tolist()):
        assert torch.equal(theirs.joint_count[class_id].int(), ours.joint_count[row])
        for ours_are, theirs_are in (
            (ours.joint_mean[row], theirs.joint_mean[class_id]),
            (ours.joint_std[row], theirs.joint_std[class_id]),
        ):
            torch.testing.assert_close(theirs_are, ours_are, atol=1e-6, rtol=1e-5)


def test_synthetic_priors_are_occupied_as_they_say():
    assert coverage(synthetic_prior(CITYSCAPES, full=True)) == 1
    assert 0.3 < coverage(synthetic_prior(CITYSCAPES)) < 1


@pytest.mark.parametrize(
    ("value", "bound", "kind", "holds"),
    [
        (1.03, 1.03, "at most", True),
        (1.04, 1.03, "at most", False),
        (7.9, 8.0, "at least", False),
        (8.0, 8.0, "at least", True),
        (2.0, 1.0, "exactly", False),
        (9.9, None, "at most", None),
    ],
)
def test_a_verdict_is_that_of_the_bound(value, bound, kind, holds):
    figure = Figure("figure", value, "x", bound, kind)
    assert figure.holds is holds
    assert figure.verdict in figure.line()
    assert figure.to_json()["holds"] is holds


def test_the_report_names_every_measurement_also_those_that_failed_or_were_not_asked_for(
    tmp_path, monkeypatch, capsys
):
    def measure_alone(name, options):
        if name == "growth":
            raise MeasurementFailed("its process ended with exit code 3")
        return f"title of {name}", [Figure("speed-up", 9.0, "x", 8.0, "at least", "3 images")]

    monkeypatch.setattr(run, "measure_alone", measure_alone)
    out = tmp_path / "new" / "bench.json"
    assert run.main(["--quick", "--only", "speed", "growth", "--out", str(out)]) == 1
    report = json.loads(out.read_text())
    assert tuple(report["measurements"]) == run.NAMES
    assert report["measurements"]["speed"]["figures"][0]["holds"] is True
    assert report["measurements"]["growth"] == {"error": "its process ended with exit code 3"}
    assert report["measurements"]["files"] is None
    assert {"processor", "cores", "torch"} <= report["machine"].keys()
    said = capsys.readouterr().out
    assert "speed-up: 9 x (at least 8 x, holds)" in said and "growth: not measured" in said

    assert run.main(["--quick", "--out", str(out), "--only", "encodes"]) == 0
