"""What a sweep did before it is resumed, made once from its journal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.regimes.histories import Histories
from mnist_tune.results.journal import Journal
from mnist_tune.trial import OPEN_REASONS, TrialConfig, retried

Finished = tuple[TrialConfig, Mapping[str, Any]]
"""A trial that has ended, and its last row with its `stop_reason`."""


@dataclass
class Past:
    """What a sweep did before it is resumed. That of a new sweep is empty."""

    trials: dict[str, TrialConfig] = field(default_factory=dict)
    """All trials by id, with their latest configs."""
    open: dict[str, TrialConfig] = field(default_factory=dict)
    """Those that go on."""
    ended: dict[str, Finished] = field(default_factory=dict)
    """Those that have ended, with their last rows, to which `stop_reason` and `scheduler_loss` are added."""
    failed: dict[str, Finished] = field(default_factory=dict)
    """Those that ended in an error, likewise."""
    histories: Histories = field(init=False, default_factory=Histories)
    """What curves are made of, for all trials. Who hears first of a row, also of one that comes later, adds it."""
    last_epochs: dict[str, int] = field(default_factory=dict)
    """The epoch that each trial recorded last."""
    rows: pd.DataFrame | None = None
    """All rows in the order in which they were recorded; None in a new sweep, and once the trials run (`release`)."""
    retried: frozenset[str] = frozenset()
    """Those that once ended in an error, and were or are trained again."""
    undecided: bool = False
    """Whether a kill may have come between the last row and the end of its trial."""

    def __post_init__(self) -> None:
        if self.rows is not None:
            self.histories = Histories.of(self.rows, self.trials)

    @classmethod
    def of(cls, journal: Journal, meta: Mapping[str, Any], more: Mapping[str, TrialConfig] | None = None) -> Past:
        """Return the past of a sweep. The resume adds `more` trials, or trains them for more epochs."""
        past = cls(journal.known_trials(meta) | dict(more or {}), rows=journal.epochs, undecided=journal.undecided)
        past.retried = retried(meta.get("options", {}))
        last = journal.epochs.drop_duplicates("trial_id", keep="last").set_index("trial_id").to_dict("index")
        past.last_epochs = {trial_id: row["epoch"] for trial_id, row in last.items()}
        for trial_id, trial in past.trials.items():
            reason = journal.ends[trial_id]["stop_reason"] if trial_id in journal.ends else "interrupted"
            # The last epoch is 0 if the trial's only row is a damaged line.
            asked_for_more = reason == "completed" and past.last_epochs.get(trial_id, 0) < trial.epochs
            if asked_for_more or reason in OPEN_REASONS:
                past.open[trial_id] = trial
                continue
            row = last.get(trial_id, {}) | {"stop_reason": reason}
            row["scheduler_loss"] = finite_loss(row.get("train_loss", math.inf))
            (past.failed if reason == "error" else past.ended)[trial_id] = trial, row
        return past

    @property
    def outcomes(self) -> dict[str, Mapping[str, Any] | None]:
        """What a search knows of the trials that have ended, by id: their last rows, None for those with an error. What
        a trial does that is trained again after an error comes too late: other trials were proposed without it."""
        ended = {trial_id: row for trial_id, (_, row) in self.ended.items()}
        return ended | dict.fromkeys((*self.failed, *self.retried))

    def release(self) -> None:
        """Drop the rows, which take much memory. The trials run without them."""
        self.rows, self.ended, self.failed = None, {}, {}
