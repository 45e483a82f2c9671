"""What the machine is called that trains, in the tables."""

from __future__ import annotations

import platform
import sys
from functools import cache


@cache
def node_name() -> str:
    """Return the name of this machine; where several nodes of Ray's are on it, with how
    this one's id begins."""
    name = platform.node()
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return name
    nodes = [node for node in ray.nodes() if node["Alive"]]
    names = [node["NodeManagerHostname"] for node in nodes]
    if names.count(name) < 2:
        return name
    node_id = ray.get_runtime_context().get_node_id()
    return f"{name} ({node_id[:6]})"
