"""Options of servers that a command starts itself, on a Ray cluster."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Callable
from pathlib import Path

from ..cluster.actor import Setup
from ..cluster.own_server import OWN_OPTIONS
from ..cluster.pool import Cluster
from ..cluster.ray_cluster import Share
from ..errors import PriorError
from .comfy_vae import find_comfyui

# Of the other kind of servers, or of these alone: not to be given in vain.
_OF_NAMED = ("auth_file", "ca_file")
_OF_CLUSTER = ("server_python", "server_args", "gpus_per_server", "cpus_per_server", "servers")
_DEFAULT_GPUS = _DEFAULT_CPUS = 1.0


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add all but --ray itself."""
    group = parser.add_argument_group("servers on a Ray cluster (--ray)")
    group.add_argument(
        "--comfyui",
        metavar="DIR",
        help="ComfyUI's folder, the same on every machine (default: COMFYUI_DIR, or the folder "
        "that this pack lies in)",
    )
    group.add_argument(
        "--server-python",
        metavar="FILE",
        help="Python with ComfyUI's requirements (default: that of .venv or venv in its folder, "
        "or Ray's own)",
    )
    group.add_argument(
        "--server-args",
        metavar="'...'",
        help="options for ComfyUI, such as --server-args=--lowvram",
    )
    group.add_argument(
        "--gpus-per-server",
        type=_share,
        metavar="N",
        help="default: 1; 0.5 puts two servers on a GPU, and 0 makes images on the CPU",
    )
    group.add_argument(
        "--cpus-per-server",
        type=_share,
        metavar="N",
        help="CPUs that each server takes, and threads that it computes with; default: 1",
    )
    group.add_argument(
        "--servers",
        type=int,
        metavar="N",
        help="at most N servers, asked for at once, as autoscalers need it (default: as many as "
        "the cluster has room for, also later)",
    )


def check_kind(args: argparse.Namespace) -> None:
    """Raise PriorError for options of the other kind of servers."""
    names = _OF_NAMED if args.ray is not None else (*_OF_CLUSTER, "comfyui")
    given = [f"--{n.replace('_', '-')}" for n in names if getattr(args, n, None) is not None]
    if given:
        other = "--server" if args.ray is not None else "--ray"
        raise PriorError(f"{', '.join(given)} goes with {other} only")


def cluster_of(args: argparse.Namespace, tell: Callable[[str], None]) -> Cluster:
    """The servers that the options ask for. Raises PriorError for options that cannot be."""
    gpus = _DEFAULT_GPUS if args.gpus_per_server is None else args.gpus_per_server
    cpus = _DEFAULT_CPUS if args.cpus_per_server is None else args.cpus_per_server
    if cpus == 0:
        raise PriorError("--cpus-per-server is 0; a server needs a part of one at least")
    if args.servers is not None and args.servers < 1:
        raise PriorError(f"--servers is {args.servers}; expected a number from 1 on")
    arguments = _arguments(args.server_args or "")
    if gpus == 0 and "--cpu" not in arguments:
        arguments = ("--cpu", *arguments)
    setup = Setup(
        comfyui=str(Path(args.comfyui).absolute() if args.comfyui else find_comfyui()),
        python=args.server_python and _anywhere(args.server_python),
        arguments=arguments,
        threads=max(1, int(cpus)),
        depth=args.depth,
        patience=args.patience,
    )
    return Cluster(args.ray or None, setup, Share(gpus, cpus), args.servers, tell)


def _anywhere(path: str) -> str:
    """A path that means the same in another folder; a name alone is looked for by the system."""
    return str(Path(path).absolute()) if len(Path(path).parts) > 1 else path


def _arguments(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise PriorError(f"--server-args {text!r} cannot be taken apart: {error}") from error
    own = [word for word in words if word.partition("=")[0] in OWN_OPTIONS]
    if own:
        raise PriorError(
            f"--server-args has {', '.join(own)}, which is set for each server by itself"
        )
    return words


def _share(text: str) -> float:
    """A number of GPUs or CPUs as Ray counts them: a part of one, or a whole number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf or (number > 1 and number != int(number)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no share of a machine: expected a part of 1, or a whole number"
        )
    return number
