"""Ray's private names: each is there in the Ray that is installed, and a sweep does without it or is refused."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import ray
from ray.tune.schedulers import PopulationBasedTraining

import mnist_tune
from mnist_tune import SweepOptions, TrialConfig, UserError, run_sweep
from mnist_tune.runtime import ray_private
from mnist_tune.runtime.ray_connect import _check_reachable
from mnist_tune.runtime.ray_private import NAMES, REFUSED, lacking
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.stopping import asha, keeping_ids

DONE_WITHOUT = [name for name, private in NAMES.items() if private.without not in REFUSED]


@pytest.fixture
def renamed(monkeypatch):
    """A function that lets Ray seem to have renamed some of its private names."""

    def rename(*names):
        other = {name: replace(NAMES[name], path=f"{NAMES[name].path}_renamed") for name in names}
        monkeypatch.setattr(ray_private, "NAMES", NAMES | other)

    return rename


def test_the_ray_that_is_installed_has_all_private_names():
    assert lacking(NAMES) == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_renamed_name_is_noticed(name, renamed, capsys):
    renamed(name)
    assert list(lacking(ray_private.NAMES)) == [name]
    ray_private.announce_missing(quiet=True)
    ray_private.announce_missing(quiet=False)
    private = NAMES[name]
    line = f"note: Ray {ray.__version__} has no {private.module}.{private.path}_renamed, {private.without}\n"
    assert capsys.readouterr().err == (line if name in DONE_WITHOUT else "")


def test_no_private_name_of_ray_is_imported_elsewhere():
    root = Path(mnist_tune.__file__).parent
    for file in set(root.rglob("*.py")) - {root / "runtime" / "ray_private.py"}:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in getattr(node, "names", [])] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [ast.unparse(node)] if isinstance(node, ast.Attribute) else []
            assert not [name for name in names if re.match(r"ray(\.\w+)*\._", name)], file


@pytest.mark.parametrize("name", ["rungs", "bracket"])
def test_without_the_rungs_of_asha_a_resume_is_refused(name, renamed):
    renamed(name)
    asha(5, 1)
    with pytest.raises(UserError, match=r"_renamed, so a sweep with --scheduler asha can't be resumed.*ray\[tune\]"):
        asha(5, 1, Past(rows=pd.DataFrame([{"trial_id": "a", "epoch": 1, "train_loss": 0.5}])))


def test_without_its_configs_population_based_training_is_refused(renamed):
    renamed("new config")
    scheduler = PopulationBasedTraining(hyperparam_mutations={"trial": {"learning_rate": [0.1]}})
    with pytest.raises(UserError, match="_get_new_config_renamed, so population based training is refused"):
        keeping_ids(scheduler)


@pytest.mark.parametrize("name", ["canonical address", "token mode", "token", "GCS"])
def test_without_the_names_of_a_cluster_ray_itself_decides(name, renamed, monkeypatch):
    renamed(name)
    connected = []
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: SimpleNamespace(close=lambda: connected.append(1)))
    monkeypatch.setattr("ray._raylet.GcsClient", lambda **_: pytest.fail("a request without its token"))
    _check_reachable("127.0.0.1:6379")
    assert connected == [1] * (name != "canonical address")


def test_without_the_names_of_the_raylet_its_death_goes_unnoticed(renamed):
    for name in ("node", "dead processes"):
        renamed(name)
        assert not ray_private.raylet_is_dead()


@pytest.mark.ray
def test_a_sweep_ends_well_without_the_private_names(renamed, one_core, tmp_path, capsys):
    """Without all at once: what each is for does not depend on what another one is for."""
    renamed(*DONE_WITHOUT)
    trials = [TrialConfig(architecture="mlp-2-tanh", epochs=1, seed=seed) for seed in (0, 1)]
    sweep = run_sweep("renamed", trials, SweepOptions(dataset="mnist-5k", output=tmp_path / "sweep", train_images=500))
    assert list(sweep.trials["stop_reason"]) == ["completed"] * 2
    said = capsys.readouterr().err
    for name in DONE_WITHOUT:
        assert f"{NAMES[name].path}_renamed, {NAMES[name].without}" in said


@pytest.fixture
def found(monkeypatch):
    """A function that replaces what some of the private names stand for."""

    def stand_for(**names):
        private = {
            name.replace("_", " "): SimpleNamespace(find=lambda value=value: value) for name, value in names.items()
        }
        monkeypatch.setattr(ray_private, "NAMES", NAMES | private)

    return stand_for


def test_a_dead_raylet_and_the_nodes_of_an_autoscaler_are_seen(found):
    for dead, seen in (([], False), ([("log_monitor", 1)], False), ([("log_monitor", 1), ("raylet", 2)], True)):
        found(node=SimpleNamespace(dead_processes=lambda dead=dead: dead), dead_processes=None)
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


@pytest.mark.parametrize("lacks", [None, "trials", "run metadata", "state"])
def test_tune_forgets_a_trial_but_for_the_last(renamed, lacks):
    renamed(*filter(None, [lacks]))
    metadata = SimpleNamespace(metric_analysis={"loss": 1}, metric_n_steps={"loss": 1}, last_result={"loss": 1})
    before = dict(vars(metadata))
    first, second = trials = [SimpleNamespace(run_metadata=metadata) for _ in range(2)]
    ray_private.forget(first, trials)
    forgotten = {"metric_analysis": {}, "metric_n_steps": {}, "last_result": {}}
    assert vars(metadata) == (before if lacks == "run metadata" else forgotten)
    assert hasattr(first, "get_json_state") is (lacks != "state")
    assert trials == ([first, second] if lacks == "trials" else [second])
    ray_private.forget(second, trials)  # with an empty list, Tune would load its saved state
    assert trials[-1] is second


def test_joining_a_cluster_imports_nothing_of_tune():
    """Meanwhile a thread imports Tune, and each might find modules that the other has imported by half."""
    code = "import sys; from mnist_tune.runtime import ray_private as names; names.has('token mode', 'token', 'GCS'); "
    code += "print([name for name in sys.modules if name.startswith('ray.tune')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
