"""A sweep as TensorBoard's logs: a run for each trial, with its curves and all its
settings for the tab HParams."""

from __future__ import annotations

import shlex
from contextlib import closing
from pathlib import Path

from mnist_tune import storage
from mnist_tune.errors import library
from mnist_tune.exports.run import (
    EXPORT,
    ExportedRun,
    Row,
    local_folder,
    runs,
    title,
    writing,
)
from mnist_tune.results.tables import Tables

RESULTS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
"""What HParams compares."""


class Mirror:
    """A folder of logs, by default `tensorboard`."""

    def __init__(self, output: str | None) -> None:
        library("tensorboardX", EXPORT)
        self._output = local_folder(output or "tensorboard")
        self._written: dict[str, tuple[Row, ...]] = {}

    def update(self, sweep: Tables) -> str:
        with writing(self._output):
            folder = storage.join(self._output, title(sweep))
            for run in runs(sweep):
                if run.rows:
                    self._write(run, storage.join(folder, run.trial_id))
        return f"Look at it: tensorboard --logdir {shlex.quote(str(self._output))}"

    def _write(self, run: ExportedRun, folder: Path) -> None:
        """Add the rows that a run lacks. TensorBoard would show what is written twice
        twice, so each process writes a run from its beginning, in place of the logs
        that others left."""
        # if this fails halfway, the run is written anew
        before = self._written.pop(run.id, ())
        if run.rows != before:
            if not before or run.rows[: len(before)] != before:
                before = ()
                for file in folder.glob("events.out.tfevents.*"):
                    file.unlink()
            folder.mkdir(parents=True, exist_ok=True)
            _append(run, len(before), folder)
        self._written[run.id] = run.rows


def _append(run: ExportedRun, first: int, folder: Path) -> None:
    """Write a file of logs with a run's rows from the first one on."""
    event_files = library("tensorboardX.event_file_writer", EXPORT)
    summary = library("tensorboardX.summary", EXPORT)
    event = library("tensorboardX.proto.event_pb2", EXPORT).Event
    ending = f".{len(run.rows):06d}"
    writer = event_files.EventsWriter(str(folder / "events"), ending)
    with closing(writer):
        if not first:
            results = dict.fromkeys(RESULTS, 0.0)
            for part in summary.hparams({**run.params}, results):
                writer.write_event(event(summary=part, wall_time=run.rows[0].time))
        for row in run.rows[first:]:
            at = {"step": row.epoch, "wall_time": row.time}
            for metric, value in row.metrics.items():
                scalar = summary.scalar(metric, value)
                writer.write_event(event(summary=scalar, **at))
