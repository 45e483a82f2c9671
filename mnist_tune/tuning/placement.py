"""Where trials run: in processes of their own, or as lanes of the devices of every node."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import ray

from mnist_tune.errors import UserError
from mnist_tune.lanes.worker import WorkerSettings
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.lane_servers import LaneServers
from mnist_tune.tuning.options import LANES, SweepOptions
from mnist_tune.tuning.progress import announce

MEMORY_SHARE = 0.8
"""Of a device's memory for lanes; the data set, evaluation and compiled programs need some too."""

PROBE_TIMEOUT_S = 60.0
"""How long a free GPU is waited for, to ask for its memory; starting JAX on one takes some 10 seconds."""

NODE_TIMEOUT_S = 1800.0
"""How long the first node of a cluster that grows when asked is waited for: a machine's start and installation."""


@dataclass(frozen=True)
class Placement:
    """The resources of a trial and the settings of what trains it."""

    resources: dict[str, float]
    settings: WorkerSettings
    servers: LaneServers | None = None


@dataclass(frozen=True)
class Device:
    """What trials train on: GPUs where JAX can use them, else CPU cores."""

    kind: str
    """CPU or GPU, as Ray names the resource."""
    memory: float
    """Bytes that the lanes of one may take."""


def find_device(quiet: bool) -> Device:
    """The device of this Ray cluster; one warning line where Ray has GPUs that JAX can't use.

    Raises:
        UserError: all GPUs are busy, or no node came to a cluster that has none to train on.
    """
    _wait_for_a_node(quiet)
    cluster = ray.cluster_resources()
    if cluster.get("GPU"):
        memory = _gpu_memory(ray.get_runtime_context().get_node_id())
        if memory is not None:
            return Device("GPU", MEMORY_SHARE * memory)
        announce(
            "warning: Ray sees a GPU, but JAX does not, so trials run on CPUs; "
            "for the GPU: python -m pip install 'mnist_tune[cuda]'",
            quiet,
        )
    return Device("CPU", MEMORY_SHARE * float(cluster["memory"] / max(cluster.get("CPU", 1), 1)))


def _wait_for_a_node(quiet: bool) -> None:
    """Where only a head without CPUs is up, asks the autoscaler for a node by a task that needs one."""
    if ray.cluster_resources().get("CPU"):
        return
    announce("no node to train on is up; waiting for the cluster to start one, which takes minutes", quiet)
    task = ray.remote(num_cpus=1, max_calls=1)(lambda: None).remote()
    try:
        ray.get(task, timeout=NODE_TIMEOUT_S)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(task, force=True)
        raise UserError(
            f"no node came to the cluster within {NODE_TIMEOUT_S:g} s; ray status says what it is waiting for"
        ) from None


@cache
def _gpu_memory(node: str) -> float | None:
    """Bytes of a GPU, asked of JAX in a process that has one; None where JAX finds no GPU there.

    Args:
        node: by which this process is connected to Ray: it asks once a cluster.
    """
    probe = ray.remote(num_gpus=1, num_cpus=0, max_calls=1)(_memory_by_jax).remote()
    try:
        found: float | None = ray.get(probe, timeout=PROBE_TIMEOUT_S)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(probe, force=True)
        raise UserError(
            f"no GPU of the cluster was free within {PROBE_TIMEOUT_S:g} s; wait for the jobs that hold them "
            "(ray status), or start a Ray of its own without --address"
        ) from None
    return found


def _memory_by_jax() -> float | None:
    import jax

    device = jax.local_devices()[0]
    told = device.memory_stats() if device.platform == "gpu" else None
    return float(told["bytes_limit"]) if told else None


def place(trials: Sequence[TrialConfig], settings: WorkerSettings, options: SweepOptions, device: Device) -> Placement:
    """Decides between lanes and processes, and starts the lane servers. Ray runs.

    Args:
        trials: known beforehand; empty where a searcher proposes them.
        settings: common to both.
        options: `auto` takes lanes on GPUs and processes on CPUs.
        device: what there is (`find_device`).

    Raises:
        UserError: more lanes are asked for than fit.
    """
    on_gpu = device.kind == "GPU"
    if on_gpu:
        settings = replace(settings, threads=None)
    if options.execution == "process" or (options.execution == "auto" and not on_gpu):
        return _processes(settings, device, options)
    capacity = lanes_that_fit(trials, options.lanes, device)
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
    from mnist_tune.lanes.executor import fitting_lanes  # here, since it imports JAX
    from mnist_tune.training.program import Program

    programs = {Program.of(trial) for trial in trials}
    room = min((fitting_lanes(program, device.memory) for program in programs), default=None)
    if asked and room is not None and asked > room:
        raise UserError(f"--lanes {asked} does not fit into the memory of a {device.kind}; --lanes {room} does")
    most = LANES[device.kind]
    return asked or (most if room is None else max(min(most, room), 1))


def _processes(settings: WorkerSettings, device: Device, options: SweepOptions) -> Placement:
    cpus = options.cpus_per_trial or 1
    if device.kind == "CPU":
        return Placement({"CPU": cpus}, replace(settings, threads=cpus))
    share = _rounded_down(1 / options.trials_per_gpu)
    return Placement({"CPU": cpus, "GPU": share}, replace(settings, memory_fraction=0.9 * share))


def _rounded_down(share: float) -> float:
    """To the ten-thousandths that Ray counts in: three thirds must fit into one GPU."""
    return math.floor(1e4 * share) / 1e4
