"""Replicates: the same configuration with other seeds, summarised with mean, spread and interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from mnist_tune.results.regimes import regime_counts

CONFIGURATION = ["label", "architecture", "momentum", "nesterov", "batch_size", "label_noise", "learning_rate"]
"""Trials equal in these are replicates of each other: they differ by their seeds."""

SUMMARISED = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")


def interval(values: np.ndarray, confidence: float = 0.95) -> float:
    """Half-width of Student's interval of the mean, `t * s / sqrt(n)`; NaN for fewer than two values."""
    count = len(values)
    if count < 2:
        return float("nan")
    return float(stats.t.ppf((1 + confidence) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count))


def summarise_replicates(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a configuration.

    Args:
        trials: the trials table; values that are not finite (a diverged loss) are left out of means, while
            `regimes` counts every replicate.

    Returns:
        The configuration's columns, `replicates`, `regimes` (such as "3 converged, 2 diverged") and for each
        of accuracy and loss `<name>_mean`, `<name>_std` (n - 1 in the denominator) and `<name>_ci95`, the half-width
        of Student's 95% interval.
    """
    rows = []
    for key, group in trials.groupby(CONFIGURATION, sort=True):
        row = dict(zip(CONFIGURATION, key, strict=True))
        row |= {"replicates": len(group), "regimes": regime_counts(group["regime"])}
        for name in SUMMARISED:
            values = group[name].to_numpy(dtype=float)
            values = values[np.isfinite(values)]
            row[f"{name}_mean"] = values.mean() if len(values) else np.nan
            row[f"{name}_std"] = values.std(ddof=1) if len(values) > 1 else np.nan
            row[f"{name}_ci95"] = interval(values)
        rows.append(row)
    return pd.DataFrame(rows)
