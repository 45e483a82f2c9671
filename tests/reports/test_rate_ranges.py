"""What is true of a family's learning rates: where each regime is found, its range, and
what to try next."""

import math
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
from families import REPLICATES, family
from text_tables import barred_rows

from mnist_tune.answers.rates import converging, edge_to_find, rates_to_try
from mnist_tune.answers.spans import spans as found_spans
from mnist_tune.answers.steps import NextStep, StepKind, Why
from mnist_tune.continuation import code_flags, resume_command
from mnist_tune.own_code.registry import ENTRIES, Entry, is_named_again
from mnist_tune.own_code.signature import RecordedCode
from mnist_tune.reports.questions import proposed, questions
from mnist_tune.reports.ranges import spans_in_words
from mnist_tune.results.sweep_meta import SweepMeta


def following(trials, best=math.nan, name="lr_regimes", **options):
    """What to try next with a family: the question, and the command."""
    record = SweepMeta.of({"name": name, "options": options})
    step = rates_to_try(trials, record, best)
    return in_words(step, record, "a folder")


def in_words(step, record, where=""):
    """A step in words: the question, and the command."""
    if step is None:
        return "", ""
    sweep = SimpleNamespace(record=record, final=None)
    [question] = questions([step], sweep, where)
    return question


def spans(trials):
    return spans_in_words(found_spans("", trials))


NAMES = {
    "c": "converged",
    "o": "oscillating",
    "s": "slow",
    "d": "diverged",
    "u": "undecided",
    "f": "underfit",
    "v": "overfit",
}
"""The regimes, by the letters that stand for them here."""


def named(letters):
    return [NAMES[letter] for letter in letters]


def family_of(letters_by_rate):
    """A family in which the seeds of a rate have these regimes, a letter each."""
    seeds = {}
    for rate, letters in letters_by_rate.items():
        seeds[rate] = [(regime, 0.9) for regime in named(letters)]
    return family(seeds)


def test_a_rate_has_the_regime_of_most_of_its_seeds():
    """If two regimes have equally many seeds, the less calm one counts. A range holds
    rates that have a seed in it."""
    assert spans(REPLICATES) == ["converges to 1", "diverges from 1.3 (2 of 4 trials)"]
    mixed = family_of({0.1: "sss", 0.2: "sff", 0.4: "scc", 0.8: "sss", 1.6: "coo"})
    assert spans(mixed) == [
        "slow 0.1, 0.8",
        "underfits 0.2 (2 of 3 seeds)",
        "converges 0.4 (2 of 3 seeds)",
        "oscillates 1.6 (2 of 3 seeds)",
    ]


def test_rates_at_which_not_all_seeds_agree_are_named():
    some_diverge = family_of({0.1: "ccc", 0.2: "ccc", 0.4: "cdc"})
    counts = "8 of 9 trials, not all at 0.4"
    assert spans(some_diverge) == [f"converges at all rates, 0.1–0.4 ({counts})"]


def test_gaps_and_cut_trials_are_named():
    letters = {0.1: "s", 0.2: "u", 0.4: "c", 0.7: "o", 1.0: "c", 1.3: "u"}
    table = family_of(letters)
    table.loc[1, "reason"] = "on_its_way"
    table.loc[5, ["epochs_run", "reason"]] = 5, "level_or_slow"
    assert spans(table) == [
        "slow 0.1",
        "on its way 0.2",
        "converges 0.4, 1",
        "oscillates 0.7",
        "undecided 1.3 (cut after 5 epochs)",
    ]


@pytest.mark.parametrize(
    ("letters", "epochs", "lines"),
    [
        (
            {0.1: "uu", 0.2: "u"},
            [5, 9, 7],
            ["undecided at all rates, 0.1–0.2 (cut after 5 to 9 epochs)"],
        ),
        (
            {0.1: "uu", 0.2: "u"},
            [1, 3, 10],
            ["undecided at all rates, 0.1–0.2 (2 cut after 1 to 3 epochs)"],
        ),
        (
            {0.1: "c", 0.2: "su"},
            [10, 2, 2],
            ["converges 0.1", "undecided 0.2 (1 of 2 seeds) (cut after 2 epochs)"],
        ),
        (
            {0.1: "s", 0.2: "u", 0.4: "uu"},
            [3, 10, 4, 10],
            ["slow 0.1", "undecided from 0.2 (1 cut after 4 epochs)"],
        ),
    ],
)
def test_only_undecided_trials_are_said_to_be_cut(letters, epochs, lines):
    table = family_of(letters)
    assert spans(table.assign(epochs_run=epochs)) == lines


