"""Laws of `generate` that need no server: what is set, what is made, and what is made again."""

import ast
import copy
import io
import json
import os
import shutil
import socket
import ssl
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import numpy as np
import pytest
import torch
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from dev.gate import Gate, passing_on
from prior_tools.cli import main
from prior_tools.datasets.label_files import read_label_file
from prior_tools.datasets.label_folders import label_maps_in
from prior_tools.errors import PriorError
from prior_tools.generating import manifest as records
from prior_tools.generating.animated_png import animated_png
from prior_tools.generating.balance import Balance, balanced_counts, wanted_shares
from prior_tools.generating.comfy_client import AccessDenied, ComfyClient, ServerRefused
from prior_tools.generating.jobs import MAX_SEED, Job, image_seed, plan
from prior_tools.generating.label_maps import (
    LabelMap,
    find_label_maps,
    upload_data,
    upload_name,
    with_mirrored,
)
from prior_tools.generating.manifest import Manifest
from prior_tools.generating.named_servers import NamedServers
from prior_tools.generating.node_warnings import NodeWarning, warnings_of
from prior_tools.generating.prepared_workflow import prepare_workflow
from prior_tools.generating.server_access import (
    AUTH_VARIABLE,
    distinct_servers,
    is_overheard,
    read_authorizations,
    server_url,
    trusting,
)
from prior_tools.generating.titled_inputs import find_input, split_setting, typed_value
from prior_tools.generating.uploads import Uploads
from prior_tools.generating.work import MOST_LOSSES, GenerationStopped, Work
from prior_tools.generating.workflow_file import as_prompt, read_workflow
from prior_tools.labels.colors import decode_label_image
from prior_tools.labels.palette_colors import bit_color
from prior_tools.labels.palettes import PALETTES
from prior_tools.labels.reading import LabelRules
from prior_tools.name_lengths import check_names


def node(class_type, title, **inputs):
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


PROMPT = {
    "1": node("LoadImage", "Label map", image="old.png"),
    "2": node("PrimitiveInt", "Seed", value=5),
    "3": node("CLIPTextEncode", "Prompt", text="a street"),
    "4": node("KSampler", "Sampler v1.5", seed=["2", 0], steps=20, cfg=8, scheduler="simple"),
    "5": node("SaveImage", "Save", images=["4", 0], filename_prefix="x"),
    "6": node("VAEDecode", "VAE Decode", samples=["4", 0]),
    "7": node("VAEDecode", "VAE Decode", samples=["4", 0]),
}
OBJECT_INFO = {"KSampler": {"input": {"required": {"steps": ["INT", {}], "cfg": ["FLOAT", {}]}}}}


def prepared(*settings, prompt=PROMPT, label="Label map", seed="Seed", output=None):
    return prepare_workflow(prompt, label, seed, output, settings, OBJECT_INFO)


# --- nodes by title ---


def test_settings_keep_types_and_leave_everything_else_alone():
    before = copy.deepcopy(PROMPT)
    made = prepared("Sampler v1.5.steps=4", "Sampler v1.5.cfg=7.5", "Prompt.text=42")
    expected = copy.deepcopy(PROMPT)
    expected["4"]["inputs"].update(steps=4, cfg=7.5)
    expected["3"]["inputs"]["text"] = "42"
    assert made.prompt == expected
    assert type(made.prompt["4"]["inputs"]["cfg"]) is float
    assert made.settings == {"Sampler v1.5.steps": 4, "Sampler v1.5.cfg": 7.5, "Prompt.text": "42"}
    filled = made.filled("folder/a.png", 77)
    expected["1"]["inputs"]["image"], expected["2"]["inputs"]["value"] = "folder/a.png", 77
    assert filled == expected
    assert before == PROMPT


def test_a_job_s_prompt_copies_only_the_nodes_that_it_sets():
    made = prepared()
    filled = made.filled("folder/a.png", 77)
    assert [i for i in PROMPT if filled[i] is not made.prompt[i]] == ["1", "2"]
    assert made.blank()["1"]["inputs"]["image"] is None
    assert made.prompt["1"]["inputs"]["image"] == "old.png"


def test_nodes_that_may_warn_of_the_label_map_run_for_every_prompt():
    prompt = {
        **PROMPT,
        "10": node("SCP_LoadPrior", "Prior", prior_name="a"),
        "11": node("ImageInvert", "Invert", image=["1", 0]),
        "12": node("SCP_JointPriorNoise", "Draw", prior=["10", 0], label_image=["11", 0]),
        "13": node("SCP_PartialDenoiseKSampler", "Sample", latent_image=["12", 0]),
        "14": node("SCP_DemoLabelMap", "Other map"),
    }
    made = prepared(prompt=prompt)
    assert made.warning_nodes == ("12", "13")
    assert made.blank()["12"] == prompt["12"]
    first, second = made.filled("a.png", 1), made.filled("a.png", 1)
    assert [i for i in prompt if first[i] != second[i]] == ["12", "13"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Sampler.steps=4", "no node is titled 'Sampler'; there are 'Label map', 'Prompt'"),
        ("Sampler v1.5.step=4", "has no input 'step'; it has steps, cfg, scheduler"),
        ("VAE Decode.samples=4", "2 nodes are titled 'VAE Decode' (ids 6, 7)"),
        ("Sampler v1.5.seed=4", "input 'Sampler v1.5.seed' comes from node 'Seed'"),
        ("Sampler v1.5.steps=many", "'many' is no number"),
        ("Sampler v1.5.steps=2.5", "'2.5' is no whole number"),
        ("Sampler v1.5.cfg=NaN", "'NaN' is no number"),
        ("Sampler v1.5.cfg=1e999", "'1e999' is no number"),
        ("Prompt", "is no setting; expected 'node title.input=value'"),
        ("Seed.value=3", "the run itself sets 'Seed.value'"),
    ],
)
def test_a_wrong_setting_says_what_there_is(text, says):
    with pytest.raises(PriorError) as error:
        prepared(text)
    assert says in str(error.value)
    assert text in str(error.value)


def test_a_setting_made_twice_is_refused():
    with pytest.raises(PriorError, match=r"gives 'Prompt.text' twice"):
        prepared("Prompt.text=a", "Prompt.text=b")


def test_titles_that_nobody_names_may_be_equal_but_those_named_may_not():
    prepared()
    with pytest.raises(PriorError, match=r"2 nodes are titled 'Seed' \(ids 2, 8\)"):
        prepared(prompt={**PROMPT, "8": node("PrimitiveInt", "Seed", value=1)})


def test_label_and_seed_inputs_may_be_named():
    prompt = {
        **PROMPT,
        "8": node("RandomNoise", "Noise", noise_seed=1),
        "9": node("Own", "Maps.in", a=2, file="f"),
    }
    made = prepared(prompt=prompt, label="Maps.in.file", seed="Noise")
    assert made.names()["label input"] == "Maps.in.file"
    assert made.names()["seed input"] == "Noise.noise_seed"
    with pytest.raises(PriorError, match="has no input image; it has a, file"):
        prepared(prompt=prompt, label="Maps.in")
    with pytest.raises(PriorError, match="no node is titled 'Labels'"):
        prepared(label="Labels")
    with pytest.raises(PriorError, match=r"'Maps.in.a' holds 2; expected the name of a file"):
        prepared(prompt=prompt, label="Maps.in.a")


