"""Label images: class ids by nearest color, and which palette an image may be in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import PriorError
from .id_maps import are_label_ids
from .palette_colors import Color, color_codes
from .palettes import PALETTES, Palette, get_palette

# Above this fraction of pixels in no color of the palette a label image is taken to be in another.
MOST_UNMATCHED = 0.5

# So far off, in levels, a color of a compressed or shifted picture may be; of many that are further
# off the palette is another.
_CLOSE = 12

# So many colors that no palette has are told apart; photographs have a hundred thousand.
_SHOWN = 256

# Pixels of a label image that are decoded at once.
_PART = 2**18


@dataclass(frozen=True)
class DecodedColors:
    """Colors as classes; see `decode_label_image`.

    Attributes:
        ids: int64, -1 where a color is unknown or void.
        unknown: pixels near no color of the palette.
        near: pixels that are only near the color of their class.
        far: of these, so far off that compression and resizing would not make many.
        unknown_colors, strange_colors: color -> pixels, the most frequent of the unknown, and of
            the unknown and the far ones.
    """

    ids: Tensor
    unknown: int
    near: int
    far: int
    unknown_colors: Counter[Color]
    strange_colors: Counter[Color]


def decode_label_image(image: Tensor | np.ndarray, palette: Palette | str) -> tuple[Tensor, float]:
    """Class ids of a label image by nearest color.

    Args:
        image: [H, W, 3] or [N, H, W, 3]; floats in 0..1 or integers in 0..255. Further channels
            (alpha) are ignored.
        palette: a Palette or the name of one (see PALETTES).

    Returns:
        (ids int64 [H, W] or [N, H, W], unmatched fraction). A pixel matches the nearest color if
        that lies within less than half the palette's smallest color distance; others are -1.
        With plain grey ids a pixel matches if its channels are equal.

    >>> image = torch.tensor([[[128, 64, 128], [130, 64, 126], [255, 255, 255], [0, 0, 192]]])
    >>> decode_label_image(image, "camvid")  # road, nearly road, no class, pavement
    (tensor([[ 3,  3, -1,  4]]), 0.25)
    """
    found = decode_colors(_checked(image), get_palette(palette))
    return found.ids, found.unknown / max(1, found.ids.numel())


def decode_colors(pixels: Tensor, palette: Palette) -> DecodedColors:
    """Classes of colors [..., 3], floats in 0..1 or integers in 0..255."""
    ids = torch.empty(pixels.shape[:-1], dtype=torch.int64)
    flat_pixels, flat_ids = pixels.reshape(-1, pixels.shape[-1]), ids.view(-1)
    parts = [torch.empty(0, dtype=torch.int64)] * 2 + [torch.empty(0)]
    # A part at a time: all that is in between takes a hundred bytes a pixel.
    for start in range(0, len(flat_ids), _PART):
        part = slice(start, start + _PART)
        flat_ids[part], *inexact = _decoded(_as_levels(flat_pixels[part]), palette)
        parts = [torch.cat(both) for both in zip(parts, inexact, strict=True)]
    codes, counts, distances = parts
    unknown, far = distances.isinf(), distances > _CLOSE
    in_all, unknown_in_all = int(counts.sum()), int(counts[unknown].sum())
    return DecodedColors(
        ids,
        unknown_in_all,
        in_all - unknown_in_all,
        int(counts[far].sum()) - unknown_in_all,
        _most_frequent(codes[unknown], counts[unknown]),
        _most_frequent(codes[far], counts[far]),
    )


def _most_frequent(codes: Tensor, counts: Tensor) -> Counter[Color]:
    """The most frequent colors of the parts of a picture, each with codes of its own."""
    distinct, index = codes.unique(return_inverse=True)
    total = torch.zeros_like(distinct).index_add_(0, index, counts)
    most = total.topk(min(_SHOWN, len(total)))
    return Counter(
        {
            (code >> 16, code >> 8 & 255, code & 255): count
            for code, count in zip(
                distinct[most.indices].tolist(), most.values.tolist(), strict=True
            )
        }
    )


def _decoded(pixels: Tensor, palette: Palette) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Class ids [M] of levels [M, 3]; of colors that are not exact, codes, counts and distances.

    The distance to the nearest color is infinite where that does not match.
    """
    if palette.is_grey:
        # Side by side: three times as fast as the extremes of three values each.
        r, g, b = pixels.T.contiguous()
        matched = (r == g) & (g == b)
        ids = torch.where(matched, g, -1)
        unknown, counts = color_codes(pixels[~matched]).unique(return_counts=True)
        return ids, unknown, counts, torch.full(unknown.shape, torch.inf)
    codes, code_ids = palette._exact
    pixel_codes = color_codes(pixels)
    at = torch.searchsorted(codes, pixel_codes).clamp(max=len(codes) - 1)
    matched = codes[at] == pixel_codes
    ids = torch.where(matched, code_ids[at], -1)
    # Resized and compressed label images have many near colors but few distinct ones.
    near, inverse, counts = pixel_codes[~matched].unique(return_inverse=True, return_counts=True)
    near_ids, distance = _nearest(near, palette)
    ids[~matched] = near_ids[inverse]
    return ids, near, counts, distance


