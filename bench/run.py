"""Run the measurements: python -m bench [--quick] [--only NAME ...] [--out FILE] [--camvid DIR]."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from datetime import datetime, timezone
from pathlib import Path

from bench.figure import Figure
from bench.machine import describe_machine
from bench.one import MeasurementFailed, measure_alone
from bench.options import Options
from dev.comfyui import REPOSITORY

# In the order of the output; each is a module of this package.
NAMES = ("encodes", "speed", "overhead", "accumulation", "files", "draws", "growth", "sampling")

CAMVID = REPOSITORY.parent / "shared" / "camvid"
OUT = REPOSITORY / "bench_output" / "bench.json"


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write; returns 1 if a measurement could not be made."""
    args = _parser().parse_args(argv)
    camvid = args.camvid or (CAMVID if CAMVID.is_dir() else None)
    options = Options(quick=args.quick, camvid=camvid)
    report = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": args.quick,
        "images": "CamVid" if camvid else "generated scenes",
        "machine": describe_machine(),
        "measurements": dict.fromkeys(NAMES),
    }
    print(f"{report['date']}, on {report['images']}" + (", quick" if args.quick else ""))
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in args.only or NAMES:
        started = time.monotonic()
        try:
            title, figures = measure_alone(name, options)
        except MeasurementFailed as error:
            failed = True
            print(f"\n{name}: not measured, {error}")
            report["measurements"][name] = {"error": str(error)}
            continue
        seconds = round(time.monotonic() - started, 1)
        _say(name, title, figures, seconds)
        report["measurements"][name] = {
            "title": title,
            "seconds": seconds,
            "figures": [figure.to_json() for figure in figures],
        }
        # After each: a run that is broken off keeps what it has.
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\nwrote {args.out}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few samples, to see that it runs")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file to write")
    parser.add_argument("--camvid", type=Path, help="folder of CamVid; else generated scenes")
    return parser


def _say(name: str, title: str, figures: list[Figure], seconds: float) -> None:
    print(f"\n{name}: {title} ({seconds:.0f} s)")
    for figure in figures:
        print(f"  {figure.line()}")
        numbers = ", ".join(f"{key} {value}" for key, value in figure.details.items())
        for text in (figure.samples, numbers):
            for line in textwrap.wrap(text, 92):
                print(f"      {line}")
    sys.stdout.flush()
