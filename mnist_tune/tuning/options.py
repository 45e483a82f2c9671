"""The command-line flags that all sweeps share."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Optional, get_args, get_type_hints

import tyro

from mnist_tune import storage
from mnist_tune.cli import suggestion
from mnist_tune.errors import UserError
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.numbers import told_apart
from mnist_tune.results.folder import exists
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.stopping import GRACE_PERIOD

AUTO = "auto"
"""Value of `resume`: resume the sweep in `output` if there is one, else start it."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How a sweep is run."""

    PANEL: ClassVar[str] = "run"
    PANELS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "data": ("dataset", "data_dir", "train_images", "standardize", "target", "train_evaluation")
    }

    scheduler: Literal["regimes", "asha", "fifo"] = "regimes"
    """regimes stops a trial that ASHA would stop if its curve is slow or dead by then, so that every rate gets its
    label; all seeds stop after the same epoch. asha is Ray Tune's own, which stops trials whose training loss falls
    behind. fifo runs every trial to its end."""
    grace_period: int = GRACE_PERIOD
    """Epochs before regimes or asha may stop a trial."""
    dataset: Annotated[Any, tyro.conf.arg(constructor=Optional[str], metavar="NAME|FILE.npz|FOLDER")] = None
    """mnist, fashion-mnist or mnist-5k; a file with the arrays x_train, y_train, x_test, y_test; a folder with four IDX
    files. By default mnist; if MNIST can't be downloaded, mnist-5k with a warning."""
    data_dir: Path | None = None
    """Folder with the four IDX files of mnist or fashion-mnist. Mnist needs none: it is downloaded into
    $MNIST_TUNE_DATA, or by default into $MNIST_TUNE_CACHE, or by default into the user's cache folder."""
    train_images: int | None = None
    """Train on the first so many training images only."""
    standardize: bool = False
    """Subtract the training set's mean and divide by its standard deviation: of all pixels, of each channel of colour
    images, or of each feature if an example is a vector."""
    output: str | Path | None = None
    """Folder for the results; by default results/<sweep>/<time>. Or a URI, with the keys in the environment:
    s3://BUCKET/FOLDER (add ?endpoint_override=HOST:PORT if the server is not Amazon's) or gs://BUCKET/FOLDER."""
    max_concurrent: int | None = None
    """The most trials that run at the same time; by default one per CPU, or --trials-per-gpu per GPU."""
    execution: Literal["auto", "lanes", "process"] = "auto"
    """process trains each trial in its own process. lanes trains trials of the same architecture together on a device.
    auto chooses lanes on GPUs and processes on CPUs."""
    lanes: int | None = None
    """The most lanes per device; by default 4 per CPU core, 64 per GPU."""
    cpus_per_trial: int | None = None
    """CPU cores per trial; by default all cores divided by the trials, at least 1. The last bits of a trial's numbers
    depend on this, so a resumed sweep keeps it."""
    train_evaluation: int | None = None
    """Evaluate only this many training images after each epoch: the first ones, which include those with label noise.
    By default all are evaluated, as in the notebook, which takes a third of an epoch."""
    sharpness: bool = False
    """Measure the sharpness, the largest eigenvalue of the training loss's Hessian, before training and after each
    epoch."""
    sharpness_every: int | None = None
    """Measure it after the steps N, 2N, 3N and so on of a trial instead, within an epoch or every few epochs."""
    sharpness_images: int | None = None
    """Measure it on this many training images; by default on 1,000 before training and 5,000 later, or on all if there
    are fewer."""
    save_every: int = 1
    """Save a trial's state after every N epochs, while the next ones train. A kill loses no finished epoch's row, but
    each trial trains those since its last saved state again, with the same numbers: fewer than 2 N epochs."""
    trials_per_gpu: int = 1
    """With --execution process: the number of trials that share a GPU, each with an equal part of its memory."""
    address: str | None = None
    """Ray cluster to run on: auto on one of its nodes, or HOST:PORT; by default that of $RAY_ADDRESS. With local, or
    without either, Ray is started on this machine. A resume needs it again: a results folder may come from anybody."""
    dashboard: bool = False
    """Start Ray's dashboard; needs ray[default]."""
    time_budget: float | None = None
    """Seconds after which trials that still run are stopped."""
    target: float | None = None
    """Accuracy of a network that has learned the data set, in (0, 1). A curve below it is not converged. By default
    0.95 for mnist, 0.91 for mnist-5k, 0.87 for fashion-mnist; for other data each network's best trial is its measure,
    minus a thirtieth of the way from chance to 1."""
    resume: str | Path | None = None
    """Resume the interrupted sweep in this folder or URI, with the trials recorded there. With auto: resume the sweep
    in --output if there is one, else start it, so that the same command starts and resumes a sweep."""
    retry_errored: bool = False
    """With --resume: also resume the trials that ended in an error, each from its last epoch."""
    quiet: bool = False
    """Print results only, no progress."""

    def cluster(self) -> str | None:
        """Return the address of the Ray cluster to run on, or None to start Ray on this machine.

        An address that begins with http is that of Ray's job server, which `ray job submit` reads from $RAY_ADDRESS.
        """
        given = self.address or os.environ.get("RAY_ADDRESS") or "local"
        return None if given == "local" or (not self.address and given.startswith("http")) else given

    def measures(self) -> SharpnessSettings | None:
        """Return when sharpness is measured; None if never."""
        if self.sharpness or self.sharpness_every:
            return SharpnessSettings(self.sharpness_every, self.sharpness_images)
        return None

    def goes_on(self) -> Place | None:
        """Return the place of the sweep to resume, or None for a new sweep."""
        if self.resume is None:
            return None
        if self.resume != AUTO:
            return storage.place(self.resume)
        where = storage.place(self.output or "")
        return where if exists(where) else None

    def as_sweep(self, **changes: Any) -> SweepOptions:
        """Return these options with some changed, and without those that a command adds."""
        return SweepOptions(**{one.name: getattr(self, one.name) for one in fields(SweepOptions)} | changes)

    def __post_init__(self) -> None:
        hints = get_type_hints(SweepOptions)
        for name in (one.name for one in fields(SweepOptions) if one.name != "dataset"):
            if not any(_is_of(getattr(self, name), kind) for kind in _kinds(hints[name])):
                raise UserError(f"--{name.replace('_', '-')} can't be {getattr(self, name)!r}")
        counts = "grace_period", "max_concurrent", "lanes", "cpus_per_trial", "train_evaluation", "trials_per_gpu"
        for name in (*counts, "save_every", "sharpness_every", "sharpness_images", "train_images", "time_budget"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"--{name.replace('_', '-')} must be above 0, got {value}")
        for name in ("output", "resume"):
            if getattr(self, name) is not None:
                storage.place(getattr(self, name))
        if self.output is not None and self.resume not in (None, AUTO, self.output):
            raise UserError(
                f"--resume {self.resume} goes on in that folder, and --output names another one; leave --output out"
            )
        if self.resume == AUTO and self.output is None:
            raise UserError("--resume auto resumes the sweep in --output, so it needs --output, too")
        if self.target is not None and not 0 < self.target < 1:
            raise UserError(f"--target must be an accuracy between 0 and 1, such as 0.95, got {self.target}")


