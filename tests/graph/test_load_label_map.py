"""Load SCP Label Map: a label file means in the graph what it means to a build."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dev.graph import Graph
from dev.server import ExecutionFailed, PromptRejected
from prior_tools import PALETTES
from prior_tools.datasets.label_files import read_label_file
from prior_tools.generating.animated_png import animated_png
from prior_tools.labels.palette_colors import bit_color
from prior_tools.labels.reading import LabelRules

pytestmark = pytest.mark.slow

# Each id covers a square of this many pixels.
SQUARE = 16
IDS = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(SQUARE, 0).repeat(SQUARE, 1)
VOC = [level for i in range(256) for level in bit_color(i)]


def with_table(table):
    picture = Image.fromarray(IDS).convert("P")
    picture.putdata(IDS.ravel().tolist())
    picture.putpalette(table)
    return picture


FILES = {
    "grey.png": lambda: Image.fromarray(IDS),
    "la.png": lambda: Image.merge("LA", [Image.fromarray(IDS), Image.new("L", (256, 256), 255)]),
    "grey.tif": lambda: Image.fromarray(IDS),
    "lossless.webp": lambda: Image.fromarray(np.stack([IDS] * 3, -1)),
    "wide.png": lambda: Image.fromarray(IDS.astype(np.uint16)),
    "voc.png": lambda: with_table(VOC),
    "grey_table.png": lambda: with_table([i for i in range(256) for _ in range(3)]),
    "rgb.png": lambda: Image.fromarray(np.stack([IDS] * 3, -1)),
    "grey.bmp": lambda: Image.fromarray(IDS),
    "red.png": lambda: Image.fromarray(np.stack([IDS, 0 * IDS, 0 * IDS], -1)),
}


@pytest.fixture(scope="module")
def folder(server):
    """`folder/...` below the server's input folder."""
    folder = server.base / "input" / "label_files"
    folder.mkdir()
    return folder


@pytest.fixture
def load(server):
    """`load(image, palette)`: (image, mask, history's output of the node)."""

    def run(image, palette):
        graph = Graph()
        node = graph.add("SCP_LoadLabelMap", image=image, palette=palette)
        mask = graph.add("MaskToImage", mask=node.out(1))
        seen = [
            graph.add("SaveImage", images=i, filename_prefix="label_file") for i in (node, mask)
        ]
        history = server.run(graph.prompt)
        found = server.images(history)
        image, mask = (np.stack(found[save.id]) for save in seen)
        return image, mask[..., 0] / 255, history["outputs"].get(node.id)

    return run


@pytest.mark.parametrize("name", FILES)
def test_all_256_ids_are_exact_whatever_the_file(folder, load, name):
    FILES[name]().save(folder / name, **({"lossless": True} if name.endswith("webp") else {}))
    image, mask, _ = load(f"label_files/{name}", "grey_ids")
    assert np.array_equal(image, np.stack([IDS] * 3, -1)[None])
    assert np.array_equal(mask, (IDS == 255)[None])


@pytest.mark.parametrize(
    ("palette", "highest"), [("cityscapes", 18), ("ade20k", 150), ("pascal_voc", 20)]
)
@pytest.mark.parametrize("form", ["ids", "colors", "wide"])
def test_it_reads_what_a_build_reads(folder, load, palette, highest, form):
    colors = PALETTES[palette]
    ids = torch.from_numpy(IDS.astype(np.int64)) % (highest + 1)
    pixels = {
        "ids": ids.numpy().astype(np.uint8),
        "wide": ids.numpy().astype(np.uint16),
        "colors": colors.paint(ids).numpy(),
    }[form]
    path = folder / f"{palette}_{form}.png"
    Image.fromarray(pixels).save(path)
    read = read_label_file(path, LabelRules(colors, colors.ignore_ids)).ids
    assert torch.equal(read, ids)
    image, mask, _ = load(f"label_files/{path.name}", palette)
    assert np.array_equal(image[0], colors.paint(read).numpy())
    assert np.array_equal(mask[0], np.isin(ids.numpy(), colors.ignore_ids))


