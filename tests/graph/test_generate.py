"""`python -m prior_tools generate` against real servers: order, restarts, kills, messages.

Most of it runs a workflow without a model: the inverted label map beside a picture in a color that
the seed decides, so that an image shows which label map and which seed it was made of.
"""

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import trustme
from PIL import Image

from dev.comfyui import REPOSITORY
from dev.gate import Gate, passing_on
from dev.graph import Graph
from dev.interrupts import heeded_by_commands
from dev.server import ComfyServer, host_environment
from dev.workspace import make_workspace
from prior_tools import PALETTES
from prior_tools.cli import main
from prior_tools.generating.driver import SUBFOLDER
from prior_tools.generating.jobs import image_seed
from prior_tools.labels.palette_colors import bit_color

pytestmark = pytest.mark.slow

SIDE = 32
MANIFEST = "manifest.jsonl"


@pytest.fixture(scope="module")
def other(comfy_dir, tmp_path_factory):
    """A server of this module alone, which tests may kill."""
    with ComfyServer(comfy_dir, make_workspace(tmp_path_factory.mktemp("other"), REPOSITORY)) as it:
        yield it


def seen_graph() -> Graph:
    """Label map and seed as the two halves of an image."""
    graph = Graph()
    label = graph.add("LoadImage", title="Label map", image="none.png")
    seed = graph.add("PrimitiveInt", title="Seed", value=1)
    size = graph.add("GetImageSize", title="Size", image=label)
    color = graph.add(
        "EmptyImage",
        title="Seed's color",
        width=SIDE,
        height=SIDE,
        batch_size=size.out(2),
        color=seed,
    )
    both = graph.add(
        "ImageStitch",
        title="Both",
        image1=graph.add("ImageInvert", title="Invert", image=label),
        image2=color,
        direction="right",
        match_image_size=False,
        spacing_width=0,
        spacing_color="white",
    )
    graph.add("SaveImage", title="Save", images=both, filename_prefix="generate/seen")
    return graph


UI_LINKS = [
    [1, 1, 0, 3, 0, "IMAGE"],
    [2, 1, 0, 4, 0, "IMAGE"],
    [3, 4, 2, 5, 0, "INT"],
    [4, 2, 0, 5, 1, "INT"],
    [5, 3, 0, 6, 0, "IMAGE"],
    [6, 5, 0, 6, 1, "IMAGE"],
    [7, 6, 0, 7, 0, "IMAGE"],
]


