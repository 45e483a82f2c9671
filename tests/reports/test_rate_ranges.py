"""What is true of a family's learning rates: where each regime is found, its range, and what to try next."""

import shlex

import numpy as np
import pytest
from families import REPLICATES, family

from mnist_tune.own_code.registry import ENTRIES, Entry, is_named_again, named_again
from mnist_tune.reports.ranges import Range, advice, proposed, spans
from mnist_tune.results.journal import resume_command


def following(trials, options=None):
    """What to try next with a family: the question, and the command."""
    return advice(trials, {"options": options or {}})


def test_a_rate_has_the_regime_of_most_of_its_seeds():
    """Of two regimes with as many seeds, the less calm one counts. Each rate of a range has a seed in its regime."""
    assert spans(REPLICATES) == ["converges to 1", "diverges from 1.3 (2 of 4 trials)"]
    mixed = {
        0.1: "slow slow slow",
        0.2: "slow underfit underfit",
        0.4: "slow converged converged",
        0.8: "slow slow slow",
    }
    mixed |= {1.6: "converged oscillating oscillating"}
    assert spans(family({rate: [(name, 0.9) for name in names.split()] for rate, names in mixed.items()})) == [
        "slow 0.1, 0.8",
        "underfits 0.2 (2 of 3 seeds)",
        "converges 0.4 (2 of 3 seeds)",
        "oscillates 1.6 (2 of 3 seeds)",
    ]


def test_gaps_and_cut_trials_are_named():
    rows = {0.1: "slow", 0.2: "undecided", 0.4: "converged", 0.7: "oscillating", 1.0: "converged", 1.3: "undecided"}
    table = family({rate: [(regime, 0.9)] for rate, regime in rows.items()})
    table.loc[1, "regime_evidence"] = "on its way: would reach 0.95 at epoch 14 (80%: 12 to 20)"
    table.loc[5, ["epochs_run", "regime_evidence"]] = 5, "accuracy 0.9000: levelled off or slow, 5 epochs can't tell"
    assert spans(table) == [
        "slow 0.1",
        "on its way 0.2",
        "converges 0.4, 1",
        "oscillates 0.7",
        "undecided 1.3 (cut after 5 epochs)",
    ]


def test_cut_trials_are_named_with_their_epochs():
    table = family({0.1: [("undecided", 0.9), ("undecided", 0.9)], 0.2: [("undecided", 0.9)]})
    assert spans(table.assign(epochs_run=[5, 9, 7])) == ["undecided at all rates, 0.1–0.2 (cut after 5 to 9 epochs)"]
    assert spans(table.assign(epochs_run=[1, 3, 10])) == ["undecided at all rates, 0.1–0.2 (2 cut after 1 to 3 epochs)"]


def test_many_runs_of_a_regime_are_counted():
    regimes = ["converged", "oscillating"] * 6
    assert spans(family({rate: [(regimes[rate - 1], 0.9)] for rate in range(1, 13)})) == [
        "converges at 6 of the 11 rates 1–11",
        "oscillates at 6 of the 11 rates 2–12",
    ]


def test_only_a_regime_of_undecided_trials_is_said_to_be_cut():
    table = family({0.1: [("converged", 0.9)], 0.2: [("slow", 0.9), ("undecided", 0.9)]})
    assert spans(table.assign(epochs_run=[10, 2, 2])) == [
        "converges 0.1",
        "undecided 0.2 (1 of 2 seeds) (cut after 2 epochs)",
    ]


def test_rates_that_look_alike_are_told_apart_and_those_that_never_trained_are_not_claimed():
    table = family({1.0001: [("converged", 0.9)], 1.0002: [("diverged", 0.1)]})
    assert spans(table) == ["converges 1.0001", "diverges 1.0002"]
    table = family({0.1: [("converged", 0.9)], 0.2: [("converged", 0.9)], 0.8: [("undecided", 0.1)]})
    assert spans(table.assign(epochs_run=[10, 10, 0])) == ["converges at all rates that trained, 0.1–0.2"]


def test_a_trial_without_epochs_is_not_counted():
    table = family({0.1: [("converged", 0.9), ("undecided", 0.9)], 0.2: [("undecided", 0.9)], 0.4: [("slow", 0.9)]})
    assert spans(table.assign(epochs_run=[10, 0, 0, 10])) == ["converges 0.1", "slow 0.4"]
    assert spans(table.assign(epochs_run=0)) == []


