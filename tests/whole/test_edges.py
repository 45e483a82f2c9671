"""The search for an edge under Ray Tune, on a network whose edge is known exactly."""

from unittest import mock

import numpy as np
import pytest
from journals import as_killed
from ray.tune.search import Searcher

from mnist_tune import EdgeOptions, UserError, find_edge, load_sweep
from mnist_tune.edge import search
from mnist_tune.edge.search import searcher_of
from mnist_tune.judged import judge
from mnist_tune.reports.terminal import print_report
from mnist_tune.results.journal import read_journal
from mnist_tune.results.writer import SweepWriter
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.resuming import python_options

SOLVABLE = """
import jax
import jax.numpy as jnp

from mnist_tune import Network


def solvable(data, width=1000):
    '''f = v.u / sqrt(n), drawn from a normal distribution, with the loss f^2 / 2 (Lewkowycz et al. 2020).

    Of an example of class k, output k is 1 + f and the others are 0, so that half the squared error is f^2 / 2.
    '''

    def init(key):
        return jax.random.normal(key, (2, width))

    def apply(params, examples):
        f = params[0] @ params[1] / width**0.5
        return examples * (1 + f)

    return Network(init, apply)
"""


@pytest.fixture
def solvable(tmp_path):
    """The network's file, and data of which every example is its class's one-hot
    vector."""
    file = tmp_path / "solvable.py"
    file.write_text(SOLVABLE)
    data = tmp_path / "data.npz"
    labels = np.arange(600) % 2
    one_hot = np.eye(2, dtype=np.float32)[labels]
    np.savez(
        data, x_train=one_hot, y_train=labels, x_test=one_hot[:20], y_test=labels[:20]
    )
    return f"{file}:solvable", str(data)


@pytest.mark.ray
def test_the_edge_of_a_solvable_network_is_found_also_by_a_search_that_was_killed(
    solvable, one_core, tmp_path, capsys
):
    """Over seeds the edge is at 2.00: a step diverges for η λ > 4, and λ = (‖u‖² +
    ‖v‖²) / n is 2 on average."""
    name, data = solvable
    folder = tmp_path / "sweep"
    shared = {"architecture": (name,), "dataset": data, "quiet": True}
    short = {"loss": "mse", "batch_size": (1,), "epochs": 2, "precision": 0.02}
    find_edge(EdgeOptions(output=str(folder), **shared, **short))
    as_killed(folder, lambda text: text.count('"end"') >= 8)
    before = load_sweep(folder).trials.set_index("trial_id")
    sweep = find_edge(EdgeOptions(resume=str(folder), **shared))
    [edge] = sweep.edges()
    half = edge.rate(0.5)
    assert half.median == pytest.approx(2.0, rel=0.02)
    assert half.low < 2.005 < half.high
    assert edge.is_precise

    after = sweep.trials.set_index("trial_id")
    ended = before.index[before["stop_reason"].isin(["completed", "diverged"])]
    assert len(ended) >= 5
    columns = ["learning_rate", "seed", "epochs_run", "train_loss"]
    assert after.loc[ended, columns].equals(before.loc[ended, columns])
    assert replayed(folder) == after["learning_rate"].sort_index().tolist()
    assert print_report(sweep) == 0
    text = capsys.readouterr().out
    assert f"50% at {half}" in text
    assert f"{len(after)} trials" in text
    picture = folder / "edge.png"
    sweep.plot(picture)
    assert picture.stat().st_size > 10_000


def test_a_search_that_was_killed_in_its_range_test_makes_it_again(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(EdgeOptions, "start_ray", lambda options: None)
    monkeypatch.setattr(search, "processes", lambda options: 2)
    run_searcher = mock.Mock()
    monkeypatch.setattr(search, "run_searcher", run_searcher)
    range_test = mock.Mock(side_effect=[KeyboardInterrupt, [0.5, 2.0]])
    monkeypatch.setattr(search, "blow_ups", range_test)
    folder = tmp_path / "edge"
    options = EdgeOptions(
        architecture=("mlp-8-tanh", "mlp-8-relu"),
        dataset="digits",
        trials=7,
        output=folder,
    )
    with pytest.raises(KeyboardInterrupt):
        search.search_edge(options)
    load_sweep(folder).table()
    search.search_edge(python_options(EdgeOptions(resume=folder)))
    opened, _, most = run_searcher.call_args.args
    recorded = opened.writer.meta["options"]
    rates = {edge["architecture"]: edge["expected"] for edge in recorded["searches"]}
    assert rates == {"mlp-8-tanh": 0.5, "mlp-8-relu": 2}
    assert recorded["workers"] == 5
    assert most == 14


def replayed(folder):
    """The rates that an uninterrupted search proposes, given the outcomes but not the
    trials, in their order."""
    writer = SweepWriter(folder, load_sweep(folder).meta, judge, resume=True)
    past = Past.of(read_journal(writer.path), writer.meta)
    searcher = searcher_of(writer, past)
    writer.finish(ended="now")
    searcher._known = {}
    assert searcher.suggest("") == Searcher.FINISHED
    [search] = searcher._searches
    return [trial.config.learning_rate for trial in search.trials]


def test_a_mistyped_network_makes_no_folder(tmp_path):
    with pytest.raises(UserError, match="architecture 'mlp-16-tan': write mlp-"):
        find_edge(EdgeOptions(architecture=("mlp-16-tan",), output=tmp_path / "none"))
    assert not (tmp_path / "none").exists()
