"""The answer of a sweep: which setting, how sure that is, what to ask next."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from changed_sweeps import by_rate, with_data, with_epochs, with_meta, with_trials
from made_up_decisions import (
    by_turns,
    clearly_apart,
    mlp_settings,
    same_for_all_seeds,
    settings_at,
)
from made_up_sweeps import decision
from table_cells import cells_of

from mnist_tune.judged import Judged
from mnist_tune.regimes import measured_edge
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.families import families
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.reports.answer import STAYED, answer, how_often_it_stays, keys
from mnist_tune.reports.findings import notes
from mnist_tune.reports.page import HINT, _hint
from mnist_tune.reports.view import View

CHOSEN = "chosen on the test set"
GUESSING = "No setting that ran all its epochs did better than guessing; try another --optimizer,"


def headline_of(sweep):
    return answer(sweep).headline


def questions_of(sweep):
    """The texts of the questions that follow from a sweep."""
    return [question.text for question in answer(sweep).questions]


def test_the_answer_names_the_best_rate_its_rivals_and_where_regimes_are(made_up_sweep):
    sweep = made_up_sweep([0.001, 0.2, 0.4, 4])
    found_answer = answer(sweep)
    accuracy = "test accuracy 0.9700"
    assert found_answer.headline == f"Train with 0.4: {accuracy} (best of 4, {CHOSEN})"
    ranked = "One seed can't rank 0.2, 0.4 among the 3 compared"
    assert found_answer.lines[0] == f"{ranked}; another seed may say otherwise"
    assert "diverges 4" in found_answer.lines[1]
    question = found_answer.questions[0]
    assert question.text == "Is it 0.2 or 0.4?"
    assert "decide --sweep" in question.command
    best = sweep.best()
    close = keys(best[best["close"]])
    assert (found_answer.best, *found_answer.rivals) == tuple(close)
    assert {found_answer.best, *found_answer.rivals} < set(keys(sweep.trials))


def test_the_answer_says_what_it_rests_on_and_where_accuracy_jumps(made_up_sweep):
    sweep = by_rate(made_up_sweep([0.1, 1.0]))
    sweep = with_trials(sweep, regime=["converged", "oscillating"])

    far = answer(with_trials(sweep, test_accuracy=[0.9, 0.95]))
    calmer = "but it oscillates; the best that does not: 0.1 with 0.9000"
    accuracy = "test accuracy 0.9500"
    assert far.headline == f"Train with 1: {accuracy} (best of 2, {CHOSEN}, {calmer})"
    apart = "One seed told it apart from the other one"
    assert far.lines[0] == f"{apart}; another seed may say otherwise"

    near = with_trials(sweep, test_accuracy=[0.949, 0.95])
    assert answer(near).lines[0] == "One seed can't rank 0.1, 1"
    jumping = answer(with_trials(near, late_fall=[0.01, 0.013]))
    assert jumping.lines == (
        "One seed can't rank 0.1, 1",
        "converges 0.1 (at 0.1 accuracy jumps) · oscillates 1",
    )
    assert len(jumping.jumping) == 2

    held_out = with_trials(near, validation_accuracy=[0.94, 0.93], holdout=1000)
    best = "0.1: held-out accuracy 0.9400 (best of 2)"
    assert headline_of(held_out) == f"Train with {best}; test accuracy 0.9490"

    alike = with_trials(sweep, test_accuracy=[0.9, 0.95], learning_rate=[1.0, 1.0001])
    assert headline_of(alike).startswith("Train with 1.0001: ")

    lost = answer(with_trials(sweep, regime="diverged", stop_reason="diverged"))
    assert lost.headline == "No setting has run all its epochs"
    assert lost.lines[0] == "diverges at all rates, 0.1–1"


def test_the_headline_says_that_the_test_set_chose_the_best(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    best = "0.2: test accuracy 0.9697"
    assert headline_of(sweep) == f"Train with {best} (best of 2, {CHOSEN})"
    running = with_trials(sweep, stop_reason=["completed", "running"])
    assert "chosen" not in headline_of(running), "one setting is no choice"
    reasons = ["completed", "interrupted"]
    interrupted = with_trials(sweep, stop_reason=reasons, epochs_run=4)
    assert headline_of(interrupted).startswith("So far ")


def test_what_was_chosen_on_images_held_out_has_its_test_accuracy_said_at_the_end(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2], seeds=2)
    trials = sweep.trials.sort_values(["learning_rate", "seed"])
    sweep = with_trials(
        replace(sweep, trials=trials),
        validation_accuracy=[0.94, 0.96, 0.93, 0.93],
        test_accuracy=[0.9, 0.94, 0.97, 0.98],
        holdout=1000,
    )
    best = "0.1: held-out accuracy 0.9500 (best of 2, mean of 2 seeds)"
    assert headline_of(sweep) == f"Train with {best}; test accuracy 0.9200"
    interrupted = ["completed"] * 3 + ["interrupted"]
    so_far = with_trials(sweep, stop_reason=interrupted)
    assert headline_of(so_far) == f"So far {best}"
    diverged = ["completed"] + ["diverged"] * 3
    best = "0.1: held-out accuracy 0.9400 (best of 2)"
    failed = headline_of(with_trials(sweep, stop_reason=diverged))
    assert failed == f"Train with {best}; test accuracy 0.9000"


def test_a_decision_says_on_how_many_images_it_and_the_sweep_trained(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    settings = settings_at(0.1, 0.2, architecture="mlp-4-tanh", holdout=100)
    scores = same_for_all_seeds(0.9, 0.95)

    def comparisons(**recorded):
        """The notes on scores that do not compare."""
        decided = decision(sweep, settings, scores, **recorded)
        return [note for note in notes(decided) if "do not compare" in note]

    images = data_facts(sweep.meta).train_images
    counts = f"{images - 100:,} examples and the sweep trained on {images:,}"
    note = f"this trains on {counts}, so their scores do not compare"
    assert comparisons(swept_images=images) == [note]
    assert comparisons(swept_images=images - 100) == []
    assert comparisons(swept_images=None) == []
    assert comparisons(swept_images="x") == []
    assert comparisons() == []


def test_what_one_seed_tells_apart_is_said_with_how_many_were_compared_and_that_seeds_may_differ(
    made_up_sweep,
):
    """The more are compared, the larger a gap chance makes: two that were told apart
    may no longer be among four."""
    sweep = by_rate(made_up_sweep([0.1, 0.2, 0.3, 0.4]))
    sweep = with_data(sweep, test_images=10_000)
    four = with_trials(sweep, test_accuracy=[0.8032, 0.8143, 0.76, 0.75])
    two = replace(four, trials=four.trials[:2])
    otherwise = "another seed may say otherwise"
    apart = "One seed told it apart from the other one"
    assert answer(two).lines[0] == f"{apart}; {otherwise}"
    close = "One seed can't rank 0.1, 0.2 among the 4 compared"
    assert answer(four).lines[0] == f"{close}; {otherwise}"
    closer = with_trials(two, test_accuracy=[0.81, 0.8143])
    assert answer(closer).lines[0] == "One seed can't rank 0.1, 0.2"


def test_several_seeds_say_how_many_were_compared_but_not_that_another_seed_may_differ(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2, 0.4], seeds=3)
    best = sweep.trials["learning_rate"].eq(0.4)
    apart = with_trials(sweep, test_accuracy=0.8 + 0.1 * best)
    assert answer(apart).lines[0] == "3 seeds told it apart from all 2 others"


def test_the_headline_warns_of_a_best_setting_that_oscillates_or_overfits(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 1.0], seeds=3)
    trials = sweep.trials.sort_values(["learning_rate", "seed"])
    sweep = replace(sweep, trials=trials)
    choice = f"(best of 2, mean of 3 seeds, {CHOSEN}"

    def warning(*regimes):
        """What follows the choice, given the regimes of the best setting's seeds."""
        other_setting = ["oscillating"] * 3
        labelled = with_trials(sweep, regime=[*other_setting, *regimes])
        return headline_of(labelled).partition(choice)[2]

    calm, restless, memorised = "converged", "oscillating", "overfit"
    assert warning(restless, restless, restless) == ", but it oscillates)"
    two_seeds = warning(restless, calm, restless)
    assert two_seeds == ", but it oscillates with 2 of 3 seeds)"
    assert warning(memorised, memorised, memorised) == ", but it overfits)"
    assert warning(calm, restless, calm) == ")"
    assert warning(calm, calm, "undecided") == ")"

    scores = same_for_all_seeds(0.9, 0.95)
    decided = decision(sweep, mlp_settings(0.1, 0.2), scores)
    end = "none of the others is better, but it oscillates"
    assert headline_of(with_trials(decided, regime=restless)).endswith(end)


