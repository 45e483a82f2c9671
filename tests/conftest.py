"""Strict numerics for every test, and the data sets."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
import pytest

from mnist_tune.data import load_dataset

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def mnist():
    """The true MNIST: from the cache, else downloaded."""
    return load_dataset("mnist", progress=False)


@pytest.fixture(scope="session")
def mnist_5k():
    """4,000 training and 1,000 test images, for what is not about MNIST."""
    return load_dataset("mnist-5k")
