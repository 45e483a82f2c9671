"""The exponent of an edge in the width of a network."""

import math

import numpy as np
import pytest

from mnist_tune.regimes.measured_edge import Interval
from mnist_tune.regimes.widths import exponents


def within(rate, half_width=0.05):
    return Interval(rate * math.exp(-half_width), rate, rate * math.exp(half_width))


def law(name, widths, exponent, half_width=0.05):
    return [
        (name.replace("N", str(width)), within(3 * width**exponent, half_width))
        for width in widths
    ]


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
    [found] = exponents(law(name, (32, 64, 256, 1024), -0.5))
    assert found.title == name
    assert found.widths == (32, 64, 256, 1024)
    assert found.value == pytest.approx(-0.5)
    x = np.log(found.widths)
    assert found.half_width == pytest.approx(
        0.05 / math.sqrt(((x - x.mean()) ** 2).sum())
    )
    assert str(found) == "goes as width^-0.50 [-0.52, -0.48]; 4 widths from 32 to 1024"


def test_networks_are_told_apart_by_all_but_their_width():
    deep, tanh = (
        law("mlp-N-N-relu-he", (8, 16, 32), 0.1),
        law("mlp-N-tanh", (8, 16, 32), 1.0),
    )
    others = [
        ("mlp-1024-128-relu", within(1.0)),
        ("convnet", within(1.0)),
        ("net.py:mlp(layers=4)", within(1.0)),
    ]
    assert {
        one.title: round(one.value, 2) for one in exponents([*deep, *others, *tanh])
    } == {"mlp-N-N-relu-he": 0.1, "mlp-N-tanh": 1.0}


@pytest.mark.parametrize("widths", [(32, 128, 1024), (32, 64, 256, 1024)])
@pytest.mark.parametrize(("factor", "seeds"), [(1, 1), (3, 1), (3, 2)])
def test_the_interval_holds_the_exponent_as_often_as_it_says(widths, factor, seeds):
    """Also of few widths, and where what each of them has of its own is larger than the
    rates' intervals say."""
    rng, rounds, held = np.random.default_rng(0), 400, 0
    for _ in range(rounds):
        rates = []
        for name, rate in law("mlp-N-tanh", widths, -0.6):
            own = rate.median * math.exp(
                0.05 / 1.96 * math.sqrt(factor**2 - 1) * rng.normal()
            )
            rates += [
                (name, within(own * math.exp(0.05 / 1.96 * rng.normal())))
                for _ in range(seeds)
            ]
        [found] = exponents(rates)
        held += abs(found.value + 0.6) <= found.half_width
    assert held / rounds >= 0.93
