"""Networks and an optimiser as users write theirs: `--architecture
examples/networks.py:residual`."""

import jax
import jax.numpy as jnp
import optax

from mnist_tune import Network


def _dense(key, inputs, outputs, gain=1.0):
    return gain * jax.random.normal(key, (inputs, outputs)) / inputs**0.5, jnp.zeros(
        outputs
    )


def residual(data, width=48, blocks=3):
    """Return residual blocks with layer normalisation and GELU."""

    def init(key):
        first, last, *rest = jax.random.split(key, 2 + 2 * blocks)
        pairs = [
            (_dense(rest[2 * i], width, width), _dense(rest[2 * i + 1], width, width))
            for i in range(blocks)
        ]
        return {
            "in": _dense(first, data.size, width),
            "blocks": pairs,
            "out": _dense(last, width, data.classes),
        }

    def apply(params, images):
        x = images.reshape(len(images), -1) @ params["in"][0] + params["in"][1]
        for (up, a), (down, b) in params["blocks"]:
            normed = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-5)
            x = x + jax.nn.gelu(normed @ up + a) @ down + b
        return x @ params["out"][0] + params["out"][1]

    return Network(init, apply)


def normed(data, width=64, rate=0.2):
    """Return a network with batch normalisation and dropout."""

    def init(key):
        first, second = jax.random.split(key)
        params = {
            "in": _dense(first, data.size, width),
            "scale": jnp.ones(width),
            "out": _dense(second, width, data.classes),
        }
        return params, {"mean": jnp.zeros(width), "var": jnp.ones(width)}

    def forward(params, images, mean, var):
        x = images.reshape(len(images), -1) @ params["in"][0]
        return jax.nn.relu(
            params["scale"] * (x - mean) / jnp.sqrt(var + 1e-5) + params["in"][1]
        )

    def apply(params, state, images):
        return (
            forward(params, images, state["mean"], state["var"]) @ params["out"][0]
            + params["out"][1]
        )

    def train_apply(params, state, images, key):
        x = images.reshape(len(images), -1) @ params["in"][0]
        mean, var = x.mean(0), x.var(0)
        x = forward(params, images, mean, var)
        x = jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)
        state = {
            "mean": 0.9 * state["mean"] + 0.1 * mean,
            "var": 0.9 * state["var"] + 0.1 * var,
        }
        return x @ params["out"][0] + params["out"][1], state

    return Network(init, apply, train_apply)


def radam(learning_rate):
    return optax.radam(learning_rate)
