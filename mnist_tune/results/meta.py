"""Read and check `sweep.json`, the record of what was asked for. The file may come from
an untrusted source."""

from __future__ import annotations

import json
from typing import Any

from mnist_tune import storage
from mnist_tune.columns import (
    COUNT,
    FLAG,
    ID,
    LOSS,
    MOST_SCORES,
    NAME,
    NUMBER,
    RATE,
    SCORE,
    SHARE,
    TEXT,
    WHOLE,
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
from mnist_tune.trial import MOST_TRIALS, TrialConfig

MOST_META_BYTES = 2**26
"""The largest `sweep.json` that is read. With 10,000 trials the file has 4 MB."""

MOST_VALUES = 21 * MOST_TRIALS
"""The most values that it may hold. A trial has 19. In memory, `[],[],[]` takes 30
times as much as in the file."""


def read_meta(folder: Place) -> dict[str, Any]:
    """Return the content of a folder's `sweep.json`, with every value that we use
    checked, as this version writes it. Raises `UserError` if it can't be read, or a
    sweep did not write it."""
    file = storage.join(folder, "sweep.json")
    refused = f"{file} was not written by a sweep"
    try:
        with storage.open_file(file, MOST_META_BYTES) as opened:
            content = opened.read()
        if sum(map(content.count, (b",", b"[", b"{"))) > MOST_VALUES:
            raise UserError(
                f"{refused}: it has more than {MOST_VALUES} values; name the folder of a sweep"
            )
        meta = json.loads(content)
        # If no character is escaped or unprintable, none of its texts needs a change.
        if b"\\" in content or not content.decode().replace("\n", "").isprintable():
            meta = printable(meta)
    except FileNotFoundError:
        raise UserError(
            f"no sweep in {folder} (no sweep.json there); name the folder of a sweep"
        ) from None
    except OSError as error:
        raise UserError(
            f"can't read {file}: {storage.reason(error)}; name the folder of a sweep"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{refused}: it is not JSON ({error}); name the folder of a sweep"
        ) from None
    bad = first_wrong(meta, _META)
    if bad:
        raise UserError(
            f"{refused}: {bad} is missing or has the wrong type; name the folder of a sweep"
        )
    if len(meta["trials"]) > MOST_TRIALS:
        raise UserError(
            f"{refused}: it has more than {MOST_TRIALS} trials; name the folder of a sweep"
        )
    for trial_id, config in meta["trials"].items():
        _check_trial(trial_id, config, refused)
    return as_of_today(meta)


def read_record(folder: Place) -> SweepMeta:
    """Return what a folder's `sweep.json` records, with types. Raises `UserError`, as
    `read_meta`."""
    return SweepMeta.of(read_meta(folder))


def _check_trial(trial_id: str, config: Any, refused: str) -> None:
    try:
        if not ID.holds(trial_id) or not isinstance(config, dict):
            raise UserError(
                "an id of letters, digits, - and _ must name a configuration"
            )
        TrialConfig(**config)
    except UserError as error:
        raise UserError(
            f"{refused}: trial {trial_id[:64]!r}: {str(error)[:300]}"
        ) from None


def _mapping(*columns: Column) -> Kind:
    """Return the kind of a mapping whose values fit these columns."""
    return Kind("a mapping", lambda value: first_wrong(value, columns) is None)


def _list_of(kind: Kind, most: int = MOST_VALUES) -> Kind:
    return Kind(
        "a list",
        lambda value: (
            isinstance(value, list)
            and len(value) <= most
            and all(map(kind.holds, value))
        ),
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


_COUNTS = _list_of(WHOLE)
_DATASET = _mapping(
    Column("name", NAME, needed=True),
    Column("note", NAME, needed=True),
    Column("checksums", _mapping(), needed=True),
    Column(
        "label_counts",
        Kind("counts", lambda value: _COUNTS.holds(value) and any(value)),
        needed=True,
    ),
    Column("test_images", COUNT, needed=True),
    Column("shape", _COUNTS),
    Column("positions", COUNT),
    Column("tokens", WHOLE),
    Column("divisor", NUMBER),
    *(Column(name, _list_of(NUMBER)) for name in ("mean", "deviation")),
    Column("target", SHARE),
)
_GUESSES = Kind(
    "numbers",
    lambda value: isinstance(value, dict) and all(map(NUMBER.holds, value.values())),
)
_OF_TASK = _mapping(
    *(Column(name, NAME, needed=True) for name in ("name", "note")),
    Column("checksums", _mapping(), needed=True),
    *(Column(name, COUNT, needed=True) for name in ("train_images", "test_images")),
    Column("guesses", _GUESSES),
    Column("chance", NUMBER),
    Column("scores", _list_of(SCORE, MOST_SCORES)),
)
_OPTIONS = _mapping(
    Column("target", SHARE),
    Column("target_loss", LOSS),
    Column("rank_by", RANK_BY),
    Column("task", _list_of(NAME)),
    *(Column(name, NAME) for name in ("dataset", "data_dir")),
    *(Column(name, COUNT) for name in ("train_evaluation", "train_images")),
    *(Column(name, FLAG) for name in ("standardize", "stop_when_diverged")),
    *(Column(name, RATE) for name in ("precision", "learned")),
    Column(SEARCHES, _list_of(Kind("a search", _is_search))),
)
_FILE = _mapping(
    Column("sha256", NAME, needed=True),
    *(Column(name, NAME) for name in ("module", "path")),
    Column("lines", _list_of(TEXT)),  # which older versions wrote
)
_FILES = Kind(
    "files",
    lambda value: isinstance(value, dict) and all(map(_FILE.holds, value.values())),
)
_CODE = (
    Column(
        "flag",
        Kind("a flag", lambda value: isinstance(value, str) and value in ENTRIES),
        needed=True,
    ),
    Column("name", NAME, needed=True),
    Column("files", _FILES, needed=True),
    *(Column(name, NAME) for name in ("folder", "module", "attribute")),
)


def _is_code(value: Any) -> bool:
    """Return whether a value describes own code: all of its files, if one of them says
    how it is imported."""
    if first_wrong(value, _CODE) is not None:
        return False
    if "module" not in value:
        return True
    needed = [value.get("attribute")]
    for file in value["files"].values():
        needed += [file.get("module"), file.get("path")]
    return None not in needed


_CALLS = Kind(
    "calls of own code",
    lambda value: (
        isinstance(value, dict)
        and all(flag in ENTRIES for flag in value)
        and all(map(_list_of(NAME).holds, value.values()))
    ),
)
_COMMAND = Kind(
    "a list of texts", lambda value: TEXT.holds(value) or _list_of(TEXT).holds(value)
)
"""The arguments of a command. Older versions recorded a text, which is not shown."""

_KIND = Kind("a kind of sweep", lambda value: value in [*SweepKind])

_META = (
    Column("name", NAME, needed=True),
    Column("trials", _mapping(), needed=True),
    Column(
        "dataset",
        Kind("data", lambda value: _DATASET.holds(value) or _OF_TASK.holds(value)),
        needed=True,
    ),
    Column("options", _OPTIONS),
    Column("environment", _mapping(Column("versions", _mapping()))),
    Column("kind", _KIND),
    Column("search", FLAG),  # which older versions wrote
    Column("code", _list_of(Kind("own code", _is_code))),
    Column("code_calls", _CALLS),
    *(Column(name, NAME) for name in ("id", "code_signature")),
    Column("writer", COUNT),
    Column("resumed", _list_of(NAME)),
    Column("command", _COMMAND),
    *(Column(name, NAME) for name in ("started", "ended")),
)
"""The values of `sweep.json` that we use."""
