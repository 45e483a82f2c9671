"""A trial's curve, with the counts from which its noise follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.columns import EPOCHS
from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.divergence import chance_ceiling
from mnist_tune.regimes.noise import calm_limit, difference_noise, sigmas, window_images

COLUMNS = [column.name for column in EPOCHS if column.curve]
"""The columns of `epochs` that curves are made of."""

TREND_EPOCHS = 3
"""Fewer epochs show neither a trend nor a repeated spike."""

ENOUGH_EPOCHS = 5
"""Of which a trend may be called a plateau or a crawl: MNIST's networks reach the target within five at a third of
their best learning rate. With fewer, only a pace that is hopeless tells."""


@dataclass(frozen=True)
class Curve:
    """A trial's epochs, arrays of equal length; what was not measured is None.

    Losses in nats, accuracies as fractions; `held_out` is the accuracy on held-out images, validation where
    there is a split, else test.
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
    """Step since which the loss stayed at or above that of a constant guess."""
    batch_size: int = 128
    held_out_images: int | None = None
    """Of which `held_out` is the share; by default the data set's test images."""
    trained_images: int | None = None
    """Of an epoch; by default the data set's training images."""
    wrong_labels: float = 0.0
    """Share of the training labels that are wrong: so often errs a network that learned, and did not memorise."""
    data: DataFacts = MNIST

    @classmethod
    def of(cls, epochs: pd.DataFrame, epochs_asked: int, **counts: Any) -> Curve:
        """From a trial's rows of the epochs table, in order."""
        return cls.cut(columns_of(epochs), slice(None), epochs_asked, **counts)

    @classmethod
    def cut(
        cls, columns: Mapping[str, np.ndarray], rows: slice | np.ndarray, epochs_asked: int, **counts: Any
    ) -> Curve:
        """From some rows of the `columns_of` many trials: pandas would take a millisecond a trial."""

        def measured(name: str) -> np.ndarray | None:
            found = columns[name][rows]
            return None if np.isnan(found).all() else found

        def last(name: str) -> float | None:
            found = columns[name][rows]
            return float(found[-1]) if len(found) and np.isfinite(found[-1]) else None

        validation, test = measured("validation_accuracy"), measured("test_accuracy")
        held_out = validation if validation is not None else test
        flags, loss = columns["diverged"][rows], measured("train_loss")
        if loss is None and np.isin(flags, 1).any():  # NaN because it diverged, not because nobody measured it
            loss = columns["train_loss"][rows]
        since, guessing = last("above_since"), last("guessing_since")
        return cls(
            held_out=columns["test_accuracy"][rows] if held_out is None else held_out,
            epochs_asked=epochs_asked,
            train_accuracy=measured("train_accuracy"),
            train_loss=loss,
            step_loss_max=measured("step_loss_max"),
            diverged=None if np.isnan(flags).all() else flags == 1,
            untrained_loss=last("untrained_loss"),
            above_since=None if since is None else int(since),
            window_loss_max=measured("window_loss_max"),
            guessing_since=None if guessing is None else int(guessing),
            **counts,
        )

    @cached_property
    def accuracy(self) -> np.ndarray:
        """On the training set where it is known of every epoch, else held out; a gap repeats the epoch before."""
        train = self.train_accuracy
        if train is not None and not np.isnan(train).any():
            return train
        found = self.held_out
        return found if train is None or not np.isnan(found).any() else _filled(np.where(np.isnan(train), found, train))

    @cached_property
    def avoidable_error(self) -> np.ndarray:
        """The error less that of wrong labels, while none is memorised; never 0."""
        error = 1 - self.accuracy
        kept = self.accuracy is self.train_accuracy and error.min() > self.wrong_labels
        floor = self.wrong_labels if kept else 0.0
        return np.maximum(error - floor, 1e-9)

    @cached_property
    def images(self) -> int:
        """Of which `accuracy` is the share."""
        train = self.train_accuracy
        return self.held_out_count if train is None or np.isnan(train).any() else self.evaluated

    @property
    def held_out_count(self) -> int:
        return self.held_out_images or self.data.test_images

    @property
    def trained(self) -> int:
        """Images of an epoch."""
        return self.trained_images or self.data.train_images

    @property
    def evaluated(self) -> int:
        """Training images of which `train_loss` is the mean: the first."""
        return self.data.evaluated_of(self.trained)

    @property
    def epochs(self) -> int:
        return len(self.held_out)

    @property
    def complete(self) -> bool:
        return self.epochs >= self.epochs_asked

    @property
    def windows(self) -> float:
        """An epoch: steps, or windows of them where a step has few images."""
        return self.trained / window_images(self.batch_size)

    @cached_property
    def untrained(self) -> float:
        """The untrained network's loss; where it is not known, that of a constant guess, which is close."""
        return self.data.label_entropy if self.untrained_loss is None else self.untrained_loss

    @cached_property
    def ceiling(self) -> float:
        """The accuracy up to which a network guesses."""
        return chance_ceiling(self.data.chance)

    @cached_property
    def settled(self) -> float:
        """Where the accuracy is, not by the luck of its last epoch."""
        return float(np.median(self.accuracy[-3:])) if self.epochs else 0.0

    def learned(self, accuracy: Any) -> Any:
        """The share of what there is above a constant answer, `(a - chance) / (1 - chance)`."""
        return (accuracy - self.data.chance) / (1 - self.data.chance)

    @cached_property
    def falls(self) -> np.ndarray:
        """By how much the accuracy fell from each epoch to the next; negative where it rose."""
        return -np.diff(self.accuracy)

    @cached_property
    def falls_noise(self) -> np.ndarray:
        """What each of `falls` must exceed to be more than noise."""
        noise = difference_noise(self.accuracy[1:], self.accuracy[:-1], self.images)
        return np.asarray(sigmas(self.epochs - 1) * noise)

    def spikes(self, factor: float = 1) -> np.ndarray:
        """Epochs in which the loss, averaged over some 128 images or a larger batch, went above `factor` times that of
        the untrained network and above what a calm network of that epoch's loss reaches by chance."""
        peaks, images = self.window_loss_max, window_images(self.batch_size)
        if peaks is None:
            peaks, images = self.step_loss_max, self.batch_size
        if peaks is None:
            return np.zeros(self.epochs, bool)
        draws = max(self.trained / images, 1)
        with np.errstate(invalid="ignore"):
            limit = calm_limit(np.minimum(self._expected_loss(), 1e9), images, draws)
            return np.asarray(peaks > np.maximum(limit, factor * self.untrained))

    def peak(self) -> np.ndarray:
        """What `spikes` judges."""
        peaks = self.step_loss_max if self.window_loss_max is None else self.window_loss_max
        return np.full(self.epochs, np.nan) if peaks is None else peaks

    def _expected_loss(self) -> np.ndarray:
        """A bound of the mean loss during each epoch: the larger of before and after. Where none is known, four times
        the error: measured ratios are 3.4 to 3.8 between errors of 0.14 and 0.01."""
        loss = 4 * (1 - self.accuracy) if self.train_loss is None else self.train_loss
        before = np.concatenate([[self.untrained], loss[:-1]])
        return np.asarray(np.fmax(loss, before))


