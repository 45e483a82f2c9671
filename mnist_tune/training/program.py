"""Training as pure functions: the initial state, an epoch as a `lax.scan`, and the
evaluation.

These work for one trial and, under `vmap`, for many. Parameters and hyperparameters are
traced arguments, so a sweep over them compiles once per program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from mnist_tune.data_spec import DataSpec, TaskSpec
from mnist_tune.errors import LastBatchError
from mnist_tune.own_code.modules import in_a_line
from mnist_tune.training.architectures import architecture, task
from mnist_tune.training.classifier import classifier
from mnist_tune.training.networks import initial
from mnist_tune.training.optimizers import Hyperparameters, Step
from mnist_tune.training.task import Network, Task
from mnist_tune.trial import TrialConfig

Data = Any
"""The examples of all splits on the device, a tree of arrays with one leading axis: of
a classifier, images [n, *shape] as the data set holds them, and labels [n], or [n, T]
of tokens."""

Scores = dict[str, tuple[Array, Array]]
"""By name, the sum of a score over examples, and that of its squares; float32. Without
an accuracy, `PARTED` has the sums of the loss over parts of the split, and the numbers
of examples in these, both [PARTS]."""

ERROR = "error of the loss"
"""Stands for the standard error of a split's loss."""

PARTED, PARTS = "parts of the loss", 32

EVALUATIONS = 0xE7A1
"""Makes the random keys of evaluations other ones than those of training."""


class TrainState(NamedTuple):
    """What training changes."""

    params: Any
    optimizer: Any
    """The state of optax's optimiser, such as momentum buffers."""
    extra: Any = ()
    """The task's own state, such as the statistics of batch normalisation."""


