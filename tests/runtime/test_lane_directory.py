"""The directory of lanes in this process, with servers that are not there."""

import asyncio
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError

from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.runtime import lane_directory as module
from mnist_tune.runtime.lane_directory import LaneDirectory


class Server:
    """A server that answers once it has started, and not while it is dead."""

    def __init__(self):
        self.started, self.dead, self.held = asyncio.Event(), False, {}
        self.lanes = SimpleNamespace(remote=self._lanes)

    async def _lanes(self):
        await self.started.wait()
        if self.dead:
            raise ActorDiedError
        return dict(self.held)


@pytest.fixture
def servers(monkeypatch):
    """The servers that were created, on a cluster with 3 GPUs."""
    created = []

    def create(*arguments):
        created.append(Server())
        return created[-1]

    options = SimpleNamespace(options=lambda **fields: SimpleNamespace(remote=create))
    context = SimpleNamespace(current_actor=None)
    monkeypatch.setattr(module, "RESTART_S", 0.01)
    fake = SimpleNamespace(
        remote=lambda kind: options,
        cluster_resources=lambda: {"CPU": 8.0, "GPU": 3.0},
        get_runtime_context=lambda: context,
    )
    monkeypatch.setattr(module, "ray", fake)
    return created


def with_directory(act, capacity=2):
    async def run():
        async with asyncio.timeout(30):
            await act(LaneDirectory(WorkerSettings("states"), capacity, "GPU"))

    asyncio.run(run())


async def begun(directory, *lanes):
    """Begin to assign lanes, and let all wait that must."""
    tasks = [asyncio.create_task(directory.assign(lane, lane)) for lane in lanes]
    await asyncio.sleep(0.01)
    return tasks


async def assigned(directory, *lanes):
    return [await task for task in await begun(directory, *lanes)]


@pytest.mark.parametrize(
    ("devices", "lanes", "held"), [(2, 8, [4, 4]), (3, 8, [2, 3, 3]), (8, 64, [8] * 8)]
)
def test_lanes_are_spread_over_the_devices(servers, monkeypatch, devices, lanes, held):
    monkeypatch.setattr(module.ray, "cluster_resources", lambda: {"GPU": devices})

    async def act(directory):
        waits = await begun(directory, *map(str, range(lanes)))
        for server in servers:  # one after the other, as they start
            server.started.set()
            await asyncio.sleep(0.01)
        actors = await asyncio.gather(*waits)
        assert sorted(actors.count(server) for server in servers) == held

    with_directory(act, capacity=lanes)


def test_a_server_that_does_not_start_delays_trials_for_a_moment(servers, monkeypatch):
    """Another job has taken its device."""
    monkeypatch.setattr(module, "START_S", 0.1)

    async def act(directory):
        waits = await begun(directory, "a", "b", "c")
        servers[0].started.set()
        actors = await asyncio.gather(*waits)
        assert sorted(actors, key=id) == sorted([servers[0], None, None], key=id)
        again = [
            lane for lane, server in zip("abc", actors, strict=True) if server is None
        ]
        assert await assigned(directory, *again) == [servers[0]] * 2

    with_directory(act, capacity=3)


def test_a_lane_that_was_assigned_and_never_used_is_free_again_once_others_wait_long(
    servers, monkeypatch
):
    """Its process died before it took the lane, and Tune gave the trial up."""
    monkeypatch.setattr(module.ray, "cluster_resources", lambda: {"GPU": 1.0})

    async def waited_in_vain(directory, lane):
        with monkeypatch.context() as patch:
            patch.setattr(module, "WAIT_S", 0.01)
            assert await assigned(directory, lane) == [None]

    async def act(directory):
        waits = await begun(directory, "a", "b")
        servers[0].started.set()
        await asyncio.gather(*waits)
        servers[0].held = {"a": "a"}
        await waited_in_vain(directory, "c")
        assert await assigned(directory, "c") == [servers[0]]
        assert directory._servers[0].lanes == {"a": "a", "c": "c"}
        await waited_in_vain(directory, "d")

    with_directory(act)


