"""Between which settings a decision is, on which data and held-out images, and what is
refused before it starts."""

import json
from dataclasses import replace
from unittest.mock import Mock

import pytest
from text_tables import rows

import mnist_tune.decisions.decide as module
from mnist_tune import DecideOptions, TrialConfig, UserError, decide
from mnist_tune.data.dataset import load_dataset

SMALL = {"dataset": "mnist-5k", "architecture": ("mlp-4-tanh",), "epochs": 2}


OF_SWEEP = {"train_images": 3000, "standardize": True, "target": 0.9}


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """A function that begins a decision and returns, in place of training, the options
    that are recorded."""
    ray = []

    def start_ray(options):
        ray.append("is up")

    def processes(options):
        return 8 * len(ray)

    def recorded_options(opened, *rest):
        return opened.writer.meta["options"]

    def shown(outcome, options):
        return outcome

    monkeypatch.setattr(DecideOptions, "start_ray", start_ray)
    monkeypatch.setattr(module, "processes", processes)
    monkeypatch.setattr(module, "shown", shown)
    monkeypatch.setattr(module, "run_searcher", recorded_options)

    def begin(output="new", **options):
        return decide(DecideOptions(output=tmp_path / output, **options))

    return begin


@pytest.fixture
def swept(new_writer, epoch_row, tmp_path):
    """A function that makes a sweep that can't tell 0.2 and 0.4 apart, on 3,000 images;
    8 diverged."""

    def write_trial(writer, trial_id, trial):
        diverged = trial.learning_rate == 8
        epochs = 1 if diverged else 7
        writer.trial(trial_id, trial)
        for epoch in range(1, epochs + 1):
            row = epoch_row(epoch, test_accuracy=0.9, diverged=diverged)
            writer.epoch(trial_id, row, False)
        writer.end(trial_id, "diverged" if diverged else "completed")

    def make(architecture="mlp-4-tanh", holdout=0, **recorded):
        writer = new_writer(tmp_path / "sweep", count=0)
        writer.update_options(dataset="mnist-5k", lanes=3, **OF_SWEEP)
        data = load_dataset("mnist-5k", train_images=3000)
        counts = data.spec.label_counts
        writer.meta["dataset"] |= {"checksums": data.checksums, "label_counts": counts}
        settings = {"architecture": architecture, "holdout": holdout, "epochs": 7}
        for i, rate in enumerate((0.2, 0.4, 8.0)):
            trial = TrialConfig(learning_rate=rate, label="a label", **settings)
            write_trial(writer, f"{i:05d}", trial)
        writer.finish(ended="then", **recorded)
        return writer.path

    return make


def contenders(options):
    return [TrialConfig(**fields) for fields in options["contenders"]]


def values(settings, name):
    """The values of a field in these settings."""
    return {getattr(setting, name) for setting in settings}


def test_settings_are_crossed(begun, capsys):
    options = begun(batch_size=(100, 120), learning_rates=(0.1, 0.2), **SMALL)
    settings = contenders(options)
    pairs = [(setting.batch_size, setting.learning_rate) for setting in settings]
    assert pairs == [(100, 0.1), (100, 0.2), (120, 0.1), (120, 0.2)]
    assert values(settings, "epochs") == {2}
    line = "comparing 4 settings on 760 of 4000 training examples, which are held out"
    assert line in capsys.readouterr().err


AT_A_TIME = """
    {}                5
    {"trials": 4}     4
    {"at_a_time": 3}  3
"""


@pytest.mark.parametrize(("options", "at_a_time"), rows(AT_A_TIME))
def test_two_settings_keep_all_cores_of_ray_busy_and_have_a_seed_to_spare(
    begun, options, at_a_time
):
    recorded = begun(learning_rates=(0.1, 0.2), **SMALL, **options)
    assert recorded["at_a_time"] == at_a_time


HELD_OUT = """
    (128, 64)         672  ()
    (100, 120)        760  (100, 120)
    (1700, 1701)      666  ()
    (4000, 2100)      666  ()
    (4000, 1700, 32)  666  (32,)
    (3300, 33)        700  ()
"""


