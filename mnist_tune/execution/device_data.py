"""A data set on a device, or on the host if the device has no memory for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, repeat
from mmap import mmap
from typing import Any

import jax
import numpy as np

from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData

MAPPED = 2**28
"""Bytes that parts of memory-mapped files may take without a limit on the device."""


@dataclass(frozen=True)
class DeviceData:
    """A data set on a device: its splits, concatenated, with the training set first."""

    arrays: Any
    """A tree of arrays with one leading axis: images [n, *shape] and labels [n], or [n,
    T] of tokens."""
    train_count: int
    """The number of training images."""
    splits: dict[str, tuple[int, int]]
    """For each split, the index of its first image and how many images are
    evaluated."""
    label_counts: tuple[int, ...] = ()
    """The number of training labels of each class; none of a task."""
    positions: int = 1
    """Labels of an example."""
    part: int = 0
    """If the device has no memory for all examples: how many it gets at a time. The
    `arrays` are then three such trees on the host: of the training set, the test set,
    and what is held out."""
    buffers: list[Any] = field(default_factory=list)
    """The host's memory for parts, which is used again: new memory would take longer
    than copying the examples."""

    @classmethod
    def put(
        cls,
        dataset: Dataset | TaskData,
        label_noise: int,
        holdout: int,
        train_evaluation: int | None = None,
        memory: float | None = None,
        lanes: int = 1,
    ) -> DeviceData:
        """Put a data set on the device. The last `holdout` training examples become the
        validation split, and the first `label_noise` images have wrong labels. Only
        `train_evaluation` training examples are evaluated, with wrong labels in
        proportion; None evaluates all.

        If the data take more than `memory` bytes (None: half of a GPU's), they stay on
        the host. Two parts of them for so many lanes fit into that memory, but for a
        batch or two blocks of an evaluation, which come in any case."""
        test_count = dataset.spec.test_images
        train_count = dataset.spec.train_images - holdout
        evaluated = min(train_count, train_evaluation or train_count)
        # the first examples have wrong labels: so many of those that are evaluated
        first = label_noise - label_noise * evaluated // train_count
        splits = {"train": (first, evaluated), "test": (train_count, test_count)}
        if holdout:
            splits["validation"] = (train_count + test_count, holdout)
        # the examples in the order of these splits, still on the host
        train, test = dataset.parts(label_noise)
        parts = (
            jax.tree.map(lambda x: x[:train_count], train),
            test,
            jax.tree.map(lambda x: x[train_count:], train),
        )
        data = cls(
            parts,
            train_count,
            splits,
            dataset.counts(train_count),
            dataset.spec.positions,
        )
        leaves = jax.tree.leaves((train, test))
        data_bytes = sum(leaf.nbytes for leaf in leaves)
        memory = memory or _usual_memory(leaves)
        if data_bytes > memory:
            count = dataset.spec.train_images + test_count
            # an example of two parts for each lane
            example_bytes = 2 * lanes * data_bytes / count
            return replace(data, part=max(int(memory / example_bytes), 1))
        arrays = jax.tree.map(lambda *splits: np.concatenate(splits), *parts)
        return replace(data, arrays=jax.device_put(arrays))

    def brought(self, parts: Sequence[np.ndarray]) -> Iterator[tuple[Any, np.ndarray]]:
        """Bring parts of the examples to the device, given their indices: the next part
        while the last one is used. With each come the indices there of its examples. It
        may be overwritten once the one after it is asked for."""
        self._make_buffers(max(part.size for part in parts))
        with ThreadPoolExecutor(1) as thread:
            coming = map(
                thread.submit,
                repeat(self._bring),
                map(np.ravel, parts),
                cycle(self.buffers),
            )
            ahead = next(coming)
            for part in parts:
                current = ahead
                ahead = next(coming, ahead)
                inside = np.arange(part.size, dtype=np.int32)
                yield current.result(), inside.reshape(part.shape)

    def _make_buffers(self, size: int) -> None:
        """Have buffers for so many examples, if they have been smaller so far."""
        if self.buffers and len(jax.tree.leaves(self.buffers)[0]) >= size:
            return
        count = 1
        if jax.default_backend() == "cpu":
            # a CPU computes on the buffer itself; other devices have a copy
            count = 2
        empty = partial(_empty, size)
        self.buffers[:] = [jax.tree.map(empty, self.arrays[0]) for _ in range(count)]

    def of(self, index: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return examples on the device, until others are brought, and the indices
        there of those with this index."""
        if not self.part:
            return self.arrays, index
        return next(self.brought([index]))

    def _bring(self, index: np.ndarray, buffer: Any) -> Any:
        rows = jax.tree.map(partial(_rows, index), buffer, *self.arrays)
        return jax.block_until_ready(jax.device_put(rows))


def _usual_memory(leaves: Sequence[np.ndarray]) -> float:
    """Return how many bytes of a device the data may take, if nobody says it."""
    device = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in device:
        return float(device["bytes_limit"] / 2)
    if any(isinstance(leaf, np.memmap) for leaf in leaves):
        return MAPPED
    return math.inf


def _rows(index: np.ndarray, buffer: np.ndarray, *arrays: np.ndarray) -> np.ndarray:
    """Return the rows with this index of arrays that follow each other, by default in
    the buffer."""
    is_slice = (np.diff(index) == 1).all()  # such as the blocks of an evaluation
    rows, first = buffer[: len(index)], 0
    for array in arrays:
        inside = index - first
        is_here = (inside >= 0) & (inside < len(array))
        if is_here.all():
            # an aligned slice needs no copy on a CPU
            if is_slice and array[inside[0] :].ctypes.data % 64 == 0:
                return array[inside[0] : inside[-1] + 1]
            np.take(np.asarray(array), inside, axis=0, out=rows, mode="clip")
        elif is_here.any():
            rows[is_here] = array[inside[is_here]]
        first += len(array)
    return rows


def _empty(size: int, array: np.ndarray) -> np.ndarray:
    """Return an array for so many rows such as those of another one. It begins at a
    page of memory."""
    memory = mmap(-1, size * array[0].nbytes or 1)
    return np.ndarray((size, *array.shape[1:]), array.dtype, memory)
