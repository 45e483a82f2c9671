"""Texts are made last: with other words in every evidence, error and note, a sweep says
the same."""

import shutil

import numpy as np
import pytest
from made_up_sweeps import KINDS, decision, of_kind

from mnist_tune import load_sweep, terminal
from mnist_tune.errors import ErrorKind, UserError
from mnist_tune.regimes import evidence
from mnist_tune.regimes.evidence import TEXTS
from mnist_tune.reports import findings, json_object
from mnist_tune.reports.json_object import json_object as as_object
from mnist_tune.reports.table import columns
from mnist_tune.reports.terminal import exit_code
from mnist_tune.reports.view import View
from mnist_tune.results import writer
from mnist_tune.terminal import announce, note, warning

MARK = "¦"


def marked(text):
    return f"{MARK}{text}{MARK}" if text else text


def mark_all_texts(monkeypatch):
    """Mark each text at the one place that makes it, or through which it goes."""

    def marking(make):
        return lambda *values, **numbers: marked(make(*values, **numbers))

    for reason, make in TEXTS.items():
        monkeypatch.setitem(evidence.TEXTS, reason, marking(make))
    monkeypatch.setattr(writer, "redacted", marked)
    monkeypatch.setattr(
        UserError,
        "__init__",
        lambda error, text="": Exception.__init__(error, marked(text)),
    )
    monkeypatch.setattr(
        terminal, "_line", lambda kind, text: marked_line(kind, marked(text))
    )
    monkeypatch.setattr(
        json_object, "notes", lambda sweep: map(marked, findings.notes(sweep))
    )


def marked_line(kind, text):
    line = terminal.Note(marked(kind))
    line.text = text
    return line


def without_texts(sweep):
    """What a sweep says, without texts: its answer, questions and commands, its table
    and its exit code."""
    entry = as_object(sweep)
    del entry["text"]
    for row in entry["trials"]:
        del row["regime_evidence"], row["error"]
    for question in entry["questions"]:
        del question["text"]
    shown = [column for column in columns(View([sweep])) if column.title != "why"]
    return (
        entry,
        [(column.title, column.cells) for column in shown],
        exit_code(sweep.trials),
    )


def said_twice(monkeypatch, make, path):
    """Return what a sweep says, made and read twice: as it is, and with marks."""
    plain = without_texts(make())
    shutil.rmtree(path)
    with monkeypatch.context() as patched:
        mark_all_texts(patched)
        sweep = make()
        other = without_texts(sweep)
        assert sweep.trials["regime_evidence"].str.startswith(MARK).all()
        errors = sweep.trials["error"][sweep.trials["stop_reason"] == "error"]
        assert errors.str.startswith(MARK).all()
        return plain, other


@pytest.mark.parametrize("kind", KINDS)
def test_other_words_change_nothing_of_a_sweep(
    kind, monkeypatch, new_writer, epoch_row, tmp_path
):
    def make():
        of_kind(kind, tmp_path / "sweep", new_writer, epoch_row)
        return load_sweep(tmp_path / "sweep")

    plain, other = said_twice(monkeypatch, make, tmp_path / "sweep")
    assert other == plain


ENDS = {
    "ended": [("completed",), ("diverged",), ("diverged",), ("completed",)],
    "interrupted": [("completed",), ("diverged",), ("asha",), ("interrupted",)],
    "failed": [("completed",), ("error", "full"), ("slow",), ("error", "gone")],
    "no resume helps": [
        ("completed",),
        ("error", "as it is", ErrorKind.LAST_BATCH),
        ("dead",),
        ("error", "as it is", ErrorKind.LAST_BATCH),
    ],
}


@pytest.mark.parametrize("ends", ENDS)
def test_other_words_change_nothing_however_trials_ended(
    ends, monkeypatch, sweep, tmp_path
):
    make = lambda: load_sweep(sweep(*ENDS[ends]).path)  # noqa: E731
    plain, other = said_twice(monkeypatch, make, tmp_path / "sweep")
    assert other == plain
    retried = [step["kind"] for step in plain[0]["questions"]].count("retry")
    assert retried == (ends == "failed")


COURSES = {
    "on_its_way": 1 - 0.55 * np.arange(1, 11) ** -0.45,
    "left_target": [0.8, 0.88, 0.92, 0.93, 0.925, 0.92, 0.905, 0.904, 0.903, 0.902],
    "levelled_off": [0.6, 0.75, 0.8, *[0.81] * 7],
}
"""Accuracies of trials whose reasons decide what is said, by these."""


@pytest.mark.parametrize("reason", COURSES)
def test_other_words_change_nothing_where_a_reason_decides(
    reason, monkeypatch, new_writer, epoch_row, tmp_path
):
    def make():
        writer = new_writer(tmp_path / "sweep", count=2)
        for trial in writer.meta["trials"].values():
            trial["epochs"] = 10 if reason == "levelled_off" else 14
        # the other one has only begun, so that columns are shown
        for trial_id, last in (("00000", 10), ("00001", 1)):
            for epoch, accuracy in enumerate(COURSES[reason][:last], start=1):
                row = epoch_row(epoch, 2.5 * (1 - accuracy), float(accuracy))
                writer.epoch(trial_id, row, False)
            writer.end(trial_id, "interrupted")
        return load_sweep(writer.finish(ended="now").path)

    plain, other = said_twice(monkeypatch, make, tmp_path / "sweep")
    assert plain[0]["trials"][0]["reason"] == reason
    assert other == plain


def test_other_words_change_nothing_of_a_decision(monkeypatch, made_up_sweep, tmp_path):
    settings = [{"learning_rate": rate} for rate in (0.1, 0.2, 0.4)]

    def make():
        base = made_up_sweep([0.1, 0.2])
        return decision(
            base,
            settings,
            lambda seed, number: None if seed == number == 1 else 0.9 - 0.01 * number,
        )

    plain = without_texts(make())
    shutil.rmtree(tmp_path / "sweep")
    mark_all_texts(monkeypatch)
    assert without_texts(make()) == plain


def test_notes_and_warnings_are_shown_by_quiet_commands_whatever_they_say(
    monkeypatch, capsys
):
    mark_all_texts(monkeypatch)
    announce("note: progress that only looks like one", quiet=True)
    for line in (note("net.py has changed"), warning("it diverges")):
        announce(line, quiet=True)
    assert capsys.readouterr().err == f"{MARK}note{MARK}\n{MARK}warning{MARK}\n"