@pytest.mark.parametrize(("sizes", "holdout", "leaves_out"), rows(HELD_OUT))
def test_about_a_sixth_is_held_out_whatever_the_batch_size(
    begun, sizes, holdout, leaves_out
):
    settings = contenders(begun(batch_size=sizes, learning_rates=(0.1,), **SMALL))
    assert values(settings, "holdout") == {holdout}
    dropping = [setting for setting in settings if setting.drop_last]
    assert values(dropping, "batch_size") == {*leaves_out}
    for setting in settings:
        assert setting.steps(4000 - holdout) >= 1


# options, how many are held out, and of which batch sizes the last batch is left out
AS_ASKED = """
    {"batch_size": (4000, 100), "holdout": 9}         9    {4000: False, 100: True}
    # 3150 images leave 14
    {"batch_size": (64, 32), "holdout": 850}          850  {64: True, 32: True}
    {"batch_size": (4000, 1700), "drop_last": True}   666  {4000: False, 1700: True}
"""


@pytest.mark.parametrize(("options", "holdout", "drops"), rows(AS_ASKED))
def test_what_is_given_is_held_out_and_left_out(begun, options, holdout, drops):
    settings = contenders(begun(learning_rates=(0.1,), **SMALL, **options))
    assert values(settings, "holdout") == {holdout}
    dropping = {setting.batch_size: setting.drop_last for setting in settings}
    assert dropping == drops


def test_those_of_a_sweep_are_trained_as_there(begun, swept):
    options = begun(sweep=swept())
    settings = contenders(options)
    assert [setting.learning_rate for setting in settings] == [0.2, 0.4]
    assert values(settings, "epochs") == {7}
    assert values(settings, "label") == {""}
    assert values(settings, "architecture") == {"mlp-4-tanh"}
    for name, value in OF_SWEEP.items():
        assert options[name] == value
    assert options["dataset"] == "mnist-5k"
    assert options["chosen_by"] == "test"
    assert options["lanes"] is None, "how it runs is its own"


def test_a_decision_of_a_sweep_may_train_on_fewer_images(begun, swept):
    options = begun("fewer", sweep=swept(), train_images=2000, holdout=9)
    assert options["train_images"] == 2000
    assert values(contenders(options), "holdout") == {9}


def test_a_decision_that_trains_on_other_images_than_the_sweep_says_both_counts(
    begun, swept, capsys
):
    options = begun(sweep=swept())
    assert values(contenders(options), "holdout") == {568}
    note = "note: this trains on 2,432 examples and the sweep trained on 3,000, so their scores do not compare\n"
    assert options["swept_images"] == 3000
    assert capsys.readouterr().err.count(note) == 1


@pytest.mark.parametrize("holdout", [300, 313])
def test_where_the_sweep_held_images_out_a_decision_trains_on_as_many(
    begun, swept, capsys, holdout
):
    """2,700 images leave 12 of a batch: these are not held out as well."""
    options = begun(sweep=swept(holdout=holdout))
    settings = contenders(options)
    assert values(settings, "holdout") == {holdout}
    assert values(settings, "drop_last") == {False}
    assert options["swept_images"] == 3000 - holdout
    assert "the sweep trained on" not in capsys.readouterr().err


@pytest.mark.parametrize("drop_last", [False, True])
def test_settings_that_held_out_images_treat_the_last_batch_as_there(
    begun, tmp_path, drop_last
):
    """3,150 images leave 14 of 64: a search trained these, and its decision did not."""
    first = TrialConfig(
        learning_rate=0.1, holdout=850, batch_size=64, drop_last=drop_last
    )
    searched = [first, replace(first, learning_rate=0.2)]
    options = DecideOptions(output=tmp_path / "new", dataset="mnist-5k", holdout=850)
    settings = contenders(module.decide_between(options, searched))
    assert values(settings, "holdout") == {850}
    assert values(settings, "drop_last") == {drop_last}


REFUSED = """
    {"learning_rates": ()}                               a decision needs two settings
    {"learning_rates": (0.1,)}                           a decision needs two settings
    {"learning_rates": ("0.1:1:3",), "trials": 5}        ^3 settings need --trials of at least 6$
    {"learning_rates": ("0.1:1:201",), "trials": 1000}   ^201 settings are too many for a decision: at most 200$
    {"trials": 100_000}                                  ^--trials must be a whole number of at least 1 and at most 99971, got
    # beside 9 wrong labels
    {"learning_rates": (0.1, 0.2), "holdout": -1, "label_noise": 9}     "-1"
    {"learning_rates": (0.1, 0.2), "holdout": 0, "label_noise": 9}      "0"
    {"learning_rates": (0.1, 0.2), "holdout": 3999, "label_noise": 9}   "3999"
    {"learning_rates": (0.1, 0.2), "holdout": 4000, "label_noise": 9}   "4000"
"""


