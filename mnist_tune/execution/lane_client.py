"""The client of the lane servers, used by a trial's process. It never imports JAX, so
the process stays small."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayActorError

from mnist_tune.epoch_row import EpochRow
from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import Checkpoint, DeviceFullError, LanesFullError
from mnist_tune.execution.process_setup import Shared
from mnist_tune.execution.program_error import DeviceError
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

GONE = (RayActorError, ActorUnschedulableError)
"""What Ray raises when a server, or its node, has died."""
FULL_S = 1.0
"""Seconds to wait if a server still holds the lane of a client that has died or moved
on."""


class LaneLostError(Exception):
    """This client has lost its lane: the server died, or another process of the same
    trial has taken the lane."""


class LaneClient:
    """Trains a trial on a lane server, with the methods of `OwnLane`. All but `detach`
    raise a `LaneLostError` if the server has died, or another process of the trial has
    taken the lane, and a DeviceError before it dies of one."""

    repeats = True
    """As in `OwnLane`."""

    def __init__(self, directory: Any, shared: Shared) -> None:
        self._directory, self._shared = directory, shared
        self._server: Any = None
        self.token = ""

    def attach(
        self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None
    ) -> None:
        """Take a lane, as soon as a server has one. That takes as long as other jobs
        use all devices."""
        self._server = None
        client = ray.get_runtime_context().current_actor
        while self._server is None:
            # A new token for each attempt: a server whose reply we missed frees its
            # lane once it sees the new one.
            self.token = uuid.uuid4().hex
            server = _answer(self._directory.assign.remote(lane_id, self.token))
            if server is None:
                continue
            try:
                _answer(
                    server.attach.remote(
                        lane_id, self.token, config, checkpoint, self._shared, client
                    )
                )
                self._server = server
            except DeviceFullError:
                self._directory.full.remote(lane_id)
            except LanesFullError:
                time.sleep(FULL_S)
            except UserError:  # such as one of the user's own network
                self._directory.free.remote(lane_id, self.token)
                raise
            except Exception:  # the server died, or its device failed
                self._directory.lost.remote(lane_id)
                raise

    def epoch(self, lane_id: str, state: Place) -> EpochRow:
        try:
            row: EpochRow = _answer(
                self._server.epoch.remote(lane_id, self.token, state)
            )
        except DeviceError:
            self._directory.lost.remote(lane_id)
            raise
        return row

    def save(self, lane_id: str, state: Place) -> None:
        _answer(self._server.save.remote(lane_id, self.token, state))

    def detach(self, lane_id: str) -> None:
        """Free the lane, if there is one. Nothing is raised if the server is dead."""
        server, self._server = self._server, None
        if server is not None:
            with suppress(LaneLostError):
                _answer(server.detach.remote(lane_id, self.token))
            self.token = ""


def _answer(call: Any) -> Any:
    """Return or raise the server's answer. A `UserError` is unwrapped: Ray's wrapper
    prints a traceback instead."""
    try:
        return ray.get(call)
    except GONE as error:
        raise LaneLostError(str(error)) from error
    except UserError as error:
        raise getattr(error, "cause", error) from None
