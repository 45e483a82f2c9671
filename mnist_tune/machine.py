"""The machine that this process runs on."""

from __future__ import annotations

import math
import os
import platform
import re
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """CPU cores that this process may use: those it sees, at most its container's quota, rounded up."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(seen, _cpu_quota())))


def _cpu_quota() -> float:
    """Cores by the smallest `cpu.max` of this process's control group (version 2) and those above it."""
    try:
        own = re.search(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    except OSError:
        return math.inf
    folder, quotas = CGROUPS / (own[1] if own else ""), [math.inf]
    for group in (folder, *folder.parents):
        if group != CGROUPS and CGROUPS not in group.parents:
            break
        with suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()
            quotas += [int(quota) / int(period)] if quota != "max" else []
    return min(quotas)


def processor_model() -> str:
    """The processor and the widest vectors it has, such as `AMD EPYC (AVX2)`: figures and last bits depend on both."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"^model name\s*: (.*)$", told, re.MULTILINE)
    vectors = [label for flag, label in _VECTORS.items() if re.search(rf"\b{flag}\b", told)]
    model = name[1].strip() if name else platform.machine()
    return f"{model} ({vectors[0]})" if vectors else model


_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
