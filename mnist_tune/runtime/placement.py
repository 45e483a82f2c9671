"""Where trials run: in processes of their own, or as lanes of the devices of every node."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ray

from mnist_tune.errors import UserError
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.runtime.device import Device
from mnist_tune.runtime.lane_servers import LaneServers
from mnist_tune.trial import TrialConfig

LANES = {"CPU": 4, "GPU": 64}
"""Lanes a device. On a CPU, where processes are as fast, they are for trying."""


@dataclass(frozen=True)
class Placement:
    """The resources of a trial and the settings of what trains it."""

    resources: dict[str, float]
    settings: WorkerSettings
    servers: LaneServers | None = None


def choose_placement(
    trials: Sequence[TrialConfig],
    settings: WorkerSettings,
    device: Device,
    execution: str = "auto",
    lanes: int | None = None,
    cpus_per_trial: int = 1,
    trials_per_gpu: int = 1,
) -> Placement:
    """Decides between lanes and processes, and starts the lane servers. Ray runs.

    Args:
        trials: known beforehand; empty where a searcher proposes them.
        settings: common to both.
        device: what there is (`find_device`).
        execution: lanes, process, or auto: lanes on GPUs and processes on CPUs.
        lanes: the most lanes of a device; by default as many of `LANES` as fit.
        cpus_per_trial: CPU cores of a trial's own process.
        trials_per_gpu: trials in processes of their own that share a GPU.

    Raises:
        UserError: more lanes are asked for than fit.
    """
    on_gpu = device.kind == "GPU"
    if on_gpu:
        settings = replace(settings, threads=None)
    if execution == "process" or (execution == "auto" and not on_gpu):
        return _processes(settings, device, cpus_per_trial, trials_per_gpu)
    capacity = lanes_that_fit(trials, lanes, device)
    prefix = f"mnist_tune-lanes-{uuid.uuid4().hex[:8]}"
    servers = LaneServers(settings, prefix, capacity, device.kind)
    servers.start()
    cluster = ray.cluster_resources()
    cpus = cluster["CPU"] / cluster[device.kind] if on_gpu else 1.0
    return Placement({"CPU": max(_rounded_down(cpus / capacity), 1e-4)}, replace(settings, lanes=prefix), servers)


def lanes_that_fit(trials: Sequence[TrialConfig], asked: int | None, device: Device) -> int:
    """Lanes a device: as many as are asked for, by default those of `LANES` that have room.

    Raises:
        UserError: more are asked for than fit.
    """
    from mnist_tune.execution.executor import fitting_lanes  # here, since it imports JAX
    from mnist_tune.training.program import Program

    programs = {Program.of(trial) for trial in trials}
    room = min((fitting_lanes(program, device.memory) for program in programs), default=None)
    if asked and room is not None and asked > room:
        raise UserError(f"--lanes {asked} does not fit into the memory of a {device.kind}; --lanes {room} does")
    most = LANES[device.kind]
    return asked or (most if room is None else max(min(most, room), 1))


def _processes(settings: WorkerSettings, device: Device, cpus: int, trials_per_gpu: int) -> Placement:
    if device.kind == "CPU":
        return Placement({"CPU": cpus}, replace(settings, threads=cpus))
    share = _rounded_down(1 / trials_per_gpu)
    return Placement({"CPU": cpus, "GPU": share}, replace(settings, memory_fraction=0.9 * share))


def _rounded_down(share: float) -> float:
    """To the ten-thousandths that Ray counts in: three thirds must fit into one GPU."""
    return math.floor(1e4 * share) / 1e4
