"""A real browser on a test server, cut off from everything but this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import BrowserContext, Page, sync_playwright

from dev.server import ComfyServer

PATIENCE = 30_000  # milliseconds

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing leaves this machine, and nothing waits for an answer from outside.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)

_RUN = """() => new Promise((done, failed) => {
    app.api.addEventListener('execution_success', done, {once: true});
    app.api.addEventListener(
        'execution_error', event => failed(event.detail.exception_message), {once: true});
    app.queuePrompt(0, 1);
}).then(() => null)"""


@contextmanager
def open_browser(program: str, **options: Any) -> Iterator[BrowserContext]:
    """The system's Chromium; its tabs share a cache and remember nothing.

    program: its path. options: of the context, such as `device_scale_factor`.
    """
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        context = running.new_context(**{"viewport": {"width": 1920, "height": 1080}, **options})
        context.set_default_timeout(PATIENCE)
        # ComfyUI would open the last workflow again.
        context.add_init_script("localStorage.clear(); sessionStorage.clear();")
        yield context
        running.close()


def open_comfyui(
    browser: BrowserContext, server: ComfyServer, settings: dict[str, Any] | None = None
) -> Page:
    """ComfyUI in a tab of its own, ready to be used.

    settings: of ComfyUI, by their ids; they stay on the server.
    """
    address = f"{server.url}/api/settings"
    newcomer = not browser.request.get(address).json().get("Comfy.TutorialCompleted")
    if settings:
        answer = browser.request.post(address, data=settings)
        if not answer.ok:
            raise RuntimeError(f"the settings were not taken: {answer.status} {answer.text()}")
    tab = browser.new_page()
    tab.goto(server.url)
    tab.wait_for_function(
        "window.LiteGraph?.registered_node_types['SCP_BuildPrior'] && window.app?.graph"
    )
    tab.get_by_test_id("queue-button").wait_for()
    if newcomer:
        # They are shown ComfyUI's own templates first, over the graph.
        tab.get_by_role("dialog").wait_for()
        close_dialogs(tab)
    return tab


def run_workflow(tab: Page) -> None:
    """Run what is open in the tab, and return when it is done; fails with the node's message."""
    tab.evaluate(_RUN)


def close_dialogs(tab: Page) -> None:
    """Click beside each dialog that is open: not all of them close by the Escape key."""
    for dialog in reversed(tab.get_by_role("dialog").element_handles()):
        tab.mouse.click(20, 600)
        dialog.wait_for_element_state("hidden")
