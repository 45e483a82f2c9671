"""Write the page of a sweep while it runs, and once it has ended.

A browser that shows the page follows the sweep. The page costs little: it is written at most every half minute, and
less often the longer writing takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.results.tables import tables
from mnist_tune.results.writer import SweepWriter
from mnist_tune.sweep import Sweep

PAGE = "report.html"

INTERVAL_S = 30.0
"""The least time between two pages of a running sweep."""

SHARE = 1 / 25
"""The largest share of one core's time that writing pages may take."""


class LivePage:
    """A thread that writes the page of a running sweep. A page that can't be written never ends a sweep.

    Args:
        writer: the writer of the sweep's folder.
        say: called with a line when the first page is written, and when one can't be.
    """

    def __init__(self, writer: SweepWriter, say: Callable[[str], None]) -> None:
        self._writer, self._say = writer, say
        self._place = storage.join(writer.where, PAGE)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._pages, self._cpu_s, self._failing = 0, 0.0, False

    def __enter__(self) -> LivePage:
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop writing: the sweep has ended, or is about to."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def cost(self) -> dict[str, float]:
        """Return how many pages were written while the sweep ran, and the CPU seconds that they took."""
        return {"pages": self._pages, "pages_cpu_s": self._cpu_s}

    def _run(self) -> None:
        wait = INTERVAL_S
        while not self._ended.wait(wait):
            begun = time.thread_time()
            written = self.write(lambda: Sweep.of(tables(self._writer.path, self._writer.meta, running=True)))
            spent = time.thread_time() - begun
            self._cpu_s += spent
            if written:
                self._pages += 1
                if self._pages == 1:
                    self._say(f"page: {self._place} (a browser that shows it follows the sweep)")
            wait = max(INTERVAL_S, spent / SHARE)

    def write(self, sweep: Callable[[], Sweep]) -> bool:
        """Write the page of a sweep; if that fails, say so once."""
        try:
            sweep().report(self._place)
        except Exception as error:  # of whatever kind: the rows are safe, and a page can be written again later
            if not self._failing:
                why = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                self._say(f"note: the page of this sweep was not written ({why})")
            self._failing = True
            return False
        self._failing = False
        return True
