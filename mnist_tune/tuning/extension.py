"""What a resume may change about a sweep: more epochs, learning rates or seeds. All else is refused, never ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from mnist_tune.errors import UserError
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import SweepOptions

Options = TypeVar("Options", bound=SweepOptions)

MORE = ("learning_rates", "seeds")
"""Options that take more values in a resume."""

CHANGEABLE = ("execution", "lanes", "trials_per_gpu", "max_concurrent", "time_budget", "save_every")
"""Options that may change when a sweep is resumed: they say how it runs. The cluster's address is never taken from the
folder, which may come from anybody: Ray's token would go there."""

HOW = (*CHANGEABLE, "address", "dashboard", "data_dir", "dataset", "output", "quiet", "resume", "retry_errored")
"""Options that say how and where a sweep runs, and where its data are, which a resume checks itself."""

CODE = ("architecture", "optimizer")
"""Options that a resume may name again, without arguments, so that one's own code is loaded."""


def extended(options: Options, recorded: Mapping[str, Any], where: Any) -> Options:
    """Return the recorded options of a sweep, with the epochs, learning rates and seeds that a resume adds.

    Args:
        options: what the resume was given; an option that has its default was not given.
        recorded: the options in `sweep.json`.
        where: the sweep, for errors.

    Raises:
        UserError: an option was given that can't change.
    """
    found: dict[str, Any] = {}
    for field in fields(options):
        name, given, before = field.name, getattr(options, field.name), recorded.get(field.name, field.default)
        if name in HOW:
            continue
        before = tuple(before) if isinstance(before, list) else before
        found[name] = before
        if given == field.default or given == before or name in CODE:
            continue
        if name not in recorded and not hasattr(SweepOptions, name):
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} can't change in a resume: {where} was made from Python; make a new sweep")
        if name in MORE and isinstance(before, tuple):
            found[name] = tuple(dict.fromkeys((*before, *given)))
        elif name == "epochs" and before is not None and given > before:
            found[name] = given
        else:
            raise UserError(_refused(name, given, before, where))
    constant = found.get("schedule", "constant") == "constant"
    if not constant and found.get("epochs") != recorded.get("epochs"):
        raise UserError(
            f"{where} has a {found['schedule']} schedule, which ended at 0; start a new sweep for more epochs"
        )
    return replace(options, **found)


def _refused(name: str, given: Any, before: Any, where: Any) -> str:
    flag = f"--{name.replace('_', '-')}"
    if name == "epochs":
        return f"{flag} {given}: {where} was asked for {before} already; a resume can only add epochs"
    said = " ".join(map(str, before)) if isinstance(before, tuple) else before
    return f"{flag} can't change in a resume: {where} has {said}; leave it out, or start a new sweep"


def additions(known: Mapping[str, TrialConfig], wanted: Sequence[TrialConfig]) -> dict[str, TrialConfig]:
    """Return the trials that an extension adds or changes, by id: new ones, and those that are to train longer."""
    ids = {replace(trial, epochs=1): trial_id for trial_id, trial in known.items()}
    found, number = {}, len(known)
    for trial in wanted:
        trial_id = ids.get(replace(trial, epochs=1))
        if trial_id is None:
            found[f"{number:05d}"] = trial
            number += 1
        elif trial.epochs > known[trial_id].epochs:
            found[trial_id] = trial
    return found
