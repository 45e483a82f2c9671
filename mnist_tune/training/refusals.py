"""What is wrong with one's own functions, in a line: each names the function, and what
to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path

from mnist_tune.errors import ErrorKind, UserError
from mnist_tune.own_code.modules import in_a_line

TRACED = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""Errors of code that looks at a value which JAX traces."""

IS_TRACED = (
    "it is compiled for traced values: use jnp.where or jax.lax.cond, "
    "and keep none of them"
)

IO_EFFECTS = ("IOEffect", "OrderedIOEffect")
"""Effects of `io_callback`. JAX has no public names for them."""


class OwnCodeError(UserError):
    """A function of the user's has failed."""

    kind = ErrorKind.PROGRAM


def tried(
    call: str,
    function: Callable[..., Any],
    *arguments: Any,
    hint: str = IS_TRACED,
    advice: str = "",
) -> Any:
    """Return what a function returns. Raise a `UserError` if it fails; with the `hint`
    if it looked at a traced value, with the `advice` if the error is one of those that
    JAX raises for shapes."""
    try:
        return function(*arguments)
    except UserError:
        raise
    except Exception as error:
        message = f"{call} fails, {_line(error)}"
        if isinstance(error, TRACED):
            message += f"; {hint}"
        elif advice and isinstance(error, (TypeError, ValueError)):
            message += f"; {advice}"
        raise OwnCodeError(message) from error


def _line(error: Exception) -> str:
    """Return an error in a line. JAX writes a key path on a line of its own."""
    line = in_a_line(error)
    rows = [row.strip() for row in str(error).splitlines() if row.strip()]
    if len(rows) > 1 and rows[0].endswith("at key path"):
        return line.replace("at key path", f"at key path {short(rows[1])}", 1)
    return line


def check_effects(what: str, jaxpr: Any) -> None:
    """Raise a `UserError` if a function reads or changes what is outside of it: another
    trial, or the same one again, would see something else. Prints are harmless."""
    if any(type(effect).__name__ in IO_EFFECTS for effect in jaxpr.effects):
        raise UserError(
            f"{what} calls io_callback, so no trial sees what another one saw; "
            "use pure_callback, with a source that is indexed by step or example"
        )


def check_tuple(what: str, names: str, value: Any) -> None:
    """Raise a `UserError` if a function did not return a tuple of these."""
    if not isinstance(value, tuple) or len(value) != len(names.split(", ")):
        raise UserError(f"{what} must return ({names}), it returned {kind_of(value)}")


def check_same(what: str, new: Any, old: Any, axes: int = 0) -> None:
    """Raise a `UserError` if two trees differ in structure, types or shapes, beside
    their first axes."""
    remedy = "keep shapes and types"
    kinds, old_kinds = _kinds(new, axes), _kinds(old, axes)
    for path in (*kinds, *old_kinds):
        kind = kinds.get(path, "nothing")
        old_kind = old_kinds.get(path, "nothing")
        if kind == old_kind:
            continue
        where = ""
        if path:
            where = f" at {short(path)}"
        raise UserError(f"{what}: {kind} for {old_kind}{where}; {remedy}")
    structure: Any = jax.tree.structure(new)
    old_structure: Any = jax.tree.structure(old)
    if structure != old_structure:
        trees = f"{short(structure)} for {short(old_structure)}"
        raise UserError(f"{what}: {trees}; {remedy}")


def _kinds(tree: Any, axes: int) -> dict[str, str]:
    """Return the type and the shape of each leaf by its path."""
    kinds = {}
    for path, leaf in tree_leaves_with_path(tree):
        shape = jnp.shape(leaf)[axes:]
        kinds[keystr(path)] = f"{jnp.result_type(leaf)}{list(shape)}"
    return kinds


def kind_of(value: Any) -> str:
    """Return what a value is, such as float32[8], a dict, or a tuple of 2."""
    if hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"


def short(value: Any) -> str:
    """Return a value as text: its first 150 characters, in a line."""
    line = " ".join(str(value).split())
    return line[:150]
