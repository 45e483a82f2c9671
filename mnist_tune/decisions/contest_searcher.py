"""The Tune searcher that proposes the trials of a contest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher

from mnist_tune.regimes.contest import Contest
from mnist_tune.tuning.searcher import Unsaved, outcome_of, with_id


class ContestSearcher(Unsaved):
    """Proposes the trials that a contest asks for, which has not begun. `seed` makes
    the seeds of the trials other ones; `ended` is as in `EdgeSearcher`."""

    knows_the_past = True

    def __init__(
        self, contest: Contest, seed: int, ended: Mapping[str, Mapping[str, Any] | None]
    ) -> None:
        super().__init__()
        self._contest = contest
        self._seed = seed
        self._ended = ended
        self._numbers: dict[str, int] = {}
        self._next = 0

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial; None if that depends on trials that still run;
        `FINISHED` at the end."""
        while self._next < len(self._contest.asked):
            number = self._next
            own_id = f"{number:05d}"
            self._next += 1
            if own_id not in self._ended:
                self._numbers[trial_id] = number
                trial = self._contest.trial(number, self._seed)
                return {"trial": with_id(own_id, trial)}
            self._contest.tell(number, self._ended[own_id])
        return Searcher.FINISHED if self._contest.over else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._contest.tell(self._numbers[trial_id], outcome_of(result, error))
