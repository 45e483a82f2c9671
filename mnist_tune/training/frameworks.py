"""Modules of Flax NNX, Flax Linen and Equinox as the functions of a network: their
parameters, state and random keys are taken apart, and training is told from evaluation.

NNX and Linen get images as [n, height, width, channels]. Equinox gets one at a time, as
[channels, height, width]. So their own layers expect it. Other examples come as they
are. A framework is imported only for a module of its own.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from mnist_tune.data_spec import DataSpec
from mnist_tune.errors import UserError


class Functions(NamedTuple):
    """What a network is made of, as in `Network`."""

    init: Callable[[Any], tuple[Any, Any]]
    apply: Callable[..., Any]
    train_apply: Callable[..., tuple[Any, Any]]
    rebuild: Callable[[Any, Any], Any]
    """`rebuild(params, state)` returns the module with these parameters."""


def is_module(value: Any) -> bool:
    """Return whether this is a module of a framework that we know, or its class."""
    return _framework(value) is not None


def functions_of(
    module: Any,
    data: DataSpec,
    arguments: Sequence[Any] = (),
    keywords: Mapping[str, Any] | None = None,
) -> Functions:
    """Return a module as the functions of a network.

    Args:
        module: a class of modules, perhaps with some of its arguments as a `partial`; a
            function that makes one from `rngs` (NNX) or `key` (Equinox); or a module of
            Linen.
        data: the data set. What `offered` has of it is handed over, if the class asks
            for it by name.
        arguments, keywords: all other arguments of the class.

    Raises `UserError` if an argument is missing, or a module is given for which a class
    is needed: each seed draws its own parameters.
    """
    if isinstance(module, partial):
        arguments = (*module.args, *arguments)
        keywords = module.keywords | dict(keywords or {})
        module = module.func
    framework = _framework(module) or _framework_of_maker(module)
    if framework is None:
        raise UserError(
            f"Network.of takes a class of modules of Flax or Equinox, or a function of rngs or key that makes one, "
            f"not {module!r:.100}"
        )
    if isinstance(module, type) or not is_module(module):
        make = partial(module, **_arguments(module, data, arguments, keywords or {}))
    elif framework == "flax.linen":
        make = partial(_the_same, module)
    else:
        kind = type(module).__name__
        raise UserError(
            f"a {kind} is given whose parameters are drawn, and each seed draws its own; name the class, or "
            f"return Network.of({kind}, data, ...)"
        )
    functions = _FUNCTIONS[framework](make, data)
    train_apply = functions.train_apply
    if framework != "equinox":
        train_apply = _on_one_device(train_apply)
    explained = partial(_explained, module, framework, data)
    return functions._replace(
        apply=explained(functions.apply), train_apply=explained(train_apply)
    )


def init_and_rebuild(
    module: Any, *arguments: Any, **keywords: Any
) -> tuple[Callable[[Any], tuple[Any, Any]], Callable[..., Any]]:
    """Return two functions that take a module of Flax NNX or Equinox apart and put it
    together again, for the functions of a `Task`.

    - `init(key)` returns `(params, state)`, as that of a task. Of Equinox, the state is
      an `eqx.nn.State`.
    - `rebuild(params, state, key)` returns the module with these parameters. Of NNX, it
      has this state, and draws from the key; if none is given, always the same.

    Args:
        module: a class of modules, or a function of `rngs` (NNX) or `key` (Equinox)
            that makes one.
        arguments, keywords: all other arguments of it.

    Raises `UserError` if it is no such class or function.
    """
    framework = _framework(module) or _framework_of_maker(module)
    if framework == "flax.linen":
        raise UserError("a module of Linen has init and apply already; call these")
    is_made = is_module(module) and not isinstance(module, type)
    if framework is None or is_made:
        raise UserError(
            "init_and_rebuild takes a class of modules of Flax NNX or Equinox, or a function of rngs or key that "
            f"makes one, not {module!r:.100}; name the class"
        )
    parts = {"flax.nnx": _nnx_parts, "equinox": _equinox_parts}
    init, rebuild, *_ = parts[framework](partial(module, *arguments, **keywords))
    return init, rebuild


def offered(data: DataSpec) -> dict[str, Any]:
    """Return what a class may ask for by name."""
    channels = 1
    if len(data.shape) == 3:
        channels = data.shape[2]
    return {
        "data": data,
        "shape": data.shape,
        "size": data.size,
        "channels": channels,
        "classes": data.classes,
        "num_classes": data.classes,
        "tokens": data.tokens,
    }


BATCH = "batch"
"""The name of the axis of examples, or devices, in the frameworks' own documents."""

DRAWS = ("rngs", "key")
"""Arguments of a class through which it gets its random numbers."""


def _the_same(module: Any) -> Any:
    return module


def _framework(value: Any) -> str | None:
    """Return the name of the framework that a module, a class, or a partial call of
    one, is of."""
    if isinstance(value, partial):
        value = value.func
    kind = value if isinstance(value, type) else type(value)
    for name in _FUNCTIONS:
        library = sys.modules.get(name)
        if library is not None and issubclass(kind, library.Module):
            return name
    return None


