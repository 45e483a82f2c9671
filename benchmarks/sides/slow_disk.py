"""A trial with a state of 256 MB on a disk that takes long for a write, as its process trains it, but without Ray.

It keeps its rows in the file `rows`, by the rule of a sweep's writer, and goes on from what an earlier run has left.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mnist_tune import TrialConfig, storage
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.tuning import trainable


def train(folder: Path, epochs: int, batch_size: int, write_s: float) -> None:
    """Train the trial to its end."""

    def slow(where: Any, *rest: Any) -> None:
        time.sleep(write_s)
        write(where, *rest)

    write, without_ray = storage.write, {"ray": SimpleNamespace(get=lambda data: data), "blindness": lambda *where: ""}
    vars(storage)["write"] = slow
    vars(trainable).update(without_ray)
    config = TrialConfig(architecture="mlp-40000-tanh", momentum=0.9, epochs=epochs, batch_size=batch_size)
    data = load_dataset("mnist-5k", train_images=1000)
    trial = object.__new__(trainable.TrialTrainable)
    trial._trial_info = None
    trial.setup({"trial": config.to_dict() | {"trial_id": "a"}}, [data], WorkerSettings(folder))
    done, last = False, max((row["epoch"] for row in read_rows(folder)), default=0)
    with (folder / "rows").open("a") as file:
        while not done:
            row = trial.step()
            done = row["done"]
            if row["epoch"] > last:
                kept = {name: value for name, value in row.items() if isinstance(value, (int, float))}
                file.write(json.dumps(kept | {"ended_at": time.time()}) + "\n")
                file.flush()
                last = row["epoch"]
    trial.cleanup()


def read_rows(folder: Path) -> list[dict[str, float]]:
    """Return the rows that were kept. A last line that a kill cut short counts as lost."""
    path = folder / "rows"
    if not path.exists():
        return []
    whole, _, torn = path.read_bytes().rpartition(b"\n")
    if torn:
        path.write_bytes(whole + b"\n")
    return [json.loads(line) for line in whole.splitlines()]


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
