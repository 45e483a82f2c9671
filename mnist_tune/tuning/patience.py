"""Ends trials whose held-out score rises no more (`--patience`), whatever scheduler they
have."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ray.tune import Stopper

from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.patience import Report, report
from mnist_tune.trial import OUT_OF_PATIENCE
from mnist_tune.tuning.run import Run


class Patience(Stopper):  # type: ignore[misc]
    """Ends a trial once its held-out score has not risen beyond noise in so many
    reports. The trial has run its course then, as if it had ended itself.

    What is decided follows from a trial's own rows, so a resumed sweep takes up those
    of before.
    """

    def __init__(self, most: int, run: Run, data: DataFacts) -> None:
        self._most = most
        self._data = data
        self._configs = dict(run.past.trials)
        self._reports = defaultdict[str, list[Report]](lambda: [Report()])
        if run.past.rows is None:
            return
        rows = run.past.rows.fillna({"answers": 1.0})
        for row in rows[rows["trial_id"].isin(self._configs)].itertuples():
            # A kill may have come before this end was recorded.
            if self._ends(row.trial_id, row._asdict()):
                run.stop_reasons[row.trial_id] = OUT_OF_PATIENCE

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether a trial ends with a report, which says why then."""
        if result["stop_reason"]:  # it ends by itself
            return False
        own_id = result["own_id"]
        # it is told once, and where it changes
        config = result.get("trial_config") or self._configs[own_id]
        self._configs[own_id] = config
        ends = self._ends(own_id, result)
        if ends:
            result["stop_reason"] = OUT_OF_PATIENCE
        return ends

    def stop_all(self) -> bool:
        return False

    def _ends(self, trial_id: str, row: Mapping[str, Any]) -> bool:
        config = self._configs[trial_id]
        ranking = self._data.ranking
        answers = math.inf
        if ranking.is_accuracy:
            images = config.held_out or self._data.test_images
            worth = row.get("answers") or 1.0
            answers = worth * images
        reports = self._reports[trial_id]
        # What is trained again takes the place of what was reported then.
        while reports[-1].step >= row["step"]:
            reports.pop()
        score = ranking.score_of(row, config.split)
        reports.append(report(reports, row["step"], score, answers))
        return reports[-1].since >= self._most
