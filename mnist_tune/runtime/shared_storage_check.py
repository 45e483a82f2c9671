"""Check that every node of a cluster reaches the folder in which the trials' states are saved."""

from __future__ import annotations

import platform
from contextlib import suppress

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.results.writer import TOKEN
from mnist_tune.runtime.nodes import alive_nodes
from mnist_tune.storage import Place

TIMEOUT_S = 60.0


def check_nodes(states: Place, token: str) -> None:
    """Ask every node, if there are several. One that dies meanwhile, joins later or answers too late is checked by its
    first trial. Raises `UserError` if a node does not reach the folder: a trial retried there would start from its
    first epoch."""
    nodes = alive_nodes()
    if len(nodes) < 2:
        return
    asked = []
    for node_id in nodes:
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        asked.append(ray.remote(num_cpus=0, scheduling_strategy=there)(blindness).remote(states, token, 0))
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=TIMEOUT_S)
    for answer in answered:
        with suppress(ray.exceptions.RayError):
            if blind := ray.get(answer):
                raise UserError(blind)


def blindness(states: Place, token: str, patience_s: float = storage.PATIENCE_S) -> str:
    """Return the error message if this node does not see a folder with this token, else an empty text. Object storage
    that does not answer is asked again for `patience_s`."""
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
