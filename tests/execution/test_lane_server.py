"""The lane server in this process: its compute thread, and calls that nobody waits for
any more."""

import asyncio
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock, Mock

import jax
import numpy as np
import pytest
from ray.exceptions import ActorDiedError

from mnist_tune.errors import UserError
from mnist_tune.execution import lane_server as module
from mnist_tune.execution.checkpoint import Checkpoint, LanesFullError
from mnist_tune.execution.executor import Executor
from mnist_tune.execution.group import LaneGroup
from mnist_tune.execution.hanging import HungError
from mnist_tune.execution.lane_client import LaneLostError
from mnist_tune.execution.lane_server import LaneServer
from mnist_tune.execution.pool import LanePool
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.execution.program_error import (
    DeviceError,
    OutOfMemoryError,
    ProgramError,
)
from mnist_tune.trial import TrialConfig

SMALL = TrialConfig(architecture="mlp-8-tanh", epochs=4)
OTHER = replace(SMALL, architecture="mlp-9-tanh")


@pytest.fixture
def exits(monkeypatch):
    """Exit codes with which the process would have ended."""
    codes = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    return codes


@pytest.fixture
def server(few_images, exits):
    """Two lanes of which "a" and "b" are attached, with tokens of the same names."""
    before = set(threading.enumerate())
    server = LaneServer(WorkerSettings("states"), 2, MagicMock())
    [thread] = set(threading.enumerate()) - before
    server._pool = LanePool(few_images, 2)

    async def attach():
        for lane in "ab":
            await server.attach(lane, lane, SMALL, None, None)

    asyncio.run(attach())
    yield server
    call(server, end)
    thread.join(60)
    assert not thread.is_alive()


def end():
    raise SystemExit


def call(server, function):
    server._calls.put((function, Future()))


def epochs(server, path, *lanes, tokens=None):
    """The next epoch of each of these lanes, by its row."""

    async def ask():
        calls = []
        for lane, token in zip(lanes, tokens or lanes, strict=True):
            calls.append(server.epoch(lane, token, path / f"{lane}.npz"))
        async with asyncio.timeout(60):
            return await asyncio.gather(*calls)

    return [row.epoch for row in asyncio.run(ask())]


def save(server, path, *lanes):
    async def all_saved():
        calls = [server.save(lane, lane, path / f"{lane}.npz") for lane in lanes]
        async with asyncio.timeout(60):
            await asyncio.gather(*calls)

    asyncio.run(all_saved())


def test_what_a_call_raises_is_its_callers(server, exits, tmp_path):
    line = r"^c has no lane here, or another process holds it$"
    with pytest.raises(LaneLostError, match=line):
        epochs(server, tmp_path, "c")
    assert epochs(server, tmp_path, "a", "b") == [1, 1]
    assert exits == []


STICKY = jax.errors.JaxRuntimeError(
    "INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"
)
"""As long as its process lives, a GPU answers every call with such an error."""


@pytest.mark.promise(
    "A GPU that fails ends its server, and is not given trial after trial"
)
@pytest.mark.parametrize(
    ("owner", "call", "error", "kind"),
    [
        (Executor, "train", STICKY, DeviceError),
        (Executor, "write", STICKY, DeviceError),
        (LaneGroup, "run", HungError("it runs"), HungError),
    ],
)
def test_a_device_that_fails_or_hangs_is_told_and_ends_the_server(
    server, exits, monkeypatch, tmp_path, owner, call, error, kind
):
    """Its trials go on elsewhere. Of an epoch that hangs, no other batch may train the
    states."""
    monkeypatch.setattr(module, "ANSWER_S", 0)
    monkeypatch.setattr(owner, call, Mock(side_effect=error))

    async def ask():
        attach = server.attach("a", "new", SMALL, None, None)
        trains = server.epoch("a", "a", tmp_path / "a.npz")
        await asyncio.wait_for(attach if call == "write" else trains, 60)

    with pytest.raises(kind, match=str(error)):
        asyncio.run(ask())
    # it may have ended
    for thread in [
        thread for thread in threading.enumerate() if thread.name == "lanes"
    ]:
        thread.join(60)
    assert exits == [1]


