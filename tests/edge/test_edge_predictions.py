"""What a search for edges asks the predictors, with a stand-in for Ray."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray
import ray.util

from mnist_tune import EdgeOptions
from mnist_tune.edge.predictions import predictions, processes


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


class Pool:
    def __init__(self, started):
        self.started = started

    def map(self, function, values):
        return [function(self.started[0], value) for value in values]


@pytest.mark.parametrize("cores", [3.0, 64.0])
def test_each_predictor_speaks_of_each_seed_in_order_and_silence_is_left_out(cluster, monkeypatch, cores):
    looks, started, killed = [], [], []

    def predict(config):
        looks.append(config)
        wide, seed = config.architecture == "mlp-8-tanh", config.seed
        return {"range test": 10.0 * wide + seed, "2/λ0": None if seed == 1 else 0.5, "silent": None}

    def start(code, data, like):
        started.append((data, like))
        return SimpleNamespace(number=len(started), predict=SimpleNamespace(remote=predict))

    cluster["CPU"] = cores
    monkeypatch.setattr(ray, "remote", lambda **of: lambda kind: SimpleNamespace(remote=start))
    monkeypatch.setattr(ray, "put", lambda value: f"a reference to {value}")
    monkeypatch.setattr(ray, "kill", lambda process: killed.append(process.number))
    monkeypatch.setattr(ray.util, "ActorPool", Pool)
    options = EdgeOptions(architecture=("mlp-4-tanh", "mlp-8-tanh"), predictor_seeds=3, quiet=True)
    templates = options.templates()
    assert predictions(options, templates, "the data") == [
        {"range test": [0.0, 1.0, 2.0], "2/λ0": [0.5, 0.5]},
        {"range test": [10.0, 11.0, 12.0], "2/λ0": [0.5, 0.5]},
    ]
    assert looks == [replace(one, seed=seed, data_seed=seed) for seed in range(3) for one in templates]
    assert started == [("a reference to the data", templates[0])] * min(int(cores), 6)
    assert killed == list(range(1, len(started) + 1))
