"""What a command asks for on top of what a folder records, and which trials follow."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from recorded_data import recorded_data

from mnist_tune import DecideOptions, EdgeOptions, SweepOptions, TrialConfig, UserError
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.commands.resume import PythonSweep
from mnist_tune.commands.search import Search
from mnist_tune.own_code.registry import ENTRIES, Entry
from mnist_tune.tuning.options import MOST_TRIALS, crossed
from mnist_tune.tuning.past import additions
from mnist_tune.tuning.resuming import command_options, python_options, resumed_with
from validation.notebook import Notebook

COMMANDS = {
    one.NAME: one
    for one in (LearningRateRegimes, Notebook, Search, EdgeOptions, DecideOptions)
}

ADDED = {"learning_rates", "seeds", "epochs"}
CHANGES = "dataset data_dir max_concurrent execution lanes save_every hang_minutes trials_per_gpu time_budget precision"
CHANGES += " confirm data_memory gpus_per_trial"
HERE = {
    "address",
    "dashboard",
    "output",
    "resume",
    "retry_errored",
    "trust_code",
    "changed_code",
    "quiet",
    "json",
    "smoke",
    "dry_run",
    "sweep",
}

MANY, LARGE = [*range(3000)], 10**9
TOO_MANY = [
    ("lr_regimes", {"learning_rates": ["1e-3:4:1000000000"]}),
    ("lr_regimes", {"learning_rates": [f"1e-3:{i}:50001" for i in range(1, 3000)]}),
    ("lr_regimes", {"learning_rates": ["1e-3:4:3000"], "seeds": MANY}),
    ("notebook", {"seeds": [*range(100_001)]}),
    ("search", {"trials": LARGE}),
    ("search", {"widths": [*range(1, 3000)], "depths": [*range(1, 900)]}),
    ("search", {"depths": [LARGE]}),
    ("edge", {"trials": LARGE}),
    (
        "edge",
        {"batch_size": [i + 1 for i in MANY], "momentum": [i / 3000 for i in MANY]},
    ),
]


@pytest.fixture
def folder(tmp_path):
    """A function that returns a folder which records the options of a command, with
    some changed."""

    def make(name, /, without=(), meta=(), **changed):
        values = {
            key: str(one) if isinstance(one, Path) else one
            for key, one in vars(COMMANDS[name]()).items()
        }
        options = {
            key: one for key, one in (values | changed).items() if key not in without
        }
        trial = TrialConfig(
            learning_rate=0.1, schedule=options.get("schedule", "constant")
        ).to_dict()
        told = {
            "name": name,
            "trials": {"00000": trial},
            "options": options,
            "search": name in ("edge", "search"),
        }
        told |= {"dataset": recorded_data("mnist-5k"), **dict(meta)}
        (tmp_path / "sweep.json").write_text(json.dumps(told))
        return tmp_path

    return make


def values_of(kind, one):
    """Return two values of an option that differ from its default, the first of which
    is the smaller one."""
    named = {
        "architecture": ("mlp-4-tanh", "mlp-8-tanh"),
        "optimizer": ("adam", "lion"),
        "by": ("random", "random"),
    }
    named |= {
        "dataset": ("mnist-5k", "mnist"),
        "address": ("head:1", "head:2"),
        "data_dir": (Path("a"), Path("b")),
    }
    named |= {"task": ("vae", "gan"), "loop": ("cnn", "mlp")}
    named |= {"rank_by": ("score_a:min", "score_b:max")}
    named |= {
        "execution": ("lanes", "process"),
        "schedule": ("cosine", "linear"),
        "loss": ("mse", "mse"),
    }
    named |= {
        "at_a_time": (2, 3),
        "only": ("slow", "converges"),
        "activations": ("gelu", "silu"),
        "scheduler": ("fifo", "asha"),
    }
    if one.name in named:
        found = named[one.name]
    elif isinstance(one.default, bool):
        return (not one.default,) * 2
    else:
        found = (
            (0.5, 0.6)
            if "float" in str(one.type)
            else (21, 22)
            if one.name == "epochs"
            else (201, 202)
        )
    return (
        tuple((value,) for value in found) if isinstance(one.default, tuple) else found
    )


@pytest.mark.promise(
    "Each option is added to, changed, kept or asked for again by a resume, as documented"
)
@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_resume_makes_of_each_option(folder, name):
    kind = COMMANDS[name]
    for one in fields(kind):
        if one.name in ("resume", "output", "sweep") or (
            one.name == "scheduler" and one.default == "fifo"
        ):
            continue
        before, other = values_of(kind, one)
        where = folder(
            name, **{one.name: str(before) if isinstance(before, Path) else before}
        )
        adds = one.name == "trials" or (
            one.name in ADDED and kind in (LearningRateRegimes, Notebook)
        )

        def found(where=where, one=one, **given):
            return getattr(resumed_with(kind, where, given), one.name)

        assert found() == (one.default if one.name in HERE else before), one.name
        assert found(**{one.name: before}) == before
        if one.name in HERE or one.name in CHANGES.split():
            assert found(**{one.name: other}) == other
        elif adds and isinstance(before, tuple):
            assert found(**{one.name: other}) == before + other
        elif adds:
            assert found(**{one.name: other}) == other
            with pytest.raises(UserError, match="a resume can only add to that"):
                found(**{one.name: 8})
        elif before != other:
            with pytest.raises(
                UserError,
                match=r"can't change in a resume: .*; leave it out, or start a new sweep",
            ):
                found(**{one.name: other})


def test_a_command_line_says_the_same_as_python(folder):
    where = folder("lr_regimes", epochs=20, seeds=[0, 1], lanes=3)
    words = [
        "--resume",
        str(where),
        "--seeds",
        "2",
        "--lanes",
        "None",
        "--learning-rates",
        "0.1",
        "5",
    ]
    found = command_options(LearningRateRegimes, words)
    given = {
        "resume": where,
        "seeds": (2,),
        "lanes": None,
        "learning_rates": (0.1, 5.0),
    }
    assert replace(found, resume=where) == resumed_with(
        LearningRateRegimes, where, given
    )
    assert (found.epochs, found.seeds, found.lanes) == (20, (0, 1, 2), None)
    for refused in ("--epochs 10", "--batch-size 64", "--no-stop-when-diverged"):
        with pytest.raises(UserError, match=refused.split()[0]):
            command_options(
                LearningRateRegimes, ["--resume", str(where), *refused.split()]
            )
    options = python_options(EdgeOptions(resume=folder("edge", trials=300, epochs=4)))
    assert (options.trials, options.epochs) == (300, 4)


@pytest.mark.promise("`--time-budget None` lifts a limit")
def test_a_recorded_limit_can_be_lifted(folder):
    where = folder("lr_regimes", time_budget=60.0)
    words = ["--resume", str(where)]
    assert command_options(LearningRateRegimes, words).time_budget == 60.0
    assert (
        command_options(
            LearningRateRegimes, [*words, "--time-budget", "None"]
        ).time_budget
        is None
    )


def test_what_is_given_counts_before_what_a_smoke_test_brings():
    options = command_options(
        LearningRateRegimes, "--smoke --architecture mlp-8-tanh --epochs 10".split()
    )
    assert (options.architecture, options.epochs) == (("mlp-8-tanh",), 10)
    assert options.learning_rates == (0.01, 0.1, 1.0, 100.0)


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("lr_regimes", "net.py:mlp", True),
        ("lr_regimes", "net.py:other", False),
        ("lr_regimes", "mlp-8-tanh", False),
        ("lr_regimes", "net.py:mlp(width=4)", False),
        ("decide", "net.py:mlp", True),
    ],
)
def test_code_is_named_again_without_its_arguments(
    folder, monkeypatch, name, given, taken
):
    monkeypatch.setattr("mnist_tune.tuning.resuming.load_own", lambda *_: None)
    code = [{"flag": "architecture", "name": "net.py:mlp", "files": {}}]
    recorded = (
        ["net.py:mlp(width=3)", "mlp-4-tanh"]
        if name == "lr_regimes"
        else ["mlp-1024-128-tanh"]
    )
    where = folder(name, meta={"code": code}, architecture=recorded)
    if taken:
        found = resumed_with(COMMANDS[name], where, {"architecture": given})
        assert vars(found)["architecture"] == tuple(recorded)
    else:
        with pytest.raises(UserError, match="--architecture can't change in a resume"):
            resumed_with(COMMANDS[name], where, {"architecture": given})


def test_a_decision_is_resumed_by_the_path_at_which_it_found_the_code_of_its_sweep(
    folder, monkeypatch
):
    code, moved = (
        [{"flag": "architecture", "name": "net.py:mlp", "files": {}}],
        Entry(lambda: len),
    )
    where = folder("decide", meta={"code": code}, architecture=("moved/net.py:mlp",))
    monkeypatch.setitem(ENTRIES, "architecture", {"moved/net.py:mlp": moved})
    monkeypatch.setattr("mnist_tune.tuning.resuming.load_own", lambda *_: None)
    python_options(DecideOptions(resume=where, architecture=("moved/net.py:mlp",)))
    assert ENTRIES["architecture"]["net.py:mlp"] is moved


def test_the_folder_of_recorded_data_is_not_that_of_other_data(folder):
    where = folder("lr_regimes", data_dir="data")
    assert resumed_with(LearningRateRegimes, where, {}).data_dir == Path("data")
    assert (
        resumed_with(LearningRateRegimes, where, {"dataset": "mnist"}).data_dir is None
    )
    moved = resumed_with(
        LearningRateRegimes, where, {"dataset": "mnist", "data_dir": Path("moved")}
    )
    assert moved.data_dir == Path("moved")


def test_a_command_resumes_what_it_started(folder):
    for kind, where in (
        (LearningRateRegimes, folder("search")),
        (Search, folder("search", without={"by"})),
    ):
        with pytest.raises(
            UserError, match=r"made by something else; resume it with: "
        ):
            resumed_with(kind, where, {})
    with pytest.raises(
        UserError, match=r"has no option 'epoch'; did you mean 'epochs'\?"
    ):
        resumed_with(LearningRateRegimes, folder("lr_regimes"), {"epoch": 3})


@pytest.mark.promise("Recorded options are taken only if their types are right")
def test_recorded_options_have_their_types(folder):
    wrong = {
        "scheduler": "hyperband",
        "max_concurrent": ["x"],
        "lanes": 2.5,
        "epochs": "10",
        "seeds": [[1]],
    }
    wrong |= {
        "learning_rates": {"a": 1},
        "architecture": [3],
        "grace_period": [5, "--address=evil:6379"],
    }
    for name, value in wrong.items():
        with pytest.raises(
            UserError, match=r"records that --|was not written by a sweep"
        ):
            resumed_with(LearningRateRegimes, folder("lr_regimes", **{name: value}), {})


@pytest.mark.promise("A folder can't ask for more than 100,000 trials")
@pytest.mark.parametrize(("name", "recorded"), TOO_MANY)
def test_a_folder_cannot_ask_for_too_much(folder, name, recorded):
    def trials():
        options = resumed_with(COMMANDS[name], folder(name, **recorded), {})
        several = {"search": "networks", "edge": "combined"}.get(name, "trials")
        list(getattr(options, several)(*[[TrialConfig()]] * (several == "trials")))

    said = r"are too many \(.*at most 100000 fit into a sweep|must be a whole number of at least . and at most"
    with pytest.raises(UserError, match=said):
        trials()


def test_a_sweep_from_python_grows_by_epochs_rates_and_seeds():
    known = [
        TrialConfig(learning_rate=rate, seed=seed, epochs=3)
        for rate, seed in ((0.1, 0), (0.2, 0), (0.1, 1))
    ]
    assert PythonSweep(seeds=5).trials([]) == []
    assert PythonSweep(epochs=5).trials(known) == [
        replace(one, epochs=5) for one in known
    ]
    found = PythonSweep(learning_rates="0.4:0.8:2", seeds=2).trials(known)
    assert [(one.learning_rate, one.seed, one.data_seed) for one in found[3:]] == [
        (0.4, 0, 0),
        (0.4, 1, 0),
        (0.8, 0, 0),
        (0.8, 1, 0),
        (0.1, 2, 2),
        (0.2, 2, 2),
        (0.4, 2, 2),
        (0.8, 2, 2),
    ]
    with pytest.raises(
        UserError,
        match="--epochs 2: 3 were asked for already; a resume can only add to that",
    ):
        PythonSweep(epochs=2).trials(known)


def test_new_trials_have_new_ids_and_old_ones_train_longer():
    known = {
        f"{i:05d}": TrialConfig(learning_rate=rate, epochs=4)
        for i, rate in enumerate((0.1, 0.2, 0.2))
    }
    assert additions(known, list(known.values())) == {}
    # two that are the same
    wanted = [
        TrialConfig(learning_rate=rate, epochs=6) for rate in (0.2, 0.2, 0.3, 0.4)
    ]
    assert additions(known, wanted) == dict(
        zip(("00001", "00002", "00003", "00004"), wanted, strict=True)
    )
    assert additions(known, [replace(known["00000"], epochs=3)]) == {}
    with pytest.raises(
        UserError, match="--epochs 20: more epochs can't follow on a cosine schedule"
    ):
        additions(
            {"00000": TrialConfig(schedule="cosine")},
            [TrialConfig(schedule="cosine", epochs=20)],
        )


def test_options_are_crossed_once_and_in_order():
    found = [
        (one["width"], one["depth"]) for one in crossed(widths=(1, 2, 1), depths=(4, 5))
    ]
    assert found == [(1, 4), (1, 5), (2, 4), (2, 5)]
    assert len([*crossed(widths=range(MOST_TRIALS))]) == MOST_TRIALS
    with pytest.raises(
        UserError,
        match=r"^100001 trials are too many \(100001 --widths\); at most 100000 fit",
    ):
        crossed(widths=range(MOST_TRIALS + 1))


def test_lists_values_alone_and_those_of_numpy_are_taken():
    assert SweepOptions(target=np.float64(0.9)).target == 0.9
    seeds = [
        LearningRateRegimes(seeds=some).seeds
        for some in ([1, 2], range(1, 3), np.arange(1, 3))
    ]
    assert seeds == [(1, 2)] * 3
    assert SweepOptions(lanes=np.int64(3)).lanes == 3
    images = np.zeros((2, 3))
    assert SweepOptions(dataset=(images,)).dataset == (images,)
    alone = EdgeOptions(architecture="mlp-4-tanh", batch_size=32, momentum=0.5)
    assert (alone.architecture, alone.batch_size, alone.momentum) == (
        ("mlp-4-tanh",),
        (32,),
        (0.5,),
    )
