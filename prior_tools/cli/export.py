"""`export`: generated images with label files, as a dataset in a form that others read."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..atomic import remove_leftovers
from ..datasets.label_files import survey
from ..errors import PriorError, counted, listing, printable
from ..evaluation.files import GeneratedImage, match_generated
from ..evaluation.model_files import hash_file
from ..evaluation.scores import SCORES_NAME, read_scores
from ..exporting.card import CARD_NAME, Counts, card_data, write_card
from ..exporting.choosing import Choice, choose
from ..exporting.classes import Classes
from ..exporting.forms import FORMS
from ..exporting.forms.form import Form
from ..exporting.items import TRAIN, VAL, Item, listed
from ..exporting.journal import Journal, begin_or_go_on, fingerprint
from ..exporting.provenance import read_provenance
from ..exporting.writing import SHARD_SIZE, Writer, write_shards, write_tree
from ..generating.manifest import only_one
from ..labels.findings import findings
from ..labels.id_maps import get_id_map
from ..labels.palettes import Palette
from ..labels.reading import LabelRules
from ..labels.tally import LabelTally
from ..name_lengths import check_names
from .dataset_options import add_generated, named_labels
from .output import say, tell, warn
from .palettes import add_palette
from .table import aligned


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `export` to the command line."""
    parser = commands.add_parser(
        "export",
        help="write generated images and their label maps as a dataset",
        description="Write generated images with label files in the layout, names and class ids of "
        "a known form. Each label has its image's size, cut as the ControlNet's hint is. Killed or "
        "stopped, it goes on where it was when started again.",
    )
    data = parser.add_argument_group("images")
    add_generated(data)
    data.add_argument(
        "--partial", action="store_true", help="leave out label maps without generated images"
    )
    add_palette(data, "of the label maps (default: the dataset's own; pairs have none)")
    data.add_argument(
        "--id-map",
        metavar="MAP",
        help="where the palette counts as the form does: class ids of label files that count "
        "otherwise, as in evaluate; else: which class of the palette is which of the form, "
        "CLASS=CLASS or CLASS=none by names or ids, or a file of such lines",
    )

    out = parser.add_argument_group("dataset")
    out.add_argument("--format", required=True, choices=FORMS, help="the form")
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the dataset")
    out.add_argument(
        "--val",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the label maps, with all of their images, that go to split val, by a hash of "
        "their names; default: 0",
    )
    out.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help=f"webdataset: archives of the larger split; default: of {SHARD_SIZE} images",
    )
    out.add_argument("--link", action="store_true", help="link images instead of copying them")
    out.add_argument("--name", metavar="TEXT", help="of the dataset; default: that of --out")
    out.add_argument("--license", metavar="TEXT", help="of the dataset, for its card")

    chosen = parser.add_argument_group("only what obeys its label map")
    chosen.add_argument(
        "--scores", type=Path, metavar="DIR", help="that evaluate --scores wrote of these images"
    )
    chosen.add_argument(
        "--keep",
        type=float,
        metavar="SHARE",
        help="of the images of each label map, the best by mIoU, at least one; with one image a "
        "label map, of all",
    )
    chosen.add_argument("--least", type=float, metavar="MIOU", help="that an image must have")
    chosen.add_argument(
        "--ignore-disagreement",
        action="store_true",
        help="pixels where label map and segmenter disagree get no class",
    )


def run(args: argparse.Namespace) -> int:
    """Write what is missing, then the card."""
    form = FORMS[args.format]
    _check(args, form)
    # What the map is of depends on the palette.
    named = named_labels(argparse.Namespace(**{**vars(args), "id_map": None}))
    if named.rules is None:
        raise PriorError("export needs --palette, which export --help lists")
    named.check_output(args.out)
    rules, over = named.rules, form.takes_over(named.rules.palette)
    if args.id_map is not None and over:
        rules = replace(rules, id_map=get_id_map(args.id_map))
    palette = rules.palette
    if palette.is_grey and form.name == "cityscapes":
        raise PriorError(
            f"palette {palette.name} does not say whether ids are trainIds or labelIds; choose "
            "--palette cityscapes or cityscapes_label_ids"
        )
    classes, dropped_classes = form.classes(palette, None if over else args.id_map)
    images = match_generated(args.generated, named.labels, args.partial)
    items = listed(images, args.generated, args.val)
    scores = read_scores(args.scores) if args.scores else None
    if scores:
        scores.check_ids(rules)
    choice = choose(items, scores, args.keep, args.least)
    rules, tally = _surveyed(images, rules)
    silent = {*palette.ignore_ids, *dropped_classes}
    classes.check(tally.classes, form.name, silent)
    provenance = read_provenance(args.generated)
    check_names(args.out, (form.image(item) + ".jpeg" for item in choice.items))
    _check_places(choice.items, form)
    args.out.mkdir(parents=True, exist_ok=True)
    with only_one(args.out, "export"):
        begin_or_go_on(args.out, _described(args, choice, classes, rules))
        remove_leftovers(args.out)
        journal = Journal(args.out)
        writer = Writer(
            args.out,
            form,
            classes,
            rules,
            provenance.seeds,
            scores,
            args.ignore_disagreement,
            args.link,
        )
        _write(writer, choice.items, journal, args.shards)
        if hasattr(os, "sync"):
            # All at once: file by file takes ten times as long.
            os.sync()
        form.finish(args.out, journal.lines, classes)
        counts = Counts.of(journal.lines())
        chosen_by = {
            "keep": args.keep,
            "least": args.least,
            "ignore_disagreement": args.ignore_disagreement,
            "segmenter": dict(scores.segmenter) if scores else None,
        }
        name = _one_line(args.name or args.out.resolve().name)
        terms = _one_line(args.license) if args.license else None
        data = card_data(name, form, classes, counts, choice, provenance, terms, chosen_by)
        write_card(args.out, data)
    _say(args, data, tally, rules, {*dropped_classes})
    return 0


