"""What is read from a sweep's folder: the states of its trials, views of its tables,
and what is taken or refused."""

import json
import math
import os
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept_texts import assert_kept

from mnist_tune import TrialConfig, UserError, load_sweep
from mnist_tune.columns import EPOCHS, TRIALS
from mnist_tune.continuation import resume_command
from mnist_tune.judged import judged
from mnist_tune.own_code.registry import ENTRIES
from mnist_tune.results import folder, journal, tables
from mnist_tune.results.journal import mend_last_line, parse_event, read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.sweep_meta import SweepMeta


@pytest.fixture(autouse=True)
def warn_again():
    journal._warn_once.cache_clear()


@pytest.fixture
def sweep_of_two(new_writer, epoch_row, tmp_path):
    """The folder of a sweep of a trial that has three epochs, and another that has
    none."""
    with new_writer(tmp_path / "sweep") as writer:
        for epoch in (1, 2, 3):
            row = epoch_row(epoch, 1 / epoch, 0.5 + epoch / 10)
            writer.epoch("00000", row, False)
        writer.finish(ended="now")
    return writer.path


@pytest.fixture
def in_each_state(new_writer, epoch_row, tmp_path):
    """The writer of a sweep of trials in each state."""
    with new_writer(tmp_path / "sweep", count=6) as writer:
        # the second epoch twice
        for epoch, accuracy in ((2, 0.3), (1, 0.5), (4, 0.96), (3, 0.98), (2, 0.97)):
            row = epoch_row(epoch, 1.02 - accuracy, accuracy, train_s=epoch)
            writer.epoch("00000", row, False)
        writer.epoch("00001", epoch_row(1), False)
        writer.epoch("00002", epoch_row(1), False)
        writer.epoch("00002", epoch_row(2), False)
        writer.trial("proposed", TrialConfig(learning_rate=0.7, epochs=2, seed=3))
        writer.end("00000", "interrupted")
        writer.end("00000", "completed")
        # with fewer epochs than are asked for, it goes on
        writer.end("00002", "completed")
        writer.end("00004", "error", "s3://key:hidden@bucket is full")
        writer.end("00005", "time_budget")
        yield writer


@pytest.mark.promise(
    "A running sweep can be read; its trials are `running` or `waiting`"
)
@pytest.mark.parametrize(
    ("running", "states"),
    [
        (True, "completed running running waiting error time_budget waiting"),
        (None, "completed unknown unknown unknown error time_budget unknown"),
        (
            False,
            "completed interrupted interrupted interrupted error time_budget interrupted",
        ),
    ],
)
def test_the_states_of_trials(in_each_state, running, states):
    sweep = tables.journal_tables(in_each_state.path, in_each_state.meta, running)
    assert " ".join(judged(sweep).trials["stop_reason"]) == states
    assert load_sweep(in_each_state.path).trials["stop_reason"][1] == "running"


def test_the_tables_of_trials_in_each_state(in_each_state):
    written = in_each_state.finish(ended="now")
    read = load_sweep(in_each_state.path)
    from_journal = judged(tables.journal_tables(in_each_state.path, read.meta))
    for sweep in (read, from_journal):
        pd.testing.assert_frame_equal(sweep.trials, written.trials, check_exact=True)
        pd.testing.assert_frame_equal(sweep.epochs, written.epochs, check_exact=True)
    assert read.meta == written.meta | {"kind": "sweep"}
    trial = read.trials.iloc[0]
    assert trial["epochs_run"] == 4
    assert trial["train_s"] == 1 + 2 + 3 + 4
    assert trial["best_epoch"] == 3
    assert trial["train_accuracy"] == 0.96
    assert trial["best_test_accuracy"] == 0.98 - 0.01
    assert read.trials["error"][4] == "s3://***@bucket is full"
    proposed = read.trials.iloc[-1]
    assert proposed["trial_id"] == "proposed"
    assert proposed["learning_rate"] == 0.7
    assert proposed["seed"] == 3
    # what no trial measured
    assert not {"validation_loss", "sharpness", "answers"} & {*read.epochs}


@pytest.fixture
def in_pairs(made_up_sweep):
    """A sweep of four rates and two seeds."""
    return made_up_sweep([0.01, 0.19, 0.2, 3.0], seeds=2, batch_size=64, epochs=2)


