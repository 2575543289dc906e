"""A prior at a glance: as a picture, and as a card of plain data for a page to show."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .held_out import HeldOut
from .labels.label_picture import (
    BACKGROUND,
    BAR,
    FAINT,
    MARGIN,
    MOST_LETTERS,
    TEXT,
    font,
    hatching,
    visible_palette,
)
from .labels.palette_colors import Color
from .labels.palettes import Palette
from .prior import Prior

_WIDTH, _ROW = 960, 22
_MOST_CLASSES = 40


class ClassRow(NamedTuple):
    """A class of a prior: id, name, color, images that hold it, share of all cells."""

    class_id: int
    name: str
    color: Color
    images: int
    share: float


def describe_prior(prior: Prior, mean_image: Tensor | None = None, title: str = "") -> Tensor:
    """Mean, most frequent class and number of classes per cell, and a table of the classes.

    Of images alone: mean, and how far they differ at each cell.

    Args:
        prior: what to show.
        mean_image: [H, W, 3] in 0..1, the spatial mean through the VAE's decoder; without it the
            first latent channels stand in.
        title: heading, such as the prior's name.

    Returns:
        float32 [H, W, 3] in 0..1.
    """
    panels = [("mean of all images", _mean_panel(prior, mean_image))]
    if prior.labelled:
        panels.append(("most frequent class", _class_panel(prior)))
        panels.append(("classes per cell", _count_panel(prior)))
    else:
        panels.append(("how far the images differ", _spread_panel(prior)))
    panel_width = (_WIDTH - 4 * MARGIN) // 3
    # A grid that is all height would take a picture of gigabytes.
    panel_height = max(1, min(panel_width * prior.grid[0] // prior.grid[1], 8 * panel_width))
    table = class_rows(prior)[:_MOST_CLASSES]
    rows = (len(table) + 1) // 2
    top = MARGIN + 30
    more = len(prior.class_ids) - len(table)
    height = top + 20 + panel_height + 24 + (rows + (more > 0)) * _ROW + MARGIN
    sheet = Image.new("RGB", (_WIDTH, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)

    draw.text((MARGIN, MARGIN - 2), title[:MOST_LETTERS] or "prior", TEXT, font(18))
    draw.text((_WIDTH - MARGIN, MARGIN + 2), _summary(prior), FAINT, font(13), anchor="ra")
    for index, (caption, picture) in enumerate(panels):
        x = MARGIN + index * (panel_width + MARGIN)
        draw.text((x, top), caption, FAINT, font(13))
        sheet.paste(picture.resize((panel_width, panel_height), _filter(picture)), (x, top + 20))
    for index, entry in enumerate(table):
        x = MARGIN + (index // max(rows, 1)) * (_WIDTH // 2)
        y = top + 20 + panel_height + 24 + (index % max(rows, 1)) * _ROW
        _draw_class(draw, x, y, entry)
    if more > 0:
        y = top + 20 + panel_height + 24 + rows * _ROW
        draw.text((MARGIN + 22, y), f"and {more} less frequent classes", FAINT, font(13))
    return torch.from_numpy(np.array(sheet)).to(torch.float32) / 255


def class_rows(prior: Prior) -> list[ClassRow]:
    """All classes of a prior, those of most cells first."""
    cells = prior.joint_count.flatten(1).sum(1).double()
    share = cells / max(1.0, float(prior.num_images * prior.grid[0] * prior.grid[1]))
    colors = class_palette(prior).paint(prior.class_ids).tolist()
    ids, images = prior.class_ids.tolist(), prior.class_image_count.tolist()
    return [
        ClassRow(ids[i], prior.class_name(ids[i]), tuple(colors[i]), images[i], float(share[i]))
        for i in share.argsort(descending=True).tolist()
    ]


def prior_card(prior: Prior) -> dict[str, object]:
    """What a page needs to show a prior, ready for JSON.

    Returns:
        dataset: its name, "" where not known.
        images: number of images.
        grid: [h, w] in latent cells.
        pixels: [width, height].
        channels: latent channels.
        latent_format: the VAE's family, as in PriorMetadata.
        grain: whether it has one.
        held_out: {images, best mode, explained in 0..1} of images that its build held out, or None.
        classes: [{id, name, color "#rrggbb", images, share of all cells in 0..1}], largest first;
            None of images alone.
        class_picture, mean_picture: the most frequent class and the mean of each cell, as data
            URLs of PNGs with a pixel a cell; of images alone the first is None.
    """
    metadata = prior.metadata
    height, width = prior.grid
    factor = metadata.downscale_factor
    class_picture, mean = small_pictures(prior)
    classes = [
        {
            "id": row.class_id,
            "name": row.name,
            "color": "#{:02x}{:02x}{:02x}".format(*row.color),
            "images": row.images,
            "share": row.share,
        }
        for row in class_rows(prior)
    ]
    return {
        "dataset": metadata.dataset_name,
        "images": prior.num_images,
        "grid": [height, width],
        "pixels": list(metadata.source_size or (width * factor, height * factor)),
        "channels": prior.latent_channels,
        "latent_format": metadata.latent_format,
        "grain": prior.grain is not None,
        "held_out": _held_out(metadata.held_out),
        "classes": classes if prior.labelled else None,
        "class_picture": _data_url(class_picture) if prior.labelled else None,
        "mean_picture": _data_url(mean),
    }


def _held_out(found: HeldOut | None) -> dict[str, object] | None:
    if found is None:
        return None
    explained = found.modes[found.best].explained
    return {"images": found.images, "best": found.best, "explained": explained}


def small_pictures(prior: Prior, longest: int = 96) -> tuple[Image.Image, Image.Image]:
    """(most frequent class, mean of all images), a pixel a cell, RGB.

    Without a VAE: the mean's first latent channels stand in for its colors. A grid with more than
    `longest` cells on a side is made smaller.
    """
    classes, mean = _class_panel(prior), _mean_panel(prior, None)
    shrink = min(1.0, longest / max(classes.size))
    width, height = (max(1, round(side * shrink)) for side in classes.size)
    size = (width, height)
    # Colors of classes must not mix: there would be classes that are not there.
    return classes.resize(size, Image.Resampling.NEAREST), mean.resize(size, Image.Resampling.BOX)


def class_palette(prior: Prior) -> Palette:
    """The prior's palette with a color for each of its classes, also for those that it lacks."""
    return visible_palette(prior.metadata.palette, prior.class_ids.tolist())


