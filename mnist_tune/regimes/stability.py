"""How close training is to the edge of stability: the sharpness over training, relative to what the rate allows."""

from __future__ import annotations

import numpy as np
import pandas as pd

ARRIVED = 0.95
"""Relative sharpness from which a trial is at the edge of stability."""

SETTLED = 0.25
"""The last part of a trial's steps, which says where one that never arrived has settled."""


def relative_sharpness(trials: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return each measurement as a multiple of the sharpness at which gradient descent becomes unstable.

    On a quadratic, that is (2 + 2β) / η with the learning rate η and the momentum β, and with Nesterov's momentum
    (2 + 2β) / ((1 + 2β) η); without momentum, 2 / η (Cohen et al. 2021, arXiv 2103.00065).

    Args:
        trials: the trials table; those of other optimisers than SGD, or with a schedule, are left out.
        measured: what `Sweep.sharpness` returns.

    Returns:
        `trial_id`, `step`, `relative` (of the sharpness) and `batch_relative` (of the batch sharpness).
    """
    known = trials[(trials["optimizer"] == "sgd") & (trials["schedule"] == "constant")].set_index("trial_id")
    momentum = known["momentum"]
    edge = (2 + 2 * momentum) / known["learning_rate"] / (1 + 2 * momentum.where(known["nesterov"], 0.0))
    found = measured[measured["trial_id"].isin(known.index)].reset_index(drop=True)
    warmup = known["warmup_steps"].reindex(found["trial_id"]).to_numpy()
    share = np.where(warmup > 0, np.minimum(found["step"] / np.maximum(warmup, 1), 1), 1)
    rate = share / edge.reindex(found["trial_id"]).to_numpy()
    return found[["trial_id", "step"]].assign(
        relative=rate * found["sharpness"], batch_relative=rate * found["batch_sharpness"]
    )


def summarise_stability(relative: pd.DataFrame) -> pd.DataFrame:
    """Summarise each trial's curve.

    Args:
        relative: what `relative_sharpness` returns.

    Returns:
        A row a trial: `trial_id`, `untrained`, `arrived` (the first step measured at `ARRIVED` or above after one
        below; NaN if there is none), `low`, `median` and `high` of the relative sharpness from then on (if there is
        none, over the last quarter of the steps), and `batch_median`, the same of the batch sharpness. An untrained
        network may be above the edge; its sharpness falls in the first steps.
    """
    rows = []
    for trial_id, curve in relative.groupby("trial_id", sort=False):
        arrives = (curve["relative"] >= ARRIVED) & (curve["relative"] < ARRIVED).cummax()
        above = curve["step"][arrives]
        since = above.iloc[0] if len(above) else (1 - SETTLED) * curve["step"].max()
        after = curve[curve["step"] >= since]
        rows.append(
            {
                "trial_id": trial_id,
                "untrained": curve["relative"].iloc[0],
                "arrived": above.iloc[0] if len(above) else np.nan,
                "low": after["relative"].min(),
                "median": after["relative"].median(),
                "high": after["relative"].max(),
                "batch_median": after["batch_relative"].median(),
            }
        )
    return pd.DataFrame(rows)
