"""The config of a trial: a frozen, validated record that round-trips through JSON and
through a Tune config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    get_args,
    get_origin,
    get_type_hints,
)

from mnist_tune.columns import (
    BELOW_1,
    COUNT,
    FLAG,
    FROM_0,
    NAME,
    RATE,
    SEED,
    WHOLE,
    Kind,
    whole,
)
from mnist_tune.errors import ErrorKind, UserError, closest, registering

MOST_TRIALS = 100_000
"""The most trials of a sweep."""

TRIALS = whole(1, MOST_TRIALS)

OPEN_REASONS = ("interrupted", "time_budget")
"""Stop reasons of trials that continue when their sweep is resumed."""

LIVE_REASONS = ("running", "waiting", "unknown")
"""What stands for the stop reason of trials that have not ended, in the tables of a
sweep that is running. It may be running if it is unknown: another user's, where we have
no right to look."""

OUT_OF_PATIENCE = "patience"
"""The stop reason of trials whose held-out score has not risen in as many reports as
`--patience` allows."""

COMPLETED_REASONS = ("completed", OUT_OF_PATIENCE)
"""Stop reasons of trials that have run their course."""

UNFINISHED_REASONS = (*OPEN_REASONS, "error")
"""Stop reasons of trials whose saved state is kept. Trials with an error continue only
with `--retry-errored`. All other reasons are final: `completed`, `patience`, `diverged`
or the name of a scheduler."""

UNDECIDED_REASONS = (*UNFINISHED_REASONS, *LIVE_REASONS)
"""Stop reasons that say nothing of a setting: it may do as well as the others."""

RETRIED = "retried"
"""The option in `sweep.json` that lists the trials which ended in an error and are
trained again."""


STARTED_AGAIN = "started_again"
"""The option that says that trials had no saved state to go on from."""


def retried(options: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids of the trials that recorded options list so."""
    return frozenset(map(str, options.get(RETRIED) or ()))


@cache
def _names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


class Named:
    """Values that are given by their names."""

    # a file may have a field `cls`
    def __new__(cls, /, *positional: Any, **values: Any) -> Self:
        names = _names(cls)  # type: ignore[arg-type]
        title = cls.__name__
        if positional:
            raise UserError(
                f"{title} takes its values by name: {title}({names[0]}=...)"
            )
        for name in values:
            if name not in names:
                raise UserError(f"{title} has no field {name!r}{closest(name, names)}")
        return super().__new__(cls)


