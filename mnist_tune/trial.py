"""The config of a trial: a frozen, validated record that round-trips through JSON and through a Tune config."""

from __future__ import annotations

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
    """The config of one training run.

    SGD's update is `v <- momentum * v + g; w <- w - learning_rate * v`, where g is the gradient of the mean loss of a
    batch. Nesterov's form uses `g + momentum * v` in place of `v`. The other optimisers are optax's.

    Raises:
        UserError: a value has the wrong type or is out of range; the message names the field and the value.
    """

    architecture: str = "mlp-1024-128-tanh"
    """The name of a network, with its arguments (`mnist_tune.training.architectures`)."""
    optimizer: str = "sgd"
    """The name of an optimiser, with its arguments (`mnist_tune.training.optimizers`)."""
    learning_rate: float = 0.1
    """Step size, > 0."""
    momentum: float = 0.0
    """Heavy-ball coefficient in [0, 1)."""
    nesterov: bool = False
    """Use Nesterov's form of momentum."""
    weight_decay: float = 0.0
    """How much of the weights is added to the gradient; adamw and lion decay the weights themselves."""
    clip_norm: float = 0.0
    """The largest norm of a step's gradient; 0 clips nothing."""
    schedule: str = "constant"
    """The course of the learning rate after the warm-up: constant, or down to 0 as a cosine or linear."""
    warmup_steps: int = 0
    """Steps in which the learning rate rises from 0."""
    loss: str = "cross-entropy"
    """cross-entropy, or mse: the mean over examples of `½ ‖f - onehot‖²`."""
    batch_size: int = 128
    """Images in a step; the last batch of an epoch may be smaller."""
    drop_last: bool = False
    """Leave out that smaller batch: an epoch then trains on the first full batches of its order."""
    epochs: int = 10
    """Epochs to train."""
    label_noise: int = 0
    """Training images, from the first on, to permute against their labels (the notebook's `create_outliers`)."""
    holdout: int = 0
    """Training images held out for validation; 0 trains on all."""
    seed: int = 0
    """Seed of the initialisation."""
    data_seed: int = 0
    """Seed of the batch order; trials whose learning rates are compared share it."""
    stop_when_diverged: bool = True
    """End the trial once it has diverged (`mnist_tune.regimes.divergence.has_diverged`)."""
    label: str = ""
    """The trial's name in tables; it has no effect on training."""

    def __post_init__(self) -> None:
        for name, kind in _FIELDS.items():
            value = getattr(self, name)
            if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():  # a number of NumPy is one
                object.__setattr__(self, name, value := value.item())
            if not kind.holds(value):
                raise UserError(f"{name} must be {kind.wanted}, got {value!r}")
        for name in ("learning_rate", "momentum", "weight_decay", "clip_norm"):  # as they are trained and journaled
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.nesterov and not self.momentum:
            raise UserError("nesterov needs momentum above 0, got momentum=0; give a momentum, 0.9 is usual")
        optimizer = self.optimizer.partition("(")[0].strip()  # without its arguments
        if self.momentum and optimizer != "sgd":
            hint = "give other optimizers their own arguments, as in 'rmsprop(momentum=0.9)'"
            raise UserError(f"momentum is SGD's, got optimizer={self.optimizer!r}; {hint}")
        if optimizer == "adamw" and not self.weight_decay:
            raise UserError("adamw needs weight_decay above 0, without which it is adam; 0.01 is usual")

    def steps(self, images: int) -> int:
        """Return the number of steps of an epoch, given how many images there are to train on."""
        return steps_of_epoch(images, self.batch_size, self.drop_last)

    def stop_reason(self, epoch: int, diverged: bool) -> str:
        """Return why the trial ends itself after this epoch; empty if it goes on."""
        return "diverged" if diverged and self.stop_when_diverged else "completed" if epoch >= self.epochs else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialConfig:
        """Return the config with these fields; the inverse of `to_dict`.

        Raises:
            UserError: a key is not a field; the message names the closest field.
        """
        for key in values:
            if key not in _FIELDS:
                raise UserError(f"a trial has no field {key!r}{closest(key, _FIELDS)}")
        return cls(**values)


def steps_of_epoch(images: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of steps of an epoch, given how many images there are to train on."""
    return images // batch_size if drop_last else -(-images // batch_size)


def own_id(trial: Any) -> str:
    """Return the id of a Tune trial in our tables: the one in its config if there is one, else Tune's."""
    return str(trial.config["trial"].get("trial_id", trial.trial_id))


def _number(wanted: str, holds: Callable[[float], bool]) -> Kind:
    def is_finite_and_holds(value: Any) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and abs(value) <= sys.float_info.max and holds(value)

    return Kind(wanted, is_finite_and_holds)


def _whole(low: int, high: int = LARGEST) -> Kind:
    top = "" if high == LARGEST else f" and at most {high}"
    return Kind(f"a whole number of at least {low}{top}", lambda value: is_whole(value, low, high))


def _one_of(*names: str) -> Kind:
    return Kind(f"one of {', '.join(names)}", lambda value: value in names)


_NAME = replace(TEXT, wanted="a name")
_FIELDS = {
    "architecture": _NAME,
    "label": _NAME,
    "learning_rate": _number("a finite number above 0", lambda x: x > 0),
    "momentum": _number("in [0, 1)", lambda x: 0 <= x < 1),
    "nesterov": FLAG,
    "optimizer": _NAME,
    "weight_decay": _number("a finite number of at least 0", lambda x: x >= 0),
    "clip_norm": _number("a finite number of at least 0", lambda x: x >= 0),
    "schedule": _one_of("constant", "cosine", "linear"),
    "warmup_steps": _whole(0),
    "loss": _one_of("cross-entropy", "mse"),
    "batch_size": _whole(1),
    "drop_last": FLAG,
    "epochs": _whole(1),
    "label_noise": _whole(0),
    "holdout": _whole(0),
    "seed": _whole(0, MAX_SEED),
    "data_seed": _whole(0, MAX_SEED),
    "stop_when_diverged": FLAG,
}
"""The valid values of each field."""


def closest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` with the closest known name, or a list of all if none is close."""
    names = list(known)
    match = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {match[0]!r}?" if match else f"; known are {', '.join(names)}"
