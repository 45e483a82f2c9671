"""What is trained: a task, as two pure functions and their data; or a network, on
labelled data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mnist_tune.data_spec import DataSpec
from mnist_tune.own_code.registry import asks_for
from mnist_tune.training.frameworks import functions_of

BLOCK = 256
"""Examples that are evaluated at a time. On a CPU a small network's activations stay in
the cache: 40% faster than with 10,000."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network as functions.

    - `init(key)` returns the initial parameters, a tree of arrays of any float type,
      for a key of `jax.random`.
    - `apply(params, images)` returns the logits [n, classes] of float32 images [n,
      *shape], or [n, T, classes] of int32 tokens [n, T].
    - `train_apply`, for batch normalisation, dropout and their like, replaces `apply`
      in a training step: `train_apply(params, state, images, key)` returns the logits
          and the new state. `init` then returns
      `(params, state)`, and evaluation calls `apply(params, state, images)`.
    """

    init: Callable[[Any], Any]
    apply: Callable[..., Any]
    train_apply: Callable[..., Any] | None = None
    rebuild: Callable[[Any, Any], Any] | None = None
    """`rebuild(params, state)` returns the module that the network was made of."""

    @classmethod
    def of(
        cls, module: Any, data: DataSpec, *arguments: Any, **keywords: Any
    ) -> Network:
        """Return a module of Flax NNX, Flax Linen or Equinox as a network.

        Args:
            module: the class, or a module of Linen.
            data: the data set. The class gets `data`, `shape`, `size`, `channels`,
                `classes`, `num_classes` and `tokens` of it, if it asks for them.
            arguments, keywords: other arguments of the class.

        Raises `UserError` if an argument is missing.
        """
        return cls(*functions_of(module, data, arguments, keywords))


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained, as pure functions. The optimiser, the order of the examples and
    the keys are the sweep's.

    A batch is a tree of arrays like those of `data`, `[n, ...]`. The key of a training
    step follows from the seed, the epoch and the step. That of an evaluation follows
    from the split and the block alone. So all epochs, rates and seeds see the same
    noise.
    """

    init: Callable[[Any], tuple[Any, Any]]
    """`init(key)` returns `(params, state)`: a tree of float arrays, and one of any
    arrays, `()` for none."""
    loss: Callable[..., tuple[Any, Any]] | None
    """`loss(params, state, batch, key)` returns the mean loss of a step's batch, a
    scalar, and the new state."""
    data: Callable[[], tuple[Any, Any]] | None = None
    """`data()` returns `(train, test)`, trees of arrays with one leading axis. Or two
    counts, if `loss` draws examples itself: a batch is then the numbers of its
    examples, int32 [n]. None for networks: the sweep names their data."""
    score: Callable[..., Any] | None = None
    """`score(params, state, batch, key)` returns the loss of each example, [n], or a
    scalar for the batch; or a dictionary of such, with `loss` and perhaps `accuracy`.
    By default `loss` is the score. If it has another argument `split`, that is 0 for
    training examples, 1 for those of the test, 2 for those that are held out."""
    step: Callable[..., tuple[Any, Any, Any, Any]] | None = None
    """`step(params, opt, state, batch, key, tx)` returns `(params, opt, state, loss)`,
    in place of a step along the gradient of `loss`; `tx` is an optimiser of optax."""
    split: tuple[str, ...] = ()
    """Names of parts of `params`: `opt` begins as `{name: tx.init(params[name])}`;
    without, as `tx.init(params)`."""
    guess: float | None = None
    """The loss of the best constant answer, if it is known."""
    chance: float | None = None
    """The accuracy of guessing, if `score` returns an accuracy that labels are to
    follow."""
    block: int = BLOCK
    """Examples that are evaluated at a time."""

    def begun(self, tx: Any, params: Any) -> Any:
        """Return the initial state of an optimiser, or one for each named part."""
        if self.split:
            return {name: tx.init(params[name]) for name in self.split}
        return tx.init(params)

    def scores(
        self, params: Any, state: Any, batch: Any, key: Any, split: Any
    ) -> dict[str, Any]:
        """Return what `score` returns, as a dictionary. It is told the number of the
        split if it asks for it."""
        if self.score is None:
            assert self.loss is not None
            return {"loss": self.loss(params, state, batch, key)[0]}
        options = {}
        if asks_for(self.score, "split"):
            options["split"] = split
        scores = self.score(params, state, batch, key, **options)
        if not isinstance(scores, dict):
            return {"loss": scores}
        return {str(name): score for name, score in scores.items()}
