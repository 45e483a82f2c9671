"""Curves of theirs are judged as those of this package are."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from curves_of_others import ACCURACY, losses, table

from mnist_tune import Sweep, UserError, read_curves
from mnist_tune.commands import read
from mnist_tune.curves.names import NAMES
from mnist_tune.reports.page import page


def regimes(sweep):
    """Return the labels by rate."""
    of_rates = sweep.trials.groupby("learning_rate")["regime"]
    return of_rates.agg(lambda labels: "/".join(sorted(set(labels)))).to_dict()


def test_curves_of_others_have_labels_and_an_answer():
    sweep = read_curves(table(), **ACCURACY, guess=2.3026)
    assert isinstance(sweep, Sweep)
    by_rate = {0.001: "slow", 0.01: "slow", 0.1: "converged", 1.0: "diverged"}
    assert regimes(sweep) == by_rate
    headline = sweep.answer().headline
    assert headline.startswith("Train with 0.1: test accuracy 0.9")
    assert headline.endswith("(best of 4, mean of 2 seeds, chosen on the test set)")


def test_a_rate_that_stays_at_chance_has_diverged_though_nobody_says_the_loss_of_a_guess():
    assert regimes(read_curves(table(), **ACCURACY))[1.0] == "diverged"


def test_losses_alone_are_judged_by_what_was_learned():
    sweep = read_curves(losses(), guess=2.3026)
    assert regimes(sweep)[0.1] == "converged"
    assert regimes(sweep)[0.001] == "slow"
    assert sweep.answer().headline.startswith("Train with 0.1: test loss 0.0")


def test_names_of_other_tools_are_known():
    names = {
        "learning_rate": "config/lr",
        "epoch": "training_iteration",
        "test_accuracy": "val/acc",
        "train_loss": "Loss",
        "seed": "config/random_seed",
    }
    theirs = read_curves(table().rename(columns=names), **ACCURACY)
    ours = table().rename(columns={"test_accuracy": "validation_accuracy"})
    pd.testing.assert_frame_equal(theirs.trials, read_curves(ours, **ACCURACY).trials)


def test_a_column_is_what_columns_says():
    rows = table().rename(columns={"test_accuracy": "top1"})
    sweep = read_curves(rows, **ACCURACY, columns={"top1": "test_accuracy"})
    assert regimes(sweep)[0.1] == "converged"


def test_our_own_name_comes_before_a_name_of_others_which_is_said():
    sweep = read_curves(table(loss=0.5), **ACCURACY)
    assert sweep.epochs["train_loss"].nunique() > 1
    assert sweep.record.dataset["note"] == "columns that are not read: loss"


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_files_say_the_same_as_their_tables(ending, tmp_path):
    path = tmp_path / f"curves.{ending}"
    if ending == "csv":
        table().to_csv(path, index=False)
    elif ending == "parquet":
        table().to_parquet(path)
    else:
        table().to_json(path, orient="records", lines=True, double_precision=15)
    trials = read_curves(path, **ACCURACY).trials
    pd.testing.assert_frame_equal(
        trials, read_curves(table(), **ACCURACY).trials, rtol=1e-12
    )


def test_settings_are_arguments_of_what_was_trained():
    dropout = {"config/dropout": 0.5}
    rows = pd.concat([table(width=64, **dropout), table(width=16, **dropout)])
    sweep = read_curves(rows, **ACCURACY, settings=["width"])
    wide = "curves(width=64, dropout=0.5)"
    narrow = "curves(width=16, dropout=0.5)"
    assert {*sweep.trials["architecture"]} == {wide, narrow}
    assert len(sweep.answer().data.spans) == 2


def test_what_differs_in_all_runs_is_no_setting_unless_it_is_named():
    rows = table()
    rows["config/pid"] = rows.groupby(["learning_rate", "seed"]).ngroup() + 4000
    sweep = read_curves(rows, **ACCURACY)
    assert sweep.trials["architecture"].unique().tolist() == ["curves"]
    assert "config/pid differs in all runs" in sweep.record.dataset["note"]
    named = read_curves(rows, **ACCURACY, settings=["config/pid"])
    assert named.trials["architecture"].nunique() == 8


def test_without_seeds_runs_are_told_apart():
    rows = table()
    rows["run"] = rows["seed"].map("run {}".format) + rows["learning_rate"].astype(str)
    sweep = read_curves(rows.drop(columns="seed"), **ACCURACY)
    assert sorted(sweep.trials["seed"]) == [0] * 4 + [1] * 4
    assert "run 00.1" in {*sweep.trials["trial_id"]}


def ends(rows):
    """Return why each run ended, and after how many epochs of how many."""
    trials = read_curves(rows, **ACCURACY).trials.set_index("learning_rate")
    names = ["stop_reason", "epochs_run", "epochs_asked"]
    return trials[names].apply(tuple, axis=1).to_dict()


def short(**columns):
    """Return two runs, of which that at 0.01 has 9 epochs of 15."""
    rows = table(seeds=[0], rates=(0.01, 0.1)).assign(**columns)
    return rows[(rows["learning_rate"] == 0.1) | (rows["epoch"] < 10)]


def test_a_run_shorter_than_the_longest_has_not_ended():
    assert ends(short()) == {0.01: ("interrupted", 9, 15), 0.1: ("completed", 15, 15)}
    steps = read_curves(short(), **ACCURACY).answer().questions
    assert steps[0].text.startswith("1 run ended before the longest one; train on")
    assert not steps[0].command


def test_a_run_that_says_why_it_ended_is_as_it_says():
    assert ends(short(stop_reason="completed"))[0.01] == ("completed", 9, 9)
    assert ends(short(stop_reason="asha"))[0.01] == ("asha", 9, 15)
    assert ends(short(epochs_asked=20))[0.1] == ("interrupted", 15, 20)
    assert ends(short(epochs_asked=9))[0.01] == ("completed", 9, 9)
    lost = short(diverged=False)
    lost.loc[lost["learning_rate"] == 0.01, "diverged"] = True
    assert ends(lost)[0.01] == ("diverged", 9, 15)


def test_epochs_from_0_on_are_as_many_as_were_asked_for():
    rows = short(epochs_asked=15)
    rows["epoch"] -= 1
    assert ends(rows)[0.1] == ("completed", 15, 15)


def test_a_run_without_losses_from_some_report_on_has_diverged():
    """Pandas writes the NaN of a loss as nothing."""
    rows = losses(seeds=[0])
    is_lost = (rows["learning_rate"] == 1.0) & (rows["epoch"] > 4)
    rows.loc[is_lost, ["train_loss", "test_loss"]] = np.nan
    assert regimes(read_curves(rows, guess=2.3026))[1.0] == "diverged"


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_an_untrained_loss_that_is_not_known_is_not_stated(lost):
    rows = table(seeds=[0])
    is_lost = (rows["learning_rate"] == 1.0) & (rows["epoch"] > 4)
    rows.loc[is_lost, "train_loss"] = lost
    trial = read_curves(rows, **ACCURACY).trials.iloc[-1]
    assert trial["regime"] == "diverged"
    assert trial["regime_evidence"] == "training loss nan"


def test_gaps_of_losses_are_no_divergence():
    """Some are written now and then, and a last test has an accuracy alone."""
    rows = losses(seeds=[0])
    gaps = rows["epoch"] % 4 > 0
    rows.loc[gaps, ["train_loss", "test_loss"]] = np.nan
    assert regimes(read_curves(rows, guess=2.3026))[0.1] != "diverged"
    rows = table(seeds=[0], rates=(0.01, 0.1))
    rows.loc[rows["epoch"] == 15, "train_loss"] = np.nan
    assert "diverged" not in regimes(read_curves(rows, **ACCURACY)).values()


def test_an_infinite_test_loss_is_no_infinite_training_loss():
    rows = table(rates=(0.01, 0.1)).assign(test_loss=np.inf)
    sweep = read_curves(rows, **ACCURACY)
    assert "diverged" not in regimes(sweep).values()
    assert sweep.trials["train_loss"].notna().all()
    assert {*sweep.trials["stop_reason"]} == {"completed"}


def test_reports_are_numbered_and_a_line_says_so():
    rows = table()
    every_fifth = rows.assign(epoch=5 * rows["epoch"], epochs_asked=75)
    sweep = read_curves(every_fifth, **ACCURACY)
    assert sweep.trials["epochs_asked"].unique().tolist() == [15]
    assert sweep.record.dataset["note"] == (
        "an epoch here is a report; reported_at of sweep.epochs has its own epoch or "
        "step, 5 to 75"
    )
    assert sweep.epochs["reported_at"].max() == 75
    irregular = rows.assign(epoch=rows["epoch"] ** 2)
    note = read_curves(irregular, **ACCURACY).record.dataset["note"]
    assert note.endswith("has its own epoch or step, 1 to 225")
    assert read_curves(rows, **ACCURACY).record.dataset["note"] == ""


def test_what_is_not_known_is_not_invented():
    """Neither an optimiser, nor a batch size, nor numbers of examples are stated."""
    sweep = read_curves(losses(), guess=2.3026)
    html = page([sweep])
    for invented in ("optimizer sgd", "batch size", "training and"):
        assert invented not in html


def test_what_no_command_can_train_is_said_in_words():
    close = table(seeds=[0, 2], rates=(0.01, 0.1))
    other = table(seeds=[0, 2], rates=(0.1,)).assign(learning_rate=0.2)
    sweep = read_curves(pd.concat([close, other]), **ACCURACY)
    texts = [question.text for question in sweep.answer().questions]
    assert (
        "Which is best? To decide, train each of 0.1, 0.2 with the seeds 1, 3, 4, 5, 6; "
        "then decide(..., again=...)" in texts
    )
    assert not any(question.command for question in sweep.answer().questions)
    assert "mnist-tune" not in repr(sweep.answer())


def test_no_state_is_here_to_load():
    with pytest.raises(UserError, match="these runs were trained elsewhere"):
        read_curves(table(), **ACCURACY).load()


def test_the_target_that_was_asked_for_counts():
    sweep = read_curves(table(), **ACCURACY, target=0.85)
    assert sweep.trials["target"].unique().tolist() == [0.85]
    assert regimes(sweep)[0.01] == "converged"
    assert read_curves(losses(), guess=2.3, target_loss=0.4).record.data.target == 0.4


def test_neither_ray_nor_jax_is_imported():
    code = """
