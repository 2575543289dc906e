"""The nodes' texts in every language: complete, agreeing with the schemas, and served."""

import json
import re

import pytest

from dev import locales

pytestmark = pytest.mark.slow

LANGUAGES = ("en", "zh", "ja", "ko")
TRANSLATIONS = LANGUAGES[1:]

# Letters that show that a text is in the language, and those of the other languages.
KANA = "\u3041-\u30fa"
HANGUL = "\uac00-\ud7a3"
HAN = "\u4e00-\u9fff"
OWN = {"zh": HAN, "ja": KANA + HAN, "ko": HANGUL}
FOREIGN = {"zh": KANA + HANGUL, "ja": HANGUL, "ko": KANA + HAN}

# What the host shows for these types, or what is too short to be translated.
KEPT_NAMES = {"MODEL", "CONTROL_NET", "VAE", "vae", "cfg", "mu", "latent", "sigmas"}

# Names of other things than files, numbers and values, which are the same in every language.
KEPT_WORDS = (
    "ADE20K|COCO-Stuff|Cityscapes|ComfyUI|DDIM|SCP-Diff|SDXL|Stable Diffusion|VAE|eta|euler|"
    "KSamplerAdvanced|SamplerCustomAdvanced|OLD=NEW|exponential|none|trainIds|"
    r"\.npy|mu\*T|sigma\(mu\*T\)|sqrt\(1 \+ sigma\^2\)"
)


@pytest.fixture(scope="module")
def nodes(server):
    return locales.own_nodes(server.object_info())


@pytest.fixture(scope="module")
def texts():
    return {x: json.loads(locales.path_of(x).read_text(encoding="utf-8")) for x in LANGUAGES}


def pairs(one, other):
    """All texts of `one` with those of `other` at the same place: (place, text, other text)."""
    for node_id, node in one.items():
        yield node_id, node["display_name"], other[node_id]["display_name"]
        yield node_id, node["description"], other[node_id]["description"]
        for group in ("inputs", "outputs"):
            for name, entry in node[group].items():
                for kind, text in entry.items():
                    place = f"{node_id}.{group}.{name}.{kind}"
                    yield place, text, other[node_id][group][name][kind]


def test_there_are_these_languages_and_no_other_files():
    found = {x.relative_to(locales.LOCALES) for x in locales.LOCALES.rglob("*") if x.is_file()}
    assert found == {locales.path_of(x).relative_to(locales.LOCALES) for x in LANGUAGES}


def test_english_is_the_schemas_own(server, texts):
    assert locales.path_of("en").read_bytes().decode() == locales.dump(
        locales.english(server.object_info())
    ), "run `python -m dev.locales`"


@pytest.mark.parametrize("language", LANGUAGES)
def test_exactly_what_the_server_lists_has_texts(nodes, texts, language):
    found = texts[language]
    assert list(found) == list(nodes)
    for node_id, node in nodes.items():
        entry = found[node_id]
        assert set(entry) == {"display_name", "description", "inputs", "outputs"}, node_id
        assert list(entry["inputs"]) == list(locales.inputs_of(node)), node_id
        assert list(entry["outputs"]) == [str(i) for i in range(len(node["output"]))], node_id
        for parts in (*entry["inputs"].values(), *entry["outputs"].values()):
            assert list(parts) == ["name", "tooltip"], node_id


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_one_line_that_the_frontend_shows_as_it_is(texts, language):
    for place, text, _ in pairs(texts[language], texts[language]):
        assert isinstance(text, str) and text, place
        assert text == text.strip() and "\n" not in text and "  " not in text, place
        assert not set(text) & set(locales.SPECIAL), place


@pytest.mark.parametrize("language", LANGUAGES)
def test_files_are_written_as_the_script_writes_them(texts, language):
    assert locales.path_of(language).read_bytes().decode() == locales.dump(texts[language])


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_texts_are_in_their_language(texts, language):
    for place, english, text in pairs(texts["en"], texts[language]):
        assert not re.search(f"[{FOREIGN[language]}]", text), place
        if english not in KEPT_NAMES:
            assert re.search(f"[{OWN[language]}]", text), place


def technical_words(english):
    """The numbers, names of files and folders, and values in a text."""
    words = {x.rstrip("./") for x in re.findall(r"-?[A-Za-z0-9_][A-Za-z0-9_./%]*", english)}
    found = {x for x in words if re.search(r"[0-9_/]|\.[a-z]", x)}
    return found | set(re.findall(rf"(?<![\w-])(?:{KEPT_WORDS})(?![\w-])", english))


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_numbers_files_and_values_are_kept(nodes, texts, language):
    inputs = {name for node in nodes.values() for name in locales.inputs_of(node)}
    for place, english, text in pairs(texts["en"], texts[language]):
        node_id, *rest = place.split(".")
        if rest[-1:] == ["name"]:
            continue
        wanted = technical_words(english) - inputs
        if rest[:1] == ["inputs"]:
            options = locales.inputs_of(nodes[node_id])[rest[1]].get("options", [])
            wanted |= set(re.findall(r"\w+", english)) & set(options)
        for word in wanted:
            # As a part of another number or name it does not count.
            pattern = rf"(?<![A-Za-z0-9_.-]){re.escape(word)}(?!\.?[A-Za-z0-9_%])"
            assert re.search(pattern, text), f"{place}: {word} is not in {text!r}"


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_nodes_are_called_by_their_names(texts, language):
    names = {x["display_name"]: texts[language][i]["display_name"] for i, x in texts["en"].items()}
    assert len(set(names.values())) == len(names)
    for place, english, text in pairs(texts["en"], texts[language]):
        for name, translated in names.items():
            if name in english:
                assert translated in text, f"{place}: {translated}"


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_inputs_of_equal_texts_have_equal_translations(texts, language):
    seen = {}
    for place, english, text in pairs(texts["en"], texts[language]):
        if ".inputs." in place:
            assert seen.setdefault(english, text) == text, place


def test_the_server_serves_them(server, texts):
    served = json.loads(server.get("/i18n"))
    for language in LANGUAGES:
        assert served[language] == {"nodeDefs": texts[language]}
