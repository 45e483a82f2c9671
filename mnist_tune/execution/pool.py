"""The lanes of a device, and the epochs that they train together.

A `LanePool` holds a data set, compiled programs, and the stacked states of lanes. A trial's own process uses a pool
with one lane. A lane server (`lane_server`) uses one with many, for continuous batching.
"""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import jax
import numpy as np

from mnist_tune.data.dataset import Dataset
from mnist_tune.errors import UserError
from mnist_tune.execution.batching import BatchSizes
from mnist_tune.execution.checkpoint import Checkpoint, DeviceFullError, LanesFullError, Progress, StateLostError
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.epoch_row import Row, epoch_row
from mnist_tune.execution.executor import Executor, Stack, shapes_key
from mnist_tune.execution.sharpness import Measured, SharpnessSettings, measure, sharpness_columns
from mnist_tune.machine import give_memory_back
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.program import Program
from mnist_tune.trial import TrialConfig

UNTRAINED = Progress(0, math.nan, None, None)

IDLE_PROGRAMS = 2
"""Programs that are kept without lanes: those used last. Others are loaded again from the compilation cache."""

DRAWS = 0x9E3779B9
"""Makes the random keys of training steps, such as those of dropout, other ones than that of the initialisation."""


@dataclass(eq=False)
class LaneGroup:
    """The lanes of one program on the same data (label noise and held-out split). They can train in one batch."""

    executor: Executor
    data: DeviceData
    sizes: BatchSizes
    untrained_losses: dict[int, float] = field(default_factory=dict)
    """Training loss of the initial parameters, by seed."""


@dataclass
class Lane:
    """A trial on the device: its slot in the stacked state of its group, and its progress."""

    config: TrialConfig
    group: LaneGroup
    slot: int
    progress: Progress
    spent: Counter[str] = field(default_factory=Counter)
    """Its share of the seconds that its batches took since its last row."""


