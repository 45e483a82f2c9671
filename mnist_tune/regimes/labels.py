"""The regime of each curve: converged, slow, oscillating, diverged, underfit, overfit or undecided.

There are two levels. `curve_regime` labels a trial by its own curve (`curve_rules`). `label_siblings` then uses what
the same architecture reached at other learning rates (`siblings`). Each label comes with the numbers that decided it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from mnist_tune.regimes.curve import Curve, curves_of
from mnist_tune.regimes.curve_rules import curve_regime
from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.siblings import family_targets, label_siblings

__all__ = ["REGIMES", "Curve", "curve_regime", "label_curves", "label_siblings", "regime_counts"]

REGIMES = ("converged", "slow", "oscillating", "diverged", "underfit", "overfit", "undecided")


def label_curves(trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts = MNIST) -> pd.DataFrame:
    """Return `trials` with `curve_regime` and `regime_evidence`, which follow from each trial's own curve. If the data
    set has no target, the target follows from the best sibling."""
    curves = list(curves_of(trials, epochs, data))
    targets = family_targets(trials, curves, data.target)
    labels = [curve_regime(curve, target) for curve, target in zip(curves, targets, strict=True)]
    return trials.assign(curve_regime=[label for label, _ in labels], regime_evidence=[why for _, why in labels])


def regime_counts(labels: Sequence[str]) -> str:
    """Return how many there are of each, such as `3 converged, 2 diverged`, in the order of `REGIMES`."""
    counts = Counter(labels)
    return ", ".join(f"{counts[name]} {name}" for name in REGIMES if name in counts)
