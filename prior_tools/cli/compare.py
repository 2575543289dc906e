"""`compare`: the stock start and the prior's, on the same label maps and seeds, with a report."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from ..atomic import remove_leftovers_of, write_bytes
from ..comparing.choice import choose
from ..comparing.gains import Gain, gains, shown_maps
from ..comparing.page import Report, html_page
from ..comparing.starts import (
    SHOWN,
    Starts,
    both_starts,
    is_put_together,
    named_files,
    size_follows,
    with_shown,
)
from ..comparing.strips import Strip, contact_sheet, jpeg, read_strip
from ..comparing.verdicts import HEADING, reasons, summary, table, verdicts
from ..datasets.label_files import check_shape
from ..datasets.names import look_alikes
from ..datasets.pairs import files_by_name
from ..datasets.picture_files import upright_size
from ..errors import PriorError, counted, listing
from ..evaluation.folders import Evaluation, check_scored
from ..evaluation.intervals import DRAWS
from ..evaluation.model_files import ModelFiles
from ..evaluation.report import notes, versions, write_json
from ..generating.crew import Crew
from ..generating.jobs import plan
from ..generating.label_maps import LabelMap, find_label_maps
from ..generating.manifest import Manifest, describe_run
from ..generating.prepared_workflow import prepare_workflow
from ..generating.titled_inputs import is_link
from ..generating.workflow_file import as_prompt, read_workflow
from ..labels.ids import parse_ids
from ..labels.reading import LabelRules
from ..labels.tally import LabelTally
from ..name_lengths import check_names
from . import evaluate, generate
from .dataset_options import NamedLabels, add_labels, named_labels
from .output import say, shared_path, tell, warn
from .table import aligned

QUICK = 24
# Of fewer label maps a bootstrap's interval is too narrow.
_ENOUGH = 20

_STOCK, _PRIOR = "stock", "prior"
REPORT, SHEET, FIGURES = "report.html", "contact_sheet.jpg", "figures.json"
_CACHE = "real_features.safetensors"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `compare` to the command line."""
    parser = commands.add_parser(
        "compare",
        help="compare the prior's start with the stock start on your own model",
        description="Make the same label maps and seeds twice on running ComfyUI servers, with the "
        "workflow's own start from a prior and with the stock start (Joint Prior Noise set to "
        "normal, mu to 1), measure both, and write a report that can be shown to a colleague. "
        "Killed or stopped, it goes on where it was when started again.",
    )
    parser.add_argument("--workflow", type=Path, required=True, metavar="FILE", help="its JSON")
    add_labels(parser, "to compare on")
    parser.add_argument(
        "--real",
        type=Path,
        metavar="DIR",
        help="real images of the label maps (default: those of --dataset)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="for images, figures and the report"
    )
    parser.add_argument(
        "--per-map", type=generate.positive, default=2, metavar="K", help="seeds of each, default 2"
    )
    parser.add_argument(
        "--quick",
        type=generate.positive,
        nargs="?",
        const=QUICK,
        metavar="N",
        help=f"N label maps only ({QUICK} if it is not said), spread over the folder by the hash "
        "of their names",
    )
    evaluate.add_label_rules(parser)
    generate.add_sampling(parser)
    evaluate.add_models(parser)
    # As `evaluate` has them by default, so that it finds the same figures in the same folders.
    parser.set_defaults(real_fit="resize", draws=DRAWS, scores=None)


@dataclass(frozen=True)
class _Inputs:
    """What is compared on.

    Attributes:
        label_maps: chosen ones; of_all: how many there are.
        tally: what they hold by the rules.
        real: real image of each name.
        named: all label maps.
    """

    label_maps: list[LabelMap]
    of_all: int
    tally: LabelTally
    real: Mapping[str, Path]
    named: NamedLabels

    @property
    def rules(self) -> LabelRules | None:
        """How label maps are read; None where nothing says what they hold."""
        return self.named.rules

    def counts(self, per_map: int) -> str:
        """On how many label maps and seeds, in words."""
        chosen = len(self.label_maps)
        which = counted(chosen, "label map")
        if chosen < self.of_all:
            which += (
                f" of {self.of_all}, chosen by the hash of their names, which spreads them over "
                "the folder"
            )
        seeds = "one seed" if per_map == 1 else f"{per_map} seeds"
        images = counted(chosen * per_map, "image")
        return f"{which}; {seeds} each: {images} with either start."


