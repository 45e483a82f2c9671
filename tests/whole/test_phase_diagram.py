"""The sweeps of a phase diagram, trained in this process: what each asks follows from those before it."""

import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from recorded_data import recorded_data

from mnist_tune import UserError
from mnist_tune.commands import phase_diagram
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.pool import LanePool
from mnist_tune.reports.terminal import INTERRUPTED
from mnist_tune.results.writer import SweepWriter
from mnist_tune.sweep import load_sweep

ASKED = """--dataset mnist-5k --widths 16 --depths 3 --seeds 3 --steps 4 --batch-size 64 --c 1:4096:25
--sharpness-images 64"""


def in_process(name, options, trials):
    """Stands in for `run_or_resume`."""
    named = {f"{i:05d}": trial for i, trial in enumerate(trials)}
    meta = {"name": name, "trials": {i: trial.to_dict() for i, trial in named.items()}, "ended": None}
    meta["options"] = {one: str(value) if isinstance(value, Path) else value for one, value in options.values().items()}
    writer = SweepWriter(Path(options.output), meta | {"dataset": recorded_data("mnist-5k")})
    dataset = load_dataset(options.dataset, standardize=options.standardize, train_images=options.train_images)
    pool = LanePool(dataset, sharpness=options.measures())
    for i, trial in named.items():
        pool.attach(i, trial)
        writer.epoch(i, pool.run([i])[i] | {"wait_s": 0.0}, False)
        writer.end(i, "completed")
        pool.detach(i)
    return writer.finish(ended="now")


def test_every_network_has_each_seed_as_its_batch_order_too_and_the_largest_comes_first():
    trials = phase_diagram.PhaseDiagram(widths=(8, 16), depths=(2, 3), seeds=(5, 0), batch_size=32).networks()
    asked = [(trial.architecture, trial.seed, trial.data_seed) for trial in trials]
    names = ("mlp-16-16-relu-he", "mlp-8-8-relu-he", "mlp-16-relu-he", "mlp-8-relu-he")
    assert asked == [(name, seed, seed) for name in names for seed in (5, 0)]
    assert {(trial.loss, trial.batch_size, trial.epochs) for trial in trials} == {("mse", 32, 1)}
    assert {trial.learning_rate for trial in trials} == {phase_diagram.NOTHING}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"widths": ()}, "--widths needs at least one value"),
        ({"depths": ()}, "--depths needs at least one value"),
        ({"seeds": ()}, "--seeds needs at least one value"),
        ({"steps": 0}, "--steps must be above 0, got 0"),
        ({"batch_size": 0}, "--batch-size must be above 0, got 0"),
        ({"c": "1:2"}, "--c can't be '1:2'"),
    ],
)
def test_a_diagram_that_cannot_be_drawn_is_refused_before_it_trains(options, said):
    with pytest.raises(UserError, match=said):
        phase_diagram.PhaseDiagram(**options)


@pytest.mark.parametrize(
    ("reason", "code", "begins", "ends"),
    [
        ("interrupted", INTERRUPTED, "not all trials have ended; go on with: ", ""),
        ("time_budget", 0, "not all trials have ended; go on with: ", ""),
        ("error", 1, "a trial failed: out of memory; train it again with: ", " --retry-errored"),
    ],
)
def test_a_sweep_that_was_cut_ends_the_diagram_and_says_how_to_go_on(
    tmp_path, monkeypatch, capsys, reason, code, begins, ends
):
    def cut(name, options, trials):
        sweep = in_process(name, options, trials)
        return replace(sweep, trials=sweep.trials.assign(stop_reason=["completed", reason], error="out of memory"))

    asked, where = ASKED.replace("--seeds 3", "--seeds 3 4"), tmp_path / "a diagram"
    monkeypatch.setattr(phase_diagram, "run_or_resume", cut)
    monkeypatch.setattr(sys, "argv", ["phase_diagram", *asked.split(), "--output", str(where)])
    assert phase_diagram.main() == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(begins)
    assert last.endswith(f" --resume '{where}'{ends}")
    assert [folder.name for folder in where.iterdir()] == ["untrained"]


