"""The head of the page: figures, facts and commands of a sweep."""

from dataclasses import replace

import pytest
from recorded_data import recorded_data

from mnist_tune.reports.edge_lines import edge_lines
from mnist_tune.reports.headline import headline, spoken, title

META = {
    "command": "sweeps/lr_regimes.py --seeds 0 1",
    "started": "2026-01-02T03:04:05+00:00",
    "ended": "2026-01-02T05:05:00+00:00",
    "environment": {
        "processor": "Some CPU", "cpus": 4, "versions": {"jax": "1.0", "ray": "", "python": "3.11"},
        "git_revision": "abc",
    },
    "dataset": recorded_data("mnist-5k", note="fewer images", label_counts=[600, 400], test_images=1234),
}  # fmt: skip


def test_the_facts_of_a_sweep(made_up_sweep):
    sweep = made_up_sweep([0.1, 1, 3], seeds=2, weight_decay=0.001)
    trials = sweep.trials.assign(momentum=[0.5] * 3 + [0.9] * 3, device=["gpu"] * 4 + ["cpu", None])
    found = headline(replace(sweep, trials=trials, meta=sweep.meta | META), "it")
    assert (found.title, found.state, found.notes) == ("it", "", ["fewer images"])
    assert dict(found.facts) == {
        "networks": "mlp-4-tanh",
        "all with": "optimizer sgd, batch size 128, weight decay 0.001, loss cross-entropy",
        "data": "mnist-5k (1,000 training and 1,234 test images)",
        "trials": "6, of 1 to 4 epochs",
        "trained on": "cpu, gpu (Some CPU, 4 cores)",
        "time": "2 h 0 min, started 2026-01-02 03:04 UTC",
        "versions": "jax 1.0, python 3.11",
        "revision": "abc",
        "results": str(sweep.path),
    }
    assert found.commands == [("repeats this sweep", "python sweeps/lr_regimes.py --seeds 0 1")]
    assert found.figures == [], "there are two families"
    assert len(found.conclusions) == 2


def test_a_small_last_batch_is_a_fact(made_up_sweep):
    sweep = made_up_sweep([0.1, 1], batch_size=333)
    sweep = replace(sweep, meta=sweep.meta | META)
    said = "the last batch of an epoch has 1 of 333 images; its step is as large as the others', but "
    assert dict(headline(sweep, "it").facts)["last batch"].startswith(said)
    dropped = replace(sweep, trials=sweep.trials.assign(drop_last=True))
    facts = dict(headline(dropped, "it").facts)
    assert "last batch" not in facts
    assert "drop last True" in facts["all with"]


def test_what_is_not_known_of_a_sweep_is_left_out(made_up_sweep):
    sweep = made_up_sweep([0.1])
    on_cpu = sweep.meta | {"environment": {"processor": "cpu", "cpus": 4}, "command": ""}
    found = headline(replace(sweep, meta=on_cpu), "it")
    facts = dict(found.facts)
    assert facts.keys() == {"networks", "all with", "data", "trials", "trained on", "results"}
    assert (facts["trained on"], facts["trials"]) == ("cpu", "1, of 4 epochs")
    assert (found.notes, found.commands) == ([], [])
    installed = headline(replace(sweep, meta=on_cpu | {"command": "mnist-tune seeds"}), "it")
    assert installed.commands == [("repeats this sweep", "mnist-tune seeds")]


def test_an_interrupted_sweep_says_first_how_to_go_on(made_up_sweep):
    sweep = made_up_sweep([0.1, 1, 3])
    trials = sweep.trials.assign(stop_reason=["time_budget", "error", "interrupted"])
    meta = sweep.meta | META | {"ended": None}
    found = headline(replace(sweep, trials=trials, meta=meta), "it")
    resume = f"python sweeps/lr_regimes.py --resume {sweep.path}"
    assert found.commands[0] == ("goes on with the 2 trials that had not ended", resume)
    assert [about for about, _ in found.commands[1:]] == ["repeats this sweep"]
    assert dict(found.facts)["time"] == "started 2026-01-02 03:04 UTC"
    one = sweep.trials.assign(stop_reason=["completed", "interrupted", "completed"])
    assert headline(replace(sweep, trials=one), "it").commands == [
        ("goes on with the 1 trial that had not ended", resume)
    ]


