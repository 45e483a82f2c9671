"""What `import mnist_tune` offers."""

import pytest

import mnist_tune
from mnist_tune.own_code.registry import ENTRIES


@pytest.mark.parametrize("name", mnist_tune.__all__)
def test_each_public_name_is_there(name):
    assert getattr(mnist_tune, name).__name__ == name


def test_functions_that_register_are_those_of_their_kind():
    mnist_tune.register("mine")(len)
    mnist_tune.register_optimizer("mine")(max)
    assert [ENTRIES[flag]["mine"].factory for flag in ("architecture", "optimizer")] == [len, max]