def test_views_of_a_sweep(in_pairs):
    sweep = in_pairs
    assert sweep.curves("test_accuracy").shape == (2, 8)
    assert {*sweep.with_settings()} == {*sweep.epochs, "seed"}
    assert sweep.with_settings("regime")["regime"].notna().all()
    steps = [None] * len(sweep.epochs)
    for epoch in (1, 3):
        steps[epoch] = "[[0, 1.0, 0.01, 2.0], [10, 3.0, 0.03, 4.0, 5.0, 0.5]]"
    sharp = replace(sweep, epochs=sweep.epochs.assign(sharpness_steps=steps))
    assert sharp.sharpness()["step"].tolist() == [0, 10, 0, 10]
    for number, apart in enumerate(tables.distinct([sweep, sharp])):
        ids = f"{number}:" + sweep.trials["trial_id"]
        assert apart.trials["trial_id"].tolist() == ids.tolist()
        assert {*apart.epochs["trial_id"]} == {*ids}
    assert sweep.picture("a.png") == sweep.path / "a.png"
    in_a_bucket = replace(sweep, path="s3://bucket/sweep")
    assert str(in_a_bucket.picture("a.png")) == "a.png"


@pytest.mark.parametrize(
    ("trial_id", "line"),
    [
        (
            "00002",
            r"not kept; to train it again: run_sweep\('again', {'epochs': 2, .*'learning_rate': 0.19",
        ),
        ("0001", "no trial '0001'; did you mean '00001'"),
        (3, "no trial 3; did you mean '00003'"),
    ],
)
def test_a_trial_that_cannot_be_loaded_is_a_line(in_pairs, trial_id, line):
    with pytest.raises(UserError, match=line):
        in_pairs.load(trial_id)


def test_a_column_that_is_not_there_is_a_line(in_pairs):
    line = "epochs has no column 'accuracy'; it has trial_id"
    with pytest.raises(UserError, match=line):
        in_pairs.curves("accuracy")
    with pytest.raises(UserError, match="trials has no column 'batchsize'"):
        in_pairs.with_settings("batchsize")
    with pytest.raises(UserError, match="--sharpness does"):
        in_pairs.sharpness()


CALLS = [
    "net.py:cnn(width=8)",
    "net.py:cnn(width=16, momentum=0.5)",
    "net.py:cnn(width='wide', pool=True)",
    "mlp-4-tanh",
]


def test_arguments_of_own_code_are_columns(made_up_sweep):
    sweep = made_up_sweep([0.1], architectures=CALLS[:2], optimizer="adam(b1=0.8)")
    for read in (sweep, load_sweep(sweep.path)):
        assert read.trials["width"].tolist() == [8, 16]
        assert read.trials["architecture_momentum"].tolist()[1] == 0.5
        assert read.trials["optimizer_b1"].tolist() == [0.8, 0.8]
        assert read.trials["momentum"].tolist() == [0, 0]
        assert set(read.with_settings()["width"]) == {8, 16}
        assert read.by("width")["width"].tolist() == [8, 16]
    stored = pd.read_parquet(sweep.path / "trials.parquet")
    assert stored["width"].tolist() == [8, 16]


def test_a_plot_of_curves_may_have_settings_in_its_legend(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2], architectures=CALLS[:2])
    curves = sweep.curves("test_accuracy", "width", "learning_rate")
    assert curves.shape == (4, 4)
    assert curves[16, 0.2].tolist() == sweep.curves("test_accuracy")["00003"].tolist()
    with pytest.raises(UserError, match="trials has no column 'depth'"):
        sweep.curves("test_accuracy", "depth")


def test_arguments_of_several_kinds_are_texts_and_those_not_given_are_gaps(
    made_up_sweep,
):
    trials = made_up_sweep([0.1], architectures=CALLS).trials
    assert trials["width"].tolist()[:3] == ["8", "16", "wide"]
    assert trials["width"].isna().tolist() == [False, False, False, True]
    assert trials["pool"].isna().tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("argument", "column"),
    [
        ("width", "width"),
        ("seed", "architecture_seed"),
        ("stop_when_diverged", "architecture_stop_when_diverged"),
        ("step", "architecture_step"),
        ("score_f1", "architecture_score_f1"),
        ("optimizer_b1", "architecture_optimizer_b1"),
        ("key", "key"),
        ("rank", "rank"),
    ],
)
def test_an_argument_never_takes_the_place_of_a_column(made_up_sweep, argument, column):
    name = f"net.py:cnn({argument}=7)"
    sweep = made_up_sweep([0.1, 0.2], architectures=[name, "net.py:cnn"])
    assert sweep.trials[column].tolist()[:2] == [7, 7]
    assert list(sweep.trials).count(column) == 1


# --- journals


