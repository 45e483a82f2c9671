"""What can be said of a task before it trains: of its functions, its data and its optimiser. A line names the function
that is wrong, and what to do."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnist_tune.columns import MOST_SCORES, SCORE
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import TaskSpec
from mnist_tune.errors import UserError
from mnist_tune.training.architectures import task as made_task
from mnist_tune.training.network_check import check_leaves, check_pair, check_program, tried, type_of
from mnist_tune.training.program import as_numbers
from mnist_tune.training.task import Task
from mnist_tune.trial import TrialConfig

FIRST = 8
"""Examples that `loss` is tried on."""


def check_task(name: str, trials: Sequence[TrialConfig], train_images: int | None = None) -> TaskData:
    """Try a task with the optimisers of some trials, and return its data. Raise a `UserError`, with what to do, if it
    can't train."""
    task, said = made_task(name), f"task {name!r}"
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        _check_fields(task, said)
        parts = _data(task, said)
        if any(_checksum(one) != _checksum(other) for one, other in zip(parts, _data(task, said), strict=True)):
            raise UserError(f"{said}: data returns other arrays each time; seed its random numbers, or save them")
        train, test = parts
        if train_images:
            train = jax.tree.map(lambda x: x[:train_images], train)
        variables = tried(f"{said}: init", task.init, jax.random.key(0))
        check_pair(f"{said}: init", "params, state", variables)
        params, state = variables
        check_leaves(said, params, parameters=True)
        check_leaves(said, state, parameters=False)
        if task.split and not (isinstance(params, dict) and set(task.split) <= params.keys()):
            raise UserError(
                f"{said}: split names {', '.join(task.split)}; init must return params that have these keys"
            )
        if task.step is None:
            _check_loss(task, said, params, state, train)
        scores = _check_score(task, said, params, state, train, min(_count(train), _count(test)))
        guesses = {} if task.guess is None else {name: float(task.guess)}
        spec = TaskSpec(name, _count(train), _count(test), guesses, task.chance, scores, own_step=task.step is not None)
        for trial in trials:
            check_program(replace(trial, architecture=name), spec, train, said)
    return TaskData(spec, train, test, {"train": _checksum(train), "test": _checksum(test)})


def check_tasks(names: Sequence[str], trials: Sequence[TrialConfig], train_images: int | None = None) -> TaskData:
    """Try several tasks, as `check_task`, and return the data that they share."""
    first, *others = (check_task(name, trials, train_images) for name in names)
    spec = first.spec
    for other in others:
        if (other.checksums, other.spec.chance) != (first.checksums, spec.chance):
            raise UserError(f"tasks {names[0]!r} and {other.spec.name!r} differ in data or chance; sweep each alone")
        spec = replace(
            spec,
            name=f"{spec.name}, {other.spec.name}",
            guesses={**spec.guesses, **other.spec.guesses},
            scores=tuple(dict.fromkeys((*spec.scores, *other.spec.scores))),
            own_step=spec.own_step or other.spec.own_step,
        )
    if len(spec.scores) > MOST_SCORES:
        raise UserError(f"the tasks return {len(spec.scores)} scores; at most {MOST_SCORES} are recorded")
    return replace(first, spec=spec)


def _check_fields(task: Task, said: str) -> None:
    for name in ("init", "loss", "data", "score", "step"):
        given, needed = getattr(task, name), name in ("init", "data") or (name == "loss" and task.step is None)
        if needed if given is None else not callable(given):
            raise UserError(f"{said}: {name} is {given!r:.60}; give a function")
    if task.step is not None and task.score is None:
        raise UserError(f"{said}: with step, score says how good it is; give score(params, state, batch, key)")
    if task.split and task.step is None:
        raise UserError(f"{said}: split is for tasks with a step of their own; give step, or leave split out")
    if not isinstance(task.block, int) or task.block < 1:
        raise UserError(f"{said}: block is {task.block!r}; give how many examples are evaluated at a time, such as 256")
    for name, value in (("guess", task.guess), ("chance", task.chance)):
        if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)):
            raise UserError(f"{said}: {name} is {value!r}; give a number, or leave it out")


def _data(task: Task, said: str) -> tuple[Any, Any]:
    assert task.data is not None
    found = tried(f"{said}: data", task.data)
    check_pair(f"{said}: data", "train, test", found)
    if all(isinstance(part, int) for part in found):
        if min(found) < 1:
            raise UserError(f"{said}: data returned {found}; give two numbers of examples above 0")
        numbers = np.arange(sum(found), dtype=np.int32)
        return numbers[: found[0]], numbers[found[0] :]
    first, second = (_tree(part, said, where) for part, where in zip(found, ("train", "test"), strict=True))
    kinds = [jax.tree.map(lambda x: (x.shape[1:], x.dtype.name), part) for part in (first, second)]
    if kinds[0] != kinds[1]:
        raise UserError(
            f"{said}: data returned a train part of other shapes or types than test: {kinds[0]}, {kinds[1]}"
        )
    return first, second


