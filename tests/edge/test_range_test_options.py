"""Which images and seeds a range test trains on, and what it says of each."""

import pytest

from mnist_tune import Ramp, RangeTestOptions, UserError, range_test
from mnist_tune.training import check
from mnist_tune.tuning import options as options_module


def test_it_trains_on_the_images_asked_for(tmp_path, monkeypatch):
    class Loaded(Exception):
        pass

    def load(name, data_dir=None, standardize=False, train_images=None):
        raise Loaded(name, data_dir, standardize, train_images)

    monkeypatch.setattr(options_module, "load_dataset", load)
    options = RangeTestOptions(
        dataset="mnist", data_dir=tmp_path, standardize=True, train_images=300
    )
    with pytest.raises(Loaded) as loaded:
        range_test(options)
    assert loaded.value.args == ("mnist", tmp_path, True, 300)


def test_more_images_a_batch_than_there_are_is_one_line():
    with pytest.raises(
        UserError,
        match="100 training examples; --batch-size 128 is too large, give at most 100",
    ):
        range_test(RangeTestOptions(dataset="mnist-5k", train_images=100))


def test_a_network_that_raises_as_its_rate_grows_is_one_line(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(RAISES)
    options = RangeTestOptions(
        architecture=f"{file}:fragile", dataset="mnist-5k", train_images=500, seeds=(0,)
    )
    with pytest.raises(
        UserError,
        match=r"net.py:fragile raised as its learning rate grew: .*the loss left$",
    ):
        range_test(options)


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


def test_each_seed_has_a_curve_of_its_own_and_the_network_is_checked_once(
    mnist_5k, monkeypatch
):
    checked = []

    def check_program(trial, *_):
        checked.append(trial)

    monkeypatch.setattr(RangeTestOptions, "load", lambda *_: mnist_5k)
    monkeypatch.setattr(check, "_check_program", check_program)
    options = RangeTestOptions(
        architecture="mlp-4-tanh", momentum=0.9, batch_size=32, loss="mse", seeds=(3, 5)
    )
    curves = range_test(options).curves
    [trial] = checked
    assert trial.architecture == "mlp-4-tanh"
    assert trial.loss == "mse"
    first_losses = [curve.losses[0] for curve in curves]
    assert len(set(first_losses)) == 2
    assert all(curve.blew_up for curve in curves)
    short = range_test(options, Ramp(0.01, 0.1, 9, 0.5)).curves
    assert [len(curve.losses) for curve in short] == [9, 9]
    assert [curve.losses[0] for curve in short] == first_losses


def test_the_loss_is_that_of_the_sweep(
    new_writer, epoch_row, mnist_5k, tmp_path, monkeypatch
):
    monkeypatch.setattr(RangeTestOptions, "load", lambda *_: mnist_5k)
    writer = new_writer(tmp_path, count=1, architecture="mlp-4-tanh", loss="mse")
    writer.meta["dataset"]["checksums"] = mnist_5k.checksums
    writer.epoch("00000", epoch_row(1), False)
    writer.finish(ended="now")
    options = RangeTestOptions(sweep=tmp_path, seeds=(0,))
    tested = range_test(options, Ramp(0.01, 0.1, 9, 0.5))
    assert tested.loss == "mse"
