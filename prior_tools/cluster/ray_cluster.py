"""The way to a Ray cluster, with what may be wrong on it said in words."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from ..errors import PriorError, reason
from .actor import ServerActor, Setup

_PACKAGE = Path(__file__).parents[1]


def import_ray() -> Any:
    """Ray. Raises PriorError if it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise PriorError(
            f"--ray needs Ray, which is missing ({error}); pip install 'scp-diff[cluster]' in an "
            "environment other than ComfyUI's own"
        ) from error
    return ray


def connect(address: str | None) -> Any:
    """Ray, connected to a cluster.

    address: "auto" and "host:port" are of clusters that run; None takes one that runs on this
        machine or that RAY_ADDRESS names, and starts one of this machine alone else.

    Raises PriorError if there is none, or it does not let us in.
    """
    ray = import_ray()
    if address is not None and address.startswith("ray://"):
        raise PriorError(
            f"--ray {address} is an address of Ray Client, which is not for long runs; start the "
            "command on a machine of the cluster, for instance by 'ray job submit'"
        )
    # Nothing is told to others unless somebody asked for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    shown = f"--ray {address}" if address else "--ray"
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
            f"{shown}: the cluster does not let us in ({reason(error)}); set RAY_AUTH_MODE=token, "
            "and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"
        ) from error
    except Exception as error:
        # Of many kinds, plain Exception among them.
        raise PriorError(
            f"{shown}: no cluster to work with: {reason(error)}. Start one by 'ray start --head', "
            "or give --ray alone for this machine"
        ) from error
    return ray


def start_actor(ray: Any, setup: Setup, gpus: float, cpus: float) -> Any:
    """An actor that Ray places where there is room, and starts again whenever it dies."""
    placed = ray.remote(ServerActor).options(
        num_gpus=gpus,
        num_cpus=cpus,
        max_restarts=-1,
        # All jobs at once, and a call beside them.
        max_concurrency=setup.depth + 2,
        scheduling_strategy="SPREAD",
    )
    return placed.remote(setup)


def room(ray: Any, gpus: float, cpus: float) -> tuple[int, list[str]]:
    """How many actors the cluster has room for when nothing else runs, and its nodes in words."""
    count, nodes = 0, []
    for node in ray.nodes():
        if node["Alive"]:
            has = {name: node["Resources"].get(name, 0.0) for name in ("GPU", "CPU")}
            wants = {"GPU": gpus, "CPU": cpus}
            fits = [has[name] / want for name, want in wants.items() if want > 0]
            # Of thirds, three fit.
            count += int(min(fits) + 1e-6)
            nodes.append(
                f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}): {has['GPU']:g} "
                f"GPUs, {has['CPU']:g} CPUs"
            )
    return count, nodes


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