def run(args: argparse.Namespace) -> int:
    """Check everything, make what is missing, measure, and write the report."""
    evaluate.check_models(args)
    _check_folders(args)
    saved_workflow = read_workflow(args.workflow)
    crew = generate.crew_of(args)
    inputs = _inputs(args)
    models = evaluate.load_models(args)
    _check_segmenter(args, inputs, models)
    with crew.open(len(inputs.label_maps) * args.per_map):
        starts = _starts(args, inputs, saved_workflow, crew)
        say(inputs.counts(args.per_map))
        say(_change(starts))
        for name, workflow in ((_STOCK, starts.stock), (_PRIOR, starts.prior)):
            jobs = plan(inputs.label_maps, args.per_map, args.batch, args.seed)
            maps, rules = inputs.label_maps, inputs.rules
            run_data = describe_run(workflow, maps, args.seed, args.batch, rules)
            code = generate.make(args, args.out / name, jobs, crew, workflow, run_data, name)
            if code:
                return code
        host = crew.versions()
    return _judge(args, inputs, starts, models, host)


def _check_folders(args: argparse.Namespace) -> None:
    if args.out.exists() and not args.out.is_dir():
        raise PriorError(f"--out {args.out} is a file; expected a folder")
    if args.real and args.out.resolve().is_relative_to(args.real.resolve()):
        raise PriorError("--out lies in --real, so its images would be taken for those")


def _inputs(args: argparse.Namespace) -> _Inputs:
    """The label maps to compare on, and their real images."""
    named = named_labels(args)
    named.check_output(args.out)
    if args.segmenter and named.rules is None:
        raise PriorError(evaluate.NEEDS_PALETTE)
    files = named.labels
    names = sorted(files) if args.quick is None else choose(files, args.quick)
    _say_skipped(_skipped(args, len(names)))
    real = files_by_name(args.real, "real image") if args.real else named.images
    if not real:
        raise PriorError(
            "there are no real images to set beside the label maps; name their folder by --real, "
            "or a dataset by --dataset, --root and --split"
        )
    alone = [name for name in names if name not in real]
    if len(alone) == len(names):
        alike = look_alikes(names, real)
        raise PriorError(
            f"no label map in {named.title} has a real image of its name in {args.real}: there "
            f"are {listing(names, 3)}, and {listing(sorted(real), 3)}{alike and '; '}{alike}. "
            "Expected names that are equal but for the suffix, such as labels/0001.png and "
            "real/0001.jpg"
        )
    if alone:
        which = counted(len(alone), "label map has", "label maps have")
        warn(f"{which} no real image of the same name: {listing(alone, 3)}")
    for name in (name for name in names if name in real):
        check_shape(
            files[name].name,
            upright_size(files[name], "label map"),
            f"real image {real[name].name}",
            upright_size(real[name], "real image"),
        )
    chosen = {name: files[name] for name in names}
    label_maps, tally = find_label_maps(chosen, named.rules)
    generate.say_labels(label_maps, tally, named.rules)
    return _Inputs(label_maps, len(files), tally, real, named)


def _skipped(args: argparse.Namespace, maps: int) -> dict[str, str]:
    return reasons(maps, segmenter=bool(args.segmenter), inception=bool(args.inception))


def _say_skipped(skipped: Mapping[str, str]) -> None:
    for why in dict.fromkeys(skipped.values()):
        say(f"left out: {', '.join(name for name, w in skipped.items() if w == why)}: {why}")


def _check_segmenter(args: argparse.Namespace, inputs: _Inputs, models: evaluate.Models) -> None:
    """Raise PriorError before the slow part for a segmenter that lacks classes of label maps."""
    _, segmenter = models
    if segmenter is None or inputs.rules is None:
        return
    width, height = upright_size(inputs.label_maps[0].path, "label map")
    scores = segmenter(torch.zeros(1, height, width, 3, dtype=torch.uint8))
    ignored = inputs.rules.ignore_ids if args.ignore is None else parse_ids(args.ignore, "--ignore")
    present = sorted(inputs.tally.classes.keys() - set(ignored))
    check_scored(present, segmenter, scores.shape[1], "the label maps hold")


