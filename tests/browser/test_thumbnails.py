"""Every template has a picture in the template browser."""

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "example_workflows"

PICTURE = """async image => {
    await image.decode();
    const data = await (await fetch(image.src)).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    return [image.naturalWidth, [...digest].map(x => x.toString(16).padStart(2, '0')).join('')];
}"""


def test_every_template_is_listed_with_its_thumbnail(page, show_templates, screenshot):
    names = show_templates()
    assert sorted(names) == sorted(path.stem for path in FOLDER.glob("*.json"))
    for name in names:
        card = page.get_by_test_id(f"template-workflow-{name}")
        # The template browser loads the pictures of cards that are in sight.
        card.scroll_into_view_if_needed()
        image = card.locator("img")
        expect(image).to_have_count(1)
        width, digest = image.evaluate(PICTURE)
        assert width > 0, name
        # Where there is no picture the host shows one of its own.
        file = FOLDER / f"{name}.jpg"
        assert file.exists(), file.name
        assert digest == hashlib.sha256(file.read_bytes()).hexdigest(), name
    screenshot("shown")
