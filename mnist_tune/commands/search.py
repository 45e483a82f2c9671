"""Which network and which settings do best on held-out images?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import tyro

from mnist_tune import UserError, load_sweep, storage
from mnist_tune.decisions.decide import DecideOptions, decide_until_exit
from mnist_tune.numbers import rate
from mnist_tune.own_code.loading import load_own, refuse_unknown
from mnist_tune.reports.terminal import exit_code, print_report
from mnist_tune.results.journal import resume_command
from mnist_tune.results.tables import FINALISTS, settings_of
from mnist_tune.runtime.ray_session import stop_ray_at_exit
from mnist_tune.training.architectures import ACTIVATIONS
from mnist_tune.trial import MAX_SEED, OPEN_REASONS, closest
from mnist_tune.tuning.opening import with_images_held_out
from mnist_tune.tuning.options import (
    ARCHITECTURE_HELP,
    AUTO,
    MOST_LAYERS,
    OPTIMIZER_HELP,
    Mark,
    SweepOptions,
    crossed,
    flag,
    mlp_name,
    refuse_empty,
    refuse_outside,
    refuse_too_many,
)
from mnist_tune.tuning.sweep import run_search
from mnist_tune.tuning.wanted import asked, resumed

SETTINGS = ("architecture", "optimizer", "learning_rate", "momentum", "batch_size", "weight_decay")
"""What a search chooses."""

SHOWN = 10
"""The best trials that are printed."""


@dataclass(frozen=True, kw_only=True)
class Search(SweepOptions):
    """Search for the network, optimizer, learning rate, momentum, batch size and weight decay that do best on held-out
    images. Then decide between the best three, with fresh seeds.

    The test set has no part in it. It is looked at once: for the setting that is best in the end.
    """

    EXAMPLES: ClassVar[dict[str, str]] = {
        "": "40 networks and settings, by TPE:",
        "--by random --samples 100": "At random, which needs no Optuna:",
        "--widths 64 256 --momentum 0.9 --weight-decay 0": "Small networks, with one momentum and no weight decay:",
        '--architecture convnet stax-mlp "net.py:mlp(width=128)"': "Among networks of your own and of ours:",
        "--optimizer sgd adam --momentum 0 --final-trials 120": "Of two optimisers, and surer in the end:",
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
    optimizer: Annotated[tuple[str, ...], tyro.conf.arg(help=OPTIMIZER_HELP)] = ("sgd",)
    """Choose among these. Momentum is SGD's alone, so with others it has to be --momentum 0."""
    learning_rate: str = "0.003:3"
    """The range of learning rates, FIRST:LAST, drawn evenly on a log scale; or one rate."""
    momentum: str = "0:0.95"
    """The range of momenta, or one momentum."""
    batch_size: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Images per step: one of these."""
    weight_decay: str = "1e-6:1e-3"
    """The range of weight decays, drawn evenly on a log scale; or one, such as 0."""
    epochs: int = 10
    """Epochs per trial."""
    holdout: int = 0
    """Training images that are held out, on which trials are compared; by default (0) a sixth of them."""
    drop_last: bool = False
    """Leave out the last batch of an epoch if it is smaller than the others."""
    search_seed: int = 0
    """Seed of the proposals. All trials have the seed 0 themselves."""
    final_trials: Annotated[int, Mark.MAKES] = 60
    """The most trials of the decision between the best three."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_outside(self, 1, "samples", "batch_size")
        refuse_outside(self, 0, "holdout")
        refuse_outside(self, 0, "depths", most=MOST_LAYERS - 1)
        refuse_outside(self, 0, "search_seed", most=MAX_SEED)
        refuse_outside(self, 2 * FINALISTS, "final_trials")
        refuse_too_many(max(self.samples, self.final_trials), "--samples, --final-trials")
        refuse_empty(self, "widths", "depths", "activations", "batch_size", "optimizer")
        for one in self.activations:
            if one not in ACTIVATIONS:
                raise UserError(f"--activations can't be {one!r}{closest(one, ACTIVATIONS)}")
        for name in ("learning_rate", "momentum", "weight_decay"):
            between(name, getattr(self, name))

    def networks(self) -> dict[str, dict[str, Any]]:
        """Return the networks to choose among by name, each with its parts, which are settings of their own."""
        if self.architecture:
            return {name: {"name": name} for name in self.architecture}
        kinds = [f"{name}-glorot" if name == "relu" else name for name in self.activations]
        combined = crossed(self, "widths", "depths", "activations", activations=kinds)
        return {
            mlp_name(width, depth + 1, kind): {"width": width, "depth": depth, "activation": kind}
            for width, depth, kind in combined
        }

    def space(self) -> dict[str, Any]:
        """Return the search space for Tune. Raises UserError if it has trials that are none."""
        from ray import tune

        others = [one for one in self.optimizer if one.partition("(")[0] != "sgd"]
        if others and between("momentum", self.momentum)[1]:
            raise UserError(f"momentum is SGD's alone; to try {others[0]}, too, give --momentum 0")

        def drawn(name: str, how: Any) -> Any:
            first, last = between(name, getattr(self, name))
            return first if first == last else how(first, last)

        return {
            "architecture": tune.choice(list(self.networks())),
            "optimizer": tune.choice(list(self.optimizer)),
            "learning_rate": drawn("learning_rate", tune.loguniform),
            "momentum": drawn("momentum", tune.uniform),
            "batch_size": tune.choice(list(self.batch_size)),
            "weight_decay": drawn("weight_decay", tune.loguniform),
            "epochs": self.epochs,
            "holdout": self.holdout,
            "drop_last": self.drop_last,
        }

    def searcher(self, known: int = 0) -> Any:
        """Return Optuna's searcher, or None for draws at random. After a resume that knows so many trials, it has
        another seed: it would propose them again."""
        if self.by == "random":
            return None
        try:
            import optuna

            from mnist_tune.tuning.tpe import NetworkSearch
        except ImportError:
            hint = "python -m pip install optuna"
            raise UserError(f"--by tpe needs optuna; to install it: {hint}; or search --by random") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = np.random.SeedSequence([self.search_seed, known]).generate_state(1)[0] if known else self.search_seed
        sampler = optuna.samplers.TPESampler(seed=int(seed))
        return NetworkSearch(self.networks(), metric="validation_accuracy", mode="max", sampler=sampler)


