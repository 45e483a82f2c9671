"""What a new sweep, and one that is resumed, write down, note, try and refuse before
they start."""

import json
from dataclasses import replace
from unittest.mock import Mock

import pytest
from own_networks import patterns

from mnist_tune import TrialConfig, UserError
from mnist_tune.data.dataset import load_dataset
from mnist_tune.errors import InterruptedSweepError
from mnist_tune.own_code.registry import ENTRIES, register
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.sweep import load_sweep
from mnist_tune.training.task import Network
from mnist_tune.tuning import checks, opening, options
from mnist_tune.tuning.opening import open_sweep
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.past import additions
from mnist_tune.tuning.resuming import python_options


def some_images(count, drawn=240):
    """Return data with a training set of so many images of 4 x 3 pixels."""
    images = load_dataset(patterns((4, 3), 3, drawn), train_images=count)
    return replace(images, source="data.npz")


@pytest.fixture
def images(monkeypatch):
    """100 images, whatever data a sweep names."""
    images = some_images(100)
    monkeypatch.setattr(SweepOptions, "load", lambda *_: images)
    monkeypatch.setattr(opening, "check_session", lambda *_: None)
    monkeypatch.setattr(checks, "check_networks", lambda *_: None)
    monkeypatch.setattr(options, "start_ray", lambda *_: None)


SMALL = TrialConfig(architecture="mlp-4-tanh", batch_size=50)


def recorded(folder):
    return json.loads((folder / "sweep.json").read_text())


def opened_again(folder, kind=SweepKind.SEARCH, **changes):
    options = python_options(SweepOptions(resume=folder, **changes))
    return open_sweep("mine", options, kind=kind)


def opened(folder, fields, **options):
    """Open a new sweep of trials with these fields, and return what `sweep.json`
    records."""
    templates = [replace(SMALL, **values) for values in fields]
    trials = {f"{i:05d}": trial for i, trial in enumerate(templates)}
    new = SweepOptions(output=folder, **options)
    sweep = open_sweep("mine", new, lambda *_: trials, SweepKind.SWEEP, templates)
    sweep.writer.finish()
    return recorded(folder)


def opened_search(folder, fields, **options):
    """Open a new search that may propose trials with these fields, and return what
    `sweep.json` records."""
    templates = [replace(SMALL, **values) for values in fields]
    new = SweepOptions(output=folder, **options)
    search = open_sweep("mine", new, lambda *_: {}, SweepKind.SEARCH, templates)
    search.writer.finish()
    return recorded(folder)


def grown(folder, fields):
    """Resume a sweep with one more trial, and return what `sweep.json` records."""
    trials = {"00001": replace(SMALL, **fields)}
    options = python_options(SweepOptions(resume=folder, save_every=3))
    open_sweep("mine", options, lambda *_: trials).writer.finish()
    return recorded(folder)


def extended(folder, trials):
    """Resume a sweep with further trials, and return what `sweep.json` records."""
    options = python_options(SweepOptions(resume=folder))
    sweep = open_sweep(
        "mine", options, lambda old, holdout: additions(old, trials, holdout)
    )
    sweep.writer.finish()
    return recorded(folder)


IDENTITY = Network(lambda key: {}, lambda params, images: images)
"""A network without weights."""


def register_mine():
    """Register a network that only this process has."""
    register("mine")(lambda data: IDENTITY)


def test_a_sweep_records_how_many_examples_it_evaluates(monkeypatch, images, tmp_path):
    larger = some_images(10_020, 24_000)
    monkeypatch.setattr(SweepOptions, "load", lambda *_: larger)
    usual = opened(tmp_path / "usual", [{}])
    assert usual["options"]["train_evaluation"] == 10_000
    whole = opened(tmp_path / "whole", [{}], train_evaluation="all")
    assert whole["options"]["train_evaluation"] == "all"


@pytest.mark.parametrize("evaluated", [None, "all", 50])
def test_a_resumed_sweep_evaluates_as_many_as_before(
    evaluated, monkeypatch, images, tmp_path
):
    """Older versions recorded nothing, and evaluated all."""
    larger = some_images(10_020, 24_000)
    monkeypatch.setattr(SweepOptions, "load", lambda *_: larger)
    folder = tmp_path / "s"
    record = opened(folder, [{}])
    record["options"]["train_evaluation"] = evaluated
    (folder / "sweep.json").write_text(json.dumps(record))
    resumed = opened_again(folder, SweepKind.SWEEP)
    assert resumed.options.train_evaluation == evaluated
    assert resumed.options.evaluated == (50 if evaluated == 50 else None)
    resumed.writer.finish()


