"""What is printed of a sweep on the terminal."""

import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from changed_sweeps import by_rate, with_meta, with_trials
from made_up_decisions import clearly_apart, mlp_settings
from made_up_sweeps import decision
from rich.console import Console
from text_tables import barred_rows

from mnist_tune import TrialConfig
from mnist_tune.errors import ErrorKind
from mnist_tune.reports import terminal
from mnist_tune.reports.table import MANY
from mnist_tune.reports.terminal import print_report
from mnist_tune.reports.view import RANGES

DONE, CUT = ("completed",), ("interrupted",)


def printed_text(capsys, sweep, every_line=True):
    print_report(sweep, every_line)
    return capsys.readouterr().out


def printed(capsys, sweep, **options):
    """Return the lines that are printed for a sweep."""
    print_report(sweep, **options)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "meta", [{"name": "mine"}, {"name": "lr_regimes"}, {"name": "mine", "search": True}]
)
def test_the_resume_command_depends_on_how_the_sweep_was_started(sweep, capsys, meta):
    # no resume helps the first
    hopeless = "error", "as it is", ErrorKind.LAST_BATCH
    stopped = sweep(DONE, hopeless, CUT, ("error", "full"))
    resume = f"mnist-tune resume {stopped.path}"
    retry = f"{resume} --retry-errored"
    if "search" in meta:
        resume = f"the same run_search, with resume='{stopped.path}'"
        retry = f"{resume} and SweepOptions(retry_errored=True)"
    code = print_report(with_meta(stopped, **meta))
    assert code == 1, "an error counts more than an interrupt"
    text = capsys.readouterr().out
    assert f"1 trial had not ended; resume with: {resume}\n" in text
    assert f"1 trial failed; train it again with: {retry}\n" in text


def test_a_running_sweep_says_how_far_it_is_and_not_how_to_resume(
    made_up_sweep, capsys
):
    sweep = made_up_sweep([0.1, 1, 3])
    print_report(with_trials(sweep, stop_reason=["error", "running", "waiting"]))
    text = capsys.readouterr().out
    assert "\n1 of 3 trials ended, 1 running, 1 waiting\n" in text
    assert not re.search("--resume|Picture: ", text)


def test_what_was_drawn_or_written_already_is_named_or_left_out(
    made_up_sweep, capsys, monkeypatch
):
    sweep = made_up_sweep([0.1, 1])
    print_report(sweep, picture=True)
    assert not re.search("Page: |Picture: ", capsys.readouterr().out)
    page = sweep.path / "report.html"
    page.touch()
    print_report(sweep)
    text = capsys.readouterr().out
    assert f"\nResults: {sweep.path}" in text
    assert f"Page: {page}" in text
    monkeypatch.chdir(sweep.path.parent)
    last = printed(capsys, sweep)[-1]
    places = "Results: sweep    Page: sweep/report.html    Picture: mnist-tune show sweep --picture regimes.png"
    assert re.fullmatch(places, last)


def test_trials_are_in_the_order_of_what_varies_and_then_of_their_rates_and_seeds(
    made_up_sweep, capsys
):
    sweep = made_up_sweep([1, 0.1], seeds=2, architectures=["own[/]", "mlp-4-tanh"])
    backwards = replace(sweep, trials=sweep.trials.iloc[::-1])
    backwards = with_trials(backwards, target=[0.91] * 7 + [0.5])
    heads, *lines = printed(capsys, backwards, every_line=True)
    assert heads.split()[:3] == ["architecture", "rate", "seed"]
    assert " reaches target " in heads
    trials = [line.split()[:3] for line in lines[:8]]
    assert trials == barred_rows("""
        mlp-4-tanh | 0.1 | 0
        mlp-4-tanh | 0.1 | 1
        mlp-4-tanh | 1   | 0
        mlp-4-tanh | 1   | 1
        own[/]     | 0.1 | 0
        own[/]     | 0.1 | 1
        own[/]     | 1   | 0
        own[/]     | 1   | 1
    """)


@pytest.mark.parametrize("reason", ["completed", "dead", "slow", "asha"])
def test_a_narrow_table_says_why_trials_stopped_only_if_the_other_columns_do_not(
    made_up_sweep, capsys, monkeypatch, reason
):
    sweep = made_up_sweep([0.1])
    monkeypatch.setattr(terminal, "PLAIN_WIDTH", 65)
    text = printed_text(capsys, with_trials(sweep, stop_reason=reason))
    table = text.split("Train with")[0]
    assert ("stopped" in table) is (reason == "asha")
    assert ">= 0.91" not in text, "it has no room beside the other columns"


