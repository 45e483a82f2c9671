"""What decisions, edges, widths, replicates and the facts that they rest on come to, to the letter (`kept_texts`)."""

import math
from dataclasses import astuple, replace

import numpy as np
import pandas as pd
from families import REPLICATES, family
from kept_texts import assert_kept, rounded
from recorded_data import recorded_data

from mnist_tune.errors import UserError
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import DATA, MNIST, TARGETS, data_facts, target
from mnist_tune.regimes.decision import Decision, most_failures, radius, standing
from mnist_tune.regimes.divergence import chance_ceiling, finite_loss, guess_loss, has_diverged
from mnist_tune.regimes.edge_posterior import EdgePosterior
from mnist_tune.regimes.families import families, held_out, layers, varied
from mnist_tune.regimes.measured_edge import CALM, DIVERGED, LEARNED, Interval, measured_edges
from mnist_tune.regimes.noise import (
    accuracy_noise,
    calm_floor,
    calm_limit,
    difference_noise,
    independent_answers,
    sigmas,
    window_images,
)
from mnist_tune.regimes.replicates import clopper_pearson, half_width, regime_counts, summarise_replicates
from mnist_tune.regimes.widths import exponents
from mnist_tune.trial import MOST_TRIALS, TrialConfig


def short(value):
    """Return numbers in four digits, and of arrays each."""
    if np.ndim(value):
        return "[" + ", ".join(map(short, value)) + "]"
    number = np.asarray(value)
    return f"{float(number) + 0.0:.4g}" if number.dtype.kind == "f" else str(value)


def digits(values):
    """Return numbers that float32 rounded on the way."""
    return "[" + ", ".join(f"{round(float(one), 2) + 0.0:g}" for one in values) + "]"


def table(frame):
    return [" ".join(frame), *(" ".join(map(short, row)) for row in frame.itertuples(index=False))]


# --- decisions

VALUES = np.random.default_rng(1).normal([0.93, 0.929, 0.91, 0.9], 0.004, (9, 4)).round(4)
VALUES[[2, 5], 2] = np.nan
"""Accuracies of four settings with nine seeds. The third fails twice."""


def walk(values, **options):
    """Yield a line a seed of a decision."""
    decision = Decision(values.shape[1], **{"tolerance": 0.004} | options)
    for number, seed in enumerate(values):
        decision.add(seed)
        if number in (1, 2):
            continue
        more, than, _ = decision.worse()
        state = (decision.active.astype(int), decision.seeds, decision.failures)
        yield f"{short(seed)}: in, seeds, failed {' '.join(map(short, state))}, leader {decision.leader}"
        yield f"  may lose {short(decision.may_lose)}, over {decision.over}, worse {short(more)} than {short(than)}"


def contest(count=3, **values):
    made = [TrialConfig(learning_rate=0.1 * (1 + k), holdout=500) for k in range(count)]
    return Contest(made, **{"chance": 0.1, "at_a_time": 2, "trials": 40} | values)


def outcome(order, setting):
    """Return the last row of a trial: the first setting is best, the third fails with its second seed."""
    accuracy = 0.93 - 0.01 * setting + 0.004 * math.sin(7 * order + setting) + 0.002 * math.sin(5 * order)
    return {"stop_reason": "diverged" if (order, setting) == (1, 2) else "completed", "validation_accuracy": accuracy}


def course(one, said=outcome):
    """Yield what a contest asks for, and what it knows after each seed."""
    for number, of in enumerate(one.asked):
        one.tell(number, said(*of))
    yield f"asked {' '.join(f'{order}:{setting}' for order, setting in one.asked)}"
    for seeds, better, wide in (one.course[0], one.course[-1]):
        yield f"  seeds {short(seeds)}, first better than others by {short(better[0])} +- {short(wide[0])}"
    decision = one.decision
    yield f"  over {one.over}, settled {one.settled}, confirming {short(one.confirming)}"
    yield f"  tolerance {short(decision.tolerance)}, failures {short(decision.failures)}, leader {decision.leader}"


