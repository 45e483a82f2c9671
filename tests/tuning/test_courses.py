"""The courses of small sweeps, from the options to the tables, to the letter (`kept_texts`)."""

from functools import partial

import numpy as np
import pytest
from kept_texts import assert_kept
from played import course, shown, words  # noqa: F401
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Domain

from mnist_tune import SweepOptions, storage
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.commands.search import Search
from mnist_tune.tuning import sweep
from mnist_tune.tuning.sweep import run_or_resume, run_search
from mnist_tune.tuning.wanted import resumed

EPOCHS = np.arange(1, 21)
ON_ITS_WAY = 1 - 0.11 * EPOCHS**-0.4
CURVES = {
    1.0: 1 - 0.06 * EPOCHS**-1.2,
    0.01: np.concatenate([ON_ITS_WAY[:5], np.full(15, ON_ITS_WAY[4])]),  # stalls after it was proposed for a stop
    0.03: 1 - 0.45 * EPOCHS**-0.35,  # slow
    2.0: np.array([0.8, 0.6, 0.82, 0.55, 0.85, 0.6, 0.8, 0.5, 0.8, 0.7] * 2),
    4.0: np.full(20, 0.1),  # diverges in its third epoch
    0.3: ON_ITS_WAY,
}
"""Training accuracies by learning rate."""

SMALL = {"architecture": ("mlp-4-tanh",), "cpus_per_trial": 1}


def row_of(epoch_row, config, epoch, failures=()):
    """The row of an epoch by `CURVES`; one of the `failures` first, by learning rate, seed and epoch."""
    if found := dict(failures).get((config.learning_rate, config.seed, epoch)):
        return found.pop()
    accuracy, lost = float(CURVES[config.learning_rate][epoch - 1]), config.learning_rate == 4 and epoch > 2
    values = {"step_loss_max": 1.0, "learning_rate": config.learning_rate, "finite": not lost, "diverged": lost}
    return epoch_row(epoch, float("nan") if lost else 4 * (1 - accuracy), accuracy, **values)


@pytest.mark.promise("A trial whose process died goes on from its last saved state")
@pytest.mark.promise("A trial whose state is damaged starts again, and a line says so")
def test_a_sweep_of_regimes_that_is_killed_and_goes_on(course, epoch_row, tmp_path):  # noqa: F811
    where, rates = tmp_path / "sweep", (1.0, 0.01, 0.03, 2.0, 4.0)
    failures = {
        (2.0, 0, 2): [ValueError("no shape")] * 2,
        (1.0, 1, 3): [OSError("no memory")],
        (2.0, 1, 4): [OSError("no disk"), OSError("no network"), OSError("no memory")],
    }
    course.row, course.epoch_s = partial(row_of, epoch_row, failures=failures), 2.0
    course.section("it is killed after a row and before the end that follows")
    options = LearningRateRegimes(output=where, learning_rates=rates, seeds=(0, 1), epochs=8, target=0.95, **SMALL)
    with course.killed_after(52):
        run_or_resume("lr_regimes", options)
    before = course.recorded(where, LearningRateRegimes().values())
    storage.write(where / "states" / "00009.npz", b"damaged")
    storage.write(where / "states" / "00077.npz", b"of nobody")
    course.section("more epochs and another rate; a state is damaged")
    options = LearningRateRegimes(resume=where, learning_rates=(0.3,), epochs=9, retry_errored=True, save_every=2)
    course.ended(run_or_resume("lr_regimes", options))
    before = course.recorded(where, before)
    course.section("nothing is left")
    run_or_resume("lr_regimes", LearningRateRegimes(resume=where))
    course.recorded(where, before)
    assert_kept("course of regimes", course.text)


def test_a_sweep_under_asha_that_runs_out_of_time(course, epoch_row, tmp_path):  # noqa: F811
    """Three trials run at a time, on a cluster with a slot for each. Then they go on on one without."""
    where, rates = tmp_path / "sweep", (1.0, 0.01, 0.03, 2.0, 4.0)
    course.row, course.slots = partial(row_of, epoch_row), 3
    course.resources = {"CPU": 8.0, "trial_slot": 3.0}
    options = LearningRateRegimes(
        output=where, learning_rates=rates, epochs=6, scheduler="asha", grace_period=2, max_concurrent=3, lanes=2,
        time_budget=5.2, sharpness_every=3, train_evaluation=500, hang_minutes=0.5, stop_when_diverged=False,
        data_dir=tmp_path, train_images=4000, standardize=True, holdout=40, **SMALL | {"cpus_per_trial": 2},
    )  # fmt: skip
    course.section("the time is spent")
    course.ended(run_or_resume("lr_regimes", options))
    before = course.recorded(where, LearningRateRegimes().values())
    course.section("more time, fewer cores")
    course.resources = {"CPU": 1.0}
    options = LearningRateRegimes(resume=where, time_budget=None, max_concurrent=2)
    course.ended(run_or_resume("lr_regimes", options))
    course.recorded(where, before)
    assert_kept("course of asha", course.text)


