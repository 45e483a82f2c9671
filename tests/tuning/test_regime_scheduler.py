"""Early stopping by regimes of whatever Ray Tune trains."""

import json
import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
from pyarrow.fs import LocalFileSystem
from ray import tune
from ray.tune.schedulers import TrialScheduler

from mnist_tune import RegimeScheduler, TrialConfig, UserError, read_curves
from mnist_tune.curves.files import REASONS
from mnist_tune.tuning.early_stopping import RegimeStopping
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.run import Run
from validation.label_cuts import read_set

EPOCHS = np.arange(1, 11)
FAST = 1 - 0.06 * EPOCHS**-1.2
SLOW = 1 - 0.45 * EPOCHS**-0.35
FACTS = {"chance": 0.1, "test_examples": 10_000}


class Experiment:
    """A made-up experiment: its trials report, and are told whether they go on."""

    def __init__(self, folder, **options):
        usual = {"epochs": 10, "metric": "val_acc", "mode": "max"}
        self.scheduler = RegimeScheduler(**usual | FACTS | options)
        assert self.scheduler.set_search_properties(None, None)
        self.folder = folder
        self.trials = {}
        self.iterations = {}

    def add(self, name, **config):
        storage = SimpleNamespace(
            experiment_fs_path=str(self.folder),
            experiment_driver_staging_path=str(self.folder / "staged"),
            storage_filesystem=LocalFileSystem(),
        )
        self.folder.mkdir(exist_ok=True)
        trial = SimpleNamespace(trial_id=name, config=config, storage=storage)
        self.trials[name] = trial
        self.iterations[name] = 0
        self.scheduler.on_trial_add(None, trial)

    def report(self, name, iteration=None, **result):
        """Return whether a trial is stopped after a report."""
        if iteration is None:
            iteration = self.iterations[name] + 1
        self.iterations[name] = iteration
        result |= {"training_iteration": iteration, "timestamp": 0, "pid": 7}
        decision = self.scheduler.on_trial_result(None, self.trials[name], result)
        return decision == TrialScheduler.STOP

    def run(self, name, curve, **config):
        """Return after which report a trial was stopped; None if it was not."""
        if name not in self.trials:
            self.add(name, **config)
        for accuracy in curve[self.iterations[name] :]:
            if self.report(name, val_acc=float(accuracy)):
                return self.iterations[name]
        return None


@pytest.fixture
def experiment(tmp_path):
    return Experiment(tmp_path / "experiment")


def test_a_slow_trial_is_stopped_with_its_reason(experiment):
    experiment.run("fast", FAST, lr=1.0)
    assert experiment.run("slow", SLOW, lr=0.01) == 5
    assert experiment.run("also fast", FAST - 0.001, lr=0.9) is None
    assert list(experiment.scheduler.reasons) == ["slow"]
    assert experiment.scheduler.reasons["slow"].startswith("slow: ")


def test_a_trial_that_is_dead_is_stopped(tmp_path):
    """How many steps it was at chance follows from the examples and the batch."""
    facts = {"guess": math.log(10), "train_examples": 50_000}
    experiment = Experiment(tmp_path / "experiment", **facts)
    experiment.add("fast", lr=1.0, batch_size=64)
    for accuracy in FAST:
        experiment.report("fast", val_acc=accuracy, loss=4 * (1 - accuracy))
    experiment.add("dead", lr=2.0, batch_size=64)
    for _ in range(4):
        assert not experiment.report("dead", val_acc=0.1, loss=2.6)
    assert experiment.report("dead", val_acc=0.1, loss=2.6)
    assert experiment.scheduler.reasons["dead"].startswith("dead: ")


def test_other_settings_are_no_peers(experiment):
    """Nobody knows yet how fast a network of another width learns."""
    experiment.run("fast", FAST, lr=1.0, net={"width": 8})
    assert experiment.run("slow", SLOW, lr=0.01, net={"width": 16}) is None
    assert experiment.run("slow too", SLOW, lr=0.01, net={"width": 8}) == 5


def test_seeds_stop_after_the_same_report(experiment):
    experiment.run("fast", FAST, lr=1.0)
    experiment.add("ahead", lr=0.01, seed=0)
    experiment.add("behind", lr=0.01, seed=1)
    experiment.add("unnamed", lr=0.01)
    assert experiment.run("ahead", SLOW) == 5
    assert experiment.run("behind", SLOW + 0.001) == 5
    assert experiment.run("unnamed", FAST) == 5


def test_a_report_that_is_repeated_is_answered_as_before(experiment):
    experiment.run("fast", FAST, lr=1.0)
    assert experiment.run("slow", SLOW, lr=0.01) == 5
    before = (experiment.folder / REASONS).read_text()
    assert not experiment.report("slow", 4, val_acc=0.99)
    assert experiment.report("slow", 5, val_acc=0.99)
    assert (experiment.folder / REASONS).read_text() == before