RATES = [TrialConfig(learning_rate=rate, holdout=500).to_dict() for rate in (0.1, 0.2)]
OPTIONS = {"contenders": RATES, "at_a_time": 2, "trials": 40, "tolerance": None, "confirm": True}
RECORDED = {
    "at_a_time": (40, 41, 0, "2", True), "trials": (2, 1, 1.5, MOST_TRIALS, MOST_TRIALS + 1),
    "tolerance": (0.01, 1, 1.01, -0.01, math.nan, "x"),
    "contenders": (RATES * 100, (RATES * 101)[:201], RATES[:1], [], 3, [[]] * 3, [{"learning_rate": -1}] * 2,
                   [TrialConfig().to_dict()] * 2, [RATES[0], RATES[1] | {"holdout": 400}]),
}  # fmt: skip
"""What a `sweep.json` may say of a contest, which anybody may have written."""


def records():
    """Yield whether a contest is made of what was recorded, and what a table of its trials says."""
    facts = recorded_data("mnist")
    for name, values in RECORDED.items():
        for value in values:
            try:
                one = Contest.of({"options": OPTIONS | {name: value}, "dataset": facts})
            except UserError as error:
                said = str(error).replace("sweep.json records a decision between settings that can't be one", "refused")
            else:
                said = f"{len(one.settings)} settings, {len(one.asked)} asked, tolerance {one.decision.tolerance}"
            yield f"  {name} {value if len(str(value)) < 40 else len(value)}: {said}"
    one = Contest.of({"options": OPTIONS, "dataset": facts})
    ends = ["completed", "completed", "error", "completed", "diverged", "running", "completed"]
    rows = [outcome(*one.asked[i % 4]) | {"trial_id": f"{i:05d}", "stop_reason": end} for i, end in enumerate(ends)]
    trials = pd.DataFrame(rows)
    one.replay(trials)
    yield f"  replayed: {one.asked}, seeds {one.decision.seeds}, over {one.over}, {one.is_of(1, trials)}"
    for number, seed in ((0, 0), (1, 0), (2, 0), (0, 1)):
        found = one.trial(number, seed)
        yield f"  trial {number} of {seed}: {found.learning_rate} {found.seed} {found.data_seed}"


def standings():
    trials = REPLICATES.assign(holdout=500, validation_accuracy=REPLICATES["test_accuracy"] - 0.01)
    close = family(
        {0.1: [("converged", 0.90)], 0.2: [("slow", 0.893)], 0.4: [("converged", 0.89)], 0.8: [("slow", 0.8)]}
    )
    pairs = {0.1: [0.90, 0.94, 0.88], 0.2: [0.895, 0.936, 0.874], 0.4: [0.86, 0.9, 0.95]}
    paired = family({rate: [("converged", one) for one in of] for rate, of in pairs.items()})
    mixed = family({0.1: [("converged", 0.9), ("slow", 0.91)], 0.2: [("slow", 0.9), ("converged", 0.9)]})
    yield "some diverged", REPLICATES, 1000
    yield "all diverged once", REPLICATES.iloc[4:], 1000
    runs = close.assign(epochs_run=[10, 10, 4, 10], stop_reason=["completed", "completed", "error", "completed"])
    two = pd.concat([close, runs.assign(seed=1)], ignore_index=True)
    yield "one seed failed", two, 1000
    yield "one seed was stopped", two.replace({"stop_reason": {"error": "slow"}}), 1000
    yield (
        "a third seed of one, which diverged",
        pd.concat([two, close.iloc[2:3].assign(seed=2, regime="diverged")], ignore_index=True),
        1000,
    )
    yield "all diverged", family({0.1: [("diverged", 0.9)]}), 1000
    yield "held out", trials, 1000
    yield "one seed", close, 1000
    yield "one seed, many images", close, 100_000
    yield "one seed, held out", close.assign(holdout=100_000, validation_accuracy=close["test_accuracy"]), 10
    yield "one seed, many answers", close.assign(answers=[100.0, math.nan, 100.0, 100.0]), 1000
    yield "one seed, falls", close.assign(late_fall=[0.0, 0.01, math.nan, 0.0]), 100_000
    yield "one did not run all its epochs", close.assign(epochs_run=[9, 10, 11, 10]), 100_000
    yield "one is unknown", close.assign(test_accuracy=[math.nan, 0.893, 0.89, 0.8]), 100_000
    yield "pairs", paired, 100_000
    yield "other pairs", paired.assign(seed=[0, 1, 2, 2, 1, 0, 0, 1, 2]), 100_000
    yield "no pairs", paired.assign(seed=range(9)), 100_000
    for gap in (0.0064, 0.0066):  # about the limit for differences that vary by 0.01
        near = {0.1: [0.9] * 3, 0.2: [0.9 - gap + vary for vary in (-0.01, 0, 0.01)]}
        yield f"{gap} below", family({rate: [("slow", one) for one in of] for rate, of in near.items()}), 10**9
    yield "pairs of data seeds", paired.assign(seed=0, data_seed=[0, 1, 2] * 3), 100_000
    yield "equal", family({rate: [("converged", 0.9)] * 2 for rate in (0.1, 0.2)}), 1000
    yield "several regimes", mixed.assign(batch_size=[1, 1, 2, 2]), 1000