def test_many_runs_of_a_regime_are_counted():
    rates = range(1, 13)
    table = family_of(dict(zip(rates, "co" * 6, strict=True)))
    converges = "converges at 6 of the 11 rates 1–11"
    oscillates = "oscillates at 6 of the 11 rates 2–12"
    assert spans(table) == [converges, oscillates]


def test_rates_that_look_alike_are_told_apart():
    table = family({1.0001: [("converged", 0.9)], 1.0002: [("diverged", 0.1)]})
    assert spans(table) == ["converges 1.0001", "diverges 1.0002"]


def test_rates_and_seeds_that_never_trained_are_not_claimed():
    table = family(
        {
            0.1: [("converged", 0.9)],
            0.2: [("converged", 0.9)],
            0.8: [("undecided", 0.1)],
        }
    )
    table = table.assign(epochs_run=[10, 10, 0])
    assert spans(table) == ["converges at all rates that trained, 0.1–0.2"]
    seeds = family_of({0.1: "cu"}).assign(epochs_run=[10, 0])
    assert spans(seeds) == ["converges 0.1"], "nor is that seed counted"
    rates = 0.1 * 2.0 ** np.arange(6)
    table = family_of(dict(zip(rates, "sssccc", strict=True)))
    table = table.assign(epochs_run=[0, 10, 10, 10, 10, 0])
    assert spans(table) == ["slow 0.2–0.4", "converges 0.8–1.6"]


def test_regimes_are_said_in_the_order_of_their_rates():
    rates = 0.1 * np.arange(1, 7)
    lines = spans(family_of(dict(zip(rates, "dvcufs", strict=True))))
    verbs = " ".join(line.split()[0] for line in lines)
    assert verbs == "diverges overfits converges undecided underfits slow"


def test_a_trial_is_on_its_way_where_its_reason_says_so(
    new_writer, epoch_row, tmp_path
):
    """Also where no more is known than that it gets there later than some epoch."""
    writer = new_writer(tmp_path / "sweep", count=1)
    writer.meta["trials"]["00000"]["epochs"] = 20
    for epoch in range(1, 11):
        error = 0.55 * epoch**-0.45
        writer.epoch("00000", epoch_row(epoch, 3 * error, 1 - error), False)
    trials = writer.finish().trials
    assert trials["reason"].item() == "on_its_way"
    evidence = trials["regime_evidence"].item()
    assert evidence.startswith("on its way: would reach 0.91 later than epoch ")
    assert np.isnan(trials["reaches"].item())
    assert spans(trials) == ["on its way 0.1"]


def test_up_to_three_runs_of_a_regime_are_named_each_with_its_own_share():
    rows = family(
        {
            1: [("converged", 0.9)],
            2: [("slow", 0.9)],
            3: [("converged", 0.9)],
            4: [("slow", 0.9)],
            5: [("converged", 0.9), ("diverged", 0.1)],
        }
    )
    five_rates = ["converges 1, 3", "slow 2, 4", "diverges 5 (1 of 2 seeds)"]
    assert spans(rows) == five_rates
    seven_rates = family_of(dict(zip(range(1, 8), "scscscs", strict=True)))
    slow, converges = spans(seven_rates.assign(seed=range(7)))
    assert slow == "slow at 4 of the 7 rates 1–7"
    assert converges == "converges 2, 4, 6"


COMMAND = "mnist-tune resume 'a folder' --learning-rates"