def test_regimes_are_said_in_the_order_of_their_rates():
    regimes = ["diverged", "overfit", "converged", "undecided", "underfit", "slow"]
    found = spans(family({0.1 * (i + 1): [(name, 0.9)] for i, name in enumerate(regimes)}))
    assert [line.split()[0] for line in found] == "diverges overfits converges undecided underfits slow".split()


def test_only_undecided_trials_are_said_to_be_cut_or_on_their_way():
    rows = {0.1: ["slow"], 0.2: ["undecided"], 0.4: ["undecided"] * 2}
    table = family({rate: [(name, 0.9) for name in names] for rate, names in rows.items()})
    table = table.assign(epochs_run=[3, 10, 4, 10])
    assert spans(table) == ["slow 0.1", "undecided from 0.2 (1 cut after 4 epochs)"]


def test_a_trial_is_on_its_way_where_its_evidence_says_so(new_writer, epoch_row, tmp_path):
    """Also where no more is known than that it gets there later than some epoch."""
    writer = new_writer(tmp_path / "sweep", count=1)
    writer.meta["trials"]["00000"]["epochs"] = 20
    for epoch in range(1, 11):
        error = 0.55 * epoch**-0.45
        writer.epoch("00000", epoch_row(epoch, 3 * error, 1 - error), False)
    trials = writer.finish().trials
    assert trials["regime_evidence"].item().startswith("on its way: would reach 0.91 later than epoch ")
    assert np.isnan(trials["reaches"].item())
    assert spans(trials) == ["on its way 0.1"]


def test_up_to_three_runs_of_a_regime_are_named_each_with_its_own_share():
    regimes = ["converged", "slow", "converged", "slow", "converged"]
    rows = {rate: [(regime, 0.9)] for rate, regime in enumerate(regimes, start=1)}
    rows[5] = [("converged", 0.9), ("diverged", 0.1)]
    assert spans(family(rows)) == ["converges 1, 3", "slow 2, 4", "diverges 5 (1 of 2 seeds)"]
    more = {rate: [("slow" if rate % 2 else "converged", 0.9)] for rate in range(1, 8)}
    assert spans(family(more).assign(seed=range(7))) == [
        "slow at 4 of the 7 rates 1–7",
        "converges 2, 4, 6",
    ]


COMMAND = "mnist-tune regimes --architecture mlp-4-tanh --learning-rates"


def test_where_every_rate_diverged_smaller_ones_are_tried(made_up_sweep):
    trials = made_up_sweep([3.0, 4.0]).trials
    assert spans(trials) == ["diverges at all rates, 3–4"]
    asked = f"{COMMAND} 3 1.39 0.646 0.3 --epochs 4 --dataset mnist-5k"
    assert following(trials, {"dataset": "mnist-5k"}) == ("try smaller rates:", asked)


@pytest.mark.parametrize(
    ("rates", "regimes", "question", "tried"),
    [
        ((0.01, 0.1, 1.0), "ccc", "no edge yet, try larger rates", "1 2.15 4.64 10"),
        ((0.1, 1.0, 3.0), "cco", "try rates between:", "1.25 1.55 1.93 2.41"),
        ((0.1, 1.0, 3.0, 9.0), "ccoo", "try rates between:", "1.25 1.55 1.93 2.41"),
        ((0.1, 1.0, 1.1), "cco", "is it the seed?", "1 1.1"),
        ((0.1, 0.2, 0.4), "sss", "try larger rates", "0.4 0.862 1.86 4"),
        ((0.1, 0.2, 0.4), "ooo", "try smaller rates", "0.1 0.0464 0.0215 0.01"),
        ((0.1, 0.2, 0.4), "sso", "try rates between:", "0.23 0.264 0.303 0.348"),
        ((0.1, 0.4, 0.44), "soo", "try rates between:", "0.132 0.174 0.23 0.303"),
        ((0.1,), "s", "try larger rates", "0.1 0.215 0.464 1"),
        ((1.0, 1.0001), "cd", "is it the seed?", "1 1.0001"),
        ((0.1, 1.0, 1.21), "cco", "try rates between:", "1.04 1.08 1.12 1.16"),
    ],
)
def test_the_next_question_follows_from_the_edge(made_up_sweep, rates, regimes, question, tried):
    names = {"c": "converged", "o": "oscillating", "s": "slow", "d": "diverged"}
    trials = made_up_sweep(list(rates)).trials.sort_values("learning_rate")
    trials = trials.assign(
        regime=[names[letter] for letter in regimes], test_accuracy=[0.7, 0.8, 0.9, 0.9][: len(rates)]
    )
    asked, command = following(trials)
    assert asked.startswith(question)
    assert f"--learning-rates {tried} --" in command


