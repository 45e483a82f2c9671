"""Which setting is best, and how sure is that? From one sweep, and from seeds that are
added until it is settled.

Settings are compared on differences of held-out accuracy that are *paired*: two trials
with the same seed have the same batch order, so much of their noise is common.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.families import held_out
from mnist_tune.regimes.learned_share import FAR_LESS
from mnist_tune.regimes.noise import accuracy_noise, sigmas
from mnist_tune.regimes.outcomes import (
    COMPETES,
    FAILED,
    independent_answers_of,
    outcomes,
)
from mnist_tune.regimes.replicates import CONFIGURATION, clopper_pearson, regime_counts

RISK = 0.05
"""The chance that the best of all settings is not on a list, or is better than the one
named by more than is said."""

EQUAL = 12
"""Scores are equal if they are in so many significant digits: means of the same ones
may differ by rounding."""

TOO_MANY = 2
"""A setting that failed with so many seeds more than another one is set aside."""

CONFIRMED = 29
"""Seeds after which a setting that is better with three seeds in four is told from one
that is not, with both risks at 5%: `(z + z)² / (6 (3/4 - 1/2)²)`, z = 1.645 (Noether
1987; Bouthillier et al. 2021, arXiv 2103.03098)."""


def chance_gap(
    spread: Any, pooled: Any, noise: Any, seeds: Any, free: int, settings: int
) -> Any:
    """Return how far below the best a setting may be and not be told apart from it: `q
    √(max(s², 2 r², v) / n)`.

    q is the quantile at 1 - 0.05 / (K - 1) of Student's t, or of the normal
    distribution where there is one seed. So the list of those that are not told apart
    holds the best in 95%. With one seed, the noise of seeds is not in it.

    Args:
        spread: s², the variance of the differences to the best, paired by seed, for
            each setting; NaN for one seed.
        pooled: r², the variance of one accuracy about its setting and its seed, that of
            the median setting; NaN if no setting has several seeds. (Of few seeds, s²
            alone may be far too small.)
        noise: v, the variance of a difference that follows from the number of images,
            for each setting; NaN if it is not known. Without any of the three, a gap of
            any size may be chance.
        seeds: n, for each setting.
        free: the degrees of freedom of r².
        settings: K, how many were compared.
    """
    from scipy.special import stdtrit  # as in `replicates`

    level = 1 - RISK / max(settings - 1, 1)
    several = stdtrit(free, level) if free else np.nan
    quantile = np.where(seeds > 1, several, NormalDist().inv_cdf(level))
    variance = np.fmax(np.fmax(spread, 2 * pooled), noise)
    return np.where(np.isnan(variance), np.inf, quantile * np.sqrt(variance / seeds))


def rounded(scores: Any) -> np.ndarray:
    """Return scores such that equal ones (`EQUAL`) are the same, whatever their
    size."""
    return np.array([float(f"{score:.{EQUAL}g}") for score in scores])


def below_best(
    setting: np.ndarray,
    seed: np.ndarray,
    accuracy: np.ndarray,
    noise: np.ndarray,
    jumps: np.ndarray,
    leads: np.ndarray,
    compared: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean accuracy of each setting, how far it is below the best one, over
    the seeds that both have, and the most that is not told apart from it
    (`chance_gap`).

    Args:
        setting: of each trial, by number.
        seed: likewise; settings are compared on equal ones.
        accuracy: of each trial. Its mean says which setting is best.
        noise: its standard error, or that of what is compared.
        jumps: whether its curve jumps. Such trials say nothing of the noise of the
            others.
        leads: whether its setting may be the best one.
        compared: what differences are those of, if not of the accuracy, such as the
            logarithm of a loss.
    """
    compared = accuracy if compared is None else compared
    mean, (count, middle, own) = (
        _moments(setting, accuracy)[1],
        _moments(setting, compared),
    )
    error = _moments(setting, noise**2)[1]
    best = setting[leads][mean[setting[leads]].argmax()]
    of_best = _moments(
        np.append(seed[setting == best], seed.max()),
        np.append(compared[setting == best], np.nan),
    )[1]
    shared, gap, spread = _moments(setting, of_best[seed] - compared)
    # Without seeds in common, a difference varies as both settings do.
    gap = np.where(shared > 0, gap, middle[best] - middle)
    spread = np.where(shared > 0, spread, own + own[best])
    shared = np.where(shared > 0, shared, np.minimum(count, count[best]))
    pooled, free = _residual(setting[~jumps], seed[~jumps], compared[~jumps])
    if not free:
        pooled, free = _residual(setting, seed, compared)
    return (
        mean,
        gap,
        chance_gap(spread, pooled, error + error[best], shared, free, len(count)),
    )


