"""Judge curves that were trained elsewhere: print their table and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from mnist_tune import Sweep, UserError, cli, invocation, read_curves
from mnist_tune.curves.decision import decide_curves
from mnist_tune.reports.terminal import print_report, print_result


@dataclass(frozen=True)
class Read:
    """Judge curves of any framework: a table with a row for each report of a run."""

    EXAMPLES: ClassVar[dict[str, str]] = {
        "curves.csv --chance 0.1 --test-examples 10000": "Accuracies of ten classes:",
        "curves.parquet --guess 6.9": "Losses alone:",
        "first.csv --chance 0.1 --test-examples 10000 --again both.csv": "Decide, with fresh seeds in a second table:",
        "curves.csv --chance 0.1 --test-examples 10000 --columns top1=test_accuracy": "With a column of another name:",
    }

    curves: Annotated[str, tyro.conf.Positional]
    """The table: a file that ends in .csv, .parquet or .jsonl (JSON lines), or the
    folder of an experiment of Ray Tune. Needed are the columns learning_rate, epoch or step, and test_accuracy or test_loss."""
    chance: float | None = None
    """The accuracy of guessing, such as 0.1 for ten equal classes; accuracies need
    it."""
    test_examples: int | None = None
    """On how many examples the test accuracies were measured, which they need, too."""
    train_examples: int | None = None
    """How many training examples there are. If it is not known, training accuracies
    count as no more precise than test accuracies."""
    guess: float | None = None
    """The loss of the best constant answer. Losses alone need it, or a column
    untrained_loss."""
    target: float | None = None
    """Accuracy that counts as having learned the data, for the labels."""
    target_loss: float | None = None
    """With losses alone, the loss that counts so."""
    columns: tuple[str, ...] = ()
    """What columns hold, as THEIRS=OURS, such as top1=test_accuracy."""
    settings: tuple[str, ...] = ()
    """Columns that are settings, beside those named config/..."""
    again: str | None = None
    """A second table, with runs of the settings that the first can't rank, trained with
    the fresh seeds that its answer asks for; it may have all rows of the first, too.
    These decide which setting is best: seeds of the first table do not count."""
    tolerance: float | None = None
    """With a second table, how much worse than the best the named setting may be, in
    accuracy or loss. By default, half the standard error of one run's score."""
    all: bool = False
    """Print one line per trial. By default, seeds share a line, and a large sweep is
    summarised by ranges of rates."""
    json: bool = False
    """Print one object of JSON in place of the table: the answer as data, trials with
    their labels, and what to ask next."""
    page: str | None = None
    """Write the page of the curves into this file or URI."""
    picture: Path | None = None
    """Draw the picture of the curves into this file."""

    def read(self) -> Sweep:
        """Return the sweep of the table or, with a second one, the decision."""
        first = self._read(self.curves)
        if self.again is not None:
            return decide_curves(first, self._read(self.again), self.tolerance)
        if self.tolerance is not None:
            raise UserError(
                "--tolerance is of a decision; add --again with the table that decides"
            )
        return first

    def _read(self, table: str) -> Sweep:
        return read_curves(
            table,
            chance=self.chance,
            test_examples=self.test_examples,
            train_examples=self.train_examples,
            guess=self.guess,
            target=self.target,
            target_loss=self.target_loss,
            columns=_renamed(self.columns),
            settings=self.settings,
        )


def _renamed(columns: Sequence[str]) -> dict[str, str]:
    renamed = dict[str, str]()
    for text in columns:
        theirs, equals, ours = text.rpartition("=")
        if not equals:
            raise UserError(f"--columns takes THEIRS=OURS, got {text!r}")
        renamed[theirs] = ours
    return renamed


def main() -> None:
    config = cli.parse(Read)
    sweep = config.read()
    if config.json:
        if config.page or config.picture:
            alone = "--json prints one object and nothing else"
            raise UserError(f"{alone}; ask for --page and --picture without it")
        print_result(sweep, as_object=True)
        return
    sweep.meta["command"] = [*invocation.program(), "read", *invocation.arguments()]
    print_report(sweep, config.all, picture=config.picture is not None)
    if config.picture:
        sweep.plot(config.picture)
        print(f"Picture: {config.picture}")
    if config.page:
        sweep.report(config.page)
        print(f"Page: {config.page}")
