"""How much do seeds matter? Run one configuration with many seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tyro

from mnist_tune.reports.terminal import print_report
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import ARCHITECTURE_HELP, OPTIMIZER_HELP, Mark, TrialOptions, crossed
from mnist_tune.tuning.sweep import run_or_resume
from mnist_tune.tuning.wanted import asked


@dataclass(frozen=True, kw_only=True)
class Seeds(TrialOptions):
    """Train one configuration with several seeds and report mean, standard deviation and 95% interval."""

    EXAMPLES: ClassVar[dict[str, str]] = {
        "": "784-1024-128-10 with five seeds:",
        "--architecture convnet --epochs 2": "The notebook's convnet:",
        "--learning-rate 1.3 --seeds 0 1 2 3 4 5 6 7 8 9": "How often does a rate near the edge diverge?",
        "--data-seed 0": "The same batch order for all:",
        "--architecture net.py:mlp --dataset data.npz": "A network and a data set of your own:",
    }

    scheduler: Literal["regimes", "asha", "fifo"] = "fifo"
    """fifo runs every replicate to its end; regimes stops all replicates of a slow rate; asha favours lucky seeds."""
    architecture: Annotated[str, tyro.conf.arg(help=ARCHITECTURE_HELP)] = "mlp-1024-128-tanh"
    optimizer: Annotated[str, tyro.conf.arg(help=OPTIMIZER_HELP)] = "sgd"
    batch_size: int = 128
    """Images per step."""
    momentum: float = 0.0
    """Momentum of SGD, in [0, 1)."""
    learning_rate: float = 0.06
    """Learning rate of all replicates; by default that of the notebook's convnet."""
    seeds: Annotated[tuple[int, ...], Mark.MAKES] = (0, 1, 2, 3, 4)
    """One replicate per seed, which sets its initialisation and its batch order."""
    data_seed: int | None = None
    """Use the batch order of this seed for all replicates, so that they differ only in their initialisation."""

    def trials(self) -> list[TrialConfig]:
        crossed(self, "seeds")
        common = self.common() | {"learning_rate": self.learning_rate}
        orders = {seed: seed if self.data_seed is None else self.data_seed for seed in self.seeds}
        return [TrialConfig(**common, seed=seed, data_seed=order) for seed, order in orders.items()]


ASKED = Seeds


def main() -> int:
    sweep = run_or_resume("seeds", asked(ASKED))
    return print_report(sweep)
