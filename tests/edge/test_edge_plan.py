"""How a search for edges starts, what it asks Tune for, and what a resume of it may change."""

import json

import pytest

from mnist_tune import EdgeOptions, TrialConfig, UserError
from mnist_tune.edge import search as edge
from mnist_tune.regimes.measured_edge import Learned
from mnist_tune.results.journal import read_journal
from mnist_tune.training.range_suggestions import BLOW_UP
from mnist_tune.tuning import opening
from mnist_tune.tuning.past import Past

NAMES = ("mlp-4-tanh", "mlp-8-tanh")


def recorded(names=NAMES, **more):
    """What `sweep.json` keeps of a search."""
    searches = [
        TrialConfig(architecture=name, epochs=3).to_dict() | {"expected": 1.0, "predicted": {}} for name in names
    ]
    asked = {"searches": searches, "workers": 2, "precision": 0.05, "trials": 7, "learned": None, "seed": 0}
    return asked | {"architecture": list(names), "epochs": 3, "batch_size": [128], "lanes": 5} | more


@pytest.fixture
def writer(new_writer, tmp_path):
    found = new_writer(tmp_path / "sweep", count=0)
    yield found
    found.release()


@pytest.fixture
def planned(monkeypatch):
    """The plans that were run, with their options."""
    found = []
    monkeypatch.setattr(edge, "run_plan", lambda writer, plan, data, options, past: found.append((plan, options)))
    monkeypatch.setattr(edge, "stop_ray_at_exit", lambda: None)
    return found


def test_several_values_are_crossed_and_each_combination_is_one_edge():
    shared = {"epochs": 2, "nesterov": True, "weight_decay": 0.1, "clip_norm": 0.5, "schedule": "cosine", "loss": "mse"}
    shared |= {"warmup_steps": 3, "label_noise": 7, "holdout": 9, "drop_last": True, "stop_when_diverged": False}
    options = EdgeOptions(architecture=(*NAMES, NAMES[0]), batch_size=(32, 64), momentum=(0.9,), **shared)
    assert options.templates() == [
        TrialConfig(architecture=name, batch_size=size, momentum=0.9, **shared) for name in NAMES for size in (32, 64)
    ]


@pytest.mark.parametrize(
    ("given", "expected", "workers"), [({}, [2.0, 0.5], 3 + 2 * 2 - 1), ({"expected": 0.7, "workers": 4}, [0.7] * 2, 4)]
)
def test_an_edge_is_expected_where_most_range_tests_blow_up(writer, planned, monkeypatch, given, expected, workers):
    said = [{BLOW_UP: [9.0, 1.0, 2.0], "2/λ0": [3.0]}, {BLOW_UP: [0.5]}]
    options = EdgeOptions(architecture=NAMES, epochs=3, quiet=True, **given)

    def open_new(name, trials, opened, search, templates):
        assert (name, trials, opened, search, templates) == ("edge", {}, options, True, options.templates())
        writer.meta["options"] = {"precision": 0.05, "trials": 7, "learned": None, "seed": 0}
        return writer, ["data"]

    def predict(asked, templates, data):
        assert (asked, templates, data) == (options, options.templates(), "data")
        return said

    monkeypatch.setattr(edge, "open_new", open_new)
    monkeypatch.setattr(edge, "predictions", predict)
    monkeypatch.setattr(edge, "processes", lambda options: 3)
    monkeypatch.setattr(edge, "start_ray", lambda *arguments: None)
    edge.search_edge(options)
    searches = writer.meta["options"]["searches"]
    assert [search["expected"] for search in searches] == expected
    assert [search["predicted"] for search in searches] == said
    assert [search["architecture"] for search in searches] == list(NAMES)
    assert writer.meta["options"]["workers"] == workers
    [(plan, _)] = planned
    assert (plan.samples, plan.trials, plan.space) == (14, {}, {"epochs": 3}), "seven of each edge"
    assert plan.search_alg.suggest("a")["trial"]["architecture"] == "mlp-4-tanh"


@pytest.fixture
def resume(new_writer, mnist_5k, monkeypatch, tmp_path):
    """A function that resumes a search with some options. It returns those that it then has, and what it records."""
    writer = new_writer(tmp_path / "sweep", count=0)
    options = EdgeOptions().values()
    writer.meta |= {"name": "edge", "search": True, "options": options | recorded()}
    writer.meta["dataset"]["checksums"] = mnist_5k.checksums
    writer.finish(ended=None)
    used = []

    def run(writer, plan, data, options, past):
        used.append((options, json.loads((writer.path / "sweep.json").read_text())["options"]))
        writer.finish(ended=None)

    monkeypatch.setattr(opening, "load_dataset", lambda *_: mnist_5k)
    monkeypatch.setattr(edge, "run_plan", run)
    monkeypatch.setattr(edge, "stop_ray_at_exit", lambda: None)

    def resume(**given):
        edge.search_edge(EdgeOptions(resume=tmp_path / "sweep", quiet=True, **given))
        return used.pop()

    return resume


