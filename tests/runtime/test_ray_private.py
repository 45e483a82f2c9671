"""Ray's private names: each is there in the Ray that is installed; a Ray that lacks one is refused."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from waiting import LONG_S

import mnist_tune
from mnist_tune import SweepOptions, TrialConfig, UserError, run_sweep
from mnist_tune.runtime import ray_private
from mnist_tune.runtime.ray_private import NAMES, check_names


def test_the_ray_that_is_installed_has_all_private_names():
    check_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_ray_that_lacks_a_name_is_refused(name, monkeypatch):
    monkeypatch.setattr(ray_private, "NAMES", NAMES | {name: f"{NAMES[name]}_renamed"})
    named = re.search(r'"(ray\[tune\].*)"', (Path(__file__).parents[2] / "pyproject.toml").read_text())[1]
    said = f"install the Ray that pyproject.toml names: python -m pip install '{named}'"
    with pytest.raises(UserError) as refused:
        check_names()
    assert str(refused.value) == f"Ray {ray.__version__} has no {NAMES[name].replace(' ', '.')}_renamed; {said}"


@pytest.mark.ray
def test_a_sweep_is_refused_before_a_trial_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(ray_private, "NAMES", NAMES | {"state": f"{NAMES['state']}_renamed"})
    trials = [TrialConfig(architecture="mlp-2-tanh", epochs=1)]
    with pytest.raises(UserError, match=r"Trial\.get_json_state_renamed; install the Ray"):
        run_sweep("renamed", trials, SweepOptions(dataset="mnist-5k", output=tmp_path / "sweep", train_images=500))


def test_no_private_name_of_ray_is_imported_elsewhere():
    root = Path(mnist_tune.__file__).parent
    for file in set(root.rglob("*.py")) - {root / "runtime" / "ray_private.py"}:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in getattr(node, "names", [])] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [ast.unparse(node)] if isinstance(node, ast.Attribute) else []
            assert not [name for name in names if re.match(r"ray(\.\w+)*\._", name)], file


@pytest.fixture
def found(monkeypatch):
    """A function that replaces what some of the private names stand for."""

    def stand_for(**names):
        private = {name.replace("_", " "): value for name, value in names.items()}
        monkeypatch.setattr(ray_private, "private", private.__getitem__)

    return stand_for


def test_a_dead_raylet_and_the_nodes_of_an_autoscaler_are_seen(found):
    for dead, seen in (([], False), ([("log_monitor", 1)], False), ([("log_monitor", 1), ("raylet", 2)], True)):
        found(node=SimpleNamespace(dead_processes=lambda dead=dead: dead))
        assert ray_private.raylet_is_dead() is seen
    groups = [SimpleNamespace(resources={"CPU": 8.0}), SimpleNamespace(resources={"CPU": 4.0, "GPU": 1.0})]
    for config, nodes in (
        (None, []),
        (SimpleNamespace(node_group_configs=groups), [{"CPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}]),
    ):
        found(cluster_config=lambda config=config: config)
        assert ray_private.kinds_of_nodes() == nodes


def test_lines_about_deaths_are_skipped_for_a_while(found):
    printer = SimpleNamespace(skip_re="before")
    found(printer=printer)
    with ray_private.skipped_lines("^A worker died"):
        assert printer.skip_re.match("A worker died or was killed")
    assert printer.skip_re == "before"


@pytest.mark.parametrize("auto", [True, False])
def test_a_cluster_is_greeted_with_the_token_and_without_noise(found, capfd, auto):
    asked = []

    def client(address):
        asked.append(address)
        os.write(2, b"noise")
        raise RuntimeError("refused")

    mode, token = (lambda name=name, **options: asked.append((name, options)) for name in ("mode", "token"))
    found(token_mode=mode, token=token, GCS=client)
    with pytest.raises(RuntimeError, match="refused"):
        ray_private.greet("head:6379", auto)
    os.write(2, b"said")
    assert capfd.readouterr().err == "said"
    assert asked == [("mode", {"warn_if_disabled": False})] * auto + [
        ("token", {"create_token_if_missing": False}),
        "head:6379",
    ]


def test_tune_forgets_a_trial_but_for_the_last(found):
    metadata = SimpleNamespace(metric_analysis={"loss": 1}, metric_n_steps={"loss": 1}, last_result={"loss": 1})
    first, second = trials = [SimpleNamespace(run_metadata=metadata) for _ in range(2)]
    ray_private.forget(first, trials)
    assert vars(metadata) == {"metric_analysis": {}, "metric_n_steps": {}, "last_result": {}}
    assert trials == [second]
    ray_private.forget(second, trials)  # with an empty list, Tune would load its saved state
    assert trials == [second]


def test_a_trial_that_waits_again_is_not_given_up_for_the_death_for_which_it_waits(monkeypatch):
    from ray.tune.execution.tune_controller import TuneController

    told, died = [], ray.exceptions.ActorDiedError()
    monkeypatch.setattr(TuneController, "_process_trial_failure", lambda *failure: told.append(failure))
    with ray_private.deaths_counted(lambda error: False):
        for status, error in (("RUNNING", died), ("PENDING", died), ("PENDING", ValueError)):
            TuneController._process_trial_failure(None, SimpleNamespace(status=status), exception=error)
    assert [(trial.status, error) for _, trial, error in told] == [("RUNNING", died), ("PENDING", ValueError)]


def test_joining_a_cluster_imports_nothing_of_tune():
    """Meanwhile a thread imports Tune, and each might find modules that the other has imported by half."""
    code = "import sys; from mnist_tune.runtime.ray_private import private\n"
    code += "for name in ('token mode', 'token', 'GCS'): private(name)\n"
    code += "print([name for name in sys.modules if name.startswith('ray.tune')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG_S)
    assert done.stdout.strip() == "[]", done.stderr
