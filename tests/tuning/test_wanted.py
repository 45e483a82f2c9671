"""What a command asks for on top of what a folder records, and which trials follow."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from kept_texts import assert_kept
from recorded_data import recorded_data

from mnist_tune import DecideOptions, EdgeOptions, SweepOptions, TrialConfig, UserError
from mnist_tune.commands.architectures import Architectures
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.commands.notebook import Notebook
from mnist_tune.commands.search import Search
from mnist_tune.commands.seeds import Seeds
from mnist_tune.own_code.registry import ENTRIES, Entry
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

NEVER_TAKEN = {"address", "dashboard", "output", "resume", "retry_errored", "quiet", "smoke", "sweep", "dry_run"}
"""Options that come from no folder."""

VALUES = {
    "target": (0.5, 0.6),
    "learned": (0.5, 0.6),
    "precision": (0.2, 0.3),
    "tolerance": (0.2, 0.3),
    "architecture": (("mlp-4-tanh",), ("mlp-8-tanh",)),
    "optimizer": (("adam",), ("lion",)),
    "learning_rate": (0.3, 0.5),
    "momentum": ((0.5,), (0.6,)),
    "weight_decay": (0.01, 0.02),
    "address": ("head:1", "head:2"),
    "dataset": ("mnist-5k", "mnist"),
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


MANY, LARGE = [*range(3000)], 10**9
TOO_MANY = [
    ("lr_regimes", {"learning_rates": ["1e-3:4:1000000000"]}),
    ("lr_regimes", {"learning_rates": [f"1e-3:{i}:50001" for i in range(1, 3000)]}),
    ("lr_regimes", {"learning_rates": ["1e-3:4:3000"], "seeds": MANY}),
    ("seeds", {"seeds": [*range(100_001)]}),
    ("notebook", {"seeds": [*range(100_001)]}),
    ("architectures", {"depths": [LARGE]}),
    ("architectures", {"depths": MANY, "widths": MANY}),
    ("architectures", {"batch_size": MANY, "seeds": MANY}),
    ("search", {"samples": LARGE}),
    ("search", {"widths": MANY, "depths": MANY}),
    ("search", {"depths": [LARGE]}),
    ("edge", {"trials": LARGE}),
    ("edge", {"batch_size": MANY, "momentum": [i / 3000 for i in MANY]}),
]


def plain(value):
    return str(value) if isinstance(value, Path) else value


@pytest.fixture
def folder(tmp_path):
    """A function that returns a folder which records the options of a command, with some changed."""

    def make(command, /, without=(), **changed):
        known = COMMANDS[command]().values() | changed
        options = {name: plain(value) for name, value in known.items() if name not in without}
        meta = {"name": command, "trials": {}, "options": options, "search": command in ("edge", "search", "decide")}
        meta["dataset"] = recorded_data("mnist-5k")
        (tmp_path / "sweep.json").write_text(json.dumps(meta))
        return tmp_path

    return make


def said(call):
    """Return what a function returns, or with which words it refuses."""
    try:
        return repr(call())
    except UserError as error:
        return f"refused: {error}"


CANT = re.compile(r"refused: --\S+ can't change in a resume: .*?, or start a new sweep")
ADDS = re.compile(r"refused: --\S+ \S+ .* a resume can only add to that")


@pytest.mark.promise("Each option is added to, may change, is kept, or is never taken from a folder, as its table says")
def test_what_a_resume_makes_of_each_option(folder):
    """An option that is recorded is left out, or is given its default, or another value. An option that a command
    shares with the first one stands there, unless it is marked otherwise."""
    alike, lines, first = defaultdict(list), [], marks(LearningRateRegimes)
    for command, kind in COMMANDS.items():
        for one in fields(kind):
            name, mark, values = one.name, marks(kind)[one.name], two_values(kind, one)
            known = kind is not LearningRateRegimes and first.get(name) is mark
            if known or not values or name in ("resume", "output", "sweep"):
                continue
            (before, other), default = values, getattr(kind(), name)
            where = folder(command, **{name: before})

            def found(name=name, kind=kind, where=where, command=command, **given):
                outcome = said(lambda: getattr(resumed(kind(resume=where, **given), where, command), name))
                return ADDS.sub("only adds", CANT.sub("can't change", outcome))

            names = {repr(before): "as before", repr(other): "as given", repr(default): "the default"}
            assert found(**{name: before}) == repr(before)
            outcomes = [names.get(one, one) for one in (found(), found(**{name: default}), found(**{name: other}))]
            alike[mark.name, *outcomes].append(f"{command}.{name}")
    for (mark, absent, default, other), names in alike.items():
        lines.append(f"{mark}: left out, {absent}; its default, {default}; another, {other}: {', '.join(names)}")
    assert_kept("options in a resume", "\n".join(lines).replace("PosixPath", "") + "\n")


def test_a_decision_is_resumed_by_the_path_at_which_it_found_the_code_of_its_sweep(folder, monkeypatch):
    where, moved = folder("decide", architecture=("moved/net.py:mlp",)), Entry(lambda: len)
    meta = json.loads((where / "sweep.json").read_text())
    meta["code"] = [{"flag": "architecture", "name": "net.py:mlp", "files": {}}]
    (where / "sweep.json").write_text(json.dumps(meta))
    monkeypatch.setitem(ENTRIES, "architecture", {"moved/net.py:mlp": moved})
    resumed(DecideOptions(resume=where, architecture=("moved/net.py:mlp",)), where, "decide")
    assert ENTRIES["architecture"]["net.py:mlp"] is moved


@pytest.mark.promise("Recorded options are taken only if their types are right")
@pytest.mark.promise("A folder can't ask for more than 100,000 trials")
def test_what_a_resume_refuses_or_allows(folder):
    """Each line: the command, what its folder records or lacks, what is asked for, and what comes of it."""
    lines = []

    def resume(command, recorded, given, by=None, without=(), **meta):
        where, kind = folder(command, without, **recorded), COMMANDS[by or command]
        file = where / "sweep.json"
        told = json.loads(file.read_text()) | meta
        file.write_text(json.dumps({key: one for key, one in told.items() if one != "gone"}))

        def found():
            options = resumed(kind(resume=where, **given), where, by or command)
            trials = trials_of(options, json.loads(file.read_text()).get("options", {}))
            for several in ("networks", "templates"):
                getattr(options, several, list)()
            return {one: getattr(options, one) for one in (*given, *recorded)} | {"trials": len(trials)}

        how = f"by {by}" * bool(by), str(given or ""), str(meta or ""), f"without {len(without)}" * bool(without)
        outcome = said(found).replace(str(where), "HERE").replace("PosixPath", "")
        lines.append(" ".join(filter(None, (command, str(recorded or "")[:60], *how, "->", outcome))))

    own = {one.name for one in fields(LearningRateRegimes)} - {one.name for one in fields(SweepOptions)}
    two = ("net.py:mlp(width=3)", "mlp-4-tanh")
    code = [{"flag": "architecture", "name": "net.py:mlp", "files": {}}]
    for name in ("net.py:mlp", "net.py:other", "mlp-8-tanh", "net.py:mlp(width=4)"):
        resume("lr_regimes", {"architecture": two}, {"architecture": (name,)}, code=code)
    for name in ("net.py:mlp", "net.py:other", "net.py:mlp(width=4)", "mlp-4-tanh"):
        given = {"architecture": (name,)}
        resume("lr_regimes", {}, given, without=own, name="mine", code=code)
        resume("decide", {}, given, code=code)
    resume("lr_regimes", {}, {"optimizer": ("net.py:mlp",)}, code=code)
    resume("lr_regimes", {"data_dir": "data"}, {})
    resume("lr_regimes", {"data_dir": "data"}, {"dataset": "mnist"})
    resume("lr_regimes", {"data_dir": "data"}, {"dataset": "mnist", "data_dir": Path("moved")})
    for given in ({}, {"epochs": 10}, {"learning_rates": (0.3,)}, {"batch_size": (128,)}):
        resume("lr_regimes", {}, given, without=own)
    resume("lr_regimes", {}, {"learning_rates": (0.3,)}, without={"batch_size"})
    resume(
        "lr_regimes",
        {"learning_rates": ("0.01:1:3",), "seeds": (0,), "epochs": 4},
        {"learning_rates": (2.0,), "seeds": (1,), "epochs": 5},
    )
    for given in ({"epochs": 20}, {"learning_rates": (1.0,)}, {"epochs": 10}):
        resume("lr_regimes", {"schedule": "cosine", "learning_rates": (0.1,)}, given)
    resume("lr_regimes", {}, {"stop_when_diverged": False})
    resume("lr_regimes", {"sharpness": True}, {"sharpness": False})
    for name in ("lr_regimes", "search"):
        resume("seeds", {}, {}, name)
    resume("search", {}, {}, without={"samples"})
    resume("lr_regimes", {}, {}, None, (), name="mine")
    resume("lr_regimes", {}, {"max_concurrent": 3}, options="gone")
    wrong = {
        "grace_period": [5, "--address=evil:6379"],
        "scheduler": "hyperband",
        "max_concurrent": ["x"],
        "target": True,
    }
    wrong |= {"lanes": 2.5, "epochs": "10", "seeds": [[1]], "learning_rates": {"a": 1}, "architecture": "mlp"}
    for name, value in wrong.items():
        resume("lr_regimes", {name: value}, {})
    for command, recorded in TOO_MANY:
        resume(command, recorded, {})
    assert_kept("what a resume refuses", "\n".join(lines) + "\n")


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


@pytest.mark.promise("`--time-budget None` lifts a limit")
def test_a_recorded_limit_can_be_lifted(folder):
    where = folder("lr_regimes", time_budget=60.0)
    given = asked(LearningRateRegimes, ["--resume", str(where), "--time-budget", "None"])
    assert resumed(given, where, "lr_regimes").time_budget is None
    assert resumed(LearningRateRegimes(resume=where), where, "lr_regimes").time_budget == 60.0


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