TRIAL = {"kind": "trial", "trial_id": "00007", "config": {"learning_rate": 0.2}}
END = {"kind": "end", "trial_id": "00000", "stop_reason": "completed", "error": ""}
ROW = {
    "kind": "epoch",
    "trial_id": "00000",
    "epoch": 4,
    "step": 40,
    "learning_rate": 0.1,
    "train_loss": 0.5,
    "train_accuracy": 0.9,
    "test_loss": 0.5,
    "test_accuracy": 0.9,
    "diverged": False,
}
TAKEN = [
    ROW,
    TRIAL,
    END,
    {"kind": "writer", "number": 2},
    TRIAL | {"config": {}},
    ROW | {"mine": 1, "finite": None},
    {"kind": "end", "trial_id": "00000", "stop_reason": "asha"},
]
REFUSED = [
    {"kind": "writer", "number": 0},
    {"trial_id": "00000"},
    ROW | {"kind": ["epoch"]},
    [ROW],
    TRIAL | {"trial_id": "../x"},
    TRIAL | {"config": {"learning_rate": 0}},
    TRIAL | {"config": [1]},
    END | {"stop_reason": "no reason"},
    {"kind": "end", "trial_id": "00000"},
    END | {"error": 1},
]
"""What a value of a row may be, is told by `test_journal.py`."""


def test_lines_of_a_journal_are_taken_or_not(tmp_path, caplog):
    for event in (*TAKEN, *REFUSED):
        line = json.dumps(event).encode()
        (tmp_path / "journal.jsonl").write_bytes(line + b"\n")
        journal._warn_once.cache_clear()
        caplog.clear()
        events = read_journal(tmp_path)
        assert ("damaged" in caplog.text) == (event in REFUSED), event
        is_row = event in TAKEN and event["kind"] == "epoch"
        assert events.undecided == is_row
        assert (len(events.epochs) == 1) == is_row
    text = json.dumps(END | {"error": "\x1b[2J"})
    assert parse_event(text.encode())["error"] == "\\x1b[2J"


JOURNALS = {
    "": "0 0 0",
    "R": "1 0 0 undecided",
    "RE": "1 0 1",
    "ER": "1 0 1 undecided",
    "REW": "1 0 1",
    "T": "0 1 0",
    "EI": "1 0 1 undecided",
    "-R": "1 0 0 undecided, line (line 1)",
    "R-": "1 0 0 undecided, line (line 2)",
    "R--------R": "2 0 0 undecided, lines (lines 2, 3, 4, 5, 6, ...)",
    "RR.": "2 0 0 undecided, ended",
    "RR~": "2 0 0 undecided, torn",
    "R-.": "1 0 0 undecided, torn",
    "RtR": "2 0 0 undecided",
    "RRRIRRRRR": "9 0 0 undecided",
}
"""The number of rows, trials and ends, by the lines: R is a row, I one of an infinite
loss, T a trial, E an end, W a writer, - no event, t a line that was torn. The last one may be cut (~), or lack its end (.)."""


LINES = {
    "R": json.dumps(ROW).encode(),
    "I": json.dumps(ROW | {"train_loss": math.inf}).encode(),
    "T": json.dumps(TRIAL).encode(),
    "E": json.dumps(END).encode(),
    "W": b'{"kind": "writer", "number": 2}',
    "t": json.dumps(ROW).encode()[:30] + journal.TORN[:-1],
    "-": b"no event",
}
MENDED = {b"": "", b"\n": ", ended", journal.TORN: ", torn"}
"""What is appended to a journal's last line."""


def content_of(case):
    """Return the bytes of a journal with these lines."""
    content = b"".join(LINES[letter] + b"\n" for letter in case.rstrip("~."))
    if case.endswith("."):
        return content.removesuffix(b"\n")
    if case.endswith("~"):
        return content + LINES["R"][:40]
    return content


def as_text(events, appended, warnings):
    """Return what was read of a journal, and what was said of it, as in `JOURNALS`."""
    text = f"{len(events.epochs)} {len(events.trials)} {len(events.ends)}"
    if events.undecided:
        text += " undecided"
    text += MENDED[appended]
    for warning in warnings:
        _, _, damage = warning.partition("damaged ")
        place, _, _ = damage.partition(" and")
        text += f", {place}"
    return text


@pytest.mark.parametrize("block_lines", [2**13, 2])
def test_what_a_journal_says_and_how_it_is_mended(
    tmp_path, caplog, monkeypatch, block_lines
):
    monkeypatch.setattr(journal, "BLOCK_LINES", block_lines)
    path = tmp_path / "journal.jsonl"
    for case, expected in JOURNALS.items():
        content = content_of(case)
        path.write_bytes(content)
        journal._warn_once.cache_clear()
        caplog.clear()
        events = read_journal(tmp_path)
        mend_last_line(path)
        appended = path.read_bytes()[len(content) :]
        assert as_text(events, appended, caplog.messages) == expected, case


