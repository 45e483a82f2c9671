"""The Tune searcher that looks for the edges of several networks at once.

What a search proposes from what has ended would depend on which trial ends first, so on
how busy the machine is. So the outcomes of a network's trials are taken up in the order
in which they were proposed, and the n-th proposal sees those of the first n - L: the
same search proposes the same trials on any day, and after a kill and a resume.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ray.tune.search import Searcher

from mnist_tune.edge.choice import next_rate
from mnist_tune.regimes.edge_posterior import EdgePosterior
from mnist_tune.regimes.measured_edge import PILOT, Learned
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.past import new_ids
from mnist_tune.tuning.searcher import Unsaved, outcome_of, with_id

FIRST = 16
"""L, how many trials of a search may be pending, is at most this, or as many as it
knows outcomes if that is more, however many workers wait. Trials that are proposed with
little known are far from the edge. With 64 pending from the start, a search of 100
trials ends after half the time, but its interval is up to three times as wide."""

FURTHER = 1.5
"""How far a pilot looks if it goes on: a standard deviation in ln η."""


@dataclass(eq=False)
class _Trial:
    """A trial that was proposed."""

    config: TrialConfig
    ended: bool = False
    row: Mapping[str, Any] | None = None
    """Its last row; None if it ended in an error."""


@dataclass
class _Search:
    """One network's search, and what is known of its trials."""

    template: TrialConfig
    expected: float
    before_pilot: Learned
    """What counts as learned, before the pilot."""
    seeds: tuple[int, int]
    """What the seeds of its proposals follow from, with their number."""
    past_ids: Sequence[str]
    """Its trials before a resume, in the order in which they were proposed."""
    posterior: EdgePosterior = field(init=False)
    learned: Learned | None = None
    """What the pilot has fixed."""
    trials: list[_Trial] = field(default_factory=list)
    """Its trials so far."""
    seen: int = 0
    """The outcomes of so many of them, the first ones, have been taken up."""
    failed_epochs: list[int] = field(default_factory=list)
    """Epochs of the trials that did not learn."""

    def __post_init__(self) -> None:
        self.posterior = EdgePosterior(math.log(self.expected))

    @property
    def cost(self) -> float:
        """Epochs of a trial that does not learn, relative to one that does; as if one
        had been seen that takes all."""
        of_one = self.template.epochs
        failed_epochs = [of_one, *self.failed_epochs]
        return sum(failed_epochs) / (of_one * len(failed_epochs))

    @property
    def pilot(self) -> list[tuple[float, Mapping[str, Any] | None]]:
        """The learning rates and the last rows of the trials whose outcomes have been
        taken up."""
        seen = self.trials[: self.seen]
        return [(trial.config.learning_rate, trial.row) for trial in seen]

    def most_pending(self, workers: int) -> int:
        """Return L of the next proposal. Trials of a pilot are proposed together, and
        the others after it."""
        if self.learned is None:
            return len(self.trials) % len(PILOT) + 1
        return min(workers, max(FIRST, self.posterior.count))

    def catch_up(self, workers: int) -> bool:
        """Take up the outcomes that the next proposal sees, and return whether all of
        them are known."""
        while len(self.trials) - self.seen >= self.most_pending(workers):
            if not self.trials[self.seen].ended:
                return False
            self.take_up()
        return True

    def take_up(self) -> None:
        """Take up the next trial's outcome; those of a pilot together, at its end. An
        error says nothing."""
        self.seen += 1
        new = self.pilot[-1:]
        if self.learned is None:
            new = self.pilot
            self.learned = self.before_pilot.fixed_by(new)
        if self.learned is None:
            return
        for rate, row in new:
            if row is None or rate < self.learned.least:
                continue
            has_learned = self.learned.holds(row)
            self.posterior.add(math.log(rate), has_learned)
            if not has_learned:
                self.failed_epochs.append(row["epoch"])

    def propose(self) -> TrialConfig:
        """Return the next trial."""
        number = len(self.trials)
        rng = np.random.default_rng([*self.seeds, number])
        seed = int(rng.integers(2**32))
        if self.learned is None:
            x = self._pilot_rate(rng)
        else:
            unseen = self.trials[self.seen :]
            pending = [math.log(trial.config.learning_rate) for trial in unseen]
            x = next_rate(self.posterior, number, sorted(pending), self.cost, rng)
            x = max(x, math.log(self.learned.least))
        rate = float(f"{math.exp(x):.4g}")
        return replace(self.template, learning_rate=rate, seed=seed, data_seed=seed)

    def _pilot_rate(self, rng: Any) -> float:
        """Return x of the pilot's next trial. If none of the first learned, it goes on
        about the most accurate one."""
        number = len(self.trials)
        if number < len(PILOT):
            return math.log(self.expected * PILOT[number])
        gains = []
        for rate, row in self.pilot:
            if row is not None:
                gains.append((self.before_pilot.gain(row), rate))
        _, best = max(gains, default=(0.0, self.expected))
        return float(math.log(best) + FURTHER * rng.standard_normal())


