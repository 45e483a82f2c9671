"""Choose the settings that depend on Ray's machines, and run the Tuner of a plan."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search import Searcher

from mnist_tune import object_storage
from mnist_tune.cache import cache_folder
from mnist_tune.data.task_data import LoopData
from mnist_tune.execution.process_setup import Shared, WorkerSettings
from mnist_tune.loop import Loop
from mnist_tune.own_code.loading import own_code
from mnist_tune.runtime.nodes import (
    NodeWatch,
    UnsavedCallback,
    check_nodes,
    is_nodes_death,
)
from mnist_tune.runtime.placement import (
    Placement,
    choose_placement,
    device_of_loops,
    find_device,
    refuse_unholdable,
    resources_of_nodes,
    trial_slots,
)
from mnist_tune.runtime.ray_private import (
    callbacks_uncounted,
    calls_let_go,
    deaths_counted,
    keeping_ids,
)
from mnist_tune.runtime.ray_session import (
    PENDING,
    TRIAL_SLOT,
    TRIALS,
    ended_by_signals,
    umask,
    variables,
)
from mnist_tune.storage import Place
from mnist_tune.terminal import announce, note
from mnist_tune.trial import own_id
from mnist_tune.tuning.early_stopping import Asha, RegimeStopping
from mnist_tune.tuning.opened import Opened
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.patience import Patience
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.recorder import Recorder
from mnist_tune.tuning.run import Run
from mnist_tune.tuning.searcher import KnownThenSearched, with_id
from mnist_tune.tuning.trainable import TrialTrainable


def fit(opened: Opened, plan: Plan, recorder: Recorder) -> None:
    """Run a plan to its end. Ray must be running. The data are handed to Ray, and the
    rows of the past are released, before the trials run."""
    options, writer = opened.options, opened.writer
    spec, reference = opened.data.spec, opened.data.held
    data = opened.take_data()
    loop = None
    if isinstance(data, LoopData):
        loop = data.loop
    if reference is None:
        reference = ray.put(data)
    del data  # the driver needs no copy
    shared = Shared(ray.put(own_code()), reference)
    gpus = options.gpus_per_trial or 0.0
    if loop:
        device = device_of_loops(options.quiet, gpus)
    else:
        device = find_device(options.quiet)
    cpus = cpus_of(plan, device.kind, options)
    refuse_unholdable(cpus, options.execution)
    writer.update_options(cpus_per_trial=cpus)
    settings = _worker_settings(opened, loop, gpus)
    check_nodes(writer.states, writer.token)
    # Where trials run follows from the nodes, which have to see the folder first.
    placement = choose_placement(
        list(plan.trials.values()),
        spec,
        settings,
        device,
        options.execution,
        options.lanes,
        cpus,
        options.trials_per_gpu,
    )
    if gpus:
        placement.resources["GPU"] = gpus
    tuner = make_tuner(opened, plan, placement, shared, recorder)
    # The schedulers have taken up the rows of before, which take much memory.
    opened.past.release()
    # A searcher that proposes early knows less. Trials that are known may wait.
    if plan.search_alg:
        pending = trial_slots(placement.resources)
    else:
        pending = max(4, int(ray.cluster_resources().get("CPU", 1)))
    try:
        bounds = variables(TRIALS | {PENDING: str(pending)})
        with (
            bounds,
            ended_by_signals(),
            callbacks_uncounted(),
            deaths_counted(is_nodes_death),
            calls_let_go(),
        ):
            tuner.fit()
    finally:
        if placement.settings.lanes:
            ray.kill(placement.settings.lanes)  # and with it the lane servers


def _worker_settings(opened: Opened, loop: Loop | None, gpus: float) -> WorkerSettings:
    """Return what the processes of trials are told, whose loop, if it is one, gets so
    many GPUs."""
    options = opened.options
    writer = opened.writer
    data_memory = None
    if options.data_memory is not None:
        data_memory = options.data_memory * 2**30
    best_by = None
    if options.keep_best:
        best_by = writer.record.data.ranking
    worker_umask = None
    if not options.cluster():
        worker_umask = umask()
    return WorkerSettings(
        writer.states,
        writer.token,
        cache_dir=str(cache_folder()),
        train_evaluation=options.evaluated,
        sharpness=options.measures(),
        report_every=options.report_every,
        save_every=options.save_every,
        best_by=best_by,
        hang_s=60 * options.hang_minutes,
        data_memory=data_memory,
        loop=loop,
        gpus=gpus,
        umask=worker_umask,
    )


def cpus_of(plan: Plan, device: str, options: SweepOptions) -> int:
    """Return the CPU cores per trial: `options.cpus_per_trial`, or by default all cores
    divided by the trials.

    The default is at most the cores of one node. If this machine has fewer cores than
    asked for, return these: a trial would wait for more forever. (A sweep may be
    resumed on a smaller machine.)
    """
    if not options.cpus_per_trial:
        nodes = [node.get("CPU", 0) for node in resources_of_nodes()]
        if device == "GPU" or not nodes:
            return 1
        share = min(sum(nodes) // plan.samples, max(nodes))
        return max(1, int(share))
    cores = int(ray.cluster_resources().get("CPU", 1))
    if options.cluster() or options.cpus_per_trial <= cores:
        return options.cpus_per_trial
    change = f"a trial gets {cores}, not {options.cpus_per_trial}"
    announce(note(f"this machine has {cores} cores, so {change}; last bits may differ"))
    return cores


def make_tuner(
    opened: Opened, plan: Plan, placement: Placement, shared: Shared, recorder: Recorder
) -> tune.Tuner:
    """Return the Tuner that runs a plan."""
    options = opened.options
    run = recorder.run
    filesystem, path = _tune_storage(opened.writer.tunes)
    # Ray may have been started with as many slots. Then Tune need not count.
    resources = dict(placement.resources)
    most = options.max_concurrent
    if ray.cluster_resources().get(TRIAL_SLOT, 0) == most:
        resources[TRIAL_SLOT] = 1
        most = None
    patience = None
    if options.patience:
        patience = Patience(options.patience, run, opened.writer.record.data)
    scheduler = keeping_ids(plan.scheduler, own_id)
    if scheduler is None:
        scheduler = _own_scheduler(opened, run)
    slots = trial_slots(resources)
    space, samples, search = _proposals(opened, plan, scheduler, recorder, slots)
    trainable = tune.with_parameters(
        TrialTrainable, shared=shared, settings=placement.settings
    )
    return tune.Tuner(
        tune.with_resources(trainable, resources),
        param_space={"trial": space},
        tune_config=tune.TuneConfig(
            scheduler=scheduler,
            search_alg=search,
            num_samples=samples,
            # A loop's process may not give back all of a GPU's memory.
            reuse_actors=not options.gpus_per_trial,
            time_budget_s=options.time_budget,
            max_concurrent_trials=most,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=path,
            storage_filesystem=filesystem,
            verbose=0,
            stop=patience,
            callbacks=[
                recorder,
                NodeWatch(options.quiet),
                OldCheckpoints(),
                *plan.callbacks,
            ],
            # A trial ends in an error once its process has died three times.
            failure_config=tune.FailureConfig(max_failures=2),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


def _proposals(
    opened: Opened, plan: Plan, scheduler: Any, recorder: Recorder, slots: int
) -> tuple[Any, int, Any]:
    """Return Tune's search space, how many trials it draws, and its searcher."""
    trials = plan.trials
    search = plan.search_alg
    if isinstance(search, Searcher):
        search = KnownThenSearched(
            trials, search, opened.past, slots, plan.samples, recorder.record
        )
        recorder.run.search = search
        return plan.space, plan.samples, search
    if isinstance(scheduler, PopulationBasedTraining) and trials:
        # It refuses searchers.
        grid = [with_id(trial_id, trial) for trial_id, trial in trials.items()]
        return tune.grid_search(grid), 1, search
    if trials:
        search = KnownThenSearched(trials)
    return plan.space, plan.samples, search


