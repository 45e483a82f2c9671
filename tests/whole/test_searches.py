"""Searches under Ray Tune, also killed and resumed."""

import os
import pickle
import signal
import time
from collections import defaultdict

import numpy as np
import pytest
from journals import as_killed
from ray import tune
from ray.tune.experiment import Experiment
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search import Searcher, SearchGenerator

from mnist_tune import (
    SweepOptions,
    UserError,
    load_sweep,
    object_storage,
    run_search,
    storage,
)
from mnist_tune.results.folder import exists
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning import opening
from mnist_tune.tuning.past import Past, not_known
from mnist_tune.tuning.searcher import KnownThenSearched, drawn


def train_population(
    place, epochs, interval, scheduler=PopulationBasedTraining, callbacks=(), **fields
):
    where = {"resume" if exists(place) else "output": place} | fields
    space = {
        "architecture": "mlp-8-tanh",
        "epochs": epochs,
        "learning_rate": tune.loguniform(1e-5, 1e-3),
    }
    changes = scheduler(
        time_attr="epoch",
        metric="scheduler_loss",
        mode="min",
        perturbation_interval=interval,
        quantile_fraction=0.5,
        hyperparam_mutations={"trial": {"learning_rate": tune.loguniform(0.01, 0.5)}},
        require_attrs=False,
    )
    options = SweepOptions(dataset="mnist-5k", quiet=True, **where)
    return run_search("pbt", space, 4, options, changes, callbacks=callbacks)


class StopsSoon(PopulationBasedTraining):
    """Stops each trial after its fifth row."""

    def on_trial_result(self, tune_controller, trial, result):
        decision = super().on_trial_result(tune_controller, trial, result)
        return self.STOP if result["training_iteration"] >= 5 else decision


class Interrupts(tune.Callback):
    """Presses Ctrl-C once `enough` accepts the learning rates of each trial."""

    def __init__(self, enough):
        self.enough, self.rates, self.rows = enough, defaultdict(list), None

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.rates[trial.trial_id].append(result["learning_rate"])
        if self.rows is None and self.enough(self.rates.values()):
            self.rows = sum(map(len, self.rates.values()))
            os.kill(os.getpid(), signal.SIGINT)


def three_ended_and_one_in_flight(journal):
    return (
        journal.count('"completed"') >= 3
        and '"kind": "epoch"' in journal.rpartition('"kind": "end"')[2]
    )


@pytest.mark.ray
def test_a_killed_search_resumes_and_its_searcher_learns_the_results(
    tmp_path, one_core
):
    from ray.tune.search.optuna import OptunaSearch

    told = []

    class Told(OptunaSearch):
        def add_evaluated_point(self, parameters, value, **fields):
            told.append(parameters["trial/learning_rate"])
            super().add_evaluated_point(parameters, value, **fields)

    def search(**where):
        space = {
            "architecture": "mlp-16-tanh",
            "epochs": 3,
            "learning_rate": tune.loguniform(0.01, 1),
        }
        options = SweepOptions(
            dataset="mnist-5k", quiet=True, scheduler="fifo", **where
        )
        return run_search(
            "search",
            space,
            12,
            options,
            search_alg=Told(metric="scheduler_loss", mode="min"),
        )

    search(output=tmp_path)
    as_killed(tmp_path, three_ended_and_one_in_flight)
    before = load_sweep(tmp_path)
    ended = before.trials[before.trials["stop_reason"] == "completed"]
    assert 3 <= len(ended) < len(before.trials) < 12
    assert told == []
    after = search(resume=tmp_path)
    # those in flight, too, once they have ended
    assert sorted(told) == sorted(before.trials["learning_rate"])
    assert len(after.trials) == 12
    assert set(after.trials["stop_reason"]) == {"completed"}
    assert set(after.epochs["lanes"]) == {1}  # in processes, by default
    assert not after.epochs.duplicated(["trial_id", "epoch"]).any()
    assert set(before.trials["trial_id"]) <= set(after.trials["trial_id"])


class Checkpoints(tune.Callback):
    """Counts how many checkpoints Tune has made, and the most that were there at the
    same time."""

    def __init__(self, folder):
        self._folder, self.made, self.most = folder, 0, 0

    def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
        self.made += 1
        self.most = max(self.most, len(list(self._folder.glob("*/checkpoint_*"))))


