"""The `tune.Trainable` of a trial: one epoch per step. It does not import JAX
itself."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune

from mnist_tune import storage
from mnist_tune.columns import EPOCHS
from mnist_tune.epoch_row import EpochRow
from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import Checkpoint, DamagedStateError
from mnist_tune.execution.lane_client import LaneClient, LaneLostError
from mnist_tune.execution.loops import OwnLoop
from mnist_tune.execution.process_setup import Shared, WorkerSettings, make_pool
from mnist_tune.execution.saving import OwnLane
from mnist_tune.regimes.divergence import LOSS_CEILING, finite_loss
from mnist_tune.runtime.nodes import blindness
from mnist_tune.trial import TrialConfig

STATE_FILE = "state.npz"

LANE_TIMEOUT_S = 120.0
"""Seconds for which a trial tries to get a lane again after its server died. Servers
restart in about 10 seconds."""

_NOTHING = {int: 0, bool: False, str: "", float: math.nan}
_NO_ROW = {column.name: _NOTHING[column.kind.type] for column in EPOCHS[1:]}
_NO_ROW["scheduler_loss"] = LOSS_CEILING
"""The row of a trial that can't train: all columns but the id, which Tune adds. Any may
be a searcher's metric."""


class TrialTrainable(tune.Trainable):  # type: ignore[misc]
    """Trains the trial of `config["trial"]`, one epoch per `step()`.

    A state is saved while the next epoch trains. So a kill may leave a state that is
    one epoch ahead of the last row, or behind it. If a trial finds its own saved state,
    because its process, node or driver was killed, it continues from there, and reports
    the rows from that of the state on again. They have the same numbers, and are
    recorded only where they were lost.
    """

    def setup(
        self, config: dict[str, Any], shared: Shared, settings: WorkerSettings
    ) -> None:
        self._settings = settings
        self._blind = blindness(settings.states, settings.token)
        self._pool: OwnLane | LaneClient | OwnLoop
        if settings.loop:
            self._pool = OwnLoop(settings, settings.loop, shared)
        elif settings.lanes:
            self._pool = LaneClient(settings.lanes, shared)
        else:
            self._pool = OwnLane(make_pool(shared, settings), settings.save_every)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._pool.detach(self._lane_id)
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        self._pool.detach(self._lane_id)

    def lane_token(self) -> str:
        """Return the token of this trial's lane. Lane servers call this."""
        return self._pool.token

    def _begin(self, config: dict[str, Any]) -> None:
        values = dict(config["trial"])
        self._lane_id = str(values.pop("trial_id", self.trial_id))
        self._state = storage.join(self._settings.states, f"{self._lane_id}.npz")
        self._refused = ""
        self._news: dict[str, Any] = {}
        """What is told once, with the next row."""
        try:
            self._config = TrialConfig(**values)
            self._news["trial_config"] = self._config
        except UserError as error:
            # A scheduler or a searcher may propose invalid values.
            self._refused = str(error)
        self._loaded: Checkpoint | None = None
        self._attached = False
        self._reported = 0
        self._may_repeat = self._pool.repeats

    def step(self) -> dict[str, Any]:
        """Train an epoch and return its row. A `UserError`, such as one of the program,
        ends the trial. Other errors are raised: Tune tries the trial again in another
        process, or on another node."""
        try:
            problem = self._blind or self._refused
            if problem:
                raise UserError(problem)
            return self._epoch()
        except UserError as error:
            # Tune would retry if this were raised, which would not help.
            return _NO_ROW | {
                "done": True,
                "stop_reason": "error",
                "error": str(error),
                "error_kind": error.kind.value,
            }

    def _epoch(self) -> dict[str, Any]:
        deadline = math.inf
        while True:
            try:
                if not self._attached:
                    row = self._attach()
                    if row is not None:
                        return self._report(row, is_saved=True)
                row = self._pool.epoch(self._lane_id, self._state)
                # what was saved has another past: a kill must not go on from there
                if self._loaded:
                    self._pool.save(self._lane_id, self._state)
                    self._loaded = None
                # else this server trains again what another one did not save
                if row.epoch > self._reported:
                    return self._report(row)
            except LaneLostError:
                self._attached = False
                deadline = min(deadline, time.monotonic() + LANE_TIMEOUT_S)
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def _attach(self) -> EpochRow | None:
        """Attach the trial's lane, and return the row of its saved state if this
        process has not reported that epoch. That row may have been lost with a killed
        process."""
        own = None
        if self._loaded is None:
            try:
                own = Checkpoint.load(self._state)
            except DamagedStateError as error:
                self._news["warning"] = (
                    f"{error}; trial {self._lane_id} starts from its first epoch"
                )
                self._may_repeat = False
        # a scheduler may have changed it, and a kill come before a row of it was
        # written
        if own and own.config:
            self._config = replace(own.config, epochs=self._config.epochs)
            self._news["trial_config"] = self._config
        self._pool.attach(self._lane_id, self._config, self._loaded or own)
        self._attached = True
        if own and own.row.epoch > self._reported:
            return own.row
        return None

    def _report(self, row: EpochRow, is_saved: bool = False) -> dict[str, Any]:
        """Return what Tune gets of a row, which is perhaps that of a saved state."""
        reason = self._config.stop_reason(row.epoch, row.diverged)
        if reason:
            self._pool.save(self._lane_id, self._state)
        self._reported = row.epoch
        news = self._news
        self._news = {}
        if reason:  # Tune may keep the process for another trial
            self._pool.detach(self._lane_id)
        return {
            **row.report(),
            **news,
            "own_id": self._lane_id,
            "repeated": self._may_repeat or is_saved,
            "stop_reason": reason,
            "done": bool(reason),
            "scheduler_loss": finite_loss(row.train_loss),
        }

    def log_result(self, result: dict[str, Any]) -> None:
        """Take back the config that Tune adds to each row."""
        del result["config"]

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save the state of the last epoch for Tune, which never asks before the first
        one."""
        if self._loaded is None:
            self._pool.save(self._lane_id, self._state)
        state = self._loaded or Checkpoint.load(self._state)
        assert state is not None, f"{self._state} is gone"
        state.save(Path(checkpoint_dir) / STATE_FILE)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Continue from Tune's checkpoint (a paused trial, or PBT's donor) instead of
        the trial's own state."""
        self._pool.detach(self._lane_id)
        self._attached = False
        self._loaded = Checkpoint.load(Path(checkpoint_dir) / STATE_FILE)
        problem = f"Tune's checkpoint {checkpoint_dir} holds no {STATE_FILE}"
        assert self._loaded is not None, problem
        self._reported = self._loaded.row.epoch
        self._may_repeat = False
