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
    monkeypatch.setattr(LivePage, "last", lambda page, found: None)

    def run(writer, plan, fit=lambda recorder: None, past=None, **options):
        monkeypatch.setattr(tuner, "fit", lambda opened, plan, recorder: fit(recorder))
        return sweep.run_plan(
            Opened(SweepOptions(quiet=True, **options), writer, past or Past(), None),
            plan,
        )

    return run


@pytest.mark.parametrize("resume", [False, True])
def test_while_a_resumed_sweep_runs_it_has_not_ended_and_it_remembers_its_resumes(
    new_writer, tmp_path, fitted, resume
):
    writer = new_writer(tmp_path / "sweep")
    if resume:
        writer.finish(ended="then", resumed=["before"])
        writer = new_writer(tmp_path / "sweep", resume=True)
        writer.meta |= {"ended": "then", "resumed": ["before"]}
    seen = []
    fitted(
        writer,
        PLAN,
        lambda recorder: seen.append(read_meta(writer.path)),
        Past(is_resumed=resume),
    )
    [meta] = seen
    assert (meta.get("ended"), meta.get("resumed")) == (
        None,
        ["before", "now"] if resume else None,
    )


@pytest.mark.parametrize("place", ["sweep", "bucket"])
def test_where_ray_does_not_start_others_may_write_the_folder(
    new_writer, tmp_path, bucket, fitted, monkeypatch, place
):
    """The folder was locked in this process, and in object storage the signs of life
    went on."""
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(tmp_path / "cache"))
    where = tmp_path / "sweep" if place == "sweep" else bucket

    monkeypatch.setattr(
        SweepOptions, "start_ray", Mock(side_effect=UserError("Ray does not start"))
    )
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
    found = fitted(new_writer(tmp_path / "sweep", count=1), PLAN, time_budget=budget)
    assert found.trials["stop_reason"].tolist() == [reason]


def test_a_users_scheduler_is_the_reason_for_which_it_stops_trials(
    new_writer, tmp_path, fitted
):
    def fit(recorder):
        recorder.on_trial_complete(
            0, [], Trial("made up", stub=True, config={"trial": {"trial_id": "00000"}})
        )

    plan = replace(PLAN, scheduler=MedianStoppingRule())
    found = fitted(new_writer(tmp_path / "sweep", count=1), plan, fit)
    assert found.trials["stop_reason"].tolist() == ["medianstopping"]


def test_what_kept_the_folder_from_being_written_is_the_error_and_not_tunes(
    new_writer, tmp_path, fitted
):
    def fit(recorder):
        writer.failure = failure
        raise RuntimeError("of Tune's, with a traceback")

    writer, failure = new_writer(tmp_path / "sweep"), UserError("the disk is full")
    with pytest.raises(UserError, match=r"^the disk is full$"):
        fitted(writer, PLAN, fit)
    failure = None
    with pytest.raises(RuntimeError, match="of Tune's"):
        fitted(writer := new_writer(tmp_path / "another"), PLAN, fit)


def test_a_raylet_that_died_is_one_line_and_ray_is_stopped_first(
    new_writer, tmp_path, fitted, monkeypatch
):
    writer, done = new_writer(tmp_path / "sweep", count=1), []
    monkeypatch.setattr(sweep, "stop_ray", lambda: done.append("Ray"))
    monkeypatch.setattr(LivePage, "__enter__", lambda page: page)
    monkeypatch.setattr(LivePage, "stop", lambda page: done.append("page"))
    with pytest.raises(
        UserError,
        match=f"^Ray's raylet on this machine died; .*, resume with: mnist-tune resume {tmp_path}/",
    ):
        fitted(writer, PLAN, Mock(side_effect=RayletDied))
    assert done[:2] == ["Ray", "page"]
    assert load_sweep(writer.path).trials["stop_reason"].tolist() == ["interrupted"]


