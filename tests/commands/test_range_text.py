"""The text and the picture of a range test."""

import math

import numpy as np
from kept_texts import assert_kept

from mnist_tune.commands import range_test
from mnist_tune.commands.range_test import plot_range_test
from mnist_tune.edge.range_run import RangeTest
from mnist_tune.training.rising_rate import Ramp, RangeCurve

OURS = Ramp()


def curve(leaves):
    """A curve that is flat, and noisy in its second step, up to the rate at which it
    leaves."""
    losses = np.where(OURS.rates < leaves, 2.0, 100.0)
    losses[1], losses[-1] = 2.5, np.inf
    return RangeCurve(OURS, losses)


MORE = """--optimizer adam(b1=0.8) --batch-size 50 --momentum 0.5 --loss mse --seeds 3 --dataset digits --data-dir x
--train-images 1000 --standardize"""


def test_what_is_said_and_drawn_of_one_seed_and_of_several(as_text, main_of, tmp_path):
    calm = RangeCurve(OURS, np.full(OURS.steps, 2.0))
    found = {
        "mlp-4-tanh": (curve(1.01),),
        "net.py:$\\frac(width=8)": (curve(0.9), curve(1.9), calm),
    }
    texts = []
    for i, (name, curves) in enumerate(found.items()):
        asked = [
            "--architecture",
            "mlp-4-tanh",
            "--picture",
            f"{i}.pdf",
            *MORE.split() * i,
        ]
        said = main_of(
            range_test,
            *asked,
            range_test=RangeTest(name, curves, ("cross-entropy", "mse")[i]),
        )
        texts += [*said[1:], (tmp_path / f"{i}.pdf").read_text()]
    assert_kept("range test", "\n".join(texts))


def test_a_loss_that_grows_later_does_not_set_the_scale_and_one_of_zero_has_a_scale(
    as_text, tmp_path
):
    late = RangeCurve(OURS, np.where(np.arange(OURS.steps) < 20, 1.0, 3.0))
    tops = []
    flat = [
        RangeCurve(OURS, np.full(OURS.steps, loss), of_task=True)
        for loss in (math.nan, 0.0, -5.0)
    ]
    for curves in ([late], flat[:2], flat[2:]):
        plot_range_test(RangeTest("", tuple(curves)), tmp_path / "a.png")
        tops += [
            line
            for line in (tmp_path / "a.png").read_text().splitlines()
            if "  y: " in line
        ]
    limits = [line.partition("limits ")[2].partition("]")[0] for line in tops]
    assert limits == ["[0 1.2", "[0 1e-06", "[-6 1e-06"]


def test_a_name_that_is_no_formula_is_drawn(tmp_path):
    plot_range_test(RangeTest("$\\frac", (curve(1.01),)), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_that_measures_the_edge_of_a_sweep_names_code_again(
    main_of, tmp_path
):
    asked = [
        "--sweep",
        "a",
        "--task",
        "net.py:vae",
        "--picture",
        str(tmp_path / "a.png"),
    ]
    said = main_of(
        range_test, *asked, range_test=RangeTest("net.py:vae", (curve(1.01),))
    )
    assert any(
        line.endswith("edge --sweep a --task net.py:vae")
        for line in said[1].splitlines()
    )
