"""A Tune searcher that proposes known trials first, then those of another searcher, and
as many as there are slots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.search import Searcher
from ray.tune.search.sample import Categorical, Domain, Float, Function, Integer
from ray.tune.search.variant_generator import generate_variants

from mnist_tune.columns import EPOCHS
from mnist_tune.errors import UserError, closest
from mnist_tune.terminal import announce, note
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.past import Past, new_ids

METRICS = (
    *(column.name for column in EPOCHS),
    "scheduler_loss",
    "training_iteration",
    "time_total_s",
)
"""What schedulers and searchers may look at: the columns of `epochs`, the finite
training loss, and Tune's own."""


def check_metric(
    user: Any, trial: TrialConfig, measured: bool, rank_by: str | None = None
) -> None:
    """Raise a `UserError` if a scheduler or a searcher has a metric or a time that no
    result of such a trial has, whose sharpness is `measured` or not. Tune would never
    stop a trial, and say so in pages of traceback at the end. Of a task's own scores it
    may look at the one that trials are ranked by."""
    columns = list(METRICS)
    if rank_by:
        score, _, _ = rank_by.partition(":")
        columns.append(score)
    for attributes in (("metric", "_metric"), ("time_attr", "_time_attr")):
        column = _text_of(user, attributes)
        if column is None:
            continue
        looks = f"{type(user).__name__} looks at {column!r}, which no epoch"
        if column not in columns:
            hint = closest(column, columns)
            raise UserError(f"{looks} has{hint}; see docs/tables.md")
        if column.startswith("validation_") and not trial.held_out:
            raise UserError(
                f"{looks} of this sweep has: no examples are held out; give 'holdout' in the space"
            )
        if "sharpness" in column and not measured:
            raise UserError(
                f"{looks} of this sweep has; measure it with SweepOptions(sharpness=True)"
            )


def _text_of(user: Any, attributes: Sequence[str]) -> str | None:
    """Return the first of some attributes that is a text; None if there is none."""
    for attribute in attributes:
        value = getattr(user, attribute, None)
        if isinstance(value, str):
            return value
    return None


def with_id(trial_id: str, trial: TrialConfig) -> dict[str, Any]:
    """Return a trial as Tune's `config["trial"]`, with our id."""
    return {"trial_id": trial_id, **trial.to_dict()}


class Unsaved(Searcher):  # type: ignore[misc]
    """A searcher of which Tune saves nothing: sweeps are resumed from their journal. It
    needs no search space."""

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()


def outcome_of(result: dict[str, Any] | None, error: bool) -> dict[str, Any] | None:
    """Return the last row of a trial that Tune says has ended; None if it ended in an
    error."""
    if error or result is None:
        return None
    if result.get("stop_reason") == "error":
        return None
    return result


