"""The lanes of one program, and the epochs that they train together."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import numpy as np

from mnist_tune.epoch_row import EpochRow, Measured
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.epoch_end import epoch_row
from mnist_tune.execution.executor import Executor, Part
from mnist_tune.execution.memory import Memory
from mnist_tune.execution.program_error import DeviceError, OutOfMemoryError, classified
from mnist_tune.execution.sharpness import SharpnessSettings, measure
from mnist_tune.regimes.noise import independent_answers, standard_error
from mnist_tune.training.optimizers import Hyperparameters
from mnist_tune.training.program import ERROR, PARTED, Program
from mnist_tune.trial import TrialConfig, steps_of_epoch

DRAWS = 0x9E3779B9
"""Makes the random keys of training steps, such as those of dropout, other ones than
that of the initialisation."""


@dataclass
class Lane:
    """A trial on the device: its slot in the stacked state of its group, its last row,
    and what it remembers."""

    config: TrialConfig
    group: LaneGroup
    slot: int
    row: EpochRow | None = field(default=None, init=False)
    """None before its first epoch."""
    memory: Memory = field(init=False)
    """What it remembers of its epochs, or of its initial state."""
    spent: Counter[str] = field(default_factory=Counter)
    """Its share of the seconds that its batches took since its last row."""
    since: float = field(default_factory=time.perf_counter)
    """When that was, or when it was attached."""

    def __post_init__(self) -> None:
        self.hyper = self.group.executor.program.step.hyperparameters(
            self.config, self.group.steps
        )
        self.seconds: deque[float] = deque(maxlen=100)
        """What its last epochs took, with their batches; that of a saved state is
        known, too."""

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Take up what was saved beside the arrays."""
        self.row = checkpoint.row
        self.memory = checkpoint.memory or Memory.after(self.row, {})
        if self.row.batch_s:
            self.seconds.append(self.row.batch_s)

    def take_seconds(self) -> dict[str, float]:
        """Return the seconds that were spent since its last row, and those in which no
        batch of it ran."""
        before, self.since = self.since, time.perf_counter()
        found = {
            **self.spent,
            "wait_s": max(self.since - before - self.spent["batch_s"], 0.0),
        }
        self.spent.clear()
        return found


Lanes = dict[str, Lane]
"""Lanes by their ids."""


@dataclass
class BatchSizes:
    """The sizes of a group's batches: powers of two, and the largest one.

    A batch is padded to its size. Each size must be compiled, which takes long, so a
    size that is compiled already is used until its padding has cost as much time as a
    compilation.
    """

    largest: int
    """Lanes in the largest batch; it is halved when the device runs out of memory."""
    padding_s: float = 0.0
    """Seconds spent on padding since the last compilation."""
    compile_s: float = 0.0
    """Seconds of the longest compilation."""

    def choose(self, lanes: int, compiled: Iterable[int]) -> int:
        """Return the size of a batch of so many lanes, at most `largest`."""
        wanted = self._wanted(lanes)
        larger = [size for size in compiled if wanted <= size <= self.largest]
        return (
            wanted if self.padding_s > self.compile_s else min(larger, default=wanted)
        )

    def ran(self, lanes: int, size: int, compile_s: float, run_s: float) -> None:
        """Take note of a batch of so many lanes, and of its seconds."""
        if compile_s:
            self.padding_s, self.compile_s = 0.0, max(self.compile_s, compile_s)
        self.padding_s += run_s * max(size - self._wanted(lanes), 0) / size

    def _wanted(self, lanes: int) -> int:
        return min(1 << (lanes - 1).bit_length(), self.largest)


