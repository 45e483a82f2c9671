"""What a data set is, for networks, tasks and training: shape, classes, counts,
scaling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

ARRAYS = "arrays"
"""Stands for data that was given from Python."""


@dataclass(frozen=True)
class TaskSpec:
    """The description of a task's data, and what `sweep.json` keeps of the task."""

    flag: ClassVar[str] = "task"
    """The option that names what is trained."""
    positions: ClassVar[int] = 0
    """Labels of an example."""

    name: str
    """The task's name with its arguments; of several the names, which share their
    data."""
    train_images: int
    """The number of training examples, held-out ones included."""
    test_images: int
    guesses: Mapping[str, float] = field(default_factory=dict)
    """The loss of the best constant answer, by the name of each task that says it."""
    chance: float | None = None
    """The accuracy of guessing, if the task says it: labels then follow its
    accuracy."""
    scores: tuple[str, ...] = ()
    """What `score` returns beside loss and accuracy."""
    lane_bytes: int = 0
    """The memory that a lane takes on a device, beside activations; 0 is unknown."""
    own_step: bool = False
    """Whether a step is the task's own, so that `loss` may mean nothing."""

    @property
    def by_accuracy(self) -> bool:
        """Whether labels follow an accuracy."""
        return self.chance is not None


@dataclass(frozen=True)
class LoopSpec(TaskSpec):
    """The description of what a loop trains on, as far as the loop says it."""

    flag: ClassVar[str] = "loop"


@dataclass(frozen=True)
class DataSpec:
    """The description of a data set; the factory of a network gets it."""

    flag: ClassVar[str] = "architecture"
    by_accuracy: ClassVar[bool] = True
    own_step: ClassVar[bool] = False
    lane_bytes: ClassVar[int] = 0

    name: str
    """What tables call it. The user's own data never have the name of a built-in
    set."""
    shape: tuple[int, ...]
    """The shape of an example: `(28, 28)` for MNIST, `(32, 32, 3)` for colour images,
    `(20,)` for a table's rows."""
    label_counts: tuple[int, ...]
    """The number of labels of each class in the training set."""
    test_images: int
    """The number of test examples."""
    divisor: float = 1.0
    """Examples are divided by it on the device: by 255 or 65535 where they are whole
    numbers."""
    mean: tuple[float, ...] = ()
    """What is then subtracted, where `--standardize` asks for it: a number, or one a
    channel or feature."""
    deviation: tuple[float, ...] = ()
    """And what the difference is divided by."""
    positions: int = 1
    """Labels of an example. More than one are those of its tokens: examples [n, T] of
    whole numbers, labels [n, T]."""
    tokens: int = 0
    """One more than the largest token or label, the rows that an embedding needs; 0 if
    examples are no tokens."""

    @property
    def classes(self) -> int:
        return len(self.label_counts)

    @property
    def train_images(self) -> int:
        """The number of training examples, held-out ones included."""
        return sum(self.label_counts) // self.positions

    @property
    def size(self) -> int:
        return math.prod(self.shape)