def test_a_search_by_tpe_that_is_killed_and_gets_more_samples(course, epoch_row, tmp_path, monkeypatch):  # noqa: F811
    """What Optuna is told is noted, and its proposals are made up."""
    parts = ((16, 1, "tanh", 0.1), (16, 2, "relu-glorot", 4.0), (64, 1, "tanh", 1.5), (64, 2, "tanh", 0.2))
    proposals = iter(parts * 3)

    def suggest(searcher, trial_id):
        width, depth, activation, rate = next(proposals)
        course.note(f"Optuna proposes {trial_id}")
        parts = {"width": width, "depth": depth, "activation": activation, "learning_rate": rate}
        return {"trial": parts | {"momentum": 1.5 if rate == 1.5 else 0.5, "epochs": 3, "holdout": 500}}

    def told(searcher, parameters, value, **how):
        course.note(f"Optuna is told {shown(parameters)}: {shown(value)} {how or ''}")

    def prepared(searcher, metric, mode, config, **spec):
        for name, one in config["trial"].items():
            chosen = getattr(one, "categories", None) or vars(one) if isinstance(one, Domain) else one
            course.note_new(f"Optuna may choose {name}", shown(chosen))
        return True

    def heard(searcher, trial_id, row):
        course.also(f"Optuna hears {row['epoch']}")

    def ended(searcher, *given, **named):
        course.also(f"Optuna hears of an end: {words(given)} {words(named)}".rstrip())

    made_up = {"suggest": suggest, "add_evaluated_point": told, "set_search_properties": prepared}
    for name, value in (made_up | {"on_trial_result": heard, "on_trial_complete": ended}).items():
        monkeypatch.setattr(OptunaSearch, name, value)

    def row(config, epoch):
        rate, lost = config.learning_rate, config.learning_rate == 4
        values = {"validation_accuracy": 0.1 if lost else rate, "validation_loss": 1.0}
        values |= {"diverged": lost, "learning_rate": rate}
        return epoch_row(epoch, float("nan") if lost else 1 / epoch, **values)

    course.row, where = row, tmp_path / "sweep"
    config = Search(output=where, widths=(16, 64), depths=(1, 2), samples=5, epochs=3, holdout=500, cpus_per_trial=1)

    def play(config):
        return run_search("search", config.space(), config.samples, config, None, config.searcher(), show=False)

    course.section("it is killed")
    with course.killed_after(16):
        play(config)
    before = course.recorded(where, Search().values())
    course.section("more samples")
    config = resumed(Search(resume=where, samples=7), where, "search")
    course.ended(play(config))
    course.recorded(where, before)
    course.section("drawn at random")
    np.random.seed(0)
    where = tmp_path / "random"
    space = {"learning_rate": tune.choice([0.1, 0.2]), "epochs": 2}
    found = run_search("mine", space, 3, SweepOptions(output=where), callbacks=[tune.Callback()])
    course.ended(found)
    course.section("two more, of which none is trained")

    def run(writer, plan, *_):
        course.note(f"planned: {plan.samples} samples, {list(plan.trials)}")
        return sweep.unchanged(writer)

    monkeypatch.setattr(sweep, "run_plan", run)
    run_search("mine", space, 5, SweepOptions(quiet=True), resume=where)
    assert_kept("course of a search", course.text)


def test_a_search_at_random_draws_after_ctrl_c_what_it_would_have_drawn(course, epoch_row, tmp_path):  # noqa: F811
    course.row = lambda config, epoch: epoch_row(epoch, learning_rate=config.learning_rate)
    space, samples = {"learning_rate": tune.loguniform(0.01, 1), "batch_size": tune.choice([32, 64]), "epochs": 2}, 7

    def search(name, **given):
        np.random.seed(3)
        options = SweepOptions(quiet=True, **({} if given else {"output": tmp_path / name}))
        found = run_search("mine", space, samples, options, **given)
        trials = found.trials[["learning_rate", "batch_size", "epochs_run"]]
        return sorted(trials[trials["epochs_run"] > 0].itertuples(index=False, name=None))

    whole = search("whole")
    for name, interrupts in {
        "in the first epochs": lambda proposed, running: running > 0,
        "later": lambda proposed, running: proposed == 4,
    }.items():
        course.interrupts = interrupts
        assert search(name) != whole
        course.interrupts = lambda proposed, running: False
        assert search(name, resume=tmp_path / name) == whole
    with course.killed_after(5):
        search("killed")
    assert search("killed", resume=tmp_path / "killed") == whole
