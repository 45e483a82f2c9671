"""Decide where trials run: each in its own process, or as lanes on the devices of every node; and how many fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import ray

from mnist_tune.data_spec import DataSpec, TaskSpec
from mnist_tune.errors import UserError
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.runtime.device import Device
from mnist_tune.runtime.lane_directory import start_directory
from mnist_tune.runtime.ray_private import kinds_of_nodes
from mnist_tune.trial import TrialConfig

LANES = {"CPU": 4, "GPU": 64}
"""Default number of lanes per device. On CPUs lanes are only there to be tried: processes are as fast."""


@dataclass(frozen=True)
class Placement:
    """The Ray resources of a trial, and the settings of the process that trains it."""

    resources: dict[str, float]
    settings: WorkerSettings


def choose_placement(
    trials: Sequence[TrialConfig],
    data: DataSpec | TaskSpec,
    settings: WorkerSettings,
    device: Device,
    execution: str = "auto",
    lanes: int | None = None,
    cpus_per_trial: int = 1,
    trials_per_gpu: int = 1,
) -> Placement:
    """Choose between lanes and processes, and start the directory of the lanes. Ray must be running. Raises `UserError`
    if more lanes are asked for than fit.

    `trials` are those known in advance; there are none if a searcher proposes them. `execution` is lanes, process, or
    auto: lanes on GPUs and processes on CPUs. By default there are `LANES` on a device, or fewer if these don't fit.
    Without lanes, a process has `cpus_per_trial` cores, and `trials_per_gpu` share a GPU.
    """
    on_gpu = device.kind == "GPU"
    if on_gpu:
        settings = replace(settings, threads=None)
    if not on_gpu and execution != "lanes":
        return Placement({"CPU": cpus_per_trial}, replace(settings, threads=cpus_per_trial))
    if execution == "process":
        share = _rounded_down(1 / trials_per_gpu)
        return Placement({"CPU": cpus_per_trial, "GPU": share}, replace(settings, memory_fraction=0.9 * share))
    capacity = lanes_that_fit(trials, data, lanes, device, settings.sharpness is not None)
    cluster = ray.cluster_resources()
    cpus = cluster["CPU"] / cluster[device.kind] if on_gpu else 1.0
    lanes_of_all = start_directory(settings, capacity, device.kind)
    return Placement({"CPU": max(_rounded_down(cpus / capacity), 1e-4)}, replace(settings, lanes=lanes_of_all))


def refuse_unholdable(cpus: int | None, execution: str) -> None:
    """Raise a `UserError` if no node that is up, and none that the autoscaler can start, has the cores that are asked
    for a trial. Such trials would wait for ever, in silence."""
    nodes = [*resources_of_nodes(), *kinds_of_nodes()]
    with_gpu = [node for node in nodes if node.get("GPU")]
    if execution == "lanes" or (execution == "auto" and with_gpu):
        return  # clients of lanes take fractions of a core
    largest = int(max((node.get("CPU", 0) for node in with_gpu or nodes), default=0))
    if cpus and largest and cpus > largest:
        raise UserError(
            f"--cpus-per-trial {cpus}: no node of the cluster has that many, so no trial could start; the largest has "
            f"{largest}: start a sweep with --cpus-per-trial {largest}, or add a larger node"
        )


def lanes_that_fit(
    trials: Sequence[TrialConfig], data: DataSpec | TaskSpec, asked: int | None, device: Device, measured: bool = False
) -> int:
    """Return the number of lanes per device: `asked`, or by default `LANES` or as many as fit, where measuring
    sharpness takes memory. Raise a `UserError` if more are asked for than fit."""
    from mnist_tune.execution.executor import fitting_lanes  # imports JAX
    from mnist_tune.training.program import Program

    # A task's functions run in no process but those that check and train it: its lanes are as many as usual.
    programs = set() if isinstance(data, TaskSpec) else {Program.of(trial, data) for trial in trials}
    room = fitting_lanes(programs, device.memory, measured) if programs else None
    if asked and room is not None and asked > room:
        does = f"--lanes {room} does" if room else "not even one lane does"
        raise UserError(f"--lanes {asked} does not fit into the memory of a {device.kind}; {does}")
    most = LANES[device.kind]
    return asked or (most if room is None else max(min(most, room), 1))


def resources_of_nodes() -> list[Mapping[str, float]]:
    """Return the resources of the nodes that are up."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def trial_slots(resources: Mapping[str, float]) -> int:
    """Return how many trials with these resources fit on the nodes together; at least 1."""
    # Ray counts in ten thousandths: without rounding, three thirds of a GPU would hold two trials.
    units = {name: round(1e4 * each) for name, each in resources.items() if each}
    nodes = resources_of_nodes()
    return max(1, sum(min(round(1e4 * node.get(name, 0)) // each for name, each in units.items()) for node in nodes))


def _rounded_down(share: float) -> float:
    """Round down to Ray's unit, 1e-4, so that three thirds fit into one GPU."""
    return math.floor(1e4 * share) / 1e4
