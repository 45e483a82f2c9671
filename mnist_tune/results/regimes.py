"""From curves to regimes: converged, slow, oscillating, diverged, underfit, overfit or undecided.

There are two levels. `curve_regime` labels a trial by its own curve. `label_siblings` then uses what a curve
alone cannot tell: an architecture of which some trial reached the target is not too small. Each label comes
with the numbers that decided it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.training.divergence import CHANCE_ACCURACY

COLOURS = {
    "converged": "#2a9d3a",
    "slow": "#3a76c4",
    "oscillating": "#e0a100",
    "diverged": "#d1342f",
    "underfit": "#7a5195",
    "overfit": "#c2548f",
    "undecided": "#8a8a8a",
}
"""A colour for each regime, the same in tables and figures."""

REGIMES = tuple(COLOURS)

TARGET_ACCURACY = 0.95
"""A network that learned MNIST is above this; of the notebook's curves, those that failed ended below 0.87."""

MINIMUM_EPOCHS = 3
"""Fewer epochs show neither a trend nor a repeated spike."""

ACCURACY_DROP = 0.015
"""A fall of the training accuracy from an epoch to the next that calm training does not show: at rate 1.6 the
notebook fell by 0.016, 0.019 and 0.054, in its calm runs by less than 0.004."""

OSCILLATIONS = 2
"""Spikes or drops, from the second epoch on, that make a curve oscillating. One is an accident: at rate 1.0
all seeds spike in the first epoch and some once more, then stay calm."""

OVERFIT_DROP = 0.01
"""Fall of the held-out accuracy below its best, while the training accuracy rose as much, that is overfitting;
the test error's own spread (10,000 images) is 0.002 to 0.004."""

PLATEAU_RATE = 0.03
"""Relative fall of the training error an epoch below which a curve has levelled off: the notebook's slow run
still fell by 4.7%, its underfit run by 1.7%, over their last three epochs."""

PLATEAU_SHARE = 0.15
"""A levelled curve made less than this share of its gain in its last three epochs; one that has barely begun
to learn made a third."""


@dataclass(frozen=True)
class Curve:
    """A trial's epochs, arrays of equal length; what was not measured is None.

    Losses in nats, accuracies as fractions; `held_out` is the accuracy on held-out images, validation where
    there is a split, else test.
    """

    held_out: np.ndarray
    epochs_asked: int
    train_accuracy: np.ndarray | None = None
    train_loss: np.ndarray | None = None
    step_loss_max: np.ndarray | None = None
    diverged: np.ndarray | None = None
    untrained_loss: float | None = None
    above_since: int | None = None

    @classmethod
    def of(cls, epochs: pd.DataFrame, epochs_asked: int) -> Curve:
        """From a trial's rows of the epochs table, in order."""
        return cls.cut(_columns(epochs), slice(None), epochs_asked)

    @classmethod
    def cut(cls, columns: Mapping[str, np.ndarray], rows: slice | np.ndarray, epochs_asked: int) -> Curve:
        """From some rows of the `_columns` of many trials: pandas would take a millisecond a trial."""

        def measured(name: str) -> np.ndarray | None:
            found = columns[name][rows]
            return None if np.isnan(found).all() else found

        validation, test = measured("validation_accuracy"), measured("test_accuracy")
        held_out = validation if validation is not None else test
        untrained, since = columns["untrained_loss"][rows], columns["above_since"][rows]
        return cls(
            held_out=np.array([]) if held_out is None else held_out,
            epochs_asked=epochs_asked,
            train_accuracy=measured("train_accuracy"),
            train_loss=columns["train_loss"][rows],
            step_loss_max=measured("step_loss_max"),
            diverged=columns["diverged"][rows].astype(bool),
            untrained_loss=float(untrained[-1]) if len(untrained) else None,
            above_since=int(since[-1]) if len(since) and np.isfinite(since[-1]) else None,
        )

    @property
    def accuracy(self) -> np.ndarray:
        """On the training set where it is known, else held out."""
        return self.held_out if self.train_accuracy is None else self.train_accuracy

    @property
    def epochs(self) -> int:
        return len(self.held_out)


