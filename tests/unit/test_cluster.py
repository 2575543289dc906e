"""Laws of servers that the command starts itself, as far as they need no cluster and no ComfyUI."""

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from prior_tools.cli import main
from prior_tools.cli.cluster_options import add_cluster, check_kind, cluster_of
from prior_tools.cluster import actor, own_server
from prior_tools.cluster.own_server import OwnServer, ServerFailed
from prior_tools.cluster.pace import Pace, rate, slow
from prior_tools.cluster.ray_cluster import Share, connect, room
from prior_tools.errors import PriorError
from prior_tools.generating import manifest as records
from prior_tools.generating.node_warnings import WarningCounts
from prior_tools.generating.plan_check import missing
from prior_tools.generating.prepared_workflow import prepare_workflow
from prior_tools.generating.work import Work

posix = pytest.mark.skipif(os.name == "nt", reason="process groups need POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")

# A command with a child in its group, both of which would go on for ever.
FAMILY = """
    import os, pathlib, subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(float(sys.argv[2]))
"""
STARTER = """
    import subprocess, sys, time
    kept = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
    time.sleep(600)
"""


def code(text: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(text)]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def await_that(holds, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def family(tmp_path):
    """`family(seconds)`: starter, keeper, command and its child at work; their ids, the folder."""
    starters, keepers = [], []

    def start(seconds: float):
        scratch, told = tmp_path / "scratch", tmp_path / "pids"
        scratch.mkdir()
        (scratch / "image.png").write_bytes(b"1")
        kept = [sys.executable, str(own_server._KEEPER), str(scratch), *code(FAMILY)]
        starter = subprocess.Popen(
            [*code(STARTER), *kept, str(told), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        starters.append(starter)
        keeper = int(starter.stdout.readline())
        keepers.append(keeper)
        await_that(lambda: told.exists() and len(told.read_text().split()) == 2)
        return starter, keeper, *map(int, told.read_text().split()), scratch

    yield start
    for starter, keeper in zip(starters, keepers, strict=True):
        starter.kill()
        starter.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(keeper, signal.SIGKILL)


@posix
def test_a_command_goes_with_whoever_started_it_and_takes_all_of_its_own_along(family):
    starter, keeper, command, child, scratch = family(600)
    starter.send_signal(signal.SIGKILL)
    await_that(lambda: gone(keeper) and gone(command) and gone(child))
    assert not scratch.exists()


@posix
def test_what_a_command_leaves_when_it_ends_is_ended(family):
    _starter, keeper, command, child, scratch = family(0)
    await_that(lambda: gone(keeper) and gone(command) and gone(child))
    assert not scratch.exists()


@linux
def test_a_command_goes_with_its_keeper(family):
    _starter, keeper, command, _child, _scratch = family(600)
    os.kill(keeper, signal.SIGKILL)
    await_that(lambda: gone(command))


def server_of(tmp_path: Path, main_py: str) -> OwnServer:
    (tmp_path / "main.py").write_text(textwrap.dedent(main_py))
    return OwnServer(tmp_path, None, (), threads=3)


@posix
def test_a_server_that_does_not_start_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(own_server.tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with pytest.raises(ServerFailed, match=r"no ComfyUI in .*: main\.py is missing"):
        OwnServer(tmp_path, None, (), threads=1).start(1.0)
    with pytest.raises(ServerFailed, match=r"ended: .*no kernel image \| exit code 1"):
        server_of(tmp_path, "raise SystemExit('CUDA: no kernel image')").start(60.0)
    with pytest.raises(ServerFailed, match=r"did not answer within 1 s"):
        server_of(tmp_path, "import time; time.sleep(600)").start(1.0)
    assert not list((tmp_path / "tmp").iterdir())


def test_threads_are_ours_and_what_python_was_told_is_not_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    names = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONPATH"
    with pytest.raises(ServerFailed, match=r"ended: \['3', '3', None\]"):
        server_of(
            tmp_path, f"import os; raise SystemExit(str([os.environ.get(n) for n in {names}]))"
        ).start(60.0)


@linux
def test_a_port_is_none_that_an_outgoing_connection_may_take():
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = {own_server._free_port() for _ in range(50)}
    assert len(ports) > 25
    assert not [port for port in ports if first <= port <= last]


def test_an_actor_without_a_server_answers_why(tmp_path, monkeypatch):
    monkeypatch.setattr(actor, "_node", lambda: "here")
    setup = actor.Setup(str(tmp_path), None, (), threads=1, depth=2, patience=1.0)
    server = actor.ServerActor(setup)
    for answer in (server.ready(None), server.object_info()):
        assert answer.node == "here" and "main.py is missing" in answer.text


# --- what a node lacks ---


def node(class_type, title, **inputs):
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


PROMPT = {
    "1": node("LoadImage", "Label map", image="old.png"),
    "2": node("PrimitiveInt", "Seed", value=5),
    "3": node("CheckpointLoaderSimple", "Model", ckpt_name="sd15.safetensors"),
    "4": node("KSampler", "Sampler", model=["3", 0], seed=["2", 0], sampler_name="euler"),
    "5": node("LoadImage", "Style", image="styles/warm.png"),
    "6": node("SCP_LoadPrior", "Prior", prior_name="street.safetensors"),
    "7": node("SaveImage", "Save", images=["4", 0], filename_prefix="x.y"),
}


def info(**choices):
    return {"input": {"required": choices}}


KNOWN = {
    "LoadImage": info(image=[["a.png"], {"image_upload": True}]),
    "PrimitiveInt": info(value=["INT", {}]),
    "CheckpointLoaderSimple": info(ckpt_name=[["sd15.safetensors", "other.ckpt"]]),
    "KSampler": info(seed=["INT", {}], sampler_name=[["euler", "heun"], {}]),
    "SCP_LoadPrior": info(prior_name=["COMBO", {"options": ["street.safetensors"]}]),
    "SaveImage": info(filename_prefix=["STRING", {}]),
}


def lacking(prompt, known, there=("styles/warm.png",)):
    workflow = prepare_workflow(prompt, "Label map", "Seed", None, (), known)
    return missing(workflow, known, lambda name: name in there)


def test_what_a_node_lacks_is_named_and_nothing_else():
    assert lacking(PROMPT, KNOWN) == []
    assert lacking(PROMPT, KNOWN, there=()) == [
        "node 'Style': image 'styles/warm.png' is not there"
    ]
    without = {k: v for k, v in KNOWN.items() if k != "SCP_LoadPrior"}
    assert lacking(PROMPT, without) == ["node 'Prior': class SCP_LoadPrior is not installed"]
    poor = {
        **KNOWN,
        "CheckpointLoaderSimple": info(ckpt_name=[["other.ckpt"]]),
        "SCP_LoadPrior": info(prior_name=["COMBO", {"options": []}]),
    }
    assert lacking(PROMPT, poor) == [
        "node 'Model': ckpt_name 'sd15.safetensors' is not there",
        "node 'Prior': prior_name 'street.safetensors' is not there",
    ]
    # What is no file is left to the server, whose nodes may know more than they list.
    other = {**KNOWN, "KSampler": info(seed=["INT", {}], sampler_name=[["heun"], {}])}
    assert lacking(PROMPT, other) == []


# --- who is slow ---


def pace_of(times: list[float]) -> Pace:
    """Of a server that had a job from 0 on and has made an image at each of the times."""
    pace = Pace()
    pace.begin(0.0)
    for now in times:
        pace.begin(now)
        pace.made(1, now)
    return pace


def test_a_server_ten_times_slower_than_the_median_is_found_and_no_other():
    # The first image takes long everywhere: models are loaded.
    paces = {name: pace_of([30.0 + 2 * i for i in range(11)]) for name in "abc"}
    paces["nine times"] = pace_of([30.0, 48.0])
    paces["slow"] = pace_of([30.0, 50.0])
    assert rate(paces, 50.0) == pytest.approx(0.5)
    assert slow(paces, 50.0) == {"slow": (20.0, 2.0)}


def test_of_two_servers_the_slow_one_is_found_and_neither_of_two_equal_ones():
    fast = pace_of([10.0 + i for i in range(13)])
    assert slow({"fast": fast, "slow": pace_of([10.0, 22.0])}, 22.0) == {"slow": (12.0, 1.0)}
    assert slow({"a": pace_of([10.0, 11.0]), "b": pace_of([10.0, 11.5])}, 11.6) == {}


def test_a_server_that_makes_nothing_is_found_by_the_first_image_of_the_others():
    paces = {"a": pace_of([5.0, 6.0]), "b": pace_of([5.0, 6.0]), "stuck": pace_of([])}
    assert slow(paces, 6.0) == {}
    assert slow(paces, 7.0) == {}
    paces = {"a": pace_of([5.0]), "b": pace_of([5.0]), "stuck": pace_of([])}
    assert slow(paces, 49.0) == {}
    assert slow(paces, 50.0) == {"stuck": (50.0, 5.0)}


def test_a_pause_is_not_counted():
    pace = pace_of([10.0, 12.0])
    pace.pause()
    assert pace.seconds(500.0) is None
    pace.begin(500.0)
    for now in (510.0, 512.0, 514.0):
        pace.made(1, now)
    assert pace.seconds(514.0) == 2.0


# --- jobs that are added ---


def test_work_that_others_add_to_is_never_finished():
    work = Work((), 1, more=True)
    assert not work.finished and work.left == 0 and work.take() is None
    job = SimpleNamespace(name="a")
    work.add(job)
    assert work.take() is job and work.left == 1
    work.done(job)
    assert not work.finished and work.left == 0


def test_servers_are_recorded_beside_those_of_commands_before_and_never_compared(tmp_path):
    run = {"seed": 0, "workflow": {}, "label maps": {}}
    records.begin_or_go_on(tmp_path, run, [])
    one, two = {"threads": 1, "device": "cpu"}, {"threads": 4, "device": "cpu"}
    for servers, known in (([one], [one]), ([one], [one]), ([two], [one, two]), ([], [one, two])):
        assert records.record_summary(tmp_path, WarningCounts(), None, servers) == known
        records.begin_or_go_on(tmp_path, run, [])
    recorded = records.parsed((tmp_path / records.RUN_NAME).read_bytes())
    assert recorded["servers"] == [one, two]


# --- options ---


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", nargs="+")
    parser.add_argument("--ray", nargs="?", const="")
    parser.add_argument("--auth-file")
    parser.add_argument("--ca-file")
    add_cluster(parser)
    parser.set_defaults(depth=2, patience=10.0)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--server", "host", "--servers", "2", "--comfyui", "c"), "--servers, --comfyui goes wi"),
        (("--ray", "--auth-file", "f"), "--auth-file goes with --server only"),
        (("--ray", "--server-args", "--port 80"), "--port, which is set for each server by itself"),
        (("--ray", "--server-args=--temp-directory=/x"), "is set for each server by itself"),
        (("--ray", "--server-args", "'open"), "cannot be taken apart"),
        (("--ray", "--servers", "0"), "--servers is 0"),
        (("--ray", "--cpus-per-server", "0"), "needs a part of one at least"),
    ],
)
def test_options_that_cannot_be_are_refused(words, says):
    args = options(*words)
    with pytest.raises(PriorError) as error:
        check_kind(args)
        cluster_of(args, print)
    assert says in str(error.value)


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "nan", "inf"])
def test_a_share_is_a_part_of_one_or_whole(text, capsys):
    with pytest.raises(SystemExit):
        options("--ray", f"--gpus-per-server={text}")
    assert "a part of 1, or a whole number" in capsys.readouterr().err


