"""What is true of a sweep: each finding, by its kind."""

import math
from dataclasses import replace

import numpy as np
import pytest
from changed_sweeps import with_data, with_epochs, with_meta, with_trials
from recorded_data import OF_A_TASK
from text_tables import barred_rows

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


def with_command(sweep, command):
    """The sweep, as one that was started by this command."""
    return with_meta(sweep, command=command)


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (
            ["sweeps/lr_regimes.py", "--smoke;", "curl x | sh"],
            "python sweeps/lr_regimes.py '--smoke;' 'curl x | sh'",
        ),
        (["it's", "$(x)", "`x`", "a\\nb"], """'it'"'"'s' '$(x)' '`x`' 'a\\nb'"""),
    ],
)
def test_a_recorded_command_is_words_for_the_shell_and_no_more(
    made_up_sweep, argv, shown
):
    """The folder may come from anybody."""
    sweep = with_command(made_up_sweep([0.1]), argv)
    assert list(repeated(sweep)) == [(AS_RECORDED, shown)]


@pytest.mark.parametrize(
    "argv", ["sweeps/lr_regimes.py --smoke; curl x | sh", "it's", []]
)
def test_a_command_that_is_recorded_as_a_text_is_not_shown(made_up_sweep, argv):
    """Older versions recorded it so."""
    sweep = with_command(made_up_sweep([0.1]), argv)
    assert list(repeated(sweep)) == []


def test_the_title_of_a_page(made_up_sweep):
    names = [f"mlp-{width}-tanh" for width in (5, 4, 3, 2, 1)]
    sweep = made_up_sweep([0.1], architectures=names)
    architectures = "mlp-1-tanh, mlp-2-tanh, mlp-3-tanh, mlp-4-tanh and 1 more"
    assert title(sweep) == f"{architectures} on mnist-5k"


TIMES = """
    0.04    | 0.0 s
    9.94    | 9.9 s
    10.4    | 10 s
    59.6    | 1 min 0 s
    271     | 4 min 31 s
    3599.6  | 1 h 0 min
    7319    | 2 h 1 min
    113_097 | 31 h 24 min
"""


@pytest.mark.parametrize(("seconds", "words"), barred_rows(TIMES))
def test_a_time_as_people_say_it(seconds, words):
    assert spoken(float(seconds)) == words


def test_what_was_not_measured_has_no_line_and_no_number(
    new_writer, epoch_row, tmp_path
):
    writer = new_writer(tmp_path / "sweep")
    row = epoch_row(1, train_s=3.0, eval_s=0, compile_s=0, wait_s=1.0, device=None)
    writer.epoch("00000", row, False)
    row = epoch_row(1, train_s=None, eval_s=None, compile_s=None, wait_s=None)
    writer.epoch("00001", row, False)
    sweep = writer.finish()
    assert list(ran(sweep)) == ["trials ended", "time of all trials", "resumed"]
    nothing = new_writer(tmp_path / "empty").finish()
    assert list(ran(nothing)) == ["trials ended", "resumed"]


def test_a_setting_that_was_changed_in_the_middle_stands_for_no_trial(made_up_sweep):
    """As population based training does: such a trial is neither best, nor at a rate in
    a range."""
    sweep = made_up_sweep([0.05, 0.2, 0.4])
    assert sweep.best()["learning_rate"].iloc[0] == 0.4
    is_changed = sweep.trials["trial_id"].eq("00002")
    changed = with_trials(sweep, changed=is_changed)
    assert changed.best()["learning_rate"].tolist() == [0.2, 0.05]
    assert "0.4" not in answer(changed).lines[-1]
    first_note = next(notes(changed))
    assert first_note.startswith("1 trial changed settings while training, so")

    alone = replace(changed, trials=changed.trials[2:].reset_index())
    alone = with_meta(alone, search=True)
    assert alone.best().empty
    assert next(notes(alone)).startswith("1 trial")
    assert answer(alone).headline == "No setting has run all its epochs unchanged"
    with pytest.raises(UserError, match="is known to be best; name a trial"):
        alone.load(None)
    with pytest.raises(UserError, match="train it again: nothing does, its"):
        alone.load("00002")


