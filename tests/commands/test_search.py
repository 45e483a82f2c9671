"""`search`: what it draws, how it chooses, and that the test set is looked at for the winner only."""

import math
import sys
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from ray import tune

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
    print_best(pd.concat([table()] * 4).assign(validation_accuracy=[0.5 + i / 100 for i in range(16)]))
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head == "The best 10 of 16 trials on the images held out:"
    assert [float(line.split()[5]) for line in lines] == [round(0.65 - i / 100, 2) for i in range(10)]


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
        ({"learning_rate": "0.1:inf"}, "--learning-rate can't be '0.1:inf'"),
        ({"holdout": 0}, "--holdout must be at least 1, got 0"),
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
    writer.meta |= {"name": "search", "search": True, "options": asked.values()}
    writer.finish()
    again = resumed(Search(resume=tmp_path), tmp_path, "search")
    assert (again.samples, again.widths, again.learning_rate, again.resume) == (12, (8,), "0.1:1", tmp_path)
    assert resumed(Search(resume=tmp_path, samples=20), tmp_path, "search").samples == 20
    with pytest.raises(UserError, match=r"--samples 5: .* was asked for 12 already; a resume can only add to that"):
        resumed(Search(resume=tmp_path, samples=5), tmp_path, "search")
    with pytest.raises(UserError, match="--learning-rate can't change in a resume"):
        resumed(Search(resume=tmp_path, learning_rate="0.2:1"), tmp_path, "search")
    python = new_writer(tmp_path / "from Python", count=0)
    python.meta |= {"name": "mine", "search": True}
    python.finish()
    with pytest.raises(UserError, match=r"made by something else; resume it with: the same run_search, with resume="):
        resumed(Search(), tmp_path / "from Python", "search")


def test_a_resume_loads_no_code_that_only_the_folder_names(new_writer, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("open('sprung', 'w')\n\n\ndef mlp(data):\n    pass\n")
    writer = new_writer(tmp_path / "sweep", count=0)
    writer.meta |= {"name": "search", "search": True, "options": Search(architecture=("evil.py:mlp(3)",)).values()}
    writer.finish()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["search.py", "--resume", str(writer.path)])
    monkeypatch.setattr("mnist_tune.tuning.sweep.open_again", Mock(side_effect=UserError("too late")))
    with pytest.raises(UserError, match=r"name it again: --resume \S+ --architecture evil\.py:mlp, or"):
        search.main()
    assert not (tmp_path / "sprung").exists()


def test_tpe_learns_from_the_images_held_out_and_proposes_the_same_with_the_same_seed():
    def proposed(seed):
        searcher = Search(search_seed=seed).searcher()
        assert (searcher.metric, searcher.mode) == ("validation_accuracy", "max")
        searcher.set_search_properties(None, None, {"rate": tune.uniform(0, 1)})
        return searcher.suggest("a trial")

    assert proposed(7) == proposed(7) != proposed(8)


@pytest.fixture
def searched(new_writer, tmp_path, monkeypatch, capsys):
    """A function that runs the command with made-up results. It returns the exit code, what was printed, and mocks of
    what trains: `run_search` and `run_or_resume`."""

    def run(*flags, trials, ends=("completed", "completed")):
        found = SimpleNamespace(trials=trials, meta={"name": "search"}, path=tmp_path / "found")
        writer = new_writer(tmp_path / "final")
        for trial_id, end in zip(("00000", "00001"), ends, strict=True):
            writer.end(trial_id, end)
        final = writer.finish(ended="now")
        won = best(trials)
        shared = {name: getattr(won, name) for name in search.SETTINGS} if won else {}
        seeds = final.trials.assign(**shared, seed=[1, 2], test_accuracy=[0.96, 0.98], epochs_run=4)
        final = replace(final, trials=seeds)
        names = {"run_search": found, "run_or_resume": final, "stop_ray_at_exit": None}
        mocks = [Mock(return_value=result) for result in names.values()]
        for name, made in zip(names, mocks, strict=True):
            monkeypatch.setattr(search, name, made)
        monkeypatch.setattr(sys, "argv", ["search.py", "--by", "random", "--output", str(found.path), *flags])
        return search.main(), capsys.readouterr().out, *mocks[:2]

    return run


def test_the_winner_is_trained_with_each_fresh_seed_to_its_end(searched, tmp_path):
    flags = "--samples 4 --search-seed 7 --final-seeds 3 1 3".split()
    code, said, run_search, run_or_resume = searched(*flags, trials=table())
    assert np.random.rand() == np.random.RandomState(7).rand()  # Tune draws from NumPy's generator
    name, space, samples, config, *other = run_search.call_args.args
    assert (name, samples, config.search_seed, other) == ("search", 4, 7, [None, None])
    assert space["epochs"] == 10
    kind, options, trials = run_or_resume.call_args.args
    winner = best(table())
    assert winner is not None
    assert (kind, trials) == ("seeds", [replace(winner, seed=seed, data_seed=seed) for seed in (3, 1)])
    where = tmp_path / "found" / "winner"
    assert (options.output, options.resume, options.scheduler) == (where, "auto", "fifo")
    search.train_winner(winner, Search(resume=tmp_path / "found"), load_sweep(tmp_path / "final"))
    assert run_or_resume.call_args.args[1].resume == "auto"
    assert "The winner: " in said
    assert "Test accuracy over 2 fresh seeds: 0.9700 ± " in said
    assert said.endswith(f"Results: {tmp_path / 'found'}\nThe winner's seeds: {tmp_path / 'final'}\n")
    assert code == 0


def test_another_winner_than_before_is_reported_alone(searched):
    """More samples may find a better one. The seeds of the one before stay in the winner's folder."""
    trials = table()
    _, _, _, run_or_resume = searched(trials=trials, ends=("completed", "error"))
    final = run_or_resume.return_value
    won = best(trials)
    before = final.trials.assign(learning_rate=won.learning_rate / 2, test_accuracy=0.1, trial_id=["00002", "00003"])
    both = replace(final, trials=pd.concat([final.trials, before], ignore_index=True))
    run_or_resume.return_value = both
    assert search.train_winner(won, Search(), both).trials["trial_id"].tolist() == ["00000", "00001"]


@pytest.mark.parametrize(
    ("reasons", "code", "says"),
    [
        (["completed"] * 3 + ["interrupted"], 130, "Trials had not ended; resume with: "),
        (["slow"] * 3 + ["diverged"], 1, "No trial was trained to its end, so there is no winner."),
    ],
)
def test_without_a_winner_nothing_more_is_trained(searched, reasons, code, says):
    found, said, _, run_or_resume = searched(trials=table(stop_reason=reasons))
    assert found == code
    assert f"\n{says}" in said
    assert run_or_resume.call_count == 0


@pytest.mark.ray
def test_a_search_ends_with_its_winner_over_fresh_seeds(tmp_path, one_core, monkeypatch, capsys):
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
