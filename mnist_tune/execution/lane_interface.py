"""What trains a trial, as the trial's process sees it: a lane of its own, or one on a server."""

from __future__ import annotations

from typing import Any, Protocol

from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig


class LaneInterface(Protocol):
    """Trains a trial, one epoch at a time: `OwnLane` in this process, or `LaneClient` on a lane server.

    A state is written in the background while the next epoch trains.
    """

    token: str
    """Proves to a server that this process holds its lane; empty if it holds none, or needs none."""

    def attach(self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None) -> None:
        """Take a lane for a trial, in its initial state or in a saved one.

        Raises:
            LaneLostError: the server, or the actor that assigns lanes, has died.
            UserError: the saved state does not fit, or the device is too small for a single lane.
        """

    def epoch(self, lane_id: str, state: Place) -> dict[str, Any]:
        """Train an epoch and return its row. If a save is due, begin it, once the last one has ended.

        Raises:
            LaneLostError: the lane is lost.
            UserError: the last save failed.
        """
        ...

    def save(self, lane_id: str, state: Place) -> None:
        """Wait until the state of the last epoch is at `state`.

        Raises:
            LaneLostError: the lane is lost.
            UserError: the state can't be written.
        """

    def detach(self, lane_id: str) -> None:
        """Free the lane, if this process holds one, and wait until its last save has ended."""
