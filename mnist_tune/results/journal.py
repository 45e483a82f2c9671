"""The journal of a sweep: an append-only file with one line per event, complete at any
moment.

A line that is not a valid event is skipped when the journal is read.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mnist_tune import storage
from mnist_tune.columns import COUNT, FLAG, ID, NAME, TEXT, Column, Kind, first_wrong
from mnist_tune.epoch_row import ROW, without_texts
from mnist_tune.errors import ErrorKind, UserError, printable
from mnist_tune.numbers import counted
from mnist_tune.results.folder import JOURNAL, MOST_JOURNAL_BYTES, SEGMENTS
from mnist_tune.trial import MOST_TRIALS, TrialConfig

if TYPE_CHECKING:
    import pandas as pd

MOST_LINE_BYTES = 2**20
"""The longest line that is read, about a thousand times an epoch's row."""

MOST_DAMAGED = 10_000
"""The most damaged lines. A file with more was not damaged, it is no journal."""

BLOCK_BYTES, BLOCK_LINES = 2**20, 2**13
"""About how much of a journal is read at a time."""

TORN = b" (torn by a kill)\n"
"""Appended to a line that a kill has cut short."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Journal:
    """What a journal says: the rows of all epochs, and the last event of each other
    kind for each trial."""

    epochs: pd.DataFrame
    """The columns of `EPOCHS` and those of a task's own scores, in the order in which
    they were recorded. An epoch that was recorded twice is there twice."""
    trials: dict[str, TrialConfig]
    """The trials that `sweep.json` lacks, or has with other values."""
    changed: set[str]
    """Those that a scheduler has changed while they trained."""
    ends: dict[str, dict[str, Any]]
    undecided: bool
    """Whether no trial's end follows the last row: a kill may have come before its
    trial was stopped."""

    def known_trials(self, meta: Mapping[str, Any]) -> dict[str, TrialConfig]:
        """Return every trial of a sweep by its id: those planned and those proposed
        later, with their latest values. A resume that asks for more epochs plans
        them."""
        planned = {i: TrialConfig(**config) for i, config in meta["trials"].items()}
        # as a file that says nothing did
        known = {i: one.holding_out(0) for i, one in planned.items()}
        return known | {
            i: one
            for i, one in self.trials.items()
            if i not in known or one.epochs >= known[i].epochs
        }


def older_kind(error: Any) -> str:
    """Return the kind of a trial's error that an older version recorded, as a text
    alone; empty if it is not known."""
    if isinstance(error, str) and error.endswith("--drop-last leaves it out"):
        return ErrorKind.LAST_BATCH.value
    return ""


def read_journal(path: Path, scores: Sequence[str] = ()) -> Journal:
    """Return what the journal of a sweep says, whose tasks have these own scores.

    Damaged lines are skipped, with one warning that counts them; a last line that a
    kill cut short is skipped silently. Raises `UserError` if it can't be read.
    """
    # imports pyarrow, and a new sweep has no journal to read
    from mnist_tune.results.rows import Rows, rows_in

    file, first, undecided = path / JOURNAL, 1, False
    _refuse_parts(file)
    epochs, damaged, count = Rows(scores), list[int](), 0
    trials, changed, ends = (
        dict[str, TrialConfig](),
        set[str](),
        dict[str, dict[str, Any]](),
    )
    with (
        storage.attempt(f"read {file}"),
        suppress(FileNotFoundError),
        storage.open_file(file, MOST_JOURNAL_BYTES) as opened,
    ):
        for lines in _blocks(opened):
            rows, others = rows_in(lines, parse_event, scores)
            epochs.add(rows)
            for event in filter(None, others.values()):
                if event["kind"] == "trial":
                    trials[event["trial_id"]] = TrialConfig(
                        **event["config"]
                    ).holding_out(0)
                    changed |= {event["trial_id"]} if event.get("changed") else set()
                elif event["kind"] == "end":
                    kind = older_kind(event.get("error"))
                    ends[event["trial_id"]] = {"error_kind": kind} | event
            for i in range(len(lines)):
                if i not in others or (others[i] or {}).get("kind") == "end":
                    undecided = i not in others
            bad = [
                i
                for i, event in others.items()
                if event is None and lines[i].endswith(b"\n")
            ]
            wrong = [first + i for i in bad if not lines[i].endswith(TORN)]
            first, count, damaged = (
                first + len(lines),
                count + len(wrong),
                (damaged + wrong)[:6],
            )
            if count > MOST_DAMAGED or max(len(trials), len(ends)) > MOST_TRIALS:
                raise UserError(
                    f"{file} was not written by a sweep: too many trials, or damaged lines; remove it"
                )
    if damaged:
        where = (
            "s" * (count > 1)
            + " "
            + ", ".join(map(str, damaged[:5]))
            + ", ..." * (count > 5)
        )
        _warn_once(
            f"{file}: skipped {counted(count, 'damaged line')} (line{where}) and read all others"
        )
    return Journal(epochs.taken(), trials, changed, ends, undecided)


def mend_last_line(journal: Path) -> None:
    """End a line that a kill cut short, so that the next event starts on a new line.
    Raises `UserError` if the journal is in parts."""
    _refuse_parts(journal)
    with (
        suppress(FileNotFoundError),
        open(journal, "r+b", opener=storage.no_link) as file,
    ):
        file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_LINE_BYTES))
        if tail := file.read().rpartition(b"\n")[2]:
            file.write(TORN if parse_event(tail) is None else b"\n")


def _refuse_parts(journal: Path) -> None:
    """Raise a `UserError` if the folder was downloaded from object storage, where
    journals are in parts."""
    if (
        parts := journal.parent / SEGMENTS / "000000"
    ).exists() and not journal.exists():
        folder, whole = (shlex.quote(str(one)) for one in (parts.parent, journal))
        raise UserError(
            f"{folder} is a journal in parts, from object storage; join them: cat {folder}/* > {whole}"
        )


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line, or None if the line is not a valid event."""
    try:
        event = json.loads(line)
        if event["kind"] == "epoch":
            event = without_texts(event)
        if first_wrong(event, _EVENTS[event["kind"]]) is None:
            return {name: printable(value) for name, value in event.items()}
    except (ValueError, RecursionError, TypeError, LookupError):
        pass
    return None