def _starts(
    args: argparse.Namespace,
    inputs: _Inputs,
    saved_workflow: dict[str, Any],
    crew: Crew,
) -> Starts:
    """The workflow with both starts, and all files that are to be made checked."""
    object_info = crew.object_info()
    prompt = with_shown(as_prompt(saved_workflow, object_info), args.output_node, object_info)
    if is_put_together(prompt, object_info):
        warn(
            f"the picture of node {args.output_node!r} is put together of several; the whole is "
            "measured. If it shows more than the result, name another by --output-node"
        )
    workflow = prepare_workflow(
        prompt, args.label_input, args.seed_input, SHOWN, args.set, object_info
    )
    starts = both_starts(workflow)
    sizes = {upright_size(label_map.path, "label map") for label_map in inputs.label_maps}
    if len(sizes) > 1 and size_follows(workflow, starts.mode.node_id):
        shown = [f"{width}x{height}" for width, height in sorted(sizes)]
        raise PriorError(
            f"the label maps are of {len(sizes)} sizes ({listing(shown, 3)}), and so would the "
            "images be, which are measured at one size; resize the label maps, or in the workflow "
            "before Joint Prior Noise and the ControlNet (nearest)"
        )
    jobs = plan(inputs.label_maps, args.per_map, args.batch, args.seed)
    check_names(args.out / _STOCK, [name for job in jobs for name in job.files])
    return starts


def _change(starts: Starts) -> str:
    """What alone differs between the starts."""
    mode, mu = starts.values
    return (
        f"The prior's start is the workflow as it is (node {starts.mode.title!r}: mode {mode}; "
        f"node {starts.mu.title!r}: mu {mu:g}); the stock start is the same with mode normal and "
        "mu 1."
    )


def _judge(
    args: argparse.Namespace,
    inputs: _Inputs,
    starts: Starts,
    models: evaluate.Models,
    host: Mapping[str, str],
) -> int:
    """Measure the images that are there, print the table and write the report."""
    skipped = _skipped(args, len(inputs.label_maps))
    with_real = "FID" not in skipped
    named = inputs.named if with_real else replace(inputs.named, images={})
    shared = replace(named, place=shared_path(named.place))
    given = {
        **vars(args),
        "generated": args.out / _PRIOR,
        "baseline": args.out / _STOCK,
        "partial": args.quick is not None,
        "real": args.real if with_real else None,
        "cache": args.out / _CACHE,
        "seed": 0,
    }
    judging = argparse.Namespace(**given)
    evaluation, (inception, segmenter) = evaluate.measure(judging, named, models)
    skipped = {**{k: v for k, v in evaluation.skipped.items() if k not in skipped}, **skipped}
    rows = table(evaluation)
    found = _gains(evaluation)
    print()
    print("\n".join(aligned([list(HEADING), *rows], words=(0, 4))))
    print()
    _say_skipped(skipped)
    say(
        "difference: prior's start less stock start, paired by label map. ±: half of a 95% interval"
    )
    say(summary(rows))

    groups, chosen = _pictures(inputs, evaluation, found)
    warnings = _warnings(args, inputs, evaluation)
    used = {"Segmenter": segmenter, "Inception": inception}
    report = Report(
        title=args.workflow.name,
        date=_today(),
        counts=inputs.counts(args.per_map),
        change=_change(starts),
        summary=summary(rows),
        rows=rows,
        skipped=skipped,
        verdicts=verdicts(rows),
        groups=groups,
        chosen=chosen,
        gains=found,
        warnings=warnings,
        notes=notes(evaluation.figures),
        settings=_settings(
            args,
            replace(inputs, named=shared),
            starts,
            host,
            {k: m.files for k, m in used.items() if m is not None},
        ),
    )
    told = argparse.Namespace(**{**given, **_for_others(given)})
    data = evaluate.as_data(evaluation, told, shared, inception, segmenter)
    data |= {"skipped": skipped, "gains": [asdict(gain) for gain in found]}
    write_json(args.out / FIGURES, data, overwrite=True)
    pages = {SHEET: jpeg(contact_sheet(groups)), REPORT: html_page(report).encode()}
    for name, page in pages.items():
        remove_leftovers_of(args.out / name)
        write_bytes(args.out / name, page)
    tell(f"wrote {args.out / REPORT}, {SHEET} and {FIGURES}")
    return 0