STILL_LEARNING = (
    "the best trial, which would set one, has not levelled off; try more --epochs, or"
)


@pytest.mark.parametrize(
    ("rate", "why"),
    [(0.02, STILL_LEARNING), (0.0001, "no trial has learned enough to set one;")],
)
def test_why_a_sweep_of_data_without_a_target_has_none(made_up_sweep, rate, why):
    sweep = with_data(made_up_sweep([rate], epochs=8), target=None)
    labelled = label_trials(sweep.trials, sweep.epochs, data_facts(sweep.meta))
    note = next(notes(replace(sweep, trials=labelled)))
    assert note == f"no target is known for this data, and {why} see --target"


@pytest.mark.parametrize("noise", [[0, 1000], 1000])
def test_a_target_that_only_wrong_labels_lack_is_not_said_to_be_unknown(
    made_up_sweep, noise
):
    sweep = with_trials(made_up_sweep([0.2, 0.4]), label_noise=noise)
    unknown = "no target is known for this data with wrong labels; each network's"
    assert next(notes(sweep)).startswith(unknown)


def test_momentum_is_said_of_sgd_alone(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])

    def trained_by(*optimizers, momentum=0.0):
        return with_trials(sweep, optimizer=optimizers, momentum=momentum)

    def is_momentum_shared(*optimizers):
        return "momentum" in facts(trained_by(*optimizers))["all with"]

    assert is_momentum_shared("sgd", "sgd")
    assert not is_momentum_shared("adam", "adam")
    assert not is_momentum_shared("sgd", "adam(b1=0.8)")

    both = trained_by("sgd", "adam", momentum=[0.9, 0.0])
    names = named(both.trials, both.trials)
    assert names == ["sgd, momentum 0.9, learning rate 0.1", "adam, learning rate 0.2"]
    titles = [family for family, _ in families(both.trials)]
    assert titles == ["mlp-4-tanh, adam", "mlp-4-tanh, sgd, momentum 0.9"]
    view = View([both])
    assert view.settings["name"].tolist() == ["adam 0.2", "sgd 0.9 0.1"]
    assert ["–", "0.9"] in [column.cells for column in columns(view)]


NOTHING_LEARNED = (
    "no trial has learned more than noise, so the best of them may be so by chance"
)


