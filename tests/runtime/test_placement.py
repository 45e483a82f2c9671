"""The choice of lanes or processes, and the CPUs, GPUs and memory of a trial."""

import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from types import SimpleNamespace

import forks
import pytest
import ray
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from waiting import LONG_S

from mnist_tune import SweepOptions, TrialConfig, UserError, resume_sweep, run_search, run_sweep
from mnist_tune.data_spec import DataSpec
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.machine import processor_model
from mnist_tune.runtime import device, placement
from mnist_tune.runtime.device import Device
from mnist_tune.runtime.lane_directory import start_directory
from mnist_tune.runtime.placement import choose_placement, lanes_that_fit, trial_slots
from mnist_tune.runtime.ray_private import own_parameters
from mnist_tune.runtime.ray_session import QUIET, variables
from mnist_tune.sweep import Sweep
from mnist_tune.tuning import opening, sweep, tuner
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.wanted import Plan

SETTINGS = WorkerSettings("states")
CPU, GPU = Device("CPU", 1e9), Device("GPU", 1e9)
DATA = DataSpec("mnist", (28, 28), (6_000,) * 10, 10_000)
TRIALS = [TrialConfig(architecture="mlp-8-tanh")]


@pytest.fixture
def servers(monkeypatch):
    """Record the directories that are started, without starting any, on a cluster of 8 cores and 2 GPUs."""
    asked = []

    def start(*arguments):
        asked.append(arguments)
        return "the directory"

    monkeypatch.setattr(placement, "start_directory", start)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0, "memory": 8e9})
    return asked


def test_auto_takes_processes_on_cpus_and_lanes_on_gpus(servers):
    on_cpu = choose_placement(TRIALS, DATA, SETTINGS, CPU)
    assert on_cpu.settings.lanes is None
    assert on_cpu.resources == {"CPU": 1}
    assert servers == []
    on_gpu = choose_placement(TRIALS, DATA, SETTINGS, GPU)
    assert on_gpu.settings.lanes == "the directory"
    assert on_gpu.settings.threads is None
    assert on_gpu.resources == {"CPU": 4 / 64}
    assert len(servers) == 1


def test_auto_takes_processes_on_cpus_for_unknown_trials(servers):
    assert choose_placement([], DATA, SETTINGS, CPU).settings.lanes is None
    assert servers == []


def test_lanes_on_a_cpu_must_be_asked_for(servers):
    found = choose_placement(TRIALS, DATA, SETTINGS, CPU, execution="lanes")
    assert found.resources == {"CPU": 0.25}
    assert found.settings.threads == 1
    assert servers == [(SETTINGS, 4, "CPU")]


def test_however_many_lanes_there_are_a_client_asks_for_something(servers):
    assert choose_placement([], DATA, SETTINGS, GPU, lanes=10**6).resources == {"CPU": 1e-4}


@pytest.mark.parametrize("trials", [1, 2, 3, 6, 7])
def test_shares_of_a_gpu_fit_into_it(servers, trials):
    found = choose_placement(TRIALS, DATA, SETTINGS, GPU, execution="process", trials_per_gpu=trials, cpus_per_trial=2)
    share = found.resources["GPU"]
    assert found.resources["CPU"] == 2
    assert share * trials <= 1
    assert share == pytest.approx(1 / trials, abs=1e-4)
    assert share == round(share, 4)
    assert found.settings.memory_fraction * trials <= 0.9


def test_more_lanes_than_fit_are_refused(servers):
    small = Device("GPU", 40.5 * 4 * (784 * 8 + 8 + 8 * 10 + 10))
    with pytest.raises(UserError, match="--lanes 11 does not fit into the memory of a GPU; --lanes 10 does"):
        choose_placement(TRIALS, DATA, SETTINGS, small, lanes=11)
    assert choose_placement(TRIALS, DATA, SETTINGS, small).resources == {"CPU": 4 / 10}
    assert choose_placement(TRIALS, DATA, SETTINGS, small, lanes=10).resources == {"CPU": 4 / 10}