def test_what_has_no_class_is_in_the_mask_and_told_with_what_fits(folder, load):
    colors = PALETTES["camvid"]
    pixels = colors.paint(torch.full((64, 128), 3)).numpy().copy()
    pixels[:, :16], pixels[:, 16:32], pixels[:, 32:48] = (255, 0, 255), (0, 0, 0), (9, 200, 9)
    Image.fromarray(pixels).save(folder / "unknown.png")
    image, mask, told = load("label_files/unknown.png", "camvid")
    assert mask[0, :, :48].all() and not mask[0, :, 48:].any()
    assert np.array_equal(image[0, :, 48:], pixels[:, 48:])
    # What is unknown is unknown again to whoever gets the image.
    assert {tuple(p) for p in image[0, :, :48].reshape(-1, 3)} == {colors.unknown_color}
    said = dict(told["scp_warnings"])
    text = said.pop("unknown colors")
    assert "25.0% of the label pixels are in no color of palette 'camvid'" in text
    assert "(255, 0, 255) 12.5%" in text
    # Black is CamVid's unlabelled.
    assert "12.5% of the label pixels are of ids that are ignored" in said.pop("ignored labels")
    assert not said


def test_a_mask_whose_foreground_is_ignored_is_told_of(folder, load):
    mask = Image.new("L", (32, 32), 0)
    mask.paste(255, (8, 8, 24, 24))
    mask.save(folder / "mask.png")
    image, _, told = load("label_files/mask.png", "grey_ids")
    assert np.array_equal(image[0, ..., 0], np.asarray(mask))
    ((kind, text),) = told["scp_warnings"]
    assert kind == "ignored labels"
    assert "(255)" in text and "a palette file in models/scp_palettes" in text


def test_it_shows_a_picture_of_the_label_map_with_its_classes(server, folder):
    FILES["grey.png"]().crop((0, 0, 128, 64)).save(folder / "shown.png")
    graph = Graph()
    node = graph.add("SCP_LoadLabelMap", image="label_files/shown.png", palette="ade20k")
    (shown,) = server.images(server.run(graph.prompt))[node.id]
    found = {tuple(p) for p in shown.reshape(-1, shown.shape[-1])[:, :3].tolist()}
    assert {PALETTES["ade20k"].colors[i] for i in (1, 7, 49)} <= found
    # As wide as a node shows it well, however large the file is.
    assert shown.shape[1] == 480


def test_frames_of_one_file_are_a_batch(server, folder, load):
    colors = PALETTES["cityscapes"]
    frames = [colors.paint(torch.full((32, 48), i)).numpy() for i in (0, 10, 10, 13)]
    (folder / "frames.png").write_bytes(animated_png(frames))
    image, mask, _ = load("label_files/frames.png", "cityscapes")
    assert np.array_equal(image, np.stack(frames))
    assert mask.shape == (4, 32, 48)


def test_a_file_is_read_again_when_it_or_its_palette_has_changed(server, folder, load):
    path = server.base / "models" / "scp_palettes" / "roofs.json"
    for red in (200, 100):
        roof = {"id": 1, "name": "roof", "color": [red, 0, 0]}
        path.write_text(json.dumps({"classes": [{"id": 0, "name": "ground"}, roof]}))
        for level in (1, 0):
            Image.new("L", (16, 16), level).save(folder / "again.png")
            image, _, _ = load("label_files/again.png", "roofs.json")
            assert bool(level) == (tuple(image[0, 0, 0]) == (red, 0, 0))
    path.unlink()


@pytest.mark.parametrize("where", ["input", "output", "temp"])
def test_names_are_annotated_as_those_of_load_image(server, load, where):
    sub = server.base / where / "label_files_sub"
    sub.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 16), {"input": 1, "output": 2, "temp": 3}[where]).save(sub / "named.png")
    image, _, _ = load(f"label_files_sub/named.png [{where}]", "grey_ids")
    assert set(image.ravel()) == {{"input": 1, "output": 2, "temp": 3}[where]}


def test_pictures_in_the_input_folder_are_listed_and_no_other_files(server):
    for name in ("listed_label.png", "listed_label.tif", "listed_label.txt"):
        FILES["grey.png"]().save(server.base / "input" / name, "PNG")
    given = server.object_info()["SCP_LoadLabelMap"]["input"]["required"]["image"]
    assert given[1]["image_upload"] is True
    options = given[0] if isinstance(given[0], list) else given[1]["options"]
    listed = server.object_info()["LoadImage"]["input"]["required"]["image"][0]
    assert options == listed
    assert {"listed_label.png", "listed_label.tif"} <= set(options)
    assert "listed_label.txt" not in options


