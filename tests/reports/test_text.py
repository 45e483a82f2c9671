"""The text that a sweep prints."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from recorded_data import recorded_data

from mnist_tune import TrialConfig, load_sweep
from mnist_tune.reports import console
from mnist_tune.reports.conclusions import conclusions, proposed
from mnist_tune.reports.large_sweeps import LINES, MANY
from mnist_tune.reports.replicate_table import print_replicates
from mnist_tune.reports.text import FAILURES, INTERRUPTED, print_report

DONE, DIVERGED, CUT = ("completed",), ("diverged",), ("interrupted",)


def test_a_sweep_without_errors_returns_0(sweep, capsys):
    found = sweep(DONE, DIVERGED, DIVERGED, ("asha",))
    assert print_report(found) == 0
    said = capsys.readouterr().out
    assert "Regimes: 1 converged, 2 diverged, 1 undecided" in said
    assert f"Picture: python analysis/summarize.py {found.path}" in said


def test_columns_hold_what_their_heads_say(new_writer, epoch_row, tmp_path, capsys):
    writer = new_writer(tmp_path / "sweep", count=1)
    writer.meta["dataset"]["note"] = "fewer images"
    for epoch in (1, 2, 3):
        writer.epoch("00000", epoch_row(epoch, train_accuracy=0.98, test_accuracy=0.97), False)
    writer.end("00000", "asha")
    print_report(writer.finish(ended="now"))
    heads, line, *others = capsys.readouterr().out.splitlines()
    cells = dict(zip(*(re.split(r"\s{2,}", text.strip()) for text in (heads, line)), strict=True))
    assert cells.pop("evidence").startswith("accuracy 0.9800")
    assert cells == {
        "rate": "0.1",
        "regime": "converged",
        "epochs": "3/4",
        "train": "0.9800",
        "test": "0.9700",
        "reaches 0.91": "epoch 1",
        "stopped": "asha",
    }
    assert "Note: fewer images" in others


def test_no_note_is_said_where_there_is_none(sweep, capsys):
    print_report(sweep(DONE, DIVERGED, DIVERGED, CUT))
    assert "Note" not in capsys.readouterr().out


@pytest.mark.parametrize("error", ["no space left", "[/tmp/x] is full", "expected shape [n, 28, 28]"])
def test_a_sweep_with_errors_returns_1_and_prints_them(sweep, capsys, error):
    found = sweep(DONE, DIVERGED, DIVERGED, ("error", error))
    assert print_report(found) == 1
    said = capsys.readouterr().out
    assert f"trial 00003 (learning rate 0.4) failed: {error}" in said
    assert "Picture: " not in said
    assert said.count(error) == 2
    command = "python sweeps/lr_regimes.py --resume"
    assert f"1 trial failed; train it again with: {command} {found.path} --retry-errored" in said


def test_an_interrupted_sweep_returns_130_and_prints_how_to_resume(sweep, capsys):
    found = sweep(DONE, DIVERGED, CUT, ("time_budget",))
    assert print_report(found) == INTERRUPTED == 130
    expected = f"2 trials had not ended; resume with: python sweeps/lr_regimes.py --resume {found.path}"
    said = capsys.readouterr().out
    assert expected in said
    assert "Picture: " not in said


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"name": "mine"}, "python sweeps/lr_regimes.py --resume {}"),
        ({"name": "seeds"}, "python sweeps/seeds.py --resume {}"),
        ({"name": "mine", "search": True}, "the same run_search, with resume='{}'"),
    ],
)
def test_the_resume_command_depends_on_how_the_sweep_was_started(sweep, capsys, meta, said):
    found = sweep(DONE, DIVERGED, CUT, ("error", "full"))
    found.meta.update(meta)
    print_report(found)
    out, said = capsys.readouterr().out, said.format(found.path)
    assert f"1 trial had not ended; resume with: {said}\n" in out
    retry = f"{said} and SweepOptions(retry_errored=True)" if said.startswith("the same") else f"{said} --retry-errored"
    assert f"1 trial failed; train it again with: {retry}\n" in out


def test_an_error_counts_more_than_an_interrupt(sweep):
    assert print_report(sweep(DONE, DIVERGED, CUT, ("error", "full"))) == 1


def test_a_running_sweep_says_how_far_it_is_and_not_how_to_resume(made_up_sweep, capsys):
    found = made_up_sweep([0.1, 1, 3])
    reasons = ["error", "running", "waiting"]
    print_report(replace(found, trials=found.trials.assign(stop_reason=reasons)))
    out = capsys.readouterr().out
    assert "\n1 of 3 trials ended, 1 running, 1 waiting: this sweep is still running\n" in out
    assert not re.search("--resume|Picture: ", out)


def test_what_was_drawn_or_written_already_is_named_or_left_out(made_up_sweep, capsys, monkeypatch):
    found = made_up_sweep([0.1, 1])
    print_report(found, picture=True)
    assert not re.search("Page: |Picture: ", capsys.readouterr().out)
    (found.path / "report.html").touch()
    print_report(found)
    assert f"\nResults: {found.path}\nPage: {found.path}/report.html\nPicture: " in capsys.readouterr().out
    monkeypatch.chdir(found.path.parent)
    print_report(found)
    *_, results, at, picture = capsys.readouterr().out.splitlines()
    assert (results, at, picture.split()[-1]) == ("Results: sweep", "Page: sweep/report.html", "sweep")


def test_data_whose_target_is_unknown_is_noted_once_something_was_trained(made_up_sweep, capsys):
    found = made_up_sweep([0.1])
    assert "No target is known" not in printed_text(capsys, found)
    own = replace(found, meta=found.meta | {"dataset": recorded_data("mnist", target=None, note="[/] is odd")})
    said = printed_text(capsys, own)
    assert "No target is known for this data, so each network's best trial is its measure; see --target." in said
    assert "Note: [/] is odd" in said
    assert "No target" not in printed_text(capsys, replace(own, trials=own.trials.assign(epochs_run=0)))


def printed_text(capsys, sweep):
    print_report(sweep)
    return capsys.readouterr().out


def test_trials_are_in_the_order_of_what_varies_and_then_of_their_rates_and_seeds(made_up_sweep, capsys):
    sweep = made_up_sweep([1, 0.1], seeds=2, architectures=["own[/]", "mlp-4-tanh"])
    trials = sweep.trials.iloc[::-1].assign(target=[0.91] * 7 + [0.5])
    heads, *lines = printed_text(capsys, replace(sweep, trials=trials)).splitlines()
    assert heads.split()[:3] == ["architecture", "rate", "seed"]
    assert " reaches target " in heads
    assert [line.split()[:3] for line in lines[:8]] == [
        [name, rate, seed] for name in ("mlp-4-tanh", "own[/]") for rate in ("0.1", "1") for seed in "01"
    ]


@pytest.mark.parametrize(("reason", "said"), [("completed", False), ("dead", False), ("slow", False), ("asha", True)])
def test_a_narrow_table_says_why_trials_stopped_only_if_the_other_columns_do_not(
    made_up_sweep, capsys, monkeypatch, reason, said
):
    sweep = made_up_sweep([0.1])
    monkeypatch.setattr(console, "PLAIN_WIDTH", 65)
    printed = printed_text(capsys, replace(sweep, trials=sweep.trials.assign(stop_reason=reason)))
    assert ("stopped" in printed.split("Regimes:")[0]) is said
    assert "\n    accuracy 0.96" in printed  # it has no room beside the other columns


def test_a_folders_name_is_quoted_for_the_shell(new_writer, tmp_path, capsys):
    found = new_writer(tmp_path / "my sweep").finish()
    print_report(found)
    out = capsys.readouterr().out
    assert f"--resume '{found.path}'\n" in out
    assert f"Results: {found.path}\n" in out
    print_report(replace(found, trials=found.trials.assign(stop_reason="completed")))
    assert capsys.readouterr().out.endswith(f"summarize.py '{found.path}'\n")


def test_conclusions_where_nothing_finished(new_writer, sweep, tmp_path):
    trials = new_writer(tmp_path / "empty").finish(ended="now").trials
    assert conclusions(trials)[1] == "mlp-1024-128-tanh: no learning rate finished an epoch"
    some = sweep(DONE, DIVERGED, DIVERGED, CUT).trials
    assert conclusions(some)[1].startswith("mlp-1024-128-tanh: converges ")


COMMAND = "python sweeps/lr_regimes.py --architecture mlp-4-tanh --learning-rates"


def test_conclusions_where_every_rate_diverged(made_up_sweep):
    _, line, following = conclusions(made_up_sweep([3.0, 4.0]).trials, {"dataset": "mnist-5k"})
    assert line == "mlp-4-tanh: diverges at all rates, 3 to 4; none converged"
    assert following == f"  try smaller rates: {COMMAND} 3 1.39 0.646 0.3 --epochs 4 --dataset mnist-5k"


@pytest.mark.parametrize(
    ("rates", "regimes", "question", "proposed"),
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
def test_the_next_question_follows_from_the_edge(made_up_sweep, rates, regimes, question, proposed):
    names = {"c": "converged", "o": "oscillating", "s": "slow", "d": "diverged"}
    trials = made_up_sweep(list(rates)).trials.sort_values("learning_rate")
    trials = trials.assign(
        regime=[names[letter] for letter in regimes], test_accuracy=[0.7, 0.8, 0.9, 0.9][: len(rates)]
    )
    *_, following = conclusions(trials)
    assert following.startswith(f"  {question}")
    assert f"--learning-rates {proposed} --" in following


def test_the_best_learning_rate_has_its_accuracy(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0]).trials.sort_values("learning_rate")
    trials = trials.assign(regime=["converged", "oscillating"], test_accuracy=[0.9, 0.95])
    assert conclusions(trials)[1] == (
        "mlp-4-tanh: converges at 0.1; oscillates at 1; best learning rate 0.1 (test accuracy 0.9000)"
    )
    assert conclusions(trials.assign(regime="slow"))[1] == "mlp-4-tanh: slow at all rates, 0.1 to 1; none converged"


def test_where_none_converged_the_end_with_the_better_mean_of_what_did_not_diverge_is_left(made_up_sweep):
    trials = made_up_sweep([0.1, 0.2, 0.4], seeds=2).trials.sort_values("learning_rate")
    at_first = trials.assign(regime="slow", test_accuracy=[0.8, 0.8, 0.6, 0.6, 0.9, 0.5])
    assert conclusions(at_first)[2].startswith(f"  try smaller rates: {COMMAND} 0.1 0.0464 0.0215 0.01 --seeds 0 1 ")
    close = trials.assign(regime=["slow"] * 4 + ["diverged"] * 2).replace({"learning_rate": {0.4: 0.22}})
    assert len(conclusions(close)) == 2, "there is nothing to ask"


@pytest.mark.parametrize(("regime", "asked"), [("slow", "larger"), ("underfit", None), ("undecided", None)])
def test_rates_at_which_nothing_is_learned_point_to_larger_ones_if_anywhere(made_up_sweep, regime, asked):
    """Accuracies of guesses differ by chance, and those of rates like 1e-7 not at all."""
    trials = made_up_sweep([1e-7, 1e-6, 1e-5]).trials.sort_values("learning_rate").assign(regime=regime)
    for accuracies in ([0.1, 0.1, 0.1], [0.11, 0.1, 0.1]):
        _, _, *question = conclusions(trials.assign(test_accuracy=accuracies))
        assert [line.split()[1] for line in question] == [asked] * (asked is not None)


@pytest.mark.parametrize("others", ["waiting", "interrupted", "error"])
def test_trials_that_never_began_decide_nothing(made_up_sweep, others):
    """As after a Ctrl-C once the largest rate has diverged."""
    trials = made_up_sweep([0.1, 0.2, 3.0]).trials.sort_values("learning_rate")
    begun = [False, False, True]
    trials = trials.assign(regime=["undecided", "undecided", "diverged"], epochs_run=[0, 0, 3])
    trials["stop_reason"] = trials["stop_reason"].where(begun, others)
    trials["test_accuracy"] = trials["test_accuracy"].where(begun)
    assert conclusions(trials)[1] == "mlp-4-tanh: diverges at 3; none converged"
    assert conclusions(trials)[2].startswith(f"  try smaller rates: {COMMAND} 3 1.39 ")
    some = trials.assign(regime=["converged", "undecided", "undecided"], epochs_run=[4, 0, 0], test_accuracy=0.9)
    assert conclusions(some)[1].startswith("mlp-4-tanh: converges at 0.1; best learning rate 0.1 ")
    assert conclusions(some)[2].startswith(f"  no edge yet, try larger rates: {COMMAND} 0.1 0.215 ")


def test_without_a_test_accuracy_nothing_is_asked(made_up_sweep):
    trials = made_up_sweep([0.1, 0.2]).trials.assign(regime="underfit", test_accuracy=np.nan)
    assert len(conclusions(trials)) == 2


def test_a_search_that_draws_a_seed_a_trial_proposes_five_of_them(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0], seeds=20).trials.assign(regime="converged")
    assert " --seeds 0 1 2 3 4 --" in conclusions(trials)[2]


def test_whether_it_is_the_seed_is_asked_with_five_of_them(made_up_sweep):
    trials = made_up_sweep([1.0, 1.1], seeds=2).trials.sort_values("learning_rate")
    asked = conclusions(trials.assign(regime=["converged"] * 2 + ["diverged"] * 2), {"dataset": "mnist-5k"})[2]
    assert asked == f"  is it the seed? {COMMAND} 1 1.1 --seeds 0 1 2 3 4 --epochs 4 --dataset mnist-5k"


def test_a_proposed_command_has_every_flag_that_is_not_as_usual_and_those_of_the_nearest_trial(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0]).trials.sort_values("learning_rate").assign(epochs_asked=[4, 8])
    usual = {"dataset": "mnist", "scheduler": "regimes", "grace_period": 5, "sharpness": False}
    usual |= {"train_evaluation": None}
    assert proposed(trials, usual, [1.0, 0.1]) == f"{COMMAND} 1 0.1 --epochs 8"
    asked = {"grace_period": 3, "train_evaluation": 500, "dataset": "own.npz", "sharpness": True}
    asked |= {"sharpness_every": 7, "sharpness_images": 64, "train_images": 9}
    assert proposed(trials, asked, [0.1, 1.0]) == (
        f"{COMMAND} 0.1 1 --epochs 4 --dataset own.npz --grace-period 3 --train-evaluation 500 --train-images 9"
        " --sharpness --sharpness-every 7 --sharpness-images 64"
    )


def test_with_several_seeds_the_edge_needs_no_more_of_them(made_up_sweep):
    trials = made_up_sweep([1.0, 1.1], seeds=3).trials.sort_values("learning_rate")
    assert len(conclusions(trials.assign(regime=["converged"] * 3 + ["diverged"] * 3))) == 2


def test_a_proposed_command_keeps_all_other_flags(made_up_sweep):
    found = made_up_sweep([0.1, 1.0], seeds=2, momentum=0.5, nesterov=True, batch_size=32)
    ran = {"dataset": "mnist-5k", "data_dir": "my data", "target": 0.8, "scheduler": "fifo", "lanes": 3}
    line = conclusions(found.trials.assign(regime="converged"), ran)[2]
    assert "--batch-size 32 --momentum 0.5 --nesterov --seeds 0 1 --epochs 4 --dataset mnist-5k" in line
    assert line.endswith(" --dataset mnist-5k --scheduler fifo --target 0.8 --data-dir 'my data'")


def test_a_proposed_command_trains_on_the_same_images(made_up_sweep):
    trials = made_up_sweep([0.1, 1.0]).trials.assign(regime="converged")
    assert " --train-images 100 --standardize" in conclusions(trials, {"train_images": 100, "standardize": True})[2]
    assert "--standardize" not in conclusions(trials, {"standardize": False})[2]


def test_other_rates_are_tried_as_the_nearest_trial(made_up_sweep):
    trials = made_up_sweep([0.01, 0.1, 1.0]).trials.assign(regime="converged", batch_size=32, seed=3)
    assert " --batch-size 32 --seeds 3 " in conclusions(trials)[2]


@pytest.mark.parametrize(
    ("reaches", "run", "said"),
    [
        (math.nan, 4, "–"),
        (math.inf, 4, "never"),
        (2.0, 4, "epoch 2"),
        (4.0, 4, "epoch 4"),
        (7.4, 4, "~7"),
        (12.0, 4, "~12"),
        (12.1, 4, "> 12"),
        (7.4, 2, "~7"),  # the limit is that of the epochs asked for
        (900.0, 2, "> 12"),
    ],
)
def test_the_table_says_when_the_target_is_reached(made_up_sweep, capsys, reaches, run, said):
    sweep = made_up_sweep([0.01, 0.1])
    trials = sweep.trials.assign(reaches=[reaches, 1.0], target=0.9, epochs_run=run)
    heading, line, *_ = printed_text(capsys, replace(sweep, trials=trials)).splitlines()
    assert "reaches 0.9" in heading
    assert f" {said} " in line


def test_at_eighty_columns_no_text_is_cut(made_up_sweep, capsys, monkeypatch):
    sweep = made_up_sweep([0.01, 0.1], seeds=2, batch_size=32)
    trials = pd.concat([sweep.trials, sweep.trials.assign(batch_size=64, momentum=0.9)], ignore_index=True)
    trials["regime_evidence"] = "at 5 epochs 0.8119; rate 0.4 had 0.9940"
    monkeypatch.setattr(console, "PLAIN_WIDTH", 80)
    print_report(replace(sweep, trials=trials.assign(stop_reason="completed")))
    table = capsys.readouterr().out.split("Regimes:")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "…" not in table
    assert " ".join(table.split()).count("0.9940") == 8


def test_what_differs_has_a_column_and_a_line_of_its_own(made_up_sweep, capsys):
    sweep = made_up_sweep([0.01, 0.1], architectures=["mlp-4-tanh"])
    trials = pd.concat([sweep.trials, sweep.trials.assign(optimizer="adam", batch_size=64)], ignore_index=True)
    lines = printed(capsys, replace(sweep, trials=trials))
    assert lines[0].split()[:4] == ["optimizer", "batch", "size", "rate"]
    assert [line.split(":")[0] for line in lines if "; best learning rate" in line or "; none converged" in line] == [
        "mlp-4-tanh, adam, batch size 64",
        "mlp-4-tanh, sgd, batch size 128",
    ]


# --- large sweeps


def printed(capsys, sweep, **options):
    """Return the lines that are printed for a sweep."""
    print_report(sweep, **options)
    print_replicates(sweep.trials, **options)
    return capsys.readouterr().out.splitlines()


def test_many_trials_are_summarised_by_ranges_of_learning_rates(made_up_sweep, rates, capsys):
    found = made_up_sweep(rates(300), epochs=1)
    lines = printed(capsys, found)
    assert len(lines) < LINES + 8
    table = [line for line in lines if " – " in line]
    assert len(table) == LINES
    assert table[0].lstrip().startswith("0.001 – ")
    assert sum(int(line.split()[3]) for line in table) == 300
    for regime, count in found.trials["regime"].value_counts().items():
        cells = [re.split(r"\s{2,}", line.strip())[-1] for line in table]
        assert sum(int(n) for cell in cells for n in re.findall(rf"(\d+) {regime}", cell)) == count
    (whole,) = [line for line in lines if "--all" in line]
    assert whole.endswith(f"every trial: trials.parquet there, or python analysis/summarize.py {found.path} --all")
    lines = printed(capsys, replace(found, meta=found.meta | {"ended": None}))
    assert [line for line in lines if line.endswith(f"every trial: python analysis/summarize.py {found.path} --all")]


def test_every_line_prints_every_trial(made_up_sweep, rates, capsys):
    lines = printed(capsys, made_up_sweep(rates(MANY + 1), epochs=1), every_line=True)
    assert sum("completed" in line or "diverged " in line for line in lines[1:-4]) == MANY + 1
    assert not any("--all" in line for line in lines)


def test_up_to_a_limit_trials_are_printed_one_by_one(made_up_sweep, rates, capsys):
    found = made_up_sweep(rates(MANY), epochs=1)
    assert printed(capsys, found) == printed(capsys, found, every_line=True)


def test_many_architectures_are_printed_in_few_lines(made_up_sweep, capsys):
    names = [f"mlp-{width}-tanh" for width in range(1, 201)]
    lines = printed(capsys, made_up_sweep([0.1], architectures=names, epochs=1))
    assert len(lines) < 2 * MANY + 8
    assert f"... and {200 - MANY} more families" in lines


def test_many_replicates_are_summarised_by_ranges_of_learning_rates(made_up_sweep, rates, capsys):
    found = made_up_sweep(rates(MANY + 1), seeds=2, epochs=1)
    lines = printed(capsys, found)
    start = next(i for i, line in enumerate(lines) if line.startswith("Replicates"))
    assert len(lines) - start == 2 + LINES
    assert re.split(r"\s{2,}", lines[-1].strip())[1:5] == ["3.48 – 4", "2", "2", "0%"]
    assert lines[start].endswith("; medians over configurations")
    assert len(printed(capsys, found, every_line=True)) > 3 * MANY


def test_up_to_a_limit_replicates_are_printed_one_by_one_with_what_they_differ_in(made_up_sweep, rates, capsys):
    found = made_up_sweep(rates(MANY // 2), seeds=2, epochs=1, architectures=["mlp-4-tanh", "mlp-8-tanh"])
    trials = found.trials.assign(label=["[/]"] * MANY + [""] * MANY, batch_size=[32] * MANY + [64] * MANY)
    trials.loc[:1, ["train_accuracy", "test_accuracy"]] = math.nan
    print_replicates(trials)
    _, heading, heads, *lines = capsys.readouterr().out.splitlines()
    assert heading.startswith("Replicates over seeds: how many converged, with the 95% interval of that share; acc")
    assert heads.split() == "architecture batch size label rate converged train test".split()
    assert len(lines) == MANY
    [first] = [line.split() for line in lines if line.startswith("  mlp-4-tanh") and " 0.001 " in line]
    assert first == "mlp-4-tanh 32 [/] 0.001 0 of 2 (0% to 84%) - -".split()


def test_ranges_tell_medians_of_both_accuracies(new_writer, epoch_row, tmp_path, capsys):
    writer = new_writer(tmp_path / "sweep", count=MANY + 12)
    for i in range(MANY + 12):
        values = {"train_accuracy": (0.8, 0.9, 0.99)[i % 3], "test_accuracy": (0.7, 0.75, 0.76)[i % 3]}
        writer.epoch(f"{i:05d}", epoch_row(1, **values), False)
    table = printed(capsys, writer.finish(ended="now"))[1 : 1 + LINES]
    assert {tuple(re.split(r"\s{2,}", line.strip())[1:5]) for line in table} == {("3", "1", "0.9000", "0.7500")}
    trials = load_sweep(writer.path).trials
    trials = trials.assign(regime=["converged", "slow", "slow"] * (len(trials) // 3))
    print_replicates(pd.concat([trials, trials.assign(seed=1)]))
    table = capsys.readouterr().out.splitlines()[-LINES:]
    cells = {tuple(re.split(r"\s{2,}", line.strip())[2:]) for line in table}
    assert cells == {("3", "2", "0%", "0.9000 ± 0.0000", "0.7500 ± 0.0000")}


def test_few_replicates_are_printed_one_by_one(made_up_sweep, capsys):
    lines = printed(capsys, made_up_sweep([0.01, 0.1], seeds=3))
    start = next(i for i, line in enumerate(lines) if line.startswith("Replicates"))
    assert [line.split()[0] for line in lines[start + 2 :]] == ["0.01", "0.1"]
    assert all(len(line.rstrip()) <= 80 for line in lines[start + 1 :])
    assert "3 of 3 (29% to 100%)" in lines[-1]


def test_an_accuracy_is_printed_with_the_half_width_of_its_interval(new_writer, epoch_row, tmp_path, capsys):
    """For two seeds that is 6.35 times their standard error (Student's t), so 4.49 times their standard deviation."""
    writer = new_writer(tmp_path / "sweep", count=2)
    trials = [TrialConfig(learning_rate=0.1, seed=seed, epochs=1) for seed in (0, 1)]
    writer.meta["trials"] = {f"{i:05d}": trial.to_dict() for i, trial in enumerate(trials)}
    for trial_id, accuracy in (("00000", 0.90), ("00001", 0.91)):
        writer.epoch(trial_id, epoch_row(1, train_accuracy=accuracy), False)
    print_replicates(writer.finish(ended="now").trials)
    assert "0.9050 ± 0.0635" in capsys.readouterr().out


def test_without_replicates_nothing_is_printed(made_up_sweep, capsys):
    print_replicates(made_up_sweep([0.01, 0.1]).trials)
    assert capsys.readouterr().out == ""


def test_only_the_first_errors_are_printed(new_writer, tmp_path, capsys):
    writer = new_writer(tmp_path / "sweep", count=FAILURES + 5)
    for i in range(FAILURES + 5):
        writer.end(f"{i:05d}", "error", "no memory")
    assert print_report(writer.finish(ended="now")) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith("failed: no memory") for line in lines) == FAILURES
    assert lines[-1] == "... and 5 more failed; the column error of trials says why"
    found = load_sweep(tmp_path / "sweep")
    print_report(found, every_line=True)
    assert capsys.readouterr().out.count("failed: no memory\n") == FAILURES + 5