def ui_workflow() -> dict:
    """The same as ComfyUI's Save writes it, with a spacing of 4 instead of 0."""

    def node(number, kind, title, values, inputs=(), outputs=()):
        return {
            "id": number,
            "type": kind,
            "title": title,
            "mode": 0,
            "widgets_values": values,
            "inputs": [
                {"name": name, "type": t, "link": link, **({"widget": {"name": name}} if w else {})}
                for name, t, link, w in inputs
            ],
            "outputs": [{"name": t, "type": t, "links": links} for t, links in outputs],
        }

    image, integer = "IMAGE", "INT"
    nodes = [
        node(1, "LoadImage", "Label map", ["none.png", "image"], (), [(image, [1, 2])]),
        node(2, "PrimitiveInt", "Seed", [1, "randomize"], (), [(integer, [4])]),
        node(3, "ImageInvert", "Invert", [], [("image", image, 1, False)], [(image, [5])]),
        node(
            4,
            "GetImageSize",
            "Size",
            [],
            [("image", image, 2, False)],
            [(integer, None), (integer, None), (integer, [3])],
        ),
        node(
            5,
            "EmptyImage",
            "Seed's color",
            [SIDE, SIDE, 1, 0],
            [("batch_size", integer, 3, True), ("color", integer, 4, True)],
            [(image, [6])],
        ),
        node(
            6,
            "ImageStitch",
            "Both",
            ["right", False, 4, "white"],
            [("image1", image, 5, False), ("image2", image, 6, False)],
            [(image, [7])],
        ),
        node(7, "SaveImage", "Save", ["generate/seen"], [("images", image, 7, False)]),
    ]
    return {"nodes": nodes, "links": UI_LINKS, "version": 0.4, "last_node_id": 7, "last_link_id": 7}


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    """40 label maps of noise; 00 and 01 are equal, 7 and 8 are wider, 9 is in a subfolder."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "sub").mkdir()
    draw = np.random.default_rng(3)
    first = None
    for i in range(40):
        width = SIDE + 16 if i in (7, 8) else SIDE
        picture = Image.fromarray(draw.integers(0, 256, (SIDE, width, 3), np.uint8))
        first = first or picture
        picture = first if i == 1 else picture
        picture.save(folder / ("sub" if i == 9 else "") / f"{i:02}.png")
    return folder


@pytest.fixture
def few(labels, tmp_path) -> Path:
    """The first ten of the label maps."""
    folder = tmp_path / "few"
    for path in sorted(labels.rglob("0*.png")):
        target = folder / path.relative_to(labels)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def command(tmp_path):
    """`command(workflow, labels, out, *servers, more=())`: the arguments of the command."""

    def arguments(workflow, labels, out, *servers, more=()) -> list[str]:
        prompt = workflow.prompt if isinstance(workflow, Graph) else workflow
        path = tmp_path / "workflow.json"
        path.write_text(json.dumps(prompt), encoding="utf-8")
        start = [sys.executable, "-m", "prior_tools", "generate"]
        paths = ["--workflow", str(path), "--labels", str(labels), "--out", str(out)]
        return [*start, *paths, "--server", *(s.url for s in servers), *more]

    return arguments


def run(command: list[str], code: int = 0) -> subprocess.CompletedProcess:
    ended = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=host_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


def started(command: list[str], log: Path) -> subprocess.Popen:
    with log.open("wb") as file, heeded_by_commands():
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=host_environment(), stdout=file, stderr=file
        )


def entries(out: Path) -> list[dict]:
    """Of whole lines of the manifest."""
    with contextlib.suppress(FileNotFoundError):
        lines = (out / MANIFEST).read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]
    return []


def await_images(out: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while len(entries(out)) < count:
        assert process.poll() is None, "the command ended before it could be stopped"
        assert time.monotonic() < deadline, "the command did not get on"
        time.sleep(0.01)


def check_images(out: Path, labels: Path, per_map: int, spacing: int = 0, seed: int = 0) -> None:
    """Every image is there once, of its own label map and of the seed that the manifest gives."""
    stems = {path.relative_to(labels).with_suffix("").as_posix() for path in labels.rglob("*.png")}
    expected = sorted(f"{stem}_{k:02}.png" for stem in stems for k in range(per_map))
    found = entries(out)
    assert sorted(entry["file"] for entry in found) == expected
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png")) == expected
    assert not list(out.rglob("*.part"))
    for entry in found:
        label = np.asarray(Image.open(labels / entry["label_map"])).astype(int)
        image = np.asarray(Image.open(out / entry["file"])).astype(int)
        assert entry["file"] == f"{entry['label_map'][:-4]}_{entry['k']:02}.png"
        if entry["batch"] == 1:
            assert entry["seed"] == image_seed(seed, entry["label_map"][:-4], entry["k"])
        # The host cuts off fractions when it makes bytes.
        assert np.abs(image[:, : label.shape[1]] - (255 - label)).max() <= 1
        color = [entry["seed"] >> shift & 255 for shift in (16, 8, 0)]
        assert np.abs(image[:, label.shape[1] + spacing :] - color).max() <= 1


def pixels_of(path: Path) -> tuple[tuple[int, int], bytes]:
    with Image.open(path) as picture:
        return picture.size, picture.convert("RGB").tobytes()


def log_of_prompts(server: ComfyServer) -> int:
    return server.log_text().count("got prompt")


def test_every_image_is_of_its_label_map_and_seed_and_none_is_made_twice(
    server, command, few, tmp_path
):
    out, folder = tmp_path / "out", server.base / "input" / "scp_generate"
    # Of other tests on this server, whose first frames may be alike.
    others = set(folder.iterdir()) if folder.exists() else set()
    again = command(seen_graph(), few, out, server, more=("--per-map", "2", "--seed", "4"))
    said = run(again)
    assert f"made 20 images in {out}" in said.stdout
    assert "img/s" in said.stderr
    check_images(out, few, 2, seed=4)
    # The label maps lie in a folder of their own, each content once: 00 and 01 are equal.
    sent = [pixels_of(p) for p in set(folder.iterdir()) - others]
    assert len(sent) == len(set(sent))
    assert {pixels_of(path) for path in few.rglob("*.png")} <= {
        *sent,
        *(pixels_of(p) for p in others),
    }

    before, prompts = (out / MANIFEST).read_bytes(), log_of_prompts(server)
    run(again)
    assert (out / MANIFEST).read_bytes() == before
    assert log_of_prompts(server) == prompts
    (out / "03_01.png").unlink()
    run(again)
    check_images(out, few, 2, seed=4)
    assert log_of_prompts(server) == prompts + 1
    # More of each is no change of those that are there.
    run([*again, "--per-map", "3"])
    check_images(out, few, 3, seed=4)
    assert log_of_prompts(server) == prompts + 1 + 10

    said = run([*again, "--seed", "5", "--set", "Both.spacing_width=2"], 2).stderr
    assert "seed was 4 and is 5" in said
    assert "input 'spacing_width' of node 'Both' was 0 and is 2" in said
    (few / "05.png").write_bytes((few / "04.png").read_bytes())
    (few / "06.png").unlink()
    said = run(again, 2).stderr
    assert "1 label map is changed (05.png)" in said
    assert "1 label map is gone (06.png)" in said


@pytest.mark.parametrize("palette", [None, "grey_ids"])
def test_label_files_of_every_kind_arrive_as_their_ids(server, command, tmp_path, palette):
    """The host itself reads some of them otherwise, or not at all."""
    ids = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 256
    grey = Image.fromarray(ids.astype(np.uint8))
    folder = tmp_path / "labels"
    folder.mkdir()
    grey.save(folder / "grey.png")
    Image.fromarray(ids.astype(np.uint16)).save(folder / "deep.png")
    Image.fromarray(ids.astype(np.int32)).save(folder / "wide.tif")
    grey.convert("RGB").save(folder / "exif.png", exif=b"Exif\0\0XX\0*\0\0\0\x08\0\0")
    if palette:
        grey.putpalette([level for i in range(256) for level in bit_color(i)])
        grey.save(folder / "table.png")
    out = tmp_path / "out"
    again = command(seen_graph(), folder, out, server)
    run([*again, *(("--palette", palette) if palette else ())])
    found = sorted(out.glob("*.png"))
    assert len(found) == len(list(folder.iterdir()))
    for path in found:
        image = np.asarray(Image.open(path)).astype(int)[:, :SIDE]
        # The host cuts off fractions when it makes bytes.
        assert np.abs(image - (255 - ids[..., None])).max() <= 1, path.name
    said = run([*again, "--palette", "camvid"], 2).stderr
    assert "holds class ids 12, 13" in said


@pytest.mark.parametrize("size", [3, 16])
def test_in_a_batch_each_image_is_of_its_own_label_map(server, command, few, tmp_path, size):
    out = tmp_path / "out"
    prompts = log_of_prompts(server)
    run(command(seen_graph(), few, out, server, more=("--per-map", "2", "--batch", str(size))))
    check_images(out, few, 2)
    # Eight maps of one size, two of another.
    assert log_of_prompts(server) == prompts + 2 * {3: 3 + 1, 16: 1 + 1}[size]
    found = entries(out)
    for entry in found:
        same = [e for e in found if (e["seed"], e["k"]) == (entry["seed"], entry["k"])]
        assert len(same) == entry["batch"] <= size
        first = next(e for e in same if e["index_in_batch"] == 0)
        assert entry["seed"] == image_seed(0, first["label_map"][:-4], entry["k"])
        assert [e["index_in_batch"] for e in same] == list(range(len(same)))


def test_mirrored_and_balanced_images_are_made_summed_up_and_exported(server, command, tmp_path):
    folder, out = tmp_path / "labels", tmp_path / "out"
    folder.mkdir()
    for name, classes in (("a", (3, 3, 3, 8)), ("b", (3, 3, 0, 0)), ("c", (3, 0, 5, 5))):
        ids = np.repeat(np.array([classes], np.uint8), SIDE // 4, axis=1).repeat(SIDE, axis=0)
        Image.fromarray(ids).save(folder / f"{name}.png")
    more = ("--palette", "camvid", "--per-map", "3", "--mirror", "--balance", "car=0.4")
    said = run(command(seen_graph(), folder, out, server, more=more)).stdout
    assert "made 18 images" in said and re.search(r"8 car +8\.\d+% +40\.00% +\d+\.\d+%", said)
    counts = Counter(entry["label_map"] for entry in entries(out))
    assert min(counts.values()) >= 1 and len(counts) == 6
    assert counts["a.png"] == counts["a_mirrored.png"] == max(counts.values())
    for entry in entries(out):
        stem = entry["label_map"][:-4]
        ids = np.asarray(Image.open(folder / f"{stem[0]}.png")).astype(np.int64)
        ids = ids[:, ::-1].copy() if stem.endswith("_mirrored") else ids
        want = 255 - PALETTES["camvid"].paint(torch.from_numpy(ids)).numpy().astype(int)
        image = np.asarray(Image.open(out / entry["file"])).astype(int)[:, :SIDE]
        assert np.abs(image - want).max() <= 1
    rows = {row["id"]: row for row in json.loads((out / "generate.json").read_text())["balance"]}
    assert rows[8]["wanted"] == 0.4 and rows[8]["in_label_maps"] < rows[8]["got"] < 0.4

    # Fewer of a label map than are there.
    again = command(seen_graph(), folder, out, server, more=(*more[:5], "--per-map", "1"))
    said = run(again).stderr
    assert f"also holds {18 - 6} images made before" in said

    words = ["--generated", str(out), "--labels", str(folder), "--palette", "camvid"]
    words += ["--format", "pairs", "--out", str(tmp_path / "data")]
    assert main(["export", *words]) == 0
    data = json.loads((tmp_path / "data/dataset.json").read_text())
    assert data["images"] == {"train": 18} and data["generator"]["seed"] == 0
    lines = (tmp_path / "data" / MANIFEST).read_text().splitlines()
    assert {(line["image"], line["seed"]) for line in map(json.loads, lines)} == {
        (entry["file"], entry["seed"]) for entry in entries(out)
    }


def test_a_workflow_as_comfyui_saves_it(server, command, few, tmp_path):
    pytest.importorskip("comfy_cli")
    out = tmp_path / "out"
    again = command(ui_workflow(), few, out, server, more=("--batch", "4"))
    run(again)
    check_images(out, few, 1, spacing=4)
    run(again)
    said = run([*again, "--set", "Both.spacing_width=2"], 2).stderr
    assert "input 'spacing_width' of node 'Both' was 4 and is 2" in said


def test_two_servers_share_the_work(server, other, command, labels, tmp_path):
    out = tmp_path / "out"
    before = [log_of_prompts(each) for each in (server, other)]
    run(command(seen_graph(), labels, out, server, other, more=("--per-map", "2")))
    check_images(out, labels, 2)
    shares = [log_of_prompts(e) - n for e, n in zip((server, other), before, strict=True)]
    assert sum(shares) == 80
    assert min(shares) > 10


def kill(server: ComfyServer) -> None:
    """SIGKILL for ComfyUI itself, as the system does it when memory runs out."""
    (process,) = [
        child
        for child in psutil.Process().children(recursive=True)
        if "main.py" in " ".join(child.cmdline()[1:2]) and str(server.port) in child.cmdline()
    ]
    process.kill()
    process.wait(30)
    server.stop()


def start_again(server: ComfyServer) -> None:
    """On the port that it had."""
    server.start(port=server.port)


def test_a_server_that_is_killed_and_started_again_costs_no_image_and_repeats_none(
    other, command, labels, tmp_path
):
    out, log = tmp_path / "out", tmp_path / "log"
    more = ("--per-map", "4", "--depth", "3", "--patience", "120")
    process = started(command(seen_graph(), labels, out, other, more=more), log)
    try:
        await_images(out, 20, process)
        kill(other)
        count = len(entries(out))
        assert count < 160
        time.sleep(1)
        assert process.poll() is None
        start_again(other)
        assert process.wait(120) == 0, log.read_text()
    finally:
        process.kill()
    assert "waiting up to 120 s" in log.read_text()
    check_images(out, labels, 4)


def test_a_server_that_stays_away_ends_the_run_and_the_others_take_its_share(
    server, other, command, labels, tmp_path
):
    out, log = tmp_path / "out", tmp_path / "log"
    alone = command(seen_graph(), labels, out, other, more=("--per-map", "4", "--patience", "2"))
    process = started(alone, log)
    try:
        await_images(out, 10, process)
        kill(other)
        assert process.wait(30) == 1
        said = " ".join(log.read_text().split())
        assert "was away for 2 s" in said
        assert "no other server is left" in said
        assert f"made {len(entries(out))} of 160 images;" in said
        start_again(other)
        both = command(
            seen_graph(), labels, out, other, server, more=("--per-map", "4", "--patience", "2")
        )
        process = started(both, log)
        await_images(out, 80, process)
        kill(other)
        assert process.wait(120) == 0, log.read_text()
    finally:
        process.kill()
        # For the tests after this one.
        other.stop()
        start_again(other)
    check_images(out, labels, 4)


def test_a_command_that_is_killed_goes_on_without_repeating(server, command, labels, tmp_path):
    out = tmp_path / "out"
    more = ("--per-map", "3", "--batch", "2", "--depth", "8")
    again = command(seen_graph(), labels, out, server, more=more)
    prompts = log_of_prompts(server)
    for count in (9, 40):
        process = started(again, tmp_path / "log")
        await_images(out, count, process)
        process.kill()
        process.wait(30)
    run(again)
    check_images(out, labels, 3)
    # What was queued when the command was killed was taken over: 37 + 2 + 1 maps of three shapes
    # make 20 prompts for each of the three images, and at most one a kill was on its way.
    assert 60 <= log_of_prompts(server) - prompts <= 62


@pytest.mark.skipif(os.name == "nt", reason="signals to one process need POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_cleanly_says_how_to_go_on_and_leaves_the_queue_empty(
    server, command, labels, tmp_path, number
):
    out, log = tmp_path / "out", tmp_path / "log"
    again = command(seen_graph(), labels, out, server, more=("--per-map", "4", "--depth", "20"))
    process = started(again, log)
    await_images(out, 10, process)
    process.send_signal(number)
    assert process.wait(30) == 130
    said = log.read_text()
    assert f"stopped after {len(entries(out))} of 160 images" in said
    assert "start the same command again" in said
    assert "Traceback" not in said
    assert server.queued()[1] == set()
    run(again)
    check_images(out, labels, 4)


def test_an_error_of_a_node_stops_the_run_with_its_title(server, command, few, tmp_path):
    """Of a picture so small that a thirtieth of it has no pixel."""
    Image.new("RGB", (8, 8)).save(few / "06.png")
    graph, out = seen_graph(), tmp_path / "out"
    label = next(i for i, n in graph.prompt.items() if n["class_type"] == "LoadImage")
    tiny = graph.add(
        "ImageScaleBy", title="Tiny", image=[label, 0], upscale_method="area", scale_by=0.03
    )
    graph.add("PreviewImage", title="Look", images=tiny)
    said = run(command(graph, few, out, server, more=("--output-node", "Save")), 1).stderr
    assert "06_00.png: node 'Look' (PreviewImage) failed: ValueError" in said
    assert "made 6 of 10 images; once that is mended, start the same command again" in said
    assert [entry["file"] for entry in entries(out)] == [f"{i:02}_00.png" for i in range(6)]


def test_a_file_that_is_no_picture_is_told_before_anything_is_made(server, command, few, tmp_path):
    (few / "06.png").write_bytes(b"no picture")
    said = run(command(seen_graph(), few, tmp_path / "out", server), 2).stderr
    assert "label map 06.png cannot be read: it is not a picture" in said
    assert not (tmp_path / "out").exists()


def test_what_the_server_refuses_is_told_with_titles(server, command, few, tmp_path):
    more = ("--set", "Both.spacing_width=100000", "--set", "Save.filename_prefix=12")
    said = run(command(seen_graph(), few, tmp_path / "out", server, more=more), 1).stderr
    assert "00_00.png: the server refused the prompt: node 'Both' (ImageStitch)" in said
    assert "bigger than max" in said
    assert "made 0 of 10 images;" in said


def test_titles_and_outputs_that_do_not_fit_are_told_before_anything_is_made(
    server, command, few, tmp_path
):
    graph = seen_graph()
    graph.add("PreviewImage", title="Look", images=["1", 0])
    out = tmp_path / "out"
    said = run(command(graph, few, out, server), 2).stderr
    assert "2 nodes save or preview images: 'Save', 'Look'; choose by --output-node" in said
    said = run(command(graph, few, out, server, more=("--set", "Both.spacing=1")), 2).stderr
    assert "has no input 'spacing'; it has direction, match_image_size, spacing_width" in said
    assert not out.exists()
    run(command(graph, few, out, server, more=("--output-node", "Look")))
    found = entries(out)
    assert len(found) == 10
    for entry in found:
        label = np.asarray(Image.open(few / entry["label_map"])).astype(int)
        assert np.abs(np.asarray(Image.open(out / entry["file"])) - label).max() <= 1


def test_a_batch_of_the_wrong_size_is_told(server, command, few, tmp_path):
    graph = seen_graph()
    (color,) = [n for n in graph.prompt.values() if n["class_type"] == "EmptyImage"]
    color["inputs"]["batch_size"] = 3
    said = run(command(graph, few, tmp_path / "out", server), 1).stderr
    assert "node 'Save' (SaveImage) gave 3 images for 1 label map of" in said


def test_each_label_map_is_read_and_sent_once_however_many_images_and_servers(
    server, other, command, few, tmp_path, monkeypatch
):
    read, open_file = Counter(), Path.open

    def counting(path, *more, **options):
        read[path] += 1
        return open_file(path, *more, **options)

    out = tmp_path / "out"
    with Gate(passing_on(server.url)) as one, Gate(passing_on(other.url)) as two:
        monkeypatch.setattr(Path, "open", counting)
        assert main(command(seen_graph(), few, out, one, two, more=("--per-map", "4"))[3:]) == 0
        monkeypatch.undo()
        shares = [Counter(asked.path for asked in gate.asked) for gate in (one, two)]
    check_images(out, few, 4)
    paths = sorted(few.rglob("*.png"))
    # Once to know it by its content, once to see that it can be sent, before any is, and once to
    # send it. 00 and 01 have the same content.
    assert sum(read[path] for path in paths) == 3 * len(paths) - 1
    assert sum(share["/prompt"] for share in shares) == 4 * len(paths)
    assert all(0 < share["/upload/image"] <= len(paths) - 1 for share in shares)


def test_a_label_map_that_another_server_is_writing_has_its_own_name_all_the_same(
    server, command, few, tmp_path
):
    """Servers of a machine share its input folder."""
    here = passing_on(server.url)
    folder = server.base / "input" / SUBFOLDER
    folder.mkdir(exist_ok=True)
    half_there = []

    def answer(asked):
        if asked.path != "/upload/image" or half_there:
            return here(asked)
        head, _, rest = asked.body.partition(b"\r\n\r\n\x89PNG")
        name = head.rpartition(b'filename="')[2].partition(b'"')[0].decode()
        half_there.append(name)
        whole = b"\x89PNG" + rest.rpartition(b"\r\n--")[0]
        (folder / name).write_bytes(whole[:40])
        answered = here(asked)
        (folder / name).write_bytes(whole)
        return answered

    out = tmp_path / "out"
    with Gate(answer) as gate:
        run(command(seen_graph(), few, out, gate))
    check_images(out, few, 1)
    used = [json.loads(Image.open(path).info["prompt"]) for path in out.glob("*.png")]
    names = [n["inputs"]["image"] for p in used for n in p.values() if "image" in n["inputs"]]
    assert f"{SUBFOLDER}/{half_there[0]}" in names
    assert not [name for name in names if "(1)" in str(name)]


def test_through_a_gate_that_wants_a_token_and_nothing_tells_the_token(
    server, command, few, tmp_path
):
    token = "hunter2hunter2"
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "auth").write_text(f"bearer {token}")
    out, log = tmp_path / "out", tmp_path / "log"
    more = ("--ca-file", str(tmp_path / "ca.pem"), "--auth-file", str(tmp_path / "auth"))
    with Gate(passing_on(server.url, f"Bearer {token}"), tls) as gate:
        said = run(command(seen_graph(), few, out, gate), 2).stderr
        assert "its TLS certificate is not trusted" in said
        assert "--ca-file" in said
        said = run(command(seen_graph(), few, out, gate, more=more[:2]), 2).stderr
        assert "HTTP 401" in said
        assert "--auth-file" in said
        process = started(command(seen_graph(), few, out, gate, more=more), log)
        await_images(out, 1, process)
        shown = " ".join(psutil.Process(process.pid).cmdline())
        assert process.wait(60) == 0, log.read_text()
    check_images(out, few, 1)
    told = [log, *(path for path in out.rglob("*") if path.is_file())]
    assert not any(token.encode() in path.read_bytes() for path in told)
    assert token not in shown + server.log_text()


@pytest.mark.parametrize("palette", ["pascal_voc", "grey_ids"])
@pytest.mark.parametrize("batch", ["1", "2"])
def test_load_scp_label_map_takes_what_is_sent(server, command, tmp_path, palette, batch):
    """Files of ids, of 16 bits and with a color table, arrive as their own classes' colors."""
    labels, colors = tmp_path / "labels", PALETTES[palette]
    labels.mkdir()
    ids = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 21
    Image.fromarray(ids.astype(np.uint16)).save(labels / "wide.png")
    tabled = Image.fromarray(ids.astype(np.uint8).T.copy())
    tabled.putpalette([level for i in range(256) for level in bit_color(i)])
    tabled.save(labels / "voc.png")
    graph = seen_graph()
    graph.prompt["1"]["class_type"] = "SCP_LoadLabelMap"
    graph.prompt["1"]["inputs"]["palette"] = palette
    out = tmp_path / "out"
    run(command(graph, labels, out, server, more=("--palette", palette, "--batch", batch)))
    for name, own in (("wide", ids), ("voc", ids.T)):
        seen = 255 - np.asarray(Image.open(out / f"{name}_00.png"))[:, :SIDE].astype(int)
        painted = colors.paint(torch.from_numpy(own.astype(np.int64))).numpy().astype(int)
        assert np.abs(seen - painted).max() <= 1


