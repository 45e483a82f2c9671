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
from mnist_tune.own_code.registry import ENTRIES, TOTAL_STEPS, Entry, asks_for
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

OPTIONS: tuple[str, ...] = (
    "learning_rate",
    "weight_decay",
    "clip_norm",
    "schedule",
    "warmup_steps",
)
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
    def of(cls, config: TrialConfig, images: int = 0) -> Step:
        """The step of a trial that trains on so many images. Raises as
        `check_optimizer`."""
        call = check_optimizer(config.optimizer)
        optional = ("momentum", "weight_decay", "clip_norm", "warmup_steps")
        names = ["learning_rate"]
        names += [name for name in optional if getattr(config, name) > 0]
        if config.schedule != "constant":
            names.append("total_steps")
        static = []
        for name, value in call.keywords:
            if isinstance(value, float):
                names.append(f"{name}=")
            else:
                static.append((name, value))
        # Schedules of optax look at it, so it can't be traced.
        if takes_total_steps(config.optimizer):
            steps = config.epochs * config.steps(images)
            static.append((TOTAL_STEPS, max(steps, 1)))
        return cls(
            call.name,
            tuple(names),
            tuple(static),
            config.nesterov,
            config.schedule,
            own=ENTRIES["optimizer"].get(call.name),
        )

    def hyperparameters(self, config: TrialConfig, steps: int) -> dict[str, float]:
        """The values of a trial; an epoch has so many steps."""
        values = config.to_dict() | {"total_steps": config.epochs * steps}
        for name, value in parse_call(config.optimizer).keywords:
            values[f"{name}="] = value
        return {name: float(values[name]) for name in self.names}

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        """The update of optax: clipping, then weight decay (added to the gradient, but
        where the optimiser decays weights itself), then the optimiser.

        Plain SGD carries no momentum buffer, which would cost a pass over the
        parameters each step.
        """
        import optax

        arguments = self._arguments(hyper)
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
        factory = _factory(self.optimizer, self.own)
        last = factory(self._learning_rate(hyper), **arguments)
        if isinstance(last, optax.MultiSteps):
            last = last.gradient_transformation()
        if not isinstance(last, optax.GradientTransformation):
            kind = type(last).__name__
            raise UserError(
                f"optimizer {self.optimizer!r} returned a {kind}; return one of optax, as optax.adam does"
            )
        if not before:
            return last
        return optax.chain(*before, last)

    def _arguments(self, hyper: Hyperparameters) -> dict[str, Any]:
        """Return the optimiser's own arguments, traced or not."""
        arguments = dict(self.static)
        for name in self.names:
            if name.endswith("="):
                arguments[name.removesuffix("=")] = hyper[name]
        return arguments

    def preconditioner(self, hyper: Hyperparameters, state: Any) -> Any:
        """Return Adam's P = (1 - b1^t) (sqrt(v / (1 - b2^t)) + eps) after t steps, a
        tree like the parameters, from optax's state; NaN before the first step. A step
        is the learning rate times P⁻¹ times the gradients' average, the plain one of
        optax's `mu`."""
        import jax
        import jax.numpy as jnp
        import optax

        parameters = inspect.signature(optax.adam).parameters
        arguments = {name: field.default for name, field in parameters.items()}
        arguments |= self._arguments(hyper)
        adam = optax.tree.get(state, "ScaleByAdamState")
        numbers = [arguments[name] for name in ("b1", "b2", "eps", "eps_root")]
        numbers.append(adam.count)

        def diagonal(nu: Any) -> Any:
            v = nu.astype(jnp.promote_types(nu.dtype, jnp.float32))
            b1, b2, eps, root, t = (jnp.asarray(x).astype(v.dtype) for x in numbers)
            bias = 1 - b1**t
            deviation = jnp.sqrt(v / (1 - b2**t) + root)
            return bias * (deviation + eps)

        return jax.tree.map(diagonal, adam.nu)

    def _learning_rate(self, hyper: Hyperparameters) -> Any:
        """The number, or what the schedule makes of it: linear from 0 in the steps of
        the warm-up, then constant, or down to 0 at the trial's last step, on a line or
        on half a cosine. As optax's schedules of these names."""
        import jax.numpy as jnp

        if self.schedule == "constant" and "warmup_steps" not in self.names:
            return hyper["learning_rate"]

        def rate(count: Any) -> Any:
            count = count.astype(jnp.float32)
            warmup = hyper.get("warmup_steps", jnp.float32(0))
            factor = jnp.float32(1)
            if self.schedule != "constant":
                length = jnp.maximum(hyper["total_steps"] - warmup, 1)
                progress = (count - warmup) / length
                share = jnp.clip(progress, 0, 1)
                if self.schedule == "linear":
                    factor = 1 - share
                else:
                    cosine = jnp.cos(jnp.pi * share)
                    factor = (1 + cosine) / 2
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
    call = parse_call(optimizer)
    # the share of an average that a new gradient has
    share = 1.0
    if call.name in ADAM:
        arguments = dict(call.keywords)
        momentum = arguments.get("b1", 0.9)
        nesterov = arguments.get("nesterov", False)
        share = 1 - momentum
    if call.name not in ("sgd", *ADAM) or share == 0:
        return math.nan
    plain = 2 + 2 * momentum
    if nesterov:
        plain /= 1 + 2 * momentum
    return plain / share


