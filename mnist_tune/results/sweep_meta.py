"""What `sweep.json` records of a sweep, with types. Files of older versions are read
into the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mnist_tune.invocation import started_by
from mnist_tune.regimes.contest import CONTENDERS
from mnist_tune.regimes.measured_edge import SEARCHES


class SweepKind(StrEnum):
    """What a sweep is for."""

    SWEEP = "sweep"
    """Trains the trials that were asked for."""
    SEARCH = "search"
    """Trains what a searcher proposes."""
    DECISION = "decision"
    """Decides between settings, on fresh seeds."""
    EDGE = "edge"
    """Searches for the learning rate up to which networks learn."""


@dataclass(frozen=True)
class SweepMeta:
    """What `sweep.json` records of a sweep."""

    name: str
    kind: SweepKind

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> SweepMeta:
        """Return what the content of a `sweep.json` records."""
        content = as_of_today(content)
        return cls(name=content.get("name", ""), kind=SweepKind(content["kind"]))

    @property
    def command(self) -> str | None:
        """The command that starts such sweeps; None if it was started from Python."""
        return started_by(self.name)

    @property
    def is_search(self) -> bool:
        """Whether trials are proposed while it runs."""
        return self.kind is not SweepKind.SWEEP

    @property
    def ends_in_a_decision(self) -> bool:
        """Whether a decision between its best settings follows, as the command `search`
        makes it."""
        return self.kind is SweepKind.SEARCH and self.command is not None


def as_of_today(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a `sweep.json`, which an older version may have written, as
    this version writes it."""
    today: dict[str, Any] = {"options": {}, "ended": None}
    for name, value in content.items():
        is_unknown = value is None and name in ("options", "environment")
        if name != "search" and not is_unknown:
            today[name] = value
    if today.get("kind") is None:
        today["kind"] = _kind_in_older(content, today["options"])
    return today


def _kind_in_older(content: Mapping[str, Any], options: Mapping[str, Any]) -> SweepKind:
    """Return the kind of a sweep that an older version wrote, which recorded whether
    something proposed its trials, and what."""
    if not content.get("search"):
        return SweepKind.SWEEP
    if CONTENDERS in options:
        return SweepKind.DECISION
    if SEARCHES in options:
        return SweepKind.EDGE
    kinds = {"decide": SweepKind.DECISION, "edge": SweepKind.EDGE}
    return kinds.get(content.get("name", ""), SweepKind.SEARCH)
