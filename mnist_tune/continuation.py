"""How a sweep goes on: the command that resumes it or, if no command can, the call in
Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_tune.data_spec import ARRAYS
from mnist_tune.invocation import resume, started_by, words
from mnist_tune.own_code.registry import (
    FROM_PYTHON,
    by_flag,
    is_not_loaded,
    named_again,
    names_own_code,
)


def resume_command(
    meta: Mapping[str, Any],
    where: Path | str,
    retry_errored: bool = False,
    **given: Any,
) -> str:
    """Return the command that resumes the sweep at `where` with more options or, if no
    command can, the call in Python."""
    if meta.get("search") and not started_by(meta["name"]):
        retried = " and SweepOptions(retry_errored=True)" * retry_errored
        return f"the same run_search, with resume={str(where)!r}{retried}"
    flags, by_hand = named_again(meta)
    given |= {"retry_errored": True} if retry_errored else {}
    if by_hand == FROM_PYTHON:
        return python_call("resume_sweep", meta, repr(str(where)), **given)
    values = {
        name: one if isinstance(one, tuple) else () if one is True else (one,)
        for name, one in given.items()
    }
    return " ".join(
        [f"{resume(where)}{flags}", *(words(name, *of) for name, of in values.items())]
    )


def python_call(
    function: str, meta: Mapping[str, Any], *first: str, **given: Any
) -> str:
    """Return a call in Python that goes on with a sweep. Data that only Python has are
    one of its arguments, and so are files of code that this process was told to
    load."""
    of_data = ["dataset=..."] * (meta.get("options", {}).get("dataset") == ARRAYS)
    code = [
        (one["flag"], one["name"])
        for one in meta.get("code", [])
        if names_own_code(one["name"])
    ]
    loaded = by_flag([one for one in code if not is_not_loaded(*one)])
    said = (f"{name}={value!r}" for name, value in (loaded | given).items())
    return f"{function}({', '.join([*first, *of_data, *said])})"
