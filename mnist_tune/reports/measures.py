"""The measures of a sweep, such as accuracies and losses, and the axes that they are
drawn on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.columns import OWN_SCORE
from mnist_tune.numbers import LEAST_DIGITS, digits_showing

BEYOND = 3.0
"""Losses above so many times the untrained one, and those that are not finite, lie at
the top of their axis."""

LEAST_SPAN = 1e-3
"""The least length of a linear axis of losses, as a share of the largest: what is less
may be rounding. Where losses may be negative, their zero means nothing, so that they
may differ by little of their size."""

ROOM = 0.06
"""The room at either end of an axis, as a share of what lies between."""


class Axis(NamedTuple):
    """An axis: its ends, and whether it is logarithmic."""

    low: float
    high: float
    log: bool = True
    accuracy: bool = False
    """Whether it is one of errors, which are written as accuracies: the smaller the
    error, the higher it lies."""
    ticks: dict[float, str] | None = None
    """What is written along it, if that is not round numbers."""
    marked: dict[float, str] | None = None
    """Heights that have a line, and what is written there: where guessing is, or what
    is off the scale."""

    @property
    def ends(self) -> tuple[float, float]:
        """Its left or lower end, and the other one."""
        if self.accuracy:
            return self.high, self.low
        return self.low, self.high

    @property
    def scale(self) -> str:
        """What matplotlib calls its scale."""
        return "log" if self.log else "linear"

    def share(self, value: Any) -> Any:
        """Return where a value lies on it: 0 at its left or at its bottom, 1 at the
        other end."""
        first, last = self.ends
        if self.log:
            first, last = np.log(first), np.log(last)
            value = np.log(value)
        return (value - first) / (last - first)

    @classmethod
    def of(cls, values: Any, log: bool = True, least: float = 0.3) -> Axis:
        """Return the axis that holds these values with some room. What has no place on
        it is left out.

        Args:
            least: how long it is at least: in decades if it is logarithmic, else as a
                share of the largest value, since values have any unit.
        """
        places = np.asarray(values, dtype=float)
        if log:
            with np.errstate(divide="ignore", invalid="ignore"):
                places = np.log10(places)
        places = places[np.isfinite(places)]
        low, high = -1.0, 0.0
        if len(places):
            low, high = float(places.min()), float(places.max())
        largest = max(abs(low), abs(high))
        if not log and largest > 0:
            least *= largest
        middle = (low + high) / 2
        half = max(high - low, least) * (0.5 + ROOM)
        low, high = middle - half, middle + half
        if log:
            return cls(10**low, 10**high)
        return cls(low, high, False)


class Measure(NamedTuple):
    """A measure of trials and epochs, and its axis."""

    title: str
    column: str
    """The column of `trials` and `epochs` that it comes from."""
    axis: Axis
    digits: int = LEAST_DIGITS
    """The significant digits of its values, unless it is an accuracy."""

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return the heights of values: what is off the scale lies at its end, as do
        losses that are not finite."""
        heights = values
        if self.axis.accuracy:
            heights = 1 - values
        with np.errstate(invalid="ignore"):
            heights = np.clip(heights, self.axis.low, self.axis.high)
        if measure_kind(self.column) == "loss":
            return np.where(np.isnan(heights), self.axis.high, heights)
        return np.asarray(heights)

    def of(self, rows: pd.DataFrame) -> np.ndarray:
        """Return its values in rows of `trials` or `epochs`."""
        return numbers_of(rows, self.column)

    def said(self, value: float, error: float = 0.0) -> str:
        """Return a value as text, with the digits that such an error leaves to it."""
        if math.isnan(value):
            return "–"
        if self.axis.accuracy:
            return f"{value:.4f}"
        digits = max(self.digits, digits_showing(error, value))
        return f"{value + 0.0:.{digits}g}"

    def error(self, value: float) -> str:
        """Return the half-width of an interval as text."""
        if self.axis.accuracy:
            return f"{value:.4f}"
        return f"{value:.4g}"


class SettingAxis(NamedTuple):
    """A setting in which trials differ, and where each trial is on its axis."""

    name: str
    places: np.ndarray
    axis: Axis
    """Its ticks are the groups at the places 0, 1, 2, ..., unless it is one of
    numbers."""


def numbers_of(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as floats; NaN where there is none."""
    values = rows.reindex(columns=[column])[column]
    return np.asarray(values.to_numpy(dtype=float, na_value=math.nan))


def measure_kind(column: str) -> str:
    """Return `accuracy` or `loss`; nothing for a task's own score, whatever it is
    called."""
    if column.startswith(OWN_SCORE):
        return ""
    _, _, kind = column.rpartition("_")
    return kind


def accuracy_axis(accuracies: np.ndarray, images: int, chance: float | None) -> Axis:
    """Return the axis of the errors of classifiers.

    Args:
        accuracies: finite ones, of all epochs.
        images: on how many they were measured, at most.
        chance: the accuracy of a guess; None if nobody knows it.
    """
    errors = np.maximum(1 - accuracies, 0.5 / images)
    largest = errors.max()
    marked = None
    if chance is not None:
        guess = 1 - chance
        largest = max(largest, guess)
        marked = {guess: "guess"}
    high = min(1.2 * largest, 1.15)
    low = min(0.6 * errors.min(), high / 20)
    return Axis(low, high, accuracy=True, marked=marked)


def loss_axis(losses: np.ndarray, last: np.ndarray, untrained: float) -> Axis:
    """Return the axis of losses.

    Args:
        losses: finite ones, of all epochs.
        last: those of the last epoch of each trial, finite or not.
        untrained: the loss before training, above 0.
    """
    log = bool((losses > 0).all())
    most = untrained
    if log:
        # Where little can be learned, losses far above the untrained one would flatten
        # all others.
        learned = max(untrained / losses.min(), 1)
        most = min(BEYOND, math.sqrt(learned)) * untrained
    shown = losses[losses <= most]
    if not len(shown):
        shown = np.array([most])
    axis = score_axis(shown, log)
    if (last <= most).all():
        return axis
    return axis._replace(marked={axis.high: f"> {axis.high:.2g}"})


def score_axis(scores: np.ndarray, log: bool | None = None) -> Axis:
    """Return the axis of finite numbers: by default logarithmic if all are above 0."""
    if log is None:
        log = bool((scores > 0).all())
    return Axis.of(scores, log, 0.3 if log else LEAST_SPAN)
