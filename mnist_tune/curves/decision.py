"""Decide between settings that are trained elsewhere, by the fresh seeds of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from mnist_tune.answers.elsewhere import fresh_seeds
from mnist_tune.answers.settings import keys
from mnist_tune.errors import UserError
from mnist_tune.judged import settings_of
from mnist_tune.numbers import counted, listed
from mnist_tune.regimes.contest import CONTENDERS, MOST_SETTINGS, Contest
from mnist_tune.regimes.decision import to_decide
from mnist_tune.regimes.families import held_out, named
from mnist_tune.results.sweep_meta import FIRST_SEEDS, UNASKED, SweepKind
from mnist_tune.sweep import Sweep
from mnist_tune.trial import MOST_TRIALS, OPEN_REASONS

ENDED = ("completed", "diverged", "error")
"""Why runs end whose outcome a decision takes up."""


def decide_curves(first: Any, again: Sweep | None = None) -> Sweep:
    """Return the decision between the settings that may be the best of a table.

    The settings and the seeds that are not fresh are those of the first table, so the
    same second one can't be read as another decision.

    Args:
        first: the sweep of the table that asks, as `read_curves` returns it.
        again: that of a table with runs of fresh seeds, and perhaps those of before.
            Without it, nothing is compared yet, and the answer says which seeds to
            train.

    Raises:
        UserError: there are fewer than two settings, some runs have no seed, or no run
            is of these settings and fresh.
    """
    tables = [first]
    if again is not None:
        tables.append(again)
    for sweep in tables:
        _refuse_other(sweep)
    last = tables[-1]
    _refuse_other_facts(first, last)
    contenders = to_decide(first.best())
    _refuse_count(first, len(contenders))
    names = named(contenders, first.trials)
    splits = [held_out(sweep.trials) for sweep in tables]
    runs = _fresh_runs(first, last, contenders)
    if again is not None and runs.empty:
        epochs = counted(int(contenders["epochs_asked"].max()), "epoch")
        raise UserError(
            f"no run of {again.path} has a compared setting ({listed(names)}) and a seed that the first table has not; train these, each for {epochs}"
        )
    images = last.record.data.test_images
    runs = _as_held_out(runs, splits[-1]).assign(holdout=images)
    settings = [replace(setting, holdout=images) for setting in settings_of(contenders)]
    options = {
        CONTENDERS: [setting.to_dict() for setting in settings],
        "at_a_time": 1,
        "trials": MOST_TRIALS,
        "tolerance": None,
        "chosen_by": "test" if "test" in splits else splits[0],
        FIRST_SEEDS: [int(seed) for seed in first.trials["seed"].unique()],
    }
    meta = last.meta | {"kind": SweepKind.DECISION}
    meta["options"] = last.meta["options"] | options
    numbers, lacking = _counted(Contest.of(meta), runs)
    is_counted = runs["trial_id"].isin(numbers)
    trials = runs[is_counted].drop(columns="setting")
    remarks = [*_unasked(first, trials, runs)]
    meta["options"][UNASKED] = bool(remarks)
    remarks += _not_counted(lacking, names)
    if meta["dataset"]["note"]:
        remarks.insert(0, meta["dataset"]["note"])
    meta["dataset"] = meta["dataset"] | {"note": "; ".join(remarks)}
    epochs = _as_held_out(last.epochs, splits[-1])
    return Sweep(
        last.path, _renumbered(trials, numbers), _renumbered(epochs, numbers), meta
    )


def _refuse_other(sweep: Any) -> None:
    """Refuse what is no sweep of a table, or has no seeds."""
    is_table = isinstance(sweep, Sweep) and sweep.record.kind is SweepKind.CURVES
    if not is_table:
        here = "a sweep that was trained here: decide(DecideOptions(sweep=sweep.path))"
        raise UserError(f"decide(sweep) takes what read_curves returns; for {here}")
    if not sweep.record.options["has_seeds"]:
        what = "has no seed in some runs, so which are fresh is not known"
        raise UserError(f"{sweep.path} {what}; fill in a column seed")
    networks = sweep.trials["architecture"].nunique()
    if networks > 1 and not sweep.record.data.compares_tasks:
        hint = "read one of them at a time"
        raise UserError(f"losses of several networks do not compare; {hint}")


def _refuse_other_facts(first: Sweep, again: Sweep) -> None:
    """Refuse scores that don't compare."""
    for name in ("by_accuracy", "chance", "test_images"):
        before = getattr(first.record.data, name)
        now = getattr(again.record.data, name)
        if now != before:
            what = "the second table was read with other facts than the first"
            raise UserError(f"{what}: {name} {now}, not {before}; read both alike")


