"""The choice of lanes or processes, and the CPUs, GPUs and memory of a trial."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import forks
import pytest
import ray
from kept_texts import assert_kept
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.util.placement_group import placement_group, remove_placement_group
from waiting import LONG_S

from mnist_tune import SweepOptions, TrialConfig, UserError, run_search, run_sweep
from mnist_tune.data_spec import DataSpec, TaskSpec
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.runtime import placement
from mnist_tune.runtime.placement import (
    Device,
    choose_placement,
    lanes_that_fit,
    trial_slots,
)
from mnist_tune.runtime.ray_private import own_parameters
from mnist_tune.runtime.ray_session import QUIET, variables
from mnist_tune.tuning import opening, tuner
from mnist_tune.tuning.plan import Plan

SETTINGS = WorkerSettings("states")
CPU, GPU = Device("CPU", 1e9), Device("GPU", 1e9)
DATA = DataSpec("mnist", (28, 28), (6_000,) * 10, 10_000)
TRIALS = [TrialConfig(architecture="mlp-8-tanh")]


@pytest.fixture
def servers(monkeypatch):
    """Record the directories that are started, without starting any, on a cluster of 8
    cores and 2 GPUs."""
    started = []

    def start(*arguments):
        started.append(arguments)
        return "D"

    monkeypatch.setattr(placement, "start_directory", start)
    monkeypatch.setattr(
        ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0, "memory": 8e9}
    )
    return started


LANE = 4 * (784 * 8 + 8 + 8 * 10 + 10)
"""Bytes of the network of `TRIALS`."""

MACHINES = {
    "8 cores": {"CPU": 8.0, "memory": 8e9},
    "8 cores and 2 GPUs": {"CPU": 8.0, "GPU": 2.0, "memory": 8e9},
}
ASKED: list[dict[str, Any]] = [
    {},
    {"execution": "process"},
    {"execution": "lanes"},
    {"execution": "lanes", "lanes": 3},
    {"cpus_per_trial": 3},
    *(
        {"execution": "process", "trials_per_gpu": count, "cpus_per_trial": 2}
        for count in (3, 7)
    ),
    {"trials": [], "execution": "lanes", "lanes": 10**6},
    *(
        {"execution": "lanes", "memory": 40.5 * LANE, "lanes": lanes}
        for lanes in (None, 10, 11)
    ),
    {"execution": "lanes", "memory": 3.5 * 44 * LANE},
    {"execution": "lanes", "memory": 3.5 * 44 * LANE, "sharpness": SharpnessSettings()},
    {"execution": "lanes", "memory": 1.0},
    {"execution": "lanes", "memory": 1.0, "lanes": 4},
]


def placed_as(placed, settings):
    """Return the resources of a placement, and which settings it changed."""
    before = vars(settings)
    after = vars(placed.settings)
    changed = {name: after[name] for name in before if after[name] != before[name]}
    return f"{placed.resources} {changed}"


def test_where_trials_are_placed(servers, monkeypatch):
    """Settings that are as before are left out."""
    lines = []
    for machine, resources in MACHINES.items():
        monkeypatch.setattr(
            ray, "cluster_resources", lambda resources=resources: resources
        )
        for changed in ASKED:
            options = {
                "trials": TRIALS,
                "memory": 1e9,
                "execution": "auto",
                "sharpness": None,
            } | changed
            trials = options.pop("trials")
            memory = options.pop("memory")
            sharpness = options.pop("sharpness")
            kind = "GPU" if "GPU" in resources else "CPU"
            device = Device(kind, memory)
            settings = replace(SETTINGS, threads=9, sharpness=sharpness)
            try:
                placed = choose_placement(trials, DATA, settings, device, **options)
                outcome = placed_as(placed, settings)
            except UserError as error:
                outcome = str(error)
            for own, *rest in servers:
                outcome += f" directory {(own.threads, *rest)}"
            shown = dict(changed)
            if "memory" in shown:
                shown["memory"] = f"{memory / LANE:.1f} networks"
            line = f"{machine}, {shown}: {outcome}"
            lines.append(line.replace("SharpnessSettings", ""))
            servers.clear()
    assert_kept("placed", "\n".join(lines) + "\n")


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


BIG = {"CPU": 8.0, "GPU": 1.0}
CLUSTERS = {
    "two nodes": [node(CPU=2.0), node(CPU=4.0), node(alive=False, CPU=64.0)],
    "one has a GPU": [node(CPU=4.0, GPU=1.0), node(CPU=8.0)],
    "none yet": [node()],
    "several": [
        node(CPU=8.0, GPU=2.0, trial_slot=2.0),
        node(CPU=3.0),
        node(CPU=2.0),
        node(False, CPU=64.0),
        node(),
    ],
}
SLOTS: list[dict[str, float]] = [
    {"CPU": 1},
    {"CPU": 2},  # a trial has its cores on one node
    {"CPU": 0.25},
    {"CPU": 1, "GPU": 0.3333},
    {"CPU": 1, "GPU": 0.1},
    {"CPU": 4, "GPU": 1},
    {"CPU": 1, "GPU": 0, "trial_slot": 1},
    {"CPU": 0.1},
    {"CPU": 9},  # Ray waits for a node that holds it
]


def cores_of(count, device="CPU", **options):
    """Return the cores of each of so many trials, which are known or will be
    proposed."""
    plans = Plan({str(i): TrialConfig() for i in range(count)}), Plan(proposals=count)
    [cores] = {tuner.cpus_of(plan, device, SweepOptions(**options)) for plan in plans}
    return cores


@pytest.mark.promise("Trials that ask for more cores than any node has are refused")
def test_what_the_nodes_of_a_cluster_hold(monkeypatch, capsys):
    lines = []
    for name, nodes in CLUSTERS.items():
        monkeypatch.setattr(ray, "nodes", lambda nodes=nodes: nodes)
        monkeypatch.setattr(
            ray, "cluster_resources", lambda nodes=nodes: nodes[0]["Resources"]
        )
        lines += ["", f"--- {name}"]
        for kinds, cpus, execution in product(
            ([], [BIG]), (None, 4, 5), ("auto", "process", "lanes")
        ):
            monkeypatch.setattr(placement, "kinds_of_nodes", lambda kinds=kinds: kinds)
            try:
                placement.refuse_unholdable(cpus, execution)
            except UserError as error:
                lines.append(f"{kinds} can be started, {execution}: {error}")
        lines.append(
            f"at once of each of the slots: {[trial_slots(slots) for slots in SLOTS]}"
        )
        lines.append(
            f"cores of 1, 2, 3 and 1000 trials: {[cores_of(count) for count in (1, 2, 3, 1000)]}"
        )
        lines.append(f"cores of 1 on a GPU: {cores_of(1, 'GPU')}")
        for wanted_cores, address in product((2, 4), (None, "10.0.0.1:6379")):
            cores = cores_of(2, cpus_per_trial=wanted_cores, address=address)
            printed = {*capsys.readouterr().err.splitlines()}
            lines.append(
                f"cores of 2 with {wanted_cores} asked for at {address}: {cores} {' '.join(printed)}".strip()
            )
    assert_kept("held by nodes", "\n".join(lines) + "\n")


NO_DEVICE = """
from mnist_tune import DataSpec, TrialConfig
from mnist_tune.training.architectures import architecture
from mnist_tune.runtime.placement import Device
from mnist_tune.runtime.placement import lanes_that_fit
data = DataSpec("mnist", (28, 28), (6_000,) * 10, 10_000)
for name in ("mlp-1024-128-tanh", "stax-mlp", "convnet"):
    architecture(name, data)
    print(lanes_that_fit([TrialConfig(architecture=name, momentum=0.9)], data, None, Device("GPU", 1e9), False))
