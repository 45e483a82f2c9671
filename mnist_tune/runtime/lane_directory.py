"""The directory of a sweep's lanes: it starts lane servers as lanes are needed, and
assigns trials to them."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_tune.execution.lane_server import LaneServer
from mnist_tune.execution.process_setup import WorkerSettings

STORAGE_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
)
"""The keys of object storage that Tune passes on to the processes of trials."""

WAIT_S = 30.0
"""Seconds after which a trial that waits for a lane is told to ask again."""

DEATHS = 2
"""A server that died so often, and finished no trial in between, gets no lanes while
there are better ones. Its trials may then die once more, elsewhere, before they are
given up."""

START_S = 20.0
"""Seconds for which trials wait for a server that starts, if the others have their
share of the lanes."""

RESTART_S = 1.0
"""Seconds between two looks whether a dead server has been restarted."""


@dataclass(eq=False)
class Served:
    """A lane server, as the directory knows it."""

    actor: Any
    room: int
    """The most lanes that it holds."""
    lanes: dict[str, str] = field(default_factory=dict)
    """Its lanes, and their tokens."""
    answers: bool = False
    """False until it has started. It may wait for a device for as long as other jobs
    use all of them."""
    awaited: bool = True
    """False once it has started, or did not in time: the others get its share of the
    lanes."""
    deaths: int = 0
    """How often it died since it finished a trial."""


class LaneDirectory:
    """Spreads trials over servers, one a device. It is an actor, and its servers end
    with it: each has a device of this kind for itself, these settings, and `capacity`
    lanes at most."""

    def __init__(
        self,
        settings: WorkerSettings,
        capacity: int,
        device: str,
        server: type = LaneServer,
    ) -> None:
        # On CPUs the trials ask Ray for the cores, and the servers for nothing: it
        # would put them all on one node.
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1}
        if device == "GPU":
            options["num_gpus"] = 1
        else:
            options["scheduling_strategy"] = "SPREAD"
        self._server = ray.remote(server).options(**options)
        self._settings = settings
        self._capacity = capacity
        self._device = device
        self._servers: list[Served] = []
        self._waiting = 0
        self._latest: dict[str, str] = {}  # the token with which each trial asked last
        self._changed = asyncio.Condition()
        self._watches: set[asyncio.Task[None]] = set()

    async def assign(self, lane_id: str, token: str) -> Any:
        """Return the server on which a trial may attach with this token: of those that
        died least, the one with the fewest lanes. Return None if none had room for a
        while."""
        self._drop(lane_id)
        self._latest[lane_id] = token
        self._waiting += 1
        try:
            self._start_servers()
            starting = self._starting()
            patience = START_S if starting else WAIT_S
            async with self._changed, asyncio.timeout(patience):
                servers = await self._changed.wait_for(self._with_room)
                # the trial's process has died meanwhile, and another one asks
                if self._latest[lane_id] != token:
                    return None
                best: Served = min(servers, key=_preference)
                best.lanes[lane_id] = token
                return best.actor
        except TimeoutError:
            for served in self._servers:
                served.awaited = False
                # perhaps a process died between its lane's assignment and its use
                if not starting:
                    self._ask_again(served)
            return None
        finally:
            self._waiting -= 1

    async def free(self, lane_id: str, token: str, trained: bool = False) -> None:
        """Take note of a lane that was detached, and whether its server has trained."""
        for served in self._of(lane_id):
            if trained and served.lanes[lane_id] == token:
                served.deaths = 0
        self._drop(lane_id, token)
        async with self._changed:
            self._changed.notify_all()

    async def full(self, lane_id: str) -> None:
        """Take note that there was no memory for a lane: its server holds the others
        only."""
        for served in self._of(lane_id):
            served.room = max(len(served.lanes) - 1, 1)

    async def lost(self, lane_id: str) -> None:
        """Take note that the server of a lane has died, or is about to."""
        for served in self._of(lane_id):
            served.deaths += served.answers  # all its lanes tell of the same death
            self._ask_again(served)

    def _needed(self) -> int:
        return self._waiting + sum(len(served.lanes) for served in self._servers)

    def _start_servers(self) -> None:
        """Start servers until each trial or each device has one that does not fail. Ray
        finds free devices."""
        devices = int(ray.cluster_resources().get(self._device, 0))
        directory = ray.get_runtime_context().current_actor
        missing = self._needed() - len(self._trusted())
        free = devices - len(self._servers)
        for _ in range(min(missing, free)):
            actor = self._server.remote(self._settings, self._capacity, directory)
            served = Served(actor, self._capacity)
            self._servers.append(served)
            self._watch(served)

    def _trusted(self) -> list[Served]:
        return [served for served in self._servers if served.deaths < DEATHS]

    def _ask_again(self, served: Served) -> None:
        """Have a server say which lanes it has, if it is not being asked already."""
        if served.answers:
            served.answers = False
            self._watch(served)

    def _watch(self, served: Served) -> None:
        watch = asyncio.ensure_future(self._until_it_answers(served))
        self._watches.add(watch)  # asyncio itself keeps no reference to a task
        watch.add_done_callback(self._watches.discard)

    async def _until_it_answers(self, served: Served) -> None:
        while not served.answers:
            try:
                served.lanes = await served.actor.lanes.remote()
                served.answers = True
                served.awaited = False
            except RayActorError:
                await asyncio.sleep(RESTART_S)
        async with self._changed:
            self._changed.notify_all()

    def _with_room(self) -> list[Served]:
        """Return the servers that may get a lane. While others start, one gets no more
        than its share of the lanes."""
        trusted = self._trusted() or self._servers
        answering = [served for served in trusted if served.answers]
        starting = self._starting()
        share = self._capacity
        if starting:
            share = math.ceil(self._needed() / (len(answering) + starting))
        with_room = []
        for served in answering:
            if len(served.lanes) < min(served.room, share):
                with_room.append(served)
        return with_room

    def _starting(self) -> int:
        return sum(served.awaited for served in self._servers)

    def _of(self, lane_id: str) -> list[Served]:
        return [served for served in self._servers if lane_id in served.lanes]

    def _drop(self, lane_id: str, token: str | None = None) -> None:
        for served in self._of(lane_id):
            if token in (None, served.lanes[lane_id]):
                del served.lanes[lane_id]


def _preference(served: Served) -> tuple[int, int]:
    return served.deaths, len(served.lanes)


def start_directory(settings: WorkerSettings, capacity: int, device: str) -> Any:
    """Start the directory, on the driver's node: without that node the sweep ends,
    too."""
    node = ray.get_runtime_context().get_node_id()
    options = {
        "num_cpus": 0,
        "max_restarts": -1,
        "max_concurrency": 10_000,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True),
    }
    # a cluster may have been started without them; the servers have those of the
    # directory
    keys = {name: os.environ[name] for name in STORAGE_KEYS if name in os.environ}
    if keys:
        options["runtime_env"] = {"env_vars": keys}
    directory = ray.remote(LaneDirectory).options(**options)
    return directory.remote(settings, capacity, device, LaneServer)
