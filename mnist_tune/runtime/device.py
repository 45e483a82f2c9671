"""What trials train on: the GPUs of this Ray cluster where JAX can use them, else its CPU cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import ray

from mnist_tune.errors import UserError
from mnist_tune.terminal import announce

MEMORY_SHARE = 0.8
"""Of a device's memory for lanes; the data set, evaluation and compiled programs need some too."""

PROBE_TIMEOUT_S = 60.0
"""How long a free GPU is waited for, to ask for its memory; starting JAX on one takes some 10 seconds."""

NODE_TIMEOUT_S = 1800.0
"""How long the first node of a cluster that grows when asked is waited for: a machine's start and installation."""


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
    late = f"no node came to the cluster within {NODE_TIMEOUT_S:g} s; ray status says what it is waiting for"
    _on_a_node(lambda: None, {"num_cpus": 1}, NODE_TIMEOUT_S, late)


@cache
def _gpu_memory(node: str) -> float | None:
    """Bytes of a GPU, asked of JAX in a process that has one; None where JAX finds no GPU there.

    Args:
        node: by which this process is connected to Ray: it asks once a cluster.
    """
    late = (
        f"no GPU of the cluster was free within {PROBE_TIMEOUT_S:g} s; wait for the jobs that hold them "
        "(ray status), or start a Ray of its own without --address"
    )
    found: float | None = _on_a_node(_memory_by_jax, {"num_gpus": 1, "num_cpus": 0}, PROBE_TIMEOUT_S, late)
    return found


def _on_a_node(function: Callable[[], Any], resources: dict[str, int], timeout: float, late: str) -> Any:
    """What a function returns in a process that has these resources; `late` is the error where none is free in time."""
    task = ray.remote(max_calls=1, **resources)(function).remote()
    try:
        return ray.get(task, timeout=timeout)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(task, force=True)
        raise UserError(late) from None


def _memory_by_jax() -> float | None:
    import jax

    device = jax.local_devices()[0]
    told = device.memory_stats() if device.platform == "gpu" else None
    return float(told["bytes_limit"]) if told else None