@pytest.mark.parametrize("rates", [[4.0, 8.62], [4.0, 8.62, 18.6]])
def test_the_edge_is_sought_below_the_rates_at_which_seeds_differ(made_up_sweep, rates):
    trials = made_up_sweep(rates, seeds=3).trials
    same = (trials["learning_rate"] == 4) | (trials["learning_rate"] == 8.62) & (trials["seed"] == 0)
    asked, command = following(trials.assign(regime=same.map({True: "converged", False: "diverged"})))
    assert asked == "try rates between:"
    assert "--learning-rates 4.66 5.44 6.34 7.39 --" in command


def test_where_none_converged_the_end_with_the_better_mean_of_what_did_not_diverge_is_left(made_up_sweep):
    trials = made_up_sweep([0.1, 0.2, 0.4], seeds=2).trials.sort_values("learning_rate")
    at_first = trials.assign(regime="underfit", test_accuracy=[0.8, 0.8, 0.6, 0.6, 0.9, 0.5])
    question, command = following(at_first)
    assert question == "try smaller rates:"
    assert command.startswith(f"{COMMAND} 0.1 0.0464 0.0215 0.01 --seeds 0 1 ")
    slow = at_first.assign(regime="slow")
    assert following(slow)[0] == "try larger rates:", "below a rate that is too slow, all are slower"
    running = at_first.assign(stop_reason=["completed"] * 4 + ["running"] * 2)
    assert following(running) == ("", ""), "after fewer epochs, an accuracy is another one"
    close = trials.assign(regime=["slow"] * 4 + ["diverged"] * 2).replace({"learning_rate": {0.4: 0.22}})
    assert following(close) == ("", ""), "there is nothing to ask"


@pytest.mark.parametrize(("regime", "asked"), [("slow", "larger"), ("underfit", None), ("undecided", None)])
def test_rates_at_which_nothing_is_learned_point_to_larger_ones_if_anywhere(made_up_sweep, regime, asked):
    """Accuracies of guesses differ by chance, and those of rates like 1e-7 not at all."""
    trials = made_up_sweep([1e-7, 1e-6, 1e-5]).trials.sort_values("learning_rate").assign(regime=regime)
    for accuracies in ([0.1, 0.1, 0.1], [0.11, 0.1, 0.1]):
        question, _ = following(trials.assign(test_accuracy=accuracies))
        assert question == (f"try {asked} rates:" if asked else "")


@pytest.mark.parametrize("others", ["waiting", "interrupted", "error"])
def test_trials_that_never_began_decide_nothing(made_up_sweep, others):
    """As after a Ctrl-C once the largest rate has diverged."""
    trials = made_up_sweep([0.1, 0.2, 3.0]).trials.sort_values("learning_rate")
    begun = [False, False, True]
    trials = trials.assign(regime=["undecided", "undecided", "diverged"], epochs_run=[0, 0, 3])
    trials["stop_reason"] = trials["stop_reason"].where(begun, others)
    trials["test_accuracy"] = trials["test_accuracy"].where(begun)
    assert spans(trials) == ["diverges 3"]
    assert following(trials)[1].startswith(f"{COMMAND} 3 1.39 ")
    some = trials.assign(regime=["converged", "undecided", "undecided"], epochs_run=[4, 0, 0], test_accuracy=0.9)
    some["stop_reason"] = ["completed", others, others]
    assert spans(some) == ["converges 0.1"]
    assert following(some)[1].startswith(f"{COMMAND} 0.1 0.215 ")


def test_without_a_test_accuracy_nothing_is_asked(made_up_sweep):
    trials = made_up_sweep([0.1, 0.2]).trials.assign(regime="underfit", test_accuracy=np.nan)
    assert following(trials) == ("", "")


def test_a_search_that_draws_a_seed_a_trial_proposes_that_of_the_nearest(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0]).trials.sort_values("learning_rate").assign(regime="converged", seed=[71, 72])
    assert " --seeds 72 --" in following(trials)[1]


