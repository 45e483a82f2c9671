"""Every private name of Ray that this package uses. A Ray that lacks one of them is refused in one line.

Ray may rename them in any release, so `pyproject.toml` binds Ray to what was tried. Each is looked up when it is asked
for: a cluster is joined while a thread imports Tune, and modules that two threads import at once may be found half
imported.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial, reduce
from importlib import import_module
from typing import Any

import ray

from mnist_tune.errors import UserError

_AUTH = "ray._private.authentication.authentication_token_setup"
NAMES = {
    "printer": "ray._private.ray_logging stdout_deduplicator",
    "canonical address": "ray._private.services canonicalize_bootstrap_address",
    "token mode": f"{_AUTH} maybe_enable_token_auth_if_token_available",
    "token": f"{_AUTH} ensure_token_if_auth_enabled",
    "GCS": "ray._raylet GcsClient",
    "agent port": "ray._private.parameter RayParams.dashboard_agent_listen_port",
    "monitor": "ray._private.parameter RayParams.no_monitor",
    "log monitor": "ray._private.parameter RayParams.include_log_monitor",
    "API server": "ray._private.node Node.start_api_server",
    "node": "ray._private.worker _global_node",
    "dead processes": "ray._private.node Node.dead_processes",
    "cluster config": "ray._private.state state.get_cluster_config",
    "trials": "ray.tune.execution.tune_controller TuneController._trials",
    "run metadata": "ray.tune.experiment.trial Trial.run_metadata",
    "error": "ray.tune.experiment.trial Trial.handle_error",
    "state": "ray.tune.experiment.trial Trial.get_json_state",
    "failure": "ray.tune.execution.tune_controller TuneController._process_trial_failure",
    "new config": "ray.tune.schedulers.pbt PopulationBasedTraining._get_new_config",
}
"""A module and what is in it, by what we call that."""


def private(name: str) -> Any:
    """Return what a name of `NAMES` stands for. Raises `UserError` if this Ray has no such name."""
    module, path = NAMES[name].split()
    try:
        return reduce(_attribute, path.split("."), import_module(module))
    except (ImportError, AttributeError):
        install = "install the Ray that pyproject.toml names: python -m pip install 'ray[tune]>=2.60,<2.61'"
        raise UserError(f"Ray {ray.__version__} has no {module}.{path}; {install}") from None


def _attribute(owner: Any, name: str) -> Any:
    """Return an attribute; None for one that a class only sets in its instances."""
    if isinstance(owner, type) and not hasattr(owner, name) and name in owner.__init__.__code__.co_names:  # type: ignore[misc]
        return None
    return getattr(owner, name)


def check_names() -> None:
    """Raise a `UserError` if this Ray lacks one of the names."""
    for name in NAMES:
        private(name)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def skipped_lines(pattern: str) -> AbstractContextManager[None]:
    """Keep Ray from printing lines that match. It reads its own environment variable for this only on import."""
    return _replaced(private("printer"), "skip_re", re.compile(pattern))


def gcs_address(address: str) -> str:
    """Return the `HOST:PORT` of a cluster's GCS."""
    return str(private("canonical address")(address))


def greet(gcs: str, auto: bool) -> None:
    """Send a cluster's GCS one request, with the token. Raises what `ray.init` would raise after many more."""
    if auto:  # as `ray.init` does
        private("token mode")(warn_if_disabled=False)
    private("token")(create_token_if_missing=False)
    with _no_stderr():  # Ray's C++ code prints there what the exception says, too
        private("GCS")(address=gcs)


@contextmanager
def own_parameters(dashboard: bool) -> Iterator[None]:
    """Start Ray meanwhile as `ray.init` has no options for. Its agent listens at any free port: it would try its usual
    one for 4 s while another Ray has it. Without the dashboard, nobody needs its server, the autoscaler's monitor and
    the reader of log files. They take 3 CPU seconds to start, and `ray.init` waits for the server."""
    for name in ("agent port", "monitor", "log monitor", "API server"):
        private(name)
    parameter, node = sys.modules["ray._private.parameter"], sys.modules["ray._private.node"].Node
    less = {} if dashboard else {"no_monitor": True, "include_log_monitor": False}
    server = node.start_api_server if dashboard else lambda *_, **__: None
    with (
        _replaced(parameter, "RayParams", partial(parameter.RayParams, dashboard_agent_listen_port=0, **less)),
        _replaced(node, "start_api_server", server),
    ):
        yield


@contextmanager
def _no_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def raylet_is_dead() -> bool:
    """Return whether the raylet that this process started is dead; `ray.nodes` notices too late."""
    return "raylet" in dict(private("node").dead_processes())


def kinds_of_nodes() -> list[Mapping[str, float]]:
    """Return the resources of the nodes that the cluster's autoscaler can start, if it has one."""
    config = private("cluster config")()
    return [] if config is None else [dict(group.resources) for group in config.node_group_configs]


def forget(trial: Any, trials: list[Any]) -> None:
    """Make Tune forget a trial that has ended.

    Tune would keep 0.1 MB of statistics per trial, search all of them at every event, and save all of them at the end.
    """
    metadata = trial.run_metadata
    metadata.metric_analysis, metadata.metric_n_steps, metadata.last_result = {}, {}, {}
    trial.get_json_state = _empty_state
    if len(trials) > 1:  # with an empty list, Tune would load its saved state
        trials.remove(trial)


@contextmanager
def deaths_counted(is_nodes: Callable[[Exception], bool]) -> Iterator[None]:
    """Have Tune count a death of a trial's process, after some of which it gives the trial up, unless it `is_nodes`.

    A trial that waits is not given up either. If a process dies that it was about to take over, Tune hears of it twice:
    first it lets the trial wait for another process, and then it would give it up.
    """
    fails, counts = private("failure"), private("error")

    def fail(controller: Any, trial: Any, exception: Exception) -> None:
        if trial.status != "PENDING" or not isinstance(exception, ray.exceptions.RayActorError):
            fails(controller, trial, exception)

    def count(trial: Any, exception: Exception) -> None:
        before = trial.run_metadata.num_failures
        counts(trial, exception)
        if is_nodes(exception):
            trial.run_metadata.num_failures = before

    controller = sys.modules["ray.tune.execution.tune_controller"].TuneController
    kind = sys.modules["ray.tune.experiment.trial"].Trial
    with _replaced(controller, "_process_trial_failure", fail), _replaced(kind, "handle_error", count):
        yield


def _empty_state() -> tuple[str, str]:
    """Replaces a trial's state in Tune's own file, which nothing reads."""
    return "{}", "{}"
