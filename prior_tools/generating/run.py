"""A run: a crew at work on the images that are missing, until none is or something ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from .crew import Crew, Orders
from .jobs import Job
from .manifest import Manifest
from .node_warnings import NodeWarning
from .prepared_workflow import PreparedWorkflow
from .work import Work

# Seconds for the servers' queues to be emptied after Ctrl-C.
_END_PATIENCE = 15.0


def make_images(
    jobs: Iterable[Job],
    crew: Crew,
    workflow: PreparedWorkflow,
    manifest: Manifest,
    run_id: str,
    progress: Callable[[int], object],
    tell: Callable[[str], None],
    show: Callable[[str], None],
) -> BaseException | None:
    """Make the images of jobs that the manifest lacks, a thread for each worker of the crew.

    Args:
        run_id, tell, show: see `Orders`.
        progress: is told how many images are new; called by one thread at a time.

    Returns what ended the run before all were made, or None: GenerationStopped, KeyboardInterrupt
    after Ctrl-C, or another error of a thread.
    """
    left = [job for job in jobs if not manifest.done.issuperset(job.files)]
    work = Work(left, crew.size)
    lock = threading.Lock()

    def save(job: Job, images: list[bytes], warnings: list[NodeWarning]) -> None:
        with lock:
            progress(manifest.add(job, images, warnings))

    _drive(crew.workers(Orders(work, workflow, save, run_id, tell, show)), work)
    return work.failure


def _drive(workers: Sequence[Callable[[], None]], work: Work[Job]) -> None:
    """Run each in a thread until all have ended, or a while after the run was stopped."""
    ended = [threading.Event() for _ in workers]

    def drive(worker: Callable[[], None], event: threading.Event) -> None:
        try:
            worker()
        finally:
            event.set()

    try:
        for worker, event in zip(workers, ended, strict=True):
            threading.Thread(target=drive, args=(worker, event), daemon=True).start()
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
