"""What the pack's own scripts in the browser ask the server for."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from aiohttp import web
from server import PromptServer

from ..prior_tools import PriorError, load_prior
from ..prior_tools.picture import prior_card
from .host_folders import listed_prior_path

CARD_ROUTE = "/scp_diff/prior_card"

# Priors take up to a second and a hundred megabytes to read: away from the server's loop, and one
# at a time.
_reader = ThreadPoolExecutor(1, "scp-prior-card")


def register_routes() -> None:
    """Add the pack's routes to ComfyUI's server, if there is one."""
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    # With two copies of the pack the same route twice would keep the server from starting.
    if any(getattr(route, "path", None) == CARD_ROUTE for route in server.routes):
        return

    @server.routes.get(CARD_ROUTE)
    async def card(request: web.Request) -> web.Response:
        """`?name=`, as Load SCP Prior lists it: see `prior_card`, or {"error": text}."""
        name = request.query.get("name", "")
        text = await asyncio.get_running_loop().run_in_executor(_reader, card_of, name)
        headers = {"Cache-Control": "no-store"}
        return web.Response(text=text, content_type="application/json", headers=headers)


def card_of(name: str) -> str:
    """The card of a prior in the list, as JSON; {"error": text} where there is none."""
    try:
        path = listed_prior_path(name)
        state = path.stat()
        return _read_card(path, state.st_mtime_ns, state.st_size)
    except PriorError as error:
        return _error(str(error))
    except OSError as error:
        # Not the whole message: it would tell the page where folders lie.
        return _error(f"{name} cannot be read ({error.strerror})")


@lru_cache(16)
def _read_card(path: Path, _mtime_ns: int, _size: int) -> str:
    """Read once for each state of the file, a damaged one as well."""
    try:
        return json.dumps(prior_card(load_prior(path)))
    except PriorError as error:
        return _error(str(error))


def _error(text: str) -> str:
    return json.dumps({"error": text})
