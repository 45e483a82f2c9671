"""Processes and nodes that die during a sweep, and what is printed about them."""

import os
import signal
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import forks
import pytest
import ray
from kept_texts import assert_kept
from ray.exceptions import RayActorError
from ray.tune import Callback
from ray.tune.experiment import Trial

from mnist_tune import SweepOptions, TrialConfig, UserError, run_sweep, storage
from mnist_tune.results.writer import TOKEN
from mnist_tune.runtime import nodes
from mnist_tune.runtime.nodes import NodeWatch, check_nodes, death, is_nodes_death
from mnist_tune.runtime.ray_private import deaths_counted, own_parameters
from mnist_tune.runtime.ray_session import SILENT
from mnist_tune.tuning import tuner
from mnist_tune.tuning.trainable import TrialTrainable

ROOT = Path(__file__).parents[2]

KILLED = """
The actor died unexpectedly before finishing this task.
	class_name: with_resources.<locals>.ResourceTrainable
	actor_id: 136fb88acdef1f6485bb8a7701000000
	pid: 11233
	ip: 10.0.0.7
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was killed
"""

RAISED = """
The actor died because of an error raised in its creation task, ray::ResourceTrainable.__init__() (pid=9, ip=10.0.0.7)
  File "trainable.py", line 15, in setup
ray.exceptions.RayTaskError(ValueError): ray::LaneServer.epoch() (pid=11, ip=10.0.0.8, repr=<LaneServer>)
  File "pool.py", line 15, in run
    raise ValueError(device)
ValueError: no such device:
and more
"""

NODE_ENDED = """
The actor died unexpectedly before finishing this task.
	pid: 11233
	ip: 10.0.0.7
	the actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats
"""

NODE_DIED = """
The actor died unexpectedly before finishing this task.
	pid: 11233
	ip: 10.0.0.7
The actor died because its node has died. Node Id: 2bdd26
"""

UNAVAILABLE = (
    "The actor 136fb8 is unavailable: RpcError: recvmsg:Connection reset by peer."
)


DEATHS = {
    "killed": KILLED,
    "raised": RAISED,
    "node ended": NODE_ENDED,
    "node died": NODE_DIED,
    "unavailable": UNAVAILABLE,
    "nothing said": "",
    "an IPv6 address": "pid=7, ip=fe80::1, ValueError\nKeyboardInterrupt: stopped.",
    "no pid": "ip: 10.0.0.7\nmy.own.Exit\nErrors are no exception",
}


@pytest.mark.promise(
    "A trial ends as `error` with its process's third death, and says of what; deaths of its node don't count"
)
def test_the_cause_of_a_death_is_one_line(monkeypatch, tmp_path, capsys):
    """By whose address it counts, what is said, and whether it is one of a trial's
    failures."""
    lines = []
    for name, text in DEATHS.items():
        Watched(monkeypatch, tmp_path).die("00001", text)
        lines.append(
            f"{name}: {death(text)} {int(not is_nodes_death(Exception(text)))}"
        )
        lines += capsys.readouterr().err.splitlines()
    assert_kept("deaths", "\n".join(lines) + "\n")


@pytest.mark.promise(
    "A trial ends as `error` with its process's third death, and says of what; deaths of its node don't count"
)
@pytest.mark.parametrize("order", [*set(permutations((KILLED, KILLED, NODE_DIED)))])
def test_whenever_its_node_dies_a_trial_ends_with_the_third_death_of_its_process(order):
    trial = Trial("trains", stub=True, max_failures=2)
    trial.storage = SimpleNamespace(trial_driver_staging_path=None)  # it has no folder
    with deaths_counted(is_nodes_death):
        for text in order:
            trial.handle_error(RayActorError(None, text))
            assert trial.should_recover()
        trial.handle_error(RayActorError(None, KILLED))
    assert not trial.should_recover()


BROKEN = """
import jax.numpy as jnp
from mnist_tune import Network

def broken(spec):
    def init(key):
        return jnp.zeros((spec.size, spec.classes))

    def apply(weights, images):
        steps = 1 // (len(images) < 200)  # evaluations have larger batches
        return images.reshape(len(images), -1) @ weights / steps

    return Network(init, apply)
"""


