"""What people read: tables as text, and figures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_tune.reports.figures import plot_edges, plot_regimes
    from mnist_tune.reports.terminal import print_replicates, print_report

__all__ = ["plot_edges", "plot_regimes", "print_replicates", "print_report"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: without pandas and matplotlib, a command starts its sweep sooner."""
    if name not in __all__:
        raise AttributeError(f"module 'mnist_tune.reports' has no attribute {name!r}")
    module = "figures" if name.startswith("plot") else "terminal"
    return getattr(import_module(f"mnist_tune.reports.{module}"), name)
