"""Tasks of several kinds, as users write them, each with a learning rate that trains
it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mnist_tune import Task


class Images(NamedTuple):
    """A batch of a type that no library has, as many users write them."""

    pixels: jax.Array


def regression(features=5):
    """A line through noisy points, with a target of several numbers."""

    def init(key):
        return {"w": jnp.zeros((features, 2)), "b": jnp.zeros(2)}, ()

    def errors(params, batch):
        return ((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2).mean(axis=1)

    def loss(params, state, batch, key):
        return errors(params, batch).mean(), state

    def data():
        rng = np.random.default_rng(0)
        x = rng.normal(size=(400, features)).astype("float32")
        y = (
            x @ rng.normal(size=(features, 2)) + 1 + 0.1 * rng.normal(size=(400, 2))
        ).astype("float32")
        return {"x": x[:300], "y": y[:300]}, {"x": x[300:], "y": y[300:]}

    return Task(
        init,
        loss,
        data,
        score=lambda params, state, batch, key: errors(params, batch),
        guess=6.0,
    )


def vae(latent=2, beta=1.0):
    """A variational autoencoder of 8 x 8 pixels; training and evaluation draw from
    their keys."""

    def init(key):
        keys = jax.random.split(key, 4)
        sizes = (64, 32), (32, 2 * latent), (latent, 32), (32, 64)
        return [
            (jax.random.normal(k, s) / s[0] ** 0.5, jnp.zeros(s[1]))
            for k, s in zip(keys, sizes, strict=True)
        ], ()

    def parts(params, batch, key):
        (one, two, three, four), x = params, batch.pixels
        mean, log_variance = jnp.split(
            jnp.tanh(x @ one[0] + one[1]) @ two[0] + two[1], 2, axis=1
        )
        z = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        logits = jnp.tanh(z @ three[0] + three[1]) @ four[0] + four[1]
        kl = (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=1) / 2
        return optax.sigmoid_binary_cross_entropy(logits, x).sum(axis=1), kl

    def loss(params, state, x, key):
        fit, kl = parts(params, x, key)
        return (fit + beta * kl).mean(), state

    def score(params, state, x, key):
        fit, kl = parts(params, x, key)
        return {"loss": fit + beta * kl, "kl": kl}

    def data():
        rows, columns = np.mgrid[:8, :8]
        angles = np.random.default_rng(0).uniform(0, np.pi, 600)
        images = (
            np.cos(angles)[:, None, None] * (rows - 4)
            + np.sin(angles)[:, None, None] * (columns - 4)
            > 0
        )
        images = images.reshape(600, 64).astype("float32")
        return Images(images[:500]), Images(images[500:])

    return Task(init, loss, data, score, block=64)


def language_model(context=8):
    """Characters of a made-up text, cropped at random: the examples are numbers."""
    text = np.random.default_rng(0).permutation(np.arange(4000) % 7)
    text = jnp.asarray(np.where(np.arange(4000) % 3, np.roll(text, 1), text))

    def init(key):
        return {"next": 0.1 * jax.random.normal(key, (7, 7))}, ()

    def score(params, state, numbers, key):
        starts = jax.random.randint(key, numbers.shape, 0, len(text) - context - 1)
        crops = text[starts[:, None] + jnp.arange(context + 1)]
        logits = params["next"][crops[:, :-1]]
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, crops[:, 1:]
        ).mean(axis=1)

    def loss(params, state, numbers, key):
        return score(params, state, numbers, key).mean(), state

    return Task(init, loss, lambda: (512, 128), score, guess=float(np.log(7)))


def pinn(width=16):
    """u'' = -u on [0, 3] with u(0) = 0 and u'(0) = 1; the state is the weight of the
    boundary, which grows."""

    def init(key):
        first, second = jax.random.split(key)
        hidden = jax.random.normal(first, (width,)), jnp.zeros(width)
        return (
            hidden,
            (jax.random.normal(second, (width,)) / width**0.5, jnp.float32(0)),
        ), {"weight": jnp.float32(1)}

    def u(params, t):
        (w, b), (v, c) = params
        return jnp.tanh(t * w + b) @ v + c

    def residuals(params, weight, t):
        first, second = jax.grad(u, 1), jax.grad(jax.grad(u, 1), 1)
        inside = jax.vmap(lambda t: (second(params, t) + u(params, t)) ** 2)(t)
        return inside + weight * (u(params, 0.0) ** 2 + (first(params, 0.0) - 1) ** 2)

    def loss(params, state, numbers, key):
        times = jax.random.uniform(key, numbers.shape, maxval=3.0)
        return residuals(params, state["weight"], times).mean(), {
            "weight": state["weight"] * 1.001
        }

    def score(params, state, numbers, key):
        return residuals(
            params, 1.0, jax.random.uniform(key, numbers.shape, maxval=3.0)
        )

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
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, jnp.arange(len(x))
        ).mean()

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
        return jax.random.normal(key, (count, noise)) @ make["w"] + make["b"]

    def of_judge(judge, make, x, key):
        fake = made(make, key, len(x))
        return jax.nn.softplus(-judged(judge, x)) + jax.nn.softplus(judged(judge, fake))

    def of_maker(make, judge, x, key):
        return jax.nn.softplus(-judged(judge, made(make, key, len(x)))).mean()

    def step(params, opt, state, x, key, tx):
        first, second = jax.random.split(key)
        loss, slope = jax.value_and_grad(
            lambda p: of_judge(p, params["make"], x, first).mean()
        )(params["judge"])
        update, judge_opt = tx.update(slope, opt["judge"], params["judge"])
        judge = optax.apply_updates(params["judge"], update)
        slope = jax.grad(of_maker)(params["make"], judge, x, second)
        update, make_opt = tx.update(slope, opt["make"], params["make"])
        make = optax.apply_updates(params["make"], update)
        return (
            {"make": make, "judge": judge},
            {"make": make_opt, "judge": judge_opt},
            state,
            loss,
        )

    def score(params, state, x, key):
        return of_judge(params["judge"], params["make"], x, key)

    def data():
        angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 400)
        x = np.stack([np.cos(angles), np.sin(angles)], 1).astype("float32")
        return x[:320], x[320:]

    return Task(init, None, data, score, step, split=("make", "judge"))


def denoiser(channels=4):
    """A convolutional network that predicts the noise in images of 8 x 8, as in score
    diffusion."""

    def init(key):
        first, second = jax.random.split(key)
        w, v = (
            jax.random.normal(first, (3, 3, 1, channels)) / 3,
            jax.random.normal(second, (3, 3, channels, 1)) / 6,
        )
        return {"w": w, "v": v}, ()

    def convolve(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def score(params, state, x, key):
        noise = jax.random.normal(key, x.shape)
        found = convolve(jnp.tanh(convolve(x + noise, params["w"])), params["v"])
        return ((found - noise) ** 2).mean(axis=(1, 2, 3))

    def loss(params, state, x, key):
        return score(params, state, x, key).mean(), state

    def data():
        x = np.random.default_rng(0).normal(size=(400, 1, 8, 1)).astype(
            "float32"
        ) + np.zeros((8, 1, 1), "float32")
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
