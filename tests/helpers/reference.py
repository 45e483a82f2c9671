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
    of_labels = logits[np.arange(len(labels)), labels]
    return np.log(np.exp(logits).sum(1)) - of_labels


def loss_and_gradient(params, x, y):
    """Return the mean cross-entropy and its gradient."""
    logits, hidden = logits_of(params, x)
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    g = (probabilities - np.eye(10)[y]) / len(x)
    output_weights, _ = params[1]
    back = (g @ output_weights.T) * (1 - hidden**2)
    hidden_gradient = x.T @ back, back.sum(0)
    output_gradient = hidden.T @ g, g.sum(0)
    loss = cross_entropies(logits, y).mean()
    return loss, (hidden_gradient, output_gradient)


class SGD:
    """Trains a copy of `params`. `momentum` and `nesterov` are as in `TrialConfig`."""

    def __init__(self, params, batch_size, learning_rate, momentum=0.0, nesterov=False):
        self.params = [copies(layer) for layer in params]
        self._velocities = [np.zeros_like(param) for param in leaves(self.params)]
        self._batch_size = batch_size
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._nesterov = nesterov

    def copy(self):
        """Return a copy of the current parameters."""
        return [copies(layer) for layer in self.params]

    def epoch(self, images, labels, order):
        """Train one epoch. Return the loss of each step, before its update."""
        losses = []
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            losses.append(self._step(images[batch] / 255.0, labels[batch]))
        return np.array(losses)

    def _step(self, x, y):
        loss, gradient = loss_and_gradient(self.params, x, y)
        tree = leaves(self.params), self._velocities, leaves(gradient)
        for param, velocity, g in zip(*tree, strict=True):
            velocity *= self._momentum
            velocity += g
            step = g + self._momentum * velocity if self._nesterov else velocity
            param -= self._learning_rate * step
        return loss


def copies(layer):
    """Return the arrays of a layer as new arrays of float64."""
    return [array.astype(np.float64) for array in layer]


def leaves(params):
    """Return the four arrays: the first layer first, weights before bias."""
    return [array for layer in params for array in layer]