def _filled(values: np.ndarray) -> np.ndarray:
    """Gaps take the value before; leading ones, the first there is; 0 where there is none."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return np.zeros_like(values)
    return np.asarray(values[known[np.maximum(np.searchsorted(known, np.arange(len(values)), side="right") - 1, 0)]])


def columns_of(epochs: pd.DataFrame) -> dict[str, np.ndarray]:
    """What curves are made of, as floats; a column that is not there was not measured."""
    table = epochs.reindex(columns=COLUMNS)
    return {name: table[name].to_numpy(dtype=float, na_value=np.nan) for name in table}


def curves_of(trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts = MNIST) -> Iterator[Curve]:
    """Of each trial, in order."""
    columns, rows = columns_of(epochs), epochs.groupby("trial_id").indices
    count = len(trials)
    sizes = trials["batch_size"] if "batch_size" in trials else [128] * count
    holdouts = trials["holdout"] if "holdout" in trials else [0] * count
    noises = trials["label_noise"] if "label_noise" in trials else [0] * count
    keys = zip(trials["trial_id"], trials["epochs_asked"], sizes, holdouts, noises, strict=True)
    for trial_id, asked, size, holdout, noise in keys:
        yield Curve.cut(columns, rows.get(trial_id, slice(0)), asked, **counts(int(size), int(holdout), noise, data))


def counts(batch_size: int, holdout: int, label_noise: float, data: DataFacts) -> dict[str, Any]:
    """What `Curve` needs to know of a trial beside its epochs. Labels are wrong among the first images, of which those
    that are evaluated are the first, too; held out are the last."""
    trained = max(data.train_images - holdout, 1)
    noisy = min(label_noise / data.evaluated_of(trained), 1)
    return {
        "batch_size": batch_size,
        "held_out_images": holdout or None,
        "trained_images": trained,
        "wrong_labels": noisy * (1 - 1 / data.classes),
        "data": data,
    }
