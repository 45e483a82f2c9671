"""The nodes of a cluster: each death of a trial's process or of a node in one line, and
whether every node reaches the folder in which the trials' states are saved."""

from __future__ import annotations

import platform
import re
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.result import NODE_IP
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.results.writer import TOKEN
from mnist_tune.runtime.ray_private import raylet_is_dead
from mnist_tune.storage import Place
from mnist_tune.terminal import announce
from mnist_tune.trial import own_id

NODE_CHECK_S = 2.0
"""Seconds between two checks of the cluster's nodes."""

SUSPICIOUS = 3
"""A node is reported once this many trials in a row have died on it."""

EXIT = re.compile(
    r"Worker exit type: (\w+) Worker exit detail: (.*?)(?: Some common causes|$)"
)
"""Ray's description of a process that ended without an exception."""

NODE_DIED = re.compile("its node has died|the actor's node was terminated")
"""Ray's description of a process whose machine is gone. That is no fault of the
trial's."""

EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Exit)\b.*", re.MULTILINE)
"""The line of a traceback that names the exception."""


def last_death(trial: Any) -> tuple[str | None, str]:
    """Return the last failure of a Tune trial, from Tune's error file, as `death`
    does."""
    file = trial.error_file
    text = ""
    if file and Path(file).exists():
        text = Path(file).read_text(errors="replace")
    failures = re.split(r"^Failure # .*$", text, flags=re.MULTILINE)
    return death(failures[-1])


def death(text: str) -> tuple[str | None, str]:
    """Return how a trial's process ended, by an error of Ray: the address of its node,
    and the cause in one line. If errors are nested, the innermost comes last and
    counts. There is no address if Ray names none, or the node died."""
    process = dict(re.findall(r"\b(pid|ip)[=:]\s*([\w.:]*\w)", text))
    address = process.get("ip")
    exits = EXIT.findall(text)
    exceptions = EXCEPTION.findall(text)
    if exits:
        cause = ": ".join(exits[-1])
    elif exceptions:
        cause = exceptions[-1]
    else:
        address = None
        message = text.strip() or "Ray does not say why"
        cause = message.splitlines()[-1].strip()
    cause = cause.rstrip(".")
    if len(process) == 2:
        cause = f"pid {process['pid']} on {process['ip']}: {cause}"
    return address, cause


def is_nodes_death(error: Exception) -> bool:
    """Return whether a trial's process died because its node did."""
    _, cause = death(str(error))
    return NODE_DIED.search(cause) is not None


class RayletDied(BaseException):
    """The raylet on the driver's machine is dead. Ray kills the driver about 12 seconds
    later, without a message.

    This is not an `Exception`: Tune would catch that and stop all trials first, which
    takes longer.
    """


class UnsavedCallback(Callback):  # type: ignore[misc]
    """A callback of Tune of which Tune saves nothing: sweeps are resumed from their
    journal."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks


class NodeWatch(UnsavedCallback):
    """A Tune callback that announces dead processes, dead or new nodes, and nodes on
    which several trials died."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._alive = alive_nodes()
        self._checked = time.monotonic()
        # the trials that died in a row, by address
        self._dead: defaultdict[str, set[str]] = defaultdict(set)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if raylet_is_dead():
            raise RayletDied
        if time.monotonic() - self._checked < NODE_CHECK_S:
            return
        before, now = self._alive, alive_nodes()
        self._alive = now
        self._checked = time.monotonic()
        for node_id in before.keys() - now.keys():
            what = "its trials continue from their last epoch"
            announce(f"node {before[node_id]} died; {what}", self._quiet)
        for node_id in now.keys() - before.keys():
            what = "trials will start there, too"
            announce(f"node {now[node_id]} joined; {what}", self._quiet)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any
    ) -> None:
        dead = self._dead[result[NODE_IP]]
        if len(dead) < SUSPICIOUS:
            dead.clear()

    def on_trial_recover(
        self, iteration: int, trials: list[Any], trial: Any, **info: Any
    ) -> None:
        self._died(trial, "it continues from its last epoch")

    def on_trial_error(
        self, iteration: int, trials: list[Any], trial: Any, **info: Any
    ) -> None:
        self._died(trial, "it is not started again")

    def _died(self, trial: Any, then: str) -> None:
        address, cause = last_death(trial)
        if address is None or len(self._dead[address]) == SUSPICIOUS:
            return
        trial_id = own_id(trial)
        announce(f"trial {trial_id} died, {cause}; {then}", self._quiet)
        self._dead[address].add(trial_id)
        if len(self._dead[address]) == SUSPICIOUS:
            problem = f"node {address}: {SUSPICIOUS} trials in a row died there"
            what = "remove it or look at its log; further deaths there are not reported"
            announce(f"{problem}; {what}", self._quiet)


def alive_nodes() -> dict[str, str]:
    """Return the names of the live nodes, by Ray's ids: `<host> (<address>)`."""
    names = {}
    for node in ray.nodes():
        if node["Alive"]:
            host, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
            names[node["NodeID"]] = f"{host} ({address})"
    return names


CHECK_TIMEOUT_S = 60.0
"""Seconds in which a node must say whether it sees the folder of the states."""


def check_nodes(states: Place, token: str) -> None:
    """Ask every node, if there are several. One that dies meanwhile, joins later or
    answers too late is checked by its first trial. Raises `UserError` if a node does
    not reach the folder: a trial retried there would start from its first epoch."""
    nodes = alive_nodes()
    if len(nodes) < 2:
        return
    checks = []
    for node_id in nodes:
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        check = ray.remote(num_cpus=0, scheduling_strategy=there)(blindness)
        checks.append(check.remote(states, token, 0))
    answered, _ = ray.wait(checks, num_returns=len(checks), timeout=CHECK_TIMEOUT_S)
    for answer in answered:
        with suppress(ray.exceptions.RayError):
            error = ray.get(answer)
            if error:
                raise UserError(error)


def blindness(states: Place, token: str, patience_s: float = storage.PATIENCE_S) -> str:
    """Return the error message if this node does not see a folder with this token, else
    an empty text. Object storage that does not answer is asked again for
    `patience_s`."""
    why = "another folder"
    try:
        content = storage.read(storage.join(states, TOKEN), patience_s)
        if content == token.encode():
            return ""
        if content is None:
            why = "there is no such folder"
    except OSError as error:
        why = storage.reason(error)
    node = platform.node()
    hint = "give --output a folder that all of them share, or object storage"
    return (
        f"not every node of the cluster reaches {states} ({node}: {why}); {hint}, such "
        "as s3://BUCKET/FOLDER"
    )
