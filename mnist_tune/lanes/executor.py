"""How the lanes of one program run: their stacked state, and the compiled calls that train and evaluate them.

Two ways, chosen by timing (`calibration`):

- `loop`: a lane after the other through one compiled call.
- `vmap`: a batch of lanes in one vmapped call, `2**k` lanes wide. Lanes in the same epoch of the same batch
  order share their images: the products of the first layer become one large product, which is where a CPU
  gains. On other devices lanes need not share anything.

On a CPU, with one thread a process as trials run, a lane's numbers are the same bit for bit alone, in a loop and
in any batch, so that even chaotic learning rates get the same regime: sums over images have an order of their own
(`summation`), and products of matrices one that does not depend on their width (`compiler_options`). Batches of
1 to 3 images are the exception, since XLA makes no matrix products of those.

The lane axis of a stacked leaf is the last but one: weights [m, lanes, n] then enter that large product without
a transposition, which made a batch of 8 lanes of 784-16-10 1.4 times faster on a CPU than [lanes, m, n].
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from filelock import FileLock
from jax import Array

from mnist_tune.errors import UserError
from mnist_tune.lanes.batches import Batch, Execution
from mnist_tune.training.program import Hyperparameters, Program, TrainState

Data = tuple[Array, Array]
"""Images uint8 [n, 784] and labels uint8 [n] on the device."""


REPRODUCIBLE_PRODUCTS: dict[str, str | bool] = {"xla_cpu_experimental_ynn_fusion_type": ""}
"""XLA's CPU backend gives some products of matrices to YNNPACK, whose order of summation depends on their width:
a lane's numbers would then depend on its company. Eigen's does not, and is no slower here."""


@cache
def compiler_options() -> dict[str, str | bool]:
    """With which a lane's numbers are the same bit for bit in any batch on a CPU; empty where XLA knows no YNNPACK."""
    try:
        jax.jit(lambda: 0).lower().compile(REPRODUCIBLE_PRODUCTS)
    except jax.errors.JaxRuntimeError:
        return {}
    return REPRODUCIBLE_PRODUCTS


COPIES = 4
"""Of a lane's state that a training batch may hold: the stack, the gathered lanes, their gradients and updates."""


