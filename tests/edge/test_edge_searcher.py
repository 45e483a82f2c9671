"""The searcher, driven by a stand-in for Tune with outcomes that follow from rate and
seed."""

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from ray.tune.search import Searcher
from tune_events import TuneEvents, made_up_trial

from mnist_tune.edge.edge_searcher import FIRST, EdgeSearcher
from mnist_tune.regimes.measured_edge import Learned
from mnist_tune.trial import TrialConfig

NAMES = ("mlp-4-tanh", "mlp-8-tanh")
TEMPLATES = [TrialConfig(architecture=name, epochs=3) for name in NAMES]
FIRST_NETWORK = TEMPLATES[:1]
EDGES = {"mlp-4-tanh": 2.0, "mlp-8-tanh": 0.5}


def searcher(templates=TEMPLATES, trials=40, accuracy=None, **changes):
    options = {"workers": 3, "precision": 0.05, "trials": trials, "seed": 1} | changes
    learned = [Learned(2.3, accuracy) for _ in templates]
    return EdgeSearcher(templates, [1.0] * len(templates), learned=learned, **options)


def rows_of(config):
    """The rows of a trial: those that fail diverge after an epoch or after all three,
    or end in an error (None) in the third, by the seed."""
    edge = EDGES[config.architecture]
    rng = np.random.default_rng(config.seed)
    odds = (config.learning_rate / edge) ** (1 / 0.05)
    learned = bool(rng.random() < 1 / (1 + odds))
    epochs = 3 if learned or rng.random() < 0.3 else 1
    loss = 0.1 if learned else math.nan
    last = row(loss, 0.9) | {"diverged": not learned, "stop_reason": ""}
    rows = [last | {"epoch": epoch} for epoch in range(1, epochs + 1)]
    if rng.random() < 0.15:
        return [*rows[:2], None]
    return rows


class Sweep:
    """Searches that are killed and resumed, with a stand-in for Tune: trials report an
    epoch in an order that is drawn, so they are as fast as chance has it. `proposed`
    and `ended` are what the journal has."""

    def __init__(self, order=0, **options):
        self.rng = random.Random(order)
        self.options = options
        self.proposed = {}
        self.ended = {}

    def run(self, slots=3, most=10**6, **changes):
        """Run trials until the search ends, or is killed once so many more have
        reported an epoch. Return whether it has ended."""
        options = self.options | changes
        ended = dict(self.ended)
        search = searcher(ended=ended, past=dict(self.proposed), **options)
        events = TuneEvents(search=search)
        running = {}
        ids = itertools.count()
        over = False
        while True:
            while not over and len(running) < slots:
                tune_id = next(ids)
                proposal = search.suggest(f"tunes {tune_id}")
                over = proposal == Searcher.FINISHED
                if proposal is None or over:
                    break
                trial = made_up_trial(tune_id)
                own_id = self._propose(proposal["trial"])
                running[tune_id] = trial, own_id, rows_of(self.proposed[own_id])
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

    def _propose(self, values):
        """Record what was proposed. Return the id of the trial."""
        values = dict(values)
        own_id = values.pop("trial_id")
        self.proposed[own_id] = TrialConfig(**values)
        return own_id

    @property
    def trials(self):
        """The trials with their last rows, those of each network in the order in which
        they were proposed."""
        trials = {name: [] for name in EDGES}
        for own_id in sorted(self.proposed):
            config = self.proposed[own_id]
            last_row = str(self.ended[own_id])
            trials[config.architecture].append((config, last_row))
        return trials


def row(loss, accuracy, epoch=3):
    values = {"epoch": epoch, "untrained_loss": 2.4, "diverged": False}
    return values | {"train_loss": loss, "train_accuracy": accuracy}


def train(search, name, last_row):
    """Let a search propose a trial, which ends with this row. Return its rate."""
    proposal = search.suggest(name)
    search.on_trial_complete(name, last_row)
    return proposal["trial"]["learning_rate"]


CALM = row(0.1, 0.9)


