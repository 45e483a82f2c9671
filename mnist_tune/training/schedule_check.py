"""Whether the count that a schedule reads is that of the sweep's steps. It is the
optimiser's own, and counts the calls of `tx.update`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from mnist_tune.errors import UserError
from mnist_tune.training.optimizers import Hyperparameters, Step
from mnist_tune.training.program import Program
from mnist_tune.trial import TrialConfig


@dataclass(frozen=True)
class WatchedStep(Step):
    """A step that keeps the counts at which its learning rate was asked for."""

    counts: set[int] = field(default_factory=set, compare=False)

    def _learning_rate(self, hyper: Hyperparameters) -> Any:
        schedule = super()._learning_rate(hyper)

        def rate(count: Any) -> Any:
            # A call in a loop or a branch is traced once, however often it is run.
            jax.debug.callback(lambda value: self.counts.add(int(value)), count)
            return schedule(count)

        return rate


def check_schedule(config: TrialConfig, program: Program, examples: Any) -> None:
    """Raise a `UserError` if a schedule's count does not rise by exactly 1 in a step.

    Two steps are run: the counts of the second one must be those of the first one, each
    larger by 1. Several optimisers may have counts of their own.
    """
    is_constant = config.schedule == "constant" and not config.warmup_steps
    calls_once = program.task.step is None and program.step.own is None
    if is_constant or calls_once:
        return
    first, second = _counts(config, program, examples)
    if first and second == {count + 1 for count in first}:
        return
    flags = []
    if config.schedule != "constant":
        flags.append("--schedule")
    if config.warmup_steps:
        flags.append("--warmup-steps")
    flag = " and ".join(flags)
    remedy = f"leave {flag} out"
    rise = max(second) - max(first) if first and second else 0
    if rise <= 0:
        raise UserError(
            f"the count of {flag} did not rise in one step, since it counts calls of tx.update; {remedy}"
        )
    if first == {*range(rise)} and second == {*range(rise, 2 * rise)}:
        remedy += f", or use learning_rate(count // {rise}) in an optimizer of your own"
    raise UserError(
        f"the count of {flag} rose by {rise} in one step, since it counts calls of tx.update; {remedy}"
    )


def _counts(
    config: TrialConfig, program: Program, examples: Any
) -> tuple[set[int], set[int]]:
    """Return the counts at which the first two steps ask for their learning rate."""
    step = program.step
    watched = WatchedStep(**vars(step))
    program = replace(program, step=watched)
    total = len(jax.tree.leaves(examples)[0])
    size = program.batch_size
    values = step.hyperparameters(config, max(total // size, 1))
    hyper = {name: jnp.float32(value) for name, value in values.items()}
    few = jax.tree.map(lambda x: jnp.asarray(x[:size]), examples)
    order = jnp.arange(size, dtype=jnp.int32) % min(size, total)
    key = jnp.zeros(2, jnp.uint32)
    state = program.init(0, values)
    train = jax.jit(lambda state: program.train_epoch(state, hyper, key, few, order)[0])
    counts = []
    for _ in range(2):
        # an optimiser may ask for the rate when it begins, too
        jax.effects_barrier()
        watched.counts.clear()
        state = jax.block_until_ready(train(state))
        jax.effects_barrier()
        counts.append({*watched.counts})
    return counts[0], counts[1]
