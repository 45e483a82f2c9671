"""The state of a trial on disk: arrays with a schema, never a pickle that loading would execute."""

from __future__ import annotations

import io
import json
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
    """A file is not the state of a trial; the trial can only begin anew."""


class StateLostError(Exception):
    """The device ran out of memory in a call that had been given the stacked state: its lanes are gone."""


@dataclass(frozen=True)
class Progress:
    """What a trial carries besides its arrays."""

    epoch: int
    """Epochs finished; the position in the batch order."""
    untrained_loss: float
    """Mean cross-entropy on the training set before the first step, nats."""
    above_since: int | None
    """See `mnist_tune.regimes.divergence.left_for_good`."""
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
            DamagedStateError: the file is damaged, of another schema, or was never a state.
            UserError: it can't be read.
        """
        with _reading(where):
            content = storage.read(where, storage.PATIENCE_S)
        if content is None:
            return None
        with _parsing(where, io.BytesIO(content)) as file:
            names, progress = _meta(file)
            arrays = [file[f"array_{i:03d}"] for i in range(len(names))]
            if not all(isinstance(array, np.ndarray) for array in arrays):
                raise ValueError("it holds what is no array")
            return cls(dict(zip(names, arrays, strict=True)), progress)


def saved_epochs(where: Place) -> int:
    """Epochs that the trial whose state this is had finished, read without its arrays; 0 where there is no such file.

    Raises:
        UserError: as `Checkpoint.load`.
    """
    try:
        with _reading(where), storage.open_file(where) as raw, _parsing(where, raw) as file:
            return _meta(file)[1].epoch
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
    """The arrays of a file, each read when it is asked for."""
    try:
        _check_size(raw)
        with np.load(raw, allow_pickle=False) as file:
            yield file
    except OSError:
        raise
    except Exception as error:  # of whatever kind zip, numpy and JSON have for what they can't read
        raise DamagedStateError(f"{where} is not a trial's state ({error})") from None


def _check_size(raw: IO[bytes]) -> None:
    """Arrays are stored as they are: what claims to unpack to more than the file holds would fill the memory."""
    with zipfile.ZipFile(raw) as members:
        claimed = sum(member.file_size for member in members.infolist())
    if claimed > raw.seek(0, io.SEEK_END):
        raise ValueError(f"it claims to hold {claimed} bytes")
    raw.seek(0)


def _meta(file: Mapping[str, np.ndarray]) -> tuple[list[str], Progress]:
    """Names of the arrays, and the progress."""
    meta = json.loads(file["meta"].tobytes())
    if meta.pop("schema") != SCHEMA:
        raise ValueError("another schema")
    return meta.pop("names"), _progress(**meta)


def _progress(epoch: int, untrained_loss: float, above_since: int | None, row: dict[str, Any] | None) -> Progress:
    since = 1 if above_since is None else above_since
    if type(epoch) is not int or type(since) is not int or not isinstance(untrained_loss, float) or epoch < 0:
        raise ValueError("its progress is not numbers")
    if epoch and (not isinstance(row, dict) or row.get("epoch") != epoch):
        raise ValueError("its row is not that of its epoch")
    if row and (bad := first_wrong(row, EPOCHS[1:])):  # it names no trial
        raise ValueError(f"{bad} of its row is missing or of another kind")
    return Progress(epoch, untrained_loss, above_since, row)
