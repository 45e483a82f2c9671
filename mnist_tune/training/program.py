"""Training as pure functions: the initial state, an epoch as a `lax.scan`, and the evaluation.

These work for one trial and, under `vmap`, for many. Parameters and hyperparameters are traced arguments, so a sweep
over them compiles once per program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from mnist_tune.data_spec import DataSpec
from mnist_tune.training.architectures import architecture
from mnist_tune.training.losses import LOSSES
from mnist_tune.training.network import Network
from mnist_tune.training.networks import initial
from mnist_tune.training.optimizers import Hyperparameters, Step
from mnist_tune.trial import TrialConfig

Data = tuple[Array, Array]
"""Images [n, *shape] as the data set holds them, and labels [n], or [n, T] of tokens, on the device."""

EVALUATION_BLOCK = 256
"""Images that are evaluated at a time. On a CPU their activations stay in the cache: 40% faster than with 10,000."""


class TrainState(NamedTuple):
    """What training changes."""

    params: Any
    optimizer: Any
    """The state of optax's optimiser, such as momentum buffers."""
    extra: Any = ()
    """The state of a network with `train_apply`, such as the statistics of its batch normalisation."""


@dataclass(frozen=True)
class Program:
    """The part of a trial that is compiled, not traced: the network, the data's description, the step, the batch size.
    Trials of one program may differ in their hyperparameters' values, their seeds and their number of epochs."""

    architecture: str
    data: DataSpec
    step: Step
    loss: str
    batch_size: int
    drop_last: bool
    network: Network

    @classmethod
    def of(cls, config: TrialConfig, data: DataSpec) -> Program:
        network, step = architecture(config.architecture, data), Step.of(config)
        return cls(config.architecture, data, step, config.loss, config.batch_size, config.drop_last, network)

    def init(self, seed: int, hyper: Hyperparameters) -> TrainState:
        """Return the untrained state for a seed and hyperparameters, as NumPy arrays."""
        state: TrainState = jax.tree.map(np.asarray, self._begin(initial(self.network, seed), hyper))
        return state

    def shapes(self) -> TrainState:
        """Return the shapes and types of a state's leaves, without computing them."""
        network, zeros = self.network, dict.fromkeys(self.step.names, 0.0)
        try:
            found: TrainState = jax.eval_shape(
                lambda: self._begin(network.init(0 if network.seeded else jax.random.key(0)), zeros)
            )
        except jax.errors.JAXTypeError:  # it needs values: it goes through NumPy
            variables = initial(network, 0)
            found = jax.eval_shape(lambda: self._begin(variables, zeros))
        return found

    def _begin(self, variables: Any, hyper: Hyperparameters) -> TrainState:
        params, extra = variables if self.network.train_apply else (variables, ())
        # JAX arrays would start JAX on a device, and optax's inject_hyperparams takes no NumPy scalars.
        values = {name: np.array(hyper[name], np.float32) for name in self.step.names}
        return TrainState(params, _numbers(self.step.transformation(values).init(params)), extra)

    def train_epoch(
        self, state: TrainState, hyper: Hyperparameters, key: Array, data: Data, order: Array, first: Array | int = 0
    ) -> tuple[TrainState, Array]:
        """Train for one pass over the training set in the given order, or for a part of it.

        Args:
            state: the state of one trial.
            hyper: its hyperparameters, by the names of `Step.names`.
            key: uint32 [2], the data of the epoch's random key; step i draws from `fold_in(key, i)`.
            data: each step scales its images (`scale`).
            order: int32 [n], the indices of the images in the order of the epoch. The last batch may be smaller.
            first: int32, the steps of the epoch before this part.

        Returns:
            The new state, and the loss of each step before its update, float32 [ceil(n / batch_size)].
        """
        transformation = self.step.transformation(hyper)

        def step(state: TrainState, batch: tuple[Array, Array]) -> tuple[TrainState, Array]:
            index, number = batch

            def loss_of(params: Any) -> tuple[Array, Any]:
                return self.batch_loss(params, state.extra, data, index, key, number)

            (loss, extra), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
            kinds = jax.eval_shape(transformation.init, state.params)
            optimizer = jax.tree.map(
                lambda x, kind: jax.random.wrap_key_data(x) if _is_key(kind) else x, state.optimizer, kinds
            )
            updates, optimizer = transformation.update(gradient, optimizer, state.params)
            new = TrainState(optax.apply_updates(state.params, updates), _numbers(optimizer), extra)
            # Float32 hyperparameters promote parameters of fewer bits.
            return jax.tree.map(lambda old, x: x.astype(old.dtype), state, new), loss

        full, rest = divmod(order.shape[0], self.batch_size)
        whole = order[: full * self.batch_size].reshape(full, self.batch_size)
        state, losses = jax.lax.scan(step, state, (whole, first + jnp.arange(full, dtype=jnp.int32)))
        if not rest:
            return state, losses
        state, last = step(state, (order[full * self.batch_size :], first + jnp.int32(full)))
        return state, jnp.append(losses, last)

    def batch_loss(
        self, params: Any, extra: Any, data: Data, index: Array, key: Array, number: Array
    ) -> tuple[Array, Any]:
        """Return the mean loss of a training step's batch, float32 or wider, and the new state of the network. Of
        tokens it is the mean over all positions.

        Args:
            index: int32 [batch size], the indices of the batch's images.
            number: int32, the step's number in its epoch. The rest is as in `train_epoch`.
        """
        x, y, train_apply = scale(data[0][index], self.data), data[1][index], self.network.train_apply
        if train_apply is None:
            logits = self.network.apply(params, x)
        else:
            draws = jax.random.fold_in(jax.random.wrap_key_data(key, impl="threefry2x32"), number)
            logits, extra = train_apply(params, extra, x, draws)
        return LOSSES[self.loss](logits.astype(np.promote_types(logits.dtype, np.float32)), y).mean(), extra

    def fixed_loss(self, params: Any, extra: Any, data: Data, index: Array, number: Array) -> Array:
        """Return the loss of `batch_loss` where what is random, such as dropout, is drawn from a fixed key."""
        return self.batch_loss(params, extra, data, index, jnp.zeros(2, jnp.uint32), number)[0]

    def evaluate(self, params: Any, extra: Any, data: Data, split: Array) -> tuple[Array, Array, Array]:
        """Return sums over some images: of the loss (float32), of the share of correct answers, and of its square. An
        image's answer is 0 or 1 (int32); for tokens, loss and share are means over the positions (float32).

        Args:
            params, extra: of the state of one trial.
            data: all splits of the data set.
            split: int32 [2], the index of the first image and the number of images. They are traced, so that all splits
                share one compilation.
        """
        (images, labels), first, count = data, split[0], split[1]
        size = min(EVALUATION_BLOCK, images.shape[0])

        def block(i: Array, sums: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            wanted = first + i * size
            start = jnp.minimum(wanted, images.shape[0] - size)  # dynamic_slice clips its start in the same way
            index = start + jnp.arange(size, dtype=jnp.int32)
            inside = (index >= wanted) & (index < first + count)
            x = jax.lax.dynamic_slice_in_dim(images, start, size)
            y = jax.lax.dynamic_slice_in_dim(labels, start, size)
            variables = (params, extra) if self.network.train_apply else (params,)
            logits = self.network.apply(*variables, scale(x, self.data)).astype(jnp.float32)
            right, loss = jnp.argmax(logits, axis=-1).astype(y.dtype) == y, LOSSES[self.loss](logits, y)
            if self.data.positions > 1:
                right, loss = right.mean(axis=1, dtype=jnp.float32), loss.mean(axis=1)
            right, loss = (jnp.where(inside, x, 0) for x in (right.astype(share), loss))
            return sums[0] + loss.sum(), sums[1] + right.sum(dtype=share), sums[2] + (right * right).sum(dtype=share)

        share, blocks = jnp.int32 if self.data.positions == 1 else jnp.float32, (count + size - 1) // size
        nothing = jnp.float32(0), share(0), share(0)
        sums: tuple[Array, Array, Array] = jax.lax.fori_loop(0, blocks, block, nothing)
        return sums


def scale(images: Array, data: DataSpec) -> Array:
    """Return float32 images: divided by their type's maximum if they are whole numbers, then standardised if asked.
    Tokens are returned as int32."""
    if data.positions > 1:
        return images.astype(jnp.int32)
    x = images.astype(jnp.float32) / data.divisor
    if data.mean:
        shape = (1,) * (images.ndim - 1) + (len(data.mean),)
        mean, deviation = (jnp.array(values, jnp.float32).reshape(shape) for values in (data.mean, data.deviation))
        x = (x - mean) / deviation
    return x


def _numbers(state: Any) -> Any:
    """Return an optimiser's state with its random keys as numbers, which can be saved and stacked as others are."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


def _is_key(x: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key))
