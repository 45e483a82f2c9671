"""What is printed of a sweep on the terminal."""

import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from made_up_sweeps import decision
from rich.console import Console

from mnist_tune import TrialConfig
from mnist_tune.errors import ErrorKind
from mnist_tune.reports import terminal
from mnist_tune.reports.table import MANY
from mnist_tune.reports.terminal import print_report
from mnist_tune.reports.view import RANGES

DONE, DIVERGED, CUT = ("completed",), ("diverged",), ("interrupted",)


def test_the_resume_command_depends_on_how_the_sweep_was_started(sweep, capsys):
    # no resume helps the first
    hopeless = "error", "as it is", ErrorKind.LAST_BATCH
    found = sweep(DONE, hopeless, CUT, ("error", "full"))
    by_command, by_call = (
        f"mnist-tune resume {found.path}",
        f"the same run_search, with resume='{found.path}'",
    )
    failed = (
        f"{by_command} --retry-errored",
        f"{by_call} and SweepOptions(retry_errored=True)",
    )
    for meta in (
        {"name": "mine"},
        {"name": "lr_regimes"},
        {"name": "mine", "search": True},
    ):
        assert print_report(replace(found, meta=found.meta | meta)) == 1, (
            "an error counts more than an interrupt"
        )
        out = capsys.readouterr().out
        assert (
            f"1 trial had not ended; resume with: {by_call if 'search' in meta else by_command}\n"
            in out
        )
        assert (
            f"1 trial failed; train it again with: {failed['search' in meta]}\n" in out
        )


def test_a_running_sweep_says_how_far_it_is_and_not_how_to_resume(
    made_up_sweep, capsys
):
    found = made_up_sweep([0.1, 1, 3])
    reasons = ["error", "running", "waiting"]
    print_report(replace(found, trials=found.trials.assign(stop_reason=reasons)))
    out = capsys.readouterr().out
    assert "\n1 of 3 trials ended, 1 running, 1 waiting\n" in out
    assert not re.search("--resume|Picture: ", out)


def test_what_was_drawn_or_written_already_is_named_or_left_out(
    made_up_sweep, capsys, monkeypatch
):
    found = made_up_sweep([0.1, 1])
    print_report(found, picture=True)
    assert not re.search("Page: |Picture: ", capsys.readouterr().out)
    (found.path / "report.html").touch()
    print_report(found)
    said = capsys.readouterr().out
    assert f"\nResults: {found.path}" in said
    assert f"Page: {found.path}/report.html" in said
    monkeypatch.chdir(found.path.parent)
    print_report(found)
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        "Results: sweep    Page: sweep/report.html    Picture: mnist-tune show sweep --picture regimes.png",
        last,
    )


def printed_text(capsys, sweep, every_line=True):
    print_report(sweep, every_line)
    return capsys.readouterr().out


def test_trials_are_in_the_order_of_what_varies_and_then_of_their_rates_and_seeds(
    made_up_sweep, capsys
):
    sweep = made_up_sweep([1, 0.1], seeds=2, architectures=["own[/]", "mlp-4-tanh"])
    trials = sweep.trials.iloc[::-1].assign(target=[0.91] * 7 + [0.5])
    heads, *lines = printed_text(capsys, replace(sweep, trials=trials)).splitlines()
    assert heads.split()[:3] == ["architecture", "rate", "seed"]
    assert " reaches target " in heads
    assert [line.split()[:3] for line in lines[:8]] == [
        [name, rate, seed]
        for name in ("mlp-4-tanh", "own[/]")
        for rate in ("0.1", "1")
        for seed in "01"
    ]


def test_a_narrow_table_says_why_trials_stopped_only_if_the_other_columns_do_not(
    made_up_sweep, capsys, monkeypatch
):
    sweep = made_up_sweep([0.1])
    monkeypatch.setattr(terminal, "PLAIN_WIDTH", 65)
    for reason in ("completed", "dead", "slow", "asha"):
        printed = printed_text(
            capsys, replace(sweep, trials=sweep.trials.assign(stop_reason=reason))
        )
        assert ("stopped" in printed.split("Train with")[0]) is (reason == "asha")
        assert ">= 0.91" not in printed, "it has no room beside the other columns"


