"""What an implementation of training is given, and the methods that benchmarks call to
time it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mnist_tune import TrialConfig
from mnist_tune.data.dataset import Dataset
from mnist_tune.training.architectures import architecture
from mnist_tune.training.networks import initial


@dataclass(frozen=True)
class Setting:
    """What all sides train."""

    config: TrialConfig
    data: Dataset

    @property
    def params(self) -> Any:
        """Initial parameters: `(weight, bias)` of each layer, NumPy float32."""
        return initial(architecture(self.config.architecture, self.data.spec), 0)

    @property
    def activation(self) -> str:
        """The activation of the hidden layers, tanh or relu."""
        return "tanh" if "-tanh" in self.config.architecture else "relu"


class Side(Protocol):
    """An implementation of training. Its methods return when the work is done, not when
    it is dispatched."""

    def __init__(self, setting: Setting) -> None: ...

    def compile(self) -> None:
        """Do everything that happens only once. The parameters stay as they are."""

    def train(self, epoch: int) -> None:
        """Train for one epoch; `epoch` is its number, from 0."""

    def evaluate(self) -> tuple[float, float]:
        """Return the accuracies on the training and the test set."""


def floats(images: np.ndarray) -> np.ndarray:
    """Convert uint8 images to rows of float32 in [0, 1], on the host."""
    return images.reshape(len(images), -1) / np.float32(255)
