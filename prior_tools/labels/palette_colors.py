"""Colors that classes can be told apart by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

Color = tuple[int, int, int]

# Where free colors are looked for: two grids inside each other, which have more colors than any
# palette.
_GRIDS = (range(0, 256, 17), range(8, 256, 17))


def color_codes(colors: Tensor) -> Tensor:
    """Levels [..., 3] in 0..255 as one number each."""
    return (colors[..., 0] << 16) | (colors[..., 1] << 8) | colors[..., 2]


def bit_color(index: int) -> Color:
    """The color code of PASCAL VOC, which COCO-Stuff uses for id + 1: bits dealt to r, g, b.

    Of its own for each index from 0 to 255; from 256 on they come again.
    """
    levels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            levels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return levels[0], levels[1], levels[2]


def free_colors(taken: Iterable[Color]) -> Iterator[Color]:
    """Colors that are not taken, each as far as can be from those and from the ones before it."""
    candidates = torch.cat([torch.cartesian_prod(*[torch.tensor(grid)] * 3) for grid in _GRIDS])
    nearest = torch.full((len(candidates),), 3 * 256**2)

    def avoid(color: Tensor) -> Tensor:
        return nearest.minimum((candidates - color).square().sum(1))

    for color in set(taken):
        nearest = avoid(torch.tensor(color))
    while True:
        best = candidates[int(nearest.argmax())]
        r, g, b = (int(level) for level in best.tolist())
        yield r, g, b
        nearest = avoid(best)


def own_colors(
    colors: Mapping[int, Color | None], ignored: Iterable[int], void: Iterable[Color] = ()
) -> dict[int, Color]:
    """Class id -> color, where each class that is not ignored has a color of its own.

    Of several classes of one color the first that is not ignored keeps it, by ascending id, and
    the others get free ones. Ignored classes may share a color among each other.

    Args:
        colors: class id -> color; None where a class has none, and gets that of `bit_color`.
        ignored: ids of classes that are ignored.
        void: colors that no class may get.
    """
    ignored = set(ignored)
    found: dict[int, Color] = {}
    own, taken = set[Color](), set(void)
    # Those that are not ignored first: only an ignored class gives its color away.
    for class_id in sorted(colors, key=lambda i: (i in ignored, i)):
        color = colors[class_id]
        if color is not None and color not in own:
            found[class_id] = color
            taken.add(color)
            if class_id not in ignored:
                own.add(color)
    for class_id, color in colors.items():
        if color is None and class_id < 256 and bit_color(class_id) not in taken:
            found[class_id] = bit_color(class_id)
            taken.add(found[class_id])
    without = sorted(colors.keys() - found.keys())
    if without:
        found |= zip(without, free_colors(taken), strict=False)
    return dict(sorted(found.items()))