def test_of_crossed_settings_the_best_is_named_in_full_and_the_best_of_each(
    made_up_sweep,
):
    networks = ("mlp-4-tanh", "mlp-8-tanh")
    headline = headline_of(made_up_sweep([0.01, 0.2], seeds=2, architectures=networks))
    best = "mlp-4-tanh, learning rate 0.2"
    assert headline.startswith(f"Train with {best}: test accuracy 0.9")
    choice = f"best of 4, mean of 2 seeds, {CHOSEN}"
    assert headline.endswith(f"({choice}; least loss of 2 that tie)")


@pytest.mark.parametrize(
    ("reason", "how"),
    [("asynchyperband", "failed or stopped early"), ("diverged", "failed")],
)
def test_seeds_that_a_scheduler_stopped_are_not_said_to_have_failed(
    made_up_sweep, reason, how
):
    sweep = made_up_sweep([0.1], seeds=3)
    stopped = with_trials(sweep, stop_reason=["completed", "completed", reason])
    line = answer(stopped).lines[0]
    assert line.startswith(f"1 of its 3 seeds {how} (up to 86% of all may)")


def mlps_of_8_depths():
    return [f"mlp-1024-{depth}-tanh" for depth in range(1, 9)]


def test_settings_with_too_long_names_are_said_to_be_so_many_of_the_best(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.2], architectures=mlps_of_8_depths())
    jumps = sweep.trials["architecture"].ne("mlp-1024-1-tanh")
    line = answer(with_trials(sweep, late_fall=jumps * 0.01)).lines[0]
    close, jumping, seeds = line.split("; ")
    best = "the best 8 (the last has 0.9697)"
    assert close == f"One seed can't rank {best} among the 16 compared"
    assert jumping == f"accuracy jumps at 7 of {best}"
    assert seeds == "another seed may say otherwise"