NEXT_RATES = """
    0.1 0.2 0.22    | ssd  |                               |
    1e-6 1e-5       | uu   |                               |
    1e-6 1e-5       | ff   |                               |
    1.0 1.0001      | cd   |                               |
    0.1 1.0 1.1     | cco  |                               |
    0.01 0.1 1.0    | ccc  | No edge yet, try larger rates | 2.15 4.64 10
    0.1 0.4 1.0     | ccu  | No edge yet, try larger rates | 2.15 4.64 10
    0.1 0.2 0.4     | sss  | No edge yet, try larger rates | 0.862 1.86 4
    0.1             | s    | No edge yet, try larger rates | 0.215 0.464 1
    1e-6 1e-5       | ss   | No edge yet, try larger rates | 2.15e-05 4.64e-05 0.0001
    0.1 0.2 0.4     | ooo  | Try smaller rates             | 0.0464 0.0215 0.01
    0.1 1.0 3.0     | cco  | Try rates between:            | 1.25 1.55 1.93 2.41
    0.1 0.4 1.0 3.0 | cuco | Try rates between:            | 1.25 1.55 1.93 2.41
    0.1 0.4 1.0 3.0 | ccuo | Try rates between:            | 1.25 1.55 1.93 2.41
    0.1 0.2 0.4     | sso  | Try rates between:            | 0.23 0.264 0.303 0.348
    0.1 0.4 0.44    | soo  | Try rates between:            | 0.132 0.174 0.23 0.303
    0.1 1.0 1.21    | cco  | Try rates between:            | 1.04 1.08 1.12 1.16
"""
"""Rates, a letter for the regime of each, what is asked, and the rates to try."""


@pytest.mark.parametrize(
    ("rates", "letters", "question_text", "rates_to_try"), barred_rows(NEXT_RATES)
)
def test_the_next_question_follows_from_the_edge(
    made_up_sweep, rates, letters, question_text, rates_to_try
):
    sweep = made_up_sweep([float(rate) for rate in rates.split()])
    trials = sweep.trials.sort_values("learning_rate")
    question, command = following(trials.assign(regime=named(letters)))
    assert question.startswith(question_text)
    if rates_to_try:
        assert command == f"{COMMAND} {rates_to_try}"
    else:
        assert command == ""


@pytest.mark.parametrize("rates", [[4.0, 8.62], [4.0, 8.62, 18.6]])
def test_the_edge_is_sought_below_the_rates_at_which_seeds_differ(made_up_sweep, rates):
    trials = made_up_sweep(rates, seeds=3).trials
    rate = trials["learning_rate"]
    converges = (rate == 4) | (rate == 8.62) & (trials["seed"] == 0)
    regimes = np.where(converges, "converged", "diverged")
    question, command = following(trials.assign(regime=regimes))
    assert question == "Try rates between:"
    assert command == f"{COMMAND} 4.66 5.44 6.34 7.39"


@pytest.mark.parametrize("reason", ["waiting", "interrupted", "error"])
def test_trials_that_never_began_decide_nothing(made_up_sweep, reason):
    """As after a Ctrl-C once the largest rate has diverged."""
    trials = made_up_sweep([0.1, 0.2, 3.0]).trials.sort_values("learning_rate")
    begun = [False, False, True]
    reasons = trials["stop_reason"].where(begun, reason)
    largest = trials.assign(
        regime=named("uud"), epochs_run=[0, 0, 3], stop_reason=reasons
    )
    assert spans(largest) == ["diverges 3"]
    _, command = following(largest)
    assert command.startswith(f"{COMMAND} 1.39 ")

    reasons = ["completed", reason, reason]
    smallest = trials.assign(
        regime=named("cuu"), epochs_run=[4, 0, 0], stop_reason=reasons
    )
    assert spans(smallest) == ["converges 0.1"]
    assert following(smallest) == ("", ""), "0.2 and 3 may tell"
    below = smallest.assign(learning_rate=[0.1, 0.02, 0.002])
    _, command = following(below)
    assert command == f"{COMMAND} 0.215 0.464 1"


LARGER = "No edge yet, try larger rates:"
SMALLER = "Try smaller rates:"


def test_where_seeds_differ_at_the_largest_rate_the_edge_is_no_further(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0], seeds=2).trials.sort_values("learning_rate")
    question, _ = following(trials.assign(regime=named("sscd")))
    assert question == "Try rates between:"
    alone = trials[trials["learning_rate"] == 1.0]
    question, _ = following(alone.assign(regime=named("co")))
    assert question == SMALLER
    question, _ = following(alone.assign(regime=named("cs")))
    assert question == LARGER