def between(name: str, text: str) -> tuple[float, float]:
    """Return the ends of a range FIRST:LAST, or of one value. What is drawn on a log scale has no 0, but one value of
    weight decay may be 0. Raises `UserError` if it is no such range."""
    first, _, last = text.partition(":")
    try:
        ends = float(first), float(last or first)
        may_be_0 = name == "momentum" or (name == "weight_decay" and ends[1] == 0)
        most = 1 if name == "momentum" else math.inf
        if 0 <= ends[0] <= ends[1] < most and (may_be_0 or ends[0] > 0):
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
    where, known = config.goes_on(), 0
    if where is None:
        config = with_images_held_out(config)
    else:
        config = resumed(config, where, "search")
        refuse_unknown(where, config)
        known = len(load_sweep(where).trials)
    np.random.seed(config.search_seed)  # Tune draws from NumPy's generator
    found = run_search("search", config.space(), config.samples, config, None, config.searcher(known), show=False)
    print_best(found.trials)
    if found.trials["stop_reason"].isin(OPEN_REASONS).any():
        print(f"Trials had not ended; resume with: {resume_command(found.meta, found.path)}")
        return exit_code(found.trials)
    contenders = settings_of(found.finalists())
    if len(contenders) < 2:
        print("Fewer than two settings were trained to their end, so there is nothing to decide between.")
        print(f"Search: {found.path}")
        if isinstance(found.path, Path) and (found.path / "report.html").exists():
            print(f"Page: {found.path / 'report.html'}")
        return 1
    refuse_unknown(found.path, *contenders)
    options = config.handed_on(
        DecideOptions, scheduler="fifo", output=found.final_place,
        resume=AUTO, epochs=config.epochs, holdout=config.holdout, trials=config.final_trials,
    )  # fmt: skip
    code = print_report(decide_until_exit(options, contenders))
    print(f"Search: {found.path}")
    load_sweep(found.path).report(storage.join(found.path, "report.html"))  # which names what was decided
    return code


def print_best(trials: pd.DataFrame) -> None:
    """Print the best trials by their accuracy on the images held out, without the test set's."""
    shown = trials.sort_values("validation_accuracy", ascending=False).head(SHOWN)
    columns = [*SETTINGS, "validation_accuracy", "regime", "epochs_run", "stop_reason"]
    print(f"The best {len(shown)} of {len(trials)} trials on the images held out:")
    print(shown[columns].rename(columns=lambda name: name.replace("_", " ")).to_string(
        index=False, float_format=rate))  # fmt: skip
    for error, count in trials.loc[trials["stop_reason"] == "error", "error"].value_counts().head(SHOWN).items():
        print(f"{count} of {len(trials)} failed: {error}")
