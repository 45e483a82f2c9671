"""The lane servers that a sweep starts and stops, on a made-up cluster."""

from types import SimpleNamespace

import pytest
import ray

from mnist_tune.execution.lane_server import LaneServer
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.runtime import lane_servers
from mnist_tune.runtime.lane_servers import NODE_CHECK_S, LaneServers

SETTINGS = WorkerSettings("states")
FIRST, SECOND = "1" * 56, "2" * 56
"""Ids of nodes."""


@pytest.fixture
def cluster(monkeypatch):
    """A node with two devices of each kind. `made` holds the options and arguments of each actor, `killed` the dead."""
    node = {"NodeID": FIRST, "Alive": True, "Resources": {"CPU": 2.0, "GPU": 2.0}}
    found = SimpleNamespace(nodes=[node], made=[], killed=[], now=50.0)

    def remote(kind):
        assert kind is LaneServer
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda *of: make(options, of)))

    def make(options, arguments):
        found.made.append((options, arguments))
        return options["name"]

    monkeypatch.setattr(ray, "nodes", lambda: found.nodes)
    monkeypatch.setattr(ray, "remote", remote)
    monkeypatch.setattr(ray, "kill", found.killed.append)
    monkeypatch.setattr(lane_servers, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


@pytest.mark.parametrize(("device", "gpus"), [("CPU", 0), ("GPU", 1)])
def test_each_server_has_a_device_of_its_node_and_is_restarted_for_ever(cluster, device, gpus):
    LaneServers(SETTINGS, "prefix", 4, device).start()
    assert [options["name"] for options, _ in cluster.made] == ["prefix-111111111111-0", "prefix-111111111111-1"]
    for options, arguments in cluster.made:
        assert arguments == (SETTINGS, 4)
        assert (options["num_cpus"], options["num_gpus"], options["max_restarts"]) == (0, gpus, -1)
        assert options["scheduling_strategy"].node_id == FIRST
        assert options["scheduling_strategy"].soft is False


def test_new_nodes_are_looked_for_now_and_then_and_every_server_is_stopped(cluster):
    servers = LaneServers(SETTINGS, "prefix", 4, "GPU")
    servers.start()
    cluster.nodes.append({"NodeID": SECOND, "Alive": True, "Resources": {"CPU": 1.0, "GPU": 1.0}})
    cluster.nodes.append({"NodeID": "4" * 56, "Alive": True, "Resources": {"CPU": 1.0}})
    cluster.now += NODE_CHECK_S - 1
    servers.on_step_end(0, [])
    assert len(cluster.made) == 2
    cluster.now += 2
    servers.on_step_end(0, [])
    assert [options["name"] for options, _ in cluster.made[2:]] == ["prefix-222222222222-0"]
    cluster.nodes.append({"NodeID": "3" * 56, "Alive": True, "Resources": {"GPU": 1.0}})
    cluster.now += 1
    servers.on_step_end(0, [])
    assert len(cluster.made) == 3
    servers.stop()
    assert cluster.killed == [options["name"] for options, _ in cluster.made]
