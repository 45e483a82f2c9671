"""What a command asks for on top of what a folder records, and which trials follow."""

import json
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pytest
from recorded_data import recorded_data

from mnist_tune import DecideOptions, EdgeOptions, SweepOptions, TrialConfig, UserError
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.commands.resume import PythonSweep
from mnist_tune.commands.search import Search
from mnist_tune.own_code.registry import ENTRIES, Entry, register_optimizer
from mnist_tune.tuning.options import MOST_TRIALS, crossed
from mnist_tune.tuning.past import additions
from mnist_tune.tuning.resuming import command_options, python_options, resumed_with
from validation.notebook import Notebook

KINDS = (LearningRateRegimes, Notebook, Search, EdgeOptions, DecideOptions)
COMMANDS = {kind.NAME: kind for kind in KINDS}

ADDED = {"learning_rates", "seeds", "epochs"}
CHANGES = """
dataset data_dir max_concurrent execution lanes save_every hang_minutes trials_per_gpu
time_budget precision confirm data_memory gpus_per_trial
""".split()
HERE = """
address dashboard output resume retry_errored trust_code changed_code quiet json smoke
dry_run sweep
""".split()

MANY = [*range(3000)]
LARGE = 10**9
MANY_RANGES = [f"1e-3:{i}:50001" for i in range(1, 3000)]
MANY_BATCH_SIZES = [i + 1 for i in MANY]
MANY_MOMENTA = [i / 3000 for i in MANY]
TOO_MANY = [
    ("lr_regimes", {"learning_rates": ["1e-3:4:1000000000"]}),
    ("lr_regimes", {"learning_rates": MANY_RANGES}),
    ("lr_regimes", {"learning_rates": ["1e-3:4:3000"], "seeds": MANY}),
    ("notebook", {"seeds": [*range(100_001)]}),
    ("search", {"trials": LARGE}),
    ("search", {"widths": [*range(1, 3000)], "depths": [*range(1, 900)]}),
    ("search", {"depths": [LARGE]}),
    ("edge", {"trials": LARGE}),
    ("edge", {"batch_size": MANY_BATCH_SIZES, "momentum": MANY_MOMENTA}),
]


@pytest.fixture
def folder(tmp_path):
    """A function that returns a folder which records the options of a command, with
    some changed."""

    def make(name, /, without=(), meta=(), **changed):
        options = {}
        for key, value in vars(COMMANDS[name]()).items():
            options[key] = str(value) if isinstance(value, Path) else value
        options |= changed
        for key in without:
            del options[key]
        [schedule] = np.atleast_1d(options.get("schedule", "constant"))
        trial = TrialConfig(learning_rate=0.1, schedule=str(schedule))
        record = {
            "name": name,
            "trials": {"00000": trial.to_dict()},
            "options": options,
            "search": name in ("edge", "search"),
            "dataset": recorded_data("mnist-5k"),
        }
        record |= dict(meta)
        (tmp_path / "sweep.json").write_text(json.dumps(record))
        return tmp_path

    return make


VALUES: dict[str, tuple[Any, Any]] = {
    "architecture": ("mlp-4-tanh", "mlp-8-tanh"),
    "optimizer": ("adam", "lion"),
    "by": ("random", "random"),
    "dataset": ("mnist-5k", "mnist"),
    "address": ("head:1", "head:2"),
    "data_dir": (Path("a"), Path("b")),
    "task": ("vae", "gan"),
    "loop": ("cnn", "mlp"),
    "rank_by": ("score_a:min", "score_b:max"),
    "execution": ("lanes", "process"),
    "schedule": ("cosine", "linear"),
    "loss": ("mse", "mse"),
    "at_a_time": (2, 3),
    "only": ("slow", "converges"),
    "activations": ("gelu", "silu"),
    "scheduler": ("fifo", "asha"),
}


def values_of(option):
    """Return two values of an option that differ from its default, the first of which
    is the smaller one."""
    if option.name in VALUES:
        values = VALUES[option.name]
    elif isinstance(option.default, bool):
        values = (not option.default, not option.default)
    elif "bool" in str(option.type):
        values = (True, True)
    elif "float" in str(option.type):
        values = (0.5, 0.6)
    elif option.name == "epochs":
        values = (21, 22)
    else:
        values = (201, 202)
    if isinstance(option.default, tuple):
        return tuple((value,) for value in values)
    return values


