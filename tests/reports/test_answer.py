"""The answer of a sweep: which setting, how sure that is, what to ask next."""

from dataclasses import replace

from made_up_sweeps import decision

from mnist_tune.regimes import measured_edge
from mnist_tune.regimes.families import families
from mnist_tune.reports.answer import answer, keys
from mnist_tune.results.tables import Tables


def test_the_answer_names_the_best_rate_its_rivals_and_where_regimes_are(made_up_sweep):
    sweep = made_up_sweep([0.001, 0.2, 0.4, 4])
    found, best = answer(sweep), sweep.best()
    assert found.headline == "Train with 0.4: test accuracy 0.9700 (best of 4)"
    assert found.lines[0] == "One seed can't rank 0.2, 0.4"
    assert "diverges 4" in found.lines[1]
    assert found.questions[0].text == "Is it 0.2 or 0.4?"
    assert "decide --sweep" in found.questions[0].command
    assert (found.best, *found.rivals) == tuple(keys(best[best["close"]]))
    assert {found.best, *found.rivals} < set(keys(sweep.trials))


def test_the_answer_says_what_it_rests_on_and_where_accuracy_jumps(made_up_sweep):
    sweep = made_up_sweep([0.1, 1.0])
    trials = sweep.trials.sort_values("learning_rate").assign(regime=["converged", "oscillating"])

    def said(**columns):
        found = answer(replace(sweep, trials=trials.assign(**columns)))
        return found.headline, found.lines[0]

    far = said(test_accuracy=[0.9, 0.95])
    warned = "Train with 1: test accuracy 0.9500 (best of 2, but it oscillates: try half the rate)"
    assert far == (warned, "One seed told it apart from all others")
    near = {"test_accuracy": [0.949, 0.95]}
    assert said(**near)[1] == "One seed can't rank 0.1, 1"
    jumping = answer(replace(sweep, trials=trials.assign(late_fall=[0.01, 0.013], **near)))
    assert jumping.lines == ("One seed can't rank 0.1, 1", "converges 0.1 (at 0.1 accuracy jumps) · oscillates 1")
    assert len(jumping.jumping) == 2
    held = said(**near, validation_accuracy=[0.94, 0.93], holdout=1000)
    assert held[0] == "Train with 0.1: held-out accuracy 0.9400 (best of 2)"
    alike = said(test_accuracy=[0.9, 0.95], learning_rate=[1.0, 1.0001])
    assert alike[0].startswith("Train with 1.0001: ")
    lost = said(regime="diverged", stop_reason="diverged")
    assert lost == ("No setting has run all its epochs without diverging", "diverges at all rates, 0.1–1")


