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

Kinds = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""The shape and the type of each array by its name."""

TYPES_BY_WIDTH = ({"float32", "float64"}, {"int32", "int64"})
"""Types of which JAX has the first one, or the second with `JAX_ENABLE_X64`."""

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
    shapes = {shapes_key(program.shapes): program.shapes for program in programs}
    states = [_state_bytes(state) for state in shapes.values()]
    lane = sum(states) + (COPIES - 1) * max(states)
    if measured:
        # matfree is imported only where it is used
        from mnist_tune.training.curvature import memory_of

        lane += max(memory_of(state.params) for state in shapes.values())
    return lane


def _state_bytes(shapes: TrainState) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


class Executor:
    """The compiled calls of a program, which work on the states in a stack."""

    def __init__(self, program: Program, stack: Stack) -> None:
        self.program, self.stack = program, stack

        def stacked(leaf: Any) -> Any:
            return _shape(leaf.dtype, stack.capacity, *leaf.shape)

        self._stacked: TrainState = jax.tree.map(stacked, program.shapes)
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
            self.stack.state = jax.tree.map(jnp.zeros_like, self._stacked)
        self._put([slot], 1, jax.device_put(state))

    def read(self, slot: int) -> dict[str, np.ndarray]:
        """Return a lane's leaves by name, as host arrays."""
        leaves = _by_name(self._take([slot], 1))
        return {name: np.asarray(leaf) for name, leaf in leaves.items()}

    def restore(self, slot: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Put what `read` returned into a slot. Raises `UserError` if the names, shapes
        or types are not those of this program."""
        kinds = _kinds(_by_name(self.program.shapes))
        saved_kinds = _kinds(arrays)
        if kinds != saved_kinds:
            self._refuse(saved_kinds, kinds)
        tree = jax.tree.structure(self.program.shapes)
        self.write(slot, jax.tree.unflatten(tree, [arrays[name] for name in kinds]))

    def _refuse(self, saved_kinds: Kinds, kinds: Kinds) -> None:
        misfit = f"a saved state does not fit {self.program.architecture}"
        types_of_other_width = []
        for name in saved_kinds.keys() & kinds.keys():
            saved_type = saved_kinds[name][1].name
            if {saved_type, kinds[name][1].name} in TYPES_BY_WIDTH:
                types_of_other_width.append(saved_type)
        if types_of_other_width:
            what = f"{misfit}: it holds {min(types_of_other_width)}"
            raise UserError(
                f"{what}; set JAX_ENABLE_X64 as it was when the trial was saved"
            )
        raise UserError(f"{misfit}: it holds {saved_kinds}")

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
        settings = {name: _pad(values, size) for name, values in hyper.items()}
        keys = _pad(keys, size)
        function = partial(_train, self.program)
        losses_of_parts = []
        lanes = self._take(slots, size)
        for data, orders, first in parts:
            order = _pad(np.stack(orders), size)
            arguments = jax.device_put((settings, keys, order, np.int32(first)))
            call = (lanes, *arguments, data)
            key = "train", size, len(orders[0]), _count(data)
            run = self._executable(key, function, call, donate=(0,))
            with jax.transfer_guard("disallow"), self._timed("train_s"):
                lanes, losses = jax.block_until_ready(run(*call))
            losses_of_parts.append(np.asarray(losses)[: len(slots)])
        self._put(slots, size, lanes)
        return np.concatenate(losses_of_parts, axis=1)

    def measure(
        self,
        function: Any,
        size: int,
        slots: Sequence[int],
        data: Data,
        index: np.ndarray,
        *static: Hashable,
        inputs: Any = None,
    ) -> Any:
        """Return `function(program, state, data, index, inputs, *static)` of each lane,
        a pure function of one lane. `index` says which images, int32; `inputs` is a
        tree of arrays with a leading axis for the lanes; `static` is compiled in. The
        rest is as in `train`."""
        inputs = jax.tree.map(lambda values: _pad(values, size), inputs)
        padded_slots = _pad(np.array(slots, np.int32), size)
        arguments = jax.device_put((padded_slots, inputs, index))
        call = (self.stack.state, *arguments, data)
        run = self._measuring(function, size, call, static)
        with jax.transfer_guard("disallow"), self._timed("eval_s"):
            measured = jax.block_until_ready(run(*call))
        return jax.tree.map(lambda x: np.asarray(x)[: len(slots)], measured)

    def prepare(self, images: int, data: Any) -> None:
        """Compile ahead of time what a batch of all lanes needs, for epochs of so many
        images; only the shapes and types of `data` are used."""
        size, lanes = self.stack.capacity, self._stacked
        slots = _shape(jnp.int32, size)
        self._executable(("take", size), take, (lanes, slots))
        hyper = dict.fromkeys(self.program.step.names, _shape(jnp.float32, size))
        keys = _shape(jnp.uint32, size, 2)
        order = _shape(jnp.int32, size, images)
        first = _shape(jnp.int32)
        call = (lanes, hyper, keys, order, first, data)
        key = "train", size, images, _count(data)
        self._executable(key, partial(_train, self.program), call, donate=(0,))
        self._executable(("put", size), put, (lanes, slots, lanes), donate=(0,))
        split = _shape(jnp.int32, 3)
        self._measuring(Program.evaluate, size, (lanes, slots, None, split, data), ())

    def take_seconds(self) -> dict[str, float]:
        """Return the seconds spent compiling, training and evaluating since the last
        call."""
        seconds = self._seconds
        self._seconds = dict.fromkeys(seconds, 0.0)
        return seconds

    def _take(self, slots: Sequence[int], size: int) -> TrainState:
        """Return a copy of the lanes in these slots, padded with the first one; a
        single lane has no leading axis."""
        padded_slots = _pad(np.array(slots, np.int32), size)
        call = (self.stack.state, jax.device_put(padded_slots))
        lanes: TrainState = self._executable(("take", size), take, call)(*call)
        return lanes

    def _put(self, slots: Sequence[int], size: int, lanes: TrainState) -> None:
        """Put lanes, as `_take` returns them, into these slots. The padding goes to one
        that does not exist."""
        index = np.full(size, self.stack.capacity, np.int32)
        index[: len(slots)] = slots
        call = (self.stack.state, jax.device_put(index), lanes)
        run = self._executable(("put", size), put, call, donate=(0,))
        self.stack.state = run(*call)

    def _measuring(
        self, function: Any, size: int, call: Any, static: tuple[Hashable, ...]
    ) -> Any:
        _, _, inputs, index, data = call
        key = (function, size, bool(inputs), index.shape, static, _count(data))
        run = partial(_measure, self.program, function, static)
        return self._executable(key, run, call)

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
                lowered = jax.jit(function, donate_argnums=donate).lower(*call)
                self._compiled[key] = lowered.compile()
        return self._compiled[key]

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        self.compiles = name == "compile_s"
        start = time.perf_counter()
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
    inputs: Any,
    index: Array,
    data: Data,
) -> Any:
    def run(state: Any, inputs: Any) -> Any:
        return function(program, state, data, index, inputs, *static)

    lanes = take(states, slots)
    if len(slots) > 1:
        return jax.vmap(run)(lanes, inputs)
    measured = run(lanes, jax.tree.map(lambda x: x[0], inputs))
    return jax.tree.map(lambda x: jnp.expand_dims(x, 0), measured)


def _by_name(state: TrainState) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _kinds(arrays: Mapping[str, Any]) -> Kinds:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _shape(dtype: Any, *sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, dtype)


def _count(data: Data) -> int:
    return len(jax.tree.leaves(data)[0])


def _pad(values: np.ndarray, size: int) -> np.ndarray:
    """Repeat the first row until there are `size` rows."""
    padding = np.repeat(values[:1], size - len(values), axis=0)
    return np.concatenate([values, padding])


def take(stack: Any, slots: Array) -> Any:
    """Return the states in some slots."""
    if len(slots) == 1:
        return jax.tree.map(lambda leaf: leaf[slots[0]], stack)
    return jax.tree.map(lambda leaf: leaf[slots], stack)


def put(stack: Any, slots: Array, state: Any) -> Any:
    """Return the stack with states put into slots. What goes into a slot that does not
    exist is dropped."""
    if len(slots) == 1:
        return jax.tree.map(lambda s, x: s.at[slots[0]].set(x), stack, state)
    return jax.tree.map(lambda s, x: s.at[slots].set(x, mode="drop"), stack, state)
