"""Folders from somebody else: nothing in them is run, no link leads out, texts have no
effects, and recorded options have their types."""

import io
import json
import logging
import math
import os
import pickle
import shutil
import socket
from functools import partial
from itertools import cycle, product
from pathlib import Path
from tempfile import NamedTemporaryFile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trap import Trap

from mnist_tune import Sweep, TrialConfig, UserError, load_sweep, storage
from mnist_tune.columns import TRIALS
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.exports import mirror
from mnist_tune.judged import judge
from mnist_tune.reports.page import write_page
from mnist_tune.reports.terminal import print_report
from mnist_tune.results import journal, tables
from mnist_tune.results.journal import mend_last_line, read_journal
from mnist_tune.results.meta import read_meta
from mnist_tune.results.signs import is_being_written
from mnist_tune.results.writer import SweepWriter
from mnist_tune.tuning.resuming import resumed_with


@pytest.fixture(scope="module")
def ended(new_writer, epoch_row, tmp_path_factory):
    """The files of a finished sweep of two trials, as bytes by name."""
    writer = new_writer(tmp_path_factory.mktemp("ended") / "sweep")
    writer.meta |= {
        "environment": {"versions": {"jax": "0.10"}, "processor": "one"},
        "options": {"target": None},
    }
    diverged = {"diverged": True, "finite": False, "above_since": 2}
    for epoch in (1, 2, 3):
        writer.epoch("00000", epoch_row(epoch), False)
        row = epoch_row(epoch, math.nan, 0.1, **diverged)
        writer.epoch("00001", row, False)
    writer.trial("00001", TrialConfig(epochs=4, learning_rate=0.3))
    writer.end("00000", "completed")
    writer.end("00001", "error", "its worker died")
    writer.finish(ended="now")
    files = [path for path in writer.path.iterdir() if path.is_file()]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def folder(ended, tmp_path_factory):
    """A function that writes that sweep's folder, with changed content in some
    files."""
    path = tmp_path_factory.mktemp("hostile") / "sweep"
    path.mkdir()

    def make(**changed):
        for name, content in ended.items():
            (path / name).write_bytes(content)
        for name, content in changed.items():
            (path / name.replace("_", ".")).write_bytes(content)
        return path

    return make


@pytest.fixture(autouse=True)
def warn_again():
    journal._warn_once.cache_clear()


def read_table(content, columns):
    """Read a table from bytes."""
    with NamedTemporaryFile(suffix=".parquet") as file:
        path = Path(file.name)
        path.write_bytes(content)
        return tables.read_table(path, columns)


def all_printable(text):
    return all(line.isprintable() for line in text.split("\n"))


# --- the journal

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
    "above_since": 3,
    "node": "here",
}


def size(journal):
    """Return the number of events of a journal in which each trial was proposed once
    and ended once."""
    return len(journal.epochs) + len(journal.trials) + len(journal.ends)


@pytest.mark.promise(
    "Damaged lines of the journal are counted in a warning, and change no other row"
)
def test_damaged_lines_are_warned_about_once(folder, ended, caplog):
    before = read_journal(folder()).epochs
    lines = ended["journal.jsonl"].splitlines(keepends=True)
    lines[1:1] = [b"\xff\xfe\n", b'{"kind": "else", "trial_id": "00000"}\n']
    path = folder(journal_jsonl=b"".join(lines) + b'{"kind": "ep')
    with caplog.at_level(logging.WARNING):
        assert size(read_journal(path)) == len(lines) - 2
        assert size(read_journal(path)) == len(lines) - 2
    pd.testing.assert_frame_equal(read_journal(path).epochs, before)
    file = path / "journal.jsonl"
    skipped = "skipped 2 damaged lines (lines 2, 3) and read all others"
    assert caplog.messages == [f"{file}: {skipped}"]


def test_a_line_cut_short_by_a_kill_is_skipped_silently(folder, ended, caplog):
    path = folder(journal_jsonl=ended["journal.jsonl"] + b'{"kind": "ep')
    whole = read_journal(path).epochs
    journal_file = path / "journal.jsonl"
    mend_last_line(journal_file)
    with journal_file.open("ab") as file:
        file.write(json.dumps(ROW).encode() + b"\n")
    epochs = read_journal(path).epochs
    pd.testing.assert_frame_equal(epochs[:-1], whole, check_dtype=False)
    last = epochs.iloc[-1]
    values = {name: value for name, value in ROW.items() if name != "kind"}
    assert last[list(values)].to_dict() == values
    assert not caplog.messages


# --- stored tables


