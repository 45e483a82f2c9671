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


def judged(where, trials):
    """Return the sweep of a search with these trials."""
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
    def best(**columns):
        finalists = judged(tmp_path, table(**columns)).finalists()
        return finalists["trial_id"].tolist()

    assert best() == ["00001", "00000"]
    equal = best(validation_accuracy=0.9, validation_loss=[0.3, 0.2, 0.1, 0.1])
    assert equal[0] == "00001", "of equal ones, that with the least loss"
    assert best(stop_reason="slow") == []
    accuracies = [0.9, 0.95, 0.99, 0.5]
    completed = best(stop_reason="completed", validation_accuracy=accuracies)
    assert len(completed) == 3


def test_the_settings_of_the_best_are_those_that_were_trained(tmp_path):
    finalists = judged(tmp_path, table()).finalists()
    first, *_ = settings_of(finalists)
    assert first == TrialConfig(
        architecture="mlp-8-tanh",
        learning_rate=0.1,
        momentum=0.5,
        batch_size=64,
        weight_decay=1e-4,
        holdout=100,
        epochs=4,
    )


def test_of_several_seeds_the_mean_counts_and_not_the_luckiest(tmp_path):
    trials = table(
        architecture=["mlp-4-tanh", "mlp-4-tanh", "mlp-8-tanh", "mlp-8-tanh"],
        seed=[0, 1, 0, 1],
        stop_reason="completed",
        validation_accuracy=[0.99, 0.5, 0.9, 0.91],
    )
    first = judged(tmp_path, trials).best().iloc[0]
    assert first["architecture"] == "mlp-8-tanh"
    assert first["accuracy"] == pytest.approx(0.905)


NETWORKS = """
    mlp-8-tanh mlp-16-tanh mlp-8-8-tanh mlp-16-16-tanh
    mlp-8-relu-glorot mlp-16-relu-glorot mlp-8-8-relu-glorot mlp-16-16-relu-glorot
"""


def drawn_from(options):
    """Fifty trials that are drawn at random for a search."""
    return list(drawn(options.space(), 50, np.random.default_rng(0)))


def values_of(trials, name):
    return {getattr(trial, name) for trial in trials}


def test_every_draw_is_a_trial_within_its_ranges():
    options = Search(
        learning_rates="0.01:0.1", momentum=0.9, widths=(8, 16), depths=(1, 2)
    )
    trials = drawn_from(options)
    assert values_of(trials, "architecture") == set(NETWORKS.split())
    assert all(0.01 <= trial.learning_rate <= 0.1 for trial in trials)
    assert values_of(trials, "momentum") == {0.9}
    assert values_of(trials, "epochs") == {10}
    assert values_of(trials, "holdout") == {None}
    assert values_of(trials, "seed") == {0}
    assert values_of(trials, "batch_size") == {32, 64, 128, 256, 512}
    own = ("net.py:mlp", "convnet")
    assert tuple(Search(architecture=own).networks()) == own


def test_what_is_one_value_is_drawn_each_time():
    options = Search(
        learning_rates=0.1,
        momentum=0,
        weight_decay=0.0,
        batch_size=32,
        optimizer=("adam", "lion"),
    )
    trials = drawn_from(options)
    assert values_of(trials, "learning_rate") == {0.1}
    assert values_of(trials, "momentum") == {0}
    assert values_of(trials, "weight_decay") == {0}
    assert values_of(trials, "batch_size") == {32}
    assert values_of(trials, "optimizer") == {"adam", "lion"}