def test_a_running_sweep_answers_so_far_and_one_without_epochs_that_there_is_none(
    made_up_sweep, new_writer, tmp_path
):
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    running = with_trials(sweep, stop_reason=["completed", "completed", "running"])
    assert headline_of(running).startswith("So far ")
    assert answer(running).lines[0] == "2 of 3 trials ended, 1 running, 0 waiting"
    untrained = new_writer(tmp_path / "none").finish(ended="now")
    assert headline_of(untrained) == "No trial has finished an epoch"


def test_settings_that_run_all_their_epochs_at_chance_are_not_said_to_diverge(
    made_up_sweep,
):
    sweep = made_up_sweep([1e-7, 1e-6, 1e-5])
    guessing = answer(with_trials(sweep, test_accuracy=0.1, regime="slow"))
    assert guessing.headline[:85] == GUESSING
    assert guessing.lines == ("slow at all rates, 1e-07–1e-05",)


@pytest.mark.parametrize(
    ("epochs_run", "line"),
    [
        (2, ""),
        (
            6,
            "after 50% of the epochs, 73% of such answers were final or not told apart from the final one",
        ),
        (
            14,
            "after 75% of the epochs, 83% of such answers were final or not told apart from the final one",
        ),
    ],
)
def test_an_answer_so_far_says_how_often_one_was_final(made_up_sweep, epochs_run, line):
    """Of 20 epochs asked for, one trial has run all, and each of two so many."""
    sweep = made_up_sweep([0.1, 0.2, 0.4], epochs=20)
    running = with_trials(
        sweep,
        stop_reason=["completed", "running", "running"],
        epochs_asked=20,
        epochs_run=[20, epochs_run, epochs_run],
    )
    assert how_often_it_stays(answer(running).data) == line
    assert (line in answer(running).lines) == bool(line)
    ended = answer(with_trials(sweep, epochs_asked=20, epochs_run=20))
    assert how_often_it_stays(ended.data) == ""


def test_the_docs_have_the_shares_of_answers_that_stay():
    page = Path(__file__).parents[2] / "docs" / "speed.md"
    text = " ".join(page.read_text().split())
    half, three_quarters = STAYED[0.5], STAYED[0.75]
    assert f"{half:.0%} and {three_quarters:.0%} are near" in text


@pytest.mark.parametrize(
    ("reason", "head"),
    [("running", "So far"), ("error", "Train with"), ("interrupted", "So far")],
)
def test_the_best_is_one_of_the_settings_that_have_ended(made_up_sweep, reason, head):
    sweep = made_up_sweep([0.1, 0.2, 0.4, 4.0])
    reasons = ["completed", reason, "completed", "diverged"]
    stopped = with_trials(sweep, stop_reason=reasons, epochs_run=[4, 0, 4, 4])
    best = "0.4: test accuracy 0.9700"
    assert headline_of(stopped) == f"{head} {best} (best of 3, {CHOSEN})"
    counts = "2 converged, 1 diverged, 1 without an epoch"
    assert repr(stopped).splitlines()[2] == f"4 trials: {counts}"


def test_a_line_on_what_is_told_apart_does_not_contradict_the_question(made_up_sweep):
    sweep = by_rate(made_up_sweep([0.1, 0.2, 0.4]))
    sweep = with_trials(
        sweep, test_accuracy=[0.8, 0.95, 0.9], late_fall=[0.0, 0.0, 0.04]
    )
    apart = "One seed told it apart from all 2 others but 1 whose accuracy jumps"
    assert answer(sweep).lines[0] == f"{apart}; another seed may say otherwise"
    assert questions_of(sweep)[0] == "Is it 0.2 or 0.4?"
    slow = with_trials(sweep, regime="slow")
    beginnings = [text[:8] for text in questions_of(slow)]
    assert beginnings == ["No edge ", "The best"], "better ones are to be found"


