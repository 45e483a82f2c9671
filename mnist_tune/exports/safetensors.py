"""What trials trained, as files of safetensors, for those who go on elsewhere."""

from __future__ import annotations

import json
import re

import numpy as np

from mnist_tune import storage
from mnist_tune.errors import UserError, library
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.exports.run import EXPORT, runs, write
from mnist_tune.judged import Judged


class Mirror:
    """A file for each trial whose state was kept, by default in the folder
    `safetensors` of the sweep's."""

    def __init__(self, output: str | None) -> None:
        self._output = storage.place(output) if output else None
        self._library = library("safetensors.numpy", EXPORT)

    def update(self, sweep: Judged) -> str:
        if sweep.record.data.flag == "loop":
            raise UserError(
                "what a loop saves is of its own code, and no arrays that safetensors could hold"
            )
        folder = self._output or sweep.picture("safetensors")
        count = 0
        for run in runs(sweep):
            checkpoint = Checkpoint.load(sweep.state(run.trial_id))
            if checkpoint is None:
                continue
            arrays = {}
            for name, array in checkpoint.arrays.items():
                # Arrays in another order than C's would be written as they lie in
                # memory.
                arrays[plain(name)] = np.asarray(array, order="C")
            arrays.pop("", None)
            about = {
                "trial": json.dumps(run.params),
                "epoch": json.dumps(checkpoint.row.stored()),
            }
            file = storage.join(folder, f"{run.trial_id}.safetensors")
            write(file, self._library.save(arrays, about))
            count += 1
        return f"Files: {folder}, {count}; the best first: {', '.join(sweep.leading())}"


def plain(name: str) -> str:
    """Return the name of an array of a state, `.params['hidden'][0]`, as
    `params.hidden.0`; that of batch statistics begins with `state`. Empty for arrays of
    the optimiser."""
    part, *keys = re.findall(r"[^][.'\"]+", name)
    if part == "optimizer":
        return ""
    if part == "extra":
        part = "state"
    return ".".join([part, *keys])