def curve_regime(curve: Curve, target: float = TARGET_ACCURACY) -> tuple[str, str]:
    """The regime that a trial's own curve shows, and the numbers that decided it."""
    if not curve.epochs:
        return "undecided", "no epoch finished"
    for rule in (_diverged, _oscillating, _overfit):
        evidence = rule(curve)
        if evidence:
            return rule.__name__.strip("_"), evidence
    final = curve.accuracy[-1]
    if final >= target:
        return "converged", f"accuracy {final:.4f} >= {target:g}{_early_spike(curve)}"
    if curve.epochs < MINIMUM_EPOCHS:
        return "undecided", f"{curve.epochs} epoch{'s' * (curve.epochs > 1)}, accuracy {final:.4f}: too few to tell"
    return _slow_or_underfit(curve, target)


def _diverged(curve: Curve) -> str:
    loss, untrained = curve.train_loss, curve.untrained_loss
    if curve.diverged is None or loss is None or untrained is None:
        top = curve.accuracy.max()
        at_chance = curve.epochs >= MINIMUM_EPOCHS and top <= CHANCE_ACCURACY
        return f"accuracy never above {top:.4f}, chance is 0.10" if at_chance else ""
    ended_above = curve.epochs == curve.epochs_asked and loss[-1] > untrained
    if not curve.diverged[-1] and not ended_above:
        return ""
    where = f", above since step {curve.above_since}" if curve.above_since else ""
    return f"training loss {loss[-1]:.3g} against {untrained:.3g} of the untrained network{where}"


def _oscillating(curve: Curve) -> str:
    accuracy = curve.accuracy
    drops = accuracy[1:] < accuracy[:-1] - ACCURACY_DROP
    spikes = np.zeros(max(curve.epochs - 1, 0), bool)
    if curve.step_loss_max is not None and curve.untrained_loss is not None:
        spikes = curve.step_loss_max[1:] > curve.untrained_loss
    if (drops | spikes).sum() < OSCILLATIONS:
        return ""
    said = []
    if spikes.any() and curve.step_loss_max is not None:
        top = curve.step_loss_max[1:].max()
        said.append(
            f"step loss above the untrained {curve.untrained_loss:.3g} in {spikes.sum()} epochs after the first "
            f"(up to {top:.3g}){_early_spike(curve)}"
        )
    if drops.any():
        fall = (accuracy[:-1] - accuracy[1:]).max()
        said.append(f"accuracy fell {drops.sum()} times by more than {ACCURACY_DROP} (up to {fall:.3f})")
    return "; ".join(said)


def _early_spike(curve: Curve) -> str:
    if curve.step_loss_max is None or curve.untrained_loss is None:
        return ""
    first = curve.step_loss_max[0]
    return f", step loss peaked at {first:.3g} in epoch 1" if first > 2 * curve.untrained_loss else ""


def _overfit(curve: Curve) -> str:
    best = int(curve.held_out.argmax())
    fall = curve.held_out[best] - curve.held_out[-1]
    if curve.train_accuracy is None or fall < OVERFIT_DROP:
        return ""
    rise = curve.train_accuracy[-1] - curve.train_accuracy[best]
    if rise < OVERFIT_DROP:
        return ""
    return (
        f"held-out accuracy fell from {curve.held_out[best]:.4f} in epoch {best + 1} to {curve.held_out[-1]:.4f} "
        f"while training accuracy rose by {rise:.4f}"
    )


def _slow_or_underfit(curve: Curve, target: float) -> tuple[str, str]:
    """A calm curve below the target: still falling, levelled off, or cut too early to tell."""
    error = np.maximum(1 - curve.accuracy, 1e-9)
    span = min(3, curve.epochs - 1)
    rate = 1 - (error[-1] / error[-1 - span]) ** (1 / span)
    now = f"accuracy {1 - error[-1]:.4f} < {target:g}, error falls {100 * rate:.1f}% an epoch"
    if curve.epochs < curve.epochs_asked:
        pace = error[-1] / error[-2]
        hoped = 1 - error[-1] * pace ** (curve.epochs_asked - curve.epochs)
        if pace >= 1 or hoped >= target or _early_spike(curve):
            return "undecided", f"stopped at epoch {curve.epochs} of {curve.epochs_asked}: {now}"
        return "slow", f"{now}; even at its last epoch's pace it would end at {hoped:.4f}"
    share = (error[-1 - span] - error[-1]) / max(error[0] - error[-1], 1e-9)
    if rate < PLATEAU_RATE and share < PLATEAU_SHARE:
        return "underfit", f"levelled off: {now}"
    return "slow", now