def test_the_output_is_the_only_saving_node_or_the_named_one():
    two = {**PROMPT, "8": node("PreviewImage", "Look", images=["4", 0])}
    assert prepared().output == "5"
    assert prepared(prompt=two, output="Look").output == "8"
    with pytest.raises(PriorError, match="2 nodes save or preview images: 'Save', 'Look'"):
        prepared(prompt=two)
    with pytest.raises(PriorError, match="has no Save Image"):
        prepared(prompt={k: v for k, v in PROMPT.items() if k != "5"})


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text == text.strip()
)


@given(WORDS, WORDS, st.text())
def test_whatever_the_title_and_the_input_are_called_the_value_is_all_that_follows(t, i, value):
    prompt = {"1": node("Any", t, **{i: "old"}), "2": node("Any", "another one")}
    place, found = split_setting(prompt, f"{t}.{i}={value}")
    assert (place.node_id, place.title, place.name, found) == ("1", t, i, value)


@given(st.text())
def test_text_stays_text(text):
    value = typed_value(text, "old")
    assert isinstance(value, str)
    assert value == text or json.loads(text) == value


@given(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back_exactly_in_the_type_of_the_input(whole, real):
    for existing, declared in ((3, None), (3, "INT"), (3.0, "INT")):
        value = typed_value(json.dumps(whole), existing, declared)
        assert type(value) is int
        assert value == whole
    for existing, declared in ((3.0, None), (3, "FLOAT"), (3.0, "FLOAT")):
        value = typed_value(json.dumps(real), existing, declared)
        assert type(value) is float
        assert value == real


def test_other_types():
    assert typed_value("false", True) is False
    assert typed_value("[1, 2]", []) == [1, 2]
    for text, existing in (("1", True), ("true", 1), ("{}", []), ("text", [])):
        with pytest.raises(PriorError):
            typed_value(text, existing)


def test_dots_in_titles_and_inputs_find_the_input_that_is_there():
    prompt = {"1": node("A", "Resize", **{"kind.width": 3}), "2": node("A", "Resize.kind", b=1)}
    assert find_input(prompt, "Resize.kind.width").node_id == "1"
    assert find_input(prompt, "Resize.kind.b").node_id == "2"


# --- workflow files ---


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"1": {"inputs": {}}}', '{"nodes": []}'])
def test_a_file_that_is_no_workflow_is_refused(tmp_path, text):
    path = tmp_path / "w.json"
    path.write_text(text)
    with pytest.raises(PriorError, match=r"w\.json is no "):
        read_workflow(path)


def test_without_comfy_cli_the_message_says_what_to_do(monkeypatch):
    assert as_prompt(PROMPT, {}) is PROMPT
    monkeypatch.setitem(sys.modules, "comfy_cli.workflow_to_api", None)
    with pytest.raises(PriorError, match=r"\[generate\]\" in the pack.*Export \(API\)"):
        as_prompt({"nodes": [], "links": []}, {})


def test_a_prompt_drawn_by_chance_is_drawn_alike_when_a_run_goes_on():
    pytest.importorskip("comfy_cli")
    info = {
        "CLIPTextEncode": {
            "input": {"required": {"text": ["STRING", {"dynamicPrompts": True}]}},
            "input_order": {"required": ["text"]},
        }
    }
    text = "{red|green|blue} " * 20
    workflow = {
        "nodes": [{"id": 1, "type": "CLIPTextEncode", "widgets_values": [text], "inputs": []}],
        "links": [],
    }
    first = as_prompt(workflow, info)
    assert "{" not in first["1"]["inputs"]["text"]
    assert as_prompt(workflow, info) == first


def test_a_node_that_cannot_be_converted_is_not_left_out():
    pytest.importorskip("comfy_cli")
    workflow = {"nodes": [{"id": 7, "type": "KSampler", "inputs": 2.5}], "links": []}
    with pytest.raises(PriorError, match=r"cannot be converted: .*id=7 type=KSampler"):
        as_prompt(workflow, {})


# --- label maps, jobs and seeds ---


def write_map(path, size=(6, 4), mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], channels), np.uint8)
    Image.fromarray(values.squeeze(), mode=None).save(path)
    return path


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """13 label maps, of two sizes, and one with an alpha channel; some in a subfolder."""
    folder = tmp_path_factory.mktemp("maps")
    for i in range(12):
        write_map(folder / f"{'ab'[i % 2]}/{i:02}.png", (6, 4) if i % 3 else (4, 6), seed=i)
    write_map(folder / "alpha.png", mode="RGBA")
    (folder / "notes.txt").write_text("no label map")
    return maps_in(folder)


@settings(deadline=None)
@given(st.sets(st.integers(0, 12), min_size=1), st.integers(1, 5), st.integers(1, 6), st.integers())
def test_every_image_is_made_once_in_prompts_of_one_size(maps, chosen, per_map, batch, seed):
    some = [maps[i] for i in sorted(chosen)]
    jobs = plan(some, per_map, batch, seed)
    files = [name for job in jobs for name in job.files]
    assert sorted(files) == sorted(f"{m.stem}_{k:02}.png" for m in some for k in range(per_map))
    assert len({job.name for job in jobs}) == len(jobs)
    for job in jobs:
        assert 1 <= len(job.label_maps) <= batch
        assert job.seed == image_seed(seed, job.label_maps[0].stem, job.k)
        assert 0 <= job.seed < MAX_SEED
        shapes = set()
        for label_map in job.label_maps:
            with Image.open(label_map.path) as picture:
                shapes.add((picture.size, picture.mode))
        assert len(shapes) == 1


def test_seeds_differ_between_label_maps_images_and_runs(maps):
    seeds = {image_seed(s, f"m{m}", k) for s in range(5) for m in range(200) for k in range(10)}
    assert len(seeds) == 5 * 200 * 10
    alone, together = plan(maps[3:4], 4, 1, 9), plan(maps, 4, 1, 9)
    assert set(alone) <= set(together)


def test_seeds_stay_what_they_are():
    # Of images that people may have already.
    assert image_seed(0, "0001", 0) == 931673189807804
    assert image_seed(7, "city/x", 3) == 952032504183585
    # Of a file whose name is no text.
    assert 0 <= image_seed(0, "\udcff", 0) < MAX_SEED


def test_label_maps_whose_images_would_share_a_name_are_refused(tmp_path):
    write_map(tmp_path / "a.png")
    write_map(tmp_path / "a.bmp")
    with pytest.raises(PriorError, match=r"a\.bmp and a\.png"):
        maps_in(tmp_path)


def sent(label_maps) -> list[np.ndarray]:
    """What arrives at LoadImage: a PNG of 8 bits in RGB or RGBA without any metadata."""
    data = upload_data(label_maps)
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[24] == 8
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode in ("RGB", "RGBA") and not picture.getexif()
        return [np.array(frame) for frame in ImageSequence.Iterator(picture)]


