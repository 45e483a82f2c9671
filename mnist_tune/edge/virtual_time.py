"""The order in which trials would end if an epoch of any trial took the same time everywhere.

A search that proposes trials from what has ended depends on which trial ends first, so on how busy the machine is. In
this time it does not: the same search proposes the same trials on any day, and after a kill and a resume. Trials
overtake each other as they really do, by the epochs that they run, so that nobody waits for the slowest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class _Running:
    start: float
    epochs: int = 0
    ended: bool = False

    @property
    def ends(self) -> float:
        """When it ends, or the earliest time at which it may."""
        return self.start + self.epochs + (0 if self.ended else 1)


class VirtualTime:
    """The trials that run in virtual time, at most `workers` at a time, and the time."""

    def __init__(self, workers: int) -> None:
        self.now = 0.0
        self._workers = workers
        self._running: dict[int, _Running] = {}

    @property
    def full(self) -> bool:
        """Whether all workers are busy."""
        return len(self._running) >= self._workers

    @property
    def idle(self) -> bool:
        """Whether no trial runs."""
        return not self._running

    def start(self, number: int) -> None:
        """Start a trial now."""
        self._running[number] = _Running(self.now)

    def report(self, number: int, epochs: int, ended: bool = False) -> None:
        """Take up that a trial has trained so many epochs, and whether it has ended."""
        one = self._running.get(number)
        if one is not None and not one.ended:
            one.epochs, one.ended = max(epochs, one.epochs), ended

    def advance(self) -> list[int] | None:
        """Go on to the time at which the next trial ends; return the numbers of all that end then. Return None if that
        is not known yet: a trial that is still training might end before, or at the same time."""
        next_end = min((one.ends for one in self._running.values() if one.ended), default=math.inf)
        if any(one.ends <= next_end for one in self._running.values() if not one.ended):
            return None
        over = sorted(number for number, one in self._running.items() if one.ended and one.ends == next_end)
        for number in over:
            del self._running[number]
        self.now = next_end
        return over