def test_a_folders_name_is_quoted_for_the_shell(new_writer, tmp_path, capsys):
    sweep = new_writer(tmp_path / "my sweep").finish()
    print_report(sweep)
    text = capsys.readouterr().out
    assert f"mnist-tune resume '{sweep.path}'\n" in text
    assert f"Results: {sweep.path}" in text
    print_report(with_trials(sweep, stop_reason="completed"))
    draw = f"mnist-tune show '{sweep.path}' --picture regimes.png\n"
    assert capsys.readouterr().out.endswith(draw)


REACHES = """
    nan  | 4 | –
    inf  | 4 | never
    2    | 4 | epoch 2
    4    | 4 | epoch 4
    7.4  | 4 | ~7
    12   | 4 | ~12
    12.1 | 4 | > 12
    7.4  | 2 | ~7
    900  | 2 | > 12
"""
"""The epoch that reaches the target, the epochs that ran, and what the table says."""


def test_the_table_says_when_the_target_is_reached(made_up_sweep, capsys):
    """It looks as far as three times the epochs asked for, also if fewer ran."""
    rows = barred_rows(REACHES)
    sweep = made_up_sweep([0.01 + number / 1000 for number in range(9)])
    sweep = with_trials(
        sweep,
        reaches=[float(epoch) for epoch, _, _ in rows],
        epochs_run=[int(epochs) for _, epochs, _ in rows],
        target=0.9,
        reaches_from=math.nan,
    )
    heading, *lines = printed(capsys, sweep, every_line=True)
    assert "reaches 0.9" in heading
    for line, (_, _, words) in zip(lines[:9], rows, strict=True):
        assert f" {words} " in line


def test_at_eighty_columns_no_text_is_cut(made_up_sweep, capsys, monkeypatch):
    sweep = made_up_sweep([0.01, 0.1], seeds=2, batch_size=32)
    larger_batches = sweep.trials.assign(batch_size=64, momentum=0.9)
    trials = pd.concat([sweep.trials, larger_batches], ignore_index=True)
    sweep = with_trials(
        replace(sweep, trials=trials),
        trial_id=[str(number) for number in range(len(trials))],
        regime_evidence="accuracy 0.8119 after 5 epochs; rate 0.4 had 0.9940",
        stop_reason="completed",
    )
    monkeypatch.setattr(terminal, "PLAIN_WIDTH", 80)
    table = printed_text(capsys, sweep).split("Train with")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "…" not in table
    assert " ".join(table.split()).count("0.9940") == 8


def test_many_trials_are_summarised_by_ranges_of_learning_rates(
    made_up_sweep, rates, capsys
):
    sweep = made_up_sweep(rates(300), epochs=1)
    lines = printed(capsys, sweep)
    assert len(lines) < RANGES + 12
    table = [line for line in lines if re.match("[0-9.]+–", line.lstrip())]
    assert len(table) == RANGES
    assert table[0].lstrip().startswith("0.001–")
    for regime, count in sweep.trials["regime"].value_counts().items():
        counts = re.findall(rf"(\d+) (?:of \d+ )?{regime}", "\n".join(table))
        assert sum(map(int, counts)) == count
    (whole,) = [line for line in lines if "--all" in line]
    assert whole.endswith(f"More: mnist-tune show {sweep.path} --all")


def test_up_to_a_limit_trials_are_printed_one_by_one(made_up_sweep, rates, capsys):
    sweep = made_up_sweep(rates(MANY), epochs=1)
    assert printed(capsys, sweep) == printed(capsys, sweep, every_line=True)