def test_decisions_come_out_as_they_did():
    lines = []
    for title, trials, images in standings():
        lines += [
            f"{title}:",
            *(f"  {line}" for line in table(standing(trials, replace(MNIST, test_images=images)))[1:]),
        ]
    equal = family({rate: [("slow", (0.9, 0.8)[rate % 2])] for rate in range(1, 21)})
    lines += ["equal means stay in order: " + short(standing(equal, MNIST)["learning_rate"])]
    lines += ["radii: " + short([float(radius(n, 0.01, risk)) for n in range(1, 9) for risk in (0.05, 0.01)])]
    lines += ["most failures: " + short(most_failures([0, 1, 20], [20, 20, 20]))]
    lines += ["seed after seed:", *walk(VALUES), "at least an image:", *walk(VALUES[:6, :2].round(2), least=0.002)]
    for title, one, said in (
        ("a contest", contest(), outcome),
        ("confirmed", contest(at_a_time=1, confirm=True), outcome),
        ("with its own tolerance", contest(tolerance=0.02, trials=200), outcome),
        ("out of trials", contest(trials=7), outcome),
        ("an error", contest(2, trials=8), lambda *of: None if of == (0, 1) else outcome(*of)),
        ("at chance", contest(2, trials=6), lambda *of: {"stop_reason": "completed", "validation_accuracy": 0.145}),
        ("hardly above", contest(2, trials=6), lambda *of: {"stop_reason": "completed", "validation_accuracy": 0.146}),
        ("perfect", contest(2, trials=6), lambda *of: {"stop_reason": "completed", "validation_accuracy": 1.0}),
        ("diverged", contest(2, trials=6), lambda *of: {"stop_reason": "diverged", "validation_accuracy": 0.9}),
    ):
        lines += [f"{title}:", *course(one, said)]
    lines += ["recorded:", *records()]
    assert_kept("standing and contests", "\n".join([*lines, ""]))


# --- edges


RNG = np.random.default_rng(3)
MANY = [(x, RNG.random() < 1 / (1 + np.exp((x - 0.4) / 0.1))) for x in RNG.normal(0.4, 0.2, 60)]
OUTCOMES = {
    "one": [(0.0, True)],
    "bracket": [(0.0, True), (0.7, False), (0.3, False)],
    "a lapse": [(-0.5, False), *MANY[:20]],
    "many": MANY,
    "lapses": [*((-2.0, i % 5 > 0) for i in range(60)), *MANY[:30]],
    "luck": [*((3.0, i % 5 == 0) for i in range(60)), *MANY[:30]],
    "far": [(x, x < 3.9) for x in [*np.linspace(0, 5, 11), *np.linspace(3.7, 4.1, 30)]],
}


