"""Sweeps that were trained elsewhere are decided by fresh seeds, which are trained
there, too."""

import json
from pathlib import Path

import pandas as pd
import pytest
from curves_of_others import ACCURACY, close, losses, table
from jsonschema import Draft202012Validator

from mnist_tune import DecideOptions, UserError, decide, load_sweep, read_curves
from mnist_tune.commands import read
from mnist_tune.reports.page import page

SCHEMA = Path(__file__).parents[2] / "docs" / "sweep.schema.json"


def read_all(*tables, **facts):
    """Return the sweep of these rows."""
    return read_curves(pd.concat(tables, ignore_index=True), **ACCURACY | facts)


FIRST = close([0, 2])
"""Two rates that two seeds can't rank. Fresh seeds are 1, 3, 4, 5, 6, ..."""


def decided(*fresh, first=FIRST):
    """Return what fresh rows decide, given with those of before."""
    return decide(read_all(first), again=read_all(first, *fresh))


def rows_of(rows, rate, seed):
    return (rows["learning_rate"] == rate) & (rows["seed"] == seed)


def test_nothing_is_trained_and_the_seeds_to_train_are_named():
    sweep = decide(read_all(FIRST))
    assert sweep.trials.empty
    answer = sweep.answer()
    assert answer.headline.startswith("No setting has been compared yet")
    [question] = answer.questions
    assert "train each of 0.1, 0.2 with the seeds 1, 3, 4, 5, 6" in question.text
    assert not question.command
    [step] = answer.data.next_steps
    assert step.arguments == {"seeds": [1, 3, 4, 5, 6]}
    asked_by_first = read_all(FIRST).answer().data.next_steps[0]
    assert asked_by_first.arguments == step.arguments


def test_fresh_seeds_decide():
    sweep = decided(close([1, 3, 4, 5, 6]))
    answer = sweep.answer()
    assert answer.headline.startswith("Train with 0.1: none of the others is better")
    assert "95% of all decisions are right" in repr(answer)
    assert not answer.questions
    assert answer.data.decided.seeds == 4


def test_rows_of_fresh_seeds_alone_decide_the_same():
    fresh = close([1, 3, 4, 5, 6])
    alone = decide(read_all(FIRST), again=read_all(fresh))
    both = decided(fresh)
    assert alone.answer().headline == both.answer().headline
    assert alone.answer().lines == both.answer().lines


def test_seeds_of_the_first_table_do_not_count():
    sweep = decide(read_all(FIRST), again=read_all(FIRST, close([1, 3])))
    assert sorted(sweep.trials["seed"].unique()) == [1, 3]
    assert sweep.answer().data.decided.seeds == 2


def test_the_rule_is_that_of_decisions_that_are_trained_here():
    """The same scores in the same order say the same, whoever trained."""
    contest = decided(close([1, 3, 4, 5, 6])).decision
    assert contest.settled
    assert contest.decision.seeds.tolist() == [4, 4]
    assert contest.decision.tolerance == pytest.approx(
        0.5 * (0.97 * 0.03 / 1e4) ** 0.5, rel=0.05
    )


def test_a_larger_tolerance_is_settled_by_fewer_seeds():
    noisy = {"apart": 0.0005, "spread": 0.002}
    fresh = read_all(close([1, 3, 4, 5, 6], **noisy))
    first = read_all(close([0, 2], **noisy))
    assert not decide(first, again=fresh).answer().data.decided.settled
    sweep = decide(first, again=fresh, tolerance=0.02)
    assert sweep.decision.decision.tolerance == 0.02
    assert sweep.answer().data.decided.settled
    assert "none of the others is better by more than 0.01" in sweep.answer().headline


@pytest.mark.parametrize("tolerance", [0, -0.1, 1, 20, float("nan")])
def test_a_tolerance_of_accuracies_is_a_difference_of_accuracies(tolerance):
    first = read_all(FIRST)
    with pytest.raises(UserError, match="tolerance is a difference of accuracies"):
        decide(first, again=first, tolerance=tolerance)


