"""What is said of the data of curves, beside their scores."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields

from mnist_tune.columns import BELOW_1, COUNT, LOSS, SHARE
from mnist_tune.curves.names import ACCURACIES
from mnist_tune.errors import UserError

KINDS = {
    "chance": BELOW_1,
    "test_examples": COUNT,
    "train_examples": COUNT,
    "guess": LOSS,
    "target": SHARE,
    "target_loss": LOSS,
}


@dataclass(frozen=True, kw_only=True)
class CurveFacts:
    """What is said of the data; None if it is not known. `read_curves` says what each
    is. Raises `UserError` if one can't be so."""

    chance: float | None = None
    test_examples: int | None = None
    train_examples: int | None = None
    guess: float | None = None
    target: float | None = None
    target_loss: float | None = None

    def __post_init__(self) -> None:
        for fact in fields(self):
            value = getattr(self, fact.name)
            kind = KINDS[fact.name]
            if value is not None and not kind.holds(value):
                raise UserError(f"{fact.name} must be {kind.wanted}, got {value!r}")

    @property
    def test_count(self) -> int:
        """The number of examples that scores are measured on."""
        return self.test_examples or 1

    @property
    def train_count(self) -> int:
        return self.train_examples or self.test_count

    def refuse_gaps(self, columns: Collection[str]) -> None:
        """Raise a `UserError` if the accuracies or losses among these columns lack what
        they need, or are given what is not theirs."""
        accuracies = [name for name in ACCURACIES if name in columns]
        if accuracies:
            needed, foreign = {"chance": 0.1, "test_examples": 10000}, ["target_loss"]
        else:
            needed, foreign = {}, ["chance", "target"]
        for fact, example in needed.items():
            if getattr(self, fact) is None:
                needs = f"{accuracies[0]} needs {fact}"
                raise UserError(f"{needs}; give it, such as {fact}={example}")
        for fact in foreign:
            if getattr(self, fact) is not None:
                what = "losses alone" if accuracies else "accuracies"
                raise UserError(
                    f"{fact} is of {what}, which this table has not; leave it out"
                )
        if not accuracies and self.guess is None and "untrained_loss" not in columns:
            what = "losses alone need guess, the loss of the best constant answer"
            raise UserError(f"{what}; give it, or a column untrained_loss")
