"""Results folders from untrusted sources: damaged, made up or hostile."""

import io
import json
import logging
import math
import pickle
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory import peak_mb
from trap import Trap

from mnist_tune import Sweep, TrialConfig, UserError, load_sweep
from mnist_tune.columns import EPOCHS, TRIALS
from mnist_tune.reports.figures import plot_regimes
from mnist_tune.reports.terminal import print_report
from mnist_tune.results import journal, meta
from mnist_tune.results.journal import mend_last_line, parse_event, read_journal
from mnist_tune.results.tables import read_table
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

values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.sampled_from(HOSTILE_NAMES),
        st.integers(), st.sampled_from([0, -1, 2**31, 2**63, 10**400, "1", "nan", "\ud800", "[/red]", "$\\frac"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
"""Any JSON value, with hostile ones among them."""


@pytest.fixture(scope="module")
def ended(new_writer, epoch_row, tmp_path_factory):
    """The files of a finished sweep of two trials, as bytes by name."""
    writer = new_writer(tmp_path_factory.mktemp("ended") / "sweep")
    writer.meta |= {"environment": {"versions": {"jax": "0.10"}, "processor": "one"}, "options": {"target": None}}
    for epoch in (1, 2, 3):
        writer.epoch("00000", epoch_row(epoch), False)
        writer.epoch("00001", epoch_row(epoch, math.nan, 0.1, diverged=True, finite=False, above_since=2), False)
    writer.trial("00001", TrialConfig(epochs=4, learning_rate=0.3))
    writer.end("00000", "completed")
    writer.end("00001", "error", "its worker died")
    writer.finish(ended="now")
    return {path.name: path.read_bytes() for path in writer.path.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def folder(ended, tmp_path_factory):
    """A function that writes that sweep's folder, with changed content in some files."""
    path = tmp_path_factory.mktemp("hostile") / "sweep"
    path.mkdir()

    def make(**changed):
        for name, content in (ended | {name.replace("_", "."): data for name, data in changed.items()}).items():
            (path / name).write_bytes(content)
        return path

    return make


@pytest.fixture(autouse=True)
def warn_again():
    journal._warn_once.cache_clear()


def damaged(content):
    """Draw damaged content: cut, with a few bytes changed, or random."""
    flips = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), max_size=4)

    def apply(changes):
        data = bytearray(content)
        for place, bits in changes:
            data[place] ^= bits
        return bytes(data)

    cut = st.integers(0, len(content)).map(lambda length: content[:length])
    return st.one_of(st.binary(max_size=200), cut, flips.map(apply))


def said(sweep, capsys):
    """Return the printed report of a sweep."""
    print_report(sweep)
    return capsys.readouterr().out


def all_printable(text):
    return all(line.isprintable() for line in text.split("\n"))


# --- the journal

ROW = {
    "kind": "epoch", "trial_id": "00000", "epoch": 4, "step": 40, "learning_rate": 0.1, "train_loss": 0.5,
    "train_accuracy": 0.9, "test_loss": 0.5, "test_accuracy": 0.9, "diverged": False, "above_since": 3, "node": "here",
}  # fmt: skip
EVENTS = [
    ROW,
    {"kind": "end", "trial_id": "00000", "stop_reason": "completed", "error": ""},
    {"kind": "trial", "trial_id": "00002", "config": {"learning_rate": 0.2}},
]


@st.composite
def changed_events(draw):
    """Draw a valid event with one key removed or given another value."""
    event = dict(draw(st.sampled_from(EVENTS)))
    name = draw(st.sampled_from(sorted(event)))
    del event[name]
    if draw(st.booleans()):
        event[name] = draw(values)
    return json.dumps(event).encode()


def test_the_unchanged_events_are_valid():
    assert all(parse_event(json.dumps(event).encode()) == event for event in EVENTS)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.one_of(st.binary(max_size=100), changed_events(), values.map(lambda value: json.dumps(value).encode())))
