"""Which learning rates suit which network, and how do they move with what varies?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from mnist_tune import reports
from mnist_tune.regimes.families import families
from mnist_tune.regimes.ranges import AXES, along, ranges
from mnist_tune.reports.ranges import plot_range, print_ranges
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import Mark, TrialOptions, crossed, mlp_name, rates_of, refuse_empty
from mnist_tune.tuning.sweep import run_or_resume
from mnist_tune.tuning.wanted import asked

OPTIONS = {"width": "widths", "depth": "depths"}
"""The options of those axes that have another name."""


@dataclass(frozen=True, kw_only=True)
class Architectures(TrialOptions):
    """Find the learning rates at which networks converge, and the best one of each, chosen on held-out images."""

    epochs: int = 5
    """Epochs per trial."""
    holdout: int = 10_000
    """Training images held out, on which the best rate of each network is chosen."""
    widths: tuple[int, ...] = (128, 32, 512)
    """Widths of the hidden layers."""
    depths: tuple[int, ...] = (2, 3, 5)
    """Numbers of layers with weights, crossed with the widths."""
    activation: Literal["tanh", "relu", "gelu", "silu"] = "relu"
    """The activation between the layers."""
    initialisation: Literal["glorot", "he", "he0", ""] = "glorot"
    """How the weights are drawn; "" draws as the notebook does."""
    optimizer: str = "sgd"
    """The optimiser, with its arguments."""
    batch_size: tuple[int, ...] = (128, 32, 512)
    """Images per step. All but the first are tried on the first width and depth only, as are momenta and warm-ups."""
    momentum: tuple[float, ...] = (0.0, 0.5, 0.9)
    """Momentum of SGD."""
    warmup_steps: tuple[int, ...] = (0, 100, 400)  # type: ignore[assignment]
    """Steps in which the learning rate rises linearly from 0."""
    learning_rates: Annotated[tuple[float | str, ...], Mark.MAKES] = ("0.02:3.5:9",)
    """Learning rates of each network, or a range FIRST:LAST:COUNT, log-spaced."""
    seeds: Annotated[tuple[int, ...], Mark.MAKES] = (0, 1)
    """Replicates of every learning rate. A seed sets the initialisation and the batch order."""

    @property
    def architecture(self) -> str:
        return self.name(self.widths[0], self.depths[0])

    def name(self, width: int, depth: int) -> str:
        return mlp_name(width, depth, self.activation, self.initialisation)

    def trials(self) -> list[TrialConfig]:
        refuse_empty(self, "batch_size", "momentum", "warmup_steps")
        rates = [rate for text in self.learning_rates for rate in rates_of(text)]
        shapes = crossed(self, "widths", "depths")
        replicates = crossed(self, "learning_rates", "seeds", learning_rates=rates)
        base = {name: getattr(self, OPTIONS.get(name, name))[0] for name in AXES}
        points = [base | {"width": width, "depth": depth} for width, depth in shapes]
        for name in AXES[2:]:
            points += [base | {name: value} for value in getattr(self, name)]
        trials = []
        for point, (rate, seed) in product(points, replicates):
            values = self.common() | point | {"learning_rate": rate, "seed": seed, "data_seed": seed}
            values["architecture"] = self.name(values.pop("width"), values.pop("depth"))
            trials.append(TrialConfig(**values))
        return list(dict.fromkeys(trials))


ASKED = Architectures


def main() -> int:
    config = asked(ASKED)
    sweep = run_or_resume("architectures", config)
    code = reports.print_report(sweep)
    found = ranges(families(sweep.trials))
    print_ranges(found)
    recorded = sweep.meta["options"]  # of a resumed sweep, those that it began with
    base = {name: recorded[OPTIONS.get(name, name)][0] for name in AXES}
    for axis in AXES:
        lines = {"": along(found, axis, base)}
        if axis in ("width", "depth"):
            other = "depth" if axis == "width" else "width"
            values = [value for value in found[other].unique() if value != base[other]]
            lines = {f", {other} {base[other]:g}": lines[""]}
            lines |= {f", {other} {value:g}": along(found, axis, base | {other: value}) for value in values}
        if found[axis].nunique() > 1:
            picture = sweep.picture(f"edge-by-{axis.split('_')[0]}.png")
            plot_range(lines, axis, Path(picture))
            print(f"Picture: {picture}")
    return code
