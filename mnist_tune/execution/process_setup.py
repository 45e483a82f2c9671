"""A process that trains: its settings, and the pool of lanes that it holds. JAX is imported here, not before."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_tune.cache import writable_or_temporary
from mnist_tune.machine import processor_model
from mnist_tune.storage import Place

CACHE_BYTES = 2**30
"""Of compiled programs on disk, of which JAX drops the oldest beyond that; with a limit it also locks the files, so
that processes that start together never read one another's half-written ones."""


@dataclass(frozen=True)
class WorkerSettings:
    """How the processes of a sweep run; the same for all."""

    states: Place
    """Folder of the trials' states, reachable from every node."""
    token: str = ""
    """In a file of that folder; without it there, this node sees another one."""
    threads: int | None = 1
    """Threads of XLA's CPU backend; None leaves it to XLA."""
    memory_fraction: float | None = None
    """Share of a GPU's memory that this process may take; None leaves it to XLA."""
    cache_dir: str | None = None
    """Folder that keeps compiled programs between runs; nodes on which it can't be written use a temporary one."""
    lanes: str | None = None
    """Prefix of the names of the lane servers; None trains in the trial's own process."""
    train_evaluation: int | None = None
    """The most training images that an evaluation looks at; None is all."""


def make_pool(dataset: Any, settings: WorkerSettings, capacity: int = 1) -> Any:
    """A `LanePool` of a `Dataset` in this process."""
    configure_jax(settings)
    from mnist_tune.execution.pool import LanePool

    return LanePool(dataset, capacity, settings.train_evaluation)


def configure_jax(settings: WorkerSettings) -> None:
    """Sets what JAX reads once: the environment before its backend starts, and the compilation cache."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    if settings.threads is not None:
        os.environ["PJRT_NPROC"] = str(settings.threads)
    if settings.memory_fraction is not None:
        os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{settings.memory_fraction:.3f}"
    import jax

    if settings.cache_dir is not None:
        # Code compiled for one processor may not run on another that shares the folder.
        processor = re.sub(r"\W+", "-", processor_model()).strip("-")
        folder = writable_or_temporary(Path(settings.cache_dir)) / "xla" / processor
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
