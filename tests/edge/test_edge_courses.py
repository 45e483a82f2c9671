"""The courses of searches for edges and of decisions, to the letter (`kept_texts`)."""

import json

import numpy as np
import pytest
from kept_texts import assert_kept
from played import course, shown  # noqa: F401

from mnist_tune import TrialConfig, UserError
from mnist_tune.decisions import decide
from mnist_tune.decisions.decide import DecideOptions, decide_until_exit
from mnist_tune.edge import search as module
from mnist_tune.edge.search import EdgeOptions, find_edge, search_edge
from mnist_tune.regimes.decision import CONFIRMED
from mnist_tune.reports.findings import findings
from mnist_tune.reports.terminal import exit_code, lines

EDGES = {"mlp-4-tanh": 2.0, "mlp-8-tanh": 0.5}


@pytest.fixture
def predicts(course, monkeypatch):  # noqa: F811
    """Range tests whose outcome follows from the architecture."""
    monkeypatch.setattr(module, "blow_ups", lambda trials, data: [EDGES[one.architecture] for one in trials])


def test_several_values_are_crossed_and_each_combination_is_one_edge():
    shared = {"epochs": 2, "nesterov": True, "weight_decay": 0.1, "clip_norm": 0.5, "schedule": "cosine", "loss": "mse"}
    shared |= {"warmup_steps": 3, "label_noise": 7, "holdout": 9, "drop_last": True, "stop_when_diverged": False}
    options = EdgeOptions(architecture=(*EDGES, "mlp-4-tanh"), batch_size=(32, 64), momentum=(0.9,), **shared)
    assert options.templates() == [
        TrialConfig(architecture=name, batch_size=size, momentum=0.9, **shared) for name in EDGES for size in (32, 64)
    ]


def test_a_search_for_two_edges_that_is_killed_and_gets_more_trials(course, predicts, epoch_row, tmp_path):  # noqa: F811
    """Seeds learn below the edge, a few of them above. Those that don't diverge, or stay where they were."""

    def row(config, epoch):
        rng = np.random.default_rng(config.seed)
        learned = rng.random() < 1 / (1 + (config.learning_rate / EDGES[config.architecture]) ** 8)
        lost = not learned and rng.random() < 0.5
        loss = float("nan") if lost else 0.1 if learned else 2.3
        if (config.architecture, epoch, config.seed % 11) == ("mlp-8-tanh", 2, 0):
            return ValueError("no shape")
        accuracy, rate = 0.9 if learned else 0.1, config.learning_rate
        return epoch_row(epoch, loss, accuracy, diverged=lost, untrained_loss=2.4, learning_rate=rate)

    course.row, course.resources, where = row, {"CPU": 2.0}, tmp_path / "sweep"
    options = EdgeOptions(output=where, architecture=tuple(EDGES), batch_size=(64,), trials=8, epochs=2, seed=5)
    course.section("it is killed")
    with course.killed_after(30):
        find_edge(options)
    before = course.recorded(where, EdgeOptions().values())
    course.section("more trials")
    found = find_edge(EdgeOptions(resume=where, trials=11, precision=0.06))
    course.recorded(where, before)
    course.section("nothing is left")
    find_edge(EdgeOptions(resume=where, quiet=True))
    assert len(found.trials) == 22
    course.section("where the edge is expected, and how many are proposed, is given")
    options = EdgeOptions(
        output=tmp_path / "b",
        architecture=("mlp-4-tanh",),
        trials=2,
        expected=1.0,
        workers=1,
        quiet=True,
    )
    find_edge(options)
    course.recorded(tmp_path / "b", EdgeOptions().values())
    course.section("a search of another name")
    file = where / "sweep.json"
    file.write_text(file.read_text().replace('"name": "edge"', '"name": "seeds"'))
    with pytest.raises(UserError) as refused:
        search_edge(EdgeOptions(resume=where))
    course.note(f"refused: {refused.value}")
    assert_kept("course of a search for edges", course.text)