def fitting_palettes(colors: Mapping[Color, int]) -> list[tuple[str, float]]:
    """The built-in palettes that know the classes of most of these pixels, best first.

    Args:
        colors: color -> number of pixels.

    Returns:
        (name, fraction of the pixels that it gives a class which is not ignored), from a half up.
    """
    pixels, counts = torch.tensor([*colors]), torch.tensor([*colors.values()]).double()
    found = []
    for name, palette in PALETTES.items():
        if palette.is_grey or not colors:
            continue
        ids = decode_colors(pixels, palette).ids
        told = (ids >= 0) & ~torch.isin(ids, torch.tensor(palette.ignore_ids, dtype=torch.int64))
        found.append((name, float((told * counts).sum() / counts.sum())))
    # Of equal ones that with the fewest colors: among many, some fit by chance.
    found = [f for f in found if f[1] >= 1 - MOST_UNMATCHED]
    return sorted(found, key=lambda f: (-round(f[1], 3), len(PALETTES[f[0]].colors)))


def what_fits(colors: Mapping[Color, int], palette: Palette) -> str:
    """What unknown colors of a palette may be, in words."""
    fitting = [(name, share) for name, share in fitting_palettes(colors) if name != palette.name]
    if how := _as_ids(colors):
        # Small ids are near every palette's black.
        exact = {n for n, p in PALETTES.items() if any(color in p.by_color for color in colors)}
        fitting = [(name, share) for name, share in fitting if name in exact]
    if fitting:
        near = [f for f in fitting if f[1] > fitting[0][1] - 0.1][:3]
        return "palette " + ", ".join(
            f"{name} {share:.0%}" if i else f"{name} has {share:.0%} of them"
            for i, (name, share) in enumerate(near)
        )
    levels = {max(color) for color in colors}
    holding = [n for n, p in PALETTES.items() if all(p.holds(level) for level in levels)]
    if how and holding:
        said = f"{how}, and could be class ids of {', '.join(holding)}"
        if are_label_ids(levels, palette.name):
            said += " (if they are labelIds, --id-map cityscapes_labelids_to_trainids renames them)"
        return said
    return "no built-in palette has them"


def _as_ids(colors: Collection[Color]) -> str:
    """How colors may hold ids, in words; "" if they do not."""
    if colors and all(len(set(color)) == 1 for color in colors):
        return "they are grey"
    lit = {i for color in colors for i in range(3) if color[i]}
    return "they have one channel that is not black" if len(lit) == 1 else ""


def shown(colors: Mapping[Color, int], pixels: int, most: int = 3) -> str:
    """The most frequent colors and their shares of so many pixels, in words."""
    frequent = Counter(colors).most_common(most)
    return ", ".join(f"{color} {count / pixels:.1%}" for color, count in frequent)


def check_matched(
    strange: int,
    matched: int,
    colors: Mapping[Color, int],
    palette: Palette,
    what: str,
    pixels: int,
) -> None:
    """Raise PriorError if more pixels of `what` are of strange colors than of a class.

    Args:
        strange: number of pixels of colors that are unknown or far from any.
        matched: number of other pixels of a class that is not ignored.
        colors: color -> number of pixels, of the most frequent of the strange ones.
        pixels: of the whole picture; black and other colors of "no class" are not counted above.
    """
    if strange <= MOST_UNMATCHED * (strange + matched):
        return
    raise PriorError(
        f"{what} is in no color of palette '{palette.name}' in {strange / pixels:.1%} of its "
        f"pixels, and of its classes in {matched / pixels:.1%}; unknown are "
        f"{shown(colors, pixels)}: {what_fits(colors, palette)}. Choose the palette that the label "
        "map was drawn with, and avoid JPEG and smooth resizing of label maps"
    )


def _nearest(codes: Tensor, palette: Palette) -> tuple[Tensor, Tensor]:
    """Class id and distance, infinite where none matches, for distinct color codes [U]."""
    colors, color_ids = palette._table
    pixels = torch.stack([codes >> 16, (codes >> 8) & 255, codes & 255], -1).double()
    ids = torch.empty(len(codes), dtype=torch.int64)
    distances = torch.empty(len(codes), dtype=torch.float64)
    for start in range(0, len(codes), 65536):
        part = slice(start, start + 65536)
        distance, index = torch.cdist(pixels[part], colors.double()).min(1)
        # Void colors match exactly or not at all: around black lie the small ids of files whose
        # grey values are ids, and those files must not pass for unlabelled.
        matched = (distance < palette._tolerance) & (color_ids[index] >= 0)
        distances[part] = torch.where(matched, distance, torch.inf)
        ids[part] = torch.where(matched, color_ids[index], -1)
    return ids, distances


def _checked(image: Tensor | np.ndarray) -> Tensor:
    """[..., H, W, 3+] as a tensor [..., H, W, 3] on the CPU."""
    # A copy of what others own for themselves alone, such as a picture's pixels.
    owned = isinstance(image, Tensor) or image.flags.writeable
    image = torch.as_tensor(image if owned else np.array(image)).detach().to("cpu")
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
