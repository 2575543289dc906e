"""The jobs that are left, shared by the threads that drive the servers."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable

from .jobs import Job

# A prompt that took the server down so often would do so for ever.
MOST_LOSSES = 5


class GenerationStopped(Exception):
    """The run cannot go on; the text says why. What is finished stays."""


class Work:
    """Each job is with one thread at most, so that it is done once.

    jobs: in the order in which they are to be made.
    drivers: number of threads that will work.
    """

    def __init__(self, jobs: Iterable[Job], drivers: int) -> None:
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self._lock = threading.Lock()
        self._waiting = OrderedDict((job.name, job) for job in jobs)
        self._held: set[str] = set()
        self._losses: Counter[str] = Counter()
        self._drivers = drivers

    @property
    def finished(self) -> bool:
        """Whether nothing waits and nothing is held."""
        with self._lock:
            return not self._waiting and not self._held

    def take(self) -> Job | None:
        """The next job that waits, now held by the caller."""
        with self._lock:
            if not self._waiting:
                return None
            name, job = self._waiting.popitem(last=False)
            self._held.add(name)
            return job

    def claim(self, name: str) -> Job | None:
        """The job of this name if it waits, now held by the caller: it was not lost after all."""
        with self._lock:
            job = self._waiting.pop(name, None)
            if job is not None:
                self._held.add(name)
                del self._losses[name]
            return job

    def give_back(self, job: Job, lost: bool = False) -> None:
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

    def done(self, job: Job) -> None:
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
