"""What `import mnist_tune` offers."""

import pytest

import mnist_tune
from mnist_tune.training import architectures, optimizers


@pytest.mark.parametrize("name", mnist_tune.__all__)
def test_each_public_name_is_there(name):
    assert getattr(mnist_tune, name).__name__ == name


def test_functions_that_register_are_those_of_their_kind():
    assert mnist_tune.register is architectures.register
    assert mnist_tune.register_optimizer is optimizers.register_optimizer
