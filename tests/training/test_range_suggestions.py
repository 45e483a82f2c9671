"""The rules that finders use, on curves whose suggestion can be read off."""

import math
from dataclasses import replace

import numpy as np
import pytest
from kept_texts import assert_kept

from mnist_tune.training.range_suggestions import (
    FASTAI,
    LIGHTNING,
    OURS,
    RULES,
    Ramp,
    RangeCurve,
    slide,
    smoothed,
    suggestion,
    valley,
)

RATES = np.geomspace(1e-4, 10, 101)  # twenty points a decade


def curve(losses, ramp=FASTAI):
    return RangeCurve(ramp, np.asarray(losses, float))


def test_rules_on_a_valley():
    """A loss that is flat to 1e-2, falls evenly per decade to 1 at a rate of 1, and rises steeply after that."""
    x = np.log10(RATES)
    losses = np.where(x < -2, 2.0 + 0.001 * (x + 4), np.where(x < 0, 2 - 0.5 * (x + 2), 1 + 5 * x**2))
    found = {name: rule(RATES, losses) for name, (_, rule, _) in RULES.items()}
    assert found["fastai minimum/10"] == pytest.approx(0.1)
    assert -2 <= math.log10(found["fastai steep"]) < 0
    assert -2 <= math.log10(found["Lightning before 2.5.3"]) < 0
    assert found["Lightning from 2.5.3"] == pytest.approx(0.01, rel=0.15)  # per η, the same fall is steepest at small η
    assert valley(RATES, losses) == pytest.approx(0.1, rel=0.15)  # the falling points are those of 1e-2 to 1
    assert 0.1 < slide(RATES, losses) < 1


def test_each_rule_looks_at_the_points_that_its_library_looks_at():
    """The first ten are low, the last five before the blow-up fall ever faster, and of those from 10 to 50 two each are
    equal."""
    i = np.arange(100)
    losses = np.select(
        [i < 10, i < 50, i < 70, i < 80, i < 85],
        [1.0, 2.3 - 0.01 * (i // 2), 2.1 - 0.03 * (i - 49) - 0.05 * (i > 60), 1.3, 1.3 - 0.02 * (i - 79) ** 2],
        20.0,
    )
    found = {}
    for name, (ramp, _, _) in RULES.items():
        tested = RangeCurve(replace(ramp, smoothing=0.0), losses)
        assert tested.blow_up == tested.rates[85]
        said = suggestion(name, tested) * (10 if name == "fastai minimum/10" else 1)
        found[name] = int(np.abs(np.log(tested.rates / said)).argmin())
    assert found == {
        "fastai valley": 58,
        "fastai slide": 54,
        "fastai minimum/10": 80,
        "fastai steep": 69,
        "Lightning before 2.5.3": 84,
        "Lightning from 2.5.3": 12,
    }


def bent(n, *corners):
    """n losses on lines between corners (step, loss), with a wave that no two steps share."""
    steps, losses = zip(*corners, strict=True)
    return np.interp(np.arange(n), steps, losses) + 1e-4 * np.sin(np.arange(n) ** 2)


CURVES = {
    "falls and rises": bent(100, (0, 2.3), (30, 2.2), (60, 0.6), (75, 0.9), (99, 9.0)),
    "falls to the end": bent(100, (0, 2.3), (99, 1.0)),
    "falls at first": bent(100, (0, 9.0), (12, 2.3), (60, 2.2), (85, 1.0)),
    "two valleys": bent(100, (0, 2.3), (20, 1.0), (40, 2.0), (70, 0.5), (90, 2.6)),
    "leaves at once": bent(100, (0, 1.0), (1, 9.0), (99, 20.0)),
    "NaN": np.append(bent(60, (0, 2.3), (59, 0.5)), [math.nan, math.nan]),
    "infinity": np.append(bent(60, (0, 2.3), (59, 0.5)), math.inf),
    **{f"{n} points": bent(n, (0, 2.0), (n, 1.0)) for n in (1, 2, 11, 12, 13, 16, 17, 18, 30)},
}
ENDS = {
    "four times the least": [2.0, 1.0, 4.0],
    "more than four times the least": [2.0, 1.0, 4.001],
    "half-way to a guess": [2.0, 1.0, 1.5],
    "more than half-way to a guess": [2.0, 1.0, 1.501],
    "nine tenths of a guess": [2.0, 1.8, 1.95],
    "less than nine tenths of a guess": [2.0, 1.799, 1.95],
    "back to its least": [2.0, 1.0, 3.9, 1.0, 3.9, 4.1],
    "NaN at once": [math.nan, 1.0],
    "infinity at the end": [2.0, 1.0, math.inf],
}


def test_what_rules_make_of_curves():
    text = ""
    for name, ramp in {"ours": OURS, "fastai": FASTAI, "Lightning": LIGHTNING}.items():
        text += f"{name}: {ramp}, {ramp.rates[0]:.6g} to {ramp.rates[-1]:.6g}\n"
    for name, losses in CURVES.items():
        for smoothing in (0.0, 0.98)[: 1 + (len(losses) > 30)]:
            said = {rule: RangeCurve(replace(ramp, smoothing=smoothing), losses) for rule, (ramp, *_) in RULES.items()}
            text += f"{name}, smoothing {smoothing}: " + ", ".join(
                f"{rule} {suggestion(rule, curve) or math.nan:.4g}" for rule, curve in said.items()
            )
            for rule in ("fastai slide", "Lightning from 2.5.3"):
                points, end = len(said[rule].seen(*RULES[rule][2])[0]), "left" if said[rule].blew_up else "stayed"
                text += f", {rule.split()[0]} saw {points} and {end} at {said[rule].blow_up:.4g}"
            text += "\n"
    for name, losses in ENDS.items():
        for guess in (2.0, math.inf):
            found = RangeCurve(
                Ramp(1.0, 2.0 ** (len(losses) + 1), len(losses) + 1, 0.0), np.array([*losses, 1.0]), guess
            )
            text += f"{name}, a guess has {guess}: {'left' if found.blew_up else 'stayed'} at {found.blow_up:g}\n"
    smooth = [
        " ".join(f"{one:.4g}" for one in smoothed(np.array([1.0, 3.0, 2.0]), share)) for share in (0.0, 0.5, 0.98)
    ]
    assert_kept("suggested rates", f"{text}smoothed 1 3 2: {', '.join(smooth)}\n")


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
