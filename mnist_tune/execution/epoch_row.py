"""A trial's row in the `epochs` table, all columns of which are put together here."""

from __future__ import annotations

import json
import math
import platform
import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import numpy as np

from mnist_tune.execution.checkpoint import Row
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.sharpness import Measured, sharpness_columns
from mnist_tune.regimes.divergence import blown_up, chance_of, guess_loss, has_diverged
from mnist_tune.regimes.learned_share import paired_noise
from mnist_tune.regimes.noise import WINDOW_IMAGES, calm_floor, window_images
from mnist_tune.training.program import ERROR, PARTED
from mnist_tune.trial import TrialConfig


@cache
def node_name() -> str:
    """Return the name of this machine; where several nodes of Ray's are on it, with how
    this one's id begins."""
    name, ray = platform.node(), sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return name
    here = [
        one
        for one in ray.nodes()
        if one["NodeManagerHostname"] == name and one["Alive"]
    ]
    return (
        f"{name} ({ray.get_runtime_context().get_node_id()[:6]})"
        if len(here) > 1
        else name
    )


def epoch_row(
    before: Row,
    losses: np.ndarray,
    scores: dict[str, dict[str, Any]],
    config: TrialConfig,
    data: DeviceData,
    measured: Sequence[Measured] | None = None,
    **batch: float,
) -> Row:
    """Return the row of an epoch that has just ended.

    Args:
        before: the row before it.
        losses: the loss of each step.
        scores: the scores of each split by name.
        measured: the measurements of sharpness, if that is asked for.
        batch: what is known of the batch of lanes that the epoch was trained in:
            seconds, `lanes` and `fill`.
    """
    done, batch_size = before.get("step", 0), config.batch_size
    means, starts = window_means(losses, batch_size, data.train_count)
    untrained: float = before["untrained_loss"]
    train_loss, counts = scores["train"]["loss"], data.label_counts
    guess = guess_loss(counts, config.loss) if counts else math.inf
    guessing = calm_floor(guess, max(batch_size, WINDOW_IMAGES), len(means))
    row: Row = {
        "epoch": before["epoch"] + 1,
        "step": done + len(losses),
        "step_loss_first": float(losses[0]),
        "step_loss_max": float(losses.max()),
        "step_loss_last": float(losses[-1]),
        "window_loss_max": float(means.max()),
        "finite": bool(np.isfinite(losses).all() and math.isfinite(train_loss)),
        "above_since": left_for_good(
            means, untrained, done + 1, before.get("above_since"), starts
        ),
        "guessing_since": left_for_good(
            means, guessing, done + 1, before.get("guessing_since"), starts
        ),
        "untrained_loss": untrained,
        "learning_rate": config.learning_rate,
        "node": node_name(),
        "device": jax.devices()[0].device_kind,
        "ended_at": time.time(),
        **batch,
    }
    if measured is not None:
        row |= sharpness_columns(measured, before)
    for split, of in scores.items():
        row |= {
            f"{split}_loss": of["loss"],
            f"{split}_accuracy": of.get("accuracy", math.nan),
        }
        # of the last split, which trials are compared on
        row |= {"answers": of["answers"]} if "answers" in of else {}
        if more := {name: value for name, value in of.items() if name not in KNOWN}:
            row["scores"] = json.dumps(more)  # likewise
    if counts:
        return row | {
            "diverged": has_diverged(row, chance_of(counts), data.splits["train"][1])
        }
    deviation, parts = (
        before.get("untrained_deviation", 0.0),
        before.get("untrained_parts", []),
    )
    least = float(np.fmin(before.get("least_loss", untrained), train_loss))
    # for the next epoch
    row |= {
        "least_loss": least,
        "untrained_deviation": deviation,
        "untrained_parts": parts,
    }
    if PARTED in of:
        row |= {"loss_noise": paired_noise(of[PARTED], parts), "loss_error": of[ERROR]}
    return row | {
        "diverged": not row["finite"]
        or blown_up(train_loss, untrained, least, deviation)
    }


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
    images = min(images, batch_size * len(losses))
    sizes = np.full(len(losses), float(batch_size))
    sizes[-1] = images - batch_size * (len(losses) - 1)
    span = window_images(batch_size) // batch_size
    starts = np.arange(
        0, max(len(losses) - span * (images % (span * batch_size) > 0), 1), span
    )
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(losses.astype(np.float64) * sizes, starts)
    return sums / np.add.reduceat(sizes, starts), starts


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
    return None if after == len(means) else first_step + int(starts[after])