def test_while_the_best_setting_still_learns_more_epochs_are_asked_for(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    learning = with_trials(sweep, regime="undecided", reason="on_its_way")

    def commands(**columns):
        """The commands that train the sweep's trials longer."""
        questions = answer(with_trials(learning, **columns)).questions
        return [step.command for step in questions if "train longer" in step.text]

    longer = f"mnist-tune resume {sweep.path} --epochs 8"
    assert commands() == [longer]
    assert commands(test_accuracy=0.1) == [longer]
    assert commands(schedule="cosine") == []
    assert commands(regime="converged", reason="at_target") == []
    assert commands(reason="too_few_epochs"), "it may not have settled"
    # a resume refuses more epochs for an optimiser that has got its total steps
    code = {"flag": "optimizer", "name": "annealed", "files": {}}
    learning = with_meta(learning, code=[code | {"total_steps": True}])
    assert commands(optimizer="annealed(decay=0.5)") == []
    assert len(commands()) == 1


TASK = {
    "name": "task",
    "note": "",
    "checksums": {},
    "train_images": 300,
    "test_images": 100,
}
BY_KL = {"rank_by": "score_kl:min"}


def test_a_fall_of_accuracy_is_no_gap_of_another_score(made_up_sweep):
    sweep = by_rate(made_up_sweep([0.1, 0.2], epochs=8))
    sweep = with_meta(
        sweep, options=BY_KL, dataset=TASK | {"chance": 0.1, "scores": ["kl"]}
    )
    # the curve of the score shows how much of it is noise
    noise = 1e-4 * (sweep.epochs["epoch"] % 2)
    sweep = with_epochs(sweep, score_kl=1.0 + noise)
    sweep = with_trials(sweep, score_kl=[1.0, 1.05], late_fall=[0.0, 0.09])
    assert [text for text in questions_of(sweep) if "Is it" in text] == []
    assert sweep.best()["jumps"].tolist() == [0, 0]


def of_tasks(sweep, **columns):
    """A sweep over tasks without an accuracy, whose losses have no known noise."""
    trials = sweep.trials.sort_values(["architecture", "learning_rate"])
    sweep = replace(sweep, trials=trials)
    sweep = with_trials(sweep, test_accuracy=math.nan, **columns)
    sweep = with_epochs(sweep, test_accuracy=math.nan, train_accuracy=math.nan)
    return with_meta(sweep, dataset=TASK)


def test_no_loss_of_unknown_noise_is_said_to_be_told_apart(made_up_sweep):
    losses = [1.0, 0.9, 0.95]
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    sweep = of_tasks(sweep, test_loss=losses, loss_noise=math.nan)
    tied = answer(sweep)
    assert tied.headline == f"Train with 0.2: test loss 0.9 (best of 3, {CHOSEN})"
    unknown = "One seed can't tell a gap from chance: its noise is not known"
    assert tied.lines[0] == unknown
    assert len(tied.rivals) == 2, "all may be the best"
    assert tied.questions[0].text == "Is it 0.1, 0.2 or 0.4?"
    assert len(sweep.contenders()) == 3
    apart = "One seed told it apart from all 2 others; another seed may say otherwise"
    assert answer(of_tasks(sweep, loss_noise=0.001)).lines[0] == apart
    assert _hint(View([sweep])) == HINT  # losses have no bars


def test_losses_tie_where_they_are_equal_however_small_they_are(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2, 0.4, 0.8])
    losses = [3.7e-14, 1.2e-14, 0.0, 0.0]
    tied = answer(of_tasks(sweep, test_loss=losses, loss_noise=1e-15))
    choice = f"best of 4, {CHOSEN}"
    assert tied.headline == f"Train with 0.4: test loss 0 ({choice}; 2 tie)"
    close = "One seed can't rank 0.4, 0.8 among the 4 compared"
    assert tied.lines[0] == f"{close}; another seed may say otherwise"

    losses = [4.0, 3.0, 1.0, 2.0]
    scores = [1e-14, 2e-14, 3e-14, 2.5e-14]
    tiny = of_tasks(sweep, test_loss=losses, score_kl=scores)
    tiny = with_meta(with_epochs(tiny, score_kl=1e-14), options=BY_KL)
    assert headline_of(tiny) == f"Train with 0.1: test kl 1e-14 ({choice})"


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_where_no_score_is_finite_that_is_said_and_not_that_nothing_was_learned(
    made_up_sweep, score
):
    losses = [4.6e-7, 5e-7, 9.0]
    sweep = made_up_sweep([0.1, 0.2, 4.0])
    sweep = of_tasks(sweep, test_loss=losses, score_kl=score)
    not_finite = with_meta(with_epochs(sweep, score_kl=score), options=BY_KL)
    why = "test kl is not finite in any trial that ended without diverging"
    headline = headline_of(not_finite)
    assert headline == f"No setting can be ranked: {why}"

    decided = decision(sweep, settings_at(0.1, 0.2), same_for_all_seeds(0.9, 0.9))
    options = decided.meta["options"] | BY_KL
    open_decision = with_meta(decided, options=options, dataset=TASK)
    open_decision = with_trials(open_decision, score_kl=score)
    assert headline_of(open_decision) == headline.replace("test", "held-out")


