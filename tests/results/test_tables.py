"""The journal and the tables: every epoch is there once, wherever a kill came."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_tune import TrialConfig, UserError, load_sweep, machine
from mnist_tune.columns import EPOCHS, TRIALS
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.reports import figures, page
from mnist_tune.reports.findings import findings
from mnist_tune.reports.page_data import so_far
from mnist_tune.results.folder import is_being_written, new_folder
from mnist_tune.results.journal import UNFINISHED_REASONS, read_journal
from mnist_tune.results.tables import tables, together

DESIGN_TRIALS = """
    trial_id architecture learning_rate momentum batch_size label_noise seed epochs_run epochs_asked regime
    regime_evidence stop_reason diverged_at_step train_loss train_accuracy test_loss test_accuracy
    best_test_accuracy best_epoch compile_s train_s eval_s wait_s node device dataset error
""".split()
DESIGN_EPOCHS = """
    trial_id epoch step train_loss train_accuracy test_loss test_accuracy validation_loss validation_accuracy
    step_loss_first step_loss_max step_loss_last finite train_s eval_s lanes
""".split()


@pytest.fixture
def writer(new_writer, tmp_path):
    """A writer of a sweep of two trials of four epochs."""
    with_sweep = new_writer(tmp_path / "sweep")
    yield with_sweep
    with_sweep.release()


def record(writer, row, trial_id, epochs, repeated=False, **values):
    for epoch in epochs:
        writer.epoch(trial_id, row(epoch, **values), repeated)


def keys(epochs):
    return list(zip(epochs["trial_id"], epochs["epoch"], strict=True)) if len(epochs) else []


# --- from the journal to the tables


def test_tables_of_a_running_sweep(writer, epoch_row):
    record(writer, epoch_row, "00001", (1, 2))
    record(writer, epoch_row, "00000", (1, 2, 3, 4), train_accuracy=0.97)
    writer.end("00000", "completed")
    sweep = load_sweep(writer.path)
    assert keys(sweep.epochs) == [("00000", 1), ("00000", 2), ("00000", 3), ("00000", 4), ("00001", 1), ("00001", 2)]
    trials = sweep.trials.set_index("trial_id")
    assert trials["epochs_run"].to_dict() == {"00000": 4, "00001": 2}
    assert trials["epochs_asked"].tolist() == [4, 4]
    assert trials["stop_reason"].to_dict() == {"00000": "completed", "00001": "running"}
    assert trials["regime"].to_dict() == {"00000": "converged", "00001": "undecided"}
    assert trials["learning_rate"].to_dict() == {"00000": 0.1, "00001": 0.2}
    assert set(trials["dataset"]) == {"mnist-5k"}


def test_a_trials_row_sums_its_times_and_takes_its_last_scores(writer, epoch_row):
    for epoch, accuracy in enumerate((0.5, 0.9, 0.8, 0.7), start=1):
        writer.epoch("00000", epoch_row(epoch, 1 / epoch, accuracy, train_s=epoch), False)
    row = load_sweep(writer.path).trials.iloc[0]
    assert row["train_s"] == 10
    assert row["eval_s"] == pytest.approx(0.8, rel=1e-12)
    assert (row["train_loss"], row["train_accuracy"], row["test_accuracy"]) == (0.25, 0.7, 0.7 - 0.01)
    assert (row["best_epoch"], row["best_test_accuracy"]) == (2, 0.9 - 0.01)
    assert (row["node"], row["device"]) == ("here", "cpu")


def test_the_best_epoch_is_the_first_of_equal_ones(writer, epoch_row):
    for epoch, accuracy in enumerate((0.5, 0.9, 0.9, 0.7), start=1):
        writer.epoch("00000", epoch_row(epoch, train_accuracy=accuracy), False)
    assert load_sweep(writer.path).trials["best_epoch"][0] == 2


def test_the_last_row_of_an_epoch_wins(writer, epoch_row):
    record(writer, epoch_row, "00000", (1, 2))
    record(writer, epoch_row, "00000", (1,), train_loss=0.3)
    epochs = load_sweep(writer.path).epochs
    assert keys(epochs) == [("00000", 1), ("00000", 2)]
    assert epochs["train_loss"].tolist() == [0.3, 0.5]


def test_the_last_end_of_a_trial_wins(writer, epoch_row):
    writer.end("00000", "interrupted")
    writer.end("00000", "error", "no memory")
    trials = load_sweep(writer.path).trials
    assert trials[["stop_reason", "error"]].iloc[0].tolist() == ["error", "no memory"]
    assert trials[["stop_reason", "error"]].iloc[1].tolist() == ["waiting", ""]


def test_repeated_rows_are_recorded_only_if_lost(writer, epoch_row, new_writer):
    record(writer, epoch_row, "00000", (1,))
    record(writer, epoch_row, "00000", (1,), repeated=True, train_loss=9.0)
    record(writer, epoch_row, "00000", (2,), repeated=True, train_loss=0.2)
    writer.release()  # as the end of its process does
    resumed = new_writer(writer.path, resume=True)
    resumed.last_epochs = {"00000": 2}
    record(resumed, epoch_row, "00000", (2,), repeated=True, train_loss=9.0)
    record(resumed, epoch_row, "00000", (3,), repeated=True, train_loss=0.1)
    resumed.release()
    assert load_sweep(writer.path).epochs["train_loss"].tolist() == [0.5, 0.2, 0.1]
    assert len(read_journal(writer.path).epochs) == 3


def test_a_proposed_trial_is_in_the_tables(writer, epoch_row):
    writer.trial("proposed", TrialConfig(learning_rate=0.7, epochs=2))
    record(writer, epoch_row, "proposed", (1,))
    writer.trial("00001", TrialConfig(learning_rate=0.3, epochs=5))  # changed by population based training
    trials = load_sweep(writer.path).trials.set_index("trial_id")
    assert trials.loc["proposed", ["learning_rate", "epochs_asked", "epochs_run"]].tolist() == [0.7, 2, 1]
    assert trials.loc["00001", ["learning_rate", "epochs_asked", "epochs_run"]].tolist() == [0.3, 5, 0]


def test_a_trial_without_any_epoch(writer, epoch_row):
    record(writer, epoch_row, "00000", (1,))
    writer.end("00001", "error", "its worker died")
    row = load_sweep(writer.path).trials.iloc[1]
    assert (row["epochs_run"], row["best_epoch"], row["train_s"]) == (0, 0, 0)
    assert {type(row["epochs_run"].item()), type(row["best_epoch"].item())} == {int}
    assert (row["regime"], row["regime_evidence"], row["error"]) == (
        "undecided",
        "no epoch finished",
        "its worker died",
    )
    assert pd.isna(row[["train_loss", "test_accuracy", "best_test_accuracy", "diverged_at_step", "node"]]).all()


def test_a_sweep_without_any_epoch(writer):
    sweep = load_sweep(writer.path)
    assert len(sweep.epochs) == 0
    assert sweep.trials["regime"].tolist() == ["undecided", "undecided"]
    assert list(sweep.trials.columns) == [column.name for column in TRIALS]


def test_a_diverged_trial_has_the_step_at_which_it_diverged(writer, epoch_row):
    writer.epoch("00000", epoch_row(1, 7.0, 0.1, diverged=True, above_since=4), False)
    writer.epoch("00001", epoch_row(1, math.nan, 0.1, diverged=True, finite=False), False)
    trials = load_sweep(writer.path).trials
    assert trials["regime"].tolist() == ["diverged", "diverged"]
    assert trials["diverged_at_step"].tolist() == [4, 10]
    assert trials["diverged_at_step"].dtype == "Int64"


@pytest.mark.parametrize(
    ("loss", "since", "step"),
    [
        (math.nan, {"above_since": 4, "guessing_since": 3}, 4),
        (7.0, {"above_since": 4, "guessing_since": 3}, 4),
        (math.nan, {"guessing_since": 3}, 3),
        (math.nan, {}, 10),
    ],
)
def test_a_trial_diverged_when_its_loss_left_or_else_when_it_began_to_guess(writer, epoch_row, loss, since, step):
    writer.epoch("00000", epoch_row(1, loss, 0.1, diverged=True, **since), False)
    row = load_sweep(writer.path).trials.iloc[0]
    assert (row["regime"], row["diverged_at_step"]) == ("diverged", step)


def test_nan_and_infinite_losses_are_stored(writer, epoch_row):
    values = {"train_loss": math.nan, "test_loss": math.inf, "step_loss_first": -math.inf}
    writer.epoch("00000", epoch_row(1) | values, False)
    record(writer, epoch_row, "00000", (2,))
    for sweep in (load_sweep(writer.path), writer.finish(ended="now"), load_sweep(writer.path)):
        row = sweep.epochs.iloc[0]
        assert math.isnan(row["train_loss"])
        assert (row["test_loss"], row["step_loss_first"]) == (math.inf, -math.inf)


def test_a_column_without_finite_values_is_kept(writer, epoch_row):
    writer.epoch("00000", epoch_row(1, math.nan, 0.1, diverged=True, finite=False), False)
    for sweep in (load_sweep(writer.path), writer.finish(ended="now")):
        assert sweep.curves("train_loss").isna().all(axis=None)
        assert sweep.curves("test_loss").isna().all(axis=None)


def test_a_finished_sweep_survives_a_power_cut(writer, epoch_row, monkeypatch):
    """Every file is completely on the disk before `finish` returns."""
    synced = {}

    def sync(descriptor):
        found = os.fstat(descriptor)
        synced[found.st_ino] = found.st_size

    monkeypatch.setattr(os, "fsync", sync)
    record(writer, epoch_row, "00000", (1, 2))
    writer.finish(ended="now")
    for name in ("journal.jsonl", "sweep.json", "trials.parquet", "epochs.parquet"):
        found = (writer.path / name).stat()
        assert synced.get(found.st_ino) == found.st_size, name


@pytest.mark.parametrize(("target", "regime"), [(None, "converged"), (0.99, "underfit")])
def test_the_target_is_that_of_the_data_set_or_the_one_asked_for(writer, epoch_row, target, regime):
    writer.meta["options"] = {"target": target}
    record(writer, epoch_row, "00000", (1, 2, 3, 4, 5), train_accuracy=0.93)
    assert tables(writer.path, writer.meta).trials["regime"][0] == regime


def test_a_dead_network_diverged_at_the_step_since_which_it_guesses(writer, epoch_row):
    record(
        writer, epoch_row, "00000", (1, 2, 3, 4), train_accuracy=0.11, train_loss=2.302, guessing_since=3, above_since=5
    )
    record(writer, epoch_row, "00001", (1, 2, 3, 4), train_accuracy=0.97)
    writer.meta["trials"]["00000"]["learning_rate"] = 10.0
    trials = tables(writer.path, writer.meta).trials
    assert trials["regime"].tolist() == ["diverged", "converged"]
    assert trials["diverged_at_step"].tolist() == [3, pd.NA]


# --- the data contract


SHARPNESS = (
    "sharpness",
    "sharpness_residual",
    "batch_sharpness",
    "preconditioned_sharpness",
    "untrained_sharpness",
)


def test_the_tables_have_all_documented_columns(writer, epoch_row):
    assert set(DESIGN_TRIALS) <= {column.name for column in TRIALS}
    assert set(DESIGN_EPOCHS) <= {column.name for column in EPOCHS}
    optional = dict.fromkeys(("validation_loss", "validation_accuracy", *SHARPNESS), 0.9) | {"answers": 1.5}
    record(writer, epoch_row, "00000", (1,), above_since=3, sharpness_steps="[[1, 0.9, 0.9, 0.9]]", **optional)
    sweep = writer.finish(ended="now")
    assert list(sweep.trials.columns) == [column.name for column in TRIALS]
    assert list(sweep.epochs.columns) == [column.name for column in EPOCHS]


def test_no_columns_of_what_was_not_asked_for(writer, epoch_row):
    record(writer, epoch_row, "00000", (1,))
    columns = load_sweep(writer.path).epochs.columns
    assert set(DESIGN_EPOCHS) - set(columns) == {"validation_loss", "validation_accuracy"}
    assert not set(columns) & {*SHARPNESS, "sharpness_steps", "answers"}


def test_curves_are_epoch_by_trial(writer, epoch_row):
    record(writer, epoch_row, "00000", (1, 2, 3), train_loss=0.1)
    record(writer, epoch_row, "00001", (1,), train_loss=0.2)
    curves = load_sweep(writer.path).curves("train_loss")
    assert curves.index.tolist() == [1, 2, 3]
    assert curves["00000"].tolist() == [0.1, 0.1, 0.1]
    assert curves["00001"].dropna().to_dict() == {1: 0.2}


def test_a_sweep_in_one_glance(writer, epoch_row):
    record(writer, epoch_row, "00000", (1, 2, 3, 4), train_accuracy=0.97)
    writer.end("00000", "completed")
    sweep = load_sweep(writer.path)
    shape = f"[2 x {len(TRIALS)}], .epochs [4 x {sweep.epochs.shape[1]}]"
    assert repr(sweep).splitlines()[:4] == [
        f"Sweep lr_regimes on mnist-5k: {writer.path}",
        "trials: 2 (1 completed, 1 waiting), epochs: 4",
        "regimes: 1 converged, 1 undecided",
        f"tables: .trials {shape}, .curves(column)",
    ]


def test_pictures_and_pages_are_written_into_the_folder_or_where_they_are_asked_for(writer, monkeypatch):
    sweep, written = load_sweep(writer.path), []
    monkeypatch.setattr(figures, "plot_regimes", lambda drawn, path: written.append(path))
    monkeypatch.setattr(page, "write_page", lambda shown, path: written.append(path))
    for one in (sweep, replace(sweep, path="s3://bucket/sweep")):
        assert [one.plot(), one.report()] == written[-2:]
        assert [one.plot("x/a.png"), one.report("s3://bucket/a.html")] == written[-2:]
    assert written[:2] == [writer.path / "regimes.png", writer.path / "report.html"]
    assert written[4:6] == [Path("regimes.png"), Path("report.html")]
    assert written[2:4] == written[6:] == [Path("x/a.png"), "s3://bucket/a.html"]


@pytest.mark.parametrize(
    ("test", "validation", "fall"),
    [([0.8, 0.9, 0.85, 0.86], None, 0.05), ([0.8, 0.9, 0.85, 0.86], [0.8, 0.7, 0.7, 0.9], 0.1), ([0.8, 0.9], None, 0)],
)
def test_the_largest_fall_is_that_of_held_out_accuracy(writer, epoch_row, test, validation, fall):
    for epoch, accuracy in enumerate(test, start=1):
        more = {} if validation is None else {"validation_accuracy": validation[epoch - 1], "validation_loss": 0.5}
        writer.epoch("00000", epoch_row(epoch, test_accuracy=accuracy, **more), False)
    writer.epoch("00001", epoch_row(1), False)
    first, second = load_sweep(writer.path).trials["largest_fall"]
    assert first == pytest.approx(fall)
    assert math.isnan(second), "it has one epoch"


def test_the_settings_of_a_sweep_are_compared(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.19, 0.2, 3.0], seeds=2, batch_size=64)
    found = sweep.best()
    assert found["learning_rate"].tolist() == [0.2, 0.19, 0.01], "the last rate diverged"
    assert found["close"].tolist() == [True, True, False]
    assert found["batch_size"].tolist() == [64] * 3
    contenders = sweep.contenders()
    assert [one.learning_rate for one in contenders] == [0.2, 0.19]
    first, *_ = (TrialConfig.from_dict(trial) for trial in sweep.meta["trials"].values())
    assert replace(contenders[1], learning_rate=0.01) == replace(first, seed=0, data_seed=0)
    none = replace(sweep, trials=sweep.trials.assign(regime="diverged"))
    assert (len(none.best()), none.contenders()) == (0, [])


def test_scores_by_any_setting(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2], seeds=3)
    trials = sweep.trials.assign(batch_size=[32] * 3 + [64] * 3, test_accuracy=[0.7, 0.8, 0.9, 0.8, 0.8, 0.8])
    trials.loc[5, "epochs_run"] = 0
    found = replace(sweep, trials=trials).by("batch_size")
    assert found["batch_size"].tolist() == [32, 64]
    assert found["replicates"].tolist() == [3, 2]
    assert found["test_accuracy_mean"].tolist() == pytest.approx([0.8, 0.8])
    assert found["test_accuracy_ci95"].tolist() == pytest.approx([4.302653 * 0.1 / math.sqrt(3), 0], abs=1e-6)
    assert len(sweep.by()) == len(sweep.by("batch_size", "learning_rate")) == 2
    with pytest.raises(UserError, match="no column 'batchsize'"):
        sweep.by("batchsize")


def test_epochs_with_the_settings_of_their_trials(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2], seeds=2)
    sweep = replace(sweep, trials=sweep.trials.assign(batch_size=[32, 32, 64, 64]))
    found = sweep.with_settings()
    assert list(found) == [*sweep.epochs, "batch_size", "seed"]
    assert len(found) == len(sweep.epochs)
    of = sweep.trials.set_index("trial_id")["batch_size"]
    assert found["batch_size"].tolist() == [of[trial_id] for trial_id in found["trial_id"]]
    assert list(sweep.with_settings("regime", "learning_rate")) == [*sweep.epochs, "regime"]
    with pytest.raises(UserError, match="no column 'batchsize'"):
        sweep.with_settings("batchsize")


def test_the_trained_weights_of_a_trial(made_up_sweep, epoch_row):
    sweep = made_up_sweep([0.1, 0.2])
    weights = np.arange(6.0).reshape(2, 3)
    arrays = {".step": np.array(3), ".params[0]['w']": weights}
    Checkpoint(arrays, epoch_row(1)).save(sweep.path / "states" / "00001.npz")
    [layer] = sweep.params("00001")
    assert (layer["w"] == weights).all()
    assert [one.tolist() for one in sweep.params("00001", leaves=True)] == [weights.tolist()]
    with pytest.raises(UserError, match="state of trial 00000 was not kept"):
        sweep.params("00000")
    with pytest.raises(UserError, match="no trial '1'"):
        sweep.params("1")


def test_measurements_of_several_sweeps_in_one_table(writer, epoch_row):
    steps = "[[0, 1.0, 0.01, 2.0], [10, 3.0, 0.03, 4.0, 5.0, 0.5]]"
    record(writer, epoch_row, "00000", (1,))
    record(writer, epoch_row, "00001", (1,), sharpness_steps=steps)
    measured = load_sweep(writer.path)
    assert measured.sharpness().fillna(-1.0).to_dict("list") == {
        "trial_id": ["00001"] * 2,
        "step": [0, 10],
        "sharpness": [1.0, 3.0],
        "residual": [0.01, 0.03],
        "batch_sharpness": [2.0, 4.0],
        "preconditioned": [-1.0, 5.0],
        "preconditioned_residual": [-1.0, 0.5],
    }
    without = replace(measured, epochs=measured.epochs.drop(columns="sharpness_steps"))
    trials, epochs, found = together([without, measured])
    ids = ["0-00000", "0-00001", "1-00000", "1-00001"]
    assert trials["trial_id"].tolist() == epochs["trial_id"].tolist() == ids
    assert found["trial_id"].tolist() == ["1-00001"] * 2
    with pytest.raises(UserError, match=f"no sharpness was measured in {writer.path}; --sharpness does"):
        together([without, without])


def test_curves_of_an_unknown_column(writer, epoch_row):
    record(writer, epoch_row, "00000", (1,))
    with pytest.raises(UserError, match=r"^epochs has no column 'accuracy'; it has trial_id, epoch, step, "):
        load_sweep(writer.path).curves("accuracy")


# --- folders


def test_parquet_equals_the_journal(writer, epoch_row):
    record(writer, epoch_row, "00000", (1, 2, 3, 4))
    writer.epoch("00001", epoch_row(1, math.inf, 0.1, diverged=True, above_since=4), False)
    writer.end("00000", "completed")
    written = writer.finish(ended="now", driver={"cpu_s": 1.5})
    read = load_sweep(writer.path)
    assert read.meta == written.meta
    assert (read.meta["ended"], read.meta["driver"]) == ("now", {"cpu_s": 1.5})
    from_journal = tables(writer.path, read.meta)
    for expected in (written, from_journal):
        pd.testing.assert_frame_equal(read.trials, expected.trials, check_exact=True)
        pd.testing.assert_frame_equal(read.epochs, expected.epochs, check_exact=True)


def test_a_finished_sweep_keeps_the_states_of_unfinished_trials(writer):
    for i, reason in enumerate(("completed", "diverged", "asha", *UNFINISHED_REASONS)):
        trial_id = f"trial{i}"
        writer.meta["trials"][trial_id] = writer.meta["trials"]["00000"]
        (writer.states / f"{trial_id}.npz").write_bytes(b"state")
        writer.end(trial_id, reason)
    writer.finish(ended="now")
    unfinished = ["trial3.npz", "trial4.npz", "trial5.npz"]
    assert sorted(path.name for path in writer.states.glob("*.npz")) == ["trial0.npz", *unfinished]


@pytest.mark.parametrize(("limit", "kept"), [(4, []), (5, ["00000.npz"])])
def test_large_states_of_completed_trials_are_removed(writer, monkeypatch, limit, kept):
    monkeypatch.setattr("mnist_tune.results.writer.KEPT_BYTES", limit)
    (writer.states / "00000.npz").write_bytes(b"state")
    writer.end("00000", "completed")
    writer.end("00001", "completed")  # and saved no state
    (writer.path / ".ray").mkdir()
    writer.finish(ended="now")
    assert [path.name for path in writer.states.glob("*.npz")] == kept
    assert not (writer.path / ".ray").exists()


def test_a_trial_that_left_out_epochs_is_completed_nevertheless(writer, epoch_row):
    record(writer, epoch_row, "00000", (1, 4))
    record(writer, epoch_row, "00001", (1, 2))
    for trial_id in ("00000", "00001"):
        writer.end(trial_id, "completed")
    assert list(writer.finish(ended="now").trials["stop_reason"]) == ["completed", "interrupted"]


def test_a_sweep_whose_writer_is_gone_is_interrupted(writer, epoch_row):
    record(writer, epoch_row, "00001", (1, 2))
    writer.release()
    assert set(load_sweep(writer.path).trials["stop_reason"]) == {"interrupted"}


def test_a_lock_that_no_process_can_hold_is_nobodys(writer, tmp_path, monkeypatch):
    assert is_being_written(writer.path)
    (tmp_path / ".lock").symlink_to(writer.path / ".lock")
    assert not is_being_written(tmp_path)
    assert not is_being_written(tmp_path / "nowhere")
    writer.release()
    assert not is_being_written(writer.path)


def test_without_a_right_to_look_nobody_is_told_to_resume(writer, epoch_row, monkeypatch):
    record(writer, epoch_row, "00001", (1, 2))
    opened = os.open

    def refuse_the_lock(path, *how):
        if str(path).endswith(".lock"):
            raise PermissionError
        return opened(path, *how)

    monkeypatch.setattr(os, "open", refuse_the_lock)
    assert is_being_written(writer.path) is None
    sweep = load_sweep(writer.path)
    monkeypatch.undo()
    assert set(sweep.trials["stop_reason"]) == {"unknown"}
    assert so_far(sweep.trials) == "0 of 2 trials ended, 2 unknown"
    said = [finding.text for finding in findings(sweep, "there")]
    assert "0 of 2 trials ended, 2 unknown: this sweep may still be running" in said
    assert not [text for text in said if "resume" in text]


@pytest.mark.parametrize("name", ["journal.jsonl", ".lock", "states/00000.npz"])
def test_a_hard_link_is_refused_as_a_link_is(new_writer, tmp_path, name):
    """What we append to, or truncate, would be changed at its other name, too."""
    (tmp_path / "other").write_text("of somebody else")
    (tmp_path / "sweep" / "states").mkdir(parents=True)
    (tmp_path / "sweep" / name).hardlink_to(tmp_path / "other")
    with pytest.raises(UserError, match=f"{name} is a link, so a sweep would write outside its folder; remove it"):
        new_writer(tmp_path / "sweep", resume=True)
    assert (tmp_path / "other").read_text() == "of somebody else"


def test_load_sweep_finds_the_newest_sweep_below_a_folder(new_writer, tmp_path):
    for age, name in ((30, "b"), (10, "a"), (20, "c")):
        new_writer(tmp_path / "results" / name, count=age).finish(ended="now")
        os.utime(tmp_path / "results" / name / "sweep.json", (1e9 - age, 1e9 - age))
    assert load_sweep(tmp_path).path == tmp_path / "results" / "a"
    assert len(load_sweep(str(tmp_path)).trials) == 10


def test_load_sweep_finds_a_search_and_not_its_winner(new_writer, tmp_path):
    """The sweep of a winner lies in the search's folder, and is newer."""
    for age, name in ((30, "2/winner"), (40, "2"), (50, "1")):
        new_writer(tmp_path / "search" / name).finish(ended="now")
        os.utime(tmp_path / "search" / name / "sweep.json", (1e9 - age, 1e9 - age))
    assert load_sweep(tmp_path).path == tmp_path / "search" / "2"
    assert load_sweep(tmp_path / "search" / "2" / "winner").path.name == "winner"


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_folder_without_a_sweep_is_an_error(name, tmp_path):
    with pytest.raises(UserError, match=f"no sweep in {tmp_path / name} .*; name the folder of a sweep"):
        load_sweep(tmp_path / name)


