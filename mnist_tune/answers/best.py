"""How sure a sweep is of its best setting, and what is to be known of that one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mnist_tune.answers.settings import Key, keys, of_setting
from mnist_tune.judged import Judged
from mnist_tune.numbers import LEAST_DIGITS, digits_showing
from mnist_tune.regimes.decision import rounded, to_decide
from mnist_tune.regimes.families import held_out, varied
from mnist_tune.regimes.outcomes import competing
from mnist_tune.trial import COMPLETED_REASONS, UNDECIDED_REASONS

WARNED = ("oscillating", "overfit")
"""Regimes of the best setting that its sentence names; `docs/choose.md` says what to
do."""


@dataclass(frozen=True)
class Warned:
    """The best setting has a regime that warns, with half of its seeds or more."""

    regime: str
    with_it: int
    seeds: int


@dataclass(frozen=True)
class BestSetting:
    """The setting to train with."""

    rank: int
    """Its row in the answer's `settings`; it is not the first one where a decision on
    fresh seeds found another."""
    score: float
    """Its mean on the images held out (else on the test set), with a minus where less
    is better."""
    train_accuracy: float
    seeds: int
    test_score: float = math.nan
    """Its mean on the test set, where other images chose it; else NaN."""
    ties: int = 1
    """How many settings have the same score and fail as often; it has the least
    loss of them."""
    warned: Warned | None = None
    calmer: int | None = None
    """Where it is warned of: the best setting that neither oscillates nor overfits nor
    is slow."""


@dataclass(frozen=True)
class Standing:
    """Which settings are told apart from the best. All are named by their rows in the
    answer's `settings`."""

    least_seeds: int
    most_seeds: int
    compared: int
    noise_is_known: bool
    better: tuple[int, ...]
    """Better than the first one, but they failed with a seed more."""
    close: tuple[int, ...]
    """Not told apart, with the first one."""
    rest: int
    """The settings beside the first that are not `better`."""
    may_jump: tuple[int, ...]
    """Those of the others that may be as good, up to their largest jump."""
    failed_more: tuple[int, ...]
    """Those that are close, though they failed with a seed more."""
    jumping: tuple[int, ...]
    """Those at which accuracy jumps, if more than the rate differs."""
    counts_stopped: bool
    """Whether a trial that was stopped early counts as failed."""
    learned: bool
    """Whether the first one learned more than noise."""

    @property
    def compares(self) -> bool:
        """Whether there is something to be told apart."""
        return self.rest > 0 and (self.learned or len(self.close) > 1)

    @property
    def tells_apart(self) -> bool:
        """Whether the best is told apart from all others."""
        return self.noise_is_known and len(self.close) < 2

    @property
    def leaves_some_out(self) -> bool:
        """Whether a setting is said not to be the best."""
        if not self.compares or not self.noise_is_known:
            return False
        return self.tells_apart or len(self.close) < self.compared


def standing_of(
    settings: pd.DataFrame, counts_stopped: bool = False, learned: bool = True
) -> Standing:
    """Return what is told apart among settings, as `Sweep.best` returns them."""
    is_better = better(settings)
    is_close = settings["close"] & ~is_better
    may_be_best = settings.index.isin(to_decide(settings).index) & ~is_better
    jumps = may_be_best & (settings["jumps"] > 0)
    has_known_noise = ~np.isinf(settings["limit"])
    seeds = settings["seeds"]
    return Standing(
        least_seeds=int(seeds.min()),
        most_seeds=int(seeds.max()),
        compared=len(settings),
        noise_is_known=bool(has_known_noise.any()),
        better=_rows(is_better),
        close=_rows(is_close),
        rest=int((~is_better).sum()) - 1,
        may_jump=_rows(may_be_best)[1:],
        failed_more=_rows(is_close & _fails_more(settings)),
        jumping=_rows(jumps) if varied(settings) else (),
        counts_stopped=counts_stopped,
        learned=learned,
    )


