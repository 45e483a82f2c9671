"""Searches under Ray Tune, also killed and resumed."""

import math
import os
import pickle
import signal
import time
from collections import defaultdict
from dataclasses import replace

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


def population(interval, rates, scheduler=PopulationBasedTraining):
    """Return a scheduler of population based training, which changes rates."""
    return scheduler(
        time_attr="epoch",
        metric="scheduler_loss",
        mode="min",
        perturbation_interval=interval,
        quantile_fraction=0.5,
        hyperparam_mutations={"trial": {"learning_rate": rates}},
        require_attrs=False,
    )


def train_population(
    place, epochs, interval, scheduler=PopulationBasedTraining, callbacks=(), **fields
):
    where = "resume" if exists(place) else "output"
    options = SweepOptions(dataset="mnist-5k", quiet=True, **{where: place}, **fields)
    space = {
        "architecture": "mlp-8-tanh",
        "epochs": epochs,
        "learning_rate": tune.loguniform(1e-5, 1e-3),
    }
    changes = population(interval, tune.loguniform(0.01, 0.5), scheduler)
    return run_search("pbt", space, 4, options, changes, callbacks=callbacks)


class StopsSoon(PopulationBasedTraining):
    """Stops each trial after its fifth row."""

    def on_trial_result(self, tune_controller, trial, result):
        decision = super().on_trial_result(tune_controller, trial, result)
        return self.STOP if result["training_iteration"] >= 5 else decision


class Interrupts(tune.Callback):
    """Presses Ctrl-C once `enough` accepts the learning rates of each trial."""

    def __init__(self, enough):
        self.enough = enough
        self.rates = defaultdict(list)
        self.rows = None

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.rates[trial.trial_id].append(result["learning_rate"])
        if self.rows is None and self.enough(self.rates.values()):
            self.rows = sum(map(len, self.rates.values()))
            os.kill(os.getpid(), signal.SIGINT)


def three_ended_and_one_in_flight(journal):
    if journal.count('"completed"') < 3:
        return False
    since_the_last_end = journal.rpartition('"kind": "end"')[2]
    return '"kind": "epoch"' in since_the_last_end


@pytest.mark.ray
def test_a_killed_search_resumes_and_its_searcher_learns_the_results(
    tmp_path, one_core
):
    from ray.tune.search.optuna import OptunaSearch

    heard_rates = []

    class Hears(OptunaSearch):
        def add_evaluated_point(self, parameters, value, **fields):
            heard_rates.append(parameters["trial/learning_rate"])
            super().add_evaluated_point(parameters, value, **fields)

    space = {
        "architecture": "mlp-16-tanh",
        "epochs": 3,
        "learning_rate": tune.loguniform(0.01, 1),
    }

    def search(**where):
        options = SweepOptions(
            dataset="mnist-5k", quiet=True, scheduler="fifo", **where
        )
        searcher = Hears(metric="scheduler_loss", mode="min")
        return run_search("search", space, 12, options, search_alg=searcher)

    search(output=tmp_path)
    as_killed(tmp_path, three_ended_and_one_in_flight)
    before = load_sweep(tmp_path)
    ended = before.trials[before.trials["stop_reason"] == "completed"]
    assert 3 <= len(ended) < len(before.trials) < 12
    assert heard_rates == []
    after = search(resume=tmp_path)
    # those in flight, too, once they have ended
    assert sorted(heard_rates) == sorted(before.trials["learning_rate"])
    assert len(after.trials) == 12
    assert set(after.trials["stop_reason"]) == {"completed"}
    assert set(after.epochs["lanes"]) == {1}  # in processes, by default
    assert not after.epochs.duplicated(["trial_id", "epoch"]).any()
    assert set(before.trials["trial_id"]) <= set(after.trials["trial_id"])


class Checkpoints(tune.Callback):
    """Counts how many checkpoints Tune has made, and the most that were there at the
    same time."""

    def __init__(self, folder):
        self._folder = folder
        self.made = 0
        self.most = 0

    def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
        self.made += 1
        present = len(list(self._folder.glob("*/checkpoint_*")))
        self.most = max(self.most, present)


