"""The flags that sweeps share: how a sweep is run, and what its trials have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from mnist_tune import storage
from mnist_tune.errors import UserError
from mnist_tune.results.folder import exists
from mnist_tune.storage import Place
from mnist_tune.tuning.stopping import GRACE_PERIOD

AUTO = "auto"
"""Of `resume`: the sweep in `output`, if there is one."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How a sweep is run, whatever its trials are."""

    scheduler: Literal["asha", "fifo"] = "asha"
    """asha stops trials whose training loss falls behind; fifo runs every trial to its end."""
    grace_period: int = GRACE_PERIOD
    """Epochs before asha may stop a trial."""
    dataset: Literal["mnist", "fashion-mnist", "mnist-5k"] | None = None
    """Data set; by default mnist, or mnist-5k with a warning where MNIST can't be had."""
    data_dir: Path | None = None
    """Folder with the four IDX files, raw or gzipped. MNIST alone needs none: it is fetched into $MNIST_TUNE_DATA, by
    default $MNIST_TUNE_CACHE, which also keeps compiled programs and is by default the user's cache folder."""
    output: str | Path | None = None
    """The folder that receives the results; by default results/<sweep>/<time>. Or a URI, with keys in the environment:
    s3://BUCKET/FOLDER (?endpoint_override=HOST:PORT for servers other than AWS's), gs://BUCKET/FOLDER."""
    max_concurrent: int | None = None
    """Most trials at a time; by default one a CPU, or --trials-per-gpu a GPU."""
    execution: Literal["auto", "lanes", "process"] = "auto"
    """process trains a trial in a process of its own; lanes trains trials of one architecture together on their
    device; auto takes lanes on GPUs and processes on CPUs."""
    lanes: int | None = None
    """Most lanes a device; by default 4 a CPU core, 64 a GPU."""
    cpus_per_trial: int | None = None
    """CPU cores of a trial's process; by default all cores divided by the trials, at least 1. A trial's last bits
    depend on it, so a resumed sweep keeps it."""
    train_evaluation: int | None = None
    """Training images that are evaluated after each epoch, the first of them (those with label noise first); by
    default all, as in the notebook, which takes a third of an epoch."""
    trials_per_gpu: int = 1
    """With --execution process: trials that share a GPU, each with that part of its memory."""
    address: str | None = None
    """Ray cluster to run on: auto on one of its nodes, or HOST:PORT; by default Ray is started on this machine."""
    dashboard: bool = False
    """Start Ray's dashboard; needs ray[default]."""
    time_budget: float | None = None
    """Seconds after which the trials still running are stopped."""
    target: float | None = None
    """Accuracy of a network that learned the data set, in (0, 1): below it no curve is converged. By default 0.95 for
    mnist, 0.91 for mnist-5k, 0.87 for fashion-mnist."""
    resume: str | Path | None = None
    """Go on with the interrupted sweep in this folder or URI; what is trained is read from there. auto: with the one
    in --output if there is one, else start it; so the same command starts a sweep and goes on with it."""
    retry_errored: bool = False
    """With --resume: go on with the trials that ended in an error, too, each from its last epoch."""
    quiet: bool = False
    """Print results only, no progress."""

    def goes_on(self) -> Place | None:
        """Where the sweep is that this one goes on with; None for a new one."""
        if self.resume is None:
            return None
        if self.resume != AUTO:
            return storage.place(self.resume)
        where = storage.place(self.output or "")
        return where if exists(where) else None

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(SweepOptions).items():
            if not any(_is_of(getattr(self, name), kind) for kind in _kinds(hint)):
                raise UserError(f"--{name.replace('_', '-')} can't be {getattr(self, name)!r}")
        counts = "grace_period", "max_concurrent", "lanes", "cpus_per_trial", "train_evaluation", "trials_per_gpu"
        for name in (*counts, "time_budget"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"--{name.replace('_', '-')} must be above 0, got {value}")
        for name in ("output", "resume"):
            if getattr(self, name) is not None:
                storage.place(getattr(self, name))
        if self.resume == AUTO and self.output is None:
            raise UserError("--resume auto goes on with the sweep in --output; name that, too")
        if self.target is not None and not 0 < self.target < 1:
            raise UserError(f"--target must be an accuracy between 0 and 1, such as 0.95, got {self.target}")


def _kinds(hint: Any) -> list[Any]:
    """The types and literals that a type hint allows."""
    return [kind for part in get_args(hint) for kind in _kinds(part)] or [hint]


def _is_of(value: Any, kind: Any) -> bool:
    if not isinstance(kind, type):
        return bool(value == kind)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


@dataclass(frozen=True, kw_only=True)
class TrialOptions(SweepOptions):
    """What the trials of a sweep have in common."""

    architecture: str = "mlp-1024-128-tanh"
    """mlp-<widths>-<activation>[-glorot] (tanh, relu), stax-mlp or convnet."""
    epochs: int = 10
    """Epochs of a trial."""
    batch_size: int = 128
    """Images a step."""
    momentum: float = 0.0
    """Momentum of SGD, in [0, 1)."""
    nesterov: bool = False
    """Nesterov's momentum."""
    label_noise: int = 0
    """First so many training images permuted against their labels."""
    holdout: int = 0
    """Training images held out for validation."""
    stop_when_diverged: bool = True
    """End a trial once it has diverged: its loss is not finite, or it has guessed for 1,000 steps at a loss above the
    untrained network's."""

    def common(self) -> dict[str, Any]:
        """The fields of `TrialConfig` that all trials share."""
        names = ("architecture", "epochs", "batch_size", "momentum", "nesterov", "label_noise", "holdout")
        return {name: getattr(self, name) for name in (*names, "stop_when_diverged")}
