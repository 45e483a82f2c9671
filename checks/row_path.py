"""Which files of the package does an epoch's row pass, from the training step to the journal?

    python checks/row_path.py

It trains one trial of a tiny network in a process, with the default scheduler, and follows the row of an epoch in its
middle with `sys.setprofile`. The path begins in the trial's process, when the losses of the epoch's steps are on the
host (`BEGIN` returns them). It ends in the driver, when the row's line is written to the journal.

A file counts if one of its functions is called or returns in between, and has the row among its arguments or results.
So functions that were on the stack when the path began count once they return. The row is:

- the losses of the steps, and views of them,
- any dictionary with the row's values, also within lists, tuples, dictionaries and dataclasses, and as a line of JSON,
- one of the row's own numbers, if it has a fractional part.

A dataclass counts as its file, since its methods are made by Python. The first and the last epoch of a trial, a stop
that ASHA proposes, and rows that a resume repeats take longer ways; saving runs in a thread. They are not followed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import numpy as np

import mnist_tune
from mnist_tune import DataSpec, Network, SweepOptions, TrialConfig, cli, register, run_sweep
from mnist_tune.runtime.ray_session import stop_ray
from mnist_tune.training.architectures import architecture

BEGIN = "execution/executor.py", "train"
"""The file and the function that returns the losses of an epoch's steps."""
KEY = "step_loss_first"
"""A value that every row has, and no two rows share."""
EPOCHS, FOLLOWED = 4, 2
"""Epochs of the trial, and the one whose row is followed."""
ROOT = Path(mnist_tune.__file__).parent
DEPTH = 4
"""How far containers are looked into."""


@dataclass(frozen=True, kw_only=True)
class RowPath:
    """Prints the files of the package that an epoch's row passes."""

    most: int | None = None
    """The exit code is 1 if there are more files than this."""


class Follower:
    """A profiler of one thread, which notes the files that a row passes.

    Args:
        begun: whether the path has begun before; else `BEGIN` begins it.
        write: where the files go, as JSON, after each epoch; None writes none.
    """

    def __init__(self, begun: bool, write: Path | None = None) -> None:
        self.files: dict[str, str] = {}
        """The function by which the row came to each file first."""
        self._following, self._write = begun, write
        self._losses: np.ndarray | None = None
        self._mark: float | None = None
        self._numbers: set[float] = set()
        self._epoch = 0

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        if event == "c_call":
            writes = value.__name__ == "write" and str(getattr(value.__self__, "name", "")).endswith("journal.jsonl")
            if writes and self._mark is not None:
                sys.setprofile(None)  # the line is written
            return
        if event not in ("call", "return") or (name := file_of(frame)) is None:
            return
        if event == "return" and (name, frame.f_code.co_name) == BEGIN:
            self.files, self._following, self._losses, self._mark = {}, True, value, float(value.ravel()[0])
        if not self._following:
            return
        values = [value] if event == "return" else list(frame.f_locals.values())
        if any(self._carries(one, DEPTH) for one in values):
            self.files.setdefault(name, frame.f_code.co_name)
            if event == "return" and self._write and self._epoch and frame.f_back and not file_of(frame.f_back):
                self._write.with_name(f"{self._epoch}.json").write_text(json.dumps(self.files))
                self._following = False

    def _carries(self, value: Any, depth: int) -> bool:
        """Return whether a value is the row, or holds it."""
        if isinstance(value, np.ndarray):
            return self._losses is not None and np.may_share_memory(value, self._losses)
        if type(value) is float:
            return value in self._numbers
        if isinstance(value, str):
            return f'"{KEY}": {self._mark!r}' in value
        if isinstance(value, Mapping) and KEY in value:
            return self._is_the_row(value)
        if not depth:
            return False
        if is_dataclass(value) and not isinstance(value, type):
            parts = [vars(value).get(field.name) for field in fields(value)] if hasattr(value, "__dict__") else []
        elif isinstance(value, (list, tuple)):
            parts = list(value)
        else:
            parts = list(value.values()) if type(value) is dict else []
        return any(self._carries(part, depth - 1) for part in parts[:50])

    def _is_the_row(self, row: Mapping[str, Any]) -> bool:
        if self._mark is None and row.get("epoch") == FOLLOWED:
            self._mark = row[KEY]  # in the driver
        if row[KEY] != self._mark:
            return False
        self._epoch = int(row["epoch"])
        self._numbers |= {one for one in row.values() if type(one) is float and not one.is_integer()}
        return True


def file_of(frame: FrameType) -> str | None:
    """Return a function's file in the package, or that of its dataclass; None if it is not of the package."""
    name = frame.f_code.co_filename
    if name == "<string>" and "self" in frame.f_locals:
        name = getattr(sys.modules.get(type(frame.f_locals["self"]).__module__), "__file__", None) or name
    root = f"{ROOT.as_posix()}/"
    return name.removeprefix(root) if name.startswith(root) else None


def followed_network(folder: Path) -> Callable[[DataSpec], Network]:
    """Return a factory of a tiny network. Where it is called first, a trial's process, it follows the rows."""

    def factory(data: DataSpec) -> Network:
        if sys.getprofile() is None:
            sys.setprofile(Follower(begun=False, write=folder / "rows"))
        return architecture("mlp-8-tanh", data)

    return factory


def measure() -> dict[str, dict[str, str]]:
    """Train a trial, and return the files that its row passes, by process."""
    with TemporaryDirectory(prefix="row_path-") as name:
        folder = Path(name)
        register("followed")(followed_network(folder))
        config = TrialConfig(architecture="followed", learning_rate=0.1, epochs=EPOCHS)
        driver = Follower(begun=True)
        options = SweepOptions(dataset="mnist-5k", output=folder / "sweep", execution="process", quiet=True)
        sys.setprofile(driver)
        try:
            run_sweep("row_path", [config], options)
        finally:
            sys.setprofile(None)
            stop_ray()
        trial = json.loads((folder / f"{FOLLOWED}.json").read_text())
    return {"the trial's process": trial, "the driver": driver.files}


def main() -> int:
    config = cli.parse(RowPath)
    found = measure()
    for process, files in found.items():
        print(f"in {process}:")
        print("\n".join(f"    {file} ({function})" for file, function in files.items()))
    count = len({file for files in found.values() for file in files})
    print(f"{count} files")
    return int(config.most is not None and count > config.most)


if __name__ == "__main__":
    cli.run(main)