def test_a_sweep_that_records_no_options_decided_nothing(writer, epoch_row):
    record(writer, epoch_row, "00000", (1,))
    meta = json.loads((writer.path / "sweep.json").read_text())
    (writer.path / "sweep.json").write_text(json.dumps({name: meta[name] for name in meta if name != "options"}))
    assert load_sweep(writer.path).decision is None


def test_a_new_sweep_does_not_overwrite_an_old_one(writer, epoch_row, new_writer):
    record(writer, epoch_row, "00000", (1,))
    before = {path: path.read_bytes() for path in writer.path.iterdir() if path.is_file()}
    with pytest.raises(UserError, match=f"{writer.path} already holds a sweep; .* --resume {writer.path}"):
        new_writer(writer.path)
    assert {path: path.read_bytes() for path in writer.path.iterdir() if path.is_file()} == before


def test_a_new_sweep_does_not_go_on_from_the_states_of_one_that_is_gone(new_writer, tmp_path):
    states = tmp_path / "sweep" / "states"
    states.mkdir(parents=True)
    (states / "00000.npz").touch()
    with pytest.raises(UserError, match=f"{states} has the states of a sweep whose sweep.json is gone; name another"):
        new_writer(tmp_path / "sweep")
    assert [file.name for file in tmp_path.rglob("*.*")] == ["00000.npz"]
    (states / "00000.npz").unlink()
    new_writer(tmp_path / "sweep").finish(ended="now")


