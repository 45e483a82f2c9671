"""The client of the lane servers, used by a trial's process. It never imports JAX, so the process stays small."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayActorError

from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

GONE = (RayActorError, ActorUnschedulableError)
"""What Ray raises when a server, or its node, has died."""


class LanesFullError(UserError):
    """All lanes of this server are taken."""


class LaneLostError(Exception):
    """This client has lost its lane: the server died, or another process of the same trial has taken the lane."""


class LaneClient:
    """Trains a trial on a lane server, with the methods of a `LanePool` that a trial calls."""

    def __init__(self, prefix: str, dataset: Sequence[Any]) -> None:
        self._prefix, self._dataset = prefix, dataset
        self._server: Any = None
        self.token = ""
        """Proves to the server that this client holds its lane; empty if it holds none."""

    def attach(self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None) -> None:
        """Take a lane on the server that has the fewest lanes taken.

        Raises:
            LaneLostError: no server answered, or all are full.
        """
        client = ray.get_runtime_context().current_actor
        for server in self._servers(lane_id):
            # A new token for each attempt: a server whose reply we missed frees its lane once it sees the new one.
            self.token = uuid.uuid4().hex
            try:
                _answer(server.attach.remote(lane_id, self.token, config, checkpoint, self._dataset, client))
            except (LaneLostError, LanesFullError):
                continue
            self._server = server
            return
        self.token = ""
        raise LaneLostError("no lane server has room or answers")

    def epoch(self, lane_id: str, state: Place) -> dict[str, Any]:
        """Train an epoch and return its row. Raises `LaneLostError` if the lane is lost."""
        row: dict[str, Any] = _answer(self._server.epoch.remote(lane_id, self.token, state))
        return row

    def detach(self, lane_id: str) -> None:
        """Free the lane, if this client holds one. Nothing is raised if the server is dead."""
        server, self._server = self._server, None
        if server is not None:
            server.detach.remote(lane_id, self.token)
            self.token = ""

    def _servers(self, lane_id: str) -> list[Any]:
        """Return the servers that answer, least loaded first. Ties are ordered differently for each trial."""
        names = [name for name in ray.util.list_named_actors() if name.startswith(self._prefix)]
        loads = []
        for name in sorted(names):
            try:
                server = ray.get_actor(name)
                loads.append((ray.get(server.load.remote(), timeout=30), hash((name, lane_id)), server))
            except (*GONE, ValueError, ray.exceptions.GetTimeoutError):
                continue
        return [server for *_, server in sorted(loads, key=lambda entry: entry[:2])]


def _answer(call: Any) -> Any:
    """Return or raise the server's answer. A `UserError` is unwrapped: Ray's wrapper prints a traceback instead."""
    try:
        return ray.get(call)
    except GONE as error:
        raise LaneLostError(str(error)) from error
    except UserError as error:
        raise getattr(error, "cause", error) from None
