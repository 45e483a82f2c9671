"""The lanes of a trial's process on whichever server has room. Thin: it never imports JAX."""

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
"""What a call of a server raises that died, alone or with its node."""


class LanesFullError(UserError):
    """Every lane of this server is taken."""


class LaneLostError(Exception):
    """The lane is gone: its server died, or another process of the same trial took it over."""


class LaneClient:
    """The lanes of a trial's process on whichever server has room: what a trial calls of a `LanePool`."""

    def __init__(self, prefix: str, dataset: Sequence[Any]) -> None:
        self._prefix, self._dataset = prefix, dataset
        self._server: Any = None
        self.token = ""
        """Of the lane that this client holds; empty where it holds none."""

    def attach(self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None) -> None:
        """Attaches to the server with the fewest lanes taken.

        Raises:
            LaneLostError: no server answered, or all are full.
        """
        client = ray.get_runtime_context().current_actor
        for server in self._servers(lane_id):
            # Anew for each: one that could not be reached may have heard it all the same, and frees that lane then.
            self.token = uuid.uuid4().hex
            try:
                _answer(server.attach.remote(lane_id, self.token, config, checkpoint, self._dataset, client))
            except (LaneLostError, LanesFullError):
                continue
            self._server = server
            return
        raise LaneLostError("no lane server has room or answers")

    def epoch(self, lane_id: str, state: Place) -> dict[str, Any]:
        """Asks for an epoch and waits for its row. Raises `LaneLostError` where the lane is gone."""
        row: dict[str, Any] = _answer(self._server.epoch.remote(lane_id, self.token, state))
        return row

    def detach(self, lane_id: str) -> None:
        """Frees the lane, where this client holds one; a dead server holds none."""
        server, self._server = self._server, None
        if server is not None:
            server.detach.remote(lane_id, self.token)
            self.token = ""

    def _servers(self, lane_id: str) -> list[Any]:
        """Those that answer, the least loaded first; equal ones in an order that differs between trials."""
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
    """What a server answers, or raises: Ray puts a traceback in place of what a `UserError` says."""
    try:
        return ray.get(call)
    except GONE as error:
        raise LaneLostError(str(error)) from error
    except UserError as error:
        raise getattr(error, "cause", error) from None