def test_what_measured_the_untrained_networks_is_no_point_of_the_diagram(monkeypatch):
    steps = pd.DataFrame({"learning_rate": [phase_diagram.NOTHING, 0.1], "c": [0.0, 2.0]})
    monkeypatch.setattr(phase_diagram, "together", lambda done: ())
    monkeypatch.setattr(phase_diagram, "first_steps", lambda: steps)
    assert phase_diagram._measured([])["c"].tolist() == [2.0]


def test_each_sweep_asks_what_those_before_left_open(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(phase_diagram, "run_or_resume", in_process)
    monkeypatch.setattr(sys, "argv", ["phase_diagram", *ASKED.split(), "--output", str(tmp_path)])
    assert phase_diagram.main() == 0
    printed, told = capsys.readouterr()
    assert "untrained: 1 trials of 4 steps" in told
    assert (tmp_path / "phase_diagram.png").exists()

    untrained, losses = (load_sweep(tmp_path / name) for name in ("untrained", "losses"))
    sharpness = untrained.epochs.set_index("trial_id")["untrained_sharpness"].to_numpy()
    rates = losses.trials["learning_rate"].to_numpy().reshape(1, 25)
    np.testing.assert_allclose(rates * sharpness[:, None], [np.geomspace(1, 4096, 25)], rtol=6e-3)

    # The smallest c at which the sharpness was seen to rise has its neighbour below tried, too, and it fell there.
    names = sorted(folder.name for folder in tmp_path.glob("sharpness-*"))
    assert names == [f"sharpness-{number}" for number in range(1, len(names) + 1)]
    for network in untrained.trials["architecture"]:
        rose = {}
        for name in names:
            sweep = load_sweep(tmp_path / name)
            assert len(sweep.trials)
            for row in sweep.trials[sweep.trials["architecture"] == network].itertuples():
                measured = sweep.sharpness().query("trial_id == @row.trial_id")["sharpness"].to_numpy()
                assert len(measured) == 5
                rose[row.learning_rate] = (measured[1:] > measured[0]).any()
        first = min(rate for rate, yes in rose.items() if yes)
        below = [rate for rate, yes in rose.items() if not yes]
        assert max(below) < first < 1.5 * max(below)
        assert f"{network}" in printed

    # A finished diagram trains nothing.
    resumed = Mock(side_effect=lambda name, options, trials: load_sweep(options.goes_on()))
    monkeypatch.setattr(phase_diagram, "run_or_resume", resumed)
    monkeypatch.setattr(sys, "argv", ["phase_diagram", "--resume", str(tmp_path)])
    assert phase_diagram.main() == 0
    assert capsys.readouterr().out == printed
    for call in resumed.call_args_list:
        _, options, trials = call.args
        assert (options.output.parent, options.resume, options.given) == (tmp_path, "auto", {"resume"})
        assert len(trials) == len(load_sweep(options.output).trials)
    monkeypatch.setattr(sys, "argv", ["phase_diagram", "--widths", "32", "--output", str(tmp_path)])
    with pytest.raises(UserError, match=r"--widths can't change in a resume: .*untrained has 16; leave it out"):
        phase_diagram.main()

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(
        phase_diagram,
        "run_or_resume",
        lambda name, options, trials: load_sweep(tmp_path / options.output.rpartition("/")[2]),
    )
    monkeypatch.setattr(phase_diagram, "exists", lambda where: False)
    monkeypatch.setattr(sys, "argv", ["phase_diagram", *ASKED.split(), "--output", "s3://bucket/diagram", "--quiet"])
    assert phase_diagram.main() == 0
    assert capsys.readouterr() == (printed.replace(f"{tmp_path}/", ""), "")
    assert (tmp_path / "here" / "phase_diagram.png").exists()