class LanePool:
    """The lanes of one device.

    Args:
        dataset: the data set without label noise and held-out split, which each trial's config adds.
        capacity: the most lanes, of all programs together.
        train_evaluation: how many training images an evaluation uses, at most; None uses all.
        sharpness: when sharpness is measured; None never does.
    """

    def __init__(
        self,
        dataset: Dataset,
        capacity: int = 1,
        train_evaluation: int | None = None,
        sharpness: SharpnessSettings | None = None,
    ) -> None:
        self._dataset, self._capacity, self._train_evaluation = dataset, capacity, train_evaluation
        self._sharpness = sharpness
        self._data: dict[tuple[int, int], DeviceData] = {}
        self._stacks: dict[Hashable, Stack] = {}
        self._groups: dict[tuple[Program, int, int], LaneGroup] = {}  # those used last are last
        self._lanes: dict[str, Lane] = {}

    def attach(self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None) -> None:
        """Give a trial a lane, in its initial state or in a saved one. If it has a lane already, replace it.

        Raises:
            LanesFullError: no lane is free, or (`DeviceFullError`) there is no memory for another one.
            UserError: the saved state does not fit, or the device is too small for a single lane.
        """
        self.detach(lane_id)
        if len(self._lanes) == self._capacity:
            raise LanesFullError(f"all {self._capacity} lanes are taken; ask for more lanes")
        try:
            self._attach(lane_id, config, checkpoint)
        except jax.errors.JaxRuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            self._drop_idle()
            if self._lanes:
                raise DeviceFullError("the device has no memory for another lane") from error
            raise UserError(f"{config.architecture} does not fit into the memory of the device") from error

    def _attach(self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None) -> None:
        group = self._group(config)
        free = group.executor.stack.free
        lane = Lane(config, group, free[-1], checkpoint.progress if checkpoint else UNTRAINED)
        if checkpoint is None:
            group.executor.write(lane.slot, group.executor.program.init(config.seed))
            lane.progress = replace(UNTRAINED, untrained_loss=_untrained_loss(lane))
        else:
            group.executor.restore(lane.slot, checkpoint.arrays)
        self._lanes[lane_id] = lane
        free.pop()

    def detach(self, lane_id: str) -> None:
        """Free a trial's lane, if it has one. A stack that becomes empty frees its memory."""
        lane = self._lanes.pop(lane_id, None)
        if lane is None:
            return
        stack = lane.group.executor.stack
        stack.free.append(lane.slot)
        if len(stack.free) == self._capacity:
            stack.state = None

    def group_of(self, lane_id: str) -> LaneGroup:
        """Return the group of a lane."""
        return self._lanes[lane_id].group

    def lost(self) -> list[str]:
        """Return the lanes whose state was lost."""
        return [lane_id for lane_id, lane in self._lanes.items() if lane.group.executor.stack.state is None]

    def progress(self, lane_id: str) -> Progress:
        """Return the progress of a lane."""
        return self._lanes[lane_id].progress

    def checkpoint(self, lane_id: str) -> Checkpoint:
        """Return the state of a lane, as host arrays."""
        lane = self._lanes[lane_id]
        return Checkpoint(lane.group.executor.read(lane.slot), lane.progress)

    def run(self, lane_ids: Sequence[str]) -> dict[str, Row]:
        """Train and evaluate some lanes of one group for one epoch, and return their rows of the `epochs` table.

        The lanes of a batch share its seconds equally.

        Raises:
            StateLostError: the device ran out of memory, and the states of these and other lanes (`lost`) are lost.
        """
        lanes = {lane_id: self._lanes[lane_id] for lane_id in lane_ids}
        group, fill = lanes[lane_ids[0]].group, len(lanes) / self._capacity
        trained, measured = self._train(group, lanes)
        # Evaluation has batches of its own: if it runs out of memory, the epoch must not be trained again.
        scores = {
            split: _in_batches(group, lanes, lambda size, batch: _evaluate(group, size, batch, split))  # noqa: B023
            for split in group.data.splits
        }
        return {
            lane_id: _finish_epoch(
                lane,
                {split: of[lane_id] for split, of in scores.items()},
                fill,
                *trained[lane_id],
                sharpness_columns(measured[lane_id], lane.progress.row) if self._sharpness else {},
            )
            for lane_id, lane in lanes.items()
        }

    def _train(
        self, group: LaneGroup, lanes: dict[str, Lane]
    ) -> tuple[dict[str, tuple[np.ndarray, int]], dict[str, list[Measured]]]:
        """Train an epoch, which pauses where sharpness is to be measured. Return the step losses of each lane and the
        lanes in its last batch, and its measurements."""
        steps = _steps(group)
        measured: dict[str, list[Measured]] = {lane_id: [] for lane_id in lanes}
        if not self._sharpness:
            return _in_batches(group, lanes, lambda size, batch: _train(group, size, batch, 0, steps)), measured
        self._measure(group, {i: lane for i, lane in lanes.items() if not lane.progress.epoch}, 0, measured)
        parts = []
        for first, last in pairwise([0, *self._sharpness.pauses(steps)]):
            parts.append(_in_batches(group, lanes, lambda size, batch: _train(group, size, batch, first, last)))  # noqa: B023
            due = {
                lane_id: lane
                for lane_id, lane in lanes.items()
                if self._sharpness.due(*(lane.progress.epoch * steps + step for step in (first, last)))
            }
            self._measure(group, due, last, measured)
        losses = {i: np.concatenate([part[i][0] for part in parts]) for i in lanes}
        return {i: (losses[i], parts[-1][i][1]) for i in lanes}, measured

    def _measure(
        self, group: LaneGroup, lanes: dict[str, Lane], step: int, measured: dict[str, list[Measured]]
    ) -> None:
        """Measure the sharpness of some lanes after a step of their epoch."""
        assert self._sharpness is not None
        images = self._sharpness.images_at(step)
        found = _in_batches(
            group, lanes, lambda size, batch: measure(group.executor, group.data, size, [i.slot for i in batch], images)
        )
        for lane_id, values in found.items():
            measured[lane_id].append((lanes[lane_id].progress.epoch * _steps(group) + step, *values))

    def _group(self, config: TrialConfig) -> LaneGroup:
        key = Program.of(config, self._dataset.spec), config.label_noise, config.holdout
        if key in self._groups:
            self._groups[key] = self._groups.pop(key)
            return self._groups[key]
        program, version = key[0], key[1:]
        self._drop_idle(version)
        if version not in self._data:
            self._data[version] = DeviceData.put(self._dataset, *version, self._train_evaluation)
        stack = self._stacks.setdefault(shapes_key(program.shapes()), Stack.of(self._capacity))
        data, executor = self._data[version], Executor(program, stack)
        if self._capacity > 1:  # compile while the other clients are still starting
            executor.prepare(self._capacity, data.train_count, data.arrays)
        self._groups[key] = LaneGroup(executor, data, BatchSizes(self._capacity))
        return self._groups[key]

    def _drop_idle(self, version: tuple[int, int] | None = None) -> None:
        """Drop groups without lanes, and what only they used. The last ones on a version of the data may stay."""
        busy = {id(lane.group) for lane in self._lanes.values()}
        idle = [key for key, group in self._groups.items() if id(group) not in busy]
        dropped = set(idle).difference([key for key in idle if key[1:] == version][-IDLE_PROGRAMS:])
        if not dropped:
            return
        self._groups = {key: group for key, group in self._groups.items() if key not in dropped}
        self._data = {version: self._data[version] for version in {key[1:] for key in self._groups}}
        stacks = {id(group.executor.stack) for group in self._groups.values()}
        self._stacks = {key: stack for key, stack in self._stacks.items() if id(stack) in stacks}
        jax.clear_caches()  # JAX itself keeps what was compiled
        give_memory_back()


