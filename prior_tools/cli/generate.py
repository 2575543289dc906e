"""`generate`: images of many label maps, made by running ComfyUI servers."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..atomic import remove_leftovers
from ..cluster.ray_cluster import import_ray
from ..errors import PriorError, counted, listing, printable
from ..generating.balance import SQUARE_ROOTS, Balance
from ..generating.comfy_client import ComfyClient
from ..generating.crew import Crew
from ..generating.jobs import Job, plan
from ..generating.label_maps import LabelMap, find_label_maps, with_mirrored
from ..generating.manifest import (
    MANIFEST_NAME,
    RUN_NAME,
    Manifest,
    begin_or_go_on,
    describe_run,
    only_one,
    record_summary,
)
from ..generating.named_servers import NamedServers
from ..generating.node_warnings import WarningCounts
from ..generating.prepared_workflow import PreparedWorkflow, prepare_workflow
from ..generating.run import make_images
from ..generating.server_access import (
    AUTH_VARIABLE,
    distinct_servers,
    is_overheard,
    read_authorizations,
    trusting,
)
from ..generating.work import GenerationStopped
from ..generating.workflow_file import as_prompt, read_workflow
from ..labels.findings import findings
from ..labels.id_maps import ID_MAPS
from ..labels.reading import LabelRules
from ..labels.tally import LabelTally
from ..name_lengths import check_names
from .cluster_options import add_cluster, check_kind, cluster_of
from .dataset_options import add_labels, named_labels
from .output import say, tell, warn
from .palettes import add_palette
from .table import aligned

STOPPED = 1
CANCELLED = 130

# Kinds of warnings that are shown; the record of the run holds all.
_MOST_WARNINGS = 20

_GO_ON = "start the same command again to go on from there"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `generate` to the command line."""
    parser = commands.add_parser(
        "generate",
        help="make images of many label maps on running ComfyUI servers",
        description="Send every label map of a folder through a workflow on one or several running "
        "ComfyUI servers. Killed or stopped, it goes on where it was when started again.",
    )
    parser.add_argument("--workflow", type=Path, required=True, metavar="FILE", help="its JSON")
    add_labels(parser, "to make images of")
    add_palette(
        parser,
        "of label maps, which are read as build reads them and sent in its colors (default: the "
        "dataset's own; of a folder and of pairs as they look, and those of one channel in grey)",
    )
    parser.add_argument(
        "--id-map",
        metavar="MAP",
        help=f"for label maps whose ids differ from the palette's: {', '.join(ID_MAPS)}, entries "
        "such as 0=-1,1-150=0, or a file of them; for a folder of label maps it needs --palette",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the images")
    parser.add_argument("--per-map", type=positive, default=1, metavar="K", help="images of each")
    add_sampling(parser)
    parser.add_argument(
        "--mirror",
        action="store_true",
        help="also each label map with left and right exchanged, named as it and _mirrored",
    )
    parser.add_argument(
        "--balance",
        nargs="?",
        const=SQUARE_ROOTS,
        metavar="SHARES",
        help="of --per-map images in the mean more of label maps that hold rare classes, of each "
        "at least one: class shares become square roots (the default), or CLASS=SHARE,... of "
        "pixels; needs --palette",
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add what decides how images are made: servers, seed, and the workflow's nodes."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--server", nargs="+", metavar="URL", help="one or several running servers")
    who.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="start a server on each GPU of a Ray cluster; without an address a cluster that runs "
        "here, or this machine alone",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the run; default: 0")
    parser.add_argument(
        "--batch",
        type=positive,
        default=1,
        metavar="N",
        help="label maps in one prompt; default: 1",
    )

    nodes = parser.add_argument_group("nodes of the workflow, by title")
    nodes.add_argument(
        "--set", action="append", default=[], metavar="TITLE.INPUT=VALUE", help="may be repeated"
    )
    nodes.add_argument(
        "--label-input", default="Label map", metavar="TITLE[.INPUT]", help="default: Label map"
    )
    nodes.add_argument(
        "--seed-input", default="Seed", metavar="TITLE[.INPUT]", help="default: Seed"
    )
    nodes.add_argument(
        "--output-node", metavar="TITLE", help="default: the only Save Image or Preview Image"
    )

    servers = parser.add_argument_group("servers")
    servers.add_argument(
        "--depth",
        type=positive,
        default=2,
        metavar="N",
        help="prompts queued on a server; default: 2",
    )
    servers.add_argument(
        "--patience",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long to wait for a server that went away; default: 600",
    )
    servers.add_argument(
        "--auth-file",
        type=Path,
        metavar="FILE",
        help="login of servers: a line 'bearer TOKEN' or 'basic USER:PASSWORD', after the address "
        f"of a server for that one alone; default: such lines in the variable {AUTH_VARIABLE}",
    )
    servers.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="certificates in PEM to trust over https, besides the system's",
    )
    add_cluster(parser)


def say_labels(label_maps: Sequence[LabelMap], tally: LabelTally, rules: LabelRules | None) -> None:
    """The labelled share, and what is strange about the label maps."""
    if rules is None:
        bare = [label_map.name for label_map in label_maps if not label_map.has_colors]
        if bare:
            warn(
                f"class ids of {counted(len(bare), 'label map')} ({listing(bare, 3)}) are sent in "
                "grey, which a ControlNet takes for colors; with --palette they are sent in its "
                "colors"
            )
        return
    share = tally.labelled(rules.ignore_ids)
    say(f"{share:.1%} of the label maps' pixels are of a class")
    for _, text in findings(tally, rules.palette, rules.ignore_ids, option=""):
        warn(text)


def _balance(
    args: argparse.Namespace, label_maps: Sequence[LabelMap], rules: LabelRules | None
) -> Balance | None:
    """What --balance asks for; None where it is not given."""
    if args.balance is None:
        return None
    if rules is None:
        raise PriorError("--balance needs --palette, by which classes are known")
    if args.per_map < 2:
        raise PriorError(
            "--balance needs --per-map 2 or more: of each label map one image is made, and the "
            "others where they are wanted"
        )
    if args.batch > 1:
        raise PriorError(
            "--balance goes with --batch 1 only: of the label maps of a prompt equally many "
            "images are made"
        )
    return Balance.of(args.balance, label_maps, rules.palette)


def _print_balance(table: Sequence[Mapping[str, float | int]], names: Mapping[int, str]) -> None:
    rows = [["class", "in label maps", "wanted", "got"]]
    for row in table:
        shares = [f"{row[name]:.2%}" for name in ("in_label_maps", "wanted", "got")]
        class_id = int(row["id"])
        rows.append([f"{class_id} {printable(names.get(class_id, ''))}".strip(), *shares])
    print("\n".join(aligned(rows, words=(0,))))
    print()


def run(args: argparse.Namespace) -> int:
    """Make what is missing and sum up."""
    if args.out.exists() and not args.out.is_dir():
        raise PriorError(f"--out {args.out} is a file; expected a folder")
    saved_workflow = read_workflow(args.workflow)
    crew = crew_of(args)
    named = named_labels(args)
    named.check_output(args.out)
    rules = named.rules
    label_maps, tally = find_label_maps(named.labels, rules)
    say_labels(label_maps, tally, rules)
    if args.mirror:
        label_maps = with_mirrored(label_maps)
    balance = _balance(args, label_maps, rules)
    counts = balance.counts(args.per_map) if balance else None
    jobs = plan(label_maps, args.per_map, args.batch, args.seed, counts)
    check_names(args.out, [name for job in jobs for name in job.files])
    with crew.open(len(jobs)):
        object_info = crew.object_info()
        workflow = prepare_workflow(
            as_prompt(saved_workflow, object_info),
            args.label_input,
            args.seed_input,
            args.output_node,
            args.set,
            object_info,
        )
        run_data = describe_run(workflow, label_maps, args.seed, args.batch, rules)
        return make(args, args.out, jobs, crew, workflow, run_data, balance=balance, rules=rules)


def make(
    args: argparse.Namespace,
    out: Path,
    jobs: Sequence[Job],
    crew: Crew,
    workflow: PreparedWorkflow,
    run_data: dict[str, Any],
    what: str | None = None,
    balance: Balance | None = None,
    rules: LabelRules | None = None,
) -> int:
    """Make the images of a run that are missing in `out`, sum up, and return the exit code.

    run_data: see `describe_run`. what: is made, for the bar. balance: what was asked for, of label
    maps read by `rules`.
    """
    files = [name for job in jobs for name in job.files]
    out.mkdir(parents=True, exist_ok=True)
    with only_one(out):
        run_id = begin_or_go_on(out, run_data, files)
        remove_leftovers(out)
        manifest = Manifest(out, workflow.settings)
        made = len(manifest.done.intersection(files))
        with (
            tqdm(total=len(files), initial=made, desc=what, unit="img", smoothing=0.05) as bar,
            _sigterm_as_ctrl_c(),
        ):
            failure = make_images(
                jobs,
                crew,
                workflow,
                manifest,
                run_id,
                progress=bar.update,
                tell=_tell,
                show=bar.set_postfix_str,
            )
        made = len(manifest.done.intersection(files))
        table = balance.table(jobs, manifest.done) if balance else None
        try:
            kinds = record_summary(out, manifest.warnings, table, crew.record())
            if len(kinds) > 1:
                warn(
                    f"{len(kinds)} kinds of servers made the images, which may differ in their "
                    f"last bits by it; {RUN_NAME} lists them"
                )
        except OSError as error:
            # The images are there, and so are their lines, of which the next command counts.
            warn(f"{RUN_NAME} does not hold the latest summary: {error}")
    code = _summarize(args.command, out, failure, made, len(files))
    if table and rules:
        _print_balance(table, rules.palette.names)
    if more := sorted(manifest.done.difference(files)):
        warn(
            f"{out} also holds {counted(len(more), 'image')} made before, beside those of this "
            f"command ({listing(more, 3)}); what reads the folder takes them all"
        )
    _warn(manifest.warnings, len(manifest.done))
    return code


def crew_of(args: argparse.Namespace) -> Crew:
    """Who makes the images by the options of `add_sampling`.

    Raises PriorError for options that cannot be, and where Ray is wanted and missing.
    """
    check_kind(args)
    if args.ray is None:
        return NamedServers(_clients_of(args), args.depth, args.patience)
    import_ray()
    return cluster_of(args, _tell)


def _clients_of(args: argparse.Namespace) -> list[ComfyClient]:
    """One for each server; who names one twice means one."""
    urls = distinct_servers(args.server)
    authorizations = read_authorizations(args.auth_file, urls)
    for url in filter(is_overheard, authorizations):
        warn(f"the authorization for {url} can be read by whoever is on the way; use https")
    tls = None if args.ca_file is None else trusting(args.ca_file)
    return [ComfyClient(url, authorizations.get(url), tls) for url in urls]


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _summarize(
    command: str, out: Path, failure: BaseException | None, made: int, total: int
) -> int:
    if isinstance(failure, KeyboardInterrupt):
        print(f"stopped after {made} of {counted(total, 'image')}; {_GO_ON}", file=sys.stderr)
        return CANCELLED
    if isinstance(failure, GenerationStopped):
        text = printable(" ".join(str(failure).split()))
        print(f"{command}: error: {text}", file=sys.stderr)
        of_all = counted(total, "image")
        print(f"made {made} of {of_all}; once that is mended, {_GO_ON}", file=sys.stderr)
        return STOPPED
    if failure is not None:
        raise failure
    tell(f"made {counted(total, 'image')} in {out}, listed in {MANIFEST_NAME}")
    return 0


def _warn(warnings: WarningCounts, images: int) -> None:
    """Say what nodes on the servers warned of, in this run and before it was gone on with."""
    summary = warnings.summary()
    for count in summary[:_MOST_WARNINGS]:
        kind, example = count["kind"], count["example"]
        text = example["text"] if kind == example["text"] else f"{kind}. {example['text']}"
        warn(
            f"{count['images']} of {counted(images, 'image')}: node {count['node']!r}: "
            f"{' '.join(text.split())} ({example['file']})"
        )
    if len(summary) > _MOST_WARNINGS:
        more = counted(len(summary) - _MOST_WARNINGS, "more kind", "more kinds")
        warn(f"{more} of warnings in {RUN_NAME}")


def _tell(text: str) -> None:
    tqdm.write(printable(text), file=sys.stderr)


def positive(text: str) -> int:
    """An option's value: a number from 1 on."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return number
