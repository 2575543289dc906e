"""Laws of `generate` that need no server: what is set, what is made, and what is made again."""

import copy
import io
import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from prior_tools.cli import main
from prior_tools.errors import PriorError
from prior_tools.generating import manifest as records
from prior_tools.generating.animated_png import animated_png
from prior_tools.generating.comfy_client import server_url
from prior_tools.generating.jobs import MAX_SEED, Job, image_seed, plan
from prior_tools.generating.label_maps import LabelMap, find_label_maps, upload_of
from prior_tools.generating.manifest import Manifest
from prior_tools.generating.prepared_workflow import prepare_workflow
from prior_tools.generating.titled_inputs import find_input, split_setting, typed_value
from prior_tools.generating.work import MOST_LOSSES, GenerationStopped, Work
from prior_tools.generating.workflow_file import as_prompt, read_workflow


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
    with pytest.raises(PriorError, match=r"scp-diff\[generate\].*Export \(API\)"):
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
    return find_label_maps(folder)


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


def test_label_maps_whose_images_would_share_a_name_are_refused(tmp_path):
    write_map(tmp_path / "a.png")
    write_map(tmp_path / "a.bmp")
    with pytest.raises(PriorError, match=r"a\.bmp and a\.png"):
        find_label_maps(tmp_path)


def test_maps_of_sixteen_bits_go_alone(tmp_path):
    Image.fromarray(np.full((4, 6), 1000, np.uint16)).save(tmp_path / "a.png")
    maps = find_label_maps(tmp_path)
    assert len(plan(maps, 1, 1, 0)) == 1
    with pytest.raises(PriorError, match="more than 8 bits a channel"):
        plan(maps, 1, 2, 0)


def test_maps_are_sent_together_as_they_are_shown(tmp_path):
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
    maps = find_label_maps(tmp_path / "maps")
    groups = [job.label_maps for job in plan(maps, 1, 4, 0)]
    assert [[m.stem for m in group] for group in groups] == [["a", "b"], ["more/png", "more/tif"]]
    for group, want in zip(groups, (pixels, np.rot90(pixels, -1)), strict=True):
        with Image.open(io.BytesIO(upload_of(group)[1])) as picture:
            for frame in ImageSequence.Iterator(picture):
                assert np.array_equal(np.array(frame), want)


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
    one, two = upload_of(same[:1]), upload_of(same)
    assert one[1] == same[0].path.read_bytes()
    assert len({one[0], two[0], upload_of(same[::-1])[0]}) == 3
    with Image.open(io.BytesIO(two[1])) as picture:
        read = [np.array(frame) for frame in ImageSequence.Iterator(picture)]
    for frame, label_map in zip(read, same, strict=True):
        assert np.array_equal(frame, np.array(Image.open(label_map.path).convert("RGB")))


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
        assert first.add(job, [b"image"]) == 1
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
            again.add(job, [b"image"])
    assert again.add(jobs[0], [b"another"]) == 0
    assert sorted(entries_of(folder)) == names
    assert all((folder / name).read_bytes() == b"image" for name in names)


def test_a_line_says_what_its_image_was_made_of(tmp_path):
    manifest = Manifest(tmp_path, {"Sampler.mu": 0.6})
    manifest.add(job_of("a", k=3, seed=8), [b"old"])
    batch = job_of("a", "sub/b", k=3, seed=9)
    # Of the batch one image is there, from a run with another --per-map or a kill.
    assert manifest.add(batch, [b"new", b"image"]) == 1
    assert (tmp_path / "a_03.png").read_bytes() == b"old"
    shared = {"k": 3, "settings": {"Sampler.mu": 0.6}}
    assert rows_of(tmp_path) == [
        {
            "file": "a_03.png",
            "label_map": "a.png",
            "seed": 8,
            "index_in_batch": 0,
            "batch": 1,
            **shared,
        },
        {
            "file": "sub/b_03.png",
            "label_map": "sub/b.png",
            "seed": 9,
            "index_in_batch": 1,
            "batch": 2,
            **shared,
        },
    ]


def test_a_line_that_is_no_entry_is_named(tmp_path):
    (tmp_path / records.MANIFEST_NAME).write_text("[]\n")
    with pytest.raises(PriorError, match="line 1 of"):
        Manifest(tmp_path, {})


def run_of(*settings, seed=0, batch=1, maps=(("a", "11"), ("b", "22")), prompt=PROMPT):
    workflow = prepared(*settings, prompt=prompt)
    label_maps = [label_map(stem, sha256) for stem, sha256 in maps]
    return records.describe_run(workflow, label_maps, seed, batch)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"batch": 2}, "batch was 1 and is 2"),
        ({"maps": (("a", "11"), ("b", "33"))}, "1 label maps are changed (b.png)"),
        ({"maps": (("a", "11"),)}, "1 label maps are gone (b.png)"),
        ({"maps": (("a", "11"), ("b", "22"), ("c", "3"))}, "are new (c.png)"),
        ({"prompt": {**PROMPT, "9": node("X", "More")}}, "node 'More' is new"),
    ],
)
def test_what_changed_is_said(tmp_path, changed, says):
    run_id = records.begin_or_go_on(tmp_path, run_of(), [])
    assert records.begin_or_go_on(tmp_path, run_of(), []) == run_id
    with pytest.raises(PriorError) as error:
        records.begin_or_go_on(tmp_path, run_of(**changed), [])
    assert says in str(error.value)
    with pytest.raises(PriorError, match=r"input 'steps' of node 'Sampler v1\.5' was 20 and is 4"):
        records.begin_or_go_on(tmp_path, run_of("Sampler v1.5.steps=4"), [])
    assert records.begin_or_go_on(tmp_path, run_of(), []) == run_id


def test_the_seed_and_label_image_in_the_workflow_file_do_not_count(tmp_path):
    records.begin_or_go_on(tmp_path, run_of(), [])
    other = copy.deepcopy(PROMPT)
    other["1"]["inputs"]["image"], other["2"]["inputs"]["value"] = "new.png", 6
    records.begin_or_go_on(tmp_path, run_of(prompt=other), [])


def test_files_of_others_are_not_overwritten(tmp_path):
    (tmp_path / "a_00.png").write_bytes(b"precious")
    with pytest.raises(PriorError, match=r"holds a_00\.png already"):
        records.begin_or_go_on(tmp_path, run_of(), ["a_00.png", "a_01.png"])
    assert [path.name for path in tmp_path.iterdir()] == ["a_00.png"]


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


def test_addresses():
    for text in ("127.0.0.1:8188", "http://127.0.0.1:8188/"):
        assert server_url(text) == "http://127.0.0.1:8188"
    assert server_url("https://host/comfy/") == "https://host/comfy"
    for text in ("", "ftp://host", "http://", "http://u:p@host", "http://host:port", "host?x=1"):
        with pytest.raises(PriorError, match="is no address"):
            server_url(text)


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
        (("--out", "{}/labels/out"), "--out lies in --labels"),
        (("--out", "{}/w.json"), "is a file; expected a folder"),
        (("--labels", "{}/nowhere"), "'nowhere' does not exist"),
        (("--workflow", "{}/nothing.json"), "No such file"),
    ],
)
def test_wrong_input_ends_in_one_line(command, tmp_path, capsys, more, says):
    assert main(command(*(word.format(tmp_path) for word in more))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "out").exists()
