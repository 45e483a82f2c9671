"""Make a sweep of the curves that somebody else's tool wrote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_tune import storage
from mnist_tune.columns import BELOW_1, COUNT, EPOCHS, LOSS, SHARE, Kind
from mnist_tune.curves.files import read_file
from mnist_tune.curves.names import SCORES, Columns, find_columns
from mnist_tune.curves.reports import LOSSES, Run, numbered
from mnist_tune.errors import UserError
from mnist_tune.judged import judged
from mnist_tune.results.journal import Journal
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.results.tables import tables_of
from mnist_tune.storage import Place
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TrialConfig

FACTS: dict[str, Kind] = {
    "chance": BELOW_1,
    "test_examples": COUNT,
    "train_examples": COUNT,
    "guess": LOSS,
    "target": SHARE,
    "target_loss": LOSS,
}

MEASURED = (*SCORES, "train_loss", "train_accuracy", "untrained_loss", "diverged")
"""The columns of reports that are columns of `epochs`."""


@dataclass(frozen=True)
class Facts:
    """What a table does not say of its data."""

    chance: float | None
    test_examples: int | None
    train_examples: int | None
    guess: float | None
    target: float | None
    target_loss: float | None

    def __post_init__(self) -> None:
        for name, kind in FACTS.items():
            value = getattr(self, name)
            if value is not None and not kind.holds(value):
                raise UserError(f"{name} must be {kind.wanted}, got {value!r}")

    def refuse_gaps(self, columns: Columns) -> bool:
        """Return whether runs are compared by accuracy. Raise a `UserError` if what is
        needed for that, or for losses, is not given."""
        accuracies = [name for name in SCORES if "accuracy" in name]
        there = [name for name in accuracies if name in columns.known]
        if there and (self.chance is None or self.test_examples is None):
            lacking = "chance" if self.chance is None else "test_examples"
            what = ", the accuracy of guessing" if lacking == "chance" else ""
            example = "chance=0.1" if lacking == "chance" else "test_examples=10_000"
            line = f"{there[0]} needs {lacking}{what}; give it, such as {example}"
            raise UserError(line)
        if not there and self.guess is None and "untrained_loss" not in columns.known:
            line = "losses alone need guess, the loss of the best constant answer"
            raise UserError(f"{line}, or a column untrained_loss; give one of them")
        if there and self.target_loss is not None:
            raise UserError("target_loss is for losses alone; accuracies have target")
        if not there and self.target is not None:
            raise UserError("target is an accuracy; losses alone have target_loss")
        return bool(there)


def read_curves(
    table: pd.DataFrame | str | Path,
    *,
    chance: float | None = None,
    test_examples: int | None = None,
    train_examples: int | None = None,
    guess: float | None = None,
    target: float | None = None,
    target_loss: float | None = None,
    columns: Mapping[str, str] | None = None,
    settings: Iterable[str] = (),
    name: str = "curves",
) -> Sweep:
    """Return the sweep of runs that were trained elsewhere, in whatever framework:
    labels, the answer, the page, the picture.

    Args:
        table: a row for each report of a run, as a DataFrame or the name of a file:
            CSV, Parquet or JSON lines. Needed are `learning_rate`, `epoch` or `step`,
            and `test_accuracy`, `test_loss`, `validation_accuracy` or
            `validation_loss`.
        chance: the accuracy of guessing, which accuracies need.
        test_examples: on how many examples these were measured, which they need, too.
        train_examples: how many there are to train on. If it is not known, accuracies
            on these count as no more precise than the others.
        guess: the loss of the best constant answer. Losses alone need it, or a column
            `untrained_loss`.
        target: the accuracy to reach; by default it follows from the best run.
        target_loss: with losses alone, the loss to reach.
        columns: our names of columns, such as `{"top1": "test_accuracy"}`.
        settings: columns that are settings, beside those named `config/...`.
        name: what tables call it.

    Raises:
        UserError: something is missing, not known, or no number; the line names what
            and where.
    """
    facts = Facts(chance, test_examples, train_examples, guess, target, target_loss)
    place: Place = Path(name)
    if not isinstance(table, pd.DataFrame):
        place = storage.place(table)
        table = read_file(place)
    found = find_columns([*map(str, table)], columns or {}, tuple(settings))
    by_accuracy = facts.refuse_gaps(found)
    runs, notes = numbered(table.set_axis([*map(str, table)], axis=1), found)
    trials, ends = _trials(runs, facts, name)
    meta = _meta(name, facts, runs, trials, notes)
    if not by_accuracy:
        meta["dataset"]["chance"] = None
    epochs = _epochs(runs)
    journal = Journal(epochs, trials, set(), ends, undecided=False)
    return Sweep.of(judged(tables_of(place, meta, journal)))


def _trials(
    runs: Sequence[Run], facts: Facts, name: str
) -> tuple[dict[str, TrialConfig], dict[str, dict[str, Any]]]:
    """Return the trial that each run is, and how it ended."""
    longest = max(run.last for run in runs)
    trials = dict[str, TrialConfig]()
    ends = dict[str, dict[str, Any]]()
    replicates = dict[TrialConfig, int]()
    for run in runs:
        epochs, reason = _end(run, longest)
        config = _config(run, facts, name, epochs)
        # without seeds, runs are told apart by their numbers
        number = replicates.setdefault(config, 0)
        replicates[config] += 1
        if run.values["seed"] is None:
            config = _config(run, facts, name, epochs, number)
        trials[run.name] = config
        ends[run.name] = {"stop_reason": reason}
    return trials, ends


def _end(run: Run, longest: float) -> tuple[int, str]:
    """Return of how many reports a run was to be, and why it ended."""
    reports = len(run.reports)
    asked = run.values["epochs_asked"]
    if asked is None:
        asked = longest
        if run.stop_reason == "completed":
            asked = run.last
    elif run.reports["place"].iloc[0] == 0:
        asked -= 1  # the first one is 0
    missing = math.ceil((asked - run.last) / run.spacing - 0.5)
    whole = reports + max(missing, 0)
    if run.stop_reason is not None:
        return whole, run.stop_reason
    if run.is_lost:
        return whole, "diverged"
    return whole, "completed" if whole == reports else "interrupted"


def _config(
    run: Run, facts: Facts, name: str, epochs: int, number: int = 0
) -> TrialConfig:
    values = run.values
    seed = number if values["seed"] is None else int(values["seed"])
    # of an unknown size, an epoch is a step: no rule counts more than there are
    batch_size = values["batch_size"] or facts.train_examples or 1
    try:
        return TrialConfig(
            architecture=_trained(run, name),
            learning_rate=values["learning_rate"],
            batch_size=int(batch_size),
            schedule=values["schedule"] or TrialConfig.schedule,
            seed=seed,
            data_seed=seed,
            epochs=epochs,
            holdout=0,
        )
    except UserError as error:
        raise UserError(f"run {run.name!r}: {error}") from None


def _trained(run: Run, name: str) -> str:
    """Return what a run trained, with its settings as arguments."""
    arguments = [f"{key}={value}" for key, value in run.settings.items()]
    return f"{name}({', '.join(arguments)})" if arguments else name


def _meta(
    name: str,
    facts: Facts,
    runs: Sequence[Run],
    trials: Mapping[str, TrialConfig],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return what a `sweep.json` of these runs records."""
    trained = {trial.architecture for trial in trials.values()}
    guesses = {} if facts.guess is None else dict.fromkeys(trained, facts.guess)
    evaluated = {run.values["train_loss_examples"] for run in runs} - {None}
    data = {
        "name": name,
        "note": "; ".join(notes),
        "checksums": {},
        "train_images": facts.train_examples or facts.test_examples or 1,
        "test_images": facts.test_examples or 1,
        "chance": facts.chance,
        "guesses": guesses,
        "target": facts.target,
    }
    options = {
        "target_loss": facts.target_loss,
        "train_evaluation": int(min(evaluated)) if evaluated else None,
    }
    return {
        "name": name,
        "kind": SweepKind.CURVES,
        "trials": {},
        "ended": "",
        "dataset": data,
        "options": options,
    }


def _epochs(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the reports as the table `epochs`, with where each was as
    `reported_at`."""
    parts = []
    for run in runs:
        rows = run.reports[["learning_rate", *MEASURED]].assign(
            trial_id=run.name,
            epoch=range(1, len(run.reports) + 1),
            untrained_loss=run.values["untrained_loss"],
            reported_at=run.reports["place"],
        )
        parts.append(rows)
    rows = pd.concat(parts, ignore_index=True)
    columns = [column.name for column in EPOCHS]
    table = rows.reindex(columns=[*columns, "reported_at"])
    texts = [column.name for column in EPOCHS if column.kind.type is str]
    numbers = ["untrained_loss", *LOSSES]
    return table.astype(dict.fromkeys(texts, object) | dict.fromkeys(numbers, float))
