"""Everything that may die during one run on a cluster: python -m dev.cluster_faults [--maps 200].

Makes an image of each of so many label maps (the demo's model, 4 steps, 128x64) once by one server,
and once on Ray's test cluster of two nodes, while at random times a server is killed, an actor, a
node taken away and another joined, and the command itself killed and started again, on the same
cluster and on a new one, until each has happened --rounds times. Then compares the images and looks
for processes that are left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from demo.scenes import write_dataset
from demo.start_graph import Settings, Start, StartGraph
from dev import ray_cluster
from dev.comfyui import REPOSITORY, ensure_comfyui
from dev.graph import Graph
from dev.server import ComfyServer, host_environment
from dev.workspace import make_workspace

SIZE = (128, 64)
FAULTS = ("server", "actor", "node", "command", "command and cluster")


class Run:
    """The command, on whatever cluster there is."""

    def __init__(self, folder: Path, comfyui: Path, base: Path, words: list[str]) -> None:
        self.out, self.log = folder / "out", folder / "log"
        self._comfyui, self._base, self._words = comfyui, base, words
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, address: str) -> None:
        """Start it, or go on."""
        words = [*self._words, "--out", str(self.out), "--ray", address, "--gpus-per-server", "0"]
        words += ["--comfyui", str(self._comfyui)]
        words += [f"--server-args=--base-directory {self._base}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words, cwd=REPOSITORY, env=host_environment(), stdout=log, stderr=log
            )

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None, "it was started"
        self.process.kill()
        self.process.wait()

    @property
    def made(self) -> int:
        """Images so far."""
        return len(ray_cluster.entries(self.out))


def workflow() -> dict[str, Any]:
    """The demo's, with a loader for the label map."""
    graph = Graph()
    labels = graph.add("LoadImage", title="Label map", image="none.png")
    seed = graph.add("PrimitiveInt", title="Seed", value=0)
    streets, start, settings = StartGraph(graph, labels), Start(), Settings(seed=seed, steps=4)
    image = streets.decoded(streets.sampled(streets.drawn(start, settings), start, settings))
    graph.add("PreviewImage", title="Images", images=image)
    return graph.prompt


def main(argv: list[str] | None = None) -> int:
    """Run, and return 1 if an image is missing or another, or a process is left."""
    parser = argparse.ArgumentParser(prog="python -m dev.cluster_faults")
    parser.add_argument("--maps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the times and the order of faults")
    args = parser.parse_args(argv)
    os.environ.update(ray_cluster.ENVIRONMENT)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder, comfyui = Path(name), ensure_comfyui()
        base = make_workspace(folder / "base", REPOSITORY)
        write_dataset(folder / "scenes", args.maps, *SIZE, seed=1000)
        (folder / "workflow.json").write_text(json.dumps(workflow()), encoding="utf-8")
        words = [sys.executable, "-m", "prior_tools", "generate"]
        words += ["--workflow", str(folder / "workflow.json")]
        words += ["--labels", str(folder / "scenes" / "labels")]
        with ComfyServer(comfyui, base, threads=1) as server:
            alone = [*words, "--out", str(folder / "reference"), "--server", server.url]
            subprocess.run(alone, cwd=REPOSITORY, env=host_environment(), check=True)
        reference = ray_cluster.contents(folder / "reference")
        say(f"one server made {len(reference)} images")
        run = Run(folder, comfyui, base, words)
        happened = with_faults(run, base, args, say)
        found = ray_cluster.contents(run.out)
        files = [entry["file"] for entry in ray_cluster.entries(run.out)]
        wrong = [name for name in reference if found.get(name) != reference[name]]
        left = ray_cluster.own_servers(base)
        say(f"happened: {happened}; entries {len(files)}, of different images {len(set(files))}")
        say(f"images that are missing or others: {len(wrong)}; ComfyUI processes left: {len(left)}")
        right = len(files) == len(set(files)) == len(reference) == args.maps
        return int(bool(wrong or left) or not right)


def with_faults(run: Run, base: Path, args: argparse.Namespace, say: Any) -> dict[str, int]:
    """Make all images while things die; returns how often each did."""
    draw = random.Random(args.seed)
    faults = [*FAULTS] * args.rounds
    draw.shuffle(faults)
    # Spread over the run, each at a random moment of its share.
    share = args.maps / (len(faults) + 1)
    at = [int(share * (i + draw.random())) + 1 for i in range(len(faults))]
    happened = dict.fromkeys(FAULTS, 0)
    clusters = [ray_cluster.cluster_of(2)]
    cluster = clusters[-1].__enter__()
    try:
        run.start(cluster.address)
        for count, fault in zip(at, faults, strict=True):
            while run.made < count or not ray_cluster.own_servers(base):
                assert run.process is not None and run.process.poll() is None, "it ended too soon"
                time.sleep(0.05)
            time.sleep(draw.random())
            say(f"{run.made} images are made: {fault}")
            if fault == "server":
                draw.choice(ray_cluster.own_servers(base)).kill()
            elif fault == "actor":
                draw.choice(ray_cluster.actors()).kill()
            elif fault == "node":
                cluster.remove_node(draw.choice(list(cluster.worker_nodes)), allow_graceful=False)
                time.sleep(draw.random() * 10)
                ray_cluster.add_node(cluster)
            else:
                run.kill()
                if fault == "command and cluster":
                    clusters.pop().__exit__(None, None, None)
                    clusters.append(ray_cluster.cluster_of(2))
                    cluster = clusters[-1].__enter__()
                run.start(cluster.address)
            happened[fault] += 1
        assert run.process is not None, "it was started"
        code = run.process.wait()
        say(f"the command ended with {code}")
    finally:
        run.kill()
        for each in clusters:
            each.__exit__(None, None, None)
    if code:
        print(run.log.read_text(errors="replace")[-3000:])
    return happened


if __name__ == "__main__":
    sys.exit(main())
