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
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mnist_tune import storage
from mnist_tune.columns import COUNT, FLAG, ID, NAME, TEXT, Column, first_wrong
from mnist_tune.errors import ErrorKind, UserError, printable
from mnist_tune.numbers import counted
from mnist_tune.results.folder import JOURNAL, MOST_JOURNAL_BYTES, SEGMENTS
from mnist_tune.trial import TrialConfig

if TYPE_CHECKING:
    import pandas as pd

LAST_BYTES = 2**20
"""How much of a journal's end surely holds its last line, about a thousand rows."""

BLOCK_LINES = 2**11
"""How many lines are read at a time."""

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
        trials = dict[str, TrialConfig]()
        for trial_id, values in meta["trials"].items():
            # A file that says nothing of a hold-out had none.
            trials[trial_id] = TrialConfig(**values).holding_out(0)
        for trial_id, trial in self.trials.items():
            planned = trials.get(trial_id)
            if planned is None or trial.epochs >= planned.epochs:
                trials[trial_id] = trial
        return trials


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
    from mnist_tune.results.rows import BEGINS, Rows

    file = path / JOURNAL
    _refuse_parts(file)
    epochs = Rows(scores)
    last_row = 0
    events: dict[int, dict[str, Any]] = {}
    damaged: list[int] = []
    with (
        storage.attempt(f"read {file}"),
        suppress(FileNotFoundError),
        storage.open_file(file, MOST_JOURNAL_BYTES) as opened,
    ):
        numbered = enumerate(_lines(opened), 1)
        while block := dict(islice(numbered, BLOCK_LINES)):
            # Rows are parsed together, other events one by one.
            rows = {i: line for i, line in block.items() if line.startswith(BEGINS)}
            bad = epochs.add(rows)
            last_row = max(rows.keys() - bad, default=last_row)
            for number in sorted(block.keys() - rows.keys()):
                event = parse_event(block[number])
                if event is None:
                    bad.append(number)
                else:
                    events[number] = event
            damaged += [number for number in sorted(bad) if _is_whole(block[number])]
    if damaged:
        _warn_of_damage(file, damaged)
    trials = dict[str, TrialConfig]()
    changed = set[str]()
    ends = dict[str, dict[str, Any]]()
    last_end = 0
    for number, event in events.items():
        if event["kind"] == "trial":
            trials[event["trial_id"]] = event["config"]
            if event.get("changed"):
                changed.add(event["trial_id"])
        if event["kind"] == "end":
            event.setdefault("error_kind", older_kind(event.get("error")))
            ends[event["trial_id"]] = event
            last_end = number
    undecided = last_row > last_end
    return Journal(epochs.table(), trials, changed, ends, undecided)


def _warn_of_damage(file: Path, damaged: Sequence[int]) -> None:
    lines = "lines"
    if len(damaged) == 1:
        lines = "line"
    numbers = ", ".join(map(str, damaged[:5]))
    if len(damaged) > 5:
        numbers += ", ..."
    count = counted(len(damaged), "damaged line")
    _warn_once(f"{file}: skipped {count} ({lines} {numbers}) and read all others")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file. One without an end is the last: a running sweep may
    have written the rest since."""
    for line in iter(file.readline, b""):
        yield line
        if not line.endswith(b"\n"):
            return


def _is_whole(line: bytes) -> bool:
    """Return whether no kill has cut a line short."""
    return line.endswith(b"\n") and not line.endswith(TORN)


def mend_last_line(journal: Path) -> None:
    """End a line that a kill cut short, so that the next event starts on a new line.
    Raises `UserError` if the journal is in parts."""
    _refuse_parts(journal)
    with (
        suppress(FileNotFoundError),
        open(journal, "r+b", opener=storage.no_link) as file,
    ):
        file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
        _, _, tail = file.read().rpartition(b"\n")
        if not tail:
            return
        try:
            json.loads(tail)
            file.write(b"\n")
        except ValueError:
            file.write(TORN)


def _refuse_parts(journal: Path) -> None:
    """Raise a `UserError` if the folder was downloaded from object storage, where
    journals are in parts."""
    folder = journal.parent / SEGMENTS
    is_in_parts = (folder / "000000").exists()
    if is_in_parts and not journal.exists():
        parts = shlex.quote(str(folder))
        whole = shlex.quote(str(journal))
        raise UserError(
            f"{parts} is a journal in parts, from object storage; join them: cat {parts}/* > {whole}"
        )


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line, which is no row; None if there is none."""
    try:
        event: dict[str, Any] = printable(json.loads(line))
        if first_wrong(event, _EVENTS[event["kind"]]) is not None:
            return None
        if event["kind"] == "trial":
            event["config"] = TrialConfig(**event["config"]).holding_out(0)
    except (ValueError, TypeError, LookupError, UserError):
        return None
    return event


_TRIAL_ID = Column("trial_id", ID, needed=True)

_EVENTS = {
    "trial": (_TRIAL_ID, Column("changed", FLAG)),
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
