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
PARTS = {"train": slice(1200), "validation": slice(1200, 1500)}
PARTS["test"] = slice(1500, None)


def loss_of(params, inputs, labels):
    hidden = jnp.tanh(inputs @ params["hidden"])
    logits = hidden @ params["output"]
    log_p = jax.nn.log_softmax(logits)
    losses = -jnp.take_along_axis(log_p, labels[:, None], 1)
    is_right = logits.argmax(1) == labels
    return losses.mean(), is_right.mean()


@jax.jit
def step(params, rate, inputs, labels):
    gradient, _ = jax.grad(loss_of, has_aux=True)(params, inputs, labels)
    return jax.tree.map(lambda param, slope: param - rate * slope, params, gradient)


def batches(run, epoch):
    rng = np.random.default_rng([run.data_seed, epoch])
    order = rng.permutation(1200)
    for first in range(0, 1200 - run.batch_size + 1, run.batch_size):
        chosen = order[first : first + run.batch_size]
        yield x[chosen], y[chosen]


def sharded(params, mesh):
    columns = NamedSharding(mesh, PartitionSpec(None, "model"))
    rows = NamedSharding(mesh, PartitionSpec("model"))
    hidden = jax.device_put(params["hidden"], columns)
    output = jax.device_put(params["output"], rows)
    return {"hidden": hidden, "output": output}


def train(run):
    keys = jax.random.split(jax.random.key(run.seed))
    hidden = jax.random.normal(keys[0], (64, 64)) / 8
    output = jax.random.normal(keys[1], (64, 10)) / 8
    params = {"hidden": hidden, "output": output}
    run.saves(lambda folder: np.savez(folder / "params.npz", **params))
    if folder := run.restore():
        params = np.load(folder / "params.npz")
    devices = np.array(jax.devices()).reshape(4, 2)
    mesh = Mesh(devices, ("data", "model"))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    params = sharded(params, mesh)
    for epoch in range(run.epochs_done, run.epochs):
        for batch in batches(run, epoch):
            batch = jax.device_put(batch, rows)
            params = step(params, run.learning_rate, *batch)
        used = params["hidden"].sharding.device_set
        report = {"devices": len(used)}
        for split, part in PARTS.items():
            loss, accuracy = loss_of(params, x[part], y[part])
            report[f"{split}_loss"] = loss
            report[f"{split}_accuracy"] = accuracy
        yield report


COUNTS = {"train_examples": 1200, "validation_examples": 300, "test_examples": 297}
ENV = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
mlp = Loop(train, chance=0.1, scores=("devices",), env=ENV, **COUNTS)
