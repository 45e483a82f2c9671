"""What a trial is: one frozen, validated record that round-trips through JSON and through a Tune config."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mnist_tune.columns import FLAG, LARGEST, TEXT, Kind, is_whole
from mnist_tune.errors import UserError

MAX_SEED = 2**32 - 1  # numpy's RandomState accepts no more


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One training run of SGD on MNIST.

    The update is `v <- momentum * v + g; w <- w - learning_rate * v` (Nesterov: `g + momentum * v` in place
    of `v`), g the gradient of the mean cross-entropy of a batch.

    Raises:
        UserError: a value is of the wrong kind or out of its range; the message names both.
    """

    architecture: str = "mlp-1024-128-tanh"
    """Name known to `mnist_tune.training.architectures.architecture`."""
    learning_rate: float = 0.1
    """Step size, > 0."""
    momentum: float = 0.0
    """Heavy-ball coefficient in [0, 1)."""
    nesterov: bool = False
    """Nesterov's form of momentum."""
    batch_size: int = 128
    """Images a step; the last batch of an epoch may be smaller."""
    epochs: int = 10
    """Epochs asked for."""
    label_noise: int = 0
    """The first so many training images are permuted against their labels (the notebook's `create_outliers`)."""
    holdout: int = 0
    """Training images held out for validation; 0 trains on all."""
    seed: int = 0
    """Seed of the initialisation."""
    data_seed: int = 0
    """Seed of the batch order; learning rates that are compared share it."""
    stop_when_diverged: bool = True
    """End the trial once it has diverged (`mnist_tune.regimes.divergence.has_diverged`)."""
    label: str = ""
    """What the trial is called in tables; without effect on its training."""

    def __post_init__(self) -> None:
        for name, kind in _FIELDS.items():
            value = getattr(self, name)
            if not kind.holds(value):
                raise UserError(f"{name} must be {kind.wanted}, got {value!r}")
        for name in ("learning_rate", "momentum"):  # as it is trained, and as a journal can hold it
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.nesterov and not self.momentum:
            raise UserError("nesterov needs momentum above 0, got momentum=0; give a momentum, 0.9 is usual")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialConfig:
        """The inverse of `to_dict`.

        Raises:
            UserError: a key that no field has; the message names the closest one.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise UserError(f"a trial has no field {key!r}{closest(key, known)}")
        return cls(**values)


def own_id(trial: Any) -> str:
    """The id that a Tune trial has in our tables: that of its config, else Tune's."""
    return str(trial.config["trial"].get("trial_id", trial.trial_id))


def _number(wanted: str, holds: Callable[[float], bool]) -> Kind:
    def is_finite_and_holds(value: Any) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and abs(value) <= sys.float_info.max and holds(value)

    return Kind(wanted, is_finite_and_holds)


def _whole(low: int, high: int = LARGEST) -> Kind:
    top = "" if high == LARGEST else f" and at most {high}"
    return Kind(f"a whole number of at least {low}{top}", lambda value: is_whole(value, low, high))


_NAME = replace(TEXT, wanted="a name")
_FIELDS = {
    "architecture": _NAME,
    "label": _NAME,
    "learning_rate": _number("a finite number above 0", lambda x: x > 0),
    "momentum": _number("in [0, 1)", lambda x: 0 <= x < 1),
    "nesterov": FLAG,
    "batch_size": _whole(1),
    "epochs": _whole(1),
    "label_noise": _whole(0),
    "holdout": _whole(0),
    "seed": _whole(0, MAX_SEED),
    "data_seed": _whole(0, MAX_SEED),
    "stop_when_diverged": FLAG,
}
"""What each field of a trial may be."""


def closest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the closest known name, or the list of all."""
    names = list(known)
    match = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {match[0]!r}?" if match else f"; known are {', '.join(names)}"
