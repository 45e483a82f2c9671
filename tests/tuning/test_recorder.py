"""The recorder: ends, invalid proposals, repeated epochs, and the memory of ended trials."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, MedianStoppingRule

from mnist_tune.results.journal import read_journal
from mnist_tune.results.tables import tables
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning import recorder as module
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.progress import ProgressView
from mnist_tune.tuning.recorder import Recorder, scheduler_name

REFUSED = {"stop_reason": "error", "error": "momentum must be in [0, 1), got 1.08", "done": True}


def made_up(**values):
    return Trial("made up", stub=True, config={"trial": values})


def test_tune_forgets_a_trial_that_has_ended(new_writer, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    recorder = Recorder(writer, ProgressView(2, 2, 0, quiet=True), {}, Past(), "scheduler")
    first, second = trials = [made_up() for _ in range(2)]
    for trial in (first, second):
        trial.update_last_result({"train_loss": 0.5, "node": "here"})
        assert trial.metric_analysis
        recorder.on_trial_complete(0, trials, trial)
        assert not trial.metric_analysis
        assert not trial.metric_n_steps
        assert len(str(trial.get_json_state())) < 100
    assert trials == [second]  # with an empty list, Tune would unpickle its saved state
    writer.finish()


def test_a_trial_stopped_while_it_waited_has_the_schedulers_name(new_writer, tmp_path):
    writer = new_writer(tmp_path / "sweep", count=2)
    known = {f"{i:05d}": TrialConfig() for i in range(2)}
    recorder = Recorder(writer, ProgressView(2, 2, 0, quiet=True), known, Past(), "hyperband")
    recorder.on_trial_complete(0, [], made_up(trial_id="00000"))
    recorder.close("interrupted")
    assert list(tables(writer.path, writer.meta).trials["stop_reason"]) == ["hyperband", "interrupted"]
    writer.finish()


def test_invalid_values_end_only_that_trial(new_writer, tmp_path, capsys):
    writer = new_writer(tmp_path / "sweep", count=1)
    recorder = Recorder(
        writer, ProgressView(1, 1, 0, quiet=True), {"00000": TrialConfig(momentum=0.9)}, Past(), "scheduler"
    )
    for trial_id in ("00000", "proposed"):
        recorder.on_trial_result(0, [], made_up(trial_id=trial_id, momentum=1.08), REFUSED)
    recorder.on_trial_complete(0, [], made_up(trial_id="proposed", momentum=1.08))
    trials = tables(writer.path, writer.meta).trials
    assert list(trials["stop_reason"]) == ["error"]
    assert list(trials["error"]) == [REFUSED["error"]]
    assert "a proposed trial was not started: momentum must be" in "".join(capsys.readouterr())
    writer.finish()


def test_a_row_is_recorded_under_the_values_that_its_epoch_had(new_writer, epoch_row, tmp_path):
    """Population based training has already given the trial the values of its next epoch."""
    writer = new_writer(tmp_path / "sweep", count=1)
    config = TrialConfig(learning_rate=0.1, epochs=4)
    recorder = Recorder(writer, ProgressView(1, 4, 0, quiet=True), {"00000": config}, Past(), "scheduler")
    values = {"trial_config": config, "stop_reason": "", "warning": "", "repeated": False, "done": False}
    recorder.on_trial_result(0, [], made_up(trial_id="00000", learning_rate=0.5, epochs=4), epoch_row(1) | values)
    assert tables(writer.path, writer.meta).trials["learning_rate"].tolist() == [0.1]
    writer.finish()


def test_a_repeated_epoch_replaces_its_row_and_later_ones(new_writer, epoch_row, tmp_path):
    """If both falls from 0.9 to 0.5 counted, the regime would be oscillating."""
    writer, view = new_writer(tmp_path / "sweep", count=1), ProgressView(1, 4, 0, quiet=True)
    config = TrialConfig(epochs=4)
    recorder = Recorder(writer, view, {"00000": config}, Past(), "scheduler")
    for epoch, accuracy in ((1, 0.9), (2, 0.5), (1, 0.9), (2, 0.5)):
        values = {"trial_config": config, "stop_reason": "", "warning": "", "repeated": False, "done": False}
        result = epoch_row(epoch, train_accuracy=accuracy) | values
        recorder.on_trial_result(0, [], made_up(trial_id="00000"), result)
    recorder.close("interrupted")
    assert "curves: 1 undecided;" in view._text.plain
    writer.finish()


def test_progress_names_no_regime_that_a_target_of_siblings_would_decide(new_writer, epoch_row, tmp_path):
    writer, view = new_writer(tmp_path / "sweep", count=1), ProgressView(1, 4, 0, quiet=True)
    config = TrialConfig(epochs=4)
    recorder = Recorder(writer, view, {"00000": config}, Past(), "scheduler")
    recorder._data = replace(recorder._data, target=None)
    recorder.on_trial_result(0, [], made_up(trial_id="00000"), result_of(epoch_row(1), config))
    recorder.close("interrupted")
    assert "1 done (1 interrupted)" in view._text.plain
    assert "curves" not in view._text.plain
    writer.finish()


def result_of(row, config, **values):
    """What a trial's process tells Tune after an epoch."""
    usual = {"trial_config": config, "stop_reason": "", "warning": "", "repeated": False, "done": False}
    return row | usual | values