def maps_in(folder, palette=None):
    """The label maps of a folder, read by a palette."""
    rules = palette and LabelRules(PALETTES[palette], PALETTES[palette].ignore_ids)
    return find_label_maps(label_maps_in(folder), rules)[0]


def counting(ids: torch.Tensor, palette: str) -> torch.Tensor:
    """Ids with the ignored ones, which may share a color, as unknown."""
    return torch.where(torch.isin(ids, torch.tensor(PALETTES[palette].ignore_ids)), -1, ids)


IDS = np.array([[0, 1, 5], [7, 3, 10]])


def write_ids(path: Path, form: str, palette) -> Path:
    """A label file of IDS in one of the forms that tools write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = (i if palette.holds(i) else -1 for i in range(256))
    colors = [color for i in known for color in palette.paint(torch.tensor(i)).tolist()]
    if form == "colors":
        picture = Image.fromarray(palette.paint(torch.from_numpy(IDS)).contiguous().numpy())
    elif form in ("uint16", "int32", "float32"):
        picture = Image.fromarray(IDS.astype(form))
    else:
        picture = Image.fromarray(IDS.astype(np.uint8))
    if form.startswith("table"):
        tables = {
            "table of greys": [i for i in range(256) for _ in range(3)],
            "table of VOC's colors": [level for i in range(256) for level in bit_color(i)],
            "table of the palette's colors": colors,
        }
        picture.putpalette(tables[form])
    picture.save(path)
    return path


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize(
    "form",
    [
        "uint8",
        "uint16",
        "int32",
        "float32",
        "colors",
        "table of greys",
        "table of VOC's colors",
        "table of the palette's colors",
    ],
)
def test_a_map_arrives_as_the_classes_that_a_build_reads(tmp_path, form, palette, batch):
    suffix = "tif" if form in ("int32", "float32") else "png"
    path = write_ids(tmp_path / f"a.{suffix}", form, PALETTES[palette])
    shutil.copy(path, tmp_path / f"b.{suffix}")
    label_maps = maps_in(tmp_path, palette)
    (job, *_) = plan(label_maps, 1, batch, 0)
    assert len(job.label_maps) == batch
    rules = LabelRules(PALETTES[palette], PALETTES[palette].ignore_ids)
    for pixels in sent(job.label_maps):
        built = read_label_file(path, rules).ids
        assert torch.equal(counting(built, palette), counting(torch.from_numpy(IDS), palette))
        assert pixels.shape == (2, 3, 3)
        ids, unmatched = decode_label_image(pixels, palette)
        assert torch.equal(counting(ids, palette), counting(built, palette)) and unmatched == 0


@pytest.mark.parametrize("palette", PALETTES)
def test_what_has_no_class_arrives_as_unknown_or_ignored(tmp_path, palette):
    colors = PALETTES[palette]
    ids = IDS.astype(np.int32)
    ids[0, 0], ids[1, 0] = -1, colors.ignore_ids[0]
    Image.fromarray(ids).save(tmp_path / "a.tif")
    (pixels,) = sent(maps_in(tmp_path, palette))
    known = counting(decode_label_image(pixels, palette)[0], palette)
    assert known[:, 0].tolist() == [-1, -1]
    assert torch.equal(known[:, 1:], counting(torch.from_numpy(IDS[:, 1:]), palette))


@pytest.mark.parametrize("form", ["uint8", "uint16", "int32", "float32"])
def test_ids_arrive_as_grey_levels_where_no_palette_is_named(tmp_path, form):
    write_ids(tmp_path / "a.tif", form, PALETTES["grey_ids"])
    (pixels,) = sent(maps_in(tmp_path))
    assert np.array_equal(pixels, np.repeat(IDS[..., None], 3, -1))
    Image.new("1", (3, 2), 1).save(tmp_path / "a.tif")
    assert (sent(maps_in(tmp_path))[0] == 1).all()


@pytest.mark.parametrize("palette", [None, "grey_ids"])
def test_ids_that_a_file_does_not_hold_exactly_are_refused(tmp_path, palette):
    Image.fromarray(IDS.astype(np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(PriorError, match=r"a\.jpg is a lossy picture"):
        upload_data(maps_in(tmp_path, palette))
    (tmp_path / "a.jpg").unlink()
    Image.new("1", (3, 2), 1).save(tmp_path / "a.tif", tiffinfo={262: 0})
    with pytest.raises(PriorError, match=r"a\.tif cannot be read: it is grey of 2 or 4 bits, or"):
        upload_data(maps_in(tmp_path, palette))


@pytest.mark.parametrize("palette", [None, "grey_ids"])
@pytest.mark.parametrize("strange", [256, -2, 70_000])
def test_ids_without_color_or_grey_level_are_refused(tmp_path, palette, strange):
    ids = IDS.astype(np.int32)
    ids[1, 1] = strange
    Image.fromarray(ids).save(tmp_path / "a.tif")
    with pytest.raises(PriorError, match=rf"a\.tif holds class ids? {strange}.*0\.\.(255|65535)"):
        upload_data(maps_in(tmp_path, palette))


@pytest.mark.parametrize("batch", [1, 2])
def test_maps_are_sent_as_they_are_shown(tmp_path, batch):
    """Turned as their EXIF data say, which may be damaged; through links, in any file type."""
    wide = write_map(tmp_path / "maps/a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(wide) as picture:
        pixels = np.array(picture)
        picture.save(tmp_path / "maps/b.png", exif=b"Exif\0\0XX\0*\0\0\0\x08\0\0")
        (tmp_path / "elsewhere").mkdir()
        for suffix in ("png", "tif"):
            picture.save(tmp_path / f"elsewhere/{suffix}.{suffix}", exif=exif)
    (tmp_path / "maps/more").symlink_to(tmp_path / "elsewhere")
    maps = maps_in(tmp_path / "maps")
    groups = [job.label_maps for job in plan(maps, 1, batch, 0)]
    stems = [m.stem for group in groups for m in group]
    assert stems == ["a", "b", "more/png", "more/tif"] and len(groups) == 4 // batch
    for group in groups:
        want = np.rot90(pixels, -1) if group[0].stem.startswith("more") else pixels
        assert all(np.array_equal(frame, want) for frame in sent(group))


@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=9),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([3, 4]),
)
def test_frames_come_back_in_order_and_bit_for_bit_also_where_they_repeat(
    order, height, width, channels
):
    values = np.random.default_rng(0).integers(0, 256, (3, height, width, channels), np.uint8)
    frames = [values[i] for i in order]
    with Image.open(io.BytesIO(animated_png(frames))) as picture:
        # As LoadImage does it.
        read = [np.array(frame) for frame in ImageSequence.Iterator(picture)]
    assert len(read) == len(frames)
    assert all(np.array_equal(a, b) for a, b in zip(read, frames, strict=True))


def test_an_upload_is_named_after_its_content_and_holds_the_maps(maps):
    same = [m for m in maps if m.stem != "alpha"][1:3]
    painted = [replace(same[0], rules=LabelRules(PALETTES["camvid"]))]
    assert len({upload_name(some) for some in (same[:1], same, same[::-1], painted)}) == 4
    for some in (same, [m for m in maps if m.stem == "alpha"]):
        for frame, label_map in zip(sent(some), some, strict=True):
            assert np.array_equal(frame, np.array(Image.open(label_map.path)))


@pytest.mark.parametrize("palette", [None, "grey_ids"])
@pytest.mark.parametrize("batch", [1, 4])
def test_mirrored_label_maps_are_sent_with_left_and_right_exchanged(tmp_path, palette, batch):
    for seed, name in enumerate(("a.png", "sub/b.c.png")):
        write_map(tmp_path / name, mode="L" if palette else "RGB", seed=seed)
    plain = maps_in(tmp_path, palette)
    both = with_mirrored(plain)
    assert [m.name for m in both] == [
        "a.png",
        "a_mirrored.png",
        "sub/b.c.png",
        "sub/b.c_mirrored.png",
    ]
    jobs = plan(both, 2, batch, 7)
    assert sum(len(job.files) for job in jobs) == 8
    for job in jobs:
        for pixels, label_map in zip(sent(job.label_maps), job.label_maps, strict=True):
            origin = next(m for m in plain if m.path == label_map.path)
            (want,) = sent([origin])
            assert np.array_equal(pixels, want[:, ::-1] if label_map.mirrored else want)
    assert len({upload_name([m]) for m in both}) == 4
    # Those that are not mirrored have the images that they have without.
    alone, together = plan(plain, 2, 1, 7), plan(both, 2, 1, 7)
    assert [job for job in together if job in alone] == alone


def test_a_label_map_that_is_named_as_a_mirrored_one_is_refused(tmp_path):
    write_map(tmp_path / "a.png")
    write_map(tmp_path / "a_mirrored.png")
    with pytest.raises(PriorError, match="files of 1 such names: a_mirrored; rename them"):
        with_mirrored(maps_in(tmp_path))


# --- balance ---


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 2**32), st.integers(1, 300))
def test_balanced_counts_are_of_each_map_add_up_and_only_grow(maps, classes, seed, more):
    rng = np.random.default_rng(seed)
    shares = rng.gamma(0.3, 1, (maps, classes)) * rng.integers(0, 2, (maps, 1))
    shares[0, :] = 1
    wanted = rng.gamma(0.3, 1, classes) + 1e-3
    wanted /= wanted.sum()
    fewer = balanced_counts(shares, wanted, maps + more)
    counts = balanced_counts(shares, wanted, maps + 2 * more)
    assert fewer.min() >= 1 and fewer.sum() == maps + more
    assert counts.sum() == maps + 2 * more and (counts >= fewer).all()


def test_rare_classes_come_nearer_to_what_is_wanted_and_equal_maps_take_turns():
    rng = np.random.default_rng(0)
    base = 1 / np.arange(1, 9) ** 2
    shares = rng.gamma(base, 1, (300, 8))
    shares /= shares.sum(1, keepdims=True)
    now = shares.sum(0) / shares.sum()
    roots = wanted_shares("sqrt", PALETTES["camvid"], range(8), shares)
    assert np.allclose(roots, np.sqrt(now) / np.sqrt(now).sum())
    for wanted in (roots, np.full(8, 1 / 8)):
        got = balanced_counts(shares, wanted, 1200) @ shares
        got /= got.sum()
        # More of all that there is too little of, and well on the way.
        assert (got > now)[wanted > now].all()
        assert np.abs(got - wanted).sum() < 0.6 * np.abs(now - wanted).sum()
    # Where nothing is to be changed all are drawn alike, and of equal ones each as often.
    counts = balanced_counts(np.tile(base, (50, 1)), base / base.sum(), 200)
    assert set(counts.tolist()) == {4}
    two = np.array([[1.0, 0.0]] * 40 + [[0.5, 0.5]] * 10)
    counts = balanced_counts(two, np.array([0.8, 0.2]), 150)
    assert np.ptp(counts[40:]) <= 1 and counts[40:].min() > counts[:40].max()


def test_shares_are_given_by_class_and_the_others_keep_their_proportions():
    shares = np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]])
    palette, ids = PALETTES["camvid"], [0, 3, 8]
    found = wanted_shares("car=0.5, sky = 0.2", palette, ids, shares)
    assert np.allclose(found, [0.2, 0.3, 0.5])
    assert np.allclose(wanted_shares("8=0.4", palette, ids, shares), [0.4, 0.2, 0.4])
    for text, says in (
        ("car=0.8,sky=0.3", "sum to 1.1; expected at most 1"),
        ("car=2", "holds 'car=2'; expected sqrt, or CLASS=SHARE"),
        ("root", "holds 'root'"),
        ("car=0.1,8=0.1", r"names car \(8\) twice"),
        ("tree=0.1", r"names tree \(5\), which no label map holds"),
        ("bus=0.1", "palette 'camvid' has no class 'bus'"),
        ("car=0.1,sky=0.1,road=0.1", "sum to 0.3; expected 1, since they are of all classes"),
    ):
        with pytest.raises(PriorError, match=says):
            wanted_shares(text, palette, ids, shares)


def test_what_was_got_is_of_the_images_that_are_there(tmp_path):
    for name, ids in (("a", [[3, 3, 3, 8]]), ("b", [[3, 3, 3, 3]]), ("c", [[3, 3, 11, 11]])):
        Image.fromarray(np.array(ids, np.uint8)).save(tmp_path / f"{name}.png")
    label_maps = with_mirrored(maps_in(tmp_path, "camvid"))
    balance = Balance.of("car=0.5", label_maps, PALETTES["camvid"])
    counts = balance.counts(3)
    assert sum(counts.values()) == 18 and counts["a"] == counts["a_mirrored"] > counts["b"] >= 1
    jobs = plan(label_maps, 3, 1, 0, counts)
    assert Counter(job.label_maps[0].stem for job in jobs) == counts
    done = ["a_00.png", "a_01.png", "b_00.png", "stranger_00.png"]
    table = {row["id"]: row for row in balance.table(jobs, done)}
    assert table.keys() == {3, 8}
    assert table[8]["wanted"] == 0.5 and table[8]["got"] == pytest.approx(0.5 / 3)
    assert table[8]["in_label_maps"] == pytest.approx(0.25 / 2.5)


@pytest.mark.parametrize("batch", [1, 3])
def test_each_label_map_is_read_once_for_all_images_and_servers(maps, monkeypatch, batch):
    groups = list(dict.fromkeys(job.label_maps for job in plan(maps, 4, batch, 0)))
    read, before = Counter(), Path.open

    def counting(path, *more, **options):
        read[path] += 1
        return before(path, *more, **options)

    monkeypatch.setattr(Path, "open", counting)
    monkeypatch.setattr(
        "builtins.open", lambda path, *more, **opts: counting(Path(path), *more, **opts)
    )
    uploads, at_once = Uploads(), threading.Barrier(2)

    def drive(_server):
        at_once.wait(10)
        return [uploads.data(group) for group in groups for _k in range(4)]

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(drive, range(2))
    assert one == two
    assert read == Counter(label_map.path for label_map in maps)


def test_what_is_kept_for_other_servers_is_bounded(maps, monkeypatch):
    made = Counter()

    def counting(label_maps):
        made[label_maps[0].stem] += 1
        if label_maps[0].stem == "gone":
            raise PriorError("cannot be read")
        return bytes(100)

    monkeypatch.setattr("prior_tools.generating.uploads.upload_data", counting)
    uploads = Uploads(most_bytes=250)
    for i in (0, 1, 0, 2, 0, 1):
        uploads.data(maps[i : i + 1])
    assert [made[label_map.stem] for label_map in maps[:3]] == [1, 2, 1]
    for _ in range(2):
        with pytest.raises(PriorError, match="cannot be read"):
            uploads.data([LabelMap("gone", "gone.png", Path("gone.png"), "0" * 64)])
    assert made["gone"] == 2


# --- the manifest, and going on ---


def label_map(stem, sha256="00"):
    return LabelMap(stem, f"{stem}.png", Path("nowhere"), sha256)


def job_of(*stems, k=0, seed=3):
    return Job(tuple(map(label_map, stems)), k, seed)


def rows_of(folder):
    return [json.loads(x) for x in (folder / records.MANIFEST_NAME).read_text().splitlines()]


def entries_of(folder):
    return [row["file"] for row in rows_of(folder)]


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_cut_off_anywhere_the_manifest_goes_on_and_names_each_image_once(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("out")
    jobs = [job_of(f"sub/m{i}") for i in range(6)]
    names = [name for job in jobs for name in job.files]
    first = Manifest(folder, {})
    for job in jobs[:4]:
        assert first.add(job, [b"image"], []) == 1
    path = folder / records.MANIFEST_NAME
    whole = path.read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:kept])
    gone = data.draw(st.sets(st.sampled_from(names[:4])))
    for name in gone:
        (folder / name).unlink()

    again = Manifest(folder, {})
    listed = names[: whole[:kept].count(b"\n")]
    assert again.done == set(listed) - gone
    assert entries_of(folder) == [name for name in listed if name not in gone]
    for name, job in zip(names, jobs, strict=True):
        if name not in again.done:
            again.add(job, [b"image"], [])
    assert again.add(jobs[0], [b"another"], []) == 0
    assert sorted(entries_of(folder)) == names
    assert all((folder / name).read_bytes() == b"image" for name in names)


def test_a_line_says_what_its_image_was_made_of(tmp_path):
    manifest = Manifest(tmp_path, {"Sampler.mu": 0.6})
    manifest.add(job_of("a", k=3, seed=8), [b"old"], [])
    batch = job_of("a", "sub/b", k=3, seed=9)
    # Of the batch one image is there, from a run with another --per-map or a kill.
    warning = NodeWarning("Draw", "places without a class", "62.0% is unlabelled")
    assert manifest.add(batch, [b"new", b"image"], [warning]) == 1
    assert (tmp_path / "a_03.png").read_bytes() == b"old"
    shared = {"k": 3, "settings": {"Sampler.mu": 0.6}}
    assert rows_of(tmp_path) == [
        {
            "file": "a_03.png",
            "label_map": "a.png",
            "seed": 8,
            "index_in_batch": 0,
            "batch": 1,
            "warnings": [],
            **shared,
        },
        {
            "file": "sub/b_03.png",
            "label_map": "sub/b.png",
            "seed": 9,
            "index_in_batch": 1,
            "batch": 2,
            "warnings": [
                {"node": "Draw", "kind": "places without a class", "text": "62.0% is unlabelled"}
            ],
            **shared,
        },
    ]


def test_warnings_are_counted_over_all_images_that_are_there(tmp_path):
    run_id = records.begin_or_go_on(tmp_path, run_of(), [])
    unlabelled = [NodeWarning("Draw", "unlabelled", f"{i}% is unlabelled") for i in range(4)]
    lost = NodeWarning("Convert", "lost", "a rider is lost")
    first = Manifest(tmp_path, {})
    first.add(job_of("a"), [b"image"], [unlabelled[0], lost])
    # One image counts once, also where a node warns of it twice.
    first.add(job_of("b"), [b"image"], [unlabelled[1], unlabelled[1]])
    first.add(job_of("b"), [b"image"], [unlabelled[1]])
    (tmp_path / "a_00.png").unlink()
    again = Manifest(tmp_path, {})
    again.add(job_of("c", "d"), [b"image", b"image"], [unlabelled[2]])
    again.add(job_of("e"), [b"image"], [])
    records.record_summary(tmp_path, again.warnings)
    assert json.loads((tmp_path / records.RUN_NAME).read_text())["warnings"] == [
        {
            "node": "Draw",
            "kind": "unlabelled",
            "images": 3,
            "example": {"file": "b_00.png", "text": "1% is unlabelled"},
        }
    ]
    assert records.begin_or_go_on(tmp_path, run_of(), []) == run_id


def test_of_what_a_server_tells_only_warnings_are_taken():
    good = ["kind", "text"]
    outputs = {
        "3": {"scp_warnings": [good, good, ["kind"], [1, 2], "text", None]},
        "5": {"images": [], "scp_warnings": []},
        "4.0.1": {"scp_warnings": [good]},
        "6": {"scp_warnings": "text"},
        "7": None,
        "99": {"scp_warnings": [["kind", "x" * 5000]]},
    }
    assert warnings_of(PROMPT, {"outputs": outputs}) == [
        NodeWarning("Prompt", "kind", "text"),
        NodeWarning("Sampler v1.5", "kind", "text"),
        NodeWarning("99", "kind", "x" * 1000),
    ]
    assert warnings_of(PROMPT, {}) == []


def test_every_node_that_may_warn_keeps_its_warnings_for_clients():
    """By its source, as a node's module cannot be imported without ComfyUI."""
    found = {}
    for path in (Path(records.__file__).parents[2] / "nodes").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and function.name == "execute":
                decorators = [d.id for d in function.decorator_list if isinstance(d, ast.Name)]
                if names & {"notify"}:
                    found[path.stem] = "keeps_warnings" in decorators
    assert {"joint_prior_noise", "convert_label_map"} <= found.keys()
    assert all(found.values()), found


