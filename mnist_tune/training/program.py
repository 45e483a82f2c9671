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
        step = Step.of(config)
        return cls(
            config.architecture,
            step,
            config.batch_size,
            config.drop_last,
            task_of(config, data)[1],
        )

    def init(self, seed: int, hyper: Hyperparameters) -> TrainState:
        """Return the untrained state for a seed and hyperparameters, as NumPy
        arrays."""
        state: TrainState = jax.tree.map(
            np.asarray, self._begin(initial(self.task, seed), hyper)
        )
        return state

    @cached_property
    def shapes(self) -> TrainState:
        """The shapes and types of a state's leaves. They are not computed, unless
        `init` needs values."""
        init, zeros = self.task.init, dict.fromkeys(self.step.names, 0.0)
        try:
            found: TrainState = jax.eval_shape(
                lambda: self._begin(init(jax.random.key(0)), zeros)
            )
        except jax.errors.JAXTypeError:  # it goes through NumPy
            variables = initial(self.task, 0)
            found = jax.eval_shape(lambda: self._begin(variables, zeros))
        return found

    def _begin(self, variables: Any, hyper: Hyperparameters) -> TrainState:
        # JAX arrays would start JAX on a device, and optax's inject_hyperparams takes
        # no NumPy scalars.
        values = {name: np.array(hyper[name], np.float32) for name in self.step.names}
        params, extra = variables
        return TrainState(
            params,
            as_numbers(self.task.begun(self.step.transformation(values), params)),
            extra,
        )

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
        tx, trained = (
            self.step.transformation(hyper),
            self.task.step or self._gradient_step,
        )

        def step(
            state: TrainState, at: tuple[Array, Array]
        ) -> tuple[TrainState, Array]:
            index, number = at
            batch, draws = jax.tree.map(lambda x: x[index], data), _key(key, number)
            kinds = jax.eval_shape(
                lambda params: self.task.begun(tx, params), state.params
            )
            opt = jax.tree.map(
                lambda x, kind: jax.random.wrap_key_data(x) if _is_key(kind) else x,
                state.optimizer,
                kinds,
            )
            params, opt, extra, loss = trained(
                state.params, opt, state.extra, batch, draws, tx
            )
            new = TrainState(params, as_numbers(opt), extra)
            # Float32 hyperparameters promote parameters of fewer bits.
            return jax.tree.map(lambda old, x: x.astype(old.dtype), state, new), _wide(
                loss
            )

        full, rest = divmod(order.shape[0], self.batch_size)
        whole = order[: full * self.batch_size].reshape(full, self.batch_size)
        state, losses = jax.lax.scan(
            step, state, (whole, first + jnp.arange(full, dtype=jnp.int32))
        )
        if not rest:
            return state, losses
        try:
            state, last = step(
                state, (order[full * self.batch_size :], first + jnp.int32(full))
            )
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
        (loss, state), gradient = jax.value_and_grad(self.task.loss, has_aux=True)(
            params, state, batch, key
        )
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
        return _wide(
            self.task.loss(params, extra, jax.tree.map(lambda x: x[index], data), key)[
                0
            ]
        )

    def evaluate(
        self, state: TrainState, data: Data, split: Array, before: Scores | None = None
    ) -> tuple[Array, Scores]:
        """Return how many of a split's examples were evaluated, and of each score the
        sums of its values and of their squares. A score of whole batches counts for
        each example, and leaves out those that fill no block.

        Args:
            state: the state of one trial.
            data: the examples of all splits.
            split: int32 [2], the index of the first example and the number of examples.
                They are traced, so that all splits share one compilation. For a part of
                a split, int32 [5]: also the number of all examples, and of its first
                block and of that after the last one. The data are then the examples of
                these blocks.
            before: the sums of the blocks before.
        """
        given, first, count = len(jax.tree.leaves(data)[0]), split[0], split[1]
        size = min(self.task.block, given)
        in_parts = len(split) > 2
        total, begin = (split[2], split[3]) if in_parts else (given, 0)
        keys = jax.random.fold_in(
            jax.random.key(EVALUATIONS, impl="threefry2x32"), first
        )

        def scores(i: Array, start: Array | int) -> dict[str, Array]:
            batch = jax.tree.map(
                lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), data
            )
            return self.task.scores(
                state.params, state.extra, batch, jax.random.fold_in(keys, i)
            )

        def block(i: Array, sums: Scores) -> Scores:
            wanted = first + i * size
            # dynamic_slice clips its start in the same way
            start = jnp.minimum(wanted, total - size)
            at = (i - begin) * size if in_parts else start
            index = start + jnp.arange(size, dtype=jnp.int32)
            inside = (index >= wanted) & (index < first + count)
            found = {}
            for name, values in scores(i, at).items():
                each = jnp.where(inside, values.astype(jnp.float32), 0)
                found[name] = (
                    sums[name][0] + each.sum(),
                    sums[name][1] + (each * each).sum(),
                )
                if name == "loss" and PARTED in sums:
                    of_block = each.sum(), inside.sum()
                    found[PARTED] = jax.tree.map(
                        lambda x, y: x.at[i * PARTS // blocks].add(y),
                        sums[PARTED],
                        of_block,
                    )
            return found

        kinds = jax.eval_shape(scores, count, 0)
        whole = any(not kind.shape for kind in kinds.values())
        blocks = count // size if whole else (count + size - 1) // size
        zeros = {name: (jnp.float32(0), jnp.float32(0)) for name in kinds}
        if "accuracy" not in kinds:
            zeros[PARTED] = jnp.zeros(PARTS), jnp.zeros(PARTS)
        end = jnp.minimum(split[4], blocks) if in_parts else blocks
        sums = jax.lax.fori_loop(begin, end, block, before or zeros)
        return (blocks * size if whole else count), sums


def task_of(
    config: TrialConfig, data: DataSpec | TaskSpec
) -> tuple[Network | Task, Task]:
    """Return what a trial names, a network or a task, and the task that it trains."""
    if isinstance(data, TaskSpec):
        return (made := task(config.architecture)), made
    network = architecture(config.architecture, data)
    return network, classifier(network, data, config.loss)


def _key(key: Array, number: Array) -> Array:
    return jax.random.fold_in(
        jax.random.wrap_key_data(key, impl="threefry2x32"), number
    )


def _wide(loss: Array) -> Array:
    return loss.astype(np.promote_types(loss.dtype, np.float32))


def as_numbers(state: Any) -> Any:
    """Return a tree with its random keys as numbers, which can be saved, stacked and
    compared as others are."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


def _is_key(x: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key))
