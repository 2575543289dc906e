"""Laws of reading: images and label files of every kind, one convention of ids."""

import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dev.dataset_trees import (
    LABEL_IDS,
    WRITERS,
    blocks,
    find_tree,
    photo,
    save,
    write_ade,
    write_cityscapes,
    write_coco,
)
from prior_tools import PALETTES, PriorError, get_palette
from prior_tools.datasets.dataset import PairDataset, as_floats
from prior_tools.datasets.label_files import read_label_file
from prior_tools.datasets.layouts import LAYOUTS, find_dataset
from prior_tools.datasets.pairs import Pair, find_pairs
from prior_tools.datasets.picture_files import open_picture, read_image, upright_size
from prior_tools.labels.id_maps import CITYSCAPES_TRAIN_IDS
from prior_tools.labels.reading import LabelRules

SIZE = (48, 32)


def test_grey_and_four_ink_jpegs_among_the_images_have_three_channels(tmp_path):
    root = write_coco(tmp_path)
    folder = root / "images/train2017"
    ramp = np.linspace(0, 255, 2400).reshape(40, 60).astype(np.uint8)
    save(folder / "000000000009.jpg", ramp)
    save(folder / "000000000025.jpg", Image.fromarray(ramp).convert("RGB").convert("CMYK"))
    dataset = find_dataset("coco-stuff", root, "train").dataset((60, 40))
    grey, ink = as_floats(dataset[0].image), as_floats(dataset[1].image)
    assert grey.shape == ink.shape == (40, 60, 3)
    want = torch.from_numpy(ramp)[..., None] / 255
    assert (grey - want).abs().max() < 0.05 and (ink - want).abs().max() < 0.05


# Cityscapes' label files are PNG by their names, and PNG has no 32 bits.
@pytest.mark.parametrize(
    "layout, kind",
    [("ade20k", "32 bit"), ("coco-stuff", "32 bit")]
    + [
        (layout, kind)
        for layout in ("cityscapes", "ade20k", "coco-stuff")
        for kind in ("16 bit", "own table", "grey table", "other table")
    ],
)
def test_label_files_of_every_kind_hold_ids(tmp_path, layout, kind):
    if layout == "cityscapes":
        root, ids = write_cityscapes(tmp_path, kinds=("labelIds",)), LABEL_IDS
    else:
        root = WRITERS[layout](tmp_path)
        # Without black's neighbors a wrong reading by color would go unnoticed.
        columns = 4 if layout == "ade20k" else 3
        ids = blocks([1, 2, 8, 20, 21, 27], columns).astype(np.uint8)
    found = find_tree(layout, root, "train")
    label = Image.fromarray(ids)
    if kind == "16 bit":
        label = Image.fromarray(ids.astype(np.uint16))
    elif kind == "32 bit":
        label = Image.fromarray(ids.astype(np.int32))
    elif kind == "grey table":
        label.putpalette([level for i in range(256) for level in (i, i, i)])
    elif kind == "own table":
        colors = [found.palette.colors.get(i, (0, 0, 0)) for i in range(256)]
        label.putpalette([level for color in colors for level in color])
    else:
        # PASCAL VOC's table, common in tools: under it COCO-Stuff's colors mean id - 1.
        voc = [(0, 0, 0), *(get_palette("coco_stuff").colors.get(i, (9, 9, 9)) for i in range(255))]
        label.putpalette([level for color in voc for level in color])
    suffix = "tif" if kind == "32 bit" else "png"
    path = found.pairs[0].label
    path.unlink()
    save(path.with_suffix(f".{suffix}"), label)
    read = find_tree(layout, root, "train").dataset(SIZE)[0].labels.numpy()
    want = ids
    if layout == "cityscapes":
        want = np.vectorize(lambda i: CITYSCAPES_TRAIN_IDS[i])(ids)
    assert np.array_equal(read, want)


@pytest.mark.parametrize("layout", ["ade20k", "coco-stuff", "pairs"])
def test_exif_rotation_turns_the_image_under_its_label(tmp_path, layout):
    root = WRITERS[layout](tmp_path)
    pair = find_tree(layout, root, "train").pairs[0]
    tall = Image.fromarray(np.zeros((60, 40, 3), np.uint8))
    tall.paste((255, 255, 255), (0, 0, 40, 30))
    exif = Image.Exif()
    exif[0x0112] = 8  # shown turned by 90 degrees: the bright half lies at the left
    save(pair.image, tall, exif=exif)
    ids = np.ones((40, 60), np.uint8)
    ids[:, 30:] = 2
    save(pair.label, ids)
    item = find_tree(layout, root, "train").dataset((60, 40))[0]
    assert as_floats(item.image)[item.labels == 1].mean() > 0.95
    assert as_floats(item.image)[item.labels == 2].mean() < 0.05


