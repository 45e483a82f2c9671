"""What to do next: kinds of steps, and what each is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mnist_tune.answers.settings import Key


class StepKind(Enum):
    """What a next step does."""

    RESUME = "resume"
    RETRY = "retry"
    """Resume, and train what failed again."""
    ADD_RATES = "add_rates"
    TRAIN_LONGER = "train_longer"
    ADD_TRIALS = "add_trials"
    """Give a decision or an edge more trials."""
    DECIDE = "decide"
    FIND_EDGE = "find_edge"


class Why(Enum):
    """Why a step is next."""

    NO_SIGN_OF_LIFE = "no_sign_of_life"
    NOT_ENDED = "not_ended"
    FAILED = "failed"
    LARGEST_IS_BEST = "largest_is_best"
    SMALLEST_IS_BEST = "smallest_is_best"
    NO_EDGE_YET = "no_edge_yet"
    ALL_TOO_LARGE = "all_too_large"
    BETWEEN = "between"
    """The edge lies between two rates."""
    BEST_LEARNS = "best_learns"
    BEST_NOT_SETTLED = "best_not_settled"
    SOME_LEARN = "some_learn"
    NOT_TOLD_APART = "not_told_apart"
    NOT_SETTLED = "not_settled"
    NOT_PRECISE = "not_precise"
    EDGE_WITHIN = "edge_within"
    """Some rates converge and larger ones do not."""


@dataclass(frozen=True)
class NextStep:
    """A step, and what its command is given beside the sweep."""

    kind: StepKind
    why: Why
    arguments: dict[str, Any] = field(default_factory=dict)
    """Options of the command, by the names that they have in Python."""
    trials: int = 0
    """How many trials it is about."""
    rate: float | None = None
    """The best learning rate, where it is the largest or smallest that was tried."""
    families: tuple[str, ...] = ()
    """The families that it is about, where it is not about all."""
    settings: tuple[Key, ...] = ()
    """Between which to decide, by their learning rates."""
    jumping: int = 0
    """How many of these are told apart, but for a jump."""
    but_stopped: bool = False
    """Whether it leaves out what was stopped early."""
    of_final: bool = False
    """Whether it is of the decision that a search ended with."""
