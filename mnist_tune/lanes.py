"""Lanes: the trials that train together on a device.

A `LanePool` holds a data set and, for each compiled program, the stacked state of its lanes. With one lane,
in a trial's own process, it is the ordinary execution of a trial.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mnist_tune.checkpoint import Checkpoint, Progress
from mnist_tune.config import TrialConfig
from mnist_tune.data import Dataset, hold_out, permute_images
from mnist_tune.errors import UserError
from mnist_tune.stopping import has_diverged, left_for_good
from mnist_tune.training import Hyperparameters, Program, TrainState, batch_order

Row = dict[str, Any]


@dataclass
class Lane:
    """A trial's place in the stacked state of its group."""

    config: TrialConfig
    slot: int
    progress: Progress
    pending: dict[str, float] = field(default_factory=lambda: {"compile_s": 0.0, "eval_s": 0.0})
    """Seconds spent for this lane since its last row."""


@dataclass(frozen=True)
class DeviceData:
    """The splits of a data set on the device: (images uint8 [n, 784], labels uint8 [n]) by name."""

    splits: dict[str, tuple[Array, Array]]

    @classmethod
    def put(cls, dataset: Dataset, label_noise: int, holdout: int) -> DeviceData:
        dataset = permute_images(hold_out(dataset, holdout), label_noise)
        splits = {
            "train": (dataset.train_images, dataset.train_labels),
            "test": (dataset.test_images, dataset.test_labels),
            "validation": (dataset.validation_images, dataset.validation_labels),
        }
        return cls({name: jax.device_put(split) for name, split in splits.items() if len(split[1])})

    @property
    def train_count(self) -> int:
        return int(self.splits["train"][1].shape[0])


class LaneGroup:
    """The lanes of one program on one version of the data, as one stacked tree [capacity, ...]."""

    def __init__(self, program: Program, data: DeviceData, capacity: int) -> None:
        self.program, self.data = program, data
        template = program.init(0)
        self.state: TrainState = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), template)
        self.names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(template)]
        self.free = list(range(capacity))[::-1]
        self.untrained_losses: dict[int, float] = {}
        self._compiled: dict[str, Any] = {}

    def write(self, slot: int, state: TrainState) -> None:
        self.state = jax.tree.map(lambda stack, x: stack.at[slot].set(x), self.state, state)

    def read(self, slot: int) -> dict[str, np.ndarray]:
        leaves = [np.asarray(stack[slot]) for stack in jax.tree.leaves(self.state)]
        return dict(zip(self.names, leaves, strict=True))

    def restore(self, slot: int, arrays: dict[str, np.ndarray]) -> None:
        stacks, tree = jax.tree.flatten(self.state)
        wanted = {name: (stack.shape[1:], stack.dtype) for name, stack in zip(self.names, stacks, strict=True)}
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if wanted != found:
            raise UserError(f"a saved state does not fit {self.program.architecture}: it holds {found}")
        self.write(slot, jax.tree.unflatten(tree, [arrays[name] for name in self.names]))

    def train(self, lane: Lane, order: Array, hyper: Hyperparameters, slot: Array) -> tuple[np.ndarray, float]:
        """One epoch of one lane; its step losses and the seconds it took."""
        images, labels = self.data.splits["train"]
        arguments = (self.state, slot, hyper, images, labels, order)
        run = self._executable("train", self._train_lane, lane, arguments, donate=(0,))
        with jax.transfer_guard("disallow"), stopwatch() as clock:
            self.state, losses = jax.block_until_ready(run(*arguments))
        return np.asarray(losses), clock.seconds

    def evaluate(self, lane: Lane, split: str, slot: Array) -> tuple[float, float]:
        """Mean loss (nats) and accuracy of a lane on a split; the time goes to the lane's `eval_s`."""
        images, labels = self.data.splits[split]
        arguments = (self.state.params, slot, images, labels)
        run = self._executable(f"evaluate {split}", self._evaluate_lane, lane, arguments)
        with jax.transfer_guard("disallow"), stopwatch() as clock:
            loss, right = jax.block_until_ready(run(*arguments))
        lane.pending["eval_s"] += clock.seconds
        return float(loss), int(right) / len(labels)

    def _train_lane(
        self, stack: TrainState, slot: Array, hyper: Hyperparameters, *data: Array
    ) -> tuple[TrainState, Array]:
        state, losses = self.program.train_epoch(jax.tree.map(lambda s: s[slot], stack), hyper, *data)
        return jax.tree.map(lambda s, x: s.at[slot].set(x), stack, state), losses

    def _evaluate_lane(self, params: Any, slot: Array, images: Array, labels: Array) -> tuple[Array, Array]:
        return self.program.evaluate(jax.tree.map(lambda s: s[slot], params), images, labels)

    def _executable(self, name: str, function: Any, lane: Lane, arguments: Any, donate: tuple[int, ...] = ()) -> Any:
        """Compiled ahead of time, so that compiling is never timed as training."""
        if name not in self._compiled:
            with stopwatch() as clock:
                self._compiled[name] = jax.jit(function, donate_argnums=donate).lower(*arguments).compile()
            lane.pending["compile_s"] += clock.seconds
        return self._compiled[name]


