"""The exponent of an edge in the width of a network."""

import math

import numpy as np
import pytest

from mnist_tune.regimes.measured_edge import Interval
from mnist_tune.regimes.widths import exponents


def within(rate, half_width=0.05):
    return Interval(rate * math.exp(-half_width), rate, rate * math.exp(half_width))


def law(name, widths, exponent):
    """Return the edges of networks of these widths, of which the name has an N."""
    edges = []
    for width in widths:
        edge = within(3 * width**exponent)
        edges.append((name.replace("N", str(width)), edge))
    return edges


@pytest.mark.parametrize(
    "name",
    [
        "mlp-N-relu-he",
        "mlp-N-N-tanh, batch size 64, momentum 0.9",
        "net.py:mup(width=N, depth=3), mse",
    ],
)
def test_a_power_law_has_its_exponent(name):
    """Where the rates lie on a line, its interval is as wide as their own allow."""
    [exponent] = exponents(law(name, (32, 64, 256, 1024), -0.5))
    assert exponent.title == name
    assert exponent.widths == (32, 64, 256, 1024)
    assert exponent.value == pytest.approx(-0.5)
    x = np.log(exponent.widths)
    spread = math.sqrt(((x - x.mean()) ** 2).sum())
    assert exponent.half_width == pytest.approx(0.05 / spread)
    line = "goes as width^-0.50 [-0.52, -0.48]; 4 widths from 32 to 1024"
    assert str(exponent) == line


def test_networks_are_told_apart_by_all_but_their_width():
    deep = law("mlp-N-N-relu-he", (8, 16, 32), 0.1)
    tanh = law("mlp-N-tanh", (8, 16, 32), 1.0)
    names = ("mlp-1024-128-relu", "convnet", "net.py:mlp(layers=4)")
    lone = [(name, within(1.0)) for name in names]
    values = {}
    for exponent in exponents([*deep, *lone, *tanh]):
        values[exponent.title] = round(exponent.value, 2)
    assert values == {"mlp-N-N-relu-he": 0.1, "mlp-N-tanh": 1.0}


def drawn_edges(widths, factor, seeds, rng):
    """Return measured edges of a law whose widths each have an error of their own,
    which makes the spread `factor` times what intervals say."""
    error = 0.05 / 1.96
    edges = []
    for name, edge in law("mlp-N-tanh", widths, -0.6):
        own_error = error * math.sqrt(factor**2 - 1) * rng.normal()
        own = edge.median * math.exp(own_error)
        for _ in range(seeds):
            rate = own * math.exp(error * rng.normal())
            edges.append((name, within(rate)))
    return edges


FEW_WIDTHS = [(32, 128, 1024), (32, 64, 256, 1024)]


@pytest.mark.parametrize("widths", FEW_WIDTHS)
@pytest.mark.parametrize(("factor", "seeds"), [(1, 1), (3, 1), (3, 2)])
def test_the_interval_holds_the_exponent_as_often_as_it_says(widths, factor, seeds):
    """Also of few widths, and where what each of them has of its own is larger than the
    rates' intervals say."""
    rng = np.random.default_rng(0)
    rounds = 400
    right = 0
    for _ in range(rounds):
        [exponent] = exponents(drawn_edges(widths, factor, seeds, rng))
        error = abs(exponent.value + 0.6)
        right += error <= exponent.half_width
    assert right / rounds >= 0.93
