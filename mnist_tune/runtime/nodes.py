"""What dies while a sweep runs: trials' processes and a cluster's nodes; each is one line."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.result import NODE_IP

from mnist_tune.terminal import announce
from mnist_tune.trial import own_id

NODE_CHECK_S = 2.0
"""Seconds between two looks at the cluster's nodes."""

SUSPICIOUS = 3
"""So many trials that died on a node, one after another, are the node's fault rather than theirs."""

EXIT = re.compile(r"Worker exit type: (\w+) Worker exit detail: (.*?)(?: Some common causes|$)")
"""How Ray tells of a process that ended without an exception."""

EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Exit)\b.*", re.MULTILINE)
"""The line of a traceback that names the exception."""


@dataclass(frozen=True)
class Death:
    """How a trial's process ended, as Ray tells of it."""

    address: str | None
    """Of its node; None where Ray does not tell, or where the node itself died."""
    said: str
    """What was seen, in one line."""

    @classmethod
    def last_of(cls, trial: Any) -> Death:
        """The last failure of a Tune trial, from the file in which Tune keeps them."""
        file = trial.error_file
        text = Path(file).read_text(errors="replace") if file and Path(file).exists() else ""
        return cls.read(re.split(r"^Failure # .*$", text, flags=re.MULTILINE)[-1])

    @classmethod
    def read(cls, text: str) -> Death:
        """From the text of one of Ray's errors; where several are nested, the innermost comes last."""
        where = dict(re.findall(r"\b(pid|ip)[=:]\s*([\w.:]*\w)", text))
        exits, exceptions = EXIT.findall(text), EXCEPTION.findall(text)
        if exits:
            told = ": ".join(exits[-1])
        else:
            told = exceptions[-1] if exceptions else (text.strip() or "Ray does not tell how").splitlines()[-1].strip()
        place = f"pid {where['pid']} on {where['ip']}: " if len(where) == 2 else ""
        return cls(where.get("ip") if exits or exceptions else None, place + told.rstrip("."))


class RayletDied(BaseException):
    """Ray's raylet on the driver's machine is dead; Ray ends the driver some 12 seconds later without a word.

    No `Exception`: after one Tune would stop all trials first, which takes longer than that.
    """


class NodeWatch(Callback):  # type: ignore[misc]
    """Tells of processes and nodes that die, of nodes that join, and of those on which trial after trial dies."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._alive, self._checked = alive_nodes(), time.monotonic()
        self._dead: dict[str, set[str]] = {}
        self._named: set[str] = set()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if raylet_is_dead():
            raise RayletDied
        if time.monotonic() - self._checked < NODE_CHECK_S:
            return
        before, self._alive, self._checked = self._alive, alive_nodes(), time.monotonic()
        for node_id in before.keys() - self._alive.keys():
            announce(f"node {before[node_id]} died; its trials go on from their last epoch", self._quiet)
        for node_id in self._alive.keys() - before.keys():
            announce(f"node {self._alive[node_id]} joined; trials start there, too", self._quiet)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._dead.pop(result[NODE_IP], None)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._died(own_id(trial), Death.last_of(trial), "it goes on from its last epoch")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._died(own_id(trial), Death.last_of(trial), "it is given up")

    def _died(self, trial_id: str, death: Death, then: str) -> None:
        if death.address is None or death.address in self._named:
            return
        announce(f"trial {trial_id} died, {death.said}; {then}", self._quiet)
        dead = self._dead.setdefault(death.address, set())
        dead.add(trial_id)
        if len(dead) == SUSPICIOUS:
            self._named.add(death.address)
            said = f"node {death.address}: {SUSPICIOUS} trials died there in a row"
            announce(f"{said}; take it out or look at its log; no more is told of it", self._quiet)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # see `Recorder`


def raylet_is_dead() -> bool:
    """Whether the raylet of a Ray that this process started is; `ray.nodes` would tell of it when it is too late."""
    return "raylet" in dict(ray._private.worker._global_node.dead_processes())


def alive_nodes() -> dict[str, str]:
    """Names of the nodes that live, by Ray's ids."""
    return {
        node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in ray.nodes()
        if node["Alive"]
    }
