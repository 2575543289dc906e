"""The card on Load SCP Prior: it tells what is in the chosen prior, and changes nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from dev.comfyui import REPOSITORY
from dev.locales import LOCALES
from prior_tools import PALETTES, HeldOut, ModeFit, PriorAccumulator, load_prior, save_prior
from prior_tools.held_out import HELD_OUT_MODES

pytestmark = [pytest.mark.slow, pytest.mark.every_frontend]

# Those of nodes that are out of sight stay in the page.
CARD = ".scp-prior-card:visible"

DEMO = "scp_diff_demo.safetensors"
SHIPPED = load_prior(REPOSITORY / "weights" / "priors" / DEMO)
IMAGES = SHIPPED.num_images
SIDEWALK = 1
WIDE, TALL, DAMAGED = "card_wide.safetensors", "card_tall.safetensors", "card_damaged.safetensors"
ALONE = "card_alone.safetensors"


def write_prior(
    path: Path, grid=(4, 8), images=3, classes=150, channels=4, **metadata: Any
) -> None:
    """A prior of random latents that holds so many classes of ADE20K."""
    generator = torch.Generator().manual_seed(0)
    state = PriorAccumulator(channels, grid, ())
    labels = torch.randint(1, classes + 1, (images, *grid), generator=generator)
    state.update(torch.randn(images, channels, *grid, generator=generator), labels)
    palette = PALETTES["ade20k"]
    told = {"palette": palette, "class_names": dict(palette.names), "latent_format": "sd15"}
    save_prior(state.finalize(**{**told, **metadata}), path)


@pytest.fixture(scope="module")
def priors(street) -> Path:
    """The server's folder of priors with some to choose from."""
    folder = street.base / "models" / "scp_priors"
    fits = {mode: ModeFit(1.0, None, 0.754, None, 1.0) for mode in HELD_OUT_MODES}
    told = HeldOut(256, fits)
    write_prior(folder / WIDE, (48, 64), images=5, dataset_name="Wide streets", held_out=told)
    names = {1: "<b>wall</b>", 2: "<img src=x onerror='window.harmed = true'>"}
    flux = {"channels": 16, "latent_format": "flux"}
    write_prior(folder / TALL, (12, 6), classes=2, class_names=names, **flux)
    state = PriorAccumulator(4, (6, 12))
    state.update(torch.randn(20, 4, 6, 12), torch.full((20, 6, 12), -1))
    told = {"label_method": None, "dataset_name": "dusk", "latent_format": "sd15"}
    save_prior(state.finalize(**told), folder / ALONE)
    (folder / DAMAGED).write_bytes((folder / WIDE).read_bytes()[:5000])
    return folder


@pytest.fixture
def load(page: Page, priors: Path) -> Callable[..., None]:
    """`load(name, ...)`: open a workflow with a loader for each of these names, side by side."""

    def open_(*names: str, size: tuple[int, int] = (400, 340)) -> None:
        nodes = [
            {
                "id": index + 1,
                "type": "SCP_LoadPrior",
                "pos": [index * (size[0] + 40), 0],
                "size": list(size),
                "flags": {},
                "order": index,
                "mode": 0,
                "inputs": [],
                "outputs": [{"name": "prior", "type": "SCP_PRIOR", "links": None}],
                "properties": {},
                "widgets_values": [name],
            }
            for index, name in enumerate(names)
        ]
        workflow = {
            "last_node_id": len(nodes),
            "last_link_id": 0,
            "nodes": nodes,
            "links": [],
            "groups": [],
            "config": {},
            "extra": {"ds": {"scale": 1, "offset": [120, 160]}},
            "version": 0.4,
        }
        page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
        settled(page, len(names))

    return open_


def settled(page: Page, count: int) -> None:
    """Wait until this many cards show what the server said."""
    expect(page.locator(CARD)).to_have_count(count)
    told = page.locator(".scp-prior-card[data-state=ready], .scp-prior-card[data-state=error]")
    expect(told).to_have_count(count)


def sizes_of_pictures(page: Page, index: int = 0) -> list[list[int]]:
    images = page.locator(CARD).nth(index).locator("img")
    return images.evaluate_all("all => all.map(i => [i.naturalWidth, i.naturalHeight])")