@pytest.fixture
def unlabelled(street, tmp_path) -> Path:
    """Four label maps, the upper five eighths of two of them without a class."""
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    for i, path in enumerate(sorted((street.base / "input" / street.folder / "labels").iterdir())):
        if i < 4:
            picture = np.array(Image.open(path).convert("RGB"))
            if i % 2:
                picture[: picture.shape[0] * 5 // 8] = 0
            Image.fromarray(picture).save(folder / f"{i}.png")
    return folder


def warned_graph(street) -> Graph:
    """A draw and a conversion that do not depend on the seed, so that a server keeps them."""
    graph = Graph()
    label = graph.add("LoadImage", title="Label map", image="none.png")
    prior = graph.add("SCP_LoadPrior", prior_name=street.prior)
    draw = {"mode": "joint", "noise": "grain", "deviation": 1.0, "seed": 5, "batch_size": 1}
    latent = graph.add("SCP_JointPriorNoise", title="Draw", prior=prior, label_image=label, **draw)
    seed = graph.add("PrimitiveInt", title="Seed", value=0)
    noisy = graph.add("LatentBlend", samples1=latent, samples2=latent, blend_factor=0.5)
    other = graph.add(
        "SCP_ConvertLabelMap",
        title="Convert",
        label_image=label,
        palette_from="cityscapes",
        palette_to="camvid",
        changes="road = none",
    )
    color = graph.add("EmptyImage", width=SIDE, height=SIDE, batch_size=1, color=seed)
    join = {"direction": "right", "match_image_size": False}
    join |= {"spacing_width": 0, "spacing_color": "white"}
    both = graph.add("ImageStitch", image1=other, image2=color, **join)
    graph.add("SaveImage", title="Save", images=both, filename_prefix="generate/warned")
    graph.add("SaveLatent", samples=noisy, filename_prefix="generate/warned")
    return graph


def test_what_nodes_warn_of_is_counted_told_and_recorded_also_when_a_run_goes_on(
    server, street, command, unlabelled, tmp_path
):
    graph, warned = warned_graph(street), "places without a class"
    for out in (tmp_path / "out", tmp_path / "another"):
        again = command(graph, unlabelled, out, server, more=("--per-map", "3", "--depth", "1"))
        # Of what a first command has made, one image is lost.
        run(again[:-4])
        (out / "1_00.png").unlink()
        said = run(again).stderr
        told = [line for line in said.splitlines() if line.startswith("warning: ")]
        (line,) = (x for x in told if warned in x)
        assert line.startswith(f"warning: 6 of 12 images: node 'Draw': {warned}. 6")
        assert line.endswith(
            "% of the label map is unlabelled; these places take the spatial prior (3_00.png)"
        )
        assert any("12 of 12 images: node 'Convert': classes that the other" in x for x in told)
        recorded = json.loads((out / "generate.json").read_text())["warnings"]
        counts = {(count["node"], count["kind"]): count["images"] for count in recorded}
        assert counts["Draw", warned] == 6
        assert counts["Convert", "classes that the other palette does not have"] == 12
        for entry in entries(out):
            kinds = {(warning["node"], warning["kind"]) for warning in entry["warnings"]}
            assert (("Draw", warned) in kinds) == (entry["label_map"] in ("1.png", "3.png"))


def test_a_node_that_runs_over_a_list_tells_the_warnings_of_all_of_it(server, street, unlabelled):
    graph = Graph()
    prior = graph.add("SCP_LoadPrior", prior_name=street.prior)
    names = [server.upload_image(unlabelled / f"{i}.png", f"list_{i}.png") for i in (0, 1, 3)]
    first, *others = [graph.add("LoadImage", image=name) for name in names]
    for other in others:
        first = graph.add("ImageBatch", image1=first, image2=other)
    each = graph.add("RebatchImages", images=first, batch_size=1)
    draw = {"mode": "joint", "noise": "grain", "deviation": 1.0, "seed": 5, "batch_size": 1}
    latent = graph.add("SCP_JointPriorNoise", prior=prior, label_image=each, **draw)
    graph.add("SaveLatent", samples=latent, filename_prefix="generate/list")
    told = server.run(graph.prompt)["outputs"][latent.id]["scp_warnings"]
    assert [kind for kind, _text in told].count("places without a class") == 2


def test_the_prior_the_controlnet_and_the_sampler_in_batches(
    server, street, start, command, tmp_path
):
    ready = start(street)
    graph = ready.graph
    prompt = graph.prompt
    (label,) = [n for n in prompt.values() if n["class_type"] == "LoadImage"]
    label["_meta"] = {"title": "Label map"}
    (noise,) = [n for n in prompt.values() if n["class_type"] == "SCP_JointPriorNoise"]
    seed = graph.add("PrimitiveInt", title="Seed", value=0)
    noise["inputs"]["seed"] = seed.out()
    sampler = ready.sampler(seed=seed, steps=2)
    prompt[sampler.id]["_meta"] = {"title": "Sampler"}
    image = graph.add("VAEDecode", vae=ready.model.vae, samples=sampler)
    graph.add("PreviewImage", title="Images", images=image)

    labels = tmp_path / "labels"
    labels.mkdir()
    for path in sorted((street.base / "input" / street.folder / "labels").iterdir())[:3]:
        Image.open(path).convert("RGB").save(labels / path.name)
    out = tmp_path / "out"
    more = ("--per-map", "2", "--batch", "2", "--set", "Sampler.mu=0.6")
    run(command(graph, labels, out, server, more=more))
    found = entries(out)
    assert len(found) == 6
    assert all(entry["settings"] == {"Sampler.mu": 0.6} for entry in found)
    pictures = {np.asarray(Image.open(out / e["file"])).tobytes() for e in found}
    assert len(pictures) == 6
