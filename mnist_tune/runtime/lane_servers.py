"""Run a lane server on every device of every node during a sweep."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.tune import Callback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_tune.execution.lane_server import LaneServer
from mnist_tune.execution.process_setup import WorkerSettings

NODE_CHECK_S = 5.0
"""Seconds between two checks for new nodes."""


class LaneServers(Callback):  # type: ignore[misc]
    """A Tune callback that keeps one lane server per GPU, or per CPU core, on every node."""

    def __init__(self, settings: WorkerSettings, prefix: str, capacity: int, device: str) -> None:
        self._settings, self._prefix, self._capacity, self._device = settings, prefix, capacity, device
        self._actors: list[Any] = []
        self._served: set[str] = set()
        self._checked = 0.0

    def start(self) -> None:
        """Create the missing servers. They start in the background."""
        self._checked = time.monotonic()
        for node in ray.nodes():
            if not node["Alive"] or node["NodeID"] in self._served:
                continue
            self._served.add(node["NodeID"])
            for i in range(int(node["Resources"].get(self._device, 0))):
                self._actors.append(self._create(node["NodeID"], i))

    def _create(self, node_id: str, index: int) -> Any:
        options = {
            "name": f"{self._prefix}-{node_id[:12]}-{index}",
            "num_cpus": 0,
            "num_gpus": 1 if self._device == "GPU" else 0,
            "max_restarts": -1,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False),
        }
        return ray.remote(LaneServer).options(**options).remote(self._settings, self._capacity)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() - self._checked > NODE_CHECK_S:
            self.start()

    def stop(self) -> None:
        for actor in self._actors:
            ray.kill(actor)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks; see `Recorder`
