"""On a GPU, without ComfyUI: python -m bench.gpu [--rehearse] [--out FILE].

Checks that the method says the same of tensors on the device, measures whole builds against
encoding the same batches from memory (the encoder of Stable Diffusion's VAE with random weights),
and each step of a build alone. Takes less than three minutes on a card of the H100's class. Beside
torch it needs what the method and the generated scenes need: numpy, Pillow and safetensors. Where
nothing can be installed, carry them along:

    pip install --target carried --python-version 3.12 --only-binary=:all: numpy pillow safetensors
    PYTHONPATH=carried python -m bench.gpu

`--rehearse` runs all of it on the CPU at a small size; its times say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch

from bench.device_build import (
    WAYS,
    DeviceEncoder,
    Row,
    batches_of,
    draw_pairs,
    measure_row,
    measure_stages,
    settings,
)
from bench.device_laws import check_laws
from bench.machine import describe_machine
from bench.sd_encoder import random_encoder

OUT = Path(__file__).resolve().parent.parent / "bench_output" / "gpu.json"
BOUND = 1.05


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        device: such as "cuda".
        side: pixels of the square pictures.
        width: channels of the encoder at full size.
        scenes: different pictures; a multiple of every batch size.
        readers: numbers of processes that read.
        batches: numbers of images encoded at once.
        seconds: that encoding from memory should take in each row.
        repeats: builds in each row.
        rounds: that each step is taken alone.
        deadline: seconds after which no further row is begun.
    """

    device: str = "cuda"
    side: int = 512
    width: int = 128
    scenes: int = 32
    readers: Sequence[int] = (4, 8, 14)
    batches: Sequence[int] = (8, 16, 32)
    seconds: float = 3.0
    repeats: int = 1
    rounds: int = 15
    deadline: float = 140.0

    @property
    def dtype(self) -> torch.dtype:
        """In which the encoder runs."""
        return torch.bfloat16


REHEARSAL = Plan("cpu", 64, 32, 4, (1, 2), (2, 4), 0.0, 1, 1, 60.0)


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write; 1 if a law does not hold, 2 if there is no such device."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at a small size")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file to write")
    args = parser.parse_args(argv)
    if not args.rehearse and not torch.cuda.is_available():
        print("torch sees no CUDA device; --rehearse runs on the CPU", file=sys.stderr)
        return 2
    report = measure(REHEARSAL if args.rehearse else Plan())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(as_text(report))
    print(f"\nwrote {args.out}")
    return 0 if all(law["holds"] for law in report["laws"]) else 1


def measure(plan: Plan) -> dict:
    """Everything, as plain data; see `as_text`."""
    started = time.monotonic()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with tempfile.TemporaryDirectory(prefix="scp-gpu-") as folder:
        dataset = draw_pairs(Path(folder), plan.scenes, plan.side, min(cores or 1, plan.scenes))
        laws = check_laws(plan.device)
        net = random_encoder(plan.width)
        encoder = DeviceEncoder(net, plan.device, plan.dtype)
        rows: list[Row] = []
        left_out: list[str] = []
        in_memory: list[torch.Tensor] = []
        count = 0
        for batch, readers in settings(plan.readers, plan.batches):
            if time.monotonic() - started > plan.deadline:
                left_out.append(f"{readers} readers, batches of {batch}")
                continue
            if not in_memory or len(in_memory[0]) != batch:
                in_memory = batches_of(dataset, batch, max(plan.readers))
                count = _count(encoder, in_memory, plan)
            rows.append(measure_row(encoder, dataset, in_memory, readers, count, plan.repeats))
        best = max(rows, key=lambda row: row.images_a_second)
        # The other way to hand a batch over, in the best setting.
        pinned = DeviceEncoder(net, plan.device, plan.dtype, WAYS[1])
        in_memory = batches_of(dataset, best.batch, max(plan.readers))
        count = _count(pinned, in_memory, plan)
        rows.append(measure_row(pinned, dataset, in_memory, best.readers, count, plan.repeats))
        stages = measure_stages(encoder, dataset, best.batch, plan.rounds)
        other = measure_stages(pinned, dataset, best.batch, plan.rounds)
        stages += [stage for stage in other if f"({WAYS[1]})" in stage.name]
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "card": _card(plan.device),
        "machine": describe_machine(),
        "plan": {**asdict(plan), "dtype": str(plan.dtype).removeprefix("torch.")},
        "seconds": round(time.monotonic() - started, 1),
        "laws": [{**asdict(law), "holds": law.holds} for law in laws],
        "rows": [_row(row) for row in rows],
        "left_out": left_out,
        "stages_at_batch": best.batch,
        "stages": [asdict(stage) for stage in stages],
    }


def as_text(report: dict) -> str:
    """The report for a person."""
    plan, side, machine = report["plan"], report["plan"]["side"], report["machine"]
    lines = [
        f"{report['card']}, {machine['cores']} cores, torch {machine['torch']}, "
        f"{report['date']}, {report['seconds']:.0f} s",
        f"encoder of Stable Diffusion's VAE, {plan['width']} channels, random weights, "
        f"{plan['dtype']}, {side}x{side} pixels, {plan['scenes']} different pictures",
        "",
        "| law | difference | allowed | |",
        "| --- | --- | --- | --- |",
    ]
    for law in report["laws"]:
        verdict = "holds" if law["holds"] else f"does not hold {law['error']}".strip()
        lines.append(
            f"| {law['says']} | {law['difference']:.2g} | {law['bound']:.2g} | {verdict} |"
        )
    lines += [
        "",
        "| readers | batch | handed over | images | build, images/s | from memory, images/s | "
        f"ratio (wanted: at most {BOUND}) | without start | start, s | then in the encoder |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["rows"]:
        lines.append(
            f"| {row['readers']} | {row['batch']} | {row['way']} | {row['images']} | "
            f"{row['images_a_second']:.1f} | {row['images_a_second_from_memory']:.1f} | "
            f"{row['ratio']:.3f} | {row['ratio_after_start']:.3f} | "
            f"{max(row['start_s']):.2f} | {row['encoding']:.0%} |"
        )
    if report["left_out"]:
        lines.append(f"left out for lack of time: {'; '.join(report['left_out'])}")
    lines += [
        "",
        f"| step, alone, batches of {report['stages_at_batch']} | who does it | ms an image |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {s['name']} | {s['where']} | {s['ms']:.3f} |" for s in report["stages"]]
    return "\n".join(lines)


def _count(encoder: DeviceEncoder, in_memory: list[torch.Tensor], plan: Plan) -> int:
    """Images that take about `plan.seconds` to encode, a multiple of the scenes; warms up."""
    encoder(in_memory[0])
    started = time.perf_counter()
    for images in in_memory:
        encoder(images)
    once = time.perf_counter() - started
    return plan.scenes * max(1, round(plan.seconds / once))


def _card(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device}, a rehearsal"


def _row(row: Row) -> dict:
    names = ("ratio", "ratio_after_start", "images_a_second", "images_a_second_from_memory")
    return {**asdict(row), **{name: getattr(row, name) for name in names}}


if __name__ == "__main__":
    sys.exit(main())
