"""The losses, and what a constant guess loses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_tune.regimes.divergence import guess_loss
from mnist_tune.training.classifier import LOSSES

COUNTS = [3, 5, 2]


@pytest.mark.parametrize("loss", LOSSES)
def test_no_constant_guess_is_better_than_the_frequencies(loss):
    labels = np.repeat(np.arange(3), COUNTS)
    shares = np.float32(COUNTS) / sum(COUNTS)
    best = np.log(shares) if loss == "cross-entropy" else shares

    @jax.jit
    @jax.value_and_grad
    def loss_and_gradient(outputs):
        return LOSSES[loss](jnp.tile(outputs, (10, 1)), labels).mean()

    lost, gradient = loss_and_gradient(best)
    assert float(lost) == pytest.approx(guess_loss(COUNTS, loss), rel=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_half_the_squared_distance_from_the_label():
    outputs = jnp.array([[0.5, 2.0], [0.0, 1.0]])
    np.testing.assert_allclose(
        LOSSES["mse"](outputs, jnp.array([0, 1])), [(0.25 + 4) / 2, 0], rtol=1e-6
    )