def test_a_best_at_the_end_of_what_was_tried_is_told_with_the_command_that_goes_on(
    made_up_sweep,
):
    trials = made_up_sweep([0.1, 0.3, 1.0]).trials
    converged = trials.assign(regime="converged")
    question, command = following(converged, 1.0)
    assert question == "1 is the largest rate tried, so try larger ones:"
    assert command == f"{COMMAND} 2.15 4.64 10"

    question, command = following(converged, 0.1)
    assert question == "0.1 is the smallest rate tried, so try smaller ones:"
    assert command == f"{COMMAND} 0.0464 0.0215 0.01"
    undecided = following(trials.assign(regime="undecided"), 0.1)
    assert undecided == (question, command), "whether it converged or not"

    question, _ = following(trials.assign(regime="slow"), 0.1)
    assert question == LARGER
    question, _ = following(converged, 0.3)
    assert question == LARGER
    question, _ = following(trials.assign(regime="oscillating"), 1.0)
    assert question == SMALLER


def test_a_slow_rate_above_the_best_is_too_large(made_up_sweep):
    """There training crawls on a plateau, so a larger rate is no advice. Below the
    best, a slow one is too small."""
    sweep = made_up_sweep([0.1, 1.0, 10.0])
    trials = sweep.trials.sort_values("learning_rate")
    crawling = trials.assign(regime=named("scs"))
    question, command = following(crawling, 1.0)
    assert question == "Try rates between:"
    assert command == f"{COMMAND} 1.58 2.51 3.98 6.31"
    assert edge_to_find(crawling, sweep.record) is not None
    question, _ = following(trials.assign(regime=named("ssc")), 10.0)
    assert question.startswith("10 is the largest")


@pytest.mark.parametrize(
    ("name", "options"), [("search", {}), ("notebook", {"seeds": []}), ("decide", {})]
)
def test_rates_are_proposed_only_for_what_takes_more_of_them(
    made_up_sweep, name, options
):
    trials = made_up_sweep([0.1, 1.0]).trials.assign(regime="converged")
    larger = f"{COMMAND} 2.15 4.64 10"
    _, command = following(trials)
    assert command == larger
    _, command = following(trials, name="my own")
    assert command == larger
    assert following(trials, name=name, **options) == ("", "")


MNIST_5K = {"name": "mnist-5k", "label_counts": [400] * 10, "test_images": 1000}


def edge_of(trials, **options):
    """The command that measures the edge of a family, whose largest rate diverges."""
    rates = trials["learning_rate"]
    regimes = np.where(rates == rates.max(), "diverged", "converged")
    meta = {"name": "mine", "options": options, "dataset": MNIST_5K}
    record = SweepMeta.of(meta)
    step = edge_to_find(trials.assign(regime=regimes), record)
    _, command = in_words(step, record)
    return command


def test_the_command_for_an_edge_trains_as_the_sweep_did(made_up_sweep):
    config = {"momentum": 0.5, "nesterov": True, "batch_size": 32}
    sweep = made_up_sweep([0.1, 1.0], seeds=2, **config)
    options = {
        "dataset": "mnist-5k",
        "data_dir": "my data",
        "train_images": 100,
        "standardize": True,
        "lanes": 3,
    }
    assert edge_of(sweep.trials, **options) == (
        "mnist-tune edge --architecture mlp-4-tanh --expected 0.316 --batch-size 32 --momentum 0.5 --nesterov "
        "--epochs 4 --dataset mnist-5k --data-dir 'my data' --train-images 100 --standardize"
    )


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("--address=evil", "--architecture=--address=evil --expected 0.0316 "),
        ("x; rm -rf ~", "--architecture 'x; rm -rf ~' --expected"),
    ],
)
def test_no_name_of_a_network_in_a_folder_becomes_a_flag(made_up_sweep, name, flag):
    trials = made_up_sweep([0.01, 0.1], architectures=[name]).trials
    assert flag in edge_of(trials) + " "


@pytest.mark.parametrize(
    ("config", "options", "flag"),
    [
        ({"optimizer": "--smoke"}, {}, " --optimizer=--smoke"),
        ({}, {"dataset": "--smoke"}, " --dataset=--smoke"),
        ({}, {"data_dir": "-x y"}, " '--data-dir=-x y'"),
    ],
)
def test_no_value_of_a_folder_becomes_a_flag(made_up_sweep, config, options, flag):
    trials = made_up_sweep([0.01, 0.1], **config).trials
    assert flag in edge_of(trials, **options) + " "