def batches(*sizes, **fields):
    """Return the fields of a trial of each batch size."""
    return [{"batch_size": size} | fields for size in sizes]


SHORT = {"batch_size": 30, "epochs": 3, "holdout": 40}
"""A trial of six steps."""


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        (batches(30, 48, 48), "the last batch of an epoch has 4 of 48 examples;"),
        (
            batches(48, 60, 33),
            "the last batch of an epoch has 1 of 33 or 4 of 48 examples;",
        ),
        (
            [{"architecture": name} for name in ("mlp-relu", "mlp-4-relu", "stax-mlp")],
            "mlp-relu has no hidden layer, so it is linear; mlp-128-relu has one of 128 units",
        ),
        ([SHORT | {"warmup_steps": 6}] * 2, "a trial has 6 steps, and warms up for 6"),
    ],
)
def test_small_last_batches_and_long_warm_ups_are_noted_once(
    fields, note, images, tmp_path, capsys
):
    opened(tmp_path / "sweep", [{"holdout": 0} | values for values in fields])
    printed = capsys.readouterr().err
    assert printed.count("note: ") == 1
    assert printed.count(note) == 1


@pytest.mark.parametrize(
    "fields",
    [
        # a quarter is not small
        batches(40, 20, 80, 100),
        batches(48, drop_last=True),
        batches(33, holdout=1),
        [SHORT | {"warmup_steps": 5}],
    ],
)
def test_what_is_right_is_not_noted(fields, images, tmp_path, capsys):
    opened(tmp_path / "sweep", [{"holdout": 0} | values for values in fields])
    assert "note: " not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"batch_size": 60, "holdout": 50, "drop_last": True},
            "50 beside .* 50; --batch-size 60 with --drop-last is",
        ),
        (
            {"batch_size": 101},
            "has 100 training examples; --batch-size 101 is too large, give at most 100",
        ),
        (
            {"architecture": "mpl-4-tanh"},
            "unknown architecture 'mpl-4-tanh'; did you mean 'mlp-",
        ),
        ({"optimizer": "adm"}, "unknown optimizer 'adm'; did you mean 'adam'"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    fields, line, images, tmp_path
):
    folder = tmp_path / "sweep"
    with pytest.raises(UserError, match=line):
        opened(folder, [fields])
    assert not folder.exists()
    before = opened(folder, [{}])
    with pytest.raises(UserError, match=line):
        grown(folder, fields)
    assert recorded(folder)["options"] == before["options"]
    register_mine()
    meta = grown(folder, {"architecture": "mine"})
    assert meta["options"]["save_every"] == 3
    assert [code["name"] for code in meta["code"]] == ["mine"]


def test_a_search_records_its_data_its_options_and_the_code_that_it_names(
    images, tmp_path
):
    register_mine()
    trials = [{}, {"architecture": "mine"}]
    folder = tmp_path / "search"
    meta = opened_search(folder, trials, data_dir=tmp_path, max_concurrent=3)
    assert sum(meta["dataset"]["label_counts"]) == 100
    assert meta["options"]["data_dir"] == str(tmp_path)
    assert meta["options"]["max_concurrent"] == 3
    [code] = meta["code"]
    assert (code["flag"], code["name"]) == ("architecture", "mine")
    assert meta["trials"] == {}
    assert meta["kind"] == "search"