@pytest.mark.parametrize("cut", [1.0, 0.6])
def test_an_experiment_that_is_restored_goes_on_as_it_would_have(tmp_path, cut):
    """Also after a kill within the last line of its file."""
    whole = Experiment(tmp_path / "whole")
    killed = Experiment(tmp_path / "killed")
    for experiment in (whole, killed):
        experiment.run("fast", FAST, lr=1.0)
        experiment.add("slow", lr=0.01)
        experiment.run("slow", SLOW[:4])
    file = killed.folder / REASONS
    text = file.read_text()
    *whole_lines, last = text.splitlines(keepends=True)
    part = last[: int(cut * len(last))]
    file.write_text("".join([*whole_lines, part]))
    restored = Experiment(tmp_path / "killed")
    restored.add("fast", lr=1.0)
    restored.add("slow", lr=0.01)
    restored.iterations["slow"] = 3 if cut < 1 else 4
    assert whole.run("slow", SLOW) == restored.run("slow", SLOW) == 5
    assert restored.scheduler.reasons == whole.scheduler.reasons
    assert file.read_text() == (whole.folder / REASONS).read_text()


def test_a_stop_is_known_after_a_restore(experiment):
    experiment.run("fast", FAST, lr=1.0)
    experiment.run("slow", SLOW, lr=0.01, seed=0)
    restored = Experiment(experiment.folder)
    for name, rate in (("fast", 1.0), ("slow", 0.01)):
        restored.add(name, lr=rate, seed=0)
    assert restored.scheduler.reasons == experiment.scheduler.reasons
    assert restored.run("its seed", SLOW, lr=0.01, seed=1) == 5


def test_another_experiment_in_the_same_folder_begins_anew(experiment):
    experiment.run("fast", FAST, lr=1.0)
    other = Experiment(experiment.folder)
    other.add("new", lr=0.1)
    lines = (other.folder / REASONS).read_text().splitlines()
    assert [json.loads(line)["trial"] for line in lines] == ["new"]


def test_losses_alone_are_judged_too(tmp_path):
    accuracies_are_unknown = {"chance": None, "test_examples": None}
    experiment = Experiment(
        tmp_path / "losses",
        metric="val_loss",
        mode="min",
        guess=2.3,
        **accuracies_are_unknown,
    )
    experiment.add("fast", lr=1.0)
    experiment.add("not finite", lr=4.0)
    for loss in 2.3 * (1 - FAST):
        assert not experiment.report("fast", val_loss=loss)
    for _ in range(10):
        if experiment.report("not finite", val_loss=math.nan):
            break
    assert list(experiment.scheduler.reasons) == ["not finite"]


STATED = (
    "train_loss train_accuracy test_loss test_accuracy validation_loss "
    "validation_accuracy step_loss_max window_loss_max diverged above_since "
    "guessing_since untrained_loss"
).split()
"""What a row of a recorded sweep states."""


def use(folder, options=(), config=(), result=()):
    """Report a result of a trial."""
    experiment = Experiment(folder, **dict(options))
    experiment.add("trial", **dict(config))
    experiment.report("trial", **dict(result))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1 on, got 0"),
        ({"mode": "best"}, "mode must be 'min' or 'max', got 'best'"),
        ({"chance": 2.0}, "chance must be .*, got 2.0"),
        ({"columns": {"x": "test_acc"}}, "did you mean 'test_accuracy'"),
        ({"metric": None}, "needs a metric and a mode; give metric='val_acc'"),
    ],
)
def test_a_mistake_in_an_argument_is_a_line(tmp_path, options, line):
    with pytest.raises(UserError, match=line):
        use(tmp_path / "experiment", options)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"rl": 0.1}, "has no 'lr'; .*RegimeScheduler\\(learning_rate=...\\)"),
        ({"lr": "large"}, "lr is 'large', which is no number"),
        ({"lr": -1.0}, "learning.rate"),
    ],
)
def test_a_mistake_in_a_config_is_a_line(tmp_path, config, line):
    with pytest.raises(UserError, match=line):
        use(tmp_path / "experiment", config=config)


@pytest.mark.parametrize(
    ("result", "line"),
    [
        ({"acc_val": 0.5}, "a report has no 'val_acc'.*; it has acc_val"),
        ({"val_acc": 55.0}, "val_acc=55, .*divide percents by 100"),
        ({"val_acc": "good"}, "val_acc is 'good', which is no number"),
    ],
)
def test_a_mistake_in_a_report_is_a_line(tmp_path, result, line):
    with pytest.raises(UserError, match=line):
        use(tmp_path / "experiment", config={"lr": 0.1}, result=result)


def test_accuracies_without_the_chance_are_refused(tmp_path):
    result = {"val_acc": 0.5}
    with pytest.raises(UserError, match="validation_accuracy needs"):
        use(tmp_path / "experiment", {"chance": None}, {"lr": 0.1}, result)


