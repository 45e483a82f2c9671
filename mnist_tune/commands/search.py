"""Which network and which settings do best on held-out images?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import tyro

from mnist_tune import UserError, storage
from mnist_tune.numbers import rate
from mnist_tune.own_code.loading import load_own, refuse_unknown
from mnist_tune.regimes.replicates import summarise_replicates
from mnist_tune.reports.ranges import best_trial
from mnist_tune.reports.terminal import exit_code
from mnist_tune.results.journal import OPEN_REASONS, resume_command
from mnist_tune.runtime.ray_session import stop_ray_at_exit
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import (
    ARCHITECTURE_HELP,
    AUTO,
    Mark,
    SweepOptions,
    crossed,
    flag,
    mlp_name,
    refuse_empty,
    refuse_too_many,
)
from mnist_tune.tuning.sweep import run_or_resume, run_search
from mnist_tune.tuning.wanted import asked, resumed

WINNER = "winner"
"""The folder in the search's own that holds the sweep of the winner's seeds."""

NUMBERS = ("learning_rate", "momentum", "batch_size", "weight_decay")
SETTINGS = ("architecture", *NUMBERS)
"""What a search chooses."""

SHOWN = 10
"""The best trials that are printed."""


@dataclass(frozen=True, kw_only=True)
class Search(SweepOptions):
    """Search for the network, learning rate, momentum, batch size and weight decay that do best on held-out images.

    The test set has no part in it. It is looked at once: for the winner, which is trained again with fresh seeds.
    """

    EXAMPLES: ClassVar[dict[str, str]] = {
        "": "40 networks and settings, by TPE:",
        "--by random --samples 100": "At random, which needs no Optuna:",
        "--widths 64 256 --depths 1 2 3 --momentum 0.9:0.9": "Small networks, with one momentum:",
        '--architecture convnet stax-mlp "net.py:mlp(width=128)"': "Among networks of your own and of ours:",
        "--epochs 20 --final-seeds 1 2 3 4 5 6 7 8 9 10": "Longer, and with a narrower interval at the end:",
    }

    samples: Annotated[int, Mark.MAKES] = 40
    """How many trials."""
    by: Literal["tpe", "random"] = "tpe"
    """tpe learns from trials that have ended (Optuna's tree-structured Parzen estimator); random draws each alone."""
    widths: tuple[int, ...] = (16, 64, 256, 1024)
    """Widths of the hidden layers."""
    depths: tuple[int, ...] = (1, 2, 3)
    """Numbers of hidden layers, all of the same width."""
    activations: tuple[str, ...] = ("tanh", "relu")
    """tanh, relu, gelu or silu."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = ()
    """Choose among these networks, instead of widths, depths and activations."""
    learning_rate: str = "0.003:3"
    """The range of learning rates, FIRST:LAST, drawn evenly on a log scale."""
    momentum: str = "0:0.95"
    """The range of momenta."""
    batch_size: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Images per step: one of these."""
    weight_decay: str = "1e-6:1e-3"
    """The range of weight decays, drawn evenly on a log scale."""
    epochs: int = 10
    """Epochs per trial."""
    holdout: int = 10_000
    """Training images that are held out, on which the winner is chosen."""
    search_seed: int = 0
    """Seed of the proposals. All trials have the seed 0 themselves."""
    final_seeds: Annotated[tuple[int, ...], Mark.MAKES] = (1, 2, 3, 4, 5)
    """Fresh seeds for the winner."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("samples", "holdout"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 1, got {getattr(self, name)}")
        refuse_too_many(self.samples, "--samples")
        refuse_empty(self, "widths", "depths", "activations", "batch_size", "final_seeds")
        if 0 in self.final_seeds:
            raise UserError("--final-seeds must be fresh: the search itself has seed 0")
        for name in ("learning_rate", "momentum", "weight_decay"):
            between(name, getattr(self, name))

    def networks(self) -> tuple[str, ...]:
        """Return the names of the networks to choose among."""
        if self.architecture:
            return self.architecture
        kinds = [f"{name}-glorot" if name == "relu" else name for name in self.activations]
        combined = crossed(self, "widths", "depths", "activations", activations=kinds)
        return tuple(mlp_name(width, depth + 1, kind) for width, depth, kind in combined)

    def space(self) -> dict[str, Any]:
        """Return the search space for Tune."""
        from ray import tune

        def drawn(name: str, how: Any) -> Any:
            first, last = between(name, getattr(self, name))
            return first if first == last else how(first, last)

        return {
            "architecture": tune.choice(list(self.networks())),
            "learning_rate": drawn("learning_rate", tune.loguniform),
            "momentum": drawn("momentum", tune.uniform),
            "batch_size": tune.choice(list(self.batch_size)),
            "weight_decay": drawn("weight_decay", tune.loguniform),
            "epochs": self.epochs,
            "holdout": self.holdout,
        }

    def searcher(self) -> Any:
        """Return Optuna's searcher, or None for draws at random."""
        if self.by == "random":
            return None
        try:
            import optuna
            from ray.tune.search.optuna import OptunaSearch
        except ImportError:
            hint = "python -m pip install optuna"
            raise UserError(f"--by tpe needs optuna; to install it: {hint}; or search --by random") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self.search_seed)
        return OptunaSearch(metric="validation_accuracy", mode="max", sampler=sampler)


