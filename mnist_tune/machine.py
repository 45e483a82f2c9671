"""The machine that this process runs on, and the versions of what runs."""

from __future__ import annotations

import ctypes
import importlib.metadata
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")

NEWEST_TRIED = {"ray": "2.60", "jax": "0.11"}
"""The newest releases that were tried; docs/versions.md says how."""


def give_memory_back() -> None:
    """Return the memory that this process has freed to the system. glibc keeps much of
    it, 140 MB after the compilation of a dozen programs; other C libraries need no such
    call."""
    # no such function, or no C library to ask
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def usable_cpus() -> int:
    """Return the number of CPU cores that this process may use: at most its container's
    quota, rounded up."""
    cpus: float = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    limits = [*_limits("cpu.max"), *_limits("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    for quota, period in limits:
        if quota > 0:
            cpus = min(cpus, quota / period)
    return max(1, math.ceil(cpus))


def usable_memory() -> int:
    """Return the bytes of memory that this process may use: at most those of its
    container."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for [limit] in [*_limits("memory.max"), *_limits("memory.limit_in_bytes")]:
        memory = min(memory, limit)
    return memory


def _limits(*files: str) -> Iterator[list[int]]:
    """Yield the numbers in these files of cgroup v2, or of v1, for each control group
    of this process and its parents that has a limit there.

    Inside a container, the group's folder may be mounted as the root, so that the
    group's own path does not exist.
    """
    for group in _control_groups():
        with suppress(OSError, ValueError):
            texts = [(group / file).read_text() for file in files]
            yield [int(word) for word in " ".join(texts).split()]


def _control_groups() -> Iterator[Path]:
    """Yield the folders of this process's control groups and of their parents."""
    with suppress(OSError):
        text = OWN_CGROUPS.read_text()
        groups = re.findall(r"^\d+:(.*?):/(.*)$", text, re.MULTILINE)
        for controllers, path in groups:
            for controller in controllers.split(","):
                folder = CGROUPS / controller / path
                yield folder
                yield from folder.parents


def processor_model() -> str:
    """Return the processor and its widest vectors, such as `AMD EPYC (AVX2)`. Results
    may depend on both."""
    try:
        info = cpu_info()
    except OSError:
        return platform.processor() or platform.machine()
    name = info.get("model name", platform.machine()).strip()
    return with_vectors(name, info.get("flags", "").split())


def cpu_info() -> dict[str, str]:
    """Return the fields that Linux lists for a core in /proc/cpuinfo. Raises OSError on
    other systems."""
    text = Path("/proc/cpuinfo").read_text()
    return dict(re.findall(r"^(\w[\w ]*\w)\s*: (.*)$", text, re.MULTILINE))


def with_vectors(name: str, flags: Sequence[str]) -> str:
    """Return a processor's name followed by the widest vectors among its flags."""
    widths = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
    for flag, label in widths.items():
        if flag in flags:
            return f"{name} ({label})"
    return name


def describe_environment() -> dict[str, Any]:
    """Return versions, machine and git revision, for `sweep.json`."""
    names = ("mnist_tune", "jax", "jaxlib", "optax", "ray", "numpy", "pandas")
    versions = {name: installed_version(name) for name in names}
    versions["python"] = platform.python_version()
    return {
        "versions": versions,
        "git_revision": _git_revision(),
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": processor_model(),
        "cpus": usable_cpus(),
    }


def changed_versions(before: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions, and the processor, that differ from those of an environment
    `before`, each as `<new> now, it was <old>`."""
    now = describe_environment()
    new_versions = now["versions"] | {"processor": now["processor"]}
    old_versions = dict(before.get("versions", {}))
    old_versions["processor"] = before.get("processor", now["processor"])
    changed = {}
    for name, old in old_versions.items():
        new = new_versions.get(name)
        if new != old:
            changed[name] = f"{new} now, it was {old}"
    return changed


def installed_version(name: str) -> str | None:
    """Return the version of a package, None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def newer_than_tried() -> list[str]:
    """Return the libraries that are newer than the newest that was tried, a line
    each."""
    lines = []
    for name, tried in NEWEST_TRIED.items():
        version = installed_version(name) or ""
        numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
        if numbers > [int(part) for part in tried.split(".")]:
            lines.append(f"{name} {version} is newer than what was tried, {tried}")
    return lines


def _git_revision() -> str | None:
    """Return the revision of the folder above the package; None if only a folder
    further above is of Git: that one may have this package installed."""
    package = Path(__file__).resolve().parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    ceiling = {"GIT_CEILING_DIRECTORIES": str(package.parents[1])}
    try:
        described = subprocess.run(
            command,
            cwd=package,
            env=os.environ | ceiling,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None