def test_edges_are_where_they_were():
    lines = []
    for title, outcomes in OUTCOMES.items():
        found = EdgePosterior(0.1)
        settled = []
        for number, (x, learned) in enumerate(outcomes, 1):
            found.add(x, learned)
            settled += [number] * bool(found.has_settled(0.3))
        spread = found.halves_and_widths
        lines += [
            f"{title}: {found.count} outcomes, {digits(found.interval())}, settled {settled[:1]}",
            f"  shares {' '.join(digits(found.interval_of(share)) for share in (0.95, 0.9, 0.5, 0.1, 0.05))}",
            f"  band {' '.join(digits(ends) for ends in found.band(np.array([-0.2, 0.4])).T)}",
            f"  lapse and luck {digits(found.lapse_and_luck)}, widths {digits(spread.sum(0))}",
            f"  halves {digits(found.halves[[0, -1]])}, mean {found.halves @ spread.sum(1):.3f}",
        ]
    assert_kept("edges", "\n".join([*lines, ""]))


def search(rates, losses, accuracies, **config):
    """Return the tables of a finished search, of one family, and what its `sweep.json` records."""
    template = TrialConfig(architecture="mlp-8-relu", epochs=2, **config)
    rows, ends = [], []
    for number, (rate, loss, accuracy) in enumerate(zip(rates, losses, accuracies, strict=True)):
        row = template.to_dict() | {"trial_id": f"{number:05d}", "learning_rate": rate, "epochs_asked": 2}
        label = "diverged" if not loss < 3 else "oscillating" if loss > 2 else "slow"
        ended = {"error": "error", "running": "running"}.get(accuracy, "diverged" if math.isnan(loss) else "completed")
        rows.append(row | {"stop_reason": ended, "train_accuracy": 0.5, "regime": label, "curve_regime": label})
        last = {"train_accuracy": 0.5 if ended in ("error", "running") else accuracy, "test_accuracy": 0.5}
        usual = {"trial_id": f"{number:05d}", "untrained_loss": 2.4, "diverged": math.isnan(loss), "step_loss_max": 2.0}
        ends += [usual | last | {"epoch": epoch, "train_loss": loss * (1 + 0.1 * (2 - epoch))} for epoch in (2, 1)]
    found = template.to_dict() | {"expected": 1.0, "predicted": {"2/λ0": [0.5, 0.6]}}
    options = {"searches": [found], "precision": 0.3, "learned": None}
    return pd.DataFrame(rows), pd.DataFrame(ends), {"options": options, "dataset": recorded_data("mnist")}


LADDER = [1.0, 1 / 4, 1 / 16, 1 / 64]
TRIED = list(np.exp(RNG.normal(0.1, 0.4, 40)))
FATE = [
    0.2 if rate < 1 else (2.5, 9.0, math.nan)[i % 3] if rate > 1.3 or i % 2 else 0.3 for i, rate in enumerate(TRIED)
]
SEARCHES = {
    "found": search([*LADDER, *TRIED], [0.2, 0.1, 1.0, 2.0, *FATE], [0.9] * 44),
    "an error in the pilot": search([*LADDER, *TRIED], [0.2, 0.1, 1.0, 2.0, *FATE], ["error", *[0.9] * 43]),
    "the pilot runs": search([*LADDER, 2.0], [0.2, 0.1, 1.0, 2.0, 9.0], [0.9, 0.9, "running", 0.9, 0.9]),
    "half is out of reach": search(
        [*LADDER, 0.3, 0.4, 0.5], [2.3, 1.61, 1.9, 2.2, 0.4, 1.94, 1.97], [0.1, 0.4, *[0.3] * 5]
    ),
    "none learned": search([*LADDER, *LADDER], [2.29] * 8, [0.2] * 8),
    "all learned": search([*LADDER, 3.0], [0.1] * 5, [0.9] * 5),
    "below all rates": search(
        [*LADDER, *[0.25] * 9], [2.3, 0.3, 2.0, 2.2, *[9.0] * 9], [0.1, 0.9, 0.4, 0.2, *[0.1] * 9]
    ),
}  # fmt: skip


