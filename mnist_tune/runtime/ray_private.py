"""Every private name of Ray that this package uses.

Ray may change them in any release, so nothing depends on them. Each function says what
it buys, and what happens where Ray has the name no more: a debug line tells of it. The
names are imported where they are used: a cluster is joined while a thread imports Tune,
and modules that two threads import at once may be found half imported.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial, wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import ray

from mnist_tune.errors import UserError

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

GONE = (ImportError, AttributeError, KeyError, TypeError)
"""What a name raises that is gone, or that is something else now."""


def private(without: Any) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function return `without` where a private name that it uses is gone."""

    def guarded(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*arguments: P.args, **options: P.kwargs) -> T:
            try:
                return function(*arguments, **options)
            except GONE as error:
                _log.debug(
                    "Ray %s: without %s (%r)", ray.__version__, function.__name__, error
                )
                plain: T = without
                return plain

        return call

    return guarded


def takes(function: Callable[..., Any], *names: str) -> None:
    """Raise a `TypeError` unless a function has parameters of these names."""
    missing = set(names) - inspect.signature(function).parameters.keys()
    if missing:
        raise TypeError(f"{function.__qualname__} takes no {', '.join(missing)}")


class Replacement(NamedTuple):
    """Another value for an attribute."""

    owner: Any
    name: str
    value: Any


def replaced(*replacements: Replacement) -> AbstractContextManager[None]:
    """Return what sets attributes on entry, and restores them on exit. Raises an
    `AttributeError` at once if there is no such attribute."""
    before = [
        Replacement(r.owner, r.name, getattr(r.owner, r.name)) for r in replacements
    ]

    @contextmanager
    def setting() -> Iterator[None]:
        for attribute in replacements:
            setattr(*attribute)
        try:
            yield
        finally:
            for attribute in before:
                setattr(*attribute)

    return setting()


@private(without=nullcontext())
def skipped_lines(pattern: str) -> AbstractContextManager[None]:
    """Keep Ray from printing lines that match: it reads its own environment variable
    for this only on import. Without it, deaths are told twice, by Ray and by us."""
    from ray._private.ray_logging import stdout_deduplicator

    skipped = Replacement(stdout_deduplicator, "skip_re", re.compile(pattern))
    return replaced(skipped)


@private(without=None)
def gcs_address(address: str) -> str | None:
    """Return the `HOST:PORT` of a cluster's GCS. Without it, a cluster that can't be
    reached is found by `ray.init` alone, which tries for a quarter of an hour."""
    from ray._private.services import canonicalize_bootstrap_address

    return str(canonicalize_bootstrap_address(address))