def _check(args: argparse.Namespace, form: Form) -> None:
    """Raise PriorError for options that contradict each other, before any work."""
    if args.out.exists() and not args.out.is_dir():
        raise PriorError(f"--out {args.out} is a file; expected a folder")
    for option in ("generated", "scores"):
        folder = getattr(args, option)
        if folder and args.out.resolve().is_relative_to(folder.resolve()):
            raise PriorError(f"--out lies in --{option}; choose a folder of its own")
    if args.shards is not None and (not form.shards or args.shards < 1):
        raise PriorError(f"--shards is {args.shards}; expected 1 or more, with --format webdataset")
    if form.shards and args.link:
        raise PriorError("--link: archives hold copies; leave it out")
    if args.ignore_disagreement and not args.scores:
        raise PriorError("--ignore-disagreement needs --scores, which evaluate --scores writes")


def _surveyed(images: Sequence[GeneratedImage], rules: LabelRules) -> tuple[LabelRules, LabelTally]:
    """All label files are looked through, so that nothing is written of what cannot be."""
    files = sorted({(image.label.name, image.label) for image in images})
    return survey(files, rules, most=len(files))


def _check_places(items: Sequence[Item], form: Form) -> None:
    """Raise PriorError where two images would come to lie in one file.

    Also where names differ in case alone: many file systems take them for one.
    """
    first: dict[str, str] = {}
    for item in items:
        place = form.image(item)
        met = first.setdefault(place.casefold(), item.name)
        if met != item.name:
            raise PriorError(f"images {met} and {item.name} would both be {place}; rename one")


def _one_line(text: str) -> str:
    """As it may stand in a card, whose lines mean something."""
    return " ".join(text.split())


def _described(
    args: argparse.Namespace, choice: Choice, classes: Classes, rules: LabelRules
) -> dict[str, Any]:
    """All that the files depend on."""
    return {
        "format": args.format,
        "val": args.val,
        "shards": args.shards,
        "link": args.link,
        "palette": classes.palette.to_json(),
        "id map": sorted(rules.id_map.items()) if rules.id_map else None,
        "classes": sorted(classes.partners.items()),
        "ignore-disagreement": args.ignore_disagreement,
        "scores": hash_file(args.scores / SCORES_NAME) if args.scores else None,
        "images": len(choice.items),
        "images and label maps": fingerprint(choice.items),
    }


def _write(writer: Writer, items: Sequence[Item], journal: Journal, number: int | None) -> None:
    with tqdm(total=len(items), initial=len(journal.done), unit="img") as bar:
        if not writer.form.shards:
            write_tree(writer, items, journal, bar.update)
            return
        most = SHARD_SIZE
        if number is not None:
            larger = max(sum(item.split == split for item in items) for split in (TRAIN, VAL))
            most = math.ceil(larger / number)
        write_shards(writer, items, journal, bar.update, most)


def _say(
    args: argparse.Namespace,
    data: Mapping[str, Any],
    tally: LabelTally,
    rules: LabelRules,
    dropped_classes: set[int],
) -> None:
    palette = rules.palette
    for _, text in findings(tally, palette, rules.ignore_ids, option=""):
        warn(text)
    images = ", ".join(
        f"{split} {number} of {counted(data['label_maps'][split], 'label map')}"
        for split, number in data["images"].items()
    )
    tell(f"wrote {args.out}: form {args.format}, images: {images}; see {CARD_NAME}")
    say(data["note"])
    if data["images_written_anew"]:
        say(
            f"{counted(data['images_written_anew'], 'image was', 'images were')} written anew as "
            f"{data['images_written_anew_as']}"
        )
    if dropped_classes:
        names = [
            palette.names.get(i, str(i)) for i in sorted(dropped_classes) if i in tally.classes
        ]
        say(f"written as no class: {listing(names, 20) or 'nothing'}")
    chosen = data["chosen"]
    if args.keep or args.least:
        say(f"left out: {chosen['dropped_images']} of {counted(chosen['of_images'], 'image')}")
    if chosen["dropped_by_class"]:
        rows = [["class", "images", "left out", "of its pixels"]]
        for row in chosen["dropped_by_class"]:
            share = f"{row['dropped_share_of_pixels']:.2%}"
            cells = [str(row["images"]), str(row["dropped_images"]), share]
            rows.append([f"{row['id']} {printable(row['name'])}".strip(), *cells])
        print("\n".join(aligned(rows, words=(0,))))
    if args.ignore_disagreement:
        _say_disagreement(data, palette)


def _say_disagreement(data: Mapping[str, Any], palette: Palette) -> None:
    found = {int(i): n for i, n in data["disagreement"]["pixels_by_palette_id"].items()}
    if not found:
        say("label maps and segmenter agree everywhere")
        return
    written = {int(i): other for i, other in data["class_ids_by_palette_id"].items()}
    left = {row["id"]: sum(row["pixels"].values()) for row in data["classes"]}
    rows = [["class", "pixels that disagree", "of the class"]]
    for class_id, pixels in found.items():
        whole = pixels + left.get(written.get(class_id, -1), 0)
        name = printable(palette.names.get(class_id, ""))
        rows.append([f"{class_id} {name}".strip(), str(pixels), f"{pixels / whole:.2%}"])
    print("\n".join(aligned(rows, words=(0,))))
