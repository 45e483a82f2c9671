"""Sweeps of tasks under Ray: as processes and as lanes, labelled by their losses,
resumed and extended."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from tasks import regression

from mnist_tune import (
    DecideOptions,
    EdgeOptions,
    SweepOptions,
    TrialConfig,
    UserError,
    decide,
    find_edge,
    load_sweep,
    resume_sweep,
    run_search,
    run_sweep,
)
from mnist_tune.commands import predict
from mnist_tune.exports.run import runs
from mnist_tune.reports.view import View

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("one_core")]

TASKS = Path(__file__).parents[1] / "helpers" / "tasks.py"
RATES = (1e-4, 0.1, 0.5, 3.0)


def trials(epochs=6):
    config = TrialConfig(batch_size=32, epochs=epochs)
    return [replace(config, learning_rate=rate) for rate in RATES]


def losses_of(epochs):
    """The test losses, by trial and epoch."""
    return epochs.set_index(["trial_id", "epoch"])["test_loss"].astype(float)


@pytest.mark.ray(apart=True)
def test_a_task_is_swept_labelled_resumed_and_extended(tmp_path, capsys):
    name = f"{TASKS}:regression(features=3)"
    options = SweepOptions(output=tmp_path / "a", quiet=True, scheduler="fifo")
    sweep = run_sweep("task", trials(), options, task=name)
    table = sweep.trials.set_index("learning_rate")
    regimes = [table.loc[rate, "regime"] for rate in RATES]
    assert regimes == ["slow", "converged", "converged", "diverged"]
    best = sweep.trials.loc[sweep.trials["validation_loss"].idxmin()]
    held_out = f"{best['validation_loss']:.4g}"
    rate = f"{best['learning_rate']}: held-out loss {held_out} (best of 4)"
    headline = f"Train with {rate}; test loss {best['test_loss']:.4g}"
    assert sweep.answer().headline == headline
    assert set(sweep.trials["holdout"]) == {30}
    assert sweep.trials["test_accuracy"].isna().all()
    sweep.table()
    assert f" {held_out} " in capsys.readouterr().out

    as_lanes = replace(
        options, output=tmp_path / "b", execution="lanes", sharpness=True
    )
    lanes = run_sweep("task", trials(), as_lanes, task=name)
    data = sweep.meta["dataset"]
    assert data["train_images"] == 300
    assert data["test_images"] == 100
    assert data["guesses"] == {name: 6.0}
    assert list(data["scores"]) == []
    # of 8 parameters
    assert data["lane_bytes"] == 4 * 8 * 4
    assert lanes.meta["dataset"]["lane_bytes"] == 44 * 8 * 4
    finite = sweep.epochs[sweep.epochs["learning_rate"] < 1]
    finite_on_lanes = lanes.epochs[lanes.epochs["learning_rate"] < 1]
    losses = finite["test_loss"].astype(float)
    losses_on_lanes = finite_on_lanes["test_loss"].astype(float)
    np.testing.assert_allclose(losses, losses_on_lanes, rtol=1e-4)

    longer = resume_sweep(
        tmp_path / "a", epochs=8, task=f"{TASKS}:regression", data_memory=1e-6
    )
    epochs = longer.epochs.groupby("trial_id")["epoch"].max().tolist()
    assert epochs == [8, 8, 8, 1]
    before = losses_of(finite)
    after = losses_of(longer.epochs).loc[before.index]
    np.testing.assert_array_equal(after, before)


def test_a_task_may_be_given_from_python(tmp_path, monkeypatch):
    folder = tmp_path / "a"
    options = SweepOptions(output=folder, quiet=True)
    sweep = run_sweep("task", trials(2)[1:2], options, task=regression())
    assert sweep.trials["test_loss"].item() < 6
    assert load_sweep(folder).trials["stop_reason"].tolist() == ["completed"]
    resume_sweep(folder, epochs=3, quiet=True, task=regression())
    sweep = load_sweep(folder)
    best = sweep.load()
    by_code = sweep.load(code=regression())
    np.testing.assert_array_equal(by_code.params["w"], best.params["w"])
    assert best.row["epoch"] == 3
    assert best.params["w"].shape == (5, 2)
    assert best.state == ()
    loss = f"test loss {best.row['test_loss']:.4g}"
    assert repr(best).endswith(f"epoch 3: {loss}; .params .state .net>")
    only_networks = "only networks predict classes"
    with pytest.raises(UserError, match=only_networks):
        best.predict([[1.0]])
    np.save(tmp_path / "x.npy", [[1.0]])
    words = ["predict", str(folder), str(tmp_path / "x.npy")]
    monkeypatch.setattr("sys.argv", words)
    refusal = f"a trained a task, and {only_networks}; from Python"
    with pytest.raises(UserError, match=refusal):
        predict.main()


@pytest.mark.parametrize(
    ("function", "values", "message"),
    [
        ("regresion", {}, "has no function 'regresion'; did you mean 'regression'"),
        (
            "regression",
            {"dataset": "digits"},
            "--dataset is for networks on labelled data",
        ),
        ("regression", {"target": 0.9}, "--target is for networks on labelled data"),
        ("regression(features='x')", {}, "data\\(\\) fails, TypeError"),
    ],
)
def test_mistakes_in_a_task_make_no_folder(tmp_path, function, values, message):
    folder = tmp_path / "b"
    task = f"{TASKS}:{function}"
    options = SweepOptions(output=folder, quiet=True, task=task, **values)
    with pytest.raises(UserError, match=message):
        run_sweep("task", trials(2), options)
    assert not folder.exists()


def test_a_refused_task_is_one_line_without_a_traceback_of_rays(tmp_path):
    folder = tmp_path / "a"
    words = ["regimes", "--task", "nobodys", "--output", folder]
    command = [sys.executable, "-m", "mnist_tune", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    message = (
        "unknown task 'nobodys'; name the function that makes it, FILE.py:FUNCTION"
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {message}\n"
    assert not folder.exists()


VAE = f"{TASKS}:vae"
SMALLER_BETA = f"{VAE}(beta=1)"
VAES = (SMALLER_BETA, f"{VAE}(beta=8)")
SHARED = {"quiet": True, "cpus_per_trial": 1}


def check_several_tasks(sweep):
    assert sweep.trials["score_kl"].gt(0).all()
    assert "score_kl" in load_sweep(sweep.path).epochs
    assert sweep.answer().headline == "A best setting is known for 2 of 2 tasks"
    assert sweep.best()["architecture"].nunique() == 2
    assert "kl" in [measure.title for measure in View([sweep]).measures]
    scores = [row.metrics["score_kl"] for run in runs(sweep) for row in run.rows]
    assert len(scores) == 8
    assert min(scores) > 0


@pytest.mark.ray(apart=True)
def test_commands_take_tasks_and_several_of_them_share_a_sweep(tmp_path):
    """Two VAEs whose losses have other scales: each has a best rate, a decision is of
    one of them, and they compare by a score of their own. The edge trains as the sweep
    did, whose step is that of the regression."""
    slow = TrialConfig(optimizer="adam", learning_rate=0.01, batch_size=50, epochs=2)
    rates = [slow, replace(slow, learning_rate=0.02)]
    folder = tmp_path / "a"
    options = SweepOptions(output=folder, execution="lanes", **SHARED)
    check_several_tasks(run_sweep("tasks", rates, options, task=VAES))

    one_of_two = DecideOptions(task=(VAE,), sweep=folder, learning_rates=(), **SHARED)
    incomparable = "don't compare; name one --task, or give --rank-by"
    with pytest.raises(UserError, match=incomparable):
        decide(one_of_two)
    mistyped = SweepOptions(output=tmp_path / "b", rank_by="score_k:min", **SHARED)
    unknown_score = r"not every trial of .* has this score; did you mean 'kl'"
    with pytest.raises(UserError, match=unknown_score):
        run_sweep("tasks", rates, mistyped, task=VAES)

    by_score = DecideOptions(
        task=VAES,
        rank_by="score_kl:max",
        tolerance=1.0,
        output=tmp_path / "c",
        optimizer=("adam",),
        learning_rates=(0.01,),
        batch_size=(50,),
        epochs=1,
        trials=8,
        **SHARED,
    )
    decision = decide(by_score)
    leader = decision.decision.decision.leader
    assert leader == 0, "less weight of the divergence leaves more of it"
    extended = DecideOptions(resume=tmp_path / "c", task=VAES, trials=10, quiet=True)
    assert len(decide(extended).trials) >= len(decision.trials)


@pytest.mark.ray(apart=True)
def test_a_searcher_looks_at_the_own_score_of_a_task(tmp_path):
    space = {
        "optimizer": "adam",
        "learning_rate": tune.uniform(0.01, 0.02),
        "batch_size": 50,
        "epochs": 1,
        "holdout": 100,
    }
    options = SweepOptions(
        output=tmp_path / "d", task=(SMALLER_BETA,), rank_by="score_kl:max", **SHARED
    )
    searcher = OptunaSearch(metric="score_kl", mode="max", seed=0)
    trials = run_search("tasks", space, 2, options, search_alg=searcher).trials
    assert trials["architecture"].tolist() == [SMALLER_BETA] * 2
    assert trials["loss_error"].between(0.1, 10).all()
    assert searcher._ot_study.best_value == trials["score_kl"].max()


def test_an_edge_of_a_task_trains_as_its_sweep(tmp_path):
    name = f"{TASKS}:regression(features=3)"
    options = SweepOptions(output=tmp_path / "a", quiet=True)
    run_sweep("task", trials(2)[1:2], options, task=name)
    options = EdgeOptions(
        sweep=tmp_path / "a",
        task=(f"{TASKS}:regression",),
        trials=6,
        quiet=True,
        output=tmp_path / "b",
    )
    [edge] = find_edge(options).edges()
    assert edge.learned.best < 1
    trained = load_sweep(tmp_path / "b").trials
    assert set(trained["batch_size"]) == {32}
    assert set(trained["epochs_asked"]) == {2}


def test_sharpness_of_a_step_and_a_target_loss_of_a_network_are_refused(tmp_path):
    folder = tmp_path / "c"
    options = SweepOptions(output=folder, sharpness=True, quiet=True)
    with pytest.raises(UserError, match="makes steps of its own; leave it out"):
        run_sweep("gan", trials(1), options, task=f"{TASKS}:gan")
    network = [TrialConfig(architecture="mlp-4-tanh")]
    options = SweepOptions(output=folder, quiet=True, dataset="digits", target_loss=0.1)
    refusal = "--target-loss is for tasks without an accuracy"
    with pytest.raises(UserError, match=refusal):
        run_sweep("network", network, options)
    assert not folder.exists()
