"""The stacked states of lanes on a device, and the compiled calls of a program that
train and evaluate them.

A single lane runs the program itself, a batch of lanes runs its `vmap`. The lane axis
is the first of every leaf, whatever the leaf's rank: an optimiser's step count becomes
a vector. A batch gives the same results as its lanes alone up to rounding, because the
order in which matrix products sum depends on their width.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mnist_tune.errors import UserError
from mnist_tune.training.optimizers import Hyperparameters
from mnist_tune.training.program import Data, Program, TrainState

Part = tuple[Data, Sequence[np.ndarray], int]
"""A part of an epoch: examples on the device, each lane's order of them, and the steps
of the epoch before it."""

COPIES = 4
"""Copies of a lane's state that training may hold: in the stack, gathered from it, as
gradients and as updates."""


@dataclass(eq=False)
class Stack:
    """The stacked states of lanes, of all programs whose states have the same
    shapes."""

    capacity: int
    """The number of lanes."""
    state: TrainState | None = None
    """On the device; None if there are no lanes."""

    def __post_init__(self) -> None:
        self.free = list(range(self.capacity))[::-1]
        """The slots that no lane uses."""


def shapes_key(shapes: TrainState) -> Hashable:
    """Return what the shapes of two states have in common if they can be in the same
    stack."""
    leaves, tree = jax.tree.flatten(shapes)
    return tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


def lane_bytes(programs: Iterable[Program], measured: bool) -> int:
    """Return the memory that a lane takes, whichever of these programs it has, if
    sharpness is `measured` or not. There is at least one program. Those whose states
    have the same shapes, such as for other batch sizes, share a stack."""
    shapes = {
        shapes_key(found): found for found in (program.shapes for program in programs)
    }.values()
    states = [
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(found))
        for found in shapes
    ]
    lane: int = sum(states) + (COPIES - 1) * max(states)
    if measured:
        # matfree is imported only where it is used
        from mnist_tune.training.curvature import memory_of

        lane += max(memory_of(found.params) for found in shapes)
    return lane


class Executor:
    """The compiled calls of a program, which work on the states in a stack."""

    def __init__(self, program: Program, stack: Stack) -> None:
        self.program, self.stack = program, stack
        self._stacked: TrainState = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((stack.capacity, *x.shape), x.dtype),
            program.shapes,
        )
        self._compiled: dict[tuple[Any, ...], Any] = {}
        self._seconds = dict.fromkeys(("compile_s", "train_s", "eval_s"), 0.0)
        self.compiles = False
        """Whether it compiles at this moment."""

    @property
    def sizes(self) -> list[int]:
        """The sizes of the batches that training is compiled for."""
        return [size for name, size, *_ in self._compiled if name == "train"]

    def write(self, slot: int, state: TrainState) -> None:
        """Put a lane's state, NumPy or device arrays, into its slot."""
        if self.stack.state is None:
            self.stack.state = jax.tree.map(
                lambda x: jnp.zeros(x.shape, x.dtype), self._stacked
            )
        self._put([slot], 1, jax.device_put(state))

    def read(self, slot: int) -> dict[str, np.ndarray]:
        """Return a lane's leaves by name, as host arrays."""
        return {
            name: np.asarray(leaf)
            for name, leaf in _by_name(self._take([slot], 1)).items()
        }

    def restore(self, slot: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Put what `read` returned into a slot. Raises `UserError` if the names, shapes
        or types are not those of this program."""
        wanted = {
            name: (leaf.shape, leaf.dtype)
            for name, leaf in _by_name(self.program.shapes).items()
        }
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if wanted != found:
            misfit = f"a saved state does not fit {self.program.architecture}"
            kinds = {
                (found[name][1].name, wanted[name][1].name)
                for name in found.keys() & wanted.keys()
            }
            wide = sorted(
                one
                for one, other in kinds
                if {one, other} in ({"float32", "float64"}, {"int32", "int64"})
            )
            if wide:
                raise UserError(
                    f"{misfit}: it holds {wide[0]}; set JAX_ENABLE_X64 as it was when the trial was saved"
                )
            raise UserError(f"{misfit}: it holds {found}")
        tree = jax.tree.structure(self.program.shapes)
        self.write(slot, jax.tree.unflatten(tree, [arrays[name] for name in wanted]))

    def train(
        self,
        size: int,
        slots: Sequence[int],
        hyper: Hyperparameters,
        keys: np.ndarray,
        parts: Iterable[Part],
    ) -> np.ndarray:
        """Train a batch of lanes, those in these slots, for one epoch or a part of it.
        Return the loss of each step, [lanes, steps].

        If that fails, the stack is as before: training has a copy of these lanes, which
        it may overwrite. Beyond the lanes, a batch of this `size` is padding. `hyper`,
        `keys` and the orders of the parts are as in `Program.train_epoch`, with a
        leading axis for the lanes.
        """
        padded, keys, found = (
            {name: _pad(values, size) for name, values in hyper.items()},
            _pad(keys, size),
            [],
        )
        lanes = self._take(slots, size)
        for data, orders, first in parts:
            call = (
                lanes,
                *jax.device_put(
                    (padded, keys, _pad(np.stack(orders), size), np.int32(first))
                ),
                data,
            )
            key = "train", size, len(orders[0]), _count(data)
            run = self._executable(
                key, partial(_train, self.program), call, donate=(0,)
            )
            with jax.transfer_guard("disallow"), self._timed("train_s"):
                lanes, losses = jax.block_until_ready(run(*call))
            found.append(np.asarray(losses)[: len(slots)])
        self._put(slots, size, lanes)
        return np.concatenate(found, axis=1)

    def measure(
        self,
        function: Any,
        size: int,
        slots: Sequence[int],
        data: Data,
        index: np.ndarray,
        *static: Hashable,
        given: Any = None,
    ) -> Any:
        """Return `function(program, state, data, index, given, *static)` of each lane,
        a pure function of one lane. `index` says which images, int32; `given` is a tree
        of arrays with a leading axis for the lanes; `static` is compiled in. The rest
        is as in `train`."""
        given = jax.tree.map(lambda values: _pad(values, size), given)
        call = (
            self.stack.state,
            *jax.device_put((_pad(np.array(slots, np.int32), size), given, index)),
            data,
        )
        run = self._measuring(function, size, call, static)
        with jax.transfer_guard("disallow"), self._timed("eval_s"):
            found = jax.block_until_ready(run(*call))
        return jax.tree.map(lambda x: np.asarray(x)[: len(slots)], found)

    def prepare(self, images: int, data: Any) -> None:
        """Compile ahead of time what a batch of all lanes needs, for epochs of so many
        images; only the shapes and types of `data` are used."""
        size, lanes = self.stack.capacity, self._stacked
        slots, scalar = (
            jax.ShapeDtypeStruct((size,), jnp.int32),
            jax.ShapeDtypeStruct((), jnp.int32),
        )
        hyper = dict.fromkeys(
            self.program.step.names, jax.ShapeDtypeStruct((size,), jnp.float32)
        )
        keys, order = (
            jax.ShapeDtypeStruct((size, 2), jnp.uint32),
            jax.ShapeDtypeStruct((size, images), jnp.int32),
        )
        self._executable(("take", size), take, (lanes, slots))
        call = (lanes, hyper, keys, order, scalar, data)
        self._executable(
            ("train", size, images, _count(data)),
            partial(_train, self.program),
            call,
            donate=(0,),
        )
        self._executable(("put", size), put, (lanes, slots, lanes), donate=(0,))
        split = jax.ShapeDtypeStruct((2,), jnp.int32)
        self._measuring(Program.evaluate, size, (lanes, slots, None, split, data), ())

    def take_seconds(self) -> dict[str, float]:
        """Return the seconds spent compiling, training and evaluating since the last
        call."""
        taken, self._seconds = self._seconds, dict.fromkeys(self._seconds, 0.0)
        return taken

    def _take(self, slots: Sequence[int], size: int) -> TrainState:
        """Return a copy of the lanes in these slots, padded with the first one; a
        single lane has no leading axis."""
        call = (self.stack.state, jax.device_put(_pad(np.array(slots, np.int32), size)))
        lanes: TrainState = self._executable(("take", size), take, call)(*call)
        return lanes

    def _put(self, slots: Sequence[int], size: int, lanes: TrainState) -> None:
        """Put lanes, as `_take` returns them, into these slots. The padding goes to one
        that does not exist."""
        index = np.array(
            [*slots, *[self.stack.capacity] * (size - len(slots))], np.int32
        )
        call = (self.stack.state, jax.device_put(index), lanes)
        self.stack.state = self._executable(("put", size), put, call, donate=(0,))(
            *call
        )

    def _measuring(
        self, function: Any, size: int, call: Any, static: tuple[Hashable, ...]
    ) -> Any:
        key = (function, size, bool(call[2]), call[3].shape, static, _count(call[4]))
        return self._executable(
            key, partial(_measure, self.program, function, static), call
        )

    def _executable(
        self,
        key: tuple[Any, ...],
        function: Any,
        call: Any,
        donate: tuple[int, ...] = (),
    ) -> Any:
        """Return the compiled function. It is compiled before it runs, so compiling
        never counts as training time."""
        if key not in self._compiled:
            with self._timed("compile_s"):
                self._compiled[key] = (
                    jax.jit(function, donate_argnums=donate).lower(*call).compile()
                )
        return self._compiled[key]

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start, self.compiles = time.perf_counter(), name == "compile_s"
        try:
            yield
        finally:
            self.compiles = False
        self._seconds[name] += time.perf_counter() - start


def _train(
    program: Program,
    lanes: TrainState,
    hyper: Any,
    keys: Any,
    order: Any,
    first: Array,
    data: Data,
) -> tuple[TrainState, Array]:
    run: Any = program.train_epoch
    if len(keys) > 1:
        run = jax.vmap(run, in_axes=(0, 0, 0, None, 0, None))
    else:
        hyper, keys, order = jax.tree.map(lambda x: x[0], (hyper, keys, order))
    lanes, losses = run(lanes, hyper, keys, data, order, first)
    return lanes, jnp.atleast_2d(losses)


def _measure(
    program: Program,
    function: Any,
    static: Any,
    states: Any,
    slots: Array,
    given: Any,
    index: Array,
    data: Data,
) -> Any:
    def run(state: Any, given: Any) -> Any:
        return function(program, state, data, index, given, *static)

    if len(slots) > 1:
        return jax.vmap(run)(take(states, slots), given)
    found = run(take(states, slots), jax.tree.map(lambda x: x[0], given))
    return jax.tree.map(lambda x: jnp.expand_dims(x, 0), found)


def _by_name(state: TrainState) -> dict[str, Any]:
    return {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def _count(data: Data) -> int:
    return len(jax.tree.leaves(data)[0])


def _pad(values: np.ndarray, size: int) -> np.ndarray:
    """Repeat the first row until there are `size` rows."""
    return np.concatenate([values, np.repeat(values[:1], size - len(values), axis=0)])


def take(stack: Any, slots: Array) -> Any:
    """Return the states in some slots."""
    return jax.tree.map(lambda s: s[slots[0]] if len(slots) == 1 else s[slots], stack)


def put(stack: Any, slots: Array, state: Any) -> Any:
    """Return the stack with states put into slots. What goes into a slot that does not
    exist is dropped."""
    if len(slots) == 1:
        return jax.tree.map(lambda s, x: s.at[slots[0]].set(x), stack, state)
    return jax.tree.map(lambda s, x: s.at[slots].set(x, mode="drop"), stack, state)
