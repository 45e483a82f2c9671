"""Where trials run: in processes of their own, or as lanes of the devices of every node."""

from __future__ import annotations

import math
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray
from ray.tune import Callback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_tune.calibration import calibrate_in_background, recall
from mnist_tune.config import TrialConfig
from mnist_tune.environment import usable_cpus
from mnist_tune.errors import UserError
from mnist_tune.execution import fitting_lanes
from mnist_tune.lane_server import LaneServer
from mnist_tune.options import LANES, SweepOptions
from mnist_tune.training import Program
from mnist_tune.worker import WorkerSettings

CLIENT_START_S = 2.0
"""CPU seconds that one more process takes to start, lane servers included: 8 clients and 2 servers in place of 2
workers lengthened a sweep's start by 6 seconds on two cores. Half of it is Ray's imports."""

SMALLEST_COMPANY = 4
"""Trials of one batch order, for each core, from which on lanes are considered there."""

NODE_CHECK_S = 5.0
"""Seconds between two looks for nodes that joined the cluster."""


@dataclass(frozen=True)
class Placement:
    """The resources of a trial and the settings of what trains it."""

    resources: dict[str, float]
    settings: WorkerSettings
    servers: LaneServers | None = None
    shares_batches: bool = False
    """Whether lanes gain by sharing their batches only: on CPUs."""


class LaneServers(Callback):  # type: ignore[misc]
    """Keeps a lane server on every device of every node: one a GPU, or one a CPU core."""

    def __init__(self, settings: WorkerSettings, capacity: int, device: str) -> None:
        self._settings, self._capacity, self._device = settings, capacity, device
        self._actors: list[Any] = []
        self._served: set[str] = set()
        self._checked = 0.0

    def start(self) -> None:
        """Creates the servers that are missing; they start while the trials' processes do."""
        self._checked = time.monotonic()
        for node in ray.nodes():
            if not node["Alive"] or node["NodeID"] in self._served:
                continue
            self._served.add(node["NodeID"])
            for i in range(int(node["Resources"].get(self._device, 0))):
                self._actors.append(self._create(node["NodeID"], i))

    def _create(self, node_id: str, index: int) -> Any:
        options = {
            "name": f"{self._settings.lanes}-{node_id[:12]}-{index}",
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
        return {}  # see `Recorder`


def place(trials: Sequence[TrialConfig], settings: WorkerSettings, options: SweepOptions) -> Placement:
    """Decides between lanes and processes, and starts the lane servers. Ray runs.

    Args:
        trials: known beforehand; empty where a searcher proposes them.
        settings: common to both.
        options: auto takes lanes on GPUs, and on CPUs where the measured gain outweighs starting the clients.

    Raises:
        UserError: more lanes are asked for than fit.
    """
    device, cluster = _device(), ray.cluster_resources()
    if device == "GPU":
        settings = replace(settings, threads=None)
    capacity = lanes_that_fit(trials, options.lanes)
    execution = options.execution
    if execution == "auto":
        pay = device == "GPU" or _lanes_pay(trials, settings, capacity, cluster["CPU"], options.scheduler)
        execution = "lanes" if pay else "process"
    if execution == "process":
        return _processes(settings, device, options.trials_per_gpu)
    prefix = f"mnist_tune-lanes-{uuid.uuid4().hex[:8]}"
    servers = LaneServers(replace(settings, lanes=prefix, execution="auto"), capacity, device)
    servers.start()
    per_device = cluster["CPU"] / cluster[device] if device == "GPU" else 1.0
    share = math.floor(1e4 * per_device / capacity) / 1e4  # Ray counts in ten-thousandths
    return Placement(
        {"CPU": max(share, 1e-4)}, replace(settings, lanes=prefix), servers, shares_batches=device == "CPU"
    )


def lanes_that_fit(trials: Sequence[TrialConfig], asked: int | None) -> int:
    """Lanes a device: as many as are asked for, by default those of `LANES` that have room. Ray runs.

    Raises:
        UserError: more are asked for than fit.
    """
    device = _device()
    memory = _device_memory(device)
    room = min((fitting_lanes(program, memory) for program in {Program.of(trial) for trial in trials}), default=None)
    if asked and room is not None and asked > room:
        raise UserError(f"--lanes {asked} does not fit into the memory of a {device}; --lanes {room} does")
    most = LANES[device]
    return asked or (most if room is None else max(min(most, room), 1))


def _device() -> Literal["CPU", "GPU"]:
    return "GPU" if ray.cluster_resources().get("GPU") else "CPU"


def _device_memory(device: str) -> float:
    """Bytes that the lanes of one device may take."""
    cluster = ray.cluster_resources()
    if device == "GPU":
        return float(ray.get(ray.remote(num_gpus=1)(_gpu_memory).remote()))
    return MEMORY_SHARE * float(cluster["memory"] / cluster["CPU"])


def _gpu_memory() -> float:
    import jax

    return MEMORY_SHARE * float(jax.local_devices()[0].memory_stats()["bytes_limit"])


MEMORY_SHARE = 0.8
"""Of a device's memory for lanes; the data set, evaluation and compiled programs need some too."""


def _processes(settings: WorkerSettings, device: str, trials_per_gpu: int) -> Placement:
    if device == "CPU":
        return Placement({"CPU": 1}, settings)
    share = 1 / trials_per_gpu
    return Placement({"CPU": 1, "GPU": share}, replace(settings, memory_fraction=0.9 * share))


def companies(trials: Sequence[TrialConfig], cpus: float) -> Counter[Program]:
    """Epochs of the trials that could gain from lanes on a CPU: those of one program and one batch order, where
    there are enough to give every core a company."""
    counts, epochs = Counter[tuple[Program, int]](), Counter[tuple[Program, int]]()
    for trial in trials:
        key = Program.of(trial), trial.data_seed
        counts[key] += 1
        epochs[key] += trial.epochs
    found = Counter[Program]()
    for key, count in counts.items():
        if count >= SMALLEST_COMPANY * cpus:
            found[key[0]] += epochs[key]
    return found


def _lanes_pay(
    trials: Sequence[TrialConfig], settings: WorkerSettings, capacity: int, cpus: float, scheduler: str
) -> bool:
    """Whether the seconds that lanes save outweigh those of starting their clients, on a CPU. What could not be
    measured counts as no gain."""
    assert settings.cache_dir is not None
    saved = 0.0
    for program, epochs in companies(trials, cpus).items():
        found = recall(program, capacity, settings.cache_dir)
        if found is not None:
            saved += epochs * TRAIN_IMAGES / program.batch_size * (found.loop_s - found.batch_s)
    clients = min(len(trials), capacity * int(cpus))
    return REALIZED[scheduler] * saved > (clients - cpus) * CLIENT_START_S


REALIZED = {"fifo": 0.6, "asha": 0.3}
"""Share of the saving that was measured in sweeps, of what full batches in every epoch would save on idle cores: 64
trials of 784-16-10, on two cores. What ASHA stops saves nothing more, and leaves a company incomplete."""

TRAIN_IMAGES = 60_000
"""Of MNIST; the estimate of what lanes save needs no more than the order of magnitude."""


def begin_calibration(trials: Sequence[TrialConfig], lanes: int | None, cache_dir: str) -> Any:
    """Starts measuring, while Ray starts, what `place` will ask for; None where all is known."""
    capacity = lanes or LANES["CPU"]
    unknown = [p for p in companies(trials, usable_cpus()) if recall(p, capacity, cache_dir) is None]
    return calibrate_in_background(unknown, capacity, cache_dir) if unknown else None
