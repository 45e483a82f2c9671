"""What a sweep did before it is resumed, made once from its journal, and which trials a
resume adds."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from mnist_tune.errors import UserError
from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.regimes.histories import Histories
from mnist_tune.results.journal import Journal
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.trial import OPEN_REASONS, TrialConfig
from mnist_tune.tuning.options import refuse_too_many


@dataclass
class Past:
    """What a sweep did before it is resumed. That of a new sweep is empty."""

    trials: dict[str, TrialConfig] = field(default_factory=dict)
    """All trials by id, with their latest configs."""
    open: dict[str, TrialConfig] = field(default_factory=dict)
    """Those that go on."""
    ended: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The last rows of those that have ended, with `stop_reason`, `scheduler_loss` and
    a task's own scores."""
    histories: Histories = field(init=False, default_factory=Histories)
    """What curves are made of, for all trials. `Run` adds the rows that come later."""
    rows: pd.DataFrame | None = None
    """All rows in the order in which they were recorded; None in a new sweep, and once
    the trials run (`release`)."""
    retried: frozenset[str] = frozenset()
    """Those that once ended in an error, and were or are trained again."""
    undecided: bool = False
    """Whether a kill may have come between the last row and the end of its trial."""
    is_resumed: bool = False

    def __post_init__(self) -> None:
        if self.rows is not None:
            self.histories = Histories.of(self.rows, self.trials)

    @classmethod
    def of(cls, journal: Journal, meta: Mapping[str, Any]) -> Past:
        """Return the past of a sweep, which plans what a resume adds, or trains for
        more epochs."""
        trials = journal.known_trials(meta)
        last = (
            journal.epochs.drop_duplicates("trial_id", keep="last")
            .set_index("trial_id")
            .to_dict("index")
        )
        past = cls(
            trials, rows=journal.epochs, undecided=journal.undecided, is_resumed=True
        )
        past.retried = SweepMeta.of(meta).retried
        for trial_id, trial in trials.items():
            reason = (
                journal.ends[trial_id]["stop_reason"]
                if trial_id in journal.ends
                else "interrupted"
            )
            # The last epoch is 0 if the trial's only row is a damaged line.
            asked_for_more = (
                reason == "completed"
                and past.histories.last_epoch(trial_id) < trial.epochs
            )
            if asked_for_more or reason in OPEN_REASONS:
                past.open[trial_id] = trial
                continue
            row = last.get(trial_id, {})
            row |= {
                "stop_reason": reason,
                "scheduler_loss": finite_loss(row.get("train_loss", math.inf)),
            }
            past.ended[trial_id] = row
        return past

    @property
    def failed(self) -> set[str]:
        """The trials that ended in an error."""
        return {
            trial_id
            for trial_id, row in self.ended.items()
            if row["stop_reason"] == "error"
        }

    @property
    def outcomes(self) -> dict[str, Mapping[str, Any] | None]:
        """What a search knows of the trials that have ended, by id: their last rows,
        None for those with an error. What a trial does that is trained again after an
        error comes too late: other trials were proposed without it."""
        return self.ended | dict.fromkeys((*self.failed, *self.retried))

    def release(self) -> None:
        """Drop the rows, which take much memory. The trials run without them."""
        self.rows, self.ended = None, {}


def holding_out(count: int | None, trials: Iterable[TrialConfig]) -> list[TrialConfig]:
    """Return trials, of which those that do not say how many examples they hold out get
    this count, if it is known."""
    return [trial if count is None else trial.holding_out(count) for trial in trials]


def new_ids(taken: Collection[str]) -> Iterator[str]:
    """Yield the ids of new trials: the next numbers that no other trial of the sweep
    has."""
    return (
        trial_id
        for i in itertools.count(len(taken))
        if (trial_id := f"{i:05d}") not in taken
    )


def additions(
    known: Mapping[str, TrialConfig],
    wanted: Iterable[TrialConfig],
    holdout: int | None = None,
) -> dict[str, TrialConfig]:
    """Return the trials that a sweep lacks, by id: new ones, and those that are to
    train longer. Those that do not say how many examples they hold out, hold out as
    many as `holdout` says, if that is known. Raises `UserError` if one is to train
    longer after a schedule that has ended."""

    def but_for_epochs(trial: TrialConfig) -> tuple[Any, ...]:
        return tuple((trial.to_dict() | {"epochs": 1}).values())

    ids, new, found = defaultdict(list), new_ids(known), dict[str, TrialConfig]()
    for trial_id, trial in known.items():
        ids[but_for_epochs(trial)].append(trial_id)
    for trial in holding_out(holdout, wanted):
        same = ids[but_for_epochs(trial)]
        trial_id = same.pop(0) if same else next(new)
        if trial_id in known and trial.epochs <= known[trial_id].epochs:
            continue
        if trial_id in known and trial.schedule != "constant":
            said = f"more epochs can't follow on a {trial.schedule} schedule, which ended at 0; start a new sweep"
            raise UserError(f"--epochs {trial.epochs}: {said}")
        found[trial_id] = trial
    return found


def not_known(
    known: Mapping[str, TrialConfig],
    trials: Sequence[TrialConfig],
    holdout: int | None = None,
) -> dict[str, TrialConfig]:
    """Return those of some drawn trials that are not `known` from before a resume, by
    id. With the same seed, they are what would have been drawn without the
    interruption. The hold-out is as in `additions`."""
    before, new = Counter(known.values()), []
    for trial in holding_out(holdout, trials):
        before[trial] -= 1
        if before[trial] < 0:
            new.append(trial)
    return dict(
        zip(
            new_ids(known),
            new[len(new) - max(len(trials) - len(known), 0) :],
            strict=False,
        )
    )


def grown(
    known: Iterable[TrialConfig],
    epochs: int,
    learning_rates: Iterable[float],
    seeds: Iterable[int],
) -> list[TrialConfig]:
    """Return the trials of a sweep that gets more epochs, rates at all settings and
    seeds, and seeds at all rates. Raises `UserError` if there are too many, or fewer
    epochs are asked for than before."""
    known = list(known)
    if 0 < epochs < (longest := max((one.epochs for one in known), default=0)):
        raise UserError(
            f"--epochs {epochs}: {longest} were asked for already; a resume can only add to that"
        )
    found = [
        replace(one, epochs=epochs) if one.epochs < epochs else one for one in known
    ]
    rates = sorted(set(learning_rates) - {one.learning_rate for one in found})
    found += _with_each(found, [{"learning_rate": rate} for rate in rates])
    new = sorted(set(seeds) - {one.seed for one in found})
    return found + _with_each(
        found, [{"seed": seed, "data_seed": seed} for seed in new]
    )


def _with_each(
    trials: Sequence[TrialConfig], changes: Sequence[Mapping[str, Any]]
) -> list[TrialConfig]:
    """Return a trial with each of these changes for each of the trials that differ
    otherwise."""
    if not changes:
        return []
    different = dict.fromkeys(replace(one, **changes[0]) for one in trials)
    refuse_too_many(len(trials) + len(different) * len(changes), "with what is added")
    return [replace(one, **change) for change in changes for one in different]