@dataclass(eq=False)
class LaneGroup:
    """The lanes of one program on the same data (label noise and held-out split). They
    can train in one batch."""

    executor: Executor
    data: DeviceData
    sizes: BatchSizes
    order: Callable[[int, int, int], np.ndarray]
    """`batch_order`, which keeps what lanes need again."""
    sharpness: SharpnessSettings | None = None
    """When sharpness is measured; None never does."""
    _untrained: dict[int, Memory] = field(default_factory=dict)
    """What `untrained` returned, by seed."""

    @property
    def steps(self) -> int:
        program = self.executor.program
        return steps_of_epoch(
            self.data.train_count, program.batch_size, program.drop_last
        )

    def untrained(self, lane: Lane) -> Memory:
        """Return what is remembered of a lane's initial parameters, which are in its
        slot."""
        seed = lane.config.seed
        if seed not in self._untrained:
            [train] = self._evaluate(1, [lane], "train")
            loss, deviation, parts = train["loss"], 0.0, []
            if PARTED in train:
                [held_out] = self._evaluate(1, [lane], list(self.data.splits)[-1])
                deviation = float(np.std(train[PARTED]))
                parts = held_out[PARTED]
            self._untrained[seed] = Memory(
                untrained_loss=loss,
                least_loss=loss,
                untrained_deviation=deviation,
                untrained_parts=parts,
            )
            self._share_seconds([lane])
        return self._untrained[seed]

    def run(self, lanes: Lanes) -> dict[str, EpochRow | Exception]:
        """Train and evaluate lanes for one epoch. Return their rows, or why they have
        none, as `LanePool.outcomes`."""
        failed: dict[str, Exception] = {}
        trained, measured = self._train_epoch(lanes, failed)
        # Evaluation has batches of its own: if it runs out of memory, the epoch must
        # not be trained again.
        scores = {
            split: self._in_batches(lanes, failed, partial(self._evaluate, split=split))
            for split in self.data.splits
        }
        fill = len(lanes) / self.executor.stack.capacity
        rows: dict[str, EpochRow | Exception] = {**failed}
        for lane_id, lane in lanes.items():
            if lane_id in failed:
                continue
            losses, together = trained[lane_id]
            found = {split: of[lane_id] for split, of in scores.items()}
            curvature = measured[lane_id] if self.sharpness else None
            batch = lane.take_seconds() | {"lanes": together, "fill": fill}
            row, lane.memory = epoch_row(
                lane.memory, losses, found, lane.config, self.data, curvature, **batch
            )
            lane.row = rows[lane_id] = row
            lane.seconds.append(batch["batch_s"])
        return rows

    def _train_epoch(
        self, lanes: Lanes, failed: dict[str, Exception]
    ) -> tuple[dict[str, tuple[np.ndarray, int]], dict[str, list[Measured]]]:
        """Train an epoch, which pauses where the sharpness of a lane is to be measured.
        Return the step losses of each lane and the lanes in its last batch, and its
        measurements."""
        measured: dict[str, list[Measured]] = {lane_id: [] for lane_id in lanes}
        if not self.sharpness:
            run = partial(self._train, first=0, last=self.steps)
            return self._in_batches(lanes, failed, run), measured
        self._measure(
            {i: lane for i, lane in lanes.items() if not lane.memory.epoch},
            failed,
            0,
            measured,
        )
        due = {
            i: self.sharpness.due(lane.memory.step, self.steps)
            for i, lane in lanes.items()
        }
        parts = []
        for first, last in pairwise(sorted({0, self.steps}.union(*due.values()))):
            for begin, end in self.sharpness.parts(first, last, self.steps):
                parts.append(
                    self._in_batches(
                        lanes, failed, partial(self._train, first=begin, last=end)
                    )
                )
            self._measure(
                {i: lane for i, lane in lanes.items() if last in due[i]},
                failed,
                last,
                measured,
            )
        left = [i for i in lanes if i not in failed]
        losses = {i: np.concatenate([part[i][0] for part in parts]) for i in left}
        return {i: (losses[i], parts[-1][i][1]) for i in left}, measured

    def _measure(
        self,
        lanes: Lanes,
        failed: dict[str, Exception],
        step: int,
        measured: dict[str, list[Measured]],
    ) -> None:
        assert self.sharpness is not None
        images = self.sharpness.images_at(step)

        def of(size: int, batch: list[Lane]) -> Iterable[Any]:
            return measure(
                self.executor,
                self.data,
                size,
                [i.slot for i in batch],
                images,
                self._hyper(batch),
            )

        found = self._in_batches(lanes, failed, of)
        for lane_id, values in found.items():
            measured[lane_id].append((lanes[lane_id].memory.step + step, *values))

    def _in_batches(
        self,
        lanes: Lanes,
        failed: dict[str, Exception],
        call: Callable[[int, list[Lane]], Iterable[Any]],
    ) -> dict[str, Any]:
        """Return what `call` returns for each lane that has not `failed`. The lanes run
        in batches, which shrink if memory runs out. If a batch fails by the program,
        each of its lanes runs alone, and those that fail then are added to `failed`.
        Raises a DeviceError if no lane can go on."""
        done: dict[str, Any] = {}
        alone: set[str] = set()
        while left := [
            lane_id
            for lane_id in lanes
            if lane_id not in done and lane_id not in failed
        ]:
            members = left[: 1 if left[0] in alone else self.sizes.largest]
            size, batch = (
                self.sizes.choose(len(members), self.executor.sizes),
                [lanes[lane_id] for lane_id in members],
            )
            try:
                done |= zip(members, call(size, batch), strict=True)
            except Exception as error:
                kind = classified(error)
                if isinstance(kind, DeviceError):
                    raise
                if isinstance(kind, OutOfMemoryError) and size > 1:
                    self.sizes.largest = size // 2
                elif len(members) > 1:
                    alone.update(members)
                else:
                    failed[members[0]] = kind
            self._share_seconds(batch, size)
        return done

    def _train(
        self, size: int, batch: Sequence[Lane], first: int, last: int
    ) -> Iterable[tuple[np.ndarray, int]]:
        """Train a batch for the steps of an epoch after `first` up to `last`. Return
        the step losses of each lane, and the number of lanes in the batch."""
        slots, hyper = [lane.slot for lane in batch], self._hyper(batch)
        keys = np.array(
            [(lane.config.seed ^ DRAWS, lane.memory.epoch) for lane in batch], np.uint32
        )
        losses = self.executor.train(
            size, slots, hyper, keys, self._parts(batch, first, last)
        )
        return [(row, len(batch)) for row in losses]

    def _parts(self, batch: Sequence[Lane], first: int, last: int) -> Iterator[Part]:
        """Yield the steps of an epoch after `first` up to `last`, in parts if the
        device has no memory for all data. Lanes in the same order share the
        examples."""
        data, size = self.data, self.executor.program.batch_size
        orders = [
            self.order(lane.config.data_seed, lane.memory.epoch, data.train_count)
            for lane in batch
        ]
        if not data.part:
            yield (
                data.arrays,
                [order[first * size : last * size] for order in orders],
                first,
            )
            return
        different = {id(order): order[: last * size] for order in orders}
        mine = [list(different).index(id(order)) for order in orders]
        begins, together = (
            range(first, last, max(data.part // size, 1)),
            np.stack(list(different.values())),
        )
        wanted = [together[:, i * size : (i + begins.step) * size] for i in begins]
        for begin, (rows, inside) in zip(begins, data.brought(wanted), strict=True):
            yield rows, [inside[i] for i in mine], begin

    def _hyper(self, batch: Sequence[Lane]) -> Hyperparameters:
        """Return the hyperparameters of a batch's lanes, float32 [lanes] by name."""
        names = self.executor.program.step.names
        return {
            name: np.array([lane.hyper[name] for lane in batch], np.float32)
            for name in names
        }

    def _evaluate(
        self, size: int, batch: Sequence[Lane], split: str
    ) -> Iterable[dict[str, Any]]:
        """Return the mean scores of each lane of a batch by name, and of tokens the
        `independent_answers`; without an accuracy, the mean losses of parts of the
        split."""
        slots, (first, count) = [lane.slot for lane in batch], self.data.splits[split]
        if self.data.part:
            counts, sums = self._evaluate_parts(size, slots, first, count)
        else:
            index = np.array((first, count), np.int32)
            counts, sums = self.executor.measure(
                Program.evaluate, size, slots, self.data.arrays, index
            )
        parts, found = sums.pop(PARTED, None), []
        for i, count in enumerate(counts.tolist()):
            means: dict[str, Any] = {
                name: float(each[i]) / count for name, (each, _) in sums.items()
            }
            if parts:
                means[PARTED] = [
                    float(loss / n)
                    for loss, n in zip(*(of[i] for of in parts), strict=True)
                    if n
                ]
                variance = float(sums["loss"][1][i]) / count - means["loss"] ** 2
                means[ERROR] = standard_error(means[PARTED], max(variance, 0.0) / count)
            if self.data.positions > 1:
                square = float(sums["accuracy"][1][i]) / count
                means["answers"] = independent_answers(
                    means["accuracy"], square, self.data.positions
                )
            found.append(means)
        return found

    def _evaluate_parts(
        self, size: int, slots: list[int], first: int, count: int
    ) -> Any:
        """Return what `Program.evaluate` does, of examples that are brought to the
        device in parts of whole blocks."""
        total = sum(len(jax.tree.leaves(part)[0]) for part in self.data.arrays)
        block = min(self.executor.program.task.block, total)
        # What does not change in the loop over blocks, XLA takes out of it. If a part
        # is one block, that is what is computed of its examples, which is then rounded
        # otherwise than in memory.
        each = max(self.data.part // block, 2 if block < total else 1)
        begins, within = range(0, -(-count // block), each), np.arange(block)
        starts = [
            np.minimum(first + block * np.arange(i, i + each), total - block)
            for i in begins
        ]
        counts, sums = None, None
        parts = self.data.brought([start[:, None] + within for start in starts])
        for begin, (part, _) in zip(begins, parts, strict=True):
            index = np.array((first, count, total, begin, begin + each), np.int32)
            counts, sums = self.executor.measure(
                Program.evaluate, size, slots, part, index, inputs=sums
            )
        return counts, sums

    def _share_seconds(self, batch: Sequence[Lane], size: int = 1) -> None:
        spent = self.executor.take_seconds()
        self.sizes.ran(
            len(batch), size, spent["compile_s"], spent["train_s"] + spent["eval_s"]
        )
        for lane in batch:
            share = {name: value / len(batch) for name, value in spent.items()}
            lane.spent.update(share | {"batch_s": sum(spent.values())})