def measured(edge):
    """Yield what is known of an edge."""
    fixed = short(astuple(edge.learned)) if edge.learned else "nothing"
    yield f"  {fixed} fixed, {', '.join(str(edge.rate(share)) for share in (0.9, 0.5, 0.1))}"
    yield f"  calm {edge.calm}, diverges {edge.diverges}; width {edge.width:.3f}, grid {edge.grid_trials}"
    for name in (LEARNED, CALM, DIVERGED):
        yield f"  {name} {''.join(map(str, edge.outcomes[name].astype(int)))}"


def test_searches_measure_what_they_did():
    lines = []
    for title, (trials, epochs, meta) in SEARCHES.items():
        for accuracy in (None, 0.9) if "found" in title or "pilot" in title else (None,):
            meta["options"]["learned"] = accuracy
            others = trials.assign(batch_size=64), trials.assign(stop_reason="running")
            parts = ("not searched for", others[0]), ("none ended", others[1]), ("it", trials)
            for edge in measured_edges(parts, epochs, meta):
                said = f"{edge.title}, precise to {edge.precision} {edge.is_precise}"
                lines += [f"{title}, asked for {accuracy}: {said}", *measured(edge)]
    none = [*measured_edges(parts, epochs, {"dataset": recorded_data("mnist")})]
    lines.append(f"{edge.expected} {dict(edge.predicted)}, no search: {none}")
    ends = (0.0, 0.0, 1.0), (1.0, math.inf, math.inf), (1.0, 2.0, math.inf), (1.23456, 2, 4), (math.nan,) * 3
    for interval in ends:
        found = Interval(*interval)
        lines.append(f"{interval}: {found}, known {found.is_known}, {short(found.half_width)}")
    assert_kept("searches", "\n".join([*lines, ""]))


# --- what these rest on


def row_of(**values):
    usual = {"finite": True, "train_loss": 2.5, "untrained_loss": 2.4, "train_accuracy": 0.15, "above_since": 501}
    return usual | {"step": 1500} | values


ROWS = [
    {}, {"finite": False}, {"train_loss": 240.0, "train_accuracy": 0.3}, {"train_loss": 239.9, "train_accuracy": 0.3},
    {"above_since": 502}, {"above_since": None}, {"train_accuracy": 0.156}, {"train_accuracy": 0.157},
    {"train_loss": 2.43}, {"train_loss": 2.44},
]  # fmt: skip
DATA_SETS = {
    "counts": {"label_counts": [60, 40, 0], "test_images": 20, "target": 0.8},
    "tokens": {"label_counts": [60, 40], "test_images": 20, "target": None, "positions": 4},
}
CURVES = {
    "usual": {},
    "batches of 1": {"batch_size": 1},
    "of 100, some dropped": {"batch_size": 100, "drop_last": True, "holdout": 10_050},
    "of 100": {"batch_size": 100, "holdout": 10_050},
    "few evaluated": {"label_noise": 3_000, "data": replace(DATA["fashion-mnist"], evaluated=20_000)},
    "all held out": {"holdout": 60_000, "batch_size": 70_000, "drop_last": True},
    "tokens": {"answers": 2.5, "loss": "mse"},
}
ATTRIBUTES = (
    "images", "held_out_count", "trained", "steps", "evaluated", "untrained", "guess", "ceiling",
    "settled", "held_out_settled", "accuracy", "falls", "falls_noise", "peak", "complete",
)  # fmt: skip


