"""The searcher, driven by a stand-in for Tune with outcomes that follow from rate and seed."""

import math
import random

import numpy as np
import pytest
from ray.tune.search import Searcher

from mnist_tune.edge.searcher import EdgeSearcher, _Trial
from mnist_tune.regimes.measured_edge import Learned
from mnist_tune.trial import TrialConfig

TEMPLATES = [TrialConfig(architecture=name, epochs=3) for name in ("mlp-4-tanh", "mlp-8-tanh")]
EDGES = {"mlp-4-tanh": 2.0, "mlp-8-tanh": 0.5}


def searcher(templates=TEMPLATES, trials=40, accuracy=None, **more):
    options = {"workers": 3, "precision": 0.05, "trials": trials, "seed": 1} | more
    learned = [Learned(2.3, accuracy) for _ in templates]
    return EdgeSearcher(templates, [1.0] * len(templates), learned=learned, **options)


def rows_of(config):
    """The rows of a trial: those that fail diverge after an epoch or after all three, by the seed."""
    edge, rng = EDGES[config["architecture"]], np.random.default_rng(config["seed"])
    learned = bool(rng.random() < 1 / (1 + (config["learning_rate"] / edge) ** (1 / 0.05)))
    epochs = 3 if learned or rng.random() < 0.3 else 1
    loss = 0.1 if learned else math.nan
    row = {"train_loss": loss, "untrained_loss": 2.4, "train_accuracy": 0.9, "diverged": not learned, "stop_reason": ""}
    return [row | {"epoch": epoch} for epoch in range(1, epochs + 1)]


def run(search, order, slots=3, most=10**6):
    """Run trials in an order of arrival that is drawn: return configs and last rows by our ids; stop after `most`."""
    rng, running, done, configs = random.Random(order), {}, {}, {}
    for tune_id in map(str, range(10**6)):
        while True:
            found = search.suggest(tune_id) if len(running) < slots else None
            if found is not None:
                break
            if not running:
                pytest.fail("the searcher waits for nothing")
            one = rng.choice(list(running))
            rows = running[one]
            row = rows.pop(0)
            if rows:
                search.on_trial_result(one, row)
            else:
                del running[one]
                search.on_trial_complete(one, row)
                done[configs[one]["trial_id"]] = row
        if found == Searcher.FINISHED or len(done) >= most:
            return {config["trial_id"]: config for config in configs.values()}, done
        configs[tune_id] = found["trial"]
        running[tune_id] = rows_of(found["trial"])
    raise AssertionError


def test_a_failure_costs_what_failures_took():
    """The pilot's trial at the expected rate fails, too."""
    search = searcher(TEMPLATES[:1], workers=1)
    calm, lost = row(0.1, 0.9), row(3.0, 0.1)
    for last in (lost | {"epoch": 1}, *[calm] * 3):
        search.suggest("a")
        search.on_trial_complete("a", last)
    for last, failed in ((calm, 1), (lost | {"epoch": 1}, 1 + 1), (lost | {"epoch": 2}, 1 + 1 + 2)):
        search.suggest("b")
        search.on_trial_complete("b", last)
        search.suggest("c")
        assert search._searches[0].cost == pytest.approx((3 + failed) / (3 * (2 + (failed > 1) + (failed > 2))))
        search.on_trial_complete("c", calm)


def test_a_search_begins_with_a_pilot_below_where_the_edge_is_expected():
    search = searcher(TEMPLATES[:1], workers=9)
    rates = [search.suggest(str(number))["trial"]["learning_rate"] for number in range(4)]
    assert rates == [1.0, 0.25, 0.0625, 0.01563]
    assert search.suggest("4") is None
    for number in range(4):
        search.on_trial_complete(str(number), row(0.1 if number < 2 else 2.0, 0.5))
    search.suggest("4")
    assert search._searches[0].posterior.count == 2, "what was too slow is no outcome"
    assert search._searches[0].learned.least == 1 / 4


def row(loss, accuracy, epoch=3):
    return {"epoch": epoch, "untrained_loss": 2.4, "train_loss": loss, "train_accuracy": accuracy, "diverged": False}


def test_a_search_in_which_nothing_learned_goes_on_where_accuracy_was_best():
    """Accuracy rises to a rate a hundred times larger than expected, but no loss falls."""
    search, rates = searcher(TEMPLATES[:1], trials=60), []
    for number in range(60):
        rates.append(search.suggest(str(number))["trial"]["learning_rate"])
        search.on_trial_complete(str(number), row(2.29, 0.4 - 0.05 * abs(math.log(rates[-1] / 100))))
    assert search.suggest("60") == Searcher.FINISHED
    assert 30 < np.median(rates[30:]) < 300


def test_a_search_in_which_all_learned_does_not_end_before_its_trials_do():
    search, rates = searcher(TEMPLATES[:1], trials=40, precision=0.5), []
    for number in range(40):
        rates.append(search.suggest(str(number))["trial"]["learning_rate"])
        search.on_trial_complete(str(number), row(0.1, 0.9))
    assert rates[-1] > 20


@pytest.fixture(scope="module")
def whole():
    return run(searcher(), order=0)


def test_trials_do_not_depend_on_which_ends_first(whole):
    assert run(searcher(), order=1) == whole
    assert run(searcher(seed=2), order=0)[0] != whole[0]


def test_a_resumed_search_makes_the_trials_of_one_that_was_never_interrupted(whole):
    configs, done = run(searcher(), order=3, most=25)
    known = {
        trial_id: TrialConfig.from_dict({name: value for name, value in config.items() if name != "trial_id"})
        for trial_id, config in configs.items()
    }
    again, later = run(searcher(ended=done, known=known), order=4)
    assert not again.keys() & done.keys()
    assert {**configs, **again} == whole[0]
    assert {**done, **later} == whole[1]


