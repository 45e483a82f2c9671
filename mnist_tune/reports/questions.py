"""The next steps of an answer in words, each with the command that does it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mnist_tune.answers.settings import keys
from mnist_tune.answers.steps import NextStep, StepKind, Why
from mnist_tune.continuation import code_flags, python_call, resume_command
from mnist_tune.data_spec import ARRAYS
from mnist_tune.invocation import command, words
from mnist_tune.judged import Judged
from mnist_tune.numbers import counted, rate, told_apart
from mnist_tune.own_code.registry import names_own_code
from mnist_tune.regimes.families import families, named
from mnist_tune.reports.elsewhere import (
    left_elsewhere,
    rates_elsewhere,
    seeds_elsewhere,
)
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.trial import TrialConfig

MOST_NAMED = 6
"""The most settings that a sentence names."""

ROOM = 80
"""The most characters that their names may have; of more, only their number is said."""

SEVERAL = ("task", "loop", "architecture", "optimizer", "batch_size", "momentum")
"""The options of a search for an edge that take several values."""

OF_RATES = {
    Why.LARGEST_IS_BEST: "{rate} is the largest rate tried, so try larger ones",
    Why.SMALLEST_IS_BEST: "{rate} is the smallest rate tried, so try smaller ones",
    Why.NO_EDGE_YET: "No edge yet, try larger rates",
    Why.ALL_TOO_LARGE: "Try smaller rates",
    Why.BETWEEN: "Try rates between",
}
"""Why other learning rates are worth a try."""

OF_LENGTH = {
    Why.BEST_LEARNS: "The best still learns",
    Why.BEST_NOT_SETTLED: "The best may not have settled",
    Why.SOME_LEARN: "Some still learn",
}

OF_TRIALS = {
    Why.NOT_SETTLED: "More seeds may settle it",
    Why.NOT_PRECISE: "More trials make it more precise",
}


class Question(NamedTuple):
    """What to ask or to do next, and the command that does it; empty if none can."""

    text: str
    command: str

    def __str__(self) -> str:
        return f"{self.text} {self.command}".rstrip()


@dataclass(frozen=True)
class Source:
    """A sweep, and how its path is written in commands."""

    sweep: Judged
    where: str

    def resumed(self, text: str, **options: Any) -> Question:
        """Return a question whose command resumes the sweep with options."""
        line = resume_command(self.sweep.record, self.where, **options)
        return Question(f"{text}:", line)


def questions(
    steps: Iterable[NextStep], sweep: Judged, where: str
) -> tuple[Question, ...]:
    """Return the questions of steps.

    Args:
        where: how the sweep's path is written.
    """
    source = Source(sweep, where)
    if sweep.record.is_elsewhere:
        return tuple(_elsewhere(sweep, step) for step in steps)
    return tuple(WORDED[step.kind](source, step) for step in steps)


def _elsewhere(sweep: Judged, step: NextStep) -> Question:
    """Return a next step of what was trained elsewhere: no command here trains it."""
    if step.kind is StepKind.DECIDE:
        text = f"Which is best? To decide, {seeds_elsewhere(sweep, step)}"
    elif step.kind is StepKind.ADD_RATES:
        text = f"{_why_rates(step)}: {rates_elsewhere(step)}"
    elif step.kind is StepKind.TRAIN_LONGER:
        text = f"{OF_LENGTH[step.why]}: train for twice as many epochs"
    else:
        text = left_elsewhere(step)
    return Question(text, "")


def is_short(names: Sequence[str], text: str) -> bool:
    """Return whether a sentence may name these, in this text, or only how many."""
    return len(names) <= MOST_NAMED and len(text) <= ROOM


def _resume(source: Source, step: NextStep) -> Question:
    line = resume_command(source.sweep.record, source.where, **step.arguments)
    if step.why == Why.NO_SIGN_OF_LIFE:
        silent = "it gave no sign of life for two minutes"
        return Question(f"{silent}; if it was killed, resume with:", line)
    if step.why == Why.FAILED:
        them = "it" if step.trials == 1 else "them"
        failed = f"{counted(step.trials)} failed; train {them} again with:"
        return Question(failed, line)
    what = "the sweep"
    if step.trials:
        what = counted(step.trials)
    return Question(f"{what} had not ended; resume with:", line)


def _add_rates(source: Source, step: NextStep) -> Question:
    line = proposed(source.sweep.record, source.where, step.arguments["learning_rates"])
    return Question(f"{_why_rates(step)}:", line)


def _why_rates(step: NextStep) -> str:
    """Return why other learning rates are worth a try, and of which families."""
    text = OF_RATES[step.why]
    if step.rate is not None:
        text = text.format(rate=rate(step.rate))
    return f"{text}{_of_families(step)}"


def _of_families(step: NextStep) -> str:
    if not step.families:
        return ""
    return f" ({', '.join(step.families)})"


def proposed(record: SweepMeta, where: str, rates: Sequence[float]) -> str:
    """Return the command that adds learning rates to a sweep, or the call in
    Python."""
    names = told_apart(rates, 3)
    texts = tuple(names[rate] for rate in rates)
    added: tuple[Any, ...] = texts
    if code_flags(record) is None:
        added = tuple(map(float, texts))
    return resume_command(record, where, learning_rates=added)


def _train_longer(source: Source, step: NextStep) -> Question:
    text = f"{OF_LENGTH[step.why]}; train longer"
    if step.but_stopped:
        text += ", but for what was stopped early"
    return source.resumed(text, **step.arguments)


def _add_trials(source: Source, step: NextStep) -> Question:
    final = source.sweep.final
    if step.of_final and final is not None:
        place = final.path
        where = str(place)
        if isinstance(place, Path):
            where = os.path.join(source.where, place.name)
        source = Source(final, where)
    return source.resumed(OF_TRIALS[step.why], **step.arguments)


def _decide(source: Source, step: NextStep) -> Question:
    settings = source.sweep.best()
    names_of_all = named(settings, source.sweep.trials)
    by_key = dict(zip(keys(settings), names_of_all, strict=True))
    names = [by_key[key] for key in step.settings]
    if is_short(names, ", ".join(names)):
        text = f"Is it {', '.join(names[:-1])} or {names[-1]}?"
    else:
        text = f"Which of these {len(names) - step.jumping}"
        if step.jumping:
            text += f", or {step.jumping} more, by a jump"
        text += "?"
    is_named = [key in step.settings for key in keys(settings)]
    record = source.sweep.record
    flags = code_flags(record, settings[is_named])
    if flags is None:
        first = f"sweep={source.where!r}"
        call = python_call("DecideOptions", record, first, **step.arguments)
        return Question(text, f"decide({call})")
    line = f"{command('decide')} --sweep {shlex.quote(source.where)}{flags}"
    for name, value in step.arguments.items():
        line += f" {words(name, value)}"
    return Question(text, line)


def _find_edge(source: Source, step: NextStep) -> Question:
    text = f"Where is the edge{_of_families(step)}?"
    record = source.sweep.record
    architecture = step.arguments[record.data.flag]
    optimizer = step.arguments.get("optimizer", TrialConfig.optimizer)
    code = {"architecture": [architecture], "optimizer": [optimizer]}
    if code_flags(record, pd.DataFrame(code)) is None:
        values = {}
        for name, value in step.arguments.items():
            if value != ARRAYS:
                values[name] = (value,) if name in SEVERAL else value
        options = python_call("EdgeOptions", record, **values)
        return Question(text, f"find_edge({options})")
    if _sweep_names_code(source.sweep, code):
        expected = words("expected", step.arguments["expected"])
        line = f"{command('edge')} --sweep {shlex.quote(source.where)} {expected}"
        return Question(text, line)
    line = command("edge")
    for name, value in step.arguments.items():
        flag = words(name) if value is True else words(name, value)
        line += f" {flag}"
    return Question(text, line)


def _sweep_names_code(sweep: Judged, code: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a command that names the sweep trains this code as it was
    recorded: the user has signed it, and nothing else was trained there."""
    names = [name for names in code.values() for name in names]
    is_own = any(map(names_own_code, names))
    if not is_own or not sweep.record.own_code.is_signed:
        return False
    return len(list(families(sweep.trials))) == 1


WORDED: dict[StepKind, Callable[[Source, NextStep], Question]] = {
    StepKind.RESUME: _resume,
    StepKind.RETRY: _resume,
    StepKind.ADD_RATES: _add_rates,
    StepKind.TRAIN_LONGER: _train_longer,
    StepKind.ADD_TRIALS: _add_trials,
    StepKind.DECIDE: _decide,
    StepKind.FIND_EDGE: _find_edge,
}
