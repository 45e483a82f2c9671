"""Convolutions in loops on a CPU: they are as fast as outside, and the same."""

import ast
import subprocess
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from text_tables import blocks, rows

from mnist_tune.own_code.registry import ENTRIES, register
from mnist_tune.training.convolutions_in_loops import _as_it_is
from mnist_tune.training.program import Program
from mnist_tune.training.task import Network
from mnist_tune.trial import TrialConfig

CHANNELS = 16
STEPS = 8
BATCH = 64
IMAGES = STEPS * BATCH
LAYOUT = ("NHWC", "HWIO", "NHWC")


def cnn(data):
    """Two convolutions of three channels and sixteen."""

    def init(key):
        return {
            "first": jax.random.normal(key, (3, 3, 3, CHANNELS)) / 5,
            "second": jax.random.normal(key, (3, 3, CHANNELS, CHANNELS)) / 12,
            "dense": jax.random.normal(key, (CHANNELS, data.classes)) / 4,
        }

    def convolved(x, weights):
        y = lax.conv_general_dilated(
            x, weights, (1, 1), "SAME", dimension_numbers=LAYOUT
        )
        return jax.nn.relu(y)

    def apply(params, images):
        x = images.reshape(len(images), 16, 16, 3)
        x = convolved(x, params["first"])
        x = convolved(x, params["second"])
        return x.mean((1, 2)) @ params["dense"]

    return Network(init, apply)


def loop_over_steps(program, data, order):
    """Return a function that trains parameters for an epoch, step by step."""

    @jax.jit
    @jax.value_and_grad
    def loss(params, index):
        return program.batch_loss(params, (), data, index, jnp.int32(0))

    def train(params):
        for index in order.reshape(STEPS, BATCH):
            _, slope = loss(params, index)
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, slope)
        return params

    return train


def timed(train, params):
    """Return the parameters of an epoch, and the seconds of a core that it takes once
    it is compiled."""
    jax.block_until_ready(train(params))
    before = time.process_time()
    trained = jax.block_until_ready(train(params))
    return trained, time.process_time() - before


@pytest.mark.numerical
def test_an_epoch_of_a_convolutional_network_takes_no_longer_than_a_loop_over_its_step(
    few_images,
):
    """Within a factor of 3, as machines are busy. In a loop, XLA alone takes twenty
    times as long."""
    register("cnn")(cnn)
    config = TrialConfig(architecture="cnn", batch_size=BATCH)
    program = Program.of(config, few_images.spec)
    rng = np.random.default_rng(0)
    images = rng.random((IMAGES, 768)).astype(np.float32)
    labels = rng.integers(0, 10, IMAGES)
    data = jax.device_put((images, labels))
    hyper = {"learning_rate": jnp.float32(0.1)}
    key = jnp.zeros(2, jnp.uint32)
    order = jnp.arange(IMAGES)
    start = jax.device_put(program.init(0, hyper))
    compiled_epoch = jax.jit(program.train_epoch)

    def epoch(params):
        state, _ = compiled_epoch(start, hyper, key, data, order)
        return state.params

    by_hand = loop_over_steps(program, data, order)
    expected, seconds_by_hand = timed(by_hand, start.params)
    trained, seconds = timed(epoch, start.params)
    assert seconds < 3 * seconds_by_hand
    is_close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(is_close, trained, expected)
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


# the layouts of images, weights and result; the shapes of images and weights; and
# further arguments
KINDS_TEXT = """
of text
    NWC WIO NWC
    (2, 9, 4)  (3, 4, 6)
    {}

of channels first, with strides
    NCHW OIHW NCHW
    (2, 4, 9, 8)  (6, 4, 3, 2)
    {"window_strides": (2, 1)}

a gradient's
    CHWN IHWO NHWC
    (4, 9, 8, 3)  (4, 3, 2, 6)
    {"rhs_dilation": (1, 2)}

transposed
    NHWC HWIO NHWC
    (2, 5, 4, 4)  (3, 3, 4, 6)
    {"lhs_dilation": (2, 2), "padding": ((1, 1), (2, 1))}

of groups of channels
    NHWC HWIO CHWN
    (2, 5, 4, 4)  (3, 3, 2, 6)
    {"feature_group_count": 2}

of groups of examples
    CHWN HWIO NHWC
    (4, 5, 5, 4)  (3, 3, 4, 6)
    {"batch_group_count": 2}

of volumes
    NCDHW OIDHW NCDHW
    (2, 4, 5, 4, 3)  (6, 4, 2, 2, 2)
    {}
"""
KINDS = dict(blocks(KINDS_TEXT))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_convolutions_of_all_kinds_are_those_of_jax(kind, dtype):
    layouts, shapes, arguments = KINDS[kind]
    [(image_shape, weight_shape)] = rows(shapes)
    rng = np.random.default_rng(0)
    images = rng.normal(size=image_shape).astype(dtype)
    weights = rng.normal(size=weight_shape).astype(dtype)
    how = {"window_strides": (1,) * (len(image_shape) - 2), "padding": "VALID"}
    how |= {"dimension_numbers": tuple(layouts.split())}
    how |= ast.literal_eval(arguments)

    @jax.jit
    def convolve(x, w):
        return lax.conv_general_dilated(x, w, **how)

    [call] = jax.make_jaxpr(convolve)(images, weights).eqns
    [equation] = call.params["jaxpr"].eqns

    @jax.jit
    def as_it_is(x, w):
        return _as_it_is.bind(x, w, **equation.params)

    convolved = convolve(images, weights)
    expected = as_it_is(images, weights)
    np.testing.assert_allclose(convolved, expected, rtol=1e-5, atol=1e-5, strict=True)
