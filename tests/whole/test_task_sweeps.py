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
    return [
        TrialConfig(learning_rate=rate, batch_size=32, epochs=epochs) for rate in RATES
    ]


@pytest.mark.ray(apart=True)
def test_a_task_is_swept_labelled_resumed_and_extended(tmp_path, capsys):
    name = f"{TASKS}:regression(features=3)"
    options = SweepOptions(output=tmp_path / "a", quiet=True, scheduler="fifo")
    sweep = run_sweep("task", trials(), options, task=name)
    regimes = dict(
        zip(sweep.trials["learning_rate"], sweep.trials["regime"], strict=True)
    )
    assert [regimes[rate] for rate in RATES] == [
        "slow",
        "converged",
        "converged",
        "diverged",
    ]
    least = sweep.trials.loc[sweep.trials["validation_loss"].idxmin()]
    held_out, tested = (
        f"{least[name]:.4g}" for name in ("validation_loss", "test_loss")
    )
    chosen = f"Train with {least['learning_rate']}: held-out loss {held_out} (best of 4); test loss {tested}"
    assert sweep.answer().headline == chosen
    assert set(sweep.trials["holdout"]) == {30}
    assert sweep.trials["test_accuracy"].isna().all()
    sweep.table()
    assert f" {held_out} " in capsys.readouterr().out
    as_lanes = replace(
        options, output=tmp_path / "b", execution="lanes", sharpness=True
    )
    lanes = run_sweep("task", trials(), as_lanes, task=name)
    kept, measured = (one.meta["dataset"] for one in (sweep, lanes))
    assert (kept["train_images"], kept["test_images"]) == (300, 100)
    assert (kept["guesses"], list(kept["scores"])) == ({name: 6.0}, [])
    both = [one.epochs[one.epochs["learning_rate"] < 1] for one in (sweep, lanes)]
    np.testing.assert_allclose(
        *(one["test_loss"].astype(float) for one in both), rtol=1e-4
    )
    # of 8 parameters
    assert (kept["lane_bytes"], measured["lane_bytes"]) == (4 * 8 * 4, 44 * 8 * 4)
    longer = resume_sweep(
        tmp_path / "a", epochs=8, task=f"{TASKS}:regression", data_memory=1e-6
    )
    assert longer.epochs.groupby("trial_id")["epoch"].max().tolist() == [8, 8, 8, 1]
    again = longer.epochs.set_index(["trial_id", "epoch"])["test_loss"].loc[
        both[0]["trial_id"].unique().tolist()
    ]
    known = both[0].set_index(["trial_id", "epoch"])["test_loss"]
    np.testing.assert_array_equal(
        again.loc[known.index].astype(float), known.astype(float)
    )


def test_a_task_may_be_given_from_python_and_mistakes_make_no_folder(
    tmp_path, monkeypatch
):
    options = SweepOptions(output=tmp_path / "a", quiet=True)
    sweep = run_sweep("task", trials(2)[1:2], options, task=regression())
    assert sweep.trials["test_loss"].item() < 6
    assert load_sweep(tmp_path / "a").trials["stop_reason"].tolist() == ["completed"]
    resume_sweep(tmp_path / "a", epochs=3, quiet=True, task=regression())
    sweep = load_sweep(tmp_path / "a")
    best = sweep.load()
    again = sweep.load(code=regression())
    np.testing.assert_array_equal(again.params["w"], best.params["w"])
    assert (best.row["epoch"], best.params["w"].shape, best.state) == (3, (5, 2), ())
    assert repr(best).endswith(
        f"epoch 3: test loss {best.row['test_loss']:.4g}; .params .state .net>"
    )
    with pytest.raises(UserError, match="only networks predict classes"):
        best.predict([[1.0]])
    np.save(tmp_path / "x.npy", [[1.0]])
    monkeypatch.setattr(
        "sys.argv", ["predict", str(tmp_path / "a"), str(tmp_path / "x.npy")]
    )
    with pytest.raises(
        UserError,
        match="a trained a task, and only networks predict classes; from Python",
    ):
        predict.main()
    for wrong, said in (
        (
            {"task": f"{TASKS}:regresion"},
            "has no function 'regresion'; did you mean 'regression'",
        ),
        (
            {"task": f"{TASKS}:regression", "dataset": "digits"},
            "--dataset is for networks on labelled data",
        ),
        (
            {"task": f"{TASKS}:regression", "target": 0.9},
            "--target is for networks on labelled data",
        ),
        ({"task": f"{TASKS}:regression(features='x')"}, "data\\(\\) fails, TypeError"),
    ):
        with pytest.raises(UserError, match=said):
            run_sweep(
                "task",
                trials(2),
                SweepOptions(output=tmp_path / "b", quiet=True, **wrong),
            )
        assert not (tmp_path / "b").exists()