"""


def test_lanes_are_counted_without_a_device():
    """The driver must not start JAX on a GPU: JAX would take most of the memory from
    the trials."""
    command = [sys.executable, "-c", NO_DEVICE]
    environment = os.environ | {"JAX_PLATFORMS": "none_that_exists"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=LONG_S
    )
    assert done.stdout == "33\n33\n48\n", done.stderr


def test_more_lanes_of_a_task_than_fit_are_refused():
    task = TaskSpec("t.py:net", 100, 10, lane_bytes=10**9)
    assert lanes_that_fit([], task, None, Device("GPU", 4.5e9), False) == 4
    with pytest.raises(
        UserError,
        match="--lanes 5 does not fit into the memory of a GPU; --lanes 4 does",
    ):
        lanes_that_fit([], task, 5, Device("GPU", 4.5e9), False)


@pytest.fixture(scope="module")
def started_with_two_gpus():
    ray.shutdown()
    with variables(QUIET), own_parameters(dashboard=False), forks.workers():
        ray.init(
            address="local",
            num_cpus=3,
            num_gpus=2,
            include_dashboard=False,
            log_to_driver=False,
        )
    yield
    ray.shutdown()


@pytest.fixture
def two_gpus(started_with_two_gpus):
    """A Ray that was told of two GPUs. JAX is installed for CPUs, so it finds none."""
    placement._gpu_memory.cache_clear()


@pytest.fixture
def gpus_that_train(two_gpus, monkeypatch):
    """Pretend that JAX can use the GPUs. What is placed on them still trains on
    CPUs."""
    for module in (placement, tuner):
        monkeypatch.setattr(module, "find_device", lambda quiet: GPU)


def small(*rates, **fields):
    return [
        TrialConfig(architecture="mlp-8-tanh", learning_rate=rate, **fields)
        for rate in rates
    ]


@pytest.mark.ray
@pytest.mark.parametrize("execution", ["auto", "process"])
def test_gpus_that_jax_cannot_use_are_one_warning(
    two_gpus, tmp_path, capsys, execution
):
    options = SweepOptions(dataset="mnist-5k", output=tmp_path, execution=execution)
    done = run_sweep("gpu", small(0.1, epochs=1), options)
    assert list(done.trials["stop_reason"]) == ["completed"]
    assert done.meta["options"]["cpus_per_trial"] == 3
    [warning] = [
        line for line in capsys.readouterr().err.splitlines() if "warning" in line
    ]
    assert "'jax[cuda12]'" in warning


@pytest.mark.ray
def test_a_node_and_a_free_gpu_are_waited_for(two_gpus, monkeypatch, capsys):
    # at first no CPUs, as on a head without nodes
    resources, at_first = ray.cluster_resources(), [{}]
    monkeypatch.setattr(
        ray, "cluster_resources", lambda: at_first.pop() if at_first else resources
    )
    assert placement.find_device(quiet=False).kind == "CPU"
    assert (
        "no node that trains is up; waiting for the cluster to start one"
        in capsys.readouterr().err
    )
    placement._gpu_memory.cache_clear()
    group = placement_group([{"CPU": 3, "GPU": 2}])
    ray.get(group.ready())
    monkeypatch.setattr(placement, "PROBE_TIMEOUT_S", 1.0)
    with pytest.raises(UserError, match="no GPU of the cluster was free within 1 s"):
        placement.find_device(quiet=True)
    monkeypatch.setattr(placement, "NODE_TIMEOUT_S", 1.0)
    at_first.append({})
    with pytest.raises(UserError, match="the cluster started no node within 1 s"):
        placement.find_device(quiet=True)
    remove_placement_group(group)


@pytest.mark.ray
def test_the_memory_of_a_gpu_is_asked_for_once(two_gpus, tmp_path, monkeypatch):
    def tell():
        with (tmp_path / "asked").open("a") as file:
            file.write("once")
        return 5e9

    monkeypatch.setattr(placement, "_memory_by_jax", tell)
    assert (
        placement.find_device(quiet=True)
        == placement.find_device(quiet=True)
        == Device("GPU", 4e9)
    )
    assert (tmp_path / "asked").read_text() == "once"


ENDLESS = {"architecture": "mlp-8-tanh", "epochs": 1_000_000}


class Together(FIFOScheduler):
    """Stops every trial once `count` trials have reported, so they must run at the same
    time."""

    def __init__(self, count):
        super().__init__()
        self.count, self.reported = count, set()

    def on_trial_result(self, tune_controller, trial, result):
        self.reported.add(trial.trial_id)
        return (
            TrialScheduler.STOP
            if len(self.reported) == self.count
            else TrialScheduler.CONTINUE
        )


@pytest.mark.ray
@pytest.mark.parametrize("lanes", [2, 4])
def test_no_gpu_is_idle_while_there_are_lanes_for_it(
    gpus_that_train, tmp_path, monkeypatch, lanes
):
    idle_gpus, kill = [], ray.kill

    def look_and_kill(actor):
        idle_gpus.append(ray.available_resources().get("GPU", 0))
        kill(actor)

    monkeypatch.setattr(ray, "kill", look_and_kill)
    options = SweepOptions(
        dataset="mnist-5k", output=tmp_path, lanes=lanes, quiet=True, time_budget=90.0
    )
    done = run_search("lanes", ENDLESS, 4, options, Together(4))
    assert list(done.trials["stop_reason"]) == ["together"] * 4
    assert set(idle_gpus) == {0}  # Tune may kill an actor, too, that is slow to end


def test_a_fixed_cluster_is_asked_before_anything_starts(
    monkeypatch, mnist_5k, tmp_path
):
    monkeypatch.setattr(
        placement.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}]
    )
    monkeypatch.setattr(placement, "kinds_of_nodes", lambda: [])
    monkeypatch.setattr(SweepOptions, "start_ray", lambda options: None)
    monkeypatch.setattr(SweepOptions, "load", lambda *_: mnist_5k)
    options = SweepOptions(
        address="head:6379", cpus_per_trial=3, output=tmp_path / "sweep"
    )
    with pytest.raises(
        UserError, match="--cpus-per-trial 3: no node of the cluster has that many"
    ):
        opening.open_sweep(
            "sweep", options, lambda *arguments: {"00000": TrialConfig()}
        )
    assert not (tmp_path / "sweep").exists()