LAST_WORDS = """
import os, signal
from mnist_tune.tuning.sweep import last_words
with last_words(r"'resume' with %s \\$HOME"):
    {}
"""


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("os._exit(1)", True),
        ("os.killpg(os.getpgid(0), signal.SIGKILL)", True),
        ("pass", False),
    ],
)
def test_a_process_that_is_killed_has_last_words(ends, said):
    """`ray stop` kills Ray, which then ends its driver without a message."""
    done = subprocess.run(
        [sys.executable, "-c", LAST_WORDS.format(ends)],
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert done.stderr == "'resume' with %s \\$HOME\n" * said


# --- what is planned


@pytest.fixture
def plans(monkeypatch, mnist_5k):
    """The plans that were run."""
    found = []

    def run(opened, plan):
        found.append(plan)
        return Sweep.of(opened.writer.finish())

    monkeypatch.setattr(SweepOptions, "load", lambda *_: mnist_5k)
    monkeypatch.setattr(sweep, "run_plan", run)
    return found


def test_a_sweep_of_nothing_and_callbacks_that_are_none_are_refused(tmp_path, plans):
    options = SweepOptions(output=tmp_path / "sweep", quiet=True)
    with pytest.raises(
        UserError, match="a sweep needs at least one trial; the list of values is empty"
    ):
        run_sweep("mine", [], options)
    with pytest.raises(
        UserError, match="callbacks takes callbacks of Ray Tune, and 'x' is none"
    ):
        run_sweep(
            "mine",
            [TrialConfig(architecture="mlp-4-tanh")],
            options,
            callbacks=[Callback(), "x"],
        )
    with pytest.raises(
        UserError, match="callbacks takes callbacks of Ray Tune, and 'x' is none"
    ):
        run_search("mine", {"architecture": "mlp-4-tanh"}, 1, options, callbacks=["x"])
    assert (plans, (tmp_path / "sweep").exists()) == ([], False)


def test_lists_of_values_are_crossed_and_a_seed_sets_the_batch_order_too(
    tmp_path, plans
):
    values = {
        "architecture": "mlp-4-tanh",
        "learning_rate": np.array([0.1, 0.2]),
        "seed": range(2),
    }
    run_sweep("mine", values, SweepOptions(output=tmp_path / "sweep", quiet=True))
    trials = plans[0].trials.values()
    assert [(one.learning_rate, one.seed, one.data_seed) for one in trials] == [
        (0.1, 0, 0),
        (0.1, 1, 1),
        (0.2, 0, 0),
        (0.2, 1, 1),
    ]
    alone = TrialConfig(architecture="mlp-4-tanh", holdout=9)
    run_sweep("mine", alone, SweepOptions(output=tmp_path / "alone", quiet=True))
    assert [*plans[1].trials.values()] == [alone]


SPACE = {"architecture": "mlp-4-tanh", "learning_rate": tune.loguniform(0.1, 1)}


def test_a_search_asks_for_its_samples_of_its_space_and_takes_no_number_of_the_users_generator(
    tmp_path, plans
):
    callback, searcher = Callback(), Searcher("test_accuracy", "max")
    np.random.seed(7)
    options = SweepOptions(output=tmp_path / "sweep", quiet=True)
    run_search("mine", SPACE, 5, options, "a scheduler", searcher, callbacks=[callback])
    drawn = np.random.rand()
    np.random.seed(7)
    assert drawn == np.random.rand()
    assert plans == [
        Plan({}, {"holdout": 416} | SPACE, 5, "a scheduler", searcher, (callback,))
    ]


def test_a_search_loads_and_records_all_code_that_it_may_propose(monkeypatch):
    seen, names = [], ["a.py:f", "b.py:g", "c.py:h"]

    def opened(name, options, wanted, search, templates, data, check):
        seen.append(names_in(*templates))
        raise UserError("opened")

    monkeypatch.setattr(
        sweep, "load_own", lambda *owners: seen.append(names_in(*owners))
    )
    monkeypatch.setattr(sweep, "open_sweep", opened)
    for searcher in (None, Searcher("test_accuracy", "max")):
        with pytest.raises(UserError, match="opened"):
            run_search(
                "mine",
                {"architecture": tune.choice(names)},
                1,
                SweepOptions(quiet=True),
                search_alg=searcher,
            )
    assert [set(one["architecture"]) for one in seen] == [set(names)] * 4


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            {"architecture": tune.choice(["convnet", "convnett"])},
            "unknown architecture 'convnett'; did you mean 'conv",
        ),
        (
            {"optimizer": tune.choice(["sgd", "adamm"])},
            "'adamm'.*; did you mean 'adam'?",
        ),
        ({"batch_size": tune.choice([32, 10**6])}, "--batch-size 1000000 is too large"),
        ({"batch_size": tune.randint(1, 10**6)}, r"--batch-size \d{5,6} is too large"),
        ({"momentum": tune.uniform(0, 2)}, r"momentum must be in \[0, 1\), got 1.99"),
        (
            {"holdout": tune.choice([0, 4000])},
            "--holdout 4000 is too large, give at most 3999",
        ),
        ({"momentum": tune.choice([])}, "momentum has no values to choose from"),
        ({"learning_rate": -0.1}, "learning_rate must be .* above 0, got -0.1"),
    ],
)
@pytest.mark.parametrize("searcher", [None, Searcher("test_accuracy", "max")])
def test_what_a_search_may_propose_is_refused_before_it_starts(
    tmp_path, plans, space, said, searcher
):
    """Also if it would not be proposed at once."""
    given = {
        "architecture": "mlp-4-tanh",
        "learning_rate": tune.loguniform(0.1, 1),
    } | space
    with pytest.raises(UserError, match=said):
        run_search(
            "mine",
            given,
            1,
            SweepOptions(output=tmp_path / "sweep", quiet=True),
            search_alg=searcher,
        )
    assert (plans, (tmp_path / "sweep").exists()) == ([], False)


def test_the_open_ends_of_ranges_can_be_proposed(tmp_path, plans):
    space = {
        "architecture": "mlp-4-tanh",
        "momentum": tune.uniform(0, 1),
        "learning_rate": tune.uniform(0, 1),
    }
    space |= {
        "batch_size": tune.randint(1, 4001),
        "weight_decay": tune.quniform(0, 0.1, 0.01),
    }
    run_search("mine", space, 1, SweepOptions(output=tmp_path / "sweep", quiet=True))
    assert len(plans) == 1


