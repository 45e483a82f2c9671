"""What can be said of a task and its optimisers before they train: of its functions,
their shapes, and one finite step on a few examples. A network is tried as the task that
trains it. A line names the function that is wrong, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import keystr, tree_leaves_with_path

from mnist_tune.columns import BELOW_1, COUNT, LOSS, MOST_SCORES, SCORE
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import DataSpec, TaskSpec
from mnist_tune.errors import UserError
from mnist_tune.training.architectures import architecture
from mnist_tune.training.architectures import task as made_task
from mnist_tune.training.classifier import classifier, logits_of
from mnist_tune.training.made_data import checksum, examples_of, len_of, made_data
from mnist_tune.training.optimizers import Step
from mnist_tune.training.program import Program, as_numbers
from mnist_tune.training.refusals import (
    check_effects,
    check_same,
    check_tuple,
    kind_of,
    short,
    tried,
)
from mnist_tune.training.schedule_check import check_schedule
from mnist_tune.training.task import Task
from mnist_tune.trial import TrialConfig

EXAMPLES = 8
"""The examples that a step is tried on."""

CALLS = {
    "init": "init(key)",
    "data": "data()",
    "loss": "loss(params, state, batch, key)",
    "score": "score(params, state, batch, key)",
    "step": "step(params, opt, state, batch, key, tx)",
}
"""How each function of a task is called."""

FIELDS = {
    "block": (COUNT, "how many examples are evaluated at a time, such as 256"),
    "guess": (LOSS, "a number, or leave it out"),
    "chance": (BELOW_1, "a share, 0 to 1, or leave it out"),
}
"""What the numbers of a task may be, and how that is said."""


def check_networks(
    trials: Sequence[TrialConfig], data: DataSpec, examples: Any
) -> None:
    """Try the networks and optimisers of some trials on a few examples. Raise a
    `UserError`, with what to do, if one of them can't train."""
    networks = dict.fromkeys((trial.architecture, trial.loss) for trial in trials)
    for name, loss in networks:
        network = architecture(name, data)
        task = classifier(network, data, loss)
        with _trying(f"architecture {name!r}"):
            params, state = _check_init(task)
            _check_step(task, params, state, examples)
            _check_scores(task, params, state, examples)
            if loss == "cross-entropy" and data.classes > 1:
                logits = _quickly(partial(logits_of, network, data))
                _refuse_probabilities(logits(params, state, examples[0]))
    _check_programs(trials, data, examples)


def check_tasks(
    names: Sequence[str], trials: Sequence[TrialConfig], train_images: int | None = None
) -> TaskData:
    """Try tasks with the optimisers of some trials, and return the data that they
    share. Raise a `UserError`, with what to do, if one of them can't train."""
    data, *further = [_check_task(name, trials, train_images) for name in names]
    for other in further:
        have_same_data = other.checksums == data.checksums
        if not have_same_data or other.spec.chance != data.spec.chance:
            pair = f"{names[0]!r} and {other.spec.name!r}"
            raise UserError(f"tasks {pair} differ in data or chance; sweep each alone")
        data = data.shared_with(other)
    count = len(data.spec.scores)
    if count > MOST_SCORES:
        counts = f"{count} beside loss; {MOST_SCORES} at most"
        raise UserError(f"task {data.spec.name!r}: score returned {counts}")
    return data


def _check_task(
    name: str, trials: Sequence[TrialConfig], train_images: int | None
) -> TaskData:
    task = made_task(name)
    with _trying(f"task {name!r}"):
        _check_fields(task)
        train, test, of_items = made_data(task)
        train = jax.tree.map(lambda x: x[:train_images], train)
        params, state = _check_init(task)
        _check_step(task, params, state, examples_of(train, EXAMPLES))
        block = _block_of(task, train, test)
        scores, of_blocks = _check_scores(task, params, state, block)
        judged_by_blocks = {"loss", "accuracy"}.intersection(of_blocks)
        guesses = {}
        if task.guess is not None:
            guesses[name] = float(task.guess)
        spec = TaskSpec(
            name,
            train_images=len_of(train),
            test_images=len_of(test),
            guesses=guesses,
            chance=plain(task.chance),
            scores=scores,
            own_step=task.step is not None,
        )
    of_task = [replace(trial, architecture=name) for trial in trials]
    _check_programs(of_task, spec, train)
    sums = {"train": checksum(train), "test": checksum(test)}
    whole = 0
    if judged_by_blocks:
        whole = task.block
    return TaskData(
        spec,
        train,
        test,
        sums,
        whole,
        task.block,
        shared=scores,
        of_blocks=of_blocks,
        of_items=of_items,
    )


