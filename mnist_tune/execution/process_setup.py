"""The set-up of a process that trains: its settings, JAX, and its pool of lanes. JAX is
imported only when needed."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from mnist_tune.cache import programs_folder
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.loop import Loop
from mnist_tune.machine import processor_model
from mnist_tune.own_code.loading import register_own
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.storage import Place

CACHE_BYTES = 2**30
"""Size at which JAX's compilation cache drops its oldest programs. A limit also makes
JAX lock the files, so that processes that start together never read a half-written
one."""
LOCK_S = 10.0
"""Seconds for which another process's lock of the compilation cache is waited for, as
JAX does."""


@dataclass(frozen=True)
class WorkerSettings:
    """The settings that all training processes of a sweep share."""

    states: Place = Path()
    """Folder of the trials' states, reachable from every node."""
    token: str = ""
    """The content of a file in that folder. If a node finds another content, it does
    not see the same folder."""
    threads: int | None = 1
    """Threads of XLA's CPU backend; None lets XLA choose."""
    memory_fraction: float | None = None
    """Share of a GPU's memory that this process may take; None lets XLA choose."""
    cache_dir: str | None = None
    """Folder of the compilation cache; nodes that can't write to it use a temporary
    folder."""
    lanes: Any = None
    """The actor that assigns lanes; None trains in the trial's own process."""
    train_evaluation: int | None = None
    """How many training images an evaluation uses, at most; None uses all."""
    sharpness: SharpnessSettings | None = None
    """When the sharpness of trials is measured; None never does."""
    report_every: int | None = None
    """Steps between two reports of a trial; None is an epoch."""
    save_every: int = 1
    """A trial's state is saved after every so many reports."""
    best_by: Ranking | None = None
    """What a trial's best epoch is told by, whose parameters are kept; None keeps
    none."""
    hang_s: float = 0.0
    """The seconds that an epoch may take in any case; 0 is for ever."""
    data_memory: float | None = None
    """Bytes of a device's memory that the data may take; None is half of a GPU's."""
    loop: Loop | None = None
    """What is known of the loops that trials train; None for networks and tasks."""
    gpus: float = 0.0
    """The GPUs that Ray gives the process of such a trial."""
    umask: int | None = None
    """The user's umask: a Ray that a sweep starts has a stricter one. None keeps the
    process's own."""


@dataclass(frozen=True)
class Shared:
    """Ray's references to what all processes of a sweep load, whatever its size.

    It is no part of the settings, which a lane server is started with. Ray starts an
    actor anew with its first arguments, and promises only for small ones that they are
    still there.
    """

    own_code: Any
    """The user's networks, optimisers, tasks and loops, as `own_code()` returns them."""
    dataset: Any

    def register_code(self) -> None:
        """Register the user's code in this process."""
        import ray

        register_own(ray.get(self.own_code))

    def load_data(self) -> Any:
        """Return the data set. The user's code has to be registered: the types of a
        task's batch may be the user's own."""
        import ray

        return ray.get(self.dataset)


def make_pool(dataset: Any, settings: WorkerSettings, capacity: int = 1) -> Any:
    """Configure JAX and return a `LanePool` for a data set of this process, or for the
    shared one, whose code is registered first."""
    if settings.umask is not None:
        os.umask(settings.umask)
    configure_jax(settings)
    from mnist_tune.execution.pool import LanePool

    if isinstance(dataset, Shared):
        dataset.register_code()
        dataset = dataset.load_data()
    return LanePool(
        dataset,
        capacity,
        settings.train_evaluation,
        settings.sharpness,
        settings.hang_s,
        settings.data_memory,
        settings.report_every,
        settings.best_by,
    )


def configure_jax(settings: WorkerSettings) -> None:
    """Set the environment variables that JAX reads when its backend starts, its
    compilation cache, and how it lowers convolutions."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    if settings.threads is not None:
        os.environ["PJRT_NPROC"] = str(settings.threads)
    if settings.memory_fraction is not None:
        os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{settings.memory_fraction:.3f}"
    import jax

    from mnist_tune.training.convolutions_in_loops import speed_up_convolutions

    speed_up_convolutions()
    if settings.cache_dir is not None:
        # Code compiled for one processor may not run on another that shares the folder.
        processor = re.sub(r"\W+", "-", processor_model()).strip("-")
        folder = programs_folder(Path(settings.cache_dir)) / processor
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def remove_unfinished(cache: Path) -> None:
    """Remove what killed processes were writing to JAX's compilation cache.

    JAX writes a program, then the time of its last use. Where that time is missing, it
    can't drop the oldest programs, so it stores no others.
    """
    # a Timeout is an OSError, too
    with suppress(OSError), FileLock(cache / ".lockfile", timeout=LOCK_S):
        for program in cache.glob("*-cache"):
            name = program.name.removesuffix("-cache")
            last_use = program.with_name(f"{name}-atime")
            if not last_use.exists():
                program.unlink(missing_ok=True)
