"""The exponent of an edge in the width of a network."""

import math

import numpy as np
import pytest

from mnist_tune.regimes.measured_edge import Interval
from mnist_tune.regimes.widths import exponents


def within(rate, half_width=0.05):
    return Interval(rate * math.exp(-half_width), rate, rate * math.exp(half_width))


def law(name, widths, exponent, half_width=0.05):
    return [(name.replace("N", str(width)), within(3 * width**exponent, half_width)) for width in widths]


@pytest.mark.parametrize(
    "name", ["mlp-N-relu-he", "mlp-N-N-tanh, batch size 64, momentum 0.9", "net.py:mup(width=N, depth=3), mse"]
)
def test_a_power_law_has_its_exponent(name):
    [found] = exponents(law(name, (32, 64, 256, 1024), -0.5))
    assert found.title == name
    assert found.widths == (32, 64, 256, 1024)
    assert found.value == pytest.approx(-0.5)
    x = np.log(found.widths)
    assert found.half_width == pytest.approx(0.05 / math.sqrt(((x - x.mean()) ** 2).sum()))
    assert str(found) == "goes as width^-0.50 [-0.52, -0.48]; 4 widths from 32 to 1024, χ²/dof 0.0"


def test_networks_are_told_apart_by_all_but_their_width():
    deep, tanh = law("mlp-N-N-relu-he", (8, 16, 32), 0.1), law("mlp-N-tanh", (8, 16, 32), 1.0)
    others = [("mlp-1024-128-relu", within(1.0)), ("convnet", within(1.0)), ("net.py:mlp(layers=4)", within(1.0))]
    assert {one.title: round(one.value, 2) for one in exponents([*deep, *others, *tanh])} == {
        "mlp-N-N-relu-he": 0.1,
        "mlp-N-tanh": 1.0,
    }


def test_the_interval_holds_the_exponent_as_often_as_it_says():
    """Also where the points scatter by three times what their intervals say; then somewhat less often, as few points
    say how much they scatter."""
    rng = np.random.default_rng(0)
    for factor, low, high in ((1, 0.94, 1.0), (3, 0.85, 0.96)):
        held = 0
        for _ in range(400):
            noise = np.exp(factor * 0.1 / 1.96 * rng.normal(size=6))
            rates = law("mlp-N-tanh", (32, 64, 128, 256, 512, 1024), -0.6, 0.1)
            [found] = exponents(
                [(name, within(one.median * by, 0.1)) for (name, one), by in zip(rates, noise, strict=True)]
            )
            held += abs(found.value + 0.6) <= found.half_width
        assert low <= held / 400 <= high
