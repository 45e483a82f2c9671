"""Which network and which settings do best on held-out images?"""

from __future__ import annotations

import math
import shlex
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import tyro

from mnist_tune import Sweep, UserError, load_sweep, storage
from mnist_tune.columns import COUNT, SEED, whole
from mnist_tune.continuation import resumable, resume_command
from mnist_tune.decisions.decide import DecideOptions, decide_between
from mnist_tune.invocation import command, words
from mnist_tune.judged import settings_of
from mnist_tune.own_code.loading import refuse_unloaded
from mnist_tune.regimes.ranking import ACCURACY, Ranking
from mnist_tune.reports.terminal import exit_code, from_here, print_result
from mnist_tune.results.folder import exists
from mnist_tune.trial import OPEN_REASONS, TRIALS, Training, TrialConfig
from mnist_tune.tuning.opened import HELD_OUT
from mnist_tune.tuning.options import (
    ARCHITECTURE_HELP,
    AUTO,
    CrossedOptions,
    InResume,
    SweepOptions,
    crossed,
    rates_of,
)
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.resuming import command_options, python_options
from mnist_tune.tuning.sweep import search
from mnist_tune.tuning.tasks import load_data

FINAL_TRIALS = 60
"""The most trials of the decision between the best three."""


@dataclass(frozen=True, kw_only=True)
class Search(CrossedOptions):
    """Search for the network, optimizer, learning rate, momentum, batch size and weight
    decay that do best on held-out images. Then decide between the best three, with
    fresh seeds.

    The test set has no part in it. It is looked at once: for the setting that is best
    in the end.
    """

    NAME: ClassVar[str] = "search"
    EXAMPLES: ClassVar[dict[str, str]] = {
        "": "40 networks and settings, by TPE:",
        "--by random --trials 100": "At random:",
        "--widths 64 256 --momentum 0.9 --weight-decay 0": "Small networks, with one momentum and no weight decay:",
        '--architecture convnet stax-mlp "net.py:mlp(width=128)"': "Among networks of your own and of ours:",
        "--optimizer sgd adam --momentum 0": "Of two optimisers:",
    }

    trials: Annotated[int, InResume.ADDS, TRIALS] = 40
    """The most trials, without those of the decision."""
    by: Literal["tpe", "random"] = "tpe"
    """tpe learns from trials that have ended (Optuna's tree-structured Parzen
    estimator); random draws each alone."""
    widths: Annotated[tuple[int, ...], COUNT] = (16, 64, 256, 1024)
    """Widths of the hidden layers."""
    depths: Annotated[tuple[int, ...], whole(0, 999)] = (1, 2, 3)
    """Numbers of hidden layers, all of the same width."""
    activations: tuple[Literal["tanh", "relu", "gelu", "silu"], ...] = ("tanh", "relu")
    """tanh, relu, gelu or silu."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = ()
    """Choose among these networks, instead of widths, depths and activations."""
    learning_rates: tuple[float | str, ...] = ()
    """Learning rates to choose among, or a range FIRST:LAST, drawn evenly on a log
    scale; or a range for each of several optimizers, in their order. By default 0.001:3
    for sgd, 1e-5:0.1 for others."""
    momentum: tuple[float | str, ...] = ("0:0.95",)  # type: ignore[assignment]
    """Momenta of SGD to choose among, or a range FIRST:LAST. With other optimizers, it
    has to be --momentum 0."""
    batch_size: Annotated[tuple[int, ...], COUNT] = (32, 64, 128, 256, 512)
    """Images per step, to choose among."""
    weight_decay: float | str = "1e-6:1e-3"  # type: ignore[assignment]
    """Weight decay, or a range FIRST:LAST, drawn evenly on a log scale."""
    epochs: Annotated[int, COUNT] = 10
    """Epochs per trial."""
    holdout: Annotated[int | None, COUNT] = None
    """Training images that are held out, on which trials are compared; by default a
    sixth of them."""
    seed: Annotated[int, SEED] = 0
    """Another number proposes other trials. All trials themselves have the seed 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("momentum", "weight_decay"):
            choices(name, getattr(self, name))
        self.rates()

    def networks(self) -> dict[str, dict[str, Any]]:
        """Return the networks to choose among by name, each with its parts, which are
        settings of their own."""
        if named := self.task or self.architecture:
            return {name: {"name": name} for name in named}
        kinds = [
            f"{name}-glorot" if name == "relu" else name for name in self.activations
        ]
        parts = crossed(widths=self.widths, depths=self.depths, activations=kinds)
        return {
            "-".join(
                ["mlp", *[str(one["width"])] * one["depth"], one["activation"]]
            ): one
            for one in parts
        }

    def rates(self) -> dict[str, Any]:
        """Return the learning rates to choose among (`choices`) by optimizer."""
        own = self.learning_rates or [
            RANGES["learning_rates"] if one == "sgd" else "1e-5:0.1"
            for one in self.optimizer
        ]
        if len(own) == len(self.optimizer) and all(
            str(one).count(":") == 1 for one in own
        ):
            return {
                name: choices("learning_rates", one)
                for name, one in zip(self.optimizer, own, strict=True)
            }
        return dict.fromkeys(
            self.optimizer, choices("learning_rates", self.learning_rates)
        )

    def space(self) -> dict[str, Any]:
        """Return the search space for Tune, with the range that holds the rates of all
        optimizers. Raises UserError if it has trials that are none."""
        from ray import tune

        def drawn(found: tuple[float, float] | list[float], how: Any) -> Any:
            if isinstance(found, list):
                return tune.choice(found) if len(found) > 1 else found[0]
            return how(*found) if found[0] < found[1] else found[0]

        rates: list[Any] = list(self.rates().values())
        if isinstance(rates[0], tuple):
            rates = [(min(low for low, _ in rates), max(high for _, high in rates))]
        momentum = drawn(choices("momentum", self.momentum), tune.uniform)
        others = [one for one in self.optimizer if one.partition("(")[0] != "sgd"]
        if others and momentum != 0:
            raise UserError(
                f"momentum is SGD's alone; to try {others[0]}, too, give --momentum 0"
            )
        return {
            "architecture": tune.choice(list(self.networks())),
            "optimizer": tune.choice(list(self.optimizer)),
            "learning_rate": drawn(rates[0], tune.loguniform),
            "momentum": momentum,
            "batch_size": tune.choice(list(self.batch_size)),
            "weight_decay": drawn(
                choices("weight_decay", self.weight_decay), tune.loguniform
            ),
        } | {
            one.name: getattr(self, one.name)
            for one in fields(Training)
            if one.name not in RANGES
        }

    def searcher(self, known: int = 0, ranking: Ranking = ACCURACY) -> Any:
        """Return Optuna's searcher. After a resume that knows so many trials, it has
        another seed: it would propose them again."""
        import optuna

        from mnist_tune.tuning.tpe import NetworkSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = (
            np.random.SeedSequence([self.seed, known]).generate_state(1)[0]
            if known
            else self.seed
        )
        kind = {
            "tpe": optuna.samplers.TPESampler,
            "random": optuna.samplers.RandomSampler,
        }[self.by]
        best = {
            "metric": ranking.column("validation"),
            "mode": "min" if ranking.less else "max",
        }
        return NetworkSearch(
            self.networks(), self.rates(), **best, sampler=kind(seed=int(seed))
        )


