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
from mnist_tune.training.task import Network
from mnist_tune.tuning import checks, opening, options
from mnist_tune.tuning.opening import open_sweep
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.past import additions
from mnist_tune.tuning.resuming import python_options


@pytest.fixture
def images(monkeypatch):
    """100 images, whatever data a sweep names."""
    found = replace(
        load_dataset(patterns((4, 3), 3), train_images=100), source="data.npz"
    )
    monkeypatch.setattr(SweepOptions, "load", lambda *given: found)
    monkeypatch.setattr(opening, "check_session", lambda *given: None)
    monkeypatch.setattr(checks, "check_networks", lambda *arguments: None)
    monkeypatch.setattr(options, "start_ray", lambda *given: None)


def opened_again(folder, kind=SweepKind.SEARCH, **given):
    return open_sweep(
        "mine", python_options(SweepOptions(resume=folder, **given)), kind=kind
    )


def opened(folder, fields, search=False, **given):
    """Open a new sweep of trials with these fields, and return what `sweep.json`
    records."""
    trials = [
        TrialConfig(**{"architecture": "mlp-4-tanh", "batch_size": 50} | one)
        for one in fields
    ]
    named = {} if search else {f"{i:05d}": trial for i, trial in enumerate(trials)}
    options = SweepOptions(output=folder, **given)
    kind = SweepKind.SEARCH if search else SweepKind.SWEEP
    open_sweep("mine", options, lambda *given: named, kind, trials).writer.finish()
    return json.loads((folder / "sweep.json").read_text())


def grown(folder, fields):
    """Resume a sweep with one more trial, and return what `sweep.json` records."""
    trial = TrialConfig(**{"architecture": "mlp-4-tanh", "batch_size": 50} | fields)
    options = python_options(SweepOptions(resume=folder, save_every=3))
    open_sweep("mine", options, lambda *given: {"00001": trial}).writer.finish()
    return json.loads((folder / "sweep.json").read_text())


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        (
            [{"batch_size": n} for n in (30, 48, 48)],
            "the last batch of an epoch has 4 of 48 examples;",
        ),
        (
            [{"batch_size": n} for n in (48, 60, 33)],
            "the last batch of an epoch has 1 of 33 or 4 of 48 examples;",
        ),
        # a quarter is not small
        ([{"batch_size": n} for n in (40, 20, 80, 100)], None),
        ([{"batch_size": 48, "drop_last": True}], None),
        ([{"batch_size": 33, "holdout": 1}], None),
        (
            [{"architecture": name} for name in ("mlp-relu", "mlp-4-relu", "stax-mlp")],
            "mlp-relu has no hidden layer, so it is linear; mlp-128-relu has one of 128 units",
        ),
        ([{"batch_size": 30, "epochs": 3, "holdout": 40, "warmup_steps": 5}], None),
        (
            [{"batch_size": 30, "epochs": 3, "holdout": 40, "warmup_steps": 6}] * 2,
            "a trial has 6 steps, and warms up for 6",
        ),
    ],
)
def test_small_last_batches_and_long_warm_ups_are_noted_once(
    fields, note, images, tmp_path, capsys
):
    opened(tmp_path / "sweep", [{"holdout": 0} | one for one in fields])
    said = capsys.readouterr().err
    assert (said.count("note: "), said.count(note or "note: ")) == (
        (1, 1) if note else (0, 0)
    )


@pytest.mark.parametrize(
    ("fields", "words"),
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
    fields, words, images, tmp_path
):
    with pytest.raises(UserError, match=words):
        opened(tmp_path / "sweep", [fields])
    assert not (tmp_path / "sweep").exists()
    before = opened(tmp_path / "sweep", [{}])
    with pytest.raises(UserError, match=words):
        grown(tmp_path / "sweep", fields)
    assert (
        json.loads((tmp_path / "sweep" / "sweep.json").read_text())["options"]
        == before["options"]
    )
    register("mine")(
        lambda data: Network(lambda key: {}, lambda params, images: images)
    )
    meta = grown(tmp_path / "sweep", {"architecture": "mine"})
    assert (meta["options"]["save_every"], [one["name"] for one in meta["code"]]) == (
        3,
        ["mine"],
    )


