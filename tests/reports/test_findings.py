"""What is true of a sweep: each finding, by its kind."""

import math
from dataclasses import replace

import numpy as np
import pytest
from recorded_data import OF_A_TASK

from mnist_tune import Sweep, TrialConfig, UserError
from mnist_tune.numbers import spoken
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.families import families, named
from mnist_tune.regimes.labels import label_trials
from mnist_tune.reports.answer import answer
from mnist_tune.reports.findings import facts, notes, ran, repeated, time_left, title
from mnist_tune.reports.table import columns
from mnist_tune.reports.view import View

AS_RECORDED = "to repeat this sweep, as its folder records it:"


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (
            ["sweeps/lr_regimes.py", "--smoke;", "curl x | sh"],
            "python sweeps/lr_regimes.py '--smoke;' 'curl x | sh'",
        ),
        (["it's", "$(x)", "`x`", "a\\nb"], """'it'"'"'s' '$(x)' '`x`' 'a\\nb'"""),
        ("sweeps/lr_regimes.py --smoke; curl x | sh", None),
        ("it's", None),
        ([], None),
    ],
)
def test_a_recorded_command_is_words_for_the_shell_and_no_more(
    made_up_sweep, argv, shown
):
    """The folder may come from anybody. Older versions recorded a text, which is not
    shown."""
    sweep = made_up_sweep([0.1])
    found = [*repeated(replace(sweep, meta=sweep.meta | {"command": argv}))]
    assert found == [(AS_RECORDED, shown)] * bool(shown)


def test_the_title_of_a_page(made_up_sweep):
    names = [f"mlp-{width}-tanh" for width in (5, 4, 3, 2, 1)]
    sweep = made_up_sweep([0.1], architectures=names)
    assert (
        title(sweep)
        == "mlp-1-tanh, mlp-2-tanh, mlp-3-tanh, mlp-4-tanh and 1 more on mnist-5k"
    )


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


def test_what_was_not_measured_has_no_line_and_no_number(
    new_writer, epoch_row, tmp_path
):
    writer = new_writer(tmp_path / "sweep")
    writer.epoch(
        "00000",
        epoch_row(1, train_s=3.0, eval_s=0, compile_s=0, wait_s=1.0, device=None),
        False,
    )
    writer.epoch(
        "00001",
        epoch_row(1, train_s=None, eval_s=None, compile_s=None, wait_s=None),
        False,
    )
    sweep = writer.finish()
    assert list(ran(sweep)) == ["trials ended", "time of all trials", "resumed"]
    nothing = new_writer(tmp_path / "empty").finish()
    assert list(ran(nothing)) == ["trials ended", "resumed"]


def test_a_setting_that_was_changed_in_the_middle_stands_for_no_trial(made_up_sweep):
    """As population based training does: such a trial is neither best, nor at a rate in
    a range."""
    sweep = made_up_sweep([0.05, 0.2, 0.4])
    found = replace(
        sweep, trials=sweep.trials.assign(changed=sweep.trials["trial_id"].eq("00002"))
    )
    assert sweep.best()["learning_rate"].iloc[0] == 0.4
    assert found.best()["learning_rate"].tolist() == [0.2, 0.05]
    assert "0.4" not in answer(found).lines[-1]
    assert next(notes(found)).startswith("1 trial changed settings while training, so")
    every = replace(
        found, trials=found.trials[2:].reset_index(), meta=found.meta | {"search": True}
    )
    assert every.best().empty
    assert next(notes(every)).startswith("1 trial")
    said = "No setting has run all its epochs unchanged"
    assert answer(every).headline == said
    for name, why in (
        (None, "is known to be best; name a trial"),
        ("00002", "train it again: nothing does, its"),
    ):
        with pytest.raises(UserError, match=why):
            every.load(name)


@pytest.mark.parametrize(
    ("rate", "why"),
    [
        (
            0.02,
            "the best trial, which would set one, has not levelled off; try more --epochs, or",
        ),
        (0.0001, "no trial has learned enough to set one;"),
    ],
)
def test_why_a_sweep_of_data_without_a_target_has_none(made_up_sweep, rate, why):
    sweep = made_up_sweep([rate], epochs=8)
    found = replace(
        sweep, meta=sweep.meta | {"dataset": sweep.meta["dataset"] | {"target": None}}
    )
    found = replace(
        found, trials=label_trials(sweep.trials, sweep.epochs, data_facts(found.meta))
    )
    assert (
        next(notes(found))
        == f"no target is known for this data, and {why} see --target"
    )


def test_a_target_that_only_wrong_labels_lack_is_not_said_to_be_unknown(made_up_sweep):
    sweep = made_up_sweep([0.2, 0.4])
    for noise in ([0, 1000], 1000):
        found = replace(sweep, trials=sweep.trials.assign(label_noise=noise))
        assert next(notes(found)).startswith(
            "no target is known for this data with wrong labels; each network's"
        )


