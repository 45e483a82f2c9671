"""mnist_tune: how SGD on MNIST behaves across learning rates, architectures and seeds, as Ray Tune sweeps."""

from mnist_tune.config import TrialConfig
from mnist_tune.errors import UserError
from mnist_tune.results import Sweep, load_sweep

__all__ = ["Sweep", "TrialConfig", "UserError", "load_sweep"]