@pytest.mark.parametrize(
    ("regimes", "figures"),
    [
        (["converged"] * 4 + ["diverged"] * 2, {"largest rate that converges": "1", "none converges from": "3 on"}),
        (["converged"] * 6, {"largest rate that converges": "3", "none converges from": "– (no edge yet)"}),
        (
            ["converged"] * 3 + ["slow"] + ["diverged"] * 2,
            {"largest rate at which every seed converges": "0.1", "none converges from": "3 on"},
        ),
        (["converged", *["slow"] * 5], {"none converges from": "1 on"}),
        (["slow"] * 6, {}),
        (
            ["converged"] * 4 + ["undecided"] * 2,
            {"largest rate that converges": "1", "none converges from": "– (no edge yet)"},
        ),
        (
            ["converged"] * 2 + ["undecided", "slow"] + ["diverged"] * 2,
            {"largest rate that converges": "0.1", "none converges from": "3 on"},
        ),
    ],
)
def test_the_figures_of_one_family(made_up_sweep, regimes, figures):
    sweep = made_up_sweep([0.1, 1, 3], seeds=2)
    accuracies = [0.9, 0.9, 0.8, 0.8, 0.7, 0.7]
    found = dict(
        headline(replace(sweep, trials=sweep.trials.assign(regime=regimes, test_accuracy=accuracies)), "it").figures
    )
    best = {"best learning rate": "0.1", "its test accuracy": "0.9000"} if "converged" in regimes else {}
    assert found == best | figures


def test_a_measured_edge_stands_in_place_of_what_the_regimes_say(edge_sweep):
    sweep = replace(
        edge_sweep, trials=edge_sweep.trials.assign(regime="converged")
    )  # so that larger rates are asked for
    [edge] = sweep.edges()
    found = headline(sweep, "it")
    assert found.figures == [(f"{share:.0%} of seeds learn up to", str(edge.rate(share))) for share in (0.9, 0.5, 0.1)]
    [said] = found.conclusions
    assert said.sentence == "; ".join(line.strip() for line in edge_lines(edge)).removeprefix(f"{edge.title}: ")
    assert (said.question, said.command) == ("", "")


def test_a_sweep_on_data_without_a_target_says_what_its_measure_is(made_up_sweep, new_writer, tmp_path):
    own = {"dataset": recorded_data("mnist", target=None, note="a note")}
    note = "No target is known for this data, so each network's best trial is its measure; see --target."
    sweep = made_up_sweep([0.1])
    assert headline(replace(sweep, meta=sweep.meta | own), "it").notes == ["a note", note]
    assert headline(replace(sweep, meta=sweep.meta | own | {"options": {"target": 0.9}}), "it").notes == ["a note"]
    nothing = new_writer(tmp_path / "empty").finish()
    assert headline(replace(nothing, meta=nothing.meta | own), "it").notes == ["a note"], "nothing was measured by it"


def test_the_title_of_a_page(made_up_sweep):
    names = [f"mlp-{width}-tanh" for width in (5, 4, 3, 2, 1)]
    sweep = made_up_sweep([0.1], architectures=names)
    assert title([sweep], ["it"]) == "mlp-1-tanh, mlp-2-tanh, mlp-3-tanh, mlp-4-tanh and 1 more on mnist-5k"
    assert title([sweep, sweep], ["one", "two"]) == "one · two"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (10.4, "10 s"),
        (59.6, "1 min 0 s"),
        (271, "4 min 31 s"),
        (3599.6, "1 h 0 min"),
        (2 * 3600 + 119, "2 h 1 min"),
        (113_097, "31 h 24 min"),
    ],
)
def test_a_time_as_people_say_it(seconds, said):
    assert spoken(seconds) == said
