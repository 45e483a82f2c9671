"""Which setting is best, and how sure is that? From one sweep, and from seeds that are added until it is settled.

Settings are compared on differences of held-out accuracy that are *paired*: two trials with the same seed have the same
batch order, so much of their noise is common.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune.regimes.families import held_out
from mnist_tune.regimes.noise import accuracy_noise
from mnist_tune.regimes.replicates import CONFIGURATION, clopper_pearson, regime_counts

RISK = 0.05
"""The chance, over all settings, that one is wrongly told apart from the best, or wrongly out."""

PRIOR = 4
"""How many differences the noise that is known beforehand counts for, beside those that were measured."""

TOO_MANY = 2
"""A setting that failed with so many seeds more than the leader is set aside."""

LOST = ("diverged", "slow", "dead", "asha")
"""Why trials end before their last epoch that do not compete: a rate is not the better for those of its seeds that were
left."""

CONFIRMED = 29
"""Seeds after which a setting that is better with three seeds in four is told from one that is not, with both risks at
5%: `(z + z)² / (6 (3/4 - 1/2)²)`, z = 1.645 (Noether 1987; Bouthillier et al. 2021, arXiv 2103.03098)."""


def chance_gap(scatter: Any, seeds: Any, noise: Any, settings: int) -> Any:
    """Return how far below the best a setting may be and not be told apart from it.

    With one seed, it is `z √v`, where v is the variance of the difference that follows from the noise of both
    accuracies. With n, it is `t √((Σ(D - D̄)² + 4 v) / (n + 3) / n)`: few seeds show little of how much seeds vary, so v
    counts for four differences more. z and t (with n + 3 degrees of freedom) are quantiles at 1 - 0.05 / (K - 1).

    Args:
        scatter: Σ(D - D̄)² of the differences to the best, paired by seed, for each setting.
        seeds: n, for each setting.
        noise: v, for each setting.
        settings: K, how many were compared, at least two.
    """
    from scipy.special import stdtrit  # as in `replicates`

    level, free = 1 - RISK / (settings - 1), seeds + PRIOR - 1
    several = stdtrit(free, level) * np.sqrt((scatter + PRIOR * noise) / free / seeds)
    return np.where(seeds > 1, several, NormalDist().inv_cdf(level) * np.sqrt(noise))


def standing(trials: pd.DataFrame, test_images: int) -> pd.DataFrame:
    """Return the settings of one sweep that compete to be the best, the best first.

    Trials compete if they ran all their epochs and did not diverge. A setting competes if no setting lost fewer seeds:
    to divergence, or to a scheduler that stopped them. Seeds that are still to come, or failed, are no loss. Accuracies
    are those of the images held out or, if none were, of the test set. Of each, the noise is its binomial standard
    error, or the largest fall of the curve between two epochs if that is more.

    Args:
        trials: rows of the `trials` table.
        test_images: how many images the test set has.

    Returns:
        The columns `CONFIGURATION`; `seeds`, how many trials compete; `accuracy`, their mean; `regime`; `gap`, how far
        the setting is below the best, over the seeds that both have; `close`, whether that is at most `chance_gap`.
    """
    split, names = held_out(trials), [name for name in CONFIGURATION if name in trials]
    accuracy = trials[f"{split}_accuracy"].astype(float)
    complete = trials["epochs_run"] >= trials["epochs_asked"]
    lost = trials["regime"].eq("diverged") | ~complete & trials["stop_reason"].isin(LOST)
    keys = [name for name in names if trials[name].nunique() > 1] or names[:1]  # pandas takes milliseconds for each
    ran = trials.assign(lost=lost.groupby([trials[name] for name in keys]).transform("sum"))
    ran = ran[complete & ~lost & accuracy.notna()]
    if ran.empty:
        return pd.DataFrame(columns=[*names, "seeds", "accuracy", "regime", "gap", "close"]).astype({"close": bool})
    ran = ran[ran["lost"] == ran["lost"].min()]
    setting = ran.groupby(keys).ngroup().to_numpy()
    accuracy = ran[f"{split}_accuracy"].to_numpy(float)
    images: Any = ran["holdout"] if split == "validation" and "holdout" in ran else test_images
    images = images * ran["answers"].fillna(1.0) if "answers" in ran else images
    falls = ran["largest_fall"].fillna(0.0) if "largest_fall" in ran else 0.0
    count, mean, spread = _moments(setting, accuracy)
    _, noise, _ = _moments(setting, np.asarray(np.maximum(accuracy_noise(accuracy, images), falls) ** 2))
    best = mean.argmax()  # of several the first
    each = pd.MultiIndex.from_frame(ran[[name for name in ("seed", "data_seed") if name in ran]])
    of_best = pd.Series(accuracy[setting == best]).groupby(each[setting == best]).mean().reindex(each).to_numpy()
    shared, gap, variance = _moments(setting, of_best - accuracy)
    # Without seeds in common, a difference varies as both settings do.
    gap = np.where(shared > 0, gap, mean[best] - mean)
    variance = np.where(shared > 0, variance, spread + spread[best])
    shared = np.where(shared > 0, shared, count)
    scatter = np.nan_to_num(variance * (shared - 1))
    limit = chance_gap(scatter, shared, noise + noise[best], max(len(count), 2))
    order, rows = np.argsort(-mean, kind="stable"), pd.Series(setting).groupby(setting).indices
    labels = ran["regime"].to_numpy(str).astype(object)
    of_each = [labels[rows[i]] for i in order]
    regimes = [of[0] if (of == of[0]).all() else regime_counts(pd.Series(of)) for of in of_each]
    return ran[names].iloc[[rows[i][0] for i in order]].reset_index(drop=True).assign(
        seeds=count[order], accuracy=mean[order], regime=regimes, gap=gap[order], close=(gap <= limit)[order]
    )  # fmt: skip


def _moments(group: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the count, the mean and the variance of the values of each group that are numbers."""
    known, size = ~np.isnan(values), group.max() + 1
    group, values = group[known], values[known]
    count = np.bincount(group, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(group, values, size) / count
        variance = np.bincount(group, (values - mean[group]) ** 2, size) / np.where(count > 1, count - 1, np.nan)
    return count, mean, variance


def radius(count: Any, spread: Any, risk: float) -> np.ndarray:
    """Return the half-width of a confidence sequence: the chance that the mean of any n differences, n = 1, 2, ..., is
    further from the true one is at most `risk`. So one may look after each seed, and stop when one likes.

    For D_1, D_2, ... ~ N(δ, σ²) with mean D̄, standard deviation s and t² = n (D̄ - δ)² / s², the process

        G_n = (n + 1)^(-1/2) [(1 + t²/(n - 1)) / (1 + t²/((n - 1)(n + 1)))]^(n/2)

    is a martingale of mean 1 (Wang and Ramdas 2024, arXiv 2310.03722, with the prior δ/σ ~ N(0, 1)), so it exceeds
    1/risk with at most that chance. Solved for D̄ - δ, with q = (√(n + 1) / risk)^(2/n), it is
    `s √((n - 1)/n · (q - 1)/(1 - q/(n + 1)))`, and infinite while q ≥ n + 1.

    Args:
        count: n, how many differences there are.
        spread: s, their standard deviation.
        risk: the chance of any error, in (0, 1).
    """
    n = np.arange(2, max(np.max(count), 2) + 1)
    q = (np.sqrt(n + 1) / risk) ** (2 / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.sqrt((n - 1) / n * (q - 1) / np.maximum(1 - q / (n + 1), 0))
        factor = np.concatenate([[np.inf, np.inf], factors])[count]  # one for each n: many pairs have the same n
        return np.where(np.isinf(factor), np.inf, factor * spread)


def most_failures(failed: Any, seeds: Any) -> Any:
    """Return the upper 95% limit of the share of seeds that fail (Clopper and Pearson): of 0 in 18, it is 15%."""
    return clopper_pearson(failed, seeds, 1 - 2 * RISK)[1]


class Decision:
    """Which of K settings is best, from seeds that are taken up one after another, each by all settings still in.

    A setting is out once another one is better by more than `radius` at the risk 0.05 / (K - 1), or once it has failed
    with two seeds more than the leader. It may hold many searches at once, all arrays then have their axis first.

    Args:
        settings: K.
        tolerance: how much worse than the best the leader may be.
        least: the standard deviation that a difference has at least, such as one held-out image.
        searches: how many searches there are, as a shape; that of a single one is empty.

    Attributes:
        active: whether each setting is in, [K].
        seeds: how many seeds each has taken up, [K].
        failures: with how many of them it failed, [K].
    """

    def __init__(self, settings: int, tolerance: float, least: float = 0.0, searches: tuple[int, ...] = ()) -> None:
        self.tolerance, self._least = tolerance, least
        self._risk = RISK / max(settings - 1, 1)
        self.active = np.ones((*searches, settings), bool)
        self.seeds, self.failures = (np.zeros((*searches, settings), int) for _ in range(2))
        self._sum, self._squares = (np.zeros((*searches, settings, settings)) for _ in range(2))
        self._count = np.zeros((*searches, settings, settings), int)

    def add(self, values: Any) -> None:
        """Take up one seed: the held-out accuracy of each setting, [K]; NaN if it failed. Those that are out count no
        more."""
        values = np.asarray(values, float)
        self.seeds += self.active
        self.failures += self.active & np.isnan(values)
        known = self.active & ~np.isnan(values)
        pairs, values = known[..., :, None] & known[..., None, :], np.where(known, values, 0)
        differences = np.where(pairs, values[..., :, None] - values[..., None, :], 0)
        self._count += pairs
        self._sum += differences
        self._squares += differences**2
        both = self.active[..., :, None] & self.active[..., None, :]
        beaten = ((self._mean > self._radius(self._risk)) & both).any(-2)
        lead = np.take_along_axis(self.failures, self.leader[..., None], -1)
        self.active = self.active & ~beaten & (self.failures < lead + TOO_MANY)

    @property
    def leader(self) -> np.ndarray:
        """The setting with the best accuracies of those that are in, by its mean differences to all of them; of equal
        ones, one that failed less. One that failed with two seeds more than another does not lead."""
        score = (self._mean * self.active[..., None, :]).sum(-1) - 1e-12 * self.failures
        least = np.where(self.active, self.failures, np.inf).min(-1, keepdims=True)
        return np.asarray(np.where(self.active & (self.failures < least + TOO_MANY), score, -np.inf).argmax(-1))

    @property
    def may_lose(self) -> np.ndarray:
        """By how much another setting that is in may be better than the leader, with 95% confidence; 0 if none is."""
        lead = self.leader[..., None]
        others = self.active & (np.arange(self.active.shape[-1]) != lead)
        most = np.take_along_axis(self._mean + self._radius(2 * RISK), lead[..., None], -1)[..., 0]
        return np.asarray(np.where(others, most, 0).max(-1))

    @property
    def over(self) -> np.ndarray:
        """Whether it is settled: one setting is left, or none loses more than the tolerance by taking the leader."""
        return np.asarray((self.active.sum(-1) == 1) | (self.may_lose < self.tolerance))

    def worse(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return for each setting by how much it is worse than another one, [K, 3]: a simultaneous 95% interval's lower
        end, the mean, its upper end; which other one that is, [K]: the leader or, for a setting that is out, the one
        that is most surely better; and how many seeds both have, [K]."""
        mean, wide = self.differences
        surely = np.where(np.eye(self.active.shape[-1], dtype=bool), -np.inf, mean - wide)
        known = ~self.active & np.isfinite(surely).any(-2)
        than = np.where(known, surely.argmax(-2), self.leader[..., None])
        of = than[..., None, :]
        mean, wide, count = (np.take_along_axis(each, of, -2)[..., 0, :] for each in (mean, wide, self._count))
        return np.stack([mean - wide, mean, mean + wide], -1), than, count

    @property
    def differences(self) -> tuple[np.ndarray, np.ndarray]:
        """By how much each setting is better than each other one, [better, worse], and the half-width of its 95%
        interval (simultaneous, and for any number of seeds), infinite while there are too few seeds. Two that have no
        seed in common have no difference: NaN."""
        return np.where(self._count > 0, self._mean, np.nan), self._radius(self._risk)

    @property
    def _mean(self) -> np.ndarray:
        """By how much each setting is better than each other one, [better, worse]."""
        return self._sum / np.maximum(self._count, 1)

    def _radius(self, risk: float) -> np.ndarray:
        variance = (self._squares - self._sum * self._mean) / np.maximum(self._count - 1, 1)
        return radius(self._count, np.sqrt(np.maximum(variance, self._least**2)), risk)