import sys
from curves_of_others import ACCURACY, table
from mnist_tune import read_curves
sweep = read_curves(table(), **ACCURACY)
sweep.table(), sweep.plot(), sweep.to_json()
print({"ray", "jax"} & {*sys.modules})
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
    )
    assert result.stdout.splitlines()[-1] == "set()"


@pytest.fixture
def csv(tmp_path, monkeypatch):
    """Return a table in the current folder."""
    monkeypatch.chdir(tmp_path)
    table().to_csv("curves.csv", index=False)
    return "curves.csv"


def run(monkeypatch, *arguments):
    """Call `mnist-tune read`."""
    monkeypatch.setattr("sys.argv", ["mnist-tune", "read", *arguments])
    return read.main()


FLAGS = ("--chance", "0.1", "--test-examples", "10000")


def test_the_command_prints_table_and_answer_and_writes_page_and_picture(
    csv, monkeypatch, capsys, tmp_path
):
    files = ("--page", "page.html", "--picture", "picture.png")
    assert not run(monkeypatch, csv, *FLAGS, *files)
    text = capsys.readouterr().out
    assert "Train with 0.1: test accuracy 0.9" in text
    assert "Curves: curves.csv" in text
    assert "mnist-tune show" not in text
    assert "mnist-tune resume" not in text
    assert "Train with 0.1" in (tmp_path / "page.html").read_text()
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_the_command_prints_json(csv, monkeypatch, capsys):
    run(monkeypatch, csv, *FLAGS, "--json")
    shown = json.loads(capsys.readouterr().out)
    assert shown["kind"] == "curves"
    assert shown["has_ended"]
    assert all(question["command"] is None for question in shown["questions"])


