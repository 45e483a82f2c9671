"""What do the first steps do at each learning rate, in units of the sharpness?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import pandas as pd

from mnist_tune import TrialConfig, storage
from mnist_tune.invocation import command
from mnist_tune.regimes.phases import first_steps, open_between, thresholds
from mnist_tune.reports.phases import plot_phases, print_phases
from mnist_tune.reports.text import INTERRUPTED
from mnist_tune.results.folder import new_folder
from mnist_tune.results.journal import OPEN_REASONS
from mnist_tune.results.tables import together
from mnist_tune.storage import Place
from mnist_tune.sweep import Sweep
from mnist_tune.terminal import announce
from mnist_tune.tuning.options import AUTO, SweepOptions, mlp_name, rates_of, refuse_empty, refuse_not_above_0
from mnist_tune.tuning.sweep import run_or_resume
from mnist_tune.tuning.wanted import asked

NOTHING = 1e-30
"""A learning rate that changes nothing, of the trials whose untrained sharpness is measured."""
NEVER = 10**9
"""A number of steps that no trial makes: its sharpness is measured before training only."""


@dataclass(frozen=True, kw_only=True)
class PhaseDiagram(SweepOptions):
    """Find from which c = learning rate × untrained sharpness on the loss rises, the sharpness rises, and all is lost.

    The loss is half the squared error. To draw the picture again, resume the finished diagram: --resume DIR
    """

    scheduler: Literal["fifo"] = "fifo"
    """Every trial makes all its steps."""
    standardize: bool = True
    """Subtract the training set's mean and divide by its standard deviation."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Widths of the hidden layers."""
    depths: tuple[int, ...] = (4,)
    """Numbers of layers with weights. Several are crossed with the widths."""
    activation: Literal["relu", "tanh", "gelu", "silu"] = "relu"
    """The activation between the layers."""
    initialisation: Literal["he", "he0", "glorot"] = "he"
    """he draws weights with variance 2 / fan-in (last layer 1 / fan-in), without biases; he0 has a last layer of zeros;
    glorot is that of stax, with biases."""
    c: str = "1.5:48:51"
    """The values of c, FIRST:LAST:COUNT, log-spaced; by default ten to the octave."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each sets an initialisation and a batch order."""
    steps: int = 10
    """Steps of a trial."""
    batch_size: int = 512
    """Images a step. --train-images is this times the steps."""
    sharpness_images: int | None = 500
    """Training images that sharpness is measured on, the same for all measurements."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_empty(self, "widths", "depths", "seeds")
        refuse_not_above_0(self, "steps", "batch_size")
        rates_of(self.c, "--c")

    def networks(self) -> list[TrialConfig]:
        """Return a trial for each network and seed, the largest networks first, at a rate that changes nothing."""
        return [
            TrialConfig(
                architecture=mlp_name(width, depth, self.activation, self.initialisation),
                learning_rate=NOTHING,
                loss="mse",
                batch_size=self.batch_size,
                epochs=1,
                seed=seed,
                data_seed=seed,
            )
            for depth in sorted(self.depths, reverse=True)
            for width in sorted(self.widths, reverse=True)
            for seed in self.seeds
        ]


ASKED = PhaseDiagram


def main() -> int:
    config = asked(ASKED)
    where = storage.place(
        config.goes_on()
        or config.output
        or new_folder(Path("results/phase_diagram"), f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    )
    sweeps: list[Sweep] = []
    for name, every, trials in stages(config, sweeps):
        announce(f"{name}: {len(trials)} trials of {config.steps} steps", config.quiet)
        sweeps.append(_run(storage.join(where, name), trials, every, config))
        if sweeps[-1].trials["stop_reason"].isin(OPEN_REASONS).any():
            print(f"interrupted; go on with: {command('phase-diagram')} --resume {where}")
            return INTERRUPTED
    found = thresholds(_measured(sweeps))
    print_phases(found)
    picture = (where if isinstance(where, Path) else Path()) / "phase_diagram.png"
    plot_phases(found, picture)
    print(f"Picture: {picture}")
    return 0


def stages(config: PhaseDiagram, done: Sequence[Sweep]) -> Iterator[tuple[str, int | None, list[TrialConfig]]]:
    """Yield each sweep's name, steps between measurements of sharpness and trials. `done` holds those that have run."""
    networks = config.networks()
    yield "untrained", NEVER, networks
    grid = rates_of(config.c)
    sharpness = first_steps(*together(done)).set_index(["architecture", "seed"])["sharpness"]

    def trial(network: TrialConfig, c: float) -> TrialConfig:
        return replace(network, learning_rate=c / sharpness[network.architecture, network.seed])

    yield "losses", None, [trial(network, c) for network in networks for c in grid]
    for number in range(1, len(grid)):
        steps = _measured(done)
        cells = dict(iter(steps.groupby(["architecture", "seed"])))
        trials = [
            trial(network, c)
            for network in networks
            for c in open_between(cells[network.architecture, network.seed], grid)
        ]
        if not trials:
            return
        yield f"sharpness-{number}", 1, trials


def _measured(done: Sequence[Sweep]) -> pd.DataFrame:
    steps = first_steps(*together(done))
    return steps[steps["learning_rate"] > NOTHING]


def _run(where: Place, trials: list[TrialConfig], every: int | None, config: PhaseDiagram) -> Sweep:
    images = config.steps * config.batch_size
    options = config.as_sweep(output=where, resume=AUTO, quiet=True, sharpness_every=every, train_images=images)
    return run_or_resume("phases", options, trials)