def curves():
    train, held_out = np.array([0.5, 0.6, 0.55, 0.7]), np.array([0.5, 0.58, math.nan, 0.69])
    for title, values in CURVES.items():
        yield title, Curve(held_out, 4, train_accuracy=train, **values)
    gap = np.array([math.nan, 0.6, math.nan, 0.7])
    yield "gaps", Curve(held_out, 5, train_accuracy=gap)
    yield "gaps held out alone", Curve(gap, 5)
    yield "gaps in both", Curve(gap, 5, train_accuracy=gap)
    yield "no gap held out", Curve(train, 5, train_accuracy=gap, holdout=300)
    losses = {"train_loss": np.array([2.2, 0.3, 0.3, 0.3]), "untrained_loss": 2.4}
    yield "step losses", Curve(train, 4, step_loss_max=np.array([3.4, 2.3, 3.65, 2.5]), batch_size=128, **losses)
    yield "windows", Curve(train, 4, window_loss_max=np.array([3.6, 2.9, 2.9, 2.3]), step_loss_max=train, **losses)
    yield "losses unknown", Curve(train, 4, window_loss_max=np.array([3.6, 3.4, 3.0, 2.3]))
    yield "losses unknown, mse", Curve(train, 4, window_loss_max=np.array([1.4, 1.2, 1.0, 0.5]), loss="mse")
    yield "wrong labels", Curve(train - 0.2, 4, train_accuracy=train - 0.2, label_noise=30_000)
    yield "memorised", Curve(train, 4, train_accuracy=train, label_noise=30_000)
    yield "no epoch", Curve(np.array([]), 4)


def test_the_facts_are_what_they_were():
    lines = ["targets: " + ", ".join(f"{name} {n} {target(name, n)}" for name in (*TARGETS, "own") for n in SIZES)]
    meta = {name: {"dataset": recorded_data("mnist", **said)} for name, said in DATA_SETS.items()}
    meta["asked for"] = meta["counts"] | {"options": {"target": 0.9, "train_evaluation": 50}}
    facts = DATA | {name: data_facts(one) for name, one in meta.items()}
    lines += [f"{name}: {rounded(str(one))}" for name, one in facts.items()]
    lines += ["lost: " + ", ".join(f"{row} {has_diverged(row_of(**row), 0.11, 60_000)}" for row in ROWS)]
    steps = (1499, 1500)
    lines += [f"  {step} {has_diverged(row_of(step=step), 0.11, 60_000)}" for step in steps]
    counts = ((0.11, 100), (0.1, 60_000))
    lines += [f"  {chance}, {images}: {has_diverged(row_of(), chance, images)}" for chance, images in counts]
    lines += ["finite: " + short([finite_loss(one) for one in (1.0, 2e9, math.nan, math.inf, -math.inf)])]
    lines += ["guesses: " + short([guess_loss([6, 3, 0], loss) for loss in ("mse", "cross-entropy")])]
    lines += [f"ceiling: {short([chance_ceiling(one, n) for one in (0.1, 0.5, 0.97, 1.0) for n in (100, 60_000)])}"]
    lines += ["limits: " + short([calm_limit(4.0, 100), calm_limit(4.0, 100, 9), calm_limit(4.0, 100, 9, risk=0.05)])]
    lines += ["floors: " + short([calm_floor(4.0, 100), calm_floor(4.0, 100, 9), calm_floor(0.01, 100)])]
    lines += ["noise: " + short([*accuracy_noise([0.5, 0.99, 1.0, 0.0], 100), difference_noise(0.5, 1.0, 100)])]
    lines += ["sigmas: " + short([sigmas(n) for n in (0, 1, 7, 8, 100)])]
    shares = ((0.5, 0.5), (0.5, 0.25), (0.5, 0.29), (0, 0))
    lines += ["answers: " + short([independent_answers(mean, square, 8) for mean, square in shares])]
    lines += ["windows: " + short([window_images(n) for n in (1, 3, 100, 127, 128, 129)])]
    usual: set[str] = set()
    for title, one in curves():
        said = [f"{name} {short(getattr(one, name))}" for name in ATTRIBUTES if one.epochs or name[:5] != "falls"]
        if one.epochs:
            said += [f"learned {short(one.learned(0.5))}"]
            said += [f"spikes {short([one.spikes(factor).astype(int) for factor in (1, 1.5)])}"]
        lines.append(f"{title}: {', '.join(each for each in said if each not in usual)}")
        usual = usual or set(said)
    assert_kept("facts", "\n".join([*lines, ""]))


