"""Results folders from untrusted sources: damaged, made up or hostile."""

import io
import json
import logging
import math
import os
import pickle
import shutil
import time
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_inputs import GONE, groups, is_new, look, places, repeated, replaced, show
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from made_up_sweeps import KINDS, of_kind
from memory import peak_mb
from trap import Trap

from mnist_tune import Sweep, TrialConfig, UserError, load_sweep
from mnist_tune.columns import EPOCHS, TRIALS
from mnist_tune.judged import judge
from mnist_tune.reports.terminal import print_report
from mnist_tune.results import journal, tables
from mnist_tune.results.journal import mend_last_line, read_journal
from mnist_tune.results.writer import SweepWriter

HOSTILE_NAMES = [
    "../../x",
    "/tmp/x",
    "a/b",
    "a\\b",
    "..",
    "",
    "a\x1b[2J",
    "a\nb",
    "<script>",
    "a" * 10_000,
    "\u202ex",
    "é",
]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(HOSTILE_NAMES),
    st.integers(),
    st.sampled_from(
        [0, -1, 2**31, 2**63, 10**400, "1", "nan", "\ud800", "[/red]", "$\\frac"]
    ),
)
nested = st.lists(leaves, max_size=3) | st.dictionaries(
    st.text(max_size=3), leaves, max_size=3
)
values = leaves | nested | st.lists(nested, max_size=2)
"""Any JSON value, with hostile ones among them."""


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


def damaged(content):
    """Draw damaged content: cut, with a few bytes changed, or random."""
    flips = st.lists(
        st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), max_size=4
    )

    def apply(changes):
        data = bytearray(content)
        for place, bits in changes:
            data[place] ^= bits
        return bytes(data)

    cut = st.integers(0, len(content)).map(lambda length: content[:length])
    return st.one_of(st.binary(max_size=200), cut, flips.map(apply))


def said(sweep, capsys):
    """Return the printed report of a sweep, or nothing if that of the same one was
    looked at before."""
    if is_new(sweep):
        print_report(sweep)
    return capsys.readouterr().out


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
bad_rows = st.builds(
    lambda name, value: json.dumps(ROW | {name: value}).encode(),
    st.sampled_from([*ROW]),
    values,
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    line=st.one_of(
        st.binary(max_size=100),
        values.map(lambda value: json.dumps(value).encode()),
        bad_rows,
    )
)
def test_a_bad_line_does_not_change_other_rows(folder, ended, epoch_row, capsys, line):
    path = folder(
        sweep_json=ended["sweep.json"].replace(b'"ended": "now"', b'"ended": null')
    )
    before = load_sweep(path).epochs
    (path / "journal.jsonl").write_bytes(
        line.replace(b"\n", b"") + b"\n" + ended["journal.jsonl"]
    )
    sweep = load_sweep(path)
    kept = sweep.epochs.merge(before[["trial_id", "epoch"]])
    pd.testing.assert_frame_equal(kept, before, check_dtype=False)
    assert all_printable(said(sweep, capsys))


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


def test_a_journal_of_newlines_is_refused_and_takes_no_memory(folder, ended):
    path = folder(journal_jsonl=ended["journal.jsonl"] + b"\n" * 10**7)

    def read():
        with pytest.raises(
            UserError,
            match="was not written by a sweep: too many trials, or damaged lines",
        ):
            read_journal(path)

    assert peak_mb(read) < 10


def test_a_line_of_100_mb_takes_no_memory(folder, ended):
    path = folder()
    with (path / "journal.jsonl").open("ab") as file:
        for _ in range(100):
            file.write(bytes(1_000_000))
        file.write(b"\n" + ended["journal.jsonl"] + bytes(3_000_000))
    assert peak_mb(lambda: read_journal(path)) < 10
    assert len(read_journal(path).epochs) == 2 * ended["journal.jsonl"].count(
        b'"epoch", '
    )
    mend_last_line(path / "journal.jsonl")
    assert (path / "journal.jsonl").read_bytes().endswith(b"\0" + journal.TORN)


# --- sweep.json


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


