"""Curves are read from what other tools keep, by their own libraries."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from wandb_runs import synced

from mnist_tune import UserError, read_curves
from mnist_tune.curves.tools import (
    mlflow_table,
    optuna_table,
    tensorboard_table,
    wandb_table,
)

RATES = (0.01, 0.1, 1.0)
EPOCHS = np.arange(1, 9)
FACTS = {"chance": 0.1, "test_examples": 10_000}


def accuracy(rate, epoch):
    """A curve that is better with larger rates."""
    return float(1 - (0.5 - 0.15 * np.log10(rate * 100)) * epoch**-0.7)


def assert_read(table, epochs=8):
    sweep = read_curves(table, **FACTS)
    trials = sweep.trials.sort_values("learning_rate")
    assert trials["learning_rate"].tolist() == [*RATES]
    assert trials["epochs_run"].tolist() == [epochs] * 3
    last = [accuracy(rate, epochs) for rate in RATES]
    column = trials.filter(regex="^(validation|test)_accuracy$").dropna(axis=1)
    np.testing.assert_allclose(column.iloc[:, 0], last, rtol=1e-6)
    return sweep


@pytest.fixture
def logs(tmp_path):
    """TensorBoard's logs, as PyTorch's SummaryWriter writes them."""
    from tensorboardX import SummaryWriter

    for rate in RATES:
        with SummaryWriter(
            str(tmp_path / f"lr={rate}_width=8"), write_to_disk=True
        ) as to:
            for epoch in EPOCHS:
                to.add_scalar("val/acc", accuracy(rate, epoch), epoch)
                to.add_scalar("train/loss", 1 / epoch, epoch)
    return tmp_path


def test_tensorboards_logs_are_read_with_settings_from_their_names(logs):
    pytest.importorskip("tensorboard")
    sweep = assert_read(tensorboard_table(logs))
    assert set(sweep.trials["architecture"]) == {"curves(width=8)"}
    assert sweep.epochs["train_loss"].notna().all()


def test_settings_of_tensorboards_runs_can_be_given(logs):
    pytest.importorskip("tensorboard")
    runs = {f"lr={rate}_width=8": {"lr": rate} for rate in RATES}
    sweep = assert_read(tensorboard_table(logs, runs=runs))
    assert set(sweep.trials["architecture"]) == {"curves"}
    with pytest.raises(UserError, match=r"has no run 'lr=0.1_widht=8'; did you mean"):
        tensorboard_table(logs, runs={"lr=0.1_widht=8": {"lr": 0.1}})


def test_folders_of_a_split_are_of_one_run(tmp_path):
    """As Keras' callback writes them."""
    pytest.importorskip("tensorboard")
    from tensorboardX import SummaryWriter

    for rate in RATES:
        for split in ("train", "validation"):
            folder = tmp_path / f"lr={rate}" / split
            with SummaryWriter(str(folder), write_to_disk=True) as to:
                for epoch in EPOCHS:
                    to.add_scalar("epoch_accuracy", accuracy(rate, epoch), epoch - 1)
    sweep = assert_read(tensorboard_table(tmp_path))
    assert sweep.epochs["train_accuracy"].notna().all()


def test_no_point_of_a_long_log_is_left_out(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(tmp_path / "lr=0.1"), write_to_disk=True) as to:
        for step in range(12_000):
            to.add_scalar("loss", 1.0, step)
    assert len(tensorboard_table(tmp_path)) == 12_000