def test_losses_that_are_told_apart_are_written_so_that_they_differ(made_up_sweep):
    losses = [100.0034, 100.0012, 100.00122]
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    sweep = of_tasks(sweep, test_loss=losses, loss_noise=1e-5)
    best = "0.2: test loss 100.001"
    assert headline_of(sweep) == f"Train with {best} (best of 3, {CHOSEN})"
    close = "One seed can't rank 0.2, 0.4 among the 3 compared"
    assert answer(sweep).lines[0] == f"{close}; another seed may say otherwise"
    assert cells_of(sweep, "test loss") == ["100.003", "100.001", "100.001"]
    digits = {measure.digits for measure in View([sweep]).losses}
    assert len(digits) == 1
    near = headline_of(of_tasks(sweep, loss_noise=1.0))
    digits_of_noise = "more digits would be noise"
    assert near.startswith("Train with 0.2: test loss 100 ("), digits_of_noise


def test_a_mean_is_written_with_the_digits_that_its_interval_has(made_up_sweep):
    losses = [100.0034, 100.0032, 100.0031, 100.0012, 100.0013, 100.0014]
    sweep = made_up_sweep([0.1, 0.2], seeds=3)
    sweep = of_tasks(sweep, test_loss=losses, loss_noise=1e-5)
    cells = cells_of(sweep, "test loss")
    assert cells == ["100.0032 ± 0.0003795", "100.0013 ± 0.0002484"]

    def accuracy(seed, setting):
        return 0.9 + setting / 10 + seed % 3 / 100

    decided = decision(sweep, settings_at(0.1, 0.2), accuracy)
    order = np.arange(len(decided.trials)) // 2 % 3
    loss = 100 + decided.trials["learning_rate"] / 1000 + order / 1e5
    decided = with_trials(decided, validation_loss=loss, test_loss=loss)
    decided = with_meta(decided, dataset=TASK)
    lines = answer(decided).lines
    [line] = [text for text in lines if text.startswith("test loss of 0.1")]
    assert "seeds: 100.00011 ± 1" in line
    means = {cell[:8] for cell in cells_of(decided, "held-out loss")}
    assert len(means) == 2


def test_a_loss_of_minus_0_is_0(made_up_sweep):
    sweep = of_tasks(made_up_sweep([0.1, 0.2]), test_loss=[-0.0, 0.5], loss_noise=0.1)
    assert headline_of(sweep).startswith("Train with 0.1: test loss 0 (")
    assert cells_of(sweep, "test loss") == ["0", "0.5"]
    assert Ranking("loss", less=True).difference(-0.0) == "0"


def test_examples_that_are_too_few_to_tell_learning_from_luck_are_said_to_be_so(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2])
    sweep = with_data(sweep, test_images=2, label_counts=[150, 150])
    right = with_trials(sweep, test_accuracy=1.0, train_accuracy=0.96)
    luck = "No setting can be ranked: by luck, guesses may all be right on"
    test_examples = f"{luck} 2 test examples; test on more, or give --holdout"
    held_out_examples = f"{luck} 3 held-out examples; give a larger --holdout"

    assert headline_of(right) == test_examples
    held_out = with_trials(right, holdout=3, validation_accuracy=1.0)
    assert headline_of(held_out) == held_out_examples
    enough = with_data(right, test_images=20)
    assert headline_of(enough).startswith("Train with ")
    guesses = with_trials(enough, test_accuracy=0.5, regime="slow")
    assert "did better than guessing" in headline_of(guesses)

    scores = same_for_all_seeds(1.0, 1.0)
    decided = decision(sweep, settings_at(0.1, 0.2), scores, trials=4)
    assert headline_of(with_trials(decided, holdout=3)) == held_out_examples


def test_of_several_tasks_those_without_a_best_setting_are_counted_and_one_command_is_said_once(
    made_up_sweep,
):
    losses = [1.0, 2.0, 30.0, 40.0, 1.0, 2.0]
    sweep = made_up_sweep([0.1, 0.2], architectures=("one", "two", "three"))
    sweep = of_tasks(sweep, test_loss=losses, loss_noise=0.1)
    headline = "A best setting is known for {} of 3 tasks, " + CHOSEN
    assert headline_of(sweep) == headline.format(3)
    assert questions_of(sweep) == ["No edge yet, try larger rates:"]
    lost = sweep.trials["architecture"] != "two"
    regimes = sweep.trials["regime"].mask(lost, "diverged")
    sweep = with_trials(sweep, regime=regimes)
    assert headline_of(sweep) == headline.format(1)
    assert questions_of(sweep) == [
        "Try smaller rates (one, three):",
        "No edge yet, try larger rates (two):",
    ]


