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

STANDING = (
    "seeds",
    "failures",
    "accuracy",
    "train_accuracy",
    "regime",
    "gap",
    "limit",
    "close",
    "jumps",
)
"""The columns that `standing` adds to those of a trial."""


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
    normal = NormalDist().inv_cdf(level)
    student = np.nan
    if free:
        student = stdtrit(free, level)
    quantile = np.where(seeds > 1, student, normal)
    variance = np.fmax(spread, 2 * pooled)
    variance = np.fmax(variance, noise)
    gap = quantile * np.sqrt(variance / seeds)
    return np.where(np.isnan(variance), np.inf, gap)


def rounded(scores: Any) -> np.ndarray:
    """Return scores such that equal ones (`EQUAL`) are the same, whatever their
    size."""
    texts = (f"{score:.{EQUAL}g}" for score in scores)
    return np.array([float(text) for text in texts])


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
    if compared is None:
        compared = accuracy
    mean = _means(setting, accuracy)
    error = _means(setting, noise**2)
    count, middle, own = _moments(setting, compared)

    leading = setting[leads]
    best = leading[mean[leading].argmax()]
    is_of_best = setting == best
    # The NaN at the end makes room for seeds that the best setting has not.
    seeds_of_best = np.append(seed[is_of_best], seed.max())
    values_of_best = np.append(compared[is_of_best], np.nan)
    best_by_seed = _means(seeds_of_best, values_of_best)
    shared, gap, spread = _moments(setting, best_by_seed[seed] - compared)

    # Without seeds in common, a difference varies as both settings do.
    is_paired = shared > 0
    gap = np.where(is_paired, gap, middle[best] - middle)
    spread = np.where(is_paired, spread, own + own[best])
    shared = np.where(is_paired, shared, np.minimum(count, count[best]))

    is_calm = ~jumps
    pooled, free = _residual(setting[is_calm], seed[is_calm], compared[is_calm])
    if not free:
        pooled, free = _residual(setting, seed, compared)
    limit = chance_gap(spread, pooled, error + error[best], shared, free, len(count))
    return mean, gap, limit


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
    has_several = np.bincount(setting)[setting] > 1
    setting = setting[has_several]
    seed = seed[has_several]
    accuracy = accuracy[has_several]
    if not len(setting):
        return np.nan, 0
    settings = len(np.unique(setting))
    seeds = len(np.unique(seed))
    free = len(accuracy) - settings
    scale = 1.0
    # some settings have seeds in common: what these share is no noise
    if free > seeds - 1:
        about_setting = accuracy - _means(setting, accuracy)[setting]
        accuracy = accuracy - _medians(seed, about_setting)[seed]
        scale = free / (free - seeds + 1)  # each seed's own share went with it
        free -= seeds - 1
    count, _, variance = _moments(setting, accuracy)
    degrees = count - 1
    has_variance = degrees > 0
    degrees = degrees[has_variance]
    variance = variance[has_variance]
    mean = float(degrees @ variance / degrees.sum())
    # Wilson and Hilferty's median of chi-squared, by its mean
    typical_degrees = float(np.median(degrees))
    median_to_mean = (1 - 2 / (9 * typical_degrees)) ** 3
    median = float(np.median(variance)) / median_to_mean
    return scale * min(mean, median), free


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
    ended = outcomes(trials, data)
    # pandas takes milliseconds for each column that it groups by
    differ = [name for name in CONFIGURATION if trials[name].nunique() > 1]
    setting = trials.groupby(differ or ["label"]).ngroup().to_numpy()
    failures = np.bincount(setting, ended == FAILED)[setting].astype(int)
    competes = ended == COMPETES
    if not competes.any():
        return _nobody_competes()
    leads = np.broadcast_to(leads, competes.shape)
    fewest = failures[competes].min()
    competes &= leads | (failures < fewest + TOO_MANY)

    trials_left = trials[competes]
    failures = failures[competes]
    leads = leads[competes]
    _, setting = np.unique(setting[competes], return_inverse=True)
    split = held_out(trials)
    return _ranked(trials_left, setting, failures, leads, split, data)


