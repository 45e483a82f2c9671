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
    by_flag,
    is_not_loaded,
    names_own_code,
)
from mnist_tune.results.sweep_meta import SweepKind, SweepMeta

FROM_PYTHON, NAMED_AGAIN = "from Python", "with your own code named again"
"""How a sweep goes on whose code or data the flags of a printed command can't name."""


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
    flags, by_hand = named_again(record)
    if by_hand == FROM_PYTHON:
        return python_call("resume_sweep", record, repr(str(where)), **options)
    parts = [resume(where) + flags]
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
    named = loaded_code(record) | options
    parts += [f"{name}={value!r}" for name, value in named.items()]
    return f"{function}({', '.join(parts)})"


def loaded_code(record: SweepMeta) -> dict[str, tuple[str, ...]]:
    """Return by flag the names of a sweep's files of code that this process was told to
    load."""
    loaded = []
    for code in record.code:
        flag, name = code["flag"], code["name"]
        if names_own_code(name) and not is_not_loaded(flag, name):
            loaded.append((flag, name))
    return by_flag(loaded)


def named_again(record: SweepMeta, trials: Any = None) -> tuple[str, str]:
    """Return the flags that name the own code of a sweep again, or of some of its
    `trials` (a table). If flags are not enough, return one of the words above as well,
    else an empty text.

    Arrays, and code that was registered by a plain name, are known to Python alone.
    Code that nobody has named in this process is in no command: the folder may come
    from anybody.
    """
    listed = {(code["flag"], code["name"]) for code in record.code}
    used = listed
    if trials is not None and not record.trains_tasks:
        used = {
            (flag, text.partition("(")[0].strip())
            for flag in OF_TRIALS
            for text in trials[flag].unique()
        }
    own = [code for code in sorted(used) if code in listed or names_own_code(code[1])]
    is_registered = any(not names_own_code(name) for _, name in own)
    if record.has_arrays or is_registered:
        return "", FROM_PYTHON
    if any(is_not_loaded(flag, name) for flag, name in own):
        return "", NAMED_AGAIN
    flags = [f" {words(flag, *names)}" for flag, names in by_flag(own).items()]
    return "".join(flags), ""