def _painted(prior: Prior, labels: Tensor) -> Tensor:
    """Label maps [...] in the prior's colors, uint8 [..., 3]; black where there is no class."""
    palette = class_palette(prior)
    held = torch.isin(labels, torch.tensor([*palette.colors], dtype=torch.int64))
    painted = torch.zeros(*labels.shape, 3, dtype=torch.uint8)
    painted[held] = palette.paint(labels[held])
    return painted


def _summary(prior: Prior) -> str:
    height, width = prior.grid
    occupied = float((prior.joint_count > 0).double().mean()) if len(prior.class_ids) else 0.0
    facts = [
        f"{prior.num_images} images",
        f"{len(prior.class_ids)} classes" if prior.labelled else "no label maps",
        f"{width}x{height} cells",
        f"{prior.latent_channels} channels",
        prior.metadata.latent_format,
    ]
    if prior.labelled:
        facts.append(f"{occupied:.0%} of class cells seen")
    return ", ".join(facts)


def latents_as_picture(latents: Tensor) -> Tensor:
    """The first three channels of latents [..., C, h, w] as [..., h, w, 3] in 0..1.

    Each channel from its least to its greatest value: a stand-in where there is no VAE.
    """
    channels = [min(i, latents.shape[-3] - 1) for i in range(3)]
    shown = latents[..., channels, :, :].movedim(-3, -1)
    low, high = shown.amin((-3, -2), keepdim=True), shown.amax((-3, -2), keepdim=True)
    return (shown - low) / (high - low).clamp(min=1e-6)


def paint_labels(prior: Prior, labels: Tensor) -> Tensor:
    """Label maps [..., h, w] in the prior's colors, float32 [..., h, w, 3] in 0..1.

    Cells without a class are hatched in white, those of a class that the prior has never seen are
    hatched in red.
    """
    painted = _painted(prior, labels).float() / 255
    hatched = hatching((labels.shape[-2], labels.shape[-1])).expand(labels.shape)
    unseen = (prior.rows_of(labels) < 0) & (labels >= 0)
    painted[hatched & (labels < 0)] = torch.tensor([1.0, 1.0, 1.0])
    painted[hatched & unseen] = torch.tensor([1.0, 0.1, 0.1])
    return painted


def _mean_panel(prior: Prior, mean_image: Tensor | None) -> Image.Image:
    if mean_image is None:
        mean_image = latents_as_picture(prior.spatial_mean)
    return _image(mean_image * 255)


def _class_panel(prior: Prior) -> Image.Image:
    return _image(_painted(prior, prior.most_frequent_classes()))


def _count_panel(prior: Prior) -> Image.Image:
    return _heat((prior.joint_count > 0).sum(0))


def _spread_panel(prior: Prior) -> Image.Image:
    return _heat(prior.spatial_std.square().mean(0).sqrt())


def _heat(values: Tensor) -> Image.Image:
    """Values [h, w], 0 or more, from dark at 0 to bright at the greatest of them."""
    greatest = float(values.max()) or 1.0
    share = (values.double() / greatest).unsqueeze(-1)
    low, high = torch.tensor([24.0, 32.0, 72.0]), torch.tensor([252.0, 214.0, 90.0])
    return _image(low + (high - low) * share)


def _draw_class(draw: ImageDraw.ImageDraw, x: int, y: int, row: ClassRow) -> None:
    draw.rectangle((x, y + 2, x + 14, y + 16), row.color, FAINT)
    draw.text((x + 22, y), f"{row.class_id}  {row.name[:MOST_LETTERS]}", TEXT, font(13))
    draw.text((x + 190, y), f"{row.images} images", FAINT, font(13))
    draw.rectangle((x + 280, y + 4, x + 280 + round(100 * row.share), y + 14), BAR)
    draw.text((x + 390, y), f"{row.share:.1%}", FAINT, font(13))


def _image(levels: Tensor) -> Image.Image:
    return Image.fromarray(levels.clamp(0, 255).to(torch.uint8).cpu().numpy())


def _filter(picture: Image.Image) -> Image.Resampling:
    """Cells stay squares when enlarged; a decoded image is scaled smoothly."""
    return Image.Resampling.NEAREST if picture.width < 256 else Image.Resampling.LANCZOS


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
