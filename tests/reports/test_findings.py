"""What is true of a sweep: each finding, by its kind."""

from dataclasses import replace

import pytest

from mnist_tune.reports.findings import Kind, findings, nodes, of, spoken, title

AS_RECORDED = "to repeat this sweep, as its folder records it:"


def said(sweep, kind, where=""):
    """The findings of a kind: what each is about, and what it says."""
    return {one.about: one.text for one in of(findings(sweep, where), kind)}


def commands(sweep, where=""):
    """The commands that go on with a sweep or repeat it, each with what it does."""
    return [(one.text, one.command) for one in of(findings(sweep, where), Kind.LEFT, Kind.REPEAT)]


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["sweeps/lr_regimes.py", "--smoke;", "curl x | sh"], "python sweeps/lr_regimes.py '--smoke;' 'curl x | sh'"),
        (["it's", "$(x)", "`x`", "a\\nb"], """'it'"'"'s' '$(x)' '`x`' 'a\\nb'"""),
        ("sweeps/lr_regimes.py --smoke; curl x | sh", None),
        ("it's", None),
        ([], None),
    ],
)
def test_a_recorded_command_is_words_for_the_shell_and_no_more(made_up_sweep, argv, shown):
    """The folder may come from anybody. Older versions recorded a text, which is not shown."""
    sweep = made_up_sweep([0.1])
    found = commands(replace(sweep, meta=sweep.meta | {"command": argv}))
    assert found == [(AS_RECORDED, shown)] * bool(shown)


@pytest.mark.parametrize(
    ("regimes", "figures"),
    [
        (["converged"] * 4 + ["diverged"] * 2, {"largest rate that converges": "1", "none converges from": "3 on"}),
        (["converged"] * 6, {"largest rate that converges": "3", "none converges from": "– (not reached)"}),
        (
            ["converged"] * 3 + ["slow"] + ["diverged"] * 2,
            {"largest rate at which every seed converges": "0.1", "none converges from": "3 on"},
        ),
        (["converged", *["slow"] * 5], {"none converges from": "1 on"}),
        (["slow"] * 6, {}),
        (
            ["converged"] * 4 + ["undecided"] * 2,
            {"largest rate that converges": "1", "none converges from": "– (not reached)"},
        ),
        (
            ["converged"] * 2 + ["undecided", "slow"] + ["diverged"] * 2,  # it ran all its epochs
            {"largest rate that converges": "0.1", "none converges from": "1 on"},
        ),
    ],
)
def test_the_figures_of_one_family(made_up_sweep, regimes, figures):
    sweep = made_up_sweep([0.1, 1, 3], seeds=2)
    accuracies = [0.9, 0.9, 0.8, 0.8, 0.7, 0.7]
    found = said(replace(sweep, trials=sweep.trials.assign(regime=regimes, test_accuracy=accuracies)), Kind.FIGURE)
    best = {"best learning rate": "0.1", "its test accuracy": "0.9000", "not told apart from it": "0 rates"}
    assert found == best | figures


def test_the_title_of_a_page(made_up_sweep):
    names = [f"mlp-{width}-tanh" for width in (5, 4, 3, 2, 1)]
    sweep = made_up_sweep([0.1], architectures=names)
    assert title([sweep], ["it"]) == "mlp-1-tanh, mlp-2-tanh, mlp-3-tanh, mlp-4-tanh and 1 more on mnist-5k"
    assert title([sweep, sweep], ["one", "two"]) == "one · two"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (10.4, "10 s"),
        (59.6, "1 min 0 s"),
        (271, "4 min 31 s"),
        (3599.6, "1 h 0 min"),
        (2 * 3600 + 119, "2 h 1 min"),
        (113_097, "31 h 24 min"),
    ],
)
def test_a_time_as_people_say_it(seconds, said):
    assert spoken(seconds) == said


def test_what_was_not_measured_has_no_line_and_no_number(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    writer.epoch("00000", epoch_row(1, train_s=3.0, eval_s=0, compile_s=0, wait_s=1.0, device=None), False)
    writer.epoch("00001", epoch_row(1, train_s=None, eval_s=None, compile_s=None, wait_s=None), False)
    sweep = writer.finish()
    assert list(said(sweep, Kind.RAN)) == ["trials ended", "time of all trials", "resumed"]
    rows = sorted((row["epochs"], row["epochs a minute"], row["waited"]) for row in nodes(sweep.epochs))
    assert rows == [("1", "–", "25%"), ("1", "–", "–")], "on a device, and on one that is not known"
    nothing = new_writer(tmp_path / "empty").finish()
    assert list(said(nothing, Kind.RAN)) == ["trials ended", "resumed"]
    assert nodes(nothing.epochs) == []
