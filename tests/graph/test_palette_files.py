"""Palettes of one's own in the graph: listed, used, read again when they change."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dev.graph import Graph
from dev.server import ExecutionFailed, PromptRejected
from prior_tools import PALETTES, decode_label_image, draw_prior_sample, load_prior, resize_labels

pytestmark = pytest.mark.slow

CITY = PALETTES["cityscapes"]
ROAD, SKY = 0, 10
CHOICES = {
    "SCP_BuildPrior": ["palette"],
    "SCP_JointPriorNoise": ["palette"],
    "SCP_PreviewPrior": ["palette"],
    "SCP_ImportPrior": ["palette"],
    "SCP_LoadLabelMap": ["palette"],
    "SCP_ConvertLabelMap": ["palette_from", "palette_to"],
    "SCP_MasksToLabelMap": ["palette"],
}


@pytest.fixture
def palette_file(server):
    """`palette_file(name, data)`: write it where the server looks for palettes; gone afterwards."""
    written = []

    def write(name, data):
        path = server.base / "models" / "scp_palettes" / name
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        written.append(path)

    yield write
    for path in set(written):
        path.unlink()


def classes(colors):
    """A palette file of one's own with these colors."""
    return {"classes": [{"id": i, "name": CITY.names[i], "color": c} for i, c in colors.items()]}


def test_a_palette_file_is_listed_wherever_a_palette_is_chosen(server, palette_file):
    palette_file("mine.json", classes(CITY.colors))
    palette_file("notes.md", "no palette")
    info = server.object_info()
    for node, names in CHOICES.items():
        inputs = {**info[node]["input"]["required"], **info[node]["input"].get("optional", {})}
        for name in names:
            given = inputs[name][0] if isinstance(inputs[name][0], list) else inputs[name][1]
            options = given["options"] if isinstance(given, dict) else given
            assert "mine.json" in options and "camvid32" in options and "notes.md" not in options


def test_a_palette_file_draws_as_it_says_and_again_when_it_has_changed(
    server, street, start, latents, palette_file
):
    prior = load_prior(server.base / "models" / "scp_priors" / street.prior)
    image = np.asarray(Image.open(server.base / "input" / street.label))
    ids = decode_label_image(image, CITY)[0]

    def drawn():
        s = start(street, seed=3, palette="mine.json", control=False)
        return latents(s.graph, s.latent)[0]

    palette_file("mine.json", classes(CITY.colors))
    labels = resize_labels(ids[None], (8, 16))
    assert torch.equal(drawn(), draw_prior_sample(prior, labels, seed=3))

    colors = {**CITY.colors, ROAD: CITY.colors[SKY], SKY: CITY.colors[ROAD]}
    palette_file("mine.json", classes(colors))
    swapped = ids.clone()
    swapped[ids == ROAD], swapped[ids == SKY] = SKY, ROAD
    labels = resize_labels(swapped[None], (8, 16))
    assert torch.equal(drawn(), draw_prior_sample(prior, labels, seed=3))


def test_an_annotation_tools_classes_are_converted_by_their_names(server, palette_file):
    palette_file("labelmap.txt", "background:0,0,0::\nCar:61,61,245::\nroad:9,120,9::\n")
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[4:8], pixels[8:] = (61, 61, 245), (9, 120, 9)
    graph = Graph()
    converted = graph.add(
        "SCP_ConvertLabelMap",
        label_image=graph.add("LoadImage", image=server.upload_image(pixels, "cvat.png")),
        palette_from="labelmap.txt",
        palette_to="pascal_voc",
    )
    shown = graph.add("SaveImage", images=converted, filename_prefix="cvat")
    (image,) = server.images(server.run(graph.prompt))[shown.id]
    ids = decode_label_image(image, "pascal_voc")[0]
    # A road is no background, though that is black.
    assert ids[:4].unique().tolist() == [0] and ids[4:8].unique().tolist() == [7]
    assert ids[8:].unique().tolist() == [-1]


@pytest.mark.parametrize("name", ["../scp_priors/street.safetensors", "gone.json", "/etc/passwd"])
def test_what_is_not_listed_is_refused(server, street, start, name):
    s = start(street, palette=name, control=False)
    s.graph.add("SaveLatent", samples=s.latent, filename_prefix="never")
    with pytest.raises(PromptRejected, match=r"palette is .*expected one of prior, ade20k"):
        server.run(s.graph.prompt)


def test_a_palette_file_with_a_fault_is_told_with_its_place(server, street, start, palette_file):
    palette_file("mine.json", classes({ROAD: (1, 2, 300)}))
    s = start(street, palette="mine.json", control=False)
    s.graph.add("SaveLatent", samples=s.latent, filename_prefix="never")
    says = r"palette file mine.json: the color of classes\[0\] is \[1, 2, 300\]"
    with pytest.raises(ExecutionFailed, match=says):
        server.run(s.graph.prompt)
