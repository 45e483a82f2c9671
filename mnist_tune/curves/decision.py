"""Decide between settings that are trained elsewhere, by the fresh seeds of a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mnist_tune.answers.fresh_seeds import FIRST_SEEDS, fresh_seeds
from mnist_tune.answers.settings import keys
from mnist_tune.columns import LARGEST
from mnist_tune.errors import UserError
from mnist_tune.judged import settings_of
from mnist_tune.regimes.contest import CONTENDERS, MOST_SETTINGS, RUNS
from mnist_tune.regimes.decision import to_decide
from mnist_tune.regimes.families import held_out
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.sweep import Sweep
from mnist_tune.trial import MOST_TRIALS, UNDECIDED_REASONS

ENDS = ("completed", "diverged", *UNDECIDED_REASONS)
"""How runs end that nobody stopped."""


def decide_curves(
    first: Any, again: Any = None, tolerance: float | None = None
) -> Sweep:
    """Return the decision between the settings that may be the best of a table, by the
    runs of a second one. Its answer says which seeds to train.

    Settings, and which seeds are fresh, follow from the first table alone. Seeds count
    in their order, up to the first one with which a setting that is left has no whole
    run. So nobody can choose afterwards what counts.

    Raises:
        UserError: there are not two settings, some runs have no seed, or a fresh seed
            is there twice.
    """
    again = again or first
    for sweep in (first, again):
        if not isinstance(sweep, Sweep) or not sweep.record.options.get("has_seeds"):
            what = "decide takes DecideOptions(...), or what read_curves returns"
            raise UserError(f"{what} of a table with a seed for each run")
    if tolerance is not None:
        _refuse_tolerance(tolerance, first)
    contenders = to_decide(first.best())
    _refuse(contenders, first)
    used = first.trials["seed"].tolist()
    trials = _fresh_trials(again, contenders, used)
    seeds = sorted(set(trials["seed"]))
    orders = trials["seed"].map(seeds.index)
    places = zip(orders, trials["setting"], strict=True)
    runs = dict(zip(places, trials["trial_id"], strict=True))
    # others may have been chosen by what they say
    is_asked = seeds == fresh_seeds(used, len(seeds))
    is_stopped = ~trials["stop_reason"].isin(ENDS)
    # a contest compares on examples that are held out
    examples = first.record.data.test_images
    settings = settings_of(contenders.assign(holdout=examples))
    options = {
        CONTENDERS: [setting.to_dict() for setting in settings],
        RUNS: runs,
        "split": held_out(again.trials),
        "unasked": not is_asked or bool(is_stopped.any()),
        "chosen_by": held_out(first.trials),
        FIRST_SEEDS: used,
        "at_a_time": 1,
        "trials": MOST_TRIALS,
        "tolerance": tolerance,
    }
    options = first.meta["options"] | options
    meta = first.meta | {"kind": SweepKind.DECISION, "options": options}
    is_of_run = again.epochs["trial_id"].isin(trials["trial_id"])
    trials = trials.drop(columns="setting").assign(holdout=examples)
    return Sweep(again.path, trials, again.epochs[is_of_run], meta)


def _fresh_trials(
    again: Sweep, contenders: pd.DataFrame, used: list[int]
) -> pd.DataFrame:
    """Return the trials of these settings whose seeds were not used, with the number of
    their setting. Raises `UserError` if two are the same."""
    numbers = {key: number for number, key in enumerate(keys(contenders))}
    is_fresh = ~again.trials["seed"].isin(used)
    trials = again.trials[is_fresh]
    settings = [numbers.get(key) for key in keys(trials)]
    trials = trials.assign(setting=settings).dropna(subset="setting")
    if trials.duplicated(["setting", "seed"]).any():
        twice = "has two runs of one setting and one seed"
        raise UserError(f"{again.path} {twice}; keep one of them")
    return trials


def _refuse_tolerance(tolerance: float, first: Sweep) -> None:
    """Refuse what is no difference of two scores."""
    is_accuracy = first.record.data.ranking.is_accuracy
    scores = "losses"
    most = LARGEST
    if is_accuracy:
        scores = "accuracies"
        most = 1
    if not 0 < tolerance < most:
        raise UserError(
            f"tolerance is a difference of {scores}, such as 0.002, got {tolerance}"
        )


def _refuse(contenders: pd.DataFrame, first: Sweep) -> None:
    """Refuse what can't be compared."""
    count = len(contenders)
    networks = contenders["architecture"].nunique()
    compares = networks < 2 or first.record.data.compares_tasks
    is_possible = 1 < count <= MOST_SETTINGS
    if not (compares and is_possible):
        needs = f"a decision needs 2 to {MOST_SETTINGS}, and losses one network"
        raise UserError(f"{count} settings of {first.path} may be the best; {needs}")
