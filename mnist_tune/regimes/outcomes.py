"""How a trial ended, for all that compare settings: lists, decisions and searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.divergence import chance_ceiling
from mnist_tune.regimes.families import held_out
from mnist_tune.trial import UNDECIDED_REASONS

COMPETES, FAILED, MISSING = "competes", "failed", "missing"


def outcome(reason: Any, accuracy: Any, chance: float, images: Any, diverged: Any = False) -> Any:
    """Return how trials ended: `COMPETES`, `FAILED` or `MISSING`.

    A trial failed if it collapsed: it diverged, or was at chance at its end. It also failed if a scheduler or a rule
    stopped it before its last epoch: a setting is not the better for those of its seeds that were left. It is missing
    if it has not ended, or something else ended it.

    Args:
        reason: its `stop_reason`.
        accuracy: its last one, on the images that trials are compared on.
        chance: the share of the most frequent label.
        images: how many independent answers that is worth.
        diverged: whether its label says so.
    """
    reason = np.asarray(reason, str)
    collapsed = diverged | (reason == "diverged") | ~(np.asarray(accuracy, float) > chance_ceiling(chance, images))
    ended = np.where(collapsed | (reason != "completed"), FAILED, COMPETES)
    return np.where(np.isin(reason, UNDECIDED_REASONS), MISSING, ended)


def outcomes(trials: pd.DataFrame, data: DataFacts) -> np.ndarray:
    """Return how each trial of the `trials` table ended. It is judged on the images held out or, if there are none, on
    the test set. Without accuracy, a trial is at chance if its label says so."""
    split, diverged = held_out(trials), trials["regime"].eq("diverged").to_numpy()
    accuracy = trials[f"{split}_accuracy"] if data.by_accuracy else np.isfinite(trials[f"{split}_loss"].astype(float))
    images = independent_answers_of(trials, data, split)
    found: np.ndarray = outcome(trials["stop_reason"], accuracy, data.chance, images, diverged)
    return found


def independent_answers_of(trials: pd.DataFrame, data: DataFacts, split: str = "validation") -> Any:
    """Return how many independent answers the accuracy of each trial is worth; on the test set without a hold-out."""
    held = trials["holdout"].to_numpy() if split == "validation" and "holdout" in trials else np.zeros(len(trials))
    answers = trials["answers"].fillna(1.0).to_numpy(float) if "answers" in trials else 1.0
    return np.where(held > 0, held, data.test_images) * answers