def _arguments(
    module: Any, data: DataSpec, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a class, but for those through which it draws."""
    parameters = _parameters(module)
    for name in DRAWS:
        parameters.pop(name, None)
    from_data = offered(data)
    names = [name for name in parameters if name not in from_data]
    values = {name: from_data[name] for name in parameters if name in from_data}
    values |= dict(zip(names, arguments, strict=False))
    values |= keywords
    missing = []
    for name, parameter in parameters.items():
        is_needed = parameter.default is parameter.empty
        is_single = parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if is_needed and is_single and name not in values:
            missing.append(name)
    if missing:
        kind = module.__name__
        assignments = ", ".join(f"{name}=..." for name in missing)
        offers = ", ".join(from_data)
        raise UserError(
            f"{kind} needs {', '.join(missing)}: name {kind}({assignments}), or a function that returns "
            f"Network.of({kind}, data, {assignments}); known by themselves are {offers}"
        )
    return values


def _framework_of_maker(value: Any) -> str | None:
    """Return the framework of the modules that a function makes, by how it draws."""
    if not inspect.isfunction(value):
        return None
    names = _parameters(value)
    if "rngs" in names:
        return "flax.nnx"
    if "key" in names:
        return "equinox"
    return None


def _parameters(maker: Any) -> dict[str, inspect.Parameter]:
    """Return what a class, or a function, makes a module from."""
    if not isinstance(maker, type):
        return dict(inspect.signature(maker).parameters)
    # that of NNX calls itself by a metaclass
    _, *parameters = inspect.signature(maker.__init__).parameters.values()  # type: ignore[misc]
    return {parameter.name: parameter for parameter in parameters}


def _flags(module: Any, training: bool) -> dict[str, bool]:
    """Return the arguments that tell a module's call whether it trains."""
    values = {
        "train": training,
        "training": training,
        "is_training": training,
        "enable_dropout": training,
        "deterministic": not training,
        "use_running_average": not training,
        "inference": not training,
    }
    names = inspect.signature(type(module).__call__).parameters
    return {name: value for name, value in values.items() if name in names}


def _on_one_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function in which the axis over which Flax's examples average their
    batch statistics has a name, though there is one device. Nothing is batched."""
    import jax

    def call(*arguments: Any) -> Any:
        named = jax.vmap(
            function, in_axes=None, out_axes=None, axis_name=BATCH, axis_size=1
        )
        return named(*arguments)

    return call


def _explained(
    module: Any, framework: str, data: DataSpec, function: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a function whose errors say what the module was called with."""
    from mnist_tune.training.refusals import tried

    kind = getattr(module, "__name__", type(module).__name__)
    example = list(data.shape)
    if data.positions == 1 and len(example) == 2:
        example = [*example, 1]
    rows = "images.reshape(len(images), -1)"
    given = f"images [n, {', '.join(map(str, example))}]"
    if framework == "equinox":
        if len(example) == 3:
            example = [example[2], *example[:2]]
        rows = "image.reshape(-1)"
        given = f"an image {example}"
    advice = ""
    if len(example) > 1:
        advice = f"if it takes rows, flatten them in its call: {rows}"

    def explained(*arguments: Any) -> Any:
        return tried(f"{kind} on {given}", function, *arguments, advice=advice)

    return explained


def _with_channels(images: Any, data: DataSpec) -> Any:
    """Return images with an axis of channels, the last one."""
    if len(data.shape) == 2 and data.positions == 1:
        return images[..., None]
    return images


def _split_nnx(module: Any) -> Any:
    """Return a module's structure, parameters, random streams and state."""
    from flax import nnx

    return nnx.split(module, nnx.Param, nnx.RngState, ...)


def _nnx_parts(make: Callable[..., Any]) -> tuple[Any, Any]:
    """Return `init` and `rebuild` of a module of Flax NNX. Its random streams are set
    anew from the key."""
    import jax
    from flax import nnx

    shapes = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    graph, _, streams, _ = _split_nnx(shapes)

    def init(key: Any) -> tuple[Any, Any]:
        _, params, _, state = _split_nnx(make(rngs=nnx.Rngs(key)))
        return params, state

    def rebuild(params: Any, state: Any, key: Any = None) -> Any:
        if key is None:
            key = jax.random.key(0)
        leaves, tree = jax.tree.flatten(streams)
        drawn = [_stream(leaf, key, number) for number, leaf in enumerate(leaves)]
        new_streams = jax.tree.unflatten(tree, drawn)
        return nnx.merge(graph, params, new_streams, state, copy=True)

    return init, rebuild


def _nnx(make: Callable[..., Any], data: DataSpec) -> Functions:
    """A module of Flax NNX, which draws anew in each step, from the step's key."""
    from flax import nnx

    init, merged = _nnx_parts(make)

    def called(module: Any, images: Any, training: bool, key: Any) -> Any:
        options: dict[str, Any] = _flags(module, training)
        if "rngs" in inspect.signature(type(module).__call__).parameters:
            options["rngs"] = nnx.Rngs(key)
        return module(_with_channels(images, data), **options)

    def apply(params: Any, state: Any, images: Any) -> Any:
        module = merged(params, state)
        module.eval()
        return called(module, images, False, 0)

    def train_apply(params: Any, state: Any, images: Any, key: Any) -> tuple[Any, Any]:
        module = merged(params, state, key)
        module.train()
        logits = called(module, images, True, key)
        _, _, _, new_state = _split_nnx(module)
        return logits, new_state

    def rebuild(params: Any, state: Any) -> Any:
        module = merged(params, state)
        module.eval()
        return module

    return Functions(init, apply, train_apply, rebuild)


def _stream(leaf: Any, key: Any, number: int) -> Any:
    """Return a key for a random stream, or a count of 0."""
    import jax
    import jax.numpy as jnp

    if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jnp.zeros(leaf.shape, leaf.dtype)
    own = jax.random.fold_in(key, number)
    if leaf.shape:
        return jax.random.split(own, leaf.shape)
    return own


def _linen(make: Callable[..., Any], data: DataSpec) -> Functions:
    """A module of Flax Linen. All of its collections but the parameters are state."""
    import jax
    import jax.numpy as jnp

    module = make()

    def keys(key: Any) -> dict[str, Any]:
        params, dropout = jax.random.split(key)
        return {"params": params, "dropout": dropout}

    def init(key: Any) -> tuple[Any, Any]:
        kind = jnp.int32 if data.positions > 1 else jnp.float32
        example = _with_channels(jnp.zeros((1, *data.shape), kind), data)
        variables = dict(module.init(keys(key), example, **_flags(module, False)))
        params = variables.pop("params", {})
        return params, variables

    def apply(params: Any, state: Any, images: Any) -> Any:
        images = _with_channels(images, data)
        variables = {"params": params, **state}
        return module.apply(variables, images, **_flags(module, False))

    def train_apply(params: Any, state: Any, images: Any, key: Any) -> tuple[Any, Any]:
        images = _with_channels(images, data)
        variables = {"params": params, **state}
        logits, new_state = module.apply(
            variables,
            images,
            **_flags(module, True),
            mutable=list(state),
            rngs=keys(key),
        )
        return logits, dict(new_state)

    def rebuild(params: Any, state: Any) -> Any:
        return module.bind({"params": params, **state})

    return Functions(init, apply, train_apply, rebuild)


def _equinox_parts(make: Callable[..., Any]) -> tuple[Any, Any, Any]:
    """Return `init` and `rebuild` of a module of Equinox, and its class. Its
    floating-point arrays are the parameters."""
    import equinox as eqx
    import jax

    def made(key: Any) -> tuple[Any, Any]:
        module: Any = make
        if "key" in _parameters(make.func):  # type: ignore[attr-defined]
            module = partial(make, key=key)
        result: tuple[Any, Any] = eqx.nn.make_with_state(module)()
        return result

    first, _ = made(jax.random.key(0))
    _, static = eqx.partition(first, eqx.is_inexact_array)

    def init(key: Any) -> tuple[Any, Any]:
        module, state = made(key)
        params, _ = eqx.partition(module, eqx.is_inexact_array)
        return params, state

    def rebuild(params: Any, state: Any = None, key: Any = None) -> Any:
        return eqx.combine(params, static)

    return init, rebuild, type(first)


def _equinox(make: Callable[..., Any], data: DataSpec) -> Functions:
    """A module of Equinox, which takes one example. `eqx.nn.State` is the state, if its
    call takes one."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    init, combined, kind = _equinox_parts(make)
    names = inspect.signature(kind.__call__).parameters
    has_state = "state" in names

    def called(
        module: Any, state: Any, images: Any, training: bool, key: Any
    ) -> tuple[Any, Any]:
        images = _with_channels(images, data)
        if images.ndim == 4:
            images = jnp.moveaxis(images, -1, 1)
        keys = jax.random.split(key, len(images))

        def of_example(image: Any, state: Any, key: Any) -> Any:
            options: dict[str, Any] = _flags(module, training)
            if "key" in names:
                options["key"] = key
            if has_state:
                return module(image, state, **options)
            return module(image, **options), state

        over_batch = jax.vmap(
            of_example, in_axes=(0, None, 0), out_axes=(0, None), axis_name=BATCH
        )
        result: tuple[Any, Any] = over_batch(images, state, keys)
        return result

    def apply(params: Any, state: Any, images: Any) -> Any:
        logits, _ = called(rebuilt(params), state, images, False, jax.random.key(0))
        return logits

    def train_apply(params: Any, state: Any, images: Any, key: Any) -> tuple[Any, Any]:
        return called(combined(params), state, images, True, key)

    def rebuilt(params: Any) -> Any:
        return eqx.nn.inference_mode(combined(params))

    def rebuild(params: Any, state: Any) -> Any:
        if has_state:
            return rebuilt(params), state
        return rebuilt(params)

    return Functions(init, apply, train_apply, rebuild)


_FUNCTIONS: dict[str, Callable[[Callable[..., Any], DataSpec], Functions]] = {
    "flax.nnx": _nnx,
    "flax.linen": _linen,
    "equinox": _equinox,
}