def fitting_lanes(program: Program, memory: float) -> int:
    """Lanes of a program for which so many bytes have room."""
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(program.init(0)))
    return int(memory // (COPIES * state))


class Executor:
    """The stacked state of the lanes of one program, and its compiled calls.

    Args:
        program: what is compiled.
        capacity: lanes that there is room for.
        execution: how a batch runs.
    """

    def __init__(self, program: Program, capacity: int, execution: Execution) -> None:
        self.program, self.capacity, self.execution = program, capacity, execution
        template = program.init(0)
        self.names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(template)]
        shapes = jax.tree.map(lambda x: (*x.shape[:-1], capacity, x.shape[-1]), template)
        self.state: TrainState = jax.tree.map(lambda x, shape: jnp.zeros(shape, x.dtype), template, shapes)
        self._axes = jax.tree.map(lambda x: x.ndim - 2, self.state)
        self._compiled: dict[Hashable, Any] = {}
        self._seconds = dict.fromkeys(("compile_s", "train_s", "eval_s"), 0.0)

    def write(self, slot: int, state: TrainState) -> None:
        """Puts a lane's state, numpy or device arrays, into its slot."""
        call = (self.state, *jax.device_put((np.array([slot], np.int32), state)))
        run = self._executable(("write",), partial(_put, size=1), call, donate=(0,))
        self.state = run(*call)

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
        stacks, tree = jax.tree.flatten(self.state)
        wanted = {
            name: ((*stack.shape[:-2], stack.shape[-1]), stack.dtype)
            for name, stack in zip(self.names, stacks, strict=True)
        }
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if wanted != found:
            raise UserError(f"a saved state does not fit {self.program.architecture}: it holds {found}")
        self.write(slot, jax.tree.unflatten(tree, [arrays[name] for name in self.names]))

    def train(
        self, batch: Batch, slots: Sequence[int], hyper: Hyperparameters, orders: Sequence[np.ndarray], data: Data
    ) -> np.ndarray:
        """One epoch of a batch of lanes.

        Args:
            batch: its size, and whether its lanes share the order.
            slots: of the lanes.
            hyper: arrays [lanes].
            orders: for each lane the training images' indices, int32 [training images].
            data: on the device, the training images among them.

        Returns:
            The loss of each step, [lanes, steps].
        """
        order: Any = orders[0] if batch.shared or batch.size == 1 else _pad(np.stack(orders), batch.size)
        padded = Hyperparameters(*(_pad(values, batch.size) for values in hyper))
        arguments = jax.device_put((self._slots(slots, batch.size), padded, order))
        call = (self.state, *arguments, *data)
        run = self._executable(("train", batch.size, batch.shared), self._train(batch), call, donate=(0,))
        with jax.transfer_guard("disallow"), self._timed("train_s"):
            self.state, losses = jax.block_until_ready(run(*call))
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

    def prepare(self, train_count: int, data: Data) -> None:
        """Compiles the full batch, while the clients of its lanes are still starting."""
        size = 1 << (self.capacity.bit_length() - 1)
        shared = self.execution == "shared"
        if size == 1 or self.execution == "loop":
            return
        batch = Batch((), size, shared)
        order = jax.ShapeDtypeStruct((train_count,) if shared else (size, train_count), jnp.int32)
        slots, scalar = jax.ShapeDtypeStruct((size,), jnp.int32), jax.ShapeDtypeStruct((), jnp.int32)
        hyper = Hyperparameters(*[jax.ShapeDtypeStruct((size,), jnp.float32)] * 2)
        train_call = (self.state, slots, hyper, order, *data)
        self._executable(("train", size, shared), self._train(batch), train_call, donate=(0,))
        self._executable(("evaluate", size), self._evaluate(size), (self.state.params, slots, scalar, scalar, *data))

    def take_seconds(self, keep: str = "") -> dict[str, float]:
        """Seconds spent compiling, training and evaluating since the last call; `keep` is left for the next."""
        taken = {name: value for name, value in self._seconds.items() if name != keep}
        self._seconds |= dict.fromkeys(taken, 0.0)
        return taken

    def _slots(self, slots: Sequence[int], size: int) -> np.ndarray:
        """Padded with a slot that does not exist: reads of it are clipped, writes dropped."""
        return np.array([*slots, *[self.capacity] * (size - len(slots))], np.int32)

    def _train(self, batch: Batch) -> Any:
        run: Any = self.program.train_epoch
        if batch.size > 1:
            axes = (self._axes, 0, None, None, None if batch.shared else 0)
            run = jax.vmap(run, in_axes=axes, out_axes=(self._axes, 0))

        def train(stack: TrainState, slots: Array, hyper: Hyperparameters, order: Array, *data: Array) -> Any:
            if batch.size == 1:
                hyper = Hyperparameters(*(values[0] for values in hyper))
            state, losses = run(_take(stack, slots, batch.size), hyper, *data, order)
            return _put(stack, slots, state, batch.size), jnp.atleast_2d(losses)

        return train

    def _evaluate(self, size: int) -> Any:
        run: Any = self.program.evaluate
        if size > 1:
            run = jax.vmap(run, in_axes=(self._axes.params, None, None, None, None))

        def evaluate(params: Any, slots: Array, first: Array, count: Array, *data: Array) -> Any:
            loss, right = run(_take(params, slots, size), *data, first, count)
            return jnp.atleast_1d(loss), jnp.atleast_1d(right)

        return evaluate

    def _executable(self, key: Hashable, function: Any, call: Any, donate: tuple[int, ...] = ()) -> Any:
        """Compiled ahead of time, so that compiling is never timed as training."""
        if key not in self._compiled:
            # One process compiles, the others on this machine wait and find it in the persistent cache.
            cache = getattr(jax.config, "jax_compilation_cache_dir", None)
            lock = FileLock(f"{cache}.lock") if cache else nullcontext()
            with lock, self._timed("compile_s"):
                options = compiler_options()
                self._compiled[key] = jax.jit(function, donate_argnums=donate).lower(*call).compile(options)
        return self._compiled[key]

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[name] += time.perf_counter() - start


def _take(stack: Any, slots: Array, size: int) -> Any:
    if size == 1:
        return jax.tree.map(lambda s: s[..., slots[0], :], stack)
    return jax.tree.map(lambda s: s.at[..., slots, :].get(mode="clip"), stack)


def _put(stack: Any, slots: Array, state: Any, size: int) -> Any:
    if size == 1:
        return jax.tree.map(lambda s, x: s.at[..., slots[0], :].set(x), stack, state)
    return jax.tree.map(lambda s, x: s.at[..., slots, :].set(x, mode="drop"), stack, state)


def _pad(values: np.ndarray, size: int) -> np.ndarray:
    """Repeats the first row until there are `size`."""
    return np.concatenate([values, np.repeat(values[:1], size - len(values), axis=0)])
