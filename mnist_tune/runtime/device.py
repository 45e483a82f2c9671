"""Find the device that trials train on: the GPUs of the Ray cluster if JAX can use them, else its CPU cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import ray

from mnist_tune.errors import UserError
from mnist_tune.terminal import announce

MEMORY_SHARE = 0.8
"""Share of a device's memory for lanes. The rest is for the data set, evaluation and compiled programs."""

PROBE_TIMEOUT_S = 60.0
"""Seconds to wait for a free GPU and its answer. Starting JAX on a GPU takes about 10 seconds."""

NODE_TIMEOUT_S = 1800.0
"""Seconds to wait for the first node of an autoscaled cluster: its machine must start and install everything."""


@dataclass(frozen=True)
class Device:
    """The kind of device that trials train on, and the memory of one."""

    kind: str
    """CPU or GPU: the name of Ray's resource. On CPUs each core is a device."""
    memory: float
    """Bytes that the lanes of one device may take."""


def find_device(quiet: bool) -> Device:
    """Return the device of this Ray cluster. Warn if Ray has GPUs that JAX can't use. Raises `UserError` if all GPUs
    are busy, or the cluster started no node in time."""
    _wait_for_a_node(quiet)
    cluster = ray.cluster_resources()
    if cluster.get("GPU"):
        memory = _gpu_memory(ray.get_runtime_context().get_node_id())
        if memory is not None:
            return Device("GPU", MEMORY_SHARE * memory)
    return Device("CPU", MEMORY_SHARE * float(cluster["memory"] / max(cluster.get("CPU", 1), 1)))


def _wait_for_a_node(quiet: bool) -> None:
    """If only a head without CPUs is up, run a task that needs a CPU, so that the autoscaler starts a node."""
    if ray.cluster_resources().get("CPU"):
        return
    announce("no node that trains is up; waiting for the cluster to start one, which takes minutes", quiet)
    late = f"the cluster started no node within {NODE_TIMEOUT_S:g} s; ray status says what it is waiting for"
    _on_a_node(lambda: None, {"num_cpus": 1}, NODE_TIMEOUT_S, late)


@cache
def _gpu_memory(node: str) -> Any:
    """Return the bytes of a GPU according to JAX, or None, with a warning. `node` is only a key of the cache."""
    late = (
        f"no GPU of the cluster was free within {PROBE_TIMEOUT_S:g} s; wait for the jobs that use them "
        "(ray status), or start a Ray of its own with --address local"
    )
    found = _on_a_node(_memory_by_jax, {"num_gpus": 1, "num_cpus": 0}, PROBE_TIMEOUT_S, late)
    if found is None:
        announce(
            "warning: Ray sees a GPU, but JAX does not, so trials run on CPUs; "
            "for the GPU: python -m pip install 'jax[cuda12]'"
        )
    return found


def _on_a_node(function: Callable[[], Any], resources: dict[str, int], timeout: float, late: str) -> Any:
    """Run a function in a process with these resources. Raise `UserError(late)` if it takes longer than `timeout`."""
    task = ray.remote(max_calls=1, **resources)(function).remote()
    try:
        return ray.get(task, timeout=timeout)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(task, force=True)
        raise UserError(late) from None


def _memory_by_jax() -> float | None:
    import jax

    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform == "gpu" else None
    return float(stats["bytes_limit"]) if stats else None
