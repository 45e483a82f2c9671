"""A device that computes nothing: it notes what a pool asks of it, and answers with made-up numbers."""

import jax
import numpy as np
import pytest

from mnist_tune.execution import group, pool


def out_of_memory():
    return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte")


class MadeUpDevice:
    """Makes executors, which write their calls into `calls`."""

    def __init__(self):
        self.calls = []
        self.memory = 100
        """Lanes of the largest batch that it has memory for."""
        self.fails = {}
        """By the name of a call, what its next ones raise; None raises nothing."""

    def __call__(self, program, stack):
        return MadeUpExecutor(self, program, stack)

    def watched(self, call, limit):
        self.calls.append(f"watched for {limit} s")
        return call()

    def note(self, call, lanes, **said):
        given = ", ".join(f"{name} {shown(value)}" for name, value in said.items() if value is not None)
        self.calls.append(f"{call}: {given}")
        if lanes > self.memory:
            raise out_of_memory()
        if error := next(self.fails.get(call, iter(())), None):
            raise error


class MadeUpExecutor:
    """In place of an `Executor`. A call takes a second, and the first of its size three more to compile."""

    def __init__(self, device, program, stack):
        self._device, self.program, self.stack, self.sizes = device, program, stack, []
        self._seconds = dict.fromkeys(("compile_s", "train_s", "eval_s"), 0.0)

    def write(self, slot, state):
        self._device.note("write", 1, slot=slot, weights=jax.tree.leaves(state.params)[0])
        self.stack.state = "a state"

    def restore(self, slot, arrays):
        self._device.note("restore", 1, slot=slot, arrays=arrays)
        self.stack.state = "a state"

    def read(self, slot):
        self._device.note("read", 1, slot=slot)
        return {"slot": np.array([slot])}

    def prepare(self, size, images, data):
        self._device.note("prepare", 1, size=size, images=images, data=data)
        self._compile(size)

    def train(self, size, slots, hyper, keys, orders, data, first):
        self._compile(size)
        said = {"size": size, "slots": slots, "first": first, "hyper": hyper, "keys": keys, "orders": orders}
        self._device.note("train", size, **said, data=data)
        self._seconds["train_s"] += 1
        steps = first + np.arange(-(-len(orders[0]) // self.program.batch_size))
        return np.array([1 + slot + 0.5**steps for slot in slots], np.float32)

    def measure(self, function, size, slots, data, index, *static, hyper=None):
        said = {"size": size, "slots": slots, "index": index, "static": static or None, "hyper": hyper}
        self._device.note(function.__name__, size, **said)
        self._seconds["eval_s"] += 1
        found = np.array(slots) + 1.0
        if function.__name__ == "evaluate":
            total = found * index[1]
            return np.full(len(slots), index[1]), {"loss": (total, total), "accuracy": (total / 8, total / 16)}
        if function.__name__ == "batch_sharpness":
            return found / 4
        return found + static[0], found / 150 * (16 / static[0])

    def _compile(self, size):
        if size not in self.sizes:
            self.sizes.append(size)
            self._seconds["compile_s"] += 3

    def take_seconds(self):
        taken, self._seconds = self._seconds, dict.fromkeys(self._seconds, 0.0)
        return taken


def shown(value):
    """Return a short text of what holds arrays: the type, the shape and the first numbers of each."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} {shown(one)}" for name, one in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(shown, value))})"
    if isinstance(value, (np.ndarray, jax.Array)):
        few = [f"{one:.4g}" if isinstance(one, float) else f"{one}" for one in np.ravel(value)[:4].tolist()]
        return f"{value.dtype}{list(value.shape)} {' '.join(few)}"
    return str(value)


@pytest.fixture
def device(monkeypatch):
    """In place of the device of the pools that a test makes."""
    made_up = MadeUpDevice()
    monkeypatch.setattr(pool, "Executor", made_up)
    monkeypatch.setattr(pool.jax, "clear_caches", lambda: made_up.calls.append("clear caches"))
    monkeypatch.setattr(pool, "give_memory_back", lambda: made_up.calls.append("give memory back"))
    monkeypatch.setattr(pool, "watched", made_up.watched)
    monkeypatch.setattr(group.platform, "node", lambda: "a node")
    return made_up