@pytest.fixture
def assert_inside_their_nodes(page: Page, boxes: Callable) -> Callable[[], None]:
    """No card sticks out of its node, no part of it out of the card, and none is squeezed."""

    def check() -> None:
        nodes = sorted(boxes().values())
        cards = sorted(boxes(".scp-prior-card"))
        for card, node in zip(cards, nodes, strict=True):
            assert node[0] < card[0] and card[2] < node[2]
            assert node[1] < card[1] and card[3] < node[3]
        cut = page.locator(CARD).evaluate_all(
            """cards => cards.flatMap(card => {
            const {right, bottom} = card.getBoundingClientRect();
            return [...card.querySelectorAll('p, .scp-pictures, ul')].filter(part => {
                const box = part.getBoundingClientRect();
                return box.right > right || box.bottom > bottom || box.height < 12;
            }).map(part => part.outerHTML); })"""
        )
        assert not cut

    return check


def test_it_tells_of_the_chosen_prior_and_of_another_one_as_soon_as_that_is_chosen(
    page, load, set_widget, assert_inside_their_nodes, screenshot
):
    load(DEMO)
    card = page.locator(CARD)
    for text in (f"{IMAGES} images", "15 classes", "36x18 cells", "288x144 pixels", "VAE sd15"):
        expect(card).to_contain_text(text)
    images = int(SHIPPED.class_image_count[SHIPPED.class_ids.tolist().index(SIDEWALK)])
    sidewalk = card.locator("li").filter(has_text="sidewalk")
    expect(sidewalk).to_have_text(f"sidewalk{images}")
    assert sizes_of_pictures(page) == [[36, 18], [36, 18]]
    assert_inside_their_nodes()
    screenshot("demo")

    set_widget("SCP_LoadPrior", "prior_name", WIDE)
    expect(card).to_contain_text("Wide streets")
    held_out = "256 held out: spatial predicts them best, 75%"
    for text in ("5 images", "150 classes", "64x48 cells", "512x384 pixels", held_out):
        expect(card).to_contain_text(text)
    assert sizes_of_pictures(page) == [[64, 48], [64, 48]]
    assert_inside_their_nodes()
    screenshot("wide")

    # A script may set the value and tell nobody.
    page.evaluate(f"() => {{ app.graph.nodes[0].widgets[0].value = '{TALL}'; }}")
    expect(card).to_contain_text("VAE flux, 16 channels")
    # The host remembers a change with the next click.
    page.mouse.click(1200, 900)
    page.evaluate("app.extensionManager.command.execute('Comfy.Undo')")
    expect(card).to_contain_text(f"{IMAGES} images")


def test_a_prior_of_images_alone_says_so_and_shows_its_mean(
    page, load, set_widget, assert_inside_their_nodes, screenshot
):
    load(ALONE)
    card = page.locator(CARD)
    for text in ("dusk", "20 images", "12x6 cells", "Of images alone: no classes"):
        expect(card).to_contain_text(text)
    expect(card).not_to_contain_text("0 classes")
    expect(card.locator("li")).to_have_count(0)
    assert sizes_of_pictures(page) == [[12, 6]]
    assert_inside_their_nodes()
    screenshot("alone")
    set_widget("SCP_LoadPrior", "prior_name", DEMO)
    expect(card).to_contain_text("15 classes")


def test_it_follows_a_choice_from_the_list(page, frontend, load):
    load(DEMO)
    card = page.locator(CARD)
    # The list is that of the page's start until it is asked for again.
    page.evaluate("app.extensionManager.command.execute('Comfy.RefreshNodeDefinitions')")
    if frontend.html:
        page.locator("[data-node-id] [role=combobox], [data-node-id] [data-pc-name=select]").click()
    else:
        # A click finds what was drawn last.
        page.evaluate("new Promise(made => requestAnimationFrame(() => setTimeout(made, 100)))")
        left, top, width = page.evaluate(
            """() => { const [node] = app.graph.nodes;
            return [...app.canvasPosToClientPos(
                [node.pos[0], node.pos[1] + node.widgets[0].last_y + 10]), node.size[0]]; }"""
        )
        page.mouse.click(left + width / 2, top)
    page.get_by_text(WIDE, exact=True).last.click()
    expect(card).to_contain_text("Wide streets")


def test_names_from_a_file_are_shown_as_text(page, load):
    load(TALL)
    card = page.locator(CARD)
    expect(card.locator("li").filter(has_text="<b>wall</b>")).to_have_count(1)
    assert card.locator("b, li img").count() == 0
    assert not page.evaluate("window.harmed")


