"""The arguments of what trials name, such as 16 of `net.py:cnn(width=16)`, as columns of
`trials`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from mnist_tune.columns import EPOCHS, NUMBER, OWN_SCORE, TRIALS
from mnist_tune.errors import UserError, escaped
from mnist_tune.named_code import parse_call
from mnist_tune.trial import FIELDS

CALLS = ("architecture", "optimizer")
"""The columns that name what may have arguments."""

TAKEN = {column.name for column in (*TRIALS, *EPOCHS)} | FIELDS.keys()
PREFIXES = (OWN_SCORE, *(f"{name}_" for name in CALLS))


def column_of(call: str, argument: str) -> str:
    """Return the column of an argument of one of `CALLS`. A network's has the
    argument's name, unless a column or a setting has that name, or it begins as those
    of scores or of other arguments do. Then, and for an optimiser's, the name of the
    call comes before it: `architecture_momentum`, `optimizer_b1`."""
    is_taken = argument in TAKEN or argument.startswith(PREFIXES)
    if call == "architecture" and not is_taken:
        return argument
    return f"{call}_{argument}"


def with_arguments(trials: pd.DataFrame) -> pd.DataFrame:
    """Return trials with a column for each argument that is given by its name."""
    columns = [arguments_of(trials[call]) for call in CALLS if call in trials]
    return pd.concat([trials, *columns], axis=1)


def argument_columns(trials: pd.DataFrame) -> list[str]:
    """Return the columns of `trials` that are arguments."""
    own = [name for name in trials if name not in TAKEN]
    return [name for name in own if not name.startswith(OWN_SCORE)]


def given_arguments(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the arguments of each trial, by their columns."""
    networks, optimizers = (trials[call].map(_by_call(trials[call])) for call in CALLS)
    pairs = zip(networks, optimizers, strict=True)
    return [network | optimizer for network, optimizer in pairs]


def arguments_of(calls: pd.Series) -> pd.DataFrame:
    """Return a column for each argument that one of these calls names, a column of
    `CALLS`. What others lack is NaN, or None."""
    arguments = _by_call(calls)
    rows = calls.map(arguments).tolist()
    names = dict.fromkeys(name for own in arguments.values() for name in own)
    columns = {name: _column(rows, name) for name in names}
    return pd.DataFrame(columns, index=calls.index)


def _by_call(calls: pd.Series) -> dict[str, dict[str, Any]]:
    """Return the arguments of each call: numbers, True or False, and texts."""
    by_call = dict[str, dict[str, Any]]()
    for call in calls.unique():
        by_call[call] = {}
        with suppress(UserError):  # the name of a run that was trained elsewhere
            for name, value in parse_call(call).keywords:
                if not isinstance(value, bool) and not NUMBER.holds(value):
                    value = escaped(str(value))
                by_call[call][column_of(str(calls.name), name)] = value
    return by_call


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """Return the values of an argument, as texts if they are not all numbers, or all
    True or False."""
    values = [row[name] for row in rows if name in row]
    if all(map(NUMBER.holds, values)):
        return [row.get(name, math.nan) for row in rows]
    if all(isinstance(value, bool) for value in values):
        return [row.get(name) for row in rows]
    return [str(row[name]) if name in row else None for row in rows]
