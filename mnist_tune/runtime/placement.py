"""Where trials run: on the GPUs of the Ray cluster if JAX can use them, else on its
cores; each in its own process, or as lanes on the devices of every node; and how many
fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import ray

from mnist_tune.data_spec import DataSpec, TaskSpec
from mnist_tune.errors import UserError
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.runtime.lane_directory import start_directory
from mnist_tune.runtime.ray_private import kinds_of_nodes
from mnist_tune.terminal import announce, warning
from mnist_tune.trial import TrialConfig

MEMORY_SHARE = 0.8
"""Share of a device's memory for lanes. The rest is for the data set, evaluation and
compiled programs."""

PROBE_TIMEOUT_S = 60.0
"""Seconds to wait for a free GPU and its answer. Starting JAX on a GPU takes about 10
seconds."""

NODE_TIMEOUT_S = 1800.0
"""Seconds to wait for the first node of an autoscaled cluster: its machine must start
and install everything."""


@dataclass(frozen=True)
class Device:
    """The kind of device that trials train on, and the memory of one."""

    kind: str
    """CPU or GPU: the name of Ray's resource. On CPUs each core is a device."""
    memory: float
    """Bytes that the lanes of one device may take."""


def find_device(quiet: bool) -> Device:
    """Return the device of this Ray cluster. Warn if Ray has GPUs that JAX can't use.
    Raises `UserError` if all GPUs are busy, or the cluster started no node in time."""
    _wait_for_a_node(quiet)
    cluster = ray.cluster_resources()
    if cluster.get("GPU"):
        memory = _gpu_memory(ray.get_runtime_context().get_node_id())
        if memory is not None:
            return Device("GPU", MEMORY_SHARE * memory)
    cores = max(cluster.get("CPU", 1), 1)
    return Device("CPU", MEMORY_SHARE * float(cluster["memory"] / cores))


def device_of_loops(quiet: bool, gpus: float) -> Device:
    """Return that loops train on cores: which GPUs they use, of which a trial has so
    many, is known to their own code alone. Raises `UserError` if no node has as many,
    or the cluster started no node in time."""
    _wait_for_a_node(quiet)
    nodes = [*resources_of_nodes(), *kinds_of_nodes()]
    most = max(node.get("GPU", 0) for node in nodes)
    if gpus > most:
        raise UserError(
            f"--gpus-per-trial {gpus:g}: no node has that many, so no trial could start; the most is {most:g}"
        )
    return Device("CPU", math.inf)


def _wait_for_a_node(quiet: bool) -> None:
    """If only a head without CPUs is up, run a task that needs a CPU, so that the
    autoscaler starts a node."""
    if ray.cluster_resources().get("CPU"):
        return
    what = "waiting for the cluster to start one, which takes minutes"
    announce(f"no node that trains is up; {what}", quiet)
    late = f"the cluster started no node within {NODE_TIMEOUT_S:g} s"
    hint = "ray status says what it is waiting for"
    _on_a_node(lambda: None, {"num_cpus": 1}, NODE_TIMEOUT_S, f"{late}; {hint}")


@cache
def _gpu_memory(node: str) -> Any:
    """Return the bytes of a GPU according to JAX, or None, with a warning. `node` is
    only a key of the cache."""
    late = (
        f"no GPU of the cluster was free within {PROBE_TIMEOUT_S:g} s; wait for the jobs that use them "
        "(ray status), or start a Ray of its own with --address local"
    )
    resources = {"num_gpus": 1, "num_cpus": 0}
    memory = _on_a_node(_memory_by_jax, resources, PROBE_TIMEOUT_S, late)
    if memory is None:
        problem = "Ray sees a GPU, but JAX does not, so trials run on CPUs"
        how = "for the GPU: python -m pip install 'jax[cuda12]'"
        announce(warning(f"{problem}; {how}"))
    return memory


def _on_a_node(
    function: Callable[[], Any], resources: dict[str, int], timeout: float, late: str
) -> Any:
    """Run a function in a process with these resources. Raise `UserError(late)` if it
    takes longer than `timeout`."""
    task = ray.remote(max_calls=1, **resources)(function).remote()
    try:
        return ray.get(task, timeout=timeout)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(task, force=True)
        raise UserError(late) from None


def _memory_by_jax() -> float | None:
    import jax

    device = jax.local_devices()[0]
    if device.platform != "gpu":
        return None
    stats = device.memory_stats()
    return float(stats["bytes_limit"]) if stats else None


