"""The append-only journal of a sweep, a line per event: the truth at any moment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mnist_tune.trial import TrialConfig

OPEN_REASONS = ("interrupted", "time_budget", "error")
"""Reasons for which a trial goes on when its sweep is resumed; any other ended it: `completed`, `diverged`, or the
scheduler that stopped it."""


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events of a sweep in order; a last line torn by a kill is left out."""
    events, file = [], path / "journal.jsonl"
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def known_trials(meta: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> dict[str, TrialConfig]:
    """Every trial of a sweep, planned or proposed while it ran, by its id; as a scheduler changed it last."""
    configs = dict(meta["trials"])
    configs |= {event["trial_id"]: event["config"] for event in events if event["kind"] == "trial"}
    return {trial_id: TrialConfig.from_dict(config) for trial_id, config in configs.items()}


def mend_last_line(journal: Path) -> None:
    """Ends a line torn by a kill, so that the next event starts a line of its own."""
    if journal.exists() and not journal.read_bytes().endswith(b"\n"):
        with journal.open("ab") as file:
            file.write(b"\n")
