"""The rules of early stopping, whatever trains: successive halving proposes a stop, and
the label so far decides. All seeds of a configuration share one fate.

What is decided follows from the rows, in the order in which they came.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import partial

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.regimes.families import siblings_of
from mnist_tune.regimes.histories import Histories
from mnist_tune.regimes.labels import Family, Trial
from mnist_tune.regimes.limits import TREND
from mnist_tune.regimes.reasons import Label, Reason
from mnist_tune.regimes.statistics import still
from mnist_tune.trial import TrialConfig

SLOW, DEAD = "slow", "dead"
"""The reasons for which a label stops a trial."""

REASONS = {"slow": SLOW, "diverged": DEAD}
"""The reason that follows from a regime. All other regimes go on."""

LEARNED = ("converged", "oscillating", "overfit")
"""The regimes of seeds that learned: none of their configuration is stopped."""

VERDICTS = 100
"""A configuration is judged after each epoch at first, and from epoch 200 on at each
hundredth of its epochs."""


class Halving:
    """Proposes the stops of ASHA (Li et al. 2020), with a reduction factor of 2.

    Rungs are at the grace period, the first epoch after which a trial may be stopped,
    at twice that, and so on. A trial is proposed for a stop if its loss there is above
    the median of those that got there before it.
    """

    def __init__(self, grace_period: int) -> None:
        super().__init__()
        self._grace_period = grace_period
        self._losses: dict[int, list[float]] = defaultdict(list)
        """The losses at each rung, in order."""
        self._passed: dict[str, tuple[int, float]] = {}
        """The last rung of each trial, and its loss there."""

    def propose(self, trial_id: str, epoch: int, loss: float) -> bool:
        """Return whether a trial is proposed for a stop after an epoch. Each trial
        counts once at each rung."""
        if epoch < self._grace_period:
            return False
        doublings = (epoch // self._grace_period).bit_length() - 1
        rung = self._grace_period << doublings
        last_rung, _ = self._passed.get(trial_id, (0, 0.0))
        if rung <= last_rung:
            return False
        finite = finite_loss(loss)
        self._passed[trial_id] = rung, finite
        losses = self._losses[rung]
        is_worse = False
        if losses:
            middle = losses[(len(losses) - 1) // 2] + losses[len(losses) // 2]
            is_worse = finite > middle / 2
        insort(losses, finite)
        return is_worse

    def is_behind(self, trial_id: str) -> bool:
        """Return whether a trial is not in the better half of all that got to its last
        rung by now. So `propose` is asked again: those that got there first had nobody
        to be compared with."""
        if trial_id not in self._passed:
            return False
        rung, loss = self._passed[trial_id]
        losses = self._losses[rung]
        half = len(losses) // 2
        return half > 0 and loss > losses[half - 1]


@dataclass
class Configuration:
    """A configuration: its seeds share one fate."""

    siblings: Hashable
    seeds: set[str] = field(default_factory=set)
    is_proposed: bool = False
    decided: int = 0
    """The last epoch after which it was decided whether it goes on."""
    stops: dict[int, str] = field(default_factory=dict)
    """The reason for which it does not, by the epochs after which it was judged; empty
    if it does."""
    label: Label | None = None
    """That for which it is stopped."""


class RegimeRules(Halving):
    """Stops a configuration that is proposed if its label so far, among its peers
    (`Family`), is slow or diverged.

    What is undecided, oscillating or on its way goes on, since those are the rates that
    a sweep is about. The first seed that finishes an epoch decides for all: each seed
    then stops after the same epoch, or goes on, whenever it gets there.
    """

    def __init__(
        self, grace_period: int, data: DataFacts, histories: Histories
    ) -> None:
        super().__init__(grace_period)
        self._data = data
        self._histories = histories
        self._settings: dict[TrialConfig, Configuration] = {}
        """All configurations, by that of seed 0."""
        self._courses: dict[str, int] = {}
        """The last epochs of trials that ran their course in fewer than asked for."""
        self._trials: dict[str, tuple[TrialConfig, Configuration]] = {}
        self._families: dict[Hashable, Family] = defaultdict(
            partial(Family, running=False)
        )
        self._changed: dict[Hashable, dict[str, None]] = defaultdict(dict)
        """The trials of each family that have a row since it judged last."""

    def propose(self, trial_id: str, epoch: int, loss: float) -> bool:
        """Return whether a trial is proposed for a stop by now. This is asked with each
        row: a better trial may have got to the rung since."""
        super().propose(trial_id, epoch, loss)
        return self.is_behind(trial_id)

    def know(self, trial_id: str, config: TrialConfig) -> None:
        """Take up a trial, or its new config."""
        alike = replace(config, seed=0, data_seed=0)
        setting = self._settings.setdefault(alike, Configuration(siblings_of(config)))
        setting.seeds.add(trial_id)
        self._changed[setting.siblings][trial_id] = None
        self._trials[trial_id] = config, setting

    def end(self, trial_id: str, epochs: int) -> None:
        """Take up that a trial runs its course in fewer epochs than were asked for."""
        self._courses[trial_id] = epochs

    def remember(self, trial_id: str, epoch: int, loss: float, diverged: bool) -> None:
        """Take up an epoch's row of before, which led to no stop or to one that
        `remember_stop` tells."""
        _, setting = self._trials[trial_id]
        is_worse = self.propose(trial_id, epoch, loss)
        if is_worse and not self._ends(trial_id, epoch, diverged):
            setting.is_proposed = True
        setting.decided = max(setting.decided, epoch)

    def remember_stop(self, trial_id: str, epoch: int, reason: str) -> None:
        """Take up that a trial was stopped after an epoch."""
        _, setting = self._trials[trial_id]
        setting.stops[epoch] = reason

    def judge(self, trial_id: str, epoch: int, loss: float, diverged: bool) -> str:
        """Return the reason for which a trial is stopped after an epoch; empty if it
        goes on. Its row is in the histories by then."""
        _, setting = self._trials[trial_id]
        self._changed[setting.siblings][trial_id] = None
        ends = self._ends(trial_id, epoch, diverged)
        is_worse = self.propose(trial_id, epoch, loss)
        if is_worse and not ends:
            setting.is_proposed = True
        is_turn = epoch % max(1, epoch // VERDICTS) == 0
        is_new = epoch > setting.decided
        if setting.is_proposed and not ends and is_turn and is_new:
            setting.stops[epoch] = self._verdict(trial_id, setting)
        setting.decided = max(setting.decided, epoch)
        return setting.stops.get(epoch, "")

    def _ends(self, trial_id: str, epoch: int, diverged: bool) -> bool:
        """Return whether a trial ends after an epoch, whatever its peers do."""
        if self._courses.get(trial_id) == epoch:
            return True
        config, _ = self._trials[trial_id]
        return bool(config.stop_reason(epoch, diverged))

    def _verdict(self, trial_id: str, setting: Configuration) -> str:
        """Return the reason to stop a trial, by its label among its peers so far. Where
        the data set has no target, that follows from the complete ones: what is best so
        far may yet be beaten."""
        family = self._families[setting.siblings]
        for name in self._changed.pop(setting.siblings, ()):
            config, _ = self._trials[name]
            columns = self._histories.columns(name)
            curve = Curve.of(columns, config, self._data)
            if name in self._courses:
                curve = replace(curve, epochs_asked=curve.epochs)
            family.put(name, Trial(config.learning_rate, config.momentum, curve))
        if not family.may_end(trial_id):
            return ""
        label = family.label(trial_id)
        reason = REASONS.get(label.regime, "")
        if not reason:
            return ""
        # What had learned may learn again, while its loss moves.
        fell_back = label.reason is Reason.FELL_TO_CHANCE
        if fell_back and not still(family.trial(trial_id).curve):
            return ""
        for name in setting.seeds - {trial_id}:
            seed = family.trial(name)
            if seed.curve.epochs >= TREND and seed.own.regime in LEARNED:
                return ""
        setting.label = label
        return reason
