"""The sides of the benchmarks do the same work."""

from functools import cache

import jax
import pytest

from benchmarks.sides.notebook import Notebook
from benchmarks.sides.ours import Ours
from benchmarks.sides.setting import Setting
from benchmarks.sides.sweep_work import Driver, Epoch, Outcome
from benchmarks.sweep_throughput import figures
from mnist_tune.machine import usable_cpus


def pytorch(setting):
    pytest.importorskip("torch")
    from benchmarks.sides.pytorch import PyTorch

    return PyTorch(setting)


@pytest.fixture(scope="module")
def after_an_epoch(mnist_5k):
    """A function that trains a side, and returns its accuracies."""

    @cache
    def train(make, name):
        side = make(Setting(name, 0.1, 128, mnist_5k))
        side.compile()
        side.train(0)
        return side.evaluate()

    return train


@pytest.mark.parametrize("other", [Notebook, pytorch])
def test_sides_train_the_same(after_an_epoch, other):
    with jax.numpy_rank_promotion("allow"):  # as the notebook adds its biases
        accuracies = [after_an_epoch(make, "mlp-16-relu") for make in (Ours, other)]
    # They differ by rounding alone, which an image at the edge of two classes may feel: one in a thousand.
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.0015)
    assert accuracies[0][0] > 0.2  # twice chance: there was training to compare


def test_a_restart_forgets_the_training(mnist_5k):
    side = Ours(Setting("mlp-16-tanh", 0.1, 128, mnist_5k))
    side.compile()
    untrained = side.evaluate()
    side.train(0)
    assert side.evaluate() != untrained
    side.restart(0.2)
    assert side.evaluate() == untrained


def test_figures_of_a_sweep():
    """Two trials a core: each reports between 10 s and 11 s, and again two seconds later."""
    trials = 2 * usable_cpus()
    first = [Epoch(0.5, 10 + i / trials, 0.8, str(i)) for i in range(trials)]
    second = [Epoch(0.5, 12 + i / trials, 0.9, str(i)) for i in range(trials)]
    found = figures("process", 20.0, 100.0, Outcome(first + second, Driver(0.04, 2 * trials)))
    last = 13 - 1 / trials
    assert found["trial_epochs_per_s"] == 2 * trials / 20
    assert found["after_start_per_s"] == pytest.approx((2 * trials - 1) / (last - 10))
    full = 10 + (usable_cpus() - 1) / trials  # when as many trials have reported as there are cores
    assert found["steady_per_s"] == pytest.approx((2 * trials - usable_cpus()) / (last - full))
    assert found["driver_ms"] == pytest.approx(40 / (2 * trials))
    assert found["test_accuracy"] == pytest.approx(0.85)