@dataclass(frozen=True)
class Program:
    """The part of a trial that is compiled, not traced: the task, the step, the batch
    size. Trials of one program may differ in their hyperparameters' values, their seeds
    and their number of epochs."""

    architecture: str
    step: Step
    batch_size: int
    drop_last: bool
    task: Task

    @classmethod
    def of(cls, config: TrialConfig, data: DataSpec | TaskSpec) -> Program:
        step = Step.of(config, data.train_images - config.held_out)
        _, made = task_of(config, data)
        return cls(config.architecture, step, config.batch_size, config.drop_last, made)

    def init(self, seed: int, hyper: Hyperparameters) -> TrainState:
        """Return the untrained state for a seed and hyperparameters, as NumPy
        arrays."""
        variables = initial(self.task, seed)
        state: TrainState = jax.tree.map(np.asarray, self._begin(variables, hyper))
        return state

    @cached_property
    def shapes(self) -> TrainState:
        """The shapes and types of a state's leaves. They are not computed, unless
        `init` needs values."""
        init = self.task.init
        zeros = dict.fromkeys(self.step.names, 0.0)
        try:
            shapes: TrainState = jax.eval_shape(
                lambda: self._begin(init(jax.random.key(0)), zeros)
            )
        except jax.errors.JAXTypeError:  # it goes through NumPy
            variables = initial(self.task, 0)
            shapes = jax.eval_shape(lambda: self._begin(variables, zeros))
        return shapes

    def _begin(self, variables: Any, hyper: Hyperparameters) -> TrainState:
        # JAX arrays would start JAX on a device, and optax's inject_hyperparams takes
        # no NumPy scalars.
        values = {name: np.array(hyper[name], np.float32) for name in self.step.names}
        params, extra = variables
        tx = self.step.transformation(values)
        opt = self.task.begun(tx, params)
        return TrainState(params, as_numbers(opt), extra)

    def train_epoch(
        self,
        state: TrainState,
        hyper: Hyperparameters,
        key: Array,
        data: Data,
        order: Array,
        first: Array | int = 0,
    ) -> tuple[TrainState, Array]:
        """Train for one pass over the training set in the given order, or for a part of
        it.

        Args:
            state: the state of one trial.
            hyper: its hyperparameters, by the names of `Step.names`.
            key: uint32 [2], the data of the epoch's random key; step i draws from
                `fold_in(key, i)`.
            data: the examples.
            order: int32 [n], the indices of the examples in the order of the epoch. The
                last batch may be smaller.
            first: int32, the steps of the epoch before this part.

        Returns:
            The new state, and the loss of each step before its update, float32 [ceil(n
            / batch_size)].
        """
        tx = self.step.transformation(hyper)
        update = self.task.step or self._gradient_step

        def step(
            state: TrainState, at: tuple[Array, Array]
        ) -> tuple[TrainState, Array]:
            index, number = at
            batch = _examples(data, index)
            draws = _key(key, number)
            # The state holds random keys as numbers; the optimiser gets keys.
            kinds = jax.eval_shape(
                lambda params: self.task.begun(tx, params), state.params
            )
            opt = jax.tree.map(_as_key, state.optimizer, kinds)
            params, opt, extra, loss = update(
                state.params, opt, state.extra, batch, draws, tx
            )
            opt = as_numbers(opt)
            new = TrainState(params, opt, extra)
            # Float32 hyperparameters promote parameters of fewer bits.
            new = jax.tree.map(lambda old, x: x.astype(old.dtype), state, new)
            return new, _wide(loss)

        # All batches of full size run in one loop.
        full, rest = divmod(order.shape[0], self.batch_size)
        end = full * self.batch_size
        batches = order[:end].reshape(full, self.batch_size)
        numbers = first + jnp.arange(full, dtype=jnp.int32)
        state, losses = jax.lax.scan(step, state, (batches, numbers))
        if not rest:
            return state, losses
        # The smaller last batch has a shape of its own, so it runs after the loop.
        try:
            tail = order[end:]
            state, last = step(state, (tail, first + jnp.int32(full)))
        except Exception as error:  # as in a loss of pairs
            why = f"the last batch of {rest} fails, {in_a_line(error)}"
            raise LastBatchError(
                f"{why}; in a new sweep, --drop-last leaves it out"
            ) from error
        return state, jnp.append(losses, last)

    def _gradient_step(
        self, params: Any, opt: Any, state: Any, batch: Any, key: Array, tx: Any
    ) -> Any:
        assert self.task.loss is not None
        slope_of = jax.value_and_grad(self.task.loss, has_aux=True)
        (loss, state), gradient = slope_of(params, state, batch, key)
        updates, opt = tx.update(gradient, opt, params)
        return optax.apply_updates(params, updates), opt, state, loss

    def batch_loss(
        self, params: Any, extra: Any, data: Data, index: Array, number: Array
    ) -> Array:
        """Return the mean loss of a batch, float32 or wider, as in a training step
        whose key is always the same.

        Args:
            index: int32 [batch size], the indices of the batch's examples.
            number: int32, the step's number in its epoch. The rest is as in `evaluate`.
        """
        assert self.task.loss is not None
        key = _key(jnp.zeros(2, jnp.uint32), number)
        loss, _ = self.task.loss(params, extra, _examples(data, index), key)
        return _wide(loss)

    def evaluate(
        self, state: TrainState, data: Data, split: Array, before: Scores | None = None
    ) -> tuple[dict[str, Array], Scores]:
        """Return of each score on how many of a split's examples it was evaluated, and
        the sums of its values and of their squares. A score of whole batches counts for
        each example, and leaves out those that fill no block.

        Args:
            state: the state of one trial.
            data: the examples of all splits.
            split: int32 [3], the index of the first example, the number of examples and
                that of the split. They are traced, so that all splits share one
                compilation. For a part of a split, int32 [6]: also the number of all
                examples, and of its first block and of that after the last one. The
                data are then the examples of these blocks.
            before: the sums of the blocks before.
        """
        held = len(jax.tree.leaves(data)[0])
        first = split[0]
        count = split[1]
        of_split = split[2]
        size = min(self.task.block, held)
        in_parts = len(split) > 3
        total: Array | int = held
        begin: Array | int = 0
        if in_parts:
            total = split[3]
            begin = split[4]
        root = jax.random.key(EVALUATIONS, impl="threefry2x32")
        keys = jax.random.fold_in(root, first)

        def scores(i: Array, start: Array | int) -> dict[str, Array]:
            batch = jax.tree.map(
                lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), data
            )
            key = jax.random.fold_in(keys, i)
            return self.task.scores(state.params, state.extra, batch, key, of_split)

        def block(i: Array, sums: Scores) -> Scores:
            block_start = first + i * size
            # dynamic_slice clips its start in the same way
            start = jnp.minimum(block_start, total - size)
            at = start
            if in_parts:
                at = (i - begin) * size
            # An example that a clipped block shares with the one before counts once.
            index = start + jnp.arange(size, dtype=jnp.int32)
            is_new = index >= block_start
            inside = is_new & (index < first + count)
            is_full = block_start + size <= first + count
            new_sums = {}
            for name, values in scores(i, at).items():
                values = values.astype(jnp.float32)
                has_value = inside
                if not kinds[name].shape:
                    has_value = inside & is_full
                counted = jnp.where(has_value, values, 0)
                new_sums[name] = _added(sums[name], counted)
                if name == "loss" and PARTED in sums:
                    losses, examples = sums[PARTED]
                    part = i * PARTS // blocks
                    losses = losses.at[part].add(counted.sum())
                    examples = examples.at[part].add(has_value.sum())
                    new_sums[PARTED] = losses, examples
            return new_sums

        kinds = jax.eval_shape(scores, count, 0)
        counts, blocks = _reached(kinds, count, size)
        zeros = {name: (jnp.float32(0), jnp.float32(0)) for name in kinds}
        if "accuracy" not in kinds:
            zeros[PARTED] = jnp.zeros(PARTS), jnp.zeros(PARTS)
        end = blocks
        if in_parts:
            end = jnp.minimum(split[5], blocks)
        sums = jax.lax.fori_loop(begin, end, block, before or zeros)
        return counts, sums


