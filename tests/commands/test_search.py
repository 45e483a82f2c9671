"""`search`: what it draws, how it chooses, and that the test set is looked at for the
winner only."""

import sys
from html import unescape
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from recorded_data import recorded_data

from mnist_tune import UserError, load_sweep, resume_sweep
from mnist_tune.commands import search
from mnist_tune.commands.search import Search
from mnist_tune.judged import Judged, settings_of
from mnist_tune.reports.terminal import exit_code
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.resuming import python_options, resumed_with
from mnist_tune.tuning.searcher import drawn
from validation.label_cuts import complete


def table(**columns):
    """Return the trials of a search: the best one on the test set is not the best on
    the images held out."""
    usual = {
        "trial_id": [f"0000{i}" for i in range(4)],
        "architecture": ["mlp-4-tanh", "mlp-8-tanh", "mlp-16-tanh", "mlp-32-tanh"],
        "learning_rate": 0.1,
        "momentum": 0.5,
        "batch_size": 64,
        "weight_decay": 1e-4,
        "holdout": 100,
        "epochs_asked": 4,
        "epochs_run": [4, 4, 3, 2],
        "validation_accuracy": [0.9, 0.95, 0.99, 0.1],
        "validation_loss": 0.3,
        "test_accuracy": [0.987654, 0.9, 0.9, 0.9],
        "test_loss": 0.3,
        "regime": "converged",
        "stop_reason": ["completed", "completed", "slow", "diverged"],
        "error": "",
    }
    return complete(pd.DataFrame(usual | columns))


def found(where, trials):
    """Return what a search found."""
    meta = {
        "name": "search",
        "ended": "now",
        "search": True,
        "options": {},
        "dataset": recorded_data("mnist"),
    }
    return Judged(where, trials, pd.DataFrame(), meta)


def test_the_best_are_those_on_the_images_held_out_that_were_trained_to_their_end(
    tmp_path,
):
    def best(trials):
        return found(tmp_path, trials).finalists()["trial_id"].tolist()

    assert best(table()) == ["00001", "00000"]
    assert settings_of(found(tmp_path, table()).finalists())[0] == TrialConfig(
        architecture="mlp-8-tanh",
        learning_rate=0.1,
        momentum=0.5,
        batch_size=64,
        weight_decay=1e-4,
        holdout=100,
        epochs=4,
    )
    equal = table(validation_accuracy=0.9, validation_loss=[0.3, 0.2, 0.1, 0.1])
    assert best(equal)[0] == "00001", "of equal ones, that with the least loss"
    assert best(table(stop_reason="slow")) == []
    assert (
        len(
            best(
                table(
                    stop_reason="completed", validation_accuracy=[0.9, 0.95, 0.99, 0.5]
                )
            )
        )
        == 3
    )


def test_of_several_seeds_the_mean_counts_and_not_the_luckiest(tmp_path):
    trials = table(
        architecture=["mlp-4-tanh"] * 2 + ["mlp-8-tanh"] * 2,
        seed=[0, 1] * 2,
        stop_reason="completed",
        validation_accuracy=[0.99, 0.5, 0.9, 0.91],
    )
    first = found(tmp_path, trials).best().iloc[0]
    assert (first["architecture"], first["accuracy"]) == (
        "mlp-8-tanh",
        pytest.approx(0.905),
    )


