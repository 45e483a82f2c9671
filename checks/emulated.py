"""The processor that this process runs on, even if qemu emulates it.

Under qemu's emulation, /proc/cpuinfo still describes the real processor. The C library
has asked the emulated one.
"""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass

from mnist_tune.machine import cpu_info, processor_model, with_vectors


def processor_seen() -> str:
    """Return `processor_model()`, or for an emulated processor `emulated x86-64, family
    6, model 60 (AVX2)`."""
    seen = cpuid()
    if seen is None or platform.system() != "Linux":
        return processor_model()
    real = cpu_info()
    is_real_family = real.get("cpu family") == str(seen.family)
    is_real_model = real.get("model") == str(seen.model)
    name = f"emulated x86-64, family {seen.family}, model {seen.model}"
    if is_real_family and is_real_model:
        name = real.get("model name", platform.machine()).strip()
    return with_vectors(name, seen.flags)


@dataclass(frozen=True)
class Cpuid:
    """What an x86-64 processor says about itself."""

    family: int
    model: int
    flags: list[str]
    """Those of avx512f, avx2 and avx that programs may use, named as in
    /proc/cpuinfo."""


def cpuid() -> Cpuid | None:
    """Return what the processor told the C library when this process started. It is
    None unless the C library is glibc 2.33 or later on x86-64."""
    try:
        # <sys/platform/x86.h>: for leaf 1 (index 0) and leaf 7 (index 1), registers EAX
        # to EDX as read, then as usable.
        leaf = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    except AttributeError:
        return None
    leaf.restype = ctypes.POINTER(ctypes.c_uint32 * 8)
    signature, *_, usable_1, _ = leaf(0).contents
    usable_7 = leaf(1).contents[5]
    usable = {"avx512f": usable_7 >> 16, "avx2": usable_7 >> 5, "avx": usable_1 >> 28}
    # Intel's manual, CPUID leaf 1: family and model have extension bits, which are 0 on
    # older processors.
    family = signature >> 8 & 0xF
    family_extension = signature >> 20 & 0xFF
    model = signature >> 4 & 0xF
    model_extension = signature >> 12 & 0xF0
    return Cpuid(
        family=family + family_extension,
        model=model + model_extension,
        flags=[flag for flag, bits in usable.items() if bits & 1],
    )
