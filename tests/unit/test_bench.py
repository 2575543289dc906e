"""Laws of the benchmark: a fair baseline, honest verdicts, a complete report. No time is judged."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import device_laws, gpu, run
from bench.device_build import WAYS, DeviceEncoder
from bench.figure import Figure
from bench.one import MeasurementFailed
from bench.ours import CountingEncoder, build
from bench.published import build_as_published, classes_of, encodes_by_definition
from bench.synthetic import CITYSCAPES, COCO_STUFF, coverage, synthetic_prior
from demo.scenes import write_dataset
from prior_tools import BuildOptions, PriorAccumulator, load_prior, save_prior
from prior_tools.building.build import collect_moments
from prior_tools.datasets.layouts import find_dataset

REPOSITORY = Path(__file__).parents[2]


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
    collected = collect_moments(
        scenes, CountingEncoder(), BuildOptions(label_method="nearest", workers=1)
    )
    ours, theirs = collected.state.finalize(), baseline[1]
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


@pytest.mark.parametrize("like", [CITYSCAPES, replace(COCO_STUFF, grid=(16, 16))])
@pytest.mark.parametrize("full", [False, True])
def test_synthetic_priors_can_be_saved(tmp_path, like, full):
    saved = save_prior(synthetic_prior(like, full), tmp_path / "prior.safetensors")
    assert load_prior(saved).num_images == like.images


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


def test_the_measurements_for_gpus_run_on_the_cpu_at_a_small_size(tmp_path, capsys):
    out = tmp_path / "new" / "gpu.json"
    assert gpu.main(["--rehearse", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["card"] == "cpu, a rehearsal" and not report["left_out"]
    assert [(row["batch"], row["readers"], row["way"]) for row in report["rows"][:-1]] == [
        (2, 1, "host"),
        (2, 2, "host"),
        (4, 1, "host"),
        (4, 2, "host"),
    ]
    assert report["rows"][-1]["way"] == "pinned"
    for row in report["rows"]:
        assert row["images"] == 4 and len(row["memory_s"]) == 1 + len(row["build_s"]) == 2
        assert 0 < row["start_s"][0] < row["build_s"][0] and 0 < row["encoding"] < 1
        assert row["ratio_after_start"] < row["ratio"]
    assert {stage["where"] for stage in report["stages"]} == {"readers", "loop", "device", "beside"}
    assert all(law["difference"] == 0 for law in report["laws"])
    said = capsys.readouterr().out
    assert all(law["says"] in said for law in report["laws"]) and "left out" not in said


def test_what_runs_on_gpus_needs_what_the_method_needs_and_no_more():
    """No ComfyUI, nor the tools of development: there only little can be carried along."""
    others = ("comfy", "dev", "tqdm", "requests", "transformers", "torchvision", "psutil", "scipy")
    code = f"import sys; sys.modules.update(dict.fromkeys({others})); import bench.gpu"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def test_a_law_that_a_device_breaks_is_told_and_the_others_are_tried(monkeypatch):
    def fails(device):
        raise RuntimeError("no such kernel\nmore")

    laws = (
        ("differs", 0.1, lambda device: 0.2),
        ("is no number", 0.1, lambda device: float("nan")),
        ("cannot run", 0.1, fails),
        ("is close", 0.1, lambda device: 0.05),
    )
    monkeypatch.setattr(device_laws, "_LAWS", laws)
    found = device_laws.check_laws("cpu")
    assert [law.holds for law in found] == [False, False, False, True]
    assert found[2].error == "no such kernel"


def test_the_laws_for_devices_tell_moments_that_differ(monkeypatch):
    """On the CPU all differences are 0; this one comes from a method that is wrong once."""
    update, calls = PriorAccumulator.update, []

    def wrong_once(state, latents, labels):
        calls.append(1)
        update(state, latents + (0.5 if len(calls) == 1 else 0), labels)

    monkeypatch.setattr(PriorAccumulator, "update", wrong_once)
    law = device_laws.check_laws("cpu")[0]
    assert law.difference > 0.1 and not law.holds


def test_both_ways_to_hand_a_batch_over_give_the_same_pixels():
    images = torch.rand(2, 16, 24, 3, generator=torch.Generator().manual_seed(0))
    host, pinned = (DeviceEncoder(torch.nn.Identity(), "cpu", torch.float32, way) for way in WAYS)
    assert torch.equal(host.handed_over(images), pinned.handed_over(images))
    assert host(images).shape == (2, 3, 16, 24) and host.seconds > 0
