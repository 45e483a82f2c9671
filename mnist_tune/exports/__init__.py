"""Mirrors of a sweep in the tools that people use already: TensorBoard, MLflow, W&B, Optuna, and CSV files.

A mirror is made from the sweep's folder, never by the sweep itself, so a slow or dead service holds nothing up.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from mnist_tune.results.tables import Tables


class Mirror(Protocol):
    """A copy of a sweep in another tool."""

    def update(self, sweep: Tables) -> str:
        """Write what the copy lacks, and return how to look at it. Writing the same again changes nothing."""


MIRRORS = {
    "csv": "csv_files",
    "tensorboard": "tensorboard_logs",
    "mlflow": "mlflow_runs",
    "wandb": "wandb_runs",
    "optuna": "optuna_study",
}
"""The module of each kind of mirror, which has a class `Mirror`."""


def mirror(kind: str, output: str | None) -> Mirror:
    """Return a mirror of a kind of `MIRRORS`. `output` is its folder, file or server; by default the one in which the
    tool itself looks first. Raises `UserError` if the tool is not installed."""
    made: Mirror = import_module(f"mnist_tune.exports.{MIRRORS[kind]}").Mirror(output)
    return made
