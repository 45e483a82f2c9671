"""Between which settings a decision is, on which data, and what is refused."""

import json

import pytest

import mnist_tune.decisions.decide as module
from mnist_tune import DecideOptions, TrialConfig, UserError, decide
from mnist_tune.data.dataset import load_dataset


@pytest.fixture
def begun(monkeypatch):
    """Return for a decision, in place of training, what it has recorded."""
    monkeypatch.setattr(module, "start_ray", lambda *given: None)
    monkeypatch.setattr(module, "processes", lambda options: 2)
    monkeypatch.setattr(module, "shown", lambda found, options: found)
    monkeypatch.setattr(module, "run_searcher", lambda opened, *rest: opened.writer.meta["options"])


@pytest.fixture
def swept(new_writer, epoch_row, tmp_path):
    """A sweep that can't tell 0.2 and 0.4 apart, on 3,000 images; 8 diverged."""
    writer = new_writer(tmp_path / "sweep", count=0)
    writer.update_options(dataset="mnist-5k", train_images=3000, standardize=True, target=0.9, lanes=3)
    writer.meta["dataset"]["checksums"] = load_dataset("mnist-5k").checksums
    for i, rate in enumerate((0.2, 0.4, 8.0)):
        writer.trial(f"{i:05d}", TrialConfig(architecture="mlp-4-tanh", learning_rate=rate, epochs=7, label="a label"))
        for epoch in range(1, 2 if rate == 8 else 8):
            writer.epoch(f"{i:05d}", epoch_row(epoch, test_accuracy=0.9, diverged=rate == 8), False)
        writer.end(f"{i:05d}", "diverged" if rate == 8 else "completed")
    writer.finish(ended="then")
    return writer.path


def contenders(options):
    return [TrialConfig.from_dict(one) for one in options["contenders"]]


def test_settings_are_crossed_and_as_many_images_held_out_as_leave_whole_batches(begun, tmp_path, capsys):
    small = {"dataset": "mnist-5k", "architecture": ("mlp-4-tanh",), "learning_rates": (0.1, 0.2), "epochs": 2}
    found = contenders(decide(DecideOptions(output=tmp_path / "new", batch_size=(100, 120), **small)))
    assert [(one.batch_size, one.learning_rate) for one in found] == [(100, 0.1), (100, 0.2), (120, 0.1), (120, 0.2)]
    assert {(one.holdout, one.epochs, one.drop_last) for one in found} == {(760, 2, True)}
    assert "comparing 4 settings on 760 of 4000 training images, which are held out" in capsys.readouterr().err


def test_those_of_a_sweep_are_trained_as_there(begun, swept, tmp_path):
    options = decide(DecideOptions(sweep=swept, output=tmp_path / "new"))
    assert [one.learning_rate for one in contenders(options)] == [0.2, 0.4]
    assert {(one.epochs, one.label, one.architecture) for one in contenders(options)} == {(7, "", "mlp-4-tanh")}
    recorded = ("dataset", "train_images", "standardize", "target", "chosen_by")
    assert [options[name] for name in recorded] == ["mnist-5k", 3000, True, 0.9, "test"]
    assert options["lanes"] is None, "how it runs is its own"
    fewer = decide(DecideOptions(sweep=swept, output=tmp_path / "fewer", train_images=2000, holdout=9))
    assert (fewer["train_images"], {one.holdout for one in contenders(fewer)}) == (2000, {9})


@pytest.mark.parametrize("drop_last", [False, True])
def test_settings_that_held_out_images_treat_the_last_batch_as_there(begun, tmp_path, drop_last):
    """3,150 images leave 14 of 64: a search trained these, and its decision did not."""
    searched = [TrialConfig(learning_rate=one, holdout=850, batch_size=64, drop_last=drop_last) for one in (0.1, 0.2)]
    options = DecideOptions(output=tmp_path / "new", dataset="mnist-5k", holdout=850)
    found = contenders(module.decide_between(options, searched))
    assert {(one.holdout, one.drop_last) for one in found} == {(850, drop_last)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"learning_rates": ()}, "a decision needs two settings"),
        ({"learning_rates": (0.1,)}, "a decision needs two settings"),
        (
            {"learning_rates": ("0.1:1:3",), "trials": 5},
            "3 settings are too many for a decision: at most 200, and half",
        ),
        ({"learning_rates": ("0.1:1:201",), "trials": 1000}, "201 settings are too many"),
    ],
)
def test_lists_that_are_no_decision_are_refused(given, said, begun, tmp_path):
    with pytest.raises(UserError, match=said):
        decide(DecideOptions(output=tmp_path / "new", dataset="mnist-5k", architecture=("mlp-4-tanh",), **given))


@pytest.mark.parametrize(
    "given",
    [
        {"learning_rates": (0.1, 0.2)}, {"epochs": 3}, {"batch_size": (3,)}, {"momentum": (0.5,)}, {"nesterov": True},
        {"weight_decay": 0.1}, {"schedule": "cosine"}, {"loss": "mse"}, {"label_noise": 9}, {"clip_norm": 1.0},
        {"warmup_steps": 3}, {"stop_when_diverged": False}, {"optimizer": ("adam",)}, {"architecture": ("mlp-8-tanh",)},
    ],
)  # fmt: skip
def test_with_a_sweep_settings_are_those_of_the_sweep(given, begun, swept, tmp_path):
    with pytest.raises(UserError, match="settings are those of the sweep"):
        decide(DecideOptions(sweep=swept, output=tmp_path / "new", **given))


def test_a_sweep_on_other_data_or_on_arrays_is_refused(begun, swept, tmp_path):
    file = swept / "sweep.json"
    recorded = json.loads(file.read_text())
    for changed, said in (
        ({"options": recorded["options"] | {"dataset": "arrays"}}, "was trained on arrays from Python"),
        ({"dataset": recorded["dataset"] | {"name": "those", "checksums": {"a": "b"}}}, "on other data .those."),
    ):
        file.write_text(json.dumps(recorded | changed))
        with pytest.raises(UserError, match=said):
            decide(DecideOptions(sweep=swept, output=tmp_path / "new"))
    with pytest.raises(UserError, match="was made by something else; resume it with: "):
        decide(DecideOptions(resume=swept))
