"""How a sweep or a search is run, up to where Tune takes over."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from ray import tune
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import MedianStoppingRule
from ray.tune.search import Searcher

from mnist_tune import (
    DecideOptions,
    SweepOptions,
    TrialConfig,
    UserError,
    load_sweep,
    resume_sweep,
    run_search,
    run_sweep,
)
from mnist_tune.commands.search import Search
from mnist_tune.own_code.loading import names_in
from mnist_tune.results.folder import fetched
from mnist_tune.results.meta import read_meta
from mnist_tune.runtime.nodes import RayletDied
from mnist_tune.sweep import Sweep
from mnist_tune.tuning import sweep, tuner
from mnist_tune.tuning.opened import Opened
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.progress import LivePage

PLAN = Plan({"00000": TrialConfig()})


@pytest.fixture
def fitted(monkeypatch):
    """A function that runs a plan with a stand-in for Tune."""
    monkeypatch.setattr(SweepOptions, "start_ray", lambda options: None)
    monkeypatch.setattr(sweep, "now", lambda: "now")
    monkeypatch.setattr(LivePage, "last", lambda page, sweep: None)

    def run(writer, plan, fit=lambda recorder: None, past=None, **options):
        def fit_with(opened, plan, recorder):
            fit(recorder)

        monkeypatch.setattr(tuner, "fit", fit_with)
        options = SweepOptions(quiet=True, **options)
        return sweep.run_plan(Opened(options, writer, past or Past(), None), plan)

    return run


def meta_while_it_runs(fitted, writer, past):
    """Return what `sweep.json` says while a sweep runs."""
    metas = []

    def fit(recorder):
        metas.append(read_meta(writer.path))

    fitted(writer, PLAN, fit, past)
    [meta] = metas
    return meta


def test_while_a_sweep_runs_it_has_not_ended(new_writer, tmp_path, fitted):
    writer = new_writer(tmp_path / "sweep")
    meta = meta_while_it_runs(fitted, writer, Past(is_resumed=False))
    assert meta.get("ended") is None
    assert meta.get("resumed") is None


def test_while_a_resumed_sweep_runs_it_has_not_ended_and_it_remembers_its_resumes(
    new_writer, tmp_path, fitted
):
    writer = new_writer(tmp_path / "sweep")
    writer.finish(ended="then", resumed=["before"])
    writer = new_writer(tmp_path / "sweep", resume=True)
    writer.meta |= {"ended": "then", "resumed": ["before"]}
    meta = meta_while_it_runs(fitted, writer, Past(is_resumed=True))
    assert meta.get("ended") is None
    assert meta.get("resumed") == ["before", "now"]


@pytest.mark.parametrize("place", ["sweep", "bucket"])
def test_where_ray_does_not_start_others_may_write_the_folder(
    new_writer, tmp_path, bucket, fitted, monkeypatch, place
):
    """The folder was locked in this process, and in object storage the signs of life
    went on."""
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "cache"))
    where = tmp_path / "sweep" if place == "sweep" else bucket
    refusal = Mock(side_effect=UserError("Ray does not start"))
    monkeypatch.setattr(SweepOptions, "start_ray", refusal)
    with pytest.raises(UserError, match="Ray does not start"):
        fitted(new_writer(where), PLAN)
    fetched(where)
    new_writer(where, resume=True).finish(ended="now")


@pytest.mark.parametrize(
    ("budget", "reason"),
    [(None, "interrupted"), (101.0, "interrupted"), (100.0, "time_budget")],
)
def test_trials_that_still_run_were_interrupted_unless_the_time_is_spent(
    new_writer, tmp_path, fitted, monkeypatch, budget, reason
):
    clock = iter([50.0, 150.0])
    monkeypatch.setattr(sweep, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    writer = new_writer(tmp_path / "sweep", count=1)
    ended = fitted(writer, PLAN, time_budget=budget)
    assert ended.trials["stop_reason"].tolist() == [reason]


def test_a_users_scheduler_is_the_reason_for_which_it_stops_trials(
    new_writer, tmp_path, fitted
):
    def fit(recorder):
        config = {"trial": {"trial_id": "00000"}}
        recorder.on_trial_complete(0, [], Trial("made up", stub=True, config=config))

    plan = replace(PLAN, scheduler=MedianStoppingRule())
    ended = fitted(new_writer(tmp_path / "sweep", count=1), plan, fit)
    assert ended.trials["stop_reason"].tolist() == ["medianstopping"]


def test_what_kept_the_folder_from_being_written_is_the_error_and_not_tunes(
    new_writer, tmp_path, fitted
):
    def fit(recorder):
        raise RuntimeError("of Tune's, with a traceback")

    def fit_on_a_full_disk(recorder):
        writer.failure = UserError("the disk is full")
        fit(recorder)

    writer = new_writer(tmp_path / "sweep")
    with pytest.raises(UserError, match=r"^the disk is full$"):
        fitted(writer, PLAN, fit_on_a_full_disk)
    with pytest.raises(RuntimeError, match="of Tune's"):
        fitted(new_writer(tmp_path / "another"), PLAN, fit)


def test_a_raylet_that_died_is_one_line_and_ray_is_stopped_first(
    new_writer, tmp_path, fitted, monkeypatch
):
    writer = new_writer(tmp_path / "sweep", count=1)
    done = []
    monkeypatch.setattr(sweep, "stop_ray", lambda: done.append("Ray"))
    monkeypatch.setattr(LivePage, "__enter__", lambda page: page)
    monkeypatch.setattr(LivePage, "stop", lambda page: done.append("page"))
    line = f"^Ray's raylet on this machine died; .*, resume with: mnist-tune resume {tmp_path}/"
    with pytest.raises(UserError, match=line):
        fitted(writer, PLAN, Mock(side_effect=RayletDied))
    assert done[:2] == ["Ray", "page"]
    assert load_sweep(writer.path).trials["stop_reason"].tolist() == ["interrupted"]


LAST_WORDS = """
import os, signal
from mnist_tune.tuning.sweep import last_words
with last_words(r"'resume' with %s \\$HOME"):
    {}