@pytest.mark.ray
def test_population_based_training_on_lanes_resumes_with_its_latest_rates(
    tmp_path, one_core
):
    def two_changed(rates):
        changed = [own_rates for own_rates in rates if len(set(own_rates)) > 1]
        return len(changed) >= 2

    interrupts = Interrupts(two_changed)
    train_population(tmp_path, 100_000, 2, callbacks=[interrupts], execution="lanes")
    as_killed(tmp_path, lambda text: text.count('"kind": "epoch"') >= interrupts.rows)
    last = load_sweep(tmp_path).epochs.groupby("trial_id").last()
    assert len(last) == 4
    # no more changes
    epochs = train_population(tmp_path, 100_000, 10**6, StopsSoon).epochs
    # A trial that was told another rate just before the kill has that one, though it
    # has no row of it yet.
    changed = 0
    for trial_id, row in last.iterrows():
        is_later = (epochs["trial_id"] == trial_id) & (epochs["epoch"] > row["epoch"])
        [rate] = epochs[is_later]["learning_rate"].unique()
        changed += rate != row["learning_rate"]
    assert changed <= len(last) / 2


@pytest.mark.ray
def test_population_based_training_saves_its_checkpoints_in_object_storage(
    bucket, one_core
):
    """Tune writes there by pyarrow, all else by obstore."""
    # often enough that some trial copies another one
    train_population(storage.place(bucket), 12, 2)
    sweep = load_sweep(bucket)
    assert set(sweep.trials["stop_reason"]) == {"completed"}
    by_trial = sweep.epochs.groupby("trial_id")
    assert (by_trial["learning_rate"].nunique() > 1).any()
    epochs = by_trial["epoch"].apply(list).tolist()
    assert epochs == [list(range(1, 13))] * 4
    losses = sweep.epochs.groupby("epoch")["train_loss"].median()
    assert losses.iloc[-1] < losses.iloc[0]
    names = object_storage.below(bucket)
    assert not [name for name in names if name.startswith(".ray/1/")]


@pytest.mark.ray
def test_a_resumed_population_keeps_the_ids_of_its_trials(tmp_path, every_core):
    """A trial that copies another one's config must not copy its id, which would mix up
    their rows and states.

    And checkpoints that nobody copies any more go.
    """
    options = SweepOptions(dataset="mnist-5k", quiet=True, output=tmp_path / "sweep")
    writer = opening.open_sweep("pbt", options, kind=SweepKind.SEARCH).writer
    rates = {"00000": 1e-5, "00001": 0.1, "00002": 2e-5, "00003": 0.2}
    network = TrialConfig(architecture="mlp-8-tanh", epochs=10)
    for trial_id, rate in rates.items():
        writer.trial(trial_id, replace(network, learning_rate=rate))
    writer.finish()
    changes = population(2, tune.loguniform(0.05, 0.5))
    checkpoints = Checkpoints(writer.path / ".ray" / "tune")
    options = SweepOptions(quiet=True, resume=writer.path)
    sweep = run_search("pbt", {}, 4, options, changes, callbacks=[checkpoints])
    assert checkpoints.made > 2 * len(rates) >= checkpoints.most > 0
    assert list(sweep.trials["trial_id"]) == list(rates)
    assert set(sweep.trials["stop_reason"]) == {"completed"}
    last = sweep.epochs.groupby("trial_id").last()
    assert (last["epoch"] == 10).all()
    # at least one slow trial copied another one
    assert (last["learning_rate"] > 0.01).sum() > 2


def test_a_resumed_search_does_not_copy_all_trials_for_each_trial():
    """As Tune's grid search does, which then takes 20 ms a trial."""
    count = 2_000
    past_trials = {f"{seed:05d}": TrialConfig(seed=seed) for seed in range(count)}
    search = SearchGenerator(KnownThenSearched(past_trials))
    config = {"trial": {}}
    experiment = Experiment("some", tune.Trainable, config=config, num_samples=count)
    search.add_configurations(experiment)
    start = time.process_time()
    proposed = [search.next_trial().config["trial"] for _ in range(50)]
    assert (time.process_time() - start) / 50 < 5e-3
    for trial_id, config in zip(list(past_trials)[:50], proposed, strict=True):
        assert config == {"trial_id": trial_id, **past_trials[trial_id].to_dict()}


def test_a_search_without_trials_can_be_read(new_writer, tmp_path):
    writer = new_writer(tmp_path, count=0)
    sweep = load_sweep(tmp_path)
    assert len(sweep.trials) == 0
    assert len(sweep.epochs) == 0
    writer.finish(ended="now")
    assert "regime" in load_sweep(tmp_path).trials


def test_a_search_without_samples_or_with_a_mistyped_field_is_refused(tmp_path):
    options = SweepOptions(output=tmp_path / "none")
    with pytest.raises(UserError, match="at least one sample, got samples=0"):
        run_search("search", {}, 0, options)
    mistyped = "no field 'learning_rat'; did you mean 'learning_rate'"
    with pytest.raises(UserError, match=mistyped):
        run_search("search", {"learning_rat": 0.1}, 1, options)
    assert not (tmp_path / "none").exists()


