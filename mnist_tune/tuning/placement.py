"""Where trials run: in processes of their own, or as lanes of the devices of every node."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray

from mnist_tune.errors import UserError
from mnist_tune.lanes.calibration import calibrate_in_background, recall
from mnist_tune.lanes.executor import fitting_lanes
from mnist_tune.lanes.worker import WorkerSettings
from mnist_tune.machine import usable_cpus
from mnist_tune.training.program import Program
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.lane_servers import LaneServers
from mnist_tune.tuning.options import LANES, SweepOptions

CLIENT_START_S = 2.0
"""CPU seconds that one more process takes to start, lane servers included: 8 clients and 2 servers in place of 2
workers lengthened a sweep's start by 6 seconds on two cores. Half of it is Ray's imports."""

SMALLEST_COMPANY = 4
"""Trials of one batch order, for each core, from which on lanes are considered there."""


@dataclass(frozen=True)
class Placement:
    """The resources of a trial and the settings of what trains it."""

    resources: dict[str, float]
    settings: WorkerSettings
    servers: LaneServers | None = None
    shares_batches: bool = False
    """Whether lanes gain by sharing their batches only: on CPUs."""


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