MLP = {"flag": "architecture", "name": "net.py:mlp"}
CNN = {"flag": "architecture", "name": "net.py:cnn"}
OPTIMIZER = {"flag": "optimizer", "name": "net.py:opt"}
UNKNOWN = {"flag": "architecture", "name": "unknown.py:mlp"}
SWEEPS = {
    "lr_regimes, of 0 own": {"name": "lr_regimes"},
    "mine, of 0 own": {"name": "mine"},
    "mine, a search, of 0 own": {"name": "mine", "search": True},
    "search, a search, of 0 own": {"name": "search", "search": True},
    "lr_regimes, of 4 own": {
        "name": "lr_regimes",
        "code": [MLP, CNN, OPTIMIZER, UNKNOWN],
    },
    "lr_regimes, of 1 own": {"name": "lr_regimes", "code": [UNKNOWN]},
}
"""What `sweep.json` records, of how much code of one's own."""


def test_the_command_that_resumes(tmp_path, monkeypatch):
    for code in (MLP, CNN, OPTIMIZER):
        monkeypatch.setitem(ENTRIES[code["flag"]], code["name"], None)
    lines = []
    for title, record in SWEEPS.items():
        lines.append(f"{title}:")
        for again in (False, True):
            meta = SweepMeta.of(record)
            lines.append(f"  {resume_command(meta, tmp_path / 'a b', again)}")
    assert_kept("resumes", "\n".join(lines).replace(str(tmp_path), "HERE") + "\n")


# --- sweep.json


# as older ones have
SEARCH = {
    "architecture": "mlp-4-tanh",
    "expected": 0.5,
    "predicted": {"2/λ0": [0.4, 0.6]},
}
CODE = {
    "flag": "architecture",
    "name": "a.py:net",
    "files": {"a.py": {"sha256": "0", "lines": ["x"]}},
    "folder": "/x",
}
RIGHT = {
    "options": None,
    "options.target": 0.5,
    "options.searches": [SEARCH],
    "code": [CODE],
    "command": ["mnist-tune"],
    "dataset.positions": None,
    "environment.versions": {"jax": None},
    "mine": 1,
}
WRONG = (
    ("name", None),
    ("name", "x" * (2**14 + 1)),
    ("trials", []),
    ("trials", {"a/b": {}}),
    ("trials", {"a": 1}),
    ("trials", {"a": {"learning_rate": -1}}),
    ("dataset", []),
    ("dataset.note", 1),
    ("dataset.checksums", []),
    ("dataset.test_images", 0),
    ("dataset.target", 1.0),
    ("dataset.target", True),
    ("options", []),
    ("options.target", 0),
    ("options.dataset", 5),
    ("options.train_evaluation", 0),
    ("options.standardize", 1),
    ("options.precision", math.inf),
    ("options.precision", math.nan),
    ("options.searches", [1]),
    ("options.searches", [SEARCH | {"expected": 0}]),
    ("options.searches", [SEARCH | {"batch_size": 0}]),
    ("environment", []),
    ("search", 1),
    ("code", [CODE | {"flag": "address"}]),
    ("code", [CODE | {"name": None}]),
    ("code", [CODE | {"files": []}]),
    ("writer", 0),
    ("resumed", [1]),
    ("trials", {"a": {"cls": 1}}),
    ("command", [1]),
    ("started", 1),
    ("ended", 1),
)


def changed(meta, name, value):
    """Return what `sweep.json` records with another value; a dot stands before the name
    of a value in a part."""
    part, _, inner = name.partition(".")
    if inner:
        value = meta.get(part, {}) | {inner: value}
    return meta | {part: value}


def test_values_of_a_sweep_json_are_taken_or_refused(sweep_of_two):
    file = sweep_of_two / "sweep.json"
    whole = json.loads(file.read_text()) | {"options": {"lanes": 2}}
    refusal = f"^{file} was not written by a sweep: "
    for name, value in RIGHT.items():
        file.write_text(json.dumps(changed(whole, name, value)))
        assert read_meta(sweep_of_two)["name"] == "lr_regimes"
    for name, value in WRONG:
        file.write_text(json.dumps(changed(whole, name, value)))
        part, _, _ = name.partition(".")
        with pytest.raises(UserError, match=rf"{refusal}.*{part.rstrip('s')}"):
            read_meta(sweep_of_two)
    for text in ("", "7", "[]", "{"):
        file.write_text(text)
        with pytest.raises(UserError, match=f"{refusal}it "):
            read_meta(sweep_of_two)