@pytest.mark.parametrize("line", ["[]", '{"file": "a.png"}', '{"file": "a", "warnings": [{}]}'])
def test_a_line_that_is_no_entry_is_named(tmp_path, line):
    (tmp_path / records.MANIFEST_NAME).write_text(f"{line}\n")
    with pytest.raises(PriorError, match="line 1 of"):
        Manifest(tmp_path, {})


def run_of(*settings, seed=0, batch=1, rules=None, maps=(("a", "11"), ("b", "22")), prompt=PROMPT):
    workflow = prepared(*settings, prompt=prompt)
    label_maps = [label_map(stem, sha256) for stem, sha256 in maps]
    return records.describe_run(workflow, label_maps, seed, batch, rules)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"batch": 2}, "batch was 1 and is 2"),
        ({"rules": LabelRules(PALETTES["camvid"])}, "palette was None and is camvid"),
        (
            {"rules": LabelRules(replace(PALETTES["camvid"], ignore_ids=()))},
            "palette was None and is camvid (",
        ),
        (
            {"rules": LabelRules(PALETTES["camvid"], id_map={200: 3})},
            "id map was None and is ",
        ),
        ({"maps": (("a", "11"), ("b", "33"))}, "1 label map is changed (b.png)"),
        ({"maps": (("a", "11"),)}, "1 label map is gone (b.png)"),
        ({"maps": (("a", "11"), ("b", "22"), ("c", "3"))}, "1 label map is new (c.png)"),
        ({"prompt": {**PROMPT, "9": node("X", "More")}}, "node 'More' is new"),
    ],
)
def test_what_changed_is_said(tmp_path, changed, says):
    run_id = records.begin_or_go_on(tmp_path, run_of(), [])
    Manifest(tmp_path, {}).add(job_of("a"), [b"image"], [])
    assert records.begin_or_go_on(tmp_path, run_of(), []) == run_id
    with pytest.raises(PriorError) as error:
        records.begin_or_go_on(tmp_path, run_of(**changed), [])
    assert says in str(error.value)
    with pytest.raises(PriorError, match=r"input 'steps' of node 'Sampler v1\.5' was 20 and is 4"):
        records.begin_or_go_on(tmp_path, run_of("Sampler v1.5.steps=4"), [])
    assert records.begin_or_go_on(tmp_path, run_of(), []) == run_id


