"""What is true of a sweep: each finding, by its kind."""

from dataclasses import replace

import pandas as pd
import pytest

from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.labels import label_trials
from mnist_tune.reports.answer import answer
from mnist_tune.reports.findings import notes, ran, repeated, so_far, spoken, title

AS_RECORDED = "to repeat this sweep, as its folder records it:"


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
    found = [*repeated(replace(sweep, meta=sweep.meta | {"command": argv}))]
    assert found == [(AS_RECORDED, shown)] * bool(shown)


def test_a_running_sweep_says_how_far_it_is():
    trials = pd.DataFrame({"stop_reason": ["completed", "error", "running", "running", "waiting"]})
    assert so_far(trials) == "2 of 5 trials ended, 2 running, 1 waiting"
    assert so_far(trials[:2]) == ""


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
    assert list(ran(sweep)) == ["trials ended", "time of all trials", "resumed"]
    nothing = new_writer(tmp_path / "empty").finish()
    assert list(ran(nothing)) == ["trials ended", "resumed"]


def test_a_rate_that_was_changed_in_the_middle_stands_for_no_trial(made_up_sweep):
    """As population based training does: such a trial is neither best, nor at a rate in a range."""
    sweep = made_up_sweep([0.05, 0.2, 0.4])
    changed = sweep.epochs["trial_id"].eq("00002") & (sweep.epochs["epoch"] > 2)
    found = replace(sweep, epochs=sweep.epochs.assign(learning_rate=changed.map({True: 0.4, False: 0.1})))
    assert sweep.best()["learning_rate"].iloc[0] == 0.4
    assert found.best()["learning_rate"].tolist() == [0.2, 0.05]
    assert "0.4" not in answer(found).lines[-1]
    assert next(notes(found)).startswith("1 trial changed the learning rate while training, so")
    every = replace(found, trials=found.trials[2:], meta=found.meta | {"search": True})
    assert every.best().empty
    assert next(notes(every)).startswith("1 trial")
    assert answer(every).headline == "No setting has run all its epochs without diverging"


@pytest.mark.parametrize(
    ("rate", "why"),
    [
        (0.02, "the best trial, which would set one, has not levelled off"),
        (0.0001, "no trial has learned enough to set one"),
    ],
)
def test_why_a_sweep_of_data_without_a_target_has_none(made_up_sweep, rate, why):
    sweep = made_up_sweep([rate], epochs=8)
    found = replace(sweep, meta=sweep.meta | {"dataset": sweep.meta["dataset"] | {"target": None}})
    found = replace(found, trials=label_trials(sweep.trials, sweep.epochs, data_facts(found.meta)))
    assert next(notes(found)) == f"no target is known for this data, and {why}; see --target"


def test_siblings_say_nothing_of_a_trial_whose_rate_was_changed(made_up_sweep):
    sweep = made_up_sweep([0.03, 0.2, 0.4], epochs=8)
    labels = sweep.trials.set_index("trial_id")
    assert labels.loc["00000", "curve_regime"] != labels.loc["00000", "regime"]
    changed = sweep.epochs["trial_id"].eq("00000") & (sweep.epochs["epoch"] > 2)
    epochs = sweep.epochs.assign(learning_rate=changed.map({True: 0.4, False: 0.03}))
    labels = label_trials(sweep.trials, epochs, data_facts(sweep.meta)).set_index("trial_id")
    assert labels.loc["00000", "curve_regime"] == labels.loc["00000", "regime"]


def test_what_to_do_next_with_arrays_is_a_call(made_up_sweep):
    sweep = made_up_sweep([0.2, 0.4])
    sweep.meta["options"] = {"dataset": "arrays"}
    first, *_ = answer(sweep).questions
    assert first == ("Is it 0.2 or 0.4?", f"decide(DecideOptions(sweep={str(sweep.path)!r}, dataset=...))")