def test_a_grid_is_trained_as_often_as_there_are_samples_and_a_resume_drops_none(
    tmp_path, plans
):
    space = {
        "architecture": "mlp-4-tanh",
        "learning_rate": tune.grid_search([0.1, 0.2]),
        "seed": tune.randint(0, 99),
    }
    space |= {"epochs": tune.grid_search([1, 2])}
    where = tmp_path / "sweep"
    for samples, given in (
        (2, {"output": where}),
        (2, {"resume": where}),
        (3, {"resume": where}),
    ):
        np.random.seed(7)
        run_search("mine", space, samples, SweepOptions(quiet=True, **given))
    first, again, more = (list(plan.trials.values()) for plan in plans)
    assert {(trial.learning_rate, trial.epochs) for trial in first[:4]} == {
        (0.1, 1),
        (0.1, 2),
        (0.2, 1),
        (0.2, 2),
    }
    assert len({trial.seed for trial in first}) > 2
    assert (len(first), again, more[:8], len(more)) == (8, first, first, 12)
    assert [plan.samples for plan in plans] == [8, 8, 12]


def test_values_that_follow_from_others_are_drawn(tmp_path, plans):
    space = {"architecture": "mlp-4-tanh", "batch_size": tune.choice([32, 64])}
    space |= {
        "epochs": tune.sample_from(lambda config: config["trial"]["batch_size"] // 32)
    }
    run_search("mine", space, 9, SweepOptions(output=tmp_path / "sweep", quiet=True))
    [plan] = plans
    assert {(trial.batch_size, trial.epochs) for trial in plan.trials.values()} == {
        (32, 1),
        (64, 2),
    }


@pytest.mark.parametrize(
    ("searcher", "epochs", "said"),
    [
        (
            Searcher("test_accuracy", "max"),
            tune.grid_search([1, 2]),
            "no searcher takes epochs as a tune.grid_search",
        ),
        (
            Searcher("test_accuracy", "max"),
            tune.sample_from(lambda config: 3),
            "no searcher takes epochs as a",
        ),
        (
            Searcher("test_acuracy", "max"),
            3,
            "Searcher looks at 'test_acuracy', which no epoch has; did you mean",
        ),
        ("random", 3, "search_alg takes a searcher of Ray Tune, and 'random' is none"),
        (None, tune.grid_search([]), "epochs has no values to choose from"),
    ],
)
def test_what_cannot_be_searched_starts_nothing(
    tmp_path, plans, searcher, epochs, said
):
    options = SweepOptions(output=tmp_path / "sweep", quiet=True)
    with pytest.raises(UserError, match=said):
        run_search("mine", SPACE | {"epochs": epochs}, 5, options, search_alg=searcher)
    assert (plans, (tmp_path / "sweep").exists()) == ([], False)


@pytest.mark.parametrize(("ended", "found"), [("then", "then"), (None, "now")])
@pytest.mark.parametrize("search", [False, True])
def test_what_has_nothing_left_ends_without_a_run_and_keeps_its_end(
    new_writer, epoch_row, mnist_5k, tmp_path, monkeypatch, search, ended, found
):
    writer = new_writer(tmp_path / "sweep", count=0)
    writer.meta |= {"search": search, "ended": ended}
    writer.meta["dataset"]["checksums"] = mnist_5k.checksums
    for number, reason in enumerate(("completed", "error", "diverged")):
        writer.trial(
            f"{number:05d}",
            TrialConfig(architecture="mlp-4-tanh", seed=number, epochs=1 + number),
        )
        writer.epoch(f"{number:05d}", epoch_row(1), False)
        writer.end(f"{number:05d}", reason)
    writer.finish()
    monkeypatch.setattr(SweepOptions, "load", lambda *_: mnist_5k)
    monkeypatch.setattr(SweepOptions, "start_ray", Mock(side_effect=AssertionError))
    monkeypatch.setattr(sweep, "now", lambda: "now")
    options = SweepOptions(resume=tmp_path / "sweep", quiet=True)
    again = (
        run_search("mine", SPACE, 3, options)
        if search
        else resume_sweep(options.resume, quiet=True)
    )
    assert (again.meta["ended"], again.meta.get("resumed")) == (found, None)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("decide", DecideOptions(tolerance=0.01)),
        ("search", Search(widths=(8,), seed=3)),
    ],
)
def test_a_decision_and_a_search_are_resumed_from_python(
    new_writer, tmp_path, monkeypatch, name, asked
):
    """As where their networks were registered there."""
    writer, where = new_writer(tmp_path / name), tmp_path / name
    writer.meta["search"] = name == "search"
    writer.finish(name=name, options=vars(asked) | {"output": None})
    for command in ("decide", "search"):
        monkeypatch.setattr(
            f"mnist_tune.commands.{command}.run", lambda options: options
        )
    monkeypatch.setattr(
        "mnist_tune.commands.resume.shown", lambda found, options: found
    )
    assert resume_sweep(where, quiet=True) == replace(asked, resume=where, quiet=True)
