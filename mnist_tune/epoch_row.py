"""An epoch's row, from the device that trained it to the journal, and how it is stored.

Ray Tune takes plain dictionaries: at that border alone, a row becomes one and is made
from one again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from mnist_tune.columns import OWN_SCORE

Measured = tuple[float, ...]
"""A measurement of sharpness: steps made, sharpness, its Ritz residual, batch
sharpness; for Adam also the sharpness of P⁻¹H and its residual."""

NESTED = ("scores", "sharpness_steps")
"""What an epoch's row holds as a structure. The table has a column for each score, and
the measurements as text."""


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """What is known of an epoch of a trial, from the device that trained it to the
    journal.

    Its fields are the columns of `EPOCHS` but for the trial's id, and `scores`. None
    stands for what was not measured.
    """

    epoch: int
    step: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    diverged: bool
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    answers: float | None = None
    loss_noise: float | None = None
    loss_error: float | None = None
    step_loss_first: float | None = None
    step_loss_max: float | None = None
    step_loss_last: float | None = None
    window_loss_max: float | None = None
    finite: bool | None = None
    above_since: int | None = None
    guessing_since: int | None = None
    untrained_loss: float | None = None
    sharpness: float | None = None
    sharpness_residual: float | None = None
    batch_sharpness: float | None = None
    preconditioned_sharpness: float | None = None
    untrained_sharpness: float | None = None
    compile_s: float | None = None
    train_s: float | None = None
    eval_s: float | None = None
    batch_s: float | None = None
    wait_s: float | None = None
    lanes: int | None = None
    fill: float | None = None
    node: str | None = None
    device: str | None = None
    ended_at: float | None = None
    scores: Mapping[str, float] | None = None
    """A task's own scores, held out."""
    sharpness_steps: Sequence[Measured] | None = None
    """All measurements of sharpness in this epoch."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> EpochRow:
        """Return the row whose `stored` values these are. Others are left out."""
        columns = {name: values[name] for name in FIELDS_OF_ROW if name in values}
        if columns.get("sharpness_steps") is not None:
            columns["sharpness_steps"] = tuple(map(tuple, columns["sharpness_steps"]))
        return cls(**columns)

    @classmethod
    def reported(cls, values: Mapping[str, Any]) -> EpochRow:
        """Return the row whose `report` is among these values."""
        scores = {
            name.removeprefix(OWN_SCORE): value
            for name, value in values.items()
            if name.startswith(OWN_SCORE)
        }
        return cls.of({**values, "scores": scores or None})

    def stored(self) -> dict[str, Any]:
        """Return what is known, for JSON."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def report(self) -> dict[str, Any]:
        """Return all values by column, as Ray Tune takes them. Each of a task's own
        scores is a column."""
        values = dict(vars(self))
        scores = values.pop("scores") or {}
        for name, value in scores.items():
            values[OWN_SCORE + name] = value
        return values


FIELDS_OF_ROW = tuple(field.name for field in fields(EpochRow))


def without_texts(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of an epoch's row, which older versions stored with texts of
    JSON in them, as they are stored now. What such a text does not hold is None."""
    today = dict(values)
    for name in NESTED:
        if isinstance(text := values.get(name), str):
            today[name] = None
            with suppress(ValueError):
                today[name] = json.loads(text)
    return today


def measured_text(measured: Sequence[Measured]) -> str:
    """Return measurements of sharpness as the table has them: as text."""
    return json.dumps([(int(step), *values) for step, *values in measured])
