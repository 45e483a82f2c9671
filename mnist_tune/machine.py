"""The machine that this process runs on."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """CPU cores that this process may use: those it sees, at most its container's quota, rounded up."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(seen, _cpu_quota())))


def _cpu_quota() -> float:
    """Cores by the smallest quota of this process's control group and those above it, of version 2 or 1.

    A container may see the folders of its group as if they were the root's, and the group's own path lead nowhere.
    """
    try:
        told = OWN_CGROUPS.read_text()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for controllers, path in re.findall(r"^\d+:(.*?):/(.*)$", told, re.MULTILINE):
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / "cpu" if controllers else CGROUPS
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
        below = [root / path, *(root / path).parents]
        for group in below[: below.index(root) + 1]:
            with suppress(OSError, ValueError):
                quota, period = " ".join((group / name).read_text() for name in files).split()
                quotas += [int(quota) / int(period)] if quota not in ("max", "-1") else []
    return min(quotas)


def processor_model() -> str:
    """The processor and the widest vectors it has, such as `AMD EPYC (AVX2)`: figures and last bits depend on both."""
    try:
        told = dict(re.findall(r"^(\w[\w ]*\w)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    except OSError:
        return platform.processor() or platform.machine()
    return with_vectors(told.get("model name", platform.machine()).strip(), told.get("flags", "").split())


def with_vectors(name: str, flags: Sequence[str]) -> str:
    """The name of a processor with the widest vectors among its flags."""
    vectors = [label for flag, label in _VECTORS.items() if flag in flags]
    return f"{name} ({vectors[0]})" if vectors else name


_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