def test_a_tolerance_of_losses_may_be_large():
    rows = close([0, 2])
    rows["test_loss"] = 2.3e4 * (1 - rows["test_accuracy"])
    first = read_curves(rows.drop(columns="test_accuracy"), guess=2.3e4)
    assert decide(first, tolerance=20.0).decision.decision.tolerance == 20
    with pytest.raises(UserError, match="tolerance is a difference of losses"):
        decide(first, tolerance=-20.0)


def test_options_have_a_tolerance_of_their_own():
    with pytest.raises(UserError, match=r"DecideOptions\(tolerance=0.1\)"):
        decide(DecideOptions(), tolerance=0.1)


def test_what_is_not_settled_asks_for_further_seeds_of_what_is_left():
    rates = (0.1, 0.2, 0.3)
    noisy = {"apart": 0.0005, "spread": 0.003}
    first = close([0], rates, **noisy)
    fresh = close([1, 2, 3, 4, 5], rates, **noisy)
    is_worst = fresh["learning_rate"] == 0.3
    fresh.loc[is_worst, "test_accuracy"] -= 0.05
    sweep = decided(fresh, first=first)
    [step] = sweep.answer().data.next_steps
    assert step.arguments == {"seeds": [6, 7, 8, 9, 10]}
    [question] = sweep.answer().questions
    assert "train each of 0.1, 0.2 with the seeds 6, 7, 8, 9, 10" in question.text
    assert sweep.answer().headline.startswith(
        "So far 0.1: another may be better by up to"
    )
    # which no longer need the one that is left out
    further = decided(fresh, close([6, 7, 8, 9, 10], **noisy), first=first)
    assert further.answer().data.decided.seeds > 5


def test_a_seed_that_a_remaining_setting_lacks_does_not_count():
    """Nor do those after it, until it is there: who left it out may know why."""
    fresh = close([1, 3, 4, 5, 6])
    sweep = decided(fresh[~rows_of(fresh, 0.2, 4)])
    assert sweep.answer().data.decided.seeds == 2
    assert sweep.answer().data.decided.sureness.value == "too_few_seeds"
    [step] = sweep.answer().data.next_steps
    assert step.arguments == {"seeds": [4, 7, 8, 9, 10]}
    assert decided(fresh).answer().data.decided.settled


def test_a_run_that_has_not_ended_is_to_be_trained_on():
    fresh = close([1, 3, 4, 5, 6])
    is_open = rows_of(fresh, 0.2, 4) & (fresh["epoch"] > 9)
    sweep = decided(fresh[~is_open])
    assert sweep.answer().data.decided.seeds == 2
    [question] = sweep.answer().questions
    assert question.text.startswith("1 run ended before the longest one; train on")


def test_with_test_scores_the_best_ones_own_score_is_said_to_be_optimistic():
    fresh = close([1, 3, 4, 5, 6])
    text = repr(decided(fresh).answer())
    assert "chosen by test accuracy, so it is not an unbiased estimate" in text
    names = {"test_accuracy": "validation_accuracy"}
    first = FIRST.rename(columns=names).assign(test_accuracy=0.96)
    both = pd.concat([FIRST, fresh]).rename(columns=names).assign(test_accuracy=0.96)
    sweep = decide(read_all(first), again=read_all(both))
    assert "test accuracy of 0.1, 4 seeds: 0.9600" in repr(sweep.answer())
    assert "unbiased" not in repr(sweep.answer())


def test_without_test_scores_none_are_said():
    names = {"test_accuracy": "validation_accuracy"}
    for seeds in ([1, 3, 4, 5, 6], [7, 8, 9, 10]):
        both = pd.concat([FIRST, close(seeds)]).rename(columns=names)
        sweep = decide(read_all(FIRST.rename(columns=names)), again=read_all(both))
        text = repr(sweep.answer())
        assert "nan" not in text
        assert "test accuracy" not in text


NO_CLAIM = (
    "best of these, but nobody knows how surely: seeds or early stops of runs are not "
    "those that were asked for"
)


def assert_claims_nothing(sweep):
    answer = sweep.answer()
    assert answer.headline == f"So far 0.1: {NO_CLAIM}"
    assert answer.data.decided.sureness.value == "unasked"
    assert not answer.data.decided.settled
    texts = [repr(answer), sweep.to_json(), page([sweep])]
    for text in texts:
        assert "95%" not in text
    assert [key[-1] for key in answer.rivals] == [0.2]


