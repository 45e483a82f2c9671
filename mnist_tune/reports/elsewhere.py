"""The next steps for what was trained elsewhere: what to train there, since no command
here can."""

from __future__ import annotations

from itertools import count, islice

from mnist_tune.answers.settings import keys
from mnist_tune.answers.steps import NextStep, StepKind
from mnist_tune.judged import Judged
from mnist_tune.numbers import counted, listed, told_apart
from mnist_tune.regimes.families import named

FRESH = 3
"""How many fresh seeds a setting is to be trained with: the fewest whose mean has an
interval."""


def rates_elsewhere(step: NextStep) -> str:
    """Return which learning rates to train with."""
    rates = step.arguments["learning_rates"]
    return f"train with {listed([*told_apart(rates, 3).values()])} as well"


def seeds_elsewhere(sweep: Judged, step: NextStep) -> str:
    """Return which settings to train, and with which fresh seeds."""
    settings = sweep.best()
    compared = settings[[key in step.settings for key in keys(settings)]]
    names = named(compared.sort_values("learning_rate"), sweep.trials)
    if not sweep.record.options.get("has_seeds"):
        return (
            f"train each of {listed(names)} with {FRESH} fresh seeds, and add the rows"
        )
    used = set(sweep.trials["seed"])
    fresh = islice((seed for seed in count() if seed not in used), FRESH)
    seeds = listed([str(seed) for seed in fresh])
    return f"train each of {listed(names)} with the seeds {seeds}, and add the rows"


def left_elsewhere(step: NextStep) -> str:
    """Return what did not end, and what to do with it."""
    if step.kind is StepKind.RETRY:
        return f"{counted(step.trials, 'run')} failed; train again what failed"
    open_ = counted(step.trials, "run")
    what = f"{open_} ended before the longest one"
    how = (
        "train on, or say why in a column stop_reason (completed: it was to be so long)"
    )
    return f"{what}; {how}"