def test_a_setting_that_is_better_but_fails_more_often_is_told_from_those_that_tie(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2], seeds=6)
    seed = sweep.trials["seed"]
    larger_rate = sweep.trials["learning_rate"] == 0.2
    lost = larger_rate & (seed == 0)
    sweep = with_trials(sweep, regime=np.where(lost, "diverged", "converged"))
    noise = 0.001 * (seed * 7 % 3)

    better = with_trials(sweep, test_accuracy=0.9 + noise + 0.05 * larger_rate)
    assert headline_of(better).startswith("Train with 0.1: ")
    line = answer(better).lines[0]
    assert line == "Better, but failed with a seed more: 0.2"
    assert not any("smaller" in text for text in questions_of(better))

    alike = with_trials(sweep, test_accuracy=0.9 + noise)
    close = "5 to 6 seeds can't rank 0.1, 0.2"
    assert answer(alike).lines[0] == f"{close}; 0.2 failed with one seed more"


def test_the_best_rate_of_each_of_several_settings_is_said_and_those_without_one_are_named(
    made_up_sweep,
):
    networks = mlps_of_8_depths()
    sweep = made_up_sweep([0.1, 0.2], architectures=networks)
    lost = sweep.trials["architecture"] == "mlp-1024-2-tanh"
    regimes = sweep.trials["regime"].mask(lost, "diverged")
    lines = answer(with_trials(sweep, regime=regimes)).lines
    [line] = [text for text in lines if text.startswith("Best rate of each: ")]
    assert line.endswith(" · failed, or not ended: mlp-1024-2-tanh")
    assert "mlp-1024-8-tanh: 0.2, the largest (0.9" in line
    assert line.count("mlp-") == 8
    all_lost = with_trials(sweep, regime="diverged", stop_reason="diverged")
    diverges = [f"{network}: diverges at all rates, 0.1–0.2" for network in networks]
    assert answer(all_lost).details == tuple(diverges)


def test_beside_a_best_setting_that_oscillates_the_best_that_does_not_is_named(
    made_up_sweep,
):
    sweep = by_rate(made_up_sweep([0.1, 0.5, 1.0]))
    sweep = with_trials(sweep, test_accuracy=[0.9, 0.92, 0.95])

    def warning(*regimes):
        headline = headline_of(with_trials(sweep, regime=regimes))
        return headline.partition("but it ")[2]

    calm, restless = "converged", "oscillating"
    calmer = "oscillates; the best that does not: "
    assert warning(calm, calm, restless) == f"{calmer}0.5 with 0.9200)"
    assert warning(calm, "overfit", restless) == f"{calmer}0.1 with 0.9000)"
    assert warning("slow", restless, restless) == "oscillates)"
    assert warning(restless, restless, restless) == "oscillates)"
    assert warning(calm, calm, calm) == ""


def test_a_warning_counts_the_seeds_that_trained(made_up_sweep):
    sweep = made_up_sweep([1.0], seeds=4)
    waits = with_trials(
        sweep,
        regime=["oscillating", "converged", "undecided", "undecided"],
        epochs_run=[4, 4, 0, 0],
        stop_reason=["completed"] * 2 + ["interrupted"] * 2,
    )
    assert "oscillates with 1 of 2 seeds" in headline_of(waits)


def test_a_running_decision_counts_the_trials_that_have_ended(made_up_sweep):
    base = made_up_sweep([0.1])
    sweep = decision(base, settings_at(0.1, 0.2), by_turns, trials=12, at_a_time=3)
    reasons = ["completed"] * 6 + ["running"] * 2 + ["waiting"] * 4
    running = with_meta(with_trials(sweep, stop_reason=reasons), ended=None)
    lines = answer(running).lines
    assert lines[1].startswith("not settled after 6 trials; ")
    assert lines[-1].endswith("; 6 trials in all")