def _for_others(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a report tells them: what lies in its folder from there, all else by its name."""
    found = {"generated": Path(_PRIOR), "baseline": Path(_STOCK)}
    for name in ("real", "palette", "id_map"):
        if given[name] is not None:
            found[name] = shared_path(Path(given[name]))
    return {name: str(path) for name, path in found.items()}


def _gains(evaluation: Evaluation) -> list[Gain]:
    baseline = evaluation.baseline
    if baseline is None or baseline.counts is None or evaluation.counts is None:
        return []
    return gains((baseline.counts, baseline.maps), (evaluation.counts, evaluation.maps))


def _pictures(
    inputs: _Inputs, evaluation: Evaluation, found: Sequence[Gain]
) -> tuple[list[tuple[str, list[Strip]]], str]:
    """The parts of the contact sheet, and how its label maps were chosen."""
    assert evaluation.baseline is not None, "two starts are compared"
    label_maps = {label_map.stem: label_map for label_map in inputs.label_maps}
    first = [
        {image.map: image.image for image in reversed(side.images)}
        for side in (evaluation.baseline, evaluation)
    ]

    def strip(name: str, caption: str) -> Strip:
        stock, prior = (side[name] for side in first)
        return read_strip(label_maps[name], inputs.real.get(name), stock, prior, caption)

    groups, chosen = shown_maps(found, label_maps)
    return [(heading, [strip(*each) for each in maps]) for heading, maps in groups], chosen


def _warnings(args: argparse.Namespace, inputs: _Inputs, evaluation: Evaluation) -> list[str]:
    found = []
    if args.segmenter:
        found.append(
            "mIoU and pixel accuracy are a segmentation model's view. It errs too, though it errs "
            "alike with both starts: look at the pictures."
        )
    if len(inputs.label_maps) < inputs.of_all:
        found.append(
            f"A quick look, at {len(inputs.label_maps)} of {inputs.of_all} label maps only."
        )
    if len(inputs.label_maps) < _ENOUGH:
        found.append(
            f"{counted(len(inputs.label_maps), 'label map is', 'label maps are')} few: intervals "
            f"of fewer than {_ENOUGH} are mostly too narrow, so that more seems clear than is."
        )
    for name in (_STOCK, _PRIOR):
        for count in Manifest(args.out / name, {}).warnings.summary():
            found.append(
                f"Of the {name} start, node {count['node']!r} warned of "
                f"{counted(count['images'], 'image')}: "
                f"{' '.join(count['example']['text'].split())}"
            )
    if evaluation.other_shape:
        found.append(
            f"{counted(len(evaluation.other_shape), 'label map')} of another shape than the images "
            "had to be cut to it."
        )
    return found


def _settings(
    args: argparse.Namespace,
    inputs: _Inputs,
    starts: Starts,
    host: Mapping[str, str],
    models: Mapping[str, ModelFiles],
) -> dict[str, str]:
    prompt = starts.prior.prompt
    found = {
        "Workflow": f"{args.workflow.name}, SHA-256 "
        f"{hashlib.sha256(args.workflow.read_bytes()).hexdigest()}",
    }
    if starts.prior.settings:
        found["Set beside it"] = ", ".join(f"{k} = {v}" for k, v in starts.prior.settings.items())
    for place in (starts.mode, starts.mu):
        inputs_of = prompt[place.node_id]["inputs"].items()
        own = (starts.prior.seed.node_id, starts.prior.seed.name)
        shown = [f"{k} {v}" for k, v in inputs_of if not is_link(v) and (place.node_id, k) != own]
        found[f"Node {place.title}"] = ", ".join(shown)
    found["Stock start"] = f"{starts.mode} = normal, {starts.mu} = 1"
    found["Images of"] = f"node {starts.image}"
    found["Models"] = "; ".join(named_files(prompt)) or "none that the workflow names as files"
    rules = inputs.rules
    palette = f", palette {rules.palette.name}" if rules else ""
    found["Label maps"] = (
        f"{len(inputs.label_maps)} of {inputs.of_all} of {inputs.named.title}{palette}"
    )
    real = shared_path(args.real) if args.real else inputs.named.title
    found["Real images"] = f"{len(inputs.real)} of {real}"
    found["Seeds"] = (
        f"{args.per_map} for each label map, made of its name and the run's seed {args.seed}; the "
        f"same with both starts; listed in {_STOCK}/manifest.jsonl and {_PRIOR}/manifest.jsonl"
    )
    for what, files in models.items():
        hashes = ", ".join(f"{sha256[:16]} of {name}" for name, sha256 in files.sha256.items())
        found[what] = f"{files.name}; SHA-256 {hashes}"
    used = {**host, **{k: v for k, v in versions().items() if v}}
    found["Versions"] = ", ".join(f"{name} {version}" for name, version in used.items())
    found["Report of"] = datetime.now(timezone.utc).isoformat(timespec="minutes")
    return found


def _today() -> str:
    now = datetime.now(timezone.utc)
    return f"{now.day} {now:%B %Y}"