def _tune_storage(folder: Place) -> tuple[Any, str]:
    """Return the file system and the path of the folder that Tune writes to, by
    pyarrow. All else is written by obstore."""
    if isinstance(folder, str):
        return object_storage.filesystem_of(folder)
    return None, str(folder)


def _own_scheduler(opened: Opened, run: Run) -> Any:
    """Return the scheduler that the options name, which has taken up the past; None if
    they ask for none."""
    options = opened.options
    scheduler: Asha | RegimeStopping
    if options.scheduler == "fifo":
        return None
    if options.scheduler == "asha":
        scheduler = Asha(options.grace_period, run)
    else:
        facts = opened.writer.record.data
        scheduler = RegimeStopping(options.grace_period, run, facts)
    scheduler.replay()
    return scheduler


class OldCheckpoints(UnsavedCallback):
    """Keeps the newest checkpoint of each trial, and those that trials were told to go
    on from: at most two a trial.

    In population based training good trials are saved, and bad ones go on from there.
    Tune's own limit, `num_to_keep`, would delete what another trial is about to read,
    and write the state of the whole sweep with each deletion.
    """

    def __init__(self) -> None:
        self._there: dict[str, Any] = {}
        self._newest: dict[str, str] = {}

    def on_checkpoint(
        self,
        iteration: int,
        trials: list[Any],
        trial: Any,
        checkpoint: Any,
        **info: Any,
    ) -> None:
        self._there[checkpoint.path] = checkpoint
        self._newest[trial.trial_id] = checkpoint.path
        needed = set(self._newest.values())
        for other in trials:
            if other.checkpoint:
                needed.add(other.checkpoint.path)
        for path in self._there.keys() - needed:
            with suppress(OSError):  # it only takes space
                self._there.pop(path).filesystem.delete_dir(path)

    def on_trial_complete(
        self, iteration: int, trials: list[Any], trial: Any, **info: Any
    ) -> None:
        self._newest.pop(trial.trial_id, None)
