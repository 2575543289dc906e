"""`generate`: images of many label maps, made by running ComfyUI servers."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import PriorError
from ..generating.comfy_client import ComfyClient, ServerGone, ServerRefused, server_url
from ..generating.driver import Driver
from ..generating.graph import Graph, graph_of
from ..generating.jobs import Job, plan
from ..generating.label_maps import LabelMap, find_label_maps
from ..generating.manifest import (
    MANIFEST_NAME,
    Manifest,
    begin_or_go_on,
    describe_run,
    only_one,
    remove_leftovers,
)
from ..generating.work import GenerationStopped, Work
from ..generating.workflow_file import as_prompt, read_workflow
from .output import printable

STOPPED = 1
CANCELLED = 130

_GO_ON = "start the same command again to go on from there"
_END_PATIENCE = 15.0


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
    workflow = read_workflow(args.workflow)
    label_maps = find_label_maps(args.labels)
    jobs = plan(label_maps, args.per_map, args.batch, args.seed)
    clients = [ComfyClient(url) for url in dict.fromkeys(map(server_url, args.server))]
    object_info, *_ = [_reach(client) for client in clients]
    graph = graph_of(
        as_prompt(workflow, object_info),
        args.label_input,
        args.seed_input,
        args.output_node,
        args.set,
        object_info,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    with only_one(args.out):
        files = [name for job in jobs for name in job.files]
        run_id = begin_or_go_on(args.out, _description(args, graph, label_maps), files)
        remove_leftovers(args.out)
        manifest = Manifest(args.out)
        left = [job for job in jobs if not manifest.done.issuperset(job.files)]
        before = sum(name in manifest.done for name in files)
        work = Work(left, len(clients))
        with tqdm(total=len(files), initial=before, unit="img", smoothing=0.05) as bar:
            save = _saver(manifest, graph.settings, bar)
            drivers = [
                Driver(c, work, graph, save, run_id, args.depth, args.patience, _tell)
                for c in clients
            ]
            _drive(drivers, work)
        made = sum(name in manifest.done for name in files)
    return _summarize(args, work, made, len(files))


def _check_folders(args: argparse.Namespace) -> None:
    if args.out.exists() and not args.out.is_dir():
        raise PriorError(f"--out {args.out} is a file; expected a folder")
    if args.out.resolve().is_relative_to(args.labels.resolve()):
        raise PriorError("--out lies in --labels, so images would be taken for label maps")


def _reach(client: ComfyClient) -> dict[str, Any]:
    """The server's object_info; whoever names a server that is not there learns so at once."""
    try:
        info = client.object_info()
        client.queued()
    except ServerGone as error:
        raise PriorError(f"no server answers ({error}); start it or mend --server") from error
    except (ServerRefused, KeyError, TypeError) as error:
        raise PriorError(f"{client.url} does not answer as ComfyUI does: {error}") from error
    return info


def _description(
    args: argparse.Namespace, graph: Graph, label_maps: list[LabelMap]
) -> dict[str, Any]:
    digests = {label_map.name: label_map.sha256 for label_map in label_maps}
    return describe_run(graph.blank(), graph.names(), args.seed, args.batch, digests)


def _saver(
    manifest: Manifest, settings: Mapping[str, Any], bar: tqdm[Any]
) -> Callable[[Job, list[bytes]], None]:
    """A function that saves a job's images; threads may call it at once."""
    lock = threading.Lock()

    def save(job: Job, images: list[bytes]) -> None:
        entries = [
            {
                "file": name,
                "label_map": label_map.name,
                "k": job.k,
                "seed": job.seed,
                "index_in_batch": index,
                "batch": len(job.label_maps),
                "settings": settings,
            }
            for index, (name, label_map) in enumerate(zip(job.files, job.label_maps, strict=True))
        ]
        with lock:
            before = len(manifest.done)
            manifest.add(dict(zip(job.files, images, strict=True)), entries)
            bar.update(len(manifest.done) - before)

    return save


def _drive(drivers: list[Driver], work: Work) -> None:
    """Run each in a thread until all have ended, or a while after the run was stopped."""
    ended = [threading.Event() for _ in drivers]

    def drive(driver: Driver, event: threading.Event) -> None:
        try:
            driver.run()
        finally:
            event.set()

    with _sigterm_as_ctrl_c():
        try:
            for driver, event in zip(drivers, ended, strict=True):
                threading.Thread(target=drive, args=(driver, event), daemon=True).start()
            for event in ended:
                # With a timeout, or Ctrl-C would not come through on Windows. Not Thread.join: one
                # that Ctrl-C breaks off takes its thread for ended (CPython 3.10 to 3.12).
                while not event.wait(0.1):
                    pass
        except KeyboardInterrupt as error:
            work.stop(error)
            deadline = time.monotonic() + _END_PATIENCE
            for event in ended:
                event.wait(max(0.0, deadline - time.monotonic()))


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _summarize(args: argparse.Namespace, work: Work, made: int, total: int) -> int:
    failure = work.failure
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
