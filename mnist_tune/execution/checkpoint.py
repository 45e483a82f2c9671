"""A trial's saved state: arrays with a schema. It is never a pickle, which could run code when it is loaded."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np

from mnist_tune import storage
from mnist_tune.columns import EPOCHS, first_wrong
from mnist_tune.errors import UserError
from mnist_tune.storage import Place

SCHEMA = 1


class DamagedStateError(UserError):
    """A file is not the state of a trial. The trial can only start again from the beginning."""


class LanesFullError(UserError):
    """All lanes of a device are taken."""


class DeviceFullError(LanesFullError):
    """A device has no memory for another lane."""


class StateLostError(Exception):
    """The device ran out of memory in a call that the stacked state was donated to: all its lanes are lost."""


@dataclass(frozen=True)
class Progress:
    """A trial's progress, which is saved with its arrays."""

    epoch: int
    """Epochs finished. This is also the position in the batch order."""
    untrained_loss: float
    """Mean loss on the training set before the first step."""
    above_since: int | None
    """Step since which the loss is above `untrained_loss` (`mnist_tune.execution.epoch_row.left_for_good`)."""
    row: dict[str, Any] | None
    """The last epoch's row. A resumed trial reports it again, in case it was killed between saving and reporting."""


@dataclass(frozen=True)
class Checkpoint:
    """A trial at an epoch boundary: named arrays (`.params[0][1]`, ...) and its progress."""

    arrays: dict[str, np.ndarray]
    progress: Progress

    def save(self, where: Place) -> None:
        """Write the state atomically: after a kill, or on a full disk, the file holds the old or the new state.

        Raises:
            UserError: the file can't be written.
        """
        meta = {"schema": SCHEMA, "names": list(self.arrays), **asdict(self.progress)}
        meta["types"] = {name: array.dtype.name for name, array in self.arrays.items() if array.dtype.kind == "V"}
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
        """Return what `save` wrote, or None if there is no such file.

        Raises:
            DamagedStateError: the file is damaged, has another schema, or was never a state.
            UserError: the file can't be read.
        """
        with _reading(where):
            content = storage.read(where, storage.PATIENCE_S)
        if content is None:
            return None
        with _parsing(where, io.BytesIO(content)) as file:
            names, types, progress = _meta(file)
            arrays = [file[f"array_{i:03d}"] for i in range(len(names))]
            if not all(isinstance(array, np.ndarray) for array in arrays):
                raise ValueError("it holds something that is not an array")
            named = dict(zip(names, arrays, strict=True))
            return cls(named | {name: named[name].view(_small_float(kind)) for name, kind in types.items()}, progress)


def saved_epochs(where: Place) -> int:
    """Return the number of finished epochs in a saved state, without reading its arrays; 0 if there is no such file.

    Raises:
        UserError: as in `Checkpoint.load`.
    """
    try:
        with _reading(where), storage.open_file(where) as raw, _parsing(where, raw) as file:
            return _meta(file)[2].epoch
    except FileNotFoundError:
        return 0


@contextmanager
def _reading(where: Place) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"can't read the state of a trial from {where}: {storage.reason(error)}") from None


@contextmanager
def _parsing(where: Place, raw: IO[bytes]) -> Iterator[Mapping[str, np.ndarray]]:
    """Yield the arrays of a file; each is read when it is accessed."""
    try:
        _check_size(raw)
        with np.load(raw, allow_pickle=False) as file:
            yield file
    except OSError:
        raise
    except Exception as error:  # zipfile, numpy and json raise many kinds for files that they can't read
        raise DamagedStateError(f"{where} is not a trial's state ({error})") from None


def _check_size(raw: IO[bytes]) -> None:
    """Refuse a file that unpacks to more than its own size, which could fill the memory. Ours are uncompressed."""
    with zipfile.ZipFile(raw) as members:
        claimed = sum(member.file_size for member in members.infolist())
    if claimed > raw.seek(0, io.SEEK_END):
        raise ValueError(f"it claims to hold {claimed} bytes")
    raw.seek(0)


def _meta(file: Mapping[str, np.ndarray]) -> tuple[list[str], dict[str, str], Progress]:
    """Return the names of the arrays, the types of those whose type NumPy does not know, and the progress."""
    meta = json.loads(file["meta"].tobytes())
    if meta.pop("schema") != SCHEMA:
        raise ValueError("another schema")
    return meta.pop("names"), meta.pop("types", {}), _progress(**meta)


def _small_float(name: str) -> np.dtype[Any]:
    """Return a type such as bfloat16, which NumPy stores as bytes of no meaning."""
    import ml_dtypes  # JAX's; imported only where it is needed

    if not re.fullmatch("(bfloat|float)[0-9a-z_]+", name):
        raise ValueError(f"{name[:20]!r} is no type of an array")
    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return found


def _progress(epoch: int, untrained_loss: float, above_since: int | None, row: dict[str, Any] | None) -> Progress:
    since = 1 if above_since is None else above_since
    if type(epoch) is not int or type(since) is not int or not isinstance(untrained_loss, float) or epoch < 0:
        raise ValueError("its progress does not hold numbers")
    if epoch and (not isinstance(row, dict) or row.get("epoch") != epoch):
        raise ValueError("its row is not the row of its last epoch")
    if row and (bad := first_wrong(row, EPOCHS[1:])):  # all columns but the first, trial_id
        raise ValueError(f"{bad} in its row is missing or has the wrong type")
    return Progress(epoch, untrained_loss, above_since, row)
