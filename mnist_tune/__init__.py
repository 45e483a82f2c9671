"""mnist_tune: how SGD on MNIST behaves across learning rates, architectures and seeds,
as Ray Tune sweeps."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_tune.commands.resume import resume_sweep as resume_sweep
    from mnist_tune.curves.read import read_curves as read_curves
    from mnist_tune.data_spec import DataSpec as DataSpec
    from mnist_tune.decisions.decide import DecideOptions as DecideOptions
    from mnist_tune.decisions.decide import decide as decide
    from mnist_tune.edge.range_run import RangeTestOptions as RangeTestOptions
    from mnist_tune.edge.range_run import range_test as range_test
    from mnist_tune.edge.search import EdgeOptions as EdgeOptions
    from mnist_tune.edge.search import find_edge as find_edge
    from mnist_tune.errors import UserError as UserError
    from mnist_tune.loop import Loop as Loop
    from mnist_tune.loop import Run as Run
    from mnist_tune.own_code.registry import register as register
    from mnist_tune.own_code.registry import register_optimizer as register_optimizer
    from mnist_tune.sweep import Sweep as Sweep
    from mnist_tune.sweep import load_sweep as load_sweep
    from mnist_tune.training.frameworks import init_and_rebuild as init_and_rebuild
    from mnist_tune.training.rising_rate import Ramp as Ramp
    from mnist_tune.training.task import Network as Network
    from mnist_tune.training.task import Task as Task
    from mnist_tune.trial import TrialConfig as TrialConfig
    from mnist_tune.tuning.options import SweepOptions as SweepOptions
    from mnist_tune.tuning.regime_scheduler import RegimeScheduler as RegimeScheduler
    from mnist_tune.tuning.sweep import run_search as run_search
    from mnist_tune.tuning.sweep import run_sweep as run_sweep

_MODULE_OF = {
    "resume_sweep": "commands.resume",
    "read_curves": "curves.read",
    "DataSpec": "data_spec",
    "DecideOptions": "decisions.decide",
    "decide": "decisions.decide",
    "RangeTestOptions": "edge.range_run",
    "range_test": "edge.range_run",
    "Ramp": "training.rising_rate",
    "EdgeOptions": "edge.search",
    "find_edge": "edge.search",
    "UserError": "errors",
    "Loop": "loop",
    "Run": "loop",
    "register": "own_code.registry",
    "register_optimizer": "own_code.registry",
    "Sweep": "sweep",
    "load_sweep": "sweep",
    "init_and_rebuild": "training.frameworks",
    "Network": "training.task",
    "Task": "training.task",
    "TrialConfig": "trial",
    "SweepOptions": "tuning.options",
    "RegimeScheduler": "tuning.regime_scheduler",
    "run_search": "tuning.sweep",
    "run_sweep": "tuning.sweep",
}

__all__ = [*_MODULE_OF]


def __dir__() -> list[str]:
    """Return the public names, also those that no one has used yet: notebooks complete
    them."""
    return __all__


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that `import mnist_tune` itself loads
    neither pandas, Ray nor JAX."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mnist_tune' has no attribute {name!r}")
    return getattr(import_module(f"mnist_tune.{_MODULE_OF[name]}"), name)
