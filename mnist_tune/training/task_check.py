"""What can be said of a task before it trains: of its functions, its data and its
optimiser. A line names the function that is wrong, and what to do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mnist_tune.columns import MOST_SCORES, SCORE
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import TaskSpec
from mnist_tune.errors import UserError
from mnist_tune.training.architectures import task as made_task
from mnist_tune.training.network_check import (
    check_effects,
    check_leaves,
    check_program,
    check_same,
    check_tuple,
    compiled,
    short,
    tried,
    type_of,
)
from mnist_tune.training.program import as_numbers
from mnist_tune.training.task import Task
from mnist_tune.trial import TrialConfig

FIRST = 8
"""Examples that `loss` is tried on."""

EACH = "params, state, batch, key"
CALLED = {
    "init": "key",
    "loss": EACH,
    "data": "",
    "score": EACH,
    "step": "params, opt, state, batch, key, tx",
}
"""What each function of a task is called with."""


def check_task(
    name: str, trials: Sequence[TrialConfig], train_images: int | None = None
) -> TaskData:
    """Try a task with the optimisers of some trials, and return its data. Raise a
    `UserError`, with what to do, if it can't train."""
    task, said = made_task(name), f"task {name!r}"
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        numbers = _checked_fields(task, said)
        parts = _data(task, said)
        if any(
            _checksum(one) != _checksum(other)
            for one, other in zip(parts, _data(task, said), strict=True)
        ):
            raise UserError(
                f"{said}: data returns other arrays each time; seed its random numbers, or save them"
            )
        train, test = parts
        if train_images:
            train = jax.tree.map(lambda x: x[:train_images], train)
        count, others = (len(jax.tree.leaves(part)[0]) for part in (train, test))
        variables, again = (
            tried(f"{said}: init(key)", task.init, jax.random.key(0)) for _ in range(2)
        )
        check_tuple(f"{said}: init", "params, state", variables)
        params, state = variables
        check_leaves(said, params, parameters=True)
        check_leaves(said, state, parameters=False)
        if _checksum(again) != _checksum(variables):
            raise UserError(
                f"{said}: init returns other values for the same key; draw from its key"
            )
        if task.split and not (
            isinstance(params, dict) and set(task.split) <= params.keys()
        ):
            raise UserError(
                f"{said}: split names {', '.join(task.split)}; init must return params with these keys"
            )
        orders = [_order(part) for part in (train, test)]
        _check_training(
            task,
            said,
            params,
            state,
            jax.tree.map(lambda x: x[orders[0][:FIRST]], train),
        )
        scores, whole = _check_score(
            task, said, params, state, parts, orders, count + others
        )
        guesses = {} if task.guess is None else {name: float(numbers["guess"])}
        spec = TaskSpec(
            name,
            count,
            others,
            guesses,
            numbers["chance"],
            scores,
            own_step=task.step is not None,
        )
        for trial in trials:
            check_program(replace(trial, architecture=name), spec, train, said)
    sums = {"train": _checksum(train), "test": _checksum(test)}
    return TaskData(spec, train, test, sums, task.block * whole, task.block, scores)


def check_tasks(
    names: Sequence[str], trials: Sequence[TrialConfig], train_images: int | None = None
) -> TaskData:
    """Try several tasks, as `check_task`, and return the data that they share."""
    found = [check_task(name, trials, train_images) for name in names]
    first, specs, name = found[0], [one.spec for one in found], ", ".join(names)
    for other in found:
        if (other.checksums, other.spec.chance) != (first.checksums, first.spec.chance):
            raise UserError(
                f"tasks {names[0]!r} and {other.spec.name!r} differ in data or chance; sweep each alone"
            )
    scores = tuple(dict.fromkeys(score for one in specs for score in one.scores))
    if len(scores) > MOST_SCORES:
        raise UserError(
            f"task {name!r}: score returned {len(scores)} beside loss; {MOST_SCORES} at most"
        )
    guesses, own = (
        {of: one for spec in specs for of, one in spec.guesses.items()},
        any(one.own_step for one in specs),
    )
    spec = replace(first.spec, name=name, guesses=guesses, scores=scores, own_step=own)
    shared = tuple(
        score for score in scores if all(score in one.scores for one in specs)
    )
    whole, block = (
        max(getattr(one, name) for one in found) for name in ("whole", "block")
    )
    return replace(first, spec=spec, whole=whole, block=block, shared=shared)


