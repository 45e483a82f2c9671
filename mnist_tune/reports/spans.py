"""At which learning rates each regime is found, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mnist_tune.numbers import told_apart

VERBS = {
    "slow": "slow",
    "underfit": "underfits",
    "on its way": "on its way",
    "undecided": "undecided",
    "converged": "converges",
    "overfit": "overfits",
    "oscillating": "oscillates",
    "diverged": "diverges",
}

MOST_RUNS = 3
"""If a regime has more runs of learning rates than this, only its first and last rate are named."""


def spans(family: pd.DataFrame) -> list[str]:
    """Return at which learning rates each regime is found, such as `converges from 0.04 to 0.7`.

    Rates between are those that were tried. In `oscillates at 0.7 (1 of 5 seeds) and from 1.3`, the other four seeds
    are in another regime. A trial that was cut before it could be decided is named so.
    """
    asked, family = family["learning_rate"].nunique(), family[family["epochs_run"] > 0]
    rates = sorted(family["learning_rate"].unique())
    said = list(told_apart(rates).values())
    way = (family["regime"] == "undecided") & family["reaches"].gt(family["epochs_run"]) & family["reaches"].lt(np.inf)
    found = family["regime"].mask(way, "on its way")
    cut = family["epochs_run"].lt(family["epochs_asked"]) & (found == "undecided")
    counts = pd.crosstab(family["learning_rate"], found)
    lines = []
    for regime in sorted(
        counts, key=lambda name: (rates.index(counts.index[counts[name] > 0][0]), list(VERBS).index(name))
    ):
        found_at = set(counts.index[counts[regime] > 0])
        runs = _runs([rate in found_at for rate in rates])
        if len(runs) > MOST_RUNS:
            runs = [(runs[0][0], runs[-1][1])]
        places = []
        for first, last in runs:
            inside = family[family["learning_rate"].between(rates[first], rates[last])]
            here, all_of_them = int((found[inside.index] == regime).sum()), len(inside)
            kind = "trials" if first < last else "seeds"
            share = f" ({here} of {all_of_them} {kind})" if here < all_of_them else ""
            if regime == "undecided" and cut[inside.index].any():
                share += f" (cut after {inside['epochs_run'][cut].max()} epochs)"
            places.append(_place(said, first, last, asked) + share)
        lines.append(f"{VERBS[regime]} {' and '.join(places)}")
    return lines


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Return the first and the last index of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.array(flags, int), [0]])))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def _place(rates: Sequence[str], first: int, last: int, asked: int) -> str:
    low, high = rates[first], rates[last]
    if first == last:
        return f"at {low}"
    if (first, last) == (0, len(rates) - 1):
        return f"at all rates{' that trained' * (len(rates) < asked)}, {low} to {high}"
    return f"up to {high}" if first == 0 else f"from {low}" if last == len(rates) - 1 else f"from {low} to {high}"