class EdgeSearcher(Unsaved):
    """Proposes trials, each with a fresh seed, until every edge is known as precisely
    as asked for.

    What it proposes follows from its arguments and from outcomes, not from when these
    became known. So a resumed search asks itself the same questions again: it takes
    what the journal knows as answers, has trials go on that had not ended, and then
    proposes what it would have proposed.

    A template is what the trials of a network share. `past` are the trials before a
    resume, by id, and `ended` are the last rows of those that had ended; None if one
    ended in an error. `learned` is what counts as that before the pilot, for each
    template. The rest is as in `EdgeOptions`.
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
        past: Mapping[str, TrialConfig] | None = None,
    ) -> None:
        super().__init__()
        self._ended = dict(ended or {})
        self._past = dict(past or {})
        ids_of_network: dict[TrialConfig, list[str]] = {}
        for trial_id, trial in sorted(self._past.items()):
            ids_of_network.setdefault(_network(trial), []).append(trial_id)
        self._searches = []
        networks = zip(templates, expected, learned, strict=True)
        for number, (template, rate, before_pilot) in enumerate(networks):
            ids = ids_of_network.get(_network(template), ())
            search = _Search(template, rate, before_pilot, (seed, number), ids)
            self._searches.append(search)
        self._workers, self._precision, self._trials = workers, precision, trials
        self._ids = new_ids(self._past)
        self._tunes: dict[str, _Trial] = {}
        """The trials that Tune was given, by its id."""

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial; None if that depends on trials that still run;
        `FINISHED` at the end."""
        while True:
            searches = self._searches
            ready = [search for search in searches if search.catch_up(self._workers)]
            open_ = [search for search in ready if not self._is_over(search)]
            if not open_:
                has_ended = len(ready) == len(searches)
                return Searcher.FINISHED if has_ended else None
            search = min(open_, key=lambda search: len(search.trials))
            own_id, trial = self._next_trial(search)
            search.trials.append(trial)
            if own_id not in self._ended:
                self._tunes[trial_id] = trial
                return {"trial": with_id(own_id, trial.config)}
            trial.ended = True
            trial.row = self._ended[own_id]

    def _next_trial(self, search: _Search) -> tuple[str, _Trial]:
        """Return the next trial of a search, with its id: those before a resume first."""
        number = len(search.trials)
        if number < len(search.past_ids):
            own_id = search.past_ids[number]
            return own_id, _Trial(self._past[own_id])
        return next(self._ids), _Trial(search.propose())

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        trial = self._tunes[trial_id]
        trial.ended = True
        trial.row = outcome_of(result, error)

    def _is_over(self, search: _Search) -> bool:
        """Return whether a search proposes no more trials. Those before a resume go on,
        also if less is asked for."""
        count = len(search.trials)
        if count < len(search.past_ids):
            return False
        return count >= self._trials or search.posterior.has_settled(self._precision)


def _network(trial: TrialConfig) -> TrialConfig:
    """Return what the trials of one search share."""
    return replace(trial, learning_rate=1.0, seed=0, data_seed=0)
