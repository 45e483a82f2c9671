"""A trial's curve, and the numbers of images that its noise follows from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.divergence import chance_ceiling, least_guess_loss
from mnist_tune.regimes.families import whole_course
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


class Score(StrEnum):
    """What the scores of a curve are."""

    ACCURACY = "accuracy"
    LEARNED_SHARE = "learned share"
    """The share of the loss that was learned (`learned_share`)."""


@dataclass(frozen=True)
class Curve:
    """A trial's epochs, as arrays of equal length; what was not measured is None.

    Losses are in nats, scores are fractions (`measure`). `held_out` is the score on the
    validation split, or on the test set if there is no such split.
    """

    held_out: np.ndarray
    epochs_asked: int
    train_score: np.ndarray | None = None
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
    measure: Score = Score.ACCURACY
    """What its scores are."""
    share_noise: float | None = None
    """The standard error of each share of the loss that was learned; it is infinite if nobody knows how much can be learned."""
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
    reports: int = 1
    """Reports of an epoch. If it is more than one, these are what all else here calls
    epochs."""

    @classmethod
    def of(
        cls, columns: Mapping[str, np.ndarray], config: Any, data: DataFacts
    ) -> Curve:
        """Make a curve from a trial's columns (`Histories.columns`) and its config."""
        measured = {}
        for name, values in columns.items():
            if _is_measured(values):
                measured[name] = values
        split = "test"
        if "validation_accuracy" in measured:
            split = "validation"
        diverged = None
        if "diverged" in measured:
            diverged = measured["diverged"] == 1
        train_loss = measured.get("train_loss")
        # it is NaN because the trial diverged
        if train_loss is None and diverged is not None and diverged.any():
            train_loss = columns["train_loss"]
        answers = 1.0
        if "answers" in measured:
            counts = measured["answers"]
            answers = median(counts[~np.isnan(counts)])
        settings = {name: getattr(config, name) for name in SETTINGS}
        settings["holdout"] = config.holdout or 0
        return cls(
            held_out=columns[f"{split}_accuracy"],
            epochs_asked=config.epochs_asked,
            reports=config.reports,
            held_out_loss=measured.get(f"{split}_loss"),
            gain_noise=measured.get("loss_noise"),
            loss_error=measured.get("loss_error"),
            train_score=measured.get("train_accuracy"),
            train_loss=train_loss,
            step_loss_max=measured.get("step_loss_max"),
            diverged=diverged,
            untrained_loss=_last(columns["untrained_loss"]),
            above_since=_last_step(columns["above_since"]),
            window_loss_max=measured.get("window_loss_max"),
            guessing_since=_last_step(columns["guessing_since"]),
            answers=answers,
            data=data,
            **settings,
        )

    @cached_property
    def score(self) -> np.ndarray:
        """The training score if every epoch has one, and its labels are right; else
        the held-out score. A gap repeats the value before it."""
        train = self.train_score
        if train is None or self.label_noise:
            train = self.held_out
        if not np.isnan(train).any():
            return train
        if not np.isnan(self.held_out).any():
            return self.held_out
        scores = pd.Series(train).fillna(pd.Series(self.held_out))
        return np.asarray(scores.ffill().bfill())

    @cached_property
    def images(self) -> float:
        """The number of images, or independent answers, that `score` is measured
        on."""
        if self.score is self.train_score:
            return self.evaluated
        return self.held_out_count

    @property
    def held_out_count(self) -> float:
        """The number of images, or independent answers, that `held_out` is measured
        on."""
        images = self.holdout or self.data.test_images
        return images * self.answers

    @property
    def trained(self) -> float:
        """The number of images in an epoch."""
        in_batches = self.steps * self.batch_size
        return max(min(self._for_training / self.reports, in_batches), 1)

    @property
    def steps(self) -> float:
        """The number of steps in an epoch; of reports, which may differ by a few, it is
        the mean."""
        size = self.batch_size
        steps = steps_of_epoch(self._for_training, size, self.drop_last)
        return steps / self.reports

    @property
    def _for_training(self) -> int:
        """The number of training images that are not held out."""
        return max(self.data.train_images - self.holdout, 1)

    @property
    def evaluated(self) -> float:
        """The number of training images, or independent answers, that `train_loss` is
        measured on: the first ones."""
        images = self._for_training
        if self.data.evaluated:
            images = min(images, self.data.evaluated)
        return images * self.answers

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

    @property
    def has_diverged(self) -> bool:
        """Whether its last epoch is flagged as diverged."""
        return self.diverged is not None and bool(self.diverged[-1])

    @cached_property
    def untrained(self) -> float:
        """The loss of the untrained network. If unknown, that of a constant guess,
        which is close."""
        if self.untrained_loss is None:
            return self.guess
        return self.untrained_loss

    @property
    def guess(self) -> float:
        """The loss of a constant guess."""
        return self.data.guess(self)

    @cached_property
    def ceiling(self) -> float:
        """The score up to which a network counts as guessing."""
        images = math.inf
        if self.data.by_accuracy:
            images = self.images
        return float(chance_ceiling(self.data.chance, images))

    def noise(self, *scores: Any, images: float = 0) -> Any:
        """Return the standard error of a score, or of the difference of two, on so
        many images; by default on those of `score`."""
        if self.share_noise is not None:
            return self.share_noise * math.sqrt(len(scores))
        count = images or self.images
        errors = [accuracy_noise(score, count) for score in scores]
        if len(errors) == 1:
            return errors[0]
        return np.hypot(*errors)

    @property
    def calm_limit(self) -> float:
        """The largest training loss of a calm network that has learned nothing."""
        if not self.data.by_accuracy:
            return self.untrained + SIGMAS * self.loss_noise
        return float(calm_limit(self.untrained, self.evaluated))

    @property
    def calm_floor(self) -> float:
        """The least training loss of a network that guesses."""
        if self.data.by_accuracy:
            guess = self.guess
            if math.isinf(guess):
                guess = least_guess_loss(self.data.chance)
            return float(calm_floor(guess, self.evaluated))
        if self.share_noise == math.inf:
            return math.inf
        return self.guess - SIGMAS * self.loss_noise

    @cached_property
    def settled(self) -> float:
        """The score at which the curve has settled (`settled_of`)."""
        return self.settled_of(self.score)

    @cached_property
    def held_out_settled(self) -> float:
        """The same of the held-out scores."""
        return self.settled_of(self.held_out)

    def settled_of(self, values: np.ndarray) -> float:
        """Return the median of the last three epochs, which does not depend on the luck
        of the last one. Where the learning rate has come down to 0, return the last
        one: there it has no luck, and the others were on their way.
        """
        if not self.epochs:
            return 0.0
        if self.ended:
            return float(values[-1])
        return median(values[-3:])

    @cached_property
    def falls(self) -> np.ndarray:
        """How much the score fell from each epoch to the next; negative if it rose. A
        fall that was only evaluated (`lags`) is none."""
        falls = -np.diff(self.score)
        return np.where(self.lags[1:], 0.0, falls)

    @property
    def lags(self) -> np.ndarray:
        """Which epochs were evaluated as worse than the network was, as where the
        running statistics of batch norm lag behind its weights. The next epoch begins
        with the same weights, but no batch of it has a loss near the evaluated one. Of
        the last epoch, nobody knows. A curve with a spike has none.
        """
        evaluated = np.full(self.epochs, False)
        loss, largest = self.train_loss, self.step_loss_max
        is_comparable = self.data.by_accuracy and not self.data.own_steps
        if loss is None or largest is None or not is_comparable:
            return evaluated
        if self.spikes()[1:].any():
            return evaluated
        with np.errstate(invalid="ignore"):
            floor = calm_floor(loss[:-1], self.batch_size)
            evaluated[:-1] = largest[1:] < floor
        return evaluated

    @cached_property
    def falls_noise(self) -> np.ndarray:
        """The limit that each of `falls` must exceed to be more than noise."""
        noise = self.noise(self.score[1:], self.score[:-1])
        return np.asarray(sigmas(self.epochs - 1) * noise)

    def spikes(self, factor: float = 1) -> np.ndarray:
        """Return which epochs have a spike: a window whose loss is above `factor` times
        the untrained loss, and above what a calm network with that epoch's loss reaches
        by chance."""
        images = self.batch_size
        if self.window_loss_max is not None:
            images = window_images(self.batch_size)
        windows = max(self.trained / images, 1)
        with np.errstate(invalid="ignore"):
            expected = np.minimum(self._expected_loss(), 1e9)
            limit = calm_limit(expected, images, windows)
            limit = np.maximum(limit, factor * self.untrained)
            return np.asarray(self.peak > limit)

    @cached_property
    def peak(self) -> np.ndarray:
        """The loss of each epoch that `spikes` compares with its limits; NaN if it is
        not known."""
        if self.window_loss_max is not None:
            return self.window_loss_max
        if self.step_loss_max is not None:
            return self.step_loss_max
        return np.full(self.epochs, np.nan)

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
        loss = self.train_loss
        if loss is None:
            loss = 1 - self.score
            if self.loss == "cross-entropy":
                loss = 4 * loss
        before = np.concatenate([[self.untrained], loss[:-1]])
        return np.asarray(np.fmax(loss, before))


