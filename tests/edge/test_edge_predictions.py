"""What a search for edges asks the predictors, with a stand-in for Ray."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from mnist_tune import EdgeOptions, TrialConfig
from mnist_tune.edge import predictions as module
from mnist_tune.edge import predictors
from mnist_tune.execution.device_data import DeviceData
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


def test_a_predictor_looks_on_a_cpu_with_ones_own_code(monkeypatch):
    seen = []
    monkeypatch.setenv("JAX_PLATFORMS", "gpu")
    monkeypatch.setattr(module, "register_own", lambda code: seen.append(("code", code)))
    monkeypatch.setattr(module, "cache_folder", lambda: "the cache")

    def configure(settings):
        seen.append((os.environ["JAX_PLATFORMS"], settings.cache_dir))

    def put(data, *given):
        seen.append(given)
        return "on the device"

    monkeypatch.setattr(module, "configure_jax", configure)
    monkeypatch.setattr(DeviceData, "put", put)
    monkeypatch.setattr(predictors, "predict", lambda *given: given)
    dataset: Any = SimpleNamespace(spec="spec")
    config = TrialConfig(label_noise=3, holdout=5)
    found: Any = module._Predictor("own", dataset, config).predict(config)
    assert found == (config, "on the device", "spec")
    assert seen == [("cpu", "the cache"), ("code", "own"), (3, 5)]