def _nobody_competes() -> pd.DataFrame:
    """Return what `standing` does if no setting competes."""
    empty = pd.DataFrame(columns=[*CONFIGURATION, "trial_id", *STANDING])
    return empty.astype({"close": bool, "gap": float, "limit": float, "jumps": float})


def _ranked(
    trials: pd.DataFrame,
    setting: np.ndarray,
    failures: np.ndarray,
    leads: np.ndarray,
    split: str,
    data: DataFacts,
) -> pd.DataFrame:
    """Return what `standing` does, given the trials that compete.

    Args:
        setting: of each trial, by number from 0.
        failures: with how many seeds its setting failed.
        leads: whether its setting leads a decision.
        split: where scores are measured.
    """
    accuracy = data.ranking.scores(trials, split)
    compared, noise = _comparable(trials, accuracy, split, data)
    falls = _numbers(trials, "late_fall")
    if not data.ranking.is_accuracy:
        falls = np.zeros(len(trials))
    by_seed = trials.groupby(["seed", "data_seed"])
    seed = by_seed.ngroup().to_numpy()
    may_lead = leads
    if not leads.any():
        may_lead = failures == failures.min()
    mean, gap, limit = below_best(
        setting, seed, accuracy, noise, falls > 0, may_lead, compared
    )

    by_setting = pd.Series(setting).groupby(setting)
    labels = trials["regime"].to_numpy(str).astype(object)
    first_rows, regimes, jumps = [], [], []
    for rows in by_setting.indices.values():
        first_rows.append(rows[0])
        regimes.append(_regime(labels[rows]))
        jumps.append(falls[rows].max())
    failures = failures[first_rows]
    is_behind = ~leads[first_rows]
    measured = trials.reindex(columns=[f"{split}_loss", "train_accuracy"])
    means = measured.astype(float).groupby(setting).mean()
    settings = trials.assign(reports=trials.get("reports", 1))
    settings = settings[[*CONFIGURATION, "reports", "trial_id"]].iloc[first_rows]
    settings = settings.assign(
        seeds=np.bincount(setting),
        failures=failures,
        accuracy=mean,
        train_accuracy=means["train_accuracy"].to_numpy(),
        regime=regimes,
        gap=gap,
        limit=limit,
        close=gap <= limit,
        jumps=jumps,
    )
    # the last one counts first
    keys = means[f"{split}_loss"], -rounded(mean), failures, is_behind
    order = np.lexsort(keys)
    return settings.iloc[order].reset_index(drop=True)