def test_other_seeds_claim_no_95():
    sweep = decided(close([7, 17, 27, 37, 47]))
    assert_claims_nothing(sweep)
    [step] = sweep.answer().data.next_steps
    assert step.arguments == {"seeds": [1, 3, 4, 5, 6]}


def test_a_seed_left_out_between_others_claims_no_95_until_it_is_there():
    assert_claims_nothing(decided(close([1, 3, 5, 6])))
    assert "none of the others" in decided(close([1, 3, 4, 5, 6])).answer().headline


def test_a_stop_that_nobody_asked_for_claims_no_95():
    fresh = close([1, 3, 4, 5, 6], stop_reason="completed")
    stopped = rows_of(fresh, 0.2, 6)
    fresh.loc[stopped, "stop_reason"] = "asha"
    fresh = fresh[~(stopped & (fresh["epoch"] > 5))]
    sweep = decided(fresh)
    assert_claims_nothing(sweep)


def test_a_run_that_diverged_counts_as_failed():
    fresh = close([1, 3, 4, 5, 6])
    fresh["diverged"] = fresh["learning_rate"] == 0.2
    fresh = fresh[~fresh["diverged"] | (fresh["epoch"] < 5)]
    sweep = decided(fresh)
    assert sweep.answer().headline == "Train with 0.1: all others fail more often"


def test_losses_alone_are_decided():
    def of_losses(rows):
        rows = rows.assign(test_loss=2.3 * (1 - rows["test_accuracy"]))
        return rows.drop(columns="test_accuracy")

    facts = {"guess": 2.3026}
    first = of_losses(close([0, 2]))
    both = pd.concat([first, of_losses(close([1, 3, 4, 5, 6]))])
    sweep = decide(read_curves(first, **facts), again=read_curves(both, **facts))
    assert sweep.answer().headline.startswith("Train with 0.1: none of the others")
    assert "chosen by test loss" in repr(sweep.answer())


def test_settings_of_several_networks_are_decided_by_their_accuracy():
    def of_widths(seeds):
        wide = close(seeds, [0.1], width=64)
        narrow = close(seeds, [0.1], apart=0.0, width=16)
        narrow["test_accuracy"] -= 0.002
        return pd.concat([wide, narrow])

    first, fresh = of_widths([0]), of_widths([1, 2, 3, 4, 5, 6])
    facts = {"settings": ["width"]}
    sweep = decide(read_all(first, **facts), again=read_all(fresh, **facts))
    assert "curves(width=64)" in sweep.answer().headline


NONE_FRESH = {
    "other settings": close([1, 3], [0.4, 0.8]),
    "the same table again": FIRST,
    "other epochs": close([1, 3]).query("epoch < 8"),
}


@pytest.mark.parametrize("name", NONE_FRESH)
def test_a_table_without_a_fresh_seed_of_the_settings_decides_nothing(name):
    sweep = decide(read_all(FIRST), again=read_all(NONE_FRESH[name]))
    assert sweep.answer().headline.startswith("No setting has been compared yet")
    [step] = sweep.answer().data.next_steps
    assert step.arguments == {"seeds": [1, 3, 4, 5, 6]}


def test_a_table_with_other_examples_is_no_table_of_the_same_settings():
    again = read_all(FIRST, close([1, 3]), test_examples=100)
    sweep = decide(read_all(FIRST), again=again)
    assert sweep.answer().headline.startswith("No setting has been compared yet")


def several_networks(seeds):
    wide = losses(seeds=seeds, rates=[0.1], width=64)
    narrow = losses(seeds=seeds, rates=[0.1], width=16)
    return pd.concat([wide, narrow])


