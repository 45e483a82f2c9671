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
from own_networks import PAGE, write_networks

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
    return (centres[labels] + rng.integers(-60, 60, (COUNT, 8, 8, 3))).astype(
        np.uint8
    ), labels


RECIPE = re.search(
    r"```python\n(from mnist_tune import load_sweep\n\nbest = .*?)```",
    PAGE.read_text(),
    re.S,
)[1]


def predicted_elsewhere(script, x, folder):
    """Return the classes that a script finds for images, in another process and
    folder."""
    np.savez(folder / "images.npz", x=x)
    whole = f'import numpy as np\nimages = np.load("images.npz")["x"]\n{script}np.save("classes.npy", found)'
    quick = {
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    }
    done = subprocess.run(
        [sys.executable, "-c", whole],
        cwd=folder,
        env=os.environ | quick,
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
    data, folder, elsewhere = (
        (*images(0), *images(1)),
        tmp_path / "code",
        tmp_path / "elsewhere",
    )
    folder.mkdir()
    elsewhere.mkdir()
    shown = {name.rpartition("/")[2]: name for name in write_networks(folder)}
    names = [shown["equinox_cnn.py:cnn"], shown["batch_norm_net.py:cnn"]]
    names += (
        [shown["net.py:mlp"], "mlp-8-tanh", "stax-mlp"]
        if execution == "process"
        else []
    )
    own = [name for name in names if ":" in name]
    load_own({"architecture": own})
    folder.rename(tmp_path / "unseen")
    asked = {"architecture": names, "learning_rate": 0.1, "batch_size": 20, "epochs": 2}
    how = {
        "scheduler": "fifo",
        "execution": execution,
        "standardize": True,
        "quiet": True,
    }
    sweep = run_sweep(
        "kinds", asked, SweepOptions(dataset=data, output=tmp_path / "sweep", **how)
    )
    assert set(sweep.trials["stop_reason"]) == {"completed"}
    assert sorted(one["name"] for one in sweep.meta["code"]) == sorted(own)
    (tmp_path / "unseen").rename(folder)
    assert sweep.load().trial.architecture == sweep.best()["architecture"][0]
    script = "found = []\n"
    for name, trial_id in zip(names, sweep.trials["trial_id"], strict=True):
        lines = RECIPE.replace("results/lr_regimes", str(sweep.path)).replace(
            ".load(", f".load({trial_id!r}, "
        )
        lines = (
            lines.replace("net.py:mlp", name)
            if ":" in name
            else re.sub(r"code=\S+\)", ")", lines)
        )
        script += lines + "found.append(classes)\n"
    if execution == "process":
        found = predicted_elsewhere(script, data[2], elsewhere)
    else:
        exec(script, there := {"images": data[2]})
        found = there["found"]
    right = (np.asarray(found) == data[3]).sum(axis=1)
    off = abs(right - sweep.trials["test_accuracy"] * COUNT)
    assert off.max() <= (0.01 if execution == "process" else 2.01)
    assert right.min() > COUNT / 3


@pytest.mark.ray
@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
def test_code_is_what_was_recorded_or_is_named(
    as_users_have_it, one_core, tmp_path, monkeypatch, capsys
):
    x, y = images(0)
    file = tmp_path / "net.py"
    [name] = [one for one in write_networks(tmp_path) if one == f"{file}:mlp"]
    options = SweepOptions(dataset=(x, y, x, y), output=tmp_path / "sweep", quiet=True)
    asked = {"architecture": f"{name}(width=8)", "epochs": 1, "batch_size": 20}
    run_sweep("own", asked, options)

    def forget():
        for known in ENTRIES.values():
            known.clear()
        return load_sweep(tmp_path / "sweep")

    assert forget().load().params["output"][1].shape == (3,)
    with monkeypatch.context() as other:
        other.setenv("XDG_CONFIG_HOME", str(tmp_path / "another user"))
        with pytest.raises(UserError, match=r"not signed by you; .*trust_code=True"):
            forget().load()
    found = forget()
    code = [one | {"name": "plain"} for one in found.meta["code"]]
    plain = replace(
        found,
        trials=found.trials.assign(architecture="plain"),
        meta=found.meta | {"code": code},
    )
    with pytest.raises(
        UserError,
        match=r"register it first, register\('plain'\)\(function\), or .*code=function\)$",
    ):
        plain.load("00000", code="plain")
    with pytest.raises(UserError, match="did not train"):
        forget().load(code=f"{tmp_path / 'linen_net.py'}:mlp")
    moved = tmp_path / "moved" / "net.py"
    moved.parent.mkdir()
    moved.write_text(file.read_text())
    best = forget().load(code=f"{moved}:mlp")
    assert best.params["output"][1].shape == (3,)
    for wrong, said in {
        "x / 255": "of type float64, 0 to 0.9.*, it was trained on whole numbers from 0 to 255; give x as it is stored",
        "np.ma.masked_equal(x, 0)": r"x has masked values; say what they are, such as x.filled\(0\)",
        "x[0]": r"x has shape \[8, 8, 3\], it was trained on \[n, 8, 8, 3\]; of one example, give x\[None\]",
        "x[:, :7]": r"x has shape \[240, 7, 8, 3\], it was trained on \[n, 8, 8, 3\]$",
        "x + 200.0": "of type float64",
        "x[:0]": "give at least one example",
        "x * np.nan": "x holds NaN or infinity in example 0",
        "x.astype(int) - 9": "of type int64, -9 to .*; give x as it is stored",
    }.items():
        with pytest.raises(UserError, match=said):
            best.predict(eval(wrong, {"np": np, "x": np.minimum(x, 250) * (x > 100)}))
    assert (best.predict(x.astype(int)) == best.predict(x)).all()
    assert all(
        (best.predict(x.astype(kind)) == best.predict(x)).all() for kind in (int, float)
    ), "as training does"
    many = pd.concat(
        [
            found.trials.assign(trial_id=f"{i:05d}", stop_reason="waiting")
            for i in range(13)
        ]
    )
    for trials, asked, said in (
        (many, "12", "has no trial '12'; did you mean '00012'"),
        (many, "00012", "no state of trial 00012 has been saved so far"),
        (many[:0], None, r"is known to be best$"),
    ):
        with pytest.raises(UserError, match=said):
            replace(found, trials=trials).load(asked)
    np.save(tmp_path / "new.npy", x)
    monkeypatch.setattr(
        "sys.argv",
        f"predict {tmp_path}/sweep {tmp_path}/new.npy --architecture {moved}:mlp".split(),
    )
    monkeypatch.chdir(tmp_path)
    predict.main()
    assert np.loadtxt("classes.csv", skiprows=1).tolist() == best.predict(x).tolist()
    assert capsys.readouterr().out.endswith(
        f"test accuracy {(best.predict(x) == y).mean():.4f}, of {tmp_path}/sweep\n"
    )
    file.write_text(file.read_text().replace("tanh", "sin"))
    with pytest.raises(
        UserError,
        match=r"net.py has changed since .*, first in line 21: x = jnp.sin.*--changed-code",
    ):
        forget().load(code=name)
    assert (forget().load().logits(x) == best.logits(x)).all()
    changed = forget().load(code=name, changed_code=True)
    assert (changed.logits(x) != best.logits(x)).any()
