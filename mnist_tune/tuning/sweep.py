"""Run a sweep or a search under Ray Tune, or resume one, and return its tables."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from mnist_tune.continuation import resume_command
from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData
from mnist_tune.errors import UserError
from mnist_tune.loop import Loop
from mnist_tune.numbers import counted
from mnist_tune.own_code.loading import load_own
from mnist_tune.own_code.registry import ENTRIES, register
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import (
    QUIET,
    failures_told_by_us,
    stop_ray,
    variables,
)
from mnist_tune.sweep import Sweep
from mnist_tune.training.task import Task
from mnist_tune.trial import MOST_TRIALS, TrialConfig
from mnist_tune.tuning.opened import Opened, Wanted, now
from mnist_tune.tuning.opening import open_sweep
from mnist_tune.tuning.options import (
    SweepOptions,
    refuse_several_tasks,
    refuse_too_many,
)
from mnist_tune.tuning.past import Past, additions, not_known
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.progress import LivePage, ProgressView
from mnist_tune.tuning.resuming import python_options


def run_sweep(
    name: str,
    trials: Sequence[TrialConfig] | TrialConfig | Mapping[str, Any],
    options: SweepOptions | None = None,
    callbacks: Sequence[Any] = (),
    task: Task | str | tuple[str, ...] | None = None,
    loop: Loop | str | tuple[str, ...] | None = None,
) -> Sweep:
    """Train these trials under Ray Tune, print the table unless `options.quiet`, and
    return the tables. Ray is left running for the next sweep of this process.

    Args:
        name: the name of the sweep. The results go to results/<name>/<time>, or to
            `options.output`.
        trials: the trials, in the order in which they start. Or fields of
            `TrialConfig`, each a value or a list: `{"learning_rate": [0.1, 0.2],
                "seed": [0, 1]}` are four trials. A seed then sets the batch order, too.
        options: how to run the sweep.
        callbacks: callbacks of Ray Tune, such as a logger. Results have the columns of
            `epochs` (docs/tables.md).
        task: what the trials train in place of their network: a `Task`, or the name of
            a function that makes one, as `options.task`; or several names, each with
            all trials.
        loop: likewise a `Loop`, or what names one or several, as `options.loop`.

    Returns:
        The sweep. After Ctrl-C or a spent time budget it holds the epochs trained so
        far; `stop_reason` says why.

    Raises:
        UserError: the trials or options are bad, the data can't be loaded, or the
            folder can't be written. Nothing has been started.
    """
    options = options or SweepOptions()
    if isinstance(trials, Mapping):
        trials = combinations(trials)
    if isinstance(trials, TrialConfig):
        trials = [trials]
    for trial in trials:
        if not isinstance(trial, TrialConfig):
            raise UserError(
                f"trials are TrialConfig(...), or fields of it with their values; got {trial!r}"
            )
    if not trials and options.resume is None:
        raise UserError("a sweep needs at least one trial; the list of values is empty")
    plan = Plan(callbacks=tuple(callbacks))
    for flag, own in (("task", task), ("loop", loop)):
        if own is not None:
            options = replace(options, **{flag: name_of_own(flag, own)})
    options = python_options(options)
    if options.own:
        trials = [
            replace(trial, architecture=own_name)
            for own_name in options.own
            for trial in trials
        ]
    load_own(*trials)

    def lacking(
        recorded: Mapping[str, TrialConfig], holdout: int | None
    ) -> dict[str, TrialConfig]:
        return additions(recorded, trials, holdout)

    sweep = _train(name, options, lacking, plan)
    return shown(sweep, options)


def name_of_own(flag: str, own: Any) -> Any:
    """Return the name of a task or a loop, which is registered by it unless it is a
    name."""
    if isinstance(own, Task):
        register(flag)(lambda: own)
        return flag
    if isinstance(own, Loop):
        register(flag)(own)
        ENTRIES[flag][flag].loop = own.without_code()
        return flag
    return own


def combinations(values: Mapping[str, Any]) -> list[TrialConfig]:
    """Return a trial of every combination of values, each a value alone or several.
    Raises `UserError`."""
    lists = list[list[Any]]()
    for value in values.values():
        if np.iterable(value) and not isinstance(value, str):
            lists.append(list(value))
        else:
            lists.append([value])
    refuse_too_many(math.prod(map(len, lists)), "combined")
    trials = []
    for combination in product(*lists):
        settings = dict(zip(values, combination, strict=True))
        settings.setdefault("data_seed", settings.get("seed", 0))
        trials.append(TrialConfig(**settings))
    return trials


def run_or_resume(options: Any) -> Sweep:
    """Run the sweep of a command, which trains `options.trials(recorded)`; none are
    recorded of a new one."""

    def lacking(
        recorded: Mapping[str, TrialConfig], holdout: int | None
    ) -> dict[str, TrialConfig]:
        return additions(recorded, options.trials(recorded.values()), holdout)

    return _train(options.NAME, options, lacking, Plan())


def _train(name: str, options: SweepOptions, lacking: Wanted, plan: Plan) -> Sweep:
    """Run a new sweep, or the one that the options resume, and return its tables. The
    plan has no trials; the other arguments are as in `open_sweep`."""
    opened = open_sweep(name, options, lacking)
    past = opened.past
    if past.is_resumed:
        done = past.ended.keys() - past.failed
        counts = f"{counted(len(past.open))} to train further, {len(done)} done"
        options.say(f"resuming {opened.writer.where}: {counts}")
    return run_plan(opened, replace(plan, trials=past.open))


def shown(sweep: Sweep, options: SweepOptions) -> Sweep:
    """Print a sweep's table unless `options.quiet`, or its object of JSON, and return
    the sweep."""
    if options.json:
        print(sweep.to_json())
    elif not options.quiet:
        sweep.table()
    return sweep


def run_search(
    name: str,
    space: Mapping[str, Any],
    samples: int,
    options: SweepOptions,
    scheduler: Any = None,
    search_alg: Any = None,
    callbacks: Sequence[Any] = (),
    resume: str | Path | None = None,
) -> Sweep:
    """Train trials that Tune proposes, print the table unless `options.quiet`, and
    return the tables.

    To resume an interrupted search, call this again with its folder as `resume`. Trials
    that had not ended continue with their latest values. The searcher learns the
    results of the others and proposes the missing trials. Options that are left out are
    as recorded.

    Args:
        name: as in `run_sweep`.
        space: fields of `TrialConfig`, each a value or one of Tune's distributions,
            such as `{"learning_rate": tune.loguniform(1e-3, 1)}`.
        samples: the number of trials; if fields are a `tune.grid_search`, that of each
            combination.
        options: as in `run_sweep`.
        scheduler: a Tune scheduler that replaces `options.scheduler`, such as
            population based training with `hyperparam_mutations={"trial":
            {"learning_rate": ...}}`, `metric="scheduler_loss"`, `mode="min"` and
            `time_attr="epoch"`.
        search_alg: a Tune searcher; by default values are drawn independently.
        callbacks: as in `run_sweep`.
        resume: the folder or URI of the search to resume; or `options.resume`.

    Returns:
        The sweep. In `epochs`, `learning_rate` is the rate that was used, also if a
        scheduler changed it.
    """
    from ray.tune.search import Searcher

    if samples < 1:
        raise UserError(f"a search needs at least one sample, got samples={samples}")
    if not (search_alg is None or isinstance(search_alg, Searcher)):
        raise UserError(
            f"search_alg takes a searcher of Ray Tune, and {search_alg!r} is none"
        )
    if resume:
        options = replace(options, resume=resume, output=None)
    options = python_options(options)
    plan = Plan({}, dict(space), samples, scheduler, search_alg, tuple(callbacks))
    return shown(search(name, plan, options), options)


def search(
    name: str, plan: Plan, options: SweepOptions, data: Dataset | TaskData | None = None
) -> Sweep:
    """Run a plan of which Tune proposes all trials, also those from before a resume,
    and return the tables. The data are loaded unless they are given."""
    from ray import tune

    from mnist_tune.tuning.searcher import check_metric, drawn, ends_of

    refuse_several_tasks(options)
    space = plan.space
    searcher = plan.search_alg
    if options.loop and plan.scheduler is not None:
        raise UserError(
            f"{type(plan.scheduler).__name__} may copy or pause states, which a loop keeps itself; use options.scheduler"
        )
    if options.own:
        space = {"architecture": tune.choice([*options.own])} | space
    # What it may propose is refused before anything starts.
    ends = ends_of(space, searcher is not None)
    # Without a searcher, all values are drawn now, so that all trials are recorded
    # before one runs.
    trials = list[TrialConfig]()
    if not searcher:
        trials += islice(drawn(space, plan.proposals), MOST_TRIALS + 1)
        refuse_too_many(len(trials), f"samples={plan.proposals}")
    load_own(*ends, *trials)

    def lacking(
        recorded: Mapping[str, TrialConfig], holdout: int | None
    ) -> dict[str, TrialConfig]:
        return not_known(recorded, trials, holdout)

    def check(template: TrialConfig) -> None:
        is_measured = options.measures() is not None
        for user in (plan.scheduler, searcher):
            check_metric(user, template, is_measured, options.rank_by)

    opened = open_sweep(
        name, options, lacking, SweepKind.SEARCH, ends, data=data, check=check
    )
    with opened.owned():
        past = opened.past
        if not searcher:
            plan = replace(plan, trials=past.open, space={}, proposals=0)
            return run_plan(opened, plan)
        # Proposals hold out as many as all others, unless the space says how many.
        space = {"holdout": opened.holdout} | space
        proposals = max(plan.proposals - len(past.trials), 0)
        plan = replace(plan, trials=past.open, space=space, proposals=proposals)
        return run_plan(opened, plan)


def run_searcher(
    opened: Opened, searcher_of: Callable[[SweepWriter, Past], Any], most: int
) -> Sweep:
    """Run the trials that a searcher proposes, at most so many with those before a
    resume."""
    from ray.tune.search import Searcher

    writer = opened.writer
    past = opened.past
    again = {
        trial_id: trial
        for trial_id, trial in past.open.items()
        if trial_id in past.retried
    }
    if not again:
        # Ray need not start if there is nothing to propose.
        proposal = searcher_of(writer, past).suggest("")
        if proposal == Searcher.FINISHED:
            return run_plan(opened, Plan())
    plan = Plan(
        trials=again,
        space={"epochs": opened.options.epochs},
        proposals=max(most - len(past.outcomes), 1),
        search_alg=searcher_of(writer, past),
    )
    return run_plan(opened, plan)


def run_plan(opened: Opened, plan: Plan) -> Sweep:
    """Run a plan under Ray Tune in an opened folder, and return the tables. However it
    ends, others may write the folder then. A resumed sweep that has nothing left to run
    keeps the time at which it ended."""
    options = opened.options
    writer = opened.writer
    past = opened.past
    if not plan.samples:
        ended = writer.record.ended or now()
        return Sweep.of(writer.finish(ended=ended))
    total = sum(trial.epochs_asked for trial in plan.trials.values())
    total += plan.proposals * plan.epochs
    done = sum(past.histories.last_epoch(trial_id) for trial_id in past.open)
    start = time.monotonic()
    again = f"no finished epoch is lost, resume with: {resume_command(writer.record, writer.where)}"
    killed = f"error: the sweep was killed, or Ray was stopped beside it; {again}"
    with opened.owned(), variables(QUIET), ExitStack() as context:
        context.enter_context(last_words(killed))
        if past.is_resumed:
            writer.record_resumption(now())
        view = context.enter_context(
            ProgressView(plan.samples, total, done, options.quiet)
        )
        # Import in a thread while Ray starts. Ray's processes die with the thread that
        # started them: the main thread.
        with ThreadPoolExecutor(1) as thread:
            imported = thread.submit(import_module, "mnist_tune.tuning.tuner")
            options.start_ray()
            imported.result()
        from mnist_tune.runtime.nodes import RayletDied
        from mnist_tune.tuning.recorder import Recorder, scheduler_name
        from mnist_tune.tuning.tuner import fit

        context.enter_context(failures_told_by_us())
        scheduler = scheduler_name(plan.scheduler, options.scheduler)
        recorder = Recorder(writer, view, plan.trials, past, scheduler)
        live = context.enter_context(LivePage(writer, options.say, view))
        try:
            fit(opened, plan, recorder)
        except RayletDied:
            stop_ray()  # before Ray ends this process
            raise UserError(f"Ray's raylet on this machine died; {again}") from None
        except Exception as error:
            # Tune wraps the writer's error in one with a traceback.
            raise writer.failure or error from None
        finally:
            reason = "interrupted"
            elapsed_s = time.monotonic() - start
            if options.time_budget is not None and elapsed_s >= options.time_budget:
                reason = "time_budget"
            recorder.close(reason)
            live.stop()
            sweep = Sweep.of(writer.finish(ended=now()))
            live.last(sweep)
    return sweep


def processes(options: SweepOptions) -> int:
    """Return how many trials run at a time."""
    from mnist_tune.runtime.placement import trial_slots

    slots = trial_slots({"CPU": options.cpus_per_trial or 1})
    return min(slots, options.max_concurrent or slots)


@contextmanager
def last_words(words: str) -> Iterator[None]:
    """Have a line printed if this process is killed meanwhile. Ray ends it without a
    message where `ray stop` ends Ray. A shell, in a session of its own, reads a pipe
    from this process, and prints the line if nothing more comes."""
    script = 'read -r said; read -r over || printf "%s\\n" "$said" >&2'
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True, text=True
    ) as shell:
        line = words.replace("\n", " ")
        print(line, file=shell.stdin, flush=True)
        try:
            yield
        finally:
            with suppress(OSError):  # somebody has killed it
                shell.communicate("over\n")