def test_a_search_records_its_data_its_options_and_the_code_that_it_names(
    images, tmp_path
):
    register("mine")(
        lambda data: Network(lambda key: {}, lambda params, images: images)
    )
    meta = opened(
        tmp_path / "search",
        [{}, {"architecture": "mine"}],
        True,
        data_dir=tmp_path,
        max_concurrent=3,
    )
    assert sum(meta["dataset"]["label_counts"]) == 100
    assert (meta["options"]["data_dir"], meta["options"]["max_concurrent"]) == (
        str(tmp_path),
        3,
    )
    assert [(one["flag"], one["name"]) for one in meta["code"]] == [
        ("architecture", "mine")
    ]
    assert (meta["trials"], meta["kind"]) == ({}, "search")


@pytest.mark.promise("A resume joins no cluster that the folder names")
def test_a_resume_joins_no_cluster_that_the_folder_names(
    images, tmp_path, capsys, monkeypatch
):
    opened(tmp_path / "sweep", [{}], True)
    joined = []
    monkeypatch.setattr(
        options, "start_ray", lambda address, *given: joined.append(address)
    )
    file = tmp_path / "sweep" / "sweep.json"
    before = json.loads(file.read_text())
    for recorded, given in (
        ("evil:6379; rm", None),
        ("head:6379", None),
        (None, "head:1"),
        ("head:6379", "head:1"),
    ):
        file.write_text(
            json.dumps(before | {"options": before["options"] | {"address": recorded}})
        )
        found = opened_again(tmp_path / "sweep", address=given)
        found.writer.finish()
        assert (found.options.address, set(joined)) == (given, {given} - {None})
        joined.clear()
        assert ("it ran on a Ray cluster: --address" in capsys.readouterr().err) == (
            recorded not in (None, given)
        )


@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
def test_a_resume_loads_no_task_that_only_the_folder_names(
    new_writer, tmp_path, monkeypatch
):
    (tmp_path / "evil.py").write_text("open('sprung', 'w')")
    new_writer(tmp_path / "sweep").finish(options={"task": ["evil.py:task"]})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        options, "start_ray", Mock(side_effect=UserError("a process would try it"))
    )
    with pytest.raises(UserError, match=r"has not recorded; name it: .* --task"):
        opened_again(tmp_path / "sweep", SweepKind.SWEEP)
    assert not (tmp_path / "sprung").exists()


def test_a_resume_refuses_another_kind_of_sweep_and_networks_that_are_gone(
    images, tmp_path
):
    register("mine")(
        lambda data: Network(lambda key: {}, lambda params, images: images)
    )
    opened(tmp_path / "search", [{"architecture": "mine"}], True)
    opened(tmp_path / "sweep", [{}])
    with pytest.raises(UserError, match="is a search; resume it by run_search"):
        opened_again(tmp_path / "search", SweepKind.SWEEP)
    with pytest.raises(UserError, match="is not a search"):
        opened_again(tmp_path / "sweep")
    writer = opened_again(tmp_path / "search").writer
    writer.release()
    assert [code["name"] for code in writer.record.code] == ["mine"], (
        "it may propose it"
    )
    ENTRIES["architecture"].pop("mine")
    with pytest.raises(
        UserError,
        match="code of your own, which it has not recorded; register 'mine' again",
    ):
        opened_again(tmp_path / "search")


def test_a_sweep_without_output_goes_to_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = {"00000": TrialConfig(architecture="mlp-4-tanh")}
    writer = open_sweep(
        "mine", SweepOptions(dataset="mnist-5k", quiet=True), lambda *given: trials
    ).writer
    writer.finish()
    assert writer.path.parent == tmp_path / "results" / "mine"