def test_a_folders_name_is_quoted_for_the_shell(new_writer, tmp_path, capsys):
    found = new_writer(tmp_path / "my sweep").finish()
    print_report(found)
    out = capsys.readouterr().out
    assert f"mnist-tune resume '{found.path}'\n" in out
    assert f"Results: {found.path}" in out
    print_report(replace(found, trials=found.trials.assign(stop_reason="completed")))
    assert capsys.readouterr().out.endswith(
        f"mnist-tune show '{found.path}' --picture regimes.png\n"
    )


def test_the_table_says_when_the_target_is_reached(made_up_sweep, capsys):
    """It looks as far as three times the epochs asked for, also if fewer ran."""
    reaches = [math.nan, math.inf, 2, 4, 7.4, 12, 12.1, 7.4, 900]
    said = ["–", "never", "epoch 2", "epoch 4", "~7", "~12", "> 12", "~7", "> 12"]
    sweep = made_up_sweep([0.01 + i / 1000 for i in range(9)])
    run = {"epochs_run": [4] * 7 + [2] * 2, "target": 0.9, "reaches_from": math.nan}
    trials = sweep.trials.assign(reaches=[*map(float, reaches)], **run)
    heading, *lines = printed_text(capsys, replace(sweep, trials=trials)).splitlines()
    assert "reaches 0.9" in heading
    for line, one in zip(lines[:9], said, strict=True):
        assert f" {one} " in line


def test_at_eighty_columns_no_text_is_cut(made_up_sweep, capsys, monkeypatch):
    sweep = made_up_sweep([0.01, 0.1], seeds=2, batch_size=32)
    trials = pd.concat(
        [sweep.trials, sweep.trials.assign(batch_size=64, momentum=0.9)],
        ignore_index=True,
    )
    trials["trial_id"] = [str(i) for i in range(len(trials))]
    trials["regime_evidence"] = "accuracy 0.8119 after 5 epochs; rate 0.4 had 0.9940"
    monkeypatch.setattr(terminal, "PLAIN_WIDTH", 80)
    print_report(
        replace(sweep, trials=trials.assign(stop_reason="completed")), every_line=True
    )
    table = capsys.readouterr().out.split("Train with")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "…" not in table
    assert " ".join(table.split()).count("0.9940") == 8


def printed(capsys, sweep, **options):
    """Return the lines that are printed for a sweep."""
    print_report(sweep, **options)
    return capsys.readouterr().out.splitlines()


def test_many_trials_are_summarised_by_ranges_of_learning_rates(
    made_up_sweep, rates, capsys
):
    found = made_up_sweep(rates(300), epochs=1)
    lines = printed(capsys, found)
    assert len(lines) < RANGES + 12
    table = [line for line in lines if re.match("[0-9.]+–", line.lstrip())]
    assert len(table) == RANGES
    assert table[0].lstrip().startswith("0.001–")
    for regime, count in found.trials["regime"].value_counts().items():
        assert (
            sum(
                int(n)
                for line in table
                for n in re.findall(rf"(\d+) (?:of \d+ )?{regime}", line)
            )
            == count
        )
    (whole,) = [line for line in lines if "--all" in line]
    assert whole.endswith(f"More: mnist-tune show {found.path} --all")


def test_up_to_a_limit_trials_are_printed_one_by_one(made_up_sweep, rates, capsys):
    found = made_up_sweep(rates(MANY), epochs=1)
    assert printed(capsys, found) == printed(capsys, found, every_line=True)


