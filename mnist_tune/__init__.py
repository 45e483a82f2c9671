"""mnist_tune: how SGD on MNIST behaves across learning rates, architectures and seeds, as Ray Tune sweeps."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_tune.commands.resume import resume_sweep
    from mnist_tune.data_spec import DataSpec
    from mnist_tune.edge.options import EdgeOptions
    from mnist_tune.edge.range_test import RangeTestOptions, range_test
    from mnist_tune.edge.search import find_edge
    from mnist_tune.errors import UserError
    from mnist_tune.own_code.registry import register, register_optimizer
    from mnist_tune.sweep import Sweep, load_sweep
    from mnist_tune.training.network import Network
    from mnist_tune.trial import TrialConfig
    from mnist_tune.tuning.options import SweepOptions
    from mnist_tune.tuning.sweep import run_search, run_sweep

_MODULE_OF = {
    "DataSpec": "data_spec",
    "EdgeOptions": "edge.options",
    "Network": "training.network",
    "RangeTestOptions": "edge.range_test",
    "Sweep": "sweep",
    "SweepOptions": "tuning.options",
    "TrialConfig": "trial",
    "UserError": "errors",
    "find_edge": "edge.search",
    "load_sweep": "sweep",
    "range_test": "edge.range_test",
    "register": "own_code.registry",
    "register_optimizer": "own_code.registry",
    "resume_sweep": "commands.resume",
    "run_search": "tuning.sweep",
    "run_sweep": "tuning.sweep",
}

__all__ = [
    "DataSpec",
    "EdgeOptions",
    "Network",
    "RangeTestOptions",
    "Sweep",
    "SweepOptions",
    "TrialConfig",
    "UserError",
    "find_edge",
    "load_sweep",
    "range_test",
    "register",
    "register_optimizer",
    "resume_sweep",
    "run_search",
    "run_sweep",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that `import mnist_tune` itself loads neither pandas, Ray nor JAX."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mnist_tune' has no attribute {name!r}")
    return getattr(import_module(f"mnist_tune.{_MODULE_OF[name]}"), name)
