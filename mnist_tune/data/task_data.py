"""The data of a task: what its `data()` returns, checked, as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mnist_tune.data_spec import TaskSpec


@dataclass(frozen=True, eq=False)
class TaskData:
    """The examples of a task. A process that trains none has `held` alone."""

    spec: TaskSpec
    train: Any = None
    """A tree of arrays with one leading axis."""
    test: Any = None
    checksums: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each part."""
    held: Any = None
    """Ray's reference to the whole of it."""

    source, note, target = None, "", None

    @property
    def name(self) -> str:
        return self.spec.name