# --- stored tables


WRONG_COLUMNS = (
    ("trials", "trial_id", ["00000", "a/b"]),
    ("trials", "stop_reason", ["asha", "a/b"]),
    ("epochs", "finite", [1, 0, 1]),
    ("trials", "changed", ["\x1b[2J", "x"]),
)
WRONG_NUMBERS = (
    ("trials", "trial_id", ["00000", None]),
    ("trials", "learning_rate", [0.1, math.nan]),
    ("trials", "learning_rate", ["a", "b"]),
    ("trials", "train_s", ["a", "b"]),
    ("trials", "nesterov", [True, None]),
    ("trials", "diverged_at_step", ["a", "b"]),
    ("epochs", "learning_rate", [0.1, 0.1, None]),
)
COLUMNS = {"trials": TRIALS, "epochs": EPOCHS}


@pytest.fixture(params=COLUMNS)
def table(request, sweep_of_two):
    """The name of a table, its file, and what is stored in it."""
    file = sweep_of_two / f"{request.param}.parquet"
    return request.param, file, pq.read_table(file)


def assert_refused(name, file, words):
    line = f"{file} is not a table of a sweep .*{words}"
    with pytest.raises(UserError, match=line):
        tables.read_table(file, COLUMNS[name])


def test_wrong_values_of_stored_tables_are_refused(table):
    name, file, whole = table
    for table_name, column, values in (*WRONG_COLUMNS, *WRONG_NUMBERS):
        if table_name == name:
            place = whole.schema.get_field_index(column)
            pq.write_table(whole.set_column(place, column, pa.array(values)), file)
            words = column if (name, column, values) in WRONG_COLUMNS else ""
            assert_refused(name, file, words)


def test_a_stored_table_may_lack_columns_but_those_that_all_have(table):
    name, file, whole = table
    needed = "regime" if name == "trials" else "epoch"
    pq.write_table(whole.drop_columns([needed]), file)
    assert_refused(name, file, needed)
    pq.write_table(whole.drop_columns(["node"]), file)
    assert tables.read_table(file, COLUMNS[name])["node"].isna().all()


def test_tables_that_cannot_be_a_sweeps_are_made_from_the_journal(sweep_of_two, caplog):
    file = sweep_of_two / "trials.parquet"
    before = load_sweep(sweep_of_two).trials
    before.assign(regime=["slow", "mine"]).to_parquet(file, index=False)
    assert load_sweep(sweep_of_two).trials.equals(before)
    assert "the tables are made again from the journal" in caplog.text
    (sweep_of_two / "journal.jsonl").unlink()
    with pytest.raises(UserError, match="were not written by a sweep"):
        load_sweep(sweep_of_two)


# --- folders


def test_the_newest_sweep_below_a_folder_is_read_but_none_within_another(
    new_writer, tmp_path
):
    for age, name in ((30, "2/winner"), (40, "2"), (50, "1")):
        new_writer(tmp_path / name).finish(ended="now")
        os.utime(tmp_path / name / "sweep.json", (1e9 - age, 1e9 - age))
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "sweep.json").symlink_to("nowhere")
    assert load_sweep(tmp_path).path == tmp_path / "2"
    winner = tmp_path / "2" / "winner"
    assert load_sweep(winner).path == winner
    for name in ("3", "4"):
        line = f"^no sweep in {tmp_path / name} .*name the folder of a sweep$"
        with pytest.raises(UserError, match=line):
            load_sweep(tmp_path / name)


def test_new_folders_have_names_of_their_own(tmp_path):
    names = [folder.new_folder(tmp_path, "a/b").name for _ in range(3)]
    assert names == ["b", "b-2", "b-3"]
    (tmp_path / "file").touch()
    line = r"^can't write results to .*file/b: Not a directory; name another --output$"
    with pytest.raises(UserError, match=line):
        folder.new_folder(tmp_path / "file", "b")


def test_one_writer_at_a_time_and_none_over_states_of_another(new_writer, tmp_path):
    held = r"^another sweep is writing to .*held; wait for it, or stop it first$"
    with new_writer(tmp_path / "held") as writer, pytest.raises(UserError, match=held):
        new_writer(writer.path, resume=True)
    states = tmp_path / "gone" / "states"
    states.mkdir(parents=True)
    (states / "00000.npz").touch()
    line = r"states has the states of a sweep whose sweep.json is gone; name another"
    with pytest.raises(UserError, match=line):
        new_writer(tmp_path / "gone")
