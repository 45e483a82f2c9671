"""The searcher, driven by a stand-in for Tune with outcomes that follow from rate and
seed."""

import itertools
import math
import random

import numpy as np
import pytest
from ray.tune.search import Searcher
from tune_events import TuneEvents, made_up_trial

from mnist_tune.edge.edge_searcher import FIRST, EdgeSearcher
from mnist_tune.regimes.measured_edge import Learned
from mnist_tune.trial import TrialConfig

TEMPLATES = [
    TrialConfig(architecture=name, epochs=3) for name in ("mlp-4-tanh", "mlp-8-tanh")
]
EDGES = {"mlp-4-tanh": 2.0, "mlp-8-tanh": 0.5}


def searcher(templates=TEMPLATES, trials=40, accuracy=None, **more):
    options = {"workers": 3, "precision": 0.05, "trials": trials, "seed": 1} | more
    learned = [Learned(2.3, accuracy) for _ in templates]
    return EdgeSearcher(templates, [1.0] * len(templates), learned=learned, **options)


def rows_of(config):
    """The rows of a trial: those that fail diverge after an epoch or after all three,
    or end in an error (None) in the third, by the seed."""
    edge, rng = EDGES[config.architecture], np.random.default_rng(config.seed)
    learned = bool(rng.random() < 1 / (1 + (config.learning_rate / edge) ** (1 / 0.05)))
    epochs = 3 if learned or rng.random() < 0.3 else 1
    loss = 0.1 if learned else math.nan
    row = {
        "train_loss": loss,
        "untrained_loss": 2.4,
        "train_accuracy": 0.9,
        "diverged": not learned,
        "stop_reason": "",
    }
    rows = [row | {"epoch": epoch} for epoch in range(1, epochs + 1)]
    return [*rows[:2], None] if rng.random() < 0.15 else rows


class Sweep:
    """Searches that are killed and resumed, with a stand-in for Tune: trials report an
    epoch in an order that is drawn, so they are as fast as chance has it. `known` and
    `ended` are what the journal knows."""

    def __init__(self, order=0, **options):
        self.rng, self.options, self.known, self.ended = (
            random.Random(order),
            options,
            {},
            {},
        )

    def run(self, slots=3, most=10**6, **more):
        """Run trials until the search ends, or is killed once so many more have
        reported an epoch. Return whether it has ended."""
        search = searcher(
            ended=dict(self.ended), past=dict(self.known), **self.options | more
        )
        events = TuneEvents(search=search)
        running, ids, over = {}, itertools.count(), False
        while True:
            while not over and len(running) < slots:
                found = search.suggest(f"tunes {(tune_id := next(ids))}")
                over = found == Searcher.FINISHED
                if found is None or over:
                    break
                values = dict(found["trial"])
                own_id = values.pop("trial_id")
                self.known[own_id] = TrialConfig(**values)
                trial = made_up_trial(tune_id)
                running[tune_id] = trial, own_id, rows_of(self.known[own_id])
                events.add(trial)
            if not running or not most:
                assert over or not most, "the searcher waits for nothing"
                return over and not running
            most -= 1
            tune_id = self.rng.choice(list(running))
            trial, own_id, rows = running[tune_id]
            row = rows.pop(0)
            if row is None:
                events.fail(trial)
            else:
                events.report(trial, row | {"done": not rows})
            if not rows:
                del running[tune_id]
                self.ended[own_id] = row

    @property
    def trials(self):
        """The trials with their last rows, those of each network in the order in which
        they were proposed."""
        found = [
            (self.known[own_id], str(self.ended[own_id]))
            for own_id in sorted(self.known)
        ]
        return {
            name: [one for one in found if one[0].architecture == name]
            for name in EDGES
        }


