"""Ray, started quietly."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from mnist_tune.cache import writable_cache_folder
from mnist_tune.errors import UserError
from mnist_tune.machine import usable_cpus
from mnist_tune.runtime.ray_connect import connect

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # sweeps resume from their own journal, not from Tune's state
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Workers that Ray starts beforehand fit no trial of Tune's, whose actors have a runtime environment.
    "RAY_prestart_worker_first_driver": "0",
    # Ray warns, on standard output, once 4 times so many processes have started; lanes have several clients a core.
    "RAY_worker_maximum_startup_concurrency": str(3 * usable_cpus()),
}
"""Ray's own variables, for as long as a sweep runs; what the user has set stands."""

SILENT: Mapping[str, Any] = {"logging_level": "error", "log_to_driver": False}

TRIALS = {"RAY_CHDIR_TO_TRIAL_DIR": "0"}
"""Variables that Tune hands on to its trials. Ray is not started with them: they would reach the trials of a user's own
Tuner on the same Ray, too."""

PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
"""Trials that Tune keeps ready to start. A freed worker gets any of them, so that of Tune's 200 none would start in
the order asked for."""

TRIAL_SLOT = "trial_slot"
"""Resource that limits the trials at a time; Tune's own limit would start an actor anew for each trial."""


@contextmanager
def variables(values: Mapping[str, str], override: bool = False) -> Iterator[None]:
    """Sets environment variables for a while: a user's own Tuner in the same process must not meet ours.

    Args:
        values: by name.
        override: also those that are set already.
    """
    changed = {name: os.environ.get(name) for name in values if override or name not in os.environ}
    os.environ.update({name: values[name] for name in changed})
    try:
        yield
    finally:
        for name, before in changed.items():
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = before


@contextmanager
def deaths_told_by_us() -> Iterator[None]:
    """Keeps off the terminal what Ray and Tune print of processes and nodes that died (dumps of a raylet's state, lists
    of Tune's ids) for as long as `NodeWatch` and the tables tell of them. Ray's variable for it is read on import."""
    from ray._private.ray_logging import stdout_deduplicator as printed

    logger = logging.getLogger("ray.tune.tune")
    before, level = printed.skip_re, logger.level
    printed.skip_re = re.compile("^A worker died or was killed|marked dead|^Raylet is terminated")
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        printed.skip_re = before
        logger.setLevel(level)


@contextmanager
def interrupts_as_before() -> Iterator[None]:
    """Gives Ctrl-C back to whom it belonged: Tune leaves its handler, which would swallow the next one."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def few_pending_trials() -> AbstractContextManager[None]:
    """Keeps as few trials ready as start at a time, one a core."""
    import ray

    return variables({PENDING: str(max(4, int(ray.cluster_resources().get("CPU", 1))))})


def start_ray(address: str | None, max_concurrent: int | None, dashboard: bool, cpus: int | None = None) -> None:
    """Starts Ray on this machine, or joins the cluster at `address`. A running Ray of this process is used.

    Raises:
        UserError: no cluster answers at `address`, it wants its token or other versions, it is one of Ray Client's,
            the dashboard is not installed, or Ray does not start here.
    """
    check_session(address, dashboard)
    import ray

    if ray.is_initialized():
        return
    if address is not None:
        with variables(QUIET):
            connect(address, **SILENT)
        return
    try:
        with variables(QUIET), _package_on_python_path():
            ray.init(
                address="local",
                num_cpus=cpus or usable_cpus(),
                resources={TRIAL_SLOT: max_concurrent} if max_concurrent else None,
                include_dashboard=dashboard,
                dashboard_host="127.0.0.1",
                **SILENT,
            )
    except Exception as error:  # of no kind of its own where its processes take more than half a minute
        raise UserError(
            f"Ray did not start on this machine ({error}); see whether it is very busy, or its disk or memory full, "
            "then try again, with --resume where the sweep's folder has been made"
        ) from error


def check_session(address: str | None, dashboard: bool) -> None:
    """Refuses what can't work, before anything is started.

    Raises:
        UserError: `address` is one of Ray Client's, the dashboard is not installed, or `$MNIST_TUNE_CACHE` can't be
            written.
    """
    writable_cache_folder()
    if address is not None and address.startswith("ray://"):
        raise UserError(
            f"--address {address} is one of Ray Client's, under which a sweep's results would not reach this machine; "
            "run the sweep on the cluster: ray job submit --working-dir . -- python sweeps/... --address auto"
        )
    if dashboard and importlib.util.find_spec("aiohttp_cors") is None:
        raise UserError("Ray's dashboard is not installed; for it: python -m pip install 'ray[default]'")


def stop_ray(wait: bool = False) -> None:
    """Begins to shut Ray down, which takes over a second; the end of the process waits for it, if not this call."""
    import ray

    if wait:
        ray.shutdown()
    else:
        threading.Thread(target=ray.shutdown).start()


def _package_on_python_path() -> AbstractContextManager[None]:
    """Workers, which inherit the environment of the Ray that is started meanwhile, find this package also in a
    checkout that was not installed. (A runtime environment would do so too, at 0.3 CPU seconds a worker.)"""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return variables({"PYTHONPATH": path}, override=True)
