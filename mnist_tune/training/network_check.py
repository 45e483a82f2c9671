"""What can be said of a network and an optimiser before they train: shapes, types, NaN.
Tried on a few images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_leaves_with_path

from mnist_tune.data_spec import DataSpec, TaskSpec
from mnist_tune.errors import UserError
from mnist_tune.own_code.modules import in_a_line
from mnist_tune.training.architectures import architecture
from mnist_tune.training.classifier import scale
from mnist_tune.training.program import Program
from mnist_tune.training.schedule_check import check_schedule
from mnist_tune.trial import TrialConfig

BATCH = 4
"""Images that a network is tried on."""


TRACED = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""Errors of code that looks at a value which JAX traces."""


IO_EFFECTS = ("IOEffect", "OrderedIOEffect")
"""Effects of `io_callback`. JAX has no public names for them."""


def check(
    config: TrialConfig, data: DataSpec, images: np.ndarray, labels: np.ndarray
) -> None:
    """Try a trial's network and optimiser on some images. Raise a `UserError`, with
    what to do, if they can't train."""
    network, name = (
        architecture(config.architecture, data),
        f"architecture {config.architecture!r}",
    )
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        x = scale(jnp.asarray(images[:BATCH]), data)
        parts = tried(f"{name}: init", network.init, jax.random.key(0), on=_on(x))
        if network.train_apply:
            check_tuple(f"{name}: with train_apply, init", "params, state", parts)
        else:
            parts = (parts,)
        for part in parts:
            check_leaves(name, part, parameters=part is parts[0])
        logits = compiled(f"{name}: apply", network.apply, *parts, x, on=_on(x))
        _check_logits(f"{name}: apply", logits, x, data)
        sums_to_1 = bool(
            (logits >= 0).all() and jnp.allclose(logits.sum(-1), 1, atol=1e-3)
        )
        if sums_to_1 and data.classes > 1 and config.loss == "cross-entropy":
            raise UserError(
                f"{name}: apply returned probabilities, which sum to 1; return logits, without the softmax"
            )
        if network.train_apply:
            what = f"{name}: train_apply"
            found = compiled(
                what, network.train_apply, *parts, x, jax.random.key(0), on=_on(x)
            )
            check_tuple(what, "logits, state", found)
            _check_logits(what, found[0], x, data)
            check_same(f"{what} returned another state than it got", found[1], parts[1])
        check_program(config, data, (images, labels), name)


def tried(
    what: str, function: Callable[..., Any], *arguments: Any, on: str = ""
) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        hint = "; it is compiled for traced values: use jnp.where or jax.lax.cond, and keep none of them"
        hint *= isinstance(error, TRACED)
        raise UserError(f"{what} fails{on}, {error_line(error)}{hint}") from error


def compiled(
    what: str, function: Callable[..., Any], *arguments: Any, on: str = ""
) -> Any:
    jitted = jax.jit(lambda *given: function(*given))
    traced = tried(what, jitted.trace, *arguments, on=on)
    check_effects(what, traced.jaxpr)
    return tried(what, jitted, *arguments, on=on)


def check_effects(what: str, jaxpr: Any) -> None:
    """Raise a `UserError` if a function reads or changes what is outside of it: another
    trial, or the same one again, would see something else. Prints are harmless."""
    if any(type(effect).__name__ in IO_EFFECTS for effect in jaxpr.effects):
        raise UserError(
            f"{what} calls io_callback, so no trial sees what another one saw; "
            "use pure_callback, with a source that is indexed by step or example"
        )


def _on(x: jax.Array) -> str:
    return f" on images {list(x.shape)}"


def type_of(value: Any) -> str:
    return (
        f"a tuple of {len(value)}"
        if isinstance(value, tuple)
        else f"a {type(value).__name__}"
    )


def check_tuple(what: str, names: str, found: Any) -> None:
    if not (isinstance(found, tuple) and len(found) == 1 + names.count(",")):
        raise UserError(f"{what} must return ({names}), it returned {type_of(found)}")


