"""What a step is: an optimiser of optax and the schedule of its learning rate.

Hyperparameters are traced numbers, so that a sweep over any of them compiles once; what
they are is a dictionary. The numbers with a decimal point among an optimiser's own
arguments, as in `adam(b1=0.8)`, are hyperparameters, too.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mnist_tune.errors import UserError, closest
from mnist_tune.named_code import Call, parse_call
from mnist_tune.own_code.registry import ENTRIES, Entry
from mnist_tune.trial import TrialConfig

if TYPE_CHECKING:
    import optax

Hyperparameters = dict[str, Any]
"""What may differ between trials of one compiled program: a float32 scalar each, by
name."""

DECOUPLED = ("adamw", "lion")
"""Optimisers that decay the weights themselves, apart from the gradient (Loshchilov and
Hutter 2019)."""

ADAM = ("adam", "adamw")
"""Optimisers whose steps the preconditioner P of Adam divides."""

BUILT_IN = ("sgd", "adam", "adamw", "rmsprop", "lion", "adagrad")
"""Names of optax's factories. A factory takes a learning rate (a number, or a function
of the step count), and arguments of its own."""

SHARES = ("b1", "b2", "decay", "momentum")
"""Arguments of these that say how much of an average is kept: with 1 or more, it never
ends or grows."""

OPTIONS = ("learning_rate", "weight_decay", "clip_norm", "schedule", "warmup_steps")
"""What a step takes from the trial. None of it can be an argument of the optimiser,
too, which would hide it."""


@dataclass(frozen=True)
class Step:
    """What is compiled of an update: all but the values of the hyperparameters."""

    optimizer: str
    names: tuple[str, ...]
    """The names of the hyperparameters. One that is an argument of the optimiser ends
    in `=`, as in `b1=`, apart from those that every trial has."""
    static: tuple[tuple[str, Any], ...]
    """The optimiser's arguments that are not traced."""
    nesterov: bool
    schedule: str
    own: Entry | None
    """The user's factory; None if the optimiser is one of optax."""

    @classmethod
    def of(cls, config: TrialConfig) -> Step:
        """The step of a trial. Raises as `check_optimizer`."""
        call = check_optimizer(config.optimizer)
        optional = ("momentum", "weight_decay", "clip_norm", "warmup_steps")
        names = [
            "learning_rate",
            *(name for name in optional if getattr(config, name) > 0),
        ]
        names += ["total_steps"] if config.schedule != "constant" else []
        names += [
            f"{name}=" for name, value in call.keywords if isinstance(value, float)
        ]
        static = tuple(item for item in call.keywords if not isinstance(item[1], float))
        own = ENTRIES["optimizer"].get(call.name)
        return cls(
            call.name, tuple(names), static, config.nesterov, config.schedule, own
        )

    def hyperparameters(self, config: TrialConfig, steps: int) -> dict[str, float]:
        """The values of a trial; an epoch has so many steps."""
        values = config.to_dict() | {"total_steps": config.epochs * steps}
        values |= {
            f"{name}=": value for name, value in parse_call(config.optimizer).keywords
        }
        return {name: float(values[name]) for name in self.names}

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        """The update of optax: clipping, then weight decay (added to the gradient, but
        where the optimiser decays weights itself), then the optimiser.

        Plain SGD carries no momentum buffer, which would cost a pass over the
        parameters each step.
        """
        import optax

        arguments = dict(self.static) | {
            name[:-1]: hyper[name] for name in self.names if name.endswith("=")
        }
        if "momentum" in self.names:
            arguments["momentum"] = hyper["momentum"]
        if self.nesterov:
            arguments["nesterov"] = True
        if self.optimizer in DECOUPLED:
            arguments["weight_decay"] = hyper.get("weight_decay", 0.0)
        before = []
        if "clip_norm" in self.names:
            before.append(optax.clip_by_global_norm(hyper["clip_norm"]))
        if "weight_decay" in self.names and self.optimizer not in DECOUPLED:
            before.append(optax.add_decayed_weights(hyper["weight_decay"]))
        last = _factory(self.optimizer, self.own)(
            self._learning_rate(hyper), **arguments
        )
        if isinstance(last, optax.MultiSteps):
            last = last.gradient_transformation()
        if not isinstance(last, optax.GradientTransformation):
            kind = type(last).__name__
            raise UserError(
                f"optimizer {self.optimizer!r} returned a {kind}; return one of optax, as optax.adam does"
            )
        return optax.chain(*before, last) if before else last

    def preconditioner(self, hyper: Hyperparameters, state: Any) -> Any:
        """Return Adam's P = (1 - b1^t) (sqrt(v / (1 - b2^t)) + eps) after t steps, a
        tree like the parameters, from optax's state; NaN before the first step. A step
        is the learning rate times P⁻¹ times the gradients' average, the plain one of
        optax's `mu`."""
        import jax
        import jax.numpy as jnp
        import optax

        given = dict(self.static) | {
            name[:-1]: hyper[name] for name in self.names if name.endswith("=")
        }
        defaults = {
            name: one.default
            for name, one in inspect.signature(optax.adam).parameters.items()
        }
        b1, b2, eps, root = (
            (defaults | given)[name] for name in ("b1", "b2", "eps", "eps_root")
        )
        adam = optax.tree.get(state, "ScaleByAdamState")

        def of(nu: Any) -> Any:
            nu = nu.astype(jnp.promote_types(nu.dtype, jnp.float32))
            one, two, small, inside, t = (
                jnp.asarray(x).astype(nu.dtype) for x in (b1, b2, eps, root, adam.count)
            )
            return (1 - one**t) * (jnp.sqrt(nu / (1 - two**t) + inside) + small)

        return jax.tree.map(of, adam.nu)

    def _learning_rate(self, hyper: Hyperparameters) -> Any:
        """The number, or what the schedule makes of it: linear from 0 in the steps of
        the warm-up, then constant, or down to 0 at the trial's last step, on a line or
        on half a cosine. As optax's schedules of these names."""
        import jax.numpy as jnp

        if self.schedule == "constant" and "warmup_steps" not in self.names:
            return hyper["learning_rate"]

        def rate(count: Any) -> Any:
            count = count.astype(jnp.float32)
            warmup, factor = hyper.get("warmup_steps", jnp.float32(0)), jnp.float32(1)
            if self.schedule != "constant":
                length = jnp.maximum(hyper["total_steps"] - warmup, 1)
                share = jnp.clip((count - warmup) / length, 0, 1)
                factor = (
                    1 - share
                    if self.schedule == "linear"
                    else (1 + jnp.cos(jnp.pi * share)) / 2
                )
            if "warmup_steps" in self.names:
                factor = jnp.where(count < warmup, count / warmup, factor)
            return hyper["learning_rate"] * factor

        return rate