def test_a_run_without_images_gives_place_to_a_changed_one(tmp_path):
    """One that a fault of its workflow ended: it is mended, and the same command goes on."""
    run_id = records.begin_or_go_on(tmp_path, run_of(), [])
    Manifest(tmp_path, {})
    mended = run_of("Sampler v1.5.steps=4")
    new = records.begin_or_go_on(tmp_path, mended, ["a_00.png"])
    assert new != run_id
    Manifest(tmp_path, {}).add(job_of("a"), [b"image"], [])
    assert records.begin_or_go_on(tmp_path, mended, ["a_00.png"]) == new
    with pytest.raises(PriorError, match="holds images of another run"):
        records.begin_or_go_on(tmp_path, run_of(), ["a_00.png"])


def test_the_seed_and_label_image_in_the_workflow_file_do_not_count(tmp_path):
    records.begin_or_go_on(tmp_path, run_of(), [])
    other = copy.deepcopy(PROMPT)
    other["1"]["inputs"]["image"], other["2"]["inputs"]["value"] = "new.png", 6
    records.begin_or_go_on(tmp_path, run_of(prompt=other), [])


@pytest.mark.skipif(os.name == "nt", reason="Windows counts names in other units")
def test_a_name_that_the_file_system_has_no_room_for_is_refused_before_a_server_works(
    command, tmp_path, capsys
):
    most = os.pathconf(tmp_path, "PC_NAME_MAX")
    # Two bytes a letter, so that letters are not what is counted.
    stem = "\u00e4" * ((most - len("_00.png")) // 2)
    stem += "a" * (most - len("_00.png") - len(os.fsencode(stem)))
    check_names(tmp_path / "new" / "out", [f"{stem}_00.png", "sub/a_00.png"])
    (tmp_path / f"{stem}_00.png").touch()
    write_map(tmp_path / "labels" / f"{stem}.png")
    assert main(command()) == 2
    assert "no server answers" in capsys.readouterr().err
    # Image 100 of the same label map is called by a letter more.
    assert main(command("--per-map", "101")) == 2
    said = capsys.readouterr().err
    assert f"would have a name of {most + 1} bytes, and there is room for {most}" in said
    assert "shorten the name of its label map" in said
    assert not (tmp_path / "out").exists()


def test_files_of_others_are_not_overwritten(tmp_path):
    (tmp_path / "a_00.png").write_bytes(b"precious")
    with pytest.raises(PriorError, match=r"holds a_00\.png already"):
        records.begin_or_go_on(tmp_path, run_of(), ["a_00.png", "a_01.png"])
    assert [path.name for path in tmp_path.iterdir()] == ["a_00.png"]


def test_a_name_that_a_record_holds_twice_is_refused_not_chosen(tmp_path):
    run = json.dumps({"id": "a", **run_of(), "warnings": []})
    path = tmp_path / records.RUN_NAME
    path.write_text(run.replace('"seed": 0', '"seed": 0, "seed": 0', 1), encoding="utf-8")
    with pytest.raises(PriorError, match="it holds 'seed' twice"):
        records.begin_or_go_on(tmp_path, run_of(), [])


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / records.RUN_NAME).write_text("{}")
    with pytest.raises(PriorError, match=r"generate\.json is no record of a run"):
        records.begin_or_go_on(tmp_path, run_of(), [])


