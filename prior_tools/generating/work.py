"""The jobs that are left, shared by the threads that drive the servers."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

# A prompt that took the server down so often would do so for ever.
MOST_LOSSES = 5


class GenerationStopped(Exception):
    """The run cannot go on; the text says why. What is finished stays."""


class ServerLeft(GenerationStopped):
    """The last server was away for too long."""


class Named(Protocol):
    """A job, as far as it matters for sharing it out."""

    @property
    def name(self) -> str:
        """Unique among the jobs."""


J = TypeVar("J", bound=Named)


class Work(Generic[J]):
    """Each job is with one thread at most, so that it is done once.

    jobs: in the order in which they are to be made.
    drivers: number of threads that will work.
    more: whether others are added later, so that they are never finished.
    """

    def __init__(self, jobs: Iterable[J], drivers: int, more: bool = False) -> None:
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self._lock = threading.Lock()
        self._waiting = OrderedDict((job.name, job) for job in jobs)
        self._held: set[str] = set()
        self._losses: Counter[str] = Counter()
        self._drivers = drivers
        self._more = more

    @property
    def left(self) -> int:
        """How many wait or are held."""
        with self._lock:
            return len(self._waiting) + len(self._held)

    @property
    def finished(self) -> bool:
        """Whether nothing waits and nothing is held."""
        return not self._more and not self.left

    def add(self, job: J) -> None:
        """Another job, to be made after those that wait."""
        with self._lock:
            self._waiting[job.name] = job

    def take(self) -> J | None:
        """The next job that waits, now held by the caller."""
        with self._lock:
            if not self._waiting:
                return None
            name, job = self._waiting.popitem(last=False)
            self._held.add(name)
            return job

    def claim(self, name: str) -> J | None:
        """The job of this name if it waits, now held by the caller: it was not lost after all."""
        with self._lock:
            job = self._waiting.pop(name, None)
            if job is not None:
                self._held.add(name)
                del self._losses[name]
            return job

    def give_back(self, job: J, lost: bool = False) -> None:
        """Put a held job in front of all others; `lost` if a server had it queued.

        Raises GenerationStopped if it was lost too often.
        """
        with self._lock:
            self._held.discard(job.name)
            self._waiting[job.name] = job
            self._waiting.move_to_end(job.name, last=False)
            self._losses[job.name] += lost
            if self._losses[job.name] >= MOST_LOSSES:
                raise GenerationStopped(
                    f"{job.name} was lost {MOST_LOSSES} times: the server went away while it was "
                    "queued, or did not have its image any more"
                )

    def done(self, job: J) -> None:
        """A held job is made."""
        with self._lock:
            self._held.discard(job.name)

    def stop(self, failure: BaseException) -> None:
        """Tell all threads to end; the first reason counts."""
        with self._lock:
            self.failure = self.failure or failure
        self.stopping.set()

    def leave(self) -> bool:
        """A thread gives up its server; returns whether others are left."""
        with self._lock:
            self._drivers -= 1
            return self._drivers > 0