def _blocks(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines of a file, about `BLOCK_BYTES` at a time. Of a line that is too
    long, there is only the last byte, which is not a valid event. A line without an end
    is the last: a running sweep may have written the rest since."""
    lines, size, line = [], 0, b"\n"
    while line.endswith(b"\n") and (line := file.readline(MOST_LINE_BYTES)):
        if len(line) == MOST_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MOST_LINE_BYTES)
            line = line[-1:]
        lines.append(line)
        size += len(line)
        if size >= BLOCK_BYTES or len(lines) == BLOCK_LINES:
            yield lines
            lines, size = [], 0
    yield lines


def _is_config(value: Any) -> bool:
    try:
        return isinstance(value, dict) and bool(TrialConfig(**value))
    except UserError:
        return False


_TRIAL_ID = Column("trial_id", ID, needed=True)
_CONFIG = Column("config", Kind("a trial's configuration", _is_config), needed=True)

_EVENTS = {
    "trial": (_TRIAL_ID, _CONFIG, Column("changed", FLAG)),
    "epoch": ROW,
    "writer": (Column("number", COUNT, needed=True),),
    "end": (
        _TRIAL_ID,
        Column("stop_reason", ID, needed=True),
        Column("error", TEXT),
        Column("error_kind", NAME),
    ),
}
"""The values of each kind of event."""


@cache  # a resumed sweep reads its journal before it goes on, and when it has ended
def _warn_once(line: str) -> None:
    _log.warning("%s", line)