def test_a_server_that_died_gets_no_lanes_until_it_is_back(servers):
    async def act(directory):
        waits = await begun(directory, "a")
        servers[0].started.set()
        await asyncio.gather(*waits)
        servers[0].dead = True
        await directory.lost("a")
        [again] = await begun(directory, "a")
        assert not again.done()
        servers[0].dead, servers[0].held = False, {"zombie": "z"}
        assert await again == servers[0]
        assert directory._servers[0].lanes == {"zombie": "z", "a": "a"}

    with_directory(act)


@pytest.mark.promise(
    "A GPU that fails ends its server, and is not given trial after trial"
)
def test_a_server_that_fails_trial_after_trial_does_not_draw_them_all(
    servers, monkeypatch
):
    """It has the fewest lanes. As soon as it has finished a trial, it counts as the
    others do."""
    monkeypatch.setattr(module.ray, "cluster_resources", lambda: {"GPU": 2.0})

    async def dies(directory, lane):
        for _ in range(2):  # however many of its lanes tell of it
            await directory.lost(lane)
        await asyncio.sleep(0.05)

    async def act(directory):
        await begun(directory, *"abc")
        for server in servers:
            server.started.set()
        await begun(directory)
        broken, healthy = sorted(
            directory._servers, key=lambda served: len(served.lanes)
        )
        [lane] = broken.lanes
        await dies(directory, lane)
        [actor] = await assigned(directory, lane)
        assert actor is broken.actor  # the other one is full
        await dies(directory, lane)
        [waits] = await begun(directory, lane)
        assert not waits.done()
        [first, _] = healthy.lanes
        await directory.free(first, first)
        await asyncio.sleep(0.01)
        assert await waits is healthy.actor
        await dies(directory, lane)
        assert await assigned(directory, lane) == [healthy.actor]
        assert (broken.deaths, healthy.deaths) == (2, 1)
        # own code that raised, say: the server has trained nothing
        await directory.free(lane, lane)
        assert healthy.deaths == 1
        assert await assigned(directory, lane) == [healthy.actor]
        await directory.free(lane, lane, True)
        assert healthy.deaths == 0
        healthy.deaths = 2
        assert None not in await assigned(directory, "x", "y", "z")  # none is better

    with_directory(act)


def test_a_trial_whose_only_server_fails_gets_another_device(servers):
    async def act(directory):
        for _ in range(2):
            waits = await begun(directory, "a")
            servers[0].started.set()
            assert await asyncio.gather(*waits) == [servers[0]]
            await directory.lost("a")
            await asyncio.sleep(0.05)
        [waits] = await begun(directory, "a")
        servers[1].started.set()
        assert await waits == servers[1]

    with_directory(act)


def test_a_process_that_died_while_it_waited_gets_no_lane(servers):
    async def act(directory):
        former = asyncio.create_task(directory.assign("a", "former"))
        [latter] = await begun(directory, "a")
        servers[0].started.set()
        assert await former is None
        assert await latter == servers[0]
        assert directory._servers[0].lanes == {"a": "a"}

    with_directory(act)


def test_lanes_for_which_there_is_no_memory_go_to_another_server(servers, monkeypatch):
    monkeypatch.setattr(module.ray, "cluster_resources", lambda: {"GPU": 2.0})

    async def act(directory):
        await begun(directory, "a", "b", "c")
        for server in servers:
            server.started.set()
        await begun(directory)
        small, large = sorted(directory._servers, key=lambda served: -len(served.lanes))
        [_, refused] = small.lanes
        await directory.full(refused)
        assert await assigned(directory, refused, "d") == [large.actor] * 2
        assert (len(small.lanes), len(large.lanes)) == (1, 3)

    with_directory(act, capacity=3)
