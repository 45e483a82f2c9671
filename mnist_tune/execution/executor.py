"""How the lanes of one program run: their stacked state, and the compiled calls that train and evaluate them.

A lane by itself goes through the program as it is, a batch of lanes through its `vmap`. The lane axis is the first
of every leaf, whatever its rank: an optimiser's step count stacks to a vector. A batch equals its lanes by
themselves to rounding only: the kernels that multiply matrices sum in an order that depends on the width.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import StateLostError
from mnist_tune.training.program import Hyperparameters, Program, TrainState

Data = tuple[Array, Array]
"""Images uint8 [n, 784] and labels uint8 [n] on the device."""

COPIES = 4
"""Of a lane's state that a training batch may hold: the stack, the gathered lanes, their gradients and updates."""


def fitting_lanes(program: Program, memory: float) -> int:
    """Lanes of a program for which so many bytes have room."""
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(program.shapes()))
    return int(memory // (COPIES * state))


class Executor:
    """The stacked state of the lanes of one program, and its compiled calls.

    Args:
        program: what is compiled.
        capacity: lanes that there is room for.
    """

    def __init__(self, program: Program, capacity: int) -> None:
        self.program, self.capacity = program, capacity
        self._shapes = program.shapes()
        self.names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(self._shapes)]
        self._stacked: TrainState = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((capacity, *x.shape), x.dtype), self._shapes
        )
        self._state: TrainState | None = None
        self._compiled: dict[Hashable, Any] = {}
        self._seconds = dict.fromkeys(("compile_s", "train_s", "eval_s"), 0.0)

    @property
    def state(self) -> TrainState:
        """The stacked lanes, of which one at least was written."""
        assert self._state is not None, "no lane was written"
        return self._state

    def release(self) -> None:
        """Gives the memory of the lanes back; what they held is gone."""
        self._state = None

    def write(self, slot: int, state: TrainState) -> None:
        """Puts a lane's state, numpy or device arrays, into its slot."""
        if self._state is None:
            self._state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self._stacked)
        call = (self.state, *jax.device_put((np.array([slot], np.int32), state)))
        run = self._executable(("write",), partial(_put, size=1), call, donate=(0,))
        self._state = run(*call)

    def read(self, slot: int) -> dict[str, np.ndarray]:
        """A lane's leaves by name, as host arrays."""
        call = (self.state, jax.device_put(np.array([slot], np.int32)))
        lane = self._executable(("read",), partial(_take, size=1), call)(*call)
        return dict(zip(self.names, map(np.asarray, jax.tree.leaves(lane)), strict=True))

    def restore(self, slot: int, arrays: Mapping[str, np.ndarray]) -> None:
        """The inverse of `read`.

        Raises:
            UserError: names, shapes or types are not this program's.
        """
        leaves, tree = jax.tree.flatten(self._shapes)
        wanted = {name: (leaf.shape, leaf.dtype) for name, leaf in zip(self.names, leaves, strict=True)}
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if wanted != found:
            raise UserError(f"a saved state does not fit {self.program.architecture}: it holds {found}")
        self.write(slot, jax.tree.unflatten(tree, [arrays[name] for name in self.names]))

    def train(
        self, size: int, slots: Sequence[int], hyper: Hyperparameters, orders: Sequence[np.ndarray], data: Data
    ) -> np.ndarray:
        """One epoch of a batch of lanes.

        Args:
            size: of the batch; what the lanes leave of it is padding.
            slots: of the lanes.
            hyper: arrays [lanes].
            orders: for each lane the training images' indices, int32 [training images].
            data: on the device, the training images among them.

        Returns:
            The loss of each step, [lanes, steps].

        Raises:
            StateLostError: the device ran out of memory, and the state went with the failed call.
        """
        padded = Hyperparameters(*(_pad(values, size) for values in hyper))
        arguments = jax.device_put((self._slots(slots, size), padded, _pad(np.stack(orders), size)))
        call = (self.state, *arguments, *data)
        run = self._executable(("train", size), self._train(size), call, donate=(0,))
        try:
            with jax.transfer_guard("disallow"), self._timed("train_s"):
                self._state, losses = jax.block_until_ready(run(*call))
        except jax.errors.JaxRuntimeError as error:
            if any(leaf.is_deleted() for leaf in jax.tree.leaves(self.state)):
                self.release()
                raise StateLostError(str(error)) from error
            raise
        return np.asarray(losses)[: len(slots)]

    def evaluate(
        self, size: int, slots: Sequence[int], data: Data, split: tuple[int, int]
    ) -> list[tuple[float, float]]:
        """Mean loss (nats) and accuracy of each lane, in a batch of `size`, on a split: its first image and length."""
        first, count = split
        arguments = jax.device_put((self._slots(slots, size), np.int32(first), np.int32(count)))
        call = (self.state.params, *arguments, *data)
        run = self._executable(("evaluate", size), self._evaluate(size), call)
        with jax.transfer_guard("disallow"), self._timed("eval_s"):
            losses, rights = jax.block_until_ready(run(*call))
        pairs = zip(np.asarray(losses)[: len(slots)], np.asarray(rights), strict=False)
        return [(float(loss) / count, int(right) / count) for loss, right in pairs]

    def prepare(self, size: int, train_count: int, data: Any) -> None:
        """Compiles what a batch of `size` lanes needs, before it is asked for; of `data`, shapes and types count."""
        slots, scalar = jax.ShapeDtypeStruct((size,), jnp.int32), jax.ShapeDtypeStruct((), jnp.int32)
        hyper = Hyperparameters(*[jax.ShapeDtypeStruct((size,), jnp.float32)] * 2)
        order = jax.ShapeDtypeStruct((size, train_count), jnp.int32)
        evaluated = (self._stacked.params, slots, scalar, scalar, *data)
        self._executable(("train", size), self._train(size), (self._stacked, slots, hyper, order, *data), donate=(0,))
        self._executable(("evaluate", size), self._evaluate(size), evaluated)

    def take_seconds(self) -> dict[str, float]:
        """Seconds spent compiling, training and evaluating since the last call."""
        taken, self._seconds = self._seconds, dict.fromkeys(self._seconds, 0.0)
        return taken

    def _slots(self, slots: Sequence[int], size: int) -> np.ndarray:
        """Padded with a slot that does not exist: reads of it are clipped, writes dropped."""
        return np.array([*slots, *[self.capacity] * (size - len(slots))], np.int32)

    def _train(self, size: int) -> Any:
        run: Any = self.program.train_epoch
        if size > 1:
            run = jax.vmap(run, in_axes=(0, 0, None, None, 0))

        def train(stack: TrainState, slots: Array, hyper: Hyperparameters, order: Array, *data: Array) -> Any:
            if size == 1:
                hyper, order = jax.tree.map(lambda x: x[0], (hyper, order))
            state, losses = run(_take(stack, slots, size), hyper, *data, order)
            return _put(stack, slots, state, size), jnp.atleast_2d(losses)

        return train

    def _evaluate(self, size: int) -> Any:
        run: Any = self.program.evaluate
        if size > 1:
            run = jax.vmap(run, in_axes=(0, None, None, None, None))

        def evaluate(params: Any, slots: Array, first: Array, count: Array, *data: Array) -> Any:
            loss, right = run(_take(params, slots, size), *data, first, count)
            return jnp.atleast_1d(loss), jnp.atleast_1d(right)

        return evaluate

    def _executable(self, key: Hashable, function: Any, call: Any, donate: tuple[int, ...] = ()) -> Any:
        """Compiled ahead of time, so that compiling is never timed as training."""
        if key not in self._compiled:
            with self._timed("compile_s"):
                self._compiled[key] = jax.jit(function, donate_argnums=donate).lower(*call).compile()
        return self._compiled[key]

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[name] += time.perf_counter() - start


def _take(stack: Any, slots: Array, size: int) -> Any:
    if size == 1:
        return jax.tree.map(lambda s: s[slots[0]], stack)
    return jax.tree.map(lambda s: s.at[slots].get(mode="clip"), stack)


def _put(stack: Any, slots: Array, state: Any, size: int) -> Any:
    if size == 1:
        return jax.tree.map(lambda s, x: s.at[slots[0]].set(x), stack, state)
    return jax.tree.map(lambda s, x: s.at[slots].set(x, mode="drop"), stack, state)


def _pad(values: np.ndarray, size: int) -> np.ndarray:
    """Repeats the first row until there are `size`."""
    return np.concatenate([values, np.repeat(values[:1], size - len(values), axis=0)])