def test_image_and_label_of_differing_sizes_show_the_same_part(tmp_path):
    root = write_ade(tmp_path)
    pair = find_dataset("ade20k", root, "train").pairs[0]
    ids = np.ones((40, 120), np.uint8)
    ids[:, 30:90] = 2
    save(pair.image, Image.fromarray((ids == 2) * np.uint8(255)).resize((480, 160)), quality=95)
    save(pair.label, ids)
    found = find_dataset("ade20k", root, "train")
    stretched, cropped = (found.dataset(SIZE, resize)[0] for resize in ("stretch", "crop"))
    assert stretched.image.shape == cropped.image.shape == (32, 48, 3)
    assert stretched.labels.shape == (40, 120) and cropped.labels.shape == (40, 60)
    assert cropped.labels.unique().tolist() == [2] and as_floats(cropped.image).min() > 0.9


def test_a_map_renames_ids_before_the_palette_sees_them(tmp_path):
    ids = blocks([200, 3, 4, 5, 0, 1], 3).astype(np.uint8)
    label = save(tmp_path / "labels/a.png", ids)
    save(tmp_path / "images/a.png", photo(20, 30))
    pairs, _ = find_pairs(tmp_path / "images", tmp_path / "labels")

    def read(id_map):
        return PairDataset(pairs, SIZE, PALETTES["camvid"], id_map=id_map)[0].labels.numpy()

    for id_map in (None, {}):
        with pytest.raises(PriorError, match="class ids 200"):
            read(id_map)
    # Swaps happen at once, not one after the other; what is not named stays.
    id_map = {200: 2, 0: 1, 1: 0, 77: 5}
    want = np.vectorize(lambda i: id_map.get(i, i))(ids)
    assert np.array_equal(read(id_map), want)
    # Ids far apart, as in files of 32 bits, need no table of that size.
    save(label.with_suffix(".tif"), Image.fromarray(np.where(ids == 0, 2**31 - 1, 3).astype("i4")))
    label.unlink()
    pairs, _ = find_pairs(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(PriorError, match="class ids 2147483647"):
        read({200: 2})


def test_negative_ids_of_wide_files_are_renamed_too(tmp_path):
    ids = blocks([-1, 7, 33, 0, 255, 26], 3).astype(np.int32)
    save(tmp_path / "labels/a.tif", Image.fromarray(ids))
    save(tmp_path / "images/a.png", photo(20, 30))
    pairs, _ = find_pairs(tmp_path / "images", tmp_path / "labels")
    palette = PALETTES["cityscapes"]
    dataset = PairDataset(pairs, SIZE, palette, ignore_ids=(255,), id_map=CITYSCAPES_TRAIN_IDS)
    assert dataset[0].labels[::10, ::10].tolist() == [[255, 0, 18], [255, 255, 13]]


DAMAGED_EXIF = {
    "byte order": b"Exif\0\0XX\0*\0\0\0\x08\0\0",
    "cut off": b"Exif\0\0II*\0",
    "cut in the directory": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12",
    "nothing": b"Exif\0\0",
    "far away": b"Exif\0\0II*\0\xff\xff\xff\xff",
}


@pytest.mark.parametrize("damage", DAMAGED_EXIF)
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_exif_data_that_cannot_be_read_do_not_matter(tmp_path, suffix, damage):
    exif = DAMAGED_EXIF[damage]
    save(tmp_path / f"images/a.{suffix}", photo(20, 30), exif=exif)
    ids = blocks([1, 2, 3, 4, 5, 0], 3).astype(np.uint8)
    save(tmp_path / "labels/a.png", ids, exif=exif)
    pairs, _ = find_pairs(tmp_path / "images", tmp_path / "labels")
    item = PairDataset(pairs, (30, 20), PALETTES["camvid"])[0]
    assert np.array_equal(item.labels.numpy(), ids)
    assert item.image.shape == (20, 30, 3) and item.image.float().std() > 10


def test_a_label_map_with_its_images_exif_data_is_turned_with_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    ids = blocks([0, 1, 2, 3, 4, 8], 3).astype(np.uint8)
    colors = PALETTES["camvid"].paint(torch.from_numpy(ids).long()).numpy()
    save(tmp_path / "images/a.png", colors, exif=exif)
    save(tmp_path / "labels/a.png", ids, exif=exif)
    pairs, _ = find_pairs(tmp_path / "images", tmp_path / "labels")
    item = PairDataset(pairs, (20, 30), PALETTES["camvid"])[0]
    assert torch.equal(PALETTES["camvid"].paint(item.labels), item.image)


def twelve_bits() -> bytes:
    """A TIFF file of one row of eight grey values of 12 bits, from black to white in equal steps.

    No library at hand writes it.
    """
    values = [i * 4095 // 7 for i in range(8)]
    pairs = zip(values[::2], values[1::2], strict=True)
    pixels = b"".join(((a << 12) | b).to_bytes(3, "big") for a, b in pairs)
    entries = [(256, 8), (257, 1), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1)]
    entries += [(278, 1), (279, len(pixels))]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHIHH", tag, 3, 1, v, 0) for tag, v in entries)
    head = b"II*\0" + struct.pack("<I", 8) + directory + bytes(4)
    return head.ljust(122, b"\0") + pixels


def test_grey_of_twelve_and_sixteen_bits_is_scaled(tmp_path):
    steps = np.linspace(0, 65535, 8)[None]
    save(tmp_path / "deep.png", steps.astype(np.uint16))
    save(tmp_path / "deep.tif", steps.astype(np.uint16))
    (tmp_path / "twelve.tif").write_bytes(twelve_bits())
    for path in tmp_path.iterdir():
        levels = np.asarray(read_image(path, "image"))
        assert np.abs(levels[0] - np.linspace(0, 255, 8)[:, None]).max() <= 1, path.name


def tiff(values: np.ndarray) -> bytes:
    """A TIFF file of one channel in the numbers of the array, of which Pillow writes a few only."""
    height, width = values.shape
    bits, kind = 8 * values.itemsize, {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 134), (277, 1)]
    entries += [(278, height), (279, values.nbytes), (339, kind)]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHIHH", tag, 3, 1, v, 0) for tag, v in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + values.tobytes()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("i2", "whole numbers of 16 bits with a sign, of which"),
        ("u4", "whole numbers of 32 bits, of which"),
        ("i4", "whole numbers of 32 bits with a sign, of which"),
        ("f4", "floats, of which"),
    ],
)
def test_images_without_a_known_white_are_refused_not_clipped(tmp_path, kind, says):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(np.linspace(0, 3000, 100).reshape(10, 10).astype(kind)))
    with pytest.raises(PriorError, match=rf"image a\.tif holds {says}.*8 or 16 bits"):
        read_image(path, "image")


