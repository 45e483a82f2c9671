"""The append-only journal of a sweep, a line per event: the truth at any moment.

A line that is no event of ours, whoever wrote it, is left out when the journal is read.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from mnist_tune.columns import EPOCHS, ID, TEXT, Column, Kind, first_wrong
from mnist_tune.errors import UserError
from mnist_tune.results.validation import printable
from mnist_tune.trial import TrialConfig

OPEN_REASONS = ("interrupted", "time_budget")
"""Reasons for which a trial goes on when its sweep is resumed."""

UNFINISHED_REASONS = (*OPEN_REASONS, "error")
"""Reasons for which a trial's state is kept; an error goes on only where that is asked for. Any other reason ended the
trial for good: `completed`, `diverged`, or the scheduler that stopped it."""

MOST_BYTES = 2**20
"""Of a line; an epoch's row takes one thousandth of it."""

TORN = b" (torn by a kill)\n"
"""Ends a line that has no other end."""

_log = logging.getLogger(__name__)

SCRIPTS = ("lr_regimes", "notebook", "seeds")
"""In `sweeps/`. The first goes on with any sweep, also one that was started from Python."""


def resume_command(meta: Mapping[str, Any], where: Path | str, retry_errored: bool = False) -> str:
    """What goes on with the sweep in this folder or URI: a command, or for a search a call from Python."""
    if meta.get("search"):
        return f"the same run_search, with SweepOptions(resume={str(where)!r}{', retry_errored=True' * retry_errored})"
    script = meta["name"] if meta["name"] in SCRIPTS else SCRIPTS[0]
    return f"python sweeps/{script}.py --resume {shlex.quote(str(where))}{' --retry-errored' * retry_errored}"


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events of a sweep in order.

    A last line torn by a kill is left out, and so is every line that is damaged: one warning says how many, and where.

    Raises:
        UserError: it can't be read.
    """
    journal, events, damaged = path / "journal.jsonl", [], []
    try:
        with journal.open("rb") as file:
            for number, line in enumerate(_lines(file), start=1):
                event = parse_event(line)
                if event is not None:
                    events.append(event)
                elif line.endswith(b"\n") and not line.endswith(TORN):
                    damaged.append(number)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"can't read {journal}: {error.strerror}") from None
    if damaged:
        where = ", ".join(map(str, damaged[:5])) + ", ..." * (len(damaged) > 5)
        _warn(f"{journal}: {len(damaged)} damaged lines were left out (line {where}); all others were read")
    return events


def known_trials(meta: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> dict[str, TrialConfig]:
    """Every trial of a sweep, planned or proposed while it ran, by its id; as a scheduler changed it last."""
    configs = dict(meta["trials"])
    configs |= {event["trial_id"]: event["config"] for event in events if event["kind"] == "trial"}
    return {trial_id: TrialConfig.from_dict(config) for trial_id, config in configs.items()}


def mend_last_line(journal: Path) -> None:
    """Ends a line torn by a kill, so that the next event starts a line of its own."""
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_BYTES))
        tail = file.read().rpartition(b"\n")[2]
        if tail:
            file.write(TORN if parse_event(tail) is None else b"\n")


def parse_event(line: bytes) -> dict[str, Any] | None:
    """The event in a line; None where the line is none."""
    try:
        event = json.loads(line)
        if first_wrong(event, _EVENTS[event["kind"]]) is None:
            return {name: printable(value) for name, value in event.items()}
    except (ValueError, RecursionError, TypeError, LookupError):
        pass
    return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Those of a file; of one that is too long its last byte, which makes no event."""
    while line := file.readline(MOST_BYTES):
        long = len(line) == MOST_BYTES
        while long and line and not line.endswith(b"\n"):
            line = file.readline(MOST_BYTES)
        yield line[-1:] if long else line


def _is_config(value: Any) -> bool:
    try:
        return isinstance(value, dict) and bool(TrialConfig.from_dict(value))
    except UserError:
        return False


_TRIAL_ID = Column("trial_id", ID, needed=True)

_EVENTS = {
    "trial": (_TRIAL_ID, Column("config", Kind("a trial's configuration", _is_config), needed=True)),
    "epoch": EPOCHS,
    "end": (_TRIAL_ID, Column("stop_reason", ID, needed=True), Column("error", TEXT)),
}
"""What each kind of event may say, and must."""


@cache
def _warn(line: str) -> None:
    """Once, though a resumed sweep reads its journal several times."""
    _log.warning("%s", line)
