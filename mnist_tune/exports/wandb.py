"""A sweep as offline runs of Weights & Biases, which `wandb sync` uploads: a run for
each trial, in a group."""

from __future__ import annotations

import os
import shlex
import shutil

from mnist_tune import storage
from mnist_tune.errors import library
from mnist_tune.exports.run import (
    EXPORT,
    ExportedRun,
    local_folder,
    runs,
    title,
    writing,
)
from mnist_tune.results.tables import Tables

PROJECT = "mnist_tune"


class Mirror:
    """Offline runs, by default in the folder `wandb`, which W&B itself uses."""

    def __init__(self, output: str | None) -> None:
        self._wandb = library("wandb", EXPORT)
        self._output = local_folder(output or ".")
        self._written: dict[str, ExportedRun] = {}

    def update(self, sweep: Tables) -> str:
        with writing(self._output):
            self._output.mkdir(parents=True, exist_ok=True)
        changed = [run for run in runs(sweep) if run != self._written.get(run.id)]
        for run in changed:
            self._write(run, title(sweep))
        if changed:
            self._wandb.teardown()  # waits until the last run is on the disk, too
        self._written |= {run.id: run for run in changed}
        logs = shlex.quote(str(self._output / "wandb"))
        return f"Upload it: wandb sync --include-offline {logs}/offline-run-*"

    def _write(self, run: ExportedRun, group: str) -> None:
        """Write a run in place of what an earlier export left of it: an offline run
        can't be continued."""
        logs = storage.join(self._output, "wandb")
        name = storage.join(logs, run.id).name
        for folder in logs.glob(f"offline-run-*-{name}"):
            shutil.rmtree(folder)
        settings = self._wandb.Settings(
            silent=True, console="off", disable_git=True, x_disable_stats=True
        )
        opened = self._wandb.init(
            project=PROJECT,
            group=group,
            name=run.trial_id,
            id=run.id,
            config={**run.params},
            mode="offline",
            dir=os.fspath(self._output),
            tags=[run.labels["regime"][:64]],
            reinit="finish_previous",
            settings=settings,
        )
        with opened:
            for row in run.rows:
                opened.log({"epoch": row.epoch, **row.metrics}, step=row.epoch)
            opened.summary.update(dict(run.labels))