def _block_of(task: Task, train: Any, test: Any) -> Any:
    """Return a block of examples, half of them of each part: a score may depend on how
    many are evaluated at a time."""
    size = min(task.block, len_of(train) + len_of(test))
    halves = examples_of(train, (size + 1) // 2), examples_of(test, size // 2)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *halves)


@contextmanager
def _trying(what: str) -> Iterator[None]:
    """Have errors name what is tried. It runs on the CPU."""
    cpu = jax.local_devices(backend="cpu")[0]
    with jax.default_device(cpu):
        try:
            yield
        except UserError as error:
            raise UserError(f"{what}: {error}") from error


def _check_fields(task: Task) -> None:
    """Raise a `UserError` if a field of a task has another type, or lacks another one.
    What is no function is told where it is called."""
    for name, (kind, remedy) in FIELDS.items():
        value = plain(getattr(task, name))
        default = getattr(Task, name)
        if value != default and not kind.holds(value):
            raise UserError(f"{name} is {short(repr(value))}; give {remedy}")
    if isinstance(task.split, str):
        raise UserError(f"split is {task.split!r}; give a tuple, ({task.split!r},)")
    if task.split and task.step is None:
        raise UserError(
            "split is for tasks with a step of their own; give step, or leave split out"
        )
    if task.step is not None and task.score is None:
        how = f"give {CALLS['score']}"
        raise UserError(f"with step, score says how good it is; {how}")


def plain(value: Any) -> Any:
    """Return a number of NumPy or JAX as one of Python."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def _check_init(task: Task) -> tuple[Any, Any]:
    """Return the initial parameters and state."""
    key = jax.random.key(0)
    variables = tried(CALLS["init"], task.init, key)
    again = tried(CALLS["init"], task.init, key)
    check_tuple("init", "params, state", variables)
    params, state = variables
    _check_leaves(params, are_parameters=True)
    _check_leaves(state, are_parameters=False)
    if checksum(again) != checksum(variables):
        raise UserError("init returns other values for the same key; draw from its key")
    has_split = isinstance(params, dict) and params.keys() >= {*task.split}
    if task.split and not has_split:
        names = ", ".join(task.split)
        raise UserError(f"split names {names}; init must return params with these keys")
    return params, state


def _check_leaves(tree: Any, are_parameters: bool) -> None:
    """Raise a `UserError` if what `init` returned holds anything but arrays, or such as
    can't be trained."""
    leaves = tried("taking apart what init returned", tree_leaves_with_path, tree)
    if are_parameters and not leaves:
        raise UserError(
            "init returned no array; return the parameters, a tree of arrays"
        )
    for path, leaf in leaves:
        what = f"init returned {keystr(path) or 'a leaf'}, which is {kind_of(leaf)}"
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
            how = "return arrays only, jnp.asarray(x)"
            if "equinox" in sys.modules:
                how += "; with Equinox, return eqx.partition(model, eqx.is_array)[0]"
            raise UserError(f"{what}; {how}")
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise UserError(f"{what}; take the key that each step gets instead")
        is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
        if are_parameters and not is_float:
            how = "parameters are floats, other values belong in the state"
            raise UserError(f"{what}; {how}")
        # infinity may stand for the least loss of a state so far
        may_be_nan = jnp.issubdtype(leaf.dtype, jnp.inexact)
        if may_be_nan and np.isnan(leaf).any():
            raise UserError(f"{what}, and holds NaN before training")


def _traced(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the shapes and types of what a function returns. Raise a `UserError` if it
    can't be traced, or is another one each time that it is."""
    versions = set()
    for _ in range(2):
        # a new function, since JAX caches traces by function
        jitted = jax.jit(lambda *values: function(*values))
        trace = tried(CALLS[name], jitted.trace, *arguments)
        check_effects(name, trace.jaxpr)
        constants = as_numbers(trace.jaxpr.consts)
        versions.add((str(trace.jaxpr), checksum(constants)))
    if len(versions) > 1:
        raise UserError(
            f"{name} is another function each time; "
            "draw from its key, and keep what changes in the state"
        )
    return trace.out_info


def _quickly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is compiled quickly, to slow code."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def _check_step(task: Task, params: Any, state: Any, examples: Any) -> None:
    """Try `step`, or else `loss` and its gradient, on a few examples."""
    function: Any = task.loss
    before = {"params": params, "state": state}
    name, returns = "loss", "loss, state"
    if task.step is not None:
        tx = optax.sgd(0.1)
        function = _with_optimizer(task.step, tx)
        before = {"params": params, "opt": task.begun(tx, params), "state": state}
        name, returns = "step", "params, opt, state, loss"
    batch = jax.tree.map(jnp.asarray, examples)
    arguments = (*before.values(), batch, jax.random.key(1))
    # what it returns, without running it
    kinds = _traced(name, function, *arguments)
    check_tuple(name, returns, kinds)
    returned = dict(zip(returns.split(", "), kinds, strict=True))
    loss = returned.pop("loss")
    is_scalar = getattr(loss, "shape", None) == ()
    is_mean = is_scalar and jnp.issubdtype(loss.dtype, jnp.floating)
    if not is_mean:
        raise UserError(
            f"{name} must return the mean over the batch, a float, "
            f"it returned {kind_of(loss)}; use .mean()"
        )
    for part, tree in returned.items():
        check_same(f"{name} returned another {part} than it got", tree, before[part])
    if task.step is None:
        _check_gradient(function, *arguments)
        return
    *_, loss = tried(CALLS[name], _quickly(function), *arguments)
    _check_finite(loss)


def _check_gradient(loss_of: Callable[..., Any], params: Any, *arguments: Any) -> None:
    """Raise a `UserError` if the gradient of `loss` is not finite, or is 0."""
    call = CALLS["loss"]
    slope_of = _quickly(jax.value_and_grad(loss_of, has_aux=True))
    (loss, _), slope = tried(call, slope_of, params, *arguments)
    _check_finite(loss)
    # with NumPy: JAX would compile each operation
    slopes = [np.asarray(leaf) for leaf in jax.tree.leaves(slope)]
    are_finite = [np.isfinite(leaf).all() for leaf in slopes]
    if not all(are_finite):
        raise UserError(
            "loss has a gradient that is NaN or infinite; "
            "jnp.sqrt and jnp.linalg.norm have one at 0"
        )
    # at zeros, the gradient of a network that learns may be 0
    moved = jax.tree.map(_moved, params)
    _, moved_slope = tried(call, slope_of, moved, *arguments)
    slopes += jax.tree.leaves(moved_slope)
    if not any(np.any(leaf) for leaf in slopes):
        raise UserError(
            "loss has a gradient of 0; "
            "it must depend on params, not by argmax or comparisons alone"
        )


def _moved(x: Any) -> Any:
    return np.asarray(x) + x.dtype.type(0.125)


def _with_optimizer(step: Callable[..., Any], tx: Any) -> Callable[..., Any]:
    return lambda *arguments: step(*arguments, tx)


def _check_finite(loss: jax.Array) -> None:
    if not np.isfinite(loss):
        raise UserError(
            f"the loss is {float(loss)} for untrained parameters; "
            "scale the data (a network's: --standardize), or the initial parameters"
        )


def _check_scores(
    task: Task, params: Any, state: Any, examples: Any
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a task's scores beside loss and accuracy, and of those that
    are of whole blocks."""
    name = "loss"
    if task.score:
        name = "score"
    batch = jax.tree.map(jnp.asarray, examples)
    arguments = params, state, batch, jax.random.key(1), jnp.int32(0)
    kinds = _traced(name, task.scores, *arguments)
    _check_score_kinds(name, kinds, len_of(batch))
    values = tried(CALLS[name], _quickly(task.scores), *arguments)
    _check_score_values(name, values, task.chance)
    own = [score for score in kinds if score not in ("loss", "accuracy")]
    of_blocks = [score for score, kind in kinds.items() if kind.shape == ()]
    return tuple(own), tuple(of_blocks)


def _check_score_kinds(name: str, kinds: dict[str, Any], size: int) -> None:
    """Raise a `UserError` if the scores of `size` examples have other names or shapes
    than they may have."""
    if "loss" not in kinds:
        scores = ", ".join(kinds) or "nothing"
        raise UserError(f"{name} returned {scores}; its dictionary needs 'loss'")
    for score, kind in kinds.items():
        if not SCORE.holds(score):
            raise UserError(
                f"{name} returned {score!r:.60}; a score's name has {SCORE.wanted}"
            )
        shape = getattr(kind, "shape", None)
        if shape not in ((), (size,)):
            raise UserError(
                f"{name} must return {score} as [n] for a batch of n examples, "
                "or a scalar for the whole batch; "
                f"for {size} examples it returned {kind_of(kind)}"
            )


def _check_score_values(
    name: str, values: dict[str, Any], chance: float | None
) -> None:
    """Raise a `UserError` if scores are not what an untrained task may have."""
    if not np.isfinite(values["loss"]).all():
        raise UserError(
            f"{name} returned NaN or infinity for untrained parameters; "
            "mend or scale data or parameters"
        )
    if chance is not None and "accuracy" not in values:
        raise UserError(
            f"{name} returns no accuracy, whose chance is given; "
            "return {'loss': …, 'accuracy': …}"
        )
    accuracy = np.asarray(values.get("accuracy", 0), np.float32)
    # up to rounding
    are_shares = (accuracy >= 0) & (accuracy < 1.01)
    if not are_shares.all():
        raise UserError(
            f"{name} returned accuracies up to {accuracy.max():.4g}; "
            "give shares, 0 to 1, or True and False"
        )


def _refuse_probabilities(logits: Any) -> None:
    """Raise a `UserError` if a network returns probabilities in place of logits."""
    logits = np.asarray(logits, np.float32)
    sums_to_1 = np.allclose(logits.sum(-1), 1, atol=1e-3)
    are_positive = logits >= 0
    if sums_to_1 and are_positive.all():
        raise UserError(
            "apply returned probabilities, which sum to 1; "
            "return logits, without the softmax"
        )


def _check_programs(
    trials: Iterable[TrialConfig], data: DataSpec | TaskSpec, examples: Any
) -> None:
    """Try each network or task with each optimiser and schedule."""
    different = {}
    for trial in trials:
        # a schedule counts calls of `tx.update`, which may depend on the batch size
        is_scheduled = trial.schedule != "constant" or trial.warmup_steps > 0
        size = None
        if is_scheduled:
            size = trial.batch_size
        step = Step.of(trial, data.train_images - trial.held_out)
        different[trial.architecture, trial.loss, step, size] = trial
    for trial in different.values():
        with _trying(f"{data.flag} {trial.architecture!r}"):
            _check_program(trial, data, examples)


def _check_program(
    config: TrialConfig, data: DataSpec | TaskSpec, examples: Any
) -> None:
    """Trace an epoch of one batch: what a task or an optimiser can't do with traced
    values shows here."""
    what = f"a step with optimizer {config.optimizer!r}"
    data_of_step = jax.tree.map(lambda x: jnp.asarray(x[:EXAMPLES]), examples)

    def run() -> None:
        program = Program.of(config, data)
        values = program.step.hyperparameters(config, steps=1)
        hyper = {name: jnp.float32(value) for name, value in values.items()}
        # with fewer examples than a batch has, they come again
        numbers = jnp.arange(program.batch_size, dtype=jnp.int32)
        order = numbers % len_of(data_of_step)
        key = jnp.zeros(2, jnp.uint32)
        arguments = hyper, key, data_of_step, order
        trace = jax.make_jaxpr(program.train_epoch)
        check_effects(what, trace(program.shapes, *arguments))
        check_schedule(config, program, *arguments)

    hint = (
        "the learning rate and the gradients are traced, as one program trains "
        "all rates: jnp.where, or --schedule and --warmup-steps"
    )
    tried(what, run, hint=hint)