def test_every_draw_is_a_trial_within_its_ranges():
    space = Search(
        learning_rates="0.01:0.1", momentum=0.9, widths=(8, 16), depths=(1, 2)
    ).space()
    trials = list(drawn(space, 50, np.random.default_rng(0)))
    assert {trial.architecture for trial in trials} == {
        f"mlp-{shape}-{kind}"
        for shape in ("8", "16", "8-8", "16-16")
        for kind in ("tanh", "relu-glorot")
    }
    assert all(0.01 <= trial.learning_rate <= 0.1 for trial in trials)
    assert {
        (trial.momentum, trial.epochs, trial.holdout, trial.seed) for trial in trials
    } == {(0.9, 10, None, 0)}
    assert {trial.batch_size for trial in trials} == {32, 64, 128, 256, 512}
    assert [*Search(architecture=("net.py:mlp", "convnet")).networks()] == [
        "net.py:mlp",
        "convnet",
    ]
    fixed = Search(
        learning_rates=0.1,
        momentum=0,
        weight_decay=0.0,
        batch_size=32,
        optimizer=("adam", "lion"),
    )
    trials = list(drawn(fixed.space(), 50, np.random.default_rng(0)))
    numbers = {
        (trial.learning_rate, trial.momentum, trial.weight_decay, trial.batch_size)
        for trial in trials
    }
    assert numbers == {(0.1, 0, 0, 32)}
    assert {trial.optimizer for trial in trials} == {"adam", "lion"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"learning_rates": "1:0.1"},
            "--learning-rates can't be '1:0.1'; write values, or a range FIRST:LAST, such as",
        ),
        ({"learning_rates": "0:1"}, "--learning-rates can't be '0:1'"),
        ({"learning_rates": "0.1:inf"}, "--learning-rates can't be '0.1:inf'"),
        (
            {"optimizer": ("sgd", "adam"), "learning_rates": ("0.1:1", "1:0.1")},
            "--learning-rates can't be '1:0.1'",
        ),
        ({"weight_decay": "a"}, "--weight-decay can't be 'a'"),
        (
            {"trials": 0},
            "--trials must be a whole number of at least 1 and at most 100000, got 0",
        ),
        ({"widths": ()}, "--widths needs at least one value"),
        ({"weight_decay": "0:1"}, "--weight-decay can't be '0:1'"),
        ({"activations": ("tanh", "tahn")}, "--activations can't be "),
        ({"widths": (16, -3)}, "--widths must be a whole number of at least 1, got -3"),
        (
            {"depths": (-1,)},
            "--depths must be a whole number of at least 0 and at most 999, got -1",
        ),
        (
            {"momentum": "0:2"},
            "--momentum can't be '0:2'; write values, or a range FIRST:LAST, such as 0:0.95",
        ),
    ],
)
def test_bad_options_are_refused(options, said):
    with pytest.raises(UserError, match=f"^{said}"):
        Search(**options)


def test_momentum_is_of_sgd_alone():
    with pytest.raises(
        UserError,
        match=r"^momentum is SGD's alone; to try adam, too, give --momentum 0",
    ):
        Search(optimizer=("sgd", "adam")).space()


def proposals(options, count=40):
    """What a search proposes."""
    searcher = options.searcher()
    searcher.set_search_properties(None, None, {"trial": options.space()})
    return [searcher.suggest(f"{i}")["trial"] for i in range(count)]


@pytest.mark.parametrize("by", ["tpe", "random"])
def test_each_optimizer_has_its_own_range_of_learning_rates(by):
    options = Search(by=by, optimizer=("sgd", "adam"), momentum=0)
    found = {
        name: [
            one["learning_rate"]
            for one in proposals(options)
            if one["optimizer"] == name
        ]
        for name in options.rates()
    }
    for name, (low, high) in {"sgd": (1e-3, 3), "adam": (1e-5, 0.1)}.items():
        rates = found[name]
        assert low <= min(rates) < 10 * low
        assert high / 10 < max(rates) <= high
    named = Search(
        optimizer=("adam", "lion"), learning_rates=("0.1:0.2", "1e-4:1e-4"), momentum=0
    )
    assert {
        one["learning_rate"] for one in proposals(named) if one["optimizer"] == "lion"
    } == {1e-4}
    assert Search(
        optimizer=("sgd", "adam"), learning_rates="0.1:1"
    ).rates() == dict.fromkeys(("sgd", "adam"), (0.1, 1))
    assert Search(learning_rates=(0.1, 1)).rates() == {"sgd": [0.1, 1]}


def test_what_has_ended_is_learned_at_its_place_in_the_range_of_its_optimizer():
    """Rates two thirds up in their range are good, whichever it is; the searcher is
    told of adam's only."""
    options = Search(optimizer=("sgd", "adam"), momentum=0, weight_decay=0.0)
    searcher, space = options.searcher(), options.space()
    searcher.set_search_properties(None, None, {"trial": space})
    np.random.seed(0)
    for place in np.linspace(0, 1, 60):
        point = {
            f"trial/{key}": value.sample()
            for key, value in space.items()
            if hasattr(value, "sample")
        }
        point |= {"trial/optimizer": "adam", "trial/learning_rate": 1e-5 * 1e4**place}
        searcher.add_evaluated_point(point, 1 - abs(place - 2 / 3))
    found = [searcher.suggest(f"{i}")["trial"] for i in range(20)]
    ranges = {"sgd": (1e-3, 3e3), "adam": (1e-5, 1e4)}
    places = [
        np.log(one["learning_rate"] / ranges[one["optimizer"]][0])
        / np.log(ranges[one["optimizer"]][1])
        for one in found
    ]
    assert abs(np.median(places) - 2 / 3) < 0.1


