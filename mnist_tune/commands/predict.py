"""Write the class of each new image, as a network of a sweep predicts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import tyro

from mnist_tune import UserError, cli, load_sweep
from mnist_tune.errors import why


@dataclass(frozen=True)
class Predict:
    """Write the class of each new image, one a line, in the order of the images. For text, a line has the class of each
    token."""

    EXAMPLES: ClassVar[dict[str, str]] = {
        "results/lr_regimes new.npy": "The best network of the newest sweep there, to classes.csv:",
        "results/lr_regimes new.npy --architecture net.py:mlp": "It is a network of your own:",
    }

    results: Annotated[str, tyro.conf.Positional]
    """Folder of a sweep, or a folder above it, which stands for its newest sweep; or a URI such as s3://bucket/sweep."""
    images: Annotated[Path, tyro.conf.Positional]
    """File with the images as they are stored, [n, ...], as numpy.save or numpy.savez writes it."""
    array: str | None = None
    """Name of the array, if the file has several, such as x_test."""
    architecture: str | None = None
    """Network of your own that trained, FILE.py:FUNCTION: name it again, so that it is loaded."""
    trial: str | None = None
    """Id of the trial, by default one of the best setting."""
    output: Path | None = None
    """File for the classes, by default classes.csv."""


def main() -> None:
    config = cli.parse(Predict)
    images = _read(config.images, config.array)
    sweep, output = load_sweep(config.results), config.output or Path("classes.csv")
    trained = sweep.load(config.trial, config.architecture)
    classes = trained.predict(images)
    try:
        np.savetxt(output, classes, "%d", ",")
    except OSError as error:
        raise UserError(f"cannot write {output}: {why(error)}; name another --output") from None
    print(f"{output} has {len(classes)} lines, predicted by {trained}, of {sweep.path}")


def _read(path: Path, name: str | None) -> Any:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        names = [one for one in found.files if name in (None, one)]
        if len(names) == 1:
            return found[names[0]]
    except Exception as error:  # zipfile and numpy raise many kinds
        said = why(error).partition(". If you trust the file")[0]  # NumPy advises to load pickles
        raise UserError(f"cannot read {path}: {said}; write an array with numpy.save") from None
    raise UserError(f"{path} has {', '.join(found.files) or 'no array'}; say which one: --array NAME")