def resumed_value(kind, where, option, **changes):
    """Return an option of a sweep that is resumed with some options changed."""
    return getattr(resumed_with(kind, where, changes), option.name)


@pytest.mark.promise(
    "Each option is added to, changed, kept or asked for again by a resume, as documented"
)
@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_resume_makes_of_each_option(folder, name):
    kind = COMMANDS[name]
    for option in fields(kind):
        is_the_only_scheduler = option.name == "scheduler" and option.default == "fifo"
        if option.name in ("resume", "output", "sweep") or is_the_only_scheduler:
            continue
        before, other = values_of(option)
        recorded = str(before) if isinstance(before, Path) else before
        where = folder(name, **{option.name: recorded})
        value = partial(resumed_value, kind, where, option)
        adds = option.name == "trials"
        if kind in (LearningRateRegimes, Notebook):
            adds = adds or option.name in ADDED

        if option.name in HERE:
            assert value() == option.default, option.name
        else:
            assert value() == before, option.name
        assert value(**{option.name: before}) == before
        if option.name in HERE or option.name in CHANGES:
            assert value(**{option.name: other}) == other
        elif adds and isinstance(before, tuple):
            assert value(**{option.name: other}) == before + other
        elif adds:
            assert value(**{option.name: other}) == other
            with pytest.raises(UserError, match="a resume can only add to that"):
                value(**{option.name: 8})
        elif before != other:
            line = r"can't change in a resume: .*; leave it out, or start a new sweep"
            with pytest.raises(UserError, match=line):
                value(**{option.name: other})


def test_a_command_line_says_the_same_as_python(folder):
    where = folder("lr_regimes", epochs=20, seeds=[0, 1], lanes=3)
    resume = ["--resume", str(where)]
    flags = "--seeds 2 --lanes None --learning-rates 0.1 5"
    options = command_options(LearningRateRegimes, [*resume, *flags.split()])
    changes = {"seeds": (2,), "lanes": None, "learning_rates": (0.1, 5.0)}
    expected = resumed_with(LearningRateRegimes, where, {"resume": where} | changes)
    assert replace(options, resume=where) == expected
    assert options.epochs == 20
    assert options.seeds == (0, 1, 2)
    assert options.lanes is None
    for refused in ("--epochs 10", "--batch-size 64", "--no-stop-when-diverged"):
        flag, *values = refused.split()
        with pytest.raises(UserError, match=flag):
            command_options(LearningRateRegimes, [*resume, flag, *values])
    edge = folder("edge", trials=300, epochs=4)
    options = python_options(EdgeOptions(resume=edge))
    assert (options.trials, options.epochs) == (300, 4)


@pytest.mark.promise("`--time-budget None` lifts a limit")
def test_a_recorded_limit_can_be_lifted(folder):
    where = folder("lr_regimes", time_budget=60.0)
    words = ["--resume", str(where)]
    options = command_options(LearningRateRegimes, words)
    assert options.time_budget == 60.0
    words += ["--time-budget", "None"]
    options = command_options(LearningRateRegimes, words)
    assert options.time_budget is None


def test_what_is_given_counts_before_what_a_smoke_test_brings():
    words = "--smoke --architecture mlp-8-tanh --epochs 10"
    options = command_options(LearningRateRegimes, words.split())
    assert (options.architecture, options.epochs) == (("mlp-8-tanh",), 10)
    assert options.learning_rates == (0.01, 0.1, 1.0, 100.0)


MLP = {"flag": "architecture", "name": "net.py:mlp", "files": {}}
RECORDED = {
    "lr_regimes": ["net.py:mlp(width=3)", "mlp-4-tanh"],
    "decide": ["mlp-1024-128-tanh"],
}
"""The architectures of a sweep that has recorded the code of `net.py:mlp`."""


@pytest.fixture
def loads_nothing(monkeypatch):
    monkeypatch.setattr("mnist_tune.tuning.resuming.load_own", lambda *_: None)


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize("name", RECORDED)
def test_code_is_named_again_without_its_arguments(folder, name):
    where = folder(name, meta={"code": [MLP]}, architecture=RECORDED[name])
    options = resumed_with(COMMANDS[name], where, {"architecture": "net.py:mlp"})
    assert vars(options)["architecture"] == tuple(RECORDED[name])