@pytest.mark.parametrize("kind", ["texts", "rows", "pages"])
def test_a_small_file_does_not_become_a_large_table(ended, kind):
    """Parquet stores a text once, however many rows have it, and a number that repeats
    with its count."""
    content = repeated(
        ended["epochs.parquet"],
        *{"texts": (600, 2**20), "rows": (300_000, 1)}.get(kind, (1000, 1)),
        kind,
    )
    assert len(content.getvalue()) < 300_000
    with pytest.raises(UserError, match=r"holds more than|it claims to hold"):
        read_table(content, EPOCHS)


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
    said_ = json.loads(ended["sweep.json"])
    said_["ended"] = "now" if finished else None
    said_["name"] = said_["dataset"]["note"] = HOSTILE_TEXT
    for config in said_["trials"].values():
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
            sweep_json=json.dumps(said_).encode(),
            journal_jsonl=b"\n".join(lines),
            trials_parquet=stored(ended, **tables),
        )
    )
    shown = said(sweep, capsys)
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
    with pytest.raises(UserError, match=r"label is of type|is disabled"):
        read_table(io.BytesIO(content), TRIALS)
    whole = pq.read_table(io.BytesIO(ended["trials.parquet"]))
    content = io.BytesIO()
    pq.write_table(whole.replace_schema_metadata({"pandas": trap}), content)
    assert len(read_table(content, TRIALS)) == 2


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


# --- all of them


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


