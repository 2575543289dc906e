"""What people write: id lists, id maps, palettes, class names, changes of classes, settings.

Each text goes to all that read such texts.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prior_tools import PALETTES, load_palette
from prior_tools.cli.class_names import read_class_names
from prior_tools.generating.prepared_workflow import prepare_workflow
from prior_tools.labels.class_matching import convert_label_image, parse_changes
from prior_tools.labels.id_maps import get_id_map
from prior_tools.labels.ids import parse_id_map, parse_ids
from prior_tools.labels.masks import classes_of_masks, label_image_of_masks, mask_findings

from .mutation import VALUES, nested
from .workflows import OBJECT_INFO, PROMPT

_ODD = st.sampled_from(
    ["=", "-", ",", ":", ".", "#", "\n", "\r", "\u2028", "\x00", "\ud800", "\ufeff", "²", "٣",
     "none", "-1", "1e5", "1_0", "+1", "0x1", "9" * 5000, "7" * 400, "99999", "65536", "NaN", "[",
     "{", '"']
)  # fmt: skip
_NUMBER = st.one_of(st.integers(0, 30), st.integers(-2, 2**17), st.integers()).map(str)
_NAME = st.one_of(
    st.sampled_from(["road", "Car", "truck", "sky", "none", "bicyclist", "pole"]), st.text()
)
_PIECE = st.one_of(_NUMBER, _NAME, _ODD)
_SPACE = st.sampled_from(["", " ", ", ", ",", "\n", "\t"])


def _lines(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Lines of such parts, here and there another."""
    line = st.tuples(*(st.one_of(part, part, part, part, part, _PIECE) for part in parts))
    return st.lists(st.tuples(line.map("".join), _SPACE).map("".join)).map("\n".join)


_JSON = st.recursive(
    st.one_of(st.sampled_from(VALUES), _NUMBER.map(int), st.floats(), _NAME),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(_PIECE, inner)),
).map(json.dumps)
_SETTING = st.tuples(
    st.sampled_from(
        ["Label map.image", "Seed.value", "KSampler.cfg", "KSampler.steps", "x.y", "="]
    ),
    st.sampled_from(["=", "==", "", "= "]),
    st.one_of(_NUMBER, _JSON, _PIECE, st.floats().map(str)),
).map("".join)

_RIGHT_COLOR = st.lists(st.integers(0, 255), min_size=3, max_size=3)
_COLOR = st.one_of(
    _RIGHT_COLOR,
    st.sampled_from(["#804080", "#12345g", None, 7, [1, 2], [0, 0, 256], [True, 0, 0], [1.5] * 3]),
)
_RIGHT_CLASS = st.fixed_dictionaries(
    {"id": st.integers(0, 300)}, optional={"name": _NAME, "color": _RIGHT_COLOR}
)
_CLASS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 20) | st.sampled_from(VALUES),
        "name": _NAME,
        "readable": _NAME,
        "color": _COLOR,
        "ignored": st.booleans(),
        "evaluate": st.booleans(),
    },
)
_CLASSES = st.one_of(
    st.lists(_RIGHT_CLASS, min_size=1, max_size=6),
    st.lists(st.one_of(_RIGHT_CLASS, _RIGHT_CLASS, _CLASS), max_size=6),
)
_PALETTE = st.one_of(
    _CLASSES,
    *(st.fixed_dictionaries({key: _CLASSES}) for key in ("classes", "labels", "categories")),
    st.dictionaries(
        st.sampled_from(["classes", "labels", "categories", "name", "void"]),
        st.one_of(_CLASSES, _NAME, st.lists(_COLOR)),
        max_size=3,
    ),
).map(json.dumps)
_LEVEL = st.integers(0, 260).map(str)
_PALETTE_LINES = st.one_of(
    _lines(_NAME, st.just(":"), _LEVEL, st.just(","), _LEVEL, st.just(","), _LEVEL, st.just("::")),
    _lines(_NUMBER, st.just(", "), _NAME).map("Pixel Value, Class\n{}".format),
)

_ID = st.integers(0, 300).map(str)
_ID_MAP = st.lists(
    st.tuples(_ID, st.sampled_from([" ", ",", "; ", "=", " = ", "->", "-400="]), _ID).map("".join)
).map("\n".join)

_TEXT = st.one_of(
    _ID_MAP,
    _lines(_NUMBER, _SPACE),
    _lines(_NUMBER, st.sampled_from(["=", "-9="]), _NUMBER),
    _lines(_NUMBER, st.sampled_from([" ", ": "]), _NAME),
    _lines(_NAME, st.just("="), _NAME),
    _lines(_NUMBER, st.sampled_from([" ", ",", ";", "->"]), _NUMBER),
    st.dictionaries(_NUMBER, st.integers(-1, 300)).map(json.dumps),
    st.dictionaries(_NUMBER, _NAME).map(json.dumps),
    st.lists(_NAME).map(json.dumps),
    _PALETTE,
    _PALETTE_LINES,
    _JSON,
    _SETTING,
    st.lists(_PIECE).map("".join),
    st.randoms(use_true_random=False).map(nested),
).map(lambda text: text.encode("utf-8", "surrogatepass"))


_found: list[bytes] = []


@settings(database=None, deadline=None)
@given(st.one_of(_TEXT, _TEXT, _TEXT, _TEXT, _TEXT, st.binary()))
def _draw(data: bytes) -> None:
    _found.append(data)


def make(seed: int) -> bytes:
    """A text, or now and then bytes that are none."""
    rng = random.Random(seed)
    _found.clear()
    while not _found:
        # Where a text wants more bytes than these, none is drawn.
        _draw.hypothesis.fuzz_one_input(rng.randbytes(8192))
    return _found.pop()


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """The text as an option, as a widget's value, as a file."""
    text = data.decode("utf-8", "surrogateescape")
    plain, in_json = folder / "a.txt", folder / "a.json"
    for path in (plain, in_json):
        path.write_bytes(data)
    source, target = PALETTES["camvid"], PALETTES["cityscapes"]
    image = torch.zeros(1, 2, 2, 3)

    def names(path: Path) -> None:
        "".join(read_class_names(path, "--class-names").values()).encode()

    def paints(path: Path) -> None:
        palette = load_palette(path)
        palette.paint(torch.tensor([-1, *palette.colors, *palette.ignore_ids]))

    def covers() -> None:
        masks = torch.zeros(len(classes_of_masks(text, target)), 2, 2)
        mask_findings(label_image_of_masks(masks, text, target)[1], target)

    yield lambda: parse_ids(text, "ids")
    yield lambda: parse_id_map(text, "map")
    yield lambda: get_id_map(text)
    yield lambda: get_id_map(str(plain))
    yield lambda: paints(plain)
    yield lambda: names(plain)
    yield lambda: names(in_json)
    yield lambda: convert_label_image(image, source, target, parse_changes(text, source, target))
    yield covers
    yield lambda: label_image_of_masks(torch.zeros(1, 2, 2), "car", target, text)
    yield lambda: prepare_workflow(PROMPT, "Label map", "Seed", None, [text], OBJECT_INFO)
