"""`python -m prior_tools build` in processes of its own, with ComfyUI's own VAE loader."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from demo.scenes import write_dataset
from dev import weights
from dev.comfyui import REPOSITORY
from dev.leftovers import killed_while_writing
from dev.server import host_environment
from prior_tools import PALETTES, decode_label_image, load_palette, load_prior, save_prior
from prior_tools.building.checkpoint import HEADER_KEY
from prior_tools.labels.palette_files import palette_text
from prior_tools.labels.palette_formats import Row
from prior_tools.name_lengths import path_beside
from prior_tools.tensor_file import read_tensors

pytestmark = pytest.mark.slow

COUNT, BATCH = 120, 4


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """A folder of pairs, large enough to be killed in: ten scenes twelve times over."""
    root = tmp_path_factory.mktemp("scenes")
    write_dataset(root, 10, 64, 64, seed=5)
    for i in range(10, COUNT):
        for kind in ("images", "labels"):
            shutil.copy(root / kind / f"scene_{i % 10:05}.png", root / kind / f"scene_{i:05}.png")
    return root


@pytest.fixture(scope="module")
def command(comfy_dir, scenes):
    """`command(out, *more)`: the arguments of a build of the scenes."""

    def arguments(out: Path, *more: str, root: Path = scenes, ranks: int = 1) -> list[str]:
        start = [sys.executable, "-m"]
        if ranks > 1:
            start += ["torch.distributed.run", "--nproc_per_node", str(ranks), "-m"]
        return [
            *start,
            *("prior_tools", "build", "--dataset", "pairs", "--palette", "cityscapes"),
            *("--root", str(root), "--vae", str(weights.tiny_vae(4)), "--comfyui", str(comfy_dir)),
            *("--size", "64x64", "--batch-size", str(BATCH), "--workers", "2"),
            *("--latent-format", "sd15"),
            *("--out", str(out), *more),
        ]

    return arguments


def run(command: list[str], code: int = 0) -> subprocess.CompletedProcess:
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


def environment() -> dict[str, str]:
    # One thread an operation, so that a share of two ranks on two cores is not slower than one.
    return {**host_environment(), "OMP_NUM_THREADS": "1"}


def batches_done(checkpoint: Path) -> int:
    try:
        written, _ = read_tensors(checkpoint, HEADER_KEY, 2**20)
    except FileNotFoundError:
        return -1
    return json.loads(written)["progress"]["next_batch"]


def stopped_at(command: list[str], checkpoint: Path, batch: int, number: int) -> tuple[int, str]:
    """Start, send a signal once `batch` batches are in the checkpoint: (exit code, stderr).

    To the whole process group, as `timeout`, systemd and a terminal's Ctrl-C do. SIGKILL finds the
    main process alone, or torchrun and all of its ranks.
    """
    process = psutil.Popen(
        command,
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while batches_done(checkpoint) < batch and process.poll() is None:
        assert time.monotonic() < deadline, "the build did not get on"
        time.sleep(0.005)
    assert process.poll() is None, "the build ended before it could be stopped"
    started = process.children(recursive=True)
    if number == signal.SIGKILL:
        for each in [process, *(started if "--nproc_per_node" in command else [])]:
            each.kill()
    else:
        os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    # Those that read end by themselves.
    _, left = psutil.wait_procs(started, timeout=20)
    assert not left
    return process.returncode, said


@pytest.fixture(scope="module")
def uninterrupted(command, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "p.safetensors"
    said = run(command(out))
    assert f"used {COUNT} images" in said.stdout
    assert not out.with_name(out.name + ".checkpoint").exists()
    return out


def test_images_alone_are_built_killed_and_resumed_to_the_places_moments(
    command, tmp_path, scenes, uninterrupted
):
    out = tmp_path / "alone.safetensors"
    argv = command(out, "--checkpoint-every", "0", root=scenes / "images")
    argv[argv.index("pairs")] = "images"
    at = argv.index("--palette")
    del argv[at : at + 2]
    stopped_at(argv, out.with_name(out.name + ".checkpoint"), 11, signal.SIGKILL)
    said = run(argv).stdout
    assert f"used {COUNT} images; no label maps, so the prior is for mode spatial" in said
    alone, whole = load_prior(out), load_prior(uninterrupted)
    assert not alone.labelled and alone.metadata.dataset_name == "images"
    assert torch.equal(alone.spatial_mean, whole.spatial_mean)
    assert torch.equal(alone.spatial_std, whole.spatial_std)
    assert alone.grain is not None and out.stat().st_size < uninterrupted.stat().st_size


def test_killed_in_three_places_it_gives_bit_for_bit_what_an_uninterrupted_run_gives(
    command, tmp_path, uninterrupted
):
    out = tmp_path / "p.safetensors"
    checkpoint = out.with_name(out.name + ".checkpoint")
    again = command(out, "--checkpoint-every", "0")
    for batch in (1, 11, 22):
        stopped_at(again, checkpoint, batch, signal.SIGKILL)
        assert not out.exists()
    run(again)
    assert out.read_bytes() == uninterrupted.read_bytes()
    assert not checkpoint.exists()


def test_ctrl_c_and_sigterm_end_cleanly_and_the_same_command_goes_on(
    command, tmp_path, uninterrupted
):
    out = tmp_path / "p.safetensors"
    checkpoint = out.with_name(out.name + ".checkpoint")
    for batch, number in ((3, signal.SIGINT), (9, signal.SIGTERM)):
        code, said = stopped_at(command(out, "--checkpoint-every", "0"), checkpoint, batch, number)
        assert code == 130 and "Traceback" not in said
        done = batches_done(checkpoint)
        assert (
            done >= batch
            and f"cancelled after {done * BATCH} of {COUNT} images; start the same" in said
        )
    run(command(out, "--workers", "0"))
    assert out.read_bytes() == uninterrupted.read_bytes()


def test_ids_that_count_otherwise_are_read_by_a_palette_file_and_a_map(
    command, tmp_path, scenes, uninterrupted
):
    root, city = tmp_path / "copy", PALETTES["cityscapes"]
    shutil.copytree(scenes, root)
    for path in (root / "labels").iterdir():
        ids = decode_label_image(np.array(Image.open(path).convert("RGB")), city)[0]
        Image.fromarray((ids.numpy() + 1).astype(np.uint8)).save(path)
    file, out = tmp_path / "mine.json", tmp_path / "p.safetensors"
    file.write_text(palette_text("mine", [Row("", i, n, None) for i, n in city.names.items()]))
    options = ["--palette", str(file), "--id-map", "shifted_down_by_one"]
    run(command(out, *options, root=root))
    ours, theirs = load_prior(out), load_prior(uninterrupted)
    assert ours.metadata.palette == load_palette(file)
    assert torch.equal(ours.joint_count, theirs.joint_count)
    assert torch.equal(ours.joint_mean, theirs.joint_mean)


def test_a_changed_option_or_dataset_is_refused_by_name(command, tmp_path, scenes):
    root = tmp_path / "copy"
    shutil.copytree(scenes, root)
    out = tmp_path / "p.safetensors"
    checkpoint = out.with_name(out.name + ".checkpoint")
    stopped_at(command(out, "--checkpoint-every", "0", root=root), checkpoint, 2, signal.SIGKILL)
    kept = checkpoint.read_bytes()
    says = run(command(out, "--labels", "nearest", root=root), 2).stderr
    assert "label method was majority and is nearest" in says
    assert "id map was" in run(command(out, "--id-map", "255=-1", root=root), 2).stderr
    (root / "images" / "scene_00003.png").write_bytes(
        (root / "images" / "scene_00004.png").read_bytes()
    )
    says = run(command(out, root=root), 2).stderr
    assert "files that it has used are of other sizes or dates" in says
    assert "remove the file to begin anew" in says
    assert checkpoint.read_bytes() == kept


def test_a_wrong_file_found_late_is_mended_and_the_build_goes_on(
    command, tmp_path, scenes, uninterrupted
):
    root, out = tmp_path / "copy", tmp_path / "p.safetensors"
    shutil.copytree(scenes, root)
    late = root / "images" / f"scene_{COUNT - 20:05}.png"
    whole = late.read_bytes()
    late.write_bytes(whole[: len(whole) // 2])
    again = command(out, root=root)
    said = run(again, 2).stderr
    assert f"image {late.name} cannot be read" in said and "add --on-error skip" in said
    assert batches_done(out.with_name(out.name + ".checkpoint")) == (COUNT - 20) // BATCH
    late.write_bytes(whole)
    run(again)
    assert out.read_bytes() == uninterrupted.read_bytes()


def test_two_ranks_give_what_one_process_gives_and_resume(command, tmp_path, uninterrupted):
    out = tmp_path / "p.safetensors"
    run(command(out, ranks=2))
    two, one = load_prior(out), load_prior(uninterrupted)
    assert two.num_images == one.num_images == COUNT
    assert torch.equal(two.class_ids, one.class_ids)
    assert torch.equal(two.joint_count, one.joint_count)
    for name in ("joint_mean", "joint_std", "spatial_mean", "spatial_std", "class_std"):
        torch.testing.assert_close(getattr(two, name), getattr(one, name), atol=1e-6, rtol=1e-6)
    for lag in ((0, 0), (1, 0), (0, 2)):
        torch.testing.assert_close(two.grain.at(*lag), one.grain.at(*lag), atol=1e-3, rtol=0)

    whole = out.read_bytes()
    # A name with no room for the endings of checkpoints.
    ending = ".safetensors"
    out = tmp_path / ("r" * (os.pathconf(tmp_path, "PC_NAME_MAX") - len(ending)) + ending)
    ranked = command(out, "--checkpoint-every", "0", ranks=2)
    checkpoints = [path_beside(out, ending) for ending in (".checkpoint", ".rank1.checkpoint")]
    stopped_at(ranked, checkpoints[0], 3, signal.SIGKILL)
    for path in (out, *checkpoints):
        killed_while_writing(path)
    says = run(command(out), 2).stderr
    assert "number of ranks was 2 and is 1" in says
    run(ranked)
    assert out.read_bytes() == whole
    assert sorted(tmp_path.iterdir()) == sorted([out, tmp_path / "p.safetensors"])


def test_a_rank_that_fails_ends_the_job_with_its_error(command, tmp_path, scenes):
    root = tmp_path / "copy"
    shutil.copytree(scenes, root)
    # In the second rank's share.
    (root / "images" / f"scene_{BATCH:05}.png").write_bytes(b"no picture")
    ended = run(command(tmp_path / "p.safetensors", root=root, ranks=2), 1)
    assert f"image scene_{BATCH:05}.png cannot be read" in ended.stderr
    assert not (tmp_path / "p.safetensors").exists()


def test_no_rank_gives_up_its_share_before_the_prior_is_saved(command, tmp_path):
    out = tmp_path / "p.safetensors"
    # More than a file's header holds, which only saving finds.
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{i} {'é' * 900}\n" for i in range(1000)), encoding="utf-8")
    ended = run(command(out, "--class-names", str(names), "--limit", "16", ranks=2), 1)
    assert "its metadata take" in ended.stderr and not out.exists()
    for suffix in (".checkpoint", ".rank1.checkpoint"):
        assert path_beside(out, suffix).exists()
        assert path_beside(path_beside(out, suffix), ".grain").exists()


def test_skipped_files_are_summed_up(command, tmp_path, scenes):
    root = tmp_path / "copy"
    shutil.copytree(scenes, root)
    (root / "images" / "scene_00007.png").write_bytes(b"no picture")
    (root / "labels" / "scene_00009.png").unlink()
    out = tmp_path / "p.safetensors"
    ended = run(command(out, "--on-error", "skip", "--limit", "0", root=root))
    assert f"used {COUNT - 2} images" in ended.stdout
    assert "scene_00007: image scene_00007.png cannot be read" in ended.stderr
    assert "1 image has no label: scene_00009" in ended.stderr


def test_the_prior_is_that_of_the_graph(server, command, tmp_path, scenes, uninterrupted):
    """The node, in a real server, on the same files with the same VAE."""
    from dev.graph import Graph
    from dev.workspace import link_model

    shutil.copytree(scenes, server.base / "input" / "cli_scenes", dirs_exist_ok=True)
    graph = Graph()
    vae = graph.add("VAELoader", vae_name=link_model(server.base, "vae", weights.tiny_vae(4)))
    graph.add(
        "SCP_BuildPrior",
        vae=vae,
        images="cli_scenes/images",
        labels="cli_scenes/labels",
        palette="cityscapes",
        width=64,
        height=64,
        batch_size=BATCH,
        max_images=0,
        seed=0,
        latent_format="sd15",
        filename="cli_scenes",
        overwrite=True,
    )
    server.run(graph.prompt)
    ours = load_prior(server.base / "models" / "scp_priors" / "cli_scenes.safetensors")
    theirs = load_prior(uninterrupted)
    assert ours.metadata.vae.fits(theirs.metadata.vae)
    for name in ("joint_mean", "joint_std", "spatial_mean", "class_std"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--vae", "nothing.safetensors"), "there is no VAE file nothing.safetensors"),
        (("--device", "cuda:7"), "device cuda:7 is not there"),
        (("--latent-format", "auto"), "so it may be of sd15 or sdxl; set --latent-format"),
        (("--latent-format", "flux"), "the VAE has 4 latent channels, but --latent-format 'flux'"),
    ],
)
def test_wrong_options_end_in_one_line(command, tmp_path, more, says):
    ended = run(command(tmp_path / "p.safetensors", *more), 2)
    (line,) = [x for x in ended.stderr.splitlines() if "error" in x]
    assert says in line
    assert "Traceback" not in ended.stderr


def test_a_vae_of_other_channels_is_refused_before_an_image_is_read(command, tmp_path, scenes):
    root = tmp_path / "copy"
    shutil.copytree(scenes, root)
    for path in (root / "images").iterdir():
        path.write_bytes(b"no picture")
    vae = ("--vae", str(weights.tiny_vae(16)))
    says = run(command(tmp_path / "p.safetensors", *vae, root=root), 2).stderr
    assert "the VAE has 16 latent channels, but --latent-format 'sd15' has 4" in says
    says = run(command(tmp_path / "p.safetensors", *vae, "--latent-format", "sd3", root=root), 2)
    assert "cannot be read" in says.stderr


def test_class_names_come_from_a_file(command, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("0 Fahrbahn\n10: Himmel\n", encoding="utf-8")
    out = tmp_path / "p.safetensors"
    run(command(out, "--limit", "8", "--class-names", str(names)))
    prior = load_prior(out)
    assert prior.metadata.class_names == {0: "Fahrbahn", 10: "Himmel"}
    # As PowerShell writes a file by default.
    names.write_text("0: Fahrbahn", encoding="utf-16")
    ended = run(command(tmp_path / "q.safetensors", "--class-names", str(names)), code=2)
    assert "names.txt is not text in UTF-8" in ended.stderr
    assert prior.num_images == 8


def test_a_prior_is_scored_on_other_images_and_gets_the_grain_that_its_build_would_give(
    command, tmp_path, uninterrupted
):
    of_images = command(tmp_path / "p.safetensors")
    ours = of_images[of_images.index("--dataset") : of_images.index("--size")]
    prior = load_prior(uninterrupted)
    without = save_prior(replace(prior, grain=None), tmp_path / "without.safetensors")
    start = [sys.executable, "-m", "prior_tools"]
    run([*start, "grain", str(without), *ours, "--workers", "0"])
    again = load_prior(without).grain
    for lag in ((0, 0), (1, 0), (0, 2)):
        torch.testing.assert_close(again.at(*lag), prior.grain.at(*lag), atol=1e-3, rtol=0)
    said = run([*start, "score", str(without), *ours, "--limit", "12", "--workers", "0"]).stdout
    assert "12 images" in said and "predicts these images best" in said
    assert "this prior fits these images" in said
    said = run([*of_images, "--holdout", "0.1"]).stdout
    assert f"used {COUNT - 12} images" in said and "12 images held out: best predicted by" in said
