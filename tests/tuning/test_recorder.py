"""What the driver keeps of trials that have ended."""

from ray.tune.experiment import Trial

from mnist_tune.tuning.progress import ProgressView
from mnist_tune.tuning.recorder import Recorder


def test_tune_forgets_a_trial_that_has_ended(new_writer, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    recorder = Recorder(writer, ProgressView(2, 2, 0, quiet=True), {}, ())
    first, second = trials = [Trial("made up", stub=True) for _ in range(2)]
    for trial in (first, second):
        trial.update_last_result({"train_loss": 0.5, "node": "here"})
        assert trial.metric_analysis
        recorder.on_trial_complete(0, trials, trial)
        assert not trial.metric_analysis
        assert not trial.metric_n_steps
        assert len(str(trial.get_json_state())) < 100
    assert trials == [second]  # of none, Tune would read, and unpickle, what it saved
    writer.finish()