"""


WORDS = "'resume' with %s \\$HOME\n"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os._exit(1)", WORDS),
        ("os.killpg(os.getpgid(0), signal.SIGKILL)", WORDS),
        ("pass", ""),
    ],
)
def test_a_process_that_is_killed_has_last_words(end, words):
    """`ray stop` kills Ray, which then ends its driver without a message."""
    done = subprocess.run(
        [sys.executable, "-c", LAST_WORDS.format(end)],
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert done.stderr == words


# --- what is planned


@pytest.fixture
def plans(monkeypatch, mnist_5k):
    """The plans that were run."""
    plans = []

    def run(opened, plan):
        plans.append(plan)
        return Sweep.of(opened.writer.finish())

    monkeypatch.setattr(SweepOptions, "load", lambda *_: mnist_5k)
    monkeypatch.setattr(sweep, "run_plan", run)
    return plans


@pytest.fixture
def new(tmp_path):
    """The options of a new sweep."""
    return SweepOptions(output=tmp_path / "sweep", quiet=True)


def test_a_sweep_of_nothing_and_callbacks_that_are_none_are_refused(new, plans):
    line = "a sweep needs at least one trial; the list of values is empty"
    with pytest.raises(UserError, match=line):
        run_sweep("mine", [], new)
    trials = [TrialConfig(architecture="mlp-4-tanh")]
    space = {"architecture": "mlp-4-tanh"}
    line = "callbacks takes callbacks of Ray Tune, and 'x' is none"
    with pytest.raises(UserError, match=line):
        run_sweep("mine", trials, new, callbacks=[Callback(), "x"])
    with pytest.raises(UserError, match=line):
        run_search("mine", space, 1, new, callbacks=["x"])
    assert plans == []
    assert not new.output.exists()


def test_lists_of_values_are_crossed_and_a_seed_sets_the_batch_order_too(
    tmp_path, new, plans
):
    values = {
        "architecture": "mlp-4-tanh",
        "learning_rate": np.array([0.1, 0.2]),
        "seed": range(2),
    }
    run_sweep("mine", values, new)
    trials = plans[0].trials.values()
    seeds = [(trial.learning_rate, trial.seed, trial.data_seed) for trial in trials]
    assert seeds == [(0.1, 0, 0), (0.1, 1, 1), (0.2, 0, 0), (0.2, 1, 1)]
    alone = TrialConfig(architecture="mlp-4-tanh", holdout=9)
    run_sweep("mine", alone, replace(new, output=tmp_path / "alone"))
    assert [*plans[1].trials.values()] == [alone]


SPACE = {"architecture": "mlp-4-tanh", "learning_rate": tune.loguniform(0.1, 1)}


def test_a_search_asks_for_its_samples_of_its_space_and_takes_no_number_of_the_users_generator(
    new, plans
):
    callback = Callback()
    searcher = Searcher("test_accuracy", "max")
    np.random.seed(7)
    run_search("mine", SPACE, 5, new, "a scheduler", searcher, callbacks=[callback])
    drawn = np.random.rand()
    np.random.seed(7)
    assert drawn == np.random.rand()
    space = {"holdout": 416} | SPACE
    assert plans == [Plan({}, space, 5, "a scheduler", searcher, (callback,))]


def test_a_search_loads_and_records_all_code_that_it_may_propose(monkeypatch):
    names = ["a.py:f", "b.py:g", "c.py:h"]
    space = {"architecture": tune.choice(names)}
    templates_of_calls = []

    def load_own(*templates):
        templates_of_calls.append(templates)

    def opened(name, options, trials, search, templates, data, check):
        templates_of_calls.append(templates)
        raise UserError("opened")

    monkeypatch.setattr(sweep, "load_own", load_own)
    monkeypatch.setattr(sweep, "open_sweep", opened)
    for searcher in (None, Searcher("test_accuracy", "max")):
        with pytest.raises(UserError, match="opened"):
            run_search("mine", space, 1, SweepOptions(quiet=True), search_alg=searcher)
    assert len(templates_of_calls) == 4
    for templates in templates_of_calls:
        assert set(names_in(*templates)["architecture"]) == set(names)


@pytest.mark.parametrize(
    ("field", "values", "line"),
    [
        (
            "architecture",
            tune.choice(["convnet", "convnett"]),
            "unknown architecture 'convnett'; did you mean 'conv",
        ),
        ("optimizer", tune.choice(["sgd", "adamm"]), "'adamm'.*; did you mean 'adam'?"),
        ("batch_size", tune.choice([32, 10**6]), "--batch-size 1000000 is too large"),
        ("batch_size", tune.randint(1, 10**6), r"--batch-size \d{5,6} is too large"),
        ("momentum", tune.uniform(0, 2), r"momentum must be in \[0, 1\), got 1.99"),
        ("momentum", tune.choice([]), "momentum has no values to choose from"),
        (
            "holdout",
            tune.choice([0, 4000]),
            "--holdout 4000 is too large, give at most 3999",
        ),
        ("learning_rate", -0.1, "learning_rate must be .* above 0, got -0.1"),
    ],
)
@pytest.mark.parametrize("searcher", [None, Searcher("test_accuracy", "max")])
def test_what_a_search_may_propose_is_refused_before_it_starts(
    new, plans, field, values, line, searcher
):
    """Also if it would not be proposed at once."""
    space = SPACE | {field: values}
    with pytest.raises(UserError, match=line):
        run_search("mine", space, 1, new, search_alg=searcher)
    assert plans == []
    assert not new.output.exists()


def test_the_open_ends_of_ranges_can_be_proposed(new, plans):
    space = {
        "architecture": "mlp-4-tanh",
        "momentum": tune.uniform(0, 1),
        "learning_rate": tune.uniform(0, 1),
        "batch_size": tune.randint(1, 4001),
        "weight_decay": tune.quniform(0, 0.1, 0.01),
    }
    run_search("mine", space, 1, new)
    assert len(plans) == 1


def test_a_grid_is_trained_as_often_as_there_are_samples_and_a_resume_drops_none(
    new, plans
):
    space = {
        "architecture": "mlp-4-tanh",
        "learning_rate": tune.grid_search([0.1, 0.2]),
        "seed": tune.randint(0, 99),
        "epochs": tune.grid_search([1, 2]),
    }
    resumed = SweepOptions(resume=new.output, quiet=True)
    for samples, options in ((2, new), (2, resumed), (3, resumed)):
        np.random.seed(7)
        run_search("mine", space, samples, options)
    first, again, extended = (list(plan.trials.values()) for plan in plans)
    grid = {(trial.learning_rate, trial.epochs) for trial in first[:4]}
    assert grid == {(0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)}
    assert len({trial.seed for trial in first}) > 2
    assert len(first) == 8
    assert again == first
    assert extended[:8] == first
    assert len(extended) == 12
    assert [plan.samples for plan in plans] == [8, 8, 12]


def epochs_of_batch_size(config):
    return config["trial"]["batch_size"] // 32


def test_values_that_follow_from_others_are_drawn(new, plans):
    space = {
        "architecture": "mlp-4-tanh",
        "batch_size": tune.choice([32, 64]),
        "epochs": tune.sample_from(epochs_of_batch_size),
    }
    run_search("mine", space, 9, new)
    [plan] = plans
    trials = plan.trials.values()
    assert {(trial.batch_size, trial.epochs) for trial in trials} == {(32, 1), (64, 2)}


SEARCHER = Searcher("test_accuracy", "max")
MISTYPED = Searcher("test_acuracy", "max")
GRID = tune.grid_search([1, 2])
DRAWN = tune.sample_from(lambda config: 3)


@pytest.mark.parametrize(
    ("searcher", "epochs", "line"),
    [
        (SEARCHER, GRID, "no searcher takes epochs as a tune.grid_search"),
        (SEARCHER, DRAWN, "no searcher takes epochs as a"),
        (
            MISTYPED,
            3,
            "Searcher looks at 'test_acuracy', which no epoch has; did you mean",
        ),
        ("random", 3, "search_alg takes a searcher of Ray Tune, and 'random' is none"),
        (None, tune.grid_search([]), "epochs has no values to choose from"),
    ],
)
def test_what_cannot_be_searched_starts_nothing(new, plans, searcher, epochs, line):
    with pytest.raises(UserError, match=line):
        run_search("mine", SPACE | {"epochs": epochs}, 5, new, search_alg=searcher)
    assert plans == []
    assert not new.output.exists()


@pytest.mark.parametrize(("ended", "ended_at_last"), [("then", "then"), (None, "now")])
@pytest.mark.parametrize("search", [False, True])
def test_what_has_nothing_left_ends_without_a_run_and_keeps_its_end(
    new_writer, epoch_row, mnist_5k, tmp_path, monkeypatch, search, ended, ended_at_last
):
    writer = new_writer(tmp_path / "sweep", count=0)
    writer.meta |= {"search": search, "ended": ended}
    writer.meta["dataset"]["checksums"] = mnist_5k.checksums
    config = TrialConfig(architecture="mlp-4-tanh")
    for number, reason in enumerate(("completed", "error", "diverged")):
        trial_id = f"{number:05d}"
        writer.trial(trial_id, replace(config, seed=number, epochs=1 + number))
        writer.epoch(trial_id, epoch_row(1), False)
        writer.end(trial_id, reason)
    writer.finish()
    monkeypatch.setattr(SweepOptions, "load", lambda *_: mnist_5k)
    monkeypatch.setattr(SweepOptions, "start_ray", Mock(side_effect=AssertionError))
    monkeypatch.setattr(sweep, "now", lambda: "now")
    if search:
        options = SweepOptions(resume=writer.path, quiet=True)
        again = run_search("mine", SPACE, 3, options)
    else:
        again = resume_sweep(writer.path, quiet=True)
    assert again.meta["ended"] == ended_at_last
    assert again.meta.get("resumed") is None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("decide", DecideOptions(tolerance=0.01)),
        ("search", Search(widths=(8,), seed=3)),
    ],
)
def test_a_decision_and_a_search_are_resumed_from_python(
    new_writer, tmp_path, monkeypatch, name, options
):
    """As where their networks were registered there."""
    writer = new_writer(tmp_path / name)
    writer.meta["search"] = name == "search"
    writer.finish(name=name, options=vars(options) | {"output": None})
    module = f"mnist_tune.commands.{name}"
    monkeypatch.setattr(f"{module}.run", lambda options: options)
    monkeypatch.setattr(
        "mnist_tune.commands.resume.shown", lambda sweep, options: sweep
    )
    resumed = resume_sweep(writer.path, quiet=True)
    assert resumed == replace(options, resume=writer.path, quiet=True)
