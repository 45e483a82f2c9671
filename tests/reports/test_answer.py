"""The answer of a sweep: which setting, how sure that is, what to ask next."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_sweeps import decision

from mnist_tune.judged import Judged
from mnist_tune.regimes import measured_edge
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.families import families
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.reports.answer import answer, keys
from mnist_tune.reports.findings import notes
from mnist_tune.reports.page import HINT, _hint
from mnist_tune.reports.table import columns
from mnist_tune.reports.view import View

GUESSING = "No setting that ran all its epochs did better than guessing; try another --optimizer,"


def test_the_answer_names_the_best_rate_its_rivals_and_where_regimes_are(made_up_sweep):
    sweep = made_up_sweep([0.001, 0.2, 0.4, 4])
    found, best = answer(sweep), sweep.best()
    assert (
        found.headline
        == "Train with 0.4: test accuracy 0.9700 (best of 4, chosen on the test set)"
    )
    assert (
        found.lines[0]
        == "One seed can't rank 0.2, 0.4 among the 3 compared; another seed may say otherwise"
    )
    assert "diverges 4" in found.lines[1]
    assert found.questions[0].text == "Is it 0.2 or 0.4?"
    assert "decide --sweep" in found.questions[0].command
    assert (found.best, *found.rivals) == tuple(keys(best[best["close"]]))
    assert {found.best, *found.rivals} < set(keys(sweep.trials))


def test_the_answer_says_what_it_rests_on_and_where_accuracy_jumps(made_up_sweep):
    sweep = made_up_sweep([0.1, 1.0])
    trials = sweep.trials.sort_values("learning_rate").assign(
        regime=["converged", "oscillating"]
    )

    def said(**columns):
        found = answer(replace(sweep, trials=trials.assign(**columns)))
        return found.headline, found.lines[0]

    far = said(test_accuracy=[0.9, 0.95])
    warned = "but it oscillates; the best that does not: 0.1 with 0.9000)"
    told = "One seed told it apart from the other one; another seed may say otherwise"
    assert far == (
        f"Train with 1: test accuracy 0.9500 (best of 2, chosen on the test set, {warned}",
        told,
    )
    near = {"test_accuracy": [0.949, 0.95]}
    assert said(**near)[1] == "One seed can't rank 0.1, 1"
    jumping = answer(
        replace(sweep, trials=trials.assign(late_fall=[0.01, 0.013], **near))
    )
    assert jumping.lines == (
        "One seed can't rank 0.1, 1",
        "converges 0.1 (at 0.1 accuracy jumps) · oscillates 1",
    )
    assert len(jumping.jumping) == 2
    held = said(**near, validation_accuracy=[0.94, 0.93], holdout=1000)
    assert (
        held[0]
        == "Train with 0.1: held-out accuracy 0.9400 (best of 2); test accuracy 0.9490"
    )
    alike = said(test_accuracy=[0.9, 0.95], learning_rate=[1.0, 1.0001])
    assert alike[0].startswith("Train with 1.0001: ")
    lost = said(regime="diverged", stop_reason="diverged")
    assert lost == ("No setting has run all its epochs", "diverges at all rates, 0.1–1")


def test_the_headline_says_that_the_test_set_chose_the_best(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    assert (
        answer(sweep).headline
        == "Train with 0.2: test accuracy 0.9697 (best of 2, chosen on the test set)"
    )
    running = replace(
        sweep, trials=sweep.trials.assign(stop_reason=["completed", "running"])
    )
    assert "chosen" not in answer(running).headline, "one setting is no choice"
    open_ = replace(
        sweep,
        trials=sweep.trials.assign(
            stop_reason=["completed", "interrupted"], epochs_run=4
        ),
    )
    assert answer(open_).headline.startswith("So far ")


def test_what_was_chosen_on_images_held_out_has_its_test_accuracy_said_at_the_end(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2], seeds=2)
    trials = sweep.trials.sort_values(["learning_rate", "seed"])
    held = {
        "validation_accuracy": [0.94, 0.96, 0.93, 0.93],
        "test_accuracy": [0.9, 0.94, 0.97, 0.98],
    }
    trials = trials.assign(**held, holdout=1000)

    def said(**changed):
        return answer(replace(sweep, trials=trials.assign(**changed))).headline

    best = "0.1: held-out accuracy 0.9500 (best of 2, mean of 2 seeds)"
    assert said() == f"Train with {best}; test accuracy 0.9200"
    assert said(stop_reason=["completed"] * 3 + ["interrupted"]) == f"So far {best}"
    failed = said(stop_reason=["completed", "diverged", "diverged", "diverged"])
    assert (
        failed
        == "Train with 0.1: held-out accuracy 0.9400 (best of 2); test accuracy 0.9000"
    )


def test_a_decision_says_on_how_many_images_it_and_the_sweep_trained(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    settings = [
        {"architecture": "mlp-4-tanh", "learning_rate": one, "holdout": 100}
        for one in (0.1, 0.2)
    ]

    def said(**recorded):
        found = decision(
            sweep, settings, lambda seed, one: (0.9, 0.95)[one], **recorded
        )
        return [note for note in notes(found) if "do not compare" in note]

    images = data_facts(sweep.meta).train_images
    count = f"{images - 100:,} examples and the sweep trained on {images:,}"
    assert said(swept_images=images) == [
        f"this trains on {count}, so their scores do not compare"
    ]
    assert (
        said(swept_images=images - 100)
        == said(swept_images=None)
        == said(swept_images="x")
        == said()
        == []
    )


def test_what_one_seed_tells_apart_is_said_with_how_many_were_compared_and_that_seeds_may_differ(
    made_up_sweep,
):
    """The more are compared, the larger a gap chance makes: two that were told apart
    may no longer be among four."""
    sweep = made_up_sweep([0.1, 0.2, 0.3, 0.4])
    meta = sweep.meta | {"dataset": sweep.meta["dataset"] | {"test_images": 10_000}}
    trials = sweep.trials.sort_values("learning_rate").assign(
        test_accuracy=[0.8032, 0.8143, 0.76, 0.75]
    )

    def said(compared, **own):
        rows = trials[:compared].assign(**own)
        return answer(replace(sweep, trials=rows, meta=meta)).lines[0]

    assert (
        said(2)
        == "One seed told it apart from the other one; another seed may say otherwise"
    )
    assert (
        said(4)
        == "One seed can't rank 0.1, 0.2 among the 4 compared; another seed may say otherwise"
    )
    assert said(2, test_accuracy=[0.81, 0.8143]) == "One seed can't rank 0.1, 0.2"


def test_several_seeds_say_how_many_were_compared_but_not_that_another_seed_may_differ(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2, 0.4], seeds=3)
    best = sweep.trials["learning_rate"].eq(0.4)
    apart = sweep.trials.assign(test_accuracy=0.8 + 0.1 * best)
    assert (
        answer(replace(sweep, trials=apart)).lines[0]
        == "3 seeds told it apart from all 2 others"
    )


def test_the_headline_warns_of_a_best_setting_that_oscillates_or_overfits(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 1.0], seeds=3)
    trials = sweep.trials.sort_values(["learning_rate", "seed"])

    def said(*regimes):
        found = replace(
            sweep, trials=trials.assign(regime=["oscillating"] * 3 + [*regimes])
        )
        return answer(found).headline.partition(
            "(best of 2, mean of 3 seeds, chosen on the test set"
        )[2]

    calm, restless, memorised = "converged", "oscillating", "overfit"
    assert said(restless, restless, restless) == ", but it oscillates)"
    assert said(restless, calm, restless) == ", but it oscillates with 2 of 3 seeds)"
    assert said(memorised, memorised, memorised) == ", but it overfits)"
    assert said(calm, restless, calm) == said(calm, calm, "undecided") == ")"
    settings = [
        {"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2)
    ]
    decided = decision(sweep, settings, lambda seed, one: (0.9, 0.95)[one])
    decided = replace(decided, trials=decided.trials.assign(regime=restless))
    assert answer(decided).headline.endswith(
        "none of the others is better, but it oscillates"
    )


def test_of_crossed_settings_the_best_is_named_in_full_and_the_best_of_each(
    made_up_sweep,
):
    found = answer(
        made_up_sweep([0.01, 0.2], seeds=2, architectures=("mlp-4-tanh", "mlp-8-tanh"))
    )
    assert found.headline.startswith(
        "Train with mlp-4-tanh, learning rate 0.2: test accuracy 0.9"
    )
    assert found.headline.endswith(
        "(best of 4, mean of 2 seeds, chosen on the test set; least loss of 2 that tie)"
    )


def test_seeds_that_a_scheduler_stopped_are_not_said_to_have_failed(made_up_sweep):
    sweep = made_up_sweep([0.1], seeds=3)
    for reason, how in (
        ("asynchyperband", "failed or stopped early"),
        ("diverged", "failed"),
    ):
        found = answer(
            replace(
                sweep,
                trials=sweep.trials.assign(
                    stop_reason=["completed", "completed", reason]
                ),
            )
        )
        assert found.lines[0].startswith(
            f"1 of its 3 seeds {how} (up to 86% of all may)"
        )


def test_settings_with_too_long_names_are_said_to_be_so_many_of_the_best(made_up_sweep):
    sweep = made_up_sweep(
        [0.01, 0.2], architectures=[f"mlp-1024-{n}-tanh" for n in range(1, 9)]
    )
    jumps = sweep.trials["architecture"].ne("mlp-1024-1-tanh") * 0.01
    [said, *_] = answer(
        replace(sweep, trials=sweep.trials.assign(late_fall=jumps))
    ).lines
    close, jumping, seeds = said.split("; ")
    assert (
        close
        == "One seed can't rank the best 8 (the last has 0.9697) among the 16 compared"
    )
    assert jumping == "accuracy jumps at 7 of the best 8 (the last has 0.9697)"
    assert seeds == "another seed may say otherwise"


def test_a_running_sweep_answers_so_far_and_one_without_epochs_that_there_is_none(
    made_up_sweep, new_writer, tmp_path
):
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    running = replace(
        sweep,
        trials=sweep.trials.assign(stop_reason=["completed", "completed", "running"]),
    )
    assert answer(running).headline.startswith("So far ")
    assert answer(running).lines[0] == "2 of 3 trials ended, 1 running, 0 waiting"
    assert (
        answer(new_writer(tmp_path / "none").finish(ended="now")).headline
        == "No trial has finished an epoch"
    )


def test_settings_that_run_all_their_epochs_at_chance_are_not_said_to_diverge(
    made_up_sweep,
):
    sweep = made_up_sweep([1e-7, 1e-6, 1e-5])
    found = answer(
        replace(sweep, trials=sweep.trials.assign(test_accuracy=0.1, regime="slow"))
    )
    assert (found.headline[:85], found.lines) == (
        GUESSING,
        ("slow at all rates, 1e-07–1e-05",),
    )


def test_the_best_is_one_of_the_settings_that_have_ended(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2, 0.4, 4.0])
    for reason, head in (
        ("running", "So far"),
        ("error", "Train with"),
        ("interrupted", "So far"),
    ):
        reasons = ["completed", reason, "completed", "diverged"]
        found = replace(
            sweep,
            trials=sweep.trials.assign(stop_reason=reasons, epochs_run=[4, 0, 4, 4]),
        )
        assert (
            answer(found).headline
            == f"{head} 0.4: test accuracy 0.9700 (best of 3, chosen on the test set)"
        )
        assert (
            repr(found).splitlines()[2]
            == "4 trials: 2 converged, 1 diverged, 1 without an epoch"
        )


def test_a_line_on_what_is_told_apart_does_not_contradict_the_question(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    own = {"test_accuracy": [0.8, 0.95, 0.9], "late_fall": [0.0, 0.0, 0.04]}
    trials = sweep.trials.sort_values("learning_rate").assign(**own)
    found, slow = (
        answer(replace(sweep, trials=one))
        for one in (trials, trials.assign(regime="slow"))
    )
    told = "One seed told it apart from all 2 others but 1 whose accuracy jumps; another seed may say otherwise"
    assert found.lines[0] == told
    assert found.questions[0].text == "Is it 0.2 or 0.4?"
    assert [one.text[:8] for one in slow.questions] == ["No edge ", "The best"], (
        "better ones are to be found"
    )


def test_while_the_best_setting_still_learns_more_epochs_are_asked_for(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])

    def asked(**own):
        trials = sweep.trials.assign(
            **{"regime": "undecided", "reason": "on_its_way"} | own
        )
        return [
            one.command
            for one in answer(replace(sweep, trials=trials)).questions
            if "train longer" in one.text
        ]

    assert (
        asked()
        == asked(test_accuracy=0.1)
        == [f"mnist-tune resume {sweep.path} --epochs 8"]
    )
    assert (
        asked(schedule="cosine") == asked(regime="converged", reason="at_target") == []
    )
    assert asked(reason="too_few_epochs"), "it may not have settled"


def test_a_fall_of_accuracy_is_no_gap_of_another_score(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2], epochs=8)
    data = TASK | {"name": "task", "chance": 0.1, "scores": ["kl"]}
    meta = sweep.meta | {"options": {"rank_by": "score_kl:min"}, "dataset": data}
    # which shows how much is noise
    kl = {"score_kl": 1.0 + 1e-4 * (sweep.epochs["epoch"] % 2)}
    trials = sweep.trials.sort_values("learning_rate").assign(
        score_kl=[1.0, 1.05], late_fall=[0.0, 0.09]
    )
    found = replace(sweep, trials=trials, epochs=sweep.epochs.assign(**kl), meta=meta)
    assert [one for one in answer(found).questions if "Is it" in one.text] == []
    assert found.best()["jumps"].tolist() == [0, 0]


TASK = {"note": "", "checksums": {}, "train_images": 300, "test_images": 100}


def of_tasks(sweep, **columns):
    """A sweep over tasks without an accuracy, whose losses have no known noise."""
    trials = sweep.trials.sort_values(["architecture", "learning_rate"]).assign(
        test_accuracy=float("nan"), **columns
    )
    epochs = sweep.epochs.assign(
        test_accuracy=float("nan"), train_accuracy=float("nan")
    )
    return replace(
        sweep,
        trials=trials,
        epochs=epochs,
        meta=sweep.meta | {"dataset": TASK | {"name": "task"}},
    )


def test_no_loss_of_unknown_noise_is_said_to_be_told_apart(made_up_sweep):
    found = of_tasks(
        made_up_sweep([0.1, 0.2, 0.4]),
        test_loss=[1.0, 0.9, 0.95],
        loss_noise=float("nan"),
    )
    said = answer(found)
    assert (
        said.headline
        == "Train with 0.2: test loss 0.9 (best of 3, chosen on the test set)"
    )
    assert (
        said.lines[0] == "One seed can't tell a gap from chance: its noise is not known"
    )
    assert len(said.rivals) == 2, "all may be the best"
    assert (said.questions[0].text, len(found.contenders())) == (
        "Is it 0.1, 0.2 or 0.4?",
        3,
    )
    told = "One seed told it apart from all 2 others; another seed may say otherwise"
    assert answer(of_tasks(found, loss_noise=0.001)).lines[0] == told
    assert _hint(View([found])) == HINT  # losses have no bars


def test_losses_tie_where_they_are_equal_however_small_they_are(made_up_sweep):
    sweep, losses = made_up_sweep([0.1, 0.2, 0.4, 0.8]), [3.7e-14, 1.2e-14, 0.0, 0.0]
    found = answer(of_tasks(sweep, test_loss=losses, loss_noise=1e-15))
    assert (
        found.headline
        == "Train with 0.4: test loss 0 (best of 4, chosen on the test set; 2 tie)"
    )
    assert (
        found.lines[0]
        == "One seed can't rank 0.4, 0.8 among the 4 compared; another seed may say otherwise"
    )
    tiny = of_tasks(
        sweep, test_loss=[4.0, 3.0, 1.0, 2.0], score_kl=[1e-14, 2e-14, 3e-14, 2.5e-14]
    )
    meta = tiny.meta | {"options": {"rank_by": "score_kl:min"}}
    kl = answer(replace(tiny, epochs=tiny.epochs.assign(score_kl=1e-14), meta=meta))
    assert (
        kl.headline
        == "Train with 0.1: test kl 1e-14 (best of 4, chosen on the test set)"
    )


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_where_no_score_is_finite_that_is_said_and_not_that_nothing_was_learned(
    made_up_sweep, score
):
    sweep = of_tasks(
        made_up_sweep([0.1, 0.2, 4.0]), test_loss=[4.6e-7, 5e-7, 9.0], score_kl=score
    )
    meta = sweep.meta | {"options": {"rank_by": "score_kl:min"}}
    found = answer(
        replace(sweep, epochs=sweep.epochs.assign(score_kl=score), meta=meta)
    )
    assert (
        found.headline
        == "No setting can be ranked: test kl is not finite in any trial that ended without diverging"
    )
    settings = [{"learning_rate": one} for one in (0.1, 0.2)]
    decided = decision(sweep, settings, lambda seed, one: 0.9)
    meta = decided.meta | {
        "options": decided.meta["options"] | meta["options"],
        "dataset": sweep.meta["dataset"],
    }
    open_ = replace(decided, trials=decided.trials.assign(score_kl=score), meta=meta)
    assert answer(open_).headline == found.headline.replace("test", "held-out")


def test_losses_that_are_told_apart_are_written_so_that_they_differ(made_up_sweep):
    sweep = of_tasks(
        made_up_sweep([0.1, 0.2, 0.4]),
        test_loss=[100.0034, 100.0012, 100.00122],
        loss_noise=1e-5,
    )
    found, view = answer(sweep), View([sweep])
    assert (
        found.headline
        == "Train with 0.2: test loss 100.001 (best of 3, chosen on the test set)"
    )
    assert (
        found.lines[0]
        == "One seed can't rank 0.2, 0.4 among the 3 compared; another seed may say otherwise"
    )
    [cells] = [one.cells for one in columns(view) if one.title == "test loss"]
    assert cells == ["100.003", "100.001", "100.001"]
    assert len({one.digits for one in view.losses}) == 1
    near = answer(of_tasks(sweep, loss_noise=1.0))
    assert near.headline.startswith("Train with 0.2: test loss 100 ("), (
        "more digits would be noise"
    )


def test_a_mean_is_written_with_the_digits_that_its_interval_has(made_up_sweep):
    losses = [100.0034, 100.0032, 100.0031, 100.0012, 100.0013, 100.0014]
    sweep = of_tasks(
        made_up_sweep([0.1, 0.2], seeds=3), test_loss=losses, loss_noise=1e-5
    )
    [cells] = [one.cells for one in columns(View([sweep])) if one.title == "test loss"]
    assert cells == ["100.0032 ± 0.0003795", "100.0013 ± 0.0002484"]
    settings = [{"learning_rate": one} for one in (0.1, 0.2)]
    decided = decision(
        sweep, settings, lambda seed, one: 0.9 + one / 10 + seed % 3 / 100
    )
    loss = (
        100
        + decided.trials["learning_rate"] / 1000
        + np.arange(len(decided.trials)) // 2 % 3 / 1e5
    )
    both = {"validation_loss": loss, "test_loss": loss}
    meta = decided.meta | {"dataset": sweep.meta["dataset"]}
    decided = replace(decided, trials=decided.trials.assign(**both), meta=meta)
    [said] = [
        one for one in answer(decided).lines if one.startswith("test loss of 0.1")
    ]
    assert "seeds: 100.00011 ± 1" in said
    [cells] = [
        one.cells for one in columns(View([decided])) if one.title == "held-out loss"
    ]
    assert len({one[:8] for one in cells}) == 2


def test_a_loss_of_minus_0_is_0(made_up_sweep):
    sweep = of_tasks(made_up_sweep([0.1, 0.2]), test_loss=[-0.0, 0.5], loss_noise=0.1)
    assert answer(sweep).headline.startswith("Train with 0.1: test loss 0 (")
    [cells] = [one.cells for one in columns(View([sweep])) if one.title == "test loss"]
    assert cells == ["0", "0.5"]
    assert Ranking("loss", less=True).difference(-0.0) == "0"


def test_examples_that_are_too_few_to_tell_learning_from_luck_are_said_to_be_so(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2])
    data = sweep.meta["dataset"] | {"test_images": 2, "label_counts": [150, 150]}
    right = sweep.trials.assign(test_accuracy=1.0, train_accuracy=0.96)

    def said(trials, **counts):
        return answer(
            replace(sweep, trials=trials, meta=sweep.meta | {"dataset": data | counts})
        ).headline

    few = "No setting can be ranked: by luck, guesses may all be right on 2 test examples; "
    assert said(right) == few + "test on more, or give --holdout"
    held = right.assign(holdout=3, validation_accuracy=1.0)
    assert said(held) == few.replace("2 test", "3 held-out") + "give a larger --holdout"
    assert said(right, test_images=20).startswith("Train with ")
    guesses = right.assign(test_accuracy=0.5, regime="slow")
    assert "did better than guessing" in said(guesses, test_images=20)
    settings = [{"learning_rate": one} for one in (0.1, 0.2)]
    decided = decision(
        replace(sweep, meta=sweep.meta | {"dataset": data}),
        settings,
        lambda seed, one: 1.0,
        trials=4,
    )
    decided = replace(decided, trials=decided.trials.assign(holdout=3))
    assert (
        answer(decided).headline
        == few.replace("2 test", "3 held-out") + "give a larger --holdout"
    )


def test_of_several_tasks_those_without_a_best_setting_are_counted_and_one_command_is_said_once(
    made_up_sweep,
):
    names = ("one", "two", "three")
    losses = {"test_loss": [1.0, 2.0, 30.0, 40.0, 1.0, 2.0], "loss_noise": 0.1}
    sweep = of_tasks(made_up_sweep([0.1, 0.2], architectures=names), **losses)
    found = answer(sweep)
    assert (
        found.headline
        == "A best setting is known for 3 of 3 tasks, chosen on the test set"
    )
    assert [one.text for one in found.questions] == ["No edge yet, try larger rates:"]
    lost = sweep.trials.assign(
        regime=sweep.trials["regime"].mask(
            sweep.trials["architecture"] != "two", "diverged"
        )
    )
    found = answer(replace(sweep, trials=lost))
    assert (
        found.headline
        == "A best setting is known for 1 of 3 tasks, chosen on the test set"
    )
    asked = ["Try smaller rates (one, three):", "No edge yet, try larger rates (two):"]
    assert [one.text for one in found.questions] == asked


def test_a_setting_that_is_better_but_fails_more_often_is_told_from_those_that_tie(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2], seeds=6)
    seed = sweep.trials["seed"]
    better = sweep.trials["learning_rate"] == 0.2
    accuracy = 0.9 + 0.001 * (seed * 7 % 3)
    lost = better & (seed == 0)

    def said(gain):
        own = {
            "regime": lost.map({True: "diverged", False: "converged"}),
            "test_accuracy": accuracy + gain * better,
        }
        return answer(replace(sweep, trials=sweep.trials.assign(**own)))

    assert said(0.05).headline.startswith("Train with 0.1: ")
    assert said(0.05).lines[0] == "Better, but failed with a seed more: 0.2"
    assert not any("smaller" in one.text for one in said(0.05).questions)
    assert (
        said(0.0).lines[0]
        == "5 to 6 seeds can't rank 0.1, 0.2; 0.2 failed with one seed more"
    )


def test_the_best_rate_of_each_of_several_settings_is_said_and_those_without_one_are_named(
    made_up_sweep,
):
    sweep = made_up_sweep(
        [0.1, 0.2], architectures=[f"mlp-1024-{n}-tanh" for n in range(1, 9)]
    )
    lost = sweep.trials["architecture"] == "mlp-1024-2-tanh"
    trials = sweep.trials.assign(regime=sweep.trials["regime"].mask(lost, "diverged"))
    [line] = [
        one
        for one in answer(replace(sweep, trials=trials)).lines
        if one.startswith("Best rate of each: ")
    ]
    assert line.endswith(" · failed, or not ended: mlp-1024-2-tanh")
    assert "mlp-1024-8-tanh: 0.2, the largest (0.9" in line
    assert line.count("mlp-") == 8
    none = answer(
        replace(
            sweep, trials=sweep.trials.assign(regime="diverged", stop_reason="diverged")
        )
    )
    assert none.details == tuple(
        f"mlp-1024-{n}-tanh: diverges at all rates, 0.1–0.2" for n in range(1, 9)
    )


def test_beside_a_best_setting_that_oscillates_the_best_that_does_not_is_named(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.5, 1.0])
    trials = sweep.trials.sort_values("learning_rate").assign(
        test_accuracy=[0.9, 0.92, 0.95]
    )

    def said(*regimes):
        return answer(
            replace(sweep, trials=trials.assign(regime=regimes))
        ).headline.partition("but it ")[2]

    calm, restless = "converged", "oscillating"
    assert (
        said(calm, calm, restless)
        == "oscillates; the best that does not: 0.5 with 0.9200)"
    )
    assert (
        said(calm, "overfit", restless)
        == "oscillates; the best that does not: 0.1 with 0.9000)"
    )
    assert (
        said("slow", restless, restless)
        == said(restless, restless, restless)
        == "oscillates)"
    )
    assert said(calm, calm, calm) == ""


def test_a_warning_counts_the_seeds_that_trained(made_up_sweep):
    sweep = made_up_sweep([1.0], seeds=4)
    trials = sweep.trials.assign(
        regime=["oscillating", "converged", "undecided", "undecided"]
    )
    waits = trials.assign(
        epochs_run=[4, 4, 0, 0], stop_reason=["completed"] * 2 + ["interrupted"] * 2
    )
    assert (
        "oscillates with 1 of 2 seeds" in answer(replace(sweep, trials=waits)).headline
    )


def test_a_running_decision_counts_the_trials_that_have_ended(made_up_sweep):
    settings = [{"learning_rate": one} for one in (0.1, 0.2)]
    many = {"trials": 12, "at_a_time": 3}
    sweep = decision(
        made_up_sweep([0.1]),
        settings,
        lambda seed, one: 0.9 + (seed + one) % 2 / 100,
        **many,
    )
    reasons = ["completed"] * 6 + ["running"] * 2 + ["waiting"] * 4
    found = answer(
        replace(
            sweep,
            trials=sweep.trials.assign(stop_reason=reasons),
            meta=sweep.meta | {"ended": None},
        )
    )
    assert found.lines[1].startswith("not settled after 6 trials; ")
    assert found.lines[-1].endswith("; 6 trials in all")


def test_what_a_page_says_of_bars_it_draws(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    assert "Pale bars" in _hint(View([sweep]))
    assert _hint(View([replace(sweep, meta=sweep.meta | {"search": True})])) == HINT


def test_two_seeds_of_three_are_shown_as_two_values(made_up_sweep):
    sweep = made_up_sweep([0.1], seeds=3)
    found = replace(
        sweep, trials=sweep.trials.assign(regime=["converged", "diverged", "converged"])
    )
    [cells] = [one.cells for one in columns(View([found])) if one.title == "test acc"]
    assert cells == ["0.9553, 0.9553"]


def test_an_edge_says_what_was_asked_and_no_accuracy_that_nobody_measured(edge_sweep):
    edge_sweep.meta["options"]["precision"] = 0.005
    assert (
        answer(replace(edge_sweep)).lines[-1].endswith(": precision 0.5% not reached")
    )
    none = edge_sweep.epochs.assign(train_loss=2.39)

    def said(*accuracies):
        trials = edge_sweep.trials.assign(
            train_accuracy=[*accuracies, *[float("nan")] * (28 - len(accuracies))]
        )
        return answer(replace(edge_sweep, trials=trials, epochs=none)).headline

    assert said() == "No edge so far: none of 28 trials learned; try more --epochs"
    best = "the most accurate, at rate 0.6, reached 0.3000"
    assert (
        said(0.2, 0.3)
        == f"No edge so far: none of 28 trials learned; {best}; try more --epochs, or --learned"
    )


def test_what_later_trials_of_an_edge_did_is_not_known_before_its_first_one_has_ended(
    edge_sweep,
):
    trials = edge_sweep.trials.assign(
        stop_reason=["running", *edge_sweep.trials["stop_reason"][1:]]
    )
    found = answer(replace(edge_sweep, trials=trials))
    assert (
        found.headline
        == "No edge so far: fewer than the 4 trials that say what counts as learned"
    )


def test_an_edge_and_a_decision_answer_their_own_questions(edge_sweep, made_up_sweep):
    assert answer(edge_sweep).headline.startswith("Half of the seeds learn up to 1.4")
    settings = [
        {"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2)
    ]
    base = made_up_sweep([0.1])
    found = answer(
        decision(
            base, settings, lambda seed, one: (0.9, 0.95)[one] + 0.001 * (seed % 3)
        )
    )
    assert found.headline == "Train with 0.2: none of the others is better"
    assert found.lines[0].startswith(
        "0 of its 5 seeds failed (up to 45% of all may); 95% of all decisions are right"
    )
    assert (
        found.best
        == keys(base.trials.assign(learning_rate=0.2, epochs_asked=1, holdout=100))[0]
    )
    assert found.rivals == ()


def test_an_open_decision_over_arrays_says_how_these_are_given_again(made_up_sweep):
    base, settings = (
        made_up_sweep([0.1]),
        [{"learning_rate": one} for one in (0.1, 0.2)],
    )
    coded = replace(
        base,
        meta=base.meta
        | {"code": [{"flag": "task", "name": "vae.py:vae", "files": {}}]},
    )

    def asked(base, **data):
        return answer(
            decision(
                base,
                settings,
                lambda seed, one: 0.9 + (seed + one) % 2 / 100,
                trials=4,
                **data,
            )
        )

    assert asked(coded).questions[0].text == "More seeds may settle it:"
    call = f"resume_sweep({str(base.path)!r}, dataset=..., trials=8)"
    assert asked(base, dataset="arrays").questions == (
        ("More seeds may settle it:", call),
    )


def test_a_decision_says_why_no_setting_has_been_compared_while_trials_have_ended(
    made_up_sweep,
):
    base, settings = (
        made_up_sweep([0.1]),
        [{"learning_rate": one} for one in (0.1, 0.2)],
    )
    sweep = decision(
        base, settings, lambda seed, one: 0.9 + one / 100, trials=4, at_a_time=2
    )
    running = sweep.trials.assign(
        stop_reason=["completed", "running", "completed", "running"]
    )
    found = answer(replace(sweep, trials=running, meta=sweep.meta | {"ended": None}))
    assert (
        found.headline
        == "No setting has been compared yet: no seed has ended for all of them"
    )
    assert found.lines == ("2 of 4 trials ended, 2 running, 0 waiting",)


def test_an_edge_that_is_not_as_precise_as_asked_asks_for_twice_as_many_trials(
    edge_sweep, monkeypatch
):
    monkeypatch.setattr(measured_edge, "LEAST_OUTCOMES", 20)
    assert answer(edge_sweep).questions == ()
    edge_sweep.meta["options"]["precision"] = 0.001
    [asked] = answer(replace(edge_sweep)).questions
    line = f"mnist-tune resume {edge_sweep.path} --trials {2 * len(edge_sweep.trials)}"
    assert asked == ("More trials make it more precise:", line)


def test_what_was_interrupted_asks_for_no_more_trials_and_others_for_twice_as_many(
    edge_sweep, made_up_sweep
):
    settings = [{"learning_rate": one} for one in (0.1, 0.2)]
    base = made_up_sweep([0.1, 0.2, 0.4])
    spent = decision(
        base, settings, lambda seed, one: 0.9 + (seed + one) % 2 / 100, trials=9
    )
    assert answer(spent).questions[0].command.endswith(" --trials 18")
    edge_sweep.meta["options"] |= {"precision": 0.001, "trials": 100}
    assert answer(edge_sweep).questions[0].command.endswith(" --trials 200")
    for sweep in (spent, edge_sweep, base):  # which also asks nothing else yet
        last = sweep.trials["trial_id"] == sweep.trials["trial_id"].max()
        reasons = sweep.trials["stop_reason"].mask(last, "interrupted")
        [asked] = answer(
            replace(sweep, trials=sweep.trials.assign(stop_reason=reasons))
        ).questions
        assert asked.text == "1 trial had not ended; resume with:"


def test_the_trials_of_an_edge_count_also_those_that_are_too_slow_to_say_where_it_is(
    edge_sweep,
):
    """A rate of the pilot at which a trial has only just learned is below all that
    count."""
    slow = edge_sweep.epochs["trial_id"] == "00000"
    found = replace(
        edge_sweep,
        epochs=edge_sweep.epochs.assign(
            train_loss=edge_sweep.epochs["train_loss"].mask(slow, 1.1)
        ),
    )
    assert [len(edge.outcomes) for edge in found.edges()] == [27]
    assert (
        answer(found)
        .lines[-1]
        .startswith("28 trials (1 at rates that are too slow), half-width ")
    )
    assert answer(edge_sweep).lines[-1].startswith("28 trials, half-width ")


def test_settings_of_different_epochs_are_named_by_these_too(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    half = sweep.trials["learning_rate"] == 0.2
    trials = sweep.trials.assign(
        learning_rate=0.1, epochs_asked=sweep.trials["epochs_asked"].where(half, 2)
    )
    found = replace(sweep, trials=trials.assign(epochs_run=trials["epochs_asked"]))
    assert "epochs 4, learning rate 0.1" in answer(found).headline
    assert [title for title, _ in families(found.trials)] == [
        "mlp-4-tanh, epochs 2",
        "mlp-4-tanh, epochs 4",
    ]


def test_what_a_session_shows_of_a_sweep_an_edge_and_a_decision_is_its_answer(
    made_up_sweep, edge_sweep
):
    sweep = made_up_sweep([0.2, 0.4, 4])
    assert repr(sweep).splitlines()[1:3] == [
        answer(sweep).headline,
        "3 trials: 2 converged, 1 diverged",
    ]
    assert repr(sweep.answer()).startswith(answer(sweep).headline)
    assert answer(sweep).headline in sweep._repr_html_()
    assert "<td>diverged</td>" in sweep._repr_html_()
    assert repr(edge_sweep.edges()).startswith(
        "[<edge of mlp-1024-128-tanh: half of the seeds learn up to 1.4"
    )
    settings = [{"learning_rate": 0.1}, {"learning_rate": 0.2}]
    decided = decision(sweep, settings, lambda order, one: 0.5 + one / 10).decision
    assert (
        repr(decided)
        == f"<contest of 2 settings: learning_rate=0.2 is best, {decided.decision.seeds.max()} seeds>"
    )


def test_of_equal_accuracies_that_with_the_least_loss_is_named_and_the_tie_is_said(
    made_up_sweep,
):
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    trials = sweep.trials.sort_values("learning_rate").assign(
        test_accuracy=1.0, test_loss=[0.3, 0.1, 0.2]
    )
    found = answer(replace(sweep, trials=trials))
    said = "Train with 0.2: test accuracy 1.0000 (best of 3, chosen on the test set; least loss of 3 that tie)"
    assert found.headline == said
    settings = [
        {"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2)
    ]
    decided = answer(decision(sweep, settings, lambda seed, one: 1.0))
    assert "a tie with 0.2: 0.1 has the least held-out loss" in decided.lines[0]


def test_a_training_accuracy_far_above_the_other_one_is_said(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])

    def said(train_accuracy):
        return answer(
            replace(
                sweep,
                trials=sweep.trials.assign(
                    test_accuracy=0.65, train_accuracy=train_accuracy
                ),
            )
        )

    assert said(0.98).headline.startswith(
        "Train with 0.2: test accuracy 0.6500, training accuracy 0.9800 (best of 2"
    )
    assert "training" not in said(0.74).headline
    settings = [
        {"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2)
    ]
    decided = answer(decision(sweep, settings, lambda seed, one: (0.65, 0.6)[one]))
    assert ", training accuracy 0.9" in decided.lines[-1]


def test_a_search_says_what_its_decision_found_and_asks_for_no_other_one(
    made_up_sweep, monkeypatch
):
    base = made_up_sweep([0.1, 0.2, 0.4])
    meta = base.meta | {"name": "search", "search": True}
    sweep = replace(
        base,
        trials=base.trials.assign(validation_accuracy=[0.9, 0.91, 0.92], holdout=100),
        meta=meta,
    )
    assert answer(sweep).questions[0].text == "Is it 0.1, 0.2 or 0.4?"
    settings = [
        {"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.4, 0.2, 0.1)
    ]
    final = decision(
        base, settings, lambda seed, one: 0.9 + 0.001 * (seed + one), trials=6
    )
    monkeypatch.setattr(Judged, "final", final)
    found = answer(replace(sweep))
    assert found.headline.startswith("So far 0.1: ")
    asked = (
        "More seeds may settle it:",
        f"mnist-tune resume {base.path / final.path.name} --trials 12",
    )
    assert found.questions == (asked,)
    final = decision(
        base, settings, lambda seed, one: (0.9, 0.95, 0.8)[one] + 0.001 * (seed % 3)
    )
    monkeypatch.setattr(Judged, "final", final)
    found = answer(replace(sweep))
    assert (
        found.headline
        == "Train with 0.2: held-out accuracy 0.9508 (of 3, the best 3 compared on fresh seeds)"
    )
    assert found.lines[: len(answer(final).lines) + 1] == (
        "0.2: none of the others is better",
        *answer(final).lines,
    )
    assert (found.rivals, found.questions) == ((), ())
