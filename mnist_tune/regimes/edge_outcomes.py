"""What a trial says about the edge: whether it learned, whether it stayed calm, whether it diverged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.curve import curves_of
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.statistics import shaken

LEARNED_SHARE = 0.5
"""A trial has learned if its final training loss is below this share of the untrained loss. Measured on five networks,
the edge of learning so defined is sharp; that of staying finite, or above chance, is not: ReLU networks die at the loss
of a guess, which is below their untrained loss, and tanh networks get lost at finite losses."""

LEARNED, CALM, DIVERGED = "learned", "calm", "diverged"
OUTCOMES = (LEARNED, CALM, DIVERGED)


def has_learned(row: Mapping[str, Any], accuracy: float | None = None) -> bool:
    """Return whether a trial whose last epoch has this row learned.

    Args:
        row: of the `epochs` table.
        accuracy: the training accuracy that counts as learned; by default the loss decides (`LEARNED_SHARE`).
    """
    if row["diverged"] or not math.isfinite(row["train_loss"]):
        return False
    if accuracy is not None:
        return bool(row["train_accuracy"] >= accuracy)
    return bool(row["train_loss"] < LEARNED_SHARE * row["untrained_loss"])


def outcomes(trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts, accuracy: float | None) -> pd.DataFrame:
    """Return the columns `OUTCOMES` for the trials that have ended with an epoch, with the index of `trials`.

    A trial is calm if its label is neither diverged nor oscillating and its curve shows no spikes or falls.
    """
    last = epochs.sort_values("epoch").drop_duplicates("trial_id", keep="last").set_index("trial_id")
    # A trial whose lines in the journal are damaged has no epoch.
    ended = trials[trials["stop_reason"].isin(("completed", DIVERGED)) & trials["trial_id"].isin(last.index)]
    learned = [has_learned(last.loc[trial_id], accuracy) for trial_id in ended["trial_id"]]
    restless = ended["curve_regime"].isin(("diverged", "oscillating")).to_numpy()
    spikes = np.array([shaken(curve) for curve in curves_of(ended, epochs, data)], bool)
    diverged = ended["regime"].eq("diverged").to_numpy()
    return pd.DataFrame(
        {LEARNED: learned, CALM: ~(restless | spikes), DIVERGED: diverged}, index=ended.index, dtype=bool
    )