SIZES = (299, 300, 700, 4_000, 20_000, 60_000, 90_000)


def widths(exponent, scatter=0.01):
    noise = [0.02, 0.05, 0.1, 0.05]
    for n, (width, half) in enumerate(zip((8, 16, 64, 256), noise, strict=True)):
        rate = width**exponent * math.exp(scatter * (-1) ** n)
        yield f"mlp-{width}-{width}-tanh, batch size 64", Interval(rate * math.exp(-half), rate, rate * math.exp(half))


def test_families_replicates_and_widths_are_told_as_they_were():
    config = {"learning_rate": 0.1, "batch_size": 64, "nesterov": True, "momentum": 0.9, "loss": "mse", "holdout": 10}
    trials = pd.DataFrame([TrialConfig(**config).to_dict()] * 6).rename(columns={"epochs": "epochs_asked"})
    accuracies = [0.9, 0.92, 0.93, 0.1, 0.95, 0.9]
    trials = trials.assign(
        architecture=[*"bbbbaa"], nesterov=[*[True] * 5, False], weight_decay=[*[0.0] * 4, 1e-4, 0.1],
        test_accuracy=accuracies, train_accuracy=accuracies, train_loss=[0.1, 0.2, math.nan, math.inf, 0.3, 0.4],
        regime=["converged", "converged", "slow", "diverged", "converged", "slow"], validation_accuracy=math.nan,
    )  # fmt: skip
    lines = [f"differ in {varied(trials)}", *(f"{title}: {len(of)}" for title, of in families(trials))]
    lines += [f"one family: {[title for title, _ in families(trials.iloc[:4])]}"]
    lines += [f"layers: {[layers(name) for name in ('mlp-64-8-tanh', 'mlp-relu-he', 'convnet', 'mlp-8')]}"]
    for ran, known in (([3, 3, 0], [0.9, 0.8, math.nan]), ([3, 3, 1], [0.9, 0.8, math.nan]), ([0] * 3, [math.nan] * 3)):
        table_of = pd.DataFrame({"epochs_run": ran, "validation_accuracy": known})
        lines.append(
            f"held out {ran} {known}: "
            + ", ".join(held_out(part) for part in (table_of, table_of.iloc[:, :1], table_of.iloc[:, 1:]))
        )
    lines += [f"counts: {regime_counts(['undecided', 'diverged', 'slow', 'converged', 'slow'])}"]
    lines += [f"half widths {short([half_width(0.1, n) for n in (1, 2, 5)])}"]
    lines += [
        f"Clopper and Pearson: {short(clopper_pearson([0, 1, 4, 5], [5] * 4))} {short(clopper_pearson(1, 5, 0.5))}"
    ]
    summary = summarise_replicates(trials.assign(label=""))
    for row in summary.to_dict("records"):
        lines.append(" ".join(f"{name}={short(value)}" for name, value in row.items()))
    lines += table(summarise_replicates(trials, ["loss"]).filter(regex="loss|regimes|replicates"))
    law, wide = list(widths(-0.5)), list(widths(1.0, 0.2))
    unknown = [(law[0][0].replace("8", "4"), Interval(0.0, 1.0, 2.0)), ("convnet", Interval(0.9, 1.0, 1.1))]
    for rates in ([*law, *unknown], wide, law[:3], law[:2], [*law[:2], law[0]]):
        lines += [
            f"width: {one.title}: {one.widths} {one}, {short([one.value, one.half_width])}" for one in exponents(rates)
        ]
    assert_kept("families and replicates", "\n".join([*lines, ""]))