@pytest.mark.usefixtures("loads_nothing")
@pytest.mark.parametrize(
    "architecture", ["net.py:other", "mlp-8-tanh", "net.py:mlp(width=4)"]
)
def test_no_other_code_is_named(folder, architecture):
    recorded = RECORDED["lr_regimes"]
    where = folder("lr_regimes", meta={"code": [MLP]}, architecture=recorded)
    with pytest.raises(UserError, match="--architecture can't change in a resume"):
        resumed_with(LearningRateRegimes, where, {"architecture": architecture})


@pytest.mark.usefixtures("loads_nothing")
def test_a_decision_is_resumed_by_the_path_at_which_it_found_the_code_of_its_sweep(
    folder, monkeypatch
):
    moved = Entry(lambda: len)
    where = folder("decide", meta={"code": [MLP]}, architecture=("moved/net.py:mlp",))
    monkeypatch.setitem(ENTRIES, "architecture", {"moved/net.py:mlp": moved})
    python_options(DecideOptions(resume=where, architecture=("moved/net.py:mlp",)))
    assert ENTRIES["architecture"]["net.py:mlp"] is moved


def test_the_folder_of_recorded_data_is_not_that_of_other_data(folder):
    where = folder("lr_regimes", data_dir="data")
    same = resumed_with(LearningRateRegimes, where, {})
    assert same.data_dir == Path("data")
    other = resumed_with(LearningRateRegimes, where, {"dataset": "mnist"})
    assert other.data_dir is None
    moved_data = {"dataset": "mnist", "data_dir": Path("moved")}
    moved = resumed_with(LearningRateRegimes, where, moved_data)
    assert moved.data_dir == Path("moved")


def test_a_command_resumes_what_it_started(folder):
    line = r"made by something else; resume it with: "
    with pytest.raises(UserError, match=line):
        resumed_with(LearningRateRegimes, folder("search"), {})
    with pytest.raises(UserError, match=line):
        resumed_with(Search, folder("search", without={"by"}), {})
    where = folder("lr_regimes")
    line = r"has no option 'epoch'; did you mean 'epochs'\?"
    with pytest.raises(UserError, match=line):
        resumed_with(LearningRateRegimes, where, {"epoch": 3})


OF_A_WRONG_TYPE = {
    "scheduler": "hyperband",
    "max_concurrent": ["x"],
    "lanes": 2.5,
    "epochs": "10",
    "seeds": [[1]],
    "learning_rates": {"a": 1},
    "architecture": [3],
    "grace_period": [5, "--address=evil:6379"],
}


@pytest.mark.promise("Recorded options are taken only if their types are right")
def test_recorded_options_have_their_types(folder):
    line = r"records that --|was not written by a sweep"
    for name, value in OF_A_WRONG_TYPE.items():
        where = folder("lr_regimes", **{name: value})
        with pytest.raises(UserError, match=line):
            resumed_with(LearningRateRegimes, where, {})


def test_a_folder_from_before_settings_were_lists_is_resumed(folder):
    one_value = {"weight_decay": 0.1, "schedule": "cosine", "holdout": 0}
    one_value |= {"nesterov": True, "momentum": [0.9], "drop_last": False}
    where = folder("lr_regimes", **one_value)
    options = resumed_with(LearningRateRegimes, where, {"weight_decay": (0.1,)})
    assert options.weight_decay == (0.1,)
    assert options.schedule == ("cosine",)
    assert options.holdout == (0,)
    assert options.nesterov == (True,)
    assert options.drop_last == (False,)


@pytest.mark.promise("A folder can't ask for more than 100,000 trials")
@pytest.mark.parametrize(("name", "recorded"), TOO_MANY)
def test_a_folder_cannot_ask_for_too_much(folder, name, recorded):
    def proposals():
        options: Any = resumed_with(COMMANDS[name], folder(name, **recorded), {})
        if name == "search":
            return list(options.networks())
        if name == "edge":
            return list(options.combined())
        return list(options.trials([TrialConfig()]))

    line = r"are too many \(.*at most 100000 fit into a sweep|must be a whole number of at least . and at most"
    with pytest.raises(UserError, match=line):
        proposals()


