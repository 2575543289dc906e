"""A run: servers at work on the images that are missing, until none is or something ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

from ..errors import PriorError, reason
from .comfy_client import AccessDenied, ComfyClient, ServerGone, ServerRefused
from .driver import Driver
from .jobs import Job
from .manifest import Manifest
from .node_warnings import NodeWarning
from .prepared_workflow import PreparedWorkflow
from .uploads import Uploads
from .work import Work

# Seconds for the servers' queues to be emptied after Ctrl-C.
_END_PATIENCE = 15.0


def reach(clients: Sequence[ComfyClient]) -> dict[str, Any]:
    """The nodes that the first server knows, by class.

    Raises PriorError if one of the servers is not there, or is no ComfyUI.
    """
    object_info, *_ = [_object_info(client) for client in clients]
    return object_info


def make_images(
    jobs: Iterable[Job],
    clients: Sequence[ComfyClient],
    workflow: PreparedWorkflow,
    manifest: Manifest,
    run_id: str,
    depth: int,
    patience: float,
    progress: Callable[[int], object],
    tell: Callable[[str], None],
) -> BaseException | None:
    """Make the images of jobs that the manifest lacks, a thread for each server.

    Args:
        run_id, depth, patience, tell: see `Driver`.
        progress: is told how many images are new; called by one thread at a time.

    Returns what ended the run before all were made, or None: GenerationStopped, KeyboardInterrupt
    after Ctrl-C, or another error of a thread.
    """
    left = [job for job in jobs if not manifest.done.issuperset(job.files)]
    work = Work(left, len(clients))
    lock = threading.Lock()

    def save(job: Job, images: list[bytes], warnings: list[NodeWarning]) -> None:
        with lock:
            progress(manifest.add(job, images, warnings))

    uploads = Uploads()
    drivers = [
        Driver(client, work, workflow, uploads, save, run_id, depth, patience, tell)
        for client in clients
    ]
    _drive(drivers, work)
    return work.failure


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


def _drive(drivers: Sequence[Driver], work: Work) -> None:
    """Run each in a thread until all have ended, or a while after the run was stopped."""
    ended = [threading.Event() for _ in drivers]

    def drive(driver: Driver, event: threading.Event) -> None:
        try:
            driver.run()
        finally:
            event.set()

    try:
        for driver, event in zip(drivers, ended, strict=True):
            threading.Thread(target=drive, args=(driver, event), daemon=True).start()
        for event in ended:
            # With a timeout, or Ctrl-C would not come through on Windows. Not Thread.join: one
            # that Ctrl-C breaks off takes its thread for ended (CPython 3.10 to 3.12).
            while not event.wait(0.1):
                pass
    except KeyboardInterrupt as error:
        work.stop(error)
        deadline = time.monotonic() + _END_PATIENCE
        for event in ended:
            event.wait(max(0.0, deadline - time.monotonic()))
