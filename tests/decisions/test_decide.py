"""Between which settings a decision is, on which data and held-out images, and what is
refused before it starts."""

import json
from unittest.mock import Mock

import pytest

import mnist_tune.decisions.decide as module
from mnist_tune import DecideOptions, TrialConfig, UserError, decide
from mnist_tune.data.dataset import load_dataset

SMALL = {"dataset": "mnist-5k", "architecture": ("mlp-4-tanh",), "epochs": 2}


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """A function that begins a decision and returns, in place of training, the options
    that are recorded."""
    ray = []
    monkeypatch.setattr(DecideOptions, "start_ray", lambda options: ray.append("is up"))
    monkeypatch.setattr(module, "processes", lambda options: 8 * len(ray))
    monkeypatch.setattr(module, "shown", lambda found, options: found)
    monkeypatch.setattr(
        module, "run_searcher", lambda opened, *rest: opened.writer.meta["options"]
    )
    return lambda **given: decide(DecideOptions(output=tmp_path / "new", **given))


@pytest.fixture
def swept(new_writer, epoch_row, tmp_path):
    """A function that makes a sweep that can't tell 0.2 and 0.4 apart, on 3,000 images;
    8 diverged."""

    def make(architecture="mlp-4-tanh", holdout=0, **recorded):
        writer = new_writer(tmp_path / "sweep", count=0)
        writer.update_options(
            dataset="mnist-5k", train_images=3000, standardize=True, target=0.9, lanes=3
        )
        data = load_dataset("mnist-5k", train_images=3000)
        writer.meta["dataset"] |= {
            "checksums": data.checksums,
            "label_counts": data.spec.label_counts,
        }
        for i, rate in enumerate((0.2, 0.4, 8.0)):
            trial = TrialConfig(
                architecture=architecture,
                learning_rate=rate,
                epochs=7,
                label="a label",
                holdout=holdout,
            )
            writer.trial(f"{i:05d}", trial)
            for epoch in range(1, 2 if rate == 8 else 8):
                writer.epoch(
                    f"{i:05d}",
                    epoch_row(epoch, test_accuracy=0.9, diverged=rate == 8),
                    False,
                )
            writer.end(f"{i:05d}", "diverged" if rate == 8 else "completed")
        writer.finish(ended="then", **recorded)
        return writer.path

    return make


def contenders(options):
    return [TrialConfig(**one) for one in options["contenders"]]


def test_settings_are_crossed(begun, capsys):
    found = contenders(begun(batch_size=(100, 120), learning_rates=(0.1, 0.2), **SMALL))
    assert [(one.batch_size, one.learning_rate) for one in found] == [
        (100, 0.1),
        (100, 0.2),
        (120, 0.1),
        (120, 0.2),
    ]
    assert {one.epochs for one in found} == {2}
    assert (
        "comparing 4 settings on 760 of 4000 training examples, which are held out"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("given", "found"), [({}, 5), ({"trials": 4}, 4), ({"at_a_time": 3}, 3)]
)
def test_two_settings_keep_all_cores_of_ray_busy_and_have_a_seed_to_spare(
    begun, given, found
):
    assert begun(learning_rates=(0.1, 0.2), **SMALL | given)["at_a_time"] == found


@pytest.mark.parametrize(
    ("sizes", "holdout", "leaves_out"),
    [
        ((128, 64), 672, ()),
        ((100, 120), 760, (100, 120)),
        ((1700, 1701), 666, ()),
        ((4000, 2100), 666, ()),
        ((4000, 1700, 32), 666, (32,)),
        ((3300, 33), 700, ()),
    ],
)
def test_about_a_sixth_is_held_out_whatever_the_batch_size(
    begun, sizes, holdout, leaves_out
):
    settings = contenders(begun(batch_size=sizes, learning_rates=(0.1,), **SMALL))
    assert {one.holdout for one in settings} == {holdout}
    assert {one.batch_size for one in settings if one.drop_last} == {*leaves_out}
    assert all(one.steps(4000 - holdout) >= 1 for one in settings)


@pytest.mark.parametrize(
    ("given", "held_out", "drops"),
    [
        ({"batch_size": (4000, 100), "holdout": 9}, 9, {4000: False, 100: True}),
        # 3150 images leave 14
        ({"batch_size": (64, 32), "holdout": 850}, 850, {64: True, 32: True}),
        (
            {"batch_size": (4000, 1700), "drop_last": True},
            666,
            {4000: False, 1700: True},
        ),
    ],
)
def test_what_is_given_is_held_out_and_left_out(begun, given, held_out, drops):
    settings = contenders(begun(learning_rates=(0.1,), **SMALL | given))
    assert {one.holdout for one in settings} == {held_out}
    assert {one.batch_size: one.drop_last for one in settings} == drops


def test_those_of_a_sweep_are_trained_as_there(begun, swept, tmp_path):
    options = begun(sweep=swept())
    assert [one.learning_rate for one in contenders(options)] == [0.2, 0.4]
    assert {
        (one.epochs, one.label, one.architecture) for one in contenders(options)
    } == {(7, "", "mlp-4-tanh")}
    recorded = ("dataset", "train_images", "standardize", "target", "chosen_by")
    assert [options[name] for name in recorded] == ["mnist-5k", 3000, True, 0.9, "test"]
    assert options["lanes"] is None, "how it runs is its own"
    few = DecideOptions(
        sweep=tmp_path / "sweep",
        output=tmp_path / "fewer",
        train_images=2000,
        holdout=9,
    )
    fewer = decide(few)
    assert (fewer["train_images"], {one.holdout for one in contenders(fewer)}) == (
        2000,
        {9},
    )


