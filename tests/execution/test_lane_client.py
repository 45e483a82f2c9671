"""The lanes of a trial's process, when their server is gone."""

from unittest.mock import MagicMock

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, ActorUnschedulableError, RayTaskError

from mnist_tune.errors import UserError
from mnist_tune.execution import lane_client
from mnist_tune.execution.lane_client import LaneClient, LaneLostError
from mnist_tune.trial import TrialConfig


def test_what_a_server_refuses_is_told_in_its_own_words(monkeypatch, tmp_path):
    def refuse(*arguments):
        raise RayTaskError("epoch", "Traceback: ...", UserError("the disk is full")).as_instanceof_cause()

    lanes = LaneClient("prefix", [])
    lanes._server = MagicMock()
    monkeypatch.setattr(lane_client.ray, "get", refuse)
    with pytest.raises(UserError, match=r"^the disk is full$"):
        lanes.epoch("a", tmp_path)


@pytest.mark.parametrize(
    "error", [ActorDiedError(), ActorUnavailableError("no answer", None), ActorUnschedulableError("its node died")]
)
def test_a_server_that_is_gone_is_a_lost_lane(error, monkeypatch, tmp_path):
    """Not a death of the trial's own process, of which Tune allows few."""

    def fail(*arguments, **fields):
        raise error

    lanes = LaneClient("prefix", [])
    lanes._server = MagicMock()
    monkeypatch.setattr(lane_client.ray, "get", fail)
    for name in ("get_actor", "get_runtime_context"):
        monkeypatch.setattr(lane_client.ray, name, MagicMock())
    monkeypatch.setattr(lane_client.ray.util, "list_named_actors", lambda: ["prefix-1"])
    for call in (lambda: lanes.epoch("a", tmp_path), lambda: lanes.attach("a", TrialConfig())):
        with pytest.raises(LaneLostError):
            call()