def test_a_loaded_workflow_shows_its_priors_and_an_error_in_words_where_there_is_none(
    page, load, screenshot
):
    load(WIDE, TALL, DAMAGED, "card_gone.safetensors")
    cards = page.locator(CARD)
    expect(cards.nth(0)).to_contain_text("Wide streets")
    expect(cards.nth(1)).to_contain_text(TALL)  # it has no name of its own
    expect(cards.nth(2)).to_contain_text(f"{DAMAGED} is not a complete safetensors file")
    expect(cards.nth(3)).to_contain_text("there is no prior 'card_gone.safetensors'")
    for index in (2, 3):
        assert cards.nth(index).locator("img").count() == 0
    screenshot("dark")
    page.evaluate("app.extensionManager.setting.set('Comfy.ColorPalette', 'light')")
    page.wait_for_timeout(300)
    screenshot("light")
    page.evaluate("app.extensionManager.setting.set('Comfy.ColorPalette', 'dark')")


def test_refreshing_the_list_asks_again(page, load, priors):
    name = "card_refreshed.safetensors"
    (priors / name).unlink(missing_ok=True)
    load(name)
    card = page.locator(CARD)
    expect(card).to_contain_text("there is no prior")
    for dataset in ("built at last", "built anew"):
        write_prior(priors / name, dataset_name=dataset)
        page.evaluate("app.extensionManager.command.execute('Comfy.RefreshNodeDefinitions')")
        expect(card).to_contain_text(dataset)
    assert name in page.evaluate("app.graph.nodes[0].widgets[0].options.values")


def test_the_nodes_values_and_its_prompt_are_those_without_the_card(page, load):
    load(WIDE)
    assert page.evaluate("app.graph.serialize().nodes[0].widgets_values") == [WIDE]
    prompt = page.evaluate("app.graphToPrompt().then(made => made.output)")
    assert prompt["1"]["inputs"] == {"prior_name": WIDE}


@pytest.mark.parametrize("width", [300, 190])
def test_a_narrow_node_that_was_saved_without_the_card_makes_room_for_it(
    page, load, assert_inside_their_nodes, screenshot, width
):
    load(DEMO, WIDE, TALL, size=(width, 58))
    assert_inside_their_nodes()
    screenshot("grown")


def test_a_name_that_comes_from_another_node_is_not_guessed(page, load):
    load(DEMO)
    page.evaluate(
        """() => {
        const chooser = LiteGraph.createNode('PrimitiveNode');
        app.graph.add(chooser);
        chooser.connect(0, app.graph.nodes[0], 0); }"""
    )
    card = page.locator(CARD)
    expect(card).to_contain_text("comes from another node")
    page.evaluate("app.graph.nodes[0].disconnectInput(0)")
    expect(card).to_contain_text(f"{IMAGES} images")


@pytest.mark.own_frontend
def test_it_is_there_in_nodes_of_html_of_the_hosts_own(page, load, screenshot):
    page.evaluate("app.extensionManager.setting.set('Comfy.VueNodes.Enabled', true)")
    try:
        load(WIDE, DEMO)
        cards = page.locator("[data-node-id] .scp-prior-card")
        expect(cards.nth(0)).to_contain_text("150 classes")
        for index in range(2):
            # 150 classes are scrolled, they do not stretch the node.
            assert 150 < cards.nth(index).bounding_box()["height"] < 450
        screenshot("shown")
    finally:
        page.evaluate("app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)")


def test_it_speaks_the_languages_of_the_nodes_and_changes_with_the_host(
    page, load, assert_inside_their_nodes, screenshot
):
    load(DEMO)
    card = page.locator(CARD)
    texts = page.evaluate(
        "import('/extensions/ComfyUI-SCP-Diff/js/prior_card_texts.js').then(made => made.TEXTS)"
    )
    assert set(texts) == {folder.name for folder in LOCALES.iterdir()}
    for words in texts.values():
        assert {key: gaps(x) for key, x in words.items()} == {
            key: gaps(x) for key, x in texts["en"].items()
        }
    try:
        # For one that the pack does not speak, English.
        for locale in (*texts, "fr"):
            page.evaluate(f"app.extensionManager.setting.set('Comfy.Locale', '{locale}')")
            words = texts.get(locale, texts["en"])
            expect(card).to_contain_text(words["images"].replace("{count}", str(IMAGES)))
            expect(card.locator("figcaption")).to_have_text([words["mostFrequent"], words["mean"]])
            assert_inside_their_nodes()
            screenshot(locale)
    finally:
        page.evaluate("app.extensionManager.setting.set('Comfy.Locale', 'en')")


def gaps(words: str) -> list[str]:
    """What a text leaves open, sorted: languages put it in orders of their own."""
    return sorted(re.findall(r"\{\w+\}", words))
