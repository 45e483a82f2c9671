"""Where trials run: on what there is, and with how much of it."""

import json

import pytest
import ray

from mnist_tune import SweepOptions, TrialConfig, UserError, run_sweep
from mnist_tune.data.dataset import load_dataset
from mnist_tune.lanes.worker import WorkerSettings
from mnist_tune.tuning import placement, sweep
from mnist_tune.tuning.placement import Device, place
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.ray_session import QUIET, variables

SETTINGS = WorkerSettings("states")
CPU, GPU = Device("CPU", 1e9), Device("GPU", 1e9)
TRIALS = [TrialConfig(architecture="mlp-8-tanh")]


@pytest.fixture
def servers(monkeypatch):
    """Lane servers that were asked for, none of which is started, on a cluster of 8 cores and 2 GPUs."""
    asked = []

    class Servers:
        def __init__(self, *arguments):
            asked.append(arguments)

        def start(self):
            pass

    monkeypatch.setattr(placement, "LaneServers", Servers)
    monkeypatch.setattr(placement.ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0, "memory": 8e9})
    return asked


def test_auto_takes_processes_on_cpus_and_lanes_on_gpus(servers):
    on_cpu = place(TRIALS, SETTINGS, SweepOptions(), CPU)
    assert on_cpu.servers is None
    assert on_cpu.resources == {"CPU": 1}
    assert servers == []
    on_gpu = place(TRIALS, SETTINGS, SweepOptions(), GPU)
    assert on_gpu.settings.lanes
    assert on_gpu.settings.threads is None
    assert on_gpu.resources == {"CPU": 4 / 64}
    assert len(servers) == 1


def test_auto_takes_processes_where_trials_are_not_known(servers):
    assert place([], SETTINGS, SweepOptions(), CPU).servers is None
    assert servers == []


def test_lanes_on_a_cpu_are_for_the_asking(servers):
    found = place(TRIALS, SETTINGS, SweepOptions(execution="lanes"), CPU)
    assert found.resources == {"CPU": 0.25}
    assert found.settings.threads == 1


@pytest.mark.parametrize("trials", [1, 2, 3, 6, 7])
def test_shares_of_a_gpu_fit_into_it(servers, trials):
    found = place(TRIALS, SETTINGS, SweepOptions(execution="process", trials_per_gpu=trials), GPU)
    share = found.resources["GPU"]
    assert share * trials <= 1
    assert share == pytest.approx(1 / trials, abs=1e-4)
    assert share == round(share, 4)
    assert found.settings.memory_fraction * trials <= 0.9


def test_more_lanes_than_fit_are_refused(servers):
    small = Device("GPU", 40.5 * 4 * (784 * 8 + 8 + 8 * 10 + 10))
    with pytest.raises(UserError, match="--lanes 11 does not fit into the memory of a GPU; --lanes 10 does"):
        place(TRIALS, SETTINGS, SweepOptions(lanes=11), small)
    assert place(TRIALS, SETTINGS, SweepOptions(), small).resources == {"CPU": 4 / 10}


@pytest.mark.parametrize(("trials", "cores", "each"), [(1, 2, 2), (2, 2, 1), (3, 2, 1), (3, 64, 21), (1000, 64, 1)])
def test_cores_are_shared_among_the_trials(trials, cores, each):
    assert Plan.of({str(i): TrialConfig() for i in range(trials)}).share_of(cores) == each


def test_a_trials_process_gets_its_cores(servers):
    found = place(TRIALS, SETTINGS, SweepOptions(cpus_per_trial=3), CPU)
    assert found.resources == {"CPU": 3}
    assert found.settings.threads == 3


def test_a_resumed_sweep_keeps_what_its_numbers_depend_on(new_writer, tmp_path, monkeypatch):
    new_writer(tmp_path / "sweep").finish()
    file = tmp_path / "sweep" / "sweep.json"
    kept = {"scheduler": "fifo", "grace_period": 3, "cpus_per_trial": 2, "train_evaluation": 500}
    meta = json.loads(file.read_text()) | {"options": kept | {"data_dir": None}}
    meta["dataset"]["checksums"] = load_dataset("mnist-5k").checksums
    file.write_text(json.dumps(meta))
    used = []

    def run(writer, plan, data, options, keep_ray):
        writer.finish()
        used.append(options)

    monkeypatch.setattr(sweep, "_run", run)
    sweep.resume_sweep(tmp_path / "sweep", SweepOptions(cpus_per_trial=7))
    assert {name: getattr(used[0], name) for name in kept} == kept


@pytest.fixture
def ray_with_a_gpu():
    """Ray believes in a GPU; JAX, which is installed for CPUs, does not."""
    ray.shutdown()
    with variables(QUIET):
        ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.parametrize("execution", ["auto", "process"])
def test_a_gpu_that_jax_cannot_use_is_one_warning(ray_with_a_gpu, tmp_path, capsys, execution):
    options = SweepOptions(dataset="mnist-5k", output=tmp_path, execution=execution)
    done = run_sweep("gpu", [TrialConfig(architecture="mlp-8-tanh", epochs=1)], options)
    assert list(done.trials["stop_reason"]) == ["completed"]
    assert done.meta["options"]["cpus_per_trial"] == 1
    [warning] = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "'mnist_tune[cuda]'" in warning


@pytest.mark.ray
def test_what_is_not_free_is_waited_for_a_while(ray_with_a_gpu, monkeypatch, capsys):
    @ray.remote(num_cpus=1, num_gpus=1)
    class Holder:
        def hold(self):
            pass

    found, known = ray.cluster_resources(), [{}]  # as on a head without CPUs, until a node has come
    monkeypatch.setattr(placement.ray, "cluster_resources", lambda: known.pop() if known else found)
    assert placement.find_device(quiet=False).kind == "CPU"
    assert "no node to train on is up; waiting for the cluster to start one" in capsys.readouterr().err
    holder = Holder.remote()
    ray.get(holder.hold.remote())
    monkeypatch.setattr(placement, "PROBE_TIMEOUT_S", 1.0)
    with pytest.raises(UserError, match="no GPU of the cluster was free within 1 s"):
        placement.find_device(quiet=True)
    monkeypatch.setattr(placement, "NODE_TIMEOUT_S", 1.0)
    known.append({})
    with pytest.raises(UserError, match="no node came to the cluster within 1 s"):
        placement.find_device(quiet=True)
