"""What predictors of the edge try and find, on losses whose answer is known; `tests/training/test_range_test.py` has
networks."""

import math
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from kept_texts import assert_kept

from mnist_tune.edge import predictors
from mnist_tune.edge.predictors import PREDICTORS, Bench, critical_rate, predict
from mnist_tune.training.range_suggestions import BLOW_UP, RULES
from mnist_tune.trial import TrialConfig

LOSSES: dict[str, Any] = {
    "never rises": lambda rate: 0.9,
    "stays as it was": lambda rate: 1.0,
    "always rises": lambda rate: 1.1,
    "is never finite": lambda rate: math.nan,
    "rises above 2": lambda rate: 0.5 if rate <= 2 else 2.0,
    "rises above 0.3": lambda rate: 0.5 if rate <= 0.3 else 2.0,
    "is infinite above 7": lambda rate: 0.5 if rate <= 7 else math.inf,
}


def made_up(images=60_000, **config):
    """A bench whose parts are stand-ins."""
    bench = object.__new__(Bench)
    bench.config = TrialConfig(**config)
    bench.data = SimpleNamespace(train_count=images, arrays="arrays")
    bench.spec = SimpleNamespace(label_counts=(50, 50))
    bench.program, bench.state, bench.hyper = "program", SimpleNamespace(params="params", extra="extra"), "hyper"
    return bench


def test_a_network_that_raises_at_a_large_rate_leaves_the_other_predictors_their_say(monkeypatch):
    def raises(bench, ramp=None):
        raise jax.errors.JaxRuntimeError(
            "INTERNAL: CpuCallback error: Traceback ...\nFloatingPointError: the loss left"
        )

    for name in ("__init__", "bracket", "critical", "classical"):
        monkeypatch.setattr(Bench, name, lambda *_: None if len(_) > 1 else 3.0)
    monkeypatch.setattr(Bench, "range_curve", raises)
    monkeypatch.setattr(predictors, "PREDICTORS", {BLOW_UP: raises, "steady": lambda bench: 3.0})
    found, raised = predict(TrialConfig(), "data", "spec")
    assert raised == "FloatingPointError: the loss left"
    assert {name: rate for name, rate in found.items() if rate} == {"steady": 3.0}


def test_what_predictors_try_and_find(monkeypatch):
    lines = []
    for name, loss in LOSSES.items():
        for start in (0.1, 64.0):
            tried = []

            def after(rate, tried=tried, loss=loss):
                tried.append(rate)
                return loss(rate)

            found = critical_rate(after, 1.0, start)
            shown = ", ".join(f"{rate:.4g}" for rate in (tried if len(tried) < 20 else (*tried[:2], tried[-1])))
            lines.append(f"from {start}, the loss {name}: {found:.4g} after {len(tried)} passes: {shown}")
    for images in (30, 500, 1300, 2000, 60_000):
        bench = made_up(images, batch_size=32, data_seed=3)
        monkeypatch.setattr(Bench, "_critical", lambda bench, order: order)
        for kind in (Bench.bracket, Bench.critical):
            order: Any = kind(bench)
            lines.append(f"{kind.__name__} of {images} images: {order.shape}, first {order.ravel()[:3].tolist()}")

    residuals = {16: 0.0101, 32: 0.5}

    def sharpness(*given):
        lines.append(f"  sharpness of {given[:4]}, {len(given[4])} images, {given[5]} products")
        return SimpleNamespace(value=4.0, residual=residuals[given[5]])

    monkeypatch.setattr(predictors, "_sharpness", sharpness)
    for config in ({}, {"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}, {"optimizer": "adam"}):
        lines.append(f"classical with {config}: {made_up(**config).classical():.4g}")
    residuals[16] = 0.01
    lines.append(f"classical of few images, at the bound: {made_up(900).classical():.4g}")

    def curve(*given):
        *others, ramp, images, guess = given
        lines.append(f"  range test {others[2:]} to {ramp.rates[-1]:.3g} of {images} images, guess {guess:.3f}")
        return SimpleNamespace(blow_up=0.7, ramp=ramp)

    monkeypatch.setattr(predictors, "range_curve", curve)
    monkeypatch.setattr(predictors, "suggestion", lambda name, found: found.ramp.last)
    lines.append(f"our own: {PREDICTORS[BLOW_UP](made_up(loss='mse'))}")
    lines.append(f"suggestions: {made_up(data_seed=4, loss='mse').suggestions()}")
    said = dict(zip([*PREDICTORS, *RULES], (0.5, 0.0, -1.0, math.nan, math.inf, None, 0.1), strict=False))
    known = {name: lambda bench, name=name: said[name] for name in PREDICTORS}
    monkeypatch.setattr(predictors, "PREDICTORS", known)

    def look(*given):
        lines.append(f"bench of {given}")
        return made_up()

    monkeypatch.setattr(predictors, "Bench", look)
    monkeypatch.setattr(Bench, "suggestions", lambda bench: {name: said.get(name, 0.3) for name in RULES})
    lines.append(f"of {said}")
    lines.append(f"is left {predict('config', 'data', 'spec')}")
    assert_kept("bench of predictors", "\n".join(lines) + "\n")


@pytest.mark.parametrize("curvature", [0.02, 1.0, 300.0])
def test_the_critical_rate_of_a_quadratic_is_2_over_its_curvature(curvature):
    """L = ½ λ θ² at θ = 1, with the step -η λ θ."""
    found = critical_rate(lambda rate: 0.5 * curvature * (1 - rate * curvature) ** 2, 0.5 * curvature, 0.1)
    assert found == pytest.approx(2 / curvature, rel=0.022)
    assert np.isfinite(found)
