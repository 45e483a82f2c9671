"""Searches for edges, range tests and sweeps at work: which predictor of the largest
learning rate may be trusted?

    python examples/predictors.py

Measures the edges of nine networks, and holds against them what takes seconds: range
tests with the rules of libraries, line searches, and the sharpness. Prints predicted /
measured and writes predictors.csv. The same command goes on where it was ended.

Measured: 8 min 30 s on 2 cores of an AMD EPYC (family 26), with finer line searches and
also of a residual network. The range test is 0.84 to 1.8 times the measured edge, 2/λ0
0.084 to 1.1 times, what the finders of libraries suggest mostly far below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from mnist_tune import (
    EdgeOptions,
    Ramp,
    RangeTestOptions,
    Sweep,
    SweepOptions,
    TrialConfig,
    find_edge,
    range_test,
    resume_sweep,
    run_sweep,
)
from mnist_tune.training.rising_rate import RangeCurve

NETWORKS = (
    "mlp-16-tanh",
    "mlp-256-tanh",
    "mlp-64-relu",
    "mlp-64-relu-glorot",
    "mlp-64-64-64-relu-glorot",
    "mlp-256-256-gelu-glorot",
    "convnet",
)
NEVER = 10**9
"""More steps than a trial makes: its sharpness is measured before training only."""
BRACKET = "forward-only bracket"
ONE_STEP = {BRACKET: 2000, "critical sharpness": 128}
"""Predictors that look at the loss before and after one step, and the images in it."""
COLUMNS = ["network", "predictor", "seed", "predicted", "measured"]
STEP_RATES = [2.0**power for power in range(-12, 11)]


def valley(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate in the middle of the longest valley: half of n after b - n, where
    the longest subsequence of falling losses has n points and ends at point b."""
    # The longest subsequence that ends at each point goes on from a higher loss before.
    lengths = np.ones(len(losses), int)
    for point in range(1, len(losses)):
        is_higher = losses[:point] > losses[point]
        before = lengths[:point][is_higher]
        lengths[point] = 1 + max(before, default=0)
    end = int(lengths.argmax())
    length = int(lengths[end])
    # fastai rounds down twice: a third of the length, and half of a third.
    third = lengths[end] / 3
    middle = end - length + int(third) + int(third / 2)
    return float(rates[max(middle, 0)])


