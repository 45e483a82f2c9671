"""Saving the states of trials in the background, while the next epoch trains."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from mnist_tune import storage
from mnist_tune.epoch_row import EpochRow
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

if TYPE_CHECKING:
    from mnist_tune.execution.pool import LanePool

THREADS = 16
"""States that a process writes at the same time, at most. Object storage takes many at
once."""


class Saver:
    """Writes states in threads, at most one of a trial at a time. It keeps what became
    of each trial's last save."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "save")
        self._last: dict[str, tuple[EpochRow | None, Future[None]]] = {}

    def begin(
        self, lane_id: str, pool: LanePool, where: Place, is_due: bool = True
    ) -> None:
        """Start to write a trial's state if that is due, unless it is the one written
        last, and the parameters of its best epoch if it has just ended; once its last
        save has ended. Raise what that raised."""
        lane = pool.lanes[lane_id]
        if not (is_due or lane.memory.is_best):
            return
        self.last(lane_id).result()
        if lane_id in self._last and self._last[lane_id][0] is lane.row:
            return
        state = pool.checkpoint(lane_id)
        save = self._threads.submit(_write, state, where, is_due)
        row = None
        if is_due:
            row = lane.row
        self._last[lane_id] = (row, save)

    def last(self, lane_id: str) -> Future[None]:
        """Return the trial's last save; its result is None, or why it failed."""
        if lane_id in self._last:
            return self._last[lane_id][1]
        nothing: Future[None] = Future()
        nothing.set_result(None)
        return nothing

    def forget(self, lane_id: str) -> None:
        """Forget a trial's last save, which must have ended."""
        self._last.pop(lane_id, None)


def _write(state: Checkpoint, where: Place, is_due: bool) -> None:
    # The best comes first: a trial that goes on from this state does not train that
    # epoch again.
    if state.memory and state.memory.is_best:
        state.without_optimizer().save(storage.best_of(where))
    if is_due:
        state.save(where)


class OwnLane:
    """Trains a trial, one epoch at a time, in a pool of one lane in its own process.
    `LaneClient` uses a server. A state is written in the background while the next
    epoch trains."""

    token = ""
    """Proves to a server that this process holds its lane; empty if it holds none, or
    needs none."""
    repeats = True
    """Whether what is trained again, after a kill, has the same numbers."""

    def __init__(self, pool: LanePool, save_every: int = 1) -> None:
        self._pool, self._save_every, self._saver = pool, save_every, Saver()

    def attach(
        self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None
    ) -> None:
        """Take a lane for a trial, in its initial state or in a saved one. Raises a
        `UserError` if the saved state does not fit, or the device is too small for a
        single lane."""
        self._pool.attach(lane_id, config, checkpoint)

    def epoch(self, lane_id: str, state: Place) -> EpochRow:
        """Train an epoch and return its row. If a save is due, or the epoch is the best
        so far, begin it, once the last one has ended. Raises a `UserError` if the last
        save failed."""
        row = self._pool.run([lane_id])[lane_id]
        is_due = row.epoch % self._save_every == 0
        self._saver.begin(lane_id, self._pool, state, is_due)
        return row

    def save(self, lane_id: str, state: Place) -> None:
        """Wait until the state of the last epoch is at `state`. Raises a `UserError` if
        it can't be written."""
        self._saver.begin(lane_id, self._pool, state)
        self._saver.last(lane_id).result()

    def detach(self, lane_id: str) -> None:
        """Free the lane, if this process holds one, and wait until its last save has
        ended."""
        self._pool.detach(lane_id)
        with suppress(Exception):  # the trial goes on from an older state, or has ended
            self._saver.last(lane_id).result()
        self._saver.forget(lane_id)
