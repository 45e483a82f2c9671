"""What a sweep says as one object of JSON, for scripts: `docs/json.md` has its schema."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune import storage
from mnist_tune.answers.answer import AnyAnswer, EdgeAnswer
from mnist_tune.answers.settings import Key
from mnist_tune.answers.steps import NextStep
from mnist_tune.judged import Judged
from mnist_tune.regimes.measured_edge import MeasuredEdge
from mnist_tune.regimes.replicates import CONFIGURATION
from mnist_tune.reports.answer import answer
from mnist_tune.reports.findings import SHARES, failures, notes
from mnist_tune.results.arguments import given_arguments

VERSION = 1
"""The version of the object. It grows when a field goes or changes its meaning."""


def json_object(sweep: Judged, where: str = "") -> dict[str, Any]:
    """Return what a sweep says: kind, answer, settings, trials with their labels, and
    questions with their commands. What is not known, or not finite, is null.

    Args:
        where: how its path is written in commands, by default in full.
    """
    worded = answer(sweep, where)
    data = worded.data
    record = sweep.record
    questions = []
    for step, question in zip(data.next_steps, worded.questions, strict=True):
        text = {"text": question.text, "command": question.command or None}
        questions.append(_step(step) | text)
    return {
        "version": VERSION,
        "kind": record.kind.value,
        "name": record.name,
        "path": str(storage.absolute(sweep.path)),
        "has_ended": record.ended is not None and not data.progress.is_open,
        "answer": _answer(data),
        "settings": _settings(data),
        "trials": _trials(sweep.trials),
        "questions": questions,
        "text": {
            "headline": worded.headline,
            "lines": [*worded.lines, *worded.details],
            "notes": list(notes(sweep)),
            "failures": failures(sweep.trials),
        },
    }


def as_json(sweep: Judged, where: str = "") -> str:
    """Return `json_object` as text."""
    return json.dumps(json_object(sweep, where), indent=2, allow_nan=False)


def _answer(data: AnyAnswer) -> dict[str, Any]:
    """Return the fields of an answer but for those that stand beside it."""
    beside = ("settings", "next_steps", "edges")
    values = {}
    for field in fields(data):
        if field.name not in beside:
            values[field.name] = _plain(getattr(data, field.name))
    if isinstance(data, EdgeAnswer):
        values["edges"] = [_edge(edge) for edge in data.edges]
    return values


def _trials(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of `trials`, with the arguments in an object of their own."""
    arguments = given_arguments(trials)
    names = {name for own in arguments for name in own}
    rows: list[dict[str, Any]] = _plain(trials.drop(columns=names))
    for row, own in zip(rows, arguments, strict=True):
        row["arguments"] = _plain(own)
    return rows


def _settings(data: AnyAnswer) -> list[dict[str, Any]]:
    """Return the settings that an answer names by their rows; an edge has none."""
    if isinstance(data, EdgeAnswer):
        return []
    records: list[dict[str, Any]] = _plain(data.settings)
    return records


def _edge(edge: MeasuredEdge) -> dict[str, Any]:
    rates = {f"{share:g}": _plain(edge.rate(share)) for share in SHARES}
    return {
        "family": edge.title,
        "trials": edge.trials,
        "is_bracketed": edge.is_bracketed,
        "is_precise": edge.is_precise,
        "precision": _plain(edge.precision),
        "learn": rates,
        "calm": _plain(edge.calm),
        "diverge": _plain(edge.diverges),
    }


def _step(step: NextStep) -> dict[str, Any]:
    values: dict[str, Any] = _plain(step)
    values["settings"] = [_setting(key) for key in step.settings]
    return values


def _setting(key: Key) -> dict[str, Any]:
    values = zip(CONFIGURATION, key, strict=True)
    return {name: _plain(value) for name, value in values}


def _plain(value: Any) -> Any:
    """Return a value in the types of JSON."""
    if isinstance(value, pd.DataFrame):
        return [_plain(row) for row in value.to_dict("records")]
    if is_dataclass(value):
        names = [field.name for field in fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if hasattr(value, "_asdict"):  # a named tuple
        return _plain(value._asdict())
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is pd.NA or value is pd.NaT:
        return None
    return value