def test_threads_are_the_cpus_and_without_a_gpu_comfyui_is_told(tmp_path):
    words = ("--ray", "--comfyui", str(tmp_path), "--gpus-per-server", "0")
    setup = cluster_of(options(*words, "--cpus-per-server", "4"), print)._setup
    assert setup.threads == 4 and setup.arguments == ("--cpu",)
    setup = cluster_of(options(*words[:3], "--cpus-per-server=0.5"), print)._setup
    assert setup.threads == 1 and setup.arguments == ()


@pytest.mark.parametrize(
    ("more", "says"),
    [((), r'pip install ".\[cluster\]"'), (("--servers", "0"), "--servers is 0")],
)
def test_what_cannot_be_is_said_before_label_maps_are_looked_through(
    monkeypatch, tmp_path, capsys, more, says
):
    monkeypatch.setitem(sys.modules, "ray", None if not more else SimpleNamespace())
    (tmp_path / "workflow.json").write_text(json.dumps(PROMPT))
    words = ["--workflow", str(tmp_path / "workflow.json"), "--labels", str(tmp_path / "none")]
    assert main(["generate", *words, "--out", str(tmp_path / "out"), "--ray", *more]) == 2
    assert re.search(says, capsys.readouterr().err)


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("ray://127.0.0.1:10001", "is not for long runs"),
        ("http://127.0.0.1:8265", "expected auto or HOST:PORT"),
        ("street", "expected auto or HOST:PORT"),
        ("127.0.0.1:free", "no cluster answers there .*refused"),
        ("no-such-host.invalid:6379", "no cluster answers there"),
    ],
)
def test_an_address_without_a_cluster_is_told_at_once(monkeypatch, address, says, by_variable):
    pytest.importorskip("ray")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = address.replace("free", str(unused.getsockname()[1]))
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        if by_variable:
            monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(PriorError, match=says) as error:
            connect(None if by_variable else address)
    assert f"{'RAY_ADDRESS' if by_variable else '--ray'} {address}" in str(error.value)


