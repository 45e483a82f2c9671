"""The device that trials train on, on made-up clusters."""

from types import SimpleNamespace

import pytest
from kept_texts import assert_kept
from shortened import shortened

from mnist_tune.runtime import placement
from mnist_tune.runtime.placement import find_device


@pytest.fixture
def cluster(monkeypatch):
    """A function that sets the resources of the cluster, the memory of its GPU for JAX, and how a task ends."""
    asked = []
    context = SimpleNamespace(get_node_id=lambda: "here")
    monkeypatch.setattr(placement.ray, "get_runtime_context", lambda: context)

    def run(function, resources, timeout, late):
        asked.append((resources, timeout, late))
        return memory.pop() if "num_gpus" in resources else None

    memory = []

    def be(resources, gpu_memory=None):
        memory.append(gpu_memory)
        monkeypatch.setattr(placement.ray, "cluster_resources", lambda: resources)
        monkeypatch.setattr(placement, "_on_a_node", run)
        placement._gpu_memory.cache_clear()
        return asked

    yield be
    placement._gpu_memory.cache_clear()


CLUSTERS: list[tuple[dict[str, float], float | None]] = [
    ({"CPU": 4.0, "memory": 1e10}, None),
    ({"CPU": 0.5, "memory": 1e10}, None),
    ({"memory": 1e10}, None),
    ({"CPU": 4.0, "memory": 1e10, "GPU": 0.0}, 5e9),
    ({"CPU": 4.0, "memory": 1e10, "GPU": 2.0}, 5e9),
    ({"CPU": 4.0, "memory": 1e10, "GPU": 2.0}, None),
    ({"memory": 1e10, "GPU": 2.0}, 5e9),
]


def test_the_device_of_a_cluster(cluster, capsys):
    """It is looked for twice, and asks for the memory of a GPU once."""
    lines = []
    for resources, memory in CLUSTERS:
        asked = cluster(resources, memory)
        found = find_device(quiet=False)
        lines += [f"{resources}, of a GPU {memory}: {found}", *map(str, asked), *capsys.readouterr().err.splitlines()]
        asked.clear()
        assert find_device(quiet=True) == found
        assert all("num_gpus" not in wanted for wanted, *_ in asked)
        assert capsys.readouterr().err == ""
        asked.clear()
    assert_kept("devices", "\n".join(shortened(lines)))
