"""Lanes: the trials that train together on a device.

A `LanePool` holds a data set and, for each compiled program, the stacked state of its lanes. With one lane,
in a trial's own process, it is the ordinary execution of a trial; in an actor (`server`) it is continuous
batching.
"""

from __future__ import annotations

import math
import platform
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from mnist_tune.data.dataset import Dataset
from mnist_tune.errors import UserError
from mnist_tune.lanes.batches import Batch, Execution, plan_batches
from mnist_tune.lanes.calibration import choose
from mnist_tune.lanes.device_data import DeviceData
from mnist_tune.lanes.executor import Executor
from mnist_tune.lanes.state_file import Checkpoint, Progress
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.divergence import has_diverged, left_for_good
from mnist_tune.training.program import Hyperparameters, Program
from mnist_tune.trial import TrialConfig

Row = dict[str, Any]


@dataclass
class Lane:
    """A trial's place in the stacked state of its group."""

    config: TrialConfig
    slot: int
    progress: Progress
    eval_s: float = 0.0
    """Seconds spent on the untrained network, for the first row."""


@dataclass
class LaneGroup:
    """The lanes of one program on one version of the data."""

    executor: Executor
    data: DeviceData
    free: list[int]
    largest_batch: int
    """Shrinks when the device runs out of memory."""
    untrained_losses: dict[int, float] = field(default_factory=dict)


class LanePool:
    """The lanes of one device.

    Args:
        dataset: what every lane trains on, before label noise and held-out split.
        capacity: the most lanes of one program.
        execution: how a batch of lanes runs; `auto` takes the faster way for each program (`calibration.choose`).
        cache_dir: where measured choices are remembered.
    """

    def __init__(
        self,
        dataset: Dataset,
        capacity: int = 1,
        execution: Execution | Literal["auto"] = "loop",
        cache_dir: str | None = None,
    ) -> None:
        self._dataset, self._capacity, self._execution, self._cache_dir = dataset, capacity, execution, cache_dir
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
            lane.progress = Progress(0, self._untrained_loss(group, lane), None, None)

    def detach(self, lane_id: str) -> None:
        """Frees a trial's lane; nothing happens where it has none."""
        lane = self._lanes.pop(lane_id, None)
        if lane is not None:
            self._group(lane.config).free.append(lane.slot)

    def epoch(self, lane_id: str, state_path: Path) -> Row:
        """`run` for one lane, its state saved."""
        row = self.run([lane_id])[lane_id]
        self.checkpoint(lane_id).save(state_path)
        return row

    @property
    def attached(self) -> int:
        """Lanes taken."""
        return len(self._lanes)

    def group_of(self, lane_id: str) -> tuple[Program, int, int]:
        """What lanes must have in common to train in one batch."""
        config = self._lanes[lane_id].config
        return Program.of(config), config.label_noise, config.holdout

    def stream_of(self, lane_id: str) -> tuple[int, int] | None:
        """The batch order and epoch that a lane comes to, where sharing them makes a batch faster; else None."""
        lane = self._lanes[lane_id]
        if self._group(lane.config).executor.execution != "shared":
            return None
        return lane.config.data_seed, lane.progress.epoch

    def checkpoint(self, lane_id: str) -> Checkpoint:
        """The state of a lane, as host arrays."""
        lane = self._lanes[lane_id]
        return Checkpoint(self._group(lane.config).executor.read(lane.slot), lane.progress)

    def run(self, lane_ids: Sequence[str]) -> dict[str, Row]:
        """Trains each of these lanes for one epoch, evaluates it, and returns its row of the epochs table.

        A row's seconds are the lane's equal share of its batch's.
        """
        rows: dict[str, Row] = {}
        groups = defaultdict(list)
        for lane_id in lane_ids:
            groups[self.group_of(lane_id)].append(lane_id)
        for key, members in groups.items():
            rows |= self._run_group(self._groups[key], {lane_id: self._lanes[lane_id] for lane_id in members})
        fill = len(lane_ids) / self._capacity
        return {lane_id: row | {"fill": fill} for lane_id, row in rows.items()}

    def _run_group(self, group: LaneGroup, lanes: dict[str, Lane]) -> dict[str, Row]:
        rows: dict[str, Row] = {}
        while left := {lane_id: lane for lane_id, lane in lanes.items() if lane_id not in rows}:
            streams = {i: (lane.config.data_seed, lane.progress.epoch) for i, lane in left.items()}
            try:
                for batch in plan_batches(streams, group.largest_batch, group.executor.execution):
                    rows |= self._run_batch(group, {i: lanes[i] for i in batch.members}, batch)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error) or batch.size == 1:
                    raise
                group.largest_batch = batch.size // 2
        return rows

    def _run_batch(self, group: LaneGroup, lanes: dict[str, Lane], batch: Batch) -> dict[str, Row]:
        configs = [lane.config for lane in lanes.values()]
        hyper = Hyperparameters(
            np.array([config.learning_rate for config in configs], np.float32),
            np.array([config.momentum for config in configs], np.float32),
        )
        executor, data, slots = group.executor, group.data, [lane.slot for lane in lanes.values()]
        orders = [batch_order(lane.config.data_seed, lane.progress.epoch, data.train_count) for lane in lanes.values()]
        losses = executor.train(batch, slots, hyper, orders, data.arrays)
        scores = {name: executor.evaluate(batch.size, slots, data.arrays, s) for name, s in data.splits.items()}
        spent = executor.take_seconds()
        seconds = {name: value / len(lanes) for name, value in spent.items()}
        rows = {}
        for i, (lane_id, lane) in enumerate(lanes.items()):
            progress = lane.progress
            row = epoch_row(progress, losses[i], {name: score[i] for name, score in scores.items()})
            row |= seconds | {
                "learning_rate": lane.config.learning_rate,
                "eval_s": seconds["eval_s"] + lane.eval_s,
                "lanes": len(lanes),
                "batch_s": sum(spent.values()),
            }
            row |= {"node": platform.node(), "device": jax.devices()[0].device_kind}
            lane.eval_s = 0.0
            lane.progress = Progress(row["epoch"], progress.untrained_loss, row["above_since"], row)
            rows[lane_id] = row
        return rows

    def _untrained_loss(self, group: LaneGroup, lane: Lane) -> float:
        losses, seed = group.untrained_losses, lane.config.seed
        if seed not in losses:
            [(losses[seed], _)] = group.executor.evaluate(1, [lane.slot], group.data.arrays, group.data.splits["train"])
            lane.eval_s = group.executor.take_seconds(keep="compile_s")["eval_s"]
        return losses[seed]

    def _group(self, config: TrialConfig) -> LaneGroup:
        version = config.label_noise, config.holdout
        key = (Program.of(config), *version)
        if version not in self._data:
            self._data[version] = DeviceData.put(self._dataset, *version)
        if key not in self._groups:
            way = choose(key[0], self._capacity, self._cache_dir) if self._execution == "auto" else self._execution
            executor = Executor(key[0], self._capacity, way)
            executor.prepare(self._data[version].train_count, self._data[version].arrays)
            slots = list(range(self._capacity))[::-1]
            self._groups[key] = LaneGroup(executor, self._data[version], slots, self._capacity)
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