def test_floats_that_are_ids_are_ids_and_others_are_refused(tmp_path):
    ids = blocks([1, 2, 3, 4, 5, 0], 3)
    save(tmp_path / "images/a.png", photo(20, 30))
    pair = [Pair("a", tmp_path / "images/a.png", tmp_path / "labels/a.tif")]
    dataset = PairDataset(pair, SIZE, PALETTES["grey_ids"])
    save(pair[0].label, ids.astype(np.float32))
    assert np.array_equal(dataset[0].labels.numpy(), ids)
    for odd in (0.5, np.nan, np.inf, 300, 3e9):
        wrong = ids.astype(np.float32)
        wrong[0, 0] = odd
        save(pair[0].label, wrong)
        with pytest.raises(PriorError, match=r"label map a\.tif holds"):
            dataset[0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.array([[3, 4_000_000_000]], "u4"), "it holds 4000000000; expected numbers below"),
        (np.array([[3, -6]], "i1"), "negative numbers of 8 bits, such as -6"),
        (np.array([[3, 4]], "f8"), "not of a kind that can be read"),
    ],
)
def test_numbers_that_cannot_be_held_are_told_as_they_are(tmp_path, values, says):
    save(tmp_path / "images/a.png", photo(8, 8))
    label = tmp_path / "labels/a.tif"
    label.parent.mkdir()
    label.write_bytes(tiff(values))
    dataset = PairDataset([Pair("a", tmp_path / "images/a.png", label)], SIZE, "grey_ids")
    with pytest.raises(PriorError, match=rf"label map a\.tif cannot be read: .*{says}"):
        dataset[0]
    if values.dtype.kind != "f":
        label.write_bytes(tiff(np.array([[3, 100]], values.dtype)))
        assert dataset[0].labels.tolist() == [[3, 100]]


def planar(levels: np.ndarray) -> bytes:
    """A TIFF file whose three channels lie one after the other, as no library at hand writes it."""
    height, width, _ = levels.shape
    plane = levels[..., 0].nbytes
    entries = [(256, 1, width), (257, 1, height), (258, 3, 134), (259, 1, 1), (262, 1, 2)]
    entries += [(273, 3, 140), (277, 1, 3), (278, 1, height), (279, 3, 146), (284, 1, 2)]
    starts = [152 + i * plane for i in range(3)]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, 3, n, v) for tag, n, v in entries) + bytes(4)
    lists = struct.pack("<9H", *[8 * levels.itemsize] * 3, *starts, *[plane] * 3)
    head = b"II*\0" + struct.pack("<I", 8) + directory
    return head.ljust(134, b"\0") + lists + levels.transpose(2, 0, 1).tobytes()