def better(settings: pd.DataFrame) -> pd.Series:
    """Return whether each setting is better than the first one, though it failed with a
    seed more."""
    return _fails_more(settings) & (settings["gap"] < -settings["limit"])


def _fails_more(settings: pd.DataFrame) -> pd.Series:
    """Return whether each setting failed more often than the first one."""
    return settings["failures"] > settings["failures"].iloc[0]


def _rows(holds: pd.Series | np.ndarray) -> tuple[int, ...]:
    return tuple(np.flatnonzero(holds).tolist())


def best_setting(sweep: Judged, settings: pd.DataFrame, is_open: bool) -> BestSetting:
    """Return the first of these settings, and what is to be known of it.

    Args:
        is_open: some trials have not ended, so that its test score does not count yet.
    """
    first = settings.iloc[0]
    [key] = keys(settings.head(1))
    best = BestSetting(
        rank=0,
        score=float(first["accuracy"]),
        train_accuracy=float(first["train_accuracy"]),
        seeds=int(first["seeds"]),
        ties=ties(settings),
    )
    # a decision looks at the test set itself
    if not is_open and not sweep.record.ends_in_a_decision:
        best = replace(best, test_score=test_score(sweep, key))
    warned = warning(of_setting(sweep.trials, key))
    if warned is not None:
        calmer = next(iter(calm_settings(sweep, settings)), None)
        best = replace(best, warned=warned, calmer=calmer)
    return best


def calm_settings(sweep: Judged, settings: pd.DataFrame) -> list[int]:
    """Return which of these settings have no trial among those that compete that is
    slow, oscillates or overfits."""
    trials = competing(sweep.steady, sweep.record.data)
    restless = trials[trials["regime"].isin((*WARNED, "slow"))]
    avoided = {*keys(restless)}
    return [rank for rank, key in enumerate(keys(settings)) if key not in avoided]


def ties(settings: pd.DataFrame) -> int:
    """Return how many settings are as good as the first one, with as many failures."""
    scores = rounded(settings["accuracy"])
    fail_as_often = settings["failures"] == settings["failures"].iloc[0]
    return int(((scores == scores[0]) & fail_as_often).sum())


def warning(trials: pd.DataFrame) -> Warned | None:
    """Return what is wrong with a setting with these trials, if half of those that
    trained or more oscillate or overfit."""
    regimes = trials["regime"][trials["epochs_run"] > 0]
    for regime in WARNED:
        count = int((regimes == regime).sum())
        if 0 < len(regimes) <= 2 * count:
            return Warned(regime, count, len(regimes))
    return None


def test_score(sweep: Judged, best: Key) -> float:
    """Return the mean test score of a setting that was chosen on images that are held
    out; else NaN."""
    facts = sweep.record.data
    # own scores are known of the images held out alone
    if held_out(sweep.trials) == "test" or facts.ranking.is_own:
        return math.nan
    rows = competing(of_setting(sweep.steady, best), facts)
    return float(np.mean(facts.ranking.scores(rows, "test")))


def some_stopped(trials: pd.DataFrame) -> bool:
    """Return whether a scheduler or a rule stopped some of these trials early."""
    by_itself = (*COMPLETED_REASONS, "diverged", *UNDECIDED_REASONS)
    return not trials["stop_reason"].isin(by_itself).all()


def digits_of(settings: pd.DataFrame) -> int:
    """Return the significant digits of a loss with which the settings that are told
    apart from the first one differ from it."""
    first = settings["accuracy"].iloc[0]
    return digits_for(first, first - settings["accuracy"][~settings["close"]])


def digits_for(best: float, gaps: pd.Series | np.ndarray) -> int:
    """Return the significant digits of a loss with which others differ from the best
    one, given how far they do."""
    needed = (digits_showing(float(gap), best) for gap in gaps)
    return max(needed, default=LEAST_DIGITS)
