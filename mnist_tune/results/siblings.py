"""The sweep's label: what siblings, trials of the same architecture on the same labels, tell of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.results.curve import Curve, curves_of
from mnist_tune.results.data_facts import MNIST, DataFacts
from mnist_tune.results.lost import since, stuck
from mnist_tune.training.noise import SIGMAS, difference_noise

SIBLINGS = ["architecture", "label_noise"]
"""Trials equal in these judge each other."""

PEERS = ["batch_size", "momentum", "nesterov", "holdout"]
"""Siblings equal in these too learn from as many images an epoch in as many steps: they may be held against each
other epoch by epoch."""

FAR_BEHIND = 2.0
"""Times a sibling's errors after as many epochs."""

NEAR_BEST = 1 / 30
"""Where a data set has no target, a network that is this share of what can be learned below the best sibling learned
it too: MNIST's 0.95 is as far below the 0.98 that its best dense networks reach on test images."""

LEARNED = 0.5
"""Of what there is above a constant answer: a sibling that learned so much shows that there is something to learn."""


def family_targets(trials: pd.DataFrame, curves: Sequence[Curve], target: float | None) -> list[float | None]:
    """Of each trial: the data set's, or where it has none, near what its best sibling reached, if that learned."""
    if target is not None:
        return [target] * len(curves)
    targets: list[float | None] = [None] * len(curves)
    for family in _families(trials, SIBLINGS):
        reached = [settled(curves[i]) for i in family if curves[i].epochs]
        best = max(reached, default=0.0)
        data = curves[family[0]].data
        if curves[family[0]].learned(best) < LEARNED:
            continue
        for i in family:
            targets[i] = best - NEAR_BEST * (1 - data.chance)
    return targets


def settled(curve: Curve) -> float:
    """Where a curve is, not by the luck of its last epoch."""
    return float(np.median(curve.accuracy[-3:])) if curve.epochs else 0.0


@dataclass(frozen=True)
class Trial:
    """A trial among its siblings."""

    row: int
    rate: float
    curve: Curve
    label: str
    target: float | None

    @property
    def reached(self) -> bool:
        return self.target is not None and settled(self.curve) >= self.target and self.label != "diverged"

    @property
    def learned(self) -> bool:
        return bool(self.curve.epochs and self.curve.learned(self.curve.accuracy.max()) >= LEARNED)


def label_siblings(trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts = MNIST) -> pd.DataFrame:
    """`trials` with `regime`, the sweep's label.

    What its own curve left open is judged by siblings: at chance where they learned is diverged (dead), or slow at a
    smaller learning rate than theirs; far behind a larger learning rate, or levelled off where a larger one reached the
    target, is slow; to and fro above the learning rates that did is oscillating; the best of a sweep is never slow.
    """
    regimes, evidence = list(trials["curve_regime"]), list(trials["regime_evidence"])
    curves = list(curves_of(trials, epochs, data))
    targets = family_targets(trials, curves, data.target)
    rates = trials["learning_rate"].to_numpy(dtype=float)
    made = [Trial(i, rates[i], curves[i], regimes[i], targets[i]) for i in range(len(curves))]
    peers = {i: tuple(group) for group in _families(trials, SIBLINGS + PEERS) for i in group}
    for family in _families(trials, SIBLINGS):
        siblings = [made[i] for i in family]
        if len({sibling.rate for sibling in siblings}) < 2:
            continue
        for trial in siblings:
            if trial.label in ("slow", "underfit", "undecided") and trial.curve.epochs:
                beside = [made[i] for i in peers[trial.row]]
                label, why = _judge(trial, siblings, beside)
                regimes[trial.row], evidence[trial.row] = label, evidence[trial.row] + why
    return trials.assign(regime=regimes, regime_evidence=evidence)


def _judge(trial: Trial, siblings: Sequence[Trial], peers: Sequence[Trial]) -> tuple[str, str]:
    """The label of a calm trial below the target among its siblings, and what to add to its evidence."""
    learned = [other for other in siblings if other.learned]
    if learned and stuck(trial.curve):
        return _at_chance(trial, learned)
    reached = [other for other in siblings if other.reached]
    ahead = [other for other in peers if _far_ahead(other.curve, trial.curve)]
    better = ahead if trial.label == "undecided" else ahead + reached
    if better:
        return _behind(trial, better)
    best = max(peers, key=lambda other: (settled(other.curve), -other.row))
    if trial.label == "slow" and trial.rate == best.rate and len({other.rate for other in peers}) > 1:
        return "undecided", "; the best learning rate of its siblings is never slow: it may need more epochs"
    return trial.label, ""


def _at_chance(trial: Trial, learned: Sequence[Trial]) -> tuple[str, str]:
    best = max(learned, key=lambda other: (settled(other.curve), -other.row))
    said = f"at chance where learning rate {best.rate:.4g} reached {settled(best.curve):.4f}"
    if trial.rate < min(other.rate for other in learned):
        return "slow", f"; {said}, and its own is smaller than any that learned"
    return "diverged", f"; dead{since(trial.curve)}: {said}"


def _behind(trial: Trial, better: Sequence[Trial]) -> tuple[str, str]:
    faster = [other for other in better if other.rate > trial.rate]
    best = max(faster or better, key=lambda other: (settled(other.curve), -other.row))
    epochs = min(trial.curve.epochs, best.curve.epochs)
    said = (
        f"; the architecture is not too small: {settled(best.curve):.4f} at learning rate {best.rate:.4g}"
        f" ({best.curve.accuracy[epochs - 1]:.4f} after as many epochs, {trial.curve.accuracy[epochs - 1]:.4f} here)"
    )
    falls = int((trial.curve.falls > SIGMAS * trial.curve.falls_noise).sum())
    shaken = falls >= 2 or bool(trial.curve.spikes()[1:].any())
    if faster:
        return ("undecided" if trial.label == "undecided" and shaken else "slow"), said
    if falls >= 2:
        return "oscillating", f"{said}; accuracy fell {falls} times at a larger learning rate"
    return "undecided", f"{said}, smaller than its own"


def _far_ahead(other: Curve, curve: Curve) -> bool:
    """Whether another curve made half the errors or fewer after as many epochs, by more than noise."""
    if other.epochs < curve.epochs:
        return False
    theirs, ours = other.accuracy[curve.epochs - 1], settled_now(curve)
    noise = SIGMAS * difference_noise(theirs, ours, curve.images)
    return bool(FAR_BEHIND * (1 - theirs) <= 1 - ours and theirs - ours > noise)


def settled_now(curve: Curve) -> float:
    """The last accuracy, or the one before where that is higher: a slip is not being behind."""
    return float(curve.accuracy[-2:].max())


def _families(trials: pd.DataFrame, names: Sequence[str]) -> Iterator[np.ndarray]:
    there = [name for name in names if name in trials]
    if len(trials) and there:
        yield from trials.groupby(there, sort=False).indices.values()
    elif len(trials):
        yield np.arange(len(trials))


def edge(trials: pd.DataFrame) -> dict[str, Any]:
    """The best learning rate by training loss, and the largest at which every replicate converged; None where
    there is none."""
    converged = trials[trials["regime"] == "converged"]
    always = (trials["regime"] == "converged").groupby(trials["learning_rate"]).all()
    finished = trials[trials["train_loss"].astype(float).notna() & (trials["regime"] != "diverged")]
    best = finished.groupby("learning_rate")["train_loss"].mean().idxmin() if len(finished) else None
    largest = max(always[always].index, default=None)
    return {"best": best, "largest_converged": largest, "converged": len(converged)}