def test_two_commands_do_not_share_a_folder(tmp_path):
    pytest.importorskip("fcntl")
    busy = pytest.raises(PriorError, match="another generate is at work")
    with records.only_one(tmp_path), busy, records.only_one(tmp_path):
        pass
    with records.only_one(tmp_path):
        pass


# --- sharing out ---


def test_jobs_given_back_come_first_and_each_is_done_once(maps):
    jobs = plan(maps, 1, 1, 0)
    work = Work(jobs, 2)
    a, b = work.take(), work.take()
    work.give_back(b)
    work.give_back(a)
    assert work.claim(b.name) is b
    assert work.claim(b.name) is None
    taken = [b]
    while job := work.take():
        taken.append(job)
    assert taken == [b, a, *jobs[2:]]
    for job in taken:
        assert not work.finished
        work.done(job)
    assert work.finished


def test_a_prompt_that_is_always_lost_stops_the_run_unless_a_server_still_had_it(maps):
    (job,) = plan(maps[:1], 1, 1, 0)
    work = Work([job], 1)
    assert work.take() is job
    for _ in range(2 * MOST_LOSSES):
        work.give_back(job, lost=True)
        assert work.claim(job.name) is job
    for _ in range(MOST_LOSSES - 1):
        work.give_back(job, lost=True)
        assert work.take() is job
    with pytest.raises(GenerationStopped, match=f"was lost {MOST_LOSSES} times"):
        work.give_back(job, lost=True)


# --- the command ---


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("http://127.0.0.1:8188/", "http://127.0.0.1:8188"),
        ("https://host/comfy/", "https://host/comfy"),
        ("[::1]:8188", "http://[::1]:8188"),
    ],
)
def test_addresses(text, url):
    assert server_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "ftp://host", "http://", "http://host:port", "host?x=1", "host:0", "a..b", "a b"),
        *(
            "http://Authorization:",
            f"{'a' * 64}.b",
            "http://host/\u00fc",
            "http://h\n",
            "http://[::1",
            "http://host#x",
        ),
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(PriorError, match="is no address"):
        server_url(text)