def test_options_that_depend_on_the_machine_are_added_to_those_asked_for(writer):
    writer.meta["options"] = {"epochs": 4, "lanes": None}
    writer.update_options(lanes=3)
    assert load_sweep(writer.path).meta["options"] == {"epochs": 4, "lanes": 3}


def test_a_resumed_sweep_knows_what_was_recorded_and_removes_unfinished_files(writer, epoch_row, new_writer):
    for epoch in (1, 3, 2):
        writer.epoch("00000", epoch_row(epoch, train_loss=epoch / 10), False)
    (writer.states / "00001.npz").touch()
    writer.finish()
    for folder in (writer.path, writer.states):
        (folder / f".a.{'0' * 16}.part").touch()
    resumed = new_writer(writer.path, resume=True)
    assert not list(resumed.path.rglob("*.part"))
    assert resumed.saved() == {"00001"}
    assert read_journal(resumed.path).epochs[["epoch", "train_loss"]].values[-1].tolist() == [2, 0.2]
    resumed.trial("00001", TrialConfig(learning_rate=0.7))
    resumed.end("00001", "error", "s3://key:hidden@bucket is full")
    journal = read_journal(resumed.path)
    assert journal.known_trials(resumed.meta)["00001"].learning_rate == 0.7
    assert (journal.ends["00001"]["stop_reason"], len(journal.ends)) == ("error", 1)
    assert "hidden" not in (resumed.path / "journal.jsonl").read_text()
    resumed.finish()


