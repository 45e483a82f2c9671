"""The object of JSON that a sweep is for scripts, and its schema."""

import copy
import json
import math
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator
from made_up_sweeps import KINDS as MADE_UP
from made_up_sweeps import of_kind
from sweep_states import NAMES
from text_tables import barred_rows

from mnist_tune import UserError, load_sweep
from mnist_tune.answers import answer as answers
from mnist_tune.answers import best, progress, spans, steps
from mnist_tune.answers import decision as decisions
from mnist_tune.columns import TRIALS
from mnist_tune.commands import lr_regimes, show
from mnist_tune.errors import ErrorKind
from mnist_tune.regimes.labels import REGIMES
from mnist_tune.regimes.measured_edge import Interval
from mnist_tune.regimes.reasons import Reason
from mnist_tune.regimes.replicates import CONFIGURATION
from mnist_tune.regimes.widths import Exponent
from mnist_tune.reports.json_object import _plain, json_object
from mnist_tune.results.sweep_meta import SweepKind

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "sweep.schema.json").read_text())
DEFS = SCHEMA["$defs"]
VALIDATOR = Draft202012Validator(SCHEMA)

RENAMED = "renamed"


def object_of(sweep):
    """Return the object as a script reads it. NaN and infinity are no JSON."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(sweep.to_json(), parse_constant=refuse)


def errors(content):
    return [
        f"{error.json_path}: {error.message}"
        for error in VALIDATOR.iter_errors(content)
    ]


OF_KIND = {"search": "search", "decision": "decision", "edge": "edge", "edges": "edge"}
"""The kind of a sweep, by a word in its maker's name; else it is a sweep."""


def kind_of(name):
    for word in name.split("_"):
        if word in OF_KIND:
            return OF_KIND[word]
    return "sweep"


@pytest.mark.parametrize("name", NAMES)
def test_the_object_of_a_sweep_in_each_state_is_as_the_schema_has_it(name, make):
    sweep = make(name)
    content = object_of(sweep)
    assert errors(content) == []
    assert content["kind"] == kind_of(name)
    assert content["text"]["headline"] == sweep.answer().headline
    assert len(content["trials"]) == len(sweep.trials)


@pytest.mark.parametrize("kind", MADE_UP)
def test_the_object_of_a_stored_sweep_is_as_the_schema_has_it(
    kind, new_writer, epoch_row, tmp_path
):
    of_kind(kind, tmp_path / "a", new_writer, epoch_row)
    assert errors(object_of(load_sweep(tmp_path / "a"))) == []


def test_the_object_says_what_the_answer_says(make):
    content = object_of(make("settled"))
    answer = content["answer"]
    best = content["settings"][answer["best"]["rank"]]
    assert best["learning_rate"] == 0.4
    assert answer["finding"] == "found"
    assert content["has_ended"]
    [spans_of_family] = answer["spans"]
    first_runs = [span["runs"][0] for span in spans_of_family["spans"]]
    assert [4.0] in [run["rates"] for run in first_runs]
    reasons = {row["trial_id"]: row["reason"] for row in content["trials"]}
    assert reasons["00003"] == "loss_above_untrained"
    step = content["questions"][0]
    assert step["kind"] == "decide"
    assert step["why"] == "not_told_apart"
    rates = [setting["learning_rate"] for setting in step["settings"]]
    assert rates == [0.2, 0.4]
    assert step["command"].startswith("mnist-tune decide --sweep ")


def test_what_has_not_ended_says_so_and_how_to_go_on(make):
    for name in ("running", "interrupted"):
        content = object_of(make(name))
        assert not content["has_ended"]
    step = content["questions"][0]
    assert step["kind"] == "resume"
    assert step["trials"] == 2


def values_of(members):
    return [member.value for member in members]


