"""What an implementation of training is given and must do, so that a benchmark can time it beside others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mnist_tune.data.dataset import Dataset
from mnist_tune.training.architectures import architecture


@dataclass(frozen=True)
class Setting:
    """What all sides train."""

    architecture: str
    learning_rate: float
    batch_size: int
    data: Dataset

    @property
    def params(self) -> Any:
        """Initial parameters, numpy float32 `(weight, bias)` a layer."""
        return architecture(self.architecture).init(0)

    @property
    def activation(self) -> str:
        """Of the hidden layers: tanh or relu."""
        return "tanh" if "-tanh" in self.architecture else "relu"


class Side(Protocol):
    """One implementation. Its methods return when the work is done, not when it is dispatched."""

    def __init__(self, setting: Setting) -> None: ...

    def compile(self) -> None:
        """All that happens once; leaves the parameters as they were."""

    def train(self, epoch: int) -> None:
        """Trains for the epoch of that number, 0-based."""

    def evaluate(self) -> tuple[float, float]:
        """Accuracies on the training and the test set."""


def floats(images: np.ndarray) -> np.ndarray:
    """uint8 pixels to float32 in [0, 1], on the host."""
    return images / np.float32(255)
