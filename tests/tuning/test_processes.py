"""How many trials run at a time, with a stand-in for Ray."""

import pytest
import ray

from mnist_tune import EdgeOptions
from mnist_tune.tuning.sweep import processes


@pytest.fixture
def cluster(monkeypatch):
    """The resources of the cluster's only node."""
    resources = {"CPU": 8.0}
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": resources}])
    return resources


@pytest.mark.parametrize(
    ("cores", "given", "running"),
    [
        (8.0, {}, 8),
        (8.0, {"cpus_per_trial": 3}, 2),
        (8.0, {"max_concurrent": 4}, 4),
        (2.0, {"max_concurrent": 4}, 2),
        (1.0, {"cpus_per_trial": 2}, 1),
    ],
)
def test_as_many_run_as_there_are_cores_for_or_as_are_allowed(cluster, cores, given, running):
    cluster["CPU"] = cores
    assert processes(EdgeOptions(**given)) == running