def test_momentum_is_said_of_sgd_alone(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])

    def of(*optimizers, momentum=0.0):
        return replace(
            sweep, trials=sweep.trials.assign(optimizer=optimizers, momentum=momentum)
        )

    pairs = (("sgd", "sgd"), ("adam", "adam"), ("sgd", "adam(b1=0.8)"))
    assert ["momentum" in facts(of(*two))["all with"] for two in pairs] == [
        True,
        False,
        False,
    ]
    both = of("sgd", "adam", momentum=[0.9, 0.0])
    assert named(both.trials, both.trials) == [
        "sgd, momentum 0.9, learning rate 0.1",
        "adam, learning rate 0.2",
    ]
    assert [title for title, _ in families(both.trials)] == [
        "mlp-4-tanh, adam",
        "mlp-4-tanh, sgd, momentum 0.9",
    ]
    assert View([both]).settings["name"].tolist() == ["adam 0.2", "sgd 0.9 0.1"]
    assert ["–", "0.9"] in [one.cells for one in columns(View([both]))]


NOTHING_LEARNED = (
    "no trial has learned more than noise, so the best of them may be so by chance"
)


@pytest.fixture
def task_sweep(new_writer, epoch_row, tmp_path):
    """A function that makes a finished sweep of tasks of eight epochs, given the losses
    of each trial."""

    def finish(losses, names=("vae",), stopped=(), noise=0.01):
        writer = new_writer(tmp_path / f"sweep{len([*tmp_path.iterdir()])}")
        trials = [
            TrialConfig(architecture=name, learning_rate=0.1 * (i + 1), epochs=8)
            for name in names
            for i in range(len(losses) // len(names))
        ]
        writer.meta["trials"] = {
            f"{i:05d}": one.to_dict() for i, one in enumerate(trials)
        }
        writer.meta |= {"dataset": OF_A_TASK, "options": {}}
        for i, curve in enumerate(losses):
            nan = {
                "train_accuracy": math.nan,
                "test_accuracy": math.nan,
                "untrained_loss": 46.2,
                "loss_noise": noise,
            }
            for epoch, loss in enumerate(curve, start=1):
                writer.epoch(
                    f"{i:05d}",
                    epoch_row(epoch, loss) | nan | {"test_loss": loss},
                    False,
                )
            writer.end(f"{i:05d}", "interrupted" if i in stopped else "completed")
        return Sweep.of(writer.finish(ended="now"))

    return finish


def test_that_nothing_was_learned_is_said_of_trials_that_ran_all_their_epochs(
    task_sweep,
):
    fall, stay = [46.2 - 2.1 * epoch for epoch in range(1, 9)], [46.2, 46.19] * 4
    assert NOTHING_LEARNED in notes(task_sweep([stay, stay]))
    assert NOTHING_LEARNED not in notes(task_sweep([fall, stay]))


def test_of_trials_that_were_interrupted_while_they_learned_nothing_is_said_of_noise(
    task_sweep,
):
    three = [44.0, 41.9, 39.9]
    sweep = task_sweep([three, three], stopped=(0, 1))
    assert not any("noise" in one for one in notes(sweep))
    assert answer(sweep).headline == "No setting has run all its epochs"


def test_a_rate_that_stays_where_smaller_ones_learn_asks_for_the_loss_of_a_guess(
    task_sweep,
):
    fall = [46.2 - 2.1 * epoch for epoch in range(1, 9)]
    stay = [34.02, 34.021] * 4
    note = "rate 0.2 stays at 34.02; if that is a constant guess's loss, give guess=34.02 in the Task"
    sweep = task_sweep([fall, stay])
    assert sweep.trials["regime"].iloc[1] == "undecided"
    assert note in notes(sweep)
    assert "guess=" not in repr([*notes(task_sweep([fall, fall]))])
    assert "guess=" not in repr([*notes(task_sweep([stay, stay]))])
    # a smaller rate may be slow
    assert "guess=" not in repr([*notes(task_sweep([stay, fall]))])


def test_a_task_of_several_that_learned_nothing_is_named(task_sweep):
    fall, stay = [46.2 - 2.1 * epoch for epoch in range(1, 9)], [46.2, 46.19] * 4
    sweep = task_sweep([fall, fall, stay, stay], names=("vae", "gan"))
    assert NOTHING_LEARNED.replace("trial", "trial of gan") in notes(sweep)
    optimizers = sweep.trials["architecture"].map({"vae": "adam", "gan": "sgd"})
    same = replace(
        sweep, trials=sweep.trials.assign(architecture="vae", optimizer=optimizers)
    )
    assert NOTHING_LEARNED.replace("trial", "trial of vae, sgd") in notes(same)


def test_what_learned_nothing_is_not_told_apart_from_others(task_sweep):
    """The curves are calm, so one is below the others. But its fall since the beginning
    differs between examples."""
    sweep = task_sweep(
        [[46.0, 46.001] * 4, [46.1, 46.101] * 4, [46.15, 46.151] * 4], noise=0.2
    )
    assert sweep.best()["close"].tolist() == [True, False, False]
    assert NOTHING_LEARNED in notes(sweep)
    assert "told it apart" not in repr(answer(sweep))


def test_a_loss_that_a_task_does_not_minimise_itself_is_said_to_mean_little(
    made_up_sweep,
):
    sweep = made_up_sweep([0.2])
    data = OF_A_TASK | {"name": "gan", "own_step": True}
    assert next(notes(replace(sweep, meta=sweep.meta | {"dataset": data}))).startswith(
        "each step is the task's own"
    )
    said, of_accuracy = notes(
        replace(sweep, meta=sweep.meta | {"dataset": data | {"own_step": False}})
    )
    assert (said[:25], of_accuracy[:35]) == (
        "no loss to reach is known",
        "labels and the best follow the loss",
    )


def test_a_network_whose_evaluated_loss_is_above_every_batchs_is_noted(made_up_sweep):
    """As with batch norm whose running statistics lag: its accuracies are too low, and
    another rate looks best."""
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    lags = sweep.epochs["trial_id"].ne("00002")
    batches = sweep.epochs["train_loss"] * np.where(lags, 0.3, 1.5)
    found = replace(sweep, epochs=sweep.epochs.assign(step_loss_max=batches))
    [said] = set(notes(found)) - set(notes(sweep))
    where, remedy = said.split(": ")
    assert where == (
        "in 2 of 3 trials (learning rates 0.1 to 0.2) the evaluated training loss is above that of every batch"
    )
    assert remedy == (
        "if the network has batch norm, its running statistics lag, and its accuracies are too low; give it a smaller "
        "momentum, such as 0.9"
    )
    one = replace(found, trials=found.trials[1:])
    assert any(
        said.startswith("in 1 of 2 trials (learning rate 0.2) the evaluated")
        for said in notes(one)
    )


def test_data_of_older_sweeps_may_say_that_they_have_no_positions(made_up_sweep):
    sweep = made_up_sweep([0.2])
    found = replace(
        sweep,
        meta=sweep.meta | {"dataset": sweep.meta["dataset"] | {"positions": None}},
    )
    assert facts(found)["data"] == "mnist-5k (4,000 training and 1,000 test examples)"
    assert not View([found]).of_tokens


def test_the_time_between_an_interruption_and_a_resume_is_no_time_of_training(
    made_up_sweep,
):
    sweep = made_up_sweep([0.2])
    meta = sweep.meta | {
        "started": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-09T03:04:05+00:00",
    }
    assert (
        facts(replace(sweep, meta=meta))["time"]
        == "168 h 0 min, started 2026-01-02 03:04 UTC"
    )
    resumed = replace(sweep, meta=meta | {"resumed": ["2026-01-09T03:00:00+00:00"]})
    assert facts(resumed)["time"] == "started 2026-01-02 03:04 UTC"
    ended_at = 1767930000 + np.array([-1e6, -1e6, 100, 160])  # after 2026-01-09 03:40
    live = replace(
        resumed,
        epochs=sweep.epochs.assign(ended_at=ended_at),
        trials=sweep.trials.assign(epochs_run=2, stop_reason="running"),
    )
    assert time_left(live) == ", about 2 min 0 s left"
    assert time_left(replace(live, epochs=live.epochs[:3])) == "", "too little is known"


def test_siblings_say_nothing_of_a_trial_whose_settings_were_changed(made_up_sweep):
    sweep = made_up_sweep([0.03, 0.2, 0.4], epochs=8)
    labels = sweep.trials.set_index("trial_id")
    assert labels.loc["00000", "curve_regime"] != labels.loc["00000", "regime"]
    trials = sweep.trials.assign(changed=sweep.trials["trial_id"].eq("00000"))
    labels = label_trials(trials, sweep.epochs, data_facts(sweep.meta)).set_index(
        "trial_id"
    )
    assert labels.loc["00000", "curve_regime"] == labels.loc["00000", "regime"]


def test_what_to_do_next_with_arrays_is_a_call(made_up_sweep):
    sweep = made_up_sweep([0.2, 0.4])
    sweep.meta["options"] = {"dataset": "arrays"}
    first, *_ = answer(sweep).questions
    assert first == (
        "Is it 0.2 or 0.4?",
        f"decide(DecideOptions(sweep={str(sweep.path)!r}, dataset=...))",
    )