def median(values: np.ndarray) -> float:
    """Return the median, NaN if a value is NaN, in a tenth of the time that NumPy takes
    for a few."""
    ordered: list[float] = np.sort(values).tolist()
    # NumPy sorts NaN to the end
    if math.isnan(ordered[-1]):
        return math.nan
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


def _is_measured(values: np.ndarray) -> bool:
    """Return whether a column has a number in some epoch."""
    if not len(values):
        return False
    # most have one in the last epoch, so that the others need no look
    if not math.isnan(values[-1]):
        return True
    return not np.isnan(values).all()


def _last(values: np.ndarray) -> float | None:
    """Return a column's last value; None if it is not finite."""
    if not len(values) or not math.isfinite(values[-1]):
        return None
    return float(values[-1])


def _last_step(values: np.ndarray) -> int | None:
    """Return a column's last value as a step; None if there is none."""
    step = _last(values)
    if step is None:
        return None
    return int(step)


def curves_of(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> Iterator[Curve]:
    """Yield the curve of each trial, in the order of `trials`."""
    histories = Histories.of(epochs, {*trials["trial_id"]})
    configs = trials[["trial_id", "epochs_asked", *SETTINGS]]
    # tables of others have no reports
    configs = configs.assign(
        epochs_asked=whole_course(trials), reports=trials.get("reports", 1)
    )
    for config in configs.itertuples(index=False):
        yield Curve.of(histories.columns(config.trial_id), config, data)
