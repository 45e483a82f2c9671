"""The page of a running sweep: written now and then, at a bounded cost, and never the
sweep's undoing."""

import time
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from waiting import wait_until

from mnist_tune.judged import judged
from mnist_tune.reports import live
from mnist_tune.reports.answer import answer
from mnist_tune.results.tables import journal_tables
from mnist_tune.tuning import progress
from mnist_tune.tuning.progress import LivePage, ProgressView

VIEW = ProgressView(2, 8, 0, quiet=True)


@pytest.fixture
def writer(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    writer.epoch("00000", epoch_row(1), False)
    yield writer
    writer.finish(ended="now")


@pytest.mark.slow
@pytest.mark.promise("A page that can't be written ends no sweep")
def test_a_running_sweep_has_a_page_once_it_can_be_written_and_its_process_is_started_again_if_it_dies(
    writer, monkeypatch
):
    """What goes wrong is said once, until a page was written."""
    monkeypatch.setattr(progress, "INTERVAL_S", 0.01)
    monkeypatch.setattr(progress, "SHARE", 1000)
    place = writer.path / "report.html"
    lines = []
    place.mkdir()
    with LivePage(writer, lines.append, VIEW) as live:
        wait_until(lambda: lines)
        time.sleep(0.5)
        assert live.pages == 0
        place.rmdir()
        wait_until(lambda: live.pages)
        live._process.kill()
        place.unlink()
        before = live.pages
        wait_until(lambda: live.pages > before + 1)
    html = place.read_text()
    assert "0 of 2 trials ended, 1 running, 1 waiting" in html
    assert "<progress" in html
    first_note = "note: the page of this sweep was not written (can't write the page"
    assert lines[0].startswith(first_note)
    assert lines[1:] == [
        f"page: {place} (a browser that shows it follows the sweep)",
        "note: the page of this sweep was not written (its process died)",
    ]


@pytest.mark.slow
def test_progress_and_page_have_the_same_answer(writer, epoch_row, monkeypatch):
    """That of all epochs, not the luckiest epoch of any trial. While no trial has
    ended, there is none."""
    monkeypatch.setattr(progress, "INTERVAL_S", 0.05)
    view = ProgressView(2, 6, 0, quiet=True)
    with LivePage(writer, lambda line: None, view) as live:
        wait_until(lambda: live.pages)
    assert not view.answer
    for trial_id, accuracies in (
        ("00000", (0.8, 0.97, 0.9, 0.91)),
        ("00001", (0.8, 0.9, 0.9, 0.93)),
    ):
        for epoch, accuracy in enumerate(accuracies, start=1):
            writer.epoch(trial_id, epoch_row(epoch, train_accuracy=accuracy), False)
        writer.end(trial_id, "completed")
    with LivePage(writer, lambda line: None, view):
        wait_until(lambda: view.answer)
    view.end("00000", "completed", 0, "")
    sweep = judged(journal_tables(writer.path, writer.meta))
    assert view.answer == f"after 2 trials: {answer(sweep).headline}"
    assert "accuracy 0.9200 (" in view.answer
    assert view.answer in view.said()


@pytest.mark.promise("Writing the page takes a small share of the time")
def test_pages_are_written_less_often_the_longer_they_take(tmp_path, monkeypatch):
    """At most a twenty-fifth of a core's time is spent, also if they can't be
    written."""
    waits = []
    spent = iter([0.5, 1.7, 4.7, 4.8])

    def wait(inputs, outputs, errors, timeout):
        waits.append(round(timeout, 3))
        return [len(waits) == 5]

    monkeypatch.setattr(live, "select", SimpleNamespace(select=wait))
    monkeypatch.setattr(live, "time", SimpleNamespace(process_time=lambda: next(spent)))
    live.main(tmp_path, "report.html", progress.INTERVAL_S, progress.SHARE)
    assert waits == [0.0, 30.0, 30.0, 75.0, 30.0]


def test_a_short_sweep_writes_no_page_meanwhile_and_ends_at_once(writer):
    begun = time.monotonic()
    with LivePage(writer, lambda line: None, VIEW) as live:
        pass
    assert time.monotonic() - begun < 5
    assert live.pages == 0


def test_the_last_page_is_written_here_and_its_failure_is_told(writer):
    lines = []
    live = LivePage(writer, lines.append, VIEW)
    live.last(SimpleNamespace(report=Mock(side_effect=RuntimeError("a bug"))))
    note = "note: the page of this sweep was not written (RuntimeError: a bug)"
    assert lines == [note]