def check_leaves(name: str, tree: Any, parameters: bool) -> None:
    leaves = tried(
        f"{name}: taking apart what init returned",
        jax.tree_util.tree_leaves_with_path,
        tree,
    )
    if parameters and not leaves:
        raise UserError(
            f"{name}: init returned no array; return the parameters, a tree of arrays"
        )
    for path, leaf in leaves:
        where = f"{name}: init returned {jax.tree_util.keystr(path) or 'a leaf'},"
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
            equinox = "; with Equinox, return eqx.partition(model, eqx.is_array)[0]" * (
                "equinox" in sys.modules
            )
            kind = type(leaf).__name__
            raise UserError(
                f"{where} which is of type {kind}; return arrays only, jnp.asarray(x){equinox}"
            )
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise UserError(
                f"{where} a random key; take the one that each step gets instead"
            )
        if parameters and not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise UserError(
                f"{where} of type {leaf.dtype}; parameters are floats, other values belong in the state"
            )
        # a state may keep the least loss
        fine = jnp.isfinite(jnp.asarray(leaf)) if parameters else leaf == leaf
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not bool(fine.all()):
            raise UserError(f"{where} which holds NaN or infinity before training")


def _check_logits(what: str, logits: Any, x: jax.Array, data: DataSpec) -> None:
    shape = getattr(logits, "shape", None)
    each = [*data.shape * (data.positions > 1), data.classes]
    wanted = ", ".join(map(str, ["n", *each]))
    if shape != (len(x), *each):
        found = type_of(logits) if shape is None else list(shape)
        must = f"must return logits [{wanted}], since {data.name} has {data.classes} classes"
        raise UserError(f"{what} {must}; for {len(x)} images it returned {found}")
    if not bool(jnp.isfinite(logits).all()):
        unscaled = data.divisor == 1 and not data.mean and data.positions == 1
        remedy = (
            "scale the images (--standardize), or " * unscaled
            + "check that the network takes this shape"
        )
        raise UserError(
            f"{what} returned NaN or infinity for untrained parameters{_on(x)}; {remedy}"
        )


def check_same(what: str, one: Any, other: Any, axes: int = 0) -> None:
    """Raise a `UserError` if two trees differ in structure, types or shapes, beside
    their first axes."""
    kinds = [
        jax.tree.map(lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x)[axes:])}", tree)
        for tree in (one, other)
    ]
    # some containers equal none but themselves
    if jax.tree.flatten(kinds[0]) == jax.tree.flatten(kinds[1]):
        return
    leaves, other_leaves = (
        {keystr(path): kind for path, kind in tree_leaves_with_path(tree)}
        for tree in kinds
    )
    remedy = "keep shapes and types"
    for path in (*leaves, *other_leaves):
        kind = leaves.get(path, "nothing")
        other_kind = other_leaves.get(path, "nothing")
        if kind != other_kind:
            where = f" at {short(path)}" if path else ""
            raise UserError(f"{what}: {kind} for {other_kind}{where}; {remedy}")
    structures = [short(jax.tree.structure(tree)) for tree in kinds]
    raise UserError(f"{what}: {structures[0]} for {structures[1]}; {remedy}")


def error_line(error: Exception) -> str:
    """Return an error in a line. JAX writes a key path on a line of its own."""
    line = in_a_line(error)
    rows = [row.strip() for row in str(error).splitlines() if row.strip()]
    if len(rows) > 1 and rows[0].endswith("at key path"):
        return line.replace("at key path", f"at key path {short(rows[1])}", 1)
    return line


def short(value: Any) -> str:
    return f"{' '.join(str(value).split()):.150}"


def check_program(
    config: TrialConfig, data: DataSpec | TaskSpec, examples: Any, name: str
) -> None:
    """Trace an epoch of one batch: what a network, a task or an optimiser can't do with
    traced values shows here."""
    program, what = (
        Program.of(config, data),
        f"{name} with optimizer {config.optimizer!r} can't train",
    )
    hyper = dict.fromkeys(program.step.names, jnp.float32(1))
    order, key = jnp.zeros(program.batch_size, jnp.int32), jnp.zeros(2, jnp.uint32)
    some = jax.tree.map(lambda x: jnp.asarray(x[:BATCH]), examples)
    try:
        trace = jax.make_jaxpr(program.train_epoch)
        jaxpr = trace(program.shapes, hyper, key, some, order)
        check_effects("since a step", jaxpr)
        check_schedule(config, program, examples)
    except UserError as error:
        raise UserError(f"{what}, {error}") from None
    except Exception as error:
        remedy = (
            "one program trains all rates: jnp.where, or --schedule and --warmup-steps"
        )
        hint = (
            f"; the learning rate and the gradients are traced, as {remedy}"
            * isinstance(error, TRACED)
        )
        raise UserError(f"{what}, {error_line(error)}{hint}") from error
