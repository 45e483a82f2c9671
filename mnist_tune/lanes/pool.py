"""Lanes: the trials that train together on a device.

A `LanePool` holds a data set and, for each compiled program, the stacked state of its lanes. With one lane,
in a trial's own process, it is the ordinary execution of a trial; in an actor (`server`) it is continuous
batching.
"""

from __future__ import annotations

import math
import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from mnist_tune.data.dataset import Dataset
from mnist_tune.errors import UserError
from mnist_tune.lanes.batches import Batch, StateLostError, cut_batches
from mnist_tune.lanes.device_data import DeviceData
from mnist_tune.lanes.executor import Executor
from mnist_tune.lanes.rows import Row, epoch_row
from mnist_tune.lanes.state_file import Checkpoint, Progress
from mnist_tune.storage import Place
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.program import Hyperparameters, Program
from mnist_tune.trial import TrialConfig


@dataclass
class Lane:
    """A trial's place in the stacked state of its group."""

    config: TrialConfig
    slot: int
    progress: Progress
    spent: Counter[str] = field(default_factory=Counter)
    """Its equal shares of its batches' seconds since its last row."""


@dataclass
class LaneGroup:
    """The lanes of one program on one version of the data."""

    executor: Executor
    data: DeviceData
    free: list[int]
    largest_batch: int
    """Shrinks when the device runs out of memory."""
    untrained_losses: dict[int, float] = field(default_factory=dict)
    """By seed."""


