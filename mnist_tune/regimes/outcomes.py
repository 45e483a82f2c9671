"""How a trial ended, for all that compare settings: lists, decisions and searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.divergence import chance_ceiling
from mnist_tune.regimes.families import held_out
from mnist_tune.regimes.noise import SIGMAS
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.trial import COMPLETED_REASONS, UNDECIDED_REASONS

COMPETES, FAILED, MISSING = "competes", "failed", "missing"


def outcome(reason: Any, score: Any, ceiling: Any, diverged: Any = False) -> Any:
    """Return how trials ended: `COMPETES`, `FAILED` or `MISSING`.

    A trial failed if it collapsed: it diverged, or was at chance at its end. It also
    failed if a scheduler or a rule stopped it before its last epoch: a setting is not
    the better for those of its seeds that were left. It is missing if it has not ended,
    or something else ended it.

    Args:
        reason: its `stop_reason`.
        score: its last one (`Ranking.scores`).
        ceiling: the score up to which it guesses.
        diverged: whether its label says so, or its last row (`is_above`).
    """
    reason = np.asarray(reason, str)
    # a score that is NaN is above nothing
    is_above_chance = np.asarray(score, float) > ceiling
    collapsed = diverged | (reason == "diverged") | ~is_above_chance
    was_stopped = ~np.isin(reason, COMPLETED_REASONS)
    ended = np.where(collapsed | was_stopped, FAILED, COMPETES)
    return np.where(np.isin(reason, UNDECIDED_REASONS), MISSING, ended)


def is_above(row: Mapping[str, Any]) -> bool:
    """Return whether the trial of a task without accuracy, given its last row, has a
    loss above the untrained one by more than noise. A table has NaN where a row has
    nothing."""
    loss, untrained = row.get("train_loss"), row.get("untrained_loss")
    if loss is None or untrained is None:
        return False
    error = np.nan_to_num(row.get("loss_error") or 0.0)
    return bool(loss - untrained > SIGMAS * error)


def competing(trials: pd.DataFrame, data: DataFacts) -> pd.DataFrame:
    """Return those of these trials that compete."""
    return trials[outcomes(trials, data) == COMPETES]


def outcomes(trials: pd.DataFrame, data: DataFacts) -> np.ndarray:
    """Return how each trial of the `trials` table ended. It is judged on the images
    held out or, if there are none, on the test set. Without accuracy, a trial is at
    chance if its label says so."""
    ranking = data.ranking
    split = held_out(trials)
    scores = ranking.scores(trials, split)
    answers = independent_answers_of(trials, data, split)
    ceiling = ceiling_of(ranking, data.chance, answers)
    diverged = trials["regime"].eq("diverged").to_numpy()
    return np.asarray(outcome(trials["stop_reason"], scores, ceiling, diverged))


def ceiling_of(ranking: Ranking, chance: float, images: Any) -> Any:
    """Return the score up to which trials guess, given how many independent answers an
    accuracy is worth."""
    if not ranking.is_accuracy:
        return -np.inf
    return chance_ceiling(chance, images)


def independent_answers_of(
    trials: pd.DataFrame, data: DataFacts, split: str = "validation"
) -> Any:
    """Return how many independent answers the accuracy of each trial is worth; on the
    test set without a hold-out."""
    answers = trials["answers"].fillna(1.0).to_numpy(float)
    holdout = trials["holdout"].to_numpy()
    if split != "validation":
        holdout = np.zeros_like(holdout)
    return np.where(holdout > 0, holdout, data.test_images) * answers