def test_a_resume_searches_the_same_space_and_may_add_trials(new_writer, tmp_path):
    writer = new_writer(tmp_path, count=0)
    asked = Search(trials=12, widths=(8,), learning_rates="0.1:1")
    writer.meta |= {"name": "search", "search": True, "options": vars(asked)}
    writer.finish()
    again = python_options(Search(resume=tmp_path))
    assert (again.trials, again.widths, again.learning_rates, again.resume) == (
        12,
        (8,),
        ("0.1:1",),
        tmp_path,
    )
    assert python_options(Search(resume=tmp_path, trials=20)).trials == 20
    with pytest.raises(
        UserError,
        match=r"--trials 5: .* was asked for 12 already; a resume can only add to that",
    ):
        python_options(Search(resume=tmp_path, trials=5))
    with pytest.raises(UserError, match="--learning-rates can't change in a resume"):
        python_options(Search(resume=tmp_path, learning_rates="0.2:1"))
    python = new_writer(tmp_path / "from Python", count=0)
    python.meta |= {"name": "mine", "search": True}
    python.finish()
    with pytest.raises(
        UserError,
        match=r"made by something else; resume it with: the same run_search, with resume=",
    ):
        resumed_with(Search, tmp_path / "from Python", {})


@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
@pytest.mark.parametrize("flag", ["architecture", "task"])
def test_a_resume_loads_no_code_that_only_the_folder_names(
    new_writer, tmp_path, monkeypatch, flag
):
    (tmp_path / "evil.py").write_text(
        "open('sprung', 'w')\n\n\ndef mlp(data):\n    pass\n"
    )
    writer = new_writer(tmp_path / "sweep", count=0)
    writer.meta |= {
        "name": "search",
        "search": True,
        "options": dict(vars(Search(**{flag: "evil.py:mlp(3)"}))),
    }
    writer.finish()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["search.py", "--resume", str(writer.path)])
    monkeypatch.setattr(
        "mnist_tune.tuning.sweep.open_sweep", Mock(side_effect=UserError("too late"))
    )
    with pytest.raises(
        UserError, match=rf"name it: mnist-tune resume \S+ --{flag} evil\.py:mlp, or"
    ):
        search.main()
    assert not (tmp_path / "sprung").exists()


def test_tpe_learns_from_the_images_held_out_and_proposes_the_same_with_the_same_seed():
    def proposed(seed):
        searcher = Search(seed=seed).searcher()
        assert (searcher.metric, searcher.mode) == ("validation_accuracy", "max")
        searcher.set_search_properties(None, None, {"trial": Search().space()})
        return searcher.suggest("a trial")

    assert proposed(7) == proposed(7) != proposed(8)


def test_tpe_proposes_others_in_a_resume(new_writer, tmp_path, monkeypatch):
    """With the seed alone, it began with those again that it had proposed."""
    writer = new_writer(tmp_path / "found", count=3)
    writer.meta |= {
        "name": "search",
        "search": True,
        "options": vars(Search(trials=3, holdout=100)),
    }
    writer.finish()
    run_search = Mock(side_effect=UserError("not now"))
    monkeypatch.setattr(search, "search", run_search)
    monkeypatch.setattr(
        sys, "argv", ["search.py", "--resume", str(writer.path), "--trials", "6"]
    )
    with pytest.raises(UserError, match="not now"):
        search.main()

    def rates(searcher):
        searcher.set_search_properties(None, None, {"trial": Search().space()})
        return {searcher.suggest(name)["trial"]["learning_rate"] for name in "abc"}

    assert rates(run_search.call_args.args[1].search_alg).isdisjoint(
        rates(Search().searcher())
    )