def test_settings_with_seeds_have_a_line_each_with_what_they_differ_in(
    made_up_sweep, rates, capsys
):
    found = made_up_sweep(
        rates(MANY // 2), seeds=2, epochs=1, architectures=["mlp-4-tanh", "mlp-8-tanh"]
    )
    trials = found.trials.assign(
        label=["[/]"] * MANY + [""] * MANY, batch_size=[32] * MANY + [64] * MANY
    )
    trials.loc[:1, ["train_accuracy", "test_accuracy"]] = math.nan
    caption, heads, *lines = printed(capsys, replace(found, trials=trials))
    assert (
        caption
        == "A line for each setting, without failed seeds: means ± 95%, or both of two:"
    )
    assert (
        heads.split()
        == "label architecture batch size rate regime test acc train acc".split()
    )
    assert (
        len([line for line in lines if re.match(r"(\[/\])? *mlp-\d-tanh  ", line)])
        == MANY
    )
    [first] = [
        line.split() for line in lines if " mlp-4-tanh " in line and " 0.001 " in line
    ]
    assert first == "[/] mlp-4-tanh 32 0.001 2 of 2 undecided – –".split()


def on_terminal(monkeypatch, width, **environment):
    """Print to a terminal of this width, without colours; return the list of texts that
    are printed."""
    monkeypatch.setattr(
        terminal,
        "Console",
        lambda **_: Console(width=width, force_terminal=True, _environ=environment),
    )


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_answer_comes_last_in_few_lines_that_are_wrapped_between_words(
    made_up_sweep, capsys, monkeypatch, width
):
    on_terminal(monkeypatch, width, NO_COLOR="1", TERM="xterm")
    sweep = made_up_sweep([0.001, 0.01, 0.1, 0.2, 0.4, 0.6, 1, 4], seeds=3)
    print_report(sweep)
    said = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    table, head, rest = said.partition(
        "Train with 1: test accuracy 0.9700 (best of 8, mean of 3 seeds, chosen on the"
    )
    assert len(table.splitlines()) <= 11
    assert not re.search("completed|00:", table)
    found = sweep.answer()
    assert found.lines == (
        "3 seeds can't rank 0.2, 0.4, 0.6, 1 among the 7 compared",
        "slow to 0.01 · converges 0.1–1 · diverges 4",
    )
    lines = (head + rest).splitlines()
    assert len(lines) <= 8
    assert [line for line in lines if line.endswith(found.questions[0].command)], (
        "a command is one line"
    )


def test_colours_are_among_the_sixteen_and_no_color_is_respected(
    made_up_sweep, capsys, monkeypatch
):
    sweep = made_up_sweep([0.1, 4])
    on_terminal(monkeypatch, 120, TERM="xterm")
    print_report(sweep)
    said = capsys.readouterr().out
    assert "\x1b[32mconverged" in said, (
        "green, not the grey that is nearest to another green"
    )
    assert "\x1b[1mTrain with" in said
    on_terminal(monkeypatch, 120, TERM="xterm", NO_COLOR="1")
    print_report(sweep)
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", capsys.readouterr().out)


def test_a_decision_has_a_line_for_each_setting(made_up_sweep, capsys):
    settings = [
        {"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2, 0.4)
    ]
    sweep = decision(
        made_up_sweep([0.1]),
        settings,
        lambda seed, k: (0.9, 0.95, 0.94)[k] + 0.001 * (seed % 3),
    )
    print_report(sweep)
    table, _, rest = capsys.readouterr().out.partition(
        "Train with 0.2: none of the others is better"
    )
    rows = table.splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["0.2", "0.4", "0.1"], "the best first"
    assert [" best " in row for row in rows] == [True, False, False]
    assert len(rest.splitlines()) <= 7


def test_a_long_name_leaves_room_for_what_was_found(made_up_sweep, capsys):
    names = [
        "/home/anna/networks/residual.py:resnet(width=64, depth=4, norm='layer', activation='gelu')",
        "mlp-4-tanh",
    ]
    printed = printed_text(capsys, made_up_sweep([0.1, 0.2], architectures=names))
    assert printed.count("residual.py:resnet(…, activation='gelu')   0.1  ") == 1
    assert f"\n{names[0]}: " in printed


def test_a_curve_that_slips_once_at_its_end_has_been_at_the_target_since_it_got_there(
    new_writer, epoch_row, tmp_path, capsys
):
    writer = new_writer(tmp_path / "sweep", count=1)
    trial = TrialConfig(learning_rate=0.1, epochs=8)
    writer.meta["trials"] = {"00000": trial.to_dict()}
    for epoch, accuracy in enumerate(
        [0.85, 0.93, 0.95, 0.97, 0.98, 0.98, 0.98, 0.9], start=1
    ):
        writer.epoch("00000", epoch_row(epoch, 0.1, accuracy), False)
    writer.end("00000", "completed")
    line = printed(capsys, writer.finish(ended="now"), every_line=True)[1]
    assert " converged " in line
    assert " epoch 2 " in line


def test_what_to_try_is_decided_on_the_images_held_out(made_up_sweep, capsys):
    sweep = made_up_sweep([0.1, 0.2, 0.4], holdout=9)
    trials = sweep.trials.sort_values("learning_rate").assign(
        regime="underfit",
        test_accuracy=[0.6, 0.7, 0.8],
        validation_accuracy=[0.8, 0.7, 0.6],
    )
    print_report(replace(sweep, trials=trials))
    assert (
        "\n0.1 is the smallest rate tried, so try smaller ones: "
        in capsys.readouterr().out
    )
