"""Ours: the jitted scan over an epoch and the jitted evaluation of
`mnist_tune.training.program`."""

from __future__ import annotations

import jax
import numpy as np
from jax import Array

from benchmarks.sides.setting import Setting
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.convolutions_in_loops import speed_up_convolutions
from mnist_tune.training.program import Program


class Ours:
    """One trial in this process, without lanes and without Ray."""

    def __init__(self, setting: Setting) -> None:
        speed_up_convolutions()
        self._data = DeviceData.put(setting.data, label_noise=0, holdout=0)
        config = setting.config
        self._program = Program.of(config, setting.data.spec)
        steps = config.steps(self._data.train_count)
        values = self._program.step.hyperparameters(config, steps)
        hyper = {name: np.float32(value) for name, value in values.items()}
        state = self._program.init(config.seed, hyper)
        key = np.zeros(2, np.uint32)
        self._state, self._hyper, self._key = jax.device_put((state, hyper, key))

    def compile(self) -> None:
        data = self._data.arrays
        train = jax.jit(self._program.train_epoch, donate_argnums=(0,))
        lowered = train.lower(self._state, self._hyper, self._key, data, self._order(0))
        self._train_epoch = lowered.compile()
        evaluate = jax.jit(self._program.evaluate)
        split = np.array([0, 1], np.int32)
        self._evaluate = evaluate.lower(self._state, data, split).compile()

    def train(self, epoch: int) -> None:
        arguments = (
            self._state,
            self._hyper,
            self._key,
            self._data.arrays,
            self._order(epoch),
        )
        self._state, _ = jax.block_until_ready(self._train_epoch(*arguments))

    def evaluate(self) -> tuple[float, float]:
        return self.accuracy("train"), self.accuracy("test")

    def accuracy(self, split: str) -> float:
        first, count = self._data.splits[split]
        part = np.array([first, count], np.int32)
        _, sums = self._evaluate(self._state, self._data.arrays, part)
        return int(sums["accuracy"][0]) / count

    def _order(self, epoch: int) -> Array:
        order: Array = jax.device_put(batch_order(0, epoch, self._data.train_count))
        return order