def _residual(
    setting: np.ndarray, seed: np.ndarray, accuracy: np.ndarray
) -> tuple[float, int]:
    """Return the typical variance of accuracies about their setting and their seed, and
    its degrees of freedom; NaN and 0 if no setting has several seeds.

    It is the mean over the settings with several seeds or, if that is less, their
    median over the median of chi-squared per degree of freedom (Wilson and Hilferty
    1931). So a rate near its edge, whose seeds differ far more, does not widen all
    others' limits.
    """
    several = np.bincount(setting)[setting] > 1
    setting, seed, accuracy = setting[several], seed[several], accuracy[several]
    if not len(setting):
        return np.nan, 0
    settings, seeds = len(np.unique(setting)), len(np.unique(seed))
    free = len(accuracy) - settings
    scale = 1.0
    # some settings have seeds in common: what these share is no noise
    if free > seeds - 1:
        about_setting = accuracy - _moments(setting, accuracy)[1][setting]
        accuracy = accuracy - _medians(seed, about_setting)[seed]
        scale = free / (free - seeds + 1)  # each seed's own share went with it
        free -= seeds - 1
    count, _, variance = _moments(setting, accuracy)
    known = count > 1
    degrees, variance = count[known] - 1, variance[known]
    mean = float(degrees @ variance / degrees.sum())
    median_to_mean = (1 - 2 / (9 * float(np.median(degrees)))) ** 3
    return scale * min(mean, float(np.median(variance)) / median_to_mean), free


def standing(trials: pd.DataFrame, data: DataFacts, leads: Any = False) -> pd.DataFrame:
    """Return the settings of one sweep that compete to be the best, the best first:
    those that failed with fewer seeds and, of these, the more accurate.

    A setting competes if one of its trials does (`outcomes`), unless it failed with two
    seeds more than another one. Accuracies are those of the images held out or, if
    there are none, of the test set. For tasks other scores may count in their place
    (`Ranking`).

    Args:
        trials: rows of the `trials` table.
        data: the facts about the data set.
        leads: whether each trial is of the setting that leads a decision, which is
            first then, whatever failed.

    Returns:
        The columns `CONFIGURATION`; `trial_id`, its first trial that competes; `seeds`,
        how many compete; `failures`, how many failed; `accuracy`, the mean of those
        that compete, and their `train_accuracy`; `regime`; `gap`, how far the setting
        is below the best, over the seeds that both have; `limit`, the most that is not
        told apart (`chance_gap`); `close`, whether the gap is at most that; `jumps`, by
        how much a curve still falls in an epoch (`late_falls`). Of equally accurate
        ones, that with the least loss on these images is first. Losses are compared by
        their logarithms if the least one is below a tenth of the untrained one.
    """
    ended, columns = outcomes(trials, data), [*CONFIGURATION, "trial_id"]
    # pandas takes milliseconds for each
    differ = [name for name in CONFIGURATION if trials[name].nunique() > 1]
    setting = trials.groupby(differ or ["label"]).ngroup().to_numpy()
    failures = np.bincount(setting, ended == FAILED)[setting].astype(int)
    competes = ended == COMPETES
    if not competes.any():
        columns += [
            "seeds",
            "failures",
            "accuracy",
            "train_accuracy",
            "regime",
            "gap",
            "limit",
            "close",
            "jumps",
        ]
        return pd.DataFrame(columns=columns).astype(
            {"close": bool, "gap": float, "limit": float, "jumps": float}
        )
    leads = np.broadcast_to(leads, competes.shape)
    competes &= leads | (failures < failures[competes].min() + TOO_MANY)
    ran, failures, behind = trials[competes], failures[competes], ~leads[competes]
    setting = np.unique(setting[competes], return_inverse=True)[1]
    split = held_out(trials)
    compared = accuracy = data.ranking.scores(ran, split)
    falls = ran["late_fall"].fillna(0.0).to_numpy(float) * data.ranking.is_accuracy
    seed = ran.groupby(["seed", "data_seed"]).ngroup().to_numpy()
    if data.ranking.is_accuracy:
        noise = accuracy_noise(accuracy, independent_answers_of(ran, data, split))
    else:
        noise, untrained = (
            ran[name].fillna(0.0).to_numpy(float)
            for name in ("loss_noise", "untrained_loss")
        )
        # ratios are what compares
        if (
            data.ranking.is_loss
            and 0 < -accuracy.max() < np.median(untrained) / FAR_LESS
        ):
            compared, noise = -np.log(-accuracy), noise / -accuracy
        # else what jumps is told apart from nothing
        noise = np.minimum(noise, np.median(noise))
        if not noise.any():
            noise[:] = np.nan
    first = failures == failures.min() if behind.all() else ~behind
    mean, gap, limit = below_best(
        setting, seed, accuracy, noise, falls > 0, first, compared
    )
    rows = list(pd.Series(setting).groupby(setting).indices.values())
    at = [of[0] for of in rows]
    each = (
        ran.reindex(columns=[f"{split}_loss", "train_accuracy"])
        .astype(float)
        .groupby(setting)
        .mean()
    )
    labels = ran["regime"].to_numpy(str).astype(object)
    regimes = [
        of[0] if (of == of[0]).all() else regime_counts(of)
        for of in (labels[one] for one in rows)
    ]
    found = (
        ran[columns]
        .iloc[at]
        .assign(
            seeds=np.bincount(setting),
            failures=failures[at],
            accuracy=mean,
            train_accuracy=each["train_accuracy"].to_numpy(),
            regime=regimes,
            gap=gap,
            limit=limit,
            close=gap <= limit,
            jumps=[falls[of].max() for of in rows],
        )
    )
    order = np.lexsort(
        (each[f"{split}_loss"], -rounded(mean), failures[at], behind[at])
    )
    return found.iloc[order].reset_index(drop=True)


