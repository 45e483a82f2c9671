"""The Tune searchers that look for the edges of several networks at once, and for the best of some settings.

A search that proposes trials from what has ended depends on which trial ends first, so on how busy the machine is. So
the search for edges counts in virtual time, in which an epoch of any trial takes the same time everywhere: the same
search proposes the same trials on any day, and after a kill and a resume. Trials overtake each other as they really do,
by the epochs that they run, so that nobody waits for the slowest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ray.tune.search import Searcher

from mnist_tune.edge.choice import next_rate
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.edge_posterior import EdgePosterior
from mnist_tune.regimes.measured_edge import PILOT, Learned
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.searcher import Unsaved, with_id

FIRST = 16
"""Trials of a search that may be pending before it knows any outcome; later as many as it knows outcomes, however many
workers wait. Trials that are proposed with little known are far from the edge. With 64 pending from the start, a search
of 100 trials ends after half the time, but its interval is up to three times as wide."""

FURTHER = 1.5
"""How far a pilot looks if it goes on: a standard deviation in ln η."""


@dataclass
class _Search:
    """One network's search, and what is known of its trials."""

    template: TrialConfig
    expected: float
    asked: Learned
    """What counts as learned, before the pilot."""
    posterior: EdgePosterior
    learned: Learned | None = None
    """What the pilot has fixed."""
    pilot: list[tuple[float, Mapping[str, Any] | None]] = field(default_factory=list)
    """The learning rates and the last rows of the pilot's trials."""
    proposed: int = 0
    failed_epochs: list[int] = field(default_factory=list)
    """Epochs of the trials that did not learn."""

    @property
    def cost(self) -> float:
        """Epochs of a trial that does not learn, relative to one that does; as if one had been seen that takes all."""
        epochs = self.template.epochs
        return (epochs + sum(self.failed_epochs)) / (epochs * (1 + len(self.failed_epochs)))

    def pilot_rate(self, rng: Any) -> float:
        """Return x of the pilot's next trial. If none of the first learned, it goes on about the most accurate one."""
        if self.proposed < len(PILOT):
            return math.log(self.expected * PILOT[self.proposed])
        known = [(row["train_accuracy"], rate) for rate, row in self.pilot if row is not None]
        return float(math.log(max(known, default=(0.0, self.expected))[1]) + FURTHER * rng.standard_normal())

    def take_up(self, rate: float, row: Mapping[str, Any] | None) -> None:
        """Add a trial's outcome. One that ended in an error says nothing."""
        if self.learned is None:
            self.pilot.append((rate, row))
            self.learned = self.asked.fixed_by(self.pilot)
            for tried in self.pilot if self.learned else ():
                self.take_up(*tried)
        elif row is not None and rate >= self.learned.least:
            learned = self.learned.holds(row)
            self.posterior.add(math.log(rate), learned)
            self.failed_epochs += [] if learned else [row["epoch"]]


@dataclass(eq=False)
class _Trial:
    """A trial that runs in virtual time: its outcome has not been taken up."""

    search: _Search
    x: float
    """ln η."""
    start: float
    row: Mapping[str, Any] | None = None
    """Its last row; None if it has none, or ended in an error."""
    epochs: int = 0
    ended: bool = False

    @property
    def ends(self) -> float:
        """When it ends, or the earliest time at which it may."""
        return self.start + self.epochs + (0 if self.ended else 1)

    def report(self, row: Mapping[str, Any] | None, ended: bool = False) -> None:
        """Take up an epoch's row, and whether the trial has ended. A new process repeats epochs."""
        if not self.ended:
            self.row, self.ended, self.epochs = row, ended, max(row["epoch"] if row else 0, self.epochs)