def test_the_headline_warns_of_a_best_setting_that_oscillates_or_overfits(made_up_sweep):
    sweep = made_up_sweep([0.1, 1.0], seeds=3)
    trials = sweep.trials.sort_values(["learning_rate", "seed"])

    def said(*regimes):
        found = replace(sweep, trials=trials.assign(regime=["oscillating"] * 3 + [*regimes]))
        return answer(found).headline.partition("(best of 2, mean of 3 seeds")[2]

    calm, restless, memorised = "converged", "oscillating", "overfit"
    assert said(restless, restless, restless) == ", but it oscillates: try half the rate)"
    assert said(restless, calm, restless) == ", but it oscillates with 2 of 3 seeds: try half the rate)"
    assert said(memorised, memorised, memorised) == ", but it overfits: stop earlier)"
    assert said(calm, restless, calm) == said(calm, calm, "undecided") == ")"
    settings = [{"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2)]
    decided = decision(sweep, settings, lambda seed, one: (0.9, 0.95)[one])
    decided = replace(decided, trials=decided.trials.assign(regime=restless))
    assert answer(decided).headline.endswith("none of the others is better, but it oscillates: try half the rate")


def test_of_crossed_settings_the_best_is_named_in_full_and_the_best_of_each(made_up_sweep):
    found = answer(made_up_sweep([0.01, 0.2], seeds=2, architectures=("mlp-4-tanh", "mlp-8-tanh")))
    assert found.headline.startswith("Train with mlp-4-tanh, learning rate 0.2: test accuracy 0.9")
    assert found.headline.endswith("(best of 4, mean of 2 seeds; least loss of 2 that tie)")
    assert any("mlp-8-tanh: 0.2 (0.9" in line for line in found.lines)


def test_the_best_rate_of_each_of_several_crossed_settings_is_said(made_up_sweep):
    sweep = made_up_sweep([0.01, 0.2], architectures=[f"mlp-1024-{n}-tanh" for n in range(1, 9)])
    [line] = [one for one in answer(sweep).lines if one.startswith("Best rate of each: ")]
    assert line.count(" · ") == 7
    assert "mlp-1024-8-tanh: 0.2 (0.9" in line


def test_a_running_sweep_answers_so_far_and_one_without_epochs_that_there_is_none(made_up_sweep, new_writer, tmp_path):
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    running = replace(sweep, trials=sweep.trials.assign(stop_reason=["completed", "completed", "running"]))
    assert answer(running).headline.startswith("So far ")
    assert answer(running).lines[0] == "2 of 3 trials ended, 1 running, 0 waiting"
    assert answer(new_writer(tmp_path / "none").finish(ended="now")).headline == "No trial has finished an epoch"


def test_an_edge_and_a_decision_answer_their_own_questions(edge_sweep, made_up_sweep):
    assert answer(edge_sweep).headline.startswith("Half of the seeds learn up to 1.4")
    settings = [{"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2)]
    base = made_up_sweep([0.1])
    found = answer(decision(base, settings, lambda seed, one: (0.9, 0.95)[one] + 0.001 * (seed % 3)))
    assert found.headline == "Train with 0.2: none of the others is better"
    assert found.lines[0].startswith("0 of 5 seeds failed (at most 45% of all would); 95% of all decisions are right")
    assert found.best == keys(base.trials.assign(learning_rate=0.2, epochs_asked=1, holdout=100))[0]
    assert found.rivals == ()


def test_an_open_decision_between_ones_own_code_says_that_it_is_to_be_named_again(made_up_sweep):
    base = made_up_sweep([0.1])
    base = replace(base, meta=base.meta | {"code": [{"flag": "task", "name": "vae.py:vae", "files": {}}]})
    settings = [{"learning_rate": one} for one in (0.1, 0.2)]
    [found] = answer(decision(base, settings, lambda seed, one: 0.9 + (seed + one) % 2 / 100, trials=4)).questions
    assert found.text == "More seeds may settle it (with your own code named again):"


def test_a_decision_says_why_no_setting_has_been_compared_while_trials_have_ended(made_up_sweep):
    base, settings = made_up_sweep([0.1]), [{"learning_rate": one} for one in (0.1, 0.2)]
    sweep = decision(base, settings, lambda seed, one: 0.9 + one / 100, trials=4, at_a_time=2)
    running = sweep.trials.assign(stop_reason=["completed", "running", "completed", "running"])
    found = answer(replace(sweep, trials=running, meta=sweep.meta | {"ended": None}))
    assert found.headline == "No setting has been compared yet: no seed has ended for all of them"
    assert found.lines == ("2 of 4 trials ended, 2 running, 0 waiting",)


def test_an_open_decision_over_arrays_asks_for_more_seeds_in_python(made_up_sweep):
    base, settings = made_up_sweep([0.1]), [{"learning_rate": one} for one in (0.1, 0.2)]
    sweep = decision(base, settings, lambda seed, one: 0.9 + (seed + one) % 2 / 100, trials=4, dataset="arrays")
    call = f"resume_sweep({str(sweep.path)!r}, dataset=..., trials=8)"
    assert answer(sweep).questions == (("More seeds may settle it:", call),)


def test_an_edge_that_is_not_as_precise_as_asked_asks_for_twice_as_many_trials(edge_sweep, monkeypatch):
    monkeypatch.setattr(measured_edge, "LEAST_OUTCOMES", 20)
    assert answer(edge_sweep).questions == ()
    edge_sweep.meta["options"]["precision"] = 0.001
    [asked] = answer(replace(edge_sweep)).questions
    assert asked == (
        "More trials make it more precise:",
        f"mnist-tune resume {edge_sweep.path} --trials {2 * len(edge_sweep.trials)}",
    )


def test_the_trials_of_an_edge_count_also_those_that_are_too_slow_to_say_where_it_is(edge_sweep):
    """A rate of the pilot at which a trial has only just learned is below all that count."""
    slow = edge_sweep.epochs["trial_id"] == "00000"
    found = replace(
        edge_sweep, epochs=edge_sweep.epochs.assign(train_loss=edge_sweep.epochs["train_loss"].mask(slow, 1.1))
    )
    assert [len(edge.outcomes) for edge in found.edges()] == [27]
    assert answer(found).lines[-1].startswith("28 trials (1 at rates that are too slow), half-width ")
    assert answer(edge_sweep).lines[-1].startswith("28 trials, half-width ")


def test_settings_of_different_epochs_are_named_by_these_too(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])
    half = sweep.trials["learning_rate"] == 0.2
    trials = sweep.trials.assign(learning_rate=0.1, epochs_asked=sweep.trials["epochs_asked"].where(half, 2))
    found = replace(sweep, trials=trials.assign(epochs_run=trials["epochs_asked"]))
    assert "epochs 4, learning rate 0.1" in answer(found).headline
    assert [title for title, _ in families(found.trials)] == ["mlp-4-tanh, epochs 2", "mlp-4-tanh, epochs 4"]


def test_what_a_session_shows_of_a_sweep_an_edge_and_a_decision_is_its_answer(made_up_sweep, edge_sweep):
    sweep = made_up_sweep([0.2, 0.4, 4])
    assert repr(sweep).splitlines()[1:3] == [answer(sweep).headline, "3 trials: 2 converged, 1 diverged"]
    assert repr(sweep.answer()).startswith(answer(sweep).headline)
    assert answer(sweep).headline in sweep._repr_html_()
    assert "<td>diverged</td>" in sweep._repr_html_()
    assert repr(edge_sweep.edges()).startswith("[<edge of mlp-1024-128-tanh: half of the seeds learn up to 1.4")
    settings = [{"learning_rate": 0.1}, {"learning_rate": 0.2}]
    decided = decision(sweep, settings, lambda order, one: 0.5 + one / 10).decision
    assert repr(decided) == f"<contest of 2 settings: learning_rate=0.2 is best, {decided.decision.seeds.max()} seeds>"


def test_of_equal_accuracies_that_with_the_least_loss_is_named_and_the_tie_is_said(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2, 0.4])
    trials = sweep.trials.sort_values("learning_rate").assign(test_accuracy=1.0, test_loss=[0.3, 0.1, 0.2])
    found = answer(replace(sweep, trials=trials))
    said = "Train with 0.2: test accuracy 1.0000 (best of 3; least loss of 3 that tie)"
    assert found.headline == said
    settings = [{"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2)]
    decided = answer(decision(sweep, settings, lambda seed, one: 1.0))
    assert "a tie with 0.2: 0.1 has the least held-out loss" in decided.lines[0]


def test_a_training_accuracy_far_above_the_other_one_is_said(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.2])

    def said(train_accuracy):
        return answer(replace(sweep, trials=sweep.trials.assign(test_accuracy=0.65, train_accuracy=train_accuracy)))

    assert said(0.98).headline.startswith("Train with 0.2: test accuracy 0.6500, training accuracy 0.9800 (best of 2")
    assert "training" not in said(0.74).headline
    settings = [{"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2)]
    decided = answer(decision(sweep, settings, lambda seed, one: (0.65, 0.6)[one]))
    assert ", training accuracy 0.9" in decided.lines[-1]


def test_a_search_says_what_its_decision_found_and_asks_for_no_other_one(made_up_sweep, monkeypatch):
    base = made_up_sweep([0.1, 0.2, 0.4])
    meta = base.meta | {"name": "search", "search": True}
    sweep = replace(base, trials=base.trials.assign(validation_accuracy=[0.9, 0.91, 0.92], holdout=100), meta=meta)
    assert answer(sweep).questions[0].text == "Is it 0.1, 0.2 or 0.4?"
    settings = [{"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.4, 0.2, 0.1)]
    final = decision(base, settings, lambda seed, one: (0.9, 0.95, 0.8)[one] + 0.001 * (seed % 3))
    monkeypatch.setattr(Tables, "final", final)
    found = answer(replace(sweep))
    assert found.headline == "Train with 0.2: held-out accuracy 0.9508 (of 3, the best 3 compared on fresh seeds)"
    assert found.lines[: len(answer(final).lines) + 1] == ("0.2: none of the others is better", *answer(final).lines)
    assert (found.rivals, found.questions) == ((), ())