@pytest.mark.parametrize(
    ("gpus", "cpus", "count"), [(1, 1, 3), (0.4, 1, 6), (1 / 3, 0.1, 9), (2, 1, 1), (0, 2, 6)]
)
def test_there_is_room_for_what_ray_places(gpus, cpus, count):
    def node_of(alive, **resources):
        names = {"NodeManagerHostname": "host", "NodeManagerAddress": "10.0.0.1"}
        return {"Alive": alive, "Resources": resources, **names}

    nodes = [
        node_of(True, GPU=2.0, CPU=8.0, memory=1e9),
        node_of(True, GPU=1.0, CPU=4.0),
        node_of(False, GPU=8.0, CPU=64.0),
    ]
    found, words = room(nodes, Share(gpus, cpus))
    assert found == count
    assert words[0] == "host (10.0.0.1): 2 GPUs and 8 CPUs" and len(words) == 2


def test_one_kind_of_servers_is_needed_and_one_alone(capsys):
    words = ["generate", "--workflow", "w", "--labels", "l", "--out", "o"]
    for more in ([], ["--server", "host", "--ray"]):
        with pytest.raises(SystemExit):
            main([*words, *more])
    said = capsys.readouterr().err
    assert "one of the arguments --server --ray is required" in said
    assert "--ray: not allowed with argument --server" in said