def test_a_decision_that_is_killed_and_confirmed(course, epoch_row, tmp_path):  # noqa: F811
    """The first two settings are about as good, and the last one diverges."""

    def row(config, epoch):
        better = {0.2: 0.9, 0.4: 0.9, 8.0: 0.1}[config.learning_rate]
        lost = config.learning_rate == 8
        accuracy = better + 0.01 * np.random.default_rng([config.seed, int(10 * config.learning_rate)]).normal()
        values = {"validation_accuracy": accuracy, "validation_loss": 1.0, "diverged": lost}
        values["learning_rate"] = config.learning_rate
        if (config.learning_rate, config.seed % 7) == (8.0, 0):
            return ValueError("no shape")
        return epoch_row(epoch, float("nan") if lost else 0.5, 0.95, **values)

    course.row, course.resources, where = row, {"CPU": 2.0}, tmp_path / "sweep"
    asked = {"architecture": ("mlp-4-tanh",), "learning_rates": ("0.2:0.4:2", 8.0), "epochs": 1, "tolerance": 0.001}
    options = DecideOptions(output=where, trials=9, **asked)
    course.section("it is killed")
    with course.killed_after(15):
        decide_until_exit(options)
    before = course.recorded(where, DecideOptions().values())
    course.section("it goes on, and has the best confirmed")
    decide_until_exit(DecideOptions(resume=where, confirm=True, trials=14))
    course.recorded(where, before)
    course.section("between the best of a sweep")
    found = decide_until_exit(DecideOptions(sweep=where, output=tmp_path / "b", trials=5, at_a_time=1, holdout=500))
    course.recorded(found.path, DecideOptions().values())
    assert_kept("course of a decision", course.text)


def test_the_best_is_confirmed_beyond_the_most_trials(course, epoch_row, tmp_path):  # noqa: F811
    def row(config, epoch):
        values = {"validation_accuracy": 0.9 if config.learning_rate == 0.2 else 0.1, "validation_loss": 1.0}
        return epoch_row(epoch, 0.5, 0.95, learning_rate=config.learning_rate, **values)

    course.row, where = row, tmp_path / "sweep"
    asked = {"architecture": ("mlp-4-tanh",), "learning_rates": (0.2, 8.0), "holdout": 500, "at_a_time": 2}
    found = decide_until_exit(DecideOptions(output=where, epochs=1, trials=6, confirm=True, quiet=True, **asked))
    assert found.decision.over
    assert int(found.decision.decision.seeds[0]) + len(found.decision.confirming) == CONFIRMED
    assert len(decide_until_exit(DecideOptions(resume=where, quiet=True)).trials) == len(found.trials) > 6


@pytest.mark.parametrize("comes", ["in the first epochs", "between two trials"])
def test_ctrl_c_before_the_first_results_leaves_a_trial_to_resume(course, predicts, epoch_row, tmp_path, comes):  # noqa: F811
    """A resume then does what was left."""

    def row(config, epoch):
        accuracy = 0.9 + 0.01 * np.random.default_rng([config.seed, int(10 * config.learning_rate)]).normal()
        values = {"validation_accuracy": accuracy, "validation_loss": 1.0, "learning_rate": config.learning_rate}
        return epoch_row(epoch, 0.5, 0.95, **values)

    course.row, course.slots = row, 2 if comes == "in the first epochs" else 1
    shared = {"architecture": ("mlp-4-tanh",), "epochs": 1, "quiet": True, "trials": 8}
    rates = {"learning_rates": (0.2, 0.4), "holdout": 500, "at_a_time": 2}
    for kind, run, given in ((DecideOptions, decide_until_exit, rates), (EdgeOptions, search_edge, {"workers": 1})):
        where, unbroken = tmp_path / kind.__name__, tmp_path / f"{kind.__name__} without Ctrl-C"
        for trials in (1, 3):
            course.interrupts = lambda proposed, running, trials=trials: (
                proposed >= trials and bool(running) == (comes == "in the first epochs")
            )
            found = run(kind(output=where, **shared, **given) if trials == 1 else kind(resume=where, quiet=True))
            assert found.trials["stop_reason"].iloc[-1] == "interrupted"
            assert exit_code(found.trials) == 130
            assert any(f"--resume {where}" in line for line in lines(findings(found, str(where))))
        course.interrupts = lambda proposed, running: False
        found, other = run(kind(resume=where, quiet=True)), run(kind(output=unbroken, **shared, **given))
        assert found.trials.drop(columns="wait_s").equals(other.trials.drop(columns="wait_s"))