def test_a_proposed_command_quotes_the_name_of_a_network(made_up_sweep):
    """It may come from a folder that somebody else wrote."""
    trials = made_up_sweep([0.01, 0.1], architectures=["x; rm -rf ~"]).trials
    assert "--architecture 'x; rm -rf ~' --learning-rates 0.1" in proposed(trials, {}, [0.1])


def test_seeds_that_never_trained_are_no_replicates(made_up_sweep, capsys):
    trials = made_up_sweep([0.1], seeds=3).trials.assign(epochs_run=[4, 4, 0], regime=["converged"] * 2 + ["undecided"])
    print_replicates(trials)
    assert "2 of 2 (16% to 100%)" in capsys.readouterr().out
    print_replicates(trials.assign(epochs_run=[4, 0, 0]))
    assert capsys.readouterr().out == ""


def test_families_that_are_left_out_are_counted_not_their_lines(made_up_sweep, capsys):
    """Each says two lines: what was found, and what to try."""
    names = [f"mlp-{width}-tanh" for width in range(1, MANY + 4)]
    sweep = made_up_sweep([0.1, 0.2], architectures=names, epochs=1)
    lines = printed(capsys, replace(sweep, trials=sweep.trials.assign(regime="converged")))
    assert lines.count("... and 3 more families") == 2  # of the table, and of the conclusions
    assert sum(line.startswith("mlp-") and ": converges " in line for line in lines) == MANY


def test_a_long_name_leaves_room_for_what_was_found(made_up_sweep, capsys):
    names = ["/home/anna/networks/residual.py:resnet(width=64, depth=4, norm='layer', activation='gelu')", "mlp-4-tanh"]
    printed = printed_text(capsys, made_up_sweep([0.1, 0.2], architectures=names))
    assert printed.count("residual.py:resnet(… activation='gelu')   0.1  ") == 1
    assert f"{names[0]}: " in printed


def test_rates_that_look_alike_are_told_apart_in_the_table(made_up_sweep, capsys):
    printed = printed_text(capsys, made_up_sweep([1.0001, 1.0002]))
    assert "1.0001  " in printed
    assert "1.0002  " in printed


def test_a_sweep_over_arrays_has_no_command_for_the_next_question(made_up_sweep):
    """Nor could it run: a command line names no arrays."""
    trials = made_up_sweep([0.1, 1.0]).trials.assign(regime="converged", dataset="arrays")
    line = conclusions(trials, {"dataset": "arrays"})[2]
    assert line == "  no edge yet, try larger rates: 1 2.15 4.64 10, from Python as before"
