"""The regime of each curve: converged, slow, oscillating, diverged, underfit, overfit or undecided.

There are two levels. `curve_regime` labels a trial by its own curve (`curve_rules`). `label_trials` also uses what the
same architecture reached at other learning rates (`siblings`). Each label comes with the numbers that decided it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

REGIMES = ("converged", "slow", "oscillating", "diverged", "underfit", "overfit", "undecided")


def regime_counts(labels: Sequence[str]) -> str:
    """Return how many there are of each, such as `3 converged, 2 diverged`, in the order of `REGIMES`."""
    counts = Counter(labels)
    return ", ".join(f"{counts[name]} {name}" for name in REGIMES if name in counts)
