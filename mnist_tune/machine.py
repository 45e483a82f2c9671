"""The machine that this process runs on."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
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
    """The processor and the widest vectors it has, such as `AMD EPYC (AVX2)`: figures and last bits depend on both.

    Linux tells its own processor even to a process that qemu emulates another one for; the C library has asked the
    processor itself, and is believed: `emulated x86-64, family 6, model 60 (AVX2)`.
    """
    try:
        told = dict(re.findall(r"^(\w[\w ]*\w)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    except OSError:
        return platform.processor() or platform.machine()
    name, flags = told.get("model name", platform.machine()).strip(), told.get("flags", "").split()
    asked = cpuid()
    if asked is not None:
        flags = asked.flags
        if (told.get("cpu family"), told.get("model")) != (str(asked.family), str(asked.model)):
            name = f"emulated x86-64, family {asked.family}, model {asked.model}"
    vectors = [label for flag, label in _VECTORS.items() if flag in flags]
    return f"{name} ({vectors[0]})" if vectors else name


_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}


@dataclass(frozen=True)
class Cpuid:
    """What an x86-64 processor says of itself."""

    family: int
    model: int
    flags: list[str]
    """Those of `_VECTORS` that programs may use, named as in /proc/cpuinfo."""


def cpuid() -> Cpuid | None:
    """What this process's processor said to the C library when the process started; None where that is not glibc
    2.33 or later on x86-64."""
    try:
        # <sys/platform/x86.h>: registers EAX to EDX as read, and as usable, of leaf 1 (index 0) and leaf 7 (index 1).
        leaf = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    except AttributeError:
        return None
    leaf.restype = ctypes.POINTER(ctypes.c_uint32 * 8)
    signature, *_, usable_1, _ = leaf(0).contents
    usable_7 = leaf(1).contents[5]
    usable = {"avx512f": usable_7 >> 16, "avx2": usable_7 >> 5, "avx": usable_1 >> 28}
    # Intel's manual, CPUID leaf 1: an extended family and model, which older processors leave 0.
    return Cpuid(
        family=(signature >> 8 & 0xF) + (signature >> 20 & 0xFF),
        model=(signature >> 4 & 0xF) + (signature >> 12 & 0xF0),
        flags=[flag for flag, bits in usable.items() if bits & 1],
    )
