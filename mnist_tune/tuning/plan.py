"""The trials that Tune runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_tune.errors import UserError
from mnist_tune.trial import TrialConfig


@dataclass(frozen=True)
class Plan:
    """The trials that Tune runs: known in advance, in the order in which they start,
    then those that are proposed."""

    trials: Mapping[str, TrialConfig] = field(default_factory=dict)
    """The known trials by id."""
    space: Any = field(default_factory=dict)
    """A Tune search space over the fields of `TrialConfig`."""
    proposals: int = 0
    """How many trials of that space are run."""
    scheduler: Any = None
    search_alg: Any = None
    callbacks: tuple[Any, ...] = ()
    """Callbacks of Tune that the user gave."""

    def __post_init__(self) -> None:
        for callback in self.callbacks:
            if not hasattr(callback, "on_trial_result"):
                raise UserError(
                    f"callbacks takes callbacks of Ray Tune, and {callback!r} is none"
                )

    @property
    def samples(self) -> int:
        """The number of all trials."""
        return len(self.trials) + self.proposals

    @property
    def epochs(self) -> int:
        """The most epochs of a trial that is proposed."""
        epochs = self.space.get("epochs", TrialConfig.epochs)
        highest = getattr(epochs, "upper", None)
        if not highest:
            highest = max(getattr(epochs, "categories", [epochs]))
        return int(highest)
