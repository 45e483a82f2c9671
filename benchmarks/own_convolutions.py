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
from itertools import count
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
RATE, BATCH_SIZE = 0.05, 64


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
                x = flax.linen.relu(flax.linen.BatchNorm(not train)(x) if norm else x)
            return flax.linen.Dense(data.classes)(x.mean((1, 2)))

    def init(key: Any) -> Any:
        found = model.init(key, jnp.zeros((1, *data.shape)), train=False)
        return found["params"], found.get("batch_stats", {})

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
        for i, one in enumerate(jax.random.split(key, layers)):
            parts += [
                equinox.nn.Conv2d(
                    channels if i else data.shape[-1], channels, 3, padding=1, key=one
                )
            ]
            parts += [equinox.nn.Lambda(jax.nn.relu)]
        pool = equinox.nn.Lambda(lambda x: x.mean((1, 2)))
        return equinox.nn.Sequential(
            [*parts, pool, equinox.nn.Linear(channels, data.classes, key=key)]
        )

    rest = equinox.partition(make(jax.random.key(0)), equinox.is_array)[1]

    def apply(params: Any, x: Any) -> Any:
        return jax.vmap(equinox.combine(params, rest))(jnp.moveaxis(x, 3, 1))

    return Network(lambda key: equinox.partition(make(key), equinox.is_array)[0], apply)


def plain_network(data: DataSpec, layers: int, channels: int) -> Network:
    def init(key: Any) -> Any:
        draw = jax.nn.initializers.he_normal()
        sizes = [data.shape[-1], *[channels] * layers]
        filters = [draw(key, (3, 3, c, channels)) for c in sizes[:-1]]
        return [(w, jnp.zeros(channels)) for w in filters], jnp.zeros(
            (channels, data.classes)
        )

    def apply(params: Any, x: Any) -> Any:
        for w, b in params[0]:
            x = jax.lax.conv_general_dilated(
                x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu(x + b)
        return x.mean((1, 2)) @ params[1]

    return Network(init, apply)


NETWORKS: dict[str, Callable[..., Network]] = {
    "flax": flax_network,
    "flax-norm": partial(flax_network, norm=True),
    "equinox": equinox_network,
    "plain": plain_network,
}


def by_hand(setting: Setting) -> Callable[[int], Any]:
    """Return a function that trains an epoch by a loop over a jitted step."""
    network, data = (
        architecture(setting.config.architecture, setting.data.spec),
        setting.data,
    )
    images, labels = jax.device_put((data.train_images, data.train_labels))
    variables = jax.jit(network.init)(jax.random.key(0))
    params, state = variables if network.train_apply else (variables, ())
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
        (value, state), slope = jax.value_and_grad(loss, has_aux=True)(
            params, state, images[index], labels[index], key
        )
        updates, opt = optimizer.update(slope, opt, params)
        return (optax.apply_updates(params, updates), state, opt), value

    at = params, state, optimizer.init(params)
    keys = jax.random.split(jax.random.key(0), -(-len(labels) // BATCH_SIZE))

    def epoch(number: int) -> Any:
        nonlocal at
        order, losses = batch_order(0, number, len(labels)), []
        for i, key in enumerate(keys):
            at, value = step(
                at, images, labels, order[i * BATCH_SIZE : (i + 1) * BATCH_SIZE], key
            )
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
    for i in range(layers):
        parts += [nn.Conv2d(channels if i else 3, channels, 3, padding=1)]
        parts += [nn.BatchNorm2d(channels)] * (name == "flax-norm") + [nn.ReLU()]
    made = nn.Sequential(
        *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)
    )
    model = made.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, fused=True)
    images = torch.from_numpy(setting.data.train_images).permute(0, 3, 1, 2)
    labels = torch.from_numpy(setting.data.train_labels.astype(np.int64))

    def epoch(number: int) -> None:
        for index in torch.from_numpy(batch_order(0, number, len(labels))).split(
            BATCH_SIZE
        ):
            loss = nn.functional.cross_entropy(model(images[index]), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


def timed(epoch: Callable[[int], Any]) -> Callable[[], Figures]:
    epoch(0)
    numbers = count(1)

    def turn() -> Figures:
        start, cpu = time.perf_counter(), time.process_time()
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
    parts = [
        (rng.random((n, 16, 16, 3), np.float32), rng.integers(0, 10, n))
        for n in (config.images, 100)
    ]
    data = load_dataset((*parts[0], *parts[1]))
    for layers, channels in SIZES:
        for kind, factory in NETWORKS.items():
            register(kind)(factory)
            name = f"{kind}(layers={layers}, channels={channels})"
            setting = Setting(
                TrialConfig(
                    architecture=name, learning_rate=RATE, batch_size=BATCH_SIZE
                ),
                data,
            )
            sides = {"loop": by_hand, "ours": by_us} | (
                {"torch": by_torch} if TORCH_IS_INSTALLED else {}
            )
            yield Comparison(
                title=f"{name}: an epoch of {config.images} images",
                sides={side: timed(make(setting)) for side, make in sides.items()},
                formats={"train_s": "{:.3f}", "cpu_s": "{:.3f}"},
                pairs=[("ours", other) for other in sides if other != "ours"],
                ratio_figures=("train_s", "cpu_s"),
                targets=[Target("ours", "cpu_s", "at most", 1.15, "loop")],
            )


if __name__ == "__main__":
    found = cli.parse(OwnConvolutions)
    cli.run(lambda: run(found, comparisons(found)))