LANES = {"CPU": 4, "GPU": 64}
"""Default number of lanes per device. On CPUs lanes are only there to be tried:
processes are as fast."""
CLIENT = 120e6
"""Bytes of a node's memory that a lane's client takes, the process of its trial."""


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
    """Choose between lanes and processes, and start the directory of the lanes. Ray
    must be running. Raises `UserError` if more lanes are asked for than fit.

    `trials` are those known in advance; there are none if a searcher proposes them.
    `execution` is lanes, process, or auto: lanes on GPUs and processes on CPUs. By
    default there are `LANES` on a device, or fewer if these don't fit into its memory,
    or their clients into that of the nodes. Without lanes, a process has
    `cpus_per_trial` cores, and `trials_per_gpu` share a GPU.
    """
    on_gpu = device.kind == "GPU"
    if on_gpu:
        settings = replace(settings, threads=None)
    if not on_gpu and execution != "lanes":
        settings = replace(settings, threads=cpus_per_trial)
        return Placement({"CPU": cpus_per_trial}, settings)
    if execution == "process":
        share = _rounded_down(1 / trials_per_gpu)
        settings = replace(settings, memory_fraction=0.9 * share)
        return Placement({"CPU": cpus_per_trial, "GPU": share}, settings)
    measured = settings.sharpness is not None
    capacity = lanes_that_fit(trials, data, lanes, device, measured)
    cluster = ray.cluster_resources()
    devices = cluster.get(device.kind, 1)
    if lanes is None:
        clients = cluster.get("memory", math.inf) / devices / CLIENT
        capacity = max(int(min(capacity, clients)), 1)
    cpus = 1.0
    if on_gpu:
        cpus = cluster["CPU"] / devices
    directory = start_directory(settings, capacity, device.kind)
    cpus_of_client = max(_rounded_down(cpus / capacity), 1e-4)
    return Placement({"CPU": cpus_of_client}, replace(settings, lanes=directory))


def refuse_unholdable(cpus: int | None, execution: str) -> None:
    """Raise a `UserError` if no node that is up, and none that the autoscaler can
    start, has the cores that are asked for a trial. Such trials would wait for ever, in
    silence."""
    nodes = [*resources_of_nodes(), *kinds_of_nodes()]
    with_gpu = [node for node in nodes if node.get("GPU")]
    if execution == "lanes" or (execution == "auto" and with_gpu):
        return  # clients of lanes take fractions of a core
    cores = [node.get("CPU", 0) for node in with_gpu or nodes]
    largest = int(max(cores, default=0))
    if cpus and largest and cpus > largest:
        problem = "no node of the cluster has that many, so no trial could start"
        hint = f"start a sweep with --cpus-per-trial {largest}, or add a larger node"
        raise UserError(
            f"--cpus-per-trial {cpus}: {problem}; the largest has {largest}: {hint}"
        )


def lanes_that_fit(
    trials: Sequence[TrialConfig],
    data: DataSpec | TaskSpec,
    lanes: int | None,
    device: Device,
    measured: bool,
) -> int:
    """Return the number of lanes per device: `lanes`, or by default `LANES` or as many
    as fit, where measuring sharpness takes memory. Raise a `UserError` if more are
    asked for than fit."""
    from mnist_tune.execution.executor import lane_bytes  # imports JAX
    from mnist_tune.training.program import Program

    bytes_of_lane = data.lane_bytes
    if trials and not bytes_of_lane:
        programs = {Program.of(trial, data) for trial in trials}
        bytes_of_lane = lane_bytes(programs, measured)
    usual = LANES[device.kind]
    if not bytes_of_lane:
        return lanes or usual
    room = int(device.memory // bytes_of_lane)
    if not lanes:
        return max(min(usual, room), 1)
    if lanes > room:
        does = f"--lanes {room} does" if room else "not even one lane does"
        raise UserError(
            f"--lanes {lanes} does not fit into the memory of a {device.kind}; {does}"
        )
    return lanes


def resources_of_nodes() -> list[Mapping[str, float]]:
    """Return the resources of the nodes that are up."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def trial_slots(resources: Mapping[str, float]) -> int:
    """Return how many trials with these resources fit on the nodes together; at least
    1."""
    # Ray counts in ten thousandths: without rounding, three thirds of a GPU would hold
    # two trials.
    units = {name: round(1e4 * amount) for name, amount in resources.items() if amount}
    slots = 0
    for node in resources_of_nodes():
        fitting = []
        for name, needed in units.items():
            there = round(1e4 * node.get(name, 0))
            fitting.append(there // needed)
        slots += min(fitting)
    return max(slots, 1)


def _rounded_down(share: float) -> float:
    """Round down to Ray's unit, 1e-4, so that three thirds fit into one GPU."""
    return math.floor(1e4 * share) / 1e4
