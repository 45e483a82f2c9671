"""Every private name of Ray that this package uses, what it is for, and what happens without it.

Ray may rename them in any release. Each is looked up when it is asked for: a cluster is joined while a thread imports
Tune, and modules that two threads import at once may be found half imported. Without one, its use falls back to
what Ray does publicly, and a sweep says so in one line; where numbers would differ, the sweep is refused.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from importlib import import_module
from typing import Any

import ray

from mnist_tune.errors import UserError
from mnist_tune.terminal import announce


@dataclass(frozen=True)
class Private:
    """A private name of Ray."""

    module: str
    path: str
    """The attributes that lead to it in its module."""
    use: str
    """What it is for."""
    without: str
    """What happens without it."""

    def find(self) -> Any:
        """Return it. Raises ImportError or AttributeError if this Ray has no such name."""
        return reduce(_attribute, self.path.split("."), import_module(self.module))


def _attribute(owner: Any, name: str) -> Any:
    """Return an attribute; None for one that a class only sets in its instances."""
    if isinstance(owner, type) and not hasattr(owner, name) and name in owner.__init__.__code__.co_names:  # type: ignore[misc]
        return None
    return getattr(owner, name)


_FAIL_AT_ONCE = "to refuse a cluster that does not answer, or another token, at once and in one line"
_TAKES_LONG = "so a cluster that can't be joined is noticed later, and Ray says more about it"
_RAYLET = "to notice that the raylet of this machine died, before Ray ends this process"
_NO_RAYLET = "so if this machine's raylet dies, the sweep ends without a message; --resume goes on as before"
_FORGET = "to make Tune forget trials that have ended, which it keeps, searches and saves"
_KEPT = "so a sweep of thousands of trials needs more memory and time"
_AUTH = "ray._private.authentication.authentication_token_setup"

NAMES = {
    "printer": Private(
        "ray._private.ray_logging",
        "stdout_deduplicator",
        "to keep Ray from printing what we say in one line about dead processes",
        "so Ray prints its own lines about dead processes, too",
    ),
    "canonical address": Private("ray._private.services", "canonicalize_bootstrap_address", _FAIL_AT_ONCE, _TAKES_LONG),
    "token mode": Private(_AUTH, "maybe_enable_token_auth_if_token_available", _FAIL_AT_ONCE, _TAKES_LONG),
    "token": Private(_AUTH, "ensure_token_if_auth_enabled", _FAIL_AT_ONCE, _TAKES_LONG),
    "GCS": Private("ray._raylet", "GcsClient", _FAIL_AT_ONCE, _TAKES_LONG),
    "agent port": Private(
        "ray._private.parameter",
        "RayParams.dashboard_agent_listen_port",
        "to let Ray's agent listen at any free port: it tries its usual one for 4 s while another Ray has it",
        "so beside another Ray, or just after one was killed, Ray takes 4 s longer to start",
    ),
    "node": Private("ray._private.worker", "_global_node", _RAYLET, _NO_RAYLET),
    "dead processes": Private("ray._private.node", "Node.dead_processes", _RAYLET, _NO_RAYLET),
    "cluster config": Private(
        "ray._private.state",
        "state.get_cluster_config",
        "to know the nodes that an autoscaler may start, when trials ask for more cores than a node has",
        "so only the nodes that are up count for --cpus-per-trial",
    ),
    "trials": Private("ray.tune.execution.tune_controller", "TuneController._trials", _FORGET, _KEPT),
    "run metadata": Private("ray.tune.experiment.trial", "Trial.run_metadata", _FORGET, _KEPT),
    "state": Private("ray.tune.experiment.trial", "Trial.get_json_state", _FORGET, _KEPT),
    "new config": Private(
        "ray.tune.schedulers.pbt",
        "PopulationBasedTraining._get_new_config",
        "to keep the ids of trials that copy others in population based training",
        "so population based training is refused: resumed trials would take each other's ids",
    ),
}
"""The names, by what we call them."""

REFUSED = (NAMES["new config"].without,)
"""What is refused rather than done without: numbers would differ."""


def lacking(names: Mapping[str, Private]) -> frozenset[str]:
    """Return which of these names this Ray lacks."""
    found = set()
    for name, private in names.items():
        try:
            private.find()
        except (ImportError, AttributeError):
            found.add(name)
    return frozenset(found)


def has(*names: str) -> bool:
    """Return whether this Ray has all of these private names."""
    return not lacking({name: NAMES[name] for name in names})


def announce_missing(quiet: bool) -> None:
    """Say what a sweep does without, in one line for each name that this Ray lacks."""
    missing = lacking(NAMES)
    for private in (NAMES[name] for name in NAMES if name in missing):
        if private.without not in REFUSED:
            announce(f"note: Ray {ray.__version__} has no {private.module}.{private.path}, {private.without}", quiet)


def need(*names: str) -> None:
    """Raise a `UserError` if one of these names is missing."""
    for private in (NAMES[name] for name in names if not has(name)):
        raise UserError(
            f"Ray {ray.__version__} has no {private.module}.{private.path}, {private.without}; "
            "install the Ray that pyproject.toml names: python -m pip install 'ray[tune]>=2.60,<2.61'"
        )


@contextmanager
def skipped_lines(pattern: str) -> Iterator[None]:
    """Keep Ray from printing lines that match. It reads its own environment variable for this only on import."""
    if not has("printer"):
        yield
        return
    printer = NAMES["printer"].find()
    before, printer.skip_re = printer.skip_re, re.compile(pattern)
    try:
        yield
    finally:
        printer.skip_re = before


def gcs_address(address: str) -> str | None:
    """Return the `HOST:PORT` of a cluster's GCS; None if this Ray does not tell."""
    return NAMES["canonical address"].find()(address) if has("canonical address") else None


