"""Ends trials whose held-out score rises no more (`--patience`), whatever scheduler they
have."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from ray.tune import Stopper

from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.patience import Rises
from mnist_tune.trial import OUT_OF_PATIENCE, TrialConfig
from mnist_tune.tuning.run import Run


class Report(NamedTuple):
    """What decides of a trial's row."""

    step: int
    score: float
    answers: float
    """On how many independent answers an accuracy was measured."""


class Patience(Stopper):  # type: ignore[misc]
    """Ends a trial once its held-out score has not risen beyond noise in so many
    reports. The trial has run its course then, as if it had ended itself.

    What is decided follows from a trial's own rows, so a resumed sweep takes up those
    of before.
    """

    def __init__(self, reports: int, run: Run, data: DataFacts) -> None:
        self._reports = reports
        self._data = data
        self._configs = dict(run.past.trials)
        self._of_trials: defaultdict[str, list[Report]] = defaultdict(list)
        self._rises: dict[str, Rises] = {}
        if run.past.rows is None:
            return
        ranking = data.ranking
        columns = {"trial_id", "step", "answers"}
        columns |= {ranking.column("validation"), ranking.column("test")}
        rows = run.past.rows[run.past.rows.columns.intersection(list(columns))]
        for row in rows.to_dict("records"):
            if row["trial_id"] in self._configs:
                self._take_up(row["trial_id"], row)
        # A kill may have come before the end of such a trial was recorded.
        for trial_id, rises in self._rises.items():
            if rises.since >= reports:
                run.stop_reasons[trial_id] = OUT_OF_PATIENCE

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether a trial ends with a report, which says why then."""
        if result["stop_reason"]:  # it ends by itself
            return False
        own_id = result["own_id"]
        config = result.get("trial_config")
        if config:
            self._configs[own_id] = config
        rises = self._take_up(own_id, result)
        if rises.since < self._reports:
            return False
        result["stop_reason"] = OUT_OF_PATIENCE
        return True

    def stop_all(self) -> bool:
        return False

    def _take_up(self, trial_id: str, row: Mapping[str, Any]) -> Rises:
        """Take up a row, and return the rises so far. A trial that reports a step again
        goes on from there: what it reported later is forgotten."""
        report = self._report(self._configs[trial_id], row)
        reports = self._of_trials[trial_id]
        is_next = not reports or reports[-1].step < report.step
        while reports and reports[-1].step >= report.step:
            reports.pop()
        reports.append(report)
        new = reports[-1:]
        if not is_next or trial_id not in self._rises:
            self._rises[trial_id] = Rises(self._data.ranking)
            new = reports
        rises = self._rises[trial_id]
        for report in new:
            rises.add(report.score, report.answers)
        return rises

    def _report(self, config: TrialConfig, row: Mapping[str, Any]) -> Report:
        score = self._data.ranking.score_of(row, config.split)
        answers = float(config.held_out or self._data.test_images)
        worth = row.get("answers")
        if worth is not None and math.isfinite(worth):
            answers *= worth
        return Report(row["step"], score, answers)
