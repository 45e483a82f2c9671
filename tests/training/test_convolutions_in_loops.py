"""Convolutions in loops on a CPU: they are as fast as outside, and the same."""

import subprocess
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mnist_tune.own_code.registry import ENTRIES, register
from mnist_tune.training.convolutions_in_loops import _as_it_is
from mnist_tune.training.program import Program
from mnist_tune.training.task import Network
from mnist_tune.trial import TrialConfig

CHANNELS = 16
STEPS = 8


def cnn(data):
    """Two convolutions of three channels and sixteen."""

    def init(key):
        return {
            "first": jax.random.normal(key, (3, 3, 3, CHANNELS)) / 5,
            "second": jax.random.normal(key, (3, 3, CHANNELS, CHANNELS)) / 12,
            "dense": jax.random.normal(key, (CHANNELS, data.classes)) / 4,
        }

    def apply(params, images):
        x = images.reshape(len(images), 16, 16, 3)
        for name in ("first", "second"):
            x = lax.conv_general_dilated(
                x,
                params[name],
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            x = jax.nn.relu(x)
        return x.mean((1, 2)) @ params["dense"]

    return Network(init, apply)


@pytest.mark.numerical
def test_an_epoch_of_a_convolutional_network_takes_no_longer_than_a_loop_over_its_step(
    few_images,
):
    """Within a factor of 3, as machines are busy. In a loop, XLA alone takes twenty
    times as long."""
    register("cnn")(cnn)
    program = Program.of(
        TrialConfig(architecture="cnn", batch_size=64), few_images.spec
    )
    rng, hyper = np.random.default_rng(0), {"learning_rate": jnp.float32(0.1)}
    data = jax.device_put(
        (
            rng.random((64 * STEPS, 768)).astype(np.float32),
            rng.integers(0, 10, 64 * STEPS),
        )
    )
    key, order, start = (
        jnp.zeros(2, jnp.uint32),
        jnp.arange(64 * STEPS),
        jax.device_put(program.init(0, hyper)),
    )
    loss = jax.jit(
        jax.value_and_grad(
            lambda p, index: program.batch_loss(p, (), data, index, jnp.int32(0))
        )
    )

    def by_hand():
        params = start.params
        for index in order.reshape(STEPS, 64):
            _, slope = loss(params, index)
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, slope)
        return params

    epoch = jax.jit(program.train_epoch)
    calls = {
        "by hand": by_hand,
        "epoch": lambda: epoch(start, hyper, key, data, order)[0].params,
    }
    found, seconds = {}, {}
    for name, call in calls.items():
        jax.block_until_ready(call())
        before = time.process_time()
        found[name] = jax.block_until_ready(call())
        seconds[name] = time.process_time() - before
    assert seconds["epoch"] < 3 * seconds["by hand"]
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        found["epoch"],
        found["by hand"],
    )
    del ENTRIES["architecture"]["cnn"]


_LOWERINGS = """
from jax import lax
from jax.interpreters import mlir

def lowerings():
    rules = mlir._lowerings, *mlir._platform_specific_lowerings.values()
    return [known.get(lax.conv_general_dilated_p) for known in rules]

"""

_IMPORTS = """
before = lowerings()
import mnist_tune.training.program
import mnist_tune.execution.pool
import mnist_tune.trained
assert lowerings() == before
"""

_CALLS = """
import mnist_tune.execution.process_setup as setup
before = lowerings()
setup.configure_jax(setup.WorkerSettings())
after = lowerings()
assert after != before
setup.configure_jax(setup.WorkerSettings())
assert lowerings() == after
"""


@pytest.mark.parametrize("code", [_IMPORTS, _CALLS], ids=["imports", "calls"])
def test_how_convolutions_are_lowered_changes_by_a_call_not_by_an_import(code):
    subprocess.run([sys.executable, "-c", _LOWERINGS + code], check=True)


KINDS = {
    "of text": ("NWC", "WIO", "NWC", (2, 9, 4), (3, 4, 6), {}),
    "of channels first, with strides": (
        "NCHW",
        "OIHW",
        "NCHW",
        (2, 4, 9, 8),
        (6, 4, 3, 2),
        {"window_strides": (2, 1)},
    ),
    "a gradient's": (
        "CHWN",
        "IHWO",
        "NHWC",
        (4, 9, 8, 3),
        (4, 3, 2, 6),
        {"rhs_dilation": (1, 2)},
    ),
    "transposed": (
        "NHWC",
        "HWIO",
        "NHWC",
        (2, 5, 4, 4),
        (3, 3, 4, 6),
        {"lhs_dilation": (2, 2), "padding": ((1, 1), (2, 1))},
    ),
    "of groups of channels": (
        "NHWC",
        "HWIO",
        "CHWN",
        (2, 5, 4, 4),
        (3, 3, 2, 6),
        {"feature_group_count": 2},
    ),
    "of groups of examples": (
        "CHWN",
        "HWIO",
        "NHWC",
        (4, 5, 5, 4),
        (3, 3, 4, 6),
        {"batch_group_count": 2},
    ),
    "of volumes": ("NCDHW", "OIDHW", "NCDHW", (2, 4, 5, 4, 3), (6, 4, 2, 2, 2), {}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_convolutions_of_all_kinds_are_those_of_jax(kind, dtype):
    *order, x, w, how = KINDS[kind]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in (x, w)]
    how = {
        "window_strides": (1,) * (len(x) - 2),
        "padding": "VALID",
        "dimension_numbers": tuple(order),
        **how,
    }
    convolve = jax.jit(lambda x, w: lax.conv_general_dilated(x, w, **how))
    [equation] = jax.make_jaxpr(convolve)(*arrays).eqns[0].params["jaxpr"].eqns
    expected = jax.jit(lambda x, w: _as_it_is.bind(x, w, **equation.params))(*arrays)
    np.testing.assert_allclose(
        convolve(*arrays), expected, rtol=1e-5, atol=1e-5, strict=True
    )
