"""Build SCP Prior in a real server: right figures, clear refusals, nothing lost."""

import os
import re
import shutil
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from demo.scenes import write_dataset
from dev import weights
from dev.comfyui import REPOSITORY
from dev.dataset_trees import write_cityscapes
from dev.graph import Graph
from dev.server import ComfyServer, ExecutionFailed, Interrupted, PromptRejected
from dev.workspace import make_workspace
from prior_tools import (
    PALETTES,
    Prior,
    PriorAccumulator,
    draw_prior_sample,
    find_dataset,
    load_prior,
    resize_labels,
    save_prior,
)
from prior_tools.datasets.dataset import PairDataset, as_floats
from prior_tools.datasets.pairs import find_pairs

pytestmark = pytest.mark.slow

NO_LABELS = "none (images alone)"


@pytest.fixture
def build(server, add_build):
    """`build(folder, **inputs)`: run the node on a folder of the input folder."""

    def run(folder: str, timeout: float = 300, **inputs):
        graph = Graph()
        model = weights.add_model(graph, server.base, "eps")
        node = add_build(graph, model.vae, folder, **inputs)
        return server.run(graph.prompt, timeout), node

    return run


@pytest.fixture
def alone(server):
    """The name of a folder of six images without label maps, in the input folder."""
    folder = server.base / "input" / "alone"
    write_dataset(folder, 6, 128, 64, seed=40)
    shutil.rmtree(folder / "labels")
    yield "alone/images"
    shutil.rmtree(folder)


@pytest.fixture
def dataset(server, request):
    """A fresh copy of four scenes in the input folder; its name."""
    name = f"set_{abs(hash(request.node.name)) % 10**8}"
    folder = server.base / "input" / name
    write_dataset(folder, 4, 128, 64, seed=9)
    yield name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(server.base / "output" / name, ignore_errors=True)


def box_mean_latents(images: torch.Tensor) -> torch.Tensor:
    """What the tiny VAE gives, in closed form: 8x8 means of R, G, B and grey."""
    means = torch.nn.functional.avg_pool2d(images.movedim(-1, 1), 8)
    four = torch.cat([means, means.mean(1, keepdim=True)], 1)
    return 4 * (four - 0.5) / 0.18215


