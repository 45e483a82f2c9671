"""What Tune is asked to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_tune.trial import TrialConfig


@dataclass(frozen=True)
class Plan:
    """What Tune is asked to run: trials known beforehand, or a space to sample from."""

    space: Any
    """Of `config["trial"]`: a Tune search space over the fields of `TrialConfig`; empty for known trials."""
    trials: dict[str, TrialConfig] = field(default_factory=dict)
    """Known ones, by their ids."""
    samples: int = 1
    """Trials in all."""
    scheduler: Any = None
    search_alg: Any = None
    in_a_grid: bool = False
    """Whether known trials reach Tune as a grid: population based training allows no searcher."""
    finished: tuple[tuple[TrialConfig, Mapping[str, Any]], ...] = ()
    """Of a search that goes on: the trials that ended, each with its last row."""

    @classmethod
    def of(cls, trials: Mapping[str, TrialConfig]) -> Plan:
        """These trials, by their ids, started in this order."""
        return cls({}, dict(trials), len(trials))

    @property
    def epochs(self) -> int:
        """The most that a trial runs."""
        known = [trial.epochs for trial in self.trials.values()]
        if known and not self.search_alg:
            return max(known)
        asked = self.space.get("epochs", TrialConfig.epochs)
        most = getattr(asked, "upper", None) or max(getattr(asked, "categories", [asked]))
        return max([int(most), *known])

    def share_of(self, cores: float) -> int:
        """CPU cores for each trial, where all start together; at least 1."""
        return max(1, int(cores // self.samples))