@pytest.mark.parametrize(
    "text",
    [
        f"http://u:{SECRET}@host",
        f"u:{SECRET}@host:8188",
        f"https://{SECRET}@host",
        f"http://u:a/{SECRET}@host",
        f"http://u:a#?{SECRET}@host",
        f"ftp://u:a@{SECRET}@host",
        f"u:a://{SECRET}@host",
        f"http://host?token={SECRET}",
        f"http://host#{SECRET}",
    ],
)
def test_a_password_in_an_address_is_not_repeated(text):
    with pytest.raises(PriorError) as error:
        server_url(text)
    assert "host" in str(error.value)
    assert SECRET not in str(error.value)
    assert ("--auth-file" in str(error.value)) == ("@" in text)


# --- being let in ---

PLACES = ["http://a:80", "http://b:8188/x", "https://c"]


def authorizations(tmp_path, text):
    path = tmp_path / "auth"
    path.write_bytes(text.encode())
    return {url: found.header for url, found in read_authorizations(path, PLACES).items()}


def test_authorizations_are_for_all_servers_or_for_one(tmp_path, monkeypatch):
    basic = "Basic dXNlcjpwYXNzIHfDtnJkOg=="
    text = "\ufeff# who\r\n\r\nBearer abc\nhttp://A\tbasic  user:pass w\u00f6rd:\n"
    everywhere = dict.fromkeys(PLACES, "Bearer abc")
    assert authorizations(tmp_path, text) == {**everywhere, "http://a:80": basic}
    one = {"http://b:8188/x": "Bearer d"}
    assert authorizations(tmp_path, "b:8188/x/ bearer d\nhttp://elsewhere bearer e") == one
    monkeypatch.delenv(AUTH_VARIABLE, raising=False)
    assert read_authorizations(None, PLACES) == {}
    monkeypatch.setenv(AUTH_VARIABLE, "bearer f")
    assert {a.header for a in read_authorizations(None, PLACES).values()} == {"Bearer f"}
    assert authorizations(tmp_path, "bearer abc") == everywhere


@pytest.mark.parametrize(
    "text",
    [
        *("", "# bearer x", "{}", "bearer", "bearer {} {}", "basic {}", "token {}", "a bearer"),
        *("bearer {}\u00e9", "bearer {}\0", "http://u:{}@a bearer {}", "a {}", "ftp://a bearer {}"),
        *("bearer {}\nbearer {}", "http://a bearer {}\na:80 bearer {}", "bearer a\nbearer: {}"),
    ],
)
def test_what_is_no_authorization_is_refused_and_not_repeated(tmp_path, text):
    with pytest.raises(PriorError) as error:
        authorizations(tmp_path, text.replace("{}", SECRET))
    assert "--auth-file" in str(error.value)
    assert SECRET not in str(error.value)


def test_an_authorization_shows_nothing_of_itself(tmp_path):
    for line in (f"bearer {SECRET}", f"basic user:{SECRET}"):
        (tmp_path / "auth").write_text(line)
        found = read_authorizations(tmp_path / "auth", PLACES)["https://c"]
        assert not any(secret in repr(found) for secret in found.secrets)
        assert found.hide(f"<{found.header}> {SECRET}").count("...") == 2


@pytest.mark.parametrize(
    "text",
    [f"u:{SECRET}%40h:8188", f"http://u:{SECRET}:8188", f"h:{SECRET}", f"u:{SECRET}\uff20h"],
)
def test_what_may_be_a_password_is_not_repeated(text):
    with pytest.raises(PriorError, match="is no address") as error:
        server_url(text)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("line", ["bearer s/e+c=r", "basic u:s/e+c=r\u00e9t"])
def test_a_secret_is_hidden_in_every_form_that_it_comes_back_in(tmp_path, line):
    (tmp_path / "auth").write_text(line, encoding="utf-8")
    found = read_authorizations(tmp_path / "auth", PLACES)["https://c"]
    for secret in found.secrets:
        in_json = json.dumps(secret)[1:-1]
        for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), in_json):
            assert found.hide(f"<{form}>") == "<...>"


def test_a_password_of_few_letters_does_not_eat_the_answer(tmp_path):
    (tmp_path / "auth").write_text("basic u:a")
    found = read_authorizations(tmp_path / "auth", PLACES)["https://c"]
    assert found.hide("what a password") == "what a password"


def test_authorizations_for_no_server_of_the_run_are_refused(tmp_path):
    with pytest.raises(PriorError, match="no line of --auth-file"):
        authorizations(tmp_path, f"http://elsewhere bearer {SECRET}")


def test_one_server_is_asked_once_however_its_address_is_written():
    given = ["HTTP://H:80", "http://h", "h:81", "http://h/"]
    assert distinct_servers(given) == ["HTTP://H:80", "http://h:81"]


def test_which_addresses_are_overheard():
    for url in ("http://127.0.0.1:8188", "http://localhost", "http://[::1]:80", "https://host"):
        assert not is_overheard(url)
    for url in ("http://host", "http://10.0.0.1:8188", "http://localhost.example"):
        assert is_overheard(url)


NOTHING_QUEUED = b'{"queue_running": [], "queue_pending": []}'


