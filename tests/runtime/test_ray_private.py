"""Ray's private names: the Ray that is installed has each, and does with it what we
expect."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.tune import registry
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from waiting import LONG_S

import mnist_tune
from mnist_tune.runtime import ray_private


def test_no_private_name_of_ray_is_imported_elsewhere():
    root = Path(mnist_tune.__file__).parent
    for file in set(root.rglob("*.py")) - {root / "runtime" / "ray_private.py"}:
        for node in ast.walk(ast.parse(file.read_text())):
            names = (
                [alias.name for alias in getattr(node, "names", [])]
                if isinstance(node, ast.Import)
                else []
            )
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [ast.unparse(node)] if isinstance(node, ast.Attribute) else []
            assert not [name for name in names if re.match(r"ray(\.\w+)*\._", name)], (
                file
            )


@pytest.mark.ray
def test_a_ray_that_runs_is_greeted_and_asked_for_dead_processes_and_kinds_of_nodes(
    every_core, monkeypatch
):
    address = ray.get_runtime_context().gcs_address
    assert ray_private.gcs_address(address) == address
    for auto in (True, False):
        ray_private.greet(address, auto)
    assert ray_private.kinds_of_nodes() == []
    node = ray._private.worker._global_node
    assert not ray_private.raylet_is_dead()
    monkeypatch.setattr(
        node, "dead_processes", lambda: [("log_monitor", 1), ("raylet", 2)]
    )
    assert ray_private.raylet_is_dead()


def test_the_nodes_that_an_autoscaler_can_start_are_known(monkeypatch):
    groups = [
        SimpleNamespace(resources={"CPU": 8.0}),
        SimpleNamespace(resources={"CPU": 4.0, "GPU": 1.0}),
    ]
    config = SimpleNamespace(node_group_configs=groups)
    monkeypatch.setattr(ray._private.state.state, "get_cluster_config", lambda: config)
    assert ray_private.kinds_of_nodes() == [{"CPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}]


def test_tune_forgets_a_trial_but_for_the_last():
    first, second = trials = [Trial("trains", stub=True) for _ in range(2)]
    first.update_last_result({"loss": 1, "done": False, "training_iteration": 1})
    assert first.run_metadata.last_result
    ray_private.forget(first, trials)
    assert not first.run_metadata.last_result
    assert (first.get_json_state(), trials) == (("{}", "{}"), [second])
    # with an empty list, Tune would load its saved state
    ray_private.forget(second, trials)
    assert trials == [second]


def test_a_trial_that_waits_again_is_not_given_up_for_the_death_for_which_it_waits(
    monkeypatch,
):
    told, died = [], ray.exceptions.ActorDiedError()
    monkeypatch.setattr(
        TuneController, "_process_trial_failure", lambda *failure: told.append(failure)
    )
    with ray_private.deaths_counted(lambda error: False):
        for status, error in (
            ("RUNNING", died),
            ("PENDING", died),
            ("PENDING", ValueError),
        ):
            TuneController._process_trial_failure(
                None, SimpleNamespace(status=status), exception=error
            )
    assert [(trial.status, error) for _, trial, error in told] == [
        ("RUNNING", died),
        ("PENDING", ValueError),
    ]


@pytest.mark.ray
def test_tune_keeps_no_call_that_has_returned_and_no_statistics_and_looks_up_its_trainable_once(
    every_core, tmp_path, monkeypatch
):
    managers, asked = set(), []
    schedule, look_up = (
        RayActorManager._schedule_tracked_actor_task,
        registry._global_registry.get,
    )

    def schedules(manager, *args, **options):
        managers.add(manager)
        return schedule(manager, *args, **options)

    def looks_up(*key):
        asked.append(key)
        return look_up(*key)

    monkeypatch.setattr(RayActorManager, "_schedule_tracked_actor_task", schedules)
    monkeypatch.setattr(registry._global_registry, "get", looks_up)
    most, statistics = [], []

    class Keeps(tune.Callback):
        def on_trial_result(self, trial, **_):
            statistics.append(trial.metric_analysis)
            most.extend(
                len(calls)
                for one in managers
                for calls in one._tracked_actors_to_task_futures.values()
            )

    def train(config):
        for step in range(20):
            tune.report({"step": step})

    run = tune.RunConfig(storage_path=str(tmp_path), verbose=0, callbacks=[Keeps()])
    with ray_private.calls_let_go():
        results = tune.Tuner(
            train, param_space={"x": tune.grid_search([1, 2])}, run_config=run
        ).fit()
    assert [result.metrics["step"] for result in results] == [19, 19]
    assert 0 < max(most) <= 3
    assert not any(statistics)
    assert len([key for key in asked if key[0] == registry.TRAINABLE_CLASS]) == 1


def test_joining_a_cluster_imports_nothing_of_tune():
    """Meanwhile a thread imports Tune, and each might find modules that the other has
    imported by half."""
    code = "import sys; from mnist_tune.runtime.ray_private import gcs_address, greet\n"
    code += "from contextlib import suppress\n"
    code += "with suppress(Exception): greet(gcs_address('localhost:none'), True)\n"
    code += "print([name for name in sys.modules if name.startswith('ray.tune')])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG_S
    )
    assert done.stdout.strip() == "[]", done.stderr
