"""Files for servers, shared by the threads that drive them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future

from .label_maps import LabelMap, upload_data, upload_name

_MOST_BYTES = 64 << 20


class Uploads:
    """Makes each file once for all servers, as long as it is among the last that were asked for.

    most_bytes: of files that are kept.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Future[bytes]] = OrderedDict()

    def data(self, label_maps: Sequence[LabelMap]) -> bytes:
        """The file of these label maps; see `upload_data`. Other files are made at the same time.

        Raises what reading them raises.
        """
        name = upload_name(label_maps)
        with self._lock:
            file = self._kept.get(name)
            mine = file is None
            if file is None:
                file = self._kept[name] = Future()
            self._kept.move_to_end(name)
        if mine:
            try:
                file.set_result(upload_data(label_maps))
            except BaseException as error:
                file.set_exception(error)
            self._forget()
        return file.result()

    def _forget(self) -> None:
        """Drop what failed, and the oldest that are too much; what is being made stays."""
        with self._lock:
            made = [(name, file) for name, file in self._kept.items() if file.done()]
            sizes = {n: len(f.result()) for n, f in made if f.exception() is None}
            total = sum(sizes.values())
            for name, _ in made:
                if name not in sizes or total > self._most_bytes:
                    total -= sizes.get(name, 0)
                    del self._kept[name]