def slide(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate at the left end of an interval of 15 points that slides down from
    the right while the slopes at its ends differ by more than 0.005."""
    slopes = np.gradient(losses)
    right = len(losses) - 1
    rate = rates[max(right - 15, 0)]
    while right >= 15 and abs(slopes[right] - slopes[right - 15]) > 0.005:
        rate = rates[right - 15]
        right -= 1
    return float(rate)


def tenth_of_minimum(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return a tenth of the rate at which the loss is least."""
    return float(rates[losses.argmin()] / 10)


def steepest_per_log_rate(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate at which the loss falls most per ln η."""
    slopes = np.diff(losses) / np.diff(np.log(rates))
    return float(rates[slopes.argmin()])


def steepest_per_step(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate at which the loss falls most per step."""
    slopes = np.gradient(losses)
    return float(rates[slopes.argmin()])


def steepest_per_rate(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate at which the loss falls most per η. There, the noise at the
    smallest rates is steepest."""
    slopes = np.gradient(losses, rates)
    return float(rates[slopes.argmin()])


FASTAI = Ramp(1e-7, 10.0, 100, 0.98)
LIGHTNING = Ramp(1e-8, 1.0, 100, 0.98)
"""The defaults of `lr_find` in fastai and in Lightning, which never tries a rate above
1."""
Rule = Callable[[np.ndarray, np.ndarray], float]
RULES: dict[str, tuple[Ramp, Rule, tuple[int, int]]] = {
    "fastai valley": (FASTAI, valley, (10, 5)),
    "fastai slide": (FASTAI, slide, (10, 5)),
    "fastai minimum/10": (FASTAI, tenth_of_minimum, (10, 5)),
    "fastai steep": (FASTAI, steepest_per_log_rate, (10, 5)),
    "Lightning before 2.5.3": (LIGHTNING, steepest_per_step, (10, 1)),
    "Lightning from 2.5.3": (LIGHTNING, steepest_per_rate, (10, 1)),
}
"""The rules of libraries: the ramp, the rule, and the points that it leaves out at both
ends of the curve."""


@dataclass(frozen=True)
class Setting:
    """What has an edge: a network and how it is trained."""

    architecture: str
    optimizer: str = "sgd"
    momentum: float = 0.0

    def __str__(self) -> str:
        return f"{self.architecture} {self.optimizer} {self.momentum:g}"


Prediction = tuple[Setting, str, int, float]
"""A setting, a predictor, a seed and the rate that it predicts."""


@dataclass(frozen=True)
class Predictors:
    """Measure the edges of networks, and print how far off predictors are."""

    architecture: tuple[str, ...] = NETWORKS
    """The networks. The fourth, or the last, is also trained with momentum and with
    Adam."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds on which the predictors look."""
    trials: int = 32
    """The most trials for an edge."""
    dataset: str | None = None
    """By default mnist."""
    train_images: int = 12_000
    """Train on so many images; an edge is found from few epochs."""
    output: Path = Path("results/predictors")
    """Folder of the sweeps and of the table."""

    def settings(self) -> list[Setting]:
        plain = [Setting(name) for name in self.architecture]
        # The fourth, or the last.
        varied = plain[:4][-1]
        momentum = replace(varied, momentum=0.9)
        adam = replace(varied, optimizer="adam")
        return [*plain, momentum, adam]

    def edges(self) -> Iterator[float]:
        """Yield the rate at which half of the seeds learn, of each setting; NaN if it
        was not found."""
        for number, setting in enumerate(self.settings()):
            options = EdgeOptions(
                architecture=(setting.architecture,),
                optimizer=(setting.optimizer,),
                momentum=(setting.momentum,),
                dataset=self.dataset,
                train_images=self.train_images,
                trials=self.trials,
                precision=0.1,
                quiet=True,
                output=self.output / f"edge-{number}",
                resume="auto",
            )
            edges = find_edge(options).edges()
            if edges:
                yield edges[0].rate(0.5).median
            else:
                yield math.nan

    def steps(self, images: int) -> Sweep:
        """Train every setting and seed for one step on so many images, at rates a
        factor of 2 apart."""
        folder = self.output / f"steps-{images}"
        if (folder / "sweep.json").exists():
            return resume_sweep(folder, quiet=True)
        trials = []
        for number, setting in enumerate(self.settings()):
            for seed, rate in product(self.seeds, STEP_RATES):
                trial = TrialConfig(
                    architecture=setting.architecture,
                    optimizer=setting.optimizer,
                    momentum=setting.momentum,
                    learning_rate=rate,
                    seed=seed,
                    data_seed=seed,
                    batch_size=images,
                    epochs=1,
                    holdout=0,
                    label=str(number),
                )
                trials.append(trial)
        options = SweepOptions(
            output=folder,
            quiet=True,
            dataset=self.dataset,
            train_images=images,
            sharpness_every=NEVER,
            sharpness_images=1000,
        )
        return run_sweep("steps", trials, options)

    def from_steps(self) -> Iterator[Prediction]:
        """Yield what line searches and the sharpness predict."""
        settings = self.settings()
        for predictor, images in ONE_STEP.items():
            table = self.steps(images).with_settings("label", "seed")
            for (number, seed), rows in table.groupby(["label", "seed"]):
                setting = settings[int(number)]
                # NaN compares as false: a loss that is not finite has risen.
                falls = rows["train_loss"] <= rows["untrained_loss"]
                rises = rows.loc[~falls, "learning_rate"].min()
                # The edge is in the middle of two rates.
                yield setting, predictor, seed, rises / math.sqrt(2)
                if predictor == BRACKET and setting.optimizer == "sgd":
                    # A quadratic is unstable above (2 + 2β) / λ.
                    sharpness = rows["untrained_sharpness"].iloc[0]
                    limit = 2 + 2 * setting.momentum
                    yield setting, "2/λ0", seed, limit / sharpness

    def from_range_tests(self) -> Iterator[Prediction]:
        """Yield what range tests predict, and the rules of libraries on theirs."""
        for setting in self.settings():
            options = RangeTestOptions(
                architecture=setting.architecture,
                optimizer=setting.optimizer,
                momentum=setting.momentum,
                dataset=self.dataset,
                train_images=self.train_images,
                seeds=self.seeds,
            )
            own_curves = range_test(options).curves
            for seed, curve in zip(self.seeds, own_curves, strict=True):
                yield setting, "range test", seed, curve.blow_up
            curves = {
                FASTAI: range_test(options, FASTAI).curves,
                LIGHTNING: range_test(options, LIGHTNING).curves,
            }
            for name, (ramp, rule, skipped) in RULES.items():
                for seed, curve in zip(self.seeds, curves[ramp], strict=True):
                    rate = suggestion(rule, curve, *skipped)
                    yield setting, name, seed, rate


def suggestion(rule: Rule, curve: RangeCurve, first: int, last: int) -> float:
    """Return the rate that a library's rule suggests from a curve without its first and
    last points; NaN if no two points are finite."""
    # The curve ends where the loss blows up.
    end = int(np.searchsorted(curve.rates, curve.blow_up)) + 1
    points = slice(first, end - last)
    rates = curve.rates[points]
    losses = curve.smooth[points]
    is_finite = np.isfinite(losses)
    if is_finite.sum() <= 1:
        return math.nan
    return rule(rates[is_finite], losses[is_finite])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each predictor, the best first: how many networks it says
    something about, the least, median and most of predicted / measured over networks
    (of a network, the median over seeds), and how far `off` it is: the median of |log2|
    of that."""
    ratio = table["predicted"] / table["measured"]
    by_network = ratio.groupby([table["predictor"], table["network"]])
    factors = by_network.median()
    octaves = np.log2(factors).abs()
    off = octaves.groupby("predictor").median().rename("off")
    spread = factors.groupby("predictor").agg(["size", "min", "median", "max"])
    return spread.join(off).sort_values("off")


def main() -> None:
    config = tyro.cli(Predictors)
    measured = dict(zip(config.settings(), config.edges(), strict=True))
    rows = []
    predictions = [*config.from_steps(), *config.from_range_tests()]
    for setting, predictor, seed, rate in predictions:
        rows.append((str(setting), predictor, seed, rate, measured[setting]))
    # Where no edge was found, or a rule suggests nothing, there is nothing to compare.
    table = pd.DataFrame(rows, columns=COLUMNS).dropna()
    for setting, rate in measured.items():
        print(f"half of the seeds of {setting} learn up to {rate:.3g}")
    print("predicted / measured, of networks, and the median of |log2| of it:")
    print(summary(table).to_string(float_format="{:.2g}".format))
    path = config.output / "predictors.csv"
    table.to_csv(path, index=False)
    print(f"Table: {path}")


if __name__ == "__main__":
    main()