def test_a_bad_line_does_not_change_other_rows(folder, ended, epoch_row, capsys, line):
    path = folder(sweep_json=ended["sweep.json"].replace(b'"ended": "now"', b'"ended": null'))
    before = load_sweep(path).epochs
    (path / "journal.jsonl").write_bytes(line.replace(b"\n", b"") + b"\n" + ended["journal.jsonl"])
    sweep = load_sweep(path)
    kept = sweep.epochs.merge(before[["trial_id", "epoch"]])
    pd.testing.assert_frame_equal(kept, before, check_dtype=False)
    assert all_printable(said(sweep, capsys))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_journal_is_read(folder, ended, data):
    content = data.draw(damaged(ended["journal.jsonl"]))
    sweep = load_sweep(folder(journal_jsonl=content, sweep_json=ended["sweep.json"].replace(b'"now"', b"null")))
    assert len(sweep.trials) >= 2


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"kind": "epoch", "epoch": ' + b"9" * 5_000 + b"}",
        json.dumps(ROW | {"kind": "epochs"}).encode(),
        json.dumps(ROW | {"epoch": "4"}).encode(),
        json.dumps(ROW | {"epoch": True}).encode(),
        json.dumps(ROW | {"epoch": 0}).encode(),
        json.dumps(ROW | {"kind": ["epoch"]}).encode(),
        *[json.dumps(ROW | {"trial_id": name}).encode() for name in HOSTILE_NAMES],
    ],
)
def test_invalid_events(line):
    assert parse_event(line) is None


def size(found):
    """Return the number of events of a journal in which each trial was proposed once and ended once."""
    return len(found.epochs) + len(found.trials) + len(found.ends)


def test_damaged_lines_are_warned_about_once(folder, ended, caplog):
    lines = ended["journal.jsonl"].splitlines(keepends=True)
    lines[1:1] = [b"\xff\xfe\n", b'{"kind": "else", "trial_id": "00000"}\n']
    path = folder(journal_jsonl=b"".join(lines) + b'{"kind": "ep')
    with caplog.at_level(logging.WARNING):
        assert size(read_journal(path)) == size(read_journal(path)) == len(lines) - 2
    assert caplog.messages == [f"{path / 'journal.jsonl'}: skipped 2 damaged lines (line 2, 3) and read all others"]


def test_a_line_cut_short_by_a_kill_is_skipped_silently(folder, ended, caplog):
    path = folder(journal_jsonl=ended["journal.jsonl"] + b'{"kind": "ep')
    whole = read_journal(path).epochs
    mend_last_line(path / "journal.jsonl")
    with (path / "journal.jsonl").open("ab") as file:
        file.write(json.dumps(ROW).encode() + b"\n")
    epochs = read_journal(path).epochs
    pd.testing.assert_frame_equal(epochs[:-1], whole, check_dtype=False)
    assert epochs.iloc[-1][list(ROW)[1:]].to_dict() == {name: ROW[name] for name in list(ROW)[1:]}
    assert not caplog.messages


def test_a_line_of_100_mb_takes_no_memory(folder, ended):
    path = folder()
    with (path / "journal.jsonl").open("ab") as file:
        for _ in range(100):
            file.write(bytes(1_000_000))
        file.write(b"\n" + ended["journal.jsonl"] + bytes(3_000_000))
    assert peak_mb(lambda: read_journal(path)) < 10
    assert len(read_journal(path).epochs) == 2 * ended["journal.jsonl"].count(b'"epoch", ')
    mend_last_line(path / "journal.jsonl")
    assert (path / "journal.jsonl").read_bytes().endswith(b"\0" + journal.TORN)


# --- sweep.json