def test_the_enums_of_the_schema_are_those_of_the_code():
    enums = {
        "kind": SweepKind,
        "finding": answers.Finding,
        "step_kind": steps.StepKind,
        "why": steps.Why,
        "sureness": decisions.Sureness,
    }
    for name, members in enums.items():
        assert DEFS[name]["enum"] == values_of(members), name
    assert DEFS["reason"]["enum"] == [*values_of(Reason), None]
    assert DEFS["regime"]["enum"] == [*REGIMES]

    def enum_of(definition, field):
        return DEFS[definition]["properties"][field]["enum"]

    assert set(enum_of("span", "regime")) == set(spans.ORDER)
    assert enum_of("warned", "regime") == [*best.WARNED]
    assert enum_of("trial", "error_kind") == [*values_of(ErrorKind), "", None]


BESIDE = {"settings", "next_steps"}
"""The fields of answers that stand beside them in the object."""

TYPES = {
    "common": answers.BaseAnswer,
    "sweep_fields": answers.SweepAnswer,
    "search": answers.SearchAnswer,
    "decision": answers.DecisionAnswer,
    "edges": answers.EdgeAnswer,
    "progress": progress.Progress,
    "warned": best.Warned,
    "best": best.BestSetting,
    "standing": best.Standing,
    "cut": spans.Cut,
    "stretch": spans.Stretch,
    "span": spans.Span,
    "spans": spans.Spans,
    "best_rate": answers.BestRate,
    "calmer": decisions.Calmer,
    "decided": decisions.Decided,
    "exponent": Exponent,
}


def described_fields(name):
    """The fields that the schema has for a type, and for those that it extends."""
    described = set()
    while name:
        definition = DEFS[name]
        described |= set(definition["properties"])
        name = definition.get("$ref", "").rpartition("/")[2]
    return described


@pytest.mark.parametrize("name", TYPES)
def test_the_fields_of_the_schema_are_those_of_the_answers(name):
    names = {field.name for field in fields(TYPES[name])}
    assert described_fields(name) == names - BESIDE


def test_the_columns_of_the_schema_are_those_of_the_tables():
    described = DEFS["trial"]["properties"]
    columns = [column.name for column in TRIALS]
    assert list(described) == [*columns, "arguments"]
    types = {str: "string", bool: "boolean", int: "integer", float: "number"}
    for column in TRIALS:
        definition = described[column.name]
        if "type" in definition:
            expected = types[column.kind.type]
            if column.gaps:
                expected = [expected, "null"]
            assert definition["type"] == expected, column.name
    assert list(DEFS["configuration"]["properties"]) == CONFIGURATION
    assert set(DEFS["interval"]["properties"]) == set(Interval._fields)
    step = {field.name for field in fields(steps.NextStep)}
    question = set(DEFS["question"]["properties"])
    assert question == step | {"text", "command"}


def places(content):
    """Yield each field that an object of ours has: the object, and the field."""
    if isinstance(content, list):
        for item in content[:1]:
            yield from places(item)
    if isinstance(content, dict):
        for name, value in content.items():
            yield content, name
            if name != "arguments":
                yield from places(value)


@pytest.mark.parametrize(
    "name", ["warned_of", "search_with_a_decision", "open_decision", "several_edges"]
)
def test_a_field_that_is_removed_or_renamed_is_an_error(name, make):
    content = object_of(make(name))
    content["trials"] = content["trials"][:1]
    assert errors(content) == []
    count = 0
    for holder, field in list(places(content)):
        before = dict(holder)
        holder[RENAMED] = holder.pop(field)
        assert not VALIDATOR.is_valid(content), f"{field} may have another name"
        holder[field] = before[field]
        assert not VALIDATOR.is_valid(content), f"there may be more beside {field}"
        del holder[RENAMED], holder[field]
        assert not VALIDATOR.is_valid(content), f"{field} may be missing"
        holder.update(before)
        count += 1
    assert errors(content) == []
    assert count > 90


WRONG_VALUES = """
    kind                     | "contest"
    kind                     | "decision"
    answer.finding           | "perhaps"
    trials.0.learning_rate   | "0.1"
    trials.0.stop_reason     | null
    trials.0.reason          | "it is slow"
    trials.0.epochs_run      | 1.5
    questions.0.kind         | "rest"
    questions.0.arguments    | {"epochs": 3}
    version                  | 2
"""


