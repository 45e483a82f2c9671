"""The Tune searchers that look for edges, and for the best of some settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ray.tune.search import Searcher

from mnist_tune.edge.choice import most_pending, next_rates
from mnist_tune.edge.virtual_time import VirtualTime
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.edge_outcomes import has_learned
from mnist_tune.regimes.edge_posterior import EdgePosterior
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.searcher import Unsaved, with_id


@dataclass
class _Search:
    """One network's search: its trials by number, and what is known of them."""

    template: TrialConfig
    posterior: EdgePosterior
    pending: dict[int, float] = field(default_factory=dict)
    """x = ln η of the trials whose outcome has not been taken up."""
    proposed: int = 0
    failed_epochs: list[int] = field(default_factory=list)
    """Epochs of the trials that did not learn."""

    @property
    def cost(self) -> float:
        """Epochs of a trial that does not learn, relative to one that does; as if one had been seen that takes all."""
        epochs = self.template.epochs
        return (epochs + sum(self.failed_epochs)) / (epochs * (1 + len(self.failed_epochs)))


class EdgeSearcher(Unsaved):
    """Proposes trials, each with a fresh seed, until every edge is known as precisely as asked for.

    What it proposes follows from its arguments and from the outcomes in virtual time. So a resumed search asks itself
    the same questions again: it takes what the journal knows as answers, has trials go on that had not ended, and then
    proposes what it would have proposed.

    Args:
        templates: what the trials of each network share.
        expected: the learning rate at which each edge is expected.
        workers, precision, trials, learned, seed: as in `EdgeOptions`.
        ended: the last rows of the trials that ended before a resume, by id; None if one ended in an error.
        known: the trials before a resume, by id.
    """

    knows_the_past = True

    def __init__(
        self,
        templates: Sequence[TrialConfig],
        expected: Sequence[float],
        *,
        workers: int,
        precision: float,
        trials: int,
        learned: float | None = None,
        seed: int = 0,
        ended: Mapping[str, Mapping[str, Any] | None] | None = None,
        known: Mapping[str, TrialConfig] | None = None,
    ) -> None:
        super().__init__()
        self._searches = [
            _Search(template, EdgePosterior(math.log(rate))) for template, rate in zip(templates, expected, strict=True)
        ]
        self._time = VirtualTime(workers)
        self._owner: dict[int, _Search] = {}
        self._precision, self._trials, self._learned, self._seed = precision, trials, learned, seed
        self._ended, self._known = dict(ended or {}), dict(known or {})
        self.proposed: dict[int, TrialConfig] = {}
        """The trials so far, by their number."""
        self._numbers: dict[str, int] = {}
        """The number of a trial by Tune's id."""
        self._rows: dict[int, Mapping[str, Any] | None] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial; None if that depends on trials that still run; `FINISHED` at the end."""
        while True:
            search = self._next_search()
            if search is not None and not self._time.full:
                number, config = self._propose(search)
                own_id = f"{number:05d}"
                if own_id in self._ended:
                    self._end(number, self._ended[own_id])
                    continue
                self._numbers[trial_id] = number
                return {"trial": with_id(own_id, config)}
            if self._time.idle:
                return Searcher.FINISHED
            over = self._time.advance()
            if over is None:
                return None
            for number in over:
                self._take_up(number)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        number = self._numbers[trial_id]
        if result.get("stop_reason") != "error":
            self._rows[number] = result
            self._time.report(number, result["epoch"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number = self._numbers[trial_id]
        failed = error or result is None or result.get("stop_reason") == "error"
        self._end(number, None if failed else result)

    def _next_search(self) -> _Search | None:
        """Return the search that has proposed the fewest trials, of those that may propose one now."""
        open_ = [search for search in self._searches if self._may_propose(search)]
        return min(open_, key=lambda search: search.proposed, default=None)

    def _may_propose(self, search: _Search) -> bool:
        [outcomes] = search.posterior.count
        over = search.proposed >= self._trials or search.posterior.has_settled(self._precision)[0]
        return not over and len(search.pending) < most_pending(outcomes)

    def _propose(self, search: _Search) -> tuple[int, TrialConfig]:
        number = len(self.proposed)
        rng = np.random.default_rng([self._seed, number])
        pending = np.array([sorted(search.pending.values())], float)
        x = next_rates(search.posterior, np.array([0]), np.array([search.proposed]), pending, search.cost, rng)
        seed = int(rng.integers(2**32))
        rate = float(f"{math.exp(x[0]):.4g}")
        config = replace(search.template, learning_rate=rate, seed=seed, data_seed=seed)
        config = self._known.get(f"{number:05d}", config)
        self._owner[number], self.proposed[number] = search, config
        search.proposed += 1
        search.pending[number] = math.log(config.learning_rate)
        self._time.start(number)
        return number, config

    def _end(self, number: int, row: Mapping[str, Any] | None) -> None:
        self._rows[number] = row
        self._time.report(number, row["epoch"] if row else 0, ended=True)

    def _take_up(self, number: int) -> None:
        """Add a trial's outcome to its search. One that ended in an error says nothing."""
        search, row = self._owner[number], self._rows.pop(number)
        x = search.pending.pop(number)
        if row is None:
            return
        learned = has_learned(row, self._learned)
        search.posterior.add([0], [x], [learned])
        if not learned:
            search.failed_epochs.append(row["epoch"])


class ContestSearcher(Unsaved):
    """Proposes the trials that a contest asks for.

    Args:
        contest: before its first trial.
        seed: makes the seeds of the trials other ones.
        ended: as in `EdgeSearcher`.
    """

    knows_the_past = True

    def __init__(self, contest: Contest, seed: int, ended: Mapping[str, Mapping[str, Any] | None]) -> None:
        super().__init__()
        self._contest, self._seed, self._ended = contest, seed, ended
        self._numbers: dict[str, int] = {}
        self._next = 0

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial; None if that depends on trials that still run; `FINISHED` at the end."""
        while self._next < len(self._contest.asked):
            number, own_id = self._next, f"{self._next:05d}"
            self._next += 1
            if own_id not in self._ended:
                self._numbers[trial_id] = number
                return {"trial": with_id(own_id, self._contest.trial(number, self._seed))}
            self._contest.tell(number, self._ended[own_id])
        return Searcher.FINISHED if self._contest.over else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing follows from a trial that has not ended."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        failed = error or result is None or result.get("stop_reason") == "error"
        self._contest.tell(self._numbers[trial_id], None if failed else result)
