"""A sweep as TensorBoard's logs: a run for each trial, with its curves and all its settings for the tab HParams."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from mnist_tune.errors import UserError
from mnist_tune.exports.run import Run, library, runs, title
from mnist_tune.results.tables import Tables

RESULTS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
"""What HParams compares."""


class Mirror:
    """A folder of logs, by default `tensorboard`."""

    def __init__(self, output: str | None) -> None:
        library("tensorboardX")
        self._output = Path(output or "tensorboard")
        self._written: dict[str, tuple[Mapping[str, float], ...]] = {}

    def update(self, sweep: Tables) -> str:
        try:
            for run in runs(sweep):
                if run.rows:
                    self._write(run, self._output / title(sweep) / run.trial_id)
        except OSError as error:
            raise UserError(f"can't write {self._output}: {error.strerror or error}; name another --output") from None
        return f"Look at it: tensorboard --logdir '{self._output}'"

    def _write(self, run: Run, folder: Path) -> None:
        """Add the rows that a run lacks. TensorBoard would show what is written twice twice, so each process writes a
        run from its beginning, in place of the logs that others left."""
        before = self._written.get(run.id)
        if before is not None and [*map(repr, before)] == [*map(repr, run.rows)]:
            return
        self._written.pop(run.id, None)  # if this fails halfway, the run is written anew
        new = run.rows[len(before or ()) :]
        if before is None or [*map(repr, before)] != [*map(repr, run.rows[: len(before)])]:
            new = run.rows
            for file in folder.glob("events.out.tfevents.*"):
                file.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        writer = library("tensorboardX.event_file_writer").EventsWriter(str(folder / "events"), f".{len(run.rows):06d}")
        summary, event = library("tensorboardX.summary"), library("tensorboardX.proto.event_pb2").Event
        with closing(writer):
            if len(new) == len(run.rows):
                for part in summary.hparams({**run.params}, dict.fromkeys(RESULTS, 0.0)):
                    writer.write_event(event(summary=part, wall_time=run.rows[0]["time"]))
            for row in new:
                for name, value in row.items():
                    if name not in ("epoch", "time") and not math.isnan(value):
                        curve = summary.scalar(name, value)
                        writer.write_event(event(summary=curve, step=int(row["epoch"]), wall_time=row["time"]))
        self._written[run.id] = run.rows
