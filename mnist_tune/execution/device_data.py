"""A data set on a device, or on the host if the device has no memory for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
        kept, (train, test) = (
            dataset.spec.train_images - holdout,
            dataset.parts(label_noise),
        )
        counts, positions = dataset.counts(kept), dataset.spec.positions
        evaluated = min(kept, train_evaluation or kept)
        first = label_noise - label_noise * evaluated // kept
        splits = {"train": (first, evaluated), "test": (kept, dataset.spec.test_images)}
        if holdout:
            splits["validation"] = kept + dataset.spec.test_images, holdout
        leaves, total = (
            jax.tree.leaves((train, test)),
            dataset.spec.train_images + dataset.spec.test_images,
        )
        bytes_, device = (
            sum(x.nbytes for x in leaves),
            jax.local_devices()[0].memory_stats() or {},
        )
        usual = MAPPED if any(isinstance(x, np.memmap) for x in leaves) else math.inf
        memory = memory or device.get("bytes_limit", 2 * usual) / 2
        parts = (
            jax.tree.map(lambda x: x[:kept], train),
            test,
            jax.tree.map(lambda x: x[kept:], train),
        )
        if bytes_ > memory:
            return cls(
                parts,
                kept,
                splits,
                counts,
                positions,
                max(int(memory / (2 * lanes * bytes_ / total)), 1),
            )
        arrays = jax.device_put(jax.tree.map(lambda *of: np.concatenate(of), *parts))
        return cls(arrays, kept, splits, counts, positions)

    def brought(self, parts: Sequence[np.ndarray]) -> Iterator[tuple[Any, np.ndarray]]:
        """Bring parts of the examples to the device, given their indices: the next part
        while the last one is used. With each come the indices there of its examples. It
        may be overwritten once the one after it is asked for."""
        # others have a copy
        size, count = (
            max(part.size for part in parts),
            1 + (jax.default_backend() == "cpu"),
        )
        if not self.buffers or len(jax.tree.leaves(self.buffers)[0]) < size:
            self.buffers[:] = [
                jax.tree.map(partial(_empty, size), self.arrays[0])
                for _ in range(count)
            ]
        with ThreadPoolExecutor(1) as thread:
            coming = map(
                thread.submit,
                repeat(self._bring),
                map(np.ravel, parts),
                cycle(self.buffers),
            )
            ahead = next(coming)
            for part in parts:
                found, ahead = ahead, next(coming, ahead)
                yield (
                    found.result(),
                    np.arange(part.size, dtype=np.int32).reshape(part.shape),
                )

    def of(self, index: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return examples on the device, until others are brought, and the indices
        there of those with this index."""
        return next(self.brought([index])) if self.part else (self.arrays, index)

    def _bring(self, index: np.ndarray, buffer: Any) -> Any:
        row = bool((np.diff(index) == 1).all())  # such as the blocks of an evaluation

        def rows(buffer: np.ndarray, *arrays: np.ndarray) -> np.ndarray:
            found, first = buffer[: len(index)], 0
            for array in arrays:
                at, wanted = (
                    index - first,
                    (index >= first) & (index < first + len(array)),
                )
                # so a CPU needs no copy
                if wanted.all() and row and array[at[0] :].ctypes.data % 64 == 0:
                    return array[at[0] : at[-1] + 1]
                if wanted.all():
                    np.take(np.asarray(array), at, axis=0, out=found, mode="clip")
                elif wanted.any():
                    found[wanted] = array[at[wanted]]
                first += len(array)
            return found

        return jax.block_until_ready(
            jax.device_put(jax.tree.map(rows, buffer, *self.arrays))
        )


def _empty(size: int, array: np.ndarray) -> np.ndarray:
    """Return an array for so many rows such as those of another one. It begins at a
    page of memory."""
    return np.ndarray(
        (size, *array.shape[1:]), array.dtype, mmap(-1, size * array[0].nbytes or 1)
    )
