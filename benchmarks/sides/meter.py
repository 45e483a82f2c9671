"""What a result costs the driver of a sweep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import psutil
from ray import tune

from benchmarks.sides.sweep_work import Epoch, Outcome


class Meter(tune.Callback):  # type: ignore[misc]
    """The driver's CPU time and memory at the first result, and at the last one or at
    the last hundred."""

    def __init__(
        self, cpu_seconds: Callable[[], float] = time.process_time, every: int = 1
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self._every = every
        self._results = 0
        self._begin = (0, 0.0, 0)
        self._end = (0, 0.0, 0)

    def on_trial_result(self, **_: Any) -> None:
        self._results += 1
        if self._results == 1 or self._results % self._every == 0:
            self._end = (
                self._results,
                self._cpu_seconds(),
                psutil.Process().memory_info().rss,
            )
            self._begin = self._end if self._results == 1 else self._begin

    def outcome(self, epochs: Iterable[Epoch] = ()) -> Outcome:
        count, cpu_s, size = (
            end - begin for begin, end in zip(self._begin, self._end, strict=True)
        )
        return Outcome([*epochs], 1000 * cpu_s / count, size / count)