TAKES = (
    "decide takes DecideOptions(...), or what read_curves returns of a table with a seed "
    "for each run"
)
REFUSED = {
    "one setting": (
        table(),
        None,
        "1 settings of curves may be the best; a decision needs 2 to 200, "
        "and losses one network",
    ),
    "no seeds": (
        FIRST.drop(columns="seed").assign(
            run=FIRST["seed"].astype(str) + FIRST["learning_rate"].astype(str)
        ),
        None,
        TAKES,
    ),
    "no seeds in the second": (FIRST, close([1], seed=None), TAKES),
    "a seed twice": (
        FIRST,
        pd.concat([close([1], run="a"), close([1], run="b")]).assign(
            run=lambda rows: rows["run"] + rows["learning_rate"].astype(str)
        ),
        "curves has two runs of one setting and one seed; keep one of them",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_decided_is_a_line(name):
    first, again, line = REFUSED[name]
    first = read_all(first)
    if again is not None:
        again = read_all(again)
    with pytest.raises(UserError) as error:
        decide(first, again=again)
    assert str(error.value) == line


def test_losses_of_several_networks_do_not_compare():
    sweep = read_curves(several_networks([0]), guess=2.3026, settings=["width"])
    with pytest.raises(UserError, match="and losses one network"):
        decide(sweep)


def test_what_was_trained_here_is_decided_by_its_folder(
    tmp_path, new_writer, epoch_row
):
    from made_up_sweeps import of_kind

    of_kind("regimes", tmp_path / "a", new_writer, epoch_row)
    for first, again in [
        (load_sweep(tmp_path / "a"), None),
        (read_all(FIRST), "both.csv"),
        (DecideOptions(), read_all(FIRST)),
    ]:
        with pytest.raises(UserError) as error:
            decide(first, again=again)
        assert str(error.value) == TAKES


def tables_on_disk(folder, *fresh):
    FIRST.to_csv(folder / "first.csv", index=False)
    pd.concat([FIRST, *fresh]).to_csv(folder / "both.csv", index=False)


def run(monkeypatch, *arguments):
    """Call `mnist-tune read first.csv`."""
    facts = ("--chance", "0.1", "--test-examples", "10000")
    words = ["mnist-tune", "read", "first.csv", *facts, *arguments]
    monkeypatch.setattr("sys.argv", words)
    return read.main()


def test_the_command_takes_a_tolerance(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tables_on_disk(tmp_path, close([1, 3, 4, 5, 6], spread=0.002))
    run(monkeypatch, "--again", "both.csv")
    assert "So far" in capsys.readouterr().out
    run(monkeypatch, "--again", "both.csv", "--tolerance", "0.05")
    assert "none of the others is better by more than 0.0" in capsys.readouterr().out
    with pytest.raises(UserError, match="add --again with the table that decides"):
        run(monkeypatch, "--tolerance", "0.05")


def test_the_command_asks_and_decides(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tables_on_disk(tmp_path, close([1, 3, 4, 5, 6]))
    run(monkeypatch)
    assert "with the seeds 1, 3, 4, 5, 6; then read again, --again TABLE" in (
        capsys.readouterr().out
    )
    run(monkeypatch, "--again", "both.csv", "--page", "page.html")
    text = capsys.readouterr().out
    assert "Train with 0.1: none of the others is better" in text
    [worse] = [line for line in text.splitlines() if line.strip().startswith("0.2 ")]
    assert worse.split()[1:3] == ["0.0020", "[0.0001,"]
    assert "Curves: both.csv" in text
    assert "below the best" in text
    assert "none of the others" in (tmp_path / "page.html").read_text()


def test_the_command_prints_a_decision_as_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tables_on_disk(tmp_path, close([1, 3]))
    run(monkeypatch, "--again", "both.csv", "--json")
    shown = json.loads(capsys.readouterr().out)
    assert shown["kind"] == "decision"
    assert shown["answer"]["decided"]["seeds"] == 2
    [question] = shown["questions"]
    assert question["arguments"] == {"seeds": [4, 5, 6, 7, 8]}
    assert question["command"] is None
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert not list(validator.iter_errors(shown))


def test_an_asked_decision_can_be_shown():
    for sweep in (decide(read_all(FIRST)), decided(close([1, 3, 4, 5, 6]))):
        sweep.table()
        sweep.plot()
        assert "curves" in repr(sweep)
        assert page([sweep])
        validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
        assert not list(validator.iter_errors(json.loads(sweep.to_json())))