def test_the_command_takes_names_of_columns(csv, monkeypatch, capsys):
    renamed = table().rename(columns={"test_accuracy": "top1"})
    renamed.to_csv(csv, index=False)
    run(monkeypatch, csv, *FLAGS, "--columns", "top1=test_accuracy")
    assert "Train with 0.1" in capsys.readouterr().out


def test_the_docs_have_the_list_of_names():
    names = Path(__file__).parents[2] / "docs" / "curves_of_others.md"
    text = names.read_text()
    for ours, theirs in NAMES.items():
        for name in (ours, *theirs):
            assert f"`{name}`" in text, name


def tunes_folder(folder, epochs=4):
    """An experiment of Ray Tune, as it lies on a disk."""
    for number, rate in enumerate((0.1, 0.2)):
        trial = folder / f"train_{number}"
        trial.mkdir(parents=True)
        common = {
            "trial_id": f"a_{number}",
            "timestamp": 1,
            "config": {"lr": rate, "net": {"width": 8}},
        }
        lines = []
        for epoch in range(1, epochs + 1):
            accuracy = 0.5 + 0.1 * rate * epoch
            report = {"val_acc": accuracy, "training_iteration": epoch, "pid": epoch}
            lines.append(json.dumps(report | common) + "\n")
        # the last one is there twice, as after a restore
        (trial / "result.json").write_text("".join([*lines, lines[-1]]))
        (trial / "params.pkl").write_bytes(EVIL)
    (folder / "tuner.pkl").write_bytes(EVIL)
    return folder


