"""The page's table of trials, and what a trial's details say."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mnist_tune.reports.page_data import PageData
from mnist_tune.reports.page_table import HEAD_HEIGHT, ROW_HEIGHT, ROWS, details, fields, first_rows, named, trial_table


def titles(sweep, **columns):
    return [field.title for field in fields(PageData([replace(sweep, trials=sweep.trials.assign(**columns))]))]


def test_the_table_has_columns_for_what_there_is(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    scores, ends = ["train", "test"], ["stopped", "evidence", "trial"]
    assert titles(sweep) == ["rate", "regime", "epochs", *scores, "reaches 0.91", *ends]
    assert titles(sweep, label=["", "mine"])[:2] == ["label", "rate"]
    assert titles(sweep, seed=[0, 1])[:2] == ["rate", "seed"]
    assert titles(sweep, batch_size=[32, 64], epochs_asked=[4, 5])[:2] == ["batch size", "rate"]
    assert titles(sweep, validation_accuracy=[math.nan, 0.9])[3:7] == [*scores, "held out", "reaches 0.91"]
    assert titles(sweep, reaches=math.nan) == ["rate", "regime", "epochs", *scores, *ends]
    assert titles(sweep, target=[0.91, 0.92])[5] == "reaches target"
    assert titles(sweep, epochs_run=0) == ["rate", "regime", "epochs", *ends]


def test_the_first_rows_say_each_trial_as_its_sweep_names_it(made_up_sweep):
    sweep = made_up_sweep([0.123456, 3])
    trials = sweep.trials.assign(
        stop_reason=["completed", "error"],
        error=["", "no\x1b memory"],
        test_accuracy=[1.0, math.nan],
        label=["\x1b", ""],
    )
    other = replace(sweep, path=sweep.path.with_name("other"))
    data = PageData([replace(sweep, trials=trials), other])
    heads, rows = first_rows(data)
    cells = [dict(zip(heads, row, strict=True)) for row in rows]
    assert [(row["sweep"], row["trial"], row["test"]) for row in cells] == [
        ("sweep", "00000", "1.0000"),
        ("other", "00000", f"{other.trials['test_accuracy'][0]:.4f}"),
        ("other", "00001", "0.0900"),
        ("sweep", "00001", "–"),
    ]
    assert (cells[0]["rate"], cells[0]["epochs"], cells[0]["reaches 0.91"]) == ("0.1235", "4/4", "epoch 2")
    assert (cells[3]["epochs"], cells[3]["reaches 0.91"]) == ("1/4", "–")
    assert cells[0]["evidence"].startswith("accuracy 0.9")
    assert "memory" in cells[3]["evidence"]
    assert all(text.isprintable() for row in rows for text in row)


def test_at_most_as_many_rows_are_seen_as_have_room(made_up_sweep, rates):
    sweep = made_up_sweep(rates(ROWS + 1), epochs=1)
    few, many = (PageData([replace(sweep, trials=sweep.trials.head(count))]) for count in (2, ROWS + 1))
    assert [row[-1] for row in first_rows(many)[1]] == many.trials["own_id"].tolist()[:ROWS]
    heights = [trial_table(data, ["trial"]).height for data in (few, many)]
    assert heights == [HEAD_HEIGHT + 2 * ROW_HEIGHT, HEAD_HEIGHT + ROWS * ROW_HEIGHT]


def test_details_hold_what_a_sweep_has(made_up_sweep):
    sweep = made_up_sweep([0.1, 3])
    trials = sweep.trials.assign(error=["", "no memory"], batch_size=[32, 64], nesterov=[True, False])
    found = details(PageData([replace(sweep, trials=trials)]))
    assert found["trial"] == ["00000", "00001"]
    assert found["evidence"] == [sweep.trials["regime_evidence"][0], "no memory"]
    assert found["reaches_said"] == ["epoch 3", "–"]
    assert found["nesterov"] == ["True", "False"]
    np.testing.assert_array_equal(found["batch_size"], [32.0, 64.0])
    np.testing.assert_array_equal(found["diverged_at_step"], [math.nan, 1.0])
    assert not {"label", "sweep", "sweep_name", "validation_accuracy"} & set(found)
    labelled = replace(sweep, trials=trials.assign(label=["", "a\x1b"]), path=sweep.path.with_name("other"))
    found = details(PageData([replace(sweep, trials=trials), labelled]))
    assert found["trial"] == ["00000", "00000", "00001", "00001"]
    assert found["sweep_name"] == ["sweep", "other"] * 2
    assert found["label"][:3] == [""] * 3
    assert found["label"][3] != "a\x1b"
    assert "sweep" not in found


def test_a_trial_without_epochs_was_trained_nowhere(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    trials = sweep.trials.assign(node=sweep.trials["node"].where([True, False]))
    assert sorted(details(PageData([replace(sweep, trials=trials)]))["node"]) == ["", "here"]


def test_what_the_details_call_a_column_and_how_they_explain_it():
    found = named(["reaches_said", "reaches", "batch_size", "evidence", "stop_reason"])
    assert [title for title, _ in found.values()] == [
        "reaches the target in epoch",
        "reaches",
        "batch size",
        "evidence",
        "ended because",
    ]
    assert found["reaches_said"][1] == found["reaches"][1] != ""
    assert found["evidence"][1] == ""


@pytest.mark.parametrize(("held_out", "first"), [([0.9, 0.8, 0.7], 0), ([math.nan, 0.8, 0.7], 2), ([math.nan] * 3, 2)])
def test_the_best_trial_is_first_by_what_all_measured(made_up_sweep, held_out, first):
    """Else a trial that held nothing out would be last, however good it is."""
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    trials = sweep.trials.sort_values("learning_rate").assign(
        validation_accuracy=held_out, test_accuracy=[0.5, 0.6, 0.7]
    )
    found = PageData([replace(sweep, trials=trials)]).trials
    assert found["learning_rate"].iloc[0] == [0.1, 0.2, 0.4][first]