def _columns(epochs: pd.DataFrame) -> dict[str, np.ndarray]:
    """What curves are made of, as floats; a column that is not there was not measured."""
    names = ("validation_accuracy", "test_accuracy", "train_accuracy", "train_loss", "step_loss_max")
    table = epochs.reindex(columns=[*names, "diverged", "untrained_loss", "above_since"])
    return {name: table[name].to_numpy(dtype=float, na_value=np.nan) for name in table}


def label_curves(trials: pd.DataFrame, epochs: pd.DataFrame, target: float = TARGET_ACCURACY) -> pd.DataFrame:
    """`trials` with `curve_regime` and `regime_evidence` by each trial's own curve."""
    columns, rows = _columns(epochs), epochs.groupby("trial_id").indices
    labels = [
        curve_regime(Curve.cut(columns, rows.get(trial_id, slice(0)), asked), target)
        for trial_id, asked in zip(trials["trial_id"], trials["epochs_asked"], strict=True)
    ]
    return trials.assign(curve_regime=[label for label, _ in labels], regime_evidence=[why for _, why in labels])


SIBLINGS = ["architecture", "label_noise"]
"""Trials equal in these judge each other."""


def label_siblings(trials: pd.DataFrame, epochs: pd.DataFrame, target: float = TARGET_ACCURACY) -> pd.DataFrame:
    """`trials` with `regime`, the sweep's label.

    A levelled-off curve is not underfit where a sibling (same architecture and label noise) reached the target:
    the network is not too small. Its steps are too small (slow), or, where every such sibling has a smaller
    learning rate and the curve fell now and then, too large (oscillating).
    """
    regimes, evidence = list(trials["curve_regime"]), list(trials["regime_evidence"])
    ids, rates = trials["trial_id"].to_numpy(), trials["learning_rate"].to_numpy(dtype=float)
    final, curves = trials["train_accuracy"].to_numpy(dtype=float), epochs["train_accuracy"].to_numpy(dtype=float)
    rows = epochs.groupby("trial_id").indices
    for family in trials.groupby(SIBLINGS, sort=False).indices.values():
        reached = family[final[family] >= target]
        if not len(reached):
            continue
        best = reached[final[reached].argsort()[-1]]
        for i in family:
            if regimes[i] != "underfit":
                continue
            falls = int((np.diff(curves[rows[ids[i]]]) < 0).sum())
            too_large = falls >= OSCILLATIONS and bool(rates[i] > rates[reached].max())
            regimes[i] = "oscillating" if too_large else "slow"
            evidence[i] += (
                f"; the architecture is not too small: {final[best]:.4f} at learning rate "
                f"{rates[best]:.4g}" + f"; accuracy fell {falls} times" * too_large
            )
    return trials.assign(regime=regimes, regime_evidence=evidence)


def edge(trials: pd.DataFrame) -> dict[str, Any]:
    """The best learning rate by training loss, and the largest at which every replicate converged; None where
    there is none."""
    converged = trials[trials["regime"] == "converged"]
    always = (trials["regime"] == "converged").groupby(trials["learning_rate"]).all()
    finished = trials[trials["train_loss"].astype(float).notna() & (trials["regime"] != "diverged")]
    best = finished.groupby("learning_rate")["train_loss"].mean().idxmin() if len(finished) else None
    largest = max(always[always].index, default=None)
    return {"best": best, "largest_converged": largest, "converged": len(converged)}


def regime_counts(labels: Sequence[str]) -> str:
    """`3 converged, 2 diverged`, in the order of `REGIMES`."""
    counts = Counter(labels)
    return ", ".join(f"{counts[name]} {name}" for name in REGIMES if name in counts)
