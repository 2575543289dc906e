"""Threads that work beside an encoder without slowing it down."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch


def helper_threads(count: int, name: str) -> ThreadPoolExecutor:
    """A pool of `count` threads in which each torch operation runs on one core.

    By default every thread that calls torch gets a team of OpenMP threads of its own. Teams of
    more threads than there are cores make the barriers of all of them slow, those of the encoder's
    thread too, even while they are idle: with four such readers on two cores, encoding took five
    times as long.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    before = torch.get_num_threads()
    # The setting is a thread's own, and the default of threads that are still to come: so all
    # threads are made now, and the default is put back.
    ready = Barrier(count + 1)

    def settle() -> None:
        torch.set_num_threads(1)
        ready.wait()

    for _ in range(count):
        pool.submit(settle)
    ready.wait()
    torch.set_num_threads(before)
    return pool
