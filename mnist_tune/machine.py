"""The machine that this process runs on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def usable_cpus() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
