"""A training that is not one pure step: a generator, which has loaders, objects with
state, devices or environments of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

from mnist_tune.columns import BELOW_1, COUNT, LOSS, SCORE
from mnist_tune.errors import UserError
from mnist_tune.trial import TrialConfig

Save = Callable[[Path], Any]
"""Writes the state of a training into a folder, which is there and empty."""


@dataclass
class Run:
    """What a `Loop` trains: a trial, and where its state comes from and goes to.

    All settings of the trial are attributes, such as `run.learning_rate`, `run.seed`,
    `run.batch_size` and `run.epochs` (`TrialConfig`).
    """

    trial: TrialConfig
    """The trial's settings."""
    trial_id: str
    """Its id, as in the tables."""
    arguments: Mapping[str, Any]
    """Those in the name of the loop: `{"width": 64}` of `train.py:cnn(width=64)`."""
    epochs_done: int = 0
    """How many reports there are: at first those of the state that is restored."""
    state: Path | None = None
    save: Save | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "trial":  # it is not set yet
            raise AttributeError(name)
        return getattr(self.trial, name)

    def saves(self, function: Save) -> None:
        """Have `function(folder)` write the state into a folder, as files of any names.
        Call this before the first report. The function is called between two
        reports."""
        self.save = function

    def restore(self) -> Path | None:
        """Return the folder with what was saved after the epoch `epochs_done`; None if
        the trial starts from the beginning."""
        return self.state


@dataclass(frozen=True)
class Loop:
    """A training of your own, of any framework, which is swept as it is.

        def train(run):
            model = Model(width=run.arguments.get("width", 32))
            for epoch in range(run.epochs):
                ...
                yield {"train_loss": loss, "test_accuracy": accuracy}

        cnn = Loop(train, test_examples=10_000, chance=0.1)

    A report holds `train_loss`, the mean over an epoch, and `test_accuracy`,
    `test_loss`, `validation_accuracy` or `validation_loss`; perhaps `train_accuracy`,
    `untrained_loss`, `step_loss_max`, `loss_error` (`docs/tables.md`), and `scores`.

    Raises:
        UserError: a value can't be so.
    """

    train: Callable[[Run], Iterator[Mapping[str, Any]]] | None
    """A generator that yields the numbers of each epoch."""
    _: KW_ONLY
    train_examples: int | None = None
    """How many examples are trained on."""
    test_examples: int | None = None
    """On how many examples `test_accuracy` or `test_loss` is measured."""
    validation_examples: int | None = None
    """On how many other examples `validation_accuracy` or `validation_loss` is
    measured. These choose the best."""
    chance: float | None = None
    """The accuracy of guessing. Labels then follow accuracy."""
    guess: float | None = None
    """The loss of the best constant answer. With neither `chance` nor `guess`, each
    report has an `untrained_loss`."""
    scores: tuple[str, ...] = ()
    """The names of further numbers in the reports: columns `score_NAME`."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables, which are set before the loop's file is imported to
    train."""

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            value = getattr(self, name)
            if value is not None and not kind.holds(value):
                raise UserError(f"a loop's {name} must be {kind.wanted}, got {value!r}")
        for name in self.scores:
            if not SCORE.holds(name):
                raise UserError(f"a loop's score {name!r} must be of {SCORE.wanted}")
        if self.chance is not None and not self.held_out:
            raise UserError("a loop with chance needs test_examples, too")

    @property
    def held_out(self) -> int:
        """On how many examples trials are compared; 0 if that is not known."""
        return self.validation_examples or self.test_examples or 0

    @property
    def needed(self) -> list[str]:
        """What each report has to hold: a training loss, what trials are compared by,
        and where losses begin if nothing else says it."""
        split = "test"
        if self.validation_examples:
            split = "validation"
        if self.chance is not None:
            return ["train_loss", f"{split}_accuracy"]
        needed = ["train_loss", f"{split}_loss"]
        if self.guess is None:
            needed.append("untrained_loss")
        return needed

    def __call__(self, run: Run) -> Iterator[Mapping[str, Any]]:
        """Return the generator that trains a run."""
        return self.train(run)  # type: ignore[misc]

    def without_code(self) -> Loop:
        """Return what stands for it where its file is not imported."""
        return replace(self, train=None)


KINDS = {
    "train_examples": COUNT,
    "test_examples": COUNT,
    "validation_examples": COUNT,
    "chance": BELOW_1,
    "guess": LOSS,
}
"""What each number may be."""
