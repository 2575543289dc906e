"""Who makes the images of a run: servers that were named, or those of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from .jobs import Job
from .node_warnings import NodeWarning
from .prepared_workflow import PreparedWorkflow
from .work import Work


@dataclass(frozen=True)
class Orders:
    """What a crew is to do.

    Attributes:
        work: the jobs that are left.
        workflow: makes prompts of them.
        save: takes a job's images (PNG data, one for each label map) and what nodes warned of,
            from several threads.
        run_id: by which prompts of this run are known again on a server.
        tell: prints a line.
        show: shows how the servers fare, beside the progress.
    """

    work: Work[Job]
    workflow: PreparedWorkflow
    save: Callable[[Job, list[bytes], list[NodeWarning]], None]
    run_id: str
    tell: Callable[[str], None]
    show: Callable[[str], None]


class Crew(Protocol):
    """Makes images; a run knows no more of its servers.

    What comes after `open` is for while it lasts.
    """

    def open(self, jobs: int) -> AbstractContextManager[None]:
        """Have servers, for so many jobs at most, while the context is open."""

    @property
    def size(self) -> int:
        """Number of its workers."""

    def object_info(self) -> dict[str, Any]:
        """The nodes that the first server knows, by class.

        Raises PriorError if a server that is needed is not there, or is no ComfyUI.
        """

    def versions(self) -> dict[str, str]:
        """Of ComfyUI and of what it runs on, by name; none where nobody answers."""

    def workers(self, orders: Orders) -> Sequence[Callable[[], None]]:
        """What is to run, each in a thread of its own, until all jobs are done or the run stops.

        None of them raises: an error stops the run by `Work.stop`.
        """

    def record(self) -> list[dict[str, Any]]:
        """What images may depend on beside the run itself, an entry a kind of server."""