class KnownThenSearched(Unsaved):
    """Proposes these trials in order, then the trials of another searcher, if there is
    one. (Tune's grid search would take 10 seconds for 1,000 trials: it copies the whole
    grid for each.)

    The other searcher is told how every trial ended, also those that it did not propose
    in this run. With `slots` for trials, it is asked for one for each slot that is
    free, and for one more, which waits for the next slot: what it proposes earlier, it
    proposes knowing less. At most so many `samples` are proposed. What the other one
    proposes is passed to `record`.
    """

    def __init__(
        self,
        trials: Mapping[str, TrialConfig],
        then: Searcher | None = None,
        past: Past | None = None,
        slots: int = 1,
        samples: float = math.inf,
        record: Callable[[Mapping[str, Any]], None] = lambda trial: None,
    ) -> None:
        super().__init__()
        past = past or Past()
        self._samples = samples
        self._record = record
        self._left = iter(trials.items())
        self._then = then
        self._slots = slots
        self._finished = [
            (past.trials[trial_id], row) for trial_id, row in past.ended.items()
        ]
        self._ids = new_ids({*trials, *past.trials})
        self._own: dict[str, TrialConfig] = {}
        self._searched: list[str] = []
        self._fixed: dict[str, Any] = {}
        self._learns = not getattr(then, "knows_the_past", False)
        """Whether the other searcher is told of what it did not propose in this run."""
        self._waiting: set[str] = set()
        """The trials that have no result yet."""
        self._running: set[str] = set()
        """Those that have, and have not ended."""

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Pass the search space to the other searcher, and tell it the results of the
        trials that have ended."""
        if self._then is None:
            return True
        accepted = bool(self._then.set_search_properties(metric, mode, config, **spec))
        self._searched = []
        self._fixed = {}
        for name, value in config["trial"].items():
            if isinstance(value, Domain):
                self._searched.append(name)
            else:
                self._fixed[name] = value
        for trial, row in self._finished:
            self._tell(trial, row)
        return accepted

    def _tell(self, trial: TrialConfig, row: Mapping[str, Any]) -> None:
        """Tell the other searcher the result of a trial that it does not know."""
        if self._then is None or not self._learns:
            return
        metric = self._then.metric
        values = trial.to_dict()
        point = {f"trial/{name}": values[name] for name in self._searched}
        try:
            if not isinstance(metric, str):
                raise NotImplementedError
            score = row.get(metric)
            if row.get("stop_reason") == "error":
                self._then.add_evaluated_point(point, math.nan, error=True)
            elif isinstance(score, (int, float)) and math.isfinite(score):
                self._then.add_evaluated_point(point, score)
        except NotImplementedError:
            self._learns = False
            announce(
                note(
                    "this searcher can't learn from the trials that ended before; it starts without them"
                )
            )

    def suggest(self, trial_id: str) -> Any:
        if self._samples <= 0:
            return Searcher.FINISHED
        for own_id, trial in self._left:
            self._own[trial_id] = trial
            self._waiting.add(trial_id)
            self._samples -= 1
            return {"trial": with_id(own_id, trial)}
        if self._then is None:
            return Searcher.FINISHED
        # One proposal may wait for the next slot, so that no slot waits for a proposal.
        if len(self._waiting) >= max(1, self._slots - len(self._running)):
            return None
        proposal = self._then.suggest(trial_id)
        if not isinstance(proposal, dict):
            return proposal
        self._waiting.add(trial_id)
        self._samples -= 1
        values = proposal.get("trial", {})
        if "trial_id" not in values:
            values = {"trial_id": next(self._ids)} | self._fixed | values
        self._record(values)
        return proposal | {"trial": values}

    def _pass_on(self, method: str, trial_id: str, *result: Any, **how: bool) -> None:
        if trial_id not in self._own:
            getattr(self._then, method)(trial_id, *result, **how)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._waiting.discard(trial_id)
        self._running.add(trial_id)
        self._pass_on("on_trial_result", trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._waiting.discard(trial_id)
        self._running.discard(trial_id)
        row = result or {}
        if error:
            row = {"stop_reason": "error"}
        if trial_id in self._own:
            self._tell(self._own[trial_id], row)
        failed = row.get("stop_reason") == "error"
        if failed:
            result = None
        self._pass_on("on_trial_complete", trial_id, result, error=failed)

    def on_pause(self, trial_id: str) -> None:
        self._running.discard(trial_id)
        self._pass_on("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        self._running.add(trial_id)
        self._pass_on("on_unpause", trial_id)


def drawn(
    space: Mapping[str, Any], samples: int, rng: np.random.Generator | None = None
) -> Iterator[TrialConfig]:
    """Draw trials independently from a search space, as Tune does: `samples` times each
    combination of what is a `tune.grid_search`. By default `rng` is NumPy's global
    generator. Raises `UserError` at one that can't train."""
    spec = {"trial": dict(space)}
    for _ in range(samples):
        for _, variant in generate_variants(spec, random_state=rng):
            yield TrialConfig(**variant["trial"])


def ends_of(space: Mapping[str, Any], searched: bool) -> list[TrialConfig]:
    """Return trials in which each end of each range of a search space occurs, and each
    value of each choice. Where some values follow from others, return one draw. Raises
    `UserError` if one of them can't train, or has no values, or none that a searcher
    can learn about, if the space is `searched`."""
    for name, value in space.items():
        if searched and isinstance(value, (Mapping, Function)):
            raise UserError(
                f"no searcher takes {name} as a tune.grid_search or tune.sample_from; give a tune.choice"
            )
        if isinstance(value, (Mapping, Categorical)) and not _ends(value):
            raise UserError(f"{name} has no values to choose from")
    draw = next(drawn(space, 1, np.random.default_rng(0)))
    if any(isinstance(value, Function) for value in space.values()):
        return [draw]
    ends: dict[str, list[Any]] = {}
    for name, value in space.items():
        ends[name] = _ends(value) or [getattr(draw, name)]
    # Shorter lists begin again.
    count = max(map(len, ends.values()), default=1)
    trials: list[TrialConfig] = []
    for i in range(count):
        settings = {name: values[i % len(values)] for name, values in ends.items()}
        trials.append(TrialConfig(**settings))
    return trials


def _ends(value: Any) -> list[Any]:
    """Return the ends of a range, which is open above, or the values of a choice; none
    if there are none."""
    if isinstance(value, Mapping):
        return list(value.get("grid_search", [value]))
    if isinstance(value, Integer):
        return [value.lower, value.upper - 1]
    if isinstance(value, Float) and math.isfinite(value.upper - value.lower):
        return [
            math.nextafter(value.lower, value.upper),
            math.nextafter(value.upper, value.lower),
        ]
    return list(getattr(value, "categories", ()))