def task_of(
    config: TrialConfig, data: DataSpec | TaskSpec
) -> tuple[Network | Task, Task]:
    """Return what a trial names, a network or a task, and the task that it trains."""
    if isinstance(data, TaskSpec):
        made = task(config.architecture)
        return made, made
    network = architecture(config.architecture, data)
    return network, classifier(network, data, config.loss)


def _reached(
    kinds: dict[str, Any], count: Array, size: int
) -> tuple[dict[str, Array], Array]:
    """Return on how many of so many examples each score is evaluated, and in how many
    blocks. A score of a whole block has no value for the examples that fill none."""
    counts = dict.fromkeys(kinds, count)
    of_blocks = [name for name, kind in kinds.items() if not kind.shape]
    blocks = count // size
    counts |= dict.fromkeys(of_blocks, blocks * size)
    if len(of_blocks) < len(kinds):
        blocks = (count + size - 1) // size
    return counts, blocks


def _examples(data: Data, index: Array) -> Any:
    """Return the batch of the examples with these indices."""
    return jax.tree.map(lambda x: x[index], data)


def _added(sums: tuple[Array, Array], values: Array) -> tuple[Array, Array]:
    """Return a score's two sums with those of more values."""
    total, total_square = sums
    total = total + values.sum()
    squares = values * values
    return total, total_square + squares.sum()


def _key(key: Array, number: Array) -> Array:
    root = jax.random.wrap_key_data(key, impl="threefry2x32")
    return jax.random.fold_in(root, number)


def _wide(loss: Array) -> Array:
    return loss.astype(np.promote_types(loss.dtype, np.float32))


def _as_key(x: Any, kind: Any) -> Any:
    """Return numbers as the random key that they stand for, if they stand for one."""
    if _is_key(kind):
        return jax.random.wrap_key_data(x)
    return x


def as_numbers(state: Any) -> Any:
    """Return a tree with its random keys as numbers, which can be saved, stacked and
    compared as others are."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


def _is_key(x: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key))