def test_a_failure_costs_what_failures_took():
    """The pilot's trial at the expected rate fails, too."""
    search = searcher(TEMPLATES[:1], workers=1)
    calm, lost = row(0.1, 0.9), row(3.0, 0.1)
    for last in (lost | {"epoch": 1}, *[calm] * 3):
        search.suggest("a")
        search.on_trial_complete("a", last)
    for last, failed in (
        (calm, 1),
        (lost | {"epoch": 1}, 1 + 1),
        (lost | {"epoch": 2}, 1 + 1 + 2),
    ):
        search.suggest("b")
        search.on_trial_complete("b", last)
        search.suggest("c")
        assert search._searches[0].cost == pytest.approx(
            (3 + failed) / (3 * (2 + (failed > 1) + (failed > 2)))
        )
        search.on_trial_complete("c", calm)


def test_a_search_begins_with_a_pilot_below_where_the_edge_is_expected():
    search = searcher(TEMPLATES[:1], workers=9)
    rates = [
        search.suggest(str(number))["trial"]["learning_rate"] for number in range(4)
    ]
    assert rates == [1.0, 0.25, 0.0625, 0.01563]
    assert search.suggest("4") is None
    for number in range(4):
        search.on_trial_complete(str(number), row(0.1 if number < 2 else 2.0, 0.5))
    search.suggest("4")
    assert search._searches[0].posterior.count == 2, "what was too slow is no outcome"
    assert search._searches[0].learned.least == 1 / 4


def row(loss, accuracy, epoch=3):
    return {
        "epoch": epoch,
        "untrained_loss": 2.4,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "diverged": False,
    }


def one_by_one(trials, last_row, **options):
    """Return the rates of a whole search whose trials run one after the other, given
    their last rows."""
    search, rates = searcher(TEMPLATES[:1], trials=trials, **options), []
    for number in range(trials):
        rates.append(search.suggest(str(number))["trial"]["learning_rate"])
        search.on_trial_complete(str(number), last_row(rates[-1]))
    assert search.suggest(str(trials)) == Searcher.FINISHED
    return rates


def test_a_search_in_which_nothing_learned_goes_on_where_accuracy_was_best():
    """Accuracy rises to a rate a hundred times larger than expected, but no loss
    falls."""
    rates = one_by_one(
        60, lambda rate: row(2.29, 0.4 - 0.05 * abs(math.log(rate / 100)))
    )
    assert 30 < np.median(rates[30:]) < 300


def test_a_search_in_which_all_learned_does_not_end_before_its_trials_do():
    assert one_by_one(40, lambda rate: row(0.1, 0.9), precision=0.5)[-1] > 20


@pytest.fixture(scope="module")
def whole():
    sweep = Sweep()
    assert sweep.run()
    return sweep


def test_trials_do_not_depend_on_which_ends_first(whole):
    for order in range(1, 6):
        other = Sweep(order)
        other.run(slots=order)
        assert other.trials == whole.trials
    other = Sweep(seed=2)
    other.run()
    assert other.trials != whole.trials


@pytest.mark.parametrize("order", range(20))
def test_a_search_that_is_killed_and_resumed_makes_the_trials_of_one_that_was_not(
    whole, order
):
    """Some trials end in an error in their third epoch. What was proposed is recorded,
    also what had not begun."""
    killed = Sweep(order)
    while not killed.run(most=killed.rng.randrange(60)):
        pass
    assert killed.trials == whole.trials
    assert None in killed.ended.values()


def test_a_search_with_more_trials_or_more_precision_goes_on_with_those_of_each_network(
    whole,
):
    """One of the networks had settled before the other."""
    coarse = Sweep(3, trials=60)
    coarse.run(precision=0.3)
    counts = {name: len(found) for name, found in coarse.trials.items()}
    coarse.run(precision=0.12)
    fine = Sweep(4, trials=60, precision=0.12)
    fine.run()
    assert coarse.trials == fine.trials
    assert len({len(found) - counts[name] for name, found in fine.trials.items()}) == 2
    few = Sweep(trials=20)
    few.run()
    few.run(trials=40)
    assert few.trials == whole.trials


