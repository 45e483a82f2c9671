"""The thresholds of a phase diagram, by hand, the search for the c at which the sharpness rises, and the picture."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from kept_texts import assert_kept

from mnist_tune import UserError
from mnist_tune.commands import phase_diagram
from mnist_tune.commands.phase_diagram import first_steps, open_between, thresholds
from mnist_tune.regimes.families import layers


def tables(rows, sharpness=2.0):
    """One trial a row: learning rate, largest batch loss (the first is 1), loss at the end, sharpness after steps."""
    trials, epochs, measured = [], [], []
    for i, (rate, most, end, later) in enumerate(rows):
        trials.append({"trial_id": str(i), "architecture": "mlp", "seed": 0, "learning_rate": rate})
        row = {"trial_id": str(i), "epoch": 1, "step_loss_first": 1.0, "step_loss_max": most, "train_loss": end}
        epochs.append(row | {"untrained_loss": 1.0, "untrained_sharpness": sharpness if i == 0 else None})
        fewer_images = enumerate([1.1 * sharpness, *(1.1 * one for one in later)])
        measured += [{"trial_id": str(i), "step": step, "sharpness": one} for step, one in fewer_images]
    return pd.DataFrame(trials), pd.DataFrame(epochs), pd.DataFrame(measured)


def test_each_threshold_is_where_it_first_happens():
    rows = [
        (1.0, 1.0, 0.5, [1.9, 2.0]),
        (2.0, 1.0, 1.1, []),  # the last step alone makes it rise
        (3.0, 1.5, 0.5, [1.0, 2.1, 1.0]),
        (4.0, 1e5, 0.5, []),
        (5.0, np.nan, np.nan, [np.nan]),
        (6.0, 1.0, 0.9, []),  # lucky beyond
        (7.0, 1.001e5, 0.9, []),
    ]
    steps = first_steps(*tables(rows))
    assert steps["c"].tolist() == [2, 4, 6, 8, 10, 12, 14]
    assert steps["loss_rises"].tolist() == [False, True, True, True, True, False, True]
    np.testing.assert_equal(steps["sharpness_rises"].tolist(), [0, np.nan, 1, np.nan, 1, np.nan, np.nan])
    assert steps["lost"].tolist() == [False] * 4 + [True, False, True]
    [found] = thresholds(steps.sample(frac=1, random_state=0)).to_dict("records")
    assert found == {"architecture": "mlp", "seed": 0, "sharpness": 2, "c_loss": 4, "c_sharp": 6, "c_max": 8}


def test_what_was_not_reached_is_nan():
    [found] = thresholds(first_steps(*tables([(1.0, 1.0, 0.5, [1.0])]))).to_dict("records")
    assert all(np.isnan(found[name]) for name in ("c_loss", "c_sharp", "c_max"))


@pytest.mark.parametrize("edge", [3.0, 4.4, 6.2, 11.5, 40.0])
def test_the_search_ends_beside_the_edge(edge):
    """Where the sharpness rises from an edge on, within the grid between 0.7 c_loss and the first c that is lost."""
    grid = [float(f"{2 ** (i / 10):.3g}") for i in range(6, 50)]
    sharpness = 3.7
    rows = [(c / sharpness, 1.0 if c < 4 else 2.0 if c < 20 else np.inf, 0.5, []) for c in grid]
    tried = set()
    for _ in range(4):
        more = open_between(first_steps(*tables(rows, sharpness)), grid)
        assert len(more) <= 3
        assert not tried & set(more)
        tried |= set(more)
        rows += [(c / sharpness, 1.0 if c < 4 else 2.0, 0.5, [sharpness + (1 if c >= edge else -1)]) for c in more]
    assert open_between(first_steps(*tables(rows, sharpness)), grid) == []
    found = thresholds(first_steps(*tables(rows, sharpness)))["c_sharp"].item()
    inside = [c for c in grid if c >= max(edge, 2.9)]
    assert found == pytest.approx(inside[0]) if edge < 20 else np.isnan(found)


def test_the_search_goes_on_between_a_fall_and_what_rises_or_is_lost():
    cell = pd.DataFrame(
        {"c": [2.0, 4, 8, 16], "sharpness_rises": [0, np.nan, np.nan, 0], "loss_rises": [False, True, True, True],
         "lost": [False, False, True, False]}
    )  # fmt: skip
    grid = [1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24]
    assert open_between(cell, grid) == [3, 4, 6]
    assert open_between(cell.assign(sharpness_rises=[np.nan, 1, np.nan, np.nan]), grid) == [3], "from 0.7 c_loss on"


def test_only_the_first_epoch_counts_and_each_seed_has_its_own_sharpness():
    trials, epochs, measured = tables([(1.0, 1.0, 0.5, []), (2.0, 1.0, 0.5, []), (4.0, 1.0, 0.5, []), (8.0, 1, 1, [])])
    trials["seed"] = [0, 1, 0, 0]
    epochs["untrained_sharpness"] = [2.0, 3.0, 2.5, 2.0]
    later = epochs.assign(epoch=2, step_loss_max=np.inf, train_loss=np.nan, untrained_sharpness=np.nan)
    found = first_steps(trials, pd.concat([later, epochs[:3]]), measured).set_index("trial_id")
    assert found.index.tolist() == ["0", "1", "2"], "one has not finished its first epoch"
    assert found["sharpness"].tolist() == [2, 3, 2]
    assert found["c"].tolist() == [2, 6, 8]
    assert not found["loss_rises"].any()
    assert not found["lost"].any()


def test_networks_are_sorted_by_their_sizes():
    trials, epochs, measured = tables([(1.0, 1.0, 0.5, [])])
    names = ["mlp-64-64-relu-he", "mlp-128-relu-he", "mlp-64-relu-he", "mlp-64-relu-he"]
    steps = pd.concat([first_steps(trials, epochs, measured).assign(architecture=name) for name in names])
    found = thresholds(steps.assign(seed=[0, 0, 1, 0]))
    assert found["architecture"].tolist() == [names[2], names[2], names[1], names[0]]
    assert found["seed"].tolist() == [0, 1, 0, 0]


def made_up(options, trials):
    """Trials of networks of known sharpness. The loss rises from a c on that grows with the width, the sharpness from
    half as much again. Training is lost from one on that grows with the depth; of deep networks, that of seed 0 and of
    the narrowest is never lost."""
    rows, epochs, measured = [], [], []
    every = options.sharpness_every
    for i, trial in enumerate(trials):
        width, hidden, _ = layers(trial.architecture)
        sharpness, rises = 100 / width + trial.seed, width / 8 + trial.seed + 0.01
        c, one = trial.learning_rate * sharpness, {"trial_id": f"{i}"}
        said = {name: getattr(trial, name) for name in ("architecture", "seed", "learning_rate")}
        rows.append(one | said | {"stop_reason": "completed", "error": "", "c": f"{c:.3g}"})
        lost = c > 8 * hidden + 1 and (hidden < 4 or (trial.seed and width > 16))
        most = math.nan if lost else 2.0 if c > rises else 0.9
        losses = {"step_loss_first": 1.0, "step_loss_max": most, "train_loss": 0.5, "untrained_loss": 1.0}
        before = {"untrained_sharpness": sharpness, "sharpness_steps": "[]"} if every else {"untrained_sharpness": None}
        epochs.append(one | {"epoch": 1} | losses | before)
        later = [sharpness * (2 if c > 1.5 * rises else 0.5)] if every == 1 else []
        measured += [one | {"step": step, "sharpness": value} for step, value in enumerate([sharpness, *later])]
    return SimpleNamespace(
        trials=pd.DataFrame(rows), epochs=pd.DataFrame(epochs), sharpness=lambda: pd.DataFrame(measured)
    )


@pytest.fixture(autouse=True)
def data(monkeypatch):
    """The data of diagrams, as far as they look at them."""
    found = SimpleNamespace(name="mine", train_labels=range(60_000))
    monkeypatch.setattr(phase_diagram, "load_dataset", lambda *_: found)
    return found


def test_a_diagram_from_its_first_sweep_to_its_picture(as_text, main_of, tmp_path, monkeypatch):
    told = []

    def run(name, options, trials):
        how = {one: getattr(options, one) for one in ("train_images", "sharpness_every", "resume", "quiet")}
        options.output.parent.mkdir(exist_ok=True)
        told.append(f"{name} in {options.output}: {how}, given {sorted(options.given)}")
        sweep = made_up(options, trials)
        of = sweep.trials.groupby(["architecture", "seed"], sort=False)["c"].agg(" ".join)
        told.extend(f"  c {c}: {' '.join(f'{name}:{seed}' for name, seed in part.index)}" for c, part in of.groupby(of))
        return sweep

    monkeypatch.setattr(phase_diagram, "run_or_resume", run)
    asked = "--widths 16 32 64 --depths 3 5 --seeds 0 1 --steps 3 --batch-size 32 --c 1:64:13 --output here"
    code, said, notes = main_of(phase_diagram, *asked.split())
    drawn = (tmp_path / "here" / "phase_diagram.png").read_text()
    assert_kept("phase diagram", "\n".join([f"exit code {code}", notes, *told, said, drawn]))
    few = "--widths 16 --depths 3 --seeds 0 --c 1:4:3 --quiet"
    _, said, notes = main_of(phase_diagram, *few.split())
    assert re.search(r"\nPicture: results/phase_diagram/[-\d]{10}_[-\d]{8}/phase_diagram.png\n$", said)
    assert notes == ""


def test_a_diagram_without_any_threshold_has_no_picture(main_of, monkeypatch, tmp_path):
    monkeypatch.setattr(phase_diagram, "run_or_resume", lambda name, options, trials: made_up(options, trials))
    asked = "--widths 64 --depths 3 --seeds 0 --c 1:4:3 --quiet --output here"
    code, said, _ = main_of(phase_diagram, *asked.split())
    assert (code, said.splitlines()[-1]) == (
        0,
        "No threshold lies within --c 1:4:3, so there is no picture; a new diagram may try other values",
    )
    assert not (tmp_path / "here" / "phase_diagram.png").exists()


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (4000, "and mine has 4000; give a --batch-size of at most 400"),
        (9, "and mine has 9; give fewer --steps"),
    ],
)
def test_data_with_too_few_images_are_refused(main_of, data, images, said):
    data.train_labels = range(images)
    with pytest.raises(UserError, match=f"^10 steps of 512 images need 5120 training images, {said}$"):
        main_of(phase_diagram, run_or_resume=None)


@pytest.mark.parametrize("flags", ["--train-images 9", "--sharpness-every 1", "--resume here --train-images 9"])
def test_what_a_diagram_sets_itself_is_refused(main_of, flags):
    with pytest.raises(UserError, match=r"^--(train-images|sharpness-every) is .* here; leave it out$"):
        main_of(phase_diagram, *flags.split())


def test_a_diagram_that_is_not_there_is_not_resumed(main_of):
    with pytest.raises(UserError, match=r"nowhere/untrained"):
        main_of(phase_diagram, "--resume", "nowhere")
