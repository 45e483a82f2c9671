"""Continuous batching: the actor that trains many trials as lanes of one device.

A trial's process is a client (`lane_client`): it attaches, asks for epochs, and
detaches. One thread of the server does all computing and all changes of the stacked
state, because donated buffers must not be used by two threads.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from ray.exceptions import RayActorError

from mnist_tune.epoch_row import EpochRow
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.hanging import ANSWER_S, fulfil, returned_or_raised
from mnist_tune.execution.lane_client import LaneLostError
from mnist_tune.execution.process_setup import Shared, WorkerSettings, make_pool
from mnist_tune.execution.program_error import DeviceError, classifying
from mnist_tune.execution.saving import Saver
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

CLIENT_CHECK_S = 2.0
"""Seconds between checks that a client is alive and still holds its lane."""

WAIT_SHARE = 0.5
"""How long a batch waits for lanes that have not asked yet, as a share of the seconds
that the last batch took. With a shorter wait, the lanes split into small batches. With
a longer one, a slow client delays all others."""


@dataclass
class LaneTurn:
    """The lanes of one group, and those among them that wait for their next epoch."""

    asking: dict[str, Future[EpochRow]] = field(default_factory=dict)
    """The waiting lanes, and the futures of their rows."""
    attached: set[str] = field(default_factory=set)
    """All lanes of the group."""
    since: float = 0.0
    """When the first waiting lane asked."""
    last_s: float = 0.0
    """Seconds that the last batch took."""

    def ready(self, now: float) -> bool:
        """Return whether the batch should run: all lanes wait, or some have waited long
        enough."""
        return bool(self.asking) and now >= self.wakes

    @property
    def wakes(self) -> float:
        """When the batch runs if no other lane asks."""
        if self.attached <= self.asking.keys():
            return self.since
        return self.since + WAIT_SHARE * self.last_s


class LaneServer:
    """Serves the lanes of one device; use it through `ray.remote`, with
    `max_restarts=-1`.

    It tells the directory, an actor that assigns lanes, when one is free again.

    Every call names the lane (that is, the trial) and its client's token. Once a client
    has been replaced, its calls are refused, and its `detach` is ignored.
    """

    def __init__(self, settings: WorkerSettings, capacity: int, directory: Any) -> None:
        self._settings = settings
        self._capacity = capacity
        self._directory = directory
        self._pool: Any = None
        self._saver = Saver()
        self._tokens: dict[str, str] = {}
        self._trained = False
        # by the pool's groups
        self._turns: defaultdict[Any, LaneTurn] = defaultdict(LaneTurn)
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._watches: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._serve, daemon=True, name="lanes").start()

    async def attach(
        self,
        lane_id: str,
        token: str,
        config: TrialConfig,
        state: Checkpoint | None,
        shared: Shared,
        client: Any = None,
    ) -> None:
        """Give a client a lane. If the trial has a lane already, take it from its
        former client.

        Each client sends `shared`, because an argument of the constructor would have to
        stay alive for as long as Ray may restart the server. `client` is the actor that
        asks; its `lane_token` returns the token that it holds now. Raises as
        `LanePool.attach`.
        """
        await self._in_compute_thread(
            lambda: self._attach(lane_id, token, config, state, shared)
        )
        if client is not None:
            watch = asyncio.create_task(self._watch(lane_id, token, client))
            self._watches.add(watch)  # asyncio itself keeps no reference to a task
            watch.add_done_callback(self._watches.discard)

    async def epoch(self, lane_id: str, token: str, state: Place) -> EpochRow:
        """Train the lane for an epoch, together with others that ask."""
        promise: Future[EpochRow] = Future()
        await self._in_compute_thread(lambda: self._ask(lane_id, token, promise))
        row = await asyncio.wrap_future(promise)
        is_due = row.epoch % self._settings.save_every == 0
        if is_due or self._settings.best_by:
            await self._begin_to_save(lane_id, token, state, is_due)
        return row

    async def save(self, lane_id: str, token: str, state: Place) -> None:
        """Wait until the state of the lane's last epoch is at `state`."""
        await self._begin_to_save(lane_id, token, state)
        await self._saved(lane_id)

    async def detach(self, lane_id: str, token: str) -> None:
        """Free the lane, if it belongs to this client, once its last save has ended."""
        with suppress(Exception):  # the trial goes on from an older state, or has ended
            await self._saved(lane_id)
        await self._in_compute_thread(lambda: self._detach(lane_id, token))

    async def lanes(self) -> dict[str, str]:
        """Return the token of each lane that is taken. A server that is about to end
        does not answer."""
        tokens: dict[str, str] = await self._in_compute_thread(self._tokens.copy)
        return tokens

    async def _saved(self, lane_id: str) -> None:
        await asyncio.shield(asyncio.wrap_future(self._saver.last(lane_id)))

    async def _begin_to_save(
        self, lane_id: str, token: str, state: Place, is_due: bool = True
    ) -> None:
        await self._saved(lane_id)
        await self._in_compute_thread(
            lambda: self._read_and_save(lane_id, token, state, is_due)
        )

    async def _in_compute_thread(self, function: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()
        self._calls.put((function, future))
        return await asyncio.wrap_future(future)

    async def _watch(self, lane_id: str, token: str, client: Any) -> None:
        """Free the lane once its client has died, or has missed our reply and moved on
        to another server."""
        held: str | None = token
        while held == token:
            await asyncio.sleep(CLIENT_CHECK_S)
            try:
                held = await client.lane_token.remote()
            except RayActorError:
                held = None
        await self._in_compute_thread(lambda: self._detach(lane_id, token))

    # All methods below run in the compute thread.

    def _serve(self) -> None:
        """Answer calls and run batches. What is wrong with the device, or unexpected,
        ends the process: Ray restarts it, and meanwhile its trials resume elsewhere."""
        try:
            while True:
                self._answer_calls()
                now = time.monotonic()
                ready = [turn for turn in self._turns.values() if turn.ready(now)]
                if ready:
                    self._run(min(ready, key=lambda turn: turn.since))
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _answer_calls(self) -> None:
        """Wait for a call, or until the next batch is due, then answer all calls that
        have come in."""
        times = [turn.wakes for turn in self._turns.values() if turn.asking]
        timeout = None
        if times:
            timeout = max(min(times) - time.monotonic(), 0)
        with suppress(Empty):
            function, future = self._calls.get(timeout=timeout)
            while True:
                fulfil(future, function)
                if not future.cancelled():
                    _end_if_broken(future.exception())
                function, future = self._calls.get_nowait()

    def _run(self, turn: LaneTurn) -> None:
        asking, turn.asking = turn.asking, {}
        start = time.monotonic()
        failure = None
        try:
            outcomes = self._pool.outcomes(list(asking))
        except Exception as error:
            failure = error
            outcomes = dict.fromkeys(asking, error)
        if any(isinstance(outcome, EpochRow) for outcome in outcomes.values()):
            self._trained = True
        turn.last_s = time.monotonic() - start
        for lane_id, future in asking.items():
            fulfil(future, partial(returned_or_raised, outcomes[lane_id]))
        _end_if_broken(failure)

    def _attach(
        self,
        lane_id: str,
        token: str,
        config: TrialConfig,
        checkpoint: Checkpoint | None,
        shared: Shared,
    ) -> None:
        if self._pool is None:
            with classifying():
                self._pool = make_pool(shared, self._settings, self._capacity)
        if lane_id in self._tokens:
            self._detach(lane_id, self._tokens[lane_id])
        self._pool.attach(lane_id, config, checkpoint)
        self._tokens[lane_id] = token
        self._turn_of(lane_id).attached.add(lane_id)

    def _ask(self, lane_id: str, token: str, row: Future[EpochRow]) -> None:
        self._check(lane_id, token)
        turn = self._turn_of(lane_id)
        if not turn.asking:
            turn.since = time.monotonic()
        turn.asking[lane_id] = row

    def _read_and_save(
        self, lane_id: str, token: str, state: Place, is_due: bool
    ) -> None:
        self._check(lane_id, token)
        self._saver.begin(lane_id, self._pool, state, is_due)

    def _check(self, lane_id: str, token: str) -> None:
        if self._tokens.get(lane_id) != token:
            raise LaneLostError(
                f"{lane_id} has no lane here, or another process holds it"
            )

    def _detach(self, lane_id: str, token: str) -> None:
        if self._tokens.get(lane_id) != token:
            return
        del self._tokens[lane_id]
        self._directory.free.remote(lane_id, token, self._trained)
        turn = self._turn_of(lane_id)
        turn.attached.discard(lane_id)
        if not turn.attached:
            del self._turns[self._pool.lanes[lane_id].group]
        if lane_id in turn.asking:
            error = LaneLostError(f"the lane of {lane_id} was taken over")
            fulfil(turn.asking.pop(lane_id), partial(returned_or_raised, error))
        self._pool.detach(lane_id)
        if self._saver.last(lane_id).done():
            self._saver.forget(lane_id)

    def _turn_of(self, lane_id: str) -> LaneTurn:
        return self._turns[self._pool.lanes[lane_id].group]


def _end_if_broken(error: BaseException | None) -> None:
    """End the compute thread, and so the process, if an error is the device's, once the
    answers have arrived."""
    if isinstance(error, DeviceError):
        time.sleep(ANSWER_S)  # no more answers are given meanwhile
        raise error
