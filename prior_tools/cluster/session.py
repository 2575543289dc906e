"""A plan at work on a server of our own: jobs in, images out, on the machine of the server."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from ..generating.comfy_client import ComfyClient
from ..generating.driver import Driver
from ..generating.node_warnings import NodeWarning
from ..generating.prepared_workflow import PreparedWorkflow
from ..generating.work import GenerationStopped, ServerLeft, Work

# Seconds between two looks at whether the server still runs.
_LOOK_EVERY = 0.2


@dataclass(frozen=True)
class Plan:
    """What jobs of a run have in common.

    Attributes:
        workflow, run_id: of the run.
        number: of the run among those of a command, which share servers.
    """

    workflow: PreparedWorkflow
    run_id: str
    number: int


@dataclass(frozen=True)
class Parcel:
    """A job on its way to a server: all that is needed of it there.

    data: the file with the label maps.
    """

    name: str
    seed: int
    images: int
    upload_name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Made:
    """Images of a job: PNG data, one for each label map."""

    images: list[bytes] = field(repr=False)
    warnings: list[NodeWarning]


@dataclass(frozen=True)
class NotMade:
    """Why there are no images of a job.

    ends_run: whether it would be so on any server; else the job is for another one.
    """

    text: str
    ends_run: bool


class Session:
    """Makes jobs on one server until it ends.

    Args:
        client: of the server.
        ended: says why, when the server has ended.
        depth, patience: see `Driver`.
    """

    def __init__(
        self,
        client: ComfyClient,
        ended: Callable[[], str | None],
        plan: Plan,
        depth: int,
        patience: float,
    ) -> None:
        self.plan = plan
        self._ended = ended
        self._lock = threading.Lock()
        self._made: dict[str, Future[Made | NotMade]] = {}
        self._over: NotMade | None = None
        self._sent: Counter[str] = Counter()
        self._work: Work[Parcel] = Work((), 1, more=True)
        self._driver = Driver(
            client,
            self._work,
            plan.workflow,
            lambda parcel: parcel.data,
            self._save,
            plan.run_id,
            depth,
            patience,
            lambda _text: None,
            self._fresh,
        )
        threading.Thread(target=self._drive, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def over(self) -> bool:
        """Whether it makes nothing any more."""
        return self._work.stopping.is_set()

    def make(self, parcel: Parcel) -> Made | NotMade:
        """The images of a job; waits for them. Threads may call it at once."""
        with self._lock:
            if self._over is not None:
                return self._over
            if parcel.name not in self._made:
                self._made[parcel.name] = Future()
                self._work.add(parcel)
            future = self._made[parcel.name]
        return future.result()

    def end(self) -> None:
        """Make nothing more."""
        self._work.stop(ServerLeft("it was told to end"))

    def _save(self, parcel: Parcel, images: list[bytes], warnings: list[NodeWarning]) -> None:
        with self._lock:
            future = self._made.pop(parcel.name)
        future.set_result(Made(images, warnings))

    def _fresh(self, parcel: Parcel) -> str:
        """Alike for a job on whatever server, for it enters the image's metadata."""
        self._sent[parcel.name] += 1
        again = self._sent[parcel.name] - 1
        return f"{self.plan.number} {parcel.name}{f' {again}' if again else ''}"

    def _drive(self) -> None:
        self._driver.run()
        failure = self._work.failure
        # A server that is about to end may answer strangely; then that is the reason.
        ended = self._ended()
        lost = ended is not None or isinstance(failure, ServerLeft)
        text = str(failure)
        if not isinstance(failure, GenerationStopped):
            text = f"{type(failure).__name__}: {text}"
        over = NotMade(ended or text, ends_run=not lost)
        with self._lock:
            self._over = over
            waiting, self._made = self._made, {}
        for future in waiting.values():
            future.set_result(over)

    def _watch(self) -> None:
        while not self._work.stopping.wait(_LOOK_EVERY):
            if text := self._ended():
                self._work.stop(ServerLeft(text))
