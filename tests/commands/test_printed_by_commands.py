"""What commands print and write once trials have run: `main` of each, with a made-up
sweep in place of training."""

import sys
from unittest.mock import Mock

import pytest
from changed_sweeps import with_trials

from mnist_tune import UserError, storage
from mnist_tune.commands import edge, lr_regimes, show
from validation import notebook


@pytest.fixture
def command(main_of):
    """`main_of` of what ends well: it returns what was printed."""

    def call(module, *arguments, **run):
        code, text, _ = main_of(module, *arguments, **run)
        assert code == 0
        return text

    return call


def test_a_smoke_test_is_small(command, monkeypatch, made_up_sweep):
    run = Mock(return_value=made_up_sweep([0.1]))
    monkeypatch.setattr(lr_regimes, "run_or_resume", run)
    command(lr_regimes, "--smoke")
    trials = run.call_args.args[0].trials()
    assert [trial.epochs for trial in trials] == [3] * 4
    assert {trial.architecture for trial in trials} == {"mlp-16-tanh"}


def test_show_keeps_the_test_set_of_a_search_closed(
    command, made_up_sweep, monkeypatch
):
    """Trials that are compared on images held out; what was found on the test set is
    said of the winner alone."""
    sweep = made_up_sweep([0.1, 0.2], seeds=3, holdout=100)
    sweep.trials["validation_accuracy"] = 0.9
    sweep.trials["validation_loss"] = 0.3
    sweep.epochs["validation_accuracy"] = 0.9
    sweep.meta.update(name="search", search=True)
    monkeypatch.setattr(show, "load_sweep", lambda path: sweep)
    text = command(show, sweep.path).split("\nResults: ")[0]
    assert "held-out acc" in text
    assert "test" not in text


def test_edge_draws_what_was_measured(command, edge_sweep, as_text):
    text = command(edge, search_edge=edge_sweep)
    [measured] = edge_sweep.edges()
    half = f"50% at {measured.rate(0.5)}"
    assert half in text
    assert "edge.png" in text
    assert half in (edge_sweep.path / "edge.png").read_text()


def test_notebook_prints_and_draws_the_comparison(command, made_up_sweep, as_text):
    sweep = made_up_sweep([0.01, 0.1], seeds=2)
    labels = ["converges", "converges", "convnet", "convnet"]
    text = command(notebook, run_or_resume=with_trials(sweep, label=labels))
    picture = sweep.path / "notebook.png"
    assert "notebook.png" in text
    assert text.count("\nconverges: ") == 1  # the verdicts
    assert text.count("\nconvnet: ") == 1
    assert "convnet: differs" in picture.read_text()
    assert text.startswith("A line for each setting, ")
    picture.unlink()
    command(notebook, run_or_resume=with_trials(sweep, label="of another sweep"))
    assert not picture.exists()


@pytest.mark.parametrize("module", [lr_regimes, notebook])
@pytest.mark.parametrize(("ended", "code"), [("interrupted", 130), ("error", 1)])
def test_a_command_ends_with_the_code_of_its_trials(
    module, ended, code, made_up_sweep, monkeypatch
):
    sweep = made_up_sweep([0.1, 1])
    ended_sweep = with_trials(sweep, stop_reason=["completed", ended], error="")
    monkeypatch.setattr(module, "run_or_resume", lambda options: ended_sweep)
    monkeypatch.setattr(sys, "argv", ["a_command"])
    assert module.main() == code


def test_show_draws_a_picture(command, edge_sweep, as_text, tmp_path):
    path = edge_sweep.path
    text = command(show, path, "--picture", "mine.png")
    assert "Picture: mine.png" in text
    assert (tmp_path / "mine.png").exists()
    refusal = "a picture is of one sweep; --page takes several"
    with pytest.raises(UserError, match=refusal):
        command(show, path, path, "--picture", "mine.png")


def test_show_writes_a_page_of_one_sweep_or_several(
    command, made_up_sweep, edge_sweep, bucket, tmp_path
):
    sweep = made_up_sweep([0.1, 1])
    text = command(show, sweep.path, edge_sweep.path, "--page", "both.html")
    assert text.count("\nResults: ") == 2
    assert text.endswith("\nPage: both.html\n")
    assert (tmp_path / "both.html").read_text().count("mlp-4-tanh")
    page = storage.join(bucket, "page.html")
    command(show, sweep.path, "--page", page)
    assert b"<title>mlp-4-tanh on mnist-5k" in storage.read(page)
    with pytest.raises(UserError, match="name the folder of a sweep"):
        command(show)