def threshold(optimizer: str, momentum: float, nesterov: bool) -> float:
    """Return the product of learning rate and sharpness above which steps on a
    quadratic grow; NaN if it is not known.

    - SGD with momentum β: 2 + 2β, and with Nesterov's (2 + 2β) / (1 + 2β) (Cohen et al.
      2021, arXiv 2103.00065).
    - Adam with β = b1: these over 1 - β, because its momentum is an average; 38 by
      default. The sharpness is that of P⁻¹H (`Step.preconditioner`; Cohen et al. 2022,
      arXiv 2207.14484).
    """
    call, share = parse_call(optimizer), 1.0
    if call.name in ADAM:
        given = dict(call.keywords)
        momentum, nesterov = given.get("b1", 0.9), given.get("nesterov", False)
        share = 1 - momentum
    known = call.name in ("sgd", *ADAM) and share
    return (
        (2 + 2 * momentum) / (1 + 2 * momentum * nesterov) / share
        if known
        else math.nan
    )


def _factory(name: str, own: Entry | None) -> Callable[..., Any]:
    import optax

    return own.factory if own else cast(Callable[..., Any], getattr(optax, name))


def check_optimizer(text: str) -> Call:
    """Take an optimiser's name and arguments apart. JAX is not imported for a plain
    name. Raises `UserError` if there is no such optimiser, it has no such argument, or
    the argument is an option of the trial."""
    call, known = parse_call(text), (*BUILT_IN, *ENTRIES["optimizer"])
    if call.name not in known:
        raise UserError(
            f"unknown optimizer {call.name!r}{closest(call.name, known)}; or FILE.py:FACTORY"
        )
    if call.arguments:
        raise UserError(f"optimizer {text!r}: name its arguments, as in adam(b1=0.8)")
    options = (*OPTIONS, "momentum", "nesterov") if call.name == "sgd" else OPTIONS
    if call.keywords:
        factory = _factory(call.name, ENTRIES["optimizer"].get(call.name))
        arguments = list(inspect.signature(factory).parameters.values())[1:]
        names = [
            one.name
            for one in arguments
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        ]
        takes_all = any(one.kind == one.VAR_KEYWORD for one in arguments)
        for name, value in call.keywords:
            is_share = (
                call.name in BUILT_IN
                and name in SHARES
                and isinstance(value, (int, float))
            )
            if is_share and not 0 <= value < 1:
                raise UserError(
                    f"optimizer {text!r}: {name} must be at least 0 and below 1, got {value}"
                )
            if name in options:
                flag = f"--{name.replace('_', '-')}{'s' * (name == 'learning_rate')}"
                raise UserError(
                    f"optimizer {text!r}: {name} is an option of the sweep; give it with {flag}"
                )
            if name not in names and not takes_all:
                raise UserError(
                    f"optimizer {call.name!r} has no argument {name!r}{closest(name, names)}"
                )
    return call
