"""Do we get the notebook's numbers? Run its eight experiments and compare them with its printed tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from mnist_tune import TrialConfig, UserError
from mnist_tune.reports.figures import plot_notebook
from mnist_tune.reports.notebook import compare_all, experiments
from mnist_tune.reports.replicate_table import print_replicates
from mnist_tune.reports.text import print_comparisons, print_report
from mnist_tune.trial import closest
from mnist_tune.tuning.options import Mark, SweepOptions
from mnist_tune.tuning.sweep import run_or_resume
from mnist_tune.tuning.wanted import asked


@dataclass(frozen=True, kw_only=True)
class Notebook(SweepOptions):
    """Repeat the notebook's eight experiments and compare our numbers with every number that it prints."""

    EXAMPLES: ClassVar[dict[str, str]] = {
        "": "All eight experiments, most of an hour on two cores:",
        "--only converges slow underfit overfit --epochs 10": "Those whose outcome no rounding changes:",
        "--only oscillates diverges": "Those near the edge, with many seeds:",
        "--only convnet --seeds 0": "The notebook's own five convnet runs:",
        "--epochs 1 --seeds 0": "The first row of every table:",
    }

    scheduler: Literal["fifo"] = "fifo"
    """Every experiment runs to its end."""
    only: tuple[str, ...] = ()
    """Experiments to run: converges, slow, oscillates, diverges, underfit, overfit, stax_mlp, convnet."""
    epochs: Annotated[int | None, Mark.MAKES] = None
    """Stop every experiment after this many epochs. oscillates needs 5 to show its outcome, diverges 3."""
    seeds: Annotated[int | None, Mark.MAKES] = None
    """How many other seeds to run of oscillates, diverges and convnet; by default 20, 5 and 5. With 0, only the
    notebook's own runs: its five convnet runs share one seed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds is not None and self.seeds < 0:
            raise UserError(f"--seeds must be at least 0, got {self.seeds}")

    def trials(self) -> list[TrialConfig]:
        """Return the trials, the longest first, so that no worker is idle at the end."""
        known = experiments()
        for name in self.only:
            if name not in known:
                raise UserError(f"--only: no experiment {name!r}{closest(name, known)}")
        chosen = [known[name] for name in dict.fromkeys(self.only or known)]
        trials = [trial for experiment in chosen for trial in experiment.trials(self.epochs, self.seeds)]
        return sorted(trials, key=lambda trial: trial.label not in ("convnet", "convnet seeds", "overfit"))


SEEDS_NOTE = (
    "The notebook's five convnet runs share one key and one batch order, so they differ only by the rounding of the "
    "device (not at all on a CPU). The 'convnet seeds' runs differ in seed and batch order: they show the spread over "
    "seeds."
)


ASKED = Notebook


def main() -> int:
    config = asked(ASKED)
    sweep = run_or_resume("notebook", config)
    code = print_report(sweep)
    comparisons = compare_all(sweep)
    print_comparisons(comparisons)
    if sweep.trials["label"].str.startswith("convnet").any():
        print_replicates(sweep.trials[sweep.trials["label"].str.startswith("convnet")])
        print(SEEDS_NOTE)
    if comparisons:
        plot_notebook(comparisons, sweep.picture("notebook.png"))
        print(f"Picture: {sweep.picture('notebook.png')}")
    return code
