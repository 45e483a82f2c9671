"""The client's side of a lane: where it attaches, and what it leaves behind."""

from types import SimpleNamespace

import pytest
from ray.exceptions import ActorUnavailableError

from mnist_tune.lanes import client as module
from mnist_tune.lanes.client import LaneClient, LaneLostError, LanesFullError
from mnist_tune.trial import TrialConfig

SMALL = TrialConfig(architecture="mlp-8-tanh")


class Server:
    """Made up. Lanes by trial, each with its client's token; `says` is raised in place of an answer, though what was
    asked is done."""

    def __init__(self):
        self.lanes, self.says = {}, None
        for name in ("attach", "epoch", "detach"):
            setattr(self, name, SimpleNamespace(remote=getattr(self, f"_{name}")))

    def _attach(self, lane, token, *arguments):
        self.lanes[lane] = token
        return self.says

    def _epoch(self, lane, token, path):
        return self.says or {"token": token}

    def _detach(self, lane, token):
        if self.lanes.get(lane) == token:
            del self.lanes[lane]


def get(answer):
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture
def servers(monkeypatch):
    """Two, in the order in which clients turn to them."""
    servers = [Server(), Server()]
    context = SimpleNamespace(current_actor=None)
    monkeypatch.setattr(module, "ray", SimpleNamespace(get=get, get_runtime_context=lambda: context))
    monkeypatch.setattr(LaneClient, "_servers", lambda self, lane_id: servers)
    return servers


def test_a_client_that_moves_on_while_attaching_does_not_hold_the_lane_that_it_may_have_left(servers):
    servers[0].says = ActorUnavailableError("out of reach", b"0" * 16)
    client = LaneClient("lanes", [])
    client.attach("a", SMALL)
    assert servers[1].lanes == {"a": client.token}
    assert servers[0].lanes["a"] != client.token


def test_a_client_that_moves_on_while_training_does_not_hold_the_lane_that_it_left(servers, tmp_path):
    client = LaneClient("lanes", [])
    client.attach("a", SMALL)
    servers[0].says = ActorUnavailableError("out of reach", b"0" * 16)
    with pytest.raises(LaneLostError):
        client.epoch("a", tmp_path)
    client.attach("a", SMALL)
    assert servers[1].lanes == {"a": client.epoch("a", tmp_path)["token"]} == {"a": client.token}
    assert servers[0].lanes["a"] != client.token


def test_a_client_that_detached_holds_no_lane(servers):
    client = LaneClient("lanes", [])
    client.attach("a", SMALL)
    client.detach("a")
    assert servers[0].lanes == {}
    assert client.token == ""


def test_a_full_server_is_passed_over(servers):
    servers[0].says = LanesFullError("full")
    client = LaneClient("lanes", [])
    client.attach("a", SMALL)
    assert servers[1].lanes.keys() == {"a"}
    servers[1].says = LanesFullError("full")
    with pytest.raises(LaneLostError):
        client.attach("a", SMALL)