def test_measuring_sharpness_leaves_room_for_fewer_lanes(servers):
    small = Device("GPU", 3.5 * (4 + 40) * 4 * (784 * 8 + 8 + 8 * 10 + 10))
    assert choose_placement(TRIALS, DATA, SETTINGS, small).resources == {"CPU": 0.1052}  # 4 cores for 38 lanes
    measuring = replace(SETTINGS, sharpness=SharpnessSettings())
    assert choose_placement(TRIALS, DATA, measuring, small).resources == {"CPU": 1.3333}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, None),
        ({"sharpness": True, "sharpness_images": 9}, SharpnessSettings(None, 9)),
        ({"sharpness_every": 5}, SharpnessSettings(5)),
    ],
)
def test_what_is_asked_for_reaches_the_processes(asked, found, monkeypatch):
    class Reached(Exception):
        pass

    def settings(*_, **values):
        raise Reached(values["sharpness"], values["train_evaluation"])

    for name, stand_in in {
        "ray": SimpleNamespace(put=id),
        "cpus_of": lambda *_: 1,
        "find_device": lambda *_: CPU,
    }.items():
        monkeypatch.setattr(tuner, name, stand_in)
    for name, stand_in in {"refuse_unholdable": lambda *_: None, "WorkerSettings": settings}.items():
        monkeypatch.setattr(tuner, name, stand_in)
    writer = SimpleNamespace(states="", token="", update_options=lambda **_: None)
    options, data = SweepOptions(train_evaluation=7, **asked), [SimpleNamespace(spec=DATA)]
    with pytest.raises(Reached) as reached:
        tuner.fit(writer, Plan.of({}), data, options, None, Past())
    assert reached.value.args == (found, 7)


