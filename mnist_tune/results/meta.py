"""Read and check `sweep.json`, the record of what was asked for. The file may come from
an untrusted source."""

from __future__ import annotations

import json
from typing import Any

from mnist_tune import storage
from mnist_tune.columns import (
    COUNT,
    COUNT_OR_ALL,
    FLAG,
    ID,
    LOSS,
    NAME,
    RATE,
    SCORE,
    SHARE,
    TEXT,
    Column,
    Kind,
    first_wrong,
)
from mnist_tune.errors import UserError, printable
from mnist_tune.own_code.registry import ENTRIES
from mnist_tune.regimes.measured_edge import EXPECTED, SEARCHES, template_of
from mnist_tune.regimes.ranking import RANK_BY
from mnist_tune.results.sweep_meta import SweepKind, SweepMeta, as_of_today
from mnist_tune.storage import Place
from mnist_tune.trial import STARTED_AGAIN, TrialConfig

ADVICE = "; name the folder of a sweep"


def read_meta(folder: Place) -> dict[str, Any]:
    """Return the content of a folder's `sweep.json` as this version writes it: its texts
    have no effects, and its trials and options have their types and bounds. Raises
    `UserError` if it can't be read, or a sweep did not write it."""
    file = storage.join(folder, "sweep.json")
    with storage.attempt(f"read {file}", ADVICE):
        content = storage.read(file)
    if content is None:
        raise UserError(f"no sweep in {folder} (no sweep.json there){ADVICE}")
    try:
        meta = json.loads(content)
        # If no character is escaped or unprintable, none of its texts needs a change.
        if b"\\" in content or not content.decode().replace("\n", "").isprintable():
            meta = printable(meta)
        mistake = _mistake(meta)
    except ValueError as error:
        mistake = f"it is not JSON ({error})"
    if mistake:
        raise UserError(f"{file} was not written by a sweep: {mistake}{ADVICE}")
    return as_of_today(meta)


def read_record(folder: Place) -> SweepMeta:
    """Return what a folder's `sweep.json` records, with types. Raises `UserError`, as
    `read_meta`."""
    return SweepMeta.of(read_meta(folder))


def _mistake(meta: Any) -> str:
    """Return what is wrong in the content of a `sweep.json`; empty if nothing is."""
    if bad := first_wrong(meta, _META):
        return f"{bad} is missing or has the wrong type"
    for trial_id, config in meta["trials"].items():
        if not ID.holds(trial_id) or not isinstance(config, dict):
            needed = "an id of letters, digits, - and _ must name a configuration"
            return f"trial {trial_id[:64]!r}: {needed}"
        try:
            TrialConfig(**config)
        except UserError as error:
            return f"trial {trial_id!r}: {error}"
    return ""


def _mapping(*columns: Column) -> Kind:
    """Return the kind of a mapping whose values fit these columns."""
    return Kind("a mapping", lambda value: first_wrong(value, columns) is None)


def _list_of(kind: Kind) -> Kind:
    return Kind(
        "a list", lambda value: isinstance(value, list) and all(map(kind.holds, value))
    )


def _is_search(value: Any) -> bool:
    """Return whether a value describes the search for an edge, which is expected
    nowhere before its range test."""
    try:
        return (value[EXPECTED] is None or RATE.holds(value[EXPECTED])) and bool(
            template_of(value)
        )
    except (UserError, TypeError, AttributeError, KeyError):
        return False


_DATASET = _mapping(
    Column("name", NAME, needed=True),
    Column("note", NAME, needed=True),
    Column("checksums", _mapping(), needed=True),
    Column("test_images", COUNT, needed=True),
    Column("target", SHARE),
    Column("scores", _list_of(SCORE)),
)
_OPTIONS = _mapping(
    Column("target", SHARE),
    Column("target_loss", LOSS),
    Column("rank_by", RANK_BY),
    Column("task", _list_of(NAME)),
    Column("loop", _list_of(NAME)),
    Column(STARTED_AGAIN, FLAG),
    *(Column(name, NAME) for name in ("dataset", "data_dir")),
    Column("train_evaluation", COUNT_OR_ALL),
    Column("train_images", COUNT),
    *(Column(name, FLAG) for name in ("standardize", "stop_when_diverged")),
    *(Column(name, RATE) for name in ("precision", "learned")),
    Column(SEARCHES, _list_of(Kind("a search", _is_search))),
)
_CODE = (
    Column("flag", Kind("a flag", lambda value: value in [*ENTRIES]), needed=True),
    Column("name", NAME, needed=True),
    Column("files", _mapping(), needed=True),
)
"""What is printed of own code. What is run is signed."""

_COMMAND = Kind(
    "a list of texts", lambda value: TEXT.holds(value) or _list_of(TEXT).holds(value)
)
"""The arguments of a command. Older versions recorded a text, which is not shown."""

_KIND = Kind("a kind of sweep", lambda value: value in [*SweepKind])

_META = (
    Column("name", NAME, needed=True),
    Column("trials", _mapping(), needed=True),
    Column("dataset", _DATASET, needed=True),
    Column("options", _OPTIONS),
    Column("environment", _mapping()),
    Column("kind", _KIND),
    Column("search", FLAG),  # which older versions wrote
    Column("code", _list_of(_mapping(*_CODE))),
    Column("code_calls", _mapping()),
    *(Column(name, NAME) for name in ("id", "code_signature")),
    Column("writer", COUNT),
    Column("resumed", _list_of(NAME)),
    Column("command", _COMMAND),
    *(Column(name, NAME) for name in ("started", "ended")),
)
"""The values of `sweep.json` that we use."""