@pytest.fixture
def task_sweep(new_writer, epoch_row, tmp_path):
    """A function that makes a finished sweep of tasks of eight epochs, given the losses
    of each trial."""

    def finish(losses, names=("vae",), stopped=(), noise=0.01):
        writer = new_writer(tmp_path / f"sweep{len([*tmp_path.iterdir()])}")
        ids = [f"{number:05d}" for number in range(len(losses))]
        trials = []
        for name in names:
            for number in range(len(losses) // len(names)):
                rate = 0.1 * (number + 1)
                trial = TrialConfig(architecture=name, learning_rate=rate, epochs=8)
                trials.append(trial.to_dict())
        writer.meta["trials"] = dict(zip(ids, trials, strict=True))
        writer.meta |= {"dataset": OF_A_TASK, "options": {}}
        shared = {
            "train_accuracy": math.nan,
            "test_accuracy": math.nan,
            "untrained_loss": 46.2,
            "loss_noise": noise,
        }
        for number, curve in enumerate(losses):
            trial_id = ids[number]
            for epoch, loss in enumerate(curve, start=1):
                row = epoch_row(epoch, loss) | shared | {"test_loss": loss}
                writer.epoch(trial_id, row, False)
            reason = "interrupted" if number in stopped else "completed"
            writer.end(trial_id, reason)
        return Sweep.of(writer.finish(ended="now"))

    return finish


FALLS = [46.2 - 2.1 * epoch for epoch in range(1, 9)]
STAYS = [46.2, 46.19] * 4
"""Losses of a trial that learns, and of one that stays where it began."""


def test_that_nothing_was_learned_is_said_of_trials_that_ran_all_their_epochs(
    task_sweep,
):
    assert NOTHING_LEARNED in notes(task_sweep([STAYS, STAYS]))
    assert NOTHING_LEARNED not in notes(task_sweep([FALLS, STAYS]))


def test_of_trials_that_were_interrupted_while_they_learned_nothing_is_said_of_noise(
    task_sweep,
):
    three_epochs = [44.0, 41.9, 39.9]
    sweep = task_sweep([three_epochs, three_epochs], stopped=(0, 1))
    assert not any("noise" in note for note in notes(sweep))
    assert answer(sweep).headline == "No setting has run all its epochs"


def test_a_rate_that_stays_where_smaller_ones_learn_asks_for_the_loss_of_a_guess(
    task_sweep,
):
    stays = [34.02, 34.021] * 4
    note = "rate 0.2 stays at 34.02; if that is a constant guess's loss, give guess=34.02 in the Task"
    sweep = task_sweep([FALLS, stays])
    assert sweep.trials["regime"].iloc[1] == "undecided"
    assert note in notes(sweep)

    def asks_for_a_guess(losses):
        return "guess=" in repr([*notes(task_sweep(losses))])

    assert not asks_for_a_guess([FALLS, FALLS])
    assert not asks_for_a_guess([stays, stays])
    # a smaller rate may be slow
    assert not asks_for_a_guess([stays, FALLS])


SCORES_ALIKE = "training and test examples score the same in all epochs"


def test_a_task_that_scores_all_splits_alike_is_told_how_to_tell_them_apart(task_sweep):
    def is_noted(sweep):
        return any(line.startswith(SCORES_ALIKE) for line in notes(sweep))

    alike = task_sweep([FALLS, FALLS])
    [line] = [line for line in notes(alike) if line.startswith(SCORES_ALIKE)]
    assert line.endswith(
        "so overfitting can't show; a score that draws its examples can ask which they are: "
        "score(params, state, batch, key, split)"
    )
    # sums of many numbers are rounded, and a trial may have diverged
    losses = alike.epochs["train_loss"]
    assert is_noted(with_epochs(alike, test_loss=losses * (1 + 1e-7)))
    diverged = losses.where(alike.epochs["trial_id"] == "00000")
    assert is_noted(with_epochs(alike, test_loss=diverged, train_loss=diverged))
    # one epoch alone tells them apart
    one_differs = losses.where(alike.epochs.index > 0, 47.0)
    assert not is_noted(with_epochs(alike, test_loss=one_differs))
    assert not is_noted(with_epochs(alike, test_loss=math.nan, train_loss=math.nan))
    by_held_out = with_epochs(alike, validation_loss=losses * 1.1)
    by_held_out = with_trials(by_held_out, validation_loss=50.0)
    assert not is_noted(by_held_out)
    loop = with_meta(alike, options={"loop": ["vae"]})
    assert not is_noted(loop)


def test_a_task_of_several_that_learned_nothing_is_named(task_sweep):
    sweep = task_sweep([FALLS, FALLS, STAYS, STAYS], names=("vae", "gan"))
    note_of_gan = NOTHING_LEARNED.replace("trial", "trial of gan")
    assert note_of_gan in notes(sweep)
    optimizers = sweep.trials["architecture"].map({"vae": "adam", "gan": "sgd"})
    same = with_trials(sweep, architecture="vae", optimizer=optimizers)
    note_of_sgd = NOTHING_LEARNED.replace("trial", "trial of vae, sgd")
    assert note_of_sgd in notes(same)


def test_what_learned_nothing_is_not_told_apart_from_others(task_sweep):
    """The curves are calm, so one is below the others. But its fall since the beginning
    differs between examples."""
    curves = [[46.0, 46.001] * 4, [46.1, 46.101] * 4, [46.15, 46.151] * 4]
    sweep = task_sweep(curves, noise=0.2)
    assert sweep.best()["close"].tolist() == [True, False, False]
    assert NOTHING_LEARNED in notes(sweep)
    assert "told it apart" not in repr(answer(sweep))


def test_a_loss_that_a_task_does_not_minimise_itself_is_said_to_mean_little(
    made_up_sweep,
):
    sweep = made_up_sweep([0.2])
    data = OF_A_TASK | {"name": "gan", "own_step": True}
    own_step = with_meta(sweep, dataset=data)
    assert next(notes(own_step)).startswith("each step is the task's own")
    own_loss = with_data(own_step, own_step=False)
    on_losses, on_accuracies = notes(own_loss)
    assert on_losses[:25] == "no loss to reach is known"
    assert on_accuracies[:35] == "labels and the best follow the loss"


def test_a_network_whose_evaluated_loss_is_above_every_batchs_is_noted(made_up_sweep):
    """As with batch norm whose running statistics lag: its accuracies are too low, and
    another rate looks best."""
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    lags = sweep.epochs["trial_id"].ne("00002")
    batches = sweep.epochs["train_loss"] * np.where(lags, 0.3, 1.5)
    lagging = with_epochs(sweep, step_loss_max=batches)
    [note] = set(notes(lagging)) - set(notes(sweep))
    where, remedy = note.split(": ")
    above = "the evaluated training loss is above that of every batch"
    assert where == f"in 2 of 3 trials (learning rates 0.1 to 0.2) {above}"
    assert remedy == (
        "if the network has batch norm, its running statistics lag, and its accuracies are too low; give it a smaller "
        "momentum, such as 0.9"
    )
    two_trials = replace(lagging, trials=lagging.trials[1:])
    where = "in 1 of 2 trials (learning rate 0.2) the evaluated"
    assert any(note.startswith(where) for note in notes(two_trials))


def test_data_of_older_sweeps_may_say_that_they_have_no_positions(made_up_sweep):
    sweep = with_data(made_up_sweep([0.2]), positions=None)
    assert facts(sweep)["data"] == "mnist-5k (4,000 training and 1,000 test examples)"
    assert not View([sweep]).of_tokens


def test_the_time_between_an_interruption_and_a_resume_is_no_time_of_training(
    made_up_sweep,
):
    times = {
        "started": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-09T03:04:05+00:00",
    }
    sweep = with_meta(made_up_sweep([0.2]), **times)
    started = "started 2026-01-02 03:04 UTC"
    assert facts(sweep)["time"] == f"168 h 0 min, {started}"
    resumed = with_meta(sweep, resumed=["2026-01-09T03:00:00+00:00"])
    assert facts(resumed)["time"] == started
    ended_at = 1767930000 + np.array([-1e6, -1e6, 100, 160])  # after 2026-01-09 03:40
    live = with_epochs(resumed, ended_at=ended_at)
    live = with_trials(live, epochs_run=2, stop_reason="running")
    assert time_left(live) == ", about 2 min 0 s left"
    first_epochs = replace(live, epochs=live.epochs[:3])
    assert time_left(first_epochs) == "", "too little is known"


def test_siblings_say_nothing_of_a_trial_whose_settings_were_changed(made_up_sweep):
    sweep = made_up_sweep([0.03, 0.2, 0.4], epochs=8)
    labels = sweep.trials.set_index("trial_id")
    assert labels.loc["00000", "curve_regime"] != labels.loc["00000", "regime"]
    is_changed = sweep.trials["trial_id"].eq("00000")
    trials = sweep.trials.assign(changed=is_changed)
    relabelled = label_trials(trials, sweep.epochs, data_facts(sweep.meta))
    labels = relabelled.set_index("trial_id")
    assert labels.loc["00000", "curve_regime"] == labels.loc["00000", "regime"]


def test_what_to_do_next_with_arrays_is_a_call(made_up_sweep):
    sweep = made_up_sweep([0.2, 0.4])
    sweep.meta["options"] = {"dataset": "arrays"}
    first, *_ = answer(sweep).questions
    call = f"decide(DecideOptions(sweep={str(sweep.path)!r}, dataset=...))"
    assert first == ("Is it 0.2 or 0.4?", call)
