"""Replicates: the same configuration with other seeds, summarised with mean, spread and interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.labels import regime_counts

CONFIGURATION = """
    label architecture momentum nesterov batch_size label_noise holdout epochs_asked learning_rate
""".split()
"""Trials equal in these are replicates of each other: they differ by their seeds."""

SUMMARISED = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")


def interval(values: np.ndarray, confidence: float = 0.95) -> float:
    """Half-width of Student's interval of the mean, `t * s / sqrt(n)`; NaN for fewer than two values."""
    count = len(values)
    return _half_width(values.std(ddof=1), count, confidence) if count > 1 else float("nan")


def _half_width(spread: Any, count: Any, confidence: float = 0.95) -> Any:
    """`t * s / sqrt(n)`, of one sample or of a column of them; NaN where `spread` is."""
    from scipy.special import stdtrit  # scipy takes a quarter of a second to import, scipy.stats three times that

    return stdtrit(count - 1, (1 + confidence) / 2) * spread / np.sqrt(count)


def clopper_pearson(successes: Any, count: Any, confidence: float = 0.95) -> tuple[Any, Any]:
    """The exact interval of a share of which k in n were seen (Clopper and Pearson 1934): from the share at which k or
    more have the probability (1 - confidence) / 2 to that at which k or fewer have. Never too narrow."""
    from scipy.special import betaincinv

    k, n, tail = np.asarray(successes, float), np.asarray(count, float), (1 - confidence) / 2
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)
    return low, high


def summarise_replicates(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a configuration.

    Args:
        trials: the trials table; values that are not finite (a diverged loss) are left out of means, while
            `regimes` counts every replicate.

    Returns:
        The configuration's columns, `replicates`, `regimes` (such as "3 converged, 2 diverged"), `converged` ("3 of
        5"), `converged_share` with `converged_low` and `converged_high`, its 95% interval (`clopper_pearson`), and for
        each of accuracy and loss `<name>_mean`, `<name>_std` (n - 1 in the denominator) and `<name>_ci95`, the
        half-width of Student's 95% interval.
    """
    groups = trials.groupby(CONFIGURATION, sort=True)
    summary = pd.DataFrame({"replicates": groups.size(), "regimes": groups["regime"].agg(regime_counts)})
    keys = [trials[name] for name in CONFIGURATION]
    converged = (trials["regime"] == "converged").groupby(keys, sort=True).sum()
    summary["converged"] = [f"{k} of {n}" for k, n in zip(converged, summary["replicates"], strict=True)]
    summary["converged_share"] = converged / summary["replicates"]
    summary["converged_low"], summary["converged_high"] = clopper_pearson(converged, summary["replicates"])
    for name in SUMMARISED:
        values = trials[name].astype(float)
        found = values.where(np.isfinite(values)).groupby(keys, sort=True)
        summary[f"{name}_mean"], summary[f"{name}_std"] = found.mean(), found.std()
        summary[f"{name}_ci95"] = _half_width(found.std(), found.count().clip(lower=2))
    return summary.reset_index()
