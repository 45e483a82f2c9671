"""What trials are compared by. Scores are such that higher is better, wherever trials
are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnist_tune.columns import OWN_SCORE, matching
from mnist_tune.numbers import LEAST_DIGITS

RANK_BY = matching(
    "score_NAME:min or score_NAME:max", f"{OWN_SCORE}[a-z0-9_]{{1,40}}:(min|max)"
)
"""What `--rank-by` may be."""


@dataclass(frozen=True)
class Ranking:
    """What trials are compared by."""

    name: str = "accuracy"
    """accuracy, loss, or a column with a task's own score, such as score_kl."""
    less: bool = False
    """Whether less of it is better."""

    @classmethod
    def of(cls, by_accuracy: bool, rank_by: str | None = None) -> Ranking:
        """Return what is compared: what `--rank-by` names, which is `RANK_BY`, else the
        accuracy or the loss."""
        if not rank_by:
            rank_by = "accuracy:max" if by_accuracy else "loss:min"
        name, _, best = rank_by.partition(":")
        return cls(name, best == "min")

    @property
    def is_accuracy(self) -> bool:
        return self.name == "accuracy"

    @property
    def is_loss(self) -> bool:
        return self.name == "loss"

    @property
    def is_own(self) -> bool:
        """Whether it is one of a task's own scores."""
        return self.name.startswith(OWN_SCORE)

    def column(self, split: str) -> str:
        """Return the column of the tables that holds it; own scores are those of the
        images held out."""
        if self.is_own:
            return self.name
        return f"{split}_{self.name}"

    def scores(self, rows: Any, split: str) -> np.ndarray:
        """Return the score of each row of a DataFrame, the higher the better; NaN where
        there is none."""
        column = self.column(split)
        if column not in rows:
            return np.full(len(rows), np.nan)
        values = rows[column].to_numpy(dtype=float, na_value=math.nan)
        finite = np.where(np.isfinite(values), values, np.nan)
        return np.asarray(self.score(finite))

    def score_of(self, row: Mapping[str, Any], split: str) -> float:
        """Return the score of an epoch's row, as `scores`."""
        value = row.get(self.column(split))
        if value is None or not math.isfinite(value):
            return math.nan
        return float(self.score(value))

    def score(self, values: Any) -> Any:
        """Return scores for values, or values for scores."""
        if self.less:
            return -values
        return values

    @property
    def word(self) -> str:
        """What it is called, such as accuracy."""
        return self.name.removeprefix(OWN_SCORE).replace("_", " ")

    @property
    def worse(self) -> str:
        """Where the values of what is worse lie."""
        if self.less:
            return "above"
        return "below"

    def number(self, score: float, digits: int = LEAST_DIGITS) -> str:
        """Return the value of a score as text: an accuracy in four decimal places,
        others in so many digits."""
        value = self.score(score) + 0.0  # 0, not -0
        if self.is_accuracy:
            return f"{value:.4f}"
        return f"{value:.{digits}g}"

    def difference(self, value: float) -> str:
        """Return by how much one score is better than another, as text. Only what is 0
        but for rounding reads as 0."""
        if not self.is_accuracy:
            return f"{value + 0.0:.4g}"
        if 1e-12 < abs(value) < 5e-5:
            value = math.copysign(5e-5, value)
        return f"{value:.4f}"


ACCURACY = Ranking()
