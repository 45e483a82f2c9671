"""What a decision refuses before anything starts, and how many images it holds out."""

from unittest.mock import Mock

import numpy as np
import pytest

from mnist_tune import DecideOptions, TrialConfig, UserError, decide
from mnist_tune.decisions import decide as module


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A function that begins a decision on 4,000 images, and returns its settings. Nothing is trained."""
    labels = np.arange(4200) % 2
    images = np.arange(8400, dtype=np.float32).reshape(4200, 2)
    np.savez(
        tmp_path / "data.npz", x_train=images[:4000], y_train=labels[:4000], x_test=images[4000:], y_test=labels[4000:]
    )

    def begin(**given):
        new = Mock(side_effect=EOFError)
        monkeypatch.setattr(module, "open_sweep", new)
        rates = {"architecture": ("mlp-4-tanh",), "learning_rates": (0.1,)}
        with pytest.raises(EOFError):
            decide(DecideOptions(dataset=str(tmp_path / "data.npz"), **rates | given))
        return new.call_args.kwargs["templates"]

    return begin


@pytest.mark.parametrize(
    ("sizes", "holdout", "leaves_out"),
    [
        ((128, 64), 672, ()),
        ((100, 120), 760, (100, 120)),
        ((1700, 1701), 666, ()),
        ((4000, 2100), 666, ()),
        ((4000, 1700, 32), 666, (32,)),
        ((3300, 33), 700, ()),
    ],
)
def test_about_a_sixth_is_held_out_whatever_the_batch_size(opened, sizes, holdout, leaves_out):
    settings = opened(batch_size=sizes)
    assert {one.holdout for one in settings} == {holdout}
    assert {one.batch_size for one in settings if one.drop_last} == {*leaves_out}
    assert all(one.steps(4000 - holdout) >= 1 for one in settings)


def test_what_is_given_is_held_out_and_left_out(opened):
    assert {one.holdout for one in opened(batch_size=(4000, 100), holdout=9)} == {9}
    assert {one.drop_last for one in opened(batch_size=(64, 32), holdout=850)} == {True}, "3150 images leave 14"
    settings = opened(batch_size=(4000, 1700), drop_last=True)
    assert {one.batch_size: one.drop_last for one in settings} == {4000: False, 1700: True}


@pytest.mark.parametrize("holdout", [-1, 3999, 4000])
def test_images_that_cannot_be_held_out_are_refused_before_they_are_counted(opened, tmp_path, capsys, holdout):
    with pytest.raises(UserError, match=f"{holdout}"):
        decide(
            DecideOptions(
                dataset=str(tmp_path / "data.npz"), learning_rates=(0.1, 0.2), holdout=holdout, label_noise=9,
                output=tmp_path / "new",
            )
        )  # fmt: skip
    assert "comparing" not in "".join(capsys.readouterr())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (DecideOptions, {"trials": 100_000}, "--trials must be a whole number of at least 1 and at most 99971, got"),
        (DecideOptions, {"sweep": "a", "resume": "b"}, "--sweep starts a new decision, and --resume goes on with one"),
    ],
)
def test_what_can_be_no_decision_is_refused_at_the_door(kind, given, said):
    with pytest.raises(UserError, match=f"^{said}"):
        kind(**given)


def test_the_same_command_starts_a_decision_of_a_sweep_and_resumes_it(tmp_path):
    assert DecideOptions(sweep=tmp_path, resume="auto", output=tmp_path).sweep == tmp_path


@pytest.fixture
def own_sweep(new_writer, epoch_row, tmp_path, opened):
    """A function that makes a sweep of two settings that it can't tell apart, of a network of one's own."""

    def make(name):
        writer = new_writer(tmp_path / "sweep", count=0)
        for i, rate in enumerate((0.2, 0.4)):
            trial = TrialConfig(architecture=f"{name}(8)", learning_rate=rate, epochs=10)
            writer.trial(f"{i:05d}", trial)
            for epoch in range(1, 11):
                writer.epoch(f"{i:05d}", epoch_row(epoch, test_accuracy=0.9), False)
            writer.end(f"{i:05d}", "completed")
        writer.finish(ended="then", code=[{"flag": "architecture", "name": name, "files": {}}])
        return writer.path

    return make


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("net.py:mlp", r"name it again: --sweep \S+ --architecture net\.py:mlp, or register it from Python"),
        ("mine", r"register 'mine' again, and give sweep=\.\.\. from Python"),
    ],
)
def test_a_decision_of_a_sweep_of_own_code_says_how_to_name_it_again(own_sweep, name, said):
    with pytest.raises(UserError, match=said):
        decide(DecideOptions(sweep=own_sweep(name)))


def test_a_decision_of_a_sweep_takes_own_code_from_where_it_is_now(own_sweep, tmp_path, monkeypatch):
    sweep = own_sweep("net.py:mlp")
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "net.py").write_text("def mlp(data, width):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DecideOptions, "load", Mock(side_effect=EOFError))
    with pytest.raises(EOFError):
        decide(DecideOptions(sweep=sweep, architecture=("moved/net.py:mlp",)))
    with pytest.raises(UserError, match=r"has no architecture mlp-4-tanh, and with --sweep"):
        decide(DecideOptions(sweep=sweep, architecture=("moved/net.py:mlp", "mlp-4-tanh")))
