"""A model in Keras 3, on JAX.

mnist-tune regimes --loop examples/loops/keras_mlp.py:mlp --learning-rates 0.003:3:6
"""

import keras
from sklearn.datasets import load_digits

from mnist_tune import Loop

x, y = load_digits(return_X_y=True)
x = x / 16
PARTS = {
    "train": slice(0, 1200),
    "validation": slice(1200, 1500),
    "test": slice(1500, 1797),
}


def train(run):
    keras.utils.set_random_seed(run.seed)
    model = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.SGD(run.learning_rate, run.momentum),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    run.saves(lambda folder: model.save(folder / "model.keras"))
    if folder := run.restore():
        model = keras.saving.load_model(folder / "model.keras")
    for _ in range(run.epochs_done, run.epochs):
        model.fit(x[:1200], y[:1200], run.batch_size, verbose=0)
        report = {}
        for split, part in PARTS.items():
            loss, accuracy = model.evaluate(x[part], y[part], verbose=0)
            report |= {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
        yield report


SIZES = {f"{split}_examples": part.stop - part.start for split, part in PARTS.items()}
mlp = Loop(train, chance=0.1, env={"KERAS_BACKEND": "jax"}, **SIZES)
