"""How long is an epoch: the notebook's own loop, ours, PyTorch?

    python benchmarks/epoch.py

Everything runs on one thread and on the same images, batch order, learning rate and initial parameters; the
sides take turns, a whole epoch each, in every round. Printed are medians over the rounds, and ratios of the
seconds of a round with their smallest and largest.
"""

from __future__ import annotations

import os

# JAX, NumPy and PyTorch read these once, when they are first imported.
os.environ.update(PJRT_NPROC="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from mnist_tune import UserError, cli
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.results.provenance import describe_environment
from mnist_tune.training.architectures import CLASSES, architecture
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.networks import ACTIVATIONS
from mnist_tune.training.program import Hyperparameters, Program

TARGETS = {
    ("mlp-1024-128-tanh", "notebook", "train"): 1.0,
    ("mlp-1024-128-tanh", "notebook", "train+eval"): 0.88,
    ("convnet", "torch", "train"): 0.65,
}
"""The most that a ratio ours / other should be, by (architecture, other, phase)."""

PHASES = ("train", "eval", "train+eval")
TORCH_EVALUATION_BLOCK = 250
"""Images a block of PyTorch's evaluation; of 128 to 10,000 the fastest for convnet and among the fastest for mlps."""
INSTALL_TORCH = "no PyTorch column: it is not installed; pip install 'mnist_tune[bench]'"


@dataclass(frozen=True, kw_only=True)
class EpochBenchmark:
    """Times an epoch and an evaluation of the notebook's loop, of this package and of PyTorch, on one thread."""

    architectures: tuple[str, ...] = ("mlp-1024-128-tanh", "convnet")
    """Architectures to time, a table each; the notebook's loop is left out for convnet (it takes minutes)."""
    rounds: int = 3
    """Epochs of each side; the sides take turns."""
    learning_rate: float = 0.1
    """Step size."""
    batch_size: int = 128
    """Images a step."""
    images: int | None = None
    """Train on the first so many images only, and test on a sixth as many; by default on all."""
    data_dir: Path | None = None
    """Folder with the four IDX files of MNIST, raw or gzipped."""
    output: Path | None = None
    """JSON file that receives the figures."""

    def __post_init__(self) -> None:
        for name in ("rounds", "batch_size", "images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, got {value}")


@dataclass(frozen=True)
class Setting:
    """What the sides of one architecture share."""

    architecture: str
    learning_rate: float
    batch_size: int
    data: Dataset

    @property
    def params(self) -> Any:
        """Initial parameters, numpy float32 `(weight, bias)` a layer."""
        return architecture(self.architecture).init(0)


class Side(Protocol):
    """One implementation. Its methods return when the work is done, not when it is dispatched."""

    def __init__(self, setting: Setting) -> None: ...

    def compile(self) -> None:
        """All that happens once; leaves the parameters as they were."""

    def train(self, epoch: int) -> None:
        """Trains for the epoch of that number, 0-based."""

    def evaluate(self) -> tuple[float, float]:
        """Accuracies on the training and the test set."""


class Ours:
    """The jitted scan over an epoch and the jitted evaluation of `mnist_tune.training.program`."""

    def __init__(self, setting: Setting) -> None:
        data = setting.data
        self._program = Program(setting.architecture, momentum=False, nesterov=False, batch_size=setting.batch_size)
        self._state = jax.device_put(self._program.init(0))
        self._hyper = jax.device_put(Hyperparameters(np.float32(setting.learning_rate), np.float32(0)))
        self._train_set = jax.device_put((data.train_images, data.train_labels))
        self._test_set = jax.device_put((data.test_images, data.test_labels))

    def compile(self) -> None:
        train = jax.jit(self._program.train_epoch, donate_argnums=(0,))
        self._train_epoch = train.lower(self._state, self._hyper, *self._train_set, self._order(0)).compile()
        images, labels = (jnp.concatenate(pair) for pair in zip(self._train_set, self._test_set, strict=True))
        self._all = jax.block_until_ready((images, labels))
        evaluate = jax.jit(self._program.evaluate)
        self._evaluate = evaluate.lower(self._state.params, *self._all, np.int32(0), np.int32(1)).compile()

    def train(self, epoch: int) -> None:
        arguments = self._state, self._hyper, *self._train_set, self._order(epoch)
        self._state, _ = wait_for(self._train_epoch(*arguments))

    def evaluate(self) -> tuple[float, float]:
        counts = len(self._train_set[1]), len(self._test_set[1])
        ranges = (0, counts[0]), counts
        results = [self._evaluate(self._state.params, *self._all, *map(np.int32, part)) for part in ranges]
        train, test = (int(right) / count for (_, right), count in zip(results, counts, strict=True))
        return train, test

    def _order(self, epoch: int) -> Array:
        order: Array = jax.device_put(batch_order(0, epoch, len(self._train_set[1])))
        return order


class Notebook:
    """The notebook's Problem 1: a Python loop of jitted steps on numpy batches, evaluation not jitted."""

    def __init__(self, setting: Setting) -> None:
        data = setting.data
        self._learning_rate, self._batch_size = setting.learning_rate, setting.batch_size
        relu = "-relu" in setting.architecture or setting.architecture == "stax-mlp"
        self._activation = ACTIVATIONS["relu" if relu else "tanh"]
        self._params = setting.params
        self._train_set = _floats(data.train_images), _one_hot(data.train_labels)
        self._test_set = _floats(data.test_images), _one_hot(data.test_labels)
        self._batches = self._data_stream()
        self._update = jax.jit(self._step)

    def compile(self) -> None:
        images, labels = self._train_set
        params = self._params
        for size in (self._batch_size, self._batch_size, self._rest or self._batch_size):
            params = wait_for(self._update(params, (images[:size], labels[:size])))  # JAX's arrays compile it anew
        self.evaluate()  # its operations compile one by one

    def train(self, epoch: int) -> None:
        for _ in range(self._num_batches):
            self._params = self._update(self._params, next(self._batches))
        wait_for(self._params)

    def evaluate(self) -> tuple[float, float]:
        train_accuracy = self._accuracy(self._params, self._train_set)
        test_accuracy = self._accuracy(self._params, self._test_set)
        return float(train_accuracy), float(test_accuracy)

    @property
    def _rest(self) -> int:
        return len(self._train_set[0]) % self._batch_size

    @property
    def _num_batches(self) -> int:
        return len(self._train_set[0]) // self._batch_size + bool(self._rest)

    def _data_stream(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        images, labels = self._train_set
        rng = np.random.RandomState(0)
        while True:
            perm = rng.permutation(len(images))
            for i in range(self._num_batches):
                batch_idx = perm[i * self._batch_size : (i + 1) * self._batch_size]
                yield images[batch_idx], labels[batch_idx]

    def _predict(self, params: Any, inputs: Any) -> Array:
        activations = inputs
        for w, b in params[:-1]:
            outputs = jnp.dot(activations, w) + b
            activations = self._activation(outputs)
        final_w, final_b = params[-1]
        logits: Array = jnp.dot(activations, final_w) + final_b
        return logits - logsumexp(logits, axis=1, keepdims=True)

    def _loss(self, params: Any, batch: Any) -> Array:
        inputs, targets = batch
        return -jnp.mean(jnp.sum(self._predict(params, inputs) * targets, axis=1))

    def _step(self, params: Any, batch: Any) -> Any:
        grads = jax.grad(self._loss)(params, batch)
        return [
            (w - self._learning_rate * dw, b - self._learning_rate * db)
            for (w, b), (dw, db) in zip(params, grads, strict=True)
        ]

    def _accuracy(self, params: Any, batch: Any) -> Array:
        inputs, targets = batch
        target_class = jnp.argmax(targets, axis=1)
        predicted_class = jnp.argmax(self._predict(params, inputs), axis=1)
        return jnp.mean(predicted_class == target_class)


class Torch:
    """Eager PyTorch with the data resident as float32, a fused SGD and, for convnet, channels_last."""

    def __init__(self, setting: Setting) -> None:
        import torch

        torch.set_num_threads(1)
        self._torch, self._setting, data = torch, setting, setting.data
        self._train_set = self._put(data.train_images), torch.from_numpy(data.train_labels.astype(np.int64))
        self._test_set = self._put(data.test_images), torch.from_numpy(data.test_labels.astype(np.int64))
        self._reset()

    def compile(self) -> None:
        self._step(np.arange(min(self._setting.batch_size, len(self._train_set[1]))))
        self._accuracy(*(part[:TORCH_EVALUATION_BLOCK] for part in self._test_set))
        self._reset()

    def train(self, epoch: int) -> None:
        order = batch_order(0, epoch, len(self._train_set[1]))
        for start in range(0, len(order), self._setting.batch_size):
            self._step(order[start : start + self._setting.batch_size])

    def evaluate(self) -> tuple[float, float]:
        return self._accuracy(*self._train_set), self._accuracy(*self._test_set)

    def _put(self, images: np.ndarray) -> Any:
        x = self._torch.from_numpy(_floats(images))
        if self._setting.architecture != "convnet":
            return x
        return x.view(-1, 1, 28, 28).contiguous(memory_format=self._torch.channels_last)

    def _reset(self) -> None:
        convnet = self._setting.architecture == "convnet"
        self._apply = self._convnet if convnet else self._mlp
        self._params = [tuple(self._parameter(x) for x in layer) for layer in self._setting.params]
        flat = [x for layer in self._params for x in layer]
        self._optimizer = self._torch.optim.SGD(flat, lr=self._setting.learning_rate, fused=True)

    def _parameter(self, x: np.ndarray) -> Any:
        """Weights as PyTorch lays them out: [out, in] and [out, in, height, width]."""
        if x.ndim == 4 and x.shape[0] > 1:
            x = x.transpose(3, 2, 0, 1)
        tensor = self._torch.tensor(x if x.ndim == 4 and x.shape[2] > 1 else x.T.copy() if x.ndim == 2 else x.ravel())
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self._torch.channels_last)
        return tensor.requires_grad_()

    def _step(self, index: np.ndarray) -> None:
        places, (images, labels) = self._torch.from_numpy(index), self._train_set
        loss = self._torch.nn.functional.cross_entropy(self._apply(images[places]), labels[places])
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()

    def _mlp(self, x: Any) -> Any:
        relu = "-relu" in self._setting.architecture or self._setting.architecture == "stax-mlp"
        activation = self._torch.relu if relu else self._torch.tanh
        for w, b in self._params[:-1]:
            x = activation(self._torch.nn.functional.linear(x, w, b))
        return self._torch.nn.functional.linear(x, *self._params[-1])

    def _convnet(self, x: Any) -> Any:
        functional = self._torch.nn.functional
        for w, b in self._params[:2]:
            x = functional.max_pool2d(functional.conv2d(x, w, b).relu(), 2, stride=1)
        x = x.permute(0, 2, 3, 1).flatten(1)  # the image's rows, columns, channels: as stax flattens
        for w, b in self._params[2:-1]:
            x = functional.linear(x, w, b).relu()
        return functional.linear(x, *self._params[-1])

    def _accuracy(self, images: Any, labels: Any) -> float:
        """With the mean loss, which is computed as ours is, and dropped."""
        right = loss = 0.0
        with self._torch.inference_mode():
            for x, y in zip(images.split(TORCH_EVALUATION_BLOCK), labels.split(TORCH_EVALUATION_BLOCK), strict=True):
                logits = self._apply(x)
                loss += float(self._torch.nn.functional.cross_entropy(logits, y, reduction="sum"))
                right += float((logits.argmax(1) == y).sum())
        return right / len(labels)


def wait_for(tree: Any) -> Any:
    """The same arrays, computed."""
    wait: Callable[[Any], Any] = jax.block_until_ready
    return wait(tree)


def _floats(images: np.ndarray) -> np.ndarray:
    return images / np.float32(255)


def _one_hot(labels: np.ndarray) -> np.ndarray:
    return np.array(labels[:, None] == np.arange(CLASSES), np.float32)


def sides_of(name: str) -> dict[str, type[Side]]:
    """The sides that are timed for an architecture, in the order of the table."""
    sides: dict[str, type[Side]] = {} if name == "convnet" else {"notebook": Notebook}
    sides["ours"] = Ours
    return sides | ({"torch": Torch} if importlib.util.find_spec("torch") else {})


@dataclass
class Times:
    """Seconds of one side: of compiling, and of every round by phase; accuracies after the last round."""

    compile_s: float
    rounds: dict[str, list[float]]
    accuracies: tuple[float, float] = (0.0, 0.0)


def time_sides(setting: Setting, rounds: int) -> dict[str, Times]:
    """Times all sides of an architecture, turn by turn; odd rounds go backwards."""
    sides = {name: make(setting) for name, make in sides_of(setting.architecture).items()}
    times = {name: Times(seconds(side.compile), {phase: [] for phase in PHASES}) for name, side in sides.items()}
    for epoch in range(rounds):
        for name in list(sides)[:: -1 if epoch % 2 else 1]:
            train, evaluation = seconds(lambda: sides[name].train(epoch)), seconds(sides[name].evaluate)  # noqa: B023
            for phase, spent in zip(PHASES, (train, evaluation, train + evaluation), strict=True):
                times[name].rounds[phase].append(spent)
    for name, side in sides.items():
        times[name].accuracies = side.evaluate()
    return times


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio(times: dict[str, Times], other: str, phase: str) -> tuple[float, float, float]:
    """Median, smallest and largest ratio ours / other of the rounds."""
    pairs = zip(times["ours"].rounds[phase], times[other].rounds[phase], strict=True)
    ratios = [ours / theirs for ours, theirs in pairs]
    return median(ratios), min(ratios), max(ratios)


def print_table(setting: Setting, times: dict[str, Times]) -> None:
    print(f"\n{setting.architecture}: {len(setting.data.train_labels)} images, batch size {setting.batch_size}")
    print(f"{'':15}{'compile s':>11}" + "".join(f"{f'{phase} s':>20}" for phase in PHASES) + f"{'test accuracy':>16}")
    for name in ("notebook", "ours", "torch"):
        if name not in times:
            print(f"{name:15}{'-':>11}" + f"{'-':>20}" * len(PHASES) + f"{'-':>16}")
            continue
        cells = "".join(f"{median(times[name].rounds[phase]):>20.3f}" for phase in PHASES)
        print(f"{name:15}{times[name].compile_s:>11.2f}{cells}{times[name].accuracies[1]:>16.4f}")
    for other in [name for name in times if name != "ours"]:
        ratios = [ratio(times, other, phase) for phase in PHASES]
        cells = "".join(f"{f'{mid:.2f} ({low:.2f}..{high:.2f})':>20}" for mid, low, high in ratios)
        print(f"{'ours/' + other:26}{cells}")
    for (name, other, phase), most in TARGETS.items():
        if name == setting.architecture and other in times:
            met = "met" if ratio(times, other, phase)[0] <= most else "missed"
            print(f"target: {phase} at most {most} of {other}'s: {met}")


def figures(times: dict[str, Times]) -> dict[str, Any]:
    """What `--output` keeps of an architecture."""
    others = [name for name in times if name != "ours"]
    ratios = {f"ours/{other}": {phase: ratio(times, other, phase) for phase in PHASES} for other in others}
    return {"sides": {name: vars(side) for name, side in times.items()}, "ratios": ratios}


def part_of(dataset: Dataset, images: int | None) -> Dataset:
    if images is None:
        return dataset
    train, test = images, max(images // 6, 1)
    return replace(
        dataset,
        train_images=dataset.train_images[:train],
        train_labels=dataset.train_labels[:train],
        test_images=dataset.test_images[:test],
        test_labels=dataset.test_labels[:test],
    )


def main() -> None:
    config = cli.parse(EpochBenchmark)
    for name in config.architectures:
        architecture(name)
    dataset = part_of(load_dataset("mnist", config.data_dir), config.images)
    if not importlib.util.find_spec("torch"):
        print(INSTALL_TORCH)
    results = {}
    for name in config.architectures:
        setting = Setting(name, config.learning_rate, config.batch_size, dataset)
        times = time_sides(setting, config.rounds)
        print_table(setting, times)
        results[name] = figures(times)
    if config.output is not None:
        content = {"environment": describe_environment(), "images": len(dataset.train_labels), "results": results}
        config.output.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    cli.run(main)
