"""The recorder: ends, invalid proposals, repeated epochs, and the memory of ended
trials."""

from dataclasses import replace

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
)
from tune_events import TuneEvents

from mnist_tune.judged import judged
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.results.tables import journal_tables
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.early_stopping import RegimeStopping
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.progress import ProgressView
from mnist_tune.tuning.recorder import Recorder, scheduler_name


def made_up(**values):
    return Trial("made up", stub=True, config={"trial": values})


def test_a_row_is_in_the_histories_once_whoever_hears_of_it_first(
    new_writer, epoch_row, tmp_path
):
    """Tune tells a scheduler before it tells the recorder."""
    writer = new_writer(tmp_path / "sweep")
    config = TrialConfig(learning_rate=0.1)
    view = ProgressView(1, 3, 0, quiet=True)
    recorder = Recorder(writer, view, {"00000": config}, Past(), "asha")
    events = TuneEvents(RegimeStopping(5, recorder.run, MNIST), callback=recorder)
    trial = made_up(trial_id="00000")
    for epoch in (1, 2, 2, 3):  # a process that was killed repeats a row
        result = result_of(epoch_row(epoch, 1 / epoch), config)
        events.report(trial, result)
        columns = recorder.run.histories.columns("00000")
        assert columns["epoch"].tolist() == list(range(1, epoch + 1))
    writer.finish()


def test_tune_forgets_a_trial_that_has_ended(new_writer, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    recorder = Recorder(
        writer, ProgressView(2, 2, 0, quiet=True), {}, Past(), "scheduler"
    )
    first, second = trials = [made_up() for _ in range(2)]
    for trial in (first, second):
        trial.update_last_result({"train_loss": 0.5, "node": "here"})
        assert trial.run_metadata.last_result
        recorder.on_trial_complete(0, trials, trial)
        assert not trial.run_metadata.last_result
        assert len(str(trial.get_json_state())) < 100
    assert trials == [second]  # with an empty list, Tune would unpickle its saved state
    writer.finish()


def test_a_trial_stopped_while_it_waited_has_the_schedulers_name(new_writer, tmp_path):
    writer = new_writer(tmp_path / "sweep", count=2)
    trials = {"00000": TrialConfig(), "00001": TrialConfig()}
    view = ProgressView(2, 2, 0, quiet=True)
    recorder = Recorder(writer, view, trials, Past(), "hyperband")
    recorder.on_trial_complete(0, [], made_up(trial_id="00000"))
    recorder.close("interrupted")
    table = judged(journal_tables(writer.path, writer.meta)).trials
    assert list(table["stop_reason"]) == ["hyperband", "interrupted"]
    writer.finish()


def test_a_row_is_recorded_under_the_values_that_its_epoch_had(
    new_writer, epoch_row, tmp_path
):
    """Population based training has already given the trial the values of its next
    epoch."""
    writer = new_writer(tmp_path / "sweep", count=1)
    config = TrialConfig(learning_rate=0.1, epochs=4)
    view = ProgressView(1, 4, 0, quiet=True)
    recorder = Recorder(writer, view, {"00000": config}, Past(), "scheduler")
    trial = made_up(trial_id="00000", learning_rate=0.5, epochs=4)
    recorder.on_trial_result(0, [], trial, result_of(epoch_row(1), config))
    recorder.on_trial_result(0, [], trial, result_of(epoch_row(2), None))  # as before
    tables = judged(journal_tables(writer.path, writer.meta))
    assert tables.steady["learning_rate"].tolist() == [0.1]
    result = result_of(epoch_row(3), replace(config, momentum=0.5))
    recorder.on_trial_result(0, [], trial, result)
    tables = judged(journal_tables(writer.path, writer.meta))
    assert tables.trials["momentum"].tolist() == [0.5]
    assert tables.trials["changed"].tolist() == [True]
    assert tables.steady.empty
    writer.finish()


@pytest.fixture
def of_one_trial(new_writer, tmp_path):
    """The recorder of a sweep of one trial, the trial's config, and the progress."""
    writer = new_writer(tmp_path / "sweep", count=1)
    view = ProgressView(1, 4, 0, quiet=True)
    config = TrialConfig(epochs=4)
    yield Recorder(writer, view, {"00000": config}, Past(), "scheduler"), config, view
    writer.finish()


def test_a_repeated_epoch_replaces_its_row_and_later_ones(of_one_trial, epoch_row):
    """If both falls from 0.9 to 0.5 counted, the regime would be oscillating."""
    recorder, config, view = of_one_trial
    for epoch, accuracy in ((1, 0.9), (2, 0.5), (1, 0.9), (2, 0.5)):
        result = result_of(epoch_row(epoch, train_accuracy=accuracy), config)
        recorder.on_trial_result(0, [], made_up(trial_id="00000"), result)
    recorder.close("interrupted")
    assert "curves: 1 undecided" in view.said()


def test_progress_names_no_regime_that_a_target_of_siblings_would_decide(
    of_one_trial, epoch_row
):
    recorder, config, view = of_one_trial
    recorder._data = replace(recorder._data, target=None)
    recorder.on_trial_result(
        0, [], made_up(trial_id="00000"), result_of(epoch_row(1), config)
    )
    recorder.close("interrupted")
    assert "1 done (1 interrupted)" in view.said()
    assert "curves" not in view.said()


def test_slow_evaluation_is_said_once_with_its_remedy(of_one_trial, epoch_row, capsys):
    """The first epoch's time holds an evaluation of the untrained state, too."""
    recorder, config, _ = of_one_trial
    facts = replace(recorder._data, train_images=4000, test_images=1000)

    def lines(*rows, data=facts):
        """Return what is printed after epochs with these seconds of training and
        evaluation."""
        recorder._data = data
        for epoch, (train_s, eval_s) in enumerate(rows, start=1):
            row = epoch_row(epoch, train_s=train_s, eval_s=eval_s)
            trial = made_up(trial_id="00000")
            recorder.on_trial_result(0, [], trial, result_of(row, config))
        return capsys.readouterr().err.splitlines()

    slow = (2.0, 6.0)
    assert lines(slow, (4.0, 3.9)) == []
    # four epochs of these are not worth a line
    assert lines(slow, (0.2, 0.6)) == []
    assert lines(slow, slow, data=replace(facts, evaluated=1000)) == []
    assert lines(slow, slow, data=replace(facts, test_images=4000)) == []
    assert lines(slow, slow, data=replace(facts, flag="loop")) == []
    [line] = lines(slow, slow, slow)
    assert line == (
        "note: evaluation takes 75% of an epoch's time; in a new sweep, "
        "--train-evaluation 1000 evaluates so many training examples in place of 4000"
    )


def result_of(row, config):
    """What a trial's process tells Tune after an epoch."""
    return row | {
        "trial_config": config,
        "stop_reason": "",
        "repeated": False,
        "done": False,
    }


@pytest.mark.parametrize(
    ("scheduler", "name"),
    [
        (None, "fifo"),
        (AsyncHyperBandScheduler(), "asha"),
        (HyperBandScheduler(), "hyperband"),
        (MedianStoppingRule(), "medianstopping"),
    ],
)
def test_the_name_of_a_scheduler(scheduler, name):
    assert scheduler_name(scheduler, "fifo") == name