class Told(Searcher):
    """Proposes nothing, and keeps what it is told."""

    def __init__(self, metric):
        mode = "max" if isinstance(metric, str) else ["max"]
        super().__init__(metric, mode)
        self.told = []
        self.ends = []

    def suggest(self, trial_id):
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.ends.append((result, error))

    def add_evaluated_point(
        self, parameters, value, error=False, pruned=False, intermediate_values=None
    ):
        self.told.append((parameters, None if error else value))


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("scheduler_loss", [0.5, 1e9]),
        ("test_accuracy", [0.9]),
        ("of my own", []),
        (["test_accuracy"], []),
    ],
)
def test_a_resumed_searcher_learns_its_own_metric(metric, values, capsys):
    trials = {"a": TrialConfig(learning_rate=0.1), "b": TrialConfig(learning_rate=0.2)}
    ended = {
        "a": {"scheduler_loss": 0.5, "test_accuracy": 0.9},
        "b": {"scheduler_loss": 1e9, "test_accuracy": math.nan},
    }
    search = Told(metric)
    resumed = KnownThenSearched({}, search, Past(trials, ended=ended))
    space = {"learning_rate": tune.uniform(0, 1), "epochs": 3}
    resumed.set_search_properties(None, None, {"trial": space})
    assert [value for _, value in search.told] == values
    rates = [parameters for parameters, _ in search.told]
    both = [{"trial/learning_rate": 0.1}, {"trial/learning_rate": 0.2}]
    assert rates == both[: len(values)]
    warned = "it starts without them" in "".join(capsys.readouterr())
    assert warned == isinstance(metric, list)


class Proposer(Told):
    """Proposes the same again and again."""

    def suggest(self, trial_id):
        return {"trial": {"learning_rate": 0.7}}


@pytest.mark.promise("After a resume, a searcher is told how all trials ended")
def test_a_resumed_searcher_hears_how_every_trial_ended():
    """Those that ended before, those that were in flight, and those that it proposes
    itself."""
    search = Proposer("test_accuracy")
    in_flight = {
        "00001": TrialConfig(learning_rate=0.1),
        "00002": TrialConfig(learning_rate=0.2),
    }
    before = {
        "00000": TrialConfig(learning_rate=0.3),
        "00003": TrialConfig(learning_rate=0.4),
        "00005": TrialConfig(),
    }
    ended = {
        "00000": {"test_accuracy": 0.5, "stop_reason": "completed"},
        "00003": {"test_accuracy": 0.5, "stop_reason": "error"},
    }
    past = Past(in_flight | before, ended=ended)
    resumed = KnownThenSearched(in_flight, search, past, slots=5)
    space = {"learning_rate": tune.uniform(0, 1)}
    resumed.set_search_properties(None, None, {"trial": space})
    proposals = [resumed.suggest(f"tunes {number}") for number in range(5)]
    ids = [proposal["trial"]["trial_id"] for proposal in proposals]
    assert ids == ["00001", "00002", "00006", "00007", "00008"]
    assert pickle.dumps(resumed)  # as Tune does

    diverged = {"test_accuracy": 0.8, "stop_reason": "diverged"}
    resumed.on_trial_complete("tunes 0", diverged)
    resumed.on_trial_complete("tunes 1", None, error=True)
    completed = {"test_accuracy": 0.9, "stop_reason": ""}
    resumed.on_trial_complete("tunes 2", completed)
    failed = {"test_accuracy": math.nan, "stop_reason": "error"}
    resumed.on_trial_complete("tunes 3", failed)
    rates = [parameters["trial/learning_rate"] for parameters, _ in search.told]
    assert rates == [0.3, 0.4, 0.1, 0.2]
    assert [value for _, value in search.told] == [0.5, None, 0.8, None]
    assert search.ends == [(completed, False), (None, True)]


def ids_of(trials):
    return " ".join(trials)


def test_trials_that_are_drawn_get_the_next_numbers():
    # older versions drew ids at random
    trials = {"1b2c3d4e": TrialConfig(), "00002": TrialConfig()}
    new = not_known(trials, list(drawn({"learning_rate": 0.2}, 5)))
    assert ids_of(new) == "00003 00004 00005"
    endless = Endless("test_accuracy")
    search = KnownThenSearched({"00000": TrialConfig()}, endless, slots=2)
    proposals = [search.suggest("a"), search.suggest("b")]
    ids = ids_of(proposal["trial"]["trial_id"] for proposal in proposals)
    assert ids == "00000 00001"


