"""A prior on a card: what must be known to choose it, as plain data for a page to show."""

from __future__ import annotations

import base64
import io

from PIL import Image

from .picture import class_rows, small_pictures
from .prior import Prior


def prior_card(prior: Prior) -> dict[str, object]:
    """What a page needs to show a prior, ready for JSON.

    Returns:
        dataset: its name, "" where not known.
        images: number of images.
        grid, pixels: [width, height] in latent cells and in pixels.
        channels: latent channels.
        latent_format: the VAE's family, as in PriorMetadata.
        classes: [{id, name, color "#rrggbb", images, share of all cells in 0..1}], largest first.
        class_picture, mean_picture: the most frequent class and the mean of each cell, as data
            URLs of PNGs with a pixel a cell.
    """
    metadata = prior.metadata
    height, width = prior.grid
    factor = metadata.downscale_factor
    classes, mean = small_pictures(prior)
    return {
        "dataset": metadata.dataset_name,
        "images": prior.num_images,
        "grid": [width, height],
        "pixels": list(metadata.source_size or (width * factor, height * factor)),
        "channels": prior.latent_channels,
        "latent_format": metadata.latent_format,
        "classes": [
            {
                "id": row.class_id,
                "name": row.name,
                "color": "#{:02x}{:02x}{:02x}".format(*row.color),
                "images": row.images,
                "share": row.share,
            }
            for row in class_rows(prior)
        ],
        "class_picture": _data_url(classes),
        "mean_picture": _data_url(mean),
    }


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
