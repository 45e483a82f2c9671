"""The journal of a sweep: an append-only file with one line per event, complete at any moment.

A line that is not a valid event is skipped when the journal is read.
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

from mnist_tune import storage
from mnist_tune.columns import EPOCHS, ID, TEXT, Column, Kind, first_wrong
from mnist_tune.errors import UserError
from mnist_tune.results.validation import printable
from mnist_tune.trial import TrialConfig

OPEN_REASONS = ("interrupted", "time_budget")
"""Stop reasons of trials that continue when their sweep is resumed."""

UNFINISHED_REASONS = (*OPEN_REASONS, "error")
"""Stop reasons of trials whose saved state is kept. Trials with an error continue only with `--retry-errored`. All
other reasons are final: `completed`, `diverged` or the name of a scheduler."""

MOST_BYTES = 2**20
"""The longest line that is read, about a thousand times an epoch's row."""

TORN = b" (torn by a kill)\n"
"""Appended to a line that a kill has cut short."""

_log = logging.getLogger(__name__)

SCRIPTS = ("lr_regimes", "notebook", "seeds")
"""The scripts in `sweeps/`. The first one can resume any sweep, also one that was started from Python."""


def resume_command(meta: Mapping[str, Any], where: Path | str, retry_errored: bool = False) -> str:
    """Return the command that resumes the sweep at `where`; for a search, the Python call."""
    if meta.get("search"):
        return f"the same run_search, with SweepOptions(resume={str(where)!r}{', retry_errored=True' * retry_errored})"
    script = meta["name"] if meta["name"] in SCRIPTS else SCRIPTS[0]
    command = f"python sweeps/{script}.py --resume {shlex.quote(str(where))}"
    for flag in ("architecture", "optimizer"):
        names = [shlex.quote(one["name"]) for one in meta.get("code", []) if one["flag"] == flag]
        command += f" --{flag} {' '.join(names)}" if names else ""
    return command + " --retry-errored" * retry_errored


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the events of a sweep in order.

    Damaged lines are skipped, with one warning that counts them. A last line that a kill cut short is skipped silently.

    Raises:
        UserError: the journal can't be read.
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
        _warn_once(f"{journal}: skipped {len(damaged)} damaged lines (line {where}) and read all others")
    return events


def known_trials(meta: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> dict[str, TrialConfig]:
    """Return every trial of a sweep by its id: those planned and those proposed later, with their latest values."""
    configs = dict(meta["trials"])
    configs |= {event["trial_id"]: event["config"] for event in events if event["kind"] == "trial"}
    return {trial_id: TrialConfig.from_dict(config) for trial_id, config in configs.items()}


def mend_last_line(journal: Path) -> None:
    """End a line that a kill cut short, so that the next event starts on a new line."""
    if not journal.exists():
        return
    with open(journal, "r+b", opener=storage.no_link) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_BYTES))
        tail = file.read().rpartition(b"\n")[2]
        if tail:
            file.write(TORN if parse_event(tail) is None else b"\n")


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line, or None if the line is not a valid event."""
    try:
        event = json.loads(line)
        if first_wrong(event, _EVENTS[event["kind"]]) is None:
            return {name: printable(value) for name, value in event.items()}
    except (ValueError, RecursionError, TypeError, LookupError):
        pass
    return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file. Of a line that is too long, yield only the last byte, which is not a valid event."""
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
"""The values of each kind of event."""


@cache  # a resumed sweep reads its journal several times
def _warn_once(line: str) -> None:
    _log.warning("%s", line)
