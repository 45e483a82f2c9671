"""`sweep.json`, what was asked for, read: it may come from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mnist_tune.columns import COUNT, FLAG, ID, TEXT, Column, Kind, first_wrong, is_number, is_whole
from mnist_tune.errors import UserError
from mnist_tune.results.validation import printable
from mnist_tune.trial import TrialConfig

MOST_BYTES = 2**26
"""Of a `sweep.json`; that of 10,000 trials has 4 MB."""


def read_meta(folder: Path) -> dict[str, Any]:
    """What the `sweep.json` of a folder says; all that is used of it is of the right kind.

    Raises:
        UserError: it can't be read, or is not what a sweep writes.
    """
    file = folder / "sweep.json"
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"can't read {file}: {error.strerror}; name the folder of a sweep") from None
    return parse_meta(content, str(file))


def parse_meta(content: bytes, name: str) -> dict[str, Any]:
    """As `read_meta`, of its content; `name` is for errors."""
    refused = f"{name} is not what a sweep writes"
    if len(content) > MOST_BYTES:
        raise UserError(f"{refused}: it has more than {MOST_BYTES} bytes; name the folder of a sweep")
    try:
        meta = printable(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{refused}: it is no JSON ({error}); name the folder of a sweep") from None
    bad = first_wrong(meta, _META)
    if bad:
        raise UserError(f"{refused}: {bad} is missing or of another kind; name the folder of a sweep")
    for trial_id, config in meta["trials"].items():
        _check_trial(trial_id, config, refused)
    return {name: value for name, value in meta.items() if value is not None or name not in ("options", "environment")}


def _check_trial(trial_id: str, config: Any, refused: str) -> None:
    try:
        if not ID.holds(trial_id) or not isinstance(config, dict):
            raise UserError("an id of letters, digits, - and _, and its configuration")
        TrialConfig.from_dict(config)
    except UserError as error:
        raise UserError(f"{refused}: trial {trial_id[:64]!r}: {str(error)[:300]}") from None


def _are_label_counts(value: Any) -> bool:
    return isinstance(value, list) and all(is_whole(count, 0) for count in value) and any(value)


_MAPPING = Kind("a mapping", lambda value: isinstance(value, dict))

_DATASET = (
    Column("name", TEXT, needed=True),
    Column("note", TEXT, needed=True),
    Column("checksums", _MAPPING, needed=True),
    Column("label_counts", Kind("counts of labels", _are_label_counts)),
    Column("test_images", COUNT),
)
_OPTIONS = (
    Column("target", Kind("between 0 and 1", lambda value: is_number(value) and 0 < value < 1)),
    Column("train_evaluation", COUNT),
    Column("data_dir", TEXT),
)


def _holding(columns: tuple[Column, ...]) -> Kind:
    """A mapping in which these values are right."""
    return Kind("a mapping", lambda value: first_wrong(value, columns) is None)


_META = (
    Column("name", TEXT, needed=True),
    Column("trials", _MAPPING, needed=True),
    Column("dataset", _holding(_DATASET), needed=True),
    Column("options", _holding(_OPTIONS)),
    Column("environment", _holding((Column("versions", _MAPPING),))),
    Column("search", FLAG),
    *(Column(name, TEXT) for name in ("command", "started", "ended")),
)
"""What is used of a `sweep.json`."""