def test_a_failure_costs_what_failures_took():
    """The pilot's trial at the expected rate fails, too."""
    search = searcher(FIRST_NETWORK, workers=1)
    in_epoch_1 = row(3.0, 0.1, epoch=1)
    in_epoch_2 = row(3.0, 0.1, epoch=2)
    for last_row in (in_epoch_1, CALM, CALM, CALM):
        train(search, "a", last_row)
    # the epochs that failures took, and how many there were
    for last_row, epochs, failures in (
        (CALM, 1, 1),
        (in_epoch_1, 2, 2),
        (in_epoch_2, 4, 3),
    ):
        train(search, "b", last_row)
        search.suggest("c")
        cost = (3 + epochs) / (3 * (1 + failures))
        assert search._searches[0].cost == pytest.approx(cost)
        search.on_trial_complete("c", CALM)


def test_a_search_begins_with_a_pilot_below_where_the_edge_is_expected():
    search = searcher(FIRST_NETWORK, workers=9)
    proposals = [search.suggest(name) for name in "0123"]
    rates = [proposal["trial"]["learning_rate"] for proposal in proposals]
    assert rates == [1.0, 0.25, 0.0625, 0.01563]
    assert search.suggest("4") is None
    good, slow = row(0.1, 0.5), row(2.0, 0.5)
    for name, last_row in zip("0123", (good, good, slow, slow), strict=True):
        search.on_trial_complete(name, last_row)
    search.suggest("4")
    network = search._searches[0]
    assert network.posterior.count == 2, "what was too slow is no outcome"
    assert network.learned.least == 1 / 4


def one_by_one(trials, last_row, **options):
    """Return the rates of a whole search whose trials run one after the other, given
    their last rows."""
    search = searcher(FIRST_NETWORK, trials=trials, **options)
    rates = []
    for number in range(trials):
        name = str(number)
        proposal = search.suggest(name)
        rates.append(proposal["trial"]["learning_rate"])
        search.on_trial_complete(name, last_row(rates[-1]))
    assert search.suggest(str(trials)) == Searcher.FINISHED
    return rates


def test_a_search_in_which_nothing_learned_goes_on_where_accuracy_was_best():
    """Accuracy rises to a rate a hundred times larger than expected, but no loss
    falls."""

    def last_row(rate):
        distance = abs(math.log(rate / 100))
        return row(2.29, 0.4 - 0.05 * distance)

    rates = one_by_one(60, last_row)
    assert 30 < np.median(rates[30:]) < 300


def test_a_search_in_which_all_learned_does_not_end_before_its_trials_do():
    rates = one_by_one(40, lambda rate: CALM, precision=0.5)
    assert rates[-1] > 20


@pytest.fixture(scope="module")
def whole():
    sweep = Sweep()
    assert sweep.run()
    return sweep


def test_trials_do_not_depend_on_which_ends_first(whole):
    for order in range(1, 6):
        sweep = Sweep(order)
        sweep.run(slots=order)
        assert sweep.trials == whole.trials
    of_another_seed = Sweep(seed=2)
    of_another_seed.run()
    assert of_another_seed.trials != whole.trials


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


def test_a_search_with_more_precision_goes_on_with_the_trials_of_each_network():
    """One of the networks had settled before the other."""
    coarse = Sweep(3, trials=60)
    coarse.run(precision=0.3)
    counts = {name: len(trials) for name, trials in coarse.trials.items()}
    coarse.run(precision=0.12)
    fine = Sweep(4, trials=60, precision=0.12)
    fine.run()
    assert coarse.trials == fine.trials
    added = {len(trials) - counts[name] for name, trials in fine.trials.items()}
    assert len(added) == 2


def test_a_search_with_more_trials_goes_on_with_those_of_each_network(whole):
    few = Sweep(trials=20)
    few.run()
    few.run(trials=40)
    assert few.trials == whole.trials


def test_with_less_precision_what_was_proposed_still_goes_on(whole):
    killed = Sweep(1)
    killed.run(most=70)
    assert killed.run(precision=1.0)
    assert killed.proposed.keys() == killed.ended.keys()


