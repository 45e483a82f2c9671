"""The state of a trial on disk: arrays with a schema, never a pickle that loading would execute."""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnist_tune.errors import UserError

SCHEMA = 1


@dataclass(frozen=True)
class Progress:
    """What a trial carries besides its arrays."""

    epoch: int
    """Epochs finished; the position in the batch order."""
    untrained_loss: float
    """Mean cross-entropy on the training set before the first step, nats."""
    above_since: int | None
    """See `mnist_tune.training.divergence.left_for_good`."""
    row: dict[str, Any] | None
    """The last epoch's row: reported again by a trial that continues, so that a kill between saving and
    reporting loses nothing."""


@dataclass(frozen=True)
class Checkpoint:
    """A trial at an epoch boundary: named arrays (`.params[0][1]`, ...) and its progress."""

    arrays: dict[str, np.ndarray]
    progress: Progress

    def save(self, path: Path) -> None:
        """Writes atomically: after a kill or on a full disk the file is the former one or this one, whole.

        Raises:
            UserError: the file can't be written.
        """
        meta = {"schema": SCHEMA, "names": list(self.arrays), **asdict(self.progress)}
        members: dict[str, Any] = {f"array_{i:03d}": array for i, array in enumerate(self.arrays.values())}
        members["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, **members)
            os.replace(part, path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise UserError(f"can't save the state of a trial to {path}: {error.strerror}; free space there") from None

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Reads what `save` wrote.

        Raises:
            UserError: the file is damaged or of another schema.
        """
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:  # numpy leaves a damaged one open
                meta = json.loads(file["meta"].tobytes())
                arrays = [file[f"array_{i:03d}"] for i in range(len(meta["names"]))]
            if meta.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            names = meta.pop("names")
            return cls(dict(zip(names, arrays, strict=True)), Progress(**meta))
        except (LookupError, TypeError, ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is not a trial's state ({error}); remove it to train that trial anew") from None