@pytest.mark.parametrize(("path", "value"), barred_rows(WRONG_VALUES))
def test_another_type_or_word_is_an_error(path, value, make):
    content = copy.deepcopy(object_of(make("settled")))
    *parents, field = path.split(".")
    holder = content
    for name in parents:
        holder = holder[int(name) if name.isdigit() else name]
    assert field in holder
    holder[field] = json.loads(value)
    assert not VALIDATOR.is_valid(content)


def test_a_column_of_a_tasks_own_score_is_allowed(make):
    content = object_of(make("task_with_scores"))
    assert [row["score_kl"] for row in content["trials"]] == [1.0, None, 2.0]


STEPS = pd.DataFrame({"step": pd.array([1, None], "Int64")})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.5), "0.5"),
        (np.bool_(True), "true"),
        (pd.NA, "null"),
        (pd.NaT, "null"),
        (np.float64("inf"), "null"),
        ((np.float64(0.1), math.nan), "[0.1, null]"),
        (STEPS, '[{"step": 1}, {"step": null}]'),
        (SweepKind.EDGE, '"edge"'),
        ({np.int64(3): np.float32(0.5)}, '{"3": 0.5}'),
    ],
)
def test_values_of_numpy_and_pandas_are_written_as_json(value, text):
    assert json.dumps(_plain(value), allow_nan=False) == text


def test_commands_name_the_path_as_it_is_asked_for(make):
    content = json_object(make("settled"), "results/mine")
    assert "--sweep results/mine" in content["questions"][0]["command"]


def test_the_path_is_whole_wherever_it_is_read_from(make, monkeypatch):
    path = make("settled").path
    monkeypatch.chdir(path.parent)
    assert object_of(load_sweep(path.name))["path"] == str(path)


def test_show_prints_the_object_and_nothing_else(make, monkeypatch, capsys):
    sweep = make("settled")
    above = str(sweep.path.parent)  # else it says which sweep is the newest there
    monkeypatch.setattr(sys, "argv", ["show.py", above, "--json"])
    show.main()
    printed = capsys.readouterr()
    assert errors(json.loads(printed.out)) == []
    assert printed.err == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["{0}"], "--json prints one object, of one sweep; name one"),
        (["--page", "a.html"], "--json prints one object and nothing else; ask for"),
        (["--picture", "a.png"], "--json prints one object and nothing else; ask for"),
    ],
)
def test_json_of_two_sweeps_or_beside_a_page_or_picture_is_an_error(
    flags, message, make, monkeypatch, capsys
):
    path = str(make("settled").path)
    words = [flag.format(path) for flag in flags]
    monkeypatch.setattr(sys, "argv", ["show.py", path, *words, "--json"])
    with pytest.raises(UserError, match=message):
        show.main()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "code"), [("settled", 0), ("failed", 1), ("interrupted", 130)]
)
def test_a_command_prints_the_object_and_ends_with_its_usual_code(
    name, code, make, monkeypatch, capsys
):
    sweep = make(name)
    monkeypatch.setattr(lr_regimes, "run_or_resume", lambda options: sweep)
    monkeypatch.setattr(sys, "argv", ["lr_regimes.py", "--json"])
    assert lr_regimes.main() == code
    assert errors(json.loads(capsys.readouterr().out)) == []


def test_a_dry_run_has_no_object(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lr_regimes.py", "--dry-run", "--json"])
    with pytest.raises(UserError, match="--dry-run trains nothing, so --json has no"):
        lr_regimes.main()
    assert capsys.readouterr().out == ""


def test_the_page_shows_the_script_and_every_field():
    page = (ROOT / "docs" / "json.md").read_text()
    script = (ROOT / "examples" / "next_step.py").read_text().partition("\n\n")[2]
    assert f"```python\n{script}```" in page
    for name in SCHEMA["properties"]:
        assert f"`{name}`" in page, name
    for kind in SCHEMA["$defs"]["kind"]["enum"]:
        assert f"\n| `{kind}` | " in page, kind
