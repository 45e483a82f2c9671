"""Ray's private names: the Ray that is installed has each, and does with it what we
expect."""

import ast
import logging
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import ray
from ray import tune
from ray.air._internal import usage
from ray.air.execution._internal import RayActorManager
from ray.tune import registry
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining
from waiting import LONG_S

import mnist_tune
from mnist_tune.errors import UserError
from mnist_tune.runtime import ray_private

NONE = nullcontext
"""Nothing is replaced."""

SWEEP = """
from mnist_tune import SweepOptions, TrialConfig, run_sweep
trials = [
    TrialConfig(architecture="mlp-4-tanh", learning_rate=rate, epochs=3)
    for rate in (0.1, 1.0)
]
options = SweepOptions(
    dataset="digits", output={folder!r}, execution="process", quiet=True
)
run_sweep("sweep", trials, options)
"""

WITHOUT = """
from contextlib import nullcontext
from mnist_tune.runtime import ray_private
contexts = "skipped_lines own_parameters callbacks_uncounted deaths_counted calls_let_go"
for name in contexts.split():
    setattr(ray_private, name, lambda *arguments: nullcontext())
for name in ("gcs_address", "greet", "forget", "raylet_is_dead"):
    setattr(ray_private, name, lambda *arguments: None)
ray_private.kinds_of_nodes = lambda: ()
"""
"""What each function gives where its names are gone."""


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
    assert ray_private.kinds_of_nodes() == ()
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


def test_callbacks_are_not_counted_for_which_mlflow_would_be_imported(monkeypatch):
    counted = []
    monkeypatch.setattr(usage, "_count_callbacks", counted.append)
    with ray_private.callbacks_uncounted():
        usage.tag_callbacks([tune.Callback()])
    assert not counted
    usage.tag_callbacks([tune.Callback()])
    assert counted


@dataclass
class Gone:
    """A private name that a Ray may not have, what uses it, and what that gives
    then."""

    function: str
    arguments: tuple
    owner: str
    name: str
    without: object = None


GONE = [
    Gone(
        "skipped_lines", (".",), "ray._private.ray_logging", "stdout_deduplicator", NONE
    ),
    Gone(
        "gcs_address",
        ("auto",),
        "ray._private.services",
        "canonicalize_bootstrap_address",
    ),
    Gone("greet", ("localhost:1", True), "ray._raylet", "GcsClient"),
    Gone("own_parameters", (False,), "ray._private.parameter", "RayParams", NONE),
    Gone(
        "own_parameters", (False,), "ray._private.node.Node", "start_api_server", NONE
    ),
    Gone("raylet_is_dead", (), "ray._private.worker", "_global_node", False),
    Gone("kinds_of_nodes", (), "ray._private.state", "state", ()),
    Gone(
        "deaths_counted",
        (bool,),
        "ray.tune.execution.tune_controller.TuneController",
        "_process_trial_failure",
        NONE,
    ),
    Gone("callbacks_uncounted", (), "ray.air._internal.usage", "tag_callbacks", NONE),
    Gone("calls_let_go", (), "ray.tune.experiment.trial", "validate_trainable", NONE),
]


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: f"{gone.function} {gone.name}")
def test_where_a_private_name_is_gone_the_plain_way_is_taken_and_a_debug_line_says_so(
    gone, monkeypatch, caplog
):
    monkeypatch.delattr(f"{gone.owner}.{gone.name}")
    function = getattr(ray_private, gone.function)
    with caplog.at_level(logging.DEBUG, logger="mnist_tune"):
        result = function(*gone.arguments)
    if gone.without is NONE:
        assert isinstance(result, nullcontext)
    else:
        assert result == gone.without
    assert f"without {gone.function}" in caplog.text
    assert ray.__version__ in caplog.text


def test_without_tokens_a_ray_is_greeted_as_before(monkeypatch, caplog):
    """Ray 2.50 has none."""
    addresses = []
    monkeypatch.setitem(sys.modules, "ray._private.authentication", None)
    monkeypatch.setattr(
        "ray._raylet.GcsClient", lambda address: addresses.append(address)
    )
    ray_private.greet("localhost:1", True)
    assert addresses == ["localhost:1"]


def test_parameters_that_have_other_names_are_not_replaced(monkeypatch):
    class RayParams:
        def __init__(self, no_monitor: bool) -> None:
            pass

    monkeypatch.setattr("ray._private.parameter.RayParams", RayParams)
    assert isinstance(ray_private.own_parameters(False), nullcontext)


def test_population_based_training_is_refused_where_trials_would_share_an_id(
    monkeypatch,
):
    scheduler = PopulationBasedTraining(
        metric="loss", mode="min", hyperparam_mutations={"learning_rate": [0.1, 1.0]}
    )
    monkeypatch.delattr(PopulationBasedTraining, "_get_new_config")
    with pytest.raises(UserError, match="take another scheduler, or an older Ray"):
        ray_private.keeping_ids(scheduler, str)


@pytest.mark.ray
def test_a_sweep_has_the_same_rows_without_any_private_name(tmp_path):
    tables = []
    for without in ("", WITHOUT):
        folder = tmp_path / str(len(tables))
        code = without + SWEEP.format(folder=str(folder))
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG_S
        )
        assert done.returncode == 0, done.stderr
        tables.append(mnist_tune.load_sweep(folder).epochs)
    with_names, without_names = tables
    columns = [
        name for name in with_names if not name.endswith("_s") and name != "ended_at"
    ]
    pd.testing.assert_frame_equal(with_names[columns], without_names[columns])


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
    failures = []
    died = ray.exceptions.ActorDiedError()

    def fails(controller, trial, exception):
        failures.append((trial.status, exception))

    monkeypatch.setattr(TuneController, "_process_trial_failure", fails)
    with ray_private.deaths_counted(lambda error: False):
        for status, error in (
            ("RUNNING", died),
            ("PENDING", died),
            ("PENDING", ValueError),
        ):
            TuneController._process_trial_failure(
                None, SimpleNamespace(status=status), exception=error
            )
    assert failures == [("RUNNING", died), ("PENDING", ValueError)]


@pytest.mark.ray
def test_tune_keeps_no_call_that_has_returned_and_no_statistics_and_looks_up_its_trainable_once(
    every_core, tmp_path, monkeypatch
):
    managers, looked_up = set(), []
    schedule, look_up = (
        RayActorManager._schedule_tracked_actor_task,
        registry._global_registry.get,
    )

    def schedules(manager, *args, **options):
        managers.add(manager)
        return schedule(manager, *args, **options)

    def looks_up(*key):
        looked_up.append(key)
        return look_up(*key)

    monkeypatch.setattr(RayActorManager, "_schedule_tracked_actor_task", schedules)
    monkeypatch.setattr(registry._global_registry, "get", looks_up)
    most, statistics = [], []

    class Keeps(tune.Callback):
        def on_trial_result(self, trial, **_):
            statistics.append(trial.metric_analysis)
            most.extend(
                len(calls)
                for manager in managers
                for calls in manager._tracked_actors_to_task_futures.values()
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
    assert len([key for key in looked_up if key[0] == registry.TRAINABLE_CLASS]) == 1


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