def between(name: str, text: str) -> tuple[float, float]:
    """Return the ends of a range FIRST:LAST, or of one value.

    Raises:
        UserError: it is no such range.
    """
    first, _, last = text.partition(":")
    low = 0.0 if name == "momentum" else 5e-324
    try:
        ends = float(first), float(last or first)
        if low <= ends[0] <= ends[1] < float("inf"):
            return ends
    except ValueError:
        pass
    raise UserError(f"{flag(name)} can't be {text!r}; write a range FIRST:LAST, such as {DEFAULTS[name]}")


DEFAULTS = {name: getattr(Search, name) for name in ("learning_rate", "momentum", "weight_decay")}


ASKED = Search


def main() -> int:
    config = asked(ASKED)
    load_own(config)
    stop_ray_at_exit()
    where = config.goes_on()
    if where is None:
        np.random.seed(config.search_seed)  # Tune draws from NumPy's generator
    else:
        config = resumed(config, where, "search")
        refuse_unknown(where, config)
    found = run_search("search", config.space(), config.samples, config, None, config.searcher(), show=False)
    print_best(found.trials)
    if found.trials["stop_reason"].isin(OPEN_REASONS).any():
        print(f"Trials had not ended; resume with: {resume_command(found.meta, found.path)}")
        return exit_code(found.trials)
    winner = best(found.trials)
    if winner is None:
        print("No trial was trained to its end, so there is no winner.")
        return 1
    refuse_unknown(found.path, winner)
    final = train_winner(winner, config, found)
    print_final(final)
    print(f"Results: {found.path}\nThe winner's seeds: {final.path}")
    return exit_code(final.trials)


def best(trials: pd.DataFrame) -> TrialConfig | None:
    """Return the trial with the best accuracy on the images held out, among those that were trained to their end."""
    row = best_trial(trials)
    if row is None:
        return None
    return TrialConfig(**{name: row[name] for name in (*SETTINGS, "holdout")}, epochs=row["epochs_asked"], label=WINNER)


def train_winner(winner: TrialConfig, config: Search, found: Sweep) -> Sweep:
    """Train the winner with fresh seeds, or go on with that."""
    options = config.as_sweep(scheduler="fifo", quiet=True, output=storage.join(found.path, WINNER), resume=AUTO)
    trials = [replace(winner, seed=seed, data_seed=seed) for seed in dict.fromkeys(config.final_seeds)]
    final = run_or_resume("seeds", options, trials)
    is_his = (final.trials[[*SETTINGS]] == [getattr(winner, name) for name in SETTINGS]).all(axis=1)
    return replace(final, trials=final.trials[is_his])  # with more samples, another one may have won before


def print_best(trials: pd.DataFrame) -> None:
    """Print the best trials by their accuracy on the images held out, without the test set's."""
    shown = trials.sort_values("validation_accuracy", ascending=False).head(SHOWN)
    columns = [*SETTINGS, "validation_accuracy", "regime", "epochs_run", "stop_reason"]
    print(f"The best {len(shown)} of {len(trials)} trials on the images held out:")
    print(shown[columns].rename(columns=lambda name: name.replace("_", " ")).to_string(
        index=False, float_format=rate))  # fmt: skip


def print_final(final: Sweep) -> None:
    """Print what the winner reaches on the test set."""
    row = summarise_replicates(final.trials).iloc[0]
    settings = ", ".join(f"{name.replace('_', ' ')} {rate(final.trials[name].iloc[0])}" for name in NUMBERS)
    print(f"The winner: {row['architecture']}, {settings}")
    print(
        f"Test accuracy over {row['replicates']} fresh seeds: {row['test_accuracy_mean']:.4f} ± "
        f"{row['test_accuracy_ci95']:.4f} (95% interval of the mean; standard deviation {row['test_accuracy_std']:.4f})"
    )
