"""Masks of the host's own nodes, joined by them, as a label map that a prior draws for."""

import numpy as np
import pytest
import torch

from dev.graph import Graph
from dev.server import ExecutionFailed, PromptRejected
from prior_tools import PALETTES, decode_label_image, draw_prior_sample, load_prior, resize_labels

pytestmark = pytest.mark.slow

CITY = PALETTES["cityscapes"]
ROAD, SKY, CAR = 0, 10, 13
WIDTH, HEIGHT = 128, 64
SKY_BELOW = 24


def rectangle(graph, left, top, width, height):
    """A mask of the whole size with this part inside."""
    return graph.add(
        "MaskComposite",
        destination=graph.add("SolidMask", value=0.0, width=WIDTH, height=HEIGHT),
        source=graph.add("SolidMask", value=1.0, width=width, height=height),
        x=left,
        y=top,
        operation="add",
    )


def joined_as_images(graph, masks):
    """A batch by the nodes of every host."""
    first, *others = [graph.add("MaskToImage", mask=mask) for mask in masks]
    for other in others:
        first = graph.add("ImageBatch", image1=first, image2=other)
    return graph.add("ImageToMask", image=first, channel="red")


def joined_as_masks(graph, masks):
    """A batch by the node of newer hosts."""
    inputs = {f"masks.mask{i}": mask for i, mask in enumerate(masks)}
    return graph.add("BatchMasksNode", **inputs)


def paint(graph, masks, classes, **changes):
    inputs = {"palette": "cityscapes", "background": "none"}
    return graph.add("SCP_MasksToLabelMap", masks=masks, classes=classes, **{**inputs, **changes})


@pytest.mark.parametrize("join", [joined_as_images, joined_as_masks])
def test_masks_joined_by_the_hosts_nodes_draw_as_the_label_map_that_they_make(
    server, street, latents, join
):
    if join is joined_as_masks and "BatchMasksNode" not in server.object_info():
        pytest.skip("this host has no node that joins masks")
    by_hand = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    by_hand[:SKY_BELOW] = 255
    graph = Graph()
    drawn_by_hand = graph.add(
        "LoadImageMask", image=server.upload_image(by_hand, "sky.png"), channel="red"
    )
    cars = [rectangle(graph, 8, 16, 40, 24), rectangle(graph, 80, 40, 16, 8)]
    masks = join(graph, [cars[0], drawn_by_hand, cars[1]])
    image = paint(graph, masks, "Car\n# above the first car\nsky\n13", background="road")
    latent = graph.add(
        "SCP_JointPriorNoise",
        prior=graph.add("SCP_LoadPrior", prior_name=street.prior),
        label_image=image,
        mode="joint",
        noise="grain",
        deviation=1.0,
        seed=3,
        batch_size=1,
    )
    shown = graph.add("SaveImage", images=image, filename_prefix="masks")

    wanted = torch.full((1, HEIGHT, WIDTH), ROAD)
    wanted[:, 16:40, 8:48] = CAR
    wanted[:, :SKY_BELOW] = SKY
    wanted[:, 40:48, 80:96] = CAR
    (made,) = server.images(server.run(graph.prompt))[shown.id]
    assert np.array_equal(made, CITY.paint(wanted[0]).numpy())
    prior = load_prior(server.base / "models" / "scp_priors" / street.prior)
    expected = draw_prior_sample(prior, resize_labels(wanted, (8, 16)), seed=3)
    assert torch.equal(latents(graph, latent)[0], expected)


def test_what_masks_do_not_show_is_told_by_the_node(server):
    graph = Graph()
    left = rectangle(graph, 0, 0, WIDTH // 2, HEIGHT)
    image = paint(graph, joined_as_images(graph, [left, left]), "car\npedestrian")
    shown = graph.add("SaveImage", images=image, filename_prefix="masks")
    history = server.run(graph.prompt)
    (made,) = server.images(history)[shown.id]
    ids = decode_label_image(made.copy(), CITY)[0]
    assert (ids[:, : WIDTH // 2] == 11).all() and (ids[:, WIDTH // 2 :] == -1).all()
    told = dict(history["outputs"][image.id]["scp_warnings"])
    assert set(told) == {"masks below others", "pixels in no mask", "names of other datasets"}
    assert "come later: mask 1 (car, line 1)" in told["masks below others"]
    assert told["pixels in no mask"].startswith("50.0% of the pixels are in no mask")
    assert "'pedestrian' on line 2 is person (11)" in told["names of other datasets"]


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ("car\nroad", r"1 masks are given and 2 classes: car \(line 1\), road \(line 2\)"),
        ("cra", r"line 1 of classes: palette 'cityscapes' has no class 'cra'; the nearest are car"),
    ],
)
def test_classes_that_do_not_fit_stop_the_run_with_the_reason(server, classes, says):
    graph = Graph()
    image = paint(graph, graph.add("SolidMask", value=1.0, width=16, height=16), classes)
    graph.add("PreviewImage", images=image)
    with pytest.raises(ExecutionFailed, match=says):
        server.run(graph.prompt)


def test_a_palette_that_is_not_listed_is_refused(server):
    graph = Graph()
    mask = graph.add("SolidMask", value=1.0, width=16, height=16)
    graph.add("PreviewImage", images=paint(graph, mask, "car", palette="../mine.json"))
    with pytest.raises(PromptRejected, match=r"palette is .*expected one of ade20k"):
        server.run(graph.prompt)