def _untrained_loss(lane: Lane) -> float:
    losses, seed = lane.group.untrained_losses, lane.config.seed
    if seed not in losses:
        [(losses[seed], _)] = _evaluate(lane.group, 1, [lane], "train")
        _share_seconds(lane.group, [lane])
    return losses[seed]


def _in_batches(
    group: LaneGroup, lanes: dict[str, Lane], call: Callable[[int, list[Lane]], Iterable[Any]]
) -> dict[str, Any]:
    """Return what `call` returns for each lane. The lanes run in batches, which shrink if memory runs out."""
    done: dict[str, Any] = {}
    while left := [lane_id for lane_id in lanes if lane_id not in done]:
        members = left[: group.sizes.largest]
        size, batch = group.sizes.choose(len(members), group.executor.sizes), [lanes[lane_id] for lane_id in members]
        try:
            done |= zip(members, call(size, batch), strict=True)
        except StateLostError:
            group.sizes.largest = max(group.sizes.largest // 2, 1)
            raise
        except jax.errors.JaxRuntimeError as error:
            if not _is_out_of_memory(error) or size == 1:
                raise
            group.sizes.largest = size // 2
        _share_seconds(group, batch, size)
    return done


def _is_out_of_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error)


def _share_seconds(group: LaneGroup, batch: Sequence[Lane], size: int = 1) -> None:
    spent = group.executor.take_seconds()
    group.sizes.ran(len(batch), size, spent["compile_s"], spent["train_s"] + spent["eval_s"])
    for lane in batch:
        share = {name: value / len(batch) for name, value in spent.items()}
        lane.spent.update(share | {"batch_s": sum(spent.values())})


def _steps(group: LaneGroup) -> int:
    """Return the number of steps of an epoch."""
    return -(-group.data.train_count // group.executor.program.batch_size)


def _train(
    group: LaneGroup, size: int, batch: Sequence[Lane], first: int, last: int
) -> Iterable[tuple[np.ndarray, int]]:
    """Train a batch for the steps of an epoch after `first` up to `last`. Return the step losses of each lane, and the
    number of lanes in the batch."""
    data, step = group.data, group.executor.program.step
    values = [step.hyperparameters(lane.config, _steps(group)) for lane in batch]
    hyper = {name: np.array([of[name] for of in values], np.float32) for name in step.names}
    keys = np.array([(lane.config.seed ^ DRAWS, lane.progress.epoch) for lane in batch], np.uint32)
    orders = [batch_order(lane.config.data_seed, lane.progress.epoch, data.train_count) for lane in batch]
    images = slice(first * group.executor.program.batch_size, last * group.executor.program.batch_size)
    orders = [order[images] for order in orders]
    part = None if last - first == _steps(group) else first
    losses = group.executor.train(size, [lane.slot for lane in batch], hyper, keys, orders, data.arrays, part)
    return [(row, len(batch)) for row in losses]


def _evaluate(group: LaneGroup, size: int, batch: Sequence[Lane], split: str) -> Iterable[tuple[float, float]]:
    slots = [lane.slot for lane in batch]
    return group.executor.evaluate(size, slots, group.data.arrays, group.data.splits[split])


def _finish_epoch(
    lane: Lane,
    scores: dict[str, tuple[float, float]],
    fill: float,
    losses: np.ndarray,
    lanes: int,
    sharpness: dict[str, Any],
) -> Row:
    row = epoch_row(lane.progress, losses, scores, lane.config, lane.group.data) | sharpness | dict(lane.spent)
    row |= {"learning_rate": lane.config.learning_rate, "lanes": lanes, "fill": fill}
    row |= {"node": platform.node(), "device": jax.devices()[0].device_kind}
    lane.spent.clear()
    lane.progress = Progress(row["epoch"], lane.progress.untrained_loss, row["above_since"], row)
    return row
