"""Trains a trial by a loop of the user's: its generator, its reports as rows, and its
states. This does not import JAX itself."""

from __future__ import annotations

import io
import math
import os
import tarfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mnist_tune.epoch_row import EpochRow
from mnist_tune.errors import UserError, closest
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.node_name import node_name
from mnist_tune.execution.process_setup import Shared, WorkerSettings
from mnist_tune.execution.program_error import classifying
from mnist_tune.loop import Loop, Run
from mnist_tune.named_code import parse_call
from mnist_tune.own_code.registry import ENTRIES
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PJRT_NPROC",
    "TF_NUM_INTRAOP_THREADS",
)
"""The variables by which libraries know how many cores they have."""

GPUS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""Those by which they know which GPUs they have."""

UNKNOWN = dict.fromkeys(
    ("train_accuracy", "test_loss", "test_accuracy", "untrained_loss"), math.nan
)
"""What every row has, and a report may lack."""

NUMBERS = (
    "train_loss",
    *UNKNOWN,
    "validation_loss",
    "validation_accuracy",
    "step_loss_max",
    "loss_error",
)
"""What a report may hold beside the loop's own scores."""


class OwnLoop:
    """Trains a trial by a loop in its own process, with the methods of `OwnLane`."""

    token = ""
    repeats = False

    def __init__(self, settings: WorkerSettings, facts: Loop, shared: Shared) -> None:
        self._facts = facts
        self._save_every = settings.save_every
        self._device = "gpu"
        self._ends = ExitStack()
        """What is closed when a training ends."""
        if settings.umask is not None:
            os.umask(settings.umask)
        os.environ |= dict.fromkeys(THREADS, str(settings.threads))
        if not settings.gpus:
            # Ray would let a trial that asked for no GPU see all of them.
            os.environ |= dict.fromkeys(GPUS, "")
            self._device = "cpu"
        os.environ |= facts.env
        # It is imported only now, since that may start what reads these variables.
        shared.register_code()

    def attach(
        self, lane_id: str, config: TrialConfig, checkpoint: Checkpoint | None = None
    ) -> None:
        """Begin a training, or go on with one. Raises `UserError` if the loop
        raises."""
        self.detach(lane_id)
        self._config = config
        self._row = self._saved = None
        call = parse_call(config.architecture)
        self._run = Run(config, lane_id, dict(call.keywords))
        if checkpoint is not None:
            self._row = self._saved = checkpoint.row
            self._run.epochs_done = checkpoint.row.epoch
            folder = self._ends.enter_context(TemporaryDirectory())
            content = io.BytesIO(checkpoint.arrays["tar"].tobytes())
            with tarfile.open(fileobj=content) as archive:
                # No file leaves the folder, whoever wrote this.
                archive.extractall(folder, filter="data")
            self._run.state = Path(folder)
        with classifying():
            loop = ENTRIES["loop"][call.name].factory
            self._generator = self._ends.enter_context(closing(loop(self._run)))

    def epoch(self, lane_id: str, state: Place) -> EpochRow:
        """Return the row of the next report. If a save is due, it is done before
        anything else trains. Raises `UserError` if the loop raises, or its report is no
        row."""
        start = time.time()
        with classifying():
            report = next(self._generator, None)
        try:
            self._row = row = self._next_row(report, time.time() - start)
        except UserError as error:
            raise UserError(f"{error}{self._line()}") from None
        self._run.epochs_done = row.epoch
        if row.epoch % self._save_every == 0:
            self.save(lane_id, state)
        return row

    def _line(self) -> str:
        """Return the file and the line of the loop's last `yield`; empty if it has
        ended, or is no plain generator."""
        frame = getattr(self._generator, "gi_frame", None)
        if frame is None:
            return ""
        return f" ({frame.f_code.co_filename}:{frame.f_lineno})"

    def _next_row(self, report: Any, seconds: float) -> EpochRow:
        epoch = self._run.epochs_done + 1
        try:
            numbers = {name: float(value) for name, value in report.items()}
        except (AttributeError, TypeError, ValueError):
            how = "yield a dictionary of numbers for each of run.epochs epochs"
            which = f"report {epoch} of {self._config.epochs}"
            raise UserError(f"{which} is {report!r:.200}; {how}") from None
        refuse_wrong(numbers, self._facts)
        scores = {}
        for name in self._facts.scores:
            if name in numbers:
                scores[name] = numbers.pop(name)
        is_finite = math.isfinite(numbers["train_loss"])
        columns: dict[str, Any] = UNKNOWN | numbers
        return EpochRow(
            epoch=epoch,
            step=epoch * self._config.steps(self._facts.train_examples or 1),
            learning_rate=self._config.learning_rate,
            diverged=not is_finite,
            finite=is_finite,
            scores=scores or None,
            train_s=seconds,
            node=node_name(),
            device=self._device,
            ended_at=time.time(),
            **columns,
        )

    def save(self, lane_id: str, state: Place) -> None:
        """Have the state after the last report be at `state`, if the loop saves any."""
        save = self._run.save
        if save is None or self._row is None or self._row is self._saved:
            return
        content = io.BytesIO()
        with TemporaryDirectory() as folder:
            with classifying():
                save(Path(folder))
            with tarfile.open(fileobj=content, mode="w") as archive:
                archive.add(folder, ".")
        arrays = {"tar": np.frombuffer(content.getvalue(), np.uint8)}
        Checkpoint(arrays, self._row, self._config).save(state)
        self._saved = self._row

    def detach(self, lane_id: str) -> None:
        """End the training: close its generator. What that raises changes nothing any
        more."""
        with suppress(Exception):
            self._ends.close()


def refuse_wrong(numbers: Mapping[str, float], facts: Loop) -> None:
    """Raise a `UserError` if a report has a number that is not known, or none can be,
    or lacks one that is needed."""
    names = (*NUMBERS, *facts.scores)
    for name, number in numbers.items():
        if name not in names:
            hint = closest(str(name), names)
            raise UserError(
                f"a report has {name!r}, which is none of ours or Loop(scores=...){hint}"
            )
        if name.endswith("accuracy") and number > 1:
            raise UserError(f"{name} is {number:g}; divide percents by 100")
    for name in facts.needed:
        if name not in numbers:
            raise UserError(f"a report has no {name}; it has {', '.join(numbers)}")