def test_tpe_learns_of_a_width_from_all_networks_that_have_it():
    """Those with 8 are good, whatever else they have. Of 30 proposals, 22 to 24 have it
    if a network is one choice of 27; if the parts are choices, 29 or 30."""
    options = Search(
        widths=(8, 16, 32), depths=(1, 2, 3), activations=("tanh", "gelu", "silu")
    )
    searcher, networks, space = options.searcher(), options.networks(), options.space()
    searcher.set_search_properties(None, None, {"trial": space})
    np.random.seed(0)
    for name, parts in networks.items():
        point = {
            f"trial/{key}": value.sample()
            for key, value in space.items()
            if hasattr(value, "sample")
        }
        value = (parts["width"] == 8) + 0.1 * np.random.rand()
        searcher.add_evaluated_point(point | {"trial/architecture": name}, value)
    found = [searcher.suggest(f"{i}")["trial"]["architecture"] for i in range(30)]
    assert sum(networks[name]["width"] == 8 for name in found) >= 28


@pytest.mark.parametrize(
    ("reasons", "code", "says"),
    [
        (["completed"] * 3 + ["interrupted"], 130, ""),
        (
            ["slow"] * 3 + ["completed"],
            1,
            "Fewer than two settings ran to their end and learned",
        ),
    ],
)
def test_without_two_settings_nothing_more_is_trained(
    main_of, tmp_path, monkeypatch, reasons, code, says
):
    done = found(tmp_path / "found", table(stop_reason=reasons))
    monkeypatch.setattr(search, "search", planned := Mock(return_value=done))
    asked, told = (
        ["--dataset", "mnist-5k", "--output", done.path],
        {"print_result": exit_code(done.trials)},
    )
    for flags, drops_last in (([], False), (["--batch-size", 32, 48], True)):
        ended, said, _ = main_of(search, *asked, *flags, **told)
        assert (ended, said.partition(",")[0].strip()) == (code, says)
        space = planned.call_args.args[1].space
        assert (space["holdout"], space["drop_last"]) == (666, drops_last), (
            "a sixth, and as decisions do"
        )


@pytest.mark.ray
def test_a_search_ends_with_a_decision_which_a_resume_goes_on_with(
    tmp_path, one_core, monkeypatch, capsys
):
    # Ray goes on for the other tests
    monkeypatch.setattr("atexit.register", lambda function: None)
    monkeypatch.setattr(search, "FINAL_TRIALS", 6)
    flags = "--trials 3 --widths 8 --depths 1 --epochs 2 --holdout 500 --weight-decay 0 --dataset mnist-5k --quiet"
    flags += f" --scheduler fifo --optimizer sgd adam --momentum 0 --max-concurrent 3 --output {tmp_path / 'found'}"
    monkeypatch.setattr(sys, "argv", ["search.py", *flags.split()])
    assert search.main() == 0
    searched, [place] = (
        load_sweep(tmp_path / "found"),
        (tmp_path / "found").glob("decision-*"),
    )
    assert searched.trials["stop_reason"].tolist() == ["completed"] * 3
    assert set(searched.trials["weight_decay"]) == {0}
    assert place.name == "-".join(["decision", *searched.finalists()["trial_id"]])
    decided = load_sweep(place)
    assert len(decided.trials) == 6
    options = [
        decided.meta["options"][name]
        for name in ("max_concurrent", "epochs", "holdout", "dataset")
    ]
    assert options == [3, 2, 500, "mnist-5k"]
    assert set(decided.trials["seed"]).isdisjoint({0})
    assert set(decided.trials["learning_rate"]) == set(searched.trials["learning_rate"])
    assert "compared on fresh seeds" in searched.answer().headline
    assert searched.answer().lines[0] in unescape(
        (searched.path / "report.html").read_text()
    )
    said = capsys.readouterr().out
    assert said.endswith(f"\nDecision: mnist-tune show {place}\n")
    answers = [
        line
        for line in said.splitlines()
        if line.startswith(("So far ", "Is it", "Which of"))
    ]
    assert answers == [searched.answer().headline], "one table, and one answer"
    tests = [f"{one:.4f}" for one in searched.trials["test_accuracy"]]
    assert not [one for one in tests if one in said.split("Results: ")[0]]
    [asked] = searched.answer().questions
    assert asked == (
        "More seeds may settle it:",
        f"mnist-tune resume {place} --trials 12",
    )
    # a resume of the search leaves its decision as it is
    for path in (place, searched.path):
        resume_sweep(path, quiet=True, **{"trials": 9} if path == place else {})
        assert len(load_sweep(place).trials) == 9
    assert load_sweep(searched.path).final.path == place
    assert (
        searched.leading()[0]
        == searched.finalists()["trial_id"][int(decided.decision.decision.leader)]
    )
    assert load_sweep(searched.path).trials.equals(searched.trials)
