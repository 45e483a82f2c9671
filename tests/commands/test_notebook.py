"""The verdicts on the notebook's experiments, with made-up sweeps."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from recorded_data import recorded_data

from mnist_tune.commands.notebook import (
    EXACT,
    Comparison,
    Notebook,
    compare_all,
    experiments,
    outcome,
    plot_notebook,
    print_comparisons,
    section,
)
from mnist_tune.results.writer import SweepWriter

SCRIPT = Path(__file__).parents[2] / "sweeps" / "notebook.py"
OTHERS = {
    "converges": 0,
    "slow": 0,
    "oscillates": 20,
    "diverges": 5,
    "underfit": 0,
    "overfit": 0,
    "stax_mlp": 0,
    "convnet": 5,
}
"""The number of runs with other seeds than the notebook's, by experiment."""

CHAOTIC = ("oscillates", "diverges")
OSCILLATING = [0.8, 0.85, 0.8, 0.9, 0.88, 0.84, 0.93, 0.93, 0.93, 0.95]
CALM = [0.9 + 0.009 * epoch for epoch in range(10)]
LOST = [0.1]
OUTCOMES = {"oscillating": OSCILLATING, "converged": CALM, "diverged": LOST}


# --- what is run


@pytest.mark.parametrize("name", experiments())
def test_count_of_runs(name):
    experiment = experiments()[name]
    own, *others = experiment.trials()
    assert [trial.label for trial in (own, *others)] == [name] + [f"{name} seeds"] * OTHERS[name]
    assert replace(own, label="") == experiment.trial
    seeds = [trial.seed for trial in others]
    assert len(set(seeds)) == OTHERS[name]
    assert experiment.trial.seed not in seeds
    assert [trial.data_seed for trial in others] == seeds
    assert all(trial.stop_when_diverged for trial in others)


def test_networks_and_rates_are_the_notebooks():
    asked = {
        name: (one.trial.architecture, one.trial.learning_rate, one.trial.batch_size, one.trial.label_noise)
        for name, one in experiments().items()
    }
    assert asked == {
        "converges": ("mlp-1024-128-tanh", 0.1, 128, 0),
        "slow": ("mlp-1024-128-tanh", 0.001, 128, 0),
        "oscillates": ("mlp-1024-128-tanh", 1.6, 128, 0),
        "diverges": ("mlp-1024-128-tanh", 2.0, 128, 0),
        "underfit": ("mlp-4-tanh", 0.1, 128, 0),
        "overfit": ("mlp-2048-1024-512-1024-512-128-tanh", 0.01, 128, 30_000),
        "stax_mlp": ("stax-mlp", 0.15, 128, 0),
        "convnet": ("convnet", 0.06, 128, 0),
    }


def test_as_many_epochs_as_the_notebook_asks_for():
    asked = {name: experiment.trial.epochs for name, experiment in experiments().items()}
    assert asked == dict.fromkeys(OTHERS, 10) | {"overfit": 30, "stax_mlp": 12, "convnet": 20}  # its `num_epochs`


@pytest.mark.parametrize("name", experiments())
def test_other_counts_of_seeds_and_epochs(name):
    experiment = experiments()[name]
    assert len(experiment.trials(seeds=0)) == 1
    assert len(experiment.trials(seeds=3)) == 1 + 3 * (OTHERS[name] > 0)
    assert {trial.epochs for trial in experiment.trials(epochs=11)} == {min(11, experiment.trial.epochs)}


@pytest.mark.parametrize("name", CHAOTIC)
def test_chaotic_experiments_are_judged_over_at_least_six_seeds(name):
    assert experiments()[name].chaotic
    assert experiments()[name].seeds >= 5
    assert not any(experiments()[other].chaotic for other in set(OTHERS) - set(CHAOTIC))


def test_the_command_runs_all_experiments():
    assert len(Notebook().trials()) == len(OTHERS) + sum(OTHERS.values())
    assert len(Notebook(only=("diverges", "slow"), seeds=2).trials()) == 1 + 2 + 1


