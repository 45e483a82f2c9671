"""What a compiled program of a trial is called with."""

import numpy as np

NO_KEY = np.zeros(2, np.uint32)
"""A key of JAX's, as raw numbers."""


def hyper_of(program, config, steps, number=np.float32):
    """Return the hyperparameters of a trial whose epochs have so many steps."""
    values = program.step.hyperparameters(config, steps)
    return {name: number(value) for name, value in values.items()}


def in_order(count):
    """Return the order of an epoch that takes examples as they are."""
    return np.arange(count, dtype=np.int32)