def test_settings_with_seeds_have_a_line_each_with_what_they_differ_in(
    made_up_sweep, rates, capsys
):
    networks = ["mlp-4-tanh", "mlp-8-tanh"]
    sweep = made_up_sweep(rates(MANY // 2), seeds=2, epochs=1, architectures=networks)
    sweep = with_trials(
        sweep, label=["[/]"] * MANY + [""] * MANY, batch_size=[32] * MANY + [64] * MANY
    )
    sweep.trials.loc[:1, ["train_accuracy", "test_accuracy"]] = math.nan
    caption, heads, *lines = printed(capsys, sweep)
    settings = "A line for each setting, without failed seeds"
    assert caption == f"{settings}: means ± 95%, or both of two:"
    titles = "label architecture batch size rate regime test acc train acc"
    assert heads.split() == titles.split()
    rows = [line for line in lines if re.match(r"(\[/\])? *mlp-\d-tanh  ", line)]
    assert len(rows) == MANY
    of_network = [line for line in lines if " mlp-4-tanh " in line]
    [first] = [line for line in of_network if " 0.001 " in line]
    words = "[/] mlp-4-tanh 32 0.001 2 of 2 undecided – –"
    assert first.split() == words.split()


def on_terminal(monkeypatch, width, **environment):
    """Print to a terminal of this width, which has these variables."""

    def console(**_):
        return Console(width=width, force_terminal=True, _environ=environment)

    monkeypatch.setattr(terminal, "Console", console)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_answer_comes_last_in_few_lines_that_are_wrapped_between_words(
    made_up_sweep, capsys, monkeypatch, width
):
    on_terminal(monkeypatch, width, NO_COLOR="1", TERM="xterm")
    sweep = made_up_sweep([0.001, 0.01, 0.1, 0.2, 0.4, 0.6, 1, 4], seeds=3)
    print_report(sweep)
    text = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    best = "1: test accuracy 0.9700 (best of 8, mean of 3 seeds, chosen on the"
    table, head, rest = text.partition(f"Train with {best}")
    assert len(table.splitlines()) <= 11
    assert not re.search("completed|00:", table)
    answer = sweep.answer()
    assert answer.lines == (
        "3 seeds can't rank 0.2, 0.4, 0.6, 1 among the 7 compared",
        "slow to 0.01 · converges 0.1–1 · diverges 4",
    )
    lines = (head + rest).splitlines()
    assert len(lines) <= 8
    command = answer.questions[0].command
    assert any(line.endswith(command) for line in lines), "a command is one line"


def test_colours_are_among_the_sixteen_and_no_color_is_respected(
    made_up_sweep, capsys, monkeypatch
):
    sweep = made_up_sweep([0.1, 4])
    on_terminal(monkeypatch, 120, TERM="xterm")
    text = printed_text(capsys, sweep, every_line=False)
    green = "\x1b[32m"
    assert f"{green}converged" in text, "not the grey that is nearest to another green"
    assert "\x1b[1mTrain with" in text
    on_terminal(monkeypatch, 120, TERM="xterm", NO_COLOR="1")
    text = printed_text(capsys, sweep, every_line=False)
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", text)


def test_a_decision_has_a_line_for_each_setting(made_up_sweep, capsys):
    settings = mlp_settings(0.1, 0.2, 0.4)
    scores = clearly_apart(0.9, 0.95, 0.94)
    print_report(decision(made_up_sweep([0.1]), settings, scores))
    headline = "Train with 0.2: none of the others is better"
    table, _, rest = capsys.readouterr().out.partition(headline)
    rows = table.splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["0.2", "0.4", "0.1"], "the best first"
    assert [" best " in row for row in rows] == [True, False, False]
    assert len(rest.splitlines()) <= 7


def test_a_long_name_leaves_room_for_what_was_found(made_up_sweep, capsys):
    call = "resnet(width=64, depth=4, norm='layer', activation='gelu')"
    long_name = f"/home/anna/projects/networks/residual.py:{call}"
    sweep = made_up_sweep([0.1, 0.2], architectures=[long_name, "mlp-4-tanh"])
    text = printed_text(capsys, sweep)
    assert text.count("\nresidual.py:resnet   0.1  ") == 1
    assert f"\n{long_name}: " in text


def test_a_curve_that_slips_once_at_its_end_has_been_at_the_target_since_it_got_there(
    new_writer, epoch_row, tmp_path, capsys
):
    writer = new_writer(tmp_path / "sweep", count=1)
    trial = TrialConfig(learning_rate=0.1, epochs=8)
    writer.meta["trials"] = {"00000": trial.to_dict()}
    accuracies = [0.85, 0.93, 0.95, 0.97, 0.98, 0.98, 0.98, 0.9]
    for epoch, accuracy in enumerate(accuracies, start=1):
        writer.epoch("00000", epoch_row(epoch, 0.1, accuracy), False)
    writer.end("00000", "completed")
    line = printed(capsys, writer.finish(ended="now"), every_line=True)[1]
    assert " converged " in line
    assert " epoch 2 " in line


def test_what_to_try_is_decided_on_the_images_held_out(made_up_sweep, capsys):
    sweep = with_trials(
        by_rate(made_up_sweep([0.1, 0.2, 0.4], holdout=9)),
        regime="underfit",
        test_accuracy=[0.6, 0.7, 0.8],
        validation_accuracy=[0.8, 0.7, 0.6],
    )
    print_report(sweep)
    question = "0.1 is the smallest rate tried, so try smaller ones"
    assert f"\n{question}: " in capsys.readouterr().out
