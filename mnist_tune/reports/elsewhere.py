"""The next steps for what was trained elsewhere: what to train there, since no command
here can."""

from __future__ import annotations

from mnist_tune.answers.fresh_seeds import FRESH
from mnist_tune.answers.settings import keys
from mnist_tune.answers.steps import NextStep, StepKind
from mnist_tune.judged import Judged
from mnist_tune.numbers import counted, listed, told_apart
from mnist_tune.regimes.families import named


def rates_elsewhere(step: NextStep) -> str:
    """Return which learning rates to train with."""
    rates = step.arguments["learning_rates"]
    return f"train with {listed([*told_apart(rates, 3).values()])} as well"


def seeds_elsewhere(sweep: Judged, step: NextStep) -> str:
    """Return which settings to train, with which fresh seeds, and what then."""
    settings, trials = sweep.best(), sweep.trials
    if sweep.decision is not None:
        settings = trials = sweep.decision.table
    compared = settings[[key in step.settings for key in keys(settings)]]
    names = named(compared.sort_values("learning_rate"), trials)
    seeds = f"{FRESH} fresh seeds, all in a column seed"
    if step.arguments:
        numbers = [str(seed) for seed in step.arguments["seeds"]]
        seeds = f"the seeds {listed(numbers)}"
    then = "decide(..., again=...)"
    if sweep.record.typed:
        then = "read again, --again TABLE"
    return f"train each of {listed(names)} with {seeds}; then {then}"


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
