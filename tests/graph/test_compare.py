"""`python -m prior_tools compare` against a real server: stopped, gone on with, and reported."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from demo.scenes import write_dataset
from demo.start_graph import Settings, Start, StartGraph
from dev.comfyui import REPOSITORY
from dev.graph import Graph
from dev.interrupts import heeded_by_commands
from dev.server import host_environment
from dev.templates import FOLDER
from dev.weights import tiny_checkpoint, tiny_controlnet
from dev.workspace import link_model
from prior_tools.generating.jobs import image_seed

pytestmark = pytest.mark.slow

SEGMENTER = REPOSITORY / "demo" / "segmenter.pt"
TEMPLATE = "SCP-Diff for SD1.5 (ADE20K)"
SIZE = (288, 144)
STEPS = 2
QUICK = 6


class Features(torch.nn.Module):
    """2048 of each image, as an Inception network gives."""

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None].repeat(1, 2048)


@pytest.fixture(scope="module")
def streets(tmp_path_factory) -> Path:
    """Eight scenes in the Cityscapes colors."""
    return write_dataset(tmp_path_factory.mktemp("streets"), 8, *SIZE, seed=40)


def demo_graph(stock: bool = False) -> Graph:
    """The demo's models as `generate` takes them; or the stock KSampler in place of the prior's."""
    graph = Graph()
    label = graph.add("LoadImage", title="Label map", image="none.png")
    seed = graph.add("PrimitiveInt", title="Seed", value=1)
    made = StartGraph(graph, label)
    settings = Settings(seed=seed, steps=STEPS)
    if stock:
        latent = graph.add(
            "KSampler",
            model=made.model,
            positive=made.positive,
            negative=made.negative,
            latent_image=graph.add("EmptyLatentImage", width=SIZE[0], height=SIZE[1], batch_size=1),
            seed=seed,
            steps=STEPS,
            cfg=settings.cfg,
            sampler_name=settings.sampler,
            scheduler=settings.scheduler,
            denoise=1.0,
        )
    else:
        latent = made.sampled(made.drawn(Start(), settings), Start(), settings)
    graph.add("SaveImage", title="Save", images=made.decoded(latent), filename_prefix="compare/x")
    return graph


def command(name: str, *options: object) -> list[str]:
    return [sys.executable, "-m", "prior_tools", name, *map(str, options)]


def run(argv: list[str], code: int = 0) -> subprocess.CompletedProcess:
    ended = subprocess.run(
        argv, cwd=REPOSITORY, env=host_environment(), capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


def stop_after(argv: list[str], images: Path, count: int) -> None:
    """Start the command and send SIGINT when so many images are there."""
    with heeded_by_commands():
        process = subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env=host_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        deadline = time.monotonic() + 300
        while len(list(images.glob("*.png"))) < count:
            assert process.poll() is None, "the command ended before it could be stopped"
            assert time.monotonic() < deadline, "the command did not get on"
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_it_is_stopped_and_goes_on_and_reports_what_evaluate_finds(server, streets, tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(demo_graph().prompt))
    labels, real, out = streets / "labels", streets / "images", tmp_path / "out"
    judging = ["--palette", "cityscapes", "--segmenter", SEGMENTER, "--trust-torchscript"]
    argv = command(
        *("compare", "--workflow", tmp_path / "w.json", "--labels", labels, "--real", real),
        *("--out", out, "--server", server.url, "--quick", QUICK, "--per-map", 1),
        *("--seed", 3, *judging),
    )
    stop_after(argv, out / "prior", 2)
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert len(made) >= QUICK + 2 and not (out / "report.html").exists()

    said = run(argv).stdout
    assert said.startswith("left out: FID, KID, diversity: needs an Inception network")
    assert {path: path.stat().st_mtime_ns for path in made} == made
    names = [
        sorted(path.name for path in (out / side).glob("*.png")) for side in ("stock", "prior")
    ]
    assert names[0] == names[1] and len(names[0]) == QUICK

    evaluated = run(
        command(
            *("evaluate", "--generated", out / "prior", "--baseline", out / "stock"),
            *("--labels", labels, "--partial", "--json", tmp_path / "e.json", *judging),
        )
    ).stdout
    ours = json.loads((out / "figures.json").read_text())
    theirs = json.loads((tmp_path / "e.json").read_text())
    assert ours["figures"] and ours["differences"] == theirs["differences"]
    assert ours["figures"] == theirs["figures"]
    assert ours["baseline"]["figures"] == theirs["baseline"]["figures"]
    report = (out / "report.html").read_text(encoding="utf-8")
    # It is for others to read.
    assert ours["generated"] == "prior" and ours["labels"] == "labels"
    for text in (report, json.dumps(ours)):
        assert all(str(folder.parent) not in text for folder in (streets, tmp_path))
    for name in ("mIoU", "pixel accuracy"):
        (line,) = [x for x in evaluated.splitlines() if x.startswith(name) and "±" in x]
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        assert len(cells) == 6 and line in said
        assert all(f">{cell}</td>" in report for cell in cells)
    with Image.open(out / "contact_sheet.jpg") as sheet:
        assert sheet.width > 4 * SIZE[0] and sheet.height > len(ours["gains"]) * SIZE[1]

    # Without a segmenter, what is left is measured of the same images.
    torch.jit.script(Features()).save(str(tmp_path / "features.pt"))
    other = [*argv[:-3], "--inception", tmp_path / "features.pt"]
    said = run([*map(str, other), "--trust-torchscript"]).stdout
    assert said.startswith("left out: mIoU, pixel accuracy: needs a segmentation model")
    assert "left out: diversity: not available: one image per map" in said
    report = (out / "report.html").read_text(encoding="utf-8")
    assert report.count("<img") == 4 * QUICK and "Lost most" not in report

    # Nothing is made again, and another seed is another comparison.
    run(argv)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert "seed was 3 and is 4" in run([*argv, "--seed", "4"], 2).stderr

    # The stock side is what the stock KSampler makes.
    (tmp_path / "stock.json").write_text(json.dumps(demo_graph(stock=True).prompt))
    one = tmp_path / "one"
    one.mkdir()
    stem = names[0][0].removesuffix("_00.png")
    shutil.copy(labels / f"{stem}.png", one)
    run(
        command(
            *("generate", "--workflow", tmp_path / "stock.json", "--labels", one),
            *("--out", tmp_path / "ksampler", "--server", server.url, "--seed", 3),
            *("--palette", "cityscapes"),
        )
    )
    stock, prior, ksampler = (
        pixels(folder / f"{stem}_00.png")
        for folder in (out / "stock", out / "prior", tmp_path / "ksampler")
    )
    assert np.array_equal(stock, ksampler) and not np.array_equal(prior, ksampler)
    entry = json.loads((out / "stock" / "manifest.jsonl").read_text().splitlines()[0])
    assert entry["seed"] == image_seed(3, entry["label_map"][:-4], entry["k"])


def test_the_template_for_own_models_is_compared_as_it_is(server, street, tmp_path):
    """Of its four pictures in one, the result of the prior's start alone is measured."""
    pytest.importorskip("comfy_cli")
    link_model(
        server.base,
        "checkpoints",
        tiny_checkpoint("eps"),
        "v1-5-pruned-emaonly-fp16.safetensors",
    )
    link_model(
        server.base,
        "controlnet",
        tiny_controlnet(),
        "control_v11p_sd15_seg_fp16.safetensors",
    )
    folder = server.base / "input" / street.folder
    out = tmp_path / "out"
    argv = command(
        *("compare", "--workflow", FOLDER / f"{TEMPLATE}.json", "--server", server.url),
        *("--labels", folder / "labels", "--real", folder / "images", "--out", out),
        *("--quick", 4, "--palette", "cityscapes", "--segmenter", SEGMENTER),
        *("--trust-torchscript",),
        *("--set", f"Load SCP Prior.prior_name={street.prior}"),
        *("--set", "Label map.palette=cityscapes"),
        *("--set", "Joint Prior Noise.palette=cityscapes"),
        *("--set", "Partial Denoise KSampler.steps=2"),
    )
    run(argv)
    label = pixels(next((folder / "labels").glob("*.png")))
    for side in ("stock", "prior"):
        images = list((out / side).glob("*.png"))
        assert len(images) == 4 * 2
        assert {pixels(path).shape for path in images} == {label.shape}
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "v1-5-pruned-emaonly-fp16.safetensors" in report
    assert "node &#x27;Joint Prior Noise&#x27;: mode joint" in report