@pytest.mark.parametrize(("options", "message"), rows(REFUSED))
def test_what_can_be_no_decision_is_refused(options, message, begun, capsys, tmp_path):
    with pytest.raises(UserError, match=message):
        begun(**SMALL, **options)
    output = "".join(capsys.readouterr())
    assert "comparing" not in output
    assert not (tmp_path / "new").exists()


SETTINGS = """
    {"learning_rates": (0.1, 0.2)}
    {"epochs": 3}
    {"batch_size": (3,)}
    {"momentum": (0.5,)}
    {"nesterov": True}
    {"weight_decay": 0.1}
    {"schedule": "cosine"}
    {"loss": "mse"}
    {"label_noise": 9}
    {"clip_norm": 1.0}
    {"warmup_steps": 3}
    {"stop_when_diverged": False}
    {"optimizer": ("adam",)}
    {"architecture": ("mlp-8-tanh",)}
"""


@pytest.mark.parametrize("options", [options for (options,) in rows(SETTINGS)])
def test_with_a_sweep_settings_are_those_of_the_sweep(options, begun, swept):
    with pytest.raises(UserError, match="settings are those of the sweep"):
        begun(sweep=swept(), **options)


def change(path, part, /, **changes):
    """Change a part of what a sweep has recorded."""
    file = path / "sweep.json"
    meta = json.loads(file.read_text())
    meta[part] |= changes
    file.write_text(json.dumps(meta))


def test_a_sweep_on_arrays_is_refused(begun, swept):
    path = swept()
    change(path, "options", dataset="arrays")
    with pytest.raises(UserError, match="from Python, which it lacks; give them again"):
        begun(sweep=path)


def test_a_sweep_on_other_data_is_refused(begun, swept):
    path = swept()
    change(path, "dataset", name="those", checksums={"a": "b"})
    with pytest.raises(UserError, match=r"on other data .those."):
        begun(sweep=path)


def test_a_sweep_is_not_resumed_as_a_decision(swept):
    with pytest.raises(UserError, match="was made by something else; resume it with: "):
        decide(DecideOptions(resume=swept()))


def test_the_same_command_starts_a_decision_of_a_sweep_and_resumes_it(tmp_path):
    options = DecideOptions(sweep=tmp_path, resume="auto", output=tmp_path)
    assert options.sweep == tmp_path
    with pytest.raises(
        UserError,
        match=r"^--sweep starts a new decision, and --resume goes on with one",
    ):
        DecideOptions(sweep="a", resume="b")


def own_code(name):
    """What a sweep records of an architecture of the user's."""
    return [{"flag": "architecture", "name": name, "files": {}}]


REMEDIES = r"""
    net.py:mlp  name it: --sweep \S+ --architecture net\.py:mlp, or register it from Python
    mine        register 'mine' again, and give sweep=\.\.\. from Python
"""


@pytest.mark.parametrize(("name", "message"), rows(REMEDIES))
def test_a_decision_of_a_sweep_of_own_code_says_how_to_name_it_again(
    swept, name, message
):
    sweep = swept(f"{name}(8)", code=own_code(name))
    with pytest.raises(UserError, match=message):
        decide(DecideOptions(sweep=sweep))


def test_a_decision_of_a_sweep_takes_own_code_from_where_it_is_now(
    swept, tmp_path, monkeypatch
):
    sweep = swept("net.py:mlp(8)", code=own_code("net.py:mlp"))
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "net.py").write_text("def mlp(data, width):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DecideOptions, "load", Mock(side_effect=EOFError))
    with pytest.raises(EOFError):
        decide(DecideOptions(sweep=sweep, architecture=("moved/net.py:mlp",)))
    architectures = ("moved/net.py:mlp", "mlp-4-tanh")
    with pytest.raises(
        UserError, match=r"has no architecture mlp-4-tanh, and with --sweep"
    ):
        decide(DecideOptions(sweep=sweep, architecture=architectures))
