"""Networks, each a few functions of its parameters, and the names by which trials ask
for them.

A name is a registered kind with its arguments: `mlp-1024-128-tanh`, `stax-mlp`,
`convnet`, or `net.py:mlp(width=128)` for one's own, which `own_code.registry` knows.
Checking a name does not import JAX; only calling a network's functions does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import Any, cast

from mnist_tune.data_spec import DataSpec
from mnist_tune.errors import UserError, closest
from mnist_tune.named_code import parse_call
from mnist_tune.own_code.modules import in_a_line
from mnist_tune.own_code.registry import ENTRIES, Entry
from mnist_tune.training.frameworks import is_module
from mnist_tune.training.task import Network, Task

ACTIVATIONS = ("tanh", "relu", "gelu", "silu")
INITIALISATIONS = ("glorot", "he", "he0")
"""How the weights of an MLP may be drawn other than as in the notebook."""


def kind_of(name: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Take a name apart: its kind, and the arguments. Raises `UserError` if there is no
    such kind."""
    call = parse_call(name)
    if call.name in ENTRIES["architecture"] or call.name in BUILT_IN:
        return call.name, call.arguments, dict(call.keywords)
    for kind in sorted(BUILT_IN, key=len, reverse=True):
        start = f"{kind}-"
        if name.startswith(start):
            parts = name.removeprefix(start).split("-")
            return kind, tuple(parts), {}
    if name.endswith(".py"):
        how = "name the function that makes the network, too"
        raise UserError(f"unknown architecture {name!r}; {how}: {name}:FUNCTION")
    kinds = {*BUILT_IN, *ENTRIES["architecture"]}
    examples = ["mlp-1024-128-tanh", *sorted(kinds - {"mlp"})]
    hint = closest(name, examples)
    raise UserError(f"unknown architecture {name!r}{hint}; or FILE.py:FUNCTION")


def architecture(name: str, data: DataSpec) -> Network:
    """Return the network with this name, for this data: the same one until its factory
    is another one. Raises `UserError` if there is none, its arguments are wrong, or it
    can't take this data."""
    kind, _, _ = kind_of(name)
    own = ENTRIES["architecture"].get(kind)
    if own is None and data.positions > 1:
        raise UserError(
            f"architecture {name!r} takes images, and {data.name} has tokens; give a network of your own"
        )
    return cast(Network, _made(name, data, own))


def task(name: str) -> Task:
    """Return the task with this name: the same one until its factory is another one.
    Raises `UserError` if there is none, or its arguments are wrong."""
    own = ENTRIES["architecture"].get(parse_call(name).name)
    if own is None:
        raise UserError(
            f"unknown task {name!r}; name the function that makes it, FILE.py:FUNCTION"
        )
    return cast(Task, _made(name, None, own))


@cache
def _made(name: str, data: DataSpec | None, own: Entry | None) -> Network | Task:
    """Return what a factory makes: for data a network, else a task."""
    kind, arguments, keywords = kind_of(name)
    factory: Any = BUILT_IN.get(kind)
    if own:
        factory = own.factory
    what = f"task {name!r}"
    for_data = ""
    returns: type[Network | Task] = Task
    fields = "Task(init, loss, data)"
    if data:
        what = f"architecture {name!r}"
        for_data = f" for {data.name}"
        returns = Network
        fields = "Network(init, apply)"
        arguments = (data, *arguments)
    try:
        if data and is_module(factory):
            factory = partial(Network.of, factory)
        made = factory(*arguments, **keywords)
        if data and is_module(made):
            made = Network.of(made, data)
    except UserError as error:
        raise UserError(f"{what}: {error}") from None
    except Exception as error:
        why = in_a_line(error)
        trace = error.__traceback__
        # the call itself fails, not what the factory does
        is_of_call = trace is not None and trace.tb_next is None
        if is_of_call and isinstance(error, TypeError) and "argument" in why:
            names = [*inspect.signature(factory).parameters]
            if data:
                names = names[1:]
            takes = ", ".join(names) or "none"
            why += f"; it takes {takes}"
        raise UserError(f"{what} can't be made{for_data}, {why}") from error
    if not isinstance(made, returns):
        raise UserError(
            f"{what}: {kind} returned a {type(made).__name__}; return mnist_tune.{fields}"
        )
    return made


def mlp(data: DataSpec, *parts: str) -> Network:
    initialisation = "normal"
    if parts and parts[-1] in INITIALISATIONS:
        *parts, initialisation = parts  # type: ignore[assignment]
    *widths, activation = parts or ("",)
    are_widths = all(width.isdecimal() and int(width) > 0 for width in widths)
    if activation not in ACTIVATIONS or not are_widths:
        names = "|".join(INITIALISATIONS)
        form = f"mlp-<widths>-<activation>[-{names}], such as mlp-1024-128-tanh"
        activations = ", ".join(ACTIVATIONS)
        raise UserError(f"write {form} (activations: {activations})")
    sizes = (data.size, *map(int, widths), data.classes)

    def init(key: Any) -> Any:
        networks = _networks()
        draw = getattr(networks, f"{initialisation}_mlp")
        return draw(sizes, networks.seed_of(key))

    return Network(init, lambda params, x: _networks().apply_mlp(activation, params, x))


def stax_mlp(data: DataSpec) -> Network:
    """The notebook's Problem 2: Dense 1024, Relu, Dense 128, Relu, Dense 10."""
    return mlp(data, "1024", "128", "relu", "glorot")


def convnet(data: DataSpec) -> Network:
    """The notebook's convnet: 5x5x12 valid convolution, ReLU, 2x2 max-pool of stride 1,
    5x5x16 valid convolution, ReLU, the same pool, then dense layers of 120, 84 and the
    classes."""
    are_images = len(data.shape) in (2, 3)
    if not are_images or min(data.shape[:2]) < 11:
        images = (
            "images [height, width] or [height, width, channels] of at least 11 x 11"
        )
        raise UserError(
            f"convnet takes {images}; those of {data.name} are {list(data.shape)}"
        )

    def init(key: Any) -> Any:
        networks = _networks()
        return networks.glorot_convnet(data, networks.seed_of(key))

    return Network(init, lambda params, x: _networks().convnet_logits(params, x))


BUILT_IN: dict[str, Callable[..., Network]] = {
    "mlp": mlp,
    "stax-mlp": stax_mlp,
    "convnet": convnet,
}
"""Our factories: each takes a `DataSpec`, then the parts of the name."""


def _networks() -> ModuleType:
    from mnist_tune.training import networks

    return networks