@pytest.mark.promise("Damaged tables are made again from the journal")
def test_damaged_tables_are_made_again_from_the_journal(folder, ended, caplog):
    before = load_sweep(folder())
    cut_short = ended["trials.parquet"][:-100]
    sweep = load_sweep(folder(trials_parquet=cut_short))
    pd.testing.assert_frame_equal(sweep.trials, before.trials)
    pd.testing.assert_frame_equal(sweep.epochs, before.epochs)
    warning = caplog.messages[0]
    assert "trials.parquet is not a table of a sweep" in warning
    assert warning.endswith("; the tables are made again from the journal")


def as_bytes(table):
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def stored(ended, name="trials.parquet", **columns):
    """Return a stored table with some columns replaced, as bytes."""
    table = pq.read_table(io.BytesIO(ended[name]))
    for name, (field, values) in columns.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, field, values)
    return as_bytes(table)


def stored_without(ended, name, columns):
    """Return a stored table that lacks some columns, as bytes."""
    table = pq.read_table(io.BytesIO(ended[name]))
    return as_bytes(table.drop_columns(columns))


def test_a_table_of_an_older_version_is_read(folder, ended, caplog):
    missing = ["target", "node"]
    content = stored_without(ended, "trials.parquet", missing)
    trials = load_sweep(folder(trials_parquet=content)).trials
    assert list(trials) == [column.name for column in TRIALS]
    assert trials[missing].isna().all(axis=None)
    assert not caplog.messages


def test_epochs_of_an_older_version_are_read_and_shown(folder, ended, caplog):
    missing = ["lanes", "fill", "node", "device", "ended_at", "wait_s"]
    content = stored_without(ended, "epochs.parquet", missing)
    sweep = load_sweep(folder(epochs_parquet=content))
    assert sweep.epochs[missing].isna().all(axis=None)
    assert list(sweep.epochs) == list(load_sweep(folder()).epochs)
    assert not caplog.messages
    assert "lanes that trained together" not in sweep.report().read_text()


# --- what is shown


HOSTILE_TEXT = (
    "\x1b[2J\x07<script>alert(1)</script>[/red][link=x]\u202e$\\frac{$" + "long" * 2500
)


@pytest.mark.promise(
    "Texts from a folder have no effects on the terminal and in pictures"
)
@pytest.mark.parametrize("finished", [True, False])
def test_text_from_a_folder_is_shown_without_effects(
    folder, ended, finished, capsys, tmp_path
):
    meta = json.loads(ended["sweep.json"])
    meta["ended"] = "now" if finished else None
    meta["name"] = HOSTILE_TEXT
    meta["dataset"]["note"] = HOSTILE_TEXT
    for config in meta["trials"].values():
        config |= {"label": HOSTILE_TEXT, "architecture": HOSTILE_TEXT}
    end = {
        "kind": "end",
        "trial_id": "00000",
        "stop_reason": "error",
        "error": HOSTILE_TEXT,
    }
    lines = [*ended["journal.jsonl"].splitlines(), json.dumps(end).encode(), b""]
    texts = pa.array([HOSTILE_TEXT] * 2)
    names = ("label", "architecture", "regime_evidence", "error", "stop_reason")
    columns = {name: (name, texts) for name in names}
    path = folder(
        sweep_json=json.dumps(meta).encode(),
        journal_jsonl=b"\n".join(lines),
        trials_parquet=stored(ended, **columns),
    )
    sweep = load_sweep(path)
    print_report(sweep)
    shown = capsys.readouterr().out
    assert all_printable(shown)
    assert "<script>" in shown
    picture = tmp_path / "picture.svg"
    sweep.plot(picture)
    assert "<script>" not in picture.read_text()


# --- pickles, links


@pytest.fixture
def trap(tmp_path):
    sprung = tmp_path / "sprung"
    bomb = pickle.dumps(Trap(sprung))
    yield bomb
    assert not sprung.exists()
    pickle.loads(bomb)
    assert sprung.exists(), "the trap does not work"


@pytest.mark.promise("Nothing in a folder is unpickled")
def test_pickles_in_a_folder_are_never_executed(folder, ended, trap):
    for name in ("journal_jsonl", "sweep_json", "trials_parquet", "epochs_parquet"):
        try:
            assert isinstance(load_sweep(folder(**{name: trap})), Sweep)
        except UserError:
            assert name == "sweep_json"