def test_channels_that_lie_one_after_the_other_are_read_or_refused(tmp_path):
    path, levels = tmp_path / "a.tif", photo(6, 9)
    path.write_bytes(planar(levels))
    assert np.array_equal(read_image(path, "image"), levels)
    path.write_bytes(planar(levels.astype(np.uint16) * 257))
    with pytest.raises(PriorError, match=r"a TIFF of 16 bits whose channels lie one after"):
        read_image(path, "image")


@pytest.mark.parametrize(
    ("bits", "levels", "is_read"),
    [
        (1, (0, 255), True),
        (4, (0, 255), False),
        (8, (0, 255), False),
        (4, range(16), False),
        (8, range(16), True),
    ],
)
def test_bitmaps_with_tables_of_grey_are_read_or_refused(tmp_path, bits, levels, is_read):
    """A table of black and white was read as a bit a pixel, whatever the file has."""
    ids = np.arange(64, dtype=np.uint8)[None] % len(levels)
    row = ids.tobytes()
    if bits < 8:
        row = np.packbits(np.unpackbits(ids[0, :, None], axis=1)[:, 8 - bits :]).tobytes()
    table = b"".join(bytes([level, level, level, 0]) for level in levels)
    head = struct.pack("<IiiHHIIiiII", 40, 64, 1, 1, bits, 0, len(row), 0, 0, len(levels), 0)
    start = 14 + len(head) + len(table)
    data = struct.pack("<2sIII", b"BM", start + len(row), 0, start) + head + table + row
    (tmp_path / "a.bmp").write_bytes(data)
    rules = LabelRules(PALETTES["grey_ids"], (255,))
    if is_read:
        assert np.array_equal(read_label_file(tmp_path / "a.bmp", rules).ids, ids)
    else:
        with pytest.raises(PriorError, match=f"it is a BMP of {bits} bits with a table of greys"):
            read_label_file(tmp_path / "a.bmp", rules)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_the_head_of_a_file_tells_the_size_that_is_read(tmp_path, suffix, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = save(tmp_path / f"a.{suffix}", photo(20, 30), exif=exif)
    size = read_image(path, "image").size
    assert upright_size(path, "image") == size == ((30, 20) if turn < 5 else (20, 30))


def test_of_several_pictures_in_a_file_none_is_chosen(tmp_path):
    first, *others = (Image.fromarray(photo(6, 9, seed)) for seed in range(3))
    for suffix in ("png", "tif", "webp"):
        path = tmp_path / f"a.{suffix}"
        first.save(path, save_all=True, append_images=others)
        with pytest.raises(PriorError, match="it holds 3 pictures, of which only one can be meant"):
            open_picture(path, "label map", exact=True)
    # A smaller copy, as maps have for far away, is none.
    small = others[0].resize((4, 3))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(tmp_path / "b.tif", save_all=True, append_images=[small])
    assert np.array_equal(open_picture(tmp_path / "b.tif", "label map", exact=True), first)


@pytest.mark.parametrize("strange", [200_000_000, -200_000_000, -2, 2**31 - 1])
@pytest.mark.parametrize("id_map", [None, {7: 1}])
def test_numbers_that_are_no_ids_are_refused_without_a_table_of_their_size(
    tmp_path, strange, id_map
):
    ids = blocks([1, 2, 3, 4, 5, 0], 3).astype(np.int32)
    ids[0, 0] = strange
    save(tmp_path / "images/a.png", photo(20, 30))
    save(tmp_path / "labels/a.tif", ids)
    pairs, _ = find_pairs(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(PriorError, match=f"label map a\\.tif holds class ids {strange}"):
        PairDataset(pairs, SIZE, PALETTES["camvid"], ignore_ids=(strange,), id_map=id_map)[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dataset_survives_pickling_also_after_use(tmp_path, layout):
    dataset = find_tree(layout, WRITERS[layout](tmp_path), "train").dataset(SIZE)
    first = dataset[0]
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[0].labels, first.labels) and torch.equal(copy[0].image, first.image)
    assert copy == dataset


def test_spawned_workers_read_what_this_process_reads(tmp_path):
    root = write_cityscapes(tmp_path, kinds=("labelIds",))
    dataset = find_dataset("cityscapes", root, "train").dataset(SIZE)
    loader = DataLoader(
        dataset, batch_size=2, num_workers=1, multiprocessing_context="spawn", collate_fn=list
    )
    items = [item for batch in loader for item in batch]
    assert len(items) == len(dataset) == 4
    for i, item in enumerate(items):
        assert torch.equal(item.labels, dataset[i].labels)
        assert torch.equal(item.image, dataset[i].image)
