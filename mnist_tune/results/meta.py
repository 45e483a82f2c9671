"""`sweep.json`, what was asked for, read: it may come from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mnist_tune.errors import UserError
from mnist_tune.results.validation import is_count, is_flag, is_id, is_number, is_text, printable, wrong
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
    bad = wrong(meta, _NEEDED, _TOLD)
    if bad:
        raise UserError(f"{refused}: {bad} is missing or of another kind; name the folder of a sweep")
    for trial_id, config in meta["trials"].items():
        _check_trial(trial_id, config, refused)
    return {name: value for name, value in meta.items() if value is not None or name not in ("options", "environment")}


def _check_trial(trial_id: str, config: Any, refused: str) -> None:
    try:
        if not is_id(trial_id) or not isinstance(config, dict):
            raise UserError("an id of letters, digits, - and _, and its configuration")
        TrialConfig.from_dict(config)
    except UserError as error:
        raise UserError(f"{refused}: trial {trial_id[:64]!r}: {str(error)[:300]}") from None


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_dataset(value: Any) -> bool:
    told = {"label_counts": _are_label_counts, "test_images": is_count}
    return wrong(value, {"name": is_text, "note": is_text, "checksums": _is_mapping}, told) is None


def _are_label_counts(value: Any) -> bool:
    return isinstance(value, list) and all(count == 0 or is_count(count) for count in value) and any(value)


def _are_options(value: Any) -> bool:
    return wrong(value, {}, {"target": _is_share, "train_evaluation": is_count, "data_dir": is_text}) is None


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 < value < 1


def _is_environment(value: Any) -> bool:
    return wrong(value, {}, {"versions": _is_mapping}) is None


_NEEDED = {"name": is_text, "trials": _is_mapping, "dataset": _is_dataset}
_TOLD = {
    "options": _are_options,
    "environment": _is_environment,
    "search": is_flag,
    **dict.fromkeys(("command", "started", "ended"), is_text),
}