class EdgeSearcher(Unsaved):
    """Proposes trials, each with a fresh seed, until every edge is known as precisely as asked for.

    What it proposes follows from its arguments and from the outcomes in virtual time. So a resumed search asks itself
    the same questions again: it takes what the journal knows as answers, has trials go on that had not ended, and then
    proposes what it would have proposed.

    A template is what the trials of a network share. `known` are the trials before a resume, by id, and `ended` are the
    last rows of those that had ended; None if one ended in an error. `learned` is what counts as that before the pilot,
    for each template. The rest is as in `EdgeOptions`.
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
        learned: Sequence[Learned],
        seed: int = 0,
        ended: Mapping[str, Mapping[str, Any] | None] | None = None,
        known: Mapping[str, TrialConfig] | None = None,
    ) -> None:
        super().__init__()
        self._searches = [
            _Search(template, rate, asked, EdgePosterior(math.log(rate)))
            for template, rate, asked in zip(templates, expected, learned, strict=True)
        ]
        self._workers, self._now = workers, 0.0
        self._precision, self._trials, self._seed = precision, trials, seed
        self._ended, self._known = dict(ended or {}), dict(known or {})
        self.proposed: dict[int, TrialConfig] = {}
        """The trials so far, by their number."""
        self._running: list[_Trial] = []
        self._tunes: dict[str, _Trial] = {}
        """The trials that Tune was given, by its id."""

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial; None if that depends on trials that still run; `FINISHED` at the end."""
        while True:
            open_ = [one for one in self._searches if self._may_propose(one)]
            search = min(open_, key=lambda one: one.proposed, default=None)
            if search is not None and len(self._running) < self._workers:
                own_id, one, config = self._propose(search)
                if own_id in self._ended:
                    one.report(self._ended[own_id], ended=True)
                    continue
                self._tunes[trial_id] = one
                return {"trial": with_id(own_id, config)}
            if not self._running:
                return Searcher.FINISHED
            next_end = min((one.ends for one in self._running if one.ended), default=math.inf)
            if any(one.ends <= next_end for one in self._running if not one.ended):
                return None
            self._now = next_end
            for one in [one for one in self._running if one.ended and one.ends == next_end]:
                self._running.remove(one)
                one.search.take_up(math.exp(one.x), one.row)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if result.get("stop_reason") != "error":
            self._tunes[trial_id].report(result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._tunes[trial_id].report(_outcome(result, error), ended=True)

    def _may_propose(self, search: _Search) -> bool:
        """Return whether a search may propose a trial now. Those of a pilot start together, and the others after it."""
        most = math.inf if search.learned else len(PILOT) * (1 + len(search.pilot) // len(PILOT))
        over = search.proposed >= min(self._trials, most) or search.posterior.has_settled(self._precision)
        return not over and len(self._pending(search)) < max(FIRST, search.posterior.count)

    def _pending(self, search: _Search) -> list[float]:
        """Return x of the trials of a search whose outcome is not known yet."""
        return sorted(one.x for one in self._running if one.search is search)

    def _propose(self, search: _Search) -> tuple[str, _Trial, TrialConfig]:
        number = len(self.proposed)
        rng = np.random.default_rng([self._seed, number])
        if search.learned is None:
            x = search.pilot_rate(rng)
        else:
            x = next_rate(search.posterior, search.proposed, self._pending(search), search.cost, rng)
            x = max(x, math.log(search.learned.least))
        seed = int(rng.integers(2**32))
        rate = float(f"{math.exp(x):.4g}")
        config = replace(search.template, learning_rate=rate, seed=seed, data_seed=seed)
        config = self.proposed[number] = self._known.get(f"{number:05d}", config)
        search.proposed += 1
        self._running.append(_Trial(search, math.log(config.learning_rate), self._now))
        return f"{number:05d}", self._running[-1], config


class ContestSearcher(Unsaved):
    """Proposes the trials that a contest asks for, which has not begun. `seed` makes the seeds of the trials other
    ones; `ended` is as in `EdgeSearcher`."""

    knows_the_past = True

    def __init__(self, contest: Contest, seed: int, ended: Mapping[str, Mapping[str, Any] | None]) -> None:
        super().__init__()
        self._contest, self._seed, self._ended = contest, seed, ended
        self._numbers: dict[str, int] = {}
        self._next = 0

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

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._contest.tell(self._numbers[trial_id], _outcome(result, error))


def _outcome(result: dict[str, Any] | None, error: bool) -> dict[str, Any] | None:
    """Return the last row of a trial that Tune says has ended; None if it ended in an error."""
    return None if error or result is None or result.get("stop_reason") == "error" else result
