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
    vectors = chance.normal(0, 1, (700, 8)) + 0.7 * labels[:, None]
    vectors = vectors.astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(
        path,
        x_train=vectors[:600],
        y_train=labels[:600],
        x_test=vectors[600:],
        y_test=labels[600:],
    )
    return str(path)


FEW_EPOCHS = {
    "architecture": ("mlp-4-tanh",),
    "batch_size": (50,),
    "learning_rates": (0.001, 0.3),
    "epochs": 2,
}


def decide_on(data, folder, **values):
    """Decide between two learning rates on these vectors."""
    options = FEW_EPOCHS | values
    return decide(DecideOptions(dataset=data, output=folder, quiet=True, **options))


def results_of(decided):
    """The epochs of a decision, without what differs each time that it is made."""
    differing = [*TIMES, "wait_s", "batch_s", "ended_at", "node"]
    rows = decided.epochs.drop(columns=differing, errors="ignore")
    return rows.sort_values(["trial_id", "epoch"], ignore_index=True)


@pytest.mark.ray
def test_a_decision_that_was_killed_or_that_gets_more_trials_trains_what_it_would_have_trained(
    data, one_core, tmp_path, capsys
):
    whole = decide_on(data, tmp_path / "whole", trials=14, tolerance=1e-9)
    trials = whole.trials.set_index("trial_id")
    assert set(trials["holdout"]) == {100}  # a sixth
    rates = trials.groupby("seed")["learning_rate"].agg(set).tolist()
    assert rates == [{0.001, 0.3}] * (len(trials) // 2)
    print_report(whole)
    text = capsys.readouterr().out
    assert "\nTrain with 0.3: all others fail more often" in text
    assert "set aside, as another had failed with 0 seeds" in text

    assert "accuracy below the best" in page([whole])

    killed = tmp_path / "killed"
    shutil.copytree(whole.path, killed)
    rows = len(whole.epochs) // 2
    as_killed(killed, lambda text: text.count('"kind": "epoch"') >= rows)
    assert len(load_sweep(killed).epochs) < len(whole.epochs)
    few = decide_on(data, tmp_path / "few", trials=6, tolerance=1e-9)
    assert len(few.trials) == 6
    after_a_kill = DecideOptions(resume=killed, quiet=True)
    with_more_trials = DecideOptions(resume=few.path, trials=14, quiet=True)
    for options in (after_a_kill, with_more_trials):
        resumed = decide(options)
        assert results_of(resumed).equals(results_of(whole))
        assert resumed.trials["trial_id"].tolist() == whole.trials["trial_id"].tolist()


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

    def swept(folder, **values):
        options = SweepOptions(dataset=data, output=tmp_path / folder, quiet=True)
        return run_sweep("mine", trials | values, options)

    def decided_after(sweep, folder):
        options = DecideOptions(
            sweep=sweep.path,
            output=tmp_path / folder,
            quiet=True,
            trials=6,
            tolerance=0.9,
        )
        return decide(options)

    sweep = swept("sweep")
    headline = sweep.answer().headline
    assert set(sweep.trials["holdout"]) == {60}
    assert ": held-out accuracy " in headline
    assert "; test accuracy " in headline
    resumed = resume_sweep(sweep.path, learning_rates=(0.2,), quiet=True)
    assert resumed.trials["holdout"].tolist() == [60] * 3
    decision = decided_after(sweep, "decision")
    assert set(decision.trials["holdout"]) == {60}
    assert decision.meta["options"]["swept_images"] == 540
    assert not [note for note in notes(decision) if "the sweep trained on" in note]

    on_all_images = swept("all", holdout=0)
    headline = on_all_images.answer().headline
    assert headline.endswith("(best of 2, chosen on the test set)")
    on_fewer = decided_after(on_all_images, "fewer")
    assert set(on_fewer.trials["holdout"]) == {100}
    note = "this trains on 500 examples and the sweep trained on 600, so their scores do not compare"
    assert note in notes(on_fewer)