def takes_total_steps(optimizer: str) -> bool:
    """Return whether an optimiser of one's own is given the number of steps of its
    trial: its factory asks for it, and the name gives no other one."""
    call = parse_call(optimizer)
    own = ENTRIES["optimizer"].get(call.name)
    if own is None or TOTAL_STEPS in dict(call.keywords):
        return False
    return asks_for(own.factory, TOTAL_STEPS)


def _factory(name: str, own: Entry | None) -> Callable[..., Any]:
    import optax

    if own:
        return own.factory
    return cast(Callable[..., Any], getattr(optax, name))


def check_optimizer(text: str) -> Call:
    """Take an optimiser's name and arguments apart. JAX is not imported for a plain
    name. Raises `UserError` if there is no such optimiser, it has no such argument, or
    the argument is an option of the trial."""
    call = parse_call(text)
    optimizers = (*BUILT_IN, *ENTRIES["optimizer"])
    if call.name not in optimizers:
        hint = closest(call.name, optimizers)
        raise UserError(f"unknown optimizer {call.name!r}{hint}; or FILE.py:FACTORY")
    if call.arguments:
        raise UserError(f"optimizer {text!r}: name its arguments, as in adam(b1=0.8)")
    if call.keywords:
        _check_arguments(text, call)
    return call


def _check_arguments(text: str, call: Call) -> None:
    """Raise a `UserError` if an optimiser has no such argument, or it is an option of
    the trial."""
    options = OPTIONS
    if call.name == "sgd":
        options += ("momentum", "nesterov")
    factory = _factory(call.name, ENTRIES["optimizer"].get(call.name))
    # the first one is the learning rate
    signature = inspect.signature(factory)
    parameters = list(signature.parameters.values())[1:]
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [parameter.name for parameter in parameters if parameter.kind in by_name]
    kinds = {parameter.kind for parameter in parameters}
    takes_all = inspect.Parameter.VAR_KEYWORD in kinds
    for name, value in call.keywords:
        is_share = call.name in BUILT_IN and name in SHARES
        is_number = isinstance(value, (int, float))
        if is_share and is_number and not 0 <= value < 1:
            raise UserError(
                f"optimizer {text!r}: {name} must be at least 0 and below 1, got {value}"
            )
        if name in options:
            flag = "--" + name.replace("_", "-")
            if name == "learning_rate":
                flag += "s"
            raise UserError(
                f"optimizer {text!r}: {name} is an option of the sweep; give it with {flag}"
            )
        if name not in names and not takes_all:
            hint = closest(name, names)
            raise UserError(f"optimizer {call.name!r} has no argument {name!r}{hint}")
