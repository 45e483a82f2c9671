"""Architectures, each a pair of functions `init` and `apply`, and their names.

A name is a registered kind and its arguments, joined by `-`: `mlp-1024-128-tanh`, `mlp-1024-128-relu-glorot`,
`stax-mlp`, `convnet`. `register` adds a kind. Checking a name does not import JAX; only calling an architecture's
functions does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

from mnist_tune.errors import UserError
from mnist_tune.trial import closest

PIXELS, CLASSES = 784, 10
ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class Architecture:
    """A network."""

    name: str
    draw: Callable[[int], Any]
    """Returns float32 parameters, as NumPy or JAX arrays, for a seed."""
    apply: Callable[[Any, Any], Any]
    """Maps parameters and float32 images [n, 784] in [0, 1] to logits [n, 10]."""

    def init(self, seed: int) -> Any:
        """Return the initial parameters for a seed, as NumPy arrays. They are the same on every device."""
        return _initial(self, seed)


@lru_cache(maxsize=4)  # trials that are compared start from the same parameters
def _initial(architecture: Architecture, seed: int) -> Any:
    return _networks().on_host(architecture.draw, seed)


_KINDS: dict[str, Callable[..., Architecture]] = {}


def register(kind: str) -> Callable[[Callable[..., Architecture]], Callable[..., Architecture]]:
    """Register a factory of architectures. It is called with the full name, then with the arguments in the name."""

    def add(factory: Callable[..., Architecture]) -> Callable[..., Architecture]:
        _KINDS[kind] = factory
        return factory

    return add


@cache
def architecture(name: str) -> Architecture:
    """Return the architecture with this name.

    Raises:
        UserError: the name does not begin with a registered kind, or its arguments are wrong.
    """
    for kind in sorted(_KINDS, key=len, reverse=True):
        if name == kind or name.startswith(kind + "-"):
            rest = name.removeprefix(kind).removeprefix("-")
            return _KINDS[kind](name, *(rest.split("-") if rest else ()))
    examples = ["mlp-1024-128-tanh", *sorted(set(_KINDS) - {"mlp"})]
    raise UserError(f"unknown architecture {name!r}{closest(name, examples)}")


@register("mlp")
def _mlp(name: str, *parts: str) -> Architecture:
    glorot = parts[-1:] == ("glorot",)
    *widths, activation = parts[:-1] if glorot else parts or ("",)
    if activation not in ACTIVATIONS or not all(width.isdecimal() and int(width) > 0 for width in widths):
        raise UserError(
            f"architecture {name!r} is not mlp-<widths>-<activation>[-glorot], such as mlp-1024-128-tanh "
            f"(activations: {', '.join(ACTIVATIONS)})"
        )
    sizes = (PIXELS, *map(int, widths), CLASSES)
    draw = "glorot_mlp" if glorot else "normal_mlp"
    return Architecture(
        name,
        lambda seed: getattr(_networks(), draw)(sizes, seed),
        lambda params, x: _networks().apply_mlp(activation, params, x),
    )


@register("stax-mlp")
def _stax_mlp(name: str, *parts: str) -> Architecture:
    """The notebook's Problem 2: Dense 1024, Relu, Dense 128, Relu, Dense 10."""
    if parts:
        raise UserError(f"architecture {name!r}: stax-mlp takes no arguments; mlp-<widths>-relu-glorot does")
    return _mlp(name, "1024", "128", "relu", "glorot")


@register("convnet")
def _convnet(name: str, *parts: str) -> Architecture:
    """The notebook's convnet: 5x5x12 valid convolution, ReLU, 2x2 max-pool of stride 1, 5x5x16 valid convolution, ReLU,
    the same pool, then dense layers of 120, 84 and 10."""
    if parts:
        raise UserError(f"architecture {name!r}: convnet takes no arguments")
    return Architecture(
        name,
        lambda seed: _networks().glorot_convnet(seed),
        lambda params, x: _networks().convnet_logits(params, x),
    )


def _networks() -> ModuleType:
    from mnist_tune.training import networks

    return networks