def choices(name: str, given: Any) -> tuple[float, float] | list[float]:
    """Return the ends of an option that is a range FIRST:LAST, or the values that it
    lists. A range that is drawn on a log scale has no 0. Raises `UserError` if it is
    neither."""
    values = given if isinstance(given, tuple) else (given,)
    text = str(values[0])
    if len(values) > 1 or text.count(":") != 1:
        return [one for value in values for one in rates_of(value, words(name))]
    with suppress(ValueError):
        first, last = map(float, text.split(":"))
        if first <= last and (
            first >= 0 and last < 1
            if name == "momentum"
            else first > 0 and last < math.inf
        ):
            return first, last
    raise UserError(
        f"{words(name)} can't be {text!r}; write values, or a range FIRST:LAST, such as {RANGES[name]}"
    )


RANGES = {
    "learning_rates": "0.001:3",
    "momentum": "0:0.95",
    "weight_decay": "1e-6:1e-3",
}
"""The options that may be ranges, and their defaults."""


OPTIONS = Search


def run(options: Search) -> Sweep:
    """Search, decide between the best, and return the search."""
    return search_and_decide(options)[0]


def main() -> int:
    return finish(command_options(OPTIONS))


def finish(options: Search) -> int:
    """Train what is left, and print what was found and decided."""
    found, decided = search_and_decide(options)
    code = print_result(found, options.json)
    if options.json and decided is not None:
        return exit_code(decided.trials)
    if decided is None:
        if not found.trials["stop_reason"].isin(OPEN_REASONS).any():
            if not options.json:
                print(
                    "Fewer than two settings ran to their end and learned, so there is "
                    "nothing to decide between."
                )
            return 1
        return code
    print(f"Decision: {command('show')} {shlex.quote(from_here(decided.path))}")
    if decided.trials["stop_reason"].isin(OPEN_REASONS).any():
        print(
            f"The decision had not ended; resume with: {resume_command(found.record, from_here(found.path))}"
        )
    return exit_code(decided.trials)


def search_and_decide(config: Search) -> tuple[Sweep, Sweep | None]:
    """Search, then decide between the best. Return the search and the decision; None if
    the search has not ended, or fewer than two settings were trained to their end."""
    known, where = 0, config.place_to_resume()
    if where is not None:
        # before anything loads what it names
        refuse_unloaded(where, (), config)
        known = len(load_sweep(where).trials)
    data = load_data(config, [TrialConfig(optimizer=one) for one in config.optimizer])
    ranking = Ranking.of(data.spec.by_accuracy, config.rank_by)
    if where is None:
        held_out, rates = (
            max(data.spec.train_images // HELD_OUT, 1),
            config.learning_rates,
        )
        rates = rates or tuple(
            f"{first:g}:{last:g}" for first, last in config.rates().values()
        )
        # as decisions do
        drop_last = config.drop_last or max(config.batch_size) <= held_out // 2
        config = replace(
            config,
            holdout=config.holdout or held_out,
            learning_rates=rates,
            drop_last=drop_last,
        )
    plan = Plan(
        {}, config.space(), config.trials, search_alg=config.searcher(known, ranking)
    )
    found = search(config.NAME, plan, config, data)
    contenders = settings_of(found.finalists())
    if found.trials["stop_reason"].isin(OPEN_REASONS).any() or len(contenders) < 2:
        return found, None
    with resumable(found.record, found.path):
        refuse_unloaded(found.path, found.record.code, *contenders)
        shared = {one.name: getattr(config, one.name) for one in fields(SweepOptions)}
        shared |= {"scheduler": "fifo", "output": found.final_place, "resume": AUTO}
        if not exists(found.final_place):  # else it may have been asked for more
            shared["trials"] = FINAL_TRIALS
        options = DecideOptions(**shared, epochs=config.epochs, holdout=config.holdout)
        decided = decide_between(python_options(options), contenders, data)
        found = load_sweep(found.path)  # which names what was decided
        found.report(storage.join(found.path, "report.html"))
    return found, decided