@pytest.mark.promise("A resume joins no cluster that the folder names")
def test_a_resume_joins_no_cluster_that_the_folder_names(
    images, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "sweep"
    before = opened_search(folder, [{}])
    joined = []

    def start_ray(address, *_):
        joined.append(address)

    monkeypatch.setattr(options, "start_ray", start_ray)
    for recorded_address, address in (
        ("evil:6379; rm", None),
        ("head:6379", None),
        (None, "head:1"),
        ("head:6379", "head:1"),
    ):
        meta = before | {"options": before["options"] | {"address": recorded_address}}
        (folder / "sweep.json").write_text(json.dumps(meta))
        resumed = opened_again(folder, address=address)
        resumed.writer.finish()
        assert resumed.options.address == address
        assert set(joined) == {address} - {None}
        joined.clear()
        is_noted = "it ran on a Ray cluster: --address" in capsys.readouterr().err
        assert is_noted == (recorded_address not in (None, address))


@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
def test_a_resume_loads_no_task_that_only_the_folder_names(
    new_writer, tmp_path, monkeypatch
):
    (tmp_path / "evil.py").write_text("open('sprung', 'w')")
    new_writer(tmp_path / "sweep").finish(options={"task": ["evil.py:task"]})
    monkeypatch.chdir(tmp_path)
    starts = Mock(side_effect=UserError("a process would try it"))
    monkeypatch.setattr(options, "start_ray", starts)
    with pytest.raises(UserError, match=r"has not recorded; name it: .* --task"):
        opened_again(tmp_path / "sweep", SweepKind.SWEEP)
    assert not (tmp_path / "sprung").exists()


def test_a_resume_refuses_another_kind_of_sweep_and_networks_that_are_gone(
    images, tmp_path
):
    register_mine()
    opened_search(tmp_path / "search", [{"architecture": "mine"}])
    opened(tmp_path / "sweep", [{}])
    with pytest.raises(UserError, match="is a search; resume it by run_search"):
        opened_again(tmp_path / "search", SweepKind.SWEEP)
    with pytest.raises(UserError, match="is not a search"):
        opened_again(tmp_path / "sweep")
    writer = opened_again(tmp_path / "search").writer
    writer.release()
    # it may propose it
    assert [code["name"] for code in writer.record.code] == ["mine"]
    ENTRIES["architecture"].pop("mine")
    line = "code of your own, which it has not recorded; register 'mine' again"
    with pytest.raises(UserError, match=line):
        opened_again(tmp_path / "search")


def test_a_sweep_without_output_goes_to_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = {"00000": TrialConfig(architecture="mlp-4-tanh")}
    options = SweepOptions(dataset="mnist-5k", quiet=True)
    writer = open_sweep("mine", options, lambda *_: trials).writer
    writer.finish()
    assert writer.path.parent == tmp_path / "results" / "mine"


def holdouts(meta):
    """Return how many images the trials of a sweep hold out."""
    return {trial["holdout"] for trial in meta["trials"].values()}


def rates_and_holdouts(meta):
    trials = meta["trials"].values()
    return [(trial["learning_rate"], trial["holdout"]) for trial in trials]


@pytest.fixture
def more_images(images, monkeypatch):
    """300 images, whatever data a sweep names."""
    monkeypatch.setattr(SweepOptions, "load", lambda *_: some_images(300, drawn=480))


def test_ctrl_c_says_how_the_outermost_open_sweep_goes_on(more_images, tmp_path):
    """A search's decision is a sweep within the search."""
    outer_options = SweepOptions(output=tmp_path / "outer")
    inner_options = SweepOptions(output=tmp_path / "inner")
    outer = open_sweep("regimes", outer_options, lambda *_: {})
    inner = open_sweep("regimes", inner_options, lambda *_: {})
    raises = pytest.raises(InterruptedSweepError)
    with raises as interrupt, outer.owned(), inner.owned():
        raise KeyboardInterrupt
    assert interrupt.value.resume == f"mnist-tune resume {tmp_path / 'outer'}"
    again = opened_again(tmp_path / "inner", SweepKind.SWEEP)  # its folder is free
    again.writer.release()


@pytest.mark.promise(
    "A resume holds out as many images as the sweep did; sweeps of older versions held out none"
)
def test_a_new_sweep_records_what_it_holds_out_by_default_and_a_resume_holds_out_as_much(
    more_images, tmp_path, capsys
):
    folder = tmp_path / "sweep"
    meta = opened(folder, [{}, {"learning_rate": 0.2}])
    assert meta["options"]["holdout"] == 30
    assert holdouts(meta) == {30}
    note = "30 of 300 training examples are held out, and choose the best; --holdout 0"
    assert note in capsys.readouterr().err
    further = [SMALL, replace(SMALL, learning_rate=0.4), replace(SMALL, holdout=0)]
    meta = extended(folder, further)
    assert rates_and_holdouts(meta) == [(0.1, 30), (0.2, 30), (0.4, 30), (0.1, 0)]
    assert meta["options"]["holdout"] == 30


def test_what_is_asked_for_is_held_out_and_0_is_none(more_images, tmp_path, capsys):
    none = opened(tmp_path / "none", [{"holdout": 0}])
    assert holdouts(none) == {0}
    some = opened(tmp_path / "some", [{"holdout": 7}, {}])
    assert holdouts(some) == {7, 30}
    few = opened(tmp_path / "few", [{"holdout": 7}])
    assert holdouts(few) == {7}
    assert capsys.readouterr().err.count("are held out") == 1


@pytest.mark.promise(
    "A resume holds out as many images as the sweep did; sweeps of older versions held out none"
)
@pytest.mark.parametrize("holdout_option", [{"holdout": 0}, {}])
def test_an_older_sweep_that_held_out_nothing_goes_on_without(
    more_images, tmp_path, holdout_option, capsys
):
    """Its folder has no hold-out among the options if it was started from Python."""
    folder = tmp_path / "old"
    meta = opened(folder, [{"holdout": 0}])
    del meta["options"]["holdout"]
    meta["options"] |= holdout_option
    (folder / "sweep.json").write_text(json.dumps(meta))
    capsys.readouterr()
    trials = [replace(SMALL, learning_rate=0.1), replace(SMALL, learning_rate=0.4)]
    meta = extended(folder, trials)
    assert rates_and_holdouts(meta) == [(0.1, 0), (0.4, 0)]
    assert "held out" not in capsys.readouterr().err


def test_few_examples_are_all_trained_on_and_a_note_says_so(images, tmp_path, capsys):
    meta = opened(tmp_path / "sweep", [{}])
    assert meta["options"]["holdout"] == 0
    assert holdouts(meta) == {0}
    assert "note: no examples are held out" in capsys.readouterr().err


@pytest.fixture
def many_images(images, monkeypatch):
    """1,000 images to train on, whatever data a sweep names: 20 steps of 50."""
    many = some_images(1000, 1300)
    monkeypatch.setattr(SweepOptions, "load", lambda *_: many)


@pytest.mark.parametrize("every", [5, 21])
def test_reports_are_refused_that_are_noise_or_longer_than_an_epoch(
    every, many_images, tmp_path
):
    refusal = f"--report-every {every}: at batch size 50 it can be 6"
    with pytest.raises(UserError, match=refusal):
        opened(tmp_path / "sweep", [{"holdout": 0}], report_every=every)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("every", [0, -1])
def test_reports_take_a_step_or_more(every):
    with pytest.raises(UserError, match="--report-every must be a whole number of at"):
        SweepOptions(report_every=every)


def test_a_search_has_no_reports_within_an_epoch(many_images, tmp_path):
    with pytest.raises(UserError, match="--report-every is for given trials"):
        opened_search(tmp_path / "sweep", [{}], report_every=6)


def test_how_many_reports_an_epoch_has_is_recorded_and_told(many_images, tmp_path):
    fields = [{"holdout": 0, "batch_size": size} for size in (50, 25)]
    meta = opened(tmp_path / "sweep", fields, report_every=12)
    recorded_trials = meta["trials"].values()
    assert [trial["reports"] for trial in recorded_trials] == [2, 3]
    assert [trial["epochs"] for trial in recorded_trials] == [10, 10]
    assert meta["dataset"]["note"].startswith(
        "an epoch here is a report, after every 12"
    )
    trials = load_sweep(tmp_path / "sweep").trials
    assert trials["epochs_asked"].tolist() == [20, 30]


def test_more_epochs_and_trials_have_as_many_reports_of_an_epoch(many_images, tmp_path):
    folder = tmp_path / "sweep"
    fields = {"holdout": 0, "epochs": 2}
    opened(folder, [fields], report_every=6)
    longer = replace(SMALL, holdout=0, epochs=3)
    faster = replace(longer, learning_rate=0.5)
    trials = extended(folder, [longer, faster])["trials"]
    assert sorted(trials) == ["00000", "00001"]
    for trial in trials.values():
        assert (trial["epochs"], trial["reports"]) == (3, 3)
    with pytest.raises(UserError, match="--report-every can't change in a resume"):
        python_options(SweepOptions(resume=folder, report_every=10))


def test_the_trial_that_reports_within_epochs_ends_with_its_last_report():
    trial = TrialConfig(epochs=2, batch_size=50).reporting(1000, 6)
    assert trial.epochs_asked == 6
    assert [trial.stop_reason(report, False) for report in (5, 6)] == ["", "completed"]