def test_a_sweep_from_python_grows_by_epochs_rates_and_seeds():
    trained = [
        TrialConfig(learning_rate=rate, seed=seed, epochs=3)
        for rate, seed in ((0.1, 0), (0.2, 0), (0.1, 1))
    ]
    assert PythonSweep(seeds=5).trials([]) == []
    longer = [replace(trial, epochs=5) for trial in trained]
    assert PythonSweep(epochs=5).trials(trained) == longer
    trials = PythonSweep(learning_rates="0.4:0.8:2", seeds=2).trials(trained)
    new = [(trial.learning_rate, trial.seed, trial.data_seed) for trial in trials[3:]]
    with_known_seeds = [(0.4, 0, 0), (0.4, 1, 0), (0.8, 0, 0), (0.8, 1, 0)]
    with_a_new_seed = [(0.1, 2, 2), (0.2, 2, 2), (0.4, 2, 2), (0.8, 2, 2)]
    assert new == with_known_seeds + with_a_new_seed
    line = "--epochs 2: 3 were asked for already; a resume can only add to that"
    with pytest.raises(UserError, match=line):
        PythonSweep(epochs=2).trials(trained)


def test_new_trials_have_new_ids_and_old_ones_train_longer():
    # two that are the same
    trained = {
        "00000": TrialConfig(learning_rate=0.1, epochs=4),
        "00001": TrialConfig(learning_rate=0.2, epochs=4),
        "00002": TrialConfig(learning_rate=0.2, epochs=4),
    }
    assert additions(trained, list(trained.values())) == {}
    trials = [
        TrialConfig(learning_rate=rate, epochs=6) for rate in (0.2, 0.2, 0.3, 0.4)
    ]
    ids = ("00001", "00002", "00003", "00004")
    assert additions(trained, trials) == dict(zip(ids, trials, strict=True))
    shorter = replace(trained["00000"], epochs=3)
    assert additions(trained, [shorter]) == {}
    cosine = TrialConfig(schedule="cosine")
    line = "--epochs 20: more epochs can't follow on a cosine schedule"
    with pytest.raises(UserError, match=line):
        additions({"00000": cosine}, [replace(cosine, epochs=20)])


def test_what_has_got_its_total_steps_is_not_trained_longer():
    @register_optimizer("annealed")
    def annealed(learning_rate, total_steps):
        return optax.sgd(learning_rate)

    trial = TrialConfig(optimizer="annealed")
    line = (
        "--epochs 20: more epochs can't follow on 'annealed', which got the total_steps "
        "of 10 epochs; start a new sweep"
    )
    with pytest.raises(UserError, match=line):
        additions({"00000": trial}, [replace(trial, epochs=20)])
    # it has a number of its own
    trial = TrialConfig(optimizer="annealed(total_steps=500)")
    longer = replace(trial, epochs=20)
    assert additions({"00000": trial}, [longer]) == {"00000": longer}


def test_options_are_crossed_once_and_in_order():
    networks = crossed(widths=(1, 2, 1), depths=(4, 5))
    pairs = [(network["width"], network["depth"]) for network in networks]
    assert pairs == [(1, 4), (1, 5), (2, 4), (2, 5)]
    assert len([*crossed(widths=range(MOST_TRIALS))]) == MOST_TRIALS
    line = r"^100001 trials are too many \(100001 --widths\); at most 100000 fit"
    with pytest.raises(UserError, match=line):
        crossed(widths=range(MOST_TRIALS + 1))


def test_lists_values_alone_and_those_of_numpy_are_taken():
    assert SweepOptions(target=np.float64(0.9)).target == 0.9
    for seeds in ([1, 2], range(1, 3), np.arange(1, 3)):
        assert LearningRateRegimes(seeds=seeds).seeds == (1, 2)
    assert SweepOptions(lanes=np.int64(3)).lanes == 3
    images = np.zeros((2, 3))
    assert SweepOptions(dataset=(images,)).dataset == (images,)
    alone = EdgeOptions(architecture="mlp-4-tanh", batch_size=32, momentum=0.5)
    assert alone.architecture == ("mlp-4-tanh",)
    assert alone.batch_size == (32,)
    assert alone.momentum == (0.5,)
