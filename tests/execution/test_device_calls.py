"""What a pool asks of its device, and the rows that it makes of the answers: kept to the letter, of made-up numbers."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from kept_texts import assert_kept, rounded
from made_up_device import device, out_of_memory, shown  # noqa: F401

from mnist_tune.data.dataset import Dataset
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.execution.pool import LanePool
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.own_code.registry import register
from mnist_tune.training.network import Network
from mnist_tune.trial import TrialConfig

SMALL = TrialConfig(architecture="mlp-3-tanh", momentum=0.5, batch_size=8, seed=3, data_seed=5)
NOISY = replace(SMALL, label_noise=6, holdout=4)
ADAM = replace(SMALL, momentum=0.0, optimizer="adam(b1=0.75)", schedule="cosine", warmup_steps=2, batch_size=16)
TOKENS = replace(SMALL, architecture="tokens", batch_size=4, holdout=2)
SAVED = Checkpoint({"its": np.ones(2)}, {"epoch": 7, "untrained_loss": 2.0, "untrained_sharpness": 9.0, "batch_s": 9.0})


few = [np.arange(5 * n, dtype=np.float32).reshape(n, 5) for n in (40, 10)]
IMAGES = Dataset("images", few[0], np.arange(40) % 4, few[1], np.arange(10) % 4)
WORDS = Dataset("words", *(np.arange(3 * n).reshape(n, 3) % 4 for n in (10, 10, 4, 4)))


def attach(lane, config, *saved, **fields):
    return "attach", lane, replace(config, **fields), *saved


def broken(call="train", *errors, memory=100):
    return "a device", memory, {call: errors}


STORIES = {
    "Two lanes of a network, one of another batch size; measured every two steps": (
        (3, 20, SharpnessSettings(2, 8), 7.0),
        [
            attach("a", NOISY), attach("b", NOISY, learning_rate=0.2, seed=4), attach("c", ADAM), ("run", "ab"),
            ("run", "a"), ("run", "a"), ("run", "c"), ("checkpoint", "a"), ("detach", "b"), ("detach", "b"),
            attach("a", ADAM, SAVED), ("run", "a"), attach("d", NOISY), attach("e", NOISY),
        ],
    ),
    "Epochs without their last batch": (
        (2,),
        [
            attach("a", ADAM, drop_last=True), attach("b", ADAM), ("run", "a"), ("run", "a"), ("run", "b"),
        ],
    ),
    "Two lanes of tokens": ((2,), [attach("a", TOKENS), ("run", "a"), attach("a", TOKENS, label_noise=1)]),
    "Images that are fewer than a measurement takes": (
        (1, None, SharpnessSettings()), [
            attach("a", SMALL, batch_size=20, holdout=25, drop_last=True),
            attach("a", SMALL, batch_size=20, holdout=25), ("run", "a"),
        ],
    ),
    "Batches that shrink, and states that are lost": (
        (4,),
        [
            *(attach(lane, SMALL) for lane in "abcd"), broken(memory=2), ("run", "abcd"), ("run", "abc"),
            broken("evaluate", None, out_of_memory()), ("run", "abcd"),
            broken("train", out_of_memory()), ("run", "a"),
            broken("train", jax.errors.JaxRuntimeError("INTERNAL")), ("run", "a"),
        ],
    ),
    "Memory that is short where lanes are attached": (
        (3,),
        [
            broken("write", out_of_memory()), attach("a", SMALL), broken("evaluate", out_of_memory()),
            attach("a", SMALL), attach("a", SMALL), broken("write", out_of_memory()), attach("b", ADAM),
            attach("b", ADAM), broken("write", jax.errors.JaxRuntimeError("INTERNAL")), attach("c", ADAM),
            attach("c", ADAM), attach("d", SMALL),
        ],
    ),
    "Programs without lanes": (
        (2,),
        [
            *(attach("a", SMALL, batch_size=size) for size in (1, 2, 3, 1, 4, 5)), attach("b", NOISY),
            attach("a", SMALL, holdout=1), attach("a", SMALL, label_noise=2), attach("a", SMALL, batch_size=41),
            ("detach", "b"),
        ],
    ),
}  # fmt: skip


def told(step, pool, device, before):  # noqa: F811
    """Take a step of a story, and return its text. Rows show what differs from those `before`."""
    name, *given = step
    if name == "a device":
        device.memory, device.fails = given[0], {call: iter(errors) for call, errors in given[1].items()}
        return ""
    try:
        found = getattr(pool, name)(*given)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    calls, device.calls = device.calls, []
    text = [f"{name} {' '.join(one for one in given if isinstance(one, str))}", *(f"    {call}" for call in calls)]
    if isinstance(found, Checkpoint):
        found = f"{shown(found.arrays)}, epoch {found.row['epoch']}"
    if isinstance(found, dict):
        for lane, row in found.items():
            text += [f"    {lane}: {key} = {one}" for key, one in row.items() if before.get(key) != one]
            before |= row
    elif found is not None:
        text += [f"    -> {found}"]
    return "\n".join([*text, ""])


def test_what_a_pool_asks_of_its_device_and_says(device):  # noqa: F811
    register("tokens")(lambda data: Network(lambda key: jnp.ones((4, data.classes)), lambda w, x: w[x]))
    text, before = "", {}
    for name, (settings, steps) in STORIES.items():
        pool = LanePool(WORDS if "tokens" in name else IMAGES, *settings)
        text += f"# {name}\n" + "".join(told(step, pool, device, before) for step in steps)
        slots = {lane: (of.slot, f"{len(of.seconds)} of {of.seconds.maxlen} s") for lane, of in pool.lanes.items()}
        groups = [(key[0].batch_size, *key[1:], group.sizes.largest) for key, group in pool._groups.items()]
        text += f"lanes {slots}, groups {groups}, versions {list(pool._data)}, "
        text += f"free slots and states {[(stack.free, stack.state) for stack in pool._stacks.values()]}\n\n"
    assert_kept("device", rounded(text))