def test_all_seeds_of_a_sweep_are_proposed_again(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0], seeds=7).trials.assign(regime="converged")
    assert " --seeds 0 1 2 3 4 5 6 --" in following(trials)[1]


def test_where_seeds_differ_at_the_largest_rate_the_edge_is_no_further(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0], seeds=2).trials.sort_values("learning_rate")
    asked = following(trials.assign(regime=["slow", "slow", "converged", "diverged"]))
    assert asked[0] == "try rates between:"
    alone = trials[trials["learning_rate"] == 1.0].assign(regime=["converged", "oscillating"])
    assert following(alone)[0] == "try smaller rates:"
    assert following(alone.assign(regime=["converged", "slow"]))[0] == "no edge yet, try larger rates:"


def test_whether_it_is_the_seed_is_asked_with_five_of_them(made_up_sweep):
    trials = made_up_sweep([1.0, 1.1], seeds=2).trials.sort_values("learning_rate")
    asked = following(trials.assign(regime=["converged"] * 2 + ["diverged"] * 2), {"dataset": "mnist-5k"})
    command = f"{COMMAND} 1 1.1 --seeds 0 1 2 3 4 --epochs 4 --dataset mnist-5k"
    assert asked == ("is it the seed?", command)


def test_a_proposed_command_has_every_flag_that_is_not_as_usual_and_those_of_the_nearest_trial(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0]).trials.sort_values("learning_rate").assign(epochs_asked=[4, 8])
    usual = {"dataset": "mnist", "scheduler": "regimes", "grace_period": 5, "sharpness": False}
    usual |= {"train_evaluation": None}
    assert proposed(trials, {"options": usual}, [1.0, 0.1]) == f"{COMMAND} 1 0.1 --epochs 8"
    asked = {"grace_period": 3, "train_evaluation": 500, "dataset": "own.npz", "sharpness": True}
    asked |= {"sharpness_every": 7, "sharpness_images": 64, "train_images": 9}
    assert proposed(trials, {"options": asked}, [0.1, 1.0]) == (
        f"{COMMAND} 0.1 1 --epochs 4 --dataset own.npz --grace-period 3 --train-evaluation 500 --train-images 9"
        " --sharpness --sharpness-every 7 --sharpness-images 64"
    )


def test_with_several_seeds_the_edge_needs_no_more_of_them(made_up_sweep):
    trials = made_up_sweep([1.0, 1.1], seeds=3).trials.sort_values("learning_rate")
    assert following(trials.assign(regime=["converged"] * 3 + ["diverged"] * 3)) == ("", "")


def test_a_proposed_command_keeps_all_other_flags(made_up_sweep):
    found = made_up_sweep([0.1, 1.0], seeds=2, momentum=0.5, nesterov=True, batch_size=32)
    ran = {"dataset": "mnist-5k", "data_dir": "my data", "target": 0.8, "scheduler": "fifo", "lanes": 3}
    line = following(found.trials.assign(regime="converged"), ran)[1]
    assert "--batch-size 32 --momentum 0.5 --nesterov --seeds 0 1 --epochs 4 --dataset mnist-5k" in line
    assert line.endswith(" --dataset mnist-5k --scheduler fifo --target 0.8 --data-dir 'my data'")


def test_a_proposed_command_trains_on_the_same_images(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0]).trials.assign(regime="converged")
    assert " --train-images 100 --standardize" in following(trials, {"train_images": 100, "standardize": True})[1]
    assert "--standardize" not in following(trials, {"standardize": False})[1]


def test_other_rates_are_tried_as_the_nearest_trial(made_up_sweep):
    trials = made_up_sweep([0.01, 0.1, 1.0]).trials.assign(regime="converged", batch_size=32, seed=3)
    assert " --batch-size 32 --seeds 3 " in following(trials)[1]


def test_a_proposed_command_quotes_the_name_of_a_network(made_up_sweep):
    """It may come from a folder that somebody else wrote."""
    trials = made_up_sweep([0.01, 0.1], architectures=["x; rm -rf ~"]).trials
    assert "--architecture 'x; rm -rf ~' --learning-rates 0.1" in proposed(trials, {}, [0.1])


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ({"architectures": ["--address=evil"]}, {}, "--architecture=--address=evil --learning-rates 0.1 "),
        ({"optimizer": "--smoke"}, {}, " --optimizer=--smoke"),
        ({}, {"dataset": "--smoke"}, " --dataset=--smoke"),
        ({}, {"data_dir": "-x y"}, " '--data-dir=-x y'"),
    ],
)
def test_no_value_of_a_folder_becomes_a_flag(made_up_sweep, config, options, said):
    trials = made_up_sweep([0.01, 0.1], **config).trials
    assert said in proposed(trials, {"options": options}, [0.1]) + " "