@pytest.mark.parametrize(
    ("config", "flag", "name"),
    [
        (
            {"architectures": ["/shared/evil/net.py:mlp(3)"]},
            "architecture",
            "/shared/evil/net.py:mlp",
        ),
        ({"optimizer": "evil.opt:make"}, "optimizer", "evil.opt:make"),
    ],
)
def test_code_that_only_a_folder_names_is_in_no_command(
    made_up_sweep, config, flag, name
):
    trials = made_up_sweep([0.01, 0.1], **config).trials
    record = SweepMeta.of({"name": "mine"})
    assert edge_of(trials) == ""
    assert code_flags(record, trials) == ""
    code = [{"flag": flag, "name": name, "files": {}}]
    listed = SweepMeta.of({"name": "mine", "code": code})
    resume = "mnist-tune resume x"
    rates = "--learning-rates 0.1"
    assert proposed(listed, "x", (0.1,)) == f"{resume} {rates}"
    ENTRIES[flag][name] = Entry(lambda: len)  # as in the process in which it was named
    assert name in edge_of(trials)
    assert proposed(listed, "x", (0.1,)) == f"{resume} --{flag} {name} {rates}"
    assert shlex.split(code_flags(record, trials)) == [f"--{flag}", name]


@pytest.mark.parametrize("beside", [(), ("mlp-4-tanh",)])
def test_the_edge_of_code_that_the_user_has_signed_is_that_of_the_sweep(
    made_up_sweep, monkeypatch, beside
):
    """So that no command names code again, unless the sweep trained something else,
    too."""
    monkeypatch.setattr(RecordedCode, "is_signed", True)
    sweep = made_up_sweep([0.01, 0.1], architectures=["net.py:mlp(8)", *beside])
    arguments = {"architecture": "net.py:mlp(8)", "expected": 0.03}
    step = NextStep(StepKind.FIND_EDGE, Why.EDGE_WITHIN, arguments)
    [question] = questions([step], sweep, "my sweep")
    names = "--sweep 'my sweep' --expected 0.03"
    if beside:
        names = "--architecture 'net.py:mlp(8)' --expected 0.03"
    assert question.command == f"mnist-tune edge {names}"


def test_code_that_has_moved_is_named_as_it_was_loaded(made_up_sweep):
    trials = made_up_sweep([0.01, 0.1], architectures=["net.py:mlp(8)"]).trials
    code = [{"flag": "architecture", "name": "net.py:mlp", "files": {}}]
    ENTRIES["architecture"]["moved/net.py:mlp"] = Entry(lambda: len)
    assert is_named_again("architecture", ["moved/net.py:mlp"], ["net.py:mlp(8)"])
    assert "--architecture 'moved/net.py:mlp(8)' --expected" in edge_of(trials)
    record = SweepMeta.of({"name": "mine", "code": code})
    command = resume_command(record, "x")
    assert command.endswith(" x --architecture moved/net.py:mlp")
    meta = {"name": "mine", "code": code, "options": {"dataset": "arrays"}}
    call = resume_command(SweepMeta.of(meta), "x")
    assert call == "resume_sweep('x', dataset=..., architecture=('moved/net.py:mlp',))"


def test_a_sweep_over_arrays_has_calls_for_the_next_questions(made_up_sweep):
    """No command could run: a command line names no arrays."""
    trials = made_up_sweep([0.1, 1.0]).trials
    trials = trials.assign(regime="converged", dataset="arrays")
    _, command = following(trials, dataset="arrays")
    call = "resume_sweep('a folder', dataset=..., learning_rates=(2.15, 4.64, 10.0))"
    assert command == call
    call = "find_edge(EdgeOptions(dataset=..., architecture=('mlp-4-tanh',), expected=0.316, epochs=4))"
    assert edge_of(trials, dataset="arrays") == call


def test_the_largest_rates_that_converge():
    trials = REPLICATES.assign(epochs_run=[10] * 7 + [0])  # of rate 2, one never began
    assert converging(trials) == (1.0, 1.3)
    diverged = REPLICATES[REPLICATES["regime"] == "diverged"]
    assert converging(diverged) == (None, None)