def _tree(part: Any, said: str, where: str) -> Any:
    """Return one part of the data as NumPy arrays."""
    leaves = jax.tree_util.tree_leaves_with_path(part)
    for path, leaf in leaves:
        name = f"{said}: data returned {where}{jax.tree_util.keystr(path)},"
        if not isinstance(leaf, (np.ndarray, jax.Array)) or leaf.dtype.kind in "OSUmM":
            raise UserError(f"{name} which is {type_of(leaf)}; give arrays of numbers, np.asarray(x)")
        if not leaf.ndim or not len(leaf):
            raise UserError(f"{name} of shape {list(leaf.shape)}; give arrays [n, ...] of at least one example")
    lengths = {len(leaf) for _, leaf in leaves}
    if len(lengths) != 1:
        many = f"arrays of {' and '.join(map(str, sorted(lengths)))} examples" if lengths else "no array"
        raise UserError(f"{said}: data returned {many} as {where}; all need the same first axis")
    return jax.tree.map(lambda x: x if isinstance(x, np.memmap) else np.asarray(x), part)


def _check_loss(task: Task, said: str, params: Any, state: Any, train: Any) -> None:
    assert task.loss is not None
    batch, key, what = jax.tree.map(lambda x: jnp.asarray(x[:FIRST]), train), jax.random.key(1), f"{said}: loss"
    _pure(what, task.loss, params, state, batch, key)
    found = tried(what, jax.jit(task.loss), params, state, batch, key)
    check_pair(what, "loss, state", found)
    loss, new = found
    if getattr(loss, "shape", None) != () or not jnp.issubdtype(loss.dtype, jnp.floating):
        given = f"{loss.dtype}{list(loss.shape)}" if hasattr(loss, "shape") else type_of(loss)
        raise UserError(f"{what} must return the mean over the batch, a float, it returned {given}; use .mean()")
    before, after = (_kinds(tree) for tree in (state, new))
    if jax.tree.flatten(before) != jax.tree.flatten(after):  # some containers equal none but themselves
        raise UserError(f"{what} returned another state than it got: {after} for {before}; keep shapes and types")
    if not bool(jnp.isfinite(loss)):
        raise UserError(f"{what} is {float(loss)} for untrained parameters; scale the data, or its initial parameters")
    grown = tried(what, jax.jit(jax.grad(lambda p: task.loss(p, state, batch, key)[0])), params)  # type: ignore[misc]
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grown)):
        raise UserError(f"{what} has a gradient that is NaN or infinite; jnp.sqrt and jnp.linalg.norm have one at 0")


def _check_score(task: Task, said: str, params: Any, state: Any, train: Any, fewest: int) -> tuple[str, ...]:
    """Return the names of a task's scores beside loss and accuracy."""
    size, what = min(task.block, fewest), f"{said}: {'score' if task.score else 'loss'}"
    batch, key = jax.tree.map(lambda x: jnp.asarray(x[:size]), train), jax.random.key(1)
    if task.score is not None:
        _pure(what, task.score, params, state, batch, key)
    found = tried(what, jax.jit(task.scores), params, state, batch, key)
    if "loss" not in found:
        raise UserError(f"{what} returned {', '.join(map(str, found)) or 'nothing'}; its dictionary needs 'loss'")
    names = tuple(name for name in found if name not in ("loss", "accuracy"))
    if wrong := [name for name in names if not SCORE.holds(name)]:
        raise UserError(f"{what} returned {wrong[0]!r:.60}; a score's name has a-z, 0-9 and _, at most 40")
    if len(names) > MOST_SCORES:
        raise UserError(f"{what} returned {len(names)} scores beside the loss; at most {MOST_SCORES} are recorded")
    for name, value in found.items():
        shape = getattr(value, "shape", None)
        if shape not in ((), (size,)):
            given = type_of(value) if shape is None else list(shape)
            wanted = "[n] for a batch of n examples, or a scalar for the whole batch"
            raise UserError(f"{what} must return {name} as {wanted}; for {size} examples it returned {given}")
        if shape == () and fewest < task.block:
            few = f"and a split has {fewest} examples; set Task(block={fewest}) or less"
            raise UserError(f"{what} returns one {name} for a block of {task.block}, {few}")
    if not bool(jnp.isfinite(found["loss"]).all()):
        raise UserError(f"{what} returned NaN or infinity for untrained parameters; scale the data, or the parameters")
    if task.chance is not None and "accuracy" not in found:
        raise UserError(f"{what} returns no accuracy, whose chance is given; return {{'loss': …, 'accuracy': …}}")
    return names


def _pure(what: str, function: Any, *arguments: Any) -> None:
    """Raise a `UserError` if a function can't be traced, or is another one each time that it is."""
    one, other = (tried(what, jax.make_jaxpr(lambda *given: function(*given)), *arguments) for _ in range(2))
    if str(one) != str(other) or len({_checksum(as_numbers(jaxpr.consts)) for jaxpr in (one, other)}) > 1:
        raise UserError(f"{what} is another function each time; draw from its key, and keep what changes in the state")


def _kinds(tree: Any) -> Any:
    return jax.tree.map(lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x))}", tree)


def _count(tree: Any) -> int:
    return len(jax.tree.leaves(tree)[0])


CHUNK = 2**26
"""Bytes that are read at a time."""


def _checksum(tree: Any) -> str:
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        found.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape} ".encode())
        leaf = np.atleast_1d(leaf)
        step = max(CHUNK // max(leaf[:1].nbytes, 1), 1)
        for first in range(0, len(leaf), step):  # it may be larger than the memory
            found.update(np.ascontiguousarray(leaf[first : first + step]).tobytes())
    return found.hexdigest()
