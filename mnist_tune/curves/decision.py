"""Decide between settings that are trained elsewhere, by the fresh seeds of a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mnist_tune.answers.fresh_seeds import FIRST_SEEDS, fresh_seeds
from mnist_tune.answers.settings import keys
from mnist_tune.errors import UserError
from mnist_tune.judged import settings_of
from mnist_tune.numbers import listed
from mnist_tune.regimes.contest import BY_TEST, CONTENDERS, MOST_SETTINGS, Contest
from mnist_tune.regimes.decision import to_decide
from mnist_tune.regimes.families import held_out
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.sweep import Sweep
from mnist_tune.trial import MOST_TRIALS, OPEN_REASONS

ENDED = ("completed", "diverged", "error")
"""Why runs end whose outcome a decision takes up."""


def decide_curves(first: Any, again: Any = None) -> Sweep:
    """Return the decision between the settings that may be the best of a table, by the
    runs of a second one. Its answer says which seeds to train.

    Settings, and which seeds are fresh, follow from the first table alone. So it can't
    be chosen afterwards what counts.

    Raises:
        UserError: there are not two settings, some runs have no seed, or a fresh seed
            is there twice.
    """
    if again is None:
        again = first
    for sweep in (first, again):
        _refuse_other(sweep)
    contenders = to_decide(first.best())
    _refuse_count(contenders, first)
    runs = _fresh_runs(first, again, contenders)
    meta = _meta(first, again, contenders)
    contest = Contest.of(meta)
    numbers = _counted(contest, runs)
    trials = _renumbered(runs, numbers)
    seeds = sorted(set(trials["seed"]))
    asked = fresh_seeds(meta["options"][FIRST_SEEDS], len(seeds))
    stops = set(runs["stop_reason"]).difference(ENDED, OPEN_REASONS)
    notes = list[str]()
    if seeds != asked or stops:
        meta["options"]["unasked"] = True
        notes.append("these seeds, or early stops of runs, were not asked for")
    left_out = set(runs["seed"]).difference(seeds)
    if left_out and not contest.settled:
        texts = [str(seed) for seed in sorted(left_out)]
        what = "seeds without a whole run of each setting that is left do not count"
        notes.append(f"{what}: {listed(texts)}")
    meta["dataset"] = meta["dataset"] | {"note": "; ".join(notes)}
    epochs = _renumbered(again.epochs, numbers)
    return Sweep(again.path, trials.drop(columns="setting"), epochs, meta)


def _refuse_other(sweep: Any) -> None:
    """Refuse what is no sweep of a table with seeds."""
    if not isinstance(sweep, Sweep) or not sweep.record.is_elsewhere:
        what = "decide takes DecideOptions(...), or what read_curves returns"
        raise UserError(f"{what}, not {type(sweep).__name__}")
    if not sweep.record.options["has_seeds"]:
        fix = "so which are fresh is not known; fill in a column seed"
        raise UserError(f"some runs of {sweep.path} have no seed, {fix}")


def _refuse_count(contenders: pd.DataFrame, first: Sweep) -> None:
    """Refuse settings that can't be compared."""
    count = len(contenders)
    if not 1 < count <= MOST_SETTINGS:
        most = f"a decision needs 2 to {MOST_SETTINGS}"
        raise UserError(f"{count} settings of {first.path} may be the best; {most}")
    networks = contenders["architecture"].nunique()
    if networks > 1 and not first.record.data.compares_tasks:
        hint = "read one of them at a time"
        raise UserError(f"losses of several networks do not compare; {hint}")


def _meta(first: Sweep, again: Sweep, contenders: pd.DataFrame) -> dict[str, Any]:
    """Return what the decision records."""
    images = first.record.data.test_images
    settings = settings_of(contenders.assign(holdout=images))
    splits = [held_out(sweep.trials) for sweep in (first, again)]
    chosen_by = "validation"
    if "test" in splits:
        chosen_by = "test"
    options = {
        CONTENDERS: [setting.to_dict() for setting in settings],
        BY_TEST: splits[-1] == "test",
        "chosen_by": chosen_by,
        "at_a_time": 1,
        "trials": MOST_TRIALS,
        "tolerance": None,
        FIRST_SEEDS: first.trials["seed"].tolist(),
    }
    options = first.meta["options"] | options
    return first.meta | {"kind": SweepKind.DECISION, "options": options}


def _fresh_runs(first: Sweep, again: Sweep, contenders: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of these settings with fresh seeds, with the number of their
    setting, by seeds."""
    numbers = {key: number for number, key in enumerate(keys(contenders))}
    is_fresh = ~again.trials["seed"].isin(first.trials["seed"])
    runs = again.trials[is_fresh]
    runs = runs.assign(setting=[numbers.get(key) for key in keys(runs)])
    runs = runs.dropna(subset="setting")
    twice = runs[runs.duplicated(["setting", "seed"])]
    for run, seed in zip(twice["trial_id"], twice["seed"], strict=True):
        same = "has the setting and the seed of another one"
        raise UserError(f"run {run!r} {same}, {seed}; keep one")
    return runs


def _counted(contest: Contest, runs: pd.DataFrame) -> dict[str, str]:
    """Return the contest's ids of the runs that count: of all seeds that each remaining
    setting has. The contest takes them up."""
    numbers = dict[str, str]()
    whole = runs[runs["stop_reason"].isin(ENDED)]
    for _, of_seed in whole.groupby("seed"):
        rows = {row["setting"]: row for row in of_seed.to_dict("records")}
        before = len(numbers)
        # those of one seed, since one is trained at a time
        settings = [setting for _, setting in contest.asked[before:]]
        if not rows.keys() >= set(settings):
            continue
        for number, setting in enumerate(settings, before):
            row = rows[setting]
            numbers[row["trial_id"]] = f"{number:05d}"
            contest.tell(number, row)
    return numbers


def _renumbered(table: pd.DataFrame, numbers: dict[str, str]) -> pd.DataFrame:
    """Return the rows of a contest's runs, with its ids."""
    rows = table[table["trial_id"].isin(numbers)]
    ids = rows["trial_id"].map(numbers)
    return rows.assign(trial_id=ids.astype(object))  # also where there are none
