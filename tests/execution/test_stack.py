"""How many lanes fit into a device's memory, and what an executor's calls do to the states in its stack."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from kept_texts import assert_kept
from made_up_device import shown

from mnist_tune.errors import UserError
from mnist_tune.execution import executor as module
from mnist_tune.execution.executor import Executor, Stack, fitting_lanes
from mnist_tune.training.program import Program, TrainState
from mnist_tune.trial import TrialConfig


def test_lanes_that_fit(few_images):
    program = Program.of(TrialConfig(architecture="mlp-8-tanh"), few_images.spec)
    state = 4 * (784 * 8 + 8 + 8 * 10 + 10)
    assert fitting_lanes([program], 40.5 * state) == 10
    others = [replace(program, batch_size=size) for size in (32, 64, 256, 512)]
    assert fitting_lanes([program, *others], 40.5 * state) == 10  # their states share a stack
    small = Program.of(TrialConfig(architecture="mlp-4-tanh"), few_images.spec)
    assert fitting_lanes([program, small], (40.5 + 10 * 4.1 / 8) * state) == 10


class Tiny:
    """A program of two weights that adds up what it is given."""

    architecture, step = "tiny", SimpleNamespace(names=("learning_rate",))

    @property
    def shapes(self):
        of = jax.ShapeDtypeStruct
        return TrainState({"w": of((2,), jnp.float32)}, of((), jnp.int32))

    def train_epoch(self, state, hyper, key, data, order, first):
        w = state.params["w"] + hyper["learning_rate"]
        return TrainState({"w": w}, state.optimizer + first), order.astype(jnp.float32) + key[1].astype(jnp.float32)

    def evaluate(self, params, extra, data, index):
        return params["w"].sum(), index.sum(), data[0].sum()


def doubled(program, params, extra, data, index, factor):
    return factor * params["w"].sum()


def of_all(program, state, hyper, data, index):
    return state.optimizer, hyper["learning_rate"]


def test_what_an_executor_does_to_its_stack(monkeypatch):
    """Each compilation, training and evaluation takes a second."""
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    monkeypatch.setattr(module, "Program", Tiny)
    stack, data = Stack(3), (jnp.arange(6.0), jnp.arange(6) % 2)
    executor, text = Executor(Tiny(), stack), f"free slots {Stack(3).free}\n"

    def did(what, call, *given, **more):
        nonlocal text
        try:
            found = call(*given, **more)
        except (UserError, AssertionError) as error:
            found = error
        states = None
        if stack.state:
            weights, counts = np.asarray(stack.state.params["w"]), np.asarray(stack.state.optimizer)
            states = ", ".join(f"{w} after {count}" for w, count in zip(weights, counts, strict=True))
        text += f"{what}{'' if found is None else ': ' + shown(found)}\n    {states}\n    {executor.take_seconds()}\n"

    def train(size, slots, rates, first=0):
        count = len(rates)
        keys, orders = (
            np.array([[7, i + 1] for i in range(count)], np.uint32),
            [np.arange(i, i + 2, dtype=np.int32) for i in range(count)],
        )
        hyper = {"learning_rate": np.array(rates, np.float32)}
        did(f"train {slots} in a batch of {size}", executor.train, size, slots, hyper, keys, orders, data, first)

    def measure(function, size, slots, *static, **more):
        index = np.array([4, 1], np.int32)
        did(
            f"{function.__name__} of {slots} in a batch of {size}",
            executor.measure,
            function,
            size,
            slots,
            data,
            index,
            *static,
            **more,
        )

    did("nothing was written", executor.read, 0)
    did("prepare", executor.prepare, 4, 2, data)
    for slot in (2, 0):
        did(f"write {slot}", executor.write, slot, TrainState({"w": np.float32([slot, 5])}, np.int32(slot)))
    train(1, [2], [0.5], first=3)
    train(4, [2, 0], [0.25, 0.125])
    train(4, [0, 1, 2], [1.0, 2.0, 4.0], first=1)
    train(2, [1, 0], [8.0, 8.0])
    measure(Tiny.evaluate, 1, [2])
    measure(Tiny.evaluate, 4, [1, 2])
    measure(doubled, 1, [2], 2)
    measure(doubled, 1, [0], 3)
    measure(of_all, 2, [2], hyper={"learning_rate": np.float32([0.5])})
    measure(of_all, 1, [0], hyper={"learning_rate": np.float32([0.25])})
    did("read 2", executor.read, 2)
    saved = executor.read(2)
    did("restore 1", executor.restore, 1, saved)
    for wrong in (
        {},
        *({name: array.astype(kind) for name, array in saved.items()} for kind in (np.float16, np.float64)),
        saved | {"a": saved[".optimizer"]},
    ):
        did("restore 0", executor.restore, 0, wrong)
    text += f"compiled for {executor.sizes}\n"
    assert_kept("stack", text)
