"""The data of a sweep: loaded, or made by its tasks, which are tried in a process of
their own; or what its loops say of theirs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import LoopData, TaskData
from mnist_tune.data_spec import DataSpec, LoopSpec
from mnist_tune.errors import UserError
from mnist_tune.named_code import parse_call
from mnist_tune.own_code.loading import own_code, register_own
from mnist_tune.own_code.registry import ENTRIES
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.storage import Place
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import SweepOptions, refuse_useless

EXAMPLES = 8
"""The examples on which networks are tried."""


def load_data(
    options: Any,
    trials: Sequence[TrialConfig],
    sweep: Sweep | None = None,
    here: bool = False,
) -> Dataset | TaskData:
    """Load the data that a `Data` of options names, or have its tasks make them, once
    they were tried with the optimisers of some trials; Ray holds them then. JAX does
    not start in this process, which may fork.

    With `here`, for which `options` need not be of a sweep, networks or tasks are tried
    in this process. Raises `UserError` if the data can't be loaded, differ from those
    of another `sweep`, or what is tried can't train."""
    data: Dataset | TaskData
    refuse_useless(options)
    if options.loop:
        data = loop_data(options)
    elif not options.task:
        data = options.load()
    else:
        arguments = options.task, trials, options.train_images
        data = _made_here(*arguments) if here else _made_apart(options, *arguments)
    if sweep:
        refuse_other_data(data, sweep.path, sweep.record)
    if here and isinstance(data, Dataset):
        _try_networks(trials, data.spec, _few(data))
    return data


def loop_data(options: SweepOptions) -> LoopData:
    """Return what is known of the data of a loop. Raises `UserError` if there is no
    such loop, or several are named."""
    calls = [parse_call(text) for text in options.loop]
    name = calls[0].name
    loop = getattr(ENTRIES["loop"].get(name), "loop", None)
    if loop is None:
        raise UserError(f"--loop {name}: there is none; name a FILE.py:LOOP")
    for call in calls:
        if call.name != name or call.arguments:
            raise UserError(
                f"--loop {call.name}: name one loop, and its arguments by their names, as in {name}(width=64)"
            )
    guesses = {}
    if loop.guess is not None:
        guesses = dict.fromkeys(options.loop, loop.guess)
    spec = LoopSpec(
        name,
        train_images=(loop.train_examples or 1) + (loop.validation_examples or 0),
        test_images=loop.test_examples or loop.held_out or 1,
        guesses=guesses,
        chance=loop.chance,
        scores=loop.scores,
    )
    return LoopData(spec, shared=loop.scores, target=options.target, loop=loop)


def refuse_other_data(data: Dataset | TaskData, path: Place, record: SweepMeta) -> None:
    """Raise a `UserError` if these are not the data that a sweep was trained on."""
    if data.checksums != record.dataset["checksums"]:
        name = record.dataset["name"]
        raise UserError(f"{path} was trained on other data ({name}); {GIVE_DATA}")


GIVE_DATA = (
    "give it with --dataset or --data-dir, "
    "or from Python with SweepOptions(dataset=...)"
)


def _made_here(
    names: Sequence[str], trials: Sequence[TrialConfig], train_images: int | None
) -> TaskData:
    from mnist_tune.training.check import check_tasks  # imports JAX

    return check_tasks(names, trials, train_images)


def _made_apart(
    options: SweepOptions,
    names: Sequence[str],
    trials: Sequence[TrialConfig],
    train_images: int | None,
) -> TaskData:
    """Return the data of tasks without the examples, which Ray holds."""
    options.start_ray()
    is_measured = options.measures() is not None
    without_examples, held = apart(
        _made_with_size, is_measured, names, trials, train_images, returns=2
    )
    data: TaskData = returned(without_examples)[0]
    return replace(data, held=held)


def _made_with_size(
    is_measured: bool,
    names: Sequence[str],
    trials: Sequence[TrialConfig],
    train_images: int | None,
) -> tuple[TaskData, TaskData]:
    """Return the data of tasks without the examples, and with them. They say how much
    memory a lane takes, if sharpness is measured or not."""
    from mnist_tune.execution.executor import lane_bytes
    from mnist_tune.training.program import Program

    data = _made_here(names, trials, train_images)
    programs = {
        Program.of(replace(trial, architecture=name), data.spec)
        for trial in trials
        for name in names
    }
    spec = replace(data.spec, lane_bytes=lane_bytes(programs, is_measured))
    data = replace(data, spec=spec)
    return replace(data, train=None, test=None), data


def check_networks(trials: Sequence[TrialConfig], data: Dataset) -> None:
    """Try the networks and optimisers of some trials on a few examples. Ray must be
    running. Raises `UserError` if one of them can't train on this data."""
    returned(apart(_try_networks, trials, data.spec, _few(data)))


def _few(data: Dataset) -> tuple[Any, Any]:
    return data.train_images[:EXAMPLES], data.train_labels[:EXAMPLES]


def _try_networks(
    trials: Sequence[TrialConfig], data: DataSpec, examples: tuple[Any, Any]
) -> None:
    from mnist_tune.training.check import check_networks  # imports JAX

    check_networks(trials, data, examples)


def apart(function: Callable[..., Any], *arguments: Any, returns: int = 1) -> Any:
    """Have a function called that needs JAX, in a process of Ray's that ends with it:
    JAX in this one would take a GPU's memory. Arguments that Ray holds are fetched
    there. Return Ray's reference to what it returns, or one for each of several
    things."""
    import ray

    remote = ray.remote(num_cpus=1, max_calls=1, num_returns=returns)(_apart).remote
    return remote(own_code(), returns, function, arguments)


def _apart(
    code: Any, returns: int, function: Callable[..., Any], arguments: Sequence[Any]
) -> Any:
    import ray

    os.environ["JAX_PLATFORMS"] = "cpu"
    from mnist_tune.training.convolutions_in_loops import speed_up_convolutions

    speed_up_convolutions()
    register_own(code)
    try:
        # Only now, since the types of a task's batch may be the user's own. Ray fetches
        # no references in a tuple.
        values = []
        for argument in arguments:
            if isinstance(argument, ray.ObjectRef):
                argument = ray.get(argument)
            values.append(argument)
        return function(*values)
    except UserError as error:  # if it were raised, Ray would print a traceback
        if returns == 1:
            return error
        return [error] * returns


def returned(*calls: Any) -> list[Any]:
    """Return what `apart` has returned. Raises the `UserError` of the first call that
    raised one."""
    import ray

    answers: list[Any] = ray.get([*calls])
    for answer in answers:
        if isinstance(answer, UserError):
            raise answer
    return answers