@pytest.mark.promise("Nothing in a folder is unpickled")
def test_pickles_in_a_table_are_never_executed(folder, ended, trap):
    """Old versions of Arrow unpickled the metadata of such a column (CVE-2023-47248).
    Arrow 18 refuses it itself."""
    extension = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": trap,
    }
    field = pa.field("label", pa.binary(), metadata=extension)
    in_a_column = stored(ended, label=(field, pa.array([trap, trap])))
    with pytest.raises(UserError, match="is not a table of a sweep"):
        read_table(in_a_column, TRIALS)
    whole = pq.read_table(io.BytesIO(ended["trials.parquet"]))
    in_metadata = as_bytes(whole.replace_schema_metadata({"pandas": trap}))
    with pytest.raises(UserError, match="is not a table of a sweep"):
        read_table(in_metadata, TRIALS)


def test_tunes_files_are_removed_before_a_sweep_is_resumed(folder, ended):
    path = folder()
    of_tune = path / ".ray" / "tune"
    of_tune.mkdir(parents=True)
    (of_tune / "tuner.pkl").write_bytes(b"")
    writer = SweepWriter(path, json.loads(ended["sweep.json"]), judge, resume=True)
    assert not (path / ".ray").exists()
    writer.finish()


@pytest.mark.parametrize(
    "name", ["states", ".ray", "journal.jsonl", ".sweep.json.part"]
)
def test_a_link_out_of_the_folder_is_refused(new_writer, tmp_path, name):
    path = tmp_path / "sweep"
    new_writer(path).finish()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = path / name
    if name == "states":
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UserError, match=f"{link} is a link"):
        new_writer(path, resume=True)
    assert not list(elsewhere.iterdir())


# --- whole folders


TEXTS = (
    "../../x",
    "/tmp/x",
    "..",
    "",
    "\ufeffa\x1b[2J\x07b\nb\r\tc\u202ex\u2028y",
    "a\\b<script>alert(1)</script>'\"`$(touch x)`",
    "[/x]",
    "[link=x]y[/link]",
    "[red]",
    "\\",
    "a\\[",
    "$\\frac{$",
    "$$",
    "%s %d {0} {x} {{ 7 * 7 }}",
    "=cmd|' /C calc'!A0",
    "x;=1+1",
    "--address=evil:6379",
    "evil.py:mlp",
    "</script><!--&lt;",
    "\x00",
)


def look(folder):
    """Read a sweep, print it and copy it into CSV files."""
    sweep = load_sweep(folder)
    print_report(sweep, every_line=True)
    mirror("csv", str(folder.parent / "out")).update(sweep)
    return sweep


def show(folder):
    """Do all that `look` does, and draw and write what takes longer."""
    sweep = look(folder)
    sweep.plot(sweep.picture("regimes.png"))
    write_page([sweep], sweep.picture("report.html"))
    out = folder.parent / "out"
    mirror("tensorboard", str(out / "logs")).update(sweep)
    mirror("optuna", str(out / "optuna.db")).update(sweep)


TARGETS = {"device": "/dev/zero", "nowhere": "nothing"}
"""Where links lead, by their kinds."""


