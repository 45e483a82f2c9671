"""`search`: what it draws, how it chooses, and that the test set is looked at for the winner only."""

import math
import sys

import numpy as np
import pandas as pd
import pytest

from mnist_tune import UserError, load_sweep
from mnist_tune.commands import search
from mnist_tune.commands.search import Search, best, print_best, resumed
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.searcher import drawn


def table(**columns):
    """Return the trials of a search: the best one on the test set is not the best on the images held out."""
    usual = {
        "architecture": ["mlp-4-tanh", "mlp-8-tanh", "mlp-16-tanh", "mlp-32-tanh"],
        "learning_rate": 0.1,
        "momentum": 0.5,
        "batch_size": 64,
        "weight_decay": 1e-4,
        "holdout": 100,
        "epochs_asked": 4,
        "epochs_run": 4,
        "validation_accuracy": [0.9, 0.95, 0.99, math.nan],
        "validation_loss": 0.3,
        "test_accuracy": [0.987654, 0.9, 0.9, 0.9],
        "regime": "converged",
        "stop_reason": ["completed", "completed", "slow", "diverged"],
    }
    return pd.DataFrame(usual | columns)


def test_the_winner_is_the_best_on_the_images_held_out_of_those_trained_to_their_end():
    winner = best(table())
    assert winner == TrialConfig(
        architecture="mlp-8-tanh", learning_rate=0.1, momentum=0.5, batch_size=64, weight_decay=1e-4, holdout=100,
        epochs=4, label="winner",
    )  # fmt: skip
    assert best(table(validation_accuracy=0.9, validation_loss=[0.3, 0.2, 0.1, 0.1])).architecture == "mlp-8-tanh"
    assert best(table(stop_reason="slow")) is None


def test_what_is_printed_of_the_search_has_nothing_of_the_test_set(capsys):
    print_best(table())
    said = capsys.readouterr().out
    assert said.index("mlp-16-tanh") < said.index("mlp-8-tanh") < said.index("mlp-4-tanh")
    assert "0.9877" not in said
    assert "test" not in said


def test_every_draw_is_a_trial_within_its_ranges():
    space = Search(learning_rate="0.01:0.1", momentum="0.9", widths=(8, 16), depths=(1, 2)).space()
    trials = drawn(space, 50, np.random.default_rng(0)).values()
    assert {trial.architecture for trial in trials} == {
        f"mlp-{shape}-{kind}" for shape in ("8", "16", "8-8", "16-16") for kind in ("tanh", "relu-glorot")
    }
    assert all(0.01 <= trial.learning_rate <= 0.1 for trial in trials)
    assert {(trial.momentum, trial.epochs, trial.holdout, trial.seed) for trial in trials} == {(0.9, 10, 10_000, 0)}
    assert {trial.batch_size for trial in trials} == {32, 64, 128, 256, 512}
    assert Search(architecture=("net.py:mlp", "convnet")).networks() == ("net.py:mlp", "convnet")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"learning_rate": "1:0.1"}, "--learning-rate can't be '1:0.1'; write a range FIRST:LAST, such as 0.003:3"),
        ({"learning_rate": "0:1"}, "--learning-rate can't be '0:1'"),
        ({"weight_decay": "a"}, "--weight-decay can't be 'a'"),
        ({"samples": 0}, "--samples must be at least 1, got 0"),
        ({"widths": ()}, "--widths needs at least one value"),
        ({"final_seeds": (0, 1)}, "--final-seeds must be fresh"),
    ],
)
def test_bad_options_are_refused(options, said):
    with pytest.raises(UserError, match=f"^{said}"):
        Search(**options)


def test_tpe_without_optuna_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"--by tpe needs optuna; to install it: .*; or search --by random"):
        Search().searcher()
    assert Search(by="random").searcher() is None


def test_a_resume_searches_the_same_space_and_may_add_trials(new_writer, tmp_path):
    writer = new_writer(tmp_path, count=0)
    asked = Search(samples=12, widths=(8,), learning_rate="0.1:1")
    writer.meta |= {"search": True, "options": vars(asked) | {"widths": [8]}}
    writer.finish()
    again = resumed(Search(resume=tmp_path), tmp_path)
    assert (again.samples, again.widths, again.learning_rate, again.resume) == (12, (8,), "0.1:1", tmp_path)
    assert resumed(Search(resume=tmp_path, samples=20), tmp_path).samples == 20
    with pytest.raises(UserError, match="--learning-rate can't change in a resume"):
        resumed(Search(resume=tmp_path, learning_rate="0.2:1"), tmp_path)


@pytest.mark.ray
def test_a_search_ends_with_its_winner_over_fresh_seeds(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("atexit.register", lambda function: None)  # Ray goes on for the other tests
    flags = "--samples 3 --widths 8 --depths 1 --epochs 2 --holdout 500 --final-seeds 1 2 --dataset mnist-5k --quiet"
    flags += f" --scheduler fifo --output {tmp_path / 'found'}"
    monkeypatch.setattr(sys, "argv", ["search.py", *flags.split()])
    assert search.main() == 0
    found, winner = load_sweep(tmp_path / "found"), load_sweep(tmp_path / "found" / "winner")
    assert found.trials["stop_reason"].tolist() == ["completed"] * 3
    chosen = found.trials.loc[found.trials["validation_accuracy"].idxmax()]
    assert set(winner.trials["learning_rate"]) == {chosen["learning_rate"]}
    assert winner.trials["seed"].tolist() == [1, 2]
    said = capsys.readouterr().out
    assert f"Test accuracy over 2 fresh seeds: {winner.trials['test_accuracy'].mean():.4f} ± " in said
    assert f"{found.trials['test_accuracy'].max():.4f}" not in said.split("The winner")[0]
