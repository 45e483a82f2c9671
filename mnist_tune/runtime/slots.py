"""How many trials a cluster trains at the same time."""

from __future__ import annotations

from collections.abc import Mapping

import ray


def trial_slots(resources: Mapping[str, float]) -> int:
    """Return how many trials with these resources fit on the nodes together; at least 1."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max(1, sum(_fitting(node, resources) for node in nodes))


def _fitting(node: Mapping[str, float], resources: Mapping[str, float]) -> int:
    # Ray counts in ten thousandths: without rounding, three thirds of a GPU would hold two trials.
    return min(int(round(1e4 * node.get(name, 0)) // round(1e4 * each)) for name, each in resources.items() if each)
