"""Copy a sweep into TensorBoard, MLflow, W&B, Optuna, CSV files or safetensors, once or
while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tyro

from mnist_tune import cli, load_sweep
from mnist_tune.errors import why
from mnist_tune.exports import mirror
from mnist_tune.numbers import counted
from mnist_tune.results.signs import is_being_written
from mnist_tune.terminal import announce, note
from mnist_tune.trial import LIVE_REASONS

INTERVAL_S = 10.0
"""The least time between two looks at a running sweep."""

SHARE = 10
"""How many times as long as the last copy took the next one waits."""


@dataclass(frozen=True)
class Export:
    """Copy a sweep into another tool. Copying again, also after a resume, adds what is
    new and doubles nothing."""

    EXAMPLES: ClassVar[dict[str, str]] = {
        "results/lr_regimes": "Two CSV files in the folder of the newest sweep there:",
        "results/lr_regimes --to tensorboard --follow": "TensorBoard, while the sweep runs:",
        "results/lr_regimes --to mlflow --output http://localhost:5000": "An MLflow server:",
        "results/lr_regimes --to wandb": "Offline runs of W&B, to be uploaded with wandb sync:",
        "results/lr_regimes --to safetensors": "The parameters of each trial whose state was kept:",
        "results/lr_regimes --to optuna --output all.db": "A study that optuna-dashboard opens:",
    }

    results: Annotated[str, tyro.conf.Positional]
    """Folder of a sweep, or a folder above it, which stands for its newest sweep; or a
    URI such as s3://bucket/sweep."""
    to: Literal["csv", "tensorboard", "mlflow", "wandb", "optuna", "safetensors"] = (
        "csv"
    )
    """The tool."""
    output: str | None = None
    """Where to. csv: a folder, by default the sweep's. safetensors: by default
    safetensors in that. tensorboard: a folder, by default tensorboard. wandb: the
    folder that has or gets a folder wandb, by default the current one. mlflow, optuna:
    a file or a URI, by default mlflow.db and optuna.db."""
    follow: bool = False
    """Repeat this until the sweep has ended, or nobody can say whether it runs. The
    sweep never waits for it."""


def main() -> None:
    config = cli.parse(Export)
    sweep = load_sweep(config.results)
    copy = mirror(config.to, config.output)
    while True:
        begun = time.monotonic()
        copied = ""
        is_unknown = False
        # object storage may fail for a moment
        goes_on = config.follow and isinstance(sweep.path, str)
        try:
            if config.follow:
                is_written = is_being_written(sweep.path)  # look before it is read
                sweep = load_sweep(sweep.path)
                live = {*LIVE_REASONS}.intersection(sweep.trials["stop_reason"])
                is_unknown = is_written is None and "unknown" in live
                goes_on = bool(is_written or live) and not is_unknown
            copied = copy.update(sweep)
        except Exception as error:
            # A service is down, or slow: the sweep's folder keeps everything.
            if not goes_on:
                raise
            announce(note(f"{why(error)}; trying again"))
        if not goes_on:
            break
        copying_s = time.monotonic() - begun
        time.sleep(max(INTERVAL_S, SHARE * copying_s))
    if is_unknown:
        announce(
            note(
                "nobody can say whether this sweep still runs, so it is followed no longer"
            )
        )
    epochs = counted(len(sweep.epochs), "epoch")
    print(f"{counted(len(sweep.trials))}, {epochs}. {copied}")
