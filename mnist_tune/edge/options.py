"""The options of a search for edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from mnist_tune.errors import UserError
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import (
    ARCHITECTURE_HELP,
    CROSSED,
    CrossedOptions,
    Mark,
    refuse_empty,
    refuse_not_above_0,
    refuse_too_many,
)


@dataclass(frozen=True, kw_only=True)
class EdgeOptions(CrossedOptions):
    """Find the learning rates at which 90, 50 and 10% of seeds learn, each with a 95% interval. Each combination of
    architecture, optimizer, batch size and momentum has an edge of its own."""

    scheduler: Literal["fifo"] = "fifo"
    """Trials run to their end, unless they diverge."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = ("mlp-64-relu-glorot",)
    epochs: Annotated[int, Mark.KEPT] = 3
    """Epochs per trial. An edge belongs to a length of training."""
    precision: Annotated[float, Mark.HOW] = 0.05
    """End the search for an edge once the 95% interval of its 50% rate has had this half-width, as a share of the rate,
    through the last 15% of its outcomes."""
    trials: Annotated[int, Mark.MAKES] = 100
    """The most trials for an edge."""
    learned: float | None = None
    """Training accuracy that counts as learned; by default it is a final training loss below half the untrained one or
    a guess's, whichever is less."""
    expected: float | None = None
    """Learning rate at which the edge is expected, up to a factor of 8; by default where a range test blows up."""
    workers: int | None = None
    """How many trials may be proposed before the outcome of the first is known; by default one more than can run, and
    two more for each further edge. The search for one edge starts at most 16, then as many as it knows outcomes."""
    predictor_seeds: int = 1
    """Seeds on which the predictors are tried, of which the first is 0."""
    seed: int = 0
    """Makes the seeds of the trials other ones. Each trial has a fresh seed of initialisation and batch order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_not_above_0(self, "precision", "trials", "expected", "workers", "predictor_seeds")
        refuse_empty(self, *CROSSED)
        refuse_too_many(max(self.trials, self.predictor_seeds), "--trials, --predictor-seeds")
        if self.learned is not None and not 0 < self.learned < 1:
            raise UserError(f"--learned must be an accuracy between 0 and 1, such as 0.5, got {self.learned}")

    def templates(self) -> list[TrialConfig]:
        """Return a trial of each edge, without its learning rate and seeds."""
        return list(self.combined())