@pytest.mark.ray
def test_population_based_training_on_lanes_resumes_with_its_latest_rates(
    tmp_path, one_core
):
    def two_changed(rates):
        return sum(len(set(of_one)) > 1 for of_one in rates) >= 2

    interrupts = Interrupts(two_changed)
    train_population(tmp_path, 100_000, 2, callbacks=[interrupts], execution="lanes")
    as_killed(tmp_path, lambda text: text.count('"kind": "epoch"') >= interrupts.rows)
    last = load_sweep(tmp_path).epochs.groupby("trial_id").last()
    # no more changes
    later = train_population(tmp_path, 100_000, 10**6, StopsSoon).epochs
    rates = {
        trial_id: set(
            later[(later["trial_id"] == trial_id) & (later["epoch"] > row["epoch"])][
                "learning_rate"
            ]
        )
        for trial_id, row in last.iterrows()
    }
    assert [len(found) for found in rates.values()] == [1] * 4
    # A trial that was told another rate just before the kill has that one, though it
    # has no row of it yet.
    told = [
        trial_id
        for trial_id, found in rates.items()
        if found - {last.loc[trial_id, "learning_rate"]}
    ]
    assert len(told) <= len(last) / 2


@pytest.mark.ray
def test_population_based_training_saves_its_checkpoints_in_object_storage(
    bucket, one_core
):
    """Tune writes there by pyarrow, all else by obstore."""
    # often enough that some trial copies another one
    train_population(storage.place(bucket), 12, 2)
    sweep = load_sweep(bucket)
    assert set(sweep.trials["stop_reason"]) == {"completed"}
    assert (sweep.epochs.groupby("trial_id")["learning_rate"].nunique() > 1).any()
    assert (
        sweep.epochs.groupby("trial_id")["epoch"].apply(list).tolist()
        == [list(range(1, 13))] * 4
    )
    losses = sweep.epochs.groupby("epoch")["train_loss"].median()
    assert losses.iloc[-1] < losses.iloc[0]
    assert not [
        name for name in object_storage.below(bucket) if name.startswith(".ray/1/")
    ]


@pytest.mark.ray
def test_a_resumed_population_keeps_the_ids_of_its_trials(tmp_path, every_core):
    """A trial that copies another one's config must not copy its id, which would mix up
    their rows and states.

    And checkpoints that nobody copies any more go.
    """
    options = SweepOptions(dataset="mnist-5k", quiet=True, output=tmp_path / "sweep")
    writer = opening.open_sweep("pbt", options, kind=SweepKind.SEARCH).writer
    rates = {"00000": 1e-5, "00001": 0.1, "00002": 2e-5, "00003": 0.2}
    for trial_id, rate in rates.items():
        writer.trial(
            trial_id,
            TrialConfig(architecture="mlp-8-tanh", learning_rate=rate, epochs=10),
        )
    writer.finish()
    scheduler = PopulationBasedTraining(
        time_attr="epoch",
        metric="scheduler_loss",
        mode="min",
        perturbation_interval=2,
        quantile_fraction=0.5,
        hyperparam_mutations={"trial": {"learning_rate": tune.loguniform(0.05, 0.5)}},
        require_attrs=False,
    )
    checkpoints, options = (
        Checkpoints(writer.path / ".ray" / "tune"),
        SweepOptions(quiet=True, resume=writer.path),
    )
    found = run_search(
        "pbt", {}, len(rates), options, scheduler, callbacks=[checkpoints]
    )
    assert checkpoints.made > 2 * len(rates) >= checkpoints.most > 0
    assert list(found.trials["trial_id"]) == list(rates)
    assert set(found.trials["stop_reason"]) == {"completed"}
    last = found.epochs.groupby("trial_id").last()
    assert (last["epoch"] == 10).all()
    # at least one slow trial copied another one
    assert (last["learning_rate"] > 0.01).sum() > 2


def test_a_resumed_search_does_not_copy_all_trials_for_each_trial():
    """As Tune's grid search does, which then takes 20 ms a trial."""
    known = {f"{i:05d}": TrialConfig(seed=i) for i in range(2_000)}
    search = SearchGenerator(KnownThenSearched(known))
    search.add_configurations(
        Experiment("some", tune.Trainable, config={"trial": {}}, num_samples=len(known))
    )
    start = time.process_time()
    found = [search.next_trial().config["trial"] for _ in range(50)]
    assert (time.process_time() - start) / len(found) < 5e-3
    assert found == [
        {"trial_id": trial_id, **known[trial_id].to_dict()}
        for trial_id in list(known)[:50]
    ]


def test_a_search_without_trials_can_be_read(new_writer, tmp_path):
    writer = new_writer(tmp_path, count=0)
    found = load_sweep(tmp_path)
    assert len(found.trials) == len(found.epochs) == 0
    writer.finish(ended="now")
    assert "regime" in load_sweep(tmp_path).trials


