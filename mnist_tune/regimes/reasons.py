"""Why a trial has its label: a reason, and the numbers that decided. Whatever depends on
a reason asks for it here; its text is made last (`evidence`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Reason(StrEnum):
    """Why a trial has its label."""

    # nothing is known
    NO_EPOCH = "no_epoch"
    NOTHING_KNOWN = "nothing_known"
    """Nobody knows how much of a loss can be learned."""

    # diverged
    LOSS_ABOVE_UNTRAINED = "loss_above_untrained"
    FELL_TO_CHANCE = "fell_to_chance"
    COLLAPSED = "collapsed"
    DEAD = "dead"
    DEAD_BESIDE_OTHERS = "dead_beside_others"
    """It is at chance, while others learned at smaller rates."""
    PLATEAU_BESIDE_OTHERS = "plateau_beside_others"
    """A task's loss stays far above that of a trial at a rate that is not larger, or is
    far above that and where it was after an epoch."""

    # overfit
    HELD_OUT_FELL = "held_out_fell"
    HELD_OUT_AT_CHANCE = "held_out_at_chance"

    # oscillating
    UNSTABLE = "unstable"
    FALLS_OFTEN = "falls_often"
    ENDED_LOW = "ended_low"
    RISES_AND_FALLS = "rises_and_falls"

    # converged
    AT_TARGET = "at_target"

    # slow
    HARDLY_BEGUN = "hardly_begun"
    LATE_AT_BEST = "late_at_best"
    LATE = "late"
    LATE_BESIDE_FASTER = "late_beside_faster"
    AT_CHANCE_BESIDE_OTHERS = "at_chance_beside_others"
    """It learned nothing, while others did at rates that are not smaller."""

    # slow or undecided
    BEHIND = "behind"
    """It is below a sibling."""

    # underfit
    SCHEDULE_ENDED = "schedule_ended"
    LEVELLED_OFF = "levelled_off"
    DECLINING = "declining"

    # undecided
    SCHEDULE_ENDED_WITHOUT_TARGET = "schedule_ended_without_target"
    TOO_FEW_EPOCHS = "too_few_epochs"
    NOT_STEADY = "not_steady"
    LEFT_TARGET = "left_target"
    """It was at the target, and is below it."""
    ON_ITS_WAY = "on_its_way"
    """It is calm, and not at its target yet."""
    LEVEL_OR_SLOW = "level_or_slow"
    JUMPS_RARELY = "jumps_rarely"
    NO_TARGET = "no_target"


class Peak(NamedTuple):
    """A large loss of training."""

    loss: float
    images: int | None
    """Over how many images it is the mean; None if it is a batch's."""


class Since(NamedTuple):
    """When something began."""

    unit: str
    """step or epoch"""
    number: int


class Sibling(NamedTuple):
    """A trial that another one is compared with."""

    rate: float
    differing: Mapping[str, tuple[Any, Any]]
    """The settings beside the rate in which they differ: its value, and the other's."""


@dataclass(frozen=True)
class Label:
    """A trial's regime, and why it has it."""

    regime: str
    reason: Reason
    numbers: Mapping[str, Any]
    """What the text of the reason names (`evidence.TEXTS`)."""
    stopped: str = ""
    """Why early stopping ended the trial, where its curve alone can't tell the
    regime."""

    @classmethod
    def of(cls, regime: str, reason: Reason, **numbers: Any) -> Label:
        """Return a label with the numbers that the text of its reason names."""
        return cls(regime, reason, numbers)