def _checked_fields(task: Task, said: str) -> dict[str, Any]:
    """Return the guess and the chance of a task, which may be given as numbers of NumPy
    or JAX."""
    for name, arguments in CALLED.items():
        given = getattr(task, name)
        if given is None and (
            name in ("score", "step") or (name == "loss" and task.step is not None)
        ):
            continue
        if not callable(given):
            raise UserError(
                f"{said}: {name} is {short(repr(given))}; give a function, {name}({arguments})"
            )
    if task.step is not None and task.score is None:
        raise UserError(
            f"{said}: with step, score says how good it is; give score(params, state, batch, key)"
        )
    if task.split and task.step is None:
        raise UserError(
            f"{said}: split is for tasks with a step of their own; give step, or leave split out"
        )
    if isinstance(task.split, str):
        raise UserError(
            f"{said}: split is {task.split!r}; give a tuple of names, ({task.split!r},)"
        )
    if not isinstance(task.block, int) or task.block < 1:
        raise UserError(
            f"{said}: block is {task.block!r}; give how many examples are evaluated at a time, such as 256"
        )
    numbers = {}
    for name, least, most, wanted in (
        ("guess", -1e300, 1e300, "number"),
        ("chance", 0, 1, "share, 0 to 1"),
    ):
        value = getattr(task, name)
        numbers[name] = number = value.tolist() if hasattr(value, "tolist") else value
        if number is not None and not (
            isinstance(number, (int, float)) and least <= number < most
        ):
            raise UserError(
                f"{said}: {name} is {value!r}; give a {wanted}, or leave it out"
            )
    return numbers


def _data(task: Task, said: str) -> tuple[Any, Any]:
    assert task.data is not None
    found = tried(f"{said}: data()", task.data)
    check_tuple(f"{said}: data", "train, test", found)
    if all(isinstance(part, Real) for part in found):
        if any(part < 1 or part % 1 for part in found):
            raise UserError(
                f"{said}: data returned {found}; give two whole numbers of examples above 0"
            )
        first, second = np.split(
            np.arange(int(sum(found)), dtype=np.int32), [int(found[0])]
        )
        return first, second
    first, second = (
        _tree(part, said, where)
        for part, where in zip(found, ("train", "test"), strict=True)
    )
    check_same(
        f"{said}: data must return (train, test), alike but for their lengths",
        first,
        second,
        axes=1,
    )
    return first, second


def _tree(part: Any, said: str, where: str) -> Any:
    """Return one part of the data as NumPy arrays."""
    leaves = jax.tree_util.tree_leaves_with_path(part)
    for path, leaf in leaves:
        name = f"{said}: data returned {where}{jax.tree_util.keystr(path)},"
        kinds, of = (
            (np.number, np.bool_),
            f" of {leaf.dtype}" if hasattr(leaf, "dtype") else "",
        )
        if not isinstance(leaf, (np.ndarray, jax.Array)) or not any(
            jnp.issubdtype(leaf.dtype, k) for k in kinds
        ):
            raise UserError(
                f"{name} which is {type_of(leaf)}{of}; give arrays of numbers, such as np.asarray(x)"
            )
        if np.ma.is_masked(leaf):
            raise UserError(
                f"{name} which has masked values; say what they are, such as x.filled(0)"
            )
        if not leaf.ndim or not len(leaf):
            raise UserError(
                f"{name} of shape {list(leaf.shape)}; give arrays [n, ...] of at least one example"
            )
    lengths = {len(leaf) for _, leaf in leaves}
    if len(lengths) != 1:
        many = (
            f"arrays of {' and '.join(map(str, sorted(lengths)))} examples"
            if lengths
            else "no array"
        )
        raise UserError(
            f"{said}: data returned {many} as {where}; all need the same first axis"
        )
    return jax.tree.map(
        lambda x: np.asanyarray(x).astype(x.dtype.newbyteorder("="), copy=False), part
    )


def _order(part: Any) -> np.ndarray:
    """Return the numbers of the examples in the order in which they are tried. One that
    holds NaN or infinity comes first, if there is one."""
    with np.errstate(all="ignore"):
        finite = [
            np.isfinite(x.reshape(len(x), -1).sum(1)) for x in jax.tree.leaves(part)
        ]
    order = np.arange(len(finite[0]))
    order[0] = np.all(finite, axis=0).argmin()
    return order


