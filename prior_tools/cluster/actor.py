"""What Ray places on a machine: a process that keeps one ComfyUI and makes jobs on it."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import listing, reason
from ..generating.comfy_client import ServerGone, ServerRefused
from ..generating.plan_check import missing
from .own_server import OwnServer, ServerFailed
from .session import Made, NotMade, Parcel, Plan, Session

_MOST_MISSING = 20
# What tells that a machine has no server to work with.
_UNFIT = (ServerFailed, ServerGone, ServerRefused, OSError)


@dataclass(frozen=True)
class Setup:
    """How servers are started.

    comfyui: ComfyUI's folder on every machine; python, arguments, threads: see `OwnServer`.
    depth, patience: see `Driver`; the latter also for a server to start.
    """

    comfyui: str
    python: str | None
    arguments: tuple[str, ...]
    threads: int
    depth: int
    patience: float


@dataclass(frozen=True)
class Ready:
    """A server that is up and has all that the plan needs.

    node: the machine, in words. properties: see `OwnServer.properties`.
    """

    node: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class Unfit:
    """A machine on which the plan cannot be made, and why."""

    node: str
    text: str


class ServerActor:
    """Keeps a ComfyUI; its methods may be called at once from several threads.

    It does not start it by itself: what is wrong with a machine is for an answer, while an error
    of its constructor would be for Ray.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lock = threading.Lock()
        self._server: OwnServer | None = None
        self._session: Session | None = None

    def ready(self, plan: Plan | None) -> Ready | Unfit:
        """Start the server if it is not up, and look for what the plan needs.

        plan: None asks for the server alone.
        """
        with self._lock:
            try:
                server = self._up()
                client = server.client
                if plan is not None:
                    lacking = missing(plan.workflow, client.object_info(), server.has_input)
                    if lacking:
                        return Unfit(_node(), listing(lacking, _MOST_MISSING))
                    if self._session is None or self._session.plan != plan:
                        self._end_session()
                        self._session = Session(
                            client, server.ended, plan, self._setup.depth, self._setup.patience
                        )
                return Ready(_node(), server.properties())
            except _UNFIT as error:
                return self._given_up(error)

    def object_info(self) -> dict[str, Any] | Unfit:
        """The nodes that the server knows, by class."""
        with self._lock:
            try:
                return self._up().client.object_info()
            except _UNFIT as error:
                return self._given_up(error)

    def make(self, parcel: Parcel) -> Made | NotMade:
        """The images of a job; after `ready` with its plan."""
        session = self._session
        if session is None:
            return NotMade("its server is not up", ends_run=False)
        return session.make(parcel)

    def end(self) -> None:
        """End the server."""
        with self._lock:
            self._down()

    def _up(self) -> OwnServer:
        """The server; started anew if it has ended, or the session has lost it."""
        lost = self._session is not None and self._session.over
        if self._server is not None and (lost or self._server.ended() is not None):
            self._down()
        if self._server is None:
            setup = self._setup
            self._server = OwnServer(
                Path(setup.comfyui), setup.python, setup.arguments, setup.threads
            )
            self._server.start(setup.patience)
        return self._server

    def _given_up(self, error: Exception) -> Unfit:
        """End a server that is of no use."""
        self._down()
        return Unfit(_node(), reason(error))

    def _down(self) -> None:
        self._end_session()
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()


def _node() -> str:
    """The machine, in words that tell two of them apart."""
    import ray

    name = ray.util.get_node_ip_address()
    node_id = ray.get_runtime_context().get_node_id()
    return f"{socket.gethostname()} ({name}, {node_id[:8]})"
