"""Start and stop Ray without its usual output."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mnist_tune import invocation
from mnist_tune.cache import own_folder, writable_cache_folder
from mnist_tune.errors import UserError
from mnist_tune.machine import usable_cpus
from mnist_tune.terminal import announce, note, warning

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # `check_metric` has; a trial that failed has no score of its task
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # sweeps resume from their own journal, not from Tune's state
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Tune's actors have a runtime environment, so they can't use workers that Ray
    # starts in advance.
    "RAY_prestart_worker_first_driver": "0",
    # Ray prints a warning once 4 times this many processes have started. With lanes,
    # each core has several clients.
    "RAY_worker_maximum_startup_concurrency": str(3 * usable_cpus()),
}
"""Environment variables of Ray during a sweep. Those that the user has set are kept."""

_log = logging.getLogger(__name__)

SILENT: Mapping[str, Any] = {"logging_level": "error", "log_to_driver": False}

TRIALS = {"RAY_CHDIR_TO_TRIAL_DIR": "0"}
"""Environment variables that Tune passes to its trials. Ray is not started with them: a
user's own Tuner on the same Ray would get them, too."""

PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
"""The number of trials that Tune keeps ready to start; we set about one per core. A
free worker gets any of them, so with Tune's default of 200, trials would start in
random order. With its default of 1 for searchers, the trials of a search would start
one after the other."""

TRIAL_SLOT = "trial_slot"
"""A Ray resource that limits concurrent trials. With Tune's own limit every trial would
start a new actor."""

_SOCKET = "/session_2026-11-28_06-30-00_123456_1234567/sockets/plasma_store.1"
LONGEST = 107 - len(_SOCKET)
"""The most bytes of the name of the folder of Ray's sessions: a socket's name may have
107."""

REACH_S = 5.0
"""Seconds within which the cluster's port must accept a connection."""


@contextmanager
def variables(values: Mapping[str, str], override: bool = False) -> Iterator[None]:
    """Set environment variables and restore them on exit, so that a user's own Tuner in
    this process gets none of them. Those that are set already change only with
    `override`."""
    changed = {}
    for name, value in values.items():
        if override or name not in os.environ:
            changed[name] = os.environ.get(name)
            os.environ[name] = value
    try:
        yield
    finally:
        for name, before in changed.items():
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = before