def greet(gcs: str, auto: bool) -> None:
    """Send a cluster's GCS one request, with the token. Raises what `ray.init` would raise after many more."""
    if not has("token mode", "token", "GCS"):
        return
    if auto:  # as `ray.init` does
        NAMES["token mode"].find()(warn_if_disabled=False)
    NAMES["token"].find()(create_token_if_missing=False)
    with _no_stderr():  # Ray's C++ code prints there what the exception says, too
        NAMES["GCS"].find()(address=gcs)


@contextmanager
def any_agent_port() -> Iterator[None]:
    """Let the agent of a Ray that is started meanwhile listen at any free port. `ray.init` has no option for it."""
    if not has("agent port"):
        yield
        return
    module: Any = import_module(NAMES["agent port"].module)
    before = module.RayParams
    module.RayParams = partial(before, dashboard_agent_listen_port=0)
    try:
        yield
    finally:
        module.RayParams = before


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
    return has("node", "dead processes") and "raylet" in dict(NAMES["node"].find().dead_processes())


def kinds_of_nodes() -> list[Mapping[str, float]]:
    """Return the resources of the nodes that the cluster's autoscaler can start, if it has one and tells."""
    config = NAMES["cluster config"].find()() if has("cluster config") else None
    return [] if config is None else [dict(group.resources) for group in config.node_group_configs]


def forget(trial: Any, trials: list[Any]) -> None:
    """Make Tune forget a trial that has ended.

    Tune would keep 0.1 MB of statistics per trial, search all of them at every event, and save all of them at the end.
    """
    if has("run metadata"):
        metadata = trial.run_metadata
        metadata.metric_analysis, metadata.metric_n_steps, metadata.last_result = {}, {}, {}
    if has("state"):
        trial.get_json_state = _empty_state
    if has("trials") and len(trials) > 1:  # with an empty list, Tune would load its saved state
        trials.remove(trial)


def _empty_state() -> tuple[str, str]:
    """Replaces a trial's state in Tune's own file, which nothing reads."""
    return "{}", "{}"