@dataclass(frozen=True, kw_only=True)
class Training(Named):
    """How a trial trains, which all trials of a sweep share."""

    PANEL: ClassVar[str] = "trial"

    epochs: Annotated[int, COUNT] = 10
    """Epochs to train."""
    nesterov: bool = False
    """Nesterov's momentum."""
    weight_decay: Annotated[float, FROM_0] = 0.0
    """Weight decay: so much of the weights is added to the gradient; adamw and lion
    decay the weights themselves."""
    clip_norm: Annotated[float, FROM_0] = 0.0
    """Clip the gradient of a step to this norm; 0 clips nothing."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """The course of the learning rate after the warm-up; cosine and linear end at 0
    after the last step."""
    warmup_steps: Annotated[int, WHOLE] = 0
    """Steps in which the learning rate rises linearly from 0."""
    loss: Literal["cross-entropy", "mse"] = "cross-entropy"
    """The loss; mse is half the squared distance of the outputs from the one-hot
    label."""
    drop_last: bool = False
    """Leave out the last batch of an epoch if it is smaller than the others."""
    label_noise: Annotated[int, WHOLE] = 0
    """Permute this many training images, the first ones, against their labels."""
    holdout: Annotated[int | None, WHOLE] = None
    """Hold out this many training images, the last ones, and choose the best setting by
    these; 0 holds out none. By default it is a tenth; of mnist, which is trained on as
    in the notebook, it is none."""
    stop_when_diverged: bool = True
    """By default a trial ends once it has diverged: its loss is not finite or far too
    large, or has been above the untrained network's for 1,000 steps while its accuracy
    is that of guessing."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig(Training):
    """The config of one training run.

    SGD's update is `v <- momentum * v + g; w <- w - learning_rate * v`, where g is the
    gradient of the mean loss of a batch. Nesterov's form uses `g + momentum * v` in
    place of `v`. The other optimisers are optax's.

    Raises:
        UserError: a value has the wrong type or is out of range; the message names the
            field and the value.
    """

    architecture: str = "mlp-1024-128-tanh"
    """The name of a network, with its arguments
    (`mnist_tune.training.architectures`)."""
    optimizer: str = "sgd"
    """The name of an optimiser, with its arguments
    (`mnist_tune.training.optimizers`)."""
    learning_rate: Annotated[float, RATE] = 0.1
    """Step size, > 0."""
    momentum: Annotated[float, BELOW_1] = 0.0
    """Heavy-ball coefficient in [0, 1)."""
    batch_size: Annotated[int, COUNT] = 128
    """Images in a step; the last batch of an epoch may be smaller."""
    seed: Annotated[int, SEED] = 0
    """Seed of the initialisation."""
    data_seed: Annotated[int, SEED] = 0
    """Seed of the batch order; trials whose learning rates are compared share it."""
    label: str = ""
    """The trial's name in tables; it has no effect on training."""
    reports: Annotated[int, COUNT] = 1
    """Reports of an epoch. A sweep fills in what follows from --report-every and its
    data."""

    def __post_init__(self) -> None:
        values = vars(self)
        for name, kind in FIELDS.items():
            value = values[name]
            is_of_numpy = type(value).__module__ == "numpy"
            # a number of NumPy is one
            if is_of_numpy and getattr(value, "shape", None) == ():
                value = value.item()
                object.__setattr__(self, name, value)
            if not kind.holds(value) and value is not getattr(type(self), name):
                hint = registering(name, value)
                raise UserError(f"{name} must be {kind.wanted}, got {value!r}{hint}")
        # as they are trained and journaled
        for name in ("learning_rate", "momentum", "weight_decay", "clip_norm"):
            object.__setattr__(self, name, float(getattr(self, name)))
        optimizer = self.optimizer.partition("(")[0].strip()  # without its arguments
        if optimizer != "sgd":
            self._refuse_options_of_sgd()
        if self.nesterov and not self.momentum:
            raise UserError(
                "nesterov needs momentum above 0, got momentum=0; give a momentum, 0.9 is usual"
            )
        if optimizer == "adamw" and not self.weight_decay:
            raise UserError(
                "adamw needs weight_decay above 0, without which it is adam; 0.01 is usual"
            )

    def _refuse_options_of_sgd(self) -> None:
        """Refuse what other optimisers take as arguments of their own."""
        examples = {
            "momentum": "rmsprop(momentum=0.9)",
            "nesterov": "adam(nesterov=True)",
        }
        for name, example in examples.items():
            if getattr(self, name):
                hint = f"give other optimizers their own arguments, as in {example!r}"
                raise UserError(
                    f"{name} is SGD's, got optimizer={self.optimizer!r}; {hint}"
                )

    @property
    def held_out(self) -> int:
        """The number of training images that are held out. None are if the trial says
        nothing of it: a sweep fills in what follows from its data (`holding_out`), and
        records that."""
        return self.holdout or 0

    @property
    def split(self) -> str:
        """The split that the trial is compared on."""
        if self.held_out:
            return "validation"
        return "test"

    def holding_out(self, count: int) -> Self:
        """Return the trial, which holds out so many training images if it does not say
        how many."""
        return self if self.holdout is not None else replace(self, holdout=count)

    def steps(self, images: int) -> int:
        """Return the number of steps of an epoch, given how many images there are to
        train on."""
        return steps_of_epoch(images, self.batch_size, self.drop_last)

    def reporting(self, images: int, every: int | None) -> Self:
        """Return the trial with the reports that an epoch has, given how many images
        there are and the steps between two reports (`report_ends`)."""
        ends = report_ends(self.steps(images - self.held_out), every)
        return replace(self, reports=len(ends))

    @property
    def epochs_asked(self) -> int:
        """The rows of a trial that runs to its end. They are its epochs, unless an
        epoch has several reports: these are then what tables and labels call epochs."""
        return self.epochs * self.reports

    def stop_reason(self, epoch: int, diverged: bool) -> str:
        """Return why the trial ends itself after this epoch; empty if it goes on."""
        if diverged and self.stop_when_diverged:
            return "diverged"
        return "completed" if epoch >= self.epochs_asked else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; `TrialConfig(**values)` is the inverse."""
        return dict(vars(self))

    def named(self, flag: str) -> dict[str, str]:
        """Return the names of what it trains, and with which optimiser, where `flag`
        names what is trained: architecture or task."""
        return {flag: self.architecture, "optimizer": self.optimizer}


def _kind(hint: Any) -> Kind:
    """Return the valid values of a field: those that its annotation names, or those of
    its type."""
    if get_origin(hint) is Annotated:
        return next(kind for kind in hint.__metadata__ if isinstance(kind, Kind))
    if hint is bool:
        return FLAG
    if hint is str:
        return NAME
    names = get_args(hint)  # of a Literal
    return Kind(f"one of {', '.join(names)}", lambda value: value in names)


_HINTS = get_type_hints(TrialConfig, include_extras=True)
FIELDS = {name: _kind(_HINTS[name]) for name in _names(TrialConfig)}
"""The valid values of each field of a trial's config."""


def steps_of_epoch(images: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of steps of an epoch, given how many images there are to train
    on."""
    if drop_last:
        return images // batch_size
    return -(-images // batch_size)


def report_ends(steps: int, every: int | None) -> list[int]:
    """Return the steps of an epoch after which a trial reports: after each `every`
    steps, and at the end. If at most half as many are left there, they belong to the
    report before. Without `every`, an epoch has one report."""
    if every is None:
        return [steps]
    least = every // 2 + 1
    inner = range(every, steps - least + 1, every)
    return [*inner, steps]


def retriable(kinds: Iterable[Any]) -> int:
    """Return how many errors of trials, given their kinds, may be gone if the trials
    are trained again."""
    return sum(kind != ErrorKind.LAST_BATCH for kind in kinds)


def own_id(trial: Any) -> str:
    """Return the id of a Tune trial in our tables: the one in its config if there is
    one, else Tune's."""
    return str(trial.config["trial"].get("trial_id", trial.trial_id))
