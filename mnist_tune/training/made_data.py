"""The data that a task makes: checked, as NumPy arrays."""

from __future__ import annotations

import hashlib
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import all_leaves, keystr, tree_leaves_with_path

from mnist_tune.data.task_data import ON_HOST
from mnist_tune.errors import UserError
from mnist_tune.training.refusals import check_same, check_tuple, kind_of, tried
from mnist_tune.training.task import Task


def made_data(task: Task) -> tuple[Any, Any, bool]:
    """Return the training and the test examples of a task, trees of NumPy arrays, and
    whether they were read from data sets of items. Raise a `UserError` if `data` does
    not return such, or others each time."""
    train, test, of_items = _made_once(task)
    train_again, test_again, _ = _made_once(task)
    if checksum((train_again, test_again)) != checksum((train, test)):
        remedy = "seed its random numbers, or save them"
        if of_items:
            remedy += f"; draw what is new in each epoch in a {ON_HOST}"
        raise UserError(f"data returns other arrays each time; {remedy}")
    return train, test, of_items


def _made_once(task: Task) -> tuple[Any, Any, bool]:
    parts = tried("data()", task.data)  # type: ignore[arg-type]
    check_tuple("data", "train, test", parts)
    if all(isinstance(part, Real) for part in parts):
        train, test = _numbered(parts)
        return train, test, False
    arrays = []
    for part, name in zip(parts, ("train", "test"), strict=True):
        if _has_items(part):
            part = tried(f"reading the items of {name}", _read, part)
        _check_part(part, name)
        arrays.append(jax.tree.map(_in_native_order, part))
    alike = "data must return (train, test), alike but for their lengths"
    train, test = arrays
    check_same(alike, train, test, axes=1)
    return train, test, any(map(_has_items, parts))


def _has_items(part: Any) -> bool:
    """Return whether a part of the data is a data set as those of PyTorch and grain,
    with a length and items by number, and neither an array nor a tree."""
    is_set = hasattr(part, "__len__") and hasattr(part, "__getitem__")
    is_array = hasattr(part, "__array__")
    return is_set and not is_array and all_leaves([part])


def _read(part: Any) -> Any:
    """Return the items of a data set as a tree of arrays."""
    items = [part[number] for number in range(len(part))]
    if not items:
        return np.zeros(0)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *items)


def _numbered(counts: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the examples, which `loss` draws itself."""
    if any(count < 1 or count % 1 for count in counts):
        how = "give two whole numbers of examples above 0"
        raise UserError(f"data returned {counts}; {how}")
    train_count, test_count = map(int, counts)
    total = train_count + test_count
    numbers = np.arange(total, dtype=np.int32)
    return numbers[:train_count], numbers[train_count:]


def _check_part(part: Any, name: str) -> None:
    """Raise a `UserError` if a part of the data is no tree of arrays of numbers with
    one leading axis."""
    lengths = set()
    for path, leaf in tree_leaves_with_path(part):
        what = f"data returned {name}{keystr(path)}, which is {kind_of(leaf)}"
        if not _is_of_numbers(leaf):
            raise UserError(f"{what}; give arrays of numbers, such as np.asarray(x)")
        if np.ma.is_masked(leaf):
            how = "say what they are, such as x.filled(0)"
            raise UserError(f"{what} with masked values; {how}")
        if not leaf.ndim or not len(leaf):
            raise UserError(f"{what}; give arrays [n, ...] of at least one example")
        lengths.add(len(leaf))
    if len(lengths) != 1:
        counts = " and ".join(map(str, sorted(lengths))) or "no"
        raise UserError(
            f"data returned arrays of {counts} examples as {name}; "
            "all need the same first axis"
        )


def _is_of_numbers(leaf: Any) -> bool:
    if not isinstance(leaf, (np.ndarray, jax.Array)):
        return False
    return any(jnp.issubdtype(leaf.dtype, kind) for kind in (np.number, np.bool_))


def _in_native_order(array: Any) -> Any:
    """Return an array of NumPy in this machine's byte order."""
    return np.asanyarray(array).astype(array.dtype.newbyteorder("="), copy=False)


def len_of(part: Any) -> int:
    """Return the number of examples."""
    return len(jax.tree.leaves(part)[0])


def examples_of(part: Any, count: int) -> Any:
    """Return so many examples; again from the first on, if there are fewer. One that
    holds NaN or infinity comes first, if there is one."""
    order = np.arange(len_of(part))
    with np.errstate(all="ignore"):
        # the sum of an example is finite only if all its numbers are
        sums = [x.reshape(len(x), -1).sum(1) for x in jax.tree.leaves(part)]
        are_finite = [np.isfinite(leaf_sums) for leaf_sums in sums]
        order[0] = np.all(are_finite, axis=0).argmin()
    order = np.resize(order, count)
    return jax.tree.map(lambda x: x[order], part)


def checksum(tree: Any) -> str:
    """Return the SHA-256 of a tree's arrays, with their paths, types and shapes."""
    sums = hashlib.sha256()
    for path, leaf in tree_leaves_with_path(tree):
        kind = f"{keystr(path)} {leaf.dtype} {np.shape(leaf)} "
        sums.update(kind.encode())
        # no copy: it may not fit
        flat = np.ascontiguousarray(leaf).reshape(-1)
        sums.update(flat.view(np.uint8).data)
    return sums.hexdigest()
