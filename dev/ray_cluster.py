"""Ray's own test cluster on this machine, and what `generate --ray` has running there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from dev.server import free_port

# A node with room for one server.
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
# Who has the token is let in, as by default on clusters that are started by hand.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 2,
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextlib.contextmanager
def cluster_of(nodes: int, **head: Any) -> Iterator[Any]:
    """A head, on which no server has room, and nodes for one each; under ENVIRONMENT.

    head: more for it.
    """
    missing = [name for name in ENVIRONMENT if name not in os.environ]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} is not set: Ray looks for it once, at its import")
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        add_node(cluster, **{"num_cpus": 0, "include_dashboard": False, **head})
        for _ in range(nodes):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any, **more: Any) -> Any:
    """A node with room for one server, whose agent has a port of its own.

    By default all agents of a machine want the same one, also those of two clusters, and one that
    does not get it takes no jobs.
    """
    return cluster.add_node(**{**NODE, "dashboard_agent_listen_port": free_port(), **more})


def own_servers(base: Path) -> list[psutil.Process]:
    """ComfyUI processes that actors have started with this base directory."""
    found = [
        p for p, words in _processes() if words[1].endswith("main.py") and _is_own(words, base)
    ]
    # What ComfyUI starts has its command line for a moment.
    return [p for p in found if _parent(p) not in {each.pid for each in found}]


def actors() -> list[psutil.Process]:
    """Processes of actors on this machine."""
    return [p for p, words in _processes() if words[0].startswith("ray::ServerActor")]


def contents(out: Path) -> dict[str, Any]:
    """Pixels and metadata of each image, without the mark that makes a server run nodes again."""
    found = {}
    for path in out.glob("*.png"):
        with Image.open(path) as picture:
            prompt = json.loads(picture.info["prompt"])
            for node in prompt.values():
                node["inputs"].pop("scp_run_again", None)
            found[path.name] = (picture.size, picture.tobytes(), prompt)
    return found


def entries(out: Path) -> list[dict[str, Any]]:
    """Of whole lines of the manifest."""
    with contextlib.suppress(FileNotFoundError):
        lines = (out / "manifest.jsonl").read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]
    return []


def _processes() -> Iterator[tuple[psutil.Process, list[str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            yield process, [*process.cmdline(), "", ""]


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _is_own(words: list[str], base: Path) -> bool:
    return str(base) in words and any("scp-comfyui-" in word for word in words)
