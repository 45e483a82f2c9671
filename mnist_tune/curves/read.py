"""Make a sweep of the curves that somebody else's tool wrote."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_tune import storage
from mnist_tune.columns import EPOCHS
from mnist_tune.curves.facts import CurveFacts
from mnist_tune.curves.files import read_file
from mnist_tune.curves.names import SETTING, our_names
from mnist_tune.curves.reports import notes, numbered, of_runs
from mnist_tune.curves.settings import trial_of, usual_settings, with_arguments
from mnist_tune.errors import UserError
from mnist_tune.judged import judged
from mnist_tune.numbers import listed
from mnist_tune.results.journal import Journal
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.results.tables import tables_of
from mnist_tune.storage import Place
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TrialConfig


def read_curves(
    table: pd.DataFrame | str | Path | Any,
    *,
    chance: float | None = None,
    test_examples: int | None = None,
    train_examples: int | None = None,
    guess: float | None = None,
    target: float | None = None,
    target_loss: float | None = None,
    columns: Mapping[str, str] | None = None,
    settings: Collection[str] = (),
    name: str = "curves",
) -> Sweep:
    """Return the sweep of runs that were trained elsewhere, in whatever framework:
    labels, the answer, the page, the picture.

    Args:
        table: a row for each report of a run, as a DataFrame or the name of a file:
            CSV, Parquet or JSON lines. Or an experiment of Ray Tune: its folder, or
            what `Tuner.fit` returns. Needed are `learning_rate`, `epoch` or `step`,
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
    facts = CurveFacts(
        chance=chance,
        test_examples=test_examples,
        train_examples=train_examples,
        guess=guess,
        target=target,
        target_loss=target_loss,
    )
    place: Place = Path(name)
    # a ResultGrid of Ray Tune
    table = getattr(table, "experiment_path", table)
    if not isinstance(table, pd.DataFrame):
        place = storage.place(table)
        table = read_file(place)
    table = table.rename(columns=str)
    named = our_names([*table], columns or {}, settings)
    facts.refuse_gaps(named.values())
    rows, unscored = numbered(table, named)
    runs = of_runs(rows)
    own = _own_values(runs, settings)
    trials = _trials(runs.drop(columns=own), name, facts.train_count)
    unread = [column for column in table if column not in named]
    data = _data(facts, name, trials)
    remarks = [*notes(rows, unscored), *_unread(own, unread)]
    data["note"] = "; ".join(remarks)
    has_seeds = bool(runs["seed"].notna().all())
    options = {"target_loss": target_loss, "has_seeds": has_seeds}
    evaluated = runs["train_loss_examples"].min()
    if not math.isnan(evaluated):
        options["train_evaluation"] = int(evaluated)
    meta = {
        "name": name,
        "kind": SweepKind.CURVES,
        "trials": {},
        "ended": "",
        "dataset": data,
        "options": options,
    }
    ends = {run: {"stop_reason": reason} for run, reason in runs["reason"].items()}
    journal = Journal(_epochs(rows), trials, set(), ends, undecided=False)
    tables = tables_of(place, meta, journal)
    return Sweep.of(judged(tables))


def _own_values(runs: pd.DataFrame, settings: Collection[str]) -> list[str]:
    """Return the settings that nobody named and that differ in all runs, such as the
    number of a process: they are none."""
    own = []
    named = {SETTING + name.removeprefix(SETTING) for name in settings}
    for name in runs.columns.difference(named):
        differs = runs[name].nunique() == len(runs) > 1
        if name.startswith(SETTING) and differs:
            own.append(name)
    return own


def _unread(own: Collection[str], unread: Collection[str]) -> Iterator[str]:
    if own:
        yield f"{listed([*own])} differs in all runs, so it is no setting; see --settings"
    if unread:
        yield f"columns that are not read: {listed([*unread])}"


def _trials(runs: pd.DataFrame, name: str, examples: int) -> dict[str, TrialConfig]:
    """Return the trial that each run is."""
    settings = [column for column in runs if column.startswith(SETTING)]
    runs = runs.fillna(usual_settings(examples)).assign(architecture=name)
    if settings:
        plain = runs[settings].rename(columns=lambda text: text.removeprefix(SETTING))
        texts = plain.apply(lambda run: with_arguments(name, run.dropna()), axis=1)
        runs["architecture"] = texts
    alike = ["architecture", "learning_rate", "batch_size", "schedule", "epochs"]
    # seeds that are not known are told apart by numbers
    runs["seed"] = runs["seed"].fillna(runs.groupby(alike).cumcount())
    trials = dict[str, TrialConfig]()
    for run, row in runs[[*alike, "seed"]].to_dict("index").items():
        values = {key: _whole(value) for key, value in row.items()}
        try:
            trials[str(run)] = trial_of(values)
        except UserError as error:
            raise UserError(f"run {run!r}: {error}") from None
    return trials


def _whole(value: Any) -> Any:
    """Return a whole number as one: tables with gaps have floats alone."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _data(
    facts: CurveFacts, name: str, trials: Mapping[str, TrialConfig]
) -> dict[str, Any]:
    """Return what a `sweep.json` records of the data."""
    guesses = {}
    if facts.guess is not None:
        trained = [trial.architecture for trial in trials.values()]
        guesses = dict.fromkeys(trained, facts.guess)
    return {
        "name": name,
        "checksums": {},
        "train_images": facts.train_count,
        "test_images": facts.test_count,
        "chance": facts.chance,
        "guesses": guesses,
        "target": facts.target,
    }


def _epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the reports as the table `epochs`."""
    names = {"run": "trial_id", "place": "reported_at"}
    epochs = rows.drop(columns="step")
    epochs = epochs.rename(columns=names)
    untrained = epochs.groupby("trial_id")["untrained_loss"]
    epochs["untrained_loss"] = untrained.transform("first")
    columns = [column.name for column in EPOCHS]
    columns.append("reported_at")
    epochs = epochs.reindex(columns=columns)
    return epochs.reset_index(drop=True)
