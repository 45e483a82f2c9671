"""Which setting a decision found best, and how sure that is, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mnist_tune.numbers import counted, told_apart
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.decision import TOO_MANY, most_failures
from mnist_tune.regimes.families import setting, varied
from mnist_tune.regimes.replicates import half_width
from mnist_tune.results.tables import Tables
from mnist_tune.trial import TrialConfig


def titles(settings: Sequence[TrialConfig]) -> list[str]:
    """Return the name of each setting: what the others have otherwise, such as `mlp-64-relu, learning rate 0.1`; the
    learning rate alone, such as `0.1`, if they differ in nothing else."""
    table = pd.DataFrame([one.to_dict() for one in settings]).rename(columns={"epochs": "epochs_asked"})
    names, rates = varied(table), told_apart(table["learning_rate"])
    if not names:
        return [rates[one.learning_rate] for one in settings]
    if len(rates) > 1:
        names.insert(names[0] == "architecture", "learning_rate")
    for name in names:
        if pd.api.types.is_float_dtype(table[name]):
            table[name] = table[name].map(told_apart(table[name]))
    return [", ".join(filter(None, map(setting, names, values))) for values in table[names].itertuples(index=False)]


def decided(sweep: Tables, contest: Contest) -> Iterator[str]:
    """Yield what a decision found so far, a line each: the best setting, the others, failures, the test set."""
    found, names = contest.decision, titles(contest.settings)
    if not found.seeds.any():
        return
    best = int(found.leader)
    left = [int(k) for k in np.flatnonzero(found.active) if k != best]
    aside = np.flatnonzero(~found.active & (found.failures >= found.failures[best] + TOO_MANY))
    at_most = found.may_lose
    if contest.settled and len(aside) == len(names) - 1:
        sure = "all others fail more often"
    elif contest.settled:
        others = "of those that fail no more often, none is" if len(aside) else "none of the others is"
        sure = f"{others} better{f' by more than {at_most:.4f}' * bool(at_most)} (95%)"
    else:
        sure = (
            f"another may be better by up to {at_most:.4f} (95%)" if math.isfinite(at_most) else "too few seeds (95%)"
        )
    known = "best" if contest.settled else f"not settled after {counted(len(sweep.trials))}; best so far"
    apart = f"; not told apart: {', '.join(names[k] for k in left)}" * bool(left and at_most)
    yield f"{known}: {names[best]}; {sure}{apart}"
    for k, ((low, mean, high), other, both) in enumerate(zip(*found.worse(), strict=True)):
        if k != best and both:
            low, mean, high, how = (-high, -mean, -low, "better") if mean < 0 else (low, mean, high, "worse")
            interval = f" [{low:.4f}, {high:.4f}]" * math.isfinite(low)  # of few seeds there is none
            yield f"{names[k]} is {mean:.4f}{interval} {how} than {names[other]} ({counted(int(both), 'seed')})"
    for k in map(int, np.flatnonzero(found.failures)):
        of = f"{found.failures[k]} of {counted(int(found.seeds[k]), 'seed')}"
        yield f"{names[k]} failed with {of} (it diverged, or was at chance)" + "; set aside" * (k in aside)
    rows = sweep.trials[contest.is_of(best, sweep.trials)]
    failures = int(found.failures[best]) + sum(map(math.isnan, contest.confirming))
    seeds = int(found.seeds[best]) + len(contest.confirming)
    limit = float(most_failures(failures, seeds))
    of = counted(seeds, "seed")
    yield f"{names[best]}: {failures} of {of} failed (at most {limit:.0%} do); {counted(len(sweep.trials))}"
    if contest.confirming:
        fresh = pd.Series(contest.confirming).dropna()
        further = counted(len(fresh), "further seed")
        yield f"accuracy of {names[best]} on held-out images, with {further}: {_mean(fresh)}"
    tested = rows.loc[rows["stop_reason"].eq("completed"), "test_accuracy"].astype(float)
    chosen = sweep.meta["options"].get("chosen_by") == "test"
    biased = "; the settings were chosen by test accuracy, so it is not an unbiased estimate"
    yield f"test accuracy of {names[best]}, {counted(len(tested), 'seed')}: {_mean(tested)}" + biased * chosen


def _mean(values: pd.Series) -> str:
    if len(values) < 3:
        return " and ".join(map("{:.4f}".format, values)) or "–"
    return f"{values.mean():.4f} ± {half_width(values.std(), len(values)):.4f} (95% interval of the mean)"
