"""Each mistake in a table of others' curves is one line, which names what is wrong,
where, and what to do."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest
from curves_of_others import ACCURACY, losses, table

from mnist_tune import UserError, read_curves


def changed(column, row, value):
    """Return the table with another value in a row, counted from 1."""
    rows = table().astype({column: object})
    rows.loc[row - 1, column] = value
    return rows


@dataclass
class Mistake:
    """A table, the arguments of `read_curves` that differ, and what is said."""

    rows: pd.DataFrame
    line: str
    arguments: dict[str, Any] = field(default_factory=dict)


MISTAKES = {}
MISTAKES["no rate"] = Mistake(
    table().rename(columns={"learning_rate": "rate"}),
    "the table has no column learning_rate; name it with columns={NAME: "
    "'learning_rate'}; it has rate",
)
MISTAKES["no place"] = Mistake(
    table().drop(columns="epoch"),
    "the table has no column epoch or step; name it with columns={NAME: 'epoch'}; "
    "it has no other",
)
MISTAKES["no score"] = Mistake(
    table().drop(columns="test_accuracy"),
    "the table has no column test_accuracy or validation_accuracy or test_loss or "
    "validation_loss; name it with columns={NAME: 'test_accuracy'}; it has no other",
)
MISTAKES["a misspelt column"] = Mistake(
    table().rename(columns={"test_accuracy": "tset_accuracy"}),
    "the column 'tset_accuracy' is not known; did you mean 'test_accuracy'? Rename "
    "it, or leave it out",
)
MISTAKES["a column that is not there"] = Mistake(
    table(),
    "the table has no column 'top1_acc'; known are learning_rate, seed, epoch, "
    "test_accuracy, train_loss",
    {"columns": {"top1_acc": "test_accuracy"}},
)
MISTAKES["a setting that is not there"] = Mistake(
    table(width=64),
    "the table has no column 'widht'; did you mean 'width'?",
    {"settings": ["widht"]},
)
MISTAKES["a name that is none"] = Mistake(
    table(top1=0.5),
    "no column is called 'test_acuracy' here; did you mean 'test_accuracy'?",
    {"columns": {"top1": "test_acuracy"}},
)
MISTAKES["no chance"] = Mistake(
    table(), "test_accuracy needs chance; give it, such as chance=0.1", {"chance": None}
)
MISTAKES["no number of examples"] = Mistake(
    table(),
    "test_accuracy needs test_examples; give it, such as test_examples=10000",
    {"test_examples": None},
)
MISTAKES["a chance that is none"] = Mistake(
    table(), "chance must be in [0, 1), got 10", {"chance": 10}
)
MISTAKES["losses alone"] = Mistake(
    losses(),
    "losses alone need guess, the loss of the best constant answer; give it, or a "
    "column untrained_loss",
    {"chance": None},
)
MISTAKES["a chance of losses"] = Mistake(
    losses(),
    "chance is of accuracies, which this table has not; leave it out",
    {"guess": 2.3},
)
MISTAKES["a loss to reach of accuracies"] = Mistake(
    table(),
    "target_loss is of losses alone, which this table has not; leave it out",
    {"target_loss": 0.1},
)
MISTAKES["the same report twice"] = Mistake(
    changed("epoch", 3, 2),
    "row 3 repeats a report; keep one, or name runs in a column run",
)
MISTAKES["no number"] = Mistake(
    changed("train_loss", 7, "1,5"),
    "row 7 has 'train_loss' that is no number; mend it, or leave it empty",
)
MISTAKES["a rate of 0"] = Mistake(
    changed("learning_rate", 1, 0.0),
    "row 1 has a learning rate that is not above 0; drop it, or mend it",
)
MISTAKES["no rate in a row"] = Mistake(
    changed("learning_rate", 4, None), "row 4 has no learning rate; fill it in"
)
MISTAKES["no epoch in a row"] = Mistake(
    changed("epoch", 4, None), "row 4 has no epoch or step; fill it in"
)
MISTAKES["percents"] = Mistake(
    changed("test_accuracy", 5, 81.2),
    "row 5 has an accuracy above 1 or below 0; divide percents by 100",
)
MISTAKES["a rate that a schedule changes"] = Mistake(
    changed("learning_rate", 2, 0.0005).assign(run="first").head(15),
    "row 2 has another learning_rate than its run had before; give the one that was "
    "asked for, or name runs in a column run",
)
MISTAKES["a schedule of another name"] = Mistake(
    table(schedule="step"),
    "run '00000': schedule must be one of constant, cosine, linear, got 'step'",
)
MISTAKES["two columns of a name"] = Mistake(
    table(loss=1.0).rename(columns={"loss": "train_loss"}),
    "the table has two columns 'train_loss'; rename one",
)
MISTAKES["no rows"] = Mistake(
    table().head(0), "the table has no rows; a row is a report of a run"
)
MISTAKES["no score in any row"] = Mistake(
    table().assign(test_accuracy=None, train_loss=None),
    "no row has a score; a row is a report of a run",
)
MISTAKES["an endless epoch"] = Mistake(
    changed("epoch", 3, float("inf")), "row 3 has no epoch or step; fill it in"
)
MISTAKES["two seeds in a run"] = Mistake(
    table(rates=[0.1], run="first"),
    "row 16 has another seed than its run had before; give the one that was asked "
    "for, or name runs in a column run",
)
MISTAKES["a seed that is no number"] = Mistake(
    table(seed="first"),
    "row 1 has 'seed' that is no number; mend it, or leave it empty",
)
MISTAKES["a batch of nothing"] = Mistake(
    table(batch_size=0),
    "run '00000': batch_size must be a whole number of at least 1, got 0",
)


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_a_line_that_names_what_where_and_the_fix(mistake):
    with pytest.raises(UserError) as error:
        read_curves(mistake.rows, **ACCURACY | mistake.arguments)
    assert str(error.value) == mistake.line


FILES = {
    "curves.txt": (
        "",
        "can't tell what {} holds; its name must end in csv, parquet, jsonl",
    ),
    "curves.jsonl": ('{"lr": 0.1}\n{"lr"\n', "{} is no table in jsonl: "),
    "curves.parquet": ("no parquet", "{} is no table in parquet: "),
    "curves.csv": ("", "{} is no table in csv: "),
    "decimal_commas.csv": (
        "learning_rate,epoch,test_accuracy\n0.1,1,0,5\n",
        "{} is no table in csv: its rows have more values than its head; mend it",
    ),
    "some_decimal_commas.csv": (
        "learning_rate,epoch,test_accuracy\n0.1,1,1\n0.1,2,0,5\n",
        "{} is no table in csv: ",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_table_is_a_line(name, tmp_path):
    content, line = FILES[name]
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError) as error:
        read_curves(path, **ACCURACY)
    assert str(error.value).startswith(line.format(path))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_a_line(tmp_path):
    with pytest.raises(UserError, match=r"^can't read .*none\.csv: No such file"):
        read_curves(tmp_path / "none.csv", **ACCURACY)
