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
from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import LoopData, TaskData
from mnist_tune.decisions.decide import DecideOptions, decide_between
from mnist_tune.errors import library
from mnist_tune.invocation import command, words
from mnist_tune.judged import settings_of
from mnist_tune.own_code.loading import refuse_unloaded
from mnist_tune.regimes.ranking import ACCURACY, Ranking
from mnist_tune.reports.terminal import exit_code, from_here, print_result
from mnist_tune.results.folder import exists
from mnist_tune.trial import OPEN_REASONS, TRIALS, TrialConfig
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
    """Activations of the hidden layers."""
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
        names = self.own or self.architecture
        if names:
            return {name: {"name": name} for name in names}
        kinds = list[str]()
        for activation in self.activations:
            if activation == "relu":
                kinds.append("relu-glorot")
            else:
                kinds.append(activation)
        networks = dict[str, dict[str, Any]]()
        for parts in crossed(widths=self.widths, depths=self.depths, activations=kinds):
            widths = [str(parts["width"])] * parts["depth"]
            name = "-".join(["mlp", *widths, parts["activation"]])
            networks[name] = parts
        return networks

    def rates(self) -> dict[str, Any]:
        """Return the learning rates to choose among (`choices`) by optimizer."""
        ranges = list(self.learning_rates)
        if not ranges:
            usual = {"sgd": RANGES["learning_rates"]}
            ranges = [usual.get(name, "1e-5:0.1") for name in self.optimizer]
        are_ranges = all(str(value).count(":") == 1 for value in ranges)
        if not are_ranges or len(ranges) != len(self.optimizer):
            rates = choices("learning_rates", self.learning_rates)
            return dict.fromkeys(self.optimizer, rates)
        return {
            name: choices("learning_rates", value)
            for name, value in zip(self.optimizer, ranges, strict=True)
        }

    def space(self) -> dict[str, Any]:
        """Return the search space for Tune, with the range that holds the rates of all
        optimizers. Raises UserError if it has trials that are none."""
        from ray import tune

        rates: list[Any] = list(self.rates().values())
        rates_of_all = rates[0]
        if isinstance(rates_of_all, tuple):
            # `NetworkSearch` moves each rate into its optimizer's own range.
            lowest = min(low for low, _ in rates)
            highest = max(high for _, high in rates)
            rates_of_all = lowest, highest
        momentum = _drawn(choices("momentum", self.momentum), tune.uniform)
        for optimizer in self.optimizer:
            name, _, _ = optimizer.partition("(")
            if name != "sgd" and momentum != 0:
                raise UserError(
                    f"momentum is SGD's alone; to try {optimizer}, too, give --momentum 0"
                )
        decays = choices("weight_decay", self.weight_decay)
        space: dict[str, Any] = {
            "architecture": tune.choice(list(self.networks())),
            "optimizer": tune.choice(list(self.optimizer)),
            "learning_rate": _drawn(rates_of_all, tune.loguniform),
            "momentum": momentum,
            "batch_size": tune.choice(list(self.batch_size)),
            "weight_decay": _drawn(decays, tune.loguniform),
        }
        for name, values in self.training().items():
            if name not in RANGES:
                space[name] = _drawn(list(values), tune.choice)
        return space

    def searcher(self, trials_before: int = 0, ranking: Ranking = ACCURACY) -> Any:
        """Return Optuna's searcher. After a resume that knows so many trials, it has
        another seed: it would propose them again."""
        optuna = library("optuna", "a search")
        from mnist_tune.tuning.tpe import NetworkSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = self.seed
        if trials_before:
            seeds = np.random.SeedSequence([self.seed, trials_before])
            seed = int(seeds.generate_state(1)[0])
        kinds = {
            "tpe": optuna.samplers.TPESampler,
            "random": optuna.samplers.RandomSampler,
        }
        sampler = kinds[self.by](seed=seed)
        mode = "min" if ranking.less else "max"
        return NetworkSearch(
            self.networks(),
            self.rates(),
            metric=ranking.column("validation"),
            mode=mode,
            sampler=sampler,
        )


def _drawn(choice: tuple[float, float] | list[float], distribution: Any) -> Any:
    """Return the search space of one setting: a range with Tune's distribution, a
    choice, or one value alone."""
    if isinstance(choice, list):
        if len(choice) > 1:
            from ray import tune

            return tune.choice(choice)
        return choice[0]
    low, high = choice
    if low < high:
        return distribution(low, high)
    return low


