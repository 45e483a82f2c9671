"""A trial's saved state: arrays with a schema. It is never a pickle, which could run
code when it is loaded."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mnist_tune import storage
from mnist_tune.epoch_row import EpochRow, without_texts
from mnist_tune.errors import UserError, printable
from mnist_tune.execution.memory import Memory
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

SCHEMA = 2

OPTIMIZER = ".optimizer"
"""How the names of the optimiser's arrays begin."""


class DamagedStateError(UserError):
    """A file is not the state of a trial. The trial can only start again from the
    beginning."""


class LanesFullError(UserError):
    """All lanes of a device are taken."""


class DeviceFullError(LanesFullError):
    """A device has no memory for another lane."""


@dataclass(frozen=True)
class Checkpoint:
    """A trial after an epoch: named arrays (`.params[0][1]`, ...), the epoch's row, and
    what the next epoch needs beside them."""

    arrays: dict[str, np.ndarray]
    row: EpochRow
    """A resumed trial reports it again, in case it was killed between saving and
    reporting."""
    config: TrialConfig | None = None
    """What it was trained with, which a scheduler may have changed; None in states of
    older versions."""
    memory: Memory | None = None
    """None is what follows from the row alone."""

    def without_optimizer(self) -> Checkpoint:
        """Return what predicts: the parameters and the state of the network."""
        arrays = {}
        for name, array in self.arrays.items():
            if not name.startswith(OPTIMIZER):
                arrays[name] = array
        return replace(self, arrays=arrays)

    def save(self, where: Place) -> None:
        """Write the state atomically: after a kill, or on a full disk, the file holds
        the old or the new state. Raises `UserError` if it can't be written.

        After a power cut, too, if its epoch was no shorter than the time between two
        syncs of the rows. The state of a shorter one would be newer than the rows that
        are left, and of no use.
        """
        members: dict[str, Any] = {}
        types = {}
        for number, (name, array) in enumerate(self.arrays.items()):
            members[f"array_{number:03d}"] = array
            if array.dtype.kind == "V":
                types[name] = array.dtype.name
        meta = {
            "schema": SCHEMA,
            "names": list(self.arrays),
            "row": self.row.stored(),
            "memory": self.memory.stored() if self.memory else {},
            "config": self.config and self.config.to_dict(),
            "types": types,
        }
        members["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **members)
        sync = (self.row.batch_s or 0) >= storage.SYNC_S
        what = f"save the state of a trial to {where}"
        with storage.attempt(what, "; free space there"):
            storage.write(where, file.getvalue(), storage.PATIENCE_S, sync)

    @classmethod
    def load(cls, where: Place) -> Checkpoint | None:
        """Return what `save` wrote, or None if there is no such file, or a power cut
        left it empty, or only zeros. Raises `UserError` if it can't be read;
        DamagedStateError if it is damaged, has another schema, or was never a state."""
        with storage.attempt(f"read the state of a trial from {where}"):
            content = storage.read(where, storage.PATIENCE_S)
        if content is None:
            return None
        zeros = content.count(0)  # without a copy
        if zeros == len(content):
            return None
        # zipfile, numpy and json raise many kinds for files that they can't read
        try:
            return _parsed(content)
        except Exception as error:
            what = f"{where} is not a trial's state ({error})"
            raise DamagedStateError(what) from None


def _parsed(content: bytes) -> Checkpoint:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        meta = json.loads(file["meta"].tobytes())
        if meta["schema"] != SCHEMA:
            raise ValueError("another schema")
        arrays = {}
        for number, name in enumerate(meta["names"]):
            arrays[name] = file[f"array_{number:03d}"]
    for name, type_name in meta["types"].items():
        arrays[name] = arrays[name].view(_small_float(type_name))
    row = EpochRow.of(printable(without_texts(meta["row"])))
    # in older versions, the row held it, too
    memory = Memory.after(row, meta.get("memory", meta["row"]))
    config = None
    if meta.get("config"):
        config = TrialConfig(**meta["config"])
    return Checkpoint(arrays, row, config, memory)


def _small_float(name: str) -> np.dtype[Any]:
    """Return a type such as bfloat16, which NumPy stores as bytes of no meaning."""
    import ml_dtypes  # JAX's; imported only where it is needed

    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return dtype