def comfyui(asked):
    """As a server that knows no nodes."""
    return 200, {}, b"{}" if asked.path == "/object_info" else NOTHING_QUEUED


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(what a server shows, the file of its authority, that of another one)."""
    folder, authority = tmp_path_factory.mktemp("certificates"), trustme.CA()
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(shown)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    return shown, folder / "ca.pem", folder / "other.pem"


def test_the_authorization_goes_with_every_request_over_tls_that_is_trusted(certificate, tmp_path):
    (tmp_path / "auth").write_text(f"basic user:{SECRET}")
    with Gate(comfyui) as inner:
        authorization = read_authorizations(tmp_path / "auth", [inner.url])[inner.url]
        with Gate(passing_on(inner.url, authorization.header), certificate[0]) as gate:
            client = ComfyClient(gate.url, authorization, trusting(certificate[1]))
            assert NamedServers([client], 1, 0.0).object_info() == {}
            assert len(inner.asked) == len(gate.asked) == 2
            for tls in (None, trusting(certificate[2])):
                with pytest.raises(AccessDenied, match="certificate is not trusted"):
                    ComfyClient(gate.url, authorization, tls).object_info()
            assert len(gate.asked) == 2
            with pytest.raises(AccessDenied, match=r"HTTP 401: .* give one by SCP_SERVER_AUTH"):
                ComfyClient(gate.url, None, trusting(certificate[1])).object_info()


def test_a_redirect_is_not_followed_and_sees_no_authorization(command, tmp_path, capsys):
    (tmp_path / "auth").write_text(f"bearer {SECRET}")
    with (
        Gate(comfyui) as elsewhere,
        Gate(lambda asked: (301, {"Location": elsewhere.url + asked.path}, b"")) as gate,
    ):
        arguments = ("--server", gate.url, "--auth-file", str(tmp_path / "auth"))
        assert main(command(*arguments)) == 2
        assert len(gate.asked) == 1
        assert not elsewhere.asked
    said = capsys.readouterr().err
    assert f"sends on to {elsewhere.url}/object_info, which is not followed" in said


@pytest.mark.parametrize("status", [200, 401, 403, 404, 418, 500, 301])
def test_a_server_that_repeats_the_authorization_does_not_get_it_told(
    command, tmp_path, capsys, status
):
    (tmp_path / "auth").write_text(f"bearer {SECRET}")

    def echo(asked):
        header = asked.headers["authorization"]
        return status, {"Location": f"http://host/{SECRET}"}, f"you sent {header}".encode()

    with Gate(echo) as gate:
        arguments = ("--server", gate.url, "--auth-file", str(tmp_path / "auth"))
        assert main(command(*arguments)) == 2
        with pytest.raises(ServerRefused) as error:
            given = read_authorizations(tmp_path / "auth", [gate.url])
            ComfyClient(gate.url, given[gate.url]).object_info()
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err + str(error.value) + repr(error.value)


def test_an_authorization_that_can_be_overheard_is_warned_of(command, monkeypatch, capsys):
    monkeypatch.setenv(AUTH_VARIABLE, f"bearer {SECRET}")
    with Gate(lambda _asked: (404, {}, b"")) as gate:
        port = gate.url.rpartition(":")[2]
        main(command("--server", gate.url))
        assert "warning" not in capsys.readouterr().err
        main(command("--server", f"no-such-host.invalid:{port}", gate.url))
    warning, _error = capsys.readouterr().err.splitlines()
    assert f"authorization for http://no-such-host.invalid:{port} can be read by" in warning
    assert SECRET not in warning


def test_what_ended_before_a_prompt_that_failed_is_saved(command, tmp_path, capsys):
    """Also where both end between two questions of the client."""
    picture = write_map(tmp_path / "labels" / "b.png").read_bytes()
    names, asked_before = iter("pq"), Counter()
    image = {"filename": "a.png", "subfolder": "", "type": "output"}
    ended = {
        "p": {"status": {"status_str": "success"}, "outputs": {"5": {"images": [image]}}},
        "q": {"status": {"messages": [["execution_error", {"node_id": "4"}]]}},
    }

    def answer(asked):
        path = asked.path.partition("?")[0]
        if path.startswith("/history/"):
            asked_before["history"] += 1
            found = {path[-1]: ended[path[-1]]} if asked_before["history"] > 1 else {}
        elif path == "/prompt":
            found = {"prompt_id": next(names)}
        else:
            found = {"/upload/image": {"name": "a.png"}, "/history": {}}.get(path)
        if path == "/view":
            return 200, {}, picture
        return comfyui(asked) if found is None else (200, {}, json.dumps(found).encode())

    with Gate(answer) as gate:
        assert main(command("--server", gate.url)) == 1
    said = capsys.readouterr().err
    assert "b_00.png: node 'Sampler v1.5' (KSampler) failed" in said
    assert "made 1 of 2 images" in said


def test_an_authorization_that_is_no_longer_taken_ends_the_run_and_says_so(
    command, tmp_path, capsys
):
    def answer(asked):
        if asked.path.startswith("/history"):
            return 200, {}, b"{}"
        if asked.path == "/upload/image":
            return 200, {}, b'{"name": "a.png"}'
        return (401, {}, b"") if asked.path == "/prompt" else comfyui(asked)

    (tmp_path / "auth").write_text(f"bearer {SECRET}")
    with Gate(answer) as gate:
        code = main(command("--server", gate.url, "--auth-file", str(tmp_path / "auth")))
    assert code == 1
    said = capsys.readouterr().err
    assert f"error: {gate.url}: HTTP 401: it does not let us in with the authorization of" in said
    assert "made 0 of 1 image; once that is mended, start the same command again" in said


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((401, {}, b""), "HTTP 401: it does not let us in without an authorization; give one by"),
        ((403, {}, b""), "HTTP 403: it does not let us in without an authorization; give one by"),
        ((404, {}, b"<html>"), "HTTP 404: no ComfyUI is at this path; mend --server"),
        ((502, {}, b""), "no server answers: {url}: HTTP 502, so a proxy answers without the"),
        ((200, {}, b"<html>"), "{url} does not answer as ComfyUI does"),
        ((200, {}, b"[]"), "{url} does not answer as ComfyUI does"),
        ((200, {}, b"{}"), "{url} does not answer as ComfyUI does"),
    ],
)
def test_what_a_server_answers_is_told(command, capsys, answer, says):
    with Gate(lambda _asked: answer) as gate:
        assert main(command("--server", gate.url)) == 2
        assert says.format(url=gate.url) in capsys.readouterr().err


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"a": 0}', b'{"queue_running": [1]}', b"0"])
def test_an_answer_of_another_shape_is_no_crash(answer):
    with Gate(lambda _asked: (200, {}, answer)) as gate:
        client = ComfyClient(gate.url)
        asking = [
            client.queued,
            lambda: client.submit({}, {}),
            lambda: client.upload("a.png", b"", ""),
        ]
        if answer != b"{}":
            asking.append(lambda: client.succeeded(1))
        for ask in asking:
            with pytest.raises(ServerRefused, match="is not ComfyUI's answer"):
                ask()


def test_why_a_server_does_not_answer_is_told(command, certificate, capsys):
    with Gate(comfyui) as plain, Gate(comfyui, certificate[0]) as secret:
        wrong_name = secret.url.replace("localhost", "127.0.0.1")
        for url, more, says in (
            (
                "http://no-such-host.invalid",
                (),
                "the name no-such-host.invalid cannot be looked up",
            ),
            (secret.url, (), "certificate is not trusted (unable to get local issuer certificate)"),
            (wrong_name, ("--ca-file", str(certificate[1])), "IP address mismatch"),
            (plain.url.replace("http", "https"), (), "no TLS connection ("),
            (secret.url.replace("https", "http"), (), "it broke off, or does not speak http there"),
            (plain.url, ("--ca-file", __file__), "holds no certificates in PEM"),
            (plain.url, ("--ca-file", "nowhere.pem"), "nowhere.pem: No such file"),
            (plain.url, ("--auth-file", "nowhere"), "nowhere: No such file"),
        ):
            assert main(command("--server", url, *more)) == 2
            said = capsys.readouterr().err
            assert says in said
            assert said.count("\n") == 1


@pytest.fixture
def command(tmp_path):
    """`command(*more)`: arguments for a server that is not there."""
    write_map(tmp_path / "labels" / "a.png")
    (tmp_path / "w.json").write_text(json.dumps(PROMPT))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def arguments(*more):
        paths = {"--workflow": "w.json", "--labels": "labels", "--out": "out"}
        words = [word for key, name in paths.items() for word in (key, str(tmp_path / name))]
        return ["generate", *words, "--server", f"127.0.0.1:{port}", *more]

    return arguments


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "no server answers"),
        (("--out", "{}/labels/out"), "labels/out lies in "),
        (("--out", "{}/w.json"), "is a file; expected a folder"),
        (("--labels", "{}/nowhere"), "'nowhere' does not exist"),
        (("--workflow", "{}/nothing.json"), "No such file"),
        (("--balance", "--per-map", "2"), "--balance needs --palette"),
    ],
)
def test_wrong_input_ends_in_one_line(command, tmp_path, capsys, more, says):
    assert main(command(*(word.format(tmp_path) for word in more))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "out").exists()
