"""What the server answers when the card on Load SCP Prior asks: listed priors only, and anew."""

import json
import shutil
import urllib.parse

import pytest

from dev.comfyui import REPOSITORY
from prior_tools import load_prior
from prior_tools.picture import prior_card

pytestmark = pytest.mark.slow

DEMO = "scp_diff_demo.safetensors"
DEMO_FILE = REPOSITORY / "weights" / "priors" / DEMO
IMAGES = load_prior(DEMO_FILE).num_images

IN_A_SERVER = """
import asyncio
import threading
import time

from aiohttp.test_utils import TestClient, TestServer
from aiohttp import web
from server import PromptServer

routes = pack_module("nodes.host_routes")
routes.register_routes()  # no server: nothing happens


class Instance:
    routes = web.RouteTableDef()


PromptServer.instance = Instance
threads = []


def slow_card(name):
    threads.append(threading.current_thread().name)
    time.sleep(0.5)
    return "{}"


routes.card_of = slow_card
try:
    for _ in range(2):  # as two copies of the pack do
        routes.register_routes()
finally:
    del PromptServer.instance


async def ask():
    application = web.Application()
    application.add_routes(Instance.routes)
    async with TestClient(TestServer(application)) as client:
        questions = [asyncio.create_task(client.get(routes.CARD_ROUTE)) for _ in range(2)]
        ticks, start = 0, time.monotonic()
        while not all(question.done() for question in questions):
            await asyncio.sleep(0.02)
            ticks += 1
        answers = [await question for question in questions]
        return ticks, time.monotonic() - start, [await a.text() for a in answers]


ticks, seconds, answers = asyncio.run(ask())
result = {
    "routes": len(Instance.routes),
    "ticks": ticks,
    "seconds": seconds,
    "answers": answers,
    "threads": sorted(set(threads)),
}
"""


@pytest.fixture(scope="module")
def ask(server):
    """`ask(name)`: the card that the server gives for it."""

    def get(name):
        query = urllib.parse.urlencode({"name": name})
        return json.loads(server.get(f"/api/scp_diff/prior_card?{query}"))

    return get


@pytest.fixture
def folder(server):
    """An empty folder inside the folder of priors."""
    path = server.base / "models" / "scp_priors" / "card"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_it_is_the_card_of_the_file(ask):
    assert ask(DEMO) == prior_card(load_prior(DEMO_FILE))


def test_a_file_in_a_subfolder_is_found_and_seen_when_it_changes(server, ask, folder):
    name = "card/one.safetensors"
    assert f"there is no prior '{name}'" in ask(name)["error"]
    shutil.copy(DEMO_FILE, folder / "one.safetensors")
    (listed,) = [
        known
        for known in server.object_info()["SCP_LoadPrior"]["input"]["required"]["prior_name"][1][
            "options"
        ]
        if known.replace("\\", "/") == name
    ]
    assert ask(listed)["images"] == IMAGES
    data = DEMO_FILE.read_bytes()
    (folder / "one.safetensors").write_bytes(data[:-100])
    assert "not a complete safetensors file (100 bytes are missing" in ask(listed)["error"]
    (folder / "one.safetensors").write_bytes(data)
    assert ask(listed)["images"] == IMAGES


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b'"data_offsets"', b'"data_offsetz"'),
        (b'"shape"', b'"shapf"'),
        (b"class_names", b"class_namez"),
        (b'\\"grid\\": [18, 36]', b'\\"grid\\": [1e9, 4]'),
        (b'\\"grid\\": [18, 36]', b'\\"grid\\": [99,999]'),
        (f'\\"num_images\\": {IMAGES}'.encode(), f'\\"num_images\\": -{str(IMAGES)[1:]}'.encode()),
    ],
)
def test_damage_is_told_whatever_it_is(server, ask, folder, was, now):
    data = DEMO_FILE.read_bytes()
    damaged = data.replace(was, now, 1)
    assert len(damaged) == len(data) and damaged != data
    (folder / "two.safetensors").write_bytes(damaged)
    answer = ask("card/two.safetensors")
    assert list(answer) == ["error"] and answer["error"].startswith("two.safetensors is ")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nothing.safetensors",
        "../outside.safetensors",
        "card/../../outside.safetensors",
        "card/text.txt",
        "card/nul\x00.safetensors",
        "{base}/models/outside.safetensors",
    ],
)
def test_nothing_but_listed_priors_is_read(server, ask, folder, name):
    outside = server.base / "models" / "outside.safetensors"
    shutil.copy(DEMO_FILE, outside)
    shutil.copy(DEMO_FILE, folder / "text.txt")
    answer = ask(name.replace("{base}", str(server.base)))
    outside.unlink()
    assert list(answer) == ["error"]
    assert answer["error"].startswith("there is no prior ")


def test_the_server_is_free_while_a_prior_is_read(run_in_host):
    found = run_in_host(IN_A_SERVER)
    assert found["answers"] == ["{}", "{}"]
    assert found["ticks"] > 10
    # One after the other: two large priors at once would take the memory of both.
    assert len(found["threads"]) == 1 and found["seconds"] > 0.95


def test_two_copies_of_the_pack_make_one_route(run_in_host):
    assert run_in_host(IN_A_SERVER)["routes"] == 1
