"""Which images and seeds a range test trains on, and what it says of each."""

from types import SimpleNamespace

import pytest

from mnist_tune import RangeTestOptions, TrialConfig, UserError, range_test
from mnist_tune.edge import predictors
from mnist_tune.edge import range_test as module
from mnist_tune.edge.range_test import RangeTest
from mnist_tune.execution import device_data
from mnist_tune.training import network_check


def test_it_trains_on_the_images_asked_for(tmp_path, monkeypatch):
    class Loaded(Exception):
        pass

    def load(name, data_dir=None, progress=True, standardize=False, train_images=None):
        raise Loaded(name, data_dir, standardize, train_images)

    monkeypatch.setattr(module, "load_dataset", load)
    options = RangeTestOptions(dataset="mnist", data_dir=tmp_path, standardize=True, train_images=300)
    with pytest.raises(Loaded) as loaded:
        range_test(options)
    assert loaded.value.args == ("mnist", tmp_path, True, 300)


def test_more_images_a_batch_than_there_are_is_one_line():
    with pytest.raises(UserError, match=r"mnist-5k has 100 training images; batch_size=128, .* don't fit"):
        range_test(RangeTestOptions(dataset="mnist-5k", train_images=100))


def test_each_seed_is_checked_once_and_tested_with_an_order_of_its_own(mnist_5k, monkeypatch):
    loaded, checked, tested = [], [], []

    def bench(trial, data, spec):
        tested.append((trial, data, spec))
        said = {"range test": 0.1 * trial.seed, "fastai steep": None}
        return SimpleNamespace(suggestions=lambda: said, range_curve=lambda: f"curve {trial.seed}")

    monkeypatch.setattr(module, "load_own", loaded.append)
    monkeypatch.setattr(module, "load_dataset", lambda *_: mnist_5k)
    monkeypatch.setattr(module, "configure_jax", lambda settings: None)
    monkeypatch.setattr(network_check, "check", lambda trial, spec, *images: checked.append((trial, spec)))
    monkeypatch.setattr(device_data.DeviceData, "put", lambda dataset, noise, holdout: (dataset, noise, holdout))
    monkeypatch.setattr(predictors, "Bench", bench)
    fields = {"architecture": "mlp-4-tanh", "momentum": 0.9, "batch_size": 32, "loss": "mse"}
    options = RangeTestOptions(seeds=(3, 5), **fields)
    found = range_test(options)
    trials = [TrialConfig(seed=seed, data_seed=seed, **fields) for seed in (3, 5)]
    assert loaded == [options]
    assert checked == [(trials[0], mnist_5k.spec)]
    assert tested == [(trial, (mnist_5k, 0, 0), mnist_5k.spec) for trial in trials]
    suggestions = {"range test": (0.1 * 3, 0.1 * 5), "fastai steep": (None, None)}
    assert found == RangeTest("mlp-4-tanh", ("curve 3", "curve 5"), suggestions)
    with pytest.raises(UserError, match="--seeds needs at least one value; the list is empty"):
        RangeTestOptions(seeds=())
