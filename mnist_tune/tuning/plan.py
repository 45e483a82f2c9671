"""What Tune is asked to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_tune.trial import TrialConfig


class _Values(list[dict[str, Any]]):
    """Tune copies the whole search space deeply for every trial of a grid: of 1,000 trials, for half a minute."""

    def __deepcopy__(self, memo: Any) -> _Values:
        return self


@dataclass(frozen=True)
class Plan:
    """What Tune is asked to run: trials known beforehand, or a space to sample from."""

    space: Any
    """Of `config["trial"]`: a Tune search space over the fields of `TrialConfig`."""
    trials: dict[str, TrialConfig] = field(default_factory=dict)
    samples: int = 1
    scheduler: Any = None
    search_alg: Any = None

    @classmethod
    def grid(cls, trials: Mapping[str, TrialConfig]) -> Plan:
        """These trials, by their ids, started in this order."""
        # What `tune.grid_search` returns; Ray, which would be imported for it, has not been started yet.
        return cls({"grid_search": _Values({"trial_id": i, **t.to_dict()} for i, t in trials.items())}, dict(trials))

    @property
    def epochs(self) -> int:
        if self.trials:
            return max(trial.epochs for trial in self.trials.values())
        return int(self.space.get("epochs", TrialConfig.epochs))

    def share_of(self, cores: float) -> int:
        """CPU cores for each trial, where all start together; at least 1."""
        return max(1, int(cores // (len(self.trials) or self.samples)))