def test_a_folder_has_only_one_writer(writer, new_writer):
    with pytest.raises(UserError, match=r"another sweep is writing to"):
        new_writer(writer.path, resume=True)
    writer.finish()
    new_writer(writer.path, resume=True).finish()


_KILLED_SWEEP = """
import os, sys
from pathlib import Path
from mnist_tune.results.writer import SweepWriter
SweepWriter(Path(sys.argv[1]), {"trials": {}, "dataset": {"name": "none"}, "ended": None})
os.kill(os.getpid(), 9)
"""


def test_the_lock_of_a_killed_writer_ends_with_it(tmp_path, new_writer):
    killed = subprocess.run([sys.executable, "-c", _KILLED_SWEEP, str(tmp_path / "sweep")])
    assert killed.returncode == -9
    new_writer(tmp_path / "sweep", resume=True).finish()


def test_versions_that_changed_are_told_as_they_are_now_and_were_then(monkeypatch):
    now = {"versions": {"jax": "0.11", "ray": "2.60"}, "processor": "new"}
    monkeypatch.setattr(machine, "describe_environment", lambda: now)
    then = {"versions": {"jax": "0.10", "ray": "2.60", "gone": "1.0"}, "processor": "old"}
    assert machine.changed_versions({"environment": then}) == {
        "jax": "0.11 now, it was 0.10",
        "gone": "None now, it was 1.0",
        "processor": "new now, it was old",
    }
    assert machine.changed_versions({}) == {}