def _kinds(hint: Any) -> list[Any]:
    return [kind for part in get_args(hint) for kind in _kinds(part)] or [hint]


def _is_of(value: Any, kind: Any) -> bool:
    if not isinstance(kind, type):
        return bool(value == kind)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


@dataclass(frozen=True, kw_only=True)
class TrialOptions(SweepOptions):
    """The configuration that all trials of a sweep share."""

    PANEL: ClassVar[str] = "trial"

    epochs: int = 10
    """Epochs per trial."""
    nesterov: bool = False
    """Nesterov's momentum."""
    weight_decay: float = 0.0
    """Weight decay: so much of the weights is added to the gradient; adamw and lion decay the weights themselves."""
    clip_norm: float = 0.0
    """Clip the gradient of a step to this norm; 0 clips nothing."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """The course of the learning rate after the warm-up; cosine and linear end at 0 after the last step."""
    warmup_steps: int = 0
    """Steps in which the learning rate rises linearly from 0."""
    loss: Literal["cross-entropy", "mse"] = "cross-entropy"
    """The loss; mse is half the squared distance of the outputs from the one-hot label."""
    drop_last: bool = False
    """Leave out the last batch of an epoch if it is smaller than the others."""
    label_noise: int = 0
    """Permute this many training images, the first ones, against their labels."""
    holdout: int = 0
    """Hold out this many training images for validation."""
    stop_when_diverged: bool = True
    """By default a trial ends once it has diverged: its loss is not finite or far too large, or has been above the
    untrained network's for 1,000 steps while its accuracy is that of guessing."""

    def common(self) -> dict[str, Any]:
        """Return the fields of `TrialConfig` that all trials share."""
        apart = ("learning_rate", "seed", "data_seed", "label")
        names = [field.name for field in fields(TrialConfig) if field.name not in apart]
        return {name: getattr(self, name) for name in names}


ARCHITECTURE_HELP = """mlp-<widths>-<activation>[-glorot|he|he0] (tanh, relu, gelu, silu), stax-mlp or convnet; or a
network of your own, FILE.py:FUNCTION, with arguments if need be: "net.py:mlp(width=128)"."""
OPTIMIZER_HELP = """sgd, adam, adamw, rmsprop, lion or adagrad, with arguments if need be: "adam(b1=0.8)"; or your own,
FILE.py:FUNCTION."""


def refuse_empty(options: Any, *names: str) -> None:
    """Raise a `UserError` if one of these options, which list values, is empty."""
    for name in names:
        if not getattr(options, name):
            raise UserError(f"--{name.replace('_', '-')} needs at least one value; the list is empty")


def mlp_name(width: int, depth: int, activation: str, initialisation: str = "") -> str:
    """Return the name of an MLP with `depth` layers of weights, all hidden ones of one width."""
    return "-".join(filter(None, ["mlp", *[str(width)] * (depth - 1), activation, initialisation]))


def rates_of(text: float | str, flag: str = "--learning-rates") -> list[float]:
    """Return the learning rates that one value of a flag means: itself, or those of FIRST:LAST:COUNT.

    Raises:
        UserError: it is neither a number nor such a range.
    """
    parts = str(text).split(":")
    try:
        if len(parts) == 1:
            return [float(text)]
        first, last, count = float(parts[0]), float(parts[1]), int(parts[2])
        if not (first > 0 and last > 0 and count > 0 and math.isfinite(first) and math.isfinite(last)):
            raise ValueError
    except (ValueError, IndexError):
        hint = "write numbers, such as 0.1 1, or a range FIRST:LAST:COUNT, such as 1e-3:4:16"
        raise UserError(f"{flag} can't be {text!r}; {suggestion([str(text)]) or hint}") from None
    steps = [i / (count - 1) if count > 1 else 0.0 for i in range(count)]
    exact = [first if first == last else first ** (1 - step) * last**step for step in steps]
    said = told_apart(exact, 3)
    return [float(said[rate]) for rate in exact]
