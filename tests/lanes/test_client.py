"""The lanes of a trial's process, when their server is gone."""

from unittest.mock import MagicMock

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, ActorUnschedulableError

from mnist_tune.lanes import client
from mnist_tune.lanes.client import LaneClient, LaneLostError
from mnist_tune.trial import TrialConfig


@pytest.mark.parametrize(
    "error", [ActorDiedError(), ActorUnavailableError("no answer", None), ActorUnschedulableError("its node died")]
)
def test_a_server_that_is_gone_is_a_lost_lane(error, monkeypatch, tmp_path):
    """Not a death of the trial's own process, of which Tune allows few."""

    def fail(*arguments, **fields):
        raise error

    lanes = LaneClient("prefix", [])
    lanes._server = MagicMock()
    monkeypatch.setattr(client.ray, "get", fail)
    for name in ("get_actor", "get_runtime_context"):
        monkeypatch.setattr(client.ray, name, MagicMock())
    monkeypatch.setattr(client.ray.util, "list_named_actors", lambda: ["prefix-1"])
    for call in (lambda: lanes.epoch("a", tmp_path), lambda: lanes.attach("a", TrialConfig())):
        with pytest.raises(LaneLostError):
            call()