def test_two_sweeps_started_in_the_same_second_get_two_folders(tmp_path):
    first, second = (new_folder(tmp_path / "lr_regimes", "2026-11-25_12-00-00") for _ in range(2))
    assert first.name == "2026-11-25_12-00-00"
    assert second.name == "2026-11-25_12-00-00-2"


def test_a_folder_that_cannot_be_written(new_writer, tmp_path):
    (tmp_path / "file").write_text("")
    for begin in (new_writer, lambda path: new_folder(path.parent, path.name)):
        with pytest.raises(UserError, match=f"can't write results to {tmp_path / 'file' / 'below'}: Not a directory"):
            begin(tmp_path / "file" / "below")


def test_a_full_disk_while_writing(writer, epoch_row, monkeypatch):
    with writer._journal:
        full = Mock(side_effect=OSError(28, "No space left on device"))
        monkeypatch.setattr(writer, "_journal", Stub(writer._journal, flush=full))
        with pytest.raises(UserError, match=f"No space left on device; fix that, then --resume {writer.path}") as error:
            record(writer, epoch_row, "00000", (1,))
        assert writer.failure is error.value
        monkeypatch.undo()


class Stub:
    """An object with some of its methods replaced."""

    def __init__(self, wrapped, **methods):
        self._wrapped = wrapped
        self.__dict__ |= methods

    def __getattr__(self, name):
        return getattr(self._wrapped, name)