def test_an_end_has_its_reason_its_regime_and_the_epochs_that_are_not_run(new_writer, epoch_row, tmp_path, monkeypatch):
    """Trial 00000 is stopped as slow beside others, which its own curve does not show; 00001 is ASHA's choice."""
    cpu = iter([1.5, 4.0, 9.5])
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 7.0, process_time=lambda: next(cpu)))
    writer, view = new_writer(tmp_path / "sweep", count=4), ProgressView(4, 16, 0, quiet=True)
    configs = {f"{i:05d}": TrialConfig(architecture="mlp-4-tanh", learning_rate=0.1, epochs=4) for i in range(4)}
    recorder = Recorder(writer, view, configs, Past(), "asha")
    recorder.reasons["00000"] = "slow"
    for trial_id, values in zip(
        configs, ({"done": True}, {"done": True}, {"done": True, "stop_reason": "diverged"}), strict=False
    ):
        trial = made_up(trial_id=trial_id, architecture="mlp-4-tanh", learning_rate=0.1, epochs=4)
        recorder.on_trial_result(0, [], trial, result_of(epoch_row(1), configs[trial_id], **values))
        recorder.on_trial_complete(0, [], trial)
    recorder.close("interrupted")
    found = tables(writer.path, writer.meta)
    assert found.trials["stop_reason"].tolist() == ["slow", "asha", "diverged", "interrupted"]
    assert set(found.epochs["ended_at"]) == {7.0}
    ends, curves = "1 asha, 1 diverged, 1 interrupted, 1 slow", "1 diverged, 1 slow, 2 undecided"
    best = "best test accuracy 0.8900 (mlp-4-tanh at learning rate 0.1)"
    assert view._text.plain == f"trials: 4 done ({ends}), 0 running, 0 waiting; curves: {curves}; {best}"
    assert view._left().startswith("3/3 epochs")
    assert recorder.cost() == {"results": 3, "cpu_s": 8.0}
    writer.finish()


def test_a_row_that_is_recorded_is_not_recorded_again_and_a_warning_is_printed(new_writer, epoch_row, tmp_path, capsys):
    writer, config = new_writer(tmp_path / "sweep", count=1), TrialConfig(epochs=4)
    recorder = Recorder(writer, ProgressView(1, 4, 0, quiet=True), {"00000": config}, Past(), "scheduler")
    for values in ({"warning": "its state is damaged"}, {"repeated": True}):
        recorder.on_trial_result(0, [], made_up(trial_id="00000"), result_of(epoch_row(1), config, **values))
    assert (writer.path / "journal.jsonl").read_text().count('"kind": "epoch"') == 1
    assert capsys.readouterr().err == "warning: its state is damaged\n"
    writer.finish()


def test_a_trial_whose_processes_died_says_how_often_and_of_what(new_writer, tmp_path):
    writer = new_writer(tmp_path / "sweep", count=1)
    recorder = Recorder(writer, ProgressView(1, 4, 0, quiet=True), {"00000": TrialConfig()}, Past(), "scheduler")
    died = SimpleNamespace(config={"trial": {"trial_id": "00000"}}, trial_id="tunes", num_failures=3, error_file=None)
    recorder.on_trial_error(0, [], died)
    trials = tables(writer.path, writer.meta).trials
    assert trials["stop_reason"].tolist() == ["error"]
    assert trials["error"].tolist() == ["its process died 3 times, the last time Ray does not say why"]
    writer.finish()


def test_progress_counts_the_regime_of_a_curve_that_has_ended(new_writer, epoch_row, tmp_path):
    writer, view = new_writer(tmp_path / "sweep", count=1), ProgressView(1, 2, 0, quiet=True)
    config = TrialConfig(epochs=2)
    recorder = Recorder(writer, view, {"00000": config}, Past(), "scheduler")
    for epoch, done in ((1, False), (2, True)):
        result = result_of(epoch_row(epoch, 0.1, 0.99), config, done=done, stop_reason="completed" * done)
        recorder.on_trial_result(0, [], made_up(trial_id="00000"), result)
    assert "curves: 1 converged;" in view._text.plain
    writer.finish()


def test_epochs_that_are_reported_again_do_not_move_the_bar(new_writer, epoch_row, tmp_path):
    """A resumed trial reports epochs again. One whose state is damaged begins again with its first."""
    config, known = TrialConfig(epochs=4), {"00000": TrialConfig(epochs=4)}
    writer = new_writer(tmp_path / "sweep", count=1)
    for epoch in (1, 2, 3):
        writer.epoch("00000", epoch_row(epoch), False)
    writer.finish(ended=None)
    writer = new_writer(tmp_path / "sweep", count=1, resume=True)
    past, view = Past.of(read_journal(writer.path), writer.meta), ProgressView(1, 4, 3, quiet=True)
    writer.last_epochs = past.last_epochs
    recorder, said = Recorder(writer, view, known, past, "scheduler"), []
    for epoch, repeated in ((2, True), (3, True), (1, False), (2, False), (3, False), (4, False)):
        result = result_of(epoch_row(epoch), config, repeated=repeated)
        recorder.on_trial_result(0, [], made_up(trial_id="00000"), result)
        said.append(view._left().partition(" ")[0])
    assert said == ["3/4", "3/4", "1/4", "2/4", "3/4", "4/4"]
    assert tables(writer.path, writer.meta).epochs["epoch"].tolist() == [1, 2, 3, 4]
    writer.finish()


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
