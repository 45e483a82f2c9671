"""A sweep as Ray Tune runs it: what is decided once Ray's machines are known, and the Tuner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import ray
from ray import tune

from mnist_tune import storage
from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import Dataset
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.device import find_device
from mnist_tune.runtime.nodes import NodeWatch
from mnist_tune.runtime.placement import Placement, choose_placement
from mnist_tune.runtime.ray_session import TRIAL_SLOT, TRIALS, few_pending_trials, interrupts_as_before, variables
from mnist_tune.runtime.shared_storage_check import check_nodes
from mnist_tune.terminal import announce
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.recorder import Recorder
from mnist_tune.tuning.searcher import KnownTrials, with_id
from mnist_tune.tuning.stopping import asha, keeping_ids
from mnist_tune.tuning.trainable import TrialTrainable


def fit(
    writer: SweepWriter,
    plan: Plan,
    data: list[Dataset],
    options: SweepOptions,
    rows: Sequence[Mapping[str, Any]],
    recorder: Recorder,
) -> None:
    """Runs a plan to its end. Ray runs.

    Args:
        writer: of the sweep's folder.
        plan: what Tune is asked to run.
        data: the data set, which is taken out of the list once Ray has it: the driver needs no copy.
        options: how to run it.
        rows: epochs that a sweep that goes on has recorded.
        recorder: receives every epoch and every end.
    """
    dataset = [ray.put(data.pop())]  # in a list: Tune and the clients of lanes hand it on unread
    device = find_device(options.quiet)
    cpus = cpus_of(plan, device.kind, options)
    writer.update_options(cpus_per_trial=cpus)
    settings = WorkerSettings(
        writer.states, writer.token, cache_dir=str(cache_folder()), train_evaluation=options.train_evaluation
    )
    check_nodes(writer.states, writer.token)
    placement = choose_placement(
        list(plan.trials.values()),
        settings,
        device,
        options.execution,
        options.lanes,
        cpus,
        options.trials_per_gpu,
    )
    tuner = make_tuner(writer, plan, options, placement, dataset, rows, recorder)
    try:
        # A searcher is asked for trials one at a time: it learns from those before.
        pending = nullcontext() if plan.search_alg else few_pending_trials()
        with variables(TRIALS), pending, interrupts_as_before():
            tuner.fit()
    finally:
        if placement.servers:
            placement.servers.stop()


MOST_DEATHS = 3
"""A trial whose processes died so many times ends in an error; Tune counts its retries."""


def cpus_of(plan: Plan, device: str, options: SweepOptions) -> int:
    """CPU cores a trial: those asked for, but on a Ray of our own no more than there are, of which a trial would wait
    for ever (a sweep may go on on a smaller machine); by default `default_cpus`."""
    if not options.cpus_per_trial:
        return default_cpus(plan, device)
    most = int(ray.cluster_resources().get("CPU", 1))
    if options.address is not None or options.cpus_per_trial <= most:
        return options.cpus_per_trial
    said = f"note: there are {most} cores, so a trial gets {most}, not {options.cpus_per_trial}"
    announce(f"{said}; last bits may differ", options.quiet)
    return most


def default_cpus(plan: Plan, device: str) -> int:
    """CPU cores a trial, where nobody said how many: all of them shared out, but no more than one node has."""
    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    if device == "GPU" or not nodes:
        return 1
    return min(plan.share_of(sum(nodes)), max(1, int(max(nodes))))


def asked(plan: Plan) -> dict[str, Any]:
    """The search space, searcher and number of samples that bring Tune to the trials of a plan."""
    if plan.in_a_grid:
        return {"space": tune.grid_search([with_id(*item) for item in plan.trials.items()]), "samples": 1}
    if plan.trials or plan.finished:
        search = KnownTrials(plan.trials, plan.search_alg, plan.finished)
        return {"space": plan.space, "samples": plan.samples, "search_alg": search}
    return {"space": plan.space, "samples": plan.samples, "search_alg": plan.search_alg}


def make_tuner(
    writer: SweepWriter,
    plan: Plan,
    options: SweepOptions,
    placement: Placement,
    dataset: Sequence[Any],
    rows: Sequence[Mapping[str, Any]],
    recorder: Recorder,
) -> tune.Tuner:
    """The Tuner of a plan."""
    tunes = storage.join(writer.where, ".ray")
    filesystem, tunes = storage.filesystem_of(tunes) if isinstance(tunes, str) else (None, str(tunes))
    slots = ray.cluster_resources().get(TRIAL_SLOT, 0) == options.max_concurrent
    ask, scheduler = asked(plan), keeping_ids(plan.scheduler)
    if scheduler is None and options.scheduler == "asha":
        scheduler = asha(plan.epochs, options.grace_period, rows)
    trainable = tune.with_parameters(TrialTrainable, dataset=dataset, settings=placement.settings)
    return tune.Tuner(
        tune.with_resources(trainable, placement.resources | ({TRIAL_SLOT: 1} if slots else {})),
        param_space={"trial": ask["space"]},
        tune_config=tune.TuneConfig(
            scheduler=scheduler,
            search_alg=ask.get("search_alg"),
            num_samples=ask["samples"],
            reuse_actors=True,
            time_budget_s=options.time_budget,
            max_concurrent_trials=None if slots else options.max_concurrent,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=tunes,
            storage_filesystem=filesystem,
            verbose=0,
            callbacks=[recorder, NodeWatch(options.quiet), *filter(None, [placement.servers])],
            failure_config=tune.FailureConfig(max_failures=MOST_DEATHS - 1),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