@contextmanager
def failures_told_by_us() -> Iterator[None]:
    """Silence what Ray and Tune print about dead processes and nodes, which `NodeWatch`
    announces, and about a disk on which Tune can't save its own state: the sweep says
    so of its files there."""
    from mnist_tune.runtime.ray_private import Replacement, replaced, skipped_lines

    tune = logging.getLogger("ray.tune.tune")
    state = logging.getLogger("ray.tune.execution.experiment_state")
    with (
        skipped_lines("^A worker died or was killed|marked dead|^Raylet is terminated"),
        replaced(
            Replacement(tune, "disabled", True), Replacement(state, "disabled", True)
        ),
    ):
        yield


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End a sweep by SIGTERM as by Ctrl-C, where Ray would abort this process. Restore
    both handlers on exit: Tune leaves its own, which would swallow the next Ctrl-C."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}
    is_main = threading.current_thread() is threading.main_thread()
    if is_main:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        if is_main:
            for number, handler in before.items():
                # it is None if C code has set it
                signal.signal(number, handler or signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Do what Ctrl-C does now, also where a shell had this process ignore it, as it
    does in the background."""
    invocation.TERMINATED.set()
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        handler = signal.default_int_handler
    handler(number, frame)


_in_groups_of_their_own = threading.Event()


def _leave_the_group() -> None:
    if _in_groups_of_their_own.is_set():
        os.setpgrp()


# Python calls it in a child between fork and exec where there is a `preexec_fn`, as
# Ray's processes have.
os.register_at_fork(after_in_child=_leave_the_group)


@contextmanager
def own_process_groups() -> Iterator[None]:
    """Have the processes that are started meanwhile leave this process's group. A signal
    to the group, as `timeout` sends it, then ends this process, which ends them: without
    Ray's it would wait for a minute, and print no table."""
    _in_groups_of_their_own.set()
    try:
        yield
    finally:
        _in_groups_of_their_own.clear()


def start_ray(
    address: str | None,
    max_concurrent: int | None,
    dashboard: bool,
    cpus: int | None = None,
) -> None:
    """Start Ray on this machine, or connect to the cluster at `address`. Do nothing if
    this process already has that Ray. Raises `UserError` if it has another one, the
    cluster can't be joined (`_connect`), Ray does not start, or `check_session`
    refuses."""
    check_session(address, dashboard)
    import ray

    from mnist_tune.runtime.ray_private import gcs_address, own_parameters

    if ray.is_initialized():
        if address is None:
            return
        here = ray.get_runtime_context().gcs_address
        if gcs_address(address) != here:
            how = "call ray.shutdown() before the sweep, or leave the address out"
            raise UserError(
                f"--address {address}: this process has a Ray already, at {here}; {how}"
            )
        return
    make_token_private()
    if address is not None:
        with variables(QUIET):
            _connect(address)
        return
    # Ray's workers inherit this environment, and import this package from a checkout
    # that is not installed. (A runtime environment would do the same, but costs 0.3 CPU
    # seconds per worker.)
    folders = [str(Path(__file__).resolve().parents[2])]
    if os.environ.get("PYTHONPATH"):
        folders.append(os.environ["PYTHONPATH"])
    path = os.pathsep.join(folders)
    resources = None
    if max_concurrent:
        resources = {TRIAL_SLOT: max_concurrent}
    try:
        with (
            variables(QUIET),
            variables(
                {"PYTHONPATH": path, "RAY_TMPDIR": str(session_folder())}, override=True
            ),
            private_files(),
            own_parameters(dashboard),
            own_process_groups(),
            warnings.catch_warnings(),
        ):
            # JAX warns of a deadlock where it runs already, but Ray's processes are
            # forks that start another program.
            warnings.filterwarnings(
                "ignore", r"os\.fork\(\) was called", RuntimeWarning
            )
            ray.init(
                address="local",
                num_cpus=cpus or usable_cpus(),
                resources=resources,
                include_dashboard=dashboard,
                dashboard_host="127.0.0.1",
                **SILENT,
            )
    except Exception as error:
        # Ray raises a bare Exception if its processes take more than half a minute
        raise UserError(
            f"Ray did not start on this machine ({_line(error)}); check whether it is very busy, or its disk or memory "
            "is full, then try again, with --resume if the sweep's folder exists"
        ) from error


def session_folder() -> Path:
    """Return the folder in which Ray makes its own, `ray`, of sessions. Ray opens that
    to everybody, with its sockets, so it lies in a private one.

    It is where Ray's own would be ($RAY_TMPDIR, $TMPDIR or /tmp), unless the names of
    its sockets would be too long.
    """
    usual = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    folder = own_folder(Path(usual).absolute())
    if len(os.fsencode(folder / "ray")) > LONGEST:
        folder = own_folder(Path("/tmp"))
    return folder


def _connect(address: str) -> None:
    """Connect this process to the cluster at `address`, `auto` or `HOST:PORT`, or say
    in a `UserError` why not."""
    import ray
    from ray import exceptions

    # Ray has tokens from 2.51 on
    token_error = getattr(exceptions, "AuthenticationError", ())
    try:
        _check_reachable(address)
        ray.init(address=address, **SILENT)
    except token_error:
        hint = (
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file that holds it "
            "(by default ~/.ray/auth_token), or RAY_AUTH_TOKEN to the token itself"
        )
        if address == "auto":
            hint += "; if several clusters run here, name yours: --address HOST:PORT"
        what = f"the Ray cluster at {address} requires its token"
        raise UserError(f"{what}: {hint}") from None
    except (OSError, ValueError, exceptions.RpcError) as error:
        what = f"no Ray cluster at {address} ({_line(error)})"
        raise UserError(f"{what}; start one with: ray start --head") from None
    except RuntimeError as error:
        line = f"can't join the Ray cluster at {address}: {_line(error)}"
        if "ersion mismatch" in line:  # Ray's word for it
            line += "; install here the cluster's versions of Ray and Python, or these there"
        raise UserError(line) from None


def _check_reachable(address: str) -> None:
    """Connect to the cluster once. `ray.init` would retry for a quarter of an hour if
    nobody listens, and 20 times, with a line on standard error each, if the token is
    wrong."""
    from mnist_tune.runtime.ray_private import gcs_address, greet

    gcs = gcs_address(address)
    if gcs is None:
        return
    host, _, port = gcs.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    greet(gcs, auto=address == "auto")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


@contextmanager
def private_files() -> Iterator[int]:
    """Let this process, and those that it starts, make files that only the user can
    read. Gives the umask before."""
    before = os.umask(0o077)
    try:
        yield before
    finally:
        os.umask(before)


def umask() -> int:
    """Return this process's umask."""
    with private_files() as usual:
        return usual


def make_token_private() -> None:
    """Make the file of Ray's token readable by the user only. Earlier runs of Ray left
    it open to everybody.

    Ray listens on all interfaces of the machine, and whoever has the token can run code
    there as this user.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    what = f"read Ray's token, {file}, and run code as you with it"
    try:
        if not file.exists() or not file.stat().st_mode & 0o077:
            return
        file.chmod(0o600)
        announce(note(f"others could {what}; it is private now"))
    except OSError as error:
        announce(warning(f"others can {what} ({error.strerror})"))


def check_session(address: str | None, dashboard: bool) -> None:
    """Raise a `UserError` for what can be known before anything is started: `address`
    is one of Ray Client's, the dashboard is not installed, or `$MNIST_TUNE_CACHE` can't
    be written."""
    writable_cache_folder()
    if address is not None and address.startswith("ray://"):
        raise UserError(
            f"--address {address} is one of Ray Client's, with which a sweep's results would not reach this machine; "
            "run the sweep on the cluster: ray job submit --working-dir . -- python sweeps/... --address auto"
        )
    if dashboard and importlib.util.find_spec("aiohttp_cors") is None:
        raise UserError(
            "Ray's dashboard is not installed; to install it: python -m pip install 'ray[default]'"
        )


def stop_ray_at_exit() -> None:
    """Shut Ray down when this process ends: once, however many sweeps asked for it."""
    atexit.unregister(stop_ray)
    atexit.register(stop_ray)


def stop_ray() -> None:
    """Shut Ray down, which takes over a second. An error of the shutdown is only
    logged: what was trained is saved.

    Nothing may touch Ray meanwhile, not even a reference that is freed: Ray would end
    the process, with exit code 1 and no message. So this waits, comes after all else,
    and frees first what nobody uses any more.
    """
    ray = sys.modules.get("ray")
    if ray is None:
        return
    gc.collect()
    try:
        ray.shutdown()
    except (Exception, KeyboardInterrupt) as error:
        _log.warning(
            "Ray did not shut down properly (%s); the sweep is complete", error
        )
