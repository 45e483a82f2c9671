"""Do own networks with convolutions train on a CPU as fast as in a plain loop over the
jitted step?

    python benchmarks/own_convolutions.py

The loop is what one writes by hand: `jax.value_and_grad`, optax, data on the device,
losses fetched at the end. If PyTorch is installed, it trains the same network with
channels last. The sides take turns on one thread, an epoch each. `cpu_s` is the
processor's time of an epoch, which other programs on the machine change little.
"""

from __future__ import annotations

import os

# JAX, NumPy and PyTorch read these once, when they are first imported.
os.environ.update(
    PJRT_NPROC="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1"
)

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from typing import Any

import equinox
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.comparison import Benchmark, Comparison, Figures, Target, run
from benchmarks.epoch import INSTALL_TORCH, TORCH_IS_INSTALLED
from benchmarks.sides.ours import Ours
from benchmarks.sides.setting import Setting
from mnist_tune import DataSpec, Network, TrialConfig, cli, register
from mnist_tune.data.dataset import load_dataset
from mnist_tune.training.architectures import architecture
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.classifier import cross_entropy

SIZES = ((2, 16), (4, 32), (6, 64))
"""Layers and channels."""
RATE = 0.05
BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class OwnConvolutions(Benchmark):
    """Times an epoch of networks in Flax, Equinox and plain JAX, by a plain loop, by
    mnist_tune and by PyTorch."""

    images: int = 500
    """Images of 16 x 16 in three colours, in batches of 64."""


def flax_network(
    data: DataSpec, layers: int, channels: int, norm: bool = False
) -> Network:
    class CNN(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x: Any, train: bool) -> Any:
            for _ in range(layers):
                x = flax.linen.Conv(channels, (3, 3))(x)
                if norm:
                    x = flax.linen.BatchNorm(not train)(x)
                x = flax.linen.relu(x)
            return flax.linen.Dense(data.classes)(x.mean((1, 2)))

    def init(key: Any) -> Any:
        image = jnp.zeros((1, *data.shape))
        variables = model.init(key, image, train=False)
        return variables["params"], variables.get("batch_stats", {})

    def apply(params: Any, state: Any, x: Any) -> Any:
        return model.apply({"params": params, "batch_stats": state}, x, train=False)

    def train_apply(params: Any, state: Any, x: Any, key: Any) -> Any:
        variables = {"params": params, "batch_stats": state}
        logits, new = model.apply(variables, x, train=True, mutable=["batch_stats"])
        return logits, new.get("batch_stats", state)

    model = CNN()
    return Network(init, apply, train_apply)


def equinox_network(data: DataSpec, layers: int, channels: int) -> Network:
    def make(key: Any) -> Any:
        parts: list[Any] = []
        channels_in = data.shape[-1]
        for layer_key in jax.random.split(key, layers):
            convolution = equinox.nn.Conv2d(
                channels_in, channels, 3, padding=1, key=layer_key
            )
            parts += [convolution, equinox.nn.Lambda(jax.nn.relu)]
            channels_in = channels
        pool = equinox.nn.Lambda(lambda x: x.mean((1, 2)))
        output = equinox.nn.Linear(channels, data.classes, key=key)
        return equinox.nn.Sequential([*parts, pool, output])

    def init(key: Any) -> Any:
        params, _ = equinox.partition(make(key), equinox.is_array)
        return params

    _, rest = equinox.partition(make(jax.random.key(0)), equinox.is_array)

    def apply(params: Any, x: Any) -> Any:
        model = equinox.combine(params, rest)
        return jax.vmap(model)(jnp.moveaxis(x, 3, 1))

    return Network(init, apply)


