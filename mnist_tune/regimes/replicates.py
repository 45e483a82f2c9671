"""Summaries of replicates (trials that differ only in their seeds): mean, standard
deviation, confidence interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.families import FAMILY
from mnist_tune.regimes.labels import REGIMES

CONFIGURATION = ["label", *FAMILY, "epochs_asked", "learning_rate"]
"""Trials with equal values in these columns are replicates: they differ only in their
seeds."""

SUMMARISED = (
    "train_accuracy",
    "validation_accuracy",
    "test_accuracy",
    "train_loss",
    "test_loss",
)


def regime_counts(labels: Iterable[str]) -> str:
    """Return how many there are of each regime, in the order of `REGIMES`, such as `3
    converged, 2 diverged`."""
    counts = Counter(labels)
    names = [name for name in REGIMES if name in counts]
    return ", ".join(f"{counts[name]} {name}" for name in names)


def half_width(spread: Any, count: Any) -> Any:
    """Return the half-width of Student's 95% interval of the mean, `t * s / sqrt(n)`,
    for one sample or for a column of samples with standard deviation s. It is NaN for
    fewer than three values: that of two is up to 12.7 times as wide as they are apart,
    or nothing, so the two themselves say more."""
    # its import takes a quarter of a second, that of scipy.stats three times as long
    from scipy.special import stdtrit

    is_enough = np.asarray(count) > 2
    width = stdtrit(count - 1, 0.975) * spread / np.sqrt(count)
    return np.where(is_enough, width, np.nan)


def clopper_pearson(
    successes: Any, count: Any, confidence: float = 0.95
) -> tuple[Any, Any]:
    """Return the exact confidence interval of a share, given k successes in n trials
    (Clopper and Pearson 1934).

    At its lower end, k or more successes have the probability (1 - confidence) / 2; at
    its upper end, k or fewer have.
    """
    from scipy.special import betaincinv

    k = np.asarray(successes, float)
    n = np.asarray(count, float)
    failures = n - k
    tail = (1 - confidence) / 2
    # with no success the lower end is 0, with no failure the upper end is 1
    low = betaincinv(np.maximum(k, 1), failures + 1, tail)
    low = np.where(k > 0, low, 0.0)
    high = betaincinv(k + 1, np.maximum(failures, 1), 1 - tail)
    high = np.where(k < n, high, 1.0)
    return low, high


def summarise_replicates(
    trials: pd.DataFrame, by: Sequence[str] = CONFIGURATION
) -> pd.DataFrame:
    """Return one row per configuration, or per combination of other columns.

    Args:
        trials: the `trials` table. Values that are not finite, such as a diverged loss,
            are left out of the means. `regimes` counts every replicate.
        by: trials with equal values in these columns are a row.

    Returns:
        These columns; `replicates`; `regimes`, such as "3 converged, 2 diverged";
        `converged`, such as "3 of 5"; `converged_share` and its 95% interval
        (`clopper_pearson`), `converged_low` to `converged_high`. Each of `SUMMARISED`
        that `trials` has adds `<name>_mean`, `<name>_std` (n - 1 in the denominator),
        `<name>_min`, `<name>_max` and `<name>_ci95`, the half-width of Student's 95%
        interval. Only seeds are a sample: a row whose trials differ in more, such as in
        a grid of learning rates, has no intervals.
    """
    by = [*by]
    names = [name for name in SUMMARISED if name in trials]
    scores = trials[names].astype(float)
    finite = scores.where(np.isfinite(scores))
    converged = trials["regime"] == "converged"
    counted = trials.assign(**finite, converged=converged)
    groups = counted.groupby(by)
    regimes = groups["regime"].agg(regime_counts)
    summary = pd.DataFrame({"replicates": groups.size(), "regimes": regimes})

    replicates = summary["replicates"]
    successes = groups["converged"].sum()
    pairs = zip(successes, replicates, strict=True)
    summary["converged"] = [f"{k} of {n}" for k, n in pairs]
    summary["converged_share"] = successes / replicates
    is_sample = _differs_in_seeds_only(trials, by)
    low, high = clopper_pearson(successes, replicates)
    summary["converged_low"] = np.where(is_sample, low, np.nan)
    summary["converged_high"] = np.where(is_sample, high, np.nan)

    for name in names:
        column = groups[name]
        figures = column.agg(["mean", "std", "min", "max"])
        summary = summary.join(figures.add_prefix(f"{name}_"))
        width = half_width(column.std(), column.count())
        summary[f"{name}_ci95"] = np.where(is_sample, width, np.nan)
    return summary.reset_index()


def _differs_in_seeds_only(trials: pd.DataFrame, by: list[str]) -> pd.Series:
    """Return for each row of a summary whether its trials have one configuration."""
    settings = [name for name in CONFIGURATION if name in trials]
    configurations = trials.drop_duplicates([*by, *settings])
    return configurations.groupby(by).size() == 1
