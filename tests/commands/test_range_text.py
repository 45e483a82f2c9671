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
    losses[1] = 2.5
    losses[-1] = np.inf
    return RangeCurve(OURS, losses)


FLAGS = """--optimizer adam(b1=0.8) --batch-size 50 --momentum 0.5 --loss mse --seeds 3 --dataset digits --data-dir x
--train-images 1000 --standardize"""


def test_what_is_said_and_drawn_of_one_seed_and_of_several(as_text, main_of, tmp_path):
    texts = []

    def keep(file, measured, flags=""):
        words = ["--architecture", "mlp-4-tanh", "--picture", file, *flags.split()]
        _, stdout, stderr = main_of(range_test, *words, range_test=measured)
        texts.extend([stdout, stderr, (tmp_path / file).read_text()])

    keep("0.pdf", RangeTest("mlp-4-tanh", (curve(1.01),), "cross-entropy"))
    calm = RangeCurve(OURS, np.full(OURS.steps, 2.0))
    curves = (curve(0.9), curve(1.9), calm)
    keep("1.pdf", RangeTest("net.py:$\\frac(width=8)", curves, "mse"), FLAGS)
    assert_kept("range test", "\n".join(texts))


def test_a_loss_that_grows_later_does_not_set_the_scale_and_one_of_zero_has_a_scale(
    as_text, tmp_path
):
    def flat(loss):
        return RangeCurve(OURS, np.full(OURS.steps, loss), of_task=True)

    def limits(*curves):
        """The limits of the losses' axis, in which such curves are drawn."""
        picture = tmp_path / "a.png"
        plot_range_test(RangeTest("", curves), picture)
        lines = picture.read_text().splitlines()
        [axis] = [line for line in lines if "  y: " in line]
        return axis.partition("limits ")[2].partition("]")[0]

    late = RangeCurve(OURS, np.where(np.arange(OURS.steps) < 20, 1.0, 3.0))
    assert limits(late) == "[0 1.2"
    assert limits(flat(math.nan), flat(0.0)) == "[0 1e-06"
    assert limits(flat(-5.0)) == "[-6 1e-06"


def test_a_name_that_is_no_formula_is_drawn(tmp_path):
    picture = tmp_path / "a.png"
    plot_range_test(RangeTest("$\\frac", (curve(1.01),)), picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_command_that_measures_the_edge_of_a_sweep_names_code_again(
    main_of, tmp_path
):
    words = ["--sweep", "a", "--task", "net.py:vae", "--picture", tmp_path / "a.png"]
    measured = RangeTest("net.py:vae", (curve(1.01),))
    _, text, _ = main_of(range_test, *words, range_test=measured)
    command = "edge --sweep a --task net.py:vae"
    assert any(line.endswith(command) for line in text.splitlines())