@pytest.mark.parametrize("config", [{"architectures": ["/shared/evil/net.py:mlp(3)"]}, {"optimizer": "evil.opt:make"}])
def test_code_that_only_a_folder_names_is_in_no_command(made_up_sweep, config):
    trials = made_up_sweep([0.01, 0.1], **config).trials
    assert proposed(trials, {}, [0.1]) == "0.1, with your own code named again"
    assert named_again({}, trials) == ("", "with your own code named again")
    flag, name = (
        ("optimizer", "evil.opt:make") if "optimizer" in config else ("architecture", "/shared/evil/net.py:mlp")
    )
    ENTRIES[flag][name] = Entry(lambda: len)  # as in the process in which it was named
    assert name in proposed(trials, {}, [0.1])
    assert shlex.split(named_again({}, trials)[0]) == [f"--{flag}", name]


def test_what_another_process_registered_is_in_no_command(made_up_sweep):
    """`sweep.json` lists it; here, its name means nothing. The sweep's other networks have commands."""
    trials = made_up_sweep([0.01, 0.1], architectures=["mine(width=8)", "mlp-4-tanh"]).trials
    own = trials["architecture"] == "mine(width=8)"
    meta = {"code": [{"flag": "architecture", "name": "mine", "files": {}}]}
    assert proposed(trials[own], meta, [0.1]) == "0.1, from Python as before"
    assert "--architecture mlp-4-tanh --learning-rates 0.1" in proposed(trials[~own], meta, [0.1])


def test_code_that_has_moved_is_named_as_it_was_loaded(made_up_sweep):
    trials = made_up_sweep([0.01, 0.1], architectures=["net.py:mlp(8)"]).trials
    meta = {"name": "mine", "code": [{"flag": "architecture", "name": "net.py:mlp", "files": {}}]}
    ENTRIES["architecture"]["moved/net.py:mlp"] = Entry(lambda: len)
    assert is_named_again("architecture", ["moved/net.py:mlp"], ["net.py:mlp(8)"])
    assert "--architecture 'moved/net.py:mlp(8)' --learning-rates 0.1" in proposed(trials, meta, [0.1])
    assert named_again(meta, trials) == (" --architecture moved/net.py:mlp", "")
    assert resume_command(meta, "x").endswith(" x --architecture moved/net.py:mlp")


def test_a_sweep_over_arrays_has_no_command_for_the_next_question(made_up_sweep):
    """Nor could it run: a command line names no arrays."""
    trials = made_up_sweep([0.1, 1.0]).trials.assign(regime="converged", dataset="arrays")
    assert following(trials, {"dataset": "arrays"})[1] == "1 2.15 4.64 10, from Python as before"


def test_the_range_of_a_family():
    trials = REPLICATES.assign(epochs_run=[10] * 7 + [0])  # of rate 2, one never began
    assert Range.of(trials) == Range(0.1, 1.0, 1.3, 2.0)
    none = Range.of(REPLICATES[REPLICATES["regime"] == "diverged"])
    assert none == Range(None, None, None, None)


def test_none_converges_from_the_smallest_rate_from_which_none_did():
    """An undecided trial that ran all its epochs did not converge; of one that was cut, nobody knows."""
    rows = {0.1: ["converged"] * 3, 1.81: ["oscillating", "undecided", "diverged"], 3.81: ["diverged"] * 3}
    trials = family({rate: [(name, 0.9) for name in names] for rate, names in rows.items()})
    assert Range.of(trials).beyond == 1.81
    assert Range.of(trials.assign(epochs_run=[10] * 4 + [4] * 5)).beyond == 3.81


def test_seeds_that_never_began_do_not_end_a_range():
    table = family({0.1: [("converged", 0.9), ("undecided", 0.1)], 0.2: [("converged", 0.9)] * 2})
    assert Range.of(table.assign(epochs_run=[10, 0, 10, 10])).lowest == 0.1