def test_a_decision_that_trains_on_other_images_than_the_sweep_says_both_counts(
    begun, swept, capsys
):
    options = begun(sweep=swept())
    assert {one.holdout for one in contenders(options)} == {568}
    said = "note: this trains on 2,432 examples and the sweep trained on 3,000, so their scores do not compare\n"
    assert (options["swept_images"], capsys.readouterr().err.count(said)) == (3000, 1)


@pytest.mark.parametrize("holdout", [300, 313])
def test_where_the_sweep_held_images_out_a_decision_trains_on_as_many(
    begun, swept, capsys, holdout
):
    """2,700 images leave 12 of a batch: these are not held out as well."""
    options = begun(sweep=swept(holdout=holdout))
    assert {(one.holdout, one.drop_last) for one in contenders(options)} == {
        (holdout, False)
    }
    assert options["swept_images"] == 3000 - holdout
    assert "the sweep trained on" not in capsys.readouterr().err


@pytest.mark.parametrize("drop_last", [False, True])
def test_settings_that_held_out_images_treat_the_last_batch_as_there(
    begun, tmp_path, drop_last
):
    """3,150 images leave 14 of 64: a search trained these, and its decision did not."""
    searched = [
        TrialConfig(learning_rate=one, holdout=850, batch_size=64, drop_last=drop_last)
        for one in (0.1, 0.2)
    ]
    options = DecideOptions(output=tmp_path / "new", dataset="mnist-5k", holdout=850)
    found = contenders(module.decide_between(options, searched))
    assert {(one.holdout, one.drop_last) for one in found} == {(850, drop_last)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"learning_rates": ()}, "a decision needs two settings"),
        ({"learning_rates": (0.1,)}, "a decision needs two settings"),
        (
            {"learning_rates": ("0.1:1:3",), "trials": 5},
            "^3 settings need --trials of at least 6$",
        ),
        (
            {"learning_rates": ("0.1:1:201",), "trials": 1000},
            "^201 settings are too many for a decision: at most 200$",
        ),
        *(
            ({"learning_rates": (0.1, 0.2), "holdout": of, "label_noise": 9}, f"{of}")
            for of in (-1, 0, 3999, 4000)
        ),
        (
            {"trials": 100_000},
            "^--trials must be a whole number of at least 1 and at most 99971, got",
        ),
    ],
)
def test_what_can_be_no_decision_is_refused(given, said, begun, capsys, tmp_path):
    with pytest.raises(UserError, match=said):
        begun(**SMALL | given)
    assert "comparing" not in "".join(capsys.readouterr())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"learning_rates": (0.1, 0.2)},
        {"epochs": 3},
        {"batch_size": (3,)},
        {"momentum": (0.5,)},
        {"nesterov": True},
        {"weight_decay": 0.1},
        {"schedule": "cosine"},
        {"loss": "mse"},
        {"label_noise": 9},
        {"clip_norm": 1.0},
        {"warmup_steps": 3},
        {"stop_when_diverged": False},
        {"optimizer": ("adam",)},
        {"architecture": ("mlp-8-tanh",)},
    ],
)
def test_with_a_sweep_settings_are_those_of_the_sweep(given, begun, swept):
    with pytest.raises(UserError, match="settings are those of the sweep"):
        begun(sweep=swept(), **given)


def test_a_sweep_on_other_data_or_on_arrays_is_refused(begun, swept):
    file = swept() / "sweep.json"
    recorded = json.loads(file.read_text())
    for changed, said in (
        (
            {"options": recorded["options"] | {"dataset": "arrays"}},
            "from Python, which it lacks; give them again",
        ),
        (
            {
                "dataset": recorded["dataset"]
                | {"name": "those", "checksums": {"a": "b"}}
            },
            "on other data .those.",
        ),
    ):
        file.write_text(json.dumps(recorded | changed))
        with pytest.raises(UserError, match=said):
            begun(sweep=file.parent)
    with pytest.raises(UserError, match="was made by something else; resume it with: "):
        decide(DecideOptions(resume=file.parent))


def test_the_same_command_starts_a_decision_of_a_sweep_and_resumes_it(tmp_path):
    assert (
        DecideOptions(sweep=tmp_path, resume="auto", output=tmp_path).sweep == tmp_path
    )
    with pytest.raises(
        UserError,
        match=r"^--sweep starts a new decision, and --resume goes on with one",
    ):
        DecideOptions(sweep="a", resume="b")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "net.py:mlp",
            r"name it: --sweep \S+ --architecture net\.py:mlp, or register it from Python",
        ),
        ("mine", r"register 'mine' again, and give sweep=\.\.\. from Python"),
    ],
)
def test_a_decision_of_a_sweep_of_own_code_says_how_to_name_it_again(swept, name, said):
    sweep = swept(
        f"{name}(8)", code=[{"flag": "architecture", "name": name, "files": {}}]
    )
    with pytest.raises(UserError, match=said):
        decide(DecideOptions(sweep=sweep))


def test_a_decision_of_a_sweep_takes_own_code_from_where_it_is_now(
    swept, tmp_path, monkeypatch
):
    sweep = swept(
        "net.py:mlp(8)",
        code=[{"flag": "architecture", "name": "net.py:mlp", "files": {}}],
    )
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "net.py").write_text("def mlp(data, width):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DecideOptions, "load", Mock(side_effect=EOFError))
    with pytest.raises(EOFError):
        decide(DecideOptions(sweep=sweep, architecture=("moved/net.py:mlp",)))
    with pytest.raises(
        UserError, match=r"has no architecture mlp-4-tanh, and with --sweep"
    ):
        decide(
            DecideOptions(sweep=sweep, architecture=("moved/net.py:mlp", "mlp-4-tanh"))
        )
