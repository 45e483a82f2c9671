"""Every private name of Ray that this package uses, and what happens without it.

Ray may rename them in any release. Each is looked up when it is asked for: a cluster is joined while a thread imports
Tune, and modules that two threads import at once may be found half imported. Without one, its use falls back to
what Ray does publicly, and a sweep says so in one line; where numbers would differ, the sweep is refused.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
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


_AUTH = "ray._private.authentication.authentication_token_setup"
_HYPERBAND = "ray.tune.schedulers.async_hyperband"
_WITHOUT = {
    "so Ray prints its own lines about dead processes, too": {
        "printer": "ray._private.ray_logging stdout_deduplicator",
    },
    "so a cluster that can't be joined is noticed later, and Ray says more about it": {
        "canonical address": "ray._private.services canonicalize_bootstrap_address",
        "token mode": f"{_AUTH} maybe_enable_token_auth_if_token_available",
        "token": f"{_AUTH} ensure_token_if_auth_enabled",
        "GCS": "ray._raylet GcsClient",
    },
    "so beside another Ray, or just after one was killed, Ray takes 4 s longer to start": {
        "agent port": "ray._private.parameter RayParams.dashboard_agent_listen_port",
    },
    "so if this machine's raylet dies, the sweep ends without a message; --resume goes on as before": {
        "node": "ray._private.worker _global_node",
        "dead processes": "ray._private.node Node.dead_processes",
    },
    "so only the nodes that are up count for --cpus-per-trial": {
        "cluster config": "ray._private.state state.get_cluster_config",
    },
    "so a sweep of thousands of trials needs more memory and time": {
        "trials": "ray.tune.execution.tune_controller TuneController._trials",
        "run metadata": "ray.tune.experiment.trial Trial.run_metadata",
        "state": "ray.tune.experiment.trial Trial.get_json_state",
    },
    "so a sweep with --scheduler asha can't be resumed: it would stop other trials": {
        "rungs": f"{_HYPERBAND} AsyncHyperBandScheduler._trial_info",
        "bracket": f"{_HYPERBAND} _Bracket.on_result",
    },
    "so a large sweep takes longer to resume": {"cutoff": f"{_HYPERBAND} _Bracket.cutoff"},
    "so population based training is refused: resumed trials would take each other's ids": {
        "new config": "ray.tune.schedulers.pbt PopulationBasedTraining._get_new_config",
    },
}
NAMES = {name: Private(*at.split(), without) for without, names in _WITHOUT.items() for name, at in names.items()}
"""The names, by what we call them."""

REFUSED = (NAMES["rungs"].without, NAMES["new config"].without)
"""What is refused rather than done without: numbers would differ."""


def lacking(*names: str) -> list[str]:
    """Return which of these names this Ray lacks; by default, of all."""
    found = []
    for name in names or NAMES:
        try:
            NAMES[name].find()
        except (ImportError, AttributeError):
            found.append(name)
    return found


def has(*names: str) -> bool:
    """Return whether this Ray has all of these private names."""
    return not lacking(*names)


def _line(name: str) -> str:
    private = NAMES[name]
    return f"Ray {ray.__version__} has no {private.module}.{private.path}, {private.without}"


def announce_missing(quiet: bool) -> None:
    """Say what a sweep does without, in one line for each name that this Ray lacks."""
    for name in lacking():
        if NAMES[name].without not in REFUSED:
            announce(f"note: {_line(name)}", quiet)


def need(*names: str) -> None:
    """Raise a `UserError` if one of these names is missing."""
    for name in lacking(*names):
        install = "install the Ray that pyproject.toml names: python -m pip install 'ray[tune]>=2.60,<2.61'"
        raise UserError(f"{_line(name)}; {install}")


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
    if not has("printer"):
        return nullcontext()
    return _replaced(NAMES["printer"].find(), "skip_re", re.compile(pattern))


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


def any_agent_port() -> AbstractContextManager[None]:
    """Let the agent of a Ray that is started meanwhile listen at any free port. It tries its usual one for 4 s while
    another Ray has it, and `ray.init` has no option for it."""
    if not has("agent port"):
        return nullcontext()
    module: Any = import_module(NAMES["agent port"].module)
    return _replaced(module, "RayParams", partial(module.RayParams, dashboard_agent_listen_port=0))


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
