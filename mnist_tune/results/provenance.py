"""The environment of a sweep: versions, machine and git revision."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_tune.machine import processor_model, usable_cpus


def describe_environment() -> dict[str, Any]:
    """Return versions, machine and git revision, for `sweep.json`."""
    names = ("mnist_tune", "jax", "jaxlib", "optax", "ray", "numpy", "pandas")
    return {
        "versions": {name: _version(name) for name in names} | {"python": platform.python_version()},
        "git_revision": _git_revision(),
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": processor_model(),
        "cpus": usable_cpus(),
    }


def changed_versions(meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions, and the processor, that differ from a `sweep.json`, each as `<new> now, it was <old>`."""
    before, now = meta.get("environment", {}), describe_environment()
    pairs = {name: (now["versions"].get(name), was) for name, was in before.get("versions", {}).items()}
    pairs["processor"] = now["processor"], before.get("processor", now["processor"])
    return {name: f"{new} now, it was {old}" for name, (new, old) in pairs.items() if new != old}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