class LanePool:
    """The lanes of one device.

    Args:
        dataset: what every lane trains on, before label noise and held-out split.
        capacity: the most lanes of one program.
    """

    def __init__(self, dataset: Dataset, capacity: int = 1) -> None:
        self._dataset, self._capacity = dataset, capacity
        self._data: dict[tuple[int, int], DeviceData] = {}
        self._groups: dict[tuple[Program, int, int], LaneGroup] = {}
        self._lanes: dict[str, Lane] = {}

    def attach(self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None) -> None:
        """Gives a trial a lane, in its initial state or as saved.

        Raises:
            UserError: no lane of its program is free, or the saved state does not fit.
        """
        group = self._group(config)
        if not group.free:
            raise UserError(f"all {self._capacity} lanes of {config.architecture} are taken; ask for more lanes")
        lane = Lane(config, group.free.pop(), Progress(0, math.nan, None, None))
        if checkpoint is None:
            group.write(lane.slot, group.program.init(config.seed))
            lane.progress = Progress(0, self._untrained_loss(group, lane), None, None)
        else:
            group.restore(lane.slot, checkpoint.arrays)
            lane.progress = checkpoint.progress
        self._lanes[lane_id] = lane

    def detach(self, lane_id: str) -> None:
        """Frees a trial's lane; nothing happens where it has none."""
        lane = self._lanes.pop(lane_id, None)
        if lane is not None:
            self._group(lane.config).free.append(lane.slot)

    def checkpoint(self, lane_id: str) -> Checkpoint:
        """The state of a lane, as host arrays."""
        lane = self._lanes[lane_id]
        return Checkpoint(self._group(lane.config).read(lane.slot), lane.progress)

    def run(self, lane_ids: Sequence[str]) -> dict[str, Row]:
        """Trains each of these lanes for one epoch, evaluates it, and returns its row of the epochs table."""
        return {lane_id: self._epoch(self._lanes[lane_id]) for lane_id in lane_ids}

    def _epoch(self, lane: Lane) -> Row:
        group, config, progress = self._group(lane.config), lane.config, lane.progress
        order = batch_order(config.data_seed, progress.epoch, group.data.train_count)
        hyper = Hyperparameters(np.float32(config.learning_rate), np.float32(config.momentum))
        order, hyper, slot = jax.device_put((order, hyper, np.int32(lane.slot)))
        losses, train_s = group.train(lane, order, hyper, slot)
        scores = {split: group.evaluate(lane, split, slot) for split in group.data.splits}
        row = epoch_row(progress, losses, scores)
        row |= {"train_s": train_s, **lane.pending, "lanes": 1}
        row |= {"node": platform.node(), "device": jax.devices()[0].device_kind}
        lane.pending = dict.fromkeys(lane.pending, 0.0)
        lane.progress = Progress(row["epoch"], progress.untrained_loss, row["above_since"], row)
        return row

    def _untrained_loss(self, group: LaneGroup, lane: Lane) -> float:
        losses = group.untrained_losses
        if lane.config.seed not in losses:
            losses[lane.config.seed], _ = group.evaluate(lane, "train", jax.device_put(np.int32(lane.slot)))
        return losses[lane.config.seed]

    def _group(self, config: TrialConfig) -> LaneGroup:
        version = config.label_noise, config.holdout
        key = (Program.of(config), *version)
        if version not in self._data:
            self._data[version] = DeviceData.put(self._dataset, *version)
        if key not in self._groups:
            self._groups[key] = LaneGroup(key[0], self._data[version], self._capacity)
        return self._groups[key]


def epoch_row(progress: Progress, losses: np.ndarray, scores: dict[str, tuple[float, float]]) -> Row:
    """A row of the epochs table from an epoch's step losses [steps] and its (loss, accuracy) by split."""
    done = progress.epoch * len(losses)
    row: Row = {
        "epoch": progress.epoch + 1,
        "step": done + len(losses),
        "step_loss_first": float(losses[0]),
        "step_loss_max": float(losses.max()),
        "step_loss_last": float(losses[-1]),
        "finite": bool(np.isfinite(losses).all() and math.isfinite(scores["train"][0])),
        "above_since": left_for_good(losses, progress.untrained_loss, done + 1, progress.above_since),
        "untrained_loss": progress.untrained_loss,
    }
    for split, (loss, accuracy) in scores.items():
        row[f"{split}_loss"], row[f"{split}_accuracy"] = loss, accuracy
    return row | {"diverged": has_diverged(row, len(losses))}


@dataclass
class _Clock:
    seconds: float = 0.0


@contextmanager
def stopwatch() -> Iterator[_Clock]:
    """Wall time of the block, in `seconds` once it has ended."""
    clock, start = _Clock(), time.perf_counter()
    try:
        yield clock
    finally:
        clock.seconds = time.perf_counter() - start