def special(name, kind, act, folder):
    """Put something that is no file in the place of a file."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as unix_socket:
            unix_socket.bind(os.path.relpath(path))
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.symlink_to(TARGETS.get(kind, kind))
    return partial(act, folder)


def look_at_all(folder):
    is_being_written(folder)
    Checkpoint.load(folder / "states" / "00000.npz")
    look(folder)


READ = (
    "sweep.json",
    "journal.jsonl",
    "trials.parquet",
    "epochs.parquet",
    "states/00000.npz",
    ".lock",
)
KINDS = ("pipe", "socket", "device", "loop", "nowhere")
WRITTEN = ("trials.csv", "epochs.csv", "report.html", "regimes.png")


def draw_here(folder):
    """Write into the folder what is written there by default."""
    sweep = load_sweep(folder)
    acts = [
        partial(mirror("csv", None).update, sweep),
        partial(storage.write, sweep.picture("regimes.png"), b"it"),
        partial(storage.write, sweep.picture("report.html"), b"it"),
    ]
    for act in acts:
        try:
            act()
        except OSError as error:
            storage.reason(error)


NASTY = (
    None,
    -1,
    10**400,
    float("nan"),
    "\x1b[2J[/x]",
    [[]],
    {"a": {}},
    True,
    "a" * 20_000,
    1e300,
)


def read_json(file):
    return json.loads(file.read_text())


def as_recorded(value):
    return list(value) if isinstance(value, tuple) else value


def again(options, folder):
    """Resume a sweep that records these options, as far as its trials."""
    file = folder / "sweep.json"
    defaults = vars(LearningRateRegimes()).items()
    recorded = {name: as_recorded(value) for name, value in defaults}
    meta = read_json(file) | {"name": "lr_regimes", "options": recorded | options}
    file.write_text(json.dumps(meta))

    def act():
        resumed = resumed_with(LearningRateRegimes, folder, {})
        trials = read_journal(folder).known_trials(read_meta(folder))
        resumed.trials(trials.values())
        look(folder)

    return act


CODE = (
    "evil.py:mlp",
    "../evil.py:mlp",
    "evil:mlp",
    "os:system('touch sprung')",
    "evil.py:mlp(__import__('os'))",
)
EVIL_FILES = {"evil.py": {"sha256": "", "lines": ["x"]}}


def names_code(name, folder):
    """A folder with a network beside it that shows if it is run."""
    for place in (folder, folder.parent):
        (place / "evil.py").write_text("open('sprung', 'w').write('x')\n")
    act = again({"architecture": [name]}, folder)
    file = folder / "sweep.json"
    meta = read_json(file)
    meta["code"] = [{"flag": "architecture", "name": name, "files": EVIL_FILES}]
    meta["trials"]["00000"]["architecture"] = name
    file.write_text(json.dumps(meta))

    return act


def with_text(event, text):
    """An event of the journal with a text wherever it may have one."""
    if event["kind"] == "epoch":
        return event | {"node": text, "device": text}
    if event["kind"] == "end":
        return event | {"error": text}
    if event["kind"] == "trial":
        config = event["config"] | {"label": text, "architecture": text}
        return event | {"config": config}
    return event


def everywhere(text, act, folder):
    """Put a text wherever a folder holds one."""
    file = folder / "sweep.json"
    meta = read_json(file)
    meta |= {"name": text, "command": [text, text], "started": text, "ended": None}
    meta["environment"] = {"versions": {"jax": text}}
    meta["dataset"] |= {"name": text, "note": text}
    meta["options"] = {"dataset": text, "data_dir": text, "scheduler": text}
    for config in meta["trials"].values():
        config |= {"label": text, "architecture": text, "optimizer": text}
    file.write_text(json.dumps(meta))
    journal = folder / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    lines = [json.dumps(with_text(event, text)) + "\n" for event in events]
    journal.write_text("".join(lines))
    return partial(act, folder)


def content_of(folder, without):
    """The names, kinds, modes and contents of what is in a folder, but for some
    names."""
    contents = {}
    for path in folder.rglob("*"):
        if path.relative_to(folder).parts[0] not in without:
            data = path.read_bytes() if path.is_file() else None
            contents[str(path)] = (path.lstat().st_mode, data)
    return contents


def special_files():
    for name, kind in product(READ, KINDS):
        yield f"{name} {kind}", partial(special, name, kind, look_at_all)


def links():
    for name, target in product(WRITTEN, ("../outside/file", "../outside")):
        yield f"{name} {target}", partial(special, name, target, draw_here)


def options_of_a_resume():
    names = [*vars(LearningRateRegimes())]
    names.remove("output")
    names.remove("resume")
    for name, value in zip(names, cycle(NASTY), strict=False):
        yield name, partial(again, {name: value})


def code_of_others():
    for name in CODE:
        yield name, partial(names_code, name)


def texts():
    for text in TEXTS:
        yield text[:20], partial(everywhere, text, look)
    all_texts = "".join(text[:50] for text in TEXTS)
    yield "all", partial(everywhere, all_texts, show)


GROUPS = {
    "special files": special_files,
    "links": links,
    "options of a resume": options_of_a_resume,
    "code of others": code_of_others,
    "texts": texts,
}
"""What is done with folders. Each group yields names and functions: a function makes a
folder hostile, and returns what reads it."""
QUICK_GROUPS = [name for name in GROUPS if name != "texts"]


@pytest.mark.promise(
    "Reading, printing and copying a folder changes no file outside it"
)
@pytest.mark.promise("Recorded options are taken only if their types are right")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [*QUICK_GROUPS, pytest.param("texts", marks=pytest.mark.slow)]
)
def test_a_hostile_folder_is_read_or_refused_and_changes_nothing_outside(
    name, ended, tmp_path, monkeypatch, capsys
):
    for number, (case, make) in enumerate(GROUPS[name]()):
        place = tmp_path / str(number)
        folder = place / "sweep"
        outside = place / "outside"
        (folder / "states").mkdir(parents=True)
        outside.mkdir()
        (outside / "file").write_text("what was outside before")
        for file, content in ended.items():
            (folder / file).write_bytes(content)
        monkeypatch.chdir(place)
        act = make(folder)
        before = content_of(place, ("sweep", "out"))
        try:
            act()
        except UserError as error:
            print(error)
        assert content_of(place, ("sweep", "out")) == before, case
        assert all_printable(capsys.readouterr().out), case
