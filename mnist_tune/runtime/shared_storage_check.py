"""Check that every node of a cluster reaches the folder in which the trials' states are saved."""

from __future__ import annotations

import platform
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.results.writer import TOKEN
from mnist_tune.runtime.nodes import alive_nodes
from mnist_tune.storage import Place

TIMEOUT_S = 60.0


def check_nodes(states: Place, token: str) -> None:
    """Check every node, if there are several. One that joins later or answers too late is checked by its first trial.
    Raises `UserError` if a node does not reach the folder: a trial retried there would start from its first epoch."""
    nodes = alive_nodes()
    if len(nodes) < 2:
        return
    asked = {}
    for node_id, name in nodes.items():
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        asked[name] = ray.remote(num_cpus=0, scheduling_strategy=there)(why_blind).remote(states, token)
    answered, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=TIMEOUT_S)
    blind = [f"{name}: {why}" for name, answer in asked.items() if answer in answered and (why := _answer(answer))]
    if blind:
        raise UserError(unreachable(states, "; ".join(blind)))


def unreachable(states: Place, why: str) -> str:
    """Return the error message for a node that does not reach the folder."""
    return (
        f"not every node of the cluster reaches {states} ({why}); give --output a folder that all of them share, or "
        "object storage, such as s3://BUCKET/FOLDER"
    )


def blindness(states: Place, token: str) -> str:
    """Return the error message if this node does not reach the folder, else an empty text. Wait for object storage."""
    why = why_blind(states, token, storage.PATIENCE_S)
    return unreachable(states, f"{platform.node()}: {why}") if why else ""


def why_blind(states: Place, token: str, patience: float = 0) -> str | None:
    """Return why this node does not see a folder with this token, or None if it does. Retry for `patience` seconds."""
    try:
        found = storage.read(storage.join(states, TOKEN), patience)
    except OSError as error:
        return storage.reason(error)
    return None if found == token.encode() else "there is no such folder" if found is None else "another folder"


def _answer(answer: Any) -> Any:
    try:
        return ray.get(answer)
    except ray.exceptions.RayError as error:
        return f"no answer ({type(error).__name__})"
