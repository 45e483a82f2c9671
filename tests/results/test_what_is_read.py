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
            writer.epoch("00000", epoch_row(epoch, 1 / epoch, 0.5 + epoch / 10), False)
        writer.finish(ended="now")
    return writer.path


@pytest.mark.promise(
    "A running sweep can be read; its trials are `running` or `waiting`"
)
def test_the_tables_of_trials_in_each_state(new_writer, epoch_row, tmp_path):
    with new_writer(tmp_path / "sweep", count=6) as writer:
        # the second epoch twice
        for epoch, accuracy in ((2, 0.3), (1, 0.5), (4, 0.96), (3, 0.98), (2, 0.97)):
            writer.epoch(
                "00000",
                epoch_row(epoch, 1.02 - accuracy, accuracy, train_s=epoch),
                False,
            )
        writer.epoch("00001", epoch_row(1), False)
        for epoch in (1, 2):
            writer.epoch("00002", epoch_row(epoch), False)
        writer.trial("proposed", TrialConfig(learning_rate=0.7, epochs=2, seed=3))
        for trial_id, reason in (
            ("00000", "interrupted"),
            ("00000", "completed"),
            ("00002", "completed"),
        ):
            writer.end(trial_id, reason)
        writer.end("00004", "error", "s3://key:hidden@bucket is full")
        writer.end("00005", "time_budget")
        first = "completed {} {} {} error time_budget {}"
        for running, open_ in (
            (True, ("running", "running", "waiting", "waiting")),
            (None, ("unknown",) * 4),
            (False, ("interrupted",) * 4),
        ):
            found = judged(
                tables.journal_tables(writer.path, writer.meta, running)
            ).trials["stop_reason"]
            assert " ".join(found) == first.format(*open_), (
                "one that completed fewer epochs than are asked for goes on"
            )
        assert load_sweep(writer.path).trials["stop_reason"][1] == "running"
        written = writer.finish(ended="now")
    read = load_sweep(writer.path)
    for one in (read, judged(tables.journal_tables(writer.path, read.meta))):
        pd.testing.assert_frame_equal(one.trials, written.trials, check_exact=True)
        pd.testing.assert_frame_equal(one.epochs, written.epochs, check_exact=True)
    assert read.meta == written.meta | {"kind": "sweep"}
    trial = read.trials.iloc[0]
    assert (trial["epochs_run"], trial["train_s"], trial["best_epoch"]) == (
        4,
        1 + 2 + 3 + 4,
        3,
    )
    assert (trial["train_accuracy"], trial["best_test_accuracy"]) == (0.96, 0.98 - 0.01)
    assert read.trials["error"][4] == "s3://***@bucket is full"
    assert read.trials.iloc[-1][["trial_id", "learning_rate", "seed"]].tolist() == [
        "proposed",
        0.7,
        3,
    ]
    assert not {"validation_loss", "sharpness", "answers"} & {*read.epochs}, (
        "what no trial measured"
    )


def test_views_of_a_sweep(made_up_sweep, epoch_row):
    sweep = made_up_sweep([0.01, 0.19, 0.2, 3.0], seeds=2, batch_size=64, epochs=2)
    assert sweep.curves("test_accuracy").shape == (2, 8)
    assert {*sweep.with_settings()} == {*sweep.epochs, "seed"}
    assert sweep.with_settings("regime")["regime"].notna().all()
    measured = "[[0, 1.0, 0.01, 2.0], [10, 3.0, 0.03, 4.0, 5.0, 0.5]]"
    steps = [measured if i in (1, 3) else None for i in range(len(sweep.epochs))]
    sharp = replace(sweep, epochs=sweep.epochs.assign(sharpness_steps=steps))
    assert sharp.sharpness()["step"].tolist() == [0, 10, 0, 10]
    for number, apart in enumerate(tables.distinct([sweep, sharp])):
        ids = f"{number}:" + sweep.trials["trial_id"]
        assert apart.trials["trial_id"].tolist() == ids.tolist()
        assert {*apart.epochs["trial_id"]} == {*ids}
    assert sweep.picture("a.png") == sweep.path / "a.png"
    assert str(replace(sweep, path="s3://bucket/sweep").picture("a.png")) == "a.png"
    for refused, said in {
        lambda: sweep.load(
            "00002"
        ): r"not kept; to train it again: run_sweep\('again', {'epochs': 2, .*'learning_rate': 0.19",
        lambda: sweep.load("0001"): "no trial '0001'; did you mean '00001'",
        lambda: sweep.load(3): "no trial 3; did you mean '00003'",
        lambda: sweep.curves(
            "accuracy"
        ): "epochs has no column 'accuracy'; it has trial_id",
        lambda: sweep.with_settings("batchsize"): "trials has no column 'batchsize'",
        lambda: sweep.sharpness(): "--sharpness does",
    }.items():
        with pytest.raises(UserError, match=said):
            refused()


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
        found = read_journal(tmp_path)
        assert ("damaged" in caplog.text) == (event in REFUSED), event
        is_row = event in TAKEN and event["kind"] == "epoch"
        assert found.undecided == (len(found.epochs) == 1) == is_row
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


