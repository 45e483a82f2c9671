"""Eager PyTorch, written for speed on one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.sides.setting import Setting, floats
from mnist_tune.training.batch_order import batch_order

EVALUATION_BLOCK = 250
"""Images that are evaluated at a time. Among 128 to 10,000, this is fastest for
convnet, and fast for MLPs."""


class PyTorch:
    """Keeps the data in memory as float32, and uses fused SGD and, for convnet,
    channels_last."""

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(1)
        self._setting = setting
        self._config = setting.config
        data = setting.data
        self._apply = self._mlp
        if self._config.architecture == "convnet":
            self._apply = self._convnet
        train_labels = torch.from_numpy(data.train_labels.astype(np.int64))
        test_labels = torch.from_numpy(data.test_labels.astype(np.int64))
        self._train_set = self._put(data.train_images), train_labels
        self._test_set = self._put(data.test_images), test_labels
        self._reset()

    def compile(self) -> None:
        _, labels = self._train_set
        self._step(np.arange(min(self._config.batch_size, len(labels))))
        images, labels = self._test_set
        self._accuracy(images[:EVALUATION_BLOCK], labels[:EVALUATION_BLOCK])
        self._reset()

    def train(self, epoch: int) -> None:
        order = batch_order(0, epoch, len(self._train_set[1]))
        for start in range(0, len(order), self._config.batch_size):
            self._step(order[start : start + self._config.batch_size])

    def evaluate(self) -> tuple[float, float]:
        return self._accuracy(*self._train_set), self._accuracy(*self._test_set)

    def _put(self, images: np.ndarray) -> Any:
        x = torch.from_numpy(floats(images))
        if self._config.architecture != "convnet":
            return x
        return x.view(-1, 1, 28, 28).contiguous(memory_format=torch.channels_last)

    def _reset(self) -> None:
        self._params = []
        for weights, biases in self._setting.params:
            b = torch.tensor(biases.ravel()).requires_grad_()
            self._params.append((_weight(weights), b))
        flat = [x for layer in self._params for x in layer]
        rate = self._config.learning_rate
        self._optimizer = torch.optim.SGD(flat, lr=rate, fused=True)

    def _step(self, index: np.ndarray) -> None:
        places = torch.from_numpy(index)
        images, labels = self._train_set
        loss = functional.cross_entropy(self._apply(images[places]), labels[places])
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()

    def _mlp(self, x: Any) -> Any:
        activation = getattr(torch, self._setting.activation)
        for w, b in self._params[:-1]:
            x = activation(functional.linear(x, w, b))
        return functional.linear(x, *self._params[-1])

    def _convnet(self, x: Any) -> Any:
        for w, b in self._params[:2]:
            x = functional.conv2d(x, w, b).relu()
            x = functional.max_pool2d(x, 2, stride=1)
        x = x.permute(0, 2, 3, 1).flatten(1)  # in stax's order: rows, columns, channels
        for w, b in self._params[2:-1]:
            x = functional.linear(x, w, b).relu()
        return functional.linear(x, *self._params[-1])

    def _accuracy(self, images: Any, labels: Any) -> float:
        """Return the accuracy. The loss is computed too, as our evaluation does, but
        not used."""
        right = 0.0
        loss = 0.0
        images_of_blocks = images.split(EVALUATION_BLOCK)
        labels_of_blocks = labels.split(EVALUATION_BLOCK)
        with torch.inference_mode():
            for x, y in zip(images_of_blocks, labels_of_blocks, strict=True):
                logits = self._apply(x)
                loss += float(functional.cross_entropy(logits, y, reduction="sum"))
                right += float((logits.argmax(1) == y).sum())
        return right / len(labels)


def _weight(w: np.ndarray) -> Any:
    """Return a weight in PyTorch's layout: [out, in], or [out, in, height, width] with
    channels last in memory."""
    if w.ndim == 2:
        return torch.tensor(w.T.copy()).requires_grad_()
    tensor = torch.tensor(w.transpose(3, 2, 0, 1))
    tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor.requires_grad_()