def test_a_trial_that_the_journal_knows_goes_on_as_it_was():
    """Another version may propose another rate."""
    known = TrialConfig(architecture="mlp-4-tanh", learning_rate=0.123, seed=4, epochs=3)
    found = searcher(known={"00000": known}).suggest("a")["trial"]
    assert (found["trial_id"], found["learning_rate"], found["seed"]) == ("00000", 0.123, 4)


def test_a_search_starts_few_trials_while_it_knows_little():
    search = searcher(TEMPLATES[:1], trials=100, workers=64, precision=1e-9)
    most, running = [], {}
    for number in range(100):
        while (found := search.suggest(str(number))) is None:
            most.append(len(running))
            for tune_id in running:  # all end together
                search.on_trial_complete(tune_id, rows_of(running[tune_id])[-1] | {"epoch": 3})
            running = {}
        running[str(number)] = found["trial"]
    assert most[:3] == [4, 16, 20]
    assert len(running) == 100 - sum(most)


def test_networks_take_turns():
    search = searcher(workers=4)
    found = [search.suggest(name)["trial"]["architecture"] for name in "abcd"]
    assert found == ["mlp-4-tanh", "mlp-8-tanh"] * 2


def test_a_search_ends_once_its_edge_is_as_precise_as_asked_for():
    counts = [len(run(searcher(TEMPLATES[:1], trials=60, precision=precision), 0)[0]) for precision in (1e-9, 0.5)]
    assert counts[0] == 60
    assert counts[1] < 40


def test_an_accuracy_may_decide_what_has_learned():
    search = searcher(TEMPLATES[:1], accuracy=0.6)
    for number, accuracy in enumerate((0.9, 0.6, 0.59, 0.1)):
        search.suggest(str(number))
        search.on_trial_complete(str(number), row(0.1, accuracy))
    search.suggest("4")
    assert search._searches[0].learned.least == 1, "two trials of the pilot were as accurate, one of them barely"


def test_every_network_gets_its_edge_and_every_trial_a_seed(whole):
    configs, done = whole
    assert len({config["seed"] for config in configs.values()}) == len(configs)
    assert all(config["seed"] == config["data_seed"] for config in configs.values())
    assert all(config["learning_rate"] == float(f"{config['learning_rate']:.4g}") for config in configs.values())
    for name, edge in EDGES.items():
        rates = [config["learning_rate"] for config in configs.values() if config["architecture"] == name]
        assert len(rates) <= 40
        assert np.median(rates[10:]) == pytest.approx(edge, rel=0.25)
    assert configs.keys() == done.keys()


def test_trials_that_end_in_an_error_say_nothing_and_count():
    search, trials = searcher(TEMPLATES[:1], trials=3), 0
    while (found := search.suggest(str(trials))) != Searcher.FINISHED:
        search.on_trial_complete(str(trials), {"stop_reason": "error"} if trials else None, error=not trials)
        trials += 1
        assert found["trial"]["epochs"] == 3
    assert trials == 3


def test_what_ends_in_an_error_takes_no_time_and_makes_room_at_once():
    search = searcher(TEMPLATES[:1], workers=2)
    assert search.suggest("a")
    assert search.suggest("b")
    assert search.suggest("c") is None
    search.on_trial_complete("a", error=True)
    assert search.suggest("c")


def test_a_row_from_before_an_error_says_nothing_either():
    one = _Trial(None, 0.0, 1.0)
    one.report({"epoch": 2})
    assert (one.row, one.ends) == ({"epoch": 2}, 4.0)
    one.report(None, ended=True)
    one.report({"epoch": 3})
    assert (one.row, one.ends) == (None, 3.0)


ROW = {"train_loss": 0.1, "untrained_loss": 2.4, "train_accuracy": 0.9, "diverged": False, "stop_reason": ""}


def test_virtual_time_goes_on_and_forgets_what_is_trained_again():
    search = searcher(TEMPLATES[:1], workers=2)
    assert search.suggest("a")
    assert search.suggest("b")
    search.on_trial_result("a", ROW | {"epoch": 3})
    search.on_trial_result("a", ROW | {"epoch": 1})  # a new process repeats epochs
    search.on_trial_complete("b", ROW | {"epoch": 3})
    search.on_trial_result("b", ROW | {"epoch": 5})  # late
    assert search.suggest("c"), "b ended at 3, and a can't before 4"
    search.on_trial_complete("a", ROW | {"epoch": 4})
    assert search.suggest("d") is None, "c began at 3, and might end at 4, too"
    search.on_trial_result("c", ROW | {"epoch": 1})
    assert search.suggest("d")


def test_virtual_time_waits_only_for_what_might_end_before():
    search = searcher(TEMPLATES[:1], workers=2, trials=3)
    assert search.suggest("a")
    assert search.suggest("b")
    assert search.suggest("c") is None, "all workers are busy"
    search.on_trial_complete("b", ROW | {"epoch": 2})
    assert search.suggest("c") is None, "a might have ended after its first epoch"
    search.on_trial_result("a", ROW | {"epoch": 1})
    assert search.suggest("c") is None, "or after its second"
    search.on_trial_result("a", ROW | {"epoch": 2})
    assert search.suggest("c")["trial"]["trial_id"] == "00002"
    search.on_trial_complete("a", ROW | {"epoch": 3})
    search.on_trial_complete("c", ROW | {"epoch": 1})
    assert search.suggest("d") == Searcher.FINISHED
