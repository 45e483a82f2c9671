"""The end of an epoch: its row, all columns of which are put together here, and what the
trial remembers for the next one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mnist_tune.epoch_row import EpochRow, Measured
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.memory import Memory
from mnist_tune.execution.node_name import node_name
from mnist_tune.execution.sharpness import sharpness_columns
from mnist_tune.regimes.divergence import blown_up, chance_of, guess_loss, has_diverged
from mnist_tune.regimes.learned_share import paired_noise
from mnist_tune.regimes.noise import WINDOW_IMAGES, calm_floor, window_images
from mnist_tune.training.program import ERROR, PARTED
from mnist_tune.trial import TrialConfig


def epoch_row(
    before: Memory,
    losses: np.ndarray,
    scores: Mapping[str, Mapping[str, Any]],
    config: TrialConfig,
    data: DeviceData,
    measured: Sequence[Measured] | None = None,
    first: int = 0,
    **batch: Any,
) -> tuple[EpochRow, Memory]:
    """Return the row of an epoch that has just ended, or of a part of one after which
    trials report, and what is remembered of it.

    Args:
        before: what was remembered of the rows before it.
        losses: the loss of each step.
        scores: the scores of each split by name.
        measured: the measurements of sharpness, if that is asked for.
        first: the steps of the epoch before this part.
        batch: what is known of the batch of lanes that the epoch was trained in:
            seconds, `lanes` and `fill`.
    """
    train_loss = scores["train"]["loss"]
    columns: dict[str, Any] = {
        "epoch": before.epoch + 1,
        "step": before.step + len(losses),
        "untrained_loss": before.untrained_loss,
        "learning_rate": config.learning_rate,
        "node": node_name(),
        "device": jax.devices()[0].device_kind,
        "ended_at": time.time(),
        **batch,
    }
    begun = begun_window(losses, config, data, first)
    columns |= step_columns(losses, len(begun), before, config, data, first)
    columns["finite"] = bool(np.isfinite(losses).all() and math.isfinite(train_loss))
    if measured is not None:
        columns |= sharpness_columns(measured, before)
    for split, values in scores.items():
        columns[f"{split}_loss"] = values["loss"]
        columns[f"{split}_accuracy"] = values.get("accuracy", math.nan)
    # trials are compared by the last split
    held_out = [*scores.values()][-1]
    columns |= compared_by(held_out, before)
    least_loss = float(np.fmin(before.least_loss, train_loss))
    # with labels, a loss is compared with a guess's, else with the untrained one
    counts = data.label_counts
    if counts:
        _, images = data.splits["train"]
        diverged = has_diverged(columns, chance_of(counts), images)
    else:
        diverged = not columns["finite"] or blown_up(
            train_loss, before.untrained_loss, least_loss, before.untrained_deviation
        )
    row = EpochRow(diverged=diverged, **columns)
    stored = before.stored() | {"least_loss": least_loss, "begun_window": begun}
    return row, Memory.after(row, stored)


def step_columns(
    losses: np.ndarray,
    rest: int,
    before: Memory,
    config: TrialConfig,
    data: DeviceData,
    first: int = 0,
) -> dict[str, Any]:
    """Return the columns that the losses of an epoch's steps have. The last `rest` of
    them belong to a window that goes on after this report. The other arguments are as
    in `epoch_row`."""
    size = config.batch_size
    begun = len(before.begun_window)
    windowed = np.concatenate([before.begun_window, losses])
    windowed = windowed[: len(windowed) - rest]
    images = data.train_count - (first - begun) * size
    means, starts = window_means(windowed, size, images)
    first_step = before.step - begun + 1
    above_since = left_for_good(
        means, before.untrained_loss, first_step, before.above_since, starts
    )
    # what is above this floor is no better than a guess, up to noise
    guess = math.inf
    if data.label_counts:
        guess = guess_loss(data.label_counts, config.loss)
    window = max(size, WINDOW_IMAGES)
    # of all windows of the epoch, so that its reports change nothing
    windows = window_starts(config.steps(data.train_count), size, data.train_count)
    floor = calm_floor(guess, window, len(windows))
    guessing_since = left_for_good(
        means, floor, first_step, before.guessing_since, starts
    )
    return {
        "step_loss_first": float(losses[0]),
        "step_loss_max": float(losses.max()),
        "step_loss_last": float(losses[-1]),
        "window_loss_max": float(means.max()),
        "above_since": above_since,
        "guessing_since": guessing_since,
    }


def begun_window(
    losses: np.ndarray, config: TrialConfig, data: DeviceData, first: int
) -> list[float]:
    """Return the losses of the window that has begun before a report within an epoch,
    and goes on after it. The arguments are as in `epoch_row`."""
    steps = first + len(losses)
    if steps == config.steps(data.train_count):
        return []
    span = window_images(config.batch_size) // config.batch_size
    rest: list[float] = losses[len(losses) - steps % span :].tolist()
    return rest


def compared_by(held_out: Mapping[str, Any], before: Memory) -> dict[str, Any]:
    """Return the columns that only the scores of held-out examples have: what trials
    are compared by, beside loss and accuracy."""
    columns = {}
    if "answers" in held_out:
        columns["answers"] = held_out["answers"]
    if PARTED in held_out:
        parts = before.untrained_parts
        columns["loss_noise"] = paired_noise(held_out[PARTED], parts)
        columns["loss_error"] = held_out[ERROR]
    own = {name: held_out[name] for name in held_out if name not in KNOWN}
    if own:
        columns["scores"] = own
    return columns


KNOWN = ("loss", "accuracy", "answers", PARTED, ERROR)
"""Scores that have columns of their own, or no column."""


def window_means(
    losses: np.ndarray, batch_size: int, images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average the losses of an epoch's steps, [steps], over windows of `WINDOW_IMAGES`
    images or more. Return the means, and the index of each window's first step.

    There are `images` images. The last step may have fewer than `batch_size`, or have
    left out the rest; an incomplete window is added to the one before it.
    """
    steps = len(losses)
    images = min(images, batch_size * steps)
    sizes = np.full(steps, float(batch_size))
    sizes[-1] = images - batch_size * (steps - 1)
    starts = window_starts(steps, batch_size, images)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(losses.astype(np.float64) * sizes, starts)
    return sums / np.add.reduceat(sizes, starts), starts


def window_starts(steps: int, batch_size: int, images: int) -> np.ndarray:
    """Return the index of each window's first step. The arguments are as in
    `window_means`."""
    images = min(images, batch_size * steps)
    window = window_images(batch_size)
    span = window // batch_size
    end = steps
    if images % window:
        # no window begins at what is left over
        end = max(steps - span, 1)
    return np.arange(0, end, span)


def left_for_good(
    means: np.ndarray, limit: float, first_step: int, since: int | None, starts: Any
) -> int | None:
    """Return the number, from 1, of the step since which all losses are above a limit;
    None if the last one is not. The losses are `means` over an epoch's windows, which
    begin at these `starts`; NaN counts as above. The epoch begins with the step
    `first_step`, and `since` is what this function returned for the epoch before."""
    below = np.flatnonzero(means <= limit)
    if not len(below):
        return first_step if since is None else since
    after = int(below[-1]) + 1
    if after == len(means):
        return None
    return first_step + int(starts[after])
