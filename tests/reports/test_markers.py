"""No word of a message decides anything: with a marker at the end of every text that a
person reads, labels, answers, commands and exit codes are the same."""

import json
import sys

import pytest
from changed_sweeps import with_trials
from made_up_sweeps import KINDS as MADE_UP
from made_up_sweeps import of_kind
from sweep_states import NAMES

from checks import markers
from checks.markers import MARK, TEXTS, marked, without_texts
from mnist_tune import UserError, cli, errors, load_sweep, terminal
from mnist_tune.commands import lr_regimes
from mnist_tune.regimes import evidence
from mnist_tune.regimes.labels import LABELLED, label_trials
from mnist_tune.reports import findings, json_object, page
from mnist_tune.reports import terminal as tables
from mnist_tune.reports.json_object import as_json

RELABELLED = ["trial_id", *LABELLED]


@pytest.fixture
def mark(monkeypatch):
    """A function that has every text end with the marker, until the test ends."""

    def mark_texts():
        # what is replaced by the markers is put back by monkeypatch
        monkeypatch.setattr(UserError, "__init__", UserError.__init__)
        monkeypatch.setattr(terminal, "_line", terminal._line)
        monkeypatch.setattr(evidence, "TEXTS", dict(evidence.TEXTS))
        monkeypatch.setattr(findings, "notes", findings.notes)
        markers.mark_errors(errors)
        markers.mark_lines(terminal)
        markers.mark_evidence(evidence)
        markers.mark_notes(findings)
        for module in (tables, page, json_object):
            monkeypatch.setattr(module, "notes", findings.notes)

    return mark_texts


def marked_if_any(text):
    return marked(text) if text else text


def with_marked_tables(sweep):
    """Return a sweep with the marker at the end of each text in its tables."""
    texts = {name: sweep.trials[name].fillna("").map(marked_if_any) for name in TEXTS}
    return with_trials(sweep, **texts)


def labels(sweep):
    """Return the labels of a sweep's trials, made again."""
    trials = label_trials(sweep.trials, sweep.epochs, sweep.record.data)
    return trials[RELABELLED]


def check(sweep, mark):
    """Compare what a sweep says with markers to what it says without."""
    before = json.loads(as_json(sweep))
    labels_before = labels(sweep)
    mark()
    after = json.loads(as_json(with_marked_tables(sweep)))
    labels_after = labels(sweep)
    assert without_texts(after) == without_texts(before)
    texts = labels_after.pop("regime_evidence")
    assert texts.map(lambda text: MARK in text).all()
    assert labels_after.equals(labels_before.drop(columns="regime_evidence"))
    notes = before["text"]["notes"]
    assert after["text"]["notes"] == [marked(note) for note in notes]
    for row, marked_row in zip(before["trials"], after["trials"], strict=True):
        assert marked_row["regime_evidence"] == marked(row["regime_evidence"])


@pytest.mark.parametrize("name", NAMES)
def test_no_word_decides_what_a_sweep_in_each_state_says(name, make, mark):
    check(make(name), mark)


@pytest.mark.parametrize("kind", MADE_UP)
def test_no_word_decides_what_a_stored_sweep_says(
    kind, new_writer, epoch_row, tmp_path, mark
):
    of_kind(kind, tmp_path / "a", new_writer, epoch_row)
    check(load_sweep(tmp_path / "a"), mark)


@pytest.mark.parametrize(
    ("name", "code"), [("settled", 0), ("failed", 1), ("interrupted", 130)]
)
def test_no_word_decides_the_exit_code(name, code, make, mark, monkeypatch, capsys):
    sweep = with_marked_tables(make(name))
    mark()
    monkeypatch.setattr(lr_regimes, "run_or_resume", lambda options: sweep)
    monkeypatch.setattr(sys, "argv", ["lr_regimes.py"])
    assert lr_regimes.main() == code
    assert "on its way" in capsys.readouterr().out


def test_a_marked_error_ends_a_command_as_any_other(mark, monkeypatch, capsys):
    mark()
    monkeypatch.setattr(sys, "argv", ["lr_regimes.py", "--seeds", "-1"])
    with pytest.raises(SystemExit) as ended:
        cli.run(lr_regimes.main)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(MARK)


def test_markers_are_on_every_line_but_progress(mark, capsys):
    mark()
    terminal.announce("1 of 2 trials ended")
    terminal.announce(terminal.note("one core"))
    terminal.announce(terminal.warning("no disk"))
    progress, *lines = capsys.readouterr().err.splitlines()
    assert progress == "1 of 2 trials ended"
    assert lines == [marked("note: one core"), marked("warning: no disk")]
