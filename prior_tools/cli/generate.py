"""`generate`: images of many label maps, made by running ComfyUI servers."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ..errors import PriorError
from ..generating.jobs import plan
from ..generating.label_maps import find_label_maps
from ..generating.manifest import (
    MANIFEST_NAME,
    Manifest,
    begin_or_go_on,
    describe_run,
    only_one,
    remove_leftovers,
)
from ..generating.prepared_workflow import prepare_workflow
from ..generating.run import make_images, reach
from ..generating.work import GenerationStopped
from ..generating.workflow_file import as_prompt, read_workflow
from .output import printable

STOPPED = 1
CANCELLED = 130

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
    parser.add_argument("--labels", type=Path, required=True, metavar="DIR", help="label maps")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the images")
    parser.add_argument("--per-map", type=_positive, default=1, metavar="K", help="images of each")
    parser.add_argument("--server", nargs="+", required=True, metavar="URL", help="one or several")
    parser.add_argument("--seed", type=int, default=0, help="of the run; default: 0")
    parser.add_argument("--batch", type=_positive, default=1, metavar="N", help="maps a prompt")

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
        "--depth", type=_positive, default=2, metavar="N", help="prompts in a queue; default: 2"
    )
    servers.add_argument(
        "--patience",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long to wait for a server that went away; default: 600",
    )


def run(args: argparse.Namespace) -> int:
    """Make what is missing and sum up."""
    _check_folders(args)
    saved_workflow = read_workflow(args.workflow)
    label_maps = find_label_maps(args.labels)
    jobs = plan(label_maps, args.per_map, args.batch, args.seed)
    files = [name for job in jobs for name in job.files]
    clients, object_info = reach(args.server)
    workflow = prepare_workflow(
        as_prompt(saved_workflow, object_info),
        args.label_input,
        args.seed_input,
        args.output_node,
        args.set,
        object_info,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    with only_one(args.out):
        run_data = describe_run(workflow, label_maps, args.seed, args.batch)
        run_id = begin_or_go_on(args.out, run_data, files)
        remove_leftovers(args.out)
        manifest = Manifest(args.out, workflow.settings)
        made = len(manifest.done.intersection(files))
        with (
            tqdm(total=len(files), initial=made, unit="img", smoothing=0.05) as bar,
            _sigterm_as_ctrl_c(),
        ):
            failure = make_images(
                jobs,
                clients,
                workflow,
                manifest,
                run_id,
                args.depth,
                args.patience,
                progress=bar.update,
                tell=_tell,
            )
        made = len(manifest.done.intersection(files))
    return _summarize(args, failure, made, len(files))


def _check_folders(args: argparse.Namespace) -> None:
    if args.out.exists() and not args.out.is_dir():
        raise PriorError(f"--out {args.out} is a file; expected a folder")
    if args.out.resolve().is_relative_to(args.labels.resolve()):
        raise PriorError("--out lies in --labels, so images would be taken for label maps")


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
    args: argparse.Namespace, failure: BaseException | None, made: int, total: int
) -> int:
    if isinstance(failure, KeyboardInterrupt):
        print(f"stopped after {made} of {total} images; {_GO_ON}", file=sys.stderr)
        return CANCELLED
    if isinstance(failure, GenerationStopped):
        text = printable(" ".join(str(failure).split()))
        print(f"generate: error: {text}", file=sys.stderr)
        print(f"{made} of {total} images are made; {_GO_ON}", file=sys.stderr)
        return STOPPED
    if failure is not None:
        raise failure
    print(f"made {total} images in {args.out}, listed in {MANIFEST_NAME}")
    return 0


def _tell(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return number