def test_a_metric_of_tune_config_that_is_another_is_refused():
    scheduler = RegimeScheduler(epochs=5, metric="val_acc", mode="max", **FACTS)
    assert not scheduler.set_search_properties("loss", None)
    assert not scheduler.set_search_properties(None, "min")
    scheduler = RegimeScheduler(epochs=5, **FACTS)
    assert scheduler.set_search_properties("top1", "max")


def stops_of(sweep, report):
    """Return after which epoch each trial of a recorded sweep is stopped, if all train
    at once."""
    stops = {}
    rows = sweep.epochs.sort_values(["epoch", "trial_id"])
    for row in rows.to_dict("records"):
        if row["trial_id"] not in stops and report(row["trial_id"], row):
            stops[row["trial_id"]] = row["epoch"]
    return stops


def stops_of_our_own(sweep, configs):
    rules = RegimeStopping(5, Run(Past()), sweep.data)
    for name, config in configs.items():
        rules.know(name, config)
    return stops_of(sweep, lambda name, row: rules.take_up(name, None, row))


def stops_of_others(sweep, configs, folder, names):
    """Return the same for somebody's experiment that reports the columns of these
    names; without trials of ours that end themselves as diverged."""
    data = sweep.data
    scheduler = Experiment(
        folder,
        epochs=max(config.epochs for config in configs.values()),
        metric="test_accuracy",
        chance=data.chance,
        guess=data.guess_losses["cross-entropy"],
        target=data.target,
        test_examples=data.test_images,
        train_examples=data.train_images,
    )
    for name, config in configs.items():
        scheduler.add(
            name,
            lr=config.learning_rate,
            seed=config.seed,
            batch_size=config.batch_size,
        )

    def report(name, row):
        stated = {key: row[key] for key in names if row[key] == row[key]}
        return scheduler.report(name, **stated)

    stops = stops_of(sweep, report)
    diverged = sweep.epochs.loc[sweep.epochs["diverged"] == 1, "trial_id"]
    return {name: stops[name] for name in stops.keys() - set(diverged)}


def configs_of(sweep):
    """Return the configs of the trials of a recorded sweep."""
    configs = {}
    for trial in sweep.trials.itertuples():
        configs[trial.trial_id] = TrialConfig(
            architecture="trainable",
            learning_rate=trial.learning_rate,
            batch_size=trial.batch_size,
            seed=trial.seed,
            data_seed=trial.seed,
            epochs=trial.epochs_asked,
            holdout=0,
        )
    return configs


def test_the_stops_are_those_of_our_own_sweeps(tmp_path):
    """With all columns they are the same, but for trials of ours that end themselves
    as diverged. With test accuracy alone, most are stopped, too."""
    count = 0
    stopped_by_accuracy_too = 0
    for number, sweep in enumerate(read_set(7)):
        configs = configs_of(sweep)
        own = stops_of_our_own(sweep, configs)
        folder = tmp_path / f"all columns {number}"
        by_all = stops_of_others(sweep, configs, folder, STATED)
        assert by_all == own
        folder = tmp_path / f"accuracy {number}"
        by_accuracy = stops_of_others(sweep, configs, folder, ["test_accuracy"])
        count += len(own)
        stopped_by_accuracy_too += len(own.keys() & by_accuracy.keys())
    assert count > 30
    assert stopped_by_accuracy_too > 0.8 * count


@pytest.mark.ray
def test_a_function_of_anybodys_is_stopped_by_its_regime_in_ray_tune(tmp_path):
    def train(config):
        curve = FAST if config["opt"]["rate"] > 0.1 else SLOW
        for accuracy in curve:
            time.sleep(0.05)
            tune.report({"val_acc": float(accuracy)})

    scheduler = RegimeScheduler(epochs=10, learning_rate="opt/rate", **FACTS)
    rates = tune.grid_search([1.0, 0.9, 0.01, 0.02])
    config = tune.TuneConfig(
        scheduler=scheduler, metric="val_acc", mode="max", max_concurrent_trials=1
    )
    tuner = tune.Tuner(
        train,
        param_space={"opt": {"rate": rates}},
        tune_config=config,
        run_config=tune.RunConfig("mine", storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    table = results.get_dataframe().set_index("config/opt/rate")
    epochs = table["training_iteration"].to_dict()
    assert epochs == {1.0: 10, 0.9: 10, 0.01: 5, 0.02: 5}
    ids = table["trial_id"]
    assert set(scheduler.reasons) == {ids[0.01], ids[0.02]}
    assert (tmp_path / "mine" / REASONS).exists()
    columns = {"config/opt/rate": "learning_rate"}
    sweep = read_curves(results, columns=columns, **FACTS)
    regimes = sweep.trials.set_index("learning_rate")["regime"].to_dict()
    assert regimes == {1.0: "converged", 0.9: "converged", 0.01: "slow", 0.02: "slow"}