def held_out_in(meta):
    return meta["options"]["holdout"], {
        trial["holdout"] for trial in meta["trials"].values()
    }


def many(count=300):
    return replace(
        load_dataset(patterns((4, 3), 3, 480), train_images=count), source="data.npz"
    )


@pytest.fixture
def more_images(images, monkeypatch):
    """300 images, whatever data a sweep names."""
    monkeypatch.setattr(SweepOptions, "load", lambda *given: many())


def test_ctrl_c_says_how_the_outermost_open_sweep_goes_on(more_images, tmp_path):
    """A search's decision is a sweep within the search."""
    outer, inner = (
        open_sweep("regimes", SweepOptions(output=tmp_path / name), lambda *_: {})
        for name in ("outer", "inner")
    )
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
    assert held_out_in(opened(tmp_path / "sweep", [{}, {"learning_rate": 0.2}])) == (
        30,
        {30},
    )
    assert (
        "30 of 300 training examples are held out, and choose the best; --holdout 0"
        in capsys.readouterr().err
    )
    again = TrialConfig(architecture="mlp-4-tanh", batch_size=50)
    options = python_options(SweepOptions(resume=tmp_path / "sweep"))
    wanted = [again, replace(again, learning_rate=0.4), replace(again, holdout=0)]
    found = open_sweep(
        "mine", options, lambda known, holdout: additions(known, wanted, holdout)
    )
    found.writer.finish()
    meta = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    held_out = [
        (trial["learning_rate"], trial["holdout"]) for trial in meta["trials"].values()
    ]
    assert held_out == [(0.1, 30), (0.2, 30), (0.4, 30), (0.1, 0)]
    assert meta["options"]["holdout"] == 30


def test_what_is_asked_for_is_held_out_and_0_is_none(more_images, tmp_path, capsys):
    assert held_out_in(opened(tmp_path / "none", [{"holdout": 0}]))[1] == {0}
    assert held_out_in(opened(tmp_path / "some", [{"holdout": 7}, {}]))[1] == {7, 30}
    assert held_out_in(opened(tmp_path / "few", [{"holdout": 7}]))[1] == {7}
    assert capsys.readouterr().err.count("are held out") == 1


@pytest.mark.promise(
    "A resume holds out as many images as the sweep did; sweeps of older versions held out none"
)
@pytest.mark.parametrize("recorded", [{"holdout": 0}, {}])
def test_an_older_sweep_that_held_out_nothing_goes_on_without(
    more_images, tmp_path, recorded, capsys
):
    """Its folder has no hold-out among the options if it was started from Python."""
    opened(tmp_path / "old", [{"holdout": 0}])
    file = tmp_path / "old" / "sweep.json"
    meta = json.loads(file.read_text())
    del meta["options"]["holdout"]
    file.write_text(json.dumps(meta | {"options": meta["options"] | recorded}))
    capsys.readouterr()
    again = [
        TrialConfig(architecture="mlp-4-tanh", batch_size=50, learning_rate=rate)
        for rate in (0.1, 0.4)
    ]
    options = python_options(SweepOptions(resume=tmp_path / "old"))
    open_sweep(
        "mine", options, lambda known, holdout: additions(known, again, holdout)
    ).writer.finish()
    trials = json.loads(file.read_text())["trials"].values()
    assert [(trial["learning_rate"], trial["holdout"]) for trial in trials] == [
        (0.1, 0),
        (0.4, 0),
    ]
    assert "held out" not in capsys.readouterr().err


def test_few_examples_are_all_trained_on_and_a_note_says_so(images, tmp_path, capsys):
    assert held_out_in(opened(tmp_path / "sweep", [{}])) == (0, {0})
    assert "note: no examples are held out" in capsys.readouterr().err