def test_a_client_that_was_replaced_trains_no_lane(server, tmp_path):
    asyncio.run(server.attach("a", "new", SMALL, None, None))
    with pytest.raises(LaneLostError):
        epochs(server, tmp_path, "a", tokens=["a"])
    with pytest.raises(LaneLostError):
        save(server, tmp_path, "a")
    assert list(tmp_path.iterdir()) == []
    assert epochs(server, tmp_path, "a", tokens=["new"]) == [1]


def test_a_full_server_refuses_lanes_of_any_program(server):
    with pytest.raises(LanesFullError, match="all 2 lanes"):
        asyncio.run(server.attach("c", "c", OTHER, None, []))
    assert asyncio.run(server.lanes()) == {"a": "a", "b": "b"}


def test_each_lanes_own_state_is_saved(server, tmp_path):
    asyncio.run(server.attach("b", "b", replace(SMALL, seed=1), None, []))
    epochs(server, tmp_path, "a", "b")
    save(server, tmp_path, "a", "b")
    for lane in "ab":
        saved = Checkpoint.load(tmp_path / f"{lane}.npz")
        np.testing.assert_equal(vars(saved), vars(server._pool.checkpoint(lane)))


def test_the_group_that_asked_first_runs_first(server, monkeypatch, tmp_path):
    asyncio.run(server.attach("b", "b", OTHER, None, []))
    ran = []
    run = server._pool.outcomes

    def noted(lanes):
        ran.extend(lanes)
        return run(lanes)

    def both_asked():
        while server._calls.qsize() < 2:
            time.sleep(0.001)

    monkeypatch.setattr(server._pool, "outcomes", noted)
    call(server, both_asked)
    epochs(server, tmp_path, "b", "a")
    assert ran == ["b", "a"]


def test_anything_unexpected_in_the_compute_thread_ends_the_process(
    server, exits, capsys
):
    server._turns["broken"] = None
    call(server, lambda: None)
    for thread in threading.enumerate():
        if thread.name == "lanes":
            thread.join(60)
    assert exits == [1]
    assert "AttributeError" in capsys.readouterr().err


def test_calls_that_were_cancelled_do_no_harm(server, exits, monkeypatch, tmp_path):
    started = threading.Event()
    go_on = threading.Event()
    run = server._pool.outcomes

    def held(lanes):
        started.set()
        assert go_on.wait(60)
        return run(lanes)

    async def cancel():
        monkeypatch.setattr(server._pool, "outcomes", held)
        trains = asyncio.create_task(server.epoch("a", "a", tmp_path / "a.npz"))
        await asyncio.to_thread(started.wait, 60)
        waits = asyncio.create_task(server.epoch("b", "b", tmp_path / "b.npz"))
        await asyncio.sleep(0)  # until it is queued
        for task in (trains, waits):
            task.cancel()
        go_on.set()
        await asyncio.wait([trains, waits])
        assert trains.cancelled()
        assert waits.cancelled()

    asyncio.run(cancel())
    assert epochs(server, tmp_path, "a", "b") == [2, 1]
    assert exits == []


@pytest.mark.parametrize("fate", ["moved on", "died"])
def test_a_client_that_died_or_moved_on_leaves_no_lane_behind(
    server, monkeypatch, fate
):
    monkeypatch.setattr(module, "CLIENT_CHECK_S", 0.01)
    calls = []
    go_on = asyncio.Event()

    async def lane_token():
        calls.append(True)
        if len(calls) < 3:
            return "new"
        await go_on.wait()
        if fate == "died":
            raise ActorDiedError
        return "newer"

    async def attach():
        client = SimpleNamespace(lane_token=SimpleNamespace(remote=lane_token))
        await server.attach("a", "new", SMALL, None, [], client)
        [watch] = server._watches
        while len(calls) < 3:
            await asyncio.sleep(0.001)
        assert len(await server.lanes()) == 2
        go_on.set()
        await asyncio.wait_for(watch, 60)
        assert list(await server.lanes()) == ["b"]
        server._directory.free.remote.assert_called_with("a", "new", False)

    asyncio.run(attach())
    assert len(calls) == 3


