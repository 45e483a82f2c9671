"""A Tune searcher that proposes known trials first, then those of another searcher."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.search import Searcher
from ray.tune.search.sample import Domain
from ray.tune.search.variant_generator import generate_variants

from mnist_tune.terminal import announce
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.plan import Finished


def with_id(trial_id: str, trial: TrialConfig) -> dict[str, Any]:
    """Return a trial as Tune's `config["trial"]`, with our id."""
    return {"trial_id": trial_id, **trial.to_dict()}


class KnownTrials(Searcher):  # type: ignore[misc]
    """Proposes these trials in order, then the trials of another searcher, if there is one.

    Tune's grid search is slow: it copies the whole grid for every trial (10 seconds for 1,000 trials) and creates all
    trials before the first one starts.
    """

    def __init__(
        self, trials: Mapping[str, TrialConfig], then: Searcher | None = None, finished: Sequence[Finished] = ()
    ) -> None:
        super().__init__()
        self._left, self._then, self._finished = iter(trials.items()), then, finished
        self._own: set[str] = set()

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Pass the search space to the other searcher, and tell it the results of the trials that have ended."""
        if self._then is None:
            return True
        accepted = bool(self._then.set_search_properties(metric, mode, config, **spec))
        searched = [name for name, value in config["trial"].items() if isinstance(value, Domain)]
        metric = self._then.metric
        try:
            for trial, row in self._finished:
                if not isinstance(metric, str):
                    raise NotImplementedError
                values = trial.to_dict()
                if isinstance(row.get(metric), (int, float)) and math.isfinite(row[metric]):
                    self._then.add_evaluated_point({f"trial/{name}": values[name] for name in searched}, row[metric])
        except NotImplementedError:
            announce("note: this searcher can't learn from the trials that ended before; it starts without them")
        return accepted

    def suggest(self, trial_id: str) -> Any:
        for own_id, trial in self._left:
            self._own.add(trial_id)
            return {"trial": with_id(own_id, trial)}
        return Searcher.FINISHED if self._then is None else self._then.suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if self._then is not None and trial_id not in self._own:
            self._then.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if self._then is not None and trial_id not in self._own:
            self._then.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Save an empty file: sweeps are resumed from their journal."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("sweeps are resumed from their journal")


def drawn(space: Mapping[str, Any], count: int, rng: np.random.Generator | None = None) -> dict[str, TrialConfig]:
    """Draw `count` trials independently from a search space and return them by new ids.

    By default `rng` is NumPy's global generator, as in Tune.
    """
    spec = {"trial": dict(space)}
    draws = (next(iter(generate_variants(spec, random_state=rng)))[1]["trial"] for _ in range(count))
    return {uuid.uuid4().hex[:8]: TrialConfig.from_dict(values) for values in draws}
