"""Write the class of each new image, as a network of a sweep predicts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import tyro

from mnist_tune import UserError, cli, load_sweep, storage
from mnist_tune.data.own import arrays_in
from mnist_tune.exports.run import writing
from mnist_tune.numbers import counted


@dataclass(frozen=True)
class Predict:
    """Write the class of each new image, one a line, in the order of the images. For
    text, a line has the class of each token."""

    EXAMPLES: ClassVar[dict[str, str]] = {
        "results/lr_regimes new.npy": "The best network of the newest sweep there, to classes.csv:",
        "results/lr_regimes new.npy --architecture net.py:mlp": "It is a network of your own:",
    }

    results: Annotated[str, tyro.conf.Positional]
    """Folder of a sweep, or a folder above it, which stands for its newest sweep; or a
    URI such as s3://bucket/sweep."""
    images: Annotated[Path, tyro.conf.Positional]
    """File with the images as they are stored, [n, ...], as numpy.save or numpy.savez
    writes it."""
    array: str | None = None
    """Name of the array, if the file has several, such as x_test."""
    architecture: str | None = None
    """Network of your own that trained, FILE.py:FUNCTION, as the file is now. By default
    it is what the sweep has recorded."""
    trust_code: bool = False
    """Run the network that somebody else's sweep has recorded in code/ of its folder.
    Yours run without it."""
    changed_code: bool = False
    """Take the network of --architecture although its file has changed since."""
    trial: str | None = None
    """Id of the trial, by default one of the best setting."""
    epoch: Literal["last", "best"] = "last"
    """Predict as the trial was after its last epoch, or after its best one, which
    --keep-best keeps."""
    output: Path | None = None
    """File for the classes, by default classes.csv."""


def main() -> None:
    config = cli.parse(Predict)
    if config.images.is_dir():
        raise UserError(
            f"{config.images} is a folder; give that of the sweep first, then the file of images"
        )
    with arrays_in(config.images) as file:
        names = [name for name in file if config.array in (None, name)]
        if len(names) != 1:
            arrays = ", ".join(file) or "no array"
            raise UserError(
                f"{config.images} has {arrays}; say which one: --array NAME"
            )
        images = file[names[0]]
    sweep = load_sweep(config.results)
    output = storage.local(config.output or "classes.csv")
    if sweep.record.trains_tasks:
        how = (
            "from Python, call functions of your own with load_sweep(...).load().params"
        )
        raise UserError(
            f"{sweep.path} trained a task, and only networks predict classes; {how}"
        )
    trained = sweep.load(
        config.trial,
        config.architecture,
        epoch=config.epoch,
        trust_code=config.trust_code,
        changed_code=config.changed_code,
    )
    classes = trained.predict(images)
    with writing(output):
        names = ["class"]
        if classes.ndim > 1:
            names = [f"class_{token}" for token in range(classes.shape[1])]
        np.savetxt(output, classes, "%d", ",", header=",".join(names), comments="")
    print(
        f"{output} has the classes of {counted(len(classes), 'image')}, predicted by {trained}, of {sweep.path}"
    )
