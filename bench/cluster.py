"""What the head of a cluster costs: python -m bench.cluster [--servers 1 2 4 8] [--long 10000].

Runs `generate --ray` on this machine against servers that answer in a fixed time and do nothing
else (bench/simulated_comfyui), so that what they fall short of is the head's and the cluster's.
Needs Ray (the extra `cluster`). Measures

- images a second with each number of servers, against that number times what one server could do;
- the head's processor time for an image, and from it how many servers it can feed;
- with --long, the head's memory over so many images, whose servers take no time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from bench.machine import describe_machine
from prior_tools.cluster.actor import Setup
from prior_tools.cluster.pool import Cluster
from prior_tools.cluster.ray_cluster import Share
from prior_tools.datasets.label_folders import label_maps_in
from prior_tools.generating.jobs import plan
from prior_tools.generating.label_maps import find_label_maps
from prior_tools.generating.manifest import Manifest
from prior_tools.generating.prepared_workflow import PreparedWorkflow, prepare_workflow
from prior_tools.generating.run import make_images

OUT = Path(__file__).resolve().parent.parent / "bench_output" / "cluster.json"
SIMULATED = Path(__file__).resolve().parent / "simulated_comfyui"
SECONDS = 2.0
BOUND = 0.95
MAPS = 50


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write; returns 1 if scaling falls short of its bound."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster")
    parser.add_argument("--servers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--images", type=int, default=40, help="of each server")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that an image takes")
    parser.add_argument("--long", type=int, default=0, metavar="N", help="images for the memory")
    parser.add_argument("--ray", metavar="ADDRESS", help="a cluster that runs (default: its own)")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    report: dict[str, object] = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": describe_machine(),
        "scaling": [],
    }
    rows = []
    for servers in args.servers:
        row = scaling(args.ray, servers, servers * args.images, args.seconds)
        rows.append(row)
        print(
            f"{servers} servers of {args.seconds:g} s: {row['of_ideal']:.1%} of ideal, "
            f"{row['head_ms_an_image']:.1f} ms of the head an image, which feeds "
            f"{row['servers_one_head_feeds']:.0f} servers",
            flush=True,
        )
    report["scaling"] = rows
    if args.long:
        report["memory"] = memory(args.ray, max(args.servers), args.long)
        print(f"head's memory: {report['memory']}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(any(row["of_ideal"] < BOUND for row in rows))


def scaling(address: str | None, servers: int, images: int, seconds: float) -> dict[str, float]:
    """Images a second from the first image on, against `servers / seconds`, and the head's time."""
    with crew(address, servers, seconds, images) as (cluster, workflow, folder):
        arrived: list[tuple[float, float]] = []

        def note(_new: int) -> None:
            arrived.append((time.monotonic(), time.process_time()))

        work(cluster, workflow, folder, images, note)
    # All servers are at work after so many, and before the last ones.
    begun, ended = servers, images - servers
    wall, head = (b - a for a, b in zip(arrived[begun], arrived[ended], strict=True))
    made = ended - begun
    return {
        "servers": servers,
        "images": images,
        "seconds_an_image": seconds,
        "of_ideal": made / wall * seconds / servers,
        "head_ms_an_image": 1000 * head / made,
        "servers_one_head_feeds": seconds / (head / made),
    }


def memory(address: str | None, servers: int, images: int) -> dict[str, float]:
    """Megabytes of the head at a tenth, at half and at the end of so many images."""
    process, found = psutil.Process(), []
    with crew(address, servers, 0.0, images) as (cluster, workflow, folder):
        made = 0

        def note(new: int) -> None:
            nonlocal made
            made += new
            if made in (images // 10, images // 2, images):
                found.append(round(process.memory_info().rss / 1e6, 1))

        work(cluster, workflow, folder, images, note)
    return dict(zip(("at_a_tenth", "at_half", "at_the_end"), found, strict=True)) | {
        "images": images
    }


@contextmanager
def crew(
    address: str | None, servers: int, seconds: float, jobs: int
) -> Iterator[tuple[Cluster, PreparedWorkflow, Path]]:
    """The servers, all of them up, their workflow, and a folder with label maps."""
    share = round(min(1.0, (os.cpu_count() or 1) / servers) * 0.99, 2)
    setup = Setup(str(SIMULATED), sys.executable, (f"--seconds={seconds}",), 1, 2, 600.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "labels").mkdir()
        draw = np.random.default_rng(0)
        for i in range(MAPS):
            ids = draw.integers(0, 19, (16, 32), np.uint8).repeat(16, 0).repeat(16, 1)
            pixels = np.repeat(ids[..., None] * 12, 3, axis=-1)
            Image.fromarray(pixels).save(folder / "labels" / f"{i:04}.png")
        cluster = Cluster(address, setup, Share(0, share), servers, print)
        with cluster.open(jobs):
            info = cluster.object_info()
            workflow = prepare_workflow(PROMPT, "Label map", "Seed", None, (), info)
            yield cluster, workflow, folder


def work(
    cluster: Cluster,
    workflow: PreparedWorkflow,
    folder: Path,
    images: int,
    note: Callable[[int], object],
) -> None:
    """Make so many images."""
    label_maps, _ = find_label_maps(label_maps_in(folder / "labels"))
    jobs = plan(label_maps, -(-images // MAPS), 1, 0)[:images]
    out = folder / "out"
    out.mkdir()
    manifest = Manifest(out, {})
    failure = make_images(jobs, cluster, workflow, manifest, "bench", note, print, lambda _t: None)
    if failure is not None:
        raise failure


def _node(class_type: str, title: str, **inputs: object) -> dict[str, object]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


PROMPT = {
    "1": _node("LoadImage", "Label map", image="none.png"),
    "2": _node("KSampler", "Seed", seed=0, latent_image=["1", 0]),
    "3": _node("SaveImage", "Save", images=["2", 0], filename_prefix="x"),
}

if __name__ == "__main__":
    sys.exit(main())
