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
    for epoch in (1, 2, 3):
        writer.epoch("00000", epoch_row(epoch), False)
        writer.epoch(
            "00001",
            epoch_row(epoch, math.nan, 0.1, diverged=True, finite=False, above_since=2),
            False,
        )
    writer.trial("00001", TrialConfig(epochs=4, learning_rate=0.3))
    writer.end("00000", "completed")
    writer.end("00001", "error", "its worker died")
    writer.finish(ended="now")
    return {
        path.name: path.read_bytes() for path in writer.path.iterdir() if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(ended, tmp_path_factory):
    """A function that writes that sweep's folder, with changed content in some
    files."""
    path = tmp_path_factory.mktemp("hostile") / "sweep"
    path.mkdir()

    def make(**changed):
        for name, content in (
            ended | {name.replace("_", "."): data for name, data in changed.items()}
        ).items():
            (path / name).write_bytes(content)
        return path

    return make


@pytest.fixture(autouse=True)
def warn_again():
    journal._warn_once.cache_clear()


def read_table(content, columns):
    """Read a table from bytes or a file in memory."""
    with NamedTemporaryFile(suffix=".parquet") as file:
        Path(file.name).write_bytes(content.getvalue())
        return tables.read_table(Path(file.name), columns)


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


def size(found):
    """Return the number of events of a journal in which each trial was proposed once
    and ended once."""
    return len(found.epochs) + len(found.trials) + len(found.ends)


@pytest.mark.promise(
    "Damaged lines of the journal are counted in a warning, and change no other row"
)
def test_damaged_lines_are_warned_about_once(folder, ended, caplog):
    before = read_journal(folder()).epochs
    lines = ended["journal.jsonl"].splitlines(keepends=True)
    lines[1:1] = [b"\xff\xfe\n", b'{"kind": "else", "trial_id": "00000"}\n']
    path = folder(journal_jsonl=b"".join(lines) + b'{"kind": "ep')
    with caplog.at_level(logging.WARNING):
        assert size(read_journal(path)) == size(read_journal(path)) == len(lines) - 2
    pd.testing.assert_frame_equal(read_journal(path).epochs, before)
    assert caplog.messages == [
        f"{path / 'journal.jsonl'}: skipped 2 damaged lines (lines 2, 3) and read all others"
    ]


def test_a_line_cut_short_by_a_kill_is_skipped_silently(folder, ended, caplog):
    path = folder(journal_jsonl=ended["journal.jsonl"] + b'{"kind": "ep')
    whole = read_journal(path).epochs
    mend_last_line(path / "journal.jsonl")
    with (path / "journal.jsonl").open("ab") as file:
        file.write(json.dumps(ROW).encode() + b"\n")
    epochs = read_journal(path).epochs
    pd.testing.assert_frame_equal(epochs[:-1], whole, check_dtype=False)
    assert epochs.iloc[-1][list(ROW)[1:]].to_dict() == {
        name: ROW[name] for name in list(ROW)[1:]
    }
    assert not caplog.messages


# --- stored tables


@pytest.mark.promise("Damaged tables are made again from the journal")
def test_damaged_tables_are_made_again_from_the_journal(folder, ended, caplog):
    before = load_sweep(folder())
    found = load_sweep(folder(trials_parquet=ended["trials.parquet"][:-100]))
    pd.testing.assert_frame_equal(found.trials, before.trials)
    pd.testing.assert_frame_equal(found.epochs, before.epochs)
    assert "trials.parquet is not a table of a sweep" in caplog.messages[0]
    assert caplog.messages[0].endswith("; the tables are made again from the journal")


def stored(ended, name="trials.parquet", **columns):
    """Return a stored table with some columns replaced, as bytes."""
    table = pq.read_table(io.BytesIO(ended[name]))
    for name, column in columns.items():
        table = table.set_column(
            table.schema.get_field_index(name), column[0], column[1]
        )
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def test_a_table_of_an_older_version_is_read(folder, ended, caplog):
    content = io.BytesIO()
    pq.write_table(
        pq.read_table(io.BytesIO(ended["trials.parquet"])).drop_columns(
            ["target", "node"]
        ),
        content,
    )
    found = load_sweep(folder(trials_parquet=content.getvalue())).trials
    assert list(found) == [column.name for column in TRIALS]
    assert found[["target", "node"]].isna().all(axis=None)
    assert not caplog.messages


def test_epochs_of_an_older_version_are_read_and_shown(folder, ended, caplog):
    content, missing = (
        io.BytesIO(),
        ["lanes", "fill", "node", "device", "ended_at", "wait_s"],
    )
    pq.write_table(
        pq.read_table(io.BytesIO(ended["epochs.parquet"])).drop_columns(missing),
        content,
    )
    found = load_sweep(folder(epochs_parquet=content.getvalue()))
    assert found.epochs[missing].isna().all(axis=None)
    assert list(found.epochs) == list(load_sweep(folder()).epochs)
    assert not caplog.messages
    assert "lanes that trained together" not in found.report().read_text()


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
    meta["name"] = meta["dataset"]["note"] = HOSTILE_TEXT
    for config in meta["trials"].values():
        config["label"] = config["architecture"] = HOSTILE_TEXT
    end = {
        "kind": "end",
        "trial_id": "00000",
        "stop_reason": "error",
        "error": HOSTILE_TEXT,
    }
    lines = [*ended["journal.jsonl"].splitlines(), json.dumps(end).encode(), b""]
    text = pa.array([HOSTILE_TEXT] * 2)
    tables = {
        name: (name, text)
        for name in ("label", "architecture", "regime_evidence", "error", "stop_reason")
    }
    sweep = load_sweep(
        folder(
            sweep_json=json.dumps(meta).encode(),
            journal_jsonl=b"\n".join(lines),
            trials_parquet=stored(ended, **tables),
        )
    )
    print_report(sweep)
    shown = capsys.readouterr().out
    assert all_printable(shown)
    assert "<script>" in shown
    sweep.plot(tmp_path / "picture.svg")
    assert "<script>" not in (tmp_path / "picture.svg").read_text()


# --- pickles, links


@pytest.fixture
def trap(tmp_path):
    bomb = pickle.dumps(Trap(tmp_path / "sprung"))
    yield bomb
    assert not (tmp_path / "sprung").exists()
    pickle.loads(bomb)
    assert (tmp_path / "sprung").exists(), "the trap does not work"


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
    content = stored(ended, label=(field, pa.array([trap, trap])))
    with pytest.raises(UserError, match="is not a table of a sweep"):
        read_table(io.BytesIO(content), TRIALS)
    whole = pq.read_table(io.BytesIO(ended["trials.parquet"]))
    content = io.BytesIO()
    pq.write_table(whole.replace_schema_metadata({"pandas": trap}), content)
    with pytest.raises(UserError, match="is not a table of a sweep"):
        read_table(content, TRIALS)


def test_tunes_files_are_removed_before_a_sweep_is_resumed(folder, ended):
    path = folder()
    (path / ".ray" / "tune").mkdir(parents=True)
    (path / ".ray" / "tune" / "tuner.pkl").write_bytes(b"")
    writer = SweepWriter(path, json.loads(ended["sweep.json"]), judge, resume=True)
    assert not (path / ".ray").exists()
    writer.finish()


@pytest.mark.parametrize(
    "name", ["states", ".ray", "journal.jsonl", ".sweep.json.part"]
)
def test_a_link_out_of_the_folder_is_refused(new_writer, tmp_path, name):
    new_writer(tmp_path / "sweep").finish()
    (tmp_path / "elsewhere").mkdir()
    if name == "states":
        shutil.rmtree(tmp_path / "sweep" / "states")
    (tmp_path / "sweep" / name).unlink(missing_ok=True)
    (tmp_path / "sweep" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{tmp_path / 'sweep' / name} is a link"):
        new_writer(tmp_path / "sweep", resume=True)
    assert not list((tmp_path / "elsewhere").iterdir())


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
    for kind, name in (("tensorboard", "logs"), ("optuna", "optuna.db")):
        mirror(kind, str(folder.parent / "out" / name)).update(sweep)


def special(name, kind, act, folder):
    """Put something that is no file in the place of a file."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))
    else:
        path.symlink_to(
            {"device": "/dev/zero", "loop": path, "nowhere": "nothing"}.get(kind, kind)
        )
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
        partial(storage.write, sweep.picture(name), b"it")
        for name in ("regimes.png", "report.html")
    ]
    for act in (partial(mirror("csv", None).update, sweep), *acts):
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


def again(options, folder):
    """Resume a sweep that records these options, as far as its trials."""
    meta = json.loads((folder / "sweep.json").read_text())
    plain = {
        name: list(one) if isinstance(one, tuple) else one
        for name, one in vars(LearningRateRegimes()).items()
    }
    meta |= {"name": "lr_regimes", "options": plain | options}
    (folder / "sweep.json").write_text(json.dumps(meta))

    def act():
        found = resumed_with(LearningRateRegimes, folder, {})
        found.trials(read_journal(folder).known_trials(read_meta(folder)).values())
        look(folder)

    return act


CODE = (
    "evil.py:mlp",
    "../evil.py:mlp",
    "evil:mlp",
    "os:system('touch sprung')",
    "evil.py:mlp(__import__('os'))",
)


def names_code(name, folder):
    """A folder with a network beside it that shows if it is run."""
    for place in (folder, folder.parent):
        (place / "evil.py").write_text("open('sprung', 'w').write('x')\n")
    code = [
        {
            "flag": "architecture",
            "name": name,
            "files": {"evil.py": {"sha256": "", "lines": ["x"]}},
        }
    ]
    act = again({"architecture": [name]}, folder)
    meta = json.loads((folder / "sweep.json").read_text()) | {"code": code}
    meta["trials"]["00000"]["architecture"] = name
    (folder / "sweep.json").write_text(json.dumps(meta))

    return act


def everywhere(text, act, folder):
    """Put a text wherever a folder holds one."""
    meta = json.loads((folder / "sweep.json").read_text())
    meta |= {"name": text, "command": [text, text], "started": text, "ended": None}
    meta["environment"] = {"versions": {"jax": text}}
    meta["dataset"] |= {"name": text, "note": text}
    meta["options"] = {"dataset": text, "data_dir": text, "scheduler": text}
    for config in meta["trials"].values():
        config |= {"label": text, "architecture": text, "optimizer": text}
    (folder / "sweep.json").write_text(json.dumps(meta))
    lines = []
    for line in (folder / "journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        event |= {"epoch": {"node": text, "device": text}, "end": {"error": text}}.get(
            event["kind"], {}
        )
        if event["kind"] == "trial":
            event["config"] |= {"label": text, "architecture": text}
        lines.append(json.dumps(event))
    (folder / "journal.jsonl").write_text("\n".join([*lines, ""]))
    return partial(act, folder)


def content_of(folder, without):
    """The names, kinds, modes and contents of what is in a folder, but for some
    names."""
    found = {}
    for path in folder.rglob("*"):
        if path.relative_to(folder).parts[0] not in without:
            about = path.lstat()
            found[str(path)] = (
                about.st_mode,
                path.read_bytes() if path.is_file() else None,
            )
    return found


def groups():
    """Return what is done with folders, by group and name. Each is a function that
    makes a folder hostile, and returns what reads it."""
    names = [
        name for name in vars(LearningRateRegimes()) if name not in ("output", "resume")
    ]
    options = {name: {name: NASTY[i % len(NASTY)]} for i, name in enumerate(names)}
    all_texts = "".join(text[:50] for text in TEXTS)
    texts = {text[:20]: partial(everywhere, text, look) for text in TEXTS}
    return {
        "special files": {
            f"{name} {kind}": partial(special, name, kind, look_at_all)
            for name in READ
            for kind in KINDS
        },
        "links": {
            f"{name} {to}": partial(special, name, to, draw_here)
            for name in WRITTEN
            for to in ("../outside/file", "../outside")
        },
        "options of a resume": {
            name: partial(again, value) for name, value in options.items()
        },
        "code of others": {name: partial(names_code, name) for name in CODE},
        "texts": texts | {"all": partial(everywhere, all_texts, show)},
    }


GROUPS = groups()


@pytest.mark.promise(
    "Reading, printing and copying a folder changes no file outside it"
)
@pytest.mark.promise("Recorded options are taken only if their types are right")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one, marks=pytest.mark.slow if one == "texts" else ())
        for one in GROUPS
    ],
)
def test_a_hostile_folder_is_read_or_refused_and_changes_nothing_outside(
    name, ended, tmp_path, monkeypatch, capsys
):
    for i, (case, make) in enumerate(GROUPS[name].items()):
        folder, outside = tmp_path / str(i) / "sweep", tmp_path / str(i) / "outside"
        (folder / "states").mkdir(parents=True)
        outside.mkdir()
        (outside / "file").write_text("what was outside before")
        for file, content in ended.items():
            (folder / file).write_bytes(content)
        monkeypatch.chdir(folder.parent)
        act = make(folder)
        before = content_of(folder.parent, (folder.name, "out"))
        try:
            act()
        except UserError as error:
            print(error)
        assert content_of(folder.parent, (folder.name, "out")) == before, case
        assert all_printable(capsys.readouterr().out), case