@pytest.mark.parametrize(
    "name", ["gone.png", "../../main.py", "/etc/passwd", "link.png", "../models/a.png [output]", ""]
)
def test_a_file_that_is_not_there_or_lies_elsewhere_is_refused(server, folder, tmp_path, name):
    outside = tmp_path / "outside.png"
    FILES["grey.png"]().save(outside)
    link = server.base / "input" / "link.png"
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    graph = Graph()
    graph.add("SCP_LoadLabelMap", image=name, palette="grey_ids")
    with pytest.raises(
        PromptRejected, match=r"there is no label file .* folder; choose one"
    ) as told:
        server.run(graph.prompt)
    link.unlink()
    assert str(tmp_path) not in str(told.value)


def test_a_palette_that_is_not_there_is_refused(server, folder):
    FILES["grey.png"]().save(folder / "fine.png")
    graph = Graph()
    graph.add("SCP_LoadLabelMap", image="label_files/fine.png", palette="none.json")
    with pytest.raises(PromptRejected, match=r"palette is 'none.json'; expected one of ade20k"):
        server.run(graph.prompt)


REFUSED = {
    "jpeg.jpg": ("ade20k", r"jpeg.jpg is a lossy picture .* of class ids"),
    "high.png": ("camvid", r"high.png holds class ids .*which palette 'camvid' \(0..11\) does not"),
    "x_labelIds.png": ("cityscapes", r"holds Cityscapes' labelIds by its name"),
    "text.png": ("ade20k", r"label map text.png cannot be read: it is not a picture"),
    "other.png": ("cityscapes", r"is in no color of palette 'cityscapes' in .*palette ade20k"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_build_refuses_is_refused(server, folder, name):
    if name == "text.png":
        (folder / name).write_text("no picture")
    elif name == "other.png":
        ids = torch.from_numpy(IDS[:64, :128].astype(np.int64)) + 1
        Image.fromarray(PALETTES["ade20k"].paint(ids).numpy()).save(folder / name)
    else:
        Image.fromarray(IDS[:64] % 34).save(folder / name)
    palette, says = REFUSED[name]
    graph = Graph()
    graph.add("SCP_LoadLabelMap", image=f"label_files/{name}", palette=palette)
    with pytest.raises(ExecutionFailed, match=says) as told:
        server.run(graph.prompt)
    assert (told.value.node_type, told.value.exception_type) == ("SCP_LoadLabelMap", "PriorError")


def test_grey_ids_through_load_image_are_drawn_alike_and_told_where_the_host_changes_them(
    server, street, folder, start, latents
):
    """ComfyUI 0.3.75 decodes grey files exactly; 0.33 makes one less of every id from 129 on."""
    FILES["grey.png"]().save(folder / "through.png")
    drawn = []
    for loader in ("LoadImage", "SCP_LoadLabelMap"):
        s = start(street, control=False, palette="grey_ids")
        s.graph.prompt[s.label.id] = {
            "class_type": loader,
            "inputs": {"image": "label_files/through.png", "palette": "grey_ids"},
        }
        drawn += latents(s.graph, s.latent)
    assert torch.equal(*drawn)

    graph = Graph()
    label = graph.add("LoadImage", image="label_files/through.png")
    prior = graph.add("SCP_LoadPrior", prior_name=street.prior)
    given = {"mode": "joint", "noise": "grain", "deviation": 1.0, "batch_size": 1}
    given["palette"] = "grey_ids"
    # With a seed of its own, so that it is run here.
    noise = graph.add("SCP_JointPriorNoise", prior=prior, label_image=label, seed=77, **given)
    shown = graph.add("SaveImage", images=label, filename_prefix="through")
    graph.add("SaveLatent", samples=noise, filename_prefix="through")
    history = server.run(graph.prompt)
    (seen,) = server.images(history)[shown.id]
    kinds = [kind for kind, _ in history["outputs"][noise.id]["scp_warnings"]]
    assert ("inexact grey levels" in kinds) == (not np.array_equal(seen[..., 0], IDS))
