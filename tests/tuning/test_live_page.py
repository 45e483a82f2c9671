"""The page of a running sweep: written now and then, at a bounded cost, and never the sweep's undoing."""

import base64
import gzip
import json
import re
import time
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from mnist_tune import UserError
from mnist_tune.reports import page
from mnist_tune.reports.answer import answer
from mnist_tune.results.tables import tables
from mnist_tune.tuning import progress
from mnist_tune.tuning.progress import LivePage, ProgressView

VIEW = ProgressView(2, 8, 0, quiet=True)


@pytest.fixture
def writer(new_writer, epoch_row, tmp_path):
    found = new_writer(tmp_path / "sweep")
    found.epoch("00000", epoch_row(1), False)
    yield found
    found.finish(ended="now")


def held(writer):
    """What the page in a sweep's folder holds."""
    html = (writer.path / "report.html").read_text()
    packed = re.search(r'id="page-data">(.*?)</script>', html)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def wait_for(what):
    begun = time.monotonic()
    while not what() and time.monotonic() - begun < 30:
        time.sleep(0.02)
    assert what()


def test_a_running_sweep_has_a_page(writer, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL_S", 0.05)
    monkeypatch.setattr(progress, "SHARE", 1 / 5)
    said = []
    with LivePage(writer, said.append, VIEW) as live:
        wait_for(lambda: live.cost()["pages"] >= 2)
    assert held(writer)["running"]
    assert said == [f"page: {writer.path / 'report.html'} (a browser that shows it follows the sweep)"]
    assert live.cost()["pages_cpu_s"] > 0


def test_progress_and_page_have_the_same_answer(writer, epoch_row, monkeypatch):
    """The mean over seeds that ran all their epochs, not the luckiest epoch of any trial."""
    monkeypatch.setattr(progress, "INTERVAL_S", 0.05)
    writer.meta["trials"]["00001"] |= {"seed": 1, "learning_rate": writer.meta["trials"]["00000"]["learning_rate"]}
    for trial_id, accuracies in (("00000", (0.8, 0.97, 0.9, 0.91)), ("00001", (0.8, 0.9, 0.9, 0.93))):
        for epoch, accuracy in enumerate(accuracies, start=1):
            writer.epoch(trial_id, epoch_row(epoch, train_accuracy=accuracy), False)
        writer.end(trial_id, "completed")
    view = ProgressView(2, 6, 0, quiet=True)
    with LivePage(writer, lambda line: None, view):
        wait_for(lambda: view.answer)
    view.end("00000", "completed", 0, "")
    assert view.answer == answer(tables(writer.path, writer.meta)).headline
    assert "accuracy 0.9100 (" in view.answer
    assert view.answer in view._text.plain


def test_pages_are_written_less_often_the_longer_they_take(writer, monkeypatch):
    """The second one can't be written. At most a twenty-fifth of a core's time is spent."""
    clock, waits, said = SimpleNamespace(now=7.0), [], []
    spent, written = iter([0.5, 1.2, 3.0, 0.1]), iter([True, False, True, True])
    monkeypatch.setattr(progress, "time", SimpleNamespace(thread_time=lambda: clock.now))

    def write(sweep):
        assert set(sweep().trials["stop_reason"]) == {"running", "waiting"}
        clock.now += next(spent)
        return next(written)

    def wait(seconds):
        waits.append(round(seconds, 3))
        return len(waits) == 5

    live = LivePage(writer, said.append, VIEW)
    live._ended, live.write = SimpleNamespace(wait=wait), write
    live._run()
    assert waits == [30.0, 30.0, 30.0, 75.0, 30.0]
    assert live.cost() == {"pages": 3, "pages_cpu_s": pytest.approx(4.8)}
    assert said == [f"page: {writer.path / 'report.html'} (a browser that shows it follows the sweep)"]


def test_failures_in_a_row_are_said_once_and_those_after_a_page_again(writer):
    full, broken = Mock(side_effect=UserError("the disk is full")), Mock(side_effect=ValueError("a bug"))
    said, written = [], []
    live, whole = LivePage(writer, said.append, VIEW), lambda: SimpleNamespace(report=written.append)
    assert [live.write(sweep) for sweep in (full, full, whole, broken, full)] == [False, False, True, False, False]
    assert written == [writer.path / "report.html"]
    assert said == [
        "note: the page of this sweep was not written (the disk is full)",
        "note: the page of this sweep was not written (ValueError: a bug)",
    ]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("a bug")])
def test_a_page_that_cannot_be_written_is_said_once_and_harms_nothing(writer, monkeypatch, error):
    monkeypatch.setattr(progress, "INTERVAL_S", 0.01)
    monkeypatch.setattr(page, "write_page", Mock(side_effect=error))
    said = []
    with LivePage(writer, said.append, VIEW) as live:
        wait_for(lambda: said)
        time.sleep(0.1)
    assert len(said) == 1
    assert said[0].startswith("note: the page of this sweep was not written (")
    assert str(error) in said[0]
    assert live.cost()["pages"] == 0


def test_a_short_sweep_writes_no_page_meanwhile_and_ends_at_once(writer):
    begun = time.monotonic()
    with LivePage(writer, lambda line: None, VIEW) as live:
        pass
    assert time.monotonic() - begun < 5
    assert live.cost() == {"pages": 0, "pages_cpu_s": 0.0}