def choices(name: str, option: Any) -> tuple[float, float] | list[float]:
    """Return the ends of an option that is a range FIRST:LAST, or the values that it
    lists. A range that is drawn on a log scale has no 0. Raises `UserError` if it is
    neither."""
    values = (option,)
    if isinstance(option, tuple):
        values = option
    text = str(values[0])
    if len(values) > 1 or text.count(":") != 1:
        return [rate for value in values for rate in rates_of(value, words(name))]
    with suppress(ValueError):
        first, last = map(float, text.split(":"))
        if name == "momentum":
            is_in_bounds = first >= 0 and last < 1
        else:
            is_in_bounds = first > 0 and last < math.inf
        if first <= last and is_in_bounds:
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
    sweep, decision = search_and_decide(options)
    code = print_result(sweep, options.json)
    if decision is None:
        if _is_open(sweep):
            return code
        if not options.json:
            print(
                "Fewer than two settings ran to their end and learned, so there is "
                "nothing to decide between."
            )
        return 1
    if not options.json:
        place = from_here(decision.path)
        print(f"Decision: {command('show')} {shlex.quote(place)}")
        if _is_open(decision):
            resume = resume_command(sweep.record, from_here(sweep.path))
            print(f"The decision had not ended; resume with: {resume}")
    return exit_code(decision.trials)


def _is_open(sweep: Sweep) -> bool:
    """Return whether a resume would train something."""
    return bool(sweep.trials["stop_reason"].isin(OPEN_REASONS).any())


def search_and_decide(config: Search) -> tuple[Sweep, Sweep | None]:
    """Search, then decide between the best. Return the search and the decision; None if
    the search has not ended, or fewer than two settings were trained to their end."""
    trials_before = 0
    place = config.place_to_resume()
    if place is not None:
        # before anything loads what it names
        refuse_unloaded(place, (), config)
        trials_before = len(load_sweep(place).trials)
    templates = [TrialConfig(optimizer=name) for name in config.optimizer]
    # Loaded once, for the search and the decision.
    data = load_data(config, templates)
    ranking = Ranking.of(data.spec.by_accuracy, config.rank_by)
    if place is None:
        config = _with_defaults(config, data)
    plan = Plan(
        space=config.space(),
        proposals=config.trials,
        search_alg=config.searcher(trials_before, ranking),
    )
    sweep = search(config.NAME, plan, config, data)
    contenders = settings_of(sweep.finalists())
    if _is_open(sweep) or len(contenders) < 2:
        return sweep, None
    with resumable(sweep.record, sweep.path):
        refuse_unloaded(sweep.path, sweep.record.code, *contenders)
        options = python_options(_decide_options(config, sweep))
        decision = decide_between(options, contenders, data)
        sweep = load_sweep(sweep.path)  # which names what was decided
        sweep.report(storage.join(sweep.path, "report.html"))
    return sweep, decision


def _with_defaults(config: Search, data: Dataset | TaskData) -> Search:
    """Return the options of a new search, with the defaults that follow from its
    data."""
    held_out = max(data.spec.train_images // HELD_OUT, 1)
    if isinstance(data, LoopData):
        held_out = data.to_choose_by
    rates = config.learning_rates
    if not rates:
        ends = config.rates().values()
        rates = tuple(f"{first:g}:{last:g}" for first, last in ends)
    # as decisions do
    drop_last = config.drop_last or max(config.batch_size) <= held_out // 2
    return replace(
        config,
        holdout=config.holdout or held_out,
        learning_rates=rates,
        drop_last=drop_last,
    )


def _decide_options(config: Search, sweep: Sweep) -> DecideOptions:
    """Return the options of the decision between the best settings of a search."""
    options = {
        field.name: getattr(config, field.name) for field in fields(SweepOptions)
    }
    options |= {
        "scheduler": "fifo",
        "output": sweep.final_place,
        "resume": AUTO,
        "epochs": config.epochs,
        "holdout": config.holdout,
    }
    if not exists(sweep.final_place):  # else it may have been asked for more
        options["trials"] = FINAL_TRIALS
    return DecideOptions(**options)
