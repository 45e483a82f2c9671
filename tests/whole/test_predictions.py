"""Networks of one's own in a sweep: other processes train them though they don't see
their files, and what was trained predicts on new images, in another process and another
folder, by the lines that the docs show."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from changed_sweeps import with_meta, with_trials
from own_networks import PAGE, write_networks
from text_tables import barred_rows

from mnist_tune import SweepOptions, UserError, load_sweep, run_sweep
from mnist_tune.commands import predict
from mnist_tune.own_code.loading import load_own
from mnist_tune.own_code.registry import ENTRIES

COUNT = 240


def images(seed):
    """Return colour images as uint8 of three classes, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, COUNT)
    centres = np.random.default_rng(9).integers(60, 190, (3, 8, 8, 3))
    noise = rng.integers(-60, 60, (COUNT, 8, 8, 3))
    return (centres[labels] + noise).astype(np.uint8), labels


FIRST_LINES = r"```python\n(from mnist_tune import load_sweep\n\nbest = .*?)```"
RECIPE = re.search(FIRST_LINES, PAGE.read_text(), re.DOTALL)[1]


def recipe_for(sweep, trial_id, network):
    """Return the lines of the docs for a trial of a sweep."""
    lines = RECIPE.replace("results/lr_regimes", str(sweep.path))
    lines = lines.replace(".load(", f".load({trial_id!r}, ")
    if ":" in network:
        return lines.replace("net.py:mlp", network)
    return re.sub(r"code=\S+\)", ")", lines)


QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""XLA's flags: compile quickly, to slower code."""


def predicted_elsewhere(script, x, folder):
    """Return the classes that a script finds for images, in another process and
    folder."""
    np.savez(folder / "images.npz", x=x)
    load = 'import numpy as np\nimages = np.load("images.npz")["x"]\n'
    save = 'np.save("classes.npy", predicted)'
    done = subprocess.run(
        [sys.executable, "-c", load + script + save],
        cwd=folder,
        env=os.environ | {"XLA_FLAGS": QUICK},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "classes.npy")


@pytest.mark.ray(apart=True)
@pytest.mark.promise(
    "Other processes train your network though they don't see its file"
)
@pytest.mark.promise(
    "Predictions are those of the evaluation, also in another process and folder"
)
@pytest.mark.parametrize("execution", ["process", "lanes"])
def test_networks_train_unseen_and_their_predictions_are_those_of_the_evaluation(
    as_users_have_it, one_core, execution, tmp_path
):
    folder = tmp_path / "code"
    elsewhere = tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    written = {name.rpartition("/")[2]: name for name in write_networks(folder)}
    own = [written["equinox_net.py:CNN"], written["batch_norm_net.py:cnn"]]
    built_in = []
    if execution == "process":
        own.append(written["net.py:mlp"])
        built_in = ["mlp-8-tanh", "stax-mlp"]
    load_own({"architecture": own})
    unseen = tmp_path / "unseen"
    folder.rename(unseen)
    test_images, test_labels = images(1)
    options = SweepOptions(
        dataset=(*images(0), test_images, test_labels),
        output=tmp_path / "sweep",
        scheduler="fifo",
        execution=execution,
        standardize=True,
        keep_best=True,
        quiet=True,
    )
    names = own + built_in
    shared = {"learning_rate": 0.1, "batch_size": 20, "epochs": 2}
    sweep = run_sweep("kinds", {"architecture": names} | shared, options)
    assert set(sweep.trials["stop_reason"]) == {"completed"}
    assert sorted(code["name"] for code in sweep.meta["code"]) == sorted(own)
    unseen.rename(folder)
    assert sweep.load().trial.architecture == sweep.best()["architecture"][0]

    script = "predicted = []\n"
    for name, trial_id in zip(names, sweep.trials["trial_id"], strict=True):
        script += recipe_for(sweep, trial_id, name) + "predicted.append(classes)\n"
    if execution == "process":
        predicted = predicted_elsewhere(script, test_images, elsewhere)
        tolerance = 0.01
    else:
        variables = {"images": test_images}
        exec(script, variables)
        predicted = variables["predicted"]
        tolerance = 2.01
    right = (np.asarray(predicted) == test_labels).sum(axis=1)
    off = abs(right - sweep.trials["test_accuracy"] * COUNT)
    assert off.max() <= tolerance
    assert right.min() > COUNT / 3
    check_best_epochs(sweep, test_images, test_labels, tolerance)


def check_best_epochs(sweep, x, labels, tolerance):
    """What is loaded of the best epoch predicts as that epoch was evaluated; if it is
    not the one that was kept, that is said."""
    for trial_id, rows in sweep.epochs.groupby("trial_id"):
        best = sweep.load(trial_id, epoch="best")
        row = rows.loc[rows["validation_accuracy"].idxmax()]
        assert best.row["epoch"] == row["epoch"]
        right = (best.predict(x) == labels).sum()
        assert abs(right - row["test_accuracy"] * COUNT) <= tolerance
        if best.trial.architecture.endswith("equinox_net.py:CNN"):
            assert best.module is not None
    others = sweep.epochs.assign(step=sweep.epochs["step"] + 1)
    with pytest.raises(UserError, match=r"best epoch of trial .* was not kept, but"):
        replace(sweep, epochs=others).load(trial_id, epoch="best")
    with pytest.raises(UserError, match="epoch must be 'last' or 'best', got 3"):
        sweep.load(trial_id, epoch=3)
    options = sweep.meta["options"] | {"keep_best": False}
    with pytest.raises(UserError, match="kept no best epochs; --keep-best does"):
        with_meta(sweep, options=options).load(trial_id, epoch="best")


