"""The help pages: each names all that its node has, and shows a picture that the server serves."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image

from dev import locales
from dev.help_pictures import PICTURE, SHOTS
from dev.workspace import PACK_FOLDER

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "web" / "docs"
NODES = sorted(path.parent.name for path in DOCS.glob("*/en.md"))
MOST_BYTES = 1.5e6


@pytest.fixture(scope="module")
def schemas(server):
    return locales.own_nodes(server.object_info())


def text_of(node):
    return (DOCS / node / "en.md").read_text(encoding="utf-8")


def named(text, heading):
    """What the list under a bold heading tells of: the names before the colon of each of its lines.

    A value, such as a mode, stands after the colon and counts for nothing.
    """
    part = text.partition(f"**{heading}**")[2].partition("\n\n**")[0]
    found = []
    for line in re.findall(r"^- (.+)$", part, re.MULTILINE):
        names = re.findall(r"`(\w+)`", line.partition(": ")[0])
        if " to " in line.partition(": ")[0]:
            first, last = names
            stem = first[:-1]
            names = [stem + chr(end) for end in range(ord(first[-1]), ord(last[-1]) + 1)]
        found += names
    return found


def test_every_node_has_a_page_and_a_way_to_make_its_picture(schemas):
    assert set(NODES) == set(schemas) == set(SHOTS)


@pytest.mark.parametrize("node", NODES)
def test_a_page_names_each_input_and_output_once_and_no_others(schemas, node):
    text, schema = text_of(node), schemas[node]
    assert sorted(named(text, "Inputs")) == sorted(locales.inputs_of(schema))
    assert named(text, "Outputs") == schema["output_name"]


@pytest.mark.parametrize("node", NODES)
def test_a_page_shows_the_nodes_picture_where_the_frontend_looks_for_it(server, node):
    (place,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text_of(node))
    assert place == f"{node}/{PICTURE}"
    # The frontend takes a page's addresses from the folder above it.
    served = server.get(f"/extensions/{PACK_FOLDER}/docs/{place}")
    picture = Image.open(io.BytesIO(served), formats=["PNG"])
    picture.load()
    assert min(picture.size) > 300


def test_the_pictures_are_no_burden_to_an_install():
    assert sum(path.stat().st_size for path in DOCS.rglob("*.png")) < MOST_BYTES