def test_a_trial_that_hangs_holds_up_only_those_that_are_proposed_much_later():
    search = searcher(FIRST_NETWORK, workers=64, trials=60)
    for number in range(4):
        train(search, str(number), CALM)
    assert search.suggest("hangs")
    ended = 0
    while search.suggest(f"next {ended}") is not None:
        search.on_trial_complete(f"next {ended}", CALM)
        ended += 1
    assert ended == FIRST - 1
    search.on_trial_complete("hangs", CALM)
    assert search.suggest("the next one")


def test_a_trial_that_the_journal_knows_goes_on_as_it_was():
    """Another version may propose another rate."""
    recorded = replace(TEMPLATES[0], learning_rate=0.123, seed=4)
    trial = searcher(past={"00000": recorded}).suggest("a")["trial"]
    assert trial["trial_id"] == "00000"
    assert trial["learning_rate"] == 0.123
    assert trial["seed"] == 4


def test_a_search_starts_few_trials_while_it_knows_little():
    search = searcher(FIRST_NETWORK, trials=100, workers=64, precision=1e-9)
    good, slow = row(0.1, 0.5), row(2.3, 0.5)
    at_once = []
    running = []
    for number in range(100):
        name = str(number)
        while search.suggest(name) is None:
            at_once.append(len(running))
            last_row = good if len(at_once) % 2 else slow
            for tune_id in running:  # all end together
                search.on_trial_complete(tune_id, last_row)
            running = []
        running.append(name)
    assert at_once[:3] == [4, 16, 20]
    assert len(running) == 100 - sum(at_once)


def test_networks_take_turns():
    search = searcher(workers=4)
    proposals = [search.suggest(name) for name in "abcd"]
    networks = [proposal["trial"]["architecture"] for proposal in proposals]
    assert networks == ["mlp-4-tanh", "mlp-8-tanh"] * 2


def test_a_search_ends_once_its_edge_is_as_precise_as_asked_for():
    exact = Sweep(templates=FIRST_NETWORK, trials=60)
    exact.run(precision=1e-9)
    assert len(exact.proposed) == 60
    coarse = Sweep(templates=FIRST_NETWORK, trials=60)
    coarse.run(precision=0.5)
    assert len(coarse.proposed) < 45


def test_an_accuracy_may_decide_what_has_learned():
    search = searcher(FIRST_NETWORK, accuracy=0.6)
    for number, accuracy in enumerate((0.9, 0.6, 0.59, 0.1)):
        train(search, str(number), row(0.1, accuracy))
    search.suggest("4")
    assert search._searches[0].learned.least == 1, (
        "two trials of the pilot were as accurate, one of them barely"
    )


def test_every_trial_gets_a_seed_and_a_rate_of_four_digits(whole):
    configs = whole.proposed.values()
    seeds = {config.seed for config in configs}
    assert len(seeds) == len(configs)
    for config in configs:
        assert config.seed == config.data_seed
        rate = config.learning_rate
        assert rate == float(f"{rate:.4g}")
    assert whole.proposed.keys() == whole.ended.keys()
    ids = [f"{number:05d}" for number in range(len(configs))]
    assert sorted(whole.proposed) == ids


@pytest.mark.parametrize("name", EDGES)
def test_every_network_gets_its_edge(whole, name):
    rates = [
        config.learning_rate
        for config in whole.proposed.values()
        if config.architecture == name
    ]
    assert len(rates) <= 40
    assert np.median(rates[10:]) == pytest.approx(EDGES[name], rel=0.25)


def test_trials_that_end_in_an_error_say_nothing_and_count():
    search = searcher(FIRST_NETWORK, trials=3)
    first = search.suggest("0")
    search.on_trial_complete("0", None, error=True)
    proposals = [first]
    while (proposal := search.suggest(str(len(proposals)))) != Searcher.FINISHED:
        name = str(len(proposals))
        search.on_trial_complete(name, {"stop_reason": "error"}, error=False)
        proposals.append(proposal)
    for proposal in proposals:
        assert proposal["trial"]["epochs"] == 3
    assert len(proposals) == 3