class Watched:
    """A `NodeWatch` with made-up nodes and trials."""

    def __init__(self, monkeypatch, tmp_path, quiet=False):
        self.alive, self.file = {"a": "one (10.0.0.1)"}, tmp_path / "error.txt"
        monkeypatch.setattr(nodes, "alive_nodes", lambda: dict(self.alive))
        monkeypatch.setattr(nodes, "raylet_is_dead", lambda: False)
        monkeypatch.setattr(nodes, "NODE_CHECK_S", 0.0)
        self.watch = NodeWatch(quiet)

    def look(self, **alive):
        self.alive = alive
        self.watch.on_step_end(0, [])

    def die(self, trial_id, text=KILLED):
        self.file.write_text(
            f"Failure # 1 (occurred at noon)\n{RAISED}\nFailure # 2 (occurred at one)\n{text}"
        )
        trial = SimpleNamespace(
            trial_id="tunes",
            config={"trial": {"trial_id": trial_id}},
            error_file=str(self.file),
        )
        self.watch.on_trial_recover(0, [], trial)

    def epoch(self, address):
        self.watch.on_trial_result(0, [], None, {"node_ip": address})


@pytest.mark.promise("A node on which three trials in a row died is named once")
@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_said_of_nodes_and_deaths(monkeypatch, tmp_path, capsys, quiet):
    watched, lines = Watched(monkeypatch, tmp_path, quiet), []

    def then(what, act):
        act()
        lines.extend([f"--- {what}", *capsys.readouterr().err.splitlines()])

    then("as before", lambda: watched.look(a="one (10.0.0.1)"))
    then("another node", lambda: watched.look(a="one (10.0.0.1)", b="two (10.0.0.2)"))
    then("one less", lambda: watched.look(b="two (10.0.0.2)"))
    then("other nodes", lambda: watched.look(c="three (10.0.0.3)"))
    for trial_id in ("00001", "00001", "00002"):
        then(f"{trial_id} dies", lambda trial_id=trial_id: watched.die(trial_id))
    then(
        "an epoch on the node, which resets its count",
        lambda: watched.epoch("10.0.0.7"),
    )
    then("00003 dies", lambda: watched.die("00003"))
    then("an epoch on another node", lambda: watched.epoch("10.0.0.8"))
    then("00004's node dies", lambda: watched.die("00004", NODE_DIED))
    for trial_id in ("00004", "00005", "00006", "00007"):
        then(f"{trial_id} dies", lambda trial_id=trial_id: watched.die(trial_id))
    then("00008 dies elsewhere", lambda: watched.die("00008", RAISED))
    if quiet:
        assert all(line.startswith("---") for line in lines)
    else:
        assert_kept("nodes and deaths", "\n".join(lines) + "\n")


def test_a_dead_raylet_ends_the_sweep_at_once_and_nodes_are_looked_at_now_and_then(
    monkeypatch, tmp_path, capsys
):
    watched = Watched(monkeypatch, tmp_path)
    monkeypatch.setattr(nodes, "NODE_CHECK_S", 1000.0)
    watched.look(b="two (10.0.0.2)")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(nodes, "raylet_is_dead", lambda: True)
    with pytest.raises(nodes.RayletDied) as died:
        watched.look()
    assert not isinstance(died.value, Exception)  # which Tune would catch


def broken_by_itself(error):
    """Whether this is the error of `BROKEN`, and where it is."""
    call = "apply on images [256, 28, 28] fails, "
    what = "ZeroDivisionError: integer division or modulo by zero (net.py, line 10)"
    return error == call + what


@pytest.mark.ray
def test_a_trial_ends_after_its_process_died_three_times_or_by_an_error_of_its_own_at_once(
    tmp_path, every_core, monkeypatch, capfd
):
    class Dying(TrialTrainable):
        def step(self):
            if self._lane_id == "00001":
                os.kill(os.getpid(), signal.SIGKILL)
            return super().step()

    monkeypatch.setattr(tuner, "TrialTrainable", Dying)
    (tmp_path / "net.py").write_text(BROKEN)
    names = ["mlp-4-tanh"] * 3 + [f"{tmp_path}/net.py:broken"]
    trials = [
        TrialConfig(architecture=name, learning_rate=0.1 * (i + 1), epochs=3, holdout=0)
        for i, name in enumerate(names)
    ]
    options = SweepOptions(
        dataset="mnist-5k",
        output=tmp_path / "sweep",
        scheduler="fifo",
        cpus_per_trial=1,
    )
    sweep = run_sweep("dying", trials, options)
    assert list(sweep.trials["stop_reason"]) == [
        "completed",
        "error",
        "completed",
        "error",
    ]
    assert sweep.trials["error"][1].startswith(
        "its process died 3 times, the last time pid "
    )
    assert broken_by_itself(sweep.trials["error"][3])
    assert sweep.trials["error_kind"].to_list()[1::2] == ["died", "program"]
    said = capfd.readouterr()
    assert "failed: its process died 3 times" in said.out
    deaths = [
        line
        for line in said.err.splitlines()
        if not line.startswith(("trials: ", "page: "))
    ]
    assert len(deaths) == 3
    assert all(line.startswith("trial 00001 died, pid ") for line in deaths)
    assert [line.rpartition("; ")[2][:8] for line in deaths] == [
        "it conti",
        "it conti",
        "it is no",
    ]


