"""What is comparable with what: the families of a sweep, and the images that its trials
are compared on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.numbers import exactly, told_apart
from mnist_tune.trial import OUT_OF_PATIENCE

FAMILY = """
    architecture optimizer batch_size drop_last momentum nesterov weight_decay clip_norm schedule warmup_steps loss
    label_noise holdout
""".split()
"""Trials that are equal in these differ in their learning rate and their seeds only."""

SIBLINGS = ["architecture", "label_noise", "optimizer", "schedule", "loss", "drop_last"]
"""Trials with equal values in these columns are siblings: one network on the same
labels. If all columns of `FAMILY` are equal, they differ in their learning rate and
their seeds only."""


def siblings_of(config: Any) -> tuple[Any, ...]:
    """Return what the configs of siblings share."""
    return tuple(getattr(config, name) for name in SIBLINGS)


def groups_of_siblings(trials: pd.DataFrame) -> list[np.ndarray]:
    """Return the rows of `trials` of each group of siblings. One whose settings a
    scheduler changed is alone, since siblings are compared by their rates."""
    alone = trials["trial_id"].where(trials["changed"], "")
    return [*trials.groupby([*SIBLINGS, alone], sort=False).indices.values()]


def varied(trials: pd.DataFrame) -> list[str]:
    """Return the settings in which these trials differ, other than the learning rate:
    columns of `FAMILY`, and the epochs asked for."""
    names = [name for name in (*FAMILY, "epochs_asked") if name in trials]
    return [name for name in names if trials[name].nunique() > 1]


def whole_epochs(trials: Any) -> Any:
    """Return the epochs that were asked for, given rows of `trials`, or one of them,
    whose `epochs_asked` are reports: an epoch may have several."""
    return trials["epochs_asked"] // trials.get("reports", 1)


def families(trials: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the trials of each family with its title, such as `mlp-16-tanh, batch size
    64`, in order."""
    names = ["architecture"]
    names += [name for name in varied(trials) if name != "architecture"]
    for values, family in trials.groupby(names):
        row = dict(zip(names, values, strict=True))
        settings = [setting(name, row[name]) for name in names if has(row, name)]
        yield ", ".join(filter(None, settings)), family


def has(row: Mapping[str, Any], name: str) -> bool:
    """Return whether a row of `trials` has a setting: momentum is SGD's. It may lack
    what all rows have in common."""
    if name != "momentum":
        return True
    optimizer, _, _ = str(row.get("optimizer", "sgd")).partition("(")
    return optimizer.strip() == "sgd"


def setting(name: str, value: Any) -> str:
    """Return a setting in words, such as `batch size 64`; a flag that is not set is
    empty."""
    words = name.removesuffix("_asked").replace("_", " ")
    if name in ("nesterov", "drop_last"):
        return words if value else ""
    if name in ("architecture", "optimizer", "loss"):
        return str(value)
    return f"{words} {exactly(value)}"


def named(
    rows: pd.DataFrame, trials: pd.DataFrame, before_rate: str = ", learning rate "
) -> list[str]:
    """Return the name of each row's setting: its learning rate, after the other
    settings in which trials differ, such as `mlp-64-relu, learning rate 0.1`."""
    rates = told_apart(trials["learning_rate"])
    names = varied(trials)
    numbers = {}
    for name in names:
        if pd.api.types.is_float_dtype(trials[name]):
            numbers[name] = told_apart(trials[name])
    texts = []
    for row in rows.to_dict("records"):
        rounded = {name: float(words[row[name]]) for name, words in numbers.items()}
        shown = row | rounded
        settings = [setting(name, shown[name]) for name in names if has(row, name)]
        rate = rates[row["learning_rate"]]
        settings = [text for text in (row["label"], *settings) if text]
        if settings:
            texts.append(f"{', '.join(settings)}{before_rate}{rate}")
        else:
            texts.append(rate)
    return texts


def whole_course(trials: pd.DataFrame) -> pd.Series:
    """Return how many epochs each trial was to run: as many as were asked for or, where
    the held-out score rose no more (`--patience`), as many as it ran."""
    asked = trials["epochs_asked"]
    if not {"stop_reason", "epochs_run"}.issubset(trials):
        return asked
    has_ended = trials["stop_reason"].eq(OUT_OF_PATIENCE)
    return asked.mask(has_ended, trials["epochs_run"])


def held_out(trials: pd.DataFrame) -> str:
    """Return the split that these trials are compared on: validation if each that was
    measured has it, else test. One that blew up may have been measured on neither."""
    # of a task, perhaps a loss alone
    splits = {}
    for split in ("validation", "test"):
        columns = trials.reindex(columns=[f"{split}_accuracy", f"{split}_loss"])
        splits[split] = columns.notna().any(axis=1)
    has_test_alone = splits["test"] & ~splits["validation"]
    if splits["validation"].any() and not has_test_alone.any():
        return "validation"
    return "test"
