"""The lanes of one program, and the epochs that they train together."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, NamedTuple

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
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.training.optimizers import Hyperparameters
from mnist_tune.training.program import ERROR, PARTED, Program
from mnist_tune.trial import TrialConfig, report_ends, steps_of_epoch

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
        step = self.group.executor.program.step
        self.hyper = step.hyperparameters(self.config, self.group.steps)
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
        wait = self.since - before - self.spent["batch_s"]
        seconds = {**self.spent, "wait_s": max(wait, 0.0)}
        self.spent.clear()
        return seconds


Lanes = dict[str, Lane]
"""Lanes by their ids."""


class Stretch(NamedTuple):
    """The steps of an epoch that lead to a lane's next report: those after `first` up
    to `last`."""

    epoch: int
    """The epochs before it."""
    first: int
    last: int


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
        least = self._least(lanes)
        if self.padding_s > self.compile_s:
            return least
        larger = [size for size in compiled if least <= size <= self.largest]
        return min(larger, default=least)

    def ran(self, lanes: int, size: int, compile_s: float, run_s: float) -> None:
        """Take note of a batch of so many lanes, and of its seconds."""
        if compile_s:
            self.padding_s = 0.0
            self.compile_s = max(self.compile_s, compile_s)
        padding = max(size - self._least(lanes), 0)
        self.padding_s += run_s * padding / size

    def _least(self, lanes: int) -> int:
        power_of_two = 1 << (lanes - 1).bit_length()
        return min(power_of_two, self.largest)


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
    report_every: int | None = None
    """Steps between reports (`report_ends`); None is an epoch."""
    best_by: Ranking | None = None
    """As in `WorkerSettings`."""
    _untrained: dict[int, Memory] = field(default_factory=dict)
    """What `untrained` returned, by seed."""

    @property
    def steps(self) -> int:
        program = self.executor.program
        return steps_of_epoch(
            self.data.train_count, program.batch_size, program.drop_last
        )

    @cached_property
    def ends(self) -> list[int]:
        """The steps of an epoch after which lanes report."""
        return report_ends(self.steps, self.report_every)

    def images(self, first: int, last: int) -> int:
        """Return the number of images in the steps of an epoch after `first` up to
        `last`."""
        size = self.executor.program.batch_size
        return min(last * size, self.data.train_count) - first * size

    def stretch(self, lane: Lane) -> Stretch:
        """Return the steps to a lane's next report. They follow from the number of
        those before, so that a saved state needs to hold no more."""
        epoch, number = divmod(lane.memory.epoch, len(self.ends))
        first = 0
        if number:
            first = self.ends[number - 1]
        return Stretch(epoch, first, self.ends[number])

    def untrained(self, lane: Lane) -> Memory:
        """Return what is remembered of a lane's initial parameters, which are in its
        slot."""
        seed = lane.config.seed
        if seed in self._untrained:
            return self._untrained[seed]
        [train] = self._evaluate(1, [lane], "train")
        loss = train["loss"]
        memory = Memory(untrained_loss=loss, least_loss=loss, untrained_parts=[])
        if PARTED in train:
            [held_out] = self._evaluate(1, [lane], list(self.data.splits)[-1])
            memory = replace(
                memory,
                untrained_deviation=float(np.std(train[PARTED])),
                untrained_parts=held_out[PARTED],
            )
        self._untrained[seed] = memory
        self._share_seconds([lane])
        return memory

    def run(self, lanes: Lanes) -> dict[str, EpochRow | Exception]:
        """Train and evaluate lanes up to their next report. Return their rows, or why
        they have none, as `LanePool.outcomes`."""
        failed: dict[str, Exception] = {}
        trained: dict[str, tuple[np.ndarray, int]] = {}
        measured: dict[str, list[Measured]] = {}
        for together in self._equally_long(lanes):
            losses_of_lanes, measured_of_lanes = self._train_to_report(together, failed)
            trained |= losses_of_lanes
            measured |= measured_of_lanes
        # Evaluation has batches of its own: if it runs out of memory, the epoch must
        # not be trained again.
        evaluated = {}
        for split in self.data.splits:
            evaluate = partial(self._evaluate, split=split)
            evaluated[split] = self._in_batches(lanes, failed, evaluate)
        fill = len(lanes) / self.executor.stack.capacity
        rows: dict[str, EpochRow | Exception] = {**failed}
        for lane_id, lane in lanes.items():
            if lane_id in failed:
                continue
            losses, lane_count = trained[lane_id]
            scores = {split: of_all[lane_id] for split, of_all in evaluated.items()}
            batch = lane.take_seconds() | {"lanes": lane_count, "fill": fill}
            row, lane.memory = epoch_row(
                lane.memory,
                losses,
                scores,
                lane.config,
                self.data,
                measured[lane_id] if self.sharpness else None,
                self.stretch(lane).first,
                **batch,
            )
            if self.best_by:
                score = self.best_by.score_of(row.report(), lane.config.split)
                lane.memory = lane.memory.with_score(score)
            lane.row = rows[lane_id] = row
            lane.seconds.append(batch["batch_s"])
        return rows

    def _equally_long(self, lanes: Lanes) -> list[Lanes]:
        """Return the lanes in batches whose next reports are equally far away: after as
        many steps with as many images. They may be at different steps of an epoch."""
        batches: dict[tuple[int, int], Lanes] = {}
        for lane_id, lane in lanes.items():
            _, first, last = self.stretch(lane)
            length = last - first, self.images(first, last)
            batches.setdefault(length, {})[lane_id] = lane
        return list(batches.values())

    def _train_to_report(
        self, lanes: Lanes, failed: dict[str, Exception]
    ) -> tuple[dict[str, tuple[np.ndarray, int]], dict[str, list[Measured]]]:
        """Train lanes up to their next reports, which are equally far away. They pause
        where the sharpness of a lane is to be measured. Return the step losses of each
        lane and the lanes in its last batch, and its measurements."""
        measured: dict[str, list[Measured]] = {lane_id: [] for lane_id in lanes}
        _, begin, report = self.stretch(next(iter(lanes.values())))
        steps = report - begin
        if not self.sharpness:
            run = partial(self._train, first=0, last=steps)
            return self._in_batches(lanes, failed, run), measured
        # before its first step, a lane is measured once
        untrained = {
            lane_id: lane for lane_id, lane in lanes.items() if not lane.memory.epoch
        }
        self._measure(untrained, failed, 0, measured)
        due = {
            lane_id: self.sharpness.due(lane.memory.step, steps)
            for lane_id, lane in lanes.items()
        }
        # all lanes pause where one of them is to be measured
        pauses = {0, steps}.union(*due.values())
        parts = []
        for first, last in pairwise(sorted(pauses)):
            for begin, end in self.sharpness.parts(first, last, steps):
                run = partial(self._train, first=begin, last=end)
                parts.append(self._in_batches(lanes, failed, run))
            due_here = {i: lane for i, lane in lanes.items() if last in due[i]}
            self._measure(due_here, failed, last, measured)
        # the losses of the parts, one after the other
        trained = {}
        for lane_id in lanes:
            if lane_id in failed:
                continue
            losses = np.concatenate([part[lane_id][0] for part in parts])
            _, lane_count = parts[-1][lane_id]
            trained[lane_id] = (losses, lane_count)
        return trained, measured

    def _measure(
        self,
        lanes: Lanes,
        failed: dict[str, Exception],
        step: int,
        measured: dict[str, list[Measured]],
    ) -> None:
        assert self.sharpness is not None
        images = self.sharpness.images_at(step)

        def of_batch(size: int, batch: list[Lane]) -> Iterable[Any]:
            slots, hyper = _slots(batch), self._hyper(batch)
            return measure(self.executor, self.data, size, slots, images, hyper)

        sharpness = self._in_batches(lanes, failed, of_batch)
        for lane_id, values in sharpness.items():
            steps_made = lanes[lane_id].memory.step + step
            measured[lane_id].append((steps_made, *values))

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
        while True:
            waiting = [
                lane_id
                for lane_id in lanes
                if lane_id not in done and lane_id not in failed
            ]
            if not waiting:
                return done
            members = waiting[: self.sizes.largest]
            if waiting[0] in alone:
                members = waiting[:1]
            batch = [lanes[lane_id] for lane_id in members]
            size = self.sizes.choose(len(members), self.executor.sizes)
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

    def _train(
        self, size: int, batch: Sequence[Lane], first: int, last: int
    ) -> Iterable[tuple[np.ndarray, int]]:
        """Train a batch for the steps after `first` up to `last`, counted from its last
        report. Return the step losses of each lane, and the number of lanes in the
        batch."""
        keys = [(lane.config.seed ^ DRAWS, self.stretch(lane).epoch) for lane in batch]
        losses = self.executor.train(
            size,
            _slots(batch),
            self._hyper(batch),
            np.array(keys, np.uint32),
            self._parts(batch, first, last),
        )
        return [(of_lane, len(batch)) for of_lane in losses]

    def _parts(self, batch: Sequence[Lane], first: int, last: int) -> Iterator[Part]:
        """Yield the steps after `first` up to `last`, counted from the last report, in
        parts if the device has no memory for all data. Lanes in the same order share
        the examples."""
        data, size = self.data, self.executor.program.batch_size
        begins, orders = self._orders(batch)
        if not data.part:
            steps = slice(first * size, last * size)
            yield data.arrays, [order[steps] for order in orders], begins + first
            return
        # the different orders, and which of them each lane has
        different = {id(order): order[: last * size] for order in orders}
        numbers = [list(different).index(id(order)) for order in orders]
        stacked = np.stack(list(different.values()))
        # the examples of as many steps as a part holds
        parts = range(first, last, max(data.part // size, 1))
        indices = []
        for begin in parts:
            end = begin + parts.step
            indices.append(stacked[:, begin * size : end * size])
        brought = zip(parts, data.brought(indices), strict=True)
        for begin, (rows, inside) in brought:
            yield rows, [inside[number] for number in numbers], begins + begin

    def _orders(
        self, batch: Sequence[Lane]
    ) -> tuple[np.ndarray | int, list[np.ndarray]]:
        """Return the steps of the epoch before each lane's last report, and the
        order of its examples from there on. Lanes with the same order have one and the
        same array. If epochs have one report, all lanes begin at step 0, one number."""
        size = self.executor.program.batch_size
        shared: dict[tuple[int, Stretch], np.ndarray] = {}
        orders = []
        for lane in batch:
            seed, stretch = lane.config.data_seed, self.stretch(lane)
            if (seed, stretch) not in shared:
                order = self.order(seed, stretch.epoch, self.data.train_count)
                shared[seed, stretch] = order[
                    stretch.first * size : stretch.last * size
                ]
            orders.append(shared[seed, stretch])
        if len(self.ends) == 1:
            return 0, orders
        begins = [self.stretch(lane).first for lane in batch]
        return np.array(begins), orders

    def _hyper(self, batch: Sequence[Lane]) -> Hyperparameters:
        """Return the hyperparameters of a batch's lanes, float32 [lanes] by name."""
        hyper = {}
        for name in self.executor.program.step.names:
            values = [lane.hyper[name] for lane in batch]
            hyper[name] = np.array(values, np.float32)
        return hyper

    def _evaluate(
        self, size: int, batch: Sequence[Lane], split: str
    ) -> Iterable[dict[str, Any]]:
        """Return the mean scores of each lane of a batch by name, and of tokens the
        `independent_answers`; without an accuracy, the mean losses of parts of the
        split."""
        slots = _slots(batch)
        number = list(self.data.splits).index(split)
        of_split = (*self.data.splits[split], number)
        if self.data.part:
            counts, sums = self._evaluate_parts(size, slots, of_split)
        else:
            index = np.array(of_split, np.int32)
            counts, sums = self.executor.measure(
                Program.evaluate, size, slots, self.data.arrays, index
            )
        parts = sums.pop(PARTED, None)
        scores = []
        for lane in range(len(batch)):
            means = dict[str, Any]()
            squares = dict[str, float]()
            for name, (totals, totals_of_squares) in sums.items():
                # A score of blocks has no value if there is none.
                scored: float = int(counts[name][lane]) or math.nan
                means[name] = float(totals[lane]) / scored
                squares[name] = float(totals_of_squares[lane]) / scored
            if parts:
                losses, examples = parts
                means[PARTED] = _means_of_parts(losses[lane], examples[lane])
                variance = max(squares["loss"] - means["loss"] ** 2, 0.0)
                variance /= int(counts["loss"][lane])
                means[ERROR] = standard_error(means[PARTED], variance)
            if self.data.positions > 1:
                means["answers"] = independent_answers(
                    means["accuracy"], squares["accuracy"], self.data.positions
                )
            scores.append(means)
        return scores

    def _evaluate_parts(
        self, size: int, slots: list[int], of_split: tuple[int, int, int]
    ) -> Any:
        """Return what `Program.evaluate` does, of examples that are brought to the
        device in parts of whole blocks."""
        first, count, _ = of_split
        total = sum(len(jax.tree.leaves(part)[0]) for part in self.data.arrays)
        block = min(self.executor.program.task.block, total)
        # What does not change in the loop over blocks, XLA takes out of it. If a part
        # is one block, that is what is computed of its examples, which is then rounded
        # otherwise than in memory.
        least = 2 if block < total else 1
        blocks_of_part = max(self.data.part // block, least)
        block_count = -(-count // block)
        begins = range(0, block_count, blocks_of_part)
        indices = []
        for begin in begins:
            blocks = np.arange(begin, begin + blocks_of_part)
            starts = np.minimum(first + block * blocks, total - block)
            indices.append(starts[:, None] + np.arange(block))
        counts, sums = None, None
        brought = zip(begins, self.data.brought(indices), strict=True)
        for begin, (part, _) in brought:
            end = begin + blocks_of_part
            index = np.array((*of_split, total, begin, end), np.int32)
            counts, sums = self.executor.measure(
                Program.evaluate, size, slots, part, index, inputs=sums
            )
        return counts, sums

    def _share_seconds(self, batch: Sequence[Lane], size: int = 1) -> None:
        spent = self.executor.take_seconds()
        run_s = spent["train_s"] + spent["eval_s"]
        self.sizes.ran(len(batch), size, spent["compile_s"], run_s)
        share = {name: seconds / len(batch) for name, seconds in spent.items()}
        share["batch_s"] = sum(spent.values())
        for lane in batch:
            lane.spent.update(share)


def _slots(batch: Sequence[Lane]) -> list[int]:
    return [lane.slot for lane in batch]


def _means_of_parts(sums: np.ndarray, counts: np.ndarray) -> list[float]:
    """Return the mean loss of each part that has examples."""
    pairs = zip(sums, counts, strict=True)
    return [float(total / count) for total, count in pairs if count]