def test_what_a_page_says_of_bars_it_draws(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    assert "Pale bars" in _hint(View([sweep]))
    search = with_meta(sweep, search=True)
    assert _hint(View([search])) == HINT


def test_two_seeds_of_three_are_shown_as_two_values(made_up_sweep):
    sweep = made_up_sweep([0.1], seeds=3)
    sweep = with_trials(sweep, regime=["converged", "diverged", "converged"])
    assert cells_of(sweep, "test acc") == ["0.9553, 0.9553"]


def test_an_edge_says_what_was_asked_and_no_accuracy_that_nobody_measured(edge_sweep):
    edge_sweep.meta["options"]["precision"] = 0.005
    last_line = answer(replace(edge_sweep)).lines[-1]
    assert last_line.endswith(": precision 0.5% not reached")
    none_learned = with_epochs(edge_sweep, train_loss=2.39)

    def headline(*accuracies):
        """The headline, where only the first trials have a training accuracy."""
        unknown = [math.nan] * (28 - len(accuracies))
        column = [*accuracies, *unknown]
        return headline_of(with_trials(none_learned, train_accuracy=column))

    so_far = "No edge so far: none of 28 trials learned"
    assert headline() == f"{so_far}; try more --epochs"
    best = "the most accurate, at rate 0.6, reached 0.3000"
    assert headline(0.2, 0.3) == f"{so_far}; {best}; try more --epochs, or --learned"


def test_what_later_trials_of_an_edge_did_is_not_known_before_its_first_one_has_ended(
    edge_sweep,
):
    ended = edge_sweep.trials["stop_reason"][1:]
    running = with_trials(edge_sweep, stop_reason=["running", *ended])
    too_few = "fewer than the 4 trials that say what counts as learned"
    assert headline_of(running) == f"No edge so far: {too_few}"


def test_an_edge_and_a_decision_answer_their_own_questions(edge_sweep, made_up_sweep):
    assert headline_of(edge_sweep).startswith("Half of the seeds learn up to 1.4")
    base = made_up_sweep([0.1])
    scores = clearly_apart(0.9, 0.95)
    decided = answer(decision(base, mlp_settings(0.1, 0.2), scores))
    assert decided.headline == "Train with 0.2: none of the others is better"
    failures = "0 of its 5 seeds failed (up to 45% of all may)"
    assert decided.lines[0].startswith(f"{failures}; 95% of all decisions are right")
    trials = base.trials.assign(learning_rate=0.2, epochs_asked=1, holdout=100)
    assert decided.best == keys(trials)[0]
    assert decided.rivals == ()


def test_an_open_decision_over_arrays_says_how_these_are_given_again(made_up_sweep):
    base = made_up_sweep([0.1])
    settings = settings_at(0.1, 0.2)

    code = [{"flag": "task", "name": "vae.py:vae", "files": {}}]
    coded = decision(with_meta(base, code=code), settings, by_turns, trials=4)
    assert questions_of(coded)[0] == "More seeds may settle it:"

    arrays = decision(base, settings, by_turns, trials=4, dataset="arrays")
    call = f"resume_sweep({str(base.path)!r}, dataset=..., trials=8)"
    [question] = answer(arrays).questions
    assert question == ("More seeds may settle it:", call)


def test_a_decision_says_why_no_setting_has_been_compared_while_trials_have_ended(
    made_up_sweep,
):
    base = made_up_sweep([0.1])
    scores = same_for_all_seeds(0.9, 0.91)
    settings = settings_at(0.1, 0.2)
    sweep = decision(base, settings, scores, trials=4, at_a_time=2)
    reasons = ["completed", "running", "completed", "running"]
    running = with_meta(with_trials(sweep, stop_reason=reasons), ended=None)
    why = "no seed has ended for all of them"
    assert headline_of(running) == f"No setting has been compared yet: {why}"
    assert answer(running).lines == ("2 of 4 trials ended, 2 running, 0 waiting",)


def test_an_edge_that_is_not_as_precise_as_asked_asks_for_twice_as_many_trials(
    edge_sweep, monkeypatch
):
    monkeypatch.setattr(measured_edge, "LEAST_OUTCOMES", 20)
    assert answer(edge_sweep).questions == ()
    edge_sweep.meta["options"]["precision"] = 0.001
    [question] = answer(replace(edge_sweep)).questions
    trials = 2 * len(edge_sweep.trials)
    command = f"mnist-tune resume {edge_sweep.path} --trials {trials}"
    assert question == ("More trials make it more precise:", command)


def test_what_was_interrupted_asks_for_no_more_trials_and_others_for_twice_as_many(
    edge_sweep, made_up_sweep
):
    base = made_up_sweep([0.1, 0.2, 0.4])
    spent = decision(base, settings_at(0.1, 0.2), by_turns, trials=9)
    command = answer(spent).questions[0].command
    assert command.endswith(" --trials 18")
    edge_sweep.meta["options"] |= {"precision": 0.001, "trials": 100}
    command = answer(edge_sweep).questions[0].command
    assert command.endswith(" --trials 200")
    for sweep in (spent, edge_sweep, base):  # which also asks nothing else yet
        trial_ids = sweep.trials["trial_id"]
        last = trial_ids == trial_ids.max()
        reasons = sweep.trials["stop_reason"].mask(last, "interrupted")
        [question] = questions_of(with_trials(sweep, stop_reason=reasons))
        assert question == "1 trial had not ended; resume with:"


def test_the_trials_of_an_edge_count_also_those_that_are_too_slow_to_say_where_it_is(
    edge_sweep,
):
    """A rate of the pilot at which a trial has only just learned is below all that
    count."""
    slow = edge_sweep.epochs["trial_id"] == "00000"
    losses = edge_sweep.epochs["train_loss"].mask(slow, 1.1)
    with_a_slow_one = with_epochs(edge_sweep, train_loss=losses)
    [edge] = with_a_slow_one.edges()
    assert len(edge.outcomes) == 27
    last_line = answer(with_a_slow_one).lines[-1]
    counts = "28 trials (1 at rates that are too slow)"
    assert last_line.startswith(f"{counts}, half-width ")
    assert answer(edge_sweep).lines[-1].startswith("28 trials, half-width ")


def test_settings_of_different_epochs_are_named_by_these_too(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    second = sweep.trials["learning_rate"] == 0.2
    epochs = sweep.trials["epochs_asked"].where(second, 2)
    sweep = with_trials(
        sweep, learning_rate=0.1, epochs_asked=epochs, epochs_run=epochs
    )
    assert "epochs 4, learning rate 0.1" in headline_of(sweep)
    titles = [title for title, _ in families(sweep.trials)]
    assert titles == ["mlp-4-tanh, epochs 2", "mlp-4-tanh, epochs 4"]


def test_what_a_session_shows_of_a_sweep_an_edge_and_a_decision_is_its_answer(
    made_up_sweep, edge_sweep
):
    sweep = made_up_sweep([0.2, 0.4, 4])
    headline = headline_of(sweep)
    counts = "3 trials: 2 converged, 1 diverged"
    assert repr(sweep).splitlines()[1:3] == [headline, counts]
    assert repr(sweep.answer()).startswith(headline)
    assert headline in sweep._repr_html_()
    assert "<td>diverged</td>" in sweep._repr_html_()
    edge = "<edge of mlp-1024-128-tanh: half of the seeds learn up to 1.4"
    assert repr(edge_sweep.edges()).startswith(f"[{edge}")
    scores = same_for_all_seeds(0.5, 0.6)
    contest = decision(sweep, settings_at(0.1, 0.2), scores).decision
    seeds = contest.decision.seeds.max()
    best = "learning_rate=0.2 is best"
    assert repr(contest) == f"<contest of 2 settings: {best}, {seeds} seeds>"


def test_of_equal_accuracies_that_with_the_least_loss_is_named_and_the_tie_is_said(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    tied = with_trials(by_rate(sweep), test_accuracy=1.0, test_loss=[0.3, 0.1, 0.2])
    best = "0.2: test accuracy 1.0000"
    choice = f"best of 3, {CHOSEN}; least loss of 3 that tie"
    assert headline_of(tied) == f"Train with {best} ({choice})"
    scores = same_for_all_seeds(1.0, 1.0)
    decided = decision(sweep, mlp_settings(0.1, 0.2), scores)
    tie = "a tie with 0.2: 0.1 has the least held-out loss"
    assert tie in answer(decided).lines[0]


def test_a_training_accuracy_far_above_the_other_one_is_said(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    tied = with_trials(sweep, test_accuracy=0.65)
    far = headline_of(with_trials(tied, train_accuracy=0.98))
    accuracies = "test accuracy 0.6500, training accuracy 0.9800"
    assert far.startswith(f"Train with 0.2: {accuracies} (best of 2")
    near = headline_of(with_trials(tied, train_accuracy=0.74))
    assert "training" not in near
    scores = same_for_all_seeds(0.65, 0.6)
    decided = decision(sweep, mlp_settings(0.1, 0.2), scores)
    assert ", training accuracy 0.9" in answer(decided).lines[-1]


def test_a_search_says_what_its_decision_found_and_asks_for_no_other_one(
    made_up_sweep, monkeypatch
):
    base = made_up_sweep([0.1, 0.2, 0.4])
    search = with_meta(base, name="search", search=True)
    search = with_trials(search, validation_accuracy=[0.9, 0.91, 0.92], holdout=100)
    assert questions_of(search)[0] == "Is it 0.1, 0.2 or 0.4?"
    settings = mlp_settings(0.4, 0.2, 0.1)

    def close(seed, setting):
        return 0.9 + 0.001 * (seed + setting)

    final = decision(base, settings, close, trials=6)
    monkeypatch.setattr(Judged, "final", final)
    so_far = answer(replace(search))
    assert so_far.headline.startswith("So far 0.1: ")
    command = f"mnist-tune resume {base.path / final.path.name} --trials 12"
    assert so_far.questions == (("More seeds may settle it:", command),)

    final = decision(base, settings, clearly_apart(0.9, 0.95, 0.8))
    monkeypatch.setattr(Judged, "final", final)
    settled = answer(replace(search))
    best = "0.2: held-out accuracy 0.9508"
    choice = "of 3, the best 3 compared on fresh seeds"
    assert settled.headline == f"Train with {best} ({choice})"
    lines = ("0.2: none of the others is better", *answer(final).lines)
    assert settled.lines[: len(lines)] == lines
    assert settled.rivals == ()
    assert settled.questions == ()