WRONG_IMAGES = r"""
    x / 255                  | of type float64, 0 to 0.9.*, it was trained on whole numbers from 0 to 255; give x as it is stored
    np.ma.masked_equal(x, 0) | x has masked values; say what they are, such as x.filled\(0\)
    x[0]                     | x has shape \[8, 8, 3\], it was trained on \[n, 8, 8, 3\]; of one example, give x\[None\]
    x[:, :7]                 | x has shape \[240, 7, 8, 3\], it was trained on \[n, 8, 8, 3\]$
    x + 200.0                | of type float64
    x[:0]                    | give at least one example
    x * np.nan               | x holds NaN or infinity in example 0
    x.astype(int) - 9        | of type int64, -9 to .*; give x as it is stored
"""
"""What may be given for images, and how it is refused."""


def check_types_of_images(network, x):
    """Images of other types are classified as training does, or refused."""
    dark = np.minimum(x, 250) * (x > 100)
    for wrong, refusal in barred_rows(WRONG_IMAGES):
        with pytest.raises(UserError, match=refusal):
            network.predict(eval(wrong, {"np": np, "x": dark}))
    classes = network.predict(x)
    assert (network.predict(x.astype(int)) == classes).all()
    assert (network.predict(x.astype(float)) == classes).all()


def check_trials_that_cannot_be_loaded(sweep):
    waiting = sweep.trials.assign(stop_reason="waiting")
    copies = [waiting.assign(trial_id=f"{number:05d}") for number in range(13)]
    many = replace(sweep, trials=pd.concat(copies))
    with pytest.raises(UserError, match="has no trial '12'; did you mean '00012'"):
        many.load("12")
    with pytest.raises(
        UserError, match="no state of trial 00012 has been saved so far"
    ):
        many.load("00012")
    with pytest.raises(UserError, match=r"is known to be best$"):
        replace(many, trials=many.trials[:0]).load(None)


@pytest.mark.ray
@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
def test_code_is_what_was_recorded_or_is_named(
    as_users_have_it, one_core, tmp_path, monkeypatch, capsys
):
    x, y = images(0)
    file = tmp_path / "net.py"
    name = f"{file}:mlp"
    assert name in write_networks(tmp_path)
    folder = tmp_path / "sweep"
    options = SweepOptions(
        dataset=(x, y, x, y), output=folder, keep_best=True, quiet=True
    )
    config = {"architecture": f"{name}(width=8)", "epochs": 1, "batch_size": 20}
    run_sweep("own", config, options)

    def forget():
        """Load the sweep as another process does, which knows no code."""
        for table in ENTRIES.values():
            table.clear()
        return load_sweep(folder)

    assert forget().load().params["output"][1].shape == (3,)
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another user"))
        with pytest.raises(UserError, match=r"not signed by you; .*trust_code=True"):
            forget().load()

    sweep = forget()
    code = [entry | {"name": "plain"} for entry in sweep.meta["code"]]
    plain = with_meta(with_trials(sweep, architecture="plain"), code=code)
    unregistered = r"register it first, register\('plain'\)\(function\)"
    with pytest.raises(UserError, match=rf"{unregistered}, or .*code=function\)$"):
        plain.load("00000", code="plain")
    with pytest.raises(UserError, match="did not train"):
        forget().load(code=f"{tmp_path / 'linen_net.py'}:CNN")

    moved = tmp_path / "moved" / "net.py"
    moved.parent.mkdir()
    moved.write_text(file.read_text())
    best = forget().load(code=f"{moved}:mlp")
    assert best.params["output"][1].shape == (3,)
    check_types_of_images(best, x)
    check_trials_that_cannot_be_loaded(sweep)

    classes = best.predict(x)
    np.save(tmp_path / "new.npy", x)
    command = f"predict {tmp_path}/sweep {tmp_path}/new.npy --architecture {moved}:mlp"
    monkeypatch.setattr("sys.argv", command.split())
    monkeypatch.chdir(tmp_path)
    predict.main()
    assert np.loadtxt("classes.csv", skiprows=1).tolist() == classes.tolist()
    accuracy = (classes == y).mean()
    # of a trial of one epoch
    monkeypatch.setattr("sys.argv", [*command.split(), "--epoch", "best"])
    predict.main()
    assert np.loadtxt("classes.csv", skiprows=1).tolist() == classes.tolist()
    last_line = f"test accuracy {accuracy:.4f}, of {tmp_path}/sweep\n"
    assert capsys.readouterr().out.endswith(last_line)

    file.write_text(file.read_text().replace("tanh", "sin"))
    change = r"first in line 21: x = jnp.sin.*--changed-code"
    with pytest.raises(UserError, match=rf"net.py has changed since .*, {change}"):
        forget().load(code=name)
    assert (forget().load().logits(x) == best.logits(x)).all()
    changed = forget().load(code=name, changed_code=True)
    assert (changed.logits(x) != best.logits(x)).any()