def _check_training(
    task: Task, said: str, params: Any, state: Any, examples: Any
) -> None:
    """Try `step`, or else `loss`, on a few examples."""
    batch, key, tx = (
        jax.tree.map(jnp.asarray, examples),
        jax.random.key(1),
        optax.sgd(0.1),
    )
    name, returned, step = "loss", "loss, state", task.step
    run: Any = task.loss
    given = {"params": params, "state": state}
    if step is not None:
        run, name, returned = (
            lambda *given: step(*given, tx),
            "step",
            "params, opt, state, loss",
        )
        given = {"params": params, "opt": task.begun(tx, params), "state": state}
    _pure(said, name, run, *given.values(), batch, key)
    what = f"{said}: {name}"
    found = compiled(what, run, *given.values(), batch, key)
    check_tuple(what, returned, found)
    new = dict(zip(returned.split(", "), found, strict=True))
    loss = new.pop("loss")
    if getattr(loss, "shape", None) != () or not jnp.issubdtype(
        loss.dtype, jnp.floating
    ):
        kind = (
            f"{loss.dtype}{list(loss.shape)}"
            if hasattr(loss, "shape")
            else type_of(loss)
        )
        raise UserError(
            f"{what} must return the mean over the batch, a float, it returned {kind}; use .mean()"
        )
    for part, tree in new.items():
        check_same(f"{what} returned another {part} than it got", tree, given[part])
    if not bool(jnp.isfinite(loss)):
        raise UserError(
            f"{what} is {float(loss)} for untrained parameters; scale the data, or its initial parameters"
        )
    if step is not None:
        return
    slope = jax.jit(jax.grad(lambda at: run(at, state, batch, key)[0]))
    moved = jax.tree.map(lambda x: x + 0.125, params)
    here, there = (jax.tree.leaves(tried(what, slope, at)) for at in (params, moved))
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in here):
        raise UserError(
            f"{what} has a gradient that is NaN or infinite; jnp.sqrt and jnp.linalg.norm have one at 0"
        )
    if not any(bool(leaf.any()) for leaf in (*here, *there)):
        raise UserError(
            f"{what} has a gradient of 0; it must depend on params, not by argmax or comparisons alone"
        )


def _check_score(
    task: Task,
    said: str,
    params: Any,
    state: Any,
    parts: Any,
    orders: Sequence[np.ndarray],
    count: int,
) -> tuple[tuple[str, ...], bool]:
    """Return the names of a task's scores beside loss and accuracy, and whether some
    are of whole blocks. A block is as large as in an evaluation of `count` examples in
    all, since `score` may depend on it, and has some of both parts."""
    size, what, key = (
        min(task.block, count),
        f"{said}: {'score' if task.score else 'loss'}",
        jax.random.key(1),
    )
    numbers = [
        np.resize(order, n)
        for order, n in zip(orders, ((size + 1) // 2, size // 2), strict=True)
    ]
    batch = jax.tree.map(
        lambda *of: jnp.concatenate([x[i] for x, i in zip(of, numbers, strict=True)]),
        *parts,
    )
    if task.score is not None:
        _pure(said, "score", task.scores, params, state, batch, key)
    found = compiled(what, task.scores, params, state, batch, key)
    if "loss" not in found:
        raise UserError(
            f"{what} returned {', '.join(map(str, found)) or 'nothing'}; its dictionary needs 'loss'"
        )
    names = tuple(name for name in found if name not in ("loss", "accuracy"))
    if wrong := [name for name in names if not SCORE.holds(name)]:
        raise UserError(
            f"{what} returned {wrong[0]!r:.60}; a score's name has a-z, 0-9 and _, at most 40"
        )
    for name, value in found.items():
        shape = getattr(value, "shape", None)
        if shape not in ((), (size,)):
            given = type_of(value) if shape is None else list(shape)
            wanted = "[n] for a batch of n examples, or a scalar for the whole batch"
            raise UserError(
                f"{what} must return {name} as {wanted}; for {size} examples it returned {given}"
            )
    if not bool(jnp.isfinite(found["loss"]).all()):
        raise UserError(
            f"{what} returned NaN or infinity for untrained parameters; mend or scale data or parameters"
        )
    right = np.asarray(found.get("accuracy", 0), np.float32)
    if not ((right >= 0) & (right < 1.01)).all():  # up to rounding
        raise UserError(
            f"{what} returned accuracies up to {right.max():.4g}; give shares, 0 to 1, or True and False"
        )
    if task.chance is not None and "accuracy" not in found:
        raise UserError(
            f"{what} returns no accuracy, whose chance is given; return {{'loss': …, 'accuracy': …}}"
        )
    return names, not all(value.shape for value in found.values())


def _pure(said: str, name: str, function: Any, *arguments: Any) -> None:
    """Raise a `UserError` if a function can't be traced, or is another one each time
    that it is."""
    what, called = f"{said}: {name}", f"{said}: {name}({CALLED[name]})"
    one, other = (
        tried(called, jax.make_jaxpr(lambda *given: function(*given)), *arguments)
        for _ in range(2)
    )
    check_effects(what, one)
    if (
        str(one) != str(other)
        or len({_checksum(as_numbers(jaxpr.consts)) for jaxpr in (one, other)}) > 1
    ):
        raise UserError(
            f"{what} is another function each time; draw from its key, and keep what changes in the state"
        )


def _checksum(tree: Any) -> str:
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        found.update(
            f"{jax.tree_util.keystr(path)} {leaf.dtype} {np.shape(leaf)} ".encode()
        )
        # no copy: it may not fit
        found.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return found.hexdigest()
