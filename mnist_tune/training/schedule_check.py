"""Whether the count that a schedule reads is that of the sweep's steps. It is the
optimiser's own, and counts the calls of `tx.update`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import jax

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


def check_schedule(config: TrialConfig, program: Program, *arguments: Any) -> None:
    """Raise a `UserError` if a schedule's count does not rise by exactly 1 in a step.

    Two steps are run, with the `arguments` of `Program.train_epoch` after the state:
    the counts of the second one must be those of the first one, each larger by 1.
    Several optimisers may have counts of their own.
    """
    flags = []
    if config.schedule != "constant":
        flags.append("--schedule")
    if config.warmup_steps:
        flags.append("--warmup-steps")
    calls_once = program.task.step is None and program.step.own is None
    if calls_once or not flags:
        return
    first, second = _counts(program, *arguments)
    if first and second == {count + 1 for count in first}:
        return
    flag = " and ".join(flags)
    remedy = f"leave {flag} out"
    rise = max(second, default=0) - max(first, default=0)
    begins_at_0 = first == {*range(rise)}
    goes_on = second == {*range(rise, 2 * rise)}
    if rise > 0 and begins_at_0 and goes_on:
        remedy += f", or use learning_rate(count // {rise}) in an optimizer of your own"
    rose = "did not rise"
    if rise > 0:
        rose = f"rose by {rise}"
    raise UserError(
        f"the count of {flag} {rose} in one step, "
        f"since it counts calls of tx.update; {remedy}"
    )


def _counts(program: Program, hyper: Hyperparameters, *arguments: Any) -> Any:
    """Return the counts at which the first two steps ask for their learning rate."""
    watched = WatchedStep(**vars(program.step))
    program = replace(program, step=watched)
    state = program.init(0, hyper)
    train = jax.jit(lambda state: program.train_epoch(state, hyper, *arguments)[0])
    counts = []
    for _ in range(2):
        # an optimiser may ask for the rate when it begins, too
        jax.effects_barrier()
        watched.counts.clear()
        state = jax.block_until_ready(train(state))
        jax.effects_barrier()
        counts.append({*watched.counts})
    return counts
