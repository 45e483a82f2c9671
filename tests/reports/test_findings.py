"""What is true of a sweep: each finding, by its kind."""

import math
from dataclasses import replace

import pytest
from recorded_data import recorded_data

from mnist_tune.reports.findings import Kind, findings, measured, nodes, of, spoken, title

META = {
    "command": ["sweeps/lr_regimes.py", "--seeds", "0", "1"],
    "started": "2026-01-02T03:04:05+00:00",
    "ended": "2026-01-02T05:05:00+00:00",
    "environment": {
        "processor": "Some CPU", "cpus": 4, "versions": {"jax": "1.0", "ray": "", "python": "3.11"},
        "git_revision": "abc",
    },
    "dataset": recorded_data("mnist-5k", note="fewer images", label_counts=[600, 400], test_images=1234),
}  # fmt: skip


AS_RECORDED = "to repeat this sweep, as its folder records it:"


def said(sweep, kind, where=""):
    """The findings of a kind: what each is about, and what it says."""
    return {one.about: one.text for one in of(findings(sweep, where), kind)}


def commands(sweep, where=""):
    """The commands that go on with a sweep or repeat it, each with what it does."""
    return [(one.text, one.command) for one in of(findings(sweep, where), Kind.LEFT, Kind.REPEAT)]


def test_the_facts_of_a_sweep(made_up_sweep):
    sweep = made_up_sweep([0.1, 1, 3], seeds=2, weight_decay=0.001)
    trials = sweep.trials.assign(momentum=[0.5] * 3 + [0.9] * 3, device=["gpu"] * 4 + ["cpu", None])
    sweep = replace(sweep, trials=trials, meta=sweep.meta | META)
    assert said(sweep, Kind.NOTE) == {"": "fewer images"}
    assert said(sweep, Kind.FACT) == {
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
    assert commands(sweep) == [(AS_RECORDED, "python sweeps/lr_regimes.py --seeds 0 1")]
    assert of(findings(sweep), Kind.FIGURE, Kind.STATE, Kind.WINNER) == [], "there are two families"
    assert len(said(sweep, Kind.FAMILY)) == 2


def test_a_small_last_batch_is_a_fact(made_up_sweep):
    sweep = made_up_sweep([0.1, 1], batch_size=333)
    sweep = replace(sweep, meta=sweep.meta | META)
    batch = "the last batch of an epoch has 1 of 333 images; its step is as large as the others', but "
    assert said(sweep, Kind.FACT)["last batch"].startswith(batch)
    facts = said(replace(sweep, trials=sweep.trials.assign(drop_last=True)), Kind.FACT)
    assert "last batch" not in facts
    assert "drop last True" in facts["all with"]


def test_what_is_not_known_of_a_sweep_is_left_out(made_up_sweep):
    sweep = made_up_sweep([0.1])
    on_cpu = sweep.meta | {"environment": {"processor": "cpu", "cpus": 4}, "command": ""}
    facts = said(replace(sweep, meta=on_cpu), Kind.FACT)
    assert facts.keys() == {"networks", "all with", "data", "trials", "trained on", "results"}
    assert (facts["trained on"], facts["trials"]) == ("cpu", "1, of 4 epochs")
    assert of(findings(replace(sweep, meta=on_cpu)), Kind.NOTE, Kind.REPEAT) == []
    installed = replace(sweep, meta=on_cpu | {"command": ["mnist-tune", "seeds"]})
    assert commands(installed) == [(AS_RECORDED, "mnist-tune seeds")]


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["sweeps/lr_regimes.py", "--smoke;", "curl x | sh"], "python sweeps/lr_regimes.py '--smoke;' 'curl x | sh'"),
        (["it's", "$(x)", "`x`", "a\\nb"], """'it'"'"'s' '$(x)' '`x`' 'a\\nb'"""),
        ("sweeps/lr_regimes.py --smoke; curl x | sh", None),
        ("it's", None),
        ([], None),
    ],
)
def test_a_recorded_command_is_words_for_the_shell_and_no_more(made_up_sweep, argv, shown):
    """The folder may come from anybody. Older versions recorded a text, which is not shown."""
    sweep = made_up_sweep([0.1])
    found = commands(replace(sweep, meta=sweep.meta | {"command": argv}))
    assert found == [(AS_RECORDED, shown)] * bool(shown)


def test_what_is_left_has_the_command_that_goes_on(made_up_sweep):
    sweep = made_up_sweep([0.1, 1, 3])
    trials = sweep.trials.assign(stop_reason=["time_budget", "error", "interrupted"], error=["", "full", ""])
    cut = replace(sweep, trials=trials, meta=sweep.meta | META | {"ended": None})
    resume = f"python sweeps/lr_regimes.py --resume {sweep.path}"
    assert commands(cut)[:2] == [
        ("2 trials had not ended; resume with:", resume),
        ("1 trial failed; train it again with:", f"{resume} --retry-errored"),
    ]
    assert commands(cut, "here")[0][1] == "python sweeps/lr_regimes.py --resume here"
    assert said(cut, Kind.FAILURE) == {"trial 00001 (learning rate 1)": "full"}
    assert said(cut, Kind.FACT)["time"] == "started 2026-01-02 03:04 UTC"
    running = replace(cut, trials=trials.assign(stop_reason=["running", "error", "waiting"]))
    assert said(running, Kind.STATE) == {"": "1 of 3 trials ended, 1 running, 1 waiting: this sweep is still running"}
    assert of(findings(running), Kind.LEFT) == []


