"""A trial's curve, and the numbers of images that its noise follows from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.divergence import chance_ceiling
from mnist_tune.regimes.histories import Histories
from mnist_tune.regimes.noise import (
    SIGMAS,
    accuracy_noise,
    calm_floor,
    calm_limit,
    sigmas,
    window_images,
)
from mnist_tune.regimes.reasons import Peak
from mnist_tune.trial import steps_of_epoch

SETTINGS = (
    "architecture",
    "batch_size",
    "drop_last",
    "holdout",
    "label_noise",
    "loss",
    "schedule",
)
"""The settings of a trial that decide how its curve is read."""

ENDS_AT_0 = ("cosine", "linear")
"""The schedules at whose end the learning rate is 0."""


@dataclass(frozen=True)
class Curve:
    """A trial's epochs, as arrays of equal length; what was not measured is None.

    Losses are in nats, accuracies are fractions. `held_out` is the accuracy on the
    validation split, or on the test set if there is no such split.
    """

    held_out: np.ndarray
    epochs_asked: int
    train_accuracy: np.ndarray | None = None
    train_loss: np.ndarray | None = None
    step_loss_max: np.ndarray | None = None
    diverged: np.ndarray | None = None
    untrained_loss: float | None = None
    above_since: int | None = None
    window_loss_max: np.ndarray | None = None
    """Largest mean of the step losses over a window (`window_images`)."""
    guessing_since: int | None = None
    """Step since which the loss has not been below that of a constant guess."""
    architecture: str = ""
    batch_size: int = 128
    drop_last: bool = False
    """Whether an epoch's last batch was left out if it is smaller."""
    holdout: int = 0
    """Training images that are held out, the last ones. `held_out` is then measured on
    these."""
    label_noise: int = 0
    """Training images, the first ones, with random labels."""
    data: DataFacts = MNIST
    loss: str = "cross-entropy"
    """The loss that the network was trained with."""
    held_out_loss: np.ndarray | None = None
    """On the same images as `held_out`."""
    answers: float = 1.0
    """Independent answers that an image counts for; more than one only if it has
    several tokens."""
    schedule: str = "constant"
    """The course of the learning rate. After cosine and linear a run can't go on: they
    end at 0."""
    share_noise: float | None = None
    """Where accuracies are shares of the loss that were learned (`learned_share`), the
    standard error of each; it is infinite if nobody knows how much can be learned."""
    begun: float = 0.0
    """The share that each sibling there had learned after its first epoch."""
    loss_noise: float = 0.0
    """The standard error of a loss there."""
    gain_noise: np.ndarray | None = None
    """The standard error of what the held-out loss of a task fell since the beginning
    (`loss_noise` of `epochs`)."""
    loss_error: np.ndarray | None = None
    """The standard error of the held-out loss of a task itself (likewise of
    `epochs`)."""

    @classmethod
    def of(
        cls, columns: Mapping[str, np.ndarray], config: Any, data: DataFacts
    ) -> Curve:
        """Make a curve from a trial's columns (`Histories.columns`) and its config."""
        last = {
            name: float(values[-1]) if len(values) else math.nan
            for name, values in columns.items()
        }
        known = {
            name: None if math.isnan(last[name]) and np.isnan(of).all() else of
            for name, of in columns.items()
        }
        last = {name: value for name, value in last.items() if math.isfinite(value)}
        split = "test" if known["validation_accuracy"] is None else "validation"
        loss, flags = known["train_loss"], known["diverged"]
        # it is NaN because the trial diverged
        if loss is None and flags is not None and (flags == 1).any():
            loss = columns["train_loss"]
        since, guessing = (last.get(name) for name in ("above_since", "guessing_since"))
        return cls(
            held_out=columns[f"{split}_accuracy"],
            epochs_asked=config.epochs,
            held_out_loss=known[f"{split}_loss"],
            gain_noise=known["loss_noise"],
            loss_error=known["loss_error"],
            train_accuracy=known["train_accuracy"],
            train_loss=loss,
            step_loss_max=known["step_loss_max"],
            diverged=None if flags is None else flags == 1,
            untrained_loss=last.get("untrained_loss"),
            above_since=None if since is None else int(since),
            window_loss_max=known["window_loss_max"],
            guessing_since=None if guessing is None else int(guessing),
            answers=1.0
            if known["answers"] is None
            else median(known["answers"][~np.isnan(known["answers"])]),
            data=data,
            **{name: getattr(config, name) for name in SETTINGS if name != "holdout"},
            holdout=config.holdout or 0,
        )

    @cached_property
    def accuracy(self) -> np.ndarray:
        """Training accuracy if every epoch has one, and its labels are right; else
        held-out accuracy. A gap repeats the value before it."""
        train = (
            self.held_out
            if self.train_accuracy is None or self.label_noise
            else self.train_accuracy
        )
        for found in (train, self.held_out):
            if not np.isnan(found).any():
                return found
        return np.asarray(
            pd.Series(train).fillna(pd.Series(self.held_out)).ffill().bfill()
        )

    @cached_property
    def images(self) -> float:
        """The number of images, or independent answers, that `accuracy` is measured
        on."""
        return (
            self.evaluated
            if self.accuracy is self.train_accuracy
            else self.held_out_count
        )

    @property
    def held_out_count(self) -> float:
        """The number of images, or independent answers, that `held_out` is measured
        on."""
        return (self.holdout or self.data.test_images) * self.answers

    @property
    def trained(self) -> int:
        """The number of images in an epoch."""
        return max(min(self._kept, self.steps * self.batch_size), 1)

    @property
    def steps(self) -> int:
        """The number of steps in an epoch."""
        return steps_of_epoch(self._kept, self.batch_size, self.drop_last)

    @property
    def _kept(self) -> int:
        """The number of training images that are not held out."""
        return max(self.data.train_images - self.holdout, 1)

    @property
    def evaluated(self) -> float:
        """The number of training images, or independent answers, that `train_loss` is
        measured on: the first ones."""
        return min(self._kept, self.data.evaluated or self._kept) * self.answers

    @property
    def epochs(self) -> int:
        return len(self.held_out)

    @property
    def complete(self) -> bool:
        return self.epochs >= self.epochs_asked

    @property
    def ended(self) -> bool:
        """Whether its learning rate has come down to 0: it can't go on, and has arrived
        wherever it is."""
        return self.complete and self.schedule in ENDS_AT_0

    @cached_property
    def untrained(self) -> float:
        """The loss of the untrained network. If unknown, that of a constant guess,
        which is close."""
        return self.guess if self.untrained_loss is None else self.untrained_loss

    @property
    def guess(self) -> float:
        """The loss of a constant guess."""
        return self.data.guess(self)

    @cached_property
    def ceiling(self) -> float:
        """The accuracy up to which a network counts as guessing."""
        return float(
            chance_ceiling(
                self.data.chance, self.images if self.data.by_accuracy else math.inf
            )
        )

    def noise(self, *accuracies: Any, images: float = 0) -> Any:
        """Return the standard error of an accuracy, or of the difference of two, on so
        many images; by default on those of `accuracy`."""
        if self.share_noise is not None:
            return self.share_noise * math.sqrt(len(accuracies))
        errors = [accuracy_noise(one, images or self.images) for one in accuracies]
        return errors[0] if len(errors) == 1 else np.hypot(*errors)

    @property
    def calm_limit(self) -> float:
        """The largest training loss of a calm network that has learned nothing."""
        if not self.data.by_accuracy:
            return self.untrained + SIGMAS * self.loss_noise
        return float(calm_limit(self.untrained, self.evaluated))

    @property
    def calm_floor(self) -> float:
        """The least training loss of a network that guesses."""
        if not self.data.by_accuracy:
            return (
                self.guess - SIGMAS * self.loss_noise
                if self.share_noise != math.inf
                else math.inf
            )
        return float(calm_floor(self.guess, self.evaluated))

    @cached_property
    def settled(self) -> float:
        """The accuracy at which the curve has settled (`settled_of`)."""
        return self.settled_of(self.accuracy)

    @cached_property
    def held_out_settled(self) -> float:
        """The same of the held-out accuracies."""
        return self.settled_of(self.held_out)

    def settled_of(self, values: np.ndarray) -> float:
        """Return the median of the last three epochs, which does not depend on the luck
        of the last one. Where the learning rate has come down to 0, return the last
        one: there it has no luck, and the others were on their way.
        """
        if not self.epochs:
            return 0.0
        return float(values[-1]) if self.ended else median(values[-3:])

    @cached_property
    def falls(self) -> np.ndarray:
        """How much the accuracy fell from each epoch to the next; negative if it
        rose."""
        return -np.diff(self.accuracy)

    @cached_property
    def falls_noise(self) -> np.ndarray:
        """The limit that each of `falls` must exceed to be more than noise."""
        return np.asarray(
            sigmas(self.epochs - 1) * self.noise(self.accuracy[1:], self.accuracy[:-1])
        )

    def spikes(self, factor: float = 1) -> np.ndarray:
        """Return which epochs have a spike: a window whose loss is above `factor` times
        the untrained loss, and above what a calm network with that epoch's loss reaches
        by chance."""
        images = (
            self.batch_size
            if self.window_loss_max is None
            else window_images(self.batch_size)
        )
        with np.errstate(invalid="ignore"):
            limit = calm_limit(
                np.minimum(self._expected_loss(), 1e9),
                images,
                max(self.trained / images, 1),
            )
            return np.asarray(self.peak > np.maximum(limit, factor * self.untrained))

    @cached_property
    def peak(self) -> np.ndarray:
        """The loss of each epoch that `spikes` compares with its limits; NaN if it is
        not known."""
        peaks = (
            self.step_loss_max if self.window_loss_max is None else self.window_loss_max
        )
        return np.full(self.epochs, np.nan) if peaks is None else peaks

    def peak_of(self, loss: float) -> Peak:
        """Return one of `peak`, with the images that it is the mean of: with small
        batches, it is no batch's loss."""
        images = window_images(self.batch_size)
        if self.window_loss_max is None or images <= self.batch_size:
            return Peak(loss, None)
        return Peak(loss, images)

    def _expected_loss(self) -> np.ndarray:
        """Return an upper bound of each epoch's mean loss: the larger of the losses
        before and after it. An unknown cross-entropy is taken as four times the error:
        measured ratios are 3.4 to 3.8 for errors of 0.14 to 0.01."""
        factor = 4 if self.loss == "cross-entropy" else 1
        loss = (
            factor * (1 - self.accuracy) if self.train_loss is None else self.train_loss
        )
        before = np.concatenate([[self.untrained], loss[:-1]])
        return np.asarray(np.fmax(loss, before))


def median(values: np.ndarray) -> float:
    """Return the median, NaN if a value is NaN, in a tenth of the time that NumPy takes
    for a few."""
    known, half = np.sort(values).tolist(), len(values) // 2
    return (
        math.nan
        if math.isnan(known[-1])
        else known[half]
        if len(known) % 2
        else (known[half - 1] + known[half]) / 2
    )


def curves_of(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> Iterator[Curve]:
    """Yield the curve of each trial, in the order of `trials`."""
    histories = Histories.of(epochs, {*trials["trial_id"]})
    configs = trials[["trial_id", "epochs_asked", *SETTINGS]].rename(
        columns={"epochs_asked": "epochs"}
    )
    for config in configs.itertuples(index=False):
        yield Curve.of(histories.columns(config.trial_id), config, data)
