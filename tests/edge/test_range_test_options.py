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


def test_a_network_that_raises_as_its_rate_grows_is_one_line(tmp_path):
    (tmp_path / "net.py").write_text(RAISES)
    name = f"{tmp_path / 'net.py'}:fragile"
    with pytest.raises(UserError, match=r"net.py:fragile raised as its learning rate grew: .*the loss left$"):
        range_test(RangeTestOptions(architecture=name, dataset="mnist-5k", train_images=500, seeds=(0,)))


RAISES = """
import jax
import jax.numpy as jnp
import numpy as np

from mnist_tune import Network


def fragile(data):
    def check(weights):
        if not np.abs(weights).max() < 0.2:
            raise FloatingPointError("the loss left")
        return np.float32(1)

    def apply(params, images):
        one = jax.pure_callback(check, jax.ShapeDtypeStruct((), "float32"), jax.lax.stop_gradient(params))
        return one * (images.reshape(len(images), -1) @ params)

    return Network(lambda key: 0.01 * jax.random.normal(key, (784, data.classes)), apply)
"""


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