def by_hand(folder, size, palette, limit=None) -> Prior:
    pairs, _ = find_pairs(folder / "images", folder / "labels")
    items = PairDataset(pairs[:limit], size, PALETTES[palette])
    grid = (size[1] // 8, size[0] // 8)
    state = PriorAccumulator(4, grid, PALETTES[palette].ignore_ids)
    for i in range(len(items)):
        item = items[i]
        labels = resize_labels(item.labels[None], grid)
        state.update(box_mean_latents(as_floats(item.image)[None]), labels)
    return state.finalize()


def assert_close(got: Prior, want: Prior) -> None:
    assert torch.equal(got.class_ids, want.class_ids)
    assert torch.equal(got.joint_count, want.joint_count)
    for name in ("joint_mean", "joint_std", "spatial_mean", "spatial_std", "class_mean"):
        # The VAE's weights are float16, so its latents (up to 11) are right to some 1e-3.
        torch.testing.assert_close(getattr(got, name), getattr(want, name), atol=6e-3, rtol=0)


def test_generated_scenes_have_the_moments_of_the_vaes_latents(server, street):
    prior = load_prior(server.base / "models" / "scp_priors" / street.prior)
    folder = server.base / "input" / street.folder
    assert_close(prior, by_hand(folder, (128, 64), "cityscapes"))
    metadata = prior.metadata
    assert (metadata.latent_format, metadata.downscale_factor) == ("sd15", 8)
    assert metadata.source_size == (128, 64) and metadata.grid == (8, 16)
    assert metadata.palette == PALETTES["cityscapes"]
    assert metadata.class_names[10] == "sky" and metadata.ignore_ids == (255,)
    assert metadata.vae.scales and prior.num_images == 12


def test_a_dataset_is_built_by_its_folder_alone(server, build):
    """Of its several label files the ids are read, and its labelIds become trainIds."""
    root = write_cityscapes(server.base / "input" / "city", "val", kinds=("labelIds", "color"))
    inputs = {"images": "city", "labels": "", "split": "val", "palette": "cityscapes"}
    build("city", **inputs, width=120, height=64, filename="city", overwrite=True)
    prior = load_prior(server.base / "models" / "scp_priors" / "city.safetensors")
    layout = find_dataset("cityscapes", root, "val")
    items = layout.dataset((120, 64))
    state = PriorAccumulator(4, (8, 15), layout.ignore_ids)
    for i in range(len(items)):
        labels = resize_labels(items[i].labels[None], (8, 15))
        state.update(box_mean_latents(as_floats(items[i].image)[None]), labels)
    assert_close(prior, state.finalize())
    assert prior.num_images == 4 and prior.metadata.dataset_name == "city val"


def test_100_real_images_have_the_moments_of_the_vaes_latents(server, build, shared_dir):
    folder = server.base / "input" / "camvid"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for path in sorted((shared_dir / "camvid" / kind / "train").iterdir())[:100]:
            shutil.copy(path, folder / kind)
    history, node = build(
        "camvid", palette="camvid", width=240, height=176, filename="camvid", overwrite=True
    )
    prior = load_prior(server.base / "models" / "scp_priors" / "camvid.safetensors")
    assert prior.num_images == 100
    assert_close(prior, by_hand(folder, (240, 176), "camvid"))
    # A picture of what was built is shown on the node.
    (preview,) = server.images(history)[node.id]
    assert preview.shape[1] == 960 and preview.std() > 10


def test_the_real_stable_diffusion_vae_gives_the_same_prior_as_its_latents(server, tmp_path):
    """Latents of VAE Encode, the stock node, against the node's prior, in SD1.5's own VAE."""
    folder = server.base / "input" / "sdvae"
    write_dataset(folder, 2, 64, 64, seed=1)
    graph = Graph()
    model = weights.add_model(graph, server.base, "sd15")
    graph.add(
        "SCP_BuildPrior",
        vae=model.vae,
        images="sdvae/images",
        labels="sdvae/labels",
        palette="cityscapes",
        width=64,
        height=64,
        batch_size=1,
        max_images=0,
        seed=0,
        latent_format="sd15",
        filename="sdvae",
        overwrite=True,
    )
    for i in range(2):
        name = server.upload_image(folder / "images" / f"scene_0000{i}.png", f"sdvae{i}.png")
        image = graph.add("LoadImage", image=name)
        encoded = graph.add("VAEEncode", pixels=image, vae=model.vae)
        graph.add("SaveLatent", samples=encoded, filename_prefix=f"sdvae{i}")
    server.run(graph.prompt, 600)
    latents = torch.cat(
        [
            load_file(next((server.base / "output").glob(f"sdvae{i}_*.latent")))["latent_tensor"]
            for i in range(2)
        ]
    )
    prior = load_prior(server.base / "models" / "scp_priors" / "sdvae.safetensors")
    torch.testing.assert_close(prior.spatial_mean, latents.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        prior.spatial_std, latents.std(0, correction=0), atol=1e-4, rtol=1e-4
    )


def test_images_alone_are_built_drawn_and_sampled(server, add_build, latents, alone):
    """Any picture is their label image: no palette's, and of a size of its own."""
    picture = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    graph = Graph()
    model = weights.add_model(graph, server.base, "eps")
    inputs = {"images": alone, "labels": "", "palette": NO_LABELS, "filename": "alone"}
    built = add_build(graph, model.vae, "", **inputs)
    noise = {
        "prior": built,
        "label_image": graph.add("LoadImage", image=server.upload_image(picture, "any.png")),
        "mode": "spatial",
        "noise": "grain",
        "deviation": 0.0,
        "seed": 5,
        "batch_size": 2,
    }
    drawn = graph.add("SCP_JointPriorNoise", **noise)
    text = graph.add("CLIPTextEncode", clip=model.clip, text="a street")
    sampled = graph.add(
        "SCP_PartialDenoiseKSampler",
        model=model.model,
        positive=text,
        negative=text,
        latent_image=drawn,
        seed=7,
        steps=3,
        cfg=1.0,
        sampler_name="euler",
        scheduler="sgm_uniform",
        mu=0.8,
    )
    graph.add("SCP_PreviewPrior", prior=built, vae=model.vae)
    start, result = latents(graph, drawn, sampled)

    prior = load_prior(server.base / "models" / "scp_priors" / "alone.safetensors")
    files = sorted((server.base / "input" / alone).iterdir())
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    encoded = box_mean_latents(torch.from_numpy(pixels).float() / 255)
    assert not prior.labelled and prior.num_images == 6
    torch.testing.assert_close(prior.spatial_mean, encoded.mean(0), atol=6e-3, rtol=0)
    torch.testing.assert_close(prior.spatial_std, encoded.std(0, False), atol=6e-3, rtol=0)
    nowhere = torch.full((2, 12, 20), -1)
    assert torch.equal(start, draw_prior_sample(prior, nowhere, "spatial", deviation=0.0))
    assert result.shape == start.shape and result.isfinite().all() and result.std() > 0

    graph.add("PreviewAny", source=graph.add("SCP_JointPriorNoise", **{**noise, "mode": "joint"}))
    with pytest.raises(ExecutionFailed, match="mode joint needs classes, and the prior was built"):
        server.run(graph.prompt)


def test_a_saved_prior_is_listed_at_once(server, build, dataset):
    build(dataset, filename="sub/listed", overwrite=True)
    node = server.object_info()["SCP_LoadPrior"]
    options = node["input"]["required"]["prior_name"][1]["options"]
    assert "sub/listed.safetensors" in [o.replace(os.sep, "/") for o in options]


def test_a_subset_is_as_large_as_asked_for(server, build, dataset):
    build(dataset, max_images=3, filename="three", overwrite=True)
    prior = load_prior(server.base / "models" / "scp_priors" / "three.safetensors")
    assert prior.num_images == 3


def test_a_changed_file_is_noticed_and_an_unchanged_set_is_not_built_again(server, build, dataset):
    path = server.base / "models" / "scp_priors" / "changes.safetensors"
    build(dataset, filename="changes", overwrite=True)
    first = path.stat().st_mtime_ns
    build(dataset, filename="changes", overwrite=True)
    assert path.stat().st_mtime_ns == first
    image = server.base / "input" / dataset / "images" / "scene_00000.png"
    Image.new("RGB", (128, 64), (255, 0, 0)).save(image)
    build(dataset, filename="changes", overwrite=True)
    assert path.stat().st_mtime_ns > first


def spoil(server, dataset, kind):
    """Damage the set in one way; returns (inputs of the node, what must be said)."""
    folder = server.base / "input" / dataset
    images, labels = folder / "images", folder / "labels"
    if kind == "missing folder":
        return {"images": f"{dataset}/pictures"}, f"'{dataset}/pictures' does not exist"
    if kind == "no folder":
        told = "no folder of labels is named, and .*images holds scene_00000.*: no dataset that is"
        return {"labels": " "}, told
    if kind == "other classes":
        write_cityscapes(folder)
        inputs = {"images": dataset, "labels": "", "palette": "camvid"}
        return inputs, rf"{dataset} holds cityscapes, .* not of 'camvid'; choose a palette"
    if kind == "no split":
        write_cityscapes(folder)
        inputs = {"images": dataset, "labels": "", "split": "night"}
        return inputs, f"Cityscapes has no split 'night'; expected train or val; in {dataset} there"
    if kind == "dataset outside":
        write_cityscapes(server.base / "city_outside")
        write_cityscapes(folder)
        shutil.rmtree(folder / "gtFine")
        (folder / "gtFine").symlink_to(server.base / "city_outside/gtFine")
        return {"images": dataset, "labels": ""}, "gtFine/train is a link to a folder outside"
    if kind == "empty folder":
        (folder / "nothing").mkdir()
        return {"images": f"{dataset}/nothing"}, "holds no pictures"
    if kind == "no label":
        (labels / "scene_00002.png").unlink()
        return {}, "1 image has no label: scene_00002"
    if kind == "no image":
        (images / "scene_00001.png").unlink()
        return {}, "1 label has no image: scene_00001"
    if kind == "corrupt":
        (images / "scene_00001.png").write_bytes(b"\x89PNG garbage")
        return {}, r"image scene_00001\.png cannot be read"
    if kind == "truncated":
        data = (labels / "scene_00003.png").read_bytes()
        (labels / "scene_00003.png").write_bytes(data[: len(data) // 2])
        return {}, r"label map scene_00003\.png cannot be read"
    if kind == "foreign ids":
        Image.fromarray(np.full((64, 128), 77, np.uint8)).save(labels / "scene_00000.png")
        return {}, r"scene_00000\.png holds class ids 77.*palette 'cityscapes'"
    if kind == "foreign palette":
        return {"palette": "ade20k"}, r"is in no color.*: palette cityscapes has 100%"
    if kind == "ignore ids":
        return {"ignore_ids": "road"}, "ignore_ids is 'road'; expected class ids"
    if kind == "labels of images alone":
        return {"palette": NO_LABELS}, f"labels is '{dataset}/labels', but palette is none"
    if kind == "ignored ids of images alone":
        alone = {"palette": NO_LABELS, "labels": "", "ignore_ids": "255"}
        return alone, "ignore_ids is '255', but palette is none"
    if kind == "odd size":
        return {"width": 132}, "132x64 pixels are not whole latent cells"
    if kind == "wrong format":
        return {"latent_format": "flux"}, "the VAE has 4 latent channels, but latent_format 'flux'"
    if kind == "outside":
        return {"images": "../models"}, "'../models' lies outside the folders that may be read"
    if kind == "absolute":
        return {"images": "/etc"}, "'/etc' lies outside"
    if kind == "name with a NUL":
        return {"images": "a\0b"}, r"'a\\x00b' does not exist; looked in ComfyUI's input folder"
    if kind == "name that is too long":
        return {"labels": "a" * 5000}, "a' does not exist; looked in ComfyUI's input folder"
    if kind == "name that is too long, marked":
        return {"labels": "a" * 5000 + " [output]"}, "does not exist; looked in ComfyUI's output"
    if kind == "outside of the output folder":
        return {"images": "../models [output]"}, r"'../models \[output\]' lies outside"
    if kind == "absolute, marked":
        return {"images": "/etc [output]"}, r"'/etc \[output\]' lies outside"
    if kind == "in the output folder, not marked":
        shutil.copytree(images, server.base / "output" / dataset / "images")
        shutil.rmtree(images)
        return {}, f"'{dataset}/images' does not exist; looked in ComfyUI's input folder"
    if kind == "in the input folder, marked":
        says = rf"'{dataset}/images \[output\]' does not exist; looked in ComfyUI's output folder"
        return {"images": f"{dataset}/images [output]"}, says
    if kind == "mark alone":
        return {"labels": "[output]"}, "no label folder is given"
    if kind == "link from the input folder to the output folder":
        made = server.base / "output" / dataset / "labels"
        shutil.copytree(labels, made)
        shutil.rmtree(labels)
        labels.symlink_to(made)
        return {}, f"'{dataset}/labels' lies outside"
    if kind == "link to a file of the output folder":
        # That the other folder is marked does not open the output folder to this one.
        made = server.base / "output" / dataset / "images"
        shutil.copytree(images, made)
        (labels / "scene_00000.png").unlink()
        (labels / "scene_00000.png").symlink_to(made / "scene_00000.png")
        says = r"scene_00000\.png is a link to a file outside"
        return {"images": f"{dataset}/images [output]"}, says
    if kind == "link out of the output folder":
        secret = server.base / "secret.png"
        Image.new("RGB", (128, 64)).save(secret)
        made = server.base / "output" / dataset / "images"
        shutil.copytree(images, made)
        (made / "scene_00000.png").unlink()
        (made / "scene_00000.png").symlink_to(secret)
        says = r"scene_00000\.png is a link to a file outside"
        return {"images": f"{dataset}/images [output]"}, says
    if kind == "link to a folder":
        (folder / "link").symlink_to("/usr", target_is_directory=True)
        return {"images": f"{dataset}/link"}, "lies outside"
    if kind == "link to a file":
        secret = server.base / "secret.png"
        Image.new("RGB", (128, 64)).save(secret)
        (images / "scene_00000.png").unlink()
        (images / "scene_00000.png").symlink_to(secret)
        return {}, r"scene_00000\.png is a link to a file outside"
    if kind == "link to a folder inside":
        outside = server.base / "outside"
        write_dataset(outside, 1, 128, 64)
        for side in (images, labels):
            (side / "deep").mkdir()
            (side / "deep" / "more").unlink(missing_ok=True)
            (side / "deep" / "more").symlink_to(outside / side.name)
        return {}, "deep/more is a link to a folder outside"
    if kind == "broken link":
        (labels / "more").symlink_to(folder / "nothing")
        return {}, "link 'more' cannot be followed: No such file"
    if kind == "float image":
        (images / "scene_00000.png").unlink()
        Image.fromarray(np.ones((64, 128), np.float32)).save(images / "scene_00000.tif")
        return {}, r"image scene_00000\.tif holds floats, of which nothing tells which is white"
    raise ValueError(kind)


SPOILT = [
    "missing folder",
    "no folder",
    "other classes",
    "no split",
    "dataset outside",
    "empty folder",
    "no label",
    "no image",
    "corrupt",
    "truncated",
    "foreign ids",
    "foreign palette",
    "ignore ids",
    "labels of images alone",
    "ignored ids of images alone",
    "odd size",
    "wrong format",
    "outside",
    "absolute",
    "name with a NUL",
    "name that is too long",
    "name that is too long, marked",
    "outside of the output folder",
    "absolute, marked",
    "in the output folder, not marked",
    "in the input folder, marked",
    "mark alone",
    "link from the input folder to the output folder",
    "link to a file of the output folder",
    "link out of the output folder",
    "link to a folder",
    "link to a file",
    "link to a folder inside",
    "broken link",
    "float image",
]


@pytest.mark.parametrize("kind", SPOILT)
def test_bad_input_is_told_on_the_node_and_nothing_is_saved(server, build, dataset, kind):
    inputs, says = spoil(server, dataset, kind)
    with pytest.raises(ExecutionFailed, match=says) as caught:
        build(dataset, filename="spoilt", **inputs)
    assert caught.value.node_type == "SCP_BuildPrior"
    # Not the module it is of, which is a path on the server.
    assert caught.value.exception_type == "PriorError"
    assert not list((server.base / "models" / "scp_priors").glob("*spoilt*"))
    assert str(server.base) not in caught.value.exception_message


@pytest.mark.parametrize(
    "kind", ["no label", "no image", "corrupt", "truncated", "foreign ids", "float image"]
)
def test_with_skip_the_rest_is_built_and_the_file_named(server, build, dataset, kind):
    inputs, says = spoil(server, dataset, kind)
    logged = len(server.log_text())
    build(dataset, filename="skipping", on_error="skip", overwrite=True, **inputs)
    prior = load_prior(server.base / "models" / "scp_priors" / "skipping.safetensors")
    assert prior.num_images == 3
    assert re.search(f"left out:.*{says}", server.log_text()[logged:])


@pytest.mark.parametrize(
    "filename",
    ["../escape", "/tmp/escape", "a/../../escape", "", "..", "con", "a:b", ".hidden", "x" * 260],
)
def test_a_filename_cannot_leave_the_folder_of_priors(server, build, dataset, filename):
    before = set(server.base.parent.rglob("*escape*"))
    with pytest.raises(ExecutionFailed, match="cannot be used; expected a plain name"):
        build(dataset, filename=filename)
    assert set(server.base.parent.rglob("*escape*")) == before


def test_an_existing_prior_stays_unless_overwrite_is_on(server, build, dataset):
    build(dataset, filename="kept", overwrite=True)
    path = server.base / "models" / "scp_priors" / "kept.safetensors"
    before = path.read_bytes()
    with pytest.raises(ExecutionFailed, match=r"'kept\.safetensors' exists already"):
        build(dataset, filename="kept", max_images=2)
    assert path.read_bytes() == before
    build(dataset, filename="kept", max_images=2, overwrite=True)
    assert load_prior(path).num_images == 2


def test_links_inside_of_the_allowed_folders_are_followed(server, build, dataset):
    """And a picture whose EXIF data are damaged is a picture."""
    folder = server.base / "input" / dataset
    for kind in ("images", "labels"):
        (folder / f"more_{kind}").mkdir()
        for i in (1, 2):
            path = folder / kind / f"scene_0000{i}.png"
            with Image.open(path) as picture:
                picture.load()
                target = folder / f"more_{kind}" / path.name
                picture.save(target, exif=b"Exif\0\0XX\0*\0\0\0\x08\0\0")
            path.unlink()
        (folder / kind / "more").symlink_to(folder / f"more_{kind}")
    build(dataset, filename="linked", overwrite=True)
    prior = load_prior(server.base / "models" / "scp_priors" / "linked.safetensors")
    assert prior.num_images == 4


def test_folders_of_the_output_folder_are_read_where_they_are_marked(server, build, dataset):
    """One or both, with links among themselves and to the folders of datasets."""
    given, made = (server.base / kind / dataset for kind in ("input", "output"))
    path = server.base / "models" / "scp_priors" / "of_output.safetensors"
    build(dataset, filename="of_output", overwrite=True)
    wanted = load_prior(path)
    shutil.copytree(given / "images", made / "images")
    shutil.rmtree(given / "images")
    (made / "images" / "scene_00001.png").rename(made / "aside.png")
    (made / "images" / "scene_00001.png").symlink_to(made / "aside.png")
    images = f"{dataset}/images [output]"
    build(dataset, filename="of_output", overwrite=True, images=images)
    assert_close(load_prior(path), wanted)
    (made / "labels").symlink_to(given / "labels")
    labels = f"{dataset}/labels [output]"
    build(dataset, filename="of_output", overwrite=True, images=images, labels=labels)
    assert_close(load_prior(path), wanted)


def test_a_folder_is_found_by_its_name_in_either_form_of_its_letters(server, build, dataset):
    (server.base / "input" / dataset).rename(server.base / "input" / f"{dataset}Zu\u0308")
    try:
        build(f"{dataset}Z\u00fc", filename="forms", overwrite=True)
    finally:
        shutil.rmtree(server.base / "input" / f"{dataset}Zu\u0308")
    assert (server.base / "models" / "scp_priors" / "forms.safetensors").exists()


def test_a_prior_whose_preview_fails_is_saved_and_handed_on(server, build, dataset):
    """With no folder for previews; once by each of the nodes that save and preview."""
    logged = len(server.log_text())
    temp, aside = server.base / "temp", server.base / "temp_aside"
    if temp.exists():
        temp.rename(aside)
    temp.write_text("no folder")
    try:
        history, node = build(dataset, filename="unseen", overwrite=True)
        published = REPOSITORY / "tests" / "unit" / "published_tiny"
        (joint,) = published.glob("*_spatial_class_mean_std.npy")
        shutil.copy(joint, server.base / "input")
        graph = Graph()
        graph.add(
            "SCP_ImportPrior",
            joint=joint.name,
            palette="none",
            filename="unseen_import",
            overwrite=True,
        )
        server.run(graph.prompt)
    finally:
        temp.unlink()
        if aside.exists():
            aside.rename(temp)
    assert not server.images(history).get(node.id)
    for name in ("unseen", "unseen_import"):
        load_prior(server.base / "models" / "scp_priors" / f"{name}.safetensors")
        said = f"SCP-Diff: {name}.safetensors is saved, but there is no preview of it: "
        assert said in server.log_text()[logged:]


def test_cancelling_while_a_preview_is_made_cancels(run_in_host):
    """And no other error does more than warn."""
    said = run_in_host(
        """
import pathlib, types, comfy.model_management
preview = pack_module("nodes.saving").preview_of_saved
node = types.SimpleNamespace(hidden=types.SimpleNamespace(unique_id=None))
result = []
for error in (MemoryError(), OSError(28, "No space left on device"),
        comfy.model_management.InterruptProcessingException()):
    def picture():
        raise error
    try:
        result.append(preview(node, pathlib.Path("a.safetensors"), picture))
    except BaseException as raised:
        result.append(type(raised).__name__)
"""
    )
    assert said == [None, None, "InterruptProcessingException"]


def test_cancel_in_mid_build_saves_nothing_and_the_next_build_works(server, build, add_build):
    folder = server.base / "input" / "long"
    write_dataset(folder, 2, 64, 64, seed=0)
    for i in range(2, 400):
        for kind in ("images", "labels"):
            shutil.copy(
                folder / kind / f"scene_0000{i % 2}.png", folder / kind / f"scene_{i:05}.png"
            )
    graph = Graph()
    model = weights.add_model(graph, server.base, "eps")
    add_build(graph, model.vae, "long", width=512, height=512, batch_size=1, filename="cancelled")
    prompt_id = server.queue(graph.prompt)
    # Wait until the node is at work, as seen in its progress: the VAE is loaded for it.
    deadline = time.monotonic() + 60
    while "Requested to load TAESD" not in server.log_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1.0)
    server.cancel(prompt_id)
    with pytest.raises(Interrupted):
        server.wait(prompt_id, 60)
    assert not list((server.base / "models" / "scp_priors").glob("*cancelled*"))
    build("long", max_images=3, filename="after_cancel", overwrite=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("palette", "ade"), ("on_error", "ignore"), ("resize", "fit"), ("latent_format", "sd9")],
)
def test_unknown_choices_are_refused_when_queued(server, add_build, name, value):
    graph = Graph()
    model = weights.add_model(graph, server.base, "eps")
    add_build(graph, model.vae, "street", **{name: value})
    with pytest.raises(PromptRejected, match=f"{name} is '{value}'; expected one of"):
        server.queue(graph.prompt)


@pytest.mark.parametrize("kind", ["scp_datasets", "datasets"])
def test_folders_registered_for_datasets_may_be_read(comfy_dir, tmp_path, kind):
    """A server of its own, with an extra_model_paths file as users write it.

    Newer hosts have a folder of the second kind by themselves.
    """
    write_dataset(tmp_path / "datasets" / "mine", 2, 64, 64)
    write_dataset(tmp_path / "elsewhere", 2, 64, 64)
    config = tmp_path / "extra.yaml"
    config.write_text(f"mine:\n  base_path: {tmp_path}\n  {kind}: datasets\n")
    base = make_workspace(tmp_path / "base", REPOSITORY)
    with ComfyServer(comfy_dir, base, ("--extra-model-paths-config", str(config))) as own:
        for folder, works in (("mine", True), ("../elsewhere", False)):
            graph = Graph()
            model = weights.add_model(graph, base, "eps")
            graph.add(
                "SCP_BuildPrior",
                vae=model.vae,
                images=f"{folder}/images",
                labels=f"{folder}/labels",
                palette="cityscapes",
                width=64,
                height=64,
                batch_size=2,
                max_images=0,
                seed=0,
                latent_format="sd15",
                filename="registered",
                overwrite=True,
            )
            if works:
                own.run(graph.prompt)
            else:
                with pytest.raises(ExecutionFailed, match="lies outside"):
                    own.run(graph.prompt)
    assert (base / "models" / "scp_priors" / "registered.safetensors").exists()


def test_two_builds_to_one_name_lose_nothing(tmp_path):
    """Two writers that found the name free: one saves, the other is told, neither overwrites."""
    priors = []
    for seed in (1, 2):
        state = PriorAccumulator(4, (8, 8))
        torch.manual_seed(seed)
        state.update(torch.randn(1, 4, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64))
        priors.append(state.finalize())
    outcomes, barrier = [], threading.Barrier(2)

    def save(prior):
        barrier.wait()
        try:
            save_prior(prior, tmp_path / "same.safetensors", overwrite=False)
            outcomes.append(prior)
        except FileExistsError:
            outcomes.append(None)

    threads = [threading.Thread(target=save, args=(p,)) for p in priors]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    (winner,) = [p for p in outcomes if p is not None]
    saved = load_prior(tmp_path / "same.safetensors")
    assert torch.equal(saved.spatial_mean, winner.spatial_mean)
