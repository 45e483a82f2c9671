"""Convolutions in loops on CPUs, such as that over the steps of an epoch, at the speed
that they have outside.

XLA's CPU backend is fast at convolutions whose arrays have their axes in one order:
[batch, space, channels] and [space, channels, filters]. It transposes arrays of another
order, as those of gradients are, but outside of loops only: its pass
`ConvCanonicalization` looks nowhere else. In a loop such a convolution is computed
number by number, which takes 20 to 60 times as long. So they are transposed here, as a
program is lowered for a CPU. That holds for all that a process compiles once it has
called `speed_up_convolutions`; JAX has no narrower place for it.

JAX's own lowering has a private name. In a version of JAX without it, convolutions stay
slow on CPUs.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
from jax import Array, __version__, lax
from jax.extend.core import Primitive
from jax.interpreters import mlir

_log = logging.getLogger(__name__)

_as_it_is = Primitive("convolution_as_it_is")
"""A convolution that is lowered as JAX lowers it by itself."""
_as_it_is.def_abstract_eval(
    lambda *arrays, **how: lax.conv_general_dilated_p.abstract_eval(*arrays, **how)[0]
)


@cache  # the second call would find its own lowering, not JAX's
def speed_up_convolutions() -> None:
    """Change how JAX lowers convolutions for CPUs, in this process and from now on."""
    convolution = lax.conv_general_dilated_p
    try:
        by_itself = mlir._platform_specific_lowerings["cpu"][convolution].rule
    except (AttributeError, KeyError) as error:
        # a private name of JAX, which may change
        _log.debug("JAX %s: convolutions stay as they are (%r)", __version__, error)
        return
    in_order = mlir.lower_fun(_in_order, multiple_results=False)
    mlir.register_lowering(_as_it_is, by_itself)
    mlir.register_lowering(convolution, in_order, platform="cpu")


def _in_order(
    x: Array, w: Array, *, dimension_numbers: lax.ConvDimensionNumbers, **how: Any
) -> Array:
    """Return a convolution of arrays in any order, computed in the one that is fast."""
    # The axes of each array: a pair that names what they are, then those of space.
    batch, channels, *space = dimension_numbers.lhs_spec
    filters, inputs, *window = dimension_numbers.rhs_spec
    rows, features, *places = dimension_numbers.out_spec
    # The fast order has space between the pair, and of weights before it.
    last = x.ndim - 1
    image_axes = (0, last, *range(1, last))
    window_axes = (last, last - 1, *range(last - 1))
    order = lax.ConvDimensionNumbers(image_axes, window_axes, image_axes)
    x = lax.transpose(x, (batch, *space, channels))
    w = lax.transpose(w, (*window, inputs, filters))
    y = _as_it_is.bind(x, w, dimension_numbers=order, **how)
    return lax.transpose(y, np.argsort((rows, *places, features)))
