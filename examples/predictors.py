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
from pathlib import Path
from typing import Any

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
STEP_RATES = [2.0**power for power in range(-12, 11)]


def valley(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate in the middle of the longest valley: half of n after b - n, where
    the longest subsequence of falling losses has n points and ends at point b."""
    longest = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        longest[i] = 1 + max(longest[:i][losses[:i] > losses[i]], default=0)
    end = int(longest.argmax())
    third = longest[end] / 3
    return float(rates[max(end - int(longest[end]) + int(third) + int(third / 2), 0)])


def slide(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate at the left end of an interval of 15 points that slides down from
    the right while the slopes at its ends differ by more than 0.005."""
    slopes, right = np.gradient(losses), len(losses) - 1
    found = rates[max(right - 15, 0)]
    while right >= 15 and abs(slopes[right] - slopes[right - 15]) > 0.005:
        found = rates[right - 15]
        right -= 1
    return float(found)


FASTAI, LIGHTNING = Ramp(1e-7, 10.0, 100, 0.98), Ramp(1e-8, 1.0, 100, 0.98)
"""The defaults of `lr_find` in fastai and in Lightning, which never tries a rate above
1."""
Rule = Callable[[np.ndarray, np.ndarray], float]
RULES: dict[str, tuple[Ramp, Rule, tuple[int, int]]] = {
    "fastai valley": (FASTAI, valley, (10, 5)),
    "fastai slide": (FASTAI, slide, (10, 5)),
    "fastai minimum/10": (
        FASTAI,
        lambda rates, losses: rates[losses.argmin()] / 10,
        (10, 5),
    ),
    # Where the loss falls most: per ln η, per step, and per η, where the noise at the
    # smallest rates is steepest.
    "fastai steep": (
        FASTAI,
        lambda rates, losses: rates[
            (np.diff(losses) / np.diff(np.log(rates))).argmin()
        ],
        (10, 5),
    ),
    "Lightning before 2.5.3": (
        LIGHTNING,
        lambda rates, losses: rates[np.gradient(losses).argmin()],
        (10, 1),
    ),
    "Lightning from 2.5.3": (
        LIGHTNING,
        lambda rates, losses: rates[np.gradient(losses, rates).argmin()],
        (10, 1),
    ),
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
        also = plain[:4][-1]
        return [*plain, replace(also, momentum=0.9), replace(also, optimizer="adam")]

    def data(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "train_images": self.train_images}

    def edges(self) -> Iterator[float]:
        """Yield the rate at which half of the seeds learn, of each setting; NaN if it
        was not found."""
        for number, setting in enumerate(self.settings()):
            how: dict[str, Any] = {
                name: (value,) for name, value in vars(setting).items()
            } | self.data()
            how |= {"trials": self.trials, "precision": 0.1, "quiet": True}
            edges = find_edge(
                EdgeOptions(output=self.output / f"edge-{number}", resume="auto", **how)
            ).edges()
            yield edges[0].rate(0.5).median if edges else math.nan

    def steps(self, images: int) -> Sweep:
        """Train every setting and seed for one step on so many images, at rates a
        factor of 2 apart."""
        where = self.output / f"steps-{images}"
        if (where / "sweep.json").exists():
            return resume_sweep(where, quiet=True)
        trials = [
            TrialConfig(
                **vars(setting),
                learning_rate=rate,
                seed=seed,
                data_seed=seed,
                batch_size=images,
                epochs=1,
                holdout=0,
                label=str(number),
            )
            for number, setting in enumerate(self.settings())
            for seed in self.seeds
            for rate in STEP_RATES
        ]
        how = self.data() | {
            "train_images": images,
            "sharpness_every": NEVER,
            "sharpness_images": 1000,
        }
        return run_sweep("steps", trials, SweepOptions(output=where, quiet=True, **how))

    def from_steps(self) -> Iterator[tuple[Setting, str, int, float]]:
        """Yield what line searches and the sharpness predict: setting, predictor, seed,
        rate."""
        for predictor, images in ONE_STEP.items():
            table = self.steps(images).with_settings("label", "seed")
            for (number, seed), rows in table.groupby(["label", "seed"]):
                setting = self.settings()[int(number)]
                rises = rows.loc[
                    ~(rows["train_loss"] <= rows["untrained_loss"]), "learning_rate"
                ].min()
                # in the middle of two rates
                yield setting, predictor, seed, rises / math.sqrt(2)
                if predictor == BRACKET and setting.optimizer == "sgd":
                    sharpness = rows["untrained_sharpness"].iloc[0]
                    yield setting, "2/λ0", seed, (2 + 2 * setting.momentum) / sharpness

    def from_range_tests(self) -> Iterator[tuple[Setting, str, int, float]]:
        for setting in self.settings():
            options = RangeTestOptions(**vars(setting), **self.data(), seeds=self.seeds)
            for seed, curve in zip(self.seeds, range_test(options).curves, strict=True):
                yield setting, "range test", seed, curve.blow_up
            curves = {
                ramp: range_test(options, ramp).curves for ramp in (FASTAI, LIGHTNING)
            }
            for name, (ramp, rule, (first, last)) in RULES.items():
                for seed, curve in zip(self.seeds, curves[ramp], strict=True):
                    stop = int(np.searchsorted(curve.rates, curve.blow_up)) + 1 - last
                    rates, losses = curve.rates[first:stop], curve.smooth[first:stop]
                    fine = np.isfinite(losses)
                    yield (
                        setting,
                        name,
                        seed,
                        rule(rates[fine], losses[fine]) if fine.sum() > 1 else math.nan,
                    )


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each predictor, the best first: how many networks it says
    something about, the least, median and most of predicted / measured over networks
    (of a network, the median over seeds), and how far `off` it is: the median of |log2|
    of that."""
    factors = (
        (table["predicted"] / table["measured"])
        .groupby([table["predictor"], table["network"]])
        .median()
    )
    off = np.log2(factors).abs().groupby("predictor").median().rename("off")
    found = factors.groupby("predictor").agg(["size", "min", "median", "max"])
    return found.join(off).sort_values("off")


def main() -> None:
    asked = tyro.cli(Predictors)
    measured = dict(zip(asked.settings(), asked.edges(), strict=True))
    said = [*asked.from_steps(), *asked.from_range_tests()]
    rows = [
        (str(setting), name, seed, rate, measured[setting])
        for setting, name, seed, rate in said
    ]
    table = pd.DataFrame(
        rows, columns=["network", "predictor", "seed", "predicted", "measured"]
    ).dropna()
    for setting, rate in measured.items():
        print(f"half of the seeds of {setting} learn up to {rate:.3g}")
    print("predicted / measured, of networks, and the median of |log2| of it:")
    print(summary(table).to_string(float_format="{:.2g}".format))
    table.to_csv(asked.output / "predictors.csv", index=False)
    print(f"Table: {asked.output / 'predictors.csv'}")


if __name__ == "__main__":
    main()
