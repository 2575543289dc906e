"""`generate --ray` on Ray's own test cluster: two nodes with a real server each, and what may die.

The prior, the ControlNet and the sampler make the images, so that their last bits would tell of
another number of threads.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from dev.comfyui import REPOSITORY
from dev.interrupts import heeded_by_commands
from dev.ray_cluster import (
    ENVIRONMENT,
    actors,
    add_node,
    cluster_of,
    contents,
    entries,
    own_servers,
)
from dev.server import ComfyServer, host_environment

pytestmark = pytest.mark.slow

IMAGES = 12


@pytest.fixture(scope="module")
def token():
    """A cluster of this module lets in who has the token, as clusters do by default."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def cluster(token):
    with cluster_of(2) as it:
        yield it


@pytest.fixture(scope="module")
def labels(street, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    for path in sorted((street.base / "input" / street.folder / "labels").iterdir())[:IMAGES]:
        Image.open(path).convert("RGB").save(folder / path.name)
    return folder


@pytest.fixture(scope="module")
def workflow(street, start, tmp_path_factory) -> Path:
    ready = start(street)
    prompt = ready.graph.prompt
    for node in prompt.values():
        if node["class_type"] == "LoadImage":
            node["_meta"] = {"title": "Label map"}
        if node["class_type"] == "CheckpointLoaderSimple":
            node["_meta"] = {"title": "Model"}
    seed = ready.graph.add("PrimitiveInt", title="Seed", value=0)
    sampler = ready.sampler(seed=seed, steps=4)
    image = ready.graph.add("VAEDecode", vae=ready.model.vae, samples=sampler)
    ready.graph.add("PreviewImage", title="Images", images=image)
    path = tmp_path_factory.mktemp("workflow") / "workflow.json"
    path.write_text(json.dumps(prompt))
    return path


@pytest.fixture
def command(comfy_dir, street, workflow, labels):
    """`command(cluster, out, *more)`: its arguments; without a cluster it starts its own."""

    def arguments(cluster, out: Path, *more: str) -> list[str]:
        address = [] if cluster is None else [cluster.address]
        words = ["--workflow", str(workflow), "--labels", str(labels), "--out", str(out)]
        words += ["--ray", *address, "--comfyui", str(comfy_dir), "--gpus-per-server", "0"]
        words += [f"--server-args=--base-directory {street.base}"]
        return [sys.executable, "-m", "prior_tools", "generate", *words, *more]

    return arguments


@pytest.fixture(scope="module")
def reference(comfy_dir, street, workflow, labels, tmp_path_factory) -> dict:
    """What one server of as many threads makes of the label maps."""
    out = tmp_path_factory.mktemp("reference")
    words = ["--workflow", str(workflow), "--labels", str(labels), "--out", str(out)]
    with ComfyServer(comfy_dir, street.base, threads=1) as server:
        made = [sys.executable, "-m", "prior_tools", "generate", *words, "--server", server.url]
        subprocess.run(made, cwd=REPOSITORY, env=host_environment(), check=True, timeout=600)
    return contents(out)


def started(command: list[str], log: Path) -> subprocess.Popen:
    """In a group of its own, as a terminal would start it."""
    with log.open("ab") as file, heeded_by_commands():
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=host_environment(),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def await_images(out: Path, count: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 300
    while len(entries(out)) < count:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def check(out: Path, base: Path, reference: dict, log: Path) -> None:
    """Every image is there once, as one server makes it, and no server is left."""
    said = log.read_text()
    assert "Traceback" not in said, said
    assert sorted(entry["file"] for entry in entries(out)) == sorted(reference), said
    assert len(reference) == IMAGES
    assert contents(out) == reference
    assert not list(out.glob("*.part"))
    await_none_left(base)


def await_none_left(base: Path) -> None:
    deadline = time.monotonic() + 60
    while own_servers(base):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_both_nodes_make_what_one_server_makes_and_their_threads_are_recorded(
    cluster, command, street, reference, tmp_path
):
    out, log = tmp_path / "out", tmp_path / "log"
    process = started(command(cluster, out), log)
    seen = 0
    while process.poll() is None:
        seen = max(seen, len(own_servers(street.base)))
        time.sleep(0.1)
    assert process.returncode == 0, log.read_text()
    assert seen == 2
    check(out, street.base, reference, log)
    (kind,) = json.loads((out / "generate.json").read_text())["servers"]
    assert kind["threads"] == 1 and kind["device"] == "cpu"


@pytest.mark.parametrize("victim", ["server", "actor"])
def test_a_server_or_its_actor_that_is_killed_costs_no_image(
    cluster, command, street, reference, tmp_path, victim
):
    out, log = tmp_path / "out", tmp_path / "log"
    process = started(command(cluster, out), log)
    await_images(out, 3, process, log)
    server = own_servers(street.base)[0]
    (server if victim == "server" else actors()[0]).kill()
    assert process.wait(600) == 0, log.read_text()
    assert "lost a server on" in log.read_text()
    check(out, street.base, reference, log)


def test_without_its_nodes_a_run_waits_for_one_that_joins(
    cluster, command, street, reference, tmp_path
):
    out, log = tmp_path / "out", tmp_path / "log"
    process = started(command(cluster, out), log)
    await_images(out, 3, process, log)
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)
    try:
        await_none_left(street.base)
        count = len(entries(out))
        assert count < IMAGES and process.poll() is None
        add_node(cluster)
        assert process.wait(600) == 0, log.read_text()
    finally:
        process.kill()
        # For the tests after this one.
        while len(cluster.worker_nodes) < 2:
            add_node(cluster)
    check(out, street.base, reference, log)


def test_a_command_that_is_killed_or_stopped_goes_on_where_it_was_on_whatever_cluster(
    cluster, command, street, reference, tmp_path
):
    out, log = tmp_path / "out", tmp_path / "log"
    for count in (3, 6):
        process = started(command(cluster, out), log)
        await_images(out, count, process, log)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert len(entries(out)) < IMAGES
    # All that it has started itself is in its group, or goes with it.
    process = started(command(None, out, "--servers", "1"), log)
    await_images(out, len(entries(out)) + 1, process, log)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(600) == 130, log.read_text()
    assert f"stopped after {len(entries(out))} of {IMAGES} images" in log.read_text()
    await_none_left(street.base)
    process = started(command(cluster, out), log)
    assert process.wait(600) == 0, log.read_text()
    check(out, street.base, reference, log)


def test_the_entrypoint_of_the_kubernetes_example_is_run_by_ray_job_submit(
    token, command, street, reference, labels, workflow, comfy_dir, tmp_path
):
    job = yaml.safe_load((REPOSITORY / "docs/cluster/rayjob.yaml").read_text())
    out, log = tmp_path / "out", tmp_path / "log"
    entrypoint = job["spec"]["entrypoint"]
    for theirs, ours in (
        ("python -m", f"{sys.executable} -m"),
        ("/data/street.json", str(workflow)),
        ("/data/labels", str(labels)),
        ("/data/images --per-map 4", str(out)),
        ("/opt/ComfyUI --servers 16", f"{comfy_dir} --servers 1 --gpus-per-server 0"),
        ("--extra-model-paths-config=/data/model_paths.yaml", f"--base-directory={street.base}"),
    ):
        assert entrypoint.count(theirs) == 1
        entrypoint = entrypoint.replace(theirs, ours)
    with cluster_of(1, include_dashboard=True) as cluster:
        words = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit"]
        words += ["--address", f"http://{cluster.webui_url}"]
        # In the example's image the package is installed.
        words += ["--", "sh", "-c", f"cd {REPOSITORY} && {entrypoint}"]
        # KubeRay asks once the cluster is ready; here its agent may still be starting.
        deadline = time.monotonic() + 120
        while (code := started(words, log).wait(600)) and time.monotonic() < deadline:
            if "No available agent" not in log.read_text():
                break
            time.sleep(2)
        assert code == 0, log.read_text()
    check(out, street.base, reference, log)


def test_what_is_missing_is_named_with_its_node_and_nothing_is_made(
    cluster, command, street, tmp_path
):
    out, log = tmp_path / "out", tmp_path / "log"
    process = started(command(cluster, out, "--set", "Model.ckpt_name=none.safetensors"), log)
    assert process.wait(600) == 1, log.read_text()
    said = " ".join(log.read_text().split())
    assert "no server is fit for the workflow" in said
    assert "node 'Model': ckpt_name 'none.safetensors' is not there" in said
    process = started(command(cluster, out, "--comfyui", str(tmp_path)), log)
    assert process.wait(600) == 2, log.read_text()
    assert "main.py is missing" in log.read_text()
    assert not list(out.glob("*.png"))