def test_the_command_refuses_a_negative_count_of_seeds(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--seeds", "-1"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: --seeds must be at least 0, got -1\n"


# --- how it is judged


@pytest.fixture
def new_sweep(tmp_path, epoch_row):
    """A function that makes a sweep from runs, each given as its config, its epochs and its stop reason.

    An epoch is a training accuracy, or a pair of training and test accuracy. At 0.15 or less the run has diverged.
    """

    def make(*runs):
        meta = {"trials": {f"{i:05d}": config.to_dict() for i, (config, *_) in enumerate(runs)}}
        meta |= {"name": "notebook", "dataset": recorded_data("mnist"), "ended": None}
        writer = SweepWriter(tmp_path / f"sweep{len(list(tmp_path.iterdir()))}", meta)
        for i, (_, epochs, reason) in enumerate(runs):
            for epoch, accuracy in enumerate(epochs, 1):
                train, test = accuracy if isinstance(accuracy, tuple) else (accuracy, accuracy - 0.01)
                lost = {"train_loss": 60.0, "diverged": True, "above_since": 2} if train <= 0.15 else {}
                writer.epoch(f"{i:05d}", epoch_row(epoch, train_accuracy=train) | {"test_accuracy": test} | lost, False)
            writer.end(f"{i:05d}", reason, "out of memory" if reason == "error" else "")
        return writer.finish(ended="now")

    return make


def runs_of(name, *outcomes, epochs=None):
    """Return a run of an experiment per outcome. An outcome is `<regime>` or `<regime> <stop reason>`."""
    configs = experiments()[name].trials(epochs=epochs, seeds=len(outcomes) - 1)
    found = []
    for config, told in zip(configs, outcomes, strict=True):
        regime, _, reason = told.partition(" ")
        curve = OUTCOMES[regime][: config.epochs] if regime else []
        found.append((config, curve, reason or ("diverged" if regime == "diverged" else "completed")))
    return found


def verdict(sweep):
    (found,) = compare_all(sweep)
    return found.verdict, found.reason


def padded(name, *outcomes):
    """Return these outcomes, with the last one repeated for all other runs of the experiment."""
    return [*outcomes, *[outcomes[-1]] * (1 + OTHERS[name] - len(outcomes))]


def test_outcomes_of_the_notebook():
    assert outcome("oscillates") == ("oscillating", 5)
    assert outcome("diverges") == ("diverged", 3)


def test_one_seed_with_the_outcome_is_enough(new_sweep, capsys):
    sweep = new_sweep(*runs_of("oscillates", *["diverged"] * 2, *["oscillating"] * 3, "converged"))
    expected = "3 of 6 oscillating, 1 converged, 2 diverged; the notebook's outcome: oscillating"
    assert verdict(sweep) == ("statistical", expected)
    print_comparisons(compare_all(sweep))
    assert f"oscillates: statistical; {expected}\n" in capsys.readouterr().out


def test_the_notebooks_own_seed_alone_may_show_the_outcome(new_sweep):
    sweep = new_sweep(*runs_of("diverges", "diverged"))
    assert verdict(sweep) == ("statistical", "1 of 1 diverged; the notebook's outcome: diverged")


@pytest.mark.parametrize("name", CHAOTIC)
def test_without_the_outcome_in_any_seed_an_experiment_differs(new_sweep, name):
    count, expected = 1 + OTHERS[name], outcome(name)[0]
    why = f"0 of {count} {expected}, {count} converged; the notebook's outcome: {expected}"
    assert verdict(new_sweep(*runs_of(name, *padded(name, "converged")))) == ("differs", why)


def test_too_few_seeds_without_the_outcome_are_undecided(new_sweep):
    found, why = verdict(new_sweep(*runs_of("oscillates", *["diverged"] * 20)))
    assert found == "undecided"
    assert why.endswith("; to tell that none has it, 21 runs must have ended")


@pytest.mark.parametrize("reason", ["interrupted", "time_budget", "error"])
@pytest.mark.parametrize("regime", ["", "diverged", "oscillating"])
def test_unfinished_runs_are_not_judged(new_sweep, reason, regime):
    """This also holds if its curve so far has the outcome."""
    cut = f"{regime} {reason}"
    found, why = verdict(new_sweep(*runs_of("oscillates", "diverged", cut, *["diverged"] * 19)))
    assert found == "undecided"
    assert "0 of 20 oscillating, 20 diverged; the notebook's outcome: oscillating; 1 not ended" in why
    found, why = verdict(new_sweep(*runs_of("oscillates", cut, "oscillating", "diverged")))
    assert found == "statistical"
    assert why == "1 of 2 oscillating, 1 diverged; the notebook's outcome: oscillating; 1 not ended"


def test_an_experiment_without_any_epoch_is_left_out(new_sweep):
    assert compare_all(new_sweep(*runs_of("oscillates", " error", " interrupted"))) == []


@pytest.mark.parametrize(("name", "needed"), [("oscillates", 5), ("diverges", 3)])
def test_too_few_epochs_are_undecided(new_sweep, name, needed):
    outcomes = padded(name, outcome(name)[0])
    found, why = verdict(new_sweep(*runs_of(name, *outcomes, epochs=needed - 1)))
    assert found == "undecided"
    assert why.endswith(f"which needs {needed} epochs to show, not {needed - 1}")
    assert verdict(new_sweep(*runs_of(name, *outcomes, epochs=needed)))[0] == "statistical"


def test_other_experiments_of_the_sweep_do_not_matter(new_sweep):
    """In the sweep's table, a levelled-off curve is not underfit if a sibling reached the target."""
    levelled = [0.85, 0.90, 0.899, 0.901, 0.900, 0.9015, 0.9012, 0.9017, 0.9018, 0.9018]
    runs = [(config, levelled, "completed") for config in experiments()["oscillates"].trials()]
    sibling = (experiments()["converges"].trials()[0], CALM, "completed")
    alone, beside = new_sweep(*runs), new_sweep(sibling, *runs)
    assert (alone.trials["regime"] == "underfit").all()
    assert (beside.trials["regime"][1:] != "underfit").all()
    differs = ("differs", "0 of 21 oscillating, 21 underfit; the notebook's outcome: oscillating")
    assert verdict(alone) == differs
    assert (compare_all(beside)[1].verdict, compare_all(beside)[1].reason) == differs


def printed(name, shift=0.0):
    """Return the notebook's numbers of an experiment, all shifted, as epochs of a run."""
    table = section(name)[["train_accuracy", "test_accuracy"]] + shift
    table["train_accuracy"] = table["train_accuracy"].fillna(table["test_accuracy"])  # not printed for all
    return list(table.itertuples(index=False, name=None))


def printed_run(name, shift=0.0):
    return experiments()[name].trials()[0], printed(name, shift), "completed"


@pytest.mark.parametrize("name", ["converges", "slow", "underfit", "overfit"])
def test_deterministic_experiments_are_exact_or_differ(new_sweep, name):
    assert verdict(new_sweep(printed_run(name)))[0] == "exact"
    assert verdict(new_sweep(printed_run(name, -0.9 * EXACT)))[0] == "exact"
    assert verdict(new_sweep(printed_run(name, -1.1 * EXACT)))[0] == "differs"


@pytest.mark.parametrize("name", ["stax_mlp", "convnet"])
def test_experiments_that_depend_on_the_device_have_a_band(new_sweep, name):
    band = experiments()[name].band
    assert verdict(new_sweep(printed_run(name, -0.9 * band)))[0] == "statistical"
    assert verdict(new_sweep(printed_run(name, -1.1 * band)))[0] == "differs"


def test_the_band_is_that_of_the_last_epoch_alone(new_sweep):
    run, figures, reason = printed_run("convnet")
    off = [(train - 0.01, test - 0.01) for train, test in figures]
    assert verdict(new_sweep((run, [*off[:-1], figures[-1]], reason)))[0] == "statistical"
    assert verdict(new_sweep((run, [*figures[:-1], off[-1]], reason)))[0] == "differs"


def test_an_end_within_the_band_is_not_enough_in_another_regime(new_sweep):
    run, figures, reason = printed_run("convnet")
    wild = [(train - 0.1 * (i % 2), test - 0.1 * (i % 2)) for i, (train, test) in enumerate(figures)]
    wild[-1] = figures[-1]
    found, why = verdict(new_sweep((run, wild, reason)))
    assert found == "differs"
    assert why.startswith("regime oscillating (notebook converged), final test accuracy +0.0000")


@pytest.mark.parametrize(("shift", "said"), [(-0.0004, "-0.00040"), (0.0004, "+0.00040")])
def test_figures_are_printed_under_their_heads(new_sweep, capsys, shift, said):
    print_comparisons(compare_all(new_sweep(printed_run("slow", shift))))
    heads, line, *_ = capsys.readouterr().out.splitlines()
    assert heads.split()[2:5] == ["train:", "notebook", "ours"]
    train, test = printed("slow")[0]
    shown = [f"{train:.4f}", f"{train + shift:.4f}", said, f"{test:.4f}", f"{test + shift:.4f}", said]
    assert line.split() == ["slow", "1", *shown]


def test_other_seeds_of_the_convnet_are_not_judged(new_sweep):
    own, *_, other = experiments()["convnet"].trials()
    figures = (own, printed("convnet", -0.001), "completed")
    assert verdict(new_sweep(figures, (other, LOST, "diverged")))[0] == "statistical"
    assert compare_all(new_sweep((own, [], "error"), (other, CALM, "completed"))) == []


def test_a_run_that_was_cut_is_compared_with_the_notebooks_table_up_to_there(new_sweep):
    run, figures, _ = printed_run("slow", -0.001)
    found = verdict(new_sweep((replace(run, epochs=2), figures[:2], "completed")))
    assert found == ("differs", "regime undecided (notebook undecided), final test accuracy -0.0010 (band 0)")


def test_a_chaotic_run_is_never_exact(new_sweep):
    (found,) = compare_all(new_sweep(printed_run("oscillates")))
    assert found.verdict == "statistical"
    assert np.nanmax(found.rows["train_accuracy_difference"].abs()) == 0


def test_rows_show_the_notebooks_own_seed(new_sweep):
    (found,) = compare_all(new_sweep(*runs_of("oscillates", "converged", "oscillating", "diverged")))
    np.testing.assert_array_equal(found.rows["train_accuracy_ours"], CALM)
    assert list(found.others) == ["00001", "00002"]
    np.testing.assert_allclose(found.others["00001"], np.array(OSCILLATING) - 0.01, atol=1e-12)
    assert found.others["00002"].count() == 1


# --- the picture


def test_picture_has_the_other_seeds_of_chaotic_experiments(new_sweep, tmp_path):
    def thin_lines(*runs):
        plot_notebook(compare_all(new_sweep(*runs)), tmp_path / "notebook.png")
        picture = matplotlib.image.imread(tmp_path / "notebook.png")[..., :3]
        return int(np.isclose(picture, to_rgb("#8fb58f"), atol=1e-2).all(axis=-1).sum())

    own, others = runs_of("oscillates", "converged")[0], runs_of("oscillates", *["oscillating"] * 4)[1:]
    assert thin_lines(printed_run("slow"), own) == 0
    assert thin_lines(printed_run("slow"), own, *others) > 20
    assert thin_lines((own[0], [], "error"), *others) > 20


def test_picture_of_the_notebook_against_itself(tmp_path):
    found = []
    for name in ("slow", "converges"):
        rows = section(name).add_suffix("_notebook").join(section(name).add_suffix("_ours"))
        found.append(Comparison(experiments()[name], rows, "exact", ""))
    plot_notebook(found, tmp_path / "notebook.png")
    assert min(matplotlib.image.imread(tmp_path / "notebook.png").shape[:2]) > 300


def test_each_experiment_has_a_panel_with_both_curves(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("mnist_tune.commands.notebook.save", lambda figure, path: drawn.append((figure, path)))
    others = pd.DataFrame({"00001": [0.3, 0.4], "00002": [0.5, 0.6]}, index=[1, 2])
    found = []
    for name in ("slow", "converges", "underfit", "overfit", "oscillates"):
        rows = section(name).add_suffix("_notebook").join((section(name) / 2).add_suffix("_ours"))
        found.append(Comparison(experiments()[name], rows, "exact", "", *[others] * (name == "oscillates")))
    plot_notebook(found, tmp_path / "notebook.png")
    [(figure, path)] = drawn[:1]
    assert path == tmp_path / "notebook.png"
    assert [axis.get_title() for axis in figure.axes if axis.get_visible()] == [
        "slow: exact", "converges: exact", "underfit: exact", "overfit: exact", "oscillates: exact",
    ]  # fmt: skip
    assert len(figure.axes) == 8, "two lines of four"
    for axis, one in zip(figure.axes, found, strict=False):
        lines = {line.get_label(): line.get_ydata().tolist() for line in axis.lines[:4]}
        assert lines == {
            f"{split}, {said}": one.rows[f"{split}_accuracy_{column}"].tolist()
            for split in ("train", "test")
            for said, column in (("notebook", "notebook"), ("ours", "ours"))
        }
    assert [line.get_ydata().tolist() for line in figure.axes[4].lines[4:]] == [[0.3, 0.4], [0.5, 0.6]]
    [legend] = figure.legends
    said = [text.get_text() for text in legend.texts]
    assert said == ["train, notebook", "train, ours", "test, notebook", "test, ours", "test, other seeds"]
    plot_notebook(found[:1], tmp_path / "one.png")
    assert len(drawn[1][0].axes) == 1