# --- journals cut short by a kill


@pytest.fixture(scope="module")
def torn(new_writer, epoch_row, tmp_path_factory):
    """The folder of a sweep, and the bytes of its journal, which has losses that are not finite."""
    writer = new_writer(tmp_path_factory.mktemp("torn") / "sweep")
    record(writer, epoch_row, "00000", (1, 2, 3))
    writer.epoch("00001", epoch_row(1, math.nan, 0.1, diverged=True, finite=False, above_since=10), False)
    writer.end("00001", "diverged")
    record(writer, epoch_row, "00000", (4,))
    writer.end("00000", "completed")
    writer.release()
    return writer.path, (writer.path / "journal.jsonl").read_bytes()


def whole_rows(journal, length):
    """Return the (trial, epoch) of all rows that are complete in the first `length` bytes, but for their newline."""
    end, found = -1, []
    for line in journal.splitlines():
        end += len(line) + 1
        event = json.loads(line)
        if event["kind"] == "epoch" and end <= length:
            found.append((event["trial_id"], event["epoch"]))
    return sorted(found)


def test_a_journal_cut_at_any_byte_is_read(torn):
    """At each one near the end of a line, and at every seventh of the others."""
    path, whole = torn
    last_lines = whole.rstrip(b"\n").rfind(b"\n", 0, whole.rstrip(b"\n").rfind(b"\n"))
    ends = [i for i in range(last_lines, len(whole)) if whole[i : i + 1] == b"\n"]
    near = {length for end in ends for length in range(end - 5, end + 6)}
    for length in sorted(near.union(range(last_lines, len(whole), 7)) & set(range(last_lines, len(whole) + 1))):
        (path / "journal.jsonl").write_bytes(whole[:length])
        rows = keys(read_journal(path).epochs)
        assert sorted(rows) == whole_rows(whole, length)
        assert set(rows) >= {("00000", 1), ("00000", 2), ("00000", 3), ("00001", 1)}