@pytest.mark.parametrize(
    ("options", "message"),
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
def test_bad_options_are_refused(options, message):
    with pytest.raises(UserError, match=f"^{message}"):
        Search(**options)


def test_momentum_is_of_sgd_alone():
    options = Search(optimizer=("sgd", "adam"))
    refusal = "^momentum is SGD's alone; to try adam, too, give --momentum 0"
    with pytest.raises(UserError, match=refusal):
        options.space()


def searcher_of(options):
    """The searcher of a search, which knows the space."""
    searcher = options.searcher()
    searcher.set_search_properties(None, None, {"trial": options.space()})
    return searcher


def proposals(searcher, count):
    """What a searcher proposes."""
    return [searcher.suggest(f"{number}")["trial"] for number in range(count)]


def rates_for(optimizer, trials):
    """The learning rates of the trials that have this optimizer."""
    own = [trial for trial in trials if trial["optimizer"] == optimizer]
    return [trial["learning_rate"] for trial in own]


@pytest.mark.parametrize("by", ["tpe", "random"])
def test_each_optimizer_has_its_own_range_of_learning_rates(by):
    options = Search(by=by, optimizer=("sgd", "adam"), momentum=0)
    ranges = {"sgd": (1e-3, 3), "adam": (1e-5, 0.1)}
    assert options.rates().keys() == ranges.keys()
    trials = proposals(searcher_of(options), 40)
    for optimizer, (low, high) in ranges.items():
        rates = rates_for(optimizer, trials)
        assert low <= min(rates) < 10 * low
        assert high / 10 < max(rates) <= high


def test_a_range_of_learning_rates_may_be_given_for_each_optimizer_or_for_all():
    ranges = ("0.1:0.2", "1e-4:1e-4")
    options = Search(optimizer=("adam", "lion"), learning_rates=ranges, momentum=0)
    trials = proposals(searcher_of(options), 40)
    assert set(rates_for("lion", trials)) == {1e-4}
    for_all = Search(optimizer=("sgd", "adam"), learning_rates="0.1:1")
    assert for_all.rates() == {"sgd": (0.1, 1), "adam": (0.1, 1)}
    assert Search(learning_rates=(0.1, 1)).rates() == {"sgd": [0.1, 1]}


def sampled(space):
    """A point of a space at random, as Optuna's searcher is told of it."""
    point = {}
    for name, domain in space.items():
        if hasattr(domain, "sample"):
            point[f"trial/{name}"] = domain.sample()
    return point


RANGES_OF_RATES = {"sgd": (1e-3, 3e3), "adam": (1e-5, 1e4)}
"""The first learning rate of each range, and the last one relative to it."""


def place_of(trial):
    """Where a rate is in the range of its optimizer: from 0 to 1."""
    first, factor = RANGES_OF_RATES[trial["optimizer"]]
    return np.log(trial["learning_rate"] / first) / np.log(factor)


def test_what_has_ended_is_learned_at_its_place_in_the_range_of_its_optimizer():
    """Rates two thirds up in their range are good, whichever it is; the searcher is
    told of adam's only."""
    options = Search(optimizer=("sgd", "adam"), momentum=0, weight_decay=0.0)
    searcher = searcher_of(options)
    space = options.space()
    np.random.seed(0)
    for place in np.linspace(0, 1, 60):
        rate = 1e-5 * 1e4**place
        adam = {"trial/optimizer": "adam", "trial/learning_rate": rate}
        point = sampled(space) | adam
        searcher.add_evaluated_point(point, 1 - abs(place - 2 / 3))
    places = [place_of(trial) for trial in proposals(searcher, 20)]
    assert abs(np.median(places) - 2 / 3) < 0.1


def test_a_resume_searches_the_same_space_and_may_add_trials(new_writer, tmp_path):
    writer = new_writer(tmp_path, count=0)
    options = Search(trials=12, widths=(8,), learning_rates="0.1:1")
    writer.meta |= {"name": "search", "search": True, "options": vars(options)}
    writer.finish()
    resumed = python_options(Search(resume=tmp_path))
    assert resumed.trials == 12
    assert resumed.widths == (8,)
    assert resumed.learning_rates == ("0.1:1",)
    assert resumed.resume == tmp_path
    assert python_options(Search(resume=tmp_path, trials=20)).trials == 20
    too_few = "--trials 5: .* was asked for 12 already; a resume can only add to that"
    with pytest.raises(UserError, match=too_few):
        python_options(Search(resume=tmp_path, trials=5))
    with pytest.raises(UserError, match="--learning-rates can't change in a resume"):
        python_options(Search(resume=tmp_path, learning_rates="0.2:1"))


def test_a_search_from_python_is_resumed_there(new_writer, tmp_path):
    writer = new_writer(tmp_path / "from Python", count=0)
    writer.meta |= {"name": "mine", "search": True}
    writer.finish()
    remedy = "resume it with: the same run_search, with resume="
    with pytest.raises(UserError, match=f"made by something else; {remedy}"):
        resumed_with(Search, writer.path, {})


@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
@pytest.mark.parametrize("flag", ["architecture", "task"])
def test_a_resume_loads_no_code_that_only_the_folder_names(
    new_writer, tmp_path, monkeypatch, flag
):
    (tmp_path / "evil.py").write_text(
        "open('sprung', 'w')\n\n\ndef mlp(data):\n    pass\n"
    )
    writer = new_writer(tmp_path / "sweep", count=0)
    options = dict(vars(Search(**{flag: "evil.py:mlp(3)"})))
    writer.meta |= {"name": "search", "search": True, "options": options}
    writer.finish()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["search.py", "--resume", str(writer.path)])
    too_late = Mock(side_effect=UserError("too late"))
    monkeypatch.setattr("mnist_tune.tuning.sweep.open_sweep", too_late)
    remedy = rf"mnist-tune resume \S+ --{flag} evil\.py:mlp, or"
    with pytest.raises(UserError, match=f"name it: {remedy}"):
        search.main()
    assert not (tmp_path / "sprung").exists()