@private(without=None)
def greet(gcs: str, auto: bool) -> None:
    """Send a cluster's GCS one request, with the token. Raises what `ray.init` would
    raise after many more. Without it, `ray.init` does."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    _take_token(auto)
    with _no_stderr():  # Ray's C++ code prints there what the exception says, too
        GcsClient(address=gcs)


@private(without=None)
def _take_token(auto: bool) -> None:
    """Have Ray look up this user's token, as `ray.init` does. Without it, there are no
    tokens: Ray has them from 2.51 on."""
    from ray._private.authentication import authentication_token_setup as tokens

    if auto:
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    tokens.ensure_token_if_auth_enabled(create_token_if_missing=False)


@private(without=nullcontext())
def own_parameters(dashboard: bool) -> AbstractContextManager[None]:
    """Start Ray meanwhile as `ray.init` has no options for. Its agent listens at any
    free port: it would try its usual one for 4 s while another Ray has it. Without the
    dashboard, nobody needs its server, the autoscaler's monitor and the reader of log
    files. They take 3 CPU seconds to start, and `ray.init` waits for the server.
    Without this, Ray takes as long to start as it usually does."""
    from ray._private import parameter
    from ray._private.node import Node

    takes(
        parameter.RayParams,
        "dashboard_agent_listen_port",
        "no_monitor",
        "include_log_monitor",
    )
    if dashboard:
        parameters = partial(parameter.RayParams, dashboard_agent_listen_port=0)
        return replaced(Replacement(parameter, "RayParams", parameters))
    parameters = partial(
        parameter.RayParams,
        dashboard_agent_listen_port=0,
        no_monitor=True,
        include_log_monitor=False,
    )
    return replaced(
        Replacement(parameter, "RayParams", parameters),
        Replacement(Node, "start_api_server", _nothing),
    )


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


@private(without=False)
def raylet_is_dead() -> bool:
    """Return whether the raylet that this process started is dead; `ray.nodes` notices
    too late. Without it, Ray ends this process a while later, without our line."""
    from ray._private import worker

    return "raylet" in dict(worker._global_node.dead_processes())


@private(without=())
def kinds_of_nodes() -> Sequence[Mapping[str, float]]:
    """Return the resources of the nodes that the cluster's autoscaler can start, if it
    has one. Without it, a trial may wait for a node that is never started."""
    from ray._private.state import state

    config = state.get_cluster_config()
    if config is None:
        return ()
    return [dict(group.resources) for group in config.node_group_configs]


@private(without=None)
def forget(trial: Any, trials: list[Any]) -> None:
    """Make Tune forget a trial that has ended. Without it, Tune searches all trials at
    every event, and saves all at the end."""
    trial.run_metadata.last_result = {}
    # for Tune's own file, which nothing reads
    trial.get_json_state = lambda: ("{}", "{}")
    if len(trials) > 1:  # with an empty list, Tune would load its saved state
        trials.remove(trial)


@private(without=nullcontext())
def callbacks_uncounted() -> AbstractContextManager[None]:
    """Keep Tune from counting the kinds of callbacks for Ray's usage statistics. To
    know them, it would import MLflow and Weights & Biases if they are installed, which
    takes 2 CPU seconds before the first trial starts. Without this, it does."""
    from ray.air._internal import usage

    return replaced(Replacement(usage, "tag_callbacks", _nothing))


@private(without=nullcontext())
def deaths_counted(
    is_nodes: Callable[[Exception], bool],
) -> AbstractContextManager[None]:
    """Have Tune count a death of a trial's process, after some of which it gives the
    trial up, unless it `is_nodes`.

    A trial that waits is not given up either. If a process dies that it was about to
    take over, Tune hears of it twice: first it lets the trial wait for another process,
    and then it would give it up. Without this, trials are given up for what was no
    fault of theirs; they are trained when the sweep is resumed.
    """
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    fails, counts = TuneController._process_trial_failure, Trial.handle_error
    takes(fails, "trial", "exception")
    takes(counts, "exc")

    def fail(controller: Any, trial: Any, exception: Exception) -> None:
        waits = trial.status == "PENDING"
        if waits and isinstance(exception, ray.exceptions.RayActorError):
            return
        fails(controller, trial, exception)

    def count(trial: Any, exc: Exception) -> None:
        before = trial.run_metadata.num_failures
        counts(trial, exc)
        if is_nodes(exc):
            trial.run_metadata.num_failures = before

    return replaced(
        Replacement(TuneController, "_process_trial_failure", fail),
        Replacement(Trial, "handle_error", count),
    )


@private(without=nullcontext())
def calls_let_go() -> AbstractContextManager[None]:
    """Have Tune let go of a call to a trial's process once it has its result. Without
    it, Tune keeps each until the process ends: 3 KB a row.

    And have it look up its trainable once, not in the cluster's store for each trial,
    and keep no statistics of the numbers in rows, which nobody reads: they would take
    as long as all else that it does with a row, and 0.1 MB a trial."""
    from ray.air.execution._internal import RayActorManager
    from ray.tune.experiment import trial

    schedule = RayActorManager._schedule_tracked_actor_task

    def schedule_next(
        manager: Any, tracked_actor_task: Any, *arguments: Any, **options: Any
    ) -> Any:
        _let_go(manager, tracked_actor_task)
        return schedule(manager, tracked_actor_task, *arguments, **options)

    look_up, validate = trial.get_trainable_cls, trial.validate_trainable
    return replaced(
        Replacement(RayActorManager, "_schedule_tracked_actor_task", schedule_next),
        Replacement(trial, "get_trainable_cls", cache(look_up)),
        Replacement(trial, "validate_trainable", cache(validate)),
        # what it takes statistics of
        Replacement(trial, "flatten_dict", lambda row: {}),
    )


@private(without=None)
def _let_go(manager: Any, tracked_actor_task: Any) -> None:
    """Drop the calls of a task's process that Tune waits for no more."""
    calls = manager._tracked_actors_to_task_futures
    waiting = manager._actor_task_events._tracked_futures
    actor = tracked_actor_task._tracked_actor
    calls[actor] = {call for call in calls[actor] if call in waiting}


def keeping_ids(scheduler: Any, own_id: Callable[[Any], str]) -> Any:
    """Return the scheduler, patched so that each trial keeps its own id. In population
    based training a trial copies the config of another one, and so its id. Raises
    `UserError` without it: rows of two trials would have one id."""
    from ray.tune.schedulers import PopulationBasedTraining

    if not isinstance(scheduler, PopulationBasedTraining):
        return scheduler
    new_config = getattr(scheduler, "_get_new_config", None)
    if new_config is None:
        raise UserError(
            f"population based training does not work with Ray {ray.__version__}, which has no "
            "`PopulationBasedTraining._get_new_config`; take another scheduler, or an older Ray"
        )

    def with_own_id(trial: Any, donor: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config, operations = new_config(trial, donor)
        values = config["trial"] | {"trial_id": own_id(trial)}
        return config | {"trial": values}, operations

    scheduler._get_new_config = with_own_id
    return scheduler
