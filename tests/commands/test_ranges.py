"""The range of learning rates of each family, by hand, what differs from a base in one thing only, and the pictures."""

from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from mnist_tune.commands import architectures
from mnist_tune.commands.architectures import along, plot_range, point, print_ranges, ranges
from mnist_tune.regimes.data_facts import MNIST

REGIMES = {0.1: "slow slow", 0.2: "converged converged", 0.4: "converged converged", 0.8: "diverged converged"}


def made_up_trials(regimes, **config):
    rows = [
        {"learning_rate": rate, "seed": seed, "regime": regime, "validation_accuracy": 0.9 + rate / 10}
        for rate, of in regimes.items()
        for seed, regime in enumerate(of.split())
    ]
    base = {"architecture": "mlp-64-tanh", "batch_size": 128, "momentum": 0.0, "warmup_steps": 0}
    base |= {"test_accuracy": 0.5, "epochs_run": 5, "epochs_asked": 5, "stop_reason": "completed"}
    return pd.DataFrame(rows).assign(**base | config)


def test_the_range_and_its_best():
    [found] = ranges(
        [("title", made_up_trials(REGIMES | dict.fromkeys((1.6, 3.2), "diverged diverged")))], MNIST
    ).to_dict("records")
    assert found["title"] == "title"
    assert [found[name] for name in ("lowest", "highest", "sometimes", "next", "best")] == [0.2, 0.4, 0.8, 1.6, 0.4]
    assert found["accuracy"] == pytest.approx(0.94)
    assert [found[name] for name in ("width", "depth", "batch_size")] == [64, 2, 128]


def test_the_range_begins_where_every_seed_converged():
    some = {0.05: "slow converged", **REGIMES}
    [found] = ranges([("", made_up_trials(some))], MNIST).to_dict("records")
    assert (found["lowest"], found["highest"]) == (0.2, 0.4)


def test_a_range_without_an_end_or_without_a_rate():
    open_, none = (
        ranges([("", made_up_trials(regimes))], MNIST).iloc[0]
        for regimes in (REGIMES, dict.fromkeys(REGIMES, "diverged slow"))
    )
    assert np.isnan(open_["next"])
    assert open_["sometimes"] == 0.8
    assert none[["lowest", "highest", "sometimes", "next"]].isna().all()
    assert none["best"] == 0.8, "of those that did not diverge"
    [lost] = ranges([("", made_up_trials(dict.fromkeys(REGIMES, "diverged diverged")))], MNIST).to_dict("records")
    assert np.isnan([lost["best"], lost["accuracy"]]).all()


def test_replicates_that_never_began_say_nothing():
    trials = made_up_trials(REGIMES | {1.6: "undecided undecided"})
    never = (trials["learning_rate"] > 1) | ((trials["learning_rate"] == 0.2) & (trials["seed"] == 1))
    trials = trials.assign(epochs_run=5 * ~never, regime=trials["regime"].mask(never, "undecided"))
    [found] = ranges([("", trials)], MNIST).to_dict("records")
    assert (found["lowest"], found["highest"]) == (0.2, 0.4)
    assert np.isnan(found["next"]), "no rate above was tried"


def test_sizes_are_those_in_the_name():
    names = ["mlp-64-tanh", "mlp-300-100-relu-glorot", "mlp-relu", "convnet"]
    found = [point(made_up_trials(REGIMES, architecture=name)) for name in names]
    np.testing.assert_array_equal([one["width"] for one in found], [64, 300, np.nan, np.nan])
    np.testing.assert_array_equal([one["depth"] for one in found], [2, 3, 1, np.nan])


def test_one_thing_varies_at_a_time():
    configs = [{}, {"momentum": 0.9}, {"momentum": 0.5}, {"batch_size": 32}, {"architecture": "mlp-32-tanh"}]
    found = ranges([(str(config), made_up_trials(REGIMES, **config)) for config in configs], MNIST)
    base = {"width": 64, "depth": 2, "batch_size": 128, "momentum": 0.0, "warmup_steps": 0}
    assert along(found, "momentum", base)["momentum"].tolist() == [0, 0.5, 0.9]
    assert along(found, "width", base)["width"].tolist() == [32, 64]
    assert len(along(found, "warmup_steps", base)) == 1


def test_the_axis_is_named_by_what_varies(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        architectures, "save", lambda figure, path: drawn.append((figure.axes[0].get_xlabel(), path.name))
    )
    rows = pd.DataFrame({name: [0.5] for name in ("lowest", "highest", "sometimes", "next", "best")})
    for axis in ("warmup_steps", "batch_size"):
        plot_range({"": rows.assign(**{axis: 1})}, axis, tmp_path / f"{axis}.png")
    assert drawn == [("warm-up steps", "warmup_steps.png"), ("batch size", "batch_size.png")]


RANGES = pd.DataFrame(
    {
        "title": ["mlp-32-tanh", "mlp-64-tanh", "mlp-128-tanh"],
        "width": [32, 64, 128],
        "lowest": [0.1, 0.1, np.nan],
        "highest": [1.0, 0.5, np.nan],
        "sometimes": [1.0, 0.7, 0.3],
        "next": [2.0, 1.0, 0.5],
        "best": [0.5, 0.4, 0.3],
        "accuracy": [0.9, 0.95, 0.96],
    }
)


@pytest.mark.parametrize("depths", [(2, 1), (1, 2), (1, 2, 3)])
def test_networks_without_hidden_layers_are_drawn_also_if_they_come_first(depths, monkeypatch, tmp_path):
    names = {1: ["mlp-tanh"], 2: ["mlp-64-tanh", "mlp-32-tanh"], 3: ["mlp-64-64-tanh", "mlp-32-32-tanh"]}
    trials = pd.concat([made_up_trials(REGIMES, architecture=name) for depth in depths for name in names[depth]])
    sweep = SimpleNamespace(trials=trials, meta={}, picture=lambda name: tmp_path / name)
    drawn = {}
    for name in ("asked", "with_images_held_out", "print_report", "data_facts"):
        monkeypatch.setattr(architectures, name, lambda *_: SimpleNamespace(test_images=1000, chance=0.1))
    monkeypatch.setattr(architectures, "run_or_resume", lambda *_: sweep)
    monkeypatch.setattr(architectures, "plot_range", lambda lines, axis, path: drawn.update({axis: lines}))
    architectures.main()
    assert {axis: [len(one) for one in lines.values()] for axis, lines in drawn.items()} == {
        "width": [2] * (len(depths) - 1),
        "depth": [len(depths)] * 2,
    }


def drawn(path):
    picture = matplotlib.image.imread(path)
    return picture.shape[:2], len(np.unique(picture[..., :3].reshape(-1, 3), axis=0))


def test_ranges(tmp_path, capsys):
    print_ranges(RANGES)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert lines == [
        ["network", "lowest", "highest", "sometimes", "best", "accuracy"],
        ["mlp-32-tanh", "0.1", "1", "1", "0.5", "0.9"],
        ["mlp-64-tanh", "0.1", "0.5", "0.7", "0.4", "0.95"],
        ["mlp-128-tanh", "-", "-", "0.3", "0.3", "0.96"],
    ]
    plot_range({"": RANGES, ", depth 3": RANGES[:2]}, "width", tmp_path / "a.png")
    plot_range({"": RANGES[:0]}, "width", tmp_path / "b.png")
    (size, colours), (_, fewer) = (drawn(tmp_path / name) for name in ("a.png", "b.png"))
    assert min(size) > 300
    assert colours > fewer
