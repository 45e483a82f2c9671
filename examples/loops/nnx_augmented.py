"""A model in Flax NNX as its tutorials write it, with objects that keep state, and a
loader that shifts images at random.

    mnist-tune regimes --loop examples/loops/nnx_augmented.py:cnn --learning-rates 0.003:1:6
"""

import jax
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

from mnist_tune import Loop

x, y = load_digits(return_X_y=True)
x = x.astype(np.float32) / 16
x = x.reshape(-1, 8, 8, 1)
PARTS = {"train": slice(1200), "validation": slice(1200, 1500)}
PARTS["test"] = slice(1500, None)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.out = nnx.Linear(1024, 10, rngs=rngs)

    def __call__(self, images):
        normed = self.norm(self.conv(images))
        hidden = nnx.relu(normed).reshape(len(images), -1)
        return self.out(hidden)


def loss_of(net, images, labels):
    logits = net(images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    is_right = logits.argmax(-1) == labels
    return losses.mean(), is_right.mean()


@nnx.jit
def step(net, optimizer, images, labels):
    gradient, _ = nnx.grad(loss_of, has_aux=True)(net, images, labels)
    optimizer.update(net, gradient)


measured = nnx.jit(loss_of)


def batches(rng, size):
    order = rng.permutation(1200)
    last = 1200 - size
    for first in range(0, last + 1, size):
        chosen = order[first : first + size]
        shift = rng.integers(-1, 2)
        images = np.roll(x[chosen], shift, axis=2)
        yield images, y[chosen]


def leaves_of(net):
    state = nnx.state(net)
    return jax.tree.leaves(state)


def train(run):
    net = Net(nnx.Rngs(run.seed))
    optimizer = nnx.Optimizer(net, optax.sgd(run.learning_rate), wrt=nnx.Param)
    # SGD without momentum keeps nothing in its optimizer
    run.saves(lambda folder: np.savez(folder / "net", *leaves_of(net)))
    if folder := run.restore():
        leaves = np.load(folder / "net.npz").values()
        tree = jax.tree.structure(nnx.state(net))
        nnx.update(net, jax.tree.unflatten(tree, leaves))
    for epoch in range(run.epochs_done, run.epochs):
        rng = np.random.default_rng([run.data_seed, epoch])
        net.train()
        for images, labels in batches(rng, run.batch_size):
            step(net, optimizer, images, labels)
        net.eval()
        report = {}
        for split, part in PARTS.items():
            loss, accuracy = measured(net, x[part], y[part])
            report[f"{split}_loss"] = loss
            report[f"{split}_accuracy"] = accuracy
        yield report


COUNTS = {"train_examples": 1200, "validation_examples": 300, "test_examples": 297}
cnn = Loop(train, chance=0.1, **COUNTS)
