"""Running servers that the command line names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from http import HTTPStatus
from typing import Any

from ..errors import PriorError, reason
from .comfy_client import AccessDenied, ComfyClient, ServerGone, ServerRefused
from .crew import Orders
from .driver import Driver
from .jobs import Job
from .uploads import Uploads


class NamedServers:
    """A driver for each of them; see `Crew`.

    depth, patience: see `Driver`.
    """

    def __init__(self, clients: Sequence[ComfyClient], depth: int, patience: float) -> None:
        self._clients, self._depth, self._patience = clients, depth, patience

    def open(self, jobs: int) -> AbstractContextManager[None]:
        """They run already."""
        return nullcontext()

    @property
    def size(self) -> int:
        """Number of servers."""
        return len(self._clients)

    def object_info(self) -> dict[str, Any]:
        """The nodes that the first server knows, by class.

        Raises PriorError if one of the servers is not there, or is no ComfyUI.
        """
        object_info, *_ = [_object_info(client) for client in self._clients]
        return object_info

    def versions(self) -> dict[str, str]:
        """Those of the first server; none if it does not tell."""
        with suppress(ServerGone, ServerRefused):
            return self._clients[0].versions()
        return {}

    def workers(self, orders: Orders) -> list[Callable[[], None]]:
        """A driver's `run` for each server."""
        uploads = Uploads()

        def upload(job: Job) -> bytes:
            return uploads.data(job.label_maps)

        return [
            Driver(
                client,
                orders.work,
                orders.workflow,
                upload,
                orders.save,
                orders.run_id,
                self._depth,
                self._patience,
                orders.tell,
            ).run
            for client in self._clients
        ]

    def record(self) -> list[dict[str, Any]]:
        """Nothing: servers of others tell little of themselves."""
        return []


def _object_info(client: ComfyClient) -> dict[str, Any]:
    """Whoever names a server that is not there learns so at once."""
    try:
        info = client.object_info()
        client.queued()
    except ServerGone as error:
        raise PriorError(f"no server answers: {error}; start it or mend --server") from error
    except AccessDenied as error:
        raise PriorError(str(error)) from error
    except ServerRefused as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise PriorError(
                f"{client.url}: HTTP 404: no ComfyUI is at this path; mend --server"
            ) from error
        raise PriorError(
            f"{client.url} does not answer as ComfyUI does: {reason(error)}"
        ) from error
    return info
