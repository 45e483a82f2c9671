"""How a sweep goes on: the command that resumes it or, if no command can, the call in
Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mnist_tune.errors import InterruptedSweepError
from mnist_tune.invocation import resume, words
from mnist_tune.own_code.registry import (
    OF_TRIALS,
    as_loaded,
    by_flag,
    is_from_file,
    is_not_loaded,
    names_own_code,
)
from mnist_tune.results.sweep_meta import SweepKind, SweepMeta


def resume_command(
    record: SweepMeta, where: Path | str, retry_errored: bool = False, **options: Any
) -> str:
    """Return the command that resumes the sweep at `where` with more options or, if no
    command can, the call in Python."""
    if record.kind is SweepKind.SEARCH and record.command is None:
        call = f"the same run_search, with resume={str(where)!r}"
        if retry_errored:
            call += " and SweepOptions(retry_errored=True)"
        return call
    if retry_errored:
        options["retry_errored"] = True
    flags = code_flags(record)
    if flags is None:
        return python_call("resume_sweep", record, repr(str(where)), **options)
    parts = [resume(where, record.script) + flags]
    for name, value in options.items():
        parts.append(words(name, *_arguments(value)))
    return " ".join(parts)


@contextmanager
def resumable(record: SweepMeta, where: Path | str) -> Iterator[None]:
    """Have Ctrl-C meanwhile say how the sweep at `where` goes on.

    Of a sweep within another one, such as a search's decision, the outer one goes on.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedSweepError(resume_command(record, where)) from None


def _arguments(value: Any) -> tuple[Any, ...]:
    """Return what follows the flag of an option with this value."""
    if isinstance(value, tuple):
        return value
    if value is True:
        return ()
    return (value,)


def python_call(
    function: str, record: SweepMeta, *arguments: str, **options: Any
) -> str:
    """Return a call in Python that goes on with a sweep. Data that only Python has are
    one of its arguments, and so are files of code that this process was told to
    load."""
    parts = list(arguments)
    if record.has_arrays:
        parts.append("dataset=...")
    keywords = loaded_code(record) | options
    parts += [f"{name}={value!r}" for name, value in keywords.items()]
    return f"{function}({', '.join(parts)})"


def loaded_code(record: SweepMeta) -> dict[str, tuple[str, ...]]:
    """Return by flag the names of a sweep's files of code that this process was told to
    load."""
    loaded = []
    for code in record.code:
        flag, name = code["flag"], code["name"]
        if names_own_code(name) and is_from_file(flag, name):
            loaded.append((flag, name))
    return by_flag(loaded)


def code_flags(record: SweepMeta, trials: Any = None) -> str | None:
    """Return the flags that name the own code of a sweep, or of some of its `trials` (a
    table), in a command that goes on with it; None if only Python can name it.

    What this user has signed need not be named. Arrays, and functions that are in no
    file, are known to Python alone.
    """
    if record.has_arrays:
        return None
    listed, recorded = set(), set()
    for code in record.code:
        listed.add((code["flag"], code["name"]))
        if "module" in code:
            recorded.add((code["flag"], code["name"]))
    used = listed
    if trials is not None and not record.trains_tasks:
        used = _used(trials)
    own = set()
    for flag, name in used:
        if (flag, name) in listed or names_own_code(name):
            own.add((flag, name))
    if not all(names_own_code(name) for _, name in own - recorded):
        return None
    if record.own_code.is_signed:
        own -= recorded
    if any(is_not_loaded(flag, name) for flag, name in own):
        return ""
    loaded = [(flag, name) for flag, name in sorted(own) if names_own_code(name)]
    flags = ""
    for flag, names in by_flag(loaded).items():
        flags += f" {words(flag, *names)}"
    return flags


def _used(trials: Any) -> set[tuple[str, str]]:
    """Return what the `trials` (a table) use, each with its flag."""
    used = set()
    for flag in OF_TRIALS:
        for text in trials[flag].unique():
            name = text.partition("(")[0].strip()
            used.add((flag, name))
    return used


def code_is_there(record: SweepMeta, trials: Any) -> bool:
    """Return whether the own code of some of a sweep's `trials` (a table) is loaded, or
    its files are there, so that a new sweep may name it."""
    for flag in OF_TRIALS:
        for text in trials[flag].unique():
            if not names_own_code(text) or not is_not_loaded(flag, text):
                continue
            name = text.partition("(")[0].strip()
            file = record.own_code.file_of(flag, name)
            # A folder of somebody else's must not name a file that a user would run.
            if not record.own_code.is_signed or file is None or not file.is_file():
                return False
    return True


def named_from_here(record: SweepMeta, flag: str, text: str) -> str:
    """Return a text that names own code, with the path of its file from here."""
    if is_from_file(flag, text):
        return as_loaded(flag, text)
    return record.own_code.named_from_here(flag, text)
