"""The lanes of a trial's process, when their server is gone."""

from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from mnist_tune.execution import lane_client
from mnist_tune.execution.checkpoint import DeviceFullError, LanesFullError
from mnist_tune.execution.lane_client import LaneClient, LaneLostError
from mnist_tune.execution.program_error import ProgramError
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning import trainable
from mnist_tune.tuning.trainable import LANE_TIMEOUT_S


def test_a_trial_that_gets_no_lane_gives_up_after_a_while(monkeypatch, tmp_path):
    """Tune starts it again, perhaps on another node."""
    lost = LaneLostError("the server died")
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds
        assert now[0] < 2 * LANE_TIMEOUT_S, "it still waits"

    monkeypatch.setattr(
        trainable, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    )
    trial = object.__new__(trainable.TrialTrainable)
    trial._lane_id = "a"
    trial._config = TrialConfig()
    trial._loaded = None
    trial._attached = False
    trial._state = tmp_path / "a.npz"
    trial._pool = MagicMock()
    trial._pool.attach.side_effect = lost
    with pytest.raises(LaneLostError, match="the server died"):
        trial._epoch()
    assert now[0] == pytest.approx(LANE_TIMEOUT_S, abs=2)


class Server:
    """Answers `attach` with these errors, one after another, and then with success. A
    call is a function, which the test's `ray.get` calls."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.called = []
        self.attach = SimpleNamespace(remote=partial(partial, self._attach))
        self.detach = SimpleNamespace(remote=partial(partial, self._detach))

    def _attach(self, lane_id, token, *_):
        self.called.append(("attach", lane_id, token))
        if self.errors:
            cause = self.errors.pop(0)
            error = RayTaskError("attach", "Traceback: ...", cause)
            raise error.as_instanceof_cause()

    def _detach(self, *arguments):
        self.called.append(("detach", *arguments))


@pytest.fixture
def lanes(monkeypatch):
    """A client, and the list of the servers that its directory assigns, one after
    another."""
    monkeypatch.setattr(lane_client.ray, "get_runtime_context", MagicMock())
    monkeypatch.setattr(lane_client.ray, "get", lambda made: made())
    client = LaneClient(MagicMock(), ["a reference"])
    assigned = []
    monkeypatch.setattr(lane_client, "time", MagicMock())
    client._directory.assign.remote = lambda *_: partial(assigned.pop, 0)
    return client, assigned


def test_a_trial_waits_for_a_lane_and_frees_it_once(lanes):
    lanes, assigned = lanes
    server = Server(LanesFullError("full"), DeviceFullError("no memory"))
    waited: Any = lane_client.time.sleep
    assigned += [None, server, server, server, server]
    lanes.attach("a", TrialConfig())
    token = lanes.token
    for _ in range(2):
        lanes.detach("a")
    *refused, attached, detached = server.called
    assert [attached, detached] == [("attach", "a", token), ("detach", "a", token)]
    # a new one for each attempt
    assert len({token, "", *(used for *_, used in refused)}) == 4
    lanes._directory.full.remote.assert_called_once_with("a")
    lanes._directory.lost.remote.assert_not_called()
    assert lanes.token == ""
    assert waited.call_args_list == [((1.0,),)]  # only where a lane was still held
    lanes.attach("a", TrialConfig())
    server.detach.remote = MagicMock(**{"return_value.side_effect": ActorDiedError()})
    lanes.detach("a")  # a dead server is left in peace
    assert server.detach.remote.call_count == 1


def test_the_directory_hears_of_a_server_that_is_gone_and_of_a_lane_that_is_not_used(
    lanes,
):
    lanes, assigned = lanes
    assigned += [Server(ProgramError("TypeError: my network takes no key"))]
    with pytest.raises(ProgramError, match=r"^TypeError: my network takes no key$"):
        lanes.attach("a", TrialConfig())
    lanes._directory.free.remote.assert_called_once_with("a", lanes.token)
    gone = MagicMock()
    gone.attach.remote.return_value.side_effect = ActorDiedError()
    assigned += [gone]
    with pytest.raises(LaneLostError):
        lanes.attach("a", TrialConfig())
    lanes._directory.lost.remote.assert_called_once_with("a")