def test_the_same_generator_draws_the_same_trials():
    def drawn_with(seed):
        space = {"learning_rate": tune.uniform(0, 1)}
        return list(drawn(space, 3, np.random.default_rng(seed)))

    first = drawn_with(0)
    assert drawn_with(0) == first
    assert drawn_with(1) != first
    rates = {trial.learning_rate for trial in first}
    assert len(rates) == 3


class Endless(Told):
    """Proposes as many trials as it is asked for."""

    def suggest(self, trial_id):
        self.told.append(trial_id)
        return {"trial": {}}


def test_a_searcher_is_asked_for_a_trial_a_slot_and_one_that_waits():
    endless = Endless("test_accuracy")
    searcher = KnownThenSearched({"known": TrialConfig()}, endless, slots=3)

    def proposed():
        before = len(endless.told)
        while searcher.suggest(f"trial {len(endless.told)}"):
            pass
        return len(endless.told) - before

    assert searcher.suggest("known")
    assert proposed() == 2
    searcher.on_trial_result("trial 0", {})
    searcher.on_trial_result("trial 1", {})
    assert proposed() == 0  # the third one has not begun
    searcher.on_trial_result("known", {})
    assert proposed() == 1
    searcher.on_trial_complete("trial 0", {})
    assert proposed() == 0
    searcher.on_trial_complete("trial 1", {})
    assert proposed() == 1


def test_a_trial_that_is_paused_leaves_its_slot_until_it_goes_on():
    listening = Listening()
    searcher = KnownThenSearched({"known": TrialConfig()}, listening, slots=4)
    for trial_id in ("known", "tunes 0", "tunes 1", "tunes 2"):
        assert searcher.suggest(trial_id)
        searcher.on_trial_result(trial_id, {})
    listening.heard.clear()
    assert searcher.suggest("waits")
    assert not searcher.suggest("more")
    for trial_id in ("known", "tunes 0"):
        searcher.on_pause(trial_id)
        searcher.on_unpause(trial_id)
    assert not searcher.suggest("more")
    for trial_id in ("known", "tunes 0"):
        searcher.on_pause(trial_id)
    assert searcher.suggest("more")
    assert [trial_id for trial_id, _ in listening.heard] == ["tunes 0"] * 3
    assert [event for _, event in listening.heard] == ["pause", "unpause", "pause"]


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
    listening = Listening()
    searcher = KnownThenSearched({"known": TrialConfig()}, listening, slots=2)
    result = {"test_accuracy": 0.5}
    for trial_id in ("tunes 0", "tunes 1"):
        searcher.suggest(trial_id)
        searcher.on_trial_result(trial_id, result)
    assert listening.heard == [("tunes 1", result)]


class Wild(Told):
    """Proposes an invalid momentum, then a valid one. Its metric is a column that a
    refused trial has no number for."""

    def __init__(self):
        super().__init__("step")
        self.momenta = [1.5, 0.5]

    def suggest(self, trial_id):
        if not self.momenta:
            return Searcher.FINISHED
        return {"trial": {"momentum": self.momenta.pop(0)}}

    def save(self, checkpoint_path):
        pass


class First(tune.Callback):
    """Notes how many proposals a `Wild` still has when the first trial starts."""

    proposals = None

    def __init__(self, search):
        self._search = search

    def on_trial_start(self, iteration, trials, trial, **info):
        if self.proposals is None:
            self.proposals = len(self._search.momenta)


@pytest.mark.ray
def test_one_invalid_proposal_does_not_end_the_search(tmp_path, every_core, capsys):
    """And both are pending before the first one starts, since there are two slots."""
    options = SweepOptions(
        dataset="mnist-5k", quiet=True, output=tmp_path / "sweep", cpus_per_trial=1
    )
    space = {"architecture": "mlp-8-tanh", "epochs": 2}
    wild = Wild()
    first = First(wild)
    sweep = run_search("search", space, 2, options, search_alg=wild, callbacks=[first])
    assert first.proposals == 0
    assert sweep.trials["trial_id"].tolist() == ["00001"]
    refused, completed = wild.ends
    assert refused == (None, True)
    result, error = completed
    assert result["step"] == 56
    assert error is False
    assert sweep.trials["momentum"].tolist() == [0.5]
    assert sweep.trials["stop_reason"].tolist() == ["completed"]
    assert "momentum must be in [0, 1), got 1.5" in "".join(capsys.readouterr())
