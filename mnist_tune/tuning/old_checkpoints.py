"""Delete Tune's checkpoints once no trial goes on from them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ray.tune import Callback


class OldCheckpoints(Callback):  # type: ignore[misc]
    """Keeps the newest checkpoint of each trial, and those that trials were told to go on from: at most two a trial.

    In population based training good trials are saved, and bad ones go on from there. Tune's own limit, `num_to_keep`,
    would delete what another trial is about to read, and write the state of the whole sweep with each deletion.
    """

    def __init__(self) -> None:
        self._there: dict[str, Any] = {}
        self._newest: dict[str, str] = {}

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        self._there[checkpoint.path] = checkpoint
        self._newest[trial.trial_id] = checkpoint.path
        needed = {*self._newest.values(), *(each.checkpoint.path for each in trials if each.checkpoint)}
        for path in self._there.keys() - needed:
            with suppress(OSError):  # it only takes space
                self._there.pop(path).filesystem.delete_dir(path)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._newest.pop(trial.trial_id, None)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks; see `Recorder`
