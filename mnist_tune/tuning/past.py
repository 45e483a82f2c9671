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
from mnist_tune.training.optimizers import takes_total_steps
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
        last_rows = journal.epochs.drop_duplicates("trial_id", keep="last")
        last = last_rows.set_index("trial_id").to_dict("index")
        past = cls(
            trials, rows=journal.epochs, undecided=journal.undecided, is_resumed=True
        )
        past.retried = SweepMeta.of(meta).retried
        for trial_id, trial in trials.items():
            reason = "interrupted"
            if trial_id in journal.ends:
                reason = journal.ends[trial_id]["stop_reason"]
            # The last epoch is 0 if the trial's only row is a damaged line.
            last_epoch = past.histories.last_epoch(trial_id)
            is_longer_now = reason == "completed" and last_epoch < trial.epochs
            if is_longer_now or reason in OPEN_REASONS:
                past.open[trial_id] = trial
                continue
            row = last.get(trial_id, {})
            loss = row.get("train_loss", math.inf)
            row |= {"stop_reason": reason, "scheduler_loss": finite_loss(loss)}
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
        without_row = dict.fromkeys(self.failed | self.retried)
        return self.ended | without_row

    def release(self) -> None:
        """Drop the rows, which take much memory. The trials run without them."""
        self.rows = None
        self.ended = {}


def holding_out(count: int | None, trials: Iterable[TrialConfig]) -> list[TrialConfig]:
    """Return trials, of which those that do not say how many examples they hold out get
    this count, if it is known."""
    if count is None:
        return list(trials)
    return [trial.holding_out(count) for trial in trials]


def new_ids(ids: Collection[str]) -> Iterator[str]:
    """Return the ids of new trials: the next numbers that no other trial of the sweep
    has."""
    numbers = itertools.count(len(ids))
    candidates = (f"{number:05d}" for number in numbers)
    return (trial_id for trial_id in candidates if trial_id not in ids)


def additions(
    recorded: Mapping[str, TrialConfig],
    trials: Iterable[TrialConfig],
    holdout: int | None = None,
) -> dict[str, TrialConfig]:
    """Return the trials that a sweep lacks, by id: new ones, and those that are to
    train longer. Those that do not say how many examples they hold out, hold out as
    many as `holdout` says, if that is known. Raises `UserError` if one is to train
    longer after a schedule that has ended, or has got another number of steps."""

    def but_for_epochs(trial: TrialConfig) -> tuple[Any, ...]:
        return tuple((trial.to_dict() | {"epochs": 1}).values())

    # The same trial may be recorded several times: each is taken once.
    ids = defaultdict(list)
    for trial_id, trial in recorded.items():
        ids[but_for_epochs(trial)].append(trial_id)
    fresh_ids = new_ids(recorded)
    lacking = dict[str, TrialConfig]()
    for trial in holding_out(holdout, trials):
        same = ids[but_for_epochs(trial)]
        if not same:
            lacking[next(fresh_ids)] = trial
            continue
        trial_id = same.pop(0)
        if trial.epochs <= recorded[trial_id].epochs:
            continue
        before = ""
        if trial.schedule != "constant":
            before = f"a {trial.schedule} schedule, which ended at 0"
        elif takes_total_steps(trial.optimizer):
            epochs = recorded[trial_id].epochs
            before = (
                f"{trial.optimizer!r}, which got the total_steps of {epochs} epochs"
            )
        if before:
            raise UserError(
                f"--epochs {trial.epochs}: more epochs can't follow on {before}; start a new sweep"
            )
        lacking[trial_id] = trial
    return lacking


def not_known(
    recorded: Mapping[str, TrialConfig],
    trials: Sequence[TrialConfig],
    holdout: int | None = None,
) -> dict[str, TrialConfig]:
    """Return those of some drawn trials that are not `recorded` from before a resume,
    by id. With the same seed, they are what would have been drawn without the
    interruption. The hold-out is as in `additions`."""
    missing = max(len(trials) - len(recorded), 0)
    if not missing:
        return {}
    before = Counter(recorded.values())
    new: list[TrialConfig] = []
    for trial in holding_out(holdout, trials):
        before[trial] -= 1
        if before[trial] < 0:
            new.append(trial)
    # More than are missing are new if other values were drawn before: the last go on.
    return dict(zip(new_ids(recorded), new[-missing:], strict=False))


def grown(
    recorded: Iterable[TrialConfig],
    epochs: int,
    learning_rates: Iterable[float],
    seeds: Iterable[int],
) -> list[TrialConfig]:
    """Return the trials of a sweep that gets more epochs, rates at all settings and
    seeds, and seeds at all rates. Raises `UserError` if there are too many, or fewer
    epochs are asked for than before."""
    trials = list(recorded)
    longest = max((trial.epochs for trial in trials), default=0)
    if 0 < epochs < longest:
        raise UserError(
            f"--epochs {epochs}: {longest} were asked for already; a resume can only add to that"
        )
    for i, trial in enumerate(trials):
        if trial.epochs < epochs:
            trials[i] = replace(trial, epochs=epochs)
    # New rates get all settings and seeds, then new seeds get all rates, the new ones
    # among them.
    rates = set(learning_rates) - {trial.learning_rate for trial in trials}
    trials += _with_each(trials, [{"learning_rate": rate} for rate in sorted(rates)])
    new_seeds = set(seeds) - {trial.seed for trial in trials}
    changes = [{"seed": seed, "data_seed": seed} for seed in sorted(new_seeds)]
    return trials + _with_each(trials, changes)


def _with_each(
    trials: Sequence[TrialConfig], changes: Sequence[Mapping[str, Any]]
) -> list[TrialConfig]:
    """Return a trial with each of these changes for each of the trials that differ
    otherwise."""
    if not changes:
        return []
    different = dict.fromkeys(replace(trial, **changes[0]) for trial in trials)
    count = len(trials) + len(different) * len(changes)
    refuse_too_many(count, "with what is added")
    return [replace(trial, **change) for change in changes for trial in different]
