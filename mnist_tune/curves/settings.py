"""The settings of runs that were trained elsewhere, as those of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnist_tune.trial import TrialConfig


def usual_settings(examples: int) -> dict[str, Any]:
    """Return what a run that does not say it has.

    Args:
        examples: how many it trains on. A batch of an unknown size is an epoch: no rule
            counts more steps than there are.
    """
    return {"batch_size": examples, "schedule": "constant"}


def with_arguments(name: str, settings: Mapping[Any, Any]) -> str:
    """Return the name of what a run trains, with its settings as arguments."""
    texts = [f"{setting}={value}" for setting, value in settings.items()]
    return f"{name}({', '.join(texts)})"


def trial_of(values: Mapping[str, Any]) -> TrialConfig:
    """Return the trial that a run is. Raises `UserError` if a value can't be so."""
    return TrialConfig(**values, data_seed=values["seed"], holdout=0)
