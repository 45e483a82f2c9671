"""Whether every node of a cluster reaches the folder in which the trials' states are saved."""

from __future__ import annotations

import platform
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.results.writer import TOKEN
from mnist_tune.storage import Place

TIMEOUT_S = 60.0


def check_nodes(states: Place, token: str) -> None:
    """Asks every node of a cluster of several; a node that joins later is asked by its first trial.

    Raises:
        UserError: a node does not see the folder: a trial that is retried there would start anew.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) > 1:
        answers = {
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})": _ask(node, states, token) for node in nodes
        }
        blind = {name: why for name, answer in answers.items() if (why := _answer(answer))}
        if blind:
            raise UserError(unreachable(states, "; ".join(f"{name}: {why}" for name, why in blind.items())))


def unreachable(states: Place, why: str) -> str:
    """What to do where a node does not see the folder."""
    return (
        f"not every node of the cluster reaches {states} ({why}); give --output a folder that all of them share, or "
        "object storage, such as s3://BUCKET/FOLDER"
    )


def blindness(states: Place, token: str) -> str:
    """What to say where this process does not see the folder, object storage waited for; empty where it does."""
    why = why_blind(states, token, storage.PATIENCE_S)
    return unreachable(states, f"{platform.node()}: {why}") if why else ""


def why_blind(states: Place, token: str, patience: float = 0) -> str | None:
    """Why this process does not see the folder with this token, after so many seconds' patience with object storage
    that does not answer; None where it does."""
    try:
        found = storage.read(storage.join(states, TOKEN), patience)
    except OSError as error:
        return storage.reason(error)
    return None if found == token.encode() else "there is no such folder" if found is None else "another folder"


def _ask(node: dict[str, Any], states: Place, token: str) -> Any:
    here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(why_blind).remote(states, token)


def _answer(answer: Any) -> str | None:
    try:
        found: str | None = ray.get(answer, timeout=TIMEOUT_S)
    except ray.exceptions.RayError as error:
        return f"no answer ({type(error).__name__})"
    return found
