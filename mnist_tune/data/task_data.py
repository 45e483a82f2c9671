"""The data of a task: what its `data()` returns, checked, as NumPy arrays."""

from __future__ import annotations

import copyreg
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mnist_tune.data_spec import TaskSpec
from mnist_tune.errors import UserError
from mnist_tune.loop import Loop


def _as_path(array: np.memmap[Any, Any]) -> tuple[Any, ...]:
    """Return how to open a part of a memory-mapped file again, where it is
    unpickled."""
    if array.filename is None or not array.flags.c_contiguous:
        return np.array, (np.asarray(array),)
    root = array
    while isinstance(root.base, np.memmap):
        root = root.base
    offset = root.offset + array.ctypes.data - root.ctypes.data
    return np.memmap, (array.filename, array.dtype, "r", offset, array.shape)


copyreg.pickle(np.memmap, _as_path)  # else pickling would read the whole file


ON_HOST = "pure_callback (docs/own_training.md)"
"""What makes examples on the host in each step."""


@dataclass(frozen=True, eq=False)
class TaskData:
    """The examples of a task. A process that trains none has `held` alone."""

    spec: TaskSpec
    train: Any = None
    """A tree of arrays with one leading axis."""
    test: Any = None
    checksums: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each part."""
    whole: int = 0
    """The examples of a block, if loss or accuracy are of whole blocks, so that each
    split needs so many."""
    block: int = 1
    """The examples that are evaluated at a time."""
    shared: tuple[str, ...] = ()
    """What each task's `score` returns beside loss and accuracy."""
    of_blocks: tuple[str, ...] = ()
    """The scores that are one number for a block."""
    of_items: bool = False
    """Whether they were read from data sets of items."""
    held: Any = None
    """Ray's reference to the whole of it."""
    target: float | None = None

    name, source, note, order_note = "", None, "", ""

    def parts(self, label_noise: int) -> tuple[Any, Any]:
        """Return the training and the test examples."""
        return self.train, self.test

    def counts(self, count: int) -> tuple[int, ...]:
        return ()

    def shared_with(self, other: TaskData) -> TaskData:
        """Return the data of two tasks, which are the same."""
        first, second = self.spec, other.spec
        scores = dict.fromkeys(first.scores + second.scores)
        spec = replace(
            first,
            name=f"{first.name}, {second.name}",
            guesses={**first.guesses, **second.guesses},
            scores=tuple(scores),
            own_step=first.own_step or second.own_step,
        )
        shared = [name for name in self.shared if name in other.shared]
        return replace(
            self,
            spec=spec,
            shared=tuple(shared),
            whole=max(self.whole, other.whole),
            block=max(self.block, other.block),
            of_blocks=tuple(dict.fromkeys(self.of_blocks + other.of_blocks)),
        )


@dataclass(frozen=True, eq=False)
class LoopData(TaskData):
    """What is known of the data of loops, which these load themselves."""

    loop: Loop = field(default_factory=lambda: Loop(None))
    """What is known of them all."""

    @property
    def to_choose_by(self) -> int:
        """On how many examples a search or a decision chooses. Raises `UserError` if
        the loop has only those of the test."""
        count = self.loop.validation_examples
        if count is None:
            raise UserError(
                f"{self.spec.name} must not choose by its test set; report validation_accuracy or validation_loss, and say Loop(validation_examples=...)"
            )
        return count