class LanePool:
    """The lanes of one device.

    Args:
        dataset: what every lane trains on, before label noise and held-out split.
        capacity: the most lanes of one program.
        train_evaluation: the most training images that an evaluation looks at; None is all.
    """

    def __init__(self, dataset: Dataset, capacity: int = 1, train_evaluation: int | None = None) -> None:
        self._dataset, self._capacity, self._train_evaluation = dataset, capacity, train_evaluation
        self._data: dict[tuple[int, int], DeviceData] = {}
        self._groups: dict[tuple[Program, int, int], LaneGroup] = {}
        self._lanes: dict[str, Lane] = {}

    def attach(self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None) -> None:
        """Gives a trial a lane, in its initial state or as saved; a lane that it has already is given anew.

        Raises:
            UserError: no lane of its program is free, or the saved state does not fit.
        """
        self.detach(lane_id)
        group = self._group(config)
        if not group.free:
            raise UserError(f"all {self._capacity} lanes of {config.architecture} are taken; ask for more lanes")
        slot = group.free[-1]
        if checkpoint is None:
            group.executor.write(slot, group.executor.program.init(config.seed))
        else:
            group.executor.restore(slot, checkpoint.arrays)
        group.free.pop()
        lane = Lane(config, slot, checkpoint.progress if checkpoint else Progress(0, math.nan, None, None))
        self._lanes[lane_id] = lane
        if checkpoint is None:
            lane.progress = Progress(0, self._untrained_loss(group, lane_id), None, None)

    def detach(self, lane_id: str) -> None:
        """Frees a trial's lane; nothing happens where it has none. A shared device gets back the memory of a program
        that has no lane left."""
        lane = self._lanes.pop(lane_id, None)
        if lane is None:
            return
        group = self._group(lane.config)
        group.free.append(lane.slot)
        if 1 < self._capacity == len(group.free):
            group.executor.release()

    def epoch(self, lane_id: str, state: Place) -> Row:
        """`run` for one lane, its state saved."""
        row = self.run([lane_id])[lane_id]
        self.checkpoint(lane_id).save(state)
        return row

    @property
    def attached(self) -> int:
        """Lanes taken."""
        return len(self._lanes)

    def group_of(self, lane_id: str) -> tuple[Program, int, int]:
        """What lanes must have in common to train in one batch."""
        return _group_key(self._lanes[lane_id].config)

    def checkpoint(self, lane_id: str) -> Checkpoint:
        """The state of a lane, as host arrays."""
        lane = self._lanes[lane_id]
        return Checkpoint(self._group(lane.config).executor.read(lane.slot), lane.progress)

    def run(self, lane_ids: Sequence[str]) -> dict[str, Row]:
        """Trains each of these lanes for one epoch, evaluates it, and returns its row of the epochs table.

        A row's seconds are the lane's equal share of its batches'.

        Raises:
            StateLostError: the device ran out of memory and took the lanes of a group with it; they are detached.
        """
        rows: dict[str, Row] = {}
        groups = defaultdict(list)
        for lane_id in lane_ids:
            groups[self.group_of(lane_id)].append(lane_id)
        for key, members in groups.items():
            rows |= self._run_group(self._groups[key], members)
        for row in rows.values():  # which a lane's state holds, too, to be reported again
            row["fill"] = len(lane_ids) / self._capacity
        return rows

    def _run_group(self, group: LaneGroup, lane_ids: Sequence[str]) -> dict[str, Row]:
        trained = self._in_batches(group, lane_ids, lambda batch: self._train(group, batch))
        # Apart from the training: a device that runs out of memory here must not train an epoch twice.
        scores = {
            name: self._in_batches(group, lane_ids, lambda batch: self._evaluate(group, batch, name))  # noqa: B023
            for name in group.data.splits
        }
        return {
            lane_id: self._finish_epoch(
                self._lanes[lane_id], trained[lane_id], {name: score[lane_id] for name, score in scores.items()}
            )
            for lane_id in lane_ids
        }

    def _in_batches(
        self, group: LaneGroup, lane_ids: Sequence[str], call: Callable[[Batch], Iterable[Any]]
    ) -> dict[str, Any]:
        """What `call` returns for each lane, a batch at a time; in smaller ones where memory is short."""
        done: dict[str, Any] = {}
        while left := [lane_id for lane_id in lane_ids if lane_id not in done]:
            batch = cut_batches(left, group.largest_batch)[0]
            try:
                done |= zip(batch.members, call(batch), strict=True)
            except StateLostError:
                group.largest_batch = max(batch.size // 2, 1)
                self._lose(group)
                raise
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error) or batch.size == 1:
                    raise
                group.largest_batch = batch.size // 2
            self._share_seconds(group, batch)
        return done

    def _share_seconds(self, group: LaneGroup, batch: Batch) -> None:
        spent = group.executor.take_seconds()
        for lane_id in batch.members:
            share = {name: value / len(batch.members) for name, value in spent.items()}
            self._lanes[lane_id].spent.update(share | {"batch_s": sum(spent.values())})

    def _lose(self, group: LaneGroup) -> None:
        """Detaches all lanes of a group, whose state is gone."""
        group.executor.release()
        for lane_id, lane in list(self._lanes.items()):
            if self._groups.get(_group_key(lane.config)) is group:
                self.detach(lane_id)

    def _train(self, group: LaneGroup, batch: Batch) -> Iterable[tuple[np.ndarray, int]]:
        """The step losses of each lane, and how many lanes trained with it."""
        lanes = [self._lanes[lane_id] for lane_id in batch.members]
        hyper = Hyperparameters(
            np.array([lane.config.learning_rate for lane in lanes], np.float32),
            np.array([lane.config.momentum for lane in lanes], np.float32),
        )
        data = group.data
        orders = [batch_order(lane.config.data_seed, lane.progress.epoch, data.train_count) for lane in lanes]
        losses = group.executor.train(batch, [lane.slot for lane in lanes], hyper, orders, data.arrays)
        return [(row, len(lanes)) for row in losses]

    def _evaluate(self, group: LaneGroup, batch: Batch, split: str) -> Iterable[tuple[float, float]]:
        slots = [self._lanes[lane_id].slot for lane_id in batch.members]
        return group.executor.evaluate(batch.size, slots, group.data.arrays, group.data.splits[split])

    def _finish_epoch(self, lane: Lane, trained: tuple[np.ndarray, int], scores: dict[str, tuple[float, float]]) -> Row:
        losses, lanes = trained
        data = self._group(lane.config).data
        row = epoch_row(lane.progress, losses, scores, lane.config.batch_size, data) | dict(lane.spent)
        row |= {"learning_rate": lane.config.learning_rate, "lanes": lanes}
        row |= {"node": platform.node(), "device": jax.devices()[0].device_kind}
        lane.spent.clear()
        lane.progress = Progress(row["epoch"], lane.progress.untrained_loss, row["above_since"], row)
        return row

    def _untrained_loss(self, group: LaneGroup, lane_id: str) -> float:
        losses, seed = group.untrained_losses, self._lanes[lane_id].config.seed
        if seed not in losses:
            batch = Batch((lane_id,), 1)
            [(losses[seed], _)] = self._evaluate(group, batch, "train")
            self._share_seconds(group, batch)
        return losses[seed]

    def _group(self, config: TrialConfig) -> LaneGroup:
        key = _group_key(config)
        if key not in self._groups:
            version = config.label_noise, config.holdout
            if version not in self._data:
                self._data[version] = DeviceData.put(self._dataset, *version, self._train_evaluation)
            data, executor = self._data[version], Executor(key[0], self._capacity)
            if self._capacity > 1:  # while the clients of its lanes are still starting
                executor.prepare(self._capacity, data.train_count, data.arrays)
            self._groups[key] = LaneGroup(executor, data, list(range(self._capacity))[::-1], self._capacity)
        return self._groups[key]


def _group_key(config: TrialConfig) -> tuple[Program, int, int]:
    return Program.of(config), config.label_noise, config.holdout