def test_a_refused_task_is_one_line_without_a_traceback_of_rays(tmp_path):
    called = [
        sys.executable,
        "-m",
        "mnist_tune",
        "regimes",
        "--task",
        "nobodys",
        "--output",
        tmp_path / "a",
    ]
    found = subprocess.run(called, capture_output=True, text=True)
    said = "error: unknown task 'nobodys'; name the function that makes it, FILE.py:FUNCTION\n"
    assert (found.returncode, found.stdout, found.stderr) == (2, "", said)
    assert not (tmp_path / "a").exists()


@pytest.mark.ray(apart=True)
def test_commands_take_tasks_and_several_of_them_share_a_sweep(tmp_path):
    """Two VAEs whose losses have other scales: each has a best rate, a decision is of
    one of them, and they compare by a score of their own. The edge trains as the sweep
    did, whose step is that of the regression."""
    quiet, name = {"quiet": True, "cpus_per_trial": 1}, f"{TASKS}:vae"
    some = [
        TrialConfig(optimizer="adam", learning_rate=rate, batch_size=50, epochs=2)
        for rate in (0.01, 0.02)
    ]
    both = f"{name}(beta=1)", f"{name}(beta=8)"
    sweep = run_sweep(
        "tasks",
        some,
        SweepOptions(output=tmp_path / "a", execution="lanes", **quiet),
        task=both,
    )
    assert sweep.trials["score_kl"].gt(0).all()
    assert "score_kl" in load_sweep(tmp_path / "a").epochs
    assert sweep.answer().headline == "A best setting is known for 2 of 2 tasks"
    assert sweep.best()["architecture"].nunique() == 2
    assert "kl" in [one.title for one in View([sweep]).measures]
    assert [row.metrics["score_kl"] > 0 for run in runs(sweep) for row in run.rows] == [
        True
    ] * 8
    asked = {"sweep": tmp_path / "a", "learning_rates": (), **quiet}
    with pytest.raises(
        UserError, match="don't compare; name one --task, or give --rank-by"
    ):
        decide(DecideOptions(task=(name,), **asked))
    with pytest.raises(
        UserError, match=r"not every trial of .* has this score; did you mean 'kl'"
    ):
        run_sweep(
            "tasks",
            some,
            SweepOptions(output=tmp_path / "b", rank_by="score_k:min", **quiet),
            task=both,
        )
    chosen = {
        "optimizer": ("adam",),
        "learning_rates": (0.01,),
        "batch_size": (50,),
        "epochs": 1,
        "trials": 8,
        **quiet,
    }
    found = decide(
        DecideOptions(
            task=both,
            rank_by="score_kl:max",
            tolerance=1.0,
            output=tmp_path / "c",
            **chosen,
        )
    )
    assert found.decision.decision.leader == 0, (
        "less weight of the divergence leaves more of it"
    )
    more = decide(
        DecideOptions(resume=tmp_path / "c", task=both, trials=10, quiet=True)
    )
    assert len(more.trials) >= len(found.trials)
    space = {
        "optimizer": "adam",
        "learning_rate": tune.uniform(0.01, 0.02),
        "batch_size": 50,
        "epochs": 1,
    }
    options = SweepOptions(
        output=tmp_path / "d", task=both[:1], rank_by="score_kl:max", **quiet
    )
    searcher = OptunaSearch(metric="score_kl", mode="max", seed=0)
    searched = run_search(
        "tasks", space | {"holdout": 100}, 2, options, search_alg=searcher
    )
    assert searched.trials["architecture"].tolist() == [both[0]] * 2
    assert searched.trials["loss_error"].between(0.1, 10).all()
    assert searcher._ot_study.best_value == searched.trials["score_kl"].max(), (
        "it looks at the task's own score"
    )


def test_an_edge_of_a_task_trains_as_its_sweep_and_sharpness_of_a_step_is_refused(
    tmp_path,
):
    name = f"{TASKS}:regression(features=3)"
    run_sweep(
        "task",
        trials(2)[1:2],
        SweepOptions(output=tmp_path / "a", quiet=True),
        task=name,
    )
    options = EdgeOptions(
        sweep=tmp_path / "a",
        task=(f"{TASKS}:regression",),
        trials=6,
        quiet=True,
        output=tmp_path / "b",
    )
    [edge] = find_edge(options).edges()
    assert edge.learned.best < 1
    trained = load_sweep(tmp_path / "b").trials[["batch_size", "epochs_asked"]]
    assert trained.drop_duplicates().to_numpy().tolist() == [[32, 2]]
    with pytest.raises(UserError, match="makes steps of its own; leave it out"):
        run_sweep(
            "gan",
            trials(1),
            SweepOptions(output=tmp_path / "c", sharpness=True, quiet=True),
            task=f"{TASKS}:gan",
        )
    network, asked = (
        [TrialConfig(architecture="mlp-4-tanh")],
        {"dataset": "digits", "target_loss": 0.1},
    )
    with pytest.raises(
        UserError, match="--target-loss is for tasks without an accuracy"
    ):
        run_sweep(
            "network", network, SweepOptions(output=tmp_path / "c", quiet=True, **asked)
        )
    assert not (tmp_path / "c").exists()
