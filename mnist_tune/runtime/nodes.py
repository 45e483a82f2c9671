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
    text = (
        Path(file).read_text(errors="replace") if file and Path(file).exists() else ""
    )
    return death(re.split(r"^Failure # .*$", text, flags=re.MULTILINE)[-1])


def death(text: str) -> tuple[str | None, str]:
    """Return how a trial's process ended, by an error of Ray: the address of its node,
    and the cause in one line. If errors are nested, the innermost comes last and
    counts. There is no address if Ray names none, or the node died."""
    where = dict(re.findall(r"\b(pid|ip)[=:]\s*([\w.:]*\w)", text))
    exits, exceptions = EXIT.findall(text), EXCEPTION.findall(text)
    if exits:
        cause = ": ".join(exits[-1])
    else:
        cause = (
            exceptions[-1]
            if exceptions
            else (text.strip() or "Ray does not say why").splitlines()[-1].strip()
        )
    place = f"pid {where['pid']} on {where['ip']}: " if len(where) == 2 else ""
    return where.get("ip") if exits or exceptions else None, place + cause.rstrip(".")


def is_nodes_death(error: Exception) -> bool:
    """Return whether a trial's process died because its node did."""
    return NODE_DIED.search(death(str(error))[1]) is not None


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
        self._alive, self._checked = alive_nodes(), time.monotonic()
        # the trials that died in a row, by address
        self._dead: defaultdict[str, set[str]] = defaultdict(set)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if raylet_is_dead():
            raise RayletDied
        if time.monotonic() - self._checked < NODE_CHECK_S:
            return
        before, self._alive, self._checked = (
            self._alive,
            alive_nodes(),
            time.monotonic(),
        )
        for node_id in before.keys() - self._alive.keys():
            announce(
                f"node {before[node_id]} died; its trials continue from their last epoch",
                self._quiet,
            )
        for node_id in self._alive.keys() - before.keys():
            announce(
                f"node {self._alive[node_id]} joined; trials will start there, too",
                self._quiet,
            )

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any
    ) -> None:
        if len(dead := self._dead[result[NODE_IP]]) < SUSPICIOUS:
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
        trial_id, (address, said) = own_id(trial), last_death(trial)
        if address is None or len(dead := self._dead[address]) == SUSPICIOUS:
            return
        announce(f"trial {trial_id} died, {said}; {then}", self._quiet)
        dead.add(trial_id)
        if len(dead) == SUSPICIOUS:
            problem = f"node {address}: {SUSPICIOUS} trials in a row died there"
            announce(
                f"{problem}; remove it or look at its log; further deaths there are not reported",
                self._quiet,
            )


def alive_nodes() -> dict[str, str]:
    """Return the names of the live nodes, by Ray's ids: `<host> (<address>)`."""
    nodes = [one for one in ray.nodes() if one["Alive"]]
    return {
        one["NodeID"]: f"{one['NodeManagerHostname']} ({one['NodeManagerAddress']})"
        for one in nodes
    }


CHECK_TIMEOUT_S = 60.0
"""Seconds in which a node must say whether it sees the folder of the states."""


def check_nodes(states: Place, token: str) -> None:
    """Ask every node, if there are several. One that dies meanwhile, joins later or
    answers too late is checked by its first trial. Raises `UserError` if a node does
    not reach the folder: a trial retried there would start from its first epoch."""
    nodes = alive_nodes()
    if len(nodes) < 2:
        return
    asked = []
    for node_id in nodes:
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        asked.append(
            ray.remote(num_cpus=0, scheduling_strategy=there)(blindness).remote(
                states, token, 0
            )
        )
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=CHECK_TIMEOUT_S)
    for answer in answered:
        with suppress(ray.exceptions.RayError):
            if blind := ray.get(answer):
                raise UserError(blind)


def blindness(states: Place, token: str, patience_s: float = storage.PATIENCE_S) -> str:
    """Return the error message if this node does not see a folder with this token, else
    an empty text. Object storage that does not answer is asked again for
    `patience_s`."""
    try:
        found = storage.read(storage.join(states, TOKEN), patience_s)
        why = "there is no such folder" if found is None else "another folder"
    except OSError as error:
        found, why = None, storage.reason(error)
    if found == token.encode():
        return ""
    return (
        f"not every node of the cluster reaches {states} ({platform.node()}: {why}); give --output a folder that all "
        "of them share, or object storage, such as s3://BUCKET/FOLDER"
    )
