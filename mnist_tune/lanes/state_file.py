"""The state of a trial on disk: arrays with a schema, never a pickle that loading would execute."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.storage import Place

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

    def save(self, where: Place) -> None:
        """Writes atomically: after a kill or on a full disk the file is the former one or this one, whole.

        Raises:
            UserError: the file can't be written.
        """
        meta = {"schema": SCHEMA, "names": list(self.arrays), **asdict(self.progress)}
        members: dict[str, Any] = {f"array_{i:03d}": array for i, array in enumerate(self.arrays.values())}
        members["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **members)
        try:
            storage.write(where, file.getvalue(), storage.PATIENCE_S)
        except OSError as error:
            raise UserError(
                f"can't save the state of a trial to {where}: {storage.reason(error)}; free space there"
            ) from None

    @classmethod
    def load(cls, where: Place) -> Checkpoint | None:
        """Reads what `save` wrote; None where there is no such file.

        Raises:
            UserError: the file is damaged or of another schema.
        """
        with _damage_told(where):
            content = storage.read(where, storage.PATIENCE_S)
            if content is None:
                return None
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                names, progress = _meta(file)
                arrays = [file[f"array_{i:03d}"] for i in range(len(names))]
            return cls(dict(zip(names, arrays, strict=True)), progress)


def saved_epochs(where: Place) -> int:
    """Epochs that the trial whose state this is had finished, read without its arrays; 0 where there is no such file.

    Raises:
        UserError: as `Checkpoint.load`.
    """
    try:
        with _damage_told(where), storage.open_file(where) as raw, np.load(raw, allow_pickle=False) as file:
            return _meta(file)[1].epoch
    except FileNotFoundError:
        return 0


def _meta(file: Mapping[str, np.ndarray]) -> tuple[list[str], Progress]:
    """Names of the arrays, and the progress."""
    meta = json.loads(file["meta"].tobytes())
    if meta.pop("schema") != SCHEMA:
        raise ValueError("another schema")
    return meta.pop("names"), Progress(**meta)


@contextmanager
def _damage_told(where: Place) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (LookupError, TypeError, ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise UserError(f"{where} is not a trial's state ({error}); remove it to train that trial anew") from None
