"""How a sweep goes on: the command that resumes it or, if no command can, the call in
Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_tune.data_spec import ARRAYS
from mnist_tune.invocation import resume, words
from mnist_tune.own_code.registry import (
    FROM_PYTHON,
    by_flag,
    is_not_loaded,
    named_again,
    names_own_code,
)
from mnist_tune.results.sweep_meta import SweepKind, SweepMeta


def resume_command(
    meta: Mapping[str, Any],
    where: Path | str,
    retry_errored: bool = False,
    **options: Any,
) -> str:
    """Return the command that resumes the sweep at `where` with more options or, if no
    command can, the call in Python."""
    record = SweepMeta.of(meta)
    if record.kind is SweepKind.SEARCH and record.command is None:
        call = f"the same run_search, with resume={str(where)!r}"
        if retry_errored:
            call += " and SweepOptions(retry_errored=True)"
        return call
    if retry_errored:
        options["retry_errored"] = True
    flags, by_hand = named_again(meta)
    if by_hand == FROM_PYTHON:
        return python_call("resume_sweep", meta, repr(str(where)), **options)
    parts = [resume(where) + flags]
    for name, value in options.items():
        parts.append(words(name, *_arguments(value)))
    return " ".join(parts)


def _arguments(value: Any) -> tuple[Any, ...]:
    """Return what follows the flag of an option with this value."""
    if isinstance(value, tuple):
        return value
    if value is True:
        return ()
    return (value,)


def python_call(
    function: str, meta: Mapping[str, Any], *arguments: str, **options: Any
) -> str:
    """Return a call in Python that goes on with a sweep. Data that only Python has are
    one of its arguments, and so are files of code that this process was told to
    load."""
    parts = list(arguments)
    if meta.get("options", {}).get("dataset") == ARRAYS:
        parts.append("dataset=...")
    named = loaded_code(meta) | options
    parts += [f"{name}={value!r}" for name, value in named.items()]
    return f"{function}({', '.join(parts)})"


def loaded_code(meta: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return by flag the names of a sweep's files of code that this process was told to
    load."""
    loaded = []
    for code in meta.get("code", []):
        flag, name = code["flag"], code["name"]
        if names_own_code(name) and not is_not_loaded(flag, name):
            loaded.append((flag, name))
    return by_flag(loaded)
