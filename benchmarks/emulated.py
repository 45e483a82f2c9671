"""The processor that a program sees, also where qemu emulates another one.

Linux tells its own processor even to a process that qemu emulates another one for. The C library has asked the
processor itself.
"""

from __future__ import annotations

import ctypes
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from mnist_tune.machine import processor_model, with_vectors


def processor_seen() -> str:
    """As `processor_model`, but of an emulated processor `emulated x86-64, family 6, model 60 (AVX2)`."""
    asked = cpuid()
    if asked is None or platform.system() != "Linux":
        return processor_model()
    told = dict(re.findall(r"^(\w[\w ]*\w)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    if (told.get("cpu family"), told.get("model")) == (str(asked.family), str(asked.model)):
        return with_vectors(told.get("model name", platform.machine()).strip(), asked.flags)
    return with_vectors(f"emulated x86-64, family {asked.family}, model {asked.model}", asked.flags)


@dataclass(frozen=True)
class Cpuid:
    """What an x86-64 processor says of itself."""

    family: int
    model: int
    flags: list[str]
    """Of avx512f, avx2 and avx those that programs may use, as /proc/cpuinfo names them."""


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
