"""How a trial ended, for all that compare settings: lists, decisions and searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.divergence import chance_ceiling
from mnist_tune.regimes.families import held_out
from mnist_tune.trial import UNDECIDED_REASONS

COMPETES, FAILED, MISSING = "competes", "failed", "missing"


def outcome(reason: Any, accuracy: Any, chance: float, diverged: Any = False) -> Any:
    """Return how trials ended: `COMPETES`, `FAILED` or `MISSING`.

    A trial failed if it collapsed: it diverged, or was at chance at its end. It also failed if a scheduler or a rule
    stopped it before its last epoch: a setting is not the better for those of its seeds that were left. It is missing
    if it has not ended, or something else ended it.

    Args:
        reason: its `stop_reason`.
        accuracy: its last one, on the images that trials are compared on.
        chance: the share of the most frequent label.
        diverged: whether its label says so.
    """
    reason = np.asarray(reason, str)
    collapsed = diverged | (reason == "diverged") | ~(np.asarray(accuracy, float) > chance_ceiling(chance))
    ended = np.where(collapsed | (reason != "completed"), FAILED, COMPETES)
    return np.where(np.isin(reason, UNDECIDED_REASONS), MISSING, ended)


def outcomes(trials: pd.DataFrame, chance: float) -> np.ndarray:
    """Return how each trial of the `trials` table ended. It is judged on the images held out or, if there are none, on
    the test set."""
    accuracy, diverged = trials[f"{held_out(trials)}_accuracy"], trials["regime"].eq("diverged").to_numpy()
    found: np.ndarray = outcome(trials["stop_reason"], accuracy, chance, diverged)
    return found
