"""The rules that finders use, on curves whose suggestion can be read off."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnist_tune.regimes.predictor_factors import by_predictor
from mnist_tune.regimes.range_suggestions import (
    BLOW_UP,
    EDGE_OVER,
    FASTAI,
    OURS,
    RULES,
    Ramp,
    RangeCurve,
    slide,
    smoothed,
    steep,
    steepest,
    steepest_step,
    suggestion,
    tenth_of_minimum,
    valley,
)

RATES = np.geomspace(1e-4, 10, 101)  # twenty points a decade


def curve(losses, ramp=FASTAI):
    return RangeCurve(ramp, np.asarray(losses, float))


def test_the_smoothed_loss_is_corrected_for_its_start():
    np.testing.assert_allclose(smoothed(np.full(9, 2.5), 0.98), 2.5)
    np.testing.assert_allclose(smoothed(np.array([1.0, 3.0]), 0.5), [1, (0.25 + 1.5) / 0.75])


def test_rules_on_a_valley():
    """A loss that is flat to 1e-2, falls evenly per decade to 1 at a rate of 1, and rises steeply after that."""
    x = np.log10(RATES)
    losses = np.where(x < -2, 2.0 + 0.001 * (x + 4), np.where(x < 0, 2 - 0.5 * (x + 2), 1 + 5 * x**2))
    assert tenth_of_minimum(RATES, losses) == pytest.approx(0.1)
    assert -2 <= math.log10(steep(RATES, losses)) < 0
    assert -2 <= math.log10(steepest_step(RATES, losses)) < 0
    assert steepest(RATES, losses) == pytest.approx(0.01, rel=0.15)  # per η, the same fall is steepest at small η
    assert valley(RATES, losses) == pytest.approx(0.1, rel=0.15)  # the falling points are those of 1e-2 to 1
    assert 0.1 < slide(RATES, losses) < 1


def test_the_blow_up_is_where_the_smoothed_loss_is_four_times_its_least():
    ramp = Ramp(1e-3, 1.0, 300, 0.0)
    losses = np.where(np.arange(300) < 200, 0.5, 2.01)
    assert curve(losses, ramp).blow_up == pytest.approx(ramp.rates[200])
    assert curve(losses, ramp).blew_up
    losses[200:] = math.nan
    assert curve(losses, ramp).blow_up == pytest.approx(ramp.rates[200])
    calm = curve(np.linspace(2, 1, 300), ramp)
    assert calm.blow_up == ramp.rates[-1]
    assert not calm.blew_up


@pytest.mark.parametrize("ramp", [OURS, FASTAI])
@pytest.mark.parametrize(
    "losses",
    [
        [2.3], [math.nan], [2.3, math.nan, math.nan], [2.3] * 100, [2.3, math.inf], [1e300] * 30 + [-1e300] * 30,
        [*np.linspace(2, 1, 50), math.inf, math.nan], list(np.linspace(2, 1, 12)), [0.0] * 40,
    ],
)  # fmt: skip
def test_no_suggestion_is_ever_nan(losses, ramp):
    found = curve(losses, ramp)
    for name in RULES:
        said = suggestion(name, found)
        assert said is None or (math.isfinite(said) and said > 0)
    assert math.isfinite(found.blow_up)


def test_how_far_edges_are_is_what_the_record_says():
    *_, record = sorted((Path(__file__).parents[2] / "benchmarks" / "records").glob("*predictors*.csv"))
    found = by_predictor(pd.read_csv(record))
    for rule, said in EDGE_OVER.items():
        measured = 1 / found.loc[rule, ["most", "median", "least"]]
        assert list(said) == pytest.approx(list(measured), rel=0.06), rule
    assert EDGE_OVER.keys() == {BLOW_UP, *RULES}


def test_a_predictor_that_is_too_high_here_and_too_low_there_is_off_by_as_much():
    rows = [("wild", "a", 8.0), ("wild", "b", 1 / 8), ("tame", "a", 2.0), ("tame", "b", 2.0)]
    table = pd.DataFrame([{"predictor": p, "network": n, "log2": np.log2(factor)} for p, n, factor in rows])
    assert by_predictor(table)["off"].to_dict() == {"tame": 1.0, "wild": 3.0}
