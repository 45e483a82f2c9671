"""What a command asks for on top of what a folder records, and which trials follow."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from recorded_data import recorded_data

from mnist_tune import DecideOptions, EdgeOptions, SweepOptions, TrialConfig, UserError
from mnist_tune.commands.architectures import Architectures
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.commands.notebook import Notebook
from mnist_tune.commands.phase_diagram import PhaseDiagram
from mnist_tune.commands.search import Search
from mnist_tune.commands.seeds import Seeds
from mnist_tune.tuning.options import MOST_TRIALS, Mark, crossed, marks, with_given
from mnist_tune.tuning.wanted import additions, asked, resumed, trials_of

COMMANDS = {
    "lr_regimes": LearningRateRegimes,
    "seeds": Seeds,
    "architectures": Architectures,
    "notebook": Notebook,
    "search": Search,
    "edge": EdgeOptions,
    "decide": DecideOptions,
}

KINDS = COMMANDS | {"phase_diagram": PhaseDiagram}

ADDS = {
    "lr_regimes": {"learning_rates", "seeds", "epochs"},
    "seeds": {"seeds", "epochs"},
    "architectures": {"learning_rates", "seeds", "epochs"},
    "notebook": {"epochs", "seeds"},
    "search": {"samples", "final_trials"},
    "edge": {"trials"},
    "decide": {"trials"},
}
"""The options of each command that add trials, or epochs."""

MAY_CHANGE = {
    "max_concurrent",
    "execution",
    "lanes",
    "save_every",
    "trials_per_gpu",
    "hang_minutes",
    "time_budget",
    "precision",
    "confirm",
}
MAY_CHANGE |= {"dataset", "data_dir"}  # where the same data are

NEVER_TAKEN = {"address", "dashboard", "output", "resume", "retry_errored", "quiet", "smoke", "sweep", "dry_run"}
"""Options that come from no folder."""

VALUES = {
    "target": (0.5, 0.6),
    "learned": (0.5, 0.6),
    "architecture": (("mlp-4-tanh",), ("mlp-8-tanh",)),
    "optimizer": (("adam",), ("lion",)),
    "learning_rate": (0.3, 0.5),
    "momentum": ((0.5,), (0.6,)),
    "weight_decay": (0.01, 0.02),
    "address": ("head:1", "head:2"),
    "dataset": ("mnist-5k", "mnist"),
    "only": (("slow",), ("converges",)),
}
SEARCHED = {"learning_rate": ("0.1:1", "0.2:1"), "momentum": ("0:0.5", "0:0.6"), "weight_decay": ("1e-6:1", "1e-5:1")}
"""Two values that are no default, where none follow from the type."""


def two_values(kind, one):
    """Two values of an option that differ from its default, the first of which is the smaller one."""
    hint = get_type_hints(kind)[one.name]
    if kind is Search and one.name in SEARCHED:
        return SEARCHED[one.name]
    if one.name in VALUES:
        first, second = VALUES[one.name]
        alone = isinstance(first, tuple) and get_origin(hint) is not tuple
        return (first[0], second[0]) if alone else (first, second)
    kinds = [part for part in (get_args(hint) or [hint]) if part is not type(None)]
    if get_origin(hint) is Literal:
        others = [value for value in kinds if value != one.default]
        return (others[0], others[-1]) if others else None
    if kinds == [bool]:
        return None if one.default else (True, True)
    if get_origin(hint) is tuple:
        if int in kinds or float in kinds:
            return (3,), (5,)
        return ("gelu",), ("silu",)
    if int in kinds or float in kinds:
        base = 0 if one.default is None else one.default
        return base + 1, base + 2
    return Path("a"), Path("b")


TABLE = [
    pytest.param(command, one.name, two_values(kind, one), id=f"{command}-{one.name}")
    for command, kind in COMMANDS.items()
    for one in fields(kind)
    if one.name not in ("resume", "output") and two_values(kind, one)
]


def plain(value):
    return str(value) if isinstance(value, Path) else value


@pytest.fixture
def folder(tmp_path):
    """A function that returns a folder which records the options of a command, with some changed."""

    def make(command, /, without=(), **changed):
        known = KINDS[command]().values() | changed
        options = {name: plain(value) for name, value in known.items() if name not in without}
        meta = {"name": command, "trials": {}, "options": options, "search": command in ("edge", "search", "decide")}
        meta["dataset"] = recorded_data("mnist-5k")
        (tmp_path / "sweep.json").write_text(json.dumps(meta))
        return tmp_path

    return make


@pytest.mark.parametrize(("command", "name", "values"), TABLE)
def test_each_option_absent_its_default_as_recorded_or_another(folder, command, name, values):
    kind, (before, other) = COMMANDS[command], values
    default = getattr(kind(), name)
    where = folder(command, **{name: before})

    def found(**given):
        return getattr(resumed(kind(resume=where, **given), where, command), name)

    if name in NEVER_TAKEN:
        assert [found(), found(**{name: default}), found(**{name: before})] == [default, default, before]
        return
    assert found() == before
    assert found(**{name: before}) == before
    for value in (default, other):
        if name in MAY_CHANGE:
            assert found(**{name: value}) == value
        elif name in ADDS[command] and isinstance(before, tuple):
            assert found(**{name: value}) == tuple(dict.fromkeys((*before, *value)))
        elif (name in ADDS[command] and (value is None or value >= before)) or value == before:
            assert found(**{name: value}) == value
        else:
            with pytest.raises(UserError, match=rf"^--{name.replace('_', '-')} .*resume"):
                found(**{name: value})


def test_the_table_has_every_option_that_can_have_another_value():
    left_out = {one.name for kind in COMMANDS.values() for one in fields(kind)} - {one.values[1] for one in TABLE}
    assert left_out == {"resume", "output", "scheduler"} - {one.values[1] for one in TABLE} | {"stop_when_diverged"}


def test_flags_that_are_written_count_as_given_though_they_are_the_defaults():
    words = "--epochs 10 --learning_rates 0.1 --no-stop-when-diverged --seeds=3".split()
    options = asked(LearningRateRegimes, words)
    assert options.given == {"epochs", "learning_rates", "stop_when_diverged", "seeds"}
    assert LearningRateRegimes(epochs=10).given == {"epochs"}
    assert asked(EdgeOptions, []).given == set()


def test_what_is_given_counts_before_what_a_smoke_test_brings():
    options = asked(LearningRateRegimes, "--smoke --architecture mlp-8-tanh --epochs 7".split())
    assert (options.architecture, options.epochs) == (("mlp-8-tanh",), 7)
    assert options.learning_rates == (0.01, 0.1, 1.0, 100.0)
    assert asked(LearningRateRegimes, ["--smoke"]).epochs == 3


def test_a_recorded_limit_can_be_lifted(folder):
    where = folder("lr_regimes", time_budget=60.0)
    given = asked(LearningRateRegimes, ["--resume", str(where), "--time-budget", "None"])
    assert resumed(given, where, "lr_regimes").time_budget is None
    assert resumed(LearningRateRegimes(resume=where), where, "lr_regimes").time_budget == 60.0


def test_code_may_be_named_again_without_its_arguments(folder):
    where = folder("lr_regimes", architecture=("net.py:mlp(width=3)", "mlp-4-tanh"))
    found = resumed(LearningRateRegimes(architecture=("net.py:mlp",)), where, "lr_regimes")
    assert found.architecture == ("net.py:mlp(width=3)", "mlp-4-tanh")
    for other in ("net.py:other", "mlp-8-tanh", "net.py:mlp(width=4)"):
        with pytest.raises(UserError, match=r"--architecture can't change in a resume: .* has net\.py:mlp"):
            resumed(LearningRateRegimes(architecture=(other,)), where, "lr_regimes")


@pytest.mark.parametrize("given", [{"epochs": 10}, {"learning_rates": (0.3,)}, {"batch_size": (128,)}])
def test_a_sweep_that_does_not_record_an_option_takes_none_and_makes_no_trials(folder, given):
    names = {one.name for one in fields(LearningRateRegimes)} - {one.name for one in fields(SweepOptions)}
    where = folder("lr_regimes", without=names)
    options = resumed(LearningRateRegimes(resume=where), where, "lr_regimes")
    assert trials_of(options, json.loads((where / "sweep.json").read_text())["options"]) == []
    with pytest.raises(UserError, match=r"can't change in a resume: .* does not record it; make a new sweep"):
        resumed(LearningRateRegimes(**given), where, "lr_regimes")


def test_the_trials_of_a_resume_are_those_that_asking_at_once_makes(folder):
    where = folder("lr_regimes", learning_rates=("0.01:1:3",), seeds=(0,), epochs=4)
    options = resumed(LearningRateRegimes(learning_rates=(2.0,), seeds=(1,), epochs=5), where, "lr_regimes")
    at_once = LearningRateRegimes(learning_rates=("0.01:1:3", 2.0), seeds=(0, 1), epochs=5)
    found = trials_of(options, json.loads((where / "sweep.json").read_text())["options"])
    assert found == at_once.trials()
    assert len(found) == 8


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_command_resumes_no_sweep_of_another_command(folder, command):
    where = folder("seeds" if command != "seeds" else "notebook")
    with pytest.raises(UserError, match=r"was made by something else; resume it with: .*--resume"):
        resumed(COMMANDS[command](resume=where), where, command)


def test_a_schedule_that_has_ended_takes_no_more_epochs_but_more_rates_and_seeds(folder):
    where = folder("lr_regimes", schedule="cosine", learning_rates=(0.1,), seeds=(0,))
    with pytest.raises(UserError, match=r"has a cosine schedule, which ended at 0; start a new sweep for more epochs"):
        resumed(LearningRateRegimes(epochs=20), where)
    found = resumed(LearningRateRegimes(learning_rates=(1.0,), seeds=(2,)), where)
    assert (found.learning_rates, found.seeds, found.epochs) == ((0.1, 1.0), (0, 2), 10)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grace_period", [5, "--address=evil:6379"]),
        ("scheduler", "hyperband"),
        ("max_concurrent", ["x"]),
        ("target", True),
        ("lanes", 2.5),
        ("epochs", "10"),
        ("seeds", [[1]]),
        ("learning_rates", {"a": 1}),
        ("architecture", "mlp"),
    ],
)
def test_recorded_options_of_the_wrong_type_are_refused(folder, name, value):
    where = folder("lr_regimes", **{name: value})
    said = f"(records that --{name.replace('_', '-')} is .*, which it can't be|not written by a sweep: options .*)$"
    with pytest.raises(UserError, match=said):
        resumed(LearningRateRegimes(resume=where), where, "lr_regimes")


def test_a_folder_that_records_no_options_is_resumed_with_those_given(folder):
    where = folder("lr_regimes")
    meta = json.loads((where / "sweep.json").read_text())
    (where / "sweep.json").write_text(json.dumps({name: value for name, value in meta.items() if name != "options"}))
    assert resumed(LearningRateRegimes(resume=where, max_concurrent=3), where, "lr_regimes").max_concurrent == 3


MANY, LARGE = [*range(3000)], 10**9
TOO_MANY = [
    ("lr_regimes", {"learning_rates": ["1e-3:4:1000000000"]}),
    ("lr_regimes", {"learning_rates": [f"1e-3:{i}:50001" for i in range(1, 3000)]}),
    ("lr_regimes", {"learning_rates": ["1e-3:4:3000"], "seeds": MANY}),
    ("seeds", {"seeds": [*range(100_001)]}),
    ("notebook", {"seeds": LARGE}),
    ("architectures", {"depths": [LARGE]}),
    ("architectures", {"depths": MANY, "widths": MANY}),
    ("architectures", {"batch_size": MANY, "seeds": MANY}),
    ("phase_diagram", {"widths": MANY, "seeds": MANY}),
    ("phase_diagram", {"depths": [LARGE]}),
    ("phase_diagram", {"c": "1:2:1000000000"}),
    ("search", {"samples": LARGE}),
    ("search", {"widths": MANY, "depths": MANY}),
    ("search", {"depths": [LARGE]}),
    ("edge", {"trials": LARGE}),
    ("edge", {"predictor_seeds": LARGE}),
    ("edge", {"batch_size": MANY, "momentum": [i / 3000 for i in MANY]}),
]


@pytest.mark.parametrize(("command", "recorded"), TOO_MANY, ids=[f"{name}-{[*one]}" for name, one in TOO_MANY])
def test_a_folder_can_not_ask_for_more_trials_than_fit(folder, command, recorded):
    where = folder(command, **recorded)

    def ask():
        options = resumed(KINDS[command](resume=where), where, command)
        trials_of(options, json.loads((where / "sweep.json").read_text())["options"])
        for name in ("networks", "templates"):
            getattr(options, name, list)()

    with pytest.raises(UserError, match=r"trials are too many \(.*\); at most 100000 fit|; at most 1000 layers"):
        ask()


def test_options_are_crossed_once_and_in_order():
    options = Search(widths=(1, 2, 1), depths=(3,))
    assert [*crossed(options, "widths", "depths")] == [(1, 3), (2, 3)]
    assert [*crossed(options, "widths", "depths", depths=(4, 5))] == [(1, 4), (1, 5), (2, 4), (2, 5)]
    assert len([*crossed(options, "widths", widths=range(MOST_TRIALS))]) == MOST_TRIALS
    with pytest.raises(UserError, match=r"^100001 trials are too many \(100001 --widths\); at most 100000 fit"):
        crossed(options, "widths", widths=range(MOST_TRIALS + 1))


def test_the_nearest_class_says_what_a_resume_does_with_an_option():
    @dataclass(frozen=True, kw_only=True)
    class Mine(Seeds):
        epochs: int = 3
        seeds: Annotated[tuple[int, ...], Mark.KEPT] = (1,)

    assert {name: mark for name, mark in marks(Mine).items() if name in ("epochs", "seeds", "lanes", "momentum")} == {
        "epochs": Mark.MAKES,
        "seeds": Mark.KEPT,
        "lanes": Mark.HOW,
        "momentum": Mark.KEPT,
    }


def test_options_that_are_handed_on_keep_what_was_given():
    options = with_given(LearningRateRegimes(epochs=3, lanes=2), {"epochs", "lanes"})
    assert options.handed_on(DecideOptions, scheduler="fifo").given == {"lanes", "scheduler"}


def test_new_trials_have_new_ids_and_old_ones_train_longer():
    known = {f"{i:05d}": TrialConfig(learning_rate=rate, epochs=10) for i, rate in enumerate((0.1, 1.0))}
    wanted = [replace(trial, epochs=20) for trial in known.values()]
    assert additions(known, list(known.values())) == {}
    assert additions(known, wanted) == dict(zip(known, wanted, strict=True))
    new = TrialConfig(learning_rate=0.3, epochs=10)
    assert additions(known, [*known.values(), new]) == {"00002": new}


def test_added_trials_are_numbered_on_and_longer_ones_keep_their_ids():
    known = {f"{i:05d}": TrialConfig(learning_rate=rate, epochs=4) for i, rate in enumerate((0.1, 0.2))}
    wanted = [TrialConfig(learning_rate=rate, epochs=6) for rate in (0.2, 0.3, 0.4)]
    assert additions(known, wanted) == dict(zip(("00001", "00002", "00003"), wanted, strict=True))
    assert additions(known, [replace(known["00000"], epochs=3)]) == {}


def test_values_of_numpy_and_lists_are_taken():
    assert SweepOptions(target=np.float64(0.9)).target == 0.9
    assert Seeds(seeds=[1, 2]).seeds == Seeds(seeds=range(1, 3)).seeds == Seeds(seeds=np.arange(1, 3)).seeds == (1, 2)
    assert SweepOptions(lanes=np.int64(3)).lanes == 3
    images = np.zeros((2, 3))
    assert SweepOptions(dataset=(images,)).dataset == (images,)
