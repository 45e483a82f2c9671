"""A model in Keras 3, on JAX.

mnist-tune regimes --loop examples/loops/keras_mlp.py:mlp --learning-rates 0.003:3:6
"""

import keras
from sklearn.datasets import load_digits

from mnist_tune import Loop

x, y = load_digits(return_X_y=True)
x = x / 16
PARTS = {"train": slice(1200), "validation": slice(1200, 1500)}
PARTS["test"] = slice(1500, None)


def built(run):
    hidden = keras.layers.Dense(64, "relu")
    output = keras.layers.Dense(10)
    model = keras.Sequential([keras.layers.Input((64,)), hidden, output])
    optimizer = keras.optimizers.SGD(run.learning_rate, run.momentum)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def train(run):
    keras.utils.set_random_seed(run.seed)
    model = built(run)
    run.saves(lambda folder: model.save(folder / "model.keras"))
    if folder := run.restore():
        model = keras.saving.load_model(folder / "model.keras")
    for _ in range(run.epochs_done, run.epochs):
        model.fit(x[:1200], y[:1200], run.batch_size, verbose=0)
        report = {}
        for split, part in PARTS.items():
            loss, accuracy = model.evaluate(x[part], y[part], verbose=0)
            report[f"{split}_loss"] = loss
            report[f"{split}_accuracy"] = accuracy
        yield report


COUNTS = {"train_examples": 1200, "validation_examples": 300, "test_examples": 297}
mlp = Loop(train, chance=0.1, env={"KERAS_BACKEND": "jax"}, **COUNTS)
