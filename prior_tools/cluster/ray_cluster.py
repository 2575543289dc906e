"""The way to a Ray cluster, with what may be wrong on it said in words."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PriorError, reason
from .actor import ServerActor, Setup

_PACKAGE = Path(__file__).parents[1]
_REACH_PATIENCE = 10.0
_TOKEN = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"


@dataclass(frozen=True)
class Share:
    """Of a machine, for a server: a part of one GPU or CPU, or a whole number of them."""

    gpus: float
    cpus: float

    def __str__(self) -> str:
        return f"{_number(self.gpus, 'GPU')} and {_number(self.cpus, 'CPU')}"

    def times(self, gpus: float, cpus: float) -> int:
        """How often a machine with so many has it."""
        fits = [_whole(cpus / self.cpus)]
        if self.gpus >= 1:
            fits.append(_whole(gpus / self.gpus))
        elif self.gpus > 0:
            # Each part is of one GPU: 0.4 fits twice into each.
            fits.append(int(gpus) * _whole(1 / self.gpus))
        return min(fits)


def import_ray() -> Any:
    """Ray. Raises PriorError if it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise PriorError(
            f'--ray needs Ray, which is missing ({error}); pip install ".[cluster]" in the '
            "pack's folder, into an environment other than ComfyUI's own"
        ) from error
    return ray


def connect(address: str | None) -> Any:
    """Ray, connected to a cluster.

    address: "auto" and "host:port" are of clusters that run; None takes one that runs on this
        machine or that RAY_ADDRESS names, and starts one of this machine alone else.

    Raises PriorError if there is none, or it does not let us in.
    """
    ray = import_ray()
    # As Ray takes it.
    variable = os.environ.get("RAY_ADDRESS") if address in (None, "auto") else None
    named = variable or address or ""
    shown = f"RAY_ADDRESS {variable}" if variable else f"--ray {named}".strip()
    _check_reached(named, shown)
    # Nothing is told to others unless somebody asked for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address=address,
            # All machines run the same code as this one, whatever is installed on them.
            runtime_env={"py_modules": [str(_PACKAGE)]},
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except ray.exceptions.AuthenticationError as error:
        raise PriorError(
            f"{shown}: the cluster does not let us in ({reason(error)}); {_TOKEN}"
        ) from error
    except Exception as error:
        # Of many kinds, plain Exception among them; without the right token Ray says no more than
        # that it cannot connect.
        raise PriorError(
            f"{shown}: no cluster to work with: {reason(error)}. Start one by 'ray start --head', "
            f"or give --ray alone for this machine; if one is there, {_TOKEN}"
        ) from error
    return ray


def _check_reached(address: str, shown: str) -> None:
    """Raise PriorError if nothing is there: Ray would try for a quarter of an hour.

    shown: who named the address, and it.
    """
    if address in ("", "auto", "local"):
        return
    if address.startswith("ray://"):
        raise PriorError(
            f"{shown} is an address of Ray Client, which is not for long runs; start the command "
            "on a machine of the cluster, for instance by 'ray job submit'"
        )
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise PriorError(f"{shown} is no address of a cluster; expected auto or HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise PriorError(
            f"{shown}: no cluster answers there ({reason(error)}); expected the address that "
            "'ray start --head' showed, with the port of its GCS, 6379 if it was not told otherwise"
        ) from error


def start_actor(ray: Any, setup: Setup, share: Share) -> Any:
    """An actor that Ray places where there is room, and starts again whenever it dies."""
    placed = ray.remote(ServerActor).options(
        num_gpus=share.gpus,
        num_cpus=share.cpus,
        max_restarts=-1,
        # All jobs at once, and a call beside them.
        max_concurrency=setup.depth + 2,
        scheduling_strategy="SPREAD",
    )
    return placed.remote(setup)


def room(nodes: Sequence[Mapping[str, Any]], share: Share) -> tuple[int, list[str]]:
    """How many actors a cluster has room for when nothing else runs, and its nodes in words.

    nodes: as Ray lists them.
    """
    count, words = 0, []
    for node in nodes:
        if node["Alive"]:
            gpus, cpus = (node["Resources"].get(name, 0.0) for name in ("GPU", "CPU"))
            count += share.times(gpus, cpus)
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            words.append(f"{name}: {Share(gpus, cpus)}")
    return count, words


def errors_of_loss(ray: Any) -> tuple[type[Exception], ...]:
    """What a call ends with when its actor, its machine or its answer was lost."""
    found = ray.exceptions
    return (
        found.RayActorError,
        found.NodeDiedError,
        found.WorkerCrashedError,
        found.ObjectLostError,
        found.OutOfMemoryError,
    )


def cause(error: BaseException) -> BaseException:
    """What an actor's method raised, without Ray's traceback around it."""
    return getattr(error, "cause", None) or error


def _whole(ratio: float) -> int:
    """How often the one fits into the other: a third does three times."""
    return int(ratio + 1e-6)


def _number(number: float, one: str) -> str:
    return f"{number:g} {one}{'' if number == 1 else 's'}"
