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
from mnist_tune.trial import UNDECIDED_REASONS

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
    collapsed = (
        diverged | (reason == "diverged") | ~(np.asarray(score, float) > ceiling)
    )
    ended = np.where(collapsed | (reason != "completed"), FAILED, COMPETES)
    return np.where(np.isin(reason, UNDECIDED_REASONS), MISSING, ended)


def is_above(row: Mapping[str, Any]) -> bool:
    """Return whether the trial of a task without accuracy, given its last row, has a
    loss above the untrained one by more than noise. A table has NaN where a row has
    nothing."""
    loss, untrained, error = (
        row.get(name) for name in ("train_loss", "untrained_loss", "loss_error")
    )
    return (
        loss is not None
        and untrained is not None
        and loss - untrained > SIGMAS * np.nan_to_num(error or 0.0)
    )


def competing(trials: pd.DataFrame, data: DataFacts) -> pd.DataFrame:
    """Return those of these trials that compete."""
    return trials[outcomes(trials, data) == COMPETES]


def outcomes(trials: pd.DataFrame, data: DataFacts) -> np.ndarray:
    """Return how each trial of the `trials` table ended. It is judged on the images
    held out or, if there are none, on the test set. Without accuracy, a trial is at
    chance if its label says so."""
    split, diverged = held_out(trials), trials["regime"].eq("diverged").to_numpy()
    ceiling = ceiling_of(
        data.ranking, data.chance, independent_answers_of(trials, data, split)
    )
    return np.asarray(
        outcome(
            trials["stop_reason"], data.ranking.scores(trials, split), ceiling, diverged
        )
    )


def ceiling_of(ranking: Ranking, chance: float, images: Any) -> Any:
    """Return the score up to which trials guess, given how many independent answers an
    accuracy is worth."""
    return chance_ceiling(chance, images) if ranking.is_accuracy else -np.inf


def independent_answers_of(
    trials: pd.DataFrame, data: DataFacts, split: str = "validation"
) -> Any:
    """Return how many independent answers the accuracy of each trial is worth; on the
    test set without a hold-out."""
    held = trials["holdout"].to_numpy() * (split == "validation")
    return np.where(held > 0, held, data.test_images) * trials["answers"].fillna(
        1.0
    ).to_numpy(float)