@settings(max_examples=30)
@given(data=st.data())
def test_tables_of_a_cut_journal(torn, data):
    path, whole = torn
    length = data.draw(st.integers(0, len(whole)))
    (path / "journal.jsonl").write_bytes(whole[:length])
    sweep = load_sweep(path)
    assert keys(sweep.epochs) == whole_rows(whole, length)
    assert sweep.trials["epochs_run"].sum() == len(sweep.epochs)


@settings(max_examples=50)
@given(data=st.data())
def test_a_torn_line_is_mended_by_a_resumed_sweep(torn, new_writer, epoch_row, data):
    path, whole = torn
    length = data.draw(st.integers(0, len(whole)))
    (path / "journal.jsonl").write_bytes(whole[:length])
    kept = whole_rows(whole, length)
    writer = new_writer(path, resume=True)
    writer.last_epochs = read_journal(writer.path).epochs.groupby("trial_id")["epoch"].last().to_dict()
    record(writer, epoch_row, "00000", (1, 2, 3, 4), repeated=True)
    record(writer, epoch_row, "00001", (2,))
    writer.release()
    assert sorted(keys(read_journal(path).epochs)) == sorted(
        {*kept, *(("00000", epoch) for epoch in (1, 2, 3, 4)), ("00001", 2)}
    )


def test_a_link_that_leads_nowhere_is_no_sweep(tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="no sweep in"):
        load_sweep(tmp_path)
