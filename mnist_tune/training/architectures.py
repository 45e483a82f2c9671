"""Networks, each a few functions of its parameters, and the names by which trials ask for them.

A name is a registered kind with its arguments: `mlp-1024-128-tanh`, `stax-mlp`, `convnet`, or `net.py:mlp(width=128)`
for one's own, which `own_code.registry` knows. Checking a name does not import JAX; only calling a network's functions
does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from mnist_tune.data_spec import DataSpec
from mnist_tune.errors import UserError
from mnist_tune.named_code import parse_call
from mnist_tune.own_code.modules import in_a_line
from mnist_tune.own_code.registry import ENTRIES, Entry
from mnist_tune.training.task import Network, Task
from mnist_tune.trial import closest

ACTIVATIONS = ("tanh", "relu", "gelu", "silu")
INITIALISATIONS = ("glorot", "he", "he0")
"""How the weights of an MLP may be drawn other than as in the notebook."""


def kind_of(name: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Take a name apart: its kind, and the arguments. Raises `UserError` if there is no such kind."""
    call = parse_call(name)
    if call.name in ENTRIES["architecture"] or call.name in BUILT_IN:
        return call.name, call.arguments, dict(call.keywords)
    for kind in sorted(BUILT_IN, key=len, reverse=True):
        if name.startswith(kind + "-"):
            return kind, tuple(name.removeprefix(kind + "-").split("-")), {}
    if name.endswith(".py"):
        raise UserError(
            f"unknown architecture {name!r}; name the function that makes the network, too: {name}:FUNCTION"
        )
    examples = ["mlp-1024-128-tanh", *sorted({*BUILT_IN, *ENTRIES["architecture"]} - {"mlp"})]
    raise UserError(f"unknown architecture {name!r}{closest(name, examples)}; or FILE.py:FUNCTION")


def architecture(name: str, data: DataSpec) -> Network:
    """Return the network with this name, for this data: the same one until its factory is another one. Raises
    `UserError` if there is none, its arguments are wrong, or it can't take this data."""
    return _made(name, data, ENTRIES["architecture"].get(kind_of(name)[0]))


@cache
def _made(name: str, data: DataSpec, own: Entry | None) -> Network:
    kind, arguments, keywords = kind_of(name)
    if own is None and data.positions > 1:
        raise UserError(f"architecture {name!r} takes images, and {data.name} has tokens; give a network of your own")
    factory: Any = own.factory if own else BUILT_IN.get(kind)
    with _telling(f"architecture {name!r}", f" for {data.name}", factory, 1):
        network = factory(data, *arguments, **keywords)
    if not isinstance(network, Network):
        found = type(network).__name__
        raise UserError(f"architecture {name!r}: {kind} returned a {found}; return mnist_tune.Network(init, apply)")
    return network


def task(name: str) -> Task:
    """Return the task with this name: the same one until its factory is another one. Raises `UserError` if there is
    none, or its arguments are wrong."""
    return _task(name, ENTRIES["architecture"].get(parse_call(name).name))


@cache
def _task(name: str, own: Entry | None) -> Task:
    call = parse_call(name)
    if own is None:
        raise UserError(f"unknown task {name!r}; name the function that makes it, FILE.py:FUNCTION")
    with _telling(f"task {name!r}", "", own.factory, 0):
        made = own.factory(*call.arguments, **dict(call.keywords))
    if not isinstance(made, Task):
        found = type(made).__name__
        raise UserError(f"task {name!r}: {call.name} returned a {found}; return mnist_tune.Task(init, loss, data)")
    return made


@contextmanager
def _telling(what: str, where: str, factory: Any, first: int) -> Iterator[None]:
    """Say in one line what can't be made. The factory's own arguments begin with the `first`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from None
    except Exception as error:
        said = in_a_line(error)
        if isinstance(error, TypeError) and "argument" in said:
            said += f"; it takes {', '.join(list(inspect.signature(factory).parameters)[first:]) or 'none'}"
        raise UserError(f"{what} can't be made{where}, {said}") from error


def mlp(data: DataSpec, *parts: str) -> Network:
    *rest, last = parts or ("",)
    rest, draw = (rest, last) if last in INITIALISATIONS else ([*rest, last], "normal")
    *widths, activation = rest or ("",)
    if activation not in ACTIVATIONS or not all(width.isdecimal() and int(width) > 0 for width in widths):
        raise UserError(
            f"write mlp-<widths>-<activation>[-{'|'.join(INITIALISATIONS)}], such as mlp-1024-128-tanh "
            f"(activations: {', '.join(ACTIVATIONS)})"
        )
    sizes = (data.size, *map(int, widths), data.classes)
    return Network(
        lambda key: getattr(_networks(), f"{draw}_mlp")(sizes, _networks().seed_of(key)),
        lambda params, x: _networks().apply_mlp(activation, params, x),
    )


def stax_mlp(data: DataSpec) -> Network:
    """The notebook's Problem 2: Dense 1024, Relu, Dense 128, Relu, Dense 10."""
    return mlp(data, "1024", "128", "relu", "glorot")


def convnet(data: DataSpec) -> Network:
    """The notebook's convnet: 5x5x12 valid convolution, ReLU, 2x2 max-pool of stride 1, 5x5x16 valid convolution, ReLU,
    the same pool, then dense layers of 120, 84 and the classes."""
    if len(data.shape) not in (2, 3) or min(data.shape[:2]) < 11:
        wanted = "images [height, width] or [height, width, channels] of at least 11 x 11"
        raise UserError(f"convnet takes {wanted}; those of {data.name} are {list(data.shape)}")
    return Network(
        lambda key: _networks().glorot_convnet(data, _networks().seed_of(key)),
        lambda params, x: _networks().convnet_logits(params, x),
    )


BUILT_IN: dict[str, Callable[..., Network]] = {"mlp": mlp, "stax-mlp": stax_mlp, "convnet": convnet}
"""Our factories: each takes a `DataSpec`, then the parts of the name."""


def _networks() -> ModuleType:
    from mnist_tune.training import networks

    return networks
