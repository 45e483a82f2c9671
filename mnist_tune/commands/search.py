"""Which network and which settings do best on held-out images?"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import tyro

from mnist_tune import UserError, load_sweep, storage
from mnist_tune.columns import COUNT, SEED, WHOLE, whole
from mnist_tune.decisions.decide import DecideOptions, decide_between
from mnist_tune.numbers import rate
from mnist_tune.own_code.loading import refuse_unknown
from mnist_tune.reports.terminal import exit_code, print_report
from mnist_tune.results.journal import resume_command
from mnist_tune.results.tables import settings_of
from mnist_tune.trial import OPEN_REASONS, TRIALS, Training
from mnist_tune.tuning.opening import HELD_OUT
from mnist_tune.tuning.options import (
    ARCHITECTURE_HELP,
    AUTO,
    MOST_LAYERS,
    CrossedOptions,
    InResume,
    SweepOptions,
    crossed,
    flag,
    hints_of,
    mlp_name,
    rates_of,
)
from mnist_tune.tuning.resuming import command_options, python_options
from mnist_tune.tuning.sweep import search

SETTINGS = ("architecture", "optimizer", "learning_rate", "momentum", "batch_size", "weight_decay")
"""What a search chooses."""

SHOWN = 10
"""The best trials that are printed."""

FINAL_TRIALS = 60
"""The most trials of the decision between the best three."""


@dataclass(frozen=True, kw_only=True)
class Search(CrossedOptions):
    """Search for the network, optimizer, learning rate, momentum, batch size and weight decay that do best on held-out
    images. Then decide between the best three, with fresh seeds.

    The test set has no part in it. It is looked at once: for the setting that is best in the end.
    """

    NAME: ClassVar[str] = "search"
    EXAMPLES: ClassVar[dict[str, str]] = {
        "": "40 networks and settings, by TPE:",
        "--by random --trials 100": "At random, which needs no Optuna:",
        "--widths 64 256 --momentum 0.9 --weight-decay 0": "Small networks, with one momentum and no weight decay:",
        '--architecture convnet stax-mlp "net.py:mlp(width=128)"': "Among networks of your own and of ours:",
        "--optimizer sgd adam --momentum 0": "Of two optimisers:",
    }

    trials: Annotated[int, InResume.ADDS, TRIALS] = 40
    """The most trials, without those of the decision."""
    by: Literal["tpe", "random"] = "tpe"
    """tpe learns from trials that have ended (Optuna's tree-structured Parzen estimator); random draws each alone."""
    widths: Annotated[tuple[int, ...], COUNT] = (16, 64, 256, 1024)
    """Widths of the hidden layers."""
    depths: Annotated[tuple[int, ...], whole(0, MOST_LAYERS - 1)] = (1, 2, 3)
    """Numbers of hidden layers, all of the same width."""
    activations: tuple[Literal["tanh", "relu", "gelu", "silu"], ...] = ("tanh", "relu")
    """tanh, relu, gelu or silu."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = ()
    """Choose among these networks, instead of widths, depths and activations."""
    learning_rates: tuple[float | str, ...] = ("0.003:3",)
    """Learning rates to choose among, or a range FIRST:LAST, drawn evenly on a log scale."""
    momentum: tuple[float | str, ...] = ("0:0.95",)  # type: ignore[assignment]
    """Momenta of SGD to choose among, or a range FIRST:LAST. With other optimizers, it has to be --momentum 0."""
    batch_size: Annotated[tuple[int, ...], COUNT] = (32, 64, 128, 256, 512)
    """Images per step, to choose among."""
    weight_decay: float | str = "1e-6:1e-3"  # type: ignore[assignment]
    """Weight decay, or a range FIRST:LAST, drawn evenly on a log scale."""
    epochs: Annotated[int, COUNT] = 10
    """Epochs per trial."""
    holdout: Annotated[int, WHOLE] = 0
    """Training images that are held out, on which trials are compared; by default (0) a sixth of them."""
    seed: Annotated[int, SEED] = 0
    """What is proposed follows from this. All trials have the seed 0 themselves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in RANGES:
            choices(name, getattr(self, name))

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

        def drawn(name: str) -> Any:
            found = choices(name, getattr(self, name))
            if isinstance(found, list):
                return tune.choice(found) if len(found) > 1 else found[0]
            how = tune.uniform if name == "momentum" else tune.loguniform
            return how(*found) if found[0] < found[1] else found[0]

        others = [one for one in self.optimizer if one.partition("(")[0] != "sgd"]
        if others and drawn("momentum") != 0:
            raise UserError(f"momentum is SGD's alone; to try {others[0]}, too, give --momentum 0")
        return {
            "architecture": tune.choice(list(self.networks())),
            "optimizer": tune.choice(list(self.optimizer)),
            "learning_rate": drawn("learning_rates"),
            "momentum": drawn("momentum"),
            "batch_size": tune.choice(list(self.batch_size)),
            "weight_decay": drawn("weight_decay"),
        } | {one.name: getattr(self, one.name) for one in fields(Training) if one.name not in RANGES}

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
        seed = np.random.SeedSequence([self.seed, known]).generate_state(1)[0] if known else self.seed
        sampler = optuna.samplers.TPESampler(seed=int(seed))
        return NetworkSearch(self.networks(), metric="validation_accuracy", mode="max", sampler=sampler)


def choices(name: str, given: Any) -> tuple[float, float] | list[float]:
    """Return the ends of an option that is a range FIRST:LAST, or the values that it lists. A range that is drawn on a
    log scale has no 0. Raises `UserError` if it is neither."""
    values = given if isinstance(given, tuple) else (given,)
    text = str(values[0])
    if len(values) > 1 or text.count(":") != 1:
        return [rate for value in values for rate in rates_of(value, flag(name))]
    with suppress(ValueError):
        first, last = map(float, text.split(":"))
        if first <= last and (first >= 0 and last < 1 if name == "momentum" else first > 0 and last < math.inf):
            return first, last
    raise UserError(f"{flag(name)} can't be {text!r}; write values, or a range FIRST:LAST, such as {RANGES[name]}")


RANGES = {"learning_rates": "0.003:3", "momentum": "0:0.95", "weight_decay": "1e-6:1e-3"}
"""The options that may be ranges, and their defaults."""


OPTIONS = Search


def main() -> int:
    config = command_options(OPTIONS)
    data, known = config.load(), 0
    if (where := config.place_to_resume()) is not None:
        refuse_unknown(where, config)
        known = len(load_sweep(where).trials)
    else:
        config = replace(config, holdout=config.holdout or len(data.train_labels) // HELD_OUT)
    np.random.seed(config.seed)  # Tune draws from NumPy's generator
    found = search(config.NAME, config.space(), config.trials, config, None, config.searcher(known), data=data)
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
    shared = {name: getattr(config, name) for name in hints_of(SweepOptions)}
    shared |= {"scheduler": "fifo", "output": found.final_place, "resume": AUTO}
    options = DecideOptions(**shared, epochs=config.epochs, holdout=config.holdout, trials=FINAL_TRIALS)
    code = print_report(decide_between(python_options(options), contenders, data))
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
