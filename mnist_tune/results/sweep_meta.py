"""What `sweep.json` records of a sweep, with types. Files of older versions are read
into the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from mnist_tune.columns import WHOLE
from mnist_tune.data_spec import ARRAYS
from mnist_tune.invocation import SCRIPTS, started_by
from mnist_tune.own_code.signature import RecordedCode
from mnist_tune.regimes.contest import CONTENDERS
from mnist_tune.regimes.data_facts import DataFacts, data_facts
from mnist_tune.regimes.measured_edge import SEARCHES
from mnist_tune.trial import retried

SWEPT_IMAGES = "swept_images"
"""The option that says on how many examples the sweep of a decision trained."""


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
    CURVES = "curves"
    """Was trained elsewhere, so that nothing here can go on with it."""


@dataclass(frozen=True)
class SweepMeta:
    """What `sweep.json` records of a sweep."""

    name: str
    kind: SweepKind
    started: str | None
    ended: str | None
    """None while it runs, or if it was killed."""
    resumed: tuple[str, ...]
    """When it was resumed."""
    typed: tuple[str, ...]
    """The words of the command that started it; none if an older version recorded them
    as one text."""
    own_code: RecordedCode
    """The own code that it runs."""
    environment: Mapping[str, Any]
    """Versions, machine and git revision; empty if none are recorded."""
    dataset: Mapping[str, Any]
    """The data: `name`, `note`, `checksums`, and the fields of their description."""
    options: Mapping[str, Any]
    """The options, as they are recorded."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> SweepMeta:
        """Return what the content of a `sweep.json` records, whichever version wrote
        it."""
        content = as_of_today(content)
        words = content.get("command")
        if not isinstance(words, list):
            words = []
        return cls(
            name=content["name"],
            kind=SweepKind(content["kind"]),
            started=content.get("started"),
            ended=content["ended"],
            resumed=tuple(content.get("resumed") or ()),
            typed=tuple(words),
            own_code=RecordedCode.of(content),
            environment=content.get("environment", {}),
            dataset=content.get("dataset", {}),
            options=content["options"],
        )

    @property
    def code(self) -> tuple[Mapping[str, Any], ...]:
        """The own code that it runs: for each, `flag`, `name` and `files`."""
        return self.own_code.factories

    @cached_property
    def data(self) -> DataFacts:
        """The facts about its data."""
        return data_facts({"dataset": self.dataset, "options": self.options})

    @property
    def has_arrays(self) -> bool:
        """Whether its data came from Python, so that no file has them."""
        return self.options.get("dataset") == ARRAYS

    @property
    def trains_tasks(self) -> bool:
        """Whether it trains tasks or loops, in place of networks."""
        return bool(self.options.get("task") or self.options.get("loop"))

    @property
    def holdout(self) -> int:
        """How many training examples are held out by trials that do not say how many.
        Sweeps of older versions held out none."""
        count: Any = self.options.get("holdout")
        if not WHOLE.holds(count):
            return 0
        return int(count)

    @property
    def most_trials(self) -> int:
        """How many trials it was asked for at most; 0 if nobody asked for a number."""
        count = self.options.get("trials")
        if type(count) is not int:
            return 0
        return count

    @property
    def retried(self) -> frozenset[str]:
        """The trials that ended in an error and are trained again."""
        return retried(self.options)

    @property
    def swept_images(self) -> int | None:
        """How many examples the sweep trained on whose settings a decision compares;
        None if that is not known."""
        count = self.options.get(SWEPT_IMAGES)
        if type(count) is not int:
            return None
        return count

    @property
    def chosen_by(self) -> str | None:
        """The split by which that sweep chose them."""
        return self.options.get("chosen_by")

    @property
    def command(self) -> str | None:
        """The command that starts such sweeps; None if it was started from Python."""
        return started_by(self.name)

    @property
    def script(self) -> str | None:
        """The script of a clone that started it, and goes on with it; None if a command
        or a call from Python did, whose sweeps have no option `seeds`."""
        if "seeds" not in self.options:
            return None
        return SCRIPTS.get(self.name)

    @property
    def proposes_trials(self) -> bool:
        """Whether trials are proposed while it runs."""
        return self.kind not in (SweepKind.SWEEP, SweepKind.CURVES)

    @property
    def is_elsewhere(self) -> bool:
        """Whether it was trained elsewhere."""
        return "has_seeds" in self.options

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
