"""The lanes of a trial's process, when their server is gone."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, ActorUnschedulableError, RayTaskError

from mnist_tune.errors import UserError
from mnist_tune.execution import lane_client
from mnist_tune.execution.lane_client import LaneClient, LaneLostError, LanesFullError
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning import trainable
from mnist_tune.tuning.trainable import LANE_TIMEOUT_S


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


def test_a_trial_that_gets_no_lane_gives_up_after_a_while(monkeypatch, tmp_path):
    """Tune starts it again, perhaps on another node."""
    lost, now = LaneLostError("no lane server has room or answers"), [0.0]

    def sleep(seconds):
        now[0] += seconds
        assert now[0] < 2 * LANE_TIMEOUT_S, "it still waits"

    monkeypatch.setattr(trainable, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    trial = object.__new__(trainable.TrialTrainable)
    trial._lane_id, trial._config, trial._loaded, trial._attached = "a", TrialConfig(), None, False
    trial._state, trial._pool = tmp_path / "a.npz", MagicMock()
    trial._pool.attach.side_effect = lost
    with pytest.raises(LaneLostError, match="no lane server has room"):
        trial._epoch()
    assert now[0] == pytest.approx(LANE_TIMEOUT_S, abs=2)


class Server:
    """Takes note of its calls. A call that is made is a function, which the test's `ray.get` calls."""

    def __init__(self, load, full=False):
        self.called = []
        self.load = SimpleNamespace(remote=lambda: lambda: load)
        self.detach = SimpleNamespace(remote=lambda *arguments: self.called.append(("detach", *arguments)))
        self.attach = SimpleNamespace(remote=lambda *arguments: lambda: self._attach(full, *arguments[:2]))

    def _attach(self, full, lane_id, token):
        self.called.append(("attach", lane_id, token))
        if full:
            raise RayTaskError("attach", "Traceback: ...", LanesFullError("full")).as_instanceof_cause()


def test_the_server_with_the_fewest_lanes_that_has_room_is_taken(monkeypatch):
    busy, full, free = Server(load=3), Server(load=1, full=True), Server(load=2)
    servers = {"prefix-1": busy, "prefix-2": free, "prefix-3": full, "another": Server(load=0)}
    monkeypatch.setattr(lane_client.ray.util, "list_named_actors", lambda: list(servers))
    monkeypatch.setattr(lane_client.ray, "get_actor", servers.get)
    monkeypatch.setattr(lane_client.ray, "get_runtime_context", MagicMock())
    monkeypatch.setattr(lane_client.ray, "get", lambda made, timeout=None: made())
    lanes = LaneClient("prefix", [])
    lanes.attach("a", TrialConfig())
    token = lanes.token
    lanes.detach("a")
    lanes.detach("a")
    assert free.called == [("attach", "a", token), ("detach", "a", token)]
    [(_, _, refused)] = full.called
    assert refused not in (token, "")
    assert busy.called == servers["another"].called == []
    assert lanes.token == ""
    del servers["prefix-1"], servers["prefix-2"]
    with pytest.raises(LaneLostError, match="no lane server has room"):
        lanes.attach("a", TrialConfig())
    assert lanes.token == ""
