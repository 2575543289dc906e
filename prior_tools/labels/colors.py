"""Label images: class ids by nearest color, and which palette an image may be in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import PriorError
from .palettes import PALETTES, Palette, color_codes, get_palette

# Above this fraction of pixels in no color of the palette a label image is taken to be in another.
MOST_UNMATCHED = 0.5

# Pixels of a label image that are decoded at once.
_PART = 2**18


def decode_label_image(image: Tensor | np.ndarray, palette: Palette | str) -> tuple[Tensor, float]:
    """Class ids of a label image by nearest color.

    Args:
        image: [H, W, 3] or [N, H, W, 3]; floats in 0..1 or integers in 0..255. Further channels
            (alpha) are ignored.
        palette: a Palette or the name of one (see PALETTES).

    Returns:
        (ids int64 [H, W] or [N, H, W], unmatched fraction). A pixel matches the nearest color if
        that lies within less than half the palette's smallest color distance; others are -1.
        With plain grey ids a pixel matches if it is grey, to within one level.

    >>> image = torch.tensor([[[128, 64, 128], [130, 64, 126], [255, 255, 255], [0, 0, 192]]])
    >>> decode_label_image(image, "camvid")  # road, nearly road, no class, pavement
    (tensor([[ 3,  3, -1,  4]]), 0.25)
    """
    palette = get_palette(palette)
    pixels = _checked(image)
    ids = torch.empty(pixels.shape[:-1], dtype=torch.int64)
    flat_pixels, flat_ids = pixels.reshape(-1, pixels.shape[-1]), ids.view(-1)
    matched = 0
    # A part at a time: all that is in between takes a hundred bytes a pixel.
    for start in range(0, len(flat_ids), _PART):
        part = slice(start, start + _PART)
        flat_ids[part], known = _decoded(_as_levels(flat_pixels[part]), palette)
        matched += known
    return ids, 1 - matched / len(flat_ids) if len(flat_ids) else 0.0


def _decoded(pixels: Tensor, palette: Palette) -> tuple[Tensor, int]:
    """Class ids [M] of levels [M, 3], and how many match a color."""
    ids = torch.full(pixels.shape[:-1], -1)
    if palette.is_grey:
        # Side by side: three times as fast as the extremes of three values each.
        r, g, b = pixels.T.contiguous()
        matched = r.maximum(g).maximum(b) - r.minimum(g).minimum(b) <= 1
        ids = torch.where(matched, g, ids)
    else:
        codes, code_ids = palette._exact
        pixel_codes = color_codes(pixels)
        at = torch.searchsorted(codes, pixel_codes).clamp(max=len(codes) - 1)
        matched = codes[at] == pixel_codes
        ids = torch.where(matched, code_ids[at], ids)
        if not matched.all():
            # Resized and compressed label images have many near colors but few distinct ones.
            near, inverse = pixel_codes[~matched].unique(return_inverse=True)
            near_ids, near_matched = _nearest(near, palette)
            ids[~matched] = near_ids[inverse]
            matched[~matched] = near_matched[inverse]
    return ids, int(matched.sum())


def likely_palettes(image: Tensor | np.ndarray) -> list[tuple[str, float]]:
    """Names of the palettes that leave the least of an image without a class, best first.

    With the fractions; only those that know the class of at least half of the pixels.
    """
    pixels = _checked(image).flatten(0, -2)
    sample = _as_levels(pixels[:: max(1, len(pixels) // 20_000)])
    found = []
    for name, palette in PALETTES.items():
        ids = decode_label_image(sample[None], palette)[0]
        # Black is unlabelled in most palettes and says little for any of them.
        told = (ids >= 0) & ~torch.isin(ids, torch.tensor(palette.ignore_ids, dtype=torch.int64))
        found.append((name, 1 - float(told.double().mean())))
    return sorted((f for f in found if f[1] <= MOST_UNMATCHED), key=lambda f: f[1])


def check_matched(
    image: Tensor | np.ndarray, unmatched: float, palette: Palette, what: str
) -> None:
    """Raise PriorError if most pixels of `what` are in no color of the palette."""
    if unmatched <= MOST_UNMATCHED:
        return
    likely = [(name, part) for name, part in likely_palettes(image) if name != palette.name]
    near = [f"{n} ({1 - part:.0%} match)" for n, part in likely if part < likely[0][1] + 0.1]
    hint = f"it may be {' or '.join(near)}" if near else "no known palette fits it either"
    raise PriorError(
        f"{what} matches no class color of palette '{palette.name}' in {unmatched:.1%} of its "
        f"pixels; {hint}. Choose the palette that the label map was drawn with, and avoid JPEG "
        "and smooth resizing of label maps"
    )


def _nearest(codes: Tensor, palette: Palette) -> tuple[Tensor, Tensor]:
    """Class id and whether it matches, for distinct color codes [U]."""
    colors, color_ids = palette._table
    pixels = torch.stack([codes >> 16, (codes >> 8) & 255, codes & 255], -1).double()
    ids = torch.empty(len(codes), dtype=torch.int64)
    matched = torch.empty(len(codes), dtype=torch.bool)
    for start in range(0, len(codes), 65536):
        part = slice(start, start + 65536)
        distance, index = torch.cdist(pixels[part], colors.double()).min(1)
        # Void colors match exactly or not at all: around black lie the small ids of files whose
        # grey values are ids, and those files must not pass for unlabelled.
        matched[part] = (distance < palette._tolerance) & (color_ids[index] >= 0)
        ids[part] = torch.where(matched[part], color_ids[index], -1)
    return ids, matched


def _checked(image: Tensor | np.ndarray) -> Tensor:
    """[..., H, W, 3+] as a tensor [..., H, W, 3] on the CPU."""
    image = torch.as_tensor(image).detach().to("cpu")
    if image.ndim < 3 or image.shape[-1] < 3:
        raise PriorError(
            f"a label image has shape {tuple(image.shape)}; expected [H, W, 3] or [N, H, W, 3]"
        )
    return image[..., :3]


def _as_levels(image: Tensor) -> Tensor:
    """[..., 3] in 0..1 or 0..255 to int64 levels in 0..255."""
    if image.is_floating_point():
        image = (image.nan_to_num() * 255).round()
    return image.clamp(0, 255).to(torch.int64)
