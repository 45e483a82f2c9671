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

    @classmethod
    def of(cls, trials: Mapping[str, TrialConfig]) -> Plan:
        """These trials, by their ids, started in this order."""
        return cls({}, dict(trials), len(trials))

    @property
    def epochs(self) -> int:
        if self.trials:
            return max(trial.epochs for trial in self.trials.values())
        return int(self.space.get("epochs", TrialConfig.epochs))

    def share_of(self, cores: float) -> int:
        """CPU cores for each trial, where all start together; at least 1."""
        return max(1, int(cores // self.samples))