def test_tpe_learns_from_the_images_held_out_and_proposes_the_same_with_the_same_seed():
    def proposed(seed):
        searcher = searcher_of(Search(seed=seed))
        assert searcher.metric == "validation_accuracy"
        assert searcher.mode == "max"
        return searcher.suggest("a trial")

    assert proposed(7) == proposed(7)
    assert proposed(7) != proposed(8)


def test_tpe_proposes_others_in_a_resume(new_writer, tmp_path, monkeypatch):
    """With the seed alone, it began with those again that it had proposed."""
    writer = new_writer(tmp_path / "found", count=3)
    options = vars(Search(trials=3, holdout=100))
    writer.meta |= {"name": "search", "search": True, "options": options}
    writer.finish()
    run_search = Mock(side_effect=UserError("not now"))
    monkeypatch.setattr(search, "search", run_search)
    words = ["search.py", "--resume", str(writer.path), "--trials", "6"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(UserError, match="not now"):
        search.main()

    def rates(searcher):
        searcher.set_search_properties(None, None, {"trial": Search().space()})
        return {trial["learning_rate"] for trial in proposals(searcher, 3)}

    resumed = run_search.call_args.args[1].search_alg
    first_rates = rates(Search().searcher())
    assert rates(resumed).isdisjoint(first_rates)


def test_tpe_learns_of_a_width_from_all_networks_that_have_it():
    """Those with 8 are good, whatever else they have. Of 30 proposals, 22 to 24 have it
    if a network is one choice of 27; if the parts are choices, 29 or 30."""
    options = Search(
        widths=(8, 16, 32), depths=(1, 2, 3), activations=("tanh", "gelu", "silu")
    )
    networks = options.networks()
    searcher = searcher_of(options)
    space = options.space()
    np.random.seed(0)
    for name, parts in networks.items():
        point = sampled(space) | {"trial/architecture": name}
        is_good = parts["width"] == 8
        searcher.add_evaluated_point(point, is_good + 0.1 * np.random.rand())
    names = [trial["architecture"] for trial in proposals(searcher, 30)]
    widths = [networks[name]["width"] for name in names]
    assert widths.count(8) >= 28


TOO_FEW = "Fewer than two settings ran to their end and learned"


@pytest.mark.parametrize(
    ("reasons", "code", "message"),
    [
        (["completed"] * 3 + ["interrupted"], 130, ""),
        (["slow"] * 3 + ["completed"], 1, TOO_FEW),
    ],
)
@pytest.mark.parametrize(
    ("flags", "drops_last"), [([], False), (["--batch-size", 32, 48], True)]
)
def test_without_two_settings_nothing_more_is_trained(
    main_of, tmp_path, monkeypatch, reasons, code, message, flags, drops_last
):
    sweep = judged(tmp_path / "found", table(stop_reason=reasons))
    run_search = Mock(return_value=sweep)
    monkeypatch.setattr(search, "search", run_search)
    words = ["--dataset", "mnist-5k", "--output", sweep.path, *flags]
    ended = exit_code(sweep.trials)
    exited, printed, _ = main_of(search, *words, print_result=ended)
    assert exited == code
    assert printed.partition(",")[0].strip() == message
    space = run_search.call_args.args[1].space
    assert space["holdout"] == 666, "a sixth, as decisions do"
    assert space["drop_last"] == drops_last, "as decisions do"


FLAGS = (
    "--trials 3 --widths 8 --depths 1 --epochs 2 --holdout 500 --weight-decay 0 --dataset mnist-5k --quiet"
    " --scheduler fifo --optimizer sgd adam --momentum 0 --max-concurrent 3"
)
RECORDED = {"max_concurrent": 3, "epochs": 2, "holdout": 500, "dataset": "mnist-5k"}
"""What the decision of such a search records among its options."""


@pytest.mark.ray
def test_a_search_ends_with_a_decision_which_a_resume_goes_on_with(
    tmp_path, one_core, monkeypatch, capsys
):
    # Ray goes on for the other tests
    monkeypatch.setattr("atexit.register", lambda function: None)
    monkeypatch.setattr(search, "FINAL_TRIALS", 6)
    folder = tmp_path / "found"
    words = ["search.py", *FLAGS.split(), "--output", str(folder)]
    monkeypatch.setattr(sys, "argv", words)
    assert search.main() == 0
    searched = load_sweep(folder)
    [place] = folder.glob("decision-*")
    assert searched.trials["stop_reason"].tolist() == ["completed"] * 3
    assert set(searched.trials["weight_decay"]) == {0}
    finalists = searched.finalists()["trial_id"]
    assert place.name == "-".join(["decision", *finalists])

    decided = load_sweep(place)
    assert len(decided.trials) == 6
    assert decided.meta["options"].items() >= RECORDED.items()
    assert set(decided.trials["seed"]).isdisjoint({0})
    assert set(decided.trials["learning_rate"]) == set(searched.trials["learning_rate"])
    answer = searched.answer()
    assert "compared on fresh seeds" in answer.headline
    page = unescape((searched.path / "report.html").read_text())
    assert answer.lines[0] in page

    text = capsys.readouterr().out
    assert text.endswith(f"\nDecision: mnist-tune show {place}\n")
    beginnings = ("So far ", "Is it", "Which of")
    answers = [line for line in text.splitlines() if line.startswith(beginnings)]
    assert answers == [answer.headline], "one table, and one answer"
    table_text = text.split("Results: ")[0]
    for accuracy in searched.trials["test_accuracy"]:
        assert f"{accuracy:.4f}" not in table_text
    [question] = answer.questions
    command = f"mnist-tune resume {place} --trials 12"
    assert question == ("More seeds may settle it:", command)

    resume_sweep(place, quiet=True, trials=9)
    assert len(load_sweep(place).trials) == 9
    # a resume of the search leaves its decision as it is
    resume_sweep(searched.path, quiet=True)
    assert len(load_sweep(place).trials) == 9
    resumed = load_sweep(searched.path)
    assert resumed.final.path == place
    leader = int(decided.decision.decision.leader)
    assert searched.leading()[0] == finalists[leader]
    assert resumed.trials.equals(searched.trials)
