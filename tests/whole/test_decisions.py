"""Decisions between settings under Ray Tune."""

import shutil

import numpy as np
import pytest
from journals import as_killed

from mnist_tune import (
    DecideOptions,
    SweepOptions,
    decide,
    load_sweep,
    resume_sweep,
    run_sweep,
)
from mnist_tune.reports.findings import notes
from mnist_tune.reports.page import page
from mnist_tune.reports.terminal import print_report
from mnist_tune.results.tables import TIMES


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes of vectors that overlap: no network gets them all right."""
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 2, 700)
    vectors = (chance.normal(0, 1, (700, 8)) + 0.7 * labels[:, None]).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(
        path,
        x_train=vectors[:600],
        y_train=labels[:600],
        x_test=vectors[600:],
        y_test=labels[600:],
    )
    return str(path)


def options(data, folder, **more):
    few = {
        "architecture": ("mlp-4-tanh",),
        "batch_size": (50,),
        "learning_rates": (0.001, 0.3),
        "epochs": 2,
    }
    return DecideOptions(dataset=data, output=folder, quiet=True, **few | more)


@pytest.mark.ray
def test_a_decision_that_was_killed_or_that_gets_more_trials_trains_what_it_would_have_trained(
    data, one_core, tmp_path, capsys
):
    whole = decide(options(data, tmp_path / "whole", trials=14, tolerance=1e-9))
    trials = whole.trials.set_index("trial_id")
    assert set(trials["holdout"]) == {100}  # a sixth
    assert trials.groupby("seed")["learning_rate"].agg(set).tolist() == [
        {0.001, 0.3}
    ] * (len(trials) // 2)
    print_report(whole)
    said = capsys.readouterr().out
    assert "\nTrain with 0.3: all others fail more often" in said
    assert "set aside, as another had failed with 0 seeds" in said

    assert "accuracy below the best" in page([whole])

    killed = tmp_path / "killed"
    shutil.copytree(whole.path, killed)
    rows = len(whole.epochs) // 2
    as_killed(killed, lambda text: text.count('"kind": "epoch"') >= rows)
    assert len(load_sweep(killed).epochs) < len(whole.epochs)
    few = decide(options(data, tmp_path / "few", trials=6, tolerance=1e-9))
    assert len(few.trials) == 6
    for again in (
        decide(DecideOptions(resume=killed, quiet=True)),
        decide(DecideOptions(resume=few.path, trials=14, quiet=True)),
    ):
        drop = [*TIMES, "wait_s", "batch_s", "ended_at"]
        ours, theirs = (
            one.epochs.drop(columns=drop, errors="ignore").sort_values(
                ["trial_id", "epoch"], ignore_index=True
            )
            for one in (again, whole)
        )
        assert ours.drop(columns=["node"]).equals(theirs.drop(columns=["node"]))
        assert again.trials["trial_id"].tolist() == whole.trials["trial_id"].tolist()


@pytest.mark.ray
def test_a_sweep_of_data_of_ones_own_its_resume_and_its_decision_hold_out_the_same_images(
    data, one_core, tmp_path
):
    """A tenth of 600, though nothing was said; 0 is none, and then its decision says
    that it trains on fewer."""
    trials = {
        "architecture": "mlp-4-tanh",
        "batch_size": 50,
        "learning_rate": [0.1, 0.3],
        "epochs": 2,
    }
    sweep = run_sweep(
        "mine",
        trials,
        SweepOptions(dataset=data, output=tmp_path / "sweep", quiet=True),
    )
    headline = sweep.answer().headline
    assert set(sweep.trials["holdout"]) == {60}
    assert (": held-out accuracy " in headline, "; test accuracy " in headline) == (
        True,
        True,
    )
    resumed = resume_sweep(sweep.path, learning_rates=(0.2,), quiet=True)
    assert resumed.trials["holdout"].tolist() == [60] * 3
    decided = decide(
        DecideOptions(
            sweep=sweep.path,
            output=tmp_path / "decision",
            quiet=True,
            trials=6,
            tolerance=0.9,
        )
    )
    assert (
        set(decided.trials["holdout"]),
        decided.meta["options"]["swept_images"],
    ) == ({60}, 540)
    assert not [note for note in notes(decided) if "the sweep trained on" in note]
    alone = run_sweep(
        "mine",
        trials | {"holdout": 0},
        SweepOptions(dataset=data, output=tmp_path / "all", quiet=True),
    )
    assert alone.answer().headline.endswith("(best of 2, chosen on the test set)")
    fewer = decide(
        DecideOptions(
            sweep=alone.path,
            output=tmp_path / "fewer",
            quiet=True,
            trials=6,
            tolerance=0.9,
        )
    )
    said = "this trains on 500 examples and the sweep trained on 600, so their scores do not compare"
    assert (set(fewer.trials["holdout"]), said in [*notes(fewer)]) == ({100}, True)
