"""The families of a sweep, with titles: trials that differ in their learning rate and their seeds only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mnist_tune.numbers import exactly
from mnist_tune.regimes.conclusions import varied

SIBLINGS = ["architecture", "label_noise", "optimizer", "schedule", "loss", "drop_last"]
"""Trials with equal values in these columns are siblings: one network on the same labels. If all columns of `FAMILY`
are equal, they differ in their learning rate and their seeds only."""


def families(trials: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the trials of each family with its title, such as `mlp-16-tanh, batch size 64`, in order."""
    names = ["architecture", *(name for name in varied(trials) if name != "architecture")]
    for values, family in trials.groupby(names):
        said = [_said(name, value) for name, value in zip(names, values, strict=True)]
        yield ", ".join(filter(None, said)), family


def _said(name: str, value: Any) -> str:
    if name in ("nesterov", "drop_last"):
        return name.replace("_", " ") * bool(value)
    if name in ("architecture", "optimizer", "loss"):
        return str(value)
    return f"{name.replace('_', ' ')} {exactly(value)}"
