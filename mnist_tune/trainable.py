"""The `tune.Trainable`: one epoch a step. It knows nothing of gradients, and does not import JAX itself."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from mnist_tune.checkpoint import Checkpoint
from mnist_tune.config import TrialConfig
from mnist_tune.data import Dataset
from mnist_tune.stopping import finite_loss, stop_reason

STATE_FILE = "state.npz"


@dataclass(frozen=True)
class WorkerSettings:
    """How a trial's process runs; the same for all trials of a sweep."""

    state_dir: str
    """Folder of the trials' states, reachable from every node."""
    threads: int | None = 1
    """Threads of XLA's CPU backend; None leaves it to XLA. Two single-threaded trials beat one of two threads."""
    memory_fraction: float | None = None
    """Share of a GPU's memory that this process may take; None leaves it to XLA."""
    compilation_cache: str | None = None
    """Folder of JAX's persistent compilation cache."""


class TrialTrainable(tune.Trainable):  # type: ignore[misc]
    """Trains the trial of `config["trial"]`, an epoch a `step()`.

    The state is saved after every epoch, before the epoch is reported. A trial that finds its own saved state
    (its worker, node or driver was killed) continues from there and first reports that state's row again.
    """

    def setup(self, config: dict[str, Any], dataset: Dataset, settings: WorkerSettings) -> None:
        self._settings = settings
        self._pool = make_pool(dataset, settings)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._pool.detach(self._lane_id)
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        self._pool.detach(self._lane_id)

    def _begin(self, config: dict[str, Any]) -> None:
        values = dict(config["trial"])
        self._lane_id = str(values.pop("trial_id", self.trial_id))
        self._config = TrialConfig.from_dict(values)
        self._loaded: Checkpoint | None = None
        self._attached, self._mark = False, time.perf_counter()

    @property
    def _state_path(self) -> Path:
        return Path(self._settings.state_dir) / f"{self._lane_id}.npz"

    def step(self) -> dict[str, Any]:
        if not self._attached:
            repeated = self._attach()
            if repeated is not None:
                return self._report(repeated, repeated=True)
        row = self._pool.run([self._lane_id])[self._lane_id]
        self._pool.checkpoint(self._lane_id).save(self._state_path)
        return self._report(row)

    def _attach(self) -> dict[str, Any] | None:
        """Attaches the trial's lane; the row to report again where it continues from its own state."""
        own = Checkpoint.load(self._state_path) if self._loaded is None and self._state_path.exists() else None
        self._pool.attach(self._lane_id, self._config, self._loaded or own)
        self._attached = True
        return own.progress.row if own else None

    def _report(self, row: dict[str, Any], repeated: bool = False) -> dict[str, Any]:
        diverged = self._config.stop_when_diverged and row["diverged"]
        reason = stop_reason(row["epoch"], self._config.epochs, diverged)
        now = time.perf_counter()
        wait_s = now - self._mark - row["train_s"] - row["eval_s"] - row["compile_s"]
        self._mark = now
        extra = {"wait_s": max(wait_s, 0.0)} if not repeated else {"wait_s": 0.0}
        extra |= {"learning_rate": self._config.learning_rate, "repeated": repeated}
        extra |= {"stop_reason": reason, "done": bool(reason), "scheduler_loss": finite_loss(row["train_loss"])}
        return row | extra

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        if not self._attached:
            self._attach()
        self._pool.checkpoint(self._lane_id).save(Path(checkpoint_dir) / STATE_FILE)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Continues from a checkpoint of Tune's (a paused trial, or PBT's donor), not from the trial's own state."""
        self._pool.detach(self._lane_id)
        self._attached, self._loaded = False, Checkpoint.load(Path(checkpoint_dir) / STATE_FILE)


def make_pool(dataset: Dataset, settings: WorkerSettings) -> Any:
    """A pool of one lane in this process. JAX reads these variables once, when it is first imported."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    if settings.threads is not None:
        os.environ["PJRT_NPROC"] = str(settings.threads)
    if settings.memory_fraction is not None:
        os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{settings.memory_fraction:.3f}"
    import jax

    from mnist_tune.lanes import LanePool

    if settings.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", settings.compilation_cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return LanePool(dataset)
