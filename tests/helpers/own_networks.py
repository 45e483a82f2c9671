"""The networks of docs/own_network.md, and small data sets of other shapes and classes
than MNIST's."""

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "own_network.md"

BFLOAT16 = """# bfloat16_net.py
import jax
import jax.numpy as jnp

from mnist_tune import Network


def mlp(data, width=16):
    def init(key):
        first, second = jax.random.split(key)
        hidden = jax.random.normal(first, (data.size, width), jnp.bfloat16) / data.size**0.5
        return {"hidden": hidden, "output": 0.2 * jax.random.normal(second, (width, data.classes), jnp.bfloat16)}

    def apply(params, images):
        x = images.reshape(len(images), -1).astype(jnp.bfloat16)
        return jnp.tanh(x @ params["hidden"]) @ params["output"]

    return Network(init, apply)
"""


def write_networks(folder):
    """Write each documented network, and one of bfloat16, into a file. Return their
    names for --architecture."""
    block_with_a_name = r"```python\n(# \w+\.py\n.*?)```"
    blocks = re.findall(block_with_a_name, PAGE.read_text(), re.DOTALL)
    names = []
    for block in [*blocks, BFLOAT16]:
        file = folder / block.split()[1]
        file.write_text(block)
        # the factory, or the class, comes last
        name = re.findall(r"^(?:def|class) (\w+)", block, re.MULTILINE)[-1]
        names.append(f"{file}:{name}")
    return names


def patterns(shape, classes, count=240, seed=0, shares=None):
    """Draw a data set that a small network learns: a pattern for each class, under
    noise. Arrays as in an .npz file."""
    rng = np.random.default_rng(seed)
    centres = rng.random((classes, *shape)) > 0.5
    labels = rng.choice(classes, count, p=shares)
    labels[:classes] = np.arange(classes)
    images = 0.6 * centres[labels] + 0.4 * rng.random((count, *shape))
    images = images.astype(np.float32)
    cut = 5 * count // 6
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def digits():
    """Return scikit-learn's digits, 8 x 8, in ten classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.float32) / 16
    labels = bunch.target
    return images[:300], labels[:300], images[300:400], labels[300:400]


DATA_SETS = {
    "digits": digits,
    "three channels, seven classes": lambda: patterns((9, 8, 3), 7),
    "two classes, one of 89%": lambda: patterns((8, 8), 2, shares=[0.89, 0.11]),
    "a hundred classes": lambda: patterns((8, 8), 100, count=600),
}