def test_where_no_logs_are_is_a_line(tmp_path):
    with pytest.raises(UserError, match=r"no logs of TensorBoard are in .*name their"):
        tensorboard_table(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow's libraries
def test_an_experiment_of_mlflow_is_read(tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("mine", str(tmp_path / "artifacts"))
    for rate in RATES:
        run = client.create_run(experiment).info.run_id
        client.log_param(run, "lr", rate)
        for epoch in EPOCHS:
            client.log_metric(run, "val_acc", accuracy(rate, epoch), step=int(epoch))
    assert_read(mlflow_table("mine", uri))
    line = r"has no experiment 'mnie'; did you mean 'mine"
    with pytest.raises(UserError, match=line):
        mlflow_table("mnie", uri)
    client.create_experiment("empty", str(tmp_path / "artifacts"))
    with pytest.raises(UserError, match="'empty' of MLflow has no metrics"):
        mlflow_table("empty", uri)


def test_a_study_of_optuna_is_read(tmp_path):
    import optuna

    storage = f"sqlite:///{tmp_path}/optuna.db"
    study = optuna.create_study(storage=storage, study_name="mine")
    with pytest.raises(UserError, match=r"no trial of the study 'mine' reported"):
        optuna_table(study, "validation_accuracy")

    def train(trial):
        rate = trial.suggest_float("lr", 1e-3, 10, log=True)
        for epoch in EPOCHS:
            trial.report(accuracy(rate, epoch), int(epoch))
            if rate == RATES[0] and epoch == 4:
                raise optuna.TrialPruned
        return accuracy(rate, EPOCHS[-1])

    for rate in RATES:
        study.enqueue_trial({"lr": rate})
    study.optimize(train, n_trials=3)
    loaded = optuna.load_study(study_name="mine", storage=storage)
    sweep = read_curves(optuna_table(loaded, "validation_accuracy"), **FACTS)
    trials = sweep.trials.sort_values("learning_rate")
    assert trials["epochs_run"].tolist() == [4, 8, 8]
    assert trials["stop_reason"].tolist() == ["pruned", "completed", "completed"]


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A folder with offline runs, as W&B's own library writes them."""
    wandb = pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("wandb")
    settings = wandb.Settings(
        silent=True, console="off", disable_git=True, x_disable_stats=True
    )
    for rate in RATES:
        run = wandb.init(
            project="mine",
            mode="offline",
            dir=str(folder),
            config={"lr": rate, "net": {"width": 8}, "layers": [1, 2], "name": None},
            reinit="finish_previous",
            settings=settings,
        )
        with run:
            for epoch in EPOCHS.tolist():
                loss = float("nan") if rate == 1.0 and epoch > 6 else 1 / epoch
                scores = {"val": {"acc": accuracy(rate, epoch)}, "train/loss": loss}
                histogram = wandb.Histogram([1, 2])
                run.log({"epoch": epoch, **scores, "lr": 0.5, "weights": histogram})
    wandb.teardown()
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of W&B's library
def test_runs_of_wandb_are_read_with_their_config(offline):
    """Metrics, not media; a rate that is logged does not hide that of the config."""
    rows = wandb_table(synced(offline))
    assert not rows.columns.str.startswith("_").any()
    assert "weights" not in rows
    sweep = assert_read(rows)
    networks = set(sweep.trials["architecture"])
    assert networks == {"curves(layers=[1, 2], net/width=8)"}
    assert sweep.epochs["train_loss"].isna().sum() == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_parquet_file_of_wandbs_runs_says_the_same(offline, tmp_path):
    rows = wandb_table(synced(offline))
    rows.to_parquet(tmp_path / "curves.parquet")
    sweep = assert_read(tmp_path / "curves.parquet")
    trials = read_curves(rows, **FACTS).trials
    assert sweep.trials.equals(trials)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_of_wandb_that_failed_says_so(offline):
    sweep = read_curves(wandb_table(synced(offline, state="failed")), **FACTS)
    assert set(sweep.trials["stop_reason"]) == {"error"}


def test_a_project_of_wandb_is_named_by_a_text(monkeypatch):
    rows = [{"_step": step, "val/acc": accuracy(0.1, step)} for step in (1, 2)]
    run = SimpleNamespace(
        id="a", state="running", config={"lr": 0.1}, scan_history=lambda: iter(rows)
    )
    api = SimpleNamespace(runs={"me/mine": [run]}.__getitem__)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Api=lambda: api))
    table = wandb_table("me/mine")
    assert table["config/lr"].tolist() == ["0.1", "0.1"]
    assert table["step"].tolist() == [1, 2]


def test_wandb_runs_without_a_metric_are_a_line():
    with pytest.raises(UserError, match=r"no run of Weights & Biases has a metric"):
        wandb_table([])


def test_a_library_that_is_not_installed_is_a_line(logs, monkeypatch):
    name = "tensorboard.backend.event_processing.event_accumulator"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match="python -m pip install tensorboard"):
        tensorboard_table(logs)
