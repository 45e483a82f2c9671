"""The sweep over architectures: which trials it asks for, and the pictures that it draws of made-up results."""

import json
import sys
from dataclasses import replace

import pytest
from recorded_data import recorded_data

from mnist_tune import UserError, cli
from mnist_tune.commands import architectures
from mnist_tune.results.writer import SweepWriter
from mnist_tune.sweep import load_sweep


def test_one_thing_varies_at_a_time_but_for_width_and_depth():
    config = architectures.Architectures(learning_rates=("0.1:1:4",), seeds=(0, 1), holdout=100)
    trials = config.trials()
    kinds = {(t.architecture, t.batch_size, t.momentum, t.warmup_steps) for t in trials}
    assert len(trials) == 8 * len(kinds) == 8 * (3 * 3 + 2 + 2 + 2)
    base = ("mlp-128-relu-glorot", 128, 0.0, 0)
    assert base in kinds
    others = [kind for kind in kinds if kind[1:] != base[1:]]
    assert all(sum(a != b for a, b in zip(kind, base, strict=True)) == 1 for kind in others)
    assert len({kind[0] for kind in kinds}) == 9
    assert "mlp-32-32-32-32-relu-glorot" in {kind[0] for kind in kinds}
    assert {t.holdout for t in trials} == {100}
    assert {(t.seed, t.data_seed) for t in trials} == {(0, 0), (1, 1)}


@pytest.mark.parametrize(
    "name", ["widths", "depths", "batch_size", "momentum", "warmup_steps", "learning_rates", "seeds"]
)
def test_an_empty_list_is_refused(name):
    with pytest.raises(UserError, match=f"^--{name.replace('_', '-')} needs at least one value"):
        architectures.Architectures(**{name: ()}).trials()


@pytest.fixture
def trained(epoch_row, tmp_path):
    """Stands in for `run_or_resume`: trials below a rate that momentum lowers are good, all others diverge."""

    def run(name, config):
        trials = {f"{i:05d}": trial for i, trial in enumerate(config.trials())}
        meta = {"name": name, "trials": {i: trial.to_dict() for i, trial in trials.items()}, "ended": None}
        meta |= {"options": json.loads(json.dumps(vars(config), default=str))}
        meta |= {"dataset": recorded_data("mnist")}
        writer = SweepWriter(tmp_path, meta)
        for i, trial in trials.items():
            good = trial.learning_rate < 0.5 / (1 - trial.momentum)
            accuracy = 0.97 + trial.learning_rate / 1000 if good else 0.1
            for epoch in range(1, 6):
                row = epoch_row(epoch, 0.1 / epoch if good else 30.0, accuracy, diverged=not good)
                scores = {"validation_loss": row["test_loss"], "validation_accuracy": accuracy - 0.01}
                writer.epoch(i, row | scores | {"above_since": None if good else 1}, False)
            writer.end(i, "completed" if good else "diverged")
        writer.finish(ended="now")
        return load_sweep(tmp_path)

    return run


def test_a_table_and_five_pictures(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(architectures, "run_or_resume", trained)
    asked = "--learning-rates 0.1 0.3 0.9 2.7 8.1 --seeds 0 --widths 32 16 --depths 2 3"
    monkeypatch.setattr(sys, "argv", ["architectures", *asked.split()])
    assert architectures.main() == 0
    printed = capsys.readouterr().out.partition("Learning rates: ")[2].splitlines()
    found = {line.rsplit(maxsplit=5)[0].strip(): line.split()[-5:] for line in printed[2:12]}
    assert found["mlp-32-relu-glorot, batch size 128, momentum 0, warmup steps 0"] == "0.1 0.3 0.3 0.3 0.9603".split()
    assert found["mlp-32-relu-glorot, batch size 128, momentum 0.9, warmup steps 0"] == "0.1 2.7 2.7 2.7 0.9627".split()
    assert sorted(file.name for file in tmp_path.glob("*.png")) == [
        f"edge-by-{axis}.png" for axis in ("batch", "depth", "momentum", "warmup", "width")
    ]


def test_a_resumed_sweep_is_drawn_by_its_own_options_and_only_along_what_varied(trained, tmp_path, monkeypatch, capsys):
    flags = "--learning-rates 0.1 0.3 0.9 --seeds 0 --batch-size 64 --momentum 0 0.9 --warmup-steps 0"
    began = cli.parse(architectures.Architectures, [*flags.split(), "--widths", "16", "32", "--depths", "3"])
    sweep, drawn = trained("architectures", began), {}
    sweep = replace(sweep, trials=sweep.trials.assign(stop_reason=["error", *sweep.trials["stop_reason"][1:]]))

    def plot(lines, axis, path):
        drawn[path.name] = axis, {name: rows[axis].tolist() for name, rows in lines.items()}

    monkeypatch.setattr(architectures, "run_or_resume", lambda name, config: sweep)
    monkeypatch.setattr(architectures, "plot_range", plot)
    monkeypatch.setattr(sys, "argv", ["architectures", "--resume", str(tmp_path)])
    assert architectures.main() == 1
    assert drawn == {
        "edge-by-width.png": ("width", {", depth 3": [16, 32]}),
        "edge-by-momentum.png": ("momentum", {"": [0, 0.9]}),
    }
    pictures = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Picture: ")]
    assert pictures == [f"Picture: {tmp_path / name}" for name in drawn]


def test_a_sweep_from_python_is_drawn_too(trained, tmp_path, monkeypatch, capsys):
    """It records none of the command's options."""
    asked = architectures.Architectures(
        learning_rates=(0.1, 0.3, 0.9), seeds=(0,), widths=(32, 16), depths=(2,), momentum=(0.0,), warmup_steps=(0,)
    )
    sweep = trained("mine", asked)
    sweep = replace(sweep, meta=sweep.meta | {"options": {"dataset": "mnist"}})
    monkeypatch.setattr(architectures, "run_or_resume", lambda name, config: sweep)
    monkeypatch.setattr(sys, "argv", ["architectures", "--resume", str(tmp_path)])
    assert architectures.main() == 0
    assert sorted(file.name for file in tmp_path.glob("*.png")) == ["edge-by-batch.png", "edge-by-width.png"]
