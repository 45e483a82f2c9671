"""Continuous batching: the actor that trains many trials as lanes of one device.

A trial's process is its client (`client`): it attaches, asks for an epoch, detaches. All changes of stacked
state and all computing happen in one thread of the server (donated buffers allow no other way).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

import ray
from ray.exceptions import RayActorError

from mnist_tune.errors import UserError
from mnist_tune.execution.batching import Turn
from mnist_tune.execution.checkpoint import Checkpoint, StateLostError
from mnist_tune.execution.lane_client import LaneLostError, LanesFullError
from mnist_tune.execution.process_setup import WorkerSettings, make_pool
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

CLIENT_CHECK_S = 2.0
"""Seconds between two looks at whether a client still lives and holds its lane."""


class LaneServer:
    """Serves the lanes of one device; use it through `ray.remote`, with `max_restarts=-1`.

    Every call names the lane (the trial) and a token of its client: what a client that was replaced still says
    is refused, or ignored where it frees a lane.
    """

    def __init__(self, settings: WorkerSettings, capacity: int) -> None:
        self._settings, self._capacity = settings, capacity
        self._pool: Any = None
        self._tokens: dict[str, str] = {}
        self._turns: defaultdict[Any, Turn] = defaultdict(Turn)  # by the pool's groups
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._watches: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._serve, daemon=True, name="lanes").start()

    async def attach(
        self,
        lane_id: str,
        token: str,
        config: TrialConfig,
        checkpoint: Checkpoint | None,
        dataset: Sequence[Any],
        client: Any = None,
    ) -> None:
        """Gives a client a lane; if the trial has one already, it is taken from its former client.

        The data set comes with its clients, as a reference in a list: as an argument of the constructor it would
        have to be alive whenever Ray restarts the server. `client` is the actor that asks; its `lane_token` tells which
        lane it holds.

        Raises:
            LanesFullError: no lane is free.
            UserError: the saved state does not fit.
        """
        await self._in_compute_thread(lambda: self._attach(lane_id, token, config, checkpoint, dataset))
        if client is not None:
            watch = asyncio.create_task(self._watch(lane_id, token, client))
            self._watches.add(watch)  # asyncio keeps no task alive by itself
            watch.add_done_callback(self._watches.discard)

    async def epoch(self, lane_id: str, token: str, state: Place) -> dict[str, Any]:
        """Trains the lane for an epoch with whoever asks too, saves its state there, and returns its row.

        Raises:
            LaneLostError: the lane is not this client's.
        """
        row: Future[dict[str, Any]] = Future()
        await self._in_compute_thread(lambda: self._ask(lane_id, token, state, row))
        return await asyncio.wrap_future(row)

    async def detach(self, lane_id: str, token: str) -> None:
        """Frees the lane, if it is this client's."""
        await self._in_compute_thread(lambda: self._detach(lane_id, token))

    async def load(self) -> int:
        """Lanes taken."""
        return len(self._tokens)

    async def _in_compute_thread(self, function: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()
        self._calls.put((function, future))
        return await asyncio.wrap_future(future)

    async def _watch(self, lane_id: str, token: str, client: Any) -> None:
        """Frees the lane of a client that died, or that could not reach this server and moved on to another one."""
        held: str | None = token
        while held == token:
            await asyncio.sleep(CLIENT_CHECK_S)
            try:
                held = await client.lane_token.remote()
            except RayActorError:
                held = None
        await self._in_compute_thread(lambda: self._detach(lane_id, token))

    # What follows runs in the compute thread.

    def _serve(self) -> None:
        """Ends the process on anything unexpected: Ray restarts it, and trials continue from their states."""
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
        """Answers what was called meanwhile; sleeps until there is something to do."""
        times = [turn.wakes for turn in self._turns.values() if turn.asking]
        timeout = max(min(times) - time.monotonic(), 0) if times else None
        try:
            call = self._calls.get(timeout=timeout) if timeout != 0 else self._calls.get_nowait()
            while True:
                function, future = call
                answer(future, function)
                call = self._calls.get_nowait()
        except Empty:
            return

    def _run(self, turn: Turn) -> None:
        asking, turn.asking = turn.asking, {}
        start = time.monotonic()
        try:
            rows = self._pool.run(list(asking))
            for lane_id, (path, _) in asking.items():
                self._pool.checkpoint(lane_id).save(path)
        except StateLostError:
            turn.asking = asking
            for lane_id in list(turn.attached):
                self._detach(lane_id, self._tokens[lane_id])
            return
        except Exception as error:
            failure = error if isinstance(error, UserError) else RuntimeError(f"{error}\n{traceback.format_exc()}")
            for _, future in asking.values():
                answer(future, lambda: _raise(failure))
            return
        turn.last_s = time.monotonic() - start
        for lane_id, (_, future) in asking.items():
            answer(future, lambda: rows[lane_id])  # noqa: B023

    def _attach(
        self, lane_id: str, token: str, config: TrialConfig, checkpoint: Checkpoint | None, dataset: Sequence[Any]
    ) -> None:
        if self._pool is None:
            self._pool = make_pool(ray.get(dataset[0]), self._settings, self._capacity)
        if lane_id in self._tokens:
            self._detach(lane_id, self._tokens[lane_id])
        if len(self._tokens) >= self._capacity:
            raise LanesFullError(f"all {self._capacity} lanes of this device are taken")
        self._pool.attach(lane_id, config, checkpoint)
        self._tokens[lane_id] = token
        self._turn_of(lane_id).attached.add(lane_id)

    def _ask(self, lane_id: str, token: str, path: Place, row: Future[dict[str, Any]]) -> None:
        if self._tokens.get(lane_id) != token:
            raise LaneLostError(f"{lane_id} has no lane here, or another process holds it")
        turn = self._turn_of(lane_id)
        if not turn.asking:
            turn.since = time.monotonic()
        turn.asking[lane_id] = path, row

    def _detach(self, lane_id: str, token: str) -> None:
        if self._tokens.get(lane_id) != token:
            return
        del self._tokens[lane_id]
        turn = self._turn_of(lane_id)
        turn.attached.discard(lane_id)
        if not turn.attached:
            del self._turns[self._pool.group_of(lane_id)]
        if lane_id in turn.asking:
            lost = LaneLostError(f"the lane of {lane_id} was taken over, or its state lost")
            answer(turn.asking.pop(lane_id)[1], lambda: _raise(lost))
        self._pool.detach(lane_id)

    def _turn_of(self, lane_id: str) -> Turn:
        return self._turns[self._pool.group_of(lane_id)]


def answer(future: Future[Any], function: Callable[[], Any]) -> None:
    """Settles a future with what a function returns or raises; nothing happens where nobody waits any more."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)


def _raise(error: Exception) -> None:
    raise error