def to_decide(found: pd.DataFrame) -> pd.DataFrame:
    """Return those settings of `standing` that may be the best, among which a decision
    is worth its seeds: those that are not told apart from it, and those that would not
    be without their largest jump."""
    return found[found["gap"] <= found["limit"] + found["jumps"]]


def late_falls(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> pd.Series:
    """Return the largest fall of each trial's held-out (else test) accuracy in an epoch
    of the last half, by its id; 0 if noise explains it (`sigmas`)."""
    accuracy = (
        epochs["validation_accuracy"]
        .astype(float)
        .fillna(epochs["test_accuracy"].astype(float))
    )
    trial = accuracy.groupby(epochs["trial_id"])
    before, count = trial.shift(), trial.transform("size")
    images = (
        epochs["trial_id"]
        .map(pd.Series(independent_answers_of(trials, data), trials["trial_id"]))
        .astype(float)
    )
    noise = np.hypot(accuracy_noise(before, images), accuracy_noise(accuracy, images))
    late = (2 * trial.cumcount() >= count) & (
        before - accuracy > (count // 2).map(sigmas) * noise
    )
    return (before - accuracy).where(late, 0.0).groupby(epochs["trial_id"]).max()


def _moments(
    group: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the count, the mean and the variance of the values of each group that are
    numbers."""
    known, size = ~np.isnan(values), group.max() + 1
    group, values = group[known], values[known]
    count = np.bincount(group, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(group, values, size) / count
        variance = np.bincount(group, (values - mean[group]) ** 2, size) / np.where(
            count > 1, count - 1, np.nan
        )
    return count, mean, variance


def _medians(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the median of the values of each group; that of an empty group means
    nothing."""
    ordered = values[np.lexsort((values, group))]
    count = np.bincount(group)
    first = np.cumsum(count) - count
    low, high = first + np.maximum(count - 1, 0) // 2, first + count // 2
    last = len(values) - 1
    return np.asarray(
        (ordered[np.minimum(low, last)] + ordered[np.minimum(high, last)]) / 2
    )


def radius(count: Any, spread: Any, risk: float) -> np.ndarray:
    """Return the half-width of a confidence sequence: the chance that the mean of any n
    differences, n = 1, 2, ..., is further from the true one is at most `risk`. So one
    may look after each seed, and stop when one likes.

    For D_1, D_2, ... ~ N(δ, σ²) with mean D̄, standard deviation s and t² = n (D̄ - δ)²
    / s², the process

        G_n = (n + 1)^(-1/2) [(1 + t²/(n - 1)) / (1 + t²/((n - 1)(n + 1)))]^(n/2)

    is a martingale of mean 1 (Wang and Ramdas 2024, arXiv 2310.03722, with the prior
    δ/σ ~ N(0, 1)), so it exceeds 1/risk with at most that chance. Solved for D̄ - δ,
    with q = (√(n + 1) / risk)^(2/n), it is `s √((n - 1)/n · (q - 1)/(1 - q/(n + 1)))`,
    and infinite while q ≥ n + 1.

    Args:
        count: n, how many differences there are.
        spread: s, their standard deviation.
        risk: the chance of any error, in (0, 1).
    """
    n = np.arange(2, max(np.max(count), 2) + 1)
    q = (np.sqrt(n + 1) / risk) ** (2 / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.sqrt((n - 1) / n * (q - 1) / np.maximum(1 - q / (n + 1), 0))
        # one for each n: many pairs have the same n
        factor = np.concatenate([[np.inf, np.inf], factors])[count]
        return np.where(np.isinf(factor), np.inf, factor * spread)


def most_failures(failed: Any, seeds: Any) -> Any:
    """Return the upper 95% limit of the share of seeds that fail (Clopper and Pearson):
    of 0 in 18, it is 15%."""
    return clopper_pearson(failed, seeds, 1 - 2 * RISK)[1]


class Decision:
    """Which of K settings is best, from seeds that are taken up one after another.

    The leader trains each seed, and so do those that may still be better than it by
    more than the tolerance. Once there are none, it is settled. A setting is set aside
    for good once it failed with two seeds more than another one, of those that both
    have. It may hold many searches at once, all arrays then have their axis first.

    Args:
        settings: K.
        tolerance: how much worse than the best the leader may be.
        least: the standard deviation that a difference has at least, such as one
            held-out image. It may be set later.
        searches: how many searches there are, as a shape; that of a single one is
            empty.

    Attributes:
        seeds: how many seeds each has taken up, [K].
        losses: the mean held-out loss of each, which ranks what is equally accurate,
            [K]. It may be set later.
        most: what no value exceeds, 1 for accuracies. It may be set later.
        allowed: with how many of them another one had failed when a setting was set
            aside, [K]; -1 for those that were not.
    """

    def __init__(
        self,
        settings: int,
        tolerance: float,
        least: float = 0.0,
        searches: tuple[int, ...] = (),
    ) -> None:
        self.tolerance, self.least, self.losses = (
            tolerance,
            least,
            np.zeros((*searches, settings)),
        )
        self.seeds, self.allowed = (
            np.full((*searches, settings), of) for of in (0, -1)
        )
        self.most, self._own = np.inf, np.zeros((*searches, settings, 2))
        """The sum of each setting's values, and that of their squares, [K, 2]."""
        self._sum, self._squares = (
            np.zeros((*searches, settings, settings)) for _ in range(2)
        )
        self._count, self._failed = (
            np.zeros((*searches, settings, settings), int) for _ in range(2)
        )
        """For each pair of settings, how many of their common seeds neither failed
        with, and how many the first did."""

    def add(self, values: Any, trained: Any = True) -> None:
        """Take up one seed: the held-out accuracy of each setting, [K]; NaN if it
        failed. Those that were not `trained` with it, [K], are left out, and so are
        those that were set aside."""
        values, took = np.asarray(values, float), ~self.aside & trained
        self.seeds += took
        self._failed += (took & np.isnan(values))[..., :, None] & took[..., None, :]
        known = took & ~np.isnan(values)
        pairs, values = (
            known[..., :, None] & known[..., None, :],
            np.where(known, values, 0),
        )
        self._own += np.stack([values, values**2], -1)
        differences = np.where(pairs, values[..., :, None] - values[..., None, :], 0)
        self._count += pairs
        self._sum += differences
        self._squares += differences**2
        others = np.swapaxes(self._failed, -1, -2)
        more = (self._failed >= others + TOO_MANY) & ~self.aside[..., None, :]
        least = np.where(more, others, self.seeds.max() + 1).min(-1)
        self.allowed = np.where(more.any(-1) & ~self.aside, least, self.allowed)

    @property
    def failures(self) -> np.ndarray:
        """With how many of its seeds each failed, [K]."""
        return np.asarray(np.diagonal(self._failed, axis1=-2, axis2=-1))

    @property
    def aside(self) -> np.ndarray:
        """Whether each setting was set aside, since it failed more often, [K]."""
        return np.asarray(self.allowed >= 0)

    @property
    def leader(self) -> np.ndarray:
        """The setting that no other one is better than, by the mean of their
        differences, or by least; of equal ones, one that failed less, and of these that
        with the least loss."""
        score = np.where(self.aside[..., None, :], np.inf, self._mean).min(-1)
        score = np.where(self.aside | (self.failures == self.seeds), -np.inf, score)
        size = np.sqrt(self._own[..., 1] / np.maximum(self.seeds - self.failures, 1))
        first = score >= score.max(-1, keepdims=True) - 10.0**-EQUAL * size
        failures = np.where(first, self.failures, self.seeds.max() + 1)
        first &= failures == failures.min(-1, keepdims=True)
        return np.asarray(np.where(first, self.losses, np.inf).argmin(-1))

    @property
    def _may_gain(self) -> np.ndarray:
        """By how much each setting may be better than the leader, with 95% confidence;
        -inf for the leader and those that were set aside, [K]."""
        lead = self.leader[..., None]
        most = np.take_along_axis(self._mean + self._radius, lead[..., None], -1)[
            ..., 0
        ]
        # nobody is better than the leader by more than is left above it
        if np.isfinite(self.most):
            count, (total, squares) = (
                self.seeds - self.failures,
                np.moveaxis(self._own, -1, 0),
            )
            mean = total / np.maximum(count, 1)
            variance = (squares - total * mean) / np.maximum(count - 1, 1)
            left = (
                self.most
                - mean
                + radius(count, np.sqrt(np.maximum(variance, self.least**2)), RISK)
            )
            most = np.minimum(most, np.take_along_axis(left, lead, -1))
        return np.where(self.aside | (np.arange(most.shape[-1]) == lead), -np.inf, most)

    @property
    def active(self) -> np.ndarray:
        """Whether each setting trains the next seed: the leader, and those that may be
        better by the tolerance, [K]."""
        lead = np.arange(self.seeds.shape[-1]) == self.leader[..., None]
        return np.asarray(lead | (self._may_gain >= self.tolerance))

    @property
    def rivals(self) -> np.ndarray:
        """Whether each setting may be better than the leader at all, [K]."""
        return np.asarray(self._may_gain > 0)

    @property
    def may_lose(self) -> np.ndarray:
        """By how much another setting may be better than the leader, with 95%
        confidence; 0 if none is."""
        return np.asarray(np.maximum(self._may_gain.max(-1), 0))

    @property
    def over(self) -> np.ndarray:
        """Whether it is settled: no other setting may be better than the leader by the
        tolerance."""
        return np.asarray((self._may_gain < self.tolerance).all(-1))

    def worse(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for each setting by how much it is worse than the leader, [K, 3]: the
        lower end of an interval, the mean, and the upper end; and how many seeds both
        have, [K]. Each end holds in 95%."""
        lead, of = (
            self.leader[..., None, None],
            (self.differences, self._radius, self._count),
        )
        mean, wide, count = (
            np.take_along_axis(each, lead, -2)[..., 0, :] for each in of
        )
        return np.stack([mean - wide, mean, mean + wide], -1), count

    @property
    def differences(self) -> np.ndarray:
        """By how much each setting is better than each other one, [better, worse]; NaN
        for two that have no seed in common."""
        return np.where(self._count > 0, self._mean, np.nan)

    @property
    def _mean(self) -> np.ndarray:
        """By how much each setting is better than each other one, [better, worse]."""
        return self._sum / np.maximum(self._count, 1)

    @property
    def _radius(self) -> np.ndarray:
        """The half-width of the interval of each of these, for any number of seeds;
        infinite while there are too few. Each end holds in 95%."""
        variance = (self._squares - self._sum * self._mean) / np.maximum(
            self._count - 1, 1
        )
        return radius(
            self._count, np.sqrt(np.maximum(variance, self.least**2)), 2 * RISK
        )
