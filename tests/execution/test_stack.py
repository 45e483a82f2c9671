"""How many lanes fit into a device's memory."""

from dataclasses import replace

from mnist_tune.execution.executor import fitting_lanes
from mnist_tune.training.program import Program
from mnist_tune.trial import TrialConfig


def test_lanes_that_fit(few_images):
    program = Program.of(TrialConfig(architecture="mlp-8-tanh"), few_images.spec)
    state = 4 * (784 * 8 + 8 + 8 * 10 + 10)
    assert fitting_lanes([program], 40.5 * state) == 10
    others = [replace(program, batch_size=size) for size in (32, 64, 256, 512)]
    assert fitting_lanes([program, *others], 40.5 * state) == 10  # their states share a stack
    small = Program.of(TrialConfig(architecture="mlp-4-tanh"), few_images.spec)
    assert fitting_lanes([program, small], (40.5 + 10 * 4.1 / 8) * state) == 10
