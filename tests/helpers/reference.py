"""SGD by hand, in NumPy's float64: a tanh network with one hidden layer."""

import numpy as np


def logits_of(params, x):
    """Return the logits [n, 10] and the hidden layer [n, h] for images x [n, 784] in
    [0, 1]."""
    (w1, b1), (w2, b2) = params
    hidden = np.tanh(x @ w1 + b1)
    return hidden @ w2 + b2, hidden


def cross_entropies(logits, labels):
    """Return the cross-entropy of each image, in nats, [n]."""
    logits = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]


def loss_and_gradient(params, x, y):
    """Return the mean cross-entropy and its gradient."""
    logits, hidden = logits_of(params, x)
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    g = (probabilities - np.eye(10)[y]) / len(x)
    back = (g @ params[1][0].T) * (1 - hidden**2)
    return cross_entropies(logits, y).mean(), (
        (x.T @ back, back.sum(0)),
        (hidden.T @ g, g.sum(0)),
    )


class SGD:
    """Trains a copy of `params`. `momentum` and `nesterov` are as in `TrialConfig`."""

    def __init__(self, params, batch_size, learning_rate, momentum=0.0, nesterov=False):
        self.params = [
            [array.astype(np.float64) for array in layer] for layer in params
        ]
        self._velocity = [
            [np.zeros_like(array) for array in layer] for layer in self.params
        ]
        self._batch_size, self._learning_rate = batch_size, learning_rate
        self._momentum, self._nesterov = momentum, nesterov

    def copy(self):
        """Return a copy of the current parameters."""
        return [[array.copy() for array in layer] for layer in self.params]

    def epoch(self, images, labels, order):
        """Train one epoch. Return the loss of each step, before its update."""
        starts = range(0, len(order), self._batch_size)
        return np.array(
            [
                self._step(images, labels, order[i : i + self._batch_size])
                for i in starts
            ]
        )

    def _step(self, images, labels, index):
        loss, gradient = loss_and_gradient(
            self.params, images[index] / 255.0, labels[index]
        )
        for param, velocity, g in zip(
            *map(leaves, (self.params, self._velocity, gradient)), strict=True
        ):
            velocity *= self._momentum
            velocity += g
            param -= self._learning_rate * (
                g + self._momentum * velocity if self._nesterov else velocity
            )
        return loss


def leaves(params):
    """Return the four arrays: the first layer first, weights before bias."""
    return [array for layer in params for array in layer]