def test_a_failed_save_is_told_to_its_own_lane(server, exits, monkeypatch, tmp_path):
    save_state = Checkpoint.save

    def full(state, where):
        if where.name == "a.npz":
            raise UserError("the disk is full")
        save_state(state, where)

    monkeypatch.setattr(Checkpoint, "save", full)
    assert epochs(server, tmp_path, "a", "b") == [1, 1]
    with pytest.raises(UserError, match=r"^the disk is full$"):
        epochs(server, tmp_path, "a")
    assert epochs(server, tmp_path, "b") == [2]
    save(server, tmp_path, "b")
    assert Checkpoint.load(tmp_path / "b.npz").row.epoch == 2
    asyncio.run(server.detach("a", "a"))
    asyncio.run(server.attach("a", "new", SMALL, None, None))
    # the failure was another client's
    assert epochs(server, tmp_path, "a", tokens=["new"]) == [1]
    assert exits == []


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (UserError("it does not fit"), UserError, "^it does not fit$"),
        (
            ValueError("a bug"),
            ProgramError,
            r"^ValueError: a bug \(.*/test_lane_server.py:\d+\)$",
        ),
        # of one's own code
        (
            OSError("no file"),
            ProgramError,
            r"^OSError: no file \(.*/test_lane_server.py:\d+\)$",
        ),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 1 byte"),
            OutOfMemoryError,
            "^RESOURCE_EXHAUSTED: 1 byte$",
        ),
    ],
)
def test_what_a_batch_raises_is_told_to_all_its_lanes_which_can_go_on(
    server, exits, monkeypatch, tmp_path, error, kind, line
):
    def noted(*arguments):
        raise error

    async def ask():
        calls = [server.epoch(lane, lane, tmp_path / f"{lane}.npz") for lane in "ab"]
        answers = asyncio.gather(*calls, return_exceptions=True)
        return await asyncio.wait_for(answers, 60)

    with monkeypatch.context() as patch:
        patch.setattr(Executor, "train", noted)
        for answer in asyncio.run(ask()):
            with pytest.raises(kind, match=line):
                raise answer
    assert epochs(server, tmp_path, "a", "b") == [1, 1]
    assert exits == []


def test_states_are_saved_every_so_many_epochs_and_once_each(
    server, monkeypatch, tmp_path
):
    written = []
    save_state = Checkpoint.save

    def noted(state, where):
        written.append((where.stem, state.row.epoch))
        save_state(state, where)

    monkeypatch.setattr(Checkpoint, "save", noted)
    monkeypatch.setattr(server, "_settings", replace(server._settings, save_every=2))
    for _ in range(3):
        epochs(server, tmp_path, "a", "b")
    assert sorted(written) == [("a", 2), ("b", 2)]
    for _ in range(2):
        save(server, tmp_path, "a")
    assert sorted(written) == [("a", 2), ("a", 3), ("b", 2)]


@pytest.fixture
def go_on(monkeypatch):
    """An event that saves of lane a wait for."""
    event = threading.Event()
    save_state = Checkpoint.save

    def slow(state, where):
        if where.name == "a.npz":
            assert event.wait(60)
        save_state(state, where)

    monkeypatch.setattr(Checkpoint, "save", slow)
    return event


def test_no_lane_waits_for_another_ones_save(server, go_on, tmp_path):
    assert epochs(server, tmp_path, "a", "b") == [1, 1]

    async def ask():
        waits = asyncio.create_task(server.epoch("a", "a", tmp_path / "a.npz"))
        rows = [
            await asyncio.wait_for(server.epoch("b", "b", tmp_path / "b.npz"), 60)
            for _ in range(3)
        ]
        assert not waits.done()  # one state of a trial is in flight at a time
        go_on.set()
        return [(await waits).epoch, *(row.epoch for row in rows)]

    assert asyncio.run(ask()) == [2, 2, 3, 4]


def test_a_lane_is_free_once_its_last_save_has_ended(server, go_on, tmp_path):
    assert epochs(server, tmp_path, "a") == [1]

    async def leave():
        leaves = asyncio.create_task(server.detach("a", "a"))
        await asyncio.wait_for(server.epoch("b", "b", tmp_path / "b.npz"), 60)
        assert list(await server.lanes()) == ["a", "b"]
        go_on.set()
        await asyncio.wait_for(leaves, 60)
        assert list(await server.lanes()) == ["b"]

    asyncio.run(leave())
    assert Checkpoint.load(tmp_path / "a.npz").row.epoch == 1
    # the server has trained
    server._directory.free.remote.assert_called_once_with("a", "a", True)