def test_a_resumed_search_is_as_before_but_for_how_it_runs(resume):
    found, kept = resume(lanes=3, max_concurrent=2)
    assert (found.architecture, found.batch_size, found.epochs) == (NAMES, (128,), 3)
    assert (found.lanes, found.max_concurrent) == (3, 2)
    assert {name: kept[name] for name in recorded()} == recorded(lanes=3)


def test_a_resumed_search_loads_code_that_is_named_again(resume, monkeypatch):
    loaded = []
    monkeypatch.setattr(edge, "load_own", lambda options: loaded.append(options))
    with pytest.raises(UserError, match=r"--architecture can't change in a resume: .* has mlp-4-tanh mlp-8-tanh"):
        resume(architecture=("net.py:mlp",))
    assert [one.architecture for one in loaded] == [("net.py:mlp",)]


def test_a_resumed_search_may_have_more_trials_and_another_precision(resume):
    found, kept = resume(trials=20, precision=0.1)
    assert (found.trials, found.precision) == (20, 0.1)
    assert {name: kept[name] for name in recorded()} == recorded(trials=20, precision=0.1)
    with pytest.raises(UserError, match=r"^--trials 7: .* was asked for 20 already"):
        resume(trials=7)


def test_what_no_resume_of_a_search_can_change_is_refused(resume, tmp_path):
    with pytest.raises(UserError, match=f"^--batch-size can't change in a resume: {tmp_path}/sweep has 128; leave"):
        resume(batch_size=(64,))


def test_a_search_from_python_is_no_search_for_an_edge(new_writer, tmp_path):
    writer = new_writer(tmp_path / "mine", count=0)
    writer.meta |= {"name": "mine", "search": True, "options": {}}
    writer.finish(ended=None)
    with pytest.raises(UserError, match="mine was made by something else; resume it with: the same run_search, with "):
        edge.search_edge(EdgeOptions(resume=tmp_path / "mine"))


@pytest.fixture
def again(new_writer, epoch_row, tmp_path):
    """A resumed search with a trial that learned, one that ended in an error, and one that was interrupted."""
    writer = new_writer(tmp_path / "again", count=0)
    for number, (rate, epochs, reason) in enumerate(
        [(0.5, 3, "completed"), (0.6, 1, "error"), (0.7, 1, "interrupted")]
    ):
        config = TrialConfig(architecture="mlp-4-tanh", learning_rate=rate, epochs=3, seed=number, data_seed=number)
        writer.trial(f"{number:05d}", config)
        for epoch in range(1, epochs + 1):
            writer.epoch(f"{number:05d}", epoch_row(epoch, 0.1), False)
        writer.end(f"{number:05d}", reason)
    writer.finish(ended=None)
    return new_writer(tmp_path / "again", count=0, resume=True)


def test_a_resumed_search_knows_its_trials_and_goes_on_with_those_that_had_not_ended(again, epoch_row):
    fixed = []
    for learned in (None, 0.95):
        again.meta["options"] = recorded(NAMES[:1], learned=learned)
        searcher = edge.searcher_of(again, Past.of(read_journal(again.path), again.meta))
        found = searcher.suggest("a")["trial"]
        assert (found["trial_id"], found["learning_rate"], found["seed"]) == ("00002", 0.7, 2)
        assert [searcher.proposed[number].learning_rate for number in range(3)] == [0.5, 0.6, 0.7]
        searcher.on_trial_complete("a", epoch_row(3, 0.1))
        found = searcher.suggest("b")["trial"]
        assert found["trial_id"] == "00003"
        searcher.on_trial_complete("b", epoch_row(3, 0.1))
        searcher.suggest("c")
        fixed.append(searcher._searches[0].learned)
    assert fixed == [Learned(pytest.approx(2.303, abs=0.01), least=0.01563), None], "none was as accurate as that"
    again.finish(ended="now")


@pytest.mark.parametrize("ended", [None, "then"])
def test_a_resumed_search_that_has_its_trials_ends_at_once(again, planned, ended):
    again.meta |= {"options": recorded(NAMES[:1], trials=2), "ended": ended}
    past = Past.of(read_journal(again.path), again.meta)
    sweep = edge.run_searcher(edge.searcher_of, 2, again, [], EdgeOptions(epochs=3), past)
    assert planned == []
    assert sweep.meta["ended"] is not None
    assert ended in (None, sweep.meta["ended"])
