"""How many trials a search for edges asks Tune for."""

from mnist_tune import EdgeOptions, TrialConfig
from mnist_tune.tuning import edge


def test_each_edge_has_trials_of_its_own(new_writer, tmp_path, monkeypatch):
    writer = new_writer(tmp_path / "sweep", count=0)
    searches = [
        TrialConfig(architecture=name, epochs=3).to_dict() | {"expected": 1.0, "predicted": {}}
        for name in ("mlp-4-tanh", "mlp-8-tanh", "mlp-16-tanh")
    ]
    asked = {"searches": searches, "workers": 2, "precision": 0.05, "trials": 7, "learned": None, "seed": 0}
    writer.meta["options"] = asked
    plans = []
    monkeypatch.setattr(edge, "run_plan", lambda writer, plan, data, options: plans.append(plan))
    edge._run(writer, [], EdgeOptions(epochs=3))
    [plan] = plans
    assert (plan.samples, plan.trials, plan.space) == (21, {}, {"epochs": 3})
    assert plan.search_alg.suggest("a")["trial"]["architecture"] == "mlp-4-tanh"
    writer.finish(ended="now")
