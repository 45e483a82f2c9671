"""Sweeps of tasks under Ray: as processes and as lanes, labelled by their losses, resumed and extended."""

from pathlib import Path

import numpy as np
import pytest
from tasks import regression

from mnist_tune import SweepOptions, TrialConfig, UserError, load_sweep, resume_sweep, run_sweep
from mnist_tune.own_code.registry import ENTRIES

pytestmark = pytest.mark.ray

TASKS = Path(__file__).parents[1] / "tasks.py"
RATES = (1e-4, 0.1, 0.5, 3.0)


def trials(epochs=6):
    return [TrialConfig(learning_rate=rate, batch_size=32, epochs=epochs) for rate in RATES]


@pytest.fixture
def folder(tmp_path):
    before = dict(ENTRIES["task"])
    yield tmp_path
    ENTRIES["task"].clear()
    ENTRIES["task"].update(before)


def test_a_task_is_swept_labelled_resumed_and_extended(folder, capsys):
    name = f"{TASKS}:regression(features=3)"
    options = SweepOptions(output=folder / "a", quiet=True, scheduler="fifo")
    sweep = run_sweep("task", trials(), options, task=name)
    regimes = dict(zip(sweep.trials["learning_rate"], sweep.trials["regime"], strict=True))
    assert [regimes[rate] for rate in RATES] == ["slow", "converged", "converged", "diverged"]
    least = sweep.trials.loc[sweep.trials["test_loss"].idxmin()]
    assert str(sweep.answer().headline).startswith(f"Train with {least['learning_rate']}: test loss ")
    assert sweep.trials["test_accuracy"].isna().all()
    sweep.table()
    assert f" {least['test_loss']:.4g} " in capsys.readouterr().out
    kept = sweep.meta["dataset"]
    assert (kept["train_images"], kept["test_images"], kept["guess"], list(kept["scores"])) == (300, 100, 6.0, [])
    lanes = run_sweep(
        "task", trials(), SweepOptions(output=folder / "b", quiet=True, scheduler="fifo", execution="lanes"), task=name
    )
    both = [one.epochs[one.epochs["learning_rate"] < 1] for one in (sweep, lanes)]
    np.testing.assert_allclose(*(one["test_loss"].astype(float) for one in both), rtol=1e-4)
    assert kept["lane_bytes"] == 4 * 8 * 4  # of 8 parameters
    longer = resume_sweep(folder / "a", epochs=8, task=f"{TASKS}:regression", data_memory=1e-6)
    assert longer.epochs.groupby("trial_id")["epoch"].max().tolist() == [8, 8, 8, 1]
    again = longer.epochs.set_index(["trial_id", "epoch"])["test_loss"].loc[both[0]["trial_id"].unique().tolist()]
    known = both[0].set_index(["trial_id", "epoch"])["test_loss"]
    np.testing.assert_array_equal(again.loc[known.index].astype(float), known.astype(float))


def test_a_task_may_be_given_from_python_and_mistakes_make_no_folder(folder):
    options = SweepOptions(output=folder / "a", quiet=True)
    sweep = run_sweep("task", trials(2)[1:2], options, task=regression())
    assert sweep.trials["test_loss"].item() < 6
    assert load_sweep(folder / "a").trials["stop_reason"].tolist() == ["completed"]
    resume_sweep(folder / "a", epochs=3, quiet=True, task=regression())
    best = load_sweep(folder / "a").load()
    assert (best.row["epoch"], best.params["w"].shape, best.state) == (3, (5, 2), ())
    assert f"epoch 3: test loss {best.row['test_loss']:.4f}; " in repr(best)
    with pytest.raises(UserError, match="only networks predict classes"):
        best.predict([[1.0]])
    for wrong, said in (
        ({"task": f"{TASKS}:regresion"}, "has no function 'regresion'; did you mean 'regression'"),
        (
            {"task": f"{TASKS}:regression", "dataset": "digits"},
            "--dataset is for networks on labelled data",
        ),
        ({"task": f"{TASKS}:regression", "target": 0.9}, "--target is for networks on labelled data"),
        ({"task": f"{TASKS}:regression(features='x')"}, "data fails, TypeError"),
    ):
        with pytest.raises(UserError, match=said):
            run_sweep("task", trials(2), SweepOptions(output=folder / "b", quiet=True, **wrong))
        assert not (folder / "b").exists()
