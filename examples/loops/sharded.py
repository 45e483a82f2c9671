"""A step in JAX whose batches are sharded over eight devices, which are emulated here:
the data are parallel, and so is the hidden layer.

    mnist-tune regimes --loop examples/loops/sharded.py:mlp --learning-rates 0.003:3:6
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sklearn.datasets import load_digits

from mnist_tune import Loop

x, y = load_digits(return_X_y=True)
x = x.astype(np.float32) / 16
PARTS = {
    "train": slice(0, 1200),
    "validation": slice(1200, 1500),
    "test": slice(1500, 1797),
}


def loss_of(params, inputs, labels):
    logits = jnp.tanh(inputs @ params["hidden"]) @ params["output"]
    log_p = jax.nn.log_softmax(logits)
    loss = -jnp.take_along_axis(log_p, labels[:, None], 1).mean()
    return loss, (logits.argmax(1) == labels).mean()


@jax.jit
def step(params, rate, inputs, labels):
    gradient, _ = jax.grad(loss_of, has_aux=True)(params, inputs, labels)
    return jax.tree.map(lambda param, slope: param - rate * slope, params, gradient)


def train(run):
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    keys = jax.random.split(jax.random.key(run.seed))
    params = {
        "hidden": jax.random.normal(keys[0], (64, 64)) / 8,
        "output": jax.random.normal(keys[1], (64, 10)) / 8,
    }
    run.saves(lambda folder: np.savez(folder / "params.npz", **params))
    if folder := run.restore():
        params = dict(np.load(folder / "params.npz"))
    parts = {"hidden": PartitionSpec(None, "model"), "output": PartitionSpec("model")}
    for name, part in parts.items():
        params[name] = jax.device_put(params[name], NamedSharding(mesh, part))
    for epoch in range(run.epochs_done, run.epochs):
        order = np.random.default_rng([run.data_seed, epoch]).permutation(1200)
        for first in range(0, 1200 - run.batch_size + 1, run.batch_size):
            chosen = order[first : first + run.batch_size]
            batch = jax.device_put((x[chosen], y[chosen]), rows)
            params = step(params, run.learning_rate, *batch)
        report = {"devices": len(params["hidden"].sharding.device_set)}
        for split, part in PARTS.items():
            loss, accuracy = loss_of(params, x[part], y[part])
            report |= {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
        yield report


SIZES = {f"{split}_examples": part.stop - part.start for split, part in PARTS.items()}
ENV = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
mlp = Loop(train, chance=0.1, scores=("devices",), env=ENV, **SIZES)