@pytest.mark.parametrize("block_lines", [2**13, 2])
def test_what_a_journal_says_and_how_it_is_mended(
    tmp_path, caplog, monkeypatch, block_lines
):
    row = json.dumps(ROW).encode()
    infinite = json.dumps(ROW | {"train_loss": math.inf}).encode()
    lines = {
        "R": row,
        "I": infinite,
        "T": json.dumps(TRIAL).encode(),
        "E": json.dumps(END).encode(),
        "-": b"no event",
    }
    lines |= {
        "W": b'{"kind": "writer", "number": 2}',
        "t": row[:30] + journal.TORN[:-1],
    }
    monkeypatch.setattr(journal, "BLOCK_LINES", block_lines)
    path = tmp_path / "journal.jsonl"
    for case, expected in JOURNALS.items():
        content = b"".join(lines[one] + b"\n" for one in case.rstrip("~."))
        content = (
            content[:-1]
            if case.endswith(".")
            else content + row[:40] * case.endswith("~")
        )
        path.write_bytes(content)
        journal._warn_once.cache_clear()
        caplog.clear()
        found = read_journal(tmp_path)
        mend_last_line(path)
        said = f"{len(found.epochs)} {len(found.trials)} {len(found.ends)}{' undecided' * found.undecided}"
        said += {b"": "", b"\n": ", ended", journal.TORN: ", torn"}[
            path.read_bytes()[len(content) :]
        ]
        said += "".join(
            f", {one.partition('damaged ')[2].partition(' and')[0]}"
            for one in caplog.messages
        )
        assert said == expected, case


def test_the_command_that_resumes(tmp_path, monkeypatch):
    lines = []
    known = (
        ("architecture", "net.py:mlp"),
        ("architecture", "net.py:cnn"),
        ("optimizer", "net.py:opt"),
    )
    for flag, name in known:
        monkeypatch.setitem(ENTRIES[flag], name, None)
    code = [
        {"flag": flag, "name": name}
        for flag, name in (*known, ("architecture", "unknown.py:mlp"))
    ]
    for said in (
        {"name": "lr_regimes"},
        {"name": "mine"},
        {"name": "mine", "search": True},
        {"name": "search", "search": True},
        {"name": "lr_regimes", "code": code},
        {"name": "lr_regimes", "code": code[3:]},
    ):
        lines += [
            f"{said['name']}{', a search' * ('search' in said)}, of {len(said.get('code', []))} own:",
            *(
                f"  {resume_command(SweepMeta.of(said), tmp_path / 'a b', again)}"
                for again in (False, True)
            ),
        ]
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


def test_values_of_a_sweep_json_are_taken_or_refused(sweep_of_two):
    file = sweep_of_two / "sweep.json"
    whole = json.loads(file.read_text()) | {"options": {"lanes": 2}}

    def write(name, value):
        part, _, inner = name.partition(".")
        file.write_text(
            json.dumps(
                whole | {part: whole.get(part, {}) | {inner: value} if inner else value}
            )
        )

    for name, value in RIGHT.items():
        write(name, value)
        assert read_meta(sweep_of_two)["name"] == "lr_regimes"
    for name, value in WRONG:
        write(name, value)
        with pytest.raises(
            UserError,
            match=rf"^{file} was not written by a sweep: .*{name.partition('.')[0].rstrip('s')}",
        ):
            read_meta(sweep_of_two)
    for text in ("", "7", "[]", "{"):
        file.write_text(text)
        with pytest.raises(UserError, match=f"^{file} was not written by a sweep: it "):
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


def test_values_of_stored_tables_are_taken_or_refused(sweep_of_two):
    files = {name: sweep_of_two / f"{name}.parquet" for name in COLUMNS}
    whole = {name: pq.read_table(file) for name, file in files.items()}

    def refused(name, said):
        with pytest.raises(
            UserError, match=f"{files[name]} is not a table of a sweep .*{said}"
        ):
            tables.read_table(files[name], COLUMNS[name])

    for name, column, values in (*WRONG_COLUMNS, *WRONG_NUMBERS):
        place = whole[name].schema.get_field_index(column)
        pq.write_table(
            whole[name].set_column(place, column, pa.array(values)), files[name]
        )
        refused(name, column if (name, column, values) in WRONG_COLUMNS else "")
    for name, needed in (("trials", "regime"), ("epochs", "epoch")):
        pq.write_table(whole[name].drop_columns([needed]), files[name])
        refused(name, needed)
        pq.write_table(whole[name].drop_columns(["node"]), files[name])
        assert tables.read_table(files[name], COLUMNS[name])["node"].isna().all()


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
    assert load_sweep(tmp_path / "2" / "winner").path == tmp_path / "2" / "winner"
    for name in ("3", "4"):
        with pytest.raises(
            UserError,
            match=f"^no sweep in {tmp_path / name} .*name the folder of a sweep$",
        ):
            load_sweep(tmp_path / name)


def test_new_folders_have_names_of_their_own(tmp_path):
    assert [folder.new_folder(tmp_path, "a/b").name for _ in range(3)] == [
        "b",
        "b-2",
        "b-3",
    ]
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError,
        match=r"^can't write results to .*file/b: Not a directory; name another --output$",
    ):
        folder.new_folder(tmp_path / "file", "b")


def test_one_writer_at_a_time_and_none_over_states_of_another(new_writer, tmp_path):
    held = r"^another sweep is writing to .*held; wait for it, or stop it first$"
    with new_writer(tmp_path / "held") as writer, pytest.raises(UserError, match=held):
        new_writer(writer.path, resume=True)
    (tmp_path / "gone" / "states").mkdir(parents=True)
    (tmp_path / "gone" / "states" / "00000.npz").touch()
    with pytest.raises(
        UserError,
        match=r"states has the states of a sweep whose sweep.json is gone; name another",
    ):
        new_writer(tmp_path / "gone")