def test_what_a_decision_refuses(course, new_writer, epoch_row, tmp_path, monkeypatch):  # noqa: F811
    """A sweep of two settings that it can't tell apart, with ten epochs, and what goes wrong with it. What is not
    refused begins."""
    course.section("the sweep")
    writer = new_writer(tmp_path / "sweep", count=0)
    writer.update_options(dataset="mnist-5k", train_images=3000, standardize=True, target=0.9, lanes=3)
    writer.meta["dataset"]["checksums"] = course.data.checksums
    for i, rate in enumerate((0.2, 0.4, 8.0)):
        writer.trial(f"{i:05d}", TrialConfig(architecture="mlp-4-tanh", learning_rate=rate, epochs=10, label="a label"))
        for epoch in range(1, 2 if rate == 8 else 11):
            row = epoch_row(epoch, test_accuracy=0.9, diverged=rate == 8, ended_at=course.now)
            writer.epoch(f"{i:05d}", row, False)
        writer.end(f"{i:05d}", "diverged" if rate == 8 else "completed")
    writer.finish(ended="then")
    file = writer.path / "sweep.json"
    before, numbers = json.loads(file.read_text()), iter(range(100))

    some, usual = {"architecture": ("mlp-4-tanh",)}, {"name": "decide", "search": True, "ended": None}

    def begins(searcher_of, most, writer, data, options, past):
        course.note(f"begins, with at most {most} trials")
        course.recorded(writer.path, usual | DecideOptions(output=writer.path).values())

    def decides(title="", options=(), **given):
        course.section(f"{' '.join(f'{name}={one}' for name, one in given.items())} {title}")
        file.write_text(json.dumps(before | {"options": before["options"] | dict(options)}))
        try:
            new = {} if "resume" in given else {"output": tmp_path / f"new {next(numbers)}"}
            decide_until_exit(DecideOptions(**new, **given))
        except UserError as error:
            course.note(f"refused: {error}")

    monkeypatch.setattr(decide, "run_searcher", begins)
    for name in ("stop_ray_at_exit", "load_own"):
        monkeypatch.setattr(decide, name, lambda *_: None)
    course.lines.clear()
    for rates, trials in (((), 9), ((0.1,), 9), (("0.1:1:3",), 5), (("0.1:1:201",), 1000), (("0.1:1:2",), 4)):
        decides(learning_rates=rates, trials=trials, **some)
    decides(learning_rates=(0.1, 0.2), batch_size=(100, 120), epochs=2, **some)
    training = {"nesterov": True, "weight_decay": 0.1, "schedule": "cosine", "loss": "mse", "label_noise": 9}
    training |= {"stop_when_diverged": False, "clip_norm": 1.0, "warmup_steps": 3}
    others = {"architecture": ("mlp-4-tanh", "mlp-8-tanh"), "optimizer": ("adam",)}
    listed = {"learning_rates": (0.1, 0.2), "epochs": 3, "batch_size": (3,), "momentum": (0.5,)}
    for name, value in (listed | training | others).items():
        decides(sweep=writer.path, **{name: value})
    decides(sweep=writer.path)
    decides("whose trials go on", {"stop_when_diverged": False}, sweep=writer.path, optimizer=("sgd",), **some)
    decides(sweep=writer.path, dataset="mnist", train_images=2000, holdout=9, drop_last=True)
    decides("whose data are elsewhere", {"data_dir": "gone"}, sweep=writer.path, dataset="mnist")
    decides("from arrays", {"dataset": "arrays"}, sweep=writer.path)
    before["dataset"] |= {"name": "those", "checksums": {"a": "b"}}
    decides("other data", sweep=writer.path)
    decides(sweep=tmp_path / "new 4")
    decides(resume=writer.path)
    assert_kept("decisions made", course.text)