def places(value, path=()):
    """Yield the path of every value in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from places(item, (*path, name))


GONE = object()


def replaced(value, path, new):
    """Return the JSON value with the value at `path` replaced, or removed if `new` is GONE."""
    if len(path) == 1 and new is GONE:
        return {name: item for name, item in value.items() if name != path[0]} if isinstance(value, dict) else []
    if not path:
        return None if new is GONE else new
    changed = list(value) if isinstance(value, list) else dict(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_sweep_json_is_read_or_refused(folder, ended, capsys, data):
    whole = json.loads(ended["sweep.json"]) | {"ended": None}
    path = data.draw(st.sampled_from(list(places(whole))))
    changed = json.dumps(replaced(whole, path, data.draw(st.just(GONE) | values))).encode()
    content = data.draw(st.sampled_from([changed, data.draw(damaged(ended["sweep.json"]))]))
    try:
        told = said(load_sweep(folder(sweep_json=content)), capsys)
    except UserError as error:
        told = str(error)
    assert all_printable(told)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_an_invalid_trial_id_is_refused(folder, ended, name):
    said = json.loads(ended["sweep.json"])
    said["trials"][name] = said["trials"]["00000"]
    with pytest.raises(UserError, match=r"was not written by a sweep: trial '.*': an id of letters") as caught:
        load_sweep(folder(sweep_json=json.dumps(said).encode()))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["name", "trials", "dataset"])
def test_a_sweep_json_that_lacks_what_every_sweep_has_is_refused(folder, ended, name):
    said = json.loads(ended["sweep.json"])
    del said[name]
    with pytest.raises(UserError, match=f"was not written by a sweep: {name} is missing"):
        load_sweep(folder(sweep_json=json.dumps(said).encode()))


@pytest.mark.parametrize("target", [0, 1, -0.5, True])
def test_a_target_that_is_no_share_is_refused(folder, ended, target):
    said = json.loads(ended["sweep.json"]) | {"options": {"target": target}}
    with pytest.raises(UserError, match="options is missing or has the wrong type"):
        load_sweep(folder(sweep_json=json.dumps(said).encode()))


SEARCH = {"architecture": "mlp-4-tanh", "expected": 0.5, "predicted": {"2/λ0": [0.4, 0.6]}}


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("options", {"precision": 0.05}, {"precision": 0}),
        ("options", {"learned": 0.9}, {"learned": math.inf}),
        ("options", {"train_evaluation": 500}, {"train_evaluation": 0}),
        ("options", {"data_dir": "here"}, {"data_dir": 1}),
        ("options", {"searches": [SEARCH]}, {"searches": [SEARCH | {"expected": 0}]}),
        ("options", {"searches": []}, {"searches": [SEARCH | {"predicted": {"2/λ0": [0.4, 0]}}]}),
        ("options", {"searches": []}, {"searches": [SEARCH | {"batch_size": 0}]}),
        ("options", {"searches": []}, {"searches": [{"expected": 0.5}]}),
        ("dataset", {"label_counts": [0, 5]}, {"label_counts": [0, 0]}),
        ("dataset", {"test_images": 1}, {"test_images": 0}),
        ("dataset", {"label_counts": [5]}, {"label_counts": [-1, 5]}),
        ("dataset", {"target": None}, {"checksums": []}),
        ("dataset", {"target": 0.9}, {"target": 9}),
        ("dataset", {}, {"test_images": None}),
        ("dataset", {}, {"label_counts": None}),
        ("options", {"dataset": "mnist"}, {"dataset": 5}),
        ("environment", {"versions": {"jax": None}}, {"versions": []}),
        ("driver", {"cpu_s": 1.5}, {"cpu_s": "1"}),
        ("search", True, 1),
        ("resumed", ["then", "now"], [1]),
        ("code", [{"flag": "architecture", "name": "a.py:net", "files": {}}], [{"flag": "architecture", "files": {}}]),
        ("ended", None, 1),
        ("started", "then", 1),
        ("command", "mnist-tune", ["mnist-tune"]),
    ],
)
def test_values_of_a_sweep_json_are_read_or_refused(folder, ended, name, right, wrong):
    whole = json.loads(ended["sweep.json"])
    values = [whole[name] | value if isinstance(value, dict) and name in whole else value for value in (right, wrong)]
    taken, refused = (json.dumps(whole | {name: value}).encode() for value in values)
    assert meta.read_meta(folder(sweep_json=taken))[name] == values[0]
    with pytest.raises(UserError, match=f"was not written by a sweep: {name} is missing or has the wrong type; name"):
        meta.read_meta(folder(sweep_json=refused))


def test_options_and_environments_that_are_null_count_as_missing(folder, ended):
    whole = json.loads(ended["sweep.json"]) | {"options": None, "environment": None, "ended": None}
    found = meta.read_meta(folder(sweep_json=json.dumps(whole).encode()))
    assert set(whole) - set(found) == {"options", "environment"}


def test_a_large_sweep_json_is_refused(folder, ended, monkeypatch, tmp_path):
    size = len(ended["sweep.json"])
    monkeypatch.setattr(meta, "MOST_BYTES", size)
    load_sweep(folder())
    monkeypatch.setattr(meta, "MOST_BYTES", size - 1)
    with pytest.raises(UserError, match=f"it has more than {size - 1} bytes"):
        load_sweep(folder())
    (tmp_path / "sweep.json").mkdir()
    with pytest.raises(UserError, match=f"^can't read {tmp_path / 'sweep.json'}: Is a directory; name the folder of"):
        load_sweep(tmp_path)


# --- stored tables


@settings(max_examples=100)
@given(data=st.data())
def test_any_table_is_read_or_refused(ended, data):
    content = data.draw(damaged(ended["epochs.parquet"]))
    try:
        found = read_table(io.BytesIO(content), EPOCHS)
    except UserError:
        return
    assert set(found) <= {column.name for column in EPOCHS}


def test_damaged_tables_are_made_again_from_the_journal(folder, ended, caplog):
    before = load_sweep(folder())
    found = load_sweep(folder(trials_parquet=ended["trials.parquet"][:-100]))
    pd.testing.assert_frame_equal(found.trials, before.trials)
    pd.testing.assert_frame_equal(found.epochs, before.epochs)
    assert "trials.parquet is not a table of a sweep" in caplog.messages[0]
    assert caplog.messages[0].endswith("; the tables are made again from the journal")


def stored(ended, **columns):
    """Return the stored trials table with some columns replaced, as bytes."""
    table = pq.read_table(io.BytesIO(ended["trials.parquet"]))
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), column[0], column[1])
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"0", b"1"]),
        pa.array([["a"], ["b"]]),
        pa.array([{"a": 1}, None]),
        pa.array([1, 2]),
        pa.array(["a", None]),
        pa.array([1, 2], pa.timestamp("s")),
        pa.array(["a", "b"]).dictionary_encode(),
        pa.nulls(2),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(ended, column):
    content = stored(ended, regime=("regime", column))
    with pytest.raises(UserError, match=r"is not a table of a sweep .*regime"):
        read_table(io.BytesIO(content), TRIALS)


def test_a_table_without_a_column_that_every_sweep_has_is_refused(ended):
    content = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(ended["trials.parquet"])).drop_columns(["regime"]), content)
    with pytest.raises(UserError, match=r"is not a table of a sweep .*regime"):
        read_table(content, TRIALS)


@pytest.mark.parametrize("limit", ["MOST_ROWS", "MOST_BYTES"])
def test_a_table_that_claims_too_much_is_refused(ended, monkeypatch, limit):
    monkeypatch.setattr(f"mnist_tune.results.tables.{limit}", 1)
    with pytest.raises(UserError, match=r"it claims to hold 2 rows in \d{4} bytes"):
        read_table(io.BytesIO(ended["trials.parquet"]), TRIALS)


def test_a_table_of_an_older_version_is_read(folder, ended, caplog):
    content = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(ended["trials.parquet"])).drop_columns(["target", "node"]), content)
    found = load_sweep(folder(trials_parquet=content.getvalue())).trials
    assert list(found) == [column.name for column in TRIALS]
    assert found[["target", "node"]].isna().all(axis=None)
    assert not caplog.messages


def test_epochs_of_an_older_version_are_read_and_shown(folder, ended, caplog):
    content, missing = io.BytesIO(), ["lanes", "fill", "node", "device", "ended_at", "wait_s"]
    pq.write_table(pq.read_table(io.BytesIO(ended["epochs.parquet"])).drop_columns(missing), content)
    found = load_sweep(folder(epochs_parquet=content.getvalue()))
    assert found.epochs[missing].isna().all(axis=None)
    assert list(found.epochs) == list(load_sweep(folder()).epochs)
    assert not caplog.messages
    assert "lanes that trained together" not in found.report().read_text()


@pytest.mark.parametrize("name", ["an unknown regime", "an epoch twice"])
def test_tables_that_no_sweep_can_have_written_are_made_again_or_refused(folder, ended, caplog, name):
    if name == "an epoch twice":
        epochs, content = pq.read_table(io.BytesIO(ended["epochs.parquet"])), io.BytesIO()
        pq.write_table(pa.concat_tables([epochs, epochs.slice(0, 1)]), content)
        path = folder(epochs_parquet=content.getvalue())
    else:
        path = folder(trials_parquet=stored(ended, regime=("regime", pa.array(["mine", "slow"]))))
    found = load_sweep(path)
    assert caplog.messages == [
        f"the tables in {path} were not written by a sweep; the tables are made again from the journal"
    ]
    assert len(found.epochs) == 6
    (path / "journal.jsonl").unlink()
    with pytest.raises(UserError, match=r"^the tables in .* were not written by a sweep$"):
        load_sweep(path)


# --- what is shown


HOSTILE_TEXT = "\x1b[2J\x07<script>alert(1)</script>[/red][link=x]\u202e$\\frac{$" + "long" * 2500


@pytest.mark.parametrize("finished", [True, False])
def test_text_from_a_folder_is_shown_without_effects(folder, ended, finished, capsys, tmp_path):
    said_ = json.loads(ended["sweep.json"])
    said_["ended"] = "now" if finished else None
    said_["name"] = said_["dataset"]["note"] = HOSTILE_TEXT
    for config in said_["trials"].values():
        config["label"] = config["architecture"] = HOSTILE_TEXT
    end = {"kind": "end", "trial_id": "00000", "stop_reason": "error", "error": HOSTILE_TEXT}
    lines = [*ended["journal.jsonl"].splitlines(), json.dumps(end).encode(), b""]
    text = pa.array([HOSTILE_TEXT] * 2)
    tables = {name: (name, text) for name in ("label", "architecture", "regime_evidence", "error", "stop_reason")}
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
    plot_regimes(sweep, tmp_path / "picture.svg")
    assert "<script>" not in (tmp_path / "picture.svg").read_text()


# --- pickles, links


@pytest.fixture
def trap(tmp_path):
    bomb = pickle.dumps(Trap(tmp_path / "sprung"))
    yield bomb
    assert not (tmp_path / "sprung").exists()
    pickle.loads(bomb)
    assert (tmp_path / "sprung").exists(), "the trap does not work"


def test_pickles_in_a_folder_are_never_executed(folder, ended, trap):
    for name in ("journal_jsonl", "sweep_json", "trials_parquet", "epochs_parquet"):
        try:
            assert isinstance(load_sweep(folder(**{name: trap})), Sweep)
        except UserError:
            assert name == "sweep_json"


def test_pickles_in_a_table_are_never_executed(folder, ended, trap):
    """Old versions of Arrow unpickled the metadata of such a column (CVE-2023-47248)."""
    extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": trap}
    field = pa.field("label", pa.binary(), metadata=extension)
    content = stored(ended, label=(field, pa.array([trap, trap])))
    with pytest.raises(UserError, match="label is of type"):
        read_table(io.BytesIO(content), TRIALS)
    whole = pq.read_table(io.BytesIO(ended["trials.parquet"]))
    content = io.BytesIO()
    pq.write_table(whole.replace_schema_metadata({"pandas": trap}), content)
    assert len(read_table(content, TRIALS)) == 2


def test_tunes_files_are_removed_before_a_sweep_is_resumed(folder, ended):
    path = folder()
    (path / ".ray" / "tune").mkdir(parents=True)
    (path / ".ray" / "tune" / "tuner.pkl").write_bytes(b"")
    writer = SweepWriter(path, json.loads(ended["sweep.json"]), resume=True)
    assert not (path / ".ray").exists()
    writer.finish()


@pytest.mark.parametrize("name", ["states", ".ray", "journal.jsonl", ".sweep.json.part"])
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