@pytest.mark.parametrize(("trials", "cores", "each"), [(1, 2, 2), (2, 2, 1), (3, 2, 1), (3, 64, 21), (1000, 64, 1)])
def test_cores_are_shared_among_the_trials(monkeypatch, trials, cores, each):
    monkeypatch.setattr(tuner.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": float(cores)}}])
    for plan in (Plan.of({str(i): TrialConfig() for i in range(trials)}), Plan({}, {}, trials)):
        assert tuner.cpus_of(plan, "CPU", SweepOptions()) == each


@pytest.mark.parametrize(
    ("asked", "address", "cores"), [(None, None, 1), (2, None, 2), (4, None, 2), (4, "10.0.0.1:6379", 4)]
)
def test_a_trial_gets_at_most_the_cores_of_this_machine(monkeypatch, capsys, asked, address, cores):
    monkeypatch.setattr(tuner.ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(tuner.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    plan = Plan.of({str(i): TrialConfig() for i in range(2)})
    assert tuner.cpus_of(plan, "CPU", SweepOptions(cpus_per_trial=asked, address=address)) == cores
    told = "".join(capsys.readouterr())
    assert ("a trial gets 2, not 4" in told) == (asked == 4 and address is None)


def test_a_trials_process_gets_its_cores(servers):
    found = choose_placement(TRIALS, DATA, SETTINGS, CPU, cpus_per_trial=3)
    assert found.resources == {"CPU": 3}
    assert found.settings.threads == 3


def test_a_resumed_sweep_keeps_its_options(new_writer, mnist_5k, tmp_path, monkeypatch, capsys):
    """Options on which its numbers depend are kept; others may change."""
    new_writer(tmp_path / "sweep").finish()
    file = tmp_path / "sweep" / "sweep.json"
    kept = {"scheduler": "fifo", "grace_period": 3, "cpus_per_trial": 2, "train_evaluation": 500}
    ran = {"execution": "process", "lanes": 3, "trials_per_gpu": 2, "max_concurrent": 4}
    meta = json.loads(file.read_text()) | {"options": kept | ran | {"time_budget": 60.0, "data_dir": None}}
    meta["environment"] = {"versions": {"jax": "0.0.1"}, "processor": "a relay"}
    meta["dataset"]["checksums"] = mnist_5k.checksums
    file.write_text(json.dumps(meta))
    used = []

    def run(writer, plan, data, options, past=None):
        used.append(options)
        return Sweep.of(writer.finish())

    monkeypatch.setattr(opening, "load_dataset", lambda name, *_: mnist_5k)
    monkeypatch.setattr(sweep, "run_plan", run)
    with pytest.raises(UserError, match=r"--cpus-per-trial can't change in a resume: .* has 2"):
        resume_sweep(tmp_path / "sweep", cpus_per_trial=7)
    resume_sweep(tmp_path / "sweep", execution="lanes")
    expected = kept | ran | {"time_budget": 60.0, "execution": "lanes"}
    assert {name: getattr(used[0], name) for name in expected} == expected
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2
    assert f"jax is {version('jax')} now, it was 0.0.1; the last bits of the resumed trials may differ" in notes[0]
    assert f"processor is {processor_model()} now, it was a relay" in notes[1]


def test_a_network_too_large_for_the_estimate_gets_one_lane():
    assert lanes_that_fit(TRIALS, DATA, None, Device("GPU", 1.0)) == 1


NO_DEVICE = """
from mnist_tune import DataSpec, TrialConfig
from mnist_tune.training.architectures import architecture
from mnist_tune.runtime.device import Device
from mnist_tune.runtime.placement import lanes_that_fit
data = DataSpec("mnist", (28, 28), (6_000,) * 10, 10_000)
for name in ("mlp-1024-128-tanh", "stax-mlp", "convnet"):
    architecture(name, data)
    print(lanes_that_fit([TrialConfig(architecture=name, momentum=0.9)], data, None, Device("GPU", 1e9)))
"""


def test_lanes_are_counted_without_a_device():
    """The driver must not start JAX on a GPU: JAX would take most of the memory from the trials."""
    command = [sys.executable, "-c", NO_DEVICE]
    environment = os.environ | {"JAX_PLATFORMS": "none_that_exists"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONG_S)
    assert done.stdout == "33\n33\n48\n", done.stderr


@pytest.fixture(scope="module")
def started_with_two_gpus():
    ray.shutdown()
    with variables(QUIET), own_parameters(dashboard=False), forks.workers():
        ray.init(address="local", num_cpus=3, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def two_gpus(started_with_two_gpus):
    """A Ray that was told of two GPUs. JAX is installed for CPUs, so it finds none."""
    device._gpu_memory.cache_clear()


@pytest.fixture
def taken(started_with_two_gpus):
    """A function that occupies resources until the test ends."""
    holders = []

    class Holder:
        def hold(self):
            pass

    def take(**resources):
        holders.append(ray.remote(**resources)(Holder).remote())
        ray.get(holders[-1].hold.remote())

    yield take
    for holder in holders:
        ray.kill(holder)


@pytest.fixture
def gpus_that_train(two_gpus, monkeypatch):
    """Pretend that JAX can use the GPUs. What is placed on them still trains on CPUs."""
    for module in (device, tuner):
        monkeypatch.setattr(module, "find_device", lambda quiet: GPU)


def small(*rates, **fields):
    return [TrialConfig(architecture="mlp-8-tanh", learning_rate=rate, **fields) for rate in rates]


@pytest.mark.ray
@pytest.mark.parametrize("execution", ["auto", "process"])
def test_gpus_that_jax_cannot_use_are_one_warning(two_gpus, tmp_path, capsys, execution):
    options = SweepOptions(dataset="mnist-5k", output=tmp_path, execution=execution)
    done = run_sweep("gpu", small(0.1, epochs=1), options)
    assert list(done.trials["stop_reason"]) == ["completed"]
    assert done.meta["options"]["cpus_per_trial"] == 3
    [warning] = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "'jax[cuda12]'" in warning


@pytest.mark.ray
def test_a_node_and_a_free_gpu_are_waited_for(two_gpus, taken, monkeypatch, capsys):
    found, known = ray.cluster_resources(), [{}]  # at first no CPUs, as on a head without nodes
    monkeypatch.setattr(ray, "cluster_resources", lambda: known.pop() if known else found)
    assert device.find_device(quiet=False).kind == "CPU"
    assert "no node that trains is up; waiting for the cluster to start one" in capsys.readouterr().err
    device._gpu_memory.cache_clear()
    taken(num_cpus=3, num_gpus=2)
    monkeypatch.setattr(device, "PROBE_TIMEOUT_S", 1.0)
    with pytest.raises(UserError, match="no GPU of the cluster was free within 1 s"):
        device.find_device(quiet=True)
    monkeypatch.setattr(device, "NODE_TIMEOUT_S", 1.0)
    known.append({})
    with pytest.raises(UserError, match="the cluster started no node within 1 s"):
        device.find_device(quiet=True)


@pytest.mark.ray
def test_the_memory_of_a_gpu_is_asked_for_once(two_gpus, tmp_path, monkeypatch):
    def tell():
        with (tmp_path / "asked").open("a") as file:
            file.write("once")
        return 5e9

    monkeypatch.setattr(device, "_memory_by_jax", tell)
    assert device.find_device(quiet=True) == device.find_device(quiet=True) == Device("GPU", 4e9)
    assert (tmp_path / "asked").read_text() == "once"


@pytest.mark.ray
@pytest.mark.parametrize(("lanes", "left"), [(2, 0), (4, 1)])
def test_lane_servers_take_the_gpus_that_they_need(gpus_that_train, tmp_path, monkeypatch, lanes, left):
    found, kill = [], ray.kill

    def look_and_kill(actor):
        found.append(ray.available_resources().get("GPU", 0))
        kill(actor)

    monkeypatch.setattr(ray, "kill", look_and_kill)
    options = SweepOptions(dataset="mnist-5k", output=tmp_path, scheduler="fifo", lanes=lanes, quiet=True)
    done = run_sweep("lanes", small(0.01, 0.02, 0.05, 0.1, epochs=2), options)
    assert list(done.trials["stop_reason"]) == ["completed"] * 4
    assert list(done.trials["epochs_run"]) == [2] * 4
    assert set(found) == {left}  # Tune may kill an actor, too, that is slow to end


@pytest.mark.ray
def test_a_lane_server_that_waits_for_a_gpu_delays_nobody(two_gpus, taken):
    taken(num_cpus=0, num_gpus=1)
    directory = start_directory(SETTINGS, 2, "GPU")
    server, other = ray.get([directory.assign.remote(lane, lane) for lane in "ab"])
    assert server == other
    waits = directory.assign.remote("c", "c")  # and with it a second server
    assert ray.wait([waits], timeout=1)[0] == []
    start = time.monotonic()
    directory.free.remote("b", "b")
    assert ray.get(waits) == server
    directory.free.remote("c", "c")
    assert ray.get(directory.assign.remote("d", "d")) == server
    assert time.monotonic() - start < 20
    ray.kill(directory)


class Together(FIFOScheduler):
    """Stops every trial once `count` trials have reported, so they must run at the same time."""

    def __init__(self, count):
        super().__init__()
        self.count, self.reported = count, set()

    def on_trial_result(self, tune_controller, trial, result):
        self.reported.add(trial.trial_id)
        return TrialScheduler.STOP if len(self.reported) == self.count else TrialScheduler.CONTINUE


@pytest.mark.ray
def test_three_trials_share_a_gpu(gpus_that_train, taken, tmp_path):
    taken(num_cpus=0, num_gpus=1)
    space = {"architecture": "mlp-8-tanh", "epochs": 1_000_000}
    sharing = {"execution": "process", "trials_per_gpu": 3, "time_budget": 90.0}
    options = SweepOptions(dataset="mnist-5k", output=tmp_path, quiet=True, **sharing)
    done = run_search("shared", space, 3, options, Together(3))
    assert list(done.trials["stop_reason"]) == ["together"] * 3


@pytest.mark.parametrize(
    ("cpus", "execution", "nodes", "refused"),
    [
        (4, "auto", [{"CPU": 2.0}, {"CPU": 4.0}], False),
        (5, "auto", [{"CPU": 2.0}, {"CPU": 4.0}], True),
        (5, "process", [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 8.0}], True),  # the larger one has no GPU
        (5, "auto", [{"CPU": 4.0, "GPU": 1.0}], False),  # lanes
        (5, "lanes", [{"CPU": 4.0}], False),
        (None, "auto", [{"CPU": 2.0}], False),
        (5, "auto", [{}], False),  # an autoscaler has not started a node yet
    ],
)
def test_trials_that_no_node_can_hold_are_refused(monkeypatch, cpus, execution, nodes, refused):
    found = [{"Alive": True, "Resources": node} for node in nodes] + [{"Alive": False, "Resources": {"CPU": 64.0}}]
    monkeypatch.setattr(placement.ray, "nodes", lambda: found)
    monkeypatch.setattr(placement, "kinds_of_nodes", lambda: [])
    said = "--cpus-per-trial 5: no node of the cluster has that many, so no trial could start; the largest has 4"
    with pytest.raises(UserError, match=said) if refused else nullcontext():
        placement.refuse_unholdable(cpus, execution)
    monkeypatch.setattr(placement, "kinds_of_nodes", lambda: [{"CPU": 8.0, "GPU": 1.0}])
    placement.refuse_unholdable(cpus, execution)


def test_a_fixed_cluster_is_asked_before_anything_starts(monkeypatch, mnist_5k, tmp_path):
    monkeypatch.setattr(placement.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    monkeypatch.setattr(placement, "kinds_of_nodes", lambda: [])
    monkeypatch.setattr(opening, "start_ray", lambda *arguments: None)
    monkeypatch.setattr(opening, "load_dataset", lambda name, *_: mnist_5k)
    options = SweepOptions(address="head:6379", cpus_per_trial=3, output=tmp_path / "sweep")
    with pytest.raises(UserError, match="--cpus-per-trial 3: no node of the cluster has that many"):
        opening.open_new("sweep", {"00000": TrialConfig()}, options)
    assert not (tmp_path / "sweep").exists()


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        ({"CPU": 1}, 13),
        ({"CPU": 2}, 6),  # a trial has its cores on one node
        ({"CPU": 0.25}, 52),
        ({"CPU": 1, "GPU": 0.3333}, 6),
        ({"CPU": 1, "GPU": 0.1}, 8),
        ({"CPU": 4, "GPU": 1}, 2),
        ({"CPU": 1, "trial_slot": 1}, 2),
        ({"CPU": 0.1}, 130),
        ({"CPU": 9}, 1),  # Ray waits for a node that holds it
    ],
)
def test_a_slot_is_the_room_for_a_trial_on_one_node(monkeypatch, resources, slots):
    nodes = [node(CPU=8.0, GPU=2.0, trial_slot=2.0), node(CPU=3.0), node(CPU=2.0), node(alive=False, CPU=64.0), node()]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert trial_slots(resources) == slots