EVIL = b"cbuiltins\neval\n(Vopen('ran', 'w')\ntR."


def test_an_experiment_of_ray_tune_is_read_from_its_folder(tmp_path, monkeypatch):
    """Without Ray, and nothing there is unpickled. A report that is there twice, after
    a restore, counts once."""
    monkeypatch.chdir(tmp_path)
    folder = tunes_folder(tmp_path / "experiment")
    sweep = read_curves(folder, chance=0.1, test_examples=100)
    assert sweep.trials["learning_rate"].tolist() == [0.1, 0.2]
    assert sweep.trials["epochs_run"].tolist() == [4, 4]
    assert set(sweep.trials["architecture"]) == {"curves(net/width=8)"}
    assert not (tmp_path / "ran").exists()
    results = SimpleNamespace(experiment_path=str(folder))
    assert len(read_curves(results, chance=0.1, test_examples=100).trials) == 2


def test_what_our_scheduler_stopped_has_its_reason(tmp_path):
    folder = tunes_folder(tmp_path / "experiment")
    line = {"trial": "a_0", "iteration": 4, "stopped": "slow", "reason": "slow: late"}
    (folder / "regimes.jsonl").write_text(json.dumps(line) + "\n")
    sweep = read_curves(folder, chance=0.1, test_examples=100)
    assert sweep.trials["stop_reason"].tolist() == ["slow", "completed"]


def test_a_folder_that_is_no_experiment_is_a_line(tmp_path):
    with pytest.raises(UserError, match=r"no trial of Ray Tune has a result.json in"):
        read_curves(tmp_path, chance=0.1, test_examples=100)
    folder = tunes_folder(tmp_path / "experiment")
    rows = folder / "train_0" / "result.json"
    rows.rename(tmp_path / "elsewhere.json")
    rows.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(UserError, match=r"can't read .*result.json"):
        read_curves(folder, chance=0.1, test_examples=100)


def test_runs_that_blew_up_before_they_were_measured_count_as_diverged():
    rows = table(rates=(0.1, 1.0)).rename(
        columns={"test_accuracy": "validation_accuracy"}
    )
    lost = rows["learning_rate"] == 1.0
    rows.loc[lost, ["validation_accuracy", "train_loss"]] = math.nan
    rows["diverged"] = lost
    sweep = read_curves(rows, **ACCURACY)
    diverged = sweep.trials["regime"] == "diverged"
    assert diverged.tolist() == (sweep.trials["learning_rate"] == 1.0).tolist()
    assert sweep.trials["epochs_asked"].unique().tolist() == [15]
    assert sweep.answer().headline.startswith("Train with 0.1: held-out accuracy 0.96")


def test_runs_without_any_score_are_said_to_be_left_out():
    rows = table(rates=(0.1, 1.0))
    rows.loc[rows["learning_rate"] == 1.0, ["test_accuracy", "train_loss"]] = math.nan
    sweep = read_curves(rows, **ACCURACY)
    assert sweep.trials["learning_rate"].unique().tolist() == [0.1]
    note = "left out: 2 runs without any score, of rate 1; where one blew up, give it diverged"
    assert sweep.record.dataset["note"] == note