def test_a_search_without_samples_or_with_a_mistyped_field_is_refused(tmp_path):
    options = SweepOptions(output=tmp_path / "none")
    with pytest.raises(UserError, match="at least one sample, got samples=0"):
        run_search("search", {}, 0, options)
    with pytest.raises(
        UserError, match="no field 'learning_rat'; did you mean 'learning_rate'"
    ):
        run_search("search", {"learning_rat": 0.1}, 1, options)
    assert not (tmp_path / "none").exists()


class Told(Searcher):
    def __init__(self, metric):
        super().__init__(metric, "max" if isinstance(metric, str) else ["max"])
        self.told, self.ends = [], []

    def suggest(self, trial_id):
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.ends.append((result, error))

    def add_evaluated_point(
        self, parameters, value, error=False, pruned=False, intermediate_values=None
    ):
        self.told.append((parameters, None if error else value))


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("scheduler_loss", [0.5, 1e9]),
        ("test_accuracy", [0.9]),
        ("of my own", []),
        (["test_accuracy"], []),
    ],
)
def test_a_resumed_searcher_learns_its_own_metric(metric, told, capsys):
    trials = {"a": TrialConfig(learning_rate=0.1), "b": TrialConfig(learning_rate=0.2)}
    ended = {
        "a": {"scheduler_loss": 0.5, "test_accuracy": 0.9},
        "b": {"scheduler_loss": 1e9, "test_accuracy": float("nan")},
    }
    search = Told(metric)
    KnownThenSearched({}, search, Past(trials, ended=ended)).set_search_properties(
        None, None, {"trial": {"learning_rate": tune.uniform(0, 1), "epochs": 3}}
    )
    assert [value for _, value in search.told] == told
    assert [parameters for parameters, _ in search.told] == [
        {"trial/learning_rate": 0.1 * i} for i in (1, 2)
    ][: len(told)]
    assert ("it starts without them" in "".join(capsys.readouterr())) == isinstance(
        metric, list
    )


class Proposer(Told):
    """Proposes the same again and again."""

    def suggest(self, trial_id):
        return {"trial": {"learning_rate": 0.7}}


@pytest.mark.promise("After a resume, a searcher is told how all trials ended")
def test_a_resumed_searcher_hears_how_every_trial_ended():
    """Those that ended before, those that were in flight, and those that it proposes
    itself."""
    search = Proposer("test_accuracy")
    known = {
        f"0000{i}": TrialConfig(learning_rate=rate) for i, rate in ((1, 0.1), (2, 0.2))
    }
    before = {
        "00000": TrialConfig(learning_rate=0.3),
        "00003": TrialConfig(learning_rate=0.4),
        "00005": TrialConfig(),
    }
    reasons = {"00000": "completed", "00003": "error"}
    ended = {
        trial_id: {"test_accuracy": 0.5, "stop_reason": reason}
        for trial_id, reason in reasons.items()
    }
    past = Past(known | before, ended=ended)
    every = KnownThenSearched(known, search, past, slots=5)
    every.set_search_properties(
        None, None, {"trial": {"learning_rate": tune.uniform(0, 1)}}
    )
    ids = [every.suggest(f"tunes {i}")["trial"]["trial_id"] for i in range(5)]
    assert ids == ["00001", "00002", "00006", "00007", "00008"]
    assert pickle.dumps(every)  # as Tune does
    every.on_trial_complete(
        "tunes 0", {"test_accuracy": 0.8, "stop_reason": "diverged"}
    )
    every.on_trial_complete("tunes 1", None, error=True)
    every.on_trial_complete("tunes 2", {"test_accuracy": 0.9, "stop_reason": ""})
    every.on_trial_complete(
        "tunes 3", {"test_accuracy": float("nan"), "stop_reason": "error"}
    )
    told = [
        (parameters["trial/learning_rate"], value) for parameters, value in search.told
    ]
    assert told == [(0.3, 0.5), (0.4, None), (0.1, 0.8), (0.2, None)]
    assert search.ends == [
        ({"test_accuracy": 0.9, "stop_reason": ""}, False),
        (None, True),
    ]


def test_trials_that_are_drawn_get_the_next_numbers():
    # older versions drew ids at random
    known = {"1b2c3d4e": TrialConfig(), "00002": TrialConfig()}
    assert list(not_known(known, [*drawn({"learning_rate": 0.2}, 5)])) == [
        "00003",
        "00004",
        "00005",
    ]
    search = KnownThenSearched(
        {"00000": TrialConfig()}, Endless("test_accuracy"), slots=2
    )
    assert [search.suggest(name)["trial"]["trial_id"] for name in "ab"] == [
        "00000",
        "00001",
    ]


