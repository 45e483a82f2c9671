"""What a new sweep writes down, notes and tries before it starts."""

import json
from dataclasses import replace

import pytest
from own_networks import patterns

from mnist_tune import TrialConfig, UserError
from mnist_tune.own_code.registry import ENTRIES, register
from mnist_tune.training.network import Network
from mnist_tune.tuning import opening
from mnist_tune.tuning.opening import open_again, open_new
from mnist_tune.tuning.options import SweepOptions


def test_a_sweep_without_output_goes_to_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = {"00000": TrialConfig(architecture="mlp-4-tanh")}
    writer, _ = open_new("mine", trials, SweepOptions(dataset="mnist-5k", quiet=True))
    writer.finish()
    assert writer.path.parent == tmp_path / "results" / "mine"


def test_the_sweep_json_of_a_search_holds_its_options_and_no_trials(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    options = SweepOptions(dataset=patterns((4, 3), 3), output=tmp_path / "sweep", address="local", train_images=90)
    open_new("mine", {}, options, search=True, templates=[TrialConfig(architecture="mlp-4-tanh", batch_size=8)])[
        0
    ].finish()
    meta = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert (meta["name"], meta["search"], meta["trials"], meta["code"]) == ("mine", True, {}, [])
    asked = {name: meta["options"][name] for name in ("dataset", "output", "address", "train_images", "lanes")}
    sweep = str(tmp_path / "sweep")
    assert asked == {"dataset": "arrays", "output": sweep, "address": None, "train_images": 90, "lanes": None}
    assert (sum(meta["dataset"]["label_counts"]), meta["dataset"]["shape"]) == (90, [4, 3])


def test_a_search_tries_and_records_all_code_that_it_may_propose_and_its_resume_wants_it(tmp_path, monkeypatch):
    for name in ("mine", "of another search"):
        register(name)(lambda data: Network(lambda key: {}, lambda params, images: images))
    tried, started, data = [], [], patterns((4, 3), 3)
    monkeypatch.setattr(opening, "start_ray", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(opening, "check_networks", lambda trials, dataset: tried.append((trials, started[:])))
    options = SweepOptions(dataset=data, output=tmp_path / "sweep", max_concurrent=3, quiet=True)
    writer, _ = open_new("search", {}, options, search=True, code={"architecture": ["mine", "mlp-4-tanh"]})
    writer.finish()
    assert [(one["flag"], one["name"]) for one in writer.meta["code"]] == [("architecture", "mine")]
    assert tried == [([], [(None, 3, False)])]
    ENTRIES["architecture"].pop("mine")
    with pytest.raises(UserError, match=f"name it again: --resume {tmp_path}/sweep --architecture mine, or register"):
        open_again(tmp_path / "sweep", SweepOptions(dataset=data, quiet=True), search=True)


@pytest.mark.parametrize(
    ("sizes", "fields", "said"),
    [
        ([30, 48, 48], {}, "4 of 48"),  # 30 leave 10, more than a quarter
        ([48, 60, 33], {}, "1 of 33 or 4 of 48"),
        ([48, 60, 33], {"drop_last": True}, ""),
        ([40, 20, 100], {}, ""),
        ([33], {"holdout": 1}, ""),
        ([80], {"holdout": 90}, ""),  # an epoch is one batch
    ],
)
def test_a_small_last_batch_is_noted_once(tmp_path, capsys, sizes, fields, said):
    trials = {f"{i:05d}": TrialConfig(architecture="mlp-4-tanh", batch_size=n, **fields) for i, n in enumerate(sizes)}
    options = SweepOptions(dataset=patterns((4, 3), 3), train_images=100, output=tmp_path / "sweep")
    open_new("mine", trials, options)[0].finish()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == bool(said)
    assert all(line.startswith(f"note: the last batch of an epoch has {said} images; ") for line in lines)


def test_a_sweep_that_would_drop_its_only_batch_is_refused(tmp_path):
    trial = TrialConfig(architecture="mlp-4-tanh", batch_size=60, holdout=50)
    options = SweepOptions(dataset=patterns((4, 3), 3), train_images=100, output=tmp_path / "sweep", quiet=True)
    with pytest.raises(UserError, match="batch_size=60, label_noise=0 and holdout=50 don't fit with drop_last"):
        open_new("mine", {"00000": replace(trial, drop_last=True)}, options)
    open_new("mine", {"00000": trial}, options)[0].finish()


@pytest.mark.parametrize(("warmup", "notes"), [(5, 0), (6, 1), (9, 1)])
def test_a_warmup_as_long_as_the_training_is_noted_once(tmp_path, capsys, warmup, notes):
    """An epoch has two steps: 40 of the 100 images are held out, and a batch has 30."""
    trial = TrialConfig(architecture="mlp-4-tanh", batch_size=30, epochs=3, holdout=40, warmup_steps=warmup)
    options = SweepOptions(dataset=patterns((4, 3), 3), train_images=100, output=tmp_path / "sweep")
    open_new("mine", {"00000": trial, "00001": trial}, options)[0].finish()
    note = f"note: a trial has 6 steps, and warms up for {warmup}; its rate stays below"
    assert capsys.readouterr().err.splitlines() == [note] * notes