def test_with_less_precision_what_was_proposed_still_goes_on(whole):
    killed = Sweep(1)
    killed.run(most=70)
    assert killed.run(precision=1.0)
    assert killed.known.keys() == killed.ended.keys()


def test_a_trial_that_hangs_holds_up_only_those_that_are_proposed_much_later():
    search, told = searcher(TEMPLATES[:1], workers=64, trials=60), 0
    for number in range(4):
        search.suggest(str(number))
        search.on_trial_complete(str(number), row(0.1, 0.9))
    assert search.suggest("hangs")
    while search.suggest(f"next {told}") is not None:
        search.on_trial_complete(f"next {told}", row(0.1, 0.9))
        told += 1
    assert told == FIRST - 1
    search.on_trial_complete("hangs", row(0.1, 0.9))
    assert search.suggest("the next one")


def test_a_trial_that_the_journal_knows_goes_on_as_it_was():
    """Another version may propose another rate."""
    known = TrialConfig(
        architecture="mlp-4-tanh", learning_rate=0.123, seed=4, epochs=3
    )
    found = searcher(past={"00000": known}).suggest("a")["trial"]
    assert (found["trial_id"], found["learning_rate"], found["seed"]) == (
        "00000",
        0.123,
        4,
    )


def test_a_search_starts_few_trials_while_it_knows_little():
    search = searcher(TEMPLATES[:1], trials=100, workers=64, precision=1e-9)
    most, running = [], {}
    for number in range(100):
        while (found := search.suggest(str(number))) is None:
            most.append(len(running))
            for tune_id in running:  # all end together
                search.on_trial_complete(
                    tune_id, row(0.1 if len(most) % 2 else 2.3, 0.5)
                )
            running = {}
        running[str(number)] = found["trial"]
    assert most[:3] == [4, 16, 20]
    assert len(running) == 100 - sum(most)


def test_networks_take_turns():
    search = searcher(workers=4)
    found = [search.suggest(name)["trial"]["architecture"] for name in "abcd"]
    assert found == ["mlp-4-tanh", "mlp-8-tanh"] * 2


def test_a_search_ends_once_its_edge_is_as_precise_as_asked_for():
    exact, coarse = (
        Sweep(templates=TEMPLATES[:1], trials=60),
        Sweep(templates=TEMPLATES[:1], trials=60),
    )
    exact.run(precision=1e-9)
    coarse.run(precision=0.5)
    assert len(exact.known) == 60
    assert len(coarse.known) < 45


def test_an_accuracy_may_decide_what_has_learned():
    search = searcher(TEMPLATES[:1], accuracy=0.6)
    for number, accuracy in enumerate((0.9, 0.6, 0.59, 0.1)):
        search.suggest(str(number))
        search.on_trial_complete(str(number), row(0.1, accuracy))
    search.suggest("4")
    assert search._searches[0].learned.least == 1, (
        "two trials of the pilot were as accurate, one of them barely"
    )


def test_every_network_gets_its_edge_and_every_trial_a_seed(whole):
    configs = whole.known.values()
    assert len({config.seed for config in configs}) == len(configs)
    assert all(config.seed == config.data_seed for config in configs)
    assert all(
        config.learning_rate == float(f"{config.learning_rate:.4g}")
        for config in configs
    )
    for name, edge in EDGES.items():
        rates = [
            config.learning_rate for config in configs if config.architecture == name
        ]
        assert len(rates) <= 40
        assert np.median(rates[10:]) == pytest.approx(edge, rel=0.25)
    assert whole.known.keys() == whole.ended.keys()
    assert sorted(whole.known) == [
        f"{number:05d}" for number in range(len(whole.known))
    ]


def test_trials_that_end_in_an_error_say_nothing_and_count():
    search, trials = searcher(TEMPLATES[:1], trials=3), 0
    while (found := search.suggest(str(trials))) != Searcher.FINISHED:
        search.on_trial_complete(
            str(trials), {"stop_reason": "error"} if trials else None, error=not trials
        )
        trials += 1
        assert found["trial"]["epochs"] == 3
    assert trials == 3
