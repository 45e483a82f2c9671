"""Tasks of several kinds, as users write them, each with a learning rate that trains
it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mnist_tune import Task

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


class Images(NamedTuple):
    """A batch of a type that no library has, as many users write them."""

    pixels: jax.Array


def regression(features=5):
    """A line through noisy points, with a target of several numbers."""

    def init(key):
        return {"w": jnp.zeros((features, 2)), "b": jnp.zeros(2)}, ()

    def errors(params, batch):
        prediction = batch["x"] @ params["w"] + params["b"]
        return ((prediction - batch["y"]) ** 2).mean(axis=1)

    def loss(params, state, batch, key):
        return errors(params, batch).mean(), state

    def score(params, state, batch, key):
        return errors(params, batch)

    def data():
        rng = np.random.default_rng(0)
        x = rng.normal(size=(400, features)).astype("float32")
        line = x @ rng.normal(size=(features, 2)) + 1
        noise = 0.1 * rng.normal(size=(400, 2))
        y = (line + noise).astype("float32")
        train = {"x": x[:300], "y": y[:300]}
        test = {"x": x[300:], "y": y[300:]}
        return train, test

    return Task(init, loss, data, score, guess=6.0)


def vae(latent=2, beta=1.0):
    """A variational autoencoder of 8 x 8 pixels; training and evaluation draw from
    their keys."""

    def layer(key, inputs, outputs):
        weights = jax.random.normal(key, (inputs, outputs)) / inputs**0.5
        return weights, jnp.zeros(outputs)

    def init(key):
        keys = jax.random.split(key, 4)
        encoder = [layer(keys[0], 64, 32), layer(keys[1], 32, 2 * latent)]
        decoder = [layer(keys[2], latent, 32), layer(keys[3], 32, 64)]
        return encoder + decoder, ()

    def network(layers, x):
        (first, first_bias), (second, second_bias) = layers
        hidden = jnp.tanh(x @ first + first_bias)
        return hidden @ second + second_bias

    def parts(params, batch, key):
        moments = network(params[:2], batch.pixels)
        mean, log_variance = jnp.split(moments, 2, axis=1)
        noise = jax.random.normal(key, mean.shape)
        logits = network(params[2:], mean + jnp.exp(log_variance / 2) * noise)
        kl = (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=1) / 2
        fit = optax.sigmoid_binary_cross_entropy(logits, batch.pixels)
        return fit.sum(axis=1), kl

    def loss(params, state, x, key):
        fit, kl = parts(params, x, key)
        return (fit + beta * kl).mean(), state

    def score(params, state, x, key):
        fit, kl = parts(params, x, key)
        return {"loss": fit + beta * kl, "kl": kl}

    def data():
        # an image is white on one side of a line through its middle
        rows, columns = np.mgrid[:8, :8]
        angles = np.random.default_rng(0).uniform(0, np.pi, (600, 1, 1))
        down = np.cos(angles) * (rows - 4)
        right = np.sin(angles) * (columns - 4)
        images = (down + right > 0).reshape(600, 64).astype("float32")
        return Images(images[:500]), Images(images[500:])

    return Task(init, loss, data, score, block=64)


def language_model(context=8):
    """Characters of a made-up text, cropped at random: the examples are numbers."""
    place = np.arange(4000)
    text = np.random.default_rng(0).permutation(place % 7)
    text = jnp.asarray(np.where(place % 3, np.roll(text, 1), text))

    def init(key):
        return {"next": 0.1 * jax.random.normal(key, (7, 7))}, ()

    def score(params, state, numbers, key):
        starts = jax.random.randint(key, numbers.shape, 0, len(text) - context - 1)
        crops = text[starts[:, None] + jnp.arange(context + 1)]
        logits = params["next"][crops[:, :-1]]
        losses = cross_entropy(logits, crops[:, 1:])
        return losses.mean(axis=1)

    def loss(params, state, numbers, key):
        return score(params, state, numbers, key).mean(), state

    return Task(init, loss, lambda: (512, 128), score, guess=float(np.log(7)))


def pinn(width=16):
    """u'' = -u on [0, 3] with u(0) = 0 and u'(0) = 1; the state is the weight of the
    boundary, which grows."""

    def init(key):
        first, second = jax.random.split(key)
        hidden = jax.random.normal(first, (width,)), jnp.zeros(width)
        output = jax.random.normal(second, (width,)) / width**0.5, jnp.float32(0)
        return (hidden, output), {"weight": jnp.float32(1)}

    def u(params, t):
        (w, b), (v, c) = params
        return jnp.tanh(t * w + b) @ v + c

    def residuals(params, weight, t):
        first = jax.grad(u, 1)
        second = jax.grad(first, 1)

        def equation(t):
            return (second(params, t) + u(params, t)) ** 2

        boundary = u(params, 0.0) ** 2 + (first(params, 0.0) - 1) ** 2
        return jax.vmap(equation)(t) + weight * boundary

    def loss(params, state, numbers, key):
        times = jax.random.uniform(key, numbers.shape, maxval=3.0)
        weight = state["weight"]
        return residuals(params, weight, times).mean(), {"weight": weight * 1.001}

    def score(params, state, numbers, key):
        times = jax.random.uniform(key, numbers.shape, maxval=3.0)
        return residuals(params, 1.0, times)

    return Task(init, loss, lambda: (640, 256), score)


def contrastive(temperature=0.5):
    """InfoNCE of two noisy views: a score of a whole batch."""

    def init(key):
        return {"w": jax.random.normal(key, (6, 4)) / 2}, ()

    def score(params, state, x, key):
        views = x + 0.1 * jax.random.normal(key, (2, *x.shape))
        z = views @ params["w"]
        z = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
        logits = z[0] @ z[1].T / temperature
        return cross_entropy(logits, jnp.arange(len(x))).mean()

    def loss(params, state, x, key):
        return score(params, state, x, key), state

    def data():
        x = np.random.default_rng(0).normal(size=(384, 6)).astype("float32")
        return x[:300], x[300:]

    return Task(init, loss, data, score, block=32)


def gan(noise=2):
    """A generator of points on a circle and its critic: two optimisers, and a step of
    its own."""

    def init(key):
        first, second = jax.random.split(key)
        make = {"w": jax.random.normal(first, (noise, 2)), "b": jnp.zeros(2)}
        judge = {"w": jax.random.normal(second, (2, 8)), "v": jnp.zeros(8)}
        return {"make": make, "judge": judge}, ()

    def judged(judge, x):
        return jnp.tanh(x @ judge["w"]) @ judge["v"]

    def made(make, key, count):
        latent = jax.random.normal(key, (count, noise))
        return latent @ make["w"] + make["b"]

    def judge_losses(judge, make, x, key):
        fake = made(make, key, len(x))
        return jax.nn.softplus(-judged(judge, x)) + jax.nn.softplus(judged(judge, fake))

    def judge_loss(judge, make, x, key):
        return judge_losses(judge, make, x, key).mean()

    def maker_loss(make, judge, x, key):
        fake = made(make, key, len(x))
        return jax.nn.softplus(-judged(judge, fake)).mean()

    def step(params, opt, state, x, key, tx):
        first, second = jax.random.split(key)
        make, judge = params["make"], params["judge"]
        # the critic first, then the generator against the new critic
        loss, slope = jax.value_and_grad(judge_loss)(judge, make, x, first)
        update, judge_opt = tx.update(slope, opt["judge"], judge)
        judge = optax.apply_updates(judge, update)
        slope = jax.grad(maker_loss)(make, judge, x, second)
        update, make_opt = tx.update(slope, opt["make"], make)
        make = optax.apply_updates(make, update)
        params = {"make": make, "judge": judge}
        opt = {"make": make_opt, "judge": judge_opt}
        return params, opt, state, loss

    def score(params, state, x, key):
        return judge_losses(params["judge"], params["make"], x, key)

    def data():
        angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 400)
        points = np.stack([np.cos(angles), np.sin(angles)], 1)
        x = points.astype("float32")
        return x[:320], x[320:]

    return Task(init, None, data, score, step, split=("make", "judge"))


def denoiser(channels=4):
    """A convolutional network that predicts the noise in images of 8 x 8, as in score
    diffusion."""

    def init(key):
        first, second = jax.random.split(key)
        w = jax.random.normal(first, (3, 3, 1, channels)) / 3
        v = jax.random.normal(second, (3, 3, channels, 1)) / 6
        return {"w": w, "v": v}, ()

    def convolve(x, w):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=layout
        )

    def score(params, state, x, key):
        noise = jax.random.normal(key, x.shape)
        hidden = jnp.tanh(convolve(x + noise, params["w"]))
        prediction = convolve(hidden, params["v"])
        return ((prediction - noise) ** 2).mean(axis=(1, 2, 3))

    def loss(params, state, x, key):
        return score(params, state, x, key).mean(), state

    def data():
        # the rows of an image are the same
        row = np.random.default_rng(0).normal(size=(400, 1, 8, 1))
        x = np.repeat(row.astype("float32"), 8, axis=1)
        return x[:320], x[320:]

    return Task(init, loss, data, score, guess=1.0)


TASKS = {
    regression: 0.1,
    vae: 0.01,
    denoiser: 0.1,
    language_model: 1.0,
    pinn: 0.01,
    contrastive: 0.3,
    gan: 0.05,
}
"""Each task with a learning rate at which it learns."""
