"""What people read: tables as text, figures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_tune.reports.figures import plot_notebook, plot_regimes
    from mnist_tune.reports.text import print_comparisons, print_replicates, print_report

_HOMES = {
    "plot_notebook": "figures",
    "plot_regimes": "figures",
    "print_comparisons": "text",
    "print_replicates": "text",
    "print_report": "text",
}

__all__ = ["plot_notebook", "plot_regimes", "print_comparisons", "print_replicates", "print_report"]


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: a command starts its sweep sooner without pandas and matplotlib."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mnist_tune.reports' has no attribute {name!r}")
    return getattr(import_module(f"mnist_tune.reports.{_HOMES[name]}"), name)