def test_where_nothing_finished(new_writer, tmp_path):
    sweep = new_writer(tmp_path / "empty").finish(ended="now")
    assert said(sweep, Kind.FAMILY) == {"mlp-1024-128-tanh": "no learning rate finished an epoch"}


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
    found = said(replace(sweep, trials=sweep.trials.assign(regime=regimes, test_accuracy=accuracies)), Kind.FIGURE)
    best = {"best learning rate": "0.1", "its test accuracy": "0.9000", "not told apart from it": "0 rates"}
    assert found == best | figures


def test_a_measured_edge_stands_in_place_of_what_the_regimes_say(edge_sweep):
    sweep = replace(
        edge_sweep, trials=edge_sweep.trials.assign(regime="converged")
    )  # so that larger rates are asked for
    [edge] = sweep.edges()
    assert said(sweep, Kind.FIGURE) == {
        f"{share:.0%} of seeds learn up to": str(edge.rate(share)) for share in (0.9, 0.5, 0.1)
    }
    [found] = of(findings(sweep), Kind.FAMILY, Kind.EDGE)
    assert found == measured(edge)
    assert (found.kind, found.question, found.command) == (Kind.EDGE, "", "")


def test_a_sweep_on_data_without_a_target_says_what_its_measure_is(made_up_sweep, new_writer, tmp_path):
    own = {"dataset": recorded_data("mnist", target=None, note="a note")}
    note = "no target is known for this data; each network's is the accuracy of its best trial (median of three "
    note += "epochs), less 0.03, or less three times its noise if that is more; see --target"

    def notes(sweep, **options):
        return [one.text for one in of(findings(replace(sweep, meta=sweep.meta | own | options)), Kind.NOTE)]

    sweep = made_up_sweep([0.1])
    assert notes(sweep) == [note, "a note"]
    [unlearned, _] = notes(replace(sweep, trials=sweep.trials.assign(target=math.nan)))
    assert unlearned.endswith("this data, and no trial has learned enough to set one; see --target")
    assert notes(sweep, options={"target": 0.9}) == ["a note"]
    assert notes(new_writer(tmp_path / "empty").finish()) == ["a note"], "nothing was measured by it"


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


def test_times_fill_and_nodes(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    for trial_id, node in (("00000", "one"), ("00001", "two")):
        for epoch in (1, 2, 3):
            values = {"node": node, "lanes": 2 * epoch, "fill": 0.25 * epoch, "ended_at": 1e9 + 6 * epoch}
            writer.epoch(
                trial_id, epoch_row(epoch, train_s=50.0, eval_s=30.0, compile_s=15.0, wait_s=5.0, **values), False
            )
        writer.end(trial_id, "completed")
    sweep = writer.finish(ended="now")
    lines = said(sweep, Kind.RAN)
    assert lines["time of all trials"] == (
        "training 5 min 0 s (50%), evaluating 3 min 0 s (30%), compiling 1 min 30 s (15%), waiting 30 s (5%)"
    )
    assert lines["lanes that trained together"] == "4.0 on average, at most 6"
    assert lines["fill"] == "50% of a device's lanes asked for an epoch"
    assert lines["resumed"] == "never"
    assert nodes(sweep.epochs) == [
        {"node": node, "device": "cpu", "trials": "1", "epochs": "3", "epochs a minute": "10.0", "waited": "5%"}
        for node in ("one", "two")
    ]
    assert {row["device"] for row in nodes(sweep.epochs.assign(device=None))} == {"–"}


def test_what_was_not_measured_has_no_line_and_no_number(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    writer.epoch("00000", epoch_row(1, train_s=3.0, eval_s=0, compile_s=0, wait_s=1.0, device=None), False)
    writer.epoch("00001", epoch_row(1, train_s=None, eval_s=None, compile_s=None, wait_s=None), False)
    sweep = writer.finish()
    assert list(said(sweep, Kind.RAN)) == ["trials ended", "time of all trials", "resumed"]
    rows = sorted((row["epochs"], row["epochs a minute"], row["waited"]) for row in nodes(sweep.epochs))
    assert rows == [("1", "–", "25%"), ("1", "–", "–")], "on a device, and on one that is not known"
    nothing = new_writer(tmp_path / "empty").finish()
    assert list(said(nothing, Kind.RAN)) == ["trials ended", "resumed"]
    assert nodes(nothing.epochs) == []


def test_resumes_and_what_the_driver_took(sweep):
    found = sweep(("completed",), ("diverged",), ("diverged",), ("interrupted",))
    driver = {"results": 200, "cpu_s": 0.5, "pages": 3, "pages_cpu_s": 4.25}
    times = ["2026-01-02T03:04:05+00:00", "2026-01-03T04:05:06+00:00"]
    lines = said(replace(found, meta=found.meta | {"driver": driver, "resumed": times}), Kind.RAN)
    assert lines["resumed"] == "2 times, last 2026-01-03T04:05"
    assert lines["driver"] == "2.5 ms of CPU per result"
    assert lines["this page"] == "written 3 times meanwhile, 4.2 s of CPU"
    lanes = found.epochs.assign(lanes=[1] * 5 + [4], fill=math.nan)
    lines = said(replace(found, epochs=lanes), Kind.RAN)
    assert lines["lanes that trained together"] == "1.5 on average, at most 4"
    assert "fill" not in lines
