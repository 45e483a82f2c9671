"""The lanes of a device, and the epochs that they train together.

A `LanePool` holds a data set, compiled programs, and the stacked states of lanes. A
trial's own process uses a pool with one lane. A lane server (`lane_server`) uses one
with many, for continuous batching.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import jax

from mnist_tune.data.dataset import Dataset, check_counts
from mnist_tune.data.task_data import TaskData
from mnist_tune.epoch_row import EpochRow
from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import Checkpoint, DeviceFullError, LanesFullError
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.executor import Executor, Stack, shapes_key
from mnist_tune.execution.group import BatchSizes, Lane, LaneGroup, Lanes
from mnist_tune.execution.hanging import limit_s, returned_or_raised, watched
from mnist_tune.execution.program_error import OutOfMemoryError, classifying
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.machine import give_memory_back
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.program import Program
from mnist_tune.trial import TrialConfig

IDLE_PROGRAMS = 2
"""Programs that are kept without lanes: those used last. Others are loaded again from
the compilation cache."""


class LanePool:
    """The lanes of one device, at most `capacity` of all programs together. The data
    set is without label noise and held-out split, which each trial's config adds. The
    other arguments are as in `WorkerSettings`."""

    def __init__(
        self,
        dataset: Dataset | TaskData,
        capacity: int = 1,
        train_evaluation: int | None = None,
        sharpness: SharpnessSettings | None = None,
        hang_s: float = 0.0,
        data_memory: float | None = None,
        report_every: int | None = None,
        best_by: Ranking | None = None,
    ) -> None:
        self._dataset = dataset
        self._capacity = capacity
        self._train_evaluation = train_evaluation
        self._sharpness = sharpness
        self._hang_s = hang_s
        self._data_memory = data_memory
        self._report_every = report_every
        self._best_by = best_by
        # each lane's, and the one that it needs next
        self._order = lru_cache(2 * capacity)(batch_order)
        # those used last are last
        self._groups: dict[tuple[Program, int, int], LaneGroup] = {}
        self.lanes: Lanes = {}

    def attach(
        self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None
    ) -> None:
        """Give a trial a lane, in its initial state or in a saved one. If it has a lane
        already, replace it. Raises LanesFullError if no lane is free, or
        (DeviceFullError) there is no memory for another one; `UserError` if the saved
        state does not fit, the program fails, or the device is too small for a single
        lane; DeviceError."""
        self.detach(lane_id)
        if len(self.lanes) == self._capacity:
            raise LanesFullError(
                f"all {self._capacity} lanes are taken; ask for more lanes"
            )
        try:
            with classifying():
                group = self._group(config)
                free = group.executor.stack.free
                lane = Lane(config, group, free[-1])
                if checkpoint is None:
                    state = group.executor.program.init(config.seed, lane.hyper)
                    group.executor.write(lane.slot, state)
                    lane.memory = group.untrained(lane)
                else:
                    group.executor.restore(lane.slot, checkpoint.arrays)
                    lane.go_on(checkpoint)
        except OutOfMemoryError as error:
            self._drop_idle()
            if self.lanes:
                raise DeviceFullError(
                    "the device has no memory for another lane"
                ) from error
            raise UserError(
                f"{config.architecture} does not fit into the memory of the device"
            ) from error
        self.lanes[lane_id] = lane
        free.pop()

    def detach(self, lane_id: str) -> None:
        """Free a trial's lane, if it has one. A stack that becomes empty frees its
        memory."""
        lane = self.lanes.pop(lane_id, None)
        if lane is None:
            return
        stack = lane.group.executor.stack
        stack.free.append(lane.slot)
        if len(stack.free) == self._capacity:
            stack.state = None

    def checkpoint(self, lane_id: str) -> Checkpoint:
        """Return the state of a lane that has trained, as host arrays."""
        lane = self.lanes[lane_id]
        assert lane.row is not None, f"{lane_id} has no epoch to save"
        with classifying():
            arrays = lane.group.executor.read(lane.slot)
            return Checkpoint(arrays, lane.row, lane.config, lane.memory)

    def run(self, lane_ids: Sequence[str]) -> dict[str, EpochRow]:
        """Train and evaluate some lanes of one group up to their next reports, by
        default for one epoch, and return their rows of the `epochs` table. The lanes of
        a batch share its seconds equally. Raises what ended the epoch of one of them,
        as `outcomes`."""
        outcomes = self.outcomes(lane_ids)
        return {key: returned_or_raised(outcome) for key, outcome in outcomes.items()}

    def outcomes(self, lane_ids: Sequence[str]) -> dict[str, EpochRow | Exception]:
        """Return the rows of `run`, or why a lane has none: a `UserError` of its own
        program, or an OutOfMemoryError. Such a lane must be detached; the others go on.
        Raises a DeviceError if none can, or the epoch hangs, and this process is about
        to end."""
        lanes = {lane_id: self.lanes[lane_id] for lane_id in lane_ids}
        limits = []
        for lane in lanes.values():
            limits.append(limit_s(lane.memory.epoch, lane.seconds, self._hang_s))
        group = lanes[lane_ids[0]].group
        with classifying():
            return watched(
                lambda: group.run(lanes), min(limits), lambda: group.executor.compiles
            )

    def _group(self, config: TrialConfig) -> LaneGroup:
        program = Program.of(config, self._dataset.spec)
        version = (config.label_noise, config.held_out)
        key = (program, *version)
        if key in self._groups:
            self._groups[key] = self._groups.pop(key)
            return self._groups[key]
        # a search may propose anything
        check_counts([config], self._dataset, self._train_evaluation)
        self._drop_idle(version)
        group = LaneGroup(
            Executor(program, self._stack(program)),
            self._data(version),
            BatchSizes(self._capacity),
            self._order,
            self._sharpness,
            self._report_every,
            self._best_by,
        )
        # compile while the other clients are still starting
        data = group.data
        if self._capacity > 1 and not data.part:
            images = group.images(0, group.ends[0])
            group.executor.prepare(images, data.arrays, len(group.ends) > 1)
        self._groups[key] = group
        return group

    def _stack(self, program: Program) -> Stack:
        """Return the stack that a program's states fit into, or a new one."""
        shapes = shapes_key(program.shapes)
        for group in self._groups.values():
            if shapes_key(group.executor.program.shapes) == shapes:
                return group.executor.stack
        return Stack(self._capacity)

    def _data(self, version: tuple[int, int]) -> DeviceData:
        """Return the data with so many wrong labels and images held out."""
        for (_, *other), group in self._groups.items():
            if tuple(other) == version:
                return group.data
        return DeviceData.put(
            self._dataset,
            *version,
            self._train_evaluation,
            self._data_memory,
            self._capacity,
        )

    def _drop_idle(self, version: tuple[int, int] | None = None) -> None:
        """Drop groups without lanes, and so what only they used. The last ones on a
        version of the data may stay."""
        busy = {id(lane.group) for lane in self.lanes.values()}
        idle = [key for key, group in self._groups.items() if id(group) not in busy]
        on_version = [key for key in idle if key[1:] == version]
        dropped = set(idle).difference(on_version[-IDLE_PROGRAMS:])
        if not dropped:
            return
        for key in dropped:
            del self._groups[key]
        jax.clear_caches()  # JAX itself keeps what was compiled
        give_memory_back()
