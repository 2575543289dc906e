"""Work in other threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Barrier, Thread
from typing import Any, TypeVar

import torch

# Seconds between two looks at whether anyone still wants what is waited for.
_LOOK_EVERY = 0.2

S = TypeVar("S")
T = TypeVar("T")


class HelperThreads:
    """Threads in which each torch operation runs on one core; they never keep Python from ending.

    By default every thread that calls torch gets a team of OpenMP threads of its own. Teams of
    more threads than there are cores make the barriers of all of them slow, those of the encoder's
    thread too, even while they are idle: with four such readers on two cores, encoding took five
    times as long.
    """

    def __init__(self, count: int, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        before = torch.get_num_threads()
        # The setting is a thread's own, and the default of threads that are still to come: so all
        # threads are made now, and the default is put back.
        ready = Barrier(count + 1)
        self._threads = [
            Thread(target=self._run, args=(ready,), name=f"{name}_{i}", daemon=True)
            for i in range(count)
        ]
        for thread in self._threads:
            thread.start()
        ready.wait()
        torch.set_num_threads(before)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """What `function` will return or raise, in the order of submission."""
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)

        self._work.put(work)
        return future

    def end(self, seconds: float | None = None) -> None:
        """Drop what is not begun, and wait for what is, at most this long for each thread."""
        while True:
            try:
                self._work.get_nowait()
            except Empty:
                break
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(seconds)

    def _run(self, ready: Barrier) -> None:
        torch.set_num_threads(1)
        ready.wait()
        while work := self._work.get():
            work()
            # What was read is not kept until the next item.
            del work


class InOrder(Iterator[T]):
    """What `function` gives for each argument, in order, worked out by the threads.

    Args:
        ahead: how many are worked on before they are asked for.
        look: called several times a second while the next is waited for; what it raises ends the
            work.
    """

    def __init__(
        self,
        threads: HelperThreads,
        function: Callable[[S], T],
        arguments: Iterable[S],
        ahead: int,
        look: Callable[[], None],
    ) -> None:
        self._begun = (threads.submit(function, argument) for argument in arguments)
        self._ahead, self._look = ahead, look
        self._working: deque[Future[T]] = deque()

    def __next__(self) -> T:
        self._working.extend(islice(self._begun, self._ahead - len(self._working)))
        if not self._working:
            raise StopIteration
        result = self._working.popleft()
        while not wait([result], _LOOK_EVERY).done:
            self._look()
        if result.exception():
            # A signal may have ended a reader and told us to end as well: then that is the reason.
            self._look()
        return result.result()

    def ready(self, count: int) -> bool:
        """Whether the next `count` would come at once, and none of them as an error."""
        upcoming = list(islice(self._working, count))
        return len(upcoming) == count and all(f.done() and not f.exception() for f in upcoming)