@pytest.mark.ray
def test_an_error_of_ones_own_network_in_a_lane_is_not_the_nodes(
    tmp_path, every_core, capfd
):
    (tmp_path / "net.py").write_text(BROKEN)
    trials = [
        TrialConfig(architecture=f"{tmp_path}/net.py:broken", learning_rate=rate)
        for rate in (0.1, 0.2, 0.3)
    ]
    options = SweepOptions(
        dataset="mnist-5k",
        output=tmp_path / "sweep",
        cpus_per_trial=1,
        execution="lanes",
    )
    sweep = run_sweep("broken", trials, options)
    assert list(sweep.trials["stop_reason"]) == ["error"] * 3
    assert all(map(broken_by_itself, sweep.trials["error"]))
    said = capfd.readouterr().err
    assert "died" not in said
    assert "continues" not in said


@pytest.fixture(scope="module")
def head():
    """A head without CPUs."""
    from ray.cluster_utils import Cluster

    ray.shutdown()
    # Usually a death is noticed after 15 s. Until then Ray may give trials to the dead
    # node. A process that is gone fails each check at once; a slow one has 10 s.
    soon = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon}
    with (
        pytest.MonkeyPatch.context() as patch,
        own_parameters(dashboard=False),
        forks.workers(),
    ):
        patch.setenv(
            "PYTHONPATH",
            os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        )
        cluster = Cluster(initialize_head=True, head_node_args=head)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def cluster(head):
    """That head, to which this process is connected, and a node of one core."""
    # first, or Ray may connect it through the other node, with which it would die
    ray.init(address=head.address, **SILENT)
    head.add_node(num_cpus=1)
    yield head
    ray.shutdown()
    for node in list(head.worker_nodes):
        head.remove_node(node)


@pytest.mark.ray
def test_a_node_that_died_just_now_is_no_reason_to_refuse_a_resume(cluster, tmp_path):
    """Ray lists it for a while. One that lives and sees another folder is a reason."""
    storage.write(tmp_path / TOKEN, b"mine")
    cluster.remove_node(cluster.add_node(num_cpus=1), allow_graceful=False)
    assert len(nodes.alive_nodes()) == 3
    check_nodes(tmp_path, "mine")
    with pytest.raises(UserError, match="another folder"):
        check_nodes(tmp_path, "others")


RATES, EPOCHS = (0.01, 0.02, 0.05, 0.1), 6


class Replaces(Callback):
    """Kills the node of a cluster after the eighth epoch, and starts another one."""

    def __init__(self, cluster):
        self.cluster, self.results = cluster, 0

    def __getstate__(self):
        return {}  # Tune saves it with its own state

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.results += 1
        if self.results == 8:
            self.cluster.remove_node(*self.cluster.worker_nodes, allow_graceful=False)
            self.cluster.add_node(num_cpus=1)


@pytest.mark.promise("If a node dies, one line says so, and its trials go on elsewhere")
@pytest.mark.ray
@pytest.mark.parametrize("execution", ["process", "lanes"])
def test_a_new_node_finishes_the_sweep_of_a_dead_one(
    cluster, tmp_path, capfd, execution
):
    trials = [
        TrialConfig(
            architecture="mlp-4-tanh", learning_rate=rate, epochs=EPOCHS, holdout=0
        )
        for rate in RATES
    ]
    asked = {
        "dataset": "mnist-5k",
        "scheduler": "fifo",
        "address": cluster.address,
        "execution": execution,
    }
    options = SweepOptions(output=tmp_path / "sweep", **asked)
    sweep = run_sweep("nodes", trials, options, callbacks=[Replaces(cluster)])
    assert set(sweep.trials["stop_reason"]) == {"completed"}
    assert not sweep.epochs.duplicated(["trial_id", "epoch"]).any()
    assert len(sweep.epochs) == len(RATES) * EPOCHS
    said = capfd.readouterr()
    lines = [
        line
        for line in said.err.splitlines()
        if not line.startswith(("trials: ", "page: "))
    ]
    said_of_nodes = sorted(line.split(") ")[-1] for line in lines)
    assert said_of_nodes == [
        "died; its trials continue from their last epoch",
        "joined; trials will start there, too",
    ]
    # On Ray 2.50, it warns of four processes on a node of one core.
    few_cores = "worker processes have been started"
    of_ray = [line for line in said.out.splitlines() if "raylet" in line]
    assert [line for line in of_ray if few_cores not in line] == []
