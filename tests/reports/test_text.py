"""The text that a sweep prints."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from mnist_tune.reports.conclusions import conclusions, wider
from mnist_tune.reports.large_sweeps import LINES, MANY
from mnist_tune.reports.text import FAILURES, INTERRUPTED, print_replicates, print_report

DONE, DIVERGED, CUT = ("completed",), ("diverged",), ("interrupted",)


def test_a_sweep_without_errors_returns_0(sweep, capsys):
    found = sweep(DONE, DIVERGED, DIVERGED, ("asha",))
    assert print_report(found) == 0
    said = capsys.readouterr().out
    assert "Regimes: 1 converged, 2 diverged, 1 undecided" in said
    assert "mlp-1024-128-tanh: best learning rate 0.1 (lowest training loss), largest that converged 0.1" in said
    assert f"Next: python analysis/summarize.py {found.path}" in said


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
        "learning rate": "0.1",
        "regime": "converged",
        "epochs": "3/4",
        "train acc": "0.9800",
        "test acc": "0.9700",
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
    assert said.count(error) == 2
    command = "python sweeps/lr_regimes.py --resume"
    assert f"1 trials failed; train them again with: {command} {found.path} --retry-errored" in said


def test_an_interrupted_sweep_returns_130_and_prints_how_to_resume(sweep, capsys):
    found = sweep(DONE, DIVERGED, CUT, ("time_budget",))
    assert print_report(found) == INTERRUPTED == 130
    expected = f"2 trials had not ended; resume with: python sweeps/lr_regimes.py --resume {found.path}"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"name": "mine"}, "python sweeps/lr_regimes.py --resume {}"),
        ({"name": "seeds"}, "python sweeps/seeds.py --resume {}"),
        ({"name": "mine", "search": True}, "the same run_search, with SweepOptions(resume='{}')"),
    ],
)
def test_the_resume_command_depends_on_how_the_sweep_was_started(sweep, capsys, meta, said):
    found = sweep(DONE, DIVERGED, CUT, ("error", "full"))
    found.meta.update(meta)
    print_report(found)
    out, said = capsys.readouterr().out, said.format(found.path)
    assert f"1 trials had not ended; resume with: {said}\n" in out
    retry = f"{said[:-1]}, retry_errored=True)" if said.endswith(")") else f"{said} --retry-errored"
    assert f"1 trials failed; train them again with: {retry}\n" in out


def test_a_folders_name_is_quoted_for_the_shell(new_writer, tmp_path, capsys):
    found = new_writer(tmp_path / "my sweep").finish()
    print_report(found)
    out = capsys.readouterr().out
    assert f"--resume '{found.path}'\n" in out
    assert f"Results: {found.path}\n" in out


def test_conclusions_where_nothing_finished(new_writer, tmp_path):
    trials = new_writer(tmp_path / "sweep").finish(ended="now").trials
    assert conclusions(trials)[1] == "mlp-1024-128-tanh: no learning rate finished an epoch"


def test_conclusions_where_every_rate_diverged(made_up_sweep):
    line = conclusions(made_up_sweep([3.0, 4.0]).trials)[1]
    assert line.startswith("mlp-4-tanh: every learning rate diverged, the smallest is 3; try smaller ones: ")
    command = "python sweeps/lr_regimes.py --architecture mlp-4-tanh --learning-rates 3 1.4 0.65 0.3"
    assert line.endswith(f"{command} --epochs 4 --dataset mnist-5k")


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ([0.01, 0.1, 1.0], "it is the largest tried, widen the range: python sweeps/lr_regimes.py --architecture"),
        ([1.9, 3.0, 4.0], "it is the smallest tried, widen the range: python sweeps/lr_regimes.py --architecture"),
        ([0.1, 1.0, 3.0], "largest that converged 1"),
        ([1.0], "largest that converged 1"),
    ],
)
def test_a_best_rate_at_an_end_asks_for_a_wider_range(made_up_sweep, rates, said):
    line = conclusions(made_up_sweep(rates).trials)[1]
    assert said in line
    assert ("widen" in line) == ("widen" in said)


@pytest.mark.parametrize(
    ("rates", "proposed"), [([0.01, 0.1, 1.0], "1 2.2 4.6 10"), ([1.9, 3.0, 4.0], "1.9 0.88 0.41 0.19")]
)
def test_the_wider_range_starts_at_the_best_rate(made_up_sweep, rates, proposed):
    line = conclusions(made_up_sweep(rates).trials)[1]
    assert f" --learning-rates {proposed} --epochs" in line


@pytest.mark.parametrize(
    ("regimes", "said"),
    [
        (("converged", "converged", "slow", "diverged"), "largest that converged 0.1"),
        (("converged", "converged", "converged", "slow"), "largest that converged in every trial 0.1, 1 in 1 of 2"),
        (("slow", "converged", "converged", "slow"), "no learning rate converged in every trial, 1 in 1 of 2"),
        (("slow", "slow", "slow", "slow"), "none converged"),
    ],
)
def test_the_largest_converged_rate_may_converge_only_for_some_seeds(made_up_sweep, regimes, said):
    trials = made_up_sweep([0.1, 1.0], seeds=2).trials.sort_values(["learning_rate", "seed"])
    assert conclusions(trials.assign(regime=regimes))[1].split("training loss), ")[1].split("; it")[0] == said


def test_the_command_for_a_wider_range_keeps_all_other_flags(made_up_sweep):
    found = made_up_sweep([0.1, 1.0], seeds=2, momentum=0.5, nesterov=True, batch_size=32)
    ran = {"data_dir": "my data", "target": 0.8, "scheduler": "fifo", "lanes": 3}
    line = conclusions(found.trials, ran)[1]
    assert "--batch-size 32 --momentum 0.5 --nesterov --seeds 0 1 --epochs 4 --dataset mnist-5k" in line
    assert line.endswith(" --dataset mnist-5k --scheduler fifo --target 0.8 --data-dir 'my data'")


def test_a_wider_range_is_tried_as_the_trials_at_its_end(made_up_sweep):
    trials = made_up_sweep([0.01, 0.1, 1.0]).trials
    assert " --batch-size 32 --seeds 3 " in conclusions(trials.assign(batch_size=32, seed=3))[1]


def test_what_differs_has_a_column_and_a_line_of_its_own(made_up_sweep, capsys):
    sweep = made_up_sweep([0.01, 0.1], architectures=["mlp-4-tanh"])
    trials = pd.concat([sweep.trials, sweep.trials.assign(optimizer="adam", batch_size=64)], ignore_index=True)
    lines = printed(capsys, replace(sweep, trials=trials))
    assert lines[0].split()[:4] == ["optimizer", "batch", "size", "learning"]
    assert [line.split(":")[0] for line in lines if ": best learning rate" in line] == [
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
    assert len(printed(capsys, found, every_line=True)) > 3 * MANY


def test_ranges_tell_medians_of_both_accuracies(new_writer, epoch_row, tmp_path, capsys):
    writer = new_writer(tmp_path / "sweep", count=MANY + 12)
    for i in range(MANY + 12):
        values = {"train_accuracy": (0.8, 0.9, 0.99)[i % 3], "test_accuracy": (0.7, 0.75, 0.76)[i % 3]}
        writer.epoch(f"{i:05d}", epoch_row(1, **values), False)
    table = printed(capsys, writer.finish(ended="now"))[1 : 1 + LINES]
    assert {tuple(re.split(r"\s{2,}", line.strip())[1:5]) for line in table} == {("3", "1", "0.9000", "0.7500")}


def test_few_replicates_are_printed_one_by_one(made_up_sweep, capsys):
    lines = printed(capsys, made_up_sweep([0.01, 0.1], seeds=3))
    start = next(i for i, line in enumerate(lines) if line.startswith("Replicates"))
    assert [line.split()[1:3] for line in lines[start + 2 :]] == [["0.01", "3"], ["0.1", "3"]]
    assert "3 of 3 (29% to 100%)" in lines[-1]


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


def test_a_proposed_command_quotes_the_name_of_a_network(made_up_sweep):
    """It may come from a folder that somebody else wrote."""
    trials = made_up_sweep([0.01, 0.1], architectures=["x; rm -rf ~"]).trials
    assert "--architecture 'x; rm -rf ~' --learning-rates" in wider(trials, {}, 0.1, 10)
