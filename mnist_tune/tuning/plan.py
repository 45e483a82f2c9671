"""The trials that Tune runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_tune.trial import TrialConfig


@dataclass(frozen=True)
class Plan:
    """The trials that Tune runs: known in advance, sampled from a space, or both."""

    space: Any
    """A Tune search space over the fields of `TrialConfig`; empty if all trials are known."""
    trials: dict[str, TrialConfig] = field(default_factory=dict)
    """The known trials by id."""
    samples: int = 1
    """The total number of trials."""
    scheduler: Any = None
    search_alg: Any = None
    callbacks: tuple[Any, ...] = ()
    """Callbacks of Tune that the user gave."""

    @classmethod
    def of(cls, trials: Mapping[str, TrialConfig]) -> Plan:
        """Return the plan of these trials, which start in this order."""
        return cls({}, dict(trials), len(trials))

    @property
    def epochs(self) -> int:
        """The largest number of epochs of a trial."""
        known = [trial.epochs for trial in self.trials.values()]
        if known and not self.search_alg:
            return max(known)
        asked = self.space.get("epochs", TrialConfig.epochs)
        most = getattr(asked, "upper", None) or max(getattr(asked, "categories", [asked]))
        return max([int(most), *known])
