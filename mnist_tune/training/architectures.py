"""Architectures as `init` / `apply` pairs, each named by a short string.

A name is a registered kind and its arguments, joined by `-`: `mlp-1024-128-tanh`, `mlp-1024-128-relu-glorot`,
`stax-mlp`, `convnet`. New kinds are added with `register`. Names are checked without JAX: it is imported when an
architecture's functions are called.
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
    """A network: `draw(seed)` gives float32 parameters, of NumPy or JAX, `apply(params, images)` maps float32 images
    [n, 784] in [0, 1] to logits [n, 10]."""

    name: str
    draw: Callable[[int], Any]
    apply: Callable[[Any, Any], Any]

    def init(self, seed: int) -> Any:
        """The initial parameters for that seed, as NumPy arrays: the same on every device."""
        return _initial(self, seed)


@lru_cache(maxsize=4)
def _initial(architecture: Architecture, seed: int) -> Any:
    """Kept, since trials that are compared start from the same parameters."""
    return _networks().on_host(architecture.draw, seed)


_KINDS: dict[str, Callable[..., Architecture]] = {}


def register(kind: str) -> Callable[[Callable[..., Architecture]], Callable[..., Architecture]]:
    """Registers a factory: it is called with the full name and the parts of the name behind the kind."""

    def add(factory: Callable[..., Architecture]) -> Callable[..., Architecture]:
        _KINDS[kind] = factory
        return factory

    return add


@cache
def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        UserError: no registered kind begins the name, or its arguments are wrong.
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
    """The notebook's convnet: 5x5x12 valid, ReLU, 2x2 max-pool of stride 1, 5x5x16 valid, ReLU, the same pool,
    dense 120, 84, 10."""
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