def plain_network(data: DataSpec, layers: int, channels: int) -> Network:
    def init(key: Any) -> Any:
        draw = jax.nn.initializers.he_normal()
        convolutions = []
        channels_in = data.shape[-1]
        for _ in range(layers):
            filters = draw(key, (3, 3, channels_in, channels))
            convolutions.append((filters, jnp.zeros(channels)))
            channels_in = channels
        return convolutions, jnp.zeros((channels, data.classes))

    def apply(params: Any, x: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        convolutions, output = params
        for w, b in convolutions:
            x = jax.lax.conv_general_dilated(
                x, w, (1, 1), "SAME", dimension_numbers=layout
            )
            x = jax.nn.relu(x + b)
        return x.mean((1, 2)) @ output

    return Network(init, apply)


NETWORKS: dict[str, Callable[..., Network]] = {
    "flax": flax_network,
    "flax-norm": partial(flax_network, norm=True),
    "equinox": equinox_network,
    "plain": plain_network,
}


def by_hand(setting: Setting) -> Callable[[int], Any]:
    """Return a function that trains an epoch by a loop over a jitted step."""
    network = architecture(setting.config.architecture, setting.data.spec)
    data = setting.data
    images, labels = jax.device_put((data.train_images, data.train_labels))
    variables = jax.jit(network.init)(jax.random.key(0))
    if network.train_apply:
        params, state = variables
    else:
        params, state = variables, ()
    optimizer = optax.sgd(RATE)

    def loss(params: Any, state: Any, x: Any, y: Any, key: Any) -> Any:
        if network.train_apply:
            logits, state = network.train_apply(params, state, x, key)
        else:
            logits = network.apply(params, x)
        return cross_entropy(logits, y).mean(), state

    @partial(jax.jit, donate_argnums=0)
    def step(at: Any, images: Any, labels: Any, index: Any, key: Any) -> Any:
        params, state, opt = at
        batch = images[index], labels[index]
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, state), slope = gradient(params, state, *batch, key)
        updates, opt = optimizer.update(slope, opt, params)
        params = optax.apply_updates(params, updates)
        return (params, state, opt), value

    at = params, state, optimizer.init(params)
    keys = jax.random.split(jax.random.key(0), -(-len(labels) // BATCH_SIZE))

    def epoch(number: int) -> Any:
        nonlocal at
        order = batch_order(0, number, len(labels))
        losses = []
        for i, key in enumerate(keys):
            index = order[i * BATCH_SIZE : (i + 1) * BATCH_SIZE]
            at, value = step(at, images, labels, index, key)
            losses.append(value)
        return jax.block_until_ready((at, jax.device_get(losses)))

    return epoch


def by_us(setting: Setting) -> Callable[[int], Any]:
    side = Ours(setting)
    side.compile()
    return side.train


def by_torch(setting: Setting) -> Callable[[int], Any]:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    name, sizes = setting.config.architecture.split("(")
    layers, channels = (int(size.split("=")[1]) for size in sizes[:-1].split(", "))
    parts: list[Any] = []
    channels_in = 3
    for _ in range(layers):
        parts.append(nn.Conv2d(channels_in, channels, 3, padding=1))
        if name == "flax-norm":
            parts.append(nn.BatchNorm2d(channels))
        parts.append(nn.ReLU())
        channels_in = channels
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    model = nn.Sequential(*parts).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, fused=True)
    images = torch.from_numpy(setting.data.train_images).permute(0, 3, 1, 2)
    labels = torch.from_numpy(setting.data.train_labels.astype(np.int64))

    def epoch(number: int) -> None:
        order = torch.from_numpy(batch_order(0, number, len(labels)))
        for index in order.split(BATCH_SIZE):
            loss = nn.functional.cross_entropy(model(images[index]), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


def timed(epoch: Callable[[int], Any]) -> Callable[[], Figures]:
    epoch(0)
    numbers = count(1)

    def turn() -> Figures:
        start = time.perf_counter()
        cpu = time.process_time()
        epoch(next(numbers))
        return {
            "train_s": time.perf_counter() - start,
            "cpu_s": time.process_time() - cpu,
        }

    return turn


def comparisons(config: OwnConvolutions) -> Iterator[Comparison]:
    if not TORCH_IS_INSTALLED:
        print(INSTALL_TORCH)
    rng = np.random.default_rng(0)
    train = random_images(rng, config.images)
    test = random_images(rng, 100)
    data = load_dataset((*train, *test))
    sides = {"loop": by_hand, "ours": by_us}
    if TORCH_IS_INSTALLED:
        sides["torch"] = by_torch
    pairs = [("ours", side) for side in sides if side != "ours"]
    for (layers, channels), kind in product(SIZES, NETWORKS):
        register(kind)(NETWORKS[kind])
        name = f"{kind}(layers={layers}, channels={channels})"
        trial = TrialConfig(
            architecture=name, learning_rate=RATE, batch_size=BATCH_SIZE
        )
        setting = Setting(trial, data)
        yield Comparison(
            title=f"{name}: an epoch of {config.images} images",
            sides={side: timed(make(setting)) for side, make in sides.items()},
            formats={"train_s": "{:.3f}", "cpu_s": "{:.3f}"},
            pairs=pairs,
            ratio_figures=("train_s", "cpu_s"),
            targets=[Target("ours", "cpu_s", "at most", 1.15, "loop")],
        )


def random_images(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Draw images of 16 x 16 pixels in three colours, and their labels."""
    images = rng.random((count, 16, 16, 3), np.float32)
    return images, rng.integers(0, 10, count)


def main() -> None:
    config = cli.parse(OwnConvolutions)
    run(config, comparisons(config))


if __name__ == "__main__":
    cli.run(main)