def _comparable(
    trials: pd.DataFrame, accuracy: np.ndarray, split: str, data: DataFacts
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each trial what is compared with others, and its standard error."""
    ranking = data.ranking
    if ranking.is_accuracy:
        answers = independent_answers_of(trials, data, split)
        return accuracy, accuracy_noise(accuracy, answers)
    compared = accuracy
    noise = _numbers(trials, "loss_noise")
    untrained = np.median(_numbers(trials, "untrained_loss"))
    least_loss = -accuracy.max()
    if ranking.is_loss and 0 < least_loss < untrained / FAR_LESS:
        # ratios are what compares
        compared = -np.log(-accuracy)
        noise = noise / -accuracy
    # else what jumps is told apart from nothing
    noise = np.minimum(noise, np.median(noise))
    if not noise.any():
        noise[:] = np.nan
    return compared, noise


def _numbers(trials: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column as numbers, with 0 where there is none."""
    return np.asarray(trials[name].fillna(0.0).to_numpy(float))


def _regime(labels: np.ndarray) -> str:
    """Return the regime of a setting, or how many of its trials have which."""
    if (labels == labels[0]).all():
        return str(labels[0])
    return regime_counts(labels)


def to_decide(settings: pd.DataFrame) -> pd.DataFrame:
    """Return those settings of `standing` that may be the best, among which a decision
    is worth its seeds: those that are not told apart from it, and those that would not
    be without their largest jump."""
    return settings[settings["gap"] <= settings["limit"] + settings["jumps"]]


def late_falls(
    trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts
) -> pd.Series:
    """Return the largest fall of each trial's held-out (else test) accuracy in an epoch
    of the last half, by its id; 0 if noise explains it (`sigmas`)."""
    trial_id = epochs["trial_id"]
    test = epochs["test_accuracy"].astype(float)
    accuracy = epochs["validation_accuracy"].astype(float).fillna(test)
    of_trial = accuracy.groupby(trial_id)
    before = of_trial.shift()
    count = of_trial.transform("size")
    answers = pd.Series(independent_answers_of(trials, data), trials["trial_id"])
    images = trial_id.map(answers).astype(float)
    noise_before = accuracy_noise(before, images)
    noise = np.hypot(noise_before, accuracy_noise(accuracy, images))
    late_epochs = count // 2
    limit = late_epochs.map(sigmas) * noise
    fall = before - accuracy
    is_late = 2 * of_trial.cumcount() >= count
    counts = is_late & (fall > limit)
    late_fall = fall.where(counts, 0.0)
    return late_fall.groupby(trial_id).max()


def _moments(
    group: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the count, the mean and the variance of the values of each group that are
    numbers."""
    size = group.max() + 1
    is_number = ~np.isnan(values)
    group = group[is_number]
    values = values[is_number]
    count = np.bincount(group, minlength=size)
    degrees = np.where(count > 1, count - 1, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(group, values, size) / count
        squares = (values - mean[group]) ** 2
        variance = np.bincount(group, squares, size) / degrees
    return count, mean, variance


def _means(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean of the values of each group that are numbers."""
    _, mean, _ = _moments(group, values)
    return mean


def _medians(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the median of the values of each group; that of an empty group means
    nothing."""
    ordered = values[np.lexsort((values, group))]
    count = np.bincount(group)
    first = np.cumsum(count) - count
    # an even count has two in the middle; an empty group may lie beyond the end
    last = len(values) - 1
    low = first + np.maximum(count - 1, 0) // 2
    high = first + count // 2
    lower = ordered[np.minimum(low, last)]
    upper = ordered[np.minimum(high, last)]
    return np.asarray((lower + upper) / 2)


def _along_pairs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values of settings, [K], as those of the first and of the second setting
    of each pair, [K, 1] and [1, K]."""
    return values[..., :, None], values[..., None, :]


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
    most = max(np.max(count), 2)
    n = np.arange(2, most + 1)
    q = (np.sqrt(n + 1) / risk) ** (2 / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (n - 1) / n * (q - 1)
        below = np.maximum(1 - q / (n + 1), 0)
        factors = np.sqrt(above / below)
        # one for each n: many pairs have the same n
        factors = np.concatenate([[np.inf, np.inf], factors])
        factor = factors[count]
        wide = factor * spread
    return np.where(np.isinf(factor), np.inf, wide)


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
        shape = (*searches, settings)
        pairs = (*shape, settings)
        self.tolerance = tolerance
        self.least = least
        self.most = np.inf
        self.losses = np.zeros(shape)
        self.seeds = np.full(shape, 0)
        self.allowed = np.full(shape, -1)
        self._total = np.zeros(shape)
        self._total_of_squares = np.zeros(shape)
        """The sum of each setting's values, and that of their squares, [K]."""
        self._count = np.zeros(pairs, int)
        self._failed = np.zeros(pairs, int)
        """For each pair of settings, how many of their common seeds neither failed
        with, and how many the first did, [K, K]."""
        self._sum = np.zeros(pairs)
        self._squares = np.zeros(pairs)
        """The sum of the differences of each pair, and that of their squares, [K, K]."""

    def add(self, values: Any, trained: Any = True) -> None:
        """Take up one seed: the held-out accuracy of each setting, [K]; NaN if it
        failed. Those that were not `trained` with it, [K], are left out, and so are
        those that were set aside."""
        values = np.asarray(values, float)
        is_nan = np.isnan(values)
        took = ~self.aside & trained
        self.seeds += took
        failed, _ = _along_pairs(took & is_nan)
        _, both_took = _along_pairs(took)
        self._failed += failed & both_took

        competes = took & ~is_nan
        values = np.where(competes, values, 0)
        self._total += values
        self._total_of_squares += values**2
        one_competes, other_competes = _along_pairs(competes)
        pairs = one_competes & other_competes
        better, worse = _along_pairs(values)
        differences = np.where(pairs, better - worse, 0)
        self._count += pairs
        self._sum += differences
        self._squares += differences**2
        self._set_aside()

    def _set_aside(self) -> None:
        """Set aside what failed more often than another one that is in the running."""
        failed = self._failed
        failed_of_other = np.swapaxes(failed, -1, -2)
        _, other_is_aside = _along_pairs(self.aside)
        is_worse = failed >= failed_of_other + TOO_MANY
        is_worse &= ~other_is_aside
        unlimited = self.seeds.max() + 1
        allowed = np.where(is_worse, failed_of_other, unlimited)
        is_new = is_worse.any(-1) & ~self.aside
        self.allowed = np.where(is_new, allowed.min(-1), self.allowed)

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
        failures = self.failures
        trained = self.seeds - failures
        _, rival_is_aside = _along_pairs(self.aside)
        # by how much each is better than its strongest rival
        lead = np.where(rival_is_aside, np.inf, self._mean)
        is_out = self.aside | (trained == 0)
        score = np.where(is_out, -np.inf, lead.min(-1))
        mean_of_squares = self._total_of_squares / np.maximum(trained, 1)
        rounding = 10.0**-EQUAL * np.sqrt(mean_of_squares)
        best = score.max(-1, keepdims=True)
        is_first = score >= best - rounding
        # of these, what failed least
        failures = np.where(is_first, failures, self.seeds.max() + 1)
        fewest = failures.min(-1, keepdims=True)
        is_first &= failures == fewest
        losses = np.where(is_first, self.losses, np.inf)
        return np.asarray(losses.argmin(-1))

    @property
    def _may_gain(self) -> np.ndarray:
        """By how much each setting may be better than the leader, with 95% confidence;
        -inf for the leader and those that were set aside, [K]."""
        leader = self.leader[..., None]
        upper_ends = self._mean + self._radius
        over_leader = np.take_along_axis(upper_ends, leader[..., None], -1)
        gain = over_leader[..., 0]
        # nobody is better than the leader by more than is left above it
        if np.isfinite(self.most):
            room = np.take_along_axis(self._room, leader, -1)
            gain = np.minimum(gain, room)
        settings = np.arange(gain.shape[-1])
        is_out = self.aside | (settings == leader)
        return np.where(is_out, -np.inf, gain)

    @property
    def _room(self) -> np.ndarray:
        """By how much `most` may exceed the true mean of each setting, [K]."""
        count = self.seeds - self.failures
        mean = self._total / np.maximum(count, 1)
        spread = self._spread(count, mean, self._total, self._total_of_squares)
        room = self.most - mean + radius(count, spread, RISK)
        return np.asarray(room)

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
        mean = self._of_leader(self.differences)
        wide = self._of_leader(self._radius)
        ends = np.stack([mean - wide, mean, mean + wide], -1)
        return ends, self._of_leader(self._count)

    def _of_leader(self, pairs: np.ndarray) -> np.ndarray:
        """Return the values of the pairs of which the leader is the first, [K]."""
        leader = self.leader[..., None, None]
        return np.asarray(np.take_along_axis(pairs, leader, -2)[..., 0, :])

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
        spread = self._spread(self._count, self._mean, self._sum, self._squares)
        return radius(self._count, spread, 2 * RISK)

    def _spread(
        self,
        count: np.ndarray,
        mean: np.ndarray,
        total: np.ndarray,
        squares: np.ndarray,
    ) -> Any:
        """Return the standard deviation of so many values, given their sums."""
        degrees = np.maximum(count - 1, 1)
        variance = (squares - total * mean) / degrees
        variance = np.maximum(variance, self.least**2)
        return np.sqrt(variance)
