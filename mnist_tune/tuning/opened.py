"""A sweep whose folder this process owns, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mnist_tune.continuation import resumable
from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData
from mnist_tune.errors import redacted
from mnist_tune.results.writer import SweepWriter
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.past import Past

HELD_OUT = 6
"""One of so many training images is held out by searches and decisions, where they are
given no number. They compare settings that lie closer to each other than those of a
sweep."""


Wanted = Callable[[Mapping[str, TrialConfig], int | None], Mapping[str, TrialConfig]]
"""Returns the trials that a sweep lacks, by id, given those that are known, and how
many examples are held out by those that do not say how many; None before the data are
loaded."""


@dataclass
class Opened:
    """A sweep whose folder this process owns, ready to run."""

    options: Any
    """How it is run: a `SweepOptions`."""
    writer: SweepWriter
    past: Past
    """What it did before it was resumed. Its trials are open if it is new."""
    data: Any
    """The data set; None once it was taken."""

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the folder until the context is left. Ctrl-C meanwhile says how the sweep
        goes on."""
        with resumable(self.writer.record, self.writer.where), self.writer:
            yield

    def take_data(self) -> Any:
        """Return the data set for Ray to hold: the driver needs no copy of its own."""
        data = self.data
        self.data = None
        return data

    @property
    def holdout(self) -> int:
        """How many training examples are held out by trials that do not say how
        many."""
        return self.writer.record.holdout


def now() -> str:
    """Return the time, as `sweep.json` keeps it."""
    return datetime.now(UTC).isoformat()


def plain_options(
    options: SweepOptions, dataset: Dataset | TaskData, holdout: int
) -> dict[str, Any]:
    """Return the options as `sweep.json` keeps them, with how many examples are held
    out by default."""
    values = vars(options) | {"address": options.cluster(), "dataset": dataset.source}
    if values.get("holdout") in (None, ()):
        values["holdout"] = holdout
    for name, value in values.items():
        if isinstance(value, (str, Path)):
            values[name] = redacted(str(value))
    return values
