"""The help pages: each names all that its node has, in every language, and shows its picture."""

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from dev import locales
from dev.help_pictures import PICTURE, SHOTS
from dev.workspace import PACK_FOLDER

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "web" / "docs"
NODES = sorted(path.stem for path in DOCS.glob("*.md"))
MOST_BYTES = 1.5e6

# English is the page beside the node's folder: the frontend takes it where a language has none.
HEADINGS = {
    "en": ("Inputs", "Outputs"),
    "zh": ("输入", "输出"),
    "ja": ("入力", "出力"),
    "ko": ("입력", "출력"),
}
LANGUAGES = tuple(HEADINGS)
TRANSLATIONS = LANGUAGES[1:]


@pytest.fixture(scope="module")
def schemas(server):
    return locales.own_nodes(server.object_info())


@pytest.fixture(scope="module")
def texts():
    return {x: json.loads(locales.path_of(x).read_text(encoding="utf-8")) for x in LANGUAGES}


def path_of(node, language):
    return DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"


def text_of(node, language="en"):
    return path_of(node, language).read_text(encoding="utf-8")


def heads(text, heading):
    """Of the list under a bold heading what stands before the colon of each of its lines.

    A value, such as a mode, stands after the colon and counts for nothing.
    """
    part = text.partition(f"**{heading}**")[2].partition("\n\n**")[0]
    return [re.split("：|: ", line)[0] for line in re.findall(r"^- (.+)$", part, re.MULTILINE)]


def named(text, heading):
    return [name for head in heads(text, heading) for name in re.findall(r"`(\w+)`", head)]


def test_every_node_has_a_page_in_every_language_and_a_way_to_make_its_picture(schemas):
    assert set(NODES) == set(schemas) == set(SHOTS)
    wanted = {path_of(node, language) for node in NODES for language in LANGUAGES}
    assert set(DOCS.rglob("*.md")) == wanted


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_a_page_names_each_input_and_output_once_and_no_others(schemas, node, language):
    text, schema = text_of(node, language), schemas[node]
    inputs, outputs = HEADINGS[language]
    assert sorted(named(text, inputs)) == sorted(locales.inputs_of(schema))
    assert named(text, outputs) == schema["output_name"]


@pytest.mark.parametrize("language", TRANSLATIONS)
@pytest.mark.parametrize("node", NODES)
def test_a_page_calls_all_as_the_node_does_in_its_language(schemas, texts, node, language):
    text, own = text_of(node, language), texts[language][node]
    assert text.startswith(f"# {own['display_name']}\n")
    for heading, group in zip(HEADINGS[language], ("inputs", "outputs"), strict=True):
        names = schemas[node]["output_name"] if group == "outputs" else list(own["inputs"])
        said = " ".join(heads(text, heading))
        for name, entry in zip(names, own[group].values(), strict=True):
            if entry["name"] != name:
                assert re.search(rf"`{name}`[(（]{re.escape(entry['name'])}[)）]", said), name


@pytest.mark.parametrize("language", TRANSLATIONS)
@pytest.mark.parametrize("node", NODES)
def test_a_translation_keeps_every_number_and_every_word_of_code(texts, node, language):
    english, text = text_of(node), text_of(node, language)
    # Small numbers of things may be words.
    numbers = set(re.findall(r"\d+(?:\.\d+)+|\d{2,}|\d+(?=%)", re.sub(r"`[^`]*`", "", english)))
    assert numbers <= set(re.findall(r"\d+(?:\.\d+)+|\d+", text))
    code = set(re.findall(r"`([^`]+)`", english))
    assert code <= set(re.findall(r"`([^`]+)`", text))
    called = {
        texts[language][other]["display_name"]
        for other, entry in texts["en"].items()
        if entry["display_name"] in english
    }
    assert all(name in text for name in called)
    assert english.count("\n|") == text.count("\n|")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_a_page_shows_the_nodes_picture_where_the_frontend_looks_for_it(server, node, language):
    (place,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text_of(node, language))
    assert place == f"{node}/{PICTURE}"
    # The frontend takes a page's addresses from the folder of all pages.
    served = server.get(f"/extensions/{PACK_FOLDER}/docs/{place}")
    picture = Image.open(io.BytesIO(served), formats=["PNG"])
    picture.load()
    assert min(picture.size) > 300


def test_the_pictures_are_no_burden_to_an_install():
    assert sum(path.stat().st_size for path in DOCS.rglob("*.png")) < MOST_BYTES