def _refuse_count(first: Sweep, count: int) -> None:
    if count < 2:
        nothing = "there is nothing to decide"
        raise UserError(
            f"fewer than two settings of {first.path} may be the best; {nothing}"
        )
    if count > MOST_SETTINGS:
        limit = f"at most {MOST_SETTINGS}"
        raise UserError(f"{count} settings are too many for a decision: {limit}")


def _fresh_runs(first: Sweep, again: Sweep, contenders: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of these settings with seeds that the first table has not, with
    the number of their setting. Raises `UserError` if two are the same."""
    numbers = {key: number for number, key in enumerate(keys(contenders))}
    trials = again.trials
    trials = trials.assign(setting=[numbers.get(key, -1) for key in keys(trials)])
    is_fresh = ~trials["seed"].isin(first.trials["seed"])
    runs = trials[is_fresh & trials["setting"].ge(0)]
    twice = runs[runs.duplicated(["setting", "seed"], keep=False)]
    if len(twice):
        seed = twice["seed"].iloc[0]
        same = twice[twice["seed"].eq(seed)].sort_values("setting", kind="stable")
        both = " and ".join(same["trial_id"][:2])
        what = f"have the same setting and the seed {seed}"
        raise UserError(f"the runs {both} {what}; keep one")
    return runs


def _as_held_out(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return a table whose held-out scores are those of this split: a decision compares
    settings by them."""
    if split != "test":
        return table
    return table.assign(
        validation_accuracy=table["test_accuracy"], validation_loss=table["test_loss"]
    )


def _counted(
    contest: Contest, runs: pd.DataFrame
) -> tuple[dict[str, str], dict[int, list[int]]]:
    """Tell a contest the outcomes of all seeds that each remaining setting has. Return
    the contest's ids of these runs, and for each other seed the settings that lack
    it."""
    whole = runs[runs["stop_reason"].isin(ENDED)]
    rows = {(row["seed"], row["setting"]): row for row in whole.to_dict("records")}
    numbers = dict[str, str]()
    lacking = dict[int, list[int]]()
    for seed in sorted(set(runs["seed"])):
        before = len(numbers)
        # those of one seed, since one is trained at a time
        settings = [setting for _, setting in contest.asked[before:]]
        missing = [setting for setting in settings if (seed, setting) not in rows]
        if missing:
            lacking[seed] = missing
            continue
        for number, setting in enumerate(settings, before):
            row = rows[seed, setting]
            numbers[row["trial_id"]] = f"{number:05d}"
            contest.tell(number, row)
    return numbers, lacking


def _unasked(first: Sweep, trials: pd.DataFrame, runs: pd.DataFrame) -> Iterator[str]:
    """Yield which seeds and stops nobody asked for: they may have been chosen by what
    they say."""
    seeds = sorted(set(trials["seed"]))
    asked = fresh_seeds({*first.trials["seed"]}, len(seeds))
    if seeds != asked:
        yield f"the seeds {_texts(asked)} were asked for, and {_texts(seeds)} count"
    stopped = ~runs["stop_reason"].isin((*ENDED, *OPEN_REASONS))
    if stopped.any():
        yield f"nobody asked to stop {counted(int(stopped.sum()), 'run')} early"


def _not_counted(
    lacking: Mapping[int, Sequence[int]], names: Sequence[str]
) -> Iterator[str]:
    """Yield which seeds do not count."""
    settings = {setting for missing in lacking.values() for setting in missing}
    if settings:
        without = listed([names[setting] for setting in sorted(settings)])
        seeds = _texts(lacking)
        yield f"without a whole run of {without}, these seeds do not count: {seeds}"


def _texts(seeds: Iterator[int] | Sequence[int] | Mapping[int, Any]) -> str:
    return listed([str(seed) for seed in seeds])


def _renumbered(table: pd.DataFrame, numbers: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of a contest's runs, with its ids, in its order."""
    rows = table[table["trial_id"].isin(numbers)]
    ids = rows["trial_id"].map(numbers)
    rows = rows.assign(trial_id=ids.astype(object))  # also without a row
    return rows.sort_values("trial_id", kind="stable", ignore_index=True)
