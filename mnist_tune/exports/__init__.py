"""Mirrors of a sweep in the tools that people use already: TensorBoard, MLflow, W&B,
Optuna, CSV files, safetensors.

A mirror is made from the sweep's folder, never by the sweep itself, so a slow or dead
service holds nothing up. Each tool has a module with a class `Mirror`. Its
`update(sweep)` writes what the copy lacks, and returns how to look at it. Writing the
same again changes nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def mirror(kind: str, output: str | None) -> Any:
    """Return a mirror by the name of its module. `output` is its folder, file or
    server; by default the one in which the tool itself looks first. Raises `UserError`
    if the tool is not installed."""
    return import_module(f"mnist_tune.exports.{kind}").Mirror(output)