def high_water_mb(reset=False):
    """The most memory that this process has had since it was reset, in MB."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    [line] = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 1e3


def harm(make, folder):
    """What a hostile input does that it must not; empty if it does nothing of the
    kind."""
    act, begun, warm = make(folder), time.process_time(), high_water_mb(reset=True)
    before = content_of(folder.parent, (folder.name, "out"))
    try:
        act()
        said = "a result"
    except UserError as error:
        said = str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    if "\n" in said or not said.isprintable():
        return f"no line: {said[:200]!r}"
    if len(said) > 25_000:
        return f"a line of {len(said)} characters"
    if (seconds := time.process_time() - begun) > MOST_SECONDS:
        return f"{seconds:.1f} s"
    if (grown := high_water_mb() - warm) > MOST_MB:
        return f"{grown:.0f} MB"
    if content_of(folder.parent, (folder.name, "out")) != before:
        return "what is outside has changed"
    return ""


MOST_SECONDS, MOST_MB = 40, 300
"""On a fast idle machine each takes at most 5 seconds. What hangs, or grows without
bounds, takes far longer."""

GROUPS = [
    "data and states",
    "sweep.json",
    "journal",
    "parquet",
    "special files",
    "links",
    "paths and URIs",
    "options of a resume",
    "code of others",
    "texts",
]
SLOW = dict.fromkeys(("parquet", "texts", "paths and URIs"), pytest.mark.slow)
"""Each of these takes over three seconds."""


@pytest.fixture(scope="module")
def inputs(ended):
    return groups(ended)


@pytest.mark.promise(
    "Reading any file ends in a result or a line, soon, with little memory, and changes no other file"
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=SLOW.get(one, ())) for one in GROUPS]
)
def test_a_hostile_input_ends_in_a_result_or_a_line(
    name, inputs, ended, tmp_path, monkeypatch, capsys
):
    """Soon, without much memory, and nothing outside its folder changes."""
    assert list(inputs) == GROUPS
    assert sum(map(len, inputs.values())) >= 250
    found = {}
    for i, (one, make) in enumerate(inputs[name].items()):
        folder, outside = tmp_path / str(i) / "sweep", tmp_path / str(i) / "outside"
        folder.mkdir(parents=True)
        outside.mkdir()
        (outside / "file").write_text("what was outside before")
        (folder / "states").mkdir()
        for file, content in ended.items():
            (folder / file).write_bytes(content)
        monkeypatch.chdir(folder.parent)
        if said := harm(make, folder):
            found[one] = said
        if not all_printable(capsys.readouterr().out):
            found[one] = "what is printed has effects"
    assert found == {}


# --- real folders of five kinds, changed

EXAMPLES = int(os.environ.get("MNIST_TUNE_HOSTILE_EXAMPLES", "8"))
"""How many changed folders are tried. A thousand take half an hour."""


@pytest.fixture(scope="module")
def five_kinds(new_writer, epoch_row, tmp_path_factory):
    where = tmp_path_factory.mktemp("kinds")
    found = {}
    for kind in KINDS:
        of_kind(kind, where / kind, new_writer, epoch_row)
        files = [
            path
            for path in (where / kind).iterdir()
            if path.is_file() and path.name != ".lock"
        ]
        found[kind] = {path.name: path.read_bytes() for path in files}
    return found


@st.composite
def changed_table(draw, content):
    """Draw a table with some values of a column replaced by others of its type."""
    found = pq.read_table(io.BytesIO(content))
    name = draw(st.sampled_from(found.column_names))
    kind, values = found.schema.field(name).type, found[name].to_pylist()
    new = {
        pa.types.is_floating: st.floats() | st.sampled_from([1e308, -1.0, 5e-324]),
        pa.types.is_integer: st.integers(-(2**63), 2**63 - 1)
        | st.sampled_from([0, -1, 2**53]),
        pa.types.is_boolean: st.booleans(),
    }
    texts = st.text(max_size=5) | st.sampled_from(
        [*HOSTILE_NAMES, "00001", "[/x]", "[[1e999]]"]
    )
    drawn = next((one for holds, one in new.items() if holds(kind)), texts) | st.none()
    for place in draw(
        st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=3)
    ):
        values[place] = draw(drawn)
    file = io.BytesIO()
    try:
        column = pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        column = pa.array([None] * len(values), kind)
    pq.write_table(
        found.set_column(found.schema.get_field_index(name), name, column), file
    )
    return file.getvalue()


@st.composite
def changed_journal(draw, content):
    """Draw a journal with a value of some lines replaced, lines swapped, or twice."""
    lines = content.splitlines(keepends=True)
    for place in draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=3)):
        event = json.loads(lines[place])
        path = draw(st.sampled_from(list(places(event))))
        lines[place] = (
            json.dumps(replaced(event, path, draw(st.just(GONE) | values))).encode()
            + b"\n"
        )
    return b"".join(
        draw(st.sampled_from([lines, lines[::-1], lines * 2, lines[len(lines) // 2 :]]))
    )


@st.composite
def changed_meta(draw, content):
    meta = json.loads(content)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(places(meta))))
        meta = replaced(meta, path, draw(st.just(GONE) | values))
        if not isinstance(meta, dict):
            break
    return json.dumps(meta).encode()


CHANGES = {
    "sweep.json": changed_meta,
    "journal.jsonl": changed_journal,
    "trials.parquet": changed_table,
    "epochs.parquet": changed_table,
}


@pytest.mark.promise(
    "Reading any file ends in a result or a line, soon, with little memory, and changes no other file"
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    derandomize=not os.environ.get("MNIST_TUNE_HOSTILE_EXAMPLES"),
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_a_changed_folder_of_any_kind_is_read_and_copied_or_refused(
    five_kinds, tmp_path_factory, capsys, data
):
    files = dict(five_kinds[data.draw(st.sampled_from(sorted(five_kinds)))])
    for name in data.draw(
        st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=2, unique=True)
    ):
        how = data.draw(
            st.sampled_from(["changed", "damaged", "gone", "another's", "unended"])
        )
        if how == "gone":
            del files[name]
        elif how == "unended":
            files["sweep.json"] = files.get("sweep.json", b"").replace(
                b'"ended": "2', b'"ended": null, "x": "2'
            )
        elif how == "another's":
            files[name] = five_kinds[data.draw(st.sampled_from(sorted(five_kinds)))][
                name
            ]
        else:
            files[name] = data.draw(
                {"changed": CHANGES[name], "damaged": damaged}[how](files[name])
            )
    folder = tmp_path_factory.mktemp("changed") / "sweep"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    act = show if data.draw(st.integers(0, 3)) == 0 else look
    assert harm(lambda folder: partial(act, folder), folder) == ""
    assert all_printable(capsys.readouterr().out)
    shutil.rmtree(folder.parent)