def test_the_same_generator_draws_the_same_trials():
    first, second, other = (
        list(
            drawn({"learning_rate": tune.uniform(0, 1)}, 3, np.random.default_rng(seed))
        )
        for seed in (0, 0, 1)
    )
    assert first == second != other
    assert len({trial.learning_rate for trial in first}) == 3


class Endless(Told):
    """Proposes as many trials as it is asked for."""

    def suggest(self, trial_id):
        self.told.append(trial_id)
        return {"trial": {}}


def test_a_searcher_is_asked_for_a_trial_a_slot_and_one_that_waits():
    search = Endless("test_accuracy")
    known = KnownThenSearched({"known": TrialConfig()}, search, slots=3)

    def proposed():
        before = len(search.told)
        while known.suggest(f"trial {len(search.told)}"):
            pass
        return len(search.told) - before

    assert known.suggest("known")
    assert proposed() == 2
    known.on_trial_result("trial 0", {})
    known.on_trial_result("trial 1", {})
    assert proposed() == 0  # the third one has not begun
    known.on_trial_result("known", {})
    assert proposed() == 1
    known.on_trial_complete("trial 0", {})
    assert proposed() == 0
    known.on_trial_complete("trial 1", {})
    assert proposed() == 1


def test_a_trial_that_is_paused_leaves_its_slot_until_it_goes_on():
    search = Listening()
    known = KnownThenSearched({"known": TrialConfig()}, search, slots=4)
    trials = ["known", *(f"tunes {i}" for i in range(3))]
    for trial_id in trials:
        assert known.suggest(trial_id)
        known.on_trial_result(trial_id, {})
    search.heard.clear()
    assert [bool(known.suggest(name)) for name in ("waits", "more")] == [True, False]
    for trial_id in trials[:2]:
        known.on_pause(trial_id)
        known.on_unpause(trial_id)
    assert not known.suggest("more")
    for trial_id in trials[:2]:
        known.on_pause(trial_id)
    assert known.suggest("more")
    assert search.heard == [
        ("tunes 0", "pause"),
        ("tunes 0", "unpause"),
        ("tunes 0", "pause"),
    ]


class Listening(Endless):
    def __init__(self):
        super().__init__("test_accuracy")
        self.heard = []

    def on_trial_result(self, trial_id, result):
        self.heard.append((trial_id, result))

    def on_pause(self, trial_id):
        self.heard.append((trial_id, "pause"))

    def on_unpause(self, trial_id):
        self.heard.append((trial_id, "unpause"))


def test_a_searcher_hears_the_results_of_its_own_trials_alone():
    search = Listening()
    known = KnownThenSearched({"known": TrialConfig()}, search, slots=2)
    for trial_id in ("tunes 0", "tunes 1"):
        known.suggest(trial_id)
        known.on_trial_result(trial_id, {"test_accuracy": 0.5})
    assert search.heard == [("tunes 1", {"test_accuracy": 0.5})]


class Wild(Told):
    """Proposes an invalid momentum, then a valid one. Its metric is a column that a
    refused trial has no number for."""

    def __init__(self):
        super().__init__("step")
        self._left = [1.5, 0.5]

    def suggest(self, trial_id):
        return (
            {"trial": {"momentum": self._left.pop(0)}}
            if self._left
            else Searcher.FINISHED
        )

    def save(self, checkpoint_path):
        pass


class First(tune.Callback):
    """Notes how many proposals a `Wild` has left when the first trial starts."""

    left = None

    def __init__(self, search):
        self._search = search

    def on_trial_start(self, iteration, trials, trial, **info):
        self.left = len(self._search._left) if self.left is None else self.left


@pytest.mark.ray
def test_one_invalid_proposal_does_not_end_the_search(tmp_path, every_core, capsys):
    """And both are pending before the first one starts, since there are two slots."""
    options = SweepOptions(
        dataset="mnist-5k", quiet=True, output=tmp_path / "sweep", cpus_per_trial=1
    )
    space, search = {"architecture": "mlp-8-tanh", "epochs": 2}, Wild()
    first = First(search)
    found = run_search(
        "search", space, 2, options, search_alg=search, callbacks=[first]
    )
    assert first.left == 0
    assert found.trials["trial_id"].tolist() == ["00001"]
    assert [(result and result["step"], error) for result, error in search.ends] == [
        (None, True),
        (56, False),
    ]
    assert found.trials["momentum"].tolist() == [0.5]
    assert found.trials["stop_reason"].tolist() == ["completed"]
    assert "momentum must be in [0, 1), got 1.5" in "".join(capsys.readouterr())
