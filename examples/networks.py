"""Networks and an optimiser as users write theirs: `--architecture
examples/networks.py:residual`."""

import jax
import jax.numpy as jnp
import optax

from mnist_tune import Network


def _dense(key, inputs, outputs):
    """Return the weights and the biases of a layer."""
    # Weights of this scale keep the variance of what goes in.
    noise = jax.random.normal(key, (inputs, outputs))
    weights = noise / inputs**0.5
    biases = jnp.zeros(outputs)
    return weights, biases


def _flat(images):
    return images.reshape(len(images), -1)


def residual(data, width=48, blocks=3):
    """Return residual blocks with layer normalisation and GELU."""

    def init(key):
        # Every layer draws from a key of its own.
        count = 2 + 2 * blocks
        first, last, *rest = jax.random.split(key, count)
        layers = [_dense(layer_key, width, width) for layer_key in rest]
        # A block has two layers.
        pairs = zip(layers[::2], layers[1::2], strict=True)
        return {
            "in": _dense(first, data.size, width),
            "blocks": list(pairs),
            "out": _dense(last, width, data.classes),
        }

    def apply(params, images):
        weights, biases = params["in"]
        x = _flat(images) @ weights + biases
        for (up, up_biases), (down, down_biases) in params["blocks"]:
            # Layer normalisation: each image has mean 0 and deviation 1.
            centred = x - x.mean(-1, keepdims=True)
            deviation = x.std(-1, keepdims=True)
            normed = centred / (deviation + 1e-5)
            # What the block computes is added to what came in.
            hidden = jax.nn.gelu(normed @ up + up_biases)
            x = x + hidden @ down + down_biases
        weights, biases = params["out"]
        return x @ weights + biases

    return Network(init, apply)


def normed(data, width=64, rate=0.2):
    """Return a network with batch normalisation and dropout."""

    def init(key):
        first, last = jax.random.split(key)
        params = {
            "in": _dense(first, data.size, width),
            "scale": jnp.ones(width),
            "out": _dense(last, width, data.classes),
        }
        # The state is what training averages and no gradient changes.
        averages = {"mean": jnp.zeros(width), "var": jnp.ones(width)}
        return params, averages

    def enter(params, images):
        # The biases come after the normalisation, which would remove them.
        weights, _ = params["in"]
        return _flat(images) @ weights

    def hidden(params, images, mean, var):
        x = enter(params, images)
        scaled = params["scale"] * (x - mean)
        normalised = scaled / jnp.sqrt(var + 1e-5)
        _, biases = params["in"]
        return jax.nn.relu(normalised + biases)

    def leave(params, x):
        weights, biases = params["out"]
        return x @ weights + biases

    def apply(params, state, images):
        # An evaluation uses the averages that training left.
        mean = state["mean"]
        var = state["var"]
        x = hidden(params, images, mean, var)
        return leave(params, x)

    def train_apply(params, state, images, key):
        # Training uses the mean and the variance of the batch itself.
        x = enter(params, images)
        mean = x.mean(0)
        var = x.var(0)
        x = hidden(params, images, mean, var)
        # Dropout: what stays is scaled up, so that the mean stays, too.
        stays = jax.random.bernoulli(key, 1 - rate, x.shape)
        scaled = x / (1 - rate)
        x = jnp.where(stays, scaled, 0.0)
        # Running averages, for evaluations.
        old_mean = 0.9 * state["mean"]
        old_var = 0.9 * state["var"]
        averages = {"mean": old_mean + 0.1 * mean, "var": old_var + 0.1 * var}
        return leave(params, x), averages

    return Network(init, apply, train_apply)


def radam(learning_rate):
    return optax.radam(learning_rate)
