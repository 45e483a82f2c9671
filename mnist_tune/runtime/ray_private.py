"""Every private name of Ray that this package uses.

Ray may rename them in any release, so `pyproject.toml` binds Ray to what was tried, and
tests call each function here with the Ray that is installed. The names are imported
where they are used: a cluster is joined while a thread imports Tune, and modules that
two threads import at once may be found half imported.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from typing import Any

import ray


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute, and restore it on exit."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def skipped_lines(pattern: str) -> AbstractContextManager[None]:
    """Keep Ray from printing lines that match. It reads its own environment variable
    for this only on import."""
    from ray._private.ray_logging import stdout_deduplicator

    return replaced(stdout_deduplicator, "skip_re", re.compile(pattern))


def gcs_address(address: str) -> str:
    """Return the `HOST:PORT` of a cluster's GCS."""
    from ray._private.services import canonicalize_bootstrap_address

    return str(canonicalize_bootstrap_address(address))


def greet(gcs: str, auto: bool) -> None:
    """Send a cluster's GCS one request, with the token. Raises what `ray.init` would
    raise after many more."""
    from ray._private.authentication import authentication_token_setup as tokens
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    if auto:  # as `ray.init` does
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    tokens.ensure_token_if_auth_enabled(create_token_if_missing=False)
    with _no_stderr():  # Ray's C++ code prints there what the exception says, too
        GcsClient(address=gcs)


@contextmanager
def own_parameters(dashboard: bool) -> Iterator[None]:
    """Start Ray meanwhile as `ray.init` has no options for. Its agent listens at any
    free port: it would try its usual one for 4 s while another Ray has it. Without the
    dashboard, nobody needs its server, the autoscaler's monitor and the reader of log
    files. They take 3 CPU seconds to start, and `ray.init` waits for the server."""
    from ray._private import parameter
    from ray._private.node import Node

    parameters = partial(parameter.RayParams, dashboard_agent_listen_port=0)
    server = Node.start_api_server
    if not dashboard:
        parameters = partial(parameters, no_monitor=True, include_log_monitor=False)
        server = _nothing
    with (
        replaced(parameter, "RayParams", parameters),
        replaced(Node, "start_api_server", server),
    ):
        yield


def _nothing(*arguments: Any, **options: Any) -> None:
    pass


@contextmanager
def _no_stderr() -> Iterator[None]:
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def raylet_is_dead() -> bool:
    """Return whether the raylet that this process started is dead; `ray.nodes` notices
    too late."""
    from ray._private import worker

    return "raylet" in dict(worker._global_node.dead_processes())


def kinds_of_nodes() -> list[Mapping[str, float]]:
    """Return the resources of the nodes that the cluster's autoscaler can start, if it
    has one."""
    from ray._private.state import state

    config = state.get_cluster_config()
    if config is None:
        return []
    return [dict(group.resources) for group in config.node_group_configs]


def storage_keys() -> dict[str, str]:
    """Return the keys of object storage in this environment that Tune passes on to the
    processes of trials."""
    from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

    return {
        name: os.environ[name]
        for name in ENV_VARS_TO_PROPAGATE & os.environ.keys()
        if name.startswith("AWS_")
    }


def forget(trial: Any, trials: list[Any]) -> None:
    """Make Tune forget a trial that has ended. It would search all trials at every
    event, and save all at the end."""
    trial.run_metadata.last_result = {}
    # for Tune's own file, which nothing reads
    trial.get_json_state = lambda: ("{}", "{}")
    if len(trials) > 1:  # with an empty list, Tune would load its saved state
        trials.remove(trial)


@contextmanager
def deaths_counted(is_nodes: Callable[[Exception], bool]) -> Iterator[None]:
    """Have Tune count a death of a trial's process, after some of which it gives the
    trial up, unless it `is_nodes`.

    A trial that waits is not given up either. If a process dies that it was about to
    take over, Tune hears of it twice: first it lets the trial wait for another process,
    and then it would give it up.
    """
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    fails, counts = TuneController._process_trial_failure, Trial.handle_error

    def fail(controller: Any, trial: Any, exception: Exception) -> None:
        waits = trial.status == "PENDING"
        if waits and isinstance(exception, ray.exceptions.RayActorError):
            return
        fails(controller, trial, exception)

    def count(trial: Any, exception: Exception) -> None:
        before = trial.run_metadata.num_failures
        counts(trial, exception)
        if is_nodes(exception):
            trial.run_metadata.num_failures = before

    with (
        replaced(TuneController, "_process_trial_failure", fail),
        replaced(Trial, "handle_error", count),
    ):
        yield


@contextmanager
def calls_let_go() -> Iterator[None]:
    """Have Tune let go of a call to a trial's process once it has its result, which it
    would keep until the process ends: 3 KB a row. And have it look up its trainable
    once, not in the cluster's store for each trial, and keep no statistics of the
    numbers in rows, which nobody reads: they would take as long as all else that it
    does with a row, and 0.1 MB a trial."""
    from ray.air.execution._internal import RayActorManager
    from ray.tune.experiment import trial

    schedule = RayActorManager._schedule_tracked_actor_task

    def schedule_next(
        manager: Any, tracked_actor_task: Any, *args: Any, **options: Any
    ) -> Any:
        calls = manager._tracked_actors_to_task_futures
        waiting = manager._actor_task_events._tracked_futures
        actor = tracked_actor_task._tracked_actor
        calls[actor] = {call for call in calls[actor] if call in waiting}
        return schedule(manager, tracked_actor_task, *args, **options)

    with (
        replaced(RayActorManager, "_schedule_tracked_actor_task", schedule_next),
        replaced(trial, "get_trainable_cls", cache(trial.get_trainable_cls)),
        replaced(trial, "validate_trainable", cache(trial.validate_trainable)),
        replaced(trial, "flatten_dict", lambda row: {}),  # what it takes statistics of
    ):
        yield
